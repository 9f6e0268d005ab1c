"""
tools/compare_nanogpt.py: what it measures, and that it says so truly. nanoGPT is not there in tests; where
its side is needed, a stand-in of the same form takes its place.
"""
import json
import os
import shutil

import pytest
import torch
import torch.nn.functional as F
from conftest import REPO, is_one_line, log_of, process, read, run

from data import bins
from data.tokenizer import from_json
from lib.checkpoint import build
from model import GPT
from tools import compare_harness, compare_worker

MODEL = dict(n_layer=1, n_head=2, n_embd=32, block_size=16, vocab_size=64, seed=1, device='cpu')
TRAINING = dict(MODEL, arch='gpt2', dtype='float32', compile=False, betas=[0.9, 0.95], learning_rate=1e-3,
                batch_size=2, warmup=1, steps=3)
# in nanoGPT's form: forward returns two things, and the optimizer decays what has two dimensions
THEIR_MODEL = '''
import torch
from torch.nn.functional import cross_entropy
from model import GPT as Ours, GPTConfig as Config

def GPTConfig(**shape):
    return Config(arch='gpt2', **shape)

class GPT(Ours):
    def init_weights(self, copying):
        super().init_weights(copying)
        self.transformer.wpe.weight.data *= 2

    def forward(self, idx, targets=None):
        logits = super().forward(idx)
        loss = None if targets is None else cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss

    def configure_optimizers(self, weight_decay, learning_rate, betas, device_type):
        parts = [{'params': [p for p in self.parameters() if DECAYED(p)], 'weight_decay': weight_decay},
                 {'params': [p for p in self.parameters() if not DECAYED(p)], 'weight_decay': 0.0}]
        return torch.optim.AdamW(parts, lr=learning_rate, betas=betas, fused=False)
'''
# draws a model and saves it, saying what nanoGPT's train.py says
THEIR_TRAIN = '''
import math
import sys
import torch
from model import GPT, GPTConfig

def get_lr(it):
    risen, done = (it + 1) / (warmup_iters + 1), (it - warmup_iters) / (lr_decay_iters - warmup_iters)
    middle, height = (learning_rate + min_lr) / 2, (learning_rate - min_lr) / 2
    return risen * learning_rate if it < warmup_iters else middle + height * math.cos(math.pi * min(1, done))

names = dict(word[2:].split('=') for word in sys.argv[1:] if word.startswith('--'))
shape = {name: int(names[name]) for name in ('n_layer', 'n_head', 'n_embd', 'block_size')}
torch.manual_seed(1337 + 0)
model = GPT(GPTConfig(vocab_size=65, **shape))
print('step 0: train loss 4.2, val loss 4.2000')
for i in range(21):
    print(f'iter {i}: loss 4.2000, time 1.00ms, mfu -100.00%')
print('step 20: train loss 4.1, val loss 4.1000')
torch.save({'model': model.state_dict(), 'model_args': {**shape, 'vocab_size': 65}, 'iter_num': 20},
           names['out_dir'] + '/ckpt.pt')
'''


@pytest.fixture
def nanogpt(tmp_path, dataset):
    """A folder in nanoGPT's form; dims: of what its optimizer decays, at least; cos: of its schedule."""
    def make(dims=2, cos='math.cos'):
        folder = tmp_path / 'nanogpt'
        data = folder / 'data' / 'shakespeare_char'
        data.mkdir(parents=True)
        # its train.py runs in this folder, so its model.py needs another name for ours
        source = THEIR_MODEL.replace('DECAYED(p)', f'p.dim() >= {dims}')
        ours = f"import sys; sys.path.append({REPO!r}); from importlib.util import *\n" \
            f"spec = spec_from_file_location('ours', {os.path.join(REPO, 'model.py')!r})\n" \
            "ours = module_from_spec(spec); sys.modules['ours'] = ours; spec.loader.exec_module(ours)\n"
        (folder / 'model.py').write_text(ours + source.replace('from model import', 'from ours import'),
                                         encoding='utf-8')
        (folder / 'train.py').write_text(THEIR_TRAIN.replace('math.cos', cos), encoding='utf-8')
        for name in 'train.bin', 'val.bin', 'meta.json':
            shutil.copy(os.path.join(dataset, name), data)
        return str(folder)
    return make


@pytest.fixture
def place(tmp_path):
    """Where measurements are noted in tmp_path/figures.jsonl."""
    def make(**settings):
        given = {'out': str(tmp_path / 'figures.jsonl'), 'runs': 2, 'rehearse': False, 'seed': 1,
                 'nanogpt': str(tmp_path), **settings}
        card = {'device': 'cpu', 'device_name': 'CPU', 'torch': torch.__version__, 'threads': 1}
        return compare_harness.Place(given, str(tmp_path), dict(os.environ), card)
    return make


# what is shown and noted

