"""
Text to token ids and back, in three ways behind one interface.

    tokenizer = train_bpe(texts)                        # or CharTokenizer.of(text), or GPT2Tokenizer()
    tokenizer.decode(tokenizer.encode(text)) == text
    from_json(tokenizer.to_json())                      # the same again; what meta.json and checkpoints hold

Each has .kind, .n_vocab, .eot (the id that ends a document; None for char, which has none), encode,
encode_batch, decode, decode_bytes (for streaming: a character may take several tokens), byte_lengths and
to_json. encode never gives eot, whatever the text holds.
"""
import functools
import hashlib
import heapq
import os
import reprlib
import tempfile
from collections import Counter, defaultdict
from itertools import chain, pairwise

import numpy as np

SEPARATOR = '<|endoftext|>' # between documents, in files and as eot's name
# Where bpe cuts text before it merges bytes: a word with the space or apostrophe in front of it, up to three
# digits, a run of signs, white space. Each character is in one class, so the pieces add up to the text; there
# is no look-ahead, so no text is slow.
PATTERN = r"[ '’]?[\p{L}\p{M}]+| ?\p{N}{1,3}| ?[^\s\p{L}\p{M}\p{N}]+|\s+"
SAMPLE = 20_000_000 # characters that a vocabulary is learned from
MAX_WORD = 64 # bytes; longer words are cut for learning, as a megabyte without a space would slow each merge
MAX_TOKENS, MAX_TOKEN_BYTES = 1_000_000, 1024 # what from_json takes: more than anybody trains here
GPT2_URLS = ['https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/' + name
             for name in ('vocab.bpe', 'encoder.json')]


class CharTokenizer:
    """One id for each character of a known set; the ids follow the order of `chars`, a string."""
    kind, eot = 'char', None

    def __init__(self, chars):
        self.chars = chars
        self.n_vocab = len(chars)
        self.ids = {char: i for i, char in enumerate(chars)}

    @classmethod
    def of(cls, text):
        """The characters of a text, sorted, as nanoGPT does."""
        return cls(''.join(sorted(set(text))))

    def encode(self, text):
        try:
            return [self.ids[char] for char in text]
        except KeyError:
            unknown = ''.join(sorted(set(text) - set(self.chars)))[:50]
            raise SystemExit(f'encode: expected only the {self.n_vocab} characters of the training text, got '
                             f'{unknown!r} too; known are {self.chars!r}') from None

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]

    def decode(self, ids):
        return ''.join(self.chars[i] for i in ids)

    def decode_bytes(self, ids):
        return self.decode(ids).encode('utf-8')

    def byte_lengths(self):
        """Bytes of UTF-8 that each id stands for, int64 (n_vocab,)."""
        return np.array([len(char.encode('utf-8')) for char in self.chars])

    def to_json(self):
        return {'kind': 'char', 'chars': self.chars}


class BPETokenizer:
    """
    Byte pair encoding (Sennrich et al. 2016, arXiv:1508.07909) over bytes, so that it can write any text.

    tokens: list of bytes in the order they were learned; the first 256 are single bytes. eot comes after.
    """
    kind = 'bpe'

    def __init__(self, tokens):
        import tiktoken
        self.tokens = tokens
        self.eot = len(tokens)
        self.n_vocab = len(tokens) + 1
        self.encoding = tiktoken.Encoding('pocketgpt', pat_str=PATTERN, special_tokens={SEPARATOR: self.eot},
                                          mergeable_ranks={token: i for i, token in enumerate(tokens)})

    def encode(self, text):
        return self.encoding.encode_ordinary(text) # ordinary: <|endoftext|> in it gives its letters, not eot

    def encode_batch(self, texts):
        return self.encoding.encode_ordinary_batch(texts, num_threads=os.cpu_count() or 1)

    def decode(self, ids):
        return self.decode_bytes(ids).decode('utf-8', errors='replace')

    def decode_bytes(self, ids):
        return self.encoding.decode_bytes(ids)

    def byte_lengths(self):
        """Bytes of text that each id stands for, int64 (n_vocab,); none for eot, the last."""
        return np.array([len(self.encoding.decode_single_token_bytes(i)) for i in range(self.eot)] + [0])

    def to_json(self):
        # latin-1 has one character for each byte: a plain way to put bytes into JSON
        tokens = [token.decode('latin-1') for token in self.tokens]
        return {'kind': 'bpe', 'pattern': PATTERN, 'tokens': tokens}


