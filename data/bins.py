"""
Token ids on disk and batches of them: <split>.bin files without header, and meta.json beside them.

    meta = load_meta('data/shakespeare_char')
    tokens = open_bin('data/shakespeare_char', 'train', meta)       # a memory map: nothing is read yet
    starts = update_windows(len(tokens), block_size, n_sequences, seed, iter_num)
    x, y = get_batch(tokens, starts, block_size)

write_dataset, which the prepares use, is at the end. meta.json is written last, so where it is, the bins are whole.
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
SCAN_BYTES = 1 << 24 # looked at in one go where a whole file is read
BEFORE_SPACE = re.compile(r'(?<=\S)[ \n]')
PROGRESS = 'progress.json' # how far a resumable preparation is
CHECKED_BYTES = 64 << 20 # bins up to this size are read and compared with their checksum whenever they are loaded
KEYS = {'tokenizer': dict, 'vocab_size': int, 'dtype': str, 'source': str, 'splits': dict}
SPLIT_KEYS = {'tokens': int, 'bytes': int, 'documents': int, 'largest_id': int, 'sha256': str}


# windows and batches

def windows_per_epoch(n_tokens, block_size):
    """How many windows of block_size inputs an epoch has: one less than would fit, so that they can be shifted."""
    if n_tokens < block_size + 1:
        raise SystemExit(f'block_size: expected at least {block_size + 1:,} tokens (block_size + 1), got {n_tokens:,}; '
                         f'lower it to --block_size={max(1, n_tokens - 1)} or less, or use more text')
    return max(1, (n_tokens - 1) // block_size - 1)


def update_windows(n_tokens, block_size, n_sequences, seed, iter_num):
    """
    Where the windows of one update start, int64 (n_sequences,): a pure function, so resuming needs no state.

    Update iter_num (0 is the first) takes positions iter_num * n_sequences and on in an endless list of epochs. In an
    epoch each of windows_per_epoch windows occurs once, in an order of its own; they do not overlap, and all are
    shifted by a random number of tokens, so that the next epoch cuts the text elsewhere. Ranks and micro-steps take
    slices of what comes back.
    """
    n = windows_per_epoch(n_tokens, block_size)
    positions = iter_num * n_sequences + np.arange(n_sequences)
    starts = np.empty(n_sequences, dtype=np.int64)
    for epoch in range(positions[0] // n, positions[-1] // n + 1):
        order, shift = epoch_order(n, n_tokens - 1 - n * block_size, seed, epoch)
        chosen = positions // n == epoch
        starts[chosen] = shift + order[positions[chosen] % n] * block_size
    return starts


@functools.lru_cache(maxsize=2) # an update may lie across two epochs
def epoch_order(n, room, seed, epoch):
    """The order of an epoch's n windows, and their shift of 0 to room tokens."""
    rng = np.random.default_rng([seed, epoch])
    shift = int(rng.integers(room + 1))
    return rng.permutation(n), shift


def val_windows(n_tokens, block_size, eval_tokens=0):
    """Where windows side by side start that cover a split once (0), or its first eval_tokens tokens; int64."""
    windows_per_epoch(n_tokens, block_size) # says so when there is not one
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
    windows = np.asarray(tokens)[starts[:, None] + np.arange(block_size + 1)]
    windows = torch.from_numpy(windows.astype(np.int64))
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


# reading a dataset

def load_meta(folder):
    """
    What meta.json says about the bins in a folder, checked against them; SystemExit in one line when they do not fit.

    returns {'tokenizer', 'vocab_size', 'dtype', 'source', 'splits': {'train': SPLIT_KEYS, 'val': ...}}. A folder that
    nanoGPT prepared has train.bin, val.bin and meta.pkl instead; the same dict is then made from those.
    """
    path = os.path.join(folder, 'meta.json')
    if not os.path.isfile(path):
        return meta_of_nanogpt(folder)
    try:
        with open(path, encoding='utf-8') as file:
            meta = json.load(file)
    except (ValueError, RecursionError) as error:
        raise SystemExit(f'{path}: expected JSON, got {error}; {how_to_prepare(folder)}') from None
    check_keys(path, meta, KEYS, folder)
    for split in 'train', 'val':
        check_keys(f'{path}: splits', meta['splits'], {split: dict}, folder)
        check_keys(f'{path}: {split}', meta['splits'][split], SPLIT_KEYS, folder)
    if meta['dtype'] not in ('uint16', 'uint32'):
        raise SystemExit(f'{path}: expected dtype uint16 or uint32, got {meta["dtype"]!r}; {how_to_prepare(folder)}')
    n_vocab = from_json(meta['tokenizer']).n_vocab
    if n_vocab != meta['vocab_size']:
        raise SystemExit(f'{path}: expected vocab_size {n_vocab:,}, as the tokenizer has, got {meta["vocab_size"]:,}; '
                         f'{how_to_prepare(folder)}')
    for split in 'train', 'val':
        check_bin(folder, split, meta)
    return meta


