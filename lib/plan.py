"""
What a run will be: its model, its length, its learning rate, and what is due when.

    python train.py config/train_tinystories.py --dry_run    # prints it
"""
import math
import os
from dataclasses import dataclass, fields, replace

import torch

from data import bins
from data.files import short_path
from lib.checkpoint import config_of
from lib.device import memory_line, memory_needed
from lib.log import say
from lib.optim import lr_multiplier
from lib.parts import parts_table
from lib.recipe import choose_optimizer
from model import GPT, GPTConfig

COMPILED_PASSES = 500 # on an H200, compiling takes 3 to 10 s and saves 5 to 50 ms in each
LENGTHS = 0.8, 0.64, 0.5 # fractions of max_iters for a shortened run; below half, the model learns too little
DEFAULT_LIMITS = 1000, 10, 0 # max_iters, epochs, max_minutes of a run for which nothing says how long it is


@dataclass(frozen=True)
class Plan:
    """How long a run is, its learning rate, and what is due when: pure functions of its state."""
    tokens_per_iter: int
    iters_per_epoch: float
    max_iters: int # 0: no limit
    max_minutes: float # 0: no limit
    patience: int
    decay_iters: int # updates until the end of the decay; 0: by the clock
    warmup_iters: int
    decay_fraction: float
    schedule: str
    lr_floor: float # minimum learning rate as a fraction of the maximum
    log_interval: int
    eval_interval: int
    sample_interval: int
    save_interval: int
    save_minutes: float

    def is_over(self, state):
        return bool((self.max_iters and state.iter_num >= self.max_iters)
                    or (self.max_minutes and state.minutes >= self.max_minutes)
                    or (self.patience and state.evals_since_best >= self.patience))

    def is_eval_due(self, state):
        """After every eval_interval updates and at the end, once; a resumed run makes up for a missed one."""
        return state.iter_num > state.last_eval_iter \
            and (self.is_over(state) or is_due(self.eval_interval, state.iter_num))

    def is_save_due(self, state, saved_minutes):
        return 0 < state.last_eval_iter == state.iter_num or is_due(self.save_interval, state.iter_num) \
            or (self.save_minutes > 0 and state.minutes >= saved_minutes + self.save_minutes)

    def lr_multiplier(self, state):
        progress = max(state.iter_num / self.decay_iters if self.decay_iters else 0.0,
                       state.minutes / self.max_minutes if self.max_minutes else 0.0)
        return lr_multiplier(state.iter_num, progress, self.warmup_iters, self.decay_iters,
                             self.decay_fraction, self.schedule, self.lr_floor)

    def seconds_left(self, state, dt):
        """Seconds until the first limit, at dt seconds per update."""
        by_iters = (self.max_iters - state.iter_num) * dt if self.max_iters else math.inf
        return min(by_iters, (self.max_minutes - state.minutes) * 60 if self.max_minutes else math.inf)


def is_due(interval, iter_num):
    """Whether something that happens every interval updates happens after iter_num of them; 0: never."""
    return interval > 0 and iter_num > 0 and iter_num % interval == 0


def make_plan(s, typed, config, meta):
    """The Plan for the settings s. typed: names given on the command line; config: GPTConfig."""
    sequences = s['batch_size'] * s['gradient_accumulation_steps']
    iters_per_epoch = bins.windows_per_epoch(meta['splits']['train']['tokens'], config.block_size) / sequences
    iters, epochs, minutes = stop_limits(s, typed)
    by_epochs = math.ceil(min(epochs * iters_per_epoch, 1e15))
    max_iters = min((n for n in (iters, by_epochs) if n), default=0)
    decay_iters, warmup = s['lr_decay_iters'] or max_iters, s['warmup_iters']
    if decay_iters and warmup >= decay_iters:
        warmup = decay_iters // 10
        say(f"warmup_iters: shortened from {s['warmup_iters']} to {warmup}, as the run has {decay_iters} "
            'updates')
    decays = s['decay_lr'] and s['learning_rate'] > 0
    same = {f.name: s[f.name] for f in fields(Plan) if f.name in s}
    return Plan(**same | {
        'tokens_per_iter': sequences * config.block_size, 'iters_per_epoch': iters_per_epoch,
        'max_iters': max_iters, 'max_minutes': minutes, 'decay_iters': decay_iters, 'warmup_iters': warmup,
        'lr_floor': s['min_lr'] / s['learning_rate'] if decays else 1.0})


def stop_limits(s, typed):
    """(max_iters, epochs, max_minutes), 0: no limit; those on the command line replace all others."""
    names = 'max_iters', 'epochs', 'max_minutes'
    chosen = [name for name in names if s[name] and (name in typed or not typed.intersection(names))]
    return [s[name] if name in chosen else 0 for name in names] if chosen \
        else list(DEFAULT_LIMITS)


