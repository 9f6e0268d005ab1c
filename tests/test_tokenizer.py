"""Text to ids and back: round trips, learning against a naive learner, descriptions from elsewhere."""
import json
import os
import random
import string
import tempfile
from collections import Counter
from itertools import pairwise

import pytest
import regex
from conftest import error_of, replaced
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken_ext.openai_public import r50k_pat_str  # of GPT-2

from data import tokenizer as module
from data.tokenizer import (
    OLD_PATTERN,
    PATTERN,
    SEPARATOR,
    BPETokenizer,
    CharTokenizer,
    GPT2Tokenizer,
    from_json,
    learn_bpe,
    parts,
    train_bpe,
)

TEXT = ("The fox said: \"I'm not lost, you're lost!\" and ran 1234567 miles... naïve café, "
        '東京 🙂👩‍👩‍👧, tabs\tand\r\nlines\n\n\n  indented\n' + SEPARATOR + ' no end. ') * 3
GPT2_FILES = ('6d1cbeee0f20b3d9449abfede4726ed8212e3aee', '6c7ea1a7e38e3a7f062df639a5b80947f075ffe6')
GPT2_FOLDER = os.environ.get('TIKTOKEN_CACHE_DIR', os.path.join(tempfile.gettempdir(), 'data-gym-cache'))
HAS_GPT2 = all(os.path.isfile(os.path.join(GPT2_FOLDER, name)) for name in GPT2_FILES)


def small_text(seed, n_words=400):
    """Words of few letters in random order, so that many pairs are frequent and ties are common."""
    rng = random.Random(seed)
    words = [''.join(rng.choices('abcé語誰🙂', k=rng.randint(1, 6))) for _ in range(40)]
    return ' '.join(rng.choice(words) + rng.choice(['', '', ',', '.\n', '’s']) for _ in range(n_words))


@pytest.fixture(scope='module')
def bpe():
    return train_bpe([TEXT, small_text(0)], 600)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=100))
def test_bpe_decodes_what_it_encoded_for_any_text(bpe, text):
    assert bpe.decode(bpe.encode(text)) == text
    assert bpe.decode([0xc3]) == '\ufffd' # half a character; the values of bytes are their ids


@pytest.mark.parametrize('kind', ['char', 'bpe', pytest.param('gpt2', marks=pytest.mark.skipif(
    not HAS_GPT2, reason="GPT-2's vocabulary is not in tiktoken's cache"))])
def test_bytes_streamed_token_by_token_are_the_bytes_of_the_text_and_never_the_end_of_a_document(bpe, kind):
    tokenizer = {'char': CharTokenizer.of(TEXT), 'bpe': bpe, 'gpt2': GPT2Tokenizer()}[kind]
    ids = tokenizer.encode(TEXT)
    assert b''.join(tokenizer.decode_bytes([i]) for i in ids) == TEXT.encode()
    assert tokenizer.byte_lengths().shape == (tokenizer.n_vocab,)
    assert tokenizer.byte_lengths()[ids].sum() == len(TEXT.encode())
    texts = ['', 'a', TEXT, TEXT[::-1]]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]
    assert tokenizer.eot not in ids # though the text has it
    if kind != 'char':
        assert tokenizer.eot == tokenizer.n_vocab - 1 and tokenizer.decode([tokenizer.eot]) == SEPARATOR
        assert tokenizer.byte_lengths()[tokenizer.eot] == 0
    if kind == 'gpt2':
        assert tokenizer.encode('Hello world') == [15496, 995]
        assert tokenizer.n_vocab == tokenizer.encoding.n_vocab


