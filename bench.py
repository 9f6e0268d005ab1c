"""
Throughput, latency and memory of training and generation on this machine, measured on random tokens.

    python bench.py                             # matmul and copy throughput, and a table of standard models
    python bench.py --tables=decode             # one of the two tables
    python bench.py --arch=gpt2 --n_layer=12    # one model: any setting of the first group selects this
"""
from configurator import configure

# the model and its batch
batch_size = 16 # sequences per forward pass
gradient_accumulation_steps = 1 # forward passes per update
block_size = 256 # context length, tokens
arch = 'modern' # modern or gpt2
n_layer = 4 # transformer blocks
n_head = 4 # attention heads
n_kv_head = 0 # key/value heads (grouped-query attention); 0: n_head; modern only
n_embd = 128 # embedding dimension
vocab_size = 4096 # rows of the embedding table
optimizer = 'auto' # muon, adamw, or auto: muon for modern, adamw for gpt2

# the measurement; the standard models use at most their own steps and warm-up steps, and their own new_tokens
tables = 'train,decode' # tables to measure: train, decode or train,decode
steps = 20 # timed updates; the median is reported
warmup_steps = 3 # updates after the first one and before the timed ones
new_tokens = 128 # tokens decoded one at a time, as far as the context reaches
seed = 1337 # of weights and tokens
profile = '' # write a Chrome trace of three updates of one model to this file, for perfetto; .gz compresses

# machine
device = 'auto' # auto (cuda, mps or cpu), cpu, cuda, cuda:1, mps
dtype = 'auto' # auto, float32 (on cuda TF32), bfloat16, or float16 (cuda only)
compile = 'auto' # torch.compile: true, false, or auto: on where it is usually faster
peak_tflops = 0.0 # peak TFLOP/s of the device, for MFU; 0: from a table of common GPUs
matmul_tflops = 0.0 # TFLOP/s of a large matrix product in dtype; 0: measure it
copy_gb_per_s = 0.0 # memory bandwidth of a large copy, GB/s read plus written; 0: measure it

config = configure(globals())

# after the settings, so that --help and errors do not wait for torch
import os

if __name__ == '__main__':
    # before torch loads OpenMP: threads that spin long while they wait starve each other on a busy machine
    os.environ.setdefault('GOMP_SPINCOUNT', '6000')

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import fields
from datetime import date
from statistics import median

import numpy as np
import torch

from data import bins
from data.files import atomic_write
from lib.device import (
    Machine,
    choose_compile,
    choose_device,
    choose_dtype,
    peak_flops,
    prepare_model,
    set_up_device,
)
from lib.generate import generate
from lib.optim import make_optimizers
from lib.quantize import Int8Linear, SplitLinear, prepare_for_inference
from lib.timing import copy_bandwidth, matmul_throughput, median_seconds, peak_memory, synchronize, timed
from model import GPT, GPTConfig
from train import load_micro_batches, train_step

HYPERPARAMETERS = tuple(f.name for f in fields(GPTConfig))
SELECTS_ONE_MODEL = {*HYPERPARAMETERS, 'batch_size', 'gradient_accumulation_steps', 'optimizer'}
WEIGHT_DTYPES = 'float32', 'bfloat16', 'int8' # that generation is timed with

# the standard models: each row as gpt2 and as modern
CASE = ('n_layer', 'n_head', 'n_embd', 'vocab_size', 'batch_size', 'block_size', 'steps', 'warmup_steps')
CPU_CASES = ((4, 4, 128, 65, 12, 64, 20, 3), (6, 6, 384, 4096, 16, 256, 8, 1),
             (12, 12, 768, 50304, 2, 256, 3, 0))
GPU_CASES = (6, 6, 384, 65, 64, 256, 20, 3), (12, 12, 768, 50304, 64, 1024, 20, 3)
DECODE_CASE = 'n_layer', 'n_head', 'n_embd', 'vocab_size', 'block_size', 'new_tokens'
DECODE_CASES = (12, 12, 768, 50304, 1024, 128), (6, 6, 384, 4096, 256, 245)

