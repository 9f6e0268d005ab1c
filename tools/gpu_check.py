"""
Does everything work on this GPU, and how fast? One table, and a line of JSON at the end; under ten minutes.

    python tools/gpu_check.py                # all checks
    python tools/gpu_check.py --smoke_test   # tiny models, on any device: shows that the checks run

losses      20 updates of both architectures in float32, bfloat16 and float16, eager and compiled, against
            float32 on the CPU; the loss in chunks against the plain one
text        greedy decoding on the CPU and on the GPU, eager and compiled: the same tokens
waits       an update does not wait for the GPU (torch.cuda.set_sync_debug_mode)
runs        train.py: stopped by SIGTERM and resumed; a batch that is too large ends in one line
training    tokens/s, MFU and seconds to the first update of GPT-2 (124M) in both architectures
decoding    tokens/s of GPT-2 (124M) at batch size 1, eager and compiled, by dtype of the weights
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from configurator import configure

checks = 'losses,text,waits,runs,training,decoding' # what to check, of the list above
device = 'auto' # auto, cuda, cuda:1; cpu with --smoke_test
smoke_test = False # tiny models, any device: shows that the checks run, measures nothing
batch_size = 32 # training: sequences of 1,024 tokens

config = configure(globals())

# after the settings, so that --help and errors do not wait for torch
import itertools
import json
import platform
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from copy import deepcopy
from datetime import date
from glob import glob
from itertools import islice

import numpy as np
import torch

from bench import time_decoding
from data.messages import describe
from lib.checkpoint import RunState
from lib.device import autocast_for, capture_cuda_graphs, choose_compile, choose_device, compile_parts
from lib.generate import generate
from lib.log import StepMonitor, read_log
from lib.optim import make_optimizers
from lib.quantize import prepare_for_inference
from lib.timing import synchronize
from model import GPT, MAX_LOGITS, GPTConfig
from train import load_batch, train_step

ARCHS = 'gpt2', 'modern'
# how far the mean loss of 20 updates may be from float32 on the CPU, in nats per token
BANDS = {'float32': 1e-4, 'bfloat16': 0.02, 'float16': 0.02}
SMALL = dict(vocab_size=512, block_size=128, n_layer=3, n_head=4, n_embd=128)
GPT2_124M = dict(vocab_size=50304, block_size=1024, n_layer=12, n_head=12, n_embd=768)


class Table:
    """The results: printed as they come, and kept for the JSON."""

    def __init__(self):
        self.rows, self.failed = [], 0

    def add(self, check, what, found, ok=None):
        """ok: None for a figure that is only measured."""
        verdict = '' if ok is None else 'ok' if ok else 'FAILED'
        self.failed += ok is False
        self.rows.append({'check': check, 'what': what, 'found': found, 'ok': ok})
        print(f'{check:9} {what:52} {found:>34}  {verdict}'.rstrip(), flush=True)


def versions(device):
    """What the table says about the machine."""
    found = {'date': date.today().isoformat(), 'system': platform.platform(), 'device': device,
             'python': platform.python_version(), 'torch': torch.__version__}
    if device.startswith('cuda'):
        found |= {'gpu': torch.cuda.get_device_name(device), 'cuda': torch.version.cuda,
                  'capability': torch.cuda.get_device_capability(device),
                  'cudnn': torch.backends.cudnn.version()}
    return found


@contextmanager
def full_precision():
    """Within it, float32 products are not rounded to TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('highest')
    yield
    torch.set_float32_matmul_precision(before)


# ---- losses ----

