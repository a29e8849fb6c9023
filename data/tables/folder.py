"""Choose among the tables of a folder: the only one, or a training and a test table, told apart by their names."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lagvis.data.tables.table_format import TABLE_ENDINGS
from lagvis.errors import DataError
from lagvis.option_text import data_option

PART_ENDINGS = (".data", ".train", ".test", ".tra", ".tes", ".trn", ".tst")  # of tables as text: adult.data, adult.test
TEXT_ENDINGS = (".txt", ".dat")  # of files that may be tables as text
TRAINING_WORDS, TEST_WORDS, VALIDATION_WORDS = ("tra", "trn"), ("tes", "tst"), ("val", "valid", "validation", "dev")
MAX_LISTED_TABLES = 6


class TableChoice(NamedTuple):
    """The tables to read, one, or the training and the test table; and those of the folder that are not used."""

    tables: tuple[Path, ...]
    unused: tuple[Path, ...] = ()


def choose_tables(folder: Path, tables: Sequence[Path]) -> TableChoice:
    """Return the only table of a folder, or the training and the test table; DataError where the names do not tell.

    Tables of answers to be handed in, as sample_submission.csv, are not used.
    """
    candidates = [path for path in tables if "submission" not in name_words(path)] or [*tables]
    chosen: tuple[Path, ...] = (candidates[0],) if len(candidates) == 1 else find_pair(candidates)
    if not chosen:
        names = ", ".join(path.name for path in tables[:MAX_LISTED_TABLES])
        raise DataError(
            f"{folder} holds the tables {names}{', ...' if len(tables) > MAX_LISTED_TABLES else ''}; expected one, or "
            "two with train and test as words of their names (train.csv and test.csv, adult.data and adult.test); "
            f"rename them, or give one file to {data_option()}, as {candidates[0]}"
        )
    return TableChoice(chosen, tuple(path for path in tables if path not in chosen))


def find_pair(tables: Sequence[Path]) -> tuple[Path, ...]:
    """Return the training and the test table; empty where the names do not tell them.

    Without one called train, the training table is the one that is called as the test table, but for that word. Without
    one called test, a table called validation is it.
    """
    training = [path for path in tables if has_word(path, "train", TRAINING_WORDS)]
    test = [path for path in tables if has_word(path, "test", TEST_WORDS) and path not in training]
    others = [path for path in tables if path not in (*training, *test)]
    if not training and len(test) == 1:
        training = [path for path in others if base_name(path) == base_name(test[0])]
    if len(training) == 1 and not test:
        test = [path for path in others if {*name_words(path)} & {*VALIDATION_WORDS}]
    return (training[0], test[0]) if len(training) == len(test) == 1 else ()


def name_words(path: Path) -> list[str]:
    """Return the words of a file's name, with its ending, in lower case: "myTrain_2.csv" -> my, train, csv."""
    return re.findall("[a-z]+", re.sub("([a-z])([A-Z])", r"\1 \2", path.name).lower())


def has_word(path: Path, start: str, words: Sequence[str]) -> bool:
    """Tell whether a name has a word that begins with `start`, or one of `words`."""
    return any(word.startswith(start) or word in words for word in name_words(path))


def base_name(path: Path) -> list[str]:
    """Return the words of a file's name without its ending and the name of its part."""
    name = path.name.lower().removesuffix(".gz")
    ending = next((ending for ending in (*TABLE_ENDINGS, *PART_ENDINGS, *TEXT_ENDINGS) if name.endswith(ending)), "")
    words = name_words(Path(name.removesuffix(ending)))
    return [word for word in words if not word.startswith("test") and word not in TEST_WORDS]
