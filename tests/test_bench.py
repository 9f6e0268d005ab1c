"""The figures of bench.py: complete, consistent with each other, and in the right units."""
import itertools
import json
import math

import numpy as np
import pytest
import torch
from conftest import mistake, run

import bench as script
from lib import timing
from lib.device import setup_machine
from lib.optim import parameter_groups
from tools import compare_worker

TINY = {'arch': 'modern', 'n_layer': 1, 'n_head': 2, 'n_embd': 32, 'block_size': 16, 'vocab_size': 64}
# a roofline that is given is not measured
FLAGS = {**TINY, 'batch_size': 2, 'steps': 2, 'warmup_steps': 1, 'new_tokens': 3, 'device': 'cpu',
         'matmul_tflops': 0.5, 'copy_gb_per_s': 8}
CASE = {**TINY, 'arch': 'gpt2', 'batch_size': 2, 'steps': 2, 'warmup_steps': 0} # of the table


@pytest.fixture
def bench(tmp_path):
    given = [f'--{name}={value}' for name, value in FLAGS.items()]
    return lambda *flags: run('bench.py', *given, *flags, cwd=tmp_path)


def figures(result):
    """The JSON of the last line."""
    assert result.status == 0, result.message
    return json.loads(result.out.splitlines()[-1])


@pytest.mark.parametrize('flag, optimizers', [
    ('--arch=gpt2', ['AdamW']), ('--optimizer=adamw', ['AdamW']), ('--peak_tflops=2', ['Muon', 'AdamW'])])
def test_the_last_line_is_json_with_all_settings_and_figures_that_agree(bench, tmp_path, flag, optimizers):
    result = bench('--gradient_accumulation_steps=3', '--dtype=float32', '--tables=train', flag)
    found, card = figures(result), result.out.splitlines()[0]
    assert found.keys() == script.config.settings.keys() | {
        'device_name', 'torch', 'compiled', 'threads', 'date', 'n_params', 'optimizers', 'first_step_s',
        'step_ms', 'step_ms_min', 'step_ms_max', 'data_ms', 'optimizer_ms', 'peak_memory_bytes',
        'tokens_per_second', 'tflops', 'matmul_utilization', 'mfu', 'optimizer_ns_per_token', 'data_fraction'}
    for part in found['arch'], 'M parameters', '| cpu (', f'torch {torch.__version__}', 'float32', 'eager':
        assert part in card
    model, tokens = script.build_model(found), 2 * 16 * 3
    assert found['n_params'] == sum(p.numel() for p in model.parameters())
    assert found['optimizers'] == optimizers
    assert math.isclose(found['tokens_per_second'], 1e3 * tokens / found['step_ms'])
    assert math.isclose(found['tflops'], found['tokens_per_second'] * model.flops_per_token() / 1e12)
    assert math.isclose(found['optimizer_ns_per_token'], found['optimizer_ms'] / 1e3 * 1e9 / tokens)
    assert math.isclose(found['matmul_utilization'], found['tflops'] / 0.5)
    assert math.isclose(found['data_fraction'], found['data_ms'] / found['step_ms'])
    assert found['mfu'] == (pytest.approx(found['tflops'] / 2) if found['peak_tflops'] else None)
    assert ('train: mfu' in result.out) == (found['mfu'] is not None) and list(tmp_path.iterdir()) == []