class GPT2Tokenizer:
    """GPT-2's 50,257 tokens through tiktoken, which downloads them when text first comes, and keeps them."""
    kind, n_vocab, eot = 'gpt2', 50257, 50256
    # text is handled as in BPETokenizer; training on bins that are there already works without the vocabulary
    encode, encode_batch = BPETokenizer.encode, BPETokenizer.encode_batch
    decode, decode_bytes = BPETokenizer.decode, BPETokenizer.decode_bytes
    byte_lengths = BPETokenizer.byte_lengths

    @functools.cached_property
    def encoding(self):
        return load_gpt2()

    def to_json(self):
        return {'kind': 'gpt2'}


def load_gpt2():
    """GPT-2's tiktoken.Encoding, from tiktoken's cache or its download; SystemExit when there is neither."""
    import tiktoken

    from data import download
    default = os.environ.get('DATA_GYM_CACHE_DIR', os.path.join(tempfile.gettempdir(), 'data-gym-cache'))
    folder = os.environ.get('TIKTOKEN_CACHE_DIR', default)
    names = [hashlib.sha1(url.encode()).hexdigest() for url in GPT2_URLS] # as in tiktoken's cache
    cached = all(os.path.isfile(os.path.join(folder, name)) for name in names)
    why = '' if cached else download.why_unreachable(GPT2_URLS[0]) # tiktoken itself waits without a time-out
    if not why:
        try:
            return tiktoken.get_encoding('gpt2')
        except (OSError, ValueError) as error: # the connection broke, or these are not the files it knows
            why = f'its download failed ({type(error).__name__})'
    raise SystemExit(f'gpt2 tokenizer: expected to download vocab.bpe and encoder.json, but {why}; put them '
                     f'into a folder as {names[0]} and {names[1]} and set TIKTOKEN_CACHE_DIR to it, or learn '
                     'another vocabulary: python data/text/prepare.py --tokenizer=bpe --input=FILE')


# from meta.json or a checkpoint, which may have come from anywhere

def from_json(meta):
    """The tokenizer that to_json() described; SystemExit when meta is anything else."""
    kind = meta.get('kind') if isinstance(meta, dict) else None
    if kind == 'char':
        return CharTokenizer(checked_chars(meta.get('chars')))
    if kind == 'bpe':
        return BPETokenizer(checked_tokens(meta.get('pattern'), meta.get('tokens')))
    if kind == 'gpt2':
        return GPT2Tokenizer()
    raise refusal("a dict whose kind is 'char', 'bpe' or 'gpt2'", meta if kind is None else kind)


def checked_chars(chars):
    if not isinstance(chars, str) or not 0 < len(chars) <= MAX_TOKENS:
        raise refusal(f"'chars' to be a string of 1 to {MAX_TOKENS:,} characters", chars)
    if len(set(chars)) < len(chars) or any('\ud800' <= char <= '\udfff' for char in chars):
        raise refusal('characters that all differ, and none that UTF-8 cannot write', chars)
    return chars


def checked_tokens(pattern, texts):
    if pattern != PATTERN:
        raise refusal('the pattern of this version', pattern)
    if not isinstance(texts, list) or not 256 <= len(texts) <= MAX_TOKENS:
        raise refusal(f"'tokens' to be a list of 256 to {MAX_TOKENS:,}", texts)
    for text in texts:
        if not isinstance(text, str) or not 0 < len(text) <= MAX_TOKEN_BYTES or max(text) > '\xff':
            raise refusal(f'each token to be 1 to {MAX_TOKEN_BYTES} characters of latin-1', text)
    tokens = [text.encode('latin-1') for text in texts]
    if tokens[:256] != single_bytes() or len(set(tokens)) < len(tokens):
        raise refusal('the 256 single bytes first, in order, and no token twice', 'other tokens')
    return tokens


def refusal(expected, got):
    return SystemExit(f'tokenizer: expected {expected}, got {reprlib.repr(got)}; prepare the data again, or '
                      'use another checkpoint')


