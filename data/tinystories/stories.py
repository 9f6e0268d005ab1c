"""
Stories for small children, made up by a grammar: what the first command trains on when there is no network.

    python -m data.tinystories.stories                    # prints five of them

plots.py holds the plots and words.py the words: both are text rather than logic, which is why they are long.
In both, {slot} is picked once per story (hero, friend, thing, place), [this|that] is chosen anew wherever it
stands, and <phrase> comes from words.PHRASES.
"""

import functools
import hashlib
import math
import operator
import random
import re

from data.tinystories import words
from data.tinystories.plots import PLOTS

NAMES = words.NAMES
LEAST_WORDS, MOST_WORDS = 90, 190


def stories(count, seed):
    """
    An iterator over `count` stories: 3 to 5 paragraphs of plain ASCII, 90 to 190 words in all.

    The same on any machine; the first k of n stories are the k stories of the same seed. No two are alike, not even
    with the names exchanged, so a corpus may be cut into train and val between any two stories.
    """
    choose = Chooser(seed)
    seen = set()
    while len(seen) < count:
        plot = choose(PARSED)
        cast = draw_cast(plot, choose)
        parts = []
        expand(plot['text'], choose, parts)
        text = ''.join(parts).replace(' \n', '\n').strip().format_map(cast)  # H, F, G, O are still \1, \2, \3, \4
        skeleton = hashlib.blake2b(text.encode(), digest_size=8).digest()
        if skeleton in seen or not LEAST_WORDS <= len(text.split()) <= MOST_WORDS:
            continue
        seen.add(skeleton)
        yield A_BEFORE_VOWEL.sub(r'\1n ', text).translate(cast['names'])


A_BEFORE_VOWEL = re.compile(r'\b([Aa]) (?=[aeiou](?!ne[ -]|ni|se))')    # an apple, but a one-eyed cat, a unicorn


class Chooser:
    """choose(options): one of them. random.random() is the one method promised to be the same in every Python."""

    def __init__(self, seed):
        self.random = random.Random(seed).random

    def __call__(self, options):
        return options[int(self.random() * len(options))]


def expand(sequence, choose, parts):
    """Append to `parts` the pieces of text of a sequence, with each of its choices made."""
    for item in sequence:
        if type(item) is str:
            parts.append(item)
        else:
            expand(choose(item), choose, parts)


def parse_choice(text):
    """`this|that [one|two]` as a choice: a list of sequences, each a list of str and choices."""
    stack = [[[]]]                                      # the choices being read, innermost last
    for token in re.findall(r'[\[\]|]|<\w+>|[^\[\]|<]+', text):
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


def reword(text):
    """Plain text as a list of str and of choices between words.SYNONYMS."""
    pieces = SYNONYM.split(text)
    for i in range(1, len(pieces), 2):
        pieces[i] = [[word] for word in SYNONYMS[pieces[i]]]
    return [piece for piece in pieces if piece]


SYNONYMS = {line[0]: line for line in words.SYNONYMS}
SYNONYMS |= {first.capitalize(): [word.capitalize() for word in line] for first, line in SYNONYMS.items() if first.islower()}
SYNONYM = re.compile(r'\b(' + '|'.join(map(re.escape, sorted(SYNONYMS, reverse=True))) + r')(?!\w)')


@functools.cache
def phrase(name):
    """The choice words.PHRASES has under a name; <Soon> is <soon> with a capital."""
    role, _, manner = name.partition('_')
    if manner in words.TAGS:
        return parse_choice(speech_tag(role, manner))
    choice = parse_choice(words.PHRASES[name.lower()])
    return choice if name.islower() else [capital(sequence) for sequence in choice]


def speech_tag(role, manner):
    """<F_said> is the tag `said` with the friend's name and pronouns instead of the hero's."""
    text = words.TAGS[manner]
    if role in 'pe':                                    # grown-ups do other things while they talk
        text = text.replace('<doing>', '<warm>')
    if role != 'H':
        text = re.sub(r'<(doing|glee|gloom)>', lambda found: f'[{words.PHRASES[found[1]]}]', text)
        text = re.sub(r'{(he|his)}', '{' + role.lower() + r'\1}', text).replace('{H}', '{' + role.upper() + '}')
    return text


def capital(sequence):
    first, *rest = sequence
    return [first[0].upper() + first[1:] if type(first) is str else [capital(s) for s in first], *rest]


def parse_plot(text):
    """
    One plot of plots.py as {'name', 'heroes', 'slots', 'text'}.

    heroes: child, animal, or kinds of animals. slots: (slot, table name) in order. text: a sequence for expand()
    """
    header, _, body = re.sub(r'\n  +', ' ', text.strip()).partition('\n')
    name, _, rest = header.partition(': ')
    hero, *tables = rest.split('; ')
    slots = [(slot, table) for slots, table in (entry.split('=') for entry in tables) for slot in slots.split()]
    sequence = []
    for line in body.split('\n'):
        if line == '':
            sequence.append('\n\n')
        elif line.startswith('/ '):
            sequence[-1].extend(parse_choice(line[2:] + ' '))
        elif line.startswith('? '):
            sequence.append([*parse_choice(line[2:] + ' '), []])
        else:
            sequence.append(parse_choice(line + ' '))
    heroes = ('child', 'animal') if hero == 'any' else hero.split()
    return {'name': name, 'heroes': heroes, 'slots': slots, 'text': sequence}


