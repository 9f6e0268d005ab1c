"""
Token ids on disk, and batches of them.

    meta = load_meta('data/shakespeare_char')                       # SystemExit unless all is as it should be
    tokens = open_bin('data/shakespeare_char', 'train', meta)       # a memory map, nothing is read yet
    starts = update_windows(len(tokens), block_size, n_sequences, seed, iter_num)
    x, y = get_batch(tokens, starts, block_size)

A dataset is a folder with train.bin and val.bin, ids without a header, and meta.json about them. meta.json is
written last, so where it is, the bins are whole; data/write.py writes all three. They may have come from
anywhere: what is not as it should be ends the run in one line.
"""
import functools
import hashlib
import json
import mmap
import os
import pickle
import pickletools
import reprlib
from contextlib import contextmanager

import numpy as np
import torch

from data.tokenizer import CharTokenizer, from_json

DATA = os.path.dirname(os.path.abspath(__file__))
META_KEYS = {'source': str, 'vocab_size': int, 'dtype': str, 'splits': dict, 'tokenizer': dict}
SPLIT_KEYS = {'tokens': int, 'bytes': int, 'documents': int, 'largest_id': int, 'sha256': str}
NOTHING = {'tokens': 0, 'bytes': 0, 'documents': 0, 'largest_id': 0} # a record before there are any ids
SCAN_BYTES = 1 << 24 # read at once where a whole file is gone through
CHECKED_BYTES = 64 << 20 # bins up to this size are compared with their checksum each time they are loaded
MAX_META_BYTES = 1 << 28 # of a meta.json; a vocabulary of a million tokens takes a tenth
# what pickled dicts, lists, strings and numbers consist of; anything else may call code, or hash for ever
PLAIN_OPCODES = {'PROTO', 'FRAME', 'STOP', 'MARK', 'EMPTY_DICT', 'SETITEM', 'SETITEMS', 'EMPTY_LIST',
                 'APPEND', 'APPENDS', 'SHORT_BINUNICODE', 'BINUNICODE', 'BININT', 'BININT1', 'BININT2',
                 'NONE', 'MEMOIZE', 'BINPUT', 'LONG_BINPUT', 'BINGET', 'LONG_BINGET'}


# windows and batches

