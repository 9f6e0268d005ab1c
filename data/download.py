"""
Where the prepares get their text: one's own files, a file on the web, a dataset of the Hugging Face hub.

What cannot be had ends in one line. Documents come one at a time, so a corpus may be larger than the memory.
"""
import hashlib
import importlib
import mmap
import os
import re
import shutil
import threading
from dataclasses import dataclass
from itertools import chain, islice
from urllib.parse import urlsplit

import numpy as np
from tqdm import tqdm

from data import write
from data.tokenizer import SEPARATOR

TEXT_FILES = ('.txt', '.md', '.parquet') # what is taken out of a folder
# one text in two places; the checksum tells it from the page of a login portal
SHAKESPEARE_URLS = [
    'https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt',
    'https://storage.googleapis.com/download.tensorflow.org/data/shakespeare.txt']
SHAKESPEARE_SHA256 = '86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed'


# text of one's own

def local_documents(path):
    """
    The documents of a file, or of all .txt, .md and .parquet files below a folder, in order of their names.

    A text file (UTF-8) is one document, or several where <|endoftext|> stands between them. Blank lines do
    not separate documents, since paragraphs have them too. In a parquet file each row's 'text' is a document.
    """
    some = False
    for file in local_files(path):
        is_parquet = file.lower().endswith('.parquet')
        for text in parquet_documents(file) if is_parquet else file_documents(file):
            yield text
            some = True
    if not some:
        raise SystemExit(f'--input={path}: expected text, found nothing but white space; give another file')


def local_files(path):
    if os.path.isfile(path):
        return [path]
    if not os.path.isdir(path):
        raise SystemExit(f'--input={path}: expected a file or a folder, found neither; check the path')
    files = []
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith('.')) # .git is not text
        files += [os.path.join(folder, name) for name in sorted(names) if name.lower().endswith(TEXT_FILES)]
    if not files:
        raise SystemExit(f'--input={path}: expected {", ".join(TEXT_FILES)} files in the folder, got none; '
                         'give one file, or another folder')
    return files


def file_documents(path):
    if not os.path.getsize(path): # which mmap refuses
        return
    with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start, separator = 0, SEPARATOR.encode()
        is_one = data.find(separator) < 0
        while start < len(data):
            end = data.find(separator, start)
            end = len(data) if end < 0 else end
            text = decoded(data[start:end], path, start)
            if text.strip(): # one document is taken to its last space, several without the space between them
                yield text if is_one else text.strip()
            start = end + len(separator)


def decoded(block, path, offset):
    """The text of a file's bytes from offset on; lines end in a line feed, whatever they end in there."""
    try:
        text = block.decode('utf-8-sig' if offset == 0 else 'utf-8')
    except UnicodeDecodeError as error:
        raise SystemExit(f'{path}: expected UTF-8, got the byte {block[error.start]:#04x} at offset '
                         f'{offset + error.start:,}; convert it: iconv -f WINDOWS-1252 -t UTF-8') from None
    return text.replace('\r\n', '\n').replace('\r', '\n')


def parquet_documents(path):
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise SystemExit(f'{path}: {error}; pip install datasets, which brings pyarrow') from None
    try:
        for batch in parquet.ParquetFile(path).iter_batches(1000, columns=['text']): # rows
            yield from (text or '' for text in batch.column('text').cast('string').to_pylist())
    except Exception as error: # not parquet, cut off, or without such a column
        what = ' '.join(f'{type(error).__name__}: {error}'.split())[:200]
        raise SystemExit(f"{path}: expected parquet with a column 'text', got {what}; use another") from None


