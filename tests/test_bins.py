"""Windows, batches and the files behind them: what is drawn, what is read, what is refused."""
import json
import os
import pickle
import random

import numpy as np
import pytest
import torch
from conftest import mangled, refusal, replaced, survived

from data import bins
from data.tokenizer import CharTokenizer, from_json, train_bpe
from data.write import write_dataset

STORIES = [f'Story {i}: a fox and {i % 7} mice. They met {"again " * (i % 5)}at noon!\n\nThe end.'
           for i in range(60)]


def epoch_starts(n_tokens, block_size, epoch, seed=1):
    n = bins.windows_per_epoch(n_tokens, block_size)
    return bins.update_windows(n_tokens, block_size, n, seed, epoch)


# windows

@pytest.mark.parametrize('n_tokens, block_size, n_sequences', [
    (1000, 10, 4), (997, 16, 5), (200, 64, 3), (65, 64, 8), (130, 64, 2), (4096, 8, 100), (50, 1, 7)])
def test_an_epoch_has_each_window_exactly_once(n_tokens, block_size, n_sequences):
    n = bins.windows_per_epoch(n_tokens, block_size)
    updates = [bins.update_windows(n_tokens, block_size, n_sequences, 1, i) for i in range(3 * n)]
    drawn = np.concatenate(updates)
    for epoch in range(3):
        starts = np.sort(drawn[epoch * n:(epoch + 1) * n])
        assert (np.diff(starts) == block_size).all() # adjacent: none twice, and no token between them
        assert 0 <= starts[0] and starts[-1] + block_size < n_tokens # the last target is a token
        missed = n_tokens - 1 - n * block_size
        assert missed < 2 * block_size


def test_epochs_and_seeds_differ_in_order_and_in_where_they_cut():
    epochs = [epoch_starts(5000, 10, epoch) for epoch in range(6)] + [epoch_starts(5000, 10, 0, seed=2)]
    assert len({tuple(starts) for starts in epochs}) == 7
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


def test_the_order_of_an_epoch_stays_the_same_in_every_version():
    # that of numpy's permutation(n) at first; another one would change every run and break every resume
    assert bins.update_windows(997, 16, 8, 1337, 0).tolist() == [91, 539, 715, 27, 827, 443, 203, 683]
    assert bins.update_windows(10**9, 1024, 3, 1337, 10**5).tolist() == [222054215, 755999559, 809698119]


@pytest.mark.parametrize('n', [1, 255, 256, 257, 65_535, 65_536, 65_537])
def test_an_order_is_that_of_permutation_in_as_few_bytes_as_it_needs(n):
    rng = np.random.default_rng([5, 3])
    shift, order = int(rng.integers(11)), rng.permutation(n)
    found, found_shift = bins.epoch_order(n, 10, 5, 3)
    assert np.array_equal(found, order) and found_shift == shift
    assert found.itemsize == (1 if n < 1 << 8 else 2 if n < 1 << 16 else 4)


@pytest.mark.parametrize('block_size', [1 << 28, 1 << 24, 1 << 18]) # orders of one, two and four bytes
def test_windows_far_into_a_large_file_do_not_overflow(block_size):
    n = bins.windows_per_epoch(1 << 36, block_size)
    starts = np.sort(bins.update_windows(1 << 36, block_size, n, 1, 0))
    assert starts.dtype == np.int64 and (np.diff(starts) == block_size).all()
    assert starts[-1] > 1 << 35 and starts[-1] + block_size < 1 << 36


@pytest.mark.parametrize('n_tokens', [45, 64])
def test_a_text_that_is_too_short_is_one_line_with_both_numbers(n_tokens):
    for windows in bins.val_windows, lambda n, b: bins.update_windows(n, b, 1, 1, 0):
        message = refusal(windows, n_tokens, 64)
        assert f'got {n_tokens}' in message and '65' in message and f'--block_size={n_tokens - 1}' in message


@pytest.mark.parametrize('n_tokens, block_size', [(1000, 10), (997, 16), (65, 64), (130, 64)])
def test_validation_covers_the_split_with_adjacent_windows(n_tokens, block_size):
    starts = bins.val_windows(n_tokens, block_size)
    targets = (starts[:, None] + 1 + np.arange(block_size)).ravel()
    assert np.array_equal(targets, np.arange(1, len(targets) + 1))
    assert n_tokens - block_size <= len(targets) < n_tokens
    assert np.array_equal(bins.val_windows(n_tokens, block_size, 1), starts[:1])
    assert np.array_equal(bins.val_windows(n_tokens, block_size, block_size + 1), starts[:2])
    assert np.array_equal(bins.val_windows(n_tokens, block_size, 10**9), starts)


