"""
Train a GPT on a laptop, one GPU, or many.

    python train.py config/train_tinystories.py
    python train.py config/train_shakespeare_char.py --device=cpu --max_iters=600
    torchrun --standalone --nproc_per_node=8 train.py config/train_gpt2.py
"""
import math

from configurator import configure

# the run
out_dir = '' # where everything goes; '': out-<name of the config> in the working directory
init_from = 'scratch' # scratch, resume (goes on where out_dir stopped), gpt2, gpt2-medium, gpt2-large,
    # gpt2-xl, or a checkpoint file
overwrite = False # start anew in an out_dir that already holds a run, which is then lost
eval_only = False # print the validation loss; train and save nothing
seed = 1337 # of the weights, the order of the data, dropout and samples

# data
dataset = 'tinystories' # a folder of data/, or the path of one that holds train.bin, val.bin and meta.json
input = '' # a text file, or a folder of them, to train on instead of what the dataset would download
max_samples = -1 # take only so many documents from the hub; 0: all; -1: as the dataset's prepare.py has it
batch_size = 16 # sequences in one forward pass on one device; lower it when memory runs out
gradient_accumulation_steps = 1 # forward passes in one update, over all devices together
block_size = 256 # tokens of context; shortened, saying so, when the text is shorter

# model
depth = 0 # one dial for the size: 4 is 3M parameters, 12 is 85M, 26 is 0.9B, embeddings not counted; sets
    # n_layer, n_embd, n_head, batch, rate and length, but for those on the command line; 0: off
arch = 'modern' # modern (RoPE, RMSNorm, QK-norm, SwiGLU) or gpt2
n_layer = 4 # blocks
n_head = 4 # attention heads; must divide n_embd
n_kv_head = 0 # heads of keys and values, fewer make the cache smaller; 0: n_head; modern only
n_embd = 128 # width
dropout = 0.0 # 0 when each token is seen once, 0.1 to 0.2 when a small file is seen many times
bias = False # biases in linear layers and norms; gpt2 only
activation = 'gelu' # gelu (exact, as nanoGPT) or gelu_tanh (as OpenAI's weights want); gpt2 only
tie_weights = False # one table for reading and naming tokens; modern only, gpt2 always does
copying = True # attention starts by copying: good for words and names, bad for short runs on characters
vocab_size = 0 # rows of that table; 0: what the tokenizer has; more is padding, for speed on a GPU

# how long: the first limit reached ends the run; one on the command line puts those of config files aside
max_iters = 0 # updates; 0: no limit, or 1000 where nothing else ends the run
epochs = 0.0 # passes over the training text; 0: no limit
max_minutes = 0.0 # of training, over all resumes; the learning rate then falls by the clock; 0: no limit
patience = 0 # stop after so many evaluations in a row without a new best; 0: never

# optimizer
optimizer = 'auto' # muon (for matrices, adamw for the rest), adamw, or auto: muon for modern, adamw for gpt2
learning_rate = 1e-2 # of AdamW, at its highest; 1e-3 with optimizer=adamw, unless you say otherwise
muon_learning_rate = 0.02 # of Muon, at its highest; does not change with the model's size
muon_momentum = 0.95 # Muon's memory of the gradient, after 300 updates; 0.9 for runs of some hundred updates
weight_decay = 0.1 # of matrices, and with adamw of the embeddings, too
beta1 = 0.9 # AdamW's memory of the gradient
beta2 = 0.95 # AdamW's memory of its square
grad_clip = 1.0 # longest gradient that is let through; 0: any
max_bad_steps = 10 # stop after so many updates in a row whose loss or gradient was not finite

# learning rate over time
decay_lr = True # False: constant after the warm-up
schedule = 'linear' # shape of the fall: linear or cosine
decay_fraction = 0.7 # the fall takes this last share of the run; 1: all that follows the warm-up
warmup_iters = 20 # updates until the highest learning rate is reached
lr_decay_iters = 0 # the update at which min_lr is reached; 0: the last one
min_lr = 0.0 # where the fall ends; in proportion for Muon

