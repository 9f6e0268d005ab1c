"""
Settings of a script, from config files and the command line.

    python train.py config/train_tinystories.py --batch_size=32 --learning-rate 1e-3 --compile --no-decay_lr

A setting is a line of the script above `config = configure(globals())`: name = default, then a comment, which
--help shows. It keeps the type of its default. With `n_layer = 4 # blocks` in the script and `n_layer = 6` in
the config file, --n_layer=8 gives 8, no flag gives 6, and neither gives 4.

configure() also prepares how a script ends: streams that can print any text, and one line instead of a
traceback for errors that are not bugs. Standard library only, so that --help and errors are immediate.

A setting is a switch, so that --name means true and --no-name false, if its default is True or False, or if
it is 'auto' and the comment offers true and false (`compile = 'auto' # true, false, or auto`).
"""
import ast
import atexit
import difflib
import errno
import gc
import glob
import io
import os
import re
import signal
import sys
import textwrap
import time
import tokenize
import traceback
import types
from contextlib import contextmanager
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.abspath(__file__))
BOOLS = {'true': True, 'yes': True, '1': True, 'false': False, 'no': False, '0': False}
EXPECTED = {bool: 'true or false (bool)', int: 'a whole number (int)', float: 'a finite number (float)',
            str: 'a string (str)'}
LARGEST = 2 ** 63 - 1 # int64, as torch and numpy take it; of floats too: the product of any few is finite
# what None (off) means for a number where that is not 0; None: the setting has no off
OFF = {'top_p': 1.0, 'repetition_penalty': 1.0, 'length_penalty': 1.0, 'num_beams': 1,
       **dict.fromkeys(['temperature', 'num_samples', 'max_new_tokens', 'learning_rate', 'muon_learning_rate',
                        'seed', 'batch_size', 'block_size', 'n_layer', 'n_head', 'n_embd'])}
# settings in which ~ is the home folder, besides *_dir, *_file and what follows FILE:
PATHS = ('input', 'out', 'data', 'dataset', 'checkpoint', 'init_from', 'tokenizer', 'prompts', 'profile',
         'reference', 'nanogpt')
# other names, on the command line only; where a script has a setting of that name, it means that setting
ALIASES = {'embedding_dimension': 'n_embd', 'number_of_layers': 'n_layer', 'number_of_heads': 'n_head',
           'context_length': 'block_size', 'prompt': 'start', 'text': 'start', 'length': 'max_new_tokens',
           'top_k_tokens': 'top_k', 'data_path': 'input', 'save_dir': 'out_dir', 'output_dir': 'out_dir',
           'eval_every': 'eval_interval', 'save_every': 'save_interval', 'generate_every': 'sample_interval'}
# former names, in config files too: accepted with a line that gives the present name
RENAMED = {'guesses': 'num_draft_tokens', 'copying': 'mimetic_init'}
HELP_WIDTH = 110 # characters


@dataclass(frozen=True)
class Setting:
    name: str
    default: object # bool, int, float or str
    group: str # title of the settings around it, for --help
    comment: str

    @property
    def is_switch(self):
        offers_both = {'true', 'false'} <= set(re.findall(r'\w+', self.comment))
        return isinstance(self.default, bool) or (self.default == 'auto' and offers_both)


@dataclass(frozen=True)
class Config:
    settings: dict # name -> value in force
    typed: frozenset # names given on the command line
    from_files: frozenset # names given in config files
    files: tuple # paths of the config files, in the order they were read


@contextmanager
def print_error_once(wait_s=10.0):
    """
    Under torchrun, prints the message of a SystemExit that ends every process once.

    Rank 0 prints it and ends, and torchrun then ends the other ranks, which wait for that. A rank that is not
    ended within wait_s seconds prints its message: it is the only one that has it.
    """
    try:
        yield
    except SystemExit as error:
        is_torchrun = 'TORCHELASTIC_RUN_ID' in os.environ and os.environ.get('RANK', '0') != '0'
        if is_torchrun and isinstance(error.code, str) and not error.code.startswith('rank '):
            signal.signal(signal.SIGTERM, signal.SIG_DFL) # train.py handles it, and would not end here
            time.sleep(wait_s)
        raise


