"""
Token ids on disk, and batches of them.

    meta = load_meta('data/shakespeare_char')                       # SystemExit unless all is as it should be
    tokens = open_bin('data/shakespeare_char', 'train', meta)       # a memory map, nothing is read yet
    starts = update_windows(len(tokens), block_size, n_sequences, seed, iter_num)
    x, y = get_batch(tokens, starts, block_size)

A dataset is a folder with train.bin and val.bin, ids without a header, and meta.json about them. meta.json is
written last, so where it is, the bins are whole. write_dataset, which the prepares use, is at the end.
"""
import functools
import hashlib
import json
import os
import pickle
import re
from itertools import chain

import numpy as np
import torch
from tqdm import tqdm

from data.tokenizer import CharTokenizer, GPT2Tokenizer, from_json

DATA = os.path.dirname(os.path.abspath(__file__))
META_KEYS = {'source': str, 'vocab_size': int, 'dtype': str, 'splits': dict, 'tokenizer': dict}
SPLIT_KEYS = {'tokens': int, 'bytes': int, 'documents': int, 'largest_id': int, 'sha256': str}
SCAN_BYTES = 1 << 24 # read at once where a whole file is gone through
CHECKED_BYTES = 64 << 20 # bins up to this size are compared with their checksum each time they are loaded
PROGRESS = 'progress.json' # how far a resumable preparation is
BEFORE_SPACE = re.compile(r'(?<=\S)[ \n]')


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
        starts[chosen] = shift + order[places[chosen] % n] * block_size
    return starts


@functools.lru_cache(maxsize=2) # an update may lie across two epochs
def epoch_order(n, room, seed, epoch):
    """The order of an epoch's n windows, int64 (n,), and their shift, 0 to room tokens."""
    rng = np.random.default_rng([seed, epoch])
    shift = int(rng.integers(room + 1))
    return rng.permutation(n), shift


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
    return torch.from_numpy(x), torch.from_numpy(y)


# reading a dataset

def load_meta(folder):
    """
    What meta.json says about the bins in a folder; SystemExit in one line when they are not so.

    returns a dict with META_KEYS, whose 'splits' has SPLIT_KEYS for 'train' and 'val' ('bytes' are those of
    the text, 0 if not known); made from meta.pkl where nanoGPT prepared the folder
    """
    path = os.path.join(folder, 'meta.json')
    if not os.path.isfile(path):
        return meta_of_nanogpt(folder)
    try:
        with open(path, encoding='utf-8') as file:
            meta = json.load(file)
    except (ValueError, RecursionError) as error:
        raise SystemExit(f'{path}: expected JSON, got {error}; {how_to_prepare(folder)}') from None
    check_keys(path, meta, META_KEYS, folder)
    check_keys(path, meta['splits'], {'train': dict, 'val': dict}, folder)
    for split in 'train', 'val':
        check_keys(f'{path}: {split}', meta['splits'][split], SPLIT_KEYS, folder)
    if meta['dtype'] not in ('uint16', 'uint32'):
        raise SystemExit(f'{path}: expected dtype uint16 or uint32, got {meta["dtype"]!r}; '
                         f'{how_to_prepare(folder)}')
    n_vocab = from_json(meta['tokenizer']).n_vocab
    if n_vocab != meta['vocab_size']:
        raise SystemExit(f'{path}: expected vocab_size {n_vocab:,}, as its tokenizer has, got '
                         f'{meta["vocab_size"]:,}; {how_to_prepare(folder)}')
    for split in 'train', 'val':
        check_bin(folder, split, meta)
    return meta


def open_bin(folder, split, meta):
    """
    The tokens of a split as a read-only memory map, uint16 or uint32 (N,).

    What was read counts as memory of this process while the map lives: open it anew now and then (0.3 ms).
    """
    return np.memmap(os.path.join(folder, f'{split}.bin'), dtype=little_endian(meta['dtype']), mode='r')


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


def check_keys(where, found, keys, folder):
    for key, kind in keys.items():
        value = found.get(key) if isinstance(found, dict) else found
        if type(value) is not kind or kind is int and value < 0: # type(): True is no number of tokens
            raise SystemExit(f'{where}: expected {key} of type {kind.__name__}, got {repr(value)[:50]}; '
                             f'{how_to_prepare(folder)}')


