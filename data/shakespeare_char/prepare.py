"""
Tiny Shakespeare as characters: train.bin and val.bin with the same ids and the same cut as nanoGPT's.

    python data/shakespeare_char/prepare.py
"""
import os
import sys

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..')))
from configurator import configure

input = '' # file to read instead of the download of 1.1 MB
out = '' # folder for train.bin, val.bin and meta.json; '' is the folder of this script
config = configure(globals())

from data import download
from data.tokenizer import CharTokenizer
from data.write import lock_dataset, write_dataset


def main():
    folder = out or os.path.dirname(os.path.abspath(__file__))
    with lock_dataset(folder, config, __file__) as provenance:
        train, val, source = download.tiny_shakespeare(input, folder)
        tokenizer = CharTokenizer.of(train + val)
        write_dataset(folder, {'train': [train], 'val': [val]}, tokenizer, source, provenance)
    if not out:
        print('next: python train.py config/train_shakespeare_char.py')


if __name__ == '__main__':
    main()
