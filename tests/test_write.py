"""Datasets as they are written: what the bins hold, what a crash leaves, what is resumed."""
import json
import os
import random
import shutil
from itertools import islice

import numpy as np
import pytest
import torch
from conftest import STORIES, error_of, fail_at, files, mangled, read_bins, replaced, write_stories

from data import bins, write
from data.tokenizer import SEPARATOR, CharTokenizer, GPT2Tokenizer, train_bpe


@pytest.fixture(scope='module')
def bpe():
    return train_bpe(STORIES, 400)


def test_what_is_read_is_what_was_encoded_counted_in_meta_with_a_separator_after_each_document(tmp_path, bpe):
    written = write_stories(tmp_path, tokenizer=bpe, provenance={'script': 'test'})
    assert bins.load_meta(str(tmp_path)) == written and bins.read_provenance(tmp_path) == {'script': 'test'}
    found = read_bins(tmp_path)[1]
    for split, texts in ('train', STORIES[:-10]), ('val', STORIES[-10:]):
        ids = [i for text in texts for i in [*bpe.encode(text), bpe.eot]]
        assert found[split] == ids
        record, n_bytes = written['splits'][split], sum(len(text.encode()) for text in texts)
        assert [record[key] for key in ('tokens', 'documents', 'bytes')] == [len(ids), len(texts), n_bytes]
        assert record['largest_id'] == max(ids) == bpe.eot
    assert sorted(os.listdir(tmp_path)) == ['meta.json', 'train.bin', 'val.bin']
    chars = ''.join(map(chr, range(0x10000, 0x10000 + 70_001)))
    meta = write_stories(tmp_path, [chars, *[chars[:2]] * 10], CharTokenizer(chars))
    assert meta['dtype'] == 'uint32' and meta['splits']['train']['largest_id'] == 70_000
    assert read_bins(tmp_path)[1]['train'] == list(range(70_001))
    x, y = bins.get_batch(bins.open_bin(tmp_path, 'train', meta), np.array([3, 69_000]), 900)
    assert x.tolist() == [list(range(3, 903)), list(range(69_000, 69_900))] and torch.equal(y, x + 1)
    assert bins.bin_dtype(65_536) == np.uint16 and bins.bin_dtype(65_537) == np.uint32
    texts = ['a', SEPARATOR, f'b{SEPARATOR}c'] * 10
    write_stories(tmp_path, texts, bpe)
    ids = np.array(read_bins(tmp_path)[1]['train'])
    ends = np.flatnonzero(ids == bpe.eot)
    assert [bpe.decode(part[part != bpe.eot]) for part in np.split(ids, ends + 1)[:-1]] == texts[:-10]
    write_stories(tmp_path)
    assert len(read_bins(tmp_path)[1]['train']) == len(''.join(STORIES[:-10])) # characters have none
    write_stories(tmp_path, tokenizer=bpe, separate=False)
    assert bpe.eot not in read_bins(tmp_path)[1]['train']


@pytest.mark.parametrize('wrong', [70_000, 4464, -1, 65])
def test_an_id_outside_the_vocabulary_is_refused_and_the_old_bins_stay(stories_folder, wrong):
    before = files(stories_folder)
    tokenizer = CharTokenizer(''.join(map(chr, range(65))))
    tokenizer.encode_batch = lambda texts: [[0, 1, wrong] for text in texts]
    message = error_of(write_stories, stories_folder, tokenizer=tokenizer)
    assert f'{wrong:,}' in message and '64' in message
    assert 'train.bin: expected 2 tokens' in error_of(write_stories, stories_folder, STORIES[:10]) # no train
    assert before.items() <= files(stories_folder).items()


# the old meta.json is removed, then train.bin, val.bin and meta.json are replaced
@pytest.mark.parametrize('call, nth', [('remove', 1), ('replace', 1), ('replace', 2), ('replace', 3)])
def test_a_crash_while_bins_are_replaced_leaves_none_or_old_ones(stories_folder, monkeypatch, call, nth):
    old = read_bins(stories_folder)[1]
    with monkeypatch.context() as patch:
        fail_at(patch, os, call, nth)
        assert 'could not be written' in error_of(write_stories, stories_folder, STORIES[::-1])
    if call == 'remove':
        assert read_bins(stories_folder)[1] == old
    else:
        assert 'expected meta.json' in error_of(bins.load_meta, stories_folder)


def write_resumable(folder, tokenizer, stop=None):
    """As write_stories(), from one stream that stops before document `stop`, leaving out what is done."""
    done = write.documents_done(str(folder), 'job')

    def texts():
        yield from STORIES[sum(done.values()):stop]
        if stop:
            raise KeyboardInterrupt

    stream = texts()
    splits = {'val': islice(stream, max(0, 10 - done.get('val', 0))), 'train': stream}
    return write.write_dataset(str(folder), splits, tokenizer, 'a test', job='job', save_every=2)


