"""What is chosen on which machine, and what is said when it cannot be had."""
import os

import pytest
import torch
from conftest import process

from lib.device import (
    autocast_for,
    choose_compile,
    choose_device,
    choose_dtype,
    peak_flops,
    start_processes,
    sum_over_ranks,
)

no_gpu = pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(),
                            reason='this machine has a GPU')


@no_gpu
def test_H1_without_a_gpu_auto_is_the_cpu_and_says_so():
    device, why = choose_device('auto')
    assert device == 'cpu' and why.startswith('no GPU found')


@no_gpu
@pytest.mark.parametrize('wanted, said', [('cuda', 'sees 0 CUDA devices'), ('cuda:1', 'sees 0 CUDA devices'),
                                          ('mps', 'no Apple GPU')])
def test_H1_a_gpu_that_was_asked_for_by_name_and_is_not_there_ends_in_one_line(wanted, said):
    with pytest.raises(SystemExit, match=said) as error:
        choose_device(wanted)
    assert '\n' not in str(error.value) and '--device=auto' in str(error.value)


@pytest.mark.parametrize('wanted', ['gpu', '', 'cuda:x', 'cuda:-1', 'cpu:x'])
def test_a_device_that_does_not_exist_ends_in_one_line(wanted):
    with pytest.raises(SystemExit, match='^device: ') as error:
        choose_device(wanted)
    assert '\n' not in str(error.value)


def test_a_device_asked_for_by_name_is_taken():
    assert choose_device('cpu') == ('cpu', 'as asked')


@pytest.mark.parametrize('wanted', ['float64', 'half', ''])
def test_a_dtype_that_does_not_exist_ends_in_one_line(wanted):
    with pytest.raises(SystemExit, match='dtype: expected auto, float32, bfloat16 or float16') as error:
        choose_dtype(wanted, 'cpu')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('device', ['cpu', 'mps'])
def test_float16_without_a_gradient_scaler_is_refused(device):
    with pytest.raises(SystemExit, match=f'cuda only, the device is {device}'):
        choose_dtype('float16', device)


@pytest.mark.skipif(not os.path.exists('/proc/cpuinfo'), reason='only Linux lists what its CPU can do')
def test_a_cpu_gets_bfloat16_only_where_it_has_instructions_for_it():
    with open('/proc/cpuinfo', encoding='utf-8') as f:
        words = set(f.read().split())
    dtype, why = choose_dtype('auto', 'cpu')
    assert dtype == ('bfloat16' if words & {'avx512_bf16', 'amx_bf16'} else 'float32') and why


def test_apple_gpus_compute_in_float32_unless_asked_otherwise():
    assert choose_dtype('auto', 'mps')[0] == 'float32'
    assert choose_dtype('bfloat16', 'mps') == ('bfloat16', 'as asked')


@pytest.mark.parametrize('dtype, expected', [('float32', torch.float32), ('bfloat16', torch.bfloat16)])
def test_matrices_are_multiplied_in_the_dtype(dtype, expected):
    with autocast_for('cpu', dtype):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


def test_H4_on_a_cpu_auto_does_not_compile_and_says_why():
    compiling, why = choose_compile('auto', 'cpu')
    assert not compiling and '--compile' in why
    assert choose_compile('false', 'cpu') == (False, 'as asked')


def test_an_unknown_word_for_compile_ends_in_one_line():
    with pytest.raises(SystemExit, match="expected auto, true or false, got 'max'"):
        choose_compile('max', 'cpu')


@pytest.mark.skipif(os.name == 'nt', reason='PATH is not where Windows has its compiler')
def test_H5_compile_without_a_compiler_ends_in_one_line_and_begins_no_run(dataset, tmp_path):
    (tmp_path / 'empty').mkdir()
    nowhere = dict(PATH=str(tmp_path / 'empty'), CXX='', TORCHINDUCTOR_CACHE_DIR=str(tmp_path / 'cache'))
    words = f'--dataset={dataset}', '--device=cpu', '--compile=True'
    asked = process('train.py', *words, cwd=tmp_path, **nowhere)
    assert asked.returncode == 1
    assert asked.stderr.startswith('compile: asked for, but torch.compile does not work here')
    assert '--compile=False' in asked.stderr and asked.stderr.count('\n') == 1
    assert not (tmp_path / 'out-bins').exists()


def test_F2_no_peak_is_claimed_for_a_device_that_is_not_known():
    assert peak_flops('cpu', 'bfloat16') == peak_flops('mps', 'float32') == 0.0


def test_without_torchrun_there_is_one_process_and_sums_are_its_own(monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    assert start_processes('cpu', 'auto') == (0, 1, 'cpu')
    assert sum_over_ranks([1.5, 2.0], 'cpu') == [1.5, 2.0]


def test_an_unknown_backend_ends_in_one_line(monkeypatch):
    for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE'):
        monkeypatch.setenv(name, '0')
    with pytest.raises(SystemExit, match="backend: expected auto, nccl or gloo, got 'mpi'"):
        start_processes('cpu', 'mpi')
