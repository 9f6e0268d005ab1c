"""The figures of bench.py: all there, in the promised form, and no more than is known."""
import json
import math
import time

import numpy as np
import pytest
import torch
from conftest import is_one_line, run

import bench as script
from model import GPT, GPTConfig

SMALL = '--n_layer=1', '--n_head=2', '--n_embd=32', '--block_size=16', '--batch_size=2', '--vocab_size=64'
# ceilings that are given are not measured
QUICK = ('--steps=2', '--warmup_steps=1', '--new_tokens=3', '--device=cpu', '--matmul_tflops=0.5',
         '--copy_gb_per_s=8')


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
            'tokens_per_second', 'tflops', 'mfu', 'peak_memory_bytes', 'decode_ms', 'data_ms', 'data_share',
            'optimizer_ns_per_token', 'matmul_share', 'writing', 'matvec_ms', 'decode_ms_ctx10',
            'decode_ms_ctx1000'} <= found.keys()
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
    assert 0 < found['optimizer_ms'] and found['peak_memory_bytes'] > 10 ** 7
    assert math.isclose(found['optimizer_ns_per_token'], found['optimizer_ms'] / 1e3 * 1e9 / (2 * 16 * 3))
    assert math.isclose(found['matmul_share'], found['tflops'] / 0.5)
    assert math.isclose(found['data_share'], found['data_ms'] / found['step_ms']) and found['data_ms'] > 0


@pytest.mark.parametrize('arch', ['gpt2', 'modern'])
def test_G1_writing_is_timed_for_each_kind_of_weights_beside_their_bare_products(bench, arch):
    result = bench(f'--arch={arch}')
    found = figures(result)
    assert [row['weights'] for row in found['writing']] == ['float32', 'bfloat16', 'int8']
    for row in found['writing']:
        assert 0 < row['matvec_ms'] < row['decode_ms'] and row['decode_ms_ctx10'] > 0
        assert row['decode_ms_ctx1000'] is None # the context is 16
        assert found['decode_ms'][row['weights']] == row['decode_ms']
        line, = (line for line in result.out.splitlines() if line.split()[2:3] == [row['weights']])
        assert f"{row['decode_ms']:.2f}" in line and f"{row['matvec_ms']:.2f}" in line


def test_G3_a_context_of_1000_is_timed_where_the_model_has_one(bench):
    row = figures(bench('--block_size=1024', '--batch_size=1'))['writing'][0]
    assert row['decode_ms_ctx1000'] > 0


@pytest.mark.parametrize('dtype, n_bytes', [('float32', 4), ('bfloat16', 2), ('int8', 1)])
def test_G1_the_bare_products_read_each_matrix_once(dtype, n_bytes):
    model = GPT(GPTConfig(vocab_size=64, block_size=16, n_layer=2, n_head=2, n_embd=32))
    matrices = sum(p.numel() for p in model.parameter_groups()['matrix'].values()) + 64 * 32
    script.prepare_to_write(model, dtype, 'cpu')
    read = []
    for layer in model.modules():
        if not list(layer.children()) and hasattr(layer, 'weight'):
            layer.register_forward_hook(lambda layer, *_: read.append(layer.weight))
    script.products_of_a_token(model)()
    assert sum(w.numel() for w in read) == matrices and {w.element_size() for w in read} == {n_bytes}


def test_G4_a_whole_process_of_sample_is_timed():
    assert 0.5 < script.time_sample('cpu', runs=1) < 120


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
    assert 'decode_ms' not in figures(result) and 'writing' not in result.out


@pytest.mark.parametrize('flag, said', [
    ('--steps=0', 'steps must be at least 1'), ('--batch_size=0', 'batch_size must be at least 1'),
    ('--n_head=3', 'n_embd must be a multiple of n_head'), ('--block_size=0', 'block_size must be at least'),
    ('--optimizer=sgd', "got 'sgd'"), ('--arch=llama', "got 'llama'"), ('--dtype=half', "got 'half'"),
    ('--device=tpu', "got 'tpu'"), ('--vocab_size=0', 'vocab_size must be at least 1'),
    ('--new_tokens=-1', 'new_tokens must not be negative'), ('--compile=maybe', "got 'maybe'"),
    ('--copy_gb_per_s=-1', 'copy_gb_per_s must not be negative'),
    ('--profile=none/x.json', 'must be a file in a folder that exists'),
    ('--profile=.', 'must be a file in a folder that exists')])
def test_B12_settings_that_cannot_be_end_in_one_line(bench, flag, said):
    result = bench(flag)
    assert is_one_line(result) and said in result.message


def stopwatch(action):
    """The least of a few times, in seconds."""
    times = []
    for _ in range(8):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times)


def test_the_ceilings_are_what_a_stopwatch_says():
    a, b = torch.randn(512, 512), torch.ones(1 << 22)
    product, copy = 2 * 512 ** 3 / 1e12 / stopwatch(lambda: a @ a), 2 * 2 ** 24 / 1e9 / stopwatch(b.clone)
    # wide bounds, because others use this machine, too; a wrong unit is off by more
    assert product / 20 < script.matmul_ceiling('cpu', 'float32', 512) < product * 20
    assert copy / 20 < script.copy_ceiling('cpu', 2 ** 24) < copy * 20


