"""train.py from its settings to its last line, on a tiny text."""
import math
import re
import shutil

import pytest
import torch
from conftest import REPO, TINY, files, log_of, mistake, prepared, process, read, run, same

from data import bins
from data.tinystories.stories import stories
from model import GPT, GPTConfig
from train import config, problems

BRIEF = '--eval_tokens=256',


CHANGES = [ # (file, what is there, what one writes instead): an activation, a learned norm gain, a decay
    ('model.py', "ACTIVATIONS = {", "ACTIVATIONS = {'relu_squared': lambda x: F.relu(x) ** 2, "),
    ('model.py', "    rope_theta: float", "    norm_gain: bool = False\n    rope_theta: float"),
    ('model.py', "elementwise_affine=False)\n\n\ndef", "elementwise_affine=config.norm_gain)\n\n\ndef"),
    ('train.py', "rope_theta = ", "norm_gain = False # learned gains of the norms\nrope_theta = "),
    ('lib/optim.py', "DECAYS = {", "DECAYS = {'1-sqrt': lambda t: 1 - t ** 0.5,")]


def test_a_new_activation_hyperparameter_and_decay_need_these_lines_and_take_effect(dataset, tmp_path):
    copy = tmp_path / 'copy'
    shutil.copytree(REPO, copy, ignore=shutil.ignore_patterns('.*', '*.bin', 'tests', 'docs', 'out-*'))
    for name, before, after in CHANGES:
        text = (copy / name).read_text(encoding='utf-8')
        assert text.count(before) == 1, (name, before)
        (copy / name).write_text(text.replace(before, after), encoding='utf-8')
    words = (f'--dataset={dataset}', *TINY, '--max_iters=4', '--warmup_iters=0', '--decay_fraction=1',
             '--out_dir=out', '--activation=relu_squared', '--norm_gain', '--schedule=1-sqrt', *BRIEF)
    result = process(copy / 'train.py', *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    checkpoint, vocab_size = read(tmp_path / 'out' / 'ckpt.pt'), bins.load_meta(dataset)['vocab_size']
    expected = 2 * vocab_size * 32 + 2 * (4 + 2 * 4) * 32 * 32 + (2 * 2 + 2) * 32 # no gate; gains
    assert sum(w.numel() for w in checkpoint['model'].values()) == expected
    assert f'{expected:,} parameters' in result.stdout and checkpoint['model_config']['norm_gain'] is True
    assert not torch.equal(checkpoint['model']['transformer.h.0.ln_2.weight'], torch.ones(32)) # learned
    lr = [record['lr'] for record in log_of(tmp_path / 'out')]
    assert all(math.isclose(lr[i], 0.01 * (1 - (i / 4) ** 0.5), abs_tol=1e-9) for i in range(4))
    (muon,), rows = checkpoint['optimizers'][0]['param_groups'], 4 * 32
    assert muon['split_sizes'].count([rows]) == 2 # Muon orthogonalizes c_fc as one matrix
    lacking = {name: value for name, value in config.settings.items() if name != 'rope_theta'}
    wrong, = problems(lacking)
    assert wrong == 'GPTConfig has rope_theta, which is no setting; add it to the settings of train.py'


def test_a_flag_wins_over_a_config_file_a_checkpoint_a_derived_value_and_a_default(train, tmp_path):
    train('--max_iters=1', '--arch=gpt2', '--dropout=0', *BRIEF)
    (tmp_path / 'c.py').write_text('weight_decay = 0.3\nbeta2 = 0.8\ndropout = 0.1\n', encoding='utf-8')
    words = [flag for flag in TINY if not flag.startswith(('--n_', '--block_size'))]
    result = run('train.py', '--beta2=0.7', 'c.py', *words, '--out_dir=out', '--init_from=resume',
                 '--max_iters=2', '--arch=gpt2', *BRIEF, cwd=tmp_path)
    assert result.status == 0, result.message
    checkpoint = read(tmp_path / 'out' / 'ckpt.pt')
    used, shape = checkpoint['settings'], checkpoint['model_config']
    assert (used['beta2'], used['weight_decay'], shape['dropout']) == (0.7, 0.3, 0.1) # typed, file, file
    assert (shape['n_layer'], shape['block_size']) == (2, 32) != (config.settings['n_layer'], 256)
    assert (used['learning_rate'], config.settings['learning_rate']) == (0.001, 0.01) # derived from arch
    assert 'n_layer was' not in result.out # it has not changed


@pytest.mark.parametrize('flags, expected', [
    ('--vocab_size=-1', 'vocab_size must not be negative'), ('--optimizer=sgd', "got 'sgd'"),
    ('--warmup_iters=5 --lr_decay_iters=5', 'warmup_iters must be less than lr_decay_iters = 5, got 5'),
    ('--gradient_accumulation_steps=0', 'gradient_accumulation_steps must be at least 1, got 0'),
    ('--n_head=3', 'n_embd must be a multiple of n_head = 3, got 32; nearest: 30 or 33'),
    ('--eval_interval=-1', 'eval_interval must not be negative'), ('--beta1=1', 'beta1 must be below 1'),
    ('--learning_rate=-1', 'learning_rate must not be negative'), ('--max_bad_steps=0', 'must be at least 1'),
    ('--decay_fraction=0', 'decay_fraction must be above 0'), ('--schedule=step', "got 'step'"),
    ('--min_lr=1', 'min_lr must not be above learning_rate = 0.01'), ('--dtype=half', "got 'half'"),
    ('--batch_size=0 --block_size=0 --beta2=2', 'batch_size must .*; beta2 must .*; block_size must be from'),
    ('--vocab_size=9', 'got 24'), ('--device=tpu', "got 'tpu'"), ('--seed=1e20', '2**63'),
    ('--out_dir=file.txt', 'expected a folder, got the file'), ('--out_dir=file.txt/x', 'cannot be created')])
def test_settings_that_are_invalid_end_in_one_line_and_leave_nothing(train, tmp_path, flags, expected):
    (tmp_path / 'file.txt').write_text('mine', encoding='utf-8')
    before = files(tmp_path)
    result = train('--max_iters=3', *flags.split())
    assert expected in mistake(result) or re.search(expected, result.message), result
    assert files(tmp_path) == before


def test_a_run_in_another_folder_leaves_its_files_there_and_says_what_it_runs_on(dataset, tmp_path):
    words = [flag for flag in TINY if not flag.startswith(('--device', '--dtype', '--warmup'))]
    result = process('train.py', 'config/train_shakespeare_char.py', f'--dataset={dataset}', *words,
                     '--max_iters=1', cwd=tmp_path, before=('-W', 'error::FutureWarning'),
                     CUDA_VISIBLE_DEVICES='')
    assert result.returncode == 0 and 'Warning' not in result.stderr, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ['out-shakespeare_char']
    assert {path.name for path in (tmp_path / 'out-shakespeare_char').iterdir()} - {'.lock'} == {
        'ckpt.pt', 'best.pt', 'log.jsonl', 'loss.png', 'run.json'}
    first = result.stdout.splitlines()[0]
    assert all(part in first for part in ('| device cpu (no GPU found', '| dtype ', '| compile off ('))


@pytest.mark.parametrize('flags', ['--sample_interval=1', '--eval_interval=2 --save_interval=1'])
def test_evaluating_sampling_saving_and_logging_do_not_change_a_run(train, tmp_path, flags):
    quiet = '--dropout=0.2', '--eval_interval=0', '--max_iters=6', *BRIEF
    train(*quiet, '--out_dir=quiet')
    train(*quiet, *flags.split())
    loud, quiet = ({r['iter']: r['loss'] for r in log_of(tmp_path / out)} for out in ('out', 'quiet'))
    assert loud and all(quiet[i] == loss for i, loss in loud.items())
    assert same(read(tmp_path / 'out' / 'ckpt.pt')['model'], read(tmp_path / 'quiet' / 'ckpt.pt')['model'])


def test_a_text_for_a_checkpoint_without_a_tokenizer_is_advised_to_be_prepared_with_that_of_nanogpt(tmp_path):
    shape = {'vocab_size': 5, 'block_size': 8, 'n_layer': 1, 'n_head': 1, 'n_embd': 8}
    model = GPT(GPTConfig(arch='gpt2', **shape))
    torch.save({'model': model.state_dict(), 'model_args': shape, 'iter_num': 1}, tmp_path / 'nano.pt')
    (tmp_path / 'my.txt').write_text('abcd ' * 99, encoding='utf-8')
    result = run('train.py', '--init_from=nano.pt', '--input=my.txt', '--out_dir=out', *TINY, cwd=tmp_path)
    assert 'prepare.py --input=my.txt --tokenizer=meta.pkl' in mistake(result)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('flags, expected', [([], 2.160), (['--arch=gpt2'], 2.778),
    pytest.param(['--no-mimetic_init'], 2.167, marks=pytest.mark.slow)])
def test_the_recipe_learns_as_much_in_100_updates_as_it_did(train, tmp_path, flags, expected):
    data = prepared('\n'.join(stories(600, 1)), tmp_path / 'stories') # enough that 100 updates memorize none
    train(data, '--n_embd=64', '--block_size=64', '--batch_size=8', '--warmup_iters=20', '--max_iters=100',
          '--eval_interval=0', '--eval_tokens=20000', *flags)
    assert abs(log_of(tmp_path / 'out', 'val_loss')[-1]['val_loss'] - expected) < 0.02


def test_a_run_of_minutes_ends_by_the_clock_and_its_learning_rate_falls_until_then(train, tmp_path):
    train('--max_minutes=0.02', '--warmup_iters=0', *BRIEF)
    checkpoint = read(tmp_path / 'out' / 'ckpt.pt')
    assert 0.02 <= checkpoint['minutes'] and checkpoint['iter_num'] > 3
    assert log_of(tmp_path / 'out')[-1]['lr'] < 0.01 / 4
    assert log_of(tmp_path / 'out', 'val_loss')[-1]['iter'] == checkpoint['iter_num']


def test_a_dry_run_prints_what_the_run_would_be_eval_only_the_same_loss_with_any_seed(train, tmp_path):
    out = train('--max_iters=40', '--dry_run').out
    for words in ('| 2 layers, n_embd 32,', 'updates of 128 tokens', 'memory about ', 'MFLOPs/token',
                  'each block: mlp.c_fc.weight', 'run: 40 updates, 5,120 tokens, 0.1'):
        assert words in out
    huge = train('--dry_run', '--batch_size=1e6')
    memory = float(re.search(r'memory about ([\d,.]+) GB', huge.out)[1].replace(',', ''))
    assert huge.status == 0 and memory > 100 # estimated, not tried
    untrained = train('--eval_only')
    assert untrained.status == 0 and ' val ' in untrained.out and files(tmp_path) == {}
    train('--max_iters=2')
    (tmp_path / 'my.txt').write_text('some text ' * 100, encoding='utf-8')
    before, shown = files(tmp_path), f"| val {log_of(tmp_path / 'out', 'val_loss')[0]['val_loss']:.4f}"
    for more in ('--init_from=resume', '--seed=2'), ('--init_from=out/ckpt.pt', '--seed=3'):
        result = train('--eval_only', *more)
        assert result.out.count(shown) == result.out.count(' val ') == 1, result
    own = train('--dataset=text', '--input=my.txt', '--out_dir=own', '--dry_run')
    assert own.status == 0 and 'memory about ' in own.out and 'tokens to train on' in own.out, own
    own_text = run('train.py', '--dataset=text', '--input=my.txt', '--eval_only', cwd=tmp_path)
    assert 'got none; first run: python ' in mistake(own_text) # it prepares nothing
    assert files(tmp_path) == before


def test_a_text_shorter_than_the_context_shortens_it_and_the_same_command_resumes(train, tmp_path):
    words = prepared('a rose is a rose is a rose ' * 10, tmp_path / 'short'), '--block_size=64'
    result = train(*words, '--max_iters=1')
    tokens = bins.load_meta(words[0].partition('=')[2])['splits']['val']['tokens']
    assert f'block_size: shortened from 64 to {tokens - 1}' in result.out, result
    assert train(*words, '--max_iters=2', '--init_from=resume').status == 0
    checkpoint = read(tmp_path / 'out' / 'ckpt.pt')
    assert (checkpoint['model_config']['block_size'], checkpoint['iter_num']) == (tokens - 1, 2)


def test_bins_of_nanogpt_are_trained_on_without_a_network(train, no_network, gpt2_dataset):
    words = '--n_embd=8', '--max_iters=1', '--sample_interval=1', *BRIEF
    result = train(f'--dataset={gpt2_dataset}', *words)
    assert result.status == 0, result.message
    assert 'bits per byte' not in result.out # the bytes of its tokens are in the vocabulary
    assert 'skipping samples: gpt2 tokenizer: ' in result.out


def test_a_run_that_was_shortened_to_fit_ends_there_and_resumes_with_the_same_length(dataset, tmp_path):
    (tmp_path / 'long.py').write_text('max_iters = 200; fit_minutes = 1e-6')
    words = 'long.py', f'--dataset={dataset}', *TINY, '--eval_interval=0'
    first = run('train.py', *words, cwd=tmp_path)
    assert 'because 200 would take' in first.out and 'iter 100/100 | val' in first.out, first
    assert read(tmp_path / 'out-long' / 'ckpt.pt')['settings']['max_iters'] == 100
    again = run('train.py', *words, '--init_from=resume', cwd=tmp_path)
    assert 'already at iter 100 of 100' in again.out and ' on this machine' not in again.out
    longer = run('train.py', *words, '--init_from=resume', '--max_iters=102', cwd=tmp_path)
    assert 'iter 102/102 | val' in longer.out


@pytest.mark.parametrize('flag, said', [
    ('--max_samples=-5', 'max_samples must be from -1 to'),
    ('--sample_tokens=1e10', 'sample_tokens must be from'),
    ('--input=nosuch.txt', 'input: expected a file or folder, got nosuch.txt, which does not exist')])
def test_a_mistake_is_found_before_anything_is_written(tmp_path, flag, said):
    assert said in mistake(run('train.py', *TINY, '--out_dir=out', flag, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []
