"""A run that stops, for whatever reason, and continues: exactly, or with one line that says why not."""
import functools
import os
import shlex
import shutil
import signal
import time

import conftest
import pytest
import torch
from conftest import (
    TINY,
    assert_same_run,
    files,
    fork,
    in_child,
    log_of,
    mistake,
    prepared,
    read,
    run,
    run_forked,
)

from lib.checkpoint import save
from lib.signals import StopSignals

BRIEF = '--eval_tokens=256', '--lr_decay_iters=9'


@pytest.mark.parametrize('flags', [(), ('--dropout=0.2', '--gradient_accumulation_steps=2'),
                                   ('--arch=gpt2', '--dropout=0.2', '--schedule=cosine')], ids=str)
def test_three_updates_and_three_after_resuming_equal_six_bit_for_bit(train, tmp_path, flags):
    train('--max_iters=6', '--out_dir=whole', *BRIEF, *flags)
    train('--max_iters=3', '--out_dir=cut', *BRIEF, *flags)
    result = train('--max_iters=6', '--out_dir=cut', '--init_from=auto', *BRIEF, *flags)
    assert result.status == 0 and 'resume: cut/ckpt.pt, iter 3' in result.out, result
    assert_same_run(tmp_path / 'cut', tmp_path / 'whole')
    finished = train('--max_iters=6', '--out_dir=cut', '--init_from=auto', *BRIEF, *flags)
    assert finished.status == 0 and 'cut is already at iter 6 of 6: nothing to do' in finished.out


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_the_second_signal_of_a_kind_ends_the_process_and_under_nohup_a_closed_terminal_does_not():
    def run_under_nohup(*numbers):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signals = StopSignals()
        for number in numbers:
            signal.raise_signal(number)
        assert signals.received == ['SIGTERM', 'SIGINT'][:len(numbers) - 1]

    for more, status in ((signal.SIGINT,), 0), ((signal.SIGTERM,), -signal.SIGTERM):
        words = signal.SIGHUP, signal.SIGTERM, *more
        assert in_child(functools.partial(run_under_nohup, *words)) == status


@pytest.mark.skipif(os.name != 'posix', reason='needs SIGKILL')
def test_a_run_keeps_others_out_until_it_is_killed_and_resumes_bit_for_bit(train, dataset, tmp_path):
    flags = '--dropout=0.2', '--lr_decay_iters=1000', '--save_interval=3', '--eval_tokens=256'
    words = f'--dataset={dataset}', *TINY, *flags, '--max_iters=100000', '--out_dir=cut'
    child = fork('train.py', *words, cwd=tmp_path)
    while not (tmp_path / 'cut' / 'ckpt.pt').exists():
        assert child.is_alive()
        time.sleep(0.01)
    (tmp_path / 'my.txt').write_text('another text\n' * 99, encoding='utf-8') # must not replace the data
    for more in (['--overwrite', '--dataset=text', '--input=my.txt'], ['--init_from=resume']):
        second = train(*flags, '--max_iters=5', '--out_dir=cut', *more)
        assert f'cut is in use by process {child.pid} on ' in mistake(second)
    assert child.is_alive() and log_of(tmp_path / 'cut')[0]['iter'] == 1
    assert not (tmp_path / 'cut' / 'data').exists()
    child.kill() # SIGKILL: it cannot clean up
    child.join()
    more = f'--max_iters={read(tmp_path / "cut" / "ckpt.pt")["iter_num"] + 3}'
    assert train(*flags, more, '--out_dir=cut', '--init_from=resume').status == 0
    assert train(*flags, more, '--out_dir=whole').status == 0
    assert_same_run(tmp_path / 'cut', tmp_path / 'whole')


@pytest.mark.parametrize('left', ['best.pt', 'ckpt-0000002.pt'])
def test_checkpoints_of_another_run_are_never_replaced_and_kept_ones_are_resumed_from(train, tmp_path, left):
    train('--max_iters=2', '--keep=1', *BRIEF)
    for path in set((tmp_path / 'out').glob('*.pt')) - {tmp_path / 'out' / left}:
        path.unlink()
    before = (tmp_path / 'out' / left).read_bytes()
    assert f'out already holds a run ({left})' in mistake(train('--max_iters=2', '--keep=1', *BRIEF))
    result = train('--max_iters=3', '--keep=9', '--init_from=auto', *BRIEF) # for jobs that nobody watches
    kept = tmp_path / 'out' / ('best.old.pt' if left == 'best.pt' else left)
    assert kept.read_bytes() == before and result.status == 0
    assert ('resume: out/ckpt-0000002.pt, iter 2' in result.out) == (left != 'best.pt')


