"""
The plan of a run: its length, its learning rate, and what is due when.

    python train.py config/train_tinystories.py --dry_run    # prints it
"""
import math
from dataclasses import dataclass, fields

from data import bins
from lib.log import say
from lib.optim import lr_multiplier

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
        return state.last_eval_iter == state.iter_num or is_due(self.save_interval, state.iter_num) \
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
