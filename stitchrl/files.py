"""Files that are there whole or not at all."""

import csv
import fcntl
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from stitchrl.interrupt import held


def write(path: Path, make: Callable[[Path], object]) -> None:
    """Have `make` write a file beside `path` and rename it, so that no half-written file is ever found there.

    A symbolic link stays one: what it leads to is replaced. A file that is replaced keeps its mode.
    """
    path = followed(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with scratch(path) as folder:
        beside = folder / path.name
        make(beside)
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path)


def followed(path: Path) -> Path:
    """The absolute path that a symbolic link leads to, or that of `path` itself."""
    return Path(os.path.realpath(path))


@contextmanager
def scratch(place: Path) -> Iterator[Path]:
    """An empty folder beside `place`, for one writer alone, who may move things from it to `place`. It is removed.

    A writer that is killed leaves its folder. The next writer for the same place removes it, since a living writer
    holds the lock of its folder. Where the file system has no locks the folder stays. Names are drawn at random, so it
    is in nobody's way.
    """
    _sweep(place)
    folder = place.with_name(f".{place.name}.{secrets.token_hex(4)}.partial")
    with ExitStack() as stack:
        stack.callback(_remove, folder)  # first: a signal may come as soon as the folder is there
        while not folder.exists():  # it is not if another writer swept it before it was locked
            folder.mkdir()
            with suppress(OSError):  # no locks here
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder


def _remove(folder: Path) -> None:
    with held():
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove the scratch folders of writers that are dead."""
    ours = re.compile(rf"\.{re.escape(place.name)}\.[0-9a-f]{{8}}\.partial")
    stale: list[str] = []
    with suppress(OSError):  # a folder that cannot be listed can be written nevertheless
        stale = [entry.path for entry in os.scandir(place.parent) if ours.fullmatch(entry.name)]
    for folder in stale:
        with suppress(OSError):  # its writer lives, or there are no locks, or another one sweeps too
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(descriptor)


def check_file(path: Path, overwrite: bool = True) -> None:
    """Raise ValueError where a file cannot be written to `path`, or is there and must not be overwritten."""
    if path.is_symlink() and followed(path).is_symlink():
        raise ValueError(f"{path}: a symbolic link that leads in a circle, expected a file")
    if path.is_dir():
        raise ValueError(f"{path}: a folder is there, expected a file or nothing")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: neither a file nor a folder is there, expected a file or nothing")
    check_parent(path)
    if path.exists() and not overwrite:
        raise ValueError(f"{path}: exists already; --overwrite replaces it")


def check_parent(path: Path) -> None:
    """Raise ValueError where nothing can be put at `path`: its folder can be neither written nor made."""
    target = followed(path)
    if path.is_symlink() and not target.parent.is_dir():
        raise ValueError(f"{path}: a symbolic link into {target.parent}, which is not there")
    nearest = target.parent
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    if not nearest.is_dir():
        raise ValueError(f"{path}: {nearest} is there and is no folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"{path}: the folder {nearest} cannot be written")


def write_json(path: Path, value: Any) -> None:
    write(path, lambda beside: beside.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8"))


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """rows: at least one, all of the same keys."""

    def make(beside: Path) -> None:
        with open(beside, "w", newline="", encoding="utf-8") as file:
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
    """In this block no other process holds the lock of this file. The file is made if need be, and stays.

    The lock ends with the process that holds it, however that ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{path}: waiting for another process", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            print(f"{path}: this file system has no locks ({error.strerror}); goes on without", file=sys.stderr)
        yield
