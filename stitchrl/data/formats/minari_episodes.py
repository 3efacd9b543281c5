"""What is read of Minari's episodes, one after another, and what is said of the rest.

Observations that are dictionaries become their `observation`, with the achieved goal in front of it if it does not
stand there already. An achieved goal that is a dictionary itself is laid out key by key, in the alphabet's order. An
episode was terminated if its last step says so; all others ran out of time, whatever `truncations` say.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import minari
import numpy as np
import torch

from stitchrl.data.episodes import Episodes
from stitchrl.data.formats.source import ROWS, assemble, with_position

READ = ("observations", "actions", "rewards", "terminations")
IMPLIED = "truncations"  # of episodes that were not terminated


class Steps(NamedTuple):
    """One episode as Minari holds it."""

    observations: np.ndarray  # [T + 1, obs_dim]
    actions: np.ndarray  # [T, act_dim]
    rewards: np.ndarray  # [T]
    terminations: np.ndarray  # [T]
    leading: list[str]  # names of what was put in front of the observations
    unread: list[str]  # names of what is not taken on


@dataclass
class Notes:
    """What is to be said of a dataset, collected while it is decoded."""

    ours: bool  # whether stitchrl wrote it
    leading: dict[str, None] = field(default_factory=dict)  # in the order in which they were found
    unread: dict[str, None] = field(default_factory=dict)
    early: int = 0  # episodes with terminations before their last step

    def add(self, steps: Steps) -> None:
        self.leading.update(dict.fromkeys(steps.leading))
        self.unread.update(dict.fromkeys(steps.unread))
        self.early += bool((steps.terminations[:-1] != 0).any())

    def sentences(self) -> tuple[str, ...]:
        found = []
        if self.leading:
            found.append(f"in front of each observation: {', '.join(self.leading)}")
        if self.early:
            found.append(f"terminations before the last step, in {self.early} episodes, are not taken for ends")
        if unread := [name for name in self.unread if not (self.ours and name == "options")]:  # contexts, which we know
            found.append(f"not read: {', '.join(unread)}")
        return tuple(found)


def gather(held_in: Path, episodes: Iterable[Steps], count: int, notes: Notes) -> Iterator[Episodes]:
    """Many episodes at a time from one after another, each one checked."""
    kept: list[Steps] = []
    number = rows = 0
    before: Steps | None = None
    for steps in episodes:
        lengths = [len(steps.observations), len(steps.actions), len(steps.rewards), len(steps.terminations)]
        where = f"{held_in}: episode_{number}"
        if lengths != [lengths[1] + 1, *[lengths[1]] * 3] or lengths[1] == 0:
            found = ", ".join(f"{n} {key}" for n, key in zip(lengths, READ, strict=True))
            raise ValueError(f"{where}: {found}; expected T + 1, T, T and T, T at least 1")
        for key in READ:
            column: np.ndarray = getattr(steps, key)
            if not _fits(key, column, notes.ours):
                raise ValueError(f"{where}: {key} are {column.dtype} of shape {column.shape}, expected rows of numbers")
            like = column.shape if before is None else getattr(before, key).shape
            if column.shape[1:] != like[1:]:
                raise ValueError(f"{where}: {key} of shape {column.shape}, {like} in an episode before")
        notes.add(steps)
        kept.append(steps)
        before = steps
        number, rows = number + 1, rows + lengths[0]
        if rows >= ROWS or number == count:
            yield _joined(str(held_in), number - len(kept), kept, notes.ours)
            kept, rows = [], 0
    if number != count or count == 0:
        raise ValueError(f"{held_in}: {number} episodes, metadata.json has {count}; at least one is expected")


def _fits(key: str, column: np.ndarray, ours: bool) -> bool:
    """Whether an episode's column can be read: tables of numbers, columns of one, discrete actions, our own images."""
    if column.dtype.kind not in ("fiub" if key == "terminations" else "fiu"):
        return False
    if key == "observations":
        return column.ndim == 2 or (ours and column.ndim > 2)
    if key == "actions":
        return column.ndim == 2 or (column.ndim == 1 and column.dtype.kind in "iu")
    return column.ndim == 1


def _joined(where: str, first: int, kept: list[Steps], ours: bool) -> Episodes:
    """Episodes from number `first` on. Their actions and rewards get a last row, which is void."""
    observations = np.concatenate([steps.observations for steps in kept])
    actions = np.concatenate([part for steps in kept for part in (steps.actions, steps.actions[:1])])
    rewards = np.concatenate([part for steps in kept for part in (steps.rewards, steps.rewards[:1])])
    lengths = np.array([len(steps.actions) for steps in kept])
    terminated = torch.tensor([bool(steps.terminations[-1]) for steps in kept])
    return assemble(where, first, observations, actions, rewards, lengths, ours).with_info({"terminated": terminated})


