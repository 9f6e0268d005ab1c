"""
What the code does on a CUDA device, as facts for test_cuda_path.py, by the fake one of fake_cuda.py.

    python tests/cuda_path.py LIBRARY OUT.json FOLDER    # LIBRARY: fake_cuda.cpp, compiled; FOLDER: a dataset
"""
import ctypes
import sys

if __name__ == '__main__': # before torch asks whether there is a CUDA device
    ctypes.CDLL(sys.argv[1])

import contextlib
import io
import json
import os
import tempfile
import traceback
import warnings
from unittest import mock

import torch
from fake_cuda import fake_cuda

import train
from data.tokenizer import CharTokenizer
from lib import recorder
from lib.device import Machine, setup_machine
from lib.generate import Sampling, generate, make_noise, stream_texts
from lib.log import read_log
from lib.optim import make_optimizers
from lib.quantize import prepare_for_inference
from model import GPT, GPTConfig

SHAPES = {'gpt2': dict(arch='gpt2'),
          'gpt2 with biases and dropout': dict(arch='gpt2', bias=True, dropout=0.1),
          'modern': dict(arch='modern'),
          'grouped with dropout': dict(arch='modern', n_kv_head=2, dropout=0.1),
          'multi-query': dict(arch='modern', n_kv_head=1)}
DTYPES = 'float32', 'bfloat16', 'float16'
CAPABILITIES = (9, 0), (8, 0), (7, 5), (6, 1)
# each architecture in each dtype has both values of the last column, with or without dropout
UPDATES = [(shape, dtype, (65, 50304)[(i + j) % 2])
           for i, shape in enumerate(list(SHAPES)[:4]) for j, dtype in enumerate(DTYPES)]
GENERATIONS = [(shape, dtype, ('one prompt', 'samples of padded prompts')[(i + j) % 2])
               for i, shape in enumerate([*list(SHAPES)[:2], *list(SHAPES)[3:]])
               for j, dtype in enumerate((*DTYPES, 'int8'))]
RUNS = {'modern in float16': dict(arch='modern', n_kv_head=1, dtype='float16'),
        'gpt2 in bfloat16': dict(arch='gpt2', dtype='bfloat16')}
# what a GPU makes the CPU wait for, and below what it does not
WAITS = ('t.sum().item()', 'float(t[0])', 'int(t[0])', 'bool(t[0])', 't.tolist()', 'not t.isfinite().all()',
         't.cpu()', 't.to("cpu")', 'torch.zeros(2).copy_(t)', 'torch.zeros(2).to("cuda")',
         't.copy_(torch.zeros(2))', 'torch.tensor([1.0], device="cuda")', 'torch.cuda.synchronize()',
         'recorded_event().synchronize()')
NO_WAITS = ('t + t', 't.mul_(2.0)', 't.to("cpu", non_blocking=True)', 'torch.zeros(2, device="cuda")',
            'torch.zeros(2).pin_memory().to("cuda", non_blocking=True)', 'torch.zeros(2).tolist()',
            'recorded_event()', 'busy(recorded_event()).synchronize()')


def machine_facts(capability):
    """What is chosen for a GPU of a compute capability."""
    with fake_cuda(capability):
        machine = setup_machine('auto', 'auto', 'false', 'auto')
        return {'device': machine.device, 'dtype': machine.dtype, 'scaler': machine.scaler() is not None}


def update_facts(shape, dtype, vocab_size):
    """Two updates of two micro-batches, and an evaluation: their waits, and the dtypes of their results."""
    T = 256 if vocab_size > 1000 else 16 # so many logits that they are computed in chunks
    config = GPTConfig(vocab_size=vocab_size, block_size=T, n_layer=1, n_head=4, n_embd=64, **SHAPES[shape])
    machine = Machine('cuda', dtype, compile=False)
    with fake_cuda(with_values=False) as mode:
        model, scaler = GPT(config).to('cuda'), machine.scaler()
        optimizers = make_optimizers(model, 'auto', 1e-3, 0.02, 0.1, (0.9, 0.95), dtype)
        x = torch.zeros(2, T, dtype=torch.int64, device='cuda')
        mode.waits.clear()
        for _ in range(2): # the first one creates the optimizer state
            stats = train.train_step(model, optimizers, [(x, x), (x, x)], machine.autocast(), scaler, 1.0,
                                     [1, 2] if config.dropout else None)
        with torch.no_grad(), machine.autocast():
            loss, logits = model.eval()(x, x), model(x[:, :4])
        states = [t for optimizer in optimizers for state in optimizer.state.values() for t in state.values()]
        kept = {str(t.dtype) for t in [*model.parameters(), *states, stats, loss]}
        return {'waits': mode.waits, 'device': str(stats.device), 'kept': sorted(kept),
                'logits': str(logits.dtype), 'products': sorted(mode.products)}


