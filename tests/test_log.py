"""log.jsonl, the loss curve, wandb, the clock and the lines that are printed."""
import io
import itertools
import json
import math
import os
import sys

import pytest
from conftest import error_of, full_disk

from data.messages import describe
from lib import log as log_module
from lib.log import Clock, Log, draw_loss, progress_line, read_log, start_wandb, validation_line

PROGRESS = {'iter': 250, 'loss': 1.60214, 'lr': 1e-3, 'norm': 0.5234, 'dt': 0.0118, 'tokens': 4096000,
            'epoch': 1.234}
VALIDATION = {'iter': 250, 'val_loss': 1.5874, 'perplexity': 4.891, 'bits_per_byte': 2.29, 'best': True}


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'log.jsonl'


def test_each_record_is_a_line_and_a_resumed_run_keeps_those_before_its_checkpoint_a_new_one_none(path):
    assert read_log(path) == [] # without a file
    log = Log(path, 0, 0)
    for record in (PROGRESS, VALIDATION):
        log.write(record)
    assert list(map(json.loads, path.read_bytes().splitlines())) == read_log(path) == [PROGRESS, VALIDATION]
    log = Log(path, 0, 0)
    assert path.read_bytes() == b''
    for i, key in itertools.product(range(1, 7), ('loss', 'val_loss')):
        log.write({'iter': i, key: 1 / 3})
    before = path.read_text(encoding='utf-8').splitlines()
    with open(path, 'a', encoding='utf-8') as file:
        file.write('{"iter": 3, "lo') # cut short by a crash
    Log(path, iter_num=4, last_eval_iter=3).write({'iter': 5, 'loss': 2.0}) # killed while it evaluated at 4
    assert path.read_text(encoding='utf-8').splitlines() == [*before[:7], '{"iter": 5, "loss": 2.0}']
    path.unlink()
    path.mkdir()
    assert error_of(Log, path, 0, 0).endswith('choose another --out_dir')


def test_damaged_lines_are_left_out_wherever_they_stand_and_the_rest_is_drawn(tmp_path, path, capsys):
    good = b'{"iter": 1, "loss": 2.0}\n'
    for line in (b'', b'x', b'{}', b'[]', b'{"iter": "2"}', b'{"iter": 2}{"iter": 3}', b'\x00' * 50,
                 b'[' * 100_000 + b'}', b'{"loss": 1.0}', b'{"iter": 2, "loss": "x"}', b'{"iter": true}',
                 b'\xff\xfe', b'{"iter": 1%s}' % (b'0' * 400), b'{"iter": 2, "loss": 1%s}' % (b'0' * 400)):
        path.write_bytes(good + line + b'\n' + good)
        assert read_log(path) == [{'iter': 1, 'loss': 2.0}] * 2, line[:50]
    draw_loss(path, tmp_path / 'loss.png') # with a number that no float holds
    assert capsys.readouterr().out == '' and (tmp_path / 'loss.png').exists()


def test_a_full_disk_costs_lines_with_one_warning_and_leaves_complete_lines(path, capsys):
    log = Log(path, 0, 0)
    log.write({'iter': 1, 'loss': 1.0})
    with full_disk(path.stat().st_size + 5): # space for half a line
        log.write({'iter': 2, 'loss': 1.0})
        log.write({'iter': 3, 'loss': 1.0})
    log.write({'iter': 4, 'loss': 1.0})
    assert path.read_text(encoding='utf-8').splitlines() == [f'{{"iter": {i}, "loss": 1.0}}' for i in (1, 4)]
    assert capsys.readouterr().out.count('WARNING: ') == 1


def test_a_closed_stdout_ends_nothing_and_characters_it_lacks_become_numbers(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding='ascii', newline='\n')
    with monkeypatch.context() as patch:
        patch.setattr(sys, 'stdout', stream)
        log_module.say('caf\xe9 \u2019')
        log_module.say('next')
        assert stream.buffer.getvalue() == b'caf\\xe9 \\u2019\nnext\n'
        stream.close()
        log_module.say('nobody reads this')


