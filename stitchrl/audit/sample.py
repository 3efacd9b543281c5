"""Rows of a dataset with all that is observed in them: a sample, since not all need fit into memory."""

import math
from typing import NamedTuple

import numpy as np

from stitchrl.audit.achieved import ROWS, Achieved
from stitchrl.data.episodes import Episodes
from stitchrl.data.formats.source import Source

EPISODES = 500
LARGEST = 1_000_000  # rows
JOINS = 2_000_000  # pairs within epsilon in a sample, about


class Sample(NamedTuple):
    """Every so many rows of some episodes; all rows of all episodes where these are few."""

    rows: np.ndarray  # [R] sorted
    observations: np.ndarray  # [R, C] float32, flattened
    columns: np.ndarray  # of the flattened observation, those that vary and do not state the achieved goal
    spread: np.ndarray  # [columns] the standard deviation of each in the sample

    def apart(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Root mean square [...] over columns of differences between observations [..., C], standardised."""
        difference = (a[..., self.columns] - b[..., self.columns]) / self.spread
        return np.sqrt((difference**2).mean(-1))


def take(source: Source, achieved: Achieved, epsilon: float, rng: np.random.Generator) -> Sample:
    """Whole episodes, drawn at random, then every so many of their rows: few rows of each leave chains to be found."""
    episodes = np.sort(rng.choice(len(achieved.last), min(EPISODES, len(achieved.last)), replace=False))
    first, last = achieved.first[episodes], achieved.last[episodes]
    step = -(-int((last - first + 1).sum()) // LARGEST)
    rows = np.concatenate([np.arange(a, b + 1, step) for a, b in zip(first, last, strict=True)])
    points = achieved.points(rows)
    cubes = np.floor(points / epsilon) if epsilon else points
    crowded = np.unique(cubes, axis=0, return_counts=True)[1].astype(float)
    half = achieved.dimensions / 2
    ball = math.pi**half / math.gamma(half + 1) if epsilon else 1.0  # the volume of all points within 1 of a point
    pairs = ball / 2 * (crowded**2).sum()  # if rows were spread evenly in and around each cube
    rows = rows[:: max(1, int(np.ceil((pairs / JOINS) ** 0.5)))]
    observations = observations_at(source, rows)
    spread = observations.std(0, dtype=np.float64).astype(np.float32)
    columns = np.setdiff1d(np.flatnonzero(np.ptp(observations, axis=0)), achieved.columns)
    return Sample(rows, observations, columns, spread[columns])


def flattened(episodes: Episodes) -> np.ndarray:
    """Observations [N, C] in their own dtype, whatever their shape."""
    return episodes.observations.numpy().reshape(len(episodes), -1)


def observations_at(source: Source, rows: np.ndarray) -> np.ndarray:
    """Observations [R, C] float32, flattened, of rows in any order."""
    result = np.empty((0, 0), np.float32)
    order = rows.argsort(kind="stable")
    begin = 0
    for episodes in source.chunks(ROWS):
        observations = flattened(episodes)
        if begin == 0:
            result = np.empty((len(rows), observations.shape[1]), np.float32)
        here = order[slice(*np.searchsorted(rows, (begin, begin + len(episodes)), sorter=order))]
        result[here] = observations[rows[here] - begin]
        begin += len(episodes)
    return result
