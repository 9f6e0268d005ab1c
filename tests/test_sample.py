"""sample.py from end to end: what it reads, refuses, prints and writes, for each decoding strategy."""
import io
import json
import os
import pickle
import signal
import subprocess
from dataclasses import asdict

import pytest
import torch
from conftest import mistake, random_model, read, run

import sample as script
from data.tokenizer import CharTokenizer, from_json
from lib.checkpoint import build, save
from lib.detokenize import Completion

TINY = dict(block_size=32, n_layer=2, n_head=2, n_embd=32)
CHARS = '\n abcdefghijklmnopqrstuvwxyz.é'


def random_checkpoint(seed=0, chars=CHARS, **more):
    model = random_model(seed, vocab_size=len(chars), **TINY, **more)
    return {'model': model.state_dict(), 'model_config': asdict(model.config),
            'tokenizer': CharTokenizer(chars).to_json(), 'iter_num': 40}


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
    """The folder of a run with best.pt and a different ckpt.pt; read only."""
    folder = tmp_path_factory.mktemp('run')
    for seed, name in enumerate(['best.pt', 'ckpt.pt']):
        save(random_checkpoint(seed), folder / name)
    return str(folder)


@pytest.fixture
def sample(run_dir, tmp_path):
    """sample.py in tmp_path, on that run unless the flags name another model."""
    def call(*flags):
        other = any(flag.startswith(('--checkpoint=', '--init_from=')) for flag in flags)
        words = flags if other else (f'--out_dir={run_dir}', *flags)
        return run('sample.py', '--device=cpu', '--max_new_tokens=20', *words, cwd=tmp_path)

    return call


def printed(result):
    """The completions that were printed, each with its prompt, without the line about the model."""
    assert result.status == 0, result.message
    return result.out.partition('\n\n')[2][:-1].split(f'\n{script.RULE}\n')


def written(path):
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


@torch.no_grad()
def greedy(path, prompt, count=20, penalty=1.0):
    """The prompt and its greedy completion, by the plainest of loops."""
    checkpoint = read(path)
    model, tokenizer = build(checkpoint).eval(), from_json(checkpoint['tokenizer'])
    idx = tokenizer.encode(prompt)
    for _ in range(count):
        logits = model(torch.tensor([idx]))[0, -1]
        for i in set(idx):
            logits[i] = logits[i] / penalty if logits[i] > 0 else logits[i] * penalty
        idx.append(logits.argmax().item())
    return tokenizer.decode(idx)


@torch.no_grad()
def logprobs_of(path, prompt, text):
    """The log-probability of each character of text after a prompt, in one forward pass."""
    checkpoint = read(path)
    idx = torch.tensor([from_json(checkpoint['tokenizer']).encode(prompt + text)])
    logprobs = build(checkpoint).eval()(idx).log_softmax(-1)[0, len(prompt) - 1:-1]
    return logprobs.gather(1, idx[0, len(prompt):, None])[:, 0]


@pytest.mark.parametrize('flags, name', [([], 'best.pt'), (['--checkpoint={}/ckpt.pt'], 'ckpt.pt'),
    (['--checkpoint={}'], 'best.pt'), (['--out_dir={}/ckpt.pt'], 'ckpt.pt'),
    (['--init_from={}/ckpt.pt'], 'ckpt.pt'), (['--init_from={}'], 'best.pt')])
def test_the_best_checkpoint_of_a_folder_or_the_given_file_is_loaded(sample, run_dir, flags, name):
    result = sample('--start=the cat', '--temperature=0', *(flag.format(run_dir) for flag in flags))
    path = os.path.join(run_dir, name)
    assert printed(result) == [greedy(path, 'the cat')]
    assert result.out.startswith(f'{path}: ') and 'trained for 40 iters | device cpu\n\n' in result.out


