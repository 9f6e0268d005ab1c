"""log.jsonl, the loss curve and the lines that are printed."""
import json
import math
import os
import subprocess
import sys
import warnings

import pytest
from conftest import REPO

from lib.log import Log, draw_loss, progress_line, read_log, start_wandb, validation_line

PROGRESS = {'iter': 250, 'loss': 1.60214, 'lr': 1e-3, 'norm': 0.5234, 'dt': 0.0118, 'tokens': 4096000,
            'epoch': 1.234}
VALIDATION = {'iter': 250, 'val_loss': 1.5874, 'perplexity': 4.891, 'bits_per_byte': 2.29, 'best': True}


def test_each_record_is_one_line_of_json_and_comes_back(tmp_path):
    path = tmp_path / 'log.jsonl'
    log = Log(path, iter_num=0, evaluated=0)
    for record in (PROGRESS, VALIDATION):
        log.write(record)
    lines = path.read_text(encoding='utf-8').splitlines()
    assert [json.loads(line) for line in lines] == [PROGRESS, VALIDATION] == read_log(path)


def test_a_line_that_a_crash_cut_short_is_left_out_and_the_next_run_removes_it(tmp_path):
    path = tmp_path / 'log.jsonl'
    path.write_text('{"iter": 1, "loss": 2.0}\n{"iter": 2, "lo', encoding='utf-8')
    assert read_log(path) == [{'iter': 1, 'loss': 2.0}]
    Log(path, iter_num=1, evaluated=0).write({'iter': 2, 'loss': 1.5})
    assert [record['iter'] for record in read_log(path)] == [1, 2]


def test_A1_a_run_that_goes_on_drops_the_lines_after_the_place_where_it_goes_on(tmp_path):
    log = Log(tmp_path / 'log.jsonl', iter_num=0, evaluated=0)
    for i in range(1, 7):
        log.write({'iter': i, 'loss': 1.0})
        log.write({'iter': i, 'val_loss': 1.0})
    Log(tmp_path / 'log.jsonl', iter_num=4, evaluated=3) # killed during the evaluation after update 4
    records = read_log(tmp_path / 'log.jsonl')
    assert [r['iter'] for r in records if 'loss' in r] == [1, 2, 3, 4]
    assert [r['iter'] for r in records if 'val_loss' in r] == [1, 2, 3]


@pytest.mark.parametrize('line', ['', 'x', '{}', '[]', '{"iter": "2"}', '{"iter": 2}{"iter": 3}', '\x00' * 50,
                                  '[' * 100_000 + '}', '{"loss": 1.0}',
                                  '{"iter": 2, "loss": "x"}'], ids=lambda line: line[:12])
def test_what_is_no_line_of_a_log_is_left_out_wherever_it_stands(tmp_path, line):
    path, whole = tmp_path / 'log.jsonl', '{"iter": 1, "loss": 2.0}\n'
    path.write_text(f'{whole}{line}\n{whole}', encoding='utf-8')
    assert read_log(path) == [{'iter': 1, 'loss': 2.0}] * 2
    path.write_bytes(whole.encode() + b'\xff\xfe\n' + whole.encode()) # nor is this utf-8
    assert len(read_log(path)) == 2


