"""
Is my loss normal? Compares a run's validation losses with those recorded for the same config.

    python tools/check_loss.py --out_dir=out-tinystories
    python tools/check_loss.py --out_dir=out-tinystories --record    # add it to reference_losses.json
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from configurator import ALIASES, RENAMED, configure

out_dir = 'out-tinystories' # folder of the run
tolerance = 0.03 # nats per token that a loss may lie outside the recorded range
reference = '' # JSON file of recorded losses; '': reference_losses.json beside this script
record = False # add this run to that file

config = configure(globals())

# after the settings, so that --help and errors do not wait for torch
import hashlib
import json
from dataclasses import asdict

import train
from data.files import write_json
from lib.checkpoint import LAST, read_checkpoint
from lib.log import read_log
from lib.recipe import derive_settings
from model import GPTConfig

# the settings of train.py that do not influence its validation loss, or only by rounding and chance; every
# other one does, including those that train.py does not have yet
NO_INFLUENCE = {'out_dir', 'overwrite', 'eval_only', 'dry_run', 'seed', 'check_data', 'depth', 'patience',
                'fit_minutes', 'max_bad_steps', 'log_interval', 'eval_interval', 'sample_interval',
                'sample_tokens', 'save_checkpoints', 'save_interval', 'save_minutes', 'keep', 'wandb_log',
                'wandb_project', 'wandb_run_name', 'device', 'compile', 'backend', 'peak_tflops'}
PATHS = 'dataset', 'input', 'init_from' # compared by their last part: the same data may lie elsewhere


def relevant(settings, model_config):
    """
    {name: value} of all that influences the loss of a run, by the names of today.

    settings, model_config: of its checkpoint, or as they were recorded. A name that they lack, because it is
    newer, has today's default; one that was renamed is found by its alias.
    """
    defaults = {**asdict(GPTConfig()), **train.config.settings}
    found = dict(model_config)
    for name, value in settings.items():
        found[name if name in defaults else {**ALIASES, **RENAMED}.get(name, name)] = value
    found = {name: found.get(name, default) for name, default in defaults.items() if name not in NO_INFLUENCE}
    if found['init_from'] in ('resume', 'auto'): # a resumed run no longer has what it started from
        found['init_from'] = 'scratch'
    return found | {name: os.path.basename(os.path.normpath(found[name])) for name in PATHS if found[name]}


def config_settings(path):
    """The relevant settings of a run of train.py with a config file and nothing else."""
    return relevant(configure(dict(vars(train)), [path], derive=derive_settings).settings, {})


def tokenizer_hash(tokenizer):
    """Stands for the text, from which a tokenizer has its vocabulary. tokenizer: the dict in a checkpoint"""
    return hashlib.sha256(json.dumps(tokenizer).encode()).hexdigest()[:16]


def differences(entry, settings, tokenizer):
    """['name old, here new', ...] between a recorded config and a run; settings: see relevant."""
    recorded = relevant(entry['settings'], {})
    return [f'{name} {recorded[name]!r}, here {settings[name]!r}' for name in settings
            if recorded[name] != settings[name]] + ['another text'] * (entry['tokenizer'] != tokenizer)


def verdict(loss, recorded, tolerance):
    """'normal', 'high' or 'low': a loss compared with a list of recorded ones, in nats per token."""
    if loss > max(recorded) + tolerance:
        return 'high'
    return 'low' if loss < min(recorded) - tolerance else 'normal'


def compare(losses, runs, tolerance):
    """
    Print a table and return the verdicts, for the iters at which both sides have a loss.

    losses: {iter: loss}; runs: a list of such dicts, one for each recorded run
    """
    print(f'{"iter":>6} {"val loss":>10} {"recorded":>20}   (nats per token, {len(runs)} runs)')
    verdicts = []
    for iter_num, loss in losses.items():
        recorded = [run[iter_num] for run in runs if iter_num in run]
        if recorded:
            verdicts.append(verdict(loss, recorded, tolerance))
            print(f'{iter_num:6} {loss:10.4f} {min(recorded):11.4f} to {max(recorded):.4f}   {verdicts[-1]}')
    return verdicts


def main():
    path = reference or os.path.join(HERE, 'reference_losses.json')
    entries = []
    if os.path.exists(path):
        with open(path, encoding='utf-8') as file:
            entries = json.load(file)
    checkpoint = read_checkpoint(os.path.join(out_dir, LAST))
    if not {'settings', 'tokenizer'} <= checkpoint.keys():
        raise SystemExit(f'{out_dir}: expected a run of train.py, got a checkpoint without settings')
    settings = relevant(checkpoint['settings'], checkpoint['model_config'])
    tokenizer = tokenizer_hash(checkpoint['tokenizer'])
    losses = {str(r['iter']): round(r['val_loss'], 4) for r in read_log(os.path.join(out_dir, 'log.jsonl'))
              if 'val_loss' in r}
    found = [(differences(entry, settings, tokenizer), entry) for entry in entries]
    differing, entry = min(found, key=lambda pair: len(pair[0]), default=(['no recorded runs'], None))
    if record:
        if differing:
            entry = {'what': os.path.basename(os.path.normpath(out_dir)), 'settings': settings,
                     'tokenizer': tokenizer, 'runs': []}
            entries.append(entry)
        entry['runs'].append(losses)
        write_json(path, entries)
        return print(f'{path}: {len(entry["runs"])} of {entry["what"]}')
    if differing:
        raise SystemExit(f'{out_dir}: expected a run of a recorded config as it is, got other settings; the '
                         f'closest is {entry["what"] if entry else path}: {"; ".join(differing[:5])}')
    verdicts = compare(losses, entry['runs'], tolerance)
    if not verdicts:
        raise SystemExit(f'{out_dir}: expected a validation loss at iter {" or ".join(entry["runs"][0])}, '
                         f'got them at {", ".join(losses) or "none"}; train on')
    outside = [each for each in verdicts if each != 'normal']
    if outside:
        raise SystemExit(f'{out_dir}: expected losses within {tolerance} of the recorded ones, got '
                         f'{len(outside)} of {len(verdicts)} outside; if nothing was changed on purpose, '
                         'look for a bug')
    print('normal')


if __name__ == '__main__':
    main()
