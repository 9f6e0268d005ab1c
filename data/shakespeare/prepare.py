"""
Tiny Shakespeare as GPT-2 tokens, for finetuning: the same ids and the same cut as nanoGPT's.

    python data/shakespeare/prepare.py
"""
import os
import sys

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..')))
from configurator import configure

input = '' # file to read instead of the download of 1.1 MB
out = '' # folder for train.bin, val.bin and meta.json; '' is the folder of this script
config = configure(globals())

from data import download
from data.tokenizer import GPT2Tokenizer
from data.write import lock_dataset, write_dataset


def main():
    folder = out or os.path.dirname(os.path.abspath(__file__))
    with lock_dataset(folder, config, __file__) as provenance:
        train, val, source = download.tiny_shakespeare(input, folder)
        # separate=False: the halves are one text, and nanoGPT puts no end of document into them either
        write_dataset(folder, {'train': [train], 'val': [val]}, GPT2Tokenizer(), source, provenance,
                      separate=False)
    if not out:
        print('next: python train.py config/finetune_shakespeare.py')


if __name__ == '__main__':
    main()
