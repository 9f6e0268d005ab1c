"""Text from tokens that may end inside a character or a stop string."""
import numpy as np
import pytest

from data.tokenizer import CharTokenizer, train_bpe
from lib.detokenize import Completion, StreamingDetokenizer


def detokenized(tokenizer, ids, stops=()):
    """(Completion, pieces) of a completion with these ids."""
    completion, pieces = Completion(''), []
    detokenizer = StreamingDetokenizer(completion, tokenizer, stops, pieces.append)
    for token in ids:
        detokenizer.add(token)
    detokenizer.finish()
    return completion, pieces


@pytest.mark.parametrize('stops, text, pieces', [
    (['x'], 'ababcab', list('ababcab')), # is never generated
    (['c'], 'abab', list('abab')),
    (['bc'], 'aba', ['a', 'ba']), # b may be its start and is held back until the next character
    (['abc'], 'ab', ['ab']),
    (['ca', 'bab'], 'a', ['a']), # the first that is complete
    (['a'], '', []),
    (['cabab'], 'ababcab', ['a', 'b', 'a', 'b', 'cab'])]) # the end of the text may be its start
def test_a_completion_ends_before_a_stop_string_whose_possible_start_is_held_back(stops, text, pieces):
    tokenizer = CharTokenizer('abc')
    completion, found = detokenized(tokenizer, tokenizer.encode('ababcab'), stops)
    assert (completion.text, found) == (text, pieces)


@pytest.mark.parametrize('seed', range(3))
def test_pieces_add_up_to_the_text_for_any_bytes_and_stop_strings(seed):
    rng, tokenizer = np.random.default_rng(seed), train_bpe(['né — ☃ 好 né'] * 3, 262)
    frequent = tokenizer.encode('né — ☃ 好') + list('né☃好'.encode()) # characters in one token, and cut
    for _ in range(40):
        ids = [int(rng.choice(frequent) if rng.random() < 0.9 else rng.integers(tokenizer.eot))
               for _ in range(30)]
        whole = tokenizer.decode(ids)
        stops = [whole[i:i + rng.integers(1, 4)] for i in rng.integers(5, len(whole) + 9, 2)]
        stops = [stop for stop in stops if stop and '\ufffd' not in stop]
        starts = (tokenizer.decode(ids[:n]) for n in range(1, len(ids) + 1))
        expected = next((text[:min(text.find(stop) for stop in stops if stop in text)] for text in starts
                         if any(stop in text for stop in stops)), whole)
        completion, pieces = detokenized(tokenizer, ids, stops)
        assert completion.text == ''.join(pieces) == expected
        assert completion.ids == ids[:len(completion.ids)]


def test_a_character_of_several_tokens_is_one_piece_and_the_separator_ends_the_completion():
    tokenizer = train_bpe(['x'], 257)
    assert detokenized(tokenizer, list('a☃b'.encode()))[1] == ['a', '☃', 'b']
    assert detokenized(tokenizer, list('☃'.encode())[:2])[1] == ['\ufffd']
    completion, pieces = detokenized(tokenizer, [*b'ab', tokenizer.eot, *b'ba'])
    assert (completion.text, completion.ids, pieces) == ('ab', [*b'ab'], ['a', 'b'])