def test_a_checkpoint_of_nanogpt_needs_the_tokenizer_of_its_dataset(sample, tmp_path):
    ours = random_checkpoint(chars='\nabcd', arch='gpt2')
    save(ours, tmp_path / 'ours.pt')
    torch.save({'model': ours['model'], 'iter_num': 5, 'model_args': TINY | {'bias': False, 'vocab_size': 5}},
               tmp_path / 'theirs.pt')
    for name, chars in ('meta.pkl', '\nabcd'), ('large.pkl', '\nabcdef'), ('small.pkl', '\nabc'):
        (tmp_path / name).write_bytes(pickle.dumps({'itos': dict(enumerate(chars))}))
    (tmp_path / 'code.pkl').write_bytes(b'cos\nsystem\n(S"touch executed"\ntR.')
    words = '--checkpoint=theirs.pt', '--start=ab', '--temperature=0'
    assert printed(sample(*words, '--tokenizer=meta.pkl')) == [greedy(tmp_path / 'ours.pt', 'ab')]
    assert '--tokenizer=' in mistake(sample(*words))
    for name in 'large.pkl', 'small.pkl', 'code.pkl', 'nosuch.json':
        assert name in mistake(sample(*words, f'--tokenizer={name}'))
    assert not (tmp_path / 'executed').exists()
    result = sample('--tokenizer=meta.pkl') # the checkpoint has a tokenizer
    assert 'leave --tokenizer out' in mistake(result)


def test_an_untrained_model_is_shown_in_a_table_and_sampled(tmp_path):
    words = '--init_from=scratch', '--device=cpu', '--max_new_tokens=30'
    first, again, other = (run('sample.py', *words, f'--seed={seed}', cwd=tmp_path).out for seed in (1, 1, 2))
    rows = [row.split() for row in first.partition('\n\n')[0].splitlines()]
    counts = [int(row[-3].replace(',', '')) for row in rows[1:-1]] # the last line explains the FLOPs
    assert rows[-2][0] == 'total' and sum(counts[:-1]) == counts[-1] and rows[2][:2] == ['each', 'block:']
    assert 'This model is untrained' in first and len(first.rpartition('\n\n')[2].strip('\n')) > 20
    assert first == again != other


@pytest.mark.parametrize('flags', [
    '--temperature=0', '--top_k=1', '--min_p=1', '--top_p=1e-30', '--temperature=0 --num_draft_tokens=4',
    '--temperature=0 --repetition_penalty=1.5', '--quantize=int8 --temperature=0 --max_new_tokens=5',
    '--dtype=bfloat16 --temperature=0 --max_new_tokens=5'])
def test_deterministic_settings_give_the_greedy_completion_fewer_bits_for_a_while(sample, run_dir, flags):
    count, penalty = 5 if 'tokens=5' in flags else 20, 1.5 if 'penalty' in flags else 1.0
    expected = greedy(f'{run_dir}/best.pt', 'the', count, penalty)
    assert printed(sample('--start=the', *flags.split())) == [expected]


def test_beam_search_finds_a_more_probable_completion_than_greedy_decoding(sample, run_dir):
    path, words = f'{run_dir}/best.pt', ('--start=the', '--temperature=0', '--top_k=0') # off: no conflict
    found = [printed(sample(f'--num_beams={n}', *words))[0] for n in (2, 5)]
    scores = [logprobs_of(path, 'the', text[3:]).sum() for text in (greedy(path, 'the'), *found)]
    assert min(scores[1:]) >= scores[0] - 1e-3 and scores[2] > scores[0] + 0.1


@pytest.mark.parametrize('stop, ends', [('b', ['b']), ('["xyz", "p", "\\n"]', ['xyz', 'p', '\n'])])
@pytest.mark.parametrize('flags', [['--temperature=0.8'], ['--temperature=0', '--num_draft_tokens=3'],
                                   ['--num_beams=2']])
def test_a_completion_ends_before_the_first_stop_string(sample, tmp_path, stop, ends, flags):
    words = '--start=the dog', '--out_file=x.jsonl', *flags
    whole = printed(sample(*words))[0].removeprefix('the dog')
    expected = whole[:min(place for end in ends if (place := whole.find(end)) >= 0)]
    assert printed(sample(f'--stop={stop}', *words)) == ['the dog' + expected]
    assert written(tmp_path / 'x.jsonl')[0]['text'] == expected


