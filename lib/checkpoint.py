"""
What a run keeps: checkpoints that are written whole or not at all, and read with suspicion.

    python sample.py --checkpoint=out-tinystories/ckpt.prev.pt

A checkpoint is one dict of tensors and plain Python in a file of torch.save, which torch.load reads with
weights_only=True, so that nothing in it is executed. A run's folder has ckpt.pt, ckpt.prev.pt (the one before
it), best.pt (weights alone), and with --keep=N the last N as ckpt-<iter>.pt.
"""
import hashlib
import itertools
import json
import math
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields

import torch

from data.files import sync_folder
from lib.log import say
from model import GPT, GPTConfig

FORMAT = 1 # of the dict; a higher number in a file is from a later version of this program
LAST, PREVIOUS, BEST = 'ckpt.pt', 'ckpt.prev.pt', 'best.pt'
NUMBERED = re.compile(r'ckpt-(\d+)\.pt')
LARGEST = 100_000_000 # number in a model_config: torch can make a table that is so long and so wide


def checksum(checkpoint, room=math.inf):
    """
    Hex sha256 of what a dict of tensors and plain Python holds, however a file lays it out.

    room: bytes it may take; lists in lists, each there twice, would be endless in a file of a few bytes
    Raises ValueError for more, for what is not plain, and for a tensor that claims more numbers than it has.
    """
    sha = hashlib.sha256()
    def add(value):
        nonlocal room
        is_tensor = isinstance(value, torch.Tensor)
        size = value.numel() * value.element_size() if is_tensor else len(value) if type(value) is str else 0
        room -= 1 + size
        if room < 0:
            raise ValueError('more than there is room for')
        if is_tensor and value.layout == torch.strided and value.device.type == 'cpu' \
                and size <= value.untyped_storage().nbytes():
            sha.update(f'{value.dtype} {tuple(value.shape)}'.encode())
            sha.update(value.detach().reshape(-1).contiguous().view(torch.uint8).numpy())
        elif isinstance(value, (dict, list, tuple)):
            sha.update(f'{len(value)} in a {"dict" if isinstance(value, dict) else "list"}'.encode())
            for each in value.items() if isinstance(value, dict) else value:
                add(each)
        elif value is None or type(value) in (bool, int, float, str):
            sha.update(repr(value).encode('utf-8', 'backslashreplace') + b'\n')
        else:
            raise ValueError(f'a {type(value).__name__}, which is not plain')
    add({key: value for key, value in checkpoint.items() if key != 'checksum'})
    return sha.hexdigest()


# ---- writing ----

@contextmanager
def writing(path):
    """Yields where to write what path is to hold; SystemExit when the disk is full or read-only."""
    temporary = f'{path}.tmp'
    remove(temporary) # of a run that was killed; it may be a second name of a good file
    try:
        yield temporary
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error: # torch wraps a full disk in a RuntimeError
        disk = error if isinstance(error, OSError) else error.__context__ or error
        raise SystemExit(f'{path}: could not be written ({str(disk).partition(chr(10))[0]}); '
                         'anything it held before is still there, whole') from None
    finally:
        remove(temporary)


def save(checkpoint, path, previous=''):
    """
    Write a dict of tensors and plain Python to path, which at any time holds the old file or the new, whole.

    previous: where the old file goes; '': nowhere
    """
    path, checkpoint = str(path), {**checkpoint, 'format': FORMAT}
    checkpoint['checksum'] = checksum(checkpoint)
    with writing(path) as temporary:
        with open(temporary, 'wb') as f:
            torch.save(checkpoint, f)
            f.flush()
            os.fsync(f.fileno()) # on the disk before the name points at it: else a power cut empties it
        if previous and os.path.exists(path):
            link(path, previous)
    sync_folder(os.path.dirname(path)) # the name, too


def link(path, other):
    """Give a file a second name, which it takes from any other file; a copy where the disk has no links."""
    with writing(other) as temporary:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)


def remove(path):
    with suppress(OSError): # it is not there, or no file
        os.remove(path)


