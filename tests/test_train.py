"""The training script: whole runs on a tiny text, and its functions against other ways to the same number."""
import hashlib
import itertools
import json
import math
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest
import torch
import torch.nn.functional as F
from conftest import TINY, command, is_one_line, log_of, process, read, run
from torch.utils._python_dispatch import TorchDispatchMode

from data import bins
from data.tinystories.stories import stories
from lib.checkpoint import build, read_checkpoint, save
from lib.guard import problems, shorten
from lib.optim import make_optimizers
from model import GPT, GPTConfig
from train import (
    by_depth,
    config,
    dropout_seed,
    evaluate,
    follow,
    limits,
    note_signals,
    train_step,
)

SHAPE = dict(vocab_size=13, block_size=16, n_layer=2, n_head=2, n_embd=32)
STILL = '--learning_rate=0', '--muon_learning_rate=0' # so that a loss tells which text it is of


def same(a, b):
    """Whether two checkpoints, or parts of them, are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def untimed(records):
    return [{key: value for key, value in record.items() if key != 'dt'} for record in records]


def assert_same_run(cut, whole):
    """Two out_dirs hold the same weights, the same memory of the optimizers and the same numbers."""
    assert untimed(log_of(cut)) == untimed(log_of(whole)) != []
    mine, theirs = read(cut / 'ckpt.pt'), read(whole / 'ckpt.pt')
    assert all(same(mine[key], theirs[key]) for key in ('model', 'optimizers', 'iter_num'))


def groups_of(out_dir):
    """The groups of parameters with their rates, as a checkpoint has them; Muon's first."""
    return [group for each in read(out_dir / 'ckpt.pt')['optimizers'] for group in each['param_groups']]


def val_losses(out_dir):
    return [record['val_loss'] for record in log_of(out_dir, 'val_loss')]


def files(folder):
    """{name: contents} of all files below a folder."""
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob('*')) if path.is_file()}


def prepared(text, folder):
    """The dataset of a text, one id for each character, as a flag."""
    folder.mkdir()
    (folder / 'text.txt').write_text(text, encoding='utf-8')
    result = run('data/text/prepare.py', '--input=text.txt', '--out=bins', cwd=folder)
    assert result.status == 0, result.message
    return f'--dataset={folder / "bins"}'


# ---- A: checkpoints and resuming ----

@pytest.mark.parametrize('flags', [(), ('--dropout=0.2', '--gradient_accumulation_steps=2'),
                                   ('--arch=gpt2', '--dropout=0.2', '--schedule=cosine')], ids=str)
def test_A1_three_updates_and_three_after_resuming_equal_six_bit_for_bit(train, tmp_path, flags):
    flags += ('--lr_decay_iters=6',)
    train('--max_iters=6', '--out_dir=whole', *flags)
    train('--max_iters=3', '--out_dir=cut', *flags)
    result = train('--max_iters=6', '--out_dir=cut', '--init_from=resume', *flags)
    assert result.status == 0, result.message
    assert_same_run(tmp_path / 'cut', tmp_path / 'whole')


def test_A1_a_run_that_was_killed_and_resumed_equals_one_that_was_not_bit_for_bit(train, dataset, tmp_path):
    flags = '--dropout=0.2', '--lr_decay_iters=1000', '--save_interval=3'
    words = f'--dataset={dataset}', *TINY, *flags, '--max_iters=900', '--out_dir=cut'
    child = subprocess.Popen(command('train.py', *words), cwd=tmp_path, stdout=subprocess.DEVNULL)
    while not (tmp_path / 'cut' / 'ckpt.pt').exists():
        assert child.poll() is None, 'it ended before it saved anything'
        time.sleep(0.01)
    child.kill() # SIGKILL: it cannot clean up
    child.wait()
    more = f'--max_iters={read(tmp_path / "cut" / "ckpt.pt")["iter_num"] + 3}'
    assert train(*flags, more, '--out_dir=cut', '--init_from=resume').status == 0
    assert train(*flags, more, '--out_dir=whole').status == 0
    assert_same_run(tmp_path / 'cut', tmp_path / 'whole')


def test_A1_a_run_that_goes_on_with_other_micro_batches_sees_the_same_text(train, tmp_path):
    flags = '--lr_decay_iters=6',
    train('--max_iters=6', '--out_dir=whole', *flags)
    train('--max_iters=3', '--out_dir=cut', *flags)
    result = train('--max_iters=6', '--out_dir=cut', '--init_from=resume', *flags, '--batch_size=1',
                   '--gradient_accumulation_steps=4')
    assert 'resume: batch_size was 4, is now 1' in result.out
    for mine, theirs in zip(log_of(tmp_path / 'cut'), log_of(tmp_path / 'whole'), strict=True):
        assert abs(mine['loss'] - theirs['loss']) < 1e-5


def test_A2_the_first_update_after_resuming_sees_text_that_the_run_has_not_seen(train, tmp_path):
    train('--max_iters=6', '--lr_decay_iters=9', *STILL)
    train('--max_iters=9', '--lr_decay_iters=9', *STILL, '--init_from=resume')
    losses = [record['loss'] for record in log_of(tmp_path / 'out')]
    assert len(set(losses)) == len(losses) == 9


@pytest.mark.skipif(os.name != 'posix', reason='needs a limit on the size of files')
def test_A3_a_full_disk_leaves_the_old_checkpoint_and_ends_in_one_line(train, tmp_path):
    import resource
    train('--max_iters=4')
    before, old = (tmp_path / 'out' / 'ckpt.pt').read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, old[1])) # no file may grow beyond this
    try:
        full = train('--max_iters=8', '--init_from=resume')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert is_one_line(full) and 'ckpt.pt: could not be written (' in full.message
    assert (tmp_path / 'out' / 'ckpt.pt').read_bytes() == before
    assert not (tmp_path / 'out' / 'ckpt.pt.tmp').exists()
    assert train('--max_iters=8', '--init_from=resume').status == 0


@pytest.mark.skipif(os.name != 'posix', reason='needs a limit on the size of files')
def test_A3_a_disk_that_is_full_for_a_while_is_told_and_does_not_end_the_run(train, tmp_path, monkeypatch):
    import resource
    old, real, sizes = resource.getrlimit(resource.RLIMIT_FSIZE), os.replace, []

    def replace(source, target): # the disk is full after the first checkpoint, and has room again later
        real(source, target)
        if str(target).endswith('ckpt.pt') and not sizes:
            sizes.append(os.path.getsize(target))
            resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[0] // 2, old[1]))

    monkeypatch.setattr(os, 'replace', replace)
    monkeypatch.setattr('log.say', lambda text: resource.setrlimit(resource.RLIMIT_FSIZE, old)
                        if 'iter 5/8' in text else print(text))
    try:
        result = train('--max_iters=8', '--save_interval=1')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert result.status == 0, result.message
    assert 1 <= result.out.count('WARNING: out/ckpt.pt: could not be written (') < 8
    assert read(tmp_path / 'out' / 'ckpt.pt')['iter_num'] == 8


