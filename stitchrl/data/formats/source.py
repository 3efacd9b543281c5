"""A stored dataset, opened: whatever its format, whole episodes are read from it in order, some at a time."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from stitchrl.data.episodes import Episodes, void_at

ROWS = 200_000  # read at a time when a dataset streams
ALL = 2**62


class Column(NamedTuple):
    """The values that a dataset holds of each step."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """How many numbers there are in a step."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Source:
    """What is known of a dataset before its rows are read, and how to read them."""

    name: str  # as it was asked for
    lengths: np.ndarray  # [episodes] int64, transitions in each
    observations: Column  # as `Episodes` has them
    actions: Column
    rewarded: bool
    chunks: Callable[[int], Iterator[Episodes]]  # about so many rows at a time, whole episodes, as often as one likes
    metadata: dict[str, Any] = field(default_factory=dict)  # what stitchrl stored with it, as its manifest
    origin: str = ""  # what its format says of where it comes from; its tasks may be known by it
    notes: tuple[str, ...] = ()  # what was decided in reading it, and what it holds that other formats do not take
    terminated: np.ndarray | None = None  # [episodes] bool, ended by the world, not by time; None where not known

    @property
    def rows(self) -> int:
        """States in all, the last of each episode included."""
        return int(self.lengths.sum()) + len(self.lengths)

    def stream(self, rows: int) -> Iterator[Episodes]:
        """All chunks once, with a progress bar where that takes long."""
        with tqdm(total=self.rows, desc=self.name, unit=" rows", unit_scale=True, delay=5, leave=False) as bar:
            for episodes in self.chunks(rows):
                yield episodes
                bar.update(len(episodes))

    def read(self) -> Episodes:
        """All episodes at once. Raises ValueError that names the file, the episode and the key."""
        episodes = next(self.chunks(ALL))
        self._compare(episodes.sha256)
        return episodes

    @cached_property
    def sha256(self) -> str:
        """The dataset's hash, from two passes over its chunks; see `Episodes.sha256`. ValueError if it is another."""
        digest = hashlib.sha256()
        for episodes in self.stream(ROWS):
            digest.update(episodes.observations.numpy().data)
        for episodes in self.stream(ROWS):
            digest.update(episodes.actions[episodes.transitions].numpy().data)
        digest.update(self.lengths.astype(np.int64).data)
        self._compare(digest.hexdigest())
        return digest.hexdigest()

    def _compare(self, sha256: str) -> None:
        expected = self.metadata.get("manifest", {}).get("dataset_sha256", sha256)
        if sha256 != expected:
            raise ValueError(f"{self.name}: its data have the hash {sha256}, expected {expected}")


def of_episodes(name: str, episodes: Episodes, metadata: dict[str, Any]) -> Source:
    """Episodes that are in memory already."""
    held = (episodes.observations, episodes.actions)
    observations, actions = (Column(tuple(values.shape[1:]), values[:0].numpy().dtype) for values in held)
    rewarded, lengths = episodes.rewards is not None, episodes.lengths.numpy()
    return Source(name, lengths, observations, actions, rewarded, lambda rows: iter([episodes]), metadata)


def spans(lengths: np.ndarray, rows: int) -> Iterator[tuple[int, int]]:
    """Episodes first..last - 1 that hold at most `rows` rows together, one at least, until all are taken."""
    ends = (lengths + 1).cumsum()
    first = 0
    while first < len(lengths):
        taken = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, taken + rows, side="right")))
        yield first, last
        first = last


def assemble(
    where: str,
    first: int,
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray | None,
    lengths: np.ndarray,
    ours: bool = False,
) -> Episodes:
    """Episodes of rows laid end to end, T + 1 to an episode. What stands in actions and rewards of last rows is void.

    ValueError that names an episode in which a number is not finite. where, first: the file and the number of the first
    episode, for this error. ours: see `kept_type`.
    """
    last = (lengths + 1).cumsum() - 1

    def column(key: str, values: np.ndarray) -> Tensor:
        with np.errstate(over="ignore", invalid="ignore"):  # found below
            kept = kept_type(key, values.shape[1:], values.dtype, ours)
            held = torch.from_numpy(np.array(values, kept))  # a copy: void rows are overwritten
        if not held.is_floating_point():
            return held if key == "observations" else void_at(held, torch.from_numpy(last))
        if key != "observations":
            held[last] = 0
        # A sum is finite if all its terms are, and costs one pass; only a suspicion is looked into.
        if not torch.isfinite(held.sum()) and not (finite := torch.isfinite(held)).all():
            row = int((~finite.reshape(len(held), -1).all(1)).nonzero()[0])
            number = int(np.searchsorted(last, row))
            step = row - (int(last[number]) - int(lengths[number]))
            raise ValueError(f"{where}: episode {first + number}: {key} at step {step} are not finite in float32")
        if key != "observations":
            held[last] = torch.nan
        return held

    return Episodes(
        column("observations", observations),
        column("actions", actions),
        None if rewards is None else column("rewards", rewards),
        torch.from_numpy(np.asarray(lengths, np.int64)),
    )


