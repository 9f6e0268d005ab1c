"""
Weights of eight bits, for writing: half the bytes of bfloat16, and reading them is what a new token costs.

    python sample.py --out_dir=out-tinystories --quantize=int8
"""
import torch
import torch.nn as nn
import torch.nn.functional as F


class Int8Linear(nn.Module):
    """
    A linear layer with whole numbers for weights and one scale for each row, multiplied in bfloat16.

    weight: int8 (N, K); scale: bfloat16 (N,); weight * scale is at most half a scale away from what it was
    """

    def __init__(self, linear):
        super().__init__()
        w = linear.weight.detach().float()
        # rounded first, so that the weights make up for it
        scale = (w.abs().amax(dim=1) / 127).clamp(min=1e-12).to(torch.bfloat16)
        self.register_buffer('weight', (w / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8))
        self.register_buffer('scale', scale)
        self.register_buffer('bias', None if linear.bias is None else linear.bias.detach())

    def forward(self, x):
        """x bfloat16 (..., K) -> (..., N)."""
        if x.device.type == 'cpu' and x.size(-1) % 16 == 0: # torch reads 16 at once, else beyond the end
            y = torch._weight_int8pack_mm(x.reshape(-1, x.size(-1)), self.weight, self.scale)
            y = y.view(*x.shape[:-1], -1)
        else: # a compiler makes one kernel of it, which reads the weights as they are
            y = F.linear(x, self.weight.to(x.dtype)) * self.scale
        return y if self.bias is None else y + self.bias


def quantize(model):
    """Make all linear layers of a GPT Int8Linear, and the rest bfloat16; in place. It can then only write."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))
    # last, so that the eight bits are those of the weights as they were
    return model.to(torch.bfloat16).requires_grad_(False)
