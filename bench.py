"""
How fast this machine trains and writes: times train.train_step and generate.generate on made-up tokens.

    python bench.py                             # what the machine can do, and a table of standard models
    python bench.py --arch=gpt2 --n_layer=12    # one model: a flag of the first group means that
"""
from configurator import configure

# what is timed, when it is one model
batch_size = 16 # sequences in one forward pass
gradient_accumulation_steps = 1 # forward passes in one update
block_size = 256 # tokens in each sequence
arch = 'modern' # modern or gpt2
n_layer = 4 # blocks
n_head = 4 # attention heads
n_kv_head = 0 # heads of keys and values; 0: n_head; modern only
n_embd = 128 # width
vocab_size = 4096 # rows of the embedding table
optimizer = 'auto' # muon, adamw, or auto: muon for modern, adamw for gpt2

# how it is timed; the large ones of the standard models take less of the first three
steps = 20 # updates that count; the median is reported
warmup_steps = 3 # updates between the very first and those that count
new_tokens = 128 # written one by one, as far as the context reaches; 0: time no writing
seed = 1337 # of weights and tokens
profile = '' # write a trace of three updates of one model to this file, for chrome://tracing or perfetto

# machine
device = 'auto' # auto (cuda, mps or cpu), cpu, cuda, cuda:1, mps
dtype = 'auto' # auto, float32, bfloat16, or float16 (cuda only)
compile = 'auto' # torch.compile: true, false, or auto, where it pays
peak_tflops = 0.0 # what the device could do at best, for mfu; 0: known for common GPUs, else mfu is n/a
matmul_tflops = 0.0 # what a large matrix product reaches here in dtype, TFLOP/s; 0: measure it
copy_gb_per_s = 0.0 # what a large copy reads and writes here together, GB/s; 0: measure it

config = configure(globals())

# after the settings, so that --help and a typo answer at once
import os

os.environ.setdefault('GOMP_SPINCOUNT', '100000') # as train.py does, and for its reason

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import date
from statistics import median

import numpy as np
import torch

from data import bins
from data.tokenizer import CharTokenizer
from lib.checkpoint import save
from lib.device import (
    autocast_for,
    choose_compile,
    choose_device,
    choose_dtype,
    median_seconds,
    peak_flops,
    peak_memory,
    timed,
    wait_for,
)
from lib.generate import generate
from lib.optim import make_optimizers
from lib.quantize import Int8Linear, quantize
from model import GPT, GPTConfig
from train import load_batch, train_step

MODEL = ('arch', 'vocab_size', 'block_size', 'n_layer', 'n_head', 'n_kv_head', 'n_embd')
TIMED = (*MODEL, 'batch_size', 'gradient_accumulation_steps', 'optimizer')

DTYPES = 'float32', 'bfloat16', 'int8' # of the weights of a model that writes

# the standard models: each row as gpt2 and as modern
CASE = ('n_layer', 'n_head', 'n_embd', 'vocab_size', 'batch_size', 'block_size', 'steps', 'warmup_steps')
CPU_CASES = ((4, 4, 128, 65, 12, 64, 20, 3), (6, 6, 384, 4096, 16, 256, 8, 1),
             (12, 12, 768, 50304, 2, 256, 5, 1))
GPU_CASES = (6, 6, 384, 65, 64, 256, 20, 3), (12, 12, 768, 50304, 64, 1024, 20, 3)
LONG_CASE = 12, 12, 768, 50304, 8, 1024, 2, 0 # on a CPU, as gpt2 only: for its memory

