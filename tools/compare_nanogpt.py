"""
pocketGPT and nanoGPT beside each other on one machine, in turns: medians, and one JSON line a measurement.

    git clone https://github.com/karpathy/nanoGPT && python nanoGPT/data/shakespeare_char/prepare.py
    python tools/compare_nanogpt.py --nanogpt=nanoGPT --rows=P1,P2,P8,losses
    python tools/compare_nanogpt.py --nanogpt=nanoGPT --rows=P3 --cases=124M
    python tools/compare_nanogpt.py --nanogpt=nanoGPT --rows=P1,P5 --rehearse    # a minute, on any machine

P1      seconds to a checkpoint: nanoGPT's README command for a CPU, and ours for the same loss
P2      the loss of ours in about the seconds of nanoGPT's P1, with a model of our choice
P3      tokens per second on a CPU in three sizes, same architecture, batch and AdamW; what bfloat16 costs
P4      peak memory of three updates of 124M parameters on a CPU
P8      seconds to the first line about training on a CPU
losses  the losses of 20 updates from the same weights and batches
end     the final loss of whole runs with the same settings, 3 seeds
G1, G2  tokens per second written, batch 1: 128 by GPT-2 (124M), and until a context of 256 is full (12M)
G4      seconds of sample.py from start to end: 10 texts of 500 characters by the same 0.8M checkpoint
P5      tokens per second and MFU of 124M parameters on a GPU
sweep   nanoGPT of 124M parameters on a GPU for --sweep_minutes at each of --rates, with --their_dropout
P6      nanoGPT at the best of all sweeps in --out for --minutes, and ours: when has it the same loss?
P7      nanoGPT's GPU run on Shakespeare: seconds to a validation loss of 1.47, and the best one

Losses are nats per token over the whole of val, side by side, by one scorer for both sides (float32 on a CPU,
bfloat16 on a GPU). Seconds count from the start of the process, with the compiler's cache empty. nanoGPT runs
as it is, in its folder; what it trains goes to a temporary one.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from configurator import configure

# what is measured
nanogpt = '' # folder of a checkout of nanoGPT, with its data/shakespeare_char prepared
rows = 'P1,P3,P4,P8,losses' # of the list above, in this order
runs = 3 # times each side is run; medians are reported
out = 'compare_nanogpt.jsonl' # measurements are appended to it
seed = 1337 # of our first run; the others count on from it
rehearse = False # tiny models, few updates, any device: shows that a row works, measures nothing

# P1 to P4
race = 'config/race_shakespeare_char.py' # our run of P1
race_best = 'config/race_shakespeare_char_best.py' # our run of P2
cases = '0.8M,12M,124M' # sizes of P3
compiled = True # in P3 both sides compiled, too
loss_steps = 200 # updates after which P3 compares the loss in the automatic dtype to float32's; 0: skip it

# on a GPU
batches = '64,32' # sequences of 1,024 tokens in one forward pass of P5
dataset = '' # sweep, P6: folder with a train.bin and val.bin of GPT-2 tokens and our meta.json
minutes = 3.5 # P6: from the start of the process to the last update
sweep_minutes = 2.0 # sweep: of updates alone
rates = '6e-4,1.2e-3,2.4e-3' # sweep: nanoGPT's learning rates
their_dropout = 0.0 # sweep: nanoGPT's dropout, 0 and 0.1 in two commands
more = '' # P6, P7: further words for our train.py; the last value of a setting wins

# machine
device = 'auto' # auto, cpu, cuda, cuda:1
threads = 2 # of a CPU, pinned for both sides

config = configure(globals())

import re
import tempfile

from tools.compare_harness import (
    ROOT,
    Place,
    ask,
    forget,
    found_in,
    in_turns,
    note,
    noted,
    ratio,
    score,
    summary,
    train_ours,
    train_theirs,
    watch,
)

SIZES = {'0.8M': dict(n_layer=4, n_head=4, n_embd=128, vocab_size=65, batch_size=12, block_size=64,
                      warmup=20, steps=200, learning_rate=1e-3),
         '12M': dict(n_layer=6, n_head=6, n_embd=384, vocab_size=4096, batch_size=16, block_size=256,
                     warmup=2, steps=15, learning_rate=1e-3),
         '124M': dict(n_layer=12, n_head=12, n_embd=768, vocab_size=50304, batch_size=2, block_size=256,
                      warmup=2, steps=8, learning_rate=6e-4)}
TINY = dict(n_layer=1, n_head=2, n_embd=32, batch_size=2, block_size=32, warmup=1, steps=2)
# of nanoGPT's README, as it stands there
THEIR_CPU_RUN = ('config/train_shakespeare_char.py --device=cpu --compile=False --eval_iters=20 '
                 '--log_interval=1 --block_size=64 --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 '
                 '--max_iters=2000 --lr_decay_iters=2000 --dropout=0.0').split()
# what that, its config and its train.py set, for ours
SAME_CPU_RUN = ('config/train_shakespeare_char.py --compile=False --dtype=float32 --arch=gpt2 --bias=False '
                '--activation=gelu --dropout=0 --n_layer=4 --n_head=4 --n_embd=128 --block_size=64 '
                '--batch_size=12 --gradient_accumulation_steps=1 --max_iters=2000 --optimizer=adamw '
                '--learning_rate=1e-3 --weight_decay=0.1 --beta1=0.9 --beta2=0.99 --grad_clip=1 '
                '--schedule=cosine --min_lr=1e-4 --warmup_iters=100 --lr_decay_iters=2000 '
                '--decay_fraction=1 --eval_interval=0 --sample_interval=0').split()
CPU_SHAPE = '--block_size=64 --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 --dropout=0.0'.split()
GPT2_SHAPE = '--n_layer=12 --n_head=12 --n_embd=768 --block_size=1024 --batch_size=32'.split()
EVAL_TOKENS = 1 << 19 # of val, for losses on the way through P6; those at the end are of all of it


# ---- whole runs on a CPU ----

def our_race(place, words, run):
    """A run of ours on nanoGPT's bins: seconds to its last checkpoint and to its end, loss."""
    name = f'ours-{run}'
    lines, seconds = train_ours(place, name, [*words, f'--dataset={place.shakespeare}',
                                              f"--seed={place.settings['seed'] + run - 1}"])
    at, _ = found_in(lines, r' val (\d+\.\d+).* saved ')[-1]
    figures = {'checkpoint_s': at, 'seconds': seconds, **score(place, name, place.shakespeare)}
    forget(place, name)
    return figures


