"""
What rank 0 keeps of a run: checkpoints, log.jsonl, run.json, the loss curve, console lines.

    ls out-tinystories    # best.pt ckpt.prev.pt ckpt.pt log.jsonl loss.png run.json
"""
import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch

from data.bins import data_checksum
from data.files import lock_folder, remove, write_json
from data.messages import shell_command
from data.tokenizer import from_json
from lib.checkpoint import (
    BEST,
    LAST,
    PREVIOUS,
    link,
    make_checkpoint,
    numbered,
    read_checkpoint,
    remove_run,
    remove_temporaries,
    replaced_by_new_run,
    save,
    snapshot,
)
from lib.device import peak_flops, torchrun_ranks
from lib.generate import Sampling, generate_texts
from lib.log import Diverged, Log, draw_loss, iter_label, progress_line, say, start_wandb, validation_line

OVERFIT_EVALS = 3 # evaluations without a new best after which overfitting is reported


class CheckpointWriter:
    """
    Writes the checkpoints of a run in a background thread, while training continues.

    keep: number of past checkpoints to keep besides ckpt.pt, ckpt.prev.pt and best.pt
    last_good: the name of the last good checkpoint for messages, until this run has written one
    """

    def __init__(self, run_dir, keep=0, last_good='none'):
        self.run_dir, self.keep, self.last_written = run_dir, keep, last_good
        self.thread, self.pending, self.problems = ThreadPoolExecutor(max_workers=1), [], {}
        self.pending_best = None # a best.pt for which there was no space

    def wait(self):
        """Return when everything that was put is on the disk, or has failed."""
        for write in self.pending:
            write.result()
        self.pending = []

    def last_good(self):
        """The newest checkpoint that is completely on the disk."""
        self.wait()
        return self.last_written

    def put(self, checkpoint, is_best=False, label=''):
        """Write a snapshot as ckpt.pt, and without optimizer state as best.pt if it is the best."""
        self.pending.append(self.thread.submit(self.write_all, checkpoint, is_best, label))

    def write_all(self, checkpoint, is_best, label):
        if is_best: # first: once ckpt.pt has its loss, only a lower one would replace best.pt
            self.pending_best = {**checkpoint, 'optimizers': []}
        written = [self.write(self.pending_best, BEST)] if self.pending_best else []
        written.append(self.write(checkpoint, LAST))
        if any(written):
            say(f'{label} | saved {", ".join(path for path in reversed(written) if path)}')

    def write(self, checkpoint, name):
        """The path that was written; '' after a warning when that failed. A full disk does not end a run."""
        path = os.path.join(self.run_dir, name)
        self.problems.pop(name, None)
        try:
            save(checkpoint, path, os.path.join(self.run_dir, PREVIOUS) if name == LAST else '')
            if name == LAST:
                self.last_written = f'{path} of iter {checkpoint["iter_num"]}'
                self.keep_numbered(path, checkpoint['iter_num'])
            else:
                self.pending_best = None
        except SystemExit as problem:
            self.problems[name] = str(problem)
            say(f'WARNING: {problem}; training continues, and the next save tries again')
            return ''
        return path

    def keep_numbered(self, path, iter_num):
        """Keep the file as ckpt-<iter>.pt; of more than keep, those ahead of it go first, then the oldest."""
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


