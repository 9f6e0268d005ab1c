"""
How fast this machine trains and writes: times train.train_step and generate.generate on made-up tokens.

    python bench.py
    python bench.py --arch=gpt2 --n_layer=12 --n_head=12 --n_embd=768 --block_size=1024 --vocab_size=50304
"""
from configurator import configure

# what is timed
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

# how it is timed
steps = 20 # updates that count; the median is reported
warmup_steps = 3 # updates before them, which do not
new_tokens = 100 # written one by one for the decode figure; 0: leave it out
seed = 1337 # of weights and tokens

# machine
device = 'auto' # auto (cuda, mps or cpu), cpu, cuda, cuda:1, mps
dtype = 'auto' # auto, float32, bfloat16, or float16 (cuda only)
compile = 'auto' # torch.compile: true, false, or auto, where it pays
peak_tflops = 0.0 # what the device could do at best, for mfu; 0: known for common GPUs, else mfu is n/a

config = configure(globals())

# after the settings, so that --help and a typo answer at once
import os

os.environ.setdefault('GOMP_SPINCOUNT', '100000') # as train.py does, and for its reason

import json
import time
from statistics import median

import torch

from device import autocast_for, choose_compile, choose_device, choose_dtype, peak_flops
from generate import generate
from model import GPT, GPTConfig
from optim import make_optimizers
from train import train_step


def wait_for(device):
    """Return when the device has done all that it was given, so that a clock read now is right."""
    if device.startswith('cuda'):
        torch.cuda.synchronize(device)
    elif device == 'mps':
        torch.mps.synchronize()


def seconds_of(action, device):
    """Seconds that action() takes, all its work on the device included."""
    wait_for(device)
    began = time.perf_counter()
    action()
    wait_for(device)
    return time.perf_counter() - began


def peak_memory(device):
    """The most bytes in use so far: of GPU memory, or of this process; 0 where the system does not say."""
    if device.startswith('cuda'):
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError: # Windows
        return 0
    import sys
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)


def time_training(model, compiled, optimizers, batches, autocast, scaler, counts, device):
    """{first_step_s, step_ms, step_ms_min, step_ms_max, optimizer_ms}. counts: (warm-up, timed) updates."""
    def update():
        train_step(compiled, optimizers, batches, autocast, scaler, 1.0)

    def only_optimizers():
        for each in optimizers:
            each.step()

    first = seconds_of(update, device) # compiling included
    for _ in range(counts[0]):
        update()
    times = [1e3 * seconds_of(update, device) for _ in range(counts[1])]
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    only_optimizers()
    alone = median(1e3 * seconds_of(only_optimizers, device) for _ in range(counts[1]))
    return {'first_step_s': first, 'step_ms': median(times), 'step_ms_min': min(times),
            'step_ms_max': max(times), 'optimizer_ms': alone}


def time_decoding(model, n_tokens, device):
    """Median milliseconds from one new token to the next, batch 1, with the cache, after a prompt of 8."""
    model.eval()
    idx = torch.zeros(1, min(8, model.config.block_size), dtype=torch.int64, device=device)
    times, began = [], None
    for _ in generate(model, idx, n_tokens + 1, temperature=0):
        wait_for(device)
        if began is not None:
            times.append(1e3 * (time.perf_counter() - began))
        began = time.perf_counter()
    return median(times)


def main():
    wanted, _ = choose_device(device)
    used_dtype, _ = choose_dtype(dtype, wanted)
    compiling, _ = choose_compile(compile, wanted)
    wrong = [f'{name} must be at least 1' for name in ('batch_size', 'gradient_accumulation_steps', 'steps')
             if config.settings[name] < 1]
    wrong += [f'{name} must not be negative' for name in ('warmup_steps', 'new_tokens')
              if config.settings[name] < 0]
    if optimizer not in ('auto', 'muon', 'adamw'):
        wrong.append(f'optimizer must be auto, muon or adamw, got {optimizer!r}')
    if wrong:
        raise SystemExit('bench.py: ' + '; '.join(wrong))
    torch.manual_seed(seed)
    model = GPT(GPTConfig(arch=arch, vocab_size=vocab_size, block_size=block_size, n_layer=n_layer,
                          n_head=n_head, n_kv_head=n_kv_head, n_embd=n_embd)).to(wanted)
    name = torch.cuda.get_device_name(wanted) if wanted.startswith('cuda') \
        else f'{torch.get_num_threads()} threads'
    print(f'{arch} {model.n_params() / 1e6:.2f}M parameters | {wanted} ({name}) | '
          f'torch {torch.__version__} | {used_dtype} | {"compiled" if compiling else "eager"}')

    kind = {'modern': 'muon', 'gpt2': 'adamw'}[arch] if optimizer == 'auto' else optimizer
    optimizers = make_optimizers(model, kind, 1e-3, 0.02, 0.1, (0.9, 0.95),
                                 torch.float32 if used_dtype == 'float32' else torch.bfloat16)
    idx = torch.randint(vocab_size, (batch_size, block_size + 1), device=wanted)
    batches = [(idx[:, :-1], idx[:, 1:])] * gradient_accumulation_steps
    scaler = torch.amp.GradScaler('cuda') if used_dtype == 'float16' else None
    figures = time_training(model, torch.compile(model) if compiling else model, optimizers, batches,
                            autocast_for(wanted, used_dtype), scaler, (warmup_steps, steps), wanted)
    tokens_per_second = 1e3 * idx[:, 1:].numel() * gradient_accumulation_steps / figures['step_ms']
    achieved = tokens_per_second * model.flops_per_token()
    peak = peak_tflops * 1e12 or peak_flops(wanted, used_dtype)
    figures |= {'tokens_per_second': tokens_per_second, 'tflops': achieved / 1e12,
                'mfu': achieved / peak if peak else None, 'peak_memory_bytes': peak_memory(wanted),
                'decode_ms': time_decoding(model, new_tokens, wanted) if new_tokens else None}

    rows = [('train: one update', f'{figures["step_ms"]:.1f} ms',
             f'median of {steps}, {figures["step_ms_min"]:.1f} to {figures["step_ms_max"]:.1f}'),
            ('train: the optimizers in it', f'{figures["optimizer_ms"]:.1f} ms', kind),
            ('train: first update', f'{figures["first_step_s"]:.2f} s',
             'with compiling' if compiling else 'eager'),
            ('train: speed', f'{tokens_per_second:,.0f} tok/s', f'{figures["tflops"]:.3f} TFLOP/s'),
            ('train: mfu', f'{figures["mfu"]:.1%}' if peak else 'n/a',
             'share of the peak' if peak else 'set --peak_tflops'),
            ('peak memory', f'{figures["peak_memory_bytes"] / 2**20:,.0f} MiB', '')]
    if new_tokens:
        rows.append(('decode: one token', f'{figures["decode_ms"]:.2f} ms',
                     f'{1e3 / figures["decode_ms"]:,.0f} tok/s, batch 1'))
    for what, figure, remark in rows:
        print(f'{what:28} {figure:>16}   {remark}')
    card = {'device': wanted, 'device_name': name, 'torch': torch.__version__, 'dtype': used_dtype,
            'compiled': compiling, 'n_params': model.n_params()}
    print(json.dumps(config.settings | card | figures))


if __name__ == '__main__':
    main()
