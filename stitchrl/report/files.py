"""Files that are there whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path


def write(path: Path, make: Callable[[Path], object]) -> None:
    """Have `make` write a file beside `path` and rename it, so that no half-written file is ever found there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        make(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
