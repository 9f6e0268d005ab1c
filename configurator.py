"""
Settings of a script, from config files and the command line.

    python train.py config/train_tinystories.py --batch_size=32 --learning-rate 1e-3 --compile --no-decay_lr

Words are read from left to right and the last value wins, whether a file or a flag gave it. A script's
settings are the lines above its `config = configure(globals())`; each keeps the type of its default.
"""
import ast
import difflib
import glob
import io
import os
import sys
import textwrap
import tokenize
import traceback
import types
from dataclasses import dataclass

BOOLS = {'true': True, 'yes': True, '1': True, 'false': False, 'no': False, '0': False}
EXPECTED = {bool: 'true or false (bool)', int: 'a whole number (int)', float: 'a finite number (float)',
            str: 'a string (str)'}
# other names, on the command line only; where a script has a setting of that name, it means that setting
ALIASES = {'embedding_dimension': 'n_embd', 'number_of_layers': 'n_layer', 'number_of_heads': 'n_head',
           'context_length': 'block_size', 'prompt': 'start', 'text': 'start', 'length': 'max_new_tokens',
           'top_k_tokens': 'top_k', 'data_path': 'input', 'save_dir': 'out_dir', 'output_dir': 'out_dir',
           'eval_every': 'eval_interval', 'save_every': 'save_interval', 'generate_every': 'sample_interval'}
HELP_WIDTH = 110 # characters


@dataclass(frozen=True)
class Config:
    settings: dict # name -> value in force
    typed: frozenset # names given on the command line
    filed: frozenset # names given in config files
    files: tuple # paths of the config files, in the order they were read


def configure(namespace, argv=None, derive=None):
    """
    The settings of a script. They are also written back into namespace, where the script's main() reads them.

    namespace: globals() of the script, called after its settings and before its heavy imports, so that --help
        and a typo answer at once; a setting is a name assigned at top level, not beginning with _, that holds
        a bool, int, float or str
    argv: words to read, by default sys.argv[1:]; none when the script is imported, which has no effect then
    derive: function(settings, typed, filed) that returns a dict of the settings that follow from others;
        typed, filed: the names given on the command line and in config files
    returns Config; raises SystemExit with one line for a mistake, with status 0 after --help
    """
    script = namespace['__file__']
    with tokenize.open(script) as f: # utf-8, or what the file declares
        source = f.read()
    defaults = {name: namespace[name] for name, _ in assignments(source) if not name.startswith('_')
                and isinstance(namespace.get(name), (bool, int, float, str))}
    aliases = {alias: name for alias, name in ALIASES.items() if name in defaults and alias not in defaults}
    names = {**{name: name for name in defaults}, **aliases} # what a flag may be called -> its setting
    if argv is None:
        argv = sys.argv[1:] if namespace['__name__'] == '__main__' else []
    if '--help' in argv or '-h' in argv:
        print(help_text(source, defaults, aliases))
        raise SystemExit(0)

    settings, typed, filed, files, words = dict(defaults), set(), set(), [], list(argv)
    while words:
        word = words.pop(0)
        if word.startswith('--'):
            name, settings[name] = read_flag(word, words, names, defaults)
            typed.add(name)
        else:
            files.append(find_config(word, script, names))
            values = read_config(files[-1], names, defaults)
            settings.update(values)
            filed.update(values)
    if derive:
        settings.update(derive(settings, typed, filed))
    namespace.update(settings)
    return Config(settings, frozenset(typed), frozenset(filed), tuple(files))


def assignments(source):
    """(name, statement) for every plain assignment at the top level of a script, in order."""
    for statement in ast.parse(source).body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            yield from ((name, statement) for name in bound_names(statement))


def bound_names(statement):
    """{name: line} of what a statement assigns or imports; what a function or class binds stays inside it."""
    names = {}
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return names
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id] = node.lineno
        elif isinstance(node, ast.alias):
            names[node.asname or node.name] = node.lineno
    return names


