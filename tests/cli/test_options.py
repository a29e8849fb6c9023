"""Command-line options shared by all commands."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lagvis.cli import evaluate, export, options, predict, setup, train
from lagvis.cli.errors import run_cli
from tests.cli.commands import write_dataset


@pytest.fixture
def runs(tmp_path, monkeypatch, capsys):
    """Train a run `r` in the folder `elsewhere` of the current folder."""
    monkeypatch.chdir(tmp_path)
    with np.load(write_dataset(tmp_path / "data.npz")) as parts:
        x, y = parts["x"], parts["y"]
    np.savez(tmp_path / "data.npz", x_train=x[:300], y_train=y[:300], x_test=x[300:], y_test=y[300:])
    np.savez(tmp_path / "new.npz", x=x[:3])
    flags = ["--device", "cpu", "--data", "data.npz", "--hidden", "4", "-e", "1", "--quiet", "--no-plots"]
    assert train.main([*flags, "--name", "r", "-o", "elsewhere"]) == 0
    capsys.readouterr()
    return tmp_path


COMMANDS = {
    "evaluate": (evaluate.main, ["r", "--device", "cpu", "--json"]),
    "predict": (predict.main, ["r", "new.npz", "--json"]),
    "export": (export.main, ["r", "--format", "npz", "--json"]),
}


def run_command(name, *arguments):
    main, required = COMMANDS[name]
    return run_cli(main, [*required, *arguments])


@pytest.mark.parametrize("name", COMMANDS)
def test_runs_dir_is_where_runs_are_looked_up(runs, capsys, name):
    assert run_command(name, "--runs-dir", "elsewhere") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["run"] == str(runs / "elsewhere" / "r" / "last.safetensors")
    assert err == ""
    assert run_command(name) == 7


@pytest.mark.parametrize(
    ("name", "old"),
    [(name, "--output-dir") for name in COMMANDS] + [("evaluate", "-o")],
)
def test_old_name_of_runs_dir_works_with_one_notice(runs, capsys, name, old):
    assert run_command(name, old, "nowhere", old, "elsewhere") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["run"] == str(runs / "elsewhere" / "r" / "last.safetensors")
    assert err == f"{old} is deprecated here: it is called --runs-dir now.\n"


@pytest.mark.parametrize("option", ["-o", "--output"])
def test_export_o_is_the_output_file(runs, capsys, option):
    assert run_command("export", "--runs-dir", "elsewhere", option, "m.npz") == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["output"], err) == (str(runs / "m.npz"), "")
    assert (runs / "m.npz").is_file()
    assert not (runs / "elsewhere" / "r" / "export").exists()


def test_export_path_of_a_run_with_o_writes_there(runs, capsys):
    assert run_cli(export.main, ["elsewhere/r", "--format", "npz", "-o", "m.npz"]) == 0
    assert capsys.readouterr().out == f"{runs / 'm.npz'}\n"
    assert (runs / "m.npz").is_file()


@pytest.mark.parametrize("option", ["-o", "--output-dir", "--runs-dir"])
def test_train_makes_and_finds_runs_by_each_name_of_the_option(runs, capsys, option):
    flags = ["--device", "cpu", "-e", "1", "--quiet", "--no-plots", option, "other"]
    assert run_cli(train.main, [*flags, "--data", "data.npz", "--name", "new"]) == 0
    assert run_cli(train.main, [*flags, "--resume", "new", "-e", "2"]) == 0
    assert run_cli(train.main, [*flags, "--data", "data.npz", "--init-from", "new", "--name", "next"]) == 0
    assert capsys.readouterr().err == ""
    assert sorted(path.name for path in (runs / "other").iterdir()) == ["new", "next"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_runs_dir_and_no_old_name(capsys, name):
    with pytest.raises(SystemExit):
        COMMANDS[name][0](["--help"])
    out = capsys.readouterr().out
    assert "--runs-dir DIR" in out
    assert "--output-dir" not in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--batch_size=3", "a_b"], {"batch_size": "3", "files": ["a_b"]}),
        (["--batch_size", "my_value", "f"], {"batch_size": "my_value", "files": ["f"]}),
        (["--batch-size=x_y", "f"], {"batch_size": "x_y", "files": ["f"]}),
        (["--batch_size=--x_y", "f"], {"batch_size": "--x_y", "files": ["f"]}),
        (["--", "--batch_size", "--my_file.csv"], {"batch_size": None, "files": ["--batch_size", "--my_file.csv"]}),
        (["--batch_size=3", "--", "-", "--a_b=c_d"], {"batch_size": "3", "files": ["-", "--a_b=c_d"]}),
    ],
    ids=" ".join,
)
def test_parse_rewrites_option_names_before_the_separator_only(words, expected):
    parser = options.Parser("test", "A test.")
    parser.add_argument("--batch-size")
    parser.add_argument("files", nargs="*")
    found = vars(parser.parse(words))
    assert {key: found[key] for key in expected} == expected


def test_parse_unknown_option_is_reported_as_it_was_typed(capsys):
    with pytest.raises(SystemExit) as end:
        options.Parser("test", "A test.").parse(["--not_a_flag=1"])
    assert end.value.code == 2
    assert "there is no flag --not_a_flag=1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("age", "age belongs to no option; join several values of one with commas, without blanks"),
        ("some table.csv", "some table.csv belongs to no option; did you mean --data 'some table.csv'?"),
    ],
)
def test_parse_word_without_option_names_the_remedy(monkeypatch, tmp_path, capsys, word, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some table.csv").write_text("a,b\n1,2\n")
    parser = options.Parser("test", "A test.")
    parser.add_argument("--data")
    with pytest.raises(SystemExit) as end:
        parser.parse(["--data", "other.csv", word])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {sentence}")


def test_predict_file_named_like_an_option_is_read(runs, capsys):
    (runs / "--my_table.csv").write_text("\n".join(",".join(["0"] * 64) for _ in range(2)) + "\n")
    assert run_cli(predict.main, ["--runs-dir", "elsewhere", "--json", "--", "r", "--my_table.csv"]) == 0
    assert [row["file"] for row in json.loads(capsys.readouterr().out)["predictions"]] == ["--my_table.csv"] * 2


def recorded_command(folder):
    return json.loads((folder / "environment.json").read_text())["command"]


def test_train_main_with_argv_records_that_command(runs, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["notebook.py", "-f", "kernel.json"])
    flags = ["--device", "cpu", "--data", "data.npz", "--hidden", "4", "-e", "1", "--quiet", "--no-plots"]
    assert train.main([*flags, "--name", "api"]) == 0
    assert recorded_command(Path("runs/api")) == ["lagvis", "train", *flags, "--name", "api"]


def test_train_main_without_argv_records_the_command_line(runs, monkeypatch):
    words = ["/somewhere/train.py", "--device", "cpu", "--data", "data.npz", "--hidden=4", "--epochs", "1"]
    words += ["--quiet", "--no_plots", "--name", "script"]
    monkeypatch.setattr(sys, "argv", words)
    assert train.main() == 0
    assert recorded_command(Path("runs/script")) == words


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--learning-rate", "0.1"], "did you mean --lr?"),
        (["-lr", "0.1"], "did you mean --lr?"),
        (["--LR", "0.1"], "did you mean --lr?"),
        (["--batchsize", "3"], "did you mean --batch-size?"),
        (["--n_epochs=3"], "did you mean --epochs?"),
        (["--alpha", "1"], "did you mean --weight-decay?"),
        (["--gamma=0.5"], "did you mean --lr-gamma?"),
        (["--amsgrad"], "there is no AMSGrad"),
        (["--betas", "0.9;0.99"], "expected two numbers such as 0.9,0.999"),
        (["--lr", "0,05"], "write 0.05"),
    ],
    ids=" ".join,
)
def test_train_option_of_another_program_exits_2_with_a_hint(capsys, flags, hint):
    with pytest.raises(SystemExit) as end:
        train.main(flags)
    assert end.value.code == 2
    assert hint in capsys.readouterr().err


def test_train_recipe_with_tab_in_the_path_exits_2_and_shows_it(tmp_path, capsys):
    (tmp_path / "r.toml").write_text('data = "C:\\temp"\nepochs = 1\n')
    assert run_cli(train.main, ["--recipe", str(tmp_path / "r.toml")]) == 2
    assert "data is C:<tab>emp, which does not exist" in capsys.readouterr().err


DEFAULTS_OF_ADAM = "lr 0.001, betas 0.9,0.999, eps 1e-08, weight_decay 0.0"


@pytest.mark.parametrize(
    ("flags", "notices"),
    [
        ([], []),
        (["--optimizer", "sgd", "--lr", "0.5"], []),
        (
            ["--optimizer", "adam"],
            [f"The optimizer is adam instead of the recipe's sgd, with its defaults: {DEFAULTS_OF_ADAM}."],
        ),
        (
            ["--optimizer", "lion", "--lr", "0.01", "--schedule", "cosine"],
            [
                "The optimizer is lion instead of the recipe's sgd, with its defaults: betas 0.9,0.99, "
                "weight_decay 0.03.",
                "The schedule is cosine instead of the recipe's linear, with its defaults: warmup 0.1, "
                "min_lr_ratio 0.0.",
            ],
        ),
        (["--schedule", "constant", "--warmup", "0.1"], []),
        (["--loss", "mse"], ["With the loss mse lr is 0.01, not the recipe's 0.1."]),
        (["--loss", "mse", "--lr", "0.1"], []),
    ],
)
def test_override_notices_name_the_values_that_are_used_instead_of_the_recipe(flags, notices):
    given = setup.make_parser().parse(flags)
    assert options.override_notices(given, options.resolve_recipe(given)) == notices


def test_override_notices_of_a_recipe_of_ones_own_name_its_optimizer(tmp_path):
    (tmp_path / "r.toml").write_text('optimizer = "adam"\nlr = 0.01\n')
    flags = setup.make_parser().parse(["--recipe", str(tmp_path / "r.toml"), "--optimizer", "sgd", "--momentum", "0.8"])
    (line,) = options.override_notices(flags, options.resolve_recipe(flags))
    assert line == (
        "The optimizer is sgd instead of the recipe's adam, with its defaults: lr 0.1, nesterov on, weight_decay 0.0."
    )


@pytest.mark.parametrize(("hidden", "lines"), [("8,8", 0), ("8", 1), ("none", 1)])
def test_train_muon_without_hidden_matrix_says_so_before_the_first_step(runs, capsys, hidden, lines):
    flags = ["--device", "cpu", "--data", "data.npz", "--hidden", hidden, "--optimizer", "muon", "--dry-run"]
    assert train.main(flags) == 0
    assert capsys.readouterr().err.count("The optimizer muon trains this network by its AdamW part alone") == lines


@pytest.mark.parametrize(
    "flags",
    [
        ["--optimizer", "adam", "--betas", "1,0.9"],
        ["--optimizer", "adam", "--betas", "0.9"],
        ["--optimizer", "adam", "--eps", "-1"],
        ["--optimizer", "adam", "--eps", "0"],
        ["--optimizer", "adam", "--momentum", "0.9"],
        ["--optimizer", "lion", "--eps", "1e-8"],
        ["--warmup", "1"],
        ["--warmup", "500"],
        ["--min-lr-ratio", "1.5"],
        ["--schedule", "constant", "--min-lr-ratio", "0.1"],
        ["--lr-gamma", "0.5"],
        ["--schedule", "one-cycle", "--base-momentum", "0.99"],
        ["--optimizer", "adamw", "--weight-decay", "1000"],
        ["--clip-norm", "-1"],
    ],
    ids=" ".join,
)
def test_train_bad_setting_of_optimizer_or_schedule_exits_2_with_one_sentence(runs, capsys, flags):
    assert run_cli(train.main, ["--device", "cpu", "--data", "data.npz", *flags]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert any(flag.removeprefix("--").replace("-", "_") in lines[0] for flag in flags if flag.startswith("--"))


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("lr", "(default: 0.1 with sgd; 0.001 with rmsprop, adam, adamw, muon; 0.0003 with lion)"),
        ("momentum", "(default: 0.9 with sgd; 0.0 with rmsprop; 0.95 with muon)"),
        ("weight-decay", "(default: 0.0 with sgd, rmsprop, adam; 0.01 with adamw, muon; 0.03 with lion)"),
        ("lr-gamma", "(default: 0.1 with step)"),
    ],
)
def test_train_help_shows_the_defaults_of_each_optimizer_and_schedule(option, shown):
    text = " ".join(setup.make_parser().format_help().split())
    described = text[text.index(f" --{option} ", text.index("recipe (defaults")) :]
    assert described[: described.index("(default: ") + len(shown)].endswith(shown)
