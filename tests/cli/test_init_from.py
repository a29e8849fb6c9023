"""`--init-from` on data that have changed: the same classes, other rows, other splits, a new class."""

import json

import numpy as np
import pytest

from lagvis.cli import evaluate, train
from lagvis.cli.errors import run_cli
from lagvis.data.datasets import load_dataset
from lagvis.data.split import split_off
from lagvis.storage.checkpoint_file import read_checkpoint
from lagvis.training.seeding import generator

COMMON = ["--device", "cpu", "--no-plots"]
CHECK = "init_from_may_know_held_out_rows"


def write_rows(path, rows, classes="bcd"):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 60, (900, 4, 4)), rng.integers(0, 4, 900)
    x[np.arange(900), y] = 250
    lines = [f"{','.join(map(str, a.ravel()))},{'bcda'[k]}" for a, k in zip(x, y, strict=True) if "bcda"[k] in classes]
    path.write_text("\n".join([",".join([*(f"p{i}" for i in range(16)), "label"]), *lines[:rows], ""]))


@pytest.fixture
def trained(tmp_path, monkeypatch, capsys):
    """A folder with t.csv of 300 rows and the run `first`, trained on them with seed 0."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "t.csv", 300)
    assert run_cli(train.main, ["--data", "t.csv", "-e", "2", "--name", "first", "--quiet", *COMMON]) == 0
    capsys.readouterr()
    return tmp_path


def next_run(capsys, *flags):
    code = run_cli(train.main, ["--data", "t.csv", "--init-from", "first", "--json", "-e", "1", *COMMON, *flags])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else {}, captured.err


def warnings_of(result):
    """Return the warnings but the one that a linear model does as well, which is true of these data."""
    return [warning for warning in result["warnings"] if warning["check"] != "linear_model_as_good"]


def test_train_init_from_same_data_and_split_gives_no_warning(trained, capsys):
    code, result, _ = next_run(capsys)
    assert (code, warnings_of(result)) == (0, [])


def test_train_init_from_same_split_of_rows_with_weight_0_gives_no_warning(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(300, 4)), rng.integers(0, 3, 300), rng.integers(0, 3, 300)
    x[:, 0] += 3 * y
    np.savez("w.npz", x_train=x[:240], y_train=y[:240], w_train=w[:240], x_test=x[240:], y_test=y[240:])
    flags = ["--data", "w.npz", "--validation", "40", "-e", "2", "--json", *COMMON]
    assert run_cli(train.main, [*flags, "--name", "first"]) == 0
    capsys.readouterr()
    assert run_cli(train.main, [*flags, "--init-from", "first"]) == 0
    assert CHECK not in [warning["check"] for warning in json.loads(capsys.readouterr().out)["warnings"]]


@pytest.mark.parametrize("flags", [("--seed", "3"), ("--validation", "60")])
def test_train_init_from_other_split_counts_known_validation_rows(trained, capsys, flags):
    code, result, err = next_run(capsys, *flags)
    (warning,) = warnings_of(result)
    y = load_dataset("t.csv").y_train
    seed, count = (3, 24) if flags[0] == "--seed" else (0, 60)
    then, now = ({*split_off(y, n, generator(s, "validation"))[1]} for s, n in ((0, 24), (seed, count)))
    assert (code, warning["check"]) == (0, CHECK)
    assert warning["figures"] == {"validation_rows": count, "test_rows": 60, "known_validation_rows": len(now - then)}
    assert f"was trained on {len(now - then)} of the {count} validation rows" in err
    assert warnings_of(next_run(capsys, "--seed", "0", "--validation", "24")[1]) == []  # what the warning advises


def test_train_init_from_more_rows_warns_in_every_result(trained, capsys):
    write_rows(trained / "t.csv", 500)
    code, result, err = next_run(capsys, "--name", "second")
    (warning,) = warnings_of(result)
    assert (code, warning["check"]) == (0, CHECK)
    assert "was trained on other data: rows held out now (40 for validation, 100 for the test) may be rows" in err
    assert warnings_of(json.loads((trained / "runs/second/report.json").read_text())) == [warning]
    assert run_cli(train.main, ["--resume", "second", "-e", "2", "--json", "--quiet", *COMMON]) == 0
    assert warnings_of(json.loads(capsys.readouterr().out)) == [warning]
    flags = ["--data", "t.csv", "--init-from", "second", "-e", "1", "--json", "--quiet", "--dry-run"]
    assert run_cli(train.main, [*flags, *COMMON]) == 0
    (inherited,) = json.loads(capsys.readouterr().out)["warnings"]
    assert inherited["check"] == CHECK
    assert "itself began with one that may have learned" in inherited["message"]


def test_train_init_from_new_class_exits_7_with_its_name(trained, capsys):
    write_rows(trained / "t.csv", 500, classes="abcd")
    code, result, err = next_run(capsys, "--name", "second")
    assert (code, result) == (7, {})
    assert "the initial network knows 3 classes (b, c, d), the data have 4: a is new; train without" in err
    assert not (trained / "runs/second").exists()


def test_train_init_from_other_class_of_the_same_count_exits_7(trained, capsys):
    write_rows(trained / "t.csv", 300, classes="abc")
    code, _, err = next_run(capsys)
    assert code == 7
    assert "knows 3 classes (b, c, d), the data have 3: a is new, d is missing;" in err


def test_train_init_from_other_order_of_rows_keeps_classes(trained, capsys):
    lines = (trained / "t.csv").read_text().splitlines()
    (trained / "t.csv").write_text("\n".join([lines[0], *lines[:0:-1], ""]))
    assert next_run(capsys, "--name", "second", "-e", "0")[0] == 0
    first, second = (read_checkpoint(trained / "runs" / name / "last.safetensors") for name in ("first", "second"))
    assert second.model.class_names == first.model.class_names == ("b", "c", "d")
    assert second.state["params"][-1]["W"].tobytes() == first.state["params"][-1]["W"].tobytes()


def test_train_init_from_other_feature_type_names_bytes_and_numbers(trained, capsys):
    text = (trained / "t.csv").read_text().splitlines()
    (trained / "t.csv").write_text("\n".join([text[0].replace("p0", "q0"), *text[1:], ""]))
    assert "t.csv has no column 'p0', the network needs 1; it has the columns q0, p1, p2" in next_run(capsys)[2]
    x, y = np.random.default_rng(0).integers(0, 256, (60, 16), dtype=np.uint8), np.array(["b", "c", "d"] * 20)
    np.savez("bytes.npz", x=x, y=y)
    code, _, err = next_run(capsys, "--data", "bytes.npz")
    assert code == 7
    assert "bytes holds bytes (0..255), the network was trained on real numbers (without --init-from" in err
    assert "x_scaling" not in err


def test_train_init_from_regression_says_what_differs(trained, capsys):
    x = np.random.default_rng(0).normal(size=(60, 16))
    np.savez("numbers.npz", x=x, y=x[:, 0] + x[:, 1])
    code, _, err = next_run(capsys, "--data", "numbers.npz", "--loss", "mse")
    assert code == 7
    assert "the initial network predicts classes, and this run learns numbers; train without --init-from, or" in err


def test_train_init_from_another_regression_loss_keeps_the_predictions(tmp_path, monkeypatch):
    from lagvis.inference.prediction import outputs

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 4))
    np.savez("tail.npz", x=x, y=np.exp(x[:, 0]))
    words = ["--device", "cpu", "--quiet", "--no-plots", "--data", "tail.npz", "--loss"]
    assert run_cli(train.main, [*words, "mse", "-e", "2", "--name", "mean"]) == 0
    assert run_cli(train.main, [*words, "mae", "-e", "0", "--name", "median", "--init-from", "mean"]) == 0
    first, second = (read_checkpoint(tmp_path / "runs" / name / "last.safetensors") for name in ("mean", "median"))
    assert second.model.constant_prediction == "median"
    np.testing.assert_allclose(*(outputs(c.model, c.layers, x) for c in (first, second)), rtol=1e-4, atol=1e-5)


def test_train_init_from_another_huber_delta_has_the_baseline_of_its_own(tmp_path, monkeypatch):
    from lagvis.inference.prediction import outputs

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 4))
    np.savez("tail.npz", x=x, y=np.exp(2.0 * x[:, 0]))
    words = ["--device", "cpu", "--quiet", "--no-plots", "--data", "tail.npz", "--loss", "huber", "--huber-delta"]
    assert run_cli(train.main, [*words, "0.01", "-e", "2", "--name", "small"]) == 0
    assert run_cli(train.main, [*words, "3", "-e", "0", "--name", "drawn"]) == 0
    assert run_cli(train.main, [*words, "3", "-e", "0", "--name", "large", "--init-from", "small"]) == 0
    small, drawn, large = (
        read_checkpoint(tmp_path / "runs" / name / "last.safetensors") for name in ("small", "drawn", "large")
    )
    np.testing.assert_allclose(*(outputs(c.model, c.layers, x) for c in (small, large)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(large.model.y_scaling.mean, drawn.model.y_scaling.mean)


@pytest.mark.parametrize("classes", ["bcd", "abcd"])
def test_resume_and_evaluate_changed_data_name_rows_then_and_now(trained, capsys, classes):
    write_rows(trained / "t.csv", 500, classes)
    facts = "(sha256 of t.csv): 240 training and 60 test rows then, 400 and 100 now"
    new, way = (", a is new", "") if "a" in classes else ("", "train.py --init-from")
    for main, flags in ((train.main, ["--resume", "first", "-e", "3"]), (evaluate.main, ["first"])):
        assert run_cli(main, [*flags, "--device", "cpu"]) == 3
        err = capsys.readouterr().err
        assert facts + new + "; restore them" in err
        assert ("train.py --init-from" in err) == bool(way)
    assert "give rows that it has not learned from with --data" in err


def test_resume_with_a_missing_network_to_init_from_exits_2(trained, capsys):
    assert run_cli(train.main, ["--resume", "first", "--init-from", "none", "--device", "cpu"]) == 2
    assert "leave out --name, --recipe and --init-from" in capsys.readouterr().err


def test_train_init_from_other_scale_names_it_as_the_suspect(trained, capsys):
    lines = (trained / "t.csv").read_text().splitlines()
    scaled = [",".join([*(f"{int(v) / 255:.6f}" for v in line.split(",")[:-1]), line[-1]]) for line in lines[1:]]
    (trained / "t.csv").write_text("\n".join([lines[0], *scaled, ""]))
    code, result, err = next_run(capsys)
    warnings = {warning["check"]: warning for warning in result["warnings"]}
    assert code == 0
    assert "input_scale" in warnings, err
    assert warnings["no_better_than_baseline"]["figures"]["suspect"] == "input_scale"