def split_by_fraction(documents, val_fraction, most=None):
    """
    (train, val): documents cut in two at one place, so that the last val_fraction of the text is val.

    documents: a function that gives a new iterator over the same texts each time
    most: how many characters val has at most, about
    The place is between two documents if one like that is near, else at the end of a paragraph, a line, a
    sentence or a word.
    """
    if not 0 < val_fraction < 1:
        raise SystemExit(f'--val_fraction: expected a number between 0 and 1, got {val_fraction}; try 0.1')
    ends = np.cumsum([len(text) for text in documents()])
    n_val = max(1, min(int(ends[-1] * val_fraction), most or ends[-1])) # characters
    cut = ends[-1] - n_val
    n = int(np.abs(ends - cut).argmin()) + 1 # documents before the nearest place between two
    if n < len(ends) and abs(ends[n - 1] - cut) <= n_val // 4:
        return islice(documents(), n), islice(documents(), n, None)
    n = int(np.searchsorted(ends, cut, side='right')) # the document with the cut inside
    text = next(islice(documents(), n, None))
    at = boundary_near(text, len(text) - int(ends[n] - cut))
    before, after = islice(documents(), n), islice(documents(), n + 1, None)
    return chain(before, filter(None, [text[:at]])), chain([text[at:]], after)


