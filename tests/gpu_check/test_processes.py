"""Child processes: output, deadlines, process groups."""

import os
import threading
import time
from functools import partial

import pytest

from gpu_check import processes
from gpu_check.processes import MAX_KEPT_CHARACTERS, Runner

HANG = "import time; print('hangs', flush=True); time.sleep(60)"
IGNORE_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {HANG}"
# Its child ignores SIGTERM too, and outlives it unless the whole group is killed
WITH_CHILD = f"import os; child = os.fork(); print(child or os.getpid(), flush=True); {IGNORE_SIGTERM}"


@pytest.fixture
def runner():
    runner = Runner({"FIRST": "1"})
    yield runner
    runner.stop()


def within(seconds):
    return time.monotonic() + seconds


def test_run_command_keeps_output_exit_code_and_variables(runner):
    code = "import os, sys; print(os.environ['FIRST'], os.environ['SECOND']); sys.exit('øæå')"
    done = runner.python("-c", code, deadline=within(30), SECOND="2")
    assert (done.exit, done.stdout, done.stderr, done.cut) == (1, "1 2\n", "øæå\n", False)
    assert done.reason() == "exit code 1: øæå"
    assert runner.finished == [done]


def test_run_long_output_is_kept_at_its_end_in_the_record(runner):
    done = runner.python("-c", f"print('a' * {MAX_KEPT_CHARACTERS} + 'end')", deadline=within(30))
    record = done.record()
    assert len(record["stdout"]) == MAX_KEPT_CHARACTERS
    assert record["stdout"].endswith("end\n")


def test_run_missing_program_is_a_failure(runner):
    done = runner.run(["no-such-program"], deadline=within(30))
    assert done.exit == 127
    assert "No such file" in done.reason()


def test_run_hanging_command_is_ended_at_its_deadline_and_keeps_its_output(runner):
    done = runner.python("-c", HANG, deadline=within(1.5))
    assert (done.exit, done.cut, done.stdout) == (-15, True, "hangs\n")
    assert 1 < done.seconds < 3


def test_run_command_that_ignores_sigterm_is_killed_with_its_children(runner, monkeypatch):
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.3)
    done = runner.python("-c", WITH_CHILD, deadline=within(1.5))
    assert (done.exit, done.cut) == (-9, True)
    child = int(done.stdout.split()[0])
    for _ in range(100):
        if not is_running(child):
            return
        time.sleep(0.05)
    pytest.fail(f"the child {child} still runs")


def is_running(pid):
    """Whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_run_kill_when_true_kills_before_the_deadline(runner, tmp_path):
    path = tmp_path / "reached"
    code = f"open({str(path)!r}, 'w').close(); {HANG}"
    done = runner.python("-c", code, deadline=within(30), kill_when=path.exists)
    assert (done.exit, done.cut) == (-9, False)
    assert done.seconds < 10


def test_run_after_the_deadline_starts_nothing(runner):
    done = runner.python("-c", "raise SystemExit(1)", deadline=time.monotonic())
    assert (done.exit, done.cut) == (None, True)
    assert done.reason() == "no time was left to start it"


def test_together_returns_results_in_order_of_the_jobs(runner):
    jobs = [partial(runner.python, "-c", f"print({i})", deadline=within(30)) for i in range(3)]
    assert [done.stdout for done in runner.together(jobs, at_once=2)] == ["0\n", "1\n", "2\n"]


def test_together_job_that_raises_lets_later_commands_run(runner):
    def broken():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        runner.together([broken, partial(runner.python, "-c", "", deadline=within(30))])
    assert runner.python("-c", "print(1)", deadline=within(30)).stdout == "1\n"


def test_stop_kills_running_commands_and_starts_no_others(runner):
    threading.Timer(0.5, runner.stop).start()
    done = runner.python("-c", HANG, deadline=within(30))
    assert (done.exit, done.cut) == (-9, True)
    assert runner.python("-c", "", deadline=within(30)).exit is None


def test_run_command_leads_a_process_group_of_its_own(runner):
    done = runner.python("-c", "import os; print(os.getpgrp() == os.getpid(), os.getpgrp())", deadline=within(30))
    assert done.stdout.startswith("True ")
    assert int(done.stdout.split()[1]) != os.getpgrp()
