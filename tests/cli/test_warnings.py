"""Numbers that flatter are reported by `train.py` and `python -m data`, with the same sentences, for every reader."""

import json

import numpy as np
import pytest
from PIL import Image

from lagvis.cli import data, train
from lagvis.cli.errors import run_cli
from tests.factories import idx_bytes

ROWS, TEST_ROWS, COPIES = 160, 40, 7


def flattering_rows():
    """Return pictures (N, 4, 5) of noise with labels, for training and test: pixel 20 is the label, 7 test rows copies.

    Pixel 20 is in row 4 and column 5.
    """
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 200, (ROWS + TEST_ROWS, 4, 5), dtype=np.uint8), np.arange(ROWS + TEST_ROWS) % 2
    x[:, 3, 4] = 10 + 90 * y
    x[ROWS : ROWS + COPIES] = x[:COPIES]
    y[ROWS : ROWS + COPIES] = y[:COPIES]
    return x[:ROWS], y[:ROWS], x[ROWS:], y[ROWS:]


def write_npz(folder, parts):
    np.savez(folder / "d.npz", **dict(zip(("x_train", "y_train", "x_test", "y_test"), parts, strict=True)))
    return folder / "d.npz"


def write_idx(folder, parts):
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    for name, array in zip(names, parts, strict=True):
        (folder / f"{name}-ubyte").write_bytes(idx_bytes(array))
    return folder


def write_tables(folder, parts):
    for name, x, y in (("train", *parts[:2]), ("test", *parts[2:])):
        table = np.column_stack([x.reshape(len(x), -1), y])
        header = ",".join([*(f"p{i}" for i in range(1, 21)), "label"])
        np.savetxt(folder / f"{name}.csv", table, fmt="%d", delimiter=",", header=header, comments="")
    return folder


def write_pictures(folder, parts):
    for part, x, y in (("train", *parts[:2]), ("test", *parts[2:])):
        for i, (picture, label) in enumerate(zip(x, y, strict=True)):
            (folder / part / f"class {label}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / part / f"class {label}" / f"{i}.png")
    return folder


def warnings_of(capsys, main, *flags):
    assert run_cli(main, [*map(str, flags), "--json"]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out)["warnings"], captured.err


@pytest.mark.parametrize("write", [write_npz, write_idx, write_tables, write_pictures])
def test_train_reports_copies_and_leaks_of_every_reader_as_the_data_command(capsys, tmp_path, write):
    path = write(tmp_path, flattering_rows())
    warnings, err = warnings_of(capsys, train.main, "--data", path, "--device", "cpu", "--dry-run")
    assert [warning["check"] for warning in warnings] == ["shared_rows", "leaking_feature"]
    assert warnings[0]["figures"] == {"shared_rows": COPIES, "test_rows": TEST_ROWS, "share": COPIES / TEST_ROWS}
    (leak,) = warnings[1]["figures"]["features"]
    assert leak["feature"] == 20
    assert leak["name"] == ("column 20 ('p20')" if write is write_tables else "pixel 20 (row 4, column 5)")
    assert all(err.splitlines().count(warning["message"]) == 1 for warning in warnings)
    assert warnings_of(capsys, data.main, path)[0] == warnings
    assert warnings_of(capsys, train.main, "--data", path, "--device", "cpu", "--dry-run", "--quiet") == (warnings, "")


@pytest.mark.parametrize("order", ["ascending", "shuffled"])
def test_train_row_numbers_are_in_json_and_reports(capsys, tmp_path, order):
    """Three classes of noise with a row number: 100 % would be learned from the number alone."""
    rng = np.random.default_rng(7)
    x, y = np.column_stack([np.arange(300), rng.normal(size=(300, 4))]), np.repeat(range(3), 100)
    rows = np.arange(300) if order == "ascending" else rng.permutation(300)
    np.savez(tmp_path / "d.npz", x=x[rows], y=y[rows])
    flags = ["--data", tmp_path / "d.npz", "--device", "cpu", "-e", "1", "-o", tmp_path, "--name", "r", "--quiet"]
    warnings, _ = warnings_of(capsys, train.main, *flags)
    (warning,) = [warning for warning in warnings if warning["check"] == "identity_column"]
    assert warning["message"].startswith("Feature 1 holds a different whole number in every row")
    order_found = "ascending" if order == "ascending" else "none"
    assert [(f["feature"], f["order"]) for f in warning["figures"]["features"]] == [(1, order_found)]
    for name in ("report.md", "report.html", "report.json"):
        assert "holds a different whole number in every row" in (tmp_path / "r" / name).read_text()


def test_train_row_numbers_of_a_table_are_left_out_and_said(capsys, tmp_path):
    rng = np.random.default_rng(7)
    table = np.column_stack([rng.permutation(300), rng.normal(size=(300, 4)), np.repeat(range(3), 100)])
    header = "Unnamed: 0,a,b,c,d,label"
    np.savetxt(tmp_path / "t.csv", table, fmt="%.6g", delimiter=",", header=header, comments="")
    warnings, err = warnings_of(capsys, train.main, "--data", tmp_path / "t.csv", "-e", "1", "-o", tmp_path)
    assert "identity_column" not in {warning["check"] for warning in warnings}
    assert "  1 Unnamed: 0  holds another whole number in every row" in err.splitlines()


@pytest.mark.parametrize(
    ("write", "remedy"), [("table", "Use --feature-type numbers."), ("pictures", "Multiply them by 255,")]
)
def test_train_pictures_of_0_and_1_are_named_and_the_remedy_works(capsys, tmp_path, write, remedy):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 2, (400, 64), dtype=np.uint8), np.arange(400) % 3
    for k in range(3):
        x[y == k, 20 * k : 20 * k + 12] |= rng.integers(0, 2, (np.sum(y == k), 12), dtype=np.uint8)
    path = tmp_path / f"d.{write}"

    def save(factor):
        if write == "pictures":
            for i, (pixels, k) in enumerate(zip(x.reshape(-1, 8, 8) * np.uint8(factor), y, strict=True)):
                (path / str(k)).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path / str(k) / f"{i}.png")
        else:
            header = ",".join([*(f"p{i}" for i in range(64)), "label"])
            np.savetxt(path, np.column_stack([x, y]), fmt="%d", delimiter=",", header=header, comments="")

    save(1)
    flags = ["--data", path, "--device", "cpu", "-e", "5", "-b", "40", "-o", tmp_path, "--quiet", "--no-plots"]
    pixels = ["--feature-type", "pixels"] if write == "table" else []
    warnings, _ = warnings_of(capsys, train.main, *flags, *pixels)
    by_check = {warning["check"]: warning for warning in warnings}
    assert remedy in by_check["dark_pixels"]["message"]
    assert by_check["no_better_than_baseline"]["figures"]["suspect"] == "dark_pixels"
    if write == "pictures":
        save(255)
    else:
        flags += ["--feature-type", "numbers"]
    assert {w["check"] for w in warnings_of(capsys, train.main, *flags)[0]} <= {"linear_model_as_good"}
