"""
Checkpoints: atomic, with a checksum, validated on load.

    python sample.py --checkpoint=out-tinystories/ckpt.prev.pt

A checkpoint is one dict of tensors and plain Python values, written by torch.save and read by torch.load with
weights_only=True, so that loading executes nothing. The folder of a run has ckpt.pt, ckpt.prev.pt (the one
before it), best.pt (weights only), and with --keep=N the last N as ckpt-<iter>.pt.
"""
import hashlib
import itertools
import json
import math
import os
import re
import shutil
from dataclasses import asdict, dataclass, fields

import torch

from configurator import RENAMED
from data.bins import load_tokenizer
from data.files import atomic_write, remove, replacing
from data.tokenizer import from_json
from lib.log import say
from model import GPT, GPTConfig

FORMAT = 2 # of the dict; a higher number is from a later version of this program
LAST, PREVIOUS, BEST = 'ckpt.pt', 'ckpt.prev.pt', 'best.pt'
NUMBERED = re.compile(r'ckpt-(\d+)\.pt')
TEMPORARY = re.compile(r'(ckpt.*\.pt|best\.pt|log\.jsonl|run\.json|loss\.png)\.\d+\.tmp') # of atomic_write
MAX_SIZE = 100_000_000 # of a hyperparameter in a file
GPT2_NAMES = 'gpt2', 'gpt2-medium', 'gpt2-large', 'gpt2-xl'


@dataclass
class RunState:
    """How far a run is; a checkpoint has these values under the same names."""
    iter_num: int = 0 # updates made
    minutes: float = 0.0 # of training, over all resumes
    best_val_loss: float = math.inf # lowest so far, nats per token
    best_iter: int = 0 # iter_num of that evaluation
    evals_since_best: int = 0 # for patience
    last_eval_iter: int = 0 # iter_num at the last evaluation, which is not repeated
    skipped_steps: int = 0 # updates whose loss or gradient was not finite
    bad_steps: int = 0 # consecutive ones up to now
    n_losses: int = 0 # finite losses so far
    loss_mean: float = 0.0 # running mean of the training loss, to detect spikes
    loss_deviation: float = 0.0 # running mean of its absolute deviation

    def record_eval(self, val_loss):
        """Note an evaluation at iter_num; returns whether it is the best so far."""
        is_best = val_loss < self.best_val_loss
        if is_best:
            self.best_val_loss, self.best_iter = val_loss, self.iter_num
        self.evals_since_best = 0 if is_best else self.evals_since_best + 1
        self.last_eval_iter = self.iter_num
        return is_best


def make_checkpoint(model, state, optimizers, scaler, tokenizer, settings, data_sha256):
    """The dict that a run resumes from. It refers to the tensors of the run; snapshot() copies them."""
    return {
        'model': model.state_dict(), # of the uncompiled module, so names have no prefix
        'model_config': asdict(model.config), # arguments of GPTConfig
        'tokenizer': tokenizer, # dict, enough to rebuild it: data/tokenizer.py
        'optimizers': [optimizer.state_dict() for optimizer in optimizers], # in the order of make_optimizers
        'scaler': scaler.state_dict() if scaler else None, # for float16; CPU-GPU synchronization
        **asdict(state), # see RunState
        'settings': settings, # dict, those of train.py
        'data_sha256': data_sha256, # of the tokens it was trained on
    }


def checksum(checkpoint, max_bytes=math.inf):
    """
    Hex sha256 of the contents of a dict of tensors and plain Python values, however a file stores them.

    max_bytes: bound of their size; lists that contain one list twice can be endless in a file of a few bytes
    Raises ValueError beyond it, for other types, and for a tensor that claims more elements than it has.
    """
    sha = hashlib.sha256()
    def add(value):
        nonlocal max_bytes
        is_tensor = isinstance(value, torch.Tensor)
        size = value.numel() * value.element_size() if is_tensor else len(value) if type(value) is str else 0
        max_bytes -= 1 + size
        if max_bytes < 0:
            raise ValueError('larger than its file allows')
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
            raise ValueError(f'a {type(value).__name__}, which is not a plain value')
    add({key: value for key, value in checkpoint.items() if key != 'checksum'})
    return sha.hexdigest()


