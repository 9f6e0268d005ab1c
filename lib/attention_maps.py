"""
What a model does with a text, from one forward pass: attention weights, scores of heads, the logit lens.

    python attention.py --out_dir=out-tinystories --text="The cat sat on the mat"    # the page of all this

docs/looking_inside.md defines the scores, with an example.
"""
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from data.files import atomic_write
from data.tokenizer import SEPARATOR

TOLERANCE = 1e-5 # of the rebuilt outputs, relative to the largest number in them, or to 1
RANDOM_TOKENS, RANDOM_SEQUENCES = 50, 4 # of the induction score
LENS_TOKENS, BAR_TOKENS = 5, 20 # most probable tokens shown at each place of the lens, and as bars
SINGLE_LOGITS, GROUP = 4096, 32 # the highest logits are in the page one by one, the others as means of groups
PATTERNS = {'previous': 'the previous token', 'first': 'the first token', 'self': 'the token itself',
            'same': 'earlier copies of the same token'}
MOSTLY, PARTLY = 0.5, 0.2 # scores from which a report in words names a pattern
CLEAR = 'previous', 'same', 'induction' # patterns more telling than the first token
NEARLY_ALL = 0.95 # of the entropy of equal weights


@dataclass
class Forward:
    """One forward pass over B sequences of T tokens, float32."""
    weights: list # of each layer, (B, H, T, T): how much each query attends to each key
    states: list # the residual stream (B, T, C): embeddings, then after attention and after MLP of each layer
    logits: torch.Tensor # (B, T, V)
    gap: float # between the layers' outputs and those that the weights rebuild, as TOLERANCE counts it


