"""tools/check_loss.py, tools/eval_quantization.py and tools/judge_stories.py."""
import json
import math
import os
import shutil
from pathlib import Path

import pytest
from conftest import REPO, log_of, mistake, read, run

from lib.plan import LENGTHS
from tools import check_loss, judge_stories


@pytest.fixture
def check(trained, tmp_path):
    """A function that runs check_loss.py on a copy of a run, with its losses, changed, in known.json."""
    shutil.copytree(trained, tmp_path / 'out')
    words = '--out_dir=out', '--reference=known.json'
    assert '1 of out' in run('tools/check_loss.py', *words, '--record', cwd=tmp_path).out
    entry, = json.loads((tmp_path / 'known.json').read_text())
    assert entry['runs'] == [{str(r['iter']): round(r['val_loss'], 4) for r in log_of(trained, 'val_loss')}]

    def check(shift=0, **changes):
        recorded = {iter_num: loss - shift for iter_num, loss in entry['runs'][0].items()}
        changed = entry | {'settings': entry['settings'] | changes, 'runs': [recorded]}
        (tmp_path / 'known.json').write_text(json.dumps([changed]))
        return run('tools/check_loss.py', *words, cwd=tmp_path)
    return check


def test_a_loss_outside_the_recorded_range_is_reported_and_other_settings_are_refused(check, trained):
    for shift, expected in (0, 'normal'), (0.2, 'high'), (-0.2, 'low'), (0.02, 'normal'):
        result = check(shift)
        row = [line for line in result.out.splitlines() if ' to ' in line][-1]
        assert row.endswith(expected) and f'{log_of(trained, "val_loss")[-1]["val_loss"]:.4f}' in row
        assert result.status == (expected != 'normal')
    refused = check(beta2=0.5)
    assert mistake(refused).endswith('closest is out: beta2 0.5, here 0.95')


@pytest.mark.parametrize('changes, expected', [
    ({'seed': 2, 'log_interval': 7, 'dataset': '/elsewhere/bins'}, []), ({'init_from': 'resume'}, []),
    ({'schedule': None, 'muon_momentum': None}, []), # older than these settings
    ({'n_embd': None, 'embedding_dimension': 32}, []), # renamed since
    ({'n_embd': None, 'embedding_dimension': 8}, ['n_embd']), ({'dataset': 'other'}, ['dataset']),
    ({'vocab_size': 128, 'dtype': 'float16'}, ['vocab_size', 'dtype']),
    ({'label_smoothing': 0.0}, []), ({'label_smoothing': 0.1}, ['label_smoothing'])])
def test_all_settings_that_influence_the_loss_are_compared(trained, monkeypatch, changes, expected):
    checkpoint = read(os.path.join(trained, 'ckpt.pt'))
    settings = checkpoint['settings']
    entry = {'settings': check_loss.relevant(settings, checkpoint['model_config']), 'tokenizer': ''}
    monkeypatch.setitem(check_loss.train.config.settings, 'label_smoothing', 0.0) # new in train.py since then
    changed = {name: value for name, value in (settings | changes).items() if value is not None}
    found = check_loss.differences(entry, check_loss.relevant(changed, {}), '')
    assert [sentence.split()[0] for sentence in found] == expected


def test_each_recorded_config_still_has_its_losses():
    recorded = json.loads(Path(REPO, 'tools', 'reference_losses.json').read_text(encoding='utf-8'))
    for entry in recorded:
        settings = check_loss.config_settings(os.path.join(REPO, entry['what'].split(',')[0]))
        if 'updates' in entry['what']: # shortened to what fit_minutes allows
            lengths = [math.ceil(settings['max_iters'] * part) for part in LENGTHS]
            assert {entry['settings']['max_iters'] for entry in recorded} > set(lengths)
            assert entry['settings']['max_iters'] in lengths
            settings['max_iters'] = entry['settings']['max_iters']
        assert check_loss.differences(entry, settings, entry['tokenizer']) == [] and entry['runs']
    assert check_loss.NO_INFLUENCE <= check_loss.train.config.settings.keys()


def test_quantization_of_a_run_is_a_row_for_each_dtype_with_the_loss_of_the_run(trained, tmp_path):
    # 125 of the 126 windows, then 1: a mean of both batches' means would be another loss
    result = run('tools/eval_quantization.py', f'--out_dir={trained}', '--batch_size=125', cwd=tmp_path)
    rows = [line.split() for line in result.out.splitlines()[2:]]
    assert [row[0] for row in rows] == ['float32', 'bfloat16', 'int8']
    best = min(record['val_loss'] for record in log_of(trained, 'val_loss'))
    assert float(rows[0][1]) == pytest.approx(best, abs=2e-4)
    assert rows[0][-2:] == ['+0.000%', '100.00%']
    assert 'got 0' in mistake(run('tools/eval_quantization.py', '--batch_size=0', cwd=tmp_path))


def test_stories_are_judged_by_words_protagonist_and_memorized_spans():
    train = 'Tom saw a big red dog on the hill and then he ran home to his mom.'
    known = {*judge_stories.words_of(train)}, {*judge_stories.n_grams(judge_stories.words_of(train))}
    assert judge_stories.judge([train], *known) == (1, 0, 1) # its only name is in the first part
    kept, changed = 'Tom ran. The dog saw Tom. Tom zzz.', 'Tom ran. The dog saw Tom. Tim ran.'
    assert judge_stories.judge([kept, changed], *known) == (14 / 16, 0.5, 0)
    assert judge_stories.judge([], *known) == (0, 0, 0)
    refused = run('tools/judge_stories.py', '--count=0', cwd='.') # nothing to judge
    assert 'got 0' in mistake(refused)
