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
dry_run = False # print the size of model and run and the memory they take; train and save nothing
seed = 1337 # of the weights, the order of the data, dropout and samples

# data
dataset = 'tinystories' # a folder of data/, or the path of one that holds train.bin, val.bin and meta.json
input = '' # a text file, or a folder of them, to train on instead of what the dataset would download
max_samples = -1 # take only so many documents from the hub; 0: all; -1: as the dataset's prepare.py has it
check_data = False # compare every byte of the data with its checksum; below 64 MB that is always done
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
save_interval = 0 # ckpt.pt, besides before every evaluation and at the end
save_minutes = 10.0 # ckpt.pt, by the clock, too: what a power cut may cost; 0: never
keep = 0 # so many ckpt-<iter>.pt besides ckpt.pt and the one before it, ckpt.prev.pt
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
from dataclasses import asdict, dataclass, fields
from functools import partial

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from data import bins
from data.tokenizer import from_json
from lib.checkpoint import (
    BEST,
    LAST,
    PREVIOUS,
    Writer,
    build,
    from_gpt2,
    holds_a_run,
    read_checkpoint,
    read_first,
    remove_run,
)
from lib.device import (
    autocast_for,
    choose_compile,
    choose_device,
    choose_dtype,
    peak_flops,
    start_processes,
    stop_processes,
    sum_over_ranks,
)
from lib.generate import Sampling, generate_texts
from lib.guard import (
    SHAPE,
    Watch,
    check_resumable,
    choose_shape,
    memory_line,
    memory_needed,
    out_of_memory_told,
    problems,
    weights_are_sound,
)
from lib.log import Log, draw_loss, progress_line, say, start_wandb, validation_line
from lib.optim import all_groups, lr_share, make_optimizers, restore, set_rates
from model import GPT

HERE = os.path.dirname(os.path.abspath(__file__))


# ---- before the first update ----

def limits(s, typed):
    """(max_iters, epochs, max_minutes) of the settings s, 0: no limit; what was typed goes alone."""
    names = ('max_iters', 'epochs', 'max_minutes')
    chosen = [name for name in names if s[name] and (name in typed or not typed.intersection(names))]
    return [s[name] if name in chosen else 0 for name in names] if chosen else [1000, 0, 0]


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
    """
    A list that receives the name of a signal that asks to stop, for the loop; a second one ends the process.

    SIGINT is Ctrl-C, SIGTERM what schedulers send, SIGHUP a terminal that was closed (ignored after nohup).
    """
    received = []

    def note(number, frame):
        received.append(signal.Signals(number).name)
        signal.signal(number, signal.SIG_DFL)

    for name in ('SIGINT', 'SIGTERM', 'SIGHUP'):
        number = getattr(signal, name, None) # Windows has no SIGHUP
        if number and signal.getsignal(number) != signal.SIG_IGN:
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

@dataclass
class Progress:
    """How far a run is; a checkpoint has these under the same names."""
    iter_num: int = 0 # updates made
    minutes: float = 0.0 # of training, over all resumes
    best_val_loss: float = math.inf # the least so far, nats per token
    evals_since_best: int = 0 # for patience
    evaluated: int = 0 # iter_num at the last evaluation, which is not done twice


def find_weights(init_from, run_dir):
    """The checkpoint to start from as a dict, and its path; ({}, '') for scratch."""
    if init_from == 'scratch':
        return {}, ''
    if init_from in ('gpt2', 'gpt2-medium', 'gpt2-large', 'gpt2-xl'):
        return from_gpt2(init_from), init_from
    if init_from == 'resume':
        checkpoint, path = read_first([os.path.join(run_dir, name) for name in (LAST, PREVIOUS)])
        check_resumable(checkpoint, path, Progress)
        return checkpoint, path
    if not os.path.exists(init_from):
        raise SystemExit(f'init_from: expected scratch, resume, gpt2, gpt2-medium, gpt2-large, gpt2-xl or '
                         f'the path of a checkpoint, got {init_from!r}, which is none of these')
    return read_checkpoint(init_from), init_from