def windows_per_epoch(n_tokens, block_size):
    """How many windows of block_size inputs an epoch has: one less than fit, for room to shift them."""
    if n_tokens < block_size + 1:
        raise SystemExit(f'block_size: expected at least block_size + 1 = {block_size + 1:,} tokens, got '
                         f'{n_tokens:,}; lower it (--block_size={max(1, n_tokens - 1)}), or give more text')
    return max(1, (n_tokens - 1) // block_size - 1)


def update_windows(n_tokens, block_size, n_sequences, seed, iter_num):
    """
    Where the windows of an update start: a pure function, so that resuming needs no state.

    returns int64 (n_sequences,); ranks and micro-steps take slices of it
    Update iter_num (0 is the first) takes the next n_sequences places in an endless row of epochs. An epoch
    has each of its windows once, in an order of its own; they lie side by side in the text, all shifted by a
    random number of tokens, so that each epoch cuts the text at other places.
    """
    n = windows_per_epoch(n_tokens, block_size)
    places = iter_num * n_sequences + np.arange(n_sequences)
    starts = np.empty(n_sequences, dtype=np.int64)
    for epoch in range(places[0] // n, places[-1] // n + 1):
        order, shift = epoch_order(n, n_tokens - 1 - n * block_size, seed, epoch)
        chosen = places // n == epoch
        # int64 before anything is multiplied: the small integers of an order would wrap
        starts[chosen] = shift + order[places[chosen] % n].astype(np.int64) * block_size
    return starts


@functools.lru_cache(maxsize=2) # an update may lie across two epochs
def epoch_order(n, room, seed, epoch):
    """The order of an epoch's n windows, (n,) of the smallest unsigned type, and their shift, 0 to room."""
    rng = np.random.default_rng([seed, epoch])
    shift = int(rng.integers(room + 1))
    order = np.arange(n, dtype=np.min_scalar_type(n)) # of 10 billion tokens in windows of 64, 600 MB
    rng.shuffle(order)
    return order, shift


def val_windows(n_tokens, block_size, eval_tokens=0):
    """
    Where the windows of an evaluation start, int64: side by side from the first token on.

    eval_tokens: how much of the split to cover, at least; 0 covers all but a tail shorter than block_size
    """
    windows_per_epoch(n_tokens, block_size) # ends the run when not even one fits
    n = (n_tokens - 1) // block_size
    if eval_tokens:
        n = min(n, -(-eval_tokens // block_size))
    return np.arange(n, dtype=np.int64) * block_size


def get_batch(tokens, starts, block_size):
    """
    Windows of a token stream as inputs and targets.

    tokens: uint16 or uint32 (N,); a memmap, of which only the windows are read
    starts: int64 (B,), at most N - block_size - 1
    returns x, y: int64 (B, block_size); y[b, t] is the token after x[b, t]
    """
    windows = np.asarray(tokens)[starts[:, None] + np.arange(block_size + 1)] # (B, block_size + 1)
    # copied by numpy: torch would wake all its threads for so little, which is slow where they are busy
    x, y = windows[:, :-1].astype(np.int64), windows[:, 1:].astype(np.int64)
    if isinstance(getattr(tokens, 'base', None), mmap.mmap) and hasattr(mmap, 'MADV_DONTNEED'):
        # what is read of a map counts as memory of this process, 2 MB for each place with large pages
        tokens.base.madvise(mmap.MADV_DONTNEED)
    return torch.from_numpy(x), torch.from_numpy(y)


# reading a dataset

def load_meta(folder, every_byte=False):
    """
    What meta.json says about the bins in a folder; SystemExit in one line when they are not so.

    every_byte: compare bins above CHECKED_BYTES with their checksum, too (about a second for each GB)
    returns a dict with META_KEYS, whose 'splits' has SPLIT_KEYS for 'train' and 'val' ('bytes' are those of
    the text, 0 if not known); made from meta.pkl where nanoGPT prepared the folder
    """
    path, todo = os.path.join(folder, 'meta.json'), how_to_prepare(folder)
    if not os.path.exists(path):
        return meta_of_nanogpt(folder)
    meta = read_json(path, todo)
    check_keys(path, meta, META_KEYS, todo)
    check_keys(path, meta['splits'], {'train': dict, 'val': dict}, todo)
    for split in 'train', 'val':
        check_keys(f'{path}: {split}', meta['splits'][split], SPLIT_KEYS, todo)
    if meta['dtype'] not in ('uint16', 'uint32'):
        raise SystemExit(f'{path}: expected dtype uint16 or uint32, got {reprlib.repr(meta["dtype"])}; '
                         f'{todo}')
    n_vocab = from_json(meta['tokenizer']).n_vocab
    if n_vocab != meta['vocab_size']:
        raise SystemExit(f'{path}: expected vocab_size {n_vocab:,}, as its tokenizer has, got '
                         f'{meta["vocab_size"]:,}; {todo}')
    for split in 'train', 'val':
        check_bin(folder, split, meta, every_byte)
    return meta


def open_bin(folder, split, meta):
    """The tokens of a split as a read-only memory map, uint16 or uint32 (N,)."""
    path = os.path.join(folder, f'{split}.bin')
    with reading(path):
        return np.memmap(path, dtype=little_endian(meta['dtype']), mode='r')


def bin_dtype(n_vocab):
    return np.dtype('<u2' if n_vocab <= 1 << 16 else '<u4')


def little_endian(dtype):
    return np.dtype(dtype).newbyteorder('<')


def prepared_datasets():
    """Names of the datasets under data/ that are prepared."""
    return sorted(name for name in os.listdir(DATA) if os.path.isfile(os.path.join(DATA, name, 'meta.json')))


def how_to_prepare(folder):
    """The command that makes the bins in a folder, for the end of an error."""
    name = os.path.basename(os.path.abspath(folder))
    home = os.path.join(DATA, name)
    out = '' if os.path.abspath(folder) == home else f' --out={folder}'
    if os.path.isfile(os.path.join(home, 'prepare.py')):
        return f'run: python data/{name}/prepare.py{out}'
    known = ', '.join(prepared_datasets()) or 'none'
    return f'run: python data/text/prepare.py --input=FILE --out={folder} (datasets prepared so far: {known})'


@contextmanager
def reading(path):
    """Ends the run in one line where a file cannot be opened or read."""
    try:
        yield
    except OSError as error:
        raise SystemExit(f'{path}: expected a file that can be read, got {error.strerror or error}; look at '
                         'what lies there and at its permissions') from None


def read_small(path, todo):
    """The bytes of a file that describes others; todo: the end of an error, what to do then."""
    with reading(path), open(path, 'rb') as file:
        size = os.path.getsize(path)
        if size > MAX_META_BYTES:
            raise SystemExit(f'{path}: expected at most {MAX_META_BYTES:,} bytes, got {size:,}; {todo}')
        return file.read()


def read_json(path, todo):
    try:
        return json.loads(read_small(path, todo).decode('utf-8'))
    except (ValueError, RecursionError) as error:
        raise SystemExit(f'{path}: expected JSON, got {error}; {todo}') from None


def check_keys(where, found, keys, todo):
    """Ends the run unless found, which was JSON, is a dict that has these keys with values of these types."""
    for key, kind in keys.items():
        value = found.get(key) if isinstance(found, dict) else found
        # type(), because True is no number of tokens; below 2 ** 62, so that int64 holds the sum of two
        if type(value) is not kind or kind is int and not 0 <= value < 1 << 62:
            raise SystemExit(f'{where}: expected {key} of type {kind.__name__}, got {reprlib.repr(value)}; '
                             f'{todo}')


def check_bin(folder, split, meta, every_byte=False):
    """Ends the run when a bin is not what its meta says; every_byte: as in load_meta."""
    path, record, todo = os.path.join(folder, f'{split}.bin'), meta['splits'][split], how_to_prepare(folder)
    if not os.path.isfile(path):
        raise SystemExit(f'{path}: expected {record["tokens"]:,} tokens, got no file; {todo}')
    size, expected = os.path.getsize(path), record['tokens'] * little_endian(meta['dtype']).itemsize
    if size != expected or size == 0:
        raise SystemExit(f'{path}: expected {record["tokens"]:,} tokens in {expected:,} bytes, got {size:,} '
                         f'bytes, so it is truncated or of another preparation; {todo}')
    check_largest_id(path, record['largest_id'], meta['vocab_size'])
    if every_byte or size <= CHECKED_BYTES:
        found = scan_bin(path, meta['dtype'])
        check_largest_id(path, found['largest_id'], meta['vocab_size'])
        if found['sha256'] != record['sha256']:
            raise SystemExit(f'{path}: expected sha256 {record["sha256"][:16]!r}, got '
                             f'{found["sha256"][:16]!r}, so it is damaged or of another preparation; {todo}')


def check_largest_id(path, largest_id, vocab_size):
    if largest_id >= vocab_size:
        raise SystemExit(f'{path}: expected ids below vocab_size {vocab_size:,}, got {largest_id:,}, so they '
                         'belong to another vocabulary; ' + how_to_prepare(os.path.dirname(path)))


def scan_bin(path, dtype, byte_lengths=None, eot=None):
    """
    The SPLIT_KEYS of a bin, found by going through it once in bounded memory.

    byte_lengths: int64 (n_vocab,), bytes of text that each id stands for; without it 'bytes' is 0
    """
    sha, record = hashlib.sha256(), dict(NOTHING)
    with reading(path), open(path, 'rb') as file:
        while block := file.read(SCAN_BYTES):
            sha.update(block)
            count(record, np.frombuffer(block, dtype=little_endian(dtype)), byte_lengths, eot)
    return {**record, 'documents': max(1, record['documents']), 'sha256': sha.hexdigest()}


def count(record, ids, byte_lengths, eot):
    """Adds more ids to a record that began as NOTHING; what is None is not counted."""
    record['tokens'] += len(ids)
    record['largest_id'] = max(record['largest_id'], int(ids.max()))
    if eot is not None:
        record['documents'] += int((ids == eot).sum())
    if byte_lengths is not None and record['largest_id'] < len(byte_lengths):
        record['bytes'] += int(byte_lengths[ids].sum())


# bins that nanoGPT made

def meta_of_nanogpt(folder):
    """The dict of load_meta for nanoGPT's train.bin, val.bin and meta.pkl; the pickle is not executed."""
    missing = [name for name in ('train.bin', 'val.bin') if not os.path.isfile(os.path.join(folder, name))]
    if missing:
        raise SystemExit(f'{folder}: expected train.bin, val.bin and meta.json, found no '
                         f'{" and no ".join(missing)}; {how_to_prepare(folder)}')
    path = os.path.join(folder, 'meta.pkl')
    if not os.path.isfile(path):
        raise SystemExit(f"{folder}: expected meta.json (or nanoGPT's meta.pkl) beside the bins, got none; "
                         f'{how_to_prepare(folder)}; or if the bins are GPT-2 tokens made by nanoGPT, run: '
                         f'python data/text/prepare.py --input={folder} --tokenizer=gpt2')
    tokenizer = CharTokenizer(chars_of_nanogpt(path))
    return describe_bins(folder, tokenizer, tokenizer.byte_lengths())


def chars_of_nanogpt(path):
    """The characters of a meta.pkl in the order of their ids; SystemExit when it holds anything else."""
    todo = 'prepare the text again'
    data = read_small(path, todo)
    try:
        itos = dict(plain_pickle(data)['itos'])
        chars = [itos[i] for i in range(len(itos))]
        if not all(isinstance(char, str) and len(char) == 1 for char in chars):
            raise ValueError('values that are not characters')
    except Exception as error: # what is not a pickle can raise nearly anything
        raise SystemExit(f'{path}: expected a pickled dict whose itos is id -> character, got '
                         f'{type(error).__name__}: {error}; {todo}') from None
    return from_json({'kind': 'char', 'chars': ''.join(chars)}).chars # refuses characters that occur twice


def plain_pickle(data):
    """The dicts, lists, strings and numbers in a pickle; ValueError for any that holds something else."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name not in PLAIN_OPCODES:
            raise ValueError(f'{opcode.name}, which plain values do not need')
        if opcode.name == 'LONG_BINPUT' and argument > len(data): # the unpickler makes room for so many
            raise ValueError(f'a memo of {argument:,} values')
    return pickle.loads(data) # which now can neither import nor call anything


def describe_bins(folder, tokenizer, byte_lengths):
    """The dict of load_meta for nanoGPT's train.bin and val.bin, uint16, with the ids of this tokenizer."""
    splits = {}
    for split in 'train', 'val':
        path = os.path.join(folder, f'{split}.bin')
        size = os.path.getsize(path)
        if size == 0 or size % 2:
            raise SystemExit(f'{path}: expected two bytes for each token, got {size:,} bytes, so it is '
                             'truncated; prepare or copy it again')
        splits[split] = scan_bin(path, 'uint16', byte_lengths, tokenizer.eot)
        check_largest_id(path, splits[split]['largest_id'], tokenizer.n_vocab)
    return {'source': f'{folder}, prepared by nanoGPT', 'vocab_size': tokenizer.n_vocab, 'dtype': 'uint16',
            'splits': splits, 'tokenizer': tokenizer.to_json()}
