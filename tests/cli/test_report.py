"""The command report: runs side by side."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lagvis.cli import report, train
from lagvis.cli.errors import run_cli
from lagvis.report.plots.run_plots import MAX_RUNS, plot_runs
from lagvis.report.runs_report import compare_runs, runs_text
from lagvis.storage.run_record import read_run_record
from tests.cli.test_json import check
from tests.factories import write_folder

QUICK = ("--device", "cpu", "--quiet", "--no-plots", "-b", "20", "--validation", "8")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make five runs in a folder: two of classes, two of numbers, one that was stopped."""
    folder = tmp_path_factory.mktemp("report")
    bands = write_folder(folder / "bands")
    x = np.random.default_rng(3).normal(5, 2, (100, 3))
    np.savez(folder / "line.npz", x=x, y=x @ [[1.0, 2.0], [-2.0, 100.0], [0.5, -3.0]], target_names=["near", "far"])

    def run(name, data, *words):
        assert train.main([*QUICK, "-o", str(folder / "runs"), "--name", name, "--data", str(data), *words]) == 0

    run("small", bands, "--hidden", "4", "-e", "2")
    run("large", bands, "--hidden", "8,8", "-e", "3", "--optimizer", "adam")
    run("mse", folder / "line.npz", "--loss", "mse", "--hidden", "4", "-e", "2")
    run("mae", folder / "line.npz", "--loss", "mae", "--hidden", "4", "-e", "2")
    run("stopped", bands, "--hidden", "4", "-e", "5", "--stop-after", "3")
    return folder / "runs"


@pytest.fixture
def runs(made, tmp_path):
    """Return a copy of the runs."""
    return shutil.copytree(made, tmp_path / "runs")


def run_report(runs, *words, capsys):
    code = run_cli(report.main, ["--runs-dir", str(runs), *map(str, words)])
    return code, *capsys.readouterr()


def run_json(runs, *words, capsys):
    code, out, _ = run_report(runs, *words, "--json", capsys=capsys)
    assert code == 0
    found = check(json.loads(out), "python -m report")
    return [check(run, "A run") for run in found["runs"]], found


def test_report_two_runs_prints_what_differs_and_writes_page_and_picture(runs, capsys):
    code, out, err = run_report(runs, "small", runs / "large" / "best.safetensors", capsys=capsys)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["no.", "run", "hidden", "optimizer", "lr", "momentum", "nesterov", "betas", "eps", "epochs"] in lines
    assert ["2", "large", "8,8", "adam", "0.001", "0.0", "off", "0.9,0.999", "1e-08", "3"] in lines
    assert f"curves  {runs / 'report.png'}\npage    {runs / 'report.html'}\n" in out
    with Image.open(runs / "report.png") as picture:
        assert picture.width == 1080
    page = (runs / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert str(runs / "small") in page


def test_report_results_are_those_of_report_json(runs, capsys):
    found, _ = run_json(runs, "small", "mse", "stopped", "--no-plots", capsys=capsys)
    for run in found:
        stored = json.loads((Path(run["run"]) / "report.json").read_text())
        shared = run.keys() & stored.keys() - {"run"}
        assert {key: run[key] for key in shared} == {key: stored[key] for key in shared}
    assert [run["status"] for run in found] == ["completed", "completed", "interrupted"]
    assert [run["settings"].get("hidden") for run in found] == [None] * 3
    assert not (runs / "report.html").exists()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("small", "large"), []),
        (("small", "mse"), ["Losses of different kinds", "The data are not the same", "predict different things"]),
        (("mse", "mae"), ["Losses of different kinds cannot be compared (mse: mse; mae: mae)"]),
    ],
)
def test_report_caveats_name_what_cannot_be_compared(runs, capsys, names, expected):
    _, found = run_json(runs, *names, "--no-plots", capsys=capsys)
    assert len(found["caveats"]) == len(expected)
    assert all(words in sentence for words, sentence in zip(expected, found["caveats"], strict=True))


def test_report_other_seed_says_that_validation_rows_differ(runs, capsys):
    shutil.copytree(runs / "small", runs / "other")
    recipe = runs / "other" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("seed = 0", "seed = 1"))
    _, found = run_json(runs, "small", "other", "--no-plots", capsys=capsys)
    assert found["caveats"] == [
        "The validation rows are not the same: they depend on seed and validation. The test rows are."
    ]


def test_report_run_without_report_has_the_last_row_of_metrics(runs, capsys):
    (runs / "large" / "report.json").unlink()
    ((run,), _) = run_json(runs, "large", "--no-plots", capsys=capsys)
    *_, last = csv.DictReader(io.StringIO((runs / "large" / "metrics.csv").read_text()))
    assert (run["status"], run["epochs"], run["test_loss"]) == ("unfinished", 3, None)
    assert run["validation_loss"] == float(last["validation_loss"])


