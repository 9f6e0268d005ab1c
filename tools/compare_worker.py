"""
One measurement of pocketGPT or nanoGPT in a process of its own; tools/compare_nanogpt.py starts these.

    python tools/compare_worker.py '{"task": "machine", "device": "auto"}'

The request is one JSON object: its task names one of the functions below, which say what else they read. The
answer is one JSON object on the last line. nanoGPT is imported from the folder `nanogpt`, as it is.
"""
import ast
import json
import math
import os
import sys
from contextlib import nullcontext
from dataclasses import fields
from importlib.util import module_from_spec, spec_from_file_location
from statistics import mean, median

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
request = json.loads(sys.argv[1]) if __name__ == '__main__' else {}
if __name__ == '__main__' and request.get('side') != 'nanoGPT':
    # before torch loads OpenMP: our train.py sets how long waiting threads spin, nanoGPT's does not
    os.environ.setdefault('GOMP_SPINCOUNT', '6000')

import torch

from bench import build_model
from data import bins
from data.tokenizer import from_json, train_bpe
from data.write import write_dataset
from lib.checkpoint import build, read_checkpoint
from lib.device import (
    Machine,
    autocast_for,
    choose_device,
    choose_dtype,
    peak_flops,
    prepare_model,
    set_up_device,
)
from lib.generate import Sampling, generate, make_noise
from lib.optim import all_groups, lr_multiplier, make_optimizers
from lib.quantize import prepare_for_inference
from lib.timing import peak_memory, timed
from train import evaluate, train_step


def pocketgpt_model(p):
    """
    (model, update): our GPT, and a function that makes one update of it and returns its loss, a tensor.

    p: hyperparameters, dtype (auto as in train.py), compile, learning_rate, betas, seed, device
    update(x, y, multiplier): int64 (B, T) twice, and a factor of the learning rate
    """
    torch.manual_seed(p['seed'])
    model = build_model(p).to(p['device'])
    dtype, _ = choose_dtype(p['dtype'], p['device'])
    set_up_device(p['device'])
    optimizers = make_optimizers(model, 'auto', p['learning_rate'], 0.02, 0.1, p['betas'], dtype)
    trainer = Machine(p['device'], dtype, p['compile'])
    prepare_model(model, p['batch_size'], trainer)

    def update(x, y, multiplier=1.0):
        for group in all_groups(optimizers):
            group['lr'] = group['peak_lr'] * multiplier
        return train_step(model, optimizers, [(x, y)], trainer.autocast(), grad_clip=1.0)[0]
    return model, update


def nanogpt_model(p):
    """As pocketgpt_model, with nanoGPT's model, optimizer and training step; float32 on a CPU, as there."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True # as in its train.py
    torch.manual_seed(p['seed'])
    model = build_nanogpt(p).to(p['device'])
    kind = p['device'].partition(':')[0]
    optimizer = model.configure_optimizers(0.1, p['learning_rate'], p['betas'], kind)
    autocast = nullcontext() if kind == 'cpu' else torch.autocast(kind, torch.bfloat16)
    compiled = torch.compile(model) if p['compile'] else model

    def update(x, y, multiplier=1.0):
        for group in optimizer.param_groups:
            group['lr'] = p['learning_rate'] * multiplier
        with autocast:
            loss = compiled(x, y)[1]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()
    return model, update


def nanogpt_config(folder, p):
    """(nanoGPT's model.py as a module, the hyperparameters among p that its GPTConfig has)."""
    spec = spec_from_file_location('nanogpt_model', os.path.join(folder, 'model.py')) # model is ours
    module = module_from_spec(spec)
    sys.modules[spec.name] = module # dataclasses and torch.compile look there
    spec.loader.exec_module(module)
    p = {'dropout': 0.0, 'bias': False, **p}
    return module, {f.name: p[f.name] for f in fields(module.GPTConfig) if f.name in p}


def build_nanogpt(p):
    """nanoGPT's GPT with the hyperparameters among p."""
    module, hyperparameters = nanogpt_config(p['nanogpt'], p)
    return module.GPT(module.GPTConfig(**hyperparameters))


def nanogpt_get_lr(folder, settings):
    """nanoGPT's get_lr, iteration -> learning rate, extracted from its train.py, which cannot be imported."""
    path = os.path.join(folder, 'train.py')
    with open(path, encoding='utf-8') as file:
        tree = ast.parse(file.read(), path)
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == 'get_lr']
    namespace = {'math': math, **settings}
    exec(compile(tree, path, 'exec'), namespace)
    return namespace['get_lr']


