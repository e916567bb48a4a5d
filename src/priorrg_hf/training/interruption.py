"""Signals that ask a run to stop, turned into an exception, so that it stops as it does on Ctrl-C: with its report written."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator


class TrainingTerminated(SystemExit):
    """The run was asked to stop by a signal. The process exits with 128 + its number, as shells expect."""

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.signal = signal.Signals(number)

    def __str__(self) -> str:
        return f"stopped by {self.signal.name}"


class Interruption:
    """What came: `received` is the exception once there was a signal."""

    received: TrainingTerminated | None = None


@contextlib.contextmanager
def signals_raise() -> Iterator[Interruption]:
    """Within it SIGTERM and SIGHUP raise [`TrainingTerminated`]. What the program (or `nohup`) set for them already stays."""
    state, process, previous = Interruption(), os.getpid(), {}

    def stop(number, frame):
        if os.getpid() != process:  # inherited by a forked worker, which is to end as it always did
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        state.received = TrainingTerminated(number)
        raise state.received

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                previous[number] = signal.signal(number, stop)
    try:
        yield state
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


__all__ = ["Interruption", "TrainingTerminated", "signals_raise"]
