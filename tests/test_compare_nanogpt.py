"""
tools/compare_nanogpt.py: what it measures, and that it reports it correctly. Tests have no nanoGPT; where its
side is needed, a stand-in with the same interface takes its place.
"""
import json
import os
import shutil
from contextlib import nullcontext

import pytest
from conftest import REPO, log_of, mistake, run

from lib.log import iter_label, validation_line
from tools import compare_harness, compare_worker
from tools.compare_nanogpt import GPU_ROWS, SAVED

TRAINING = dict(arch='gpt2', n_layer=1, n_head=2, n_embd=32, block_size=16, vocab_size=64, batch_size=2,
                seed=1, device='cpu', dtype='float32', compile=False, betas=[0.9, 0.95], learning_rate=1e-3)
# as nanoGPT's model.py: forward returns two values, and weights of two dimensions are decayed
NANOGPT_MODEL = '''
import runpy
from dataclasses import make_dataclass
import torch
from torch.nn.functional import cross_entropy

ours = runpy.run_path(REPO + '/model.py', run_name='ours') # this file has its name
GPTConfig = make_dataclass('GPTConfig', 'block_size vocab_size n_layer n_head n_embd dropout bias'.split())

class GPT(ours['GPT']):
    def __init__(self, config):
        super().__init__(ours['GPTConfig'](arch='gpt2', **vars(config)))
        self.transformer.wpe.weight.data *= 2

    def forward(self, idx, targets=None):
        logits = super().forward(idx)
        return logits, None if targets is None else cross_entropy(logits.flatten(0, 1), targets.flatten())

    def configure_optimizers(self, weight_decay, learning_rate, betas, device_type):
        groups = [{'params': [p for p in self.parameters() if (p.dim() >= DIMS) == decayed],
                   'weight_decay': weight_decay * decayed} for decayed in (True, False)]
        return torch.optim.AdamW(groups, lr=learning_rate, betas=betas)
'''
# as nanoGPT's train.py, but it only draws a model, prints and saves it
NANOGPT_TRAIN = '''
import math
import sys
import torch
from model import GPT, GPTConfig

def get_lr(it):
    warmup, progress = (it + 1) / (warmup_iters + 1), (it - warmup_iters) / (lr_decay_iters - warmup_iters)
    mean, amplitude = (learning_rate + min_lr) / 2, (learning_rate - min_lr) / 2
    return warmup * learning_rate if it < warmup_iters else mean + amplitude * math.COS(math.pi * progress)

flags = dict(word[2:].split('=') for word in sys.argv[1:] if word.startswith('--'))
shape = {name: int(flags[name]) for name in ('n_layer', 'n_head', 'n_embd', 'block_size')}
shape['vocab_size'] = 65
model = GPT(GPTConfig(**shape, dropout=0.0, bias=False))
print('step 0: train loss 4.2, val loss 4.2000', *(f'iter {i}: loss 4.2000, time 1.00ms' for i in range(21)),
      'step 20: train loss 4.1, val loss 4.1000', sep='\\n')
torch.save({'model': model.state_dict(), 'model_args': shape, 'iter_num': 20}, flags['out_dir'] + '/ckpt.pt')
'''


def make_nanogpt(folder, dataset, dims=2, cos='cos'):
    """The folder of the stand-in. dims: dimensions that its optimizer decays; cos: of its schedule"""
    shutil.copytree(dataset, folder / 'data' / 'shakespeare_char')
    source = NANOGPT_MODEL.replace('REPO', repr(REPO)).replace('DIMS', str(dims))
    (folder / 'model.py').write_text(source, encoding='utf-8')
    (folder / 'train.py').write_text(NANOGPT_TRAIN.replace('COS', cos), encoding='utf-8')
    return str(folder)


def test_runs_are_interleaved_and_every_measurement_is_recorded(tmp_path, capsys):
    settings = {'out': str(tmp_path / 'results.jsonl'), 'runs': 3, 'smoke_test': False}
    harness = compare_harness.Harness(settings, str(tmp_path), dict(os.environ), {'device_name': 'CPU'})
    order, figures = [], [{'seconds': 1, 'target_s': None}, {'seconds': 4, 'target_s': 2}, {'seconds': 9}]
    sides = 'pocketGPT', 'nanoGPT'
    found = compare_harness.run_interleaved(harness, 'startup', {
        side: lambda run, side=side: order.append((side, run)) or figures[run - 1] for side in sides})
    assert order == [(side, run) for run in (1, 2, 3) for side in sides]
    # what a run lacks has no median
    assert found['nanoGPT'] == {'seconds': {'median': 4, 'min': 1, 'max': 9, 'mean': 14 / 3}}
    assert '4.00 (1.00 to 9.00) s' in capsys.readouterr().out
    assert compare_harness.load_results(harness, 'startup', 'nanoGPT') == figures
    settings['smoke_test'] = True
    assert compare_harness.load_results(harness, 'startup', 'nanoGPT') == []


