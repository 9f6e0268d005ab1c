"""Windows, batches and the files behind them: what is drawn, what is read, what is refused."""
import functools
import json
import os
import pickle
import random

import numpy as np
import pytest
import torch
from conftest import STORIES, error_of, mangled, read_bins, replaced, write_stories

from data import bins
from data.tokenizer import SEPARATOR, train_bpe


@pytest.mark.parametrize('n_tokens, block_size, n_sequences', [
    (1000, 10, 4), (997, 16, 5), (200, 64, 3), (65, 64, 8), (130, 64, 2), (4096, 8, 100), (50, 1, 7),
    (1 << 36, 1 << 18, 1 << 17)]) # whose starts no 32 bits hold
def test_an_epoch_has_each_window_exactly_once(n_tokens, block_size, n_sequences):
    n = bins.windows_per_epoch(n_tokens, block_size)
    updates = range(-(-3 * n // n_sequences))
    drawn = np.concatenate([bins.update_windows(n_tokens, block_size, n_sequences, 1, i) for i in updates])
    for epoch in range(3):
        starts = np.sort(drawn[epoch * n:(epoch + 1) * n])
        assert len(starts) == n and n_tokens - 1 - n * block_size < 2 * block_size # the rest is no window
        assert starts.dtype == np.int64
        assert (np.diff(starts) == block_size).all() # adjacent: none twice, and no token between them
        assert 0 <= starts[0] and starts[-1] + block_size < n_tokens # the last target is a token


def test_windows_differ_by_epoch_and_seed_alone_and_stay_the_same_in_every_version():
    n = bins.windows_per_epoch(5000, 10)
    epochs = [bins.update_windows(5000, 10, n, seed, epoch) for seed in (1, 2) for epoch in range(4)]
    assert len({tuple(starts) for starts in epochs}) == 8 and len({starts.min() for starts in epochs}) > 2
    assert not (epochs[0] == np.sort(epochs[0])).all()
    bins.epoch_order.cache_clear() # as in a process that resumes
    assert np.array_equal(epochs[2], bins.update_windows(5000, 10, n, 1, 2))
    half = [bins.update_windows(5000, 10, n // 2, 1, i) for i in range(8)]
    assert np.array_equal(np.concatenate(epochs[:4]), np.concatenate(half))
    # that of numpy's permutation(n) at first; another one would change every run and break every resume
    assert bins.update_windows(997, 16, 8, 1337, 0).tolist() == [91, 539, 715, 27, 827, 443, 203, 683]
    assert bins.update_windows(10**9, 1024, 3, 1337, 10**5).tolist() == [222054215, 755999559, 809698119]
    for n, n_bytes in (1, 1), (255, 1), (256, 2), (65_535, 2), (65_536, 4):
        assert bins.epoch_order(n, 10, 5, 3)[0].itemsize == n_bytes


@pytest.mark.parametrize('n_tokens, block_size', [(1000, 10), (997, 16), (65, 64), (130, 64)])
def test_validation_covers_the_split_with_adjacent_windows_and_a_short_text_is_one_line(n_tokens, block_size):
    starts = bins.val_windows(n_tokens, block_size)
    targets = (starts[:, None] + 1 + np.arange(block_size)).ravel()
    assert np.array_equal(targets, np.arange(1, len(targets) + 1))
    assert n_tokens - block_size <= len(targets) < n_tokens
    for eval_tokens, n in (1, 1), (block_size + 1, 2), (10**9, len(starts)):
        assert np.array_equal(bins.val_windows(n_tokens, block_size, eval_tokens), starts[:n])
    for short in block_size - 3, block_size:
        message, parts = error_of(bins.val_windows, short, block_size), (short, block_size + 1)
        assert all(str(part) in message for part in parts) and f'--block_size={short - 1}' in message
        assert error_of(bins.update_windows, short, block_size, 1, 1, 0) == message


def resident_kilobytes():
    with open('/proc/self/status', encoding='utf-8') as file:
        return next(int(line.split()[1]) for line in file if line.startswith('VmRSS:'))


@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='reads memory use from /proc')
def test_reading_a_large_file_takes_no_memory_that_stays(tmp_path):
    def growth(tokens):
        before, most = resident_kilobytes(), 0
        for i in range(60): # updates of 64 windows of 2 kB, 8 MB of the file together
            bins.get_batch(tokens, bins.update_windows(len(tokens), 1024, 64, 1, i), 1024)
            most = max(most, resident_kilobytes() - before)
        return most

    (tmp_path / 'train.bin').touch()
    os.truncate(tmp_path / 'train.bin', 64 << 20)
    tokens = bins.open_bin(tmp_path, 'train', {'dtype': 'uint16'})
    growth(tokens) # buffers that stay are made now
    assert growth(tokens) < 4096 # kB
    assert growth(np.asarray(tokens)) > 6144 # what is not known to be a memory map is seen to grow


@pytest.mark.parametrize('change, words', [
    (lambda whole: whole[:-1], ['truncated', 'prepare.py']), (lambda whole: whole[:-101], ['truncated']),
    (lambda whole: b'', ['truncated']), (lambda whole: b'c\0' * (len(whole) // 2), ['vocab_size 32, got 99']),
    # what a file system has not written reads as zeros, and zero is a token
    (lambda whole: whole[:len(whole) // 2].ljust(len(whole), b'\0'), ['sha256'])])
def test_a_bin_that_is_not_as_its_meta_says_is_one_line(stories_folder, monkeypatch, change, words):
    path = stories_folder / 'train.bin'
    path.write_bytes(change(path.read_bytes()))
    message = error_of(bins.load_meta, stories_folder)
    assert all(word in message for word in ['train.bin: expected', *words])
    monkeypatch.setattr(bins, 'CHECKED_BYTES', 100) # a large one, when its checksum is asked for
    assert bool(error_of(bins.load_meta, stories_folder)) == ('truncated' in words)
    assert error_of(bins.load_meta, stories_folder, verify_checksum=True) == message


@pytest.mark.parametrize('name', ['train.bin', 'val.bin'])
def test_a_missing_file_is_one_line_with_the_command(stories_folder, name):
    (stories_folder / name).rename(stories_folder / f'{name}.tmp') # as a crash leaves it
    assert name in error_of(bins.load_meta, stories_folder)
    (stories_folder / 'meta.json').unlink()
    message = error_of(bins.load_meta, stories_folder)
    assert f'no {name}' in message and 'run: python data/text/prepare.py --input=FILE --out=' in message
    (stories_folder / f'{name}.tmp').rename(stories_folder / name)
    assert f'--input={stories_folder} --tokenizer=gpt2' in error_of(bins.load_meta, stories_folder)
    for folder, words in (os.path.join(bins.DATA, 'tinystories'), 'tinystories/prepare.py'), (
            '/x/shakespeare_char', 'shakespeare_char/prepare.py --out=/x/shakespeare_char'):
        assert bins.how_to_prepare(folder) == f'run: python data/{words}'
    (stories_folder / 'prepare.py').touch()
    assert bins.how_to_prepare(str(stories_folder)) == f'run: python {stories_folder}/prepare.py'


@pytest.mark.parametrize('keys, change', [
    *(([], change) for change in ({'tokenizer': None}, {'vocab_size': '65'}, {'vocab_size': 500},
                                  {'dtype': 'int16'}, {'dtype': 'u' * 10**6})),
    (['tokenizer'], {'kind': 'bpe'}), (['splits'], {'val': []}),
    *((['splits', 'val'], change) for change in ({'bytes': True}, {'bytes': -5}, {'sha256': 'a\nb'},
                                                 {'tokens': int('9' * 4300)}, {'largest_id': 999}))])
def test_a_meta_with_anything_wrong_or_a_terabyte_is_one_line(stories_folder, keys, change):
    path, meta = stories_folder / 'meta.json', bins.load_meta(stories_folder)
    functools.reduce(dict.get, keys, meta).update(change)
    path.write_text(json.dumps(meta), encoding='utf-8')
    assert error_of(bins.load_meta, stories_folder)
    for text in '', '{', '[]', '{}', '\x00', '[' * 100_000, '{"splits": {}}':
        path.write_text(text, encoding='utf-8')
        assert 'meta.json: expected' in error_of(bins.load_meta, stories_folder)
        assert bins.read_provenance(stories_folder) == {}
    os.truncate(path, 1 << 40)
    assert 'expected at most' in error_of(bins.load_meta, stories_folder)


def write_nanogpt(folder, text='hello world, ' * 50, meta=None):
    """What nanoGPT's prepare.py writes for characters."""
    stoi = {char: i for i, char in enumerate(sorted(set(text)))}
    itos = {i: char for char, i in stoi.items()}
    ids = np.array([stoi[char] for char in text], dtype=np.uint16)
    ids[:500].tofile(folder / 'train.bin')
    ids[500:].tofile(folder / 'val.bin')
    plain = pickle.dumps({'vocab_size': len(stoi), 'itos': itos, 'stoi': stoi})
    (folder / 'meta.pkl').write_bytes(plain if meta is None else meta)


def decoded(folder):
    """The texts of a dataset."""
    tokenizer, splits = read_bins(folder)
    return [tokenizer.decode(ids) for ids in splits.values()]


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


def test_a_tokenizer_is_taken_from_meta_json_pickle_or_checkpoint_or_a_file_without_one_is_one_line(tmp_path):
    tokenizer = train_bpe(STORIES, 300)
    (tmp_path / 'run').mkdir()
    (tmp_path / 'nanogpt').mkdir()
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
    torch.save({'model': {}}, tmp_path / 'none.pt')
    (tmp_path / 'junk.pt').write_text('junk')
    (tmp_path / 'none.json').write_text('{}')
    for name in 'none.pt', 'junk.pt', 'none.json', 'nosuch':
        message = error_of(bins.load_tokenizer, str(tmp_path / name))
        assert name in message and 'meta.pkl' in message


@pytest.mark.parametrize('kind, name', [('char', 'meta.json'), ('bpe', 'meta.json'), ('char', 'train.bin'),
                                        ('char', 'val.bin'), ('nanogpt', 'meta.pkl')])
def test_a_changed_meta_bin_or_pickle_is_refused_or_reads_as_it_says(tmp_path, monkeypatch, kind, name):
    monkeypatch.chdir(tmp_path)
    if kind == 'nanogpt':
        write_nanogpt(tmp_path, text := 'hällo wörld, ' * 50)
        assert ''.join(decoded(tmp_path)) == text
    else:
        write_stories(tmp_path, tokenizer=train_bpe(STORIES, 300) if kind == 'bpe' else None)
    path, rng, meta, refused = tmp_path / name, random.Random(0), bins.load_meta(tmp_path), 0
    whole, expected, hostile = path.read_bytes(), decoded(tmp_path), pickle.dumps(Hostile())
    n_bytes = len(''.join(expected).replace(SEPARATOR, '').encode())
    assert sum(each['bytes'] for each in meta['splits'].values()) == n_bytes
    for i in range(60):
        changed, start = mangled(rng, whole), rng.randrange(len(whole))
        if i % 2 and name == 'meta.json':
            changed = json.dumps(replaced(rng, json.loads(whole))).encode()
        if i % 2 and name == 'meta.pkl':
            changed = whole[:start] + hostile[2:] + whole[start:]
        path.write_bytes(changed)
        if error_of(bins.load_meta, tmp_path):
            refused += 1
        elif decoded(tmp_path) != expected: # nothing can tell another vocabulary of the same size
            new = bins.load_meta(tmp_path)
            assert new['tokenizer'] != meta['tokenizer'] and new['vocab_size'] == meta['vocab_size']
    assert refused and not os.path.exists('executed')