def test_A3_a_damaged_checkpoint_is_told_put_aside_and_the_one_before_it_goes_on(train, tmp_path):
    flags = '--lr_decay_iters=9', '--save_interval=2', '--eval_interval=0'
    train('--max_iters=9', '--out_dir=whole', *flags)
    train('--max_iters=7', *flags)
    before = (tmp_path / 'out' / 'ckpt.prev.pt').read_bytes()
    damaged = bytearray((tmp_path / 'out' / 'ckpt.pt').read_bytes())
    damaged[len(damaged) // 2] ^= 64
    (tmp_path / 'out' / 'ckpt.pt').write_bytes(damaged)
    result = train('--max_iters=9', '--init_from=resume', *flags)
    assert result.status == 0, result.message
    assert 'WARNING: out/ckpt.pt: ' in result.out and 'going on with out/ckpt.prev.pt' in result.out
    assert (tmp_path / 'out' / 'ckpt.damaged.pt').read_bytes() == damaged != before
    assert_same_run(tmp_path / 'out', tmp_path / 'whole')


@pytest.mark.parametrize('flags, kept', [(['--save_interval=2'], [4, 6, 7]), (['--save_interval=0'], [7]),
                                         (['--save_interval=0', '--save_minutes=1e-9'], [5, 6, 7])])
def test_the_last_few_checkpoints_are_kept_by_number_and_by_the_clock(train, tmp_path, flags, kept):
    train('--max_iters=7', '--eval_interval=0', '--keep=3', *flags)
    names = sorted(path.name for path in (tmp_path / 'out').glob('ckpt-*.pt'))
    assert names == [f'ckpt-{iter_num:07d}.pt' for iter_num in kept]
    assert [read(tmp_path / 'out' / name)['iter_num'] for name in names] == kept


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_A3_a_kill_during_save_leaves_a_file_that_can_be_read(tmp_path):
    path, weights, cut_short = tmp_path / 'ckpt.pt', torch.zeros(3_000_000), 0
    checkpoint = {'model': {'w': weights}, 'model_config': {}}
    save(checkpoint | {'iter_num': 0}, path)
    for attempt in range(8):
        child = os.fork()
        if child == 0:
            while True: # so that the kill comes while it saves
                save(checkpoint | {'iter_num': attempt}, path)
        time.sleep(0.02 + 0.005 * attempt)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        cut_short += os.path.exists(f'{path}.tmp')
        assert read_checkpoint(path)['iter_num'] <= attempt
        assert torch.equal(read_checkpoint(path)['model']['w'], weights)
    assert cut_short, 'no kill came during a save'


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, getattr(signal, 'SIGHUP', signal.SIGINT)])
def test_A4_a_signal_ends_the_run_which_is_saved_and_prints_what_resumes_it(train, tmp_path, number):
    def stop():
        while not (tmp_path / 'out' / 'log.jsonl').exists() or not log_of(tmp_path / 'out'):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    def not_handled(*_):
        pytest.fail('train.py did not handle the signal')

    old = signal.signal(number, not_handled)
    try:
        thread = threading.Thread(target=stop, daemon=True)
        thread.start()
        result = train('--max_iters=2000', '--eval_interval=100000', '--seed=7')
    finally:
        thread.join(5)
        signal.signal(number, old)
    assert result.status == 0, result.message
    iter_num = read(tmp_path / 'out' / 'ckpt.pt')['iter_num']
    assert 1 <= iter_num == log_of(tmp_path / 'out')[-1]['iter'] < 2000
    stopped, again = result.out.splitlines()[-2:]
    assert f'stopped by {signal.Signals(number).name} after iter {iter_num}; saved out/ckpt.pt' in stopped
    words = again.split()
    assert words[0] == 'python' and words[1].endswith('train.py') and words[-1] == '--init_from=resume'
    resumed = run('train.py', *words[2:], f'--max_iters={iter_num + 1}', cwd=tmp_path)
    assert resumed.status == 0 and f'iter {iter_num + 1}/{iter_num + 1} | loss' in resumed.out


def test_A4_a_second_signal_is_left_to_the_system():
    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        received = note_signals()
        os.kill(os.getpid(), signal.SIGTERM)
        while not received:
            time.sleep(0.001)
        assert received == ['SIGTERM'] and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@pytest.mark.skipif(os.name != 'posix', reason='needs SIGHUP')
def test_A4_a_run_under_nohup_outlives_its_terminal():
    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        received = note_signals()
        os.kill(os.getpid(), signal.SIGHUP)
        assert received == [] and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        for number, handler in {**old, signal.SIGHUP: before}.items():
            signal.signal(number, handler)


def test_A5_the_end_is_evaluated_and_saved_whatever_the_interval(train, tmp_path):
    train('--max_iters=7', '--eval_interval=4')
    assert [record['iter'] for record in log_of(tmp_path / 'out', 'val_loss')] == [4, 7]
    assert read(tmp_path / 'out' / 'ckpt.pt')['iter_num'] == 7


def test_A5_with_every_interval_off_the_end_is_still_evaluated_and_saved(train, tmp_path):
    train('--max_iters=4', '--eval_interval=0', '--log_interval=0', '--save_interval=0')
    assert [record['iter'] for record in log_of(tmp_path / 'out', 'val_loss')] == [4]
    assert read(tmp_path / 'out' / 'ckpt.pt')['iter_num'] == 4


def test_A6_max_iters_updates_are_made_and_no_more(train, tmp_path):
    train('--max_iters=5', '--optimizer=adamw')
    adamw, = read(tmp_path / 'out' / 'ckpt.pt')['optimizers']
    assert {state['step'].item() for state in adamw['state'].values()} == {5}


def test_A7_eval_only_of_a_run_evaluates_once_and_writes_nothing(train, tmp_path):
    train('--max_iters=5')
    before, val_loss = files(tmp_path), log_of(tmp_path / 'out', 'val_loss')[-1]['val_loss']
    result = train('--init_from=resume', '--eval_only')
    assert result.status == 0, result.message
    assert f'val {val_loss:.4f}' in result.out and result.out.count(' val ') == 1
    assert files(tmp_path) == before


def test_A7_eval_only_of_an_untrained_model_writes_nothing(train, tmp_path):
    result = train('--eval_only')
    assert result.status == 0 and ' val ' in result.out
    assert files(tmp_path) == {}


def test_A8_settings_of_the_optimizer_that_a_resumed_run_changes_are_printed_and_used(train, tmp_path):
    train('--max_iters=3', '--lr_decay_iters=9')
    result = train('--max_iters=6', '--lr_decay_iters=9', '--init_from=resume', '--weight_decay=0.5',
                   '--beta2=0.5')
    assert 'resume: weight_decay was 0.1, is now 0.5' in result.out
    assert 'resume: beta2 was 0.95, is now 0.5' in result.out
    first, *_, last = groups_of(tmp_path / 'out')
    assert first['weight_decay'] == 0.5 and tuple(last['betas']) == (0.9, 0.5)
    train('--max_iters=6', '--lr_decay_iters=9', '--out_dir=same')
    mine, unchanged = (read(tmp_path / out / 'ckpt.pt')['model'] for out in ('out', 'same'))
    assert not same(mine, unchanged)


def test_A9_a_shape_typed_on_the_command_line_that_differs_is_an_error_with_both_values(train, tmp_path):
    train('--max_iters=3')
    before = files(tmp_path)
    result = train('--max_iters=6', '--init_from=resume', '--n_layer=12')
    assert is_one_line(result) and 'ckpt.pt: its n_layer is 2, the command line says 12' in result.message
    assert files(tmp_path) == before


def test_A9_a_shape_from_a_config_file_or_a_default_yields_to_the_checkpoint(train, dataset, tmp_path):
    train('--max_iters=3')
    (tmp_path / 'config.py').write_text('n_layer = 12\n', encoding='utf-8')
    words = [flag for flag in TINY if not flag.startswith(('--n_', '--block_size'))]
    result = run('train.py', 'config.py', f'--dataset={dataset}', *words, '--out_dir=out', '--max_iters=4',
                 '--init_from=resume', cwd=tmp_path)
    assert result.status == 0, result.message
    assert read(tmp_path / 'out' / 'ckpt.pt')['model_config']['n_layer'] == 2
    assert 'n_layer was' not in result.out and 'n_embd was' not in result.out # they have not changed