@pytest.mark.parametrize('folder, records', [
    ('out', [PROGRESS, VALIDATION]), ('empty', []), ('a$^$b', [VALIDATION, PROGRESS | {'loss': math.nan}]),
    ('inf', [{'iter': 1, 'loss': math.inf}, {'iter': 2, 'loss': 2.0}])])
def test_the_loss_curve_is_a_picture_or_one_line(tmp_path, path, capsys, monkeypatch, records, folder):
    pyplot, picture = pytest.importorskip('matplotlib.pyplot'), tmp_path / folder / 'loss.png'
    log = Log(path, 0, 0)
    for record in records:
        log.write(record)
    draw_loss(path, picture)
    assert 'could not be written (No such file or directory)' in capsys.readouterr().out
    (tmp_path / folder).mkdir()
    draw_loss(path, picture)
    height, width, _ = pyplot.imread(picture).shape
    assert 300 < height < width and os.listdir(tmp_path / folder) == ['loss.png']
    monkeypatch.setattr('matplotlib.pyplot.subplots', lambda **_: 1 / 0)
    draw_loss(path, picture)
    assert capsys.readouterr().out == 'loss curve: not drawn (ZeroDivisionError: division by zero)\n'


def test_lines_have_a_unit_on_every_number_their_columns_stay_in_place_and_what_is_unknown_is_left_out():
    lines = [progress_line(PROGRESS | {'iter': i, 'dt': dt}, 5000, 1_388_000, 0.382, 56)
             for i, dt in ((250, 0.0118), (1, 1.2345), (5000, 0.012))]
    assert lines[0] == ('iter  250/5000 | loss 1.6021 | lr 1.00e-03 | norm 0.52 |   11.8 ms | '
                        '1,388,000 tok/s | mfu 38.2% | epoch 1.23 | eta 0:00:56')
    columns = [[i for i, letter in enumerate(line) if letter == '|'] for line in lines]
    assert columns[0] == columns[1] == columns[2]
    assert validation_line(VALIDATION, 5000) == ('iter  250/5000 | val 1.5874 (best) ppl 4.89 | '
                                                 '2.2900 bits per byte')
    later = VALIDATION | {'best': False, 'bits_per_byte': None}
    assert validation_line(later, 0) == 'iter 250 | val 1.5874 ppl 4.89'
    for seconds, eta in ((0.4, '0:00:00'), (62, '0:01:02'), (273906, '3 days, 4:05:06'), (1e10, 'unknown'),
                         (math.inf, 'unknown'), (math.nan, 'unknown')):
        line = progress_line(PROGRESS, 0, 1, 0.0, seconds)
        assert line.startswith('iter 250 | ') and 'mfu' not in line and line.endswith(f'| eta {eta}')


def test_the_clock_counts_earlier_minutes_and_leaves_pauses_out_of_the_duration_of_updates(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(log_module, 'perf_counter', lambda: now[0])
    clock = Clock(minutes=2.0)
    now[0] += 30
    with clock.paused():
        now[0] += 60
    clock.lap_updates = 3
    assert clock.minutes == 3.5 and clock.lap() == 10.0 # evaluation counts as training, not as updates
    now[0] += 5
    assert clock.lap() == 5.0 and clock.laps == 2 # no update since the last lap


def test_a_wandb_that_fails_or_cannot_start_is_one_line(wandb, monkeypatch, capsys, tmp_path, path):
    log = Log(path, 0, 0, start_wandb('project', 'name', {'seed': 1}))
    log.write(PROGRESS)
    wandb.finish() # from here on its run refuses to log
    for _ in range(3):
        log.write(PROGRESS)
    assert len(read_log(path)) == 4 and list(tmp_path.glob('wandb/offline-run-*/*.wandb'))
    assert capsys.readouterr().out.count('wandb: stopped logging') == 1
    wandb.teardown() # it reads its environment once
    monkeypatch.setenv('WANDB_MODE', 'no such mode')
    assert start_wandb('project', 'name', {}) is None
    line, = capsys.readouterr().out.splitlines()
    assert line.startswith('wandb: ') and line.endswith('; continuing with log.jsonl only')
    assert describe(TimeoutError()) == 'TimeoutError' and describe(ValueError(' a\n b ')) == 'ValueError: a b'
