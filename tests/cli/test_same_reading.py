"""The same file is read alike by train.py, evaluate.py, predict.py and `python -m data`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lagvis.cli import data, evaluate, predict, train
from lagvis.cli.errors import run_cli
from lagvis.data.datasets import load_dataset
from tests.factories import idx_bytes

QUICK = ("--device", "cpu", "--quiet", "--no-plots", "--no-compile", "--validation", "0", "-b", "20", "--hidden", "16")


def run_json(capsys, command, *words, code=0):
    """Run a command in this process; return its JSON result and its stderr."""
    capsys.readouterr()
    assert run_cli(command.main, [*map(str, words), "--json"]) == code
    out, err = capsys.readouterr()
    return json.loads(out), err


def lying_pictures(rows, seed):
    """Return pictures (N, 28, 28) of a bright bar across, stored transposed, and the number of the bar, 0..3."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, rows)
    x = rng.integers(0, 60, (rows, 28, 28))
    for i, label in enumerate(y):
        x[i, 7 * label : 7 * label + 7] = 250
    return x.transpose(0, 2, 1).astype(np.uint8), y.astype(np.uint8)


def write_idx(folder):
    folder.mkdir()
    for part, seed in (("train", 1), ("test", 2)):
        x, y = lying_pictures(200, seed)
        (folder / f"emnist-digits-{part}-images-idx3-ubyte").write_bytes(idx_bytes(x))
        (folder / f"emnist-digits-{part}-labels-idx1-ubyte").write_bytes(idx_bytes(y))
    return folder, folder / "emnist-digits-test-images-idx3-ubyte"


def write_tables(folder):
    folder.mkdir()
    for part, seed in (("train", 1), ("test", 2)):
        x, y = lying_pictures(200, seed)
        np.savetxt(folder / f"emnist-{part}.csv", np.c_[y, x.reshape(len(x), -1)], fmt="%d", delimiter=",")
    return folder, folder / "emnist-test.csv"


