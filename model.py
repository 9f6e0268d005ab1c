"""
A GPT to read in one sitting: the network and its KV cache.

    python sample.py --init_from=scratch    # builds one with random weights and shows its parts

Two families share every line that they can. arch='gpt2' is GPT-2 (learned positions, LayerNorm, GELU) with
parameter names and shapes that nanoGPT's checkpoints and OpenAI's weights fit. arch='modern' has the
mathematics of Qwen3 (RoPE, RMSNorm, QK-norm, SwiGLU, grouped-query attention), so that its weights load
elsewhere after renaming and splitting.

Shapes in comments: B sequences, T tokens in each, C = n_embd, H query heads, G key/value heads, D = head_dim,
V vocabulary.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

LOGITS_AT_ONCE = 1 << 24 # numbers, 64 MB: without a compiler, more logits than that are made in parts


@dataclass
class GPTConfig:
    arch: str = 'modern' # 'modern' or 'gpt2'
    vocab_size: int = 50304 # rows of the embedding table; may be more than the tokenizer uses
    block_size: int = 1024 # the longest context, in tokens
    n_layer: int = 12
    n_head: int = 12
    n_kv_head: int = 0 # heads of keys and values, shared by n_head / n_kv_head query heads each; 0: n_head
    n_embd: int = 768
    dropout: float = 0.0
    bias: bool = False # gpt2 only: biases in linear layers and norms
    activation: str = 'gelu' # gpt2 only: 'gelu' (exact, as nanoGPT) or 'gelu_tanh' (as OpenAI's weights want)
    tie_weights: bool = False # modern only: the head is the embedding table; gpt2 always does that
    rope_theta: float = 10000.0 # modern only: the slowest pair of coordinates turns once in 2 pi theta tokens

    @property
    def head_dim(self):
        return self.n_embd // self.n_head

    @property
    def kv_heads(self):
        return self.n_kv_head or self.n_head

    @property
    def tied(self):
        return self.tie_weights or self.arch == 'gpt2'

    def problems(self):
        """What cannot be built, as a list of sentences; empty when all is well."""
        found = [f'{name} must be at least 1, got {getattr(self, name)}'
                 for name in ('vocab_size', 'block_size', 'n_layer', 'n_head', 'n_embd')
                 if getattr(self, name) < 1]
        if self.arch not in ('modern', 'gpt2'):
            found.append(f"arch must be 'modern' or 'gpt2', got {self.arch!r}")
        if self.activation not in ('gelu', 'gelu_tanh'):
            found.append(f"activation must be 'gelu' or 'gelu_tanh', got {self.activation!r}")
        if not 0 <= self.dropout < 1:
            found.append(f'dropout must be in [0, 1), got {self.dropout}')
        if found:
            return found # what follows divides by these
        if self.n_embd % self.n_head:
            widths = (self.n_embd // self.n_head * self.n_head,
                      (self.n_embd // self.n_head + 1) * self.n_head)
            found.append(f'n_embd must be a multiple of n_head = {self.n_head}, got {self.n_embd}; '
                         f'nearest: {" or ".join(str(w) for w in widths if w)}')
        elif self.arch == 'modern' and self.head_dim % 2:
            found.append(f'n_embd / n_head must be even, because RoPE turns pairs; got {self.head_dim}')
        if self.n_kv_head < 0 or self.n_head % self.kv_heads:
            found.append(f'n_head must be a multiple of n_kv_head, got {self.n_head} and {self.n_kv_head}')
        if self.arch == 'gpt2' and self.kv_heads != self.n_head:
            found.append("arch='gpt2' has one key/value head for each head, "
                         f'got n_kv_head = {self.n_kv_head}')
        return found


class LayerNorm(nn.Module):
    """Zero mean, unit variance, then a learned scale and perhaps shift (Ba et al. 2016, arXiv 1607.06450)."""

    def __init__(self, n_embd, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_embd))
        self.bias = nn.Parameter(torch.zeros(n_embd)) if bias else None

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


def compute_dtype(device, weight):
    """The dtype of the residual stream: autocast's where it is on, which halves the memory traffic."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return weight.dtype


