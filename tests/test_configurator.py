"""Settings from defaults, config files and the command line, mistakes in them, and how a script ends."""
import ast
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPO, error_of, mistake, run, write_file

from configurator import ALIASES, RENAMED, configure

SCRIPT = '''"""A small script."""
from math import pi
from configurator import configure

# data
input = '' # a file of one's own; it may
           # be a folder too
out_dir = 'out'
# ----------------
# model: its size
n_layer = 6 # blocks
n_embd = 384 # width of the residual stream, which all blocks read and write; non-zero, a multiple of n_head
top_k = 5
top_p = 0.9
temperature = 0.6 # not a comment: '#'

# running
compile = 'auto' # true, false, or auto
device = 'auto' # auto or cpu
decay_lr = True
wandb_log = False
seed: int = 1337
start = 'a # b'
_helper = 3
shape = (2, 3)

config = configure(globals())
later = 5 # assigned after the call: not a setting
'''
DEFAULTS = {'input': '', 'out_dir': 'out', 'n_layer': 6, 'n_embd': 384, 'top_k': 5, 'top_p': 0.9,
            'temperature': 0.6, 'compile': 'auto', 'device': 'auto', 'decay_lr': True, 'wandb_log': False,
            'seed': 1337, 'start': 'a # b'}


@pytest.fixture
def play(tmp_path, monkeypatch):
    """A function that runs SCRIPT with a command line, from an empty directory, and returns its globals."""
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    monkeypatch.setenv('HOME', '/home/me')

    def play(*words):
        monkeypatch.setattr(sys, 'argv', [write_file(play.folder / 'play.py', SCRIPT), *words])
        return runpy.run_path(sys.argv[0], run_name='__main__')
    play.folder = tmp_path / 'repo'
    return play


def write_config(play, text, name='small'):
    return os.path.relpath(write_file(play.folder / 'config' / f'{name}.py', text), play.folder)


def namespace_with(folder, **values):
    """The globals of a script that has these settings."""
    lines = '\n'.join(f'{name} = {value!r}' for name, value in values.items())
    return {'__file__': write_file(folder / 'small.py', lines), '__name__': '__main__', **values}


def test_settings_are_the_values_assigned_before_the_call_then_of_later_files_then_of_flags(play):
    assert play()['config'].settings == DEFAULTS
    one = write_config(play, 'n_layer = 1\nn_embd = 1')
    two = write_config(play, 'n_embd = 2\nseed = 2', 'two')
    for words in ([one, two, '--seed=8', '--seed=9'], ['--seed=8', one, '--seed', '9', two]):
        config = play(*words)['config']
        assert config.settings == {**DEFAULTS, 'n_layer': 1, 'n_embd': 2, 'seed': 9}
        assert (config.typed, config.from_files) == ({'seed'}, {'n_layer', 'n_embd', 'seed'})
        assert [os.path.basename(path) for path in config.files] == ['small.py', 'two.py']


def test_derived_values_come_after_the_command_line_and_config_files(play):
    path = play.folder / write_config(play, 'n_layer = 3\nn_embd = 50\n')
    for line, n_embd in ('', 384), ('--n_layer=2', 128), ('--n_layer=2 --n_embd=96', 96), (
            f'{path} --n_layer=5', 50), (f'{path} --n_embd=7', 7):
        namespace = namespace_with(play.folder, n_layer=6, n_embd=1)
        configure(namespace, line.split(), derive=lambda s, typed, from_files: (
            {} if 'n_embd' in from_files else {'n_embd': 64 * s['n_layer']}))
        assert namespace['n_embd'] == n_embd


GIVEN = {
    # the value follows an equals sign or is the next word; it gets the type of the default
    'n_embd': {'--n-embd=3': 3, '--n_embd 3': 3},
    'top_p': {'--top_p -.5': -0.5, '--top_p=1': 1.0, '--top_p=None': 1.0}, # None turns a number off
    'top_k': {'--top_k=None': 0},
    'seed': {'--seed -1': -1, '--seed=1e3': 1000, '--seed=1_000': 1000, '--seed=9007199254740993': 2**53 + 1,
             '--seed=9223372036854775807': 2**63 - 1},
    # ~ is the home folder in a path and after FILE:
    'out_dir': {'--out_dir=1': '1', '--out_dir=a=b': 'a=b', '--out_dir=~/x': '/home/me/x',
                '--out_dir=a~/x': 'a~/x'},
    'start': {'--start a.py': 'a.py', '--start=--x': '--x', '--start=': '', '--start=None': 'None',
              '--start=é😀': 'é😀', '--start=~/x': '~/x', '--start=FILE:~/x': 'FILE:/home/me/x'},
    # a bool takes the usual words and is true without one; it leaves other words alone
    'wandb_log': {**{f'--wandb_log={text}': True for text in ('true', 'True', '1', 'yes')},
                  '--wandb-log config/small.py': True},
    'decay_lr': {**{f'--decay-lr {text} --seed=1': False for text in ('false', 'FALSE', '0', 'no')},
                 '--no-decay-lr': False, '--no_decay_lr --decay_lr': True},
    'n_layer': {'--wandb-log config/small.py': 2},
    # a setting that can be auto is a switch only if its comment offers true and false
    'compile': {'--compile': 'true', '--compile --seed=2': 'true', '--compile=1': 'true',
                '--compile config/small.py': 'true', '--no-compile': 'false', '--compile=False': 'false',
                '--compile false': 'false', '--compile max': 'max'},
    'device': {'--device 0': '0'}}


