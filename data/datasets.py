"""
Which folder holds the bins of a run, and the prepare.py script that makes them.

    folder, script = find_dataset('tinystories', 'out')
    if not is_prepared(folder, input_path='', max_samples=-1):
        prepare(folder, script, input_path='', max_samples=-1)
"""
import difflib
import os
import signal
import subprocess
import sys
import threading
import time

from data.bins import DATA, read_provenance
from data.documents import TEXT_FILES, fingerprint_inputs
from data.files import make_folder
from data.messages import quoted, shell_command

ROOT = os.path.dirname(DATA)
OUT_DIR = 'choose another --out_dir'
SIGNALS = 'SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2' # that stop a run or a preparation


def find_dataset(dataset, run_dir, has_input=False, max_samples=-1):
    """
    (folder of the bins, prepare.py that makes them or None); SystemExit with the command to type if unknown.

    dataset: the name of a folder of data/, or the path of a folder with bins or a prepare.py
    has_input: whether the run has a text of its own (--input); its bins are then in run_dir/data. The bins of
        a dataset whose own folder cannot be written are there too, and a line says so.
    max_samples: from 0 on, the bins are in a folder of the dataset for this number, which all runs share
    """
    folder, script = locate(dataset)
    own = os.path.join(run_dir, 'data')
    if script is None and (has_input or max_samples >= 0):
        raise SystemExit(f'dataset: {dataset} has no prepare.py that could read another text; leave out '
                         '--dataset, or --input and --max_samples')
    if has_input:
        return own, script
    folder = folder_for(folder, max_samples)
    if script and not has_bins(folder) and not can_write(folder):
        print(f'{folder} cannot be written, so the dataset is prepared in {own}')
        return own, script
    return folder, script


def folder_for(folder, max_samples):
    """Where a dataset has the bins of some of its samples; its own folder for the default number."""
    return os.path.join(folder, f'max_samples-{max_samples}') if max_samples >= 0 else folder


def locate(dataset):
    """(folder, prepare.py or None) of a dataset, by name or path; SystemExit when there is none."""
    path = os.path.normpath(dataset)
    places = path, os.path.join(DATA, path), os.path.join(ROOT, path)
    for condition in has_bins, script_in: # a folder with bins is taken rather than one that can be prepared
        for folder in filter(condition, places):
            return folder, script_in(folder)
    raise unknown_dataset(dataset, path)


def script_in(folder):
    path = os.path.join(folder, 'prepare.py')
    return path if os.path.isfile(path) else None


def unknown_dataset(dataset, path):
    """The SystemExit with what to type instead of a dataset that is none."""
    if os.path.isfile(path):
        return SystemExit('dataset: expected a name or a folder, got a file; to train on it: '
                          f'--input={quoted(dataset)}')
    if os.path.isdir(path):
        texts = [name for name in sorted(os.listdir(path)) if name.lower().endswith(TEXT_FILES)]
        text = os.path.join(path, texts[0]) if len(texts) == 1 else path
        advice = f'its text: --input={quoted(text)}' if texts else 'a text of yours: --input=FILE'
        return SystemExit(f'dataset: expected train.bin, val.bin and meta.json in {path}, found no bins and '
                          f'no prepare.py; to train on {advice}')
    known = sorted(name for name in os.listdir(DATA) if script_in(os.path.join(DATA, name)))
    close = difflib.get_close_matches(path, known, n=1)
    meant = f'did you mean {close[0]}? ' if close else ''
    return SystemExit(f'dataset: there is no data/{dataset}; {meant}known: {", ".join(known)}; to train on a '
                      'text of yours: --input=FILE')


def has_bins(folder):
    return all(os.path.isfile(os.path.join(folder, name)) for name in ('train.bin', 'val.bin'))


def can_write(folder):
    try:
        make_folder(folder)
    except SystemExit:
        return False
    return True


