"""Runs of train.py in TensorBoard and MLflow, read by their own clients."""

import io
import json
import os
import sys

import numpy as np
import pytest
from PIL import Image

from lagvis.cli import train
from lagvis.cli.setup import make_parser
from lagvis.tracking import tracker
from lagvis.training.recipe import Recipe
from tests.factories import write_folder

# MLflow uses what newer versions of SQLAlchemy warn about.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated")
QUICK = ["--device", "cpu", "--quiet", "--hidden", "8", "--batch-size", "20", "--validation", "8"]


def run_train(*words):
    assert train.main([*QUICK, *map(str, words)]) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracked")
    write_folder(folder / "bands")
    return folder


def metrics(folder):
    """Return metrics.csv as {column: [number of each epoch]}."""
    names, *rows = ((line.split(",")) for line in (folder / "metrics.csv").read_text().splitlines())
    return {name: [float(row[i]) for row in rows] for i, name in enumerate(names)}


def report(folder):
    return json.loads((folder / "report.json").read_text())


# --- TensorBoard


@pytest.fixture(scope="module")
def shown(folder, event_accumulator):
    """Return the folder of a run of two epochs that was resumed for a third, and a function that reads its events."""
    words = ["--data", folder / "bands", "--runs-dir", folder / "runs"]
    run_train(*words, "-e", "2", "--name", "shown", "--log", "csv,tensorboard")
    run_train("--runs-dir", folder / "runs", "--resume", "shown", "-e", "3")

    def read(name="shown"):
        guidance = {"scalars": 0, "images": 0, "tensors": 0}
        events = event_accumulator.EventAccumulator(str(folder / "runs" / name / "tensorboard"), guidance)
        return events.Reload()

    return folder / "runs" / "shown", read


def test_tensorboard_resumed_run_has_every_column_and_epoch_once(shown):
    run, read = shown
    events, columns = read(), metrics(run)
    assert len(columns["epoch"]) == 3
    for name in columns.keys() - {"epoch"}:
        scalars = events.Scalars(name)
        assert [event.step for event in scalars] == [1, 2, 3]
        np.testing.assert_allclose([event.value for event in scalars], columns[name], rtol=1e-6)
    assert len(list((run / "tensorboard").iterdir())) == 1


def test_tensorboard_finished_run_has_results_and_pictures(shown):
    run, read = shown
    events = read()
    ((step, value),) = [(event.step, event.value) for event in events.Scalars("test_accuracy")]
    assert (step, value) == (3, pytest.approx(report(run)["test_accuracy"]))
    names = {f"plots/{path.stem}" for path in (run / "plots").iterdir()}
    assert set(events.Tags()["images"]) == names
    assert len(names) >= 4
    (image,) = events.Images("plots/curves")
    assert Image.open(io.BytesIO(image.encoded_image_string)).size == (image.width, image.height)


def test_tensorboard_recipe_is_in_hparams_and_text(shown):
    from tensorboard.plugins.hparams import plugin_data_pb2

    _, read = shown
    events = read()
    assert b"| hidden | `8` |" in events.Tensors("recipe")[0].tensor_proto.string_val[0]
    assert b"| backend | `numpy` |" in events.Tensors("environment")[0].tensor_proto.string_val[0]
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["epochs"].number_value == 3
    assert settings["hidden"].string_value == "8"


def test_train_resume_with_another_logger_is_no_other_setting(folder, shown):
    run_train(
        "-o",
        folder / "runs",
        "--data",
        folder / "bands",
        "--name",
        "left",
        "-e",
        "1",
        "--log",
        "tensorboard",
        "--no-plots",
    )
    run_train("-o", folder / "runs", "--resume", "left", "-e", "2", "--log", "csv", "--no-plots")
    environment = json.loads((folder / "runs" / "left" / "environment.json").read_text())
    assert environment["resumed"] == []
    assert environment["logger"] == []
    assert [event.step for event in shown[1]("left").Scalars("train_loss")] == [1]


def test_tensorboard_run_made_without_is_logged_by_resume(folder, shown):
    run_train("--data", folder / "bands", "-o", folder / "runs", "--name", "later", "-e", "2", "--no-plots")
    assert not (folder / "runs" / "later" / "tensorboard").exists()
    run_train("-o", folder / "runs", "--resume", "later", "--logger", "tensorboard", "--no-plots")
    events = shown[1]("later")
    assert [event.step for event in events.Scalars("train_loss")] == [1, 2]
    assert [event.step for event in events.Scalars("test_loss")] == [2]


def test_tensorboard_folder_is_a_link_leaves_it_alone_and_the_run_completes(folder, shown, tmp_path, capsys):
    run_train("--data", folder / "bands", "-o", folder / "runs", "--name", "linked", "-e", "1", "--no-plots")
    (folder / "runs" / "linked" / "tensorboard").symlink_to(tmp_path)
    words = ["--resume", "linked", "-e", "2", "--logger", "tensorboard", "--no-plots"]
    run_train("-o", folder / "runs", *words)
    assert "tensorboard is left out from now on (OSError: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert report(folder / "runs" / "linked")["epochs"] == 2


# --- MLflow


@pytest.fixture(scope="module")
def logged(folder, mlflow, tmp_path_factory):
    """Return a run folder, and the client and identifier of its run in MLflow: two epochs, then resumed for a third."""
    store = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "bands of light")
        patch.setattr(tracker, "MAX_JOB_SECONDS", 200.0)  # a busy machine takes long to make the tables of a store
        patch.chdir(store)  # where MLflow puts artifacts
        run_train(
            "--data", folder / "bands", "-o", folder / "runs", "--name", "logged", "-e", "2", "--log", "mlflow",
            "--stop-after", "2",
        )  # fmt: skip
        run_train("-o", folder / "runs", "--resume", "logged", "--no-plots")
        run_train("-o", folder / "runs", "--resume", "logged", "-e", "3")
        client = mlflow.MlflowClient()
        stored = json.loads((folder / "runs" / "logged" / "mlflow.json").read_text())
        yield folder / "runs" / "logged", client, stored["run_id"]