def their_race(place, words, run, script='train.py'):
    """nanoGPT's command for a CPU; its last checkpoint is written one update before it ends."""
    name = f'theirs-{run}'
    _, seconds = train_theirs(place, name, [*THEIR_CPU_RUN, *words], script=script)
    figures = {'checkpoint_s': seconds, 'seconds': seconds, **score(place, name, place.shakespeare)}
    forget(place, name)
    return figures


def row_p1(place):
    found = in_turns(place, 'P1', {'ours': lambda run: our_race(place, [place.settings['race']], run),
                                   'theirs': lambda run: their_race(place, [], run)})
    print(f"P1: ours takes {ratio(found, 'checkpoint_s'):.3f} of their time\n")


def row_p2(place):
    words = [place.settings['race_best']]
    found = in_turns(place, 'P2', {'ours': lambda run: our_race(place, words, run)})
    theirs = summary(noted(place, 'P1', 'theirs'))
    if theirs:
        loss = theirs['val_loss']['median']
        print(f"P2: {loss - found['ours']['val_loss']['median']:.4f} below their {loss:.4f}, for which they "
              f"took {theirs['seconds']['median']:.2f} s in P1\n")
    else:
        print(f"P2: {place.settings['out']} has no P1 of theirs to compare with; use --rows=P1,P2\n")


