"""
Is my loss normal? A run's validation losses beside those that the same config had here.

    python tools/check_loss.py --out_dir=out-tinystories
    python tools/check_loss.py --out_dir=out-tinystories --record  # adds a run to tools/reference_losses.json
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from configurator import configure

out_dir = 'out-tinystories' # the run
tolerance = 0.03 # nats per token that a loss may lie outside what was seen here
reference = '' # the file of losses; '': reference_losses.json beside this script
record = False # add this run to that file

config = configure(globals())

import hashlib
import json

from lib.checkpoint import read_checkpoint
from lib.log import read_log

# the settings that the losses of a run depend on, but for its seed
DECIDES = ('arch', 'n_layer', 'n_head', 'n_kv_head', 'n_embd', 'block_size', 'dropout', 'bias', 'activation',
           'tie_weights', 'copying', 'batch_size', 'gradient_accumulation_steps', 'max_iters', 'epochs',
           'max_minutes', 'optimizer', 'learning_rate', 'muon_learning_rate', 'muon_momentum', 'weight_decay',
           'beta1', 'beta2', 'grad_clip', 'decay_lr', 'schedule', 'decay_fraction', 'warmup_iters',
           'lr_decay_iters', 'min_lr')


def fingerprint(checkpoint):
    """A name for a config and its data, by the settings that decide and the vocabulary of the text."""
    text = json.dumps([[checkpoint['settings'][name] for name in DECIDES], checkpoint['tokenizer']])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def verdict(loss, seen, tolerance):
    """'normal', 'high' or 'low': loss beside a list of those that were seen, in nats per token."""
    if loss > max(seen) + tolerance:
        return 'high'
    return 'low' if loss < min(seen) - tolerance else 'normal'


def compare(losses, references, tolerance):
    """
    Prints a table and returns the verdicts, for the updates at which both have a loss.

    losses: {iter: loss}; references: a list of such, one for each run that was recorded
    """
    print(f'{"iter":>6} {"val loss":>10} {"seen here":>20}   (nats per token, {len(references)} runs)')
    verdicts = []
    for iter_num, loss in losses.items():
        seen = [run[iter_num] for run in references if iter_num in run]
        if seen:
            verdicts.append(verdict(loss, seen, tolerance))
            print(f'{iter_num:6} {loss:10.4f} {min(seen):11.4f} to {max(seen):.4f}   {verdicts[-1]}')
    return verdicts


def add_run(known, path, key, name, losses):
    """Writes the reference file with one more run of a config."""
    known.setdefault(key, {'what': name, 'runs': []})['runs'].append(losses)
    with open(f'{path}.tmp', 'w', encoding='utf-8') as file:
        json.dump(known, file, indent=1)
    os.replace(f'{path}.tmp', path)
    print(f'{path}: {len(known[key]["runs"])} of {name}')


def main():
    path = reference or os.path.join(HERE, 'reference_losses.json')
    known = {}
    if os.path.exists(path):
        with open(path, encoding='utf-8') as file:
            known = json.load(file)
    key = fingerprint(read_checkpoint(os.path.join(out_dir, 'ckpt.pt')))
    losses = {str(each['iter']): each['val_loss'] for each in read_log(os.path.join(out_dir, 'log.jsonl'))
              if 'val_loss' in each}
    if record:
        return add_run(known, path, key, os.path.basename(os.path.normpath(out_dir)), losses)
    if key not in known:
        raise SystemExit(f'{out_dir}: expected a run of a known config as it is, got other settings or '
                         'another text; known: ' + ', '.join(each['what'] for each in known.values()))
    references = known[key]['runs']
    verdicts = compare(losses, references, tolerance)
    if not verdicts:
        raise SystemExit(f'{out_dir}: expected a validation loss at one of iter {", ".join(references[0])}, '
                         f'got them at {", ".join(losses) or "none"}; train on')
    bad = [each for each in verdicts if each != 'normal']
    if bad:
        raise SystemExit(f'{out_dir}: not normal at {len(bad)} of {len(verdicts)} evaluations; if nothing '
                         'was changed on purpose, something is wrong')
    print('normal')


if __name__ == '__main__':
    main()
