"""
Optimizers: Muon for matrices, AdamW for the rest, and the learning rate schedule.

    python bench.py    # prints what an update costs, and how much of it the optimizers take
"""
import math

import torch

from lib.recipe import choose_optimizer

DECAYS = { # learning rate decay: fraction of the decay phase that is over, 0..1 -> multiplier, from 1 to 0
    'linear': lambda t: 1 - t,
    'cosine': lambda t: 0.5 * (1 + math.cos(math.pi * t)),
}


def orthogonalize(matrices, dtype=torch.float32, steps=5):
    """
    The nearest matrices with all singular values about 1 (0.7 to 1.2), by quintic Newton-Schulz iterations.

    matrices: float32 (N, rows, columns), each by itself; returns the same shape in dtype, that of the
    iterations. Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/, with its coefficients.
    """
    tall = matrices.size(1) > matrices.size(2)
    x = matrices.mT if tall else matrices # so that the products below have the size of the shorter side
    # no singular value above 1; in float32, as small gradients would be 0 in float16
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(dtype)
    for _ in range(steps):
        a = x @ x.mT
        b = torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, b, x, beta=3.4445)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """
    Nesterov momentum whose update is orthogonalized, for each matrix by itself; source: see orthogonalize.

    params: parameter groups; 'split_sizes' of a group lists for each of its parameters the row counts of the
        matrices fused in it, such as query, key and value
    ns_dtype: of the Newton-Schulz iterations; 16 bits are accurate enough, float32 for exact comparisons
    found_inf: float32 (), as in torch's fused AdamW: 1 skips the update, without a CPU-GPU synchronization
    """
    found_inf = None

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0, ns_dtype=torch.bfloat16):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))
        self.ns_dtype = ns_dtype

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            by_shape = {} # matrices of one shape are batched, for few and large operations
            used = [i for i, p in enumerate(group['params']) if p.grad is not None] # others are frozen
            parameters = [group['params'][i] for i in used]
            updates = self.nesterov_updates(parameters, group['momentum']) if used else []
            for i, p, update in zip(used, parameters, updates, strict=True):
                sizes = group['split_sizes'][i]
                for weight, part in zip(p.split(sizes), update.split(sizes), strict=True):
                    weights, parts = by_shape.setdefault(tuple(weight.shape), ([], []))
                    weights.append(weight)
                    parts.append(part)
            applied = 1.0 if self.found_inf is None else 1 - self.found_inf
            decay = 1 - group['lr'] * group['weight_decay'] * applied
            for (rows, columns), (weights, parts) in by_shape.items():
                scale = max(1, rows / columns) ** 0.5
                change = orthogonalize(torch.stack(parts), self.ns_dtype)
                change *= -group['lr'] * scale * applied
                torch._foreach_mul_(weights, decay) # on a GPU one kernel for all matrices
                torch._foreach_add_(weights, list(change.to(weights[0].dtype).unbind()))

    def nesterov_updates(self, parameters, momentum):
        """Advance the momentum buffers of parameters; returns the updates before orthogonalization."""
        for p in parameters:
            if 'momentum_buffer' not in self.state[p]:
                self.state[p]['momentum_buffer'] = torch.zeros_like(p)
        buffers = [self.state[p]['momentum_buffer'] for p in parameters]
        # a skipped update averages the buffer with itself, so it is unchanged
        skipped = torch.tensor(False) if self.found_inf is None else self.found_inf > 0
        updates = [torch.where(skipped, self.state[p]['momentum_buffer'], p.grad) for p in parameters]
        torch._foreach_lerp_(buffers, updates, 1 - momentum)
        torch._foreach_lerp_(updates, buffers, momentum)
        return updates


def parameter_groups(model):
    """{kind: {name: parameter}} of a GPT, for the kinds that are optimized differently."""
    groups = {'matrix': {}, 'embedding': {}, 'head': {}, 'vector': {}}
    for name, p in model.named_parameters(): # lists a tied weight once, as transformer.wte
        if p.dim() < 2:
            kind = 'vector'
        elif name.startswith('transformer.h.'):
            kind = 'matrix'
        else:
            kind = 'head' if name.startswith('lm_head') else 'embedding'
        groups[kind][name] = p
    return groups


def fused_split_sizes(model, name):
    """Row counts of the matrices fused in a parameter, as its module declares them; [rows] if it is one."""
    module = model.get_submodule(name.rpartition('.')[0])
    return getattr(module, 'split_sizes', [model.get_parameter(name).size(0)])


def make_optimizers(model, name, learning_rate, muon_learning_rate, weight_decay, betas, dtype='float32'):
    """
    A list of optimizers that together hold each parameter once.

    name: 'muon', 'adamw' or 'auto'; dtype: the name of the dtype of matrix products, which Muon uses, too
    Each group has its maximum learning rate as 'peak_lr'. Norms and biases have no weight decay.
    """
    by_kind = parameter_groups(model)
    groups = {kind: list(members.values()) for kind, members in by_kind.items()}
    embeddings = groups['embedding'] + groups['head']
    optimizers = []
    if choose_optimizer(name, model.config.arch) == 'muon':
        matrices = {'params': groups['matrix'],
                    'split_sizes': [fused_split_sizes(model, name) for name in by_kind['matrix']]}
        optimizers.append(Muon([matrices], muon_learning_rate, weight_decay=weight_decay,
                               ns_dtype=getattr(torch, dtype)))
        rest = [{'params': embeddings + groups['vector'], 'weight_decay': 0.0}]
    else:
        rest = [{'params': groups['matrix'] + embeddings, 'weight_decay': weight_decay},
                {'params': groups['vector'], 'weight_decay': 0.0}]
    optimizers.append(torch.optim.AdamW(rest, lr=learning_rate, betas=betas, fused=True))
    for group in all_groups(optimizers):
        group['peak_lr'] = group['lr']
    return optimizers