def test_the_sides_take_turns_and_every_measurement_is_noted(place, capsys):
    order, here = [], place(runs=3)
    contestants = {side: lambda run, side=side: order.append((side, run)) or {'seconds': run ** 2}
                   for side in ('ours', 'theirs')}
    found = compare_harness.in_turns(here, 'P1', contestants)
    assert order == [('ours', 1), ('theirs', 1), ('ours', 2), ('theirs', 2), ('ours', 3), ('theirs', 3)]
    assert found['ours']['seconds'] == {'median': 4, 'least': 1, 'most': 9, 'mean': 14 / 3}
    assert '4.00 (1.00 to 9.00) s' in capsys.readouterr().out
    with open(here.settings['out'], encoding='utf-8') as f:
        records = [json.loads(line) for line in f]
    assert [(r['side'], r['run'], r['figures']['seconds']) for r in records] == \
        [(side, run, run ** 2) for side, run in order]
    assert {'row', 'side', 'run', 'figures', 'torch', 'device', 'threads', 'date'} <= records[0].keys()
    assert compare_harness.noted(here, 'P1', 'theirs') == [{'seconds': 1}, {'seconds': 4}, {'seconds': 9}]


def test_a_rehearsal_is_never_taken_for_a_measurement(place):
    compare_harness.note(place(rehearse=True), 'P1', 'theirs', 1, {'seconds': 1.0})
    assert compare_harness.noted(place(), 'P1', 'theirs') == []


def test_a_figure_that_a_run_lacks_has_no_median():
    found = compare_harness.summary([{'target_s': 3.0, 'seconds': 4.0}, {'target_s': None, 'seconds': 6.0}])
    assert found.keys() == {'seconds'} and found['seconds']['median'] == 5.0
    assert 'n/a' in compare_harness.table('P7', {'ours': found, 'theirs': {'target_s': found['seconds']}})


def test_lines_are_timed_when_they_come(tmp_path):
    code = "import time; print('a'); time.sleep(0.5); print('val 3.5 saved x'); time.sleep(60)"
    lines, seconds = compare_harness.watch(['-u', '-c', code], tmp_path, dict(os.environ), until='saved')
    (first, _), (second, _) = lines
    assert 0.4 < second - first < 5 and seconds < 30
    assert compare_harness.found_in(lines, r'val (\d+\.\d+)') == [(second, 3.5)]


@pytest.mark.parametrize('code, until, said', [
    ("print('boom'); raise SystemExit(3)", None, 'status 3, its last line: boom'),
    ("print('fine')", 'never', "expected a line with 'never', its last line: fine")])
def test_a_process_that_fails_ends_the_measurement_in_one_line(tmp_path, code, until, said):
    with pytest.raises(SystemExit, match=said):
        compare_harness.watch(['-c', code], tmp_path, dict(os.environ), until)


# what is measured

def test_speed_and_size_of_ours_agree_with_each_other():
    found = compare_worker.speed({**TRAINING, 'side': 'ours'})
    assert found['tokens_per_second'] == pytest.approx(2 * 16 / (found['step_ms'] / 1e3))
    model, _ = compare_worker.ours(TRAINING)
    assert found['parameters'] == sum(p.numel() for p in model.parameters())
    assert found['peak_bytes'] > 10 ** 7 and found['mfu'] is None and found['dtype'] == 'float32'


@pytest.mark.parametrize('arch', ['gpt2', 'modern'])
def test_an_update_of_ours_learns_and_returns_the_loss_before_it(arch):
    model, update = compare_worker.ours({**TRAINING, 'arch': arch})
    x, y = torch.randint(64, (2, 2, 16)).unbind()
    before = model(x, y).item()
    assert update(x, y).item() == pytest.approx(before, abs=1e-5)
    assert model(x, y).item() < before


def test_the_score_is_the_mean_loss_of_all_windows(trained, dataset):
    path = os.path.join(trained, 'ckpt.pt')
    found = compare_worker.score({'checkpoint': path, 'data': dataset, 'device': 'cpu', 'dtype': 'float32',
                                'eval_tokens': 0})
    model, val = build(read(path)), bins.open_bin(dataset, 'val', bins.load_meta(dataset))
    n = (len(val) - 1) // 32 * 32
    x, y = (torch.tensor(val[i:i + n].astype('int64')).view(-1, 32) for i in (0, 1))
    with torch.no_grad():
        expected = F.cross_entropy(model(x).flatten(0, 1), y.flatten()).item()
    assert found == {'val_loss': pytest.approx(expected, abs=1e-5), 'context': 32,
                     'parameters': sum(p.numel() for p in model.parameters())}
    assert found['val_loss'] == pytest.approx(log_of(trained, 'val_loss')[-1]['val_loss'], abs=1e-4)


def test_the_lines_of_train_py_are_understood(trained, dataset):
    from lib.log import validation_line
    record = log_of(trained, 'val_loss')[-1]
    line = validation_line(record, 40, ['out/ckpt.pt'])
    (_, race), = compare_harness.found_in([(7.0, line)], r' val (\d+\.\d+).* saved ')
    (_, way), = compare_harness.found_in([(7.0, line)], r'\bval (?:loss )?(\d+\.\d+)')
    assert race == way == pytest.approx(record['val_loss'], abs=1e-4)


