"""The model and its KV cache, checked against other implementations of the same computation."""
import math

import pytest
import torch
import torch.nn.functional as F
from conftest import FAMILIES, MODERN, PretendDevice, error_of, random_model, random_tokens

from lib.checkpoint import build, from_transformers
from lib.decode import KVCache
from lib.generate import generate
from model import GPT, MAX_LOGITS, GPTConfig, RMSNorm, attention, cross_entropy_sum, naive_attention


@pytest.fixture(params=FAMILIES)
def model(request):
    return random_model(**FAMILIES[request.param])


def test_a_changed_token_changes_no_earlier_logits_and_all_later_ones(model):
    idx = random_tokens(2, 16)
    changed = idx.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 61
    difference = (model(idx) - model(changed)).abs().amax(dim=(0, 2))
    assert difference[:9].max() == 0
    assert difference[9:].min() > 1e-4


def test_the_loss_at_initialization_is_near_the_logarithm_of_vocab_size(model):
    torch.manual_seed(0)
    # the targets are not the inputs, which a tied model would predict
    loss = GPT(model.config)(random_tokens(8, 16), random_tokens(8, 16, seed=2))
    assert abs(loss.item() - math.log(61)) < 0.1


def cached_logits(model, idx, cut, size, padding, shrink):
    """Logits (B, T, V) of idx with a KV cache: a prompt of cut tokens, one token alone, the rest."""
    cache, parts = KVCache(model, idx.size(0), size, padding), []
    for begin, end in ((0, cut), (cut, cut + 1), (cut + 1, idx.size(1))):
        if begin < end:
            cache.kv_len = end if shrink else None
            parts.append(model(idx[:, begin:end], cache=cache))
    assert cache.length.item() == idx.size(1)
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize('size, padding, shrink', [
    (16, None, False), (40, None, True), (20, [0, 3, 7, 12], False)]) # the last are padded on the left
@torch.no_grad()
def test_logits_with_a_kv_cache_equal_those_without_for_every_cut_of_the_prompt(model, size, padding, shrink):
    idx = random_tokens(4, 16)
    expected = [model(row[None, n:])[0] for row, n in zip(idx, padding or [0] * 4, strict=True)]
    for cut in range(1, 16):
        found = cached_logits(model, idx, cut, size, padding and torch.tensor(padding), shrink)
        for logits, alone in zip(found, expected, strict=True):
            assert torch.allclose(logits[-len(alone):], alone, atol=1e-5)


def test_the_generation_loop_without_a_cache_equals_greedy_decoding_with_one(model):
    idx = random_tokens(2, 4)
    expected = torch.stack(list(generate(model, idx, 12)), dim=1)
    assert torch.equal(model.generate(idx, 12, temperature=1e-6), torch.cat((idx, expected), dim=1))


def test_flops_per_token_equal_what_torch_counts(model):
    from torch.utils.flop_counter import FlopCounterMode
    idx = random_tokens(2, 16)
    with FlopCounterMode(display=False) as counter, \
            torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model(idx, idx).backward()
    assert abs(counter.get_total_flops() / (2 * 16) / model.flops_per_token() - 1) < 0.01


@pytest.mark.parametrize('dtype, tolerance', [('float32', 1e-5), ('bfloat16', 0.05)])
def test_rms_norm_and_its_written_out_gradient_are_those_of_torch(dtype, tolerance):
    torch.manual_seed(0)
    x = (torch.randn(2, 5, 3, 64) * torch.logspace(-3, 1, 3)[:, None]).to(getattr(torch, dtype))
    x = x.transpose(1, 2).requires_grad_() # not contiguous, as in QK-norm; the first rows are near eps
    dy = torch.randn(x.shape).to(x.dtype)
    norm, expected = RMSNorm(64, eps=1e-6, elementwise_affine=False), F.rms_norm(x, (64,), eps=1e-6)
    found = norm(x)
    assert found.dtype == x.dtype and torch.allclose(found, expected, atol=tolerance)
    with torch.no_grad():
        assert torch.equal(norm(x), expected)
    dx, expected = (torch.autograd.grad(y, x, dy)[0] for y in (found, expected))
    assert dx.dtype == x.dtype
    assert ((dx - expected).norm(dim=-1) < tolerance * expected.norm(dim=-1)).all()