@pytest.mark.parametrize('dtype', ['<u2', '<u4'])
def test_a_batch_is_the_windows_and_the_tokens_after_them(dtype):
    tokens = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, 500, endpoint=True).astype(dtype)
    starts = np.array([0, 7, 7, 483])
    x, y = bins.get_batch(tokens, starts, 16)
    assert x.dtype == y.dtype == torch.int64 and x.is_contiguous() and y.is_contiguous()
    for b, start in enumerate(starts):
        for t in range(16):
            assert x[b, t] == tokens[start + t] and y[b, t] == tokens[start + t + 1]


@pytest.mark.skipif(not os.path.exists('/proc/self/statm'), reason='reads memory use from /proc')
def test_reading_a_large_file_takes_no_memory_that_stays(tmp_path):
    n_bytes = 64 << 20
    with open(tmp_path / 'train.bin', 'wb') as file:
        file.truncate(n_bytes)

    def resident():
        with open('/proc/self/statm', encoding='utf-8') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

    def growth(tokens):
        before, most = resident(), 0
        for i in range(100): # updates of 64 windows of 2 kB, 13 MB of the file together
            bins.get_batch(tokens, bins.update_windows(n_bytes // 2, 1024, 64, 1, i), 1024)
            most = max(most, resident() - before)
        return most

    tokens = bins.open_bin(tmp_path, 'train', {'dtype': 'uint16'})
    growth(tokens) # buffers that stay are made now
    assert growth(tokens) < 4 << 20
    assert growth(np.asarray(tokens)) > 8 << 20 # what is not known to be a memory map is seen to grow


# reading a dataset

def write_stories(folder, texts=None, tokenizer=None):
    texts = texts or STORIES
    tokenizer = tokenizer or CharTokenizer.of(''.join(texts))
    return write_dataset(str(folder), {'train': texts[:-10], 'val': texts[-10:]}, tokenizer, 'a test')


def change_meta(folder, change, split=None):
    """Change what meta.json says of a split, or without one of all."""
    path = folder / 'meta.json'
    meta = json.loads(path.read_text(encoding='utf-8'))
    change(meta if split is None else meta['splits'][split])
    path.write_text(json.dumps(meta), encoding='utf-8')


@pytest.fixture
def prepared(tmp_path):
    write_stories(tmp_path)
    return tmp_path


def test_ids_beyond_the_vocabulary_are_named_with_both_numbers(prepared):
    n_vocab = bins.load_meta(prepared)['vocab_size']
    change_meta(prepared, lambda record: record.update(largest_id=999), 'val')
    message = refusal(bins.load_meta, prepared)
    assert '999' in message and f'vocab_size {n_vocab}' in message
    path = prepared / 'train.bin'
    np.full(os.path.getsize(path) // 2, 99, dtype='<u2').tofile(path) # in the file, too
    message = refusal(bins.load_meta, prepared)
    assert '99' in message and f'vocab_size {n_vocab}' in message


@pytest.mark.parametrize('cut', [1, 101, 10**9])
def test_a_truncated_bin_is_refused_with_what_to_do(prepared, cut, monkeypatch):
    monkeypatch.setattr(bins, 'CHECKED_BYTES', 0) # even without its checksum
    size = os.path.getsize(prepared / 'train.bin')
    os.truncate(prepared / 'train.bin', max(0, size - cut))
    message = refusal(bins.load_meta, prepared)
    assert all(word in message for word in ('truncated', 'train.bin', 'prepare.py', f'{size:,}'))


def test_a_changed_bin_is_refused_and_a_large_one_when_its_checksum_is_asked_for(prepared, monkeypatch):
    path = prepared / 'train.bin'
    size = os.path.getsize(path)
    os.truncate(path, size // 2)
    os.truncate(path, size) # what is missing reads as zeros, and zero is a token
    assert 'sha256' in refusal(bins.load_meta, prepared)
    monkeypatch.setattr(bins, 'CHECKED_BYTES', 100)
    meta = bins.load_meta(prepared)
    assert meta['splits']['train']['tokens'] == len(bins.open_bin(prepared, 'train', meta))
    assert 'train.bin: expected sha256' in refusal(bins.load_meta, prepared, every_byte=True)


def test_the_checksum_of_data_is_that_of_its_tokens_and_its_tokenizer(tmp_path):
    other = CharTokenizer(CharTokenizer.of(''.join(STORIES)).chars[::-1])
    checksums = [bins.data_checksum(write_stories(tmp_path / str(i), *arguments))
                 for i, arguments in enumerate([[], [], [STORIES[1:]], [STORIES, other]])]
    assert checksums[0] == checksums[1] and len(set(checksums)) == 3
    assert all(len(checksum) == 64 for checksum in checksums)
    assert bins.data_checksum(bins.load_meta(tmp_path / '0')) == checksums[0]


@pytest.mark.parametrize('name', ['train.bin', 'val.bin'])
def test_a_missing_file_is_one_line_with_the_command(prepared, name):
    (prepared / name).rename(prepared / f'{name}.tmp') # as a crash leaves it
    assert name in refusal(bins.load_meta, prepared)
    (prepared / 'meta.json').unlink()
    message = refusal(bins.load_meta, prepared)
    assert f'no {name}' in message and 'run: python data/text/prepare.py' in message
    (prepared / f'{name}.tmp').rename(prepared / name)
    assert f'--input={prepared} --tokenizer=gpt2' in refusal(bins.load_meta, prepared)


def test_the_command_is_that_of_the_dataset_when_there_is_one(tmp_path):
    home = os.path.join(bins.DATA, 'tinystories')
    assert bins.how_to_prepare(home) == 'run: python data/tinystories/prepare.py'
    elsewhere = str(tmp_path / 'shakespeare_char')
    assert bins.how_to_prepare(elsewhere) == f'run: python data/shakespeare_char/prepare.py --out={elsewhere}'
    message = refusal(bins.load_meta, str(tmp_path / 'nosuch'))
    assert 'python data/text/prepare.py --input=FILE --out=' in message
    (tmp_path / 'prepare.py').write_text('', encoding='utf-8')
    assert bins.how_to_prepare(str(tmp_path)) == f'run: python {tmp_path}/prepare.py'


@pytest.mark.parametrize('text', ['', '{', '[]', '7', '{}', '\x00', '[' * 100_000, '{"splits": {}}'])
def test_a_meta_that_is_not_ours_is_one_line(prepared, text):
    (prepared / 'meta.json').write_text(text, encoding='utf-8')
    assert 'meta.json: expected' in refusal(bins.load_meta, prepared)
    assert bins.made_from(prepared) == {}


@pytest.mark.parametrize('change', [
    lambda meta: meta.pop('tokenizer'), lambda meta: meta.update(vocab_size='65'),
    lambda meta: meta.update(vocab_size=500), lambda meta: meta.update(dtype='int16'),
    lambda meta: meta.update(dtype='u' * 10**6), lambda meta: meta['splits'].pop('val'),
    lambda meta: meta['splits'].update(val=[]), lambda meta: meta['splits']['val'].update(bytes=True),
    lambda meta: meta['splits']['val'].update(bytes=-5), lambda meta: meta['tokenizer'].update(kind='bpe'),
    lambda meta: meta['splits']['val'].update(sha256='a\nb'),
    lambda meta: meta['splits']['val'].update(tokens=int('9' * 4300))])
def test_a_meta_with_anything_wrong_is_one_line(prepared, change):
    change_meta(prepared, change)
    refusal(bins.load_meta, prepared)


# nanoGPT's files

def write_nanogpt(folder, text='hello world, ' * 50, meta=None):
    """What nanoGPT's prepare.py writes for characters."""
    chars = sorted(set(text))
    stoi = {char: i for i, char in enumerate(chars)}
    if meta is None:
        meta = {'vocab_size': len(chars), 'itos': dict(enumerate(chars)), 'stoi': stoi}
    ids = np.array([stoi[char] for char in text], dtype=np.uint16)
    n = int(len(text) * 0.9)
    ids[:n].tofile(folder / 'train.bin')
    ids[n:].tofile(folder / 'val.bin')
    (folder / 'meta.pkl').write_bytes(meta if isinstance(meta, bytes) else pickle.dumps(meta))
    return text


def decoded(folder):
    """The texts of a dataset, as its meta says to read them."""
    meta = bins.load_meta(folder)
    tokenizer = from_json(meta['tokenizer'])
    return [tokenizer.decode(bins.open_bin(folder, split, meta).tolist()) for split in ('train', 'val')]


def test_nanogpts_characters_are_read_with_their_pickle(tmp_path):
    text = write_nanogpt(tmp_path, 'héllo wörld, ' * 50)
    assert ''.join(decoded(tmp_path)) == text
    splits = bins.load_meta(str(tmp_path))['splits']
    assert sum(record['bytes'] for record in splits.values()) == len(text.encode())
    with open(tmp_path / 'val.bin', 'ab') as file:
        file.write(b'x')
    assert 'truncated' in refusal(bins.load_meta, tmp_path)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


def test_a_hostile_pickle_is_refused_and_not_executed(tmp_path):
    victim = tmp_path / 'executed'
    for meta in Hostile(victim), {'itos': {0: Hostile(victim)}}, {'itos': Hostile(victim)}:
        write_nanogpt(tmp_path, meta=pickle.dumps(meta))
        assert 'meta.pkl' in refusal(bins.load_meta, tmp_path)
    assert not victim.exists()


@pytest.mark.parametrize('meta', [
    b'', b'junk', pickle.dumps(5), pickle.dumps({}), pickle.dumps({'itos': 5}),
    pickle.dumps({'itos': {0: 'a', 2: 'b'}}), pickle.dumps({'itos': {0: 'a', 1: 'a'}}),
    pickle.dumps({'itos': {0: 'ab', 1: 'c'}}), pickle.dumps({'itos': {0: 5}}), pickle.dumps({'itos': {}}),
    pickle.dumps({'itos': dict(enumerate('abc'))})]) # a vocabulary of three for text of more
def test_a_pickle_that_is_no_vocabulary_of_these_bins_is_one_line(tmp_path, meta):
    write_nanogpt(tmp_path, meta=meta)
    refusal(bins.load_meta, tmp_path)


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
        message = refusal(bins.load_tokenizer, str(tmp_path / name))
        assert name in message and 'meta.pkl' in message


# hostile input

@pytest.mark.parametrize('kind', ['char', 'bpe'])
def test_a_meta_with_any_value_replaced_or_bytes_changed_is_refused_or_reads_as_it_says(tmp_path, kind):
    write_stories(tmp_path, tokenizer=train_bpe(STORIES, 300) if kind == 'bpe' else None)
    path, expected, rng = tmp_path / 'meta.json', decoded(tmp_path), random.Random(0)
    whole, tokenizer, found = path.read_bytes(), bins.load_meta(tmp_path)['tokenizer'], []
    for _ in range(120):
        path.write_text(json.dumps(replaced(rng, json.loads(whole))), encoding='utf-8')
        found.append(survived(decoded, tmp_path))
        assert found[-1] in (None, expected)
        path.write_bytes(mangled(rng, whole))
        changed = survived(decoded, tmp_path)
        if changed not in (None, expected): # nothing can tell another vocabulary of the same size
            assert bins.load_meta(tmp_path)['tokenizer'] != tokenizer
    assert None in found and expected in found


def test_bins_whose_bytes_are_changed_are_refused(prepared):
    rng = random.Random(2)
    for name in 'train.bin', 'val.bin':
        whole = (prepared / name).read_bytes()
        for _ in range(100):
            changed = mangled(rng, whole)
            (prepared / name).write_bytes(changed)
            assert (survived(bins.load_meta, prepared) is None) == (changed != whole)
        (prepared / name).write_bytes(whole)


def test_a_pickle_whose_bytes_are_changed_is_refused_or_is_characters(tmp_path):
    write_nanogpt(tmp_path, 'hällo wörld, ' * 50)
    path, rng, victim = tmp_path / 'meta.pkl', random.Random(3), tmp_path / 'executed'
    whole, hostile = path.read_bytes(), pickle.dumps(Hostile(victim))
    n_vocab = bins.load_meta(tmp_path)['vocab_size']
    for i in range(240):
        start = rng.randrange(len(whole))
        path.write_bytes(whole[:start] + hostile[2:] + whole[start:] if i % 3 == 0 else mangled(rng, whole))
        found = survived(bins.load_meta, tmp_path)
        assert found is None or len(set(found['tokenizer']['chars'])) == found['vocab_size'] == n_vocab
    assert not victim.exists()


def test_a_meta_of_a_terabyte_is_not_read(prepared):
    os.truncate(prepared / 'meta.json', 1 << 40)
    assert 'expected at most' in refusal(bins.load_meta, prepared)