class Recorder:
    """
    What rank 0 writes and prints for a run. On the other ranks every method does nothing.

    Creating one writes the first files, so the folder must be locked. As a context manager it saves a
    checkpoint when an error ends the run, unless the weights are not finite or half updated.
    """

    def __init__(self, run, plan, run_dir, settings, meta, resumed_from=''):
        self.run, self.plan, self.run_dir, self.settings = run, plan, run_dir, settings
        self.meta, self.enabled, self.can_draw = meta, run.machine.is_master, True
        self.saved = (run.state.iter_num, run.state.last_eval_iter) if resumed_from else None # by ckpt.pt
        if not self.enabled:
            return
        start_run_dir(run_dir, resumed_from, settings['overwrite'], settings['init_from'])
        write_json(self.path('run.json'), describe_run(settings, run))
        wandb_run = start_wandb(settings['wandb_project'], settings['wandb_run_name'] or run_dir, settings) \
            if settings['wandb_log'] else None
        self.log = Log(self.path('log.jsonl'), run.state.iter_num, run.state.last_eval_iter, wandb_run)
        self.writer = CheckpointWriter(run_dir, settings['keep'],
                             f'{resumed_from} of iter {run.state.iter_num}' if resumed_from else 'none')
        run.monitor.write, run.monitor.last_good = self.log.write, self.writer.last_good

    def path(self, name):
        return os.path.join(self.run_dir, name)

    def progress(self, lr):
        """Log the update that the monitor has read last, and print a line about it."""
        run, plan, state = self.run, self.plan, self.run.state
        if not run.monitor.finite: # a skipped update has its own line
            return
        dt = run.clock.lap() # on every rank, as the loop asks whether there was one
        if not self.enabled:
            return
        record = {'iter': state.iter_num, 'loss': run.monitor.loss, 'lr': lr, 'norm': run.monitor.norm,
                  'dt': dt, 'tokens': state.iter_num * plan.tokens_per_iter,
                  'epoch': state.iter_num / plan.iters_per_epoch}
        self.log.write(record)
        tokens_per_second = plan.tokens_per_iter / dt
        peak = run.machine.world_size * (self.settings['peak_tflops'] * 1e12
                                         or peak_flops(run.machine.device, run.machine.dtype))
        mfu = tokens_per_second * run.raw_model.flops_per_token() / peak if peak else 0.0
        say(progress_line(record, plan.max_iters, tokens_per_second, mfu, plan.seconds_left(state, dt)))

    def evaluation(self, record):
        """Log an evaluation, print it, draw the loss curve, and report overfitting."""
        if not self.enabled:
            return
        state = self.run.state
        self.log.write(record)
        say(validation_line(record, self.plan.max_iters))
        self.draw()
        if state.evals_since_best == OVERFIT_EVALS:
            kept = f', in {self.path(BEST)}' if self.settings['save_checkpoints'] else ''
            say(f'validation loss has not improved for {OVERFIT_EVALS} evaluations: the model overfits; the '
                f'best is {state.best_val_loss:.4f} at iter {state.best_iter}{kept}; '
                f'--patience={OVERFIT_EVALS} would stop here')

    def draw(self):
        """Draw the loss curve, unless matplotlib was missing before."""
        self.can_draw = self.can_draw and draw_loss(self.path('log.jsonl'), self.path('loss.png'))

    def save(self):
        """
        Queue ckpt.pt for writing, and best.pt if the last evaluation was the best, unless already saved.

        Raises SystemExit, and writes nothing, when a weight or the loss of a window is not finite.
        """
        run, state = self.run, self.run.state
        version = state.iter_num, state.last_eval_iter
        if not self.enabled or not self.settings['save_checkpoints'] or self.saved == version:
            return
        with run.explain_oom():
            if not run.is_finite():
                raise run.monitor.diverged('weights or their loss are not finite after iter '
                                           f'{state.iter_num}')
            self.writer.wait() # so that there is at most one copy in memory
            checkpoint = snapshot(make_checkpoint(
                run.raw_model, state, run.optimizers, run.scaler, self.meta['tokenizer'], self.settings,
                data_checksum(self.meta)))
        is_best = 0 < state.best_iter == state.last_eval_iter == state.iter_num
        self.writer.put(checkpoint, is_best, iter_label(state.iter_num, self.plan.max_iters))
        self.saved = version

    def samples(self, count):
        """Print texts that the model generates, always with the same seed, so that only the model changes."""
        if not self.enabled:
            return
        model, tokenizer = self.run.raw_model, from_json(self.meta['tokenizer'])
        try:
            tokenizer.encode('') # GPT-2's vocabulary is downloaded on first use, which may fail
        except SystemExit as problem:
            return say(f'skipping samples: {problem}')
        model.eval()
        with self.run.machine.eager(), self.run.explain_oom():
            texts = generate_texts(model, tokenizer, [''], count, self.settings['sample_tokens'],
                                   Sampling(0.6), self.settings['seed'], self.run.machine.device)
        for text in texts:
            say('-' * 20 + f'\n{text.text.strip()}')
        say('-' * 20)
        model.train()

    def finish(self, stopped_by):
        """Wait for the files; then print samples of the best weights, or how to resume a stopped run."""
        if not self.enabled:
            return
        state, kept = self.run.state, self.settings['save_checkpoints']
        self.writer.finish()
        if stopped_by:
            self.draw()
            saved = f'saved {self.path(LAST)}; to continue:\n    {resume_command()}' if kept else 'not saved'
            return say(f'stopped by {stopped_by} after iter {state.iter_num}; {saved}')
        if kept and state.best_iter != state.iter_num and os.path.exists(self.path(BEST)):
            say(f'samples of {self.path(BEST)}, from iter {state.best_iter}:')
            self.run.raw_model.load_state_dict(read_checkpoint(self.path(BEST))['model'])
        self.samples(3)
        sample = os.path.join(os.path.dirname(sys.argv[0]), 'sample.py')
        say(f'done in {state.minutes:.1f} minutes: best val {state.best_val_loss:.4f} | loss curve '
            + self.path('loss.png')
            + f' | for more:\n    {shell_command(["python", sample, "--out_dir=" + self.run_dir])}' * kept)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if not self.enabled:
            return
        try:
            # weights in the middle of an update, or that have diverged, are not worth a checkpoint
            if error and self.run.state.iter_num and not isinstance(error, Diverged) \
                    and not self.run.update_in_progress():
                self.save()
            self.writer.finish()
        except (SystemExit, Exception) as problem: # what ended the run is the error to report
            if not error:
                raise
            say(f'WARNING: not saved: {problem}')


