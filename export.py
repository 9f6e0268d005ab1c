"""
Take a trained model elsewhere: as one HTML file that writes, without a server or network.

    python export.py --out_dir=out-tinystories                      # out-tinystories/tinystories.html
    python export.py --out_dir=out-tinystories --dest=story.html --title="My storyteller" --start="One day"
"""
from configurator import configure

out_dir = 'out-tinystories' # folder of a run, whose best.pt is taken, or a checkpoint file, also nanoGPT's
tokenizer = '' # meta.json, or nanoGPT's meta.pkl, of the dataset; only for a checkpoint without a tokenizer
to = 'html' # the format: html, a page with the model in int8, its tokenizer and sampling
dest = '' # the file to write; '': named after the run, in its folder
title = '' # the heading of the page; '': made of the name of the run
start = '' # the prompt that the page opens with

config = configure(globals())

# after the settings, so that --help and errors do not wait for torch
import os

from data.files import short_path
from data.messages import format_bytes
from lib import page
from lib.checkpoint import build, read_best, tokenizer_for
from lib.export_html import describe_run, html_page

FORMATS = 'html',


def run_name(path):
    """The name of the run that a checkpoint belongs to: 'tinystories' for out-tinystories/best.pt."""
    return os.path.basename(os.path.dirname(os.path.abspath(path))).removeprefix('out-') or 'model'


def main():
    if to not in FORMATS:
        raise SystemExit(f'export.py: to must be {" or ".join(FORMATS)}, got {to!r}')
    checkpoint, path = read_best(out_dir)
    name = run_name(path)
    target = dest or os.path.join(os.path.dirname(path), f'{name}.html')
    model, run_tokenizer = build(checkpoint, path), tokenizer_for(checkpoint, path, tokenizer)
    n_params, about = model.n_params(), describe_run(checkpoint, model.config, path)
    text = html_page(model, run_tokenizer, title or f'A small GPT: {name}', start, about)
    page.write(target, text)
    print(f'{short_path(target)}: {format_bytes(len(text.encode()))}, {n_params:,} parameters; open it in a '
          'browser')


if __name__ == '__main__':
    main()
