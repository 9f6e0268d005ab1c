"""Writing token by token, against loops without a cache, the plain definitions and transformers."""
import itertools
import math

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from data.tokenizer import CharTokenizer, train_bpe
from lib.checkpoint import build, from_transformers
from lib.generate import (
    GREEDY,
    Decoder,
    Sampling,
    Text,
    beam_search,
    generate,
    generate_guessing,
    generate_texts,
    look_up,
    make_noise,
    next_logits,
    padded,
    pick_token,
    prompt_ids,
)
from model import GPT, GPTConfig

BLOCK = 8
SHAPE = dict(n_layer=2, n_head=4, n_embd=32)
FAMILIES = {'modern': {}, 'grouped': {'n_kv_head': 2}, 'tied': {'tie_weights': True},
            'gpt2': {'arch': 'gpt2', 'bias': True}}
LETTERS = CharTokenizer('\nabcdefghijklmnopqrstuvwxyz .') # 29 tokens
PROMPTS = ['the cat', '', 'a', 'zebra...', 'on the hill and', 'a', 'dog']


def random_model(vocab_size=29, block_size=BLOCK, seed=0, **more):
    """A model with no zeros in it, so that every part has an effect."""
    torch.manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=vocab_size, block_size=block_size, **SHAPE, **more)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.2)
    return model


def prompt(batch, length, seed=0):
    return torch.randint(29, (batch, length), generator=torch.Generator().manual_seed(seed))


def written(model, idx, count, how=GREEDY, **more):
    return torch.stack(list(generate(model, idx, count, how, **more)), dim=1)


def likeliest(logits, text):
    return logits.argmax(-1)


