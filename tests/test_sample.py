"""The script that writes text: what it reads, what it refuses, and where it stops."""
import io
import json
import os
import pickle
import zipfile
from dataclasses import asdict

import pytest
import torch
from conftest import is_one_line, process, read, run

from data.tokenizer import CharTokenizer, from_json, train_bpe
from lib.checkpoint import build, save
from model import GPT, GPTConfig

RULE = '-' * 20
TINY = dict(block_size=16, n_layer=2, n_head=2, n_embd=32)


@pytest.fixture
def sample(trained, tmp_path):
    """sample.py on the trained run; what it wrote is Result.out after the first two lines."""
    words = f'--out_dir={trained}', '--device=cpu', '--max_new_tokens=30'
    return lambda *flags: run('sample.py', *words, *flags, cwd=tmp_path)


def text_of(result):
    """What was written, without the line about the model."""
    assert result.status == 0, result.message
    return result.out.partition('\n\n')[2]


@torch.no_grad()
def greedy(checkpoint, prompt, count, penalty=1.0):
    """What a model would write when it always takes the likeliest, by the plainest of loops."""
    model, tokenizer = build(checkpoint).eval(), from_json(checkpoint['tokenizer'])
    idx = tokenizer.encode(prompt)
    assert len(idx) + count <= model.config.block_size
    for _ in range(count):
        logits = model(torch.tensor([idx]))[0, -1]
        for i in set(idx):
            logits[i] = logits[i] / penalty if logits[i] > 0 else logits[i] * penalty
        idx.append(logits.argmax().item())
    return tokenizer.decode(idx)


@torch.no_grad()
def logprobs_of(checkpoint, prompt, text):
    """The log-probability of each character of a text after a prompt, all read at once."""
    model, tokenizer = build(checkpoint).eval(), from_json(checkpoint['tokenizer'])
    idx = torch.tensor([tokenizer.encode(prompt + text)])
    return model(idx).log_softmax(-1)[0, len(prompt) - 1:-1].gather(1, idx[0, len(prompt):, None])[:, 0]


def texts_in(path):
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


def texts_printed(result):
    """The texts that were printed, each with its prompt."""
    return text_of(result)[:-1].split(f'\n{RULE}\n')


def test_the_out_dir_of_a_run_is_all_it_needs(sample, trained):
    result = sample('--start=the cat', '--temperature=0', '--max_new_tokens=20')
    assert result.out.startswith(f'{trained}/best.pt: ') and 'trained for 40 iters | device cpu' in result.out
    assert text_of(result) == greedy(read(os.path.join(trained, 'best.pt')), 'the cat', 20) + '\n'


def test_best_is_taken_before_the_latest_and_a_named_checkpoint_before_both(sample, trained, tmp_path):
    (tmp_path / 'run').mkdir()
    for name, seed in (('ckpt.pt', 1), ('best.pt', 2)):
        torch.manual_seed(seed)
        whole = read(os.path.join(trained, 'best.pt'))
        noisy = {name: w + 0.5 * torch.randn_like(w) for name, w in whole['model'].items()}
        save(whole | {'model': noisy}, tmp_path / 'run' / name)
    latest, best = (greedy(read(tmp_path / 'run' / name), 'a', 20) + '\n' for name in ('ckpt.pt', 'best.pt'))
    how = '--start=a', '--temperature=0', '--max_new_tokens=20', '--out_dir=run'
    assert latest != best
    assert text_of(sample(*how)) == best
    assert text_of(sample(*how, '--checkpoint=run/ckpt.pt')) == latest
    (tmp_path / 'run' / 'best.pt').unlink()
    assert text_of(sample(*how)) == latest


def test_the_same_seed_writes_the_same_and_another_seed_something_else(sample):
    assert text_of(sample('--seed=1')) == text_of(sample('--seed=1')) != text_of(sample('--seed=2'))


def test_several_texts_begin_alike_and_go_on_differently(sample):
    texts = texts_printed(sample('--num_samples=3', '--start=the dog ', '--temperature=1'))
    assert len(texts) == len(set(texts)) == 3 and all(text.startswith('the dog ') for text in texts)


