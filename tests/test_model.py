"""The network and its cache, each checked against another way to get the answer."""
import math

import pytest
import torch

from lib.checkpoint import build, from_transformers
from model import GPT, GPTConfig, KVCache, attend

MODERN = dict(arch='modern', vocab_size=61, block_size=16, n_layer=2, n_head=4, n_embd=32)
FAMILIES = {'modern': MODERN, 'grouped': MODERN | {'n_kv_head': 2}, 'tied': MODERN | {'tie_weights': True},
            'gpt2': MODERN | {'arch': 'gpt2'}, 'gpt2 with biases': MODERN | {'arch': 'gpt2', 'bias': True}}


@pytest.fixture(params=FAMILIES)
def model(request):
    return random_model(**FAMILIES[request.param])


def random_model(seed=0, **shape):
    """A model with no zeros in it, so that every part has an effect."""
    torch.manual_seed(seed)
    model = GPT(GPTConfig(**shape)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.2)
    return model


def tokens(*shape, vocab=61):
    return torch.randint(vocab, shape, generator=torch.Generator().manual_seed(1))


def test_a_changed_token_changes_no_earlier_logits_and_all_later_ones(model):
    idx = tokens(2, 16)
    changed = idx.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 61
    moved = (model(idx) - model(changed)).abs().amax(dim=(0, 2))
    assert moved[:9].max() == 0
    assert moved[9:].min() > 1e-4


@pytest.mark.parametrize('shape', FAMILIES.values(), ids=FAMILIES)
def test_loss_at_init_is_near_the_logarithm_of_the_vocabulary(shape):
    torch.manual_seed(0)
    # the targets are not the tokens themselves: tied models see those
    loss = GPT(GPTConfig(**shape))(tokens(8, 16), tokens(8, 16).flip(1))
    assert abs(loss.item() - math.log(61)) < 0.1


def test_targets_of_minus_one_do_not_count(model):
    idx, targets = tokens(2, 16), tokens(2, 16)
    half = targets.clone()
    half[1] = -1
    assert torch.allclose(model(idx, half), model(idx[:1], targets[:1]))


@pytest.mark.parametrize('cut', range(1, 16))
def test_G4_logits_with_the_cache_equal_logits_without_for_every_cut_of_the_prompt(model, cut):
    idx = tokens(2, 16)
    cache = KVCache(model, 2, 16)
    with torch.no_grad():
        parts = [model(idx[:, :cut], cache=cache)]
        parts += [model(idx[:, t:t + 1], cache=cache) for t in range(cut, 16)]
        assert torch.allclose(torch.cat(parts, dim=1), model(idx), atol=1e-5)
    assert cache.length.item() == 16


@pytest.mark.parametrize('cut', [1, 5, 15])
def test_G4_a_window_just_as_wide_as_the_text_so_far_changes_nothing(model, cut):
    idx, cache = tokens(2, 16), KVCache(model, 2, 40)
    with torch.no_grad():
        for begin, end in [(0, cut), *((t, t + 1) for t in range(cut, 16))]:
            cache.window = end
            assert torch.allclose(model(idx[:, begin:end], cache=cache), model(idx)[:, begin:end], atol=1e-5)


@pytest.mark.parametrize('cut', range(1, 16))
def test_G4_logits_of_padded_sequences_equal_those_of_each_alone_for_every_cut(model, cut):
    idx, padding = tokens(4, 16), torch.tensor([0, 3, 7, 12])
    cache = KVCache(model, 4, 20, padding)
    with torch.no_grad():
        parts = [model(idx[:, :cut], cache=cache)]
        parts += [model(idx[:, t:t + 1], cache=cache) for t in range(cut, 16)]
        logits = torch.cat(parts, dim=1)
        for row, skipped in enumerate(padding.tolist()):
            alone = model(idx[row:row + 1, skipped:])
            assert torch.allclose(logits[row:row + 1, skipped:], alone, atol=1e-5)


def test_a_cache_goes_on_with_the_rows_that_are_selected(model):
    idx, padding, rows = tokens(3, 16), torch.tensor([0, 3, 2]), torch.tensor([2, 0, 2, 1])
    cache = KVCache(model, 3, 16, padding)
    with torch.no_grad():
        model(idx[:, :9], cache=cache)
        cache.select(rows)
        after = model(idx[rows, 9:], cache=cache)
        for logits, row in zip(after, rows.tolist(), strict=True):
            alone = model(idx[row:row + 1, padding[row]:])[0]
            assert torch.allclose(logits, alone[9 - padding[row]:], atol=1e-5)


