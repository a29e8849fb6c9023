"""The description of a reader to fuzz."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fuzzing.case import Files

Read = Callable[[Path, Files, int], None]  # the folder that holds the files, the files, the number of the options
NUMPY_WORDS = ("'<U3'", "'|O'", "'|S0'", "(6,)", "(2,3)", "()", "True", "(-1,)", "'f8,i4'", "[('a','<f8')]", "9" * 30)


@dataclass(frozen=True)
class Reader:
    """A function that reads a folder, valid cases to start from, and words and file names significant for it."""

    read: Read
    seeds: Callable[[], list[Files]]
    words: tuple[str, ...] = ()
    names: tuple[str, ...] = ()  # empty: the names of files are not mutated


@cache
def valid_cases(reader: Reader) -> list[Files]:
    """Return the seeds of a reader, made once per process."""
    return reader.seeds()