def kept_type(key: str, shape: Sequence[int], dtype: np.dtype, ours: bool) -> np.dtype:
    """The type in which values are held: float32 but for discrete actions, and planes and pixels of our own worlds.

    key, shape, dtype: of the values of a step in the file. ours: whether stitchrl wrote it.
    """
    if key == "actions" and not shape and dtype.kind in "iu":
        return np.dtype(np.int64)
    return dtype if key == "observations" and dtype == np.uint8 and ours else np.dtype(np.float32)


def check_columns(where: str, shapes: Mapping[str, tuple[Sequence[int], np.dtype]], ours: bool = False) -> None:
    """ValueError unless observations and actions are tables of numbers, and all others columns [N] or [N, 1].

    shapes: shape and dtype of each, all of one length. Discrete actions are a column. ours: whether stitchrl wrote the
    file. Only then it may hold images, since only then what each of their numbers stands for is known.
    """
    if len(shape := shapes["observations"][0]) > 2 and not ours:
        found = f"images are not supported; observations have shape {tuple(shape)}"
        raise ValueError(f"{where}: {found}, expected a row of numbers for each step")
    rows = shapes["observations"][0][0] if shapes["observations"][0] else 0
    for key, (shape, dtype) in shapes.items():
        if dtype.kind not in ("f", "i", "u") and not (dtype.kind == "b" and key not in ("observations", "actions")):
            raise ValueError(f"{where}: {key} are of type {dtype}, expected numbers")
        table = key in ("observations", "actions", "next_observations", "achieved_goal")
        discrete = key == "actions" and len(shape) == 1 and dtype.kind in "iu"
        whole = discrete or (len(shape) >= 2 and 0 not in shape[1:])  # more than a table can only be ours
        if not (whole if table else len(shape) == 1 or tuple(shape[1:]) == (1,)):
            expected = "a row of numbers" if table else "one number"
            raise ValueError(f"{where}: {key} have shape {tuple(shape)}, expected {expected} for each step")
        if shape[0] != rows:
            raise ValueError(f"{where}: {shape[0]} {key}, expected as many as observations, which are {rows}")
    if rows < 2:
        raise ValueError(f"{where}: {rows} observations, expected an episode at least")


def marks(where: str, key: str, values: np.ndarray) -> np.ndarray:
    """Boolean [N] from a column of zeros and ones of any type."""
    values = values.reshape(-1)
    other = (values != 0) & (values != 1)
    if other.any():
        raise ValueError(f"{where}: {key} hold {values[other][0]} at row {int(other.argmax())}, expected 0 and 1")
    return values.astype(bool)


def with_position(observations: np.ndarray, achieved: np.ndarray) -> np.ndarray:
    """Observations [N, D] with the achieved goal [N, G] in front, unless it stands there already."""
    there = observations[:, : achieved.shape[1]]
    if there.shape == achieved.shape and not differ(there, achieved).any():
        return observations
    return np.concatenate([achieved, observations], 1)


def differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two tables [N, D] differ, boolean [N, D], by more than rounding to the coarser of their types explains.

    Rounding is in proportion to the largest number of a column: positions near zero may come of adding larger ones.
    """
    coarser = max((float(np.finfo(table.dtype).eps) for table in (a, b) if table.dtype.kind == "f"), default=0.0)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found by `assemble`
        one, other = a.astype(np.float64), b.astype(np.float64)
        largest = np.maximum(np.abs(one), np.abs(other))
        scale = largest.max(0, initial=0.0, where=np.isfinite(largest))
        return np.abs(one - other) > 4 * coarser * scale
