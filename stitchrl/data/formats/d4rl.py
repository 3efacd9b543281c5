"""D4RL's HDF5 files: flat, aligned in time, with marks that do not always mean what their names say.

Where an episode ends: at `timeouts`; where the body jumps (more than 5 units of position in a step, as D4RL's own check
of its mazes has it); where `next_observations` is not the next observation; and at `terminals`, unless they come in
clusters, as those of the ant mazes do: there they label states near one fixed target, across episodes.

An episode's last row has a state and an action without a successor. The state is kept and the action is void, so T + 1
rows are T transitions; where the file has `next_observations` no action is lost.

    row      a   a+1  ...  b             timeouts[b] = 1
    states   s_0 s_1  ...  s_T           T = b - a
    actions  a_0 a_1  ...  (no successor)
"""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from stitchrl import files
from stitchrl.data.episodes import Episodes
from stitchrl.data.formats.source import ROWS, Source, assemble, check_columns, marks, spans

JUMP = 5.0  # units of position
METADATA = "metadata/stitchrl"  # a scalar of JSON
MARKS = ("timeouts", "terminals")
READ = ("observations", "actions", "rewards", "next_observations", *MARKS)


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


def open_source(path: Path) -> Source:
    """Raises ValueError that names the file, the episode and the key; OSError where there is no file."""
    return _guarded(path, lambda file: _open(path, file))


def _guarded(path: Path, use: Callable[[h5py.File], Any]) -> Any:
    try:
        with h5py.File(path, "r") as file:
            return use(file)
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"{path}: expected a readable HDF5 file, found {error}") from error


def _open(path: Path, file: h5py.File) -> Source:
    if "episode_0" in file:
        raise ValueError(f"{path}: the inside of a Minari dataset; give its id instead, as NAMESPACE/NAME-v0")
    columns = _columns(path, file)
    for key in ("observations", "actions"):
        if key not in columns:
            raise ValueError(f"{path}: no dataset {key!r}; it holds {', '.join(sorted(file)) or 'nothing'}")
    if not any(key in columns for key in MARKS):
        raise ValueError(f"{path}: neither 'timeouts' nor 'terminals': nothing tells where episodes end")
    check_columns(str(path), {key: (column.shape, column.parts[0].dtype) for key, column in columns.items()})
    if "next_observations" in columns and columns["next_observations"].shape != columns["observations"].shape:
        raise ValueError(f"{path}: next_observations have another shape than observations")
    ends, terminated, notes = _ends(path, columns)
    complete = "next_observations" in columns
    lengths = np.diff(ends, prepend=-1) - (0 if complete else 1)
    if (lengths == 0).any():
        notes.append(f"{int((lengths == 0).sum())} episodes of a single state are left out")
    if not (lengths > 0).any():
        raise ValueError(f"{path}: timeouts, terminals: no episode has a transition")
    extra = [name for name in _names(file) if name.split("/")[-1] not in READ and name != METADATA]
    if extra:
        notes.append(f"not read: {', '.join(extra)}")
    return Source(
        str(path),
        lengths[lengths > 0],
        columns["observations"].shape[1],
        columns["actions"].shape[1],
        "rewards" in columns,
        chunks=lambda rows: _chunks(path, ends, complete, rows),
        metadata=_metadata(path, file),
        origin=path.stem,
        notes=tuple(notes),
        terminated=None if terminated is None else terminated[lengths > 0],
    )


def _columns(path: Path, file: h5py.File) -> dict[str, Column]:
    """The keys that are read, where they exist."""
    parts: list[Any] = [file]
    if isinstance(file.get("virtual"), h5py.Group):
        if not all(name.isdigit() for name in file["virtual"]):
            raise ValueError(f"{path}: virtual: expected parts named by numbers, found {', '.join(file['virtual'])}")
        parts = [file["virtual"][name] for name in sorted(file["virtual"], key=int)]
    columns = {}
    for key in READ:
        held = [part.get(key) for part in parts]
        if all(value is None for value in held):
            continue
        if not all(isinstance(value, h5py.Dataset) and value.shape for value in held):
            raise ValueError(f"{path}: {key}: expected a dataset of rows" + (" in every part" if held[1:] else ""))
        columns[key] = Column(held)
    return columns


def _read_rows(path: Path, first: int, last: int, file: h5py.File) -> dict[str, np.ndarray]:
    return {key: column.rows(first, last) for key, column in _columns(path, file).items()}


def _names(file: h5py.File) -> list[str]:
    """All datasets in a file, groups within groups included."""
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return sorted(names)


def _metadata(path: Path, file: h5py.File) -> dict[str, Any]:
    if METADATA not in file:
        return {}
    try:
        return dict(json.loads(file[METADATA][()]))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {METADATA}: expected JSON of stitchrl's, found {error}") from error