def is_prepared(folder, input_path, max_samples, tokenizer='', script=None):
    """
    Whether a folder has bins that were made from these settings of a run, as prepare() takes them.

    Bins in a dataset's own folder (no input_path, max_samples, tokenizer) count however they were made. Bins
    of a run's own text count if the flags, the script and the state of the files are those of meta.json.
    """
    if not has_bins(folder):
        return False
    if not input_path and max_samples < 0 and not tokenizer:
        return True
    record = read_provenance(folder)
    wanted, states = fingerprint_inputs(flags_of(input_path, max_samples, tokenizer))
    same_script = script is None or record.get('script') == os.path.basename(os.path.dirname(script))
    return record.get('flags') == wanted and record.get('files') == states and same_script


def flags_of(input_path, max_samples, tokenizer):
    """The flags of prepare.py that a run's settings stand for."""
    flags = {'input': input_path} if input_path else {}
    flags |= {'max_samples': max_samples} if max_samples >= 0 else {}
    return flags | ({'tokenizer': tokenizer} if tokenizer else {})


def prepare(folder, script, input_path, max_samples, tokenizer=''):
    """
    Run a dataset's prepare.py, which prints what it does. A signal that ends this process ends it, too.

    input_path: a file or folder to take instead of what the dataset downloads, or ''
    max_samples: how many documents to take; 0: all; -1: as prepare.py has it
    tokenizer: as --tokenizer of prepare.py; '': as prepare.py has it
    raises SystemExit when it fails, or when a signal arrives
    """
    command = prepare_command(folder, script, input_path, max_samples, tokenizer)
    make_folder(folder, OUT_DIR) # found out before the work
    print(f'{folder}: not prepared yet; running: {shell_command(command)}', flush=True)
    status, stopped_by = run_child([sys.executable, *command[1:]])
    if stopped_by:
        raise SystemExit(f'{folder}: stopped by {stopped_by} before the dataset was complete; run the same '
                         'command again')
    if status < 0:
        raise SystemExit(f'{script}: ended by {signal.Signals(-status).name}; if nobody stopped it, the '
                         'machine ran out of memory: take less text')
    if status:
        raise SystemExit(status) # it has printed why


def prepare_command(folder, script, input_path, max_samples, tokenizer=''):
    """The command that prepare() runs, a list of words. SystemExit without a prepare.py."""
    if script is None:
        raise SystemExit(f'{folder}: expected train.bin and val.bin, found neither, nor a prepare.py that '
                         'makes them; choose another --dataset')
    flags = {'out': folder} | flags_of(input_path, max_samples, tokenizer)
    return ['python', script, *(f'--{name}={value}' for name, value in flags.items())]


def run_child(command):
    """
    (exit status, name of the signal that stopped it or '') of a command; -N: it was ended by signal N.

    One of SIGNALS to this process, even to this one alone, ends the child.
    """
    child, received = None, []

    def forward(number, frame):
        received.append(signal.Signals(number).name)
        if child:
            child.terminate()

    in_main_thread = threading.current_thread() is threading.main_thread() # others cannot set handlers
    numbers = [getattr(signal, name, None) for name in SIGNALS if in_main_thread]
    before = {number: signal.signal(number, forward) for number in numbers
              if number and signal.getsignal(number) != signal.SIG_IGN} # Windows has no SIGHUP
    try:
        child = start_without_ctrl_c(command)
        if received: # while it started
            child.terminate()
        while child.poll() is None: # child.wait() would not notice a signal that comes just before it blocks
            time.sleep(0.05)
        return child.returncode, received[0] if received else ''
    finally:
        if child and child.poll() is None:
            child.terminate()
        for number, handler in before.items():
            signal.signal(number, handler)


def start_without_ctrl_c(command):
    """A process that Ctrl-C does not reach, where the system can, so that its parent alone reports it."""
    if not hasattr(signal, 'pthread_sigmask'):
        return subprocess.Popen(command)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) # which the child inherits
    try:
        return subprocess.Popen(command)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def dataset_of_run(out_dir, settings):
    """
    The folder of the bins that a run was trained on.

    settings: those of the run, as a checkpoint has them
    """
    own = os.path.join(out_dir, 'data')
    if settings.get('input'):
        return own
    try:
        folder = folder_for(locate(settings.get('dataset', ''))[0], settings.get('max_samples', -1))
    except SystemExit: # the path was relative to another working directory, or its folder is gone
        folder = settings.get('dataset', '')
    return own if has_bins(own) and not has_bins(folder) else folder
