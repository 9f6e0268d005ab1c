"""What a run leaves and prints: files, console lines, what it says when something goes wrong."""
import json
import math
import os
import platform
import random
import re
import signal
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from conftest import TINY, fail_at, files, log_of, mistake, read, run_forked, same

import model
from data import bins
from lib import recorder
from lib.checkpoint import RunState, numbered
from lib.log import StepMonitor

BRIEF = '--eval_tokens=256',


def test_run_json_the_log_and_the_loss_curve_hold_what_is_documented(dataset, trained):
    found = json.loads(Path(trained, 'run.json').read_text(encoding='utf-8'))
    checkpoint = read(os.path.join(trained, 'ckpt.pt'))
    assert found['settings'] == checkpoint['settings'] and found['model_config'] == checkpoint['model_config']
    assert found['n_params'] == sum(w.numel() for w in checkpoint['model'].values())
    assert found['versions'] == {'python': platform.python_version(), 'torch': torch.__version__,
                                 'numpy': found['versions']['numpy']}
    assert found['machine']['device'] == 'cpu' and found['pid'] == os.getpid()
    assert found['command'][-1] == '--out_dir=out'
    records = log_of(trained, 'iter')
    fields = {'loss': {'iter', 'loss', 'lr', 'norm', 'dt', 'tokens', 'epoch'},
              'val_loss': {'iter', 'val_loss', 'perplexity', 'bits_per_byte', 'best'}}
    iters = {key: [record['iter'] for record in records if record.keys() == fields[key]] for key in fields}
    assert iters == {'loss': list(range(1, 41)), 'val_loss': [20, 40]} and len(records) == 42
    assert records[0]['loss'] > 2.5 > 2.4 > records[-2]['loss']
    assert pytest.importorskip('matplotlib.pyplot').imread(os.path.join(trained, 'loss.png')).ndim == 3
    n_chars = os.path.getsize(os.path.join(dataset, 'val.bin')) // 2 # one uint16 each
    val = Path(dataset).with_name('text.txt').read_text(encoding='utf-8')[-n_chars:]
    record = log_of(trained, 'val_loss')[-1]
    assert len(val.encode('utf-8')) > len(val) # so that a byte is not a token
    assert math.isclose(record['perplexity'], math.exp(record['val_loss']))
    bits = record['val_loss'] / math.log(2) * len(val)
    assert math.isclose(record['bits_per_byte'], bits / len(val.encode('utf-8')))


@pytest.mark.parametrize('flags, kept', [(['--save_interval=2'], [4, 6, 7]),
    (['--save_minutes=1e-9'], [5, 6, 7]), (['--save_interval=1', '--no-save_checkpoints'], [])])
def test_the_last_checkpoints_are_kept_by_number_and_by_the_clock_or_none(train, tmp_path, flags, kept):
    result = train('--max_iters=7', '--eval_interval=0', '--keep=3', *BRIEF, *flags)
    assert result.status == 0 and [iter_num for iter_num, _ in numbered(tmp_path / 'out')] == kept
    assert len(log_of(tmp_path / 'out')) == 7
    if not kept:
        assert '.pt' not in result.out and 'sample.py' not in result.out and not list(tmp_path.rglob('*.pt'))


def test_rising_validation_is_reported_once_and_the_last_samples_are_of_the_best_weights(train, tmp_path):
    constant = '--eval_interval=1', '--no-decay_lr', *BRIEF
    train('--max_iters=2', *constant)
    result = train('--max_iters=6', *constant, '--init_from=resume', '--learning_rate=1', '--grad_clip=0')
    losses = [record['val_loss'] for record in log_of(tmp_path / 'out', 'val_loss')]
    assert len(losses) == 6 and losses[1] == min(losses)
    best, last = (read(tmp_path / 'out' / name) for name in ('best.pt', 'ckpt.pt'))
    assert best['best_val_loss'] == last['best_val_loss'] == losses[1] # best is the least of all
    assert (best['iter_num'], last['iter_num'], best['optimizers']) == (2, 6, [])
    assert result.out.count('not improved for 3 evaluations: the model overfits; the best is') == 1
    samples = re.search('(?s)samples of out/best.pt, from iter 2:\n(.+)\ndone in', result.out)[1].strip()
    again = train('--max_iters=1', '--init_from=out', '--out_dir=again', '--learning_rate=0',
                  '--muon_learning_rate=0', *BRIEF).out
    assert f'val {losses[1]:.4f}' in again and samples and samples in again


