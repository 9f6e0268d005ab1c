"""Datasets as they are written: what the bins hold, what a crash leaves, what is resumed."""
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
from conftest import REPO, mangled, refusal, replaced, survived
from hypothesis import given, settings
from hypothesis import strategies as st

from data import bins, write
from data.tokenizer import SEPARATOR, CharTokenizer, GPT2Tokenizer, train_bpe

STORIES = [f'Story {i}: a fox and {i % 7} mice met {"again " * (i % 5)}at noon!\n\nThe end.'
           for i in range(60)]


def write_stories(folder, texts=STORIES, tokenizer=None, **more):
    tokenizer = tokenizer or CharTokenizer.of(''.join(texts))
    splits = {'train': texts[:-10], 'val': texts[-10:]}
    return write.write_dataset(str(folder), splits, tokenizer, 'a test', **more)


def read(folder, split):
    return bins.open_bin(folder, split, bins.load_meta(folder)).tolist()


@pytest.fixture
def prepared(tmp_path):
    write_stories(tmp_path)
    return tmp_path


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
        record = written['splits'][split]
        assert record['tokens'] == len(ids) and record['largest_id'] == max(ids) == bpe.eot
        assert record['documents'] == len(texts)
        assert record['bytes'] == sum(len(text.encode()) for text in texts)
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


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.sampled_from("ab 1'.\n\t\u00a0\u2003é"), max_size=60), size=st.integers(1, 20))
def test_parts_encode_to_the_ids_of_the_whole(bpe, text, size):
    parts = list(write.parts(text, size))
    assert ''.join(part for part, _ in parts) == text
    assert [ends for _, ends in parts] == [False] * (len(parts) - 1) + [True]
    assert sum(bpe.encode_batch([part for part, _ in parts]), []) == bpe.encode(text)


def test_a_vocabulary_beyond_16_bits_is_stored_in_32(tmp_path):
    chars = ''.join(chr(i) for i in range(0x10000, 0x10000 + 70_001))
    meta = write_stories(tmp_path, [chars] * 12, CharTokenizer(chars))
    assert meta['dtype'] == 'uint32' and meta['splits']['train']['largest_id'] == 70_000
    assert read(tmp_path, 'train') == list(range(70_001)) * 2
    assert bins.bin_dtype(65_536) == np.uint16 and bins.bin_dtype(65_537) == np.uint32


@pytest.mark.parametrize('wrong', [70_000, 4464, -1, 65])
def test_an_id_outside_the_vocabulary_is_refused_and_the_old_bins_stay(prepared, wrong):
    before = read(prepared, 'train')
    tokenizer = CharTokenizer(''.join(map(chr, range(65))))
    tokenizer.encode_batch = lambda texts: [[0, 1, wrong] for text in texts]
    message = refusal(write_stories, prepared, tokenizer=tokenizer)
    assert f'{wrong:,}' in message and '64' in message
    assert 'train.bin: expected 2 tokens' in refusal(write_stories, prepared, STORIES[:10]) # an empty split
    assert read(prepared, 'train') == before


@pytest.mark.parametrize('n_bytes, text', [(0, '0 bytes'), (999, '999 bytes'), (1000, '1.0 kB'),
                                           (18e9, '18.0 GB'), (5e13, '50,000.0 GB')])
def test_sizes_have_units(n_bytes, text):
    assert write.format_bytes(n_bytes) == text


# crashes

KILLED = '''
import os, signal, sys
from data.tokenizer import CharTokenizer
from data.write import write_dataset

def texts():
    yield 'some text ' * 450_000
    os.kill(os.getpid(), signal.SIGKILL)

tokenizer = CharTokenizer.of('some text ')
write_dataset(sys.argv[1], {'train': ['some text'], 'val': texts()}, tokenizer, 'a test')
'''


def test_a_preparation_killed_half_way_leaves_tmp_files_that_are_refused(tmp_path):
    done = subprocess.run([sys.executable, '-c', KILLED, tmp_path], cwd=REPO)
    assert done.returncode == -signal.SIGKILL
    assert sorted(os.listdir(tmp_path)) == ['train.bin.tmp', 'val.bin.tmp']
    assert os.path.getsize(tmp_path / 'val.bin.tmp') > 4_000_000 # half of it was written
    assert 'meta.json, found no train.bin and no val.bin' in refusal(bins.load_meta, tmp_path)


@pytest.mark.parametrize('step', range(5))
def test_a_crash_while_bins_are_replaced_leaves_old_or_new_or_what_is_refused(prepared, monkeypatch, step):
    old = read(prepared, 'train'), read(prepared, 'val')
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

    monkeypatch.setattr(os, 'remove', crashing(os.remove)) # the old meta.json
    monkeypatch.setattr(os, 'replace', crashing(os.replace)) # train.bin, val.bin, meta.json
    try:
        write_stories(prepared, texts)
    except KeyboardInterrupt:
        pass
    monkeypatch.undo()
    try:
        found = read(prepared, 'train'), read(prepared, 'val')
    except SystemExit:
        found = None
    assert found == {0: old, 4: new}.get(step)


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
    return write.write_dataset(str(folder), splits, tokenizer, 'a test', job='job', save_every=2)


@pytest.fixture
def stopped(tmp_path, bpe, monkeypatch):
    """The folder of a resumable preparation that was stopped inside train."""
    with monkeypatch.context() as patch:
        batches = write.batches
        patch.setattr(write, 'batches', lambda texts: batches(texts, size=70)) # so that much is saved
        pytest.raises(KeyboardInterrupt, write_resumable, tmp_path / 'stopped', bpe, 30)
    return tmp_path / 'stopped'


