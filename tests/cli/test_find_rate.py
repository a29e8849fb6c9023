"""--lr find: the rate is found before the run, recorded as a number, and nothing else about the run changes."""

import json

import numpy as np
import pytest

from lagvis.cli import compare, train
from lagvis.cli.errors import run_cli
from lagvis.errors import RecipeError
from lagvis.report.plots import figure
from lagvis.storage.environment import is_valid_rate_search
from lagvis.training.recipe import load
from tests.factories import bands

FLAGS = ("--device", "cpu", "--hidden", "8", "-e", "2", "--data", "bands.npz")


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """Write a small data set and make its folder the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figure, "DPI", 20)
    (x, y), (x_test, y_test) = bands(200), bands(60, seed=8)
    np.savez("bands.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return tmp_path


def run(tmp_path, name, *flags):
    assert train.main([*FLAGS, "--name", name, *flags]) == 0
    return tmp_path / "runs" / name


def content(folder, name):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_train_lr_find_records_the_rate_and_its_picture(tmp_path, capsys):
    folder = run(tmp_path, "a", "--lr", "find", "--json")
    rate = load(str(folder / "recipe.toml")).lr
    printed = capsys.readouterr()
    said = printed.err.index(f"The learning rate is {rate:g}: in ")
    assert said < printed.err.index("epoch 1/2")
    search = content(folder, "environment.json")["rate_search"]
    assert search["rate"] == rate
    assert len(search["rates"]) == len(search["losses"]) == len(search["smoothed"])
    found = content(folder, "report.json")["rate_search"]
    assert found == json.loads(printed.out)["rate_search"]
    assert found == {
        "rate": rate, "steps": len(search["rates"]),
        "lowest_rate": search["rates"][0], "highest_rate": search["rates"][-1],
    }  # fmt: skip
    assert (folder / "plots" / "learning_rate.png").exists()
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "## Learning rate" in text
    assert '"rate_search"' not in text, "the numbers of the picture are no part of the environment that is shown"


@pytest.mark.parametrize("flags", [(), ("--optimizer", "adam"), ("--dropout", "0.2", "--mixup", "0.2")], ids=str)
def test_train_lr_find_run_has_the_bytes_of_a_run_with_that_rate(tmp_path, flags):
    folder = run(tmp_path, "a", "--lr", "find", "--no-plots", "--quiet", *flags)
    rate = load(str(folder / "recipe.toml")).lr
    again = run(tmp_path, "b", "--lr", repr(rate), "--no-plots", "--quiet", *flags)
    assert (folder / "recipe.toml").read_bytes() == (again / "recipe.toml").read_bytes()
    for name in ("last.safetensors", "best.safetensors"):
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name
    assert content(again, "environment.json")["rate_search"] is None
    assert content(again, "report.json")["rate_search"] is None


def test_train_lr_find_in_a_recipe_file_keeps_with_another_optimizer(tmp_path, capsys):
    (tmp_path / "my.toml").write_text('lr = "find"\nepochs = 1\n')
    folder = run(tmp_path, "a", "--recipe", "my.toml", "--optimizer", "adam", "--no-plots")
    recipe = load(str(folder / "recipe.toml"))
    assert recipe.optimizer == "adam"
    printed = capsys.readouterr().err
    assert f"The learning rate is {recipe.lr:g}" in printed
    assert "lr 0.001" not in printed


def test_train_lr_of_the_command_line_replaces_find_of_the_recipe(tmp_path, capsys):
    (tmp_path / "my.toml").write_text('lr = "find"\n')
    folder = run(tmp_path, "a", "--recipe", "my.toml", "--lr", "0.05", "--no-plots")
    assert load(str(folder / "recipe.toml")).lr == 0.05
    assert "Finding" not in capsys.readouterr().err


def test_train_lr_find_from_another_network(tmp_path, capsys):
    run(tmp_path, "a", "--lr", "0.001", "--no-plots", "--quiet")
    assert train.main(["--device", "cpu", "--data", "bands.npz", "-e", "1", "--init-from", "a", "--name", "b",
                       "--lr", "find", "--no-plots"]) == 0  # fmt: skip
    assert "The learning rate is" in capsys.readouterr().err


def test_resume_keeps_the_search_and_draws_its_picture(tmp_path, capsys):
    folder = run(tmp_path, "a", "--lr", "find", "--stop-after", "1", "--no-plots")
    search = content(folder, "environment.json")["rate_search"]
    capsys.readouterr()
    assert train.main(["--resume", "a"]) == 0
    assert "Finding" not in capsys.readouterr().err
    assert content(folder, "environment.json")["rate_search"] == search
    assert content(folder, "report.json")["rate_search"]["rate"] == search["rate"]
    assert (folder / "plots" / "learning_rate.png").exists()


def test_resume_lr_find_raises(tmp_path):
    run(tmp_path, "a", "--lr", "0.1", "--no-plots", "--quiet")
    with pytest.raises(RecipeError, match="--resume goes on with the learning rate of the run; give --lr a number"):
        train.main(["--resume", "a", "--lr", "find", "-e", "3"])


def test_resume_broken_search_is_left_out(tmp_path):
    folder = run(tmp_path, "a", "--lr", "find", "--no-plots", "--quiet")
    environment = content(folder, "environment.json")
    environment["rate_search"]["rates"][3] = "x"
    (folder / "environment.json").write_text(json.dumps(environment))
    assert train.main(["--resume", "a", "-e", "3", "--quiet", "--no-plots"]) == 0
    assert content(folder, "environment.json")["rate_search"] is None


def test_is_valid_rate_search_takes_what_is_written_and_nothing_else():
    search = {"rate": 0.1, "fallen": 0.2, "rates": [0.1, 0.3], "losses": [1.0, 2], "smoothed": [1.0, 1.5]}
    assert is_valid_rate_search(search)
    for broken in (
        None, {}, "x", search | {"rate": -0.1}, search | {"rate": True}, search | {"fallen": None},
        search | {"rates": [0.1]}, search | {"rates": [0.0, 0.1]}, search | {"losses": [1.0, "2"]},
        search | {"losses": 3}, {**search, "rates": [], "losses": [], "smoothed": []},
        search | {"smoothed": [1.0, float("nan")]},
    ):  # fmt: skip
        assert not is_valid_rate_search(broken), broken


def test_train_lr_find_without_epochs_raises(tmp_path):
    with pytest.raises(RecipeError, match="lr is 'find', and with 0 epochs no step is taken"):
        train.main([*FLAGS, "--lr", "find", "-e", "0"])
    assert not (tmp_path / "runs").exists()


def test_compare_lr_find_raises():
    with pytest.raises(RecipeError, match=r"lr is 'find', which train\.py alone replaces by a number; give a number"):
        compare.main(["--data", "bands.npz", "--lr", "find"])


def test_train_dry_run_and_quiet_lr_find(tmp_path, capsys):
    assert train.main([*FLAGS, "--lr", "find", "--dry-run"]) == 0
    assert "Finding" not in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    run(tmp_path, "a", "--lr", "find", "--quiet", "--no-plots")
    assert capsys.readouterr().err == ""


def test_train_interrupted_while_the_rate_is_found_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("lagvis.cli.setup.find_rate", interrupted)
    assert run_cli(train.main, [*FLAGS, "--lr", "find"]) == 130
    assert not (tmp_path / "runs").exists()


def test_train_lr_of_another_word_raises(capsys):
    with pytest.raises(SystemExit):
        train.main([*FLAGS, "--lr", "finds"])
    assert "found 'finds', expected a number, or find" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train.main([*FLAGS, "--lr", "0,1"])
    assert "write 0.1" in capsys.readouterr().err
