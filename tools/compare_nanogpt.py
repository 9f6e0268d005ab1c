"""
Compares pocketGPT with nanoGPT on one machine, in interleaved runs: medians, and a JSON line per measurement.

    git clone https://github.com/karpathy/nanoGPT && python nanoGPT/data/shakespeare_char/prepare.py
    python tools/compare_nanogpt.py --nanogpt=nanoGPT --rows=time_to_loss,best_loss,startup,losses
    python tools/compare_nanogpt.py --nanogpt=nanoGPT --rows=throughput --cases=124M
    python tools/compare_nanogpt.py --nanogpt=nanoGPT --rows=time_to_loss,gpu_throughput --smoke_test

on a CPU
time_to_loss      seconds to a checkpoint: nanoGPT's README command, and our run that reaches the same loss
best_loss         the loss of our best run that takes about the time of nanoGPT's
throughput        training tokens/s in three sizes, same architecture, batch and AdamW; the loss in bfloat16
memory            peak memory of three updates of 124M parameters
startup           seconds to the first line about training
losses            the losses of 20 updates from the same weights on the same batches
final_loss        the final loss of whole runs with the same settings, 3 seeds
decode_124M       decoding tokens/s at batch size 1: 128 tokens by GPT-2 (124M)
decode_12M        the same until a context of 256 is full, 12M parameters
sample            seconds of whole runs of sample.py: 10 samples of 500 characters, the same 0.8M checkpoint

on a GPU
gpu_throughput    training tokens/s and MFU of 124M parameters
gpu_sweep         nanoGPT (124M) for --sweep_minutes at each of --learning_rates, with --nanogpt_dropout
gpu_time_to_loss  nanoGPT for --minutes at the best rate of the sweeps in --out; when we reach its loss
gpu_shakespeare   nanoGPT's GPU run on Shakespeare: seconds to a validation loss of 1.47; the best loss

Losses are nats per token over all of val in adjacent windows, computed by the same code for both sides
(float32 on a CPU, bfloat16 on a GPU). Times count from the start of the process, with an empty compiler
cache. nanoGPT is not changed; its runs go to a temporary folder. --smoke_test takes a minute, on any machine.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from configurator import configure

# what is measured
nanogpt = '' # folder of a nanoGPT checkout with its data/shakespeare_char prepared
rows = 'time_to_loss,throughput,memory,startup,losses' # what to measure, of the list above, in this order
runs = 3 # runs of each side; medians are reported
out = 'compare_nanogpt.jsonl' # results file that measurements are appended to
seed = 1337 # of our first run; later runs count up from it
smoke_test = False # tiny models, few updates, any device: shows that a row works, measures nothing

# on a CPU
race = 'config/race_shakespeare_char.py' # our run for time_to_loss
race_best = 'config/race_shakespeare_char_best.py' # our run for best_loss
cases = '0.8M,12M,124M' # sizes for throughput
compiled = True # throughput: measure both sides compiled, too
loss_steps = 200 # throughput: updates after which to compare the losses in dtype auto and float32; 0: do not

# on a GPU
batches = '64,32' # gpu_throughput: sequences of 1,024 tokens per forward pass
dataset = '' # gpu_sweep, gpu_time_to_loss: folder of GPT-2 tokens as train.bin, val.bin and our meta.json
minutes = 3.5 # gpu_time_to_loss: from the start of the process to the last update
sweep_minutes = 2.0 # gpu_sweep: of updates alone
learning_rates = '6e-4,1.2e-3,2.4e-3' # gpu_sweep: nanoGPT's learning rates
nanogpt_dropout = 0.0 # gpu_sweep: nanoGPT's dropout; try 0 and 0.1 in two commands
extra_flags = '' # gpu_time_to_loss, gpu_shakespeare: more flags for our train.py; they overrule others

# machine
device = 'auto' # auto, cpu, cuda, cuda:1
threads = 2 # CPU threads, the same for both sides

config = configure(globals())

# after the settings, so that --help and errors do not wait for torch
import re
import tempfile

from tools.compare_gpu import GPU_ROWS
from tools.compare_harness import (
    ROOT,
    SIZES,
    Harness,
    fastest,
    find_numbers,
    load_results,
    ratio,
    record_result,
    remove_run,
    run_and_time,
    run_interleaved,
    run_throughput,
    run_worker,
    score,
    summarize,
    train_nanogpt,
    train_pocketgpt,
    training_request,
)

# the command in nanoGPT's README
NANOGPT_CPU_RUN = ('config/train_shakespeare_char.py --device=cpu --compile=False --eval_iters=20 '
                   '--log_interval=1 --block_size=64 --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 '
                   '--max_iters=2000 --lr_decay_iters=2000 --dropout=0.0').split()
# the settings of that command, its config and its train.py, for our train.py
SAME_CPU_RUN = ('config/train_shakespeare_char.py --compile=False --dtype=float32 --arch=gpt2 --bias=False '
                '--activation=gelu --dropout=0 --n_layer=4 --n_head=4 --n_embd=128 --block_size=64 '
                '--batch_size=12 --gradient_accumulation_steps=1 --max_iters=2000 --optimizer=adamw '
                '--learning_rate=1e-3 --weight_decay=0.1 --beta1=0.9 --beta2=0.99 --grad_clip=1 '
                '--schedule=cosine --min_lr=1e-4 --warmup_iters=100 --lr_decay_iters=2000 '
                '--decay_fraction=1 --eval_interval=0 --sample_interval=0').split()
CPU_SHAPE = '--block_size=64 --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 --dropout=0.0'.split()

SAVED = r'^iter +(\d+)\S* \| saved .*ckpt\.pt' # train.py's line when a checkpoint is on the disk


# ---- whole runs on a CPU ----

def pocketgpt_run(harness, args, run):
    """A run of ours on nanoGPT's bins: seconds to its last checkpoint and to its end, loss."""
    name = f'pocketgpt-{run}'
    lines, seconds = train_pocketgpt(harness, name, [*args, f'--dataset={harness.shakespeare}',
                                                     f"--seed={harness.settings['seed'] + run - 1}"])
    checkpoint_s, _ = find_numbers(lines, SAVED)[-1]
    figures = {'checkpoint_s': checkpoint_s, 'seconds': seconds, **score(harness, name, harness.shakespeare)}
    remove_run(harness, name)
    return figures