def open_bin(folder, split, meta):
    """
    A split's tokens as a read-only memory map, (N,) little-endian uint16 or uint32.

    Pages once read count as this process's memory until the map is dropped, so open it anew for every update (20 us).
    """
    return np.memmap(os.path.join(folder, f'{split}.bin'), dtype=np.dtype(meta['dtype']).newbyteorder('<'), mode='r')


def prepared_datasets():
    """Names of the datasets under data/ that have their meta.json."""
    return sorted(name for name in os.listdir(DATA) if os.path.isfile(os.path.join(DATA, name, 'meta.json')))


def how_to_prepare(folder):
    """The command that makes the bins in a folder, and what there is already."""
    name = os.path.basename(os.path.abspath(folder))
    home = os.path.join(DATA, name)
    out = '' if os.path.abspath(folder) == home else f' --out={folder}'
    if os.path.isfile(os.path.join(home, 'prepare.py')):
        command = f'python data/{name}/prepare.py{out}'
    else:
        command = f'python data/text/prepare.py --input=FILE --out={folder} (there is no data/{name}/prepare.py)'
    return f'run: {command}; prepared so far: {", ".join(prepared_datasets()) or "nothing"}'


def check_keys(where, found, keys, folder):
    for key, kind in keys.items():
        value = found.get(key) if isinstance(found, dict) else found
        if type(value) is not kind or kind is int and value < 0:
            raise SystemExit(f'{where}: expected {key} to be {kind.__name__}, got {str(value)[:50]!r}; '
                             f'{how_to_prepare(folder)}')


def check_bin(folder, split, meta):
    """Ends the run when a bin is not the file that meta.json describes, or does not go with its vocabulary."""
    path, record = os.path.join(folder, f'{split}.bin'), meta['splits'][split]
    if not os.path.isfile(path):
        raise SystemExit(f'{path}: expected {record["tokens"]:,} tokens, found no file; {how_to_prepare(folder)}')
    size, expected = os.path.getsize(path), record['tokens'] * np.dtype(meta['dtype']).itemsize
    if size != expected or size == 0:
        raise SystemExit(f'{path}: expected {expected:,} bytes ({record["tokens"]:,} tokens of {meta["dtype"]}), got '
                         f'{size:,}: truncated or of another preparation; {how_to_prepare(folder)}')
    check_largest_id(path, record['largest_id'], meta['vocab_size'], folder)
    if size <= CHECKED_BYTES:
        found = scan_bin(path, meta['dtype'])
        check_largest_id(path, found['largest_id'], meta['vocab_size'], folder)
        if found['sha256'] != record['sha256']:
            raise SystemExit(f'{path}: expected sha256 {record["sha256"][:16]}, got {found["sha256"][:16]}: damaged or '
                             f'of another preparation; {how_to_prepare(folder)}')


def check_largest_id(path, largest_id, vocab_size, folder):
    if largest_id >= vocab_size:
        raise SystemExit(f'{path}: expected ids below {vocab_size:,}, the size of its vocabulary, got {largest_id:,}: '
                         f'text and vocabulary are of two preparations; {how_to_prepare(folder)}')


