"""Return stitching: what training attained from where, and the most that chaining its episodes attains.

A task asks for a target return within so many steps of a start region. Rewards lie on the row that a step leaves. What
an episode attains from a row is collected up to the horizon or to its own end, whichever comes first.

Chaining is decided by dynamic programming over all rows, the steps left h and the segments k, with r a row's reward:

    V_k(row, h) = r + W_k(row + 1, h - 1)                          one step of the row's own episode
    W_k(row, h) = max(V_k(row, h), max over rows w near the row of V_{k-1}(w, h))       or on in another, at no cost

V is 0 with no step left, and at an episode's last row. A jump leads to V, so a step is taken between two jumps: a body
that jumps again and again goes nowhere. Three segments have two seams, and none is used twice: to come to a seam a
second time takes another one in between, thus four segments.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.sparse import csr_array

from stitchrl.audit.certificate import LISTED, Certificate, conclude, rounded
from stitchrl.audit.chains import Joins
from stitchrl.audit.cooccurrence import status_of
from stitchrl.audit.positions import Positions
from stitchrl.types import Region, ReturnTask
from stitchrl.worlds.maze.maps import Maze

SEGMENTS = 3  # at most


def certify_returns(
    name: str,
    sha256: str,
    positions: Positions,
    rewards: np.ndarray,
    tasks: Sequence[ReturnTask],
    maze: Maze | None,
    epsilon: float,
    min_episodes: int,
    control: bool,
    ceilings: Mapping[str, float] | None = None,
    min_support: int | None = None,
) -> Certificate:
    """Audit a dataset, whose hash is `sha256`, for returns; as `certificate.certify`, which is for goals.

    rewards: [N] float32 of the rows, NaN on each episode's last.
    """
    joins = Joins(positions, maze, epsilon)
    attainable, at_most = (best_by_chaining(joins, near, rewards, tasks) for near in (joins.sure, joins.near))
    within = {horizon: returns_within(positions, rewards, horizon) for horizon in {task.horizon for task in tasks}}
    episode = np.repeat(np.arange(len(positions.first)), positions.last - positions.first + 1)
    rows = []
    for task, low, high in zip(tasks, attainable, at_most, strict=True):
        attained = within[task.horizon]
        here = _rows_in(positions, task.start)
        from_here = attained[here]
        attaining = np.unique(episode[here[from_here >= task.target]])
        anywhere = np.unique(episode[attained >= task.target])
        best = float(from_here.max(initial=0.0))
        rows.append(
            {
                "name": task.name,
                "expect": task.expect,
                "status": status_of(len(attaining), len(attaining), min_episodes),
                "target": rounded(task.target),
                "horizon": task.horizon,
                "attaining": len(attaining),
                "starts": int((positions.visits(task.start).first == positions.first).sum()),
                "elsewhere": len(np.setdiff1d(anywhere, attaining, assume_unique=True)),
                "best_in_data": rounded(best),
                "p99": rounded(float(np.quantile(from_here, 0.99)) if len(here) else math.nan),
                "margin": rounded((task.target - best) / task.target),
                "best_by_segments": {str(k): rounded(value) for k, value in enumerate(low, start=1)},
                "best_by_segments_upper": {str(k): rounded(value) for k, value in enumerate(high, start=1)},
                "segments_needed": next((k for k, value in enumerate(low, start=1) if value >= task.target), None),
                "path_length": None,
                "step_limit": task.horizon,
                "ceiling": rounded((ceilings or {}).get(task.name, math.nan)),
                "episodes": attaining[:LISTED].tolist(),
            }
        )
    return conclude(name, sha256, tasks, rows, epsilon, min_episodes, control, min_support)


def returns_within(positions: Positions, rewards: np.ndarray, horizon: int) -> np.ndarray:
    """What each row's episode collects from it [N] in `horizon` steps, or up to its end where that comes first."""
    earned = np.append(0, np.nan_to_num(rewards).cumsum(dtype=np.float64))  # before each row
    ends = np.repeat(positions.last, positions.last - positions.first + 1)
    return earned[np.minimum(np.arange(len(ends)) + horizon, ends)] - earned[:-1]


def _rows_in(positions: Positions, region: Region) -> np.ndarray:
    return np.flatnonzero(region.contains(positions.xy(slice(None))))


def best_by_chaining(
    joins: Joins, near: csr_array, rewards: np.ndarray, tasks: Sequence[ReturnTask]
) -> list[list[float]]:
    """For each task the most that 1, 2, ... SEGMENTS episodes in a chain collect from its start within its horizon.

    near: [bins, bins], which bins' rows may be jumped between. With `joins.sure` every jump is within epsilon, and what
    is found can be attained; with `joins.near` no jump within epsilon is left out, and no more can be.
    """
    positions = joins.positions
    starts = [_rows_in(positions, task.start) for task in tasks]
    found: list[list[float]] = [[] for _ in tasks]
    for steps, values in enumerate(_values(joins, near, rewards), start=1):
        for task, start, best in zip(tasks, starts, found, strict=True):
            if steps == task.horizon:
                best += [float(value[start].max(initial=0.0)) for value in values]
        if steps == max(task.horizon for task in tasks):
            break
    return found


def _values(joins: Joins, near: csr_array, rewards: np.ndarray) -> Iterator[list[np.ndarray]]:
    """V_1 ... V_SEGMENTS, each [N], with one step left, with two, and so on without end."""
    last = joins.positions.last
    reward = np.nan_to_num(rewards).astype(np.float64)
    order = np.argsort(joins.bin, kind="stable")  # rows bin by bin
    first = np.searchsorted(joins.bin[order], np.arange(near.shape[0]))
    best = [np.zeros(len(reward) + 1) for _ in range(SEGMENTS)]  # W, and a row past the last
    while True:
        values: list[np.ndarray] = []
        for k in range(SEGMENTS):
            value = reward + best[k][1:]
            value[last] = 0
            best[k][:-1] = value
            if k > 0:
                of_bin = np.maximum.reduceat(values[k - 1][order], first)
                of_near = np.maximum.reduceat(of_bin[near.indices], near.indptr[:-1])
                np.maximum(value, of_near[joins.bin], out=best[k][:-1])
            values.append(value)
        yield values
