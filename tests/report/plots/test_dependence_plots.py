"""Figures of partial dependences: what they show, and that no text is cut or touches another."""

import numpy as np
import pytest

from lagvis.inference.partial_dependence import DATE, LEVELS, NUMBER, Dependences, Grid, PartialDependence
from lagvis.report.plots import figure
from lagvis.report.plots.dependence_plots import Outputs, plot_dependences
from lagvis.report.plots.ticks import date_ticks, tick_labels
from tests.report.plots.figure_checks import assert_texts_inside_and_apart

RNG = np.random.default_rng(0)
LONG = "a name of a column that nobody would like to read as a whole "


def number_panel(name, low, high, outputs=2, **keys):
    values = np.linspace(low, high, 20)
    grid = Grid(NUMBER, np.array([0]), values[:, None], values, RNG.uniform(low, high, 200), **keys)
    return PartialDependence(name, 1, grid, RNG.random((20, outputs)), keys.get("missing"))


def level_panel(name, labels, outputs=2, hidden=0, part=""):
    count = len(labels)
    grid = Grid(LEVELS, np.arange(count), np.eye(count), np.arange(count), np.arange(count), labels, part, hidden)
    return PartialDependence(name, 2, grid, RNG.random((count, outputs)))


def date_panel(low, high, *, only_time=False):
    ends = (np.datetime64(text, "s").astype(np.int64) for text in (low, high))
    values = np.linspace(*ends, 20)
    grid = Grid(DATE, np.array([0]), values[:, None], values, values, only_time=only_time)
    return PartialDependence("when", 3, grid, RNG.random((20, 2)), np.array([0.2, 0.8]))


def drawn(panels, shown):
    found = Dependences(tuple(panels), np.full(len(panels[0].mean[0]), 0.5), 200, 300, len(panels))
    with figure.plot_style():
        made = plot_dependences(found, shown)
        figure.png_bytes(made)
        return made


ONE = Outputs((1,), ("yes",))
CASES = {
    "numbers of every size": [
        number_panel("tiny", -2e-9, 3e-9), number_panel("huge", -2e15, 3e15), number_panel("near", 1.6e9, 1.6e9 + 90),
        number_panel("negative", -1e6, -1e6 + 3), number_panel("log", 3.0, 4e7, has_log=True),
        number_panel("short log", 3.0, 150.0, has_log=True),
    ],
    "long names": [
        level_panel(LONG * 2, tuple(f"{LONG}{i}" for i in range(12)), hidden=90), number_panel(LONG, 0, 1),
        level_panel("x" * 80, ("W" * 40, "w" * 40)),
    ],
    "one column": [number_panel("x", 0, 1)],
    "one category": [level_panel("x", ("a", "b"))],
    "missing glyphs": [
        level_panel("\N{CJK UNIFIED IDEOGRAPH-732B}", ("\N{CJK UNIFIED IDEOGRAPH-732B}", "$x$")),
        number_panel("$x_1$ <b>", 0, 1),
    ],
    "dates": [
        date_panel("1871-01-01", "2019-05-01"), date_panel("2021-03-01", "2021-03-04T05:00"),
        date_panel("2023-01-05", "2024-02-01"), date_panel("2021-03-01", "2021-03-01T00:07"),
        date_panel("1970-01-01", "1970-01-01T23:59", only_time=True),
        date_panel("2021-03-01T01:00", "2021-03-01T21:00"),
        level_panel("when", ("Jan", "Feb"), part="month"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("several", [False, True], ids=["one output", "several"])
def test_plot_dependences_texts_are_inside_and_apart(case, several):
    shown = Outputs((0, 1), (LONG, "no")) if several else ONE
    assert_texts_inside_and_apart(drawn(CASES[case], shown))


@pytest.mark.parametrize(
    ("scale", "offset"), [(1e-9, 0), (1e6, 0), (1e12, 0), (1, 1e9), (1e6, 3.3e13), (0, 5.0), (0, 0)]
)
def test_plot_dependences_numbers_of_any_scale_are_inside(scale, offset):
    panels = [number_panel("a", 0, 1, 1), level_panel("b", ("p", "q"), 1)]
    panels = [PartialDependence(p.name, p.column, p.grid, offset + scale * p.mean) for p in panels]
    found = Dependences(tuple(panels), np.array([offset + scale / 2]), 5, 5, 2)
    with figure.plot_style():
        made = plot_dependences(found, Outputs((0,), (LONG,), "a unit of long name"))
        assert_texts_inside_and_apart(made)


def test_plot_dependences_show_the_numbers():
    panel, levels = number_panel("age", 0, 10), level_panel("port", ("C", "Q", "S"))
    made = drawn([panel, levels], ONE)
    curve, strip, bars = made.axes
    np.testing.assert_allclose(curve.get_lines()[0].get_xydata(), np.c_[panel.grid.values, 100 * panel.mean[:, 1]])
    assert sum(bar.get_height() for bar in strip.patches) == 200
    ends = [bar.get_x() + bar.get_width() for bar in bars.patches]
    np.testing.assert_allclose(ends, 100 * levels.mean[:, 1])
    assert [label.get_text() for label in bars.get_yticklabels()] == ["C (0)", "Q (1)", "S (2)"]
    assert bars.get_xlabel() == curve.get_ylabel() == "probability of yes (%)"
    assert [text.get_text() for text in made.texts] == ["age", "port"]


def test_plot_dependences_several_classes_have_a_legend():
    made = drawn([number_panel("age", 0, 10, 3), level_panel("port", ("C", "Q"), 3)], Outputs((0, 2), ("a", "c")))
    assert [text.get_text() for text in made.legends[0].get_texts()] == ["a", "c"]
    assert len(made.axes[0].get_lines()) == 2
    assert made.axes[2].get_xlabel() == "probability (%)"


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([0.0, 0.5, 1.0], ["0", "0.5", "1"]),
        ([1.6e9, 1.6e9 + 20, 1.6e9 + 40], ["1.6e+09", "+20", "+40"]),
        ([1600000025.0, 1600000050.0], ["1600000025", "+25"]),
        ([-2e-9, 0.0], ["-2e-09", "0"]),
    ],
)
def test_tick_labels_differ(ticks, labels):
    assert tick_labels(ticks) == labels


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ("1871-06-01", "2019-01-01", ["1900", "1950", "2000"]),
        ("2023-01-05", "2024-02-01", ["2023-04", "2023-07", "2023-10", "2024-01"]),
        ("2021-03-01T02:00", "2021-03-04", ["2021-03-02", "2021-03-03", "2021-03-04"]),
        ("2021-03-01T01:30", "2021-03-01T04:30", ["02:00\n2021-03-01", "03:00\n2021-03-01", "04:00\n2021-03-01"]),
        ("2021-03-01T01:00", "2021-03-01T01:20", ["01:03:00\n2021-03-01", "01:17:00\n2021-03-01"]),
    ],
)
def test_date_ticks_are_at_beginnings(low, high, expected):
    ends = (float(np.datetime64(text, "s").astype(np.int64)) for text in (low, high))
    ticks, labels = date_ticks(*ends, only_time=False)
    assert labels == expected
    dates = ["T".join(reversed(text.split("\n"))) for text in labels]
    assert [np.datetime64(int(tick), "s") for tick in ticks] == [np.datetime64(date, "s") for date in dates]
