"""
The state of decoding: sequences that grow token by token, their KV cache, and compiled steps.

    python sample.py --out_dir=out-tinystories --compile    # compiles the step of one token
"""
from contextlib import nullcontext
from weakref import WeakKeyDictionary

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


class KVCache:
    """
    Keys and values of the tokens so far, so that only new tokens are processed.

    keys, values: (n_layer, B, G, size, D), allocated once
    length: int64 (1,), filled positions; a tensor, since torch.compile recompiles for every value of an int
    padding: int64 (B,), left padding of each sequence in tokens; None: none
    kv_len: filled positions once the next tokens are stored: attention reads no more; None: not known
    """

    def __init__(self, model, batch_size, size, padding=None):
        config, like = model.config, model.transformer.wte.weight
        shape = (config.n_layer, batch_size, config.kv_heads, size, config.head_dim)
        self.keys = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.values = torch.zeros_like(self.keys)
        self.length = torch.zeros(1, dtype=torch.int64, device=like.device)
        self.padding, self.size, self.kv_len = padding, size, None

    def advance(self, T):
        """Reserve T cache positions; returns the positions in each sequence, int64 (T,) or (B, T)."""
        self.positions = self.length + torch.arange(T, device=self.length.device) # (T,)
        self.length += T
        if self.kv_len and T in (1, self.kv_len) and self.padding is None:
            self.mask = None # causal
            return self.positions
        columns = torch.arange(self.kv_len or self.size, device=self.length.device) # (S,)
        self.mask = columns <= self.positions[:, None] # (T, S)
        if self.padding is None:
            return self.positions
        # a padding position attends to itself: some kernels return NaN for a row without any key
        self.mask = (self.mask & (columns >= self.padding[:, None, None, None])
                     | (columns == self.positions[:, None])) # (B, 1, T, S)
        return (self.positions - self.padding[:, None]).clamp(min=0) # (B, T)

    def append(self, layer, k, v):
        """Store k, v (B, G, T, D) at the reserved positions; returns all keys, all values, the mask."""
        self.keys[layer].index_copy_(2, self.positions, k)
        self.values[layer].index_copy_(2, self.positions, v)
        return self.keys[layer, :, :, :self.kv_len], self.values[layer, :, :, :self.kv_len], self.mask

    def select(self, rows):
        """Select sequences by index, int64 (B',), repeats allowed."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.padding = None if self.padding is None else self.padding[rows]


def last_logits(model, idx, cache, n_vocab=0, count=1):
    """
    The logits after each of the last count tokens of idx, float32 (B, count, V).

    idx: int64 (B, T), the tokens that follow those in the cache
    n_vocab: ids from here on are padding of the vocabulary and never chosen; 0: there is no padding
    """
    logits = model.lm_head(model.hidden_states(idx, cache)[:, -count:])
    return (logits[..., :n_vocab] if n_vocab else logits).float()


def decoding_kernels(idx):
    """Attention without cuDNN, which builds a plan for each number of keys: slow in decoding."""
    no_cudnn = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    return sdpa_kernel(no_cudnn) if idx.is_cuda else nullcontext()


class CompiledDecoder:
    """
    last_logits for one token at a time, compiled for one model; on a GPU a CUDA graph.

    A graph reads and writes fixed addresses, so there is one KV cache for each of a few shapes, kept for the
    next text, and each step attends to all of it.
    """
    decoders = WeakKeyDictionary() # by model

    def __init__(self, model):
        self.buffers = {} # (cache, tokens) by (batch size, size)
        weight = model.lm_head.weight
        # an H200 decodes 1,500 tokens/s with int8 weights (GPT-2, 124M), without this tuning 300
        options = {'triton.cudagraphs': True, 'coordinate_descent_tuning': weight.dtype == torch.int8}
        self.compiled = torch.compile(last_logits, options=options if weight.is_cuda else None, dynamic=False)

    @classmethod
    def of(cls, model):
        """The decoder of a model, made at the first call."""
        if model not in cls.decoders:
            cls.decoders[model] = cls(model)
        return cls.decoders[model]

    def step(self, model, new_tokens, cache, n_vocab):
        """As last_logits, and the cache for the next step; new_tokens int64 (B, 1)."""
        key = cache.keys.size(1), cache.size
        if key not in self.buffers:
            tokens, kept = torch.zeros_like(new_tokens), KVCache(model, *key, cache.padding.clone())
            for tensor in (tokens, kept.keys, kept.values, kept.length, kept.padding):
                torch._dynamo.mark_static_address(tensor, guard=False)
            self.buffers[key] = kept, tokens
        kept, tokens = self.buffers[key]
        if cache is not kept: # the first step after a prompt
            for name in ('keys', 'values', 'length', 'padding'):
                getattr(kept, name).copy_(getattr(cache, name))
        tokens.copy_(new_tokens)
        return self.compiled(model, tokens, kept, n_vocab), kept


def compiled_size(needed, block_size):
    """Positions of a KV cache for compiled steps: few different sizes, since each is compiled separately."""
    return min(block_size, max(128, 1 << (needed - 1).bit_length()))


class DecodeState:
    """
    B sequences that grow token by token, their positions, and the KV cache of the tokens processed so far.

    idx: int64 (B, T), T >= 1, left-padded to one length; room for max_new_tokens columns is added
    padding: int64 (B,), tokens of left padding of each row; None: none
    n_vocab: see last_logits
    compiled: use torch.compile for steps of one token; see docs/generation.md for what that gains

    Columns of idx: base <= starts[row] < end. Row's context is starts[row]..end, at most block_size tokens;
    the cache holds the columns base..read.
    """

    def __init__(self, model, idx, max_new_tokens, padding=None, n_vocab=0, compiled=False):
        self.model, self.n_vocab, self.compiled = model, n_vocab, compiled
        self.block_size = model.config.block_size
        rows, self.end = idx.shape
        self.idx = torch.zeros(rows, self.end + max_new_tokens, dtype=torch.int64, device=idx.device)
        self.idx[:, :self.end] = idx
        self.starts = [0] * rows if padding is None else padding.tolist() # CPU-GPU synchronization
        self.base, self.read, self.cache = 0, 0, None
        if compiled:
            self.decoder = CompiledDecoder.of(model)

    def logits(self, count=1):
        """The logits after each of the last count tokens, float32 (B, count, V); reads all that are new."""
        new_tokens = self.new_tokens()
        with decoding_kernels(self.idx):
            if self.compiled and new_tokens.size(1) == 1:
                logits, self.cache = self.decoder.step(self.model, new_tokens, self.cache, self.n_vocab)
                return logits
            self.cache.kv_len = self.end - self.base
            return last_logits(self.model, new_tokens, self.cache, self.n_vocab, count)

    def new_tokens(self):
        """The columns that the cache does not hold yet, int64 (B, T), which the caller then reads."""
        self.truncate()
        if self.cache is None:
            self.base = self.read = min(self.starts)
            size = min(self.block_size, self.idx.size(1))
            size = compiled_size(size, self.block_size) if self.compiled else size
            self.cache = KVCache(self.model, len(self.idx), size, self.cache_padding())
        new_tokens, self.read = self.idx[:, self.read:self.end], self.end
        return new_tokens

    def truncate(self):
        """Rows longer than block_size continue with their last block_size // 2 tokens as their context."""
        longer = [row for row, start in enumerate(self.starts) if self.end - start > self.block_size]
        begin = self.end - max(1, self.block_size // 2)
        for row in longer:
            self.starts[row] = begin
        if longer and self.cache is not None:
            self.reread(longer, begin)

    def reread(self, rows, begin):
        """Recompute the cached keys and values of rows for columns begin..read, without those before."""
        shift, length, count = min(self.starts) - self.base, self.read - self.base, self.read - begin
        fresh = KVCache(self.model, len(rows), max(1, count))
        if count:
            fresh.kv_len = count
            with decoding_kernels(self.idx):
                self.model.hidden_states(self.idx[rows, begin:self.read], fresh) # CPU-GPU synchronization
        for cached, new in (self.cache.keys, fresh.keys), (self.cache.values, fresh.values):
            # columns before the first context are dropped; the other rows keep theirs
            cached[..., :length - shift, :] = cached[..., shift:length, :].clone()
            # CPU-GPU synchronization
            cached[:, rows, :, length - shift - count:length - shift] = new[..., :count, :]
        self.base += shift
        self.cache.length -= shift
        if self.compiled:
            self.cache.padding.copy_(self.cache_padding())
        else:
            self.cache.padding = self.cache_padding()

    def cache_padding(self):
        """Left padding of the rows in the cache, int64 (B,); None for none, zeros if steps are compiled."""
        offsets = [start - self.base for start in self.starts]
        # CPU-GPU synchronization
        return torch.tensor(offsets, device=self.idx.device) if any(offsets) or self.compiled else None

    def room(self):
        """How many tokens can be appended before a row is truncated."""
        self.truncate()
        return self.block_size - (self.end - min(self.starts))

    def append(self, tokens):
        """Add tokens, int64 (B, T), to the sequences."""
        self.idx[:, self.end:self.end + tokens.size(1)] = tokens
        self.end += tokens.size(1)

    def rewind(self, count):
        """Remove the last count tokens, which have been read, from the sequences and the cache."""
        self.end -= count
        self.read -= count
        self.cache.length -= count

    def select(self, rows):
        """Keep the sequences rows, int64 (B',), which may repeat."""
        # CPU-GPU synchronization
        self.idx, self.starts = self.idx[rows], [self.starts[row] for row in rows.tolist()]
        self.cache.select(rows)
