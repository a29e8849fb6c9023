import dataclasses
import math
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.records import RECORDS
from lagvis.backends.registry import select
from lagvis.data.datasets import load_dataset
from lagvis.errors import RecipeError
from lagvis.network.optimizers import OPTIMIZERS
from lagvis.network.schedules import SCHEDULES
from lagvis.training import recipe as recipes
from lagvis.training.loop import fit
from lagvis.training.plan import make_plan
from lagvis.training.recipe import OPTIMIZER_KEYS, SCHEDULE_KEYS, Recipe
from lagvis.training.recipe_keys import KEYS

FILES = sorted(recipes.FOLDER.glob("*.toml"))


def refusal(call, *args, **keys) -> str:
    with pytest.raises(RecipeError) as caught:
        call(*args, **keys)
    return str(caught.value)


def written(folder, content) -> str:
    path = folder / "mine.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_shipped_has_the_recipes_of_the_paper():
    assert {"default", "paper", "paper-deep", "paper-linear", "jump"} <= set(recipes.shipped())
    assert sorted(path.stem for path in FILES) == recipes.shipped()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_load_shipped_recipe_equals_its_file_over_the_defaults(path):
    stated = {k: tuple(v) if isinstance(v, list) else v for k, v in tomllib.loads(path.read_text()).items()}
    loaded = dataclasses.asdict(recipes.load(path.stem))
    assert stated
    assert {key: loaded[key] for key in stated} == stated
    assert loaded == dataclasses.asdict(Recipe(**stated))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("paper", {"hidden": (32, 32), "lr": 0.05, "epochs": 40, "batch_size": 200, "shuffle": False, "momentum": 0.0}),
        ("paper-linear", {"hidden": (), "lr": 0.1, "epochs": 8, "batch_size": 100, "validation": 0}),
        ("default", {"hidden": (64, 64, 64), "momentum": 0.9, "nesterov": True, "schedule": "linear", "epochs": 10}),
        ("jump", {"loss": "mse", "data": "jump", "hidden": (3, 3)}),
    ],
)
def test_load_by_name_from_any_folder(name, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = dataclasses.asdict(recipes.load(name))
    assert {key: loaded[key] for key in expected} == expected


def test_keys_are_the_fields_of_recipe():
    assert list(KEYS) == [field.name for field in dataclasses.fields(Recipe)]


FRACTIONS = st.floats(0.0, 1.0, exclude_max=True)
VALID = st.builds(
    lambda lr, weight_decay, **keys: Recipe(
        lr=lr, weight_decay=weight_decay if lr * weight_decay < 1.0 else 0.0, **keys
    ),
    data=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    hidden=st.lists(st.integers(1, 10**7), max_size=5),
    activation=st.sampled_from(["relu", "sigmoid", "tanh", "identity"]),
    loss=st.just("cross-entropy"),
    label_smoothing=FRACTIONS,
    class_weights=st.sampled_from(["none", "balanced"]),
    lr=st.floats(2.0**-126, 2.0**127),
    momentum=FRACTIONS,
    nesterov=st.booleans(),
    weight_decay=st.just(0.0) | st.floats(1e-6, 1.0),  # and less than takes all of W in a step
    schedule=st.sampled_from(["constant", "linear", "cosine", "step", "one-cycle"]),
    warmup=FRACTIONS,
    epochs=st.integers(0, 10**6),
    batch_size=st.integers(1, 2**31 - 1),
    shuffle=st.booleans(),
    validation=st.integers(0, 2**31 - 1),
    seed=st.integers(0, 2**63 - 1),
    dtype=st.sampled_from(["float32", "float64"]),
) | st.builds(Recipe, loss=st.just("mse"), lr=st.integers(1, 10))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("recipes") / "recipe.toml"


@given(VALID)
def test_load_of_dumps_is_equal(scratch, recipe):
    scratch.write_text(recipes.dumps(recipe), encoding="utf-8")
    assert recipes.load(str(scratch)) == recipe


# Invalid values of each key.
BAD = {
    "data": ["", 3, ["mnist"]],
    "label": [1, None, True, ["a"]],
    "feature_type": ["", "images", 1, None],
    "transpose": ["", "maybe", True, None],
    "features": [3, None, True, [""], [None], [True], [1.5]],
    "drop": [3, None, {"a": 1}],
    "category": [0, [["a"]]],
    "number": [1.5, [None]],
    "log": [True, [{}]],
    "id": [7, [""]],
    "weight_column": [1, None, ["a"], True],
    "sheet": [1, None, ["a"]],
    "table": [1, None, ["a"]],
    "pixel_scaling": ["", "Centred", "none", 1, None, True],
    "number_scaling": ["", "Standard", "none", 1, None, True],
    "hidden": [[0], [-3], [64, -7, 64], [2.5], ["64"], [True], "64,64", 64, [10**9], None],
    "activation": ["rellu", "", 1],
    "loss": ["MSE", "softmax", 0],
    "huber_delta": [0, -1.0, math.nan, math.inf, "1", True],
    "label_smoothing": [-0.1, 1.0, 1, math.nan, "0.1", True],
    "class_weights": ["Balanced", "balance", "", None, True, [1, 2]],
    "optimizer": ["unknown", ""],
    "lr": [0, 0.0, -0.1, math.nan, math.inf, -math.inf, "fast", True, 10**400],
    "momentum": [-0.1, 1.0, 2, math.nan, "0.9", False],
    "nesterov": [1, 0, "true"],
    "betas": [[0.9], [0.9, 1.0], [-0.1, 0.9], "0.9,0.999", 0.9, [0.9, 0.99, 0.999], [True, 0.9]],
    "rho": [-0.1, 1.0, math.nan, "0.9", True],
    "eps": [-1e-8, math.nan, math.inf, "1e-8", True],
    "weight_decay": [-0.1, math.nan, math.inf, "0.1", True],
    "schedule": ["lineal", "Linear", None],
    "warmup": [-1, 1.0, 500, math.inf, "0.3"],
    "min_lr_ratio": [-0.1, 1.0, 2, math.nan, "0.1", True],
    "lr_step_size": [-0.1, 1.0, 30, math.nan, "0.3", True],
    "lr_gamma": [-0.1, 1.0, 10, math.nan, "0.1", True],
    "base_momentum": [-0.1, 1.0, math.nan, "0.85", True],
    "normalization": ["", "Batch", "group", None, True],
    "dropout": [-0.1, 0.0019, 0.9981, 1.0, 1, math.nan, "0.5", True, None],
    "input_dropout": [-0.1, 1e-300, 0.9981, 1.0, 2, math.nan, "0.5", True],
    "input_noise": [-0.1, 1000, 1e300, math.nan, math.inf, "0.1", True],
    "mixup": [-0.1, 1000, 1e308, math.nan, math.inf, "0.2", True],
    "l1": [-0.1, math.nan, math.inf, "0.1", True],
    "max_norm": [-0.1, math.nan, math.inf, "3", True],
    "clip_norm": [-0.1, math.nan, math.inf, "1", True],
    "ema": [-0.1, 1.0, math.nan, "0.999", True],
    "patience": [-1, 2.5, "3", True],
    "epochs": [-1, 2.5, 1e3, "10", True, 10**6 + 1],
    "min_steps": [-1, 2.5, "10", True, 10**9 + 1],
    "batch_size": [0, -1, 1.5, "100", True, 2**31],
    "accumulate": [0, 1001, -1, 1.5, "2", True],
    "shuffle": [1, "yes"],
    "validation": [-1, 0.1, "5000", False],
    "seed": [-1, 1.5, "0", True, 2**63],
    "dtype": ["float16", "double", 32, ""],
}


def test_bad_values_exist_for_every_key():
    assert list(BAD) == list(KEYS)


@pytest.mark.parametrize(
    ("key", "value"), [(k, v) for k, values in BAD.items() for v in values], ids=lambda v: str(v)[:30] or "empty"
)
def test_recipe_bad_value_raises_with_key_and_value(key, value):
    sentence = refusal(Recipe, **{key: value})
    assert sentence.startswith(f"{key} is ")
    # the bad width of a list is enough, and the beginning of a number with 400 digits
    shown = [value, *value] if isinstance(value, list) else [value]
    assert any(repr(part)[:20] in sentence for part in shown)
    assert "expected" in sentence


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", 1e-300),
        ("lr", 3),
        ("lr", sys.float_info.max),
        ("momentum", 0),
        ("label_smoothing", 0.999),
        ("warmup", 0.0),
        ("epochs", 0),
        ("batch_size", 1),
        ("validation", 0),
        ("seed", 2**63 - 1),
        ("hidden", []),
        ("hidden", (1, 10**7)),
    ],
)
def test_recipe_ends_of_intervals_are_allowed(key, value):
    # a learning rate must fit the dtype; only float64 can hold the ends of the interval
    recipe = Recipe(**({"dtype": "float64"} | {key: value}))
    assert getattr(recipe, key) == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize("key", ["lr", "momentum", "label_smoothing", "warmup"])
def test_recipe_integers_become_floats(key):
    value = 1 if key == "lr" else 0
    assert type(getattr(Recipe(**{key: value}), key)) is float


def test_recipe_label_smoothing_with_mse_raises():
    assert "label_smoothing" in refusal(Recipe, loss="mse", label_smoothing=0.1)


def test_recipe_nesterov_without_momentum_is_false():
    assert Recipe(momentum=0.0, nesterov=True) == Recipe(momentum=0.0, nesterov=False)
    assert Recipe(momentum=0.5, nesterov=True).nesterov is True


@pytest.mark.parametrize(
    ("key", "proposed"),
    [
        ("momentun", "momentum"),
        ("batchsize", "batch_size"),
        ("epoch", "epochs"),
        ("colour", None),
        ("Shuffle", "shuffle"),
    ],
)
def test_load_unknown_key_raises_with_nearest_key(tmp_path, key, proposed):
    path = written(tmp_path, f"{key} = 1\n")
    sentence = refusal(recipes.load, path)
    assert path in sentence
    assert repr(key) in sentence
    assert ("did you mean" in sentence) == (proposed is not None)
    assert proposed is None or f"did you mean {proposed}?" in sentence


def test_load_toml_table_raises(tmp_path):
    assert "a table [network]" in refusal(recipes.load, written(tmp_path, "[network]\nhidden = [3]\n"))


@pytest.mark.parametrize(
    ("key", "word", "proposed"), [("activation", "rellu", "relu"), ("schedule", "lineal", "linear")]
)
def test_recipe_bad_choice_proposes_the_nearest(key, word, proposed):
    assert f"did you mean {proposed}?" in refusal(Recipe, **{key: word})


@pytest.mark.parametrize(
    ("key", "word", "hint"),
    [
        ("activation", "leaky_relu", "did you mean leaky-relu?"),
        ("activation", "LeakyReLU", "did you mean leaky-relu?"),
        ("activation", "swish", "did you mean silu?"),
        ("loss", "bce", "did you mean binary-cross-entropy?"),
        ("loss", "CrossEntropyLoss", "did you mean cross-entropy?"),
        ("loss", "smooth_l1", "did you mean huber?"),
        ("lr", "fast", 'expected a number above 0, or "find"'),
        ("activation", "logistic", "did you mean sigmoid?"),
        ("activation", "linear", "did you mean identity?"),
        ("activation", "mish", "there is no mish, silu resembles it"),
        ("activation", "prelu", "there is no prelu, leaky-relu has a fixed slope"),
        ("normalization", "batchnorm", "did you mean batch?"),
        ("normalization", "LayerNorm", "did you mean layer?"),
        ("normalization", "group", "expected none or batch or layer"),
        ("dtype", "fp32", "did you mean float32?"),
        ("dtype", "double", "did you mean float64?"),
        ("dtype", "bfloat16", "there is no bfloat16, float32 was faster on a CPU (docs/speed.md)"),
        ("dtype", "16-mixed", "there is no 16-mixed, float32 was faster on a CPU (docs/speed.md)"),
    ],
)
def test_recipe_choice_of_another_program_names_ours(key, word, hint):
    assert hint in refusal(Recipe, **{key: word})


@pytest.mark.parametrize("key", ["batchnorm", "batch_norm", "layer_norm", "norm", "batch_normalization"])
def test_load_key_of_a_normalization_proposes_ours(tmp_path, key):
    assert "did you mean normalization?" in refusal(recipes.load, written(tmp_path, f"{key} = true\n"))


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"normalization": "batch", "batch_size": 1}, "batch_size is 1, and batch normalisation needs two rows"),
        ({"normalization": "layer", "hidden": (4, 1)}, r"hidden is \[4, 1\], and layer normalisation makes"),
    ],
)
def test_recipe_normalization_that_would_give_zeros_raises(keys, sentence):
    with pytest.raises(RecipeError, match=f"^{sentence}.*; (set|give)"):
        Recipe(**keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"normalization": "batch", "batch_size": 2, "hidden": (1,)},
        {"normalization": "layer", "batch_size": 1, "hidden": (2,)},
    ],
)
def test_recipe_normalization_at_its_limits_is_taken(keys):
    assert Recipe(**keys).normalization == keys["normalization"]


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_load_file_of_any_editor(tmp_path, start, end):
    lines = [b"lr = 0.25  # \xc3\xa6\xc3\xb8\xc3\xa5", b"hidden = [", b"  3,", b"  4]", b'data = "min f\xc3\xb8lge"']
    loaded = recipes.load(written(tmp_path, start + end.join(lines)))
    assert loaded == Recipe(lr=0.25, hidden=(3, 4), data="min følge")


def test_load_overrides_win_over_file_over_defaults(tmp_path):
    path = written(tmp_path, "lr = 0.2\nepochs = 3\n")
    assert recipes.load(path, {"lr": 0.3, "seed": 9}) == Recipe(lr=0.3, epochs=3, seed=9)


def test_load_overridden_bad_value_is_ignored(tmp_path):
    assert recipes.load(written(tmp_path, "lr = -1\n"), {"lr": 0.3}) == Recipe(lr=0.3)


@pytest.mark.parametrize(
    "content",
    [b"lr 0.1", b"lr = 0.1\nlr = 0.2", "lr = 0.1".encode("utf-16-le"), b"lr = \xff", b"lr = " + b"9" * 5000],
    ids=["no equals sign", "key twice", "utf-16 without a mark", "no utf-8", "a number of 5,000 digits"],
)
def test_load_invalid_toml_raises_with_path(tmp_path, content):
    path = written(tmp_path, content)
    assert path in refusal(recipes.load, path)


@pytest.mark.parametrize("value", ["nan", "inf", "1979-05-27", "true", "'0.1'", "[0.1]", "{a = 1}"])
def test_load_value_of_wrong_type_raises(tmp_path, value):
    assert refusal(recipes.load, written(tmp_path, f"lr = {value}\n")).startswith("lr is ")


def test_load_missing_recipe_raises_with_shipped_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sentence = refusal(recipes.load, "paper-dep")
    assert str(tmp_path / "paper-dep") in sentence
    assert "did you mean paper-deep?" in sentence
    assert all(name in sentence for name in recipes.shipped())


@pytest.mark.parametrize("name", ["~no-such-user/a.toml", "x" * 5000], ids=["unknown home", "longer than a path"])
def test_load_impossible_path_raises(name):
    assert name[:20] in refusal(recipes.load, name)


def test_load_folder_raises(tmp_path):
    assert str(tmp_path) in refusal(recipes.load, str(tmp_path))


def test_recipe_error_has_exit_code_2():
    assert RecipeError.exit_code == 2


# --- one set of defaults


def test_recipe_without_keys_equals_the_shipped_default():
    stated = tomllib.loads((recipes.FOLDER / "default.toml").read_text())
    assert recipes.load("default") == Recipe()
    assert {*stated} >= {*KEYS} - {"label"}, "the file documents the defaults, so it must state them"


def test_load_file_of_one_key_takes_the_defaults_of_help(tmp_path):
    path = written(tmp_path, "hidden = [128]\n")
    assert recipes.load(path) == dataclasses.replace(recipes.load("default"), hidden=(128,))


def test_load_regression_file_without_label_smoothing_smooths_nothing(tmp_path):
    recipe = recipes.load(written(tmp_path, 'loss = "mse"\n'))
    assert (recipe.loss, recipe.label_smoothing, recipe.class_weights) == ("mse", 0.0, "none")
    assert recipe == Recipe(loss="mse")
    assert (recipe.lr, recipe.momentum, recipe.schedule) == (0.01, 0.9, "linear")


def test_load_mse_override_drops_classification_keys(tmp_path):
    path = written(tmp_path, 'label_smoothing = 0.2\nclass_weights = "balanced"\n')
    assert recipes.load(path, {"loss": "mse"}) == Recipe(loss="mse")
    for key, value in {"label_smoothing": 0.2, "class_weights": "balanced"}.items():
        assert f"{key} belongs to classes" in refusal(recipes.load, path, {"loss": "mse", key: value})


@pytest.mark.parametrize("loss", ["mae", "huber", "binary-cross-entropy"])
def test_recipe_of_another_loss_than_cross_entropy_smooths_nothing_and_weights_no_classes(loss):
    assert Recipe(loss=loss).label_smoothing == 0.0
    assert Recipe(loss=loss).regression == (loss != "binary-cross-entropy")
    assert f"class_weights belongs to classes, loss {loss}" in refusal(Recipe, loss=loss, class_weights="balanced")


def test_recipe_huber_delta_of_another_loss_is_refused(tmp_path):
    assert "the loss mse has no huber_delta; leave it out, or use huber" in refusal(Recipe, loss="mse", huber_delta=2.0)
    path = written(tmp_path, 'loss = "huber"\nhuber_delta = 2.0\nlr = 0.02\n')
    assert recipes.load(path, {"loss": "mae"}) == Recipe(loss="mae", lr=0.02)
    assert recipes.load(path, {"loss": "cross-entropy"}) == Recipe()


def test_load_regression_file_that_smooths_is_refused(tmp_path):
    assert "label_smoothing belongs" in refusal(recipes.load, written(tmp_path, 'loss = "mse"\nlabel_smoothing = 0.1'))


@pytest.mark.parametrize("name", ["paper", "paper-deep", "paper-linear"])
def test_shipped_recipes_of_the_paper_do_not_centre_pixels(name):
    assert recipes.load(name).pixel_scaling == "unit"
    assert recipes.load("default").pixel_scaling == "centred"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_recipe_states_every_key_that_decides_the_training(path):
    decides = {"data", "hidden", "activation", "loss", "label_smoothing", "optimizer", "lr", "schedule", "epochs"}
    decides |= {"batch_size", "shuffle", "validation"}
    stated = tomllib.loads(path.read_text())
    if stated["optimizer"] == "sgd":
        decides |= {"momentum", "nesterov"}
    assert not decides - {*stated}


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.01), ("adamw", 0.02)])
def test_merge_mse_override_keeps_the_rate_of_an_optimizer_that_the_size_of_the_gradient_does_not_scale(optimizer, lr):
    assert recipes.merge({"optimizer": optimizer, "lr": 0.02}, {"loss": "mse"}).lr == lr


def test_merge_epochs_override_drops_min_steps():
    values = {"epochs": 10, "min_steps": 500}
    assert recipes.merge(values, {}).min_steps == 500
    assert recipes.merge(values, {"epochs": 3}).min_steps == 0
    assert recipes.merge(values, {"epochs": 3, "min_steps": 7}).min_steps == 7


