"""
The machine: device, dtype, torch.compile, the processes that torchrun started, and memory.

    python train.py config/train_tinystories.py --eval_only    # prints what was chosen, and why
"""
import ctypes
import gc
import os
import re
import sys
import warnings
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parallel import DistributedDataParallel

from data.messages import describe, format_bytes
from lib.log import say
from lib.optim import parameter_groups
from model import GPT, MAX_LOGITS, cross_entropy_sum

DTYPES = 'float32', 'bfloat16', 'float16'
# dense TFLOP/s in bfloat16 (V100 and T4: float16) with float32 accumulation, by NVIDIA's data sheets, for
# GeForce and RTX by its architecture whitepapers; where they have the figure with sparsity only, half of it
PEAK_TFLOPS = {
    'GB300': 2500, 'GB200': 2500, 'B300': 2250, 'B200': 2250, 'GH200': 989, 'H200': 989, 'H200 NVL': 835,
    'H100': 989, 'H100 NVL': 835, 'H100 PCIe': 756, 'H800': 989, 'H800 PCIe': 756, 'A100': 312, 'A800': 312,
    'L40S': 362, 'L40': 181, 'L4': 121, 'A40': 150, 'A30': 165, 'A10': 125, 'A10G': 70,
    'RTX PRO 6000 Blackwell Workstation': 504, 'RTX PRO 6000 Blackwell Max-Q': 439, 'RTX 6000 Ada': 364,
    'RTX A6000': 155, 'RTX 5090': 210, 'RTX 4090': 165, 'RTX 4080 SUPER': 104, 'RTX 4080': 97,
    'RTX 3090 Ti': 80, 'RTX 3090': 71, 'V100-SXM2': 125, 'V100-SXM3': 125, 'V100-PCIE': 112, 'T4': 65}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3 # of mallopt, from glibc's malloc.h
GRAPH_FLOPS = 5e12 # of both passes; with fewer, launching the kernels takes longer than running them
# a card of these variants is slower or faster than the card without; a MIG slice has a part of it
OTHER_CARD = r' (Ti|SUPER|D|Laptop|NVL|PCIe)\b|.* MIG\b'


@dataclass(frozen=True)
class Machine:
    """What a process trains on."""
    device: str # 'cpu', 'cuda', 'cuda:1' or 'mps'
    dtype: str # name of the dtype of matrix products; weights are float32
    compile: bool # whether to use torch.compile
    rank: int = 0
    world_size: int = 1

    @property
    def is_master(self):
        return self.rank == 0

    @property
    def on_gpu(self):
        return self.device.startswith('cuda')

    def autocast(self):
        """The context in which matrix products are computed in dtype."""
        return autocast_for(self.device, self.dtype)

    def eager(self):
        """The context in which compiled modules run eagerly, for shapes that are not worth compiling."""
        return torch.compiler.set_stance('force_eager') if self.compile else nullcontext()

    def scaler(self):
        """The gradient scaler that float16 needs, or None."""
        return torch.amp.GradScaler('cuda') if self.dtype == 'float16' else None


def setup_machine(device, dtype, compile, backend):
    """
    The Machine for these settings, which may be 'auto'; joins the other processes under torchrun.

    Prints what was chosen, and why.
    """
    device, device_reason = choose_device(device)
    if device == 'mps' and torch.__version__ < (2, 13): # its fused AdamW ignores found_inf
        raise SystemExit(f'device: expected torch 2.13 or newer to train on mps, got {torch.__version__}, '
                         'which applies updates that are not finite; update torch, or use --device=cpu')
    rank, world_size, rank_device = join_process_group(device, backend)
    dtype, dtype_reason = choose_dtype(dtype, rank_device)
    set_up_device(rank_device)
    use_compile, compile_reason = choose_compile(compile, rank_device)
    say(f'torch {torch.__version__} | device {device} ({device_reason}) | dtype {dtype} ({dtype_reason}) | '
          f'compile {"on" if use_compile else "off"} ({compile_reason})'
          + (f' | {world_size} processes' if world_size > 1 else ''))
    return Machine(rank_device, dtype, use_compile, rank, world_size)