def check_bin(folder, split, meta):
    """Ends the run when a bin is not what its meta says."""
    path, record = os.path.join(folder, f'{split}.bin'), meta['splits'][split]
    if not os.path.isfile(path):
        raise SystemExit(f'{path}: expected {record["tokens"]:,} tokens, got no file; '
                         f'{how_to_prepare(folder)}')
    size, expected = os.path.getsize(path), record['tokens'] * little_endian(meta['dtype']).itemsize
    if size != expected or size == 0:
        raise SystemExit(f'{path}: expected {record["tokens"]:,} tokens in {expected:,} bytes, got {size:,} '
                         f'bytes, so it is truncated or of another preparation; {how_to_prepare(folder)}')
    check_largest_id(path, record['largest_id'], meta['vocab_size'])
    if size <= CHECKED_BYTES:
        found = scan_bin(path, meta['dtype'])
        check_largest_id(path, found['largest_id'], meta['vocab_size'])
        if found['sha256'] != record['sha256']:
            raise SystemExit(f'{path}: expected sha256 {record["sha256"][:16]}, got {found["sha256"][:16]}, '
                             f'so it is damaged or of another preparation; {how_to_prepare(folder)}')


def check_largest_id(path, largest_id, vocab_size):
    if largest_id >= vocab_size:
        raise SystemExit(f'{path}: expected ids below vocab_size {vocab_size:,}, got {largest_id:,}, so they '
                         'belong to another vocabulary; ' + how_to_prepare(os.path.dirname(path)))


def scan_bin(path, dtype, byte_lengths=None, eot=None):
    """
    The SPLIT_KEYS of a bin, found by going through it once in bounded memory.

    byte_lengths: int64 (n_vocab,), bytes of text that each id stands for; without it 'bytes' is 0
    """
    sha = hashlib.sha256()
    record = {'tokens': 0, 'bytes': 0, 'documents': 0, 'largest_id': 0}
    with open(path, 'rb') as file:
        while block := file.read(SCAN_BYTES):
            ids = np.frombuffer(block, dtype=little_endian(dtype))
            sha.update(block)
            record['tokens'] += len(ids)
            record['largest_id'] = max(record['largest_id'], int(ids.max()))
            if eot is not None:
                record['documents'] += int((ids == eot).sum())
            if byte_lengths is not None and record['largest_id'] < len(byte_lengths):
                record['bytes'] += int(byte_lengths[ids].sum())
    return {**record, 'documents': max(1, record['documents']), 'sha256': sha.hexdigest()}


# bins that nanoGPT made

class PlainUnpickler(pickle.Unpickler):
    """Reads dicts, lists, strings and numbers, and refuses whatever would import or call something."""

    def find_class(self, module, name):
        raise pickle.UnpicklingError(f'{module}.{name}, which is code')


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
    try:
        with open(path, 'rb') as file:
            itos = dict(PlainUnpickler(file).load()['itos'])
        chars = [itos[i] for i in range(len(itos))]
        if not all(isinstance(char, str) and len(char) == 1 for char in chars):
            raise ValueError('values that are not characters')
    except Exception as error: # what is not a pickle can raise nearly anything
        raise SystemExit(f'{path}: expected a pickled dict whose itos is id -> character, got '
                         f'{type(error).__name__}: {error}; prepare the text again') from None
    return from_json({'kind': 'char', 'chars': ''.join(chars)}).chars # refuses characters that occur twice


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


def adopt_bins(folder, kind):
    """Writes meta.json beside bins that nanoGPT made: 'gpt2' tokens, or 'char' with its meta.pkl."""
    path = os.path.join(folder, 'meta.json')
    if os.path.exists(path):
        raise SystemExit(f'{folder}: expected bins without meta.json, found one; train on them as they are')
    expected = 'char' if os.path.isfile(os.path.join(folder, 'meta.pkl')) else 'gpt2'
    if kind != expected:
        raise SystemExit(f'{folder}: expected --tokenizer={expected}, got {kind}; nanoGPT has meta.pkl '
                         'beside characters and none beside GPT-2 tokens')
    if kind == 'char':
        meta = meta_of_nanogpt(folder)
    else:
        meta = describe_bins(folder, GPT2Tokenizer(), gpt2_byte_lengths())
    write_json(path, meta)
    print_splits(folder, meta)