def test_A10_a_run_is_not_overwritten_unless_asked_for(train, tmp_path):
    train('--max_iters=3')
    before = files(tmp_path)
    result = train('--max_iters=4')
    assert is_one_line(result) and '--init_from=resume' in result.message and '--overwrite' in result.message
    assert files(tmp_path) == before
    train('--max_iters=5', '--init_from=resume', '--keep=1')
    assert train('--max_iters=4', '--overwrite', '--eval_interval=0').status == 0
    assert not list((tmp_path / 'out').glob('ckpt-*.pt')) # nothing is left of the run that was there
    assert read(tmp_path / 'out' / 'ckpt.prev.pt')['iter_num'] == 4
    assert read(tmp_path / 'out' / 'ckpt.pt')['iter_num'] == 4
    assert [record['iter'] for record in log_of(tmp_path / 'out')] == [1, 2, 3, 4]


def test_A10_what_a_crash_between_two_renames_leaves_is_a_run_too(train, tmp_path):
    train('--max_iters=3')
    (tmp_path / 'out' / 'ckpt.pt').unlink()
    assert is_one_line(train('--max_iters=4'))
    result = train('--max_iters=4', '--init_from=resume')
    assert result.status == 0 and 'resume: out/ckpt.prev.pt, iter 3' in result.out


@pytest.mark.parametrize('max_iters', [3, 5])
def test_A11_a_finished_run_that_is_resumed_says_so_and_writes_nothing(train, tmp_path, max_iters):
    train('--max_iters=5')
    before = files(tmp_path)
    result = train(f'--max_iters={max_iters}', '--init_from=resume')
    assert result.status == 0 and f'already at iter 5 >= {max_iters}' in result.out
    assert files(tmp_path) == before


def test_A11_a_run_that_was_stopped_in_its_last_evaluation_has_it_when_it_is_resumed(train, tmp_path):
    train('--max_iters=5')
    losses = val_losses(tmp_path / 'out')
    before = read(tmp_path / 'out' / 'ckpt.prev.pt') # written before that evaluation
    assert before['evaluated'] == 0
    save(before, tmp_path / 'out' / 'ckpt.pt')
    (tmp_path / 'out' / 'best.pt').unlink()
    result = train('--max_iters=5', '--init_from=resume')
    assert result.status == 0 and 'done in ' in result.out
    assert val_losses(tmp_path / 'out') == losses and len(losses) == 1
    assert read(tmp_path / 'out' / 'ckpt.pt')['evaluated'] == 5 and (tmp_path / 'out' / 'best.pt').exists()


@pytest.mark.parametrize('flag, said', [('foo', "init_from: expected scratch, resume, gpt2, .* got 'foo'"),
                                        ('resume', 'out/ckpt.pt: expected a checkpoint, found no such file')])
def test_A12_weights_that_are_not_there_end_in_one_line(train, tmp_path, flag, said):
    result = train('--max_iters=5', f'--init_from={flag}')
    assert is_one_line(result)
    assert re.search(said, result.message), result.message
    assert not (tmp_path / 'out').exists()


@pytest.mark.slow
def test_A13_a_compiled_run_saves_what_an_uncompiled_one_resumes(train, dataset, tmp_path):
    words = f'--dataset={dataset}', *TINY, '--n_layer=1', '--max_iters=3', '--compile=True', '--out_dir=out'
    compiled = process('train.py', *words, cwd=tmp_path, TORCHINDUCTOR_CACHE_DIR=str(tmp_path / 'cache'))
    assert compiled.returncode == 0, compiled.stderr
    assert '| compile on (as asked)' in compiled.stdout
    assert not any('_orig_mod' in name for name in read(tmp_path / 'out' / 'ckpt.pt')['model'])
    train('--n_layer=1', '--max_iters=3', '--out_dir=eager')
    for mine, theirs in zip(log_of(tmp_path / 'out'), log_of(tmp_path / 'eager'), strict=True):
        assert abs(mine['loss'] - theirs['loss']) < 1e-4
    assert train('--n_layer=1', '--max_iters=5', '--init_from=resume').status == 0


@pytest.mark.slow
def test_A1_a_compiled_run_that_goes_on_equals_one_that_did_not_stop_bit_for_bit(dataset, tmp_path):
    words = (f'--dataset={dataset}', *TINY, '--n_layer=1', '--compile=True', '--lr_decay_iters=6',
             '--dropout=0.2', '--gradient_accumulation_steps=2')
    for out, *more in [('whole', '--max_iters=6'), ('cut', '--max_iters=3'),
                       ('cut', '--max_iters=6', '--init_from=resume')]:
        result = process('train.py', *words, f'--out_dir={out}', *more, cwd=tmp_path,
                         TORCHINDUCTOR_CACHE_DIR=str(tmp_path / 'cache'))
        assert result.returncode == 0, result.stderr
    assert_same_run(tmp_path / 'cut', tmp_path / 'whole')


def test_A14_what_train_writes_loads_as_plain_tensors_and_plain_python(trained):
    plain = {'model', 'model_config', 'tokenizer', 'optimizers', 'iter_num', 'best_val_loss', 'settings'}
    for name in ('ckpt.pt', 'best.pt'):
        checkpoint = torch.load(os.path.join(trained, name), weights_only=True)
        assert plain <= checkpoint.keys()
        assert not any(name.startswith(('_orig_mod.', 'module.')) for name in checkpoint['model'])
        json.dumps([checkpoint[key] for key in ('model_config', 'tokenizer', 'settings', 'best_val_loss')])


@pytest.mark.parametrize('more', [3, 100])
def test_A15_a_run_that_diverges_stops_with_status_1_and_keeps_the_good_checkpoint(train, tmp_path, more):
    train('--max_iters=6')
    before = files(tmp_path / 'out')
    result = train(f'--max_iters={6 + more}', '--init_from=resume', '--learning_rate=1e30', '--min_lr=1e30',
                   '--grad_clip=0')
    assert is_one_line(result) and 'not finite' in result.message and '--learning_rate' in result.message
    after = files(tmp_path / 'out')
    assert all(after[name] == before[name] for name in after if name.suffix == '.pt')
    assert len(log_of(tmp_path / 'out')) == 7 # the last one that was finite


def test_A15_ten_bad_updates_in_a_row_end_the_run(train):
    words = '--max_iters=100', '--learning_rate=1e30', '--warmup_iters=0'
    result = train(*words)
    assert is_one_line(result) and '10 times in a row' in result.message
    assert result.out.count('not finite, update skipped') == 10
    assert train(*words, '--max_bad_steps=3').out.count('not finite, update skipped') == 3


def test_A15_finite_weights_that_give_no_finite_loss_are_never_written_either(train, tmp_path):
    words = '--arch=gpt2', '--eval_interval=1', '--warmup_iters=0', '--decay_lr=False'
    train('--max_iters=4', *words)
    before = files(tmp_path / 'out')
    result = train('--max_iters=9', *words, '--init_from=resume', '--learning_rate=1e30')
    assert is_one_line(result) and 'are not finite after iter 5' in result.message
    assert 'the last good file is out/ckpt.pt of iter 4' in result.message
    after = files(tmp_path / 'out')
    assert all(after[name] == before[name] for name in after if name.suffix == '.pt')


def test_A15_skipped_updates_are_in_the_log(train, tmp_path):
    train('--max_iters=100', '--learning_rate=1e30', '--warmup_iters=0')
    assert [record['skipped'] for record in log_of(tmp_path / 'out', 'skipped')] == list(range(1, 11))


def test_A15_weights_that_are_not_finite_are_never_written(train, tmp_path):
    train('--max_iters=4', '--optimizer=adamw')
    before = files(tmp_path / 'out')
    result = train('--max_iters=5', '--optimizer=adamw', '--init_from=resume', '--decay_lr=False',
                   '--learning_rate=1e38', '--weight_decay=1000') # one update; its loss is finite still
    assert is_one_line(result) and 'are not finite after iter 5' in result.message
    after = files(tmp_path / 'out')
    assert all(after[name] == before[name] for name in after if name.suffix == '.pt')


