"""Plots of every kind of run: they open, are not blank, accept any name, and have reproducible bytes."""

import dataclasses
import io
import itertools
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import mean_absolute_error, median_absolute_error, r2_score, root_mean_squared_error

from lagvis.data.dataset import as_classification, as_multi_label, as_regression
from lagvis.data.datasets import load_dataset
from lagvis.data.messages import percent
from lagvis.data.source import Source
from lagvis.data.tables.encoding import CategoryEncoding
from lagvis.errors import DrawingError
from lagvis.inference.binary_curves import binary_curves
from lagvis.inference.diagnostics import Calibration, Mistake, diagnose
from lagvis.inference.importance import Importance
from lagvis.report import run_report
from lagvis.report.html import tables
from lagvis.report.plots import figure, image_plots, metric_plots, ticks
from lagvis.storage.run_folder import CheckpointInterval, RunFolder
from lagvis.training.events import EpochEnded
from lagvis.training.recipe import dumps
from tests.factories import bands, classes, epochs, last, numbers, quick, run
from tests.report.plots.figure_checks import assert_texts_inside_and_apart

ROOT = Path(__file__).resolve().parents[3]
HOSTILE = ("<script>alert(1)</script>", "$x_1$ | `æøå`", "\N{CJK UNIFIED IDEOGRAPH-732B}" * 3, "name " * 12)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(figure, "DPI", 50)


