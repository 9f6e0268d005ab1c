"""What holds for every file of a kind: configs run, imports have no effect and point one way."""
import ast
import contextlib
import graphlib
import io
import json
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from conftest import REPO, STOP_SIGNALS, read, run

from configurator import configure
from model import GPTConfig

# the .py files of the repository, without what runs and virtual environments leave behind
FILES = sorted(str(path.relative_to(REPO)) for path in [
    *Path(REPO).glob('*.py'), *(path for folder in ('config', 'data', 'lib', 'tools')
                                for path in Path(REPO, folder).rglob('*.py'))])
SOURCES = {path: Path(REPO, path).read_text(encoding='utf-8') for path in FILES}
TREES = {path: ast.parse(source) for path, source in SOURCES.items()}
CONFIGS = [path for path in FILES if path.startswith('config/')]
MODULES = [path for path in FILES if path not in CONFIGS]
SCRIPTS = [path for path in FILES if '\nconfig = configure(' in SOURCES[path]]
# sizes only; what else a config says stays, so that it is run
SMALL = ('--n_layer=2', '--n_head=2', '--n_embd=32', '--vocab_size=0', '--block_size=32', '--batch_size=2',
         '--gradient_accumulation_steps=2', '--max_iters=2', '--eval_tokens=256', '--sample_tokens=8',
         '--max_samples=-1', '--device=cpu', '--dtype=float32')


def state():
    """What an import must leave as it is. The folder is the working directory, in which it could write."""
    return {'environment': dict(os.environ), 'folder': os.listdir(), 'hook': sys.excepthook,
            'signals': [signal.getsignal(number) for number in STOP_SIGNALS],
            'threads': torch.get_num_threads(), 'dtype': torch.get_default_dtype(),
            'seed': torch.initial_seed(), 'random': torch.get_rng_state().tolist()}


