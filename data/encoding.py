"""
Detection of file types and text encodings, for error messages: what a file that is not UTF-8 text is, and
the command that converts it.

    if problem := detect_file_type(first_bytes, path):
        raise SystemExit(f'{path}: expected UTF-8 text, got {problem}')
"""
import codecs
import os

from data.messages import quoted

# first bytes of a file: what it is, and the command that writes its text to stdout, '' where none is usual
SIGNATURES = [
    (b'\xff\xfe\x00\x00', 'UTF-32 text', 'iconv -f UTF-32 -t UTF-8 {}'),
    (b'\x00\x00\xfe\xff', 'UTF-32 text', 'iconv -f UTF-32 -t UTF-8 {}'),
    (b'\xff\xfe', 'UTF-16 text', 'iconv -f UTF-16 -t UTF-8 {}'),
    (b'\xfe\xff', 'UTF-16 text', 'iconv -f UTF-16 -t UTF-8 {}'),
    (b'\x1f\x8b', 'a gzip file', 'gunzip -c {}'),
    (b'BZh', 'a bzip2 file', 'bunzip2 -c {}'),
    (b'\xfd7zXZ\x00', 'an xz file', 'xz -dc {}'),
    (b'\x28\xb5\x2f\xfd', 'a zstd file', 'zstd -dc {}'),
    (b'%PDF', 'a PDF', 'pdftotext -enc UTF-8 {} -'),
    (b'{\\rtf', 'an RTF document', 'pandoc -t plain {}'),
    (b'PK\x03\x04', 'a zip archive', 'unzip -p {}'),
    (b'7z\xbc\xaf\x27\x1c', 'a 7z archive', '7z x -so {}'),
    (b'\xd0\xcf\x11\xe0', 'an old Microsoft Office document', ''),
    (b'PAR1', 'parquet under a name that does not end in .parquet', ''),
    (b'\x89PNG', 'a picture', ''), (b'\xff\xd8\xff', 'a picture', ''), (b'GIF8', 'a picture', ''),
    (b'\x7fELF', 'a program', ''), (b'SQLite format 3', 'a database', '')]
# what tells the documents that are zip archives inside
ZIPPED = [(b'word/', 'a Word document (docx)'), (b'epub+zip', 'an e-book (epub)'),
          (b'vnd.oasis.opendocument', 'an OpenDocument text')]
# legacy encodings by their names for iconv, their most frequent non-ASCII characters, and the least fraction
# of all non-ASCII characters that these make up in ordinary text
LEGACY_ENCODINGS = [
    ('GB18030', '的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年，。', 0.1),
    ('BIG5', '的一是不了在人有我他這中大來上國個到說們為子和你地出道也時年，。', 0.1),
    ('SHIFT_JIS', 'のにはをたがでてとしれさるいもなっからうりくこんまアンスルイトラリ、。', 0.3),
    ('EUC-JP', 'のにはをたがでてとしれさるいもなっからうりくこんまアンスルイトラリ、。', 0.3),
    ('EUC-KR', '이다는의에가을를은고하지도로기한사서리자대시나어아일인정', 0.2),
    ('WINDOWS-1251', 'оеаинтсрвлкмдпу', 0.5), ('KOI8-R', 'оеаинтсрвлкмдпу', 0.5),
    ('WINDOWS-1252', 'éèêàâáäãåæçñóòôöõøœúùûüíìîïßÉÄÖÜ‘’“”–—…·«»¿¡°§', 0.5)]
SAMPLE_BYTES = 1 << 16 # enough to tell


def detect_file_type(head, path):
    """
    The type of a file that is not UTF-8 text and what to do about it, for a message; '' if it may be text.

    head: its first SAMPLE_BYTES bytes
    """
    for signature, kind, command in SIGNATURES:
        if head.startswith(signature):
            if kind == 'a zip archive' and (documents := [name for part, name in ZIPPED if part in head]):
                kind, command = documents[0], 'pandoc -t plain {}'
            return f'{kind}; {conversion(command, path)}'
    zeros = [head[start::2].count(0) for start in (0, 1)] # at even and at odd offsets
    if sum(zeros) > len(head) // 4 and min(zeros) < max(zeros) // 4:
        # ASCII letters alternate with zeros
        name = 'UTF-16LE' if zeros[1] > zeros[0] else 'UTF-16BE'
        return f'{name} text without a byte order mark; {conversion(f"iconv -f {name} -t UTF-8 {{}}", path)}'
    if zeros != [0, 0]:
        return f'a binary file (a NUL byte at offset {head.index(0):,}); give a text file'
    return ''


def detect_encoding(block, at, path):
    """
    The likely encodings of bytes that are not UTF-8, and what to do, as a clause.

    at: the offset in block that no UTF-8 text has
    """
    sample, shares = bytes(block[at:at + SAMPLE_BYTES]), {}
    for name, frequent, least in LEGACY_ENCODINGS:
        try: # incremental, since the sample may end inside a character
            text = codecs.getincrementaldecoder(name)().decode(sample)
        except UnicodeDecodeError:
            continue
        non_ascii = [char for char in text if not char.isascii()]
        share = sum(char in frequent for char in non_ascii) / max(1, len(non_ascii))
        if name == 'WINDOWS-1252' and len(non_ascii) > len(text) // 3:
            continue # Western text is mostly ASCII; these bytes are another alphabet
        if share >= least:
            shares[name] = share / least
    if not shares:
        return 'of no encoding that was recognized; convert it to UTF-8 or give another file'
    likely = sorted(shares, key=shares.get, reverse=True)
    command = conversion(f'iconv -f {likely[0]} -t UTF-8 {{}}', path)
    return f'perhaps {" or ".join(likely)} text; {command}'


def conversion(command, path):
    """What to do with a file that a command, with {} for the path, can turn into text."""
    if not command:
        return 'save its text as UTF-8 and give that file'
    text = os.path.splitext(os.path.basename(path))[0].removesuffix('.txt') + '.utf8.txt'
    return f'convert it: {command.format(quoted(path))} > {quoted(text)}'