@torch.no_grad()
def naive(model, idx, count, choose=likeliest):
    """Every token from the whole context; one longer than block_size goes on with its last half block."""
    text, begin = idx, 0
    for _ in range(count):
        if text.size(1) - begin > model.config.block_size:
            begin = text.size(1) - max(1, model.config.block_size // 2)
        text = torch.cat((text, choose(model(text[:, begin:])[:, -1], text)[:, None]), dim=1)
    return text[:, idx.size(1):]


def logprobs_of(model, ids, tokens):
    """What the model thinks of each of the tokens after ids."""
    found = []

    def follow(logits, text):
        token = tokens[len(found)]
        found.append(logits[0].log_softmax(-1)[token].item())
        return torch.tensor([token])

    naive(model, torch.tensor([ids]), len(tokens), follow)
    return found


def count_reads(model):
    """A list that gets the shape of what the model reads, each time that it does."""
    shapes, hidden = [], model.hidden

    def counted(idx, cache=None):
        shapes.append(tuple(idx.shape))
        return hidden(idx, cache)

    model.hidden = counted
    return shapes


# ---- with a cache, in batches, beside another library ----

@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('length', [1, 3, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_G4_greedy_text_of_three_blocks_equals_the_loop_without_a_cache(family, length):
    model = random_model(**FAMILIES[family])
    assert torch.equal(written(model, prompt(2, length), 3 * BLOCK),
                       naive(model, prompt(2, length), 3 * BLOCK))


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('block_size', [1, 2, 7, 8])
def test_G4_drawn_text_equals_the_loop_without_a_cache(family, block_size):
    model, noise = random_model(block_size=block_size, **FAMILIES[family]), make_noise(5, range(3), 3 * BLOCK)

    def draw(logits, text): # the first token that, with those before it, has more than the noise
        edges = (logits / 0.7).double().softmax(-1).cumsum(-1)
        return (edges > noise[:, text.size(1) - 2, None]).int().argmax(-1)

    mine = written(model, prompt(3, 2), 3 * BLOCK, Sampling(0.7), noise=noise)
    assert torch.equal(mine, naive(model, prompt(3, 2), 3 * BLOCK, draw))


@pytest.mark.parametrize('family', FAMILIES)
def test_G4_a_token_costs_more_than_the_one_before_it_only_by_looking_at_one_more(family):
    model, counts = random_model(block_size=64, **FAMILIES[family]), []
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        steps = generate(model, prompt(1, 4), 60)
        while len(counts) < 30:
            with FlopCounterMode(display=False) as counter:
                next(steps)
            counts.append(counter.get_total_flops())
    a_look = 2 * 2 * SHAPE['n_layer'] * SHAPE['n_embd'] # a product and a sum, with its key and with its value
    assert set(np.diff(counts[1:])) == {a_look} # the first reads the prompt
    assert counts[1] < counts[0]


@pytest.mark.parametrize('family', ['modern', 'grouped', 'gpt2'])
@pytest.mark.parametrize('how', [GREEDY, Sampling(0.8, top_k=9, repetition_penalty=1.3)])
def test_a_batch_of_different_lengths_and_samples_writes_what_each_would_alone(family, how):
    model, noise = random_model(block_size=40, **FAMILIES[family]), make_noise(3, range(3), 25)
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 0, 0], [0, 0, 2]] # 0 is what the others are filled up with
    idx, padding = padded(prompts, 'cpu')
    together = written(model, idx, 25, how, samples=3, noise=noise.repeat(4, 1), padding=padding)
    alone = [written(model, torch.tensor([ids]), 25, how, noise=row[None])
             for ids in prompts for row in noise]
    assert torch.equal(together, torch.cat(alone))
    assert len({tuple(row.tolist()) for row in together}) == (4 if how == GREEDY else 12)


@pytest.mark.parametrize('family', ['modern', 'gpt2'])
@pytest.mark.parametrize('count', [5, 20]) # with 20, some outgrow the context
def test_texts_in_batches_equal_those_written_one_by_one_in_their_order(family, count):
    model, how = random_model(block_size=16, **FAMILIES[family]), Sampling(1.2, min_p=0.01)
    alone = [text for each in PROMPTS for text in generate_texts(model, LETTERS, [each], 2, count, how)]
    for size in (3, 16):
        assert generate_texts(model, LETTERS, PROMPTS, 2, count, how, batch_size=size) == alone
    assert [text.prompt for text in alone] == [each for each in PROMPTS for _ in range(2)]
    assert len({text.text for text in alone}) == 12 # 'a' is there twice, and then writes the same


def test_a_text_does_not_depend_on_how_many_are_written_beside_it():
    model, how = random_model(block_size=32), Sampling(1.0)
    few, many = (generate_texts(model, LETTERS, ['the '], samples, 20, how) for samples in (2, 5))
    assert many[:2] == few


def test_the_prompt_is_read_once_for_all_samples_and_then_a_token_at_a_time():
    model = random_model(block_size=40)
    shapes = count_reads(model)
    written(model, prompt(2, 9), 4, Sampling(1.0), samples=3, noise=make_noise(0, range(6), 4))
    assert shapes == [(2, 9), (6, 1), (6, 1), (6, 1)]


def test_a_compiler_gets_one_program_for_all_tokens_after_the_prompt(monkeypatch):
    programs = []

    def remember(graph, inputs):
        programs.append(graph)
        return graph.forward

    torch.compiler.reset()
    step = torch.compile(next_logits, backend=remember, dynamic=False, fullgraph=True)
    monkeypatch.setattr('generate.compiled_logits', lambda on_gpu: step)
    model, before = random_model(block_size=16), prompt(2, 9)
    assert torch.equal(written(model, before, 40, compiled=True), naive(model, before, 40))
    assert len(programs) == 1
    torch.compiler.reset()


def as_qwen3(ours):
    """A modern model as transformers' Qwen3."""
    transformers, c = pytest.importorskip('transformers'), ours.config
    theirs = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(
        vocab_size=c.vocab_size, max_position_embeddings=c.block_size, num_hidden_layers=c.n_layer,
        hidden_size=c.n_embd, intermediate_size=ours.transformer.h[0].mlp.c_proj.in_features,
        num_attention_heads=c.n_head, num_key_value_heads=c.kv_heads, head_dim=c.head_dim,
        rms_norm_eps=1e-6, rope_parameters={'rope_type': 'default', 'rope_theta': c.rope_theta},
        attention_bias=False, tie_word_embeddings=False)).eval()
    # a norm of the embedding is a table whose rows are normalised; our norms have no gains, theirs stay 1
    table = torch.nn.functional.rms_norm(ours.transformer.wte.weight, (c.n_embd,), eps=1e-6)
    state = {'model.embed_tokens.weight': table, 'lm_head.weight': ours.lm_head.weight}
    for i, block in enumerate(ours.transformer.h):
        q, k, v = block.attn.c_attn.weight.split(ours.stacked_rows('transformer.h.0.attn.c_attn.weight'))
        gate, up = block.mlp.c_fc.weight.chunk(2)
        names = {'self_attn.q_proj': q, 'self_attn.k_proj': k, 'self_attn.v_proj': v,
                 'self_attn.o_proj': block.attn.c_proj.weight, 'mlp.gate_proj': gate, 'mlp.up_proj': up,
                 'mlp.down_proj': block.mlp.c_proj.weight}
        state |= {f'model.layers.{i}.{name}.weight': w for name, w in names.items()}
    missing, unknown = theirs.load_state_dict(state, strict=False)
    assert all('norm' in name for name in missing) and not unknown
    return theirs


