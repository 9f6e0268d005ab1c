"""
Self-contained HTML pages: one file that works by a double click, with no server and no network.

    python -c "from lib import page; help(page.render)"

A template is an .html file beside the module that fills it. Its style and script begin with the shared ones,
page.css and page.js. What a model wrote reaches a page as JSON alone, and its script as text, never as HTML.
"""
import base64
import hashlib
import html
import json
import os
import re

from data.files import atomic_write

HERE = os.path.dirname(os.path.abspath(__file__))


def render(template, title, data, arrays=None):
    """
    The text of a page.

    template: the name of a file in lib/, in which {{csp}}, {{title}} and {{data}} stand once, each where the
        content security policy, the title and the data belong; {{page.css}} and {{x.js}} are files in lib/
    data: what JSON can hold, for the script's readJson('data'); nan is refused with ValueError
    arrays: {name: bytes}, for the script's readBytes(name); a name is letters and digits
    """
    text = re.sub(r'\{\{(\w+\.(?:css|js))\}\}', lambda match: read(match[1]), read(template))
    policy = content_security_policy(text)
    blocks = [f'<script type="application/json" id="data">{escape_json(data)}</script>']
    blocks += [f'<script type="text/plain" id="{name}">{base64.b64encode(array).decode()}</script>'
               for name, array in (arrays or {}).items()]
    values = {'csp': f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
              'title': html.escape(title), 'data': '\n'.join(blocks)}
    # in one pass, so that nothing is replaced in what was filled in
    return re.sub(r'\{\{(csp|title|data)\}\}', lambda match: values[match[1]], text)


def read(name):
    """The text of a file in lib/."""
    with open(os.path.join(HERE, name), encoding='utf-8') as file:
        return file.read()


def escape_json(data):
    """data as JSON that cannot end or change the script element it stands in: without any '<'."""
    return json.dumps(data, allow_nan=False, separators=(',', ':')).replace('<', '\\u003c')


def content_security_policy(text):
    """A policy by which a browser runs the scripts and styles of this HTML alone, and loads nothing."""
    def sources(tag):
        found = re.findall(rf'<{tag}>(.*?)</{tag}>', text, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in found]
        return ' '.join(f"'sha256-{each}'" for each in hashes) or "'none'"

    return (f"default-src 'none'; script-src {sources('script')}; style-src {sources('style')}; "
            "img-src data:; base-uri 'none'; form-action 'none'")


def write(path, text):
    """Write a page to a temporary name and rename it."""
    with atomic_write(path, advice='free some space or choose another place') as file:
        file.write(text.encode())
