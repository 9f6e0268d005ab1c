"""
The file of a run: written whole or not at all, and read with suspicion.

    TORTURE=20 python -m pytest tests/test_checkpoint.py -rP    # twenty times as many damaged files, counted
"""
import contextlib
import errno
import functools
import json
import os
import pickle
import random
import signal
import sys
import threading
import zipfile
from collections import Counter, OrderedDict
from dataclasses import asdict, fields

import numpy as np
import pytest
import torch
from conftest import is_one_line, run
from test_model import FAMILIES, random_model, tokens
from test_train import files, same

import sample
import train as training
from data import bins
from data.tokenizer import CharTokenizer
from lib import checkpoint as code
from lib.checkpoint import (
    Writer,
    build,
    checksum,
    from_transformers,
    numbered,
    read_checkpoint,
    read_first,
    save,
    snapshot,
)
from lib.generate import generate_texts
from lib.log import progress_line
from lib.optim import make_optimizers, restore

TORTURE = int(os.environ.get('TORTURE', 1)) # multiplies how many damaged files are tried
GONE = '(gone)' # see put
needs_fork = pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')


def refused(function, *args):
    """The one line with which a call ends, '' when it ends well; anything but SystemExit is a failure."""
    try:
        function(*args)
    except SystemExit as error:
        assert isinstance(error.code, str) and error.code and '\n' not in error.code, repr(error.code)
        return error.code
    return ''


def short(value):
    """A parameter of a test, for its name."""
    return ' '.join(str(value).split())[:40]


def checkpoint_of(model, **more):
    return {'model': model.state_dict(), 'model_config': asdict(model.config)} | more


def small(iter_num, **more):
    """The least that is a checkpoint; its weights tell which one it is."""
    weights = {'w': torch.full((50,), float(iter_num))}
    return {'model': weights, 'model_config': {}, 'iter_num': iter_num} | more


def which(path):
    """iter_num of a file that was written by save(small(...)), which must be whole."""
    found = read_checkpoint(path)
    assert torch.equal(found['model']['w'], torch.full((50,), float(found['iter_num'])))
    return found['iter_num']


@functools.cache
def whole(family='modern', chars='\n abcdefghijk'):
    """A checkpoint as train.py writes it after two updates of a tiny model, with its optimizers."""
    shape = dict(arch=family, vocab_size=len(chars), block_size=8, n_layer=1, n_head=2, n_embd=8)
    model = random_model(**shape).train()
    optimizers = optimizers_of(model)
    for _ in range(2):
        training.train_step(model, optimizers, [batch_for(model)], contextlib.nullcontext())
    return snapshot(checkpoint_of(
        model, tokenizer=CharTokenizer(chars).to_json(), scaler=None, settings=training.config.settings,
        optimizers=[each.state_dict() for each in optimizers],
        **asdict(training.Progress(iter_num=2, minutes=0.5, best_val_loss=2.5, evaluated=2))))


def optimizers_of(model):
    kind = {'modern': 'muon', 'gpt2': 'adamw'}[model.config.arch]
    return make_optimizers(model, kind, 1e-3, 0.02, 0.1, (0.9, 0.95), torch.float32)


def batch_for(model, iter_num=0):
    data = np.arange(100, dtype=np.uint16) % model.config.vocab_size
    block_size = min(8, model.config.block_size)
    return bins.get_batch(data, bins.update_windows(100, block_size, 2, 1337, iter_num), block_size)


# ---- the model in its file ----

@pytest.mark.parametrize('shape', FAMILIES.values(), ids=FAMILIES)
def test_a_saved_model_comes_back_bit_for_bit(shape, tmp_path):
    model = random_model(**shape)
    save(checkpoint_of(model), tmp_path / 'ckpt.pt')
    again = build(read_checkpoint(tmp_path / 'ckpt.pt')).eval()
    assert torch.equal(model(tokens(1, 16)), again(tokens(1, 16)))
    assert os.listdir(tmp_path) == ['ckpt.pt']


@pytest.mark.parametrize('shape', FAMILIES.values(), ids=FAMILIES)
def test_a_shorter_context_gives_the_same_logits(shape):
    model = random_model(**shape)
    shorter = build(checkpoint_of(model), block_size=8).eval()
    assert shorter.config.block_size == 8
    assert torch.equal(model(tokens(1, 8)), shorter(tokens(1, 8)))


@pytest.mark.parametrize('compiled', ['', '_orig_mod.'])
def test_a_checkpoint_of_nanogpt_is_read_with_or_without_the_prefix_of_a_compiled_model(tmp_path, compiled):
    ours = random_model(**FAMILIES['gpt2'])
    torch.save(nanogpt(ours, compiled), tmp_path / 'ckpt.pt')
    again = build(read_checkpoint(tmp_path / 'ckpt.pt')).eval()
    assert torch.equal(again(tokens(1, 16)), ours(tokens(1, 16)))


def nanogpt(model, prefix='', **more):
    """What nanoGPT's train.py writes; old ones hold their causal masks, too."""
    weights = OrderedDict((prefix + name, w) for name, w in model.state_dict().items())
    weights[prefix + 'transformer.h.0.attn.bias'] = torch.ones(1, 1, 16, 16).tril()
    shape = dict(n_layer=2, n_head=4, n_embd=32, block_size=16, bias=False, vocab_size=61, dropout=0.0)
    return {'model': weights, 'optimizer': {'state': {}, 'param_groups': []}, 'model_args': shape | more,
            'iter_num': 5, 'best_val_loss': torch.tensor(1.5), 'config': {'dataset': 'x'}}


@pytest.mark.parametrize('more', [{'n_head': 3}, {'n_embd': '32'}, {'bias': None}, {'vocab_size': 10 ** 30},
                                  {'block_size': torch.ones(3, 1)}, {'n_layer': -1}, {'n_layer': 10 ** 7},
                                  {'n_head': 0}, {'bias': True}], ids=short)
def test_a_checkpoint_of_nanogpt_with_a_shape_that_cannot_be_ends_in_one_line(tmp_path, more):
    torch.save(nanogpt(random_model(**FAMILIES['gpt2']), **more), tmp_path / 'ckpt.pt')
    assert refused(lambda: build(read_checkpoint(tmp_path / 'ckpt.pt'), 'ckpt.pt'))


def test_weights_of_transformers_become_a_checkpoint_that_builds():
    transformers = pytest.importorskip('transformers')
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=61, n_positions=16, n_embd=32, n_layer=2, n_head=4))
    config = build(from_transformers(theirs)).config
    assert (config.arch, config.bias, config.activation, config.block_size) == ('gpt2', True, 'gelu_tanh', 16)