def choose_device(wanted):
    """(device, reason) for auto, cpu, cuda, cuda:N, N or mps; SystemExit if it is not available."""
    if wanted == 'auto':
        if torch.cuda.is_available():
            problem = missing_kernels('cuda')
            return ('cpu', problem) if problem else ('cuda', torch.cuda.get_device_name())
        if torch.backends.mps.is_available():
            return 'mps', 'Apple GPU'
        return 'cpu', f'no GPU found, {torch.get_num_threads()} threads'
    wanted = f'cuda:{wanted}' if wanted.isdecimal() else wanted
    if not re.fullmatch(r'cpu|mps|cuda(:\d+)?', wanted, re.ASCII):
        raise SystemExit(f'device: expected auto, cpu, cuda, cuda:N or mps, got {wanted!r}')
    kind, _, index = wanted.partition(':')
    if kind == 'cuda' and int(index or 0) >= torch.cuda.device_count():
        raise SystemExit(f'device: expected one that is available, got {wanted}, but torch finds '
                         f'{torch.cuda.device_count()} CUDA devices; use --device=auto')
    if kind == 'cuda' and (problem := missing_kernels(wanted)):
        raise SystemExit(f'device: {problem}; install a PyTorch built for it, or use --device=cpu')
    if kind == 'mps' and not torch.backends.mps.is_available():
        raise SystemExit('device: expected one that is available, got mps, but torch finds no Apple GPU; '
                         'use --device=auto')
    return wanted, 'requested'


def missing_kernels(device):
    """
    Why this PyTorch cannot run on a CUDA device, '' if it can.

    NVIDIA's rules: machine code (sm_XY) runs on GPUs of the same major compute capability and a minor one not
    below, PTX (compute_XY) on all later GPUs, too; code with suffix a on this GPU only, with f as sm_XY.
    """
    capability, built = torch.cuda.get_device_capability(device), torch.cuda.get_arch_list()
    for kind, major, minor, suffix in re.findall(r'(sm|compute)_(\d+)(\d)([a-z]?)', ' '.join(built)):
        code, is_ptx = (int(major), int(minor)), kind == 'compute' and not suffix
        if code == capability or suffix != 'a' and code < capability and (is_ptx or code[0] == capability[0]):
            return ''
    if not any(name.startswith(('sm_', 'compute_')) for name in built): # ROCm has other names
        return ''
    return (f'{torch.cuda.get_device_name(device)} has compute capability {capability[0]}.{capability[1]}, '
            f'torch {torch.__version__} has kernels for {" ".join(built)}')


def choose_dtype(wanted, device):
    """(name of the dtype of matrix products, reason)."""
    kind = device.partition(':')[0]
    if wanted not in ('auto', *DTYPES):
        raise SystemExit(f'dtype: expected auto, float32, bfloat16 or float16, got {wanted!r}')
    if wanted == 'float16' and kind != 'cuda':
        raise SystemExit(f'dtype: float16 trains on cuda only, the device is {device}; use --dtype=auto')
    capability = torch.cuda.get_device_capability(device) if kind == 'cuda' else (0, 0)
    if wanted != 'auto':
        return wanted, 'requested, TF32' if wanted == 'float32' and capability >= (8, 0) else 'requested'
    if kind == 'cuda':
        if capability >= (8, 0): # older GPUs claim bfloat16, but emulate it
            return 'bfloat16', 'supported by the GPU'
        return ('float16', 'no bfloat16 on this GPU') if capability >= (7, 0) else \
            ('float32', 'compute capability below 7.0')
    if kind == 'cpu':
        # without such instructions, bfloat16 is up to ten times slower than float32
        features = torch.cpu.get_capabilities() if hasattr(torch.cpu, 'get_capabilities') else {}
        found = [name for name in ('avx512_bf16', 'amx_bf16') if features.get(name)]
        if found and (capability := torch.backends.cpu.get_cpu_capability()) in ('AVX2', 'NO AVX', 'DEFAULT'):
            return 'float32', f'ATEN_CPU_CAPABILITY limits torch to {capability}'
        return ('bfloat16', f'the CPU has {found[0]}') if found else ('float32', 'no bfloat16 instructions')
    return 'float32', 'bfloat16 is not complete on mps'


