"""
Which machine this is: the device, the dtype that is fast on it, whether compiling pays, the other processes.

    python train.py config/train_tinystories.py --eval_only    # prints what was chosen here, and why
"""
import gc
import os
import re
import sys
from contextlib import nullcontext

import torch
import torch.distributed as dist


def choose_device(wanted):
    """(device, why) for auto, cpu, cuda, cuda:N or mps; SystemExit when it is not there."""
    if wanted == 'auto':
        if torch.cuda.is_available():
            return 'cuda', torch.cuda.get_device_name()
        if torch.backends.mps.is_available():
            return 'mps', 'Apple GPU'
        return 'cpu', f'no GPU found, {torch.get_num_threads()} threads'
    kind, _, index = wanted.partition(':')
    if kind not in ('cpu', 'cuda', 'mps') or (index and not index.isdigit()):
        raise SystemExit(f'device: expected auto, cpu, cuda, cuda:N or mps, got {wanted!r}')
    if kind == 'cuda' and int(index or 0) >= torch.cuda.device_count():
        raise SystemExit(f'device: {wanted} was asked for, but torch {torch.__version__} sees '
                         f'{torch.cuda.device_count()} CUDA devices; use --device=auto')
    if kind == 'mps' and not torch.backends.mps.is_available():
        raise SystemExit('device: mps was asked for, but this torch sees no Apple GPU; use --device=auto')
    return wanted, 'as asked'


def choose_dtype(wanted, device):
    """(name of the dtype that matrices are multiplied in, why). Weights are always float32."""
    kind = device.partition(':')[0]
    if wanted not in ('auto', 'float32', 'bfloat16', 'float16'):
        raise SystemExit(f'dtype: expected auto, float32, bfloat16 or float16, got {wanted!r}')
    if wanted == 'float16' and kind != 'cuda':
        raise SystemExit(f'dtype: float16 trains on cuda only, the device is {device}; use --dtype=auto')
    if wanted != 'auto':
        return wanted, 'as asked'
    if kind == 'cuda':
        capability = torch.cuda.get_device_capability(device)
        if capability >= (8, 0): # older ones claim bfloat16, but emulate it
            return 'bfloat16', 'the GPU has it'
        return ('float16', 'no bfloat16 on this GPU') if capability >= (7, 0) else ('float32', 'an old GPU')
    if kind == 'cpu':
        # a CPU without such instructions runs bfloat16 up to ten times slower than float32
        can = torch.cpu.get_capabilities() if hasattr(torch.cpu, 'get_capabilities') else {}
        found = [name for name in ('avx512_bf16', 'amx_bf16') if can.get(name)]
        return ('bfloat16', f'the CPU has {found[0]}') if found else ('float32', 'no bfloat16 instructions')
    return 'float32', 'the safe choice on mps'


def choose_compile(wanted, device):
    """(whether to use torch.compile, why). SystemExit when it was asked for and does not work here."""
    if wanted not in ('auto', 'true', 'false'):
        raise SystemExit(f'compile: expected auto, true or false, got {wanted!r}')
    if wanted == 'false':
        return False, 'as asked'
    if wanted == 'auto' and not device.startswith('cuda'):
        return False, 'seldom pays here; try --compile'
    if wanted == 'auto' and torch.cuda.get_device_capability(device) < (7, 0):
        return False, 'the GPU is too old for it'
    try: # a function of one line shows whether there is a compiler that works
        torch.compile(lambda x: x * 2 + 1)(torch.ones(64, device=device))
    except Exception as error: # inductor and the compilers it calls raise many types
        reason = f'{type(error).__name__}: {str(error).splitlines()[0][:120]}'
        if wanted == 'true':
            raise SystemExit(f'compile: asked for, but torch.compile does not work here ({reason}); '
                             'install a C++ compiler or use --compile=False') from None
        return False, f'torch.compile does not work here ({reason})'
    return True, 'as asked' if wanted == 'true' else 'pays on this GPU'


def autocast_for(device, dtype):
    """The context in which matrices are multiplied in dtype; it does nothing for float32."""
    if dtype == 'float32':
        return nullcontext()
    return torch.autocast(device.partition(':')[0], getattr(torch, dtype))


def peak_flops(device, dtype):
    """Dense FLOP/s of a device at a dtype by its vendor's data sheet, or 0.0 when it is not in this table."""
    if not device.startswith('cuda') or dtype == 'float32':
        return 0.0
    name = torch.cuda.get_device_name(device)
    tera = {'B200': 2250, 'H200': 989, 'H100 PCIe': 756, 'H100 NVL': 835, 'H100': 989, 'A100': 312,
            'L40S': 362, 'L4': 121, 'A10G': 70, 'RTX 5090': 210, 'RTX 4090': 165, 'RTX 3090': 71,
            'V100': 125, 'T4': 65}
    return next((1e12 * value for key, value in tera.items() if re.search(rf'\b{key}\b', name)), 0.0)


def start_processes(wanted_device, wanted_backend):
    """(rank, world_size, device of this rank); joins the others when torchrun started us."""
    if 'RANK' not in os.environ:
        return 0, 1, wanted_device
    rank, local_rank, world_size = (int(os.environ[name]) for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE'))
    kind = wanted_device.partition(':')[0]
    if kind == 'cuda':
        if local_rank >= torch.cuda.device_count():
            raise SystemExit(f'torchrun: process {local_rank} has no GPU, there are '
                             f'{torch.cuda.device_count()}; lower --nproc_per_node or use --device=cpu')
        wanted_device = f'cuda:{local_rank}'
        torch.cuda.set_device(wanted_device)
    if wanted_backend not in ('auto', 'nccl', 'gloo'):
        raise SystemExit(f'backend: expected auto, nccl or gloo, got {wanted_backend!r}')
    # torch for Windows comes without libuv
    os.environ.setdefault('USE_LIBUV', '0' if sys.platform == 'win32' else '1')
    dist.init_process_group(('nccl' if kind == 'cuda' else 'gloo') if wanted_backend == 'auto'
                            else wanted_backend)
    return rank, world_size, wanted_device


def stop_processes():
    """Leave the other processes; called when all that used them has returned."""
    if dist.is_initialized():
        # a group's threads end with the last reference to it; any that outlive Python end this with an error
        gc.collect()
        dist.destroy_process_group()


def sum_over_ranks(numbers, device):
    """Element-wise sum of a list of floats over all processes, in float64."""
    if not dist.is_initialized():
        return numbers
    total = torch.tensor(numbers, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.tolist()
