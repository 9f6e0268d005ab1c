"""
Stories for small children, made up by a grammar: what the first command trains on when there is no network.

    python -m data.tinystories.stories                    # prints five of them

plots.grammar holds the plots and words.py the words: text rather than logic, which is why they are long. In
both, {slot} is picked once per story (hero, friend, thing, place), [this|that] is chosen anew wherever it
stands, <phrase> comes from words.PHRASES, and common words are exchanged for words.SYNONYMS.
"""

import functools
import hashlib
import operator
import os
import random
import re

from data.tinystories import words

NAMES = words.NAMES         # all names a character can have
LEAST_WORDS, MOST_WORDS = 90, 190


def stories(count, seed):
    """
    An iterator over `count` stories: 3 to 5 paragraphs of plain ASCII, 90 to 190 words in all.

    The same on any machine; the first k of n stories are the k stories of the same seed. No two are alike,
    not even with the names exchanged, so a corpus may be cut into train and val between any two stories.
    """
    choose = Chooser(seed)
    seen = set()
    while len(seen) < count:
        plot = choose(PLOTS)
        cast, names = draw_cast(plot, choose)
        parts = []
        expand(plot['text'], choose, parts)
        text = introduce_once(''.join(parts).replace(' \n', '\n').strip().format_map(cast), cast)
        skeleton = hashlib.blake2b(text.encode(), digest_size=8).digest()   # the names are still placeholders
        story = A_BEFORE_VOWEL.sub(r'\1n ', text).translate(names)
        if skeleton not in seen and is_sound(story, hero=names[1]):
            seen.add(skeleton)
            yield story


def is_sound(story, hero):
    """Whether the length is right and the hero is named in the beginning, the middle and the end."""
    third = len(story) // 3
    thirds = story[:third], story[third:-third], story[-third:]
    return LEAST_WORDS <= len(story.split()) <= MOST_WORDS and all(hero in part for part in thirds)


def introduce_once(text, cast):
    """`his friend Otto` where a story names him first, `Otto` from then on."""
    for role in 'HFG':
        name, known, known_capitalized = cast[role], cast[role + '+'], cast[role + '^']
        end = text.find(name) + 1
        text = text[:end] + text[end:].replace(known, name).replace(known_capitalized, name)
    return text


class Chooser:
    """choose(options) is one of them, by random.random(): the one method that is the same in every Python."""

    def __init__(self, seed):
        self.random = random.Random(seed).random

    def __call__(self, options):
        return options[int(self.random() * len(options))]


# text as a tree: a sequence is a list of str and choices, a choice is a list of sequences

def expand(sequence, choose, parts):
    """Append the text of a sequence to `parts`, with each of its choices made."""
    for item in sequence:
        if type(item) is str:
            parts.append(item)
        else:
            expand(choose(item), choose, parts)


def parse_choice(text):
    """`this|that [one|two] <phrase>` as a choice."""
    stack = [[[]]]                                      # the choices being read, innermost last
    for token in re.findall(r'[\[\]|]|<\w+>|[^\[\]|<]+', re.sub(r'\s+', ' ', text)):
        if token == '[':
            stack.append([[]])
        elif token == '|':
            stack[-1].append([])
        elif token == ']':
            choice = stack.pop()
            stack[-1][-1].append(choice)
        else:
            stack[-1][-1].extend([phrase(token[1:-1])] if token[0] == '<' else reword(token))
    assert len(stack) == 1, f'[ without ] in: {text}'
    return stack[0]


@functools.cache
def phrase(name):
    """The choice for <soon>; <Soon> is the same with a capital, <H_said> is what follows a speech."""
    role, _, manner = name.partition('_')
    if manner in words.TAGS:
        return parse_choice(speech_tag(role, manner))
    choice = parse_choice(words.PHRASES[name.lower()])
    return choice if name.islower() else [capitalized(sequence) for sequence in choice]