def row_end(place):
    """The last loss with the same settings; nanoGPT's seed is a number in train.py, so copies of that run."""
    with open(os.path.join(place.nanogpt, 'train.py'), encoding='utf-8') as f:
        source = f.read()
    if source.count('manual_seed(1337') != 1:
        raise SystemExit(f'{place.nanogpt}/train.py: expected manual_seed(1337 once, to change it')

    def theirs(run):
        script = os.path.join(place.folder, f'train_{run}.py')
        with open(script, 'w', encoding='utf-8') as f:
            f.write(source.replace('manual_seed(1337', f"manual_seed({place.settings['seed'] + run - 1}"))
        # without this it keeps the best by a rough estimate, not the last
        return their_race(place, ['--always_save_checkpoint=True'], run, script)

    found = in_turns(place, 'end', {'ours': lambda run: our_race(place, SAME_CPU_RUN, run), 'theirs': theirs})
    means = [found[side]['val_loss']['mean'] for side in ('ours', 'theirs')]
    print(f"end: mean loss of {place.settings['runs']} seeds {means[0]:.4f} ours, {means[1]:.4f} theirs, "
          f'difference {means[0] - means[1]:+.4f}\n')


def row_p8(place):
    """The same sizes for both; a first run of each, which fills the file cache, does not count."""
    def ours(run):
        lines, _ = train_ours(place, 'ours', ['config/train_shakespeare_char.py', *CPU_SHAPE,
                                              f'--dataset={place.shakespeare}'], r'^iter +1(/\d+)? \|')
        forget(place, 'ours')
        return {'first_line_s': lines[-1][0]}

    def theirs(run):
        lines, _ = train_theirs(place, 'theirs', ['config/train_shakespeare_char.py', *CPU_SHAPE,
                                                  '--compile=False', '--eval_iters=1', '--log_interval=1'],
                                r'^iter 0: loss')
        forget(place, 'theirs')
        return {'first_line_s': lines[-1][0]}

    ours(0)
    theirs(0)
    found = in_turns(place, 'P8', {'ours': ours, 'theirs': theirs})
    print(f"P8: ours takes {ratio(found, 'first_line_s'):.2f} of their time\n")


# ---- updates, each contestant in a process of its own ----

def updates(place, size, changes):
    """A request for compare_worker.py: a model of a size and how it is trained, with changes."""
    return {'arch': 'gpt2', 'dtype': 'auto', 'compile': False, 'betas': [0.9, 0.95], **SIZES[size], **changes,
            **(TINY if place.rehearse else {})}


def speeds(place, row, size, contestants, case=''):
    """in_turns for the task speed. contestants: {name that begins with the side: changes to the size}"""
    def measure(name):
        request = updates(place, size, contestants[name])
        return ask(place, {**request, 'task': 'speed', 'side': name.split()[0]})
    return in_turns(place, row, {name: lambda run, name=name: measure(name) for name in contestants}, case)


def fastest(found, start):
    names = [name for name in found if name.startswith(start)]
    return max(names, key=lambda name: found[name]['tokens_per_second']['median'])


def row_p3(place):
    for case in place.settings['cases'].split(','):
        modes = {'eager': False} | ({'compiled': True} if place.settings['compiled'] else {})
        found = speeds(place, 'P3', case, {f'{side} {mode}': {'compile': on} for mode, on in modes.items()
                                           for side in ('ours', 'theirs')}, case)
        best = fastest(found, 'theirs') # of ours, eager is what train.py does on a CPU
        share = ratio(found, 'tokens_per_second', 'ours eager', best)
        print(f'P3 {case}: ours eager is {share:.2f} times as fast as {best}\n')
        if place.settings['loss_steps']:
            compare_dtypes(place, case)


def compare_dtypes(place, case):
    """The loss after loss_steps updates of ours, in the dtype it chooses and in float32, on Shakespeare."""
    data = place.shakespeare
    if SIZES[case]['vocab_size'] > 65: # 4,096 tokens; for 124M the same ids, in a larger vocabulary
        data = os.path.join(place.folder, 'bpe')
        if not os.path.exists(data):
            ask(place, {'task': 'retokenize', 'data': place.shakespeare, 'out': data, 'vocab_size': 4096})
    steps = 20 if place.rehearse else place.settings['loss_steps']
    figures = ask(place, {**updates(place, case, {'steps': steps}), 'task': 'dtypes', 'data': data,
                          'steps': steps})
    note(place, 'P3 loss', 'ours', 1, figures, case)
    print(f"P3 {case}: loss after {steps} updates {figures['loss']:.4f} in {figures['dtype']}, "
          f"{figures['loss_float32']:.4f} in float32: "
          f"{100 * (figures['loss'] / figures['loss_float32'] - 1):+.2f}%\n")


