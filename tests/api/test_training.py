"""`lagvis.train`, `lagvis.fit` and the result of a training."""

import numpy as np
import pytest

import lagvis as lv
from lagvis import api
from lagvis.backends import numpy_backend
from lagvis.errors import DeviceError, NotFiniteError, RecipeError, UsageError
from lagvis.option_text import option
from lagvis.training.recipe import Recipe
from tests.conftest import open_backend

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
Y = np.array(["high", "low"])[(X[:, 0] > 0).astype(int)]
SMALL = {"hidden": 8, "epochs": 3, "batch_size": 20, "lr": 0.1, "device": "cpu"}


@pytest.fixture(scope="module")
def data():
    return lv.Dataset.from_arrays(X, Y, test=0.25)


@pytest.fixture(scope="module")
def result(data):
    return lv.train(data, **SMALL)


def test_train_returns_history_metrics_and_model(result):
    assert result.reason == "completed"
    assert result.history["epoch"] == [1, 2, 3]
    assert set(result.history) >= {"train_loss", "validation_accuracy", "learning_rate", "seconds"}
    assert result.history["train_loss"][-1] == result.train.loss
    assert result.test.confusion.sum() == 30
    assert result.model.widths == (3, 8, 2)
    assert result.recipe.hidden == (8,)


def test_train_prints_and_writes_nothing(data, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lv.train(data, **SMALL)
    assert capsys.readouterr() == ("", "")
    assert [*tmp_path.iterdir()] == []


def test_train_verbose_shows_each_epoch_on_stderr(data, capsys):
    lv.train(data, **SMALL, verbose=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 3/3" in err


def test_result_text_is_that_of_the_command(result):
    lines = str(result).splitlines()
    assert lines[0].startswith("network     3-8-2, 50 parameters (numpy, cpu, float32, seed 0)")
    assert any(line.startswith("test ") for line in lines)
    assert "run" not in {line.split()[0] for line in lines}
    assert repr(result).startswith("TrainingResult(3-8-2, reason='completed', epochs=3, ")


def test_train_without_a_test_part_has_no_test_metrics():
    result = lv.train(lv.Dataset.from_arrays(X, Y), **SMALL)
    assert result.test is None
    assert result.validation is not None
    assert "classes_without_test_rows" not in {warning.check for warning in result.warnings}
    assert "test" not in str(result)


@pytest.mark.parametrize(
    ("y", "loss"), [(Y, "cross-entropy"), (X[:, 0] * 2, "mse"), ((X[:, :2] > 0).astype(int), "binary-cross-entropy")]
)
def test_train_loss_follows_from_the_targets(y, loss):
    assert lv.train(lv.Dataset.from_arrays(X, y), **SMALL).recipe.loss == loss


def test_train_loss_of_other_targets_raises_recipe_error(data):
    with pytest.raises(RecipeError, match="loss is 'mse', which is for numbers"):
        lv.train(data, **SMALL, loss="mse")


def test_train_settings_of_numpy_types_are_taken(data):
    result = lv.train(
        data, hidden=np.array([4, 3]), epochs=np.int64(1), lr=np.float32(0.5), device="cpu", threads=np.int64(1)
    )
    assert (result.recipe.hidden, result.recipe.epochs, result.recipe.lr) == ((4, 3), 1, 0.5)


def test_train_path_is_read_as_the_command_reads_it(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,price,b\n" + "".join(f"{i % 9},{i * 1.5},{i}\n" for i in range(60)))
    recipe = tmp_path / "r.toml"
    recipe.write_text('loss = "mse"\nlabel = "price"\nhidden = [4]\nepochs = 2\n')
    result = lv.train(path, recipe, drop=["b"], device="cpu")
    assert result.model.target_names == ("price",)
    assert result.model.widths == (1, 4, 1)


def test_train_dict_of_settings_is_a_recipe(data, result):
    again = lv.train(data, {key: value for key, value in SMALL.items() if key != "device"}, device="cpu")
    assert again.recipe == result.recipe


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"epoch": 3}, RecipeError, "no setting 'epoch'.*epochs"),
        ({"label": "y"}, RecipeError, "give it to load_dataset"),
        ({"epochs": -1}, RecipeError, "epochs is -1"),
        ({"recipe": 3}, RecipeError, "recipe is of the type int"),
        ({"recipe": "nothing"}, RecipeError, "there is no recipe"),
        ({"device": "gpu"}, UsageError, "no device 'gpu'"),
        ({"backend": "pytorch"}, UsageError, "no backend 'pytorch'"),
        ({"threads": 0}, RecipeError, "threads is 0"),
        ({"threads": "2"}, RecipeError, "threads is '2'"),
        ({"device": 0}, UsageError, "device is 0; expected text"),
    ],
)
def test_train_bad_settings_raise_an_error_with_a_remedy(data, settings, error, message):
    with pytest.raises(error, match=message):
        lv.train(data, **settings)


def test_train_data_of_another_type_raises_usage_error():
    with pytest.raises(UsageError, match=r"data is of the type ndarray.*Dataset\.from_arrays"):
        lv.train(X)


