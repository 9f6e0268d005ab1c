"""
How messages show sizes and errors.

    python -c "from data.messages import format_bytes; print(format_bytes(1_500_000))"
"""


def format_bytes(n_bytes):
    """A number of bytes with its unit: '1.50 GB'."""
    unit = min(max(0, len(str(int(n_bytes))) - 1) // 3, 3)
    return f'{n_bytes / 1000 ** unit:,.{(0, 1, 1, 2)[unit]}f} {("bytes", "kB", "MB", "GB")[unit]}'


def describe(error):
    """An exception in one line."""
    return ' '.join(f'{type(error).__name__}: {error}'.split()).removesuffix(':')
