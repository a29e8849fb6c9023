import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from report.text import columns, confusion_text, duration, finite, percent, scores_text
from training.events import Scores


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_what_json_cannot_hold_becomes_none(value):
    assert finite(value) is None


@pytest.mark.parametrize("value", [0.0, -1.5, 3, "text", None, False])
def test_everything_else_stays_itself(value):
    assert finite(value) is value


@given(st.floats() | st.integers() | st.none())
def test_a_finite_value_is_always_json(value):
    assert json.loads(json.dumps(finite(value), allow_nan=False)) == finite(value)


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.9786, "97.86%"), (1.0, "100.00%"), (0.0, "0.00%"), (0.12345, "12.35%"), (1 / 3, "33.33%")]
)
def test_a_fraction_is_read_as_percent(fraction, text):
    assert percent(fraction) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"), (2.34, "2.3 s"), (59.9, "59.9 s"), (60.0, "1 min 0 s"), (75.0, "1 min 15 s"),
        (119.99, "1 min 59 s"), (3600.0, "60 min 0 s"),
    ],
)  # fmt: skip
def test_seconds_are_read_as_minutes_from_60_on(seconds, text):
    assert duration(seconds) == text


def test_classes_have_an_accuracy_and_numbers_have_none():
    assert scores_text(Scores(0.12345, 0.5)) == "loss 0.1235, 50.00%"
    assert scores_text(Scores(0.12345, 0.0)) == "loss 0.1235, 0.00%"
    assert scores_text(Scores(2.0, errors=(1.0,))) == "loss 2.0000"


def test_columns_are_aligned_names_left_and_numbers_right():
    rows = [("name", "a", "bb"), ("x", "100", "2"), ("longer", "7", "33")]
    assert columns(rows).splitlines() == ["name      a  bb", "x       100   2", "longer    7  33"]
    assert columns(rows, left=2).splitlines() == ["name    a    bb", "x       100   2", "longer  7    33"]


def test_no_line_ends_in_blanks():
    assert columns([("a", "long text"), ("b", "")], left=2) == "a  long text\nb"


COUNTS = [[5, 0, 1], [2, 11, 0], [0, 0, 0]]
NAMES = ("1", "cat", "10")


def test_the_confusion_text_adds_up():
    lines = [line.split() for line in confusion_text(COUNTS, NAMES).splitlines()]
    assert lines[0] == ["true", "\\", "said", *NAMES, "recall"]
    assert [line[0] for line in lines[1:]] == list(NAMES)
    assert [[int(cell) for cell in line[1:-1]] for line in lines[1:]] == COUNTS
    assert [line[-1] for line in lines[1:]] == ["83.33%", "84.62%", "-"]


def test_the_columns_of_a_confusion_matrix_stand_under_their_names():
    lines = confusion_text([[12345, 0], [1, 2]], ("a", "b")).splitlines()
    ends = [lines[0].index(name) for name in (" a ", " b ")]
    assert lines[1][: ends[0] + 2].endswith("12345")
    assert lines[2][: ends[0] + 2].endswith(" 1")
    assert lines[2][: ends[1] + 2].endswith(" 2")
    assert len({len(line) for line in lines}) == 1


@given(
    st.integers(2, 6).flatmap(
        lambda k: st.lists(st.lists(st.integers(0, 999), min_size=k, max_size=k), min_size=k, max_size=k)
    )
)
@example([[0, 0], [999, 441]])
def test_recall_is_the_share_of_the_diagonal_in_its_row(counts):
    text = confusion_text(counts, tuple(f"c{k}" for k in range(len(counts))))
    for k, line in enumerate(text.splitlines()[1:]):
        cells = line.split()
        assert list(map(int, cells[1:-1])) == counts[k]
        # the share first: 441 of 1,440 is a tie between 30.62 and 30.63, which 100 * 441 / 1440 breaks the other way
        expected = f"{counts[k][k] / sum(counts[k]):.2%}" if sum(counts[k]) else "-"
        assert cells[-1] == expected
