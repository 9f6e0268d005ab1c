"""
Does anything destroy a run? Strikes tiny runs again and again; they must end as one that was left alone.

    python tools/crash_test.py --kills=50 --seed=1

kill     SIGKILL at a random moment, from the start of a process to the end of a run
write    SIGKILL as soon as a file is written or replaced, from a random moment on
end      SIGKILL or SIGTERM about the last update, its evaluation and the last files
damage   SIGKILL, then a bit of ckpt.pt is flipped, or the file cut, zeroed or removed
signal   SIGTERM, SIGINT or SIGHUP at a random moment after the first update
limit    from a random moment on, half of the times for a while only, files cannot grow to their full size
disk     a disk (tmpfs, only where mount is allowed) that is full from a random moment after the first update

After a strike every file must be whole and no progress lost; then the run goes on and is struck again. At the
end weights, memory of the optimizers, best.pt and log lines (without dt) must be those of the run left alone.
Processes are forks of one that has torch loaded: while that loads there is nothing to destroy.

The table: what was struck (evaluation: the last line printed is of an update that is due for one; writing: a
new *.tmp was left; end: after the last evaluation), processes, the most updates that a strike cost, processes
that went on with ckpt.prev.pt, which damage alone may cause, and runs that something was wrong with.
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from configurator import configure

kills = 50 # strikes of each kind
seed = 1 # of what strikes when; how far a run has come by then depends on the machine, too
max_iters = 203 # of each run, which then takes some seconds
kinds = 'kill write end damage signal limit disk' # which of them

config = configure(globals())

# after the settings, so that --help and a typo answer at once
import contextlib
import gc
import io
import json
import multiprocessing
import random
import re
import resource
import runpy
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM

from lib.checkpoint import BEST, LAST, PREVIOUS, checksum, holds_a_run, read_checkpoint, read_first

TINY = ('--n_layer=2', '--n_head=2', '--n_embd=32', '--block_size=32', '--batch_size=4', '--device=cpu',
        '--dtype=float32', '--warmup_iters=2', '--log_interval=1', '--eval_interval=20', '--sample_tokens=8')
SAVE, EVAL = 5, 20 # updates between saves and, as in TINY, between evaluations
FLAGS = (*TINY, '--dropout=0.2', '--gradient_accumulation_steps=2', f'--save_interval={SAVE}', '--keep=2',
         '--eval_tokens=600', '--sample_interval=50', '--dataset=bins')
PHASES = 'start-up', 'training', 'evaluation', 'writing', 'end'
FORKS = multiprocessing.get_context('forkserver')
FORKS.set_forkserver_preload(['torch._dynamo', 'matplotlib.pyplot'])


@dataclass(frozen=True)
class Case:
    """The undisturbed run, and where the others are made."""
    folder: str
    max_iters: int
    result: dict # result_of it
    sizes: list # bytes of ckpt.pt, best.pt and log.jsonl
    began: float # seconds until its first update
    ended: float


@dataclass
class Attempt:
    """A process that starts a run or goes on with it."""
    case: Case
    rng: random.Random
    out_dir: str
    before: tuple # newest, when it was started
    left: set # the *.tmp of those before it
    child: multiprocessing.Process

    def said(self):
        return read_text(f'{self.out_dir}.stdout')


# ---- processes ----

def train(folder, words, out_dir):
    """train.py from its first line to its last, as the target of a process."""
    gc.freeze() # else the collector goes through all of torch, which is copied for that
    os.chdir(folder)
    for number, path in (1, f'{out_dir}.stdout'), (2, 'stderr'):
        os.dup2(os.open(path, os.O_WRONLY), number)
    sys.argv = [os.path.join(ROOT, 'train.py'), *words]
    try:
        runpy.run_path(sys.argv[0], run_name='__main__')
    finally:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1) # for output that a full disk did not take


def start(folder, length, out_dir):
    """A process that trains to the end, from where out_dir stopped."""
    words = [*FLAGS, f'--max_iters={length}', f'--out_dir={out_dir}']
    words += ['--init_from=resume'] if holds_a_run(out_dir) else []
    for path in f'{out_dir}.stdout', os.path.join(folder, 'stderr'):
        open(path, 'w', encoding='utf-8').close() # what the one before it said must not be taken for its own
    child = FORKS.Process(target=train, args=(folder, words, out_dir))
    child.start()
    return child


def wait_until(child, happened):
    """Looks every 0.2 ms until something has happened or the process has ended."""
    while child.exitcode is None and not happened():
        time.sleep(0.0002)


def make_case(folder, length):
    """Trains on a small text, undisturbed: by python train.py, and as a fork, which must come to the same."""
    with open(os.path.join(folder, 'text.txt'), 'w', encoding='utf-8') as f:
        rng = random.Random(0)
        words = 'the a cat dog sat ran on mat hill big red and then who why café — naïve'.split()
        f.write(' '.join(rng.choice(words) + rng.choice(['', '', '.', '\n']) for _ in range(9000)))
    FORKS.Process(target=int).start() # so that the server of forks loads torch meanwhile
    whole, forked = os.path.join(folder, 'whole'), os.path.join(folder, 'forked')
    for script, *words in (('data/text/prepare.py', '--input=text.txt', '--tokenizer=char', '--out=bins'),
                           ('train.py', *FLAGS, f'--max_iters={length}', f'--out_dir={whole}')):
        done = subprocess.run([sys.executable, os.path.join(ROOT, script), *words], cwd=folder,
                              capture_output=True, encoding='utf-8')
        assert done.returncode == 0, f'{script}: expected status 0, got {done.returncode}: {done.stderr}'
    before, times = time.perf_counter(), []
    child = start(folder, length, forked)
    for text in '| loss', 'done in':
        wait_until(child, lambda text=text: text in read_text(f'{forked}.stdout'))
        times.append(time.perf_counter() - before)
    child.join()
    found, wanted = result_of(forked), result_of(whole)
    assert found == wanted, f'expected of a fork what a new process does, got: {differences(found, wanted)}'
    sizes = [os.path.getsize(os.path.join(whole, name)) for name in (LAST, BEST, 'log.jsonl')]
    return Case(folder, length, wanted, sizes, *times)


# ---- what is there ----

def read_text(path):
    with open(path, encoding='utf-8', errors='replace') as f:
        return f.read()


def result_of(out_dir):
    """What must not depend on what happened to a run on its way."""
    last, best = (read_checkpoint(os.path.join(out_dir, name)) for name in (LAST, BEST))
    for group in (group for each in last['optimizers'] for group in each['param_groups']):
        group.update(lr=0, momentum=0) # set anew before every update
    lines = [json.dumps({key: record[key] for key in record if key != 'dt'}) for record in log_of(out_dir)]
    state = {key: last[key] for key in ('model', 'optimizers', 'iter_num')}
    return {'model, optimizers or iter_num': checksum(state),
            'weights of best.pt': checksum(best['model']), 'lines of log.jsonl': lines}


def differences(found, wanted):
    mine, theirs = (each['lines of log.jsonl'] for each in (found, wanted))
    return [f'{name} differ' for name in wanted if found[name] != wanted[name]] \
        + [f'missing: {line}' for line in theirs if line not in mine][:3] \
        + [f'strange: {line}' for line in mine if line not in theirs][:3]


def log_of(out_dir):
    """The objects of log.jsonl. ValueError for a line that is not whole, or a second one of its kind."""
    path, records, seen = os.path.join(out_dir, 'log.jsonl'), [], set()
    for line in read_text(path).splitlines(keepends=True) if os.path.exists(path) else []:
        record = json.loads(line) if line.endswith('}\n') else {}
        kind = record.get('iter'), *sorted(record)
        if not record or kind in seen:
            raise ValueError(f'log.jsonl: expected whole lines, each of another iter, got {line!r}')
        seen.add(kind)
        records.append(record)
    return records


def newest(out_dir):
    """(iter_num, name) of the checkpoint that a resume takes; (0, '') before there is one."""
    if not holds_a_run(out_dir):
        return 0, ''
    with contextlib.redirect_stdout(io.StringIO()):
        checkpoint, path = read_first([os.path.join(out_dir, name) for name in (LAST, PREVIOUS)])
    return checkpoint['iter_num'], os.path.basename(path)


def files_of(out_dir):
    """All files but the log, each with what tells it from a longer or later one of that name."""
    found = set()
    with contextlib.suppress(FileNotFoundError): # some are gone before one has looked at them
        for entry in os.scandir(out_dir):
            if entry.name != 'log.jsonl':
                stat = entry.stat()
                found.add((entry.name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return found


def tmp_of(out_dir):
    return {each for each in files_of(out_dir) if each[0].endswith('.tmp')}


def phase(attempt):
    """What a process is at, or was when it ended."""
    if tmp_of(attempt.out_dir) - attempt.left:
        return 'writing'
    printed = re.findall(r'^iter +(\d+)/(\d+) \| (loss|val)', attempt.said(), re.M)
    if not printed:
        return 'start-up'
    iter_num, length, kind = int(printed[-1][0]), int(printed[-1][1]), printed[-1][2]
    if kind == 'val':
        return 'end' if iter_num == length else 'training'
    return 'evaluation' if iter_num % EVAL == 0 or iter_num == length else 'training'


# ---- strikes: each takes an Attempt and returns the phase that it struck in ----

def wait(attempt, training=False):
    """Until a random moment of an undisturbed run; with training, after the first update of this process."""
    since = 0.0
    if training:
        wait_until(attempt.child, lambda: '| loss' in attempt.said())
        since = attempt.case.began
    attempt.child.join(attempt.rng.uniform(0, attempt.case.ended - since))


def send(attempt, number):
    found = phase(attempt)
    if attempt.child.exitcode is None:
        os.kill(attempt.child.pid, number)
    attempt.child.join(100)
    return phase(attempt) if number == SIGKILL else found # after SIGKILL nothing more has happened


def kill(attempt):
    wait(attempt)
    return send(attempt, SIGKILL)


def kill_while_writing(attempt):
    wait(attempt, training=True)
    before = files_of(attempt.out_dir)
    wait_until(attempt.child, lambda: files_of(attempt.out_dir) != before)
    time.sleep(attempt.rng.choice((0, attempt.rng.uniform(0, 0.003)))) # its first bytes, or later ones
    return send(attempt, SIGKILL)


def strike_at_the_end(attempt):
    number, length = attempt.rng.choice((SIGKILL, SIGTERM)), attempt.case.max_iters
    line = f'{length - attempt.rng.choice((0, 1))}/{length} | loss'
    wait_until(attempt.child, lambda: line in attempt.said())
    attempt.child.join(attempt.rng.choice((0, attempt.rng.uniform(0, 0.05))))
    return send(attempt, number)


def send_signal(attempt):
    wait(attempt, training=True)
    return send(attempt, attempt.rng.choice((SIGTERM, SIGINT, SIGHUP)))


def limit_files(attempt):
    wait(attempt)
    found, rng, (ckpt, best, log) = phase(attempt), attempt.rng, attempt.case.sizes
    lifted = rng.random() < 0.5
    # a log that could not be written has lost lines for good, unless the run goes back to before that
    limit = rng.randrange(2 * log if lifted else 4096, rng.choice((ckpt, best, 3 * log)))
    with contextlib.suppress(ProcessLookupError): # it has just ended
        for each in (limit, resource.RLIM_INFINITY) if lifted else (limit,):
            resource.prlimit(attempt.child.pid, resource.RLIMIT_FSIZE, (each, resource.RLIM_INFINITY))
            attempt.child.join(rng.uniform(0, 0.5))
    return found


def fill_disk(attempt):
    wait(attempt, training=True)
    found, filler = phase(attempt), os.path.join(os.path.dirname(attempt.out_dir), 'filler')
    with open(filler, 'wb', buffering=0) as f, contextlib.suppress(OSError):
        while True:
            f.write(bytes(4096))
    attempt.child.join(100)
    os.remove(filler)
    return found


def damage(path, rng):
    """Spoils a file as a bad disk might."""
    how, place = rng.choice(('flipped', 'cut', 'zeroed', 'removed')), rng.randrange(os.path.getsize(path))
    with open(path, 'rb') as f:
        data = bytearray(f.read())
    data[place] ^= 1 << rng.randrange(8)
    os.remove(path) # not in place, as the newest ckpt-<iter>.pt is the same file
    if how != 'removed':
        with open(path, 'wb') as f:
            f.write({'flipped': data, 'cut': data[:place], 'zeroed': bytes(len(data))}[how])


STRIKES = {'kill': kill, 'write': kill_while_writing, 'end': strike_at_the_end, 'damage': kill,
           'signal': send_signal, 'limit': limit_files, 'disk': fill_disk}
STATUSES = {'end': (-SIGKILL, 0), 'signal': (0,), 'limit': (1,), 'disk': (1,)} # else SIGKILL


# ---- what is wrong, as sentences ----

def wrong_words(attempt, status, complaint):
    """How a process ended and what it said. complaint: what came on stderr"""
    wrong, said = [], attempt.said()
    if 'Traceback' in said + complaint:
        wrong.append(f'a traceback: {complaint[-600:]}')
    elif status == 1 and (complaint.count('\n') != 1 or 'be written (' not in complaint):
        wrong.append(f'expected one line that says what could not be written, got {complaint!r}')
    elif status == 0 and complaint:
        wrong.append(f'expected nothing on stderr, got {complaint!r}')
    if attempt.before[1] == PREVIOUS and 'resume: ' in said and 'going on with' not in said:
        wrong.append(f'went on with {PREVIOUS} and did not say so')
    return wrong


def wrong_files(attempt, iter_num, name):
    """What a strike has destroyed. iter_num, name: newest, after it"""
    wrong = []
    if iter_num < attempt.before[0]:
        wrong.append(f'expected a checkpoint of iter {attempt.before[0]} or later, got {iter_num}')
    if name == PREVIOUS != attempt.before[1]:
        wrong.append(f'{LAST} is gone or not whole')
    for each, *_ in files_of(attempt.out_dir):
        if each.endswith('.pt') and each != 'ckpt.damaged.pt' and not (each == LAST and name == PREVIOUS):
            try:
                read_checkpoint(os.path.join(attempt.out_dir, each))
            except SystemExit as problem:
                wrong.append(str(problem))
    return wrong


def wrong_progress(lost, status, log):
    """What a strike that took no room has cost beyond what it may. lost: updates"""
    most = 0 if status == 0 else 2 * SAVE # one save may be on its way to the disk
    updates = [record['iter'] for record in log if 'loss' in record]
    wrong = [f'expected at most {most} updates to be lost, got {lost}'] if lost > most else []
    if updates != list(range(1, len(updates) + 1)):
        wrong.append(f'log.jsonl: expected a line of every update, got {updates}')
    return wrong


# ---- the torture ----

def endure(case, kind, strikes, rng, counts, out_dir):
    """One run to its end, each process struck while counts has too few strikes; returns what is wrong."""
    wrong = []
    while not wrong:
        before, left, striking = newest(out_dir), tmp_of(out_dir), counts['strikes'] < strikes
        attempt = Attempt(case, rng, out_dir, before, left, start(case.folder, case.max_iters, out_dir))
        struck = STRIKES[kind](attempt) if striking else ''
        attempt.child.join(100)
        status, complaint = attempt.child.exitcode, read_text(os.path.join(case.folder, 'stderr'))
        attempt.child.kill() # if it still runs
        counts['tries'] += 1
        counts['fall-backs'] += before[1] == PREVIOUS and 'resume: ' in attempt.said()
        wrong += wrong_words(attempt, status, complaint)
        try:
            log, (iter_num, name) = log_of(out_dir), newest(out_dir)
            wrong += wrong_files(attempt, iter_num, name)
            if status == 0 and 'stopped by' not in attempt.said():
                return wrong + differences(result_of(out_dir), case.result)
        except (SystemExit, ValueError) as problem:
            return [*wrong, str(problem)]
        if status not in (STATUSES.get(kind, (-SIGKILL,)) if striking else (0,)):
            wrong.append(f'expected no such end, got status {status}: {complaint}')
        if kind not in ('limit', 'disk') and name != PREVIOUS:
            lost = sum('loss' in record for record in log) - iter_num
            counts['lost'] = max(lost, counts['lost'])
            wrong += wrong_progress(lost, status, log)
        if kind == 'damage':
            if name != LAST or not os.path.exists(os.path.join(out_dir, PREVIOUS)):
                continue # there must be something to go on with
            damage(os.path.join(out_dir, LAST), rng)
        counts.update({'strikes': 1, struck: 1})
    return wrong


@contextlib.contextmanager
def small_disk(folder):
    """Makes a folder a disk of its own, of 2 MB; gives whether that is allowed here."""
    command = ['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder]
    allowed = shutil.which('mount') and subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
    try:
        yield allowed
    finally:
        if allowed:
            subprocess.run(['umount', '--lazy', folder], check=True)


def torture(case, kind, strikes, seed):
    """Counter of what came of so many strikes of a kind; None where the machine does not allow it."""
    rng, counts = random.Random(f'{seed} {kind}'), Counter(strikes=0, lost=0, tracebacks=0, wrong=0)
    folder = tempfile.mkdtemp(prefix=kind, dir=case.folder)
    out_dir = os.path.join(folder, 'out')
    with small_disk(folder) if kind == 'disk' else contextlib.nullcontext(True) as allowed:
        if not allowed or kind == 'limit' and not hasattr(resource, 'prlimit'):
            return None
        while counts['strikes'] < strikes and counts['runs'] < 10 * strikes: # or all miss
            wrong = endure(case, kind, strikes, rng, counts, out_dir)
            tracebacks = sum(each.startswith('a traceback') for each in wrong)
            counts.update(runs=1, wrong=bool(wrong), tracebacks=tracebacks)
            for each in wrong:
                print(f'{kind}, try {counts["tries"]}: {each}', flush=True)
            shutil.rmtree(out_dir, ignore_errors=True)
    return counts


def main():
    signal.signal(SIGTERM, signal.default_int_handler) # so that the disk goes, too
    columns, found = ('strikes', *PHASES, 'tries', 'lost', 'fall-backs', 'wrong'), {}
    with tempfile.TemporaryDirectory(prefix='torture-') as folder:
        try:
            case = make_case(folder, max_iters)
            print(f'a run of {max_iters} updates takes {case.ended:.1f} s, {case.began:.1f} s of it to start')
            print(' ' * 8 + ''.join(f'{name:>11}' for name in columns))
            for kind in kinds.split():
                found[kind] = counts = torture(case, kind, kills, seed)
                print(f'{kind:8}' + (''.join(f'{counts[name]:11}' for name in columns) if counts else
                                     '    skipped, as this machine does not allow it'), flush=True)
        finally:
            for child in multiprocessing.active_children(): # after Ctrl-C
                child.kill()
                child.join()
    print(json.dumps({'seed': seed, 'max_iters': max_iters, **found}))
    if any(counts and (counts['wrong'] or counts['strikes'] < kills) for counts in found.values()):
        raise SystemExit(1)


if __name__ == '__main__':
    main()