def should_fit_length(s, typed, plan, resuming):
    """Whether fit_minutes may shorten a run: a new one whose length is not on the command line."""
    chosen = typed & {'max_iters', 'epochs', 'max_minutes', 'depth'}
    return s['fit_minutes'] > 0 and plan.max_iters > 0 and not (chosen or resuming or s['eval_only'])


def fit_length(s, plan, meta, seconds):
    """
    The settings s with max_iters shortened, if need be, so that the run takes at most fit_minutes.

    It is the full length or one of LENGTHS of it, the shortest if none fits: few lengths, so that losses can
    be compared with recorded ones.
    seconds: of an update. A forward pass, as in an evaluation, takes a third of that for as many tokens.
    """
    n_val = meta['splits']['val']['tokens']
    evaluated = min(n_val, s['eval_tokens'] or n_val) / plan.tokens_per_iter # in updates of as many tokens
    minutes = seconds * (1 + evaluated / 3 / (plan.eval_interval or plan.max_iters)) / 60 # of an update
    lengths = [plan.max_iters, *(math.ceil(plan.max_iters * part) for part in LENGTHS)]
    iters = next((n for n in lengths if n * minutes <= s['fit_minutes']), lengths[-1])
    why = f', because {plan.max_iters:,} would take {plan.max_iters * minutes:.1f}' \
        if iters < plan.max_iters else ''
    say(f'an update takes {1000 * seconds:,.0f} ms on this machine: {iters:,} updates in about '
        f'{iters * minutes:.1f} minutes{why}')
    return s | {'max_iters': iters}


def default_out_dir(config_files, dataset):
    """out-x for config/train_x.py; without a config file, for the dataset."""
    if config_files:
        return 'out-' + os.path.splitext(os.path.basename(config_files[-1]))[0].removeprefix('train_')
    return 'out-' + os.path.basename(os.path.normpath(dataset))


# ---- the model, from settings, checkpoint and data ----

def choose_config(checkpoint, path, settings, typed, given, meta, on_gpu=False):
    """
    The GPTConfig of a run: that of the checkpoint, or without one what the settings say.

    typed, given: names on the command line; there or in config files
    on_gpu: pad the vocabulary of a new model for tensor cores, unless vocab_size is set
    """
    multiple = 64 if on_gpu else 1
    vocab_size = settings['vocab_size'] or math.ceil(meta['vocab_size'] / multiple) * multiple
    if not checkpoint:
        shape = {f.name: settings[f.name] for f in fields(GPTConfig)}
        config = GPTConfig(**shape | {'vocab_size': vocab_size})
    else:
        config = config_of(checkpoint, path)
        check_typed_shape(config, path, settings, typed, checkpoint.get('settings', {}))
        config.dropout = settings['dropout']
        if settings['init_from'] not in ('resume', 'auto') and 'block_size' in given:
            config.block_size = min(config.block_size, settings['block_size'])
        check_tokenizer(checkpoint, path, meta)
    config.block_size = clamp_block_size(config.block_size, meta)
    if not checkpoint and config.block_size < settings['block_size']:
        say(f"block_size: shortened from {settings['block_size']} to {config.block_size}; the text is short")
    largest = max(meta['splits'][split]['largest_id'] for split in ('train', 'val'))
    if largest >= config.vocab_size:
        raise SystemExit(f'data: expected token ids below vocab_size = {config.vocab_size}, got {largest}; '
                         'raise --vocab_size or prepare the data again')
    return config


def check_typed_shape(config, path, settings, typed, settings_before):
    """SystemExit for a hyperparameter on the command line that is not the checkpoint's."""
    wrong = []
    for name in (f.name for f in fields(GPTConfig) if f.name != 'dropout'):
        found, wanted = getattr(config, name), settings[name]
        shorter = name == 'block_size' and wanted < found and settings['init_from'] not in ('resume', 'auto')
        as_before = wanted == settings_before.get(name) # such as a block_size that was then shortened
        if name in typed and wanted != found and not (shorter or as_before):
            wrong.append(f'{name} is {found} in the checkpoint, and {wanted} on the command line')
    if wrong:
        raise SystemExit(f'{path}: {"; ".join(wrong)}; leave that out, or start from scratch')


def check_tokenizer(checkpoint, path, meta):
    """SystemExit if the data is in another vocabulary than the one a checkpoint was trained on."""
    advice = 'prepare the data with the same tokenizer (prepare.py --tokenizer=FILE), or start from scratch'
    if checkpoint.get('tokenizer', meta['tokenizer']) != meta['tokenizer']:
        raise SystemExit(f'{path}: expected data in its own vocabulary, got another; {advice}')
    # a checkpoint of nanoGPT does not say what its ids stand for: characters, or GPT-2's tokens, padded
    rows, tokens = checkpoint['model_config']['vocab_size'], meta['vocab_size']
    kind = meta['tokenizer']['kind']
    fits = {'char': rows == tokens, 'gpt2': rows in (50257, 50304)}
    if 'tokenizer' not in checkpoint and not fits.get(kind, False):
        raise SystemExit(f'{path}: expected data of {rows} characters or GPT-2 tokens, got {tokens} tokens '
                         f'({kind}); {advice}')