def test_a_run_stopped_before_its_first_update_leaves_no_best_checkpoint(train, tmp_path, monkeypatch):
    monkeypatch.setattr('lib.signals.StopSignals', lambda: SimpleNamespace(received=['SIGTERM']))
    assert 'stopped by SIGTERM after iter 0; saved out/ckpt.pt' in train('--max_iters=9', *BRIEF).out
    assert [path.name for path in (tmp_path / 'out').glob('*.pt')] == ['ckpt.pt']


def test_sample_interval_prints_text_and_zero_intervals_print_nothing(train):
    words = '--max_iters=5', '--eval_interval=0', '--peak_tflops=0.001', *BRIEF
    out = train('--sample_interval=2', *words).out
    rules = [part.count('-' * 20 + '\n') for part in re.split(r'(?m)^iter \d/5 \| loss', out)]
    assert rules == [0, 0, 2, 0, 2, 4] # above and below each of one, one and three texts
    assert out.count('| mfu ') == 5
    out = train('--log_interval=0', '--overwrite', *words).out
    assert (out.count(' tok/s '), out.count('| val '), out.count(' | saved ')) == (0, 1, 1)


@pytest.mark.parametrize('owner, name, call, saved', [
    (RunState, 'record_eval', 1, 4), (recorder, 'generate_texts', 1, 5), (bins, 'update_windows', 6, 5),
    (torch.optim.AdamW, 'step', 6, 4)]) # Muon has made its part of update 6 by then
def test_an_error_saves_the_last_whole_update(train, tmp_path, monkeypatch, owner, name, call, saved):
    words = '--sample_interval=5', '--save_interval=2', '--lr_decay_iters=9', *BRIEF
    with monkeypatch.context() as patch, pytest.raises(OSError, match='No space left'):
        fail_at(patch, owner, name, call)
        train('--max_iters=9', '--eval_interval=4', *words)
    train(f'--max_iters={saved}', '--out_dir=whole', *words)
    mine, whole = (read(tmp_path / out / 'ckpt.pt') for out in ('out', 'whole'))
    assert mine['iter_num'] == saved and same(mine['model'], whole['model'])
    states = [[each['state'] for each in checkpoint['optimizers']] for checkpoint in (mine, whole)]
    assert same(*states)


@pytest.mark.parametrize('owner, name, saved', [
    (model, 'cross_entropy_sum', None), (recorder, 'snapshot', 3), (recorder, 'generate_texts', 3)])
def test_no_memory_is_one_line_that_says_what_needs_less(train, tmp_path, monkeypatch, owner, name, saved):
    error = torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')
    fails_once = mock.Mock(wraps=getattr(owner, name), side_effect=[error, *[mock.DEFAULT] * 9])
    monkeypatch.setattr(owner, name, fails_once)
    message = mistake(train('--max_iters=9', '--sample_interval=3', '--save_interval=3', *BRIEF))
    assert 'train.py: out of memory on cpu; memory about ' in message and '--batch_size=2' in message
    if saved is None: # no update was made, so the same command can be tried again with less
        assert not list(tmp_path.rglob('*.pt'))
    else:
        assert read(tmp_path / 'out' / 'ckpt.pt')['iter_num'] == saved # while the run ended


@pytest.mark.parametrize('signal_name, max_iters', [('', 3), ('SIGINT', 2000)])
def test_a_skipped_update_right_before_the_end_is_saved(train, tmp_path, monkeypatch, signal_name, max_iters):
    words, real, calls = ('--lr_decay_iters=9', *BRIEF), model.cross_entropy_sum, []

    def overflow_in_update_3(*args):
        calls.append(args)
        if len(calls) == 3 and signal_name:
            signal.raise_signal(signal.SIGINT)
        return real(*args) * (math.inf if len(calls) == 3 else 1)

    with monkeypatch.context() as patch:
        patch.setattr(model, 'cross_entropy_sum', overflow_in_update_3)
        result = train(f'--max_iters={max_iters}', *words)
    assert result.status == 0 and 'update skipped (1/10 in a row)' in result.out, result
    train('--max_iters=2', '--out_dir=two', *words)
    mine, two = (read(tmp_path / out / 'ckpt.pt') for out in ('out', 'two'))
    assert (mine['iter_num'], mine['skipped_steps']) == (3, 1) and same(mine['model'], two['model'])


@pytest.mark.parametrize('arch, flags, expected', [
    ('modern', ['--max_bad_steps=3', '--muon_learning_rate=1e18'], '3 times in a row, last at iter'),
    ('gpt2', ['--eval_interval=1', '--learning_rate=1e18'], 'validation loss (nan|inf) after iter 3'),
    ('gpt2', ['--save_interval=1', '--learning_rate=1e18'], 'weights or their loss are not finite after')])