def make_model(checkpoint, path, shape, seed, copying):
    """A GPT of this shape on the CPU, with the weights of the checkpoint if there is one."""
    if checkpoint:
        return build(checkpoint, path, shape.dropout, shape.block_size)
    torch.manual_seed(seed)
    return GPT(shape, copying)


def default_out_dir(config_files, dataset):
    """out-x for config/train_x.py; without a config file, for the dataset."""
    if config_files:
        return 'out-' + os.path.splitext(os.path.basename(config_files[-1]))[0].removeprefix('train_')
    return 'out-' + os.path.basename(os.path.normpath(dataset))


def start_folder(run_dir, resumed, overwrite):
    """
    Make the folder of a run, or put aside what must not be mistaken for a part of it.

    resumed: the checkpoint that the run goes on from, '' for a new run
    """
    last = os.path.join(run_dir, LAST)
    try:
        os.makedirs(run_dir, exist_ok=True)
        if resumed and resumed != last and os.path.exists(last): # or the damaged would push out the good
            os.replace(last, os.path.join(run_dir, 'ckpt.damaged.pt'))
        elif overwrite and not resumed:
            remove_run(run_dir)
    except OSError as error:
        raise SystemExit(f'out_dir: {run_dir} cannot be made or changed ({error.strerror}); '
                         'choose another --out_dir') from None


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
    for each in generate_texts(model, tokenizer, [''], count, max_new_tokens, Sampling(0.6), seed, device):
        say('-' * 20 + f'\n{each.text.strip()}')
    say('-' * 20)
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


def length_of_run(settings, typed, updates_per_epoch):
    """
    (last_iter, most_minutes, decay_iters, warmup_iters) that the settings come to; 0: no such limit.

    The rate falls over decay_iters updates, or by the clock where they are 0.
    """
    most_iters, most_epochs, most_minutes = limits(settings, typed)
    last_iter = min((n for n in (most_iters, math.ceil(most_epochs * updates_per_epoch)) if n), default=0)
    decay_iters, warmup = settings['lr_decay_iters'] or last_iter, settings['warmup_iters']
    if decay_iters and warmup >= decay_iters:
        print(f'warmup_iters shortened from {warmup} to {decay_iters // 10}: '
              f'the run has {decay_iters} updates')
        warmup = decay_iters // 10
    return last_iter, most_minutes, decay_iters, warmup


