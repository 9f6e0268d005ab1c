"""What a run will be, from its settings alone: length, learning rate, what is due, the sizes of --depth."""
import math
from dataclasses import replace

import pytest
import torch

from lib import plan as lib_plan
from lib.checkpoint import RunState
from lib.device import Machine
from lib.plan import choose_config, clamp_block_size, fit_length, make_plan, should_fit_length
from lib.recipe import derive_settings, settings_of_depth
from model import GPT, GPTConfig
from train import config, problems

META = {'splits': {'train': {'tokens': 12801}, 'val': {'tokens': 1000}}} # 100 windows of 128, less one
SHAPE = GPTConfig(block_size=128)


def plan_of(typed=(), **settings):
    return make_plan(config.settings | settings, frozenset(typed), SHAPE, META)


def states(count, **values):
    return [RunState(iter_num=i, **values) for i in range(count)]


@pytest.mark.parametrize('settings, expected', [({}, math.ceil(10 * 99 / 16)), ({'batch_size': 1}, 990),
    ({'max_iters': 70}, 70), ({'epochs': 0.5}, 4), ({'max_iters': 70, 'epochs': 0.5}, 4),
    ({'epochs': 1e308}, 10 ** 15), ({'max_minutes': 5.0}, 0), ({'max_iters': 10 ** 18}, 10 ** 18),
    ({'epochs': 2.0}, 13), # a limit on the command line replaces those of config files
    *(({'max_iters': 5, 'max_minutes': 3.0, 'epochs': 0.5, 'typed': typed}, expected)
      for typed, expected in (([], 4), (['max_iters'], 5), (['max_minutes'], 0), (['epochs'], 4)))])
def test_the_length_of_a_run_is_its_first_limit_by_default_1000_updates_or_10_epochs(settings, expected):
    plan = plan_of(**settings)
    assert plan.max_iters == expected and plan.tokens_per_iter == 128 * settings.get('batch_size', 16)


def test_a_run_is_over_evaluations_and_saves_are_due_by_updates_minutes_and_patience():
    assert [plan_of(max_iters=3).is_over(s) for s in states(5)] == [False] * 3 + [True] * 2
    plan = plan_of(max_minutes=5.0, patience=2, save_interval=4, save_minutes=2.0)
    assert [plan.is_over(RunState(minutes=m)) for m in (0, 4.9, 5.0)] == [False, False, True]
    assert [plan.is_over(RunState(evals_since_best=n)) for n in (0, 1, 2)] == [False, False, True]
    assert [s.iter_num for s in states(10) if plan.is_save_due(s, 0)] == [4, 8]
    assert [s.iter_num for s in states(10, last_eval_iter=5) if plan.is_save_due(s, 0)] == [4, 5, 8]
    assert [plan.is_save_due(RunState(iter_num=1, minutes=m), 3) for m in (4.9, 5.0)] == [False, True]
    assert not plan_of(save_minutes=0.0).is_save_due(RunState(iter_num=1, minutes=1e6), 0)
    for interval, due in (4, [4, 8, 10]), (0, [10]), (100, [10]): # at every interval and once at the end
        plan = plan_of(max_iters=10, eval_interval=interval)
        assert [s.iter_num for s in states(11) if plan.is_eval_due(s)] == due
        assert not any(plan.is_eval_due(replace(s, last_eval_iter=s.iter_num)) for s in states(11))


@pytest.mark.parametrize('settings, expected', [
    ({'decay_fraction': 0.5}, [1/3, 2/3, 1, 1, 1, 1, .82, .64, .46, .28, .1, .1]),
    ({'decay_fraction': 1.0}, [1/3, 2/3, 1, .8875, .775, .6625, .55, .4375, .325, .2125, .1]),
    ({'decay_fraction': 1.0, 'schedule': 'cosine', 'warmup_iters': 0, 'lr_decay_iters': 4},
     [1, 0.1 + 0.45 * (1 + 0.5 ** 0.5), 0.55, 0.1 + 0.45 * (1 - 0.5 ** 0.5), .1, .1]),
    ({'decay_lr': False}, [1/3, 2/3, 1, 1, 1, 1, 1, 1, 1, 1, 1])])