@pytest.mark.slow
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.recipe)
def test_shipped_recipe_of_a_record_learns_in_few_steps(record):
    dataset = load_dataset("mnist")
    few = dataclasses.replace(
        dataset, x_train=dataset.x_train[:4000], y_train=dataset.y_train[:4000], x_test=dataset.x_test[:1000],
        y_test=dataset.y_test[:1000],
    )  # fmt: skip
    recipe = recipes.load(record.recipe, {"epochs": 4})
    finished = list(fit(recipe, few, make_plan(recipe, few), select("cpu")))[-1]
    assert finished.reason == "completed"
    assert finished.test.accuracy > 0.8


def test_recipe_columns_may_be_one_text_or_a_list_of_names_and_numbers():
    assert Recipe(drop="a").drop == ("a",)
    assert Recipe(drop=["a", 3]).drop == ("a", "3")
    assert Recipe(drop="").drop == ()


# --- settings of optimizers and schedules

TABLES = {"optimizer": (OPTIMIZERS, OPTIMIZER_KEYS), "schedule": (SCHEDULES, SCHEDULE_KEYS)}
SETTINGS = {
    "momentum": 0.95, "nesterov": True, "betas": (0.8, 0.9), "rho": 0.9, "eps": 1e-6, "weight_decay": 0.02,
    "warmup": 0.2, "min_lr_ratio": 0.1, "lr_step_size": 0.2, "lr_gamma": 0.5, "base_momentum": 0.5,
}  # fmt: skip
PAIRS = [(kind, name, key) for kind, (table, keys) in TABLES.items() for name in table for key in keys]


def test_settings_are_those_of_the_tables():
    assert {*SETTINGS} == {*OPTIMIZER_KEYS, *SCHEDULE_KEYS}
    for table, keys in TABLES.values():
        assert {key for entry in table.values() for key in entry.settings} == {*keys}


@pytest.mark.parametrize(("kind", "name", "key"), PAIRS)
def test_recipe_setting_is_taken_or_refused_with_those_that_take_it(kind, name, key):
    table, keys = TABLES[kind]
    value = SETTINGS[key]
    given = {kind: name, key: value} | ({"momentum": 0.95} if key == "nesterov" and name in ("sgd", "muon") else {})
    if key in table[name].settings:
        assert getattr(Recipe(**given), key) == value
        assert getattr(Recipe(**{kind: name}), key) == table[name].settings[key]
        return
    assert getattr(Recipe(**{kind: name}), key) == keys[key]
    sentence = refusal(Recipe, **given)
    assert f"and the {kind} {name} has no {key}; leave it out, or use " in sentence
    for other in sentence.rpartition("or use ")[2].split(" or "):
        assert getattr(Recipe(**given | {kind: other}), key) == value


@pytest.mark.parametrize("loss", ["cross-entropy", "mse"])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_recipe_every_optimizer_and_schedule_is_valid_with_its_defaults(optimizer, schedule, loss):
    recipe = Recipe(optimizer=optimizer, schedule=schedule, loss=loss)
    divisor = 10 if (optimizer, loss) == ("sgd", "mse") else 1
    assert recipe.lr == OPTIMIZERS[optimizer].lr / divisor
    assert dataclasses.replace(recipe, seed=1) == Recipe(optimizer=optimizer, schedule=schedule, loss=loss, seed=1)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"optimizer": "adam", "eps": 0.0}, "expected a number above 0 with the optimizer adam"),
        ({"optimizer": "adam", "eps": 1e-50}, "eps is 1e-50, which float32 cannot hold"),
        ({"schedule": "step", "lr_gamma": 0.0}, "expected a number above 0 with the schedule step"),
        ({"schedule": "step", "lr_step_size": 0.0}, "expected a number above 0 with the schedule step"),
        ({"schedule": "one-cycle", "base_momentum": 0.95}, "and momentum is 0.9, from which the schedule one-cycle"),
        ({"optimizer": "adam", "schedule": "one-cycle", "base_momentum": 0.95}, "and the first of betas is 0.9"),
        ({"optimizer": "adamw", "weight_decay": 2000.0}, "expected a weight_decay below 1000"),
        ({"optimizer": "sgd", "lr": 0.1, "weight_decay": 10.0}, "expected a weight_decay below 10"),
        ({"loss": "huber", "huber_delta": 1e-300}, "huber_delta is 1e-300, which float32 cannot hold"),
        ({"loss": "huber", "huber_delta": 1e39}, "huber_delta is 1e+39, which float32 cannot hold"),
        ({"input_noise": 1e-60}, "input_noise is 1e-60, which float32 cannot hold"),
        ({"clip_norm": 1e-60}, "clip_norm is 1e-60, which float32 cannot hold"),
        ({"weight_decay": 1e300}, "weight_decay is 1e+300, which float32 cannot hold"),
        ({"warmup": 500}, "expected a number from 0 and below 1, a share of the run"),
    ],
)
def test_recipe_settings_that_do_not_fit_raise(keys, words):
    assert words in refusal(Recipe, **keys)