def test_A16_best_is_the_least_of_all_evaluations_and_keeps_its_weights(train, tmp_path):
    constant = '--eval_interval=5', '--decay_lr=False'
    train('--max_iters=20', *constant)
    train('--max_iters=30', *constant, '--init_from=resume', '--learning_rate=1', '--grad_clip=0')
    losses = val_losses(tmp_path / 'out')
    assert losses[3] == min(losses) < losses[-1] # it did get worse
    best, last = (read(tmp_path / 'out' / name) for name in ('best.pt', 'ckpt.pt'))
    assert best['best_val_loss'] == last['best_val_loss'] == min(losses)
    assert best['iter_num'] == 20 and last['iter_num'] == 30
    assert [r['best'] for r in log_of(tmp_path / 'out', 'val_loss')] == [True] * 4 + [False] * 2
    result = train('--eval_only', '--init_from=out/best.pt', '--out_dir=other')
    assert f'val {min(losses):.4f}' in result.out


def test_a_run_can_begin_with_the_weights_of_another(train, trained, tmp_path):
    result = train('--max_iters=3', f'--init_from={trained}/best.pt', *STILL)
    assert result.status == 0, result.message
    assert read(tmp_path / 'out' / 'ckpt.pt')['iter_num'] == 3
    assert val_losses(tmp_path / 'out')[-1] == min(val_losses(trained))


def test_a_checkpoint_of_weights_alone_cannot_be_resumed_and_says_what_to_do(train, trained, tmp_path):
    whole = read(os.path.join(trained, 'ckpt.pt'))
    weights = {key: whole[key] for key in ('model', 'model_config', 'tokenizer', 'iter_num')}
    (tmp_path / 'out').mkdir()
    for lacking in (weights, whole | {'optimizers': []}):
        save(lacking, tmp_path / 'out' / 'ckpt.pt')
        result = train('--max_iters=50', '--init_from=resume')
        assert is_one_line(result) and '--init_from=' in result.message


def test_init_from_gpt2_without_a_network_ends_in_one_line(train, tmp_path, monkeypatch):
    pytest.importorskip('transformers')
    constants = pytest.importorskip('huggingface_hub').constants
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True) # as the variable of that name, but later
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'empty'))
    result = train('--max_iters=3', '--init_from=gpt2')
    assert is_one_line(result) and result.message.startswith('init_from=gpt2: ')


# ---- B: the command line of a whole run ----

@pytest.fixture(scope='module')
def fresh(dataset, tmp_path_factory):
    """A run in a new process, in another folder, on a machine without a GPU; a FutureWarning is an error."""
    folder = tmp_path_factory.mktemp('elsewhere')
    words = [flag for flag in TINY if not flag.startswith(('--device', '--dtype', '--warmup'))]
    result = process('train.py', 'config/train_shakespeare_char.py', f'--dataset={dataset}', *words,
                     '--max_iters=1', cwd=folder, before=('-W', 'error::FutureWarning'),
                     CUDA_VISIBLE_DEVICES='')
    return folder, result


def test_B10_it_runs_from_any_folder_and_leaves_its_files_there(fresh):
    folder, result = fresh
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in folder.iterdir()) == ['out-shakespeare_char']
    assert {path.name for path in (folder / 'out-shakespeare_char').iterdir()} == {
        'ckpt.pt', 'ckpt.prev.pt', 'best.pt', 'log.jsonl', 'loss.png'}


def test_H1_with_no_flag_for_the_machine_it_trains_on_the_cpu_and_says_so(fresh):
    first = fresh[1].stdout.splitlines()[0]
    assert '| device cpu (no GPU found' in first and '| dtype ' in first and '| compile off (' in first


def test_H3_a_run_raises_no_warning_of_what_torch_will_drop(fresh):
    assert fresh[1].returncode == 0 and 'Warning' not in fresh[1].stderr, fresh[1].stderr


def test_H4_on_a_cpu_the_first_update_does_not_wait_for_a_compiler(fresh):
    folder, _ = fresh
    assert log_of(folder / 'out-shakespeare_char')[0]['dt'] < 5 # seconds; compiling this model takes 20


def test_B1_help_lists_every_setting_and_loads_no_torch(tmp_path):
    result = process('train.py', '--help', cwd=tmp_path, before=('-X', 'importtime'))
    assert result.returncode == 0
    assert all(f'--{name} ' in result.stdout for name in ('out_dir', 'batch_size', 'compile', 'patience'))
    loaded = {line.rpartition('|')[2].strip() for line in result.stderr.splitlines()}
    assert 'configurator' in loaded and not loaded & {'torch', 'numpy'}


@pytest.mark.parametrize('flag, said', [
    ('--block_size=0', 'block_size must be at least 1'), ('--batch_size=0', 'batch_size must be at least 1'),
    ('--vocab_size=-1', 'vocab_size must not be negative'), ('--n_layer=0', 'n_layer must be at least 1')])
def test_B11_sizes_that_cannot_be_end_in_one_line_and_leave_nothing(train, tmp_path, flag, said):
    result = train('--max_iters=3', flag)
    assert is_one_line(result) and said in result.message
    assert files(tmp_path) == {}


@pytest.mark.parametrize('flags, said', [
    (['--warmup_iters=5', '--lr_decay_iters=5'], 'warmup_iters must be less than lr_decay_iters = 5, got 5'),
    (['--gradient_accumulation_steps=0'], 'gradient_accumulation_steps must be at least 1, got 0'),
    (['--n_head=3'], 'n_embd must be a multiple of n_head = 3, got 32; nearest: 30 or 33'),
    (['--eval_interval=-1'], 'eval_interval must not be negative'), (['--beta1=1'], 'beta1 must be below 1'),
    (['--learning_rate=-1'], 'learning_rate must not be negative'), (['--beta2=2'], 'beta2 must be below 1'),
    (['--decay_fraction=0'], 'decay_fraction must be above 0'), (['--schedule=step'], "got 'step'"),
    (['--min_lr=1'], 'min_lr must not be above learning_rate = 0.01'), (['--optimizer=sgd'], "got 'sgd'"),
    (['--max_bad_steps=0'], 'max_bad_steps must be at least 1'), (['--arch=llama'], "got 'llama'"),
    (['--n_kv_head=3'], 'n_head must be a multiple of n_kv_head'), (['--dtype=half'], "got 'half'"),
    (['--dropout=1'], 'dropout must be'), (['--device=tpu'], "got 'tpu'")])
def test_B12_settings_that_cannot_be_end_in_one_line_and_leave_nothing(train, tmp_path, flags, said):
    result = train('--max_iters=3', *flags)
    assert is_one_line(result) and said in result.message, result
    assert files(tmp_path) == {}


def test_B12_an_interval_of_zero_never_happens(train, tmp_path):
    result = train('--max_iters=4', '--eval_interval=0', '--log_interval=0', '--sample_interval=0')
    assert result.status == 0
    assert result.out.count(' tok/s ') == 0 and result.out.count('| val ') == 1


def test_B12_several_mistakes_are_told_at_once():
    wrong = problems(config.settings | {'batch_size': 0, 'beta2': 2.0, 'n_head': 3, 'n_layer': 0})
    assert [sentence.split()[0] for sentence in wrong] == ['batch_size', 'beta2', 'n_layer']


@pytest.mark.parametrize('out_dir', ['file.txt', 'file.txt/out'])
def test_an_out_dir_that_cannot_be_made_ends_in_one_line(train, tmp_path, out_dir):
    (tmp_path / 'file.txt').write_text('mine', encoding='utf-8')
    result = train('--max_iters=3', f'--out_dir={out_dir}')
    assert is_one_line(result) and out_dir in result.message
    assert (tmp_path / 'file.txt').read_text(encoding='utf-8') == 'mine'


