"""
Are the stories of a model any good? Draws some from a checkpoint and counts what can be counted.

    python tools/judge_stories.py --out_dir=out-tinystories

known words       share of its words that occur in the training text: below 95% it still makes words up
one hero          share of stories whose first name stays: it comes back in the last third, and no name turns
                  up there that was not met before
recited           share of its spans of 15 words that stand word for word in the training text: it should
                  write, not recite
The same is counted for the stories of val, which people or a grammar wrote: that is how good it can get.
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from configurator import configure

# what is judged
out_dir = 'out-tinystories' # the folder of a run
data = '' # folder of the bins it was trained on; '': data/ in out_dir if there is one, or data/tinystories
count = 50 # stories to draw
temperature = 0.6 # as in sample.py
top_p = 1.0 # as in sample.py
max_new_tokens = 400 # as in sample.py
seed = 1337 # as in sample.py
show = 3 # how many of them to print

config = configure(globals())

# after the settings, so that --help and a typo answer at once
import re

from data import bins
from data.tinystories.stories import NAMES
from data.tokenizer import from_json
from lib.checkpoint import build, read_checkpoint
from lib.device import choose_device
from lib.generate import Sampling, generate_texts

SPAN = 15


def words_of(text):
    """Lower-case words, punctuation left out."""
    return re.findall(r"[a-z]+(?:'[a-z]+)?", text.lower())


def names_in(text):
    return [word for word in re.findall(r'[A-Z][a-z]+', text) if word in NAMES]


def has_one_hero(story):
    """Whether the first name comes back in the last third, where no name turns up that was not met before."""
    cut = len(story) * 2 // 3
    early, late = names_in(story[:cut]), names_in(story[cut:])
    return bool(early) and early[0] in late and set(late) <= set(early)


def spans(words):
    return [' '.join(words[i:i + SPAN]) for i in range(len(words) - SPAN + 1)]


def judge(stories, known_words, known_spans):
    """(share of known words, share of stories with one hero, share of recited spans), each 0..1."""
    words = [words_of(story) for story in stories]
    all_words, all_spans = sum(words, []), sum(map(spans, words), [])
    return (sum(word in known_words for word in all_words) / max(1, len(all_words)),
            sum(map(has_one_hero, stories)) / len(stories),
            sum(span in known_spans for span in all_spans) / max(1, len(all_spans)))


def stories_of(folder, split, meta, tokenizer):
    """The documents of a split, as texts."""
    tokens = bins.open_bin(folder, split, meta)
    text = tokenizer.decode_bytes(tokens.tolist()).decode('utf-8', 'replace')
    return [story for story in text.split('<|endoftext|>') if story.strip()]


def main():
    path = os.path.join(out_dir, 'best.pt')
    found = read_checkpoint(path)
    own = os.path.join(out_dir, 'data')
    folder = data or (own if os.path.isdir(own) else os.path.join(ROOT, 'data', 'tinystories'))
    meta = bins.load_meta(folder)
    tokenizer = from_json(found['tokenizer'])
    rank_device, _ = choose_device('auto')
    model = build(found, path).eval().to(rank_device)
    how = Sampling(temperature, top_p=top_p)
    written = [each.text for each in generate_texts(model, tokenizer, [''], count, max_new_tokens, how, seed,
                                                    rank_device)]

    training_words = words_of('\n'.join(stories_of(folder, 'train', meta, tokenizer)))
    known = set(training_words), set(spans(training_words))
    for story in written[:show]:
        print(story.strip(), '-' * 20, sep='\n')
    print(f'{"":24} {"known words":>12} {"one hero":>12} {"recited":>12}')
    for name, texts in ((f'{count} stories of the model', written),
                        ('the stories of val', stories_of(folder, 'val', meta, tokenizer))):
        print(f'{name:24}' + ''.join(f' {share:>12.1%}' for share in judge(texts, *known)))


if __name__ == '__main__':
    main()