def write_npz(folder):
    folder.mkdir()
    (x, y), (x_test, y_test) = lying_pictures(200, 1), lying_pictures(200, 2)
    np.savez(folder / "emnist.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return folder / "emnist.npz", folder / "emnist.npz"


@pytest.mark.parametrize("write", [write_idx, write_tables, write_npz])
def test_emnist_same_accuracy_from_every_command(working_folder, capsys, write):
    path, test_file = write(working_folder / "d")
    trained, _ = run_json(capsys, train, *QUICK, "--data", path, "-e", 10, "--name", "r")
    evaluated, err = run_json(capsys, evaluate, "r", "--device", "cpu")
    assert "turned upright" in err
    predicted, err = run_json(capsys, predict, "r", test_file)
    assert "turned upright" in err
    answers = [row["answer"] for row in predicted["predictions"]]
    accuracy = np.mean([answer == str(label) for answer, label in zip(answers, lying_pictures(200, 2)[1], strict=True)])
    assert trained["test_accuracy"] == evaluated["test_accuracy"] == accuracy == 1.0
    facts, _ = run_json(capsys, data, path)
    assert any("turned upright" in notice for notice in facts["notices"])
    # A picture file stands upright already.
    for label in range(4):
        x, y = lying_pictures(50, 3)
        Image.fromarray(x[y == label][0].T).save("upright.png")
        predicted, _ = run_json(capsys, predict, "r", "upright.png")
        assert predicted["predictions"][0]["answer"] == str(label)


def test_transpose_of_a_run_is_kept_for_files_of_other_names(working_folder, capsys):
    x, y = lying_pictures(200, 1)
    np.savez("a.npz", x_train=x, y_train=y, x_test=x[:50], y_test=y[:50])
    np.savez("b.npz", x=x, y=y)
    run_json(capsys, train, *QUICK, "--data", "a.npz", "-e", 10, "--transpose", "yes", "--name", "r")
    assert 'transpose = "yes"' in (working_folder / "runs/r/recipe.toml").read_text()
    for name in ("a.npz", "b.npz"):
        evaluated, err = run_json(capsys, evaluate, "r", "--device", "cpu", "--data", name)
        assert evaluated["test_accuracy"] == 1.0
        assert f"{name}: the pictures are turned upright" in err
    evaluated, _ = run_json(capsys, evaluate, "r", "--device", "cpu", "--data", "b.npz", "--transpose", "no")
    assert evaluated["test_accuracy"] < 0.5


def test_emnist_renamed_is_read_as_when_the_run_began(working_folder, capsys):
    path, _ = write_npz(working_folder / "d")
    words = [*QUICK, "--data", path, "-e", 10, "--name", "r"]
    expected, _ = run_json(capsys, train, *words)
    moved = path.rename("letters.npz")
    evaluated, _ = run_json(capsys, evaluate, "r", "--device", "cpu", "--data", moved)
    assert evaluated["test_accuracy"] == expected["test_accuracy"] == 1.0
    resumed, _ = run_json(
        capsys, train, "--device", "cpu", "--no-plots", "--quiet", "--resume", "r", "--data", moved, "-e", 11
    )
    assert resumed["test_accuracy"] == 1.0


def test_train_only_row_of_a_class_is_learned_and_reported(working_folder, capsys):
    rng = np.random.default_rng(4)
    y = np.append(np.repeat(np.arange(4), 50), 9)
    x = rng.integers(0, 60, (201, 6, 6)).astype(np.uint8)
    x[np.arange(201), np.minimum(y, 5)] = 250
    np.savez("lone.npz", x_train=x, y_train=y, x_test=x[:200:2], y_test=y[:200:2])
    np.savez("one.npz", x=x[-1:])
    for seed in range(3):
        words = ["--data", "lone.npz", "-b", 20, "-e", 40, "--hidden", 16, "--seed", seed, "--name", f"r{seed}"]
        result, _ = run_json(capsys, train, "--device", "cpu", "--no-plots", "--no-compile", *words)
        checks = {warning["check"]: warning for warning in result["warnings"]}
        assert checks["classes_without_test_rows"]["figures"] == {"classes": ["9"]}
        predicted, _ = run_json(capsys, predict, f"r{seed}", "one.npz")
        assert predicted["predictions"][0]["answer"] == "9"


def write_lines(path, header, rows):
    path.write_text(
        "\n".join(([",".join(header)] if header else []) + [",".join(map(str, row)) for row in rows]) + "\n"
    )


@pytest.fixture
def tables(working_folder):
    """Write tables of four features p, q, r, s and a label last, 1 where p is large."""
    rng = np.random.default_rng(6)
    features = rng.normal(0, 1, (120, 4)).round(3) + 7
    y = (features[:, 0] > 7).astype(int)
    header, rows = ["p", "q", "r", "s", "art"], [[*x, label] for x, label in zip(features.tolist(), y, strict=True)]
    order = [3, 4, 0, 2, 1]
    write_lines(working_folder / "plain.csv", None, rows)
    write_lines(working_folder / "header.csv", header, rows)
    write_lines(working_folder / "reordered.csv", [header[c] for c in order], [[row[c] for c in order] for row in rows])
    write_lines(working_folder / "unlabelled.csv", None, [row[:4] for row in rows])
    write_lines(working_folder / "unlabelled_header.csv", header[:4], [row[:4] for row in rows])
    write_lines(working_folder / "named_first.csv", ["label", *header[:4]], [[row[4], *row[:4]] for row in rows])
    return working_folder


@pytest.mark.parametrize(
    ("trained_on", "label", "others"),
    [
        ("plain.csv", "5", ["plain.csv", "header.csv"]),
        ("plain.csv", "last", ["plain.csv", "header.csv"]),
        ("header.csv", "art", ["plain.csv", "header.csv", "reordered.csv"]),
        ("header.csv", "5", ["plain.csv", "header.csv", "reordered.csv"]),
    ],
)
def test_evaluate_and_predict_use_the_label_column_of_the_run(tables, capsys, trained_on, label, others):
    run_json(capsys, train, *QUICK, "--data", trained_on, "--label", label, "-e", 40, "--name", "r")
    expected = None
    for name in others:
        (tables / "other.csv").write_bytes((tables / name).read_bytes() + b"\n")  # not the run's own bytes
        evaluated, err = run_json(capsys, evaluate, "r", "--device", "cpu", "--data", "other.csv")
        assert evaluated["rows"] == 120
        assert evaluated["test_accuracy"] > 0.95
        assert f"the label is column {2 if name == 'reordered.csv' else 5}" in err
        predicted, _ = run_json(capsys, predict, "r", "other.csv")
        rows = predicted["predictions"]
        assert np.mean([row["answer"] == row["label"] for row in rows]) == evaluated["test_accuracy"]
        expected = expected or evaluated["test_accuracy"]
        assert evaluated["test_accuracy"] == expected


def error_of(capsys, command, *words):
    capsys.readouterr()
    assert run_cli(command.main, [*map(str, words)]) == 3
    return capsys.readouterr().err.splitlines()[-1]


def test_evaluate_unlabelled_table_is_reported_as_one(tables, capsys):
    for name, label in (("plain.csv", ""), ("header.csv", " art")):
        run_json(capsys, train, *QUICK, "--data", name, "--label", "5", "-e", 1, "--name", name)
        for unlabelled in ("unlabelled.csv", "unlabelled_header.csv"):
            message = error_of(capsys, evaluate, name, "--device", "cpu", "--data", unlabelled)
            assert message == (
                f"error: {tables / unlabelled} has 4 columns, the features alone; expected 5 with the label{label}: "
                "add it, or predict rows without labels with predict.py"
            )
            predicted, _ = run_json(capsys, predict, name, unlabelled)
            assert len(predicted["predictions"]) == 120
    np.savez("unlabelled.npz", x=np.zeros((5, 4)))
    assert "predict.py takes rows without labels" in error_of(capsys, evaluate, "plain.csv", "--data", "unlabelled.npz")


def test_evaluate_other_column_with_the_name_of_a_label_is_a_question(tables, capsys):
    run_json(capsys, train, *QUICK, "--data", "plain.csv", "--label", "5", "-e", 40, "--name", "r")
    for command, words in ((evaluate, ["--data", "named_first.csv"]), (predict, ["named_first.csv"])):
        assert "choose with --label 5 or --label 1" in error_of(capsys, command, "r", *words)
    evaluated, _ = run_json(capsys, evaluate, "r", "--data", "named_first.csv", "--label", "1")
    assert evaluated["test_accuracy"] > 0.95
    message = error_of(capsys, evaluate, "r", "--data", "named_first.csv", "--label", "5")
    assert "column 5 ('s') is taken as the label" in message


@pytest.mark.parametrize(("name", "label"), [("a.csv", "3,6"), ("b.csv", "u,v")])
def test_evaluate_two_targets_of_the_run(working_folder, capsys, name, label):
    rng = np.random.default_rng(2)
    x = rng.normal(0, 1, (120, 4))
    rows = np.c_[x[:, :2], x[:, 0] + x[:, 1], x[:, 2:], 100 * x[:, 2]].round(3)
    header = ["a", "b", "u", "c", "d", "v"]
    write_lines(working_folder / "a.csv", None, rows)
    write_lines(working_folder / "b.csv", header, rows)
    write_lines(working_folder / "c.csv", header[::-1], rows[:, ::-1])
    write_lines(working_folder / "features.csv", None, x)
    run_json(capsys, train, *QUICK, "--loss", "mse", "--data", name, "--label", label, "-e", 30, "--name", "r")
    for other in ("a.csv", "b.csv", "c.csv"):
        if (name, other) == ("a.csv", "c.csv"):  # without names in training, the order is all there is
            continue
        evaluated, _ = run_json(capsys, evaluate, "r", "--device", "cpu", "--data", other)
        assert evaluated["test_loss"] < 0.2
    message = error_of(capsys, evaluate, "r", "--data", "features.csv")
    assert "has 4 columns, the features alone; expected 6 with the 2 targets" in message


def test_renamed_emnist_is_reported_by_evaluate_and_predict(runs, working_folder, capsys):
    run, mnist = runs / "digits", load_dataset("mnist")
    x, y = mnist.x_test[:200].reshape(-1, 28, 28).swapaxes(1, 2), mnist.y_test[:200]
    np.savez("lying.npz", x=x, y=y)
    np.savez("emnist_upright.npz", x=x.swapaxes(1, 2), y=y)
    np.savez("upright.npz", x=x.swapaxes(1, 2), y=y)
    for name, option in (("lying.npz", "--transpose yes"), ("emnist_upright.npz", "--transpose no")):
        for command, words in ((evaluate, ["--device", "cpu", "--data", name]), (predict, [name])):
            result, _ = run_json(capsys, command, run, *words)
            (warning,) = [found for found in result["warnings"] if found["check"] == "transposed_pictures"]
            assert option in warning["message"]
            result, _ = run_json(capsys, command, run, *words, *option.split())
            assert "transposed_pictures" not in str(result["warnings"])
    for command, words in ((evaluate, ["--device", "cpu", "--data", "upright.npz"]), (predict, ["upright.npz"])):
        assert "transposed_pictures" not in str(run_json(capsys, command, run, *words)[0]["warnings"])


def test_evaluate_folder_of_pictures_is_prepared_as_predict_prepares(runs, working_folder, capsys):
    mnist = load_dataset("mnist")
    for i, (x, label) in enumerate(zip(mnist.x_test[:40].reshape(-1, 28, 28), mnist.y_test[:40], strict=True)):
        folder = working_folder / "drawn" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - x).resize((90 + i, 90 + i)).save(folder / f"{i}.png")
    evaluated, err = run_json(capsys, evaluate, runs / "digits", "--device", "cpu", "--data", "drawn")
    assert "drawn: the pictures are prepared for the network, as predict.py does." in err
    assert evaluated["rows"] == 40
    predicted, _ = run_json(capsys, predict, runs / "digits", *(working_folder / "drawn").iterdir())
    right = [row["answer"] == row["file"].split("/")[-2] for row in predicted["predictions"]]
    assert evaluated["test_accuracy"] == np.mean(right) > 0.9