@pytest.mark.parametrize('shape', FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize('wrong, said', [
    ({'n_embd': 64}, 'do not fit'), ({'n_layer': 3}, '2 layers, not 3'), ({'d_model': 64}, "'d_model' 64"),
    ({'vocab_size': 60}, r'weight. \(61, 32\), not \(60, 32\)'), ({'n_embd': 10 ** 30}, 'n_embd'),
    ({'n_embd': 2 * 10 ** 7}, 'do not fit'), ({'rope_theta': float('nan')}, "'rope_theta' nan")])
def test_weights_that_do_not_fit_end_in_one_line(shape, wrong, said):
    checkpoint = checkpoint_of(random_model(**shape))
    with pytest.raises(SystemExit, match=said) as error:
        build(checkpoint | {'model_config': checkpoint['model_config'] | wrong})
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('dtype, number', [(torch.float32, float('nan')), (torch.float64, 1e300)])
def test_A15_weights_that_are_not_finite_in_the_model_are_refused(dtype, number):
    checkpoint = snapshot(whole())
    table = checkpoint['model']['transformer.wte.weight'].to(dtype)
    table[3, 3] = number
    checkpoint['model']['transformer.wte.weight'] = table
    assert 'not finite (such as transformer.wte.weight)' in refused(build, checkpoint, 'ckpt.pt')


# ---- what a checksum sees ----

W, B = torch.arange(6.).view(2, 3), torch.tensor([1, 2])
CONTENT = {'model': {'w': W, 'b': B}, 'list': [1, [2, 'x'], None], 'rate': 0.1, 'flag': True, 'name': 'a',
           'empty': torch.empty(0), 'pair': (1, 2)}


def put(value, path, new):
    """A copy of nested containers in which the place at path holds new, or is gone with GONE."""
    if not path:
        return new
    items = dict(value) if isinstance(value, dict) else dict(enumerate(value))
    items[path[0]] = put(items[path[0]], path[1:], new)
    if items[path[0]] is GONE:
        del items[path[0]]
    return items if isinstance(value, dict) else type(value)(items.values())


@pytest.mark.parametrize('path, new', [
    (('model', 'w'), W.index_fill(0, torch.tensor(1), -0.5)), (('model', 'w'), W.view(3, 2)),
    (('model', 'w'), torch.tensor([[-0.0, 1, 2], [3, 4, 5]])), (('model', 'w'), W.flatten()),
    (('model', 'w'), W[None]), (('model', 'w'), W.view(torch.int32)), (('model', 'w'), W.tolist()),
    (('model', 'w'), W.double()), (('model', 'b'), B.flip(0)), (('model', 'b'), GONE),
    (('model',), {'w': W, 'c': B}), (('model',), {'b': B, 'w': W}), (('model',), {'w': B, 'b': W}),
    (('list',), [1, 2, 'x', None]), (('list',), [[1, 2], 'x', None]), (('list',), [1, ['x', 2], None]),
    (('list',), [1, [2, 'x']]), (('list', 0), 1.0), (('list', 0), True), (('list', 0), '1'), (('list', 2), 0),
    (('list', 2), 'None'), (('rate',), 0.1 + 1e-17 + 2e-17), (('rate',), float('nan')), (('flag',), 1),
    (('name',), 'a\n'), (('name',), "a'"), (('name',), '\ud800'), (('empty',), torch.empty(0, 3)),
    (('empty',), GONE), (('pair',), [2, 1]), (('pair',), {1: 2})], ids=short)
def test_A3_a_checksum_changes_with_any_number_name_dtype_shape_nesting_or_order(path, new):
    assert checksum(put(CONTENT, path, new)) != checksum(CONTENT)


def test_A3_a_checksum_changes_with_each_single_bit_of_a_tensor():
    number = torch.tensor([1.5])
    found = {checksum({'w': (number.view(torch.int32) ^ (1 << i)).view(torch.float32)}) for i in range(31)}
    assert len(found | {checksum({'w': number})}) == 32


def test_A3_a_checksum_is_the_same_for_the_same_contents_however_they_lie_in_memory():
    spread = torch.zeros(3, 4).t()[:2] # a view, neither contiguous nor at the start of its memory
    spread.copy_(W)
    assert not spread.is_contiguous()
    assert checksum(put(CONTENT, ('model', 'w'), spread)) == checksum(CONTENT)
    assert checksum(CONTENT | {'model': OrderedDict(CONTENT['model'])}) == checksum(CONTENT)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn,
                                   torch.int64, torch.uint8, torch.bool, torch.complex64], ids=str)
def test_A3_a_checksum_is_the_same_after_saving_and_reading(tmp_path, dtype):
    content = CONTENT | {'model': {'w': W.to(dtype), '': torch.tensor(1, dtype=dtype)},
                         'model_config': {'unicode': 'naïve \ud800', 'inf': float('inf'), 'big': 10 ** 40}}
    save(content, tmp_path / 'ckpt.pt')
    found = read_checkpoint(tmp_path / 'ckpt.pt')
    assert found.pop('format') == 1 and found.pop('checksum')
    assert checksum(found) == checksum(content) and same(found, content)


@pytest.mark.parametrize('value', [
    torch.zeros(1).expand(10), torch.zeros(1, 1).expand(10 ** 6, 10 ** 6), torch.eye(3).to_sparse(),
    torch.empty(3, device='meta'), {1, 2}, b'bytes', 1j, np.float64(1.0), np.zeros(3), object()],
    ids=lambda value: type(value).__name__)
def test_A14_a_checksum_takes_plain_values_only_and_so_does_save(tmp_path, value):
    with pytest.raises(ValueError):
        checksum({'x': [value]})
    with pytest.raises(ValueError):
        save(small(1, x=value), tmp_path / 'ckpt.pt')
    assert os.listdir(tmp_path) == []


# ---- snapshots ----

def test_later_changes_do_not_show_in_a_snapshot():
    state = {'w': torch.zeros(3), 'nested': [{'w': torch.zeros(3)}, 1], 'settings': {'a': 1}}
    copy = snapshot(state)
    state['w'].add_(1)
    state['nested'][0]['w'].add_(1)
    state['nested'][1] = state['settings']['a'] = 2
    assert same(copy, {'w': torch.zeros(3), 'nested': [{'w': torch.zeros(3)}, 1], 'settings': {'a': 1}})


def test_tensors_that_share_memory_still_do_in_a_snapshot_so_a_tied_table_is_stored_once(tmp_path):
    model = random_model(arch='gpt2', vocab_size=1000, block_size=8, n_layer=1, n_head=2, n_embd=32)
    copy = snapshot(checkpoint_of(model))
    assert copy['model']['lm_head.weight'].data_ptr() == copy['model']['transformer.wte.weight'].data_ptr()
    save(copy, tmp_path / 'ckpt.pt')
    assert 4 * model.n_params() < os.path.getsize(tmp_path / 'ckpt.pt') < 4 * model.n_params() + 10_000


def test_views_of_one_memory_that_differ_are_not_mistaken_for_each_other_in_a_snapshot():
    w = torch.arange(16.).view(4, 4)
    state = {'w': w, 'transposed': w.t(), 'part': w[:2], 'flat': w.view(16), 'bits': w.view(torch.int32),
             'columns': w[:, ::2], 'empty': w[:0], 'no columns': w[:, :0]}
    assert same(snapshot(state), state)


# ---- saving ----

def test_A3_a_save_that_is_killed_before_any_of_its_lines_leaves_the_old_or_the_new_file_whole(tmp_path):
    if not hasattr(os, 'fork'):
        pytest.skip('needs fork')
    path, previous, found = tmp_path / 'ckpt.pt', tmp_path / 'ckpt.prev.pt', []
    for killed_at in range(1, 200):
        save(small(1), previous)
        save(small(2), path)
        finished = in_child(lambda at=killed_at: killed_at_line(at, save, small(3), path, previous))
        found.append((which(path), which(previous)))
        assert found[-1] in ((2, 1), (2, 2), (3, 2))
        assert read_first([path, previous])[1] == path
        if finished:
            break
        save(small(4), path, previous) # what the killed one has left is not in the way
        assert (which(path), which(previous)) == (4, found[-1][0])
        assert sorted(os.listdir(tmp_path)) == ['ckpt.prev.pt', 'ckpt.pt']
    assert finished and len(found) > 20 and found == sorted(found) and len(set(found)) == 3