# ---- writing ----

def save(checkpoint, path, previous=''):
    """
    Write a dict of tensors and plain Python values to path, atomically. SystemExit if it cannot be written.

    previous: the path that the old file gets; '': it is dropped
    """
    path, checkpoint = str(path), {**checkpoint, 'format': FORMAT}
    checkpoint['checksum'] = checksum(checkpoint)
    with atomic_write(path) as file:
        torch.save(checkpoint, file)
        if previous and os.path.exists(path):
            file.flush()
            os.fsync(file.fileno()) # a full disk must show before the previous checkpoint is replaced
            link(path, previous)


def link(path, other):
    """Give a file a second name, which replaces any other file; a copy where the disk has no links."""
    with replacing(other) as temporary:
        remove(temporary)
        try:
            os.link(os.path.realpath(path), temporary) # not the symbolic link, which would name the new file
        except OSError:
            shutil.copyfile(path, temporary)


def snapshot(value, copies=None):
    """A copy on the CPU of nested dicts and lists of tensors; tensors that share memory still do."""
    copies = {} if copies is None else copies
    if isinstance(value, torch.Tensor):
        key = value.device, value.data_ptr(), value.shape, value.stride(), value.dtype
        if key not in copies or not value.numel():
            copies[key] = value.detach().to('cpu', copy=True) # CPU-GPU synchronization
        return copies[key]
    if isinstance(value, dict):
        return {key: snapshot(each, copies) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(snapshot(each, copies) for each in value)
    return value


# ---- the folder of a run ----

def numbered(run_dir):
    """(iter_num, name) of the checkpoints that --keep has left, oldest first."""
    return sorted((int(m[1]), name) for name in os.listdir(run_dir) if (m := NUMBERED.fullmatch(name)))


def holds_a_run(run_dir):
    """Whether a folder has a run that can be resumed."""
    return os.path.isdir(run_dir) and any(name in (LAST, PREVIOUS) or NUMBERED.fullmatch(name)
                                          for name in os.listdir(run_dir))


def replaced_by_new_run(run_dir, init_from):
    """
    The checkpoints in a folder that a new run would replace.

    A best.pt alone, which a kill in the first save leaves, is set aside for init_from='auto'.
    """
    if not os.path.isdir(run_dir):
        return []
    names = [LAST, PREVIOUS] + [BEST] * (init_from != 'auto')
    return [name for name in names if os.path.exists(os.path.join(run_dir, name))] \
        + [name for _, name in numbered(run_dir)]


def remove_temporaries(run_dir):
    """Remove the unfinished files of a process that was killed; only for the process that has the lock."""
    for name in os.listdir(run_dir):
        if TEMPORARY.fullmatch(name):
            remove(os.path.join(run_dir, name))


def remove_run(run_dir):
    """Remove the checkpoints and logs of a run, so that none of them is mistaken for the next run's."""
    names = LAST, PREVIOUS, BEST, 'ckpt.damaged.pt', 'log.jsonl', 'loss.png', 'run.json'
    for name in (*names, *(name for _, name in numbered(run_dir))):
        if os.path.exists(os.path.join(run_dir, name)):
            os.remove(os.path.join(run_dir, name))


# ---- reading ----

def load_initial_checkpoint(init_from, run_dir):
    """
    (checkpoint, its path) to start from; ({}, '') for scratch.

    init_from: scratch, resume, auto (resume if run_dir holds a run), a name in GPT2_NAMES, the path of a
        checkpoint, or the folder of a run
    """
    if init_from == 'scratch' or init_from == 'auto' and not holds_a_run(run_dir):
        return {}, ''
    if init_from in GPT2_NAMES:
        return from_gpt2(init_from), init_from
    if init_from in ('resume', 'auto'):
        return read_resumable(run_dir)
    if not os.path.exists(init_from):
        raise SystemExit(f'init_from: expected scratch, resume, auto, {", ".join(GPT2_NAMES)} or the path of '
                         f'a checkpoint, got {init_from!r}, which is none of these')
    return read_best(init_from)


def read_best(path):
    """(checkpoint, its path) of a file, or of the best checkpoint in the folder of a run."""
    return read_first([os.path.join(path, name) for name in (BEST, LAST, PREVIOUS)]
                      if os.path.isdir(path) else [path])


def read_checkpoint(path):
    """The dict of a checkpoint, ours or nanoGPT's; executes nothing in it. SystemExit if it is damaged."""
    if not os.path.isfile(path):
        got = ('a folder' if os.path.isdir(path) else 'a device or pipe' if os.path.exists(path)
               else 'no such file')
        raise SystemExit(f'{path}: expected a checkpoint, found {got}; train one first, for example: '
                         'python train.py config/train_tinystories.py')
    try:
        with open(path, 'rb') as file:
            is_pickle = file.read(2) == b'\x80\x02'
    except OSError as error:
        raise SystemExit(f'{path}: could not be read ({error.strerror})') from None
    if is_pickle:
        raise SystemExit(f'{path}: expected the zip format of torch.save, got a pickle, as before torch 1.6; '
                         'if you trust it, load it and save it again with a newer torch')
    try:
        # memory-mapped: nothing is decompressed, and a false size ends at the end of the file
        checkpoint = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
        found = checksum(checkpoint, 4 * os.path.getsize(path)) # tied weights are there twice
        checkpoint = snapshot(checkpoint) # plain dicts and tensors, without attributes that were in the file
        json.dumps([checkpoint.get(key) for key in ('model_config', 'tokenizer', 'settings')]) # no tensors
    except Exception as error: # zip, pickle and tensor errors of many types, all with one meaning
        raise SystemExit(f'{path}: not a checkpoint that can be loaded safely, or damaged '
                         f'({type(error).__name__}); use another one') from None
    claimed = checkpoint.get('checksum', 'none' if 'format' in checkpoint else found) # nanoGPT's have neither
    if claimed != found:
        raise SystemExit(f'{path}: expected contents with sha256 {printable(claimed)}, got {found[:16]}, so '
                         'it is damaged; use another one')
    version = checkpoint.get('format', FORMAT)
    if type(version) is not int or not 1 <= version <= FORMAT:
        raise SystemExit(f'{path}: expected a checkpoint of format 1 to {FORMAT}, got {printable(version)}; '
                         'use the version of this program that wrote it')
    checkpoint = upgrade(checkpoint)
    for key, kind in {'model': dict, 'model_config': dict, 'tokenizer': dict, 'settings': dict,
                      'optimizers': list, 'iter_num': int}.items():
        value = checkpoint.get(key)
        if type(value) is not kind and (key in checkpoint or key.startswith('model')):
            raise SystemExit(f'{path}: expected a checkpoint with a {kind.__name__} as {key}, got '
                             f'{printable(value)}; use a ckpt.pt or best.pt that train.py wrote')
    checkpoint['model'] = canonical_names(checkpoint['model'], checkpoint['model_config'])
    return checkpoint


def upgrade(checkpoint):
    """A checkpoint of nanoGPT, or of an older format of ours, as one of the present format."""
    args = checkpoint.get('model_args')
    if isinstance(args, dict): # nanoGPT's
        names = {f.name for f in fields(GPTConfig)}
        weights = checkpoint.get('model')
        with_bias = isinstance(weights, dict) and any(str(name).endswith('ln_f.bias') for name in weights)
        return {'model': weights, 'iter_num': checkpoint.get('iter_num', 0), 'model_config':
                {'bias': with_bias, **{k: v for k, v in args.items() if k in names}, 'arch': 'gpt2'}}
    if checkpoint.get('format') != 1:
        return checkpoint
    config, settings = checkpoint.get('model_config'), checkpoint.get('settings')
    if isinstance(config, dict) and config.get('arch') == 'modern': # these had no effect there
        checkpoint['model_config'] = config | {'activation': '', 'bias': False}
    if isinstance(settings, dict):
        checkpoint['settings'] = {RENAMED.get(k, k): v for k, v in settings.items()}
    if 'evaluated' in checkpoint:
        checkpoint = {**asdict(RunState()), **checkpoint, 'last_eval_iter': checkpoint['evaluated']}
    return checkpoint


def canonical_names(weights, config):
    """Weights under the names of our GPT: without prefixes of torch.compile and DDP, and with a tied head."""
    renamed = {re.sub(r'^((_orig_mod|module)\.)+', '', str(name)): w for name, w in weights.items()}
    tied = config.get('tie_weights') or config.get('arch') == 'gpt2'
    if tied and 'transformer.wte.weight' in renamed and 'lm_head.weight' not in renamed:
        renamed['lm_head.weight'] = renamed['transformer.wte.weight']
    return renamed


def printable(value):
    """A value from a file, for a message: short, in one line, without control characters."""
    return ascii(value)[:40].replace('\n', ' ')


def read_first(paths):
    """(checkpoint, path) of the first of these files that is whole; prints which are missing or damaged."""
    there = [path for path in paths if os.path.exists(path)] or paths[:1]
    if there[0] != paths[0]:
        say(f'{paths[0]}: no such file; using {there[0]}')
    for path, next_path in itertools.pairwise(there):
        try:
            return read_checkpoint(path), path
        except SystemExit as problem:
            say(f'WARNING: {problem}; using {next_path}')
    return read_checkpoint(there[-1]), there[-1]


def read_resumable(run_dir):
    """(checkpoint, path) of the run in a folder, with all that resuming needs."""
    try:
        kept = [name for _, name in reversed(numbered(run_dir))] if os.path.isdir(run_dir) else []
        checkpoint, path = read_first([os.path.join(run_dir, name) for name in (LAST, PREVIOUS, *kept)])
    except SystemExit as problem:
        best = os.path.join(run_dir, BEST)
        if os.path.exists(best): # has no optimizer state, but is better than nothing
            raise SystemExit(f'{problem}; {best} has the weights with the lowest validation loss: '
                             f'--init_from={best} --out_dir=ANOTHER starts a new run from them') from None
        raise
    advice = f'start a new run from its weights with --init_from={path} --out_dir=ANOTHER'
    if not checkpoint.get('optimizers'):
        raise SystemExit(f'{path}: has no optimizer state, so it cannot be resumed; {advice}')
    kinds = {f.name: type(f.default) for f in fields(RunState)}
    kinds |= {'optimizers': list, 'settings': dict, 'tokenizer': dict}
    wrong = [f'{name} {type(checkpoint.get(name)).__name__}' for name, kind in kinds.items()
             if type(checkpoint.get(name)) is not kind]
    # an infinite best_val_loss means that there was no evaluation yet
    wrong = wrong or [f'{f.name} {checkpoint[f.name]}' for f in fields(RunState)
                      if not (0 <= checkpoint[f.name] < 1e12
                              or (f.name == 'best_val_loss' and checkpoint[f.name] > 0))]
    if wrong:
        raise SystemExit(f'{path}: expected a checkpoint of a run, got {", ".join(wrong)}; {advice}')
    return checkpoint, path


def config_of(checkpoint, path):
    """A checkpoint's GPTConfig, without dropout. SystemExit unless its weights fit. Allocates nothing."""
    given = checkpoint['model_config'] | {'dropout': 0.0}
    kinds = {f.name: type(f.default) for f in fields(GPTConfig)}
    wrong = [f'{printable(k)} {printable(value)}' for k, value in given.items()
             if type(value) is not kinds.get(k) or type(value) in (int, float) and not 0 <= value <= MAX_SIZE]
    if wrong:
        raise SystemExit(f'{path}: expected a model_config of ours, got {", ".join(wrong[:3])}')
    config = GPTConfig(**given)
    weights = {name: w for name, w in checkpoint['model'].items()
               if not name.endswith(('.attn.bias', '.attn.masked_bias'))} # causal masks of older versions
    layers = len({name.split('.')[2] for name in weights if name.startswith('transformer.h.')})
    if layers != config.n_layer:
        raise SystemExit(f'{path}: expected weights of {config.n_layer} layers, as its model_config says, '
                         f'got {layers}')
    with torch.device('meta'): # no memory, no time
        expected = {name: tuple(w.shape) for name, w in GPT(config).state_dict().items()}
    found = {name: tuple(w.shape) if isinstance(w, torch.Tensor) and w.is_floating_point() else 'no numbers'
             for name, w in weights.items()}
    differing = [f'{printable(name)} {found.get(name, "missing")}, not {expected.get(name, "known")}'
                 for name in {**expected, **found} if found.get(name) != expected.get(name)]
    table, head = (weights.get(f'{name}.weight') for name in ('transformer.wte', 'lm_head'))
    tied = config.tie_weights or config.arch == 'gpt2'
    if tied and not differing and table is not head and not torch.equal(table, head):
        raise SystemExit(f'{path}: expected lm_head to be tied to the token embedding, got other weights; '
                         'this architecture is not supported')
    if differing:
        raise SystemExit(f'{path}: its weights do not fit its model_config: {"; ".join(differing[:3])}')
    return config


def build(checkpoint, path='checkpoint', dropout=0.0, block_size=0):
    """
    The GPT of a checkpoint, on the CPU, with its weights.

    path: its name in error messages
    dropout: for further training
    block_size: a shorter context than it was made for; 0: all of it
    """
    config, weights = config_of(checkpoint, path), dict(checkpoint['model'])
    config.dropout = dropout
    if block_size and block_size < config.block_size:
        config.block_size = block_size
        if 'transformer.wpe.weight' in weights:
            weights['transformer.wpe.weight'] = weights['transformer.wpe.weight'][:block_size]
    model = GPT(config)
    model.load_state_dict(weights, strict=False) # config_of has checked names and shapes
    wrong = [name for name, p in model.named_parameters() if not p.isfinite().all()]
    if wrong:
        raise SystemExit(f'{path}: its weights are not finite (such as {wrong[0]}); use another checkpoint')
    return model


def tokenizer_for(checkpoint, path, tokenizer_file):
    """The tokenizer in a checkpoint; if it has none, that of tokenizer_file, or GPT-2's if its size fits."""
    rows = checkpoint['model_config']['vocab_size']
    if 'tokenizer' in checkpoint and tokenizer_file:
        raise SystemExit(f'tokenizer: {path} has its own tokenizer, {tokenizer_file} would have no effect; '
                         'leave --tokenizer out')
    if 'tokenizer' in checkpoint:
        tokenizer = from_json(checkpoint['tokenizer'])
    elif tokenizer_file:
        tokenizer = load_tokenizer(tokenizer_file)
    elif rows in (50257, 50304): # GPT-2's vocabulary, and as nanoGPT pads it
        tokenizer = from_json({'kind': 'gpt2'})
    else:
        raise SystemExit(f'{path}: has no tokenizer; give the meta.pkl or meta.json of its dataset: '
                         '--tokenizer=FILE')
    is_wrong_char = 'tokenizer' not in checkpoint and tokenizer.kind == 'char' and tokenizer.n_vocab != rows
    if tokenizer.n_vocab > rows or is_wrong_char: # nanoGPT does not pad characters
        raise SystemExit(f'tokenizer: {tokenizer_file or "that of the checkpoint"} has {tokenizer.n_vocab} '
                         f'tokens, the vocabulary of {path} has {rows}; give that of its dataset')
    return tokenizer


# ---- weights from elsewhere ----

def from_gpt2(name):
    """OpenAI's weights as a checkpoint, downloaded by transformers. name: one of GPT2_NAMES."""
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
        # Conv1D multiplies from the left, so its matrices are the transpose of ours
        weights[name] = w.t().contiguous() if w.dim() == 2 and name.startswith('transformer.h.') else w
    config = GPTConfig(arch='gpt2', vocab_size=c.vocab_size, block_size=c.n_positions, n_layer=c.n_layer,
                       n_head=c.n_head, n_embd=c.n_embd, bias=True, activation='gelu_tanh')
    return {'model': weights, 'model_config': asdict(config), 'tokenizer': {'kind': 'gpt2'}}