def boundary_near(text, at):
    """The end of a paragraph near a place in a text, or if there is none of a line, a sentence or a word."""
    reach = max(200, len(text) // 50) # characters to both sides
    start = max(0, at - reach)
    for boundary in r'\n\s*\n', r'\n', r'[.!?]["\')]*\s', r'\s':
        ends = [start + match.end() for match in re.finditer(boundary, text[start:at + reach])]
        ends = [end for end in ends if 0 < end < len(text)]
        if ends:
            return min(ends, key=lambda end: abs(end - at))
    return at


# files on the web

def why_unreachable(url, seconds=3):
    """
    Why an address cannot be read, as a clause, or '' when it can; known after `seconds` at the latest.

    In a thread, because looking up a name has no time-out of its own. Proxies are those of the environment.
    """
    import requests
    host, answers = urlsplit(url).netloc, []

    def ask():
        try:
            with requests.get(url, stream=True, timeout=seconds) as answer: # reads only the headers
                answers.append('' if answer.ok else f'{host} answers with HTTP status {answer.status_code}')
        except requests.RequestException as error:
            answers.append(f'{host} cannot be reached ({type(error).__name__})')

    thread = threading.Thread(target=ask, daemon=True) # daemon: nobody waits for it at the end
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else f'{host} has not answered in {seconds} seconds'


def fetch(url, path, sha256):
    """Downloads a file, which gets its name once it is complete; returns why it could not, or ''."""
    import requests
    if why := why_unreachable(url):
        return why
    sha, host = hashlib.sha256(), urlsplit(url).netloc
    try:
        with requests.get(url, stream=True, timeout=20) as answer, open(path + '.tmp', 'wb') as file, \
                tqdm(desc=os.path.basename(path), unit='B', unit_scale=True, disable=None) as bar:
            for block in answer.iter_content(1 << 16):
                file.write(block)
                sha.update(block)
                bar.update(len(block))
    except requests.RequestException as error:
        return f'{host} broke off ({type(error).__name__})'
    if sha.hexdigest() != sha256:
        return f'{host} sent something else (sha256 {sha.hexdigest()[:16]}, not {sha256[:16]})'
    os.replace(path + '.tmp', path)
    return ''


def tiny_shakespeare(path, folder):
    """
    (train, val, source) of tiny Shakespeare: the first 90% of its characters and the rest, as with nanoGPT.

    path: a file to take instead of the download, or ''; folder: where the download is kept, as input.txt
    """
    source = path or SHAKESPEARE_URLS[0]
    if not path:
        path = os.path.join(folder, 'input.txt')
        write.make_folder(folder)
        if not os.path.isfile(path):
            fetch_shakespeare(path)
    text = '\n\n'.join(local_documents(path))
    n = int(len(text) * 0.9)
    return text[:n], text[n:], source


def fetch_shakespeare(path):
    reasons = []
    for url in SHAKESPEARE_URLS:
        why = fetch(url, path, SHAKESPEARE_SHA256)
        if not why:
            return
        reasons.append(why)
    raise SystemExit(f'tiny Shakespeare: expected to download {SHAKESPEARE_URLS[0]}, but '
                     f'{" and ".join(reasons)}; give a copy of it, or another text: --input=FILE')


# datasets of the hub

@dataclass(frozen=True)
class HubCorpus:
    """A dataset with one split, train, and about how large it is, to say beforehand what it will take."""
    name: str
    subset: str # '' where it has none
    documents: int
    tokens_each: int
    download_bytes_each: int


def why_no_hub(name):
    """Why a dataset cannot be had from the hub, as a clause, or ''; known after about 3 seconds."""
    for variable in 'HF_HUB_OFFLINE', 'HF_DATASETS_OFFLINE':
        if os.environ.get(variable, '').lower() in ('1', 'true', 'yes', 'on'):
            return f'{variable} is set'
    hub = os.environ.get('HF_ENDPOINT', 'https://huggingface.co')
    if why := why_unreachable(f'{hub}/api/datasets/{name}'):
        return why
    try:
        importlib.import_module('datasets')
    except ImportError as error:
        return f'{error} (pip install datasets)'
    return ''


def hub_documents(name, subset='', split='train', skip=0):
    """The texts of a hub dataset from number `skip` on; a generator, which downloads what it gives."""
    if why := why_no_hub(name):
        raise SystemExit(f'{name}: expected to read it from the hub, but {why}; give text of your own: '
                         '--input=FILE_OR_FOLDER')
    return streamed_texts(name, subset or None, split, skip)


def streamed_texts(name, subset, split, skip):
    import datasets
    try:
        for row in datasets.load_dataset(name, subset, split=split, streaming=True).skip(skip):
            yield row['text']
    except Exception as error: # the libraries below all have their own
        what = ' '.join(f'{type(error).__name__}: {error}'.split())[:200]
        raise SystemExit(f'{name}: reading from the hub broke off ({what}); run it again') from None


def write_corpus(folder, corpus, path, val_documents, max_samples, tokenizer, note_every=10_000):
    """
    Writes a large corpus as tokens in bounded memory; run again after a kill, it goes on where it was.

    path: file or folder to take instead of the hub, or ''
    val_documents: how many documents, the first ones, are val; the others are train
    max_samples: how many documents to take in all, 0 for every one
    """
    if val_documents < 1 or max_samples and max_samples <= val_documents:
        raise SystemExit('--val_documents: expected at least 1 and less than --max_samples, got '
                         f'{val_documents:,} of {max_samples:,}')
    tokenizer.encode('') # the place to fail where the vocabulary cannot be had
    source = path or f'{corpus.name} {corpus.subset}'.strip()
    size = f' of {sum(map(os.path.getsize, local_files(path))):,} bytes' if path else ''
    job = f'{source}{size}: {tokenizer.kind} {tokenizer.n_vocab}, {val_documents} val, at most {max_samples}'
    write.make_folder(folder)
    done = write.documents_done(folder, job)
    skip = sum(done.values())
    if path:
        texts = islice(local_documents(path), skip, None)
    else:
        texts = hub_documents(corpus.name, corpus.subset, skip=skip)
        state_needs(folder, corpus, max_samples or corpus.documents)
    if skip:
        print(f'{folder}: {skip:,} documents are done, going on after them')
    texts = islice(texts, max(0, max_samples - skip) if max_samples else None)
    splits = {'val': islice(texts, max(0, val_documents - done.get('val', 0))), 'train': texts}
    totals = {'val': val_documents, 'train': max_samples - val_documents if max_samples else None}
    try:
        write.write_dataset(folder, splits, tokenizer, source, totals=totals, job=job, note_every=note_every)
    except KeyboardInterrupt:
        raise SystemExit(f'{folder}: stopped; the same command goes on') from None


def state_needs(folder, corpus, documents):
    """Says what a corpus will take; ends the run when the disk has not that much room."""
    needed, download = documents * corpus.tokens_each * 2, documents * corpus.download_bytes_each # bytes
    begun = [entry.stat().st_size for entry in os.scandir(folder) if entry.name.endswith('.bin.tmp')]
    free = shutil.disk_usage(folder).free + sum(begun)
    print(f'{corpus.name}: {documents:,} documents, about {write.sized(download)} to download, not kept\n'
          f'{folder}: about {write.sized(needed)} of bins ({write.sized(free)} are free), memory below 2 GB\n'
          'stop it any time, the same command goes on')
    if free < needed:
        raise SystemExit(f'{folder}: expected {write.sized(needed)} of free disk, got {write.sized(free)}; '
                         'take less (--max_samples=100_000), or another disk (--out=FOLDER)')
