"""The order of stages, their limits and the record, on stand-ins; and scripts/gpu-check on a machine without a GPU."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpu_check import __main__ as program
from gpu_check.__main__ import Clock, check
from gpu_check.processes import Runner
from gpu_check.record import Record
from gpu_check.stage import Context, Stage
from gpu_check.stages import STAGES, NoDeviceError
from tests.cli.commands import hide_module

ROOT = Path(__file__).resolve().parent.parent.parent


def passes(context, deadline, result):
    context.runner.python("-c", "print('done')", deadline=deadline)
    result.notes.append("a note")


def fails(context, deadline, result):
    result.faults.append("a fault")


def raises(context, deadline, result):
    result.measured["before"] = 1
    raise ZeroDivisionError("of the stage")


def hangs(context, deadline, result):
    result.measured["before"] = 1
    context.runner.python("-c", "import time; print('began', flush=True); time.sleep(60)", deadline=deadline)


@pytest.fixture
def run(tmp_path, capsys):
    """Return a function that runs stages and returns exit code, record and output."""

    def run(*stages, minutes=5.0):
        stages = [Stage(f"{i}-{stage.__name__}", limit, stage) for i, (stage, limit) in enumerate(stages)]
        context = Context("cuda", ["cupy"], Runner({}), tmp_path, tmp_path / "output", 2)
        record = Record("cuda", minutes, context.output, [stage.name for stage in stages])
        code = check(stages, context, record, Clock(minutes))
        return code, json.loads(record.path.read_text()), capsys.readouterr().out

    return run


def test_stages_are_the_six_in_order_of_worth_and_take_five_minutes():
    assert [stage.name for stage in STAGES] == ["card", "tests", "compare", "commands", "speed", "costs"]
    assert sum(stage.limit for stage in STAGES) == 300


def test_check_all_passed_returns_0_with_record_and_table(run):
    code, written, output = run((passes, 20), (passes, 20))
    assert code == 0
    assert [stage["status"] for stage in written["stages"]] == ["passed", "passed"]
    (command,) = written["stages"][1]["commands"]
    assert (command["exit"], command["stdout"]) == (0, "done\n")
    assert {"date", "command", "machine", "versions", "seconds"} <= set(written)
    assert output.count("a note") == 2


@pytest.mark.parametrize(("stage", "words"), [(fails, "a fault"), (raises, "ZeroDivisionError: of the stage")])
def test_check_failing_stage_returns_1_and_later_ones_run(run, stage, words):
    code, written, output = run((stage, 20), (passes, 20))
    assert code == 1
    assert [stage["status"] for stage in written["stages"]] == ["FAILED", "passed"]
    assert words in written["stages"][0]["faults"][0]
    assert "FAILED" in output


def test_check_hanging_stage_is_cut_at_its_limit_and_the_next_runs(run):
    code, written, output = run((hangs, 1.5), (passes, 20))
    first, second = written["stages"]
    assert (code, first["status"], second["status"]) == (1, "cut at 2 s", "passed")
    assert 1.5 <= first["seconds"] < 4
    assert (first["measured"], first["commands"][0]["stdout"]) == ({"before": 1}, "began\n")
    assert "cut at 2 s" in output


def test_check_record_holds_every_finished_stage_when_the_next_begins(run, tmp_path):
    seen = []

    def looks(context, deadline, result):
        seen.append(json.loads((tmp_path / "output" / "gpu-check.json").read_text())["stages"])

    run((passes, 20), (looks, 20), (looks, 20))
    assert [[stage["status"] for stage in stages] for stages in seen] == [
        ["passed", "running", "not reached"],
        ["passed", "passed", "running"],
    ]


def test_check_never_takes_longer_than_its_minutes(run, monkeypatch):
    monkeypatch.setattr(program, "RESERVE_SECONDS", 1.0)
    started = time.monotonic()
    code, written, _ = run((hangs, 120), (hangs, 120), (hangs, 3), minutes=3 / 60)
    assert time.monotonic() - started < 3
    statuses = [stage["status"] for stage in written["stages"]]
    assert (code, statuses) == (1, ["not reached", "not reached", "cut at 2 s"])


def test_check_stage_that_no_longer_fits_is_not_reached_and_a_shorter_one_runs(run):
    code, written, _ = run((passes, 20), (passes, 1200), (passes, 20))
    assert code == 1
    assert [stage["status"] for stage in written["stages"]] == ["passed", "not reached", "passed"]


def test_clock_share_gives_a_stage_what_earlier_ones_left():
    clock = Clock(5.0)
    assert clock.limit(Stage("a", 30, passes)) == 30
    assert clock.limit(Stage("a", 30, passes, share=1.0)) == pytest.approx(293, abs=1)
    assert Clock(10.0).limit(Stage("a", 30, passes)) == 60


def test_clock_in_less_than_five_minutes_keeps_the_limits():
    assert Clock(2.5).limit(Stage("a", 30, passes)) == 30
    assert Clock(0.5).limit(Stage("a", 90, passes)) == 0.0


def test_check_record_that_cannot_be_written_is_said_once_and_all_stages_run(run, monkeypatch, capsys):
    ran = []

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    def fills(context, deadline, result):
        monkeypatch.setattr("gpu_check.record.os.fsync", full)

    def runs(context, deadline, result):
        ran.append(capsys.readouterr().err)

    code, written, output = run((passes, 20), (fills, 20), (runs, 20))
    assert [stage["status"] for stage in written["stages"]] == ["passed", "running", "not reached"]
    assert len(ran) == 1
    assert ran[0].count("gpu-check.json cannot be written (No space left on device); the check goes on") == 1
    assert "Not written: " in output
    assert code == 1


def test_check_first_stage_without_a_device_writes_nothing(run, tmp_path):
    def no_device(context, deadline, result):
        raise NoDeviceError("there is no GPU")

    with pytest.raises(NoDeviceError):
        run((no_device, 20), (passes, 20))
    assert not (tmp_path / "output").exists()


STAND_INS = """
import sys
from pathlib import Path
from gpu_check.__main__ import Clock, check
from gpu_check.processes import Runner
from gpu_check.record import Record
from gpu_check.stage import Context, Stage

