"""
Linear layers for inference: int8 weight-only quantization, and float32 products of few rows on a CPU.
Decoding is limited by reading the weights: int8 has half the bytes of bfloat16, and all threads must read.

    python sample.py --out_dir=out-tinystories --quantize=int8
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

FEW_ROWS = 4 # up to these, a float32 product is limited by reading the weights


class Int8Linear(nn.Module):
    """
    A linear layer with int8 weights and one scale per output row, multiplied in bfloat16.

    weight: int8 (N, K); scale: bfloat16 (N,); weight * scale is within half a scale of the original weight
    """

    def __init__(self, linear):
        super().__init__()
        w = linear.weight.detach().float()
        # rounded to bfloat16 before dividing by it, so that the weights compensate for the rounding
        scale = (w.abs().amax(dim=1) / 127).clamp(min=1e-12).to(torch.bfloat16)
        self.register_buffer('weight', (w / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8))
        self.register_buffer('scale', scale)
        self.register_buffer('bias', None if linear.bias is None else linear.bias.detach())

    def forward(self, x):
        """x bfloat16 (..., K) -> (..., N)."""
        if x.device.type == 'cpu' and x.size(-1) % 16 == 0: # torch's kernel reads 16 at a time, past the end
            y = torch._weight_int8pack_mm(x.reshape(-1, x.size(-1)), self.weight, self.scale)
            y = y.view(*x.shape[:-1], -1)
        else: # torch.compile fuses this into one kernel that reads the int8 weights
            y = F.linear(x, self.weight.to(x.dtype)) * self.scale
        return y if self.bias is None else y + self.bias


class SplitLinear(nn.Module):
    """
    A linear layer that gives each thread of a CPU its share of the rows of weight, (N, K).

    F.linear and torch.mv read all of them in one thread if x is a single float32 row.
    """

    def __init__(self, linear):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias # a tied weight stays tied

    def forward(self, x):
        """x (..., K) -> (..., N)."""
        M = x.numel() // x.size(-1) # rows
        if M > FEW_ROWS or torch.compiler.is_compiling():
            return F.linear(x, self.weight, self.bias)
        N, K = self.weight.shape
        threads = torch.get_num_threads()
        even = N - N % threads
        columns = x.reshape(M, K).t() # (K, M)
        y = torch.bmm(self.weight[:even].view(threads, -1, K), columns.expand(threads, K, M)).view(even, M)
        if even < N:
            y = torch.cat((y, self.weight[even:] @ columns)) # (N, M)
        y = y.t().reshape(*x.shape[:-1], N)
        return y if self.bias is None else y + self.bias


def replace_linear_layers(model, layer):
    """Replace each nn.Linear of a model by layer(nn.Linear), in place."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, layer(child))


def quantize(model):
    """Replace all linear layers of a float32 GPT by Int8Linear and convert the rest to bfloat16, in place."""
    replace_linear_layers(model, Int8Linear)
    # after quantizing, since weights rounded to bfloat16 would give other int8 values
    return model.to(torch.bfloat16).requires_grad_(False)


def prepare_for_inference(model, dtype, device):
    """A float32 GPT in eval mode on device, with weights of dtype: 'int8', or the name of a torch dtype."""
    if dtype == 'float32' and torch.device(device).type == 'cpu':
        replace_linear_layers(model, SplitLinear)
    model = quantize(model) if dtype == 'int8' else model.to(getattr(torch, dtype))
    return model.eval().to(device)