# ---- C: data ----

def test_C1_an_unknown_dataset_ends_in_one_line_that_lists_the_known_ones(train):
    result = train('--dataset=nosuch', '--max_iters=3')
    assert is_one_line(result)
    assert all(word in result.message for word in ('data/nosuch', 'tinystories', 'openwebtext', '--input='))


def test_C1_a_text_that_is_not_prepared_yet_is_prepared_by_the_run_which_says_so(train, tmp_path):
    (tmp_path / 'my.txt').write_text('so much depends upon a red wheel barrow\n' * 50, encoding='utf-8')
    result = train('--dataset=text', '--data-path=my.txt', '--max_iters=3')
    assert result.status == 0, result.message
    assert 'out/data: nothing prepared yet, so this runs first: python ' in result.out
    assert bins.load_meta(tmp_path / 'out' / 'data')['source'].endswith('my.txt')
    assert read(tmp_path / 'out' / 'ckpt.pt')['iter_num'] == 3


def test_C1_a_preparation_that_fails_ends_the_run_with_its_line_alone(train, tmp_path, capfd):
    result = train('--dataset=text', '--input=missing.txt', '--max_iters=3')
    assert (result.status, result.message) == (1, '')
    said = capfd.readouterr().err
    assert 'missing.txt: expected a file or a folder' in said and 'Traceback' not in said
    assert not (tmp_path / 'out' / 'ckpt.pt').exists()


def test_C2_a_text_shorter_than_the_context_shortens_it_and_says_so(train, tmp_path):
    dataset = prepared('a rose is a rose is a rose ' * 10, tmp_path / 'short')
    result = train(dataset, '--block_size=64', '--max_iters=3')
    assert result.status == 0, result.message
    tokens = bins.load_meta(dataset.partition('=')[2])['splits']['val']['tokens']
    assert f'block_size shortened from 64 to {tokens - 1}' in result.out
    assert read(tmp_path / 'out' / 'ckpt.pt')['model_config']['block_size'] == tokens - 1
    assert len(log_of(tmp_path / 'out', 'val_loss')) == 1


def test_C2_a_run_whose_context_was_shortened_goes_on_with_the_same_words(train, tmp_path):
    dataset = prepared('a rose is a rose is a rose ' * 10, tmp_path / 'short')
    words = dataset, '--block_size=64', '--lr_decay_iters=9'
    train(*words, '--max_iters=3')
    result = train(*words, '--max_iters=6', '--init_from=resume')
    assert result.status == 0, result.message
    assert read(tmp_path / 'out' / 'ckpt.pt')['iter_num'] == 6


@pytest.mark.parametrize('val_tokens, block_size', [(9, 8), (10, 9), (33, 32), (1000, 32)])
def test_C2_the_context_is_as_long_as_the_shorter_split_allows(val_tokens, block_size):
    assert shorten(32, {'splits': {'train': {'tokens': 5000}, 'val': {'tokens': val_tokens}}}) == block_size


@pytest.mark.parametrize('val_tokens', [2, 8])
def test_C2_a_text_too_short_for_a_context_of_eight_ends_in_one_line_with_both_numbers(val_tokens):
    with pytest.raises(SystemExit, match=rf'val.bin has {val_tokens} tokens, need at least 9'):
        shorten(32, {'splits': {'train': {'tokens': 5000}, 'val': {'tokens': val_tokens}}})


def test_C3_ids_that_the_vocabulary_of_the_model_has_not_end_in_one_line(train, dataset):
    largest = bins.load_meta(dataset)['splits']['train']['largest_id']
    result = train('--max_iters=3', f'--vocab_size={largest}')
    assert is_one_line(result)
    assert f'the largest id is {largest}' in result.message and f'vocab_size = {largest}' in result.message


def test_C3_ids_that_the_tokenizer_has_not_end_in_one_line(train, tmp_path):
    dataset = prepared('a rose is a rose is a rose ' * 10, tmp_path / 'short')
    path = tmp_path / 'short' / 'bins' / 'train.bin'
    path.write_bytes(path.read_bytes()[:-2] + b'\x63\x00') # 99
    result = train(dataset, '--max_iters=3')
    assert is_one_line(result) and '99' in result.message and 'train.bin' in result.message


@pytest.mark.parametrize('cut', [1, 2, 100])
def test_C4_a_file_that_was_cut_short_ends_in_one_line_that_says_what_to_run(train, tmp_path, cut):
    dataset = prepared('a rose is a rose is a rose ' * 10, tmp_path / 'short')
    path = tmp_path / 'short' / 'bins' / 'train.bin'
    path.write_bytes(path.read_bytes()[:-cut])
    result = train(dataset, '--max_iters=3')
    assert is_one_line(result) and 'truncated' in result.message and 'run: python data/' in result.message
    assert not (tmp_path / 'out' / 'ckpt.pt').exists()


def test_C5_bins_without_their_meta_are_refused_not_guessed(train, tmp_path):
    dataset = prepared('a rose is a rose is a rose ' * 10, tmp_path / 'short')
    (tmp_path / 'short' / 'bins' / 'meta.json').unlink()
    result = train(dataset, '--max_iters=3')
    assert is_one_line(result) and 'meta.json' in result.message and 'prepare.py' in result.message


def test_C6_a_run_does_not_go_on_with_text_in_another_vocabulary(train, tmp_path):
    dataset = prepared('a rose is a rose is a rose ' * 20, tmp_path / 'first')
    other = prepared('A rose is A rose is A rose ' * 20, tmp_path / 'second') # as many characters, other ids
    train(dataset, '--max_iters=3')
    before = files(tmp_path / 'out')
    result = train(other, '--max_iters=6', '--init_from=resume')
    assert is_one_line(result) and 'another tokenizer' in result.message
    assert files(tmp_path / 'out') == before


def test_C8_what_a_killed_preparation_leaves_is_refused(train, tmp_path):
    dataset = prepared('a rose is a rose is a rose ' * 10, tmp_path / 'short')
    folder = tmp_path / 'short' / 'bins'
    (folder / 'meta.json').unlink() # it is written last, so a kill at any time leaves it out
    for name in ('train.bin', 'val.bin'):
        (folder / name).rename(folder / f'{name}.tmp')
    result = train(dataset, '--max_iters=3')
    assert is_one_line(result) and 'no train.bin' in result.message


def test_bins_of_nanogpt_are_trained_on_without_a_network(train, tmp_path, monkeypatch):
    monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(tmp_path / 'empty'))
    monkeypatch.setenv('https_proxy', 'http://127.0.0.1:9') # nobody is there
    folder = tmp_path / 'theirs'
    folder.mkdir()
    for split, count in (('train', 4000), ('val', 400)):
        (torch.arange(count) * 7919 % 50257).to(torch.uint16).numpy().tofile(folder / f'{split}.bin')
    adopted = run('data/text/prepare.py', '--input=theirs', '--tokenizer=gpt2', cwd=tmp_path)
    assert adopted.status == 0, adopted.message
    result = train('--dataset=theirs', '--n_embd=8', '--max_iters=3', '--sample_interval=1')
    assert result.status == 0, result.message
    assert '| n/a bits per byte |' in result.out # how long its tokens are is in the vocabulary
    assert 'no text to show: gpt2 tokenizer: expected to download' in result.out
    assert read(tmp_path / 'out' / 'ckpt.pt')['iter_num'] == 3


# ---- D: several processes ----

TORCHRUN = '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2'
RANKS = *TINY, '--gradient_accumulation_steps=2', '--eval_interval=2', '--lr_decay_iters=5'