# columns of the two tables: heading, unit, key of the figure, factor, width, format
TRAIN_COLUMNS = (('train', 'tok/s', 'tokens_per_second', 1, 10, ',.0f'),
                 ('update', 'ms', 'step_ms', 1, 9, ',.1f'),
                 ('optim', 'ms', 'optimizer_ms', 1, 8, '.1f'),
                 ('optim', 'ns/tok', 'optimizer_ns_per_token', 1, 9, '.0f'),
                 ('first', 's', 'first_step_s', 1, 7, '.2f'),
                 ('peak', 'MiB', 'peak_memory_bytes', 2 ** -20, 8, ',.0f'),
                 ('compute', 'TFLOP/s', 'tflops', 1, 8, '.3f'),
                 ('matmul', '%', 'matmul_utilization', 100, 7, '.1f'), ('mfu', '%', 'mfu', 100, 6, '.1f'),
                 ('data', '%', 'data_fraction', 100, 6, '.2f'))
DECODE_COLUMNS = (('decode', 'ms/tok', 'decode_ms', 1, 10, '.2f'),
                  ('', 'tok/s', 'tokens_per_second', 1, 8, ',.0f'),
                  ('GEMV', 'ms/tok', 'gemv_ms', 1, 9, '.2f'), ('ratio', '', 'decode_over_gemv', 1, 7, '.2f'),
                  ('ctx 10', 'ms/tok', 'decode_ms_ctx10', 1, 9, '.2f'),
                  ('ctx 1000', 'ms/tok', 'decode_ms_ctx1000', 1, 10, '.2f'),
                  ('ratio', '', 'ctx1000_over_ctx10', 1, 7, '.2f'))


def build_model(s):
    """A GPT with the hyperparameters among the settings s; those that s lacks keep GPTConfig's defaults."""
    return GPT(GPTConfig(**{name: s[name] for name in HYPERPARAMETERS if name in s}))


# ---- roofline: what the device reaches in one large operation ----

def roofline(s, device, dtype):
    """{matmul_tflops in dtype, copy_gb_per_s} of the device; measured where the settings s have 0."""
    n, n_bytes = (8192, 1 << 30) if device.startswith('cuda') else (2048, 1 << 28) # enough to saturate it
    return {'matmul_tflops': s['matmul_tflops'] or matmul_throughput(device, dtype, n),
            'copy_gb_per_s': s['copy_gb_per_s'] or copy_bandwidth(device, n_bytes)}


# ---- training ----

def write_tokens(folder, vocab_size, n_tokens, seed):
    """Write a train.bin of random tokens; returns the part of its meta that bins.open_bin needs."""
    meta = {'dtype': bins.bin_dtype(vocab_size).name}
    ids = np.random.default_rng(seed).integers(vocab_size, size=n_tokens, dtype=meta['dtype'])
    ids.astype(bins.little_endian(meta['dtype'])).tofile(os.path.join(folder, 'train.bin'))
    return meta


def time_updates(fetch, step, warmup_steps, steps, device):
    """
    {first_step_s, step_ms, step_ms_min, step_ms_max, data_ms} of steps updates, after 1 + warmup_steps.

    fetch: function of iter_num that returns the batches; step: function of the batches that does one update
    """
    data_ms, step_ms = [], []
    for iter_num in range(1 + warmup_steps + steps):
        batches, seconds = timed(device, fetch, iter_num) # on a GPU this would overlap the previous update
        data_ms.append(1e3 * seconds)
        step_ms.append(1e3 * timed(device, step, batches)[1])
    data_ms, timed_ms = data_ms[1 + warmup_steps:], step_ms[1 + warmup_steps:]
    return {'first_step_s': step_ms[0] / 1e3, # includes compilation
            'step_ms': median(timed_ms), 'step_ms_min': min(timed_ms), 'step_ms_max': max(timed_ms),
            'data_ms': median(data_ms)}