@pytest.mark.parametrize('stops', [[12], [59], [12, 13, 31], [20, 20, 20]])
def test_a_job_stopped_and_resumed_gives_the_same_files_as_one_go(tmp_path, bpe, monkeypatch, stops):
    batches, parts = write.batches, write.parts
    monkeypatch.setattr(write, 'batches', lambda texts: batches(texts, size=70)) # may end inside a document
    monkeypatch.setattr(write, 'parts', lambda text: parts(text, size=30))
    for stop in stops:
        pytest.raises(KeyboardInterrupt, write_resumable, tmp_path / 'stopped', bpe, stop)
        assert sum(write.documents_done(tmp_path / 'stopped', 'job').values()) >= min(stop - 8, 10)
    meta = write_resumable(tmp_path / 'stopped', bpe)
    assert meta == write_resumable(tmp_path / 'whole', bpe)
    for name in 'train.bin', 'val.bin':
        assert (tmp_path / 'stopped' / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()
    assert sorted(os.listdir(tmp_path / 'stopped')) == ['meta.json', 'train.bin', 'val.bin']


@pytest.mark.parametrize('damage', ['shorter', 'other', 'reversed', 'gone'])
def test_a_job_whose_tmp_files_changed_is_not_resumed(stopped, bpe, damage):
    assert write.documents_done(stopped, 'another job') == {} != write.documents_done(stopped, 'job')
    path = stopped / 'val.bin.tmp'
    if damage == 'gone':
        path.unlink()
    elif damage == 'reversed': # nothing that is counted differs
        np.fromfile(path, dtype='<u2')[::-1].tofile(path)
    else:
        path.write_bytes(path.read_bytes()[:-100] + (b'x' * 100 if damage == 'other' else b''))
    assert 'val.bin.tmp' in refusal(write_resumable, stopped, bpe)


@pytest.mark.parametrize('how', ['values', 'bytes', 'order', 'tail'])
def test_a_changed_progress_is_refused_or_the_files_are_those_of_one_go(tmp_path, stopped, bpe, how):
    whole, resumed = tmp_path / 'whole', tmp_path / 'resumed'
    meta = write_resumable(whole, bpe)
    saved = json.loads((stopped / 'progress.json').read_bytes())
    assert saved['splits']['val']['documents'] == 10 and saved['splits']['train']['documents'] > 10
    rng, found = random.Random(0), []
    for _ in range(60 if how in ('values', 'bytes') else 1):
        shutil.copytree(stopped, resumed)
        changed = replaced(rng, saved) if how == 'values' else saved
        if how == 'order': # train without val: its documents would be written as val
            changed = {**saved, 'splits': {'train': saved['splits']['train']}}
        text = json.dumps(changed).encode()
        (resumed / 'progress.json').write_bytes(mangled(rng, text) if how == 'bytes' else text)
        if how == 'tail': # what the file has beyond the progress that was saved is dropped
            with open(resumed / 'train.bin.tmp', 'ab') as file:
                file.write(b'x' * 1001)
        found.append(survived(write_resumable, resumed, bpe))
        assert found[-1] in (None, meta)
        for name in 'train.bin', 'val.bin':
            name, origin = (name, whole) if found[-1] else (f'{name}.tmp', stopped)
            assert how == 'tail' and not found[-1] or \
                (resumed / name).read_bytes() == (origin / name).read_bytes()
        shutil.rmtree(resumed)
    assert (meta in found) == (how != 'order') and (None in found) == (how != 'tail')


@pytest.mark.parametrize('name', ['train.bin', 'train.bin.tmp', 'meta.json', 'progress.json'])
def test_a_folder_in_the_place_of_a_file_to_write_is_one_line(tmp_path, bpe, name):
    (tmp_path / name).mkdir()
    message = refusal(write_resumable, tmp_path, bpe)
    assert os.path.join(tmp_path, name.removesuffix('.tmp')) in message and 'directory' in message


# bins that nanoGPT made

@pytest.fixture
def gpt2_bins(tmp_path, no_network):
    for split in 'train', 'val':
        np.array([15496, 995, 50256] * 20, dtype=np.uint16).tofile(tmp_path / f'{split}.bin')
    return tmp_path


def test_gpt2_bins_get_a_meta_without_being_touched_and_without_network(gpt2_bins, capsys):
    before = (gpt2_bins / 'train.bin').read_bytes()
    assert '--tokenizer=gpt2' in refusal(write.adopt_bins, str(gpt2_bins), 'char')
    write.adopt_bins(str(gpt2_bins), 'gpt2')
    assert 'gpt2 tokenizer: expected' in capsys.readouterr().out # bytes are not known then, and it says why
    meta = bins.load_meta(str(gpt2_bins))
    assert meta['vocab_size'] == GPT2Tokenizer.n_vocab and meta['splits']['val']['documents'] == 20
    assert (gpt2_bins / 'train.bin').read_bytes() == before
    assert 'meta.json' in refusal(write.adopt_bins, str(gpt2_bins), 'gpt2') # not twice
    assert bins.load_meta(gpt2_bins) == meta


def test_bins_that_cannot_be_gpt2_are_refused(gpt2_bins):
    np.full(20, 50300, dtype=np.uint16).tofile(gpt2_bins / 'val.bin')
    message = refusal(write.adopt_bins, str(gpt2_bins), 'gpt2')
    assert '50,300' in message and '50,257' in message
    assert not (gpt2_bins / 'meta.json').exists()
