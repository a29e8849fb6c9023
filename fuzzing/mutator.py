"""Random changes of bytes, text and JSON values. The formats build their own mutations on these."""

import json
import random
from collections.abc import Callable
from typing import Any

from fuzzing.case import MAX_CASE_BYTES

INTERESTING = (0, 1, 2, 3, 7, 8, 28, 127, 128, 255, 256, 1000, 32767, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63)
WORDS = ("", "0", "-1", "1", "1e999", "nan", "inf", "-0.0", "1_000", "\u0663", "0x10", "1" * 400, "true", "null", "[]",
         "{}", "[" * 3000, '"', "'", ",", ";", "\t", "|", " ", "\n", "\r", "\r\n", "\0", "\x1b[31m", "\ufeff", "\ud800",
         "\u2028", "\x85", "\xa0", "1,5", "1.234,5", "1'000", "sep=;\n", "label", "NA", "æøå",
         "\U0001f600")  # fmt: skip


class Mutator:
    """Changes bytes, text and values at random.

    `engine` is the mutation of bytes of the fuzzing engine, if there is one. `words` are inserted in addition to
    those that are significant for every reader.
    """

    def __init__(
        self, seed: int, engine: Callable[[bytes, int], bytes] | None = None, words: tuple[str, ...] = ()
    ) -> None:
        self.random = random.Random(seed)  # noqa: S311  (inputs, no secrets)
        self.engine = engine
        self.words = (*WORDS, *words, *words)

    def pick(self, choices: Any) -> Any:
        """Return one of the choices."""
        return self.random.choice(list(choices))

    def bytes(self, content: bytes) -> bytes:
        """Return the content with one to three changes."""
        if self.engine and content and self.random.random() < 0.5:
            return self.engine(content, min(len(content) + 64, MAX_CASE_BYTES))
        found = bytearray(content)
        for _ in range(self.pick((1, 1, 1, 2, 3))):
            at, other = (self.random.randint(0, len(found)) for _ in range(2))
            some = self.random.randint(1, 8)
            match self.random.randrange(9):
                case 0 if at < len(found):
                    found[at] ^= 1 << self.random.randrange(8)
                case 1 if at < len(found):
                    found[at] = self.pick((0, 1, 9, 10, 32, 44, 127, 128, 255, self.random.randrange(256)))
                case 2:
                    del found[at : at + self.random.randint(1, 16)]
                case 3:
                    found[at:at] = found[other : other + self.random.randint(1, 64)]
                case 4:
                    found[at : at + some] = self.random.randbytes(some)
                case 5:
                    found = found[:at]
                case 6:
                    size = self.pick((1, 2, 4, 8))
                    value = self.pick(INTERESTING) % 2 ** (8 * size)
                    found[at : at + size] = value.to_bytes(size, self.pick(("big", "little")))
                case _:
                    word = self.pick(self.words).encode("utf-8", "surrogatepass")
                    found[at : at + self.pick((0, len(word)))] = word
        return bytes(found)

    def text(self, text: str) -> str:
        """Return the text with one to three changes of its UTF-8 bytes."""
        return self.bytes(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")

    def value(self, value: Any) -> Any:
        """Return another JSON value, or the value with one of its parts changed."""
        share = self.random.random()
        if isinstance(value, dict) and value and share < 0.8:
            key = self.pick(value)
            changed = dict(value)
            if share < 0.1:
                changed[self.pick(self.words)] = changed.pop(key)
            elif share < 0.2:
                del changed[key]
            else:
                changed[key] = self.value(changed[key])
            return changed
        if isinstance(value, list) and value and share < 0.8:
            at = self.random.randrange(len(value))
            return [*value[:at], *([self.value(value[at])] * self.random.randrange(3)), *value[at + 1 :]]
        if isinstance(value, str) and share < 0.5:
            return self.text(value)
        scalars: tuple[Any, ...] = (None, True, -1, 0, 1, 2, 1.5, 1e400, -1e308, 2**64, float("nan"), "", [], {}, [1])
        return self.pick((*scalars, *self.words))


def mutate_json(content: bytes, m: Mutator) -> bytes:
    """Return a JSON file with another value in it."""
    return json.dumps(m.value(json.loads(content))).encode()