# what is printed and kept, and how often (in updates; 0: never)
log_interval = 10 # a line with loss and speed
eval_interval = 250 # validation loss, always once more at the end
eval_tokens = 0 # how much of val is read for it; 0: all
sample_interval = 0 # a piece of text that the model writes now; always at the end
sample_tokens = 200 # how long such a text may get
save_interval = 0 # ckpt.pt, besides at every evaluation and at the end
wandb_log = False # send the log to wandb, too; WANDB_MODE=offline needs no account
wandb_project = 'pocketgpt' # its project there
wandb_run_name = '' # its name there; '': out_dir

# machine
device = 'auto' # auto (cuda, mps or cpu), cpu, cuda, cuda:1, mps
dtype = 'auto' # auto, float32, bfloat16, or float16 (with a gradient scaler; cuda only)
compile = 'auto' # torch.compile: true, false, or auto, where it pays
backend = 'auto' # how processes talk under torchrun: nccl, gloo, or auto, by device
peak_tflops = 0.0 # what the device could do at best, for mfu; 0: known for common GPUs, else mfu is n/a


def follow(s, typed, filed):
    """
    Settings that follow from others, where they are not given: a rate by the optimizer, much by depth.

    typed, filed: the names given on the command line and in config files; a depth that is typed puts what a
        file says of the size aside
    """
    all_adamw = s['optimizer'] == 'adamw' or (s['optimizer'] == 'auto' and s['arch'] == 'gpt2')
    rate = 1e-3 if all_adamw else 1e-2
    found = {} if 'learning_rate' in typed | filed else {'learning_rate': rate}
    given = typed if 'depth' in typed else typed | filed
    sizes = by_depth(s['depth'], s['block_size'], rate) if s['depth'] else {}
    return found | {name: value for name, value in sizes.items() if name not in given}


def by_depth(depth, block_size, rate):
    """
    What depth stands for: a model, and a run of 10 tokens for each of its parameters in 5,000 updates.

    rate: AdamW's for a width of 128; Muon's does not depend on the width
    """
    width = 128 * math.ceil(depth / 2)
    n_params = 12 * depth * width ** 2 # of the blocks
    # a power of two, so that it can be dealt to 2, 4 or 8 GPUs
    sequences = 1 << max(3, round(math.log2(10 * n_params / 5000 / block_size)))
    batch = min(sequences, 32)
    return {'n_layer': depth, 'n_embd': width, 'n_head': width // (64 if width < 768 else 128),
            'max_iters': 5000, 'batch_size': batch, 'gradient_accumulation_steps': sequences // batch,
            'learning_rate': rate * (128 / width) ** 0.5}


config = configure(globals(), derive=follow)

# after the settings, so that --help and a typo answer at once
import os

# before torch: threads that spin for long while they wait starve each other on a busy machine
os.environ.setdefault('GOMP_SPINCOUNT', '100000')

import shlex
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from data import bins
from data.tokenizer import from_json
from device import (
    autocast_for,
    choose_compile,
    choose_device,
    choose_dtype,
    peak_flops,
    start_processes,
    stop_processes,
    sum_over_ranks,
)
from generate import generate_texts
from log import Log, draw_loss, progress_line, start_wandb, validation_line
from model import GPT, GPTConfig, build, from_gpt2, read_checkpoint, save
from optim import all_groups, lr_share, make_optimizers, momentum_at, restore

HERE = os.path.dirname(os.path.abspath(__file__))
SHAPE = ('arch', 'n_layer', 'n_head', 'n_kv_head', 'n_embd', 'block_size', 'vocab_size', 'bias', 'activation',
         'tie_weights')


# ---- before the first update ----

def check(s):
    """SystemExit with all that is impossible in the settings s, before anything is read or made."""
    wrong = [f'{name} must be at least 1, got {s[name]}'
             for name in ('batch_size', 'gradient_accumulation_steps', 'block_size', 'max_bad_steps')
             if s[name] < 1]
    wrong += [f'{name} must not be negative, got {s[name]}' for name, value in s.items()
              if name != 'max_samples' and isinstance(value, (int, float)) and value < 0]
    wrong += [f'{name} must be below 1, got {s[name]}'
              for name in ('beta1', 'beta2', 'muon_momentum') if s[name] >= 1]
    if s['schedule'] not in ('linear', 'cosine'):
        wrong.append(f"schedule must be linear or cosine, got {s['schedule']!r}")
    if s['optimizer'] not in ('auto', 'muon', 'adamw'):
        wrong.append(f"optimizer must be auto, muon or adamw, got {s['optimizer']!r}")
    if not 0 < s['decay_fraction'] <= 1:
        wrong.append(f"decay_fraction must be above 0 and at most 1, got {s['decay_fraction']}")
    if s['lr_decay_iters'] and s['warmup_iters'] >= s['lr_decay_iters']:
        wrong.append(f"warmup_iters must be less than lr_decay_iters = {s['lr_decay_iters']}, "
                     f"got {s['warmup_iters']}")
    if s['min_lr'] > s['learning_rate']:
        wrong.append(f"min_lr must not be above learning_rate = {s['learning_rate']}, got {s['min_lr']}")
    if wrong:
        raise SystemExit('train.py: ' + '; '.join(wrong))


