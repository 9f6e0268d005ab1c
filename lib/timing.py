"""
Wall-clock time of work on a device, the throughput it reaches, and peak memory.

    python bench.py    # the script that measures with these
"""
import sys
import time
from statistics import median

import torch


def synchronize(device):
    """Wait until the device has finished all queued work: kernels are asynchronous, the clock is not."""
    if device.startswith('cuda'):
        torch.cuda.synchronize(device)
    elif device == 'mps':
        torch.mps.synchronize()


def timed(device, function, *args):
    """(what function(*args) returns, its wall-clock seconds, queued work on the device included)."""
    synchronize(device)
    start = time.perf_counter()
    result = function(*args)
    synchronize(device)
    return result, time.perf_counter() - start


def median_seconds(device, count, function, *args):
    """Median wall-clock seconds of count calls, after one warm-up call."""
    return median([timed(device, function, *args)[1] for _ in range(count + 1)][1:])


def fastest_seconds(device, count, function, *args):
    """Wall-clock seconds of the fastest of count calls, after a warm-up call: the least disturbed one."""
    return min([timed(device, function, *args)[1] for _ in range(count + 1)][1:])


def matmul_throughput(device, dtype, n):
    """TFLOP/s of the product of two n x n matrices of dtype, given by its name."""
    a, b = (torch.randn(n, n, device=device).to(getattr(torch, dtype)) for _ in range(2))
    return 2 * n ** 3 / fastest_seconds(device, 10, torch.mm, a, b) / 1e12


def copy_bandwidth(device, n_bytes):
    """GB/s, read plus written, of copying a tensor of n_bytes."""
    source = torch.ones(n_bytes // 4, device=device)
    target = torch.empty_like(source)
    return 2 * n_bytes / fastest_seconds(device, 10, target.copy_, source) / 1e9


def peak_memory(device):
    """Peak bytes so far: allocated on the GPU, or resident in this process; 0 if the system has no figure."""
    if device.startswith('cuda'):
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == 'linux': # getrusage would include the peak of the process that started this one
        with open('/proc/self/status', encoding='utf-8') as file:
            return 1024 * next((int(line.split()[1]) for line in file if line.startswith('VmHWM:')), 0)
    try:
        import resource
    except ImportError: # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)
