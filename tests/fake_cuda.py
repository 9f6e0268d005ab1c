"""
A CUDA device without a GPU: fake tensors that say they are on it, and whose values are computed on the CPU.

Shapes, dtypes, the rules of autocast and where the CPU waits for the device are those of a GPU. Kernels,
their speed and rounding, and memory are not. The library of fake_cuda.cpp must be loaded before torch.
"""
import os
import sys
import threading
from contextlib import ExitStack, contextmanager
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._pytree import tree_leaves, tree_map

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
aten = torch.ops.aten
TENSOR = torch.tensor


class FakeCuda(FakeTensorMode):
    """
    Within it, tensors are fake, and each wait of the CPU for the device is recorded.

    with_values: compute values, too; without, each number that the CPU reads is 1, each bool True
    waits: [kind, frames] for each wait; see frames(). Kinds: 'read' and 'upload' for copies from and to the
        device, 'event' and 'synchronize' for calls
    launched: operations queued on the device so far
    """
    avoid_device_init = property(lambda self: True) # though torch.cuda.is_available() says yes

    def __init__(self, with_values=True):
        super().__init__()
        self.with_values, self.waits, self.launched = with_values, [], 0
        self.products = set() # dtypes of the matrix products
        self.in_flight = [] # (launched, CPU tensor) of the copies that no event has shown to be complete
        self.local = threading.local() # autograd has a thread for the device

    def dispatch(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is aten._pin_memory.default: # which fake tensors lack
            func, kwargs = aten.clone.default, {}
        if func is aten._local_scalar_dense.default:
            return self.read_number(*args)
        if func.namespace != 'aten' or getattr(self.local, 'inside', False): # a query, or a part
            return self.copied(func, args, kwargs, super().dispatch(func, types, args, kwargs))
        if func._can_decompose(): # inference mode leaves that to here
            with self:
                return func.decompose(*args, **kwargs)
        self.local.inside = True
        try:
            out = self.copied(func, args, kwargs, super().dispatch(func, types, args, kwargs))
        finally:
            self.local.inside = False
        if func in (aten.mm.default, aten.addmm.default):
            self.products.add(str(out.dtype).removeprefix('torch.'))
        self.launched += any(is_on_gpu(t) for t in tree_leaves(out))
        if self.with_values:
            on_cpu = func(*tree_map(values_of, args), **tree_map(values_of, kwargs))
            for fake, values in zip(tree_leaves(out), tree_leaves(on_cpu), strict=True):
                if isinstance(fake, torch.Tensor):
                    assert fake.shape == values.shape, func
                    fake.cpu_values = values.to(fake.dtype) # norms save statistics in float32 on a GPU alone
        return out

    def read_number(self, tensor):
        if tensor.is_cuda:
            self.wait('read')
        storage = tensor.untyped_storage()._cdata
        assert all(storage != copy.untyped_storage()._cdata for _, copy in self.in_flight), \
            f'read before the copy is known to be complete: {frames()[:1]}'
        return tensor.cpu_values.item() if self.with_values else True if tensor.dtype == torch.bool else 1

    def copied(self, func, args, kwargs, out):
        """out, after recording whether the CPU waits for a copy between the devices."""
        if func is aten.copy_.default:
            target, source, blocking = *args[:2], not (args[2:] or [kwargs.get('non_blocking')])[0]
        elif func is aten._to_copy.default:
            target, source, blocking = out, args[0], not kwargs.get('non_blocking')
        else:
            return out
        if is_on_gpu(target) != is_on_gpu(source):
            if blocking:
                self.wait('read' if is_on_gpu(source) else 'upload')
            elif is_on_gpu(source):
                self.in_flight.append((self.launched, target))
        return out

    def wait(self, kind):
        self.waits.append([kind, frames()])
        self.in_flight.clear()

    def tensor(self, data, dtype=None, device=None):
        """torch.tensor, and for an array torch.from_numpy, which would make real tensors."""
        with unset_fake_temporarily():
            values = TENSOR(data, dtype=dtype)
        fake = self.from_tensor(values)
        fake.cpu_values = values
        return fake if device is None else fake.to(device)


class Event:
    """torch.cuda.Event of a FakeCuda."""

    def __init__(self, mode):
        self.mode = mode

    def record(self):
        self.position = self.mode.launched

    def synchronize(self): # the device goes on if there is more to do; else it is idle while the CPU goes on
        mode = self.mode
        if mode.launched == self.position:
            mode.wait('event')
        mode.in_flight = [copy for copy in mode.in_flight if copy[0] > self.position]


def is_on_gpu(value):
    return isinstance(value, torch.Tensor) and value.is_cuda


def values_of(value):
    """An argument as the operation on the CPU needs it."""
    if isinstance(value, torch.device):
        return torch.device('cpu')
    return value.cpu_values if isinstance(value, FakeTensor) else value # numbers as tensors are no fakes


def frames():
    """[path, line, function] for each frame of this repository that is no test, the innermost first."""
    frame, found = sys._getframe(1), []
    while frame:
        path = os.path.relpath(frame.f_code.co_filename, REPO)
        if not path.startswith(('..', 'tests')) and 'site-packages' not in path: # a venv may be in it
            found.append([path, frame.f_lineno, frame.f_code.co_name])
        frame = frame.f_back
    return found


def move(module, where):
    """Module.to, which cannot replace fake tensors; shared weights stay shared."""
    moved = {}
    for part in module.modules():
        for group in (part._parameters, part._buffers):
            for name, old in group.items():
                if old is not None and old not in moved:
                    converts = old.is_floating_point() or not isinstance(where, torch.dtype)
                    new, trains = old.detach().to(where) if converts else old.detach(), old.requires_grad
                    moved[old] = torch.nn.Parameter(new, trains) if group is part._parameters else new
                group[name] = moved.get(old)
    return module


@contextmanager
def fake_cuda(capability=(9, 0), with_values=True):
    """Within it, 'cuda' is a device of this compute capability; gives the FakeCuda that records its waits."""
    mode = FakeCuda(with_values)
    of_cuda = {'is_available': lambda: True, 'is_initialized': lambda: True, '_lazy_init': lambda: None,
               'device_count': lambda: 1, 'current_device': lambda: 0, 'manual_seed_all': lambda seed: None,
               'get_device_name': lambda device=None: 'NVIDIA H100 80GB HBM3',
               'get_device_capability': lambda device=None: capability,
               'is_bf16_supported': lambda including_emulation=True: True, # so do GPUs that emulate it
               'synchronize': lambda device=None: mode.wait('synchronize'), 'Event': lambda: Event(mode),
               # a CUDA graph replays what the module does
               'make_graphed_callables': lambda module, sample_args, **options: module}
    of_torch = {'tensor': mode.tensor, 'from_numpy': mode.tensor}
    with ExitStack() as stack:
        for owner, functions in ((torch.cuda, of_cuda), (torch, of_torch), (torch.nn.Module, {'to': move})):
            for name, function in functions.items():
                stack.enter_context(mock.patch.object(owner, name, function))
        stack.enter_context(mode)
        yield mode
