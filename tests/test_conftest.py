"""Signal handlers that conftest.py resets."""

import signal

import pytest

from tests.conftest import reset_ignored_signals


def other_handler(number, frame):
    pass


@pytest.fixture
def handlers():
    """Restore the handlers of both signals after the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "usual"), [(signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)]
)
@pytest.mark.usefixtures("handlers")
def test_reset_ignored_signals_ignored_signal_gets_its_usual_handler(number, usual):
    signal.signal(number, signal.SIG_IGN)
    reset_ignored_signals()
    assert signal.getsignal(number) is usual


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("handlers")
def test_reset_ignored_signals_other_handler_stays(number):
    signal.signal(number, other_handler)
    reset_ignored_signals()
    assert signal.getsignal(number) is other_handler
