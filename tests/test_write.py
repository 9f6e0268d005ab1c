"""Datasets as they are written: what the bins hold, what a crash leaves, what is resumed."""
import contextlib
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
from conftest import REPO, STORIES, error_of, files, mangled, replaced, value_or_error, write_stories
from hypothesis import given, settings
from hypothesis import strategies as st

from data import bins, write
from data.tokenizer import SEPARATOR, CharTokenizer, GPT2Tokenizer, train_bpe


def read(folder, split):
    return bins.open_bin(folder, split, bins.load_meta(folder)).tolist()


@pytest.fixture(scope='module')
def bpe():
    return train_bpe(STORIES, 400)


# what is written

def test_what_is_read_is_what_was_encoded_and_meta_counts_it(tmp_path, bpe):
    written = write_stories(tmp_path, tokenizer=bpe, made_from={'script': 'test'})
    assert bins.load_meta(str(tmp_path)) == written and bins.made_from(tmp_path) == {'script': 'test'}
    for split, texts in ('train', STORIES[:-10]), ('val', STORIES[-10:]):
        ids = [i for text in texts for i in [*bpe.encode(text), bpe.eot]]
        assert read(tmp_path, split) == ids
        record, n_bytes = written['splits'][split], sum(len(text.encode()) for text in texts)
        assert [record[key] for key in ('tokens', 'documents', 'bytes')] == [len(ids), len(texts), n_bytes]
        assert record['largest_id'] == max(ids) == bpe.eot
    assert sorted(os.listdir(tmp_path)) == ['meta.json', 'train.bin', 'val.bin']


def test_only_the_end_of_a_document_is_its_separator(tmp_path, bpe):
    texts = ['a', SEPARATOR, f'b{SEPARATOR}c'] * 10
    write_stories(tmp_path, texts, bpe)
    ids = np.array(read(tmp_path, 'train'))
    ends = np.flatnonzero(ids == bpe.eot)
    assert [bpe.decode(part[part != bpe.eot]) for part in np.split(ids, ends + 1)[:-1]] == texts[:-10]
    write_stories(tmp_path)
    assert len(read(tmp_path, 'train')) == len(''.join(STORIES[:-10])) # characters have none
    write_stories(tmp_path, tokenizer=bpe, separate=False)
    assert bpe.eot not in read(tmp_path, 'train')


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.sampled_from("ab 1'.\n\t\u00a0\u2003é"), max_size=60), size=st.integers(1, 20))
def test_parts_encode_to_the_ids_of_the_whole(bpe, text, size):
    parts = list(write.parts(text, size))
    assert ''.join(part for part, _ in parts) == text
    assert [ends for _, ends in parts] == [False] * (len(parts) - 1) + [True]
    assert sum(bpe.encode_batch([part for part, _ in parts]), []) == bpe.encode(text)


def test_a_vocabulary_beyond_16_bits_is_stored_in_32(tmp_path):
    chars = ''.join(map(chr, range(0x10000, 0x10000 + 70_001)))
    meta = write_stories(tmp_path, [chars, *[chars[:2]] * 10], CharTokenizer(chars))
    assert meta['dtype'] == 'uint32' and meta['splits']['train']['largest_id'] == 70_000
    assert read(tmp_path, 'train') == list(range(70_001))
    assert bins.bin_dtype(65_536) == np.uint16 and bins.bin_dtype(65_537) == np.uint32


@pytest.mark.parametrize('wrong', [70_000, 4464, -1, 65])
def test_an_id_outside_the_vocabulary_is_refused_and_the_old_bins_stay(stories_folder, wrong):
    before = files(stories_folder)
    tokenizer = CharTokenizer(''.join(map(chr, range(65))))
    tokenizer.encode_batch = lambda texts: [[0, 1, wrong] for text in texts]
    message = error_of(write_stories, stories_folder, tokenizer=tokenizer)
    assert f'{wrong:,}' in message and '64' in message
    assert 'train.bin: expected 2 tokens' in error_of(write_stories, stories_folder, STORIES[:10]) # no train
    assert before.items() <= files(stories_folder).items()


@pytest.mark.parametrize('n_bytes, text', [(0, '0 bytes'), (999, '999 bytes'), (1000, '1.0 kB'),
                                           (18e9, '18.0 GB'), (5e13, '50,000.0 GB')])
