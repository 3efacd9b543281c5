"""OGBench's npz files: T + 1 rows to an episode, `terminals` 1 on the last one, whose action has no successor.

What stitchrl knows of a dataset (its tasks, its certificate) travels in the archive's comment, which NumPy and
OGBench's own reader pass over.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stitchrl import files
from stitchrl.data.episodes import Episodes
from stitchrl.data.formats import npz
from stitchrl.data.formats.source import ROWS, Source, assemble, check_columns, marks, spans

KEYS = ("observations", "actions", "terminals")
VALIDATION = 20  # one in so many episodes stands in the -val.npz as well
LONGEST_COMMENT = 65_535  # bytes


def open_source(path: Path) -> Source:
    """Raises ValueError that names the file, the episode and the key; OSError where there is no file."""
    with npz.readable(path) as archive:
        headers, comment = npz.read_headers(path, archive), archive.comment
    for key in KEYS:
        if key not in headers:
            raise ValueError(f"{path}: no array {key!r}; it holds {', '.join(sorted(headers)) or 'nothing'}")
    check_columns(str(path), {key: headers[key] for key in KEYS})
    with npz.streams(path, ["terminals"]) as take:
        terminals = take["terminals"](headers["terminals"].shape[0])
    lengths = _lengths(path, marks(str(path), "terminals", terminals))
    extra = sorted(set(headers) - set(KEYS))
    return Source(
        str(path),
        lengths,
        headers["observations"].shape[1],
        headers["actions"].shape[1],
        rewarded=False,
        chunks=lambda rows: _chunks(path, lengths, rows),
        metadata=_metadata(path, comment),
        origin=path.stem,
        notes=(f"not read: {', '.join(extra)}",) if extra else (),
    )


def _metadata(path: Path, comment: bytes) -> dict[str, Any]:
    if not comment.startswith(b'{"stitchrl"'):
        return {}
    try:
        return dict(json.loads(comment)["stitchrl"])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: expected stitchrl's metadata in the archive's comment, found {error}") from error


def _lengths(path: Path, terminals: np.ndarray) -> np.ndarray:
    """Transitions [episodes] from the marks [N] on last rows."""
    last = np.flatnonzero(terminals)
    if len(last) == 0 or last[-1] != len(terminals) - 1:
        raise ValueError(f"{path}: terminals: episode {len(last)} has no end, expected 1 on the last row")
    lengths = np.diff(last, prepend=-1) - 1
    if (lengths == 0).any():
        number = int(np.argmin(lengths))
        raise ValueError(f"{path}: terminals: episode {number} has one row, expected T + 1 with T at least 1")
    return lengths


def _chunks(path: Path, lengths: np.ndarray, rows: int) -> Iterator[Episodes]:
    with npz.streams(path, ["observations", "actions"]) as take:
        for first, last in spans(lengths, rows):
            count = int((lengths[first:last] + 1).sum())
            observations, actions = take["observations"](count), take["actions"](count)
            yield assemble(str(path), first, observations, actions, None, lengths[first:last])


def write(path: Path, source: Source) -> list[str]:
    """Write `path` and, since OGBench's reader asks for it, a -val.npz: the last twentieth of the episodes once more.

    Returns what the format does not hold.
    """
    beginning = len(source.lengths) - max(1, len(source.lengths) // VALIDATION)
    notes = ["no rewards"] if source.rewarded else []
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
                yield getattr(episodes, key)[int(episodes.first[skipped]) :].nan_to_num(0.0).numpy()
            first += len(episodes.lengths)

    def header(width: int) -> npz.Header:
        return npz.Header((len(terminals), width), np.dtype(np.float32))

    return {
        "observations": (header(source.observation_dim), rows("observations")),
        "actions": (header(source.action_dim), rows("actions")),
        "terminals": (npz.Header(terminals.shape, terminals.dtype), [terminals]),
    }