def time_optimizers(model, optimizers, count, device):
    """Median milliseconds of the optimizer steps of one update."""
    def step_all():
        for each in optimizers:
            each.step()

    for p in model.parameters(): # not zeros: pages of memory that were never written are read faster
        p.grad = torch.full_like(p, 1e-3)
    return 1e3 * median_seconds(device, count, step_all)


def write_profile(path, fetch, step, first_iter, device):
    """Write a Chrome trace of three updates. SystemExit with one line if path cannot be written."""
    with torch.profiler.profile() as trace:
        for iter_num in range(first_iter, first_iter + 3):
            step(fetch(iter_num))
        synchronize(device)
    with atomic_write(path, advice='choose another --profile=FILE') as target, \
            tempfile.TemporaryDirectory() as folder:
        exported = os.path.join(folder, os.path.basename(path)) # the same suffix: torch compresses .gz
        trace.export_chrome_trace(exported)
        with open(exported, 'rb') as source:
            shutil.copyfileobj(source, target)


def time_training(model, s, machine):
    """The measured figures of training a model under the settings s, and the names of its optimizers."""
    device, dtype = machine['device'], machine['dtype']
    optimizers = make_optimizers(model, s['optimizer'], 1e-3, 0.02, 0.1, (0.9, 0.95), dtype)
    trainer = Machine(device, dtype, machine['compiled'])
    model, prepare_s = timed(device, prepare_model, model, s['batch_size'], trainer)
    autocast = trainer.autocast()
    scaler = trainer.scaler()

    def fetch(iter_num):
        return load_micro_batches(tokens, s, s['block_size'], iter_num, device)

    def step(batches):
        train_step(model, optimizers, batches, autocast, scaler, 1.0)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder: # Windows removes no mapped file
        meta = write_tokens(folder, s['vocab_size'], 5_000_000 + s['block_size'], s['seed'])
        tokens = bins.open_bin(folder, 'train', meta)
        figures = time_updates(fetch, step, s['warmup_steps'], s['steps'], device)
        figures['first_step_s'] += prepare_s
        figures['optimizer_ms'] = time_optimizers(model, optimizers, s['steps'], device)
        figures['peak_memory_bytes'] = peak_memory(device) # before anything that is not training
        if s['profile']:
            write_profile(s['profile'], fetch, step, 1 + s['warmup_steps'] + s['steps'], device)
    return {'optimizers': [type(each).__name__ for each in optimizers], **figures,
            **roofline(s, device, dtype)}


def derived_figures(model, figures, tokens, peak):
    """
    The figures that follow from those of time_training.

    tokens: in one update; peak: FLOP/s of the device, 0 if not known
    """
    tokens_per_second = 1e3 * tokens / figures['step_ms']
    tflops = tokens_per_second * model.flops_per_token() / 1e12
    return {'tokens_per_second': tokens_per_second, 'tflops': tflops,
            'matmul_utilization': tflops / figures['matmul_tflops'],
            'mfu': 1e12 * tflops / peak if peak else None,
            'optimizer_ns_per_token': 1e6 * figures['optimizer_ms'] / tokens,
            'data_fraction': figures['data_ms'] / figures['step_ms']}


def known_peak(s, machine):
    """Peak FLOP/s of the device: what the user gave, the data sheet's, or 0."""
    return s['peak_tflops'] * 1e12 or peak_flops(machine['device'], machine['dtype'])