def nanogpt_run(harness, args, run, script='train.py'):
    """nanoGPT's command for a CPU; its last checkpoint is written one update before it ends."""
    name = f'nanogpt-{run}'
    _, seconds = train_nanogpt(harness, name, [*NANOGPT_CPU_RUN, *args], script=script)
    figures = {'checkpoint_s': seconds, 'seconds': seconds, **score(harness, name, harness.shakespeare)}
    remove_run(harness, name)
    return figures


def row_time_to_loss(harness):
    found = run_interleaved(harness, 'time_to_loss', {
        'pocketGPT': lambda run: pocketgpt_run(harness, [harness.settings['race']], run),
        'nanoGPT': lambda run: nanogpt_run(harness, [], run)})
    print(f"time_to_loss: pocketGPT takes {ratio(found, 'checkpoint_s'):.3f} of nanoGPT's time\n")


def row_best_loss(harness):
    args = [harness.settings['race_best']]
    found = run_interleaved(harness, 'best_loss', {
        'pocketGPT': lambda run: pocketgpt_run(harness, args, run)})
    other = summarize(load_results(harness, 'time_to_loss', 'nanoGPT'))
    if other:
        loss = other['val_loss']['median']
        print(f"best_loss: {loss - found['pocketGPT']['val_loss']['median']:.4f} below nanoGPT's {loss:.4f}, "
              f"which took {other['seconds']['median']:.2f} s in time_to_loss\n")
    else:
        print(f"best_loss: {harness.settings['out']} has no time_to_loss of nanoGPT to compare with; use "
              '--rows=time_to_loss,best_loss\n')


def row_final_loss(harness):
    """The last loss with the same settings; nanoGPT's seed is a number in train.py, so copies are run."""
    with open(os.path.join(harness.nanogpt, 'train.py'), encoding='utf-8') as file:
        source = file.read()
    if source.count('manual_seed(1337') != 1:
        raise SystemExit(f'{harness.nanogpt}/train.py: expected manual_seed(1337 once, to change the seed')

    def nanogpt(run):
        script, seed = os.path.join(harness.folder, f'train_{run}.py'), harness.settings['seed'] + run - 1
        with open(script, 'w', encoding='utf-8') as file:
            file.write(source.replace('manual_seed(1337', f'manual_seed({seed}'))
        # without this flag it keeps the best by a rough estimate, not the last
        return nanogpt_run(harness, ['--always_save_checkpoint=True'], run, script)

    found = run_interleaved(harness, 'final_loss', {
        'pocketGPT': lambda run: pocketgpt_run(harness, SAME_CPU_RUN, run), 'nanoGPT': nanogpt})
    ours, other = (found[side]['val_loss']['mean'] for side in ('pocketGPT', 'nanoGPT'))
    print(f"final_loss: mean of {harness.settings['runs']} seeds {ours:.4f} for pocketGPT, {other:.4f} for "
          f'nanoGPT, difference {ours - other:+.4f}\n')


