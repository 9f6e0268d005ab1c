"""
Checkpoint files that are damaged, impossible or hostile: one line, or what was written; nothing is executed.

    FUZZ=20 python -m pytest tests/test_checkpoint_hostile.py -rP    # 20 times as many damaged files, counted
"""
import contextlib
import functools
import io
import os
import pickle
import random
import zipfile
from collections import Counter, OrderedDict

import pytest
import torch
from conftest import error_of, mangled, random_model, replaced, same

import train as training
from data import bins
from data.tokenizer import from_json
from lib import checkpoint as lib_checkpoint
from lib.checkpoint import build, checksum, read_checkpoint, save
from lib.device import Machine
from lib.generate import generate_texts
from lib.optim import make_optimizers, set_lr_and_momentum
from lib.plan import choose_config, make_plan

FUZZ = int(os.environ.get('FUZZ', 1)) # multiplies how many damaged files are tried


@functools.cache
def complete(arch='modern', chars='\n abcdefghijk'):
    """A checkpoint as train.py writes it after two updates of a tiny model."""
    model = random_model(arch=arch, vocab_size=len(chars), block_size=8, n_layer=1, n_head=2, n_embd=8)
    optimizers = make_optimizers(model, 'auto', 1e-3, 0.02, 0.1, (0.9, 0.95))
    idx = torch.arange(16).view(2, 8) % len(chars)
    for _ in range(2):
        training.train_step(model, optimizers, [(idx, idx.roll(-1, 1))], contextlib.nullcontext())
    state = lib_checkpoint.RunState(iter_num=2, minutes=0.5, best_val_loss=2.5, last_eval_iter=2)
    return lib_checkpoint.snapshot(lib_checkpoint.make_checkpoint(
        model, state, optimizers, None, {'kind': 'char', 'chars': chars}, training.config.settings, ''))


def read_and_build(path):
    checkpoint = read_checkpoint(path)
    build(checkpoint, 'ckpt.pt')
    return checkpoint


def damaged_metadata(rng, content):
    """One bit or byte changed among names, sizes and the checksum, or in the directory of the zip file."""
    pickle_end = content.index(b'PK', content.index(b'data.pkl') + 1)
    directory = range(content.index(b'PK\x01\x02'), len(content))
    at = rng.choice(range(pickle_end) if rng.random() < 0.7 else directory)
    content = bytearray(content)
    content[at] = content[at] ^ (1 << rng.randrange(8)) if rng.random() < 0.7 else rng.randrange(256)
    return bytes(content)


@pytest.mark.parametrize('damage', [mangled, damaged_metadata])
@pytest.mark.parametrize('arch', ['modern', 'gpt2'])
def test_a_file_with_random_damage_ends_in_one_line_or_is_read_as_it_was_written(tmp_path, arch, damage):
    path, rng, counts = tmp_path / 'ckpt.pt', random.Random(0), Counter()
    save(complete(arch), path)
    content, written = path.read_bytes(), read_and_build(path)
    for _ in range(20 * FUZZ):
        path.write_bytes(damage(rng, content))
        found = []
        message = error_of(lambda found=found: found.append(read_and_build(path)))
        counts['refused' if message else 'read'] += 1
        assert message or same(found[0], written), 'read as something else'
    print(f'{arch} {damage.__name__}:', dict(counts))
    assert counts['refused'] > counts['read'] > 0


@pytest.mark.parametrize('content', [
    b'', b'hello world', bytes(1000), b'PK', b'PK\x03\x04' + bytes(100), b'PK\x05\x06' + bytes(18), b'\x80',
    b'\x80\x02.', b'{"model": {}}', pickle.dumps({'model': {}, 'model_config': {}}), b'GGUF\x03\x00',
    (1 << 40).to_bytes(8, 'little') + b'{"a":{"dtype":"F32"}}', b'\x93NUMPY\x01\x00'],
    ids=lambda content: repr(content[:12]))
def test_a_file_of_another_kind_ends_in_one_line(tmp_path, content):
    for more in (b'', random.Random(0).randbytes(999)):
        (tmp_path / 'ckpt.pt').write_bytes(content + more)
        assert 'ckpt.pt: ' in error_of(read_checkpoint, tmp_path / 'ckpt.pt')


JUNK = [None, -1, 0, 10 ** 30, 1.5, float('nan'), float('inf'), 'x', 'a\nb', '', [], {}, True, [None], {1: 2},
        torch.empty(0), torch.tensor(3), torch.tensor(float('nan')), torch.ones(3, 1), torch.ones(2, 2) * 1j,
        torch.ones(2, 2).bool(), torch.ones(3).to(torch.float8_e4m3fn), torch.ones(8, 8) * 3e38]


