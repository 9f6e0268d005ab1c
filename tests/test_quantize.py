"""Int8 weight-only quantization, against the weights and products in float64; float32 products in threads."""
import copy

import pytest
import torch
from conftest import FAMILIES, random_model
from torch import nn

from lib.quantize import FEW_ROWS, Int8Linear, SplitLinear, prepare_for_inference


def dequantized(layer):
    return layer.weight.double() * layer.scale.double()[:, None]


@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize('width', [1, 16, 36, 48, 100]) # torch's kernel reads 16 numbers at once
def test_a_weight_is_within_half_a_scale_and_the_product_is_that_of_the_dequantized_weights(width, bias):
    torch.manual_seed(width)
    linear = nn.Linear(width, 53, bias=bias)
    with torch.no_grad():
        linear.weight[2] = 0
    layer, before = Int8Linear(linear).bfloat16(), linear.weight.double()
    assert ((dequantized(layer) - before).abs() <= 0.5001 * layer.scale.double()[:, None]).all()
    assert layer.weight.int().abs().amax(1).tolist() == [127 * (i != 2) for i in range(53)] # the whole range
    assert layer.weight.dtype == torch.int8 and (dequantized(layer)[2] == 0).all() and (layer.scale > 0).all()
    x = torch.randn(3, 7, width).bfloat16()[:, 2:] # not contiguous
    product, y = x.double() @ dequantized(layer).T, layer(x)
    exact = product + (layer.bias.double() if bias else 0)
    assert y.dtype == torch.bfloat16 and y.shape == (3, 5, 53)
    assert (y.double() - exact).abs().max() <= 3 * 2 ** -9 * (product.abs().max() + exact.abs().max())


@pytest.mark.parametrize('family', ['modern', 'gpt2 with biases'])
def test_all_linear_layers_are_quantized_from_the_float32_weights_and_cannot_be_trained(family):
    model = random_model(**FAMILIES[family])
    old = {name: copy.deepcopy(m) for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    model = prepare_for_inference(model, 'int8', 'cpu')
    assert len(old) == 9 and not any(isinstance(m, nn.Linear) for m in model.modules())
    for name, linear in old.items(): # weights rounded to bfloat16 first would exceed this
        layer = model.get_submodule(name)
        assert ((dequantized(layer) - linear.weight).abs() <= 0.5001 * layer.scale.double()[:, None]).all()
    wte = model.transformer.wte.weight # is not quantized, although lm_head, which it may be tied to, is
    assert wte.dtype == torch.bfloat16
    assert family == 'modern' or torch.equal(wte, old['lm_head'].weight.bfloat16())
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize('M', [1, 2, FEW_ROWS, FEW_ROWS + 1])
@pytest.mark.parametrize('threads', [1, 2, 3])
def test_a_linear_layer_split_over_threads_has_the_same_product(monkeypatch, threads, M, bias):
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads)
    linear = nn.Linear(24, 37, bias=bias)
    x = torch.randn(M, 48)[:, ::2] # not contiguous
    for shaped in (x, x[:, None], x[None]):
        found = SplitLinear(linear)(shaped)
        assert found.shape == linear(shaped).shape
        torch.testing.assert_close(found, linear(shaped), rtol=1e-5, atol=1e-5)
