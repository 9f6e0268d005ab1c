"""What is chosen on which machine, the processes of torchrun, memory estimates, and their messages."""
import math
import os
import platform
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.distributed as dist
from conftest import FAMILIES, MODERN, REPO, PretendDevice, error_of, random_model, random_tokens
from torch.torch_version import TorchVersion

import train
from data.messages import format_bytes
from data.tokenizer import CharTokenizer
from lib import device
from lib.device import Machine, choose_compile, choose_device, choose_dtype, memory_needed, torchrun_ranks
from lib.generate import Sampling, beam_search, generate, generate_texts, prompt_lookup_decode
from lib.optim import make_optimizers
from model import GPT, GPTConfig

no_gpu = pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(),
                            reason='this machine has a GPU')


@pytest.mark.parametrize('wanted, message', [
    *(pytest.param(*row, marks=no_gpu) for row in (
        ('cuda', 'got cuda, but torch finds 0 CUDA devices'), ('cuda:1', 'finds 0 CUDA'),
        ('mps', 'no Apple GPU'), ('0', 'got cuda:0, but torch finds 0 CUDA devices'))),
    *((wanted, 'device: expected auto, cpu, cuda, cuda:N or mps, got')
      for wanted in ('gpu', '', 'cuda:x', 'cuda:-1', 'cuda:', 'cpu:0', 'mps:0', '\xb2'))])
def test_a_device_that_does_not_exist_or_is_not_there_ends_in_one_line(wanted, message):
    found = error_of(choose_device, wanted)
    assert message in found and ('--device=auto' in found or found.startswith(message))
    assert choose_device('cpu') == ('cpu', 'requested')


CUDA_13 = 'sm_75 sm_80 sm_86 sm_90 sm_100 sm_120 compute_120'


@pytest.mark.parametrize('capability, built, runs', [
    ((7, 5), CUDA_13, True), ((8, 9), CUDA_13, True), # as 8.6, of the same major capability
    ((10, 3), CUDA_13, True), ((12, 1), CUDA_13, True), ((13, 0), CUDA_13, True), # the last by PTX
    ((7, 0), CUDA_13, False), ((6, 1), CUDA_13, False), ((5, 2), CUDA_13, False), ((11, 0), CUDA_13, False),
    ((12, 0), 'sm_80 sm_90', False), ((12, 0), 'sm_80 compute_90', True), # newer than the PyTorch
    ((8, 0), 'sm_86', False), ((9, 0), 'sm_90a', True), ((10, 0), 'sm_90a', False),
    ((10, 3), 'sm_100a compute_100a', False), ((10, 3), 'sm_100f', True),
    ((12, 0), 'compute_100f', False), ((9, 0), 'gfx90a gfx942', True), ((9, 0), '', True)])
def test_a_gpu_without_kernels_here_is_one_line_and_auto_is_the_cpu(capability, built, runs, monkeypatch):
    for name, value in dict(is_available=True, device_count=2, get_device_name='NVIDIA TITAN',
                            get_device_capability=capability, get_arch_list=built.split()).items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    if runs:
        assert choose_device('auto') == ('cuda', 'NVIDIA TITAN')
        assert choose_device('cuda:1') == ('cuda:1', 'requested')
        return
    why = (f'NVIDIA TITAN has compute capability {capability[0]}.{capability[1]}, torch {torch.__version__} '
           f'has kernels for {built}')
    assert choose_device('auto') == ('cpu', why)
    message = error_of(choose_device, 'cuda:1')
    assert message.startswith(f'device: {why};') and '--device=cpu' in message