@pytest.mark.parametrize('code, until, expected', [
    ("print('a'); print('val 3.5 saved x', flush=True); time.sleep(600)", 'saved', ['a', 'val 3.5 saved x']),
    ("print('boom'); raise SystemExit(3)", None, 'got 3; its last line: boom'),
    ("print('fine')", 'never', "expected a line with 'never', got none; its last line: fine")])
def test_a_process_is_killed_at_the_line_waited_for_and_fails_in_one_line(tmp_path, code, until, expected):
    with nullcontext() if until == 'saved' else pytest.raises(SystemExit, match=expected):
        lines, _ = compare_harness.run_and_time(['-c', f'import time; {code}'], tmp_path, None, until)
        assert [line for _, line in lines] == expected


def test_lines_of_train_py_are_parsed_its_checkpoint_is_scored_and_throughput_follows_from_the_time(
        trained, dataset):
    record = log_of(trained, 'val_loss')[-1]
    lines = [(7.0, validation_line(record, 40)), (8.0, f'{iter_label(40, 40)} | saved out/ckpt.pt')]
    assert compare_harness.find_numbers(lines, SAVED) == [(8.0, 40.0)]
    found = compare_harness.find_numbers(lines, r'\bval (?:loss )?(\d+\.\d+)')
    assert found == [(7.0, round(record['val_loss'], 4))]
    request = {'data': dataset, 'device': 'cpu', 'dtype': 'float32', 'eval_tokens': 0}
    score = compare_worker.score({'checkpoint': os.path.join(trained, 'ckpt.pt'), **request})
    assert score['val_loss'] == pytest.approx(record['val_loss'], abs=1e-4)
    found = compare_worker.throughput({**TRAINING, 'side': 'pocketGPT', 'warmup': 1, 'steps': 3})
    assert found['tokens_per_second'] == pytest.approx(2 * 16 / (found['step_ms'] / 1e3))
    model, _ = compare_worker.pocketgpt_model(TRAINING)
    assert found['parameters'] == sum(p.numel() for p in model.parameters())
    assert compare_worker.flops_per_token(TRAINING) == model.flops_per_token()
    assert found['peak_bytes'] > 10 ** 7 and found['mfu'] is None and found['dtype'] == 'float32'


@pytest.mark.parametrize('changes, same', [({}, True), ({'dims': 3}, False), ({'cos': 'sin'}, False)],
                         ids=['unchanged', 'without weight decay', 'with another schedule'])
def test_the_losses_show_whether_both_sides_train_alike(dataset, tmp_path, changes, same):
    nanogpt = make_nanogpt(tmp_path, dataset, **changes)
    found = compare_worker.losses({**TRAINING, 'steps': 20, 'data': dataset, 'nanogpt': nanogpt})
    assert len(found['pocketGPT']) == len(found['nanoGPT']) == 20
    assert found['pocketGPT'][-1] < found['pocketGPT'][0]
    assert (found['weights_difference'] < 2e-6) == same and (found['difference'] < 1e-5 or not same)


@pytest.mark.parametrize('flag, message', [
    ('--rows=losses,P0', "gpu_shakespeare, got 'P0'"), ('--cases=1B', "got '1B'"),
    ('--runs=0', 'runs: expected at least 1'), ('--minutes=0', 'minutes: expected more than 0'),
    ('--batches=64,x', "batches: expected numbers like 64,32, got '64,x'"),
    ('--nanogpt=x', "a checkout of nanoGPT with train.py, got 'x'"), ('--nanogpt=.', 'prepare.py there')])
def test_settings_that_cannot_be_measured_end_in_one_line(flag, message, tmp_path):
    (tmp_path / 'train.py').touch()
    assert message in mistake(run('tools/compare_nanogpt.py', flag, cwd=tmp_path))


@pytest.mark.slow
def test_a_smoke_test_runs_rows_of_every_kind_on_any_machine(dataset, tmp_path):
    folder, race = make_nanogpt(tmp_path / 'nanogpt', dataset), 'config/train_shakespeare_char.py'
    flags = (f'--nanogpt={folder}', '--device=cpu', '--runs=1', '--threads=1', '--cases=0.8M',
             '--compiled=False', '--learning_rates=1e-3', f'--race={race}', f'--race_best={race}',
             f'--dataset={dataset}')
    refused = run('tools/compare_nanogpt.py', *flags, '--rows=gpu_sweep', cwd=tmp_path)
    assert 'gpu_sweep: expected --device=cuda, got cpu' in mistake(refused)
    rows = 'time_to_loss', 'best_loss', 'throughput', 'startup', *GPU_ROWS
    flags = *flags, f'--rows={",".join(rows)}', '--smoke_test'
    assert run('tools/compare_nanogpt.py', *flags, cwd=tmp_path).status == 0
    records = [json.loads(line) for line in (tmp_path / 'compare_nanogpt.jsonl').read_text().splitlines()]
    assert {r['row'] for r in records} == {*rows, 'throughput_loss'} and all(r['smoke_test'] for r in records)
    losses = [r['figures']['val_loss'] for r in records if 'val_loss' in r['figures']]
    assert len(losses) == 9 and all(0 < loss < 12 for loss in losses)
