"""How every command ends: in one line on stderr that says what is wrong, never in a traceback that nobody asked for."""

import argparse
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from stitchrl.interrupt import Interrupted, interruptible

MENDABLE = (ValueError, OSError)  # what the user can mend; of any other error the kind is told too
TRACEBACK = "STITCHRL_TRACEBACK"
UNREAD = 128 + signal.SIGPIPE  # the exit status where nobody reads the output any more, as shells have it


def refuse_arguments(message: str) -> NoReturn:
    raise ValueError(f"{message}; see --help")


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as for every other bad input."""
        refuse_arguments(message)


def one_line(error: BaseException) -> str:
    """What is wrong, without line breaks; with the kind of error where it is not one that the user can mend."""
    line = " ".join(str(error).split())
    return line if line and isinstance(error, MENDABLE) else f"{type(error).__name__}: {line}".removesuffix(": ")


def explain(error: BaseException) -> int:
    """Say in one line on stderr what is wrong, and nothing where nobody listens. Returns the exit status."""
    if isinstance(error, BrokenPipeError) and _unread():
        return UNREAD
    with suppress(OSError):
        if os.environ.get(TRACEBACK):
            traceback.print_exception(error)
        hint = "" if isinstance(error, MENDABLE) or os.environ.get(TRACEBACK) else f" ({TRACEBACK}=1 shows where)"
        print(f"stitchrl: {one_line(error)}{hint}", file=sys.stderr)
    return 2


def guarded(main: Callable[[], int | None]) -> None:
    """Run a command, and exit with its status if that is not 0. Whatever it raises becomes one line and a status."""
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if hasattr(stream, "reconfigure"):  # what the encoding of a terminal or pipe lacks is no reason to fail
            stream.reconfigure(errors=errors)
    status: int | str | None
    try:
        with interruptible():
            status = main()
    except Interrupted as stop:
        with suppress(OSError):
            print(f"stitchrl: stopped by {stop}", file=sys.stderr)
        status = stop.status
    except SystemExit as stop:  # rich makes one of a broken pipe, with a status that says something else
        status = UNREAD if isinstance(stop.__context__, BrokenPipeError) else stop.code
    except Exception as error:
        status = explain(error)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()  # here, since the interpreter's own complaint at its end would be several lines
    except OSError as error:
        status = explain(error)
        _drop([1])
    _drop(_unread())
    if status:
        sys.exit(status)


def _unread() -> list[int]:
    """Which of stdout and stderr are pipes that nobody reads from."""
    poll = select.poll()
    for stream in (1, 2):
        poll.register(stream, 0)
    return [stream for stream, event in poll.poll(0) if event & select.POLLERR]


def _drop(streams: list[int]) -> None:
    """Send what is still to be written there nowhere."""
    for stream in streams:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream)
        os.close(nowhere)
