"""Datasets as they are written: what the bins hold, what a kill leaves, what is gone on with."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bins import STORIES, nanogpt, one_line, read, write_stories
from test_tokenizer import mangled, replaced, survived

from data import bins, write
from data.tokenizer import SEPARATOR, CharTokenizer, GPT2Tokenizer, train_bpe

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture
def prepared(tmp_path):
    write_stories(tmp_path)
    return tmp_path


@pytest.fixture(scope='module')
def bpe():
    return train_bpe(STORIES, 400)


# what is written

def test_what_is_read_is_what_was_encoded_and_meta_counts_it(tmp_path, bpe):
    written = write_stories(tmp_path, tokenizer=bpe)
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
    write_stories(tmp_path, texts, bpe)
    for split, documents in ('train', texts[:-10]), ('val', texts[-10:]):
        ids = np.array(read(tmp_path, split))
        ends = np.flatnonzero(ids == bpe.eot)
        assert [bpe.decode(part[part != bpe.eot]) for part in np.split(ids, ends + 1)[:-1]] == documents


def test_characters_and_undivided_texts_have_no_separator(tmp_path, bpe):
    write_stories(tmp_path / 'char')
    assert len(read(tmp_path / 'char', 'train')) == len(''.join(STORIES[:-10]))
    write_stories(tmp_path / 'bpe', tokenizer=bpe, separate=False)
    assert bpe.eot not in read(tmp_path / 'bpe', 'train')


def test_a_large_document_written_in_parts_has_the_ids_of_the_whole(tmp_path, bpe):
    text = '\n'.join(STORIES) * 400 # 1.5 MB, more than one part
    write.write_dataset(str(tmp_path), {'train': [text], 'val': STORIES}, bpe, 'a test')
    assert read(tmp_path, 'train') == [*bpe.encode(text), bpe.eot]
    assert bins.load_meta(tmp_path)['splits']['train']['documents'] == 1


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.sampled_from("ab 1'.\n\t\u00a0\u2003é"), max_size=60), size=st.integers(1, 20))
def test_parts_encode_to_the_ids_of_the_whole(bpe, text, size):
    parts = list(write.parts(text, size))
    assert ''.join(part for part, _ in parts) == text
    assert [ends for _, ends in parts] == [False] * (len(parts) - 1) + [True]
    assert sum(bpe.encode_batch([part for part, _ in parts]), []) == bpe.encode(text)


def test_batches_hold_every_document_in_order_and_about_the_size_asked_for():
    batches = list(write.batches(iter(STORIES), size=200))
    assert [text for batch in batches for text, _ in batch] == STORIES
    assert all(sum(len(text) for text, _ in batch[:-1]) < 200 for batch in batches)


def test_C7_a_vocabulary_beyond_16_bits_is_stored_in_32(tmp_path):
    chars = ''.join(chr(i) for i in range(0x10000, 0x10000 + 70_001))
    meta = write_stories(tmp_path, [chars] * 12, CharTokenizer(chars))
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
        write_stories(prepared, tokenizer=tokenizer)
    assert f'{wrong:,}' in one_line(problem) and '64' in one_line(problem)
    assert read(prepared, 'train') == before


def test_an_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / 'file').write_text('', encoding='utf-8')
    message = one_line(pytest.raises(SystemExit, write_stories, tmp_path / 'file'))
    assert 'file' in message and '--out' in message


def test_an_empty_split_is_one_line_and_leaves_the_old_bins(prepared):
    before = read(prepared, 'train')
    message = one_line(pytest.raises(SystemExit, write_stories, prepared, STORIES[:10]))
    assert message.startswith('train.bin: expected 2 tokens')
    assert read(prepared, 'train') == before


@pytest.mark.parametrize('n_bytes, text', [
    (0, '0 bytes'), (999, '999 bytes'), (1000, '1.0 kB'), (12_100, '12.1 kB'), (10_300_000, '10.3 MB'),
    (18e9, '18.0 GB'), (5e13, '50,000.0 GB')])
def test_sizes_have_units(n_bytes, text):
    assert write.sized(n_bytes) == text


# kills

KILLED = '''
import os, signal, sys
from data.tokenizer import CharTokenizer
from data.write import write_dataset

def texts():
    yield 'some text ' * 600_000
    os.kill(os.getpid(), signal.SIGKILL)

tokenizer = CharTokenizer.of('some text ')
write_dataset(sys.argv[1], {'train': ['some text'], 'val': texts()}, tokenizer, 'a test')
'''


def test_C8_a_prepare_killed_half_way_leaves_tmp_files_that_are_refused(tmp_path):
    done = subprocess.run([sys.executable, '-c', KILLED, tmp_path], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert sorted(os.listdir(tmp_path)) == ['train.bin.tmp', 'val.bin.tmp']
    assert os.path.getsize(tmp_path / 'val.bin.tmp') > 4_000_000 # half of it was written
    message = one_line(pytest.raises(SystemExit, bins.load_meta, tmp_path))
    assert 'meta.json, found no train.bin and no val.bin' in message


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
        write_stories(prepared, texts)
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
    """As write_stories(), from one stream that stops before document `stop`, leaving out what is done."""
    done = write.documents_done(str(folder), 'job')
    texts = iter(STORIES[sum(done.values()):])
    if stop is not None:
        texts = texts_that_stop(texts, stop - sum(done.values()))
    splits = {'val': islice(texts, max(0, 10 - done.get('val', 0))), 'train': texts}
    return write.write_dataset(str(folder), splits, tokenizer, 'a test', job='job', note_every=2)


@pytest.mark.parametrize('stops', [[12], [30], [59], [12, 13, 31], [20, 20, 20]])
def test_a_job_stopped_and_resumed_gives_the_same_files_as_one_go(tmp_path, bpe, monkeypatch, stops):
    batches, parts = write.batches, write.parts
    monkeypatch.setattr(write, 'batches', lambda texts: batches(texts, size=70)) # may end inside one
    monkeypatch.setattr(write, 'parts', lambda text: parts(text, size=30))
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            write_resumable(tmp_path / 'stopped', bpe, stop)
        assert sum(write.documents_done(tmp_path / 'stopped', 'job').values()) >= min(stop - 8, 10)
    meta = write_resumable(tmp_path / 'stopped', bpe)
    assert meta == write_resumable(tmp_path / 'whole', bpe)
    for name in 'train.bin', 'val.bin':
        assert (tmp_path / 'stopped' / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()
    assert sorted(os.listdir(tmp_path / 'stopped')) == ['meta.json', 'train.bin', 'val.bin']


def test_another_job_starts_at_its_beginning(tmp_path, bpe):
    with pytest.raises(KeyboardInterrupt):
        write_resumable(tmp_path, bpe, stop=59)
    assert write.documents_done(tmp_path, 'another job') == {} == write.documents_done(tmp_path, '')
    assert write.documents_done(tmp_path, 'job') == {'val': 10}


@pytest.mark.parametrize('damage', ['shorter', 'other', 'reversed', 'gone'])
def test_a_job_whose_tmp_files_changed_is_not_resumed(tmp_path, bpe, damage):
    with pytest.raises(KeyboardInterrupt):
        write_resumable(tmp_path, bpe, stop=59)
    path = tmp_path / 'val.bin.tmp'
    if damage == 'gone':
        path.unlink()
    elif damage == 'reversed': # nothing that is counted differs
        np.fromfile(path, dtype='<u2')[::-1].tofile(path)
    else:
        path.write_bytes(path.read_bytes()[:-100] + (b'x' * 100 if damage == 'other' else b''))
    assert 'val.bin.tmp' in one_line(pytest.raises(SystemExit, write_resumable, tmp_path, bpe))


def test_what_a_tmp_file_has_beyond_what_was_noted_is_dropped(tmp_path, bpe):
    meta = write_resumable(tmp_path / 'whole', bpe)
    pytest.raises(KeyboardInterrupt, write_resumable, tmp_path / 'stopped', bpe, 59)
    with open(tmp_path / 'stopped' / 'val.bin.tmp', 'ab') as file:
        file.write(b'x' * 1001)
    assert write_resumable(tmp_path / 'stopped', bpe) == meta == bins.load_meta(tmp_path / 'stopped')


@pytest.mark.parametrize('text', ['', '{', '[]', 'null', '\x00', '[' * 100_000, '{"job": 5, "splits": {}}',
                                  '{"job": "job"}', '{"job": "job", "splits": {"a\\nb": 5}}'])
def test_a_progress_that_is_not_ours_is_one_line(tmp_path, text):
    (tmp_path / 'progress.json').write_text(text, encoding='utf-8')
    message = one_line(pytest.raises(SystemExit, write.documents_done, tmp_path, 'job'))
    assert 'progress.json: ' in message and 'remove progress.json' in message


@pytest.mark.parametrize('how', ['values', 'bytes'])
def test_a_progress_changed_anywhere_is_refused_or_the_files_are_the_same(tmp_path, bpe, monkeypatch, how):
    whole, stopped, resumed = tmp_path / 'whole', tmp_path / 'stopped', tmp_path / 'resumed'
    meta = write_resumable(whole, bpe)
    with monkeypatch.context() as patch:
        batches = write.batches
        patch.setattr(write, 'batches', lambda texts: batches(texts, size=70)) # so that much is noted
        pytest.raises(KeyboardInterrupt, write_resumable, stopped, bpe, 30)
    noted = json.loads((stopped / 'progress.json').read_bytes())
    assert noted['splits']['val']['documents'] == 10 and noted['splits']['train']['documents'] > 10
    rng, found = random.Random(0), []
    for _ in range(300):
        shutil.copytree(stopped, resumed)
        text = json.dumps(replaced(rng, noted) if how == 'values' else noted).encode()
        (resumed / 'progress.json').write_bytes(mangled(rng, text) if how == 'bytes' else text)
        found.append(survived(write_resumable, resumed, bpe))
        assert found[-1] in (None, meta)
        for name in 'train.bin', 'val.bin':
            name, origin = (name, whole) if found[-1] else (f'{name}.tmp', stopped)
            assert (resumed / name).read_bytes() == (origin / name).read_bytes()
        shutil.rmtree(resumed)
    assert None in found and meta in found


def test_a_progress_of_train_without_val_is_refused(tmp_path, bpe): # it would write train's documents as val
    pytest.raises(KeyboardInterrupt, write_resumable, tmp_path, bpe, 59)
    path = tmp_path / 'progress.json'
    noted = json.loads(path.read_bytes())
    path.write_text(json.dumps({**noted, 'splits': {'train': noted['splits']['val']}}), encoding='utf-8')
    (tmp_path / 'val.bin.tmp').rename(tmp_path / 'train.bin.tmp')
    assert 'in the order' in one_line(pytest.raises(SystemExit, write_resumable, tmp_path, bpe))


@pytest.mark.parametrize('name', ['train.bin', 'train.bin.tmp', 'meta.json', 'meta.json.tmp', 'progress.json',
                                  'progress.json.tmp'])
def test_a_folder_in_the_place_of_a_file_to_write_is_one_line(tmp_path, bpe, name):
    (tmp_path / name).mkdir()
    message = one_line(pytest.raises(SystemExit, write_resumable, tmp_path, bpe))
    assert os.path.join(tmp_path, name.removesuffix('.tmp')) in message and 'directory' in message


# bins that nanoGPT made

def test_characters_of_nanogpt_get_a_meta_that_says_what_their_pickle_said(tmp_path):
    nanogpt(tmp_path, 'héllo wörld, ' * 50)
    meta = bins.load_meta(str(tmp_path))
    write.adopt_bins(str(tmp_path), 'char')
    (tmp_path / 'meta.pkl').unlink()
    assert bins.load_meta(str(tmp_path)) == meta


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
    write.adopt_bins(str(gpt2_bins), 'gpt2')
    assert 'gpt2 tokenizer: expected' in capsys.readouterr().out # bytes are not known then, and it says why
    meta = bins.load_meta(str(gpt2_bins))
    assert meta['vocab_size'] == GPT2Tokenizer.n_vocab and meta['splits']['val']['documents'] == 20
    assert (gpt2_bins / 'train.bin').read_bytes() == before


def test_C3_bins_that_cannot_be_gpt2_are_refused(gpt2_bins):
    np.full(20, 50300, dtype=np.uint16).tofile(gpt2_bins / 'val.bin')
    message = one_line(pytest.raises(SystemExit, write.adopt_bins, str(gpt2_bins), 'gpt2'))
    assert '50,300' in message and '50,257' in message
    assert not (gpt2_bins / 'meta.json').exists()


def test_bins_are_not_adopted_as_what_they_are_not(tmp_path):
    nanogpt(tmp_path)
    assert '--tokenizer=char' in one_line(pytest.raises(SystemExit, write.adopt_bins, str(tmp_path), 'gpt2'))
    (tmp_path / 'meta.pkl').unlink()
    assert '--tokenizer=gpt2' in one_line(pytest.raises(SystemExit, write.adopt_bins, str(tmp_path), 'char'))


def test_bins_of_our_own_are_not_adopted_again(prepared):
    before = bins.load_meta(prepared)
    assert 'meta.json' in one_line(pytest.raises(SystemExit, write.adopt_bins, str(prepared), 'gpt2'))
    assert bins.load_meta(prepared) == before
