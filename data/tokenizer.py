"""
Text to token ids and back, in three ways behind one interface.

    tokenizer = train_bpe(texts)                        # or CharTokenizer.of(text), or GPT2Tokenizer()
    tokenizer.decode(tokenizer.encode(text)) == text
    from_json(tokenizer.to_json())                      # the same tokenizer again; what meta.json and checkpoints hold

Every tokenizer has .kind, .n_vocab, .eot (the id that ends a document; None for char, which has none), encode,
encode_batch, decode, decode_bytes (for streaming: one character may span several tokens) and to_json.
encode never gives eot, whatever the text holds.
"""
import functools
import hashlib
import heapq
import os
import tempfile
from collections import Counter, defaultdict
from itertools import chain

import numpy as np

SEPARATOR = '<|endoftext|>'

# Where text is cut before bytes are merged: a word with the space or apostrophe before it, up to three digits, a run
# of signs, white space. Every character is in exactly one class, so the pieces always add up to the text; there is no
# look-ahead, so no text, however odd, makes it slow.
PATTERN = r"[ '’]?[\p{L}\p{M}]+| ?\p{N}{1,3}| ?[^\s\p{L}\p{M}\p{N}]+|\s+"
SAMPLE = 20_000_000 # characters that a vocabulary is learned from
MAX_TOKENS = 1_000_000 # what from_json takes: far more than anybody trains here, far less than fills the memory
MAX_TOKEN_BYTES = 1024


class CharTokenizer:
    """One id for each character of a known set; the ids follow the order of `chars`, a string."""
    kind, eot = 'char', None

    def __init__(self, chars):
        self.chars = chars
        self.n_vocab = len(chars)
        self.ids = {char: i for i, char in enumerate(chars)}

    @classmethod
    def of(cls, text):
        """The characters of a text, sorted, which is also nanoGPT's order."""
        return cls(''.join(sorted(set(text))))

    def encode(self, text):
        try:
            return [self.ids[char] for char in text]
        except KeyError:
            unknown = ''.join(sorted(set(text) - set(self.chars)))
            raise SystemExit(f'encode: expected only the {self.n_vocab} known characters {self.chars!r}, '
                             f'got also {unknown[:50]!r}; leave them out, or train on text that has them') from None

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]

    def decode(self, ids):
        return ''.join(self.chars[i] for i in ids)

    def decode_bytes(self, ids):
        return self.decode(ids).encode('utf-8')

    def byte_lengths(self):
        """How many bytes of UTF-8 each id stands for, int64 (n_vocab,)."""
        return np.array([len(char.encode('utf-8')) for char in self.chars])

    def to_json(self):
        return {'kind': 'char', 'chars': self.chars}


class BPETokenizer:
    """
    Byte pair encoding (Sennrich et al. 2016, arXiv:1508.07909) over bytes, so that any text can be written.

    tokens: list of bytes in the order they were learned; the first 256 are the single bytes. One id more ends documents.
    """
    kind = 'bpe'

    def __init__(self, tokens):
        import tiktoken # here, so that char needs no tiktoken
        self.tokens = tokens
        self.eot = len(tokens)
        self.n_vocab = len(tokens) + 1
        self.encoding = tiktoken.Encoding('pocketgpt', pat_str=PATTERN, special_tokens={SEPARATOR: self.eot},
                                          mergeable_ranks={token: i for i, token in enumerate(tokens)})

    def encode(self, text):
        return self.encoding.encode_ordinary(text) # ordinary: the text <|endoftext|> gives its letters, not eot

    def encode_batch(self, texts):
        return self.encoding.encode_ordinary_batch(texts, num_threads=os.cpu_count() or 1)

    def decode(self, ids):
        return self.decode_bytes(ids).decode('utf-8', errors='replace')

    def decode_bytes(self, ids):
        return self.encoding.decode_bytes(ids)

    def byte_lengths(self):
        """How many bytes of text each id stands for, int64 (n_vocab,); eot is not text and stands for none."""
        return np.array([len(self.encoding.decode_single_token_bytes(i)) for i in range(self.n_vocab - 1)] + [0])

    def to_json(self):
        # latin-1 has one character for each byte, so this is the plain way to put bytes into JSON
        return {'kind': 'bpe', 'pattern': PATTERN, 'tokens': [token.decode('latin-1') for token in self.tokens]}