@pytest.fixture(scope='module')
def two_ranks(dataset, tmp_path_factory):
    """(folder, what was printed) of the same run by two processes, into two/, and by one, into one/."""
    folder = tmp_path_factory.mktemp('ranks')
    flags = f'--dataset={dataset}', *RANKS, '--max_iters=5'
    result = process('train.py', *flags, '--out_dir=two', cwd=folder, before=TORCHRUN)
    assert result.returncode == 0, result.stderr
    assert run('train.py', *flags, '--out_dir=one', cwd=folder).status == 0
    return folder, result.stdout


def test_A1_two_processes_that_go_on_equal_two_that_did_not_stop_and_one_to_rounding(two_ranks, dataset):
    folder, _ = two_ranks
    flags = f'--dataset={dataset}', *RANKS
    result = process('train.py', *flags, '--out_dir=cut', '--max_iters=3', cwd=folder, before=TORCHRUN)
    assert result.returncode == 0, result.stderr
    shutil.copytree(folder / 'cut', folder / 'less')
    flags += '--max_iters=5', '--init_from=resume'
    result = process('train.py', *flags, '--out_dir=cut', cwd=folder, before=TORCHRUN)
    assert result.returncode == 0, result.stderr
    evaluated, lines = log_of(folder / 'cut', 'val_loss'), log_of(folder / 'cut')
    assert [record['iter'] for record in evaluated] == [2, 3, 4, 5] and len(lines) == 5 # 3 was the end, once
    assert untimed(lines) == untimed(log_of(folder / 'two'))
    mine, theirs = read(folder / 'cut' / 'ckpt.pt'), read(folder / 'two' / 'ckpt.pt')
    assert all(same(mine[key], theirs[key]) for key in ('model', 'optimizers'))
    assert run('train.py', *flags, '--out_dir=less', cwd=folder).status == 0 # one process goes on
    for mine, theirs in zip(log_of(folder / 'less'), log_of(folder / 'two'), strict=True):
        assert abs(mine['loss'] - theirs['loss']) < 1e-5


def test_D1_D3_two_processes_train_as_one_does_with_the_same_total_batch(two_ranks):
    folder, _ = two_ranks
    for key in ('loss', 'val_loss', 'norm', 'epoch', 'tokens'):
        one, two = ([record[key] for record in log_of(folder / out, key)] for out in ('one', 'two'))
        assert len(one) == len(two) >= 3
        assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 1e-5, key
    one, two = (read(folder / out / 'ckpt.pt')['model'] for out in ('one', 'two'))
    assert one.keys() == two.keys()
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-5


def test_D1_of_several_processes_one_talks(two_ranks):
    out = two_ranks[1]
    assert out.splitlines()[0].endswith('| 2 processes')
    words = '| 2 processes', 'model modern', ' tok/s ', '| val '
    assert [out.count(word) for word in words] == [1, 1, 5, 3]


@pytest.mark.parametrize('steps, world_size, nearest', [(5, 2, '4 or 6'), (1, 4, '4'), (40, 3, '39 or 42')])
def test_D2_a_batch_that_cannot_be_dealt_evenly_ends_in_one_line_with_the_nearest(steps, world_size, nearest):
    settings = config.settings # the defaults
    wrong, = problems(settings | {'gradient_accumulation_steps': steps}, world_size)
    assert f'{steps} micro-batches' in wrong and wrong.endswith(f'nearest: {nearest}')
    assert not problems(settings | {'gradient_accumulation_steps': world_size * 3}, world_size)


# ---- E: evaluation ----

@pytest.mark.parametrize('flags', [
    ['--eval_interval=1'], ['--eval_interval=2', '--eval_tokens=500'], ['--eval_interval=5'],
    ['--sample_interval=1'], ['--save_interval=1'], ['--log_interval=3']], ids=str)
def test_E1_looking_at_a_run_does_not_change_it(train, tmp_path, flags):
    quiet = '--dropout=0.2', '--eval_interval=0', '--max_iters=6'
    train(*quiet, '--out_dir=quiet')
    train(*quiet, *flags)
    loud, quiet = ({r['iter']: r['loss'] for r in log_of(tmp_path / out)} for out in ('out', 'quiet'))
    assert all(quiet[i] == loss for i, loss in loud.items())
    assert same(read(tmp_path / 'out' / 'ckpt.pt')['model'], read(tmp_path / 'quiet' / 'ckpt.pt')['model'])


def test_E2_a_checkpoint_evaluates_to_the_same_number_with_any_seed(train, trained):
    one, two, three = (train('--eval_only', f'--init_from={trained}/ckpt.pt', f'--seed={seed}').out
                       for seed in (1, 2, 3))
    assert ' val ' in one and one == two == three


def whole_val(dataset, trained):
    meta = bins.load_meta(dataset)
    tokens = bins.open_bin(dataset, 'val', meta)
    return build(read(os.path.join(trained, 'ckpt.pt'))).eval(), tokens, bins.val_windows(len(tokens), 32)


@pytest.mark.parametrize('batch_size', [1, 3, 4, 7, 50, 1000])
def test_E2_a_checkpoint_evaluates_to_the_same_number_with_any_batch_size(dataset, trained, batch_size):
    model, tokens, starts = whole_val(dataset, trained)
    autocast = torch.autocast('cpu', enabled=False)
    loss = evaluate(model, tokens, starts, 32, batch_size, autocast, 'cpu')
    with torch.no_grad(): # one window after the other
        windows = [torch.tensor(tokens[start:start + 33].astype('int64')) for start in starts]
        naive = [F.cross_entropy(model(w[None, :-1])[0], w[1:]).item() for w in windows]
    assert len(windows) * 32 > len(tokens) - 33 # all of val but a tail
    assert abs(loss - sum(naive) / len(naive)) < 1e-6


def test_evaluating_leaves_a_model_that_was_training_in_training(dataset, trained):
    model, tokens, starts = whole_val(dataset, trained)
    for mode in (True, False):
        evaluate(model.train(mode), tokens, starts[:2], 32, 2, torch.autocast('cpu', enabled=False), 'cpu')
        assert model.training is mode


def test_perplexity_and_bits_per_byte_follow_from_the_loss_and_the_text(dataset, trained):
    with open(os.path.join(os.path.dirname(dataset), 'text.txt'), encoding='utf-8') as f:
        text = f.read()
    val = text[-bins.load_meta(dataset)['splits']['val']['tokens']:] # one token for each character
    record = log_of(trained, 'val_loss')[-1]
    assert len(val.encode('utf-8')) > len(val) # so that a byte is not a token
    assert math.isclose(record['perplexity'], math.exp(record['val_loss']))
    bits = record['val_loss'] / math.log(2) * len(val) # of the whole text
    assert math.isclose(record['bits_per_byte'], bits / len(val.encode('utf-8')))


@pytest.fixture(scope='module')
def some_stories(tmp_path_factory):
    """Bins of 600 stories by characters: enough that 100 updates learn none by heart."""
    folder = tmp_path_factory.mktemp('stories')
    (folder / 'text.txt').write_text('\n'.join(stories(600, 1)), encoding='utf-8')
    run('data/text/prepare.py', '--input=text.txt', '--tokenizer=char', '--out=bins', cwd=folder)
    return str(folder / 'bins')


@pytest.mark.parametrize('flags, expected', [([], 2.160), (['--copying=False'], 2.167),
                                             (['--arch=gpt2'], 2.778)])
def test_the_recipe_learns_as_much_in_100_updates_as_it_did(some_stories, tmp_path, flags, expected):
    words = (f'--dataset={some_stories}', '--out_dir=out', '--device=cpu', '--dtype=float32', '--n_layer=2',
             '--n_head=2', '--n_embd=64', '--block_size=64', '--batch_size=8', '--max_iters=100',
             '--eval_interval=0', '--eval_tokens=20000', '--sample_tokens=8')
    run('train.py', *words, *flags, cwd=tmp_path)
    assert abs(log_of(tmp_path / 'out', 'val_loss')[-1]['val_loss'] - expected) < 0.02


