"""tools/eval_quantization.py, tools/judge_stories.py and tools/datasets.py."""
import os

import pytest
import torch.nn.functional as F
from conftest import is_one_line, log_of, read, run

from data import bins
from lib.checkpoint import build
from tools import eval_quantization, judge_stories


def test_quantization_is_evaluated_on_the_last_incomplete_batch_too(trained, dataset):
    model = build(read(os.path.join(trained, 'best.pt'))).eval()
    tokens = bins.open_bin(dataset, 'val', bins.load_meta(dataset))
    starts = bins.val_windows(len(tokens), 32)[:5]
    x, y = bins.get_batch(tokens, starts, 32)
    logits = model(x)
    loss, top1 = eval_quantization.evaluate(model, tokens, starts, batch_size=2)
    assert loss == pytest.approx(F.cross_entropy(logits.flatten(0, 1), y.flatten()).item(), abs=1e-5)
    assert top1.tolist() == logits.argmax(-1).flatten().tolist()


def test_quantization_of_a_run_is_a_row_for_each_dtype_with_the_loss_of_the_run(trained, tmp_path):
    result = run('tools/eval_quantization.py', f'--out_dir={trained}', '--batch_size=1000', cwd=tmp_path)
    rows = [line.split() for line in result.out.splitlines()[2:]]
    assert [row[0] for row in rows] == ['float32', 'bfloat16', 'int8']
    best = min(record['val_loss'] for record in log_of(trained, 'val_loss'))
    assert float(rows[0][1]) == pytest.approx(best, abs=2e-4) and rows[0][-2:] == ['+0.000%', '100.00%']


def test_stories_are_judged_by_words_protagonist_and_memorized_spans():
    train = 'Tom saw a big red dog on the hill and then he ran home to his mom.'
    known = {*judge_stories.words_of(train)}, {*judge_stories.n_grams(judge_stories.words_of(train))}
    assert judge_stories.judge([train], *known) == (1, 0, 1) # its only name is in the first part
    kept, changed = 'Tom ran. The dog saw Tom. Tom zzz.', 'Tom ran. The dog saw Tom. Tim ran.'
    assert judge_stories.judge([kept, changed], *known) == (14 / 16, 0.5, 0)
    assert judge_stories.judge([], *known) == (0, 0, 0)


@pytest.mark.parametrize('script, flag', [('judge_stories', '--count=0'),
                                          ('eval_quantization', '--batch_size=0')])
def test_a_setting_that_leaves_nothing_to_measure_ends_in_one_line(tmp_path, script, flag):
    result = run(f'tools/{script}.py', flag, cwd=tmp_path)
    assert is_one_line(result) and 'got 0' in result.message
