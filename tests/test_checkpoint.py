"""Checkpoints: what comes back from a file, its checksum, older and foreign layouts, which file is read."""
import os
from collections import OrderedDict
from dataclasses import asdict, fields
from functools import partial

import numpy as np
import pytest
import torch
from conftest import FAMILIES, MODERN, error_of, random_model, random_tokens, same, small_checkpoint

from lib import checkpoint as lib_checkpoint
from lib.checkpoint import RunState, build, checksum, load_initial_checkpoint, read_checkpoint, save, snapshot
from lib.plan import choose_config
from model import GPTConfig

IDX = random_tokens(1, 16)


def short(value):
    """A parameter of a test, for its name."""
    return ' '.join(str(value).split())[:40]


def checkpoint_of(model, **more):
    return {'model': model.state_dict(), 'model_config': asdict(model.config)} | more


def read_and_build(path):
    return build(read_checkpoint(path), 'ckpt.pt').eval()


@pytest.mark.parametrize('family, part, change, message', [
    *((family, 'model_config', change, message) for family in FAMILIES for change, message in (
        ({'n_embd': 64}, 'do not fit'), ({'n_layer': 3}, 'expected weights of 3 layers'),
        ({'vocab_size': 60}, "weight' (61, 32), not (60, 32)"), ({'n_embd': 10 ** 30}, "'n_embd' 1000"),
        ({'n_embd': 10 ** 6}, 'do not fit'), ({'rope_theta': float('nan')}, "'rope_theta' nan"),
        ({'d_model': 64}, "'d_model' 64"))),
    *((family, 'model', {'lm_head.weight': head}, message) for family, head, message in (
        ('modern', None, "'lm_head.weight' missing"),
        ('gpt2', torch.ones(61, 32), 'expected lm_head to be tied'),
        *(('modern', torch.full((61, 32), number, dtype=torch.float64), 'not finite (such as lm_head.weight)')
          for number in (float('nan'), 1e300))))], ids=short)
def test_weights_that_do_not_fit_their_model_config_are_refused(family, part, change, message):
    checkpoint = checkpoint_of(random_model(**FAMILIES[family]))
    changed = (checkpoint[part] | change).items()
    checkpoint[part] = {key: value for key, value in changed if value is not None}
    assert message in error_of(build, checkpoint, 'ckpt.pt')


def nanogpt(model, prefix='', **args):
    """What nanoGPT's train.py writes; old versions store the causal masks, too."""
    weights = OrderedDict((prefix + name, w) for name, w in model.state_dict().items())
    weights[prefix + 'transformer.h.0.attn.bias'] = torch.ones(1, 1, 16, 16).tril()
    weights[prefix + 'transformer.h.0.attn.masked_bias'] = torch.tensor(-1e4)
    shape = dict(n_layer=2, n_head=4, n_embd=32, block_size=16, bias=model.config.bias, vocab_size=61,
                 dropout=0.0)
    return {'model': weights, 'optimizer': {'state': {}, 'param_groups': []}, 'model_args': shape | args,
            'iter_num': 5, 'best_val_loss': torch.tensor(1.5), 'config': {'dataset': 'x'}}


@pytest.mark.parametrize('prefix', ['', '_orig_mod.', 'module.', 'module._orig_mod.'])
@pytest.mark.parametrize('left_out', ['', 'bias', 'tied head'])
@pytest.mark.parametrize('family', ['gpt2', 'gpt2 with biases'])
def test_a_checkpoint_of_nanogpt_is_read_in_every_layout_without_doubt(tmp_path, family, left_out, prefix):
    ours = random_model(**FAMILIES[family])
    foreign = nanogpt(ours, prefix)
    if left_out == 'bias': # older versions have no such argument; the weights say it
        del foreign['model_args']['bias']
    elif left_out:
        del foreign['model'][prefix + 'lm_head.weight']
    torch.save(foreign, tmp_path / 'ckpt.pt')
    assert torch.equal(read_and_build(tmp_path / 'ckpt.pt')(IDX), ours(IDX))
    assert read_checkpoint(tmp_path / 'ckpt.pt')['iter_num'] == 5