@pytest.mark.skipif(not os.path.exists('/proc/cpuinfo'), reason='only Linux lists what its CPU can do')
def test_a_cpu_gets_bfloat16_only_with_instructions_for_it_and_an_apple_gpu_only_on_request(monkeypatch):
    with open('/proc/cpuinfo', encoding='utf-8') as file:
        words = set(file.read().split())
    for capability in 'AVX512', 'AVX2', 'DEFAULT': # the latter two also by ATEN_CPU_CAPABILITY
        monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda found=capability: found)
        dtype, reason = choose_dtype('auto', 'cpu')
        can = words & {'avx512_bf16', 'amx_bf16'} and capability == 'AVX512'
        assert dtype == ('bfloat16' if can else 'float32') and reason
    assert choose_dtype('auto', 'mps')[0] == 'float32'
    assert choose_dtype('bfloat16', 'mps') == ('bfloat16', 'requested')
    for dtype in 'float32', 'bfloat16':
        with device.autocast_for('cpu', dtype):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == getattr(torch, dtype)
        assert device.peak_flops('cpu', dtype) == device.peak_flops('mps', dtype) == 0.0 # unknown


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc' or TorchVersion(platform.libc_ver()[1]) < '2.35',
                    reason='needs glibc 2.35')
def test_freed_memory_is_used_again_without_page_faults():
    code = ('import resource, torch; from lib.device import set_up_device; {}; faults = []\n'
            'for _ in range(20):\n'
            '    torch.ones(9_000_000)\n' # 36 MB, more than malloc keeps by itself, or before 2.35 at all
            '    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)\n'
            'print(faults[-1] - faults[9])')
    words = [[sys.executable, '-c', code.format(call)] for call in ('set_up_device("cpu")', 'pass')]
    kept, default = (int(subprocess.run(w, cwd=REPO, capture_output=True, check=True).stdout) for w in words)
    assert kept <= default / 10 # both 0 where another malloc is loaded, or page faults are not counted


PEAKS = { # {teraflops of dense matrices in bfloat16: the cards}
    989: 'H100 80GB HBM3, H200, GH200 480GB, GH200 144G HBM3e, H800', 756: 'H100 PCIe, H800 PCIe',
    835: 'H100 NVL, H200 NVL', 2500: 'GB200', 2250: 'B200, B300 SXM6 AC', 364: 'RTX 6000 Ada Generation',
    312: 'A100-SXM4-80GB, A100 80GB PCIe', 155: 'RTX A6000', 150: 'A40', 125: 'A10, Tesla V100-SXM2-16GB',
    112: 'Tesla V100-PCIE-32GB', 70: 'A10G', 65: 'Tesla T4', 121: 'L4', 181: 'L40', 362: 'L40S',
    504: 'RTX PRO 6000 Blackwell Workstation Edition', 210: 'GeForce RTX 5090', 165: 'GeForce RTX 4090',
    439: 'RTX PRO 6000 Blackwell Max-Q Workstation Edition', 104: 'GeForce RTX 4080 SUPER',
    97: 'GeForce RTX 4080', 71: 'GeForce RTX 3090', 80: 'GeForce RTX 3090 Ti',
    0: 'GeForce RTX 4090 D, GeForce RTX 5090 D, GeForce RTX 4090 Laptop GPU, GeForce RTX 3080, H800 NVL, '
       'A100-SXM4-40GB MIG 1g.5gb, H100 80GB HBM3 MIG 1g.10gb, H100 NVL MIG 1g.12gb, Quadro RTX 6000, '
       'Tesla P100-PCIE-16GB, '}


@pytest.mark.parametrize('name, tera', [
    (name if name.startswith(('Tesla', 'Quadro')) else f'NVIDIA {name}', tera)
    for tera, names in PEAKS.items() for name in names.split(', ')])
def test_the_peak_is_that_of_the_very_card_and_unknown_for_its_variants_and_parts(name, tera, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device: name)
    assert device.peak_flops('cuda:1', 'bfloat16') == 1e12 * tera
    assert device.peak_flops('cuda:1', 'float32') == 0.0


def test_a_compiler_error_without_text_ends_in_one_line_and_auto_does_not_compile_on_a_cpu(monkeypatch):
    def fail(function):
        raise AssertionError # as dynamo does

    monkeypatch.setattr(torch, 'compile', fail)
    assert 'does not work here (AssertionError); install' in error_of(choose_compile, 'true', 'cpu')
    use_compile, reason = choose_compile('auto', 'cpu')
    assert not use_compile and '--compile' in reason
    assert choose_compile('false', 'cpu') == (False, 'requested')


