"""
Any text of your own as train.bin and val.bin.

    python data/text/prepare.py --input=my.txt                        # characters; good up to a few megabytes
    python data/text/prepare.py --input=my_folder --tokenizer=bpe     # a vocabulary learned from the text
    python data/text/prepare.py --input=my.txt --tokenizer=out/best.pt # that of a model to fine-tune
    python data/text/prepare.py --input=FOLDER --tokenizer=gpt2       # FOLDER may hold bins that nanoGPT made

A folder stands for its .txt and .md files. <|endoftext|> may stand between the documents of a file. A folder
with train.bin and val.bin is not read as text: it gets a meta.json beside them, after a check of every id.
"""
import os
import sys

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..')))
from configurator import configure

input = '' # file or folder, UTF-8
out = '' # folder for train.bin, val.bin and meta.json; '' is the folder of this script
tokenizer = 'char' # char: one id per character; bpe: learned from the text; gpt2: GPT-2's 50,257 tokens, for
    # its weights; or a file to take the tokenizer from: meta.json, nanoGPT's meta.pkl, or a checkpoint
vocab_size = 0 # tokens of bpe; 0: suited to the length of the text, at most 4096
val_fraction = 0.1 # of the text, its end, held out for validation
config = configure(globals())

from data.datasets import has_bins
from data.documents import split_own_text
from data.write import import_nanogpt_bins, lock_dataset, write_dataset


def main():
    folder = out or os.path.dirname(os.path.abspath(__file__))
    if not input:
        raise SystemExit('--input: expected a file or a folder, got nothing; give --input=FILE_OR_FOLDER')
    if has_bins(input):
        import_nanogpt_bins(input, tokenizer)
        return

    with lock_dataset(folder, config, __file__) as provenance:
        train, val, chosen = split_own_text(input, tokenizer, vocab_size, val_fraction)
        write_dataset(folder, {'train': train, 'val': val}, chosen, input, provenance)
    if not out:
        print('next: python train.py --dataset=text')


if __name__ == '__main__':
    main()