# of their table: heading, unit, key of the figure, factor, width, format
COLUMNS = (('train', 'tok/s', 'tokens_per_second', 1, 10, ',.0f'), ('update', 'ms', 'step_ms', 1, 9, ',.1f'),
           ('optim', 'ms', 'optimizer_ms', 1, 8, '.1f'),
           ('optim', 'ns/tok', 'optimizer_ns_per_token', 1, 9, '.0f'),
           ('first', 's', 'first_step_s', 1, 7, '.2f'),
           ('peak', 'MiB', 'peak_memory_bytes', 2 ** -20, 8, ',.0f'),
           ('speed', 'TFLOP/s', 'tflops', 1, 8, '.3f'), ('matmul', '%', 'matmul_share', 100, 7, '.1f'),
           ('mfu', '%', 'mfu', 100, 6, '.1f'), ('wait', '%', 'data_share', 100, 6, '.2f'))


# ---- ceilings ----

def matmul_ceiling(device, dtype, n):
    """TFLOP/s of the product of two n x n matrices."""
    a, b = (torch.randn(n, n, device=device).to(getattr(torch, dtype)) for _ in range(2))
    return 2 * n ** 3 / median_seconds(device, 5, torch.mm, a, b) / 1e12


def copy_ceiling(device, n_bytes):
    """GB/s, read and written together, of the copy of a tensor of n_bytes."""
    source = torch.ones(n_bytes // 4, device=device)
    target = torch.empty_like(source)
    return 2 * n_bytes / median_seconds(device, 5, target.copy_, source) / 1e9


def ceilings(s, device, dtype):
    """What the device can do: matmul_tflops in dtype, copy_gb_per_s; measured where the settings s have 0."""
    n, n_bytes = (8192, 1 << 30) if device.startswith('cuda') else (2048, 1 << 28) # enough to keep it busy
    return {'matmul_tflops': s['matmul_tflops'] or matmul_ceiling(device, dtype, n),
            'copy_gb_per_s': s['copy_gb_per_s'] or copy_ceiling(device, n_bytes)}


# ---- one model ----

def write_tokens(folder, vocab_size, n_tokens, seed):
    """A train.bin of random tokens; returns of its meta what bins.open_bin needs."""
    meta = {'dtype': bins.bin_dtype(vocab_size).name}
    ids = np.random.default_rng(seed).integers(vocab_size, size=n_tokens, dtype=meta['dtype'])
    ids.astype(bins.little_endian(meta['dtype'])).tofile(os.path.join(folder, 'train.bin'))
    return meta


def next_batches(tokens, s, iter_num, device):
    """The batches of update iter_num under the settings s, from the disk to the device, as in train.py."""
    starts = bins.update_windows(len(tokens), s['block_size'],
                                 s['batch_size'] * s['gradient_accumulation_steps'], s['seed'], iter_num)
    return [tuple(load_batch(tokens, micro_batch, s['block_size'], device))
            for micro_batch in starts.reshape(-1, s['batch_size'])]


def time_updates(fetch, step, counts, device):
    """
    {first_step_s, step_ms, step_ms_min, step_ms_max, data_ms}; fetch and step take turns, as in train.py.

    fetch: number of an update -> its batches; step: batches -> an update made
    counts: (warm-up, timed) updates
    """
    waits, times = [], [] # milliseconds
    for iter_num in range(1 + sum(counts)):
        batches, seconds = timed(device, fetch, iter_num) # a GPU would be busy with the last update meanwhile
        waits.append(1e3 * seconds)
        times.append(1e3 * timed(device, step, batches)[1])
    waits, counted = waits[1 + counts[0]:], times[1 + counts[0]:]
    return {'first_step_s': times[0] / 1e3, # compiling included
            'step_ms': median(counted), 'step_ms_min': min(counted), 'step_ms_max': max(counted),
            'data_ms': median(waits)}


def time_optimizers(model, optimizers, count, device):
    """Median milliseconds of the optimizers' part of an update."""
    def every_step():
        for each in optimizers:
            each.step()

    for p in model.parameters(): # not zeros: memory that was never written is read faster
        p.grad = torch.full_like(p, 1e-3)
    return 1e3 * median_seconds(device, count, every_step)


def write_profile(path, fetch, step, first_iter, device):
    """A trace of three updates, for chrome://tracing; the file is complete or not there."""
    with torch.profiler.profile() as trace:
        for iter_num in range(first_iter, first_iter + 3):
            step(fetch(iter_num))
        wait_for(device)
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f'tmp-{name}') # the same ending: for .gz, torch compresses
    try:
        trace.export_chrome_trace(temporary)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        raise SystemExit(f'profile: {path} cannot be written ({str(error).splitlines()[0]}); '
                         'give another --profile=FILE') from None