@print_error_once()
def configure(namespace, argv=None, derive=None):
    """
    The settings of a script. They are also written back into namespace, where the script's main() reads them.

    Precedence: command line > config file > derived > default, in whatever order flags and files are typed.
    Of two flags, and of two config files, the later one wins. Where a checkpoint is used, the shape of the
    model is the checkpoint's: the command line may not contradict it, and files and defaults do not count.

    namespace: globals() of the script, called after its settings and before its heavy imports, so that --help
        and a mistake answer at once; a setting is a top-level name that begins with a small letter and holds
        a bool, int, float or str
    argv: words to read, by default sys.argv[1:]; none when the script is imported, which has no effect then
    derive: function(settings, typed, from_files) that returns a dict of the settings that follow from others.
        Settings on the command line keep their value whatever it returns; those in files only if it says so
    returns Config; raises SystemExit with one line for a mistake, with status 0 after --help
    """
    script, is_program = namespace['__file__'], namespace['__name__'] == '__main__'
    if is_program:
        start_program(script)
    with tokenize.open(script) as f: # utf-8, or what the file declares
        source = f.read()
    known = find_settings(source, namespace)
    others = {old: new for old, new in {**ALIASES, **RENAMED}.items() if new in known and old not in known}
    names = {**{name: name for name in known}, **others} # what a flag may be called -> its setting
    words = sys.argv[1:] if argv is None and is_program else list(argv or [])
    if '--help' in words or '-h' in words:
        print(help_text(ast.get_docstring(ast.parse(source)), known, names))
        raise SystemExit(0)

    typed, from_files, files = {}, {}, []
    while words:
        if words[0].startswith('--'):
            name, typed[name] = read_flag(words.pop(0), words, known, names)
        else:
            files.append(find_config(words.pop(0), script, names))
            from_files.update(read_config(files[-1], known, names))
    settings = {**{name: setting.default for name, setting in known.items()}, **from_files, **typed}
    if derive:
        settings.update({**derive(settings, set(typed), set(from_files)), **typed})
    namespace.update(settings)
    return Config(settings, frozenset(typed), frozenset(from_files), tuple(files))


def find_settings(source, namespace):
    """
    {name: Setting} of what a script has assigned, in the order of its source.

    group: the comment lines right above a setting; they title the settings below too, up to the next such
    comment: the one at the end of the setting's line, and the indented comment lines that continue it
    """
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start: token.string.strip('# ') for token in tokens if token.type == tokenize.COMMENT}
    titles = {line: text.strip('-= ') for (line, column), text in comments.items() if column == 0}
    notes = {line: text for (line, column), text in comments.items() if column > 0}
    lines = ['', *source.split('\n')] # counted from 1, as tokens are
    known, group = {}, 'settings'
    for statement in ast.parse(source).body:
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)):
            continue
        first, last = statement.lineno, statement.end_lineno
        while first - 1 in titles:
            first -= 1
        while last + 1 in notes and lines[last + 1].lstrip().startswith('#'):
            last += 1
        title = [titles[line] for line in range(first, statement.lineno)]
        group = ' '.join(filter(None, title)) or group # a line of dashes is no title
        comment = ' '.join(notes[line] for line in range(statement.end_lineno, last + 1) if line in notes)
        for name in bound_names(statement):
            # upper case is for constants
            if re.match('[a-z]', name) and isinstance(namespace.get(name), (bool, int, float, str)):
                known[name] = Setting(name, namespace[name], group, comment)
    return known


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


def user_error(where, what):
    """The one line that a user's mistake ends in."""
    line = ' '.join(f'{where}: {what}'.splitlines())
    return SystemExit(''.join(c if c.isprintable() else ascii(c)[1:-1] for c in line))


def suggestion(word, candidates):
    """What to do about an unknown name. candidates: {what it may have meant: how to write that}"""
    close = difflib.get_close_matches(word.lower(), candidates, n=1)
    return f'did you mean {candidates[close[0]]}?' if close else '--help lists all settings'


# ---- the command line ----

def read_flag(word, following, known, names):
    """
    Name and value of the setting that a flag gives: --name=value, --name value, --name or --no-name.

    following: the words after it, a list; its first is removed if it is the value
    """
    flag, equals, text = word.partition('=')
    key = flag[2:].replace('-', '_')
    negated = key.startswith('no_') and key not in names and not equals
    setting = known.get(names.get(key[3:] if negated else key))
    if setting is None or (negated and not setting.is_switch):
        raise user_error(flag, f'unknown setting; {suggestion(key, {k: f"--{names[k]}" for k in names})}')
    if key in RENAMED and key != setting.name:
        print(f'{flag} is now --{setting.name}', file=sys.stderr)
    if not equals:
        text = 'false' if negated else take_value(flag, following, setting)
    return setting.name, checked(flag, parsed(text, setting.default), setting)