def read_hdf5(path: Path, count: int) -> Iterator[Steps]:
    where = str(path)
    try:
        with h5py.File(path, "r") as file:
            for number in range(count):  # by number: in lexical order 10 comes before 2
                where = f"{path}: episode_{number}"
                group = file.get(f"episode_{number}")
                if not isinstance(group, h5py.Group):
                    raise ValueError(f"{where} is missing, {count} episodes expected")
                yield _steps(where, group, group.attrs)
    except (OSError, KeyError, RuntimeError) as error:
        raise ValueError(f"{where}: expected a readable HDF5 file, found {error}") from error


def read_arrow(place: Path) -> Iterator[Steps]:
    """Arrow and Parquet, by Minari's reader."""
    for where, episode, attributes in _load_arrow(place):
        yield _steps(where, episode, attributes)


def _load_arrow(place: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    where = str(place)
    try:
        stored = minari.MinariDataset(place / "data")
        known = iter(stored.storage.get_episode_metadata(range(stored.total_episodes)))
        episodes = iter(stored.iterate_episodes())
        for number in range(stored.total_episodes):
            where = f"{place / 'data'}: episode_{number}"
            episode, attributes = next(episodes), next(known)
            yield where, {key: getattr(episode, key) for key in (*READ, IMPLIED, "infos")}, attributes
    except ImportError as error:
        raise ValueError(f"{place}: reading Arrow needs pyarrow: pip install 'stitchrl[arrow]'") from error
    except Exception as error:  # Minari and pyarrow raise many kinds
        raise ValueError(f"{where}: expected a readable episode of Minari's, found {error!r}") from error


def _steps(where: str, episode: Mapping[str, Any], attributes: Iterable[str]) -> Steps:
    """What is read of an episode, and the names of the rest."""
    keys = list(episode)
    for key in READ:
        if key not in keys:
            raise ValueError(f"{where}: no dataset {key!r}")
    observations, leading, unread = _observations(where, episode["observations"])
    for key in keys:
        if key not in (*READ, IMPLIED):
            unread += _names(key, episode[key])
    unread += sorted({name.partition("/")[0] for name in attributes} & {"seed", "options"})  # others are counts
    actions, rewards, terminations = (_array(where, key, episode[key]) for key in READ[1:])
    return Steps(observations, actions, rewards, terminations, leading, unread)


def _observations(where: str, value: Any) -> tuple[np.ndarray, list[str], list[str]]:
    """Observations [T + 1, obs_dim], the names of what was put in front of them, and of what is not read."""
    if not (parts := _parts(value)):
        return _array(where, "observations", value), [], []
    if "observation" not in parts:
        raise ValueError(f"{where}: observations hold {', '.join(parts)}, expected an 'observation' among them")
    unread = [n for key in parts if key not in ("observation", "achieved_goal")
              for n in _names(f"observations/{key}", parts[key])]  # fmt: skip
    own = _array(where, "observations/observation", parts["observation"])
    if "achieved_goal" not in parts or own.ndim != 2:
        return own, [], unread
    achieved = _goals(where, "observations/achieved_goal", parts["achieved_goal"])
    for name, goal in achieved.items():
        if len(goal) != len(own):
            raise ValueError(f"{where}: {len(goal)} {name}, expected as many as observations, which are {len(own)}")
    whole = with_position(own, np.concatenate(list(achieved.values()), 1))
    return whole, [] if whole is own else list(achieved), unread


def _goals(where: str, name: str, value: Any) -> dict[str, np.ndarray]:
    """The arrays [T + 1, ...] that a goal consists of, as columns, by name."""
    if parts := _parts(value):
        found: dict[str, np.ndarray] = {}
        for key in sorted(parts):
            found |= _goals(where, f"{name}/{key}", parts[key])
        return found
    array = _array(where, name, value)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{where}: {name} is of type {array.dtype}, expected numbers")
    return {name: array.reshape(len(array), -1)}


def _parts(value: Any) -> dict[str, Any]:
    """What a dictionary or a tuple holds, by name; empty for an array. A link that leads nowhere is a KeyError."""
    if isinstance(value, tuple):
        return {f"_index_{i}": part for i, part in enumerate(value)}  # as they are called in HDF5
    return {key: value[key] for key in value} if isinstance(value, Mapping) else {}


def _names(name: str, value: Any) -> list[str]:
    """The names of all arrays in something that is not read."""
    if not isinstance(value, Mapping | tuple):
        return [name]
    return [inner for key, part in _parts(value).items() for inner in _names(f"{name}/{key}", part)]


def _array(where: str, name: str, value: Any) -> np.ndarray:
    if isinstance(value, Mapping | tuple):
        raise ValueError(f"{where}: {name} hold {', '.join(_parts(value)) or 'nothing'}, expected one array")
    if isinstance(value, h5py.Dataset) and value.is_virtual:
        found = "is virtual, and reads as zeros if its sources are missing"
        raise ValueError(f"{where}: {name} {found}; expected an array")
    array = np.asarray(value[()] if isinstance(value, h5py.Dataset) else value)
    if array.ndim == 0:
        raise ValueError(f"{where}: {name} are one value, expected one for each step")
    return array