def noise_images(shape, k, rows=120, seed=3, names=None):
    """Return a data set of uint8 noise of a shape, with labels."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 256, (2 * rows, *shape)).astype(np.uint8), np.arange(2 * rows) % k
    labels = y if names is None else np.array(names)[y]
    return as_classification(Source("noise", x[:rows], labels[:rows], x[rows:], labels[rows:], {}))


def table(k=3, rows=60):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2 * rows, 5)), np.arange(2 * rows) % k
    names = ("length", "width $", "æ", "\N{CJK UNIFIED IDEOGRAPH-732B}", "x" * 60)
    return as_classification(Source("t", x[:rows], y[:rows], x[rows:], y[rows:], {}, feature_names=names))


def one_class():
    dataset = table(2)
    return dataclasses.replace(dataset, y_test=np.zeros_like(dataset.y_test))


def constant():
    """Return rows of which every one in the test part is the same."""
    dataset = table(3)
    return dataclasses.replace(dataset, x_test=np.repeat(dataset.x_test[:1], len(dataset.x_test), axis=0))


def one_target():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(120, 3))
    return as_regression(Source("one", x[:60], x[:60, 0], x[60:], x[60:, 0], {}, unit="m/s²"))


def report_files(recipe, dataset, tmp_path):
    """Return names and bytes of the report files of a run, made as the train command makes them."""
    events = run(recipe, dataset)
    folder = RunFolder.claim(str(tmp_path), "run", events[0].model.widths, CheckpointInterval(steps=10**9))
    folder.begin(recipe, {})
    for event in events:
        if isinstance(event, EpochEnded):
            folder.record(event)
    model, finished = events[0].model, last(events)
    summary = summary_of(finished, model, dataset)
    found = diagnose(model, finished.checkpoint.layers, dataset, recipe.seed)
    place = {"data": "/somewhere/data_file", "backend": "numpy", "device": "cpu", "threads": 1}
    text = dumps(recipe)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return dict(run_report.run_report_files(summary, model, found, folder.history(), text, place))


def summary_of(finished, model, dataset):
    from lagvis.report.summary import summarise

    where = {"run": "/runs/mine", "backend": "numpy", "device": "cpu", "dtype": "float32", "seed": 0}
    return summarise(finished, model, where, model.baseline(dataset.y_test))


def assert_shows_something(png):
    image = Image.open(io.BytesIO(png))
    image.load()
    assert image.format == "PNG"
    assert min(image.size) > 40
    assert max(image.size) < 1200
    grey = np.asarray(image.convert("L"))
    assert len(np.unique(grey)) > 5
    assert 0.3 < (grey > 200).mean() < 0.999
    assert not image.info.get("Software")


GRAPHS = {"curves", "calibration", "confusion"}
NUMBER_GRAPHS = {"curves", "predicted", "importance", "activity"}
KINDS = {
    "28x28": (lambda: noise_images((28, 28), 10), {}, GRAPHS | {"mistakes", "weights", "activity"}),
    "10 wide, 14 high": (lambda: noise_images((14, 10), 4), {}, GRAPHS | {"mistakes", "weights", "activity"}),
    "a strip": (lambda: noise_images((2, 60), 3), {}, GRAPHS | {"mistakes", "weights", "activity"}),
    "three colours": (lambda: noise_images((5, 6, 3), 3), {}, GRAPHS | {"mistakes", "weights", "activity"}),
    "two classes": (lambda: noise_images((6, 6), 2), {}, GRAPHS | {"mistakes", "weights", "activity", "thresholds"}),
    "47 classes": (lambda: noise_images((6, 6), 47, 94), {}, GRAPHS | {"mistakes", "weights", "activity"}),
    "no hidden layer": (lambda: noise_images((6, 6), 4), {"hidden": ()}, GRAPHS | {"mistakes", "weights"}),
    "tanh": (lambda: classes(120), {"activation": "tanh", "epochs": 1}, GRAPHS | {"mistakes", "weights"}),
    "batch normalisation": (
        lambda: classes(120),
        {"normalization": "batch", "ema": 0.9, "epochs": 1},
        GRAPHS | {"mistakes", "weights", "activity"},
    ),
    "layer normalisation": (
        lambda: table(3),
        {"normalization": "layer", "activation": "gelu", "epochs": 1},
        GRAPHS | {"importance", "dependence"},
    ),
    "names": (lambda: noise_images((6, 6), 4, names=HOSTILE), {}, GRAPHS | {"mistakes", "weights", "activity"}),
    "validation": (lambda: classes(120), {"validation": 20, "lr": 1e-3}, GRAPHS | {"mistakes", "weights", "activity"}),
    "no epoch": (lambda: classes(120), {"epochs": 0}, GRAPHS - {"curves"} | {"mistakes", "weights", "activity"}),
    "a table": (table, {}, GRAPHS | {"importance", "dependence", "activity"}),
    "a table of two classes": (lambda: table(2), {}, GRAPHS | {"importance", "dependence", "activity", "thresholds"}),
    "a table of ten classes": (lambda: table(10), {}, GRAPHS | {"importance", "dependence", "activity"}),
    "one class in the test part": (one_class, {}, GRAPHS | {"importance", "dependence", "activity"}),
    "the same answer for all": (constant, {"epochs": 0}, {"calibration", "confusion", "importance", "activity"}),
    "few test rows": (lambda: table(2, 6), {}, GRAPHS | {"dependence", "activity", "thresholds"}),
    "two numbers": (lambda: numbers(120), {"loss": "mse"}, NUMBER_GRAPHS | {"dependence-1", "dependence-2"}),
    "one number": (one_target, {"loss": "mse", "validation": 9}, NUMBER_GRAPHS | {"dependence"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_run_report_files_every_kind_of_run_has_its_figures(kind, tmp_path):
    make, keys, names = KINDS[kind]
    files = report_files(quick(**keys), make(), tmp_path)
    assert set(files) == {f"plots/{name}.png" for name in names} | {"report.md", "report.html"}
    first, *_, last = files
    assert (first, last) == ("report.html", "report.md")  # the page is wanted first; the text says that all is there
    for name in names:
        assert_shows_something(files[f"plots/{name}.png"])
    text, page = files["report.md"].decode(), files["report.html"].decode()
    for name in names:
        assert f"](plots/{name}.png)" in text
    assert page.count("<img ") == len(names)
    assert not re.search(r"None|\bnan\b|(?<!\\)<script", text)
    assert not re.search(r">(None|nan)<|<script", page)


@pytest.mark.parametrize(("classes_shown", "has_line"), [(2, True), (3, False)])
def test_dependence_caption_names_the_dashed_line_where_there_is_one(classes_shown, has_line, tmp_path):
    text = report_files(quick(epochs=1), table(classes_shown), tmp_path)["report.md"].decode()
    assert "partial dependence" in text
    assert ("The dashed line is the mean output" in text) == has_line


def test_calibration_of_labels_counts_labels_and_says_so(tmp_path, monkeypatch):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(120, 4))
    y = (x[:, :3] > 0).astype(int)
    dataset = as_multi_label(Source("made", x[:80], y[:80], x[80:], y[80:], {}, label_names=("a", "b", "c")))
    plots = []
    draw = metric_plots.plot_calibration
    monkeypatch.setattr(metric_plots, "plot_calibration", lambda *a, **k: plots.append(draw(*a, **k)) or plots[-1])
    text = report_files(quick(loss="binary-cross-entropy"), dataset, tmp_path)["report.md"].decode()
    lower = plots[0].axes[1]
    assert sum(int(bar.get_height()) for bar in lower.patches) == 3 * 40
    assert (lower.get_ylabel(), lower.get_xlabel()) == ("labels", "probability of the answer")
    assert "Of all labels of the test part. Above the dashed line" in text


def test_run_report_files_equal_runs_have_equal_figures(tmp_path):
    one, other = (report_files(quick(), classes(120), tmp_path / name) for name in "ab")
    assert {name for name in one if one[name] != other[name]} <= {"report.md", "report.html"}  # which contain seconds


def test_run_report_files_no_mistakes_has_no_section(tmp_path):
    x, y = bands(200)
    dataset = as_classification(Source("b", x, y, x, y, {}))
    files = report_files(quick(epochs=8, lr=0.3), dataset, tmp_path)
    assert "100.00%" in files["report.md"].decode()
    assert "plots/mistakes.png" not in files
    assert "## Mistakes" not in files["report.md"].decode()


def rows_of(losses, validation=None, accuracy=None):
    keys = ("epoch", "samples", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
    validation = validation or [None] * len(losses)
    return [
        dict(zip(keys, (i + 1, 100 * (i + 1), a, b, accuracy, accuracy), strict=True))
        for i, (a, b) in enumerate(zip(losses, validation, strict=True))
    ]


def drawn(make, *arguments, **keys):
    with figure.plot_style():
        made = make(*arguments, **keys)
        assert_shows_something(figure.png_bytes(made))
        return made


def test_plot_curves_show_the_history_and_mark_the_best_epoch():
    history = rows_of([3.0, 2.0, 1.5], [2.5, 1.0, 1.2], 0.5)
    loss, accuracy = drawn(metric_plots.plot_curves, history).axes
    train, validation, turn, best = loss.get_lines()
    assert turn.get_xdata() == [200, 200]
    assert train.get_xydata().tolist() == [[100, 3.0], [200, 2.0], [300, 1.5]]
    assert validation.get_ydata().tolist() == [2.5, 1.0, 1.2]
    assert np.ravel(best.get_xydata()).tolist() == [200, 1.0]
    assert best.get_label() == "lowest validation loss: epoch 2"
    assert accuracy.get_lines()[0].get_ydata().tolist() == [50, 50, 50]


@pytest.mark.parametrize("accuracy", [None, 0.5])
def test_plot_curves_learning_rate_that_changes_is_below(accuracy):
    history = [
        row | {"learning_rate": rate} for row, rate in zip(rows_of([3, 2], [2, 1], accuracy), (0.1, 1e-5), strict=True)
    ]
    with figure.plot_style():
        made = metric_plots.plot_curves(history)
        assert_texts_inside(made)
    below = made.axes[len(made.axes) // 2 :]
    assert len(below) == (1 if accuracy is None else 2)
    for axes in below:
        assert axes.get_lines()[0].get_xydata().tolist() == [[100, 0.1], [200, 1e-5]]
    assert below[0].get_ylabel() == "learning rate"


def test_plot_curves_learning_rate_that_stays_is_left_out():
    history = [row | {"learning_rate": 0.1} for row in rows_of([3, 2], [2, 1])]
    assert len(drawn(metric_plots.plot_curves, history).axes) == 1


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e7])
def test_plot_rate_search_marks_the_chosen_rate_and_labels_are_inside(scale):
    rates = np.geomspace(1e-5, 10, 50)
    losses = scale * np.append(np.linspace(2, 1, 45), [2, 5, 20, 100, 1e6])
    smoothed = np.minimum(losses, 8 * scale)
    search = {"rate": 0.12, "fallen": 0.24} | {
        name: list(map(float, values))
        for name, values in (("rates", rates), ("losses", losses), ("smoothed", smoothed))
    }
    with figure.plot_style():
        made = metric_plots.plot_rate_search(search)
        assert_texts_inside(made)
    (axes,) = made.axes
    chosen = axes.get_lines()[-1]
    assert chosen.get_xdata() == [0.12, 0.12]
    assert chosen.get_label() == "chosen: 0.12"
    assert axes.get_ylim()[1] < 4 * scale, "where the loss diverges, the rest stays readable"


def test_plot_curves_large_ratio_is_log_scale_without_non_finite_values():
    made = drawn(metric_plots.plot_curves, rows_of([100.0, float("inf"), 0.1], [float("nan"), 5.0, 0.2]))
    assert made.axes[0].get_yscale() == "log"
    assert [label.get_text() for label in made.axes[0].get_yticklabels() if "$" in label.get_text()] == []


def test_plot_curves_one_epoch_without_validation_is_a_point():
    made = drawn(metric_plots.plot_curves, rows_of([1.0]))
    assert len(made.axes) == 1
    assert len(made.axes[0].get_lines()) == 1


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (600, "600"), (250_000, "250k"), (1.5e6, "1.5M"), (2e9, "2G"), (5e15, "5e+15")]
)
def test_short_number_has_a_suffix(value, text):
    assert ticks.short_number(value) == text


def test_axis_labels_missing_glyphs_are_numbers_and_long_names_are_cut():
    with figure.plot_style():
        found = figure.axis_labels([*HOSTILE, "æøå"], 12)
    assert found == ["<script>ale…", "$x_1$ | `æø…", "no. 2", "name name n…", "æøå"]


WIDE = "W" * 60
ALIKE = tuple(f"patient-type-{letter}" for letter in "ABC")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (ALIKE, ["patien…ype-A", "patien…ype-B", "patien…ype-C"]),
        (["the upper left hand, 12", "the upper left hind, 12"], ["…ft hand, 12", "…ft hind, 12"]),
        (["patient of type A in the morning", "patient of type B in the morning"], ["…A in the m…", "…B in the m…"]),
        (["b" + WIDE, "a" + WIDE], ["bWWWWWWWWWW…", "aWWWWWWWWWW…"]),
        ([WIDE, WIDE + "W"], ["no. 0", "no. 1"]),
        ([WIDE + "a" + WIDE, WIDE + "bc" + WIDE, "W"], ["no. 0", "no. 1", "W"]),
    ],
    ids=["end", "before the end", "middle", "start", "length", "hidden"],
)
def test_axis_labels_cut_names_stay_different(names, found):
    with figure.plot_style():
        assert figure.axis_labels(names, 12) == found
    assert all(len(name) <= 12 for name in found)


def labels_of(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_plots_few_classes_and_features_have_longer_labels():
    axes = drawn(image_plots.plot_confusion_matrix, np.eye(3, dtype=int), ALIKE).axes[0]
    assert labels_of(axes.xaxis) == labels_of(axes.yaxis) == list(ALIKE)
    names = ("feature_with_a_long_name_number_one", "feature_with_a_long_name_number_two")
    found = Importance(names, (1, 2), np.array([0.2, 0.1]), np.array([0.0, 0.0]), of=2, rows=50)
    assert labels_of(drawn(metric_plots.plot_importance, found, accuracy=True).axes[0].yaxis) == list(names)


def assert_texts_inside(made):
    """Check that every text lies inside the figure."""
    renderer = made.canvas.get_renderer()
    for axes in made.axes:
        box = axes.get_tightbbox(renderer)
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= made.bbox.width
        assert box.y1 <= made.bbox.height


def test_plot_mistakes_captions_do_not_overlap():
    x = np.zeros((6, 6), dtype=np.uint8)
    found = tuple(Mistake(i, x, i % 3, (i + 1) % 3, 0.1, 0.99999) for i in range(7))
    for names in (ALIKE, [f"{WIDE}{letter}" for letter in "abc"]):
        made = drawn(image_plots.plot_mistakes, found, 7, names)
        boxes = [text.get_window_extent() for text in made.axes[0].texts]
        assert all(box.x1 <= made.bbox.width for box in boxes)
        assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes[1::2]))
    assert "predicted patient-type-B  >99.9%" in [
        text.get_text() for text in drawn(image_plots.plot_mistakes, found, 7, ALIKE).axes[0].texts
    ]


def test_plots_wide_labels_are_inside_the_figure():
    names = [f"{WIDE}{letter}" for letter in "abc"]
    assert_texts_inside(drawn(image_plots.plot_confusion_matrix, np.eye(3, dtype=int), names))
    found = Importance(tuple(names), (1, 2, 3), np.full(3, 0.1), np.zeros(3), of=3, rows=50)
    assert_texts_inside(drawn(metric_plots.plot_importance, found, accuracy=True))


@pytest.mark.parametrize("losses", [(5e7, 4e4, 20.0), (9e5, 4e5, 3e5), (4e-6, 2e-6, 1e-6), (5e9, 4e9), (3e15, 20.0)])
def test_plot_curves_labels_of_any_loss_are_inside_the_figure(losses):
    assert_texts_inside(drawn(metric_plots.plot_curves, rows_of(losses)))


@pytest.mark.parametrize("scale", [1e-7, 1e-4, 1.0, 1e5, 1e6, 1e7, 1e12])
def test_plot_predictions_labels_of_any_scale_are_inside_the_figure(scale):
    dataset = numbers(120)
    events = run(quick(loss="mse"), dataset)
    found = diagnose(events[0].model, last(events).state["params"], dataset, 0)
    found = dataclasses.replace(found, predicted=-scale * found.predicted, target=-scale * found.target)
    with figure.plot_style():
        assert_texts_inside_and_apart(metric_plots.plot_predictions(found, events[0].model))


def test_plot_calibration_legend_covers_no_point():
    counts, right = np.array([4, 4, 4]), np.ones(3)
    made = drawn(metric_plots.plot_calibration, Calibration(counts, np.array([0.1, 0.4, 0.9]), right, 0.5))
    (legend,) = (*made.legends, *(axes.get_legend() for axes in made.axes if axes.get_legend()))
    box = legend.get_window_extent()
    assert not any(box.overlaps(axes.bbox) for axes in made.axes)
    assert_texts_inside(made)


STRANGE = ("\N{CJK UNIFIED IDEOGRAPH-8EAB}", "\N{CJK UNIFIED IDEOGRAPH-4F53}", "$x$ | `<b>`")


def test_importance_missing_glyphs_are_column_numbers_and_in_the_table():
    found = Importance(STRANGE, (4, 2, 3), np.array([0.25, 0.1, -1e-6]), np.array([0.02, 0.01, 0.0]), of=3, rows=50)
    made = drawn(metric_plots.plot_importance, found, accuracy=True)
    assert [label.get_text() for label in made.axes[0].get_yticklabels()] == ["column 4", "column 2", STRANGE[2]]
    assert tables.importance_table(found, accuracy=True).rows == [
        (STRANGE[0], "4", "25.00", "2.00"), (STRANGE[1], "2", "10.00", "1.00"), (STRANGE[2], "3", "0.00", "0.00"),
    ]  # fmt: skip
    assert tables.importance_table(found, accuracy=False).rows[0][2:] == ("0.2500", "0.0200")


def test_plot_predictions_missing_glyphs_are_numbers_from_1():
    dataset = numbers(120)
    events = run(quick(loss="mse"), dataset)
    model, params = events[0].model, last(events).state["params"]
    found = diagnose(model, params, dataset, 0)
    model = dataclasses.replace(model, target_names=STRANGE[:2], unit=STRANGE[0])
    axes = drawn(metric_plots.plot_predictions, found, model).axes
    assert [a.get_title(loc="left") for a in axes[::3]] == ["target 1", "target 2"]
    assert axes[0].get_xlabel() == "true"


def test_run_report_files_table_lists_every_column(tmp_path):
    files = report_files(quick(), table(), tmp_path)
    text, page = files["report.md"].decode(), files["report.html"].decode()
    (head,) = (line for line in text.splitlines() if line.startswith("| column | no. |"))
    rows = text[text.index(head) :].split("\n\n")[0].splitlines()
    assert head == "| column | no. | accuracy lost (percentage points) | deviation |"
    assert {row.split(" | ")[0] for row in rows[2:]} == {
        "| length", "| width \\$", "| æ", "| \N{CJK UNIFIED IDEOGRAPH-732B}", f"| {'x' * 60}"
    }  # fmt: skip
    assert page.count('<th scope="row">length</th>') == 1


def test_plot_confusion_matrix_shows_its_counts():
    counts = np.array([[50, 2, 0], [0, 7, 3], [0, 0, 0]])
    made = drawn(image_plots.plot_confusion_matrix, counts, ("a", "b", "c"))
    written = {(int(t.get_position()[1]), int(t.get_position()[0])): int(t.get_text()) for t in made.axes[0].texts}
    assert written == {(i, k): counts[i, k] for i, k in np.argwhere(counts)}
    shares = np.asarray(made.axes[0].images[0].get_array()) ** 2
    np.testing.assert_allclose(shares[1], [0, 0.7, 0.3])


@pytest.mark.parametrize("k", [31, 200])
def test_plot_confusion_matrix_many_classes_has_few_ticks_and_no_counts(k):
    made = drawn(
        image_plots.plot_confusion_matrix, np.eye(k, dtype=int) * 5, tuple(f"class number {i}" for i in range(k))
    )
    assert not made.axes[0].texts
    assert len(made.axes[0].get_xticks()) <= image_plots.MAX_TICKS


def test_plot_mistakes_shows_upright_images_with_both_classes():
    x, y = bands(40)
    dataset = as_classification(Source("b", x, y, x, y, {}))
    events = run(quick(epochs=0), dataset)
    found = diagnose(events[0].model, last(events).state["params"], dataset, 0)
    made = drawn(image_plots.plot_mistakes, found.mistakes, found.wrong, ("a", "b", "c", "d"))
    axes = made.axes[0]
    first = found.mistakes[0]
    np.testing.assert_array_equal(np.asarray(axes.images[0].get_array()), x[first.row])
    left, right, bottom, top = axes.images[0].get_extent()
    assert left < right
    assert top < bottom  # the origin is the upper left corner: the first row of pixels is on top
    assert axes.images[0].origin == "upper"
    words = [text.get_text() for text in axes.texts]
    assert words[1] == f"predicted {'abcd'[first.predicted]}  {percent(first.p_predicted, digits=1)}"
    assert words[2] == f"true {'abcd'[first.target]}  {percent(first.p_target, digits=1)}"


def test_mistakes_table_counts_rows_from_1():
    model = run(quick(epochs=0), classes(120))[0].model
    first, last_row = (Mistake(row, np.zeros((6, 6), np.uint8), 0, 1, 0.1, 0.99999) for row in (0, 1234))
    found = tables.mistakes_table((first, last_row), model)
    assert [row[0] for row in found.rows] == ["1", "1,235"]
    assert found.rows[0][1:] == ("1", "0", ">99.99%", "10.00%")
    assert "counted from 1" in found.caption


def test_plot_unit_activity_marks_and_counts_dead_units():
    made = drawn(metric_plots.plot_unit_activity, (np.array([0.0, 0.5, 1.0]), np.array([0.2])))
    labels = [label.get_text() for label in made.axes[0].get_yticklabels()]
    assert labels == ["layer 1: 3 units\n1 dead", "layer 2: 1 unit\n0 dead"]
    dead = [line for line in made.axes[0].get_lines() if line.get_marker() == "X"]
    assert [len(line.get_xdata()) for line in dead] == [1, 0]


def test_plot_style_settings_of_the_user_change_nothing(monkeypatch):
    import matplotlib as mpl

    history = rows_of([3.0, 2.0, 1.5])
    with figure.plot_style():
        before = figure.png_bytes(metric_plots.plot_curves(history))
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9, "text.usetex": True, "axes.grid": False}):
        with figure.plot_style():
            after = figure.png_bytes(metric_plots.plot_curves(history))
        assert mpl.rcParams["font.size"] == 30
    assert before == after


@pytest.mark.parametrize("backend", [None, "svg"])
@pytest.mark.parametrize("imported", ["before", "after"])
def test_draw_png_leaves_the_process_unchanged(backend, imported):
    """Environment, rcParams, backend and loggers of a process are unchanged, even during an unfinished report."""
    code = f"""
