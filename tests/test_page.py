"""lib/page.py: a page holds its data, runs its own script alone, and nothing in the data can change it."""
import json
import re

import pytest

from lib import page

ATTACKS = '</script><!--<script>alert(1)</script>', '{{title}} {{csp}}', '\u2028<b>', '-->', '\\u003c'


@pytest.fixture
def template(tmp_path, monkeypatch):
    for name in 'page.css', 'page.js':
        (tmp_path / name).write_text(page.read(name))
    (tmp_path / 'x.html').write_text('<!doctype html><meta charset="utf-8">{{csp}}<title>{{title}}</title>'
                                     '<style>{{page.css}}</style>{{data}}<script>{{page.js}}run()</script>')
    monkeypatch.setattr(page, 'HERE', str(tmp_path))
    return 'x.html'


@pytest.mark.parametrize('attack', ATTACKS)
def test_data_stays_data(template, attack):
    text = page.render(template, attack, {'text': attack, attack: 1}, {'array': b'\x00\xff<'})
    inside, = re.findall('<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert json.loads(inside) == {'text': attack, attack: 1} and '<' not in inside
    assert text.count('<script') == text.count('</script>') == 3 and '<!--' not in text
    assert 'AP88' in text # the array, in base64


def test_only_the_scripts_and_styles_of_the_template_are_allowed(template):
    policy = re.search('Content-Security-Policy" content="(.*?)"', page.render(template, 'x', {}))[1]
    assert "default-src 'none'" in policy and policy.count('sha256-') == 2 and 'unsafe' not in policy


def test_data_that_is_no_json_is_refused(template):
    with pytest.raises(ValueError):
        page.render(template, 'x', {'loss': float('nan')})