# ---- torchrun ----

TORCHRUN = dict(RANK='1', LOCAL_RANK='0', WORLD_SIZE='2', MASTER_ADDR='localhost', MASTER_PORT='29500')


@pytest.mark.parametrize('change', [{name: value} for name in TORCHRUN for value in ('', None)] + [
    dict.fromkeys(TORCHRUN), dict.fromkeys(TORCHRUN, '')], ids=str)
def test_without_all_variables_of_torchrun_there_is_one_process(change, monkeypatch):
    assert torchrun_ranks(TORCHRUN) == (1, 0, 2)
    environ = {name: value for name, value in (TORCHRUN | change).items() if value is not None}
    assert torchrun_ranks(environ) is None
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert device.join_process_group('cpu', 'auto') == (0, 1, 'cpu')
    assert device.sum_over_ranks([1.5, 2.0], 'cpu') == [1.5, 2.0]


@pytest.mark.parametrize('choose, wanted, message', [
    *((choose_dtype, [wanted, 'cpu'], 'dtype: expected auto, float32, bfloat16 or float16, got')
      for wanted in ('float64', 'half', '')),
    *((choose_dtype, ['float16', kind], f'cuda only, the device is {kind}') for kind in ('cpu', 'mps')),
    (choose_compile, ['max', 'cpu'], "compile: expected auto, true or false, got 'max'"),
    (device.join_process_group, ['cpu', 'mpi'], "backend: expected auto, nccl or gloo, got 'mpi'"),
    *((torchrun_ranks, [TORCHRUN | change], 'torchrun: expected RANK < WORLD_SIZE') for change in (
        {'RANK': '2'}, {'RANK': '-1'}, {'RANK': 'x'}, {'LOCAL_RANK': '1.5'}, {'LOCAL_RANK': '2'},
        {'WORLD_SIZE': '0'}, {'WORLD_SIZE': '\xb2'}, {'MASTER_PORT': 'x'}, {'MASTER_PORT': '70000'}))])
def test_a_dtype_compile_backend_or_variable_that_does_not_work_is_one_line(choose, wanted, message):
    assert message in error_of(choose, *wanted)


@pytest.fixture
def two_gpus(monkeypatch):
    """What torch.cuda says of two H100s."""
    for name, value in dict(is_available=True, device_count=2, get_device_name='NVIDIA H100 80GB HBM3',
                            get_device_capability=(9, 0), get_arch_list=['sm_90'], set_device=None).items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    precision = torch.get_float32_matmul_precision()
    yield monkeypatch
    torch.set_float32_matmul_precision(precision)


@pytest.mark.parametrize('backend, has_nccl, chosen', [
    ('auto', True, ('nccl', torch.device('cuda:1'))), ('nccl', True, ('nccl', torch.device('cuda:1'))),
    ('gloo', True, ('gloo', None)), ('auto', False, ('gloo', None))]) # as on Windows
def test_nccl_is_told_the_gpu_of_the_rank(backend, has_nccl, chosen, two_gpus):
    joined = []
    two_gpus.setattr(dist, 'init_process_group', lambda *args, device_id: joined.append((*args, device_id)))
    two_gpus.setattr(dist, 'is_nccl_available', lambda: has_nccl)
    for name, value in (TORCHRUN | {'LOCAL_RANK': '1'}).items():
        two_gpus.setenv(name, value)
    assert device.join_process_group('cuda', backend) == (1, 2, 'cuda:1')
    assert joined == [chosen]
    two_gpus.setattr(torch.cuda, 'get_arch_list', lambda: ['sm_80'])
    assert error_of(device.join_process_group, 'cuda', backend).startswith('rank 1: NVIDIA H100')
    two_gpus.setattr(dist, 'is_nccl_available', lambda: False)
    for kind in 'cpu', 'cuda':
        assert 'backend: nccl needs CUDA' in error_of(device.join_process_group, kind, 'nccl')
    assert 'mps has no torch.distributed' in error_of(device.join_process_group, 'mps', 'auto')