def time_model(model, s, machine):
    """The figures that a clock and the system give; s: the settings, with the optimizer named."""
    device, dtype = machine['device'], machine['dtype']
    optimizers = make_optimizers(model, s['optimizer'], 1e-3, 0.02, 0.1, (0.9, 0.95),
                                 torch.float32 if dtype == 'float32' else torch.bfloat16)
    compiled = torch.compile(model) if machine['compiled'] else model
    autocast = autocast_for(device, dtype)
    scaler = torch.amp.GradScaler('cuda') if dtype == 'float16' else None

    def fetch(iter_num):
        return next_batches(tokens, s, iter_num, device)

    def step(batches):
        train_step(compiled, optimizers, batches, autocast, scaler, 1.0)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder: # Windows removes no mapped file
        meta = write_tokens(folder, s['vocab_size'], 5_000_000 + s['block_size'], s['seed'])
        tokens = bins.open_bin(folder, 'train', meta)
        figures = time_updates(fetch, step, (s['warmup_steps'], s['steps']), device)
        figures['optimizer_ms'] = time_optimizers(model, optimizers, s['steps'], device)
        figures['peak_memory_bytes'] = peak_memory(device) # now: what follows is no part of training
        if s['profile']:
            write_profile(s['profile'], fetch, step, 1 + s['warmup_steps'] + s['steps'], device)
    return figures | ceilings(s, device, dtype)


def derive(model, figures, tokens, peak):
    """
    The figures that follow from those of time_model.

    tokens: of one update; peak: FLOP/s by the data sheet, 0 if not known
    """
    tokens_per_second = 1e3 * tokens / figures['step_ms']
    tflops = tokens_per_second * model.flops_per_token() / 1e12
    return {'tokens_per_second': tokens_per_second, 'tflops': tflops,
            'matmul_share': tflops / figures['matmul_tflops'], 'mfu': 1e12 * tflops / peak if peak else None,
            'optimizer_ns_per_token': 1e6 * figures['optimizer_ms'] / tokens,
            'data_share': figures['data_ms'] / figures['step_ms']}


def bench_one(s, machine, card):
    """Times the model that the settings s describe and prints it, a line for each figure; returns them."""
    device = machine['device']
    torch.manual_seed(s['seed'])
    model = GPT(GPTConfig(**{name: s[name] for name in MODEL})).to(device)
    print(f'{s["arch"]} {model.n_params() / 1e6:.2f}M parameters | {card}', flush=True)
    kind = {'modern': 'muon', 'gpt2': 'adamw'}[s['arch']] if s['optimizer'] == 'auto' else s['optimizer']
    found = time_model(model, s | {'optimizer': kind}, machine)
    peak = s['peak_tflops'] * 1e12 or peak_flops(device, machine['dtype'])
    found |= derive(model, found, s['batch_size'] * s['gradient_accumulation_steps'] * s['block_size'], peak)

    rows = [('train: one update', f'{found["step_ms"]:.1f} ms',
             f'median of {s["steps"]}, {found["step_ms_min"]:.1f} to {found["step_ms_max"]:.1f}'),
            ('train: the optimizers in it', f'{found["optimizer_ms"]:.1f} ms',
             f'{found["optimizer_ns_per_token"]:,.0f} ns/tok, {kind}'),
            ('train: waiting for data', f'{found["data_ms"]:.2f} ms',
             f'{found["data_share"]:.2%} of an update'),
            ('train: first update', f'{found["first_step_s"]:.2f} s',
             'with compiling' if machine['compiled'] else 'eager'),
            ('train: speed', f'{found["tokens_per_second"]:,.0f} tok/s', f'{found["tflops"]:.3f} TFLOP/s, '
             f'{found["matmul_share"]:.1%} of a large product'),
            ('train: mfu', f'{found["mfu"]:.1%}' if peak else 'n/a',
             'share of the peak' if peak else 'set --peak_tflops'),
            ('peak memory', f'{found["peak_memory_bytes"] / 2**20:,.0f} MiB', '')]
    for what, figure, remark in rows:
        print(f'{what:28} {figure:>16}   {remark}')
    return {'n_params': model.n_params(), **found}


