"""D4RL's HDF5 files: flat, aligned in time, with marks that do not always mean what their names say; see `flat`.

HDF5 gives zeros, without an error, for rows that were never written, for those of a virtual dataset whose source was
moved, and for the end of an external file that is too short. Such rows are looked for before any is read. A link to
nothing looks like a key that is not there, so links are followed one by one.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from stitchrl import files
from stitchrl.data.episodes import filled
from stitchrl.data.formats.flat import READ, TABLES, Rows, open_rows
from stitchrl.data.formats.source import ROWS, Source

METADATA = "metadata/stitchrl"  # a scalar of JSON


class Column(NamedTuple):
    """One key of a file; the parts of a chunked file (`virtual/<i>/`) are laid end to end."""

    parts: Sequence[h5py.Dataset]

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])

    def rows(self, first: int, last: int) -> np.ndarray:
        """Rows first..last - 1."""
        taken = []
        for part in self.parts:
            if first < part.shape[0] and last > 0:
                taken.append(part[max(0, first) : min(last, part.shape[0])])
            first, last = first - part.shape[0], last - part.shape[0]
        return np.concatenate(taken)


def open_source(path: Path, columns: Sequence[int] | None = None, trust_marks: bool = False) -> Source:
    """See `flat.open_rows`. ValueError that names the file, the episode and the key; OSError where there is no file."""
    with _readable(path) as file:
        if "episode_0" in file:
            raise ValueError(f"{path}: the inside of a Minari dataset; give its id instead, as NAMESPACE/NAME-v0")
        held = _columns(path, file)
        for key in TABLES[:2]:
            if key not in held:
                raise ValueError(f"{path}: no dataset {key!r}; it holds {', '.join(sorted(file)) or 'nothing'}")
        for key, column in held.items():
            for part in column.parts:
                _check_stored(path, key, part)
        shapes = {key: (column.shape, column.parts[0].dtype) for key, column in held.items()}
        rows = Rows(str(path), shapes, partial(_read, path), _metadata(path, file))
        read = {part.name.lstrip("/") for column in held.values() for part in column.parts}
        return open_rows(rows, columns, trust_marks, _names(file, (*read, METADATA)))


@contextmanager
def _readable(path: Path) -> Iterator[h5py.File]:
    """The file, open. ValueError that names it for whatever is wrong with it, OSError where there is none."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"{path}: expected a readable HDF5 file, found {error}") from error


def _columns(path: Path, file: h5py.File) -> dict[str, Column]:
    """The keys that are read, where they exist."""
    parts: list[h5py.Group] = [file]
    if isinstance(chunked := _get(path, file, "virtual"), h5py.Group):
        if not all(name.isdigit() for name in chunked):
            raise ValueError(f"{path}: virtual: expected parts named by numbers, found {', '.join(chunked)}")
        parts = [_get(path, chunked, name) for name in sorted(chunked, key=int)]
        if not all(isinstance(part, h5py.Group) for part in parts):
            raise ValueError(f"{path}: virtual: expected a group of datasets in every part")
    columns = {}
    for key in READ:
        held = [_get(path, part, key) for part in parts]
        if all(value is None for value in held):
            continue
        if not all(isinstance(value, h5py.Dataset) and value.shape for value in held):
            raise ValueError(f"{path}: {key}: expected a dataset of rows" + (" in every part" if held[1:] else ""))
        columns[key] = Column(held)
    return columns


def _get(path: Path, group: h5py.Group, name: str) -> Any:
    """What a name in a group stands for, None where it is not there; ValueError where it is a link to nothing."""
    if name not in group:  # its `get` would not tell a link to nothing from no link
        return None
    try:
        return group[name]
    except (KeyError, OSError) as error:
        found = f"a link to {target}, which is missing" if (target := _target(group, name)) else str(error)
        raise ValueError(f"{path}: {_below(group, name)}: expected a dataset or group, found {found}") from error


def _target(group: h5py.Group, name: str) -> str | None:
    """Where a soft or external link leads; None for what lies in the group itself."""
    encoded = name.encode("utf-8", "surrogateescape")
    if group.id.links.get_info(encoded).type == h5py.h5l.TYPE_HARD:
        return None
    value = group.id.links.get_val(encoded)
    if isinstance(value, tuple):
        return " in ".join(os.fsdecode(part) for part in reversed(value))
    return os.fsdecode(value)


def _below(group: h5py.Group, name: str) -> str:
    return f"{group.name}/{name}".lstrip("/")


def _names(group: h5py.Group, read: Sequence[str], above: frozenset[int] = frozenset()) -> list[str]:
    """Datasets and links in a group, and in the groups within it, that are not read; links are not followed."""
    above |= {h5py.h5o.get_info(group.id).addr}
    names: list[str] = []
    for name in group:
        below = _below(group, name)
        if target := _target(group, name):
            names += [f"{below} (a link to {target})"] if below not in read else []
        elif not isinstance(item := group[name], h5py.Group):
            names += [below] if below not in read else []
        elif h5py.h5o.get_info(item.id).addr not in above:  # a group may hold one that it lies in
            names += _names(item, read, above)
    return sorted(names)


