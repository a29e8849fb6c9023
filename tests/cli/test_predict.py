import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from lagvis.cli import predict, train
from lagvis.cli.errors import run_cli
from lagvis.data.datasets import load_dataset
from lagvis.data.images.mnist_style import BLANK, SEVERAL
from lagvis.data.predict_input import EXPECTED
from tests.cli.commands import ROOT, environment, run_command
from tests.cli.conftest import TABLE_HEADER
from tests.factories import bands, idx_bytes

JUNK = (".DS_Store", "Thumbs.db", "._a.png")


@pytest.fixture
def run_predict(runs, capsys):
    """Return a function: `run_predict(run, *words)` returns the predictions; `run_predict.err` holds stderr."""

    def run_predict(run, *words):
        capsys.readouterr()
        assert run_cli(predict.main, [run, *map(str, words), "--runs-dir", str(runs), "--json"]) == 0
        out, run_predict.err = capsys.readouterr()
        found = json.loads(out)
        assert found["run"] == str(runs / run / "last.safetensors")
        return found["predictions"]

    return run_predict


@pytest.fixture
def error_message(runs, capsys):
    """Return a function: `error_message(run, *words)` returns the error message of a request that is rejected."""

    def error_message(run, *words, code=3):
        capsys.readouterr()
        assert run_cli(predict.main, [run, *map(str, words), "--runs-dir", str(runs)]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err

    return error_message


@pytest.fixture(scope="module")
def digits():
    return load_dataset("mnist").x_test[:20].reshape(-1, 28, 28)


def predicted_classes(predictions):
    return [p["answer"] for p in predictions]


def test_predict_npz_rows_equal_forward_pass_by_hand(working_folder, runs, run_predict, digits):
    """Compare with a forward pass written in NumPy, from the arrays of the checkpoint."""
    np.savez("rows.npz", x=digits)
    found = run_predict("digits", "rows.npz")
    arrays = load_file(runs / "digits" / "last.safetensors")
    hidden = (digits.reshape(20, -1) / 255 - arrays["pixel_mean"]) @ arrays["params.0.W"] + arrays["params.0.b"]
    z = np.maximum(0, hidden) @ arrays["params.1.W"] + arrays["params.1.b"]
    wanted = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    for i, (p, row) in enumerate(zip(found, wanted, strict=True)):
        assert (p["file"], p["row"], p["notes"]) == ("rows.npz", i + 1, [])
        np.testing.assert_allclose(list(p["probabilities"].values()), row, rtol=1e-4)
        order = np.argsort(-row)
        assert (p["answer"], p["runner_up"]) == (str(order[0]), str(order[1]))
        assert p["probability"] == p["probabilities"][p["answer"]]
        assert p["runner_up_probability"] == p["probabilities"][p["runner_up"]]


def test_predict_digit_at_any_place_and_scale_same_answer(working_folder, run_predict, digits):
    """At each position and scale at least 18 of 20 predictions equal those of the originals."""
    np.savez("originals.npz", x=digits)
    originals = predicted_classes(run_predict("digits", "originals.npz"))
    for scale in (0.5, 1, 2):
        for place in ((2, 2), (60, 10), (10, 70)):
            folder = working_folder / f"{scale}-{place[0]}"
            folder.mkdir()
            side = int(28 * scale)
            for i, digit in enumerate(digits):
                canvas = Image.new("L", (max(100, place[0] + side), max(100, place[1] + side)))
                canvas.paste(Image.fromarray(digit).resize((side, side)), place)
                canvas.save(folder / f"{i}.png")
            found = predicted_classes(run_predict("digits", folder))
            assert sum(a == b for a, b in zip(found, originals, strict=True)) >= 18, (scale, place)


def test_predict_classes_from_1_in_pictures_idx_table_and_npz(working_folder, run_predict):
    """Predict from images, IDX and a table; labels in the file are output beside the predictions."""
    x, y = bands(12, seed=9)
    names = [str(label + 1) for label in y]
    (working_folder / "pictures").mkdir()
    for i, picture in enumerate(x):
        Image.fromarray(picture).save(working_folder / "pictures" / f"{i}.png")
    for name in JUNK:
        (working_folder / "pictures" / name).write_bytes(b"\0\5\x16\7junk")
    found = run_predict("bands", "pictures")
    assert [p["file"] for p in found] == [os.path.join("pictures", f"{i}.png") for i in range(12)]
    assert predicted_classes(found) == names
    assert set(found[0]["probabilities"]) == {"1", "2", "3", "4"}
    assert run_predict.err == ""
    (working_folder / "images").write_bytes(idx_bytes(x))
    assert predicted_classes(run_predict("bands", "images")) == names
    np.savetxt("rows.csv", np.column_stack([y + 1, x.reshape(12, -1)]), fmt="%d", delimiter=",")
    found = run_predict("bands", "rows.csv")
    assert predicted_classes(found) == [p["label"] for p in found] == names
    np.savez("rows.npz", x_test=x, y_test=y + 1)
    found = run_predict("bands", "rows.npz", "rows.csv")
    assert predicted_classes(found) == [p["label"] for p in found] == names * 2


def test_predict_npz_data_set_reports_unused_arrays(working_folder, run_predict):
    np.savez("set.npz", X_train=np.ones((4, 3)), X_test=np.ones((2, 3)))
    assert len(run_predict("line", "set.npz")) == 2
    assert run_predict.err == "set.npz: the rows are X_test; not used: X_train.\n"
    np.savez("part.npz", X_train=np.ones((4, 3)))
    assert len(run_predict("line", "part.npz")) == 4
    assert run_predict.err == ""


def test_predict_text_has_a_line_for_each_file(working_folder, runs, capsys, digits):
    Image.fromarray(digits[0]).save("seven.png")
    Image.new("L", (50, 40), "white").save("white.png")
    two = np.zeros((40, 70), np.uint8)
    two[6:34, 2:30], two[6:34, 35:63] = digits[:2]
    Image.fromarray(two).save("two.png")
    assert predict.main(["digits", "seven.png", "white.png", "two.png", "--runs-dir", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["file", "answer", "probability", "runner-up", "probability"]
    assert lines[1].split()[:2] == ["seven.png", "7"]
    assert lines[2].split(maxsplit=5) == ["white.png", "-", "-", "-", "-", BLANK]
    assert lines[3].endswith(SEVERAL)
    assert len(lines) == 4


def test_predict_blank_picture_has_no_answer(working_folder, run_predict):
    Image.new("L", (28, 28)).save("blank.png")
    [p] = run_predict("digits", "blank.png")
    assert p["notes"] == [BLANK]
    assert {p[k] for k in ("answer", "probability", "runner_up", "runner_up_probability", "probabilities")} == {None}


def test_predict_heic_is_named_and_does_not_stop_the_others(working_folder, runs, capsys, digits):
    folder = Path("phone")
    folder.mkdir()
    heic = bytes.fromhex("00000018") + b"ftypheic" + bytes(400)
    for name in ("a.heic", "b.jpg", "c", "d.txt"):
        (folder / name).write_bytes(heic)
    Image.fromarray(digits[0]).save(folder / "seven.png")
    (folder / "notes.txt").write_text("a note")
    assert run_cli(predict.main, ["digits", str(folder), "--runs-dir", str(runs)]) == 3
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[1] == "7"
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert [line.split()[1] for line in errors] == [str(folder / name) for name in ("a.heic", "b.jpg", "c", "d.txt")]
    assert all("is a HEIC picture; send it as JPEG" in line for line in errors)
    assert "Not read in phone: notes.txt." in err


def test_predict_noise_has_no_answer(working_folder, run_predict):
    """Noise is neither a blank image nor a digit."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)).save("noise.png")
    [p] = run_predict("digits", "noise.png")
    assert p["notes"] == ["no digit could be separated from the background"]
    assert {p[k] for k in ("answer", "probability", "runner_up", "runner_up_probability", "probabilities")} == {None}


def test_predict_regression_gives_values_labels_and_unit(working_folder, runs, run_predict, capsys):
    with np.load(runs.parent / "line.npz") as arrays:
        x, y = arrays["x"][:8], arrays["y"][:8]
    np.savez("rows.npz", x=x, y=y)
    np.savetxt("rows.csv", x, delimiter=",")
    np.savetxt("both.csv", np.column_stack([y, x]), delimiter=",", header="near,far,a,b,c", comments="")
    found = run_predict("line", "rows.npz")
    for name, column in zip(("near", "far"), y.T, strict=True):
        predicted = np.array([p["values"][name] for p in found])
        assert np.abs(predicted - column).max() < 0.3 * np.std(column)
        np.testing.assert_array_equal([p["label"][name] for p in found], column)
    assert {p["unit"] for p in found} == {"m"}
    for other in ("rows.csv", "both.csv"):
        assert [p["values"] for p in run_predict("line", other)] == [
            {name: pytest.approx(value, rel=1e-5) for name, value in p["values"].items()} for p in found
        ]
    assert predict.main(["line", "both.csv", "--runs-dir", str(runs)]) == 0
    head = capsys.readouterr().out.splitlines()[0]
    assert head.split() == ["file", "near", "far", "true", "near", "true", "far"]


def test_predict_only_mnist_style_network_centres_digits(working_folder, run_predict, error_message, runs, digits):
    """Other networks only resize an image, with a note; --centre and --raw override this."""
    canvas = np.pad(digits[0], 20)
    Image.fromarray(canvas).save("wide.png")
    assert "centred" in run_predict("digits", "wide.png")[0]["notes"]
    assert "has 68x68 pixels, the network takes 28x28; leave --raw out" in error_message("digits", "wide.png", "--raw")
    assert run_predict("bands", "wide.png")[0]["notes"] == ["resized from 68x68 to 6x6"]
    assert "digits are centred in 28x28 pixels, the network takes 6x6" in error_message("bands", "wide.png", "--centre")
    (runs / "digits" / "environment.json").rename(working_folder / "kept")  # only the checkpoint stores the MNIST style
    try:
        assert "centred" in run_predict("digits", "wide.png")[0]["notes"]
    finally:
        (working_folder / "kept").rename(runs / "digits" / "environment.json")
    rolled = np.roll(
        load_dataset("mnist").x_train[:300].reshape(-1, 28, 28), 4, axis=2
    )  # same size and same classes as MNIST
    np.savez(working_folder / "rolled.npz", x=rolled, y=load_dataset("mnist").y_train[:300])
    quick = ["--device", "cpu", "--quiet", "--no-plots", "--no-compile", "-e", "1", "--validation", "0"]
    assert train.main([*quick, "--name", "rolled", "--data", str(working_folder / "rolled.npz"), "-o", str(runs)]) == 0
    assert run_predict("rolled", "wide.png")[0]["notes"] == ["resized from 68x68 to 28x28"]
    assert "centred" in run_predict("rolled", "wide.png", "--centre")[0]["notes"]
    assert "not allowed with" in run_command("predict", "x", "y", "--raw", "--centre", cwd=working_folder).stderr


@pytest.mark.parametrize("label", ["art", "last", "4"])
def test_predict_table_ignores_label_position_of_recipe(working_folder, runs, run_predict, error_message, table, label):
    """The column names decide, not the --label of the training."""
    words = ["--data", str(runs.parent / "table.csv"), "-e", "1", "--hidden", "8", "--label", label]
    quick = ["--device", "cpu", "--quiet", "--no-plots", "--no-compile", "--validation", "0"]
    assert train.main([*quick, *words, "--name", f"label-{label}", "-o", str(runs)]) == 0
    a, b, c, art = zip(*table, strict=True)
    expected_values = []
    for columns in ({"a": a, "b": b, "c": c, "art": art}, {"c": c, "b": b, "a": a}, {"x": art, "c": c, "a": a, "b": b}):
        lines = [",".join(columns), *map(",".join, zip(*columns.values(), strict=True))]
        (working_folder / "other.csv").write_text("\n".join(lines) + "\n")
        found = run_predict(f"label-{label}", "other.csv")
        assert (found[0]["label"] is not None) == ("art" in columns)
        expected_values.append([p["probabilities"] for p in found])
    assert expected_values[0] == expected_values[1] == expected_values[2]
    found = run_predict(f"label-{label}", "other.csv", "--label", "x")
    assert [p["label"] for p in found] == list(art)
    assert "--label names 'a', which the network takes as a feature" in error_message(
        f"label-{label}", "other.csv", "--label", "a"
    )


def test_predict_class_called_na_is_a_label(working_folder, runs, run_predict):
    x = np.random.default_rng(0).normal(size=(40, 2))
    np.savez("regions.npz", x=x, y=np.where(x[:, 0] > 0, "EU", "NA"))
    quick = ["--device", "cpu", "--quiet", "--no-plots", "--no-compile", "-e", "1", "--hidden", "4"]
    assert train.main([*quick, "--name", "regions", "--data", "regions.npz", "-o", str(runs)]) == 0
    (working_folder / "t.csv").write_text("0.9,0.4,NA\n-0.9,0.4,EU\n0.9,0.1,\n")
    assert [p.get("label") for p in run_predict("regions", "t.csv", "--label", "3")] == ["NA", "EU", None]


def test_predict_missing_label_counts_as_no_decimal_point(working_folder, run_predict):
    lines = ["a;b;c;near;far", *["3;4;5;nan;nan"] * 100_000, "0,5;0,25;1;1,5;2,5"]
    (working_folder / "t.csv").write_text("\n".join(lines) + "\n")
    found = run_predict("line", "t.csv")
    assert found[-1]["label"] == {"near": 1.5, "far": 2.5}


def test_predict_single_row_without_header_may_have_label(working_folder, run_predict, table):
    for row in table[:3]:
        (working_folder / "one.csv").write_text(",".join(row) + "\n")
        (working_folder / "bare.csv").write_text(",".join(row[:3]) + "\n")
        [labelled], [bare] = run_predict("table", "one.csv"), run_predict("table", "bare.csv")
        assert labelled["label"] == row[3]
        assert labelled["probabilities"] == bare["probabilities"]


def test_predict_table_columns_are_matched_by_name(working_folder, run_predict, error_message, table):
    """Columns may have any order, with or without the label and further columns."""

    def written(name, head, order):
        extra = {"id": lambda i, row: str(i), "weight": lambda i, row: "80"}
        columns = ["a", "b", "c", "art"]
        lines = [
            ",".join(extra[c](i, row) if c in extra else row[columns.index(c)] for c in order)
            for i, row in enumerate(table)
        ]
        (working_folder / name).write_text("\n".join([",".join(order) if head else "", *lines]).strip() + "\n")
        return run_predict("table", name)

    first = written("plain.csv", True, ["a", "b", "c", "art"])
    assert run_predict.err == ""
    assert [p["label"] for p in first] == [row[3] for row in table]
    assert sum(p["answer"] == p["label"] for p in first) >= 18
    for order in (["c", "a", "b"], ["art", "c", "b", "a"], ["id", "a", "b", "c"], ["id", "a", "weight", "b", "c"]):
        found = written("other.csv", True, order)
        assert [p["probabilities"] for p in found] == [p["probabilities"] for p in first], order
        assert (found[0]["label"] is not None) == ("art" in order)
        others = [c for c in order if c in ("id", "weight")]
        assert run_predict.err == (f"other.csv: not used: {', '.join(others)}.\n" if others else "")
    found = written("bare.csv", False, ["a", "b", "c", "art"])
    assert [p["probabilities"] for p in found] == [p["probabilities"] for p in first]
    assert run_predict.err == "bare.csv: the label is column 4 (--label names another).\n"
    (working_folder / "lost.csv").write_text("a,b,weight\n1,2,3\n")
    assert "lost.csv has no column 'c', the network needs 1; it has the columns a, b, weight: add" in error_message(
        "table", "lost.csv"
    )
    (working_folder / "twice.csv").write_text("a,b,c,c\n1,2,3,4\n")
    assert "twice.csv has 2 columns 'c', the network needs 1; it has the columns a, b, c, c: rename" in error_message(
        "table", "twice.csv"
    )
    (working_folder / "bird.csv").write_text(TABLE_HEADER + "1,2,3,dog\n1,2,3,bird\n")
    assert "bird.csv, line 3 has the label bird, which the network does not know (known: cat, dog)" in error_message(
        "table", "bird.csv"
    )


@pytest.fixture(scope="module")
def narrow(runs):
    """Train a run `narrow` on the single column `x in cm` and the label `kind`: yes where x > 0."""
    x = np.random.default_rng(6).normal(0, 3, 100)
    lines = [f"{value:.3f},{'yes' if value > 0 else 'no'}\n" for value in x]
    (runs.parent / "narrow.csv").write_text("x in cm,kind\n" + "".join(lines))
    words = ["--data", str(runs.parent / "narrow.csv"), "-e", "40", "--lr", "0.1", "--batch-size", "20"]
    quick = ["--device", "cpu", "--quiet", "--no-plots", "--no-compile", "--validation", "0", "--hidden", "8"]
    assert train.main([*quick, *words, "--name", "narrow", "-o", str(runs)]) == 0


@pytest.mark.parametrize(
    "text",
    [
        "x in cm\n5.5\n-6.5\n",
        "x in cm\n5.5\n",
        "5.5\n-6.5\n",
        "x in cm\n5,5\n-6,5\n",
        "5,5\n-6\n",
        '"5,5"\n"-6,5"\n',
        "x in cm,\n5.5,\n-6.5,\n",
        "5,\n-6,\n",
        "x in cm,kind\n5,yes\n-6,no\n",
        "5,yes\n-6,no\n",
        "5.5;yes\n-6.5;no\n",
    ],
)
def test_predict_single_feature_network_takes_one_column(working_folder, run_predict, narrow, text):
    (working_folder / "a.csv").write_text(text)
    found = run_predict("narrow", "a.csv")
    assert predicted_classes(found) == ["yes", "no"][: len(found)]
    assert len(found) == text.count("\n") - ("x" in text)
    assert (found[0]["label"] is not None) == ("yes" in text)


def test_predict_decimal_comma_or_two_columns_raises_data_error(working_folder, error_message, narrow):
    """Without a header, 5,1 is one number or two; with --label it is two."""
    (working_folder / "a.csv").write_text("5,1\n-6,0\n")
    assert "a.csv, line 1 may be one number with a decimal comma or two numbers" in error_message("narrow", "a.csv")
    assert "line 1 has the label 1" in error_message("narrow", "a.csv", "--label", "2")


def test_predict_columns_of_one_name_are_taken_in_order(working_folder, runs, run_predict, error_message):
    """One network has two columns named a; another has a feature and a label of the same name."""
    rows = np.random.default_rng(8).normal(0, 3, (60, 2))
    lines = [f"{a:.3f},{b:.3f},{'cat' if a > b else 'dog'}\n" for a, b in rows]
    quick = ["--device", "cpu", "--quiet", "--no-plots", "--no-compile", "-e", "1", "--validation", "0"]
    for name, head, flags in (("equal", "a,a,art\n", []), ("same", "a,a,a\n", ["--label", "last"])):
        (working_folder / f"{name}.csv").write_text(head + "".join(lines))
        words = ["--name", name, "--data", str(working_folder / f"{name}.csv"), *flags, "-o", str(runs)]
        assert train.main([*quick, *words]) == 0
    np.savez("rows.npz", x=[list(map(float, line.split(",")[:2])) for line in lines])
    expected_values = [p["probabilities"] for p in run_predict("equal", "rows.npz")]
    found = run_predict("equal", "equal.csv")
    assert [p["probabilities"] for p in found] == expected_values
    assert [p["label"] for p in found] == [line.strip().split(",")[2] for line in lines]
    (working_folder / "bare.csv").write_text("a,a\n" + "".join(line.rsplit(",", 1)[0] + "\n" for line in lines))
    assert [p["probabilities"] for p in run_predict("equal", "bare.csv")] == expected_values
    (working_folder / "one.csv").write_text("a,b,art\n1,2,cat\n")
    assert "one.csv has 1 column 'a', the network needs 2; it has the columns a, b, art: add" in error_message(
        "equal", "one.csv"
    )
    assert run_predict("same", "bare.csv")[0]["label"] is None
    assert "same.csv has 3 columns 'a', the network needs 2" in error_message("same", "same.csv")


@pytest.mark.parametrize("missing", ["", "?", " NA "])
def test_predict_table_rows_without_label_have_none(working_folder, runs, run_predict, table, missing, capsys):
    """A label column without any value counts as no label."""
    rows = [",".join(row[:3]) for row in table]
    (working_folder / "bare.csv").write_text("a,b,c\n" + "".join(f"{row}\n" for row in rows))
    expected_values = [p["probabilities"] for p in run_predict("table", "bare.csv")]
    (working_folder / "none.csv").write_text(TABLE_HEADER + "".join(f"{row},{missing}\n" for row in rows))
    found = run_predict("table", "none.csv")
    assert [p["probabilities"] for p in found] == expected_values
    assert found[0]["label"] is None
    labels = [row[3] if i % 2 else missing for i, row in enumerate(table)]
    (working_folder / "some.csv").write_text(
        TABLE_HEADER + "".join(f"{row},{art}\n" for row, art in zip(rows, labels, strict=True))
    )
    found = run_predict("table", "some.csv")
    assert [p["probabilities"] for p in found] == expected_values
    assert [p["label"] for p in found] == [row[3] if i % 2 else None for i, row in enumerate(table)]
    assert predict.main(["table", "some.csv", "--runs-dir", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[-1] == "true"
    assert lines[1].endswith("%")
    assert lines[2].split()[-1] == table[1][3]


def test_predict_table_rows_without_all_targets_have_no_label(working_folder, runs, run_predict, capsys):
    (working_folder / "rows.csv").write_text("a,b,c\n1,2,3\n4,5,6\n7,8,9\n")
    expected_values = [p["values"] for p in run_predict("line", "rows.csv")]
    (working_folder / "some.csv").write_text("near,far,1,2,3\n5,,1,2,3\n6,7,4,5,6\n?,?,7,8,9\n")
    found = run_predict("line", "some.csv")
    assert [p["values"] for p in found] == expected_values
    assert [p["label"] for p in found] == [None, {"near": 6, "far": 7}, None]
    assert predict.main(["line", "some.csv", "--runs-dir", str(runs)]) == 0
    assert [len(line.split()) for line in capsys.readouterr().out.splitlines()[1:]] == [7, 11, 7]


def test_predict_one_hot_labels_become_class_names(working_folder, runs, run_predict):
    rows = np.random.default_rng(2).normal(0, 1, (60, 3))
    cat = (rows[:, 0] > 0).astype(int)
    lines = [f"{a},{b},{c},{k},{1 - k}\n" for (a, b, c), k in zip(rows, cat, strict=True)]
    (working_folder / "oh.csv").write_text("a,b,c,cat,dog\n" + "".join(lines))
    np.savez("oh.npz", x=rows, y=np.column_stack([cat, 1 - cat]))
    quick = ["--device", "cpu", "--quiet", "--no-plots", "--no-compile", "-e", "1", "--validation", "0"]
    words = ["--name", "onehot", "--data", str(working_folder / "oh.csv"), "--label", "cat,dog"]
    assert train.main([*quick, *words, "-o", str(runs)]) == 0
    for name in ("oh.csv", "oh.npz"):
        assert [p["label"] for p in run_predict("onehot", name)] == ["cat" if k else "dog" for k in cat]
    (working_folder / "bare.csv").write_text("".join(lines))
    assert run_cli(predict.main, ["onehot", "bare.csv", "--label", "4,5", "--runs-dir", str(runs)]) == 0


def test_predict_tie_answers_first_class(working_folder, run_predict, runs):
    """A network with a single class has no runner-up."""
    for name, outputs in (("tie", 3), ("one", 1)):
        (working_folder / name).mkdir()
        np.save(working_folder / name / "weightlayer1.npy", np.zeros((outputs, 784)))
        np.save(working_folder / name / "biaslayer1.npy", np.zeros((outputs, 1)))
    np.savez("x.npz", x=np.ones((1, 784), np.uint8))
    processes = [predict_stdin(runs, name, "x.npz", "--json") for name in ("tie", "one")]
    tie, one = (json.loads(done.stdout)["predictions"][0] for done in processes)
    assert (tie["answer"], tie["runner_up"]) == ("0", "1")
    assert (one["answer"], one["probability"], one["runner_up"]) == ("0", 1.0, None)


def test_predict_raw_picture_equals_array(working_folder, run_predict, digits):
    Image.fromarray(digits[3]).save("raw.png")
    np.savez("raw.npz", x=digits[3:4])
    [raw], [row] = run_predict("digits", "raw.png", "--raw"), run_predict("digits", "raw.npz")
    assert raw["probabilities"] == row["probabilities"]
    assert raw["notes"] == []


def workbook(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("[Content_Types].xml", "")
        file.writestr("xl/workbook.xml", "")


def cut_png(path):
    Image.new("L", (28, 28)).save(path)
    path.write_bytes(path.read_bytes()[:40])


def test_predict_missing_cell_in_a_complete_column_is_predicted_with_a_warning(working_folder, run_predict, narrow):
    (working_folder / "a.csv").write_text("x in cm\n5\n?\n")
    assert len(run_predict("narrow", "a.csv")) == 2
    assert "a.csv has missing cells in columns that are complete in every training row" in run_predict.err


@pytest.mark.parametrize(
    ("run", "name", "make", "words"),
    [
        ("digits", "poem.png", lambda p: p.write_text("a poem"), "poem.png is not a picture (its first bytes are 61"),
        ("digits", "cut.png", lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n"), "cut.png"),
        ("digits", "gone.png", lambda p: None, "gone.png does not exist"),
        ("digits", "empty", lambda p: p.mkdir(), "empty holds no picture; it holds nothing"),
        ("digits", "pipe.png", os.mkfifo, "pipe.png is neither a file nor a folder"),
        ("digits", "a.csv", lambda p: p.write_text("1,2,3\n4,5,6\n"), "a.csv has 3 columns; expected the 784"),
        ("bands", "a.csv", lambda p: p.write_text(("2," * 35 + "0.5\n") * 2), "a.csv, row 1 holds 0.5, the net"),
        ("bands", "a.csv", lambda p: p.write_text("1," * 35 + "1\n" + "1," * 35 + "x\n"), "a.csv, line 2, column 36"),
        ("line", "a.csv", lambda p: p.write_text("1,2\n3,4\n"), "expected the 3 that the network was trained on, or"),
        ("line", "a.csv", lambda p: p.write_text("1,2,3\n3,4,1e300\n"), "a.csv, row 2 holds numbers too large for the"),
        ("line", "x.npz", lambda p: np.savez(p, x=np.full((9, 3), 255, np.uint8)), "x.npz holds whole numbers from"),
        ("line", "x.npz", lambda p: np.savez(p, x=np.array([[1, 2, np.nan]])), "x.npz, row 1 holds a NaN"),
        ("line", "x.npz", lambda p: np.savez(p, x=np.zeros((2, 4))), "x.npz has rows of 4 numbers, the network ta"),
        ("line", "x.npz", lambda p: np.savez(p, x=np.zeros((2, 3)), y=[1, 2]), "1 targets a row, the network predict"),
        ("line", "x.npz", lambda p: np.savez(p, x=np.zeros((2, 3)), y=np.zeros((3, 2))), "label a row, or x alone"),
        ("line", "x.npz", lambda p: np.savez(p, x=np.zeros((2, 3)), y=[["a", "b"]] * 2), "expected numbers (rows,)"),
        ("line", "x.npz", lambda p: np.savez(p, x=np.zeros((2, 3)), y=[[1, np.nan]] * 2), "row 1 has a NaN"),
        ("bands", "x.npz", lambda p: np.savez(p, x=np.zeros((2, 36), np.uint8), y=[4, 5]), "row 2 has the label 5"),
        ("bands", "a.csv", lambda p: p.write_text("0," * 36 + "7\n"), "column 1 and column 37 hold other values"),
        ("bands", "a.csv", lambda p: p.write_text("0," * 36 + "7\n"), "name the label with --label 1 or --label last"),
        ("bands", "a.csv", lambda p: p.write_text("0.5," + "0," * 35 + "7"), "than classes of the network (1..4)"),
        ("bands", "a.csv", lambda p: p.write_text("1," * 36 + "2\n2," + "1," * 35 + "3\n"), "37 both hold classes"),
        ("line", "x.npz", lambda p: np.savez(p, z=np.zeros((2, 3))), "x.npz holds z; expected x, rows of features"),
        ("line", "x.npz", lambda p: np.savez(p, x=["a"]), "expected rows of 3 numbers"),
        ("line", "x.npz", lambda p: p.write_bytes(b"PK\3\4junk"), "x.npz cannot be read as NPZ"),
        ("line", "a.png", lambda p: Image.new("L", (3, 1)).save(p), "takes rows of 3 real numbers from "),
        ("bands", "x.npz", lambda p: np.savez(p, x=np.full((1, 36), 2.5)), "x.npz, row 1 holds 2.5, the network was"),
        ("bands", "labels", lambda p: p.write_bytes(idx_bytes(np.zeros(9))), "rows of 1 numbers, the network takes 36"),
        ("line", "book", workbook, "book cannot be read as a workbook"),
        ("digits", "cut.png", cut_png, "cut.png begins like a picture but cannot be decoded; it may be cut off"),
        ("bands", "a.pdf", lambda p: p.write_bytes(b"%PDF-1.4"), "a.pdf is a PDF"),
    ],
)  # fmt: skip
def test_predict_unsuitable_input_is_exit_3(working_folder, error_message, run, name, make, words):
    make(working_folder / name)
    sentence = error_message(run, name)
    assert words in sentence
    assert "np." not in sentence


@pytest.fixture
def run_predict_partly(runs, capsys):
    """Return a function that predicts with some unusable files and returns the --json object and stderr."""

    def run_predict_partly(run, *words):
        capsys.readouterr()
        assert run_cli(predict.main, [run, *map(str, words), "--runs-dir", str(runs), "--json"]) == 3
        out, err = capsys.readouterr()
        return json.loads(out), err

    return run_predict_partly


def test_predict_numbers_too_large_reports_file_and_row(working_folder, run_predict_partly):
    np.savez("good.npz", x=np.ones((3, 3)))
    np.savez("bad.npz", x=[[1, 2, 3], [1, 1e300, 3], [1e300, 2, 3]])
    result, err = run_predict_partly("line", "good.npz", "bad.npz", "good.npz")
    assert [(p["file"], p["row"]) for p in result["predictions"]] == [("good.npz", row) for row in (1, 2, 3, 1, 2, 3)]
    assert [error["file"] for error in result["errors"]] == ["bad.npz"]
    assert "bad.npz, row 2 holds numbers too large" in err


def test_predict_unreadable_file_keeps_answers_of_others(
    working_folder, runs, run_predict, run_predict_partly, capsys, digits
):
    Image.fromarray(digits[0]).save("seven.png")
    (working_folder / "poem.png").write_text("a poem")
    np.savez("rows.npz", x=digits[:2])
    good = run_predict("digits", "seven.png", "rows.npz")
    result, err = run_predict_partly("digits", "gone.png", "seven.png", "poem.png", "rows.npz")
    assert result["predictions"] == good
    assert [error["file"] for error in result["errors"]] == ["gone.png", "poem.png"]
    assert err.splitlines() == [f"error: {error['message']}" for error in result["errors"]]
    assert run_cli(predict.main, ["digits", "poem.png", "seven.png", "--runs-dir", str(runs)]) == 3
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["file", "seven.png"]
    assert err.startswith("error: poem.png is not a picture")


def test_predict_every_file_unreadable_gives_only_errors(working_folder, runs, run_predict_partly, capsys):
    result, err = run_predict_partly("digits", "gone.png", "lost.csv")
    assert result["predictions"] == []
    assert len(result["errors"]) == err.count("\n") == 2
    assert run_cli(predict.main, ["digits", "gone.png", "lost.csv", "--show", "--runs-dir", str(runs)]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count(" does not exist; ") == 2


def test_predict_unreadable_picture_in_folder_keeps_the_others(working_folder, run_predict_partly, digits):
    (working_folder / "mixed").mkdir()
    Image.fromarray(digits[0]).save(working_folder / "mixed" / "1.png")
    (working_folder / "mixed" / "2.png").write_text("a poem")
    result, _ = run_predict_partly("digits", "mixed")
    assert [p["file"] for p in result["predictions"]] == [os.path.join("mixed", "1.png")]
    assert [error["file"] for error in result["errors"]] == [os.path.join("mixed", "2.png")]


def test_predict_show_draws_only_readable_files(working_folder, runs, capsys, digits):
    Image.fromarray(digits[0]).save("seven.png")
    assert run_cli(predict.main, ["digits", "gone.png", "seven.png", "--show", "--runs-dir", str(runs)]) == 3
    out, err = capsys.readouterr()
    assert out.startswith("seven.png\n")
    assert "█" in out
    assert err == f"error: gone.png does not exist; {EXPECTED}\n"


def test_predict_unreadable_standard_input_keeps_answers_of_files(working_folder, runs, digits):
    Image.fromarray(digits[0]).save("seven.png")
    done = predict_stdin(runs, "digits", "-", "seven.png", "--json", content=b"1,2\n3,4\n")
    result = json.loads(done.stdout)
    assert done.returncode == 3
    assert predicted_classes(result["predictions"]) == ["7"]
    assert result["errors"][0]["file"] == "-"
    assert result["errors"][0]["message"].startswith("standard input has 2 columns")
    np.savez("broken.npz", x=np.ones((2, 5)))
    (working_folder / "broken.idx").write_bytes(idx_bytes(np.zeros((2, 28, 28), np.uint8))[:-1])
    for name in ("broken.npz", "broken.idx"):
        done = predict_stdin(runs, "digits", "-", content=(working_folder / name).read_bytes())
        assert done.returncode == 3
        assert done.stderr.startswith(b"error: standard input "), done.stderr


@pytest.mark.parametrize("shape", [(6, 5, 3), (3, 6, 5), (6, 5, 4)])
def test_predict_colour_network_refuses_picture_files(working_folder, runs, error_message, shape):
    """Image files are read as greyscale, and the position of the colour axis in the network's input is unknown."""
    np.savez("colour.npz", x=np.random.default_rng(1).integers(0, 256, (20, *shape), np.uint8), y=[0, 1] * 10)
    quick = ["--device", "cpu", "--quiet", "--no-plots", "--no-compile", "-e", "1", "--validation", "0"]
    words = ["--name", "x".join(map(str, shape)), "--data", "colour.npz", "--hidden", "4", "-o", str(runs)]
    assert train.main([*quick, *words]) == 0
    Image.new("RGB", (5, 6)).save("a.png")
    sentence = error_message("x".join(map(str, shape)), "a.png")
    assert (
        f"a.png is a picture, the network learned from arrays of {'x'.join(map(str, shape))} numbers, as of" in sentence
    )
    assert "pictures in colour; give such arrays (.npz): picture files are read in grey only" in sentence


def test_predict_unknown_run_is_exit_7(working_folder, error_message):
    assert "'' does not exist; expected a picture" in error_message("digits", "")
    assert "there is no run 'nobody'" in error_message("nobody", "x.png", code=7)


def test_predict_show_draws_network_input(working_folder, runs, capsys, monkeypatch, digits):
    Image.fromarray(digits[0]).save("a.png")
    monkeypatch.setenv("COLUMNS", "100")
    assert predict.main(["digits", "a.png", "--raw", "--show", "--runs-dir", str(runs)]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines[0] == "a.png"
    assert lines[29].startswith("file")
    for line, row in zip(lines[1:29], digits[0], strict=True):
        assert [" ░▒▓█".index(c) for c in line.ljust(56)[::2]] == [int(v) * 5 // 256 for v in row]
    for columns in (40, 20, 1):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert predict.main(["digits", "a.png", "--show", "--runs-dir", str(runs)]) == 0
        drawn = capsys.readouterr().out.partition("\nfile")[0].split("\n")[1:]
        assert max(map(len, drawn)) <= columns
    assert run_cli(predict.main, ["line", str(runs.parent / "line.npz"), "--show", "--runs-dir", str(runs)]) == 3
    assert "leave --show out" in capsys.readouterr().err


def test_predict_show_with_json_draws_on_stderr(working_folder, runs, capsys, digits):
    Image.fromarray(digits[0]).save("a.png")
    assert predict.main(["digits", "a.png", "--show", "--json", "--runs-dir", str(runs)]) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)["predictions"]) == 1
    assert "█" in err


def predict_stdin(runs, *words, content=None, **changes):
    """Return a function that runs predict.py with bytes on standard input and returns the completed process."""
    command = [sys.executable, str(ROOT / "predict.py"), *map(str, words), "--runs-dir", str(runs)]
    return subprocess.run(
        command, env=environment(**changes), input=content, capture_output=True, timeout=60, check=False
    )


def test_predict_standard_input_picture_or_table(working_folder, runs, digits):
    file = io.BytesIO()
    Image.fromarray(digits[0]).save(file, "PNG")
    done = predict_stdin(runs, "digits", "-", "--json", content=file.getvalue())
    [p] = json.loads(done.stdout)["predictions"]
    assert (p["file"], p["row"], p["answer"]) == ("-", None, "7")
    rows = "\n".join(",".join(map(str, digit.ravel())) for digit in digits[:3]).encode()
    done = predict_stdin(runs, "digits", "-", "--json", content=rows)
    assert [(p["file"], p["row"]) for p in json.loads(done.stdout)["predictions"]] == [("-", 1), ("-", 2), ("-", 3)]
    done = predict_stdin(runs, "line", "-", content=b"near,far,a,b,c\n1,2,3,4,5\n")
    assert b"standard input: the label is column 1 ('near'), column 2 ('far')" in done.stderr
    for content, words in ((b"", b"standard input is empty"), (b"1,2\n3,4\n", b"error: standard input has 2 columns")):
        done = predict_stdin(runs, "digits", "-", content=content)
        assert (done.returncode, done.stdout) == (3, b"")
        assert words in done.stderr


def test_predict_any_locale_and_closed_streams(working_folder, runs, digits):
    Image.fromarray(digits[0]).save("år \x1b[31m.png")
    words = (runs, "digits", "år \x1b[31m.png", "--show")
    done = predict_stdin(*words, LC_ALL="C", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert b"@@" in done.stdout
    assert b"\x1b" not in done.stdout
    command = [sys.executable, str(ROOT / "predict.py"), *map(str, words[1:]), "--runs-dir", str(runs)]
    for shell in ('exec "$@" >&-', 'exec "$@" | true', 'exec "$@" 2>&-', 'exec "$@" <&-'):
        done = subprocess.run(["sh", "-c", shell, "-", *command], capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, b""), shell
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >/dev/full', "-", *command], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1


def test_predict_folder_reports_other_files(working_folder, run_predict, error_message, digits):
    (working_folder / "mixed").mkdir()
    for name in ("10.png", "9.png"):
        Image.fromarray(digits[0]).save(working_folder / "mixed" / name)
    (working_folder / "mixed" / "notes.txt").write_text("hello")
    assert [p["file"] for p in run_predict("digits", "mixed")] == [
        os.path.join("mixed", n) for n in ("9.png", "10.png")
    ]
    assert run_predict.err == "Not read in mixed: notes.txt.\n"
    (working_folder / "above").mkdir()
    (working_folder / "mixed").rename(working_folder / "above" / "mixed")
    assert "above holds no picture; it holds mixed" in error_message("digits", "above")
