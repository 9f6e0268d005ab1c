"""
How a trained model writes: one token after the other, each drawn from what the model thinks comes next.

    python sample.py --out_dir=out-tinystories    # the script that prints what generate() yields
"""
import codecs
import math

import torch

from model import KVCache


@torch.no_grad()
def generate(model, idx, max_new_tokens, temperature=1.0, top_k=0, top_p=1.0, stop_token=None, n_vocab=0,
             generator=None):
    """
    Write on from idx: yields the next token of each sequence, int64 (B,), up to max_new_tokens times.

    idx: int64 (B, T), T >= 1
    temperature, top_k, top_p, n_vocab: see pick_token
    stop_token: a sequence that has written it goes on yielding it; when all have, nothing more is yielded
    generator: torch.Generator on the device of idx; the same seed writes the same text
    A context that outgrows block_size goes on with its last half, read once more. The model must be in eval
    mode.
    """
    block_size, cache = model.config.block_size, None
    done = torch.zeros(idx.size(0), dtype=torch.bool, device=idx.device)
    context = idx
    for step in range(max_new_tokens):
        if context.size(1) > block_size:
            context, cache = context[:, -max(1, block_size // 2):], None
        if cache is None: # also the first time
            fresh, size = context, min(block_size, context.size(1) + max_new_tokens - step)
            cache = KVCache(model, idx.size(0), size)
        logits = model.lm_head(model.hidden(fresh, cache)[:, -1]) # (B, V)
        if fresh is context and not logits.isfinite().all(): # asked once, because it waits for a GPU
            raise SystemExit('generate: the model computes numbers that are not finite; '
                             'use --dtype=float32 or another checkpoint')
        token = pick_token(logits.float(), temperature, top_k, top_p, n_vocab, generator)
        if stop_token is not None:
            token = torch.where(done, stop_token, token)
            done |= token == stop_token
        yield token
        if stop_token is not None and done.all():
            return
        fresh = token[:, None]
        context = torch.cat((context, fresh), dim=1)


def pick_token(logits, temperature=1.0, top_k=0, top_p=1.0, n_vocab=0, generator=None):
    """
    One token for each row of logits, float32 (B, V): int64 (B,).

    temperature: 0 takes the likeliest; below 1 prefers likely tokens, above 1 evens the odds
    top_k: only the k likeliest may be drawn; 0: all
    top_p: only the fewest likeliest whose probabilities reach top_p together (Holtzman et al. 2019, arXiv
        1904.09751); 1: all
    n_vocab: ids from here on are padding of the table and are never drawn; 0: there is none
    """
    if n_vocab:
        logits = logits[:, :n_vocab]
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits / temperature
    if 0 < top_k < logits.size(-1):
        least = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -math.inf)
    if top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        odds = ordered.softmax(dim=-1)
        before = odds.cumsum(dim=-1) - odds # probability of all that are likelier than this one
        logits = logits.scatter(1, order, ordered.masked_fill(before >= top_p, -math.inf))
    return torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)[:, 0]


def generate_texts(model, tokenizer, prompt, count, max_new_tokens, temperature=1.0, top_k=0, top_p=1.0,
                   seed=0, device='cpu', on_piece=None):
    """
    count continuations of a prompt, written in one batch: a list of strings, without the prompt.

    prompt: a text; '' begins a new document. A text ends where its document ends, or after max_new_tokens.
    on_piece: is called with each piece of the first text as soon as it is written
    """
    idx = torch.tensor([prompt_ids(tokenizer, prompt)] * count, device=device)
    generator = torch.Generator(device).manual_seed(seed)
    # incremental, because a character may be cut by a token's end
    steps, decoder = [], codecs.getincrementaldecoder('utf-8')('replace')
    for tokens in generate(model, idx, max_new_tokens, temperature, top_k, top_p, tokenizer.eot,
                           tokenizer.n_vocab, generator):
        steps.append(tokens)
        if on_piece and tokens[0] != tokenizer.eot:
            on_piece(decoder.decode(tokenizer.decode_bytes([tokens[0].item()])))
    if on_piece:
        on_piece(decoder.decode(b'', final=True)) # a character that was left incomplete
    texts = []
    for ids in torch.stack(steps, dim=1).tolist() if steps else [[]] * count:
        texts.append(tokenizer.decode(ids[:ids.index(tokenizer.eot)] if tokenizer.eot in ids else ids))
    return texts


def prompt_ids(tokenizer, prompt):
    """A prompt as ids, never empty: as in training, a separator first; without one, '' becomes a new line."""
    if tokenizer.eot is not None:
        return [tokenizer.eot] + tokenizer.encode(prompt)
    return tokenizer.encode(prompt) or tokenizer.encode('\n' if '\n' in tokenizer.chars
                                                        else tokenizer.chars[0])