def test_sizes_have_units(n_bytes, text):
    assert write.format_bytes(n_bytes) == text


# crashes

KILLED = '''
import os, signal, sys
from data import write
from data.tokenizer import CharTokenizer

def texts():
    yield 'some text ' * 50_000
    os.kill(os.getpid(), signal.SIGKILL)

write.batches = lambda texts, batches=write.batches: batches(texts, 1000)
write.write_dataset(sys.argv[1], {'train': ['some text'], 'val': texts()}, CharTokenizer('emost x'), 'a test')
'''


def test_a_preparation_killed_half_way_leaves_tmp_files_that_are_refused(tmp_path):
    done = subprocess.run([sys.executable, '-c', KILLED, tmp_path], cwd=REPO)
    assert done.returncode == -signal.SIGKILL
    assert sorted(os.listdir(tmp_path)) == ['train.bin.tmp', 'val.bin.tmp']
    assert os.path.getsize(tmp_path / 'val.bin.tmp') > 900_000 # half of it was written
    assert 'meta.json, found no train.bin and no val.bin' in error_of(bins.load_meta, tmp_path)


@pytest.mark.parametrize('step', range(5))
def test_a_crash_while_bins_are_replaced_leaves_old_or_new_or_what_is_refused(stories_folder, step):
    old = read(stories_folder, 'train'), read(stories_folder, 'val')
    texts = [text.upper() for text in STORIES]
    new = tuple(CharTokenizer.of(''.join(texts)).encode(''.join(part)) for part in (texts[:-10], texts[-10:]))
    calls = []

    def crashing(function):
        def call(path, *arguments):
            if os.path.exists(path) and len(calls) == step:
                raise KeyboardInterrupt # nothing catches it here, so the disk is as after a crash
            calls.append(path)
            return function(path, *arguments)
        return call

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(os, 'remove', crashing(os.remove)) # the old meta.json
        patch.setattr(os, 'replace', crashing(os.replace)) # train.bin, val.bin, meta.json
        write_stories(stories_folder, texts)
    found, _ = value_or_error(lambda: (read(stories_folder, 'train'), read(stories_folder, 'val')))
    assert found == {0: old, 4: new}.get(step)


def texts_that_stop(texts, after):
    yield from islice(texts, after)
    raise KeyboardInterrupt


def write_resumable(folder, tokenizer, stop=None):
    """As write_stories(), from one stream that stops before document `stop`, leaving out what is done."""
    done = write.documents_done(str(folder), 'job')
    texts = iter(STORIES[sum(done.values()):])
    if stop is not None:
        texts = texts_that_stop(texts, stop - sum(done.values()))
    splits = {'val': islice(texts, max(0, 10 - done.get('val', 0))), 'train': texts}
    return write.write_dataset(str(folder), splits, tokenizer, 'a test', job='job', save_every=2)


@pytest.fixture(scope='module')
def whole(tmp_path_factory, bpe):
    """The folder of write_resumable() in one go; read only."""
    folder = tmp_path_factory.mktemp('whole')
    write_resumable(folder, bpe)
    return folder


@pytest.fixture(scope='module')
def stopped(tmp_path_factory, bpe):
    """The folder of a resumable preparation that was stopped inside train; read only."""
    folder, batches = tmp_path_factory.mktemp('stopped'), write.batches
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(write, 'batches', lambda texts: batches(texts, size=70)) # so that much is saved
        write_resumable(folder, bpe, 30)
    return folder


@pytest.mark.parametrize('stops', [[59], [12, 13, 31], [20, 20, 20]])
def test_a_job_stopped_and_resumed_gives_the_same_files_as_one_go(tmp_path, bpe, whole, monkeypatch, stops):
    batches, parts = write.batches, write.parts
    monkeypatch.setattr(write, 'batches', lambda texts: batches(texts, size=70)) # may end inside a document
    monkeypatch.setattr(write, 'parts', lambda text: parts(text, size=30))
    for stop in stops:
        pytest.raises(KeyboardInterrupt, write_resumable, tmp_path, bpe, stop)
        assert sum(write.documents_done(tmp_path, 'job').values()) >= min(stop - 8, 10)
    write_resumable(tmp_path, bpe)
    assert files(tmp_path) == files(whole)


