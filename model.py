"""
A GPT to read in one sitting: the network, and fast versions of its normalization, attention and loss.

    python sample.py --init_from=scratch    # builds one with random weights and prints its parameters

Two architectures share most code. arch='gpt2' is GPT-2 (learned position embeddings,
LayerNorm, GELU) with the parameter names and shapes of nanoGPT's checkpoints and OpenAI's weights.
arch='modern' is a Qwen3-style architecture: RoPE, RMSNorm, QK-norm, SwiGLU, grouped-query attention.

Shapes in comments: B batch, T tokens, C = n_embd, H query heads, G key/value heads, D = head_dim,
V vocabulary, S keys (T, or with a KV cache all tokens so far).
"""
import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

MAX_LOGITS = {'cpu': 1 << 24, 'cuda': 1 << 26} # elements; in eager mode, more are computed in chunks
# swiglu is gated and so takes two inputs (arXiv 2002.05202); gelu_tanh is what OpenAI's GPT-2 weights expect
ACTIVATIONS = {'swiglu': lambda gate, up: F.silu(gate) * up, 'gelu': F.gelu,
               'gelu_tanh': lambda x: F.gelu(x, approximate='tanh')}


@dataclass
class GPTConfig:
    # to add one: a field, a setting of train.py of the same name, a check in problems() if an arch ignores it
    arch: str = 'modern' # 'modern' or 'gpt2'
    vocab_size: int = 50304 # rows of the embedding; may be padded beyond what the tokenizer uses
    block_size: int = 1024 # maximum context length, in tokens
    n_layer: int = 12
    n_head: int = 12
    n_kv_head: int = 0 # key/value heads, each shared by n_head / n_kv_head query heads; 0: n_head
    n_embd: int = 768
    dropout: float = 0.0
    bias: bool = False # gpt2 only: biases in linear layers and norms
    activation: str = '' # one of ACTIVATIONS; '': swiglu for modern, gelu for gpt2
    tie_weights: bool = False # lm_head is the token embedding; always so for gpt2
    rope_theta: float = 10000.0 # modern only: the longest wavelength of RoPE is 2 pi theta tokens

    @property
    def head_dim(self):
        return self.n_embd // self.n_head

    @property
    def kv_heads(self):
        return self.n_kv_head or self.n_head

    def problems(self):
        """What is invalid, as a list of sentences; empty for a valid config."""
        sizes = dict(vocab_size=10**8, block_size=10**8, n_layer=10**4, n_head=10**4, n_embd=10**6)
        found = [f'{name} must be from 1 to {most}, got {getattr(self, name)}'
                 for name, most in sizes.items() if not 1 <= getattr(self, name) <= most]
        if self.arch not in ('modern', 'gpt2'):
            found.append(f"arch must be 'modern' or 'gpt2', got {self.arch!r}")
        if self.activation not in ('', *ACTIVATIONS):
            found.append(f'activation must be one of {", ".join(ACTIVATIONS)}, got {self.activation!r}')
        if not 0 <= self.dropout < 1:
            found.append(f'dropout must be in [0, 1), got {self.dropout}')
        if not 1 < self.rope_theta < math.inf:
            found.append(f'rope_theta must be above 1, got {self.rope_theta}')
        if found:
            return found # what follows divides by these
        if remainder := self.n_embd % self.n_head:
            nearest = [n for n in (self.n_embd - remainder, self.n_embd - remainder + self.n_head) if n]
            found.append(f'n_embd must be a multiple of n_head = {self.n_head}, got {self.n_embd}; nearest: '
                         f'{" or ".join(map(str, nearest))}')
        elif self.arch == 'modern' and self.head_dim % 2:
            found.append(f'n_embd / n_head must be even, because RoPE rotates pairs; got {self.head_dim}')
        if self.n_kv_head < 0 or self.n_head % self.kv_heads:
            found.append(f'n_head must be a multiple of n_kv_head, got {self.n_head} and {self.n_kv_head}')
        if self.arch == 'gpt2' and (self.kv_heads, self.rope_theta) != (self.n_head, GPTConfig.rope_theta):
            found.append("arch='gpt2' has no n_kv_head and no rope_theta; leave them out")
        if self.arch == 'modern' and self.bias:
            found.append("arch='modern' has no bias; leave it out")
        return found