def pair(family):
    """The same weights in our model and in theirs."""
    if family == 'gpt2':
        transformers = pytest.importorskip('transformers')
        torch.manual_seed(0)
        theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(
            vocab_size=29, n_positions=48, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2,
            bos_token_id=0, eos_token_id=0)).eval()
        return build(from_transformers(theirs)).eval(), theirs
    ours = random_model(block_size=48, n_kv_head=2)
    return ours, as_qwen3(ours)


@pytest.mark.parametrize('family', ['gpt2', 'modern'])
def test_greedy_texts_of_a_padded_batch_equal_those_of_transformers(family):
    ours, theirs = pair(family)
    idx, padding = padded([[3, 1, 4, 1, 5, 9], [2, 6], [28, 17, 7]], 'cpu')
    mask = torch.arange(6) >= padding[:, None]
    with torch.no_grad():
        found = theirs.generate(idx, attention_mask=mask.long(), max_new_tokens=40, min_new_tokens=40,
                                do_sample=False, pad_token_id=0, eos_token_id=None)
    assert torch.equal(written(ours, idx, 40, padding=padding), found[:, 6:])
    assert len({tuple(row) for row in found[:, 6:].tolist()}) == 3


# ---- which token ----

PLACES = 2000 # draws at evenly spaced noise, so a share is wrong by one draw at most


def shares(logits, how, seen=()):
    """How often each token is picked from logits, float32 (V,)."""
    noise = (torch.arange(PLACES) + 0.5) / PLACES
    mask = torch.zeros(PLACES, len(logits), dtype=torch.bool)
    mask[:, list(seen)] = True
    picked = pick_token(logits.expand(PLACES, -1), how, noise, mask)
    return torch.bincount(picked, minlength=len(logits)).double() / PLACES


def definition(logits, how, seen=()):
    """The probability of each token, step by step as the papers have it, without tensors."""
    logits, penalty = logits.tolist(), how.repetition_penalty
    for i in seen:
        logits[i] = logits[i] / penalty if logits[i] > 0 else logits[i] * penalty
    weights = [math.exp(x / how.temperature) for x in logits]
    order = sorted(range(len(weights)), key=lambda i: -weights[i])
    if how.top_k:
        kept = [i for i in order if weights[i] >= weights[order[:how.top_k][-1]]]
        weights = [w * (i in kept) for i, w in enumerate(weights)]
    total, kept = 0, []
    while total < how.top_p * sum(weights) and len(kept) < len(order):
        kept.append(order[len(kept)])
        total += weights[kept[-1]]
    weights = [w * (i in kept and w >= how.min_p * max(weights)) for i, w in enumerate(weights)]
    return torch.tensor(weights, dtype=torch.float64) / sum(weights)


def in_words(how):
    return ' '.join(f'{name}={x}' for name, x in vars(how).items() if x != getattr(Sampling, name))