def set_up_device(device):
    """Allow TF32 in float32 products on a GPU; let malloc reuse freed memory, which saves page faults."""
    if device.startswith('cuda'):
        torch.set_float32_matmul_precision('high')
    if sys.platform == 'linux' and hasattr(libc := ctypes.CDLL(None), 'mallopt'):
        # glibc accepts 1 GB from 2.35 on, else 32 MB; the second call alone would freeze the first at 128 kB
        if libc.mallopt(M_MMAP_THRESHOLD, 1 << 30) or libc.mallopt(M_MMAP_THRESHOLD, 1 << 25):
            libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1) # bytes that may be free at the end of the heap


def choose_compile(wanted, device):
    """(whether to use torch.compile, reason). SystemExit when it is requested and does not work here."""
    if wanted not in ('auto', 'true', 'false'):
        raise SystemExit(f'compile: expected auto, true or false, got {wanted!r}')
    if wanted == 'false':
        return False, 'requested'
    if wanted == 'auto' and not device.startswith('cuda'):
        return False, 'rarely faster on this device; try --compile'
    if wanted == 'auto' and torch.cuda.get_device_capability(device) < (7, 0):
        return False, 'needs compute capability 7.0'
    try: # a one-line function shows whether there is a working compiler
        torch.compile(lambda x: x * 2 + 1)(torch.ones(64, device=device))
    except Exception as error: # inductor and the compilers that it calls raise many types
        reason = describe(error)[:140]
        if wanted == 'true':
            raise SystemExit(f'compile: torch.compile was requested and does not work here ({reason}); '
                             'install a C++ compiler or use --compile=False') from None
        return False, f'torch.compile does not work here ({reason})'
    return True, 'requested' if wanted == 'true' else 'faster on this GPU'


def autocast_for(device, dtype):
    """The context in which matrix products are computed in dtype; no autocast for float32."""
    if dtype == 'float32':
        return nullcontext()
    # each weight is used once in a forward pass; with a cache of casts, a CUDA graph could not be captured
    return torch.autocast(device.partition(':')[0], getattr(torch, dtype), cache_enabled=False)


def prepare_model(model, batch_size, machine):
    """What train_step runs: the model, compiled where that was chosen, with CUDA graphs or in DDP."""
    if machine.compile:
        compile_parts(model)
    if machine.world_size > 1:
        return DistributedDataParallel(model, device_ids=[machine.device] if machine.on_gpu else None)
    if machine.on_gpu:
        capture_cuda_graphs(model, batch_size, machine.autocast())
    return model


def compile_parts(model):
    """Regional compilation: the blocks share their compiled code, which takes less time than the whole."""
    for block in model.transformer.h:
        block.compile()
    model.cross_entropy_sum = torch.compile(cross_entropy_sum)


def capture_cuda_graphs(model, batch_size, autocast):
    """
    Make the forward and the backward pass of training one CUDA graph each, if the model is small.

    Launching the kernels of a small model one by one takes longer than running them. A graph has one batch
    size; evaluation and generation do not use it.
    """
    weight = model.lm_head.weight
    idx = torch.zeros(batch_size, model.config.block_size, dtype=torch.int64, device=weight.device)
    if idx.numel() * model.flops_per_token() > GRAPH_FLOPS:
        return
    warnings.filterwarnings('ignore', 'The AccumulateGrad node') # of the stream that the graph is captured on
    with autocast:
        torch.cuda.make_graphed_callables(model, (idx, idx.clone())) # batches are copied into these two


def peak_flops(device, dtype):
    """Dense peak FLOP/s of a device at a dtype by its vendor's data sheet; 0.0 if it is not in this table."""
    if not device.startswith('cuda') or dtype == 'float32':
        return 0.0
    name = torch.cuda.get_device_name(device)
    return next((1e12 * tera for key, tera in PEAK_TFLOPS.items()
                 if re.search(rf'\b{key}\b(?!{OTHER_CARD})', name)), 0.0)