class GPT2Tokenizer:
    """GPT-2's 50,257 tokens through tiktoken, which fetches them when text is first encoded or decoded, and keeps them."""
    kind, n_vocab, eot = 'gpt2', 50257, 50256
    # numbers alone (training on bins made elsewhere) need no vocabulary; everything about text is as in BPETokenizer
    encode, encode_batch = BPETokenizer.encode, BPETokenizer.encode_batch
    decode, decode_bytes, byte_lengths = BPETokenizer.decode, BPETokenizer.decode_bytes, BPETokenizer.byte_lengths

    @functools.cached_property
    def encoding(self):
        return load_gpt2()

    def to_json(self):
        return {'kind': 'gpt2'}


def load_gpt2():
    """GPT-2's tiktoken.Encoding, from tiktoken's cache or its download; SystemExit when neither is to be had."""
    import tiktoken

    from data import download
    base = 'https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/'
    urls = [base + 'vocab.bpe', base + 'encoder.json']
    folder = os.environ.get('TIKTOKEN_CACHE_DIR', os.path.join(tempfile.gettempdir(), 'data-gym-cache'))
    names = [hashlib.sha1(url.encode()).hexdigest() for url in urls] # what tiktoken calls them in its cache
    cached = all(os.path.isfile(os.path.join(folder, name)) for name in names)
    why = '' if cached else download.why_unreachable(urls[0]) # tiktoken itself would wait without a time-out
    if not why:
        try:
            return tiktoken.get_encoding('gpt2')
        except (OSError, ValueError) as error: # no network after all (requests), or not the files it knows (hash)
            why = type(error).__name__
    raise SystemExit(f'gpt2 tokenizer: expected to fetch vocab.bpe and encoder.json from {base}, but {why}; put the two '
                     f'files into a folder as {names[0]} and {names[1]} and set TIKTOKEN_CACHE_DIR to it, or learn a '
                     'vocabulary from your own text: python data/text/prepare.py --tokenizer=bpe --input=FILE')


def from_json(meta):
    """The tokenizer that to_json() described; SystemExit when this is not such a description, whoever wrote it."""
    def refuse(expected, got):
        raise SystemExit(f'tokenizer: expected {expected}, got {got}; prepare the data again, or use another checkpoint')

    kind = meta.get('kind') if isinstance(meta, dict) else None
    if kind == 'gpt2':
        return GPT2Tokenizer()
    if kind == 'char':
        chars = meta.get('chars')
        if not isinstance(chars, str) or not 0 < len(chars) <= MAX_TOKENS:
            refuse('chars, a string', type(chars).__name__)
        if len(set(chars)) < len(chars):
            refuse('chars that are all different', 'some twice')
        if any('\ud800' <= char <= '\udfff' for char in chars):
            refuse('chars that UTF-8 can write', 'a lone surrogate')
        return CharTokenizer(chars)
    if kind != 'bpe':
        refuse("a dict whose kind is 'char', 'bpe' or 'gpt2'", repr(meta)[:50] if kind is None else repr(kind)[:50])
    if meta.get('pattern') != PATTERN:
        refuse('the pattern of this version', repr(meta.get('pattern'))[:50])
    texts = meta.get('tokens')
    if not isinstance(texts, list) or not 256 <= len(texts) <= MAX_TOKENS:
        refuse(f'a list of 256 to {MAX_TOKENS:,} tokens', type(texts).__name__)
    if not all(isinstance(text, str) and 0 < len(text) <= MAX_TOKEN_BYTES and max(text) <= '\xff' for text in texts):
        refuse(f'tokens of 1 to {MAX_TOKEN_BYTES} latin-1 characters', 'others')
    tokens = [text.encode('latin-1') for text in texts]
    if tokens[:256] != [bytes([i]) for i in range(256)] or len(set(tokens)) < len(tokens):
        refuse('the 256 single bytes first, and no token twice', 'another list')
    return BPETokenizer(tokens)