@pytest.mark.parametrize('how', [
    Sampling(), Sampling(0.3), Sampling(2.5), Sampling(top_k=1), Sampling(top_k=2), Sampling(top_k=29),
    Sampling(top_k=30), Sampling(top_k=1000), Sampling(top_p=1e-50), Sampling(top_p=0.3),
    Sampling(top_p=0.9), Sampling(top_p=0.999), Sampling(min_p=0.05),
    Sampling(min_p=0.5), Sampling(min_p=1.0),
    Sampling(repetition_penalty=1.5), Sampling(repetition_penalty=0.5),
    Sampling(0.7, top_k=12, top_p=0.8, min_p=0.1, repetition_penalty=1.4),
    Sampling(1.8, top_k=20, top_p=0.7, min_p=0.3, repetition_penalty=3.0)], ids=in_words)
@pytest.mark.parametrize('seed', range(3))
def test_tokens_are_picked_as_often_as_the_plain_definitions_say(how, seed):
    logits = 2 * torch.randn(30, generator=torch.Generator().manual_seed(seed))
    found, expected = shares(logits, how, seen=(0, 3, 5, 17)), definition(logits, how, seen=(0, 3, 5, 17))
    assert (found[expected == 0] == 0).all()
    assert (found - expected).abs().max() < 2 / PLACES


def test_top_k_lets_through_what_is_as_likely_as_the_last_of_the_k():
    logits = torch.tensor([1.0, 3.0, 2.0, 2.0, 2.0, 0.0])
    assert (shares(logits, Sampling(top_k=2)) > 0).tolist() == [False, True, True, True, True, False]
    assert (shares(logits, Sampling(top_k=1)) > 0).tolist() == [False, True, False, False, False, False]


@pytest.mark.parametrize('temperature', [0, 1e-30, 1e-300])
def test_G2_a_temperature_of_zero_or_nearly_takes_the_likeliest(temperature):
    logits = torch.tensor([[2.0, -1.0, 3.0, 2.999], [-5.0, -4.0, -6.0, -7.0]])
    assert pick_token(logits, Sampling(temperature), torch.tensor([0.9, 0.9])).tolist() == [2, 1]


@pytest.mark.parametrize('how', [Sampling(), Sampling(top_k=3), Sampling(top_p=0.6), Sampling(min_p=0.3)],
                         ids=in_words)
def test_noise_at_either_end_draws_no_token_of_probability_zero(how):
    logits = 3 * torch.randn(100, 40, generator=torch.Generator().manual_seed(0))
    logits[:, [0, 1, 38, 39]] = -math.inf
    odds = torch.stack([definition(row, how) for row in logits])
    for noise in (0.0, np.nextafter(np.float32(1), np.float32(0))):
        picked = pick_token(logits, how, torch.full((100,), float(noise)))
        assert (odds.gather(1, picked[:, None]) > 0).all()