def speech_tag(role, manner):
    """words.TAGS[manner] with the name and pronouns of whoever speaks: H, F, G, O, p (mom or dad) or e."""
    text = words.TAGS[manner]
    if role in 'pe':
        text = text.replace('<doing>', '<warm>')        # grown-ups do other things while they talk
    if role != 'H':                                     # a pronoun alone could be anybody's but the hero's
        text = '|'.join(way for way in text.split('|') if not way.startswith('{he}'))
        text = re.sub(r'<(doing|glee|gloom)>', lambda found: f'[{words.PHRASES[found[1]]}]', text)
        text = re.sub(r'{(he|his)}', rf'{{{role.lower()}\1}}', text).replace('{H}', f'{{{role.upper()}}}')
    return text


def capitalized(sequence):
    first, *rest = sequence
    first = first[0].upper() + first[1:] if type(first) is str else [capitalized(way) for way in first]
    return [first, *rest]


def reword(text):
    """Plain text as a sequence, with a choice for each word that has synonyms."""
    pieces = SYNONYM.split(text)
    pieces[1::2] = [[[way] for way in SYNONYMS[found]] for found in pieces[1::2]]
    return [piece for piece in pieces if piece]


def parse_synonyms(text):
    """`this|that; ...` as {'this': ['this', 'that'], 'This': ['This', 'That']}."""
    groups = [' '.join(group.split()).split('|') for group in text.split(';')]
    capitals = [[way[0].upper() + way[1:] for way in ways] for ways in groups if ways[0][0].islower()]
    return {ways[0]: ways for ways in capitals + groups}


def parse_plot(text):
    """
    One plot of plots.grammar as {'name', 'heroes', 'slots', 'text'}.

    heroes: child, animal, or kinds of animals; slots: (slot, table) in order; text: a sequence
    """
    header, *lines = text.strip().split('\n')
    name, heroes, *groups = re.split(r': |; ', header)
    groups = [group.split('=') for group in groups]
    slots = [(slot, table) for names, table in groups for slot in names.split()]
    heroes = heroes.replace('any', 'child animal').split()
    sequence = []
    for line in lines:
        step = parse_choice(line.lstrip('/? ') + ' ') if line else '\n\n'
        if line.startswith('/'):
            sequence[-1] += step + [[]] * ([] in sequence[-1])
        else:
            sequence.append(step + [[]] if line.startswith('?') else step)      # [] leaves the sentence out
    return {'name': name, 'heroes': heroes, 'slots': slots, 'text': sequence}


def parse_table(text):
    """`prep|noun: adjective adjective; ...` as a list of (prep, noun, adjectives); only the noun must be."""
    entries = []
    for entry in text.split(';'):
        place, _, adjectives = ' '.join(entry.split()).partition(': ')
        prep, _, noun = place.rpartition('|')
        entries.append((prep, noun, tuple(adjectives.split())))
    return entries


A_BEFORE_VOWEL = re.compile(r'\b([Aa]) (?=[aeiou](?!ne[ -]|ni|se))')  # an owl, but a one-eyed owl, a unicorn
SHORT_FORMS, SYNONYMS = parse_synonyms(words.SHORT_FORMS), parse_synonyms(words.SYNONYMS)
SYNONYM = re.compile(rf"(?<![\w'])({'|'.join(map(re.escape, sorted(SYNONYMS, reverse=True)))}|"
                     rf"(?:{'|'.join(SHORT_FORMS)})(?= \w))(?![\w'])")      # the longest of several that fit
SYNONYMS |= SHORT_FORMS
TABLES = {name: parse_table(text) for name, text in words.TABLES.items()}
with open(os.path.join(os.path.dirname(__file__), 'plots.grammar'), encoding='utf-8') as file:
    PLOTS = [parse_plot(text) for text in re.split(r'^== ', file.read(), flags=re.MULTILINE)[1:]]


# the cast of a story: a dict from slot to text

PRONOUNS = ('he him his himself'.split(), 'she her her herself'.split())
KINDS = list(words.ANIMALS)                             # of friends; a bird is only ever a hero
MANNERS = words.ANIMALS | words.BIRDS
LIVES = {group: parse_choice(text) for group, text in words.LIVES.items()}


def pronoun_slots(prefix, is_she):
    """{he} {him} {his} {himself} with a prefix, and with a capital: {He}, or {fhe^} after a prefix."""
    slots = {}
    for slot, word in zip(PRONOUNS[0], PRONOUNS[is_she], strict=True):
        slots[prefix + slot] = word
        slots[f'{prefix}{slot}^' if prefix else slot.capitalize()] = word.capitalize()
    return slots