# ---- writing ----

def prepare_to_write(model, dtype, device):
    """The model with weights of dtype, one of DTYPES, ready to write."""
    model.eval()
    if dtype == 'int8':
        quantize(model)
    return model.to(device) if dtype == 'int8' else model.to(device, getattr(torch, dtype))


def products_of_a_token(model):
    """A function that multiplies each matrix of the model with a vector: the least that a new token costs."""
    layers = [layer for layer in model.modules() if isinstance(layer, (torch.nn.Linear, Int8Linear))]
    like = model.transformer.wte.weight
    inputs = [torch.ones(1, 1, layer.weight.size(1), dtype=like.dtype, device=like.device)
              for layer in layers]

    @torch.no_grad()
    def multiply():
        for layer, x in zip(layers, inputs, strict=True):
            layer(x)
    return multiply


def time_tokens(model, context, count, device, compiled, between=None):
    """
    Median milliseconds from one new token to the next, batch 1, after context tokens.

    between: a function that takes turns with the tokens; then the median milliseconds of both
    """
    idx = torch.zeros(1, context, dtype=torch.int64, device=device)
    steps, times = generate(model, idx, count + 3, compiled=compiled), ([], [])
    for _ in range(count + 3):
        times[0].append(timed(device, next, steps)[1])
        if between:
            times[1].append(timed(device, between)[1])
    found = [1e3 * median(each[3:]) for each in times if each] # without the prompt, and what a compiler takes
    return found if between else found[0]


def time_writing(model, dtype, n_tokens, device, compiled):
    """{decode_ms, matvec_ms, decode_ms_ctx10, decode_ms_ctx1000}; the last is None for a short context."""
    model, T = prepare_to_write(model, dtype, device), model.config.block_size
    decode, products = time_tokens(model, min(8, T), max(1, min(n_tokens, T - 11)), device, compiled,
                                   products_of_a_token(model))
    few = min(24, n_tokens)
    return {'decode_ms': decode, 'matvec_ms': products,
            'decode_ms_ctx10': time_tokens(model, min(10, T), few, device, compiled),
            'decode_ms_ctx1000': time_tokens(model, 1000, min(few, T - 1003), device, compiled)
            if T > 1003 else None}


def bench_writing(s, device, compiled):
    """Times a model of the settings s for each dtype of its weights; prints a line each, returns all."""
    found = []
    for dtype in DTYPES:
        torch.manual_seed(s['seed'])
        model = GPT(GPTConfig(**{name: s[name] for name in MODEL}))
        n_params = model.n_params()
        row = time_writing(model, dtype, s['new_tokens'], device, compiled)
        far = f'{row["decode_ms_ctx1000"]:8.2f} {row["decode_ms_ctx1000"] / row["decode_ms_ctx10"]:6.2f}' \
            if row['decode_ms_ctx1000'] else f'{"n/a":>8} {"n/a":>6}'
        print(f'{s["arch"]:6}{n_params / 1e6:8.1f} {dtype:>9} {row["decode_ms"]:9.2f} '
              f'{1e3 / row["decode_ms"]:7,.0f} {row["matvec_ms"]:9.2f} '
              f'{row["decode_ms"] / row["matvec_ms"]:6.2f} {row["decode_ms_ctx10"]:8.2f} {far}', flush=True)
        found.append({'arch': s['arch'], 'n_params': n_params, 'weights': dtype, **row})
    return found


