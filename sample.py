"""
Generate text with a trained model.

    python sample.py --out_dir=out-tinystories
    python sample.py --out_dir=out-tinystories --start="Once upon a time" --num_samples=3 --temperature=0.9
    python sample.py --out_dir=out-tinystories --interactive
    python sample.py --out_dir=out-tinystories --prompts=prompts.txt --out_file=completions.jsonl
    python sample.py --init_from=scratch    # sample from an untrained model, after a table of its parts
"""
from configurator import configure

# model
out_dir = 'out-tinystories' # folder of a run; its best.pt is loaded, or ckpt.pt if there is no best.pt yet
checkpoint = '' # checkpoint file to load instead, also one of nanoGPT; or the folder of a run
init_from = 'checkpoint' # checkpoint, scratch (an untrained model), gpt2, gpt2-medium, gpt2-large, gpt2-xl,
    # or the path of a checkpoint
tokenizer = '' # meta.json, or nanoGPT's meta.pkl, of the dataset; only for a checkpoint without a tokenizer

# prompts and completions
start = '' # the prompt; FILE:path reads it from a file; '' starts a new document
prompts = '' # file with one prompt per line, instead of start; they are generated in batches
interactive = False # ask for one prompt after the other
num_samples = 1 # completions per prompt
max_new_tokens = 400 # maximum length of a completion; it ends earlier at the end of its document
stop = '' # stop string, not part of the completion; several as a JSON list, such as '["\\n\\n", "The end"]'
out_file = '' # also write the completions to this file, as JSON lines
logprobs = False # print each token with its log-probability under the model at temperature 1
seed = 1337 # of the random numbers; the same seed gives the same text on the same machine

# decoding strategy; docs/generation.md compares them
temperature = 0.6 # divides the logits; lower = less random, 0 = greedy decoding
top_k = 0 # sample from the k most probable tokens only; 0: all
top_p = 1.0 # nucleus sampling: from the fewest tokens whose probabilities sum to this; 1: all
min_p = 0.0 # sample from tokens at least this fraction as probable as the most probable one; 0: all
repetition_penalty = 1.0 # above 1, such as 1.2: tokens already in the sequence become less probable
num_beams = 1 # above 1: deterministic beam search with this many beams
length_penalty = 1.0 # of beam search: 0 prefers short completions, above 1 long ones
num_draft_tokens = 0 # speculative decoding by prompt lookup, at temperature 0: draft tokens verified at once

# machine
device = 'auto' # auto (cuda, mps or cpu), cpu, cuda, cuda:1, mps
dtype = 'auto' # of the weights: auto (bfloat16 on a recent GPU, else float32), float32, bfloat16, float16
quantize = '' # int8: int8 weight-only quantization; on a CPU 3 to 4 times as fast as float32
compile = False # torch.compile for all tokens after the prompt; 6 times as fast on a GPU, not faster on a CPU

DEFAULTS = globals().copy()
config = configure(globals())

# after the settings, so that --help and errors do not wait for torch
import json
import math
import os
import signal
import sys
from dataclasses import asdict
from functools import partial

import torch

from data.files import atomic_write, is_stream
from data.tokenizer import CharTokenizer
from lib.checkpoint import GPT2_NAMES, build, from_gpt2, read_best, tokenizer_for
from lib.detokenize import Completion, StreamingDetokenizer
from lib.device import DTYPES, choose_compile, choose_device
from lib.generate import (
    Sampling,
    beam_search,
    check_prompts,
    check_utf8,
    prompt_ids,
    prompt_lookup_decode,
    stream_texts,
)
from lib.parts import parts_table
from lib.quantize import prepare_for_inference
from model import GPT, GPTConfig

RANGES = {'num_samples': (1, 1_000), 'max_new_tokens': (1, 1_000_000), 'num_beams': (1, 1_000),
          'num_draft_tokens': (0, 1_000), 'temperature': (0, math.inf), 'top_k': (0, math.inf),
          'min_p': (0, 1), 'repetition_penalty': (0.01, 100), 'length_penalty': (0, 10),
          'seed': (0, 2 ** 63 - 1)}