def test_draws_follow_the_distribution():
    logits, draws = torch.randn(20, generator=torch.Generator().manual_seed(1)), 20_000
    noise = make_noise(7, range(10), draws // 10).flatten()
    expected = draws * definition(logits, Sampling(1.5))
    found = torch.bincount(pick_token(logits.expand(draws, -1), Sampling(1.5), noise), minlength=20)
    chi_square = ((found - expected) ** 2 / expected).sum()
    assert 5 < chi_square < 50 # 19 degrees of freedom: outside in 4 of 10,000 cases


def test_noise_depends_on_the_seed_and_the_row_alone():
    assert torch.equal(make_noise(1, [2, 0], 9), make_noise(1, range(3), 9)[[2, 0]])
    assert torch.equal(make_noise(1, [2], 5), make_noise(1, [2], 9)[:, :5])
    rows = [make_noise(seed, [row], 9)[0] for seed in range(3) for row in range(3)]
    assert len({tuple(row.tolist()) for row in rows}) == 9
    assert all(0 <= x < 1 for row in rows for x in row)


def test_the_same_seed_writes_the_same_texts_and_another_seed_others():
    model = random_model()
    first, again, other = (generate_texts(model, LETTERS, ['a', 'b'], 2, 20, Sampling(), seed)
                           for seed in (1, 1, 2))
    assert first == again and all(a.text != b.text for a, b in zip(first, other, strict=True))


def test_writing_leaves_the_generator_of_torch_alone():
    model, before = random_model(), torch.get_rng_state()
    generate_texts(model, LETTERS, ['a'], 2, 20, Sampling())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize('penalty', [0.5, 1.2, 5.0])
def test_the_penalty_is_for_what_the_prompt_and_the_text_so_far_have(penalty):
    model, before = random_model(), prompt(3, 5)

    def choose(logits, text):
        for row, seen in zip(logits, text, strict=True):
            for i in set(seen.tolist()):
                row[i] = row[i] / penalty if row[i] > 0 else row[i] * penalty
        return logits.argmax(-1)

    mine = written(model, before, 3 * BLOCK, Sampling(0.0, repetition_penalty=penalty))
    assert torch.equal(mine, naive(model, before, 3 * BLOCK, choose))
    assert not torch.equal(mine, naive(model, before, 3 * BLOCK))


@pytest.mark.parametrize('how', [GREEDY, Sampling(), Sampling(50.0), Sampling(1.0, 7, 0.9, 0.1, 2.0)],
                         ids=in_words)
def test_a_model_with_a_padded_vocabulary_writes_only_tokens_that_exist(how):
    model, before, noise = random_model(), prompt(4, 3) % 20, make_noise(0, range(4), 40)
    with torch.no_grad():
        model.lm_head.weight[20:] *= 10 # what is padding wants to be written
    assert written(model, before, 40, how, noise=noise).max() >= 20
    assert written(model, before, 40, how, noise=noise, n_vocab=20).max() < 20


@pytest.mark.parametrize('how', [GREEDY, Sampling(1.3, top_k=5, repetition_penalty=1.5)])
def test_log_probabilities_are_those_of_the_model_however_it_was_drawn(how):
    model = random_model(block_size=40)
    for text in generate_texts(model, LETTERS, ['the cat', 'a', ''], 2, 20, how, logprobs=True):
        expected = logprobs_of(model, prompt_ids(LETTERS, text.prompt), text.ids)
        assert np.abs(np.subtract(text.logprobs, expected)).max() < 1e-4
        assert len(text.logprobs) == 20


@pytest.mark.parametrize('write', [generate_guessing, beam_search, generate])
def test_a_model_that_computes_no_numbers_ends_in_one_line(write):
    model = random_model()
    with torch.no_grad():
        model.lm_head.weight[3] = math.inf
    with pytest.raises(SystemExit, match='not finite') as error:
        list(write(model, prompt(1, 3), 5, 1) if write == beam_search else write(model, prompt(1, 3), 5))
    assert '\n' not in str(error.value)


# ---- beams ----

def rank(tokens, score, length_penalty):
    return score / len(tokens) ** length_penalty


@pytest.mark.parametrize('family', ['modern', 'gpt2'])
@pytest.mark.parametrize('length', [1, BLOCK, 2 * BLOCK + 3])
def test_one_beam_is_the_greedy_text_and_its_log_probability_the_models_own(family, length):
    model, before = random_model(**FAMILIES[family]), prompt(1, length)
    tokens, score = beam_search(model, before, 2 * BLOCK, 1)
    assert tokens == written(model, before, 2 * BLOCK)[0].tolist()
    assert abs(score - sum(logprobs_of(model, before[0].tolist(), tokens))) < 1e-3


@pytest.mark.parametrize('length_penalty', [0.0, 1.0])
def test_beams_never_find_less_than_the_greedy_text(length_penalty):
    better = 0
    for seed in range(15):
        model, before = random_model(seed=seed), prompt(1, 3, seed)
        greedy = written(model, before, 6, stop_tokens={3, 8})[0].tolist()
        bar = rank(greedy, sum(logprobs_of(model, before[0].tolist(), greedy)), length_penalty)
        for num_beams in (2, 3, 5):
            shapes = count_reads(model)
            tokens, score = beam_search(model, before, 6, num_beams, length_penalty, {3, 8})
            assert max(rows for rows, _ in shapes) == num_beams
            assert abs(score - sum(logprobs_of(model, before[0].tolist(), tokens))) < 1e-3
            assert rank(tokens, score, length_penalty) > bar - 1e-4
            better += tokens != greedy
    assert better > 15 # of 45


@torch.no_grad()
def plain_beams(model, ids, count, num_beams, length_penalty, stops):
    """Beam search by its definition, in lists, each text read from its beginning."""
    beams, ended = [((), 0.0)], []
    for step in range(1, count + 1):
        grown = []
        for text, score in beams:
            logprobs = model(torch.tensor([[*ids, *text]]))[0, -1].log_softmax(-1).tolist()
            grown.append([(text + (token,), score + x) for token, x in enumerate(logprobs)])
        greedy, every = max(grown[0], key=lambda beam: beam[1]), list(itertools.chain(*grown))
        ended += [(text, score) for text, score in every if text[-1] in stops or step == count]
        going = sorted((beam for beam in every if beam[0][-1] not in stops), key=lambda beam: -beam[1])
        beams = sorted(going, key=lambda beam: beam is not greedy)[:num_beams]
    return max(ended, key=lambda beam: rank(*beam, length_penalty))


@pytest.mark.parametrize('length_penalty', [0.0, 1.0])
@pytest.mark.parametrize('stops', [(), (0, 5, 9, 12)])
@pytest.mark.parametrize('num_beams', [2, 5])
def test_beams_find_what_the_plain_definition_does(num_beams, stops, length_penalty):
    for seed in range(10):
        model, ids = random_model(16, 16, seed, n_kv_head=2), [seed, 3, 8]
        tokens, score = beam_search(model, torch.tensor([ids]), 5, num_beams, length_penalty, stops)
        text, expected = plain_beams(model, ids, 5, num_beams, length_penalty, stops)
        assert tuple(tokens) == text and abs(score - expected) < 1e-4


@pytest.mark.parametrize('length_penalty', [0.0, 1.0, 2.5])
@pytest.mark.parametrize('stops', [(), (1, 3)])
@pytest.mark.parametrize('length', [2, BLOCK - 1])
def test_enough_beams_find_the_best_of_all_texts(length, stops, length_penalty):
    model, ids = random_model(vocab_size=4, seed=6), [i * i % 4 for i in range(length)]
    every = itertools.chain(*(itertools.product(range(4), repeat=n) for n in (1, 2, 3)))
    texts = [text for text in every if not set(text[:-1]) & set(stops)
             and (len(text) == 3 or text[-1] in stops)]
    scores = {text: sum(logprobs_of(model, ids, text)) for text in texts}
    best = max(texts, key=lambda text: rank(text, scores[text], length_penalty))
    tokens, score = beam_search(model, torch.tensor([ids]), 3, 64, length_penalty, stops)
    assert tuple(tokens) == best and abs(score - scores[best]) < 1e-4


# ---- guesses ----

@pytest.mark.parametrize('family', ['grouped', 'gpt2'])
@pytest.mark.parametrize('stops', [(), (4, 7, 20)])
@pytest.mark.parametrize('length', [1, 5, BLOCK, 2 * BLOCK + 3])
def test_guessing_writes_what_greedy_writing_does(family, stops, length):
    model, before = random_model(seed=length, **FAMILIES[family]), prompt(1, length)
    expected = written(model, before, 3 * BLOCK, stop_tokens=stops)
    for guesses in range(1, 10):
        mine = generate_guessing(model, before, 3 * BLOCK, guesses, stops)
        assert torch.equal(torch.stack(list(mine), dim=1), expected)


def test_guessing_skips_what_is_padding_of_the_vocabulary():
    model, before = random_model(), prompt(1, 3)
    with torch.no_grad():
        model.lm_head.weight[20:] *= 10
    mine = torch.stack(list(generate_guessing(model, before, 20, n_vocab=20)), dim=1)
    assert torch.equal(mine, written(model, before, 20, n_vocab=20))


def test_where_a_text_repeats_itself_guessing_reads_fewer_times_than_it_writes_tokens():
    model, before = random_model(block_size=128), prompt(1, 4)
    text = written(model, before, 100)[0].tolist()
    assert len(set(itertools.pairwise(text))) == 2 # two words, over and over
    shapes = count_reads(model)
    assert len(list(generate_guessing(model, before, 100, 5))) == 100
    assert len(shapes) <= 20 # 17 would be best


def test_what_is_looked_up_followed_the_longest_ending_where_it_came_last():
    for seed in range(300):
        rng = np.random.default_rng(seed)
        text = ''.join(rng.choice(list('ab' if seed % 2 else 'abcdef'), rng.integers(1, 25)))
        ends = [n for n in (3, 2, 1) if n < len(text) and text[-n:] in text[:-1]]
        after = text[:-1].rfind(text[-ends[0]:]) + ends[0] if ends else len(text)
        for count in (0, 1, 3, 50):
            circle = itertools.cycle(text[after:])
            assert look_up(list(text), count) == list(itertools.islice(circle, count))
        assert look_up(list(text), -1) == []


# ---- the end of a text ----

def test_G5_a_text_that_has_ended_stays_ended_and_writing_stops_when_all_have():
    model, stops, noise = random_model(), (3, 11), make_noise(0, range(4), 500)
    tokens = written(model, prompt(4, 3), 500, Sampling(1.5), noise=noise, stop_tokens=stops)
    without = written(model, prompt(4, 3), 500, Sampling(1.5), noise=noise)
    ends = [next(i for i, token in enumerate(row) if token in stops) for row in without.tolist()]
    assert len(set(ends)) == 4 and tokens.size(1) == max(ends) + 1
    for row, whole, end in zip(tokens, without, ends, strict=True):
        assert torch.equal(row[:end], whole[:end]) and (row[end:] == whole[end]).all()
    assert len({row[-1].item() for row in tokens}) == 2 # some end with the one, some with the other


def test_nothing_is_written_when_nothing_is_asked_for():
    assert list(generate(random_model(), prompt(2, 3), 0)) == []
    assert list(generate_guessing(random_model(), prompt(1, 3), 0)) == []
    assert generate_texts(random_model(), LETTERS, ['a'], 2, 0) == [Text('a'), Text('a')]


def decoded(tokenizer, ids, stops=()):
    """(Text, pieces) of a text that has these ids."""
    text, pieces = Text(''), []
    decoder = Decoder(text, tokenizer, stops, pieces.append)
    for token in ids:
        decoder.add(token)
    decoder.end()
    return text, pieces


@pytest.mark.parametrize('stops, text, pieces', [
    (['x'], 'ababcab', list('ababcab')), # one that is never reached
    (['c'], 'abab', list('abab')),
    (['bc'], 'aba', ['a', 'ba']), # what might be its beginning is shown when it is not
    (['abc'], 'ab', ['ab']),
    (['ca', 'bab'], 'a', ['a']), # the first that is complete
    (['a'], '', []),
    (['cabab'], 'ababcab', ['a', 'b', 'a', 'b', 'cab'])]) # an end that might have been the beginning of one
def test_a_text_ends_before_a_stop_string_and_what_may_be_one_waits(stops, text, pieces):
    found, shown = decoded(LETTERS, LETTERS.encode('ababcab'), stops)
    assert (found.text, shown) == (text, pieces)


def test_of_two_stop_strings_in_one_token_the_first_ends_the_text():
    tokenizer = train_bpe(['abcd abcd'], n_vocab=300)
    ids = tokenizer.encode('abcd')
    assert len(ids) == 1 and decoded(tokenizer, ids, ['d', 'b'])[0].text == 'a'


@pytest.mark.parametrize('seed', range(6))
def test_pieces_add_up_to_the_text_for_any_bytes_and_stop_strings(seed):
    rng, tokenizer = np.random.default_rng(seed), train_bpe(['né — ☃ 好 né'] * 3, n_vocab=262)
    likely = tokenizer.encode('né — ☃ 好') + list('né☃好'.encode()) # characters in one token, and cut
    for _ in range(60):
        ids = [int(rng.choice(likely) if rng.random() < 0.9 else rng.integers(tokenizer.eot))
               for _ in range(30)]
        whole = tokenizer.decode(ids)
        stops = [whole[i:i + rng.integers(1, 4)] for i in rng.integers(5, len(whole) + 9, 2)]
        stops = [stop for stop in stops if stop and '\ufffd' not in stop]
        starts = (tokenizer.decode(ids[:n]) for n in range(1, len(ids) + 1))
        expected = next((text[:min(text.find(stop) for stop in stops if stop in text)] for text in starts
                         if any(stop in text for stop in stops)), whole)
        text, pieces = decoded(tokenizer, ids, stops)
        assert text.text == ''.join(pieces) == expected
        assert text.ids == ids[:len(text.ids)]


def test_a_character_of_several_tokens_is_shown_whole_and_an_unfinished_one_at_the_end():
    tokenizer = train_bpe(['x'], n_vocab=257)
    assert decoded(tokenizer, list('a☃b'.encode()))[1] == ['a', '☃', 'b']
    assert decoded(tokenizer, list('☃'.encode())[:2])[1] == ['\ufffd']


def test_G5_a_text_holds_neither_the_separator_nor_what_follows_it():
    tokenizer = train_bpe(['ab'], n_vocab=257)
    text, pieces = decoded(tokenizer, [*b'ab', tokenizer.eot, *b'ba'])
    assert (text.text, text.ids, pieces) == ('ab', [*b'ab'], ['a', 'b'])


def test_G5_texts_end_where_their_documents_do_and_have_a_log_probability_for_each_token():
    tokenizer = train_bpe(['ab abc é — '] * 3, n_vocab=262)
    model = random_model(tokenizer.n_vocab)
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eot] *= 4 # likes to end
    texts = generate_texts(model, tokenizer, [''], 8, 200, Sampling(2.0), logprobs=True)
    assert not any('endoftext' in text.text or tokenizer.eot in text.ids for text in texts)
    assert len({len(text.ids) for text in texts}) > 3
    assert all(len(text.ids) == len(text.logprobs) < 200 for text in texts)