def row_startup(harness):
    """The same sizes for both sides; the first run of each only fills the file cache."""
    def pocketgpt(run):
        lines, _ = train_pocketgpt(harness, 'pocketgpt', [
            'config/train_shakespeare_char.py', *CPU_SHAPE, f'--dataset={harness.shakespeare}'],
            r'^iter +1(/\d+)? \|')
        remove_run(harness, 'pocketgpt')
        return {'first_line_s': lines[-1][0]}

    def nanogpt(run):
        lines, _ = train_nanogpt(harness, 'nanogpt', [
            'config/train_shakespeare_char.py', *CPU_SHAPE, '--compile=False', '--eval_iters=1',
            '--log_interval=1'], r'^iter 0: loss')
        remove_run(harness, 'nanogpt')
        return {'first_line_s': lines[-1][0]}

    pocketgpt(0)
    nanogpt(0)
    found = run_interleaved(harness, 'startup', {'pocketGPT': pocketgpt, 'nanoGPT': nanogpt})
    print(f"startup: pocketGPT takes {ratio(found, 'first_line_s'):.2f} of nanoGPT's time\n")


# ---- updates and decoding, each candidate in a process of its own ----

def row_throughput(harness):
    for case in harness.settings['cases'].split(','):
        modes = {'eager': False} | ({'compiled': True} if harness.settings['compiled'] else {})
        candidates = {f'{side} {mode}': {'compile': on} for mode, on in modes.items()
                      for side in ('pocketGPT', 'nanoGPT')}
        found = run_throughput(harness, 'throughput', case, candidates, case)
        best = fastest(found, 'nanoGPT') # our train.py is eager on a CPU
        speedup = ratio(found, 'tokens_per_second', 'pocketGPT eager', best)
        print(f'throughput {case}: pocketGPT eager is {speedup:.2f} times as fast as {best}\n')
        if harness.settings['loss_steps']:
            compare_dtypes(harness, case)


def compare_dtypes(harness, case):
    """Our loss after loss_steps updates on Shakespeare, in the automatic dtype and in float32."""
    data = harness.shakespeare
    if SIZES[case]['vocab_size'] > 65: # 4,096 tokens; 124M has the same ids in a larger vocabulary
        data = os.path.join(harness.folder, 'bpe')
        if not os.path.exists(data):
            run_worker(harness, {'task': 'retokenize', 'data': harness.shakespeare, 'out': data,
                                 'vocab_size': 4096})
    steps = 20 if harness.smoke_test else harness.settings['loss_steps']
    request = training_request(harness, case, {})
    figures = run_worker(harness, {**request, 'task': 'dtypes', 'data': data, 'steps': steps})
    record_result(harness, 'throughput_loss', 'pocketGPT', 1, figures, case)
    print(f"throughput {case}: loss after {steps} updates {figures['loss']:.4f} in {figures['dtype']}, "
          f"{figures['loss_float32']:.4f} in float32: "
          f"{100 * (figures['loss'] / figures['loss_float32'] - 1):+.2f}%\n")


def row_memory(harness):
    for case, changes in (('2x256', {}), ('8x1024', {'batch_size': 8, 'block_size': 1024})):
        three_updates = {**changes, 'warmup': 0, 'steps': 2}
        found = run_throughput(harness, 'memory', '124M',
                               {'pocketGPT': three_updates, 'nanoGPT': three_updates}, case)
        print(f"memory {case}: pocketGPT takes {ratio(found, 'peak_bytes'):.2f} of nanoGPT's memory\n")


def row_losses(harness):
    request = training_request(harness, '0.8M', {'dtype': 'float32', 'betas': [0.9, 0.99]})
    request |= {'task': 'losses', 'steps': 20, 'data': harness.shakespeare}
    run_interleaved(harness, 'losses', {'both': lambda run: run_worker(harness, request)}, runs=1)
    print()


def run_decoding(harness, row, size, block_size, count):
    """Decoding tokens/s of nanoGPT's generate, and of ours with each weight dtype."""
    request = {**training_request(harness, size, {'block_size': block_size}), 'task': 'decode',
               'new_tokens': 20 if harness.smoke_test else count}
    names = ['nanoGPT', 'pocketGPT float32', 'pocketGPT bfloat16', 'pocketGPT int8']
    found = run_interleaved(harness, row, {name: lambda run, name=name: run_worker(harness, {
        **request, 'side': name.split()[0], 'weight_dtype': name.split()[-1]}) for name in names})
    for name in names[1:]:
        print(f"{row}: {name} is {ratio(found, 'tokens_per_second', name):.1f} times as fast as nanoGPT")
    print()


def row_decode_124m(harness):
    run_decoding(harness, 'decode_124M', '124M', 1024, 128)


def row_decode_12m(harness):
    run_decoding(harness, 'decode_12M', '12M', 256, 248)


