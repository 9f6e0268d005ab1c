"""
The documents of text files on this machine, one at a time, and where to cut them into train and val.

    train, val, tokenizer = split_own_text('my_folder', 'bpe', vocab_size=0, val_fraction=0.1)

A corpus may be larger than memory. Input that cannot be read raises SystemExit with a one-line message.
"""
import hashlib
import mmap
import os
import re
from collections import Counter
from itertools import chain, islice

import numpy as np

from data.bins import load_tokenizer, tokenizer_file
from data.encoding import SAMPLE_BYTES, conversion, detect_encoding, detect_file_type
from data.messages import describe
from data.tokenizer import SEPARATOR, CharTokenizer, learn_bpe

TEXT_FILES = ('.txt', '.md', '.parquet') # what is read of a folder
SYSTEM_FOLDERS = ('__MACOSX', '$RECYCLE.BIN', 'System Volume Information', '@eaDir') # not made by users


def local_documents(path):
    """
    The documents of a file, or of all .txt, .md and .parquet files below a folder, in order of their names.

    A text file (UTF-8) is one document, or several where <|endoftext|> stands between them. Blank lines do
    not separate documents, since paragraphs have them too. In a parquet file each row's 'text' is a document.
    """
    empty = True
    for file in local_files(path)[0]:
        is_parquet = file.lower().endswith('.parquet')
        for text in parquet_documents(file) if is_parquet else file_documents(file):
            yield text
            empty = False
    if empty:
        raise SystemExit(f'--input={path}: expected text, found nothing but white space; give another file')


def local_files(path):
    """
    (files, skipped): the files that are read of a file or folder, and how many others lie there, by kind.

    Symbolic links are followed, each file and folder once. skipped: Counter such as {'.py': 3, 'hidden': 1}
    """
    if os.path.isfile(path):
        return [path], Counter()
    if not os.path.isdir(path):
        raise SystemExit(f'--input={path}: expected a file or a folder, found neither; check the path')
    files, skipped, seen = [], Counter(), {os.path.realpath(path)}
    for folder, subfolders, names in os.walk(path, followlinks=True):
        subfolders[:] = [name for name in sorted(subfolders) if is_new(folder, name, seen, skipped)]
        for name in sorted(names):
            kind = os.path.splitext(name)[1].lower()
            if not is_new(folder, name, seen, skipped):
                continue
            if kind in TEXT_FILES and os.path.isfile(os.path.join(folder, name)):
                files.append(os.path.join(folder, name))
            else:
                skipped[kind or 'without an extension'] += 1
    if not files:
        raise SystemExit(f'--input={path}: expected {", ".join(TEXT_FILES)} files in the folder, got '
                         f'{format_counts(skipped) or "none"}; give one file, or another folder')
    return files, skipped


def is_new(folder, name, seen, skipped):
    """Whether a name in a folder is not hidden, not made by the system, and not another name of one seen."""
    place = os.path.realpath(os.path.join(folder, name))
    if name.startswith('.') or name in SYSTEM_FOLDERS:
        skipped['hidden'] += 1
        return False
    if place in seen:
        skipped['already read'] += 1
        return False
    seen.add(place)
    return True


def format_counts(skipped):
    """'3 .py, 1 hidden' of {'.py': 3, 'hidden': 1}."""
    return ', '.join(f'{n} {kind}' for kind, n in skipped.most_common(6))


def print_skipped_files(path):
    """Say which files of a folder are not read, if any."""
    files, skipped = local_files(path)
    if skipped:
        print(f'{path}: reading {len(files):,} files ({", ".join(TEXT_FILES)}), leaving out '
              f'{format_counts(skipped)}')


def file_documents(path):
    """The documents of a text file, without those that are empty."""
    if not os.path.getsize(path): # which mmap refuses
        return
    with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as contents:
        if problem := detect_file_type(contents[:SAMPLE_BYTES], path):
            raise SystemExit(f'{path}: expected UTF-8 text, got {problem}')
        start, separator = 0, SEPARATOR.encode()
        is_one = contents.find(separator) < 0
        while start < len(contents):
            end = contents.find(separator, start)
            end = len(contents) if end < 0 else end
            text = decode_block(contents[start:end], path, start)
            if text.strip(): # a single document keeps the white space around it
                yield text if is_one else text.strip()
            start = end + len(separator)


def decode_block(block, path, offset):
    """
    The text of the bytes of a file from offset on. Lines end in a line feed, whatever they end in there; byte
    order marks, which joined files have in the middle, are removed.
    """
    try:
        text = block.decode('utf-8')
    except UnicodeDecodeError as error:
        raise SystemExit(f'{path}: expected UTF-8 text, got the byte {block[error.start]:#04x} at offset '
                         f'{offset + error.start:,}, {detect_encoding(block, error.start, path)}') from None
    if '\0' in text:
        raise SystemExit(f'{path}: expected text, got a NUL byte at offset {offset + block.index(0):,}; '
                         + conversion("tr -d '\\000' < {}", path))
    return text.replace('\ufeff', '').replace('\r\n', '\n').replace('\r', '\n')