def test_loading_is_timed_apart_warmup_does_not_count_and_the_roofline_has_its_units(monkeypatch):
    clock, durations = [0.0], [0.2, 0.05, 0.02, 0.04, 0.03] # first update, warm-up, 3 timed
    monkeypatch.setattr(timing.time, 'perf_counter', lambda: clock[0])

    def fetch(iter_num):
        clock[0] += 0.002 + 0.001 * iter_num
        return iter_num

    def step(batches):
        clock[0] += durations[batches]
    found = script.time_updates(fetch, step, 1, 3, 'cpu')
    assert found == pytest.approx({'first_step_s': 0.2, 'step_ms': 30, 'step_ms_min': 20, 'step_ms_max': 40,
                                   'data_ms': 5})
    with monkeypatch.context() as patch: # the first call is a warm-up
        patch.setattr(timing, 'timed', lambda *args: (None, next(seconds)))
        seconds = iter([9, 3, 1, 2])
        assert timing.median_seconds('cpu', 3, abs) == 2
        seconds = iter([0.1, 3, 1, 2]) # a warm-up call is not timed, however fast
        assert timing.fastest_seconds('cpu', 3, abs) == 1
        seconds = iter([1] + [2] * 9 + [0.5]) # one undisturbed call of ten says what the device can reach
        assert timing.matmul_throughput('cpu', 'float32', 100) == pytest.approx(2 * 100 ** 3 / 0.5 / 1e12)
    monkeypatch.setattr(timing.time, 'perf_counter', itertools.count(0, 0.5).__next__) # half a second each
    assert timing.matmul_throughput('cpu', 'float32', 100) == pytest.approx(2 * 100 ** 3 / 0.5 / 1e12)
    assert timing.copy_bandwidth('cpu', 4000) == pytest.approx(2 * 4000 / 0.5 / 1e9)


def test_float32_is_measured_in_the_precision_that_train_py_sets(bench, monkeypatch):
    devices = []
    monkeypatch.setattr('lib.device.set_up_device', devices.append)
    figures(bench('--tables=train', '--dtype=float32'))
    setup_machine('cpu', 'float32', 'false', 'auto')
    monkeypatch.setattr(compare_worker, 'set_up_device', devices.append)
    compare_worker.pocketgpt_model({**TINY, 'seed': 1, 'batch_size': 1, 'device': 'cpu', 'dtype': 'float32',
                                    'compile': False, 'learning_rate': 1e-3, 'betas': (0.9, 0.95)})
    assert devices == ['cpu'] * 3


def test_a_profile_is_a_trace_of_three_updates(bench, tmp_path):
    figures(bench('--profile=file', '--tables=train'))
    events = json.loads((tmp_path / 'file').read_text())['traceEvents']
    assert [event.get('name') for event in events].count('Optimizer.step#Muon.step') == 3
    assert 'add a setting of its shape' in run('bench.py', '--profile=x', cwd=tmp_path).message # of one model


def test_decoding_is_timed_for_each_weight_dtype_with_its_gemv_lower_bound(bench):
    result = bench('--tables=decode')
    found = figures(result)
    assert 'step_ms' not in found and 'step_ms' in figures(bench('--tables=train,decode'))
    assert [row['weight_dtype'] for row in found['decode']] == ['float32', 'bfloat16', 'int8']
    for row in found['decode']:
        assert math.isclose(row['tokens_per_second'], 1e3 / row['decode_ms'])
        assert math.isclose(row['decode_over_gemv'], row['decode_ms'] / row['gemv_ms'])
        for name in 'decode_ms', 'gemv_ms', 'decode_ms_ctx10':
            assert found[name][row['weight_dtype']] == row[name]
        line, = (line for line in result.out.splitlines() if line.split()[2:3] == [row['weight_dtype']])
        assert f"{row['decode_ms']:.2f}" in line and f"{row['gemv_ms']:.2f}" in line
        assert row['decode_ms_ctx1000'] is None and 'n/a' in line # the context is 16
    row = script.decode_figures(script.build_model(TINY | {'block_size': 1024}), 'float32', 3, 'cpu', False)
    assert math.isclose(row['ctx1000_over_ctx10'], row['decode_ms_ctx1000'] / row['decode_ms_ctx10'])