def test_mlflow_run_is_in_the_experiment_with_parameters_and_tags(logged):
    run, client, run_id = logged
    experiment = client.get_experiment_by_name("bands of light")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_id, found.info.run_name, found.info.status) == (run_id, "logged", "FINISHED")
    assert set(found.data.params) == set(Recipe.__dataclass_fields__)
    assert (found.data.params["hidden"], found.data.params["epochs"]) == ("8", "2")
    environment = json.loads((run / "environment.json").read_text())
    assert found.data.tags["numpy"] == environment["numpy"]
    assert '"epochs": [2, 3]' in found.data.tags["resumed"]


def test_mlflow_resumed_run_has_every_column_and_epoch_once(logged):
    run, client, run_id = logged
    columns = metrics(run)
    assert len(columns["epoch"]) == 3
    for name in columns.keys() - {"epoch"}:
        history = client.get_metric_history(run_id, name)
        assert [metric.step for metric in history] == [1, 2, 3]
        assert [metric.value for metric in history] == columns[name]


def test_mlflow_finished_run_has_results_and_artifacts(logged):
    run, client, run_id = logged
    assert [(metric.step, metric.value) for metric in client.get_metric_history(run_id, "test_loss")][-1] == (
        3,
        report(run)["test_loss"],
    )
    artifacts = {file.path for file in client.list_artifacts(run_id)}
    assert artifacts == {"last.safetensors", "plots", "recipe.toml", "report.html", "report.md"}
    pictures = {file.path for file in client.list_artifacts(run_id, "plots")}
    assert pictures == {f"plots/{path.name}" for path in (run / "plots").iterdir()}
    stored = client.download_artifacts(run_id, "last.safetensors")
    with open(stored, "rb") as file:
        assert file.read() == (run / "last.safetensors").read_bytes()


def test_mlflow_resume_of_a_finished_run_adds_nothing(logged, folder):
    _, client, run_id = logged
    before = client.get_run(run_id).data
    run_train("-o", folder / "runs", "--resume", "logged")
    assert client.get_run(run_id).data.metrics == before.metrics
    assert len(client.get_metric_history(run_id, "test_loss")) == 2


def test_mlflow_deleted_run_is_logged_anew_with_all_epochs(logged, folder):
    run, client, run_id = logged
    stored = (run / "mlflow.json").read_bytes()
    client.delete_run(run_id)
    run_train("-o", folder / "runs", "--resume", "logged")
    anew = json.loads((run / "mlflow.json").read_text())["run_id"]
    steps = [metric.step for metric in client.get_metric_history(anew, "seconds")]
    client.delete_run(anew)
    client.restore_run(run_id)
    (run / "mlflow.json").write_bytes(stored)
    assert anew != run_id
    assert steps == [1, 2, 3]


def test_mlflow_end_of_a_run_prints_no_links_on_stdout(mlflow, monkeypatch):
    class Client:
        def set_terminated(self, run_id, status):
            seen.append((run_id, status, mlflow.environment_variables.MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.get()))

    seen = []
    tracked = tracker.open_tracker("mlflow")
    monkeypatch.setattr(tracked, "_client", Client())
    monkeypatch.setattr(tracked, "_run_id", "me")
    tracked.end("diverged")
    assert seen == [("me", "FAILED", True)]
    assert "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT" not in os.environ


def test_mlflow_address_with_password_is_stored_without():
    from lagvis.tracking.mlflow import without_password

    assert without_password("https://me:secret@host:5000/a") == "https://host:5000/a"
    assert without_password("sqlite:////tmp/mlflow.db") == "sqlite:////tmp/mlflow.db"


# --- both


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_train_tracker_not_installed_is_refused_before_anything_is_written(name, tmp_path, monkeypatch, capsys):
    from lagvis.errors import UsageError

    monkeypatch.setitem(sys.modules, name, None)
    for module in [module for module in sys.modules if module.startswith(f"{name}.")]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match="pip install"):
        train.main([*QUICK, "--log", name, "-o", str(tmp_path / "runs")])
    assert not (tmp_path / "runs").exists()


def test_train_tracker_of_resumed_run_not_installed_is_a_notice(folder, monkeypatch, capsys):
    run_train("--data", folder / "bands", "-o", folder / "runs", "--name", "alone", "-e", "1", "--no-plots")
    path = folder / "runs" / "alone" / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"logger": ["mlflow", 3]}))
    monkeypatch.setitem(sys.modules, "mlflow", None)
    run_train("-o", folder / "runs", "--resume", "alone", "-e", "2", "--no-plots")
    assert capsys.readouterr().err.startswith("The run goes on without mlflow: --logger mlflow needs a package")


@pytest.mark.parametrize(
    ("words", "logger", "columns"),
    [
        (["--log", "mlflow", "--log=csv,tensorboard"], ["mlflow", "csv,tensorboard"], None),
        (["--log", "income,mlflow"], None, "income,mlflow"),
        (["--log", "mlflow", "--log", "income", "--logger", "csv"], ["mlflow", "csv"], "income"),
        (["--log="], None, ""),
    ],
)
def test_train_parser_log_with_trackers_alone_is_logger(words, logger, columns):
    flags = make_parser().parse(words)
    assert (flags.logger, getattr(flags, "log", None)) == (logger, columns)
