"""What several files share: a way to run a script, a tiny dataset, and a run that was trained on it."""
import os

# of this process and of those it starts; tiny models gain nothing from more
os.environ.setdefault('OMP_NUM_THREADS', '1')

import contextlib
import errno
import io
import itertools
import json
import random
import runpy
import signal
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TINY = ('--n_layer=2', '--n_head=2', '--n_embd=32', '--block_size=32', '--batch_size=4', '--device=cpu',
        '--dtype=float32', '--warmup_iters=2', '--log_interval=1', '--eval_interval=20', '--sample_tokens=8')


@dataclass(frozen=True)
class Result:
    status: int # the exit status
    message: str # what the script ended with, '' when all went well
    out: str # what it printed before


def run(script, *flags, cwd):
    """A script of this repository from its first line to its last, in this process but in another folder."""
    path, before = os.path.join(REPO, script), (sys.argv, os.getcwd(), torch.get_num_threads())
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    out, status, message = io.StringIO(), 0, ''
    sys.argv = [path, *flags]
    os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(path, run_name='__main__')
    except SystemExit as error:
        told = isinstance(error.code, str)
        status, message = (1, error.code) if told else (error.code or 0, '')
    finally:
        sys.argv, here, threads = before
        os.chdir(here)
        torch.set_num_threads(threads)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Result(status, message, out.getvalue())


def command(script, *flags, before=()):
    """The words that start a script in a process of its own; before: options of python."""
    return [sys.executable, *before, os.path.join(REPO, script), *flags]


def process(script, *flags, cwd, before=(), **env):
    """A script in a process of its own, with more in its environment."""
    return subprocess.run(command(script, *flags, before=before), cwd=cwd, env=os.environ | env,
                          capture_output=True, encoding='utf-8', timeout=300)


def is_one_line(result):
    """Whether a run ended as a user's mistake should: status 1, one line, no traceback."""
    return result.status == 1 and result.message and '\n' not in result.message


def read(path):
    """A checkpoint."""
    return torch.load(path, map_location='cpu', weights_only=True)


def log_of(out_dir, key='loss'):
    """The objects of log.jsonl that have a key; 'val_loss' for the evaluations."""
    with open(os.path.join(out_dir, 'log.jsonl'), encoding='utf-8') as f:
        return [record for record in map(json.loads, f) if key in record]


def tiny_text():
    """40 kB that a small model can learn something about, some of its characters longer than one byte."""
    rng = random.Random(0)
    words = 'the a cat dog sat ran on mat hill big red and then who why café — naïve'.split()
    return ' '.join(rng.choice(words) + rng.choice(['', '', '.', '\n']) for _ in range(9000))


@pytest.fixture(scope='session')
def dataset(tmp_path_factory):
    """The folder of a small prepared text, one id for each character; read only."""
    folder = tmp_path_factory.mktemp('dataset')
    (folder / 'text.txt').write_text(tiny_text(), encoding='utf-8')
    result = run('data/text/prepare.py', '--input=text.txt', '--tokenizer=char', '--out=bins', cwd=folder)
    assert result.status == 0, result.message
    return str(folder / 'bins')


@pytest.fixture(scope='session')
def trained(dataset, tmp_path_factory):
    """The out_dir of a finished run of 40 updates; read only."""
    folder = tmp_path_factory.mktemp('trained')
    result = run('train.py', f'--dataset={dataset}', *TINY, '--max_iters=40', '--out_dir=out', cwd=folder)
    assert result.status == 0, result.message
    return str(folder / 'out')


@pytest.fixture
def train(dataset, tmp_path):
    """train.py on the tiny dataset, with a tiny model, into tmp_path/out: train('--max_iters=3')."""
    words = f'--dataset={dataset}', *TINY, '--out_dir=out'
    return lambda *flags: run('train.py', *words, *flags, cwd=tmp_path)


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


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker('slow') and not config.getoption('--slow'):
            item.add_marker(pytest.mark.skip(reason='slow; run with --slow'))


# ---- tiny models, and how a call ends ----

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


def error_of(function, *args):
    """The one line of the SystemExit that ends a call, '' without one; any other exception is a failure."""
    try:
        function(*args)
    except SystemExit as error:
        assert isinstance(error.code, str) and error.code and '\n' not in error.code, repr(error.code)
        return error.code
    return ''


def same(a, b):
    """Whether nested dicts and lists of tensors and plain values are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


# ---- small checkpoints ----

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
