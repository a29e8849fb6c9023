"""Normalised networks through the commands: train, evaluate, predict, resume, --init-from and export."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from lagvis.cli import evaluate, export, predict, train
from lagvis.cli.errors import run_cli
from lagvis.storage.checkpoint_file import read_checkpoint
from tests.cli.commands import write_dataset

COMMON = ["--device", "cpu", "--data", "data.npz", "--no-plots", "--quiet", "--json"]
KINDS = pytest.mark.parametrize("kind", ["batch", "layer"])


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return `run(*flags)`, which trains in a new folder with a small data set and returns the result and stderr."""
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data.npz")

    def run(*flags, code=0):
        assert run_cli(train.main, [*COMMON, *flags]) == code
        captured = capsys.readouterr()
        return json.loads(captured.out) if captured.out else {}, captured.err

    return run


def network_flags(kind, name, epochs="2"):
    return ("--hidden", "16,8", "--normalization", kind, "--ema", "0.9", "-e", epochs, "--name", name)


@KINDS
def test_evaluate_normalised_run_repeats_the_result_of_training(run, kind, capsys):
    result, _ = run(*network_flags(kind, "a"))
    assert run_cli(evaluate.main, ["a", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["test_loss"], again["test_accuracy"]) == (
        pytest.approx(result["test_loss"], rel=1e-6),
        result["test_accuracy"],
    )


@KINDS
def test_predict_normalised_run_and_its_export_answer_alike(run, kind, capsys):
    run(*network_flags(kind, "a"))
    assert run_cli(export.main, ["a", "--format", "safetensors"]) == 0
    capsys.readouterr()
    answers = []
    for network in ("a", "runs/a/export/model.safetensors"):
        assert run_cli(predict.main, [network, "data.npz", "--json"]) == 0
        answers.append(
            [[*entry["probabilities"].values()] for entry in json.loads(capsys.readouterr().out)["predictions"]]
        )
    np.testing.assert_allclose(np.array(answers[0]), np.array(answers[1]), rtol=0, atol=1e-6)


@KINDS
def test_train_batch_norm_short_run_is_judged_by_statistics_of_its_own(run, kind):
    """After nine steps the statistics of training, not those before the first step, decide the evaluation."""
    result, _ = run("--hidden", "16,8", "--normalization", kind, "-e", "3")
    assert result["test_accuracy"] > 0.95


@KINDS
def test_resume_normalised_run_ends_with_the_bytes_of_an_unbroken_one(run, kind, tmp_path):
    run(*network_flags(kind, "whole", "3"), "--schedule", "constant")
    run(*network_flags(kind, "resumed", "2"), "--schedule", "constant")
    run("--resume", "resumed", "-e", "3")
    whole, resumed = (tmp_path / "runs" / name / "last.safetensors" for name in ("whole", "resumed"))
    assert whole.read_bytes() == resumed.read_bytes()


@KINDS
def test_train_init_from_normalised_run_starts_with_the_layers_that_are_judged(run, kind, tmp_path):
    first, _ = run(*network_flags(kind, "first"))
    same, _ = run("--init-from", "first", "-e", "0", "--name", "same")
    assert same["test_loss"] == pytest.approx(first["test_loss"], rel=1e-6)
    run("--init-from", "first", "-e", "1", "--name", "next", "--optimizer", "adamw", "--ema", "0.5")
    arrays = load_file(tmp_path / "runs" / "next" / "last.safetensors")
    assert {name.split(".")[0] for name in arrays} >= {"params", "ema"} | ({"running"} if kind == "batch" else set())
    again = read_checkpoint(tmp_path / "runs" / "next" / "last.safetensors")
    assert (again.model.normalization, again.model.widths[1:-1]) == (kind, (16, 8))


@KINDS
def test_train_init_from_with_normalization_exits_2(run, kind):
    run(*network_flags(kind, "first"))
    _, err = run("--init-from", "first", "--normalization", "none", "-e", "1", code=2)
    assert "--init-from sets the layers itself; leave out --normalization" in err
    run("--init-from", "first", "-e", "1")  # what the message advises


def test_train_init_from_network_without_normalization_keeps_it_so(run, tmp_path):
    run("--hidden", "8", "-e", "1", "--name", "plain")
    run("--init-from", "plain", "-e", "1", "--name", "next")
    assert read_checkpoint(tmp_path / "runs" / "next" / "last.safetensors").model.normalization == "none"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--normalization", "batch", "--batch-size", "1"), "batch_size is 1, and batch normalisation needs two rows"),
        (("--normalization", "layer", "--hidden", "8,1"), "layer normalisation makes a layer of one unit always 0"),
        (("--normalization", "batch", "--validation", "319"), "there is 1 row to train on, and batch normalisation"),
        (("--normalization", "batchnorm"), "did you mean batch?"),
    ],
)
def test_train_normalization_that_cannot_work_exits_2(run, flags, sentence):
    _, err = run(*flags, code=2)
    assert sentence in err
    assert len(err.strip().splitlines()) == 1


def test_train_batch_normalization_tail_of_one_row_is_left_out_with_a_notice(run, capsys):
    flags = ["--normalization", "batch", "--batch-size", "41", "--validation", "32", "-e", "1", "--min-steps", "0"]
    assert run_cli(train.main, [*COMMON[:4], "--no-plots", "--name", "a", *flags]) == 0
    assert "one row of 288 is left out of each epoch, another one each time" in " ".join(
        capsys.readouterr().err.split()
    )
    assert read_checkpoint("runs/a/last.safetensors").step == 7


def test_export_paper_of_layer_normalisation_exits_with_a_remedy_that_works(run, capsys):
    run(*network_flags("layer", "a", "1"))
    assert run_cli(export.main, ["a", "--format", "paper"]) != 0
    assert "has layer normalisation; use --format safetensors, npz or onnx" in capsys.readouterr().err
    assert run_cli(export.main, ["a", "--format", "npz"]) == 0
