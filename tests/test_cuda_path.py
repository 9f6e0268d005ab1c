"""
The CUDA path without a GPU: its dtypes, and where the CPU waits for the device; by cuda_path.py.

Not tested: kernels and their speed, memory, NCCL, and what torch.compile makes of it on a GPU.
"""
import ast
import functools
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import cuda_path
import pytest
import torch
from conftest import FORKS, REPO, write_stories

MARK = 'CPU-GPU synchronization' # the comment at each line where the CPU waits for the device


@pytest.fixture(scope='module')
def facts(tmp_path_factory):
    """What cuda_path.py finds, in a process of its own, because the library is loaded before torch."""
    if torch.version.cuda or torch.version.hip or not sys.platform.startswith('linux'):
        pytest.skip('needs a CPU build of torch for Linux, which a small library gives a CUDA device')
    if not understands_cpp20():
        pytest.skip('needs c++, a compiler of C++20, for a library of 40 lines')
    folder = tmp_path_factory.mktemp('cuda_path')
    write_stories(folder)
    library, out, torch_dir = folder / 'fake_cuda.so', folder / 'facts.json', Path(torch.__file__).parent
    succeed('c++', '-std=c++20', '-O0', '-shared', '-fPIC', os.path.join(REPO, 'tests', 'fake_cuda.cpp'),
            f'-I{torch_dir}/include', f'-L{torch_dir}/lib', f'-Wl,-rpath,{torch_dir}/lib', '-lc10',
            '-ltorch_cpu', '-o', library)
    succeed(sys.executable, os.path.join(REPO, 'tests', 'cuda_path.py'), library, out, folder)
    return json.loads(out.read_text(encoding='utf-8'))


def succeed(*words):
    done = subprocess.run(words, env=os.environ | {'PYTHONPATH': REPO}, capture_output=True, encoding='utf-8')
    assert done.returncode == 0, done.stderr


def understands_cpp20():
    if not shutil.which('c++'):
        return False
    words = 'c++', '-std=c++20', '-fsyntax-only', '-x', 'c++', '-'
    return subprocess.run(words, input=b'#include <concepts>\n', capture_output=True).returncode == 0


def sound(found):
    """The facts of a case, which must not have ended in an error."""
    assert 'error' not in found, found['error']
    return found


@functools.cache
def marked_lines(path):
    """Numbers of the lines whose statement has the comment, in one of its lines or in that above it."""
    source, marked = Path(REPO, path).read_text(encoding='utf-8'), set()
    comments = {token.start[0] for token in tokenize.generate_tokens(io.StringIO(source).readline)
                if token.type == tokenize.COMMENT and MARK in token.string}
    alone = {line for line in comments if source.splitlines()[line - 1].lstrip().startswith('#')}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt):
            block = getattr(node, 'body', None)
            end = block[0].lineno - 1 if block else node.end_lineno
            lines = range(node.lineno, max(node.lineno, end) + 1)
            if (comments - alone).intersection(lines) or node.lineno - 1 in alone:
                marked.update(lines)
    return marked


def assert_marked(frames):
    """Each line is marked as a synchronization."""
    places = {f'{path}:{line} in {function}()' for path, line, function in frames
              if line not in marked_lines(path)}
    assert not places, f'the CPU waits for the device at {", ".join(sorted(places))}'


# ---- dtypes, and an update ----

@pytest.mark.parametrize('capability', cuda_path.CAPABILITIES, ids=str)
def test_a_gpu_gets_the_fastest_dtype_that_it_supports_and_float16_a_gradient_scaler(capability, facts):
    dtype = {(9, 0): 'bfloat16', (8, 0): 'bfloat16', (7, 5): 'float16', (6, 1): 'float32'}[capability]
    found = sound(facts['machines'][str(capability)])
    assert found == {'device': 'cuda', 'dtype': dtype, 'scaler': dtype == 'float16'}


@pytest.mark.parametrize('case', cuda_path.UPDATES, ids=str)
def test_an_update_multiplies_in_its_dtype_keeps_float32_and_does_not_wait_for_the_device(case, facts):
    found, dtype = sound(facts['updates'][str(case)]), case[1]
    assert_marked(frames[0] for _, frames in found['waits'])
    assert found['waits'] == []
    assert found['products'] == [dtype] and found['logits'] == f'torch.{dtype}'
    assert found['kept'] == ['torch.float32'] and found['device'] == 'cuda:0'


# ---- generation ----

@pytest.mark.parametrize('case', cuda_path.GENERATIONS, ids=str)
def test_tokens_are_generated_on_the_device_and_in_float32_they_are_those_of_the_cpu(case, facts):
    found = sound(facts['generations'][str(case)])
    assert found['device'] == 'cuda:0' and [len(step) for step in found['tokens']] == \
        [len(step) for step in found['on_cpu']] != []
    assert all(0 <= token < 65 for step in found['tokens'] for token in step)
    if case[1] == 'float32':
        assert found['tokens'] == found['on_cpu']