def single_bytes():
    return [bytes([i]) for i in range(256)]


# learning a vocabulary

def learn_bpe(texts, n_vocab):
    """(tokenizer, texts): a BPETokenizer learned from the first SAMPLE characters, and all texts again."""
    check_vocab_size(n_vocab) # before texts are downloaded for it
    texts, first, room = iter(texts), [], SAMPLE
    while room > 0 and (text := next(texts, None)) is not None:
        first.append(text)
        room -= len(text)
    return train_bpe(first, n_vocab), chain(first, texts)


def train_bpe(texts, n_vocab=4096, n_chars=SAMPLE):
    """
    A BPETokenizer learned from texts: over and over, the pair of tokens most frequent in words becomes one.

    texts: iterable of str; only the first n_chars characters are read, which bounds time and memory
    n_vocab: 256 bytes, the merges and eot; it comes out smaller when no pair is left that occurs twice
    The same for any order of the texts: of equally frequent pairs, the one whose bytes sort first is merged.
    """
    check_vocab_size(n_vocab)
    tokens, pairs = single_bytes(), Pairs(count_words(texts, n_chars))

    def entry(pair): # in the heap, the smallest comes first
        return -pairs.counts[pair], tokens[pair[0]], tokens[pair[1]], pair

    heap = [entry(pair) for pair in pairs.counts]
    heapq.heapify(heap)
    while heap and len(tokens) < n_vocab - 1:
        negative, left, right, pair = heapq.heappop(heap)
        if negative != -pairs.counts[pair]: # counts only fall, so an entry is put right when it comes up
            heapq.heappush(heap, entry(pair))
        elif negative > -2:
            break
        else:
            tokens.append(left + right)
            for neighbours in pairs.merge(pair, len(tokens) - 1):
                heapq.heappush(heap, entry(neighbours))
    assert len(set(tokens)) == len(tokens), f'{len(tokens)} tokens, {len(set(tokens))} different'
    return BPETokenizer(tokens)


def check_vocab_size(n_vocab):
    if not 257 <= n_vocab <= MAX_TOKENS:
        raise SystemExit(f'vocab_size: expected 257 (all bytes and the end of a document) to {MAX_TOKENS:,}, '
                         f'got {n_vocab:,}; give --vocab_size=4096 or so')


class Pairs:
    """
    Words as lists of token ids, and how often each pair of neighbours occurs in them.

    frequency: {bytes of a word: how often it occurs}
    """

    def __init__(self, frequency):
        self.words = [list(word) for word in frequency]
        self.frequency = list(frequency.values())
        self.counts = Counter()
        self.where = defaultdict(set) # pair -> indices of the words that have it, or once had
        for i, ids in enumerate(self.words):
            self.count(ids, self.frequency[i])
            for pair in pairwise(ids):
                self.where[pair].add(i)

    def count(self, ids, n):
        for pair in pairwise(ids):
            self.counts[pair] += n

    def merge(self, pair, new):
        """Replaces a pair by the id new wherever it occurs; returns the pairs that come into being."""
        fresh = set()
        for i in self.where.pop(pair):
            ids = merged(self.words[i], pair, new)
            self.count(self.words[i], -self.frequency[i])
            self.count(ids, self.frequency[i])
            self.words[i] = ids
            for neighbours in pairwise(ids):
                if new in neighbours:
                    self.where[neighbours].add(i)
                    fresh.add(neighbours)
        return fresh


def merged(ids, pair, new):
    """ids with each occurrence of pair, from the left, replaced by new."""
    out, i = [], 0
    while i < len(ids):
        if ids[i] == pair[0] and i + 1 < len(ids) and ids[i + 1] == pair[1]:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def count_words(texts, n_chars):
    """{bytes of a word: how often it occurs} in the first n_chars characters, cut as PATTERN says."""
    import regex

    find, counts = regex.compile(PATTERN).findall, Counter()
    for text in texts:
        counts.update(find(text[:n_chars]))
        n_chars -= len(text)
        if n_chars <= 0:
            break
    frequency = Counter()
    for word, n in counts.items():
        word = word.encode('utf-8', errors='replace')
        for start in range(0, len(word), MAX_WORD):
            frequency[word[start:start + MAX_WORD]] += n
    return frequency