def test_text_in_other_tokens_is_the_same_text(dataset, tmp_path):
    out = str(tmp_path / 'bpe')
    compare_worker.retokenize({'data': dataset, 'out': out, 'vocab_size': 300})

    def text(folder, split):
        meta = bins.load_meta(folder)
        return from_json(meta['tokenizer']).decode(bins.open_bin(folder, split, meta).tolist())
    assert text(out, 'val').removesuffix('<|endoftext|>') == text(dataset, 'val')
    fewer, more = (bins.load_meta(folder)['splits']['train']['tokens'] for folder in (out, dataset))
    assert fewer < more


def test_both_dtypes_train_from_the_same_weights_on_the_same_batches(dataset):
    request = {**TRAINING, 'steps': 10, 'data': dataset}
    found = compare_worker.dtypes(request)
    _, update = compare_worker.ours({**request, 'dtype': 'float32'})
    expected = compare_worker.losses_of(update, request, compare_worker.shares_of(10, 1, 0.1))
    assert found['loss_float32'] == pytest.approx(sum(expected) / 10)
    assert found['loss'] == pytest.approx(found['loss_float32'], rel=0.01)


@pytest.mark.parametrize('changes, same', [({}, True), ({'dims': 3}, False), ({'cos': 'math.sin'}, False)],
                         ids=['as it is', 'without weight decay', 'with another schedule'])
def test_losses_tells_whether_both_train_alike(nanogpt, dataset, changes, same):
    found = compare_worker.losses({**TRAINING, 'steps': 20, 'data': dataset, 'nanogpt': nanogpt(**changes)})
    assert len(found['ours']) == len(found['theirs']) == 20 and found['ours'][-1] < found['ours'][0]
    assert (found['weights_difference'] < 2e-6) == same and (found['difference'] < 1e-5 or not same)


def test_flops_are_those_of_the_model():
    assert compare_worker.flops_per_token(TRAINING) == compare_worker.ours(TRAINING)[0].flops_per_token()
    assert isinstance(compare_worker.ours(TRAINING)[0], GPT)


# mistakes, and whole rows

@pytest.mark.parametrize('flags, said', [
    (['--rows=P1,P0'], "rows: expected some of P1,P2,P3,P4,P8,losses,end,G1,G2,G4,P5,sweep,P6,P7, got 'P0'"),
    (['--cases=1B'], "got '1B'"), (['--runs=0'], 'runs must be at least 1'), (['--minutes=0'], 'above 0'),
    (['--batches=64,x'], "batches must be numbers like 64,32, got '64,x'"),
    (['--rates=fast'], "rates must be numbers like 6e-4,1e-3, got 'fast'"),
    ([], "expected a checkout of nanoGPT with train.py, got ''"),
    (['--nanogpt=nowhere'], "train.py, got 'nowhere'"), (['--nanogpt=bare'], 'prepare.py there')])
def test_settings_that_cannot_be_measured_end_in_one_line(flags, said, tmp_path):
    (tmp_path / 'bare').mkdir()
    (tmp_path / 'bare' / 'train.py').write_text('', encoding='utf-8')
    result = run('tools/compare_nanogpt.py', *flags, cwd=tmp_path)
    assert is_one_line(result) and said in result.message


def test_a_row_of_the_gpu_is_refused_on_a_cpu(nanogpt, tmp_path):
    flags = f'--nanogpt={nanogpt()}', '--rows=P7', '--device=cpu'
    result = run('tools/compare_nanogpt.py', *flags, cwd=tmp_path)
    assert is_one_line(result) and 'P7: is measured on cuda, the device is cpu' in result.message


@pytest.mark.slow
def test_rows_of_every_kind_can_be_rehearsed_on_any_machine(nanogpt, tmp_path):
    folder, config_file = nanogpt(), 'config/train_shakespeare_char.py'
    rows = 'P1,P2,P3,P8,P5,sweep,P6,P7'
    result = process('tools/compare_nanogpt.py', f'--nanogpt={folder}', f'--rows={rows}', '--rehearse',
                     '--device=cpu', '--runs=1', '--threads=1', '--cases=0.8M', '--compiled=False',
                     '--rates=1e-3', f'--race={config_file}', f'--race_best={config_file}',
                     f'--dataset={folder}/data/shakespeare_char', cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    with open(tmp_path / 'compare_nanogpt.jsonl', encoding='utf-8') as f:
        records = [json.loads(line) for line in f]
    assert {r['row'] for r in records} == {*rows.split(','), 'P3 loss'}
    assert all(r['rehearsal'] for r in records)
    losses = [r['figures']['val_loss'] for r in records if 'val_loss' in r['figures']]
    assert len(losses) == 9 and all(0 < loss < 12 for loss in losses)
    assert 'to checkpoint' in result.stdout and 'ours takes' in result.stdout