def limits(s, typed):
    """(max_iters, epochs, max_minutes) of the settings s, 0: no limit; what was typed goes alone."""
    names = ('max_iters', 'epochs', 'max_minutes')
    chosen = [name for name in names if s[name] and (name in typed or not typed.intersection(names))]
    return [s[name] if name in chosen else 0 for name in names] if chosen else [1000, 0, 0]


def share_of_rank(accumulation, world_size):
    """Micro-batches of one update for each process; SystemExit with the nearest totals that divide evenly."""
    if accumulation % world_size:
        below, above = accumulation // world_size * world_size, (accumulation // world_size + 1) * world_size
        raise SystemExit(f'gradient_accumulation_steps: {accumulation} micro-batches cannot be dealt evenly '
                         f'to {world_size} processes; '
                         f'nearest: {" or ".join(str(n) for n in (below, above) if n)}')
    return accumulation // world_size


def find_dataset(dataset, run_dir, own_text):
    """(folder of the bins, prepare.py that makes them or None). own_text: the bins are of this run alone."""
    folder = dataset if os.path.isdir(dataset) and os.path.exists(os.path.join(dataset, 'train.bin')) else \
        os.path.join(HERE, 'data', dataset)
    script = os.path.join(HERE, 'data', dataset, 'prepare.py')
    if not os.path.exists(script):
        script = None
    if script is None and not os.path.isdir(folder):
        known = sorted(name for name in os.listdir(os.path.join(HERE, 'data'))
                       if os.path.exists(os.path.join(HERE, 'data', name, 'prepare.py')))
        raise SystemExit(f'dataset: there is no data/{dataset}; known: {", ".join(known)}; '
                         'for a text of your own use --input=FILE')
    return (os.path.join(run_dir, 'data'), script) if own_text else (folder, script)


def prepare(folder, script, own_text, max_samples):
    """Run a dataset's prepare.py, which prints what it does; SystemExit with its status when it fails."""
    if script is None:
        raise SystemExit(f'{folder}: no train.bin, and no prepare.py that could make it')
    arguments = [f'--input={os.path.abspath(own_text)}'] * bool(own_text)
    arguments += [f'--max_samples={max_samples}'] * (max_samples >= 0)
    command = [sys.executable, script, f'--out={folder}', *arguments]
    print(f'{folder}: nothing prepared yet, so this runs first: python {shlex.join(command[1:])}', flush=True)
    status = subprocess.run(command).returncode
    if status:
        raise SystemExit(status) # it has said what went wrong


def shorten(block_size, meta, least=8):
    """block_size, or as much of it as one window of train and of val can fill."""
    tokens = {split: meta['splits'][split]['tokens'] for split in ('train', 'val')}
    shortest = min(tokens, key=tokens.get)
    room = tokens[shortest] - 1 # the last token has none after it
    if room < min(least, block_size):
        raise SystemExit(f'{shortest}.bin has {tokens[shortest]} tokens, need at least {least + 1}; '
                         'use a longer text')
    return min(block_size, room)


def load_batch(tokens, starts, block_size, device):
    """x, y int64 (B, T) on the device; the copy to a GPU goes on while the GPU works."""
    x, y = bins.get_batch(tokens, starts, block_size)
    if device.startswith('cuda'):
        return (t.pin_memory().to(device, non_blocking=True) for t in (x, y))
    return x.to(device), y.to(device)


# ---- one update, one evaluation ----

def dropout_seed(seed, iter_num, micro_step, rank):
    """A number for torch.manual_seed that depends on where we are and on nothing that came before."""
    state = np.random.SeedSequence([seed, iter_num, micro_step, rank]).generate_state(1, np.uint64)
    return int(state[0]) >> 1


