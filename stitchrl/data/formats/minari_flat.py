"""Flat copies of decoded datasets: one array to a file, opened at once and never read whole.

A copy is used as long as the data are those that it was made from. It lies beside the data. If it cannot be written
there, it lies in the user's cache ($XDG_CACHE_HOME/stitchrl), and if it cannot be written there either, the arrays are
held in memory. So a dataset that can be read can be opened.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch

from stitchrl.data.episodes import Episodes
from stitchrl.files import followed, scratch
from stitchrl.interrupt import held

COLUMNS = ("observations", "actions", "rewards")
FACTS = ("lengths", "terminated")  # of each episode


class Decoding(NamedTuple):
    """A dataset while it is decoded."""

    parts: Iterable[Episodes]  # their info says of each whether it was `terminated`
    notes: Callable[[], tuple[str, ...]]  # what is to be said of it, known when all parts have been seen


class Flat(NamedTuple):
    """A decoded dataset."""

    columns: dict[str, np.ndarray]  # by `COLUMNS`: all rows, the last of each episode included, where actions are void
    lengths: np.ndarray  # [episodes] int64, transitions
    terminated: np.ndarray  # [episodes] bool
    notes: tuple[str, ...]


def open_flat(place: Path, decode: Callable[[], Decoding], rows: int) -> Flat:
    """The dataset in folder `place`, whose data lie in `place`/data, from its flat copy. It is made if need be.

    rows: states in all episodes together, as the dataset itself has it. ValueError if there are more or fewer.
    """
    stamp = stamp_of(place / "data")
    copies = _copies(place)
    for copy in copies:
        if (found := _load(copy, stamp)) is not None:
            return found
    for copy in copies:
        with suppress(OSError):  # it cannot be written there
            made = write_flat(copy, stamp, decode(), rows)
            elsewhere = f"{place} cannot be written; a flat copy was put into {copy}"
            return made if copy == copies[0] else made._replace(notes=(*made.notes, elsewhere))
    decoding = decode()
    parts = list(decoding.parts)
    columns = {key: np.concatenate([_column(part, key) for part in parts]) for key in COLUMNS}
    lengths, terminated = (np.concatenate([_column(part, key) for part in parts]) for key in FACTS)
    _check_rows(place, len(columns["actions"]), rows)
    return Flat(columns, lengths, terminated, decoding.notes())


def _copies(place: Path) -> list[Path]:
    """Where the flat copy of a dataset may lie. In the user's cache its name tells it from datasets elsewhere."""
    copies = [place / "flat"]
    with suppress(RuntimeError):  # no home is known
        chosen = Path(os.environ.get("XDG_CACHE_HOME") or "")
        cache = chosen if chosen.is_absolute() else Path.home() / ".cache"
        elsewhere = hashlib.sha256(os.fsencode(followed(place))).hexdigest()[:16]
        copies.append(cache / "stitchrl" / "flat" / f"{place.name}-{elsewhere}")
    return copies


def stamp_of(data: Path) -> str:
    """What changes when data do: names, sizes and times of last change of the files in a folder, or of one file."""
    files = [data] if data.is_file() else sorted(path for path in data.rglob("*") if path.is_file())
    return json.dumps([[str(path.relative_to(data)), path.stat().st_size, path.stat().st_mtime_ns] for path in files])


def _load(copy: Path, stamp: str) -> Flat | None:
    """None where there is no copy of these data that can be read."""
    about = copy / "about.json"
    try:
        text = about.read_text(encoding="utf-8")
        if (values := json.loads(text))["stamp"] != stamp:
            return None
        columns = {key: np.load(copy / f"{key}.npy", mmap_mode="r") for key in COLUMNS}
        lengths, terminated = (np.load(copy / f"{key}.npy") for key in FACTS)
        replaced = about.read_text(encoding="utf-8") != text  # by another process, meanwhile
        return None if replaced else Flat(columns, lengths, terminated, tuple(values["notes"]))
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def write_flat(copy: Path, stamp: str, decoding: Decoding, rows: int) -> Flat:
    """Write the flat copy of episodes that have so many rows together, and open it. OSError where that cannot be."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    facts: dict[str, list[np.ndarray]] = {key: [] for key in FACTS}
    written = 0
    with scratch(copy) as beside:
        new = beside / "flat"
        new.mkdir()
        with ExitStack() as stack:
            opened: dict[str, IO[bytes]] = {}
            for episodes in decoding.parts:
                for key in COLUMNS:
                    values = _column(episodes, key)
                    if key not in opened:  # a plain file, not a memory map, which kills the process on a full disk
                        opened[key] = stack.enter_context(open(new / f"{key}.npy", "wb"))
                        descr = np.lib.format.dtype_to_descr(values.dtype)
                        header = {"descr": descr, "fortran_order": False, "shape": (rows, *values.shape[1:])}
                        np.lib.format.write_array_header_1_0(opened[key], header)  # type: ignore[arg-type]
                    opened[key].write(np.ascontiguousarray(values).data)
                for key in FACTS:
                    facts[key].append(_column(episodes, key))
                written += len(episodes)
        _check_rows(copy.parent, written, rows)
        for key in FACTS:
            np.save(new / f"{key}.npy", np.concatenate(facts[key]))
        about = json.dumps({"stamp": stamp, "notes": decoding.notes()})
        (new / "about.json").write_text(about, encoding="utf-8")
        made = _load(new, stamp)  # before it is moved: from then on another process may replace it
        if made is None:
            raise OSError(f"{new}: cannot be read back")
        with suppress(OSError):  # another process was faster
            move(new, copy, beside)
    return made


def _column(episodes: Episodes, key: str) -> np.ndarray:
    values = episodes.info[key] if key == "terminated" else getattr(episodes, key)
    if values is None:  # of rewards, which Minari's datasets must have, and which then are all 0
        values = torch.zeros(len(episodes)).index_fill(0, episodes.last, torch.nan)
    return values.numpy()


def _check_rows(place: Path, found: int, rows: int) -> None:
    if found != rows:
        raise ValueError(f"{place}: {found} observations in all, metadata.json has {rows}")


def move(new: Path, place: Path, beside: Path) -> None:
    """Move a folder to `place`. One that is there already goes into `beside`, a scratch folder."""
    with held():
        with suppress(FileNotFoundError):
            place.rename(beside / "replaced")
        new.rename(place)
