"""The prepares as a user runs them, offline; what they read from the web comes from a server in here."""
import functools
import hashlib
import http.server
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import bins, download
from data.tokenizer import SEPARATOR, GPT2Tokenizer, from_json, train_bpe

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NAMES = ['tinystories', 'shakespeare_char', 'shakespeare', 'text', 'openwebtext', 'fineweb_edu']
PLAY = ''.join(f'FIRST CITIZEN:\nLine {i}, we proceed — and {"further " * (i % 7)}hear!\n\n'
               for i in range(400))
GPT2_FILES = ('6d1cbeee0f20b3d9449abfede4726ed8212e3aee', '6c7ea1a7e38e3a7f062df639a5b80947f075ffe6')
GPT2_FOLDER = os.environ.get('TIKTOKEN_CACHE_DIR', os.path.join(tempfile.gettempdir(), 'data-gym-cache'))
HAS_GPT2 = all(os.path.isfile(os.path.join(GPT2_FOLDER, name)) for name in GPT2_FILES)
needs_gpt2 = pytest.mark.skipif(not HAS_GPT2, reason="GPT-2's vocabulary is not in tiktoken's cache")


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    for name in 'HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy':
        monkeypatch.setenv(name, 'http://127.0.0.1:9') # nothing listens there: no network, wherever this runs
    for name in 'HF_HUB_OFFLINE', 'HF_DATASETS_OFFLINE', 'HF_ENDPOINT':
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.chdir(tmp_path) # away from the repository
    monkeypatch.setattr(sys, 'path', list(sys.path)) # which the scripts add to


@pytest.fixture
def prepare(monkeypatch, tmp_path):
    """Runs a prepare.py as a script; returns the folder it wrote to."""
    def run(name, *arguments, out='out'):
        monkeypatch.setattr(sys, 'argv', ['prepare.py', f'--out={out}', *map(str, arguments)])
        runpy.run_path(os.path.join(ROOT, 'data', name, 'prepare.py'), run_name='__main__')
        return str(tmp_path / out)
    return run


def one_line(problem):
    message = str(problem.value)
    assert message and '\n' not in message
    return message


def read(folder):
    """(tokenizer, {split: ids}) of a prepared folder."""
    meta = bins.load_meta(folder)
    splits = {split: bins.open_bin(folder, split, meta).tolist() for split in meta['splits']}
    return from_json(meta['tokenizer']), splits


def documents(folder):
    """{split: texts}, cut at the separator."""
    tokenizer, splits = read(folder)
    return {split: tokenizer.decode(ids).split(SEPARATOR)[:-1] for split, ids in splits.items()}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# all of them

@pytest.mark.parametrize('name', NAMES)
def test_importing_a_prepare_does_nothing(name, tmp_path, capsys, monkeypatch):
    home = os.path.join(ROOT, 'data', name)
    before = sorted(os.listdir(home))
    monkeypatch.setattr(sys, 'argv', ['pytest', '--nonsense'])
    found = runpy.run_path(os.path.join(home, 'prepare.py'), run_name='imported')
    assert found['out'] == '' and sorted(os.listdir(home)) == before and not os.listdir(tmp_path)
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize('name', NAMES)
def test_C9_every_prepare_is_quick_and_one_line_when_offline(name, prepare, monkeypatch, tmp_path):
    monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(tmp_path / 'nothing'))
    start = time.monotonic()
    insist = ['--source=hub'] if name == 'tinystories' else []
    assert '--input=' in one_line(pytest.raises(SystemExit, prepare, name, *insist)) # the way out
    assert time.monotonic() - start < 5
    assert not os.path.exists(os.path.join('out', 'meta.json'))


@pytest.mark.parametrize('name', ['tinystories', 'shakespeare_char', 'text'])
def test_bad_input_is_one_line_and_harms_nothing(name, prepare, tmp_path):
    prepare(name, f'--input={write(tmp_path / "play.txt", PLAY)}')
    before = read('out')[1], bins.load_meta('out')
    texts = {'empty': '', 'blank': ' \n\n ', 'short': 'x', 'ends': SEPARATOR * 5, 'latin1': b'caf\xe9 ' * 9}
    bad = [write(tmp_path / f'{what}.txt', text) for what, text in texts.items()]
    pictures = write(tmp_path / 'pictures' / 'a.png', 'x').parent
    for path in [*bad, pictures, tmp_path / 'nosuch.txt']:
        one_line(pytest.raises(SystemExit, prepare, name, f'--input={path}'))
    assert (read('out')[1], bins.load_meta('out')) == before