def test_report_damaged_files_are_notices_and_their_numbers_are_unknown(runs, capsys):
    for name in ("report.json", "environment.json"):
        (runs / "small" / name).write_text("[")
    (runs / "small" / "metrics.csv").write_bytes(b"\xff\n")
    code, out, err = run_report(runs, "small", "large", capsys=capsys)
    assert code == 0
    assert [line.rsplit("/", 1)[1].partition(":")[0] for line in err.splitlines()] == [
        "environment.json is missing or damaged", "report.json is damaged",
        "metrics.csv has lines that cannot be read, which are left out.",
    ]  # fmt: skip
    assert "numpy" not in out
    (runs / "large" / "report.json").write_text('{"test_loss": "x", "epochs": true, "test_errors": [1], "classes": 3}')
    found, _ = run_json(runs, "large", "--no-plots", capsys=capsys)
    assert (found[0]["test_loss"], found[0]["epochs"]) == (None, 3)


def test_report_environment_with_rows_of_a_wrong_type_is_read_without_them(runs, capsys):
    path = runs / "small" / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows": [1]}))
    found, _ = run_json(runs, "small", "large", "--no-plots", capsys=capsys)
    damaged, whole = (run["settings"]["training rows"] for run in found)
    assert damaged is None
    assert whole > 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nothere"], 7, "there is no run 'nothere'"),
        (["empty"], 7, "recipe.toml is missing; expected the folder of a run"),
        (["bad"], 2, "recipe.toml is not TOML"),
        (["small", "-o", "runs/small/report.html"], 7, "belongs to a run, which would lose it"),
        (["small", "-o", "missing/x.html"], 7, "cannot be written"),
    ],
)
def test_report_invalid_argument_is_one_sentence(runs, monkeypatch, capsys, words, code, message):
    (runs / "empty").mkdir()
    shutil.copytree(runs / "small", runs / "bad")
    (runs / "bad" / "recipe.toml").write_text("hidden = [")
    monkeypatch.chdir(runs.parent)
    found, out, err = run_report(runs, *words, capsys=capsys)
    assert (found, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1


def test_report_without_run_takes_the_newest(runs, capsys):
    (runs / "mae" / "metrics.csv").touch()
    (found,), _ = run_json(runs, "--no-plots", capsys=capsys)
    assert found["run"] == str(runs / "mae")


@pytest.mark.parametrize("output", ["x.html", "x.png", "x", "."])
def test_report_output_names_page_and_picture(runs, monkeypatch, capsys, output):
    monkeypatch.chdir(runs.parent)
    _, found = run_json(runs, "small", "-o", output, capsys=capsys)
    name = "report" if output == "." else "x"
    assert (found["page"], found["picture"]) == (str(runs.parent / f"{name}.html"), str(runs.parent / f"{name}.png"))
    assert Path(found["page"]).is_file()


def test_runs_text_equal_names_have_their_folder_and_lines_fit_the_width(runs):
    shutil.copytree(runs / "small", runs / "more" / "small")
    shutil.copytree(runs / "small", runs / "名前の長い実行")
    paths = (runs / "small", runs / "more" / "small", runs / "名前の長い実行")
    found = compare_runs([read_run_record(path) for path in paths])
    text = runs_text(found, 80)
    assert text.startswith("All settings are the same.")
    assert found.names == ["runs/small", "more/small", "名前の長い実行"]
    assert max(map(len, text.splitlines())) <= 80


def test_plot_runs_each_run_has_its_own_line_and_is_in_the_legend():
    history = [{"samples": 20.0 * i, "train_loss": 1.0 / i, "validation_loss": 2.0 / i} for i in (1, 2, 3)]
    names = [f"run {i}" for i in range(MAX_RUNS)]
    figure = plot_runs([history] * MAX_RUNS, names, ["mse"] * MAX_RUNS)
    assert [axes.get_title() for axes in figure.axes] == ["Validation loss", "Training loss"]
    lines = figure.axes[0].get_lines()
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}
    assert len(looks) == MAX_RUNS
    (legend,) = figure.legends
    assert sorted(text.get_text() for text in legend.get_texts()) == sorted(names)
    figure.canvas.draw()
    window = legend.get_window_extent()
    assert window.x0 >= 0
    assert window.x1 <= figure.bbox.x1
    assert window.y1 < figure.axes[0].xaxis.get_tightbbox().y0


def test_plot_runs_of_two_losses_have_panels_of_their_own():
    numbers = [{"samples": 20.0, "train_loss": 1.0, "validation_loss": None}]
    classes = [{"samples": 20.0, "train_loss": 1.0, "train_accuracy": 0.5, "validation_loss": float("nan")}]
    figure = plot_runs([numbers, classes, []], ["a", "b", "c"], ["mse", "cross-entropy", "mse"])
    assert [axes.get_title() for axes in figure.axes] == [
        "Training loss (mse)", "Training loss (cross-entropy)", "Training accuracy (cross-entropy)",
    ]  # fmt: skip