@pytest.mark.parametrize('damage', ['shorter', 'other', 'reversed', 'gone'])
def test_a_job_whose_tmp_files_changed_is_not_resumed(tmp_path, stopped, bpe, damage):
    assert write.documents_done(stopped, 'another job') == {} != write.documents_done(stopped, 'job')
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    path = tmp_path / 'val.bin.tmp'
    contents = path.read_bytes()
    path.write_bytes({'shorter': contents[:-100], 'other': contents[:-100] + b'x' * 100, 'gone': b'',
                      'reversed': np.frombuffer(contents, '<u2')[::-1].tobytes()}[damage]) # the same counts
    if damage == 'gone':
        path.unlink()
    assert 'val.bin.tmp' in error_of(write_resumable, tmp_path, bpe)


@pytest.mark.parametrize('how', ['values', 'bytes'])
def test_a_changed_progress_is_refused_or_the_files_are_those_of_one_go(tmp_path, stopped, whole, bpe, how):
    saved, rng, refused = json.loads((stopped / 'progress.json').read_bytes()), random.Random(0), []
    before = {path: checksum for path, checksum in files(stopped).items() if path.suffix == '.tmp'}
    for i in range(30):
        folder = shutil.copytree(stopped, tmp_path / str(i))
        changed = json.dumps(replaced(rng, saved) if how == 'values' else saved).encode()
        (folder / 'progress.json').write_bytes(mangled(rng, changed) if how == 'bytes' else changed)
        refused.append(bool(error_of(write_resumable, folder, bpe)))
        (folder / 'progress.json').unlink(missing_ok=True)
        assert files(folder) == (before if refused[-1] else files(whole))
    assert set(refused) == {True, False}


def test_what_a_file_has_beyond_its_progress_is_dropped_and_train_without_val_is_refused(
        tmp_path, stopped, whole, bpe):
    folder = shutil.copytree(stopped, tmp_path / 'tail')
    with open(folder / 'train.bin.tmp', 'ab') as file:
        file.write(b'x' * 1001)
    write_resumable(folder, bpe)
    assert files(folder) == files(whole)
    folder = shutil.copytree(stopped, tmp_path / 'order')
    saved = json.loads((stopped / 'progress.json').read_bytes())
    assert saved['splits']['val']['documents'] == 10 and saved['splits'].pop('val')
    (folder / 'progress.json').write_text(json.dumps(saved), encoding='utf-8')
    assert 'in the order' in error_of(write_resumable, folder, bpe) # else train would be written as val


@pytest.mark.parametrize('name', ['train.bin', 'train.bin.tmp', 'meta.json', 'progress.json'])
def test_a_folder_in_the_place_of_a_file_to_write_is_one_line(tmp_path, bpe, name):
    (tmp_path / name).mkdir()
    message = error_of(write_resumable, tmp_path, bpe)
    assert os.path.join(tmp_path, name.removesuffix('.tmp')) in message and 'directory' in message


# bins that nanoGPT made

def test_gpt2_bins_get_a_meta_without_being_touched_and_without_network(tmp_path, no_network, capsys):
    for split in 'train', 'val':
        np.array([15496, 995, 50256] * 20, dtype=np.uint16).tofile(tmp_path / f'{split}.bin')
    before, folder = files(tmp_path), str(tmp_path)
    assert '--tokenizer=gpt2' in error_of(write.adopt_bins, folder, 'char')
    write.adopt_bins(folder, 'gpt2')
    assert 'gpt2 tokenizer: expected' in capsys.readouterr().out # bytes are not known then, and it says why
    meta = bins.load_meta(folder)
    assert meta['vocab_size'] == GPT2Tokenizer.n_vocab and meta['splits']['val']['documents'] == 20
    assert 'meta.json' in error_of(write.adopt_bins, folder, 'gpt2') # not twice
    assert bins.load_meta(folder) == meta and before.items() <= files(tmp_path).items()


def test_bins_that_cannot_be_gpt2_are_refused(tmp_path, no_network):
    for split in 'train', 'val':
        np.full(20, 50300, dtype=np.uint16).tofile(tmp_path / f'{split}.bin')
    message = error_of(write.adopt_bins, str(tmp_path), 'gpt2')
    assert '50,300' in message and '50,257' in message and not (tmp_path / 'meta.json').exists()