def train_step(model, optimizers, batches, autocast, scaler=None, grad_clip=0.0, seeds=None):
    """
    One update from len(batches) micro-batches.

    batches: list of (x, y), int64 (B, T) on the model's device
    seeds: one for each micro-batch, for its dropout; None: leave torch's generator alone
    returns loss, norm, good, tensors on the device: mean loss in nats per token, length of the gradient, and
    whether the update was made, which it is not when either is not finite. Nothing here waits for the device.
    """
    loss = 0.0
    for micro_step, (x, y) in enumerate(batches):
        if isinstance(model, DistributedDataParallel): # gradients travel once, with the last micro-batch
            model.require_backward_grad_sync = micro_step == len(batches) - 1
        if seeds:
            torch.manual_seed(seeds[micro_step])
        with autocast:
            part = model(x, y) / len(batches)
        (scaler.scale(part) if scaler else part).backward()
        loss = loss + part.detach()
    if scaler:
        for each in optimizers:
            scaler.unscale_(each)
    parameters = [p for group in all_groups(optimizers) for p in group['params']]
    norm = torch.nn.utils.clip_grad_norm_(parameters, grad_clip or math.inf)
    if dist.is_initialized():
        dist.all_reduce(loss, op=dist.ReduceOp.SUM)
        loss /= dist.get_world_size()
    good = torch.isfinite(loss + norm)
    for each in optimizers:
        each.found_inf = (~good).float() # read on the device: no bad gradient may reach the weights
        each.step()
        each.zero_grad(set_to_none=True)
    if scaler:
        scaler.update()
    return loss, norm, good


@torch.no_grad()
def evaluate(model, tokens, starts, block_size, batch_size, autocast, device, rank=0, world_size=1):
    """
    Mean loss in nats per token over the windows that begin at starts: the same number every time.

    Every batch has the same shape (the last is filled up with targets that do not count), so a compiled model
    is not compiled again. The ranks share the batches.
    """
    was_training = model.training
    model.eval()
    total = count = 0.0
    for i in range(rank * batch_size, len(starts), world_size * batch_size):
        chosen = starts[i:i + batch_size]
        x, y = load_batch(tokens, np.resize(chosen, batch_size), block_size, device)
        y[len(chosen):] = -1
        with autocast:
            loss = model(x, y)
        total += loss.item() * len(chosen)
        count += len(chosen)
    model.train(was_training)
    total, count = sum_over_ranks([total, count], device)
    return total / count


def note_signals():
    """A list that receives the name of a SIGINT or SIGTERM, for the loop; a second one ends the process."""
    received = []

    def note(number, frame):
        received.append(signal.Signals(number).name)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    return received


def resume_command():
    """What to type to go on with this run."""
    # the last value wins, so the rest may stay
    old = [word for word in sys.argv[1:] if word != '--init_from=resume']
    start = 'torchrun ' + f"--standalone --nproc_per_node={os.environ['WORLD_SIZE']}" \
        if 'RANK' in os.environ else 'python'
    return f'{start} {shlex.join([sys.argv[0], *old])} --init_from=resume'


# ---- the run ----

def find_weights(init_from, run_dir):
    """The checkpoint to start from as a dict, and its name; ({}, '') for scratch."""
    if init_from == 'scratch':
        return {}, ''
    if init_from in ('gpt2', 'gpt2-medium', 'gpt2-large', 'gpt2-xl'):
        return from_gpt2(init_from), init_from
    path = os.path.join(run_dir, 'ckpt.pt') if init_from == 'resume' else init_from
    if init_from != 'resume' and not os.path.exists(path):
        raise SystemExit(f'init_from: expected scratch, resume, gpt2, gpt2-medium, gpt2-large, gpt2-xl or '
                         f'the path of a checkpoint, got {init_from!r}, which is none of these')
    checkpoint = read_checkpoint(path)
    if init_from == 'resume' and not checkpoint.get('optimizers'):
        raise SystemExit(f'{path}: holds weights only, so its run cannot go on; begin a new one with them: '
                         f'--init_from={path} --out_dir=ANOTHER')
    return checkpoint, path


