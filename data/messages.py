"""
How messages show sizes, errors and commands.

    python -c "from data.messages import format_bytes; print(format_bytes(1_500_000))"
"""
import os
import shlex
import subprocess


def format_bytes(n_bytes):
    """A number of bytes with its unit: '1.50 GB'."""
    unit = min(max(0, len(str(int(n_bytes))) - 1) // 3, 3)
    return f'{n_bytes / 1000 ** unit:,.{(0, 1, 1, 2)[unit]}f} {("bytes", "kB", "MB", "GB")[unit]}'


def describe(error):
    """An exception in one line."""
    return ' '.join(f'{type(error).__name__}: {error}'.split()).removesuffix(':')


def quoted(word):
    """A word of a command, as the shell of this system takes it."""
    if os.name == 'nt':
        return subprocess.list2cmdline([word])
    return shlex.quote(word)


def shell_command(words):
    """A list of words as one command to paste."""
    return ' '.join(map(quoted, words))
