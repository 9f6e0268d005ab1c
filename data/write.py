"""
Text to a dataset on disk, for the prepare.py scripts.

    with lock_dataset(folder, config, __file__) as provenance:
        write_dataset(folder, {'train': texts, 'val': texts}, tokenizer, 'my texts', provenance)

writes train.bin, val.bin and meta.json, which data/bins.py reads. Each appears under its name only when it is
complete, and meta.json comes last: whatever a crash leaves is the old dataset, the new one, or a folder that
load_meta refuses.
"""
import hashlib
import os
import reprlib
from contextlib import contextmanager
from itertools import chain

import numpy as np
from tqdm import tqdm

from data import bins
from data.documents import fingerprint_inputs
from data.files import lock_folder, make_folder, remove, sync_folder, write_errors, write_json
from data.messages import format_bytes
from data.tokenizer import GPT2Tokenizer, parts

ADVICE = 'free some space or choose another folder (--out of prepare.py, --out_dir of train.py)'
PROGRESS = 'progress.json' # how far a resumable preparation is
START_OVER = f'remove {PROGRESS} and run the same command again, which starts over'


@contextmanager
def lock_dataset(folder, config, script):
    """
    Create the folder of a dataset and lock it while a prepare.py script runs; yields the provenance of the
    dataset (script, flags, fingerprints of the input files) for write_dataset.

    While another process holds it, this one waits; if that one had the same settings, nothing is left to do,
    and SystemExit ends the script with status 0. For Ctrl-C and for a folder that cannot be written,
    SystemExit has a one-line message.
    """
    provenance, lock = provenance_of(config, script), None
    try:
        make_folder(folder, ADVICE)
        lock = lock_folder(folder)
        if lock is None:
            print(f'{folder}: waiting for another process that is preparing this dataset', flush=True)
            lock = lock_folder(folder, wait=-1)
            if bins.read_provenance(folder) == provenance:
                print(f'{folder}: the other process has prepared it with the same settings')
                raise SystemExit(0)
        yield provenance
    except KeyboardInterrupt:
        raise SystemExit(f'{folder}: stopped before the dataset was complete; run the same command '
                         'again') from None
    finally:
        if lock:
            lock.release()


def provenance_of(config, script):
    """The provenance of a dataset for meta.json: the script, its flags, fingerprints of the input files."""
    flags = {name: config.settings[name] for name in sorted(config.typed - {'out'})}
    if config.files:
        flags['config'] = [os.path.abspath(path) for path in config.files]
    flags, states = fingerprint_inputs(flags)
    return {'script': os.path.basename(os.path.dirname(os.path.abspath(script))), 'flags': flags,
            'files': states}


def write_dataset(out, splits, tokenizer, source, provenance=None, separate=True, totals=None, job='',
                  save_every=10_000):
    """
    Write <split>.bin for each split, then meta.json, and return what that holds; in bounded memory.

    out: folder; the bins in it stay as they are until all new ones are complete
    splits: {'train': texts, 'val': texts}, iterables of documents, each read once, one after the other
    source: where the text comes from, for people; provenance: the record of `lock_dataset`
    separate: end every document with the tokenizer's eot, if it has one
    totals: {'train': number of documents}, for the progress bar only
    job: a string that identifies this preparation, which makes it resumable; the texts then begin after
        those that documents_done counts
    save_every: how many documents of a resumable preparation a crash may lose
    """
    make_folder(out, ADVICE)
    records = read_progress(out, job)
    if list(records) != list(splits)[:len(records)]: # a split is begun when the one before it is done
        raise SystemExit(f'{os.path.join(out, PROGRESS)}: expected splits in the order {list(splits)}, got '
                         f'{reprlib.repr(list(records))}; {START_OVER}')

    def save_progress(split, record):
        records[split] = record
        if job:
            write_json(os.path.join(out, PROGRESS), {'job': job, 'splits': records}, ADVICE)

    for split, texts in splits.items():
        writer = BinWriter(os.path.join(out, f'{split}.bin.tmp'), tokenizer, separate, records.get(split))
        saved = writer.record['documents']
        bar = tqdm(desc=f'writing {split}.bin', unit=' documents', total=(totals or {}).get(split),
                   initial=saved, disable=None) # None: no bar where stderr is not a terminal
        for batch in batches(texts):
            writer.write(batch)
            documents, between_documents = writer.record['documents'], batch[-1][1]
            bar.update(documents - bar.n)
            if job and between_documents and documents >= saved + save_every:
                save_progress(split, writer.flush())
                saved = documents
        bar.close()
        save_progress(split, writer.close())
    return publish(out, records, tokenizer, source, provenance)