# learning a vocabulary

def train_bpe(texts, n_vocab=4096, n_chars=SAMPLE):
    """
    A BPETokenizer learned from texts: the pair of tokens most frequent inside words becomes a token, again and again.

    texts: iterable of str; only the first n_chars characters are read, which is enough and bounds time and memory
    n_vocab: 256 bytes + merges + the end of a document. It comes out smaller when no pair occurs twice any more.
    Deterministic: of equally frequent pairs the one whose bytes sort first is taken, whatever the order of the texts.
    """
    if not 257 <= n_vocab <= MAX_TOKENS:
        raise SystemExit(f'train_bpe: expected 257 (the bytes and the end of a document) to {MAX_TOKENS:,} tokens, '
                         f'got vocab_size={n_vocab}')
    tokens = [bytes([i]) for i in range(256)]
    known = set(tokens)
    frequency = count_words(texts, n_chars)
    words, frequency = [list(word) for word in frequency], list(frequency.values())
    counts, where = Counter(), defaultdict(set) # pair of ids -> how often, and in which words (or once was)
    for i, ids in enumerate(words):
        add_pairs(counts, ids, frequency[i])
        for pair in zip(ids, ids[1:], strict=False):
            where[pair].add(i)

    def entry(pair):
        return -counts[pair], tokens[pair[0]], tokens[pair[1]], pair

    heap = [entry(pair) for pair in counts]
    heapq.heapify(heap)
    while heap and len(tokens) < n_vocab - 1:
        negative, left, right, pair = heapq.heappop(heap)
        if -negative != counts[pair]: # counts of old pairs only fall, so the entry is corrected when it comes up
            heapq.heappush(heap, entry(pair))
            continue
        if counts[pair] < 2:
            break
        if left + right in known: # these bytes came together in another way before
            continue
        new = len(tokens)
        tokens.append(left + right)
        known.add(left + right)
        fresh = set()
        for i in where.pop(pair):
            ids = merged(words[i], pair, new)
            add_pairs(counts, words[i], -frequency[i])
            add_pairs(counts, ids, frequency[i])
            words[i] = ids
            for neighbours in zip(ids, ids[1:], strict=False):
                if new in neighbours:
                    where[neighbours].add(i)
                    fresh.add(neighbours)
        for neighbours in fresh:
            heapq.heappush(heap, entry(neighbours))
    return BPETokenizer(tokens)


def learn_bpe(texts, n_vocab):
    """(tokenizer, texts): a BPETokenizer learned from the first SAMPLE characters, and all the texts again."""
    texts, first, room = iter(texts), [], SAMPLE
    while room > 0 and (text := next(texts, None)) is not None:
        first.append(text)
        room -= len(text)
    return train_bpe(first, n_vocab), chain(first, texts)


def count_words(texts, n_chars):
    """{bytes of a word: how often it occurs} in the first n_chars characters, words as PATTERN cuts them."""
    import regex # comes with tiktoken; unlike re it knows \p{L}
    find, counts, room = regex.compile(PATTERN).findall, Counter(), n_chars
    for text in texts:
        counts.update(find(text[:room]))
        room -= len(text)
        if room <= 0:
            break
    frequency = Counter()
    for word, n in counts.items():
        word = word.encode('utf-8', errors='replace')
        for start in range(0, len(word), 64): # a megabyte without a space would make every merge slow
            frequency[word[start:start + 64]] += n
    return frequency


def add_pairs(counts, ids, n):
    for pair in zip(ids, ids[1:], strict=False):
        counts[pair] += n


def merged(ids, pair, new):
    """ids with every occurrence of pair, from the left, replaced by new."""
    out, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and ids[i] == pair[0] and ids[i + 1] == pair[1]:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out