def scan_bin(path, dtype, byte_lengths=None, eot=None):
    """
    A bin's record as meta.json has it, from the bin alone; reads it once, in bounded memory.

    byte_lengths: (n_vocab,), bytes of text each id stands for; without it 'bytes' is 0, which means unknown
    """
    sha = hashlib.sha256()
    record = {'tokens': 0, 'bytes': 0, 'documents': 0, 'largest_id': 0}
    with open(path, 'rb') as file:
        while block := file.read(SCAN_BYTES):
            ids = np.frombuffer(block, dtype=np.dtype(dtype).newbyteorder('<'))
            sha.update(block)
            record['tokens'] += len(ids)
            record['documents'] += int((ids == eot).sum()) if eot is not None else 0
            record['largest_id'] = max(record['largest_id'], int(ids.max()))
            if byte_lengths is not None and record['largest_id'] < len(byte_lengths):
                record['bytes'] += int(byte_lengths[ids].sum())
    return {**record, 'documents': max(1, record['documents']), 'sha256': sha.hexdigest()}


# bins that nanoGPT prepared

class _PlainUnpickler(pickle.Unpickler):
    """Reads dicts, lists, strings and numbers; anything that would import or call something is refused."""

    def find_class(self, module, name):
        raise pickle.UnpicklingError(f'it asks for {module}.{name}, which is code')


def meta_of_nanogpt(folder):
    """The dict of load_meta for a folder with nanoGPT's train.bin, val.bin and meta.pkl; the pickle is not executed."""
    paths = {split: os.path.join(folder, f'{split}.bin') for split in ('train', 'val')}
    missing = [os.path.basename(path) for path in paths.values() if not os.path.isfile(path)]
    pickled = os.path.join(folder, 'meta.pkl')
    if missing:
        raise SystemExit(f'{folder}: expected train.bin, val.bin and meta.json, found no {" and no ".join(missing)}; '
                         f'{how_to_prepare(folder)}')
    if not os.path.isfile(pickled):
        raise SystemExit(f'{folder}: expected meta.json (or nanoGPT\'s meta.pkl) beside the bins, found neither; if '
                         f'they are GPT-2 tokens, run: python data/text/prepare.py --input={folder} --tokenizer=gpt2')
    tokenizer = CharTokenizer(chars_of_nanogpt(pickled))
    return describe_bins(folder, tokenizer, f'{folder}, prepared by nanoGPT', tokenizer.byte_lengths())


def chars_of_nanogpt(path):
    """The characters of a meta.pkl in the order of their ids; SystemExit when it holds anything else."""
    try:
        with open(path, 'rb') as file:
            itos = dict(_PlainUnpickler(file).load()['itos'])
        chars = [itos[i] for i in range(len(itos))]
        if not all(isinstance(char, str) and len(char) == 1 for char in chars):
            raise ValueError('itos with values that are not characters')
    except Exception as error: # a file that is not a pickle can raise nearly anything
        raise SystemExit(f'{path}: expected a pickled dict with itos, id -> character, got '
                         f'{type(error).__name__}: {error}; prepare the text again') from None
    return from_json({'kind': 'char', 'chars': ''.join(chars)}).chars # which also refuses characters that occur twice


def describe_bins(folder, tokenizer, source, byte_lengths):
    """The dict of load_meta for train.bin and val.bin that were made elsewhere with uint16 ids of this tokenizer."""
    meta = {'tokenizer': tokenizer.to_json(), 'vocab_size': tokenizer.n_vocab, 'dtype': 'uint16', 'source': source,
            'splits': {}}
    for split in 'train', 'val':
        path = os.path.join(folder, f'{split}.bin')
        size = os.path.getsize(path)
        if size == 0 or size % 2:
            raise SystemExit(f'{path}: expected two bytes for each token, got {size:,} bytes: truncated; '
                             'prepare or copy it again')
        meta['splits'][split] = scan_bin(path, 'uint16', byte_lengths, tokenizer.eot)
        check_largest_id(path, meta['splits'][split]['largest_id'], tokenizer.n_vocab, folder)
    return meta


def adopt(folder, kind):
    """Writes a meta.json beside bins that nanoGPT made: kind 'gpt2', or 'char' with their meta.pkl. Copies nothing."""
    path, pickled = os.path.join(folder, 'meta.json'), os.path.join(folder, 'meta.pkl')
    if os.path.exists(path):
        raise SystemExit(f'{folder}: expected bins without meta.json, found one; train on them as they are, or remove it')
    if kind == 'gpt2' and not os.path.exists(pickled):
        meta = describe_bins(folder, GPT2Tokenizer(), f'{folder}, prepared by nanoGPT', gpt2_byte_lengths())
    elif kind == 'char':
        meta = meta_of_nanogpt(folder)
    else:
        kinds = '--tokenizer=char, as their meta.pkl says' if os.path.exists(pickled) else '--tokenizer=gpt2'
        raise SystemExit(f'{folder}: expected {kinds}, got --tokenizer={kind}')
    write_json(path, meta)
    print_splits(folder, meta)


