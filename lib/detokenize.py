"""
Completions: text from tokens as they are generated, piece by piece, up to a stop string.

    python sample.py --out_dir=out-tinystories --stop='["The end"]'    # prints these pieces
"""
import codecs
from dataclasses import dataclass, field


@dataclass
class Completion:
    """What was generated after a prompt."""
    prompt: str
    text: str = ''
    ids: list = field(default_factory=list) # its tokens, without the separator, with those of a stop string
    logprobs: list = field(default_factory=list) # of these, at temperature 1; empty unless requested


class StreamingDetokenizer:
    """
    Incremental detokenization: turns tokens into pieces of text that can be printed immediately.

    on_piece: is called with each piece; together they are the text. A token may end inside a character or a
    stop string: an incomplete character and what may be the start of a stop string are held back.
    """

    def __init__(self, completion, tokenizer, stops=(), on_piece=None):
        self.completion, self.tokenizer, self.stops, self.on_piece = completion, tokenizer, stops, on_piece
        self.utf8, self.n_emitted, self.done = codecs.getincrementaldecoder('utf-8')('replace'), 0, False

    def add(self, token, logprob=None):
        """Append a token; has no effect once the completion is done."""
        if token == self.tokenizer.eot:
            self.finish()
        if self.done:
            return
        self.completion.ids.append(token)
        if logprob is not None:
            self.completion.logprobs.append(logprob)
        text = self.completion.text + self.utf8.decode(self.tokenizer.decode_bytes([token]))
        ends = [end for stop in self.stops if (end := text.find(stop, self.n_emitted)) >= 0]
        if ends:
            text, self.done = text[:min(ends)], True
        self.completion.text = text
        self.emit(len(text) - (0 if self.done else self.held(text)))

    def held(self, text):
        """How many characters at the end of text may be the start of a stop string."""
        return max((n for stop in self.stops for n in range(1, len(stop)) if text.endswith(stop[:n])),
                   default=0)

    def finish(self):
        """End the completion: emit what was held back, with U+FFFD for an incomplete character."""
        if not self.done:
            self.completion.text += self.utf8.decode(b'', final=True)
        self.done = True
        self.emit(len(self.completion.text))

    def emit(self, until):
        piece, self.n_emitted = self.completion.text[self.n_emitted:until], until
        if self.on_piece and piece:
            self.on_piece(piece)
