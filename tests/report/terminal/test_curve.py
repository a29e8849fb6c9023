import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagvis.report.terminal.curve import LABEL_WIDTH, MAX_POINTS, Points, draw_chart, draw_curves

ANY = st.floats(width=64)
FEW = st.lists(st.tuples(ANY, ANY), max_size=30)


def text(lines):
    return ["".join(text for text, _ in line) for line in lines]


def drawn(train, validation=(), best=None, **changes):
    options = {"x_range": (0, 4), "width": LABEL_WIDTH + 1 + 5, "rows": 3, "lower_is_better": False, "braille": False}
    return text(draw_curves(train, validation, best, **(options | {"label": "{:g}".format} | changes)))


def plot(lines):
    return [line[LABEL_WIDTH + 1 :] for line in lines]


def test_draw_curves_straight_line():
    lines = drawn([(0, 0), (4, 2)], rows=5, x_range=(0, 4))
    assert plot(lines) == ["    .", "   . ", "  .  ", " .   ", ".    "]
    assert lines[0].startswith("        2 ")
    assert lines[4].startswith("        0 ")


def test_draw_curves_marks_cover_the_line_and_best_covers_all():
    lines = drawn([(0, 0), (4, 2)], [(1, 1), (2, 1), (3, 1)], (2, 1), rows=3)
    assert plot(lines)[1] == " o*o "


def test_draw_curves_braille_has_eight_dots_per_cell():
    # 2 cells of 2 x 4 dots: the line rises from the lowest left dot to the highest right dot
    rising = [(x, x) for x in range(4)]
    assert plot(drawn(rising, width=LABEL_WIDTH + 1 + 2, rows=1, x_range=(0, 3), braille=True)) == ["⡠⠊"]


def test_draw_curves_worst_tenth_is_clipped():
    losses = [(x, 1000.0 if x == 0 else 1.0) for x in range(20)]
    accuracies = [(x, -y) for x, y in losses]
    assert drawn([*losses, (20, 0.0)], lower_is_better=True)[0].startswith("        1 ")
    assert drawn([*accuracies, (20, 0.0)], lower_is_better=False)[-1].startswith("       -1 ")


def test_draw_curves_equal_values_are_in_the_middle():
    assert plot(drawn([(x, 7.0) for x in range(5)])) == ["     ", ".....", "     "]


@pytest.mark.parametrize("nothing", [[], [(0, math.nan)], [(1, math.inf)], [(math.nan, 1.0)]])
def test_draw_curves_without_finite_points_is_blank(nothing):
    assert "".join(drawn(nothing, nothing, nothing[0] if nothing else None)).strip() == ""


@given(
    FEW, FEW, st.none() | st.tuples(ANY, ANY), st.tuples(ANY, ANY).filter(lambda e: all(map(math.isfinite, e))),
    st.integers(LABEL_WIDTH + 2, 200), st.integers(1, 12), st.booleans(), st.booleans(),
)  # fmt: skip
def test_draw_curves_any_values_keep_the_size(train, validation, best, ends, width, rows, falling, braille):
    options = {"x_range": ends, "width": width, "rows": rows, "lower_is_better": falling, "braille": braille}
    lines = drawn(train, validation, best, **options)
    assert [len(line) for line in lines] == [width] * rows
    assert braille or "".join(lines).isascii()
    assert "".join(plot(lines)).count("*") == (best is not None and all(map(math.isfinite, best)))


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=30))
def test_draw_curves_any_finite_values_are_drawn(values):
    points = list(enumerate(values))
    lines = drawn(points, lower_is_better=True, x_range=(0, len(values)), label=repr, width=LABEL_WIDTH + 1 + 60)
    assert "".join(plot(lines)).strip(" .") == ""
    assert "".join(plot(lines)).strip()


def test_draw_chart_legend_names_the_curves():
    options = {"x_range": (0.0, 10.0), "width": 39, "rows": 3, "lower_is_better": True, "label": str, "braille": False}
    with_validation = text(draw_chart("loss", [(0, 1)], [(1, 1)], None, **options))
    assert with_validation[0].split() == ["loss", ".", "train", "o", "validation", "*", "best"]
    assert text(draw_chart("loss", [(0, 1)], None, None, **options))[0].split() == ["loss", ".", "train"]
    assert with_validation[-1].split() == ["0", "10", "epochs"]
    assert [len(line) for line in with_validation] == [39] * 5


def test_points_long_curve_stays_bounded_and_keeps_its_shape():
    points = Points()
    for x in range(100_000):
        points.add(x, 3.0 * x)
    seen = points.snapshot()
    assert MAX_POINTS / 2 <= len(seen) < MAX_POINTS
    # neighbouring points are averaged: no point is lost, and the means lie on the line
    assert all(y == pytest.approx(3.0 * x) for x, y in seen)
    assert seen[0][0] < 100
    assert seen[-1][0] > 99_000
    assert [x for x, _ in seen] == sorted(x for x, _ in seen)


def test_points_non_finite_values_are_left_out():
    points = Points()
    for y in (1.0, math.nan, math.inf, 2.0):
        points.add(1.0, y)
    assert points.snapshot() == [(1.0, 1.0), (1.0, 2.0)]