def test_B5_a_prompt_of_digits_is_a_text(sample):
    result = sample('--start=123')
    assert is_one_line(result) and "'123'" in result.message # none of which it was trained on


@pytest.mark.parametrize('flag', ['--prompt=the cat', '--text=the cat', '--start=the cat'])
def test_the_prompt_may_come_from_a_file_and_under_other_names(sample, tmp_path, flag):
    (tmp_path / 'prompt.txt').write_text('the cat', encoding='utf-8')
    from_file = sample('--start=FILE:prompt.txt', '--temperature=0')
    assert text_of(from_file) == text_of(sample(flag, '--temperature=0'))


def test_a_prompt_file_that_cannot_be_read_as_text_ends_in_one_line(sample, tmp_path):
    (tmp_path / 'picture.txt').write_bytes(b'\xff\xd8\xff')
    for name in ('picture.txt', 'nosuch.txt'):
        result = sample(f'--start=FILE:{name}')
        assert is_one_line(result) and name in result.message


def test_G1_an_unknown_character_ends_in_one_line_with_those_that_are_known(sample):
    result = sample('--start=Hello')
    assert is_one_line(result) and "'H'" in result.message and 'abcdefg' in result.message


@pytest.mark.parametrize('flag', ['--temperature=0.0', '--temperature=0', '--top_k=1', '--min_p=1',
                                  '--top_p=1e-30'])
def test_G2_a_temperature_of_zero_takes_the_likeliest(sample, trained, flag):
    expected = greedy(read(f'{trained}/best.pt'), 'a', 20)
    assert text_of(sample('--start=a', flag, '--max_new_tokens=20')) == expected + '\n'


def test_a_prompt_of_bytes_that_are_no_text_ends_in_one_line(tmp_path):
    checkpoint = checkpoint_of(GPT(GPTConfig(vocab_size=257, **TINY)), train_bpe(['ab'], n_vocab=257))
    save(checkpoint, tmp_path / 'ckpt.pt')
    result = run('sample.py', '--checkpoint=ckpt.pt', '--start=a\udcff', '--device=cpu', cwd=tmp_path)
    assert is_one_line(result) and "'a\\udcff'" in result.message


@pytest.mark.parametrize('flags', [(), ('--start=',)])
def test_G3_an_empty_prompt_begins_a_new_text(sample, flags):
    assert len(text_of(sample(*flags))) > 20


def test_G4_a_text_may_be_longer_than_the_context(sample):
    assert len(text_of(sample('--start=the', '--max_new_tokens=100'))) == 3 + 100 + 1


def test_G5_a_text_ends_where_its_document_ends(tmp_path):
    tokenizer = train_bpe(['ab'], n_vocab=257)
    model, a, b = GPT(GPTConfig(vocab_size=257, **TINY)), *b'ab'
    with torch.no_grad(): # the tables say what comes next: an a after a b, and the separator after an a
        for table in (model.transformer.wte.weight, model.lm_head.weight):
            table.zero_()
        model.transformer.wte.weight[b, 0] = model.lm_head.weight[a, 0] = 1
        model.transformer.wte.weight[a, 1] = model.lm_head.weight[tokenizer.eot, 1] = 1
    save(checkpoint_of(model, tokenizer), tmp_path / 'ckpt.pt')
    words = '--checkpoint=ckpt.pt', '--start=ab', '--temperature=0', '--device=cpu'
    assert text_of(run('sample.py', *words, cwd=tmp_path)) == 'aba\n'


def checkpoint_of(model, tokenizer):
    config = asdict(model.config)
    return {'model': model.state_dict(), 'model_config': config, 'tokenizer': tokenizer.to_json()}


def test_C6_a_text_that_was_prepared_anew_does_not_change_what_a_checkpoint_writes(tmp_path, train):
    (tmp_path / 'text.txt').write_text('a rose is a rose is a rose ' * 20, encoding='utf-8')
    run('data/text/prepare.py', '--input=text.txt', '--out=bins', cwd=tmp_path)
    train('--dataset=bins', '--max_iters=3')
    how = '--out_dir=out', '--device=cpu', '--start=a rose', '--temperature=0', '--max_new_tokens=20'
    before = text_of(run('sample.py', *how, cwd=tmp_path))
    (tmp_path / 'text.txt').write_text('O ROSE THOU ART SICK ' * 20, encoding='utf-8')
    run('data/text/prepare.py', '--input=text.txt', '--out=bins', cwd=tmp_path)
    assert text_of(run('sample.py', *how, cwd=tmp_path)) == before
    assert set(before) <= set('a rosei\n')