def in_child(function):
    """Whether a call came to its end in a forked process."""
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException: # nothing may go on into pytest
            os._exit(3)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def killed_at_line(count, function, *args):
    """Call a function, and end the process, uncleaned, before the count-th line of checkpoint.py."""
    left = count

    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename != code.__file__ or frame.f_code.co_name in ('add', 'checksum', 'remove'):
            return None
        if event == 'line':
            left -= 1
            if left == 0:
                os._exit(9)
        return trace

    sys.settrace(trace)
    function(*args)


@needs_fork
@pytest.mark.parametrize('share', [0, 0.1, 0.5, 0.999])
def test_A3_a_save_that_is_killed_after_any_byte_leaves_the_old_file(tmp_path, share):
    resource = pytest.importorskip('resource')
    path = tmp_path / 'ckpt.pt'
    save(small(1), path)
    before = path.read_bytes()

    def cut():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL) # python ignores it: then it would be an OSError
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(len(before) * share), resource.RLIM_INFINITY))
        save(small(2), path)

    assert not in_child(cut)
    assert path.read_bytes() == before and os.path.getsize(f'{path}.tmp') == int(len(before) * share)


@needs_fork
@pytest.mark.parametrize('share', [0, 0.1, 0.5, 0.999])
def test_A3_a_disk_that_is_full_after_any_byte_leaves_the_old_file_and_no_other(tmp_path, share):
    resource = pytest.importorskip('resource')
    path = tmp_path / 'ckpt.pt'
    save(small(1), path)
    before = path.read_bytes()

    def fail():
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(len(before) * share), resource.RLIM_INFINITY))
        assert 'ckpt.pt: could not be written ([Errno 27] File too large)' in refused(save, small(2), path)

    assert in_child(fail)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ['ckpt.pt']


def fail_at(monkeypatch, owner, name, nth=1, error=errno.ENOSPC):
    """The nth call of a function of the system fails, as on a full disk, and all that follow."""
    function, calls = getattr(owner, name), iter(range(1, 1000))

    def failing(*args, **kwargs):
        if next(calls) >= nth:
            raise OSError(error, os.strerror(error))
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, failing)


@pytest.mark.parametrize('steps', [['os.fsync'], ['os.replace'], ['os.replace 2'], ['torch.save'],
                                   ['os.link', 'shutil.copyfile'], ['os.link', 'os.replace']], ids=' '.join)
def test_A3_a_step_of_a_save_that_fails_leaves_the_old_file_and_is_told(tmp_path, monkeypatch, steps):
    path, previous = tmp_path / 'ckpt.pt', tmp_path / 'ckpt.prev.pt'
    save(small(1), previous)
    save(small(2), path)
    for step in steps:
        owner, name, nth = step.replace('.', ' ').split() + ['1'] * (' ' not in step)
        fail_at(monkeypatch, {'os': os, 'torch': torch, 'shutil': code.shutil}[owner], name, int(nth))
    said = refused(save, small(3), path, previous)
    assert 'could not be written ([Errno 28] No space left on device)' in said and str(tmp_path) in said
    assert which(path) == 2 and which(previous) == (2 if steps == ['os.replace 2'] else 1)
    assert sorted(os.listdir(tmp_path)) == ['ckpt.prev.pt', 'ckpt.pt']


def test_A3_a_disk_that_cannot_sync_folders_is_no_failure_and_leaves_nothing_open(tmp_path, monkeypatch):
    save(small(0), tmp_path / 'ckpt.pt')
    before = len(os.listdir('/proc/self/fd')) if os.path.exists('/proc/self/fd') else 0
    with monkeypatch.context() as m:
        fail_at(m, os, 'fsync', 2, errno.EINVAL)
        save(small(1), tmp_path / 'ckpt.pt')
    assert which(tmp_path / 'ckpt.pt') == 1
    assert not before or len(os.listdir('/proc/self/fd')) == before


def test_A3_a_disk_without_links_keeps_the_one_before_as_a_copy(tmp_path, monkeypatch):
    fail_at(monkeypatch, os, 'link', error=errno.EPERM)
    for iter_num in (1, 2, 3):
        save(small(iter_num), tmp_path / 'ckpt.pt', tmp_path / 'ckpt.prev.pt')
    assert (which(tmp_path / 'ckpt.pt'), which(tmp_path / 'ckpt.prev.pt')) == (3, 2)
    assert sorted(os.listdir(tmp_path)) == ['ckpt.prev.pt', 'ckpt.pt']


def test_A3_what_a_killed_run_left_is_no_way_into_a_good_file(tmp_path, monkeypatch):
    path, previous = tmp_path / 'ckpt.pt', tmp_path / 'ckpt.prev.pt'
    save(small(1), path)
    for temporary in (f'{path}.tmp', f'{previous}.tmp'):
        os.link(path, temporary)
    fail_at(monkeypatch, os, 'link', error=errno.EPERM)
    fail_at(monkeypatch, os, 'replace', 2)
    assert refused(save, small(2), path, previous)
    assert which(path) == which(previous) == 1


def below_a_file(tmp_path):
    (tmp_path / 'file').write_text('x', encoding='utf-8')
    return tmp_path / 'file' / 'ckpt.pt'


def in_a_folder_that_is_not_there(tmp_path):
    return tmp_path / 'nosuch' / 'ckpt.pt'


def where_a_folder_is(tmp_path):
    (tmp_path / 'ckpt.pt' / 'x').mkdir(parents=True)
    return tmp_path / 'ckpt.pt'


def where_a_folder_is_in_the_way(tmp_path):
    (tmp_path / 'ckpt.pt.tmp' / 'x').mkdir(parents=True)
    return tmp_path / 'ckpt.pt'


@pytest.mark.parametrize('place', [below_a_file, in_a_folder_that_is_not_there, where_a_folder_is,
                                   where_a_folder_is_in_the_way])
def test_A3_a_path_that_cannot_be_written_ends_in_one_line_and_leaves_nothing(tmp_path, place):
    path = place(tmp_path)
    before = sorted(tmp_path.rglob('*'))
    assert f'{path}: could not be written (' in refused(save, small(1), path)
    assert sorted(tmp_path.rglob('*')) == before


def test_the_old_file_goes_where_it_is_to_be_kept_and_the_one_there_is_dropped(tmp_path):
    for iter_num in (1, 2, 3):
        save(small(iter_num), tmp_path / 'ckpt.pt', tmp_path / 'ckpt.prev.pt')
        assert which(tmp_path / 'ckpt.pt') == iter_num
    assert which(tmp_path / 'ckpt.prev.pt') == 2
    assert sorted(os.listdir(tmp_path)) == ['ckpt.prev.pt', 'ckpt.pt']


# ---- the writer ----

@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / 'out').mkdir()
    return tmp_path / 'out'


