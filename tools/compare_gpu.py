"""
The rows of tools/compare_nanogpt.py that are measured on a GPU.

    python tools/compare_nanogpt.py --nanogpt=nanoGPT --rows=gpu_throughput --runs=1
"""
from tools.compare_harness import (
    fastest,
    find_numbers,
    load_results,
    ratio,
    remove_run,
    run_interleaved,
    run_throughput,
    score,
    train_nanogpt,
    train_pocketgpt,
)

GPT2_SHAPE = '--n_layer=12 --n_head=12 --n_embd=768 --block_size=1024 --batch_size=32'.split()
EVAL_TOKENS = 1 << 19 # of val, for losses during gpu_time_to_loss; final losses are over all of val


def row_gpu_throughput(harness):
    sizes = [int(n) for n in harness.settings['batches'].split(',')]
    common = {'block_size': 1024, 'compile': not harness.smoke_test, 'warmup': 5, 'steps': 30}
    families = ('pocketGPT', 'gpt2'), ('pocketGPT', 'modern'), ('nanoGPT', 'gpt2')
    candidates = {f'{side} {arch} x{n}': {**common, 'batch_size': n, 'arch': arch}
                  for n in sizes for side, arch in families}
    candidates['nanoGPT gpt2 x12'] = {**common, 'batch_size': 12} # its default
    found = run_throughput(harness, 'gpu_throughput', '124M', candidates)
    best = fastest(found, 'nanoGPT')
    for name in fastest(found, 'pocketGPT gpt2'), fastest(found, 'pocketGPT modern'):
        print(f"gpu_throughput: {name} is {ratio(found, 'tokens_per_second', name, best):.2f} times as fast "
              f'as {best}')
    print()


# ---- whole runs on a GPU ----

def nanogpt_124m(harness, n, learning_rate, dropout):
    """Flags for nanoGPT's train.py: n updates of 32 x 1,024 tokens, and a schedule that ends with them."""
    return [*GPT2_SHAPE, f'--dataset={harness.dataset}', '--gradient_accumulation_steps=1',
            f'--max_iters={n}', f'--lr_decay_iters={n}', f'--warmup_iters={max(1, n // 25)}',
            f'--learning_rate={learning_rate}', '--min_lr=0.0', f'--dropout={dropout}',
            f'--eval_interval={n}', '--eval_iters=20', '--log_interval=10', '--always_save_checkpoint=True']


def measure_step_time(harness):
    """(seconds until nanoGPT's updates begin, compilation included, seconds of an update)."""
    last = 20 if harness.smoke_test else 60
    args = nanogpt_124m(harness, 1000, 1e-3, harness.settings['nanogpt_dropout'])
    lines, _ = train_nanogpt(harness, 'step_time', args, f'^iter {last}:', cache='sweep-cache')
    remove_run(harness, 'step_time')
    times = {number: seconds for seconds, number in find_numbers(lines, r'^iter (\d+):')}
    step_s = (times[last] - times[10]) / (last - 10)
    return times[10] - 10 * step_s, step_s


def row_gpu_sweep(harness):
    """nanoGPT for sweep_minutes of updates at each learning rate; gpu_time_to_loss takes the best."""
    dropout, (startup_s, step_s) = harness.settings['nanogpt_dropout'], measure_step_time(harness)
    n = int(60 * harness.settings['sweep_minutes'] / step_s)

    def nanogpt(learning_rate):
        train_nanogpt(harness, 'sweep', nanogpt_124m(harness, n, learning_rate, dropout), cache='sweep-cache')
        figures = {'learning_rate': learning_rate, 'dropout': dropout, 'startup_s': startup_s,
                   'step_s': step_s, 'updates': n, **score(harness, 'sweep', harness.dataset)}
        remove_run(harness, 'sweep')
        return figures
    rates = [float(lr) for lr in harness.settings['learning_rates'].split(',')]
    run_interleaved(harness, 'gpu_sweep', {f'nanoGPT {lr}': lambda run, lr=lr: nanogpt(lr) for lr in rates},
                    runs=1)
    print()


