"""SIGINT and SIGTERM end a command in order: scratch files are removed, and a run keeps what it has reached."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_holding = 0  # how many `held` blocks are open
_waiting: int | None = None  # the signal that came inside them


class Interrupted(BaseException):
    """A signal asks the command to stop. It is no `Exception`, so that no handler of errors takes it for one."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.status = 128 + number  # the exit status, as shells have it


def _raise(number: int, _: FrameType | None) -> None:
    global _waiting
    if _holding:
        _waiting = number
    else:
        raise Interrupted(number)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside this block SIGINT and SIGTERM raise `Interrupted` in the main thread. Ignored signals stay ignored."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    hook = sys.unraisablehook

    def send_again(ignored: "sys.UnraisableHookArgs") -> None:
        """Where a signal arrives inside a finalizer, its exception ends there and is ignored."""
        if isinstance(ignored.exc_value, Interrupted):
            again = threading.Timer(0.05, os.kill, (os.getpid(), ignored.exc_value.number))
            again.daemon = True
            again.start()
        else:
            hook(ignored)

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _raise)
    sys.unraisablehook = send_again
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """A signal that arrives inside this block takes effect at its end, so that what is inside is done as a whole."""
    global _holding, _waiting
    _holding += 1
    try:
        yield
    finally:
        _holding -= 1
    if not _holding and _waiting is not None:
        number, _waiting = _waiting, None
        raise Interrupted(number)
