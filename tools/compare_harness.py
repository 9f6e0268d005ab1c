"""
How tools/compare_nanogpt.py runs processes, notes what it measures and shows it.

    python tools/compare_nanogpt.py --help    # what there is to run
"""
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import mean, median

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CHILD = os.path.join(ROOT, 'tools', 'compare_worker.py')
# how figures are shown: title, factor, format, unit
COLUMNS = {'checkpoint_s': ('to checkpoint', 1, '.2f', ' s'), 'seconds': ('to exit', 1, '.2f', ' s'),
           'first_line_s': ('to first line', 1, '.2f', ' s'), 'target_s': ('to target', 1, '.1f', ' s'),
           'val_loss': ('val loss', 1, '.4f', ''), 'parameters': ('parameters', 1e-6, '.2f', ' M'),
           'context': ('context', 1, '.0f', ''), 'tokens_per_second': ('speed', 1, ',.0f', ' tok/s'),
           'step_ms': ('update', 1, '.1f', ' ms'), 'first_step_s': ('first update', 1, '.2f', ' s'),
           'mfu': ('mfu', 1, '.1%', ''), 'peak_bytes': ('peak memory', 1e-6, ',.0f', ' MB'),
           'loss': ('loss', 1, '.4f', ''), 'loss_float32': ('loss in float32', 1, '.4f', ''),
           'difference': ('losses differ', 1, '.1e', ''),
           'weights_difference': ('weights differ', 1, '.1e', '')}
# of a rehearsal: settings that both train.py have; the last value of a setting wins
TINY_RUN = ('--n_layer=1', '--n_head=2', '--n_embd=32', '--batch_size=2', '--block_size=32', '--max_iters=20',
            '--warmup_iters=2', '--lr_decay_iters=20', '--eval_interval=10', '--compile=False')


@dataclass(frozen=True)
class Place:
    """Where and how everything is measured."""
    settings: dict # of compare_nanogpt.py
    folder: str # of the runs, removed in the end
    env: dict # of the processes
    card: dict # device, device_name, torch, threads

    @property
    def nanogpt(self):
        return os.path.abspath(self.settings['nanogpt'])

    @property
    def shakespeare(self):
        """nanoGPT's bins, which both sides read."""
        return os.path.join(self.nanogpt, 'data', 'shakespeare_char')

    @property
    def dataset(self):
        return os.path.abspath(self.settings['dataset'])

    @property
    def rehearse(self):
        return self.settings['rehearse']


# ---- processes ----

def watch(words, cwd, env, until=None):
    """
    Run Python with words; returns ([(seconds since its start, line)], seconds until it ended).

    until: a pattern; the process is ended at the first line that has it. SystemExit when it fails.
    """
    lines, reached, began = [], False, time.perf_counter()
    with subprocess.Popen([sys.executable, *words], cwd=cwd, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding='utf-8', errors='replace') as process:
        for line in process.stdout:
            lines.append((time.perf_counter() - began, line.rstrip()))
            if until and re.search(until, line):
                reached = True
                process.kill()
                break
    seconds = time.perf_counter() - began
    last = next((line for _, line in reversed(lines) if line), 'nothing')
    if process.returncode and not reached:
        raise SystemExit(f'{words[0]}: ended with status {process.returncode}, its last line: {last}')
    if until and not reached:
        raise SystemExit(f'{words[0]}: expected a line with {until!r}, its last line: {last}')
    return lines, seconds


def ask(place, request):
    """The answer of compare_worker.py to a request: figures by name."""
    common = {'device': place.card['device'], 'nanogpt': place.nanogpt, 'seed': place.settings['seed']}
    lines, _ = watch([CHILD, json.dumps({**common, **request})], place.folder, place.env)
    return json.loads(next(line for _, line in reversed(lines) if line.startswith('{')))


def train_ours(place, name, words, until=None):
    """watch for our train.py, which leaves its run in place.folder/name."""
    return train(place, name, [os.path.join(ROOT, 'train.py'), *words], None, until)


def train_theirs(place, name, words, until=None, script='train.py', cache=''):
    """
    watch for nanoGPT's train.py, run in nanoGPT's folder.

    script: a changed copy of it
    cache: runs with the same name here need not compile again; '': begin with an empty one
    """
    return train(place, name, [os.path.join(place.nanogpt, script), *words], place.nanogpt, until, cache)


