"""
Write text with a trained model.

    python sample.py --out_dir=out-tinystories
    python sample.py --out_dir=out-tinystories --start="Once upon a time" --num_samples=3 --temperature=0.9
    python sample.py --out_dir=out-tinystories --interactive
    python sample.py --out_dir=out-tinystories --prompts=prompts.txt --out_file=texts.jsonl
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
prompts = '' # a file with a beginning in each line, instead of start; they are written in batches
interactive = False # ask for one beginning after the other
num_samples = 1 # texts for each beginning, written side by side in one batch
max_new_tokens = 400 # how long each may get; it ends earlier where its document ends
stop = '' # a text ends before this string; several as a JSON list, such as '["\\n\\n", "The end"]'
out_file = '' # write the texts here, too, as JSON lines
logprobs = False # show each token with its log-probability (of the model itself, at temperature 1)
seed = 1337 # the same seed writes the same text on the same machine

# how a token is chosen; docs/generation.md compares the ways
temperature = 0.6 # 0 always takes the likeliest token; below 1 plays safe, above 1 takes risks
top_k = 0 # draw among the k likeliest tokens only; 0: all
top_p = 1.0 # draw among the fewest tokens whose probabilities reach this together; 1: all
min_p = 0.0 # draw among tokens at least this share as likely as the likeliest; 0: all
repetition_penalty = 1.0 # above 1, such as 1.2: tokens that the text already has become less likely
num_beams = 1 # above 1: no chance, but the best of so many candidates for the text as a whole
length_penalty = 1.0 # of beams: 0 prefers short texts, above 1 long ones
guesses = 0 # at temperature 0: read so many guessed tokens at once, faster where a text repeats itself

# machine
device = 'auto' # auto (cuda, mps or cpu), cpu, cuda, cuda:1, mps
dtype = 'auto' # auto (bfloat16 on a GPU that has it, else float32), float32, bfloat16, float16
quantize = '' # int8: weights of eight bits, three to four times as fast on a CPU as float32, nearly as good
compile = False # torch.compile for what follows the prompt; gains nothing on a CPU, not measured on a GPU

config = configure(globals())

# after the settings, so that --help and a typo answer at once
import json
import os
from dataclasses import asdict

import torch

from data.bins import chars_of_nanogpt
from data.tokenizer import CharTokenizer, from_json
from lib.checkpoint import BEST, LAST, PREVIOUS, build, from_gpt2, read_first, shown, writing
from lib.device import choose_compile, choose_device
from lib.generate import Decoder, Sampling, Text, beam_search, generate_guessing, generate_texts, prompt_ids
from lib.quantize import quantize as quantize_weights
from model import GPT, GPTConfig

# what a setting is when it is not used
OFF = dict(start='', prompts='', interactive=False, out_file='', num_samples=1, logprobs=False, top_k=0,
           top_p=1.0, min_p=0.0, repetition_penalty=1.0, num_beams=1, guesses=0, dtype='auto',
           quantize='', compile=False)
# what would have no effect beside another setting
EXCLUDED = {'prompts': ['start'], 'interactive': ['start', 'prompts', 'out_file'], 'quantize': ['dtype'],
            'num_beams': ['num_samples', 'logprobs', 'top_k', 'top_p', 'min_p', 'repetition_penalty',
                          'guesses', 'compile'],
            'guesses': ['num_samples', 'logprobs', 'repetition_penalty', 'compile']}


def check(s):
    """SystemExit with all that is impossible in the settings s."""
    wrong = [f'{name} must be at least 1, got {s[name]}'
             for name in ('num_samples', 'max_new_tokens', 'num_beams') if s[name] < 1]
    wrong += [f'{name} must not be negative, got {s[name]}'
              for name in ('temperature', 'top_k', 'seed', 'guesses') if s[name] < 0]
    if not 0 < s['top_p'] <= 1:
        wrong.append(f"top_p must be above 0 and at most 1, got {s['top_p']}")
    if not 0 <= s['min_p'] <= 1:
        wrong.append(f"min_p must be from 0 to 1, got {s['min_p']}")
    if not 0.01 <= s['repetition_penalty'] <= 100:
        wrong.append(f"repetition_penalty must be from 0.01 to 100, got {s['repetition_penalty']}")
    if not 0 <= s['length_penalty'] <= 10:
        wrong.append(f"length_penalty must be from 0 to 10, got {s['length_penalty']}")
    if s['quantize'] not in ('', 'int8'):
        wrong.append(f"quantize must be int8 or left out, got {s['quantize']!r}")
    for name, others in EXCLUDED.items():
        beside = [other for other in others if s[name] != OFF[name] and s[other] != OFF[other]]
        if beside:
            wrong.append(f"{name} does not go with {', '.join(beside)}; leave one of them out")
    if s['guesses'] and s['temperature']:
        wrong.append(f"guesses needs --temperature=0, got {s['temperature']}")
    if not os.path.isdir(os.path.dirname(s['out_file']) or '.'):
        wrong.append(f"out_file: there is no folder {os.path.dirname(s['out_file'])}")
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


def read_text(where, path):
    """What a text file holds; where: the setting that named it."""
    try:
        with open(path, encoding='utf-8') as f:
            return f.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f'{where}: {path} cannot be read as text ({error})') from None


def read_prompts(start, path):
    """The beginnings: the lines of the file, or start, or with FILE: before it, what that file holds."""
    if path:
        lines = [line for line in read_text('prompts', path).split('\n') if line.strip()]
        if not lines:
            raise SystemExit(f'prompts: {path}: expected a beginning in each line, got none')
        return lines
    return [read_text('start', start[5:]) if start.startswith('FILE:') else start]


def read_stops(stop):
    """The strings that end a text."""
    if not stop.startswith('['):
        return [stop] * bool(stop)
    try:
        stops = json.loads(stop)
        if not all(isinstance(each, str) and each for each in stops):
            raise ValueError('not all of it are strings with something in them')
    except ValueError as error:
        raise SystemExit(f'stop: expected a string or a JSON list of strings, got {stop} ({error})') from None
    return stops


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


def check_prompts(letters, beginnings, block_size):
    """SystemExit for a beginning that is no text, or longer than the context."""
    for each in beginnings:
        if any('\ud800' <= char <= '\udfff' for char in each): # how python keeps bytes that are not UTF-8
            raise SystemExit(f'start: expected text in UTF-8, got {shown(each)}')
        length = len(prompt_ids(letters, each))
        if length > block_size:
            raise SystemExit(f'start: the prompt {shown(each)} has {length} tokens, the model reads '
                             f'{block_size} at once; shorten it')


def one_text(model, letters, prompt, max_new_tokens, num_beams, length_penalty, guesses, device,
             stops, on_piece):
    """The Text that beams or guesses find, which is the same every time."""
    idx = torch.tensor([prompt_ids(letters, prompt)], device=device)
    n_vocab, ends = min(letters.n_vocab, model.config.vocab_size), {letters.eot} - {None}
    if num_beams > 1:
        tokens, _ = beam_search(model, idx, max_new_tokens, num_beams, length_penalty, ends, n_vocab)
    else:
        steps = generate_guessing(model, idx, max_new_tokens, guesses, ends, n_vocab)
        tokens = (token.item() for token in steps)
    decoder = Decoder(Text(prompt), letters, stops, on_piece)
    for token in tokens:
        decoder.add(token)
        if decoder.done:
            break
    decoder.end()
    return decoder.text


def converse(tell):
    """Ask for beginnings and tell how they go on, until the input ends."""
    while True:
        try:
            tell([input('> ')])
        except (EOFError, KeyboardInterrupt):
            return print()
        except (SystemExit, UnicodeDecodeError) as problem: # such as a character that the model does not know
            print(problem)


def print_logprobs(letters, text):
    """A line for each token of a text: what it says, and how likely it was."""
    print(f'{"-" * 20}\n{text.prompt}')
    for token, logprob in zip(text.ids, text.logprobs, strict=True):
        print(f'{logprob:9.4f}  {letters.decode([token])!r}')
    print(f'{sum(text.logprobs):9.4f}  together, {sum(text.logprobs) / max(1, len(text.ids)):.4f} a token')


def write_lines(path, texts):
    """The texts as JSON lines; the file is complete or not there."""
    with writing(path) as temporary, open(temporary, 'w', encoding='utf-8') as f:
        f.writelines(json.dumps(asdict(text), ensure_ascii=False) + '\n' for text in texts)


def main():
    check(config.settings)
    stops, beginnings = read_stops(stop), read_prompts(start, prompts)
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
    if quantize:
        quantize_weights(model)
    if compile:
        choose_compile('true', rank_device) # says so where it does not work
    how = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)

    def write(beginnings, on_piece):
        """A list of Text; on_piece is called with pieces of the first while it is written."""
        check_prompts(letters, beginnings, model.config.block_size)
        if num_beams > 1 or guesses:
            return [one_text(model, letters, each, max_new_tokens, num_beams, length_penalty, guesses,
                             rank_device, stops, None if number else on_piece)
                    for number, each in enumerate(beginnings)]
        return generate_texts(model, letters, beginnings, num_samples, max_new_tokens, how, seed, rank_device,
                              stops, on_piece, compile, logprobs)

    def tell(beginnings):
        """Print the texts, the first while it is written."""
        pieces = []

        def show(piece):
            print(piece if pieces else beginnings[0] + piece, end='', flush=True)
            pieces.append(piece)

        texts = write(beginnings, None if logprobs else show)
        for number, text in enumerate(texts):
            if logprobs:
                print_logprobs(letters, text)
            elif number or not pieces:
                print((f'\n{"-" * 20}\n' if number else '') + text.prompt + text.text, end='')
        print(end='' if logprobs else '\n')
        return texts

    if interactive:
        return converse(tell)
    texts = tell(beginnings)
    if out_file:
        write_lines(out_file, texts)


if __name__ == '__main__':
    main()