def test_generation_waits_for_the_device_only_where_a_comment_says_so(facts):
    waits = [wait for found in facts['generations'].values() for wait in sound(found)['waits']]
    waits += sound(facts['texts'])['waits']
    assert {frames[0][2] for _, frames in waits} >= {'__init__', 'check_finite', 'generate', 'stream_texts'}
    assert_marked(frames[0] for _, frames in waits)


# ---- a training run ----

@pytest.mark.parametrize('name', cuda_path.RUNS)
def test_a_training_run_waits_only_where_comments_in_its_loop_and_at_the_wait_say_so(name, facts):
    found = sound(facts['runs'][name])
    waits = [(kind, frames) for kind, frames in found['waits'] if loop_frame(frames)]
    functions = {frame[2] for _, frames in waits for frame in frames}
    assert functions >= {'evaluate', 'read', 'is_finite', 'snapshot', 'stream_texts'}
    assert_marked(loop_frame(frames) for _, frames in waits)
    # a copy to the device that waits may be made before a text is generated: its line in the loop is marked
    assert_marked(frames[0] for kind, frames in waits if kind != 'upload')


def loop_frame(frames):
    """The frame of train(), in which the loop is; None for what comes before and after it."""
    return next((frame for frame in frames if frame[0] == 'train.py' and frame[2] == 'train'), None)


@pytest.mark.parametrize('name', cuda_path.RUNS)
def test_a_training_run_logs_the_losses_of_the_cpu_and_saves_tensors_on_the_cpu(name, facts):
    found = sound(facts['runs'][name])
    assert found['saved_on'] == ['cpu']
    assert [record.keys() for record in found['log']] == [record.keys() for record in found['on_cpu']] != []
    for key in 'loss', 'norm', 'val_loss':
        mine, theirs = ([record[key] for record in found[log] if key in record] for log in ('log', 'on_cpu'))
        assert mine == pytest.approx(theirs, rel=0.01) and len(mine) >= 2
    assert re.search(r'iter 4/4 \| loss .* tok/s \| mfu ', found['out'])


# ---- the fake device itself ----

@pytest.mark.parametrize('inference', [False, True], ids=['', 'in inference mode'])
@pytest.mark.parametrize('expression', cuda_path.WAITS + cuda_path.NO_WAITS)
def test_the_fake_device_records_what_a_gpu_makes_the_cpu_wait_for(expression, inference, facts):
    waits = sound(facts['waits'][f'{expression} {inference}'])['waits']
    assert bool(waits) == (expression in cuda_path.WAITS)


def test_a_copy_in_the_background_cannot_be_read_before_its_event(facts):
    assert 'read before the copy is known to be complete' in facts['races']['False']['error']
    assert facts['races']['True'] == {'values': [3.0, 3.0]}


# ---- compiled decoding ----

@pytest.fixture(scope='module')
def programs(tmp_path_factory):
    """For each program of compiled decoding, how many inputs it changes in place that are not static."""
    path = tmp_path_factory.mktemp('programs') / 'programs.json'
    child = FORKS.Process(target=write_programs, args=(path,), daemon=True) # where nothing is compiled yet
    child.start()
    child.join()
    assert child.exitcode == 0
    return json.loads(path.read_text(encoding='utf-8'))


def write_programs(path):
    """Generate after prompts of 12 lengths, with a compiler that only notes what it is given."""
    import logging

    from torch._dynamo.backends.common import aot_autograd
    from torch._guards import TracingContext

    from lib.generate import generate
    from model import GPT, GPTConfig
    compile_function, found = torch.compile, []

    def note(graph, inputs):
        facts = TracingContext.get().fw_metadata
        changed = {i for i, each in enumerate(facts.input_info) if each.mutates_data}
        found.append(len(changed.difference(facts.static_input_indices)))
        return graph.forward

    torch._logging.set_logs(dynamo=logging.ERROR) # it warns of too many programs
    torch.compile = lambda function, options=None, dynamic=None: compile_function(
        function, backend=aot_autograd(fw_compiler=note), dynamic=dynamic)
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=65, block_size=64, n_layer=1, n_head=2, n_embd=32)).eval()
    for length in range(20, 32):
        idx = torch.arange(length)[None]
        compiled, eager = ([step.tolist() for step in generate(model, idx, 3, compiled=compiled)]
                           for compiled in (True, False))
        assert compiled == eager
    Path(path).write_text(json.dumps(found), encoding='utf-8')


def test_a_compiled_step_changes_only_static_inputs_so_that_a_gpu_replays_it_as_a_cuda_graph(programs):
    assert set(programs) == {0}


def test_prompts_of_many_lengths_share_their_compiled_programs(programs):
    assert 1 <= len(programs) <= 2
