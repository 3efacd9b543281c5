"""Rows of a dataset with all that is observed in them: a sample, since not all need fit into memory."""

from typing import NamedTuple

import numpy as np

from stitchrl.audit.positions import ROWS, Positions
from stitchrl.data.formats.source import Source

EPISODES = 500
LARGEST = 1_000_000  # rows
JOINS = 2_000_000  # pairs within epsilon in a sample, about


class Sample(NamedTuple):
    """Every so many rows of some episodes; all rows of all episodes where these are few."""

    rows: np.ndarray  # [R] sorted
    observations: np.ndarray  # [R, obs_dim] float32
    columns: np.ndarray  # [C] of the observation: those beside the position that are not constant
    spread: np.ndarray  # [C] standard deviation of each in the sample

    def apart(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Root mean square [...] over columns of the differences between observations [..., obs_dim], standardised."""
        difference = (a[..., self.columns] - b[..., self.columns]) / self.spread
        return np.sqrt((difference**2).mean(-1))


def take(source: Source, positions: Positions, epsilon: float, rng: np.random.Generator) -> Sample:
    """Whole episodes, drawn at random, then every so many of their rows: few rows of each leave chains to be found."""
    episodes = np.sort(rng.choice(len(positions.last), min(EPISODES, len(positions.last)), replace=False))
    first, last = positions.first[episodes], positions.last[episodes]
    step = -(-int((last - first + 1).sum()) // LARGEST)
    rows = np.concatenate([np.arange(a, b + 1, step) for a, b in zip(first, last, strict=True)])
    squares = np.floor(positions.xy(rows) / epsilon)
    crowded = np.unique(squares, axis=0, return_counts=True)[1].astype(float)
    pairs = np.pi / 2 * (crowded**2).sum()  # if rows were spread evenly in and around each square
    rows = rows[:: max(1, int(np.ceil((pairs / JOINS) ** 0.5)))]
    observations = observations_at(source, rows)
    spread = observations.std(0, dtype=np.float64).astype(np.float32)
    columns = np.setdiff1d(np.flatnonzero(np.ptp(observations, axis=0)), positions.columns)
    return Sample(rows, observations, columns, spread[columns])


def observations_at(source: Source, rows: np.ndarray) -> np.ndarray:
    """Observations [R, obs_dim] of rows in any order."""
    result = np.empty((len(rows), source.observations.shape[0]), np.float32)
    order = rows.argsort(kind="stable")
    begin = 0
    for episodes in source.chunks(ROWS):
        here = order[slice(*np.searchsorted(rows, (begin, begin + len(episodes)), sorter=order))]
        result[here] = episodes.observations.numpy()[rows[here] - begin]
        begin += len(episodes)
    return result