# a setting that is in use -> those that would have no effect
INCOMPATIBLE = {'prompts': ['start'], 'interactive': ['start', 'prompts', 'out_file'], 'quantize': ['dtype'],
                'init_from': ['checkpoint', 'out_dir'], 'checkpoint': ['out_dir'],
                'num_beams': ['temperature', 'num_samples', 'seed', 'logprobs', 'top_k', 'top_p', 'min_p',
                              'repetition_penalty', 'num_draft_tokens', 'compile'],
                'num_draft_tokens': ['num_samples', 'logprobs', 'repetition_penalty', 'compile']}
RULE = '-' * 20
UNTRAINED_NOTE = '''\
This model is untrained: its weights are random numbers, so every character is about as probable as any other
and the sample is noise. Training changes the weights, not one line of this program.
'''


# ---- settings ----

def check_settings(s, typed):
    """SystemExit with all that is invalid in the settings s; typed: names given on the command line."""
    problems = [f'{name} must be from {low} to {high}, got {s[name]}' if high < math.inf else
                f'{name} must be at least {low}, got {s[name]}'
                for name, (low, high) in RANGES.items() if not low <= s[name] <= high]
    if not 0 < s['top_p'] <= 1:
        problems.append(f"top_p must be above 0 and at most 1, got {s['top_p']}")
    if s['quantize'] not in ('', 'int8'):
        problems.append(f"quantize must be int8 or left out, got {s['quantize']!r}")
    if s['dtype'] not in ('auto', *DTYPES):
        problems.append(f"dtype must be auto, {', '.join(DTYPES)}, got {s['dtype']!r}")
    if s['init_from'] not in ('checkpoint', 'scratch', *GPT2_NAMES) and not os.path.exists(s['init_from']):
        problems.append(f"init_from must be checkpoint, scratch, {', '.join(GPT2_NAMES)} or the path of a "
                        f"checkpoint, got {s['init_from']!r}")
    if s['out_file'] and not can_be_written(s['out_file']):
        problems.append(f"out_file must be a file that can be written, got {s['out_file']}")
    problems += ineffective_settings(s, typed)
    if problems:
        raise SystemExit('sample.py: ' + '; '.join(problems))


def can_be_written(path):
    """Whether a file can be written at path: in a folder, or a device or pipe."""
    folder = os.path.dirname(os.path.realpath(path))
    is_file_name = os.path.basename(path) and not os.path.isdir(path)
    return is_file_name and os.access(path if is_stream(path) else folder, os.W_OK)


def ineffective_settings(s, typed):
    """Sentences about settings that would have no effect beside others."""
    used = {name for name in s if s[name] != DEFAULTS[name]} - {'temperature'}
    if s['temperature'] and 'temperature' in typed: # its default is not off, as those of the others are
        used.add('temperature')
    pairs = [(name, others) for name, others in INCOMPATIBLE.items() if name in used]
    if s['num_beams'] == 1 and not s['temperature']:
        pairs.append(('temperature=0', ['num_samples', 'top_k', 'top_p', 'min_p', 'seed']))
    if s['init_from'] == 'scratch':
        pairs.append(('init_from=scratch', ['tokenizer']))
    problems = [f'{name} cannot be combined with {", ".join(ineffective)}; leave one of them out'
                for name, others in pairs if (ineffective := [other for other in others if other in used])]
    if s['num_beams'] == 1 and 'length_penalty' in used:
        problems.append('length_penalty needs --num_beams above 1')
    if s['num_draft_tokens'] and s['temperature']:
        problems.append(f"num_draft_tokens needs --temperature=0, got {s['temperature']}")
    return problems


def read_text(where, path):
    """The contents of a UTF-8 file without its byte order mark; where: the setting that named it."""
    try:
        with open(path, encoding='utf-8-sig') as file:
            return file.read().replace('\ufeff', '') # of joined files
    except (OSError, ValueError) as error:
        raise SystemExit(f'{where}: {path} cannot be read as UTF-8 text ({error})') from None


