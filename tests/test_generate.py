"""Writing token by token, against a loop that has no cache and against the plain definitions."""
import math
from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from data.tokenizer import CharTokenizer, train_bpe
from generate import generate, generate_texts, pick_token, prompt_ids
from model import GPT, GPTConfig

BLOCK = 8
SHAPE = dict(n_layer=2, n_head=4, n_embd=32)
FAMILIES = {'modern': {}, 'grouped': {'n_kv_head': 2}, 'tied': {'tie_weights': True},
            'gpt2': {'arch': 'gpt2'}}


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


def written(model, idx, count, **how):
    return torch.stack(list(generate(model, idx, count, **how)), dim=1)


@torch.no_grad()
def naive(model, idx, count, choose):
    """Every token from the whole context; one longer than block_size goes on with its last half block."""
    tokens = []
    for _ in range(count):
        if idx.size(1) > model.config.block_size:
            idx = idx[:, -max(1, model.config.block_size // 2):]
        tokens.append(choose(model(idx)[:, -1]))
        idx = torch.cat((idx, tokens[-1][:, None]), dim=1)
    return torch.stack(tokens, dim=1)


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('length', [1, 3, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_G4_greedy_text_of_three_blocks_equals_the_loop_without_a_cache(family, length):
    model = random_model(**FAMILIES[family])
    mine = written(model, prompt(2, length), 3 * BLOCK, temperature=0)
    assert torch.equal(mine, naive(model, prompt(2, length), 3 * BLOCK, lambda logits: logits.argmax(-1)))


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('block_size', [1, 2, 7, 8])
def test_G4_drawn_text_equals_the_loop_without_a_cache(family, block_size):
    model = random_model(block_size=block_size, **FAMILIES[family])
    generator = torch.Generator().manual_seed(5)
    expected = naive(model, prompt(3, 2), 3 * BLOCK, lambda logits: torch.multinomial(
        (logits / 0.7).softmax(-1), 1, generator=generator)[:, 0])
    assert torch.equal(written(model, prompt(3, 2), 3 * BLOCK, temperature=0.7,
                               generator=torch.Generator().manual_seed(5)), expected)


@pytest.mark.parametrize('family', FAMILIES)
def test_G4_a_token_costs_the_same_at_the_beginning_and_at_the_end_of_the_context(family):
    model, counts = random_model(block_size=64, **FAMILIES[family]), []
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        steps = generate(model, prompt(1, 4), 60)
        while len(counts) < 60:
            with FlopCounterMode(display=False) as counter:
                next(steps)
            counts.append(counter.get_total_flops())
    assert len(set(counts[1:])) == 1 # the first reads the prompt
    assert counts[1] < counts[0]


def test_a_batch_writes_what_each_of_its_texts_would_be_alone():
    model = random_model()
    together = written(model, prompt(5, 3), 3 * BLOCK, temperature=0)
    alone = [written(model, prompt(5, 3)[i:i + 1], 3 * BLOCK, temperature=0) for i in range(5)]
    assert torch.equal(together, torch.cat(alone))
    assert len({tuple(row.tolist()) for row in together}) > 1


def test_the_same_seed_writes_the_same_text_and_another_seed_another():
    model = random_model()
    first, again, other = (written(model, prompt(2, 3), 20, generator=torch.Generator().manual_seed(seed))
                           for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_writing_leaves_the_generator_of_torch_alone():
    model, before = random_model(), torch.get_rng_state()
    written(model, prompt(2, 3), 20, generator=torch.Generator().manual_seed(1))
    generate_texts(model, CharTokenizer('ab'), 'a', 2, 20)
    assert torch.equal(torch.get_rng_state(), before)


# ---- which token ----

LOGITS = torch.tensor([2.0, -1.0, 0.5, 3.0, 0.5, -4.0, 1.0, 2.5])
DRAWS = 20_000


def frequencies(**how):
    """How often each token is drawn from LOGITS."""
    drawn = pick_token(LOGITS.expand(DRAWS, -1), generator=torch.Generator().manual_seed(0), **how)
    return torch.bincount(drawn, minlength=len(LOGITS)) / DRAWS


def chances(allowed, temperature=1.0):
    """The probabilities by definition: e^(logit / temperature) over their sum, for the tokens allowed."""
    weights = [math.exp(logit / temperature) * (i in allowed) for i, logit in enumerate(LOGITS.tolist())]
    return torch.tensor(weights) / sum(weights)


def assert_drawn_as(found, expected):
    assert (found[expected == 0] == 0).all()
    assert (found - expected).abs().max() < 4 * 0.5 / math.sqrt(DRAWS) # four standard deviations of a share


@pytest.mark.parametrize('temperature', [0.3, 1.0, 2.0])
def test_temperature_divides_the_logits(temperature):
    assert_drawn_as(frequencies(temperature=temperature), chances(range(8), temperature))


def test_G2_a_temperature_of_zero_takes_the_likeliest():
    assert frequencies(temperature=0).tolist() == [0, 0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize('k', [1, 2, 4, 8, 100])
def test_top_k_draws_among_the_k_likeliest(k):
    likeliest = sorted(range(8), key=lambda i: -LOGITS[i])[:k]
    assert_drawn_as(frequencies(top_k=k), chances(likeliest))


@pytest.mark.parametrize('p', [1e-6, 0.3, 0.5, 0.75, 0.9, 0.999])
def test_top_p_draws_among_the_fewest_whose_chances_reach_p(p):
    allowed = []
    for i in sorted(range(8), key=lambda i: -LOGITS[i]):
        allowed.append(i)
        if chances(range(8))[allowed].sum() >= p:
            break
    assert_drawn_as(frequencies(top_p=p), chances(allowed))


@pytest.mark.parametrize('how', [{}, {'temperature': 0}, {'top_k': 7}, {'top_p': 0.999}, {'temperature': 50}])
def test_padding_of_the_vocabulary_is_never_drawn(how):
    found = frequencies(n_vocab=3, **how) # 3.0, the largest, is beyond
    assert found[:3].sum() == 1


@pytest.mark.parametrize('how', [{'temperature': 0}, {'temperature': 1.0, 'generator': None}])
def test_a_model_with_a_padded_vocabulary_writes_only_tokens_that_exist(how):
    model = random_model()
    with torch.no_grad():
        model.lm_head.weight[20:] *= 10 # what is padding wants to be written
    assert written(model, prompt(4, 3), 40, **how).max() >= 20
    assert written(model, prompt(4, 3), 40, n_vocab=20, **how).max() < 20


# ---- the end of a text ----

def test_G5_a_text_that_has_ended_stays_ended_and_writing_stops_when_all_have():
    model, stop = random_model(), 3
    how = dict(temperature=1.5, generator=torch.Generator().manual_seed(0))
    tokens = written(model, prompt(4, 3), 500, stop_token=stop, **how)
    ends = [row.index(stop) for row in tokens.tolist()]
    assert len(set(ends)) > 1 and tokens.size(1) == max(ends) + 1 < 500
    assert all((row[end:] == stop).all() for row, end in zip(tokens, ends, strict=True))


def test_nothing_is_written_when_nothing_is_asked_for():
    assert list(generate(random_model(), prompt(2, 3), 0)) == []
    assert generate_texts(random_model(), CharTokenizer('ab'), 'a', 2, 0) == ['', '']


def test_G5_no_text_holds_the_separator_or_what_follows_it():
    tokenizer = train_bpe(['ab abc é — '] * 3, n_vocab=262)
    model = random_model(tokenizer.n_vocab)
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eot] *= 4 # likes to end
    texts = generate_texts(model, tokenizer, '', 8, 200, temperature=2.0)
    assert not any('endoftext' in text for text in texts)
    assert len({len(text) for text in texts}) > 3


@pytest.mark.parametrize('seed', range(8))
def test_the_pieces_that_are_streamed_add_up_to_the_first_text(seed):
    tokenizer = train_bpe(['né — ☃ 好'] * 3, n_vocab=260) # nearly single bytes, so characters are cut
    model, pieces = random_model(tokenizer.n_vocab, seed=seed), []
    with torch.no_grad(): # much of what such a model writes is no text, and some is
        model.lm_head.weight[list('né — ☃ 好'.encode())] *= 3
    texts = generate_texts(model, tokenizer, '☃', 2, 50 + seed, seed=seed, on_piece=pieces.append)
    assert ''.join(pieces) == texts[0]
    assert len(pieces) > 5 # while it is written, not at the end


def test_a_character_of_several_tokens_is_streamed_whole():
    tokenizer, pieces = train_bpe(['x'], n_vocab=257), []
    model = GPT(GPTConfig(vocab_size=257, block_size=16, n_layer=1, n_head=1, n_embd=64)).eval()
    snow = list('☃'.encode()) # three tokens
    with torch.no_grad(): # each token names the next: after a byte of the snowman comes the one after it
        model.transformer.h[0].attn.c_proj.weight.zero_() # a block that adds nothing
        model.transformer.wte.weight.zero_()
        model.lm_head.weight.zero_()
        row = [tokenizer.eot, *snow, tokenizer.eot]
        for i, (token, follower) in enumerate(pairwise(row)):
            model.transformer.wte.weight[token, i] = 1
            model.lm_head.weight[follower, i] = 1
    texts = generate_texts(model, tokenizer, '', 1, 10, temperature=0, on_piece=pieces.append)
    assert texts == ['☃']
    assert [piece for piece in pieces if piece] == ['☃']


@pytest.mark.parametrize('text, expected', [('ab', [1, 2]), ('', [0])])
def test_G3_a_prompt_without_a_separator_is_never_empty(text, expected):
    assert prompt_ids(CharTokenizer('\nab'), text) == expected


def test_G3_a_prompt_begins_with_the_separator_where_there_is_one():
    tokenizer = train_bpe(['ab'], n_vocab=257)
    assert prompt_ids(tokenizer, '') == [tokenizer.eot]
    assert prompt_ids(tokenizer, 'ab') == [tokenizer.eot, *b'ab']