def gpt2_byte_lengths():
    try:
        return GPT2Tokenizer().byte_lengths()
    except SystemExit as problem: # bins can be trained on without the words they stand for
        print(f'{problem}. Until then bits per byte are not known for these bins')
        return None


# writing a dataset

def write_dataset(out, splits, tokenizer, source, separate=True, totals=None, job='', note_every=10_000):
    """
    Writes <split>.bin for every split and then meta.json; returns the latter's dict. Memory does not grow with the text.

    out: folder; what it holds already stays as it is until all splits are there to replace it
    splits: {'train': texts, 'val': texts}, iterables of documents, each read once and in this order
    separate: end every document with the tokenizer's eot, where it has one
    totals: {'train': number of documents}, for the progress bar only
    job: a name for this very preparation that makes it resumable: see documents_done
    note_every: documents between two notes of how far the job is
    """
    make_folder(out)
    done = read_progress(out, job)
    for split, texts in splits.items():
        writer = BinWriter(os.path.join(out, f'{split}.bin.tmp'), tokenizer, separate, done.get(split))
        noted = writer.record['documents']
        bar = tqdm(desc=f'{split}.bin', unit=' documents', total=(totals or {}).get(split), initial=noted,
                   disable=None) # None: shown only where stderr is a terminal
        for batch in batches(texts):
            writer.write(batch)
            documents = writer.record['documents']
            bar.update(documents - bar.n)
            if job and documents - noted >= note_every and batch[-1][1]: # never in the middle of a document
                done[split] = writer.flush()
                write_progress(out, job, done, writer.dtype)
                noted = documents
        bar.close()
        done[split] = writer.close()
        if job:
            write_progress(out, job, done, writer.dtype)
    return publish(out, done, tokenizer, source)


class BinWriter:
    """
    One split on its way to disk, with the record that meta.json will have of it.

    path: what to write, ending in .tmp
    record: what flush() returned earlier, to go on from there; whatever the file has beyond that is dropped
    """

    def __init__(self, path, tokenizer, separate=True, record=None):
        self.path, self.tokenizer = path, tokenizer
        self.eot = tokenizer.eot if separate else None
        self.dtype = bin_dtype(tokenizer.n_vocab)
        self.record = dict(record or {'tokens': 0, 'bytes': 0, 'documents': 0, 'largest_id': 0})
        self.sha = hashlib.sha256()
        try:
            self.file = open(path, 'r+b' if record else 'wb')
        except OSError as error:
            raise SystemExit(f'{path}: cannot be written ({error.strerror}); give another folder: --out=FOLDER') from None
        if record:
            self.file.truncate(record['tokens'] * self.dtype.itemsize)
            while block := self.file.read(SCAN_BYTES):
                self.sha.update(block)

    def write(self, parts):
        """Appends parts of documents, a list of (text, whether the document ends there)."""
        ids_of_parts = self.tokenizer.encode_batch([text for text, _ in parts])
        for ids, (_, ends) in zip(ids_of_parts, parts, strict=True):
            if ends and self.eot is not None:
                ids.append(self.eot)
        ids = np.fromiter(chain.from_iterable(ids_of_parts), dtype=np.int64)
        block = packed(ids, self.dtype, self.path).tobytes()
        try:
            self.file.write(block)
        except OSError as error:
            raise SystemExit(f'{self.path}: cannot be written ({error.strerror}); make room, or give another folder: '
                             '--out=FOLDER') from None
        self.sha.update(block)
        self.record['tokens'] += len(ids)
        self.record['bytes'] += sum(len(text.encode('utf-8', errors='replace')) for text, _ in parts)
        self.record['documents'] += sum(ends for _, ends in parts)
        self.record['largest_id'] = max(self.record['largest_id'], int(ids.max(initial=0)))

    def flush(self):
        """The record so far, once all that it counts is on the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        return {**self.record, 'sha256': self.sha.hexdigest()}

    def close(self):
        record = self.flush()
        self.file.close()
        return record


def bin_dtype(n_vocab):
    return np.dtype('<u2' if n_vocab <= 1 << 16 else '<u4')


def packed(ids, dtype, where):
    """ids (int64) as dtype; SystemExit when one does not fit, which numpy would wrap to another id in silence."""
    limits = np.iinfo(dtype)
    if len(ids) and not (limits.min <= ids.min() and ids.max() <= limits.max):
        raise SystemExit(f'{where}: expected ids from 0 to {limits.max:,}, which {dtype.name} can hold, got '
                         f'{ids.min():,} to {ids.max():,}; the tokenizer gives ids outside its vocabulary')
    return ids.astype(dtype)


def batches(texts, size=1 << 22):
    """Documents as lists of (part of a text, whether its document ends there), about `size` characters a list."""
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
    A text as (part, whether it is the last), `size` characters and a bit each, to be encoded one by one.

    Cuts are in front of white space after something else: no tokenizer here has a word that reaches across.
    """
    start = 0
    while len(text) - start > size and (cut := BEFORE_SPACE.search(text, start + size)):
        yield text[start:cut.start()], False
        start = cut.start()
    yield text[start:], True


