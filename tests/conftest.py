"""What several files share: ways to run a script, a tiny dataset, a trained run, comparisons of runs."""
import os

# of this process and of those it starts; tiny models gain nothing from more
os.environ.setdefault('OMP_NUM_THREADS', '1')

import contextlib
import errno
import functools
import hashlib
import io
import itertools
import json
import math
import multiprocessing
import random
import runpy
import signal
import subprocess
import sys
from typing import NamedTuple

import pytest
import torch
from torch.overrides import TorchFunctionMode

# nohup and a shell's & make a process, and those it starts, ignore signals that tests send
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, 'SIGHUP'): # not on Windows
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TINY = ('--n_layer=2', '--n_head=2', '--n_embd=32', '--block_size=32', '--batch_size=4', '--device=cpu',
        '--dtype=float32', '--warmup_iters=2', '--log_interval=1', '--eval_interval=20', '--sample_tokens=8')

# those that end a run; Windows lacks some
STOP_SIGNALS = [getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2')
                if hasattr(signal, name)]
FORKS = multiprocessing.get_context('forkserver' if os.name == 'posix' else 'spawn')
FORKS.set_forkserver_preload(['train', 'torch._dynamo', 'matplotlib.pyplot']) # seconds of imports


class Result(NamedTuple):
    status: int # the exit status
    message: str # what the script ended with, '' when all went well
    out: str # what it printed before


def run(script, *flags, cwd):
    """A script of this repository from its first line to its last, in this process but in another folder."""
    path, out, threads = os.path.join(REPO, script), io.StringIO(), torch.get_num_threads()
    handlers, code = {number: signal.getsignal(number) for number in STOP_SIGNALS}, 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.chdir(cwd)
        patch.setattr(sys, 'argv', [path, *flags])
        try:
            runpy.run_path(path, run_name='__main__')
        except SystemExit as error:
            code = error.code or 0
        finally:
            torch.set_num_threads(threads)
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return Result(1, code, out.getvalue()) if isinstance(code, str) else Result(code, '', out.getvalue())


class PretendDevice(TorchFunctionMode):
    """
    Within it, tensors, which stay on the CPU, say that they are on a device of another type ('cuda', 'mps').

    What mps cannot do is refused as there: a tensor of dtype float64, and pinned memory.
    """

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function == torch.Tensor.device.__get__:
            return torch.device(self.kind)
        def on_cpu(value):
            return torch.device('cpu') if str(value) == self.kind else value

        args = [on_cpu(value) if isinstance(value, (str, torch.device)) else value for value in args]
        kwargs = dict(kwargs or {})
        kwargs |= {'device': on_cpu(kwargs['device'])} if 'device' in kwargs else {}
        if self.kind == 'mps' and function is torch.Tensor.pin_memory:
            raise RuntimeError('pinned memory is not for mps')
        result = function(*args, **kwargs)
        if self.kind == 'mps' and isinstance(result, torch.Tensor) and result.dtype == torch.float64:
            raise TypeError("the MPS framework doesn't support float64")
        return result


def command(script, *flags, before=()):
    """The words that start a script in a process of its own; before: options of python."""
    return [sys.executable, *before, os.path.join(REPO, script), *flags]


def process(script, *flags, cwd, before=(), **env):
    """A script in a process of its own, with more in its environment."""
    return subprocess.run(command(script, *flags, before=before), cwd=cwd, env=os.environ | env,
                          capture_output=True, encoding='utf-8', timeout=300)


def fork(script, *flags, cwd, out='out.txt', setup=None, **env):
    """
    A script in a new process that starts at once, with multiprocessing's methods: kill(), join(), exitcode.

    out: the file in cwd for its output, whose last line is the peak of its memory in bytes
    setup: a function of the test file to call first
    """
    child = FORKS.Process(target=forked, args=(script, flags, cwd, out, setup, env), daemon=True)
    child.start()
    return child


def run_forked(*words, cwd, **more):
    """(exit status, output) of fork(), at its end."""
    child = fork(*words, cwd=cwd, **more)
    child.join()
    return child.exitcode, (cwd / 'out.txt').read_text(encoding='utf-8')


def in_child(function):
    """How a call ends in a forked process: -N by signal N, 0 if it returns, 3 if it raises."""
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException: # nothing may continue into pytest
            os._exit(3)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextlib.contextmanager
def full_disk(n_bytes):
    """As on a full disk, no file can grow beyond n_bytes within it."""
    resource = pytest.importorskip('resource') # not on Windows
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def forked(script, flags, cwd, out, setup, env):
    """The child of fork()."""
    os.chdir(cwd)
    os.environ.update(env)
    sys.argv = [os.path.join(REPO, script), *flags]
    handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    if setup:
        setup()
    sys.stdout = open(1, 'w', encoding='utf-8', closefd=False) # knows whether it is a file
    from lib.timing import peak_memory
    try:
        runpy.run_path(sys.argv[0], run_name='__main__')
    finally: # multiprocessing prints the message of a SystemExit after this
        with contextlib.suppress(OSError): # stdout may be gone
            print('peak', peak_memory('cpu'), file=sys.__stdout__, flush=True)