def pocketgpt_124m(harness, target, minutes, eval_interval):
    """Our run of some minutes; target_s is when it first reaches the target loss, on the same part of val."""
    lines, seconds = train_pocketgpt(harness, 'pocketgpt', [
        *GPT2_SHAPE, f'--dataset={harness.dataset}', '--vocab_size=50304', f'--max_minutes={minutes}',
        f'--eval_interval={eval_interval}', f'--eval_tokens={EVAL_TOKENS}',
        *harness.settings['extra_flags'].split()])
    figures = {'target_s': first_below(lines, target), 'seconds': seconds,
               **score(harness, 'pocketgpt', harness.dataset, 'best.pt')}
    remove_run(harness, 'pocketgpt')
    return figures


def first_below(lines, target):
    """Seconds until either train.py printed a validation loss of target or less, or None."""
    losses = find_numbers(lines, r'\bval (?:loss )?(\d+\.\d+)')
    return next((seconds for seconds, loss in losses if loss <= target), None)


def row_gpu_time_to_loss(harness):
    """nanoGPT at its best settings; ours for the same time, and for a third of it with one evaluation."""
    tried, minutes = load_results(harness, 'gpu_sweep', 'nanoGPT'), harness.settings['minutes']
    if not tried:
        raise SystemExit(f"gpu_time_to_loss: expected a gpu_sweep of this device in "
                         f"{harness.settings['out']}, got none; run --rows=gpu_sweep first")
    best = min(tried, key=lambda figures: figures['val_loss'])
    n = int((60 * minutes - best['startup_s']) / best['step_s'])
    args = nanogpt_124m(harness, n, best['learning_rate'], best['dropout'])
    _, seconds = train_nanogpt(harness, 'nanogpt', args)
    target = score(harness, 'nanogpt', harness.dataset, eval_tokens=EVAL_TOKENS)['val_loss']
    nanogpt = {'target_s': seconds, 'seconds': seconds, 'target': target, 'updates': n,
               'learning_rate': best['learning_rate'], 'dropout': best['dropout'],
               **score(harness, 'nanogpt', harness.dataset)}
    remove_run(harness, 'nanogpt')
    run_interleaved(harness, 'gpu_time_to_loss', {
        'nanoGPT': lambda run: nanogpt,
        'pocketGPT': lambda run: pocketgpt_124m(harness, target, minutes, 250),
        'pocketGPT, a third': lambda run: pocketgpt_124m(harness, target, minutes / 3, 0)}, runs=1)
    print(f"gpu_time_to_loss: the target is nanoGPT's last loss on {EVAL_TOKENS:,} tokens of val, "
          f'{target:.4f}\n')


def row_gpu_shakespeare(harness):
    """Both with their configs. During the run nanoGPT estimates its loss, ours evaluates all of val."""
    target = 9.9 if harness.smoke_test else 1.47
    args = ['config/train_shakespeare_char.py']

    def finish(name, file, lines, seconds):
        figures = {'target_s': first_below(lines, target), 'seconds': seconds,
                   **score(harness, name, harness.shakespeare, file)}
        remove_run(harness, name)
        return figures

    def pocketgpt(run):
        seeded = [*args, f'--dataset={harness.shakespeare}', f"--seed={harness.settings['seed'] + run - 1}",
                  *harness.settings['extra_flags'].split()]
        return finish('pocketgpt', 'best.pt', *train_pocketgpt(harness, 'pocketgpt', seeded))

    def nanogpt(run):
        return finish('nanogpt', 'ckpt.pt', *train_nanogpt(harness, 'nanogpt', args))

    run_interleaved(harness, 'gpu_shakespeare', {'pocketGPT': pocketgpt, 'nanoGPT': nanogpt})
    print()


GPU_ROWS = {'gpu_throughput': row_gpu_throughput, 'gpu_sweep': row_gpu_sweep,
            'gpu_time_to_loss': row_gpu_time_to_loss, 'gpu_shakespeare': row_gpu_shakespeare}
