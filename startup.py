"""Ctrl-C before there is anything to keep. Imported first by whatever is run, so it imports next to nothing itself."""

import os


def end_at_once(number: int = 2, frame: object = None) -> None:
    """One sentence, exit code 130 (143 for SIGTERM), and nothing after it."""
    try:
        os.write(2, b"Stopped.\n")
    finally:
        os._exit(128 + number)  # an exception would pass through the libraries, some of which make another of it


try:
    import signal
except KeyboardInterrupt:
    end_at_once()


def stop_quietly() -> None:
    """Have Ctrl-C end the process at once, from the imports on, until a run keeps the signal (training/signals.py).

    Where the signal is ignored, as in a shell's background, it stays so. SIGTERM ends a process by itself, with 143.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end_at_once)
    if os.getpid() == 1:  # a container's first process, which the system spares what ends any other
        signal.signal(signal.SIGTERM, end_at_once)
