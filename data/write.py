"""
Text to a dataset: what the prepares call.

    write_dataset('data/mine', {'train': texts, 'val': texts}, tokenizer, source='my texts')

writes train.bin, val.bin and meta.json, which data/bins.py reads. Each has its name only once it is whole,
and meta.json comes last: whatever a kill leaves is an old dataset, a new one, or a folder that is refused.
"""
import hashlib
import json
import os
import re
import reprlib
from contextlib import contextmanager
from itertools import chain

import numpy as np
from tqdm import tqdm

from data import bins
from data.files import sync_folder
from data.tokenizer import GPT2Tokenizer

PROGRESS = 'progress.json' # how far a resumable preparation is
START_ANEW = f'remove {PROGRESS} and run it again, from the start'
BEFORE_SPACE = re.compile(r'(?<=\S)[ \n]')


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
    if list(records) != list(splits)[:len(records)]: # a split is begun when the one before it is done
        raise SystemExit(f'{os.path.join(out, PROGRESS)}: expected splits in the order {list(splits)}, got '
                         f'{reprlib.repr(list(records))}; {START_ANEW}')
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
        self.record = record or bins.NOTHING
        self.sha = hashlib.sha256()
        with writing(path):
            self.file = open(path, 'r+b' if record else 'wb')
        if record:
            self.go_on(record)

    def go_on(self, record):
        """Keeps what the record counts, if the file has exactly that, and drops what comes after it."""
        dtype, byte_lengths = bins.bin_dtype(self.tokenizer.n_vocab), self.tokenizer.byte_lengths()
        n_bytes, found = record['tokens'] * dtype.itemsize, dict(bins.NOTHING)
        left = n_bytes if os.path.getsize(self.path) >= n_bytes else 0 # a shorter file is not worth reading
        with bins.reading(self.path):
            while block := self.file.read(min(bins.SCAN_BYTES, left)):
                left -= len(block)
                self.sha.update(block)
                bins.count(found, np.frombuffer(block, dtype=dtype), byte_lengths, self.eot)
        if self.eot is None:
            found['documents'] = record['documents'] # nothing in the file tells
        if {**found, 'sha256': self.sha.hexdigest()} != record:
            raise SystemExit(f'{self.path}: expected what {PROGRESS} beside it noted, got something else; '
                             f'{START_ANEW}')
        with writing(self.path):
            self.file.truncate(n_bytes)

    def write(self, batch):
        """Appends a list of (part of a document, whether the document ends there)."""
        ids_of_parts = self.tokenizer.encode_batch([text for text, _ in batch])
        for ids, (_, ends) in zip(ids_of_parts, batch, strict=True):
            if ends and self.eot is not None:
                ids.append(self.eot)
        ids = np.fromiter(chain.from_iterable(ids_of_parts), dtype=np.int64)
        block = packed(ids, self.tokenizer.n_vocab, self.path).tobytes()
        with writing(self.path):
            self.file.write(block)
            self.file.flush() # a full disk says so here
        self.sha.update(block)
        self.record = {'tokens': self.record['tokens'] + len(ids),
                       'bytes': self.record['bytes'] + sum(len(text.encode()) for text, _ in batch),
                       'documents': self.record['documents'] + sum(ends for _, ends in batch),
                       'largest_id': max(self.record['largest_id'], int(ids.max(initial=0)))}

    def flush(self):
        """The record so far, once all it counts is safe on disk."""
        with writing(self.path):
            os.fsync(self.file.fileno())
        return {**self.record, 'sha256': self.sha.hexdigest()}

    def close(self):
        record = self.flush()
        self.file.close()
        return record


@contextmanager
def writing(path):
    """Ends the run in one line where a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise SystemExit(f'{path}: cannot be written ({error.strerror or error}); make room or give another '
                         '--out=FOLDER') from None


def packed(ids, n_vocab, where):
    """ids (int64) as they are stored; SystemExit for any outside the vocabulary, which might wrap."""
    if len(ids) and not 0 <= ids.min() <= ids.max() < n_vocab:
        raise SystemExit(f'{where}: expected ids from 0 to {n_vocab - 1:,}, as the vocabulary has, got '
                         f'{ids.min():,} to {ids.max():,}; the tokenizer does not go with this vocab_size')
    return ids.astype(bins.bin_dtype(n_vocab))


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
    n_vocab = tokenizer.n_vocab
    meta = {'source': source, 'vocab_size': n_vocab, 'dtype': bins.bin_dtype(n_vocab).name, 'splits': records,
            'tokenizer': tokenizer.to_json()}
    remove(path) # a kill before the new one is there leaves a folder that is refused, not half a new one
    for split in records:
        bin_path = os.path.join(out, f'{split}.bin')
        with writing(bin_path):
            os.replace(f'{bin_path}.tmp', bin_path)
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
    if not job or not os.path.exists(path):
        return {}
    noted = bins.read_json(path, START_ANEW)
    bins.check_keys(path, noted, {'job': str, 'splits': dict}, START_ANEW)
    if noted['job'] != job:
        return {}
    for split, record in noted['splits'].items():
        bins.check_keys(f'{path}: {reprlib.repr(split)}', record, bins.SPLIT_KEYS, START_ANEW)
    return noted['splits']


def write_json(path, value):
    """Writes a JSON file that is complete or not there."""
    with writing(path):
        with open(path + '.tmp', 'w', encoding='utf-8') as file:
            json.dump(value, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + '.tmp', path)
        sync_folder(os.path.dirname(path))


def remove(path):
    if os.path.exists(path):
        with writing(path):
            os.remove(path)
            sync_folder(os.path.dirname(path))


def make_folder(path):
    with writing(path):
        os.makedirs(path, exist_ok=True)


# bins that nanoGPT made

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
        meta = bins.meta_of_nanogpt(folder)
    else:
        meta = bins.describe_bins(folder, GPT2Tokenizer(), gpt2_byte_lengths())
    write_json(path, meta)
    print_splits(folder, meta)


def gpt2_byte_lengths():
    try:
        return GPT2Tokenizer().byte_lengths()
    except SystemExit as problem: # offline; one can train on bins without knowing what they say
        print(f'{problem}. Without it, loss per byte is not known for these bins.')
        return None
