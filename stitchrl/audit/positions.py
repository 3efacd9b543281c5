"""Where the episodes of a dataset go: all that the audit looks at, some rows at a time."""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from stitchrl.data.episodes import Episodes
from stitchrl.data.formats.source import Source, spans
from stitchrl.types import Region

POSITION = (0, 1)  # columns of the worlds' observations that hold x and y
ROWS = 1_000_000  # looked at at a time


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


class Positions:
    """Achieved goals of all rows, in time order inside an episode, episodes laid end to end."""

    def __init__(self, xy: np.ndarray, lengths: np.ndarray, columns: tuple[int, int] = POSITION):
        """xy: [N, 2] float32, metres. lengths: [episodes] transitions; length T means T + 1 rows.

        columns: of the observation, where they stand.
        """
        self.stored = xy
        self.columns = columns
        self.row_type = np.int32 if len(xy) < 2**31 else np.int64  # for numbers of rows where many are held
        self.last = (lengths + 1).cumsum() - 1  # [episodes] the last row of each
        self.first = self.last - lengths  # [episodes] the first row of each
        self.parts = [
            Part(first, last, int(self.first[first]), int(self.last[last - 1]) + 1)
            for first, last in spans(lengths, ROWS)
        ]
        self._visits: dict[Region, Visits] = {}

    @classmethod
    def of_episodes(cls, episodes: Episodes, columns: tuple[int, int] = POSITION) -> "Positions":
        """columns: where the achieved goals stand in the observation. ValueError where it has no such column."""
        check_columns(columns, episodes.observations.shape[1])
        return cls(episodes.observations[:, list(columns)].numpy(), episodes.lengths.numpy(), columns)

    @classmethod
    def of_source(cls, source: Source, columns: tuple[int, int] = POSITION) -> "Positions":
        """Of a stored dataset, which may be larger than memory; its positions may not."""
        check_columns(columns, source.observations.shape[0])
        xy = np.empty((source.rows, 2), np.float32)
        begin = 0
        for episodes in source.stream(ROWS):
            xy[begin : begin + len(episodes)] = episodes.observations[:, list(columns)].numpy()
            begin += len(episodes)
        return cls(xy, source.lengths, columns)

    def reversed(self) -> "Positions":
        """The same with time running backwards: the last row comes first."""
        return Positions(self.stored[::-1], (self.last - self.first)[::-1], self.columns)

    def __len__(self) -> int:
        return len(self.stored)

    def xy(self, rows: np.ndarray | slice) -> np.ndarray:
        """Points [R, 2] in float64: every part of the audit then decides borders the same way."""
        return self.stored[rows].astype(np.float64)

    @cached_property
    def corners(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest x and y, in float64 like all points."""
        return self.stored.min(0).astype(np.float64), self.stored.max(0).astype(np.float64)

    def of_part(self, part: Part) -> np.ndarray:
        """Points of a part's rows."""
        return self.xy(slice(part.begin, part.end))

    def number(self, part: Part) -> np.ndarray:
        """Each row's episode, counted from the part's first one: [rows of the part] int32."""
        sizes = self.last[part.first : part.last] - self.first[part.first : part.last] + 1
        return np.repeat(np.arange(part.last - part.first, dtype=np.int32), sizes)

    def visits(self, region: Region) -> Visits:
        """When each episode is in a region; found once, since tasks share regions and each part of the audit asks."""
        if region not in self._visits:
            found = [
                (self.earliest(part, rows), self.latest(part, rows))
                for part in self.parts
                for rows in [part.begin + np.flatnonzero(region.contains(self.of_part(part)))]
            ]
            first, last = (np.concatenate(rows).astype(self.row_type) for rows in zip(*found, strict=True))
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


def check_columns(columns: tuple[int, int], width: int) -> None:
    if max(columns) >= width:
        raise ValueError(f"achieved_goal: columns: {max(columns)} given, observations have columns 0 to {width - 1}")