@pytest.mark.parametrize('activation, theirs', [('gelu_tanh', 'gelu_new'), ('gelu', 'gelu')])
def test_gpt2_equals_transformers_with_the_same_weights(activation, theirs):
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    other = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=61, n_positions=16, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2,
        activation_function=theirs)).eval()
    checkpoint = from_transformers(other)
    assert checkpoint['model_config']['activation'] == 'gelu_tanh' # that of OpenAI's weights
    checkpoint['model_config']['activation'] = activation
    ours, idx = build(checkpoint).eval(), random_tokens(2, 16)
    with torch.no_grad():
        assert torch.allclose(ours(idx), other(idx).logits, atol=1e-5)


@pytest.mark.parametrize('tied', [False, True])
def test_modern_equals_qwen3_of_transformers_after_renaming_and_splitting(tied):
    transformers = pytest.importorskip('transformers')
    ours = random_model(**MODERN | {'n_kv_head': 2, 'tie_weights': tied})
    units = ours.transformer.h[0].mlp.c_proj.in_features
    theirs = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(
        vocab_size=61, hidden_size=32, intermediate_size=units, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=16, rms_norm_eps=1e-6,
        tie_word_embeddings=False, rope_parameters={'rope_type': 'default', 'rope_theta': 10000.0},
        attention_bias=False)).eval()
    # Qwen3 does not normalize embeddings, so it gets normalized ones; our norms have no gains, so its are 1
    table = F.rms_norm(ours.transformer.wte.weight, (32,), eps=1e-6)
    state = {'model.embed_tokens.weight': table, 'model.norm.weight': torch.ones(32),
             'lm_head.weight': ours.lm_head.weight}
    for i, block in enumerate(ours.transformer.h):
        q, k, v = block.attn.c_attn.weight.split((32, 16, 16))
        gate, up = block.mlp.c_fc.weight.chunk(2)
        renamed = {'input_layernorm': torch.ones(32), 'post_attention_layernorm': torch.ones(32),
                   'self_attn.q_proj': q, 'self_attn.k_proj': k, 'self_attn.v_proj': v,
                   'self_attn.o_proj': block.attn.c_proj.weight,
                   'self_attn.q_norm': torch.ones(8), 'self_attn.k_norm': torch.ones(8),
                   'mlp.gate_proj': gate, 'mlp.up_proj': up, 'mlp.down_proj': block.mlp.c_proj.weight}
        state |= {f'model.layers.{i}.{name}.weight': w for name, w in renamed.items()}
    theirs.load_state_dict(state)
    idx = random_tokens(2, 16)
    with torch.no_grad():
        assert torch.allclose(ours(idx), theirs(idx).logits, atol=1e-5)


def random_qkv(T, S, kv_heads, dtype):
    torch.manual_seed(0)
    return [torch.randn(2, heads, n, 8).to(dtype) for heads, n in ((4, T), (kv_heads, S), (kv_heads, S))]