def take_value(flag, following, setting):
    """The value of a flag without =: the next word if that can be one, 'true' for a switch."""
    word = following[0] if following else '--'
    if isinstance(setting.default, bool):
        is_value = word.lower() in BOOLS
    elif isinstance(setting.default, str): # --compile config/x.py is a switch and a config file
        is_value = not word.startswith('-') and not (setting.is_switch and word.endswith('.py'))
    else: # one dash may be a minus
        is_value = not word.startswith('--')
    if is_value:
        return following.pop(0)
    if setting.is_switch:
        return 'true'
    got = repr(word) if following else 'nothing'
    raise user_error(flag, f'expected {EXPECTED[type(setting.default)]}, got {got}; write {flag}=VALUE')


def parsed(text, default):
    """A word as the Python value it stands for; unchanged if it cannot be read as the type of the default."""
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


def checked(where, value, setting):
    """
    value in the type of its setting's default; SystemExit if it has another or is out of range.

    Converted are only: int to float, a whole float (1e3) to int, None to the number that turns the setting
    off, ~ in a path, and True, False or a word for them to 'true' or 'false' for a switch that can be 'auto'.
    """
    kind = type(setting.default)
    if value is None and kind in (int, float):
        value = OFF.get(setting.name, 0)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    in_range = is_number and abs(value) <= LARGEST # false for inf and nan
    if setting.is_switch and kind is str and isinstance(value, (bool, str)) and str(value).lower() in BOOLS:
        return str(BOOLS[str(value).lower()]).lower()
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return expanded(setting.name, value)
    if kind is float and in_range or kind is int and in_range and value % 1 == 0:
        return kind(value)
    limit = ' between -2**63 and 2**63' if is_number and abs(value) > LARGEST else ''
    got = 'one far beyond' if isinstance(value, int) and abs(value) > 10 ** 40 else repr(value)
    raise user_error(where, f'expected {EXPECTED[kind]}{limit} like {setting.default!r}, got {got}')


def expanded(name, text):
    """The value of a string setting with ~ replaced if it is a path; a prompt may begin with ~."""
    prefix = 'FILE:' if text.startswith('FILE:') else ''
    is_path = prefix or name in PATHS or name.endswith(('_dir', '_file'))
    return prefix + os.path.expanduser(text[len(prefix):]) if is_path else text


# ---- config files ----

def find_config(word, script, names):
    """Path of a config file, looked up from the working directory, then from the script's folder."""
    word, folder = os.path.expanduser(word), os.path.dirname(os.path.abspath(script))
    if not word.endswith('.py'):
        hint = suggestion(word.partition('=')[0], {name: f'--{names[name]}' for name in names})
        raise user_error(word, f'expected --name=value or a config file (*.py); {hint}')
    for path in word, os.path.join(folder, word):
        if os.path.isfile(path):
            return path
    beside = glob.glob(os.path.join(glob.escape(os.path.dirname(word)) or 'config', '*.py'))
    paths = glob.glob('config/*.py', root_dir=folder) + beside
    hint = suggestion(os.path.basename(word), {os.path.basename(path): path for path in paths})
    places = dict.fromkeys([os.path.abspath(word), os.path.join(folder, word)]) # one or two
    raise user_error(word, f'no file {" nor ".join(places)}; {hint}')


def read_config(path, known, names):
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
        raise user_error(f'{path}:{error_line(error, path)}', f'{type(error).__name__}: {what}') from None

    lines = {name: line for statement in tree.body for name, line in bound_names(statement).items()}
    settings = {}
    for key, value in values.items():
        where = f'{path}:{lines.get(key, lines.get("*", 1))}' # '*': from base import *
        name = names.get(key) if key in known or key in RENAMED else None
        if name:
            settings[name] = checked(f'{where}: {key}', value, known[name])
            if name != key:
                print(f'{where}: {key} is now {name}', file=sys.stderr)
        elif not key.startswith('_') and not isinstance(value, types.ModuleType) and not callable(value):
            raise user_error(where, f'unknown setting {key}; {suggestion(key, names)} (helpers begin with _)')
    return settings


