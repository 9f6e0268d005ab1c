"""
One measurement of pocketGPT or nanoGPT in a process of its own; tools/compare_nanogpt.py starts these.

    python tools/compare_worker.py '{"task": "machine", "device": "auto"}'

The request is one JSON object: its task names one of the functions below, which say what else they read. The
answer is one JSON object on the last line. nanoGPT is imported from the folder `nanogpt`, where it lies.
"""
import ast
import json
import math
import os
import sys
import time
from contextlib import nullcontext
from importlib.util import module_from_spec, spec_from_file_location
from statistics import mean, median

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
request = json.loads(sys.argv[1]) if __name__ == '__main__' else {}
if request.get('side') != 'theirs':
    # before torch: it says how threads wait, which nanoGPT does not
    import train

import torch

from bench import prepare_to_write
from data import bins
from data.tokenizer import from_json, train_bpe
from data.write import write_dataset
from lib.checkpoint import build, read_checkpoint
from lib.device import autocast_for, choose_device, choose_dtype, peak_flops
from lib.generate import Sampling, generate, make_noise
from lib.optim import all_groups, lr_share, make_optimizers
from model import GPT, GPTConfig

SHAPE = ('n_layer', 'n_head', 'n_embd', 'vocab_size', 'block_size')


def ours(p):
    """
    (model, update): our GPT, and a function that makes one update of it and returns the loss, a tensor.

    p: the names in SHAPE, arch, dtype ('auto' as in train.py), compile, learning_rate, betas, seed, device
    update(x, y, share): int64 (B, T) twice, and the share of the learning rate
    """
    torch.manual_seed(p['seed'])
    model = GPT(GPTConfig(arch=p['arch'], **{name: p[name] for name in SHAPE})).to(p['device'])
    dtype, _ = choose_dtype(p['dtype'], p['device'])
    optimizers = make_optimizers(model, {'modern': 'muon', 'gpt2': 'adamw'}[p['arch']], p['learning_rate'],
                                 0.02, 0.1, p['betas'],
                                 torch.float32 if dtype == 'float32' else torch.bfloat16)
    autocast = autocast_for(p['device'], dtype)
    called = torch.compile(model) if p['compile'] else model

    def update(x, y, share=1.0):
        for group in all_groups(optimizers):
            group['lr'] = group['peak_lr'] * share
        return train.train_step(called, optimizers, [(x, y)], autocast, grad_clip=1.0)[0]
    return model, update


def theirs(p):
    """As ours, with nanoGPT's model and optimizer, in the steps of its loop; float32 on a CPU, as there."""
    module = their_model(p['nanogpt'])
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True # as its train.py has it
    torch.manual_seed(p['seed'])
    model = module.GPT(module.GPTConfig(dropout=0.0, bias=False, **{name: p[name] for name in SHAPE}))
    model.to(p['device'])
    kind = p['device'].partition(':')[0]
    optimizer = model.configure_optimizers(0.1, p['learning_rate'], p['betas'], kind)
    autocast = nullcontext() if kind == 'cpu' else torch.autocast(kind, torch.bfloat16)
    called = torch.compile(model) if p['compile'] else model

    def update(x, y, share=1.0):
        for group in optimizer.param_groups:
            group['lr'] = p['learning_rate'] * share
        with autocast:
            loss = called(x, y)[1]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()
    return model, update


def their_model(folder):
    """nanoGPT's model.py as a module; not under the name model, which is ours."""
    spec = spec_from_file_location('nanogpt_model', os.path.join(folder, 'model.py'))
    module = module_from_spec(spec)
    sys.modules[spec.name] = module # dataclasses and torch.compile look there
    spec.loader.exec_module(module)
    return module


def their_lr(folder, settings):
    """nanoGPT's get_lr, iteration -> learning rate, out of its train.py, which cannot be imported."""
    path = os.path.join(folder, 'train.py')
    with open(path, encoding='utf-8') as f:
        tree = ast.parse(f.read(), path)
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == 'get_lr']
    namespace = {'math': math, **settings}
    exec(compile(tree, path, 'exec'), namespace)
    return namespace['get_lr']