@pytest.mark.parametrize('dtype, tolerance', [(torch.float32, 1e-5), (torch.bfloat16, 0.03)], ids=str)
@pytest.mark.parametrize('kv_heads', [4, 2])
@pytest.mark.parametrize('T', [1, 15, 16, 512, 513])
@pytest.mark.parametrize('masked', ['causal', 'cache', 'padded cache'])
def test_attention_equals_the_naive_formula_and_that_of_torch(T, masked, kv_heads, dtype, tolerance):
    S = T if masked == 'causal' else T + 5 # a cache has keys before the first query, and unused positions
    q, k, v = random_qkv(T, S, kv_heads, dtype)
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T - 2 if masked != 'causal' else 0)
    if masked == 'padded cache':
        mask = torch.stack((mask, mask & (torch.arange(S) >= 2)))[:, None] # (B, 1, T, S)
    low = attention(q, k, v, None if masked == 'causal' else mask)
    assert low.dtype == dtype
    q, k, v = q.float(), *(t.float().repeat_interleave(4 // kv_heads, dim=1) for t in (k, v))
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert torch.allclose(naive_attention(q, k, v, mask), expected, atol=1e-5)
    assert (low.float() - expected).abs().max() < tolerance # a bfloat16 has 8 bits


@pytest.mark.parametrize('T', [15, 16, 513])
def test_attention_in_bfloat16_has_the_gradients_of_the_naive_formula(T):
    low = [t.requires_grad_() for t in random_qkv(T, T, 4, torch.bfloat16)]
    full = [t.detach().float().requires_grad_() for t in low]
    upstream = torch.randn(2, 4, T, 8)
    attention(*low).backward(upstream.bfloat16())
    naive_attention(*full, torch.ones(T, T, dtype=torch.bool).tril()).backward(upstream)
    for a, b in zip(low, full, strict=True):
        assert (a.grad.float() - b.grad).norm() < 0.03 * b.grad.norm()


@pytest.mark.parametrize('max_logits', [1, 61 * 5, 61 * 32])
@pytest.mark.parametrize('family', ['modern', 'tied'])
def test_cross_entropy_in_chunks_equals_the_whole_and_so_do_its_gradients(family, max_logits, monkeypatch):
    model, idx, targets = random_model(**FAMILIES[family]), random_tokens(2, 16), random_tokens(2, 16, seed=2)
    targets[0, 3:9] = -1 # ignored
    results = []
    for limit in (1 << 24, max_logits):
        monkeypatch.setattr('model.MAX_LOGITS', {'cpu': limit})
        model.zero_grad()
        loss = model(idx, targets)
        (3 * loss).backward()
        with torch.no_grad():
            results.append([loss, model(idx, targets), *(p.grad.clone() for p in model.parameters())])
    plain = F.cross_entropy(model(idx).flatten(0, 1), targets.flatten(), ignore_index=-1)
    assert torch.allclose(results[0][0], plain) and torch.allclose(results[0][1], plain)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize('kind, chunks', [('cpu', 8), ('mps', 8), ('cuda', 2)])
def test_a_gpu_with_cuda_computes_more_logits_at_once(kind, chunks, monkeypatch):
    assert MAX_LOGITS == {'cpu': 1 << 24, 'cuda': 1 << 26}
    monkeypatch.setattr('model.MAX_LOGITS', {'cpu': 61 * 4, 'cuda': 61 * 16})
    lm_head, seen = torch.nn.Linear(8, 61, bias=False), []
    lm_head.register_forward_hook(lambda *call: seen.append(call))
    with torch.no_grad(), PretendDevice(kind):
        cross_entropy_sum(torch.ones(32, 8), lm_head, torch.zeros(32, dtype=torch.int64))
    assert len(seen) == chunks


def test_under_autocast_the_residual_stream_has_its_dtype(model):
    with torch.autocast('cpu', torch.bfloat16):
        assert model.hidden_states(random_tokens(2, 16)).dtype == torch.bfloat16


@pytest.mark.parametrize('family', ['grouped', *(pytest.param(family, marks=pytest.mark.slow) for family in (
    'tied', 'gpt2', 'gpt2 with biases'))])
def test_torch_compile_gets_one_graph_for_training_one_for_evaluation_and_never_a_third(family, monkeypatch):
    monkeypatch.setattr('model.MAX_LOGITS', {'cpu': 61}) # a compiler does not compute the logits in chunks
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(random_model(**FAMILIES[family]), backend=count, fullgraph=True) # no graph break
    for enabled in (True, False):
        for seed in range(3):
            with torch.set_grad_enabled(enabled), torch.autocast('cpu', torch.bfloat16):
                loss = compiled(random_tokens(2, 16, seed=seed), random_tokens(2, 16))
            assert loss.requires_grad == enabled
    assert len(graphs) == 2
    torch.compiler.reset()


@pytest.mark.parametrize('wrong, message', [({'n_head': 3}, 'nearest: 30 or 33'),
    ({'n_embd': 0}, 'n_embd must be from 1'), ({'n_layer': 10**9}, 'n_layer must be from 1 to 10000'),
    ({'n_embd': 4}, 'must be even'), ({'n_kv_head': 3}, 'n_head must be a multiple of n_kv_head'),
    ({'n_kv_head': -2}, 'n_kv_head'), ({'arch': 'llama'}, "got 'llama'"), ({'dropout': 1.0}, 'dropout'),
    ({'activation': 'relu2'}, "activation must be one of swiglu, gelu, gelu_tanh, got 'relu2'"),
    ({'rope_theta': math.nan}, 'rope_theta must be above 1'), ({'bias': True}, "arch='modern' has no bias"),
    ({'arch': 'gpt2', 'n_kv_head': 2}, "arch='gpt2' has no n_kv_head"),
    ({'arch': 'gpt2', 'rope_theta': 500.0}, "arch='gpt2' has no n_kv_head and no rope_theta")])
def test_a_hyperparameter_that_is_invalid_or_has_no_effect_is_refused_in_one_line(wrong, message):
    assert message in error_of(GPT, GPTConfig(**MODERN | wrong))


@pytest.mark.parametrize('arch', ['modern', 'gpt2'])
def test_every_activation_works_for_both_architectures_and_gives_other_logits(arch):
    logits = [random_model(**MODERN | {'arch': arch, 'activation': name})(random_tokens(1, 16))
              for name in ('', 'swiglu', 'gelu', 'gelu_tanh')]
    assert torch.equal(logits[0], logits[1 if arch == 'modern' else 2])
    assert all(not torch.equal(a, b) for a, b in zip(logits[1:], logits[2:], strict=False))