def generation_facts(shape, dtype, what):
    """Four tokens for each sequence, past the end of the context: on the device, and on the CPU."""
    config = GPTConfig(vocab_size=65, block_size=5, n_layer=1, n_head=4, n_embd=64, **SHAPES[shape])
    padded = what != 'one prompt'
    sampling = Sampling(temperature=0.8, top_k=20, top_p=0.9, repetition_penalty=1.1)

    def tokens(device):
        torch.manual_seed(0)
        model = prepare_for_inference(GPT(config), dtype, device)
        idx = torch.tensor([[0, 0, 5, 6], [1, 2, 3, 4]] if padded else [[1, 2, 3, 4]], device=device)
        padding = torch.tensor([2, 0], device=device) if padded else None
        noise = make_noise(0, range(6 if padded else 1), 4)
        yield from generate(model, idx, 4, sampling, 3 if padded else 1, noise, stop_tokens={64},
                            padding=padding, logprobs=[])

    with fake_cuda() as mode:
        mode.waits.clear()
        steps = tokens('cuda')
        found = [next(steps)]
        before = [wait for wait in mode.waits if wait[0] == 'read']
        mode.waits.clear()
        found += steps
    return {'waits': before + mode.waits, 'device': str(found[-1].device),
            'tokens': [step.cpu_values.tolist() for step in found],
            'on_cpu': [step.tolist() for step in tokens('cpu')]}


def text_facts():
    """The waits of generating text with the log-probability of each token."""
    tokenizer = CharTokenizer.of('abcdefgh ')
    with fake_cuda() as mode:
        model = GPT(GPTConfig(vocab_size=9, block_size=16, n_layer=1, n_head=2, n_embd=32)).to('cuda').eval()
        mode.waits.clear()
        texts = list(stream_texts(model, tokenizer, ['a', 'bad'], 2, 5, device='cuda', logprobs=True))
        return {'waits': [wait for wait in mode.waits if wait[0] == 'read'],
                'logprobs': [len(text.logprobs) for text in texts]}


def run_facts(shape, folder):
    """A short training run, all but writing its checkpoints: on the device, and in float32 on the CPU."""
    run = dict(dataset=folder, compile='false', vocab_size=64, # a device may pad it otherwise
               n_layer=1, n_head=2, n_embd=32, block_size=32, batch_size=4, gradient_accumulation_steps=2,
               max_iters=4, eval_interval=2, eval_tokens=256, log_interval=2, sample_interval=3,
               sample_tokens=2, save_interval=3, **shape)

    def log(device, dtype):
        with tempfile.TemporaryDirectory() as out:
            settings = train.config.settings | run | {'device': device, 'dtype': dtype, 'out_dir': out}
            train.start(settings, {'max_iters'}, set(run), out, 1)
            return [record | {'dt': 0} for record in read_log(os.path.join(out, 'log.jsonl'))]

    printed, saved = io.StringIO(), []
    with mock.patch.object(recorder, 'save', lambda checkpoint, *paths: saved.append(checkpoint)), \
            mock.patch.object(recorder, 'draw_loss', lambda *paths: True), \
            mock.patch.object(torch.cuda, 'make_graphed_callables', lambda model, inputs: model), \
            contextlib.redirect_stdout(printed):
        with fake_cuda() as mode:
            found = log('cuda', shape['dtype'])
        out = printed.getvalue()
        places = {str(t.device) for checkpoint in saved for t in checkpoint['model'].values()}
        return {'waits': mode.waits, 'log': found, 'out': out, 'saved_on': sorted(places),
                'on_cpu': log('cpu', 'float32')}


def wait_facts(expression, inference):
    """The kinds of waits that evaluating an expression records; t is a tensor on the device."""
    with fake_cuda() as mode, torch.inference_mode(inference):
        t = torch.ones(2, device='cuda')

        def recorded_event():
            event = torch.cuda.Event()
            event.record()
            return event

        def busy(event):
            t.add_(1.0)
            return event

        names = {'t': t, 'torch': torch, 'recorded_event': recorded_event, 'busy': busy}
        mode.waits.clear()
        eval(expression, names)
        return {'waits': [kind for kind, _ in mode.waits]}


def race_facts(synchronizes):
    """What reading a copy in the background gives, with and without a wait for its event."""
    with fake_cuda():
        copy, event = torch.full((2,), 3.0, device='cuda').to('cpu', non_blocking=True), torch.cuda.Event()
        event.record()
        torch.ones(1, device='cuda')
        if synchronizes:
            event.synchronize()
        return {'values': copy.tolist()}


def facts_of(function, *args):
    """What a function returns, or {'error': the traceback}."""
    try:
        return function(*args)
    except (Exception, SystemExit):
        return {'error': traceback.format_exc()}


def main(out, folder):
    # snapshot() tells tensors that share memory from others by their address, which fake ones lack
    warnings.filterwarnings('ignore', 'Accessing the data pointer of FakeTensor')
    facts = {'machines': {str(c): facts_of(machine_facts, c) for c in CAPABILITIES},
             'updates': {str(case): facts_of(update_facts, *case) for case in UPDATES},
             'generations': {str(case): facts_of(generation_facts, *case) for case in GENERATIONS},
             'texts': facts_of(text_facts),
             'runs': {name: facts_of(run_facts, shape, folder) for name, shape in RUNS.items()},
             'waits': {f'{expression} {inference}': facts_of(wait_facts, expression, inference)
                       for expression in WAITS + NO_WAITS for inference in (False, True)},
             'races': {str(flag): facts_of(race_facts, flag) for flag in (False, True)}}
    with open(out, 'w', encoding='utf-8') as file:
        json.dump(facts, file)


if __name__ == '__main__':
    main(*sys.argv[2:])
