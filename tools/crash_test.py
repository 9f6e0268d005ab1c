"""
Fault injection: are runs of train.py crash-safe? Each must end exactly as one that was never disturbed.

    python tools/crash_test.py --kills=50 --seed=1

kill     SIGKILL at a random moment, from the start of the process to the end of the run
write    SIGKILL as soon as a file is written or replaced, after a random moment
end      SIGKILL or SIGTERM around the last update, its evaluation and the last files
damage   SIGKILL, then one bit of ckpt.pt is flipped, or the file is truncated, zeroed or removed
signal   SIGTERM, SIGINT or SIGHUP at a random moment after the first update
limit    from a random moment on, in half of the cases for a while only, files cannot grow to their full size
disk     a full disk from a random moment after the first update (tmpfs, only where mount is allowed)

After each fault every file must be valid and no progress lost; then the run is resumed and the next fault
injected. At the end the weights, optimizer state, best.pt and the log (without dt) must equal those of the
undisturbed run. The processes are forks of one that has imported torch: nothing can be damaged before that.

The table: faults injected, and how many in which phase (evaluation: the last line printed is of an update due
for one; saving: a new *.tmp was left; end: after the last evaluation); processes started; updates lost to one
fault at most; resumes from ckpt.prev.pt, which only damage may cause; runs that failed a check.
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from configurator import configure

kills = 50 # faults of each kind
seed = 1 # of the random choices; how far a run has come at a given moment also depends on the machine
max_iters = 203 # length of each run, which then takes some seconds
kinds = 'kill write end damage signal limit disk' # kinds of faults to inject

config = configure(globals())

# after the settings, so that --help and errors do not wait for torch
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
SAVE, EVAL = 5, 20 # save_interval, and eval_interval as in TINY
FLAGS = (*TINY, '--dropout=0.2', '--gradient_accumulation_steps=2', f'--save_interval={SAVE}', '--keep=2',
         '--eval_tokens=600', '--sample_interval=50', '--dataset=bins')
TIMEOUT = 600 # seconds until a process counts as hung
PHASES = 'start-up', 'training', 'evaluation', 'saving', 'end'
FORKS = multiprocessing.get_context('forkserver')
FORKS.set_forkserver_preload(['torch._dynamo', 'matplotlib.pyplot'])


@dataclass(frozen=True)
class Reference:
    """The undisturbed run, and the folder of the others."""
    folder: str
    max_iters: int
    result: dict # result_of it
    sizes: list # bytes of ckpt.pt, best.pt and log.jsonl
    first_update_s: float # seconds from the start of a process to its first update
    end_s: float # seconds from the start of a process to its end


@dataclass
class Attempt:
    """A process that starts a run or resumes it."""
    reference: Reference
    rng: random.Random
    out_dir: str
    before: tuple # newest, when it was started
    leftovers: set # the *.tmp of earlier processes
    child: multiprocessing.Process

    def output(self):
        return read_text(f'{self.out_dir}.stdout')


# ---- processes ----

def train(folder, flags, out_dir):
    """train.py from its first line to its last, as the target of a process."""
    gc.freeze() # otherwise the collector visits, and so copies, all memory shared with the fork server
    os.chdir(folder)
    signal.signal(SIGHUP, signal.SIG_DFL) # under nohup it is ignored
    for number, path in (1, f'{out_dir}.stdout'), (2, 'stderr'):
        os.dup2(os.open(path, os.O_WRONLY), number)
    sys.argv = [os.path.join(ROOT, 'train.py'), *flags]
    try:
        runpy.run_path(sys.argv[0], run_name='__main__')
    finally:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1) # for buffered output that a full disk did not take


def start(folder, length, out_dir):
    """A process that trains to the end, from scratch or from where out_dir stopped."""
    flags = [*FLAGS, f'--max_iters={length}', f'--out_dir={out_dir}']
    flags += ['--init_from=auto'] # a kill in the first save may leave best.pt alone
    for path in f'{out_dir}.stdout', os.path.join(folder, 'stderr'):
        open(path, 'w', encoding='utf-8').close() # the output of the previous process
    child = FORKS.Process(target=train, args=(folder, flags, out_dir))
    child.start()
    return child


def wait_until(child, condition):
    """Poll every 0.2 ms until condition() holds or the process has ended."""
    while child.exitcode is None and not condition():
        time.sleep(0.0002)


def make_reference(folder, length):
    """Train undisturbed on a small text: by python train.py and as a fork, which must give equal results."""
    with open(os.path.join(folder, 'text.txt'), 'w', encoding='utf-8') as file:
        rng = random.Random(0)
        words = 'the a cat dog sat ran on mat hill big red and then who why café — naïve'.split()
        file.write(' '.join(rng.choice(words) + rng.choice(['', '', '.', '\n']) for _ in range(9000)))
    FORKS.Process(target=int).start() # the fork server imports torch meanwhile
    whole, forked = os.path.join(folder, 'whole'), os.path.join(folder, 'forked')
    for script, *flags in (('data/text/prepare.py', '--input=text.txt', '--tokenizer=char', '--out=bins'),
                           ('train.py', *FLAGS, f'--max_iters={length}', f'--out_dir={whole}')):
        done = subprocess.run([sys.executable, os.path.join(ROOT, script), *flags], cwd=folder,
                              capture_output=True, encoding='utf-8')
        assert done.returncode == 0, f'{script}: expected status 0, got {done.returncode}: {done.stderr}'
    before, times = time.perf_counter(), []
    child = start(folder, length, forked)
    for text in '| loss', 'done in':
        wait_until(child, lambda text=text: text in read_text(f'{forked}.stdout'))
        times.append(time.perf_counter() - before)
    child.join()
    found, expected = result_of(forked), result_of(whole)
    assert found == expected, f'expected a fork to equal a new process, got: {differences(found, expected)}'
    sizes = [os.path.getsize(os.path.join(whole, name)) for name in (LAST, BEST, 'log.jsonl')]
    return Reference(folder, length, expected, sizes, *times)


# ---- the state of a run's folder ----

def read_text(path):
    with open(path, encoding='utf-8', errors='replace') as file:
        return file.read()


def result_of(out_dir):
    """What must not depend on the faults during a run."""
    last, best = (read_checkpoint(os.path.join(out_dir, name)) for name in (LAST, BEST))
    for group in (group for state in last['optimizers'] for group in state['param_groups']):
        group.update(lr=0, momentum=0) # set anew before every update
    lines = [json.dumps({key: record[key] for key in record if key != 'dt'}) for record in log_of(out_dir)]
    state = {key: last[key] for key in ('model', 'optimizers', 'iter_num')}
    return {'model, optimizer state or iter_num': checksum(state),
            'weights of best.pt': checksum(best['model']), 'lines of log.jsonl': lines}


def differences(found, expected):
    """Sentences about two results of result_of."""
    here, there = (result['lines of log.jsonl'] for result in (found, expected))
    return [f'{name} differ' for name in expected if found[name] != expected[name]] \
        + [f'missing line: {line}' for line in there if line not in here][:3] \
        + [f'unexpected line: {line}' for line in here if line not in there][:3]


def log_of(out_dir):
    """The objects of log.jsonl. ValueError for an incomplete line, or a second one of its kind and iter."""
    path, records, seen = os.path.join(out_dir, 'log.jsonl'), [], set()
    for line in read_text(path).splitlines(keepends=True) if os.path.exists(path) else []:
        record = json.loads(line) if line.endswith('}\n') else {}
        key = record.get('iter'), *sorted(record)
        if not record or key in seen:
            raise ValueError(f'log.jsonl: expected complete lines without duplicates, got {line!r}')
        seen.add(key)
        records.append(record)
    return records


def newest(out_dir):
    """(iter_num, name) of the checkpoint that a resume loads; (0, '') before there is one."""
    if not holds_a_run(out_dir):
        return 0, ''
    with contextlib.redirect_stdout(io.StringIO()):
        checkpoint, path = read_first([os.path.join(out_dir, name) for name in (LAST, PREVIOUS)])
    return checkpoint['iter_num'], os.path.basename(path)


def files_of(out_dir):
    """All files but the log, each with what distinguishes it from a longer or later one of its name."""
    found = set()
    with contextlib.suppress(FileNotFoundError): # removed between listing and stat
        for entry in os.scandir(out_dir):
            if entry.name != 'log.jsonl':
                stat = entry.stat()
                found.add((entry.name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return found


def tmp_of(out_dir):
    return {file for file in files_of(out_dir) if file[0].endswith('.tmp')}


def phase(attempt):
    """The phase of PHASES that a process is in, or was in when it ended."""
    if tmp_of(attempt.out_dir) - attempt.leftovers:
        return 'saving'
    printed = re.findall(r'^iter +(\d+)/(\d+) \| (loss|val)', attempt.output(), re.M)
    if not printed:
        return 'start-up'
    iter_num, length, line = int(printed[-1][0]), int(printed[-1][1]), printed[-1][2]
    if line == 'val':
        return 'end' if iter_num == length else 'training'
    return 'evaluation' if iter_num % EVAL == 0 or iter_num == length else 'training'


# ---- faults: each function takes an Attempt, injects its fault and returns the phase it hit ----

def wait(attempt, training=False):
    """Until a random moment of an undisturbed run; with training, after the first update of this process."""
    elapsed = 0.0
    if training:
        wait_until(attempt.child, lambda: '| loss' in attempt.output())
        elapsed = attempt.reference.first_update_s
    attempt.child.join(attempt.rng.uniform(0, attempt.reference.end_s - elapsed))


def send(attempt, number):
    hit = phase(attempt)
    if attempt.child.exitcode is None:
        os.kill(attempt.child.pid, number)
    attempt.child.join(TIMEOUT)
    return phase(attempt) if number == SIGKILL else hit # nothing happens after SIGKILL


def kill(attempt):
    wait(attempt)
    return send(attempt, SIGKILL)


def kill_during_write(attempt):
    wait(attempt, training=True)
    before = files_of(attempt.out_dir)
    wait_until(attempt.child, lambda: files_of(attempt.out_dir) != before)
    time.sleep(attempt.rng.choice((0, attempt.rng.uniform(0, 0.003)))) # at its first bytes, or later ones
    return send(attempt, SIGKILL)


def kill_near_end(attempt):
    number, length = attempt.rng.choice((SIGKILL, SIGTERM)), attempt.reference.max_iters
    line = f'{length - attempt.rng.choice((0, 1))}/{length} | loss'
    wait_until(attempt.child, lambda: line in attempt.output())
    attempt.child.join(attempt.rng.choice((0, attempt.rng.uniform(0, 0.05))))
    return send(attempt, number)


def send_signal(attempt):
    wait(attempt, training=True)
    return send(attempt, attempt.rng.choice((SIGTERM, SIGINT, SIGHUP)))


def limit_file_size(attempt):
    wait(attempt)
    hit, rng, (ckpt, best, log) = phase(attempt), attempt.rng, attempt.reference.sizes
    lifted = rng.random() < 0.5
    # lines that a full disk kept out of the log are lost, unless the run resumes from before them
    limit = rng.randrange(2 * log if lifted else 4096, rng.choice((ckpt, best, 3 * log)))
    with contextlib.suppress(ProcessLookupError): # it has just ended
        for size in (limit, resource.RLIM_INFINITY) if lifted else (limit,):
            resource.prlimit(attempt.child.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            attempt.child.join(rng.uniform(0, 0.5))
    return hit


def fill_disk(attempt):
    wait(attempt, training=True)
    hit, filler = phase(attempt), os.path.join(os.path.dirname(attempt.out_dir), 'filler')
    with open(filler, 'wb', buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    attempt.child.join(TIMEOUT)
    os.remove(filler)
    return hit


def damage(path, rng):
    """Corrupt a file as a bad disk might."""
    how, offset = rng.choice(('flip', 'truncate', 'zero', 'remove')), rng.randrange(os.path.getsize(path))
    with open(path, 'rb') as file:
        data = bytearray(file.read())
    data[offset] ^= 1 << rng.randrange(8)
    os.remove(path) # not in place: the newest ckpt-<iter>.pt is a hard link to the same file
    if how != 'remove':
        with open(path, 'wb') as file:
            file.write({'flip': data, 'truncate': data[:offset], 'zero': bytes(len(data))}[how])


FAULTS = {'kill': kill, 'write': kill_during_write, 'end': kill_near_end, 'damage': kill,
          'signal': send_signal, 'limit': limit_file_size, 'disk': fill_disk}
STATUSES = {'end': (-SIGKILL, 0), 'signal': (0,), 'limit': (1,), 'disk': (1,)} # expected; else SIGKILL


# ---- checks: each returns what is wrong, as sentences ----

def check_output(attempt, status, stderr):
    """How a process ended and what it printed."""
    wrong, output = [], attempt.output()
    if 'Traceback' in output + stderr:
        wrong.append(f'a traceback: {stderr[-600:]}')
    elif status == 1 and (stderr.count('\n') != 1 or 'be written (' not in stderr):
        wrong.append(f'expected one line about the file that could not be written, got {stderr!r}')
    elif status == 0 and stderr:
        wrong.append(f'expected nothing on stderr, got {stderr!r}')
    if attempt.before[1] == PREVIOUS and 'resume: ' in output and PREVIOUS not in output:
        wrong.append(f'resumed from {PREVIOUS} without saying so')
    return wrong


def check_files(before, out_dir, iter_num, name):
    """The checkpoints in out_dir after a fault. before; iter_num, name: newest, before and after it"""
    wrong = []
    if iter_num < before[0]:
        wrong.append(f'expected a checkpoint of iter {before[0]} or later, got {iter_num}')
    if name == PREVIOUS != before[1]:
        wrong.append(f'{LAST} is missing or damaged')
    for file, *_ in files_of(out_dir):
        if file.endswith('.pt') and file != 'ckpt.damaged.pt' and not (file == LAST and name == PREVIOUS):
            try:
                read_checkpoint(os.path.join(out_dir, file))
            except SystemExit as problem:
                wrong.append(str(problem))
    return wrong


def check_progress(lost, status, log):
    """What a fault that left room on the disk has cost. lost: updates; log: the objects of log.jsonl"""
    most = 0 if status == 0 else 2 * SAVE # one save may be in progress
    updates = [record['iter'] for record in log if 'loss' in record]
    wrong = [f'expected at most {most} lost updates, got {lost}'] if lost > most else []
    if updates != list(range(1, len(updates) + 1)):
        wrong.append(f'log.jsonl: expected a line of every update, got {updates}')
    return wrong


# ---- the test ----

def run_with_faults(reference, kind, n_faults, rng, counts, out_dir):
    """One run to its end, with a fault in each process while counts has too few; returns what is wrong."""
    wrong = []
    while not wrong:
        before, leftovers, injecting = newest(out_dir), tmp_of(out_dir), counts['faults'] < n_faults
        child = start(reference.folder, reference.max_iters, out_dir)
        attempt = Attempt(reference, rng, out_dir, before, leftovers, child)
        hit = FAULTS[kind](attempt) if injecting else ''
        child.join(TIMEOUT)
        status, stderr = child.exitcode, read_text(os.path.join(reference.folder, 'stderr'))
        child.kill() # if it still runs
        counts['processes'] += 1
        counts['fallbacks'] += before[1] == PREVIOUS and 'resume: ' in attempt.output()
        wrong += check_output(attempt, status, stderr)
        try:
            log, (iter_num, name) = log_of(out_dir), newest(out_dir)
            wrong += check_files(before, out_dir, iter_num, name)
            if status == 0 and 'stopped by' not in attempt.output():
                return wrong + differences(result_of(out_dir), reference.result)
        except (SystemExit, ValueError) as problem:
            return [*wrong, str(problem)]
        if status not in (STATUSES.get(kind, (-SIGKILL,)) if injecting else (0,)):
            wrong.append(f'unexpected exit status {status} (None: it hung): {stderr}')
        if kind not in ('limit', 'disk') and name != PREVIOUS:
            lost = sum('loss' in record for record in log) - iter_num
            counts['lost'] = max(lost, counts['lost'])
            wrong += check_progress(lost, status, log)
        if kind == 'damage':
            if name != LAST or not os.path.exists(os.path.join(out_dir, PREVIOUS)):
                continue # there must be something to fall back on
            damage(os.path.join(out_dir, LAST), rng)
        counts.update({'faults': 1, hit: 1})
    return wrong


@contextlib.contextmanager
def small_disk(folder):
    """Mount a disk of 2 MB on a folder; yields whether that is allowed here."""
    command = ['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder]
    allowed = shutil.which('mount') and subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
    try:
        yield allowed
    finally:
        if allowed:
            subprocess.run(['umount', '--lazy', folder], check=True)


def inject_faults(reference, kind, n_faults, seed):
    """A Counter for n_faults of a kind, with the columns of the table; None where the system cannot do it."""
    rng, counts = random.Random(f'{seed} {kind}'), Counter(faults=0, lost=0, tracebacks=0, failures=0)
    folder = tempfile.mkdtemp(prefix=kind, dir=reference.folder)
    out_dir = os.path.join(folder, 'out')
    with small_disk(folder) if kind == 'disk' else contextlib.nullcontext(True) as allowed:
        if not allowed or kind == 'limit' and not hasattr(resource, 'prlimit'):
            return None
        while counts['faults'] < n_faults and counts['runs'] < 10 * n_faults: # all may miss
            wrong = run_with_faults(reference, kind, n_faults, rng, counts, out_dir)
            tracebacks = sum(sentence.startswith('a traceback') for sentence in wrong)
            counts.update(runs=1, failures=bool(wrong), tracebacks=tracebacks)
            for sentence in wrong:
                print(f'{kind}, process {counts["processes"]}: {sentence}', flush=True)
            shutil.rmtree(out_dir, ignore_errors=True)
    return counts


def main():
    unknown = set(kinds.split()) - FAULTS.keys()
    if unknown or kills < 1 or max_iters <= EVAL:
        raise SystemExit(f'crash_test.py: expected kills >= 1, max_iters > {EVAL} and kinds among '
                         f'{" ".join(FAULTS)}, got {kills}, {max_iters} and {kinds!r}')
    os.environ.setdefault('OMP_NUM_THREADS', '1') # more threads make tiny models slower on a busy machine
    signal.signal(SIGTERM, signal.default_int_handler) # so that the disk is unmounted, too
    columns, results = ('faults', *PHASES, 'processes', 'lost', 'fallbacks', 'failures'), {}
    with tempfile.TemporaryDirectory(prefix='crash-test-') as folder:
        try:
            reference = make_reference(folder, max_iters)
            print(f'an undisturbed run of {max_iters} updates takes {reference.end_s:.1f} s, '
                  f'{reference.first_update_s:.1f} s of it until the first update')
            print(' ' * 8 + ''.join(f'{name:>11}' for name in columns))
            for kind in kinds.split():
                results[kind] = counts = inject_faults(reference, kind, kills, seed)
                print(f'{kind:8}' + (''.join(f'{counts[name]:11}' for name in columns) if counts else
                                     '    skipped: this system does not allow it'), flush=True)
        finally:
            for child in multiprocessing.active_children(): # after Ctrl-C
                child.kill()
                child.join()
    print(json.dumps({'seed': seed, 'max_iters': max_iters, **results}))
    if any(counts and (counts['failures'] or counts['faults'] < kills) for counts in results.values()):
        raise SystemExit(1)


if __name__ == '__main__':
    main()
