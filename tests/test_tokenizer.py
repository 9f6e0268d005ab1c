"""Text to ids and back: round trips, learning against a naive learner, descriptions from elsewhere."""
import functools
import json
import math
import os
import random
import string
import tempfile
import time
from collections import Counter
from itertools import pairwise

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from data.tokenizer import (
    PATTERN,
    SAMPLE,
    SEPARATOR,
    BPETokenizer,
    CharTokenizer,
    GPT2Tokenizer,
    from_json,
    learn_bpe,
    train_bpe,
)

TEXT = ("The fox said: \"I'm not lost, you're lost!\" and ran 1234567 miles... naïve café, "
        '東京 🙂👩‍👩‍👧, tabs\tand\r\nlines\n\n\n  indented\n' + SEPARATOR + ' no end. ') * 3
GPT2_FILES = ('6d1cbeee0f20b3d9449abfede4726ed8212e3aee', '6c7ea1a7e38e3a7f062df639a5b80947f075ffe6')
GPT2_FOLDER = os.environ.get('TIKTOKEN_CACHE_DIR', os.path.join(tempfile.gettempdir(), 'data-gym-cache'))
HAS_GPT2 = all(os.path.isfile(os.path.join(GPT2_FOLDER, name)) for name in GPT2_FILES)
needs_gpt2 = pytest.mark.skipif(not HAS_GPT2, reason="GPT-2's vocabulary is not in tiktoken's cache")


def small_text(seed, n_words=400):
    """Words of few letters in random order, so that many pairs are frequent and ties are common."""
    rng = random.Random(seed)
    words = [''.join(rng.choices('abcé', k=rng.randint(1, 6))) for _ in range(40)]
    return ' '.join(rng.choice(words) + rng.choice(['', '', ',', '.\n']) for _ in range(n_words))


@pytest.fixture(scope='module')
def bpe():
    return train_bpe([TEXT, small_text(0)], 600)


def every_kind(bpe):
    return [CharTokenizer.of(TEXT), bpe]


# round trips

@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=200))
def test_bpe_decodes_what_it_encoded_for_any_text(bpe, text):
    assert bpe.decode(bpe.encode(text)) == text


def test_bpe_has_an_id_for_every_byte(bpe):
    assert [bpe.decode_bytes([i]) for i in range(256)] == [bytes([i]) for i in range(256)]


@given(text=st.text(alphabet=sorted(set(TEXT)), max_size=100))
def test_char_decodes_what_it_encoded(text):
    tokenizer = CharTokenizer.of(TEXT)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_char_ids_are_places_in_the_sorted_characters():
    tokenizer = CharTokenizer.of('hello world')
    assert tokenizer.chars == ' dehlorw'
    assert tokenizer.encode('hello') == [3, 2, 4, 4, 5]


def test_char_names_the_characters_it_does_not_know_and_those_it_does():
    with pytest.raises(SystemExit) as problem:
        CharTokenizer.of('hello').encode('help?')
    assert "'?p'" in str(problem.value) and "'ehlo'" in str(problem.value)
    assert '\n' not in str(problem.value)


def test_encode_never_gives_the_end_of_a_document(bpe):
    assert bpe.eot == bpe.n_vocab - 1
    assert bpe.eot not in bpe.encode(SEPARATOR + TEXT)
    assert bpe.decode([bpe.eot]) == SEPARATOR


def test_bytes_streamed_token_by_token_are_the_bytes_of_the_text(bpe):
    for tokenizer in every_kind(bpe):
        ids = tokenizer.encode(TEXT)
        assert b''.join(tokenizer.decode_bytes([i]) for i in ids) == TEXT.encode()


def test_a_cut_character_decodes_to_a_replacement_and_not_to_an_error(bpe):
    assert bpe.decode(list('é'.encode()[:1])) == '\ufffd'


def test_a_batch_has_the_ids_of_its_texts(bpe):
    texts = ['', 'a', TEXT, small_text(1)]
    for tokenizer in CharTokenizer.of(''.join(texts)), bpe:
        assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_byte_lengths_add_up_to_the_bytes_of_the_text(bpe):
    for tokenizer in every_kind(bpe):
        assert tokenizer.byte_lengths().shape == (tokenizer.n_vocab,)
        assert tokenizer.byte_lengths()[tokenizer.encode(TEXT)].sum() == len(TEXT.encode())
    assert bpe.byte_lengths()[bpe.eot] == 0


@pytest.mark.parametrize('unit', ['a', ' ', '!', '\n', '1', '語', 'a '])
def test_a_long_run_of_anything_takes_no_time(bpe, unit):
    assert bpe.decode(bpe.encode(unit * 200_000)) == unit * 200_000 # with a slow pattern, hours
    assert train_bpe([unit * 200_000], 300).n_vocab <= 300


# learning a vocabulary