@pytest.mark.parametrize('seed', range(4))
def test_what_is_streamed_is_the_first_text_with_and_without_a_stop_string(seed):
    tokenizer = train_bpe(['né — ☃ 好'] * 3, n_vocab=260) # nearly single bytes, so characters are cut
    model = random_model(tokenizer.n_vocab, seed=seed)
    with torch.no_grad(): # much of what such a model writes is no text, and some is
        model.lm_head.weight[list('né — ☃ 好'.encode())] *= 3
    whole, ended, words = [], [], (model, tokenizer, ['☃', 'n'], 2, 50, Sampling(), seed)
    first = generate_texts(*words, on_piece=whole.append)[0].text
    assert ''.join(whole) == first and len(whole) > 5 # while it is written, not at the end
    stop = next(first[i:i + 2] for i in range(10, len(first)) if '\ufffd' not in first[i:i + 2])
    text = generate_texts(*words, stops=[stop], on_piece=ended.append)[0].text
    assert ''.join(ended) == text == first[:first.index(stop)]
    held = []
    generate_texts(*words, stops=[first[-1] + '~'], on_piece=held.append)
    assert ''.join(held) == first # its last character might have been the beginning of a stop string


def test_no_more_is_written_when_all_texts_have_reached_a_stop_string():
    model = random_model(block_size=32)
    ends = [text.text.index('a') for text in generate_texts(model, LETTERS, ['b'], 3, 300, Sampling(2.0))]
    shapes = count_reads(model)
    generate_texts(model, LETTERS, ['b'], 3, 300, Sampling(2.0), stops=['a'])
    assert len(shapes) == max(ends) + 1 < 200


@pytest.mark.parametrize('text, expected', [('ab', [1, 2]), ('', [0])])
def test_G3_a_prompt_without_a_separator_is_never_empty(text, expected):
    assert prompt_ids(CharTokenizer('\nab'), text) == expected
    assert prompt_ids(CharTokenizer('ab'), '') == [0]


def test_G3_a_prompt_begins_with_the_separator_where_there_is_one():
    tokenizer = train_bpe(['ab'], n_vocab=257)
    assert prompt_ids(tokenizer, '') == [tokenizer.eot]
    assert prompt_ids(tokenizer, 'ab') == [tokenizer.eot, *b'ab']
