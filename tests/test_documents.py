"""What is read of files and folders, what is refused and how, and where texts are cut in two."""
import gzip
import io
import os
import zipfile

import pytest
from conftest import error_of, write_file
from hypothesis import given, settings
from hypothesis import strategies as st

from data import documents
from data.documents import boundary_near, file_fingerprint, local_documents, local_files, split_by_fraction
from data.tokenizer import SEPARATOR

# article 1 of the Universal Declaration of Human Rights
CHINESE = '人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。'
JAPANESE = 'すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。'
KOREAN = '모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.'
RUSSIAN = 'Все люди рождаются свободными и равными в своём достоинстве и правах.'
FRENCH = 'Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison.'


def test_a_folder_is_its_texts_in_order_of_names_and_the_rest_is_counted_also_without_any(tmp_path, capsys):
    path = tmp_path / 'notes'
    for name in 'b.txt a.md sub/c.TXT sub/._a.txt e.png f.txt.gz .git/d.txt __MACOSX/a.txt'.split():
        write_file(path / name, f'this is {name}')
    write_file(path / 'empty.txt', '')
    write_file(tmp_path / 'elsewhere' / 'z.txt', 'this is linked')
    for target, link in (('../b.txt', 'sub/again.txt'), ('..', 'sub/loop'), ('../elsewhere', 'w')):
        os.symlink(target, path / link) # the first two are read already
    names = [text.removeprefix('this is ') for text in local_documents(str(path))]
    assert names == ['a.md', 'b.txt', 'sub/c.TXT', 'linked']
    documents.print_skipped_files(str(path))
    line = capsys.readouterr().out
    assert line.count('\n') == 1
    assert all(part in line for part in ('1 .png', '1 .gz', '3 hidden', '2 already read'))
    for name in 'a.py', 'b.py', 'c.jsonl':
        write_file(tmp_path / 'code' / name, 'x')
    message = error_of(local_files, str(tmp_path / 'code'))
    assert all(part in message for part in ('2 .py', '1 .jsonl', '.txt, .md'))
    assert 'found neither' in error_of(local_files, str(tmp_path / 'nosuch'))


def test_the_state_of_a_text_changes_with_it(tmp_path):
    path = write_file(tmp_path / 'notes' / 'a.txt', 'one')
    states = [file_fingerprint(name) for name in (path, path, os.path.dirname(path), os.path.dirname(path))]
    assert states[0] == states[1] != states[2] == states[3] and all(states)
    write_file(tmp_path / 'notes' / 'a.txt', 'three')
    assert file_fingerprint(path) not in states and file_fingerprint(os.path.dirname(path)) not in states
    assert file_fingerprint(str(tmp_path / 'nosuch')) == ''


def test_line_ends_and_byte_order_marks_are_not_learned(tmp_path):
    marked = b'\xef\xbb\xbfone\r\ntwo\rthree\n'
    path = write_file(tmp_path / 'joined.txt', marked + marked + f'{SEPARATOR}\ufefffour'.encode())
    assert list(local_documents(path)) == ['one\ntwo\nthree\none\ntwo\nthree', 'four']


def zipped(name):
    with zipfile.ZipFile(buffer := io.BytesIO(), 'w') as file:
        file.writestr(name, 'x' * 1000)
    return buffer.getvalue()


@pytest.mark.parametrize('contents, words', [
    ('Hello you'.encode('utf-16'), 'UTF-16 text; convert it: iconv -f UTF-16 '),
    ('Hello you'.encode('utf-32'), 'iconv -f UTF-32 '),
    ('Hello you '.encode('utf-16-le') * 9, 'without a byte order mark; convert it: iconv -f UTF-16LE '),
    ('Hello you '.encode('utf-16-be') * 9, 'iconv -f UTF-16BE '), (bytes(1000), 'NUL byte at offset 0'),
    (b'a b c ' * 20_000 + b'\0 d', "NUL byte at offset 120,000; convert it: tr -d '\\000' "),
    (gzip.compress(b'text'), 'gzip file; convert it: gunzip -c '), (b'%PDF-1.4 \xff', 'pdftotext '),
    (zipped('a.txt'), 'a zip archive; convert it: unzip -p '),
    (zipped('word/document.xml'), 'a Word document (docx); convert it: pandoc -t plain '),
    (CHINESE.encode('gbk'), 'perhaps GB18030 text; convert it: iconv -f GB18030 '),
    (JAPANESE.encode('shift_jis'), 'iconv -f SHIFT_JIS '), (JAPANESE.encode('euc-jp'), 'iconv -f EUC-JP '),
    (KOREAN.encode('euc-kr'), 'iconv -f EUC-KR '), (RUSSIAN.encode('cp1251'), 'iconv -f WINDOWS-1251 '),
    (RUSSIAN.encode('koi8-r'), 'iconv -f KOI8-R '), (FRENCH.encode('cp1252'), 'iconv -f WINDOWS-1252 '),
    (JAPANESE.encode('shift_jis')[:51], 'iconv -f SHIFT_JIS '), # it ends inside a character
    (bytes(range(129, 250)) * 9, 'no encoding that was recognized')])
def test_what_is_not_utf8_text_is_named_with_the_command_that_makes_text_of_it(tmp_path, contents, words):
    path = write_file(tmp_path / 'my notes.txt', contents)
    message = error_of(list, local_documents(path))
    assert message.startswith(f'{path}: expected ') and words in message
    assert 'convert it:' not in message or message.endswith("'my notes.utf8.txt'")


@pytest.mark.parametrize('at', [0, 1000, 3_000_000])
@pytest.mark.parametrize('before', ['', f'{SEPARATOR}x'])
def test_bytes_that_are_not_utf8_are_named_with_their_offset(tmp_path, before, at):
    path = write_file(tmp_path / 'a.txt', b'x' * at + before.encode() + b'\xe9 y y y')
    message = error_of(list, local_documents(path))
    assert f'offset {at + len(before):,}' in message and '0xe9' in message


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(st.sampled_from('abc. \n'), min_size=1, max_size=80), min_size=1, max_size=12),
       val_fraction=st.floats(0.01, 0.9))
def test_a_split_keeps_all_text_in_order_and_has_about_the_fraction_asked_for(texts, val_fraction):
    train, val = map(list, split_by_fraction(lambda: iter(texts), val_fraction))
    assert ''.join(train + val) == ''.join(texts)
    size = len(''.join(texts))
    assert val and all(val) and (train or size == 1) # nothing empty
    if len(texts) == 1 and size > 1 and ' ' not in texts[0] and '\n' not in texts[0]: # it can be cut anywhere
        assert abs(len(val[0]) - size * val_fraction) <= 1
    assert len([text for text in train + val if text in texts]) >= len(texts) - 1 # at most one is cut


def test_many_documents_are_cut_between_two_of_them():
    texts = [f'document {i} ' * (1 + i % 5) for i in range(200)]
    train, val = map(list, split_by_fraction(lambda: iter(texts), 0.1))
    assert train + val == texts
    assert 0.07 < len(''.join(val)) / len(''.join(texts)) < 0.13
    assert 75 <= len(''.join(split_by_fraction(lambda: iter(texts), 0.1, max_val_chars=100)[1])) <= 125


@pytest.mark.parametrize('text, at, expected', [
    ('one two\n\nthree. four\nfive', 20, 9), ('one. two\nthree four', 12, 9), ('one. two three', 10, 5),
    ('one two three', 9, 8), ('onetwothree', 5, 5), ('x\n', 1, 1)])
def test_a_text_is_cut_at_the_best_boundary_there_is(text, at, expected):
    assert boundary_near(text, at) == expected