def snapshot(value, copies=None):
    """A copy on the CPU of nested dicts and lists of tensors; tensors that share memory still do."""
    copies = {} if copies is None else copies
    if isinstance(value, torch.Tensor):
        place = value.device, value.data_ptr(), value.shape, value.stride(), value.dtype
        if place not in copies or not value.numel():
            copies[place] = value.detach().to('cpu', copy=True)
        return copies[place]
    if isinstance(value, dict):
        return {key: snapshot(each, copies) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(snapshot(each, copies) for each in value)
    return value


class Writer:
    """
    Writes the checkpoints of a run in a thread of its own, while training goes on.

    keep: how many numbered ones there are besides ckpt.pt, ckpt.prev.pt and best.pt
    newest: what the last good file is called in messages, until there is one of this run
    """

    def __init__(self, run_dir, keep=0, newest='none'):
        self.run_dir, self.keep, self.newest = run_dir, keep, newest
        self.thread, self.pending, self.problems = ThreadPoolExecutor(max_workers=1), [], {}
        self.unwritten = None # a best.pt that found no room

    def snapshot(self, state):
        """A copy of what training goes on to change, once the one before it is on the disk."""
        self.wait()
        return snapshot(state)

    def wait(self):
        for write in self.pending:
            write.result()
        self.pending = []

    def last_good(self):
        """The newest checkpoint that is whole on the disk, in words."""
        self.wait()
        return self.newest

    def put(self, checkpoint, name):
        """Have a snapshot written as ckpt.pt or best.pt. A full disk is told, and does not end the run."""
        self.pending.append(self.thread.submit(self.write, checkpoint, name))

    def write(self, checkpoint, name):
        if name == LAST and self.unwritten: # ckpt.pt has its loss, so only a lower one would replace it
            self.write(self.unwritten, BEST)
        path = os.path.join(self.run_dir, name)
        self.problems.pop(name, None)
        self.unwritten = checkpoint if name == BEST else self.unwritten
        try:
            save(checkpoint, path, os.path.join(self.run_dir, PREVIOUS) if name == LAST else '')
            if name == LAST:
                self.newest = f'{path} of iter {checkpoint["iter_num"]}'
                self.number(path, checkpoint['iter_num'])
            else:
                self.unwritten = None
        except SystemExit as problem:
            self.problems[name] = str(problem)
            say(f'WARNING: {problem}; training goes on, and the next save tries again')

    def number(self, path, iter_num):
        """Give the file its number as a second name; of more than keep, those ahead go, then the oldest."""
        if self.keep:
            link(path, os.path.join(self.run_dir, f'ckpt-{iter_num:07d}.pt'))
            found = sorted(numbered(self.run_dir), key=lambda each: (each[0] <= iter_num, each))
            for _, name in found[:-self.keep]:
                remove(os.path.join(self.run_dir, name))

    def finish(self):
        """Wait until all is on the disk; SystemExit for a file whose last write failed."""
        self.wait()
        self.thread.shutdown()
        if self.problems:
            raise SystemExit('; '.join(self.problems.values()))


def numbered(run_dir):
    """(iter_num, name) of the files that --keep has left, the oldest first."""
    return sorted((int(m[1]), name) for name in os.listdir(run_dir) if (m := NUMBERED.fullmatch(name)))


def holds_a_run(run_dir):
    return any(os.path.exists(os.path.join(run_dir, name)) for name in (LAST, PREVIOUS))


def remove_run(run_dir):
    """Remove the checkpoints and the log of a run, so that nothing of it is mistaken for the next one's."""
    for name in (LAST, PREVIOUS, BEST, 'log.jsonl', 'loss.png', *(name for _, name in numbered(run_dir))):
        if os.path.exists(os.path.join(run_dir, name)):
            os.remove(os.path.join(run_dir, name))


# ---- reading ----

def read_checkpoint(path):
    """The dict in a file of save, or of nanoGPT; nothing in it is executed. SystemExit if it is damaged."""
    if not os.path.isfile(path):
        raise SystemExit(f'{path}: expected a checkpoint, found no such file; train one first, for example: '
                         'python train.py config/train_tinystories.py')
    try:
        # mapped: nothing is unpacked, and a size that is a lie ends at the end of the file
        checkpoint = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
        found = checksum(checkpoint, 4 * os.path.getsize(path)) # tied tables are there twice
        checkpoint = snapshot(checkpoint) # plain dicts and tensors, without attributes that were in the file
        json.dumps([checkpoint.get(key) for key in ('model_config', 'tokenizer', 'settings')]) # no tensors
    except Exception as error: # zip, pickle and tensor errors of many types, all with one meaning
        raise SystemExit(f'{path}: not a checkpoint that can be loaded safely, or damaged '
                         f'({type(error).__name__}); use another one') from None
    claimed = checkpoint.get('checksum', 'none' if 'format' in checkpoint else found) # nanoGPT's have neither
    if claimed != found:
        raise SystemExit(f'{path}: expected contents of sha256 {shown(claimed)}, got {found[:16]}, so it is '
                         'damaged; use another one')
    if shown(checkpoint.get('format', FORMAT)) != str(FORMAT):
        raise SystemExit(f'{path}: expected a checkpoint of format {FORMAT}, got '
                         f'{shown(checkpoint["format"])}; use the version of this program that wrote it')
    if isinstance(checkpoint.get('model_args'), dict): # nanoGPT's
        names = {f.name for f in fields(GPTConfig)}
        shape = {k: v for k, v in checkpoint['model_args'].items() if k in names}
        checkpoint = {'model': checkpoint.get('model'), 'model_config': {**shape, 'arch': 'gpt2'},
                      'iter_num': checkpoint.get('iter_num', 0)}
    for key, kind in {'model': dict, 'model_config': dict, 'tokenizer': dict, 'settings': dict,
                      'optimizers': list, 'iter_num': int}.items():
        value = checkpoint.get(key)
        if type(value) is not kind and (key in checkpoint or key.startswith('model')):
            raise SystemExit(f'{path}: expected a checkpoint with a {kind.__name__} as {key}, got '
                             f'{shown(value)}; use a ckpt.pt or best.pt that train.py wrote')
    checkpoint['model'] = {str(k).removeprefix('_orig_mod.'): w for k, w in checkpoint['model'].items()}
    return checkpoint


def shown(value):
    """What a file says, for a message: short, in one line, without the terminal's commands."""
    return ascii(value)[:40].replace('\n', ' ')


def read_first(paths):
    """(checkpoint, path) of the first of these files that is whole; says aloud which are not."""
    there = [path for path in paths if os.path.exists(path)] or paths[:1]
    if there[0] != paths[0]:
        say(f'{paths[0]}: no such file; going on with {there[0]}')
    for path, next_path in itertools.pairwise(there):
        try:
            return read_checkpoint(path), path
        except SystemExit as problem:
            say(f'WARNING: {problem}; going on with {next_path}')
    return read_checkpoint(there[-1]), there[-1]


def shape_of(checkpoint, path):
    """A checkpoint's GPTConfig, but for dropout. SystemExit unless its weights fit. Allocates nothing."""
    given = checkpoint['model_config'] | {'dropout': 0.0}
    kinds = {f.name: f.type for f in fields(GPTConfig)}
    wrong = [f'{shown(k)} {shown(value)}' for k, value in given.items() if type(value) is not kinds.get(k)
             or type(value) in (int, float) and not 0 <= value <= LARGEST]
    if wrong:
        raise SystemExit(f'{path}: expected a model_config of ours, got {", ".join(wrong[:3])}')
    config = GPTConfig(**given)
    # causal masks of old nanoGPT checkpoints
    weights = {name: w for name, w in checkpoint['model'].items() if not name.endswith('.attn.bias')}
    layers = len({name.split('.')[2] for name in weights if name.startswith('transformer.h.')})
    if layers != config.n_layer:
        raise SystemExit(f'{path}: weights do not fit model_config: {layers} layers, not {config.n_layer}')
    with torch.device('meta'): # no memory, no time
        expected = {name: tuple(w.shape) for name, w in GPT(config).state_dict().items()}
    found = {name: tuple(w.shape) if isinstance(w, torch.Tensor) and w.is_floating_point() else 'no numbers'
             for name, w in weights.items()}
    differing = [f'{shown(name)} {found.get(name, "missing")}, not {expected.get(name, "known")}'
                 for name in {**expected, **found} if found.get(name) != expected.get(name)]
    if differing:
        raise SystemExit(f'{path}: its weights do not fit its model_config: {"; ".join(differing[:3])}')
    return config


def build(checkpoint, path='checkpoint', dropout=0.0, block_size=0):
    """
    The GPT of a checkpoint, on the CPU, with its weights.

    path: what error messages call it
    dropout: for training on
    block_size: a shorter context than it was made for; 0: all
    """
    config, weights = shape_of(checkpoint, path), dict(checkpoint['model'])
    config.dropout = dropout
    if block_size and block_size < config.block_size:
        config.block_size = block_size
        if 'transformer.wpe.weight' in weights:
            weights['transformer.wpe.weight'] = weights['transformer.wpe.weight'][:block_size]
    model = GPT(config)
    model.load_state_dict(weights, strict=False) # shape_of has looked at names and shapes
    wrong = [name for name, p in model.named_parameters() if not p.isfinite().all()]
    if wrong:
        raise SystemExit(f'{path}: its weights are not finite (such as {wrong[0]}); use another checkpoint')
    return model


def from_gpt2(name):
    """OpenAI's weights as a checkpoint, fetched by transformers: gpt2, gpt2-medium, gpt2-large or gpt2-xl."""
    try:
        from transformers import GPT2LMHeadModel
        return from_transformers(GPT2LMHeadModel.from_pretrained(name))
    except (ImportError, OSError) as error:
        said = str(error).partition('\n')[0]
        raise SystemExit(f'init_from={name}: {said}; needs a network and: pip install transformers') from None


def from_transformers(theirs):
    """The weights of a transformers GPT2LMHeadModel as a checkpoint of ours, for build."""
    c, weights = theirs.config, {}
    for name, w in theirs.state_dict().items():
        # theirs multiply from the left (Conv1D), so matrices in blocks are the transpose of ours
        weights[name] = w.t().contiguous() if w.dim() == 2 and name.startswith('transformer.h.') else w
    config = GPTConfig(arch='gpt2', vocab_size=c.vocab_size, block_size=c.n_positions, n_layer=c.n_layer,
                       n_head=c.n_head, n_embd=c.n_embd, bias=True, activation='gelu_tanh')
    return {'model': weights, 'model_config': asdict(config), 'tokenizer': {'kind': 'gpt2'}}
