"""What watches over a run: skipped updates, spikes, memory."""
import json
import math
import os
import random

import pytest
import torch
from conftest import TINY, is_one_line, process, run

from lib.guard import Watch, memory_needed, out_of_memory_told, problems, smaller, weights_are_sound
from model import GPT, GPTConfig
from train import config

SHAPE = GPTConfig(vocab_size=65, block_size=256, n_layer=4, n_head=4, n_embd=256)
NO_CAST = torch.autocast('cpu', enabled=False)


class Lines:
    """Takes what a Log takes."""

    def __init__(self):
        self.records = []

    def write(self, record):
        json.dumps(record, allow_nan=False) # what JSON cannot say must not get this far
        self.records.append(record)


def told(watch, losses, norm=1.0):
    for i, loss in enumerate(losses):
        good = math.isfinite(loss + norm)
        watch.note(i + 1, torch.tensor(loss), torch.tensor(norm), torch.tensor(good), 1e-3)


# ---- updates ----

def test_A15_so_many_skipped_updates_in_a_row_end_the_run_with_all_there_is_to_know():
    watch = Watch(3, last_good=lambda: 'out/ckpt.pt of iter 7')
    told(watch, [1.0, math.nan, math.nan, 1.0, math.inf, math.nan, math.nan])
    with pytest.raises(SystemExit) as error:
        watch.settle()
    message = str(error.value)
    assert all(word in message for word in (
        '3 times in a row', 'iter 7', 'loss nan', 'lr 1.00e-03', 'norm 1.0', '--learning_rate',
        'the last good file is out/ckpt.pt of iter 7'))
    assert '\n' not in message and watch.skipped == 5


def test_A15_a_gradient_that_is_not_finite_counts_as_a_loss_that_is_not():
    watch = Watch(2)
    told(watch, [1.0, 1.0], norm=math.inf)
    with pytest.raises(SystemExit, match='norm inf'):
        watch.settle()


def test_skipped_updates_are_counted_and_logged_in_json(capsys):
    watch = Watch(10, log=Lines())
    told(watch, [math.nan, 1.0, math.inf])
    watch.settle()
    assert [(r['iter'], r['skipped'], r['skipped_loss']) for r in watch.log.records] == [(1, 1, 'nan'),
                                                                                       (3, 2, 'inf')]
    assert capsys.readouterr().out.count('not finite, update skipped (1 in a row, 10 end the run)') == 2


def test_the_last_updates_are_not_asked_about_before_their_time():
    watch = Watch(1)
    told(watch, [1.0, math.nan])
    watch.settle(lag=1)
    assert len(watch.unsettled) == 1
    with pytest.raises(SystemExit):
        watch.settle()


def noisy(count, seed=0):
    rng = random.Random(seed)
    return [3 + rng.gauss(0, 0.1) - i / 1000 for i in range(count)]


def test_a_spike_of_the_loss_is_told_and_logged(capsys):
    watch = Watch(10, log=Lines())
    told(watch, [*noisy(80), 6.0, *noisy(5, 1)])
    watch.settle()
    assert [(r['iter'], r['spike']) for r in watch.log.records] == [(81, 6.0)]
    assert abs(watch.log.records[0]['usual'] - 2.94) < 0.05
    assert 'iter 81 | loss 6.0000 | a spike: lately it was 2.9' in capsys.readouterr().out


def test_noise_and_the_fall_at_the_beginning_are_no_spikes():
    for seed in range(20):
        watch = Watch(10, log=Lines())
        told(watch, [10 - i / 10 for i in range(70)] + noisy(1000, seed))
        watch.settle()
        assert not watch.log.records


@pytest.mark.parametrize('value, place, sound', [(1.0, 'none', True), (math.nan, 'a weight', False),
                                                 (1e30, 'all weights', False)])
def test_weights_are_sound_when_they_and_the_loss_they_give_are_finite(value, place, sound):
    model = GPT(GPTConfig(arch='gpt2', vocab_size=13, block_size=8, n_layer=1, n_head=1, n_embd=8)).train()
    with torch.no_grad():
        if place == 'a weight':
            model.transformer.h[0].attn.c_attn.weight[3, 3] = value
        if place == 'all weights': # each is finite, what they give together is not
            for p in model.parameters():
                p.mul_(value)
    x = torch.arange(8)[None]
    assert weights_are_sound(model, x, x, NO_CAST) is sound
    assert model.training


# ---- settings ----

@pytest.mark.parametrize('init_from, count', [('scratch', 1), ('resume', 0), ('gpt2', 0)])
def test_the_shape_in_the_settings_matters_only_where_it_is_used(init_from, count):
    assert len(problems(config.settings | {'init_from': init_from, 'n_head': 3})) == count


def test_the_defaults_are_possible():
    assert problems(config.settings) == []


# ---- memory ----

@pytest.mark.parametrize('batch_size, accumulation, said', [
    (12, 1, '--batch_size=6 --gradient_accumulation_steps=2'),
    (15, 4, '--batch_size=5 --gradient_accumulation_steps=12'),
    (7, 1, '--batch_size=1 --gradient_accumulation_steps=7'),
    (1, 8, '--block_size=128 --gradient_accumulation_steps=16')])
