"""Saving checkpoints: killed, on a full disk, or in the background while training continues."""
import errno
import itertools
import os
import shutil
import sys
import threading
from functools import partial

import pytest
import torch
from conftest import error_of, fail_at, full_disk, in_child, iter_of, small_checkpoint

from data import files
from lib import checkpoint as lib_checkpoint
from lib.checkpoint import holds_a_run, numbered, read_checkpoint, remove_run, remove_temporaries, save
from lib.recorder import CheckpointWriter


def kill_at_line(count, function, *args):
    """Call a function, and end the process, without cleanup, before the count-th line of saving."""
    lines = itertools.count(1)

    def trace(frame, event, _):
        if frame.f_code.co_filename not in (lib_checkpoint.__file__, files.__file__) \
                or frame.f_code.co_name in ('add', 'checksum', 'is_stream'):
            return None
        if event == 'line' and next(lines) == count:
            os._exit(9)
        return trace

    sys.settrace(trace)
    function(*args)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_save_that_is_killed_before_any_of_its_lines_leaves_the_old_or_the_new_file_complete(tmp_path):
    path, previous, found = tmp_path / 'ckpt.pt', tmp_path / 'ckpt.prev.pt', []
    save(small_checkpoint(1), path)
    save(small_checkpoint(2), path, previous)
    before = path.read_bytes(), previous.read_bytes()
    for killed_at in range(1, 200):
        finished = in_child(partial(kill_at_line, killed_at, save, small_checkpoint(3), path, previous)) == 0
        found.append((iter_of(path), iter_of(previous)))
        remove_temporaries(tmp_path)
        assert sorted(os.listdir(tmp_path)) == ['ckpt.prev.pt', 'ckpt.pt']
        if finished:
            break
        for file, content in zip((path, previous), before, strict=True):
            file.unlink() # it may be a link
            file.write_bytes(content)
    assert finished and len(found) > 20 and found == sorted(found) and set(found) == {(2, 1), (2, 2), (3, 2)}


@pytest.mark.parametrize('fraction', [0, 0.1, 0.5, 0.999])
def test_a_save_that_fills_the_disk_at_any_byte_leaves_both_files(tmp_path, fraction):
    path, previous = tmp_path / 'ckpt.pt', tmp_path / 'ckpt.prev.pt'
    save(small_checkpoint(1), previous)
    save(small_checkpoint(2), path)
    with full_disk(int(os.path.getsize(path) * fraction)):
        message = error_of(save, small_checkpoint(3), path, previous)
    assert 'ckpt.pt: could not be written (File too large)' in message
    assert (iter_of(path), iter_of(previous)) == (2, 1)
    assert sorted(os.listdir(tmp_path)) == ['ckpt.prev.pt', 'ckpt.pt']


@pytest.mark.parametrize('steps', [
    [(os, 'fsync', 1)], [(os, 'fsync', 2)], [(os, 'replace', 1)], [(os, 'replace', 2)], [(torch, 'save', 1)],
    [(os, 'link', 1), (shutil, 'copyfile', 1)], [(os, 'link', 1), (os, 'replace', 1)]], ids=str)
def test_a_step_of_a_save_that_fails_leaves_the_old_file_and_ends_in_one_line(tmp_path, monkeypatch, steps):
    path, previous = tmp_path / 'ckpt.pt', tmp_path / 'ckpt.prev.pt'
    save(small_checkpoint(1), previous)
    save(small_checkpoint(2), path)
    for step in steps:
        fail_at(monkeypatch, *step)
    message = error_of(save, small_checkpoint(3), path, previous)
    assert 'could not be written (No space left on device)' in message and str(tmp_path) in message
    assert iter_of(path) == 2 and iter_of(previous) == (2 if steps[0][2] == 2 else 1)
    assert sorted(os.listdir(tmp_path)) == ['ckpt.prev.pt', 'ckpt.pt']


def test_a_disk_without_sync_of_folders_or_links_is_no_failure(tmp_path, monkeypatch):
    path, previous = tmp_path / 'ckpt.pt', tmp_path / 'ckpt.prev.pt'
    fail_at(monkeypatch, os, 'link', number=errno.EPERM)
    with monkeypatch.context() as patch:
        fail_at(patch, os, 'fsync', 2, errno.EINVAL)
        save(small_checkpoint(1), path)
    for iter_num in (2, 3):
        save(small_checkpoint(iter_num), path, previous)
        assert iter_of(path) == iter_of(previous) + 1 == iter_num
    assert sorted(os.listdir(tmp_path)) == ['ckpt.prev.pt', 'ckpt.pt']
    monkeypatch.undo()
    os.link(path, f'{previous}.{os.getpid()}.tmp') # a copy must not be written through it into a good file
    fail_at(monkeypatch, os, 'link', number=errno.EPERM)
    fail_at(monkeypatch, os, 'replace', 2)
    assert error_of(save, small_checkpoint(4), path, previous)
    assert iter_of(path) == iter_of(previous) == 3


def test_a_symbolic_link_is_followed_though_the_file_before_it_is_kept(run_dir, tmp_path):
    path, previous = tmp_path / 'ckpt.pt', tmp_path / 'ckpt.prev.pt'
    path.symlink_to('out/ckpt.pt')
    for iter_num in (1, 2):
        save(small_checkpoint(iter_num), path, previous)
    assert path.is_symlink() and (iter_of(run_dir / 'ckpt.pt'), iter_of(previous)) == (2, 1)


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / 'out').mkdir()
    return tmp_path / 'out'