# ---- layers ----

class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean(x^2) + eps) over the last dimension (arXiv 1910.07467), here without a gain."""

    def forward(self, x):
        if x.device.type == 'cpu' and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            y = RMSNormFunction.apply(x, self.eps)
            return y if self.weight is None else y * self.weight
        return super().forward(x)


def make_norm(config):
    if config.arch == 'gpt2':
        return nn.LayerNorm(config.n_embd, bias=config.bias)
    return RMSNorm(config.n_embd, eps=1e-6, elementwise_affine=False)


def naive_attention(q, k, v, mask):
    """The formula, which attention() computes faster: q (B, H, T, D), k, v (B, H, S, D), mask bool (T, S)."""
    scores = q @ k.mT / math.sqrt(q.size(-1)) # (B, H, T, S)
    scores = scores.masked_fill(~mask, -math.inf) # (B, H, T, S)
    weights = scores.softmax(dim=-1) # (B, H, T, S)
    return weights @ v # (B, H, T, D)


def rope_cos_sin(positions, head_dim, theta, dtype):
    """
    The cosines and sines of RoPE (arXiv 2104.09864) for apply_rope, each (T, 1, D) or (B, T, 1, D).

    positions: int64 (T,) or (B, T). In float32 each time: a buffer would be cast by .bfloat16().
    """
    pair = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) # (D/2,)
    angle = (positions[..., None] * theta ** (-pair / head_dim)).unsqueeze(-2) # (..., T, 1, D/2)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, cos), dim=-1).to(dtype), torch.cat((-sin, sin), dim=-1).to(dtype)


def apply_rope(x, cos, sin):
    """x * cos + rotate_half(x) * sin, x (B, T, H, D); the minus sign of rotate_half is in sin."""
    return torch.addcmul(x * cos, x.roll(x.size(-1) // 2, dims=-1), sin) # (B, T, H, D)


class CausalSelfAttention(nn.Module):
    """Causal multi-head self-attention; grouped-query (arXiv 2305.13245) if n_kv_head < n_head."""

    def __init__(self, config, layer):
        super().__init__()
        self.layer, self.dropout = layer, config.dropout # layer: index into the KV cache
        self.n_head, self.kv_heads, self.head_dim = config.n_head, config.kv_heads, config.head_dim
        # one fused projection; its rows are the H query heads, the G key heads, the G value heads
        sizes = [n * config.head_dim for n in (config.n_head, config.kv_heads, config.kv_heads)]
        self.c_attn = nn.Linear(config.n_embd, sum(sizes), bias=config.bias)
        self.c_attn.split_sizes = sizes # Muon orthogonalizes each matrix by itself
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.resid_dropout = nn.Dropout(config.dropout)
        if config.arch == 'modern': # QK-norm bounds the attention logits (arXiv 2010.04245)
            self.qk_norm = RMSNorm(config.head_dim, eps=1e-6, elementwise_affine=False)

    def forward(self, x, cos_sin=None, cache=None):
        B, T, C = x.shape
        H, G, D = self.n_head, self.kv_heads, self.head_dim
        qkv = self.c_attn(x).view(B, T, H + 2 * G, D) # (B, T, H + 2 G, D)
        qk, v = qkv.split((H + G, G), dim=2) # (B, T, H + G, D), (B, T, G, D)
        if cos_sin is not None: # arch='modern'; queries and keys together, for fewer kernels
            qk = apply_rope(self.qk_norm(qk), *cos_sin) # (B, T, H + G, D)
        q, k = qk.transpose(1, 2).split((H, G), dim=1) # (B, H, T, D), (B, G, T, D)
        v = v.transpose(1, 2) # (B, G, T, D)
        mask = None # causal
        if cache is not None:
            k, v, mask = cache.append(self.layer, k, v) # (B, G, S, D), (B, G, S, D), (T, S)
        y = attention(q, k, v, mask, self.dropout if self.training else 0.0) # (B, H, T, D)
        y = y.transpose(1, 2).reshape(B, T, C) # (B, T, C), the heads side by side
        return self.resid_dropout(self.c_proj(y)) # (B, T, C)


class MLP(nn.Module):
    """Position-wise feed-forward network: 4 C hidden units, or 8/3 C where a gate adds a third matrix."""

    def __init__(self, config):
        super().__init__()
        name = config.activation or {'modern': 'swiglu', 'gpt2': 'gelu'}[config.arch]
        self.activation, self.gated = ACTIVATIONS[name], name == 'swiglu'
        units = max(64, round(config.n_embd * 8 / 3 / 64) * 64) if self.gated else 4 * config.n_embd
        sizes = [units, units] if self.gated else [units] # gate and up
        self.c_fc = nn.Linear(config.n_embd, sum(sizes), bias=config.bias)
        self.c_fc.split_sizes = sizes
        self.c_proj = nn.Linear(units, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x):
        x = self.c_fc(x) # (B, T, units), or gate and up side by side
        x = self.activation(*x.chunk(2, dim=-1)) if self.gated else self.activation(x) # (B, T, units)
        return self.dropout(self.c_proj(x)) # (B, T, C)


class Block(nn.Module):
    """Pre-norm transformer block: attention, then MLP, each added to the residual stream."""

    def __init__(self, config, layer):
        super().__init__()
        self.ln_1 = make_norm(config)
        self.attn = CausalSelfAttention(config, layer)
        self.ln_2 = make_norm(config)
        self.mlp = MLP(config)

    def forward(self, x, cos_sin=None, cache=None):
        x = x + self.attn(self.ln_1(x), cos_sin, cache)
        return x + self.mlp(self.ln_2(x))


# ---- the model ----

class GPT(nn.Module):
    """A decoder-only transformer language model. Raises SystemExit with all that is invalid in config."""

    def __init__(self, config, mimetic_init=True):
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
        if config.tie_weights or config.arch == 'gpt2':
            self.transformer.wte.weight = self.lm_head.weight
        self.cross_entropy_sum = cross_entropy_sum # perhaps replaced by a compiled one
        self.init_weights(mimetic_init)

    @torch.no_grad()
    def init_weights(self, mimetic_init):
        """
        gpt2: normal with std 0.02, residual projections scaled down by depth (GPT-2 paper, section 2.3).

        modern: matrices preserve the variance of their input, and residual projections start at zero, or with
        mimetic_init (arXiv 2305.09828) those of attention as the transpose of the value projection: a head
        then copies what it attends to, and only has to learn where to attend.
        """
        modern = self.config.arch == 'modern'
        for name, p in self.named_parameters():
            if p.dim() < 2:
                if name.endswith('bias'):
                    p.zero_() # gains of norms are ones already
            elif name.endswith('c_proj.weight') and modern:
                p.zero_()
            elif name.endswith('c_proj.weight'):
                p.normal_(0, 0.02 / math.sqrt(2 * self.config.n_layer))
            else:
                p.normal_(0, p.size(1) ** -0.5 if modern and name.startswith('transformer.h.') else 0.02)
        for block in self.transformer.h if modern and mimetic_init else []:
            c, attn = self.config, block.attn
            values = attn.c_attn.weight[-c.kv_heads * c.head_dim:].view(c.kv_heads, c.head_dim, c.n_embd)
            values = values.repeat_interleave(c.n_head // c.kv_heads, dim=0) # (H, D, C)
            attn.c_proj.weight.copy_(values.reshape(c.n_embd, c.n_embd).t())

    def hidden_states(self, idx, cache=None):
        """The final hidden states, before lm_head: idx int64 (B, T) -> (B, T, C)."""
        B, T = idx.shape
        assert T <= self.config.block_size, f'{T} tokens, but block_size is {self.config.block_size}'
        positions = torch.arange(T, device=idx.device) if cache is None else cache.advance(T) # (T,) or (B, T)
        x, cos_sin = self.transformer.wte(idx), None # (B, T, C)
        kind, dtype = idx.device.type, self.transformer.wte.weight.dtype
        if torch.is_autocast_enabled(kind): # a residual stream in bfloat16 halves memory traffic
            dtype = torch.get_autocast_dtype(kind)
        if self.config.arch == 'gpt2':
            x = x + self.transformer.wpe(positions) # (B, T, C)
        else:
            x = self.transformer.ln_0(x) # so that rare and frequent tokens have the same norm
            cos_sin = rope_cos_sin(positions, self.config.head_dim, self.config.rope_theta, dtype)
        x = self.transformer.drop(x.to(dtype))
        for block in self.transformer.h:
            x = block(x, cos_sin, cache) # (B, T, C)
        return self.transformer.ln_f(x).to(dtype) # under autocast on a GPU, norms return float32

    def forward(self, idx, targets=None, cache=None):
        """
        The logits of the next token, or with targets the mean cross-entropy loss.

        idx: int64 (B, T), T <= block_size; with a cache, the tokens that follow those already in it
        targets: int64 (B, T), the token after each of idx; -1 is ignored
        cache: lib.decode.KVCache, or None
        returns logits (B, T, V), or the loss, float32 (), in nats per token
        """
        x = self.hidden_states(idx, cache) # (B, T, C)
        if targets is None:
            return self.lm_head(x) # (B, T, V)
        total = self.cross_entropy_sum(x.flatten(0, 1), self.lm_head, targets.flatten())
        return total / (targets >= 0).sum()

    @torch.no_grad()
    def generate(self, idx, max_new_tokens, temperature=1.0):
        """Append sampled tokens to idx, int64 (B, T); lib/generate.py does it with a KV cache, faster."""
        for _ in range(max_new_tokens):
            logits = self(idx[:, -self.config.block_size:])[:, -1] # (B, V), those of the last position
            probs = F.softmax(logits / temperature, dim=-1) # (B, V)
            idx_next = torch.multinomial(probs, num_samples=1) # (B, 1)
            idx = torch.cat((idx, idx_next), dim=1) # (B, T + 1)
        return idx

    def n_params(self):
        return sum(p.numel() for p in self.parameters()) # a tied weight counts once

    def flops_per_token(self):
        """Training FLOPs per token: 6 N + 12 L C T (arXiv 2204.02311, appendix B); N includes lm_head."""
        c = self.config
        weights = sum(p.numel() for p in self.transformer.h.parameters() if p.dim() > 1)
        return 6 * (weights + c.vocab_size * c.n_embd) + 12 * c.n_layer * c.n_embd * c.block_size


# ---- fast versions; tests compare them with the plain formulas ----

class RMSNormFunction(torch.autograd.Function):
    """
    RMSNorm with an explicit backward pass, which takes half as many operations as autograd's.

    In bfloat16 its scale is rounded, so a row's norm differs by up to 2^-9 from that of torch's RMSNorm.
    """

    @staticmethod
    def forward(ctx, x, eps):
        dtype = torch.promote_types(x.dtype, torch.float32) # summed in it, without a copy of x
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=dtype) # (..., 1)
        scale = (norm.square_() / x.size(-1)).add_(eps).rsqrt_().to(x.dtype) # (..., 1)
        y = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        y, scale = ctx.saved_tensors
        return torch.addcmul(dy, y, (dy * y).mean(dim=-1, keepdim=True), value=-1).mul_(scale), None


def attention(q, k, v, mask=None, dropout=0.0):
    """
    naive_attention by a fast kernel: q (B, H, T, D), k and v (B, G, S, D) -> (B, H, T, D).

    mask: bool (T, S) or (B, 1, T, S), True where a query may attend; None: causal
    """
    B, H, T, D = q.shape
    bfloat16_on_cpu = q.device.type == 'cpu' and q.dtype == torch.bfloat16
    if bfloat16_on_cpu and T < 16:
        # torch's kernel takes four times as long for one query over 1,000 keys
        return attention(q.float(), k.float(), v.float(), mask, dropout).bfloat16()
    if mask is not None or T == 1 or T > 512 or not bfloat16_on_cpu:
        # is_causal aligns the mask with the first key, not with the last as a cache needs it
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None and T > 1,
                                              dropout_p=dropout, enable_gqa=k.size(1) < H)
    # here torch's kernel takes four times as long at 64 tokens, and 0.8 times at 1,024
    k, v = (t.repeat_interleave(H // t.size(1), dim=1).flatten(0, 1) for t in (k, v)) # (B H, T, D)
    causal_mask = torch.full((T, T), -1e9, dtype=q.dtype).triu(1)
    weights = torch.baddbmm(causal_mask, q.flatten(0, 1), k.mT, alpha=D ** -0.5).softmax(dim=-1) # (B H, T, T)
    return (F.dropout(weights, dropout) @ v).view(B, H, T, D)


def cross_entropy_sum(x, lm_head, targets):
    """
    Summed cross-entropy, float32 (), of hidden states x (N, C) and targets int64 (N,); -1 is ignored.

    No more logits than MAX_LOGITS exist at once, except under a compiler, which keeps only what it needs.
    """
    def chunk_loss(x, targets):
        return F.cross_entropy(lm_head(x).float(), targets, ignore_index=-1, reduction='sum')

    V = lm_head.weight.size(0)
    rows = max(1, MAX_LOGITS.get(x.device.type, MAX_LOGITS['cpu']) // V)
    if x.device.type == 'cpu': # a chunk of logits that stays in the cache
        rows = min(rows, max(256, (1 << 21) // V))
    if len(x) <= rows or torch.compiler.is_compiling():
        return chunk_loss(x, targets)
    if torch.is_grad_enabled():
        return ChunkedCrossEntropy.apply(x, lm_head.weight, targets, rows)
    return sum(map(chunk_loss, x.split(rows), targets.split(rows)))


class ChunkedCrossEntropy(torch.autograd.Function):
    """cross_entropy_sum in chunks; the forward pass computes the gradients, too, while it has the logits."""

    @staticmethod
    def forward(ctx, x, weight, targets, rows):
        low = weight.to(x.dtype)
        total, dx, dw = 0.0, torch.empty_like(x), torch.zeros_like(weight)
        counts, index = (targets >= 0)[:, None], targets.clamp(min=0)[:, None] # (N, 1)
        for chunk, i, counted, dx_chunk in zip(*(t.split(rows) for t in (x, index, counts, dx)), strict=True):
            logprobs = F.log_softmax(F.linear(chunk, low), dim=-1, dtype=torch.float32) # (rows, V)
            total = total - (logprobs.gather(1, i) * counted).sum()
            dlogits = logprobs.exp_().scatter_add_(1, i, i.new_full(i.shape, -1).float()).to(x.dtype)
            torch.matmul(dlogits, low, out=dx_chunk).mul_(counted)
            chunk = chunk * counted
            for dw_rows, part in zip(dw.split(4096), dlogits.split(4096, dim=1), strict=True):
                dw_rows += part.mT @ chunk # not (V, C) at once, which would take too much memory
        ctx.gradients = dx, dw
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        dx, dw = ctx.gradients
        ctx.gradients = None # no reference left, so that autograd uses the tensors without a copy
        return dx.mul_(gradient), dw.mul_(gradient), None, None
