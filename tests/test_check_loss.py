"""tools/check_loss.py: the losses of a run beside those that its config had before."""
import json
import os
import shutil

import pytest
from conftest import is_one_line, log_of, run


@pytest.fixture
def check(trained, tmp_path):
    """A function that runs the script on a copy of a run in tmp_path/out, with references in tmp_path."""
    shutil.copytree(trained, tmp_path / 'out')
    words = '--out_dir=out', '--reference=known.json'
    return lambda *flags: run('tools/check_loss.py', *words, *flags, cwd=tmp_path)


def test_a_run_is_normal_beside_itself(check, tmp_path):
    assert '1 of out' in check('--record').out
    result = check()
    assert (result.status, result.message) == (0, '')
    lines = result.out.splitlines()
    evaluated = log_of(tmp_path / 'out', 'val_loss')
    assert len(lines) == len(evaluated) + 2 and lines[-1] == 'normal'
    assert f"{evaluated[-1]['val_loss']:.4f}" in lines[-2]


@pytest.mark.parametrize('shift, said', [(0.2, 'high'), (-0.2, 'low'), (0.02, 'normal'), (-0.02, 'normal')])
def test_a_loss_outside_what_was_seen_is_told(check, tmp_path, shift, said):
    check('--record')
    path = tmp_path / 'out' / 'log.jsonl'
    records = log_of(tmp_path / 'out', 'iter')
    records[-1]['val_loss'] += shift
    path.write_text(''.join(json.dumps(each) + '\n' for each in records), encoding='utf-8')
    result = check()
    row = [line for line in result.out.splitlines() if ' to ' in line][-1]
    assert row.endswith(said) and result.status == (said != 'normal')


def test_a_run_with_another_seed_is_compared_and_one_with_another_rate_is_not(check, train, tmp_path):
    check('--record')
    os.rename(tmp_path / 'out', tmp_path / 'first')
    assert train('--max_iters=40', '--seed=2').status == 0
    assert check('--tolerance=1').message == ''
    assert train('--max_iters=40', '--learning_rate=0.001', '--overwrite').status == 0
    result = check()
    assert is_one_line(result) and 'other settings' in result.message


def test_what_the_project_has_recorded_can_be_read():
    path = os.path.join(os.path.dirname(__file__), '..', 'tools', 'reference_losses.json')
    with open(path, encoding='utf-8') as file:
        known = json.load(file)
    assert known and all(each['runs'] for each in known.values())
    losses = [loss for each in known.values() for run in each['runs'] for loss in run.values()]
    assert all(0 < loss < 12 for loss in losses)
