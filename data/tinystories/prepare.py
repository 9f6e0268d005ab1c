"""
TinyStories (Eldan and Li 2023, arXiv:2305.07759) as tokens of a vocabulary learned from its train split.

    python data/tinystories/prepare.py                         # from the hub, or built-in stories without it
    python data/tinystories/prepare.py --source=builtin
    python data/tinystories/prepare.py --input=FILE_OR_FOLDER  # <|endoftext|> may stand between documents
"""
import os
import sys

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..')))
from configurator import configure

input = '' # text file or folder (see local_documents in data/documents.py) to read instead of stories
out = '' # folder for train.bin, val.bin and meta.json; '' is the folder of this script
source = 'auto' # hub: the real ones; builtin: generated here, no network; auto: hub where it can be reached
max_samples = 100_000 # stories for training at most, 0: all 2.1 million; of an input only if given
tokenizer = 'bpe' # bpe: learned from the text; for an input also char, gpt2, a file: see data/text/prepare.py
vocab_size = 0 # tokens of bpe; 0: suited to the length of the text, at most 4096
seed = 1337 # of the built-in stories
config = configure(globals())

from itertools import islice

from data import download
from data.documents import split_own_text
from data.tinystories.stories import stories
from data.tokenizer import learn_bpe
from data.write import lock_dataset, write_dataset

HUB = 'roneneldan/TinyStories'
BUILTIN = 12_000 # stories, about 10 MB


def main():
    folder = out or os.path.dirname(os.path.abspath(__file__))
    if source not in ('auto', 'hub', 'builtin'):
        raise SystemExit(f'--source: expected auto, hub or builtin, got {source!r}')
    if max_samples < 0:
        raise SystemExit(f'--max_samples: expected 0 (all) or more, got {max_samples}')
    if tokenizer != 'bpe' and not input:
        raise SystemExit(f'--tokenizer: expected bpe, got {tokenizer!r}; another needs an --input')

    with lock_dataset(folder, config, __file__) as provenance:
        if input:
            limit = max_samples if 'max_samples' in config.typed else 0
            train, val, chosen = split_own_text(input, tokenizer, vocab_size, 0.1, 1_000_000, limit)
            origin, totals = input, {}
        else:
            train, val, totals, origin = choose_stories()
            chosen, train = learn_bpe(train, vocab_size) # from train alone: val stays unseen
        write_dataset(folder, {'train': train, 'val': val}, chosen, origin, provenance, totals=totals)
    if not out:
        print('next: python train.py config/train_tinystories.py')


def choose_stories():
    """(train, val, totals, origin): stories of the hub, or built-in ones with a line that says why."""
    if why := why_builtin(source):
        print(f'tinystories: {why}, so the stories are generated here (data/tinystories/stories.py)')
        return *builtin_stories(max_samples, seed), f'data/tinystories/stories.py, seed {seed}'
    print(f'tinystories: from {HUB}, {f"{max_samples:,} stories" if max_samples else "all of it"}')
    return *hub_stories(max_samples), HUB


def why_builtin(source):
    """Why the stories are not taken from the hub, as a clause, or '' when they are."""
    if source == 'builtin':
        return '--source=builtin'
    why = download.why_no_hub(HUB)
    if not why:
        try:
            next(download.hub_documents(HUB)) # some firewalls let the hub's pages through, but not its files
        except SystemExit as problem:
            why = str(problem)
    if why and source == 'hub':
        raise SystemExit(f'--source=hub: {why}; use --source=builtin or --input=FILE_OR_FOLDER')
    return why


def hub_stories(max_samples):
    n_val = max(1000, max_samples // 50) if max_samples else None
    train = islice(download.hub_documents(HUB), max_samples or None)
    val = islice(download.hub_documents(HUB, split='validation'), n_val)
    # stripped: some have line ends around them, which would be learned as part of the end
    return map(str.strip, train), map(str.strip, val), {'train': max_samples or None, 'val': n_val}


def builtin_stories(max_samples, seed):
    count = min(BUILTIN, max_samples or BUILTIN)
    n_val = max(1, count // 40)
    texts = stories(count, seed) # train is written before val is begun, so val is the rest of the iterator
    return islice(texts, count - n_val), texts, {'train': count - n_val, 'val': n_val}


if __name__ == '__main__':
    main()