def wait_for(device):
    if device.startswith('cuda'):
        torch.cuda.synchronize(device)


def peak_bytes(device):
    """The most memory so far: of the GPU, or of this process."""
    if device.startswith('cuda'):
        return torch.cuda.max_memory_allocated(device)
    # not on Windows
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)


def flops_per_token(p):
    """By one formula for both sides."""
    with torch.device('meta'): # takes no memory and no time
        return GPT(GPTConfig(arch=p['arch'], **{name: p[name] for name in SHAPE})).flops_per_token()


def losses_of(update, p, shares):
    """The losses of len(shares) updates on the windows of p['data'] that train.py would take."""
    meta = bins.load_meta(p['data'])
    tokens, losses = bins.open_bin(p['data'], 'train', meta), []
    for i, share in enumerate(shares):
        starts = bins.update_windows(len(tokens), p['block_size'], p['batch_size'], p['seed'], i)
        x, y = bins.get_batch(tokens, starts, p['block_size'])
        losses.append(update(x.to(p['device']), y.to(p['device']), share).item())
    return losses


def shares_of(steps, warmup, floor):
    """Of the learning rate in each update: our cosine after a warm-up."""
    return [lr_share(i, i / steps, warmup, steps, 1.0, 'cosine', floor) for i in range(steps)]


# ---- tasks ----

def machine(p):
    """What a record says about the machine. p: device, as train.py takes it."""
    device, _ = choose_device(p['device'])
    return {'device': device, 'threads': torch.get_num_threads(), 'torch': torch.__version__,
            'device_name': torch.cuda.get_device_name(device) if device.startswith('cuda') else 'CPU'}


def speed(p):
    """
    Tokens per second and memory of updates on random tokens.

    p: side, batch_size, warmup, steps, and what that side reads. The first update is timed apart, as it
    compiles; then come warmup updates that do not count, then steps that do.
    """
    model, update = ours(p) if p['side'] == 'ours' else theirs(p)
    generator = torch.Generator().manual_seed(p['seed'])
    idx = torch.randint(p['vocab_size'], (4, p['batch_size'], p['block_size'] + 1), generator=generator)
    x, y = (t.contiguous().to(p['device']) for t in (idx[..., :-1], idx[..., 1:]))
    times = []
    for i in range(1 + p['warmup'] + p['steps']):
        wait_for(p['device'])
        began = time.perf_counter()
        update(x[i % 4], y[i % 4])
        wait_for(p['device'])
        times.append(time.perf_counter() - began)
    step, memory = median(times[1 + p['warmup']:]), peak_bytes(p['device'])
    per_second = p['batch_size'] * p['block_size'] / step
    as_theirs = p['side'] == 'theirs' and p['device'] == 'cpu'
    dtype = 'float32' if as_theirs else choose_dtype(p['dtype'], p['device'])[0]
    peak = peak_flops(p['device'], dtype)
    return {'dtype': dtype, 'tokens_per_second': per_second, 'step_ms': 1e3 * step, 'first_step_s': times[0],
            'peak_bytes': memory, 'parameters': sum(w.numel() for w in model.parameters()),
            'mfu': per_second * flops_per_token(p) / peak if peak else None}


