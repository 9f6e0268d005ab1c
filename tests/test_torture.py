"""Nothing destroys a run: a few strikes of each kind of tests/torture.py, which by hand gives many more."""
import pytest

pytest.importorskip('resource') # not on Windows

from torture import STRIKES, make_case, torture


@pytest.fixture(scope='module')
def case(tmp_path_factory):
    return make_case(str(tmp_path_factory.mktemp('torture')), 43)


@pytest.mark.parametrize('kind', STRIKES)
def test_a_run_that_was_struck_ends_as_one_that_was_not(case, kind, capsys):
    counts = torture(case, kind, strikes=2, seed=1)
    if counts is None:
        pytest.skip('not allowed on this machine')
    assert counts['strikes'] >= 2 and not counts['wrong'], capsys.readouterr().out