def quick(context, deadline, result):
    result.measured["kept"] = 1

def hangs(context, deadline, result):
    context.runner.python("-c", "import os, time; print(os.getpid(), flush=True); time.sleep(20)", deadline=deadline)

stages = [Stage("quick", 20, quick), Stage("hangs", 20, hangs), Stage("last", 20, quick)]
output = Path(sys.argv[1])
context = Context("cuda", ["cupy"], Runner({}), output, output, 2)
sys.exit(check(stages, context, Record("cuda", 5, output, [stage.name for stage in stages]), Clock(5)))
"""


def interrupted(folder, number):
    """Run stand-ins, send a signal while the second one runs; return exit code, record and output."""
    with subprocess.Popen(
        [sys.executable, "-c", STAND_INS, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        for _ in range(400):
            path = folder / "gpu-check.json"
            if path.exists() and json.loads(path.read_text())["stages"][1]["status"] == "running":
                break
            time.sleep(0.05)
        time.sleep(0.5)  # for its command to start
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
    return process.returncode, json.loads((folder / "gpu-check.json").read_text())["stages"], output


def test_check_killed_keeps_every_finished_stage(tmp_path):
    code, stages, _ = interrupted(tmp_path, signal.SIGKILL)
    assert code == -9
    assert [stage["status"] for stage in stages] == ["passed", "running", "not reached"]
    assert stages[0]["measured"] == {"kept": 1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_check_stopped_ends_its_commands_and_prints_the_table(tmp_path, number):
    code, stages, output = interrupted(tmp_path, number)
    assert code == 1
    assert [stage["status"] for stage in stages] == ["passed", f"cut by {number.name}", "not reached"]
    assert stages[1]["commands"][0]["exit"] == -9
    assert "not reached    last" in output
    assert not Path(f"/proc/{stages[1]['commands'][0]['stdout'].strip()}").exists()


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "many"])
def test_gpu_check_wrong_minutes_exits_2(monkeypatch, capsys, minutes):
    monkeypatch.setattr(sys, "argv", ["gpu-check", "--minutes", minutes])
    with pytest.raises(SystemExit) as end:
        program.main()
    assert end.value.code == 2
    assert "--minutes" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["file", "file/below"])
def test_gpu_check_output_that_cannot_be_written_exits_2(monkeypatch, capsys, tmp_path, output):
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["gpu-check", "--output", str(tmp_path / output)])
    with pytest.raises(SystemExit) as end:
        program.main()
    assert end.value.code == 2
    assert f"--output {tmp_path / output} cannot be written" in capsys.readouterr().err


def test_gpu_check_missing_package_names_the_script_that_fetches_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["gpu-check", "--output", str(tmp_path / "output")])
    monkeypatch.setattr(
        program, "unpack_missing", lambda target: (_ for _ in ()).throw(program.MissingPackageError("no tomli-w"))
    )
    assert program.main() == 1
    assert capsys.readouterr().err == "error: no tomli-w\n"


@pytest.mark.slow
def test_gpu_check_without_a_gpu_says_why_in_one_line_and_writes_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "gpu-check", "--output", tmp_path / "output"],
        check=False, capture_output=True, text=True, timeout=120, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    assert done.stdout.startswith("No GPU was checked: ")
    assert not (tmp_path / "output").exists()


@pytest.mark.slow
def test_gpu_check_without_numpy_says_how_to_install_it_and_writes_nothing(tmp_path):
    """Its first stage recorded that no backend computes, and its end was a traceback."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "gpu-check", "--output", tmp_path / "output"],
        check=False, capture_output=True, text=True, timeout=120, env=os.environ | hide_module(tmp_path, "numpy"),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the package numpy is not installed for ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "output").exists()
