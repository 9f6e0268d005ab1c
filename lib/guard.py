"""
What watches over a run: settings, data and checkpoints that do not fit each other, updates that go wrong,
and memory that runs out.

    python train.py config/train_tinystories.py --dry_run    # what it would be and need, without training
"""
from contextlib import contextmanager
from dataclasses import fields

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from lib.checkpoint import shape_of
from lib.log import say
from model import GPT, LOGITS_AT_ONCE, GPTConfig

SHAPE = ('arch', 'n_layer', 'n_head', 'n_kv_head', 'n_embd', 'block_size', 'vocab_size', 'bias', 'activation',
         'tie_weights')
SIZES = 'n_layer', 'n_head', 'n_kv_head', 'n_embd', 'block_size' # GPTConfig itself looks at these


# ---- settings ----

def problems(s, world_size=1):
    """All that is impossible in the settings of train.py, as a list of sentences; nothing is read or made."""
    wrong = [f'{name} must be at least 1, got {s[name]}'
             for name in ('batch_size', 'gradient_accumulation_steps', 'max_bad_steps') if s[name] < 1]
    wrong += [f'{name} must not be negative, got {value}' for name, value in s.items()
              if isinstance(value, (int, float)) and value < 0
              and name not in ('max_samples', 'dropout', *SIZES)]
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
    accumulation = s['gradient_accumulation_steps']
    if accumulation > 0 and accumulation % world_size:
        below, above = accumulation // world_size * world_size, (accumulation // world_size + 1) * world_size
        wrong.append(f'gradient_accumulation_steps: {accumulation} micro-batches cannot be dealt evenly '
                     f'to {world_size} processes; '
                     f'nearest: {" or ".join(str(n) for n in (below, above) if n)}')
    shape = {name: s[name] for name in ('arch', 'dropout', 'bias', 'activation', 'tie_weights', *SIZES)}
    if s['init_from'] != 'scratch': # which has a shape of its own
        shape = {name: s[name] for name in ('block_size', 'dropout')}
    return wrong + GPTConfig(**shape).problems()


# ---- data and checkpoints ----

def check_resumable(checkpoint, path, progress):
    """
    SystemExit unless a checkpoint holds all that a run needs to go on as if it had not stopped.

    progress: the dataclass whose fields it has to hold
    """
    if not checkpoint.get('optimizers'):
        raise SystemExit(f'{path}: holds weights only, so its run cannot go on; begin a new one with them: '
                         f'--init_from={path} --out_dir=ANOTHER')
    kinds = {f.name: f.type for f in fields(progress)}
    kinds |= {'optimizers': list, 'settings': dict, 'tokenizer': dict}
    wrong = [f'{name} {type(checkpoint.get(name)).__name__}' for name, kind in kinds.items()
             if type(checkpoint.get(name)) is not kind]
    # an infinite best_val_loss means that there was no evaluation yet
    wrong = wrong or [f'{f.name} {checkpoint[f.name]}' for f in fields(progress)
                      if not (0 <= checkpoint[f.name] < 1e12
                              or (f.name == 'best_val_loss' and checkpoint[f.name] > 0))]
    if wrong:
        raise SystemExit(f'{path}: expected a checkpoint of a run, got {", ".join(wrong)}; begin a new run '
                         f'with its weights: --init_from={path} --out_dir=ANOTHER')


def shorten(block_size, meta, least=8):
    """block_size, or as much of it as one window of train and of val can fill."""
    tokens = {split: meta['splits'][split]['tokens'] for split in ('train', 'val')}
    shortest = min(tokens, key=tokens.get)
    room = tokens[shortest] - 1 # the last token has none after it
    if room < min(least, block_size):
        raise SystemExit(f'{shortest}.bin has {tokens[shortest]} tokens, need at least {least + 1}; '
                         'use a longer text')
    return min(block_size, room)