def test_the_learning_rate_rises_in_the_warmup_and_falls_to_its_minimum(settings, expected):
    plan = plan_of(**{'max_iters': 10, 'warmup_iters': 2, 'learning_rate': 0.01, 'min_lr': 0.001} | settings)
    assert torch.allclose(torch.tensor([plan.lr_multiplier(s) for s in states(len(expected))]),
                          torch.tensor(expected), atol=1e-6)


def test_a_run_of_minutes_follows_the_clock_warmup_fits_a_short_run_and_the_time_left_its_first_limit(capsys):
    plan = plan_of(max_minutes=10.0, warmup_iters=0, decay_fraction=0.5)
    assert [plan.lr_multiplier(RunState(iter_num=9, minutes=m)) for m in (0, 5, 7.5, 10)] == [1, 1, 0.5, 0]
    assert plan_of(max_iters=10, warmup_iters=20).warmup_iters == 1
    assert 'warmup_iters: shortened from 20 to 1' in capsys.readouterr().out
    state = RunState(iter_num=40, minutes=100.0) # slow so far; now half a second for an update
    assert plan_of(max_iters=100).seconds_left(state, 0.5) == 30
    assert plan_of(max_iters=100, max_minutes=100.25).seconds_left(state, 0.5) == 15
    assert plan_of(max_minutes=101.0).seconds_left(state, 0.5) == 60


@pytest.mark.parametrize('val_tokens, block_size', [(8, 0), (9, 8), (10, 9), (33, 32), (1000, 32)])
def test_the_context_is_as_long_as_the_shorter_split_allows_and_at_least_8(val_tokens, block_size):
    meta = {'splits': {'train': {'tokens': 5000}, 'val': {'tokens': val_tokens}}}
    if block_size:
        assert clamp_block_size(32, meta) == block_size
    else:
        with pytest.raises(SystemExit, match=rf'val.bin: expected at least 9 tokens, got {val_tokens}'):
            clamp_block_size(32, meta)


@pytest.mark.parametrize('depth', range(2, 28))
@pytest.mark.parametrize('block_size', [64, 1024])
def test_depth_gives_a_model_and_a_run_that_fit_each_other(depth, block_size):
    s = settings_of_depth(depth, block_size, 1e-2)
    sizes = {name: s[name] for name in ('n_layer', 'n_head', 'n_embd')}
    shape = GPTConfig(vocab_size=256, block_size=block_size, **sizes)
    assert not shape.problems() and shape.head_dim in (64, 128)
    with torch.device('meta'):
        n_params = sum(p.numel() for p in GPT(shape).transformer.h.parameters())
    sequences = s['batch_size'] * s['gradient_accumulation_steps']
    tokens = s['max_iters'] * sequences * block_size
    assert sequences == 8 or 7 < tokens / n_params < 15 # 10 for each, rounded to a power of two
    assert sequences % 8 == 0 and s['batch_size'] <= 32 and s['learning_rate'] <= 1e-2


def test_a_typed_depth_replaces_the_sizes_in_a_config_file_and_one_in_a_file_does_not():
    s = {'optimizer': 'auto', 'arch': 'modern', 'depth': 3, 'block_size': 64}
    sizes = settings_of_depth(3, 64, 1e-2)
    assert derive_settings(s, {'depth'}, {'n_layer', 'n_embd', 'learning_rate'}) == sizes
    for typed, from_files in (({'depth', 'n_layer'}, set()), (set(), {'depth', 'n_layer'})):
        assert derive_settings(s, typed, from_files) == {k: v for k, v in sizes.items() if k != 'n_layer'}


@pytest.mark.parametrize('settings, given, rate', [
    ({}, set(), 0.01), ({'arch': 'gpt2'}, set(), 0.001), ({'optimizer': 'adamw'}, set(), 0.001),
    ({'arch': 'gpt2'}, {'learning_rate'}, None), ({'arch': 'gpt2', 'optimizer': 'muon'}, set(), 0.01)])
def test_the_learning_rate_is_lower_where_adamw_updates_the_matrices_unless_given(settings, given, rate):
    assert derive_settings(config.settings | settings, given, set()).get('learning_rate') == rate