def test_every_parameter_is_in_exactly_one_group(model):
    members = [p for group in model.parameter_groups().values() for p in group.values()]
    assert {id(p) for p in members} == {id(p) for p in model.parameters()}
    assert len(members) == len({id(p) for p in members})
    assert all(p.dim() == 1 for p in model.parameter_groups()['vector'].values())


def test_stacked_rows_cut_a_parameter_into_its_matrices():
    model = random_model(**FAMILIES['grouped'])
    for name, p in model.parameter_groups()['matrix'].items():
        assert sum(model.stacked_rows(name)) == p.size(0)
    assert model.stacked_rows('transformer.h.0.attn.c_attn.weight') == [32, 16, 16]


def test_flops_per_token_equal_what_torch_counts(model):
    from torch.utils.flop_counter import FlopCounterMode
    idx = tokens(2, 16)
    with FlopCounterMode(display=False) as counter, \
            torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model(idx, idx).backward()
    assert abs(counter.get_total_flops() / (2 * 16) / model.flops_per_token() - 1) < 0.01


def test_gpt2_equals_transformers_with_the_same_weights():
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=61, n_positions=16, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2)).eval()
    ours = build(from_transformers(theirs)).eval()
    idx = tokens(2, 16)
    with torch.no_grad():
        assert torch.allclose(ours(idx), theirs(idx).logits, atol=1e-5)


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
    # a norm of the embedding is a table whose rows are normalised; ours has no gains, theirs are then 1
    table = torch.nn.functional.rms_norm(ours.transformer.wte.weight, (32,), eps=1e-6)
    state = {'model.embed_tokens.weight': table, 'model.norm.weight': torch.ones(32),
             'lm_head.weight': ours.lm_head.weight}
    for i, block in enumerate(ours.transformer.h):
        q, k, v = block.attn.c_attn.weight.split((32, 16, 16))
        gate, up = block.mlp.c_fc.weight.chunk(2)
        theirs_names = {'input_layernorm': torch.ones(32), 'post_attention_layernorm': torch.ones(32),
                        'self_attn.q_proj': q, 'self_attn.k_proj': k, 'self_attn.v_proj': v,
                        'self_attn.o_proj': block.attn.c_proj.weight,
                        'self_attn.q_norm': torch.ones(8), 'self_attn.k_norm': torch.ones(8),
                        'mlp.gate_proj': gate, 'mlp.up_proj': up, 'mlp.down_proj': block.mlp.c_proj.weight}
        state |= {f'model.layers.{i}.{name}.weight': w for name, w in theirs_names.items()}
    theirs.load_state_dict(state)
    idx = tokens(2, 16)
    with torch.no_grad():
        assert torch.allclose(ours(idx), theirs(idx).logits, atol=1e-5)


def test_gpt2_with_exact_gelu_equals_a_transformer_written_out_in_plain_formulas():
    model = random_model(**FAMILIES['gpt2 with biases'])
    idx = tokens(1, 16)
    w = {name.removeprefix('transformer.'): p.detach().double() for name, p in model.named_parameters()}

    def norm(x, name):
        x = x - x.mean(-1, keepdim=True)
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w[f'{name}.weight'] + w[f'{name}.bias']

    def linear(x, name):
        return x @ w[f'{name}.weight'].T + w[f'{name}.bias']

    x = w['wte.weight'][idx[0]] + w['wpe.weight'][:16]
    for i in range(2):
        q, k, v = linear(norm(x, f'h.{i}.ln_1'), f'h.{i}.attn.c_attn').split(32, dim=-1)
        heads = []
        for h in range(4):
            s = slice(8 * h, 8 * h + 8)
            scores = q[:, s] @ k[:, s].T / math.sqrt(8)
            scores = scores.masked_fill(torch.ones(16, 16).triu(1).bool(), -math.inf)
            heads.append(scores.softmax(-1) @ v[:, s])
        x = x + linear(torch.cat(heads, -1), f'h.{i}.attn.c_proj')
        z = linear(norm(x, f'h.{i}.ln_2'), f'h.{i}.mlp.c_fc')
        x = x + linear(z * 0.5 * (1 + torch.erf(z / math.sqrt(2))), f'h.{i}.mlp.c_proj')
    assert torch.allclose(model(idx)[0].double(), norm(x, 'ln_f') @ w['wte.weight'].T, atol=1e-4)


@pytest.mark.parametrize('kv_heads', [4, 2, 1])
@pytest.mark.parametrize('T', [1, 7, 64])
def test_attention_written_out_equals_that_of_torch(kv_heads, T):
    q, k, v = (torch.randn(2, heads, T, 8) for heads in (4, kv_heads, kv_heads))
    low = [t.bfloat16() for t in (q, k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(*(t.float() for t in low), is_causal=True,
                                                                enable_gqa=True)
    assert (attend(*low).float() - expected).abs().max() < 0.03 # a bfloat16 has 8 bits
    assert attend(*low).dtype == torch.bfloat16


def test_attention_written_out_has_the_gradients_of_torch():
    low = [torch.randn(2, 2, 16, 8).bfloat16().requires_grad_() for _ in range(3)]
    full = [t.detach().float().requires_grad_() for t in low]
    upstream = torch.randn(2, 2, 16, 8)
    attend(*low).backward(upstream.bfloat16())
    torch.nn.functional.scaled_dot_product_attention(*full, is_causal=True).backward(upstream)
    for a, b in zip(low, full, strict=True):
        assert (a.grad.float() - b.grad).norm() < 0.03 * b.grad.norm()


@pytest.mark.parametrize('at_once', [1, 61 * 5, 61 * 32])
@pytest.mark.parametrize('family', ['modern', 'tied'])
def test_a_loss_made_in_parts_equals_the_whole_and_so_do_its_gradients(family, at_once, monkeypatch):
    model = random_model(**FAMILIES[family])
    idx, targets = tokens(2, 16), tokens(3, 16)[1:].clone()
    targets[0, 3:9] = -1 # these do not count
    found = []
    for limit in (1 << 24, at_once):
        monkeypatch.setattr('model.LOGITS_AT_ONCE', limit)
        model.zero_grad()
        loss = model(idx, targets)
        (3 * loss).backward()
        with torch.no_grad():
            found.append((loss, model(idx, targets), [p.grad.clone() for p in model.parameters()]))
    (loss, judged, gradients), (loss_in_parts, judged_in_parts, gradients_in_parts) = found
    assert torch.allclose(loss, loss_in_parts) and torch.allclose(judged, judged_in_parts)
    assert torch.allclose(loss, judged)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gradients, gradients_in_parts, strict=True))


def test_a_modern_model_reads_tokens_whatever_the_length_of_their_rows():
    model = random_model(**MODERN)
    before = model(tokens(2, 16))
    with torch.no_grad():
        model.transformer.wte.weight.mul_(torch.logspace(0, 2, 61)[:, None])
    assert torch.allclose(model(tokens(2, 16)), before, atol=1e-4)


@pytest.mark.parametrize('family', FAMILIES)
def test_under_autocast_the_residual_stream_has_its_dtype(family):
    with torch.autocast('cpu', torch.bfloat16):
        assert random_model(**FAMILIES[family]).hidden(tokens(2, 16)).dtype == torch.bfloat16


@pytest.mark.parametrize('wrong, said', [({'n_head': 3}, 'nearest: 30 or 33'),
                                         ({'n_embd': 0}, 'n_embd must be at least 1'),
                                         ({'n_kv_head': 3}, 'n_head must be a multiple of n_kv_head'),
                                         ({'arch': 'llama'}, "got 'llama'"), ({'dropout': 1.0}, 'dropout'),
                                         ({'n_embd': 4}, 'must be even'),
                                         ({'arch': 'gpt2', 'n_kv_head': 2}, 'gpt2')])
def test_B12_a_shape_that_cannot_be_ends_in_one_line(wrong, said):
    with pytest.raises(SystemExit, match=said) as error:
        GPT(GPTConfig(**MODERN | wrong))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('family', FAMILIES)
def test_a_compiler_gets_one_graph_for_training_and_one_for_judging_and_never_a_third(family, monkeypatch):
    monkeypatch.setattr('model.LOGITS_AT_ONCE', 61) # more logits than that are not made in parts here
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    model = random_model(**FAMILIES[family])
    compiled = torch.compile(model, backend=count, fullgraph=True) # an error where a graph would break
    for enabled in (True, False):
        for seed in range(3):
            with torch.set_grad_enabled(enabled), torch.autocast('cpu', torch.bfloat16):
                loss = compiled(tokens(2, 16).roll(seed, 1), tokens(2, 16))
            assert loss.requires_grad == enabled
    assert len(graphs) == 2
    torch.compiler.reset()