@pytest.mark.parametrize('unit', ['a', ' ', '1', '語', '\n', '!'])
def test_a_long_run_of_anything_is_encoded_and_learned(bpe, unit): # with a slow pattern, it takes hours
    text = unit * 1_200_000 # the regex engine of tiktoken fails at a million of white space
    assert bpe.decode(bpe.encode(text)) == text
    text = text[:100_000]
    assert train_bpe([text], 300).n_vocab <= 300
    assert ''.join(word.decode() * n for word, n in module.count_words([text], len(text)).items()) == text


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.sampled_from("as 1'._\r\n\t\u2003é\u0301語。"), max_size=60), size=st.integers(2, 20))
@pytest.mark.parametrize('pattern', [PATTERN, OLD_PATTERN, r50k_pat_str])
def test_parts_encode_to_the_ids_of_the_whole(bpe, pattern, text, size):
    encode = BPETokenizer(bpe.tokens, pattern).encode
    for cut in module.BOUNDARY.finditer(text):
        assert encode(text[:cut.start()]) + encode(text[cut.start():]) == encode(text)
    pieces, ends = zip(*parts(text, size), strict=True)
    assert ''.join(pieces) == text and ends == (False,) * (len(pieces) - 1) + (True,)
    assert max(map(len, pieces)) <= size
    for piece, after in pairwise(pieces): # cut at a boundary, if half of the size has one
        assert module.BOUNDARY.match(piece + after, len(piece)) or \
            not module.BOUNDARY.search(piece + after[:1], size // 2)


def test_new_vocabularies_have_qwen2s_pattern(bpe):
    qwen2 = pytest.importorskip('transformers.models.qwen2.tokenization_qwen2')
    assert bpe.to_json()['pattern'] == bpe.encoding._pat_str == qwen2.PRETOKENIZE_REGEX


def test_an_older_vocabulary_keeps_its_pattern():
    old = from_json(described([*BYTES, 'é'.encode().decode('latin-1'), '12', '123'], OLD_PATTERN))
    assert old.to_json()['pattern'] == OLD_PATTERN and old.encode('123é') == [258, 256]
    assert from_json(old.to_json() | {'pattern': PATTERN}).encode('123é') == [49, 50, 51, 256]


def is_whole_or_a_beginning(token):
    """Whether bytes are whole characters, or one byte, or the first bytes of a single character."""
    try:
        return bool(token.decode())
    except UnicodeDecodeError as error:
        return len(token) == 1 or error.reason == 'unexpected end of data' and error.start == 0


def naive_bpe(text, n_vocab):
    """The tokens that byte pair encoding learns, counting every pair anew for each merge."""
    words = Counter(regex.findall(PATTERN, text))
    split = {word: [bytes([b]) for b in word.encode()] for word in words}
    tokens = [bytes([i]) for i in range(256)]
    while len(tokens) < n_vocab - 1:
        counts = Counter()
        for word, pieces in split.items():
            for left, right in pairwise(pieces):
                counts[left, right] += words[word] * is_whole_or_a_beginning(left + right)
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if counts[best] < 2: # 0 when every word is one token
            break
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


@pytest.mark.parametrize('seed', range(4))
def test_the_tokens_learned_are_those_of_counting_all_pairs_anew_and_none_cuts_through_characters(seed):
    text = small_text(seed) + ' aaaa aaaaaaa bababab ééé ' * 5
    assert train_bpe([text], 360).tokens == naive_bpe(text, 360)


def test_learning_reads_a_sample_of_bounded_size_whatever_the_order_and_gives_all_texts_back(monkeypatch):
    rng = random.Random(0)
    words = [''.join(rng.choices(string.ascii_lowercase, k=8)) for _ in range(2000)]
    texts = [f' {word}' for word in words] + [' frequent'] * 50
    monkeypatch.setattr(module, 'MAX_DISTINCT', 9 * 500)
    found = module.count_words(texts, 10**6)
    assert sum(map(len, found)) == 9 * 500 and found[b' frequent'] == 50
    assert found == module.count_words(texts[::-1], 10**6)
    assert {word[1] for word in found} > set(b'abcdxyz') # no part of the alphabet is preferred
    monkeypatch.setattr(module, 'SAMPLE', 400)
    expected = [f'text {i}' for i in range(1000)]
    texts = iter(expected)
    again = learn_bpe(texts, 300)[1]
    assert next(texts) == 'text 59' # the first that was not read
    assert list(again) == expected[:59] + expected[60:]
    first = train_bpe(['ab ' * 10], 300)
    assert train_bpe(['ab ' * 10, 'cd ' * 1000], 300, n_chars=30).tokens == first.tokens


def test_a_vocabulary_has_the_size_asked_for_or_follows_the_text_and_unknown_characters_are_named():
    assert train_bpe([small_text(0)], 300).n_vocab == 300
    assert train_bpe(['ab ab'], 4096).tokens[256:] == [b'ab'] # of its pairs only ab occurs twice
    assert train_bpe([], 4096).n_vocab == 257
    for n_vocab in 256, 0, -1, 10**7:
        assert 'vocab_size: expected 257' in error_of(train_bpe, ['text'], n_vocab)
    sizes = [module.default_vocab_size(n) for n in (0, 60_000, 134_000, 10_000_000, module.SAMPLE)]
    assert sizes == [300, 300, 335, 4096, 4096]
    text = ' '.join(map(''.join, zip(string.ascii_letters * 900, string.printable * 468, strict=True)))
    assert learn_bpe([text])[0].n_vocab == module.default_vocab_size(len(text)) > 300
    assert learn_bpe([text], 400)[0].n_vocab == 400
    every = ''.join(map(chr, range(999, 9999)))
    for chars, unknown, named in ('hello world', 'help?', "'?p'"), (every, 'é', "'é'"):
        assert named in error_of(CharTokenizer.of(chars).encode, unknown)


BYTES = [chr(i) for i in range(256)]


def described(tokens, pattern=PATTERN):
    return {'kind': 'bpe', 'pattern': pattern, 'tokens': tokens}


@pytest.mark.parametrize('meta', [
    None, [], {}, {'kind': 'sentencepiece'}, {'kind': ['char']}, {'kind': 'char'},
    {'kind': 'char', 'chars': ['a', 'b']}, {'kind': 'char', 'chars': ''}, {'kind': 'char', 'chars': 'abca'},
    {'kind': 'char', 'chars': 'a\ud800'}, {'kind': 'char', 'chars': 'a' * 2_000_000},
    {'kind': 'bpe', 'pattern': PATTERN}, described(BYTES, '(a+)+$'), described('abc'), described(BYTES[:-1]),
    described([*BYTES[1:], BYTES[0]]), described([*BYTES, 'ab', 'ab']), described([*BYTES, '']),
    described([*BYTES, '語']), described([*BYTES, 5]), described([*BYTES, 'a' * 5000])])
def test_a_description_that_is_not_ours_is_refused_in_one_line(meta):
    assert from_json(described([*BYTES, 'ab', 'abc'])).encode('abc ab') == [257, 32, 256] # as ours are
    message = error_of(from_json, meta)
    assert message.startswith('tokenizer: expected ') and len(message) < 300


@pytest.mark.parametrize('kind', ['char', 'bpe', 'gpt2'])
def test_a_tokenizer_survives_json_and_a_changed_description_is_refused_or_taken_as_it_is(bpe, kind):
    rng, text = random.Random(0), small_text(0, 20)
    tokenizer = {'char': CharTokenizer.of(text), 'bpe': bpe, 'gpt2': GPT2Tokenizer()}[kind]
    whole = json.loads(json.dumps(tokenizer.to_json()))
    again = from_json(whole)
    assert (again.kind, again.n_vocab, again.eot) == (tokenizer.kind, tokenizer.n_vocab, tokenizer.eot)
    assert kind == 'gpt2' or again.encode(text) == tokenizer.encode(text)
    for _ in range(60):
        changed = replaced(rng, whole)
        if not error_of(from_json, changed):
            found = from_json(changed)
            assert found.to_json() == changed
            assert kind != 'bpe' or found.decode(found.encode(text)) == text


def test_without_network_gpt2_has_its_sizes_and_text_is_one_line_that_names_the_files(no_network):
    tokenizer = from_json({'kind': 'gpt2'})
    assert (tokenizer.n_vocab, tokenizer.eot) == (50257, 50256)
    message = error_of(tokenizer.encode, 'Hello')
    for word in ('vocab.bpe', 'encoder.json', *GPT2_FILES, 'TIKTOKEN_CACHE_DIR', '--tokenizer=bpe'):
        assert word in message