def junk(rng, value):
    if isinstance(value, torch.Tensor) and rng.random() < 0.7:
        return rng.choice([value.double(), value.half(), value.int(), value[None], value.flatten()[:-1],
                           -value, value * float('nan'), value * 1e38])
    return rng.choice(JUNK)


def resume_and_sample(run_dir, folder):
    """What train.py --init_from=resume and sample.py do with a checkpoint, for one update and one token."""
    s = training.config.settings | {'init_from': 'resume', 'n_embd': 8, 'batch_size': 2}
    meta = bins.load_meta(folder)
    checkpoint, path = lib_checkpoint.load_initial_checkpoint('resume', run_dir)
    config = choose_config(checkpoint, path, s, {'n_embd'}, {'n_embd'}, meta)
    plan = make_plan(s, set(), config, meta)
    machine = Machine('cpu', 'float32', False)
    run = training.build_run(s, config, machine, folder, meta, checkpoint, path, resuming=True)
    run.is_finite()
    set_lr_and_momentum(run.optimizers, plan.lr_multiplier(run.state), run.state.iter_num, 0.95)
    batches = training.load_micro_batches(run.train_tokens, s, config.block_size, run.state.iter_num, 'cpu')
    training.train_step(run.model, run.optimizers, batches, contextlib.nullcontext())
    tokenizer = from_json(checkpoint['tokenizer'])
    generate_texts(build(checkpoint, path).eval(), tokenizer, [tokenizer.decode([0])], 1, 1)


@pytest.mark.parametrize('arch', ['modern', 'gpt2'])
def test_impossible_contents_end_in_one_line_or_can_be_trained_and_sampled(tmp_path, arch, dataset):
    rng, counts, chars = random.Random(1), Counter(), bins.load_meta(dataset)['tokenizer']['chars']
    save(complete(arch, chars), tmp_path / 'ckpt.pt')
    assert not error_of(resume_and_sample, str(tmp_path), dataset)
    for _ in range(20 * FUZZ):
        contents = replaced(rng, complete(arch, chars), junk)
        if not isinstance(contents, dict): # save takes nothing else
            continue
        save(contents, tmp_path / 'ckpt.pt')
        counts['refused' if error_of(resume_and_sample, str(tmp_path), dataset) else 'used'] += 1
    print(f'{arch}:', dict(counts))
    assert min(counts['refused'], counts['used']) > 0


class Call:
    """Pickled, a call of a function; when that is unpickled without restrictions, it is executed."""

    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


class Storage(tuple):
    """Pickled, a reference to a storage in the file of torch.save."""

    def __new__(cls, count=50, key='0', kind=torch.FloatStorage, device='cpu'):
        return super().__new__(cls, ('storage', kind, key, device, count))


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return tuple(value) if isinstance(value, Storage) else None


def pickled(value, protocol=2):
    if isinstance(value, bytes): # is one already
        return b'\x80\x02' + value + b'.'
    buffer = io.BytesIO()
    Pickler(buffer, protocol).dump(value)
    return buffer.getvalue()


