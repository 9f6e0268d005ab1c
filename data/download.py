"""
Texts from the web for the prepare.py scripts: tiny Shakespeare, and datasets of the Hugging Face hub.

A failed download raises SystemExit with a one-line message. Documents are streamed, so a corpus may be larger
than memory.
"""
import importlib
import os
import shutil
from dataclasses import dataclass
from itertools import islice

from data import write
from data.documents import local_documents, local_files, print_skipped_files
from data.files import make_folder
from data.messages import describe, format_bytes
from data.network import fetch, why_unreachable

# the same text at two URLs; the checksum detects the page of a login portal
SHAKESPEARE_URLS = [
    'https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt',
    'https://storage.googleapis.com/download.tensorflow.org/data/shakespeare.txt']
SHAKESPEARE_SHA256 = '86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed'


def tiny_shakespeare(path, folder):
    """
    (train, val, source) of tiny Shakespeare: the first 90% of its characters and the rest, as with nanoGPT.

    path: a file to take instead of the download, or ''; folder: where the download is kept, as input.txt
    """
    source = path or SHAKESPEARE_URLS[0]
    if path:
        print_skipped_files(path)
    else:
        path = os.path.join(folder, 'input.txt')
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
    """Why a dataset cannot be read from the hub, as a clause, or ''; known after about 3 seconds."""
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
    """The texts of a hub dataset from number `skip` on; a generator, which downloads as it goes."""
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
        what = describe(error)[:200]
        raise SystemExit(f'{name}: the connection to the hub was lost ({what}); run the same command '
                         'again') from None


def write_corpus(folder, corpus, path, val_documents, max_samples, tokenizer, provenance=None,
                 save_every=10_000):
    """
    Write a large corpus as tokens in bounded memory; run again after an interruption, it resumes there.

    path: file or folder to take instead of the hub, or ''
    val_documents: how many documents, the first ones, are val; the others are train
    max_samples: how many documents to take in all, 0 for every one
    provenance, save_every: as in write_dataset
    """
    if val_documents < 1 or max_samples and max_samples <= val_documents:
        raise SystemExit('--val_documents: expected at least 1 and less than --max_samples, got '
                         f'{val_documents:,} of {max_samples:,}')
    tokenizer.encode('') # fails here, before any work, where the vocabulary cannot be downloaded
    source = path or f'{corpus.name} {corpus.subset}'.strip()
    size = f' of {sum(map(os.path.getsize, local_files(path)[0])):,} bytes' if path else ''
    job = f'{source}{size}: {tokenizer.kind} {tokenizer.n_vocab}, {val_documents} val, at most {max_samples}'
    make_folder(folder, write.ADVICE)
    done = write.documents_done(folder, job)
    skip = sum(done.values())
    if path:
        print_skipped_files(path)
        texts = islice(local_documents(path), skip, None)
    else:
        texts = hub_documents(corpus.name, corpus.subset, skip=skip)
        check_disk_space(folder, corpus, max_samples or corpus.documents)
    if skip:
        print(f'{folder}: {skip:,} documents are done, resuming after them')
    texts = islice(texts, max(0, max_samples - skip) if max_samples else None)
    splits = {'val': islice(texts, max(0, val_documents - done.get('val', 0))), 'train': texts}
    totals = {'val': val_documents, 'train': max_samples - val_documents if max_samples else None}
    try:
        write.write_dataset(folder, splits, tokenizer, source, provenance, totals=totals, job=job,
                            save_every=save_every)
    except KeyboardInterrupt:
        raise SystemExit(f'{folder}: stopped; the same command resumes') from None


def check_disk_space(folder, corpus, documents):
    """Print what a corpus will take; SystemExit when the disk has too little space."""
    needed, download = documents * corpus.tokens_each * 2, documents * corpus.download_bytes_each # bytes
    partial = [entry.stat().st_size for entry in os.scandir(folder) if entry.name.endswith('.bin.tmp')]
    free = shutil.disk_usage(folder).free + sum(partial)
    needs, has = format_bytes(needed), format_bytes(free)
    print(f'{corpus.name}: {documents:,} documents, about {format_bytes(download)} to download, '
          f'not kept\n{folder}: about {needs} of bins ({has} are free), memory below 2 GB\n'
          'you can stop it at any time; the same command resumes')
    if free < needed:
        raise SystemExit(f'{folder}: expected {needs} of free disk space, got {has}; take less '
                         '(--max_samples=100_000), or another disk (--out=FOLDER)')