# ---- processes ----

def torchrun_ranks(environ=os.environ):
    """(rank, local_rank, world_size) as torchrun sets them; None unless all of its variables are set."""
    names = 'RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'
    if not all(environ.get(name) for name in names):
        return None # a scheduler sets some of them for other purposes
    values = {name: environ[name] for name in (*names[:3], names[4])}
    if not all(value.isdecimal() for value in values.values()) \
            or max(int(values['RANK']), int(values['LOCAL_RANK'])) >= int(values['WORLD_SIZE']) \
            or int(values['MASTER_PORT']) > 65535:
        raise SystemExit('torchrun: expected RANK < WORLD_SIZE and a port in the environment, got '
                         f'{" ".join(f"{name}={value}" for name, value in values.items())}; start the '
                         'processes with torchrun, or unset these variables')
    return tuple(int(values[name]) for name in names[:3])


def join_process_group(device, backend):
    """(rank, world_size, device of this rank); joins the other processes if torchrun started this one."""
    kind = device.partition(':')[0]
    if backend not in ('auto', 'nccl', 'gloo'):
        raise SystemExit(f'backend: expected auto, nccl or gloo, got {backend!r}')
    if not torchrun_ranks():
        return 0, 1, device
    rank, local_rank, world_size = torchrun_ranks()
    if backend == 'nccl' and not (kind == 'cuda' and dist.is_nccl_available()):
        raise SystemExit(f'backend: nccl needs CUDA devices and Linux, the device is {device}; use '
                         '--backend=auto')
    if kind == 'mps':
        raise SystemExit('torchrun: mps has no torch.distributed backend; use --device=cpu or one process')
    if kind == 'cuda':
        on_this_machine = os.environ.get('LOCAL_WORLD_SIZE', '') # torchrun sets it, Slurm does not
        n_processes = max(local_rank + 1, int(on_this_machine) if on_this_machine.isdecimal() else 0)
        if n_processes > torch.cuda.device_count():
            raise SystemExit(f'torchrun: expected a GPU for each of {n_processes} processes, got '
                             f'{torch.cuda.device_count()}; lower --nproc_per_node or use --device=cpu')
        device = f'cuda:{local_rank}'
        if problem := missing_kernels(device): # of other GPUs than the first
            raise SystemExit(f'rank {rank}: {problem}; use --device=cpu')
        torch.cuda.set_device(device)
    # PyTorch for Windows is built without libuv
    os.environ.setdefault('USE_LIBUV', '0' if sys.platform == 'win32' else '1')
    if backend == 'auto': # PyTorch for Windows is built without NCCL
        backend = 'nccl' if kind == 'cuda' and dist.is_nccl_available() else 'gloo'
    try:
        dist.init_process_group(backend, device_id=torch.device(device) if backend == 'nccl' else None)
    except RuntimeError as error: # of the store at MASTER_PORT, or of the backend
        raise SystemExit(f'torchrun: the processes could not join at {os.environ["MASTER_ADDR"]}:'
                         f'{os.environ["MASTER_PORT"]} ({describe(error)[:200]}); use another --master_port, '
                         'or unset the variables of torchrun') from None
    return rank, world_size, device


def leave_process_group():
    """Leave the process group, if there is one; called after everything that used it has returned."""
    if dist.is_initialized():
        # the group's threads end with the last reference to it; if one outlives Python, it aborts
        gc.collect()
        dist.destroy_process_group()


