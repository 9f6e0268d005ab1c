"""One update, the loop around it, and an evaluation, each against another way to the same number."""
import itertools
import math
import os
import signal
from functools import partial
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY, in_child, random_tokens, read

import train
from configurator import configure
from data import bins
from lib.checkpoint import build
from lib.device import Machine
from lib.optim import make_optimizers
from lib.plan import choose_config, make_plan
from lib.recorder import Recorder
from lib.signals import StopSignals
from model import GPT, GPTConfig
from train import dropout_seed, evaluate, train_step

SHAPE = dict(vocab_size=13, block_size=16, n_layer=2, n_head=2, n_embd=32)
NO_CAST = torch.autocast('cpu', enabled=False)


def batch_of(count, seed=0):
    idx = random_tokens(count, 17, vocab_size=13, seed=seed)
    return idx[:, :-1], idx[:, 1:]


def model_and_optimizers(kind='muon', **more):
    torch.manual_seed(0)
    model = GPT(GPTConfig(**SHAPE | more))
    return model, make_optimizers(model, kind, 3e-3, 0.02, 0.1, (0.9, 0.95))


@pytest.mark.parametrize('kind', ['muon', 'adamw'])
def test_four_micro_batches_of_one_equal_one_of_four(kind):
    x, y = batch_of(4)
    whole, parts = model_and_optimizers(kind), model_and_optimizers(kind)
    for _ in range(3):
        a = train_step(*whole, [(x, y)], NO_CAST, grad_clip=1.0)
        b = train_step(*parts, [*zip(x.split(1), y.split(1), strict=True)], NO_CAST, grad_clip=1.0)
        assert torch.allclose(a, b, atol=1e-5)
    for p, q in zip(whole[0].parameters(), parts[0].parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-5)


def test_the_gradient_norm_is_reported_before_clipping_and_clipped_to_its_maximum():
    model, _ = model_and_optimizers()
    sgd = [torch.optim.SGD(model.parameters(), lr=1.0, fused=True)] # whose step is the gradient itself
    before = [p.detach().clone() for p in model.parameters()]
    model(*batch_of(4)).backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()
    model.zero_grad()
    _, norm, applied = train_step(model, sgd, [batch_of(4)], NO_CAST, grad_clip=expected / 3).tolist()
    moved = [(p - q).flatten() for p, q in zip(model.parameters(), before, strict=True)]
    assert applied and math.isclose(norm, expected, rel_tol=1e-4)
    assert math.isclose(torch.cat(moved).norm().item(), expected / 3, rel_tol=1e-3)


@pytest.mark.parametrize('grad_clip, kind', [(0.0, 'muon'), (1.0, 'adamw')])
@pytest.mark.parametrize('what', ['loss', 'gradient'])
def test_a_non_finite_loss_or_gradient_reaches_neither_weights_nor_optimizer_state(grad_clip, kind, what):
    model, optimizers = model_and_optimizers(kind)
    twin, twin_optimizers = model_and_optimizers(kind)
    for each in (model, optimizers), (twin, twin_optimizers):
        train_step(*each, [batch_of(4)], NO_CAST, grad_clip=grad_clip)
    factor = torch.tensor(math.inf)
    hook = model.lm_head.register_forward_hook(lambda module, x, y: y * factor) if what == 'loss' \
        else model.lm_head.weight.register_hook(lambda gradient: gradient * factor)
    loss, norm, applied = train_step(model, optimizers, [batch_of(4)], NO_CAST, grad_clip=grad_clip).tolist()
    hook.remove()
    assert not applied and not math.isfinite(norm) and math.isfinite(loss) == (what == 'gradient')
    assert all(p.grad is None for p in model.parameters()) # nor does it wait for the next update
    for each in (model, optimizers), (twin, twin_optimizers): # the next one shows the optimizer state, too
        assert train_step(*each, [batch_of(4, seed=1)], NO_CAST, grad_clip=grad_clip)[2]
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True))


def test_each_micro_batch_of_each_update_and_process_has_its_own_seed_for_dropout():
    places = list(itertools.product((0, 1), (0, 1, 10), (0, 1, 10), (0, 1))) # seed, iter, micro-step, rank
    seeds = [dropout_seed(*place) for place in places]
    assert len(set(seeds)) == len(places) and all(0 <= seed < 2 ** 63 for seed in seeds)


class LaterRankWithGPU(Machine):
    """A machine whose loop runs as on a GPU, on the CPU, without CUDA graphs; it writes nothing."""
    on_gpu, is_master = True, False