def bench_training(s, machine, card):
    """Time the training of one model under the settings s; print one line per figure and return them."""
    torch.manual_seed(s['seed'])
    model = build_model(s).to(machine['device'])
    print(f'{s["arch"]} {model.n_params() / 1e6:.2f}M parameters | {card}', flush=True)
    found = time_training(model, s, machine)
    tokens = s['batch_size'] * s['gradient_accumulation_steps'] * s['block_size']
    found |= derived_figures(model, found, tokens, known_peak(s, machine))

    lines = [('one update', f'{found["step_ms"]:.1f} ms',
              f'median of {s["steps"]}, {found["step_ms_min"]:.1f} to {found["step_ms_max"]:.1f}'),
             ('of which optimizer', f'{found["optimizer_ms"]:.1f} ms',
              f'{found["optimizer_ns_per_token"]:,.0f} ns/tok, {" + ".join(found["optimizers"])}'),
             ('loading its batches', f'{found["data_ms"]:.2f} ms',
              f'{found["data_fraction"]:.2%} of an update'),
             ('first update', f'{found["first_step_s"]:.2f} s',
              'compilation included' if machine['compiled'] else 'eager'),
             ('throughput', f'{found["tokens_per_second"]:,.0f} tok/s',
              f'{found["tflops"]:.3f} TFLOP/s, {found["matmul_utilization"]:.1%} of a large matmul')]
    if found['mfu'] is not None:
        lines.append(('mfu', f'{found["mfu"]:.1%}', 'of the peak FLOP/s of the device'))
    lines.append(('peak memory', f'{found["peak_memory_bytes"] / 2 ** 20:,.0f} MiB', ''))
    for name, figure, remark in lines:
        print(f'train: {name:21} {figure:>16}   {remark}'.rstrip())
    return {'n_params': model.n_params(), **found}


# ---- generation ----

def gemv_lower_bound(model):
    """
    A function that does one matrix-vector product (GEMV) with each weight matrix of the model.

    Its time is a lower bound for decoding a token at batch size 1, which is bound by memory bandwidth.
    """
    kinds = torch.nn.Linear, Int8Linear, SplitLinear
    layers = [layer for layer in model.modules() if isinstance(layer, kinds)]
    like = model.transformer.wte.weight
    inputs = [torch.ones(1, 1, layer.weight.size(1), dtype=like.dtype, device=like.device)
              for layer in layers]

    @torch.no_grad()
    def multiply():
        for layer, x in zip(layers, inputs, strict=True):
            layer(x)
    return multiply


def time_decoding(model, context, count, device, compiled, other=None):
    """
    (median milliseconds per token of decoding count tokens at batch size 1 after a prompt of context tokens,
    those of other or None).

    other: a function that is called after each token, so that both medians are of the same moments
    """
    idx = torch.zeros(1, context, dtype=torch.int64, device=device)
    tokens, decode_s, other_s = generate(model, idx, count + 3, compiled=compiled), [], []
    for _ in range(count + 3):
        decode_s.append(timed(device, next, tokens)[1])
        if other:
            other_s.append(timed(device, other)[1])
    # the first three hold the prefill and compilation
    return 1e3 * median(decode_s[3:]), 1e3 * median(other_s[3:]) if other else None


def decode_figures(model, dtype, n_tokens, device, compiled):
    """The figures of DECODE_COLUMNS for weights of dtype; None for a context of 1,000 that does not fit."""
    model, T = prepare_for_inference(model, dtype, device), model.config.block_size
    decode_ms, gemv_ms = time_decoding(model, min(8, T), max(1, min(n_tokens, T - 11)), device, compiled,
                                       gemv_lower_bound(model))
    few = min(24, n_tokens)
    short, _ = time_decoding(model, min(10, T), few, device, compiled)
    long = time_decoding(model, 1000, min(few, T - 1003), device, compiled)[0] if T > 1003 else None
    return {'decode_ms': decode_ms, 'tokens_per_second': 1e3 / decode_ms,
            'gemv_ms': gemv_ms, 'decode_over_gemv': decode_ms / gemv_ms,
            'decode_ms_ctx10': short, 'decode_ms_ctx1000': long,
            'ctx1000_over_ctx10': long / short if long else None}


def bench_decoding(s, device, compiled):
    """Time generation with the model of the settings s in each weight dtype; print and return a row each."""
    rows = []
    for dtype in WEIGHT_DTYPES:
        torch.manual_seed(s['seed'])
        model = build_model(s)
        row = {'arch': s['arch'], 'n_params': model.n_params(), 'weight_dtype': dtype}
        row |= decode_figures(model, dtype, s['new_tokens'], device, compiled)
        print(table_row(label(s['arch'], row['n_params'], dtype), row, DECODE_COLUMNS), flush=True)
        rows.append(row)
    return rows


def by_dtype(rows):
    """{figure: {weight dtype: value}} of the rows of one model."""
    names = 'decode_ms', 'gemv_ms', 'decode_ms_ctx10', 'decode_ms_ctx1000'
    return {name: {row['weight_dtype']: row[name] for row in rows} for name in names}


# ---- tables ----

def label(arch, n_params, what):
    """The left part of a row. what: the batch, or the dtype of the weights"""
    return f'{arch:6}{n_params / 1e6:8.1f}{what:>11}'


def table_row(left, figures, columns):
    """A row of a table; n/a for a figure that is None."""
    cells = ['n/a' if figures[key] is None else format(figures[key] * factor, form)
             for _, _, key, factor, _, form in columns]
    return left + ''.join(f' {cell:>{column[4] - 1}}' for cell, column in zip(cells, columns, strict=True))


def table_head(what, columns):
    """The two heading lines. what: the heading of the column after the model's size"""
    rows = f'{"model":6}{"size":>8}{what:>11}', f'{"":6}{"M param":>8}{"":>11}'
    return '\n'.join(left + ''.join(f' {column[i]:>{column[4] - 1}}' for column in columns)
                     for i, left in enumerate(rows))


# ---- the standard models ----

def standard_cases(device):
    """The settings of each standard model for the training table, a list of dicts."""
    on_gpu = device.startswith('cuda')
    rows = [(arch, *row) for row in (GPU_CASES if on_gpu else CPU_CASES) for arch in ('gpt2', 'modern')]
    return [dict(zip(('arch', *CASE), row, strict=True)) for row in rows]


def decode_cases(s):
    """The settings s with the shape of each standard model for the decoding table; GPT-2 (124M) first."""
    rows = [(arch, *row) for row in DECODE_CASES for arch in ('gpt2', 'modern')]
    return [s | dict(zip(('arch', *DECODE_CASE), row, strict=True)) for row in rows]


def run_case(case, s):
    """The figures of one case, measured in a process of its own, so that peak memory is that of this case."""
    limited = {name: min(case[name], s[name]) for name in ('steps', 'warmup_steps')} | {'tables': 'train'}
    flags = [f'--{name}={value}' for name, value in (s | case | limited).items()]
    result = subprocess.run([sys.executable, os.path.abspath(__file__), *flags], capture_output=True,
                            encoding='utf-8')
    if result.returncode == 0:
        return json.loads(result.stdout.splitlines()[-1])
    message = result.stderr.strip().splitlines() # empty if the process was killed, usually out of memory
    return case | {'error': message[-1] if message else f'exit status {result.returncode}'}


def bench_all(cases, s, machine, card):
    """Measure the roofline and each case under the settings s; print a table and return all for the JSON."""
    device, dtype = machine['device'], machine['dtype']
    measured = roofline(s, device, dtype)
    in_float32 = measured['matmul_tflops'] if dtype == 'float32' else \
        roofline(measured | {'matmul_tflops': 0}, device, 'float32')['matmul_tflops']
    if device.startswith('cuda'):
        torch.cuda.empty_cache() # the processes of the cases need the memory
    print(card, f'matmul: {measured["matmul_tflops"]:.3f} TFLOP/s in {dtype}, {in_float32:.3f} in float32 | '
          f'copy: {measured["copy_gb_per_s"]:.1f} GB/s read plus written', sep='\n')
    columns = [column for column in TRAIN_COLUMNS if column[2] != 'mfu' or known_peak(s, machine)]
    print(table_head('batch x T', columns), flush=True)
    results = []
    for case in cases:
        results.append(run_case(case, s | measured))
        found, batch = results[-1], f'{case["batch_size"]} x {case["block_size"]}'
        print(f'{case["arch"]:6}{"?":>8}{batch:>11}   {found["error"][:200]}' if 'error' in found else
              table_row(label(case['arch'], found['n_params'], batch), found, columns), flush=True)
    return {'roofline': measured | {'matmul_float32_tflops': in_float32}, 'cases': results, **machine}