@pytest.mark.parametrize('flags, copies', [([], True), (['--copying=False'], False)])
def test_attention_starts_by_copying_unless_told_not_to(train, tmp_path, flags, copies):
    train('--max_iters=1', *STILL, *flags)
    weights = read(tmp_path / 'out' / 'ckpt.pt')['model']
    projection, values = (weights[f'transformer.h.0.attn.{name}.weight'] for name in ('c_proj', 'c_attn'))
    assert torch.equal(projection, values[-32:].T if copies else torch.zeros(32, 32))


@pytest.mark.parametrize('flags, momentum', [([], 0.85 + 0.1 * 2 / 300), (['--muon_momentum=0.5'], 0.5)])
def test_the_memory_of_muon_is_set_for_every_update(train, tmp_path, flags, momentum):
    train('--max_iters=3', *flags)
    group, = read(tmp_path / 'out' / 'ckpt.pt')['optimizers'][0]['param_groups']
    assert math.isclose(group['momentum'], momentum)


def test_patience_ends_a_run_that_no_longer_gets_better(train, tmp_path):
    assert train('--max_iters=50', '--eval_interval=2', '--patience=3', *STILL).status == 0
    assert [r['best'] for r in log_of(tmp_path / 'out', 'val_loss')] == [True, False, False, False]
    assert [r['iter'] for r in log_of(tmp_path / 'out', 'val_loss')] == [2, 4, 6, 8]
    assert read(tmp_path / 'out' / 'ckpt.pt')['iter_num'] == 8


# ---- one update ----

def batch_of(count, seed=0):
    idx = torch.randint(13, (count, 17), generator=torch.Generator().manual_seed(seed))
    return idx[:, :-1], idx[:, 1:]


def model_and_optimizers(kind='muon', **more):
    torch.manual_seed(0)
    model = GPT(GPTConfig(**SHAPE | more))
    return model, make_optimizers(model, kind, 3e-3, 0.02, 0.0, (0.9, 0.95), torch.float32)


NO_CAST = torch.autocast('cpu', enabled=False)


@pytest.mark.parametrize('arch', ['modern', 'gpt2'])
@pytest.mark.parametrize('kind', ['muon', 'adamw'])
def test_one_batch_can_be_learned_by_heart(arch, kind):
    model, optimizers = model_and_optimizers(kind, arch=arch)
    for _ in range(150):
        loss, _, _ = train_step(model, optimizers, [batch_of(2)], NO_CAST, grad_clip=1.0)
        if loss < 0.1:
            break
    assert loss < 0.1


@pytest.mark.parametrize('kind', ['muon', 'adamw'])
def test_four_micro_batches_of_one_equal_one_of_four(kind):
    x, y = batch_of(4)
    whole, parts = model_and_optimizers(kind), model_and_optimizers(kind)
    for _ in range(3):
        a = train_step(*whole, [(x, y)], NO_CAST, grad_clip=1.0)
        b = train_step(*parts, [(x[i:i + 1], y[i:i + 1]) for i in range(4)], NO_CAST, grad_clip=1.0)
        assert torch.allclose(a[0], b[0], atol=1e-5) and torch.allclose(a[1], b[1], atol=1e-5)
    for p, q in zip(whole[0].parameters(), parts[0].parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-5)


def test_the_length_of_the_gradient_is_told_as_it_was_and_clipped_to_what_is_let_through():
    model, _ = model_and_optimizers()
    sgd = [torch.optim.SGD(model.parameters(), lr=1.0, fused=True)] # whose step is the gradient itself
    before = [p.detach().clone() for p in model.parameters()]
    model(*batch_of(4)).backward()
    length = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()
    model.zero_grad()
    _, norm, good = train_step(model, sgd, [batch_of(4)], NO_CAST, grad_clip=length / 3)
    moved = [(p - q).flatten() for p, q in zip(model.parameters(), before, strict=True)]
    assert good and math.isclose(norm.item(), length, rel_tol=1e-4)
    assert math.isclose(torch.cat(moved).norm().item(), length / 3, rel_tol=1e-3)


