"""Windows, batches and the files behind them: what is drawn, what is refused, what a kill leaves."""
import json
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data import bins
from data.tokenizer import SEPARATOR, CharTokenizer, GPT2Tokenizer, train_bpe

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STORIES = [f'Story {i}: a fox and {i % 7} mice. They met {"again " * (i % 5)}at noon!\n\nThe end.'
           for i in range(60)]
SIZES = [(1000, 10, 4), (997, 16, 5), (200, 64, 3), (65, 64, 8), (130, 64, 2), (4096, 8, 100), (50, 1, 7)]


def epoch_starts(n_tokens, block_size, epoch, seed=1):
    n = bins.windows_per_epoch(n_tokens, block_size)
    return bins.update_windows(n_tokens, block_size, n, seed, epoch)


def one_line(problem):
    message = str(problem.value)
    assert message and '\n' not in message and 'Traceback' not in message
    return message


# windows

@pytest.mark.parametrize('n_tokens, block_size, n_sequences', SIZES)
def test_C10_an_epoch_has_each_window_exactly_once(n_tokens, block_size, n_sequences):
    n = bins.windows_per_epoch(n_tokens, block_size)
    updates = [bins.update_windows(n_tokens, block_size, n_sequences, 1, i) for i in range(3 * n)]
    drawn = np.concatenate(updates)
    for epoch in range(3):
        starts = np.sort(drawn[epoch * n:(epoch + 1) * n])
        assert (np.diff(starts) == block_size).all() # side by side: none twice, and no token between them
        assert 0 <= starts[0] and starts[-1] + block_size < n_tokens # the last target is a token
        missed = n_tokens - 1 - n * block_size
        assert missed < 2 * block_size


@settings(max_examples=200, deadline=None)
@given(block_size=st.integers(1, 50), extra=st.integers(1, 500), n_sequences=st.integers(1, 40),
       seed=st.integers(0, 2**32), iter_num=st.integers(0, 10**9))
def test_windows_lie_inside_the_tokens(block_size, extra, n_sequences, seed, iter_num):
    n_tokens = block_size + extra
    starts = bins.update_windows(n_tokens, block_size, n_sequences, seed, iter_num)
    assert starts.dtype == np.int64 and starts.shape == (n_sequences,)
    assert starts.min() >= 0 and starts.max() + block_size < n_tokens


def test_epochs_differ_in_order_and_in_where_they_cut():
    epochs = [epoch_starts(5000, 10, epoch) for epoch in range(6)]
    assert len({tuple(starts) for starts in epochs}) == 6
    assert len({starts.min() for starts in epochs}) > 2
    assert not (epochs[0] == np.sort(epochs[0])).all()


def test_every_token_is_an_input_in_some_epoch():
    n_tokens, seen = 157, np.zeros(157, dtype=bool)
    for epoch in range(60):
        for start in epoch_starts(n_tokens, 10, epoch):
            seen[start:start + 10] = True
    assert seen[:-1].all() # the last one is only ever a target


def test_another_seed_is_another_order():
    assert (epoch_starts(5000, 10, 0, seed=1) != epoch_starts(5000, 10, 0, seed=2)).any()


def test_the_windows_of_an_update_do_not_depend_on_what_was_asked_before():
    forwards = [bins.update_windows(997, 16, 25, 3, i) for i in range(20)]
    backwards = [bins.update_windows(997, 16, 25, 3, i) for i in reversed(range(20))][::-1]
    assert np.array_equal(forwards, backwards)
    bins.epoch_order.cache_clear() # as in a process that resumes
    assert np.array_equal(forwards[11], bins.update_windows(997, 16, 25, 3, 11))


def test_three_small_updates_are_one_large_one():
    large = bins.update_windows(997, 16, 12, 3, 5)
    small = [bins.update_windows(997, 16, 4, 3, i) for i in range(15, 18)]
    assert np.array_equal(large, np.concatenate(small))


