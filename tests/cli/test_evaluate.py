import json

import numpy as np
import pytest

from lagvis.cli import evaluate, train
from lagvis.cli.errors import run_cli
from tests.cli.commands import write_dataset


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """A network trained on the shared data file, in runs/r of the current folder."""
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data.npz")
    assert (
        train.main(
            ["--device", "cpu", "--data", "data.npz", "-e", "5", "--quiet", "--no-plots", "--name", "r", "--lr", "0.05"]
        )
        == 0
    )
    capsys.readouterr()
    return tmp_path / "runs" / "r"


@pytest.mark.parametrize("word", ["r", "runs/r", "runs/r/last.safetensors"])
def test_a_run_is_found_by_name_folder_or_file(run, capsys, word):
    assert evaluate.main([word, "--device", "cpu", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["test_accuracy"] == json.loads((run / "report.json").read_text())["test_accuracy"] == 1.0
    confusion = np.array(result["confusion"])
    assert confusion.sum() == result["rows"] == 80
    assert np.trace(confusion) == 80


def test_the_text_shows_the_confusion_matrix_by_class(run, capsys):
    assert evaluate.main(["r", "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "accuracy 100.00%" in text
    assert text.count("100.00%") == 6  # of all, balanced, and of each class
    assert "always predicting 3 gives 27.50%" in text
    assert "true \\ predicted" in text


def test_of_other_data_without_a_test_part_all_rows_are_judged(run, tmp_path, capsys):
    write_dataset(tmp_path / "other.npz", rows=100)
    assert evaluate.main(["r", "--device", "cpu", "--data", "other.npz", "--json"]) == 0
    out, err = capsys.readouterr()
    assert np.sum(json.loads(out)["confusion"]) == json.loads(out)["rows"] == 100
    assert err.splitlines()[-1] == (
        "other.npz holds no test part: all its rows are evaluated, including any that the network was trained on."
    )
    assert "are kept for the test" not in err
    with np.load(tmp_path / "other.npz") as arrays:
        x, y = arrays["x"], arrays["y"]
    np.savez(tmp_path / "parted.npz", x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    # of the data that it learned from, under whatever name, the rows that were held out
    (tmp_path / "moved.npz").write_bytes((tmp_path / "data.npz").read_bytes())
    for name, rows in (("parted.npz", 40), ("moved.npz", 80)):
        assert evaluate.main(["r", "--device", "cpu", "--data", name, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["rows"] == rows


def test_data_that_changed_since_are_not_taken_for_those_of_the_run(run, tmp_path, capsys):
    """With one row more, other rows are held out: most of them it has learned from."""
    with np.load(tmp_path / "data.npz") as arrays:
        x, y = arrays["x"], arrays["y"]
    np.savez(tmp_path / "data.npz", x=np.concatenate([x, x[:1]]), y=np.concatenate([y, y[:1]]))
    assert run_cli(evaluate.main, ["r", "--device", "cpu"]) == 3
    err = capsys.readouterr().err
    assert "the data of this run have changed since it began" in err
    assert "or give rows that it has not learned from with --data" in err
    assert evaluate.main(["r", "--device", "cpu", "--data", "data.npz", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["rows"] == len(x) + 1
    assert "including any that the network was trained on" in err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.zeros((40, 9, 9), np.uint8)}, "rows of 81 numbers, the network takes 64"),
        (
            {"x": np.random.default_rng(0).normal(size=(40, 8, 8))},
            "holds real numbers, the network was trained on bytes",
        ),
        ({"y": np.arange(40) % 5}, "has the label 4, which the network does not know (known: 0..3)"),
    ],
)
def test_data_of_another_kind_is_a_sentence_and_3(run, tmp_path, capsys, change, words):
    arrays = {"x": np.zeros((40, 8, 8), np.uint8), "y": np.arange(40) % 4} | change
    np.savez(tmp_path / "wrong.npz", **arrays)
    assert run_cli(evaluate.main, ["r", "--device", "cpu", "--data", "wrong.npz"]) == 3
    assert words in capsys.readouterr().err


def test_no_such_run_is_a_sentence_and_7(run, capsys):
    assert run_cli(evaluate.main, ["nowhere", "--device", "cpu"]) == 7
    assert "there is no run 'nowhere'" in capsys.readouterr().err


def test_a_broken_checkpoint_is_a_sentence_and_7(run, capsys):
    (run / "last.safetensors").write_bytes(b"not a checkpoint")
    assert run_cli(evaluate.main, ["r", "--device", "cpu"]) == 7
    assert "cannot be read as a checkpoint" in capsys.readouterr().err


def test_a_file_without_its_recipe_asks_for_the_data(run, tmp_path, capsys):
    (tmp_path / "alone").mkdir()
    (run / "last.safetensors").rename(tmp_path / "alone" / "net.safetensors")
    assert run_cli(evaluate.main, ["alone/net.safetensors", "--device", "cpu"]) == 7
    assert "use --data PATH" in capsys.readouterr().err
    assert evaluate.main(["alone/net.safetensors", "--device", "cpu", "--data", "data.npz"]) == 0


def test_a_run_finds_its_data_again_from_any_folder(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert evaluate.main([str(run), "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 80