def check(s, single):
    """SystemExit with all that is wrong with the settings s. single: whether one model is to be measured."""
    wrong = [f'{name}: expected at least {least}, got {s[name]}'
             for least, names in ((1, ('batch_size', 'gradient_accumulation_steps', 'steps', 'new_tokens')),
                                  (0, ('warmup_steps', 'peak_tflops', 'matmul_tflops', 'copy_gb_per_s')))
             for name in names if s[name] < least]
    if not s['tables'] or not {*s['tables'].split(',')} <= {'train', 'decode'}:
        wrong.append(f'tables: expected train, decode or train,decode, got {s["tables"]!r}')
    if s['optimizer'] not in ('auto', 'muon', 'adamw'):
        wrong.append(f'optimizer: expected auto, muon or adamw, got {s["optimizer"]!r}')
    if s['profile'] and not single:
        wrong.append('profile: expected one model to trace, got none; add a setting of its shape, such as '
                     '--arch=modern')
    folder = os.path.dirname(s['profile']) or '.'
    if os.path.isdir(s['profile']) or not os.path.isdir(folder) \
            or not os.access(s['profile'] if os.path.exists(s['profile']) else folder, os.W_OK):
        wrong.append(f'profile: expected a writable file in an existing folder, got {s["profile"]!r}')
    if s['profile'] and 'train' not in s['tables']:
        wrong.append('profile: expected the table train among tables, since it traces updates; leave it out')
    if wrong:
        raise SystemExit('bench.py: ' + '; '.join(wrong))
    with torch.device('meta'): # takes no memory
        build_model(s)


def main():
    single = bool(config.files or config.typed & SELECTS_ONE_MODEL)
    check(config.settings, single)
    used_device, _ = choose_device(device)
    used_dtype, _ = choose_dtype(dtype, used_device)
    set_up_device(used_device)
    compiling, _ = choose_compile(compile, used_device)
    name = torch.cuda.get_device_name(used_device) if used_device.startswith('cuda') \
        else f'{torch.get_num_threads()} threads'
    machine = {'device': used_device, 'device_name': name, 'torch': torch.__version__, 'dtype': used_dtype,
               'compiled': compiling, 'threads': torch.get_num_threads(), 'date': date.today().isoformat()}
    card = f'{used_device} ({name}) | torch {torch.__version__} | {used_dtype} | ' \
        f'{"compiled" if compiling else "eager"} | {machine["date"]}'
    found = {name: value for name, value in config.settings.items()
             if single or name not in SELECTS_ONE_MODEL | {'matmul_tflops', 'copy_gb_per_s'}} | machine
    if 'train' not in tables:
        print(card)
    elif single:
        found |= bench_training(config.settings, machine, card)
    else:
        found |= bench_all(standard_cases(used_device), config.settings, machine, card)
    if 'decode' in tables:
        cases = [config.settings] if single else decode_cases(config.settings)
        print(table_head('weights', DECODE_COLUMNS), flush=True)
        found['decode'] = [row for case in cases for row in bench_decoding(case, used_device, compiling)]
        found |= by_dtype(found['decode'][:len(WEIGHT_DTYPES)])
    print(json.dumps(found))


if __name__ == '__main__':
    main()
