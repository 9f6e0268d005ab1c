"""The prepare.py scripts as a user runs them; what they read from the web comes from a server in here."""
import contextlib
import functools
import hashlib
import http.server
import os
import runpy
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import islice

import pytest
from conftest import REPO, command, error_of, files, read_bins, run, write_file

from data import bins, documents, download, network, write
from data.tokenizer import SEPARATOR, train_bpe

NAMES = ['tinystories', 'shakespeare_char', 'shakespeare', 'text', 'openwebtext', 'fineweb_edu']
PLAY = ''.join(f'FIRST CITIZEN:\nLine {i}, we proceed — and {"further " * (i % 7)}hear!\n\n'
               for i in range(400))


@pytest.fixture(autouse=True)
def offline(no_network, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write_file('play.txt', PLAY)


def prepare(name, *flags):
    """What a prepare.py prints; raises SystemExit with the line that it ends in, if it does."""
    result = run(f'data/{name}/prepare.py', '--out=out', *flags, cwd='.')
    if result.status:
        raise SystemExit(result.message)
    return result.out


def prepare_text(text, *flags, name='text'):
    """Run prepare() on a text."""
    return prepare(name, f'--input={write_file("new.txt", text)}', *flags)


def texts_of(folder='out'):
    """{split: texts}, cut at the separator."""
    tokenizer, splits = read_bins(folder)
    return {split: tokenizer.decode(ids).split(SEPARATOR)[:-1] for split, ids in splits.items()}


@pytest.mark.parametrize('name', NAMES)
def test_a_preparation_that_needs_the_network_is_one_line_when_offline_with_the_way_out(name):
    home = sorted(os.listdir(os.path.join(REPO, 'data', name)))
    flags = ['--source=hub'] if name == 'tinystories' else []
    assert '--input=' in error_of(prepare, name, *flags)
    assert not os.path.exists('out/meta.json')
    assert sorted(os.listdir(os.path.join(REPO, 'data', name))) == home


@pytest.mark.parametrize('name', ['tinystories', 'shakespeare_char', 'text'])
def test_bad_input_is_one_line_and_harms_nothing(name, tmp_path):
    prepare(name, '--input=play.txt')
    before = files(tmp_path / 'out')
    for contents in b'', b' \n\n ', b'x', SEPARATOR.encode() * 5, b'caf\xe9 ' * 9:
        assert error_of(prepare_text, contents, name=name)
    assert error_of(prepare, name, '--input=nosuch.txt')
    assert bins.load_meta('out', verify_checksum=True) and before.items() <= files(tmp_path / 'out').items()


def test_several_preparations_of_a_dataset_at_once_give_one_whole_result():
    line = command('data/tinystories/prepare.py', '--source=builtin', '--max_samples=200', '--out=out')
    processes = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = ''.join(process.communicate(timeout=120)[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    # unless one started after the other's end
    assert printed.count('waiting for another process') == printed.count('the other process has prepared it')
    assert sorted(os.listdir('out')) == ['.lock', 'meta.json', 'train.bin', 'val.bin']
    assert len(texts_of()['train']) == 195
    assert bins.load_meta('out', verify_checksum=True)['provenance']['flags']['max_samples'] == 200


def test_without_stderr_and_torch_a_text_is_cut_once_at_a_paragraph_and_nothing_is_lost():
    words = command('data/text/prepare.py', '--input=play.txt', '--out=out')
    code = f'import runpy, sys\nsys.argv = {words[1:]!r}\nrunpy.run_path(sys.argv[0], run_name="__main__")\n'
    words[1:] = '-c', code + 'print("torch" in sys.modules)'
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.close(2))
    assert done.returncode == 0 and done.stdout.endswith('False\n')
    tokenizer, splits = read_bins('out')
    train, val = (tokenizer.decode(splits[split]) for split in ('train', 'val'))
    assert train + val == PLAY and train.endswith('\n\n') and 0.08 < len(val) / len(PLAY) < 0.12


def interrupted(*_):
    raise KeyboardInterrupt


def test_ctrl_c_is_one_line_and_a_folder_that_cannot_be_written_is_found_out_before_the_work(monkeypatch):
    monkeypatch.setattr(documents, 'local_documents', interrupted)
    assert 'stopped before the dataset was complete' in error_of(prepare, 'text', '--input=play.txt')
    message = error_of(prepare, 'text', '--out=play.txt/out', '--input=play.txt')
    assert all(words in message for words in ('Not a directory', '--out of', '--out_dir of'))


def test_a_separator_in_a_file_separates_documents_and_max_samples_counts_them():
    texts = [f'Story {i}.\n\nThe end.' for i in range(40)]
    for limit, flags in (40, []), (10, ['--max_samples=10']):
        prepare_text(f'\n{SEPARATOR}\n'.join(texts) + SEPARATOR, *flags, name='tinystories')
        assert texts_of() == {'train': texts[:limit * 9 // 10], 'val': texts[limit * 9 // 10:limit]}


def test_the_vocabulary_is_learned_from_train_alone_and_follows_its_size_or_a_file():
    prepare_text(SEPARATOR.join(['common words here'] * 600 + ['zyzzyva ' * 40] * 3), name='tinystories')
    tokenizer, splits = read_bins('out')
    assert 'zyzzyva' in tokenizer.decode(splits['val']) and 'zyzzyva' not in tokenizer.decode(splits['train'])
    assert b' common' in tokenizer.tokens or b' words' in tokenizer.tokens
    assert not any(b'zy' in token for token in tokenizer.tokens)
    prepare('text', '--input=play.txt', '--tokenizer=bpe', '--vocab_size=280')
    tokenizer, meta = read_bins('out')[0], shutil.copy('out/meta.json', 'first.json')
    assert tokenizer.n_vocab == 280
    for name in 'text', 'tinystories':
        prepare_text(PLAY[::-1], f'--tokenizer={meta}', name=name)
        assert read_bins('out')[0].tokens == tokenizer.tokens
    prepare('text', '--input=play.txt')
    assert "'ж語'" in error_of(prepare_text, PLAY + 'ж語', '--tokenizer=out', name='tinystories') # named
    message = error_of(prepare, 'text', '--input=play.txt', '--tokenizer=words')
    assert 'char, bpe, gpt2' in message and 'checkpoint' in message


@pytest.mark.parametrize('name, flags', [
    ('text', '--val_fraction=0'), ('text', '--val_fraction=1.5'), ('tinystories', '--source=web'),
    *(('tinystories', flag) for flag in ('--max_samples=-5', '--vocab_size=100', '--tokenizer=char')),
    *(('openwebtext', f'--val_documents={n} --max_samples={limit}') for n, limit in (
        (40, 40), (40, 10), (0, 0), (40, -1)))])
def test_impossible_settings_and_val_that_leaves_nothing_for_train_are_one_line(name, flags):
    source = '--source=builtin' if name == 'tinystories' else '--input=play.txt'
    assert flags.split('=')[0].strip('-') + ': expected' in error_of(prepare, name, source, *flags.split())


def test_built_in_stories_come_with_a_line_that_says_so_and_depend_on_the_seed_alone():
    lines = prepare('tinystories', '--max_samples=100').splitlines()
    assert 'huggingface.co cannot be reached' in lines[0] and 'generated here' in lines[0]
    assert 3 <= len(lines) <= 6
    found = texts_of()
    assert (len(found['train']), len(found['val'])) == (98, 2)
    assert len(set(found['train'] + found['val'])) == 100
    for seed, same in (1337, True), (2, False):
        prepare('tinystories', '--source=builtin', '--max_samples=100', f'--seed={seed}')
        assert (texts_of() == found) == same


def parquet(path, texts, column='text'):
    table = pytest.importorskip('pyarrow').table({column: texts})
    path.parent.mkdir(parents=True, exist_ok=True)
    pytest.importorskip('pyarrow.parquet').write_table(table, path, row_group_size=50)
    return path


TEXTS = [f'Document {i}. ' + 'It says this and that. ' * (i % 9) for i in range(300)]
CORPUS = download.HubCorpus('good', '', documents=300, tokens_each=50, download_bytes_each=100)


def write_corpus(folder, path, max_samples=0, corpus=CORPUS):
    bpe = train_bpe(TEXTS, 300)
    download.write_corpus(folder, corpus, path, 40, max_samples, bpe, save_every=10)
    return texts_of(folder)


def test_the_first_documents_of_a_corpus_are_val_and_a_stopped_one_is_resumed(tmp_path, monkeypatch, capsys):
    texts = [*TEXTS[:-1], '']
    for i in range(3):
        parquet(tmp_path / 'shards' / f'{i}.parquet', [text or None for text in texts[i * 100:i * 100 + 100]])
    local_documents, batches, parts = download.local_documents, write.batches, write.parts

    def stopped(path, after):
        yield from islice(local_documents(path), after)
        interrupted()

    # so that much is saved, also inside a document
    monkeypatch.setattr(write, 'batches', lambda texts: batches(texts, size=300))
    monkeypatch.setattr(write, 'parts', lambda text: parts(text, size=30))
    for after in 60, 100, 200, 200:
        with monkeypatch.context() as patch:
            patch.setattr(download, 'local_documents', functools.partial(stopped, after=after))
            assert 'the same command resumes' in error_of(write_corpus, 'stopped', 'shards')
        assert 'meta.json' in error_of(bins.load_meta, 'stopped')
    assert write_corpus('stopped', 'shards') == {'val': texts[:40], 'train': texts[40:]}
    assert capsys.readouterr().out.count('resuming after them') == 4
    write_corpus('whole', 'shards')
    assert files(tmp_path / 'stopped') == files(tmp_path / 'whole')
    assert write_corpus('part', 'shards', max_samples=100) == {'val': texts[:40], 'train': texts[40:100]}
    path = parquet(tmp_path / 'corpus.parquet', TEXTS, column='body')
    assert "column 'text'" in error_of(write_corpus, 'out', 'corpus.parquet')
    path.write_bytes(path.read_bytes()[:-1000])
    assert 'corpus.parquet' in error_of(write_corpus, 'out', 'corpus.parquet')


@pytest.mark.slow # importing datasets takes seconds
def test_a_dataset_of_the_hub_keeps_its_splits_says_what_it_takes_and_refuses_a_small_disk_or_a_broken_hub(
        server, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv('HF_ENDPOINT', server) # where good exists; load_dataset then reads the folder good
    monkeypatch.setattr(pytest.importorskip('datasets').config, 'HF_DATASETS_CACHE', str(tmp_path / 'cache'))
    path = parquet(tmp_path / 'good' / 'train-0.parquet', TEXTS)
    assert write_corpus('out', '') == {'val': TEXTS[:40], 'train': TEXTS[40:]}
    lines = capsys.readouterr().out.splitlines()
    assert '300 documents' in lines[0] and '30.0 kB' in lines[0] # network
    assert '30.0 kB' in lines[1] and 'memory' in lines[1] # disk
    assert list(download.hub_documents('good', skip=295)) == TEXTS[295:]
    parquet(tmp_path / 'good' / 'validation-0.parquet', ['A tale of a hen.'] * 40)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    module = runpy.run_path(os.path.join(REPO, 'data', 'tinystories', 'prepare.py'), run_name='imported')
    module['main'].__globals__.update(HUB='good', out='out', max_samples=120)
    module['main']()
    assert texts_of() == {'train': [text.strip() for text in TEXTS[:120]], 'val': ['A tale of a hen.'] * 40}
    assert 'good, 120 stories' in capsys.readouterr().out
    message = error_of(write_corpus, 'large', '', corpus=replace(CORPUS, documents=10**15))
    assert 'of free disk space' in message and '--max_samples' in message
    path.write_bytes(path.read_bytes()[:-1000])
    assert error_of(write_corpus, 'large', '').startswith('good: the connection to the hub was lost')
    assert not os.path.exists('large/meta.json')


class Answers(http.server.BaseHTTPRequestHandler):
    """/play is PLAY, /portal a login page, /half breaks off, /drip drips, 'good' exists, others not."""

    def do_GET(self):
        for _ in range(20 if self.path == '/drip' else 0): # a time-out for each read never ends this one
            with contextlib.suppress(OSError): # the client is gone
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


def test_an_address_or_the_hub_is_reachable_or_a_reason_is_given_in_time(server, monkeypatch):
    assert network.why_unreachable(f'{server}/play') == ''
    assert '404' in network.why_unreachable(f'{server}/nosuch')
    assert 'example.invalid cannot be reached' in network.why_unreachable('https://example.invalid/')
    with socket.create_server(('127.0.0.1', 0)) as silent: # takes connections and says nothing
        for url in f'http://127.0.0.1:{silent.getsockname()[1]}/', f'{server}/drip':
            why = network.why_unreachable(url, seconds=0.2)
            assert 'has not answered in 0.2 seconds' in why or 'ReadTimeout' in why # whichever comes first
    monkeypatch.setenv('HF_ENDPOINT', server)
    monkeypatch.setitem(sys.modules, 'datasets', None) # what import does for a package that is not there
    assert 'pip install datasets' in download.why_no_hub('good')
    monkeypatch.setenv('HF_HUB_OFFLINE', '1') # said to be off, it is not asked
    assert download.why_no_hub('good') == 'HF_HUB_OFFLINE is set'


def test_shakespeare_is_downloaded_once_from_the_first_place_that_has_the_right_file(server, monkeypatch):
    pages = 'nosuch', 'portal', 'half', 'play'
    monkeypatch.setattr(download, 'SHAKESPEARE_URLS', [f'{server}/{page}' for page in pages])
    monkeypatch.setattr(download, 'SHAKESPEARE_SHA256', sha256 := hashlib.sha256(PLAY.encode()).hexdigest())
    prepare('shakespeare_char')
    splits = read_bins('out')[1]
    stoi, n = {char: i for i, char in enumerate(sorted(set(PLAY)))}, int(len(PLAY) * 0.9) # as nanoGPT does
    assert splits == {'train': [stoi[char] for char in PLAY[:n]], 'val': [stoi[char] for char in PLAY[n:]]}
    monkeypatch.setattr(download, 'SHAKESPEARE_URLS', [f'{server}/{page}' for page in pages[:3]])
    prepare('shakespeare_char')
    assert read_bins('out')[1] == splits # from input.txt, which was kept
    os.remove('out/input.txt')
    message = error_of(prepare, 'shakespeare_char')
    assert all(why in message for why in ('404', 'sent another file', 'was lost'))
    assert not os.path.exists('out/input.txt')
    if os.path.exists('/dev/full'):
        assert 'No space left' in error_of(network.fetch, f'{server}/play', '/dev/full', sha256)
