"""What holds for every file of a kind: configs run, scripts can be imported, imports point one way."""
import ast
import graphlib
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import REPO, process, read, run

from configurator import configure

# the .py files of the repository, without what runs and virtual environments leave behind
FILES = sorted(str(path.relative_to(REPO)) for path in [
    *Path(REPO).glob('*.py'), *(path for folder in ('config', 'data', 'lib', 'tools', 'tests')
                                for path in Path(REPO, folder).rglob('*.py'))])
SOURCES = {path: Path(REPO, path).read_text(encoding='utf-8') for path in FILES}
CONFIGS = [path for path in FILES if path.startswith('config/')]
SCRIPTS = [path for path in FILES if '\nconfig = configure(' in SOURCES[path] and 'tests/' not in path]
# sizes only; what else a config says stays, so that it is run
SMALL = ('--n_layer=2', '--n_head=2', '--n_embd=32', '--vocab_size=0', '--block_size=32', '--batch_size=2',
         '--gradient_accumulation_steps=2', '--max_iters=2', '--sample_tokens=8', '--max_samples=-1',
         '--device=cpu', '--dtype=float32')


def settings_of(config):
    exec(SOURCES[config], values := {})
    return values


@pytest.mark.parametrize('config', CONFIGS)
def test_every_config_runs_for_two_updates_with_its_sizes_shrunk(config, dataset, tmp_path):
    # from scratch: no test can download the weights of GPT-2
    result = run('train.py', config, f'--dataset={dataset}', '--init_from=scratch', *SMALL, cwd=tmp_path)
    assert result.status == 0, result.message
    assert ' val ' in result.out
    out_dir = tmp_path / ('out-' + Path(config).stem.removeprefix('train_'))
    if settings_of(config).get('eval_only'):
        assert not out_dir.exists()
    else:
        assert read(out_dir / 'ckpt.pt')['iter_num'] == 2


@pytest.mark.slow
def test_a_config_that_finetunes_gpt2_runs_from_its_weights(tmp_path, monkeypatch):
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    shape = transformers.GPT2Config(n_positions=32, n_embd=16, n_layer=2, n_head=2)
    transformers.GPT2LMHeadModel(shape).save_pretrained(tmp_path / 'gpt2-xl') # found here by its name
    (tmp_path / 'tokens').mkdir()
    for split, count in (('train', 2000), ('val', 300)):
        ids = torch.arange(count) * 7919 % 50257
        ids.to(torch.uint16).numpy().tofile(tmp_path / 'tokens' / f'{split}.bin')
    monkeypatch.setenv('https_proxy', 'http://127.0.0.1:9') # GPT-2's vocabulary cannot be downloaded
    monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(tmp_path / 'empty'))
    assert run('data/text/prepare.py', '--input=tokens', '--tokenizer=gpt2', cwd=tmp_path).status == 0
    sizes = '--block_size=32', '--batch_size=2', '--gradient_accumulation_steps=2', '--max_iters=2'
    words = 'config/finetune_shakespeare.py', '--dataset=tokens', *sizes, '--device=cpu', '--out_dir=out'
    result = run('train.py', *words, cwd=tmp_path)
    assert result.status == 0, result.message
    assert 'model gpt2: ' in result.out and ' val ' in result.out and (tmp_path / 'out' / 'ckpt.pt').exists()


# ---- every script ----