def mistake(where, what):
    """The one line that a user's mistake ends in."""
    return SystemExit(' '.join(f'{where}: {what}'.splitlines()))


def suggestion(word, known):
    """What to do about an unknown name. known: {what it may have meant: how to write that}"""
    close = difflib.get_close_matches(word.lower(), known, n=1)
    return f'did you mean {known[close[0]]}?' if close else '--help lists all settings'


# the command line

def read_flag(word, following, names, defaults):
    """
    Setting and value of one flag: --name=value, --name value, --name or --no-name.

    following: the words after it, a list; its first is taken out where it is the value
    """
    flag, equals, text = word.partition('=')
    key = flag[2:].replace('-', '_')
    name = names.get(key)
    if name is None and key.startswith('no_') and is_switch(defaults.get(names.get(key[3:]))) and not equals:
        name, text = names[key[3:]], 'false'
    elif name is None:
        raise mistake(flag, f'unknown setting; {suggestion(key, {k: f"--{names[k]}" for k in names})}')
    elif not equals:
        text = take_value(flag, following, defaults[name])
    return name, checked(flag, parsed(text, defaults[name]), defaults[name])


def is_switch(default):
    """Whether --name alone says true. 'auto' can be one too: true and false then overrule the choice."""
    return isinstance(default, bool) or default == 'auto'


def take_value(flag, following, default):
    """The value of a flag without =: the next word where that can be one, 'true' for a switch."""
    word = following[0] if following else '--'
    if isinstance(default, bool):
        taken = word.lower() in BOOLS
    elif isinstance(default, str): # --compile config/x.py is a switch and a config file
        taken = not word.startswith('-') and not (default == 'auto' and word.endswith('.py'))
    else: # one dash may be a minus
        taken = not word.startswith('--')
    if taken:
        return following.pop(0)
    if is_switch(default):
        return 'true'
    got = repr(word) if following else 'nothing'
    raise mistake(flag, f'expected {EXPECTED[type(default)]}, got {got}; write {flag}=VALUE')


def parsed(text, default):
    """A word as the Python value it stands for; as it is where it cannot be read as the default's kind."""
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        return BOOLS.get(text.lower(), text)
    if text in ('None', 'none'):
        return None
    for number in int, float: # int first: a float is not exact beyond 2**53
        try:
            return number(text)
        except ValueError:
            pass
    return text


def checked(where, value, default):
    """
    value in the type of its setting's default, or the end of the run.

    Converted are only: int to float, a whole float (1e3) to int, None to a number's 0 (off), and where the
    default is 'auto' a bool, or the word for one, to 'true' or 'false'.
    """
    kind = type(default)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is None and kind in (int, float):
        return kind(0)
    if default == 'auto' and isinstance(value, (bool, str)) and str(value).lower() in BOOLS:
        return str(BOOLS[str(value).lower()]).lower()
    if kind is int and is_number and value % 1 == 0: # false for inf and nan
        return int(value)
    if kind is float and is_number and abs(value) <= sys.float_info.max: # false for inf, nan and 10**400
        return float(value)
    if kind in (bool, str) and isinstance(value, kind):
        return value
    raise mistake(where, f'expected {EXPECTED[kind]} like {default!r}, got {value!r}')


# config files

def find_config(word, script, names):
    """Path of a config file, looked up from the working directory, then from the script's folder."""
    folder = os.path.dirname(os.path.abspath(script))
    if not word.endswith('.py'):
        hint = suggestion(word.partition('=')[0], {name: f'--{names[name]}' for name in names})
        raise mistake(word, f'expected --name=value or a config file (*.py); {hint}')
    for path in word, os.path.join(folder, word):
        if os.path.isfile(path):
            return path
    beside = glob.glob(os.path.join(glob.escape(os.path.dirname(word)) or 'config', '*.py'))
    paths = glob.glob('config/*.py', root_dir=folder) + beside
    hint = suggestion(os.path.basename(word), {os.path.basename(path): path for path in paths})
    places = dict.fromkeys([os.path.abspath(word), os.path.join(folder, word)]) # one or two
    raise mistake(word, f'no file {" nor ".join(places)}; {hint}')