def test_float32_is_tf32_on_cuda_only_and_the_machine_line_says_so(two_gpus, capsys):
    torch.set_float32_matmul_precision('highest') # the default
    device.setup_machine('cpu', 'float32', 'false', 'auto')
    assert torch.get_float32_matmul_precision() == 'highest' and 'TF32' not in capsys.readouterr().out
    device.setup_machine('cuda', 'float32', 'false', 'auto')
    assert torch.get_float32_matmul_precision() == 'high'
    assert 'dtype float32 (requested, TF32)' in capsys.readouterr().out
    two_gpus.setattr(torch.cuda, 'get_device_capability', lambda device: (7, 5)) # its tensor cores lack it
    assert choose_dtype('float32', 'cuda') == ('float32', 'requested')


# ---- what mps cannot do ----

def test_decoding_on_mps_makes_no_float64_tensor_and_chooses_the_same_tokens():
    model, idx = random_model(**MODERN), random_tokens(1, 8)
    prompts, tokenizer = ['ab', 'a'], CharTokenizer('abc\n')

    def decode(kind):
        texts = generate_texts(model, tokenizer, prompts, 2, 8, Sampling(0.8, 3, 0.9, 0.1, 1.2), 1, kind)
        return (beam_search(model, idx, 12, 3, stop_tokens={5}),
                [token.item() for token in prompt_lookup_decode(model, idx, 12)],
                [token.item() for token in generate(model, idx, 12, stop_tokens={5})],
                [text.text for text in texts])

    (mine, score), *greedy = decode('cpu')
    with PretendDevice('mps'):
        (on_mps, score_on_mps), *greedy_on_mps = decode('mps')
        with pytest.raises(TypeError, match='float64'): # it does refuse
            torch.zeros(1, device='mps').double()
    assert (on_mps, greedy_on_mps) == (mine, greedy) and math.isclose(score_on_mps, score, rel_tol=1e-5)


@pytest.mark.parametrize('arch', ['modern', 'gpt2'])
def test_training_and_evaluating_on_mps_need_no_float64_and_no_pinned_memory(arch):
    tokens, found = np.arange(500, dtype=np.uint16) % 61, []
    for kind in 'cpu', 'mps':
        model = random_model(**FAMILIES['grouped' if arch == 'modern' else 'gpt2'])
        optimizers = make_optimizers(model, 'auto', 1e-3, 0.02, 0.1, (0.9, 0.95))
        machine = Machine(kind, 'float32', False)
        with PretendDevice(kind):
            for start in 0, 100:
                batch = train.load_batch(tokens, np.arange(start, start + 4), 16, machine.device)
                train.train_step(model, optimizers, [batch], machine.autocast(), machine.scaler(), 1.0)
            found.append(train.evaluate(model, tokens, np.arange(0, 480, 16), 16, 4, machine.autocast(),
                                        machine.device))
    assert math.isclose(*found, rel_tol=1e-6)


def test_mps_trains_in_one_process_without_a_compiler_from_torch_2_13_on(monkeypatch, capsys):
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: True)
    machine = device.setup_machine('mps', 'auto', 'auto', 'auto')
    assert machine == Machine('mps', 'float32', False) and not machine.on_gpu and machine.scaler() is None
    assert 'mps (requested) | dtype float32 (bfloat16 is not complete on mps)' in capsys.readouterr().out
    monkeypatch.setattr(torch, 'compile', lambda function: 1 / 0)
    assert error_of(choose_compile, 'true', 'mps').startswith('compile: torch.compile was requested')
    monkeypatch.setattr(torch, '__version__', TorchVersion('2.12.1'))
    message = error_of(device.setup_machine, 'mps', 'auto', 'auto', 'auto')
    assert message.startswith('device: expected torch 2.13 or newer to train on mps, got 2.12.1')
    assert device.setup_machine('cpu', 'auto', 'auto', 'auto').device == 'cpu'