def make_model(checkpoint, path, settings, typed, meta):
    """A GPT on the CPU of the checkpoint's shape, or without one, of the shape that the settings give."""
    vocab_size = settings['vocab_size'] or meta['vocab_size']
    if not checkpoint:
        shape = {name: settings[name] for name in SHAPE} | {
            'dropout': settings['dropout'], 'vocab_size': vocab_size,
            'block_size': shorten(settings['block_size'], meta)}
        if shape['block_size'] < settings['block_size']:
            print(f"block_size shortened from {settings['block_size']} to {shape['block_size']}: "
                  'the text is that short')
        torch.manual_seed(settings['seed'])
        model = GPT(GPTConfig(**shape), settings['copying'])
    else:
        shape = checkpoint['model_config']
        for name in SHAPE:
            shorter = (name == 'block_size' and settings[name] < shape.get(name, 0)
                       and settings['init_from'] != 'resume')
            # such as a block_size then shortened
            as_before = settings[name] == checkpoint.get('settings', {}).get(name)
            if (name in typed and name in shape and settings[name] != shape[name]
                    and not (shorter or as_before)):
                raise SystemExit(f'{path}: its {name} is {shape[name]}, the command line says '
                                 f'{settings[name]}; leave --{name} out, or start from scratch')
        block_size = shape['block_size']
        if settings['init_from'] != 'resume':
            block_size = min(block_size, settings['block_size'])
        model = build(checkpoint, path, settings['dropout'], shorten(block_size, meta))
        if checkpoint.get('tokenizer', meta['tokenizer']) != meta['tokenizer']:
            raise SystemExit(f'{path}: was trained with another tokenizer than the data is in; prepare the '
                             'data with the same one, or start from scratch')
    largest = max(meta['splits'][split]['largest_id'] for split in ('train', 'val'))
    if largest >= model.config.vocab_size:
        raise SystemExit(f'data: the largest id is {largest}, but the model knows ids below vocab_size = '
                         f'{model.config.vocab_size}; raise --vocab_size or prepare the data again')
    return model


def default_out_dir(config_files, dataset):
    """out-x for config/train_x.py; without a config file, for the dataset."""
    if config_files:
        return 'out-' + os.path.splitext(os.path.basename(config_files[-1]))[0].removeprefix('train_')
    return 'out-' + os.path.basename(os.path.normpath(dataset))


def make_folder(path):
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise SystemExit(f'out_dir: {path} cannot be made ({error.strerror}); '
                         'choose another --out_dir') from None


def settle(unsettled, lag, bad_steps, max_bad_steps, run_dir):
    """
    How many updates in a row were skipped because loss or gradient was not finite; says so for each.

    unsettled: list of (iter_num, loss, norm, good, lr) of updates not asked about yet; the last lag stay
    bad_steps: the number before them
    Raises SystemExit when it was one too many.
    """
    while len(unsettled) > lag:
        iter_num, loss, norm, good, lr = unsettled.pop(0)
        bad_steps = 0 if good else bad_steps + 1
        if not good:
            print(f'iter {iter_num} | loss {loss.item()} | lr {lr:.2e} | norm {norm.item()} | not finite, '
                  f'update skipped ({bad_steps} in a row, {max_bad_steps} end the run)', flush=True)
        if bad_steps >= max_bad_steps:
            raise diverged(f'loss or gradient was not finite {bad_steps} times in a row, '
                           f'last at iter {iter_num} with lr {lr:.2e}', run_dir)
    return bad_steps


def diverged(what, run_dir):
    return SystemExit(f'train.py: {what}; what {run_dir} holds is from before that; lower --learning_rate '
                      'and --muon_learning_rate')


def print_differences(old, new):
    """The settings that a resumed run has changed; its shape stays that of the checkpoint."""
    for name, value in new.items():
        if name in old and old[name] != value and name not in ('init_from', 'overwrite', 'eval_only', *SHAPE):
            print(f'resume: {name} was {old[name]}, is now {value}')


def show_samples(model, tokenizer, count, max_new_tokens, seed, device):
    """Print texts that the model writes now, always with the same seed, so that only the model changes."""
    try:
        tokenizer.encode('')
    except SystemExit as problem: # GPT-2's vocabulary is downloaded when text first comes, and that may fail
        return print(f'no text to show: {problem}', flush=True)
    model.eval()
    for text in generate_texts(model, tokenizer, '', count, max_new_tokens, temperature=0.6, seed=seed,
                               device=device):
        print('-' * 20 + f'\n{text.strip()}')
    print('-' * 20, flush=True)
    model.train()


