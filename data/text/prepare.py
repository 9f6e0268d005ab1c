"""
Any text of your own as train.bin and val.bin.

    python data/text/prepare.py --input=my.txt                        # characters; good up to a few megabytes
    python data/text/prepare.py --input=my_folder --tokenizer=bpe     # a vocabulary learned from the text
    python data/text/prepare.py --input=FOLDER --tokenizer=gpt2       # FOLDER may hold bins that nanoGPT made

A folder stands for its .txt and .md files. <|endoftext|> may stand between the documents of a file. A folder
with train.bin and val.bin is not read as text: it gets a meta.json beside them, after a look at every id.
"""
import os
import sys

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..')))
from configurator import configure

input = '' # file or folder, UTF-8
out = '' # folder for train.bin, val.bin and meta.json; '' is the folder of this script
tokenizer = 'char' # char: one id a character; bpe: learned here; gpt2: GPT-2's 50,257 tokens, for its weights
vocab_size = 4096 # tokens of bpe; a small text gives fewer
val_fraction = 0.1 # of the text, its end, held back for validation
config = configure(globals())

from data import download
from data.tokenizer import CharTokenizer, GPT2Tokenizer, learn_bpe
from data.write import adopt_bins, write_dataset


def main():
    folder = out or os.path.dirname(os.path.abspath(__file__))
    if tokenizer not in ('char', 'bpe', 'gpt2'):
        raise SystemExit(f'--tokenizer: expected char, bpe or gpt2, got {tokenizer!r}')
    if not input:
        raise SystemExit('--input: expected a file or a folder, got nothing; give --input=FILE_OR_FOLDER')
    if os.path.isfile(os.path.join(input, 'train.bin')) and os.path.isfile(os.path.join(input, 'val.bin')):
        adopt_bins(input, tokenizer)
        return

    def documents():
        return download.local_documents(input)

    if tokenizer == 'char': # which has no end of a document: a blank line has to do
        joined = '\n\n'.join(documents())
        train, val = download.split_by_fraction(lambda: iter([joined]), val_fraction)
        chosen = CharTokenizer.of(joined)
    else:
        train, val = download.split_by_fraction(documents, val_fraction)
        chosen, train = learn_bpe(train, vocab_size) if tokenizer == 'bpe' else (GPT2Tokenizer(), train)
    write_dataset(folder, {'train': train, 'val': val}, chosen, input)
    if not out:
        print('next: python train.py --dataset=text')


if __name__ == '__main__':
    main()
