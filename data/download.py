"""
Where the prepares get their text: a file or folder of one's own, a file on the web, or a hub dataset as a stream.

Whatever cannot be had ends in one line. Nothing here is kept in memory but single documents.
"""
import hashlib
import importlib.util
import mmap
import os
import re
import threading
from itertools import chain, islice
from urllib.parse import urlsplit

import numpy as np
from tqdm import tqdm

from data import bins
from data.tokenizer import SEPARATOR, GPT2Tokenizer

TEXT_FILES = ('.txt', '.md', '.parquet') # what is taken from a folder
# the same 1,115,394 bytes in two places; the checksum tells a captive portal's page from them
SHAKESPEARE = ('https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt',
               'https://storage.googleapis.com/download.tensorflow.org/data/shakespeare.txt')
SHAKESPEARE_SHA256 = '86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed'


# text of one's own

def local_documents(path):
    """
    The documents of a file, or of all .txt, .md and .parquet files below a folder in the order of their names.

    A text file is one document, or several where <|endoftext|> stands between them; a parquet file has one in each row
    of its column 'text'.
    """
    for file in local_files(path):
        yield from parquet_documents(file) if file.endswith('.parquet') else file_documents(file)


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
        raise SystemExit(f'--input={path}: expected *.txt, *.md or *.parquet files in this folder, found none; '
                         'give a single file, or another folder')
    return files


def file_documents(path):
    """The documents of a text file in UTF-8, any line ends; one at a time is in memory."""
    if not os.path.getsize(path):
        raise SystemExit(f'{path}: expected text, found an empty file; give another')
    with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start, separator = 0, SEPARATOR.encode()
        several = data.find(separator) >= 0
        while start < len(data):
            end = data.find(separator, start)
            end = len(data) if end < 0 else end
            text = decoded(data[start:end], path, start)
            text = text.strip() if several else text # a file that is one document is taken to its last space
            if text:
                yield text
            start = end + len(separator)


def decoded(block, path, offset):
    """The text of some bytes of a file, lines ended by \\n; offset is where in the file they begin."""
    try:
        text = block.decode('utf-8-sig' if offset == 0 else 'utf-8')
    except UnicodeDecodeError as error:
        at = offset + error.start
        raise SystemExit(f'{path}: expected UTF-8, got the byte {block[error.start]:#04x} at offset {at:,}; convert '
                         f'it: iconv -f WINDOWS-1252 -t UTF-8') from None
    return text.replace('\r\n', '\n').replace('\r', '\n')


def parquet_documents(path):
    datasets = import_datasets()
    rows = datasets.load_dataset('parquet', data_files=path, split='train', streaming=True)
    for row in rows:
        if not isinstance(row.get('text'), str):
            raise SystemExit(f"{path}: expected a column 'text' of strings, got the columns {', '.join(row)}; rename one")
        yield row['text']


def split_by_fraction(documents, val_fraction):
    """
    (train, val) iterators over documents, cut at one place, so that the last val_fraction of the text is val.

    documents: a function that returns a new iterator over the same documents every time
    The cut is between two documents, unless the document there is larger than half of val: then it is inside, at the
    end of a paragraph, line or sentence.
    """
    if not 0 < val_fraction < 1:
        raise SystemExit(f'--val_fraction: expected more than 0 and less than 1, got {val_fraction}')
    ends = np.cumsum([len(text) for text in documents()])
    cut = ends[-1] * (1 - val_fraction)
    n = int(np.searchsorted(ends, cut)) # the document that the cut falls into
    size = int(ends[n] - (ends[n - 1] if n else 0))
    if size <= ends[-1] * val_fraction / 2:
        return islice(documents(), n + 1), islice(documents(), n + 1, None)
    text = next(islice(documents(), n, None))
    at = boundary_near(text, len(text) - int(ends[n] - cut))
    return chain(islice(documents(), n), [text[:at]]), chain([text[at:]], islice(documents(), n + 1, None))