@pytest.fixture(scope='module')
def imported(tmp_path_factory):
    """{file: its globals after an import}, the state before and after all imports, and what they printed"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'path', sys.path.copy()) # to which a file in tools/ adds the repository
        patch.setattr(sys, 'argv', ['x.py', '--nonsense', 'nosuch.py'])
        patch.chdir(tmp_path_factory.mktemp('import'))
        for name in os.environ:
            patch.delenv(name) # what a script sets by default would else stay unnoticed
        before, out = state(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            found = {path: runpy.run_path(os.path.join(REPO, path), run_name='imported') for path in MODULES}
        return found, before, state(), out.getvalue()


def test_importing_a_file_reads_no_command_line_prints_nothing_and_changes_nothing(imported):
    _, before, after, out = imported
    assert after == before and out == ''


def test_every_command_in_pages_and_docstrings_has_settings_that_exist(imported):
    pages = [*Path(REPO).glob('*.md'), *Path(REPO, 'docs').rglob('*.md')]
    texts = {str(path.relative_to(REPO)): path.read_text(encoding='utf-8') for path in pages} | SOURCES
    shown, places = {}, set() # {script: the words of all its commands}
    for path, text in texts.items():
        for command in re.findall(r'(?m)(?:^[ #]*|`|&& )(?:python|torchrun [^`]*?) ([^`&\n|]+)', text):
            script, _, words = command.partition(' ')
            if script in SCRIPTS:
                places.add(path)
                shown.setdefault(script, []).extend(shlex.split(words, comments=True))
    assert {'README.md', 'train.py', 'docs/benchmarks.md'} <= places
    for script, words in shown.items():
        configure(dict(imported[0][script]), [word for word in words if word != '--help'])


def test_help_of_every_script_lists_its_settings_and_needs_no_package():
    for path in SCRIPTS:
        words = sys.executable, '-S', path, '--help' # -S: without torch and all other packages
        text = subprocess.run(words, cwd=REPO, stdout=subprocess.PIPE, encoding='utf-8', check=True).stdout
        head = SOURCES[path].partition('\nconfig = configure(')[0]
        assert re.findall('(?m)^  --([a-z0-9_]+)  ', text) == \
            re.findall('(?m)^([a-z][a-z0-9_]*)(?:: [a-z]+)? = ', head) != []


@pytest.mark.parametrize('config', CONFIGS)
def test_a_config_has_values_of_the_right_types_and_runs(config, imported, dataset, tmp_path, monkeypatch):
    exec(SOURCES[config], values := {})
    defaults = imported[0]['train.py']['config'].settings
    assert [name for name, old in defaults.items() if type(values.get(name, old)) is not type(old)] == []
    monkeypatch.setitem(sys.modules, 'matplotlib', None) # drawing takes longer than the run
    # from scratch: no test can download the weights of GPT-2
    result = run('train.py', config, f'--dataset={dataset}', '--init_from=scratch', *SMALL, cwd=tmp_path)
    assert result.status == 0 and ' val ' in result.out, result.message
    path = tmp_path / ('out-' + Path(config).stem.removeprefix('train_')) / 'ckpt.pt'
    assert read(path)['iter_num'] == 2 if not values.get('eval_only') else not path.parent.exists()


@pytest.mark.slow
def test_a_config_that_finetunes_gpt2_runs_from_its_weights(tmp_path, no_network, gpt2_dataset):
    transformers = pytest.importorskip('transformers')
    shape = transformers.GPT2Config(n_positions=32, n_embd=16, n_layer=2, n_head=2)
    transformers.GPT2LMHeadModel(shape).save_pretrained(tmp_path / 'gpt2-xl') # found here by its name
    words = '--block_size=32', '--batch_size=2', '--max_iters=2', '--device=cpu', '--out_dir=out'
    result = run('train.py', 'config/finetune_shakespeare.py', '--dataset=tokens', *words, cwd=tmp_path)
    assert result.status == 0 and 'model gpt2: ' in result.out, result.message
    assert (tmp_path / 'out' / 'ckpt.pt').exists()


# of a top-level file or folder; 4 for the rest, the scripts
LEVELS = {'configurator': 1, 'model': 1, 'data': 2, 'lib': 3, 'bench': 5, 'tools': 6}


def imports_of(path):
    """Paths of this repository, and names of packages, that a file imports anywhere in it."""
    for node in ast.walk(TREES[path]):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        prefix = f'{node.module}.' if isinstance(node, ast.ImportFrom) else ''
        for name in [prefix + alias.name for alias in node.names]:
            as_path = name.replace('.', '/')
            found = {f'{as_path}.py', f'{os.path.dirname(as_path)}.py'} & set(FILES)
            yield found.pop() if found else name.partition('.')[0]


def test_imports_point_one_way_and_make_no_cycle_and_an_installed_pocketgpt_has_every_module():
    graph = {path: set(imports_of(path)) for path in MODULES}
    level = {path: LEVELS.get(path.partition('/')[0].removesuffix('.py'), 4) for path in graph}
    inner = {path: imported & set(graph) for path, imported in graph.items()}
    assert [(path, other) for path in inner for other in inner[path]
            if level[other] > level[path] or (level[other] == level[path] and '/' not in path)] == []
    graphlib.TopologicalSorter(inner).prepare() # raises CycleError
    standard = set(sys.stdlib_module_names)
    assert graph['configurator.py'] <= standard
    assert graph['model.py'] <= standard | {'torch'}
    listed = re.search(r'py-modules = (.*)', Path(REPO, 'pyproject.toml').read_text(encoding='utf-8'))[1]
    assert json.loads(listed) == sorted(path.removesuffix('.py') for path in FILES if '/' not in path)


def functions_in(path):
    return [node for node in ast.walk(TREES[path]) if isinstance(node, ast.FunctionDef)]


def test_files_and_functions_have_a_length_that_can_be_read_and_train_py_has_no_closures():
    limits = {'train.py': 530} # of which 90 are settings
    found = [path for path, source in SOURCES.items() if source.count('\n') > limits.get(path, 450)]
    for path in FILES:
        screen = ['main', 'train'] if path == 'train.py' else [] # these fit on one
        found += [f'{path}: {each.name}' for each in functions_in(path)
                  if each.end_lineno - each.lineno >= (45 if each.name in screen else 60)]
    assert found == []
    inner = [part for each in functions_in('train.py') for part in ast.walk(each) if part is not each]
    assert not [part.lineno for part in inner if isinstance(part, (ast.FunctionDef, ast.Lambda))]


def test_every_setting_of_train_py_is_read_somewhere(imported):
    used = {f.name for f in fields(GPTConfig)} | {'max_iters', 'epochs', 'max_minutes'} # by stop_limits
    for path in ['train.py', *(path for path in FILES if path.startswith('lib/'))]:
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
                used.add(node.slice.value)
            elif getattr(node, 'name', '') == 'main':
                used.update(each.id for each in ast.walk(node) if isinstance(each, ast.Name))
            elif getattr(node, 'name', '') == 'Plan': # as make_plan fills it
                used.update(line.target.id for line in node.body if isinstance(line, ast.AnnAssign))
    assert imported[0]['train.py']['config'].settings.keys() - used == set()
