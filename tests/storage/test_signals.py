import subprocess
import sys

from tests.cli.commands import ROOT

HANGS = """
import os, signal, time
from lagvis.storage import signals
signals.GRACE_SECONDS = 0.2
with signals.stop_signals():
    {before}
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
"""
FULL = "r, w = os.pipe(); os.set_blocking(w, False)\n    while True:\n        try: os.write(w, bytes(4096))\n" + (
    "        except BlockingIOError: break\n    os.set_blocking(w, True); os.dup2(w, 2)"
)


def hanging(before):
    command = [sys.executable, "-c", HANGS.format(before=before)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)


def test_stop_signals_hanging_process_ends_with_message():
    done = hanging("pass")
    assert done.returncode == 143
    assert done.stderr == "\nStopped in the middle of a step that took too long; the saved checkpoint is complete.\n"


def test_stop_signals_full_or_closed_stderr_does_not_block():
    assert [hanging(before).returncode for before in (FULL, "os.close(2)")] == [143, 143]