@pytest.mark.parametrize('args', [{'n_head': 3}, {'n_embd': '32'}, {'bias': None}, {'vocab_size': 10 ** 30},
                                  {'block_size': torch.ones(3, 1)}, {'n_layer': -1}, {'n_layer': 10 ** 7},
                                  {'n_head': 0}, {'bias': True}], ids=short)
def test_a_checkpoint_of_nanogpt_with_an_impossible_shape_is_refused(tmp_path, args):
    torch.save(nanogpt(random_model(**FAMILIES['gpt2']), **args), tmp_path / 'ckpt.pt')
    assert error_of(read_and_build, tmp_path / 'ckpt.pt')


@pytest.mark.parametrize('family', FAMILIES)
def test_a_checkpoint_of_format_1_can_be_resumed_or_used_with_a_shorter_context(tmp_path, family):
    model = random_model(**FAMILIES[family])
    old = checkpoint_of(model, format=1, iter_num=40, minutes=1.5, best_val_loss=2.5, evals_since_best=1,
                        evaluated=30, settings={'copying': False, 'seed': 7}, tokenizer={}, optimizers=[{}])
    old['model_config']['activation'] = 'gelu' # the default, also where it had no effect
    old['model_config']['bias'] |= family == 'modern' # had no effect, either
    torch.save(old | {'checksum': checksum(old)}, tmp_path / 'ckpt.pt')
    found, path = load_initial_checkpoint('resume', str(tmp_path))
    assert found['settings'] == {'mimetic_init': False, 'seed': 7}
    state = RunState(**{f.name: found[f.name] for f in fields(RunState)})
    assert state == RunState(40, 1.5, best_val_loss=2.5, evals_since_best=1, last_eval_iter=30)
    assert torch.equal(build(found, path).eval()(IDX), model(IDX))
    shorter = build(found, path, block_size=8).eval()
    assert shorter.config.block_size == 8 and torch.equal(shorter(IDX[:, :8]), model(IDX[:, :8]))


@pytest.mark.parametrize('number', [3, 10 ** 30, 0, True, 'x\ny', None, torch.ones(3, 1)], ids=short)
def test_a_checkpoint_of_a_future_or_impossible_format_is_refused(tmp_path, number):
    later = small_checkpoint(1, format=number)
    torch.save(later | {'checksum': checksum(later)}, tmp_path / 'ckpt.pt')
    assert 'expected a checkpoint of format 1 to 2' in error_of(read_checkpoint, tmp_path / 'ckpt.pt')
    torch.save(later, tmp_path / 'ckpt.pt', _use_new_zipfile_serialization=False)
    assert 'got a pickle, as before torch 1.6' in error_of(read_checkpoint, tmp_path / 'ckpt.pt')


W, B = torch.arange(6.).view(2, 3), torch.tensor([1, 2])
CONTENT = {'model': {'w': W, 'b': B}, 'list': [1, [2, 'x'], None], 'rate': 0.1, 'flag': True, 'name': 'a',
           'empty': torch.empty(0), 'pair': (1, 2)}


@pytest.mark.parametrize('change', [
    {'w': W.index_fill(0, torch.tensor(1), -0.5)}, {'w': W.view(3, 2)}, {'w': W.flatten()}, {'w': W[None]},
    {'w': torch.tensor([[-0.0, 1, 2], [3, 4, 5]])}, {'w': W.view(torch.int32)}, {'w': W.tolist()},
    {'w': W.double()}, {'b': B.flip(0)}, {'c': B}, {'w': B, 'b': W}, {'list': [1, 2, 'x', None]},
    {'list': [[1, 2], 'x', None]}, {'list': [1, ['x', 2], None]}, {'list': [1, [2, 'x']]},
    {'list': [1.0, [2, 'x'], None]}, {'list': [True, [2, 'x'], None]}, {'list': ['1', [2, 'x'], None]},
    {'list': [1, [2, 'x'], 0]}, {'list': [1, [2, 'x'], 'None']}, {'rate': 0.1 + 2e-17}, {'flag': 1},
    {'rate': float('nan')}, {'name': 'a\n'}, {'name': "a'"}, {'name': '\ud800'}, {'pair': [2, 1]},
    {'empty': torch.empty(0, 3)}, {'pair': {1: 2}}, {'more': None}], ids=short)