@pytest.mark.parametrize('name, line, value', [
    (name, line, value) for name, lines in GIVEN.items() for line, value in lines.items()])
def test_a_flag_gives_its_setting_this_value(play, name, line, value):
    write_config(play, 'n_layer = 2')
    found = play(*line.split())[name]
    assert found == value and type(found) is type(value)


INT, FLOAT = 'expected a whole number (int)', 'expected a finite number (float)'
BOOL, STR = 'expected true or false (bool) like False, got', 'expected a string (str)'
RANGE = ' between -2**63 and 2**63'


@pytest.mark.parametrize('line, message', [
    *((f'--n_embd={text}', f'{INT} like 384, got {got}') for text, got in (
        ('1.5', 1.5), ('abc', "'abc'"), ('', "''"), ('nan', 'nan'), ('True', "'True'"))),
    ('--top_p=nan', f'{FLOAT} like 0.9, got nan'), ('--top_p=1,5', f"{FLOAT} like 0.9, got '1,5'"),
    *((f'--top_p={text}', f'{FLOAT}{RANGE} like 0.9, got ') for text in ('inf', '1e308', '-1' + '0' * 400)),
    *((f'--seed={text}', f'{INT}{RANGE} like 1337, got ') for text in ('-inf', '1e19', str(2 ** 63))),
    ('--temperature=None', f'{FLOAT} like 0.6, got None'), ('--wandb_log=None', f"{BOOL} 'None'"),
    ('--start --x', f"{STR}, got '--x'; write --start=VALUE"),
    ('--device', f'{STR}, got nothing; write --device=VALUE'),
    ('--n_layer --seed=1', f"{INT}, got '--seed=1'; write --n_layer=VALUE"),
    ('--no-device', 'unknown setting; did you mean --device?'),
    ('--no-decay_lr=true', 'unknown setting; did you mean --decay_lr?'),
    ('--DEVICE=cpu', 'unknown setting; did you mean --device?'),
    ('--number_of_layer=2', 'unknown setting; did you mean --n_layer?'),
    ('--length=2', 'unknown setting; '), # an alias of a setting that this script does not have
    *((line, 'unknown setting; --help lists all settings') for line in ('--', '--=1', '--\0=1')),
    ('n_layer=2', 'expected --name=value or a config file (*.py); did you mean --n_layer?'),
    ('notes.txt', 'expected --name=value or a config file (*.py); '), ('\0.py', 'no file ')])
def test_a_mistake_on_the_command_line_is_one_line_that_says_what_to_do(play, line, message):
    found = error_of(play, *line.split())
    flag = line.split()[0].partition('=')[0].replace('\0', '\\x00') # what cannot be printed is escaped
    assert found.startswith(flag) and f': {message}' in found


@pytest.mark.parametrize('old, new', [*ALIASES.items(), *RENAMED.items()])
def test_other_names_of_a_setting_are_accepted_and_former_ones_in_config_files(tmp_path, capsys, old, new):
    namespace = namespace_with(tmp_path, **{new: 'a'})
    config = write_file(tmp_path / 'mine.py', f'# mine\n{old} = "b"')
    for word in [f'--{old}', '--' + old.replace('_', '-'), *[config] * (old in RENAMED)]:
        found = configure(dict(namespace), [word, 'b'] if word.startswith('--') else [word])
        assert found.settings == {new: 'b'} and found.typed | found.from_files == {new}
        note = f'{word} is now --{new}' if word.startswith('--') else f'{word}:2: {old} is now {new}'
        assert capsys.readouterr().err == (note + '\n') * (old in RENAMED)
    found = configure(namespace_with(tmp_path, **{new: 'a', old: 'b'}), [f'--{old}=c'])
    assert found.settings == {new: 'a', old: 'c'} # a setting comes before an alias of its name