def test_the_last_line_is_the_command_that_trains(prepare, tmp_path, capsys, monkeypatch):
    path = write(tmp_path / 'play.txt', PLAY)
    prepare('text', f'--input={path}')
    assert 'next:' not in capsys.readouterr().out # with --out, train.py asks, and it knows what is next
    script = shutil.copy(os.path.join(ROOT, 'data', 'text', 'prepare.py'), tmp_path) # to write where it lies
    monkeypatch.setattr(sys, 'argv', ['prepare.py', f'--input={path}'])
    runpy.run_path(script, run_name='__main__')
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith('next: python train.py') and 3 <= len(lines) <= 6
    assert bins.load_meta(str(tmp_path))


# text of one's own

@pytest.mark.parametrize('kind', ['char', 'bpe'])
def test_a_single_text_is_cut_once_at_a_paragraph_and_nothing_is_lost(kind, prepare, tmp_path):
    folder = prepare('text', f'--input={write(tmp_path / "play.txt", PLAY)}', f'--tokenizer={kind}')
    tokenizer, splits = read(folder)
    train, val = (tokenizer.decode(splits[split]).removesuffix(SEPARATOR) for split in ('train', 'val'))
    assert train + val == PLAY
    assert train.endswith('\n\n') and val.startswith('FIRST CITIZEN')
    assert 0.08 < len(val) / len(PLAY) < 0.12


def test_a_folder_is_its_texts_in_order_of_names(prepare, tmp_path):
    for name in 'b.txt', 'a.md', 'sub/c.TXT', '.git/d.txt', 'e.png', 'sub/a.txt':
        write(tmp_path / 'notes' / name, f'this is {name}')
    write(tmp_path / 'notes' / 'empty.txt', '')
    found = documents(prepare('text', '--input=notes', '--tokenizer=bpe', '--val_fraction=0.5'))
    assert found['train'] == ['this is a.md', 'this is b.txt']
    assert found['val'] == ['this is sub/a.txt', 'this is sub/c.TXT']


def test_a_separator_in_a_file_separates_documents(prepare, tmp_path):
    texts = [f'Story {i}.\n\nThe end.' for i in range(40)]
    path = write(tmp_path / 'stories.txt', f'\n{SEPARATOR}\n'.join(texts) + SEPARATOR)
    found = documents(prepare('tinystories', f'--input={path}'))
    assert found['train'] + found['val'] == texts and len(found['val']) == 4


def test_windows_line_ends_and_byte_order_marks_are_not_learned(prepare, tmp_path):
    path = write(tmp_path / 'windows.txt', b'\xef\xbb\xbf' + PLAY.replace('\n', '\r\n').encode())
    tokenizer, splits = read(prepare('text', f'--input={path}'))
    assert tokenizer.decode(splits['train'] + splits['val']) == PLAY


@pytest.mark.parametrize('at', [0, 1000, 3_000_000])
def test_bytes_that_are_not_utf8_are_named_with_file_and_offset(tmp_path, at):
    path = write(tmp_path / 'latin1.txt', b'x' * at + b'\xe9' + b' y' * 10)
    message = one_line(pytest.raises(SystemExit, list, download.local_documents(str(path))))
    assert str(path) in message and f'{at:,}' in message and '0xe9' in message
    path = write(tmp_path / 'two.txt', f'é{SEPARATOR}'.encode() + b'x\xe9')
    message = one_line(pytest.raises(SystemExit, list, download.local_documents(str(path))))
    assert f'offset {2 + len(SEPARATOR) + 1}' in message


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(st.text(st.sampled_from('abc. \n'), min_size=1, max_size=80), min_size=1, max_size=12),
       val_fraction=st.floats(0.01, 0.9))
def test_a_split_keeps_all_text_in_order_and_has_about_the_share_asked_for(texts, val_fraction):
    train, val = map(list, download.split_by_fraction(lambda: iter(texts), val_fraction))
    assert ''.join(train + val) == ''.join(texts)
    assert val and all(val) # nothing empty
    size = len(''.join(texts))
    if size > 1:
        assert train
    if len(texts) == 1 and size > 1 and ' ' not in texts[0] and '\n' not in texts[0]: # it can be cut anywhere
        assert abs(len(val[0]) - size * val_fraction) <= 1
    whole = [text for text in train + val if text in texts]
    assert len(whole) >= len(texts) - 1 # at most one document is cut


