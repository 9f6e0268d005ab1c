"""
Token ids on disk, and batches of them.

    meta = load_meta('data/shakespeare_char')                       # SystemExit unless the dataset is valid
    tokens = open_bin('data/shakespeare_char', 'train', meta)       # a memory map, nothing is read yet
    starts = update_windows(len(tokens), block_size, n_sequences, seed, iter_num)
    x, y = get_batch(tokens, starts, block_size)

A dataset is a folder with train.bin and val.bin, ids without a header, and meta.json about them. meta.json is
written last, so where it exists the bins are complete; data/write.py writes all three. They may come from an
untrusted source: whatever is not valid ends the run in one line.
"""
import functools
import hashlib
import json
import mmap
import os
import pickle
import pickletools
import reprlib
import zipfile
from contextlib import contextmanager

import numpy as np

from data.messages import quoted
from data.tokenizer import CharTokenizer, GPT2Tokenizer, from_json

DATA = os.path.dirname(os.path.abspath(__file__))
META_KEYS = {'source': str, 'vocab_size': int, 'dtype': str, 'splits': dict, 'tokenizer': dict}
SPLIT_KEYS = {'tokens': int, 'bytes': int, 'documents': int, 'largest_id': int, 'sha256': str}
EMPTY = {'tokens': 0, 'bytes': 0, 'documents': 0, 'largest_id': 0} # the record of no ids
SCAN_BYTES = 1 << 24 # block size for reading a whole file
CHECKED_BYTES = 64 << 20 # smaller bins are compared with their checksum each time they are loaded
MAX_META_BYTES = 1 << 28 # of a meta.json; a vocabulary of a million tokens takes a tenth of it
# opcodes of pickled dicts, lists, strings and numbers; any other may execute code or hash forever
PLAIN_OPCODES = {'PROTO', 'FRAME', 'STOP', 'MARK', 'EMPTY_DICT', 'SETITEM', 'SETITEMS', 'EMPTY_LIST',
                 'APPEND', 'APPENDS', 'SHORT_BINUNICODE', 'BINUNICODE', 'BININT', 'BININT1', 'BININT2',
                 'NONE', 'MEMOIZE', 'BINPUT', 'LONG_BINPUT', 'BINGET', 'LONG_BINGET'}


# windows and batches

