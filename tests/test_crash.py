"""Nothing destroys a run: a few faults of each kind of tools/crash_test.py, which by hand injects more."""
import pytest

pytest.importorskip('resource') # not on Windows

from tools.crash_test import STRIKES, make_case, torture


@pytest.fixture(scope='module')
def case(tmp_path_factory):
    return make_case(str(tmp_path_factory.mktemp('torture')), 43)


@pytest.mark.parametrize('kind', STRIKES)
def test_a_run_that_was_struck_ends_as_one_that_was_not(case, kind, capsys):
    counts = torture(case, kind, strikes=2, seed=1)
    if counts is None:
        pytest.skip('not allowed on this machine')
    assert counts['strikes'] >= 2 and not counts['wrong'], capsys.readouterr().out