@pytest.mark.parametrize('dtype, n_bytes', [('float32', 4), ('bfloat16', 2), ('int8', 1)])
def test_the_gemv_lower_bound_reads_each_matrix_once(dtype, n_bytes):
    model = script.build_model(TINY | {'n_layer': 2, 'n_kv_head': 1})
    matrices = sum(p.numel() for p in parameter_groups(model)['matrix'].values()) + 64 * 32
    script.prepare_for_inference(model, dtype, 'cpu')
    read = []
    for layer in model.modules():
        layer.register_forward_hook(lambda layer, *_: read.append(layer.weight))
    script.gemv_lower_bound(model)()
    assert sum(w.numel() for w in read) == matrices and {w.element_size() for w in read} == {n_bytes}


@pytest.mark.parametrize('flag, message', [
    ('--steps=0', 'steps: expected at least 1'), ('--new_tokens=0', 'new_tokens: expected at least 1'),
    ('--tables=decode --profile=x.json', 'the table train among'),
    ('--tables=train,x', "got 'train,x'"), ('--tables=', 'expected train, decode or'),
    ('--n_head=3', 'n_embd must be a multiple of n_head'), ('--optimizer=sgd', "got 'sgd'"),
    ('--dtype=half', "got 'half'"), ('--device=tpu', "got 'tpu'"), ('--compile=maybe', "got 'maybe'"),
    ('--profile=none/x.json', 'expected a writable file in an existing folder'),
    ('--profile=.', 'expected a writable file in an existing folder')])
def test_a_wrong_setting_ends_in_one_line_before_anything_is_timed(bench, flag, message):
    result = bench(*flag.split())
    assert message in mistake(result) and not result.out


def test_the_standard_models_have_the_sizes_of_gpt2():
    with torch.device('meta'):
        models = map(script.build_model, script.standard_cases('cpu') + script.standard_cases('cuda'))
        assert [round(model.n_params() / 1e6, 1) for model in models] == [
            0.8, 0.8, 12.3, 13.8, 123.8, 162.2, 10.7, 10.7, 124.4, 162.2]


@pytest.mark.parametrize('peak, columns', [(0.0, 9), (2.0, 10)])
def test_a_case_that_fails_has_a_row_with_its_error_and_a_known_peak_an_mfu_column(capsys, peak, columns):
    s = script.config.settings | {'matmul_tflops': 0.5, 'copy_gb_per_s': 8.0, 'peak_tflops': peak}
    found = script.bench_all([CASE | {'n_head': 2.5}], s, {'device': 'cpu', 'dtype': 'float32'}, 'a card')
    card, roofline, headings, _, failed = capsys.readouterr().out.splitlines()
    assert card == 'a card' and '0.500 TFLOP/s in float32' in roofline and 'copy: 8.0 GB/s' in roofline
    assert '--n_head: expected a whole number' in failed and 'got 2.5' in found['cases'][0]['error']
    assert len(headings.split()) == 5 + columns and ('mfu' in headings) == bool(peak) # model size batch x T


@pytest.mark.slow
def test_each_case_of_the_table_has_peak_memory_of_its_own(capsys):
    ballast = np.ones(100_000_000) # 800 MB of this process
    s = script.config.settings | {'steps': 2, 'matmul_tflops': 0.5}
    found = script.bench_all([CASE | {'steps': 50}], s, {'device': 'cpu', 'dtype': 'bfloat16'}, 'a card')
    good, = found['cases']
    assert (good['steps'], good['tables'], good['matmul_tflops'], good['arch']) == (2, 'train', 0.5, 'gpt2')
    assert good['copy_gb_per_s'] == found['roofline']['copy_gb_per_s'] # measured once
    assert 10 ** 7 < good['peak_memory_bytes'] < ballast.nbytes
    headings, units, row = capsys.readouterr().out.splitlines()[2:]
    assert row.split()[:6] == ['gpt2', '0.0', '2', 'x', '16', f"{good['tokens_per_second']:,.0f}"]
    assert row.split()[-1] == f"{100 * good['data_fraction']:.2f}" and len(headings) == len(units) == len(row)
