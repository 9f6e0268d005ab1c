"""
What a run reports: console lines, log.jsonl, wandb, the loss curve, and the checks of each update.

    python -c "from lib import log; log.draw_loss('out-tinystories/log.jsonl', 'loss.png')"
"""
import json
import math
import os
import sys
from contextlib import contextmanager, suppress
from datetime import timedelta
from time import perf_counter

import torch

from data.files import atomic_write, write_errors
from data.messages import describe


def say(text):
    """Print a line. A closed pipe, terminal or full disk behind stdout must not end hours of training."""
    try:
        print(text, flush=True)
    except UnicodeEncodeError: # the console's encoding lacks a character; a script has prevented this
        encoding = sys.stdout.encoding
        say(text.encode(encoding, 'backslashreplace').decode(encoding))
    except (OSError, ValueError): # ValueError: stdout is closed
        sys.stdout = open(os.devnull, 'w', encoding='utf-8')


# ---- time ----

class Clock:
    """Training time over all resumes, and the recent duration of an update."""

    def __init__(self, minutes=0.0):
        self.began = perf_counter() - 60 * minutes
        self.lap_began, self.lap_updates, self.laps = perf_counter(), 0, 0

    @property
    def minutes(self):
        """Minutes of training, evaluation included, over all resumes."""
        return (perf_counter() - self.began) / 60

    @contextmanager
    def paused(self):
        """Time inside is not counted in the duration of an update, but in minutes."""
        began = perf_counter()
        yield
        self.lap_began += perf_counter() - began

    def lap(self):
        """Seconds per update since the last lap; call it when the device has finished the last update."""
        now = perf_counter()
        dt = (now - self.lap_began) / max(1, self.lap_updates)
        self.lap_began, self.lap_updates, self.laps = now, 0, self.laps + 1
        return dt


# ---- the checks of each update ----

class Diverged(SystemExit):
    """The end of a run whose loss, gradients or weights are no longer finite."""


class StepMonitor:
    """
    Checks what train_step returned for each update: skipped updates and spikes of the loss.

    A spike is a loss above its running mean (of about the last 50) by more than six mean absolute deviations.
    On a GPU the values are copied to pinned memory in the background, so that reading those of the previous
    update does not wait for the current one.

    state: RunState, whose counters are kept up to date
    """

    def __init__(self, state, max_bad_steps):
        self.state, self.max_bad_steps = state, max_bad_steps
        self.write, self.last_good = None, lambda: 'none' # rank 0 has a log and checkpoints: lib/recorder.py
        self.pending = []
        self.loss = self.norm = math.nan # of the last update that was read
        self.finite = True
        self.shared = [] # what the processes shared with it

    def push(self, iter_num, lr, stats, scaled=False):
        """
        Start reading the results of update iter_num.

        stats: float32 (3 + n,): loss, gradient norm, whether the update was applied, and n shared values
        scaled: whether a gradient scaler is used, which makes gradients overflow on purpose
        """
        ready = None
        if stats.is_cuda:
            stats = stats.to('cpu', non_blocking=True)
            ready = torch.cuda.Event()
            ready.record()
        self.pending.append((iter_num, lr, stats, ready, scaled))

    def read(self, lag=0):
        """
        Read the results of all updates except the last `lag`; on a GPU it waits until these are finished.

        Raises SystemExit when too many updates in a row were skipped.
        """
        while len(self.pending) > lag:
            iter_num, lr, stats, ready, scaled = self.pending.pop(0)
            if ready:
                ready.synchronize() # CPU-GPU synchronization, of that update alone: later ones are queued
            self.loss, self.norm, finite, *self.shared = stats.tolist()
            self.finite = finite > 0
            if self.finite:
                self.state.bad_steps = 0
                self.check_spike(iter_num)
            elif scaled and math.isfinite(self.loss):
                say(f'iter {iter_num} | gradient overflow in float16, update skipped; its scale is lowered')
            else:
                self.report_skipped(iter_num, lr)

    def report_skipped(self, iter_num, lr):
        self.state.bad_steps += 1
        self.state.skipped_steps += 1
        values = f'loss {self.loss} | lr {lr:.2e} | norm {self.norm}'
        say(f'iter {iter_num} | {values} | non-finite loss or gradient norm, update skipped '
            f'({self.state.bad_steps}/{self.max_bad_steps} in a row)')
        if self.write: # JSON has no nan
            self.write({'iter': iter_num, 'skipped': self.state.skipped_steps, 'lr': lr,
                        'skipped_loss': str(self.loss), 'skipped_norm': str(self.norm)})
        if self.state.bad_steps >= self.max_bad_steps:
            raise self.diverged(f'non-finite loss or gradient norm {self.state.bad_steps} times in a row, '
                                f'last at iter {iter_num} ({values})')

    def check_spike(self, iter_num):
        s = self.state
        if s.n_losses >= 50 and self.loss > s.loss_mean + 6 * s.loss_deviation:
            say(f'iter {iter_num} | loss spike: {self.loss:.4f}, running mean {s.loss_mean:.4f} +- '
                f'{s.loss_deviation:.4f}')
            if self.write:
                self.write({'iter': iter_num, 'spike': self.loss, 'loss_mean': s.loss_mean})
        s.n_losses += 1
        weight = max(1 / s.n_losses, 0.02)
        deviation = abs(self.loss - s.loss_mean) if s.n_losses > 1 else 0.0
        s.loss_deviation += weight * (deviation - s.loss_deviation)
        s.loss_mean += weight * (self.loss - s.loss_mean)

    def diverged(self, what):
        """The error that ends such a run; no file has any of its non-finite numbers."""
        return Diverged(f'train.py: {what}; the last good checkpoint is {self.last_good()}; '
                        'lower --learning_rate and --muon_learning_rate')