def test_a_checksum_changes_with_any_number_name_dtype_shape_nesting_or_order(change):
    change = {'model': CONTENT['model'] | change} if change.keys() <= {'w', 'b', 'c'} else change
    assert checksum(CONTENT | change) != checksum(CONTENT)
    assert checksum(dict(reversed(CONTENT.items()))) != checksum(CONTENT)


def test_a_checksum_depends_on_each_single_bit_and_not_on_the_layout_in_memory():
    number = torch.tensor([1.5])
    flipped = {checksum({'w': (number.view(torch.int32) ^ (1 << i)).view(torch.float32)}) for i in range(31)}
    assert len(flipped | {checksum({'w': number})}) == 32
    view = torch.zeros(3, 4).t()[:2] # neither contiguous nor at the start of its storage
    view.copy_(W)
    assert not view.is_contiguous()
    assert checksum(CONTENT | {'model': OrderedDict(w=view, b=B)}) == checksum(CONTENT)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn,
                                   torch.int64, torch.uint8, torch.bool, torch.complex64], ids=str)
def test_a_checksum_is_the_same_after_saving_and_reading(tmp_path, dtype):
    content = CONTENT | {'model': {'w': W.to(dtype), '': torch.tensor(1, dtype=dtype)},
                         'model_config': {'unicode': 'naïve \ud800', 'inf': float('inf'), 'big': 10 ** 40}}
    save(content, tmp_path / 'ckpt.pt')
    found = read_checkpoint(tmp_path / 'ckpt.pt')
    assert found.pop('format') == 2 and found.pop('checksum')
    assert checksum(found) == checksum(content) and same(found, content)


@pytest.mark.parametrize('value', [
    torch.zeros(1, 1).expand(10 ** 6, 10 ** 6), torch.eye(3).to_sparse(), torch.empty(3, device='meta'),
    {1, 2}, b'bytes', 1j, np.float64(1.0), np.zeros(3), object()], ids=lambda value: type(value).__name__)
def test_values_that_loading_could_not_check_are_not_saved(tmp_path, value):
    with pytest.raises(ValueError):
        save(small_checkpoint(1, x=[value]), tmp_path / 'ckpt.pt')
    assert os.listdir(tmp_path) == []


def test_a_snapshot_does_not_change_with_the_tensors_and_keeps_which_of_them_share_memory(tmp_path):
    model = random_model(**MODERN | {'arch': 'gpt2', 'vocab_size': 1000})
    w = torch.arange(16.).view(4, 4)
    views = {'w': w, 'transposed': w.t(), 'part': w[:2], 'flat': w.view(16), 'bits': w.view(torch.int32),
             'columns': w[:, ::2], 'empty': w[:0], 'no columns': w[:, :0]} # are not mistaken for each other
    state = checkpoint_of(model, nested=[views, 1])
    copy, before = snapshot(state), checksum(state)
    assert same(copy, state)
    model.lm_head.weight.data.add_(1)
    w.add_(1)
    state['nested'][1] = 2
    assert checksum(copy) == before != checksum(state)
    save(copy, tmp_path / 'ckpt.pt') # the tied table once
    assert 4 * model.n_params() < os.path.getsize(tmp_path / 'ckpt.pt') < 4 * model.n_params() + 15_000


def change_byte(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new + old[len(new):], 1))


