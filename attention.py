"""
See what a model attends to, and what it would predict after each layer: one HTML page, and PNG files.

    python attention.py --out_dir=out-tinystories --text="The cat sat on the mat"
    python attention.py --checkpoint=out-tinystories/best.pt --layer=2 --head=0 --show-plots

The page needs no network; docs/looking_inside.md explains it.
"""
from configurator import configure

# model
out_dir = 'out-tinystories' # folder of a run, whose best.pt is loaded; attention.html and the PNG files go there
checkpoint = '' # checkpoint file to load instead, also one of nanoGPT; the page goes beside it, or to out_dir
init_from = 'checkpoint' # checkpoint, or OpenAI's weights: gpt2, gpt2-medium, gpt2-large, gpt2-xl
tokenizer = '' # meta.json, or nanoGPT's meta.pkl, of the dataset; only for a checkpoint without a tokenizer

# what to look at
text = 'The cat sat on the mat. The cat sat on the' # at least two tokens, at most block_size
layer = -1 # layer to enlarge, counted from 0, the only one in attention.png; -1: that with the clearest pattern
head = -1 # head to enlarge, counted from 0; -1: the head of the layer with the clearest pattern
show_plots = False # open the page in a browser
seed = 1337 # of the random tokens for the induction score

config = configure(globals())

# after the settings, so that --help and errors do not wait for torch
import os
import webbrowser

from data.files import make_folder
from lib import page
from lib.attention_maps import analyze, clearest_head, draw_grid, draw_head
from lib.checkpoint import GPT2_NAMES, build, from_gpt2, printable, read_best
from lib.generate import prompt_ids
from sample import check_prompts, tokenizer_for

MAX_WEIGHTS = 50_000_000 # bytes in the page before base64, which makes 67 MB of them


def check_choice(name, number, count, of):
    """SystemExit unless number is -1 or counts one of the count layers or heads."""
    if not -1 <= number < count:
        raise SystemExit(f'{name}: expected 0 to {count - 1}, since {of} has {count} of them, or -1, got {number}; '
                         f'leave --{name} out to see all')


def load(init_from, source, tokenizer_file):
    """(model, tokenizer, its path or name) of a checkpoint or of OpenAI's weights, never a random model."""
    if init_from not in ('checkpoint', *GPT2_NAMES):
        raise SystemExit(f'init_from: expected checkpoint, {", ".join(GPT2_NAMES)}, got {printable(init_from)}; '
                         'for a file, use --checkpoint=FILE')
    loaded, path = read_best(source) if init_from == 'checkpoint' else (from_gpt2(init_from), init_from)
    return build(loaded, path).eval(), tokenizer_for(loaded, path, tokenizer_file), path


def checked_ids(text, tokenizer, model_config):
    """The token ids of a text. SystemExit if it is empty, too long, or has characters that are not known."""
    if not text:
        raise SystemExit('text: expected at least two tokens, got an empty text; give --text="The cat sat"')
    check_prompts({'text': text}, tokenizer, model_config.block_size)
    ids, maps = prompt_ids(tokenizer, text), model_config.n_layer * model_config.n_head
    if len(ids) < 2:
        raise SystemExit(f'text: expected at least two tokens, got {len(ids)}; give a longer one')
    if (n_bytes := maps * len(ids) * (len(ids) + 1) // 2) > MAX_WEIGHTS:
        raise SystemExit(f'text: expected at most {int((2 * MAX_WEIGHTS / maps) ** 0.5)} tokens, since the '
                         f'weights of {maps} heads go into one page, got {len(ids)} ({n_bytes / 1e6:.0f} MB); '
                         'shorten it')
    return ids


def main():
    if init_from == 'checkpoint' and not checkpoint:
        folder = out_dir
    elif 'out_dir' in config.typed | config.from_files:
        folder = out_dir
    else:
        folder = checkpoint if os.path.isdir(checkpoint) else os.path.dirname(checkpoint) or '.'
    model, model_tokenizer, path = load(init_from, checkpoint or out_dir, tokenizer)
    check_choice('layer', layer, model.config.n_layer, path)
    check_choice('head', head, model.config.n_head, f'each layer of {path}')
    ids = checked_ids(text, model_tokenizer, model.config)
    make_folder(folder)

    data, arrays, layers = analyze(model, model_tokenizer, ids, seed)
    chosen, best_head = clearest_head(data['scores'], model.config.n_head, layer)
    enlarged = best_head if head < 0 else head
    data |= {'model': os.path.basename(os.path.dirname(os.path.abspath(path))) if os.path.exists(path) else path,
             'parameters': model.n_params(), 'arch': model.config.arch, 'layer': chosen, 'head': enlarged}
    target = os.path.join(folder, 'attention.html')
    html = page.render('attention.html', f'Attention: {text[:60]}', data, arrays)
    page.write(target, html)
    for number, words in enumerate(data['words']):
        print(f'layer {number // model.config.n_head} head {number % model.config.n_head}: {words}')
    print(f'{target}: {len(html) / 1e6:.1f} MB; the weights rebuild the outputs of attention to {data["gap"]:.0e}')
    try:
        draw_grid(os.path.join(folder, 'attention.png'), layers if layer < 0 else [layers[layer]],
                  range(len(layers)) if layer < 0 else [layer])
        draw_head(os.path.join(folder, 'attention-head.png'), layers[chosen][enlarged],
                  [data['names'][i] for i in data['tokens']], f'layer {chosen}, head {enlarged}')
        print(f'{folder}: attention.png has all heads, attention-head.png layer {chosen}, head {enlarged}')
    except ImportError:
        print('PNG files: not drawn, matplotlib is missing; pip install matplotlib')
    if show_plots and not webbrowser.open(f'file://{os.path.abspath(target)}'):
        print(f'show_plots: no browser was found here; open {target} with one')


if __name__ == '__main__':
    main()