@pytest.fixture(scope='module')
def folders(tmp_path_factory, bpe):
    """(whole, stopped) of write_resumable(): in one go, and stopped inside train; read only."""
    whole, stopped = tmp_path_factory.mktemp('whole'), tmp_path_factory.mktemp('stopped')
    write_resumable(whole, bpe)
    batches = write.batches
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(write, 'batches', lambda texts: batches(texts, size=70)) # so that much is saved
        write_resumable(stopped, bpe, 30)
    return whole, stopped


def test_a_job_whose_tmp_files_changed_or_are_gone_is_not_resumed(tmp_path, folders, bpe):
    folder = shutil.copytree(folders[1], tmp_path / 'changed')
    assert write.documents_done(folder, 'another job') == {} != write.documents_done(folder, 'job')
    path = folder / 'val.bin.tmp'
    whole = path.read_bytes()
    for changed in (whole[:-100], whole[:-100] + b'x' * 100, b'', # or the same tokens in another order
                    np.frombuffer(whole, '<u2')[::-1].tobytes()):
        path.write_bytes(changed)
        assert 'val.bin.tmp' in error_of(write_resumable, folder, bpe)
    path.unlink()
    assert 'val.bin.tmp' in error_of(write_resumable, folder, bpe)


@pytest.mark.parametrize('how', ['values', 'bytes', 'order', 'tail'])
def test_a_changed_progress_is_refused_or_the_files_are_those_of_one_go(tmp_path, folders, bpe, how):
    whole, stopped = folders
    saved, rng, refused = json.loads((stopped / 'progress.json').read_bytes()), random.Random(0), set()
    before = {path: checksum for path, checksum in files(stopped).items() if path.suffix == '.tmp'}
    for i in range(40 if how in ('values', 'bytes') else 1):
        folder = shutil.copytree(stopped, tmp_path / str(i))
        changed = replaced(rng, saved) if how == 'values' else saved
        if how == 'order': # train without val: its documents would be written as val
            del changed['splits']['val']
        text = json.dumps(changed).encode()
        (folder / 'progress.json').write_bytes(mangled(rng, text) if how == 'bytes' else text)
        if how == 'tail': # what the file has beyond the progress that was saved is dropped
            with open(folder / 'train.bin.tmp', 'ab') as file:
                file.write(b'x' * 1001)
        is_refused = bool(error_of(write_resumable, folder, bpe))
        (folder / 'progress.json').unlink(missing_ok=True)
        assert files(folder) == (before if is_refused else files(whole))
        refused.add(is_refused)
    assert refused == {'order': {True}, 'tail': {False}}.get(how, {True, False})


@pytest.mark.parametrize('name', ['train.bin', 'train.bin.tmp', 'meta.json', 'progress.json'])
def test_a_folder_in_the_place_of_a_file_to_write_is_one_line(tmp_path, bpe, name):
    (tmp_path / name).mkdir()
    message = error_of(write_resumable, tmp_path, bpe)
    assert f'{tmp_path}/{name.removesuffix(".tmp")}' in message and 'directory' in message


def test_gpt2_bins_get_a_meta_untouched_and_without_network_others_are_refused(tmp_path, no_network, capsys):
    for split in 'train', 'val':
        np.full(20, 50300, dtype=np.uint16).tofile(tmp_path / f'{split}.bin')
    message = error_of(write.import_nanogpt_bins, str(tmp_path), 'gpt2')
    assert '50,300' in message and '50,257' in message and not (tmp_path / 'meta.json').exists()
    for split in 'train', 'val':
        np.array([15496, 995, 50256] * 20, dtype=np.uint16).tofile(tmp_path / f'{split}.bin')
    before = files(tmp_path)
    assert '--tokenizer=gpt2' in error_of(write.import_nanogpt_bins, str(tmp_path), 'char')
    write.import_nanogpt_bins(str(tmp_path), 'gpt2')
    assert 'gpt2 tokenizer: expected' in capsys.readouterr().out # bytes are not known then, and it says why
    meta = bins.load_meta(tmp_path)
    assert meta['vocab_size'] == GPT2Tokenizer.n_vocab and meta['splits']['val']['documents'] == 20
    assert 'meta.json' in error_of(write.import_nanogpt_bins, str(tmp_path), 'gpt2') # not twice
    assert bins.load_meta(tmp_path) == meta and before.items() <= files(tmp_path).items()