import logging, os, sys, warnings
{"import matplotlib.pyplot" if imported == "before" else ""}
def state():
    import matplotlib
    return (dict(os.environ), dict(matplotlib.rcParams), matplotlib.get_backend(), list(warnings.filters),
            {{name: logging.getLogger(name).level for name in ("matplotlib", "matplotlib.font_manager", "PIL", None)}})
environment, levels = dict(os.environ), logging.getLogger("matplotlib").level
before = state() if {imported == "before"} else None
from lagvis.report.plots import figure, metric_plots
history = [{{"epoch": 1, "samples": 5, "train_loss": 1.0, "train_accuracy": 0.5}}]
png = figure.draw_png(metric_plots.plot_curves, history)
assert png.startswith(b"\\x89PNG")
assert dict(os.environ) == environment
assert logging.getLogger("matplotlib").level == levels
if before:
    assert state() == before
import matplotlib.pyplot as plt
assert plt.get_fignums() == []
assert plt.get_backend().lower() == {backend!r} or {backend is None}
assert plt.rcParams["font.size"] == 10.0
"""
    environment = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    environment |= {"MPLBACKEND": backend} if backend else {}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_plot_style_matplotlib_missing_raises_drawing_error(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(DrawingError, match=r"cannot be imported .*--no-plots"), figure.plot_style():
        pass


def test_plot_predictions_non_finite_values_are_left_out():
    dataset = numbers(120)
    events = run(quick(loss="mse"), dataset)
    found = diagnose(events[0].model, last(events).state["params"], dataset, 0)
    found.predicted[:, 0] = np.inf
    found.predicted[3, 1] = np.nan
    drawn(metric_plots.plot_predictions, dataclasses.replace(found), events[0].model)


def test_run_folder_history_has_a_row_per_epoch(tmp_path):
    events = run(quick(epochs=2), classes(120))
    folder = RunFolder.claim(str(tmp_path), "run", events[0].model.widths, CheckpointInterval(steps=10**9))
    folder.begin(quick(), {})
    for event in epochs(events):
        folder.record(event)
    rows = folder.history()
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[1]["train_loss"] == epochs(events)[1].train.loss
    assert rows[1]["validation_loss"] is None


@pytest.mark.parametrize("differences", [[1e32] * 5, [0.0] * 5, [-7.0, -7.0], [1.0, 2.0], [-1e300, 1e300], [5e-324, 0]])
def test_histogram_range_any_differences_can_be_drawn(differences):
    values = np.array(differences)
    counts, edges = np.histogram(values, bins=30, range=metric_plots.histogram_range(values))
    assert counts.sum() == len(values)
    assert (np.diff(edges) > 0).all()


@pytest.mark.parametrize("name", ["yes", WIDE, STRANGE[0]])
@pytest.mark.parametrize("rows", [2, 5000])
def test_plot_binary_curves_shows_areas_and_thresholds(name, rows):
    positive = np.arange(rows) % 2 == 1
    probability = np.clip(np.random.default_rng(0).normal(0.4 + 0.2 * positive, 0.2), 0, 1)
    curves = binary_curves(probability, positive)
    made = drawn(metric_plots.plot_binary_curves, curves, name)
    assert_texts_inside(made)
    left, right = made.axes
    assert left.get_title(loc="left") == f"ROC, area {metric_plots.short_share(curves.roc_auc)}"
    x, y = left.get_lines()[1].get_data()
    assert ([x[0], y[0]], [x[-1], y[-1]]) == ([0, 0], [1, 1])
    (star,) = (line for line in left.get_lines() if line.get_marker() == "*")
    assert star.get_ydata() == [curves.balanced.recall]
    assert len(right.get_lines()[1].get_xdata()) <= metric_plots.MAX_POINTS + 3


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.500"), (1.0, "1.000"), (0.99999, ">0.999"), (0.0, "0.000"), (0.00012345, "0.000123")]
)
def test_short_share_is_0_or_1_only_exactly(value, text):
    assert metric_plots.short_share(value) == text


def test_thresholds_table_shares_are_percentages():
    curves = binary_curves(np.array([0.1, 0.2, 0.4]), np.array([False, True, True]))
    found = tables.thresholds_table(curves, "yes")
    assert found.rows[0] == ("the more probable class", "0.5", "33.33%", "0.00%", "100.00%", "", "0.00%")
    assert found.rows[1] == ("recall nearest to specificity", "0.2", *["100.00%"] * 5)


def test_residuals_table_equals_scikit_learn():
    dataset = numbers(120)
    events = run(quick(loss="mse"), dataset)
    found = diagnose(events[0].model, last(events).state["params"], dataset, 0)
    table = tables.residuals_table(found, events[0].model)
    for k, (name, *cells) in enumerate(table.rows):
        true, predicted = found.target[:, k], found.predicted[:, k]
        expected = [
            np.mean(predicted - true),
            mean_absolute_error(true, predicted),
            median_absolute_error(true, predicted),
            root_mean_squared_error(true, predicted),
        ]
        assert name == ("near", "far")[k]
        assert cells == [*(f"{value:.4g}" for value in expected), f"{r2_score(true, predicted):.4f}"]
    constant = dataclasses.replace(found, target=np.full_like(found.target, 7.0))
    assert [row[-1] for row in tables.residuals_table(constant, events[0].model).rows] == ["", ""]
    none = dataclasses.replace(found, predicted=np.full_like(found.predicted, np.nan))
    assert tables.residuals_table(none, events[0].model).rows == []


def test_columns_and_mistakes_of_a_table_are_those_of_its_file(tmp_path):
    rng = np.random.default_rng(3)
    days = np.datetime64("2024-01-01") + rng.integers(0, 300, 200)
    lines = [
        f"{i},{a:.3f},{'' if i % 9 == 0 else 'red' if i % 2 else 'blue'},{day},{np.exp(a):.4f},{'yn'[i % 3 == 0]}"
        for i, (a, day) in enumerate(zip(rng.normal(size=200), days, strict=True))
    ]
    (tmp_path / "t.csv").write_text("id,size,colour,day,income,label\n" + "\n".join(lines))
    dataset = load_dataset(
        str(tmp_path / "t.csv"), regression=False, label="label", log=("income",), feature_type="numbers"
    )
    files = report_files(quick(epochs=1), dataset, tmp_path)
    text = files["report.md"].decode()
    part = re.search(r"\n## Columns\n(.*?)\n## ", text, re.DOTALL)[1]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]
    assert [row[:3] for row in cells[2:]] == [
        ["size", "2", "number"], ["colour", "3", "category"], ["day", "4", "date"], ["income", "5", "logarithm"],
        ["id", "1", "left out"],
    ]  # fmt: skip
    missing = sum(line.split(",")[2] == "" for line in np.array(lines)[dataset.held_out.training_rows])
    assert cells[3][4:] == ["2", str(missing)]
    mistakes = re.search(r"\n## Mistakes\n(.*?)\n## ", text, re.DOTALL)[1].replace("\\", "")
    row = next(line for line in mistakes.splitlines() if line.startswith("| t.csv, line "))
    place = int(re.match(r"\| t\.csv, line (\d+) ", row)[1])
    number, size, colour, day, income, _ = lines[place - 2].split(",")
    shown = f"size {float(size):.4g}, colour {colour or 'missing'}, day {day}, income {float(income):.4g}"
    assert f"| {shown} |" in row, number


def test_cell_text_level_that_training_did_not_have_is_said():
    column = CategoryEncoding("town", 0, ("a", "b"), other=("c",))
    assert [tables.cell_text(column, np.array(x)) for x in ([0, 1, 0], [0, 0, 1], [0, 0, 0])] == [
        "b", "other", "not in training"
    ]  # fmt: skip