@pytest.mark.parametrize('settings, world_size, message', [
    ({}, 1, ''), ({'n_head': 3}, 1, 'n_embd must'), # the shape is checked only where it is used
    ({'init_from': 'resume', 'n_head': 3}, 1, ''), ({'init_from': 'gpt2', 'n_head': 3}, 1, ''),
    *(({'gradient_accumulation_steps': steps}, n, message) for steps, n, message in (
        (5, 2, 'got 5; nearest: 4 or 6'), (1, 4, 'got 1; nearest: 4'), (40, 3, 'got 40; nearest: 39 or 42'),
        (9, 3, '')))])
def test_a_shape_or_accumulation_that_does_not_fit_is_one_sentence(settings, world_size, message):
    assert len(found := problems(config.settings | settings, world_size)) == bool(message)
    assert message in ''.join(found)


@pytest.mark.parametrize('n_tokens, vocab_size, on_cpu, on_gpu', [
    (65, 0, 65, 128), (64, 0, 64, 64), (50257, 0, 50257, 50304), (65, 70, 70, 70)])
def test_a_new_vocabulary_is_padded_on_a_gpu(n_tokens, vocab_size, on_cpu, on_gpu, capsys):
    meta = {'vocab_size': n_tokens, 'splits': {split: {'tokens': 12801, 'largest_id': n_tokens - 1}
                                               for split in ('train', 'val')}}
    s = config.settings | {'vocab_size': vocab_size}
    for is_gpu, rows in ((False, on_cpu), (True, on_gpu)):
        shape = choose_config({}, '', s, set(), set(), meta, is_gpu)
        assert shape.vocab_size == rows
        lib_plan.print_plan(s, make_plan(s, frozenset(), shape, meta), shape, 'folder', meta)
        padding = f', {rows - n_tokens} of them padding' if rows > n_tokens else ''
        assert capsys.readouterr().out.endswith(f'vocabulary of {rows:,}{padding}\n')


@pytest.mark.parametrize('settings, compiled', [({'max_iters': 20}, False), ({'max_iters': 2000}, True),
    ({'max_minutes': 5.0}, True), ({'max_iters': 20, 'gradient_accumulation_steps': 100}, True),
    ({'max_iters': 20, 'compile': 'true'}, True), ({'max_iters': 2000, 'eval_only': True}, False)])
def test_a_short_run_does_without_torch_compile_unless_it_was_asked_for(settings, compiled, capsys):
    machine = Machine('cuda', 'bfloat16', True)
    settings = config.settings | settings
    plan = make_plan(settings, frozenset(settings), SHAPE, META)
    found = lib_plan.without_short_compile(machine, settings, plan)
    assert found == replace(machine, compile=compiled)
    assert ('compile off' in capsys.readouterr().out) is not compiled
    cpu = replace(machine, compile=False)
    assert lib_plan.without_short_compile(cpu, settings, plan_of(**settings)) is cpu


@pytest.mark.parametrize('seconds, settings, iters, minutes', [
    (0.01, {}, 1900, 0.3), (0.1, {}, 1900, 3.2), (0.16, {}, 1520, 4.1), (0.2, {}, 1216, 4.1),
    (0.26, {}, 950, 4.1), (9.9, {}, 950, 156.9),
    (0.2, {'eval_interval': 1}, 950, 3.7), # 1000 tokens of val are half an update, so a sixth of its time
    (0.2, {'eval_interval': 1, 'eval_tokens': 100}, 1216, 4.1)])
def test_a_run_is_shortened_to_the_updates_that_take_fit_minutes(seconds, settings, iters, minutes, capsys):
    s = config.settings | {'max_iters': 1900, 'fit_minutes': 4.2, 'eval_interval': 250} | settings
    plan = plan_of(**s)
    assert should_fit_length(s, set(), plan, False)
    assert fit_length(s, plan, META, seconds) == s | {'max_iters': iters}
    assert f'{iters:,} updates in about {minutes} minutes' in capsys.readouterr().out
    for typed, resuming in ({'max_iters'}, False), ({'epochs'}, False), (set(), True):
        assert not should_fit_length(s, typed, plan, resuming)
    assert not should_fit_length(s | {'fit_minutes': 0.0}, set(), plan, False)
