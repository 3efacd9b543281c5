"""Files that are there whole or not at all."""

import json
import os
from collections.abc import Callable
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


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A compressed npz file."""

    def make(beside: Path) -> None:
        with open(beside, "wb") as file:  # given a name, NumPy would append .npz to it
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    write(path, make)
