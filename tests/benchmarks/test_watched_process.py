import os
import sys
import time

import pytest

from benchmarks import watched_process
from benchmarks.watched_process import ProcessError, energy_counters, joules_between, watch

LINUX = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="only Linux tells the memory of a process")
HOLD = "import time\nheld = bytearray(50_000_000)\ntime.sleep(0.4)\n"


def python(code, tmp_path, max_seconds=30.0, **environment):
    return watch([sys.executable, "-c", code], tmp_path, environment, max_seconds)


def test_watch_tells_when_each_line_came(tmp_path):
    found = python(
        "import sys, time\nprint('first', flush=True)\ntime.sleep(0.3)\nsys.stderr.write('second\\nlast')", tmp_path
    )
    assert [text for _, text in found.stdout] == ["first"]
    assert [text for _, text in found.stderr] == ["second", "last"]
    assert 0 < found.stdout[0][0] < found.stderr[0][0] - 0.25 < found.seconds


def test_watch_gives_folder_and_environment_to_the_process(tmp_path):
    found = python("import os; print(os.getcwd()); print(os.environ['COLOUR'])", tmp_path, COLOUR="blue")
    assert [text for _, text in found.stdout] == [os.path.realpath(tmp_path), "blue"]


@LINUX
def test_watch_adds_the_memory_of_descendants(tmp_path):
    alone = python(HOLD, tmp_path).peak_bytes
    both = python(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {HOLD!r}])\n{HOLD}", tmp_path)
    beside = python(f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {HOLD!r}])\n{HOLD}", tmp_path)
    assert 50e6 < alone < 90e6
    assert both.peak_bytes < 100e6  # one after the other
    assert 100e6 < beside.peak_bytes < 180e6


def test_watch_kills_a_process_that_does_not_end_with_its_descendants(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(ProcessError, match="did not end within 1 s"):
        python(code, tmp_path, max_seconds=1.0)
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not is_running(child):
            return
        time.sleep(0.05)
    pytest.fail("the descendant lives on")


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_watch_does_not_wait_for_a_descendant_that_lives_on(tmp_path):
    code = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    assert python(code, tmp_path).seconds < 10


def test_watch_tells_the_last_line_of_a_process_that_fails(tmp_path):
    with pytest.raises(ProcessError, match="exit code 1: ValueError: no"):
        python("raise ValueError('no')", tmp_path)
    with pytest.raises(ProcessError, match="exit code 3: nothing on stderr"):
        python("raise SystemExit(3)", tmp_path)


def test_energy_is_that_of_whole_processors_and_counters_begin_again(tmp_path, monkeypatch):
    monkeypatch.setattr(watched_process, "POWER_FOLDER", tmp_path)
    assert energy_counters() == {}
    assert joules_between({}, {}) is None
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text("9000000\n")
        (tmp_path / name / "max_energy_range_uj").write_text("9999999\n")
    before = energy_counters()
    assert before == dict.fromkeys(("intel-rapl:0", "intel-rapl:1"), (9000000, 9999999))
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("9500000\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("1000000\n")
    assert joules_between(before, energy_counters()) == 0.5 + 2.0
