"""
See what a model attends to, and what it would predict after each layer: one HTML page, and PNG files.

    python attention.py --out_dir=out-tinystories --text="The cat sat on the mat"
    python attention.py --checkpoint=out-tinystories/best.pt --layer=2 --head=0 --show-plots

The page needs no network; docs/looking_inside.md explains it.
"""
from configurator import configure

# model
out_dir = 'out-tinystories' # folder of a run, whose best.pt is loaded; the page and the PNG files go there
checkpoint = '' # checkpoint file to load instead, also one of nanoGPT; they go beside it, or to --out_dir
init_from = 'checkpoint' # checkpoint, or OpenAI's weights: gpt2, gpt2-medium, gpt2-large, gpt2-xl
tokenizer = '' # meta.json, or nanoGPT's meta.pkl, of the dataset; only for a checkpoint without a tokenizer

# what to look at
text = 'The cat sat on the mat. The cat sat on the' # at least two tokens, at most block_size
layer = -1 # the layer to enlarge, and the only one in attention.png, from 0; -1: all, one is chosen
head = -1 # the head to enlarge, from 0; -1: the one with the clearest pattern
show_plots = False # open the page in a browser
seed = 1337 # of the random tokens for the induction score

config = configure(globals())

# after the settings, so that --help and errors do not wait for torch
import os
import webbrowser

from data.files import make_folder
from lib import page
from lib.attention_maps import analyze, clearest_head, draw_grid, draw_head
from lib.checkpoint import GPT2_NAMES, build, from_gpt2, printable, read_best, tokenizer_for
from lib.generate import check_prompts, prompt_ids

MAX_WEIGHTS = 50_000_000 # bytes in the page before base64, which makes 67 MB of them


def load(init_from, source, checkpoint, tokenizer_file):
    """(model, tokenizer, its path or name) of a checkpoint or of OpenAI's weights, never a random model."""
    if init_from not in ('checkpoint', *GPT2_NAMES) or checkpoint and init_from != 'checkpoint':
        raise SystemExit(f'--init_from: expected checkpoint or {", ".join(GPT2_NAMES)} without --checkpoint; '
                         f'got {printable(init_from)}; for a file, give --checkpoint=FILE alone')
    loaded, path = read_best(source) if init_from == 'checkpoint' else (from_gpt2(init_from), init_from)
    return build(loaded, path).eval(), tokenizer_for(loaded, path, tokenizer_file), path


def check_choice(name, number, count):
    """SystemExit unless number is -1 or counts one of the count layers or heads."""
    if not -1 <= number < count:
        raise SystemExit(f'--{name}: expected 0 to {count - 1}, the model has {count} of them, or -1, got '
                         f'{number}; leave it out to have one chosen')


def checked_ids(text, tokenizer, model_config):
    """The token ids of a text. SystemExit if it is empty, too long, or has characters that are not known."""
    check_prompts({'--text': text}, tokenizer, model_config.block_size)
    ids, heads = prompt_ids(tokenizer, text), model_config.n_layer * model_config.n_head
    if not text or len(ids) < 2:
        raise SystemExit(f'--text: expected at least two tokens, got {printable(text)}; give a longer text')
    if heads * len(ids) ** 2 // 2 > MAX_WEIGHTS:
        raise SystemExit(f'--text: expected at most {int((2 * MAX_WEIGHTS / heads) ** 0.5)} tokens, so that '
                         f'the weights of {heads} heads fit into a page, got {len(ids)}; shorten it')
    return ids


def default_folder(checkpoint, init_from, out_dir):
    """Where the page goes without --out_dir: to the run or checkpoint; OpenAI's have no folder yet."""
    if checkpoint:
        return checkpoint if os.path.isdir(checkpoint) else os.path.dirname(checkpoint) or '.'
    return out_dir if init_from == 'checkpoint' else f'out-{init_from}'


def main():
    given = 'out_dir' in config.typed | config.from_files
    folder = out_dir if given else default_folder(checkpoint, init_from, out_dir)
    model, model_tokenizer, path = load(init_from, checkpoint or out_dir, checkpoint, tokenizer)
    check_choice('layer', layer, model.config.n_layer)
    check_choice('head', head, model.config.n_head)
    ids = checked_ids(text, model_tokenizer, model.config)
    make_folder(folder)

    data, arrays, layers = analyze(model, model_tokenizer, ids, seed)
    chosen_layer, chosen_head = clearest_head(data['scores'], model.config.n_head, layer, head)
    run = os.path.basename(os.path.dirname(os.path.abspath(path))) if os.path.exists(path) else path
    data |= {'text': text, 'model': run, 'parameters': model.n_params(), 'arch': model.config.arch,
             'layer': chosen_layer, 'head': chosen_head}
    target = os.path.join(folder, 'attention.html')
    page.write(target, page.render('attention.html', f'Attention: {text[:60]}', data, arrays))
    for number, words in enumerate(data['words']):
        print(f'layer {number // model.config.n_head} head {number % model.config.n_head}: {words}')
    print(f'{target}: {os.path.getsize(target) / 1e6:.2f} MB; rows sum to 1, and the weights rebuild the '
          f'outputs of attention to {data["gap"]:.0e}')
    try:
        shown = range(len(layers)) if layer < 0 else [layer]
        draw_grid(os.path.join(folder, 'attention.png'), [layers[i] for i in shown], shown)
        draw_head(os.path.join(folder, 'attention-head.png'), layers[chosen_layer][chosen_head],
                  [data['names'][i] for i in data['tokens']], f'layer {chosen_layer}, head {chosen_head}')
    except ImportError:
        print('PNG files: not drawn, matplotlib is missing; pip install matplotlib')
    if show_plots and not webbrowser.open(f'file://{os.path.abspath(target)}'):
        print(f'show_plots: no browser was found; open {target} with one')


if __name__ == '__main__':
    main()