def batches(count, where, seed=0):
    """count batches of text with structure, int64 (8, 128): each token depends on the one before it."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(512, (count, 8, 129), generator=generator)
    x[..., 1::2] = (3 * x[..., :-1:2] + 1) % 512
    return [(each[:, :-1].contiguous().to(where), each[:, 1:].contiguous().to(where)) for each in x]


def train_small(arch, where, dtype, mode='eager', updates=20):
    """(losses of the updates, the model) of a small GPT from the same weights on the same batches."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(arch=arch, **SMALL)).to(where)
    if 'compiled' in mode:
        compile_parts(model)
    if 'graph' in mode:
        capture_cuda_graphs(model, 8, autocast_for(where, dtype))
    optimizers = make_optimizers(model, 'auto', 1e-3, 0.02, 0.1, (0.9, 0.95), 'float32')
    scaler = torch.amp.GradScaler('cuda', init_scale=256.0) if dtype == 'float16' else None
    losses = [train_step(model, optimizers, [batch], autocast_for(where, dtype), scaler, 1.0)[0].item()
              for batch in batches(updates, where)]
    return losses, model


def check_losses(table, device, can_compile):
    for arch in ARCHS:
        expected, _ = train_small(arch, 'cpu', 'float32')
        on_gpu = device.startswith('cuda')
        modes = ['eager'] + on_gpu * ['CUDA graph'] + can_compile * ['compiled, CUDA graph']
        for dtype, mode in itertools.product(list(BANDS)[:2 + on_gpu], modes):
            with full_precision():
                found, _ = train_small(arch, device, dtype, mode)
            far = max(abs(a - b) for a, b in zip(found, expected, strict=True))
            table.add('losses', f'{arch} {dtype} {mode}, 20 updates',
                      f'at most {far:.1e} off, {expected[0]:.3f} -> {found[-1]:.3f}', far < BANDS[dtype])
        check_chunks(table, device, arch)


def check_chunks(table, device, arch):
    """The loss and gradients in chunks against those of all logits at once."""
    torch.manual_seed(0)
    model, (batch,) = GPT(GPTConfig(arch=arch, **SMALL)).to(device), batches(1, device)
    found, most = [], dict(MAX_LOGITS)
    for limit in (1 << 24, 100 * 512):
        MAX_LOGITS.update(dict.fromkeys(most, limit))
        model.zero_grad()
        with full_precision():
            loss = model(*batch)
            loss.backward()
        found.append(torch.cat([loss.detach()[None], *(p.grad.flatten() for p in model.parameters())]))
    MAX_LOGITS.update(most)
    far = ((found[0] - found[1]).norm() / found[0].norm()).item()
    table.add('losses', f'{arch} in chunks, loss and gradients', f'relative error {far:.1e}', far < 1e-5)


# ---- text ----

def check_text(table, device, can_compile):
    for arch in ARCHS:
        _, model = train_small(arch, 'cpu', 'float32', updates=40)
        on_device = deepcopy(model).to(device).eval()
        idx = batches(1, 'cpu')[0][0][:1, :9]
        with full_precision():
            expected = [t.item() for t in generate(model.eval(), idx, 110)]
            for compiled in (False, True)[:1 + can_compile]:
                tokens = [t.item() for t in generate(on_device, idx.to(device), 110, compiled=compiled)]
                same = sum(a == b for a, b in zip(tokens, expected, strict=True))
                table.add('text', f'{arch} greedy, {"compiled" if compiled else "eager"}, against the CPU',
                          f'{same} of {len(expected)} tokens equal', same == len(expected))


# ---- waits ----

def check_waits(table, device, can_compile):
    if not device.startswith('cuda'):
        return
    tokens = np.random.default_rng(0).integers(512, size=10_000).astype(np.uint16)
    for arch in ARCHS:
        torch.manual_seed(0)
        model = GPT(GPTConfig(arch=arch, dropout=0.1, **SMALL)).to(device)
        optimizers = make_optimizers(model, 'auto', 1e-3, 0.02, 0.1, (0.9, 0.95), 'bfloat16')
        monitor = StepMonitor(RunState(), 10)
        waits = ''
        for i in range(4): # the first sets up what waits once, such as the libraries
            torch.cuda.set_sync_debug_mode('error' if i else 'default')
            try:
                batch = load_batch(tokens, np.arange(8) * 100, 128, device)
                stats = train_step(model, optimizers, [batch], autocast_for(device, 'bfloat16'), None, 1.0)
                monitor.push(i, 1e-3, stats)
                monitor.read(lag=1)
            except RuntimeError as error:
                waits = describe(error)[:60]
            finally:
                torch.cuda.set_sync_debug_mode('default')
        table.add('waits', f'{arch}: batch, update and its check', waits or 'none', not waits)