def _ends(path: Path, columns: dict[str, Column]) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """The last rows of episodes, whether a terminal stands there, where terminals tell, and what was decided."""
    states, notes = columns["observations"], []
    terminals: np.ndarray | None = None
    ends = np.zeros(states.shape[0], bool)
    ends[-1] = True
    if "timeouts" in columns:
        ends |= marks(str(path), "timeouts", columns["timeouts"].rows(0, len(ends)))
    if "terminals" in columns:
        terminals = marks(str(path), "terminals", columns["terminals"].rows(0, len(ends)))
        if (terminals[1:] & terminals[:-1]).any():
            notes.append(f"terminals come in clusters ({int(terminals.sum())} rows): labels of states, not ends")
            terminals = None
        else:
            ends |= terminals
    breaks = np.zeros_like(ends)
    following = columns.get("next_observations")
    for first in range(0, len(ends) - 1, ROWS):
        last = min(first + ROWS, len(ends) - 1)
        here = states.rows(first, last + 1)
        if following is None:
            with np.errstate(over="ignore", invalid="ignore"):  # found when rows are read
                breaks[first:last] = np.linalg.norm(np.diff(here[:, :2].astype(np.float64), axis=0), axis=1) > JUMP
        else:
            breaks[first:last] = (following.rows(first, last) != here[1:]).any(1)
    if (breaks & ~ends).any():
        how = f"jumps of more than {JUMP:g} units" if following is None else "next_observations that do not follow"
        notes.append(f"{int((breaks & ~ends).sum())} ends of episodes were found by {how}")
    rows = np.flatnonzero(ends | breaks)
    return rows, None if terminals is None else terminals[rows], notes


def _chunks(path: Path, ends: np.ndarray, complete: bool, rows: int) -> Iterator[Episodes]:
    """complete: whether `next_observations` gives the state after an episode's last action."""
    rows_of = np.diff(ends, prepend=-1)  # rows of each episode, those without a transition included
    transitions = rows_of - (0 if complete else 1)
    begin = ends - rows_of + 1
    number = 0  # episodes with a transition so far
    for first, last in spans(transitions, rows):
        a, b = int(begin[first]), int(ends[last - 1]) + 1
        held = _guarded(path, partial(_read_rows, path, a, b))
        lengths = transitions[first:last]
        keep = np.repeat(lengths > 0, rows_of[first:last])
        lengths = lengths[lengths > 0]
        states, actions, rewards = held["observations"][keep], held["actions"][keep], held.get("rewards")
        if rewards is not None:
            rewards = rewards.reshape(-1)[keep]
        if complete:
            last_rows = lengths.cumsum() - 1
            states = np.insert(states, last_rows + 1, held["next_observations"][keep][last_rows], axis=0)
            actions = np.insert(actions, last_rows + 1, 0, axis=0)
            rewards = None if rewards is None else np.insert(rewards, last_rows + 1, 0)
        if len(lengths):
            yield assemble(str(path), number, states, actions, rewards, lengths)
        number += len(lengths)


def write(path: Path, source: Source) -> list[str]:
    """Every state is kept: T + 1 rows to an episode. Returns what the format does not hold.

    On the last row is the mark: `terminals` where the episode was terminated, else `timeouts`.
    """

    def make(beside: Path) -> None:
        checked: dict[str, Any] = {"fletcher32": True, "chunks": True}  # a damaged file is found when it is read
        with h5py.File(beside, "w", libver=("v110", "v110")) as file:  # headers with checksums, too
            rows, ends = source.rows, (source.lengths + 1).cumsum() - 1
            for key, width in (("observations", source.observation_dim), ("actions", source.action_dim)):
                file.create_dataset(key, (rows, width), np.float32, **checked)
            file.create_dataset("rewards", (rows,), np.float32, **checked)
            terminated = np.zeros(len(ends), bool) if source.terminated is None else source.terminated
            for key, marked in (("terminals", ends[terminated]), ("timeouts", ends[~terminated])):
                values = np.zeros(rows, bool)
                values[marked] = True
                file.create_dataset(key, data=values, **checked)
            if source.metadata:
                file[METADATA] = json.dumps(source.metadata)
            first = 0
            for episodes in source.stream(ROWS):
                last = first + len(episodes)
                file["observations"][first:last] = episodes.observations.numpy()
                file["actions"][first:last] = episodes.actions.nan_to_num(0.0).numpy()
                if episodes.rewards is not None:
                    file["rewards"][first:last] = episodes.rewards.nan_to_num(0.0).numpy()
                first = last

    files.write(path, make)
    notes = (
        ["all episodes end at timeouts, since nothing is known of what ended them"] if source.terminated is None else []
    )
    return notes if source.rewarded else [*notes, "rewards, which it must have, are all 0"]