def test_train_that_diverges_raises_not_finite_error_with_a_rate():
    data = lv.Dataset.from_arrays(X, X[:, 0])
    with pytest.raises(NotFiniteError, match=r"lr=[\d.e-]+ the loss falls"):
        lv.train(data, **SMALL | {"lr": 1e8})


def test_train_with_a_recipe_repeats_a_result(data, result):
    again = lv.train(data, result.recipe, device="cpu")
    assert again.recipe == result.recipe
    assert (again.model.layers[0]["W"] == result.model.layers[0]["W"]).all()


def test_train_test_part_of_another_scale_is_the_suspect_of_a_bad_result():
    data = lv.Dataset.from_arrays(X, Y, X_test=X * 1000, y_test=Y[::-1])
    found = {warning.check: warning for warning in lv.train(data, **SMALL).warnings}
    assert "input_scale" in found
    assert found["no_better_than_baseline"].figures["suspect"] == "input_scale"


def test_train_find_replaces_the_learning_rate_and_says_so(data):
    result = lv.train(data, **SMALL | {"lr": "find"})
    assert result.recipe.lr > 0
    assert any("The learning rate is" in notice for notice in result.notices)
    assert result.summary["rate_search"]["rate"] == result.recipe.lr
    assert "learning_rate" in result.report().figures


def test_train_keyboard_interrupt_after_an_epoch_returns_that_epoch(data, monkeypatch):
    from lagvis.api import training

    real_fit = training.fit

    def interrupted(*arguments, **options):
        for event in real_fit(*arguments, **options):
            yield event
            if isinstance(event, lv.EpochEnded) and event.epoch == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", interrupted)
    result = lv.train(data, **SMALL)
    assert result.reason == "interrupted"
    assert result.history["epoch"] == [1, 2]
    assert len(result.model.predict(X)) == 120


def test_fit_yields_the_events_of_train(data, result):
    events = list(lv.fit(data, **SMALL))
    assert isinstance(events[0], lv.Started)
    assert isinstance(events[-1], lv.Finished)
    assert events[-1].train.loss == result.train.loss


def test_fit_stop_ends_the_run_as_interrupted(data):
    events = list(lv.fit(data, **SMALL | {"epochs": 1000}, stop=lambda: True))
    assert events[-1].reason == "interrupted"


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_train_on_another_backend_agrees_with_numpy(data, result, name):
    open_backend(name, "float32")
    other = lv.train(data, **SMALL, backend=name)
    assert np.allclose(other.model.layers[0]["W"], result.model.layers[0]["W"], atol=1e-5)


def test_compare_two_backends_agree(data):
    open_backend("jax", "float32")
    found = lv.compare(data, backends=["numpy", "jax"], hidden=4, steps=2)
    assert found.passed
    assert {difference.backend for difference in found.differences} == {"numpy", "jax"}


@pytest.mark.parametrize("steps", [0, 1.5, "2"])
def test_compare_other_steps_raise_usage_error(data, steps):
    with pytest.raises(UsageError, match=f"steps is {steps!r}; expected a whole number from 1"):
        lv.compare(data, backends=["numpy", "jax"], steps=steps)


def test_backends_lists_numpy_as_computing():
    statuses = lv.backends()
    assert next(status for status in statuses if status.backend == "numpy").computes
    assert all(status.computes or (status.reason and status.remedy) for status in statuses)


def test_backends_remedies_name_arguments_of_python(monkeypatch):
    def refuse():
        raise DeviceError("no card", f"use {option('device', 'cpu')}")

    monkeypatch.setattr(numpy_backend, "find_devices", refuse)
    remedy = 'use device="cpu"'
    assert next(status for status in lv.backends() if status.backend == "numpy").remedy == remedy
    assert next(status for status in api.backends() if status.backend == "numpy").remedy == remedy


def test_recipe_is_that_of_the_package():
    assert lv.Recipe is Recipe


def test_result_text_of_a_risen_validation_loss_names_no_files():
    rng = np.random.default_rng(1)
    data = lv.Dataset.from_arrays(rng.normal(size=(60, 20)), np.arange(60) % 2)
    result = lv.train(data, hidden=64, epochs=60, validation=30, lr=0.5, device="cpu")
    assert "A patience above 0 keeps the weights" in str(result)
    assert "safetensors" not in str(result)


def test_train_shipped_numbers_are_predicted_as_numbers():
    assert lv.train("jump", epochs=1, device="cpu").recipe.loss == "mse"
    assert lv.load_dataset("jump").targets == "numbers"


def test_train_few_steps_of_a_table_names_the_recipe_table(data):
    notices = lv.train(data, device="cpu").notices
    assert any('are few to learn in; recipe="table" makes 1,000 or more' in notice for notice in notices)
    assert not any("few to learn in" in notice for notice in lv.train(data, **SMALL).notices)


def test_train_frame_says_which_columns_are_left_out():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"id": [f"row {i}" for i in range(120)], "x": X[:, 0], "y": Y})
    notices = lv.train(lv.Dataset.from_frame(frame, "y"), **SMALL).notices
    assert any(notice.startswith("Left out (number or category takes") for notice in notices)
    assert "  1 id  holds another text in every row" in notices
