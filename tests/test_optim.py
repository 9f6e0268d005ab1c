"""Muon, parameter groups, optimizer state and the learning rate, against formulas written out here."""
import math

import pytest
import torch
from conftest import FAMILIES, error_of, random_model, same

from lib import optim
from lib.optim import Muon, all_groups, orthogonalize, parameter_groups, restore
from model import GPT, GPTConfig

SHAPE = dict(vocab_size=13, block_size=8, n_layer=2, n_head=2, n_kv_head=1, n_embd=32)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('rows, columns', [(32, 32), (64, 16), (16, 64), (128, 127)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
def test_orthogonalize_makes_all_singular_values_about_one_and_keeps_the_vectors(rows, columns, dtype):
    left, _, right = torch.linalg.svd(random(2, rows, columns), full_matrices=False)
    matrices = left * torch.logspace(0, -2, min(rows, columns)) @ right
    for scale in (1e-4, 1e4):
        update = orthogonalize(scale * matrices, dtype)
        assert update.shape == matrices.shape and update.dtype == dtype
        values = torch.linalg.svdvals(update.float())
        assert 0.5 < values.min() and values.max() < 1.5
        between = left.mT @ update.float() @ right.mT # diagonal if the singular vectors are still the same
        between -= torch.diag_embed(between.diagonal(dim1=1, dim2=2))
        assert between.abs().max() < (1e-3 if dtype == torch.float32 else 0.3)


def muon_by_hand(weight, gradients, lr, momentum, weight_decay):
    """Muon for one matrix, one line for each line of its definition."""
    weight, buffer = weight.clone(), torch.zeros_like(weight)
    for gradient in gradients:
        buffer = momentum * buffer + (1 - momentum) * gradient
        nesterov = momentum * buffer + (1 - momentum) * gradient
        weight = weight - lr * weight_decay * weight
        scale = math.sqrt(max(1, weight.size(0) / weight.size(1)))
        weight = weight - lr * scale * orthogonalize(nesterov[None])[0]
    return weight


@pytest.mark.parametrize('split_sizes', [[16], [32], [8, 8, 16], [16, 4, 4]], ids=str)
def test_muon_updates_each_fused_matrix_by_itself_as_defined(split_sizes):
    start, gradients = random(sum(split_sizes), 8), [random(sum(split_sizes), 8, seed=i) for i in (1, 2, 3)]
    weight = torch.nn.Parameter(start.clone())
    muon = Muon([{'params': [weight], 'split_sizes': [split_sizes]}], lr=0.1, momentum=0.9, weight_decay=0.2,
                ns_dtype=torch.float32)
    for weight.grad in gradients:
        muon.step()
    expected = [muon_by_hand(matrix, parts, 0.1, 0.9, 0.2) for matrix, parts in zip(
        start.split(split_sizes), zip(*(g.split(split_sizes) for g in gradients), strict=True), strict=True)]
    assert torch.allclose(weight, torch.cat(expected), atol=1e-5)
    assert muon.state[weight].keys() == {'momentum_buffer'} # under the key that other optimizers use


def test_muon_takes_several_parameter_groups_and_leaves_a_parameter_without_a_gradient_alone():
    weights = [torch.nn.Parameter(random(8, 8, seed=i)) for i in range(3)]
    muon = Muon([{'params': weights[:1], 'split_sizes': [[8]], 'weight_decay': 0.5},
                 {'params': weights[1:], 'split_sizes': [[8], [4, 4]], 'lr': 0.01}], lr=0.1, momentum=0.9,
                ns_dtype=torch.float32)
    for i, weight in enumerate(weights[:2]):
        weight.grad = random(8, 8, seed=10 + i)
    muon.step()
    expected = [muon_by_hand(random(8, 8), [weights[0].grad], 0.1, 0.9, 0.5),
                muon_by_hand(random(8, 8, seed=1), [weights[1].grad], 0.01, 0.9, 0.0), random(8, 8, seed=2)]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(weights, expected, strict=True))
    assert torch.equal(weights[2], expected[2])


def optimizers_of(model, name, **settings):
    chosen = dict(learning_rate=1e-3, muon_learning_rate=0.02, weight_decay=0.1, betas=(0.9, 0.95)) | settings
    return optim.make_optimizers(model, name, **chosen)


@pytest.mark.parametrize('name', ['muon', 'adamw'])
@pytest.mark.parametrize('family', FAMILIES)
def test_muon_has_the_matrices_of_the_blocks_adamw_the_rest_and_no_norm_or_bias_decays(family, name):
    model = random_model(**FAMILIES[family])
    groups = all_groups(optimizers := optimizers_of(model, name))
    assert sorted(id(p) for group in groups for p in group['params']) == sorted(map(id, model.parameters()))
    decays = {id(p): group['weight_decay'] for group in groups for p in group['params']}
    assert all(decays[id(p)] == 0 for p in model.parameters() if p.dim() < 2)
    assert all(decays[id(p)] == 0.1 for p in parameter_groups(model)['matrix'].values())
    in_muon = {id(p) for group in all_groups(optimizers[:-1]) for p in group['params']}
    assert {key.split('.')[-2] for key, p in model.named_parameters() if id(p) in in_muon} == (
        {'c_attn', 'c_proj', 'c_fc'} if name == 'muon' else set())
    assert [type(optimizer) for optimizer in optimizers] == [Muon] * (name == 'muon') + [torch.optim.AdamW]


def after_updates(name, count=1, shape=None, states=None, **settings):
    """(model, optimizers) after count updates with fixed gradients, from the given optimizer states."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(**SHAPE | (shape or {})))
    optimizers = optimizers_of(model, name, **settings)
    if states:
        restore(optimizers, states, 'ckpt.pt')
    for i in range(count):
        for j, p in enumerate(model.parameters()):
            p.grad = random(*p.shape, seed=100 * i + j)
        for optimizer in optimizers:
            optimizer.step()
    return model, optimizers


def states_of(optimizers):
    return [optimizer.state_dict() for optimizer in optimizers]


@pytest.mark.parametrize('name', ['muon', 'adamw'])
def test_a_resumed_optimizer_keeps_its_state_and_takes_rates_decay_and_betas_from_the_settings(name):
    old = states_of(after_updates(name)[1])
    _, new = after_updates(name, 0, states=old, learning_rate=0.5, muon_learning_rate=0.25, weight_decay=0.75,
                           betas=(0.5, 0.6))
    first, *_, last = all_groups(new)
    assert first['lr'] == first['peak_lr'] == (0.25 if name == 'muon' else 0.5)
    assert last['lr'] == last['peak_lr'] == 0.5
    assert last['betas'] == (0.5, 0.6) and first['weight_decay'] == 0.75
    assert same([state['state'] for state in states_of(new)], [state['state'] for state in old])
    assert all(state['state'] for state in old)


def in_format_1(model, state):
    """Muon's state as format 1 stored it: the matrices of one shape stacked, all with parameter 0."""
    stacks = {}
    for i, name in enumerate(parameter_groups(model)['matrix']):
        sizes = {'c_attn': (32, 16, 16), 'c_fc': (64, 64)}.get(name.split('.')[-2])
        buffer = state['state'][i]['momentum_buffer']
        for matrix in buffer.split(sizes or len(buffer)):
            stacks.setdefault(tuple(matrix.shape), []).append(matrix)
    named = {f'momentum of {len(found)} matrices {shape[0]} x {shape[1]}': torch.stack(found)
             for shape, found in stacks.items()}
    group = {key: value for key, value in state['param_groups'][0].items() if key != 'split_sizes'}
    return {'state': {0: named}, 'param_groups': [group]}


def test_muons_state_of_checkpoint_format_1_is_upgraded_exactly():
    model, optimizers = after_updates('muon', 3)
    muon, adamw = states_of(optimizers)
    old = in_format_1(model, muon)
    assert old['state'][0].keys() == {f'momentum of {count} matrices {shape}' for count, shape in (
        (4, '16 x 32'), (4, '32 x 32'), (2, '32 x 64'), (4, '64 x 32'))}
    _, upgraded = after_updates('muon', 0, states=[old, adamw])
    assert same(states_of(upgraded)[0]['state'], muon['state'])
    for key in old['state'][0]: # a matrix too few, a matrix too many, another dtype, no tensor
        stack = old['state'][0][key]
        for wrong in (stack[1:], torch.cat((stack, stack[:1])), stack.double(), stack[0, 0, 0], 'x'):
            damaged = {'state': {0: old['state'][0] | {key: wrong}}, 'param_groups': old['param_groups']}
            assert 'state does not match' in error_of(after_updates, 'muon', 0, {}, [damaged, adamw])


@pytest.mark.parametrize('name', ['muon', 'adamw'])
def test_the_state_of_a_model_of_another_shape_or_of_another_optimizer_is_refused(name):
    for shape in ({'n_layer': 1}, {'n_embd': 64}, {'n_kv_head': 2}, {'tie_weights': True}):
        states = states_of(after_updates(name, shape=shape)[1])
        assert 'ckpt.pt: its optimizer state does not match' in error_of(after_updates, name, 0, {}, states)
    states = states_of(after_updates({'muon': 'adamw', 'adamw': 'muon'}[name])[1])
    assert 'expected the state of the same --optimizer' in error_of(after_updates, name, 0, {}, states)


@pytest.mark.parametrize('optimizer, key, change', [
    (number, key, change) for number, key in ((0, 'momentum_buffer'), (1, 'exp_avg'), (1, 'exp_avg_sq'))
    for change in ('double', 'bfloat16', 'long', 't', 'flatten', 'tolist')] + [
    (0, 'exp_avg', 'clone'), (1, 'extra', 'clone'), (1, 'step', 'double'), (1, 'step', 'flatten')])
def test_optimizer_state_of_another_name_shape_or_dtype_is_refused_before_it_is_used(optimizer, key, change):
    states = states_of(after_updates('muon')[1])
    assert not error_of(after_updates, 'muon', 0, {}, states)
    state = states[optimizer]['state'][0]
    state[key] = getattr(state.get(key, torch.ones(2)), change)()
    assert 'ckpt.pt: its optimizer state does not match' in error_of(after_updates, 'muon', 0, {}, states)


@pytest.mark.parametrize('final, expected', [(0.95, [0.85, 0.9, 0.95, 0.95]), (0.5, [0.5] * 4)])
def test_the_momentum_of_muon_rises_for_300_updates(final, expected):
    assert [optim.momentum_at(i, final) for i in (0, 150, 300, 5000)] == pytest.approx(expected)
