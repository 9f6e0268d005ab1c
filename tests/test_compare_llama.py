"""tools/compare_llama.py: it measures both sides, and says which packages it needs."""
from importlib.util import find_spec

import pytest
from conftest import mistake, run

PACKAGES = 'xllamacpp', 'gguf'


@pytest.mark.slow
@pytest.mark.skipif(not all(map(find_spec, PACKAGES)), reason='needs xllamacpp and gguf')
def test_it_measures_llama_cpp_and_ours_in_each_dtype(tmp_path):
    result = run('tools/compare_llama.py', '--smoke_test', '--new_tokens=20', cwd=tmp_path)
    assert result.status == 0, result.out
    rows = [line.split() for line in result.out.splitlines() if ' / ' in line]
    assert [row[2] for row in rows] == ['float32', 'bfloat16', 'int8']
    for row in rows: # the median of one run is its minimum and its maximum
        theirs, ours = float(row[3]), float(row[7])
        assert row[4] == f'({theirs}' and abs(float(row[11]) - ours / theirs) < 0.01


@pytest.mark.skipif(all(map(find_spec, PACKAGES)), reason='xllamacpp and gguf are installed')
def test_missing_packages_are_named_with_the_command_that_installs_them(tmp_path):
    assert 'run: pip install ' in mistake(run('tools/compare_llama.py', cwd=tmp_path))