def time_sample(device, runs=3):
    """Median seconds of sample.py from its start to its end: 10 texts of 500 characters, 0.8M parameters."""
    letters = CharTokenizer('\n' + ''.join(chr(i) for i in range(32, 96)))
    model = GPT(GPTConfig(vocab_size=65, block_size=64, n_layer=4, n_head=4, n_embd=128))
    here, times = os.path.dirname(os.path.abspath(__file__)), []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'ckpt.pt')
        save({'model': model.state_dict(), 'model_config': asdict(model.config),
              'tokenizer': letters.to_json(), 'iter_num': 0}, path)
        command = [sys.executable, os.path.join(here, 'sample.py'), f'--checkpoint={path}',
                   '--num_samples=10', '--max_new_tokens=500', f'--device={device}']
        for _ in range(runs):
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - began)
    return median(times)


WRITING_HEADINGS = ('writing   size   weights     token         products  ratio   ctx 10 ctx 1000  ratio\n'
                    '       M param             ms/tok   tok/s    ms/tok          ms/tok   ms/tok')


def by_dtype(rows):
    """{figure: {dtype: value}} of the rows of one model."""
    names = 'decode_ms', 'matvec_ms', 'decode_ms_ctx10', 'decode_ms_ctx1000'
    return {name: {row['weights']: row[name] for row in rows} for name in names}


# ---- the standard models ----

def standard_cases(device):
    """What the settings of each standard model are, a list of dicts."""
    on_gpu = device.startswith('cuda')
    rows = [(arch, *row) for row in (GPU_CASES if on_gpu else CPU_CASES) for arch in ('gpt2', 'modern')]
    rows += [] if on_gpu else [('gpt2', *LONG_CASE)]
    return [dict(zip(('arch', *CASE), row, strict=True)) for row in rows]


def writing_cases(s):
    """The settings s with the shape of each standard model that writes; the first is GPT-2."""
    rows = [(arch, *row) for row in ((12, 12, 768, 50304, 1024, 128), (6, 6, 384, 4096, 256, 245))
            for arch in ('gpt2', 'modern')]
    names = 'arch', 'n_layer', 'n_head', 'n_embd', 'vocab_size', 'block_size', 'new_tokens'
    return [s | dict(zip(names, row, strict=True)) for row in rows]


def run_case(case, s):
    """The JSON of one case, which gets a process of its own, so that the peak of memory is its own, too."""
    limited = {name: min(case[name], s[name]) for name in ('steps', 'warmup_steps')} | {'new_tokens': 0}
    flags = [f'--{name}={value}' for name, value in (s | case | limited).items()]
    result = subprocess.run([sys.executable, os.path.abspath(__file__), *flags], capture_output=True,
                            encoding='utf-8')
    if result.returncode == 0:
        return json.loads(result.stdout.splitlines()[-1])
    said = result.stderr.strip().splitlines() # nothing when the system ended it, for want of memory
    return case | {'error': said[-1] if said else f'ended with status {result.returncode}'}


def table_line(arch, size, batch, cells):
    columns = (f' {cell:>{width - 1}}' for cell, (*_, width, _) in zip(cells, COLUMNS, strict=True))
    return f'{arch:6}{size:>8}{batch:>11}' + ''.join(columns)