def error_line(error, path):
    """The line of the config file at which an error left it."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return error.lineno or 1
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return lines[-1] if lines else 1


# ---- --help ----

def help_text(docstring, known, names):
    """The script's docstring, then its settings by group, then the other names that it accepts."""
    width = max(map(len, known), default=0)
    value_width = min(20, max((len(repr(setting.default)) for setting in known.values()), default=0))
    text, last_group = [docstring or ''], None
    for name, setting in known.items():
        text += ['', setting.group] if setting.group != last_group else []
        last_group, value = setting.group, setting.default
        left = f'  --{name:<{width}}  {type(value).__name__:<5}  {value!r:<{value_width}}  '
        # a long value moves its own comment only
        text += wrapped(setting.comment, left, indent=width + value_width + 15)
    others = ', '.join(f'--{old} for --{new}' for old, new in names.items() if old in ALIASES and old != new)
    return '\n'.join(text + (['', 'other names', *wrapped(others, '  ', indent=2)] if others else []))


def wrapped(text, left, indent):
    """Lines of text at the right of left, the second and later ones indented."""
    lines = textwrap.wrap(text, HELP_WIDTH, initial_indent=left, subsequent_indent=' ' * indent,
                          break_on_hyphens=False, break_long_words=False)
    return lines or [left.rstrip()]


# ---- how a script ends ----

def start_program(script):
    """
    Prepare the streams and the end of a program; a second call changes nothing.

    script: path of the script
    raises SystemExit with one line if Python is too old
    """
    if sys.version_info < (3, 10): # noqa: UP036 (so this file and the scripts must parse there)
        raise SystemExit(f'{os.path.basename(script)}: expected Python 3.10 or newer, got '
                         f'{sys.version.split()[0]}; install a newer one and run the script with it')
    for name, mode in ('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w'): # file descriptors 0, 1 and 2
        stream = getattr(sys, name)
        if stream is None: # closed by the caller (2>&-), or never there (pythonw)
            setattr(sys, name, open(os.devnull, mode, encoding='utf-8'))
        elif mode == 'w' and hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace') # \u2019 for what the console's encoding lacks
    gc.set_threshold(50_000) # the imports that follow make 250,000 objects, none of them garbage
    sys.excepthook = explain_exception
    atexit.unregister(flush_stdout_at_exit)
    atexit.register(flush_stdout_at_exit)


def explain_exception(kind, error, trace):
    """sys.excepthook: one line, or none, for errors that are not bugs; a traceback for the rest."""
    script = os.path.basename(sys.argv[0])
    if issubclass(kind, KeyboardInterrupt): # Python then ends itself by SIGINT: status 130 in a shell
        print(f'{script}: interrupted', file=sys.stderr)
        return
    # a SystemExit raised here ends the program as one raised anywhere else
    if issubclass(kind, ModuleNotFoundError) and (package := missing_package(error)):
        raise SystemExit(f'{script}: needs {package}; run: pip install -r {requirements_path()}')
    if issubclass(kind, OSError) and (lost := stdout_error('\n')):
        raise SystemExit(1 if is_reader_gone(lost) else f'{script}: stdout: {lost.strerror}')
    sys.__excepthook__(kind, error, trace)


def missing_package(error):
    """Name of the package that an import missed; '' if the module is one of this repository."""
    package = (error.name or '').partition('.')[0]
    ours = any(os.path.exists(os.path.join(ROOT, name)) for name in (package, f'{package}.py'))
    return '' if ours else package


def requirements_path():
    """requirements.txt as it can be typed in the working directory."""
    path = os.path.join(ROOT, 'requirements.txt')
    is_here = os.path.exists('requirements.txt') and os.path.samefile('requirements.txt', path)
    return 'requirements.txt' if is_here else f'"{path}"'


def stdout_error(text=''):
    """The OSError of writing text to stdout, or None. After one, stdout is os.devnull: the exit is quiet."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except ValueError: # closed by the script
        return None
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error


def is_reader_gone(error):
    """Whether what reads stdout has ended, as in `| head`."""
    return error.errno in (errno.EPIPE, errno.EINVAL) # EINVAL on Windows


def flush_stdout_at_exit():
    """Write what stdout still holds; registered first, so it runs last."""
    lost = stdout_error()
    if lost and not is_reader_gone(lost):
        print(f'{os.path.basename(sys.argv[0])}: stdout: {lost.strerror}', file=sys.stderr, flush=True)
        os._exit(1) # nothing else can change the status any more
