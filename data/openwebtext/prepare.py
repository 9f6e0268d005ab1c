"""
OpenWebText (Gokaslan and Cohen 2019) as GPT-2 tokens: the dataset of nanoGPT.

    python data/openwebtext/prepare.py                          # may be stopped; the same command resumes
    python data/openwebtext/prepare.py --max_samples=100_000    # a part of it
    python data/openwebtext/prepare.py --input=FILE_OR_FOLDER   # parquet (column 'text') or text, no network

All 8.0 million documents are about 24 GB over the network, which are not kept, and 18 GB of bins; memory
stays below 2 GB and it takes hours. After an interruption, finished documents are read again but not encoded.
"""
import os
import sys

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..')))
from configurator import configure

input = '' # file or folder to read instead of the hub
out = '' # folder for train.bin, val.bin and meta.json; '' is the folder of this script
max_samples = 0 # documents in all, 0 takes every one
val_documents = 4000 # the first ones, held out for validation: 4.4 million tokens
config = configure(globals())

from data import download
from data.tokenizer import GPT2Tokenizer
from data.write import lock_dataset

CORPUS = download.HubCorpus('Skylion007/openwebtext', '', documents=8_013_769, tokens_each=1130,
                            download_bytes_each=3000)


def main():
    folder = out or os.path.dirname(os.path.abspath(__file__))
    with lock_dataset(folder, config, __file__) as provenance:
        download.write_corpus(folder, CORPUS, input, val_documents, max_samples, GPT2Tokenizer(), provenance)
    if not out:
        print('next: python train.py config/train_gpt2_nanogpt.py')


if __name__ == '__main__':
    main()
