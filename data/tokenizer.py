"""
Three tokenizers with one interface: characters, byte-level BPE, and that of GPT-2.

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
import re
import reprlib
import tempfile
import zlib
from collections import Counter, defaultdict
from itertools import accumulate, chain, pairwise, takewhile

import numpy as np
from tqdm import tqdm

from data.network import why_unreachable

SEPARATOR = '<|endoftext|>' # between documents, in files and as eot's name
# Pre-tokenization (regex split) of bpe: that of Qwen2, which llama.cpp, Hugging Face tokenizers, MLX and
# transformers.js know too. A contraction, a word with the space or sign in front of it, one digit, a run of
# punctuation with the line ends after it, line ends, white space but for the space that belongs to a word.
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r'|\s*[\r\n]+|\s+(?!\S)|\s+')
OLD_PATTERN = r"[ '’]?[\p{L}\p{M}]+| ?\p{N}{1,3}| ?[^\s\p{L}\p{M}\p{N}]+|\s+" # of older vocabularies
# positions where each pattern here, and GPT-2's, begins a new piece; in PATTERN punctuation includes the
# line ends after it, so before a line end only a letter or digit will do
BOUNDARY = re.compile(r'(?<=\S) |(?<=[^\W_])\n|(?<=\S\n)(?=\S)')
MAX_PART = 1 << 19 # characters; tiktoken's regex engine gives up on a million white-space characters in a row
SAMPLE = 20_000_000 # characters that a vocabulary is learned from
MAX_WORD, MAX_DISTINCT = 64, 4 << 20 # bytes of a word and of all different words, see count_words
# Of default_vocab_size. Measured in November 2026 with a small model on 134 kB of Markdown: the best
# validation loss is 2.94 bits per byte with 300 tokens, 3.04 with 450 and 3.15 with 900.
CHARS_PER_TOKEN, MIN_DEFAULT_VOCAB, MAX_DEFAULT_VOCAB = 400, 300, 4096
MAX_TOKENS, MAX_TOKEN_BYTES = 1_000_000, 1024 # the most that from_json accepts
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
            return self.check(text) # which raises SystemExit

    def check(self, text):
        """Raises SystemExit with a line that names the characters of a text that the vocabulary lacks."""
        if unknown := sorted(set(text) - set(self.chars)):
            known = f'{self.chars[:200]!r}{" and more" if self.n_vocab > 200 else ""}'
            raise SystemExit(f'text: expected only the {self.n_vocab} characters of the vocabulary, got '
                             f'{"".join(unknown[:50])!r} too ({len(unknown):,} unknown characters); replace '
                             f'them; known are {known}')

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
    Byte-level byte pair encoding (BPE; Sennrich et al. 2016, arXiv:1508.07909): it can represent any text.

    tokens: list of bytes in the order they were learned; the first 256 are single bytes. eot comes after.
    pattern: regular expression of the pieces of a text that are encoded each on its own
    """
    kind = 'bpe'

    def __init__(self, tokens, pattern=PATTERN):
        import tiktoken
        self.tokens, self.pattern = tokens, pattern
        self.eot = len(tokens)
        self.n_vocab = len(tokens) + 1
        self.encoding = tiktoken.Encoding('pocketgpt', pat_str=pattern, special_tokens={SEPARATOR: self.eot},
                                          mergeable_ranks={token: i for i, token in enumerate(tokens)})

    def encode(self, text):
        # ordinary: <|endoftext|> in it is plain text, not eot
        return [i for part, _ in parts(text) for i in self.encoding.encode_ordinary(part)]

    def encode_batch(self, texts):
        """A list of ids for each of texts, strings of at most MAX_PART characters, as parts() yields."""
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
        return {'kind': 'bpe', 'pattern': self.pattern, 'tokens': tokens}


class GPT2Tokenizer:
    """GPT-2's 50,257 tokens through tiktoken, which downloads them at first use and caches them."""
    kind, n_vocab, eot = 'gpt2', 50257, 50256
    # as in BPETokenizer; without text, for instance for training on existing bins, nothing is downloaded
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
    default = os.environ.get('DATA_GYM_CACHE_DIR', os.path.join(tempfile.gettempdir(), 'data-gym-cache'))
    folder = os.environ.get('TIKTOKEN_CACHE_DIR', default)
    names = [hashlib.sha1(url.encode()).hexdigest() for url in GPT2_URLS] # as in tiktoken's cache
    cached = all(os.path.isfile(os.path.join(folder, name)) for name in names)
    why = '' if cached else why_unreachable(GPT2_URLS[0]) # tiktoken itself waits without a time-out
    if not why:
        try:
            return tiktoken.get_encoding('gpt2')
        except (OSError, ValueError) as error: # the connection broke, or these are not the files it knows
            why = f'its download failed ({type(error).__name__})'
    raise SystemExit(f'gpt2 tokenizer: expected to download vocab.bpe and encoder.json, but {why}; put them '
                     f'into a folder as {names[0]} and {names[1]} and set TIKTOKEN_CACHE_DIR to it, or learn '
                     'another vocabulary: python data/text/prepare.py --tokenizer=bpe --input=FILE')


