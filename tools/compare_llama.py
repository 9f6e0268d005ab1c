"""
Decoding speed beside llama.cpp on a CPU: GPT-2 (124M) with random weights, batch size 1, interleaved runs.

    pip install xllamacpp gguf
    python tools/compare_llama.py

Each run is a process of its own: a warm-up, then --new_tokens tokens after a prompt of 8, sampled at
temperature 0.8 and top-k 200. llama.cpp reads GGUF files that are written for this, of 0.9 GB in all.
"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from configurator import configure

runs = 3 # of each side and dtype
new_tokens = 128
threads = 2
smoke_test = False # a tiny model and one run: shows that it works, measures nothing
gguf_file = '' # measure llama.cpp with this file in this process; what the tool starts itself with

config = configure(globals())

# after the settings, so that --help and errors do not wait for numpy
import subprocess
import tempfile
import time
from importlib.util import find_spec
from statistics import median

from tools.compare_harness import SIZES, WORKER

FORMATS = {'float32': 'F32', 'bfloat16': 'BF16', 'int8': 'Q8_0'} # weights of ours: what is closest in GGUF
PROMPT = list(range(10, 18))


def write_gguf(path, kind, shape):
    """Write a GPT-2 of random weights; kind: a name of GGMLQuantizationType; shape: sizes as in GPTConfig."""
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize
    rng, C, V = np.random.default_rng(0), shape['n_embd'], shape['vocab_size']
    dtype = GGMLQuantizationType[kind]
    writer = GGUFWriter(path, 'gpt2')
    writer.add_block_count(shape['n_layer'])
    writer.add_context_length(shape['block_size'])
    writer.add_embedding_length(C)
    writer.add_feed_forward_length(4 * C)
    writer.add_head_count(shape['n_head'])
    writer.add_layer_norm_eps(1e-5)
    writer.add_tokenizer_model('gpt2') # its words do not matter: prompts are ids
    writer.add_tokenizer_pre('gpt-2')
    writer.add_token_list([f'token{i}' for i in range(V)])
    writer.add_token_merges(['t o'])
    writer.add_eos_token_id(V - 1)

    def add(name, *size, quantized=True):
        weights = rng.normal(0, 0.02, size).astype(np.float32)
        raw = {'raw_dtype': dtype} if quantized else {}
        writer.add_tensor(name, quantize(weights, dtype) if quantized else weights, **raw)

    def add_layer(name, rows, columns):
        add(f'{name}.weight', rows, columns)
        add(f'{name}.bias', rows, quantized=False) # llama.cpp's GPT-2 always has biases

    def add_norm(name):
        writer.add_tensor(f'{name}.weight', np.ones(C, np.float32))
        writer.add_tensor(f'{name}.bias', np.zeros(C, np.float32))
    add('token_embd.weight', V, C)
    add('position_embd.weight', shape['block_size'], C, quantized=False)
    add_norm('output_norm')
    for i in range(shape['n_layer']):
        add_norm(f'blk.{i}.attn_norm')
        add_norm(f'blk.{i}.ffn_norm')
        add_layer(f'blk.{i}.attn_qkv', 3 * C, C)
        add_layer(f'blk.{i}.attn_output', C, C)
        add_layer(f'blk.{i}.ffn_up', 4 * C, C)
        add_layer(f'blk.{i}.ffn_down', C, 4 * C)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_tokens_per_second(path):
    """Tokens/s of llama.cpp for a GGUF file, in this process, the prompt included."""
    import xllamacpp
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.verbosity = path, 256, 1, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    request = {'prompt': PROMPT, 'n_predict': new_tokens, 'temperature': 0.8, 'top_k': 200, 'top_p': 1.0,
               'min_p': 0.0, 'ignore_eos': True, 'cache_prompt': False}
    for _ in range(2): # the first is the warm-up
        start = time.perf_counter()
        answer = server.handle_completions(request)
        seconds = time.perf_counter() - start
    found = answer.get('timings', {}).get('predicted_n')
    if found != new_tokens:
        raise SystemExit(f'llama.cpp: expected {new_tokens} new tokens, got {found}: {str(answer)[:200]}')
    return new_tokens / seconds


def measure(command):
    """tokens_per_second, the last line of a process's output."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, errors='replace',
                          env=os.environ | {'OMP_NUM_THREADS': str(threads)})
    if done.returncode:
        raise SystemExit(f'compare_llama.py: {command[0]} failed:\n{(done.stdout + done.stderr)[-1500:]}')
    return json.loads(done.stdout.splitlines()[-1])['tokens_per_second']


def main():
    if gguf_file:
        print(json.dumps({'tokens_per_second': llama_tokens_per_second(gguf_file)}))
        return
    if missing := [name for name in ('xllamacpp', 'gguf') if not find_spec(name)]:
        raise SystemExit(f'compare_llama.py: expected the packages xllamacpp and gguf, found no '
                         f'{" and no ".join(missing)}; run: pip install {" ".join(missing)}')
    shape = {k: SIZES['124M'][k] for k in ('n_layer', 'n_head', 'n_embd', 'vocab_size', 'block_size')}
    shape |= dict(n_layer=1, n_head=2, n_embd=64, vocab_size=512) if smoke_test else {}
    ours = shape | {'task': 'decode', 'side': 'pocketGPT', 'arch': 'gpt2', 'seed': 1337, 'device': 'cpu',
                    'new_tokens': new_tokens, 'threads': threads, 'bias': True}
    print(f'{"weights":>16} {"llama.cpp":>22} {"ours":>22} {"ratio":>6}   tokens/s, median (min to max)')
    with tempfile.TemporaryDirectory() as folder:
        for dtype, kind in FORMATS.items():
            path, found = os.path.join(folder, f'{kind}.gguf'), ([], [])
            write_gguf(path, kind, shape)
            flags = [f'--gguf_file={path}', f'--new_tokens={new_tokens}', f'--threads={threads}']
            for _ in range(1 if smoke_test else runs):
                found[0].append(measure([os.path.abspath(__file__), *flags]))
                found[1].append(measure([WORKER, json.dumps(ours | {'weight_dtype': dtype})]))
            cells = ' '.join(f'{f"{median(f):.1f} ({min(f):.1f} to {max(f):.1f})":>22}' for f in found)
            print(f'{f"{kind} / {dtype}":>16} {cells} {median(found[1]) / median(found[0]):6.2f}', flush=True)


if __name__ == '__main__':
    main()
