"""Recipes as editors of Windows and other programs write them: read, or refused with what to write instead."""

import tomllib

import pytest

from lagvis.errors import RecipeError
from lagvis.training import recipe as recipes
from lagvis.training.recipe_hints import MISSING, SYNONYMS, control_character_hint, normalized
from lagvis.training.recipe_keys import KEYS


def refusal(content):
    with pytest.raises(RecipeError) as caught:
        recipes.parse(content.encode() if isinstance(content, str) else content)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("lr = 0,05", "lr = 0.05"),
        ("lr = .5", "lr = 0.5"),
        ("lr = 1.", "lr = 1.0"),
        ("lr: 0.1", "lr = 0.1"),
        ("seed = 007", "seed = 7"),
        ("nesterov = True", "nesterov = true"),
        ("nesterov = FALSE  # why not", "nesterov = false"),
        ("nesterov = yes", "nesterov = true"),
        ("hidden = 64,64", "hidden = [64, 64]"),
        ("hidden = (64, 32)", "hidden = [64, 32]"),
        ("hidden = None", "hidden = []"),
        ("activation = tanh", 'activation = "tanh"'),
        ("normalization = None", 'normalization = "none"'),
        ('data = "C:\\Users\\ann\\mnist"', "data = 'C:\\Users\\ann\\mnist'"),
        ('data = "C:\\data', "data = 'C:\\data'"),
        ("data = C:\\data\\mnist", "data = 'C:\\data\\mnist'"),
        ("data = \u201cmnist\u201d", "data = 'mnist'"),
    ],
)
def test_parse_line_of_another_notation_names_how_it_is_written(line, written):
    sentence = refusal(f"# a remark\n{line}\nepochs = 1\n")
    assert sentence.startswith("is not TOML: ")
    assert "line 2" in sentence
    assert f"; write {written}" in sentence
    assert tomllib.loads(written)


@pytest.mark.parametrize("line", ["patience = None", "label = null", "label: None"])
def test_parse_no_value_advises_to_leave_the_key_out(line):
    assert refusal(f"{line}\n").endswith(f"; leave {line.split()[0].rstrip(':')} out for its default")


@pytest.mark.parametrize("text", ['{"epochs": 5}', '{\n  "epochs": 5,\n  "lr": 0.1\n}\n'])
def test_parse_json_says_how_a_setting_is_written(text):
    assert refusal(text).endswith("; it looks like JSON: write each setting in a line of its own, such as epochs = 5")


def test_parse_backslashes_and_apostrophe_in_double_quotes_advises_slashes():
    assert refusal('data = "C:\\Users\\O\'Brien"').endswith("write data = the path with / instead of each backslash")


@pytest.mark.parametrize(
    ("key", "end"),
    [
        ("learning_rate", "did you mean lr?"),
        ("Lr", "did you mean lr?"),
        ("batchsize", "did you mean batch_size?"),
        ("Batch-Size", "did you mean batch_size?"),
        ("n_epochs", "did you mean epochs?"),
        ("hidden_layer_sizes", "did you mean hidden?"),
        ("alpha", "did you mean weight_decay?"),
        ("solver", "did you mean optimizer?"),
        ("learning_rate_init", "did you mean lr?"),
        ("beta_1", "did you mean betas?"),
        ("epsilon", "did you mean eps?"),
        ("lr_scheduler", "did you mean schedule?"),
        ("max_lr", "did you mean lr?"),
        ("eta_min", "did you mean min_lr_ratio?"),
        ("gamma", "did you mean lr_gamma?"),
        ("step_size", "did you mean lr_step_size?"),
        ("total_steps", "did you mean epochs?"),
        ("pct_start", "did you mean warmup?"),
        ("warmup_steps", "did you mean warmup?"),
        ("max_grad_norm", "did you mean clip_norm?"),
        ("clipnorm", "did you mean clip_norm?"),
        ("early_stopping", "did you mean patience?"),
        ("restore_best_weights", "did you mean patience?"),
        ("ema_decay", "did you mean ema?"),
        ("gradient_accumulation_steps", "did you mean accumulate?"),
        ("gradient_clip", "did you mean clip_norm?"),
        ("delta", "did you mean huber_delta?"),
        ("amsgrad", "there is no AMSGrad; the optimizer adam is without it"),
        ("clipvalue", "there is no clipping of single values; clip_norm bounds the norm of the whole gradient"),
        ("device", "use the option --device"),
        ("nestrov", "did you mean nesterov?"),
        ("steps", "did you mean epochs?"),
        ("iterations", "did you mean epochs?"),
        ("target_column", "did you mean label?"),
        ("columns", "did you mean features?"),
        ("val_split", "did you mean validation?"),
        ("early_stopping_rounds", "did you mean patience?"),
        ("kernel_constraint", "did you mean max_norm?"),
        ("initializer", "there is no choice of the first weights; the activation decides how they are drawn"),
        ("bias", "there is no layer without biases"),
        ("amp", "did you mean dtype?"),
        ("allow_tf32", "there is no TF32; products of float32 are computed in float32 on every device"),
    ],
)
def test_parse_unknown_key_names_the_key_that_is_meant(key, end):
    sentence = refusal(f"{key} = 1\n")
    assert repr(key) in sentence
    assert sentence.endswith(end)


