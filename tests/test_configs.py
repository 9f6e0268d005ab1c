"""What holds for every file of a kind: configs run, scripts can be imported, text is UTF-8."""
import ast
import glob
import os
import shutil
import subprocess
import sys

import pytest
import torch
from conftest import REPO, read, run

CONFIGS = sorted(glob.glob('*.py', root_dir=os.path.join(REPO, 'config')))
SCRIPTS = ['train', 'sample', 'bench']
# sizes only; what else a config says stays, so that it is run
SMALL = ('--n_layer=2', '--n_head=2', '--n_embd=32', '--block_size=32', '--batch_size=2',
         '--gradient_accumulation_steps=2', '--max_iters=2', '--sample_tokens=8', '--max_samples=-1',
         '--device=cpu', '--dtype=float32')


def settings_of(config):
    values = {}
    with open(os.path.join(REPO, 'config', config), encoding='utf-8') as f:
        exec(f.read(), values)
    return values


def test_there_are_configs():
    assert {'train_tinystories.py', 'train_shakespeare_char.py'} <= set(CONFIGS)


@pytest.mark.parametrize('config', CONFIGS)
def test_every_config_runs_for_two_updates_with_its_sizes_shrunk(config, dataset, tmp_path):
    # those that begin with GPT-2's weights, which no test can download, begin from scratch; see the next test
    words = f'config/{config}', f'--dataset={dataset}', '--init_from=scratch', *SMALL
    result = run('train.py', *words, cwd=tmp_path)
    assert result.status == 0, result.message
    assert ' val ' in result.out
    out_dir = tmp_path / ('out-' + config.removeprefix('train_').removesuffix('.py'))
    if settings_of(config).get('eval_only'):
        assert not out_dir.exists()
    else:
        assert read(out_dir / 'ckpt.pt')['iter_num'] == 2


@pytest.fixture(scope='module')
def small_gpt2(tmp_path_factory):
    """A folder where transformers finds a small random model by each name of GPT-2's, and bins for it."""
    transformers = pytest.importorskip('transformers')
    folder = tmp_path_factory.mktemp('gpt2')
    torch.manual_seed(0)
    shape = transformers.GPT2Config(n_positions=32, n_embd=16, n_layer=2, n_head=2)
    transformers.GPT2LMHeadModel(shape).save_pretrained(folder / 'gpt2')
    for name in ('gpt2-medium', 'gpt2-large', 'gpt2-xl'):
        shutil.copytree(folder / 'gpt2', folder / name)
    (folder / 'tokens').mkdir()
    for split, count in (('train', 2000), ('val', 300)):
        ids = torch.arange(count) * 7919 % 50257
        ids.to(torch.uint16).numpy().tofile(folder / 'tokens' / f'{split}.bin')
    with pytest.MonkeyPatch.context() as patch: # GPT-2's vocabulary cannot be had: nobody is there
        patch.setenv('https_proxy', 'http://127.0.0.1:9')
        patch.setenv('TIKTOKEN_CACHE_DIR', str(folder / 'empty'))
        assert run('data/text/prepare.py', '--input=tokens', '--tokenizer=gpt2', cwd=folder).status == 0
        yield folder


FROM_GPT2 = [name for name in CONFIGS if 'gpt2' in settings_of(name).get('init_from', '')]


@pytest.mark.parametrize('config', FROM_GPT2)
def test_a_config_that_begins_with_the_weights_of_gpt2_runs_with_its_own(config, small_gpt2, tmp_path):
    sizes = '--block_size=32', '--batch_size=2', '--gradient_accumulation_steps=2', '--max_iters=2'
    words = f'config/{config}', '--dataset=tokens', *sizes, '--device=cpu', f'--out_dir={tmp_path / "out"}'
    result = run('train.py', *words, cwd=small_gpt2)
    assert result.status == 0, result.message
    assert 'model gpt2: ' in result.out and ' val ' in result.out
    assert (tmp_path / 'out').exists() is not bool(settings_of(config).get('eval_only'))


# ---- every file of Python ----

def tracked():
    """The .py files of the repository, those that git would not ignore."""
    try:
        words = 'git', 'ls-files', '--cached', '--others', '--exclude-standard', '*.py'
        result = subprocess.run(words, cwd=REPO, capture_output=True, encoding='utf-8', check=True)
        listed = result.stdout.splitlines()
    except (OSError, subprocess.CalledProcessError): # no git, or a copy without its history
        listed = glob.glob('**/*.py', root_dir=REPO, recursive=True)
    return sorted(path for path in listed if os.path.exists(os.path.join(REPO, path)))


def opens_without_encoding(source):
    """Line numbers of calls that read or write text in whatever encoding the machine prefers."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or any(keyword.arg == 'encoding' for keyword in node.keywords):
            continue
        name, arguments = ast.unparse(node.func), node.args + [keyword.value for keyword in node.keywords]
        words = [part.value for a in arguments for part in ast.walk(a) if isinstance(part, ast.Constant)]
        opens = name == 'open' or (name.endswith('.open') and name not in ('os.open', 'tokenize.open'))
        if (opens and not BINARY.intersection(words)) or name.endswith(('.read_text', '.write_text')):
            yield node.lineno


BINARY = {letter + rest for letter in 'rwax' for rest in ('b', 'b+', '+b')}


def test_the_lint_sees_what_it_should():
    wrong = "open(p)\nopen(p, 'w')\npath.read_text()\npath.write_text(t)\npath.open('a')\n"
    right = ("open(p, 'rb')\nopen(p, mode='r+b')\nopen(p, 'r+b' if old else 'wb')\nos.open(p, 0)\n"
             "open(p, encoding='utf-8')\npath.read_text(encoding='utf-8')\npath.read_bytes()\n")
    assert list(opens_without_encoding(wrong)) == [1, 2, 3, 4, 5]
    assert list(opens_without_encoding(right)) == []


def test_every_text_file_is_opened_as_utf8():
    found = []
    for path in tracked():
        with open(os.path.join(REPO, path), encoding='utf-8') as f:
            found += [f'{path}:{line}' for line in opens_without_encoding(f.read())]
    assert found == []


def test_importing_a_script_has_no_effect(tmp_path):
    modules = SCRIPTS + [f'data.{os.path.basename(os.path.dirname(path))}.prepare'
                         for path in glob.glob(os.path.join(REPO, 'data', '*', 'prepare.py'))]
    program = f'import sys; sys.path.insert(0, {REPO!r}); import ' + ', '.join(modules)
    result = subprocess.run([sys.executable, '-c', program, '--nonsense', 'nosuch.py'], cwd=tmp_path,
                            capture_output=True, encoding='utf-8')
    assert (result.returncode, result.stdout, result.stderr) == (0, '', '')
    assert os.listdir(tmp_path) == []