def mistake(result):
    """The message of a run that ended as a user's mistake should: status 1, one line, no traceback."""
    assert result.status == 1 and result.message and '\n' not in result.message, result
    return result.message


def read(path):
    """A checkpoint."""
    return torch.load(path, map_location='cpu', weights_only=True)


def log_of(out_dir, key='loss'):
    """The objects of log.jsonl that have a key; 'val_loss' for the evaluations."""
    with open(os.path.join(out_dir, 'log.jsonl'), encoding='utf-8') as f:
        return [record for record in map(json.loads, f) if key in record]


def same(a, b):
    """Whether two checkpoints, or parts of them, are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def assert_same_run(resumed, whole):
    """Two out_dirs hold the same weights, the same optimizer state and the same numbers in the log."""
    mine, theirs = ([r | {'dt': 0} for r in log_of(out_dir)] for out_dir in (resumed, whole))
    assert mine == theirs != []
    mine, theirs = (read(os.path.join(out_dir, 'ckpt.pt')) for out_dir in (resumed, whole))
    assert all(same(mine[key], theirs[key]) for key in ('model', 'optimizers', 'iter_num'))


def files(folder):
    """{name: checksum} of all files below a folder but the empty ones that are only locked."""
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob('*')) if path.is_file() and path.name != '.lock'}


def prepared(text, folder):
    """The dataset of a text, one id for each character, as a flag."""
    write_file(folder / 'text.txt', text)
    result = run('data/text/prepare.py', '--input=text.txt', '--tokenizer=char', '--out=bins', cwd=folder)
    assert result.status == 0, result.message
    return f'--dataset={folder / "bins"}'


def write_file(path, contents=''):
    """Write bytes or text to a file, whose folder is made if need be; returns its path."""
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    with open(path, 'wb') as file:
        file.write(contents if isinstance(contents, bytes) else contents.encode())
    return str(path)


def read_bins(folder):
    """(tokenizer, {split: ids}) of a prepared dataset, as its meta says to read it."""
    from data.bins import load_meta, open_bin
    from data.tokenizer import from_json
    meta = load_meta(folder)
    ids = {split: open_bin(folder, split, meta).tolist() for split in ('train', 'val')}
    return from_json(meta['tokenizer']), ids


def tiny_text():
    """40 kB that a small model can learn something about, some of its characters longer than one byte."""
    rng = random.Random(0)
    words = 'the a cat dog sat ran on mat hill big red and then who why café — naïve'.split()
    return ' '.join(rng.choice(words) + rng.choice(['', '', '.', '\n']) for _ in range(9000))


@pytest.fixture(scope='session')
def dataset(tmp_path_factory):
    """The folder of a small prepared text, one id for each character; read only."""
    return prepared(tiny_text(), tmp_path_factory.mktemp('dataset')).partition('=')[2]


@pytest.fixture(scope='session')
def trained(dataset, tmp_path_factory):
    """The out_dir of a finished run of 40 updates; read only."""
    folder = tmp_path_factory.mktemp('trained')
    result = run('train.py', f'--dataset={dataset}', *TINY, '--max_iters=40', '--out_dir=out', cwd=folder)
    assert result.status == 0, result.message
    return str(folder / 'out')


@pytest.fixture
def gpt2_dataset(tmp_path):
    """The folder, in tmp_path, of some tokens of GPT-2 as nanoGPT writes them, with a meta.json."""
    for split, count in ('train', 4000), ('val', 400):
        ids = torch.arange(count) * 7919 % 50257
        write_file(tmp_path / 'tokens' / f'{split}.bin', ids.to(torch.uint16).numpy().tobytes())
    result = run('data/text/prepare.py', '--input=tokens', '--tokenizer=gpt2', cwd=tmp_path)
    assert result.status == 0, result.message
    return str(tmp_path / 'tokens')


@pytest.fixture
def train(dataset, tmp_path, monkeypatch):
    """train.py on the tiny dataset, with a tiny model, into tmp_path/out: train('--max_iters=3')."""
    monkeypatch.setitem(sys.modules, 'matplotlib', None) # as if not installed: half of the time of a run
    words = f'--dataset={dataset}', *TINY, '--out_dir=out'
    return lambda *flags: run('train.py', *words, *flags, cwd=tmp_path)


@pytest.fixture(params=STOP_SIGNALS, ids=lambda number: number.name)
def stop_signal(request):
    """Each signal that ends a run."""
    return request.param


@pytest.fixture
def wandb(monkeypatch, tmp_path):
    """The wandb package, offline, quiet, in tmp_path; it reads its environment once, hence the teardown."""
    wandb = pytest.importorskip('wandb')
    for name, value in (('MODE', 'offline'), ('SILENT', 'true'), ('DIR', str(tmp_path))):
        monkeypatch.setenv(f'WANDB_{name}', value)
    wandb.teardown()
    yield wandb
    wandb.teardown()


def pytest_addoption(parser):
    parser.addoption('--slow', action='store_true', help='also the tests that take more than 20 seconds each')


def pytest_configure(config):
    config.addinivalue_line('markers', 'slow: takes more than 20 seconds; runs with --slow only')


def pytest_runtest_setup(item):
    if item.get_closest_marker('slow') and not item.config.getoption('--slow'):
        pytest.skip('slow; run with --slow')


# for what reads files that may hold anything: datasets, tokenizers, checkpoints

JUNK = [None, True, -1, 0, 10**30, int('9' * 4300), 1.5, math.nan, math.inf, '', 'a\nb', '\ud800',
        '9' * 10**5, [], {}, ['x'], {'x': []}, functools.reduce(lambda inner, _: [inner], range(500), 'deep')]


def replaced(rng, value, junk=lambda rng, value: rng.choice(JUNK)):
    """A copy of nested dicts and lists with something in it replaced by junk(), doubled or left out."""
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.1:
        return junk(rng, value)
    changed = value.copy()
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key, what = rng.choice(keys), rng.random()
    if what < 0.1:
        del changed[key]
    else:
        changed[key] = value[rng.choice(keys)] if what < 0.2 else replaced(rng, value[key], junk)
    return changed


def mangled(rng, data):
    """Bytes with one to three pieces flipped, overwritten, reversed, doubled or cut out, or without end."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        start = rng.randrange(len(data) + 1)
        end = start + rng.choice((1, 1, 1, 4, 100, 4096, len(data)))
        piece = data[start:end]
        flipped = bytes(byte ^ 1 << rng.randrange(8) for byte in piece[:1]) + piece[1:]
        changed = flipped, flipped, rng.randbytes(len(piece)), bytes(len(piece)), piece[::-1], piece * 2, b''
        data = data[:start] + rng.choice(changed) + data[end:]
    return data


