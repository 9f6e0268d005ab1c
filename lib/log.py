"""
What a run leaves to look at: log.jsonl with its numbers, wandb when asked, and the loss curve as a picture.

    python -c "from lib import log; log.draw_loss('out-tinystories/log.jsonl', 'loss.png')"
"""
import json
import os
from contextlib import suppress
from datetime import timedelta


class Log:
    """
    log.jsonl, one object a line, and wandb when asked. A resumed run keeps the lines up to its start.

    A line is in the file as a whole or not at all: a full disk costs lines, and is told once.
    """

    def __init__(self, path, iter_num, evaluated, wandb_run=None):
        self.path, self.wandb_run, self.is_full = path, wandb_run, False
        try:
            kept = [r for r in read_log(path) if r['iter'] <= (evaluated if 'val_loss' in r else iter_num)]
            with open(f'{path}.tmp', 'w', encoding='utf-8') as f:
                f.writelines(json.dumps(record) + '\n' for record in kept)
            os.replace(f'{path}.tmp', path)
            self.file = open(path, 'ab', buffering=0) # a line is one write, and nothing waits in a buffer
        except OSError as error:
            raise SystemExit(f'{path}: cannot be written ({error.strerror}); make room or choose another '
                             '--out_dir') from None

    def write(self, record):
        self.write_line(json.dumps(record).encode() + b'\n')
        if self.wandb_run:
            try:
                self.wandb_run.log(record, step=record['iter'])
            except Exception as error: # whatever goes wrong there must not end hours of training
                say(f'wandb: stopped logging ({type(error).__name__}: {error}); log.jsonl goes on')
                self.wandb_run = None

    def write_line(self, line):
        end = self.file.seek(0, os.SEEK_END)
        try:
            written = self.file.write(line)
            if written == len(line):
                return
            reason = 'no room'
        except OSError as error:
            reason = error.strerror
        self.file.truncate(end) # what follows must not be glued to half a line
        if not self.is_full:
            say(f'WARNING: {self.path}: could not be written ({reason}); it goes on, lines are lost')
        self.is_full = True


def read_log(path):
    """The objects of log.jsonl; [] without a file. What is not a whole line of ours is left out."""
    records = []
    if os.path.exists(path):
        with open(path, encoding='utf-8', errors='replace') as f:
            for line in f:
                try:
                    record = json.loads(line) if line.endswith('}\n') else None
                except (ValueError, RecursionError): # a disk that failed, or somebody's editor
                    record = None
                if is_record(record):
                    records.append(record)
    return records


def is_record(value):
    """Whether this may be a line of ours: an iter, and numbers where there is something to draw."""
    return isinstance(value, dict) and type(value.get('iter')) is int \
        and all(type(value.get(key, 0)) in (int, float) for key in ('loss', 'val_loss'))


def say(text):
    """Print a line. A terminal or a pipe that is gone must not end hours of training."""
    with suppress(OSError):
        print(text, flush=True)


def start_wandb(project, name, settings):
    """A wandb run, or None, saying why, when there is no package, account or network."""
    try:
        import wandb
        return wandb.init(project=project, name=name, config=settings)
    except ImportError:
        print('wandb: not installed (pip install wandb); going on with log.jsonl alone')
    except Exception as error: # it raises many types, none of which should end the run
        print(f'wandb: {type(error).__name__}: {str(error).splitlines()[0]}; going on with log.jsonl alone')
    return None


def draw_loss(log_path, picture_path):
    """Training and validation loss over the updates, as a picture."""
    try:
        import matplotlib
    except ImportError:
        return print('loss curve: not drawn, matplotlib is missing; pip install matplotlib')
    matplotlib.use('Agg') # draws into a file, needs no screen
    from matplotlib import pyplot
    records = read_log(log_path)
    figure, axes = pyplot.subplots(figsize=(8, 5))
    for key, label in (('loss', 'train'), ('val_loss', 'val')):
        points = [(r['iter'], r[key]) for r in records if key in r]
        if points:
            axes.plot(*zip(*points, strict=True), label=f'{label} (last {points[-1][1]:.4f})',
                      marker='o' if key == 'val_loss' else None, linewidth=1.2)
    axes.set(xlabel='iter', ylabel='loss (nats per token)',
             title=os.path.basename(os.path.dirname(picture_path)))
    axes.grid(alpha=0.3)
    if records: # else there is nothing to explain, and matplotlib warns
        axes.legend()
    try:
        figure.savefig(f'{picture_path}.tmp', format='png', dpi=120, bbox_inches='tight')
        os.replace(f'{picture_path}.tmp', picture_path)
    except OSError as error:
        say(f'loss curve: {picture_path} could not be written ({error.strerror})')
    pyplot.close(figure)


def progress_line(record, last_iter, tokens_per_second, mfu, seconds_left):
    """One line about an update. record: as in log.jsonl; mfu: 0..1, 0 when the device's peak is not known."""
    return (f'{count(record["iter"], last_iter)} | loss {record["loss"]:.4f} | lr {record["lr"]:.2e} | '
            f'norm {record["norm"]:.2f} | {record["dt"] * 1e3:6.1f} ms | {tokens_per_second:,.0f} tok/s | '
            f'mfu {f"{mfu:.1%}" if mfu else "n/a"} | epoch {record["epoch"]:.2f} | '
            f'eta {timedelta(seconds=round(seconds_left))}')


def validation_line(record, last_iter, saved):
    """One line about an evaluation. record: as in log.jsonl; saved: paths of the files written."""
    bits = 'n/a' if record['bits_per_byte'] is None else f'{record["bits_per_byte"]:.4f}'
    return (f'{count(record["iter"], last_iter)} | '
            f'val {record["val_loss"]:.4f}{" (best)" if record["best"] else ""} '
            f'ppl {record["perplexity"]:.2f} | {bits} bits per byte | saved {", ".join(saved)}')


def count(iter_num, last_iter):
    """'iter  250/5000'; without the total when the clock decides how many there will be."""
    return f'iter {iter_num:{len(str(last_iter))}d}/{last_iter}' if last_iter else f'iter {iter_num}'