def bench_all(cases, s, machine, card):
    """Measures the ceilings, runs the cases under the settings s, prints both; returns all for JSON."""
    device, dtype = machine['device'], machine['dtype']
    known = ceilings(s, device, dtype)
    in_float32 = known['matmul_tflops'] if dtype == 'float32' else \
        ceilings(known | {'matmul_tflops': 0}, device, 'float32')['matmul_tflops']
    if device.startswith('cuda'):
        torch.cuda.empty_cache() # the cases need it
    print(f'{card}\nmatmul: {known["matmul_tflops"]:.3f} TFLOP/s in {dtype}, {in_float32:.3f} in float32 | '
          f'copy: {known["copy_gb_per_s"]:.1f} GB/s read and written')
    print(table_line('model', 'size', 'batch', [heading for heading, *_ in COLUMNS]))
    print(table_line('', 'M param', 'seq x tok', [unit for _, unit, *_ in COLUMNS]), flush=True)
    results = []
    for case in cases:
        results.append(run_case(case, s | known))
        found, batch = results[-1], f'{case["batch_size"]} x {case["block_size"]}'
        if 'error' in found:
            print(f'{case["arch"]:6}{"?":>8}{batch:>11}   {found["error"][:200]}', flush=True)
        else:
            cells = ['n/a' if found[key] is None else format(found[key] * factor, form)
                     for _, _, key, factor, _, form in COLUMNS]
            print(table_line(case['arch'], f'{found["n_params"] / 1e6:.1f}', batch, cells), flush=True)
    return {'ceilings': known | {'matmul_float32_tflops': in_float32}, 'cases': results, **machine}


def check(s, single):
    """SystemExit with all that is impossible in the settings s. single: whether one model is timed."""
    wrong = [f'{name} must be at least 1' for name in ('batch_size', 'gradient_accumulation_steps', 'steps')
             if s[name] < 1]
    wrong += [f'{name} must not be negative' for name in ('warmup_steps', 'new_tokens', 'peak_tflops',
                                                          'matmul_tflops', 'copy_gb_per_s') if s[name] < 0]
    if s['optimizer'] not in ('auto', 'muon', 'adamw'):
        wrong.append(f'optimizer must be auto, muon or adamw, got {s["optimizer"]!r}')
    if s['profile'] and not single:
        wrong.append('profile is of one model; add a flag of its shape, such as --arch=modern')
    if os.path.isdir(s['profile']) or not os.path.isdir(os.path.dirname(s['profile']) or '.'):
        wrong.append(f'profile must be a file in a folder that exists, got {s["profile"]!r}')
    if wrong:
        raise SystemExit('bench.py: ' + '; '.join(wrong))


def main():
    used_device, _ = choose_device(device)
    used_dtype, _ = choose_dtype(dtype, used_device)
    compiling, _ = choose_compile(compile, used_device)
    single = bool(config.files or config.typed.intersection(TIMED))
    check(config.settings, single)
    name = torch.cuda.get_device_name(used_device) if used_device.startswith('cuda') \
        else f'{torch.get_num_threads()} threads'
    machine = {'device': used_device, 'device_name': name, 'torch': torch.__version__, 'dtype': used_dtype,
               'compiled': compiling, 'threads': torch.get_num_threads(), 'date': date.today().isoformat()}
    card = f'{used_device} ({name}) | torch {torch.__version__} | {used_dtype} | ' \
        f'{"compiled" if compiling else "eager"} | {machine["date"]}'
    if single:
        found = config.settings | machine | bench_one(config.settings, machine, card)
    else:
        found = bench_all(standard_cases(used_device), config.settings, machine, card)
    if new_tokens:
        print(WRITING_HEADINGS, flush=True)
        cases = [config.settings] if single else writing_cases(config.settings)
        found['writing'] = [row for case in cases for row in bench_writing(case, used_device, compiling)]
        found |= by_dtype(found['writing'][:len(DTYPES)])
    if new_tokens and not single:
        found['sample_s'] = time_sample(used_device)
        print(f'sample.py, 10 texts of 500 characters, 0.8M parameters: {found["sample_s"]:.2f} s')
    print(json.dumps(found))


if __name__ == '__main__':
    main()
