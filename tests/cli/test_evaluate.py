import json

import numpy as np
import pytest
from PIL import Image

from lagvis.cli import evaluate, predict, train
from lagvis.cli.errors import run_cli
from lagvis.data.datasets import load_dataset
from tests.cli.commands import write_dataset
from tests.cli.conftest import TABLE_HEADER


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Train a network on the shared data file, in runs/r of the current folder."""
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
def test_evaluate_run_by_name_folder_or_file(run, capsys, word):
    assert evaluate.main([word, "--device", "cpu", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["test_accuracy"] == json.loads((run / "report.json").read_text())["test_accuracy"] == 1.0
    confusion = np.array(result["confusion"])
    assert confusion.sum() == result["rows"] == 80
    assert np.trace(confusion) == 80


def test_evaluate_text_shows_confusion_matrix(run, capsys):
    assert evaluate.main(["r", "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "accuracy 100.00%" in text
    assert text.count("100.00%") == 6  # accuracy of all rows, balanced accuracy, and recall of each class
    assert "always predicting 3 gives 27.50%" in text
    assert "true \\ predicted" in text


def test_evaluate_other_data_without_test_part_uses_all_rows(run, tmp_path, capsys):
    write_dataset(tmp_path / "other.npz", rows=100)
    assert evaluate.main(["r", "--device", "cpu", "--data", "other.npz", "--json"]) == 0
    out, err = capsys.readouterr()
    assert np.sum(json.loads(out)["confusion"]) == json.loads(out)["rows"] == 100
    assert err.splitlines()[-1] == (
        "other.npz has no test part: all its rows are evaluated, including any that the network was trained on."
    )
    assert "are held out for the test" not in err
    with np.load(tmp_path / "other.npz") as arrays:
        x, y = arrays["x"], arrays["y"]
    np.savez(tmp_path / "parted.npz", x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    # the training data under another name: evaluate the held-out rows
    (tmp_path / "moved.npz").write_bytes((tmp_path / "data.npz").read_bytes())
    for name, rows in (("parted.npz", 40), ("moved.npz", 80)):
        assert evaluate.main(["r", "--device", "cpu", "--data", name, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["rows"] == rows


def test_evaluate_changed_data_of_run_is_exit_3(run, tmp_path, capsys):
    """One additional row changes the split, and most of the new test rows were training rows."""
    with np.load(tmp_path / "data.npz") as arrays:
        x, y = arrays["x"], arrays["y"]
    np.savez(tmp_path / "data.npz", x=np.concatenate([x, x[:1]]), y=np.concatenate([y, y[:1]]))
    assert run_cli(evaluate.main, ["r", "--device", "cpu"]) == 3
    err = capsys.readouterr().err
    assert "the data of this run have changed since it began" in err
    assert "give rows that it has not learned from with --data, or train on from its weights" in err
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
            "the network learned from bytes from 0 to ",
        ),
        ({"y": np.arange(40) % 5}, "has the label 4, which the network does not know (known: 0..3)"),
    ],
)
def test_evaluate_unsuitable_data_is_exit_3(run, tmp_path, capsys, change, words):
    arrays = {"x": np.zeros((40, 8, 8), np.uint8), "y": np.arange(40) % 4} | change
    np.savez(tmp_path / "wrong.npz", **arrays)
    assert run_cli(evaluate.main, ["r", "--device", "cpu", "--data", "wrong.npz"]) == 3
    assert words in capsys.readouterr().err


def test_evaluate_rows_of_the_training_part_are_counted(run, tmp_path, capsys):
    trained_on = load_dataset("data.npz")
    x, y = trained_on.x_train.reshape(-1, *trained_on.shape), trained_on.y_train
    new = np.random.default_rng(9).integers(0, 256, (30, *trained_on.shape), dtype=np.uint8)
    np.savez(tmp_path / "mixed.npz", x=np.concatenate([x[:50], new]), y=np.concatenate([y[:50], np.arange(30) % 4]))
    words = ["r", "--device", "cpu", "--data", "mixed.npz", "--json"]
    assert run_cli(evaluate.main, words) == 0
    out, err = capsys.readouterr()
    (warning,) = json.loads(out)["warnings"]
    assert warning["check"] == "shared_rows"
    assert warning["figures"] == {"shared_rows": 50, "test_rows": 80, "share": 50 / 80}
    assert "50 of 80 test rows (62.5%) are also training rows: the test result" in err
    (tmp_path / "data.npz").unlink()  # what the network has learned from is no longer known
    assert run_cli(evaluate.main, words) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == []


def test_evaluate_unknown_run_is_exit_7(run, capsys):
    assert run_cli(evaluate.main, ["nowhere", "--device", "cpu"]) == 7
    assert "there is no run 'nowhere'" in capsys.readouterr().err


def test_evaluate_broken_checkpoint_is_exit_7(run, capsys):
    (run / "last.safetensors").write_bytes(b"not a checkpoint")
    assert run_cli(evaluate.main, ["r", "--device", "cpu"]) == 7
    assert "cannot be read as a checkpoint" in capsys.readouterr().err


def test_evaluate_file_without_recipe_needs_data_option(run, tmp_path, capsys):
    (tmp_path / "alone").mkdir()
    (run / "last.safetensors").rename(tmp_path / "alone" / "net.safetensors")
    assert run_cli(evaluate.main, ["alone/net.safetensors", "--device", "cpu"]) == 7
    assert "use --data PATH" in capsys.readouterr().err
    assert evaluate.main(["alone/net.safetensors", "--device", "cpu", "--data", "data.npz"]) == 0


def test_evaluate_from_another_folder_finds_data(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert evaluate.main([str(run), "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 80


@pytest.fixture
def run_evaluate(runs, capsys):
    """Return a function: `run_evaluate(run, file, *words)` returns the result and sets `run_evaluate.err` to stderr."""

    def run_evaluate(run, file, *words, code=0):
        capsys.readouterr()
        command = [run, "--runs-dir", str(runs), "--device", "cpu", "--json", "--data", str(file), *words]
        assert run_cli(evaluate.main, command) == code, capsys.readouterr().err
        out, run_evaluate.err = capsys.readouterr()
        return json.loads(out) if code == 0 else None

    return run_evaluate


@pytest.mark.parametrize(
    "order",
    [["c", "a", "b", "art"], ["art", "c", "b", "a"], ["id", "a", "b", "art", "weight", "c"], ["a", "b", "c", "kind"]],
)
def test_evaluate_columns_in_another_order_give_same_result(working_folder, run_evaluate, table, order):
    def write(name, names):
        rows = [dict(zip(("a", "b", "c", "art"), row, strict=True)) for row in table]
        other = [{"id": str(i), "weight": "80", "kind": row["art"]} for i, row in enumerate(rows)]
        lines = [",".join((row | more)[c] for c in names) for row, more in zip(rows, other, strict=True)]
        (working_folder / name).write_text("\n".join([",".join(names), *lines]) + "\n")

    write("plain.csv", ["a", "b", "c", "art"])
    write("other.csv", order)
    plain, other = run_evaluate("table", "plain.csv"), run_evaluate("table", "other.csv")
    assert plain["rows"] == 20
    assert {key: plain[key] for key in plain if key != "data"} == {key: other[key] for key in other if key != "data"}
    unused = [c for c in order if c in ("id", "weight")]
    assert ("other.csv: not used: " + ", ".join(unused) in run_evaluate.err) == bool(unused)


def test_evaluate_test_table_of_folder_in_another_order_is_matched(working_folder, run_evaluate, table):
    (working_folder / "set").mkdir()
    rows = [",".join(row) for row in table]
    (working_folder / "set" / "train.csv").write_text("\n".join([TABLE_HEADER.strip(), *rows]) + "\n")
    (working_folder / "plain.csv").write_text("\n".join([TABLE_HEADER.strip(), *rows]) + "\n")
    lines = [f"{art},x,{c},{b},{a}" for a, b, c, art in table]
    (working_folder / "set" / "test.csv").write_text("\n".join(["art,z,c,b,a", *lines]) + "\n")
    plain, other = run_evaluate("table", "plain.csv"), run_evaluate("table", "set")
    assert other["test_loss"] == pytest.approx(plain["test_loss"], rel=1e-5)  # the rows have another order


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b,art\n1,2,cat\n3,4,dog\n", "has no column 'c', the network needs 1"),
        (
            "a,b,c\n1,2,3\n3,4,5\n",
            "has 3 columns, the features alone; expected 4 with the label art: add it, or predict",
        ),
        (
            "a,b,c,d,e\n1,2,3,4,5\n3,4,5,6,7\n",
            "has no label column art; beside the features it has d, e: name the label with --label",
        ),
        (
            "a,b,c,name\n1,2,3,Anna\n3,4,5,Bob\n",
            "has no label column art; beside the features it has name: name the label with --label, or predict rows",
        ),
        ("a,b,c,art\n1,2,3,cat\n3,4,5,bird\n", "has the label bird, which the network does not know"),
        ("1,2,3\n3,4,5\n", "has 3 columns, the features alone; expected 4 with the label art: add it, or predict"),
    ],
)
def test_evaluate_table_without_needed_columns_is_exit_3(working_folder, run_evaluate, table, text, words):
    (working_folder / "other.csv").write_text(text)
    run_evaluate("table", "other.csv", code=3)
    assert words in run_evaluate.err


def test_evaluate_label_option_names_the_column(working_folder, run_evaluate, table):
    lines = [f"{c},{a},{b},{art},1\n" for a, b, c, art in table]
    (working_folder / "other.csv").write_text("c,a,b,what,x\n" + "".join(lines))
    run_evaluate("table", "other.csv", code=3)
    assert run_evaluate("table", "other.csv", "--label", "what")["rows"] == 20


def test_evaluate_only_other_column_as_label_is_called_a_guess(working_folder, run_evaluate, table):
    (working_folder / "other.csv").write_text(
        "c,a,b,what\n" + "".join(f"{c},{a},{b},{art}\n" for a, b, c, art in table)
    )
    assert run_evaluate("table", "other.csv")["rows"] == 20
    assert "column 4 ('what'), a guess: the table has no column art (--label" in run_evaluate.err


def test_evaluate_several_targets_are_matched_by_name(working_folder, runs, run_evaluate):
    x = np.random.default_rng(4).normal(5, 2, (30, 2))
    y = x @ [[1.0, 2.0], [3.0, -1.0]]
    lines = [f"{a:.4f},{b:.4f},{s:.4f},{t:.4f}\n" for (a, b), (s, t) in zip(x, y, strict=True)]
    swapped = [f"{t:.4f},{b:.4f},{s:.4f},{a:.4f}\n" for (a, b), (s, t) in zip(x, y, strict=True)]
    (working_folder / "plain.csv").write_text("a,b,s,t\n" + "".join(lines))
    (working_folder / "other.csv").write_text("t,b,s,a\n" + "".join(swapped))
    quick = ["--device", "cpu", "--quiet", "--no-plots", "--no-compile", "-e", "1", "--validation", "0"]
    words = ["--loss", "mse", "--label", "s,t", "--data", "plain.csv", "--name", "two", "-o", str(runs)]
    assert train.main([*quick, *words]) == 0
    (working_folder / "both").mkdir()
    (working_folder / "both" / "train.csv").write_text("a,b,s,t\n" + "".join(lines))
    for name, text in (("plain", "a,b,s,t\n" + "".join(lines)), ("other", "t,b,s,a\n" + "".join(swapped))):
        (working_folder / "both" / "test.csv").write_text(text)
        result = run_evaluate("two", "both")
        if name == "plain":
            plain = result
    assert plain["test_loss"] == result["test_loss"]
    (working_folder / "lost.csv").write_text("a,b,s,x\n1,2,3,4\n3,4,5,6\n")
    run_evaluate("two", "lost.csv", code=3)
    assert "has no label column s, t; beside the features it has s, x" in run_evaluate.err


FORMS = {
    "bytes": lambda x: x,
    "from_0_to_255": lambda x: x.astype(np.float32),
    "from_0_to_1": lambda x: x.astype(np.float32) / 255,
    "from_minus_1_to_1": lambda x: (x / 127.5 - 1).astype(np.float32),
}


@pytest.fixture(scope="module")
def scales(tmp_path_factory):
    """Train a network on the same pictures on each scale; return the folder, with an NPZ for each scale and a PNG."""
    folder = tmp_path_factory.mktemp("scales")
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, 90, (300, 8, 8)), np.arange(300) % 4
    x[np.arange(300), y] = 255
    x[:, :, 0] = 0
    x = x.astype(np.uint8)
    for name, form in FORMS.items():
        arrays = {"x_train": form(x[:200]), "y_train": y[:200], "x_test": form(x[200:]), "y_test": y[200:]}
        np.savez(folder / f"{name}.npz", **arrays)
        words = [
            "--data",
            str(folder / f"{name}.npz"),
            "-e",
            "20",
            "--batch-size",
            "20",
            "--hidden",
            "8",
            "--name",
            name,
        ]
        quick = ["--device", "cpu", "--quiet", "--no-plots", "--no-compile", "--validation", "0"]
        assert train.main([*quick, *words, "-o", str(folder / "runs")]) == 0
    np.savez(folder / "signed.npz", x=x.view(np.int8), y=y)
    np.savez(folder / "half.npz", x=x // 2, y=y)
    Image.fromarray(x[200]).save(folder / "first.png")
    return folder


@pytest.mark.parametrize("learned", FORMS)
@pytest.mark.parametrize("given", FORMS)
def test_evaluate_pictures_of_every_scale_have_the_accuracy_of_training(scales, monkeypatch, capsys, learned, given):
    monkeypatch.chdir(scales)
    capsys.readouterr()
    assert evaluate.main([learned, "--device", "cpu", "--json", "--data", f"{given}.npz"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    at_home = json.loads((scales / "runs" / learned / "report.json").read_text())["test_accuracy"]
    assert result["test_accuracy"] == at_home > 0.9
    converted = not {learned, given} <= {"bytes", "from_0_to_255"} and learned != given
    assert [warning["check"] for warning in result["warnings"]] == ["input_scale"] * converted
    assert "".join(warning["message"] + "\n" for warning in result["warnings"]) == err


@pytest.mark.parametrize("learned", FORMS)
def test_predict_picture_file_has_the_answer_of_its_row(scales, monkeypatch, capsys, learned):
    monkeypatch.chdir(scales)
    capsys.readouterr()
    rows = []
    for name in ("first.png", f"{learned}.npz"):
        assert predict.main([learned, name, "--json", "--raw"]) == 0
        rows.append(json.loads(capsys.readouterr().out)["predictions"][0])
    assert rows[0]["answer"] == rows[1]["answer"] == "0"
    assert rows[0]["probability"] == pytest.approx(rows[1]["probability"], abs=1e-4)


@pytest.mark.parametrize("learned", FORMS)
@pytest.mark.parametrize("given", ["signed", "half"])
def test_evaluate_other_scale_is_exit_3_unless_not_checked(scales, monkeypatch, capsys, learned, given):
    monkeypatch.chdir(scales)
    words = [learned, "--device", "cpu", "--data", f"{given}.npz"]
    assert run_cli(evaluate.main, words) == 3
    assert "the network learned from" in capsys.readouterr().err
    if (learned, given) != ("bytes", "signed"):
        assert evaluate.main([*words, "--no-range-check"]) == 0


def test_train_signed_bytes_and_test_part_of_another_scale_are_reported(scales, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with np.load(scales / "bytes.npz") as file:
        arrays = dict(file)
    signed = arrays | {"x_train": arrays["x_train"].view(np.int8), "x_test": arrays["x_test"].view(np.int8)}
    np.savez("signed.npz", **signed)
    np.savez("parts.npz", **(arrays | {"x_test": arrays["x_test"] / 255}))
    words = ["--device", "cpu", "--no-plots", "--no-compile", "-e", "1", "--hidden", "4", "--json"]
    for name, check in (("signed", "signed_pixels"), ("parts", "input_scale")):
        capsys.readouterr()
        assert train.main([*words, "--data", f"{name}.npz", "--name", name]) == 0
        out, err = capsys.readouterr()
        [warning] = [warning for warning in json.loads(out)["warnings"] if warning["check"] == check]
        assert warning["message"] in err


def test_evaluate_constant_column_with_another_value_is_reported_and_predict_agrees(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    seconds = np.random.default_rng(7).integers(0, 3600, 400)
    for name, constant in (("train", 7), ("other", 8)):
        rows = [f"{1767225600 + s},{constant},{int(s > 1800)}" for s in seconds]
        (tmp_path / f"{name}.csv").write_text("\n".join(["time,constant,label", *rows]) + "\n")
    words = ["--data", "train.csv", "-e", "20", "--batch-size", "20", "--hidden", "8", "--name", "r"]
    assert train.main(["--device", "cpu", "--quiet", "--no-plots", "--no-compile", "--validation", "0", *words]) == 0
    capsys.readouterr()
    assert evaluate.main(["r", "--device", "cpu", "--json", "--data", "other.csv"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert predict.main(["r", "other.csv", "--json"]) == 0
    predicted = json.loads(capsys.readouterr().out)
    for warnings in (result["warnings"], predicted["warnings"]):
        assert [warning["check"] for warning in warnings] == ["constant_column_changed"]
        assert "column 'constant' was 7 in every training row and is 8 here" in warnings[0]["message"]
    right = np.mean([row["answer"] == row["label"] for row in predicted["predictions"]])
    assert right == pytest.approx(result["test_accuracy"])


def test_predict_picture_for_network_of_0_to_1_says_the_conversion_once_and_shows_it(scales, monkeypatch, capsys):
    monkeypatch.chdir(scales)
    capsys.readouterr()
    assert predict.main(["from_0_to_1", "first.png", "first.png", "--show", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err.count("Pictures of 0..255 are converted to 0..1, as in training: x / 255.") == 1
    assert "█" in err
    assert json.loads(out)["warnings"] == []
    assert predict.main(["from_0_to_1", "first.png", "--no-range-check", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""


def test_train_init_from_network_of_another_scale_is_reported_and_after_a_resume(scales, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--device", "cpu", "--no-plots", "--no-compile", "-e", "1", "--validation", "0", "--json"]
    start = ["--init-from", str(scales / "runs" / "from_0_to_1"), "--data", str(scales / "from_0_to_255.npz")]
    capsys.readouterr()
    assert train.main([*words, *start]) == 0
    out, err = capsys.readouterr()
    [warning] = [warning for warning in json.loads(out)["warnings"] if warning["check"] == "input_scale"]
    assert warning["message"] in err
    assert "whole numbers from 0 to 255, the network learned from real numbers from 0 to 1" in warning["message"]
    assert warning["message"].endswith("(x / 255 is on the scale of training).")
    common = ["--device", "cpu", "--no-plots", "--no-compile", "--json"]
    assert train.main([*common, "--resume", json.loads(out)["run"], "-e", "2"]) == 0
    resumed, _ = capsys.readouterr()
    assert warning in json.loads(resumed)["warnings"], "a resumed run repeats it"
