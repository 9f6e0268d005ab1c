"""Settings from the defaults of a script, config files and the command line, and mistakes in them."""
import os
import re
import runpy
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configurator import ALIASES, RENAMED, configure

SCRIPT = '''"""
A small script.

    python play.py config/small.py
"""
import os
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
top_p = 1.0
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
DEFAULTS = {'input': '', 'out_dir': 'out', 'n_layer': 6, 'n_embd': 384, 'top_p': 1.0, 'temperature': 0.6,
            'compile': 'auto', 'device': 'auto', 'decay_lr': True, 'wandb_log': False, 'seed': 1337,
            'start': 'a # b'}


@pytest.fixture
def play(tmp_path, monkeypatch):
    """A function that runs SCRIPT with a command line, from an empty directory, and returns its globals."""
    (tmp_path / 'repo' / 'config').mkdir(parents=True)
    (tmp_path / 'here').mkdir()
    script = tmp_path / 'repo' / 'play.py'
    script.write_text(SCRIPT, encoding='utf-8')
    monkeypatch.chdir(tmp_path / 'here')

    def run(*words, name='__main__'):
        monkeypatch.setattr(sys, 'argv', [str(script), *words])
        return runpy.run_path(str(script), run_name=name)
    run.folder = tmp_path / 'repo'
    return run


def write_config(play, text, name='small'):
    (play.folder / 'config' / f'{name}.py').write_text(text, encoding='utf-8')
    return f'config/{name}.py'


def namespace_with(folder, **values):
    """The globals of a script that has these settings."""
    script = folder / 'small.py'
    script.write_text('\n'.join(f'{name} = {value!r}' for name, value in values.items()), encoding='utf-8')
    return {'__file__': str(script), '__name__': '__main__', **values}


def mistake(play, *words):
    """The line a command line ends in; asserts that it is one line, which is what makes the exit status 1."""
    with pytest.raises(SystemExit) as stop:
        play(*words)
    message = stop.value.code
    assert isinstance(message, str) and message and '\n' not in message
    return message


def test_settings_are_the_plain_values_assigned_before_the_call_and_written_back_after_it(play):
    assert play()['config'].settings == DEFAULTS
    found = play('--n_layer=2')
    assert found['config'].settings == {**DEFAULTS, 'n_layer': 2} and found['n_layer'] == 2


def test_importing_a_script_reads_no_command_line_and_installs_nothing(play, monkeypatch):
    monkeypatch.setattr(sys, 'excepthook', before := sys.__excepthook__)
    found = play('--help', '--n_layer=2', 'no_such_file.py', name='play')
    assert found['config'].settings == DEFAULTS and sys.excepthook is before
    assert configure(found, argv=['--n_layer=2']).settings['n_layer'] == 2 # words given by the caller


def test_a_flag_overrides_every_file_and_a_later_file_an_earlier_one_in_any_order_of_words(play):
    one = write_config(play, 'n_layer = 1\nn_embd = 1')
    two = write_config(play, 'n_embd = 2\nseed = 2', 'two')
    for words in ([one, two, '--seed=8', '--seed=9'], ['--seed=8', one, '--seed', '9', two]):
        found = play(*words)
        assert (found['n_layer'], found['n_embd'], found['seed'], found['top_p']) == (1, 2, 9, 1.0)
        typed, filed, files = found['config'].typed, found['config'].filed, found['config'].files
        assert (typed, filed) == ({'seed'}, {'n_layer', 'n_embd', 'seed'})
        assert [os.path.basename(path) for path in files] == ['small.py', 'two.py']


@pytest.mark.parametrize('words, n_embd', [
    ([], 384), (['--n_layer=2'], 128), (['--n_layer=2', '--n_embd=96'], 96), (['config/small.py'], 50),
    (['config/small.py', '--n_layer=5'], 50), (['config/small.py', '--n_embd=7'], 7)])
def test_derived_values_come_after_the_command_line_and_config_files(play, words, n_embd):
    write_config(play, 'n_layer = 3\nn_embd = 50\n')
    namespace = namespace_with(play.folder, n_layer=6, n_embd=1)
    config = configure(namespace, words, derive=lambda s, typed, filed: (
        {} if 'n_embd' in filed else {'n_embd': 64 * s['n_layer']}))
    assert namespace['n_embd'] == config.settings['n_embd'] == n_embd
    assert ('n_embd' in config.typed) == (n_embd in (96, 7))


# ---- flags ----

@pytest.mark.parametrize('line, name, value', [
    # the value follows an equals sign or is the next word; it gets the type of the default
    ('--n_embd=3', 'n_embd', 3), ('--n-embd=3', 'n_embd', 3), ('--n_embd 3', 'n_embd', 3),
    ('--n-embd 3', 'n_embd', 3), ('--seed -1', 'seed', -1), ('--top_p -.5', 'top_p', -0.5),
    ('--top_p=1', 'top_p', 1.0), ('--top_p=1_000', 'top_p', 1000.0), ('--top_p=1e-4', 'top_p', 1e-4),
    ('--seed=1e3', 'seed', 1000), ('--seed=1_000', 'seed', 1000), ('--seed=2.0', 'seed', 2),
    ('--seed=9007199254740993', 'seed', 2**53 + 1), ('--seed=9223372036854775807', 'seed', 2**63 - 1),
    ('--n_embd=1e18', 'n_embd', 10**18), ('--out_dir=1', 'out_dir', '1'), ('--out_dir=a=b', 'out_dir', 'a=b'),
    ('--out_dir a=b', 'out_dir', 'a=b'), ('--start a.py', 'start', 'a.py'), ('--start=--x', 'start', '--x'),
    ('--start=', 'start', ''), ('--start=None', 'start', 'None'), ('--start=é😀', 'start', 'é😀'),
    # a bool takes the usual words and is true without one; it leaves other words alone
    *((line.format(text), 'wandb_log', value) for line in ('--wandb_log={}', '--wandb-log {} --seed=1')
      for text, value in (('true', True), ('True', True), ('1', True), ('yes', True), ('FALSE', False),
                          ('0', False), ('no', False))),
    ('--wandb-log config/small.py', 'wandb_log', True), ('--wandb-log config/small.py', 'n_layer', 2),
    ('--no-decay-lr', 'decay_lr', False), ('--no_decay_lr --decay_lr', 'decay_lr', True),
    # a setting that can be auto is a switch only if its comment offers true and false
    *((line, 'compile', value) for line, value in (
        ('--compile', 'true'), ('--compile --seed=2', 'true'), ('--compile=1', 'true'),
        ('--no-compile', 'false'), ('--compile=False', 'false'), ('--compile false', 'false'),
        ('--compile config/small.py', 'true'), ('--compile=auto', 'auto'), ('--compile max', 'max'))),
    ('--device 0', 'device', '0'), ('--device=0', 'device', '0'), ('--device cpu', 'device', 'cpu'),
    # ~ is the home folder in a path and after FILE:
    ('--out_dir=~/x', 'out_dir', '/home/me/x'), ('--input ~', 'input', '/home/me'),
    ('--start=~/x', 'start', '~/x'), ('--start=FILE:~/x', 'start', 'FILE:/home/me/x'),
    ('--out_dir=a~/x', 'out_dir', 'a~/x')])
def test_a_flag_gives_its_setting_this_value(play, monkeypatch, line, name, value):
    monkeypatch.setenv('HOME', '/home/me')
    write_config(play, 'n_layer = 2')
    found = play(*line.split())[name]
    assert found == value and type(found) is type(value)


def test_none_turns_a_number_off(tmp_path):
    off = {'top_k': 0, 'dropout': 0.0, 'top_p': 1.0, 'repetition_penalty': 1.0}
    namespace = namespace_with(tmp_path, top_k=5, dropout=0.5, top_p=0.5, repetition_penalty=1.5)
    (tmp_path / 'off.py').write_text('\n'.join(f'{name} = None' for name in off), encoding='utf-8')
    for words in [str(tmp_path / 'off.py')], [f'--{name}=None' for name in off]:
        assert repr(configure(dict(namespace), words).settings) == repr(off)


@pytest.mark.parametrize('line, message', [
    *((f'--n_embd={text}', f'--n_embd: expected a whole number (int) like 384, got {got}') for text, got in (
        ('1.5', 1.5), ('abc', "'abc'"), ('', "''"), ('nan', 'nan'), ('0x10', "'0x10'"), ('True', "'True'"))),
    *((f'--top_p={text}', f'--top_p: expected a finite number (float) like 1.0, got {got}') for text, got in (
        ('nan', 'nan'), ('abc', "'abc'"), ('', "''"), ('1,5', "'1,5'"), ('true', "'true'"))),
    *((f'--top_p={text}', '--top_p: expected a finite number (float) between -2**63 and 2**63 like 1.0, got ')
      for text in ('inf', '-inf', '1e999', '1e308', '-1' + '0' * 400)),
    *((f'--seed={text}', '--seed: expected a whole number (int) between -2**63 and 2**63 like 1337, got ')
      for text in ('inf', '1e19', '1' + '0' * 20, '9223372036854775808')),
    ('--temperature=None', '--temperature: expected a finite number (float) like 0.6, got None'),
    ('--wandb_log=maybe', "--wandb_log: expected true or false (bool) like False, got 'maybe'"),
    ('--wandb_log=None', "--wandb_log: expected true or false (bool) like False, got 'None'"),
    ('--start --x', "--start: expected a string (str), got '--x'; write --start=VALUE"),
    ('--start', '--start: expected a string (str), got nothing; write --start=VALUE'),
    ('--device', '--device: expected a string (str), got nothing; write --device=VALUE'),
    ('--n_layer --seed=1', "--n_layer: expected a whole number (int), got '--seed=1'; write --n_layer=VALUE"),
    ('--no-device', '--no-device: unknown setting; did you mean --device?'),
    ('--no-decay_lr=true', '--no-decay_lr: unknown setting; did you mean --decay_lr?'),
    ('--DEVICE=cpu', '--DEVICE: unknown setting; did you mean --device?'),
    ('--number_of_layer=2', '--number_of_layer: unknown setting; did you mean --n_layer?'),
    ('--length=2', '--length: unknown setting; '), # an alias of a setting that this script does not have
    ('--qqq=1', '--qqq: unknown setting; --help lists all settings'),
    ('--', '--: unknown setting; --help lists all settings'),
    ('n_layer=2', 'n_layer=2: expected --name=value or a config file (*.py); did you mean --n_layer?'),
    ('notes.txt', 'notes.txt: expected --name=value or a config file (*.py); ')])
def test_a_mistake_on_the_command_line_is_one_line_that_says_what_to_do(play, line, message):
    assert mistake(play, *line.split()).startswith(message)


@pytest.mark.parametrize('old, new', [*ALIASES.items(), *RENAMED.items()])
def test_other_names_of_a_setting_are_accepted_and_former_ones_in_config_files(tmp_path, capsys, old, new):
    config, namespace = tmp_path / 'mine.py', namespace_with(tmp_path, **{new: 'a'})
    config.write_text(f'# mine\n{old} = "b"', encoding='utf-8')
    accepted = [f'--{old}', '--' + old.replace('_', '-'), *[str(config)] * (old in RENAMED)]
    for word in accepted:
        found = configure(dict(namespace), [word, 'b'] if word.startswith('--') else [word])
        assert found.settings == {new: 'b'} and found.typed | found.filed == {new}
        note = f'{word} is now --{new}' if word.startswith('--') else f'{word}:2: {old} is now {new}'
        assert capsys.readouterr().err == (note + '\n') * (old in RENAMED)
    found = configure(namespace_with(tmp_path, **{new: 'a', old: 'b'}), [f'--{old}=c'])
    assert found.settings == {new: 'a', old: 'c'} # a setting comes before an alias of its name


# ---- config files ----

def test_a_config_file_is_found_from_any_working_directory_but_one_there_comes_first(play):
    name = write_config(play, 'n_layer = 2')
    assert play(name)['config'].files == (str(play.folder / name),)
    os.mkdir('config')
    Path(name).write_text('n_layer = 3', encoding='utf-8')
    found = play(name)
    assert found['n_layer'] == 3 and found['config'].files == (name,)


def test_a_missing_config_file_names_the_places_and_the_nearest_one(play, monkeypatch):
    write_config(play, 'n_layer = 2', 'train_stories')
    for word in 'config/train_storeis.py', 'train_stories.py', '../' * 9 + 'elsewhere/train_storys.py':
        places = f'{os.path.abspath(word)} nor {play.folder}/{word}'
        assert mistake(play, word) == f'{word}: no file {places}; did you mean config/train_stories.py?'
    monkeypatch.chdir(play.folder)
    assert mistake(play, 'x.py') == f'x.py: no file {play.folder}/x.py; --help lists all settings'


def test_helpers_of_a_config_file_are_its_own_and_it_can_find_files_beside_itself_in_any_encoding(play):
    path = play.folder / 'config' / 'small.py'
    path.write_bytes('''# -*- coding: latin-1 -*-
