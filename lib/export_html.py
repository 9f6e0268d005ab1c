"""
A trained model as one HTML file that writes: its int8 weights, tokenizer and sampling, without a server.

    python export.py --out_dir=out-tinystories --to=html

export.js computes what sample.py --quantize=int8 does. The weights are one compressed array, see pack().
"""
import contextlib
import json
import os
import re
import zlib
from dataclasses import asdict

import torch

from data.messages import format_bytes, shell_command
from lib import page
from lib.log import read_log
from lib.quantize import prepare_for_inference

MAX_BYTES = 400_000_000 # of a page; a string in Chromium has at most 536 million characters
SHOWN = ('batch_size', 'optimizer', 'learning_rate', 'muon_learning_rate', 'weight_decay', 'dropout', 'seed')


def html_page(model, tokenizer, title, start, about):
    """
    The text of the page; model, a float32 GPT, is quantized in place. SystemExit if it would be too large.

    start: the prompt that the page opens with
    about: list of (name, text), what the page says about the model
    """
    config, n_vocab = model.config, min(tokenizer.n_vocab, model.config.vocab_size)
    n_params = model.n_params()
    weights = n_params + 2 * n_vocab * config.n_embd # int8, and the embedding in bfloat16
    if weights * 4 / 3 > MAX_BYTES:
        raise SystemExit(f'export.py: expected a model whose page has at most {format_bytes(MAX_BYTES)}, got '
                         f'{n_params:,} parameters, about {format_bytes(weights * 4 // 3)}; choose a '
                         'smaller model')
    activation = config.activation or {'modern': 'swiglu', 'gpt2': 'gelu'}[config.arch]
    shape = asdict(config) | {'activation': activation, 'kv_heads': config.kv_heads,
                              'head_dim': config.head_dim, 'eot': tokenizer.eot}
    entries, packed = pack(prepare_for_inference(model, 'int8', 'cpu'), n_vocab)
    summary = (f'A language model with {n_params:,} parameters that runs in this page alone. It needs no '
               'network, and nothing that you type leaves the page.')
    data = {'config': shape, 'tensors': entries, 'tokenizer': describe_tokenizer(tokenizer), 'title': title,
            'summary': summary, 'start': start, 'about': about}
    return page.render('export.html', title, data, {'weights': packed})


def pack(model, n_vocab):
    """
    ([[name, numbers, kind], ...], bytes), raw DEFLATE of the tensors of an int8 GPT, one after the other.

    Kinds: int8; bfloat16, first all low bytes and then all high bytes, which compress better apart; tied, as
    bfloat16 but the embedding's difference from the int8 weights of lm_head, in units of the last place,
    which takes a quarter of the space and decodes to the exact bfloat16.
    Without rows of the vocabulary from n_vocab on, which are padding.
    """
    tensors = {name.removeprefix('transformer.'): tensor for name, tensor in model.state_dict().items()}
    first = {name: tensors.pop(name)[:n_vocab] for name in ('lm_head.weight', 'lm_head.scale', 'wte.weight')}
    tied = model.config.tie_weights or model.config.arch == 'gpt2'
    entries, packed = [], []
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15, 9, zlib.Z_FILTERED)
    for name, tensor in (first | tensors).items():
        kind = str(tensor.dtype).removeprefix('torch.')
        if kind == 'int8':
            parts = [tensor]
        else:
            number = bits(tensor)
            if name == 'wte.weight' and tied:
                kind = 'tied'
                q, scale = first['lm_head.weight'].float(), first['lm_head.scale'].float()
                number = (number - bits((q * scale[:, None]).bfloat16())).to(torch.int16).int()
                number = number << 1 ^ number >> 15 # 0, -1, 1, -2, ... as 0, 1, 2, 3, ...
            parts = [(number & 255).to(torch.uint8), (number >> 8 & 255).to(torch.uint8)]
        entries.append([name, tensor.numel(), kind])
        packed += [compressor.compress(part.contiguous().numpy()) for part in parts]
    return entries, b''.join([*packed, compressor.flush()])


def bits(tensor):
    """The 16 bits of each bfloat16, int32."""
    return tensor.contiguous().view(torch.int16).int() & 0xffff


def describe_tokenizer(tokenizer):
    """What makeTokenizer in export.js takes: all tokens, and the pattern in the syntax of JavaScript."""
    if tokenizer.kind == 'char':
        return tokenizer.to_json()
    encoding = tokenizer.encoding
    tokens = [encoding.decode_single_token_bytes(i).decode('latin-1') for i in range(tokenizer.eot)]
    return {'kind': 'bpe', 'tokens': tokens, 'pattern': javascript_pattern(encoding._pat_str)}


def javascript_pattern(pattern):
    r"""
    A pattern of tiktoken for new RegExp(pattern, 'u').

    JavaScript's \s differs in U+0085 and U+FEFF; it has no possessive quantifier, which only saves time in
    these patterns; and in older browsers no (?i:...), where the long s (U+017F) counts as an s.
    """
    def both_cases(match):
        return f"(?:{re.sub('[a-z]', lambda c: f'[{c[0]}{c[0].upper()}]', match[1]).replace('sS', 'sSſ')})"

    pattern = re.sub(r'\(\?i:([^)]*)\)', both_cases, pattern).replace('++', '+')
    return pattern.replace(r'\s', r'\p{White_Space}').replace(r'\S', r'\P{White_Space}')


def describe_run(checkpoint, config, path):
    """[[name, text], ...] about the run of a checkpoint at path, without folders of this machine."""
    settings = checkpoint.get('settings', {})
    rows = [['Architecture', '{arch}: {n_layer} layers, {n_head} heads, n_embd {n_embd}, context of '
             '{block_size} tokens, vocabulary of {vocab_size:,}'.format(**asdict(config))]]
    if source := str(settings.get('input') or settings.get('dataset') or ''):
        rows.append(['Training data', last_part(source)])
    if 'iter_num' in checkpoint:
        minutes = checkpoint.get('minutes')
        took = f' in {minutes:.1f} minutes' if type(minutes) is float else ''
        rows.append(['Training', f"{checkpoint['iter_num']:,} updates{took}"])
    folder, best = os.path.dirname(path), checkpoint.get('best_iter', -1)
    evaluations = [record for record in read_log(os.path.join(folder, 'log.jsonl'))
                   if record['iter'] == best and 'val_loss' in record]
    if evaluations:
        loss, per_byte = evaluations[-1]['val_loss'], evaluations[-1].get('bits_per_byte')
        rows.append(['Validation loss', f'{loss:.4f} nats per token'
                     + (f', {per_byte:.4f} bits per byte' if type(per_byte) is float else '')])
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError), \
            open(os.path.join(folder, 'run.json'), encoding='utf-8') as file:
        run = json.load(file)
        rows.append(['Command', shell_command(['python', *map(hide_folders, run['command'])])])
        rows.append(['Made with', ', '.join(f'{name} {number}' for name, number in run['versions'].items())])
    if shown := ', '.join(f'{name} {settings[name]}' for name in SHOWN if name in settings):
        rows.append(['Settings', shown])
    return rows


def last_part(path):
    return os.path.basename(os.path.normpath(path)) if os.path.isabs(path) else path


def hide_folders(word):
    """A word of a command with the last part alone of a path that begins at the root."""
    flag, equals, value = word.rpartition('=')
    return flag + equals + last_part(value)
