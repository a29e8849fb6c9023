"""The report of a training from Python, its HTML for a notebook, the drawing page and exports."""

import html
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import lagvis as lv
from lagvis.api.report import training_code
from lagvis.api.setup import prepare_run
from lagvis.errors import CheckpointError, DrawingError, ExportError, UsageError
from lagvis.formats.page import page_html
from lagvis.report.plots import figure
from lagvis.training.model import widths_text

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(90, 3))
PICTURES = RNG.integers(0, 40, (90, 8, 8)).astype(np.uint8)
DIGITS = np.arange(90) % 3
PICTURES[np.arange(90), DIGITS] = 250
HOSTILE = ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "plain & simple")
SMALL = {"hidden": 4, "epochs": 2, "batch_size": 20, "lr": 0.1, "validation": 20, "device": "cpu"}
KINDS = {
    "pictures": (PICTURES, np.array(HOSTILE)[DIGITS], {"curves", "confusion", "weights", "calibration", "activity"}),
    "two classes": (ROWS, ROWS[:, 0] > 0, {"curves", "confusion", "thresholds", "importance", "dependence"}),
    "labels": (ROWS, (ROWS > 0).astype(int), {"curves", "importance", "dependence", "calibration"}),
    "numbers": (ROWS, ROWS[:, :2] * 1.5, {"curves", "predicted", "importance", "dependence-1", "dependence-2"}),
}  # fmt: skip


def train(kind, *, test=0.25, **settings):
    x, y, _ = KINDS[kind]
    return lv.train(lv.Dataset.from_arrays(x, y, test=test), **SMALL | settings)


@pytest.fixture(scope="module")
def trained():
    return train("pictures")


@pytest.fixture(scope="module")
def report(trained):
    return trained.report()