def clamp_block_size(block_size, meta, least=8):
    """block_size, or as many tokens as one window of train and of val can have."""
    tokens = {split: meta['splits'][split]['tokens'] for split in ('train', 'val')}
    shortest = min(tokens, key=tokens.get)
    room = tokens[shortest] - 1 # the last token has no target
    if room < min(least, block_size):
        raise SystemExit(f'{shortest}.bin: expected at least {least + 1} tokens, got {tokens[shortest]}; '
                         'use a longer text')
    return min(block_size, room)


# ---- a resumed run ----

def resumed_settings(s, typed, given, checkpoint, path):
    """
    The settings of a resumed run, which keeps its text, and a length that was fitted to the machine.

    typed, given: names of the settings on the command line; there or in config files
    """
    before = checkpoint['settings']
    fitted = {'max_iters'} if before.get('fit_minutes') else set()
    # without --input, check_same_data compares the tokens of the dataset
    for name in ('input', 'max_samples', 'dataset') if before.get('input') else ('input', 'max_samples'):
        if name in given and not same_path(s[name], before.get(name, s[name])):
            raise SystemExit(f'{path}: expected --{name}={before[name]}, which it was trained on, got '
                             f'{s[name]}; leave it out, or start a new run from its weights: '
                             f'--init_from={path} --out_dir=ANOTHER')
    return s | {name: before[name] for name in ('dataset', 'input', 'max_samples')
                if name in before and name not in given} \
        | {name: before[name] for name in fitted - typed}


def same_path(a, b):
    """Whether two values of a setting are equal, or paths of the same file."""
    return a == b or (isinstance(a, str) and a and b and os.path.realpath(a) == os.path.realpath(b))


def check_same_data(folder, meta, checkpoint, path):
    """SystemExit if a resumed run would continue on other tokens than those that it was trained on."""
    found = bins.data_checksum(meta)
    if checkpoint.get('data_sha256', found) != found:
        raise SystemExit(f'{folder}: expected the data that {path} was trained on, got other tokens; prepare '
                         'it as before, or start a new run from its weights: '
                         f'--init_from={path} --out_dir=ANOTHER')


# ---- what is printed about it ----

def without_short_compile(machine, s, plan):
    """The machine, without torch.compile where that was left to it and the run is too short to gain by it."""
    passes = plan.max_iters * s['gradient_accumulation_steps'] // machine.world_size # 0: by the clock
    if not machine.compile or s['compile'] != 'auto' or not (s['eval_only'] or 0 < passes < COMPILED_PASSES):
        return machine
    say(f'compile off: it takes as long as it would save in {COMPILED_PASSES} forward passes')
    return replace(machine, compile=False)


def print_plan(s, plan, config, folder, meta):
    """Print what the run is: data, model, length."""
    n_train, n_val = (meta['splits'][split]['tokens'] for split in ('train', 'val'))
    say(f'data {short_path(folder)}: {n_train:,} tokens to train on, {n_val:,} for validation | '
        f'1 epoch = {plan.iters_per_epoch:,.1f} updates of {plan.tokens_per_iter:,} tokens '
        f"({s['batch_size']} sequences x {config.block_size} tokens x {s['gradient_accumulation_steps']} "
        'micro-batches)')
    with torch.device('meta'): # no memory
        n_params = GPT(config).n_params()
    n_padding = config.vocab_size - meta['vocab_size']
    padding = f', {n_padding:,} of them padding' if n_padding > 0 else ''
    say(f'model {config.arch}: {n_params:,} parameters | {config.n_layer} layers, n_embd {config.n_embd}, '
        f'vocabulary of {config.vocab_size:,}{padding}')


def print_dry_run(s, plan, config, machine):
    """Print the parts of the model, the memory and the length of a run that is not made."""
    with torch.device('meta'): # no memory
        say(parts_table(GPT(config)))
    kind = choose_optimizer(s['optimizer'], config.arch)
    needed = memory_needed(config, s['batch_size'], kind, machine.dtype, machine.on_gpu)
    say(memory_line(needed, config, s['batch_size']))
    say(f'run: {plan.max_iters:,} updates, {plan.max_iters * plan.tokens_per_iter:,} tokens, '
        f'{plan.max_iters / plan.iters_per_epoch:,.2f} epochs' if plan.max_iters
        else f'run: {plan.max_minutes} minutes')
    say('nothing was trained or written')


def print_resumed(path, state, before, s):
    """Print from where a run resumes, and the settings that it changes; its shape stays the checkpoint's."""
    say(f'resume: {path}, iter {state.iter_num}')
    fixed = {f.name for f in fields(GPTConfig)} | {'init_from', 'overwrite', 'eval_only', 'dry_run', 'input',
                                                   'max_samples'}
    for name, value in s.items():
        if name in before and before[name] != value and name not in fixed - {'dropout'}:
            say(f'resume: {name} was {before[name]}, is now {value}')