@pytest.mark.parametrize('grad_clip', [0.0, 1.0])
def test_A15_a_loss_that_is_not_finite_never_reaches_the_weights(grad_clip):
    model, optimizers = model_and_optimizers()
    train_step(model, optimizers, [batch_of(4)], NO_CAST, grad_clip=grad_clip) # gives the optimizers a memory
    weights = {name: p.clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        model.lm_head.weight[0, 0] = math.inf
    loss, _, good = train_step(model, optimizers, [batch_of(4)], NO_CAST, grad_clip=grad_clip)
    with torch.no_grad():
        model.lm_head.weight[0, 0] = weights['lm_head.weight'][0, 0]
    assert not good and not torch.isfinite(loss)
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
    assert all(p.grad is None for p in model.parameters()) # nor does it wait for the next update
    assert train_step(model, optimizers, [batch_of(4)], NO_CAST, grad_clip=grad_clip)[2]


class NothingIsAsked(TorchDispatchMode):
    """Fails where the value of a tensor is asked for, for which the host would wait for a GPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket._qualified_op_name not in (
            'aten::_local_scalar_dense', 'aten::nonzero', 'aten::equal', 'aten::is_nonzero'), func
        return func(*args, **kwargs or {})


@pytest.mark.parametrize('arch, kind', [('modern', 'muon'), ('modern', 'adamw'), ('gpt2', 'adamw')])
def test_an_update_never_waits_for_the_device(arch, kind):
    model, optimizers = model_and_optimizers(kind, arch=arch)
    train_step(model, optimizers, [batch_of(4)], NO_CAST, grad_clip=1.0) # gives the optimizers a memory
    with NothingIsAsked():
        loss, _, _ = train_step(model, optimizers, [batch_of(2)] * 2, NO_CAST, grad_clip=1.0, seeds=[1, 2])
        with pytest.raises(AssertionError, match='_local_scalar_dense'):
            loss.item()


class RootOfItsWeight(torch.nn.Module):
    """Its loss at 0 is 0, and the slope there is infinite."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, y):
        return self.weight.sqrt().sum()


@pytest.mark.parametrize('grad_clip', [0.0, 1.0])
def test_A15_a_gradient_that_is_not_finite_never_reaches_the_weights_though_the_loss_is(grad_clip):
    model = RootOfItsWeight()
    sgd = [torch.optim.SGD(model.parameters(), lr=1.0, fused=True)]
    loss, norm, good = train_step(model, sgd, [(None, None)], NO_CAST, grad_clip=grad_clip)
    assert (loss.item(), norm.item(), good, model.weight.item()) == (0, math.inf, False, 0)


def test_dropout_depends_on_the_seeds_of_the_micro_batches_alone():
    losses = []
    for noise in (1, 2):
        model, optimizers = model_and_optimizers(dropout=0.5)
        torch.manual_seed(noise)
        losses.append(train_step(model, optimizers, [batch_of(4)] * 2, NO_CAST, seeds=[5, 6])[0].item())
    model, optimizers = model_and_optimizers(dropout=0.5)
    losses.append(train_step(model, optimizers, [batch_of(4)] * 2, NO_CAST, seeds=[5, 7])[0].item())
    assert losses[0] == losses[1] != losses[2]


def test_every_micro_batch_of_every_update_and_process_has_its_own_dropout():
    places = list(itertools.product((0, 1), (0, 1, 10), (0, 1, 10), (0, 1))) # seed, iter, micro-step, rank
    seeds = [dropout_seed(*place) for place in places]
    assert len(set(seeds)) == len(places) and all(0 <= seed < 2 ** 63 for seed in seeds)


# ---- how long, and what is left ----

def test_the_learning_rate_ends_at_min_lr_and_stays_there(train, tmp_path):
    train('--max_iters=10', '--lr_decay_iters=6', '--learning_rate=0.01', '--min_lr=0.001')
    lr = [record['lr'] for record in log_of(tmp_path / 'out')] # of updates 0 to 9
    assert max(lr) == lr[2] == 0.01 and lr[0] < lr[1] < lr[2] > lr[4] > lr[5]
    assert all(math.isclose(value, 0.001) for value in lr[6:])
    first, *_, last = groups_of(tmp_path / 'out')
    assert math.isclose(last['lr'], 0.001) and math.isclose(first['lr'], 0.02 / 10) # Muon's in proportion


def test_a_run_of_epochs_sees_the_text_so_often(train, dataset, tmp_path):
    result = train('--epochs=0.1')
    windows = bins.windows_per_epoch(bins.load_meta(dataset)['splits']['train']['tokens'], 32)
    last = math.ceil(0.1 * windows / 4)
    assert read(tmp_path / 'out' / 'ckpt.pt')['iter_num'] == last
    record = log_of(tmp_path / 'out')[-1]
    assert math.isclose(record['epoch'], last * 4 / windows) and record['tokens'] == last * 4 * 32
    assert f'{last}/{last} | loss' in result.out and 'epoch 0.10' in result.out


@pytest.mark.parametrize('depth', range(2, 28))
@pytest.mark.parametrize('block_size', [64, 1024])
def test_the_dial_of_depth_gives_a_model_and_a_run_that_fit_each_other(depth, block_size):
    s = by_depth(depth, block_size, 1e-2)
    sizes = {name: s[name] for name in ('n_layer', 'n_head', 'n_embd')}
    shape = GPTConfig(vocab_size=256, block_size=block_size, **sizes)
    assert not shape.problems() and shape.head_dim in (64, 128)
    with torch.device('meta'):
        n_params = sum(p.numel() for p in GPT(shape).transformer.h.parameters())
    sequences = s['batch_size'] * s['gradient_accumulation_steps']
    tokens = s['max_iters'] * sequences * block_size
    assert sequences == 8 or 7 < tokens / n_params < 15 # 10 for each, rounded to a power of two
    assert sequences % 8 == 0 and s['batch_size'] <= 32 and s['learning_rate'] <= 1e-2


def test_a_run_takes_what_depth_stands_for_unless_it_is_given(train):
    result = train('--depth=3', '--max_iters=1')
    assert '2 layers, 32 wide' in result.out and result.status == 0 # as its flags say


def test_a_depth_that_is_typed_puts_the_size_of_a_config_file_aside_and_one_in_the_file_does_not():
    s = {'optimizer': 'auto', 'arch': 'modern', 'depth': 3, 'block_size': 64}
    everything = by_depth(3, 64, 1e-2)
    assert follow(s, {'depth'}, {'n_layer', 'n_embd', 'learning_rate'}) == everything
    assert follow(s, {'depth', 'n_layer'}, set()) == {k: v for k, v in everything.items() if k != 'n_layer'}
    assert follow(s, set(), {'depth', 'n_embd'}) == {k: v for k, v in everything.items() if k != 'n_embd'}


@pytest.mark.parametrize('flags, rate', [([], 0.01), (['--arch=gpt2'], 0.001), (['--optimizer=adamw'], 0.001),
                                         (['--arch=gpt2', '--learning_rate=0.01'], 0.01),
                                         (['--arch=gpt2', '--optimizer=muon'], 0.01)])
def test_the_rate_is_lower_where_adamw_updates_the_matrices_unless_it_is_given(train, tmp_path, flags, rate):
    train('--max_iters=2', '--warmup_iters=0', '--no-decay_lr', *flags)
    assert log_of(tmp_path / 'out')[-1]['lr'] == rate


def test_a_run_of_minutes_ends_by_the_clock_and_its_rate_falls_until_then(train, tmp_path):
    train('--max_minutes=0.02', '--warmup_iters=0')
    checkpoint = read(tmp_path / 'out' / 'ckpt.pt')
    assert 0.02 <= checkpoint['minutes'] < 0.2 and checkpoint['iter_num'] > 3
    assert log_of(tmp_path / 'out')[-1]['lr'] < 0.01 / 4
    assert log_of(tmp_path / 'out', 'val_loss')[-1]['iter'] == checkpoint['iter_num']


@pytest.mark.parametrize('settings, typed, expected', [
    ({}, [], [1000, 0, 0]), ({'epochs': 2.0}, [], [0, 2.0, 0]),
    ({'max_iters': 5, 'epochs': 2.0}, [], [5, 2.0, 0]),
    ({'max_iters': 5, 'max_minutes': 3.0}, ['max_minutes'], [0, 0, 3.0])])
def test_a_limit_on_the_command_line_puts_those_of_config_files_aside(settings, typed, expected):
    none = {'max_iters': 0, 'epochs': 0.0, 'max_minutes': 0.0}
    assert limits(none | settings, frozenset(typed)) == expected


def test_a_run_shorter_than_the_warmup_shortens_it_and_says_so(train, tmp_path):
    result = train('--max_iters=10', '--warmup_iters=20')
    assert result.status == 0, result.message
    assert 'warmup_iters shortened from 20 to 1' in result.out
    assert log_of(tmp_path / 'out')[1]['lr'] == 0.01 # the highest, at the second update


def test_sample_interval_prints_what_the_model_writes(train):
    out = train('--max_iters=5', '--sample_interval=2', '--eval_interval=0').out.splitlines()
    lines = [i for i, line in enumerate(out) if line == '-' * 20]
    after = [next(line for line in reversed(out[:i]) if '|' in line).split('/')[0] for i in lines]
    assert after.count('iter 2') == after.count('iter 4') == 2 # above and below one text
    assert after.count('iter 5') == 4 # three texts at the end


def test_the_log_has_the_fields_that_are_promised(trained):
    with open(os.path.join(trained, 'log.jsonl'), encoding='utf-8') as f:
        records = [json.loads(line) for line in f]
    fields = {'loss': {'iter', 'loss', 'lr', 'norm', 'dt', 'tokens', 'epoch'},
              'val_loss': {'iter', 'val_loss', 'perplexity', 'bits_per_byte', 'best'}}
    iters = {key: [record['iter'] for record in records if record.keys() == fields[key]] for key in fields}
    assert iters == {'loss': list(range(1, 41)), 'val_loss': [20, 40]}
    assert len(records) == 42


def test_the_loss_falls_and_the_curve_is_a_picture(trained):
    losses = [record['loss'] for record in log_of(trained)]
    assert losses[0] > 2.5 > 2.4 > losses[-1]
    pyplot = pytest.importorskip('matplotlib.pyplot')
    assert pyplot.imread(os.path.join(trained, 'loss.png')).ndim == 3


def test_F2_a_progress_line_on_a_device_whose_peak_is_not_known_claims_no_mfu(train):
    assert '| mfu n/a |' in train('--max_iters=3').out
    assert '| mfu n/a |' not in train('--max_iters=3', '--overwrite', '--peak_tflops=0.001').out


def test_wandb_offline_gets_the_log(train, wandb, tmp_path):
    result = train('--max_iters=3', '--wandb_log', '--wandb_run_name=mine')
    assert result.status == 0 and 'wandb:' not in result.out, result
    wandb.teardown()
    runs = list(tmp_path.glob('wandb/offline-run-*/*.wandb'))
    assert len(runs) == 1 and b'val_loss' in runs[0].read_bytes()


def test_a_wandb_that_fails_does_not_end_a_run(train, wandb, tmp_path, monkeypatch):
    monkeypatch.setenv('WANDB_MODE', 'no such mode')
    result = train('--max_iters=3', '--wandb_log')
    assert result.status == 0 and 'going on with log.jsonl alone' in result.out
    assert len(log_of(tmp_path / 'out')) == 3