DAMAGE = {'missing': lambda path: path.unlink(), 'a folder': lambda path: (path.unlink(), path.mkdir()),
          'a pipe': lambda path: (path.unlink(), os.mkfifo(path)),
          'cut short': lambda path: os.truncate(path, path.stat().st_size // 2),
          'zeros': lambda path: path.write_bytes(bytes(path.stat().st_size)),
          'another weight': lambda path: change_byte(path, b'\x00\x00\x00\x40' * 9, b'\x00\x00\x00\x41'),
          'another name': lambda path: change_byte(path, b'iter_num', b'iter_nul'),
          'without checksum': lambda path: change_byte(path, b'checksum', b'checkSum'),
          'another checksum': lambda path: torch.save(torch.load(path) | {'checksum': torch.ones(3)}, path),
          'another kind of object': lambda path: torch.save([1, 2], path)}
RESUMABLE = asdict(RunState(iter_num=3)) | {'settings': {}, 'tokenizer': {}, 'optimizers': [{}]}


@pytest.mark.parametrize('damage', DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_named_and_the_one_before_it_is_used(tmp_path, damage, capsys):
    path, previous = tmp_path / 'ckpt.pt', tmp_path / 'ckpt.prev.pt'
    for iter_num in (1, 2):
        save(small_checkpoint(iter_num), path, previous)
    damage(path)
    found, chosen = lib_checkpoint.read_first([path, previous])
    line, = capsys.readouterr().out.splitlines()
    assert chosen == previous and found['iter_num'] == 1
    assert str(path) in line and line.endswith(f'using {previous}')
    save(small_checkpoint(2), previous)
    damage(previous)
    assert error_of(lib_checkpoint.read_first, [path, previous]).startswith(f'{tmp_path}/ckpt.')


def test_each_init_from_finds_its_checkpoint_or_says_what_is_missing(tmp_path, capsys):
    run_dir = str(tmp_path / 'out')
    os.mkdir(run_dir)
    assert load_initial_checkpoint('scratch', run_dir) == load_initial_checkpoint('auto', run_dir) == ({}, '')
    for init_from, message in (('out/ckpt.pt', 'expected scratch, resume, auto'), ('resume', 'no such file'),
                               (run_dir, 'no such file')):
        assert message in error_of(load_initial_checkpoint, init_from, run_dir)
    save(small_checkpoint(1, optimizers=[]), f'{run_dir}/best.pt')
    assert f'{run_dir}/best.pt has the weights' in error_of(load_initial_checkpoint, 'resume', run_dir)
    save(small_checkpoint(3) | RESUMABLE, f'{run_dir}/ckpt.pt')
    for init_from, name in (('resume', 'ckpt.pt'), ('auto', 'ckpt.pt'), (run_dir, 'best.pt'),
                            (f'{run_dir}/ckpt.pt', 'ckpt.pt')):
        found, path = load_initial_checkpoint(init_from, run_dir)
        assert (found['iter_num'], path) == ({'ckpt.pt': 3, 'best.pt': 1}[name], f'{run_dir}/{name}')
    assert capsys.readouterr().out == ''
    os.truncate(f'{run_dir}/ckpt.pt', 100)
    for init_from in ('resume', 'auto'):
        message = error_of(load_initial_checkpoint, init_from, run_dir)
        assert f'--init_from={run_dir}/best.pt --out_dir=ANOTHER' in message


@pytest.mark.parametrize('change', [
    {'iter_num': -1}, {'minutes': float('nan')}, {'minutes': 1}, {'optimizers': []}, {'skipped_steps': 1e15},
    {'best_val_loss': -float('inf')}, {'loss_mean': 'a\nb'}, {'n_losses': True}], ids=short)
def test_a_checkpoint_that_lacks_what_resuming_needs_is_refused_with_how_to_use_its_weights(tmp_path, change):
    save(small_checkpoint(3) | RESUMABLE | change, tmp_path / 'ckpt.pt')
    message = error_of(load_initial_checkpoint, 'resume', str(tmp_path))
    assert f'--init_from={tmp_path}/ckpt.pt --out_dir=ANOTHER' in message


@pytest.mark.parametrize('n_chars, tokenizer, message', [
    (61, None, ''), (60, None, 'expected data of 61 characters or GPT-2 tokens, got 60'),
    (61, {'kind': 'char', 'chars': 'x' * 61}, 'expected data in its own vocabulary')], ids=short)
def test_a_model_keeps_its_vocabulary_and_other_characters_are_refused(n_chars, tokenizer, message):
    checkpoint = checkpoint_of(random_model(**MODERN)) | ({'tokenizer': tokenizer} if tokenizer else {})
    meta = {'tokenizer': {'kind': 'char', 'chars': 'a' * n_chars}, 'vocab_size': n_chars,
            'splits': {split: {'tokens': 100, 'largest_id': n_chars - 1} for split in ('train', 'val')}}
    settings = asdict(GPTConfig()) | {'vocab_size': 0, 'init_from': 'ckpt.pt'}
    choose = partial(choose_config, checkpoint, 'ckpt.pt', settings, set(), set(), meta, on_gpu=True)
    found = error_of(choose)
    assert message in found and bool(found) == bool(message)
    assert message or choose().vocab_size == 61 # which a new model would pad on a GPU
