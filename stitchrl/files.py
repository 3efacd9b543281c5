"""Files that are there whole or not at all."""

import csv
import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


def write(path: Path, make: Callable[[Path], object]) -> None:
    """Have `make` write a file beside `path` and rename it, so that no half-written file is ever found there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        make(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    write(path, lambda beside: beside.write_text(json.dumps(value, indent=1) + "\n"))


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """rows: at least one, all of the same keys."""

    def make(beside: Path) -> None:
        with open(beside, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    write(path, make)


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A compressed npz file."""

    def make(beside: Path) -> None:
        with open(beside, "wb") as file:  # given a name, NumPy would append .npz to it
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    write(path, make)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While it lasts no other process holds the lock of this file, which is made where there is none, and stays.

    The lock goes with the process that holds it, however that ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{path}: waiting for another process", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            print(f"{path}: this file system has no locks ({error.strerror}); goes on without", file=sys.stderr)
        yield