def error_of(function, *args, **named):
    """The one short line of the SystemExit that ends a call, '' without one; any other exception fails."""
    try:
        function(*args, **named)
    except SystemExit as error:
        line = error.code
        assert isinstance(line, str) and line.isprintable() and 20 < len(line) < 1000, repr(line)
        return line
    return ''


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """No connection but to this machine, wherever the test runs, and no vocabulary in tiktoken's cache."""
    for name in 'HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy':
        monkeypatch.setenv(name, 'http://127.0.0.1:9') # nothing listens there
    for name in 'NO_PROXY', 'no_proxy':
        monkeypatch.setenv(name, '127.0.0.1')
    for name in 'HF_HUB_OFFLINE', 'HF_DATASETS_OFFLINE', 'HF_ENDPOINT':
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(tmp_path / 'no-tiktoken'))


MODERN = dict(arch='modern', vocab_size=61, block_size=16, n_layer=2, n_head=4, n_embd=32)
FAMILIES = {'modern': MODERN, 'grouped': MODERN | {'n_kv_head': 2}, 'tied': MODERN | {'tie_weights': True},
            'gpt2': MODERN | {'arch': 'gpt2'}, 'gpt2 with biases': MODERN | {'arch': 'gpt2', 'bias': True}}


def random_model(seed=0, **shape):
    """A GPT in eval mode without zeros in its weights, so that every part has an effect."""
    from model import GPT, GPTConfig
    torch.manual_seed(seed)
    model = GPT(GPTConfig(**shape)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.2)
    return model


def random_tokens(*shape, vocab_size=61, seed=1):
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def small_checkpoint(iter_num, **more):
    """The least that is a checkpoint; its weights say which one it is."""
    weights = {'w': torch.full((50,), float(iter_num))}
    return {'model': weights, 'model_config': {}, 'iter_num': iter_num} | more


def iter_of(path):
    """iter_num of a file that save(small_checkpoint(...)) wrote, which must be complete."""
    from lib.checkpoint import read_checkpoint
    checkpoint = read_checkpoint(path)
    assert torch.equal(checkpoint['model']['w'], torch.full((50,), float(checkpoint['iter_num'])))
    return checkpoint['iter_num']


def fail_at(monkeypatch, owner, name, nth=1, number=errno.ENOSPC):
    """Make the nth call of a function, and all that follow, fail as on a full disk."""
    function, calls = getattr(owner, name), itertools.count(1)

    def failing(*args, **kwargs):
        if next(calls) >= nth:
            raise OSError(number, os.strerror(number))
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, failing)


STORIES = [f'Story {i}: a fox and {i % 7} mice met {"again " * (i % 5)}at noon!\n\nThe end.'
           for i in range(60)]


def write_stories(folder, texts=STORIES, tokenizer=None, **more):
    """The meta of a dataset whose last ten texts are val; without a tokenizer, an id for each character."""
    from data.tokenizer import CharTokenizer
    from data.write import write_dataset
    tokenizer = tokenizer or CharTokenizer.of(''.join(texts))
    return write_dataset(str(folder), {'train': texts[:-10], 'val': texts[-10:]}, tokenizer, 'a test', **more)


@pytest.fixture
def stories_folder(tmp_path):
    """tmp_path with the bins of STORIES."""
    write_stories(tmp_path)
    return tmp_path