def rotation(positions, head_dim, theta, dtype):
    """
    Cosines and sines by which RoPE turns queries and keys, each (T, 1, D) or (B, T, 1, D), for rotate.

    positions: int64 (T,) or (B, T). Su et al. 2021, arXiv 2104.09864. Computed anew in every forward: it
    costs little, and the angles of a stored table would be rounded with the weights of a model in bfloat16.
    """
    pair = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32)
    angle = (positions[..., None] * theta ** (-pair / head_dim)).unsqueeze(-2) # (..., T, 1, D/2)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, cos), dim=-1).to(dtype), torch.cat((-sin, sin), dim=-1).to(dtype)


def rotate(x, cos, sin):
    """x (B, T, H, D), coordinates i and i + D/2 turned as a pair by their position; keeps shape and dtype."""
    return torch.addcmul(x * cos, x.roll(x.size(-1) // 2, dims=-1), sin)


def attend(q, k, v, mask=None, dropout=0.0):
    """
    softmax(q kᵀ / sqrt(D)) v: q (B, H, T, D), k and v (B, G, S, D) -> (B, H, T, D).

    mask: bool (T, S) or (B, 1, T, S), who may look at whom; None: at oneself and at all that came before
    """
    B, H, T, D = q.shape
    if T < 16 and q.device.type == 'cpu' and q.dtype == torch.bfloat16:
        # torch's own kernel needs four times as long for one token after 1000, and more beside other programs
        return attend(q.float(), k.float(), v.float(), mask, dropout).bfloat16()
    if mask is not None or T == 1 or q.device.type != 'cpu' or q.dtype != torch.bfloat16 or T > 512:
        # is_causal lines the mask up with the first key, so with a cache a new token would see only that one
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None and T > 1,
                                              dropout_p=dropout, enable_gqa=k.size(1) < H)
    # in bfloat16 on a CPU torch's own kernel needs four times as long at 64 tokens, but 0.8 at 1024
    k, v = (t.repeat_interleave(H // t.size(1), dim=1).flatten(0, 1) for t in (k, v)) # (B H, T, D)
    later = torch.full((T, T), -1e9, dtype=q.dtype).triu(1) # what comes later weighs nothing
    weights = torch.baddbmm(later, q.flatten(0, 1), k.mT, alpha=D ** -0.5).softmax(dim=-1) # (B H, T, T)
    return (F.dropout(weights, dropout) @ v).view(B, H, T, D)


class CausalSelfAttention(nn.Module):
    """Every token looks at itself and at what came before it (Vaswani et al. 2017, arXiv 1706.03762)."""

    def __init__(self, config, layer):
        super().__init__()
        self.layer, self.dropout = layer, config.dropout
        self.n_head, self.kv_heads, self.head_dim = config.n_head, config.kv_heads, config.head_dim
        bias = config.bias and config.arch == 'gpt2'
        # queries, keys and values in one matrix, in this order of rows: H, G and G heads of D
        self.c_attn = nn.Linear(config.n_embd, (config.n_head + 2 * config.kv_heads) * config.head_dim,
                                bias=bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=bias)
        self.resid_dropout = nn.Dropout(config.dropout)
        if config.arch == 'modern': # QK-norm keeps the logits bounded (Henry et al. 2020, arXiv 2010.04245)
            self.qk_norm = nn.RMSNorm(config.head_dim, eps=1e-6, elementwise_affine=False)

    def forward(self, x, turn=None, cache=None):
        B, T, C = x.shape
        heads = self.c_attn(x).view(B, T, -1, self.head_dim) # (B, T, H + 2 G, D)
        qk, v = heads.split((self.n_head + self.kv_heads, self.kv_heads), dim=2)
        if turn is not None: # the modern family
            qk = rotate(self.qk_norm(qk), *turn)
        q, k = qk.transpose(1, 2).split((self.n_head, self.kv_heads), dim=1)
        v = v.transpose(1, 2)
        mask = None
        if cache is not None:
            k, v, mask = cache.append(self.layer, k, v) # (B, G, S, D): all that the cache has room for
        y = attend(q, k, v, mask, self.dropout if self.training else 0.0)
        return self.resid_dropout(self.c_proj(y.transpose(1, 2).reshape(B, T, C)))


class MLP(nn.Module):
    """What a token does with what it got: GELU of 4 C units (gpt2), SwiGLU (modern; arXiv 2002.05202)."""

    def __init__(self, config):
        super().__init__()
        self.gated = config.arch == 'modern'
        bias = config.bias and not self.gated
        # a gate makes a third matrix, so 8/3 C units instead of 4 C keep the parameters the same
        units = max(64, round(config.n_embd * 8 / 3 / 64) * 64) if self.gated else 4 * config.n_embd
        # rows: gate, then up
        self.c_fc = nn.Linear(config.n_embd, 2 * units if self.gated else units, bias=bias)
        self.c_proj = nn.Linear(units, config.n_embd, bias=bias)
        self.approximate = 'tanh' if config.activation == 'gelu_tanh' else 'none'
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x):
        x = self.c_fc(x)
        if self.gated:
            gate, up = x.chunk(2, dim=-1)
            x = F.silu(gate) * up
        else:
            x = F.gelu(x, approximate=self.approximate)
        return self.dropout(self.c_proj(x))


def make_norm(config):
    if config.arch == 'gpt2':
        return LayerNorm(config.n_embd, config.bias)
    return nn.RMSNorm(config.n_embd, eps=1e-6, elementwise_affine=False)


class Block(nn.Module):
    """Gather from other tokens, then think; each reads a normalised copy and adds to the residual stream."""

    def __init__(self, config, layer):
        super().__init__()
        self.ln_1 = make_norm(config)
        self.attn = CausalSelfAttention(config, layer)
        self.ln_2 = make_norm(config)
        self.mlp = MLP(config)

    def forward(self, x, turn=None, cache=None):
        x = x + self.attn(self.ln_1(x), turn, cache)
        return x + self.mlp(self.ln_2(x))


class KVCache:
    """
    Keys and values of the tokens read so far, so that the next token is one column of work, not all of them.

    keys, values: (n_layer, B, G, size, D), made once
    length: int64 (1,), how many of the size places are filled; a tensor because a compiled model would
        otherwise be compiled again for every token
    padding: int64 (B,), so many of the first places of each sequence are not part of it; None: none is
    window: how many places are looked at; fewer than size save work, where it is known how many are filled
    """

    def __init__(self, model, batch_size, size, padding=None):
        config, like = model.config, model.transformer.wte.weight
        shape = (config.n_layer, batch_size, config.kv_heads, size, config.head_dim)
        self.keys = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.values = torch.zeros_like(self.keys)
        self.length = torch.zeros(1, dtype=torch.int64, device=like.device)
        self.padding, self.size, self.window = padding, size, size

    def advance(self, T):
        """Make room for T tokens in each sequence; returns their positions in it, int64 (T,) or (B, T)."""
        self.places = self.length + torch.arange(T, device=self.length.device)
        self.length += T
        columns = torch.arange(self.window, device=self.length.device)
        self.mask = columns <= self.places[:, None] # (T, window)
        if self.padding is None:
            return self.places
        # padding looks at itself, as not every kernel knows what to do with what looks at nothing
        self.mask = (self.mask & (columns >= self.padding[:, None, None, None])
                     | (columns == self.places[:, None])) # (B, 1, T, window)
        return (self.places - self.padding[:, None]).clamp(min=0)

    def select(self, rows):
        """Make the sequences those of rows, int64 (B',), some perhaps several times."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.padding = None if self.padding is None else self.padding[rows]

    def append(self, layer, k, v):
        """
        Store k, v (B, G, T, D) of the tokens that advance made room for.

        returns all keys, all values, and who may look at whom
        """
        self.keys[layer].index_copy_(2, self.places, k)
        self.values[layer].index_copy_(2, self.places, v)
        return self.keys[layer, :, :, :self.window], self.values[layer, :, :, :self.window], self.mask


class HeadLoss(torch.autograd.Function):
    """
    The sum of cross-entropies of x @ weight.T, some tokens at a time, so that all logits never exist at once.

    x: (N, C); weight: (V, C); targets: int64 (N,), -1 where there is nothing to learn
    The gradients are found on the way forward, when the logits are at hand, so no work is done twice.
    """

    @staticmethod
    def forward(ctx, x, weight, targets):
        low = weight.to(x.dtype)
        total, dx, dw = 0.0, torch.empty_like(x), torch.zeros_like(weight)
        rows = max(1, LOGITS_AT_ONCE // weight.size(0))
        for part, wanted, dx_part in zip(x.split(rows), targets.split(rows), dx.split(rows), strict=True):
            logits = F.linear(part, low).requires_grad_()
            with torch.enable_grad():
                loss = cross_entropy_sum(logits, wanted)
            dlogits, = torch.autograd.grad(loss, logits)
            torch.matmul(dlogits, low, out=dx_part)
            for dw_rows, some in zip(dw.split(4096), dlogits.split(4096, dim=1), strict=True):
                dw_rows += some.mT @ part # a few rows at a time: a second table would be too much
            total = total + loss.detach()
        ctx.gradients = dx, dw
        return total

    @staticmethod
    def backward(ctx, gradient):
        dx, dw = ctx.gradients
        ctx.gradients = None # the only reference is then the parameter's, so nothing is copied
        return dx.mul_(gradient), dw.mul_(gradient), None


def cross_entropy_sum(logits, targets):
    """float32 (): logits (N, V), targets int64 (N,), of which -1 does not count."""
    return F.cross_entropy(logits.float(), targets, ignore_index=-1, reduction='sum')


class GPT(nn.Module):

    def __init__(self, config, copying=True):
        """
        Weights are drawn from torch's global generator.

        copying: see init_weights
        Raises SystemExit with everything that is wrong with config.
        """
        super().__init__()
        if config.problems():
            raise SystemExit('model: ' + '; '.join(config.problems()))
        self.config = config
        parts = {'wte': nn.Embedding(config.vocab_size, config.n_embd)}
        if config.arch == 'gpt2':
            parts['wpe'] = nn.Embedding(config.block_size, config.n_embd)
        else:
            parts['ln_0'] = make_norm(config)
        parts['drop'] = nn.Dropout(config.dropout)
        parts['h'] = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        parts['ln_f'] = make_norm(config)
        self.transformer = nn.ModuleDict(parts)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        if config.tied:
            self.transformer.wte.weight = self.lm_head.weight
        self.init_weights(copying)

    @torch.no_grad()
    def init_weights(self, copying):
        """
        gpt2: normal 0.02, projections onto the residual stream smaller (GPT-2 paper, section 2.3).

        modern: matrices keep the size of what they multiply, and a block starts by adding nothing.
        copying: an attention head starts by adding what it looks at: the projection undoes the values (after
            Trockman and Kolter 2023, arXiv 2305.09828). All it has to learn is where to look, and names in a
            story stay the same much sooner.
        """
        modern = self.config.arch == 'modern'
        for name, p in self.named_parameters():
            if p.dim() < 2:
                if name.endswith('bias'):
                    p.zero_() # norms start as ones
            elif name.endswith('c_proj.weight') and modern:
                p.zero_()
            elif name.endswith('c_proj.weight'):
                p.normal_(0, 0.02 / math.sqrt(2 * self.config.n_layer))
            else:
                p.normal_(0, p.size(1) ** -0.5 if modern and name.startswith('transformer.h.') else 0.02)
        for block in self.transformer.h if modern and copying else []:
            c, attn = self.config, block.attn
            values = attn.c_attn.weight[-c.kv_heads * c.head_dim:].view(c.kv_heads, c.head_dim, c.n_embd)
            values = values.repeat_interleave(c.n_head // c.kv_heads, dim=0) # (H, D, C)
            attn.c_proj.weight.copy_(values.reshape(c.n_embd, c.n_embd).t())

    def hidden(self, idx, cache=None):
        """What the model knows at each token before it names the next: idx int64 (B, T) -> (B, T, C)."""
        B, T = idx.shape
        assert T <= self.config.block_size, f'{T} tokens, but block_size is {self.config.block_size}'
        positions = torch.arange(T, device=idx.device) if cache is None else cache.advance(T)
        x, turn = self.transformer.wte(idx), None
        dtype = compute_dtype(idx.device, self.transformer.wte.weight)
        if self.config.arch == 'gpt2':
            x = x + self.transformer.wpe(positions)
        else:
            x = self.transformer.ln_0(x) # rare tokens as loud as frequent ones
            turn = rotation(positions, self.config.head_dim, self.config.rope_theta, dtype)
        x = self.transformer.drop(x.to(dtype))
        for block in self.transformer.h:
            x = block(x, turn, cache)
        return self.transformer.ln_f(x).to(dtype) # autocast on a GPU has norms return float32

    def forward(self, idx, targets=None, cache=None):
        """
        The logits of the next token, or the mean loss when its targets are given.

        idx: int64 (B, T), T <= block_size; with a cache, the tokens that follow those already in it
        targets: int64 (B, T), the token after each of idx; -1 where there is nothing to learn
        returns logits (B, T, V), or the loss, float32 (), in nats per token
        """
        x = self.hidden(idx, cache)
        if targets is None:
            return self.lm_head(x)
        x, targets, weight = x.flatten(0, 1), targets.flatten(), self.lm_head.weight
        # a compiler keeps only what it needs of the logits
        if x.size(0) * weight.size(0) <= LOGITS_AT_ONCE or torch.compiler.is_compiling():
            total = cross_entropy_sum(self.lm_head(x), targets)
        elif torch.is_grad_enabled():
            total = HeadLoss.apply(x, weight, targets)
        else:
            rows = max(1, LOGITS_AT_ONCE // weight.size(0))
            total = sum(cross_entropy_sum(self.lm_head(part), wanted)
                        for part, wanted in zip(x.split(rows), targets.split(rows), strict=True))
        return total / (targets >= 0).sum()

    def parameter_groups(self):
        """{kind: {name: parameter}}, kinds matrix, embedding, head, vector, which optim.py treats apart."""
        groups = {'matrix': {}, 'embedding': {}, 'head': {}, 'vector': {}}
        for name, p in self.named_parameters(): # names a tied table once, as transformer.wte
            if p.dim() < 2:
                kind = 'vector'
            elif name.startswith('transformer.h.'):
                kind = 'matrix'
            else:
                kind = 'head' if name.startswith('lm_head') else 'embedding'
            groups[kind][name] = p
        counted, total = sum(len(group) for group in groups.values()), len(list(self.parameters()))
        assert counted == total, f'{counted} parameters in groups, {total} in the model'
        return groups

    def stacked_rows(self, name):
        """Row counts of the matrices that are stacked in a parameter, for what treats them one by one."""
        c, rows = self.config, self.get_parameter(name).size(0)
        if name.endswith('c_attn.weight'): # queries, keys, values
            return [c.n_head * c.head_dim, c.kv_heads * c.head_dim, c.kv_heads * c.head_dim]
        if name.endswith('c_fc.weight') and c.arch == 'modern': # gate, up
            return [rows // 2, rows // 2]
        return [rows]

    def n_params(self):
        """How many numbers are learned; a tied table counts once."""
        return sum(p.numel() for p in self.parameters())

    def flops_per_token(self):
        """
        Floating-point operations that training spends on one token: 6 N + 12 L C T.

        N: weights that multiply (the embedding is looked up, the head multiplies), two operations forward and
        four backward each; the second term is attention's, over the whole square. Chowdhery et al. 2022,
        arXiv 2204.02311, appendix B.
        """
        c = self.config
        weights = sum(p.numel() for p in self.parameter_groups()['matrix'].values()) + c.vocab_size * c.n_embd
        return 6 * weights + 12 * c.n_layer * c.n_embd * c.block_size