def test_H2_a_checkpoint_that_was_written_on_a_gpu_is_read_on_a_cpu(trained, sample, tmp_path):
    whole = torch.load(f'{trained}/best.pt', weights_only=True)
    torch.save({key: whole[key] for key in ('model', 'model_config', 'tokenizer')}, tmp_path / 'cpu.pt')
    with zipfile.ZipFile(tmp_path / 'cpu.pt') as source, \
            zipfile.ZipFile(tmp_path / 'gpu.pt', 'w') as target:
        for name in source.namelist(): # the same file, but its tensors say that they were on a GPU
            data = source.read(name)
            if name.endswith('data.pkl'):
                assert data.count(b'X\x03\x00\x00\x00cpu') > 0
                data = data.replace(b'X\x03\x00\x00\x00cpu', b'X\x06\x00\x00\x00cuda:0')
            target.writestr(name, data)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match='CUDA'):
            torch.load(tmp_path / 'gpu.pt', weights_only=True)
    how = '--start=the', '--temperature=0'
    assert text_of(sample(*how, '--checkpoint=gpu.pt')) == text_of(sample(*how))


@pytest.mark.parametrize('flag', ['--out_dir=nosuch', '--checkpoint=nosuch.pt'])
def test_A12_a_checkpoint_that_is_not_there_ends_in_one_line_that_says_how_to_get_one(sample, flag):
    result = sample(flag)
    assert is_one_line(result)
    assert 'nosuch' in result.message and 'python train.py config/train_tinystories.py' in result.message


@pytest.mark.parametrize('content', [b'', b'no checkpoint', b'PK\x03\x04 no zip'])
def test_a_file_that_is_no_checkpoint_ends_in_one_line(sample, tmp_path, content):
    (tmp_path / 'some.pt').write_bytes(content)
    result = sample('--checkpoint=some.pt')
    assert is_one_line(result) and result.message.startswith('some.pt: not a checkpoint')


# ---- many texts, and into a file ----

def test_prompts_of_a_file_are_written_on_as_each_would_be_alone(sample, tmp_path):
    beginnings = ['the cat', 'a', 'who ran on ', 'café', 'a']
    (tmp_path / 'prompts.txt').write_text('\n\n'.join(beginnings), encoding='utf-8')
    how = '--num_samples=2', '--temperature=0.9', '--max_new_tokens=12'
    result = sample('--prompts=prompts.txt', '--out_file=all.jsonl', *how)
    alone = []
    for each in beginnings:
        assert sample(f'--start={each}', '--out_file=one.jsonl', *how).status == 0
        alone += texts_in(tmp_path / 'one.jsonl')
    assert texts_in(tmp_path / 'all.jsonl') == alone
    assert texts_printed(result) == [text['prompt'] + text['text'] for text in alone]
    assert [text['prompt'] for text in alone[::2]] == beginnings and alone[0] != alone[1]


def test_the_file_of_texts_has_their_tokens_and_replaces_the_one_before(sample, tmp_path, trained):
    (tmp_path / 'texts.jsonl').write_text('old', encoding='utf-8')
    result = sample('--start=café', '--num_samples=2', '--out_file=texts.jsonl')
    letters, texts = from_json(read(f'{trained}/best.pt')['tokenizer']), texts_in(tmp_path / 'texts.jsonl')
    assert [text['prompt'] + text['text'] for text in texts] == texts_printed(result)
    assert [letters.decode(text['ids']) for text in texts] == [text['text'] for text in texts]
    assert all(list(text) == ['prompt', 'text', 'ids', 'logprobs'] for text in texts)
    assert os.listdir(tmp_path) == ['texts.jsonl']


