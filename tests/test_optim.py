"""Muon, what each parameter is updated by, and the learning rate, each against formulas written out here."""
import math

import pytest
import torch

from lib.optim import Muon, all_groups, lr_share, make_optimizers, momentum_at, orthogonalize, restore
from model import GPT, GPTConfig

SHAPE = dict(vocab_size=13, block_size=8, n_layer=2, n_head=2, n_embd=32)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('rows, columns', [(32, 32), (64, 16), (16, 64), (128, 127)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_the_update_of_muon_is_near_orthogonal(rows, columns, dtype):
    left, _, right = torch.linalg.svd(random(3, rows, columns), full_matrices=False)
    strengths = torch.logspace(0, -2, min(rows, columns)) # of its directions
    gradient = left * strengths @ right
    for scale in (1e-4, 1.0, 1e4):
        update = orthogonalize((scale * gradient).to(dtype))
        assert update.shape == (3, rows, columns) and update.dtype == dtype
        values = torch.linalg.svdvals(update.float())
        assert 0.5 < values.min() and values.max() < 1.5


def test_the_update_of_muon_has_the_directions_of_the_gradient():
    gradient = random(16, 24)
    left, _, right = torch.linalg.svd(gradient, full_matrices=False)
    turned = left.T @ orthogonalize(gradient[None])[0] @ right.T # diagonal, when the directions are the same
    assert (turned - turned.diag().diag()).abs().max() < 1e-4
    assert turned.diag().min() > 0.5


def muon_by_hand(weight, gradients, lr, momentum, weight_decay):
    """Muon for one matrix, one line for each line of its definition."""
    weight, average = weight.clone(), torch.zeros_like(weight)
    for gradient in gradients:
        average = momentum * average + (1 - momentum) * gradient
        ahead = momentum * average + (1 - momentum) * gradient
        weight = weight - lr * weight_decay * weight
        size = math.sqrt(max(1, weight.size(0) / weight.size(1)))
        weight = weight - lr * size * orthogonalize(ahead[None])[0]
    return weight


@pytest.mark.parametrize('rows', [[16], [32], [8, 8, 16], [16, 4, 4]])
def test_muon_does_every_stacked_block_apart(rows):
    start, gradients = random(sum(rows), 8), [random(sum(rows), 8, seed=seed) for seed in (1, 2, 3)]
    weight = torch.nn.Parameter(start.clone())
    muon = Muon([weight], [rows], lr=0.1, momentum=0.9, weight_decay=0.2, ns_dtype=torch.float32)
    for weight.grad in gradients:
        muon.step()
    blocks = zip(start.split(rows), zip(*(g.split(rows) for g in gradients), strict=True), strict=True)
    expected = torch.cat([muon_by_hand(block, pieces, 0.1, 0.9, 0.2) for block, pieces in blocks])
    assert torch.allclose(weight, expected, atol=1e-5)


def test_muon_leaves_a_parameter_without_a_gradient_alone():
    weights = [torch.nn.Parameter(random(4, 4)) for _ in range(2)]
    weights[0].grad = random(4, 4, seed=1)
    Muon(weights, [[4], [4]], lr=0.1, weight_decay=0.1).step()
    assert not torch.equal(weights[0], random(4, 4))
    assert torch.equal(weights[1], random(4, 4))


@pytest.mark.parametrize('kind', ['muon', 'adamw'])
@pytest.mark.parametrize('arch', ['modern', 'gpt2'])
def test_every_parameter_has_one_optimizer_and_no_norm_or_bias_decays(arch, kind):
    model = GPT(GPTConfig(arch=arch, bias=arch == 'gpt2', **SHAPE))
    groups = all_groups(make_optimizers(model, kind, 1e-3, 0.02, 0.1, (0.9, 0.95), torch.float32))
    members = [p for group in groups for p in group['params']]
    assert sorted(map(id, members)) == sorted(map(id, model.parameters()))
    assert all(group['weight_decay'] == 0 for group in groups for p in group['params'] if p.dim() < 2)
    assert all(group['weight_decay'] == 0.1 for group in groups for p in group['params']
               if any(p is matrix for matrix in model.parameter_groups()['matrix'].values()))


def test_muon_has_the_matrices_in_the_blocks_and_adamw_the_rest():
    model = GPT(GPTConfig(**SHAPE))
    muon, adamw = make_optimizers(model, 'muon', 1e-3, 0.02, 0.1, (0.8, 0.9), torch.float32)
    names = {id(p): name for name, p in model.named_parameters()}
    in_muon = {names[id(p)].split('.')[-2] for group in all_groups([muon]) for p in group['params']}
    assert in_muon == {'c_attn', 'c_proj', 'c_fc'}
    assert isinstance(adamw, torch.optim.AdamW)
    assert [group['peak_lr'] for group in all_groups([muon, adamw])] == [0.02, 1e-3]
    assert all_groups([adamw])[0]['betas'] == (0.8, 0.9)


def optimizers_after_one_update(kind, **settings):
    torch.manual_seed(0)
    model = GPT(GPTConfig(**SHAPE))
    chosen = dict(learning_rate=1e-3, muon_learning_rate=0.02, weight_decay=0.1, betas=(0.9, 0.95)) | settings
    optimizers = make_optimizers(model, kind, **chosen, ns_dtype=torch.float32)
    idx = torch.arange(8)[None]
    model(idx, idx).backward()
    for each in optimizers:
        each.step()
    return optimizers


@pytest.mark.parametrize('kind', ['muon', 'adamw'])
def test_A8_a_resumed_optimizer_keeps_its_memory_and_takes_rates_decay_and_betas_from_the_settings(kind):
    old = optimizers_after_one_update(kind)
    new = optimizers_after_one_update(kind, learning_rate=0.5, muon_learning_rate=0.25, weight_decay=0.75,
                                      betas=(0.5, 0.6))
    for each in new:
        each.state.clear()
    restore(new, [each.state_dict() for each in old])
    assert all_groups(new)[-1]['lr'] == all_groups(new)[-1]['peak_lr'] == 0.5
    assert all_groups(new)[-1]['betas'] == (0.5, 0.6)
    assert all_groups(new)[0]['weight_decay'] == 0.75
    for mine, theirs in zip(new, old, strict=True):
        assert sum(len(memory) for memory in theirs.state.values()) > 0
        for p, q in zip(all_groups([mine])[0]['params'], all_groups([theirs])[0]['params'], strict=True):
            assert mine.state[p].keys() == theirs.state[q].keys()
            assert all(torch.equal(mine.state[p][key], theirs.state[q][key]) for key in theirs.state[q])


@pytest.mark.parametrize('kind', ['muon', 'adamw'])
def test_A15_an_update_that_is_to_be_skipped_changes_neither_weights_nor_memory(kind):
    def train(gradients):
        torch.manual_seed(0)
        model = GPT(GPTConfig(**SHAPE))
        optimizers = make_optimizers(model, kind, 0.01, 0.02, 0.1, (0.9, 0.95), torch.float32)
        for value in gradients:
            for i, p in enumerate(model.parameters()):
                p.grad = value * random(*p.shape, seed=i)
            for each in optimizers:
                each.found_inf = torch.tensor(float(not math.isfinite(value)))
                each.step()
        return [p.detach() for p in model.parameters()]

    expected = train([1.0, -2.0, 3.0])
    for a, b in zip(train([1.0, math.nan, -2.0, math.inf, math.inf, 3.0]), expected, strict=True):
        assert torch.equal(a, b)


def test_the_memory_of_another_kind_of_optimizer_is_refused_in_one_line():
    states = [each.state_dict() for each in optimizers_after_one_update('adamw')]
    with pytest.raises(SystemExit, match='another --optimizer') as error:
        restore(optimizers_after_one_update('muon'), states)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('final, expected', [(0.95, [0.85, 0.9, 0.95, 0.95]), (0.9, [0.85, 0.875, 0.9, 0.9]),
                                             (0.5, [0.5] * 4)])
def test_the_memory_of_muon_rises_for_300_updates(final, expected):
    assert [momentum_at(i, final) for i in (0, 150, 300, 5000)] == pytest.approx(expected)


# ---- the learning rate ----

def nanogpt_lr(it, learning_rate, warmup_iters, lr_decay_iters, min_lr):
    if it < warmup_iters:
        return learning_rate * (it + 1) / (warmup_iters + 1)
    if it > lr_decay_iters:
        return min_lr
    ratio = (it - warmup_iters) / (lr_decay_iters - warmup_iters)
    return min_lr + 0.5 * (1 + math.cos(math.pi * ratio)) * (learning_rate - min_lr)


@pytest.mark.parametrize('warmup', [0, 1, 20])
def test_the_cosine_that_follows_the_warmup_equals_the_formula_of_nanogpt(warmup):
    for i in range(120):
        share = lr_share(i, i / 100, warmup, 100, decay_fraction=1.0, schedule='cosine', floor=6e-5 / 6e-4)
        assert math.isclose(6e-4 * share, nanogpt_lr(i, 6e-4, warmup, 100, 6e-5), rel_tol=1e-12)


@pytest.mark.parametrize('schedule', ['linear', 'cosine'])
def test_the_rate_is_at_its_highest_from_the_warmup_to_the_fall_and_ends_at_the_floor(schedule):
    shares = [lr_share(i, i / 100, 10, 100, 0.6, schedule, floor=0.1) for i in range(101)]
    assert shares[:10] == [(i + 1) / 11 for i in range(10)]
    assert all(math.isclose(share, 1) for share in shares[10:41]) # the last 0.6 of the run is the fall
    assert all(after < before for before, after in zip(shares[40:], shares[41:], strict=False))
    assert math.isclose(shares[70], 0.55) # half way down, for both shapes
    assert math.isclose(shares[100], 0.1)


def test_by_the_clock_the_rate_falls_with_the_time_that_has_passed():
    shares = [lr_share(50, progress, 10, 0, 0.5, 'linear') for progress in (0.0, 0.5, 0.75, 1.0, 1.5)]
    assert shares == [1.0, 1.0, 0.5, 0.0, 0.0]


def test_a_floor_of_one_is_a_constant_rate():
    assert {lr_share(i, i / 100, 10, 100, 0.7, 'cosine', floor=1.0) for i in range(10, 200)} == {1.0}