def parquet_documents(path):
    """The texts in the column 'text' of a parquet file; '' for a row without one."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise SystemExit(f'{path}: {error}; pip install datasets, which brings pyarrow') from None
    try:
        for batch in parquet.ParquetFile(path).iter_batches(1000, columns=['text']): # rows
            yield from (text or '' for text in batch.column('text').cast('string').to_pylist())
    except Exception as error: # not parquet, truncated, or without such a column
        what = describe(error)[:200]
        raise SystemExit(f"{path}: expected parquet with a column 'text', got {what}; "
                         'give another file') from None


def file_fingerprint(path):
    """A fingerprint of a file, or of the text files in a folder: sizes and times; '' if there is none."""
    if not os.path.exists(path):
        return ''
    sha = hashlib.sha256()
    for file in [path] if os.path.isfile(path) else local_files(path)[0]:
        state = os.stat(file)
        sha.update(f'{os.path.relpath(file, path)} {state.st_size} {state.st_mtime_ns}\n'.encode())
    return sha.hexdigest()[:16]


def fingerprint_inputs(flags):
    """(flags of a prepare.py with absolute paths, fingerprints of these files), as meta.json records them."""
    paths = {'input': flags.get('input', ''), 'tokenizer': tokenizer_file(flags.get('tokenizer', ''))}
    paths = {name: os.path.abspath(path) for name, path in paths.items() if os.path.exists(path)}
    return flags | paths, [file_fingerprint(path) for path in paths.values()]


# train and val

def split_own_text(path, tokenizer, vocab_size, val_fraction, max_val_chars=0, max_documents=0):
    """
    (train, val, tokenizer): the text of a file or folder, cut in two, and the tokenizer to encode it with.

    tokenizer: char or bpe, made from the text; gpt2; or a file as for load_tokenizer
    vocab_size: of bpe, see learn_bpe
    max_val_chars, max_documents: about how long val may get, how many documents are taken; 0: no limit
    """
    print_skipped_files(path)
    chosen = None if tokenizer in ('char', 'bpe') else load_tokenizer(tokenizer)

    def documents():
        return islice(local_documents(path), max_documents or None)

    if tokenizer == 'char' or chosen and chosen.eot is None: # a blank line ends a document
        joined = '\n\n'.join(documents())
        train, val = split_by_fraction(lambda: iter([joined]), val_fraction, max_val_chars)
        chosen = chosen or CharTokenizer.of(joined)
        chosen.check(joined)
    else:
        train, val = split_by_fraction(documents, val_fraction, max_val_chars)
        if tokenizer == 'bpe':
            chosen, train = learn_bpe(train, vocab_size) # from train alone: val stays unseen
    return train, val, chosen


def split_by_fraction(documents, val_fraction, max_val_chars=0):
    """
    (train, val): documents cut in two at one position, so that the last val_fraction of the text is val.

    documents: a function that gives a new iterator over the same texts each time
    max_val_chars: about how long val may get, 0: no limit
    The cut is between two documents if one such position is near, else at the end of a paragraph, a line, a
    sentence or a word.
    """
    if not 0 < val_fraction < 1:
        raise SystemExit(f'--val_fraction: expected a number between 0 and 1, got {val_fraction}; try 0.1')
    ends = np.cumsum([len(text) for text in documents()])
    n_val = max(1, min(int(ends[-1] * val_fraction), max_val_chars or ends[-1])) # characters
    cut = ends[-1] - n_val
    n = int(np.abs(ends - cut).argmin()) + 1 # documents before the nearest position between two
    if n < len(ends) and abs(ends[n - 1] - cut) <= n_val // 4:
        return islice(documents(), n), islice(documents(), n, None)
    n = int(np.searchsorted(ends, cut, side='right')) # the document with the cut inside
    text = next(islice(documents(), n, None))
    at = boundary_near(text, len(text) - int(ends[n] - cut))
    before, after = islice(documents(), n), islice(documents(), n + 1, None)
    return chain(before, filter(None, [text[:at]])), chain([text[at:]], after)


def boundary_near(text, at):
    """The end of a paragraph near a position in a text; if there is none, of a line, a sentence or a word."""
    reach = max(200, len(text) // 50) # characters on both sides
    start = max(0, at - reach)
    for boundary in r'\n\s*\n', r'\n', r'[.!?]["\')]*\s', r'\s':
        ends = [start + match.end() for match in re.finditer(boundary, text[start:at + reach])]
        ends = [end for end in ends if 0 < end < len(text)]
        if ends:
            return min(ends, key=lambda end: abs(end - at))
    return at