class Elements(HTMLParser):
    """The elements of a text, as (name, attributes)."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def framed_page(text):
    """Return the attributes of the only iframe of a text."""
    (frame,) = (attributes for tag, attributes in Elements(text).found if tag == "iframe")
    return frame


@pytest.mark.parametrize(
    ("kind", "test"), [("pictures", 0.25), ("two classes", 0.0), ("labels", 0.25), ("numbers", 0.0)]
)
def test_report_of_each_kind_of_data_has_its_figures(kind, test):
    report = train(kind, test=test).report()
    assert KINDS[kind][2] <= set(report.figures)
    assert all(png.startswith(b"\x89PNG") for png in report.figures.values())
    assert re.search(f"[Oo]f the {'validation' if test == 0 else 'test'} part", report.html)
    assert ("There is no result on a test part" in report.html) == (test == 0)
    assert ("test part" in report.html.replace("no result on a test part", "")) == (test > 0)


def test_report_without_validation_part_has_curves_and_says_so():
    report = train("two classes", test=0.0, validation=0).report()
    assert set(report.figures) == {"curves"}
    assert "neither a test part nor a validation part" in report.html


def test_report_repeats_the_training_from_its_own_lines_of_python(trained, report):
    code = html.unescape(re.search(r"<h2>To do it again</h2>\s*<pre>(.*?)</pre>", report.html, re.DOTALL)[1])
    names = {"data": trained._run.dataset}
    exec(code, names)
    again = names["result"]
    assert again.recipe == trained.recipe
    for layer, other in zip(again.model.layers, trained.model.layers, strict=True):
        assert all(np.array_equal(layer[name], other[name]) for name in layer)
    assert "lagvis evaluate" not in report.html


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("recipe", ["table", "paper", "jump", "mnist-800"])
def test_training_code_gives_the_recipe_of_every_run(kind, recipe):
    x, y, _ = KINDS[kind]
    data = lv.Dataset.from_arrays(x, y)
    run = prepare_run(data, recipe, {})
    names = {}
    call = training_code(run).replace("lv.train(", "dict(data=")
    exec(call.replace("data=\n    data,", "\n"), {"data": data}, names)
    given = names["result"]
    options = {name: given.pop(name, None) for name in ("backend", "device", "threads")}
    again = prepare_run(data, "default", given, options["device"], options["backend"], options["threads"])
    assert again.recipe == run.recipe
    assert again.plan.threads == run.plan.threads


def test_report_of_the_library_names_no_file_of_a_run_folder(report):
    assert "result.history has it for every epoch" in report.html
    assert not any(name in report.html for name in ("metrics.csv", "best.safetensors", "recipe.toml"))


def test_report_in_a_notebook_is_a_frame_without_scripts(report):
    frame = framed_page(report._repr_html_())
    assert frame["sandbox"] == ""
    assert frame["srcdoc"] == report.html
    assert "default-src 'none'" in frame["srcdoc"]


def test_report_names_are_escaped(report):
    assert "<script" not in report.html
    assert "onerror=alert(1)>" not in report.html
    assert html.escape(HOSTILE[0]) in report.html


def test_report_save_html_writes_one_file(report, tmp_path):
    report.save(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == report.html
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_report_save_folder_writes_page_text_and_figures(report, tmp_path):
    report.save(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert {path.name for path in folder.iterdir()} == {"report.html", "report.md", "plots"}
    assert {path.stem for path in (folder / "plots").iterdir()} == set(report.figures)


def test_report_save_over_a_file_raises_checkpoint_error(report, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot be made .* choose another path"):
        report.save(tmp_path / "taken")


def test_result_html_leaves_matplotlib_as_it_is(trained):
    import matplotlib

    matplotlib.rcParams["axes.grid"] = not matplotlib.rcParams["axes.grid"]
    before = dict(matplotlib.rcParams)
    try:
        trained._repr_html_()
        assert dict(matplotlib.rcParams) == before
    finally:
        matplotlib.rcParams["axes.grid"] = not matplotlib.rcParams["axes.grid"]
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_result_html_has_parts_classes_and_curves(trained):
    text = trained._repr_html_()
    found = Elements(text).found
    assert {"training", "validation", "test"} <= set(re.findall(r'scope="row">(\w+)<', text))
    assert [attributes["src"][:22] for tag, attributes in found if tag == "img"] == ["data:image/png;base64,"]
    assert "Classes of the test part" in text
    assert "<script" not in text
    for selector in re.findall(r"^(\S.*) \{", re.search(r"<style>(.*)</style>", text, re.DOTALL)[1], re.MULTILINE):
        assert all(part.strip().startswith(".lagvis-result") for part in selector.split(",")), selector


def test_result_html_of_numbers_has_the_error_of_each_target():
    for test in (0.25, 0.0):
        text = train("numbers", test=test)._repr_html_()
        assert text.count("error of target") == 2


def test_result_html_without_matplotlib_has_no_curves(trained, monkeypatch):
    monkeypatch.setattr(figure, "import_matplotlib", lambda: (_ for _ in ()).throw(DrawingError("none")))
    assert "<img" not in trained._repr_html_()
    assert "training" in trained._repr_html_()


def test_draw_is_the_exported_page_in_a_frame_that_may_only_run_scripts(trained, tmp_path):
    model = trained.model
    page = model.draw()
    frame = framed_page(page._repr_html_())
    assert frame["sandbox"] == "allow-scripts"
    assert frame["srcdoc"] == page.html == page_html(model.checkpoint.model, model.layers, widths_text(model.widths))
    page.save(tmp_path / "digits.html")
    assert (tmp_path / "digits.html").read_text() == page.html


def test_draw_of_a_network_for_numbers_raises_export_error():
    with pytest.raises(ExportError, match="predicts numbers"):
        train("numbers").model.draw()


@pytest.mark.parametrize(
    ("name", "format"), [("a.npz", None), ("a.safetensors", None), ("a.html", None), ("a.bin", "npz"), ("a", "paper")]
)
def test_export_writes_what_the_command_writes(trained, tmp_path, name, format):
    from lagvis.cli import export

    trained.save(tmp_path / "network.safetensors")
    trained.model.export(tmp_path / name, format)
    chosen = format or Path(name).suffix[1:]
    expected = tmp_path / f"command-{chosen}"
    export.main([str(tmp_path / "network.safetensors"), "--format", chosen, "-o", str(expected)])
    if expected.is_dir():
        files = sorted(path.name for path in expected.iterdir())
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == files
        assert all((tmp_path / name / file).read_bytes() == (expected / file).read_bytes() for file in files)
    else:
        assert (tmp_path / name).read_bytes() == expected.read_bytes()


@pytest.mark.parametrize(("name", "format"), [("a.bin", None), ("a", None), ("a.npz", "pickle")])
def test_export_unknown_format_raises_usage_error(trained, tmp_path, name, format):
    with pytest.raises(UsageError, match="exported as one of 'safetensors', 'npz'"):
        trained.model.export(tmp_path / name, format)
    assert [*tmp_path.iterdir()] == []