def read_config(path, names, defaults):
    """
    {name: value} of the settings in a config file, which is Python and is executed.

    Modules, functions, classes and names that begin with _ are its helpers; the rest must be settings.
    """
    values = {'__name__': 'config', '__file__': path}
    try:
        with open(path, 'rb') as f: # bytes: Python finds out the encoding itself
            tree = ast.parse(f.read(), path)
        exec(compile(tree, path, 'exec'), values)
    except Exception as error: # anything: it is the user's Python
        what = getattr(error, 'msg', error) # str() of a SyntaxError says the line again
        raise mistake(f'{path}:{error_line(error, path)}', f'{type(error).__name__}: {what}') from None

    lines = {name: line for statement in tree.body for name, line in bound_names(statement).items()}
    settings = {}
    for name, value in values.items():
        where = f'{path}:{lines.get(name, lines.get("*", 1))}' # '*': from base import *
        if name in defaults:
            settings[name] = checked(f'{where}: {name}', value, defaults[name])
        elif not name.startswith('_') and not isinstance(value, types.ModuleType) and not callable(value):
            raise mistake(where, f'unknown setting {name}; {suggestion(name, names)} (helpers begin with _)')
    return settings


def error_line(error, path):
    """The line of the config file at which an error left it."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return error.lineno or 1
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return lines[-1] if lines else 1


# --help

def help_text(source, defaults, aliases):
    """The script's docstring, then its settings by group, then the other names that it accepts."""
    rows, last_group = described(source, defaults), None
    width = max(map(len, rows), default=0)
    value_width = min(20, max((len(repr(value)) for value in defaults.values()), default=0))
    text = [ast.get_docstring(ast.parse(source)) or '']
    for name, (group, comment) in rows.items():
        text += ['', group] if group != last_group else []
        last_group, value = group, defaults[name]
        left = f'  --{name:<{width}}  {type(value).__name__:<5}  {value!r:<{value_width}}  '
        text += wrapped(comment, left, indent=width + value_width + 15) # a long value moves its comment only
    if aliases:
        also = ', '.join(f'--{alias} for --{name}' for alias, name in aliases.items())
        text += ['', 'other names', *wrapped(also, '  ', indent=2)]
    return '\n'.join(text)


def wrapped(text, left, indent):
    """Lines of text at the right of left, the second and later ones indented."""
    lines = textwrap.wrap(text, HELP_WIDTH, initial_indent=left, subsequent_indent=' ' * indent,
                          break_on_hyphens=False, break_long_words=False)
    return lines or [left.rstrip()]


def described(source, defaults):
    """
    {name: (group, comment)} of the settings, in the order of the source.

    group: the comment lines right above a setting; they title the settings below too, up to the next such
    comment: the one at the end of the setting's line, and the indented comment lines that continue it
    """
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start: token.string.strip('# ') for token in tokens if token.type == tokenize.COMMENT}
    titles = {line: text.strip('-= ') for (line, column), text in comments.items() if column == 0}
    notes = {line: text for (line, column), text in comments.items() if column > 0}
    lines = ['', *source.split('\n')] # counted from 1, as tokens are
    rows, group = {}, 'settings'
    for name, statement in assignments(source):
        first, last = statement.lineno, statement.end_lineno
        while first - 1 in titles:
            first -= 1
        while last + 1 in notes and lines[last + 1].lstrip().startswith('#'):
            last += 1
        title = [titles[line] for line in range(first, statement.lineno)]
        group = ' '.join(filter(None, title)) or group # a line of dashes is no title
        if name in defaults:
            note = ' '.join(notes[line] for line in range(statement.end_lineno, last + 1) if line in notes)
            rows[name] = group, note
    return rows