def read_prompts(start, path):
    """{where it was given: prompt} of the lines of a file, else of start, or of FILE:path in start."""
    if path:
        lines = read_text('prompts', path).split('\n')
        if not any(map(str.strip, lines)):
            raise SystemExit(f'prompts: {path}: expected one prompt per line, got none')
        return {f'{path}:{number}': line for number, line in enumerate(lines, 1) if line.strip()}
    if start.startswith('FILE:'):
        return {start[5:]: read_text('start', start[5:])}
    return {'start': start}


def read_stop_strings(stop):
    """The list of stop strings in the setting stop."""
    if not stop.startswith('['):
        return [stop] if stop else []
    try:
        stops = json.loads(stop)
        if not all(isinstance(string, str) and string for string in stops):
            raise ValueError('not all are non-empty strings')
    except ValueError as error:
        raise SystemExit(f'stop: expected a string or a JSON list of strings, got {stop} ({error})') from None
    return stops


def check_stop_strings(stops, tokenizer):
    """SystemExit for a stop string that the tokenizer cannot produce, so that it would never be found."""
    for stop in stops:
        if tokenizer.kind == 'char' and not set(stop) <= set(tokenizer.chars):
            unknown = ''.join(sorted(set(stop) - set(tokenizer.chars)))
            raise SystemExit(f'stop: {stop!r} can never be generated, since {unknown!r} is not in the '
                             'vocabulary; leave it out')
        check_utf8('stop', stop)


# ---- the model ----

def untrained_model(seed):
    """A small GPT with random weights and a tokenizer of printable characters."""
    tokenizer = CharTokenizer('\n' + ''.join(chr(i) for i in range(32, 127)))
    torch.manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=tokenizer.n_vocab, block_size=256, n_layer=4, n_head=4, n_embd=128))
    return model, tokenizer


def inference_dtype(dtype, quantize, device):
    """The dtype of the weights: 'int8', the one that was requested, or the fastest that is never slow."""
    if quantize or dtype != 'auto':
        return quantize or dtype
    is_new_gpu = device.startswith('cuda') and torch.cuda.get_device_capability(device) >= (8, 0)
    return 'bfloat16' if is_new_gpu else 'float32' # some CPUs and older GPUs only emulate bfloat16


# ---- completions ----

def stream_deterministic(model, tokenizer, prompts, max_new_tokens, num_beams, length_penalty,
                         num_draft_tokens, device, stops, on_piece):
    """Yield the Completion of each prompt by beam search or prompt lookup; on_piece is for the first."""
    n_vocab, eot = min(tokenizer.n_vocab, model.config.vocab_size), {tokenizer.eot} - {None}
    for number, prompt in enumerate(prompts):
        idx = torch.tensor([prompt_ids(tokenizer, prompt)], device=device)
        if num_beams > 1:
            tokens, _ = beam_search(model, idx, max_new_tokens, num_beams, length_penalty, eot, n_vocab)
        else:
            steps = prompt_lookup_decode(model, idx, max_new_tokens, num_draft_tokens, eot, n_vocab)
            tokens = (token.item() for token in steps)
        detokenizer = StreamingDetokenizer(Completion(prompt), tokenizer, stops, None if number else on_piece)
        for token in tokens:
            detokenizer.add(token)
            if detokenizer.done:
                break
        detokenizer.finish()
        yield detokenizer.completion


def print_piece(piece):
    print(piece, end='', flush=True)


def print_completions(complete, prompts, tokenizer, logprobs, completions):
    """
    Print the completions of a list of prompts as they are generated, and append them to completions, a list.

    complete: function of (prompts, on_piece) that yields Completions
    """
    if not logprobs:
        print_piece(prompts[0])
    for completion in complete(prompts, on_piece=None if logprobs else print_piece):
        if logprobs:
            print_logprobs(tokenizer, completion)
        elif completions:
            print_piece(f'\n{RULE}\n{completion.prompt}{completion.text}')
        completions.append(completion)
    print_piece('' if logprobs else '\n')


def print_logprobs(tokenizer, completion):
    """Print each token of a completion with its log-probability, then their total."""
    print(f'{RULE}\n{completion.prompt}')
    for token, logprob in zip(completion.ids, completion.logprobs, strict=True):
        print(f'{logprob:9.4f}  {tokenizer.decode([token])!r}')
    total = sum(completion.logprobs)
    print(f'{total:9.4f}  total, {total / max(1, len(completion.ids)):.4f} per token')