def test_evaluate_folder_of_pictures_of_the_run_is_read_as_in_training(working_folder, capsys):
    rng = np.random.default_rng(1)
    for label in range(2):
        (working_folder / "d" / str(label)).mkdir(parents=True)
        for i in range(30):
            picture = rng.integers(0, 60, (6, 6)).astype(np.uint8)
            picture[3 * label] = 250
            Image.fromarray(picture).save(working_folder / "d" / str(label) / f"{i}.png")
    trained, _ = run_json(capsys, train, *QUICK, "--data", "d", "-e", 20, "--name", "r")
    for words in ((), ("--data", "d")):
        evaluated, err = run_json(capsys, evaluate, "r", "--device", "cpu", *words)
        assert evaluated["test_loss"] == trained["test_loss"]
        assert "prepared" not in err


def test_evaluate_file_of_a_single_row_judges_that_row(working_folder, capsys):
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 60)
    x = rng.integers(0, 60, (60, 4, 4)).astype(np.uint8)
    x[np.arange(60), y] = 250
    np.savez("train.npz", x=x, y=y)
    assert train.main([*QUICK, "--data", "train.npz", "-e", "20", "--name", "r"]) == 0
    np.savez("one.npz", x=x[:1], y=y[:1])
    Path("one.csv").write_text(",".join(map(str, [*x[0].ravel(), y[0]])) + "\n")
    Path("folder", str(y[0])).mkdir(parents=True)
    Image.fromarray(x[0]).save(Path("folder", str(y[0]), "one.png"))
    Path("idx").mkdir()
    Path("idx", "train-images-idx3-ubyte").write_bytes(idx_bytes(x[:1]))
    Path("idx", "train-labels-idx1-ubyte").write_bytes(idx_bytes(y[:1].astype(np.uint8)))
    for path, label in (("one.npz", ()), ("one.csv", ("--label", "17")), ("folder", ()), ("idx", ())):
        result, _ = run_json(capsys, evaluate, "r", "--device", "cpu", "--data", path, *label)
        assert (result["rows"], result["test_accuracy"]) == (1, 1.0), path
    assert run_cli(train.main, [*QUICK, "--data", "one.npz"]) == 3
    assert "single row" in capsys.readouterr().err