def make_run(dataset, *flags):
    """What main() of train.py makes of flags: (settings, plan, run)."""
    words = [f'--dataset={dataset}', *TINY, *flags]
    s = configure(vars(train) | {'__name__': 'train'}, words, train.derive_settings).settings
    meta = bins.load_meta(dataset)
    shape = choose_config({}, '', s, frozenset(), frozenset(), meta)
    with mock.patch('lib.device.capture_cuda_graphs'):
        machine = LaterRankWithGPU('cpu', 'float32', False)
        run = train.build_run(s, shape, machine, dataset, meta, {}, '', False)
    return s, make_plan(s, frozenset(), shape, meta), run


def test_the_loop_reads_the_results_of_an_update_after_the_next_one_is_queued(dataset, monkeypatch):
    s, plan, run = make_run(dataset, '--max_iters=9', '--log_interval=0')
    signals, real, queued = SimpleNamespace(received=[]), train.train_step, []

    def queued_step(*args):
        """Results that a GPU has not finished before the next update is queued; the fourth ends the loop."""
        stats, number = real(*args), len(queued)

        def read():
            assert len(queued) > number + 1 or signals.received, 'reads the newest update'
            return stats.numpy().tolist()

        queued.append(SimpleNamespace(is_cuda=False, tolist=read)) # so that no CUDA event is needed
        signals.received += ['SIGINT'] * (number == 3) # after it, everything may be read
        return queued[-1]

    monkeypatch.setattr(train, 'train_step', queued_step)
    assert train.train(run, plan, Recorder(run, plan, 'none', s, run.meta), s, signals) == 'SIGINT'
    assert run.state.n_losses == run.state.iter_num == 4


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_second_signal_ends_the_process_and_an_ignored_one_stays_ignored(stop_signal):
    def receive(times, ignored=False):
        if ignored: # as nohup does with SIGHUP
            signal.signal(stop_signal, signal.SIG_IGN)
        signals = StopSignals()
        for _ in range(times):
            signal.raise_signal(stop_signal)
        assert signals.received == ([] if ignored else [signal.Signals(stop_signal).name])

    ends = [in_child(partial(receive, *arguments)) for arguments in ((1,), (2,), (2, True))]
    assert ends == [0, -stop_signal, 0]


def test_every_rank_knows_that_there_was_a_progress_line_and_finds_a_weight_that_is_not_finite(dataset):
    s, plan, run = make_run(dataset)
    Recorder(run, plan, 'none', s, run.meta).progress(1e-3)
    assert run.clock.laps == 1 # else the ranks would read the results of different updates, and wait for ever
    assert run.is_finite() and run.raw_model.training
    # of a token that the window of the check does not have
    unused = min(set(range(run.config.vocab_size)) - set(run.val_tokens[:33].tolist()))
    run.raw_model.transformer.wte.weight.data[unused, 0] = math.nan
    assert not run.is_finite()


@pytest.mark.parametrize('batch_size', [1, 3, 4, 50, 1000])
def test_an_evaluation_is_the_mean_over_the_windows_summed_in_float64(dataset, trained, batch_size):
    total = 0.0
    tokens = bins.open_bin(dataset, 'val', bins.load_meta(dataset))
    starts = bins.val_windows(len(tokens), 32)
    model = build(read(os.path.join(trained, 'ckpt.pt')))
    loss = evaluate(model, tokens, starts, 32, batch_size, NO_CAST, 'cpu')
    assert model.training # as it goes on
    with torch.no_grad():
        for i in range(0, len(starts), batch_size):
            chosen = starts[i:i + batch_size]
            x, y = bins.get_batch(tokens, np.resize(chosen, batch_size), 32)
            y[len(chosen):] = -1
            total += model.eval()(x, y).item() * len(chosen)
        # one window after the other
        windows = [torch.tensor(tokens[start:start + 33].astype('int64')) for start in starts]
        naive = [F.cross_entropy(model.eval()(w[None, :-1])[0], w[1:]).item() for w in windows]
    assert len(windows) * 32 > len(tokens) - 33 # all of val but a tail
    assert abs(loss - sum(naive) / len(naive)) < 1e-6 and loss == total / len(starts) # bit for bit


def test_a_rank_without_any_window_adds_nothing(monkeypatch):
    sums = []
    monkeypatch.setattr(train, 'sum_over_ranks', lambda numbers, device: sums.append(numbers) or [1.0, 1.0])
    model, _ = model_and_optimizers()
    evaluate(model, np.zeros(40, np.uint16), np.array([0]), 16, 4, NO_CAST, 'cpu', rank=1, world_size=2)
    assert sums == [[0.0, 0]]