def row_sample(harness):
    out_dir = os.path.join(harness.folder, 'sample')
    run_worker(harness, {**training_request(harness, '0.8M', {}), 'task': 'checkpoint', 'out_dir': out_dir})
    args = ['--num_samples=10', f'--max_new_tokens={5 if harness.smoke_test else 500}',
            f"--device={harness.machine['device']}"]
    path, tokenizer = (os.path.join(*parts) for parts in ((out_dir, 'ckpt.pt'), (
        harness.nanogpt, 'data', 'shakespeare_char', 'meta.pkl')))

    def pocketgpt(run):
        command = [os.path.join(ROOT, 'sample.py'), *args, f'--checkpoint={path}', f'--tokenizer={tokenizer}']
        return {'seconds': run_and_time(command, harness.folder, harness.env)[1]}

    def nanogpt(run):
        command = ['sample.py', *args, f'--out_dir={out_dir}']
        return {'seconds': run_and_time(command, harness.nanogpt, harness.env)[1]}

    pocketgpt(0)
    nanogpt(0)
    found = run_interleaved(harness, 'sample', {'pocketGPT': pocketgpt, 'nanoGPT': nanogpt})
    print(f"sample: pocketGPT takes {ratio(found, 'seconds'):.2f} of nanoGPT's time\n")


CPU_ROWS = {'time_to_loss': row_time_to_loss, 'best_loss': row_best_loss, 'throughput': row_throughput,
            'memory': row_memory, 'startup': row_startup, 'losses': row_losses, 'final_loss': row_final_loss,
            'decode_124M': row_decode_124m, 'decode_12M': row_decode_12m, 'sample': row_sample}
def check(s):
    """SystemExit for settings s that cannot be measured, before anything runs."""
    for name, words, known in (('rows', s['rows'].split(','), [*CPU_ROWS, *GPU_ROWS]),
                               ('cases', s['cases'].split(','), SIZES)):
        unknown = [word for word in words if word not in known]
        if unknown:
            raise SystemExit(f'{name}: expected some of {",".join(known)}, got {",".join(unknown)!r}')
    wrong = [f'{name}: expected at least 1, got {s[name]}' for name in ('runs', 'threads') if s[name] < 1]
    wrong += [f'{name}: expected more than 0, got {s[name]}' for name in ('minutes', 'sweep_minutes')
              if s[name] <= 0]
    for name, pattern, example in (('batches', r'0*[1-9]\d*', '64,32'),
                                   ('learning_rates', r'\d+(\.\d+)?(e-\d+)?', '6e-4,1e-3')):
        if not all(re.fullmatch(pattern, word) for word in s[name].split(',')):
            wrong.append(f'{name}: expected numbers like {example}, got {s[name]!r}')
    if wrong:
        raise SystemExit('compare_nanogpt.py: ' + '; '.join(wrong))
    for file, how in (('train.py', 'git clone https://github.com/karpathy/nanoGPT'),
                      ('data/shakespeare_char/train.bin', 'run data/shakespeare_char/prepare.py there')):
        if not s['nanogpt'] or not os.path.isfile(os.path.join(s['nanogpt'], file)):
            raise SystemExit(f"nanogpt: expected a checkout of nanoGPT with {file}, got {s['nanogpt']!r}; "
                             f'{how}, then use --nanogpt=FOLDER')
    needs_dataset = {'gpu_sweep', 'gpu_time_to_loss'}.intersection(s['rows'].split(','))
    if needs_dataset and not os.path.isfile(os.path.join(s['dataset'], 'train.bin')):
        raise SystemExit('dataset: expected a folder with GPT-2 tokens in train.bin, '
                         f"got {s['dataset']!r}; use --dataset=FOLDER")


def main():
    check(config.settings)
    env = os.environ | {'PYTHONUNBUFFERED': '1'} # lines are timed when they come
    env.pop('PYTHONDONTWRITEBYTECODE', None) # a user's second start finds the bytecode of the first
    with tempfile.TemporaryDirectory() as folder:
        env['TORCHINDUCTOR_CACHE_DIR'] = os.path.join(folder, 'cache')
        harness = Harness(config.settings, folder, env, {'device': device})
        machine = run_worker(harness, {'task': 'machine'})
        if machine['device'] == 'cpu':
            machine['threads'], env['OMP_NUM_THREADS'] = threads, str(threads)
        harness = Harness(config.settings, folder, env, machine)
        print(f"{machine['device']} ({machine['device_name']}, {machine['threads']} threads) | torch "
              f"{machine['torch']}" + ' | smoke test: the figures mean nothing' * smoke_test, flush=True)
        for row in rows.split(','):
            wanted = 'cuda' if row in GPU_ROWS else 'cpu'
            if not machine['device'].startswith(wanted) and not smoke_test:
                raise SystemExit(f"{row}: expected --device={wanted}, got {machine['device']}; use "
                                 f'--device={wanted}, or --smoke_test to see whether it works')
            {**CPU_ROWS, **GPU_ROWS}[row](harness)


if __name__ == '__main__':
    main()
