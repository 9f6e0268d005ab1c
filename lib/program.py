"""
How a script runs and ends: streams that can print any text, and one line instead of a traceback for what is
not a fault of the code.

    start_program(__file__)    # configure() calls it, unless the script is imported

Standard library only, and no module of this repository, so that configurator.py can use it.
"""
import atexit
import errno
import os
import signal
import sys
import time
from contextlib import contextmanager

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


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
    sys.excepthook = explain_exception
    atexit.unregister(flush_stdout_at_exit)
    atexit.register(flush_stdout_at_exit)


def explain_exception(kind, error, trace):
    """sys.excepthook: one line, or none, for what is no fault of the code; a traceback for the rest."""
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


@contextmanager
def one_message(patience=10.0):
    """
    Under torchrun, prints the message of a SystemExit that ends every process once.

    Rank 0 prints it and ends, and torchrun then ends the other ranks, which wait for that. A rank that is not
    ended within patience seconds prints its message: it is the only one that has it.
    """
    try:
        yield
    except SystemExit as error:
        is_torchrun = 'TORCHELASTIC_RUN_ID' in os.environ and os.environ.get('RANK', '0') != '0'
        if is_torchrun and isinstance(error.code, str) and not error.code.startswith('rank '):
            signal.signal(signal.SIGTERM, signal.SIG_DFL) # train.py handles it, and would not end here
            time.sleep(patience)
        raise
