"""Generation, against loops without a cache, plain definitions and exhaustive search."""
import itertools
import math
from functools import partial

import conftest
import numpy as np
import pytest
import torch

from data.tokenizer import CharTokenizer, train_bpe
from lib import generate as lib_generate
from lib.generate import Sampling, beam_search, generate, make_noise, prompt_lookup_decode, stream_texts

BLOCK = 8
FAMILIES = {'modern': {}, 'grouped': {'n_kv_head': 2}, 'gpt2': {'arch': 'gpt2', 'bias': True}}
TOKENIZER = CharTokenizer('\nabcdefghijklmnopqrstuvwxyz .') # 29 tokens
SEPARATED = train_bpe(['ab abc é — '] * 3, 262)
random_ids = partial(conftest.random_tokens, vocab_size=29, seed=0)
PROMPTS = ['the cat', '', 'a', 'zebra...', 'on the hill and on the hill', 'a', 'dog']


def random_model(vocab_size=29, block_size=BLOCK, seed=0, **more):
    shape = dict(vocab_size=vocab_size, block_size=block_size, n_layer=2, n_head=4, n_embd=32, **more)
    return conftest.random_model(seed, **shape)


def generated(model, idx, count, sampling=lib_generate.GREEDY, **more):
    return torch.stack(list(generate(model, idx, count, sampling, **more)), dim=1)