def choose_shape(checkpoint, path, settings, typed, meta):
    """The GPTConfig of the run: that of the checkpoint, or without one, what the settings give."""
    vocab_size = settings['vocab_size'] or meta['vocab_size']
    if not checkpoint:
        shape = GPTConfig(**{name: settings[name] for name in SHAPE} | {
            'dropout': settings['dropout'], 'vocab_size': vocab_size,
            'block_size': shorten(settings['block_size'], meta)})
        if shape.block_size < settings['block_size']:
            print(f"block_size shortened from {settings['block_size']} to {shape.block_size}: "
                  'the text is that short')
    else:
        shape = shape_of(checkpoint, path)
        check_shape(shape, path, settings, typed, checkpoint.get('settings', {}))
        shape.dropout = settings['dropout']
        if settings['init_from'] != 'resume':
            shape.block_size = min(shape.block_size, settings['block_size'])
        shape.block_size = shorten(shape.block_size, meta)
        if checkpoint.get('tokenizer', meta['tokenizer']) != meta['tokenizer']:
            raise SystemExit(f'{path}: was trained with another tokenizer than the data is in; prepare the '
                             'data with the same one, or start from scratch')
    largest = max(meta['splits'][split]['largest_id'] for split in ('train', 'val'))
    if largest >= shape.vocab_size:
        raise SystemExit(f'data: the largest id is {largest}, but the model knows ids below vocab_size = '
                         f'{shape.vocab_size}; raise --vocab_size or prepare the data again')
    return shape


def check_shape(shape, path, settings, typed, before):
    """SystemExit for a shape on the command line that is not the checkpoint's. before: its run's settings."""
    wrong = []
    for name in SHAPE:
        found, wanted = getattr(shape, name), settings[name]
        shorter = name == 'block_size' and wanted < found and settings['init_from'] != 'resume'
        as_before = wanted == before.get(name) # such as a block_size then shortened
        if name in typed and wanted != found and not (shorter or as_before):
            wrong.append(f'its {name} is {found}, the command line says {wanted}')
    if wrong:
        raise SystemExit(f'{path}: {"; ".join(wrong)}; leave that out, or start from scratch')


# ---- updates ----

class Watch:
    """
    Looks at what came of each update: skipped ones, too many of which end the run, and spikes of the loss.

    A spike is a loss further above the average of about the last 50 than six times what they strayed from it.

    log: Log, or None in a process that does not write one
    """

    def __init__(self, max_bad_steps, log=None, last_good=str):
        self.max_bad_steps, self.log, self.last_good = max_bad_steps, log, last_good
        self.unsettled, self.bad_steps, self.skipped = [], 0, 0
        self.usual, self.strays, self.seen = 0.0, 0.0, 0

    def note(self, iter_num, loss, norm, good, lr):
        """Remember what train_step returned for an update, without waiting for the device."""
        self.unsettled.append((iter_num, loss, norm, good, lr))

    def settle(self, lag=0):
        """Look at all updates but the last lag. SystemExit when too many in a row were skipped."""
        while len(self.unsettled) > lag:
            iter_num, loss, norm, good, lr = self.unsettled.pop(0)
            if good:
                self.bad_steps = 0
                self.look_for_spike(iter_num, loss.item())
            else:
                self.bad_steps, self.skipped = self.bad_steps + 1, self.skipped + 1
                self.tell_skipped(iter_num, loss.item(), norm.item(), lr)

    def tell_skipped(self, iter_num, loss, norm, lr):
        what = f'loss {loss} | lr {lr:.2e} | norm {norm}'
        say(f'iter {iter_num} | {what} | not finite, update skipped ({self.bad_steps} in a row, '
            f'{self.max_bad_steps} end the run)')
        if self.log: # JSON has no word for nan
            self.log.write({'iter': iter_num, 'skipped': self.skipped, 'lr': lr,
                            'skipped_loss': str(loss), 'skipped_norm': str(norm)})
        if self.bad_steps >= self.max_bad_steps:
            raise self.diverged(f'loss or gradient was not finite {self.bad_steps} times in a row, last at '
                                f'iter {iter_num} ({what})')

    def look_for_spike(self, iter_num, loss):
        if self.seen >= 50 and loss > self.usual + 6 * self.strays:
            say(f'iter {iter_num} | loss {loss:.4f} | a spike: lately it was {self.usual:.4f}, '
                f'give or take {self.strays:.4f}')
            if self.log:
                self.log.write({'iter': iter_num, 'spike': loss, 'usual': self.usual})
        self.seen += 1
        weight = max(1 / self.seen, 0.02)
        self.strays += weight * (abs(loss - self.usual) - self.strays) if self.seen > 1 else 0.0
        self.usual += weight * (loss - self.usual)

    def diverged(self, what):
        """How a run ends whose numbers are no longer finite; no file holds any of them."""
        return SystemExit(f'train.py: {what}; the last good file is {self.last_good()}; '
                          'lower --learning_rate and --muon_learning_rate')


