"""
How good are the stories of a model? Samples some from a run's best.pt and computes three measures.

    python tools/judge_stories.py --out_dir=out-tinystories

in-vocabulary words    share of words that occur in the training text; below 95% the model invents words
protagonist kept       share of stories whose first name comes back in the last third, where no name is new
memorized 15-grams     share of the spans of 15 words that occur word for word in the training text
The same measures of the stories of val, which people or a grammar wrote, show what can be reached.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from configurator import configure

# what is judged
out_dir = 'out-tinystories' # folder of the run
data = '' # folder of its train.bin and val.bin; '': the dataset the run was trained on
count = 50 # stories to sample
temperature = 0.6 # as in sample.py
top_p = 1.0 # as in sample.py
max_new_tokens = 400 # as in sample.py
seed = 1337 # as in sample.py
show = 3 # stories to print

config = configure(globals())

# after the settings, so that --help and errors do not wait for torch
import re

from data import bins
from data.datasets import dataset_of_run
from data.tinystories.stories import NAMES
from data.tokenizer import from_json
from lib.checkpoint import BEST, build, read_checkpoint
from lib.device import choose_device
from lib.generate import Sampling, generate_texts

N_GRAM = 15 # words


def words_of(text):
    """The words of a text in lower case, without punctuation."""
    return re.findall(r"[a-z]+(?:'[a-z]+)?", text.lower())


def names_in(text):
    """The names of characters in a text, in order."""
    return [word for word in re.findall(r'[A-Z][a-z]+', text) if word in NAMES]


def keeps_protagonist(story):
    """Whether the first name comes back in the last third of a story, where no new name appears."""
    cut = len(story) * 2 // 3
    early, late = names_in(story[:cut]), names_in(story[cut:])
    return bool(early) and early[0] in late and set(late) <= set(early)


def n_grams(words):
    """All spans of N_GRAM words, as strings."""
    return [' '.join(words[i:i + N_GRAM]) for i in range(len(words) - N_GRAM + 1)]


def judge(stories, train_words, train_n_grams):
    """
    (share of in-vocabulary words, of stories that keep their protagonist, of memorized n-grams), each 0..1.

    train_words, train_n_grams: sets, of the training text
    """
    by_story = [words_of(story) for story in stories]
    words = [word for words in by_story for word in words]
    spans = [span for words in by_story for span in n_grams(words)]
    return (sum(word in train_words for word in words) / max(1, len(words)),
            sum(map(keeps_protagonist, stories)) / max(1, len(stories)),
            sum(span in train_n_grams for span in spans) / max(1, len(spans)))


def stories_of(folder, split, meta, tokenizer):
    """The documents of a split, as texts."""
    tokens = bins.open_bin(folder, split, meta)
    text = tokenizer.decode_bytes(tokens.tolist()).decode('utf-8', 'replace')
    return [story for story in text.split('<|endoftext|>') if story.strip()]


def main():
    if count < 1 or show < 0 or max_new_tokens < 1:
        raise SystemExit('judge_stories.py: expected count >= 1, max_new_tokens >= 1 and show >= 0, '
                         f'got {count}, {max_new_tokens} and {show}')
    path = os.path.join(out_dir, BEST)
    checkpoint = read_checkpoint(path)
    folder = data or dataset_of_run(out_dir, checkpoint['settings'])
    meta, tokenizer = bins.load_meta(folder), from_json(checkpoint['tokenizer'])
    chosen_device, _ = choose_device('auto')
    model = build(checkpoint, path).eval().to(chosen_device)
    completions = generate_texts(model, tokenizer, [''], count, max_new_tokens,
                                 Sampling(temperature, top_p=top_p), seed, chosen_device)
    samples = [each.text for each in completions]

    train_words = words_of('\n'.join(stories_of(folder, 'train', meta, tokenizer)))
    known = set(train_words), set(n_grams(train_words))
    for story in samples[:show]:
        print(story.strip(), '-' * 20, sep='\n')
    print(f'{"":24} {"in-vocabulary words":>20} {"protagonist kept":>20} {f"memorized {N_GRAM}-grams":>20}')
    for name, texts in ((f'{count} samples of the model', samples),
                        ('the stories of val', stories_of(folder, 'val', meta, tokenizer))):
        print(f'{name:24}' + ''.join(f' {share:>20.1%}' for share in judge(texts, *known)))


if __name__ == '__main__':
    main()
