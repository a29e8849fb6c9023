import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lagvis.data.messages import decimals, percent
from lagvis.report.text import align_columns, confusion_text, duration, finite_or_none, metrics_text
from lagvis.training.evaluation import Metrics


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_finite_or_none_non_finite_is_none(value):
    assert finite_or_none(value) is None


@pytest.mark.parametrize("value", [0.0, -1.5, 3, "text", None, False])
def test_finite_or_none_other_values_are_returned(value):
    assert finite_or_none(value) is value


@given(st.floats() | st.integers() | st.none())
def test_finite_or_none_result_is_strict_json(value):
    assert json.loads(json.dumps(finite_or_none(value), allow_nan=False)) == finite_or_none(value)


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.9786, "97.86%"), (1.0, "100.00%"), (0.0, "0.00%"), (0.12345, "12.35%"), (1 / 3, "33.33%")]
)
def test_percent_fraction_is_rounded_to_two_digits(fraction, text):
    assert percent(fraction) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.99996, ">99.99%"), (1 - 2**-53, ">99.99%"), (0.99994, "99.99%"), (0.00004, "<0.01%"), (5e-324, "<0.01%"),
        (0.00006, "0.01%"), (-0.0, "0.00%"), (math.nan, "nan%"),
    ],
)  # fmt: skip
def test_percent_never_rounds_to_0_or_100(fraction, text):
    assert percent(fraction) == text


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.9912, "99.1%"), (1.0, "100.0%"), (0.99999, ">99.9%"), (1e-9, "<0.1%"), (0.0, "0.0%")]
)
def test_percent_one_digit_never_rounds_to_0_or_100(fraction, text):
    assert percent(fraction, digits=1) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"), (2.34, "2.3 s"), (59.9, "59.9 s"), (60.0, "1 min 0 s"), (75.0, "1 min 15 s"),
        (119.99, "1 min 59 s"), (3600.0, "60 min 0 s"),
    ],
)  # fmt: skip
def test_duration_has_minutes_from_60_seconds(seconds, text):
    assert duration(seconds) == text


def test_metrics_text_regression_has_no_accuracy():
    assert metrics_text(Metrics(0.12345, 0.5)) == "loss 0.1235, 50.00%"
    assert metrics_text(Metrics(0.12345, 0.0)) == "loss 0.1235, 0.00%"
    assert metrics_text(Metrics(2.0, errors=(1.0,))) == "loss 2.0000"


def test_align_columns_names_left_and_numbers_right():
    rows = [("name", "a", "bb"), ("x", "100", "2"), ("longer", "7", "33")]
    assert align_columns(rows).splitlines() == ["name      a  bb", "x       100   2", "longer    7  33"]
    assert align_columns(rows, left=2).splitlines() == ["name    a    bb", "x       100   2", "longer  7    33"]


def test_align_columns_no_trailing_blanks():
    assert align_columns([("a", "long text"), ("b", "")], left=2) == "a  long text\nb"


COUNTS = [[5, 0, 1], [2, 11, 0], [0, 0, 0]]
NAMES = ("1", "cat", "10")


def test_confusion_text_has_counts_rows_and_recall():
    lines = [line.split() for line in confusion_text(COUNTS, NAMES).splitlines()]
    assert lines[0] == ["true", "\\", "predicted", *NAMES, "rows", "recall"]
    assert [line[0] for line in lines[1:]] == list(NAMES)
    assert [[int(cell) for cell in line[1:-2]] for line in lines[1:]] == COUNTS
    assert [line[-2] for line in lines[1:]] == ["6", "13", "0"]
    assert [line[-1] for line in lines[1:]] == ["83.33%", "84.62%", "-"]


def test_confusion_text_counts_are_under_their_names():
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
def test_confusion_text_recall_is_the_share_of_the_diagonal(counts):
    text = confusion_text(counts, tuple(f"c{k}" for k in range(len(counts))))
    for k, line in enumerate(text.splitlines()[1:]):
        cells = line.split()
        assert list(map(int, cells[1:-1])) == [*counts[k], sum(counts[k])]
        # divide first: 441 / 1440 is halfway between 30.62% and 30.63%, and 100 * 441 / 1440 rounds the other way
        expected = f"{counts[k][k] / sum(counts[k]):.2%}" if sum(counts[k]) else "-"
        assert cells[-1] == expected


CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def test_confusion_text_wide_names_are_letters():
    counts = [[1000 if true == predicted else 17 for predicted in range(10)] for true in range(10)]
    lines = confusion_text(counts, CLOTHES).splitlines()
    assert lines[0].split() == ["true", "\\", "predicted", *"abcdefghij", "rows", "recall"]
    assert lines[1].startswith("a = T-shirt/top ")
    assert lines[10].startswith("j = Ankle boot ")
    assert max(map(len, lines)) <= 100
    assert confusion_text(COUNTS, ("short", "names", "stay")).splitlines()[0].split()[3:6] == ["short", "names", "stay"]


@pytest.mark.parametrize(
    ("width", "head"),
    [
        (100, "true \\ predicted     0"),
        (80, "true     0     1"),
        (70, "The classes, and what each is most often mistaken for"),
    ],
)
def test_confusion_text_fits_the_terminal(width, head):
    counts = [[1000 if true == predicted else 17 for predicted in range(10)] for true in range(10)]
    lines = confusion_text(counts, tuple("0123456789"), width).splitlines()
    assert lines[0].startswith(head)
    assert max(map(len, lines[1:])) <= width


def test_confusion_text_many_classes_lists_the_ten_worst():
    names = tuple(f"class {k}" for k in range(47))
    counts = [[0] * 47 for _ in names]
    for k in range(46):  # the last class has no rows
        counts[k][k] = 2000 - k
    counts[30][30], counts[30][5], counts[30][7] = 10, 4, 6
    counts[3][4] = 2000
    text = confusion_text(counts, names)
    sentence, blank, head, first, second, *others = text.splitlines()
    assert sentence == "Of 47 classes, the 10 of lowest recall (--json has all, and the confusion counts):"
    assert blank == ""
    assert head.split("  ")[0] == "true"
    assert first.split() == ["class", "3", "class", "4", "(2,000)", "3,997", "49.96%"]
    assert second.split() == ["class", "30", "class", "7", "(6)", "20", "50.00%"]
    assert len(others) == 8
    assert all(line.endswith("100.00%") and " - " in line for line in others)


@pytest.mark.parametrize("classes", [2, 20, 21, 26, 1000])
def test_confusion_text_any_classes_fit_the_width(classes):
    names = tuple(f"{k}, a class whose name goes on and on and on and on" for k in range(classes))
    counts = [[7 if true == predicted else 0 for predicted in range(classes)] for true in range(classes)]
    lines = confusion_text(counts, names).splitlines()
    assert max(map(len, lines)) <= 140
    assert len(lines) <= 21
    assert any("..." in line for line in lines)


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31mred", "tab\tbed", "\u202eback"])
def test_confusion_text_control_characters_are_escaped(name):
    text = confusion_text([[1, 0], [0, 1]], (name, "kød"))
    assert text.count("\n") == 2
    assert all(line.isprintable() for line in text.splitlines())
    assert "kød" in text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.12346, "0.1235"), (0.0, "0.0000"), (9999.5, "9999.5000"), (6446555567.55, "6.447e+09"),
        (1e300, "1.000e+300"), (0.00001, "1.000e-05"),
        (-20000.0, "-2.000e+04"), (5e-324, "4.941e-324"), (math.inf, "inf"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_decimals_number_is_short_and_never_reads_as_zero(number, text):
    assert decimals(number) == text


def test_decimals_error_in_a_unit_keeps_its_digits_up_to_the_limit():
    assert decimals(45210.5, 3, 1e9) == "45210.500"
    assert decimals(2e9, 3, 1e9) == "2.000e+09"


@given(st.floats(-1e308, 1e308))
def test_decimals_number_is_at_most_twelve_characters_and_close(number):
    text = decimals(number)
    assert len(text) <= 12
    assert float(text) == pytest.approx(number, rel=1e-3, abs=5.1e-5 if abs(number) > 5e-5 else 0)
