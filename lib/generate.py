"""
How a trained model writes: one token after the other, each chosen from what the model thinks comes next.

    python sample.py --out_dir=out-tinystories    # the script that prints what this makes

generate() draws tokens (or takes the likeliest), beam_search() looks for a likely text as a whole,
generate_guessing() is the first with temperature 0, faster where a text repeats itself. They share the rule
for a text that outgrows block_size: it goes on with the last half of that context, read once more.
"""
import codecs
import functools
import math
from dataclasses import dataclass, field

import numpy as np
import torch

from model import KVCache


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; after the penalty, the rest works in this order."""
    temperature: float = 1.0 # 0 takes the likeliest; below 1 prefers likely tokens, above 1 evens the odds
    top_k: int = 0 # only the k likeliest may be drawn, and those as likely as the last of them; 0: all
    top_p: float = 1.0 # only the fewest likeliest whose probabilities reach this together; 1: all
    min_p: float = 0.0 # only those at least this share as likely as the likeliest; 0: all
    repetition_penalty: float = 1.0 # above 1: what the text already has becomes less likely


GREEDY = Sampling(temperature=0.0)


# ---- one token ----

def pick_token(logits, how, noise=None, seen=None):
    """
    One token for each row of logits, float32 (B, V): int64 (B,).

    noise: float32 (B,) in [0, 1), where in the distribution each row draws; not needed at temperature 0
    seen: bool (B, V), the tokens that repetition_penalty is for
    Sources: top-p is Holtzman et al. 2019, arXiv 1904.09751; min-p Nguyen et al. 2024, arXiv 2407.01082; the
    penalty Keskar et al. 2019, arXiv 1909.05858.
    """
    if seen is not None:
        weaker = torch.where(logits > 0, logits / how.repetition_penalty, logits * how.repetition_penalty)
        logits = torch.where(seen, weaker, logits)
    if how.temperature < 1e-6: # dividing by less gives infinity, and the likeliest has all the odds anyway
        return logits.argmax(dim=-1)
    odds = allowed(logits / how.temperature, how).softmax(dim=-1)
    edges = odds.cumsum(dim=-1) # each token has the interval of noise below its edge
    # a little less than 1, so that rounding never draws beyond the last edge
    place = noise[:, None] * (1 - 2 ** -20) * edges[:, -1:]
    return torch.searchsorted(edges, place, right=True)[:, 0]


def allowed(logits, how):
    """logits with -inf for what top_k, top_p and min_p do not let through."""
    if 0 < how.top_k < logits.size(-1):
        least = logits.topk(how.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -math.inf)
    if how.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        odds = ordered.softmax(dim=-1)
        before = odds.cumsum(dim=-1) - odds # probability of all that are likelier than this one
        barred = (before >= how.top_p) & (before > 0) # never the likeliest, however small top_p is
        logits = logits.scatter(1, order, ordered.masked_fill(barred, -math.inf))
    if how.min_p > 0:
        least = logits.amax(dim=-1, keepdim=True) + math.log(how.min_p)
        logits = logits.masked_fill(logits < least, -math.inf)
    return logits


def make_noise(seed, rows, count):
    """
    float32 (len(rows), count) in [0, 1): what generate draws with.

    A row of it depends on the seed and its number in rows alone, so a text is the same whatever it is written
    beside.
    """
    return torch.from_numpy(np.stack([np.random.default_rng([seed, row]).random(count, dtype=np.float32)
                                      for row in rows]))


# ---- the model, read token by token ----

def next_logits(model, idx, cache, n_vocab=0):
    """float32 (B, V): what may follow idx, int64 (B, T), and all that the cache holds."""
    logits = model.lm_head(model.hidden_states(idx, cache)[:, -1])
    # ids from n_vocab on are padding of the table; they are never chosen
    return (logits[:, :n_vocab] if n_vocab else logits).float()


@functools.cache
def compiled_logits(on_gpu):
    """next_logits for one token at a time, compiled; a GPU replays it as one graph."""
    return torch.compile(next_logits, mode='reduce-overhead' if on_gpu else None, dynamic=False)


class Reader:
    """
    A model and the text of B sequences that it has read, of which it knows what may follow.

    text: int64 (B, T), T >= 1; padding: int64 (B,), how many of a row's first tokens are no part of it
    room: how many tokens may be added
    n_vocab: ids from here on are padding of the table and are never chosen; 0: there is none
    compiled: use torch.compile for all but the prompt; see docs/generation.md for what that gains
    """

    def __init__(self, model, text, room, padding=None, n_vocab=0, compiled=False):
        self.model, self.padding, self.n_vocab, self.compiled = model, padding, n_vocab, compiled
        self.block_size = model.config.block_size
        width = text.size(1)
        self.text = torch.zeros(text.size(0), width + room, dtype=torch.int64, device=text.device)
        self.text[:, :width] = text
        self.begin, self.end, self.read, self.cache = 0, width, 0, None # the context is begin to end

    def logits(self):
        """What may follow, float32 (B, V): reads what was added since it was last asked."""
        fresh = self.fresh()
        if self.compiled and fresh.size(1) == 1:
            self.cache.kv_len = self.cache.size # always the same, or there would be a program for each
            return compiled_logits(fresh.is_cuda)(self.model, fresh, self.cache, self.n_vocab)
        self.cache.kv_len = self.end - self.begin
        return next_logits(self.model, fresh, self.cache, self.n_vocab)

    def fresh(self):
        """The tokens that the cache has not seen yet, int64 (B, T), after making room for them."""
        if self.end - self.begin > self.block_size: # goes on with the last half
            assert self.padding is None, 'sequences that are padded must fit the context'
            self.begin, self.cache = self.end - max(1, self.block_size // 2), None
        if self.cache is None:
            size = min(self.block_size, self.text.size(1)) # the same each time, because of the compiler
            self.cache, self.read = KVCache(self.model, self.text.size(0), size, self.padding), self.begin
        fresh, self.read = self.text[:, self.read:self.end], self.end
        return fresh

    def add(self, tokens):
        """Go on with tokens, int64 (B,)."""
        self.text[:, self.end] = tokens
        self.end += 1

    def select(self, rows):
        """Make the sequences those of rows, int64 (B',), some perhaps several times."""
        self.text = self.text[rows]
        self.cache.select(rows)


# ---- whole texts ----

@torch.inference_mode()
def generate(model, idx, max_new_tokens, how=GREEDY, samples=1, noise=None, stop_tokens=(), padding=None,
             n_vocab=0, compiled=False, logprobs=None):
    """
    Write on from idx: yields the next token of each sequence, int64 (B * samples,), so many times.

    idx: int64 (B, T), T >= 1; each is written on samples times, and read once
    noise: float32 (B * samples, max_new_tokens), from make_noise; not needed at temperature 0
    stop_tokens: a sequence that has written one of them goes on yielding it; when all have, nothing more is
        yielded (on a GPU, little more: to ask costs time)
    padding: int64 (B,), so many of a row's first tokens are not part of it; then T + max_new_tokens must fit
        the context
    n_vocab, compiled: see Reader
    logprobs: a list that gets float32 (B * samples,) for each token: its log-probability at temperature 1
    The model must be in eval mode.
    """
    reader = Reader(model, idx, max_new_tokens, padding, n_vocab, compiled)
    rows = torch.arange(idx.size(0), device=idx.device).repeat_interleave(samples)
    seen = None
    if how.repetition_penalty != 1:
        seen = tokens_seen(idx, padding, n_vocab or model.config.vocab_size)[rows]
    done = torch.zeros(len(rows), dtype=torch.bool, device=idx.device)
    stops = torch.tensor(sorted(stop_tokens), dtype=torch.int64, device=idx.device)
    ask_every = 1 if idx.device.type == 'cpu' else 16
    noise, token = None if noise is None else noise.to(idx.device), None
    for step in range(max_new_tokens):
        logits = reader.logits()
        if step == 0:
            check_finite(logits)
        if step == 0 and samples > 1: # the prompts have been read once, for all
            reader.select(rows)
            logits = logits[rows]
        following = pick_token(logits, how, None if noise is None else noise[:, step], seen)
        token = torch.where(done, token, following) if stop_tokens and step else following
        if stop_tokens:
            done |= torch.isin(token, stops)
        if seen is not None:
            seen.scatter_(1, token[:, None], True)
        if logprobs is not None:
            logprobs.append(logits.log_softmax(-1).gather(1, token[:, None])[:, 0])
        reader.add(token)
        yield token
        if stop_tokens and step % ask_every == 0 and done.all():
            return


def check_finite(logits):
    """SystemExit for what is no number; asked for the first token alone, because it waits for a GPU."""
    if not logits.isfinite().all():
        raise SystemExit('generate: the model computes numbers that are not finite; use --dtype=float32 or '
                         'another checkpoint')


def tokens_seen(idx, padding, n_vocab):
    """bool (B, n_vocab): the tokens that each row of idx has; what is padding there does not count."""
    if padding is not None: # the last token stands for it
        idx = torch.where(torch.arange(idx.size(1), device=idx.device) < padding[:, None], idx[:, -1:], idx)
    seen = torch.zeros(idx.size(0), n_vocab, dtype=torch.bool, device=idx.device)
    return seen.scatter_(1, idx, True)


@torch.inference_mode()
def generate_guessing(model, idx, max_new_tokens, guesses=8, stop_tokens=(), n_vocab=0):
    """
    What generate yields at temperature 0 for one sequence, often several tokens for one look at the weights.

    idx: int64 (1, T). The last three tokens (or two, or one) are looked up in the text so far; what followed
    them there, up to guesses tokens, is read together with the last token, and as much of it as the model
    would have written is kept. Speculative decoding: Leviathan et al. 2022, arXiv 2211.17192; by looking up:
    Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding.
    """
    reader = Reader(model, idx, max_new_tokens + guesses, n_vocab=n_vocab)
    text, left = idx[0].tolist(), max_new_tokens
    while left:
        fresh = reader.fresh()
        room = min(guesses, left - 1, reader.begin + model.config.block_size - reader.end)
        guess = look_up(text, room)
        fresh = torch.cat((fresh, torch.tensor([guess], dtype=torch.int64, device=idx.device)), dim=1)
        reader.cache.kv_len = reader.end - reader.begin + len(guess)
        logits = model.lm_head(model.hidden_states(fresh, reader.cache)[:, -1 - len(guess):])[0]
        if left == max_new_tokens:
            check_finite(logits)
        found = (logits[:, :n_vocab] if n_vocab else logits).argmax(-1).tolist()
        right = next((i for i, token in enumerate(guess) if token != found[i]), len(guess))
        reader.cache.length -= len(guess) - right # what was read in vain is written over
        for token in found[:right + 1]:
            reader.add(token)
            text.append(token)
            left -= 1
            yield torch.tensor([token], device=idx.device)
            if token in stop_tokens:
                return
        reader.read = reader.end - 1


def look_up(text, count):
    """
    count tokens that may follow a list: what followed its last three (two, one) the last time they came.

    Where that reaches the end of the list, it goes round in a circle. Without such a place, none.
    """
    for length in range(min(3, len(text) - 1), 0, -1):
        tail = text[-length:]
        for start in range(len(text) - length - 1, -1, -1):
            if text[start:start + length] == tail:
                return (text[start + length:] * count)[:count]
    return []


@torch.inference_mode()
def beam_search(model, idx, max_new_tokens, num_beams, length_penalty=1.0, stop_tokens=(), n_vocab=0):
    """
    The best of the texts found by keeping num_beams candidates: (list of tokens, its log-probability).

    idx: int64 (1, T)
    length_penalty: they are compared by log-probability / tokens ** length_penalty; 0 prefers short texts
    Lowerre 1976. The first beam stays the greedy text until that ends, so the result is never worse.
    """
    reader, best = Reader(model, idx, max_new_tokens, n_vocab=n_vocab), (-math.inf, -math.inf, [])
    scores = torch.zeros(1, dtype=torch.float64, device=idx.device) # log-probabilities of the beams
    stops = sorted(stop_tokens)
    for step in range(1, max_new_tokens + 1):
        logits = reader.logits()
        if step == 1:
            check_finite(logits)
        odds = scores[:, None] + logits.double().log_softmax(-1) # (beams, V)
        greedy = odds[0].argmax().item()
        endings = range(odds.size(1)) if step == max_new_tokens else stops
        if endings: # the best of the texts that end here
            row, i = divmod(odds[:, endings].argmax().item(), len(endings))
            score = odds[row, endings[i]].item()
            text = reader.text[row, idx.size(1):reader.end].tolist() + [endings[i]]
            best = max(best, (score / step ** length_penalty, score, text))
        odds[:, stops] = -math.inf
        places = odds.flatten().topk(min(num_beams, odds.numel())).indices
        if greedy not in stops:
            places = torch.cat((places.new_tensor([greedy]), places[places != greedy]))[:num_beams]
        scores = odds.flatten()[places]
        reader.select(places // odds.size(1))
        reader.add(places % odds.size(1))
    return best[2], best[1]


# ---- prompts and texts ----

@dataclass
class Text:
    """What was written after a prompt."""
    prompt: str
    text: str = ''
    ids: list = field(default_factory=list) # its tokens, without the separator, with those of a stop string
    logprobs: list = field(default_factory=list) # of these, at temperature 1; empty unless asked for


class Decoder:
    """
    The tokens of one text become characters, and these become pieces that can be shown at once.

    on_piece: is called with each piece; together they are the text
    A character may be cut by a token's end, and a stop string, too: what may be the beginning of one waits.
    """

    def __init__(self, text, tokenizer, stops=(), on_piece=None):
        self.text, self.tokenizer, self.stops, self.on_piece = text, tokenizer, stops, on_piece
        self.bytes, self.shown, self.done = codecs.getincrementaldecoder('utf-8')('replace'), 0, False

    def add(self, token, logprob=None):
        """Take a token; nothing more is taken once the text has ended."""
        if token == self.tokenizer.eot:
            self.end()
        if self.done:
            return
        self.text.ids.append(token)
        if logprob is not None:
            self.text.logprobs.append(logprob)
        self.text.text += self.bytes.decode(self.tokenizer.decode_bytes([token]))
        cuts = [place for stop in self.stops if (place := self.text.text.find(stop)) >= 0]
        if cuts:
            self.text.text, self.done = self.text.text[:min(cuts)], True
        held = max((n for stop in self.stops for n in range(1, len(stop))
                    if self.text.text.endswith(stop[:n])), default=0)
        self.show(len(self.text.text) - held)

    def end(self):
        """The text has ended: show what was held back, and a character that was left incomplete."""
        if not self.done:
            self.text.text += self.bytes.decode(b'', final=True)
        self.done = True
        self.show(len(self.text.text))

    def show(self, until):
        if self.on_piece and until > self.shown:
            self.on_piece(self.text.text[self.shown:until])
            self.shown = until


def generate_texts(model, tokenizer, prompts, samples, max_new_tokens, how=GREEDY, seed=0, device='cpu',
                   stops=(), on_piece=None, compiled=False, logprobs=False, batch_size=16):
    """
    samples texts after each of the prompts: a list of Text, those of the first prompt first.

    prompts: strings; '' begins a new document. A text ends where its document ends, before the first of the
        strings stops, or after max_new_tokens
    seed: of the first sample of each prompt; the others follow from it. A text does not depend on what it is
        written beside, but for rounding
    on_piece: is called with each piece of the first text as soon as it is written
    batch_size: prompts that are written at once, if they fit the context
    """
    n_vocab = min(tokenizer.n_vocab, model.config.vocab_size)
    stop_tokens = () if tokenizer.eot is None else (tokenizer.eot,)
    noise, texts = make_noise(seed, range(samples), max_new_tokens), []
    for batch in batches([prompt_ids(tokenizer, prompt) for prompt in prompts],
                         model.config.block_size - max_new_tokens, batch_size):
        idx, padding = padded(batch, device)
        rows = [Decoder(Text(prompts[len(texts) // samples + row // samples]), tokenizer, stops,
                        None if texts or row else on_piece) for row in range(len(batch) * samples)]
        found = [] if logprobs else None
        steps = generate(model, idx, max_new_tokens, how, samples, noise.repeat(len(batch), 1), stop_tokens,
                         padding, n_vocab, compiled, found)
        for step, tokens in enumerate(steps if device == 'cpu' else one_late(steps)):
            odds = found[step].tolist() if logprobs else [None] * len(rows)
            for decoder, token, odd in zip(rows, tokens.tolist(), odds, strict=True):
                decoder.add(token, odd)
            if all(decoder.done for decoder in rows):
                break
        for decoder in rows:
            decoder.end()
        texts += [decoder.text for decoder in rows]
    return texts


def one_late(steps):
    """Each step when the next has been begun, so that a GPU is at work while the host looks at it."""
    before = next(steps, None)
    for step in steps:
        yield before
        before = step
    if before is not None:
        yield before


def batches(prompts, room, size):
    """Lists of prompts (lists of ids) to be read at once, in order; alone what may outgrow the context."""
    batch = []
    for ids in prompts:
        if batch and (len(batch) == size or max(len(ids), len(batch[0])) > room):
            yield batch
            batch = []
        batch.append(ids)
    if batch:
        yield batch


def padded(prompts, device):
    """Lists of ids as int64 (B, T), filled up on the left, and how much of each row that is, or None."""
    longest = max(map(len, prompts))
    idx = torch.tensor([[0] * (longest - len(ids)) + ids for ids in prompts], device=device)
    padding = torch.tensor([longest - len(ids) for ids in prompts], device=device)
    return idx, padding if padding.any() else None


def prompt_ids(tokenizer, prompt):
    """A prompt as ids, never empty: as in training, a separator first; without one, '' becomes a new line."""
    if tokenizer.eot is not None:
        return [tokenizer.eot] + tokenizer.encode(prompt)
    return tokenizer.encode(prompt) or tokenizer.encode('\n' if '\n' in tokenizer.chars
                                                        else tokenizer.chars[0])