def publish(out, records, tokenizer, source):
    """Puts finished .tmp files in the place of the bins, and meta.json beside them; returns meta.json's dict."""
    for split, record in records.items():
        if record['tokens'] < 2: # an input and its target
            raise SystemExit(f'{split}.bin: expected at least 2 tokens, got {record["tokens"]}; give more text')
    path = os.path.join(out, 'meta.json')
    meta = {'source': source, 'vocab_size': tokenizer.n_vocab, 'dtype': bin_dtype(tokenizer.n_vocab).name,
            'splits': records, 'tokenizer': tokenizer.to_json()}
    if os.path.exists(path): # gone before the first bin changes: a kill in between leaves a folder that is refused
        os.remove(path)
        sync_folder(out)
    for split in records:
        os.replace(os.path.join(out, f'{split}.bin.tmp'), os.path.join(out, f'{split}.bin'))
    sync_folder(out)
    write_json(path, meta)
    if os.path.exists(os.path.join(out, PROGRESS)):
        os.remove(os.path.join(out, PROGRESS))
    print_splits(out, meta)
    return meta


def print_splits(folder, meta):
    for split, record in meta['splits'].items():
        print(f'{os.path.join(folder, split)}.bin: {record["tokens"]:,} tokens, from {record["bytes"] / 1e6:,.1f} MB of '
              f'text in {record["documents"]:,} document{"s" if record["documents"] > 1 else ""}')


def write_json(path, value):
    """A JSON file that is either complete or not there."""
    with open(path + '.tmp', 'w', encoding='utf-8') as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + '.tmp', path)
    sync_folder(os.path.dirname(path))


def sync_folder(folder):
    """Makes renames in a folder last through a power cut."""
    if os.name == 'posix': # Windows cannot open a folder
        handle = os.open(folder or '.', os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def documents_done(out, job):
    """{split: documents} that a killed write_dataset of the same job has on disk; the caller leaves these out."""
    return {split: record['documents'] for split, record in read_progress(out, job).items()}


def write_progress(out, job, records, dtype):
    write_json(os.path.join(out, PROGRESS), {'job': job, 'itemsize': dtype.itemsize, 'splits': records})


def read_progress(out, job):
    """{split: record} noted by a killed write_dataset of the same job whose .tmp files are still there, or {}."""
    path = os.path.join(out, PROGRESS)
    if not job or not os.path.isfile(path):
        return {}
    with open(path, encoding='utf-8') as file:
        noted = json.load(file)
    if noted['job'] != job:
        print(f'{path}: is of another preparation ({noted["job"]}), so this one starts at its beginning')
        return {}
    for split, record in noted['splits'].items():
        bin_path = os.path.join(out, f'{split}.bin.tmp')
        if not os.path.isfile(bin_path) or os.path.getsize(bin_path) < record['tokens'] * noted['itemsize']:
            print(f'{bin_path}: is not as long as {path} says, so everything starts at its beginning')
            return {}
    return noted['splits']


def make_folder(path):
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise SystemExit(f'{path}: cannot be made a folder ({error.strerror}); give another: --out=FOLDER') from None