def gpt2_byte_lengths():
    try:
        return GPT2Tokenizer().byte_lengths()
    except SystemExit as problem: # offline; one can train on bins without knowing what they say
        print(f'{problem}. Without it, loss per byte is not known for these bins.')
        return None


# writing a dataset

def write_dataset(out, splits, tokenizer, source, separate=True, totals=None, job='', note_every=10_000):
    """
    Writes <split>.bin for each split, then meta.json, and returns what that holds; memory stays bounded.

    out: folder; the bins in it stay as they are until there are new ones to replace all of them
    splits: {'train': texts, 'val': texts}, iterables of documents, each read once, one after the other
    source: where the text is from, for people
    separate: end every document with the tokenizer's eot, if it has one
    totals: {'train': number of documents}, for the progress bar only
    job: a name for exactly this preparation, which makes it resumable; leave out what documents_done says
    note_every: how many documents a kill may cost a resumable preparation
    """
    make_folder(out)
    records = read_progress(out, job)
    for split, texts in splits.items():
        writer = BinWriter(os.path.join(out, f'{split}.bin.tmp'), tokenizer, separate, records.get(split))
        noted = writer.record['documents']
        bar = tqdm(desc=f'{split}.bin', unit=' documents', total=(totals or {}).get(split), initial=noted,
                   disable=None) # None: none where stderr is not a terminal
        for batch in batches(texts):
            writer.write(batch)
            documents = writer.record['documents']
            bar.update(documents - bar.n)
            is_between = batch[-1][1] # two documents, so that none is written twice or by half
            if job and is_between and documents >= noted + note_every:
                records[split] = writer.flush()
                write_json(os.path.join(out, PROGRESS), {'job': job, 'splits': records})
                noted = documents
        bar.close()
        records[split] = writer.close()
        if job:
            write_json(os.path.join(out, PROGRESS), {'job': job, 'splits': records})
    return publish(out, records, tokenizer, source)


class BinWriter:
    """
    A split on its way to disk, with the record of it that meta.json will have.

    path: of the .tmp file
    record: what flush() returned before a kill, to go on from there; what the file has beyond that is dropped
    """

    def __init__(self, path, tokenizer, separate=True, record=None):
        self.path, self.tokenizer = path, tokenizer
        self.eot = tokenizer.eot if separate else None
        self.record = record or {'tokens': 0, 'bytes': 0, 'documents': 0, 'largest_id': 0}
        self.sha = hashlib.sha256()
        try:
            self.file = open(path, 'r+b' if record else 'wb')
        except OSError as error:
            raise unwritable(path, error) from None
        if record:
            self.go_on(record)

    def go_on(self, record):
        """Keeps what the record counts and drops the rest of the file."""
        self.file.truncate(record['tokens'] * bin_dtype(self.tokenizer.n_vocab).itemsize)
        while block := self.file.read(SCAN_BYTES):
            self.sha.update(block)
        if self.sha.hexdigest() != record['sha256']: # such as zeros where a file was shorter
            raise SystemExit(f'{self.path}: expected what {PROGRESS} beside it noted, got something else; '
                             f'remove {PROGRESS} and run it again')

    def write(self, batch):
        """Appends a list of (part of a document, whether the document ends there)."""
        ids_of_parts = self.tokenizer.encode_batch([text for text, _ in batch])
        for ids, (_, ends) in zip(ids_of_parts, batch, strict=True):
            if ends and self.eot is not None:
                ids.append(self.eot)
        ids = np.fromiter(chain.from_iterable(ids_of_parts), dtype=np.int64)
        block = packed(ids, self.tokenizer.n_vocab, self.path).tobytes()
        try:
            self.file.write(block)
            self.file.flush() # a full disk says so here
        except OSError as error:
            raise unwritable(self.path, error) from None
        self.sha.update(block)
        self.record = {'tokens': self.record['tokens'] + len(ids),
                       'bytes': self.record['bytes'] + sum(len(text.encode()) for text, _ in batch),
                       'documents': self.record['documents'] + sum(ends for _, ends in batch),
                       'largest_id': max(self.record['largest_id'], int(ids.max(initial=0)))}

    def flush(self):
        """The record so far, once all it counts is safe on disk."""
        os.fsync(self.file.fileno())
        return {**self.record, 'sha256': self.sha.hexdigest()}

    def close(self):
        record = self.flush()
        self.file.close()
        return record