def sum_over_ranks(numbers, device):
    """Element-wise sum of a list of floats over all processes, in float64. A CPU-GPU synchronization."""
    if not dist.is_initialized():
        return numbers
    total = torch.tensor(numbers, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.tolist()


# ---- memory ----

def memory_needed(config, batch_size, optimizer, dtype, on_gpu=False):
    """
    Estimated bytes of training by purpose ('weights', 'gradients', ...), and their 'total'.

    Without what Python and torch take themselves, and without torch.compile, which saves some. optimizer:
    'muon' or 'adamw'; dtype: the name of the dtype of matrix products
    """
    with torch.device('meta'):
        model = GPT(config)
    weights = 4 * model.n_params()
    by_muon = 4 * sum(p.numel() for p in parameter_groups(model)['matrix'].values())
    state = 2 * weights - (by_muon if optimizer == 'muon' else 0)
    two, three = (saved_activations(config, n, dtype) for n in (2, 3))
    # linear in the batch size, except that one sequence needs fewer copies for contiguous tensors
    activations = two + (batch_size - 2) * (three - two) if batch_size > 1 else \
        saved_activations(config, 1, dtype)
    # the logits in float32, their softmax, and the gradients of both
    most = max(MAX_LOGITS['cuda' if on_gpu else 'cpu'], config.vocab_size)
    logits = 16 * min(batch_size * config.block_size * config.vocab_size, most)
    needed = {'weights': weights, 'gradients': weights, 'optimizer state': state,
              # the backward pass allocates about one layer's activations again
              'activations': round(activations * (1 + 1 / config.n_layer)) + logits}
    if not on_gpu: # written to the disk while training goes on
        needed['checkpoint being written'] = weights + state
    return needed | {'total': sum(needed.values())}


def saved_activations(config, batch_size, dtype):
    """Bytes that a forward pass up to the logits saves for the backward pass, by fake tensors."""
    saved = {}

    def save(tensor):
        saved[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    low = getattr(torch, 'bfloat16' if dtype == 'float16' else dtype) # of the same size
    with FakeTensorMode():
        model = GPT(config)
        weights = {p.untyped_storage()._cdata for p in model.parameters()}
        idx = torch.zeros(batch_size, config.block_size, dtype=torch.int64)
        with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
            with torch.autocast('cpu', low, enabled=dtype != 'float32'):
                model.hidden_states(idx)
        return sum(storage.nbytes() for key, storage in saved.items() if key not in weights)


def memory_line(needed, config, batch_size):
    """One line about memory_needed."""
    parts = ', '.join(f'{name} {format_bytes(n)}' for name, n in needed.items() if name != 'total')
    return (f'memory about {format_bytes(needed["total"])}: {parts} for {batch_size} sequences x '
            f'{config.block_size} tokens in a forward pass')


@contextmanager
def explain_oom(config, batch_size, accumulation, optimizer, machine):
    """Within it, running out of memory ends the run in one line, with settings that need less."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_oom(error):
            raise
        needed = memory_needed(config, batch_size, optimizer, machine.dtype, machine.on_gpu)
        has = f', which has {format_bytes(torch.cuda.get_device_properties(machine.device).total_memory)}' \
            if machine.on_gpu else ''
        where = f'rank {machine.rank}' if machine.world_size > 1 else 'train.py' # others may have enough
        raise SystemExit(f'{where}: out of memory on {machine.device}{has}; '
                         f'{memory_line(needed, config, batch_size)}; '
                         f'{suggest_less_memory(config, batch_size, accumulation)}') from None


def is_oom(error):
    """Whether an exception is about memory: only CUDA's allocator raises OutOfMemoryError."""
    # a CPU (Linux, Windows), MPS and CUDA, a buffer that is too large for MPS, CUDA's libraries
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or bool(re.search(
        "can't allocate|not enough memory|out of memory|Invalid buffer size|CU(BLAS|DNN)_STATUS_[A-Z_]*ALLOC",
        str(error)))


def suggest_less_memory(config, batch_size, accumulation):
    """Settings that need less memory, if possible with the same tokens per update."""
    divisor = next((n for n in range(2, batch_size + 1) if batch_size % n == 0), 0)
    if divisor:
        return (f'for the same tokens per update: --batch_size={batch_size // divisor} '
                f'--gradient_accumulation_steps={accumulation * divisor}')
    return (f'batch_size is 1 already: halve the context, --block_size={max(1, config.block_size // 2)} '
            f'--gradient_accumulation_steps={2 * accumulation}, or train a smaller model')
