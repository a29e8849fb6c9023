import json
from pathlib import Path

import pytest

from benchmarks import command
from benchmarks.command import COMMANDS, Command, CommandBenchmark, Epoch, Run, main
from benchmarks.command_tables import level_cell, ratios_of_all, report, seconds_to
from benchmarks.ratios import paired_ratios

EPOCHS = [Epoch(1.0, 0.96, 0.95), Epoch(2.0, 0.975, 0.96), Epoch(3.0, 0.97, 0.972)]
SCRIPT = """
import json, time
for epoch, accuracy in enumerate({accuracies}, 1):
    print(json.dumps({{"epoch": epoch, "time": time.time(), "validation": accuracy, "test": accuracy,
                      "seconds_evaluating": {evaluating}}}), flush=True)
"""


def fake(key, code, library="json"):
    return Command(key, key.upper(), ("-c", code), library)


def script(*accuracies, evaluating=0.0):
    return SCRIPT.format(accuracies=accuracies, evaluating=evaluating)


def run(seconds, *, seed=0, epochs=EPOCHS, peak_mb=100.0, joules=None):
    return Run(seed, list(epochs), seconds, peak_mb, joules)


@pytest.fixture
def benchmark(tmp_path, monkeypatch):
    monkeypatch.setattr(CommandBenchmark, "prepare_round", lambda self, seed: None)

    def make(*commands, max_seconds=30.0):
        return CommandBenchmark(list(commands), tmp_path, max_seconds)

    return make


def test_seconds_to_an_accuracy_are_those_of_the_first_epoch_that_has_it():
    assert seconds_to(EPOCHS, "validation", 0.97) == 2.0
    assert seconds_to(EPOCHS, "test", 0.97) == 3.0
    assert seconds_to(EPOCHS, "test", 0.98) is None


def test_level_cell_counts_runs_that_miss_the_accuracy_as_the_longest():
    early, late, never = ([Epoch(seconds, accuracy, 0)] for seconds, accuracy in ((1, 0.98), (5, 0.98), (3, 0.9)))
    runs = [run(9.0, epochs=epochs) for epochs in (early, never, late)]
    assert level_cell(runs, "validation", 0.98) == "5.0 (2 of 3)"
    assert level_cell([*runs, run(9.0, epochs=never)], "validation", 0.98) == "- (2 of 4)"
    assert level_cell(runs[:1], "validation", 0.98) == "1.0"
    assert level_cell(runs[1:2], "validation", 0.98) == "-"


def test_report_shows_ratios_within_rounds_of_the_same_seed():
    ours = [run(seconds, seed=seed) for seed, seconds in enumerate([1, 10, 2, 1, 1])]
    peer = [run(3 * own.seconds, seed=own.seed) for own in reversed(ours)]
    lines = report({"ours": ours, "peer": peer}, {}).splitlines()
    assert lines[2] == "| ours | 2.0 | 2.0 | - | 3.0 | 1.0 | 1 | 97.20 (97.20 to 97.20) | 100 |"
    assert lines[3].split(" | ")[5:7] == ["3.0", "3.00 ± 0%"]
    assert "not known" not in "\n".join(lines)


def test_report_marks_a_ratio_that_few_rounds_or_their_spread_leave_open():
    two = [run(1.0, seed=seed) for seed in range(2)]
    assert "1.00 ± 0%\\*" in report({"ours": two, "peer": two}, {})
    five = [run(1.0, seed=seed) for seed in range(5)]
    spread = [run(1 + 0.1 * seed, seed=seed) for seed in range(5)]
    text = report({"ours": five, "peer": spread}, {})
    assert "1.20 ± 17%\\*" in text
    assert "\n\n\\* not known: half the 95 % interval" in text


def test_ratios_of_all_are_those_to_the_first_command_that_has_runs():
    one, two = [run(2.0)], [run(3.0)]
    assert ratios_of_all({"missing": [], "ours": one, "peer": two, "other": []}) == {
        "peer": paired_ratios([3.0], [2.0])
    }
    assert ratios_of_all({"missing": []}) == {}
    assert ratios_of_all({"ours": one, "peer": [run(3.0, seed=1)]}) == {}


def test_report_has_a_column_of_energy_only_where_the_machine_tells_it():
    assert "| J |" not in report({"ours": [run(1.0)]}, {})
    lines = report({"ours": [run(1.0, joules=12.4)]}, {}).splitlines()
    assert lines[0].endswith("| MB | J |")
    assert lines[2].endswith("| 100 | 12 |")


def test_report_without_runs_says_so_and_names_what_was_left_out():
    assert report({"ours": []}, {}) == "Nothing was measured."
    assert report({"ours": []}, {"ours": "exit code 1"}) == "Left out: ours (exit code 1)."


def test_round_reads_epochs_of_scripts_and_takes_their_evaluation_out_of_the_clock(benchmark):
    waiting = "import time\ntime.sleep(0.5)\n" + script(0.5, 0.75, evaluating=0.4)
    measured = benchmark(fake("a", waiting))
    measured.round(7)
    (found,) = measured.runs["A"]
    assert [(epoch.validation, epoch.test) for epoch in found.epochs] == [(0.5, 0.5), (0.75, 0.75)]
    assert found.seed == 7
    assert 0.5 < found.epochs[0].seconds <= found.epochs[1].seconds
    assert found.seconds < found.epochs[1].seconds  # 0.4 s of evaluation