def test_many_documents_are_cut_between_two_of_them():
    texts = [f'document {i} ' * (1 + i % 5) for i in range(200)]
    train, val = map(list, download.split_by_fraction(lambda: iter(texts), 0.1))
    assert train + val == texts
    assert 0.07 < len(''.join(val)) / len(''.join(texts)) < 0.13
    train, val = map(list, download.split_by_fraction(lambda: iter(texts), 0.1, most=100))
    assert 75 <= len(''.join(val)) <= 125


@pytest.mark.parametrize('text, at, expected', [
    ('one two\n\nthree. four\nfive', 20, 9), ('one. two\nthree four', 12, 9), ('one. two three', 10, 5),
    ('one two three', 9, 8), ('onetwothree', 5, 5), ('x\n', 1, 1)])
def test_a_text_is_cut_at_the_best_boundary_there_is(text, at, expected):
    assert download.boundary_near(text, at) == expected


@pytest.mark.parametrize('val_fraction', ['0', '1', '-0.1', '1.5'])
def test_an_impossible_share_is_one_line(val_fraction, prepare, tmp_path):
    path = write(tmp_path / 'play.txt', PLAY)
    problem = pytest.raises(SystemExit, prepare, 'text', f'--input={path}', f'--val_fraction={val_fraction}')
    assert one_line(problem).startswith('--val_fraction: expected')


def test_text_takes_only_tokenizers_there_are(prepare, tmp_path):
    path = write(tmp_path / 'play.txt', PLAY)
    problem = pytest.raises(SystemExit, prepare, 'text', f'--input={path}', '--tokenizer=words')
    assert 'char, bpe or gpt2' in one_line(problem)


def test_a_folder_with_bins_gets_a_meta_and_keeps_them(prepare, tmp_path):
    for split in 'train', 'val':
        np.arange(500, dtype=np.uint16).tofile(tmp_path / f'{split}.bin')
    prepare('text', f'--input={tmp_path}', '--tokenizer=gpt2')
    assert bins.load_meta(str(tmp_path))['tokenizer'] == {'kind': 'gpt2'}
    assert not os.path.exists('out')


# Shakespeare

def test_shakespeare_char_has_the_ids_and_the_cut_of_nanogpt(prepare, tmp_path):
    folder = prepare('shakespeare_char', f'--input={write(tmp_path / "play.txt", PLAY)}')
    stoi = {char: i for i, char in enumerate(sorted(set(PLAY)))}
    ids = [stoi[char] for char in PLAY]
    n = int(len(PLAY) * 0.9)
    assert np.fromfile(os.path.join(folder, 'train.bin'), dtype=np.uint16).tolist() == ids[:n]
    assert np.fromfile(os.path.join(folder, 'val.bin'), dtype=np.uint16).tolist() == ids[n:]


@needs_gpt2
def test_shakespeare_has_the_ids_and_the_cut_of_nanogpt(prepare, tmp_path):
    folder = prepare('shakespeare', f'--input={write(tmp_path / "play.txt", PLAY)}')
    n, encoding = int(len(PLAY) * 0.9), GPT2Tokenizer().encoding
    for split, text in ('train', PLAY[:n]), ('val', PLAY[n:]):
        ids = np.fromfile(os.path.join(folder, f'{split}.bin'), dtype=np.uint16).tolist()
        assert ids == encoding.encode_ordinary(text)


# stories

def test_stories_made_here_come_with_one_line_that_says_so_and_are_split_clean(prepare, capsys):
    found = documents(prepare('tinystories', '--max_samples=200'))
    lines = capsys.readouterr().out.splitlines()
    assert 'huggingface.co cannot be reached' in lines[0] and 'made up here' in lines[0]
    assert 3 <= len(lines) <= 6
    assert (len(found['train']), len(found['val'])) == (195, 5)
    assert not set(found['train']) & set(found['val'])
    assert len(set(found['train'] + found['val'])) == 200


