"""Signals that stop work at its next step, where a checkpoint can be written.

Slurm sends SIGUSR2 or SIGTERM before it takes a node away, a person presses Ctrl-C. The previous handler of the signal,
such as that of submitit, which puts the job back into the queue, gets it when the checkpoint is written.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):
    """Work stopped at one of its steps, after a signal."""


class _Asked:
    """The signal that was received, if any."""

    number: int | None = None


def asked() -> bool:
    """Return True if a signal to stop was received."""
    return _Asked.number is not None


def stop_if_asked() -> None:
    """Stop here, where nothing is lost, if a signal was received.

    Raises:
        Stopped: a signal was received.
    """
    if _Asked.number is not None:
        raise Stopped(f"stopped by {signal.Signals(_Asked.number).name}")


@contextmanager
def stoppable() -> Iterator[None]:
    """Record signals inside instead of handling them; a second Ctrl-C interrupts at once.

    At the end a received signal is delivered to its own handler, or raises `Stopped` if it has none. Does nothing in a
    thread, where signals cannot be handled, and inside itself.
    """
    if threading.current_thread() is not threading.main_thread() or _handles(signal.getsignal(signal.SIGINT)):
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    # a process that ignores SIGTERM, as submitit does, expects another signal and must not be stopped by this one
    taken = [
        number for number, handler in before.items() if number != signal.SIGTERM or handler is signal.Handlers.SIG_DFL
    ]
    for number in taken:
        signal.signal(number, _note)
    try:
        yield
    except Stopped:
        if not asked():
            raise
    finally:
        for number in taken:
            signal.signal(number, before[number])
        came, _Asked.number = _Asked.number, None
        if came is not None and callable(before[came]):
            signal.raise_signal(came)
    if came is not None:
        raise Stopped(f"stopped by {signal.Signals(came).name}")


def _note(number: int, frame: Any) -> None:
    if number == signal.SIGINT and _Asked.number == signal.SIGINT:
        raise KeyboardInterrupt
    _Asked.number = number


def _handles(handler: Callable[..., Any] | int | None) -> bool:
    return handler is _note