def block(run_dir, name='ckpt.pt'):
    """Make writing a file fail until the function that this returns is called."""
    folder = run_dir / f'{name}.{os.getpid()}.tmp'
    (folder / 'x').mkdir(parents=True)
    return lambda: shutil.rmtree(folder)


def put(writer, *iter_nums, is_best=False):
    """Write checkpoints, one after the other."""
    for iter_num in iter_nums:
        writer.put(small_checkpoint(iter_num), is_best)
    writer.wait()


def test_a_best_checkpoint_is_written_too_without_its_optimizers_and_a_line_says_so(run_dir, capsys):
    writer = CheckpointWriter(run_dir, keep=3)
    for iter_num, is_best in ((1, True), (2, False), (3, True)):
        writer.put(small_checkpoint(iter_num, optimizers=[{}]), is_best, f'iter {iter_num}')
    assert writer.last_good() == f'{run_dir}/ckpt.pt of iter 3' # waits until the files are on the disk
    assert [iter_of(run_dir / f'{name}.pt') for name in ('best', 'ckpt', 'ckpt.prev')] == [3, 3, 2]
    assert [read_checkpoint(run_dir / name)['optimizers'] for name in ('best.pt', 'ckpt.pt')] == [[], [{}]]
    assert len(os.listdir(run_dir)) == 6 # best.pt has no previous one, and no number
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f'iter 2 | saved {run_dir}/ckpt.pt'
    assert lines[2] == f'iter 3 | saved {run_dir}/ckpt.pt, {run_dir}/best.pt' and len(lines) == 3


def test_a_write_that_fails_prints_one_warning_and_is_made_up_for_with_the_next_one(run_dir, capsys):
    writer, path, best = CheckpointWriter(run_dir, last_good='none'), run_dir / 'ckpt.pt', run_dir / 'best.pt'
    assert writer.last_good() == 'none'
    put(writer, 8)
    assert writer.last_good() == f'{path} of iter 8'
    free, free_best = block(run_dir), block(run_dir, 'best.pt')
    capsys.readouterr()
    put(writer, 9, is_best=True)
    assert writer.last_good() == f'{path} of iter 8' and iter_of(path) == 8
    best_warning, warning = capsys.readouterr().out.splitlines()
    assert warning.startswith(f'WARNING: {path}: could not be written (')
    assert 'training continues' in warning and f'{best}: could not be written' in best_warning
    free()
    put(writer, 10)
    assert iter_of(path) == 10 and list(writer.problems) == ['best.pt']
    free_best()
    put(writer, 11)
    assert iter_of(best) == 9 and not writer.problems
    block(run_dir, 'best.pt')
    put(writer, 12, is_best=True)
    assert error_of(writer.finish).startswith(f'{best}: could not be written (')


def test_numbered_checkpoints_ahead_of_the_run_go_first_and_one_that_fails_leaves_the_others(run_dir):
    for iter_num in (40, 50):
        save(small_checkpoint(iter_num), run_dir / f'ckpt-{iter_num:07d}.pt')
    writer = CheckpointWriter(run_dir, keep=2)
    block(run_dir, 'ckpt-0000046.pt')
    put(writer, 45, 46)
    assert writer.last_good() == f'{run_dir}/ckpt.pt of iter 46'
    assert [n for n, _ in numbered(run_dir)] == [40, 45]
    assert 'ckpt-0000046.pt: could not be written' in writer.problems['ckpt.pt']
    put(writer, 47)
    assert [(n, iter_of(run_dir / name)) for n, name in numbered(run_dir)] == [(45, 45), (47, 47)]


def test_put_returns_before_the_file_is_written_and_wait_when_it_is(run_dir):
    writer, disk = CheckpointWriter(run_dir), threading.Event()
    writer.pending.append(writer.thread.submit(disk.wait)) # as a slow disk would
    writer.put(small_checkpoint(1))
    assert os.listdir(run_dir) == []
    threading.Timer(0.05, disk.set).start()
    writer.wait()
    assert iter_of(run_dir / 'ckpt.pt') == 1
    writer.put(small_checkpoint(2, x=object()))
    with pytest.raises(ValueError): # an error of our own in the thread is not swallowed
        writer.finish()


def test_removing_a_run_or_what_a_killed_one_left_keeps_all_other_files(run_dir):
    put(CheckpointWriter(run_dir, keep=2), 1, 2, is_best=True)
    others = ['ckpt-final.pt', 'notes.1.tmp', 'notes.txt']
    for name in (*others, 'log.jsonl', 'loss.png', 'run.json', 'ckpt.pt.12.tmp', 'ckpt-0000001.pt.1.tmp'):
        (run_dir / name).write_text('', encoding='utf-8')
    remove_temporaries(run_dir)
    assert [name for name in os.listdir(run_dir) if name.endswith('.tmp')] == ['notes.1.tmp']
    assert holds_a_run(run_dir)
    remove_run(run_dir)
    assert sorted(os.listdir(run_dir)) == others and not holds_a_run(run_dir)