def naive_bpe(text, n_vocab):
    """The tokens that byte pair encoding learns, counting every pair anew for each merge."""
    words = Counter(regex.findall(PATTERN, text))
    split = {word: [bytes([b]) for b in word.encode()] for word in words}
    tokens = [bytes([i]) for i in range(256)]
    while len(tokens) < n_vocab - 1:
        counts = Counter()
        for word, pieces in split.items():
            for pair in pairwise(pieces):
                counts[pair] += words[word]
        frequent = {pair: n for pair, n in counts.items() if pair[0] + pair[1] not in tokens and n >= 2}
        if not frequent:
            break
        best = min(frequent, key=lambda pair: (-frequent[pair], pair))
        tokens.append(best[0] + best[1])
        split = {word: naive_merge(pieces, best) for word, pieces in split.items()}
    return tokens


def naive_merge(pieces, pair):
    pieces, i = list(pieces), 0
    while i < len(pieces) - 1:
        if (pieces[i], pieces[i + 1]) == pair:
            pieces[i:i + 2] = [pair[0] + pair[1]]
        i += 1
    return pieces


def naive_encode(tokens, text):
    """Ids by merging, again and again, the pair whose token was learned first."""
    ids = []
    for word in regex.findall(PATTERN, text):
        pieces = [bytes([b]) for b in word.encode()]
        while True:
            merges = {a + b: (a, b) for a, b in pairwise(pieces) if a + b in tokens}
            if not merges:
                break
            pieces = naive_merge(pieces, merges[min(merges, key=tokens.index)])
        ids += [tokens.index(piece) for piece in pieces]
    return ids


@pytest.mark.parametrize('seed', range(4))
def test_the_tokens_learned_are_those_of_counting_all_pairs_anew(seed):
    text = small_text(seed) + ' aaaa aaaaaaa bababab ' * 5
    assert train_bpe([text], 330).tokens == naive_bpe(text, 330)


@pytest.mark.parametrize('seed', range(3))
def test_encoding_is_merging_the_pair_learned_first(bpe, seed):
    for text in small_text(seed, 60), TEXT[:200], 'aaaaaaa abababa':
        assert bpe.encode(text) == naive_encode(bpe.tokens, text)


def test_the_order_of_the_texts_does_not_matter():
    texts = [small_text(seed, 50) for seed in range(10)]
    assert train_bpe(texts, 400).tokens == train_bpe(texts[::-1], 400).tokens


def test_a_vocabulary_has_the_size_asked_for_or_less_when_the_text_gives_no_more():
    assert train_bpe([small_text(0)], 300).n_vocab == 300
    tiny = train_bpe(['ab ab'], 4096) # of its pairs only ab occurs twice
    assert (tiny.n_vocab, tiny.tokens[256:]) == (258, [b'ab'])
    assert train_bpe([], 4096).n_vocab == 257


def test_learning_from_a_text_without_spaces_takes_no_longer():
    text = ''.join(random.Random(0).choices(string.ascii_letters, k=50_000))
    start = time.process_time()
    assert train_bpe([text], 800).n_vocab == 800
    assert time.process_time() - start < 4 # if each merge went through one long word, 10


@pytest.mark.parametrize('n_vocab', [256, 0, -1, 10**7])
def test_an_impossible_vocabulary_size_is_one_line(n_vocab):
    with pytest.raises(SystemExit, match='vocab_size: expected 257 .* got'):
        train_bpe(['text'], n_vocab)