def complete_prompts(complete, prompts, tokenizer, logprobs, out_file):
    """Print the completions of a list of prompts and write them to out_file, on Ctrl-C those completed."""
    completions, stopped = [], None
    try:
        print_completions(complete, prompts, tokenizer, logprobs, completions)
    except (KeyboardInterrupt, OSError) as error: # Ctrl-C, or stdout was closed
        stopped = error
    if out_file and completions:
        with atomic_write(out_file, text=True) as file:
            file.writelines(json.dumps(asdict(completion), ensure_ascii=False) + '\n'
                            for completion in completions)
    if isinstance(stopped, KeyboardInterrupt):
        saved = f'; {len(completions)} completions are in {out_file}' if out_file and completions else ''
        print(flush=True) # ends the line of the completion that was interrupted
        print(f'sample.py: interrupted{saved}', file=sys.stderr)
        raise SystemExit(130)
    if stopped:
        raise stopped


def interactive_loop(complete, tokenizer, block_size, logprobs):
    """Ask for prompts and print their completions until the input ends."""
    print('Enter a prompt. Ctrl-C stops a completion; Ctrl-C without one, or Ctrl-D, ends the program.\n')
    while True:
        try:
            prompt = input('> ')
        except (EOFError, KeyboardInterrupt):
            return print()
        except UnicodeDecodeError as error:
            print(f'start: expected text in UTF-8 ({error})')
            continue
        try:
            check_prompts({'start': prompt}, tokenizer, block_size)
            print_completions(complete, [prompt], tokenizer, logprobs, [])
        except KeyboardInterrupt:
            print()
        except SystemExit as problem: # such as a character that is not in the vocabulary
            print(problem)


def handle_signals_as_ctrl_c():
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, so that what is complete is written."""
    for number in (getattr(signal, name, None) for name in ('SIGTERM', 'SIGHUP')): # Windows lacks SIGHUP
        if number and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def main():
    check_settings(config.settings, config.typed)
    handle_signals_as_ctrl_c()
    stops, prompts_by_source = read_stop_strings(stop), read_prompts(start, prompts)
    run_device, _ = choose_device(device)
    if init_from == 'scratch':
        model, model_tokenizer = untrained_model(seed)
        print(parts_table(model) + '\n')
        print(UNTRAINED_NOTE)
    else:
        source = checkpoint or (out_dir if init_from == 'checkpoint' else init_from)
        loaded, path = (from_gpt2(source), source) if source in GPT2_NAMES else read_best(source)
        model, model_tokenizer = build(loaded, path), tokenizer_for(loaded, path, tokenizer)
        trained = f", trained for {loaded['iter_num']} iters" if 'iter_num' in loaded else ''
        print(f'{path}: {model.n_params():,} parameters{trained} | device {run_device}\n')
    block_size = model.config.block_size
    check_stop_strings(stops, model_tokenizer)
    check_prompts(prompts_by_source, model_tokenizer, block_size)
    model = prepare_for_inference(model, inference_dtype(dtype, quantize, run_device), run_device)
    if compile:
        choose_compile('true', run_device) # SystemExit if torch.compile does not work here
    if num_beams > 1 or num_draft_tokens:
        complete = partial(stream_deterministic, model, model_tokenizer, max_new_tokens=max_new_tokens,
                           num_beams=num_beams, length_penalty=length_penalty,
                           num_draft_tokens=num_draft_tokens, device=run_device, stops=stops)
    else:
        sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
        complete = partial(stream_texts, model, model_tokenizer, samples=num_samples,
                           max_new_tokens=max_new_tokens, sampling=sampling, seed=seed, device=run_device,
                           stops=stops, compiled=compile, logprobs=logprobs)
    if interactive:
        interactive_loop(complete, model_tokenizer, block_size, logprobs)
    else:
        complete_prompts(complete, list(prompts_by_source.values()), model_tokenizer, logprobs, out_file)


if __name__ == '__main__':
    main()