@torch.no_grad()
def naive(model, idx, count, choose=lambda logits, idx: logits.argmax(-1)):
    """Every token from the whole context, which is truncated to its last half when it outgrows block_size."""
    length, start = idx.size(1), 0
    for _ in range(count):
        if idx.size(1) - start > model.config.block_size:
            start = idx.size(1) - max(1, model.config.block_size // 2)
        idx = torch.cat((idx, choose(model(idx[:, start:])[:, -1], idx)[:, None]), dim=1)
    return idx[:, length:]


def logprobs_of(model, ids, tokens):
    """The log-probability of each of the tokens after ids, by the naive loop."""
    found = []

    def follow(logits, idx):
        token = tokens[len(found)]
        found.append(logits[0].log_softmax(-1)[token].item())
        return torch.tensor([token])

    naive(model, torch.tensor([ids]), len(tokens), follow)
    return found


def record_forward_passes(model):
    """A list that gets (rows, tokens read, keys that attention reads) of each forward pass with a cache."""
    passes, hidden_states = [], model.hidden_states

    def recorded(idx, cache):
        passes.append((*idx.shape, cache.kv_len))
        return hidden_states(idx, cache)

    model.hidden_states = recorded
    return passes


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('block_size, length', [(1, 2), (2, 1), (7, 2), (8, 8), (8, 9), (8, 19)])
def test_greedy_decoding_past_the_context_equals_the_loop_without_a_cache(family, block_size, length):
    model, idx = random_model(block_size=block_size, **FAMILIES[family]), random_ids(2, length)
    assert torch.equal(generated(model, idx, 24), naive(model, idx, 24))


@pytest.mark.parametrize('family', ['grouped', 'gpt2'])
@pytest.mark.parametrize('block_size, count', [(32, 5), (12, 20)]) # with 12, all outgrow the context
def test_completions_do_not_depend_on_the_batch_and_keep_the_order_of_the_prompts(family, block_size, count):
    model = random_model(block_size=block_size, **FAMILIES[family])
    sampling = Sampling(1.2, min_p=0.01, repetition_penalty=1.1)
    alone = [completion for prompt in PROMPTS
             for completion in lib_generate.generate_texts(model, TOKENIZER, [prompt], 2, count, sampling)]
    for size in 6, 99:
        assert list(stream_texts(model, TOKENIZER, PROMPTS, 2, count, sampling, batch_size=size)) == alone
    assert [completion.prompt for completion in alone] == [prompt for prompt in PROMPTS for _ in range(2)]
    assert len({completion.text for completion in alone}) == 12 # 'a' is there twice, with the same noise
    before = torch.get_rng_state()
    assert lib_generate.generate_texts(model, TOKENIZER, PROMPTS[:1], 5, count, sampling)[:2] == alone[:2]
    assert torch.equal(torch.get_rng_state(), before) # that of training is left alone


def test_a_prompt_is_read_once_for_all_samples_and_prompt_lookup_needs_fewer_forward_passes_than_tokens():
    model = random_model(block_size=40)
    passes = record_forward_passes(model)
    generated(model, random_ids(2, 9), 4, Sampling(), samples=3, noise=make_noise(0, range(6), 4))
    assert passes == [(2, 9, 9), (6, 1, 10), (6, 1, 11), (6, 1, 12)]
    model, idx = random_model(block_size=128), random_ids(1, 4)
    tokens = generated(model, idx, 100)[0].tolist()
    assert len(set(itertools.pairwise(tokens))) == 2 # two tokens, over and over
    passes = record_forward_passes(model)
    assert len(list(prompt_lookup_decode(model, idx, 100, 5))) == 100
    assert len(passes) <= 20 # 17 would be the minimum


def test_torch_compile_compiles_one_graph_for_prompts_of_any_length_and_padding(monkeypatch):
    graphs = []

    def remember(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(torch, 'compile', partial(torch.compile, backend=remember, fullgraph=True))
    model = random_model(block_size=16)
    for length in (1, 5, 9, 13):
        idx = random_ids(2, length)
        assert torch.equal(generated(model, idx, 30, compiled=True), naive(model, idx, 30))
    ids, padding = lib_generate.pad_left([[3, 1, 4, 1], [5, 9]], 'cpu')
    padded = generated(model, ids, 30, compiled=True, padding=padding)
    assert torch.equal(padded, generated(model, ids, 30, padding=padding))
    assert len(graphs) == 1
    torch.compiler.reset()


DRAWS = 2000 # at evenly spaced noise, so that a frequency is wrong by one draw at most


def frequencies(logits, sampling, seen=()):
    """How often each token is sampled from logits, float32 (V,)."""
    noise = (torch.arange(DRAWS) + 0.5) / DRAWS
    noise[0], noise[-1] = 0.0, float(np.nextafter(np.float32(1), np.float32(0))) # the ends of [0, 1)
    mask = torch.zeros(DRAWS, len(logits), dtype=torch.bool)
    mask[:, list(seen)] = True
    sampled = lib_generate.sample_token(logits.expand(DRAWS, -1), sampling, noise, mask)
    return torch.bincount(sampled, minlength=len(logits)).double() / DRAWS


def defined_probs(logits, sampling, seen=()):
    """The probability of each token, step by step as the papers define it, without tensors."""
    logits, penalty = logits.tolist(), sampling.repetition_penalty
    for i in seen:
        logits[i] = logits[i] / penalty if logits[i] > 0 else logits[i] * penalty
    weights = [math.exp((x - max(logits)) / (sampling.temperature or 1e-300)) for x in logits]
    order = sorted(range(len(weights)), key=lambda i: -weights[i])
    if sampling.top_k:
        kept = [i for i in order if weights[i] >= weights[order[:sampling.top_k][-1]]]
        weights = [w * (i in kept) for i, w in enumerate(weights)]
    total, kept = 0, []
    while total < sampling.top_p * sum(weights) and len(kept) < len(order):
        kept.append(order[len(kept)])
        total += weights[kept[-1]]
    weights = [w * (i in kept and w >= sampling.min_p * max(weights)) for i, w in enumerate(weights)]
    return torch.tensor(weights, dtype=torch.float64) / sum(weights)


@pytest.mark.parametrize('sampling', [Sampling(), Sampling(0.0), Sampling(1e-300), Sampling(0.3),
    Sampling(2.5), Sampling(top_k=1), Sampling(top_k=2), Sampling(top_k=29), Sampling(top_k=1000),
    Sampling(top_p=1e-50), Sampling(top_p=0.35), Sampling(top_p=0.9), Sampling(top_p=0.999),
    Sampling(min_p=0.05), Sampling(min_p=0.5), Sampling(min_p=1.0), Sampling(repetition_penalty=1.5),
    Sampling(repetition_penalty=0.5), Sampling(0.7, top_k=12, top_p=0.8, min_p=0.1, repetition_penalty=1.4),
    Sampling(1.8, top_k=20, top_p=0.7, min_p=0.3, repetition_penalty=3.0)], ids=str)
def test_tokens_are_sampled_with_the_probabilities_of_the_plain_definitions(sampling):
    for seed in range(2):
        logits = 2 * torch.randn(30, generator=torch.Generator().manual_seed(seed))
        logits[[0, 29]] = -math.inf
        logits[7] = logits.topk(2).values[1] # top_k=2 keeps all that are as probable as the last of the two
        found = frequencies(logits, sampling, seen=(0, 3, 5, 17))
        expected = defined_probs(logits, sampling, seen=(0, 3, 5, 17))
        assert (found[expected == 0] == 0).all()
        assert (found - expected).abs().max() < 2 / DRAWS


def test_noise_is_uniform_and_depends_on_the_seed_and_the_row_only():
    assert torch.equal(make_noise(1, [2, 0], 9), make_noise(1, range(3), 9)[[2, 0]])
    assert torch.equal(make_noise(1, [2], 5), make_noise(1, [2], 9)[:, :5])
    rows = [make_noise(seed, [row], 9)[0] for seed in range(3) for row in range(3)]
    assert len({tuple(row.tolist()) for row in rows}) == 9
    counts = make_noise(7, range(10), 1000).mul(20).long().flatten().bincount(minlength=20)
    assert len(counts) == 20 and 5 < ((counts - 500.0) ** 2 / 500).sum() < 50 # chi-square of 19 degrees


@pytest.mark.parametrize('penalty', [0.5, 1.2, 5.0])
def test_the_repetition_penalty_applies_to_all_tokens_so_far_but_the_separator(penalty):
    model, idx, separator, ends = random_model(), random_ids(8, 5) % 28, 28, set()
    idx[:, 0] = separator
    with torch.no_grad():
        model.lm_head.weight[separator] *= 2 # is probable at some point

    def choose(logits, idx):
        for row, seen in zip(logits, idx, strict=True):
            for i in set(seen.tolist()) - {separator}:
                row[i] = row[i] / penalty if row[i] > 0 else row[i] * penalty
        return logits.argmax(-1)

    found = generated(model, idx, 24, Sampling(0.0, repetition_penalty=penalty), stop_tokens={separator})
    for row, expected in zip(found.tolist(), naive(model, idx, 24, choose).tolist(), strict=True):
        end = [*expected, separator].index(separator)
        ends.add(end)
        assert row[:end] == expected[:end] and set(row[end:]) <= {separator}
    assert len(ends) > 1 and not torch.equal(found, generated(model, idx, 24, stop_tokens={separator}))


@pytest.mark.parametrize('decode', [lambda *args: generated(*args, n_vocab=20),
    lambda *args: generated(*args, Sampling(1.0, 7, 0.9, 0.1, 2.0), noise=make_noise(0, [0], 30), n_vocab=20),
    lambda *args: torch.stack(list(prompt_lookup_decode(*args, n_vocab=20)), dim=1),
    lambda *args: torch.tensor(beam_search(*args, 3, n_vocab=20)[0])],
    ids=['greedy', 'sampling', 'prompt lookup', 'beam search'])
def test_padding_of_the_vocabulary_is_never_generated(decode):
    model, idx = random_model(), random_ids(1, 3) % 20
    with torch.no_grad():
        model.lm_head.weight[20:] *= 10 # the padding is the most probable
    assert generated(model, idx, 30).max() >= 20
    assert decode(model, idx, 30).max() < 20


@pytest.mark.parametrize('decode', [prompt_lookup_decode, generate, lambda *args: beam_search(*args, 1)])
def test_logits_that_are_not_finite_end_in_one_line(decode):
    model = random_model()
    with torch.no_grad():
        model.lm_head.weight[3] = math.inf
    with pytest.raises(SystemExit, match='^generate: expected finite logits.*$'):
        list(decode(model, random_ids(1, 3), 5))


def beam_rank(tokens, score, length_penalty):
    return score / len(tokens) ** length_penalty


@torch.no_grad()
def plain_beam_search(model, ids, count, num_beams, length_penalty, stops):
    """Beam search by its definition, in lists, each sequence read from its start."""
    beams, ended = [((), 0.0)], []
    for step in range(1, count + 1):
        logprobs = model(torch.tensor([[*ids, *tokens] for tokens, _ in beams]))[:, -1].log_softmax(-1)
        grown = [[(tokens + (token,), score + x) for token, x in enumerate(row.tolist())]
                 for (tokens, score), row in zip(beams, logprobs, strict=True)]
        greedy, every = max(grown[0], key=lambda beam: beam[1]), list(itertools.chain(*grown))
        ended += [(tokens, score) for tokens, score in every if tokens[-1] in stops or step == count]
        alive = sorted((beam for beam in every if beam[0][-1] not in stops), key=lambda beam: -beam[1])
        beams = sorted(alive, key=lambda beam: beam is not greedy)[:num_beams]
    return max(ended, key=lambda beam: beam_rank(*beam, length_penalty))


@pytest.mark.parametrize('length_penalty', [0.0, 1.0])
@pytest.mark.parametrize('stops', [(), (0, 5, 9, 12)])
@pytest.mark.parametrize('num_beams', [1, 2, 5])
def test_beam_search_finds_what_the_plain_definition_finds(num_beams, stops, length_penalty):
    for seed in 0, 1, 26: # with 26, two beams without the greedy one would find a worse sequence
        model, ids = random_model(16, 16, seed, n_kv_head=2), [seed % 16, 3, 8]
        tokens, score = beam_search(model, torch.tensor([ids]), 5, num_beams, length_penalty, stops)
        expected, bar = plain_beam_search(model, ids, 5, num_beams, length_penalty, stops)
        assert tuple(tokens) == expected and abs(score - bar) < 1e-4


@pytest.mark.parametrize('stops', [(), (1, 3)])
@pytest.mark.parametrize('length', [2, BLOCK - 1]) # the second outgrows the context
def test_enough_beams_find_the_best_of_all_sequences(length, stops):
    model, ids = random_model(vocab_size=4, seed=6), [i * i % 4 for i in range(length)]
    every = itertools.chain(*(itertools.product(range(4), repeat=n) for n in (1, 2, 3)))
    candidates = [tokens for tokens in every if not set(tokens[:-1]) & set(stops)
                  and (len(tokens) == 3 or tokens[-1] in stops)]
    scores = {tokens: sum(logprobs_of(model, ids, tokens)) for tokens in candidates}
    for length_penalty in 0.0, 1.0, 2.5:
        best = max(candidates, key=lambda tokens: beam_rank(tokens, scores[tokens], length_penalty))
        tokens, score = beam_search(model, torch.tensor([ids]), 3, 64, length_penalty, stops)
        assert tuple(tokens) == best and abs(score - scores[best]) < 1e-4


@pytest.mark.parametrize('family', ['grouped', 'gpt2'])
@pytest.mark.parametrize('stops', [(), (4, 7, 20)])
@pytest.mark.parametrize('length', [1, BLOCK, 2 * BLOCK + 3])
def test_prompt_lookup_generates_what_greedy_decoding_does(family, stops, length):
    model, idx = random_model(seed=length, **FAMILIES[family]), random_ids(1, length)
    expected = generated(model, idx, 3 * BLOCK, stop_tokens=stops)
    for num_draft_tokens in 1, 2, 5, 9:
        found = prompt_lookup_decode(model, idx, 3 * BLOCK, num_draft_tokens, stops)
        assert torch.equal(torch.stack(list(found), dim=1), expected)


def test_the_draft_is_what_followed_the_latest_occurrence_of_the_longest_ngram():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        text = ''.join(rng.choice(list('ab' if seed % 2 else 'abcdef'), rng.integers(1, 25)))
        ends = [n for n in (3, 2, 1) if n < len(text) and text[-n:] in text[:-1]]
        after = text[:-1].rfind(text[-ends[0]:]) + ends[0] if ends else len(text)
        for count in (0, 1, 3, 50):
            repeated = itertools.cycle(text[after:])
            assert lib_generate.find_ngram_draft(list(text), count) == list(itertools.islice(repeated, count))


def test_completions_end_before_the_separator_or_a_stop_string_and_are_yielded_as_soon_as_they_are_complete():
    model = random_model(SEPARATED.n_vocab, block_size=256)
    with torch.no_grad():
        model.lm_head.weight[SEPARATED.eot] *= 4 # makes the separator probable
    passes, longest = record_forward_passes(model), 0
    for completion in stream_texts(model, SEPARATED, [''], 8, 200, Sampling(2.0), logprobs=True):
        assert 'endoftext' not in completion.text and SEPARATED.eot not in completion.ids
        assert len(completion.ids) == len(completion.logprobs) < 200
        longest = max(longest, len(completion.ids))
        assert len(passes) == longest + 1 # this one, or one before it, has just ended
    assert longest > 3
    passes = record_forward_passes(model := random_model(block_size=128))
    found = list(stream_texts(model, TOKENIZER, ['b'], 3, 120, Sampling(2.0), stops=['a']))
    assert len(passes) == max(len(each.ids) for each in found) < 100


def test_a_prompt_starts_with_the_separator_and_is_never_empty():
    eot, ids, prompt_ids = SEPARATED.eot, SEPARATED.encode('é'), lib_generate.prompt_ids
    assert [prompt_ids(SEPARATED, prompt) for prompt in ('', 'é')] == [[eot], [eot, *ids]]
    assert prompt_ids(CharTokenizer('\nab'), 'ab') == [1, 2]
    assert prompt_ids(CharTokenizer('\nab'), '') == prompt_ids(CharTokenizer('ab'), '') == [0]