# ---- log.jsonl and wandb ----

class Log:
    """
    log.jsonl, one JSON object per line, and wandb if requested. A resumed run keeps the lines before it.

    A line is written completely or not at all: a full disk costs lines, with one warning.
    """

    def __init__(self, path, iter_num, last_eval_iter, wandb_run=None):
        self.path, self.wandb_run, self.warned = path, wandb_run, False
        kept = [r for r in read_log(path) if r['iter'] <= (last_eval_iter if 'val_loss' in r else iter_num)]
        with atomic_write(path, advice='free some space or choose another --out_dir') as file:
            file.writelines(json.dumps(record).encode() + b'\n' for record in kept)
        with write_errors(path):
            self.file = open(path, 'ab', buffering=0) # a line is one write, nothing waits in a buffer

    def write(self, record):
        self.write_line(json.dumps(record).encode() + b'\n')
        if self.wandb_run:
            try:
                self.wandb_run.log(record, step=record['iter'])
            except Exception as error: # whatever fails there must not end hours of training
                say(f'wandb: stopped logging ({describe(error)}); log.jsonl continues')
                self.wandb_run = None

    def write_line(self, line):
        end = self.file.seek(0, os.SEEK_END)
        try:
            written = self.file.write(line)
            if written == len(line):
                return
            reason = 'no space left'
        except OSError as error:
            reason = error.strerror
        with suppress(OSError):
            self.file.truncate(end) # the next line must not follow half a line
        if not self.warned:
            say(f'WARNING: {self.path}: could not be written ({reason}); training continues without it')
        self.warned = True


def read_log(path):
    """The objects of log.jsonl; [] without a file. Damaged lines are left out."""
    records = []
    if os.path.isfile(path):
        with open(path, encoding='utf-8', errors='replace') as file:
            for line in file:
                try:
                    record = json.loads(line) if line.endswith('}\n') else None
                except (ValueError, RecursionError):
                    record = None
                if is_record(record):
                    records.append(record)
    return records


def is_record(value):
    """Whether this is a line of ours: an iter, and numbers where there is something to draw."""
    def is_number(number):
        return type(number) is float or type(number) is int and abs(number) < 1e15 # larger ones are no floats

    return isinstance(value, dict) and type(value.get('iter')) is int \
        and all(is_number(value.get(key, 0)) for key in ('iter', 'loss', 'val_loss'))


def start_wandb(project, name, settings):
    """A wandb run, or None, with the reason, without the package, an account or a network."""
    try:
        import wandb
        return wandb.init(project=project, name=name, config=settings)
    except ImportError:
        say('wandb: not installed (pip install wandb); continuing with log.jsonl only')
    except Exception as error: # it raises many types, none of which should end the run
        say(f'wandb: {describe(error)}; continuing with log.jsonl only')
    return None


# ---- lines and pictures ----

def draw_loss(log_path, picture_path):
    """Draw the losses over the updates as a PNG file, or print why not; False only without matplotlib."""
    try:
        plot_loss(read_log(log_path), picture_path)
    except ImportError:
        say('loss curve: not drawn, matplotlib is missing; pip install matplotlib')
        return False
    except SystemExit as problem:
        say(f'loss curve: {problem}')
    except Exception as error: # whatever fails in matplotlib must not end hours of training
        say(f'loss curve: not drawn ({describe(error)})')
    return True


def plot_loss(records, picture_path):
    import matplotlib
    matplotlib.use('Agg') # draws into a file, without a screen
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(8, 5))
    for key, label in (('loss', 'train'), ('val_loss', 'val')):
        points = [(r['iter'], r[key]) for r in records if key in r]
        if points:
            axes.plot(*zip(*points, strict=True), label=f'{label} (last {points[-1][1]:.4f})',
                      marker='o' if key == 'val_loss' else None, linewidth=1.2)
            axes.legend()
    axes.set(xlabel='iter', ylabel='loss (nats per token)')
    axes.set_title(os.path.basename(os.path.dirname(picture_path)), parse_math=False) # a name may contain $
    axes.grid(alpha=0.3)
    try:
        with atomic_write(picture_path) as file:
            figure.savefig(file, format='png', dpi=120, bbox_inches='tight')
    finally:
        pyplot.close(figure)


def progress_line(record, max_iters, tokens_per_second, mfu, seconds_left):
    """One line about an update. record: as in log.jsonl; mfu: 0..1, 0 where the device's peak is unknown."""
    return (f'{iter_label(record["iter"], max_iters)} | loss {record["loss"]:.4f} | lr {record["lr"]:.2e} | '
            f'norm {record["norm"]:.2f} | {record["dt"] * 1e3:6.1f} ms | {tokens_per_second:,.0f} tok/s | '
            + (f'mfu {mfu:.1%} | ' if mfu else '') + f'epoch {record["epoch"]:.2f} | '
            f'eta {format_seconds(seconds_left)}')


def validation_line(record, max_iters):
    """One line about an evaluation. record: as in log.jsonl."""
    bits = '' if record['bits_per_byte'] is None else f' | {record["bits_per_byte"]:.4f} bits per byte'
    return (f'{iter_label(record["iter"], max_iters)} | val {record["val_loss"]:.4f}'
            f'{" (best)" if record["best"] else ""} ppl {record["perplexity"]:.2f}{bits}')


def iter_label(iter_num, max_iters):
    """'iter  250/5000'; without the total where the clock decides when the run ends."""
    return f'iter {iter_num:{len(str(max_iters))}d}/{max_iters}' if max_iters else f'iter {iter_num}'


def format_seconds(seconds):
    """'0:01:02' or '3 days, 4:05:06'; 'unknown' where no limit is known."""
    return str(timedelta(seconds=round(seconds))) if seconds < 1e10 else 'unknown'