@pytest.mark.slow
def test_a_compiled_run_resumes_bit_for_bit_and_its_checkpoint_needs_no_compiler(train, dataset, tmp_path):
    flags = '--n_layer=1', *BRIEF, '--dropout=0.2', '--gradient_accumulation_steps=2'
    for more in ('--out_dir=whole --max_iters=6', '--out_dir=cut --max_iters=3',
                 '--out_dir=cut --max_iters=6 --init_from=resume',
                 # dropout of compiled code draws other numbers
                 '--out_dir=compiled --max_iters=3 --dropout=0'):
        words = f'--dataset={dataset}', *TINY, *flags, '--compile=True', *more.split()
        status, out = run_forked('train.py', *words, cwd=tmp_path,
                                 TORCHINDUCTOR_CACHE_DIR=str(tmp_path / 'cache'))
        assert status == 0 and '| compile on (requested)' in out, out
    assert_same_run(tmp_path / 'cut', tmp_path / 'whole')
    assert train(*flags, '--max_iters=8', '--init_from=resume', '--out_dir=cut').status == 0
    train(*flags, '--max_iters=3', '--dropout=0', '--out_dir=eager')
    for mine, theirs in zip(log_of(tmp_path / 'compiled'), log_of(tmp_path / 'eager'), strict=True):
        assert abs(mine['loss'] - theirs['loss']) < 1e-4


def test_a_signal_ends_a_run_which_prints_how_to_resume_it(train, tmp_path, monkeypatch, stop_signal):
    progress = 'lib.recorder.Recorder.progress'
    monkeypatch.setattr(progress, lambda *_: os.kill(os.getpid(), stop_signal)) # after the first update
    result = train('--max_iters=2000', '--out_dir=my out', *BRIEF)
    monkeypatch.undo()
    assert result.status == 0, result.message
    assert read(tmp_path / 'my out' / 'ckpt.pt')['iter_num'] == 1
    stopped, command = result.out.splitlines()[-2:]
    assert f'stopped by {signal.Signals(stop_signal).name} after iter 1; saved my out/ckpt.pt' in stopped
    words = shlex.split(command) # as a shell would
    assert words[0] == 'python' and words[1].endswith('train.py') and words[-1] == '--init_from=resume'
    resumed = run('train.py', *words[2:], '--max_iters=2', cwd=tmp_path)
    assert resumed.status == 0 and 'iter 2/2 | loss' in resumed.out


