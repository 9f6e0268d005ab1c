"""
Write text with a trained model.

    python sample.py --out_dir=out-tinystories
    python sample.py --out_dir=out-tinystories --start="Once upon a time" --num_samples=3 --temperature=0.9
    python sample.py --init_from=scratch    # an untrained model: its parts, and what it babbles
"""
from configurator import configure

# which model
out_dir = 'out-tinystories' # the folder of a run; its best.pt is used, or ckpt.pt where there is no best yet
checkpoint = '' # a checkpoint file instead; nanoGPT's are read, too
init_from = 'checkpoint' # checkpoint, scratch (an untrained model), gpt2, gpt2-medium, gpt2-large or gpt2-xl
tokenizer = '' # meta.json or nanoGPT's meta.pkl of the data; only for a checkpoint that holds no tokenizer

# what it writes
start = '' # how the text begins; FILE:path reads it from a file; '' begins a new document
num_samples = 1 # texts, written side by side in one batch
max_new_tokens = 400 # how long each may get; it ends earlier where its document ends
temperature = 0.6 # 0 always takes the likeliest token; below 1 plays safe, above 1 takes risks
top_k = 0 # draw among the k likeliest tokens only; 0: all
top_p = 1.0 # draw among the fewest tokens whose probabilities reach this together; 1: all
seed = 1337 # the same seed writes the same text on the same machine

# machine
device = 'auto' # auto (cuda, mps or cpu), cpu, cuda, cuda:1, mps
dtype = 'auto' # auto (bfloat16 on a GPU that has it, else float32), float32, bfloat16, float16

config = configure(globals())

# after the settings, so that --help and a typo answer at once
import json
import os

import torch

from checkpoint import BEST, LAST, PREVIOUS, build, from_gpt2, read_first
from data.bins import chars_of_nanogpt
from data.tokenizer import CharTokenizer, from_json
from device import choose_device
from generate import generate_texts, prompt_ids
from model import GPT, GPTConfig


def check(s):
    """SystemExit with all that is impossible in the settings s."""
    wrong = [f'{name} must be at least 1, got {s[name]}' for name in ('num_samples', 'max_new_tokens')
             if s[name] < 1]
    wrong += [f'{name} must not be negative, got {s[name]}' for name in ('temperature', 'top_k', 'seed')
              if s[name] < 0]
    if not 0 < s['top_p'] <= 1:
        wrong.append(f"top_p must be above 0 and at most 1, got {s['top_p']}")
    if s['init_from'] not in ('checkpoint', 'scratch', 'gpt2', 'gpt2-medium', 'gpt2-large', 'gpt2-xl'):
        wrong.append('init_from must be checkpoint, scratch, gpt2, gpt2-medium, gpt2-large or gpt2-xl, '
                     f"got {s['init_from']!r}")
    if s['dtype'] not in ('auto', 'float32', 'bfloat16', 'float16'):
        wrong.append(f"dtype must be auto, float32, bfloat16 or float16, got {s['dtype']!r}")
    if wrong:
        raise SystemExit('sample.py: ' + '; '.join(wrong))


def candidates(out_dir, checkpoint):
    """Paths of the files to read, the next where one is damaged."""
    return [checkpoint] if checkpoint else [os.path.join(out_dir, name) for name in (BEST, LAST, PREVIOUS)]


def tokenizer_of(found, path, named):
    """The tokenizer that a checkpoint holds; if it holds none, the named file's, or GPT-2's if that fits."""
    rows = found['model_config']['vocab_size']
    if 'tokenizer' in found:
        letters = from_json(found['tokenizer'])
    elif named:
        letters = load_tokenizer(named)
    elif rows in (50257, 50304): # how nanoGPT pads GPT-2's
        letters = from_json({'kind': 'gpt2'})
    else:
        raise SystemExit(f'{path}: holds no tokenizer; name the meta.pkl or meta.json of its data: '
                         '--tokenizer=FILE')
    if letters.n_vocab > rows:
        raise SystemExit(f'tokenizer: {named or "that of the checkpoint"} has {letters.n_vocab} tokens, '
                         f'{path} knows {rows}; name that of its data')
    return letters