def test_prompts_of_a_file_are_completed_as_each_would_be_alone_and_written(sample, tmp_path):
    prompts = ['the cat', 'a', 'who ran on ', 'café']
    (tmp_path / 'prompts.txt').write_text('\ufeff' + '\n\ufeff\n'.join(prompts), encoding='utf-8')
    (tmp_path / 'prompt.txt').write_text('\ufeffthe cat', encoding='utf-8') # with a byte order mark, too
    (tmp_path / 'all.jsonl').write_text('old')
    os.link(tmp_path / 'all.jsonl', tmp_path / 'old') # stays the old file when the name is replaced
    words = '--num_samples=2', '--temperature=0.9'
    result, alone = sample('--prompts=prompts.txt', '--out_file=all.jsonl', *words), []
    for prompt in ['FILE:prompt.txt', *prompts[1:]]:
        assert sample(f'--prompt={prompt}', '--out_file=one.jsonl', *words).status == 0 # an alias of --start
        alone += written(tmp_path / 'one.jsonl')
    assert written(tmp_path / 'all.jsonl') == alone and alone[0] != alone[1]
    assert printed(result) == [each['prompt'] + each['text'] for each in alone]
    assert [each['prompt'] for each in alone[::2]] == prompts
    assert [''.join(CHARS[i] for i in each['ids']) for each in alone] == [each['text'] for each in alone]
    assert (tmp_path / 'old').read_text() == 'old' and len(os.listdir(tmp_path)) == 5


@pytest.mark.parametrize('prompt, said', [
    ('Hello', "'H'"), ('a dog ' * 9, "at most 32 tokens (block_size), got 54: 'a"), ('a\udcff', r'a\udcff')])
def test_a_prompt_that_cannot_be_read_ends_in_one_line_before_generating(sample, tmp_path, prompt, said):
    result = sample(f'--start={prompt}')
    assert result.message.startswith('start: ') and said in mistake(result)
    if '\udcff' not in prompt:
        (tmp_path / 'prompts.txt').write_text(f'the cat\n\n{prompt}\n', encoding='utf-8')
        result = sample('--prompts=prompts.txt', '--out_file=x.jsonl')
        assert result.message.startswith('prompts.txt:3: ') and said in mistake(result)
        assert 'the cat' not in result.out and os.listdir(tmp_path) == ['prompts.txt']


def test_logprobs_are_those_of_the_model_at_temperature_one(sample, run_dir, tmp_path):
    result = sample('--start=the', '--logprobs', '--temperature=0.8', '--top_k=9', '--repetition_penalty=1.3',
                    '--out_file=x.jsonl')
    completion, = written(tmp_path / 'x.jsonl')
    expected = logprobs_of(f'{run_dir}/best.pt', 'the', completion['text'])
    assert torch.allclose(torch.tensor(completion['logprobs']), expected, atol=1e-4)
    rule, prompt, *rows, total = result.out.partition('\n\n')[2].splitlines()
    assert (rule, prompt) == (script.RULE, 'the') and abs(float(total.split()[0]) - expected.sum()) < 1e-3
    assert [row.split(maxsplit=1) for row in rows] == [
        [f'{x:.4f}', repr(char)] for char, x in zip(completion['text'], completion['logprobs'], strict=True)]


def test_an_output_that_is_no_regular_file_is_written_to_and_not_replaced(sample, tmp_path):
    (tmp_path / 'link').symlink_to('target')
    os.mkfifo(tmp_path / 'pipe')
    reader = subprocess.Popen(['cat', tmp_path / 'pipe'], stdout=subprocess.PIPE, encoding='utf-8')
    for name in 'link', 'pipe', '/dev/null':
        assert sample('--start=a', f'--out_file={name}').status == 0
    assert [json.loads(reader.communicate()[0])] == written(tmp_path / 'target')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'pipe').is_fifo()
    assert not os.path.isfile('/dev/null')


def test_the_interactive_loop_survives_what_it_cannot_read_and_ends_with_the_input(sample, monkeypatch):
    monkeypatch.setattr('sys.stdin', io.StringIO('the cat\nHello\n' + 'the ' * 20 + '\na dog\n'))
    result = sample('--interactive', '--num_samples=2')
    intro, first, unknown, long, second, end = result.out.partition('\n\n')[2].split('> ')
    assert 'Ctrl-C' in intro and 'Ctrl-D' in intro
    assert first == sample('--start=the cat', '--num_samples=2').out.partition('\n\n')[2]
    assert unknown.count('\n') == long.count('\n') == 1 and "'H'" in unknown and 'got 80' in long
    assert second.startswith('a dog') and end == '\n'


