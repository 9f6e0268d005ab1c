"""tools/check_loss.py: the losses of a run compared with those recorded for the same config."""
import json
import os
import shutil

import pytest
from conftest import REPO, is_one_line, log_of, read, run

from tools import check_loss


@pytest.fixture
def check(trained, tmp_path):
    """A function that runs the script on a copy of a run in tmp_path/out, with its losses in known.json."""
    shutil.copytree(trained, tmp_path / 'out')
    words = '--out_dir=out', '--reference=known.json'
    assert '1 of out' in run('tools/check_loss.py', *words, '--record', cwd=tmp_path).out
    return lambda: run('tools/check_loss.py', *words, cwd=tmp_path)


@pytest.mark.parametrize('shift, expected', [(0, 'normal'), (0.2, 'high'), (-0.2, 'low'), (0.02, 'normal')])
def test_a_loss_outside_the_recorded_range_is_reported(check, tmp_path, shift, expected):
    path, records = tmp_path / 'out' / 'log.jsonl', log_of(tmp_path / 'out', 'iter')
    records[-1]['val_loss'] += shift
    path.write_text(''.join(json.dumps(record) + '\n' for record in records), encoding='utf-8')
    result = check()
    row = [line for line in result.out.splitlines() if ' to ' in line][-1]
    assert row.endswith(expected) and f"{records[-1]['val_loss']:.4f}" in row
    assert result.status == (expected != 'normal')


def test_a_run_with_other_settings_is_refused_and_told_which(check, tmp_path):
    entry, = json.loads((tmp_path / 'known.json').read_text())
    entry['settings']['beta2'] = 0.5
    (tmp_path / 'known.json').write_text(json.dumps([entry]))
    result = check()
    assert is_one_line(result) and result.message.endswith('closest is out: beta2 0.5, here 0.95')


@pytest.mark.parametrize('changes, expected', [
    ({'seed': 2, 'log_interval': 7, 'dataset': '/elsewhere/bins'}, []), ({'init_from': 'resume'}, []),
    ({'schedule': None, 'muon_momentum': None}, []), # older than these settings
    ({'n_embd': None, 'embedding_dimension': 32}, []), # renamed since
    ({'n_embd': None, 'embedding_dimension': 8}, ['n_embd']), ({'dataset': 'other'}, ['dataset']),
    ({'vocab_size': 128, 'dtype': 'float16'}, ['vocab_size', 'dtype']),
    ({'rope_theta': 500.0}, ['rope_theta']), ({'label_smoothing': 0.0}, []),
    ({'label_smoothing': 0.1}, ['label_smoothing'])])
def test_all_settings_that_influence_the_loss_are_compared(trained, monkeypatch, changes, expected):
    checkpoint = read(os.path.join(trained, 'ckpt.pt'))
    settings = checkpoint['settings']
    entry = {'settings': check_loss.relevant(settings, checkpoint['model_config']), 'tokenizer': ''}
    monkeypatch.setitem(check_loss.train.config.settings, 'label_smoothing', 0.0) # new in train.py since then
    changed = {name: value for name, value in (settings | changes).items() if value is not None}
    found = check_loss.differences(entry, check_loss.relevant(changed, {}), '')
    assert [sentence.split()[0] for sentence in found] == expected


def test_each_recorded_config_still_has_its_losses():
    with open(os.path.join(REPO, 'tools', 'reference_losses.json'), encoding='utf-8') as file:
        for entry in json.load(file):
            path = os.path.join(REPO, entry['what'].split(',')[0])
            found = check_loss.differences(entry, check_loss.config_settings(path), entry['tokenizer'])
            assert found == [] and entry['runs']
    assert check_loss.NO_INFLUENCE <= check_loss.train.config.settings.keys()
