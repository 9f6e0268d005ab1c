"""How a script that runs as a program ends: in one line for Ctrl-C, a missing package, a full disk."""
import ast
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import REPO, process

SCRIPT = f'''
import sys, time
sys.path.insert(0, {REPO!r})
from configurator import configure
code = '' # what to run
config = configure(globals())
exec(code)
'''


@pytest.fixture
def shell(tmp_path):
    """A function: (status, stdout, stderr) of a bash command in which $RUN executes the code after it."""
    (tmp_path / 'play.py').write_text(SCRIPT, encoding='utf-8')

    def run(command, **env):
        env = {**os.environ, 'RUN': f'{sys.executable} play.py --code', **env}
        done = subprocess.run(['bash', '-c', command], cwd=tmp_path, env=env, capture_output=True, timeout=60)
        return done.returncode, done.stdout.decode(), done.stderr.decode()
    return run


@pytest.mark.parametrize('env', [{'PYTHONIOENCODING': 'ascii'},
                                 {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}])
def test_text_that_the_console_cannot_show_is_printed_with_escapes(shell, env):
    shown = '\\u201d\n'
    assert shell("$RUN 'print(chr(8221)); raise SystemExit(chr(8221))'", **env) == (1, shown, shown)


@pytest.mark.parametrize('closed, out', [('2>&-', '1\n3'), ('<&- >&- 2>&-', '3')])
def test_a_program_works_without_its_streams(shell, closed, out):
    code = 'print(1); print(2, file=sys.stderr); open("left", "w").write("3")'
    assert shell(f"$RUN '{code}' {closed}; status=$?; cat left; exit $status") == (0, out, '')


@pytest.mark.parametrize('words, unbuffered, status', [
    ('"print(1)"', '', 0), ('"print(1)"', '1', 1), ('"print(*range(50_000))"', '', 1), ('--help', '', 0)])
def test_a_reader_of_stdout_that_goes_away_ends_a_program_quietly(shell, words, unbuffered, status):
    command = f'(sleep 0.2; $RUN {words}; echo $? >status) | true; cat status'
    assert shell(command, PYTHONUNBUFFERED=unbuffered) == (0, f'{status}\n', '')


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs a device without room')
@pytest.mark.parametrize('unbuffered', ['', '1'])
def test_a_full_disk_under_stdout_is_one_line_and_status_1(shell, unbuffered):
    line = 'play.py: stdout: No space left on device\n'
    assert shell('$RUN "print(1)" >/dev/full', PYTHONUNBUFFERED=unbuffered) == (1, '', line)


@pytest.mark.parametrize('code', ['raise BrokenPipeError(32, "")', 'import lib.no_such_file', '1 / 0'])
def test_what_may_be_a_fault_of_the_code_keeps_its_traceback(shell, code):
    status, _, err = shell(f"$RUN '{code}'")
    assert status == 1 and err.startswith('Traceback ')


@pytest.mark.parametrize('script', ['train.py', 'sample.py', 'bench.py', 'data/text/prepare.py'])
def test_a_package_that_is_not_installed_is_one_line_with_the_command_that_installs_it(script, tmp_path):
    done = process(script, before=['-S'], cwd=tmp_path) # -S: without site-packages
    assert done.returncode == 1 and done.stderr.count('\n') == 1
    assert done.stderr.startswith(f'{os.path.basename(script)}: needs ')
    assert done.stderr.endswith(f'; run: pip install -r "{REPO}/requirements.txt"\n')


def test_ctrl_c_is_one_line_and_status_130(shell):
    code = 'print(1, flush=True); time.sleep(60)'
    status, _, err = shell(f'set -m; $RUN "{code}" >out 2>err & until [ -s out ]; do sleep 0.05; done; '
                           'kill -INT $!; wait $! 2>/dev/null; status=$?; cat err >&2; exit $status')
    assert status == 130 and err.splitlines()[-1] == 'play.py: interrupted' and 'Traceback' not in err


def test_a_python_that_is_too_old_can_parse_a_script_and_ends_it_in_one_line(shell):
    for path in 'lib/program', 'configurator', 'train', 'sample', 'bench', 'data/text/prepare':
        with open(os.path.join(REPO, f'{path}.py'), encoding='utf-8') as f:
            ast.parse(f.read(), feature_version=(3, 8))
    code = 'import runpy, sys; sys.version_info = (3, 9); runpy.run_path("train.py", run_name="__main__")'
    status, _, err = shell(f"cd '{REPO}'; {sys.executable} -c '{code}'")
    assert (status, err.count('\n')) == (1, 1) and ': expected Python 3.10 or newer, got ' in err


@pytest.mark.parametrize('message, patience, stopped, printed', [
    ('bad', 20, True, ''), ('bad', 0, False, 'bad\n'), ('rank 1: bad', 99, False, 'rank 1: bad\n')])
def test_a_later_rank_leaves_its_message_to_rank_0_unless_nothing_stops_it(
        tmp_path, message, patience, stopped, printed):
    code = f'import signal, sys; sys.path.insert(0, {REPO!r}); from lib.program import one_message\n' \
           'signal.signal(signal.SIGTERM, lambda *_: None); print(1, flush=True)\n' \
           f'with one_message({patience}): raise SystemExit("{message}")' # train.py handles SIGTERM
    env = {**os.environ, 'RANK': '1', 'TORCHELASTIC_RUN_ID': 'x'}
    child = subprocess.Popen([sys.executable, '-c', code], cwd=tmp_path, env=env,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding='utf-8')
    child.stdout.readline()
    while stopped and child.poll() is None: # as torchrun does when rank 0 has ended
        time.sleep(0.5) # it must have begun to wait
        child.send_signal(signal.SIGTERM)
    assert child.communicate(timeout=60)[1] == printed
    assert child.returncode == (-signal.SIGTERM if stopped else 1)