def row_p4(place):
    for case, changes in (('2x256', {}), ('8x1024', {'batch_size': 8, 'block_size': 1024})):
        three_updates = {**changes, 'warmup': 0, 'steps': 2}
        found = speeds(place, 'P4', '124M', {'ours': three_updates, 'theirs': three_updates}, case)
        print(f"P4 {case}: ours takes {ratio(found, 'peak_bytes'):.2f} of their memory\n")


def row_losses(place):
    request = updates(place, '0.8M', {'dtype': 'float32', 'betas': [0.9, 0.99]})
    request |= {'task': 'losses', 'steps': 20, 'data': place.shakespeare}
    in_turns(place, 'losses', {'both': lambda run: ask(place, request)}, runs=1)
    print()


def row_writing(place, row, size, count):
    """Tokens per second of generate, in turns: theirs, and ours with each kind of weights."""
    request = {**updates(place, size, {}), 'task': 'writing', 'new_tokens': 20 if place.rehearse else count}
    if not place.rehearse:
        request['block_size'] = 1024 if size == '124M' else 256
    names = ['theirs', 'ours float32', 'ours bfloat16', 'ours int8']
    found = in_turns(place, row, {name: lambda run, name=name: ask(place, {
        **request, 'side': name.split()[0], 'weights': name.split()[-1]}) for name in names})
    for name in names[1:]:
        print(f"{row}: {name} is {ratio(found, 'tokens_per_second', name):.1f} times as fast as theirs")
    print()


def row_g1(place):
    row_writing(place, 'G1', '124M', 128)


def row_g2(place):
    row_writing(place, 'G2', '12M', 248)


def row_g4(place):
    out_dir = os.path.join(place.folder, 'written')
    ask(place, {**updates(place, '0.8M', {}), 'task': 'checkpoint', 'out_dir': out_dir})
    words = ['--num_samples=10', f'--max_new_tokens={5 if place.rehearse else 500}',
             f"--device={place.card['device']}"]
    path, letters = (os.path.join(*parts) for parts in ((out_dir, 'ckpt.pt'), (
        place.nanogpt, 'data', 'shakespeare_char', 'meta.pkl')))

    def ours(run):
        return {'seconds': watch([os.path.join(ROOT, 'sample.py'), *words, f'--checkpoint={path}',
                                  f'--tokenizer={letters}'], place.folder, place.env)[1]}

    def theirs(run):
        return {'seconds': watch(['sample.py', *words, f'--out_dir={out_dir}'], place.nanogpt, place.env)[1]}

    ours(0)
    theirs(0)
    found = in_turns(place, 'G4', {'ours': ours, 'theirs': theirs})
    print(f"G4: ours takes {ratio(found, 'seconds'):.2f} of their time\n")


def row_p5(place):
    sizes = [int(n) for n in place.settings['batches'].split(',')]
    common = {'block_size': 1024, 'compile': not place.rehearse, 'warmup': 5, 'steps': 30}
    contestants = {f'{side} {arch} x{n}': {**common, 'batch_size': n, 'arch': arch} for n in sizes
                   for side, arch in (('ours', 'gpt2'), ('ours', 'modern'), ('theirs', 'gpt2'))}
    contestants['theirs gpt2 x12'] = {**common, 'batch_size': 12} # as it comes
    found = speeds(place, 'P5', '124M', contestants)
    best = fastest(found, 'theirs')
    for of in (fastest(found, 'ours gpt2'), fastest(found, 'ours modern')):
        print(f"P5: {of} is {ratio(found, 'tokens_per_second', of, best):.2f} times as fast as {best}")
    print()


# ---- whole runs on a GPU ----

def their_gpt2(place, n, rate, dropout):
    """Words for nanoGPT's train.py: n updates of 32 x 1,024 tokens, and a schedule that ends with them."""
    return [*GPT2_SHAPE, f'--dataset={place.dataset}', '--gradient_accumulation_steps=1', f'--max_iters={n}',
            f'--lr_decay_iters={n}', f'--warmup_iters={max(1, n // 25)}', f'--learning_rate={rate}',
            '--min_lr=0.0', f'--dropout={dropout}', f'--eval_interval={n}', '--eval_iters=20',
            '--log_interval=10', '--always_save_checkpoint=True']