def test_log_probabilities_are_the_models_own_and_their_sum_is_shown(sample, trained, tmp_path):
    result = sample('--start=the', '--logprobs', '--temperature=0.8', '--out_file=x.jsonl',
                    '--max_new_tokens=20')
    text, = texts_in(tmp_path / 'x.jsonl')
    expected = logprobs_of(read(f'{trained}/best.pt'), 'the', text['text'])
    assert torch.allclose(torch.tensor(text['logprobs']), expected, atol=1e-4)
    rule, prompt, *rows, total = text_of(result).splitlines()
    assert (rule, prompt) == (RULE, 'the')
    assert [row.split(maxsplit=1) for row in rows] == [
        [f'{logprob:.4f}', repr(char)] for char, logprob in zip(text['text'], text['logprobs'], strict=True)]
    assert abs(float(total.split()[0]) - expected.sum()) < 1e-3


def test_an_interactive_loop_survives_an_unknown_character_and_ends_with_the_input(sample, monkeypatch):
    monkeypatch.setattr('sys.stdin', io.StringIO('the cat\nHello\n' + 'the ' * 20 + '\na dog\n'))
    first, unknown, long, second, end = text_of(sample('--interactive', '--num_samples=2')).split('> ')[1:]
    alone = sample('--start=the cat', '--num_samples=2')
    assert first == text_of(alone)
    assert unknown.count('\n') == 1 and "'H'" in unknown
    assert long.count('\n') == 1 and '80 tokens' in long
    assert second.startswith('a dog') and end == '\n'


# ---- where a text ends, and which is chosen ----

@pytest.mark.parametrize('stop, ends', [('he', ['he']), ('["xyz", "red", "\\n"]', ['red', '\n']),
                                        ('xyz', [])])
@pytest.mark.parametrize('ways', [('--temperature=0.8',), ('--temperature=0', '--guesses=3'),
                                  ('--num_beams=2',)])
def test_a_text_ends_before_the_first_string_that_stops_it(sample, tmp_path, stop, ends, ways):
    how = '--start=the dog', '--out_file=x.jsonl', *ways
    whole = texts_printed(sample(*how))[0].removeprefix('the dog')
    expected = whole[:min([place for end in ends if (place := whole.find(end)) >= 0], default=len(whole))]
    assert texts_printed(sample(f'--stop={stop}', *how)) == ['the dog' + expected]
    assert texts_in(tmp_path / 'x.jsonl')[0]['text'] == expected


def test_guesses_write_the_greedy_text(sample, trained):
    expected = greedy(read(f'{trained}/best.pt'), 'the', 25)
    words = '--start=the', '--temperature=0', '--max_new_tokens=25'
    assert text_of(sample(*words, '--guesses=4')) == expected + '\n'


def test_beams_find_a_likelier_text_than_the_greedy_one(sample, trained):
    whole, start = read(f'{trained}/best.pt'), 'the mat'
    bar = logprobs_of(whole, start, greedy(whole, start, 20).removeprefix(start)).sum()
    words = f'--start={start}', '--max_new_tokens=20'
    found = [texts_printed(sample(*words, f'--num_beams={n}'))[0] for n in (2, 5)]
    assert all(logprobs_of(whole, start, text.removeprefix(start)).sum() >= bar - 1e-3 for text in found)
    assert logprobs_of(whole, start, found[1].removeprefix(start)).sum() > bar + 0.1


def test_a_penalty_for_repetition_is_taken_from_the_flag(sample, trained):
    whole = read(f'{trained}/best.pt')
    result = sample('--start=the', '--temperature=0', '--repetition_penalty=1.5', '--max_new_tokens=20')
    assert text_of(result) == greedy(whole, 'the', 20, 1.5) + '\n' != greedy(whole, 'the', 20) + '\n'


def test_eight_bits_write_what_full_precision_does_for_a_while(sample, trained):
    result = sample('--quantize=int8', '--start=the cat', '--temperature=0', '--max_new_tokens=10')
    assert text_of(result) == greedy(read(f'{trained}/best.pt'), 'the cat', 10) + '\n'


# ---- other people's checkpoints ----

