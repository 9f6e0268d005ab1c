"""Files replaced as a whole, devices left as they are, folders locked."""
import os
import stat
import subprocess
import sys

import pytest
from conftest import REPO, error_of

from data import files


def write(path, contents, **more):
    with files.atomic_write(str(path), **more) as file:
        file.write(contents)


def test_a_file_has_its_old_contents_until_the_new_ones_are_complete(tmp_path):
    path, link = tmp_path / 'a.json', tmp_path / 'link.json'
    files.write_json(str(path), {'old': 1})
    link.symlink_to(path)
    with pytest.raises(KeyError), files.atomic_write(str(link)) as file:
        file.write(b'half')
        raise KeyError
    assert path.read_text() == '{\n "old": 1\n}\n'
    write(link, 'néw', text=True)
    assert path.read_bytes() == 'néw'.encode() and link.is_symlink() # which is followed
    assert sorted(os.listdir(tmp_path)) == ['a.json', 'link.json']


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='named pipes of POSIX')
def test_a_device_or_pipe_is_written_to_and_never_replaced(tmp_path):
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for path in pipe, os.devnull:
        write(path, b'hello')
    assert os.read(reader, 10) == b'hello' and stat.S_ISFIFO(os.stat(pipe).st_mode)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    os.close(reader)
    assert 'a folder or device' in error_of(files.replacing(str(pipe)).__enter__)


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='a device that is always full')
def test_a_full_disk_and_a_folder_in_the_place_of_a_file_are_one_line_with_the_advice(tmp_path):
    message = error_of(write, '/dev/full', b'x' * 100_000, advice='sell it')
    assert 'No space left' in message and message.endswith('sell it')
    assert 'a folder' in error_of(files.write_json, str(tmp_path), 5)
    (tmp_path / 'file').touch()
    message = error_of(files.make_folder, str(tmp_path / 'file' / 'folder'), 'choose another --out')
    assert 'Not a directory' in message and message.endswith('choose another --out')


HOLDER = '''
import sys, time
from data.files import lock_folder
lock = lock_folder(sys.argv[1])
print('locked', flush=True)
time.sleep(60)
'''


def test_a_lock_is_held_by_one_process_and_ends_with_it_even_if_it_is_killed(tmp_path):
    holder = [sys.executable, '-c', HOLDER, tmp_path]
    with subprocess.Popen(holder, cwd=REPO, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b'locked\n'
        assert files.lock_folder(str(tmp_path)) is None
        process.kill()
    lock = files.lock_folder(str(tmp_path), wait=10)
    assert lock and files.lock_folder(str(tmp_path)) is None
    lock.release()
    assert files.lock_folder(str(tmp_path)) # which its collection releases


def test_a_path_is_shown_from_the_working_directory_or_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert files.short_path(str(tmp_path / 'a' / 'b')) == os.path.join('a', 'b')
    monkeypatch.setattr(os.path, 'relpath', lambda path: int('D:')) # ValueError, as across drives
    assert files.short_path('D:/data') == 'D:/data'