def parts(text, size=MAX_PART):
    """
    Yield (part of a text, whether it is the last), each of at most size >= 2 characters.

    A part ends at a BOUNDARY, so that the parts have the ids of the whole text. If the second half of a part
    has none, it ends after size characters, and the ids there may differ.
    """
    start = 0
    while len(text) - start > size:
        found = BOUNDARY.search(text, start + size // 2, start + size)
        end = found.start() if found else start + size
        yield text[start:end], False
        start = end
    yield text[start:], True


# from meta.json or a checkpoint, which may come from an untrusted source

def from_json(meta):
    """The tokenizer that to_json() described; SystemExit when meta is anything else."""
    kind = meta.get('kind') if isinstance(meta, dict) else None
    if kind == 'char':
        return CharTokenizer(checked_chars(meta.get('chars')))
    if kind == 'bpe':
        return BPETokenizer(checked_tokens(meta.get('tokens')), checked_pattern(meta.get('pattern')))
    if kind == 'gpt2':
        return GPT2Tokenizer()
    raise invalid_tokenizer("a dict whose kind is 'char', 'bpe' or 'gpt2'", meta if kind is None else kind)


def checked_chars(chars):
    if not isinstance(chars, str) or not 0 < len(chars) <= MAX_TOKENS:
        raise invalid_tokenizer(f"'chars' to be a string of 1 to {MAX_TOKENS:,} characters", chars)
    if len(set(chars)) < len(chars) or any('\ud800' <= char <= '\udfff' for char in chars):
        raise invalid_tokenizer('characters that all differ, and none that UTF-8 cannot write', chars)
    return chars


def checked_pattern(pattern):
    if pattern not in (PATTERN, OLD_PATTERN): # another may take exponential time
        raise invalid_tokenizer('a pattern that pocketGPT has used', pattern)
    return pattern


def checked_tokens(texts):
    if not isinstance(texts, list) or not 256 <= len(texts) <= MAX_TOKENS:
        raise invalid_tokenizer(f"'tokens' to be a list of 256 to {MAX_TOKENS:,}", texts)
    for text in texts:
        if not isinstance(text, str) or not 0 < len(text) <= MAX_TOKEN_BYTES or max(text) > '\xff':
            raise invalid_tokenizer(f'each token to be 1 to {MAX_TOKEN_BYTES} characters of latin-1', text)
    tokens = [text.encode('latin-1') for text in texts]
    if tokens[:256] != single_bytes() or len(set(tokens)) < len(tokens):
        raise invalid_tokenizer('the 256 single bytes first, in order, and no token twice', 'other tokens')
    return tokens


def invalid_tokenizer(expected, got):
    return SystemExit(f'tokenizer: expected {expected}, got {reprlib.repr(got)}; prepare the data again, or '
                      'use another checkpoint')


def single_bytes():
    return [bytes([i]) for i in range(256)]


# learning a vocabulary

def learn_bpe(texts, vocab_size=0):
    """
    (tokenizer, texts): a BPETokenizer learned from the first SAMPLE characters, and all texts again.

    vocab_size: as in train_bpe; 0: suited to the amount of text, see default_vocab_size
    """
    check_vocab_size(vocab_size or MAX_DEFAULT_VOCAB) # before texts are downloaded for it
    texts, sample, room = iter(texts), [], SAMPLE
    while room > 0 and (text := next(texts, None)) is not None:
        sample.append(text)
        room -= len(text)
    return train_bpe(sample, vocab_size or default_vocab_size(SAMPLE - room)), chain(sample, texts)


def default_vocab_size(n_chars):
    """
    The vocabulary size for a text of n_chars characters where none is given: 4,096 from CHARS_PER_TOKEN *
    4,096 characters on, fewer for a smaller text, so that every token occurs often enough to be learned.
    """
    return max(MIN_DEFAULT_VOCAB, min(MAX_DEFAULT_VOCAB, n_chars // CHARS_PER_TOKEN))


def train_bpe(texts, vocab_size=4096, n_chars=SAMPLE):
    """
    A BPETokenizer learned from texts: the most frequent pair of adjacent tokens is merged, again and again.

    texts: iterable of str; only the first n_chars characters are read, which bounds time and memory
    vocab_size: 256 bytes, the merges and eot; it comes out smaller when no pair is left that occurs twice
    The result does not depend on the order of the texts: of equally frequent pairs, the one whose bytes sort
    first is merged. A token is a sequence of whole characters, or the first bytes of a single character.
    """
    check_vocab_size(vocab_size)
    tokens, pairs = single_bytes(), Pairs(count_words(texts, n_chars))

    def entry(pair): # of the heap, whose smallest entry comes first
        return -pairs.counts[pair], tokens[ord(pair[0])], tokens[ord(pair[1])], pair

    heap = [entry(pair) for pair in pairs.counts]
    heapq.heapify(heap)
    with tqdm(desc='learning the vocabulary', unit=' tokens', total=vocab_size, initial=257, delay=2,
              disable=None) as bar: # shown on a terminal after 2 seconds
        while heap and len(tokens) < vocab_size - 1:
            negative, left, right, pair = heapq.heappop(heap)
            if negative != -pairs.counts[pair]: # counts only fall, so an outdated entry is renewed here
                heapq.heappush(heap, entry(pair))
            elif negative > -2:
                break
            else:
                tokens.append(left + right)
                for created in pairs.merge(pair):
                    heapq.heappush(heap, entry(created))
                bar.update()
    assert len(set(tokens)) == len(tokens), f'{len(tokens)} tokens, {len(set(tokens))} different'
    return BPETokenizer(tokens)


def check_vocab_size(vocab_size):
    if not 257 <= vocab_size <= MAX_TOKENS:
        raise SystemExit(f'vocab_size: expected 257 (all bytes and the end of a document) to {MAX_TOKENS:,}, '
                         f'got {vocab_size:,}; give --vocab_size=4096, or 0 for a size that suits the text')


def continuation_bytes(byte):
    """How many continuation bytes UTF-8 wants after a byte, 0 to 3; -1 for a continuation byte itself."""
    return 0 if byte < 0x80 else -1 if byte < 0xc0 else 1 if byte < 0xe0 else 2 if byte < 0xf0 else 3


class Pairs:
    """
    How often each pair of adjacent tokens that may be merged occurs in words.

    frequency: {bytes of a word: how often it occurs}
    A word is kept as a string with one character, chr(id), for each of its tokens, and a pair is a string of
    two: so str.split, which is written in C, finds the occurrences of a pair from left to right.
    """

    def __init__(self, frequency):
        self.words = [word.decode('latin-1') for word in frequency] # chr(byte) for each byte
        self.frequency = list(frequency.values())
        self.missing = {chr(byte): continuation_bytes(byte) for byte in range(256)} # what its character lacks
        self.counts = defaultdict(int)
        self.where = defaultdict(set) # pair -> indices of the words that have it, or once had
        for i, word in enumerate(self.words):
            for left, right in pairwise(word):
                self.add(left, right, i)

    def add(self, left, right, i):
        """Count a pair in word i if it is whole characters, or part of one and a continuation byte."""
        lacks, also_lacks = self.missing[left], self.missing[right]
        if lacks == also_lacks == 0 or lacks > 0 > also_lacks:
            self.counts[left + right] += self.frequency[i]
            self.where[left + right].add(i)

    def subtract(self, left, right, i):
        if left + right in self.counts:
            self.counts[left + right] -= self.frequency[i]

    def merge(self, pair):
        """Replace a pair by a new token wherever it occurs; returns the pairs that have come into being."""
        left, right, new = *pair, chr(len(self.missing))
        self.missing[new] = max(0, self.missing[left] - 1)
        for i in self.where.pop(pair):
            parts = self.words[i].split(pair)
            self.words[i] = new.join(parts)
            self.counts[pair] -= self.frequency[i] * (len(parts) - 1)
            for k, (before, after) in enumerate(pairwise(parts)): # on both sides of an occurrence of the pair
                if before:
                    self.subtract(before[-1], left, i)
                    self.add(before[-1], new, i)
                elif k > 0: # two occurrences side by side
                    self.subtract(right, left, i)
                    self.add(new, new, i)
                if after:
                    self.subtract(right, after[0], i)
                    self.add(new, after[0], i)
        return list(takewhile(lambda created: new in created, reversed(self.counts))) # a dict keeps its order


def count_words(texts, n_chars):
    """
    {bytes of a word: how often it occurs} in the first n_chars characters, split by PATTERN.

    A word of more than MAX_WORD bytes is cut between two characters: each merge goes through all words that
    have the pair. For the same reason words beyond MAX_DISTINCT bytes together are left out, rare ones first.
    """
    import regex

    find, counts = regex.compile(PATTERN).findall, Counter()
    for text in texts:
        counts.update(find(text[:n_chars]))
        n_chars -= len(text)
        if n_chars <= 0:
            break
    frequency = Counter()
    for word, n in counts.items():
        for piece in pieces_of(word.encode('utf-8', errors='replace')):
            frequency[piece] += n
    if sum(map(len, frequency)) <= MAX_DISTINCT:
        return frequency
    # of equally rare words the checksum chooses: a sample that neither order nor alphabet biases
    ordered = sorted(frequency, key=lambda word: (-frequency[word], zlib.crc32(word), word))
    sizes = accumulate(map(len, ordered))
    return {word: frequency[word] for word, size in zip(ordered, sizes, strict=True) if size <= MAX_DISTINCT}


def pieces_of(word):
    """UTF-8 bytes in pieces of at most MAX_WORD, none of which begins inside a character."""
    start = 0
    while len(word) - start > MAX_WORD:
        end = start + MAX_WORD
        while word[end] & 0xc0 == 0x80: # a continuation byte
            end -= 1
        yield word[start:end]
        start = end
    yield word[start:]