def all_groups(optimizers):
    return [group for optimizer in optimizers for group in optimizer.param_groups]


# ---- optimizer state from a checkpoint ----

def restore(optimizers, states, path='checkpoint'):
    """
    Load the optimizer state of a checkpoint; learning rates, weight decay and betas stay as they are set now.

    path: the name for messages. SystemExit when the state is that of other optimizers or of another model.
    """
    advice = f'start a new run from its weights with --init_from={path} --out_dir=ANOTHER'
    if len(states) != len(optimizers):
        raise SystemExit(f'{path}: expected the state of the same --optimizer, got that of another; use the '
                         f'same, or {advice}')
    for optimizer, state in zip(optimizers, states, strict=True):
        values_now = [{k: v for k, v in group.items() if k != 'params'} for group in optimizer.param_groups]
        try:
            if isinstance(optimizer, Muon):
                state = upgrade_muon_state(optimizer, state)
            matches = state_matches(optimizer, state)
            optimizer.load_state_dict(state)
        except Exception as error: # a damaged or foreign state can raise nearly anything
            raise SystemExit(f'{path}: its optimizer state does not match the model '
                             f'({type(error).__name__}); {advice}') from None
        if not matches:
            raise SystemExit(f'{path}: its optimizer state does not match the model; {advice}')
        for group, values in zip(optimizer.param_groups, values_now, strict=True):
            group.update(values)


def state_matches(optimizer, state):
    """
    Whether each tensor of a state dict has the name, shape and dtype that its parameter requires.

    load_state_dict converts other dtypes without a word, and fused kernels do not check shapes.
    """
    parameters = [p for group in optimizer.param_groups for p in group['params']]
    indices = [i for group in state['param_groups'] for i in group['params']]
    by_index = dict(zip(indices, parameters, strict=True))
    for i, found in state['state'].items():
        like = by_index[i].shape, by_index[i].dtype
        expected = {'momentum_buffer': like} if isinstance(optimizer, Muon) else \
            {'step': (torch.Size(), torch.float32), 'exp_avg': like, 'exp_avg_sq': like}
        if {name: (t.shape, t.dtype) for name, t in found.items()} != expected:
            return False
    return True


def upgrade_muon_state(optimizer, state):
    """Format 1 of checkpoints kept the momentum of all matrices of one shape, stacked, with parameter 0."""
    stacks = {name: t for name, t in state['state'].get(0, {}).items() if name.startswith('momentum of ')}
    if not stacks:
        return state
    unused = {tuple(t.shape[1:]): list(t) for t in stacks.values()} # a list of matrices by their shape
    buffers = {}
    group, = optimizer.param_groups
    for i, (p, split_sizes) in enumerate(zip(group['params'], group['split_sizes'], strict=True)):
        parts = [unused[rows, p.size(1)].pop(0) for rows in split_sizes]
        buffers[i] = {'momentum_buffer': torch.cat(parts)}
    assert not any(unused.values()), 'more matrices in the checkpoint than in the model'
    return {'state': buffers, 'param_groups': [{**group, 'params': state['param_groups'][0]['params']}]}


# ---- learning rate ----

def set_lr_and_momentum(optimizers, multiplier, iter_num, muon_momentum):
    """Set what changes with iter_num: each group's learning rate, and Muon's momentum."""
    for group in all_groups(optimizers):
        group['lr'] = group['peak_lr'] * multiplier
        if 'momentum' in group:
            group['momentum'] = momentum_at(iter_num, muon_momentum)


def momentum_at(iter_num, final):
    """Muon's momentum: it rises for 300 updates, because early gradients are soon out of date."""
    return min(final, 0.85) + max(0.0, final - 0.85) * min(1.0, iter_num / 300)


def lr_multiplier(iter_num, progress, warmup_iters=0, decay_iters=0, decay_fraction=1.0, schedule='linear',
                  floor=0.0):
    """
    The learning rate of update iter_num (0 is the first) as a fraction of its maximum, 0..1.

    progress: fraction of the run that is over, 0..1: iter_num / decay_iters, or more by the clock
    schedule: a name in DECAYS; floor: where the decay ends; 1 for a constant learning rate
    """
    if iter_num < warmup_iters:
        return (iter_num + 1) / (warmup_iters + 1)
    start = max(1 - decay_fraction, warmup_iters / decay_iters if decay_iters else 0.0)
    t = min(1.0, max(0.0, (progress - start) / (1 - start)))
    return floor + (1 - floor) * DECAYS[schedule](t)