def test_round_reads_epochs_of_train_py_by_the_time_of_their_lines(benchmark, tmp_path):
    train = tmp_path / "train.py"
    train.write_text(
        "import json, sys, time\n"
        "print('epoch  1/2   train loss', file=sys.stderr, flush=True)\n"
        "time.sleep(0.3)\n"
        "print('epoch  2/2   train loss', file=sys.stderr, flush=True)\n"
        "print(json.dumps({'validation_accuracy': 0.9, 'test_accuracy': 0.8}))\n"
    )
    ours = Command("ours", "OURS", (str(train), "--seed", "{seed}"), "json")
    measured = benchmark(ours)
    measured.lagvis_epochs = [Epoch(0, 0.5, 0.4), Epoch(0, 0.9, 0.8)]
    measured.round(0)
    first, last = measured.runs["OURS"][0].epochs
    assert (first.validation, first.test, last.validation, last.test) == (0.5, 0.4, 0.9, 0.8)
    assert last.seconds - first.seconds > 0.25
    measured.lagvis_epochs[-1] = Epoch(0, 0.9, 0.81)
    measured.round(1)
    assert "ends with the accuracies (0.9, 0.8) (validation, test)" in measured.left_out["OURS"]


def test_round_leaves_out_commands_that_fail_hang_or_report_nothing_and_goes_on(benchmark, capsys):
    crash = fake("crash", "import sys; sys.exit('no such thing')")
    hang = fake("hang", "import time; time.sleep(60)")
    measured = benchmark(crash, hang, fake("silent", "pass"), fake("good", script(0.9)), max_seconds=1.0)
    measured.round(0)
    measured.round(1)
    assert measured.left_out == {
        "CRASH": "exit code 1: no such thing",
        "HANG": "did not end within 1 s",
        "SILENT": "reported no epoch",
    }
    assert len(measured.runs["GOOD"]) == 2
    assert "CRASH is left out: exit code 1: no such thing" in capsys.readouterr().err


def test_measure_leaves_out_a_command_whose_library_is_missing(benchmark):
    measured = benchmark(fake("a", script(0.9)), fake("b", script(0.9), library="no_such_library"))
    measured.measure(1, 1.0, lambda: None)
    assert measured.left_out["B"] == (
        "no_such_library cannot be imported (exit code 1: ModuleNotFoundError: No module named 'no_such_library'); the "
        "extra bench has it"
    )
    assert [len(runs) for runs in measured.runs.values()] == [1, 0]


def test_measure_runs_rounds_until_the_ratios_are_known(benchmark, monkeypatch):
    measured = benchmark(fake("a", ""), fake("b", ""))
    monkeypatch.setattr(measured, "import_libraries", lambda: None)
    seconds = {"A": [1.0] * 9, "B": [2.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]}
    monkeypatch.setattr(measured, "run", lambda one, seed: run(seconds[one.title][seed], seed=seed))
    measured.measure(None, 1.0, lambda: None)
    assert len(measured.runs["A"]) == 9  # the ninth leaves the one outlier out of the interval
    measured.runs = {"A": [], "B": []}
    measured.measure(2, 1.0, lambda: None)
    assert len(measured.runs["A"]) == 2


def test_measure_begins_no_round_that_would_end_after_the_time(benchmark, monkeypatch):
    measured = benchmark(fake("a", ""), fake("b", ""))
    monkeypatch.setattr(measured, "import_libraries", lambda: None)
    clock = [0.0]
    monkeypatch.setattr(command.time, "monotonic", lambda: clock[0])

    def slow_run(one, seed):
        clock[0] += 25.0
        return run(1.0 + seed, seed=seed)

    monkeypatch.setattr(measured, "run", slow_run)
    measured.measure(None, 2.0, lambda: None)
    assert len(measured.runs["A"]) == 2  # of 50 s each


def test_main_prints_and_writes_what_there_is_after_ctrl_c(benchmark, monkeypatch, tmp_path, capsys):
    first, second = fake("a", script(0.9)), fake("b", script(0.8))
    monkeypatch.setattr(command, "COMMANDS", (first, second))

    def interrupted(self, one, seed, run=CommandBenchmark.run):
        if one == second:
            raise KeyboardInterrupt
        return run(self, one, seed)

    monkeypatch.setattr(CommandBenchmark, "run", interrupted)
    output = tmp_path / "command.json"
    assert main(["--output", str(output)]) == 130
    assert "| A | - |" in capsys.readouterr().out
    record = json.loads(output.read_text())
    assert record["ratios"] == {}
    assert record["commands"]["A"][0]["epochs"][0]["test"] == 0.9
    assert record["commands"]["B"] == []
    assert record["environment"]["command"] == f"python -m benchmarks.command --output {output}"


def test_main_refuses_names_and_numbers_that_mean_nothing(capsys):
    for arguments, message in (
        (["--only", "lagvis,caffe"], "there is no command 'caffe'; it is one of lagvis, lagvis-no-plots"),
        (["--rounds", "0"], "--rounds is 0; expected a whole number from 1"),
        (["--minutes", "nan"], "--minutes is nan; expected a number above 0"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err


def test_main_list_names_every_command_once(capsys):
    assert main(["--list"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [one.key for one in COMMANDS]
    assert len({one.title for one in COMMANDS}) == len(set(names)) == len(COMMANDS)


def test_commands_name_scripts_that_exist():
    for one in COMMANDS:
        path = Path(one.arguments[0]) if one.is_lagvis else Path(*one.arguments[1].split(".")).with_suffix(".py")
        assert (command.ROOT / path).is_file()
