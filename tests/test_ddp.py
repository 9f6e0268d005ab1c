"""Several processes: the numbers of one, one voice, signals, and the variables that name a rank."""
import shutil
import signal
import socket

import pytest
from conftest import TINY, assert_same_run, fork, log_of, mistake, process, read, run

from data import bins

TORCHRUN = '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2'
WORDS = *TINY, '--gradient_accumulation_steps=2', '--eval_interval=2', '--lr_decay_iters=5'


def two_processes(*flags, cwd, setup=None):
    """train.py as two processes, which join as those of torchrun do; returns what rank 0 printed."""
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        port = probe.getsockname()[1]
    children = [fork('train.py', *flags, cwd=cwd, out=f'rank{rank}.txt', setup=setup if rank == 1 else None,
                     RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='localhost',
                     MASTER_PORT=str(port)) for rank in range(2)]
    for child in children:
        child.join(120)
    outs = [(cwd / f'rank{rank}.txt').read_text(encoding='utf-8') for rank in range(2)]
    assert [child.exitcode for child in children] == [0, 0], outs
    assert [line for line in outs[1].splitlines() if not line.startswith(('[W', '[rank', 'peak'))] == []
    return outs[0]


@pytest.fixture(scope='module')
def whole(dataset, tmp_path_factory):
    """(folder, output) of the same run by two processes, into two/, and by one, into one/."""
    folder = tmp_path_factory.mktemp('ranks')
    flags = f'--dataset={dataset}', *WORDS, '--max_iters=5'
    out = two_processes(*flags, '--out_dir=two', cwd=folder)
    assert run('train.py', *flags, '--out_dir=one', cwd=folder).status == 0
    return folder, out


def test_two_processes_train_as_one_does_with_the_same_total_batch_and_one_prints(whole):
    folder, out = whole
    words = '| 2 processes', 'model modern', ' tok/s ', '| val '
    assert [out.count(word) for word in words] == [1, 1, 5, 3] and words[0] in out.splitlines()[0]
    for key in ('loss', 'val_loss', 'norm', 'epoch', 'tokens'):
        one, two = ([record[key] for record in log_of(folder / out, key)] for out in ('one', 'two'))
        assert len(one) == len(two) >= 3
        assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 1e-5, key
    one, two = (read(folder / out / 'ckpt.pt')['model'] for out in ('one', 'two'))
    assert one.keys() == two.keys()
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-5


def test_two_processes_resume_bit_for_bit_and_one_continues_to_rounding(whole, dataset):
    folder, _ = whole
    flags = f'--dataset={dataset}', *WORDS
    two_processes(*flags, '--out_dir=cut', '--max_iters=3', cwd=folder)
    shutil.copytree(folder / 'cut', folder / 'fewer')
    flags += '--max_iters=5', '--init_from=resume'
    two_processes(*flags, '--out_dir=cut', cwd=folder)
    assert [r['iter'] for r in log_of(folder / 'cut', 'val_loss')] == [2, 3, 4, 5] # 3 was the end, once
    assert_same_run(folder / 'cut', folder / 'two')
    assert run('train.py', *flags, '--out_dir=fewer', cwd=folder).status == 0
    for mine, theirs in zip(log_of(folder / 'fewer'), log_of(folder / 'two'), strict=True):
        assert abs(mine['loss'] - theirs['loss']) < 1e-5


def signal_in_update_3():
    """In rank 1, while it loads the batches of update 3; schedulers signal each process, or any."""
    real = bins.update_windows

    def update_windows(n_tokens, block_size, n_sequences, seed, iter_num):
        if iter_num == 2:
            signal.raise_signal(signal.SIGUSR1)
        return real(n_tokens, block_size, n_sequences, seed, iter_num)

    bins.update_windows = update_windows


@pytest.mark.skipif(not hasattr(signal, 'SIGUSR1'), reason='needs SIGUSR1')
def test_a_signal_to_one_process_stops_all_after_the_update_and_the_run_resumes(dataset, tmp_path):
    words = f'--dataset={dataset}', *WORDS, '--out_dir=out'
    out = two_processes(*words, '--max_iters=1000', cwd=tmp_path, setup=signal_in_update_3)
    assert 'stopped by a signal after iter 3; saved out/ckpt.pt' in out
    assert read(tmp_path / 'out' / 'ckpt.pt')['iter_num'] == log_of(tmp_path / 'out')[-1]['iter'] == 3


@pytest.mark.slow
def test_torchrun_starts_a_run_and_a_mistake_is_one_line_once(whole, dataset, tmp_path):
    words = f'--dataset={dataset}', *WORDS, '--out_dir=out', '--max_iters=5'
    good = process('train.py', *words, cwd=tmp_path, before=TORCHRUN)
    assert good.returncode == 0, good.stderr
    assert_same_run(tmp_path / 'out', whole[0] / 'two')
    bad = process('train.py', *words, '--n_head=3', cwd=tmp_path, before=TORCHRUN)
    assert bad.returncode == 1 and bad.stderr.count('train.py: n_embd must be a multiple') == 1


@pytest.mark.parametrize('rank', ['0', '1'])
def test_data_that_is_not_prepared_is_refused_before_the_processes_join(tmp_path, monkeypatch, rank):
    for each in f'RANK={rank} LOCAL_RANK=0 WORLD_SIZE=2 MASTER_ADDR=localhost MASTER_PORT=1'.split():
        monkeypatch.setenv(*each.split('='))
    (tmp_path / 'my.txt').write_text('some text ' * 100, encoding='utf-8')
    words = '--dataset=text', '--input=my.txt', '--out_dir=out', *WORDS
    assert 'first run: python ' in mistake(run('train.py', *words, cwd=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ['my.txt']


def test_a_port_that_is_in_use_ends_in_one_line(dataset, tmp_path, monkeypatch):
    with socket.socket() as taken:
        taken.bind(('', 0))
        taken.listen()
        variables = dict(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='localhost',
                         MASTER_PORT=str(taken.getsockname()[1]))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        message = mistake(run('train.py', f'--dataset={dataset}', *WORDS, '--max_iters=1', cwd=tmp_path))
    assert message.startswith('torchrun: the processes could not join at localhost:'), message
    assert '--master_port' in message
