"""Which folder a run's bins are in, when they are made anew, and what a signal does meanwhile."""
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import REPO, error_of, in_child, run, tiny_text, write_file

from data import bins, datasets
from data.datasets import dataset_of_run, find_dataset, is_prepared, prepare

TEXT_SCRIPT = os.path.join(REPO, 'data', 'text', 'prepare.py')


@pytest.fixture(autouse=True)
def text(tmp_path, monkeypatch, no_network):
    """my.txt in the working directory."""
    monkeypatch.chdir(tmp_path)
    write_file('my.txt', tiny_text())


def make_bins(folder):
    for name in 'train.bin', 'val.bin':
        write_file(os.path.join(folder, name), '\0' * 20)


def test_a_dataset_is_found_by_name_and_by_path_and_what_is_none_is_one_line_with_what_to_type():
    home = os.path.join(bins.DATA, 'tinystories')
    script = os.path.join(home, 'prepare.py')
    for word in 'tinystories', 'tinystories/', 'data/tinystories', home, home + '/':
        folder, found = find_dataset(word, 'out', has_input=False)
        assert os.path.samefile(folder, home) and os.path.samefile(found, script)
        assert find_dataset(word, 'out', has_input=True) == (os.path.join('out', 'data'), found)
    make_bins('mine')
    assert find_dataset('mine/', 'out') == ('mine', None)
    write_file('other/prepare.py', '')
    script = os.path.join('other', 'prepare.py')
    assert find_dataset('other', 'out') == ('other', script)
    # all runs share what was prepared of a number of samples
    assert find_dataset('other', 'out', max_samples=5) == (os.path.join('other', 'max_samples-5'), script)
    write_file('texts/input.txt', 'text')
    for word, message in (('texts/', '--input=texts/input.txt'), ('tinystorys', 'did you mean tinystories?'),
                          ('texts/input.txt', '--input=texts/input.txt')):
        assert message in error_of(find_dataset, word, 'out')
    write_file('texts/b.md', '')
    assert error_of(find_dataset, 'texts', 'out').endswith('--input=texts')
    assert 'leave out --dataset' in error_of(find_dataset, 'mine', 'out', has_input=True)
    assert 'found neither' in error_of(prepare, 'texts', None, '', -1)


def test_a_dataset_whose_folder_cannot_be_written_is_prepared_in_out_dir(monkeypatch, capsys):
    make_folder = datasets.make_folder

    def read_only(path, *advice):
        if os.path.samefile(os.path.dirname(path) or '.', bins.DATA):
            raise SystemExit(f'{path}: could not be written (Read-only file system)')
        make_folder(path, *advice)

    monkeypatch.setattr(datasets, 'make_folder', read_only)
    monkeypatch.setattr(datasets, 'has_bins', lambda folder: False)
    assert find_dataset('tinystories', 'out')[0] == os.path.join('out', 'data')
    assert 'cannot be written, so the dataset is prepared in out/data' in capsys.readouterr().out
    message = error_of(prepare, 'my.txt/data', TEXT_SCRIPT, 'my.txt', -1)
    assert message.startswith('my.txt/data: could not') and message.endswith('--out_dir')


def test_bins_of_a_run_are_made_anew_when_the_text_or_its_settings_change_and_a_tokenizer_is_passed_on():
    run('data/text/prepare.py', '--input=my.txt', '--out=first', cwd='.')
    script = os.path.join(REPO, 'data', 'tinystories', 'prepare.py')
    prepare('out/data', script, 'my.txt', 5, tokenizer='first/meta.json')
    assert bins.load_meta('out/data')['tokenizer'] == bins.load_meta('first')['tokenizer']
    same = {'input_path': 'my.txt', 'max_samples': 5, 'tokenizer': 'first/meta.json', 'script': script}
    assert is_prepared('out/data', **same) and is_prepared('out/data', **same | {'script': None})
    assert is_prepared('out/data', **same | {'input_path': os.path.abspath('my.txt')})
    for change in ({'max_samples': -1}, {'input_path': ''}, {'input_path': 'other.txt'}, {'tokenizer': ''},
                   {'tokenizer': 'gpt2'}, {'script': TEXT_SCRIPT}):
        assert not is_prepared('out/data', **same | change)
    assert is_prepared('out/data', '', -1) # the settings of a dataset prepared by hand are not questioned
    assert not is_prepared('elsewhere', '', -1)
    write_file('my.txt', tiny_text() + 'more')
    assert not is_prepared('out/data', **same)