import math
from os.path import join
_scale = 2
class Sizes: n = 3
def twice(x): return _scale * x
n_layer = twice(Sizes.n)
start = "é"
out_dir = join(__file__, 'b')
'''.encode('latin-1'))
    found = play(str(path))
    assert (found['n_layer'], found['start'], found['out_dir']) == (6, 'é', os.path.join(path, 'b'))
    assert not {'_scale', 'twice', 'Sizes', 'join'} & (found['config'].settings.keys() | found.keys())


@pytest.mark.parametrize('text, name, value', [
    ('top_p = 1', 'top_p', 1.0), ('n_embd = 1e3', 'n_embd', 1000), ('compile = False', 'compile', 'false'),
    ('compile = True', 'compile', 'true'), ('compile = "False"', 'compile', 'false'),
    ('out_dir = "~/x"', 'out_dir', '/home/me/x')])
def test_a_config_file_may_write_a_value_in_another_way(play, monkeypatch, text, name, value):
    monkeypatch.setenv('HOME', '/home/me')
    found = play(write_config(play, text))[name]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize('text, line, message', [
    ('\nn_embd = "64"', 2, "n_embd: expected a whole number (int) like 384, got '64'"),
    ('n_embd = True', 1, 'n_embd: expected a whole number (int) like 384, got True'),
    ('n_embd = 10 ** 5000', 1, 'n_embd: expected a whole number (int) between -2**63 and 2**63 like 384, '),
    ('top_p = False', 1, 'top_p: expected a finite number (float) like 1.0, got False'),
    ('wandb_log = 1', 1, 'wandb_log: expected true or false (bool) like False, got 1'),
    ('start = None', 1, "start: expected a string (str) like 'a # b', got None"),
    ('compile = 1', 1, "compile: expected a string (str) like 'auto', got 1"),
    ('device = False', 1, "device: expected a string (str) like 'auto', got False"),
    ('n_layer = 2\n\ntemperatur = 5e-4\n', 3, 'unknown setting temperatur; did you mean temperature?'),
    ('top_p = 1.0\nnumber_of_layers = 3', 2, 'unknown setting number_of_layers; did you mean n_layer?'),
    ('for n_layer in 1, 2:\n    qqq = 2\ndef f():\n    qqq = 1', 2, 'unknown setting qqq; --help lists all'),
    ('# a comment\nfrom math import pi', 2, 'unknown setting pi; '),
    ('\nfrom math import *', 2, 'unknown setting pi; '),
    ('n_layer = 2\nn_embd = = 3', 2, 'SyntaxError: invalid syntax'),
    ('n_layer = 2\nif True:\nn_embd = 3', 3, 'IndentationError: '),
    ('n_layer = 2\n_x = 1 / 0', 2, 'ZeroDivisionError: division by zero'),
    ('def _f():\n    raise ValueError("two\\nlines")\n_f()', 2, 'ValueError: two lines'),
    ('n_layer = 2\nimport no_such_module', 2, "ModuleNotFoundError: No module named 'no_such_module'"),
    ('\nimport json\njson.loads("{")', 3, 'JSONDecodeError: '), ('n_layer = 2\0', 1, '')])
def test_a_mistake_in_a_config_file_is_one_line_with_file_and_line(play, text, line, message):
    path = write_config(play, text)
    found = mistake(play, path)
    assert found.startswith(f'{play.folder}/{path}:{line}: {message}')
    assert 'small.py, line' not in found # Python's own way of saying it, a second time


# ---- --help ----

@pytest.mark.parametrize('words', [['--help'], ['--seed=2', '-h'], ['--sed', '-h'], ['x.py', '--help']])
def test_help_lists_settings_by_group_with_type_default_and_comment_before_anything_else(play, capsys, words):
    with pytest.raises(SystemExit) as stop:
        play(*words)
    text, others = capsys.readouterr().out.split('\n\nother names\n')
    assert stop.value.code == 0 and re.findall(r'(?m)^  --(\w+)  ', text) == list(DEFAULTS)
    assert text.startswith('A small script.\n\n    python play.py config/small.py\n\ndata\n  --input   ')
    for part in ("  ''       a file of one's own; it may be a folder too\n", '\n\nmodel: its size\n  --n_l',
                 ' blocks read and write; non-zero, a\n' + ' ' * 33 + 'multiple of n_head\n  --top_p  ',
                 "  float  0.6      not a comment: '#'\n\nrunning\n  --compile      str    'auto'   true, "):
        assert part in text
    assert others.startswith('  --embedding_dimension for --n_embd, --number_of_layers for --n_layer, --prom')


@pytest.fixture(scope='module')
def one_of_each(tmp_path_factory):
    return namespace_with(tmp_path_factory.mktemp('round'), whole=1, real=1.0, words='a', flag=False)


@settings(deadline=None, max_examples=100, database=None)
@given(st.lists(st.text(max_size=5) | st.sampled_from(
    '--whole --real --words --flag --no-flag --x 1 -1 1e30 a.py'.split()), max_size=6))
def test_whatever_the_words_they_are_read_or_refused_in_one_line(one_of_each, argv):
    try:
        found = configure(dict(one_of_each), argv).settings
    except SystemExit as stop:
        assert stop.code and len(stop.code.splitlines()) == 1
    else:
        assert [type(value) for value in found.values()] == [int, float, str, bool]