class AttentionRecorder(TorchFunctionMode):
    """Within it, the q, k and v of each call of torch's scaled_dot_product_attention are kept in calls."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.scaled_dot_product_attention:
            self.calls.append(args[:3])
        return function(*args, **(kwargs or {}))


@torch.inference_mode()
def record(model, idx):
    """
    The Forward of idx, int64 (B, T), through a float32 GPT in eval mode.

    The fast kernel gives no weights, so they are computed from the queries and keys that it was called with,
    and compared with what the layers put out; a difference beyond TOLERANCE raises AssertionError.
    """
    states, outputs = [], []
    hooks = [model.transformer.drop.register_forward_hook(lambda module, args, x: states.append(x))]
    for block in model.transformer.h:
        hooks += [block.attn.register_forward_hook(lambda module, args, y: outputs.append(y)),
                  block.ln_2.register_forward_pre_hook(lambda module, args: states.append(args[0])),
                  block.register_forward_hook(lambda module, args, x: states.append(x))]
    try:
        with AttentionRecorder() as recorder:
            logits = model(idx)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(recorder.calls) == len(outputs), f'{len(recorder.calls)} calls in {len(outputs)} layers'
    weights, gap = [], 0.0
    for block, (q, k, v), output in zip(model.transformer.h, recorder.calls, outputs, strict=True):
        weights.append(attention_weights(q, k))
        heads = weights[-1] @ repeat_heads(v, q) # (B, H, T, D)
        rebuilt = block.attn.c_proj(heads.transpose(1, 2).flatten(2)) # (B, T, C)
        gap = max(gap, ((rebuilt - output).abs().max() / output.abs().max().clamp(min=1)).item())
    assert gap <= TOLERANCE, f'weights times values differ from the outputs of attention by {gap:.1e}'
    return Forward(weights, states, logits, gap)


def repeat_heads(x, q):
    """Keys or values (B, G, T, D) once for each query head that shares them, (B, H, T, D)."""
    return x.repeat_interleave(q.size(1) // x.size(1), dim=1)


def attention_weights(q, k):
    """softmax(q k^T / sqrt(D)), causal: q (B, H, T, D), k (B, G, T, D) -> (B, H, T, T), rows sum to 1."""
    logits = q @ repeat_heads(k, q).mT / math.sqrt(q.size(-1)) # (B, H, T, T)
    later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    return logits.masked_fill(later, -math.inf).softmax(dim=-1)


# ---- scores ----

def head_scores(weights, ids):
    """
    {name: float32 (H,)} from the weights of a layer, (H, T, T), and the T >= 2 tokens ids, int64 (T,).

    previous, first, self: mean weight, 0..1, of the token before, of the first one, of the query's own
    same: mean weight of all earlier copies of the query's token, over queries that have one; nan without any
    entropy: mean entropy of the weights in bits, 0..log2 T
    Means are over all queries but the first, which can attend to nothing but itself.
    """
    rows = weights[:, 1:] # (H, T - 1, T)
    same = (ids[:, None] == ids).tril(-1) # (T, T)
    return {'previous': weights.diagonal(-1, dim1=1, dim2=2).mean(-1), 'first': rows[..., 0].mean(-1),
            'self': weights.diagonal(dim1=1, dim2=2)[:, 1:].mean(-1),
            'same': (weights * same).sum(-1)[:, same.any(-1)].mean(-1),
            'entropy': -torch.special.xlogy(rows, rows).sum(-1).mean(-1) / math.log(2)}


def induction_scores(model, n_tokens, prefix=(), seed=1337):
    """
    Induction score of each head, float32 (L, H), 0..1; nan if block_size or the vocabulary is too small.

    Random tokens, none of them twice, stand in a sequence two times; the score is the mean weight from each
    token of the second time to the one that followed it the first time: the prefix matching score of Olsson
    et al. 2022, arXiv 2209.11895. n_tokens: ids below it are drawn; prefix: ids that a sequence begins with
    """
    n = min(RANDOM_TOKENS, n_tokens, (model.config.block_size - len(prefix)) // 2)
    if n < 2:
        return torch.full((model.config.n_layer, model.config.n_head), math.nan)
    generator = torch.Generator().manual_seed(seed)
    once = torch.stack([torch.randperm(n_tokens, generator=generator)[:n] for _ in range(RANDOM_SEQUENCES)])
    before = torch.tensor([prefix] * RANDOM_SEQUENCES, dtype=torch.int64).view(RANDOM_SEQUENCES, -1)
    return torch.stack([followed_weight(w, n, len(prefix))
                        for w in record(model, torch.cat((before, once, once), dim=1)).weights])


def followed_weight(weights, n, start):
    """Mean (H,) of the weights (B, H, T, T) from token i, i >= start + n, to token i - n + 1."""
    return weights.diagonal(1 - n, dim1=-2, dim2=-1)[..., start + 1:].mean(dim=(0, -1))


def describe_head(scores, n_tokens):
    """A head in words. scores: {name: number}, as of head_scores and induction, nan where there is none."""
    named = sorted((name for name in PATTERNS if scores[name] >= PARTLY), key=lambda name: -scores[name])
    found = [f'{"mostly" if scores[name] >= MOSTLY else "partly"} to {PATTERNS[name]} ({scores[name]:.2f})'
             for name in named]
    most = sum(math.log2(i) for i in range(2, n_tokens + 1)) / (n_tokens - 1) # entropy of equal weights
    pattern = f'Attends {", ".join(found)}' if found else 'Attends almost equally to all tokens' \
        if scores['entropy'] > NEARLY_ALL * most else 'None of the patterns that are measured'
    sentences = [f'{pattern}; entropy {scores["entropy"]:.1f} bits of at most {most:.1f}.']
    if scores['induction'] >= PARTLY:
        sentences.append(f'On repeated random tokens it attends to what followed before '
                         f'({scores["induction"]:.2f}): an induction head.')
    return ' '.join(sentences)


# ---- the logit lens and the next token ----

def logit_lens(model, states, n_vocab):
    """
    (ids int64, probabilities float32), each (len(states), T, LENS_TOKENS): what each state would predict.

    states: list of (1, T, C); the final norm and lm_head read each as if it were the last (nostalgebraist
    2020, "interpreting GPT: the logit lens"). n_vocab: ids from there on are padding of the vocabulary
    """
    with torch.inference_mode():
        tops = [model.lm_head(model.transformer.ln_f(state[0]))[:, :n_vocab].softmax(-1).topk(
            min(LENS_TOKENS, n_vocab)) for state in states]
    return torch.stack([top.indices for top in tops]), torch.stack([top.values for top in tops])


def grouped_logits(logits):
    """
    (logits (V,) in descending order, from SINGLE_LOGITS on as means of GROUP logits each, ids in that order).

    50,000 logits would be a quarter of a page; neighbours in this order are equal for all that can be seen.
    """
    ordered, ids = logits.sort(descending=True)
    groups = [group.mean() for group in ordered[SINGLE_LOGITS:].split(GROUP)] if len(
        ordered) > SINGLE_LOGITS else []
    return torch.cat((ordered[:SINGLE_LOGITS], torch.tensor(groups))), ids


# ---- what the page gets ----

def token_label(tokenizer, token):
    """A token as it is shown: a space as ·, a line end as ↵, bytes that are no character as \\xe2."""
    if token == tokenizer.eot:
        return SEPARATOR
    text = tokenizer.decode_bytes([token]).decode('utf-8', 'backslashreplace')
    return text.replace(' ', '·').replace('\n', '↵').replace('\t', '→')


def pack_triangles(weights):
    """Bytes of layers of weights (H, T, T): per head, round(255 weight) of the keys 0..i of each query."""
    i, j = torch.tril_indices(*weights[0].shape[1:]) # row by row
    return b''.join((layer[:, i, j] * 255).round().to(torch.uint8).numpy().tobytes() for layer in weights)


def analyze(model, tokenizer, ids, seed=1337):
    """
    (data, arrays, layers) of a list of at least two token ids: what attention.html gets, see page.render, and
    the attention weights of each layer, (H, T, T).
    """
    idx = torch.tensor([ids])
    n_vocab = min(tokenizer.n_vocab, model.config.vocab_size)
    forward = record(model, idx)
    layers = [weights[0] for weights in forward.weights]
    prefix = () if tokenizer.eot is None else (tokenizer.eot,) # as training sequences begin
    induction = induction_scores(model, min(n_vocab, tokenizer.n_vocab - len(prefix)), prefix, seed)
    scores = []
    for layer, of_layer in zip(layers, induction, strict=True):
        columns = head_scores(layer, idx[0]) | {'induction': of_layer}
        scores += [dict(zip(columns, values, strict=True))
                   for values in torch.stack(list(columns.values()), dim=1).tolist()]
    lens_ids, lens_probs = logit_lens(model, forward.states, n_vocab)
    logits, order = grouped_logits(forward.logits[0, -1, :n_vocab])
    shown, places = np.unique(np.concatenate([ids, lens_ids.flatten(), order[:BAR_TOKENS]]),
                              return_inverse=True)
    data = {
        'names': [token_label(tokenizer, token) for token in shown.tolist()],
        'tokens': places[:len(ids)].tolist(), 'next': places[len(ids) + lens_ids.numel():].tolist(),
        'layers': model.config.n_layer, 'heads': model.config.n_head, 'vocabulary': n_vocab,
        'single': SINGLE_LOGITS, 'group': GROUP, 'lens': lens_ids.size(-1), 'gap': forward.gap,
        'words': [describe_head(each, len(ids)) for each in scores],
        'scores': [{name: None if math.isnan(value) else round(value, 4) for name, value in each.items()}
                   for each in scores]}
    places = places[len(ids):len(ids) + lens_ids.numel()]
    arrays = {'maps': pack_triangles(layers), 'logits': logits.numpy().astype('<f4').tobytes(),
              'lensTokens': places.astype('<u2' if len(shown) <= 65536 else '<u4').tobytes(),
              'lensProbs': (lens_probs * 65535).round().numpy().astype('<u2').tobytes()}
    return data, arrays, layers


def clearest_head(scores, heads, layer=-1, head=-1):
    """(layer, head), those that are not -1 as given, with the highest score of a pattern in CLEAR."""
    def clearness(place):
        return max(scores[place[0] * heads + place[1]][name] or 0 for name in CLEAR)
    return max(((i, j) for i in range(len(scores) // heads) for j in range(heads)
                if layer in (-1, i) and head in (-1, j)), key=clearness)


# ---- PNG files ----

def draw_grid(path, layers, numbers):
    """Draw all heads, a row of maps for each of layers, weights (H, T, T); numbers: those of the layers."""
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure
    H, T, _ = layers[0].shape
    gap = max(1, T // 16)
    size = T + gap # in one image: axes for each head would take seconds
    grid = np.full((len(layers) * size - gap, H * size - gap), np.nan)
    for row, layer in enumerate(layers):
        for head in range(H):
            grid[row * size:row * size + T, head * size:head * size + T] = layer[head].numpy()
    scale = min(2.2, 14 / max(H, len(layers))) # inches of a map
    figure = Figure(figsize=(H * scale + 1, len(layers) * scale + 1), layout='constrained')
    axes = figure.subplots()
    axes.imshow(grid, cmap='Blues', norm=PowerNorm(0.5, 0, 1), interpolation='antialiased')
    axes.set_xticks([head * size + T / 2 for head in range(H)], range(H))
    axes.set_yticks([row * size + T / 2 for row in range(len(layers))], numbers)
    axes.set(xlabel='head', ylabel='layer')
    axes.spines[:].set_visible(False)
    save_figure(figure, path)


def draw_head(path, weights, labels, title):
    """Draw the map of one head, weights (T, T), with tokens on both axes."""
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure
    T = len(labels)
    figure = Figure(figsize=[min(16, max(5, T * 0.22 + 2))] * 2, layout='constrained')
    axes = figure.subplots()
    image = axes.imshow(weights.numpy(), cmap='Blues', norm=PowerNorm(0.5, 0, 1))
    shown = range(0, T, 1 + T // 70)
    axes.set_xticks(shown, [labels[i] for i in shown], rotation=90, parse_math=False, fontsize=8)
    axes.set_yticks(shown, [labels[i] for i in shown], parse_math=False, fontsize=8)
    axes.set(xlabel='attended to (key)', ylabel='token (query)', title=title)
    figure.colorbar(image, shrink=0.6, label='attention weight')
    save_figure(figure, path)


def save_figure(figure, path):
    import warnings
    with warnings.catch_warnings(), atomic_write(path) as file:
        warnings.filterwarnings('ignore', 'Glyph') # a token may have characters that no font has
        figure.savefig(file, format='png', dpi=100, bbox_inches='tight')
