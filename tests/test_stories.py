import math
import random
import re
from collections import Counter
from functools import cache

from data.tinystories import stories as module
from data.tinystories.stories import NAMES, PLOTS, stories

PLACEHOLDER = {name: 'Name' for name in NAMES}


@cache
def corpus(count=12_000, seed=1):
    return list(stories(count, seed))


def words_of(text):
    return re.findall(r"[a-z']+", text.lower())


def spans(text, n):
    """All runs of n words, lowercased and without punctuation; each counts once per story."""
    words = words_of(text)
    return {' '.join(words[i:i + n]) for i in range(len(words) - n + 1)}


def names_in(text):
    """The names in the order in which they come."""
    return [word for word in re.findall(r'[A-Z][a-z]+', text) if word in PLACEHOLDER]


def variants(sequence):
    """In how many ways a sequence can be told."""
    return math.prod(1 if isinstance(item, str) else sum(map(variants, item)) for item in sequence)


def test_the_same_seed_gives_the_same_stories_and_another_seed_others():
    assert list(stories(50, 3)) == list(stories(50, 3))
    assert not set(stories(50, 3)) & set(stories(50, 4))


def test_the_first_stories_of_many_are_the_few_of_the_same_seed():
    assert list(stories(20, 5)) == list(stories(200, 5))[:20]


def test_the_random_state_of_the_caller_is_left_alone():
    random.seed(1)
    expected = random.random()
    random.seed(1)
    list(stories(20, 5))
    assert random.random() == expected


def test_stories_are_short_ascii_paragraphs():
    for story in corpus():
        assert story.isascii() and 90 <= len(story.split()) <= 190, story
        paragraphs = story.split('\n\n')
        assert 3 <= len(paragraphs) <= 5 and all(paragraphs), story
        assert '\n' not in ''.join(paragraphs) and '  ' not in story and story == story.strip(), story


def test_no_trace_of_the_grammar_is_left_in_a_story():
    for story in corpus():
        assert not re.search(r'[{}<>|\[\]_^+@;\x00-\x09]| [.,!?]|[.,]{2}', story), story
        assert story.count('"') % 2 == 0, story


def test_every_sentence_begins_with_a_capital():
    for story in corpus():
        assert story[0].isupper() or story[0] == '"', story
        # `Crash! went the thunder` is right as it is
        assert not re.search(r'([.!?] |\n|[^,!?]" )"?[a-z](?!ent the thunder)', story), story


def test_there_are_at_least_thirty_plots_and_each_of_them_is_told():
    assert len(PLOTS) >= 30
    assert len({plot['name'] for plot in PLOTS}) == len(PLOTS)
    for plot in PLOTS:
        assert variants(plot['text']) > 1e6, plot['name']


def test_the_vocabulary_has_at_least_1500_words():
    assert len({word for story in corpus() for word in words_of(story)}) >= 1500


def without_names(story):
    return re.sub(r'[A-Z][a-z]+', lambda found: PLACEHOLDER.get(found[0], found[0]), story)


def test_no_story_is_another_one_with_the_names_exchanged():
    assert len({without_names(story) for story in corpus()}) == len(corpus()) == 12_000


def test_a_grammar_of_six_stories_tells_each_of_them_once(monkeypatch):
    text = 'They put [one|two|three|four|five|six] plums into a pie. ' + '{H} ate, and {F} sang to it. ' * 14
    monkeypatch.setattr(module, 'PLOTS', [module.parse_plot(f'plums: child\n{text}')])
    told = [without_names(story) for story in stories(6, 1)]
    assert len(set(told)) == len(told) == 6


def test_there_are_a_million_stories_by_choices_and_by_birthdays():
    # every choice of a plot multiplies its stories; names are not among them
    assert sum(variants(plot['text']) for plot in PLOTS) > 1e6
    # if there were only a million, 12,000 draws would hit 71 of them twice
    choose = module.Chooser(1)
    drawn = Counter()
    for _ in range(12_000):
        plot = choose(PLOTS)
        parts = []
        module.expand(plot['text'], choose, parts)
        drawn[''.join(parts)] += 1
    assert len(drawn) > 12_000 - 71


def test_no_span_of_12_words_is_in_more_than_one_percent_of_1000_stories():
    counts = Counter(span for story in corpus()[:1000] for span in spans(story, 12))
    span, count = counts.most_common(1)[0]
    assert count <= 10, f'{count} of 1000 stories: {span}'


def test_a_new_story_is_hardly_found_in_12000_others():
    known = set().union(*(spans(story, 15) for story in corpus()))
    found = [span in known for story in stories(300, 999) for span in spans(story, 15)]
    assert sum(found) < 0.03 * len(found), f'{sum(found) / len(found):.1%}'


def test_the_hero_is_there_from_beginning_to_end():
    for story in corpus()[:500]:
        hero = names_in(story)[0]
        third = len(story) // 3
        parts = story[:third], story[third:-third], story[-third:]
        assert all(hero in names_in(part) for part in parts), story


def test_a_story_has_at_most_three_named_characters():
    for story in corpus():
        assert 1 <= len(set(names_in(story))) <= 3, story


def test_no_name_is_also_a_word():
    lowercase = {name.lower() for name in NAMES}
    assert len(lowercase) == len(NAMES)
    used = {word for story in corpus() for word in re.findall(r"\b[a-z]+\b", story)}
    assert not used & lowercase


def test_pronouns_agree_with_the_name_when_a_story_has_only_one_gender():
    women = {*module.words.GIRLS, *module.words.SHE_ANIMALS}
    men = {*module.words.BOYS, *module.words.HE_ANIMALS}
    for story in corpus():
        names = set(names_in(story))
        if names <= women and not re.search(r'\b([Dd]ad|[Gg]randpa|Mr|man|snowman|king|sailor)\b', story):
            assert not re.search(r'\b([Hh]e|[Hh]im|[Hh]is|himself)\b', story), story
        if names <= men and not re.search(r'\b([Mm]om|[Gg]randma|Mrs|mother|sister|lady)\b', story):
            assert not re.search(r'\b([Ss]he|[Hh]er|herself)\b', story), story


def test_a_and_an_are_right_before_vowels():
    for story in corpus():
        assert not re.search(r'\b[Aa] [aeiouAEIOU](?!ne|ni|se)', story), story
        assert not re.search(r'\b[Aa]n (?!hour|S,)[^aeiouAEIOU]', story), story


def test_the_thing_a_story_is_about_comes_back_in_the_end():
    told = Counter()
    for plot_name, thing in {'lost': 'thing', 'broken': 'thing', 'kite': 'kite', 'dark': 'coat'}.items():
        plot = next(plot for plot in PLOTS if plot['name'] == plot_name)
        choose = module.Chooser(2)
        for _ in range(100):
            cast, _ = module.draw_cast(plot, choose)
            parts = []
            module.expand(plot['text'], choose, parts)
            text = ''.join(parts).format_map(cast)
            told[plot_name] += cast[thing] in text[-len(text) // 3:]
    assert min(told.values()) >= 98, told