def test_a_signal_before_the_first_update_saves_a_run_that_can_be_resumed(train, tmp_path, monkeypatch):
    def stop_at_once(model, mode=True): # the loop begins with it
        if not (tmp_path / 'stopped').exists():
            (tmp_path / 'stopped').touch()
            signal.raise_signal(signal.SIGTERM)
        return torch.nn.Module.train(model, mode)

    with monkeypatch.context() as patch:
        patch.setattr('model.GPT.train', stop_at_once, raising=False)
        stopped = train('--max_iters=3', *BRIEF)
    assert stopped.status == 0 and read(tmp_path / 'out' / 'ckpt.pt')['iter_num'] == 0
    assert train('--max_iters=3', *BRIEF, '--init_from=resume').status == 0
    train('--max_iters=3', *BRIEF, '--out_dir=whole')
    assert_same_run(tmp_path / 'out', tmp_path / 'whole')


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_is_resumed(train, tmp_path):
    flags = *BRIEF, '--save_interval=2', '--eval_interval=0'
    train('--max_iters=7', *flags)
    shutil.copytree(tmp_path / 'out', tmp_path / 'whole')
    damaged = bytearray((tmp_path / 'out' / 'ckpt.pt').read_bytes())
    damaged[len(damaged) // 2] ^= 64
    (tmp_path / 'out' / 'ckpt.pt').write_bytes(damaged)
    out = train('--max_iters=9', '--init_from=resume', *flags).out
    assert 'WARNING: out/ckpt.pt: ' in out and 'using out/ckpt.prev.pt' in out
    assert (tmp_path / 'out' / 'ckpt.damaged.pt').read_bytes() == damaged
    train('--max_iters=9', '--init_from=resume', '--out_dir=whole', *flags)
    assert_same_run(tmp_path / 'out', tmp_path / 'whole')


def test_a_run_that_was_stopped_in_its_last_evaluation_makes_it_when_resumed(train, tmp_path):
    train('--max_iters=3', *BRIEF)
    out = tmp_path / 'out'
    evaluations = log_of(out, 'val_loss')
    never = {'last_eval_iter': 0, 'best_val_loss': float('inf'), 'best_iter': 0}
    save(read(out / 'ckpt.pt') | never, out / 'ckpt.pt')
    (out / 'best.pt').unlink()
    result = train('--max_iters=3', *BRIEF, '--init_from=resume')
    assert result.status == 0 and 'done in ' in result.out and (out / 'best.pt').exists()
    assert log_of(out, 'val_loss') == evaluations and len(evaluations) == 1
    assert read(out / 'ckpt.pt')['last_eval_iter'] == 3


def test_changed_settings_are_used_and_what_cannot_be_resumed_stays_until_it_is_overwritten(train, tmp_path):
    train('--max_iters=2', '--keep=1', *BRIEF)
    path, resume = tmp_path / 'out' / 'ckpt.pt', ('--init_from=resume', *BRIEF)
    saved, whole = path.read_bytes(), read(path)
    for flag, change, expected in (
            ('--n_layer=12', {}, 'ckpt.pt: n_layer is 2 in the checkpoint, and 12 on the command line'),
            ('--seed=1', {'optimizers': [None, None]}, 'optimizer state'),
            ('--seed=1', {'iter_num': -1}, 'iter_num')):
        save(whole | change, path)
        before = files(tmp_path)
        assert expected in mistake(train('--max_iters=6', flag, *resume))
        assert files(tmp_path) == before
    path.write_bytes(saved)
    with conftest.full_disk(100_000):
        assert 'ckpt.pt: could not be written (' in mistake(train('--max_iters=4', *resume))
    assert path.read_bytes() == saved and not list(tmp_path.rglob('*.tmp'))
    result = train('--max_iters=4', *resume, '--weight_decay=0.5', '--beta2=0.5')
    assert 'resume: weight_decay was 0.1, is now 0.5' in result.out
    assert 'resume: beta2 was 0.95, is now 0.5' in result.out
    muon, adamw = (each['param_groups'][0] for each in read(path)['optimizers'])
    assert muon['weight_decay'] == 0.5 and tuple(adamw['betas']) == (0.9, 0.5)
    before, result = files(tmp_path), train('--max_iters=3')
    assert '--init_from=resume' in result.message and '--overwrite' in mistake(result)
    assert files(tmp_path) == before and train('--max_iters=3', '--overwrite', *BRIEF).status == 0
    assert {path.name for path in (tmp_path / 'out').glob('*.pt')} == {'ckpt.pt', 'best.pt'}
    assert [record['iter'] for record in log_of(tmp_path / 'out')] == [1, 2, 3]


def test_a_resumed_run_keeps_its_text_and_refuses_another(train, tmp_path, dataset):
    for name in ('my.txt', 'new.txt'):
        (tmp_path / name).write_text(f'so much depends upon {name}\n' * 99, encoding='utf-8')
    flags = *TINY, '--out_dir=out', *BRIEF
    first = run('train.py', '--dataset=text', '--data-path=my.txt', *flags, '--max_iters=2', cwd=tmp_path)
    assert first.status == 0 and 'out/data: not prepared yet; running: python ' in first.out, first
    prepared_bins = files(tmp_path / 'out' / 'data')
    other = run('train.py', '--input=new.txt', *flags, '--max_iters=3', '--init_from=resume', cwd=tmp_path)
    assert 'expected --input=my.txt' in mistake(other)
    other = run('train.py', '--dataset=other', *flags, '--max_iters=3', '--init_from=resume', cwd=tmp_path)
    assert 'expected --dataset=text' in mistake(other)
    for more in [], [f'--input={tmp_path}/./my.txt']: # names no text, or the same by another path
        result = run('train.py', *flags, '--max_iters=3', '--init_from=resume', *more, cwd=tmp_path)
    assert result.status == 0, result.message
    saved = read(tmp_path / 'out' / 'ckpt.pt')
    assert (saved['iter_num'], saved['settings']['input']) == (3, 'my.txt')
    assert files(tmp_path / 'out' / 'data') == prepared_bins


@pytest.mark.parametrize('text', ['a rose is a rose so is a rose ', 'A rose is A rose is A rose '])
def test_a_run_does_not_continue_on_other_tokens_than_it_was_trained_on(train, tmp_path, text):
    train(prepared('a rose is a rose is a rose ' * 20, tmp_path / 'first'), '--max_iters=2')
    before, other = files(tmp_path / 'out'), prepared(text * 20, tmp_path / 'first')
    for flags in [other], [], [prepared(text * 20, tmp_path / 'second')]: # the folder, by default, another
        words = '--init_from=resume', '--max_iters=4', *TINY, '--out_dir=out', *flags
        assert 'got other tokens' in mistake(run('train.py', *words, cwd=tmp_path))
    assert files(tmp_path / 'out') == before


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='needs /proc')
def test_resuming_takes_no_more_memory_than_starting(dataset, tmp_path):
    words = (f'--dataset={dataset}', *TINY, '--eval_tokens=64', '--optimizer=adamw', '--n_embd=512',
             '--out_dir=out') # weights of 25 MB, few tokens
    peaks = []
    for more in (['--max_iters=1'], ['--max_iters=2', '--init_from=resume']):
        status, out = run_forked('train.py', *words, *more, cwd=tmp_path)
        assert status == 0, out
        peaks.append(int(out.split()[-1]))
    weights = 4 * sum(w.numel() for w in read(tmp_path / 'out' / 'ckpt.pt')['model'].values())
    assert torch.tensor(peaks).diff() < weights / 2
