"""Weights of eight bits against the weights they stand for."""
import copy

import pytest
import torch
from conftest import read
from torch import nn

from data.tokenizer import from_json
from lib.checkpoint import build
from lib.generate import generate_texts
from lib.quantize import Int8Linear, quantize
from model import GPT, GPTConfig

WIDTHS = [1, 16, 36, 48, 100] # torch's kernel reads 16 numbers at once, so others are the trap


def linear(inputs, outputs, bias=False):
    torch.manual_seed(inputs)
    return nn.Linear(inputs, outputs, bias=bias)


def as_numbers(layer):
    """The matrix that an Int8Linear stands for."""
    return layer.weight.double() * layer.scale.double()[:, None]


@pytest.mark.parametrize('width', WIDTHS)
def test_a_weight_is_at_most_half_a_scale_from_what_it_was(width):
    before = linear(width, 53)
    layer = Int8Linear(before)
    assert layer.weight.dtype == torch.int8 and (layer.weight.abs().amax(dim=1) == 127).all()
    assert ((as_numbers(layer) - before.weight).abs() <= 0.5001 * layer.scale.double()[:, None]).all()


@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize('width', WIDTHS)
def test_it_multiplies_as_the_matrix_of_its_numbers_does(width, bias):
    layer = quantize(nn.Sequential(linear(width, 53, bias)))[0]
    x = torch.randn(3, 7, width).bfloat16()[:, 2:] # not in one piece in memory
    exact = x.double() @ as_numbers(layer).T
    most = exact.abs().max()
    if bias:
        exact = exact + layer.bias.double()
    assert layer(x).dtype == torch.bfloat16 and layer(x).shape == (3, 5, 53)
    assert (layer(x).double() - exact).abs().max() <= 3 * 2 ** -9 * (most + exact.abs().max()) # 3 roundings


def test_a_row_of_zeros_stays_one():
    before = linear(32, 4)
    with torch.no_grad():
        before.weight[2] = 0
    layer = Int8Linear(before)
    y = layer(torch.randn(7, 32).bfloat16())
    assert (layer.scale > 0).all() # what is divided by 0 has any value
    assert (y[:, 2] == 0).all() and (y[:, [0, 1, 3]] != 0).all()


@pytest.mark.parametrize('shape', [{}, {'arch': 'gpt2', 'bias': True}])
def test_all_linear_layers_are_made_from_the_weights_as_they_were(shape):
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=61, block_size=16, n_layer=2, n_head=2, n_embd=32, **shape))
    before = {name: copy.deepcopy(m) for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    quantize(model)
    assert len(before) == 9 and not any(isinstance(m, nn.Linear) for m in model.modules())
    for name, layer in before.items():
        found = model.get_submodule(name)
        assert ((as_numbers(found) - layer.weight).abs() <= 0.5001 * found.scale.double()[:, None]).all()
    table = model.transformer.wte.weight # a tied head is eight bits, the table it was is not
    assert table.dtype == torch.bfloat16 and (shape == {} or
                                              (table - before['lm_head'].weight).abs().max() < 1e-3)


def test_its_linear_layers_take_a_quarter_of_the_bytes():
    layer = linear(256, 1000)
    quarter = sum(b.numel() * b.element_size() for b in Int8Linear(layer).buffers())
    assert 0.25 <= quarter / (4 * layer.weight.numel()) < 0.255


def test_a_quantised_model_cannot_be_trained():
    model = quantize(GPT(GPTConfig(vocab_size=61, block_size=16, n_layer=1, n_head=2, n_embd=32)))
    assert not any(p.requires_grad for p in model.parameters())
    assert not model(torch.zeros(1, 4, dtype=torch.int64)).requires_grad


def test_a_trained_model_thinks_and_writes_nearly_the_same_with_eight_bits(trained):
    found = read(f'{trained}/best.pt')
    letters, full, eight = from_json(found['tokenizer']), build(found).eval(), quantize(build(found).eval())
    prompts = ['the cat', 'a', 'who ran on the mat', 'big red dog.', 'café']
    texts, theirs = (generate_texts(model, letters, prompts, 1, 32) for model in (full, eight))
    same = [a == b for one, other in zip(texts, theirs, strict=True)
            for a, b in zip(one.ids, other.ids, strict=True)]
    assert sum(same) > 0.7 * len(same) # once they differ in a token, they go on differently
    idx = torch.tensor([letters.encode(text.prompt + text.text)[:32] for text in texts])
    with torch.no_grad():
        agree = full(idx).argmax(-1) == eight(idx).argmax(-1)
        assert (full(idx) - eight(idx)).abs().max() < 0.1
    assert agree.float().mean() >= 0.98