def dtypes(p):
    """Our loss, the mean of the last 10 of p['steps'] updates, in the dtype it chooses and in float32."""
    found = {}
    for dtype in ('auto', 'float32'):
        _, update = ours(p | {'dtype': dtype})
        found[dtype] = mean(losses_of(update, p, shares_of(p['steps'], p['steps'] // 10, 0.1))[-10:])
    return {'dtype': choose_dtype('auto', p['device'])[0], 'loss': found['auto'],
            'loss_float32': found['float32']}


def losses(p):
    """The losses of p['steps'] updates of both, from nanoGPT's weights, each with its own schedule."""
    our, our_update = ours(p)
    their, their_update = theirs(p)
    our.load_state_dict(their.state_dict())
    steps, warmup, highest, lowest = p['steps'], p['steps'] // 4, p['learning_rate'], p['learning_rate'] / 10
    get_lr = their_lr(p['nanogpt'], {'learning_rate': highest, 'min_lr': lowest, 'warmup_iters': warmup,
                                     'lr_decay_iters': steps})
    our_losses = losses_of(our_update, p, shares_of(steps, warmup, lowest / highest))
    their_losses = losses_of(their_update, p, [get_lr(i) / highest for i in range(steps)])
    pairs = zip(our.parameters(), their.parameters(), strict=True)
    return {'difference': max(abs(a - b) for a, b in zip(our_losses, their_losses, strict=True)),
            'weights_difference': max((a - b).abs().max().item() for a, b in pairs),
            'ours': our_losses, 'theirs': their_losses}


def retokenize(p):
    """Writes the text behind the bins of p['data'] to p['out'], in p['vocab_size'] tokens learned from it."""
    meta = bins.load_meta(p['data'])
    known = from_json(meta['tokenizer'])
    texts = {split: known.decode(bins.open_bin(p['data'], split, meta).tolist()) for split in meta['splits']}
    written = write_dataset(p['out'], {split: [text] for split, text in texts.items()},
                            train_bpe([texts['train']], p['vocab_size']), p['data'])
    return {'tokens': written['splits']['train']['tokens'], 'vocab_size': written['vocab_size']}


def writing(p):
    """Tokens per second written after a prompt of 8, batch 1, drawn as nanoGPT's sample.py does."""
    torch.manual_seed(p['seed'])
    n, idx = p['new_tokens'], torch.zeros(1, min(8, p['block_size']), dtype=torch.int64, device=p['device'])
    if p['side'] == 'theirs':
        module = their_model(p['nanogpt'])
        model = module.GPT(module.GPTConfig(dropout=0.0, bias=False, **{name: p[name] for name in SHAPE}))
        model.eval().to(p['device'])

        def write():
            with torch.no_grad():
                model.generate(idx, n, temperature=0.8, top_k=200)
    else:
        model = GPT(GPTConfig(arch=p['arch'], **{name: p[name] for name in SHAPE}))
        model = prepare_to_write(model, p['weights'], p['device'])
        noise = make_noise(p['seed'], [0], n)

        def write():
            for _ in generate(model, idx, n, Sampling(0.8, top_k=200), noise=noise):
                pass
    write()
    wait_for(p['device'])
    began = time.perf_counter()
    write()
    wait_for(p['device'])
    return {'tokens_per_second': n / (time.perf_counter() - began)}


def checkpoint(p):
    """A checkpoint of nanoGPT, with random weights, in p['out_dir']."""
    module = their_model(p['nanogpt'])
    shape = {name: p[name] for name in SHAPE} | {'bias': False, 'dropout': 0.0}
    os.makedirs(p['out_dir'])
    model = module.GPT(module.GPTConfig(**shape))
    torch.save({'model': model.state_dict(), 'model_args': shape, 'iter_num': 0,
                'config': {'dataset': 'shakespeare_char'}}, os.path.join(p['out_dir'], 'ckpt.pt'))
    return {}


def score(p):
    """
    The validation loss of either side's checkpoint, nats per token, at its own context.

    p: checkpoint, data, device, dtype, eval_tokens (0: all of val)
    """
    model = build(read_checkpoint(p['checkpoint']), p['checkpoint']).to(p['device'])
    meta, T = bins.load_meta(p['data']), model.config.block_size
    val = bins.open_bin(p['data'], 'val', meta)
    loss = train.evaluate(model, val, bins.val_windows(len(val), T, p['eval_tokens']), T, max(1, 32_768 // T),
                          autocast_for(p['device'], p['dtype']), p['device'])
    return {'val_loss': loss, 'parameters': model.n_params(), 'context': T}


if __name__ == '__main__':
    task = {'machine': machine, 'speed': speed, 'dtypes': dtypes, 'losses': losses, 'retokenize': retokenize,
            'score': score, 'writing': writing, 'checkpoint': checkpoint}[request['task']]
    print(json.dumps(task(request)))
