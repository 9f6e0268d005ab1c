"""The built-in stories: form, variety, and sense as far as it can be counted."""
import math
import random
import re
from collections import Counter
from functools import cache

import pytest

from data.tinystories import stories as module
from data.tinystories.stories import NAMES, PLOTS, stories


@cache
def corpus():
    return list(stories(1000, seed=1))


def spans(text, n):
    """All runs of n words, lowercased and without punctuation; each counts once per story."""
    words = re.findall(r"[a-z']+", text.lower())
    return {' '.join(words[i:i + n]) for i in range(len(words) - n + 1)}


def names_in(text):
    """The names in the order in which they come."""
    return [word for word in re.findall(r'[A-Z][a-z]+', text) if word in NAMES]


def variants(sequence):
    """The number of texts that a sequence stands for."""
    return math.prod(1 if isinstance(item, str) else sum(map(variants, item)) for item in sequence)


def test_stories_depend_on_the_seed_alone_and_the_first_of_many_are_the_few():
    before = random.getstate()
    few = list(stories(20, 1))
    assert random.getstate() == before # the caller's random state is left alone
    assert few == corpus()[:20] and not set(few) & set(stories(20, 4))


# `Crash! went the thunder` is right as it is
MISTAKES = [r'[{}<>|\[\]_^+@;\x00-\x09]| [.,!?]|[.,]{2}', r'\A[^A-Z"]', r'\A\s|\s\Z| \s|\n\n\n|[^\n]\n[^\n]',
            r'([.!?] |\n|[^,!?]" )"?[a-z](?!ent the thunder)', r'\b[Aa] [aeiouAEIOU](?!ne|ni|se)',
            r'\b[Aa]n (?!hour|S,)[^aeiouAEIOU]']


def test_stories_are_short_ascii_paragraphs_about_a_hero_from_beginning_to_end_and_at_most_two_others():
    for story in corpus():
        assert story.isascii() and 90 <= len(story.split()) <= 190, story
        assert 3 <= len(story.split('\n\n')) <= 5 and story.count('"') % 2 == 0, story
        names, third = names_in(story), len(story) // 3
        parts = story[:third], story[third:-third], story[-third:]
        assert 1 <= len(set(names)) <= 3 and all(names[0] in names_in(part) for part in parts), story


@pytest.mark.parametrize('mistake', MISTAKES)
def test_sentences_begin_with_capitals_and_a_and_an_are_right_without_a_trace_of_the_grammar(mistake):
    assert not [story for story in corpus() if re.search(mistake, story)]


def test_there_are_thirty_plots_a_million_stories_each_and_1400_words_none_of_them_a_name():
    assert len({plot['name'] for plot in PLOTS}) == len(PLOTS) >= 30
    assert min(variants(plot['text']) for plot in PLOTS) > 1e6
    assert len(set().union(*(spans(story, 1) for story in corpus()))) >= 1400
    lowercase = {name.lower() for name in NAMES}
    assert len(lowercase) == len(NAMES)
    assert not lowercase & {word for story in corpus() for word in re.findall(r'\b[a-z]+\b', story)}


def test_no_story_is_another_with_other_names_and_no_12_words_are_in_more_than_one_percent(monkeypatch):
    def without_names(story):
        return re.sub(r'[A-Z][a-z]+', lambda found: 'Name' if found[0] in NAMES else found[0], story)

    assert len(set(map(without_names, corpus()))) == len(corpus()) == 1000
    text = 'They put [one|two|three|four|five|six] plums into a pie. ' + '{H} ate, and {F} sang to it. ' * 14
    monkeypatch.setattr(module, 'PLOTS', [module.parse_plot(f'plums: child\n{text}')])
    assert len(set(map(without_names, stories(6, 1)))) == 6 # a grammar of six tells each of them
    span, count = Counter(span for story in corpus() for span in spans(story, 12)).most_common(1)[0]
    assert count <= 10, f'{count} of 1000 stories: {span}'


@pytest.mark.parametrize('names, others, pronouns', [
    (module.words.GIRLS + module.words.SHE_ANIMALS, '[Dd]ad|[Gg]randpa|Mr|man|snowman|king|sailor',
     '[Hh]e|[Hh]im|[Hh]is|himself'),
    (module.words.BOYS + module.words.HE_ANIMALS, '[Mm]om|[Gg]randma|Mrs|mother|sister|lady',
     '[Ss]he|[Hh]er|herself')])
def test_pronouns_agree_with_the_name_when_a_story_has_only_one_gender(names, others, pronouns):
    told = [story for story in corpus()
            if set(names_in(story)) <= set(names) and not re.search(rf'\b({others})\b', story)]
    assert len(told) > 10 and not [story for story in told if re.search(rf'\b({pronouns})\b', story)]