def _check_stored(path: Path, key: str, dataset: h5py.Dataset) -> None:
    """ValueError that names what is missing where HDF5 would give zeros for some rows."""
    if dataset.is_virtual:
        _check_virtual(path, key, dataset)
    elif dataset.external:
        for name, offset, size in dataset.external:
            if not Path(name).is_file() or Path(name).stat().st_size < offset + min(size, dataset.nbytes):
                raise ValueError(f"{path}: {key}: its numbers lie in {name}, which is missing or too short")
    elif key in TABLES and dataset.size:  # of other columns unwritten rows may be meant to be 0
        needed, written = 1, dataset.id.get_storage_size()
        if dataset.chunks:
            needed = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
            written = dataset.id.get_num_chunks()
        if written < needed:
            raise ValueError(f"{path}: {key}: some or all of its rows were never written")


def _check_virtual(path: Path, key: str, dataset: h5py.Dataset) -> None:
    mapped = 0
    for source in dataset.virtual_sources():
        place = path if source.file_name == "." else _find_beside(path, source.file_name)
        lead = f"{path}: {key}: a virtual dataset of {source.dset_name} in {source.file_name}"
        if place is None:
            raise ValueError(f"{lead}, which is missing")
        with h5py.File(place, "r") as file:
            held = file.get(source.dset_name)
            if not isinstance(held, h5py.Dataset):
                raise ValueError(f"{lead}, which has no such dataset")
            _check_stored(place, key, held)
            rows, space = source.vspace.get_select_npoints(), source.src_space
            if space.get_select_type() == h5py.h5s.SEL_ALL:
                fits = held.size >= rows
            else:
                end = space.get_select_bounds()[1]
                fits = len(end) == held.ndim and all(at < size for at, size in zip(end, held.shape, strict=True))
            if not fits:
                raise ValueError(f"{lead}, which has fewer rows")
        mapped += rows
    if mapped < dataset.size:
        raise ValueError(f"{path}: {key}: a virtual dataset, some or all of whose rows have no source")


def _find_beside(path: Path, name: str) -> Path | None:
    """The file that HDF5 takes for the source of a virtual dataset; None where there is none."""
    tried = [Path(name)] if Path(name).is_absolute() else []
    below = Path(name).name if tried else name
    prefixes = [prefix for prefix in os.environ.get("HDF5_VDS_PREFIX", "").split(":") if prefix]
    folders = [*map(Path, prefixes), path.parent, Path(), path.resolve().parent]
    return next((place for place in (*tried, *(folder / below for folder in folders)) if place.is_file()), None)


def _read(path: Path, keys: Sequence[str], bounds: Iterable[tuple[int, int]]) -> Iterator[dict[str, np.ndarray]]:
    for first, last in bounds:
        with _readable(path) as file:
            held = _columns(path, file)
            read = {key: held[key].rows(first, last) for key in keys}
        yield read


def _metadata(path: Path, file: h5py.File) -> dict[str, Any]:
    if METADATA not in file:
        return {}
    try:
        return dict(json.loads(file[METADATA][()]))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {METADATA}: expected JSON of stitchrl's, found {error}") from error


def write(path: Path, source: Source) -> list[str]:
    """Every state is kept: T + 1 rows to an episode, the last one marked. Returns what the format does not hold.

    The mark is `terminals` where the episode is known to have been terminated, else `timeouts`.
    """

    def make(beside: Path) -> None:
        checked: dict[str, Any] = {"fletcher32": True, "chunks": True}  # a damaged file is found when it is read
        with h5py.File(beside, "w", libver=("v110", "v110")) as file:  # headers with checksums, too
            rows, ends = source.rows, (source.lengths + 1).cumsum() - 1
            for key, column in (("observations", source.observations), ("actions", source.actions)):
                file.create_dataset(key, (rows, *column.shape), column.dtype, **checked)
            file.create_dataset("rewards", (rows,), np.float32, **checked)
            terminated = np.zeros(len(ends), bool) if source.terminated is None else source.terminated
            for key, marked in (("terminals", ends[terminated]), ("timeouts", ends[~terminated])):
                marks = np.zeros(rows, bool)
                marks[marked] = True
                file.create_dataset(key, data=marks, **checked)
            if source.metadata:
                file[METADATA] = json.dumps(source.metadata)
            first = 0
            for episodes in source.stream(ROWS):
                last = first + len(episodes)
                file["observations"][first:last] = episodes.observations.numpy()
                file["actions"][first:last] = filled(episodes.actions)
                if episodes.rewards is not None:
                    file["rewards"][first:last] = filled(episodes.rewards)
                first = last

    files.write(path, make)
    notes = []
    if source.terminated is None:
        notes.append("no difference between episodes that were ended and those that ran out of time: all are timeouts")
    return notes if source.rewarded else [*notes, "rewards, which it must have, are all 0"]