# ---- runs ----

def run_train(folder, *flags, stop_after=None):
    """(exit status, stdout, stderr) of train.py; stop_after: the start of a line, then send SIGTERM."""
    command = [sys.executable, os.path.join(ROOT, 'train.py'), *flags]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               encoding='utf-8')
    printed = []
    if stop_after:
        for line in process.stdout:
            printed.append(line)
            if line.startswith(stop_after):
                process.send_signal(signal.SIGTERM)
                break
    out, err = process.communicate()
    return process.returncode, ''.join(printed) + out, err


def check_runs(table, device, can_compile):
    with tempfile.TemporaryDirectory() as folder:
        text = os.path.join(folder, 'text.txt')
        with open(text, 'w', encoding='utf-8') as file:
            for path in sorted(glob(os.path.join(ROOT, '*.py')) + glob(os.path.join(ROOT, '*', '*.py'))):
                with open(path, encoding='utf-8') as source:
                    file.write(source.read())
        flags = [f'--input={text}', f'--device={device}', '--max_iters=200', '--eval_interval=100',
                 '--log_interval=20', '--batch_size=8', '--block_size=128', '--sample_tokens=20']
        if smoke_test:
            flags += ['--n_layer=1', '--n_embd=32']
        losses, began = {}, time.perf_counter()
        for name in 'whole', 'stopped':
            status, out, err = run_train(folder, *flags, f'--out_dir={name}',
                                         stop_after='iter 100/' if name == 'stopped' else None)
            if name == 'stopped':
                stopped = 'stopped by SIGTERM' in out
                status, out, err = run_train(folder, *flags, '--out_dir=stopped', '--init_from=resume')
                table.add('runs', 'stopped by SIGTERM', 'saved' if stopped else 'not stopped', stopped)
            if status:
                return table.add('runs', f'{name} run', (err.strip().splitlines() or [out])[-1][:120], False)
            losses[name] = [r['val_loss'] for r in read_log(os.path.join(folder, name, 'log.jsonl'))
                            if 'val_loss' in r][-1]
        far = abs(losses['whole'] - losses['stopped'])
        table.add('runs', 'resumed, against one that was never stopped',
                  f"val {losses['stopped']:.4f}, {losses['whole']:.4f}", far < 0.02)
        table.add('runs', 'seconds of both', f'{time.perf_counter() - began:.1f}')
        if device.startswith('cuda'):
            flags += ['--batch_size=8192', '--block_size=1024', '--n_embd=2048', '--n_head=16',
                      '--n_layer=48', '--out_dir=large', '--compile=False']
            status, out, err = run_train(folder, *flags)
            line = err.strip().splitlines() or ['']
            good = status == 1 and len(line) == 1 and 'out of memory' in line[0]
            table.add('runs', 'a batch that is too large ends in one line', line[-1][:34], good)


# ---- speed ----

def run_bench(*flags, cache):
    """The JSON of bench.py. cache: folder of the compiler's cache"""
    result = subprocess.run([sys.executable, os.path.join(ROOT, 'bench.py'), *flags], capture_output=True,
                            encoding='utf-8', env=os.environ | {'TORCHINDUCTOR_CACHE_DIR': cache})
    if result.returncode:
        raise SystemExit((result.stderr.strip().splitlines() or [f'status {result.returncode}'])[-1])
    return json.loads(result.stdout.splitlines()[-1])