def block(run_dir, name='ckpt.pt'):
    """Make a write of this file fail until the folder that is in its way is gone."""
    (run_dir / f'{name}.tmp' / 'x').mkdir(parents=True)
    return lambda: ((run_dir / f'{name}.tmp' / 'x').rmdir(), (run_dir / f'{name}.tmp').rmdir())


def test_A3_a_write_that_fails_is_told_in_one_line_and_leaves_the_old_file(run_dir, capsys):
    writer = Writer(run_dir)
    writer.put(small(1), 'ckpt.pt')
    writer.wait()
    block(run_dir)
    writer.put(small(2), 'ckpt.pt')
    writer.wait()
    said, = capsys.readouterr().out.splitlines()
    assert said.startswith(f'WARNING: {run_dir}/ckpt.pt: could not be written (')
    assert 'training goes on' in said
    assert which(run_dir / 'ckpt.pt') == 1
    assert refused(writer.finish).startswith(f'{run_dir}/ckpt.pt: could not be written (')


def test_A3_a_write_that_fails_is_forgiven_when_a_later_one_of_that_file_does_not(run_dir, capsys):
    writer = Writer(run_dir)
    free, _ = block(run_dir), block(run_dir, 'best.pt')
    for name in ('ckpt.pt', 'best.pt'):
        writer.put(small(1), name)
    writer.wait()
    free()
    writer.put(small(2), 'ckpt.pt')
    said = refused(writer.finish)
    assert 'best.pt' in said and 'ckpt.pt' not in said
    assert capsys.readouterr().out.count('WARNING') == 3 # best.pt was tried again before the next ckpt.pt
    assert which(run_dir / 'ckpt.pt') == 2


def test_A16_a_best_that_found_no_room_is_written_as_soon_as_there_is_some(run_dir):
    writer = Writer(run_dir)
    free = block(run_dir, 'best.pt')
    writer.put(small(1), 'best.pt')
    writer.wait()
    free()
    writer.put(small(2), 'ckpt.pt')
    writer.finish()
    assert (which(run_dir / 'best.pt'), which(run_dir / 'ckpt.pt')) == (1, 2)


def test_a_writer_that_had_no_failure_says_nothing(run_dir, capsys):
    writer = Writer(run_dir, keep=1)
    for iter_num in (1, 2):
        writer.put(small(iter_num), 'ckpt.pt')
        writer.put(small(iter_num), 'best.pt')
    writer.finish()
    assert capsys.readouterr().out == ''


def test_A3_a_warning_that_nobody_can_read_ends_nothing(run_dir, monkeypatch):
    reader, terminal = os.pipe()
    os.close(reader)
    block(run_dir)
    writer, gone = Writer(run_dir), open(terminal, 'w', encoding='utf-8')
    with monkeypatch.context() as m:
        m.setattr(sys, 'stdout', gone)
        writer.put(small(1), 'ckpt.pt')
        writer.wait()
    with contextlib.suppress(BrokenPipeError):
        gone.close()
    assert 'ckpt.pt' in refused(writer.finish)


def test_A3_the_last_good_file_is_the_one_that_is_on_the_disk(run_dir):
    writer = Writer(run_dir, newest='out/ckpt.prev.pt of iter 7')
    free = block(run_dir)
    writer.put(small(8), 'ckpt.pt')
    assert writer.last_good() == 'out/ckpt.prev.pt of iter 7'
    free()
    for iter_num in (9, 10):
        writer.put(small(iter_num), 'ckpt.pt')
    assert writer.last_good() == f'{run_dir}/ckpt.pt of iter 10' and which(run_dir / 'ckpt.pt') == 10
    block(run_dir)
    writer.put(small(11), 'ckpt.pt')
    writer.put(small(11), 'best.pt')
    assert writer.last_good() == f'{run_dir}/ckpt.pt of iter 10' and which(run_dir / 'ckpt.pt') == 10
    assert Writer(run_dir).last_good() == 'none'


@pytest.mark.parametrize('keep', [0, 1, 3])
def test_the_newest_are_kept_under_their_numbers_and_can_all_be_read(run_dir, keep):
    writer = Writer(run_dir, keep)
    for iter_num in (5, 10, 15, 20, 20, 25):
        writer.put(small(iter_num), 'ckpt.pt')
        writer.put(small(iter_num), 'best.pt')
    writer.finish()
    expected = [5, 10, 15, 20, 25][-keep:] if keep else []
    assert [iter_num for iter_num, _ in numbered(run_dir)] == expected
    assert [which(run_dir / name) for _, name in numbered(run_dir)] == expected
    assert (which(run_dir / 'ckpt.pt'), which(run_dir / 'ckpt.prev.pt')) == (25, 20)
    assert len(os.listdir(run_dir)) == 3 + len(expected)


def test_a_run_that_went_back_keeps_its_own_numbers_before_those_ahead_of_it(run_dir):
    for iter_num in (40, 50):
        save(small(iter_num), run_dir / f'ckpt-{iter_num:07d}.pt')
    writer = Writer(run_dir, keep=2)
    writer.put(small(45), 'ckpt.pt')
    writer.finish()
    assert [iter_num for iter_num, _ in numbered(run_dir)] == [40, 45]


@pytest.mark.parametrize('links', [True, False])
def test_A3_a_number_that_cannot_be_given_is_told_and_leaves_the_others(run_dir, monkeypatch, capsys, links):
    writer = Writer(run_dir, keep=2)
    writer.put(small(1), 'ckpt.pt')
    writer.wait()
    if not links:
        fail_at(monkeypatch, os, 'link', error=errno.EPERM)
    block(run_dir, 'ckpt-0000002.pt')
    writer.put(small(2), 'ckpt.pt')
    writer.wait()
    assert capsys.readouterr().out.startswith(f'WARNING: {run_dir}/ckpt-0000002.pt: could not be written')
    assert writer.last_good() == f'{run_dir}/ckpt.pt of iter 2'
    assert [which(run_dir / name) for _, name in numbered(run_dir)] == [1]
    writer.put(small(3), 'ckpt.pt')
    writer.finish()
    assert [which(run_dir / name) for _, name in numbered(run_dir)] == [1, 3]


def test_put_returns_before_the_file_is_there_and_a_snapshot_waits_for_it(run_dir):
    writer, disk = Writer(run_dir), threading.Event()
    writer.pending.append(writer.thread.submit(disk.wait)) # as a slow disk would
    writer.put(small(1), 'ckpt.pt')
    try:
        assert os.listdir(run_dir) == []
    finally:
        timer = threading.Timer(0.05, disk.set)
        timer.start()
    writer.snapshot({})
    assert which(run_dir / 'ckpt.pt') == 1
    writer.finish()


def test_best_leaves_no_previous_and_no_number(run_dir):
    writer = Writer(run_dir, keep=3)
    for iter_num in (1, 2):
        writer.put(small(iter_num), 'best.pt')
    writer.finish()
    assert os.listdir(run_dir) == ['best.pt'] and which(run_dir / 'best.pt') == 2


def test_an_error_of_ours_in_the_thread_of_the_writer_is_not_swallowed(run_dir):
    writer = Writer(run_dir)
    writer.put(small(1, x=object()), 'ckpt.pt')
    with pytest.raises(ValueError):
        writer.finish()


