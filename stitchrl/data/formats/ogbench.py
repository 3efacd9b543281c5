"""OGBench's npz files: T + 1 rows to an episode, `terminals` 1 on the last one, whose action has no successor.

What stitchrl knows of a dataset (its tasks, its certificate) travels in the archive's comment, which NumPy and
OGBench's own reader pass over.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stitchrl import files
from stitchrl.data.episodes import filled
from stitchrl.data.formats import npz
from stitchrl.data.formats.flat import READ, TABLES, Rows, open_rows
from stitchrl.data.formats.source import ROWS, Column, Source, check_columns

VALIDATION = 20  # one in so many episodes stands in the -val.npz as well
LONGEST_COMMENT = 65_535  # bytes


def open_source(path: Path, columns: Sequence[int] | None = None, trust_marks: bool = False) -> Source:
    """See `flat.open_rows`. ValueError that names the file, the episode and the key; OSError where there is no file."""
    with npz.readable(path) as archive:
        files_in = sorted(set(archive.namelist()))
        held = [key for key in READ if f"{key}.npy" in files_in]
        names = [name.removesuffix(".npy") for name in files_in]
        for key in TABLES[:2]:
            if key not in held:
                raise ValueError(f"{path}: no array {key!r}; it holds {', '.join(names) or 'nothing'}")
        headers = npz.read_headers(path, archive, held)
        rows = Rows(str(path), headers, partial(_read, path), _metadata(path, archive.comment))
        check_columns(rows.where, headers, rows.ours)
        npz.check_ratio(path, archive, [key for key in TABLES if key in held])
    opened = open_rows(rows, columns, trust_marks, [name for name in names if name not in held])
    return dataclasses.replace(opened, terminated=None)  # terminals mark an episode's last row, whatever ended it


def _read(path: Path, keys: Sequence[str], bounds: Iterable[tuple[int, int]]) -> Iterator[dict[str, np.ndarray]]:
    with npz.streams(path, keys) as take:
        for first, last in bounds:
            yield {key: take[key](last - first) for key in keys}


def _metadata(path: Path, comment: bytes) -> dict[str, Any]:
    if not comment.startswith(b'{"stitchrl"'):
        return {}
    try:
        return dict(json.loads(comment)["stitchrl"])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: expected stitchrl's metadata in the archive's comment, found {error}") from error


def write(path: Path, source: Source) -> list[str]:
    """Write `path` and, since OGBench's reader asks for it, a -val.npz: the last twentieth of the episodes once more.

    Returns what the format does not hold.
    """
    beginning = len(source.lengths) - max(1, len(source.lengths) // VALIDATION)
    notes = ["no rewards"] if source.rewarded else []
    if source.terminated is not None and source.terminated.any():
        notes.append("not which episodes were terminated: terminals mark the last row of every one")
    # A context for each episode would not fit into a comment.
    metadata = {key: value for key, value in source.metadata.items() if key != "contexts"}
    if metadata != source.metadata:
        notes.append("no contexts of episodes")
    comment = json.dumps({"stitchrl": metadata}, separators=(",", ":")).encode() if metadata else b""
    if len(comment) > LONGEST_COMMENT:
        comment = b""
        notes.append("no tasks and certificate, which are too long for an archive's comment")

    def make(beside: Path) -> None:
        npz.write(beside, _columns(source, 0), comment)
        # Inside, so that neither file is there without the other.
        files.write(validation(path), lambda second: npz.write(second, _columns(source, beginning)))

    files.write(path, make)
    notes.append(f"{validation(path).name} repeats the last {len(source.lengths) - beginning} episodes")
    return notes


def validation(path: Path) -> Path:
    """The file of validation episodes that OGBench's reader expects beside `path`."""
    return path.with_name(path.stem + "-val.npz")


def _columns(source: Source, beginning: int) -> dict[str, Any]:
    """Episodes from number `beginning` on. Each array is a pass over the source."""
    ends = (source.lengths[beginning:] + 1).cumsum() - 1
    terminals = np.zeros(ends[-1] + 1, np.float32)
    terminals[ends] = 1

    def rows(key: str) -> Iterator[np.ndarray]:
        first = 0
        for episodes in source.stream(ROWS):
            skipped = max(0, beginning - first)
            if skipped < len(episodes.lengths):
                values = getattr(episodes, key)[int(episodes.first[skipped]) :]
                yield filled(values) if key == "actions" else values.numpy()
            first += len(episodes.lengths)

    def header(column: Column) -> npz.Header:
        return npz.Header((len(terminals), *column.shape), column.dtype)

    return {
        "observations": (header(source.observations), rows("observations")),
        "actions": (header(source.actions), rows("actions")),
        "terminals": (npz.Header(terminals.shape, terminals.dtype), [terminals]),
    }