def boundary_near(text, at):
    """The end of a paragraph, line, sentence or word (the first of these there is) closest to a position, or that."""
    reach = max(200, len(text) // 50) # characters to either side
    start = max(0, at - reach)
    around = text[start:at + reach]
    for boundary in r'\n\s*\n', r'\n', r'[.!?]["\')]*\s', r'\s':
        ends = [start + match.end() for match in re.finditer(boundary, around)]
        ends = [end for end in ends if 0 < end < len(text)]
        if ends:
            return min(ends, key=lambda end: abs(end - at))
    return at


# text from the net

def why_unreachable(url, seconds=3):
    """
    Why an address cannot be fetched, as a clause, or '' when it can; known after `seconds` at the latest.

    Asked in a thread, because looking up a name has no time-out of its own. Proxies are those of the environment.
    """
    import requests # comes with tiktoken
    host, answers = urlsplit(url).netloc, []

    def ask():
        try:
            status = requests.head(url, timeout=seconds, allow_redirects=True).status_code
            answers.append('' if status < 400 else f'{host} answers with HTTP status {status}')
        except requests.RequestException as error:
            answers.append(f'{host} cannot be reached ({type(error).__name__})')

    thread = threading.Thread(target=ask, daemon=True) # daemon: it may outlive us, and nobody waits for it
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else f'{host} has not answered within {seconds} seconds'


def fetch(url, path, sha256):
    """
    Downloads a file; it has its name only once it is complete and has the right checksum.

    returns '' or why there is no such file, as a clause
    """
    import requests
    why = why_unreachable(url)
    if why:
        return why
    sha, host = hashlib.sha256(), urlsplit(url).netloc
    try:
        with requests.get(url, stream=True, timeout=20) as answer, open(path + '.tmp', 'wb') as file, \
                tqdm(total=int(answer.headers.get('content-length', 0)) or None, unit='B', unit_scale=True,
                     desc=os.path.basename(path), disable=None) as bar:
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
    """(text, where it is from) of tiny Shakespeare: the file at path, or a download that is kept in folder."""
    if path:
        return '\n\n'.join(local_documents(path)), path
    kept = os.path.join(folder, 'input.txt')
    bins.make_folder(folder)
    if not os.path.isfile(kept):
        reasons = [] # the first place that answers will do
        while len(reasons) < len(SHAKESPEARE) and (why := fetch(SHAKESPEARE[len(reasons)], kept, SHAKESPEARE_SHA256)):
            reasons.append(why)
        if len(reasons) == len(SHAKESPEARE):
            raise SystemExit(f'tiny Shakespeare: expected to download {SHAKESPEARE[0]}, but {" and ".join(reasons)}; '
                             'give a copy, or any text: --input=FILE')
    return '\n\n'.join(local_documents(kept)), SHAKESPEARE[0]


def nanogpt_split(text):
    """(train, val): the first 90% of the characters and the rest, as nanoGPT cuts its Shakespeare."""
    n = int(len(text) * 0.9)
    return text[:n], text[n:]


def import_datasets():
    try:
        import datasets
    except ImportError as error:
        raise SystemExit(f'datasets: {error}; pip install datasets') from None
    return datasets


def why_no_hub(name):
    """Why a dataset of the hub cannot be streamed, as a clause, or ''; known after about 3 seconds at the latest."""
    if not importlib.util.find_spec('datasets'):
        return 'the datasets package is not installed'
    for variable in 'HF_HUB_OFFLINE', 'HF_DATASETS_OFFLINE':
        if os.environ.get(variable, '').lower() in ('1', 'true', 'yes', 'on'):
            return f'{variable} is set'
    return why_unreachable(f'{os.environ.get("HF_ENDPOINT", "https://huggingface.co")}/api/datasets/{name}')


def hub_documents(name, subset=None, split='train', skip=0):
    """The texts of a hub dataset (parquet with a column 'text') from document `skip` on, downloaded as they are read."""
    why = why_no_hub(name)
    if why:
        raise SystemExit(f'{name}: expected to stream it from the hub, but {why}; give text of your own: '
                         '--input=FILE_OR_FOLDER')
    datasets = import_datasets()
    try:
        for row in datasets.load_dataset(name, subset, split=split, streaming=True).skip(skip):
            yield row['text']
    except Exception as error: # four libraries below raise their own kinds when a connection breaks
        raise SystemExit(f'{name}: the stream from the hub broke off ({type(error).__name__}: {error}); run it again'
                         ) from None


def write_gpt2_corpus(folder, name, subset, path, val_documents, max_samples, tokenizer, note_every=10_000):
    """
    Writes a large corpus as tokens, from the hub or a local path; run again after a kill, it goes on where it was.

    name, subset: of the hub's dataset; path: file or folder instead, or ''
    The first val_documents documents are val, the rest train; max_samples in all, 0 takes every one.
    """
    if max_samples and max_samples <= val_documents or val_documents < 1:
        raise SystemExit(f'--max_samples: expected more than --val_documents (at least 1), got {max_samples} and '
                         f'{val_documents}')
    tokenizer.encode('') # where GPT-2's vocabulary cannot be had, this says so before anything else is done
    source = path or f'{name} {subset or ""}'.strip()
    job = f'{source}{local_size(path)}, {tokenizer.kind}, val_documents={val_documents}, max_samples={max_samples}'
    done = bins.documents_done(folder, job)
    skip = sum(done.values())
    if skip:
        print(f'{folder}: {skip:,} documents are there already; going on after them')
    texts = islice(local_documents(path), skip, None) if path else hub_documents(name, subset, skip=skip)
    texts = islice(texts, max_samples - skip if max_samples else None)
    val = islice(texts, val_documents - done.get('val', 0))
    totals = {'val': val_documents, 'train': max_samples - val_documents if max_samples else None}
    bins.write_dataset(folder, {'val': val, 'train': texts}, tokenizer, source, totals=totals, job=job,
                       note_every=note_every)


def local_size(path):
    """The bytes of a local corpus as part of a job's name: other text is another job."""
    return f' of {sum(map(os.path.getsize, local_files(path))):,} bytes' if path else ''