def test_stories_depend_on_the_seed_alone(prepare):
    flags = '--source=builtin', '--max_samples=80'
    one, same, other = (read(prepare('tinystories', *flags, f'--seed={seed}'))[1] for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize('variable', ['HF_HUB_OFFLINE', 'HF_DATASETS_OFFLINE'])
def test_the_hub_is_left_alone_when_it_is_said_to_be_off(variable, monkeypatch):
    monkeypatch.setenv(variable, '1')
    assert download.why_no_hub('any/name') == f'{variable} is set'


def test_a_missing_datasets_package_is_a_reason_to_make_stories_up(monkeypatch, server):
    monkeypatch.setenv('HF_ENDPOINT', server)
    monkeypatch.setitem(sys.modules, 'datasets', None) # what import does for a package that is not there
    assert 'pip install datasets' in download.why_no_hub('good')


@pytest.mark.parametrize('flag', ['--source=web', '--max_samples=-5', '--vocab_size=100'])
def test_impossible_settings_are_one_line(flag, prepare):
    assert one_line(pytest.raises(SystemExit, prepare, 'tinystories', '--source=builtin', flag))


def test_the_vocabulary_is_learned_from_train_alone(prepare, tmp_path):
    texts = ['common words here'] * 600 + ['zyzzyva ' * 40] * 3
    path = write(tmp_path / 'stories.txt', SEPARATOR.join(texts))
    tokenizer, splits = read(prepare('tinystories', f'--input={path}'))
    assert 'zyzzyva' in tokenizer.decode(splits['val']) and 'zyzzyva' not in tokenizer.decode(splits['train'])
    assert b' common' in tokenizer.tokens or b' words' in tokenizer.tokens
    assert not any(b'zy' in token for token in tokenizer.tokens)


def parquet(path, texts, column='text', row_group_size=50):
    pyarrow, parquet = pytest.importorskip('pyarrow'), pytest.importorskip('pyarrow.parquet')
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table({'id': list(range(len(texts))), column: texts}), path,
                        row_group_size=row_group_size)
    return path


