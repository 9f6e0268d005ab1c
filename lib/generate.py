"""
Text generation with a KV cache: sampling, greedy decoding, speculative decoding and beam search.

    python sample.py --out_dir=out-tinystories    # the script that prints what this generates

GPT.generate in model.py is the same without a cache, in ten lines. A sequence that outgrows block_size is
truncated to the last half of its context, so that most steps process one token.
"""
import math
from dataclasses import dataclass

import numpy as np
import torch

from lib.checkpoint import printable
from lib.decode import DecodeState
from lib.detokenize import Completion, StreamingDetokenizer


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; the repetition penalty is applied first, then the rest in this order."""
    temperature: float = 1.0 # divides the logits; lower = less random, 0 = greedy
    top_k: int = 0 # keep the k most probable tokens, and those as probable as the last of them; 0: all
    top_p: float = 1.0 # nucleus: keep the fewest most probable tokens whose probabilities sum to this; 1: all
    min_p: float = 0.0 # keep tokens at least this fraction as probable as the most probable one; 0: all
    repetition_penalty: float = 1.0 # above 1: tokens already in the sequence become less probable


GREEDY = Sampling(temperature=0.0)


# ---- one token ----

def sample_token(logits, sampling, noise=None, seen=None):
    """
    The next token of each sequence, int64 (B,), from logits, float32 (B, V).

    noise: float32 (B,) in [0, 1), uniform random numbers; not needed at temperature 0
    seen: bool (B, V), the tokens that repetition_penalty applies to
    Sources: top-p is Holtzman et al. 2019, arXiv 1904.09751; min-p Nguyen et al. 2024, arXiv 2407.01082; the
    penalty Keskar et al. 2019, arXiv 1909.05858.
    """
    if seen is not None:
        penalty = sampling.repetition_penalty
        logits = torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)
    if sampling.temperature < 1e-6: # dividing by less overflows, and the softmax is one-hot anyway
        return logits.argmax(dim=-1)
    probs = filter_logits(logits / sampling.temperature, sampling).softmax(dim=-1)
    cdf = probs.cumsum(dim=-1)
    # inverse transform sampling; slightly below 1, so that rounding never passes the end of the cdf
    u = noise[:, None] * (1 - 2 ** -20) * cdf[:, -1:]
    return torch.searchsorted(cdf, u, right=True)[:, 0]


def filter_logits(logits, sampling):
    """
    logits (B, V) with -inf for the tokens that top_k, top_p and min_p remove.

    Probabilities of 0.4, 0.3, 0.2, 0.06, 0.04: top_k=2 keeps two tokens, top_p=0.8 three (0.4 + 0.3 is less
    than 0.8), min_p=0.1 four (0.06 is at least a tenth of 0.4).
    """
    if 0 < sampling.top_k < logits.size(-1):
        threshold = logits.topk(sampling.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < threshold, -math.inf)
    if sampling.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        probs = ordered.softmax(dim=-1)
        sum_before = probs.cumsum(dim=-1) - probs # of all tokens more probable than this one
        removed = (sum_before >= sampling.top_p) & (sum_before > 0) # never the first, however small top_p is
        logits = logits.scatter(1, order, ordered.masked_fill(removed, -math.inf))
    if sampling.min_p > 0:
        threshold = logits.amax(dim=-1, keepdim=True) + math.log(sampling.min_p)
        logits = logits.masked_fill(logits < threshold, -math.inf)
    return logits


def make_noise(seed, rows, count):
    """
    The random numbers of generate, float32 (len(rows), count), uniform in [0, 1).

    A row depends on the seed and its number in rows only, so a sample does not depend on the batch around it.
    """
    return torch.from_numpy(np.stack([np.random.default_rng([seed, row]).random(count, dtype=np.float32)
                                      for row in rows]))


# ---- decoding strategies ----

@torch.inference_mode()
def generate(model, idx, max_new_tokens, sampling=GREEDY, samples=1, noise=None, stop_tokens=(), padding=None,
             n_vocab=0, compiled=False, logprobs=None):
    """
    Yield the next token of each sequence, int64 (B * samples,), up to max_new_tokens times.

    idx: int64 (B, T), T >= 1; each row is prefilled once and continued samples times
    noise: float32 (B * samples, max_new_tokens), from make_noise; not needed at temperature 0
    stop_tokens: a sequence that has generated one of them repeats it; when all have, the generator ends (on a
        GPU up to 15 steps later, since checking costs a synchronization). They are not subject to the penalty
    padding, n_vocab, compiled: see DecodeState
    logprobs: a list that receives float32 (B * samples,) per step: the tokens' logprobs at temperature 1
    The model must be in eval mode.
    """
    state = DecodeState(model, idx, max_new_tokens, padding, n_vocab, compiled)
    rows = torch.arange(idx.size(0), device=idx.device).repeat_interleave(samples)
    stops = torch.tensor(sorted(stop_tokens), dtype=torch.int64, device=idx.device)
    seen = None
    if sampling.repetition_penalty != 1:
        seen = seen_tokens(idx, padding, n_vocab or model.config.vocab_size, stops)[rows]
    done = torch.zeros(len(rows), dtype=torch.bool, device=idx.device)
    check_every = 1 if idx.device.type == 'cpu' else 16
    noise, token = None if noise is None else noise.to(idx.device), None
    for step in range(max_new_tokens):
        logits = state.logits()[:, -1]
        if step == 0:
            check_finite(logits)
            if samples > 1: # the prompts have been read once for all samples
                state.select(rows)
                logits = logits[rows]
        sampled = sample_token(logits, sampling, None if noise is None else noise[:, step], seen)
        token = torch.where(done, token, sampled) if step else sampled
        if stop_tokens:
            done |= torch.isin(token, stops)
        if seen is not None:
            seen.scatter_(1, token[:, None], True)
        if logprobs is not None:
            logprobs.append(logits.log_softmax(-1).gather(1, token[:, None])[:, 0])
        state.append(token[:, None])
        yield token
        if stop_tokens and step % check_every == 0 and done.all(): # CPU-GPU synchronization
            return


def check_finite(logits):
    """SystemExit for NaN or infinite logits; only the first token is checked, as it waits for a GPU."""
    if not logits.isfinite().all(): # CPU-GPU synchronization
        raise SystemExit('generate: expected finite logits, got NaN or infinity; use --dtype=float32 or '
                         'another checkpoint')


def seen_tokens(idx, padding, n_vocab, stops):
    """bool (B, n_vocab): the tokens of each row of idx, except padding and stops (the document separator)."""
    if padding is not None: # replaced by a token that the row has
        idx = torch.where(torch.arange(idx.size(1), device=idx.device) < padding[:, None], idx[:, -1:], idx)
    seen = torch.zeros(idx.size(0), n_vocab, dtype=torch.bool, device=idx.device)
    return seen.scatter_(1, idx, True).index_fill_(1, stops, False)


@torch.inference_mode()
def prompt_lookup_decode(model, idx, max_new_tokens, num_draft_tokens=8, stop_tokens=(), n_vocab=0):
    """
    Speculative decoding by prompt lookup: yield what generate does at temperature 0, int64 (1,) each.

    idx: int64 (1, T). Up to num_draft_tokens are copied from where the sequence's last tokens occurred before
    and verified in one forward pass; those that greedy decoding would have generated are accepted.
    Speculative decoding: Leviathan et al. 2022, arXiv 2211.17192; by prompt lookup: Saxena 2023,
    https://github.com/apoorvumang/prompt-lookup-decoding.
    """
    state = DecodeState(model, idx, max_new_tokens, n_vocab=n_vocab)
    tokens, left = idx[0].tolist(), max_new_tokens
    while left:
        draft = find_ngram_draft(tokens, min(num_draft_tokens, left - 1, state.room()))
        state.append(torch.tensor([draft], dtype=torch.int64, device=idx.device))
        logits = state.logits(1 + len(draft))[0]
        if left == max_new_tokens:
            check_finite(logits)
        greedy = logits.argmax(-1).tolist() # after the last token, and after each draft token
        n_accepted = next((i for i, token in enumerate(draft) if token != greedy[i]), len(draft))
        state.rewind(len(draft) - n_accepted)
        accepted = greedy[:n_accepted + 1] # the model gives one more token after the accepted ones
        state.append(torch.tensor([accepted[-1:]], device=idx.device))
        tokens += accepted
        left -= len(accepted)
        for token in accepted:
            yield torch.tensor([token], device=idx.device)
            if token in stop_tokens:
                return


def find_ngram_draft(tokens, count):
    """
    count draft tokens for a list: what followed the latest earlier occurrence of its last 3 tokens (2, 1).

    [5, 6, 7, 8, 5, 6] with count=3 gives [7, 8, 5]; a copy past the end repeats. Empty if there is none.
    """
    for n in range(min(3, len(tokens) - 1), 0, -1):
        ngram = tokens[-n:]
        for start in range(len(tokens) - n - 1, -1, -1):
            if tokens[start:start + n] == ngram:
                return (tokens[start + n:] * count)[:count]
    return []


@torch.inference_mode()
def beam_search(model, idx, max_new_tokens, num_beams, length_penalty=1.0, stop_tokens=(), n_vocab=0):
    """
    The best sequence found with num_beams beams (Lowerre 1976): (list of tokens, its log-probability).

    idx: int64 (1, T)
    length_penalty: sequences are compared by log-probability / tokens ** length_penalty; 0 prefers short ones
    The first beam is the greedy sequence until that ends, so the result never scores worse.
    """
    state = DecodeState(model, idx, max_new_tokens, n_vocab=n_vocab)
    best, stops = (-math.inf, -math.inf, []), sorted(stop_tokens)
    scores = idx.new_zeros(1, dtype=torch.float32 if idx.device.type == 'mps' else torch.float64) # not on mps
    for length in range(1, max_new_tokens + 1):
        logits = state.logits()[:, -1]
        if length == 1:
            check_finite(logits)
        logprobs = scores[:, None] + logits.to(scores.dtype).log_softmax(-1) # (beams, V), one token longer
        last_tokens = list(range(logprobs.size(1))) if length == max_new_tokens else stops
        if last_tokens: # the best of the sequences that end here
            row, i = divmod(logprobs[:, last_tokens].argmax().item(), len(last_tokens))
            score = logprobs[row, last_tokens[i]].item()
            tokens = state.idx[row, idx.size(1):state.end].tolist() + [last_tokens[i]]
            best = max(best, (score / length ** length_penalty, score, tokens))
        chosen = choose_beams(logprobs, num_beams, stops)
        scores = logprobs.flatten()[chosen]
        state.select(chosen // logprobs.size(1))
        state.append(chosen[:, None] % logprobs.size(1))
    return best[2], best[1]


def choose_beams(logprobs, num_beams, stops):
    """Flat indices into logprobs (beams, V) of the next beams, the greedy one first; sets stops to -inf."""
    greedy = logprobs[0].argmax()
    logprobs[:, stops] = -math.inf
    top = logprobs.flatten().topk(min(num_beams, logprobs.numel())).indices
    if greedy.item() in stops:
        return top
    return torch.cat((greedy[None], top[top != greedy]))[:num_beams]


# ---- from prompts to completions ----

def generate_texts(model, tokenizer, prompts, samples, max_new_tokens, sampling=GREEDY, seed=0, device='cpu'):
    """A list of samples Completions per prompt, those of the first prompt first; see stream_texts."""
    return list(stream_texts(model, tokenizer, prompts, samples, max_new_tokens, sampling, seed, device))


def stream_texts(model, tokenizer, prompts, samples, max_new_tokens, sampling=GREEDY, seed=0, device='cpu',
                 stops=(), on_piece=None, compiled=False, logprobs=False, batch_size=16):
    """
    Yield samples Completions per prompt, in order, each as soon as it and those before it are complete.

    prompts: strings; '' starts a new document. A completion ends where its document ends, before the first of
        the strings stops, or after max_new_tokens
    seed: of all random numbers, which differ from sample to sample and are the same for every prompt; except
        for rounding, a completion does not depend on what is generated beside it
    on_piece: is called with each piece of the first completion as soon as it is generated
    batch_size: sequences generated at once; all samples of a prompt are, even if they are more
    """
    n_vocab = min(tokenizer.n_vocab, model.config.vocab_size)
    noise, per_batch = make_noise(seed, range(samples), max_new_tokens), max(1, batch_size // samples)
    for first in range(0, len(prompts), per_batch):
        batch = prompts[first:first + per_batch]
        idx, padding = pad_left([prompt_ids(tokenizer, prompt) for prompt in batch], device)
        rows = [StreamingDetokenizer(Completion(prompt), tokenizer, stops) for prompt in batch
                for _ in range(samples)]
        rows[0].on_piece = None if first else on_piece
        found, n_yielded = [] if logprobs else None, 0
        steps = generate(model, idx, max_new_tokens, sampling, samples, noise.repeat(len(batch), 1),
                         {tokenizer.eot} - {None}, padding, n_vocab, compiled, found)
        for step, tokens in enumerate(steps):
            # CPU-GPU synchronization
            step_logprobs = found[step].tolist() if logprobs else [None] * len(rows)
            # CPU-GPU synchronization
            for row, token, logprob in zip(rows, tokens.tolist(), step_logprobs, strict=True):
                row.add(token, logprob)
            while n_yielded < len(rows) and rows[n_yielded].done:
                yield rows[n_yielded].completion
                n_yielded += 1
            if n_yielded == len(rows):
                break
        for row in rows[n_yielded:]: # ended by max_new_tokens
            row.finish()
            yield row.completion


def pad_left(prompts, device):
    """Lists of ids as (int64 (B, T), tokens of left padding in each row, int64 (B,), or None for none)."""
    longest = max(map(len, prompts))
    idx = torch.tensor([[0] * (longest - len(ids)) + ids for ids in prompts], device=device)
    padding = torch.tensor([longest - len(ids) for ids in prompts], device=device)
    return idx, padding if padding.any() else None # CPU-GPU synchronization


def prompt_ids(tokenizer, prompt):
    """The ids of a prompt, never empty: the separator first, as in training; without one, '' is a newline."""
    if tokenizer.eot is not None:
        return [tokenizer.eot] + tokenizer.encode(prompt)
    newline = '\n' if '\n' in tokenizer.chars else tokenizer.chars[0]
    return tokenizer.encode(prompt or newline)


def check_utf8(where, text):
    """SystemExit for lone surrogates, which is how Python represents bytes that are not UTF-8."""
    if any('\ud800' <= char <= '\udfff' for char in text):
        raise SystemExit(f'{where}: expected text in UTF-8, got {printable(text)}')


def check_prompts(prompts, tokenizer, block_size):
    """SystemExit for the first of {where: prompt} that the model cannot read."""
    for where, prompt in prompts.items():
        check_utf8(where, prompt)
        try:
            length = len(prompt_ids(tokenizer, prompt))
        except SystemExit as problem: # a character that is not in the vocabulary
            raise SystemExit(f'{where}: {problem}') from None
        if length > block_size:
            raise SystemExit(f'{where}: expected a prompt of at most {block_size} tokens (block_size), got '
                             f'{length}: {printable(prompt)}; shorten it')