@pytest.fixture(scope='module')
def namespaces():
    """{script: its globals after an import}"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'path', [REPO, *sys.path])
        return {path: runpy.run_path(os.path.join(REPO, path), run_name='imported') for path in SCRIPTS}


def commands():
    """(file, script, words) for every command that a page, a config file or a docstring shows."""
    pages = {str(path.relative_to(REPO)): path.read_text(encoding='utf-8') for path in
             [*Path(REPO).glob('*.md'), *Path(REPO, 'docs').rglob('*.md')]}
    for path, text in {**pages, **SOURCES}.items():
        for command in re.findall(r'(?m)(?:^[ #]*|`|&& )(?:python|torchrun [^`]*?) ([^`&\n|]+)', text):
            script, _, words = command.partition(' ')
            if script in SCRIPTS and 'tests/' not in path:
                yield path, script, shlex.split(words, comments=True)


def test_every_command_in_pages_and_docstrings_has_settings_that_exist(namespaces):
    shown = list(commands())
    assert {'README.md', 'train.py', 'docs/benchmarks.md'} <= {path for path, _, _ in shown}
    for _, script, words in shown:
        configure(dict(namespaces[script]), [word for word in words if word != '--help'])


@pytest.mark.parametrize('config', CONFIGS)
def test_a_config_writes_its_values_in_the_type_of_their_defaults(config, namespaces):
    values, defaults = settings_of(config), namespaces['train.py']['config'].settings
    assert [name for name, old in defaults.items() if type(values.get(name, old)) is not type(old)] == []


def test_importing_a_script_has_no_effect(tmp_path):
    names = [path.removesuffix('.py').replace('/', '.') for path in SCRIPTS]
    program = f'import sys; sys.path.insert(0, {REPO!r}); import ' + ', '.join(names)
    result = subprocess.run([sys.executable, '-c', program, '--nonsense', 'nosuch.py'], cwd=tmp_path,
                            capture_output=True, encoding='utf-8')
    assert (result.returncode, result.stdout, result.stderr) == (0, '', '')
    assert os.listdir(tmp_path) == []


def test_help_of_every_script_lists_its_settings_and_needs_no_package(tmp_path):
    for path in SCRIPTS:
        done = process(path, '--help', before=['-S'], cwd=tmp_path) # -S: without torch and all other packages
        assert done.returncode == 0, done.stderr
        head = SOURCES[path].partition('\nconfig = configure(')[0]
        assert re.findall('(?m)^  --([a-z0-9_]+)  ', done.stdout) == \
            re.findall('(?m)^([a-z][a-z0-9_]*)(?:: [a-z]+)? = ', head) != []


def test_an_installed_pocketgpt_has_every_module_of_the_top_level():
    listed = re.search(r'py-modules = (.*)', Path(REPO, 'pyproject.toml').read_text(encoding='utf-8'))[1]
    assert json.loads(listed) == sorted(path.removesuffix('.py') for path in FILES if '/' not in path)


# ---- the shape of the repository ----

# of a file, or a top-level file or folder; 4 for the rest, the scripts
LEVELS = {'lib/program.py': 0, 'configurator': 1, 'model': 1, 'data': 2, 'lib': 3, 'bench': 5, 'tools': 6}


def imports_of(path):
    """Paths of this repository, and names of packages, that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(SOURCES[path])):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        else:
            continue
        for name in names:
            as_path = name.replace('.', '/')
            found = {f'{as_path}.py', f'{os.path.dirname(as_path)}.py'} & set(FILES)
            yield found.pop() if found else name.partition('.')[0]


def test_imports_point_one_way_and_make_no_cycle():
    graph = {path: set(imports_of(path)) for path in FILES if not path.startswith(('tests/', 'config/'))}
    level = {path: LEVELS.get(path, LEVELS.get(path.partition('/')[0].removesuffix('.py'), 4))
             for path in graph}
    inner = {path: imported & set(graph) for path, imported in graph.items()}
    assert [(path, other) for path in inner for other in inner[path]
            if level[other] > level[path] or (level[other] == level[path] and '/' not in path)] == []
    graphlib.TopologicalSorter(inner).prepare() # raises CycleError
    standard = set(sys.stdlib_module_names)
    assert graph['lib/program.py'] | graph['configurator.py'] <= standard | {'lib/program.py'}
    assert graph['model.py'] <= standard | {'torch'}


def test_no_function_is_longer_than_60_lines_and_no_file_longer_than_450():
    sources = {path: source for path, source in SOURCES.items() if not path.startswith('tests/')}
    found = [path for path, source in sources.items() if source.count('\n') > 450]
    for path, source in sources.items():
        found += [f'{path}: {node.name}' for node in ast.walk(ast.parse(source))
                  if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 60]
    assert found == []
