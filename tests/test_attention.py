"""attention.py: weights of the real forward pass, scores, the logit lens, and the page in a browser."""
import itertools
import json
import math
import re
import sys

import pytest
import torch
from browser import needs_browser, opened
from conftest import FAMILIES, MODERN, files, mistake, process, random_model, random_tokens, run

import model as model_module
from data.tokenizer import BPETokenizer, CharTokenizer, single_bytes
from lib import attention_maps, page
from lib.attention_maps import (
    analyze,
    clearest_head,
    describe_head,
    followed_weight,
    grouped_logits,
    head_scores,
    induction_scores,
    logit_lens,
    pack_triangles,
    record,
)
from lib.checkpoint import build, from_transformers
from lib.generate import Sampling, filter_logits

ATTACK = '</script><!--<script>alert(1)'
TEXT = 'the cat sat on the mat'
WEAK = {'previous': 0.1, 'first': 0.1, 'self': 0.1, 'same': math.nan, 'entropy': 0.9, 'induction': 0.1}


# ---- the forward pass ----

def test_gpt2_of_12_layers_has_the_weights_and_states_that_transformers_computes():
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=101, n_positions=32, n_embd=48, n_layer=12, n_head=12, attn_implementation='eager')).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(torch.randn_like(p) * 0.1)
        idx = random_tokens(2, 32, vocab_size=101)
        expected = theirs(idx, output_attentions=True, output_hidden_states=True)
    forward = record(build(from_transformers(theirs)).eval(), idx)
    assert len(forward.weights) == 12 and len(forward.states) == 25
    for mine, other in zip(forward.weights, expected.attentions, strict=True):
        assert mine.shape == (2, 12, 32, 32) and torch.allclose(mine, other, atol=1e-5)
    for mine, other in zip(forward.states[:-1:2], expected.hidden_states[:-1], strict=True):
        assert torch.allclose(mine, other, atol=1e-4, rtol=1e-4)
    assert torch.allclose(forward.logits, expected.logits, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize('family', FAMILIES)
def test_weights_are_those_with_which_a_plain_attention_gives_the_same_logits(family, monkeypatch):
    model, idx, plain = random_model(**FAMILIES[family]), random_tokens(2, 16), []
    forward = record(model, idx)

    def plain_attention(q, k, v, mask, dropout):
        weights = torch.zeros(*q.shape[:3], k.size(2), dtype=torch.float64)
        for b, h, i in itertools.product(*map(range, q.shape[:3])):
            keys = k[b, h // (q.size(1) // k.size(1)), :i + 1].double()
            weights[b, h, i, :i + 1] = (keys @ q[b, h, i].double() / math.sqrt(q.size(3))).softmax(0)
        plain.append(weights)
        values = v.double().repeat_interleave(q.size(1) // v.size(1), dim=1)
        return (weights @ values).float()

    monkeypatch.setattr(model_module, 'attention', plain_attention)
    with torch.no_grad():
        assert torch.allclose(model(idx), forward.logits, atol=1e-4)
    for mine, other in zip(forward.weights, plain, strict=True):
        assert torch.allclose(mine.double(), other, atol=1e-5)
        assert torch.allclose(mine.sum(-1), torch.ones(()), atol=1e-6) and not mine.triu(1).any()
    assert forward.gap < 1e-5


def test_weights_that_do_not_rebuild_the_output_are_refused(monkeypatch):
    right = attention_maps.attention_weights
    monkeypatch.setattr(attention_maps, 'attention_weights', lambda q, k: right(q * 1.01, k))
    with pytest.raises(AssertionError, match='differ from the outputs'):
        record(random_model(**MODERN), random_tokens(1, 16))


def test_recording_leaves_no_hook_behind():
    model = random_model(**MODERN)
    record(model, random_tokens(1, 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize('family', FAMILIES)
def test_the_lens_after_a_layer_is_what_a_model_without_the_later_layers_predicts(family):
    model, idx = random_model(**FAMILIES[family]), random_tokens(1, 16)
    ids, probs = logit_lens(model, record(model, idx).states, 61)
    assert ids.shape == probs.shape == (5, 16, 5)
    blocks = model.transformer.h
    for step, layers in ((0, 0), (2, 1), (3, 2), (4, 2)):
        model.transformer.h = torch.nn.ModuleList(blocks[:layers])
        with pytest.MonkeyPatch.context() as patch, torch.no_grad():
            if step == 3: # after attention: without the last MLP
                patch.setattr(blocks[1].mlp, 'forward', torch.zeros_like)
            expected = model(idx)[0].softmax(-1)
        assert torch.allclose(probs[step], expected.topk(5).values, atol=1e-4), step
        assert torch.allclose(expected.gather(1, ids[step]), probs[step], atol=1e-4), step


# ---- scores ----

def weights_of(T, key_of):
    """Weights (1, T, T) of a head whose query i attends to the key key_of(i) alone."""
    weights = torch.zeros(1, T, T)
    for i in range(T):
        weights[0, i, key_of(i)] = 1
    return weights


@pytest.mark.parametrize('name, key_of', [('previous', lambda i: max(0, i - 1)), ('first', lambda i: 0),
                                          ('self', lambda i: i)])
def test_a_head_with_one_pattern_alone_scores_1_there_and_its_entropy_is_0(name, key_of):
    scores = head_scores(weights_of(9, key_of), torch.arange(9))
    others = {'previous', 'first', 'self'} - {name}
    assert scores[name] == 1 and scores['entropy'] == 0 and scores['same'].isnan()
    assert all(scores[other] <= 1 / 8 for other in others) # key 0 is both first and previous for query 1


def test_earlier_copies_of_a_token_count_together_and_only_where_there_are_some():
    ids = torch.tensor([5, 7, 5, 8, 5])
    weights = torch.full((1, 5, 5), 0.2)
    weights[0, 2], weights[0, 4] = torch.tensor([0.5, 0.25, 0.25, 0, 0]), torch.tensor([0.3, 0, 0.4, 0, 0.3])
    assert head_scores(weights, ids)['same'].item() == pytest.approx((0.5 + 0.7) / 2)


def test_equal_weights_have_the_entropy_of_the_number_of_keys():
    T = 16
    weights = (torch.ones(2, T, T).tril() / torch.arange(1, T + 1)[:, None])
    expected = sum(math.log2(i) for i in range(2, T + 1)) / (T - 1)
    assert head_scores(weights, torch.arange(T))['entropy'].tolist() == pytest.approx([expected] * 2)
    assert 'almost equally' in describe_head(WEAK | {'entropy': expected}, T)


@pytest.mark.parametrize('prefix', [(), (60,)])
@pytest.mark.parametrize('shift, expected', [(1, 1), (0, 0), (2, 0)])
def test_induction_is_the_weight_of_what_followed_the_first_time(prefix, shift, expected, monkeypatch):
    def pretend(model, idx):
        """A head that looks shift tokens after the first place of its token."""
        weights = torch.zeros(len(idx), 1, idx.size(1), idx.size(1))
        for b, row in enumerate(idx.tolist()):
            assert tuple(row[:len(prefix)]) == prefix
            for i, token in enumerate(row):
                weights[b, 0, i, min(i, row.index(token) + shift)] = 1
        return attention_maps.Forward([weights, weights], [], None, 0.0)

    monkeypatch.setattr(attention_maps, 'record', pretend)
    model = random_model(**MODERN | {'n_head': 1, 'block_size': 64})
    assert torch.allclose(induction_scores(model, 60, prefix), torch.full((2, 1), float(expected)))


def test_induction_needs_room_for_two_tokens_twice():
    assert induction_scores(random_model(**MODERN | {'block_size': 4}), 60, (60,)).isnan().all()
    assert not induction_scores(random_model(**MODERN | {'block_size': 5}), 60, (60,)).isnan().any()


def test_induction_of_equal_weights_is_the_mean_of_one_over_the_keys():
    weights = torch.ones(3, 2, 12, 12).tril() / torch.arange(1, 13)[:, None]
    expected = sum(1 / i for i in range(8, 13)) / 5 # tokens 7 to 11 repeat 2 to 6
    assert followed_weight(weights, 5, 2).tolist() == pytest.approx([expected] * 2)


def test_a_head_is_described_by_its_strongest_patterns():
    words = describe_head(WEAK | {'first': 0.21, 'previous': 0.62}, 12)
    assert words.startswith('Attends mostly to the previous token (0.62), partly to the first token (0.21); ')
    assert words.endswith('; entropy 0.9 bits of at most 2.6.') # the mean of log2 2 to log2 12
    assert describe_head(WEAK, 12).startswith('None of the patterns')
    assert describe_head(WEAK | {'induction': 0.4}, 12).endswith('(0.40): an induction head.')


def test_the_clearest_head_is_looked_for_where_a_layer_or_head_is_given():
    scores = [{'previous': p, 'same': None, 'induction': i}
              for p, i in ((.1, .2), (.3, .9), (.8, 0), (.1, .1))]
    assert clearest_head(scores, 2) == (0, 1) and clearest_head(scores, 2, layer=1) == (1, 0)
    assert clearest_head(scores, 2, head=0) == (1, 0) and clearest_head(scores, 2, 1, 1) == (1, 1)


# ---- what the page gets ----

def test_triangles_hold_each_weight_in_steps_of_1_in_255():
    layers = [w[0] for w in record(random_model(**MODERN), random_tokens(1, 7)).weights]
    packed = iter(pack_triangles(layers))
    for layer, head, i in itertools.product(range(2), range(4), range(7)):
        for j in range(i + 1):
            assert abs(next(packed) / 255 - layers[layer][head, i, j]) <= 0.5 / 255 + 1e-6
    assert next(packed, None) is None


def test_logits_beyond_the_first_4096_are_means_of_32():
    logits = torch.randn(5000, generator=torch.Generator().manual_seed(0))
    grouped, ids = grouped_logits(logits)
    expected = sorted(logits.tolist(), reverse=True)
    assert grouped[:4096].tolist() == expected[:4096] and ids[:3].tolist() == logits.topk(3).indices.tolist()
    groups = [expected[start:start + 32] for start in range(4096, 5000, 32)]
    assert grouped[4096:].tolist() == pytest.approx([sum(group) / len(group) for group in groups])


def many_tokens(n_tokens):
    """A byte-level tokenizer of n_tokens tokens that look like words, and the separator."""
    letters = itertools.product(b'abcdefghijklmnopqrstuvwxyz', repeat=4)
    words = [b' ' + bytes(word) for word in itertools.islice(letters, n_tokens - 256)]
    return BPETokenizer(single_bytes() + words)


@pytest.mark.parametrize('T, limit', [(100, 1_200_000), (256, 7_000_000)])
def test_a_page_of_12_layers_of_12_heads_and_gpt2s_vocabulary_is_small(T, limit):
    model = random_model(**MODERN | dict(arch='gpt2', vocab_size=50257, block_size=256, n_layer=12, n_head=12,
                                         n_embd=96, bias=True))
    ids = [50256, *random_tokens(T - 1, vocab_size=50256).tolist()]
    data, arrays, _ = analyze(model, many_tokens(50256), ids)
    assert len(arrays['maps']) == 144 * T * (T + 1) // 2
    assert len(render(model, data, arrays).encode()) <= limit


def render(model, data, arrays, text=TEXT):
    more = {'text': text, 'model': 'a run', 'parameters': model.n_params(), 'arch': model.config.arch,
            'layer': 0, 'head': 0}
    return page.render('attention.html', f'Attention: {text}', data | more, arrays)


# ---- the script ----

@pytest.fixture(scope='module')
def checkpoint(trained):
    return f'--checkpoint={trained}/best.pt'


def test_the_script_writes_a_page_and_two_pictures(checkpoint, tmp_path):
    result = run('attention.py', checkpoint, '--out_dir=new', f'--text={TEXT}', '--layer', '1', cwd=tmp_path)
    assert result.status == 0 and sorted(p.name for p in (tmp_path / 'new').iterdir()) == [
        'attention-head.png', 'attention.html', 'attention.png']
    for name in 'attention.png', 'attention-head.png':
        assert (tmp_path / 'new' / name).read_bytes().startswith(b'\x89PNG')
    assert len(re.findall(r'^layer [01] head [01]: \w.*entropy', result.out, re.MULTILINE)) == 4
    html = (tmp_path / 'new' / 'attention.html').read_text(encoding='utf-8')
    data = json.loads(re.search('id="data">(.*?)</script>', html)[1])
    assert data['layer'] == 1 and data['gap'] < 1e-5 and len(data['tokens']) == len(TEXT)


def test_without_out_dir_the_page_goes_beside_the_checkpoint(trained, tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'best.pt').symlink_to(f'{trained}/best.pt')
    for flag in '--checkpoint=a/best.pt', '--checkpoint=a', '--out_dir=a':
        assert run('attention.py', flag, f'--text={TEXT}', cwd=tmp_path).status == 0
        (tmp_path / 'a' / 'attention.html').unlink()
    assert [p.name for p in tmp_path.iterdir()] == ['a']


def test_openais_weights_do_not_write_into_the_folder_of_a_run():
    from attention import default_folder
    assert default_folder('', 'gpt2', 'out') == 'out-gpt2'
    assert default_folder('', 'checkpoint', 'out') == 'out'
    assert default_folder('best.pt', 'checkpoint', 'out') == '.'


def test_without_matplotlib_there_is_a_page_and_a_line_that_says_so(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    result = run('attention.py', checkpoint, '--out_dir=.', f'--text={TEXT}', cwd=tmp_path)
    assert result.status == 0 and 'pip install matplotlib' in result.out
    assert [p.name for p in tmp_path.iterdir()] == ['attention.html']


@pytest.mark.parametrize('flag', ['--show-plots', '--show_plots'])
def test_show_plots_opens_the_page_in_a_browser(checkpoint, tmp_path, flag):
    browser = tmp_path / 'browser'
    browser.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/opened"\n')
    browser.chmod(0o755)
    result = process('attention.py', checkpoint, '--out_dir=.', f'--text={TEXT}', flag, cwd=tmp_path,
                     BROWSER=str(browser))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / 'opened').read_text().strip() == f'file://{tmp_path}/attention.html'


MISTAKES = {
    '--checkpoint=typo.pt': 'typo.pt: expected a checkpoint, found no such file',
    '--checkpoint=': 'new: expected a checkpoint, found no such file',
    '--layer=2': '--layer: expected 0 to 1', '--layer=-2': '--layer: expected 0 to 1',
    '--head=99': '--head: expected 0 to 1',
    '--text=': '--text: expected at least two tokens', '--text=a': '--text: expected at least two tokens',
    '--text=' + 'a' * 33: 'at most 32 tokens (block_size), got 33',
    '--text=aXb': "got 'X' too", '--text=a\udc80': '--text: expected text in UTF-8',
    '--init_from=scratch': '--init_from: expected checkpoint or gpt2',
    '--init_from=gpt2': '--init_from: expected checkpoint or gpt2', # with --checkpoint
    '--tokenizer=x.json': 'has its own tokenizer', '--out_dir=a-file/out': 'a-file/out: could not be written'}


@pytest.mark.parametrize('flag', MISTAKES, ids=lambda flag: ascii(flag)[:24])
def test_a_mistake_is_one_line_and_writes_nothing(checkpoint, tmp_path, flag):
    (tmp_path / 'a-file').write_text('x')
    before = files(tmp_path)
    result = run('attention.py', checkpoint, '--out_dir=new', f'--text={TEXT}', flag, cwd=tmp_path)
    assert MISTAKES[flag] in mistake(result) and files(tmp_path) == before


def test_a_text_whose_page_would_be_huge_is_refused(trained, tmp_path):
    import attention
    model = random_model(**MODERN | {'block_size': 4000, 'n_head': 16})
    with pytest.raises(SystemExit, match='expected at most 1767 tokens, so that the weights of 32 heads'):
        attention.checked_ids('ab' * 1000, CharTokenizer('ab'), model.config)


# ---- the page in a browser ----

RED = """(() => {
  const copy = document.createElement('canvas').getContext('2d'); // Chromium warns of a second look into one
  copy.drawImage(document.querySelector('.heads canvas'), 0, 0);
  return copy.getImageData(0, 0, 1, 1).data[0];
})()"""
CONTRAST = """() => {
  const linear = (c) => c <= 10.31475 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4;
  const parts = [0.2126, 0.7152, 0.0722];
  const light = (rgb) => rgb.match(/[0-9]+/g).map(linear).reduce((sum, c, n) => sum + c * parts[n], 0);
  const cell = document.createElement('p');
  return Array.from({length: 256}, (_, n) => {
    shade(cell, n / 255);
    const [low, high] = [cell.style.background, cell.style.color].map(light).sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  });
}"""
ACTIVE = """(() => {
  const active = document.activeElement;
  return active.id || (active.closest('.heads, #tokens, #lens, details') || active).id || active.tagName;
})()"""


def weight_in(sentence):
    return float(re.search(r'weight (.*)\.$', sentence.inner_text())[1])


@pytest.fixture(scope='module')
def example(tmp_path_factory):
    """(path of a page, its data, the weights of its layers, its logits): two layers, four heads."""
    model, tokenizer = random_model(**MODERN | {'block_size': 32}), CharTokenizer(' acehmnost')
    ids = tokenizer.encode(TEXT)
    data, arrays, layers = analyze(model, tokenizer, ids)
    path = tmp_path_factory.mktemp('page') / 'attention.html'
    path.write_text(render(model, data, arrays), encoding='utf-8')
    return path, data, layers, record(model, torch.tensor([ids])).logits[0, -1, :10]


@needs_browser
@pytest.mark.parametrize('width', [360, 1400])
@pytest.mark.parametrize('scheme, media, dark', [('light', 'screen', False), ('dark', 'screen', True),
                                                 ('dark', 'print', False)])
def test_the_page_fits_and_its_colours_follow_the_scheme_but_on_paper(example, width, scheme, media, dark):
    with opened(example[0], width, scheme, media) as shown:
        # token 0 attends to itself with weight 1: dark blue, or almost white
        assert shown.evaluate(RED) == (232 if dark else 8)
        back = shown.evaluate('getComputedStyle(document.body).backgroundColor')
        assert back == ('rgb(23, 23, 26)' if dark else 'rgb(255, 255, 255)')
        assert shown.locator('#temperature').is_visible() == (media == 'screen')
        assert shown.locator('h1').inner_text().strip('“”').endswith(TEXT)
        if media == 'print' and width == 1400: # paper cannot be scrolled
            cut = "[...document.querySelectorAll('.tall')].some((box) => box.scrollWidth > box.clientWidth)"
            assert not shown.evaluate(cut)


@needs_browser
def test_a_page_opened_in_a_dark_scheme_is_redrawn_for_paper(example):
    with opened(example[0], scheme='dark') as shown:
        assert shown.evaluate(RED) == 232
        shown.emulate_media(media='print')
        shown.evaluate('new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))')
        assert shown.evaluate(RED) == 8


@needs_browser
def test_text_has_a_contrast_of_4_5_on_every_shade(example):
    for scheme in 'light', 'dark':
        with opened(example[0], scheme=scheme) as shown:
            assert min(shown.evaluate(CONTRAST)) >= 4.5


@needs_browser
def test_the_mouse_chooses_heads_cells_tokens_and_predictions(example):
    path, data, layers, _ = example
    with opened(path) as shown:
        text = shown.locator
        text('.heads button').nth(6).click()
        assert text('#head-title').inner_text() == 'The map of layer 1, head 2'
        assert text('#words').inner_text() == data['words'][6]
        pressed = [button.get_attribute('aria-pressed') for button in text('.heads button').all()]
        assert pressed.index('true') == 6 and pressed.count('false') == 7
        space, cell = shown.evaluate('[geometry.space, geometry.cell]')
        at = {'x': space + 3.5 * cell, 'y': space + 9.5 * cell} # query 9, key 3
        text('#map').hover(position=at)
        assert text('#cell').inner_text().startswith('Token 9 a attends to token 3 · with weight ')
        assert weight_in(text('#cell')) == pytest.approx(layers[1][2, 9, 3].item(), abs=0.01)
        assert 'Token 21' in text('#attended').inner_text() # until the click
        text('#map').click(position=at)
        assert text('#attended').inner_text().startswith('Token 9 a in layer 1, head 2: ')
        text('.token').nth(5).click()
        row = layers[1][2, 5]
        best = row.argmax().item()
        words = f'Token 5 a in layer 1, head 2: {TEXT[best].replace(" ", "·")} '
        assert text('#attended').inner_text().startswith(words)
        text('figure summary', has_text='All its weights').click()
        weights = [float(c.inner_text()) for c in text('#weights tbody td:last-child').all()]
        assert weights == pytest.approx(row[:6].tolist(), abs=0.003)
        text('#average').check()
        weights = [float(c.inner_text()) for c in text('#weights tbody td:last-child').all()]
        assert weights == pytest.approx(layers[1][:, 5, :6].mean(0).tolist(), abs=0.003)
        text('#lens tbody tr').nth(4).locator('td').nth(1).click()
        place = 'After the attention of layer 0, at token 4 c, the next would be:'
        assert text('#top p').inner_text() == place
        assert text('#top tbody tr').count() == 5


@needs_browser
def test_the_lens_on_the_page_is_that_of_the_model(example):
    path, data, _, logits = example
    probs = logits.softmax(-1).topk(5).values
    with opened(path) as shown:
        shown.locator('#lens tbody tr').last.locator('td').nth(4).click()
        found = [r.inner_text().split('\t') for r in shown.locator('#top tbody tr').all()]
        bars = [r.inner_text().split() for r in shown.locator('#bars tbody tr').all()]
    assert [float(r[2].strip('%')) for r in found] == pytest.approx((100 * probs).tolist(), abs=0.6)
    assert [r[1] for r in found] == [b[0] for b in bars[:5]] == [data['names'][n] for n in data['next'][:5]]


@needs_browser
def test_everything_can_be_chosen_by_keyboard(example):
    path, data, layers, _ = example
    with opened(path) as shown:
        stops, press = [], shown.keyboard.press
        for _ in range(14):
            press('Tab')
            stops.append(shown.evaluate(ACTIVE))
        for name in 'heads', 'map', 'average', 'tokens', 'report', 'lens', 'temperature', 'topK', 'topP':
            assert stops.count(name) >= 1, stops
        shown.locator('.heads button[tabindex="0"]').focus()
        press('ArrowDown'), press('ArrowRight'), press('ArrowRight'), press('ArrowLeft')
        assert shown.locator('#head-title').inner_text() == 'The map of layer 1, head 1'
        press('ArrowDown') # there is no layer below
        assert shown.locator('#head-title').inner_text() == 'The map of layer 1, head 1'
        shown.locator('#map').focus()
        query, key = shown.evaluate('[chosen.query, chosen.key]')
        assert (query, key) == (21, layers[1][1, 21].argmax().item())
        press('ArrowUp'), press('ArrowLeft' if key else 'ArrowRight')
        other = key - 1 if key else 1
        assert weight_in(shown.locator('#cell')) == pytest.approx(layers[1][1, 20, other].item(), abs=0.01)
        shown.locator('.token[tabindex="0"]').focus()
        press('ArrowLeft')
        words = shown.locator('#attended').inner_text()
        assert words.startswith('Token 19 ') # the map has chosen 20
        shown.locator('#lens [tabindex="0"]').focus()
        press('ArrowUp'), press('ArrowLeft')
        assert shown.locator('#top p').inner_text().startswith('After the attention of layer 1, at token 20')
        shown.locator('#temperature').focus()
        press('Home')
        assert '1 of 10 tokens can follow; entropy 0.00 bits' in shown.locator('#kept').inner_text()
        assert shown.locator('#bars tbody tr').first.inner_text().endswith('100%')


@needs_browser
@pytest.mark.parametrize('n_vocab', [10, 9000])
def test_temperature_top_k_and_top_p_are_those_of_sample_py(example, n_vocab, tmp_path):
    if n_vocab == 10:
        path, logits = example[0], example[3]
    else: # the last ones in groups
        model, tokenizer = random_model(**MODERN | {'vocab_size': 9000}), many_tokens(8999)
        path, ids = tmp_path / 'page.html', [tokenizer.eot, 5, 6]
        data, arrays, _ = analyze(model, tokenizer, ids)
        path.write_text(render(model, data, arrays), encoding='utf-8')
        logits = record(model, torch.tensor([ids])).logits[0, -1]
    with opened(path) as shown:
        for temperature, top_k, top_p in (1, 0, 1), (0.5, 3, 1), (2, 0, 0.7), (1.3, 8, 0.8), (1, 1, 0.01):
            settings = Sampling(temperature, top_k, top_p)
            expected = filter_logits(logits[None] / temperature, settings)[0].softmax(-1)
            expected = expected[expected > 0].sort(descending=True).values.tolist()
            found = shown.evaluate(f'distribution({temperature}, {top_k}, {top_p})')
            probs = [p for p, count in zip(*found.values(), strict=True) for _ in range(count) if p]
            assert sum(probs) == pytest.approx(1) and abs(len(probs) - len(expected)) <= (n_vocab > 10)
            same = min(len(probs), len(expected)) # rounding may decide on the last token of many
            close = 1e-2 if n_vocab > 10 else 1e-4
            assert probs[:same] == pytest.approx(expected[:same], rel=close, abs=1e-6)
        assert shown.evaluate('distribution(0, 0, 1).probs').count(1) == 1
        shown.locator('#topK').fill('3')
        assert f'3 of {n_vocab:,} tokens can follow' in shown.locator('#kept').inner_text()


@needs_browser
def test_tokens_and_texts_that_look_like_html_are_text(tmp_path):
    model = random_model(**MODERN | {'vocab_size': 258})
    tokenizer = BPETokenizer([*single_bytes(), ATTACK.encode()])
    data, arrays, _ = analyze(model, tokenizer, [tokenizer.eot, 256, 65, 256])
    path = tmp_path / 'page.html'
    path.write_text(render(model, data, arrays, text=ATTACK), encoding='utf-8')
    with opened(path) as shown: # which fails at a dialog
        assert shown.locator('h1').inner_text().strip('“”').endswith(ATTACK)
        assert shown.title().endswith(ATTACK)
        assert shown.locator('.token').nth(1).inner_text() == ATTACK
        assert shown.evaluate('document.scripts.length') == 2 + len(arrays)
