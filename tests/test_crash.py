"""tools/crash_test.py: its checks detect damage, and a few faults of each kind cause none."""
import shutil

import pytest

pytest.importorskip('resource') # not on Windows

from tools import crash_test


@pytest.mark.slow
def test_a_run_with_faults_ends_as_one_without(tmp_path, capsys):
    reference = crash_test.make_reference(str(tmp_path), 43)
    found = {kind: crash_test.inject_faults(reference, kind, 2, seed=1) for kind in crash_test.FAULTS}
    allowed = [counts for counts in found.values() if counts] # not every system allows every kind
    assert found['kill'] and not any(counts['failures'] for counts in allowed), capsys.readouterr().out
    assert all(counts['faults'] >= 2 for counts in allowed)


def test_the_checks_find_damage_and_lost_progress(trained, tmp_path):
    out_dir = shutil.copytree(trained, tmp_path / 'out')
    assert crash_test.check_files((40, 'ckpt.pt'), out_dir, *crash_test.newest(out_dir)) == []
    assert 'iter 60 or later, got 40' in crash_test.check_files((60, ''), out_dir, 40, 'ckpt.pt')[0]
    log, before = crash_test.log_of(out_dir), crash_test.result_of(out_dir)
    assert crash_test.check_progress(0, 0, log) == []
    assert len(crash_test.check_progress(11, -9, log[1:])) == 2
    (out_dir / 'log.jsonl').write_text('\n'.join((out_dir / 'log.jsonl').read_text().split('\n')[1:]))
    assert crash_test.differences(crash_test.result_of(out_dir), before)[1].startswith('missing line: ')
    data = bytearray((out_dir / 'best.pt').read_bytes())
    data[len(data) // 2] ^= 1
    (out_dir / 'best.pt').write_bytes(data)
    assert 'best.pt' in crash_test.check_files((40, 'ckpt.pt'), out_dir, 40, 'ckpt.pt')[0]
