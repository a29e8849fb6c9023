"""Labels of which a row may have several (binary-cross-entropy), from files to results, predictions and exports."""

import json
import shutil

import numpy as np
import pytest
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    hamming_loss,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from lagvis.cli import data, evaluate, export, predict, train
from lagvis.cli.errors import run_cli
from lagvis.storage.checkpoint_file import read_checkpoint

pl = pytest.importorskip("polars", reason="polars is not installed")

NAMES = ("red", "green", "blue")
LOSS = ("--loss", "binary-cross-entropy")
QUICK = ("--device", "cpu", "--quiet", "--no-plots", *LOSS)
TABLE = ("--data", "rows.csv", "--label", "red,green,blue")


def made(rows=700):
    """Return features (N, 8) and labels (N, 3) of 0 and 1."""
    return make_multilabel_classification(rows, 8, n_classes=3, n_labels=1, random_state=4)


def write_rows(path, x, y):
    """Write a table with one column of labels as 0 and 1, one as no and yes, and one as false and true."""
    words = [("0", "1"), ("no", "Yes"), ("false", "true")]
    lines = [
        ",".join([*map(str, row), *(words[k][v] for k, v in enumerate(labels))])
        for row, labels in zip(x, y, strict=True)
    ]
    path.write_text("\n".join([",".join([*(f"f{i}" for i in range(x.shape[1])), *NAMES]), *lines, ""]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels")
    x, y = made()
    write_rows(path / "rows.csv", x[:500], y[:500])
    write_rows(path / "new.csv", x[500:], y[500:])
    np.savez(path / "arrays.npz", x=x, y=y, target_names=NAMES)
    np.savez(path / "new.npz", x_test=x[500:], y_test=y[500:])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        assert (
            run_cli(train.main, [*QUICK, *TABLE, "-e", "20", "-b", "50", "--dtype", "float64", "--name", "table"]) == 0
        )
        assert run_cli(train.main, [*QUICK, "--data", "arrays.npz", "-e", "5", "--name", "arrays"]) == 0
    return path


@pytest.fixture
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def printed(capsys, main, *words):
    """Run a command and return what it printed as JSON."""
    capsys.readouterr()
    assert run_cli(main, [*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_evaluate_labels_figures_are_those_of_scikit_learn(inside, capsys):
    result = printed(capsys, evaluate.main, "table", "--device", "cpu", "--data", "new.csv")
    rows = printed(capsys, predict.main, "table", "new.csv")["predictions"]
    p = np.array([list(row["probabilities"].values()) for row in rows])
    answers, (_, y) = (p > 0.5).astype(int), made()
    y = y[500:]
    assert result["labels"] == list(NAMES)
    assert result["test_accuracy"] == pytest.approx(1 - hamming_loss(y, answers))
    assert result["test_exact_match"] == pytest.approx(accuracy_score(y, answers))
    assert result["macro_f1"] == pytest.approx(f1_score(y, answers, average="macro"))
    assert result["test_loss"] == pytest.approx(np.mean([log_loss(y[:, k], p[:, k]) for k in range(3)]))
    found = {
        key: [figures[key] for figures in result["label_metrics"].values()] for key in result["label_metrics"]["red"]
    }
    assert found["rows"] == y.sum(axis=0).tolist()
    assert found["predicted_rows"] == answers.sum(axis=0).tolist()
    np.testing.assert_allclose(found["accuracy"], (y == answers).mean(axis=0))
    np.testing.assert_allclose(found["precision"], precision_score(y, answers, average=None))
    np.testing.assert_allclose(found["recall"], recall_score(y, answers, average=None))
    np.testing.assert_allclose(found["f1"], f1_score(y, answers, average=None))
    np.testing.assert_allclose(found["roc_auc"], roc_auc_score(y, p, average=None))
    np.testing.assert_allclose(found["average_precision"], average_precision_score(y, p, average=None))
    share = np.maximum(y.mean(axis=0), 1 - y.mean(axis=0))
    np.testing.assert_allclose(found["commonest_share"], share)
    assert result["commonest_share"] == pytest.approx(share.mean())
    assert result["test_accuracy"] > result["commonest_share"] + 0.1
    assert (result["classes"], result["confusion"], result["targets"], result["roc_auc"]) == (None, None, None, None)


def test_evaluate_labels_of_arrays_and_text(inside, capsys):
    result = printed(capsys, evaluate.main, "arrays", "--device", "cpu", "--data", "new.npz")
    assert result["labels"] == list(NAMES)
    assert run_cli(evaluate.main, ["table", "--device", "cpu", "--data", "new.csv"]) == 0
    shown = capsys.readouterr()
    assert "all labels of a row right: " in shown.out
    assert [line.split()[0] for line in shown.out.splitlines()[-3:]] == list(NAMES)
    assert "green: yes counts as 1 and no as 0." in shown.err


def test_train_labels_says_what_counts_as_1_before_the_first_step(inside, capsys):
    assert run_cli(train.main, ["--device", "cpu", "--no-plots", *LOSS, *TABLE, "-e", "1", "--name", "said"]) == 0
    err = capsys.readouterr().err
    assert err.index("blue: true counts as 1 and false as 0.") < err.index("epoch 1/1")


def test_predict_labels_table_json_and_file(inside, capsys):
    rows = printed(capsys, predict.main, "table", "new.csv")["predictions"]
    first = rows[0]
    assert (first["answer"], first["probability"], first["values"]) == (None, None, None)
    assert first["labels"] == [name for name, p in first["probabilities"].items() if p > 0.5]
    _, y = made()
    assert [list(row["label"].values()) for row in rows] == y[500:].tolist()
    assert run_cli(predict.main, ["table", "new.csv", "-o", "answers.csv", "--proba"]) == 0
    written = pl.read_csv("answers.csv")
    assert written.columns == ["row", *NAMES, *(f"{name} probability" for name in NAMES)]
    p = written.select(f"{name} probability" for name in NAMES).to_numpy()
    assert np.array_equal(written.select(NAMES).to_numpy(), (p > 0.5).astype(int))
    np.testing.assert_allclose(p, [list(row["probabilities"].values()) for row in rows], rtol=1e-12)
    capsys.readouterr()
    assert run_cli(predict.main, ["table", "new.csv"]) == 0
    head, line, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["file", "labels", *NAMES, "true"]
    assert line.count("%") == 3


@pytest.mark.parametrize(("run", "inputs"), [("arrays", "matrix"), ("table", "columns")])
def test_export_labels_onnx_has_sigmoid_probabilities_and_labels(inside, capsys, run, inputs):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    assert run_cli(export.main, [run, "--format", "onnx", "--onnx-inputs", inputs, "-o", f"{run}.onnx"]) == 0
    session = onnxruntime.InferenceSession(f"{run}.onnx", providers=["CPUExecutionProvider"])
    x = made()[0][500:]
    kinds = {i.name: np.float32 if i.type == "tensor(float)" else np.float64 for i in session.get_inputs()}
    feeds = {"x": x} if len(kinds) == 1 else {f"f{i}": x[:, i : i + 1] for i in range(8)}
    p, labels = session.run(["probabilities", "label"], {name: a.astype(kinds[name]) for name, a in feeds.items()})
    file = "new.npz" if run == "arrays" else "new.csv"
    rows = printed(capsys, predict.main, run, file)["predictions"]
    np.testing.assert_allclose(p, [list(row["probabilities"].values()) for row in rows], rtol=1e-4, atol=1e-6)
    assert labels.dtype == np.int64
    assert labels.tolist() == (p > 0.5).astype(int).tolist()
    meaning = session.get_modelmeta().custom_metadata_map
    assert json.loads(meaning["class_names"]) == list(NAMES)
    assert json.loads(meaning["multi_label"]) is True


@pytest.mark.parametrize(("form", "says"), [("html", "a probability of its own"), ("paper", "may have several")])
def test_export_labels_other_formats_are_refused_with_one_that_works(inside, capsys, form, says):
    assert run_cli(export.main, ["table", "--format", form]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "onnx" in err
    assert run_cli(export.main, ["table", "--format", "npz", "-o", "t.npz"]) == 0
    with np.load("t.npz") as arrays:
        meaning = json.loads(str(arrays["lagvis"]))
    assert (meaning["loss"], meaning["class_names"]) == ("binary-cross-entropy", list(NAMES))


def test_resume_labels_ends_with_the_bytes_of_an_unbroken_run(inside, capsys):
    words = [*QUICK, *TABLE, "-b", "50", "-e", "4", "--hidden", "8"]
    assert run_cli(train.main, [*words, "--name", "whole"]) == 0
    assert run_cli(train.main, [*words, "--name", "broken", "--stop-after", "11"]) == 0
    assert read_checkpoint(inside / "runs" / "broken" / "last.safetensors").totals
    assert run_cli(train.main, ["--resume", "broken", "--device", "cpu", "--quiet", "--no-plots"]) == 0
    whole, broken = ((inside / "runs" / name / "last.safetensors").read_bytes() for name in ("whole", "broken"))
    assert whole == broken
    capsys.readouterr()
    assert run_cli(train.main, ["--resume", "broken", "--device", "cpu", "--no-plots"]) == 0  # it is finished
    assert "all labels of a row right: " in capsys.readouterr().out


def test_init_from_labels_starts_from_them_and_refuses_classes(inside, capsys):
    assert run_cli(train.main, [*QUICK, *TABLE, "-e", "0", "--name", "next", "--init-from", "table"]) == 0
    words = ["--device", "cpu", "--quiet", "--no-plots", "--data", "rows.csv", "--label", "red", "--drop", "green,blue"]
    assert run_cli(train.main, [*words, "--init-from", "table"]) == 7
    err = capsys.readouterr().err
    assert "predicts labels of which a row may have several, and this run learns classes" in err
    assert "--loss binary-cross-entropy" in err


def test_train_one_column_of_two_values_is_binary_with_one_output(inside, capsys):
    words = ["--data", "rows.csv", "--label", "green", "--drop", "red,blue", "-e", "10", "-b", "50"]
    result = printed(capsys, train.main, *QUICK, *words, "--name", "one")
    assert result["network"].endswith("-1")
    assert result["labels"] == ["green"]
    assert result["test_exact_match"] == result["test_accuracy"]
    assert run_cli(evaluate.main, ["one", "--device", "cpu", "--data", "new.csv"]) == 0
    assert "F1 " in capsys.readouterr().out


def test_train_labels_report_has_a_table_of_labels_and_no_confusion_matrix(inside, capsys):
    words = ["--device", "cpu", "--quiet", *LOSS, *TABLE, "-e", "2", "--hidden", "8", "--name", "page"]
    assert run_cli(train.main, words) == 0
    run = inside / "runs" / "page"
    text = (run / "report.md").read_text()
    assert "## Labels" in text
    assert all(f"| {name} | " in text for name in NAMES)
    assert not (run / "plots" / "confusion.png").exists()
    assert (run / "plots" / "calibration.png").exists()


def test_train_one_hot_rows_as_labels_says_so(inside, capsys):
    x, _ = made(90)
    np.savez("hot.npz", x=x, y=np.eye(3, dtype=int)[np.arange(90) % 3])
    assert run_cli(train.main, ["--device", "cpu", "--no-plots", *LOSS, "--data", "hot.npz", "-e", "1"]) == 0
    assert "--loss cross-entropy learns them as classes" in capsys.readouterr().err


def test_data_labels_counts_the_rows_of_each(inside, capsys):
    facts = printed(capsys, data.main, "rows.csv", "--label", "red,green,blue", *LOSS)
    assert facts["classes"] is None
    assert facts["labels"]["green"]["training"] + facts["labels"]["green"]["test"] == made()[1][:500, 1].sum()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--label", "red,f0", *LOSS], 3, "leave them out of the labels, or predict numbers with --loss mse"),
        (["--label", "f0", *LOSS], 3, "learn them as classes with --loss cross-entropy"),
        (["--label", "red,blue"], 3, "--label red,blue --loss binary-cross-entropy"),
        (["--label", "red,green"], 3, "--label red,green --loss binary-cross-entropy"),
        (["--label", "red,same", *LOSS], 3, "has the label same, so that there is nothing to learn of it; expected "
         "rows with and rows without it, or leave it out with --label red"),
        (["--label", "red,animal", *LOSS], 3, "has the value cat for the label animal, whose values are cat, dog"),
        (["--label", "red,gap", *LOSS], 3, "column 14 ('gap') is missing, and other labels of the row are not"),
        (["--label", "red,blue", *LOSS, "--class-weights", "balanced"], 2, "set class_weights to none"),
    ],
)  # fmt: skip
def test_train_bad_labels_have_a_sentence_with_a_remedy(inside, capsys, words, code, says):
    table = pl.read_csv("rows.csv").with_row_index("number").with_columns(
        pl.lit(0).alias("same"),
        pl.when(pl.col("number") % 2 == 0).then(pl.lit("cat")).otherwise(pl.lit("dog")).alias("animal"),
        pl.when(pl.col("number") == 7).then(None).otherwise(pl.col("number") % 2).alias("gap"),
    )  # fmt: skip
    table.drop("number").with_columns(pl.col("green").str.to_lowercase()).write_csv("bad.csv")
    assert run_cli(train.main, ["--device", "cpu", "--quiet", "--no-plots", "--data", "bad.csv", *words]) == code
    assert says in capsys.readouterr().err


def test_train_several_columns_with_cross_entropy_remedy_works(inside, capsys):
    words = ["--device", "cpu", "--quiet", "--no-plots", "--data", "rows.csv", "-e", "1"]
    assert run_cli(train.main, [*words, "--label", "red,blue", "--loss", "binary-cross-entropy"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_train_labels_on_another_backend_equals_numpy(inside, capsys, backend):
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    words = [*QUICK, *TABLE, "-e", "2", "--dtype", "float64", "--hidden", "8"]
    results = [printed(capsys, train.main, *words, "--backend", name) for name in ("numpy", backend)]
    for key in ("train_loss", "test_loss", "test_accuracy", "test_exact_match", "label_metrics"):
        assert results[0][key] == (pytest.approx(results[1][key]) if key != "label_metrics" else results[1][key])


def test_finished_run_of_labels_keeps_its_report(inside, capsys):
    shutil.copytree(inside / "runs" / "table", inside / "runs" / "copy", dirs_exist_ok=True)
    first = json.loads((inside / "runs" / "copy" / "report.json").read_text())
    result = printed(capsys, train.main, "--resume", "copy", "--device", "cpu", "--no-plots")
    assert result["label_metrics"] == first["label_metrics"]
