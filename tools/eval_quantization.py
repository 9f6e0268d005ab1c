"""
The validation loss of a run's best.pt in float32, bfloat16 and int8, and how often the top-1 token agrees.

    python tools/eval_quantization.py --out_dir=out-tinystories
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from configurator import configure

out_dir = 'out-tinystories' # folder of the run
data = '' # folder of its train.bin and val.bin; '': the dataset the run was trained on
eval_tokens = 0 # tokens of val to evaluate on; 0: all
batch_size = 32 # sequences per forward pass

config = configure(globals())

# after the settings, so that --help and errors do not wait for torch
import math

import torch
import torch.nn.functional as F

from bench import WEIGHT_DTYPES
from data import bins
from data.datasets import dataset_of_run
from lib.checkpoint import BEST, build, read_checkpoint
from lib.quantize import prepare_for_inference


@torch.no_grad()
def evaluate(model, tokens, starts, batch_size):
    """
    (mean loss in nats per token, top-1 tokens int64 (N,)) over the windows of tokens that begin at starts.

    starts: int64 (n_windows,); N = n_windows * block_size
    """
    total, top1 = 0.0, []
    for i in range(0, len(starts), batch_size):
        x, y = bins.get_batch(tokens, starts[i:i + batch_size], model.config.block_size)
        logits = model(x).float().flatten(0, 1) # (B * T, V)
        total += F.cross_entropy(logits, y.flatten(), reduction='sum').item()
        top1.append(logits.argmax(-1))
    top1 = torch.cat(top1)
    return total / len(top1), top1


def main():
    if batch_size < 1 or eval_tokens < 0:
        raise SystemExit('eval_quantization.py: expected batch_size >= 1 and eval_tokens >= 0, '
                         f'got {batch_size} and {eval_tokens}')
    path = os.path.join(out_dir, BEST)
    checkpoint = read_checkpoint(path)
    folder = data or dataset_of_run(out_dir, checkpoint['settings'])
    tokens = bins.open_bin(folder, 'val', bins.load_meta(folder))
    block_size = checkpoint['model_config']['block_size']
    starts = bins.val_windows(len(tokens), block_size, eval_tokens)
    print(f'{path}, {len(starts) * block_size:,} tokens of {folder}')
    print(f'{"weights":10} {"loss":>8} {"perplexity":>12} {"change":>9} {"top-1 agreement":>16}')
    reference = None # of float32, the first dtype
    for dtype in WEIGHT_DTYPES:
        model = prepare_for_inference(build(checkpoint, path), dtype, 'cpu')
        loss, top1 = evaluate(model, tokens, starts, batch_size)
        reference = reference or (loss, top1)
        print(f'{dtype:10} {loss:8.4f} {math.exp(loss):12.4f} {math.exp(loss - reference[0]) - 1:+9.3%} '
              f'{(top1 == reference[1]).float().mean().item():16.2%}', flush=True)


if __name__ == '__main__':
    main()