def is_due(interval, iter_num):
    """Whether something that happens every interval updates happens now; an interval of 0 never does."""
    return interval > 0 and iter_num > 0 and iter_num % interval == 0


def time_left(iter_num, first_iter, last_iter, seconds, minutes, max_minutes):
    """
    Seconds until the first limit is reached; a limit of 0 is none.

    seconds: what the updates since first_iter took
    """
    left = [(last_iter - iter_num) * seconds / (iter_num - first_iter)] if last_iter else []
    return min(left + ([(max_minutes - minutes) * 60] if max_minutes else []))


def main():
    # settings that cannot be, and a run that must not be lost
    check(config.settings)
    run_dir = out_dir or default_out_dir(config.files, dataset)
    ckpt_path, best_path = os.path.join(run_dir, 'ckpt.pt'), os.path.join(run_dir, 'best.pt')
    resuming = init_from == 'resume'
    if os.path.exists(ckpt_path) and not (resuming or overwrite or eval_only):
        raise SystemExit(f'{run_dir} already holds a run; go on with it: --init_from=resume, or lose it: '
                         '--overwrite, or choose another --out_dir')

    # the machine
    wanted_device, device_reason = choose_device(device)
    rank, world_size, rank_device = start_processes(wanted_device, backend)
    master_process = rank == 0
    if not master_process:
        sys.stdout = open(os.devnull, 'w', encoding='utf-8') # only one process talks
    micro_steps = share_of_rank(gradient_accumulation_steps, world_size)
    rank_dtype, dtype_reason = choose_dtype(dtype, rank_device)
    compiling, compile_reason = choose_compile(compile, rank_device)
    print(f'torch {torch.__version__} | device {wanted_device} ({device_reason}) | '
          f'dtype {rank_dtype} ({dtype_reason}) | compile {"on" if compiling else "off"} ({compile_reason})'
          + (f' | {world_size} processes' if world_size > 1 else ''))
    autocast = autocast_for(rank_device, rank_dtype)
    scaler = torch.amp.GradScaler('cuda') if rank_dtype == 'float16' else None

    # the data
    checkpoint, checkpoint_name = find_weights(init_from, run_dir)
    folder, script = find_dataset(dataset, run_dir, own_text=bool(input) or max_samples >= 0)
    if master_process and (not os.path.exists(os.path.join(folder, 'train.bin')) or (input and not resuming)):
        prepare(folder, script, input, max_samples)
    if world_size > 1:
        dist.barrier()
    meta = bins.load_meta(folder)
    tokenizer = from_json(meta['tokenizer'])

    # the model
    raw_model = make_model(checkpoint, checkpoint_name, config.settings, config.typed, meta).to(rank_device)
    T, sequences = raw_model.config.block_size, batch_size * gradient_accumulation_steps
    n_train, n_val = (meta['splits'][split]['tokens'] for split in ('train', 'val'))
    updates_per_epoch = bins.windows_per_epoch(n_train, T) / sequences
    print(f'data {os.path.relpath(folder)}: {n_train:,} tokens to train on, {n_val:,} for validation | '
          f'1 epoch = {updates_per_epoch:,.1f} updates of {sequences * T:,} tokens '
          f'({batch_size} sequences x {T} tokens x {gradient_accumulation_steps} micro-batches)')
    print(f'model {raw_model.config.arch}: {raw_model.n_params():,} parameters | '
          f'{raw_model.config.n_layer} layers, {raw_model.config.n_embd} wide, '
          f'vocabulary of {raw_model.config.vocab_size:,}')

    # how far to go
    most_iters, most_epochs, most_minutes = limits(config.settings, config.typed)
    last_iter = min((n for n in (most_iters, math.ceil(most_epochs * updates_per_epoch)) if n),
                    default=0) # 0: the clock decides
    decay_iters = lr_decay_iters or last_iter
    warmup = warmup_iters
    if decay_iters and warmup_iters >= decay_iters:
        warmup = decay_iters // 10
        print(f'warmup_iters shortened from {warmup_iters} to {warmup}: the run has {decay_iters} updates')
    iter_num = checkpoint['iter_num'] if resuming else 0
    if resuming and last_iter and iter_num >= last_iter and not eval_only:
        return print(f'{run_dir} is already at iter {iter_num} >= {last_iter}: nothing to do; '
                     'raise --max_iters to go on')

    # the optimizers, and what a resumed run remembers
    kind = {'modern': 'muon', 'gpt2': 'adamw'}[raw_model.config.arch] if optimizer == 'auto' else optimizer
    ns_dtype = torch.float32 if rank_dtype == 'float32' else torch.bfloat16
    optimizers = make_optimizers(raw_model, kind, learning_rate, muon_learning_rate, weight_decay,
                                 (beta1, beta2), ns_dtype)
    minutes_before, best_val_loss, evals_since_best, evaluated = 0.0, math.inf, 0, 0
    if resuming:
        restore(optimizers, checkpoint['optimizers'])
        minutes_before, best_val_loss = checkpoint['minutes'], checkpoint['best_val_loss']
        evals_since_best, evaluated = checkpoint['evals_since_best'], checkpoint['evaluated']
        if scaler and checkpoint['scaler']:
            scaler.load_state_dict(checkpoint['scaler'])
        print_differences(checkpoint['settings'], config.settings)
    checkpoint = None # its memory is needed
    model = torch.compile(raw_model) if compiling else raw_model
    if world_size > 1:
        model = DistributedDataParallel(
            model, device_ids=[rank_device] if rank_device.startswith('cuda') else None)

    def validate():
        """What goes into the log about the weights as they are."""
        val_loss = evaluate(model, bins.open_bin(folder, 'val', meta),
                            bins.val_windows(n_val, T, eval_tokens), T, batch_size, autocast, rank_device,
                            rank, world_size)
        n_bytes = meta['splits']['val']['bytes']
        return {'iter': iter_num, 'val_loss': val_loss, 'perplexity': math.exp(min(val_loss, 700)),
                # None where the number of bytes is not known
                'bits_per_byte': val_loss / math.log(2) * n_val / n_bytes if n_bytes else None,
                'best': val_loss < best_val_loss}

    def state():
        if not all(p.isfinite().all() for p in raw_model.parameters()):
            raise diverged(f'weights are not finite after iter {iter_num}', run_dir)
        return {'model': raw_model.state_dict(), # of the uncompiled module, so names have no prefix
                'model_config': asdict(raw_model.config), # what GPTConfig takes
                'tokenizer': meta['tokenizer'], # all that is needed to rebuild it
                'optimizers': [each.state_dict() for each in optimizers], # in the order of make_optimizers
                'scaler': scaler.state_dict() if scaler else None, # of float16
                'iter_num': iter_num, # updates made
                'minutes': minutes, # of training, over all resumes
                'best_val_loss': best_val_loss, # the least so far, nats per token
                'evals_since_best': evals_since_best, # for patience
                'evaluated': evaluated, # iter_num at the last evaluation, which is not done twice
                'settings': config.settings} # of this run

    if eval_only:
        return print(validation_line(validate(), last_iter, ['nothing']))

    # training: the loop begins once more than there are updates, so that the end is no special case
    if master_process:
        make_folder(run_dir)
        wandb_run = start_wandb(wandb_project, wandb_run_name or run_dir, config.settings) \
            if wandb_log else None
        log = Log(os.path.join(run_dir, 'log.jsonl'), iter_num, evaluated, wandb_run)
    peak = world_size * (peak_tflops * 1e12 or peak_flops(rank_device, rank_dtype))
    first_iter, bad_steps, timed_iters, signals = iter_num, 0, 0, note_signals()
    began = timer = time.perf_counter()
    minutes, interrupted, unsettled = minutes_before, 0, []
    model.train()
    while True:
        # all processes decide alike: by the clock of the first, and by a signal to any
        if world_size == 1 or iter_num % 10 == 0: # asking the others takes time
            minutes = minutes_before + (time.perf_counter() - began) / 60
            minutes, interrupted = sum_over_ranks([minutes if master_process else 0.0, len(signals)],
                                                  rank_device)
        finished = (last_iter and iter_num >= last_iter) or (most_minutes and minutes >= most_minutes) \
            or (patience and evals_since_best >= patience)
        evaluating = not interrupted and iter_num > evaluated \
            and (finished or is_due(eval_interval, iter_num))
        saving = interrupted or (iter_num > first_iter and (evaluating or is_due(save_interval, iter_num)))
        # a GPU is asked about the update before the one it is at, so that it never waits for us
        lag = 1 if rank_device.startswith('cuda') and not (saving or finished) else 0
        bad_steps = settle(unsettled, lag, bad_steps, max_bad_steps, run_dir)
        if master_process and saving and not bad_steps:
            save(state(), ckpt_path) # before the evaluation, which may fail
        if evaluating:
            record = validate()
            evals_since_best, evaluated = 0 if record['best'] else evals_since_best + 1, iter_num
            best_val_loss = min(best_val_loss, record['val_loss'])
            finished = finished or (patience and evals_since_best >= patience)
            sound = record['best'] or not bad_steps # weights that may have diverged replace nothing
            if master_process:
                log.write(record)
                if record['best']:
                    save(state() | {'optimizers': []}, best_path)
                if sound and (finished or bad_steps):
                    save(state(), ckpt_path) # once more, with what the evaluation found
                saved = [ckpt_path] * sound + [best_path] * record['best']
                print(validation_line(record, last_iter, saved or ['nothing']), flush=True)
            if finished and not sound:
                raise diverged(f'loss or gradient was not finite at iter {iter_num}, the last', run_dir)
        if finished or interrupted:
            break
        if master_process and is_due(sample_interval, iter_num):
            show_samples(raw_model, tokenizer, 1, sample_tokens, seed, rank_device)
        if saving or evaluating:
            timer, timed_iters = time.perf_counter(), 0 # the speed printed is that of training

        # one update; which windows it sees depends on seed and iter_num alone
        starts = bins.update_windows(n_train, T, sequences, seed, iter_num)
        starts = starts.reshape(-1, batch_size)[rank::world_size]
        if iter_num == first_iter or iter_num % 100 == 0: # or the pages read so far would pile up in memory
            tokens = bins.open_bin(folder, 'train', meta)
        batches = [load_batch(tokens, micro_batch, T, rank_device) for micro_batch in starts]
        progress = max(iter_num / decay_iters if decay_iters else 0.0,
                       minutes / most_minutes if most_minutes else 0.0)
        share = lr_share(iter_num, progress, warmup, decay_iters, decay_fraction, schedule,
                         min_lr / learning_rate if decay_lr and learning_rate else 1.0)
        for group in all_groups(optimizers):
            group['lr'] = group['peak_lr'] * share
            if 'momentum' in group:
                group['momentum'] = momentum_at(iter_num, muon_momentum)
        seeds = [dropout_seed(seed, iter_num, micro_step, rank) for micro_step in range(micro_steps)] \
            if dropout else None
        loss, norm, good = train_step(model, optimizers, batches, autocast, scaler, grad_clip, seeds)
        iter_num, timed_iters = iter_num + 1, timed_iters + 1
        unsettled.append((iter_num, loss, norm, good, learning_rate * share))

        if master_process and log_interval \
                and (is_due(log_interval, iter_num) or iter_num == first_iter + 1) and good:
            dt = (time.perf_counter() - timer) / timed_iters
            record = {'iter': iter_num, 'loss': loss.item(), 'lr': learning_rate * share, 'norm': norm.item(),
                      'dt': dt, 'tokens': iter_num * sequences * T, 'epoch': iter_num / updates_per_epoch}
            log.write(record)
            left = time_left(iter_num, first_iter, last_iter, time.perf_counter() - began, minutes,
                             most_minutes)
            mfu = sequences * T / dt * raw_model.flops_per_token() / peak if peak else 0.0
            print(progress_line(record, last_iter, sequences * T / dt, mfu, left), flush=True)
            timer, timed_iters = time.perf_counter(), 0

    # what there is to look at
    if master_process:
        draw_loss(os.path.join(run_dir, 'log.jsonl'), os.path.join(run_dir, 'loss.png'))
        if interrupted and bad_steps:
            raise diverged(f'stopped after iter {iter_num}, whose loss or gradient was not finite', run_dir)
        if interrupted:
            print(f'stopped by {signals[0] if signals else "a signal"} after iter {iter_num}; '
                  f'saved {ckpt_path}; to go on:\n    {resume_command()}')
        else:
            show_samples(raw_model, tokenizer, 3, sample_tokens, seed, rank_device)
            print(f'done in {minutes:.1f} minutes: best val {best_val_loss:.4f} | '
                  f'loss curve {run_dir}/loss.png | for more:\n    python sample.py --out_dir={run_dir}')


if __name__ == '__main__':
    main()
    stop_processes()