def test_P9_getting_a_batch_is_timed_apart_from_the_update_and_before_it():
    log = []

    def fetch(iter_num):
        time.sleep(0.002)
        log.append(iter_num)
        return f'batches {iter_num}'

    def step(batches):
        time.sleep(0.02 if len(log) > 4 else 0.2) # the first update and the warm-up are slower
        log.append(batches)

    found = script.time_updates(fetch, step, (1, 2), 'cpu')
    assert log == [0, 'batches 0', 1, 'batches 1', 2, 'batches 2', 3, 'batches 3'] # first, warm-up, 2 timed
    assert 2 <= found['data_ms'] < found['step_ms'] and found['first_step_s'] >= 0.2
    assert 20 <= found['step_ms_min'] <= found['step_ms'] <= found['step_ms_max'] < 200


def test_P9_the_batches_come_from_a_file_and_differ_from_update_to_update(tmp_path):
    meta = script.write_tokens(tmp_path, 300, 5000, 0)
    tokens = script.bins.open_bin(tmp_path, 'train', meta)
    assert len(tokens) == 5000 and 290 < tokens.max() < 300
    s = {'block_size': 16, 'batch_size': 2, 'gradient_accumulation_steps': 3, 'seed': 0}
    first, second = (script.next_batches(tokens, s, iter_num, 'cpu') for iter_num in (0, 1))
    assert [x.shape for x, _ in first] == [(2, 16)] * 3
    assert all(torch.equal(x[:, 1:], y[:, :-1]) for x, y in first)
    assert not any(torch.equal(one[0], other[0]) for one, other in zip(first, second, strict=True))


def test_a_profile_is_a_trace_of_three_updates(bench, tmp_path):
    figures(bench('--profile=trace.json'))
    assert [path.name for path in tmp_path.iterdir()] == ['trace.json']
    with open(tmp_path / 'trace.json', encoding='utf-8') as f:
        names = [event.get('name') for event in json.load(f)['traceEvents']]
    assert names.count('Optimizer.step#Muon.step') == 3


@pytest.mark.parametrize('flags', [(), ('--seed=1', '--steps=5')])
def test_a_profile_without_a_shape_ends_in_one_line(flags, tmp_path):
    result = run('bench.py', '--profile=x.json', *flags, cwd=tmp_path)
    assert is_one_line(result) and '--arch=modern' in result.message


@pytest.mark.parametrize('device, sizes', [('cpu', {0.8, 12.3, 123.8, 124.4}), ('cuda', {10.7, 124.4})])
def test_the_standard_models_have_the_sizes_of_gpt2(device, sizes):
    found = {'gpt2': set(), 'modern': set()}
    for case in script.standard_cases(device):
        with torch.device('meta'):
            model = GPT(GPTConfig(**{name: case[name] for name in script.MODEL if name in case}))
        found[case['arch']].add(round(model.n_params() / 1e6, 1))
    assert found['gpt2'] == sizes and len(found['modern']) == len(sizes) - (device == 'cpu')


def test_the_table_has_a_row_for_each_case_with_memory_of_its_own_and_survives_one_that_fails(capsys):
    ballast = np.ones(100_000_000) # 800 MB that no case has in use
    fits = {'arch': 'gpt2', 'n_layer': 1, 'n_head': 2, 'n_embd': 32, 'vocab_size': 64, 'batch_size': 2,
            'block_size': 16, 'steps': 50, 'warmup_steps': 0, 'new_tokens': 3}
    s = script.config.settings | {'steps': 2, 'dtype': 'float32', 'device': 'cpu', 'matmul_tflops': 0.5}
    machine = {'device': 'cpu', 'dtype': 'bfloat16'} # so that float32 is measured, too
    found = script.bench_all([fits | {'n_head': 2.5}, fits], s, machine, 'a card')
    card, ceilings, headings, units, failed, row = capsys.readouterr().out.splitlines()
    assert (card, found['device']) == ('a card', 'cpu') and '0.500 TFLOP/s in bfloat16' in ceilings
    assert found['ceilings'].keys() == {'matmul_tflops', 'copy_gb_per_s', 'matmul_float32_tflops'}
    assert 0.001 < found['ceilings']['matmul_float32_tflops'] != 0.5
    assert '--n_head: expected a whole number' in failed and 'got 2.5' in found['cases'][0]['error']

    good = json.loads(json.dumps(found))['cases'][1]
    assert (good['steps'], good['new_tokens'], good['matmul_tflops'], good['arch']) == (2, 0, 0.5, 'gpt2')
    assert good['copy_gb_per_s'] == found['ceilings']['copy_gb_per_s'] > 0.01 # measured once
    assert 10 ** 7 < good['peak_memory_bytes'] < ballast.nbytes
    cells = row.split()
    assert cells[:5] == ['gpt2', '0.0', '2', 'x', '16'] and len(headings) == len(units) == len(row)
    assert cells[5] == f"{good['tokens_per_second']:,.0f}"
    assert cells[-1] == f"{100 * good['data_share']:.2f}"
    assert len(cells) == 5 + len(headings.split()) - 3 and units.split().count('%') == 3