def nanogpt(tmp_path, chars='\nabcd'):
    """Makes theirs.pt and meta.pkl as nanoGPT writes them; returns the checkpoint as one of ours."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(arch='gpt2', vocab_size=len(chars), **TINY))
    args = TINY | dict(bias=False, vocab_size=len(chars), dropout=0.0)
    torch.save({'model': model.state_dict(), 'optimizer': {}, 'model_args': args, 'iter_num': 5,
                'best_val_loss': torch.tensor(1.5), 'config': {'dataset': 'x'}}, tmp_path / 'theirs.pt')
    with open(tmp_path / 'meta.pkl', 'wb') as f:
        pickle.dump({'vocab_size': len(chars), 'itos': dict(enumerate(chars)),
                     'stoi': {char: i for i, char in enumerate(chars)}}, f)
    return checkpoint_of(model, CharTokenizer(chars))


def test_a_checkpoint_of_nanogpt_writes_with_its_vocabulary(sample, tmp_path):
    ours = nanogpt(tmp_path)
    result = sample('--checkpoint=theirs.pt', '--tokenizer=meta.pkl', '--start=ab', '--temperature=0',
                    '--max_new_tokens=10')
    assert text_of(result) == greedy(ours, 'ab', 10) + '\n'


def test_a_checkpoint_without_a_vocabulary_ends_in_one_line_that_says_what_to_name(sample, tmp_path):
    nanogpt(tmp_path)
    result = sample('--checkpoint=theirs.pt', '--start=ab')
    assert is_one_line(result) and 'theirs.pt' in result.message and '--tokenizer=' in result.message


@pytest.mark.parametrize('content', [b'', b'{}', b'\x80\x04\x95', b'cos\nsystem\n(S"touch executed"\ntR.'])
@pytest.mark.parametrize('name', ['meta.pkl', 'meta.json'])
def test_a_vocabulary_that_is_none_ends_in_one_line_and_executes_nothing(sample, tmp_path, name, content):
    nanogpt(tmp_path)
    (tmp_path / name).write_bytes(content)
    result = sample('--checkpoint=theirs.pt', f'--tokenizer={name}')
    assert is_one_line(result) and name in result.message
    assert not (tmp_path / 'executed').exists()


def test_a_vocabulary_larger_than_the_model_ends_in_one_line(sample, tmp_path):
    nanogpt(tmp_path, chars='\nabcd')
    with open(tmp_path / 'meta.pkl', 'wb') as f:
        pickle.dump({'vocab_size': 7, 'itos': dict(enumerate('\nabcdef'))}, f)
    result = sample('--checkpoint=theirs.pt', '--tokenizer=meta.pkl', '--start=f')
    assert is_one_line(result) and 'meta.pkl has 7 tokens, theirs.pt knows 5' in result.message


def test_gpt2_without_a_network_ends_in_one_line(sample, tmp_path, monkeypatch):
    pytest.importorskip('transformers')
    constants = pytest.importorskip('huggingface_hub').constants
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'empty'))
    result = sample('--init_from=gpt2')
    assert is_one_line(result) and result.message.startswith('init_from=gpt2: ')


# ---- an untrained model ----

def test_an_untrained_model_is_shown_by_its_parts_and_what_it_writes_is_explained(tmp_path):
    result = run('sample.py', '--init_from=scratch', '--device=cpu', '--max_new_tokens=50', cwd=tmp_path)
    assert result.status == 0, result.message
    header, *rows = result.out.partition('\n\n')[0].splitlines()
    assert header.split() == ['part', 'shape', 'times', 'parameters', 'share']
    counts = [int(row.rsplit(maxsplit=2)[1].replace(',', '')) for row in rows]
    assert rows[-1].startswith('all ') and sum(counts[:-1]) == counts[-1]
    assert any('each block: ' in row and ' 4 ' in row for row in rows)
    assert 'This model has learned nothing yet' in result.out
    assert len(result.out.rpartition('\n\n')[2].strip('\n')) > 30
    assert os.listdir(tmp_path) == []


def test_an_untrained_model_babbles_the_same_for_the_same_seed(tmp_path):
    words = '--init_from=scratch', '--device=cpu', '--max_new_tokens=50'
    first, again, other = (run('sample.py', *words, f'--seed={seed}', cwd=tmp_path).out for seed in (1, 1, 2))
    assert first == again != other


# ---- settings ----

@pytest.mark.parametrize('flags, said', [
    ('--num_samples=0', 'num_samples must be at least 1'), ('--temperature=-1', 'temperature must not be'),
    ('--max_new_tokens=0', 'max_new_tokens must be at least 1'), ('--top_k=-1', 'top_k must not be negative'),
    ('--top_p=0', 'top_p must be above 0'), ('--top_p=1.5', 'at most 1'), ('--init_from=gpt5', "got 'gpt5'"),
    ('--dtype=half', "got 'half'"), ('--device=tpu', "got 'tpu'"), ('--min_p=1.1', 'min_p must be from'),
    ('--num_beams=0', 'num_beams must be at least 1'), ('--guesses=-1', 'guesses must not be negative'),
    ('--seed=-1', 'seed must not be negative'), ('--quantize=int4', "got 'int4'"),
    ('--repetition_penalty=0', 'repetition_penalty must be from'), ('--length_penalty=1e4', 'from 0 to 10'),
    ('--out_file=nosuch/x.jsonl', 'there is no folder nosuch'), ('--stop=["a", ""]', 'stop: expected'),
    ('--stop=[a]', 'stop: expected'), ('--prompts=nosuch.txt', 'nosuch.txt cannot be read'),
    ('--prompts=empty.txt', 'expected a beginning in each'), ('--prompts=x --start=a', 'go with start'),
    ('--interactive --start=a --out_file=x', 'interactive does not go with start, out_file'),
    ('--quantize=int8 --dtype=float32', 'quantize does not go with dtype'),
    ('--num_beams=2 --top_k=3 --logprobs --num_samples=2', 'go with num_samples, logprobs, top_k'),
    ('--num_beams=2 --repetition_penalty=1.1 --min_p=.1 --top_p=.5', 'top_p, min_p, repetition_penalty'),
    ('--guesses=2', 'guesses needs --temperature=0'),
    ('--guesses=2 --temperature=0 --num_beams=2 --compile', 'num_beams does not go with guesses, compile'),
    ('--guesses=2 --temperature=0 --num_samples=2', 'guesses does not go with num_samples')])
def test_B12_settings_that_cannot_be_end_in_one_line(sample, tmp_path, flags, said):
    (tmp_path / 'empty.txt').write_text(' \n\n', encoding='utf-8')
    words = flags.split(' --')
    result = sample('--out_file=texts.jsonl', words[0], *(f'--{word}' for word in words[1:]))
    assert is_one_line(result) and said in result.message
    assert os.listdir(tmp_path) == ['empty.txt']


def test_one_prompt_that_cannot_be_read_ends_in_one_line_before_anything_is_written(sample, tmp_path):
    for beginning, said in (('Hello', "'H'"), ('a dog ' * 9, "prompt 'a dog a dog")):
        (tmp_path / 'prompts.txt').write_text(f'the cat\n{beginning}\n', encoding='utf-8')
        result = sample('--prompts=prompts.txt', '--out_file=texts.jsonl')
        assert is_one_line(result) and said in result.message
        assert 'the cat' not in result.out and os.listdir(tmp_path) == ['prompts.txt']


def test_a_prompt_longer_than_the_context_ends_in_one_line_with_both_numbers(sample):
    result = sample('--start=' + 'the ' * 20)
    assert is_one_line(result) and '80 tokens' in result.message and '32' in result.message


def test_it_writes_in_bfloat16_too(sample):
    assert len(text_of(sample('--dtype=bfloat16'))) > 20


def test_a_prompt_is_printed_once_and_the_text_is_streamed_after_it(trained, tmp_path):
    words = f'--out_dir={trained}', '--device=cpu', '--start=the cat', '--max_new_tokens=5', '--temperature=0'
    result = process('sample.py', *words, cwd=tmp_path, before=('-W', 'error::FutureWarning'))
    assert result.returncode == 0 and result.stderr == ''
    assert result.stdout.count('the cat') == 1 and len(result.stdout.partition('\n\n')[2]) == 7 + 5 + 1