def test_synonyms_name_keys_that_exist_and_missing_names_none():
    assert {*SYNONYMS.values()} <= {*KEYS}
    known = {normalized(key) for key in KEYS}
    assert not known & {*SYNONYMS, *MISSING}
    assert not {*SYNONYMS} & {*MISSING}


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("schedule", "OneCycleLR", "one-cycle"),
        ("schedule", "CosineAnnealingLR", "cosine"),
        ("schedule", "StepLR", "step"),
        ("loss", "bce", "binary-cross-entropy"),
        ("loss", "mean_squared_error", "mse"),
        ("loss", "SmoothL1Loss", "huber"),
        ("optimizer", "AdamW", "adamw"),
        ("optimizer", "RMSProp", "rmsprop"),
        ("optimizer", "gradient descent", "sgd"),
    ],
)
def test_recipe_value_of_another_program_proposes_the_one_here(key, value, meant):
    with pytest.raises(RecipeError, match=rf"; did you mean {meant}\?$"):
        recipes.Recipe(**{key: value})


@pytest.mark.parametrize("content", ["[train]\nlr = 0.1\n", "train.lr = 0.1\n"])
def test_parse_table_is_refused_with_its_name(content):
    assert "has a table [" in refusal(content)


TEXT = "lr = 0.25\nlabel = 'n\u00e5r'\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_parse_text_with_byte_order_mark_is_read(encoding):
    assert recipes.parse(TEXT.encode(encoding)) == {"lr": 0.25, "label": "n\u00e5r"}
    big_endian = b"\xfe\xff" + TEXT.encode("utf-16-be")
    assert recipes.parse(big_endian) == {"lr": 0.25, "label": "n\u00e5r"}


def test_parse_windows_1252_names_line_and_character():
    sentence = refusal(TEXT.encode("cp1252"))
    assert sentence == "is not UTF-8: line 2 holds the byte 0xe5, in Windows-1252 '\u00e5'; save it as UTF-8"


def test_parse_utf_16_without_mark_is_named():
    assert "UTF-16 without a byte order mark" in refusal("lr = 0.25\n".encode("utf-16-le"))


@pytest.mark.parametrize(
    ("path", "shown", "meant"),
    [
        ("C:\temp\new", "C:<tab>emp<line feed>ew", "'C:\\temp\\new'"),
        ("D:\\a\reports", "D:\\a<carriage return>eports", "'D:\\a\\reports'"),
        ("\x0cotos", "<form feed>otos", "'\\fotos'"),
    ],
)
def test_control_character_hint_shows_each_character_and_the_remedy(path, shown, meant):
    hint = control_character_hint(path)
    assert f"data is {shown}, which does not exist" in hint
    assert f"in single quotes, {meant}, or with /" in hint


def test_control_character_hint_other_path_is_empty():
    assert control_character_hint("C:\\temp\\new") == ""


def test_read_name_with_hidden_ending_names_the_file(tmp_path):
    (tmp_path / "my.toml.txt").write_text("lr = 0.1\n")
    with pytest.raises(RecipeError, match=r"there is .*my\.toml\.txt, rename it"):
        recipes.read(str(tmp_path / "my.toml"))


@pytest.mark.parametrize(("key", "value"), [("lr", "0.1"), ("epochs", "3"), ("nesterov", "true")])
def test_recipe_value_in_quotes_is_refused_with_the_reason(key, value):
    with pytest.raises(RecipeError, match=r"without quotes$"):
        recipes.Recipe(**{key: value})


@pytest.mark.parametrize(
    ("key", "value", "end"),
    [
        ("label", ["urgent", "spam"], 'expected a text with commas between several: "urgent,spam"'),
        ("label", ["a", 3], 'expected a text with commas between several: "a,3"'),
        ("weight_column", 7, 'expected a text, in quotes: "7"'),
        ("sheet", 2.5, "expected a text"),
        ("label", True, "expected a text"),
    ],
)
def test_recipe_text_of_another_type_is_refused_with_how_it_is_written(key, value, end):
    with pytest.raises(RecipeError) as caught:
        recipes.Recipe(**{key: value})
    assert str(caught.value).endswith(end)