class BinWriter:
    """
    A split on its way to disk, with the record of it that meta.json will have.

    path: of the .tmp file
    record: what flush() returned before a crash, to resume from; bytes of the file beyond that are dropped
    """

    def __init__(self, path, tokenizer, separate=True, record=None):
        self.path, self.tokenizer = path, tokenizer
        self.eot = tokenizer.eot if separate else None
        self.record = record or bins.EMPTY
        self.sha = hashlib.sha256()
        with write_errors(path, ADVICE):
            self.file = open(path, 'r+b' if record else 'wb')
        if record:
            self.resume(record)

    def resume(self, record):
        """Keep the part of the file that the record counts, if it is unchanged; raises SystemExit if not."""
        dtype, byte_lengths = bins.bin_dtype(self.tokenizer.n_vocab), self.tokenizer.byte_lengths()
        n_bytes, found = record['tokens'] * dtype.itemsize, dict(bins.EMPTY)
        left = n_bytes if os.path.getsize(self.path) >= n_bytes else 0 # a shorter file need not be read
        with bins.read_errors(self.path):
            while block := self.file.read(min(bins.SCAN_BYTES, left)):
                left -= len(block)
                self.sha.update(block)
                bins.count(found, np.frombuffer(block, dtype=dtype), byte_lengths, self.eot)
        if self.eot is None:
            found['documents'] = record['documents'] # the file does not show where documents end
        if {**found, 'sha256': self.sha.hexdigest()} != record:
            raise SystemExit(f'{self.path}: expected what {PROGRESS} beside it records, got something else; '
                             f'{START_OVER}')
        with write_errors(self.path, ADVICE):
            self.file.truncate(n_bytes)

    def write(self, batch):
        """Append a list of (part of a document, whether the document ends there)."""
        ids_of_parts = self.tokenizer.encode_batch([text for text, _ in batch])
        for ids, (_, ends) in zip(ids_of_parts, batch, strict=True):
            if ends and self.eot is not None:
                ids.append(self.eot)
        ids = np.fromiter(chain.from_iterable(ids_of_parts), dtype=np.int64)
        block = cast_ids(ids, self.tokenizer.n_vocab, self.path).tobytes()
        with write_errors(self.path, ADVICE):
            self.file.write(block)
            self.file.flush() # a full disk is reported here
        self.sha.update(block)
        self.record = {'tokens': self.record['tokens'] + len(ids),
                       'bytes': self.record['bytes'] + sum(len(text.encode()) for text, _ in batch),
                       'documents': self.record['documents'] + sum(ends for _, ends in batch),
                       'largest_id': max(self.record['largest_id'], int(ids.max(initial=0)))}

    def flush(self):
        """The record so far, once all it counts is safe on disk."""
        with write_errors(self.path, ADVICE):
            os.fsync(self.file.fileno())
        return {**self.record, 'sha256': self.sha.hexdigest()}

    def close(self):
        record = self.flush()
        self.file.close()
        return record


def cast_ids(ids, n_vocab, where):
    """ids (int64) in the dtype of the bin; SystemExit for ids outside the vocabulary, which may overflow."""
    if len(ids) and not 0 <= ids.min() <= ids.max() < n_vocab:
        raise SystemExit(f'{where}: expected ids from 0 to {n_vocab - 1:,}, as the vocabulary has, got '
                         f'{ids.min():,} to {ids.max():,}; the tokenizer does not match this vocab_size')
    return ids.astype(bins.bin_dtype(n_vocab))


def batches(texts, size=1 << 22):
    """Documents as lists of (part of a document, whether it ends there), of about `size` characters each."""
    batch, room = [], size
    for part in chain.from_iterable(map(parts, texts)):
        batch.append(part)
        room -= len(part[0])
        if room <= 0:
            yield batch
            batch, room = [], size
    if batch:
        yield batch


def publish(out, records, tokenizer, source, provenance=None):
    """Rename finished .tmp files and write meta.json about them; returns what that holds."""
    for split, record in records.items():
        if record['tokens'] < 2: # an input and its target
            raise SystemExit(f'{split}.bin: expected 2 tokens at least, got {record["tokens"]}; give more '
                             'text, or change how it is split into train and val')
    path, n_vocab = os.path.join(out, 'meta.json'), tokenizer.n_vocab
    meta = {'source': source, 'vocab_size': n_vocab, 'dtype': bins.bin_dtype(n_vocab).name, 'splits': records,
            'tokenizer': tokenizer.to_json()} | ({'provenance': provenance} if provenance else {})
    with write_errors(path, ADVICE): # so that a crash does not leave it beside new bins
        if os.path.lexists(path):
            os.remove(path)
        sync_folder(out)
    for split in records:
        bin_path = os.path.join(out, f'{split}.bin')
        with write_errors(bin_path, ADVICE):
            os.replace(f'{bin_path}.tmp', bin_path)
    sync_folder(out)
    write_json(path, meta, ADVICE)
    remove(os.path.join(out, PROGRESS))
    print_splits(out, meta)
    return meta


def print_splits(folder, meta):
    for split, record in meta['splits'].items():
        plural = 's' if record['documents'] > 1 else ''
        size = format_bytes(record['bytes'])
        print(f'{os.path.join(folder, split)}.bin: {record["tokens"]:,} tokens, {size} of text in '
              f'{record["documents"]:,} document{plural}')
    print(f'vocabulary: {meta["vocab_size"]:,} tokens ({meta["tokenizer"]["kind"]})')


def documents_done(out, job):
    """{split: documents} that an interrupted write_dataset of the same job has on disk."""
    return {split: record['documents'] for split, record in read_progress(out, job).items()}


def read_progress(out, job):
    """{split: record} that an interrupted write_dataset of the same job has saved, or {}."""
    path = os.path.join(out, PROGRESS)
    if not job or not os.path.exists(path):
        return {}
    progress = bins.read_json(path, START_OVER)
    bins.check_keys(path, progress, {'job': str, 'splits': dict}, START_OVER)
    if progress['job'] != job:
        return {}
    for split, record in progress['splits'].items():
        bins.check_keys(f'{path}: {reprlib.repr(split)}', record, bins.SPLIT_KEYS, START_OVER)
    return progress['splits']


# bins that nanoGPT made

def import_nanogpt_bins(folder, kind):
    """Write meta.json beside bins that nanoGPT made: 'gpt2' tokens, or 'char' with its meta.pkl."""
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
    write_json(path, meta, ADVICE)
    print_splits(folder, meta)


def gpt2_byte_lengths():
    """Bytes of text of each GPT-2 token; None, with a line that says why, without its vocabulary."""
    try:
        return GPT2Tokenizer().byte_lengths()
    except SystemExit as problem: # offline; training on bins does not need the text of the tokens
        print(f'{problem}. Without it, loss per byte is not known for these bins.')
        return None
