"""
How gradients become new weights: Muon for matrices, AdamW for the rest, and the learning rate over time.

    python bench.py    # prints what an update costs, and how much of it is the optimizers
"""
import math

import torch


def orthogonalize(matrices, steps=5):
    """
    The nearest matrices whose singular values are all about 1 (0.7 to 1.2), by quintic Newton-Schulz steps.

    matrices: (N, rows, columns), each done by itself; returns the same shape and dtype. Muon: Jordan et al.
    2024, https://kellerjordan.github.io/posts/muon/, with its coefficients.
    """
    tall = matrices.size(1) > matrices.size(2)
    x = matrices.mT if tall else matrices # the products below are as small as the shorter side
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7) # no singular value above 1
    for _ in range(steps):
        a = x @ x.mT
        b = torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, b, x, beta=3.4445)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """
    Momentum whose update turns every direction of a matrix by the same amount; the source: see orthogonalize.

    blocks: for each parameter the row counts of the matrices stacked in it (three for queries, keys, values)
    ns_dtype: bfloat16 is enough and fast; float32 where runs must agree to rounding
    found_inf: as torch's fused AdamW has it, float32 (), 1 where the update is to be skipped
    """
    found_inf = None

    def __init__(self, params, blocks, lr, momentum=0.95, weight_decay=0.0, ns_dtype=torch.bfloat16):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))
        self.blocks, self.ns_dtype = blocks, ns_dtype

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            by_shape = {} # matrices of one shape are one stack, for few and large operations
            for p, rows in zip(group['params'], self.blocks, strict=True):
                if p.grad is None: # it is not trained
                    continue
                for weight, gradient in zip(p.split(rows), p.grad.split(rows), strict=True):
                    weights, gradients = by_shape.setdefault(tuple(weight.shape), ([], []))
                    weights.append(weight)
                    gradients.append(gradient)
            memory = self.state[group['params'][0]]
            for shape, (weights, gradients) in by_shape.items():
                self.update(group, memory, shape, weights, torch.stack(gradients))

    def update(self, group, memory, shape, weights, gradient):
        """Change weights, a list of N matrices of one shape, by their gradient (N, rows, columns)."""
        name = memory_name(len(weights), *shape)
        if name not in memory:
            memory[name] = torch.zeros_like(gradient)
        average = memory[name]
        good = 1.0 if self.found_inf is None else 1 - self.found_inf
        if self.found_inf is not None: # the average is drawn to itself, and so stays as it was
            gradient = torch.where(self.found_inf > 0, average, gradient)
        average.lerp_(gradient, 1 - group['momentum'])
        ahead = gradient.lerp_(average, group['momentum']) # Nesterov
        size = max(1, shape[0] / shape[1]) ** 0.5
        updates = orthogonalize(ahead.to(self.ns_dtype)) * (-group['lr'] * size * good)
        for weight, update in zip(weights, updates, strict=True):
            weight.mul_(1 - group['lr'] * group['weight_decay'] * good).add_(update)


def memory_name(count, rows, columns):
    return f'momentum of {count} matrices {rows} x {columns}'


def make_optimizers(model, kind, learning_rate, muon_learning_rate, weight_decay, betas, ns_dtype):
    """
    A list of optimizers that together hold each parameter once. kind: 'muon' or 'adamw'.

    Each group remembers its highest learning rate as 'peak_lr'. Norms and biases are never decayed.
    """
    groups = {name: list(members.values()) for name, members in model.parameter_groups().items()}
    tables = groups['embedding'] + groups['head']
    optimizers = []
    if kind == 'muon':
        blocks = [model.stacked_rows(name) for name in model.parameter_groups()['matrix']]
        optimizers.append(Muon(groups['matrix'], blocks, muon_learning_rate, weight_decay=weight_decay,
                               ns_dtype=ns_dtype))
        rest = [{'params': tables + groups['vector'], 'weight_decay': 0.0}]
    else:
        rest = [{'params': groups['matrix'] + tables, 'weight_decay': weight_decay},
                {'params': groups['vector'], 'weight_decay': 0.0}]
    optimizers.append(torch.optim.AdamW(rest, lr=learning_rate, betas=betas, fused=True))
    for group in all_groups(optimizers):
        group['peak_lr'] = group['lr']
    return optimizers


def all_groups(optimizers):
    return [group for each in optimizers for group in each.param_groups]


def restore(optimizers, states, path='checkpoint'):
    """
    Load the memory of a checkpoint's optimizers; rates, decay and betas stay as they are set now.

    path: what messages call it. SystemExit when the memory is that of other optimizers or another model.
    """
    if len(states) != len(optimizers):
        raise SystemExit(f'{path}: was trained with another --optimizer; use the same, or start from '
                         f'its weights with --init_from={path} --out_dir=ANOTHER')
    for each, state in zip(optimizers, states, strict=True):
        wanted = [{k: v for k, v in group.items() if k != 'params'} for group in each.param_groups]
        try:
            each.load_state_dict(state)
            fits = all(remembers(each, p, memory) for p, memory in each.state.items())
        except Exception as error: # what is not of ours can raise nearly anything
            raise SystemExit(f'{path}: its optimizers do not fit this model ({type(error).__name__}); '
                             f'start from its weights with --init_from={path} --out_dir=ANOTHER') from None
        if not fits:
            raise SystemExit(f'{path}: its optimizers remember another model; start from its weights with '
                             f'--init_from={path} --out_dir=ANOTHER')
        for group, values in zip(each.param_groups, wanted, strict=True):
            group.update(values)


def remembers(optimizer, p, memory):
    """Whether this is what an optimizer would remember of a parameter; fused kernels do not look."""
    if isinstance(optimizer, Muon):
        return all(name == memory_name(*t.shape) and t.dtype == p.dtype for name, t in memory.items())
    found = {name: (t.shape, t.dtype) for name, t in memory.items()}
    like = p.shape, p.dtype
    return found == {'step': (torch.Size(), torch.float32), 'exp_avg': like, 'exp_avg_sq': like}


def set_rates(optimizers, share, iter_num, muon_momentum):
    """Set what changes from update to update: each group's rate, and how long Muon's memory is."""
    for group in all_groups(optimizers):
        group['lr'] = group['peak_lr'] * share
        if 'momentum' in group:
            group['momentum'] = momentum_at(iter_num, muon_momentum)


def momentum_at(iter_num, final):
    """Muon's memory of the gradient, which grows for 300 updates: what the first ones saw is soon wrong."""
    return min(final, 0.85) + max(0.0, final - 0.85) * min(1.0, iter_num / 300)


def lr_share(iter_num, progress, warmup_iters=0, decay_iters=0, decay_fraction=1.0, schedule='linear',
             floor=0.0):
    """
    The share of its highest learning rate that each group gets at update iter_num (0 is the first), 0..1.

    progress: how much of the run is over, 0..1: iter_num / decay_iters, or more by the clock
    floor: where the fall ends; 1 means that there is none
    """
    if iter_num < warmup_iters:
        return (iter_num + 1) / (warmup_iters + 1)
    start = max(1 - decay_fraction, warmup_iters / decay_iters if decay_iters else 0.0)
    done = min(1.0, max(0.0, (progress - start) / (1 - start)))
    shape = 1 - done if schedule == 'linear' else 0.5 * (1 + math.cos(math.pi * done))
    return floor + (1 - floor) * shape