def unwritable(path, error):
    return SystemExit(f'{path}: cannot be written ({error.strerror}); make room or give another --out=FOLDER')


def bin_dtype(n_vocab):
    return np.dtype('<u2' if n_vocab <= 1 << 16 else '<u4')


def packed(ids, n_vocab, where):
    """ids (int64) as they are stored; SystemExit for any outside the vocabulary, which might wrap."""
    if len(ids) and not 0 <= ids.min() <= ids.max() < n_vocab:
        raise SystemExit(f'{where}: expected ids from 0 to {n_vocab - 1:,}, as the vocabulary has, got '
                         f'{ids.min():,} to {ids.max():,}; the tokenizer does not go with this vocab_size')
    return ids.astype(bin_dtype(n_vocab))


def batches(texts, size=1 << 22):
    """Documents as lists of (part of one, whether it ends there), of about `size` characters each."""
    batch, room = [], size
    for part in chain.from_iterable(map(parts, texts)):
        batch.append(part)
        room -= len(part[0])
        if room <= 0:
            yield batch
            batch, room = [], size
    if batch:
        yield batch


def parts(text, size=1 << 20):
    """
    A text as (part, whether it is the last), each a little over `size` characters.

    It is cut where white space begins, since no token of any tokenizer here reaches across that; so the parts
    have the ids of the whole.
    """
    start = 0
    while len(text) - start > size and (cut := BEFORE_SPACE.search(text, start + size)):
        yield text[start:cut.start()], False
        start = cut.start()
    yield text[start:], True


def publish(out, records, tokenizer, source):
    """Moves finished .tmp files to their names and writes meta.json about them; returns what that holds."""
    for split, record in records.items():
        if record['tokens'] < 2: # an input and its target
            raise SystemExit(f'{split}.bin: expected 2 tokens at least, got {record["tokens"]}; give more '
                             'text, or another share of it to train and val')
    path = os.path.join(out, 'meta.json')
    meta = {'source': source, 'vocab_size': tokenizer.n_vocab, 'dtype': bin_dtype(tokenizer.n_vocab).name,
            'splits': records, 'tokenizer': tokenizer.to_json()}
    remove(path) # a kill before the new one is there leaves a folder that is refused, not half a new one
    for split in records:
        os.replace(os.path.join(out, f'{split}.bin.tmp'), os.path.join(out, f'{split}.bin'))
    sync_folder(out)
    write_json(path, meta)
    remove(os.path.join(out, PROGRESS))
    print_splits(out, meta)
    return meta


def print_splits(folder, meta):
    for split, record in meta['splits'].items():
        several = 's' if record['documents'] > 1 else ''
        print(f'{os.path.join(folder, split)}.bin: {record["tokens"]:,} tokens, {sized(record["bytes"])} of '
              f'text in {record["documents"]:,} document{several}')
    print(f'vocabulary: {meta["vocab_size"]:,} tokens ({meta["tokenizer"]["kind"]})')


def sized(n_bytes):
    """A number of bytes with its unit."""
    unit = min(int(np.log10(max(n_bytes, 1))) // 3, 3)
    return f'{n_bytes / 1000 ** unit:,.{int(unit > 0)}f} {("bytes", "kB", "MB", "GB")[unit]}'


def documents_done(out, job):
    """{split: documents} that a killed write_dataset of the same job has on disk."""
    return {split: record['documents'] for split, record in read_progress(out, job).items()}


def read_progress(out, job):
    """{split: record} that a killed write_dataset of the same job noted, or {}."""
    path = os.path.join(out, PROGRESS)
    if not job or not os.path.isfile(path):
        return {}
    with open(path, encoding='utf-8') as file:
        noted = json.load(file)
    return noted['splits'] if noted['job'] == job else {}


def write_json(path, value):
    """Writes a JSON file that is complete or not there."""
    with open(path + '.tmp', 'w', encoding='utf-8') as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + '.tmp', path)
    sync_folder(os.path.dirname(path))


def remove(path):
    if os.path.exists(path):
        os.remove(path)
        sync_folder(os.path.dirname(path))


def sync_folder(folder):
    """Makes the names in a folder last through a power cut."""
    if os.name == 'posix': # elsewhere a folder cannot be opened
        handle = os.open(folder or '.', os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def make_folder(path):
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from None