def main():
    # settings that cannot be, and a run that must not be lost
    run_dir, resuming = out_dir or default_out_dir(config.files, dataset), init_from == 'resume'
    wrong = problems(config.settings, int(os.environ.get('WORLD_SIZE', 1)))
    if holds_a_run(run_dir) and not (resuming or overwrite or eval_only or dry_run):
        wrong.append(f'{run_dir} already holds a run; go on with it: --init_from=resume, or lose it: '
                     '--overwrite, or choose another --out_dir')
    if wrong:
        raise SystemExit('train.py: ' + '; '.join(wrong))

    # the machine
    wanted_device, device_reason = choose_device(device)
    rank, world_size, rank_device = start_processes(wanted_device, backend)
    master_process, on_gpu = rank == 0, rank_device.startswith('cuda')
    if not master_process:
        sys.stdout = open(os.devnull, 'w', encoding='utf-8') # only one process talks
    rank_dtype, dtype_reason = choose_dtype(dtype, rank_device)
    compiling, compile_reason = choose_compile(compile, rank_device)
    print(f'torch {torch.__version__} | device {wanted_device} ({device_reason}) | '
          f'dtype {rank_dtype} ({dtype_reason}) | compile {"on" if compiling else "off"} ({compile_reason})'
          + (f' | {world_size} processes' if world_size > 1 else ''))
    autocast = autocast_for(rank_device, rank_dtype)
    scaler = torch.amp.GradScaler('cuda') if rank_dtype == 'float16' else None

    # the data
    checkpoint, checkpoint_path = find_weights(init_from, run_dir)
    folder, script = find_dataset(dataset, run_dir, own_text=bool(input) or max_samples >= 0)
    missing = not os.path.exists(os.path.join(folder, 'train.bin')) or (input and not resuming)
    if master_process and missing and not dry_run:
        prepare(folder, script, input, max_samples)
    if world_size > 1:
        dist.barrier()
    meta = bins.load_meta(folder, every_byte=check_data)
    tokenizer = from_json(meta['tokenizer'])

    # what is to be done
    shape = choose_shape(checkpoint, checkpoint_path, config.settings, config.typed, meta)
    T, sequences = shape.block_size, batch_size * gradient_accumulation_steps
    with torch.device('meta'): # no memory
        n_params = GPT(shape).n_params()
    n_train, n_val = (meta['splits'][split]['tokens'] for split in ('train', 'val'))
    updates_per_epoch = bins.windows_per_epoch(n_train, T) / sequences
    print(f'data {os.path.relpath(folder)}: {n_train:,} tokens to train on, {n_val:,} for validation | '
          f'1 epoch = {updates_per_epoch:,.1f} updates of {sequences * T:,} tokens '
          f'({batch_size} sequences x {T} tokens x {gradient_accumulation_steps} micro-batches)')
    print(f'model {shape.arch}: {n_params:,} parameters | {shape.n_layer} layers, {shape.n_embd} wide, '
          f'vocabulary of {shape.vocab_size:,}')
    last_iter, most_minutes, decay_iters, warmup = length_of_run(config.settings, config.typed,
                                                                 updates_per_epoch)
    kind = {'modern': 'muon', 'gpt2': 'adamw'}[shape.arch] if optimizer == 'auto' else optimizer
    if dry_run:
        print(memory_line(memory_needed(shape, batch_size, kind, rank_dtype), shape, batch_size))
        print(f'run: {last_iter:,} updates, {last_iter * sequences * T:,} tokens, '
              f'{last_iter / updates_per_epoch:,.2f} epochs' if last_iter else f'run: {most_minutes} minutes')
        return print('nothing was trained or written')
    done = Progress(**{f.name: checkpoint[f.name] for f in fields(Progress)}) if resuming else Progress()
    ended = done.evaluated == done.iter_num # else it was stopped in its last evaluation, which comes now
    if resuming and last_iter and done.iter_num >= last_iter and ended and not eval_only:
        return print(f'{run_dir} is already at iter {done.iter_num} >= {last_iter}: nothing to do; '
                     'raise --max_iters to go on')

    # the model, the optimizers, and what a resumed run remembers
    memory_told = partial(out_of_memory_told, shape, batch_size, gradient_accumulation_steps, kind,
                          rank_dtype, rank_device)
    with memory_told():
        raw_model = make_model(checkpoint, checkpoint_path, shape, seed, copying).to(rank_device)
    ns_dtype = torch.float32 if rank_dtype == 'float32' else torch.bfloat16
    optimizers = make_optimizers(raw_model, kind, learning_rate, muon_learning_rate, weight_decay,
                                 (beta1, beta2), ns_dtype)
    if resuming:
        restore(optimizers, checkpoint['optimizers'], checkpoint_path)
        if scaler and checkpoint.get('scaler'):
            scaler.load_state_dict(checkpoint['scaler'])
        print(f'resume: {checkpoint_path}, iter {done.iter_num}')
        print_differences(checkpoint['settings'], config.settings)
    checkpoint = None # its memory is needed
    model = torch.compile(raw_model) if compiling else raw_model
    if world_size > 1:
        model = DistributedDataParallel(model, device_ids=[rank_device] if on_gpu else None)

    def validate():
        """What goes into the log about the weights as they are."""
        with memory_told():
            val_loss = evaluate(model, bins.open_bin(folder, 'val', meta),
                                bins.val_windows(n_val, T, eval_tokens), T, batch_size, autocast, rank_device,
                                rank, world_size)
        n_bytes = meta['splits']['val']['bytes']
        return {'iter': done.iter_num, 'val_loss': val_loss, 'perplexity': math.exp(min(val_loss, 700)),
                # None where the number of bytes is not known
                'bits_per_byte': val_loss / math.log(2) * n_val / n_bytes if n_bytes else None,
                'best': val_loss < done.best_val_loss}

    def state():
        """What ckpt.pt holds of the run as it is; its copy, so that training can go on."""
        x, y = load_batch(bins.open_bin(folder, 'val', meta), bins.val_windows(n_val, T)[:1], T, rank_device)
        if not weights_are_sound(raw_model, x, y, autocast):
            raise watch.diverged(f'weights or their loss are not finite after iter {done.iter_num}')
        return writer.snapshot({
            'model': raw_model.state_dict(), # of the uncompiled module, so names have no prefix
            'model_config': asdict(shape), # what GPTConfig takes
            'tokenizer': meta['tokenizer'], # all that is needed to rebuild it
            'optimizers': [each.state_dict() for each in optimizers], # in the order of make_optimizers
            'scaler': scaler.state_dict() if scaler else None, # of float16
            **asdict(done),
            'settings': config.settings}) # of this run

    if eval_only:
        return print(validation_line(validate(), last_iter, ['nothing']))

    # training: the loop begins once more than there are updates, so that the end is no special case
    log = None
    if master_process:
        start_folder(run_dir, checkpoint_path if resuming else '', overwrite)
        wandb_run = start_wandb(wandb_project, wandb_run_name or run_dir, config.settings) \
            if wandb_log else None
        log = Log(os.path.join(run_dir, 'log.jsonl'), done.iter_num, done.evaluated, wandb_run)
        writer = Writer(run_dir, keep, f'{checkpoint_path} of iter {done.iter_num}' if resuming else 'none')
    watch = Watch(max_bad_steps, log, writer.last_good if master_process else str)
    peak = world_size * (peak_tflops * 1e12 or peak_flops(rank_device, rank_dtype))
    first_iter, timed_iters, signals, minutes_before = done.iter_num, 0, note_signals(), done.minutes
    began = timer = time.perf_counter()
    interrupted, owed, saved_minutes, last = 0, False, done.minutes, {'iter_num': -1}
    tokens = bins.open_bin(folder, 'train', meta)
    model.train()
    while True:
        # all processes decide alike: by the clock of the first, and by a signal to any
        if world_size == 1 or done.iter_num % 10 == 0: # asking the others takes time
            done.minutes = minutes_before + (time.perf_counter() - began) / 60
            done.minutes, interrupted = sum_over_ranks([done.minutes if master_process else 0.0,
                                                        len(signals)], rank_device)
        finished = (last_iter and done.iter_num >= last_iter) \
            or (most_minutes and done.minutes >= most_minutes) \
            or (patience and done.evals_since_best >= patience)
        evaluating = not interrupted and done.iter_num > done.evaluated \
            and (finished or is_due(eval_interval, done.iter_num))
        saving = done.iter_num > first_iter and (
            owed or evaluating or is_due(save_interval, done.iter_num)
            or (save_minutes and done.minutes >= saved_minutes + save_minutes))
        # a GPU is asked about the update before the one it is at, so that it never waits for us
        watch.settle(1 if on_gpu and not (saving or interrupted or finished) else 0)
        owed = bool((saving or interrupted) and watch.bad_steps) # a skipped update is not the time for it
        if (saving or interrupted) and not owed:
            saved_minutes = done.minutes
            if master_process:
                last = state()
                writer.put(last, LAST) # before the evaluation, which may fail
        if evaluating:
            record = validate()
            done.evals_since_best = 0 if record['best'] else done.evals_since_best + 1
            done.evaluated, done.best_val_loss = done.iter_num, min(done.best_val_loss, record['val_loss'])
            finished = finished or (patience and done.evals_since_best >= patience)
            sound = record['best'] or not watch.bad_steps # weights that may have diverged replace nothing
            if master_process:
                log.write(record)
                if sound and last['iter_num'] < done.iter_num:
                    last = state()
                if record['best']:
                    writer.put({**last, **asdict(done), 'optimizers': []}, BEST)
                if sound and (finished or watch.bad_steps):
                    writer.put({**last, **asdict(done)}, LAST) # once more, with what the evaluation found
                saved = [os.path.join(run_dir, name) for name in [LAST] * sound + [BEST] * record['best']]
                say(validation_line(record, last_iter, saved or ['nothing']))
            if finished and not sound:
                raise watch.diverged(f'loss or gradient was not finite at iter {done.iter_num}, the last')
        if finished or interrupted:
            break
        if master_process and is_due(sample_interval, done.iter_num):
            show_samples(raw_model, tokenizer, 1, sample_tokens, seed, rank_device)
        if saving or evaluating:
            timer, timed_iters = time.perf_counter(), 0 # the speed printed is that of training

        # one update; which windows it sees depends on seed and iter_num alone
        starts = bins.update_windows(n_train, T, sequences, seed, done.iter_num)
        starts = starts.reshape(-1, batch_size)[rank::world_size]
        progress = max(done.iter_num / decay_iters if decay_iters else 0.0,
                       done.minutes / most_minutes if most_minutes else 0.0)
        share = lr_share(done.iter_num, progress, warmup, decay_iters, decay_fraction, schedule,
                         min_lr / learning_rate if decay_lr and learning_rate else 1.0)
        set_rates(optimizers, share, done.iter_num, muon_momentum)
        seeds = [dropout_seed(seed, done.iter_num, micro_step, rank) for micro_step in range(len(starts))] \
            if dropout else None
        with memory_told():
            batches = [load_batch(tokens, micro_batch, T, rank_device) for micro_batch in starts]
            loss, norm, good = train_step(model, optimizers, batches, autocast, scaler, grad_clip, seeds)
        done.iter_num, timed_iters = done.iter_num + 1, timed_iters + 1
        watch.note(done.iter_num, loss, norm, good, learning_rate * share)

        if master_process and log_interval \
                and (is_due(log_interval, done.iter_num) or done.iter_num == first_iter + 1) and good:
            dt = (time.perf_counter() - timer) / timed_iters
            record = {'iter': done.iter_num, 'loss': loss.item(), 'lr': learning_rate * share,
                      'norm': norm.item(), 'dt': dt, 'tokens': done.iter_num * sequences * T,
                      'epoch': done.iter_num / updates_per_epoch}
            log.write(record)
            left = time_left(done.iter_num, first_iter, last_iter, time.perf_counter() - began, done.minutes,
                             most_minutes)
            mfu = sequences * T / dt * raw_model.flops_per_token() / peak if peak else 0.0
            say(progress_line(record, last_iter, sequences * T / dt, mfu, left))
            timer, timed_iters = time.perf_counter(), 0

    # what there is to look at
    if master_process:
        writer.finish()
        if interrupted and watch.bad_steps:
            raise watch.diverged(f'stopped after iter {done.iter_num}, whose loss or gradient was not finite')
        draw_loss(os.path.join(run_dir, 'log.jsonl'), os.path.join(run_dir, 'loss.png'))
        if interrupted:
            say(f'stopped by {signals[0] if signals else "a signal"} after iter {done.iter_num}; '
                f'saved {os.path.join(run_dir, LAST)}; to go on:\n    {resume_command()}')
        else:
            show_samples(raw_model, tokenizer, 3, sample_tokens, seed, rank_device)
            say(f'done in {done.minutes:.1f} minutes: best val {done.best_val_loss:.4f} | '
                f'loss curve {run_dir}/loss.png | for more:\n    python sample.py --out_dir={run_dir}')


if __name__ == '__main__':
    main()
    stop_processes()