def pace(place):
    """(seconds until nanoGPT's updates begin, compiling included, seconds of an update)."""
    last = 20 if place.rehearse else 60
    words = their_gpt2(place, 1000, 1e-3, place.settings['their_dropout'])
    lines, _ = train_theirs(place, 'pace', words, f'^iter {last}:', cache='sweep-cache')
    forget(place, 'pace')
    times = {number: seconds for seconds, number in found_in(lines, r'^iter (\d+):')}
    step_s = (times[last] - times[10]) / (last - 10)
    return times[10] - 10 * step_s, step_s


def row_sweep(place):
    """nanoGPT for sweep_minutes of updates at each learning rate; P6 takes the best."""
    dropout, (startup_s, step_s) = place.settings['their_dropout'], pace(place)
    n = int(60 * place.settings['sweep_minutes'] / step_s)

    def theirs(rate):
        train_theirs(place, 'sweep', their_gpt2(place, n, rate, dropout), cache='sweep-cache')
        figures = {'learning_rate': rate, 'dropout': dropout, 'startup_s': startup_s, 'step_s': step_s,
                   'updates': n, **score(place, 'sweep', place.dataset)}
        forget(place, 'sweep')
        return figures
    tried = [float(rate) for rate in place.settings['rates'].split(',')]
    contestants = {f'theirs {rate}': lambda run, rate=rate: theirs(rate) for rate in tried}
    in_turns(place, 'sweep', contestants, runs=1)
    print()


def our_gpt2(place, target, minutes, eval_interval):
    """Ours for so many minutes; target_s is when it first has their loss on the same part of val."""
    lines, seconds = train_ours(place, 'ours', [
        *GPT2_SHAPE, f'--dataset={place.dataset}', '--vocab_size=50304', f'--max_minutes={minutes}',
        f'--eval_interval={eval_interval}', f'--eval_tokens={EVAL_TOKENS}', *place.settings['more'].split()])
    figures = {'target_s': first_below(lines, target), 'seconds': seconds,
               **score(place, 'ours', place.dataset, 'best.pt')}
    forget(place, 'ours')
    return figures


def first_below(lines, target):
    """Seconds until train.py, ours or theirs, printed a validation loss of target or less, or None."""
    losses = found_in(lines, r'\bval (?:loss )?(\d+\.\d+)')
    return next((seconds for seconds, loss in losses if loss <= target), None)


def row_p6(place):
    """Theirs at its best settings, then ours: as long, and a third as long with an evaluation at its end."""
    tried, minutes = noted(place, 'sweep', 'theirs'), place.settings['minutes']
    if not tried:
        raise SystemExit(f"P6: expected a sweep of nanoGPT on this device in {place.settings['out']}, found "
                         'none; run --rows=sweep first')
    best = min(tried, key=lambda figures: figures['val_loss'])
    n = int((60 * minutes - best['startup_s']) / best['step_s'])
    _, seconds = train_theirs(place, 'theirs', their_gpt2(place, n, best['learning_rate'], best['dropout']))
    target = score(place, 'theirs', place.dataset, eval_tokens=EVAL_TOKENS)['val_loss']
    theirs = {'target_s': seconds, 'seconds': seconds, 'target': target, 'updates': n,
              'learning_rate': best['learning_rate'], 'dropout': best['dropout'],
              **score(place, 'theirs', place.dataset)}
    forget(place, 'theirs')
    in_turns(place, 'P6', {'theirs': lambda run: theirs,
                           'ours': lambda run: our_gpt2(place, target, minutes, 250),
                           'ours, a third': lambda run: our_gpt2(place, target, minutes / 3, 0)}, runs=1)
    print(f'P6: the target is {target:.4f}, their last loss on {EVAL_TOKENS:,} tokens of val\n')