@pytest.mark.parametrize('world_size', [2, 3])
def test_D3_ranks_share_an_epoch_without_overlap(world_size):
    n = bins.windows_per_epoch(1937, 16)
    assert n % 6 == 0 # so that updates of 6 end with the epoch
    updates = [bins.update_windows(1937, 16, 6, 1, i) for i in range(n // 6)]
    ranks = [np.concatenate([update[rank::world_size] for update in updates]) for rank in range(world_size)]
    assert all(len(rank) == n // world_size for rank in ranks)
    assert len(set(np.concatenate(ranks).tolist())) == n


def test_a_file_of_one_window_gives_that_window():
    assert (bins.update_windows(65, 64, 5, 1, 7) == 0).all()


@pytest.mark.parametrize('n_tokens', [45, 64])
def test_C2_a_text_that_is_too_short_is_one_line_with_both_numbers(n_tokens):
    for ask in bins.val_windows, lambda n, b: bins.update_windows(n, b, 1, 1, 0):
        message = one_line(pytest.raises(SystemExit, ask, n_tokens, 64))
        assert f'got {n_tokens}' in message and '65' in message and f'--block_size={n_tokens - 1}' in message


@pytest.mark.parametrize('n_tokens, block_size', [(1000, 10), (997, 16), (65, 64), (130, 64)])
def test_validation_covers_the_split_side_by_side(n_tokens, block_size):
    starts = bins.val_windows(n_tokens, block_size)
    targets = (starts[:, None] + 1 + np.arange(block_size)).ravel()
    assert np.array_equal(targets, np.arange(1, len(targets) + 1))
    assert n_tokens - block_size <= len(targets) < n_tokens


@pytest.mark.parametrize('eval_tokens, windows', [(1, 1), (10, 1), (11, 2), (990, 99), (10**9, 99), (0, 99)])
def test_eval_tokens_takes_the_first_windows(eval_tokens, windows):
    assert np.array_equal(bins.val_windows(1000, 10, eval_tokens), np.arange(windows) * 10)


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
def test_C11_memory_stays_bounded_when_the_file_is_opened_for_every_update(tmp_path):
    n_bytes, meta = 64 << 20, {'dtype': 'uint16'}
    with open(tmp_path / 'train.bin', 'wb') as file:
        file.truncate(n_bytes)

    def resident():
        with open('/proc/self/statm', encoding='utf-8') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

    def growth(tokens=None):
        before, most = resident(), 0
        for i in range(100): # updates of 64 windows of 2 kB, 13 MB of the file together
            starts = bins.update_windows(n_bytes // 2, 1024, 64, 1, i)
            bins.get_batch(bins.open_bin(tmp_path, 'train', meta) if tokens is None else tokens, starts, 1024)
            most = max(most, resident() - before)
        return most

    growth() # buffers that stay are made now
    assert growth() < 4 << 20
    assert growth(bins.open_bin(tmp_path, 'train', meta)) > 8 << 20 # with one map for all it is seen to grow


# writing and reading

def write(folder, texts=None, tokenizer=None, **more):
    texts = STORIES if texts is None else texts
    tokenizer = tokenizer or CharTokenizer.of(''.join(texts))
    splits = {'train': texts[:-10], 'val': texts[-10:]}
    return bins.write_dataset(str(folder), splits, tokenizer, 'a test', **more)


def read(folder, split):
    return bins.open_bin(folder, split, bins.load_meta(folder)).tolist()


def damage(folder, change, split='train'):
    """Changes what meta.json says of a split, or without one of all."""
    path = folder / 'meta.json'
    meta = json.loads(path.read_text(encoding='utf-8'))
    change(meta if split is None else meta['splits'][split])
    path.write_text(json.dumps(meta), encoding='utf-8')


@pytest.fixture
def prepared(tmp_path):
    write(tmp_path)
    return tmp_path


@pytest.fixture(scope='module')
def bpe():
    return train_bpe(STORIES, 400)


def test_what_is_read_is_what_was_encoded_and_meta_counts_it(tmp_path, bpe):
    written = write(tmp_path, tokenizer=bpe)
    assert bins.load_meta(str(tmp_path)) == written
    for split, texts in ('train', STORIES[:-10]), ('val', STORIES[-10:]):
        ids = [i for text in texts for i in [*bpe.encode(text), bpe.eot]]
        assert read(tmp_path, split) == ids
        record = written['splits'][split]
        assert record['tokens'] == len(ids) and record['largest_id'] == max(ids) == bpe.eot
        assert record['documents'] == len(texts)
        assert record['bytes'] == sum(len(text.encode()) for text in texts)
    assert sorted(os.listdir(tmp_path)) == ['meta.json', 'train.bin', 'val.bin']


def test_documents_end_in_the_separator_whatever_they_say(tmp_path, bpe):
    texts = ['a', SEPARATOR, f'b{SEPARATOR}c'] * 10
    write(tmp_path, texts, bpe)
    for split, documents in ('train', texts[:-10]), ('val', texts[-10:]):
        ids = np.array(read(tmp_path, split))
        ends = np.flatnonzero(ids == bpe.eot)
        assert [bpe.decode(part[part != bpe.eot]) for part in np.split(ids, ends + 1)[:-1]] == documents


def test_characters_and_undivided_texts_have_no_separator(tmp_path, bpe):
    write(tmp_path / 'char')
    assert len(read(tmp_path / 'char', 'train')) == len(''.join(STORIES[:-10]))
    write(tmp_path / 'bpe', tokenizer=bpe, separate=False)
    assert bpe.eot not in read(tmp_path / 'bpe', 'train')


def test_a_large_document_written_in_parts_has_the_ids_of_the_whole(tmp_path, bpe):
    text = '\n'.join(STORIES) * 400 # 1.5 MB, more than one part
    bins.write_dataset(str(tmp_path), {'train': [text], 'val': STORIES}, bpe, 'a test')
    assert read(tmp_path, 'train') == [*bpe.encode(text), bpe.eot]
    assert bins.load_meta(tmp_path)['splits']['train']['documents'] == 1


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.sampled_from("ab 1'.\n\t\u00a0\u2003é"), max_size=60), size=st.integers(1, 20))
def test_parts_encode_to_the_ids_of_the_whole(bpe, text, size):
    parts = list(bins.parts(text, size))
    assert ''.join(part for part, _ in parts) == text
    assert [ends for _, ends in parts] == [False] * (len(parts) - 1) + [True]
    assert sum(bpe.encode_batch([part for part, _ in parts]), []) == bpe.encode(text)


def test_batches_hold_every_document_in_order_and_about_the_size_asked_for():
    batches = list(bins.batches(iter(STORIES), size=200))
    assert [text for batch in batches for text, _ in batch] == STORIES
    assert all(sum(len(text) for text, _ in batch[:-1]) < 200 for batch in batches)


def test_C7_a_vocabulary_beyond_16_bits_is_stored_in_32(tmp_path):
    chars = ''.join(chr(i) for i in range(0x10000, 0x10000 + 70_001))
    meta = write(tmp_path, [chars] * 12, CharTokenizer(chars))
    assert meta['dtype'] == 'uint32' and meta['splits']['train']['largest_id'] == 70_000
    assert read(tmp_path, 'train') == list(range(70_001)) * 2
    assert bins.bin_dtype(65_536) == np.uint16 and bins.bin_dtype(65_537) == np.uint32


class WrongTokenizer(CharTokenizer):
    """Gives an id that its vocabulary has not, as a tokenizer of another preparation would."""
    id = 70_000

    def encode_batch(self, texts):
        return [[0, 1, self.id] for text in texts]


@pytest.mark.parametrize('wrong', [70_000, 4464, -1, 65])
def test_C7_an_id_outside_the_vocabulary_is_refused_and_the_old_bins_stay(prepared, wrong):
    before = read(prepared, 'train')
    tokenizer = WrongTokenizer(''.join(map(chr, range(65))))
    tokenizer.id = wrong
    with pytest.raises(SystemExit) as problem:
        write(prepared, tokenizer=tokenizer)
    assert f'{wrong:,}' in one_line(problem) and '64' in one_line(problem)
    assert read(prepared, 'train') == before


def test_C3_ids_beyond_the_vocabulary_are_named_with_both_numbers(prepared):
    n_vocab = bins.load_meta(prepared)['vocab_size']
    damage(prepared, lambda record: record.update(largest_id=999))
    with pytest.raises(SystemExit) as problem:
        bins.load_meta(prepared)
    assert '999' in one_line(problem) and str(n_vocab) in one_line(problem)


def test_C3_ids_beyond_the_vocabulary_are_found_in_the_file_too(prepared):
    path = prepared / 'train.bin'
    np.full(os.path.getsize(path) // 2, 99, dtype='<u2').tofile(path)
    with pytest.raises(SystemExit) as problem:
        bins.load_meta(prepared)
    assert '99' in one_line(problem) and str(len(set(''.join(STORIES)))) in one_line(problem)


@pytest.mark.parametrize('cut', [1, 2, 101, 10**9])
def test_C4_a_truncated_bin_is_refused_with_what_to_do(prepared, cut):
    size = os.path.getsize(prepared / 'train.bin')
    os.truncate(prepared / 'train.bin', max(0, size - cut))
    with pytest.raises(SystemExit, match='truncated') as problem:
        bins.load_meta(prepared)
    assert all(word in one_line(problem) for word in ('train.bin', 'prepare.py', f'{size:,}'))


def test_C4_a_zero_tail_is_refused(prepared):
    path = prepared / 'train.bin'
    size = os.path.getsize(path)
    os.truncate(path, size // 2)
    os.truncate(path, size) # what is missing reads as zeros, and zero is a token
    with pytest.raises(SystemExit, match='sha256'):
        bins.load_meta(prepared)


def test_C5_bins_without_meta_are_refused_with_the_command_that_writes_one(prepared):
    (prepared / 'meta.json').unlink()
    with pytest.raises(SystemExit) as problem:
        bins.load_meta(prepared)
    assert f'--input={prepared} --tokenizer=gpt2' in one_line(problem)


@pytest.mark.parametrize('name', ['train.bin', 'val.bin'])
def test_C1_a_missing_bin_is_one_line_with_the_command(prepared, name):
    (prepared / name).unlink()
    with pytest.raises(SystemExit, match=name):
        bins.load_meta(prepared)
    (prepared / 'meta.json').unlink()
    with pytest.raises(SystemExit) as problem:
        bins.load_meta(prepared)
    assert name in one_line(problem) and 'run: python data/text/prepare.py' in one_line(problem)


def test_C1_the_command_is_that_of_the_dataset_when_there_is_one(tmp_path):
    home = os.path.join(bins.DATA, 'tinystories')
    assert bins.how_to_prepare(home) == 'run: python data/tinystories/prepare.py'
    elsewhere = str(tmp_path / 'shakespeare_char')
    assert bins.how_to_prepare(elsewhere) == f'run: python data/shakespeare_char/prepare.py --out={elsewhere}'
    with pytest.raises(SystemExit, match='python data/text/prepare.py --input=FILE --out=.*nosuch'):
        bins.load_meta(str(tmp_path / 'nosuch'))


@pytest.mark.parametrize('text', ['', '{', '[]', '7', 'null', '"meta"', '{}', '\x00', '[' * 100_000,
                                  '{"splits": {}}'])
def test_a_meta_that_is_not_ours_is_one_line(prepared, text):
    (prepared / 'meta.json').write_text(text, encoding='utf-8')
    assert 'meta.json: expected' in one_line(pytest.raises(SystemExit, bins.load_meta, prepared))


@pytest.mark.parametrize('change', [
    lambda meta: meta.pop('tokenizer'), lambda meta: meta.pop('dtype'), lambda meta: meta.update(dtype='O'),
    lambda meta: meta.update(vocab_size='65'), lambda meta: meta.update(vocab_size=500),
    lambda meta: meta.update(dtype='int16'), lambda meta: meta['splits'].pop('val'),
    lambda meta: meta['splits'].update(val=[]), lambda meta: meta['splits']['val'].update(bytes=True),
    lambda meta: meta['splits']['val'].update(bytes=-5), lambda meta: meta['tokenizer'].update(kind='bpe'),
    lambda meta: meta['splits']['val'].update(sha256=5),
    lambda meta: meta['splits']['val'].update(sha256='')])
def test_a_meta_with_anything_wrong_is_one_line(prepared, change):
    damage(prepared, change, split=None)
    one_line(pytest.raises(SystemExit, bins.load_meta, prepared))


def test_an_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / 'file').write_text('', encoding='utf-8')
    message = one_line(pytest.raises(SystemExit, write, tmp_path / 'file'))
    assert 'file' in message and '--out' in message


def test_an_empty_split_is_one_line_and_leaves_the_old_bins(prepared):
    before = read(prepared, 'train')
    message = one_line(pytest.raises(SystemExit, write, prepared, STORIES[:10]))
    assert message.startswith('train.bin: expected 2 tokens')
    assert read(prepared, 'train') == before


# kills

KILLED = '''
import os, signal, sys
from data import bins
from data.tokenizer import CharTokenizer

def texts():
    yield 'some text ' * 600_000
    os.kill(os.getpid(), signal.SIGKILL)

tokenizer = CharTokenizer.of('some text ')
bins.write_dataset(sys.argv[1], {'train': ['some text'], 'val': texts()}, tokenizer, 'a test')
'''


def test_C8_a_prepare_killed_half_way_leaves_tmp_files_that_are_refused(tmp_path):
    done = subprocess.run([sys.executable, '-c', KILLED, tmp_path], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert sorted(os.listdir(tmp_path)) == ['train.bin.tmp', 'val.bin.tmp']
    assert os.path.getsize(tmp_path / 'val.bin.tmp') > 4_000_000 # half of it was written
    assert 'meta.json' in one_line(pytest.raises(SystemExit, bins.load_meta, tmp_path))


@pytest.mark.parametrize('step', range(6))
def test_C8_a_kill_while_bins_are_replaced_leaves_old_or_new_or_none(prepared, monkeypatch, step):
    old = read(prepared, 'train'), read(prepared, 'val')
    texts = [text.upper() for text in STORIES]
    new = tuple(CharTokenizer.of(''.join(texts)).encode(''.join(part)) for part in (texts[:-10], texts[-10:]))
    calls = []

    def dying(function):
        def call(*arguments):
            if len(calls) == step:
                raise KeyboardInterrupt # nothing catches it here, so the disk is as after a kill
            calls.append(function)
            return function(*arguments)
        return call

    monkeypatch.setattr(os, 'replace', dying(os.replace)) # train.bin, val.bin, meta.json
    monkeypatch.setattr(os, 'remove', dying(os.remove)) # the old meta.json
    try:
        write(prepared, texts)
    except KeyboardInterrupt:
        pass
    monkeypatch.undo()
    try:
        found = read(prepared, 'train'), read(prepared, 'val')
    except SystemExit:
        found = None
    assert found == {0: old, 4: new, 5: new}.get(step)


def texts_that_stop(texts, after):
    for i, text in enumerate(texts):
        if i == after:
            raise KeyboardInterrupt
        yield text


def write_resumable(folder, tokenizer, stop=None):
    """As write(), from one stream that stops before document `stop`, leaving out what is done."""
    done = bins.documents_done(str(folder), 'job')
    texts = iter(STORIES[sum(done.values()):])
    if stop is not None:
        texts = texts_that_stop(texts, stop - sum(done.values()))
    splits = {'val': [next(texts) for _ in range(10 - done.get('val', 0))], 'train': texts}
    return bins.write_dataset(str(folder), splits, tokenizer, 'a test', job='job', note_every=2)


@pytest.mark.parametrize('stops', [[12], [30], [59], [12, 13, 31], [20, 20, 20]])
def test_a_job_stopped_and_resumed_gives_the_same_files_as_one_go(tmp_path, bpe, monkeypatch, stops):
    batches, parts = bins.batches, bins.parts
    monkeypatch.setattr(bins, 'batches', lambda texts: batches(texts, size=70)) # may end inside one
    monkeypatch.setattr(bins, 'parts', lambda text: parts(text, size=30))
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            write_resumable(tmp_path / 'stopped', bpe, stop)
        assert sum(bins.documents_done(tmp_path / 'stopped', 'job').values()) >= min(stop - 8, 10)
    meta = write_resumable(tmp_path / 'stopped', bpe)
    assert meta == write_resumable(tmp_path / 'whole', bpe)
    for name in 'train.bin', 'val.bin':
        assert (tmp_path / 'stopped' / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()
    assert sorted(os.listdir(tmp_path / 'stopped')) == ['meta.json', 'train.bin', 'val.bin']


def test_another_job_starts_at_its_beginning(tmp_path, bpe):
    with pytest.raises(KeyboardInterrupt):
        write_resumable(tmp_path, bpe, stop=59)
    assert bins.documents_done(tmp_path, 'another job') == {} == bins.documents_done(tmp_path, '')
    assert bins.documents_done(tmp_path, 'job') == {'val': 10}


@pytest.mark.parametrize('damage', ['shorter', 'other', 'gone'])
def test_a_job_whose_tmp_files_changed_is_not_resumed(tmp_path, bpe, damage):
    with pytest.raises(KeyboardInterrupt):
        write_resumable(tmp_path, bpe, stop=59)
    path = tmp_path / 'val.bin.tmp'
    if damage == 'gone':
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100] + (b'x' * 100 if damage == 'other' else b''))
    assert 'val.bin.tmp' in one_line(pytest.raises(SystemExit, write_resumable, tmp_path, bpe))


# nanoGPT's files

def nanogpt(folder, text='hello world, ' * 50, meta=None):
    """Writes what nanoGPT's prepare.py writes for characters."""
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


def test_C5_nanogpts_characters_are_read_with_their_pickle(tmp_path):
    text = nanogpt(tmp_path, 'héllo wörld, ' * 50)
    meta = bins.load_meta(str(tmp_path))
    tokenizer = bins.from_json(meta['tokenizer'])
    found = ''.join(tokenizer.decode(bins.open_bin(tmp_path, split, meta)) for split in ('train', 'val'))
    assert found == text
    assert sum(record['bytes'] for record in meta['splits'].values()) == len(text.encode())
    bins.adopt_bins(str(tmp_path), 'char')
    assert bins.load_meta(str(tmp_path)) == meta


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


def test_a_hostile_pickle_is_refused_and_not_executed(tmp_path):
    victim = tmp_path / 'executed'
    for meta in Hostile(victim), {'itos': {0: Hostile(victim)}}, {'itos': Hostile(victim)}:
        nanogpt(tmp_path, meta=pickle.dumps(meta))
        assert 'meta.pkl' in one_line(pytest.raises(SystemExit, bins.load_meta, tmp_path))
    assert not victim.exists()
    pickle.loads(pickle.dumps(Hostile(victim)))
    assert victim.exists() # so the pickle does bite


@pytest.mark.parametrize('meta', [
    b'', b'junk', pickle.dumps(5), pickle.dumps({}), pickle.dumps({'itos': 5}),
    pickle.dumps({'vocab_size': 65}), pickle.dumps({'itos': {0: 'a', 2: 'b'}}),
    pickle.dumps({'itos': {0: 'a', 1: 'a'}}),
    pickle.dumps({'itos': {0: 'ab', 1: 'c'}}), pickle.dumps({'itos': {0: 5}}), pickle.dumps({'itos': {}}),
    pickle.dumps({'itos': dict(enumerate('abc'))})]) # a vocabulary of three for text of more
def test_a_pickle_that_is_no_vocabulary_of_these_bins_is_one_line(tmp_path, meta):
    nanogpt(tmp_path, meta=meta)
    one_line(pytest.raises(SystemExit, bins.load_meta, tmp_path))


@pytest.fixture
def gpt2_bins(tmp_path, monkeypatch):
    monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(tmp_path / 'cache'))
    for name in 'HTTPS_PROXY', 'https_proxy':
        monkeypatch.setenv(name, 'http://127.0.0.1:9') # nothing listens there: no network, wherever this runs
    for split in 'train', 'val':
        np.array([15496, 995, 50256] * 20, dtype=np.uint16).tofile(tmp_path / f'{split}.bin')
    return tmp_path


def test_gpt2_bins_get_a_meta_without_being_touched_and_without_network(gpt2_bins, capsys):
    before = (gpt2_bins / 'train.bin').read_bytes()
    bins.adopt_bins(str(gpt2_bins), 'gpt2')
    assert 'gpt2 tokenizer: expected' in capsys.readouterr().out # bytes are not known then, and it says why
    meta = bins.load_meta(str(gpt2_bins))
    assert meta['vocab_size'] == GPT2Tokenizer.n_vocab and meta['splits']['val']['documents'] == 20
    assert (gpt2_bins / 'train.bin').read_bytes() == before


def test_C3_bins_that_cannot_be_gpt2_are_refused(gpt2_bins):
    np.full(20, 50300, dtype=np.uint16).tofile(gpt2_bins / 'val.bin')
    message = one_line(pytest.raises(SystemExit, bins.adopt_bins, str(gpt2_bins), 'gpt2'))
    assert '50,300' in message and '50,257' in message
    assert not (gpt2_bins / 'meta.json').exists()


def test_bins_are_not_adopted_as_what_they_are_not(tmp_path):
    nanogpt(tmp_path)
    assert '--tokenizer=char' in one_line(pytest.raises(SystemExit, bins.adopt_bins, str(tmp_path), 'gpt2'))
    (tmp_path / 'meta.pkl').unlink()
    assert '--tokenizer=gpt2' in one_line(pytest.raises(SystemExit, bins.adopt_bins, str(tmp_path), 'char'))


def test_bins_of_our_own_are_not_adopted_again(prepared):
    before = bins.load_meta(prepared)
    assert 'meta.json' in one_line(pytest.raises(SystemExit, bins.adopt_bins, str(prepared), 'gpt2'))
    assert bins.load_meta(prepared) == before


def test_C4_an_odd_bin_of_nanogpt_is_refused(tmp_path):
    nanogpt(tmp_path)
    with open(tmp_path / 'val.bin', 'ab') as file:
        file.write(b'x')
    assert 'truncated' in one_line(pytest.raises(SystemExit, bins.load_meta, tmp_path))


@pytest.mark.parametrize('n_bytes, text', [
    (0, '0 bytes'), (999, '999 bytes'), (1000, '1.0 kB'), (12_100, '12.1 kB'), (10_300_000, '10.3 MB'),
    (18e9, '18.0 GB'), (5e13, '50,000.0 GB')])
def test_sizes_have_units(n_bytes, text):
    assert bins.sized(n_bytes) == text
