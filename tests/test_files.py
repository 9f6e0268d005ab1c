"""Files that are replaced as a whole or not at all, and how paths are shown."""
import os

import pytest
from conftest import error_of

from data import files


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='a device that is always full')
def test_a_full_disk_and_a_folder_in_the_place_of_a_file_are_one_line_with_the_advice(tmp_path):
    message = error_of(files.write_json, '/dev/full', 'x' * 100_000, advice='sell it')
    assert 'No space left' in message and message.endswith('sell it')
    assert 'a folder' in error_of(files.write_json, str(tmp_path), 5)
    assert 'or device' in error_of(files.replacing(os.devnull).__enter__) # never replaced
    (tmp_path / 'file').touch()
    message = error_of(files.make_folder, str(tmp_path / 'file' / 'folder'), 'choose another --out')
    assert 'Not a directory' in message and message.endswith('choose another --out')


def test_a_path_is_shown_from_the_working_directory_or_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert files.short_path(str(tmp_path / 'a' / 'b')) == os.path.join('a', 'b')
    monkeypatch.setattr(os.path, 'relpath', lambda path: int('D:')) # ValueError, as across drives
    assert files.short_path('D:/data') == 'D:/data'
