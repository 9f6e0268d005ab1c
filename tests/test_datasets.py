"""Which folder a run's bins are in, when they are made anew, and what a signal does meanwhile."""
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import REPO, refusal, run, tiny_text

from data import bins, datasets
from data.datasets import dataset_of_run, find_dataset, is_prepared, prepare

TEXT_SCRIPT = os.path.join(REPO, 'data', 'text', 'prepare.py')


@pytest.fixture(autouse=True)
def text(tmp_path, monkeypatch, no_network):
    """my.txt in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'my.txt').write_text(tiny_text(), encoding='utf-8')


def make_bins(folder):
    os.makedirs(folder, exist_ok=True)
    for name in 'train.bin', 'val.bin':
        with open(os.path.join(folder, name), 'wb') as file:
            file.write(b'\0' * 20)


def test_a_dataset_is_found_by_name_and_by_path():
    home = os.path.join(bins.DATA, 'tinystories')
    script = os.path.join(home, 'prepare.py')
    for word in 'tinystories', 'tinystories/', 'data/tinystories', home, home + '/':
        folder, found = find_dataset(word, 'out', own_text=False)
        assert os.path.samefile(folder, home) and os.path.samefile(found, script)
        assert find_dataset(word, 'out', own_text=True) == (os.path.join('out', 'data'), found)
    make_bins('mine')
    assert find_dataset('mine/', 'out', own_text=False) == ('mine', None)
    os.makedirs('other')
    with open('other/prepare.py', 'w', encoding='utf-8') as file:
        file.write('')
    script = os.path.join('other', 'prepare.py')
    assert find_dataset('other', 'out', own_text=False) == ('other', script)
    # all runs share what was prepared of a number of samples
    assert find_dataset('other', 'out', max_samples=5) == (os.path.join('other', 'max_samples-5'), script)


def test_what_is_no_dataset_is_one_line_with_what_to_type(tmp_path):
    os.makedirs('texts')
    os.rename('my.txt', 'texts/input.txt')
    assert '--input=texts/input.txt' in refusal(find_dataset, 'texts/', 'out', False)
    assert '--input=texts/input.txt' in refusal(find_dataset, 'texts/input.txt', 'out', False)
    (tmp_path / 'texts' / 'b.md').write_text('', encoding='utf-8')
    assert '--input=texts' in refusal(find_dataset, 'texts', 'out', False)
    assert 'did you mean tinystories?' in refusal(find_dataset, 'tinystorys', 'out', False)
    make_bins('mine')
    assert 'leave out --dataset' in refusal(find_dataset, 'mine', 'out', True)
    assert 'no train.bin' not in refusal(prepare, 'texts', None, '', -1)


def test_a_dataset_whose_folder_cannot_be_written_is_prepared_in_out_dir(monkeypatch, capsys):
    make_folder = datasets.make_folder

    def read_only(path, *advice):
        if os.path.samefile(os.path.dirname(path) or '.', bins.DATA):
            raise SystemExit(f'{path}: could not be written (Read-only file system)')
        make_folder(path, *advice)

    monkeypatch.setattr(datasets, 'make_folder', read_only)
    monkeypatch.setattr(datasets, 'has_bins', lambda folder: False)
    assert find_dataset('tinystories', 'out', own_text=False)[0] == os.path.join('out', 'data')
    assert 'cannot be written, so the dataset is prepared in out/data' in capsys.readouterr().out
    (message := refusal(prepare, 'my.txt/data', TEXT_SCRIPT, 'my.txt', -1)).index('my.txt/data: could not')
    assert message.endswith('--out_dir')


def test_bins_of_a_run_are_made_anew_when_the_text_or_its_settings_change(capsys):
    script = os.path.join(REPO, 'data', 'tinystories', 'prepare.py')
    prepare('out/data', script, 'my.txt', 5)
    same = {'own_text': 'my.txt', 'max_samples': 5, 'script': script}
    assert is_prepared('out/data', **same) and is_prepared('out/data', os.path.abspath('my.txt'), 5)
    for change in ({'max_samples': -1}, {'own_text': ''}, {'own_text': 'other.txt'},
                   {'tokenizer': 'gpt2'}, {'script': TEXT_SCRIPT}):
        assert not is_prepared('out/data', **same | change)
    assert is_prepared('out/data', '', -1) # the settings of a dataset prepared by hand are not questioned
    with open('my.txt', 'a', encoding='utf-8') as file:
        file.write('more')
    assert not is_prepared('out/data', **same)
    assert not is_prepared('elsewhere', '', -1)


def test_a_tokenizer_is_passed_on_and_a_failure_has_the_status_of_the_script(capfd):
    run('data/text/prepare.py', '--input=my.txt', '--out=first', cwd='.')
    prepare('second', TEXT_SCRIPT, 'my.txt', -1, tokenizer='first/meta.json')
    assert bins.load_meta('second')['tokenizer'] == bins.load_meta('first')['tokenizer']
    assert is_prepared('second', 'my.txt', -1, 'first/meta.json') and not is_prepared('second', 'my.txt', -1)
    with pytest.raises(SystemExit) as problem:
        prepare('second', TEXT_SCRIPT, 'new.txt', -1)
    assert problem.value.code == 1 and 'new.txt' in capfd.readouterr().err # the script has printed the line


def test_the_data_of_a_run_is_its_own_or_that_of_its_dataset():
    make_bins('mine')
    assert dataset_of_run('out', {'dataset': 'mine'}) == 'mine'
    assert dataset_of_run('out', {'dataset': 'text'}) == os.path.join(bins.DATA, 'text')
    assert dataset_of_run('out', {'dataset': 'nosuch'}) == 'nosuch'
    for more in {}, {'max_samples': 0}:
        found = dataset_of_run('out', {'dataset': 'mine', 'input': 'my.txt', **more})
        assert found == os.path.join('out', 'data')
    shared = dataset_of_run('out', {'dataset': 'text', 'max_samples': 0})
    assert shared == os.path.join(bins.DATA, 'text', 'max_samples-0')
    make_bins('out/data') # since the dataset's folder could not be written
    assert dataset_of_run('out', {'dataset': 'text'}) == os.path.join('out', 'data')


PARENT = '''
from data.datasets import prepare
prepare('out/data', 'slow/prepare.py', '', -1)
'''
SLOW = '''
import os, signal, time
signal.signal(signal.SIGINT, lambda *_: os.write(2, b'interrupted, too\\n')) # a second line, if it arrives
signal.signal(signal.SIGTERM, lambda *_: time.sleep(0.3) or os._exit(1))
print('child', os.getpid(), flush=True)
time.sleep(60)
'''


@pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')
@pytest.mark.parametrize('name, to_group', [('SIGTERM', False), ('SIGINT', False), ('SIGHUP', False),
                                            ('SIGINT', True)]) # True: as from the keys of a terminal
def test_a_signal_ends_the_preparation_with_one_line_and_no_orphan(tmp_path, name, to_group):
    os.makedirs('slow')
    (tmp_path / 'slow' / 'prepare.py').write_text(SLOW, encoding='utf-8')
    process = subprocess.Popen([sys.executable, '-c', PARENT], env=os.environ | {'PYTHONPATH': REPO},
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    line = ''
    while not line.startswith('child'):
        line = process.stdout.readline()
        assert line, process.stderr.read()
    child = int(re.findall(r'\d+', line)[0])
    (os.killpg if to_group else os.kill)(process.pid, getattr(signal, name))
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors.count('\n') == 1 and f'stopped by {name}' in errors
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError('the child is still there')


def test_a_preparation_that_is_killed_is_one_line(tmp_path):
    (tmp_path / 'prepare.py').write_text('import os; os.kill(os.getpid(), 9)', encoding='utf-8')
    assert 'ended by SIGKILL' in refusal(prepare, 'out', 'prepare.py', '', -1)
