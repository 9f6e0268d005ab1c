"""The figures of bench.py: all there, in the promised form, and no more than is known."""
import json
import math

import pytest
import torch
from conftest import is_one_line, run

from model import GPT, GPTConfig

SMALL = '--n_layer=1', '--n_head=2', '--n_embd=32', '--block_size=16', '--batch_size=2', '--vocab_size=64'
QUICK = '--steps=2', '--warmup_steps=1', '--new_tokens=3', '--device=cpu'


@pytest.fixture
def bench(tmp_path):
    return lambda *flags: run('bench.py', *SMALL, *QUICK, *flags, cwd=tmp_path)


def figures(result):
    """The JSON of the last line."""
    assert result.status == 0, result.message
    return json.loads(result.out.splitlines()[-1])


def test_F1_it_needs_no_data_and_no_gpu_and_its_last_line_is_json(bench, tmp_path):
    result = bench()
    found = figures(result)
    assert {'device', 'device_name', 'torch', 'dtype', 'compiled', 'n_params', 'batch_size', 'block_size',
            'arch', 'optimizer', 'first_step_s', 'step_ms', 'step_ms_min', 'step_ms_max', 'optimizer_ms',
            'tokens_per_second', 'tflops', 'mfu', 'peak_memory_bytes', 'decode_ms'} <= found.keys()
    assert (found['device'], found['torch'], found['compiled']) == ('cpu', torch.__version__, False)
    assert list(tmp_path.iterdir()) == []


def test_its_first_line_says_what_is_timed_on_what(bench):
    card = bench('--dtype=float32').out.splitlines()[0]
    parts = 'modern', 'M parameters', '| cpu (', f'| torch {torch.__version__} |', '| float32 |', 'eager'
    assert all(part in card for part in parts)


def test_the_figures_agree_with_each_other(bench):
    found = figures(bench('--gradient_accumulation_steps=3', '--dtype=float32'))
    model = GPT(GPTConfig(vocab_size=64, block_size=16, n_layer=1, n_head=2, n_embd=32))
    assert found['n_params'] == sum(p.numel() for p in model.parameters())
    assert found['step_ms_min'] <= found['step_ms'] <= found['step_ms_max']
    assert math.isclose(found['tokens_per_second'], 1e3 * 2 * 16 * 3 / found['step_ms'])
    assert math.isclose(found['tflops'], found['tokens_per_second'] * model.flops_per_token() / 1e12)
    assert 0 < found['optimizer_ms'] and 0 < found['decode_ms'] and found['peak_memory_bytes'] > 10 ** 7


def test_F2_mfu_is_not_available_where_the_peak_is_not_known(bench):
    result = bench()
    assert figures(result)['mfu'] is None
    row, = (line for line in result.out.splitlines() if line.startswith('train: mfu'))
    assert 'n/a' in row and '%' not in row and '--peak_tflops' in row


def test_F2_mfu_is_the_share_of_the_peak_that_is_named(bench):
    found = figures(bench('--peak_tflops=2'))
    assert math.isclose(found['mfu'], found['tflops'] / 2)


@pytest.mark.parametrize('flags, expected', [
    (['--arch=gpt2'], 'adamw'), (['--arch=modern'], 'muon'), (['--optimizer=adamw'], 'adamw')])
def test_both_families_and_both_optimizers_can_be_timed(bench, flags, expected):
    result = bench(*flags)
    figures(result)
    row, = (line for line in result.out.splitlines() if line.startswith('train: the optimizers'))
    assert row.endswith(expected)


def test_writing_can_be_left_out(bench):
    result = bench('--new_tokens=0')
    assert figures(result)['decode_ms'] is None and 'decode' not in result.out.splitlines()[-2]


@pytest.mark.parametrize('flag, said', [
    ('--steps=0', 'steps must be at least 1'), ('--batch_size=0', 'batch_size must be at least 1'),
    ('--n_head=3', 'n_embd must be a multiple of n_head'), ('--block_size=0', 'block_size must be at least'),
    ('--optimizer=sgd', "got 'sgd'"), ('--arch=llama', "got 'llama'"), ('--dtype=half', "got 'half'"),
    ('--device=tpu', "got 'tpu'"), ('--vocab_size=0', 'vocab_size must be at least 1'),
    ('--new_tokens=-1', 'new_tokens must not be negative'), ('--compile=maybe', "got 'maybe'")])
def test_B12_settings_that_cannot_be_end_in_one_line(bench, flag, said):
    result = bench(flag)
    assert is_one_line(result) and said in result.message