def test_recipe_base_momentum_is_at_most_the_momentum_by_default():
    assert Recipe(schedule="one-cycle").base_momentum == 0.85
    assert Recipe(schedule="one-cycle", momentum=0.5).base_momentum == 0.5
    assert Recipe(schedule="one-cycle", optimizer="rmsprop").base_momentum == 0.0
    assert Recipe(schedule="one-cycle", optimizer="lion", betas=(0.6, 0.9)).base_momentum == 0.6


def test_merge_other_optimizer_or_schedule_drops_the_settings_of_the_recipe():
    values = {"lr": 0.3, "momentum": 0.5, "nesterov": False, "weight_decay": 0.2, "warmup": 0.05, "min_lr_ratio": 0.01}
    assert recipes.merge(values, {"optimizer": "adam"}) == Recipe(optimizer="adam", warmup=0.05, min_lr_ratio=0.01)
    assert recipes.merge(values, {"optimizer": "adam", "lr": 0.01, "eps": 1e-4}) == Recipe(
        optimizer="adam", lr=0.01, eps=1e-4, warmup=0.05, min_lr_ratio=0.01
    )
    kept = {key: values[key] for key in ("lr", "momentum", "nesterov", "weight_decay")}
    assert recipes.merge(values, {"schedule": "constant"}) == Recipe(schedule="constant", **kept)
    assert recipes.merge(values, {"schedule": "linear", "optimizer": "sgd"}) == Recipe(**values)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_load_of_dumps_is_equal_for_every_optimizer_and_schedule(tmp_path, optimizer, schedule):
    recipe = Recipe(optimizer=optimizer, schedule=schedule)
    assert recipes.load(written(tmp_path, recipes.dumps(recipe))) == recipe
    for other in OPTIMIZERS:
        assert recipes.load(written(tmp_path, recipes.dumps(recipe)), {"optimizer": other}).lr == OPTIMIZERS[other].lr


def table_of_docs(kind):
    """Return the table of optimizers or schedules in docs/training.md: {name: {column: cell}}."""
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    start = text[text.index(f"| {kind} |") :].partition("\n\n")[0].splitlines()
    header, _, *rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in start]
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


@pytest.mark.parametrize("kind", TABLES)
def test_docs_training_shows_the_defaults(kind):
    def shown(value):
        if isinstance(value, bool):
            return "yes" if value else "no"
        return ", ".join(f"{number:g}" for number in (value if isinstance(value, tuple) else (value,)))

    table, keys = TABLES[kind]
    found = table_of_docs(kind)
    assert list(found) == list(table)
    for name, entry in table.items():
        for key in keys:
            if key in found[name]:
                assert found[name][key] == (shown(entry.settings[key]) if key in entry.settings else ""), (name, key)
        if kind == "optimizer":
            assert found[name]["lr"] == shown(entry.lr)
            assert found[name]["decay"] == ("decoupled" if entry.decoupled else "L2")
    assert {*keys} <= {*next(iter(found.values()))}
