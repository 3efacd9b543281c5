"""The achieved goals of a dataset's rows: all that most of the audit looks at, some rows at a time."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from stitchrl.data.episodes import Episodes
from stitchrl.data.formats.source import Source, spans
from stitchrl.types import Region

ROWS = 1_000_000  # looked at at a time

Of = Callable[[np.ndarray], np.ndarray]  # observations [R, *shape] -> achieved goals [R, D]


def at_columns(columns: Sequence[int]) -> Of:
    """What reads achieved goals off columns of the observation. It raises ValueError where there is no such column."""

    def of(observations: np.ndarray) -> np.ndarray:
        check_columns(columns, observations.shape[1])
        return observations[:, list(columns)]

    return of


def check_columns(columns: Sequence[int], width: int) -> None:
    """ValueError unless observations of `width` numbers have all the columns."""
    if max(columns) >= width:
        raise ValueError(f"achieved_goal: columns: {max(columns)} given, observations have columns 0 to {width - 1}")


class Part(NamedTuple):
    """Episodes first..last - 1, which are rows begin..end - 1."""

    first: int
    last: int
    begin: int
    end: int


class Visits(NamedTuple):
    """When each episode is in a region."""

    first: np.ndarray  # [episodes] its first row there; N, past all rows, where it never is
    last: np.ndarray  # [episodes] its last row there; -1, before all rows, where it never is


class Achieved:
    """Achieved goals of all rows, in time order inside an episode, episodes laid end to end.

    Attributes:
        stored: [N, D] float32. Points are looked at in float64, so that all of the audit decides borders the same way.
        first, last: [episodes] the first and the last row of each.
        columns: Numbers of the flattened observation that state the achieved goal as it is.
    """

    def __init__(self, stored: np.ndarray, lengths: np.ndarray, columns: Sequence[int] = ()):
        """lengths: [episodes] transitions; length T means T + 1 rows."""
        self.stored = stored
        self.columns = list(columns)
        self.row_type = np.int32 if len(stored) < 2**31 else np.int64  # for numbers of rows where many are held
        self.last = (lengths + 1).cumsum() - 1
        self.first = self.last - lengths
        # Episodes some at a time.
        self.parts = [Part(i, j, int(self.first[i]), int(self.last[j - 1]) + 1) for i, j in spans(lengths, ROWS)]
        self._visits: dict[Region, Visits] = {}

    @classmethod
    def of_episodes(cls, episodes: Episodes, of: Of) -> "Achieved":
        """Of a dataset in memory. `of` is what reads them off observations [R, *shape]."""
        return cls._read([episodes], len(episodes), episodes.lengths.numpy(), of)

    @classmethod
    def of_source(cls, source: Source, of: Of) -> "Achieved":
        """Of a stored dataset, which may be larger than memory; its achieved goals may not."""
        return cls._read(source.stream(ROWS), source.rows, source.lengths, of)

    @classmethod
    def _read(cls, chunks: Iterable[Episodes], rows: int, lengths: np.ndarray, of: Of) -> "Achieved":
        stored, columns, begin = np.empty((0, 0), np.float32), None, 0
        for episodes in chunks:
            observations = episodes.observations.numpy()
            found = of(observations)
            if begin == 0:
                stored = np.empty((rows, found.shape[1]), np.float32)
            stored[begin : begin + len(found)] = found
            flat = observations.reshape(len(found), -1)
            if columns is None:  # a few rows rule out nearly all columns
                columns = np.flatnonzero((flat[:100, :, None] == found[:100, None]).all(0).any(1)).tolist()
            columns = [i for i in columns if any(np.array_equal(flat[:, i], number) for number in found.T)]
            begin += len(found)
        return cls(stored, lengths, columns or ())

    def reversed(self) -> "Achieved":
        """The same with time running backwards: the last row comes first."""
        return Achieved(self.stored[::-1], (self.last - self.first)[::-1], self.columns)

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def dimensions(self) -> int:
        """How many numbers D an achieved goal has."""
        return self.stored.shape[1]

    def points(self, rows: np.ndarray | slice) -> np.ndarray:
        """Achieved goals [R, D] in float64."""
        return self.stored[rows].astype(np.float64)

    def of_part(self, part: Part) -> np.ndarray:
        """Points of a part's rows."""
        return self.points(slice(part.begin, part.end))

    def number(self, part: Part) -> np.ndarray:
        """Each row's episode, counted from the part's first one: [rows of the part] int32."""
        sizes = self.last[part.first : part.last] - self.first[part.first : part.last] + 1
        return np.repeat(np.arange(part.last - part.first, dtype=np.int32), sizes)

    def visits(self, region: Region) -> Visits:
        """When each episode is in a region. It is found once: tasks share regions, and each part of the audit asks."""
        if region not in self._visits:
            found = []
            for part in self.parts:
                rows = part.begin + np.flatnonzero(region.contains(self.of_part(part)))
                found.append((self.earliest(part, rows), self.latest(part, rows)))
            first, last = (np.concatenate(each).astype(self.row_type) for each in zip(*found, strict=True))
            self._visits[region] = Visits(first, last)
        return self._visits[region]

    def earliest(self, part: Part, rows: np.ndarray) -> np.ndarray:
        """Each episode's first one [episodes of the part] of some rows [R], sorted; N where it has none."""
        place = np.searchsorted(rows, self.first[part.first : part.last])
        found = np.append(rows, len(self))[place]
        return np.where(found <= self.last[part.first : part.last], found, len(self))

    def latest(self, part: Part, rows: np.ndarray) -> np.ndarray:
        """Each episode's last one [episodes of the part] of some rows [R], sorted; -1 where it has none."""
        place = np.searchsorted(rows, self.last[part.first : part.last], side="right") - 1
        found = np.append(rows, -1)[place]
        return np.where(found >= self.first[part.first : part.last], found, -1)