def flops_per_token(p):
    """By the same formula for both sides."""
    with torch.device('meta'): # takes no memory and no time
        return build_model(p).flops_per_token()


def losses_of(update, p, multipliers):
    """The losses of len(multipliers) updates on the windows of p['data'] that train.py would take."""
    meta = bins.load_meta(p['data'])
    tokens, losses = bins.open_bin(p['data'], 'train', meta), []
    for i, multiplier in enumerate(multipliers):
        starts = bins.update_windows(len(tokens), p['block_size'], p['batch_size'], p['seed'], i)
        x, y = bins.get_batch(tokens, starts, p['block_size'])
        losses.append(update(x.to(p['device']), y.to(p['device']), multiplier).item())
    return losses


def cosine_schedule(steps, warmup, floor):
    """The factor of the learning rate in each update: our cosine decay to floor after a warm-up."""
    return [lr_multiplier(i, i / steps, warmup, steps, 1.0, 'cosine', floor) for i in range(steps)]


# ---- tasks ----

def machine(p):
    """What the results say about the machine. p: device, as train.py takes it"""
    device, _ = choose_device(p['device'])
    return {'device': device, 'threads': torch.get_num_threads(), 'torch': torch.__version__,
            'device_name': torch.cuda.get_device_name(device) if device.startswith('cuda') else 'CPU'}


def throughput(p):
    """
    Training tokens/s and peak memory on random tokens.

    p: side, batch_size, warmup, steps, and what the model of that side reads. The first update, which
    compiles, is reported apart; then come warmup updates that do not count, then steps that do.
    """
    model, update = pocketgpt_model(p) if p['side'] == 'pocketGPT' else nanogpt_model(p)
    generator = torch.Generator().manual_seed(p['seed'])
    idx = torch.randint(p['vocab_size'], (4, p['batch_size'], p['block_size'] + 1), generator=generator)
    x, y = (t.contiguous().to(p['device']) for t in (idx[..., :-1], idx[..., 1:]))
    times = [timed(p['device'], update, x[i % 4], y[i % 4])[1] for i in range(1 + p['warmup'] + p['steps'])]
    step_s, peak_bytes = median(times[1 + p['warmup']:]), peak_memory(p['device'])
    tokens_per_second = p['batch_size'] * p['block_size'] / step_s
    float32 = p['side'] == 'nanoGPT' and p['device'] == 'cpu'
    dtype = 'float32' if float32 else choose_dtype(p['dtype'], p['device'])[0]
    peak = peak_flops(p['device'], dtype)
    return {'dtype': dtype, 'tokens_per_second': tokens_per_second, 'step_ms': 1e3 * step_s,
            'first_step_s': times[0], 'peak_bytes': peak_bytes,
            'parameters': sum(w.numel() for w in model.parameters()),
            'mfu': tokens_per_second * flops_per_token(p) / peak if peak else None}


