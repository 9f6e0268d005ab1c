"""
Downloads: whether a URL can be reached, and files that are written only when they are complete.

    if why := fetch(url, 'input.txt', sha256):
        print(f'not downloaded: {why}')
"""
import hashlib
import os
import threading
from urllib.parse import urlsplit

from tqdm import tqdm

from data.files import atomic_write


def why_unreachable(url, seconds=3):
    """
    The reason why a URL cannot be reached, for a message, or ''; takes at most `seconds`.

    The request runs in a thread because name resolution has no time-out of its own. Proxies are those of the
    environment.
    """
    import requests
    host, answers = urlsplit(url).netloc, []

    def request():
        try:
            with requests.get(url, stream=True, timeout=seconds) as answer: # reads only headers
                answers.append('' if answer.ok else f'{host} answers with HTTP status {answer.status_code}')
        except requests.RequestException as error:
            answers.append(f'{host} cannot be reached ({type(error).__name__})')

    thread = threading.Thread(target=request, daemon=True) # daemon: the process may end before the answer
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else f'{host} has not answered in {seconds} seconds'


def fetch(url, path, sha256):
    """
    Download a file that fits into memory and has this checksum; path appears only when it is complete.

    Returns '', or why the download failed, as a clause. Raises SystemExit when path cannot be written.
    """
    import requests
    if why := why_unreachable(url):
        return why
    host, blocks = urlsplit(url).netloc, []
    try:
        with requests.get(url, stream=True, timeout=20) as answer, \
                tqdm(desc=f'downloading {os.path.basename(path)}', unit='B', unit_scale=True,
                     disable=None) as bar: # None: no bar where stderr is not a terminal
            for block in answer.iter_content(1 << 16):
                blocks.append(block)
                bar.update(len(block))
    except requests.RequestException as error:
        return f'the connection to {host} was lost ({type(error).__name__})'
    contents = b''.join(blocks)
    found = hashlib.sha256(contents).hexdigest()
    if found != sha256:
        return f'{host} sent another file (sha256 {found[:16]}, expected {sha256[:16]})'
    with atomic_write(path) as file:
        file.write(contents)
    return ''