def test_learning_reads_no_more_than_it_is_told_and_gives_all_texts_back():
    read = []

    def texts():
        for i in range(10):
            read.append(i)
            yield 'x' * (SAMPLE // 4)

    tokenizer, again = learn_bpe(texts(), 300)
    assert read == [0, 1, 2, 3]
    assert sum(map(len, again)) == 10 * (SAMPLE // 4) and len(read) == 10
    first = train_bpe(['ab ' * 10], 300)
    assert train_bpe(['ab ' * 10, 'cd ' * 1000], 300, n_chars=30).tokens == first.tokens


# descriptions

def test_a_tokenizer_survives_json(bpe):
    for tokenizer in every_kind(bpe):
        again = from_json(json.loads(json.dumps(tokenizer.to_json())))
        for name in 'kind', 'n_vocab', 'eot':
            assert getattr(again, name) == getattr(tokenizer, name)
        assert again.encode(TEXT) == tokenizer.encode(TEXT)
    assert isinstance(from_json({'kind': 'gpt2'}), GPT2Tokenizer)


BYTES = [chr(i) for i in range(256)]


def described(tokens, pattern=PATTERN):
    return {'kind': 'bpe', 'pattern': pattern, 'tokens': tokens}


@pytest.mark.parametrize('meta', [
    None, [], 'char', {}, {'kind': 'sentencepiece'}, {'kind': ['char']}, {'kind': 'char'},
    {'kind': 'char', 'chars': 5}, {'kind': 'char', 'chars': ['a', 'b']}, {'kind': 'char', 'chars': ''},
    {'kind': 'char', 'chars': 'abca'}, {'kind': 'char', 'chars': 'a\ud800'},
    {'kind': 'char', 'chars': 'a' * 2_000_000}, {'kind': 'bpe'}, {'kind': 'bpe', 'pattern': PATTERN},
    described(BYTES, '(a+)+$'), described(BYTES, None), described('abc'), described(BYTES[:-1]),
    described([*BYTES[1:], BYTES[0]]), described([*BYTES, 'ab', 'ab']), described([*BYTES, '']),
    described([*BYTES, '語']), described([*BYTES, 5]), described([*BYTES, b'ab']),
    described([*BYTES, ['ab']]), described([*BYTES, 'a' * 5000]), described(BYTES * 5000)])
def test_a_description_that_is_not_ours_is_refused_in_one_line(meta):
    with pytest.raises(SystemExit) as problem:
        from_json(meta)
    assert str(problem.value).startswith('tokenizer: expected ') and '\n' not in str(problem.value)
    assert len(str(problem.value)) < 300


# hostile input, for test_bins.py and test_write.py, too

JUNK = [None, True, -1, 0, 1, 10**30, int('9' * 4300), 1.5, math.nan, math.inf, '', 'x', 'a\nb', '\ud800',
        '9' * 10**6, [], {}, ['x'], {'x': []}, functools.reduce(lambda inner, _: [inner], range(500), 'deep')]


def replaced(rng, value):
    """A copy of a JSON value with something in it, at any depth, replaced by junk, doubled or left out."""
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.1:
        return rng.choice(JUNK)
    changed = value.copy()
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key, what = rng.choice(keys), rng.random()
    if what < 0.1:
        del changed[key]
    else:
        changed[key] = value[rng.choice(keys)] if what < 0.2 else replaced(rng, value[key])
    return changed


def mangled(rng, data):
    """Bytes with one to three pieces flipped, overwritten, doubled or cut out, or without their end."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(data) + 1)
        end = start + rng.choice([1, 1, 1, 4, 100, len(data)])
        piece = data[start:end]
        flipped = bytes(byte ^ 1 << rng.randrange(8) for byte in piece[:1]) + piece[1:]
        data = data[:start] + rng.choice([flipped, rng.randbytes(len(piece)), piece * 2, b'']) + data[end:]
    return data


def survived(function, *arguments):
    """What a function returns, or None where it ends in one short line; any other end fails the test."""
    try:
        return function(*arguments)
    except SystemExit as problem:
        message = str(problem.code)
        assert message.isprintable() and 20 < len(message) < 1000
        return None


@pytest.mark.parametrize('kind', ['char', 'bpe', 'gpt2'])
def test_a_changed_description_is_refused_or_taken_at_its_word(bpe, kind):
    rng, text = random.Random(0), small_text(0, 20)
    whole = {'char': CharTokenizer.of(text), 'bpe': bpe, 'gpt2': GPT2Tokenizer()}[kind].to_json()
    for _ in range(300):
        changed = replaced(rng, whole)
        found = survived(from_json, changed)
        assert found is None or found.to_json() == changed
        assert found is None or kind != 'bpe' or found.decode(found.encode(text)) == text


# GPT-2's vocabulary

@needs_gpt2
def test_gpt2_has_the_ids_of_gpt2():
    tokenizer = GPT2Tokenizer()
    assert tokenizer.encode('Hello world') == [15496, 995]
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    assert tokenizer.eot not in tokenizer.encode(SEPARATOR) and tokenizer.decode([tokenizer.eot]) == SEPARATOR
    assert tokenizer.n_vocab == tokenizer.encoding.n_vocab
    assert tokenizer.byte_lengths()[tokenizer.encode(TEXT)].sum() == len(TEXT.encode())


def test_C9_without_network_gpt2_is_one_line_that_names_files_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(tmp_path))
    for name in 'HTTPS_PROXY', 'https_proxy':
        monkeypatch.setenv(name, 'http://127.0.0.1:9') # nothing listens there: no network, wherever this runs
    with pytest.raises(SystemExit) as problem:
        GPT2Tokenizer().encode('Hello')
    message = str(problem.value)
    assert '\n' not in message
    for word in ('vocab.bpe', 'encoder.json', *GPT2_FILES, 'TIKTOKEN_CACHE_DIR', '--tokenizer=bpe'):
        assert word in message


def test_gpt2_needs_no_vocabulary_until_there_is_text(tmp_path, monkeypatch):
    monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(tmp_path))
    tokenizer = from_json({'kind': 'gpt2'})
    assert (tokenizer.n_vocab, tokenizer.eot, tokenizer.to_json()) == (50257, 50256, {'kind': 'gpt2'})


def test_bpe_tokens_are_in_the_order_of_their_ids():
    tokenizer = BPETokenizer([bytes([i]) for i in range(256)] + [b'ab', b'abc'])
    assert tokenizer.encode('abc ab') == [257, 32, 256] and tokenizer.n_vocab == 259
