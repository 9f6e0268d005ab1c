"""Windows, batches and the files behind them: what is drawn, what is read, what is refused."""
import functools
import json
import os
import pickle
import random

import numpy as np
import pytest
import torch
from conftest import STORIES, error_of, mangled, proc_kilobytes, replaced, value_or_error, write_stories

from data import bins
from data.tokenizer import CharTokenizer, from_json, train_bpe

# windows


@pytest.mark.parametrize('n_tokens, block_size, n_sequences', [
    (1000, 10, 4), (997, 16, 5), (200, 64, 3), (65, 64, 8), (130, 64, 2), (4096, 8, 100), (50, 1, 7)])
def test_an_epoch_has_each_window_exactly_once(n_tokens, block_size, n_sequences):
    n = bins.windows_per_epoch(n_tokens, block_size)
    updates = range(-(-3 * n // n_sequences))
    drawn = np.concatenate([bins.update_windows(n_tokens, block_size, n_sequences, 1, i) for i in updates])
    for epoch in range(3):
        starts = np.sort(drawn[epoch * n:(epoch + 1) * n])
        assert len(starts) == n and n_tokens - 1 - n * block_size < 2 * block_size # the rest is no window
        assert (np.diff(starts) == block_size).all() # adjacent: none twice, and no token between them
        assert 0 <= starts[0] and starts[-1] + block_size < n_tokens # the last target is a token


def test_epochs_and_seeds_differ_in_order_and_in_where_they_cut():
    n = bins.windows_per_epoch(5000, 10)
    epochs = [bins.update_windows(5000, 10, n, seed, epoch) for seed in (1, 2) for epoch in range(4)]
    assert len({tuple(starts) for starts in epochs}) == 8
    assert len({starts.min() for starts in epochs}) > 2
    assert not (epochs[0] == np.sort(epochs[0])).all()


def test_the_windows_of_an_update_do_not_depend_on_earlier_calls():
    forwards = [bins.update_windows(997, 16, 25, 3, i) for i in range(20)]
    backwards = [bins.update_windows(997, 16, 25, 3, i) for i in reversed(range(20))][::-1]
    assert np.array_equal(forwards, backwards)
    bins.epoch_order.cache_clear() # as in a process that resumes
    assert np.array_equal(forwards[11], bins.update_windows(997, 16, 25, 3, 11))
    small = [bins.update_windows(997, 16, 5, 3, i) for i in range(55, 60)] # or on the batch size
    assert np.array_equal(forwards[11], np.concatenate(small))


def test_the_order_of_an_epoch_stays_the_same_in_every_version_in_as_few_bytes_as_it_needs():
    # that of numpy's permutation(n) at first; another one would change every run and break every resume
    assert bins.update_windows(997, 16, 8, 1337, 0).tolist() == [91, 539, 715, 27, 827, 443, 203, 683]
    assert bins.update_windows(10**9, 1024, 3, 1337, 10**5).tolist() == [222054215, 755999559, 809698119]
    for n, n_bytes in (1, 1), (255, 1), (256, 2), (65_535, 2), (65_536, 4):
        assert bins.epoch_order(n, 10, 5, 3)[0].itemsize == n_bytes


@pytest.mark.parametrize('block_size', [1 << 28, 1 << 24, 1 << 18]) # orders of one, two and four bytes
def test_windows_far_into_a_large_file_do_not_overflow(block_size):
    n = bins.windows_per_epoch(1 << 36, block_size)
    starts = np.sort(bins.update_windows(1 << 36, block_size, n, 1, 0))
    assert starts.dtype == np.int64 and (np.diff(starts) == block_size).all()
    assert starts[-1] > 1 << 35 and starts[-1] + block_size < 1 << 36


@pytest.mark.parametrize('windows', [bins.val_windows, lambda n, b: bins.update_windows(n, b, 1, 1, 0)])
def test_a_text_that_is_too_short_is_one_line_with_both_numbers(windows):
    for n_tokens in 45, 64:
        message = error_of(windows, n_tokens, 64)
        assert f'got {n_tokens}' in message and '65' in message and f'--block_size={n_tokens - 1}' in message


@pytest.mark.parametrize('n_tokens, block_size', [(1000, 10), (997, 16), (65, 64), (130, 64)])
def test_validation_covers_the_split_with_adjacent_windows(n_tokens, block_size):
    starts = bins.val_windows(n_tokens, block_size)
    targets = (starts[:, None] + 1 + np.arange(block_size)).ravel()
    assert np.array_equal(targets, np.arange(1, len(targets) + 1))
    assert n_tokens - block_size <= len(targets) < n_tokens
    for eval_tokens, n in (1, 1), (block_size + 1, 2), (10**9, len(starts)):
        assert np.array_equal(bins.val_windows(n_tokens, block_size, eval_tokens), starts[:n])


@pytest.mark.parametrize('dtype', ['<u2', '<u4'])
def test_a_batch_is_the_windows_and_the_tokens_after_them(dtype):
    tokens = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, 500, endpoint=True).astype(dtype)
    starts = np.array([0, 7, 7, 483])
    x, y = bins.get_batch(tokens, starts, 16)
    assert x.dtype == y.dtype == torch.int64 and x.is_contiguous() and y.is_contiguous()
    assert x.tolist() == [tokens[start:start + 16].tolist() for start in starts]
    assert y.tolist() == [tokens[start + 1:start + 17].tolist() for start in starts]


@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='reads memory use from /proc')
def test_reading_a_large_file_takes_no_memory_that_stays(tmp_path):
    (tmp_path / 'train.bin').touch()
    os.truncate(tmp_path / 'train.bin', 64 << 20)

    def growth(tokens):
        before, most = proc_kilobytes('VmRSS'), 0
        for i in range(100): # updates of 64 windows of 2 kB, 13 MB of the file together
            bins.get_batch(tokens, bins.update_windows(32 << 20, 1024, 64, 1, i), 1024)
            most = max(most, proc_kilobytes('VmRSS') - before)
        return most

    tokens = bins.open_bin(tmp_path, 'train', {'dtype': 'uint16'})
    growth(tokens) # buffers that stay are made now
    assert growth(tokens) < 4096 # kB
    assert growth(np.asarray(tokens)) > 8192 # what is not known to be a memory map is seen to grow


# reading a dataset

def change_meta(folder, change, *keys):
    """Change what meta.json says, below these keys."""
    path = folder / 'meta.json'
    meta = json.loads(path.read_text(encoding='utf-8'))
    functools.reduce(dict.get, keys, meta).update(change)
    path.write_text(json.dumps(meta), encoding='utf-8')


def test_ids_beyond_the_vocabulary_are_named_with_both_numbers(stories_folder):
    n_vocab = bins.load_meta(stories_folder)['vocab_size']
    change_meta(stories_folder, {'largest_id': 999}, 'splits', 'val')
    message = error_of(bins.load_meta, stories_folder)
    assert '999' in message and f'vocab_size {n_vocab}' in message
    path = stories_folder / 'train.bin'
    np.full(os.path.getsize(path) // 2, 99, dtype='<u2').tofile(path) # in the file, too
    message = error_of(bins.load_meta, stories_folder)
    assert '99' in message and f'vocab_size {n_vocab}' in message


@pytest.mark.parametrize('cut', [1, 101, 10**9])
def test_a_truncated_bin_is_refused_with_what_to_do(stories_folder, cut, monkeypatch):
    monkeypatch.setattr(bins, 'CHECKED_BYTES', 0) # even without its checksum
    size = os.path.getsize(stories_folder / 'train.bin')
    os.truncate(stories_folder / 'train.bin', max(0, size - cut))
    message = error_of(bins.load_meta, stories_folder)
    assert all(word in message for word in ('truncated', 'train.bin', 'prepare.py', f'{size:,}'))


def test_a_changed_bin_is_refused_and_a_large_one_when_its_checksum_is_asked_for(stories_folder, monkeypatch):
    path = stories_folder / 'train.bin'
    size = os.path.getsize(path)
    os.truncate(path, size // 2)
    os.truncate(path, size) # what is missing reads as zeros, and zero is a token
    assert 'sha256' in error_of(bins.load_meta, stories_folder)
    monkeypatch.setattr(bins, 'CHECKED_BYTES', 100)
    assert bins.load_meta(stories_folder)['splits']['train']['tokens'] == size // 2
    assert 'train.bin: expected sha256' in error_of(bins.load_meta, stories_folder, every_byte=True)


def test_the_checksum_of_data_is_that_of_its_tokens_and_its_tokenizer(tmp_path):
    other = CharTokenizer(CharTokenizer.of(''.join(STORIES)).chars[::-1])
    checksums = [bins.data_checksum(write_stories(tmp_path, *arguments))
                 for arguments in ([STORIES[1:]], [STORIES, other], [], [])]
    assert checksums[2] == checksums[3] == bins.data_checksum(bins.load_meta(tmp_path))
    assert len(set(checksums)) == 3 and {len(checksum) for checksum in checksums} == {64}


@pytest.mark.parametrize('name', ['train.bin', 'val.bin'])
def test_a_missing_file_is_one_line_with_the_command(stories_folder, name):
    (stories_folder / name).rename(stories_folder / f'{name}.tmp') # as a crash leaves it
    assert name in error_of(bins.load_meta, stories_folder)
    (stories_folder / 'meta.json').unlink()
    message = error_of(bins.load_meta, stories_folder)
    assert f'no {name}' in message and 'run: python data/text/prepare.py' in message
    (stories_folder / f'{name}.tmp').rename(stories_folder / name)
    assert f'--input={stories_folder} --tokenizer=gpt2' in error_of(bins.load_meta, stories_folder)


def test_the_command_is_that_of_the_dataset_when_there_is_one(tmp_path):
    home, elsewhere = os.path.join(bins.DATA, 'tinystories'), str(tmp_path / 'shakespeare_char')
    assert bins.how_to_prepare(home) == 'run: python data/tinystories/prepare.py'
    assert bins.how_to_prepare(elsewhere) == f'run: python data/shakespeare_char/prepare.py --out={elsewhere}'
    message = error_of(bins.load_meta, str(tmp_path / 'nosuch'))
    assert 'python data/text/prepare.py --input=FILE --out=' in message
    (tmp_path / 'prepare.py').touch()
    assert bins.how_to_prepare(str(tmp_path)) == f'run: python {tmp_path}/prepare.py'


def test_a_meta_that_is_not_ours_or_has_a_terabyte_is_one_line(stories_folder):
    path = stories_folder / 'meta.json'
    for text in '', '{', '[]', '{}', '\x00', '[' * 100_000, '{"splits": {}}':
        path.write_text(text, encoding='utf-8')
        assert 'meta.json: expected' in error_of(bins.load_meta, stories_folder)
        assert bins.made_from(stories_folder) == {}
    os.truncate(path, 1 << 40)
    assert 'expected at most' in error_of(bins.load_meta, stories_folder)


@pytest.mark.parametrize('keys, change', [
    ([], {'tokenizer': None}), ([], {'vocab_size': '65'}), ([], {'vocab_size': 500}),
    ([], {'dtype': 'int16'}), ([], {'dtype': 'u' * 10**6}), (['tokenizer'], {'kind': 'bpe'}),
    (['splits'], {'val': []}), (['splits', 'val'], {'bytes': True}), (['splits', 'val'], {'bytes': -5}),
    (['splits', 'val'], {'sha256': 'a\nb'}), (['splits', 'val'], {'tokens': int('9' * 4300)})])
def test_a_meta_with_anything_wrong_is_one_line(stories_folder, keys, change):
    change_meta(stories_folder, change, *keys)
    assert error_of(bins.load_meta, stories_folder)


# nanoGPT's files

def write_nanogpt(folder, text='hello world, ' * 50, meta=None):
    """What nanoGPT's prepare.py writes for characters."""
    chars = sorted(set(text))
    stoi = {char: i for i, char in enumerate(chars)}
    if meta is None:
        meta = pickle.dumps({'vocab_size': len(chars), 'itos': dict(enumerate(chars)), 'stoi': stoi})
    ids = np.array([stoi[char] for char in text], dtype=np.uint16)
    n = int(len(text) * 0.9)
    ids[:n].tofile(folder / 'train.bin')
    ids[n:].tofile(folder / 'val.bin')
    (folder / 'meta.pkl').write_bytes(meta)


def decoded(folder):
    """The texts of a dataset, as its meta says to read them."""
    meta = bins.load_meta(folder)
    tokenizer = from_json(meta['tokenizer'])
    return [tokenizer.decode(bins.open_bin(folder, split, meta).tolist()) for split in ('train', 'val')]


def test_nanogpts_characters_are_read_with_their_pickle(tmp_path):
    text = 'héllo wörld, ' * 50
    write_nanogpt(tmp_path, text)
    assert ''.join(decoded(tmp_path)) == text
    splits = bins.load_meta(str(tmp_path))['splits']
    assert sum(record['bytes'] for record in splits.values()) == len(text.encode())
    with open(tmp_path / 'val.bin', 'ab') as file:
        file.write(b'x')
    assert 'truncated' in error_of(bins.load_meta, tmp_path)


class Hostile:
    def __reduce__(self):
        return os.system, ('touch executed',)


@pytest.mark.parametrize('meta', [
    b'', b'junk', *map(pickle.dumps, [
        Hostile(), {'itos': {0: Hostile()}}, {'itos': Hostile()}, 5, {}, {'itos': 5}, {'itos': {}},
        {'itos': {0: 5}}, {'itos': {0: 'a', 2: 'b'}}, {'itos': {0: 'a', 1: 'a'}}, {'itos': {0: 'ab', 1: 'c'}},
        {'itos': dict(enumerate('abc'))}])]) # three for a text of more
def test_a_pickle_that_is_hostile_or_no_vocabulary_is_refused_and_not_executed(tmp_path, monkeypatch, meta):
    monkeypatch.chdir(tmp_path)
    write_nanogpt(tmp_path, meta=meta)
    assert error_of(bins.load_meta, tmp_path) and not os.path.exists('executed')


# tokenizers of files

def test_a_tokenizer_is_taken_from_meta_json_or_pickle_or_checkpoint_or_their_folder(tmp_path):
    tokenizer = train_bpe(STORIES, 300)
    for name in 'ours', 'run', 'nanogpt':
        (tmp_path / name).mkdir()
    write_stories(tmp_path / 'ours', tokenizer=tokenizer)
    write_nanogpt(tmp_path / 'nanogpt')
    for name, zipped in ('best.pt', True), ('old.pt', False):
        torch.save({'model': {'w': torch.ones(3)}, 'tokenizer': tokenizer.to_json()}, tmp_path / 'run' / name,
                   _use_new_zipfile_serialization=zipped)
    for path in 'ours', 'ours/meta.json', 'run', 'run/best.pt', 'run/old.pt':
        assert bins.load_tokenizer(str(tmp_path / path)).tokens == tokenizer.tokens
    for path in 'nanogpt', 'nanogpt/meta.pkl':
        assert bins.load_tokenizer(str(tmp_path / path)).chars == ' ,dehlorw'
    assert bins.load_tokenizer('gpt2').kind == 'gpt2'


def test_a_file_without_a_tokenizer_is_one_line(tmp_path):
    torch.save({'model': {}}, tmp_path / 'ckpt.pt')
    (tmp_path / 'junk.pt').write_bytes(b'junk')
    (tmp_path / 'meta.json').write_text('{}', encoding='utf-8')
    for name in 'ckpt.pt', 'junk.pt', 'meta.json', 'nosuch':
        message = error_of(bins.load_tokenizer, str(tmp_path / name))
        assert name in message and 'meta.pkl' in message


# hostile input

@pytest.mark.parametrize('kind', ['char', 'bpe'])
def test_a_meta_with_any_value_replaced_or_bytes_changed_is_refused_or_reads_as_it_says(tmp_path, kind):
    write_stories(tmp_path, tokenizer=train_bpe(STORIES, 300) if kind == 'bpe' else None)
    path, expected, rng = tmp_path / 'meta.json', decoded(tmp_path), random.Random(0)
    whole, tokenizer, found = path.read_bytes(), bins.load_meta(tmp_path)['tokenizer'], []
    for _ in range(60):
        path.write_text(json.dumps(replaced(rng, json.loads(whole))), encoding='utf-8')
        found.append(value_or_error(decoded, tmp_path)[0])
        assert found[-1] in (None, expected)
        path.write_bytes(mangled(rng, whole))
        changed, _ = value_or_error(decoded, tmp_path)
        if changed not in (None, expected): # nothing can tell another vocabulary of the same size
            assert bins.load_meta(tmp_path)['tokenizer'] != tokenizer
    assert None in found and expected in found


def test_bins_whose_bytes_are_changed_are_refused(stories_folder):
    rng = random.Random(2)
    for name in 'train.bin', 'val.bin':
        whole = (stories_folder / name).read_bytes()
        for _ in range(50):
            changed = mangled(rng, whole)
            (stories_folder / name).write_bytes(changed)
            assert bool(error_of(bins.load_meta, stories_folder)) == (changed != whole)
        (stories_folder / name).write_bytes(whole)


def test_a_pickle_whose_bytes_are_changed_is_refused_or_is_characters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_nanogpt(tmp_path, 'hällo wörld, ' * 50)
    path, rng, hostile = tmp_path / 'meta.pkl', random.Random(3), pickle.dumps(Hostile())
    whole = path.read_bytes()
    n_vocab = bins.load_meta(tmp_path)['vocab_size']
    for i in range(150):
        start = rng.randrange(len(whole))
        path.write_bytes(whole[:start] + hostile[2:] + whole[start:] if i % 3 == 0 else mangled(rng, whole))
        found, _ = value_or_error(bins.load_meta, tmp_path)
        assert found is None or len(set(found['tokenizer']['chars'])) == found['vocab_size'] == n_vocab
    assert not os.path.exists('executed')