def test_what_is_advised_needs_less_memory_for_the_same_tokens(batch_size, accumulation, said):
    assert said in smaller(SHAPE, batch_size, accumulation)


def test_other_errors_than_memory_are_left_alone():
    with pytest.raises(RuntimeError, match='mine'), out_of_memory_told(SHAPE, 1, 1, 'muon', 'float32', 'cpu'):
        raise RuntimeError('mine')


@pytest.mark.parametrize('error', [MemoryError(), torch.OutOfMemoryError('CUDA out of memory')])
def test_running_out_of_memory_is_one_line_with_numbers_and_a_way_out(error):
    with pytest.raises(SystemExit) as told, out_of_memory_told(SHAPE, 8, 1, 'muon', 'float32', 'cpu'):
        raise error
    message = str(told.value)
    assert '\n' not in message and 'weights 13.0 MB' in message and '--batch_size=4' in message


@pytest.mark.skipif(os.name != 'posix', reason='needs a limit on memory')
def test_a_run_that_is_too_large_for_the_machine_ends_in_one_line(dataset, tmp_path):
    words = [flag for flag in TINY if not flag.startswith(('--n_embd', '--block_size', '--batch_size'))]
    words += [f'--dataset={dataset}', '--n_embd=256', '--block_size=1024', '--batch_size=96', '--out_dir=out']
    limited = ('import resource, runpy, sys, torch;'
               'mine = int(open("/proc/self/statm", encoding="utf-8").read().split()[0]);'
               'resource.setrlimit(resource.RLIMIT_AS, (mine * 4096 + (2 << 30),) * 2);' # 2 GB more
               'sys.argv = sys.argv[1:]; sys.path.insert(0, sys.argv[0].rpartition("/")[0]);'
               'runpy.run_path(sys.argv[0], run_name="__main__")')
    if not os.path.exists('/proc/self/statm'):
        pytest.skip('needs /proc')
    result = process('train.py', *words, cwd=tmp_path, before=('-c', limited))
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()
    assert len(last) == 1 and 'cpu has no more memory; memory about' in last[0], result.stderr
    assert '--batch_size=48 --gradient_accumulation_steps=2' in last[0]


# not getrusage: it begins with what the parent had
PEAK = ('import runpy, sys; sys.argv = sys.argv[1:];'
        'sys.path.insert(0, sys.argv[0].rpartition("/")[0]);'
        'runpy.run_path(sys.argv[0], run_name="__main__");'
        'status = dict(line.split(":") for line in open("/proc/self/status", encoding="utf-8"));'
        'print("peak", status["VmHWM"].split()[0])') # kilobytes


def peak(*words, cwd):
    """Bytes of memory that a run took at its worst, all in all."""
    if not os.path.exists('/proc/self/status'):
        pytest.skip('needs /proc')
    result = process('train.py', *words, cwd=cwd, before=('-c', PEAK))
    assert result.returncode == 0, result.stderr
    return int(result.stdout.split()[-1]) * 1024


@pytest.fixture(scope='module')
def medium(dataset):
    words = [flag for flag in TINY if not flag.startswith(('--n_layer', '--n_embd', '--block_size'))]
    return [f'--dataset={dataset}', *words, '--max_iters=2', '--eval_tokens=100', '--n_layer=4',
            '--optimizer=adamw']


@pytest.mark.slow
def test_the_memory_that_a_dry_run_tells_is_what_a_run_takes(medium, tmp_path):
    words = *medium, '--n_embd=256', '--block_size=512', '--batch_size=8'
    taken = peak(*words, cwd=tmp_path) - peak(*words, '--dry_run', cwd=tmp_path)
    shape = GPTConfig(vocab_size=30, block_size=512, n_layer=4, n_head=2, n_embd=256)
    told = sum(memory_needed(shape, 8, 'adamw', 'float32').values())
    assert 0.7 < told / taken < 1.3


def test_resuming_takes_no_more_memory_than_beginning(medium, tmp_path):
    words = *medium, '--n_embd=512', '--block_size=32', '--out_dir=out' # weights of 50 MB, few tokens
    fresh = peak(*words, cwd=tmp_path)
    assert peak(*words, '--init_from=resume', '--max_iters=4', cwd=tmp_path) < fresh + (25 << 20)


def test_a_dry_run_tells_what_the_run_would_be_and_writes_nothing(dataset, tmp_path):
    result = run('train.py', f'--dataset={dataset}', *TINY, '--max_iters=40', '--dry_run', cwd=tmp_path)
    assert result.status == 0, result.message
    assert '| 2 layers, 32 wide' in result.out and 'updates of 128 tokens' in result.out
    assert 'memory about ' in result.out and 'run: 40 updates, 5,120 tokens, 0.1' in result.out
    assert not list(tmp_path.iterdir())


def test_a_dry_run_prepares_no_data(tmp_path):
    (tmp_path / 'my.txt').write_text('some text ' * 100, encoding='utf-8')
    result = run('train.py', '--dataset=text', '--input=my.txt', '--out_dir=out', '--dry_run', cwd=tmp_path)
    assert is_one_line(result) and 'prepare.py' in result.message
    assert [path.name for path in tmp_path.iterdir()] == ['my.txt']