# ---- memory ----

def test_the_memory_estimate_counts_what_is_saved_for_any_batch_size_however_large():
    config, dtype = GPTConfig(**MODERN | {'dropout': 0.1}), 'bfloat16'
    for n in (1, 7):
        saved = device.saved_activations(config, n, dtype) # 1.5 times, as there are two layers
        expected = round(1.5 * saved) + 16 * n * 16 * 61 # and logits
        assert memory_needed(config, n, 'muon', dtype)['activations'] == expected
    needed = memory_needed(config, 10 ** 6, 'muon', dtype)
    assert needed['activations'] > 10 ** 6 * saved / 7 and 2 * needed['total'] == sum(needed.values())
    on_gpu = memory_needed(config, 10 ** 6, 'muon', dtype, on_gpu=True) # whose logits are in larger chunks
    assert on_gpu['activations'] - needed['activations'] == 16 * ((1 << 26) - (1 << 24))


OUT_OF_MEMORY = [MemoryError(), torch.OutOfMemoryError('CUDA out of memory.'), *map(RuntimeError, [
    'alloc_cpu.cpp:124] . DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.',
    'MPS backend out of memory (MPS allocated: 17.12 GB, other allocations: 1.02 GB, max allowed: 18.13 GB).',
    'Invalid buffer size: 48.00 GB', 'CUDA error: out of memory',
    'CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`',
    'cuDNN error: CUDNN_STATUS_ALLOC_FAILED',
    'cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED'])]


@pytest.mark.parametrize('batch_size, advice', [(12, '--batch_size=6 --gradient_accumulation_steps=8'),
    (7, '--batch_size=1 --gradient_accumulation_steps=28'),
    (1, '--block_size=8 --gradient_accumulation_steps=8')])
def test_running_out_of_memory_on_a_device_is_one_line_with_settings_that_need_less(batch_size, advice):
    @device.explain_oom(GPTConfig(**MODERN), batch_size, 4, 'muon', Machine('mps', 'float32', False))
    def allocate(error=None):
        if error:
            raise error
        torch.empty(1 << 60) # torch's own error on a CPU

    for error in None, *OUT_OF_MEMORY:
        message = error_of(allocate, error)
        assert 'out of memory on mps' in message and f'for {batch_size} sequences x 16 tokens' in message
        assert advice in message
    assert list(map(format_bytes, (0, 1000, 1_234_567, 1e9, 1.5e12))) == [
        '0 bytes', '1.0 kB', '1.2 MB', '1.00 GB', '1,500.00 GB']
    with pytest.raises(RuntimeError, match='EXECUTION_FAILED'): # any other error stays as it is
        allocate(RuntimeError('cuDNN error: CUDNN_STATUS_EXECUTION_FAILED'))


def test_small_models_on_one_gpu_become_cuda_graphs_whose_two_inputs_are_separate(monkeypatch):
    captured = []
    monkeypatch.setattr(torch.cuda, 'make_graphed_callables', lambda model, inputs: captured.append(inputs))
    monkeypatch.setattr(device, 'DistributedDataParallel', lambda model, device_ids: model)
    monkeypatch.setattr(device.Machine, 'autocast', lambda machine: nullcontext())
    model = GPT(GPTConfig(**MODERN)) # on the CPU, though the machine says cuda
    for machine in (Machine('cuda', 'float32', False), Machine('cpu', 'float32', False),
                    Machine('cuda', 'float32', False, 0, 2)):
        assert device.prepare_model(model, 3, machine) is model
    (x, y), = captured
    assert x.shape == y.shape == (3, model.config.block_size) and x.data_ptr() != y.data_ptr()
    device.prepare_model(model, 10 ** 9 // model.flops_per_token(), Machine('cuda', 'float32', False))
    assert len(captured) == 2
    monkeypatch.setattr(device, 'GRAPH_FLOPS', 10) # a large model keeps the GPU busy without
    device.prepare_model(model, 3, Machine('cuda', 'float32', False))
    assert len(captured) == 2