@pytest.mark.parametrize('stop', ['SIGINT', 'SIGTERM', 'closed stdout'])
def test_what_is_complete_is_written_when_generation_is_stopped(tmp_path, capsys, stop):
    def complete(prompts, on_piece):
        yield Completion(prompts[0])
        yield Completion(prompts[1])
        if stop != 'closed stdout':
            signal.raise_signal(getattr(signal, stop))
        raise BrokenPipeError # as from print, when the reader of stdout has gone; ends the script quietly

    script.handle_signals_as_ctrl_c()
    try:
        with pytest.raises(SystemExit if stop != 'closed stdout' else BrokenPipeError) as ended:
            script.complete_prompts(complete, ['a', 'b', 'c'], None, False, tmp_path / 'x.jsonl')
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert [each['prompt'] for each in written(tmp_path / 'x.jsonl')] == ['a', 'b']
    if stop != 'closed stdout':
        assert ended.value.code == 130
        assert capsys.readouterr().err == f'sample.py: interrupted; 2 completions are in {tmp_path}/x.jsonl\n'


@pytest.mark.parametrize('flags, said', [
    ('--num_samples=0', 'num_samples must be from 1'), ('--temperature=-1', 'temperature must be at least 0'),
    ('--top_p=0', 'top_p must be above 0'), ('--min_p=1.1', 'min_p must be from'), ('--dtype=half', "'half'"),
    ('--init_from=gpt5', "got 'gpt5'"), ('--quantize=int4', "'int4'"), ('--out_file=.', 'out_file must'),
    ('--out_file=new/', 'out_file must'),
    ('--out_file=nosuch/x', 'out_file must be a file that can be written'), ('--stop=["a", ""]', 'stop: '),
    ('--stop=[a]', 'stop: expected'), ('--stop=aX', "since 'X' is not"), ('--prompts=no', 'no cannot be'),
    ('--prompts=empty.txt', 'expected one prompt per'), ('--start=FILE:image.jpg', 'image.jpg cannot be'),
    ('--prompts=x --start=a', 'with start'), ('--interactive --start=a', 'combined with start, out_file'),
    ('--quantize=int8 --dtype=float32', 'quantize cannot be combined with dtype'),
    ('--num_beams=2 --top_k=3 --logprobs --num_samples=2', 'combined with num_samples, logprobs, top_k'),
    ('--checkpoint=x --out_dir=y', 'checkpoint cannot be combined with out_dir'),
    ('--num_beams=2 --temperature=0.6', 'num_beams cannot be combined with temperature'),
    ('--num_draft_tokens=2', 'num_draft_tokens needs --temperature=0'),
    ('--num_draft_tokens=2 --temperature=0 --logprobs', 'num_draft_tokens cannot be combined with logprobs'),
    ('--temperature=0 --num_samples=2 --top_k=5', 'temperature=0 cannot be combined with num_samples, top_k'),
    ('--length_penalty=2', 'length_penalty needs --num_beams'),
    *((flag, 'python train.py config/train_tinystories.py') for flag in (
        '--out_dir=nosuch', '--checkpoint=nosuch.pt', '--checkpoint=.')),
    ('--init_from=scratch --checkpoint=x --tokenizer=y', 'init_from=scratch cannot be combined with tokeni')])
def test_settings_that_are_invalid_or_have_no_effect_end_in_one_line(sample, tmp_path, flags, said):
    (tmp_path / 'empty.txt').write_text(' \n\n')
    (tmp_path / 'image.jpg').write_bytes(b'\xff\xd8\xff')
    first, *rest = flags.split(' --')
    assert said in mistake(sample('--out_file=x.jsonl', first, *(f'--{word}' for word in rest)))
    assert sorted(os.listdir(tmp_path)) == ['empty.txt', 'image.jpg']
