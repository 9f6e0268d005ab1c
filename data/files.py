"""
Atomic writes and folder locks, for every file that this project writes.

    with atomic_write('meta.json', text=True) as file:
        json.dump(meta, file)
"""
import json
import os
import tempfile
from contextlib import contextmanager, suppress

import filelock


@contextmanager
def atomic_write(path, text=False, advice='free some space or choose another path'):
    """
    A file open for writing, bytes or UTF-8 text, whose contents replace those of path when the block ends.

    They go to a temporary file that is fsynced and renamed, so path always holds the old contents or the new
    ones, complete. A symbolic link is followed. A device, pipe or terminal is written to and never replaced.
    Raises SystemExit with one line, which ends in advice, when path is a folder or cannot be written.
    """
    encoding = 'utf-8' if text else None
    if is_stream(path):
        with write_errors(path, advice), open(path, 'a' if text else 'ab', encoding=encoding) as file:
            yield file
        return
    with replacing(path, advice) as temporary:
        with open(temporary, 'w' if text else 'wb', encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno()) # before the rename: otherwise a power cut leaves an empty file


@contextmanager
def replacing(path, advice='free some space or choose another path'):
    """A temporary name; the file that the block leaves there becomes path. Raises as atomic_write does."""
    path = os.path.realpath(path)
    temporary = f'{path}.{os.getpid()}.tmp'
    if os.path.exists(path) and not os.path.isfile(path):
        raise SystemExit(f'{path}: expected the path of a file, got a folder or device; {advice}')
    try:
        with write_errors(path, advice):
            yield temporary
            os.replace(temporary, path)
    finally:
        remove(temporary)
    sync_folder(os.path.dirname(path))


@contextmanager
def write_errors(path, advice='free some space or choose another path'):
    """Turns a failed write (disk full, no permission) into one line; what path held before is still there."""
    try:
        yield
    except (OSError, RuntimeError) as error: # torch.save reports a full disk as a RuntimeError
        disk = error if isinstance(error, OSError) else error.__context__
        if not isinstance(disk, OSError):
            raise
        raise SystemExit(f'{path}: could not be written ({disk.strerror or disk}); its old contents are '
                         f'unchanged; {advice}') from None


def make_folder(path, advice='choose another path'):
    """Make a folder, and find out before any work whether files can be written there; raises SystemExit."""
    with write_errors(path, advice):
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass


def short_path(path):
    """A path as seen from the working directory; as it is where Windows has the two on different drives."""
    try:
        return os.path.relpath(path)
    except ValueError:
        return path


def is_stream(path):
    """Whether path is a device, pipe, socket or terminal, such as /dev/null and /dev/stdout."""
    path = os.path.abspath(path)
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path) \
        or path.startswith(('/dev/std', '/dev/fd/', '/proc/'))


def write_json(path, value, advice='free some space or choose another path'):
    """Write a value as JSON, atomically."""
    with atomic_write(path, text=True, advice=advice) as file:
        json.dump(value, file, indent=1)
        file.write('\n')


def remove(path):
    """Remove a file if it is there; a folder or a file that cannot be removed is left."""
    with suppress(OSError):
        os.remove(path)


def sync_folder(folder):
    """Make renames in a folder survive a power cut, where the system can."""
    with suppress(OSError): # Windows cannot open a folder, and some network disks cannot sync one
        handle = os.open(folder or '.', os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def lock_folder(folder, wait=0.0):
    """
    Take the lock of an existing folder; it ends with release() or with the process, even if that is killed.

    wait: seconds to wait for another process that holds it; negative: as long as it takes
    returns the lock, or None when another process still holds it. Where the disk has no locks, every process
    gets one.
    """
    lock = filelock.FileLock(os.path.join(folder, '.lock'))
    try:
        lock.acquire(timeout=wait, poll_interval=0.2)
    except filelock.Timeout:
        return None
    except (NotImplementedError, OSError): # some network disks; a read-only folder needs no lock
        pass
    return lock