def load_tokenizer(path):
    """The tokenizer of a meta.json, or of nanoGPT's meta.pkl, which is read without executing it."""
    if path.endswith('.pkl'):
        return CharTokenizer(chars_of_nanogpt(path))
    try:
        with open(path, encoding='utf-8') as f:
            return from_json(json.load(f)['tokenizer'])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SystemExit(f'tokenizer: expected a meta.json or meta.pkl, got {path} '
                         f'({type(error).__name__}: {error})') from None


def read_prompt(start):
    """The prompt itself; with FILE: before it, what the file holds."""
    if not start.startswith('FILE:'):
        return start
    try:
        with open(start[5:], encoding='utf-8') as f:
            return f.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f'start: {start[5:]} cannot be read as text ({error})') from None


def untrained_model(seed):
    """A small GPT with random weights and a tokenizer of printable characters."""
    letters = CharTokenizer('\n' + ''.join(chr(i) for i in range(32, 127)))
    torch.manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=letters.n_vocab, block_size=256, n_layer=4, n_head=4, n_embd=128))
    return model, letters


def show_parts(model):
    """A table of what a model is made of: each kind of parameter, how many times, of which shape."""
    parts = {}
    for name, p in model.named_parameters():
        if name.startswith('transformer.h.'):
            name = 'each block: ' + name.split('.', 3)[3]
        parts.setdefault(name, []).append(p)
    print(f'{"part":32} {"shape":>14} {"times":>6} {"parameters":>12} {"share":>7}')
    for name, members in parts.items():
        count = sum(p.numel() for p in members)
        shape = ' x '.join(str(n) for n in members[0].shape)
        print(f'{name:32} {shape:>14} {len(members):>6} {count:>12,} {count / model.n_params():>7.1%}')
    print(f'{"all":32} {"":>14} {"":>6} {model.n_params():>12,} {1:>7.1%}\n')


def main():
    check(config.settings)
    rank_device, _ = choose_device(device)
    if init_from == 'scratch':
        model, letters = untrained_model(seed)
        show_parts(model)
        print('This model has learned nothing yet: its weights are random numbers, every character is about '
              'as likely as any other, so what it writes is noise. Training changes the weights, not one '
              'line of this program.\n')
    else:
        found, path = read_first(candidates(out_dir, checkpoint)) if init_from == 'checkpoint' else \
            (from_gpt2(init_from), init_from)
        model, letters = build(found, path), tokenizer_of(found, path, tokenizer)
        trained = f", trained for {found['iter_num']} iters" if 'iter_num' in found else ''
        print(f'{path}: {model.n_params():,} parameters{trained} | device {rank_device}\n')
    # weights as small as the machine computes well with; on a CPU float32 is the one that is never slow
    on_new_gpu = rank_device.startswith('cuda') and torch.cuda.get_device_capability(rank_device) >= (8, 0)
    name = dtype if dtype != 'auto' else 'bfloat16' if on_new_gpu else 'float32'
    model.eval().to(rank_device, getattr(torch, name))

    prompt = read_prompt(start)
    room = model.config.block_size
    if len(prompt_ids(letters, prompt)) > room:
        raise SystemExit(f'start: the prompt has {len(prompt_ids(letters, prompt))} tokens, '
                         f'the model reads {room} at once; shorten it')
    print(prompt, end='', flush=True)
    texts = generate_texts(model, letters, prompt, num_samples, max_new_tokens, temperature, top_k, top_p,
                           seed, rank_device, on_piece=lambda piece: print(piece, end='', flush=True))
    for text in texts[1:]: # the first was printed while it was written
        print(f'\n{"-" * 20}\n{prompt}{text}', end='')
    print()


if __name__ == '__main__':
    main()