def parse_table(text):
    """`prep|noun: adjective adjective; ...` as a list of (prep, noun, adjectives); prep and adjectives may be missing."""
    entries = []
    for entry in text.split(';'):
        place, _, adjectives = ' '.join(entry.split()).partition(': ')
        prep, _, noun = place.rpartition('|')
        entries.append((prep, noun, tuple(adjectives.split())))
    return entries


PARSED = [parse_plot(text) for text in re.split(r'^== ', PLOTS, flags=re.MULTILINE)[1:]]
TABLES = {name: parse_table(text) for name, text in words.TABLES.items()}
LIVES = {group: parse_choice(text) for group, text in words.LIVES.items()}
PRONOUNS = ('he him his himself'.split(), 'she her her herself'.split())


def pronouns(prefix, is_she):
    """{he} {him} {his} {himself} with a prefix, and the same with a capital: {He} or, after a prefix, {fhe^}."""
    slots = {}
    for slot, word in zip(PRONOUNS[0], PRONOUNS[is_she]):
        slots[prefix + slot] = word
        slots[prefix + slot + '^' if prefix else slot.capitalize()] = word.capitalize()
    return slots


PRONOUN_SLOTS = {(prefix, is_she): pronouns(prefix, is_she) for prefix in ['', *'fgope'] for is_she in (0, 1)}


def draw_cast(plot, choose):
    """Everybody and everything in a story: a dict from slot to text, and under 'names' from placeholder to name."""
    group = choose(plot['heroes'])                          # child, animal, or one kind of animal
    cast, taken = {'names': {}}, set()

    def fresh(options, noun=str):
        """An option whose noun is not in the story yet: no two friends share a name and no two spots are one."""
        option = choose(options)
        while noun(option) in taken:
            option = choose(options)
        taken.add(noun(option))
        return option

    add_person(cast, 'H', '', '\1', group, choose, fresh)
    add_person(cast, 'F', 'f', '\2', 'child' if group == 'child' else 'animal', choose, fresh)
    add_person(cast, 'G', 'g', '\3', 'child' if group == 'child' else 'animal', choose, fresh)
    add_grown_ups(cast, choose)
    add_manners(cast, choose)
    for slot, table in plot['slots']:
        prep, noun, adjectives = fresh(TABLES[table], noun=operator.itemgetter(1))
        cast[slot] = noun
        cast['+' + slot] = f'{choose(adjectives)} {noun}' if adjectives else noun
        cast['@' + slot] = f'{prep} the {noun}'
    return cast


def add_person(cast, role, prefix, mark, group, choose, fresh):
    """The hero, a friend or a second friend, called `mark` until the story is known to be new."""
    is_she = choose((0, 1))
    cast.update(PRONOUN_SLOTS[prefix, is_she])
    if group == 'child':
        kind, names = ('boy', 'girl')[is_she], (words.BOYS, words.GIRLS)[is_she]
        known = f'{cast["his"]} {choose(words.FRIENDS)} {mark}' if prefix else f'{choose(("young ", "little ", ""))}{mark}'
    else:
        kind = fresh(list(words.ANIMALS)) if group == 'animal' else group
        names = (words.HE_ANIMALS, words.SHE_ANIMALS)[is_she]
        known = f'{mark} the {kind}' if not prefix or choose((0, 1)) else f'{cast["his"]} friend {mark} the {kind}'
    trait = choose(words.TRAITS)
    cast[role], cast[prefix + 'kind'], cast[prefix + 'trait'] = mark, kind, trait
    cast['new ' + role] = f'a {trait} {kind} {choose(("named", "called"))} {mark}'      # to the other characters
    cast[role + '+'], cast[role + '^'] = known, known[0].upper() + known[1:]            # as the others know him or her
    cast['names'][ord(mark)] = fresh(names)


def add_grown_ups(cast, choose):
    """{p} mom or dad, {e} grandma or grandpa, {O} a neighbor with a surname."""
    parent, elder, title = choose((0, 1)), choose((0, 1)), choose((0, 1))
    for prefix, is_she in ('p', parent), ('e', elder), ('o', title):
        cast.update(PRONOUN_SLOTS[prefix, is_she])
    cast['p'], cast['P'] = (('dad', 'Dad'), ('mom', 'Mom'))[parent]
    cast['e'], cast['E'] = (('grandpa', 'Grandpa'), ('grandma', 'Grandma'))[elder]
    cast['O'] = ('Mr.', 'Mrs.')[title] + ' \4'
    cast['names'][4] = choose(words.SURNAMES)


def add_manners(cast, choose):
    """How the hero goes, where it lives, what it eats and what it has instead of hands."""
    ways, home, food = words.ANIMALS.get(cast['kind'], (words.CHILD_GOES, 'house', choose(words.CHILD_FOODS)))
    cast['went'], cast['home'], cast['food'] = choose(ways), home, food
    cast['hand'] = 'hand' if home == 'house' else 'paw'
    cast['hands'] = cast['hand'] + 's'
    parts = []
    expand(choose(LIVES['child' if home == 'house' else 'animal']), choose, parts)
    cast['lives'] = ''.join(parts).format_map(cast)


def count_variants(sequence):
    """In how many ways expand() can go through a sequence."""
    return math.prod(1 if type(item) is str else sum(map(count_variants, item)) for item in sequence)


if __name__ == '__main__':
    print('\n\n* * *\n\n'.join(stories(5, random.SystemRandom().random())))