def test_a_run_that_diverges_is_one_line_and_keeps_the_good_files(train, tmp_path, arch, flags, expected):
    words = f'--arch={arch}', '--warmup_iters=0', '--no-decay_lr', *BRIEF
    train('--max_iters=2', *words)
    before = files(tmp_path / 'out')
    result = train('--max_iters=99', '--init_from=resume', *words, *flags)
    assert re.search(expected, mistake(result))
    assert 'the last good checkpoint is out/ckpt.pt of iter 2' in result.message
    assert '--learning_rate' in result.message
    after = files(tmp_path / 'out')
    assert all(after[name] == before[name] for name in after if name.suffix == '.pt')
    assert len(log_of(tmp_path / 'out', 'skipped')) == result.out.count('update skipped (')


def test_the_weights_before_skipped_updates_that_end_a_run_are_not_saved(train, tmp_path, monkeypatch):
    real = model.cross_entropy_sum # infinite in training, finite where weights are checked before a save
    monkeypatch.setattr(model, 'cross_entropy_sum',
                        lambda *args: real(*args) * (math.inf if torch.is_grad_enabled() else 1))
    assert '3 times in a row' in mistake(train('--max_iters=9', '--max_bad_steps=3', *BRIEF))
    assert not list(tmp_path.rglob('*.pt'))


def monitored(losses, norm=1.0, scaled=False, max_bad_steps=10):
    """(StepMonitor that has read these losses, what it logged)."""
    records = []
    monitor = StepMonitor(RunState(), max_bad_steps)
    monitor.write, monitor.last_good = records.append, lambda: 'out/ckpt.pt of iter 7'
    for i, loss in enumerate(losses):
        stats = torch.tensor([loss, norm, float(math.isfinite(loss + norm))])
        monitor.push(i + 1, 1e-3, stats, scaled)
    monitor.read()
    json.dumps(records, allow_nan=False) # what JSON cannot represent must not get this far
    return monitor, records


def test_skipped_updates_in_a_row_end_the_run_single_ones_do_not_and_a_spike_but_no_noise_is_reported(capsys):
    monitor, records = monitored([1.0] * 5, norm=math.inf, scaled=True, max_bad_steps=2) # by the scaler
    assert (monitor.state.skipped_steps, records) == (0, [])
    assert capsys.readouterr().out.count('gradient overflow in float16') == 5
    with pytest.raises(SystemExit, match='3 times in a row, last at iter 7 .loss nan . lr 1.00e-03'):
        monitored([1.0, math.nan, math.nan, 1.0, math.inf, math.nan, math.nan], max_bad_steps=3)
    with pytest.raises(SystemExit, match='norm inf.*out/ckpt.pt of iter 7'):
        monitored([1.0, 1.0], norm=math.inf, max_bad_steps=2)
    _, records = monitored([math.nan, 1.0, math.inf])
    assert [(r['iter'], r['skipped'], r['skipped_loss']) for r in records] == [(1, 1, 'nan'), (3, 2, 'inf')]
    for seed in range(20):
        rng = random.Random(seed)
        noisy = [3 + rng.gauss(0, 0.1) - i / 1000 for i in range(500)]
        assert not monitored([10 - i / 10 for i in range(70)] + noisy)[1]
    records = monitored([*noisy[:80], 6.0, *noisy[:5]])[1]
    assert [(r['iter'], r['spike']) for r in records] == [(81, 6.0)]
    assert 'iter 81 | loss spike: 6.0000, running mean 2.9' in capsys.readouterr().out


def full_stdout():
    os.dup2(os.open('/dev/full', os.O_WRONLY), 1)


def stdout_without_a_reader():
    reader, writer = os.pipe()
    os.close(reader) # as head does
    os.dup2(writer, 1)


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs /dev/full')
@pytest.mark.parametrize('setup', [full_stdout, stdout_without_a_reader])
def test_a_run_outlives_a_stdout_that_is_full_or_gone(dataset, tmp_path, setup):
    words = f'--dataset={dataset}', *TINY, '--max_iters=2', '--out_dir=out', *BRIEF
    assert run_forked('train.py', *words, cwd=tmp_path, setup=setup) == (0, '')
    assert read(tmp_path / 'out' / 'ckpt.pt')['iter_num'] == 2


def test_wandb_gets_the_log_offline(train, wandb, tmp_path):
    result = train('--max_iters=2', '--wandb_log', '--wandb_run_name=mine', *BRIEF)
    assert result.status == 0 and 'wandb:' not in result.out, result
    wandb.teardown()
    runs = list(tmp_path.glob('wandb/offline-run-*/*.wandb'))
    assert len(runs) == 1 and b'val_loss' in runs[0].read_bytes()