def train(place, name, words, cwd, until, cache=''):
    run_dir = os.path.join(place.folder, name)
    env = place.env | {'TORCHINDUCTOR_CACHE_DIR': os.path.join(place.folder, cache or f'{name}/cache')}
    if cwd: # a changed copy of nanoGPT's train.py lies elsewhere, but imports from there
        env['PYTHONPATH'] = os.pathsep.join(filter(None, (cwd, env.get('PYTHONPATH'))))
    os.makedirs(run_dir)
    words = [*words, *TINY_RUN * place.rehearse, f'--out_dir={run_dir}', f"--device={place.card['device']}"]
    return watch(words, cwd, env, until)


def score(place, name, data, file='ckpt.pt', eval_tokens=0):
    """{val_loss, parameters, context} of a run in place.folder on the bins in data."""
    return ask(place, {'task': 'score', 'data': data, 'checkpoint': os.path.join(place.folder, name, file),
                       'dtype': 'float32' if place.card['device'] == 'cpu' else 'bfloat16',
                       'eval_tokens': eval_tokens})


def forget(place, name):
    """Remove a run: a checkpoint of 124M parameters with its optimizer takes 1.5 GB."""
    shutil.rmtree(os.path.join(place.folder, name))


def found_in(lines, pattern):
    """[(seconds, number)] of the lines with a pattern, whose first group is the number."""
    matches = ((seconds, re.search(pattern, line)) for seconds, line in lines)
    return [(seconds, float(match[1])) for seconds, match in matches if match]


# ---- figures ----

def note(place, row, side, run, figures, case=''):
    """Append a measurement to the file, and print it."""
    record = {'row': row, 'case': case, 'side': side, 'run': run, 'figures': figures, **place.card,
              'rehearsal': place.rehearse, 'date': datetime.date.today().isoformat()}
    with open(place.settings['out'], 'a', encoding='utf-8') as f:
        f.write(json.dumps(record) + '\n')
    numbers = [f'{COLUMNS[name][0]} {shown(name, figures[name])}' for name in COLUMNS
               if figures.get(name) is not None]
    print(f'  {" ".join(filter(None, (row, case, side)))}, run {run}: {", ".join(numbers)}', flush=True)


def noted(place, row, side):
    """The figures of a side that are in the file from a device of this name, oldest first."""
    if not os.path.exists(place.settings['out']):
        return []
    with open(place.settings['out'], encoding='utf-8') as f:
        records = [json.loads(line) for line in f]
    wanted = place.card['device_name'], place.rehearse
    return [r['figures'] for r in records if r['row'] == row and r['side'].startswith(side)
            and (r['device_name'], r['rehearsal']) == wanted]


def in_turns(place, row, contestants, case='', runs=0):
    """
    {side: summary} of measurements made in turns, and a table of them.

    contestants: {side: function of the run's number, 1 and up, that returns figures}
    runs: 0: as the settings have it
    """
    results = {side: [] for side in contestants}
    for run in range(1, (runs or place.settings['runs']) + 1):
        for side, measure in contestants.items():
            results[side].append(measure(run))
            note(place, row, side, run, results[side][-1], case)
    summaries = {side: summary(figures) for side, figures in results.items()}
    print(table(f'{row} {case}'.strip(), summaries), flush=True)
    return summaries


def summary(figures):
    """{name: {median, least, most, mean}} of a list of figures, for names that have a number in each."""
    columns = {name: [each.get(name) for each in figures] for name in COLUMNS} if figures else {}
    return {name: {'median': median(values), 'least': min(values), 'most': max(values), 'mean': mean(values)}
            for name, values in columns.items() if None not in values}


def shown(name, value, bare=False):
    """A figure with its unit; bare: without."""
    _, factor, form, unit = COLUMNS[name]
    return f'{value * factor:{form}}' + unit * (not bare)


def table(title, summaries):
    """A row for each side: medians, and in brackets the least and the most where they differ."""
    names = [name for name in COLUMNS if any(name in each for each in summaries.values())]
    lines = [[title, *(COLUMNS[name][0] for name in names)]]
    for side, each in summaries.items():
        lines.append([side])
        for name in names:
            usual, least, most = (shown(name, each[name][key], bare=True) if name in each else 'n/a'
                                  for key in ('median', 'least', 'most'))
            unit = COLUMNS[name][3] if name in each else ''
            lines[-1].append((usual if least == most else f'{usual} ({least} to {most})') + unit)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return '\n'.join('  '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                     for line in lines)


def ratio(summaries, name, of='ours', to='theirs'):
    """A figure of one side as a share of the other's."""
    return summaries[of][name]['median'] / summaries[to][name]['median']