def dtypes(p):
    """Our loss, the mean of the last 10 of p['steps'] updates, in the automatic dtype and in float32."""
    found = {}
    for dtype in ('auto', 'float32'):
        _, update = pocketgpt_model(p | {'dtype': dtype})
        found[dtype] = mean(losses_of(update, p, cosine_schedule(p['steps'], p['steps'] // 10, 0.1))[-10:])
    return {'dtype': choose_dtype('auto', p['device'])[0], 'loss': found['auto'],
            'loss_float32': found['float32']}


def losses(p):
    """The losses of p['steps'] updates of both sides, from nanoGPT's weights, each with its own schedule."""
    pocketgpt, pocketgpt_update = pocketgpt_model(p)
    nanogpt, nanogpt_update = nanogpt_model(p)
    pocketgpt.load_state_dict(nanogpt.state_dict())
    steps, warmup, highest, lowest = p['steps'], p['steps'] // 4, p['learning_rate'], p['learning_rate'] / 10
    get_lr = nanogpt_get_lr(p['nanogpt'], {'learning_rate': highest, 'min_lr': lowest, 'warmup_iters': warmup,
                                           'lr_decay_iters': steps})
    ours = losses_of(pocketgpt_update, p, cosine_schedule(steps, warmup, lowest / highest))
    other = losses_of(nanogpt_update, p, [get_lr(i) / highest for i in range(steps)])
    weights = zip(pocketgpt.parameters(), nanogpt.parameters(), strict=True)
    return {'difference': max(abs(a - b) for a, b in zip(ours, other, strict=True)),
            'weights_difference': max((a - b).abs().max().item() for a, b in weights),
            'pocketGPT': ours, 'nanoGPT': other}


def retokenize(p):
    """Write the text of the bins in p['data'] to p['out'], with a BPE of p['vocab_size'] trained on it."""
    meta = bins.load_meta(p['data'])
    tokenizer = from_json(meta['tokenizer'])
    texts = {split: tokenizer.decode(bins.open_bin(p['data'], split, meta).tolist())
             for split in meta['splits']}
    written = write_dataset(p['out'], {split: [text] for split, text in texts.items()},
                            train_bpe([texts['train']], p['vocab_size']), p['data'])
    return {'tokens': written['splits']['train']['tokens'], 'vocab_size': written['vocab_size']}


def decode(p):
    """
    Decoding tokens/s at batch size 1 after a prompt of 8 tokens, sampled as nanoGPT's sample.py does.

    p: side, new_tokens, weight_dtype (of ours), and what the model of that side reads
    """
    torch.manual_seed(p['seed'])
    n, idx = p['new_tokens'], torch.zeros(1, min(8, p['block_size']), dtype=torch.int64, device=p['device'])
    if p['side'] == 'nanoGPT':
        model = build_nanogpt(p).eval().to(p['device'])

        def run():
            with torch.no_grad():
                model.generate(idx, n, temperature=0.8, top_k=200)
    else:
        model = prepare_for_inference(build_model(p), p['weight_dtype'], p['device'])
        noise = make_noise(p['seed'], [0], n)

        def run():
            for _ in generate(model, idx, n, Sampling(0.8, top_k=200), noise=noise):
                pass
    run() # warm-up
    return {'tokens_per_second': n / timed(p['device'], run)[1]}


def checkpoint(p):
    """Write a checkpoint of nanoGPT, with random weights, to p['out_dir']."""
    os.makedirs(p['out_dir'])
    _, hyperparameters = nanogpt_config(p['nanogpt'], p)
    torch.save({'model': build_nanogpt(p).state_dict(), 'model_args': hyperparameters, 'iter_num': 0,
                'config': {'dataset': 'shakespeare_char'}}, os.path.join(p['out_dir'], 'ckpt.pt'))
    return {}


def score(p):
    """
    The validation loss of either side's checkpoint, nats per token, at its own context length.

    p: checkpoint, data, device, dtype, eval_tokens (0: all of val)
    """
    model = build(read_checkpoint(p['checkpoint']), p['checkpoint']).to(p['device'])
    meta, T = bins.load_meta(p['data']), model.config.block_size
    val = bins.open_bin(p['data'], 'val', meta)
    loss = evaluate(model, val, bins.val_windows(len(val), T, p['eval_tokens']), T, max(1, 32_768 // T),
                    autocast_for(p['device'], p['dtype']), p['device'])
    return {'val_loss': loss, 'parameters': model.n_params(), 'context': T}


if __name__ == '__main__':
    task = {'machine': machine, 'throughput': throughput, 'dtypes': dtypes, 'losses': losses,
            'retokenize': retokenize, 'score': score, 'decode': decode,
            'checkpoint': checkpoint}[request['task']]
    print(json.dumps(task(request)))