def resume_command():
    """The command that continues this run."""
    old = [word for word in sys.argv[1:] if not word.startswith('--init_from=')]
    ranks = torchrun_ranks()
    start = f'torchrun --standalone --nproc_per_node={ranks[2]}' if ranks else 'python'
    return f'{start} {shell_command([sys.argv[0], *old])} --init_from=resume'


@contextmanager
def lock_run_dir(run_dir, enabled=True):
    """
    Within it, no other process can train in the folder of a run, which is created if need be.

    enabled: False for what writes nothing there
    SystemExit when another process is using the folder. The lock ends with the process, however that ends.
    """
    if not enabled:
        yield
        return
    with folder_errors(run_dir):
        os.makedirs(run_dir, exist_ok=True)
        lock = lock_folder(run_dir)
        if lock is None:
            raise SystemExit(f'out_dir: {run_dir} is in use by {running_process(run_dir)}; wait until it '
                             'ends, or choose another --out_dir')
    try:
        yield
    finally:
        lock.release()
        if set(os.listdir(run_dir)) <= {'.lock'}: # a mistake before anything was written
            remove(os.path.join(run_dir, '.lock'))
            os.rmdir(run_dir)


def start_run_dir(run_dir, resumed_from, overwrite, init_from):
    """
    Remove from the folder of a run what must not be mistaken for a part of it. Its lock must be held.

    resumed_from: the checkpoint that the run resumes from, '' for a new run
    """
    last = os.path.join(run_dir, LAST)
    with folder_errors(run_dir):
        remove_temporaries(run_dir)
        if resumed_from and resumed_from != last and os.path.exists(last):
            os.replace(last, os.path.join(run_dir, 'ckpt.damaged.pt')) # else it would replace the good one
        elif overwrite and not resumed_from:
            remove_run(run_dir)
        elif not resumed_from and replaced_by_new_run(run_dir, init_from): # since the settings were checked
            raise SystemExit(f'out_dir: {run_dir} holds a run by now; choose another --out_dir')
        elif not resumed_from and os.path.exists(os.path.join(run_dir, BEST)):
            os.replace(os.path.join(run_dir, BEST), os.path.join(run_dir, 'best.old.pt'))
            say(f'{os.path.join(run_dir, BEST)}: found without a checkpoint to resume from; now best.old.pt')


@contextmanager
def folder_errors(run_dir):
    try:
        yield
    except OSError as error:
        raise SystemExit(f'out_dir: {run_dir} cannot be created or changed ({error.strerror}); '
                         'choose another --out_dir') from None


def running_process(run_dir):
    """The process that run.json in the folder of a run names."""
    try:
        with open(os.path.join(run_dir, 'run.json'), encoding='utf-8') as file:
            found = json.load(file)
        return f'process {found["pid"]} on {found["host"]}, started {found["started"]}'
    except (OSError, ValueError, KeyError, TypeError):
        return 'another process'


def describe_run(settings, run):
    """What run.json holds: settings, model, versions, commit if there is one, machine."""
    machine, model = run.machine, run.raw_model
    name = torch.cuda.get_device_name(machine.device) if machine.on_gpu else platform.processor()
    versions = {'python': platform.python_version(), 'torch': torch.__version__, 'numpy': np.__version__}
    return {'settings': settings, 'model_config': vars(model.config), 'n_params': model.n_params(),
            'command': sys.argv, 'commit': git_commit(), 'versions': versions,
            'machine': {'system': platform.platform(), 'device': machine.device, 'device_name': name,
                        'dtype': machine.dtype, 'compile': machine.compile, 'processes': machine.world_size,
                        'threads': torch.get_num_threads()},
            'host': platform.node(), 'pid': os.getpid(), 'started': time.strftime('%Y-%m-%d %H:%M:%S')}


def git_commit():
    """The commit of this checkout; '' without one, or without git."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not os.path.exists(os.path.join(root, '.git')): # it may lie in a folder of another repository
        return ''
    try:
        return subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=root, capture_output=True, encoding='utf-8',
                              timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ''