def windows_per_epoch(n_tokens, block_size):
    """Number of windows of block_size tokens in an epoch: one fewer than fit, to leave room for the shift."""
    if n_tokens < block_size + 1:
        raise SystemExit(f'block_size: expected at least block_size + 1 = {block_size + 1:,} tokens, got '
                         f'{n_tokens:,}; lower it (--block_size={max(1, n_tokens - 1)}) or give more text')
    return max(1, (n_tokens - 1) // block_size - 1)


def update_windows(n_tokens, block_size, n_sequences, seed, iter_num):
    """
    The start positions of the windows of an update: a pure function, so that resuming needs no state.

    returns int64 (n_sequences,); ranks and micro-steps take slices of it
    Update iter_num (0 is the first) takes the next n_sequences windows of an endless sequence of epochs. An
    epoch has each of its windows once, in random order. The windows are adjacent in the text, and all are
    shifted by one random number of tokens, so that each epoch cuts the text at other positions.
    """
    n = windows_per_epoch(n_tokens, block_size)
    indices = iter_num * n_sequences + np.arange(n_sequences) # in the sequence of all epochs
    starts = np.empty(n_sequences, dtype=np.int64)
    for epoch in range(indices[0] // n, indices[-1] // n + 1):
        order, shift = epoch_order(n, n_tokens - 1 - n * block_size, seed, epoch)
        chosen = indices // n == epoch
        # int64 before the multiplication: the small integers of an order would overflow
        starts[chosen] = shift + order[indices[chosen] % n].astype(np.int64) * block_size
    return starts


@functools.lru_cache(maxsize=2) # an update may span two epochs
def epoch_order(n, room, seed, epoch):
    """The order of an epoch's n windows, (n,) of the smallest unsigned type, and their shift, 0 to room."""
    rng = np.random.default_rng([seed, epoch])
    shift = int(rng.integers(room + 1))
    order = np.arange(n, dtype=np.min_scalar_type(n)) # 10 billion tokens in windows of 64: 600 MB
    rng.shuffle(order)
    return order, shift


def val_windows(n_tokens, block_size, eval_tokens=0):
    """
    The start positions of the windows of an evaluation, int64: adjacent, from the first token on.

    eval_tokens: tokens of the split to cover, at least; 0 covers all but a tail shorter than block_size
    """
    windows_per_epoch(n_tokens, block_size) # raises SystemExit when not even one fits
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
    # not at the top, because prepare.py scripts import this module and need no torch
    import torch

    windows = np.asarray(tokens)[starts[:, None] + np.arange(block_size + 1)] # (B, block_size + 1)
    # copied by numpy: torch would wake all its threads for a small copy, which is slow on a busy machine
    x, y = windows[:, :-1].astype(np.int64), windows[:, 1:].astype(np.int64)
    if isinstance(getattr(tokens, 'base', None), mmap.mmap) and hasattr(mmap, 'MADV_DONTNEED'):
        # pages read through a memory map count as memory of this process, 2 MB each with large pages
        tokens.base.madvise(mmap.MADV_DONTNEED)
    return torch.from_numpy(x), torch.from_numpy(y)


# reading a dataset

def load_meta(folder, verify_checksum=False):
    """
    The contents of meta.json, compared with the bins in the folder; any difference raises SystemExit.

    verify_checksum: compare bins above CHECKED_BYTES with their checksum, too (about a second per GB)
    returns a dict with META_KEYS, whose 'splits' has SPLIT_KEYS for 'train' and 'val' ('bytes' of the text, 0
    if not known); derived from meta.pkl where nanoGPT prepared the folder
    """
    path, advice = os.path.join(folder, 'meta.json'), how_to_prepare(folder)
    if not os.path.exists(path):
        return meta_of_nanogpt(folder)
    meta = read_json(path, advice)
    check_keys(path, meta, META_KEYS, advice)
    check_keys(path, meta['splits'], {'train': dict, 'val': dict}, advice)
    for split in 'train', 'val':
        check_keys(f'{path}: {split}', meta['splits'][split], SPLIT_KEYS, advice)
    if meta['dtype'] not in ('uint16', 'uint32'):
        raise SystemExit(f'{path}: expected dtype uint16 or uint32, got {reprlib.repr(meta["dtype"])}; '
                         f'{advice}')
    n_vocab = from_json(meta['tokenizer']).n_vocab
    if n_vocab != meta['vocab_size']:
        raise SystemExit(f'{path}: expected vocab_size {n_vocab:,}, as its tokenizer has, got '
                         f'{meta["vocab_size"]:,}; {advice}')
    for split in 'train', 'val':
        check_bin(folder, split, meta, verify_checksum)
    return meta


def data_checksum(meta):
    """Hex sha256 of the tokenizer and the tokens that a meta describes: equal for equal data."""
    parts = [meta['tokenizer'], [meta['splits'][split]['sha256'] for split in ('train', 'val')]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_provenance(folder):
    """The provenance of the bins in a folder, as write_dataset records it; {} if not known."""
    try:
        with open(os.path.join(folder, 'meta.json'), encoding='utf-8') as file:
            record = json.load(file).get('provenance')
    except (OSError, ValueError, RecursionError, AttributeError): # load_meta reports what is not valid
        return {}
    return record if isinstance(record, dict) else {}


def open_bin(folder, split, meta):
    """The tokens of a split as a read-only memory map, uint16 or uint32 (N,)."""
    path = os.path.join(folder, f'{split}.bin')
    with read_errors(path):
        return np.memmap(path, dtype=little_endian(meta['dtype']), mode='r')


def bin_dtype(n_vocab):
    return np.dtype('<u2' if n_vocab <= 1 << 16 else '<u4')


def little_endian(dtype):
    return np.dtype(dtype).newbyteorder('<')


def prepared_datasets():
    """Names of the datasets under data/ that are prepared."""
    return sorted(name for name in os.listdir(DATA) if os.path.isfile(os.path.join(DATA, name, 'meta.json')))


def how_to_prepare(folder):
    """The command that makes the bins in a folder, for the end of an error message."""
    name, out = os.path.basename(os.path.abspath(folder)), f'--out={quoted(str(folder))}'
    home, own = os.path.join(DATA, name), os.path.join(folder, 'prepare.py')
    if os.path.isfile(own) and os.path.abspath(folder) != home:
        return f'run: python {quoted(own)}'
    if os.path.isfile(os.path.join(home, 'prepare.py')):
        return f'run: python data/{name}/prepare.py' + f' {out}' * (os.path.abspath(folder) != home)
    known = ', '.join(prepared_datasets()) or 'none'
    return f'run: python data/text/prepare.py --input=FILE {out} (datasets prepared so far: {known})'


@contextmanager
def read_errors(path):
    """Raises SystemExit with one line where a file cannot be opened or read."""
    try:
        yield
    except OSError as error:
        raise SystemExit(f'{path}: expected a readable file, got {error.strerror or error}; check the '
                         'path and its permissions') from None


def read_small(path, advice):
    """The bytes of a file that describes others; advice: the end of the error message, what to do then."""
    with read_errors(path), open(path, 'rb') as file:
        size = os.path.getsize(path)
        if size > MAX_META_BYTES:
            raise SystemExit(f'{path}: expected at most {MAX_META_BYTES:,} bytes, got {size:,}; {advice}')
        return file.read()


def read_json(path, advice):
    try:
        return json.loads(read_small(path, advice).decode('utf-8'))
    except (ValueError, RecursionError) as error:
        raise SystemExit(f'{path}: expected JSON, got {error}; {advice}') from None


def check_keys(where, found, keys, advice):
    """Raises SystemExit unless found, read from JSON, is a dict with these keys and values of these types."""
    for key, kind in keys.items():
        value = found.get(key) if isinstance(found, dict) else found
        # type(), because True is an int, too; below 2 ** 62, so that int64 holds the sum of two
        if type(value) is not kind or kind is int and not 0 <= value < 1 << 62:
            raise SystemExit(f'{where}: expected {key} of type {kind.__name__}, got {reprlib.repr(value)}; '
                             f'{advice}')


def check_bin(folder, split, meta, verify_checksum=False):
    """Raises SystemExit when a bin differs from its meta; verify_checksum: as in load_meta."""
    path, record, advice = os.path.join(folder, f'{split}.bin'), meta['splits'][split], how_to_prepare(folder)
    if not os.path.isfile(path):
        raise SystemExit(f'{path}: expected {record["tokens"]:,} tokens, got no file; {advice}')
    size, expected = os.path.getsize(path), record['tokens'] * little_endian(meta['dtype']).itemsize
    if size != expected or size == 0:
        raise SystemExit(f'{path}: expected {record["tokens"]:,} tokens in {expected:,} bytes, got {size:,} '
                         f'bytes, so it is truncated or from a different prepare.py run; {advice}')
    check_largest_id(path, record['largest_id'], meta['vocab_size'])
    if verify_checksum or size <= CHECKED_BYTES:
        found = scan_bin(path, meta['dtype'])
        check_largest_id(path, found['largest_id'], meta['vocab_size'])
        if found['sha256'] != record['sha256']:
            raise SystemExit(f'{path}: expected sha256 {record["sha256"][:16]!r}, got '
                             f'{found["sha256"][:16]!r}, so it is damaged or from a different prepare.py '
                             f'run; {advice}')


def check_largest_id(path, largest_id, vocab_size):
    if largest_id >= vocab_size:
        raise SystemExit(f'{path}: expected ids below vocab_size {vocab_size:,}, got {largest_id:,}, so they '
                         'belong to another vocabulary; ' + how_to_prepare(os.path.dirname(path)))


def scan_bin(path, dtype, byte_lengths=None, eot=None):
    """
    The SPLIT_KEYS of a bin, found by reading it once in bounded memory.

    byte_lengths: int64 (n_vocab,), bytes of text that each id stands for; without it 'bytes' is 0
    """
    sha, record = hashlib.sha256(), dict(EMPTY)
    with read_errors(path), open(path, 'rb') as file:
        while block := file.read(SCAN_BYTES):
            sha.update(block)
            count(record, np.frombuffer(block, dtype=little_endian(dtype)), byte_lengths, eot)
    return {**record, 'documents': max(1, record['documents']), 'sha256': sha.hexdigest()}


def count(record, ids, byte_lengths, eot):
    """Add more ids to a record that began as EMPTY; byte_lengths, eot: None leaves bytes, documents at 0."""
    record['tokens'] += len(ids)
    record['largest_id'] = max(record['largest_id'], int(ids.max()))
    if eot is not None:
        record['documents'] += int((ids == eot).sum())
    if byte_lengths is not None and record['largest_id'] < len(byte_lengths):
        record['bytes'] += int(byte_lengths[ids].sum())


# tokenizers of files

def load_tokenizer(path):
    """
    The tokenizer of a meta.json, of nanoGPT's meta.pkl, of a checkpoint, or of a folder with one of these;
    GPT-2's for 'gpt2'. Raises SystemExit for anything else.
    """
    if path == 'gpt2':
        return GPT2Tokenizer()
    advice = 'give char, bpe, gpt2, or the path of a meta.json, meta.pkl or checkpoint'
    path = tokenizer_file(path)
    if not os.path.isfile(path):
        raise SystemExit(f'--tokenizer: expected char, bpe, gpt2 or a file, got {path!r}; {advice}')
    if path.endswith('.pkl'):
        return CharTokenizer(chars_of_nanogpt(path))
    found = read_json(path, advice) if path.endswith('.json') else load_untrusted(path, advice)
    if not isinstance(found, dict) or 'tokenizer' not in found:
        raise SystemExit(f'{path}: expected a tokenizer in it, found none; {advice} (nanoGPT keeps '
                         'characters in the meta.pkl beside its bins)')
    return from_json(found['tokenizer'])


def tokenizer_file(path):
    """The file of a folder that holds its tokenizer; path itself where it is a file or there is none."""
    inside = [os.path.join(path, name) for name in ('meta.json', 'meta.pkl', 'best.pt', 'ckpt.pt')]
    return next(filter(os.path.isfile, [path, *inside]), path)


def load_untrusted(path, advice):
    """The contents of a torch.save file, executing nothing; its tensors stay on disk where possible."""
    import torch
    try:
        return torch.load(path, map_location='cpu', weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error: # what is not a checkpoint can raise nearly anything
        raise SystemExit(f'{path}: expected a checkpoint, got {type(error).__name__} on reading it; '
                         f'{advice}') from None


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
    advice = 'prepare the text again'
    data = read_small(path, advice)
    try:
        itos = dict(load_plain_pickle(data)['itos'])
        chars = [itos[i] for i in range(len(itos))]
        if not all(isinstance(char, str) and len(char) == 1 for char in chars):
            raise ValueError('values that are not characters')
    except Exception as error: # what is not a pickle can raise nearly anything
        raise SystemExit(f'{path}: expected a pickled dict whose itos is id -> character, got '
                         f'{type(error).__name__}: {error}; {advice}') from None
    return from_json({'kind': 'char', 'chars': ''.join(chars)}).chars # refuses characters that occur twice


def load_plain_pickle(data):
    """Unpickle dicts, lists, strings and numbers; ValueError, and nothing executed, for anything else."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name not in PLAIN_OPCODES:
            raise ValueError(f'{opcode.name}, which plain values do not need')
        if opcode.name == 'LONG_BINPUT' and argument > len(data): # the unpickler allocates that many
            raise ValueError(f'a memo of {argument:,} values')
    return pickle.loads(data) # which cannot import or call anything now


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
