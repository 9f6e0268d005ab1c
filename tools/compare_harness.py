"""
How tools/compare_nanogpt.py runs processes, records what it measures, and summarizes it.

    python tools/compare_nanogpt.py --help    # what can be measured
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

from data.files import write_errors

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORKER = os.path.join(ROOT, 'tools', 'compare_worker.py')
# how figures are printed: title, factor, format, unit
COLUMNS = {'checkpoint_s': ('to checkpoint', 1, '.2f', ' s'), 'seconds': ('to exit', 1, '.2f', ' s'),
           'first_line_s': ('to first line', 1, '.2f', ' s'), 'target_s': ('to target', 1, '.1f', ' s'),
           'val_loss': ('val loss', 1, '.4f', ''), 'parameters': ('parameters', 1e-6, '.2f', ' M'),
           'context': ('context', 1, '.0f', ''), 'tokens_per_second': ('throughput', 1, ',.0f', ' tok/s'),
           'step_ms': ('update', 1, '.1f', ' ms'), 'first_step_s': ('first update', 1, '.2f', ' s'),
           'mfu': ('mfu', 1, '.1%', ''), 'peak_bytes': ('peak memory', 1e-6, ',.0f', ' MB'),
           'loss': ('loss', 1, '.4f', ''), 'loss_float32': ('loss in float32', 1, '.4f', ''),
           'difference': ('max loss difference', 1, '.1e', ''),
           'weights_difference': ('max weight difference', 1, '.1e', '')}
# shapes and how they are trained for the measurements of updates and decoding
SIZES = {'0.8M': dict(n_layer=4, n_head=4, n_embd=128, vocab_size=65, batch_size=12, block_size=64,
                      warmup=20, steps=200, learning_rate=1e-3),
         '12M': dict(n_layer=6, n_head=6, n_embd=384, vocab_size=4096, batch_size=16, block_size=256,
                     warmup=2, steps=15, learning_rate=1e-3),
         '124M': dict(n_layer=12, n_head=12, n_embd=768, vocab_size=50304, batch_size=2, block_size=256,
                      warmup=2, steps=8, learning_rate=6e-4)}
TINY = dict(n_layer=1, n_head=2, n_embd=32, batch_size=2, block_size=32, warmup=1, steps=2)
# a smoke test's settings, which both train.py have; the last value of a setting wins
SMOKE_TEST_FLAGS = ('--n_layer=1', '--n_head=2', '--n_embd=32', '--batch_size=2', '--block_size=32',
                    '--max_iters=20', '--warmup_iters=2', '--lr_decay_iters=20', '--eval_interval=10',
                    '--compile=False')


@dataclass(frozen=True)
class Harness:
    """Where and how everything is measured."""
    settings: dict # of compare_nanogpt.py
    folder: str # of the runs; a temporary folder
    env: dict # environment of the processes
    machine: dict # device, device_name, torch, threads

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
    def smoke_test(self):
        return self.settings['smoke_test']


# ---- processes ----

def run_and_time(args, cwd, env, until=None):
    """
    Run Python with args; returns ([(seconds since its start, line)], seconds until it ended).

    until: a pattern; the process is killed at the first line that matches. SystemExit when the process fails.
    """
    lines, reached, start = [], False, time.perf_counter()
    with subprocess.Popen([sys.executable, *args], cwd=cwd, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding='utf-8', errors='replace') as process:
        for line in process.stdout:
            lines.append((time.perf_counter() - start, line.rstrip()))
            if until and re.search(until, line):
                reached = True
                process.kill()
                break
    seconds = time.perf_counter() - start
    last = next((line for _, line in reversed(lines) if line), 'nothing')
    if process.returncode and not reached:
        raise SystemExit(f'{args[0]}: expected status 0, got {process.returncode}; its last line: {last}')
    if until and not reached:
        raise SystemExit(f'{args[0]}: expected a line with {until!r}, got none; its last line: {last}')
    return lines, seconds


def run_worker(harness, request):
    """The figures that compare_worker.py measures for a request, by name."""
    common = {'device': harness.machine['device'], 'nanogpt': harness.nanogpt,
              'seed': harness.settings['seed']}
    lines, _ = run_and_time([WORKER, json.dumps({**common, **request})], harness.folder, harness.env)
    return json.loads(next(line for _, line in reversed(lines) if line.startswith('{')))


def train_pocketgpt(harness, name, args, until=None):
    """run_and_time for our train.py, whose run goes to harness.folder/name."""
    return run_training(harness, name, [os.path.join(ROOT, 'train.py'), *args], until=until)


def train_nanogpt(harness, name, args, until=None, script='train.py', cache=''):
    """
    run_and_time for nanoGPT's train.py, run in nanoGPT's folder.

    script: path of a changed copy of it
    cache: runs with the same name here share the compiler's cache; '': start with an empty one
    """
    return run_training(harness, name, [os.path.join(harness.nanogpt, script), *args], harness.nanogpt, until,
                        cache)


def run_training(harness, name, args, cwd=None, until=None, cache=''):
    """run_and_time for either train.py, with the flags that both need."""
    run_dir = os.path.join(harness.folder, name)
    env = harness.env | {'TORCHINDUCTOR_CACHE_DIR': os.path.join(harness.folder, cache or f'{name}/cache')}
    if cwd: # a changed copy of nanoGPT's train.py lies elsewhere, but imports from there
        env['PYTHONPATH'] = os.pathsep.join(filter(None, (cwd, env.get('PYTHONPATH'))))
    os.makedirs(run_dir)
    args = [*args, *SMOKE_TEST_FLAGS * harness.smoke_test, f'--out_dir={run_dir}',
            f"--device={harness.machine['device']}"]
    return run_and_time(args, cwd, env, until)


def score(harness, name, data, file='ckpt.pt', eval_tokens=0):
    """{val_loss, parameters, context} of a run in harness.folder on the bins in data."""
    return run_worker(harness, {
        'task': 'score', 'data': data, 'checkpoint': os.path.join(harness.folder, name, file),
        'dtype': 'float32' if harness.machine['device'] == 'cpu' else 'bfloat16', 'eval_tokens': eval_tokens})


def remove_run(harness, name):
    """Remove the folder of a run: a checkpoint of 124M parameters with its optimizer state takes 1.5 GB."""
    shutil.rmtree(os.path.join(harness.folder, name))


def find_numbers(lines, pattern):
    """[(seconds, number)] of the lines that match a pattern, whose first group is the number."""
    matches = ((seconds, re.search(pattern, line)) for seconds, line in lines)
    return [(seconds, float(match[1])) for seconds, match in matches if match]


# ---- figures ----

def record_result(harness, row, side, run, figures, case=''):
    """Append the figures of one measurement to the results file, and print them."""
    record = {'row': row, 'case': case, 'side': side, 'run': run, 'figures': figures, **harness.machine,
              'smoke_test': harness.smoke_test, 'date': datetime.date.today().isoformat()}
    path = harness.settings['out']
    with write_errors(path), open(path, 'a', encoding='utf-8') as file:
        file.write(json.dumps(record) + '\n')
    numbers = [f'{COLUMNS[name][0]} {formatted(name, figures[name])}' for name in COLUMNS
               if figures.get(name) is not None]
    print(f'  {" ".join(filter(None, (row, case, side)))}, run {run}: {", ".join(numbers)}', flush=True)


def load_results(harness, row, side):
    """The figures that the results file has of a side on a device of this name, oldest first."""
    if not os.path.exists(harness.settings['out']):
        return []
    with open(harness.settings['out'], encoding='utf-8') as file:
        records = [json.loads(line) for line in file]
    same = {'row': row, 'device_name': harness.machine['device_name'], 'smoke_test': harness.smoke_test}
    return [r['figures'] for r in records if r['side'].startswith(side)
            and all(r.get(key) == value for key, value in same.items())]


def run_interleaved(harness, row, candidates, case='', runs=0):
    """
    {side: summary} of interleaved runs of the candidates, and a printed table of them.

    candidates: {side: function of the number of the run, from 1 on, that returns figures}
    runs: 0: as many as the settings say
    """
    results = {side: [] for side in candidates}
    for run in range(1, (runs or harness.settings['runs']) + 1):
        for side, measure in candidates.items():
            results[side].append(measure(run))
            record_result(harness, row, side, run, results[side][-1], case)
    summaries = {side: summarize(figures) for side, figures in results.items()}
    print(table(f'{row} {case}'.strip(), summaries), flush=True)
    return summaries


def summarize(results):
    """{name: {median, min, max, mean}} of a list of figures, for the names that all of them have."""
    columns = {name: [figures.get(name) for figures in results] for name in COLUMNS} if results else {}
    return {name: {'median': median(values), 'min': min(values), 'max': max(values), 'mean': mean(values)}
            for name, values in columns.items() if None not in values}


def formatted(name, value, unit=True):
    """A figure as it is printed, with or without its unit."""
    _, factor, form, suffix = COLUMNS[name]
    return f'{value * factor:{form}}' + suffix * unit


def table(title, summaries):
    """A row for each side: medians, followed by (min to max) where they differ."""
    names = [name for name in COLUMNS if any(name in summary for summary in summaries.values())]
    rows = [[title, *(COLUMNS[name][0] for name in names)]]
    for side, summary in summaries.items():
        rows.append([side])
        for name in names:
            if name not in summary:
                rows[-1].append('n/a')
                continue
            middle, low, high = (formatted(name, summary[name][key], unit=False)
                                 for key in ('median', 'min', 'max'))
            rows[-1].append((middle if low == high else f'{middle} ({low} to {high})') + COLUMNS[name][3])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join('  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in rows)


def ratio(summaries, name, numerator='pocketGPT', denominator='nanoGPT'):
    """The quotient of two sides' medians of a figure."""
    return summaries[numerator][name]['median'] / summaries[denominator][name]['median']


# ---- updates, each candidate in a process of its own ----

def training_request(harness, size, changes):
    """A request for compare_worker.py: a model of a size and how it is trained, with changes."""
    return {'arch': 'gpt2', 'dtype': 'auto', 'compile': False, 'betas': [0.9, 0.95], **SIZES[size], **changes,
            **(TINY if harness.smoke_test else {})}


def run_throughput(harness, row, size, candidates, case=''):
    """run_interleaved for the task throughput. candidates: {name that begins with the side: changes}"""
    def measure(name):
        request = training_request(harness, size, candidates[name])
        return run_worker(harness, {**request, 'task': 'throughput', 'side': name.split()[0]})
    return run_interleaved(harness, row, {name: lambda run, name=name: measure(name) for name in candidates},
                           case)


def fastest(found, prefix):
    """The name of the candidate with the highest median tokens/s among those that begin with prefix."""
    names = [name for name in found if name.startswith(prefix)]
    return max(names, key=lambda name: found[name]['tokens_per_second']['median'])