def test_a_config_file_is_in_the_working_directory_or_else_beside_the_script_or_the_nearest_is_named(play):
    name = write_config(play, 'n_layer = 2', 'train_stories')
    assert play(name)['config'].files == (str(play.folder / name),)
    for word in 'config/train_storeis.py', 'train_stories.py', '../' * 9 + 'elsewhere/train_storys.py':
        places = f'{os.path.abspath(word)} nor {play.folder}/{word}'
        assert error_of(play, word) == f'{word}: no file {places}; did you mean {name}?'
    found = play(write_file(name, 'n_layer = 3'))
    assert found['n_layer'] == 3 and found['config'].files == (name,)
    os.chdir(play.folder)
    assert error_of(play, 'x.py') == f'x.py: no file {play.folder}/x.py; --help lists all settings'


def test_a_config_file_has_helpers_of_its_own_in_any_encoding_and_may_write_a_value_in_another_way(play):
    text = '# coding: latin-1\nfrom os.path import join\nstart = "é"\nout_dir = join(__file__, "b")\n' \
           '_scale = 2\nclass Sizes: n = 3\ndef twice(x): return _scale * x\nn_layer = twice(Sizes.n)'
    found = play(path := write_file(play.folder / 'small.py', text.encode('latin-1')))
    assert (found['n_layer'], found['start'], found['out_dir']) == (6, 'é', os.path.join(path, 'b'))
    assert not {'_scale', 'twice', 'Sizes', 'join'} & (found['config'].settings.keys() | found.keys())
    for text, value in ('False', 'false'), ('True', 'true'), ('"False"', 'false'):
        lines = f'top_p = 1\nn_embd = 1e3\ntop_k = None\ncompile = {text}\nout_dir = "~/x"'
        expected = {'top_p': 1.0, 'n_embd': 1000, 'top_k': 0, 'compile': value, 'out_dir': '/home/me/x'}
        found = play(write_config(play, lines))['config'].settings
        assert repr(found) == repr({**DEFAULTS, **expected}) # types too


@pytest.mark.parametrize('text, line, message', [('\nn_embd = "64"', 2, f"n_embd: {INT} like 384, got '64'"),
    ('n_embd = 10 ** 5000', 1, f'n_embd: {INT}{RANGE} like 384, got '),
    ('top_p = False', 1, f'top_p: {FLOAT} like 0.9, got False'), ('wandb_log = 1', 1, f'wandb_log: {BOOL} 1'),
    ('start = None', 1, f"start: {STR} like 'a # b', got None"),
    ('device = False', 1, f"device: {STR} like 'auto', got False"),
    ('n_layer = 2\n\ntemperatur = 5e-4\n', 3, 'unknown setting temperatur; did you mean temperature?'),
    ('top_p = 1.0\nnumber_of_layers = 3', 2, 'unknown setting number_of_layers; did you mean n_layer?'),
    ('for n_layer in 1, 2:\n    qqq = 2\ndef f():\n    qqq = 1', 2, 'unknown setting qqq; --help lists all'),
    *((f'# a comment\nfrom math import {name}', 2, 'unknown setting pi; ') for name in ('pi', '*')),
    ('n_layer = 2\nn_embd = = 3', 2, 'SyntaxError: invalid syntax'),
    ('n_layer = 2\n_x = 1 / 0', 2, 'ZeroDivisionError: division by zero'),
    ('def _f():\n    raise ValueError("two\\nlines")\n_f()', 2, 'ValueError: two lines'),
    ('\nimport json\njson.loads("{")', 3, 'JSONDecodeError: '), ('n_layer = 2\0', 1, '')])
def test_a_mistake_in_a_config_file_is_one_line_with_file_and_line(play, text, line, message):
    path = write_config(play, text)
    found = error_of(play, path)
    assert found.startswith(f'{play.folder}/{path}:{line}: {message}')
    assert 'small.py, line' not in found # Python's own way of saying it, a second time


@pytest.mark.parametrize('words', [['--help'], ['--seed=2', '-h'], ['--sed', '-h'], ['x.py', '--help']])
def test_help_lists_settings_by_group_with_type_default_and_comment_before_anything_else(play, capsys, words):
    with pytest.raises(SystemExit) as stop:
        play(*words)
    text, others = capsys.readouterr().out.split('\n\nother names\n')
    assert stop.value.code == 0 and re.findall(r'(?m)^  --(\w+)  ', text) == list(DEFAULTS)
    assert text.startswith('A small script.\n\ndata\n  --input   ')
    for part in ("  ''       a file of one's own; it may be a folder too\n", '\n\nmodel: its size\n  --n_l',
                 ' blocks read and write; non-zero, a\n' + ' ' * 33 + 'multiple of n_head\n  --top_k  ',
                 "  float  0.6      not a comment: '#'\n\nrunning\n  --compile      str    'auto'   true, "):
        assert part in text
    assert others.startswith('  --embedding_dimension for --n_embd, --number_of_layers for --n_layer, --prom')