def write_zip(path, content=None, whole=None, compression=zipfile.ZIP_STORED):
    """A file of torch.save, or one with another pickle in it, which may name storage 0 of 50 float32."""
    torch.save(whole or {'w': torch.ones(50)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, part in parts.items():
            archive.writestr(name, content if content and name.endswith('data.pkl') else part)


def write_old(path, content):
    """As torch saved before 1.6: several pickles one after the other."""
    head = (0x1950a86a20f9469cfc6c, 1001, {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {}})
    path.write_bytes(b''.join(pickle.dumps(part, 2) for part in head) + content + pickle.dumps([], 2))


def make_folder(folder):
    return Call(os.mkdir, folder)


ATTACKS = { # each makes the folder that is named, if it is executed
    'a function': make_folder, 'eval': lambda folder: Call(eval, f'__import__("os").mkdir({folder!r})'),
    'the opcode INST': lambda folder: b'(' + pickle.dumps(folder, 2)[2:-1] + b'ios\nmkdir\n',
    'the opcode OBJ': lambda folder: b'(cos\nmkdir\n' + pickle.dumps(folder, 2)[2:-1] + b'o',
    'from bytes': lambda folder: Call(torch.storage._load_from_bytes, pickle.dumps(make_folder(folder), 2)),
    'declared safe first': lambda folder: [Call(torch.serialization.add_safe_globals, [os.mkdir]),
                                           make_folder(folder)],
    'among weights': lambda folder: {'model': OrderedDict(w=make_folder(folder)), 'model_config': {}}}


@pytest.mark.filterwarnings('ignore:Detected pickle protocol 4')
@pytest.mark.parametrize('attack', ATTACKS.values(), ids=ATTACKS)
def test_a_hostile_pickle_that_pickle_would_execute_executes_nothing_and_ends_in_one_line(tmp_path, attack):
    for write in (write_zip, write_old, lambda path, content: path.write_bytes(content)):
        for protocol in (2, 4):
            write(tmp_path / 'ckpt.pt', pickled(attack(str(tmp_path / 'executed')), protocol))
            assert 'ckpt.pt: ' in error_of(read_checkpoint, tmp_path / 'ckpt.pt')
            assert os.listdir(tmp_path) == ['ckpt.pt']
    with contextlib.suppress(Exception):
        pickle.loads(pickled(attack(str(tmp_path / 'executed'))))
    torch.serialization.clear_safe_globals()
    assert (tmp_path / 'executed').exists()


def tensor(storage=None, size=(50,), stride=(1,), offset=0):
    return Call(torch._utils._rebuild_tensor_v2, storage or Storage(), offset, size, stride, False, {})


itself, doubled = [], []
itself.append(itself)
for _ in range(60):
    doubled = [doubled, doubled]
IMPOSSIBLE = {'more numbers than its file': tensor(Storage(50_000), (50_000,)),
    'more numbers than its storage': tensor(size=(51,)), 'numbers before its storage': tensor(offset=-4),
    'a negative stride': tensor(stride=(-1,)), 'a negative size': tensor(size=(-5,)),
    'a million times a million numbers': tensor(size=(10 ** 6, 10 ** 6), stride=(0, 0)),
    'a file beside the archive': tensor(Storage(key='../../../../../etc/passwd')),
    'another kind of storage': tensor(Storage(kind=torch.DoubleStorage)),
    '1 TB of memory': Call(torch.Tensor, 10 ** 6, 25 * 10 ** 4), '100 MB of bytes': Call(bytearray, 10 ** 8),
    'a function for a tensor': torch._utils._rebuild_tensor, 'a list in itself': itself,
    'lists that hold another twice, 60 times': doubled, 'lists in lists': b']' * 100_000 + b'a' * 99_999,
    'a string 100,000 times': ['x' * 10_000] * 10 ** 5, 'nothing on the stack': b'R'}
OTHER_TYPES = [
    {'model': None}, {'model': [1]}, {'model': {}}, {'model_config': None}, {'model_config': {'n_layer': 1}},
    {'model_config': {1: 2}}, {'model': {1: torch.ones(2)}}, {'settings': 3}, {'tokenizer': torch.ones(3)},
    {'iter_num': 'a\nb'}, {'checksum': 'x\ny'}, {'model': {'a\nb': torch.ones(2)}}, {'model_args': {}},
    {'model_args': {'n_layer': 'a\nb'}}]


@pytest.mark.parametrize('wrong', [*OTHER_TYPES, *IMPOSSIBLE.values()],
                         ids=[*map(str, OTHER_TYPES), *IMPOSSIBLE])
def test_a_checkpoint_with_parts_of_other_types_or_impossible_ones_ends_in_one_line(tmp_path, wrong):
    path, contents = tmp_path / 'ckpt.pt', complete()
    if isinstance(wrong, dict):
        torch.save({'checksum': checksum(contents | wrong)} | contents | wrong, path)
    else:
        whole = {'model': {'w': wrong}, 'model_config': {}}
        write_zip(path, pickled(wrong if isinstance(wrong, bytes) else whole))
    assert 'ckpt.pt: ' in error_of(read_and_build, path)


def test_an_archive_that_expands_to_much_more_is_refused(tmp_path):
    whole = {'model': {'w': torch.zeros(10 ** 7)}, 'model_config': {}}
    write_zip(tmp_path / 'ckpt.pt', None, whole, zipfile.ZIP_DEFLATED)
    assert os.path.getsize(tmp_path / 'ckpt.pt') < 10 ** 5
    # the error is that of torch, which has expanded nothing yet; ours would come after that
    assert 'or damaged (RuntimeError)' in error_of(read_checkpoint, tmp_path / 'ckpt.pt')