@pytest.mark.skipif(os.name != 'posix', reason='needs a limit on the size of files')
def test_A3_a_full_disk_costs_lines_is_told_once_and_leaves_whole_lines(tmp_path, capsys):
    import resource
    path, old = tmp_path / 'log.jsonl', resource.getrlimit(resource.RLIMIT_FSIZE)
    log = Log(path, iter_num=0, evaluated=0)
    log.write({'iter': 1, 'loss': 1.0})
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, old[1])) # room for half a line
        log.write({'iter': 2, 'loss': 1.0})
        log.write({'iter': 3, 'loss': 1.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    log.write({'iter': 4, 'loss': 1.0})
    assert path.read_text(encoding='utf-8').splitlines() == [f'{{"iter": {i}, "loss": 1.0}}' for i in (1, 4)]
    assert capsys.readouterr().out.count('WARNING: ') == 1


def test_a_log_that_cannot_be_written_from_the_start_ends_in_one_line(tmp_path):
    (tmp_path / 'log.jsonl').mkdir()
    with pytest.raises(SystemExit, match='log.jsonl: cannot be written .*; make room or choose another'):
        Log(tmp_path / 'log.jsonl', iter_num=0, evaluated=0)


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs a place that is always full')
@pytest.mark.parametrize('how, reached', [('say', True), ('print', False)])
def test_a_terminal_that_is_gone_does_not_end_a_run(tmp_path, how, reached):
    code = 'from lib.log import say; ' \
        f"{how}('a line'{'' if reached else ', flush=True'}); open('reached', 'w')"
    with open('/dev/full', 'w', encoding='utf-8') as full:
        subprocess.run([sys.executable, '-c', code], cwd=tmp_path, env=os.environ | {'PYTHONPATH': REPO},
                       stdout=full, stderr=subprocess.DEVNULL)
    assert (tmp_path / 'reached').exists() == reached


def test_a_picture_that_cannot_be_written_is_told(tmp_path, capsys):
    pytest.importorskip('matplotlib')
    draw_loss(tmp_path / 'log.jsonl', tmp_path / 'missing' / 'loss.png')
    assert 'could not be written (No such file or directory)' in capsys.readouterr().out


def test_a_new_run_begins_an_empty_log(tmp_path):
    Log(tmp_path / 'log.jsonl', iter_num=0, evaluated=0).write(PROGRESS)
    Log(tmp_path / 'log.jsonl', iter_num=0, evaluated=0)
    assert read_log(tmp_path / 'log.jsonl') == []


def test_without_a_file_there_are_no_records(tmp_path):
    assert read_log(tmp_path / 'none.jsonl') == []


def test_a_progress_line_has_a_unit_on_every_number():
    assert progress_line(PROGRESS, 5000, 1_388_000, 0.382, 56) == (
        'iter  250/5000 | loss 1.6021 | lr 1.00e-03 | norm 0.52 |   11.8 ms | 1,388,000 tok/s | mfu 38.2% | '
        'epoch 1.23 | eta 0:00:56')


def test_F2_mfu_is_not_available_on_a_device_whose_peak_is_not_known():
    assert '| mfu n/a |' in progress_line(PROGRESS, 5000, 1_388_000, 0.0, 56)


def test_the_columns_stay_where_they_are_from_the_first_line_to_the_last():
    lines = [progress_line(PROGRESS | {'iter': i, 'dt': dt}, 5000, 1_388_000, 0.382, 56)
             for i, dt in ((1, 1.2345), (10, 0.0118), (5000, 0.012))]
    places = [[i for i, letter in enumerate(line) if letter == '|'] for line in lines]
    assert places[0] == places[1] == places[2]


def test_a_validation_line_says_what_was_saved():
    assert validation_line(VALIDATION, 5000, ['out/ckpt.pt', 'out/best.pt']) == (
        'iter  250/5000 | val 1.5874 (best) ppl 4.89 | 2.2900 bits per byte | saved out/ckpt.pt, out/best.pt')
    assert '(best)' not in validation_line(VALIDATION | {'best': False}, 5000, [])


def test_without_a_last_iter_the_total_is_left_out():
    assert progress_line(PROGRESS, 0, 1, 0.0, 56).startswith('iter 250 | ')


@pytest.mark.parametrize('records', [[PROGRESS, VALIDATION], [PROGRESS], [VALIDATION], [],
                                     [PROGRESS, {'iter': 3, 'val_loss': math.nan}]])
def test_the_loss_curve_is_a_picture_whatever_the_log_holds(tmp_path, records):
    log = Log(tmp_path / 'log.jsonl', iter_num=0, evaluated=0)
    for record in records:
        log.write(record)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        draw_loss(tmp_path / 'log.jsonl', tmp_path / 'loss.png')
    from matplotlib import pyplot
    height, width, _ = pyplot.imread(tmp_path / 'loss.png').shape
    assert 300 < height < width
    assert not (tmp_path / 'loss.png.tmp').exists()


# ---- wandb ----

def test_a_wandb_that_cannot_start_says_so_and_gives_none(wandb, monkeypatch, capsys):
    monkeypatch.setenv('WANDB_MODE', 'no such mode')
    assert start_wandb('project', 'name', {}) is None
    printed = capsys.readouterr().out
    assert printed.startswith('wandb: ') and printed.endswith('going on with log.jsonl alone\n')
    assert printed.count('\n') == 1


def test_a_wandb_that_breaks_ends_no_run_and_says_so_once(wandb, capsys, tmp_path):
    log = Log(tmp_path / 'log.jsonl', 0, 0, start_wandb('project', 'name', {'seed': 1}))
    log.write(PROGRESS)
    wandb.finish() # from here on its run refuses to log
    for _ in range(3):
        log.write(PROGRESS)
    assert len(read_log(tmp_path / 'log.jsonl')) == 4
    assert capsys.readouterr().out.count('wandb: stopped logging') == 1
    assert list(tmp_path.glob('wandb/offline-run-*/*.wandb'))