PRONOUN_SLOTS = {(prefix, is_she): pronoun_slots(prefix, is_she)
                 for prefix in ['', *'fgope'] for is_she in (0, 1)}


def draw_cast(plot, choose):
    """
    Everybody and everything in a story, as a dict from slot to text, and the names to put in at the end.

    Until then the hero is called \\1, the friends \\2 and \\3 and the neighbor \\4, so that two stories that
    differ only in names look the same.
    """
    group = choose(plot['heroes'])                          # child, animal, or one kind of animal
    friends = 'child' if group == 'child' else 'animal'
    cast, names, taken = {}, {}, {group}

    def fresh(options, noun=str):
        """An option that is not in the story yet: no two friends share a name and no two places are one."""
        option = choose(options)
        while noun(option) in taken:
            option = choose(options)
        taken.add(noun(option))
        return option

    for role, prefix, mark in ('H', '', '\1'), ('F', 'f', '\2'), ('G', 'g', '\3'):
        names[ord(mark)] = add_person(cast, role, prefix, mark, friends if prefix else group, choose, fresh)
    names[4] = add_grown_ups(cast, choose)
    add_manners(cast, choose)
    for slot, table in plot['slots']:
        prep, noun, adjectives = fresh(TABLES[table], noun=operator.itemgetter(1))
        cast[slot] = noun
        cast['+' + slot] = f'{choose(adjectives)} {noun}' if adjectives else noun
        cast['@' + slot] = f'{prep} the {noun}'
    return cast, names


def add_person(cast, role, prefix, mark, group, choose, fresh):
    """Add the hero or a friend to the cast, called `mark`; returns the real name."""
    is_she = choose((0, 1))
    cast.update(PRONOUN_SLOTS[prefix, is_she])
    if group == 'child':
        kind, names = ('boy', 'girl')[is_she], (words.BOYS, words.GIRLS)[is_she]
        known = f'{cast["his"]} {choose(words.FRIENDS)} ' if prefix else choose(('young ', 'little ', ''))
        known += mark
    else:
        kind = fresh(KINDS) if group == 'animal' else group
        names = (words.HE_ANIMALS, words.SHE_ANIMALS)[is_she]
        known = f'{cast["his"]} friend ' if prefix and choose((0, 1)) else ''
        known += f'{mark} the {kind}'
    trait = choose(words.TRAITS)
    cast |= {role: mark, prefix + 'kind': kind, prefix + 'trait': trait}
    cast['new ' + role] = f'a {trait} {kind} {choose(("named", "called"))} {mark}'
    cast[role + '+'], cast[role + '^'] = known, known[0].upper() + known[1:]
    return fresh(names)


GROWN_UPS = {'p': ('dad', 'mom'), 'e': ('grandpa', 'grandma'), 'o': ('Mr. \4', 'Mrs. \4')}


def add_grown_ups(cast, choose):
    """Add mom or dad, grandma or grandpa, and a neighbor, called \\4; returns the neighbor's surname."""
    for prefix in 'peo':
        is_she = choose((0, 1))
        cast.update(PRONOUN_SLOTS[prefix, is_she])
        cast[prefix] = GROWN_UPS[prefix][is_she]
        cast[prefix.upper()] = cast[prefix].capitalize()
    return choose(words.SURNAMES)


def add_manners(cast, choose):
    """Add how the hero goes, where it lives, what it eats and what it has instead of hands."""
    is_child = cast['kind'] in ('boy', 'girl')
    child = (words.CHILD_GOES, 'house', choose(TABLES['child_foods'])[1])
    ways, home, food = child if is_child else MANNERS[cast['kind']]
    hand = 'hand' if is_child else 'paw'
    cast |= {'went': choose(ways.split()), 'home': home, 'food': food, 'hand': hand, 'hands': hand + 's'}
    parts = []
    expand(choose(LIVES['child' if is_child else 'animal']), choose, parts)
    cast['lives'] = ''.join(parts).format_map(cast)


if __name__ == '__main__':
    print('\n\n* * *\n\n'.join(stories(5, random.SystemRandom().random())))