@pytest.fixture
def shell(tmp_path):
    """A function: (status, stdout, stderr) of a bash command in which $RUN executes the code after it."""
    write_file(tmp_path / 'play.py', 'import sys, time\nfrom configurator import configure\ncode = ""\n'
                                     'config = configure(globals())\nexec(code)')

    def shell(command):
        env = {**os.environ, 'RUN': f'{sys.executable} play.py --code', 'PYTHONPATH': REPO,
               'PYTHONUNBUFFERED': ''}
        done = subprocess.run(['bash', '-c', command], cwd=tmp_path, env=env, capture_output=True, timeout=60)
        return done.returncode, done.stdout.decode(), done.stderr.decode()
    return shell


@pytest.mark.parametrize('command, result', [
    # text that the console's encoding lacks is printed with escapes
    ("PYTHONIOENCODING=ascii $RUN 'print(chr(8221)); exit(chr(8221))'", (1, '\\u201d\n', '\\u201d\n')),
    # stdin, stdout and stderr do not exist
    ('$RUN "print(1); print(2, file=sys.stderr); open(str(3), chr(119)).write(str(4))" <&- >&- 2>&- && cat 3',
     (0, '4', '')),
    # the disk under stdout is full, which is noticed at the exit or, unbuffered, by print()
    pytest.param('! $RUN "print(1)" >/dev/full && PYTHONUNBUFFERED=1 $RUN "print(1)" >/dev/full',
                 (1, '', 'play.py: stdout: No space left on device\n' * 2),
                 marks=pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs /dev/full')),
    # the reader of stdout has gone away, which is noticed at the exit or by print()
    ('(sleep 0.2; $RUN "print(1)"; echo $? >a; $RUN "print(*range(50_000))"; echo $? >>a) | true; cat a',
     (0, '0\n1\n', '')),
    # Ctrl-C
    ('set -m; $RUN "print(1, flush=True); time.sleep(60)" >out 2>err & '
     'until [ -s out ]; do sleep 0.05; done; kill -INT $!; wait $! 2>/dev/null || echo $?; cat err >&2',
     (0, '130\n', 'play.py: interrupted\n')),
    # a package is not installed; -S: without site-packages
    (f'{sys.executable} -S "{REPO}/train.py"',
     (1, '', f'train.py: needs numpy; run: pip install -r "{REPO}/requirements.txt"\n'))])
def test_what_is_no_fault_of_the_code_ends_a_program_with_one_line_or_none(shell, command, result):
    assert shell(command) == result


def test_what_may_be_a_fault_of_the_code_keeps_its_traceback(shell):
    for code in 'raise BrokenPipeError(32, "")', 'import lib.no_such_file', '1 / 0':
        status, _, err = shell(f"$RUN '{code}'")
        assert status == 1 and err.startswith('Traceback ')


def test_a_python_that_is_too_old_can_parse_a_script_and_ends_it_in_one_line(tmp_path, monkeypatch):
    for path in 'configurator', 'lib/recipe', 'train', 'sample', 'bench', 'data/text/prepare':
        ast.parse(Path(REPO, f'{path}.py').read_text(encoding='utf-8'), feature_version=(3, 8))
    monkeypatch.setattr(sys, 'version_info', (3, 9))
    assert ': expected Python 3.10 or newer, got ' in mistake(run('train.py', cwd=tmp_path))


@pytest.mark.parametrize('message, patience, printed', [
    ('bad', 20, ''), ('bad', 0, 'bad\n'), ('rank 1: bad', 99, 'rank 1: bad\n')])
def test_a_later_rank_leaves_its_message_to_rank_0_unless_nothing_stops_it(message, patience, printed):
    code = 'import signal; from configurator import print_error_once; print(1, flush=True)\n' \
           'signal.signal(signal.SIGTERM, lambda *_: None)\n' \
           f'with print_error_once({patience}): raise SystemExit("{message}")' # train.py handles SIGTERM
    env = {**os.environ, 'RANK': '1', 'TORCHELASTIC_RUN_ID': 'x'}
    with subprocess.Popen([sys.executable, '-S', '-c', code], cwd=REPO, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, encoding='utf-8') as child:
        child.stdout.readline()
        while not printed and child.poll() is None: # as torchrun does when rank 0 has ended
            time.sleep(0.2) # it must have begun to wait
            child.send_signal(signal.SIGTERM)
        assert child.communicate(timeout=60)[1] == printed
        assert child.returncode == (1 if printed else -signal.SIGTERM)
