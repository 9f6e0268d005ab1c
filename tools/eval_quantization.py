"""
What weights of fewer bits cost: the loss of a run's best.pt over val, and how often it prefers another token.

    python tools/eval_quantization.py --out_dir=out-tinystories
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from configurator import configure

out_dir = 'out-tinystories' # the folder of a run
data = '' # folder of its bins; '': that of the run's own text, or of its dataset
eval_tokens = 0 # how much of val is read; 0: all
batch_size = 32 # windows read at once

config = configure(globals())

# after the settings, so that --help and a typo answer at once
import math

import torch

from bench import DTYPES, prepare_to_write
from data import bins
from lib.checkpoint import BEST, build, read_checkpoint


@torch.no_grad()
def predictions(model, tokens, starts):
    """(mean loss in nats per token, the likeliest next token at each place) over the windows at starts."""
    total, found = 0.0, []
    for chosen in starts[:len(starts) // batch_size * batch_size].reshape(-1, batch_size):
        x, y = bins.get_batch(tokens, chosen, model.config.block_size)
        logits = model(x).float()
        total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction='sum').item()
        found.append(logits.argmax(-1).flatten())
    found = torch.cat(found)
    return total / len(found), found


def main():
    path = os.path.join(out_dir, BEST)
    checkpoint = read_checkpoint(path)
    dataset = checkpoint['settings']['dataset']
    own = os.path.join(out_dir, 'data')
    folder = data or (own if os.path.isdir(own) else
                      dataset if os.path.isdir(dataset) else os.path.join(ROOT, 'data', dataset))
    meta = bins.load_meta(folder)
    tokens = bins.open_bin(folder, 'val', meta)
    starts = bins.val_windows(len(tokens), checkpoint['model_config']['block_size'], eval_tokens)
    usual = None
    print(f'{path}, {len(starts) * checkpoint["model_config"]["block_size"]:,} tokens of {folder}')
    print(f'{"weights":10} {"loss":>8} {"perplexity":>12} {"change":>9} {"same first choice":>18}')
    for dtype in DTYPES:
        model = prepare_to_write(build(checkpoint, path), dtype, 'cpu')
        loss, found = predictions(model, tokens, starts)
        usual = usual or (loss, found)
        print(f'{dtype:10} {loss:8.4f} {math.exp(loss):12.4f} {math.exp(loss - usual[0]) - 1:+9.3%} '
              f'{(found == usual[1]).float().mean().item():18.2%}', flush=True)


if __name__ == '__main__':
    main()