def test_the_data_of_a_run_is_its_own_or_that_of_its_dataset():
    make_bins('mine')
    text = os.path.join(bins.DATA, 'text')
    for settings, folder in (({'dataset': 'mine'}, 'mine'), ({'dataset': 'text'}, text),
                             ({'dataset': 'nosuch'}, 'nosuch'),
                             ({'dataset': 'mine', 'input': 'my.txt'}, 'out/data'),
                             ({'dataset': 'mine', 'input': 'my.txt', 'max_samples': 0}, 'out/data'),
                             ({'dataset': 'text', 'max_samples': 0}, f'{text}/max_samples-0')):
        assert dataset_of_run('out', settings) == os.path.normpath(folder)
    make_bins('out/data') # since the dataset's folder could not be written
    assert dataset_of_run('out', {'dataset': 'text'}) == os.path.join('out', 'data')


PARENT = '''
import signal, threading, time
from data.datasets import prepare
threading.Thread(target=time.sleep, args=(60,), daemon=True).start() # receives SIGUSR1,
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}) # which so interrupts no system call of this thread
prepare("out/data", "slow/prepare.py", "", -1)
'''
SLOW = '''
import os, signal, time
signal.signal(signal.SIGINT, lambda *_: os.write(2, b'interrupted, too\\n')) # a second line, if it arrives
signal.signal(signal.SIGTERM, lambda *_: time.sleep(0.3) or os._exit(1))
print('child', os.getpid(), flush=True)
for _ in range(600):
    time.sleep(0.1)
'''


@pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')
@pytest.mark.parametrize('name, send', [('SIGTERM', os.kill), ('SIGHUP', os.kill), ('SIGUSR1', os.kill),
                                        ('SIGINT', os.killpg)]) # killpg: as from the keys of a terminal
def test_a_signal_ends_the_preparation_with_one_line_and_no_orphan(name, send):
    write_file('slow/prepare.py', SLOW)
    process = subprocess.Popen([sys.executable, '-c', PARENT], env=os.environ | {'PYTHONPATH': REPO},
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    child = next(int(line.split()[1]) for line in process.stdout if line.startswith('child'))
    send(process.pid, getattr(signal, name))
    _, errors = process.communicate(timeout=20) # ends when the child has closed stderr, too
    assert process.returncode == 1 and errors.count('\n') == 1 and f'stopped by {name}' in errors
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(child, 0)
            time.sleep(0.05)


@pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')
def test_a_preparation_outlives_its_terminal_under_nohup_and_one_that_fails_is_one_line_or_its_own(capfd):
    def prepare_under_nohup():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        prepare('out', 'closing.py', '', -1)

    write_file('closing.py', 'import os, signal\nos.kill(os.getppid(), signal.SIGHUP)')
    assert in_child(prepare_under_nohup) == 0
    write_file('killed.py', 'import os, signal\nos.kill(os.getpid(), signal.SIGKILL)')
    assert 'ended by SIGKILL' in error_of(prepare, 'out', 'killed.py', '', -1)
    write_file('failing.py', 'raise SystemExit("the line of the script")')
    with pytest.raises(SystemExit, match='^1$'):
        prepare('out', 'failing.py', '', -1)
    assert capfd.readouterr().err == 'the line of the script\n'