def row_p7(place):
    """Both as their configs have it. On the way nanoGPT estimates its loss, ours takes all of val."""
    target = 9.9 if place.rehearse else 1.47
    words = ['config/train_shakespeare_char.py']

    def finish(name, file, lines, seconds):
        figures = {'target_s': first_below(lines, target), 'seconds': seconds,
                   **score(place, name, place.shakespeare, file)}
        forget(place, name)
        return figures

    def ours(run):
        seeded = [*words, f'--dataset={place.shakespeare}', f"--seed={place.settings['seed'] + run - 1}",
                  *place.settings['more'].split()]
        return finish('ours', 'best.pt', *train_ours(place, 'ours', seeded))

    def theirs(run):
        return finish('theirs', 'ckpt.pt', *train_theirs(place, 'theirs', words))

    in_turns(place, 'P7', {'ours': ours, 'theirs': theirs})
    print()


CPU_ROWS = {'P1': row_p1, 'P2': row_p2, 'P3': row_p3, 'P4': row_p4, 'P8': row_p8, 'losses': row_losses,
            'end': row_end, 'G1': row_g1, 'G2': row_g2, 'G4': row_g4}
GPU_ROWS = {'P5': row_p5, 'sweep': row_sweep, 'P6': row_p6, 'P7': row_p7}


def check(s):
    """SystemExit for settings s that cannot be measured, before anything runs."""
    for name, known in (('rows', [*CPU_ROWS, *GPU_ROWS]), ('cases', SIZES)):
        unknown = [word for word in s[name].split(',') if word not in known]
        if unknown:
            raise SystemExit(f'{name}: expected some of {",".join(known)}, got {",".join(unknown)!r}')
    wrong = [f'{name} must be at least 1, got {s[name]}' for name in ('runs', 'threads') if s[name] < 1]
    wrong += [f'{name} must be above 0, got {s[name]}' for name in ('minutes', 'sweep_minutes')
              if s[name] <= 0]
    for name, pattern, like in (('batches', r'0*[1-9]\d*', '64,32'),
                                ('rates', r'\d+(\.\d+)?(e-\d+)?', '6e-4,1e-3')):
        if not all(re.fullmatch(pattern, word) for word in s[name].split(',')):
            wrong.append(f'{name} must be numbers like {like}, got {s[name]!r}')
    if wrong:
        raise SystemExit('compare_nanogpt.py: ' + '; '.join(wrong))
    for file, how in (('train.py', 'git clone https://github.com/karpathy/nanoGPT'),
                      ('data/shakespeare_char/train.bin', 'run data/shakespeare_char/prepare.py there')):
        if not s['nanogpt'] or not os.path.isfile(os.path.join(s['nanogpt'], file)):
            raise SystemExit(f"nanogpt: expected a checkout of nanoGPT with {file}, got {s['nanogpt']!r}; "
                             f'{how}, then use --nanogpt=FOLDER')
    train_bin = os.path.join(s['dataset'], 'train.bin')
    if {'sweep', 'P6'}.intersection(s['rows'].split(',')) and not os.path.isfile(train_bin):
        raise SystemExit('dataset: expected a folder with GPT-2 tokens in train.bin, '
                         f"got {s['dataset']!r}; use --dataset=FOLDER")


def main():
    check(config.settings)
    env = os.environ | {'PYTHONUNBUFFERED': '1'} # lines are timed when they come
    env.pop('PYTHONDONTWRITEBYTECODE', None) # a user's second start finds the bytecode of the first
    with tempfile.TemporaryDirectory() as folder:
        env['TORCHINDUCTOR_CACHE_DIR'] = os.path.join(folder, 'cache')
        place = Place(config.settings, folder, env, {'device': device})
        card = ask(place, {'task': 'machine'})
        if card['device'] == 'cpu':
            card['threads'], env['OMP_NUM_THREADS'] = threads, str(threads)
        place = Place(config.settings, folder, env, card)
        print(f"{card['device']} ({card['device_name']}, {card['threads']} threads) | torch {card['torch']}"
              + ' | rehearsal: these figures mean nothing' * rehearse, flush=True)
        for row in rows.split(','):
            wanted = 'cuda' if row in GPU_ROWS else 'cpu'
            if not card['device'].startswith(wanted) and not rehearse:
                raise SystemExit(f"{row}: is measured on {wanted}, the device is {card['device']}; use "
                                 f'--device={wanted}, or --rehearse to see whether it works')
            {**CPU_ROWS, **GPU_ROWS}[row](place)


if __name__ == '__main__':
    main()