@pytest.fixture
def hub(monkeypatch, server, tmp_path):
    """A hub that has the dataset good; what load_dataset then reads is the folder of that name."""
    monkeypatch.setenv('HF_ENDPOINT', server)
    monkeypatch.setattr(pytest.importorskip('datasets').config, 'HF_DATASETS_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'good'


def test_stories_of_the_hub_keep_its_splits_and_stop_at_max_samples(hub, capsys):
    rows = [f'  Story {i} of a fox.\n' for i in range(300)]
    parquet(hub / 'train-0.parquet', rows)
    parquet(hub / 'validation-0.parquet', [f'Tale {i} of a hen.' for i in range(40)])
    module = runpy.run_path(os.path.join(ROOT, 'data', 'tinystories', 'prepare.py'), run_name='imported')
    module['main'].__globals__.update(HUB='good', out='out', max_samples=120)
    module['main']()
    found = documents('out')
    assert found['train'] == [f'Story {i} of a fox.' for i in range(120)]
    assert found['val'] == [f'Tale {i} of a hen.' for i in range(40)]
    assert 'good, 120 stories' in capsys.readouterr().out
    assert list(download.hub_documents('good', skip=295)) == rows[295:]


# large corpora

TEXTS = [f'Document {i}. ' + 'It says this and that. ' * (i % 9) for i in range(900)]
CORPUS = download.HubCorpus('good', '', documents=900, tokens_each=50, download_bytes_each=100)


@functools.cache
def bpe():
    return train_bpe(TEXTS, 400)


def write_corpus(folder, path, max_samples=0, val_documents=40):
    download.write_corpus(folder, CORPUS, str(path), val_documents, max_samples, bpe(), note_every=50)
    return documents(folder)


def test_the_first_documents_of_a_corpus_are_val_and_the_rest_train(tmp_path):
    path = parquet(tmp_path / 'corpus.parquet', TEXTS)
    found = write_corpus('all', path)
    assert found == {'val': TEXTS[:40], 'train': TEXTS[40:]}
    assert write_corpus('part', path, max_samples=100) == {'val': TEXTS[:40], 'train': TEXTS[40:100]}
    for i in range(3):
        parquet(tmp_path / 'shards' / f'{i}.parquet', TEXTS[i * 300:(i + 1) * 300])
    assert write_corpus('folder', tmp_path / 'shards') == found


def test_a_corpus_from_the_hub_says_beforehand_what_it_takes(hub, capsys):
    parquet(hub / 'train-0.parquet', TEXTS)
    assert write_corpus('out', '') == {'val': TEXTS[:40], 'train': TEXTS[40:]}
    lines = capsys.readouterr().out.splitlines()
    assert '900 documents' in lines[0] and '90.0 kB' in lines[0] # network
    assert '90.0 kB' in lines[1] and 'memory' in lines[1] # disk


def test_a_corpus_too_large_for_the_disk_is_one_line_beforehand(hub):
    large = download.HubCorpus('good', '', documents=10**15, tokens_each=50, download_bytes_each=100)
    message = one_line(pytest.raises(SystemExit, download.write_corpus, 'out', large, '', 40, 0, bpe()))
    assert 'of free disk' in message and '--max_samples' in message
    assert os.listdir('out') == []


SLOW = '''
import sys, time
from data import download, write
from data.tokenizer import from_json
import json

whole = write.batches
write.batches = lambda texts: (time.sleep(0.02) or batch for batch in whole(texts, size=2000)) # not too fast
with open(sys.argv[3], encoding='utf-8') as file:
    tokenizer = from_json(json.load(file))
download.write_corpus(sys.argv[1], None, sys.argv[2], 40, 0, tokenizer, note_every=50)
'''


def test_C8_a_corpus_killed_half_way_goes_on_and_is_the_same_as_in_one_go(tmp_path, capsys):
    path = parquet(tmp_path / 'corpus.parquet', TEXTS)
    write(tmp_path / 'bpe.json', json.dumps(bpe().to_json()))
    process = subprocess.Popen([sys.executable, '-c', SLOW, 'killed', path, 'bpe.json'],
                               env={**os.environ, 'PYTHONPATH': ROOT})
    noted = 0
    while noted < 200 and process.poll() is None: # until some of train is noted
        time.sleep(0.005)
        if os.path.exists('killed/progress.json'):
            with open('killed/progress.json', encoding='utf-8') as file:
                noted = json.load(file)['splits'].get('train', {'documents': 0})['documents']
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 'meta.json' in one_line(pytest.raises(SystemExit, bins.load_meta, 'killed'))
    assert write_corpus('killed', path) == write_corpus('whole', path)
    assert 'going on after them' in capsys.readouterr().out
    for name in 'train.bin', 'val.bin', 'meta.json':
        with open(f'killed/{name}', 'rb') as killed, open(f'whole/{name}', 'rb') as whole:
            assert killed.read() == whole.read()
    assert sorted(os.listdir('killed')) == ['meta.json', 'train.bin', 'val.bin']


@pytest.mark.parametrize('documents', [3, 41, 101, 2**61])
def test_a_corpus_with_a_wrong_note_of_how_far_it_is_is_one_line(documents, tmp_path, monkeypatch):
    path = write(tmp_path / 'corpus.txt', SEPARATOR.join(TEXTS))

    def stopped(path):
        yield from TEXTS[:70]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, 'local_documents', stopped)
        assert 'stopped' in one_line(pytest.raises(SystemExit, write_corpus, 'out', path, 100))
    with open('out/progress.json', encoding='utf-8') as file:
        noted = json.load(file)
    assert noted['splits']['val']['documents'] == 40
    noted['splits']['val']['documents'] = documents
    write(tmp_path / 'out' / 'progress.json', json.dumps(noted))
    assert 'progress.json' in one_line(pytest.raises(SystemExit, write_corpus, 'out', path, 100))


@needs_gpt2
@pytest.mark.parametrize('name', ['openwebtext', 'fineweb_edu'])
def test_a_local_corpus_becomes_gpt2_tokens(name, prepare, tmp_path):
    path = parquet(tmp_path / 'corpus.parquet', TEXTS)
    found = documents(prepare(name, f'--input={path}', '--val_documents=30'))
    assert found == {'val': TEXTS[:30], 'train': TEXTS[30:]}


def test_a_hub_that_breaks_off_is_one_line_and_leaves_no_dataset(hub):
    path = parquet(hub / 'train-0.parquet', TEXTS)
    path.write_bytes(path.read_bytes()[:-1000])
    message = one_line(pytest.raises(SystemExit, write_corpus, 'out', ''))
    assert message.startswith('good: reading from the hub broke off')
    assert not os.path.exists('out/meta.json')