def weights_are_sound(model, x, y, autocast):
    """Whether all weights are finite, and the loss of one batch, too. x, y: int64 (B, T) on the device."""
    if not all(p.isfinite().all() for p in model.parameters()):
        return False
    was_training = model.training
    model.eval()
    with torch.no_grad(), autocast:
        loss = model(x, y)
    model.train(was_training)
    return bool(loss.isfinite())


# ---- memory ----

def memory_needed(config, batch_size, kind, dtype):
    """
    Bytes that training takes, by what for: {'weights', 'gradients', 'optimizer', 'activations'}.

    An estimate, without what Python and torch take themselves: it counts what a forward pass without a
    compiler keeps for the way back, on tensors that have shapes and no contents. kind: 'muon' or 'adamw';
    dtype: the name of what matrices are multiplied in
    """
    with FakeTensorMode():
        model = GPT(config)
        weights = {p.untyped_storage()._cdata: 4 * p.numel() for p in model.parameters()}
        kept = {}

        def keep(tensor):
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
            return tensor

        idx = torch.zeros(batch_size, config.block_size, dtype=torch.int64)
        low = getattr(torch, 'bfloat16' if dtype == 'float16' else dtype) # of the same size
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            with torch.autocast('cpu', low, enabled=dtype != 'float32'):
                model(idx, idx)
        activations = sum(storage.nbytes() for place, storage in kept.items() if place not in weights)
        by_muon = 4 * sum(p.numel() for p in model.parameter_groups()['matrix'].values())
    total, tokens = sum(weights.values()), batch_size * config.block_size
    # the logits in float32, what they are made into, and the gradients of both
    logits = 16 * min(tokens * config.vocab_size, max(LOGITS_AT_ONCE, config.vocab_size))
    return {'weights': total, 'gradients': total,
            'optimizer': 2 * total - by_muon if kind == 'muon' else 2 * total,
            # the way back makes what one layer takes once more
            'activations': round(activations * (1 + 1 / config.n_layer)) + logits}


def memory_line(needed, config, batch_size):
    """One line of memory_needed."""
    parts = ', '.join(f'{name} {size(n)}' for name, n in needed.items())
    return (f'memory about {size(sum(needed.values()))}: {parts} for {batch_size} sequences x '
            f'{config.block_size} tokens at a time')


def size(n_bytes):
    return f'{n_bytes / 1e9:.2f} GB' if n_bytes >= 1e8 else f'{n_bytes / 1e6:.1f} MB'


@contextmanager
def out_of_memory_told(config, batch_size, accumulation, kind, dtype, device):
    """Within it, a device that has no more memory ends the run in one line with a setting that needs less."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # on a CPU torch raises a plain RuntimeError
        if not (isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate" in str(error)):
            raise
        needed = memory_needed(config, batch_size, kind, dtype)
        has = f', it has {size(torch.cuda.get_device_properties(device).total_memory)}' \
            if device.startswith('cuda') else ''
        raise SystemExit(f'train.py: {device} has no more memory{has}; '
                         f'{memory_line(needed, config, batch_size)}; '
                         f'{smaller(config, batch_size, accumulation)}') from None


def smaller(config, batch_size, accumulation):
    """What to try with less memory: the same tokens in each update where that can be."""
    divisor = next((n for n in range(2, batch_size + 1) if batch_size % n == 0), 0)
    if divisor:
        return (f'for the same tokens in each update: --batch_size={batch_size // divisor} '
                f'--gradient_accumulation_steps={accumulation * divisor}')
    return (f'batch_size is 1 already: halve the context, --block_size={max(1, config.block_size // 2)} '
            f'--gradient_accumulation_steps={2 * accumulation}, or train a smaller model')