def check_training(table, device, can_compile):
    shape = SMALL if smoke_test else GPT2_124M
    flags = [f'--{name}={value}' for name, value in shape.items()]
    flags += [f'--device={device}', f'--batch_size={2 if smoke_test else batch_size}', '--tables=train']
    known = []
    for arch in ARCHS:
        with tempfile.TemporaryDirectory() as cache:
            found = run_bench(*flags, *known, f'--arch={arch}', '--steps=20', cache=cache)
            known = [f"--matmul_tflops={found['matmul_tflops']}", f"--copy_gb_per_s={found['copy_gb_per_s']}"]
            mfu = f", MFU {found['mfu']:.1%}" if found['mfu'] else ''
            table.add('training', f"{arch} {found['n_params'] / 1e6:.0f}M, {found['dtype']}",
                      f"{found['tokens_per_second']:,.0f} tokens/s{mfu}")
            table.add('training', f'{arch}: an update, of which optimizer',
                      f"{found['step_ms']:.1f} ms, {found['optimizer_ms']:.1f} ms")
            table.add('training', f'{arch}: peak memory', f"{found['peak_memory_bytes'] / 1e9:.1f} GB")
            again = run_bench(*flags, *known, f'--arch={arch}', '--steps=1', '--warmup_steps=0', cache=cache)
            table.add('training', f'{arch}: first update, compiler cache cold and warm',
                      f"{found['first_step_s']:.1f} s, {again['first_step_s']:.1f} s")
    table.add('training', 'large matrix product, copy',
              f"{found['matmul_tflops']:.0f} TFLOP/s, {found['copy_gb_per_s']:.0f} GB/s")


def check_decoding(table, device, can_compile):
    shape = SMALL if smoke_test else GPT2_124M
    for arch in ARCHS:
        for dtype in ('float32', 'bfloat16', 'int8'):
            torch.manual_seed(0)
            model = prepare_for_inference(GPT(GPTConfig(arch=arch, **shape)), dtype, device)
            found = []
            for compiled in (False, True)[:1 + can_compile]:
                began = time.perf_counter()
                list(islice(generate(model, torch.zeros(1, 8, dtype=torch.int64, device=device), 3,
                                     compiled=compiled), 3))
                synchronize(device)
                first = time.perf_counter() - began
                ms, _ = time_decoding(model, 8, 100, device, compiled)
                found.append(f'{1e3 / ms:,.0f} ({first:.0f} s)')
            table.add('decoding', f'{arch} {dtype}: tokens/s, eager and compiled', ', '.join(found))


CHECKS = {'losses': check_losses, 'text': check_text, 'waits': check_waits, 'runs': check_runs,
          'training': check_training, 'decoding': check_decoding}


def main():
    names = checks.split(',')
    if unknown := [name for name in names if name not in CHECKS]:
        raise SystemExit(f'checks: expected some of {", ".join(CHECKS)}, got {unknown[0]!r}')
    used, _ = choose_device(device)
    if not used.startswith('cuda') and not smoke_test:
        raise SystemExit(f'device: expected a CUDA GPU, got {used}; add --smoke_test to see whether it works')
    can_compile = choose_compile('auto' if used.startswith('cuda') else 'false', used)[0]
    about = versions(used)
    print(*(f'{name}: {value}' for name, value in about.items()), sep='\n', flush=True)
    table, began = Table(), time.perf_counter()
    for name in names:
        try:
            CHECKS[name](table, used, can_compile)
        except (SystemExit, Exception) as error: # the other checks still say something
            table.add(name, 'ended with an error', describe(error)[:300], False)
    print(json.dumps(about | {'seconds': time.perf_counter() - began, 'failed': table.failed,
                              'rows': table.rows}))
    if table.failed:
        raise SystemExit(f'gpu_check: {table.failed} of {len(table.rows)} checks failed')


if __name__ == '__main__':
    main()