def test_rows_without_text_are_empty_documents_and_numbers_are_text(tmp_path):
    for rows, texts in (['a', None, 'b'], ['a', '', 'b']), ([1, 2], ['1', '2']):
        assert list(download.parquet_documents(parquet(tmp_path / 'a.parquet', rows))) == texts


def test_parquet_that_cannot_be_read_is_one_line(tmp_path):
    path = parquet(tmp_path / 'corpus.parquet', TEXTS, column='body')
    assert "column 'text'" in one_line(pytest.raises(SystemExit, write_corpus, 'out', path))
    path.write_bytes(path.read_bytes()[:-1000])
    assert 'corpus.parquet' in one_line(pytest.raises(SystemExit, write_corpus, 'out', path))


@pytest.mark.parametrize('max_samples, val_documents', [(40, 40), (10, 40), (-1, 40), (100, 0), (0, 0)])
def test_val_must_leave_something_for_train(max_samples, val_documents, tmp_path):
    path = write(tmp_path / 'corpus.txt', SEPARATOR.join(TEXTS))
    message = one_line(pytest.raises(SystemExit, write_corpus, 'out', path, max_samples, val_documents))
    assert message.startswith('--val_documents: expected')


# the net, by a server here

class Answers(http.server.BaseHTTPRequestHandler):
    """/play is PLAY, /portal a login page, /half breaks off, /drip drips, 'good' exists, others not."""

    def do_GET(self):
        for _ in range(30 if self.path == '/drip' else 0): # a time-out for each read never ends this one
            self.wfile.write(b'H')
            time.sleep(0.1)
        body = {'/portal': b'<html>log in first</html>'}.get(self.path, PLAY.encode())
        self.send_response(200 if self.path in ('/play', '/portal', '/half') or 'good' in self.path else 404)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1000] if self.path == '/half' else body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Answers)
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
    yield f'http://127.0.0.1:{httpd.server_port}'
    httpd.shutdown()
    httpd.server_close()


def test_an_address_is_reachable_or_it_is_said_why_not(server):
    assert download.why_unreachable(f'{server}/play') == ''
    assert '404' in download.why_unreachable(f'{server}/nosuch')
    assert 'cannot be reached' in download.why_unreachable('http://127.0.0.1:9/')
    assert 'example.invalid cannot be reached' in download.why_unreachable('https://example.invalid/')


def test_a_host_that_never_answers_is_given_up_in_time(server):
    with socket.create_server(('127.0.0.1', 0)) as silent: # takes connections and says nothing
        for url in f'http://127.0.0.1:{silent.getsockname()[1]}/', f'{server}/drip':
            start = time.monotonic()
            assert download.why_unreachable(url, seconds=0.5).startswith('127.0.0.1')
            assert time.monotonic() - start < 1.5


def test_a_download_has_its_name_only_when_it_is_the_right_one(server, tmp_path):
    path, sha256 = str(tmp_path / 'input.txt'), hashlib.sha256(PLAY.encode()).hexdigest()
    for page, why in ('nosuch', '404'), ('portal', 'sent something else'), ('half', ''):
        found = download.fetch(f'{server}/{page}', path, sha256)
        assert found and why in found and not os.path.exists(path)
    assert download.fetch(f'{server}/play', path, sha256) == ''
    with open(path, encoding='utf-8') as file:
        assert file.read() == PLAY


def test_shakespeare_is_downloaded_once_and_from_the_second_place_if_need_be(server, prepare, monkeypatch):
    monkeypatch.setattr(download, 'SHAKESPEARE_URLS', [f'{server}/portal', f'{server}/play'])
    monkeypatch.setattr(download, 'SHAKESPEARE_SHA256', hashlib.sha256(PLAY.encode()).hexdigest())
    tokenizer, splits = read(prepare('shakespeare_char'))
    assert tokenizer.decode(splits['train'] + splits['val']) == PLAY
    monkeypatch.setattr(download, 'SHAKESPEARE_URLS', [f'{server}/portal'])
    assert read(prepare('shakespeare_char'))[1] == splits # from input.txt, which was kept
    os.remove('out/input.txt')
    assert 'sent something else' in one_line(pytest.raises(SystemExit, prepare, 'shakespeare_char'))
