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

input = '' # text file or folder (see local_documents in data/download.py) to take instead of stories
out = '' # folder for train.bin, val.bin and meta.json; '' is the folder of this script
source = 'auto' # hub: the real ones; builtin: made up here, no network; auto: hub where it can be reached
max_samples = 100_000 # stories for training at most, 0 takes all 2.1 million; the download is no longer
vocab_size = 4096 # tokens; half of them save little memory, twice as many pay only for larger models
seed = 1337 # of the built-in stories
config = configure(globals())

from itertools import islice

from data import download
from data.tinystories.stories import stories
from data.tokenizer import learn_bpe
from data.write import write_dataset

HUB = 'roneneldan/TinyStories'
BUILTIN = 12_000 # stories, about 10 MB


def main():
    folder = out or os.path.dirname(os.path.abspath(__file__))
    if source not in ('auto', 'hub', 'builtin'):
        raise SystemExit(f'--source: expected auto, hub or builtin, got {source!r}')
    if max_samples < 0:
        raise SystemExit(f'--max_samples: expected 0 (all) or more, got {max_samples}')

    if input:
        train, val = download.split_by_fraction(lambda: download.local_documents(input), 0.1, most=1_000_000)
        origin, totals = input, {}
    elif why := why_builtin(source):
        print(f'tinystories: {why}, so the stories are made up here (data/tinystories/stories.py)')
        train, val, totals = builtin_stories(max_samples, seed)
        origin = f'data/tinystories/stories.py, seed {seed}'
    else:
        print(f'tinystories: from {HUB}, {f"{max_samples:,} stories" if max_samples else "all of it"}')
        train, val, totals = hub_stories(max_samples)
        origin = HUB

    tokenizer, train = learn_bpe(train, vocab_size) # from train alone: val stays unseen
    write_dataset(folder, {'train': train, 'val': val}, tokenizer, origin, totals=totals)
    if not out:
        print('next: python train.py config/train_tinystories.py')


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
    texts = stories(count, seed) # train is written before val is begun, so val is what then is left
    return islice(texts, count - n_val), texts, {'train': count - n_val, 'val': n_val}


if __name__ == '__main__':
    main()