def test_remove_run_leaves_nothing_that_a_run_writes_and_all_else(run_dir):
    writer = Writer(run_dir, keep=2)
    for iter_num in (1, 2):
        writer.put(small(iter_num), 'ckpt.pt')
        writer.put(small(iter_num), 'best.pt')
    writer.finish()
    for name in ('log.jsonl', 'loss.png', 'ckpt-final.pt', 'notes.txt'):
        (run_dir / name).write_text('', encoding='utf-8')
    assert code.holds_a_run(run_dir)
    code.remove_run(run_dir)
    assert sorted(os.listdir(run_dir)) == ['ckpt-final.pt', 'notes.txt'] and not code.holds_a_run(run_dir)


# ---- damage, and the file before ----

def overwrite(path, old, new):
    """Bytes in a file that differ in one bit, such as a disk may give back."""
    content = path.read_bytes()
    path.write_bytes(content.replace(old, new + old[len(new):], 1))


def a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGE = {'missing': lambda path: path.unlink(), 'empty': lambda path: path.write_bytes(b''),
          'cut short': lambda path: os.truncate(path, path.stat().st_size // 2), 'a folder': a_folder,
          'without its last byte': lambda path: os.truncate(path, path.stat().st_size - 1),
          'text': lambda path: path.write_text('hello\n' * 100, encoding='utf-8'),
          'nothing but zeros': lambda path: path.write_bytes(bytes(path.stat().st_size)),
          'a weight that differs': lambda path: overwrite(path, b'\x00\x00\x00\x40' * 9, b'\x00\x00\x00\x41'),
          'a name that differs': lambda path: overwrite(path, b'iter_num', b'iter_nul'),
          'its checksum under another name': lambda path: overwrite(path, b'checksum', b'checkSum'),
          'a checksum that differs': lambda path: torch.save(
              torch.load(path) | {'checksum': torch.ones(3, 1)}, path),
          'of a later version': lambda path: torch.save(
              (later := small(2, format=2)) | {'checksum': checksum(later)}, path),
          'another kind of object': lambda path: torch.save([1, 2], path)}


@pytest.mark.parametrize('damage', DAMAGE.values(), ids=DAMAGE)
def test_A3_a_file_that_is_damaged_gives_way_to_the_one_before_and_that_is_said(tmp_path, damage, capsys):
    path, previous = tmp_path / 'ckpt.pt', tmp_path / 'ckpt.prev.pt'
    for iter_num in (1, 2):
        save(small(iter_num), path, previous)
    intact = path.read_bytes()
    damage(path)
    assert not path.is_file() or path.read_bytes() != intact
    found, chosen = read_first([path, previous])
    said, = capsys.readouterr().out.splitlines()
    assert chosen == previous and found['iter_num'] == which(previous) == 1
    assert str(path) in said and said.endswith(f'; going on with {previous}')


@pytest.mark.parametrize('damage', DAMAGE.values(), ids=DAMAGE)
def test_A3_when_both_are_damaged_it_ends_in_one_line(tmp_path, damage):
    paths = tmp_path / 'ckpt.pt', tmp_path / 'ckpt.prev.pt'
    for path in paths:
        save(small(2), path)
        damage(path)
    assert str(tmp_path) in refused(read_first, paths)


def test_A3_a_first_file_that_is_whole_is_taken_and_nothing_is_said(tmp_path, capsys):
    path, previous = tmp_path / 'ckpt.pt', tmp_path / 'ckpt.prev.pt'
    save(small(2), path)
    previous.write_bytes(b'')
    assert read_first([path, previous])[1] == path
    assert capsys.readouterr().out == ''


def test_A12_when_there_is_no_file_at_all_the_first_is_named_and_what_to_do(tmp_path):
    said = refused(read_first, [tmp_path / 'ckpt.pt', tmp_path / 'ckpt.prev.pt'])
    assert said.startswith(f'{tmp_path}/ckpt.pt: ') and 'no such file' in said and 'python train.py' in said


@needs_fork
def test_a_pipe_that_is_named_as_a_checkpoint_ends_in_one_line_and_nothing_hangs(tmp_path):
    os.mkfifo(tmp_path / 'ckpt.pt')
    assert refused(read_checkpoint, tmp_path / 'ckpt.pt')


# ---- files that are damaged at random ----

def damaged(content, rng):
    """Bytes with one to three things gone wrong in them, and how many bytes that touched."""
    content, touched = bytearray(content), 0
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.choice(('bit', 'bit', 'bit', 'bytes', 'bytes', 'cut', 'insert', 'drop', 'zeros', 'swap',
                           'junk', 'twice'))
        size = min(rng.choice((1, 2, 4, 16, 64, 512, 4096)), len(content) // 2)
        a, b = (rng.randrange(max(1, len(content) - size)) for _ in range(2))
        if kind == 'bit' and content:
            content[a] ^= 1 << rng.randrange(8)
        elif kind == 'bytes':
            content[a:a + min(size, 4)] = rng.randbytes(min(size, 4))
        elif kind == 'cut':
            del content[a:]
        elif kind == 'insert':
            content[a:a] = rng.randbytes(size)
        elif kind == 'drop':
            del content[a:a + size]
        elif kind == 'zeros':
            content[a:a + size] = bytes(size)
        elif kind == 'swap':
            content[a:a + size], content[b:b + size] = content[b:b + size], content[a:a + size]
        elif kind == 'junk':
            content += rng.randbytes(size)
        else:
            content += bytes(content)
        touched += 1 if kind == 'bit' else size
    return bytes(content), touched


def near_the_pickle(content, rng):
    """One bit or byte changed where names, sizes and the checksum are, or in the table of the zip file."""
    start = content.index(b'PK', content.index(b'data.pkl') + 1) # what follows the pickle
    table = range(content.index(b'PK\x01\x02'), len(content))
    at = rng.choice(range(start) if rng.random() < 0.7 else table)
    content = bytearray(content)
    content[at] = content[at] ^ (1 << rng.randrange(8)) if rng.random() < 0.7 else rng.randrange(256)
    return bytes(content), 1


def read_and_build(path):
    found = read_checkpoint(path)
    build(found, 'ckpt.pt')
    return found


@pytest.mark.parametrize('how', [damaged, near_the_pickle])
@pytest.mark.parametrize('family', ['modern', 'gpt2'])
def test_A3_a_file_that_is_damaged_at_random_ends_in_one_line_or_is_read_as_it_was(tmp_path, family, how):
    path, rng, counts = tmp_path / 'ckpt.pt', random.Random(0), Counter()
    save(whole(family), path)
    content, contents = path.read_bytes(), read_and_build(path)
    for _ in range(200 * TORTURE):
        mutated, touched = how(content, rng)
        path.write_bytes(mutated)
        found = []
        said = refused(lambda found=found: found.append(read_and_build(path)))
        counts.update(tried=1, bytes=touched, refused=bool(said), read=not said)
        if not said:
            assert same(found[0], contents), 'read as something else'
    print(f'{family} {how.__name__}:', dict(counts))
    assert counts['refused'] > counts['read'] > 0


@pytest.mark.parametrize('content', [
    b'', b'\n', b'hello world', bytes(1000), b'PK', b'PK\x03\x04' + bytes(100), b'PK\x05\x06' + bytes(18),
    b'\x80', b'\x80\x02.', b'{"model": {}, "model_config": {}}',
    pickle.dumps({'model': {}, 'model_config': {}}),
    (8).to_bytes(8, 'little') + b'{"a":{}}', (1 << 40).to_bytes(8, 'little') + b'{"a":{"dtype":"F32"}}',
    b'\x93NUMPY\x01\x00', b'GGUF\x03\x00\x00\x00', b'\x1f\x8b\x08' + bytes(50), b'ustar' * 200],
    ids=lambda content: repr(content[:12]))
def test_a_file_of_another_kind_ends_in_one_line(tmp_path, content):
    (tmp_path / 'ckpt.pt').write_bytes(content)
    assert 'ckpt.pt: not a checkpoint' in refused(read_checkpoint, tmp_path / 'ckpt.pt')


def test_random_bytes_end_in_one_line(tmp_path):
    rng = random.Random(0)
    for _ in range(50 * TORTURE):
        (tmp_path / 'ckpt.pt').write_bytes(rng.choice((b'', b'PK\x03\x04', b'\x80\x02')) + rng.randbytes(999))
        assert 'ckpt.pt: not a checkpoint' in refused(read_checkpoint, tmp_path / 'ckpt.pt')


@pytest.mark.parametrize('names', [['a.txt'], ['x/data.pkl'], ['x/data.pkl', 'x/version'],
                                   ['data.pkl', 'data/0'], ['x/data.pkl', 'y/version']], ids=str)
def test_a_zip_file_of_other_things_ends_in_one_line(tmp_path, names):
    with zipfile.ZipFile(tmp_path / 'ckpt.pt', 'w') as archive:
        for name in names:
            archive.writestr(name, b'3\n')
    assert 'ckpt.pt: not a checkpoint' in refused(read_checkpoint, tmp_path / 'ckpt.pt')


@pytest.mark.parametrize('wrong', [
    {'model': None}, {'model': [1]}, {'model': {}}, {'model_config': None}, {'model_config': {'n_layer': 1}},
    {'model_config': {1: 2}}, {'model': {1: torch.ones(2)}}, {'settings': 3}, {'tokenizer': torch.ones(3, 1)},
    {'iter_num': 'a\nb'}, {'format': torch.ones(3, 1)}, {'format': 'x\ny'}, {'checksum': 'x\ny'},
    {'model': {'a\nb': torch.ones(2)}}, {'model_args': {'n_layer': 'a\nb'}}, {'model_args': {}}], ids=short)
def test_a_checkpoint_whose_parts_are_not_what_they_should_be_ends_in_one_line(tmp_path, wrong):
    contents = snapshot(whole()) | wrong
    torch.save({'checksum': checksum(contents)} | contents, tmp_path / 'ckpt.pt')
    assert 'ckpt.pt' in refused(lambda: build(read_checkpoint(tmp_path / 'ckpt.pt'), 'ckpt.pt'))


# ---- contents that cannot be, with a checksum that is right ----

VALUES = [None, -1, 0, 10 ** 30, 1.5, float('nan'), float('inf'), -float('inf'), 'x', 'a\nb', '', [], {},
          True, [None], {'x': 1}, {1: 2}, torch.empty(0), torch.tensor(3), torch.tensor(float('nan')),
          torch.ones(3, 1), torch.ones(2, 2, dtype=torch.complex64), torch.ones(3, dtype=torch.int64),
          torch.ones(2, 2).bool(), torch.ones(3).to(torch.float8_e4m3fn), torch.ones(8, 8) * 3e38]
DTYPES = torch.float64, torch.float16, torch.int32, torch.bool, torch.complex64, torch.float8_e5m2


def place_in(contents, rng):
    """The path of a random place, rather in what is nested than at the top, and what is there."""
    key = rng.choice([k for k, v in contents.items() if isinstance(v, (dict, list)) or rng.random() < 0.2])
    path, value = [key], contents[key]
    while isinstance(value, (dict, list, tuple)) and len(value) and rng.random() < 0.85:
        path.append(rng.choice(list(value) if isinstance(value, dict) else range(len(value))))
        value = value[path[-1]]
    return path, value


def altered(contents, rng):
    """Contents with one value replaced, gone, renamed or added, and what was done, for the message."""
    path, old = place_in(contents, rng)
    kind = rng.choice(('replace', 'replace', 'replace', 'tensor', 'gone', 'rename', 'add'))
    new = rng.choice(VALUES)
    if kind == 'tensor' and isinstance(old, torch.Tensor):
        new = rng.choice([old.to(rng.choice(DTYPES)), old[None], old.flatten()[:-1], old.mT.contiguous()
                          if old.dim() == 2 else old.reshape(-1, 1), old * float('nan'), -old, old * 1e38])
    elif kind == 'gone':
        new = GONE
    elif kind == 'rename' and isinstance(path[-1], str):
        return put(contents, path[:-1], {rng.choice(('x', 'a\nb', 7)) if k == path[-1] else k: v for k, v in
                                         place(contents, path[:-1]).items()}), (path, 'renamed')
    elif kind == 'add' and isinstance(old, dict):
        new = {**old, rng.choice(('x', 'a\nb', 7, None)): new}
    return put(contents, path, new), (path, new)


def place(contents, path):
    return functools.reduce(lambda value, key: value[key], path, contents)


def resume_and_sample(path):
    """What train.py --init_from=resume and sample.py do with a file, as far as one update and one token."""
    found, _ = training.find_weights('resume', os.path.dirname(path))
    model, letters = build(found, path).eval(), sample.tokenizer_of(found, path, '')
    generate_texts(model, letters, getattr(letters, 'chars', ' ')[-1], 1, 1)
    meta = {'tokenizer': whole()['tokenizer'], 'vocab_size': 13,
            'splits': {split: {'tokens': 100, 'largest_id': 12} for split in ('train', 'val')}}
    settings = training.config.settings | {'init_from': 'resume'}
    shape = training.choose_shape(found, path, settings, {'n_embd'}, meta)
    done = training.Progress(**{f.name: found[f.name] for f in fields(training.Progress)})
    model = training.make_model(found, path, shape, 1, True).train()
    optimizers = optimizers_of(model)
    restore(optimizers, found['optimizers'], path)
    for p, memory in optimizers[-1].state.items(): # AdamW's kernel writes beyond the end of a shorter one
        assert memory['step'].shape == (), 'a step for each number'
        assert memory['exp_avg'].shape == memory['exp_avg_sq'].shape == p.shape, 'a memory of another shape'
    training.print_differences(found['settings'], settings)
    training.set_rates(optimizers, 0.5, done.iter_num, 0.95)
    training.train_step(model, optimizers, [batch_for(model, done.iter_num)], contextlib.nullcontext())
    left = training.time_left(done.iter_num + 1, done.iter_num, done.iter_num + 10, 1.0, done.minutes, 1e6)
    record = {'iter': done.iter_num, 'loss': done.best_val_loss, 'lr': 1, 'norm': 1, 'dt': 1, 'epoch': 1}
    progress_line(record, done.evaluated, 1.0, 0.0, left)


@pytest.fixture(scope='module')
def matching_settings():
    """Those of the tiny checkpoints, so that --n_embd on the command line fits."""
    old = training.config.settings['n_embd']
    training.config.settings['n_embd'] = 8
    yield
    training.config.settings['n_embd'] = old


@pytest.mark.parametrize('family', ['modern', 'gpt2'])
def test_contents_that_cannot_be_end_in_one_line_or_can_be_trained_and_sampled(tmp_path, family,
                                                                             matching_settings):
    path, rng, counts = str(tmp_path / 'ckpt.pt'), random.Random(1), Counter()
    save(whole(family), path)
    assert not refused(resume_and_sample, path)
    for _ in range(150 * TORTURE):
        contents, what = altered(whole(family), rng)
        save(contents, path)
        try:
            said = refused(resume_and_sample, path)
        except BaseException as error:
            error.add_note(f'{what}')
            raise
        counts.update(tried=1, refused=bool(said), used=not said)
    print(f'{family}:', dict(counts))
    assert counts['refused'] > counts['used'] > 0


@pytest.fixture
def run_to_resume(dataset, tmp_path):
    """Resume a run of the tiny dataset whose checkpoint is what a function makes of a good one."""
    with open(os.path.join(dataset, 'meta.json'), encoding='utf-8') as f:
        chars = json.load(f)['tokenizer']['chars']
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'log.jsonl').write_text('{"iter": 1, "loss": 3.0}\n', encoding='utf-8')

    def resume(*paths_and_values):
        contents = whole('modern', chars)
        for path, value in paths_and_values:
            contents = put(contents, path, value)
        save(contents, tmp_path / 'out' / 'ckpt.pt')
        before = files(tmp_path)
        words = '--device=cpu', '--out_dir=out', '--dtype=float32', '--sample_tokens=1', '--max_iters=3'
        results = [run('train.py', f'--dataset={dataset}', *words, '--init_from=resume', cwd=tmp_path)]
        if results[0].status:
            assert files(tmp_path) == before, 'a run that was refused has changed the folder'
        results.append(run('sample.py', '--out_dir=out', '--device=cpu', '--max_new_tokens=2', cwd=tmp_path))
        return results

    return resume


def test_a_checkpoint_as_these_tests_make_it_is_resumed_and_sampled_by_the_scripts(run_to_resume):
    assert [(result.status, result.message) for result in run_to_resume()] == [(0, ''), (0, '')]


@pytest.mark.parametrize('path, value', [
    (('model', 'transformer.wte.weight'), torch.ones(3, 1)), (('model_config', 'n_head'), 10 ** 30),
    (('model_config',), {}), (('model', 'lm_head.weight'), torch.full((30, 8), float('nan')))],
    ids=short)
def test_a_model_that_cannot_be_is_not_resumed_or_sampled_and_changes_nothing(run_to_resume, path, value):
    assert all(is_one_line(result) for result in run_to_resume((path, value)))


@pytest.mark.parametrize('path, value', [
    (('optimizers', 1, 'state', 0, 'exp_avg'), GONE), (('optimizers', 1, 'state', 0, 'step'), torch.ones(3)),
    (('optimizers',), torch.ones(3, 1)), (('optimizers', 0), None), (('iter_num',), -1),
    (('iter_num',), 10 ** 30), (('minutes',), float('nan')), (('best_val_loss',), float('nan')),
    (('settings',), [])],
    ids=short)
def test_a_state_that_cannot_be_is_not_resumed_and_changes_nothing(run_to_resume, path, value):
    assert is_one_line(run_to_resume((path, value))[0])


def test_a_tokenizer_with_a_vocabulary_larger_than_the_table_is_refused():
    found = put(whole(), ('tokenizer',), CharTokenizer('abcdefghijklmn').to_json())
    assert 'ckpt.pt' in refused(sample.tokenizer_of, found, 'ckpt.pt', '')


def test_a_model_whose_numbers_go_beyond_what_float32_holds_writes_nothing_and_says_so():
    model = build(put(whole(), ('model', 'lm_head.weight'), torch.full((13, 8), 3e38))).eval()
    assert refused(generate_texts, model, CharTokenizer(whole()['tokenizer']['chars']), 'a', 1, 1)


@pytest.mark.parametrize('name, value', [
    ('exp_avg', torch.tensor(0.0)), ('exp_avg_sq', torch.tensor(0.0)), ('exp_avg', torch.zeros(8, 13)),
    ('exp_avg', GONE), ('step', GONE), ('step', torch.zeros(13, 8)), ('step', torch.ones(1)),
    ('x', 1)], ids=short)
def test_A3_a_memory_of_an_optimizer_that_is_not_of_its_shape_is_refused(name, value):
    states = whole()['optimizers']
    memory = {**states[1]['state'][0], name: None}
    optimizers = optimizers_of(build(whole()))
    wrong = put(states, (1, 'state', 0), put(memory, (name,), value))
    assert 'ckpt.pt' in refused(restore, optimizers, wrong, 'ckpt.pt')
    assert not refused(restore, optimizers, states, 'ckpt.pt')


# ---- files that want to do harm ----

def text(value):
    return b'X' + len(value.encode()).to_bytes(4, 'little') + value.encode()


def number(value):
    return b'J' + value.to_bytes(4, 'little', signed=True)


def many(*values):
    """A tuple."""
    return b'(' + b''.join(values) + b't'


def named(name):
    return ('c' + '\n'.join(name.rsplit('.', 1)) + '\n').encode()


def call(name, *args):
    return (named(name) if isinstance(name, str) else name) + many(*args) + b'R'


def entries(**values):
    """A dict."""
    return b'}(' + b''.join(text(key) + value for key, value in values.items()) + b'u'


def bytes_of(value):
    return b'B' + len(value).to_bytes(4, 'little') + value


def program(value):
    """A whole pickle."""
    return b'\x80\x02' + value + b'.'


def command_of(folder):
    return text(f'mkdir {folder}')


def import_of(folder):
    return text(f'__import__("os").mkdir({folder!r})')


OS_MKDIR = named('os.mkdir')
EXECUTING = { # what each makes of plain pickle: the folder that is named
    'a function of the system': lambda folder: call('os.mkdir', text(folder)),
    'a shell': lambda folder: call('os.system', command_of(folder)),
    'a process': lambda folder: call('subprocess.call', many(text('mkdir'), text(folder))),
    'eval': lambda folder: call('builtins.eval', import_of(folder)),
    'exec': lambda folder: call('builtins.exec', import_of(folder)),
    'getattr': lambda folder: call(
        call('builtins.getattr', call('builtins.__import__', text('os')), text('mkdir')), text(folder)),
    'the opcode INST': lambda folder: b'(' + text(folder) + b'ios\nmkdir\n',
    'the opcode OBJ': lambda folder: b'(' + OS_MKDIR + text(folder) + b'o',
    'the opcode STACK_GLOBAL': lambda folder: call(text('os') + text('mkdir') + b'\x93', text(folder)),
    'a pickle in the pickle': lambda folder: call(
        'pickle.loads', bytes_of(program(call('os.mkdir', text(folder))))),
    'a storage from bytes': lambda folder: call(
        'torch.storage._load_from_bytes', bytes_of(program(call('os.mkdir', text(folder))))),
    'a function that is declared safe first': lambda folder: many(
        call('torch.serialization.add_safe_globals', b'](' + OS_MKDIR + b'e'), call(OS_MKDIR, text(folder))),
    'a class of torch that has it as an attribute': lambda folder: call(
        call('builtins.getattr', named('torch.serialization.os'), text('mkdir')), text(folder)),
    'a state that is set': lambda folder: call('collections.OrderedDict') + entries(
        x=call('os.mkdir', text(folder))) + b'b'}


def write_zip(path, pickled):
    """A file of torch.save in all but its pickle, which may name data/0, 50 float32."""
    torch.save({'w': torch.ones(50)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in parts.items():
            archive.writestr(name, pickled if name.endswith('data.pkl') else content)


def write_old(path, pickled):
    """As torch saved before 1.6: a few pickles one after the other."""
    head = (0x1950a86a20f9469cfc6c, 1001, {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {}})
    path.write_bytes(b''.join(pickle.dumps(part, 2) for part in head) + pickled + pickle.dumps([], 2))


def write_plain(path, pickled):
    path.write_bytes(pickled)


@pytest.mark.parametrize('write', [write_zip, write_old, write_plain])
@pytest.mark.parametrize('attack', EXECUTING.values(), ids=EXECUTING)
def test_A14_a_hostile_pickle_executes_nothing_and_ends_in_one_line(tmp_path, attack, write):
    write(tmp_path / 'ckpt.pt', program(entries(model=attack(str(tmp_path / 'executed')), model_config=b'}')))
    assert 'ckpt.pt: not a checkpoint' in refused(read_checkpoint, tmp_path / 'ckpt.pt')
    assert os.listdir(tmp_path) == ['ckpt.pt']


@pytest.mark.parametrize('attack', EXECUTING.values(), ids=EXECUTING)
def test_A14_these_hostile_pickles_would_execute_something_if_they_could(tmp_path, attack):
    with contextlib.suppress(Exception):
        pickle.loads(program(attack(str(tmp_path / 'executed'))))
    torch.serialization.clear_safe_globals()
    assert os.listdir(tmp_path) == ['executed']


@pytest.mark.parametrize('attack', ['a function of the system', 'eval', 'a storage from bytes'])
@pytest.mark.parametrize('script, flag', [('sample.py', '--checkpoint='), ('train.py', '--init_from=')])
def test_A14_a_script_that_is_given_a_hostile_file_executes_nothing_of_it(tmp_path, script, flag, attack):
    write_zip(tmp_path / 'ckpt.pt', program(EXECUTING[attack](str(tmp_path / 'executed'))))
    before = files(tmp_path)
    assert is_one_line(run(script, f'{flag}ckpt.pt', '--device=cpu', cwd=tmp_path))
    assert files(tmp_path) == before and not (tmp_path / 'executed').exists()


def stored(key='0', count=50, kind='FloatStorage', device='cpu'):
    return many(text('storage'), named(f'torch.{kind}'), text(key), text(device), number(count)) + b'Q'


def tensor_of(storage=None, size=(50,), stride=(1,), offset=0):
    return call('torch._utils._rebuild_tensor_v2', storage or stored(), number(offset),
                many(*map(number, size)), many(*map(number, stride)), b'\x89', b'}')


def nested(times, shared):
    """Lists in lists: each holds the next twice, or once."""
    if not shared:
        return b']' * times + b'a' * (times - 1)
    return b']q\x00' + b''.join(b'](h%ch%ceq%c' % (i, i, i + 1) for i in range(times))


NASTY = {
    'more numbers than its file': tensor_of(stored(count=50_000), (50_000,)),
    'more numbers than its storage': tensor_of(size=(51,)),
    'numbers before its storage': tensor_of(size=(5,), offset=-4),
    'strides that go back': tensor_of(stride=(-1,)),
    'a million times a million numbers': tensor_of(size=(10 ** 6, 10 ** 6), stride=(0, 0)),
    'a negative size': tensor_of(size=(-5,)),
    'a storage of two billion': tensor_of(stored(count=2 ** 31 - 1)),
    'another file of the archive': tensor_of(stored('version')),
    'a file beside the archive': tensor_of(stored('../../../../../etc/passwd')),
    'another kind of storage': tensor_of(stored(kind='DoubleStorage')),
    'a GPU that is not there': tensor_of(stored(device='cuda:77'), size=(51,)),
    '10 GB of memory': call('torch.Tensor', number(10 ** 5), number(25 * 10 ** 3)),
    '1 TB of memory': call('torch.Tensor', number(10 ** 6), number(250 * 10 ** 3)),
    '100 MB of bytes': call('builtins.bytearray', number(10 ** 8)),
    'a tensor without memory': call('torch._utils._rebuild_meta_tensor_no_storage', named('torch.float32'),
                                    many(number(3)), many(number(1)), b'\x89'),
    'a tensor that is set to more': call('torch.Tensor') + many(
        stored(), number(0), many(number(99)), many(number(1))) + b'b',
    'a tensor with attributes': call('torch._utils._rebuild_parameter_with_state', tensor_of(), b'\x89', b'}',
                                     entries(numel=named('torch.Size'), dim=text('x'), detach=text('x'))),
    'a function for a tensor': named('torch._utils._rebuild_tensor'),
    'a device': call('torch.device', text('cpu')), 'a set': call('builtins.set', b']'),
    'a complex number': call('builtins.complex', number(1)), 'a tensor as a name': b'}' + tensor_of() + b'Ns',
    'a number of two thousand bits': b'\x8a\xff' + b'\x7f' * 255,
    'lists in lists, each there twice': nested(60, shared=True),
    'lists in lists': nested(100_000, shared=False),
    'a list in itself': b']q\x00h\x00a', 'a dict in itself': b'}q\x00' + text('x') + b'h\x00s',
    'a text that is there a million times': text('x' * 10_000) + b'q\x000](' + b'h\x00' * 10 ** 6 + b'e',
    'nothing on the stack': b'R', 'nothing in the memo': b'h\x05'}


@pytest.mark.parametrize('value', NASTY.values(), ids=NASTY)
def test_A14_a_file_that_asks_for_what_cannot_be_ends_in_one_line(tmp_path, value):
    path = tmp_path / 'ckpt.pt'
    write_zip(path, program(entries(model=entries(w=value), model_config=b'}')))
    assert 'ckpt.pt' in refused(lambda: build(read_checkpoint(path), 'ckpt.pt'))
    write_zip(path, program(value))
    assert 'ckpt.pt' in refused(lambda: build(read_checkpoint(path), 'ckpt.pt'))


def test_A14_a_dict_whose_methods_are_data_is_read_as_a_plain_dict(tmp_path):
    hostile = b'(' + entries(get=text('x'), pop=text('y'), __len__=text('z')) + b'b'
    hostile = call('collections.OrderedDict') + hostile[1:]
    write_zip(tmp_path / 'ckpt.pt', program(entries(model=hostile, model_config=hostile)))
    assert type(read_checkpoint(tmp_path / 'ckpt.pt')['model']) is dict


def test_A14_an_archive_that_unpacks_to_much_more_is_refused(tmp_path):
    torch.save({'model': {'w': torch.zeros(10 ** 7)}, 'model_config': {}}, tmp_path / 'ckpt.pt')
    with zipfile.ZipFile(tmp_path / 'ckpt.pt') as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(tmp_path / 'ckpt.pt', 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert os.path.getsize(tmp_path / 'ckpt.pt') < 10 ** 5
    # the error is torch's, which has unpacked nothing yet; ours would come after that
    assert 'or damaged (RuntimeError)' in refused(read_checkpoint, tmp_path / 'ckpt.pt')
