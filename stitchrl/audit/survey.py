"""What else tells whether data test stitching: pairs against marginals, coverage, episodes that go on in others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from stitchrl.audit.chains import Joins
from stitchrl.audit.matched import pairs_within, same_side, segments_matched, through_walls
from stitchrl.audit.positions import ROWS, Positions
from stitchrl.audit.sample import take
from stitchrl.audit.seams import jumps
from stitchrl.data.episodes import Episodes
from stitchrl.data.formats.source import Source
from stitchrl.types import Region, Task
from stitchrl.worlds.maze.maps import Maze

SAMPLES = 512  # for a distance between distributions


def survey(
    source: Source,
    positions: Positions,
    tasks: Sequence[Task],
    maze: Maze | None,
    epsilon: float,
    needed: Sequence[int | None],
) -> dict[str, Any]:
    """Plain values for JSON; each part is told of in the function that makes it.

    maze: None where walls are unknown. needed: segments needed by each task at epsilon, as the certificate has them.
    """
    lengths, rng = source.lengths, np.random.default_rng(0)
    joins = Joins(positions, maze, epsilon)
    sample = take(source, positions, epsilon, rng)
    pairs = pairs_within(sample, positions, epsilon)
    open_way = same_side(sample, positions, maze, pairs)
    return {
        "episode_lengths": {"min": int(lengths.min()), "median": float(np.median(lengths)), "max": int(lengths.max())},
        "coverage": coverage(positions, epsilon),
        "distances": distances(positions, tasks, np.random.default_rng(0)),
        "continued": continued(source, positions, tasks),
        "walls": through_walls(sample, positions, tasks, needed, joins, pairs, open_way),
        "segments_matched": segments_matched(sample, positions, tasks, pairs[open_way]),
        "seams": jumps(source, sample, positions, tasks, joins, rng),
    }


def coverage(positions: Positions, epsilon: float) -> dict[str, float]:
    """Squares of side epsilon that episodes visit: their area, and the share of it where several episodes come by."""
    low, high = (np.floor(corner / epsilon).astype(np.int64) for corner in positions.corners)
    columns = high[1] - low[1] + 1
    squares, visitors = np.empty(0, np.int64), np.empty(0, np.int64)
    for part in positions.parts:
        square = np.floor(positions.of_part(part) / epsilon).astype(np.int64) - low
        number = positions.number(part)
        by_episode = np.unique((square[:, 0] * columns + square[:, 1]) * (number[-1] + 1) + number)
        here, count = np.unique(by_episode // (number[-1] + 1), return_counts=True)
        squares, place = np.unique(np.concatenate([squares, here]), return_inverse=True)
        visitors = np.bincount(place, np.concatenate([visitors, count])).astype(np.int64)
    return {"area": round(len(squares) * epsilon**2, 2), "shared": round(float((visitors > 1).mean()), 4)}


def distances(positions: Positions, tasks: Sequence[Task], rng: np.random.Generator) -> dict[str, float]:
    """Wasserstein distances (W1, Euclidean) from what training sees to what is evaluated, on samples of each.

    pairs: of (state, goal), a goal being any later state of the state's episode (its last state has none); starts and
    goals: their marginals.
    Pairs far apart whose marginals are near each other are combinatorial generalisation; marginals that are far apart
    are other places.
    """
    seen = np.concatenate([positions.xy(rows) for rows in pairs_of_rows(positions, SAMPLES, rng)], 1)
    drawn = [tasks[i % len(tasks)] for i in range(SAMPLES)]
    evaluated = np.array([np.concatenate([_draw(task.start, rng), _draw(task.goal, rng)]) for task in drawn])
    columns = {"pairs": slice(0, 4), "starts": slice(0, 2), "goals": slice(2, 4)}
    return {key: round(_wasserstein(seen[:, part], evaluated[:, part]), 4) for key, part in columns.items()}


def pairs_of_rows(positions: Positions, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows [count] at which an action was taken, uniform, and for each a strictly later one of its episode."""
    taken = (positions.last - positions.first).cumsum()  # transitions up to the end of each episode
    transition = rng.integers(taken[-1], size=count)
    number = np.searchsorted(taken, transition, side="right")
    rows = transition + number  # the episodes before have a last row each
    return rows, rng.integers(rows + 1, positions.last[number] + 1)


def _draw(region: Region, rng: np.random.Generator) -> np.ndarray:
    """From the box where there is one: a task's goals are drawn there, its radius is that of success."""
    angle, radius = rng.uniform(0, 2 * np.pi), region.radius * rng.uniform() ** 0.5
    disc = radius * np.array([np.cos(angle), np.sin(angle)]) if region.half == 0 else np.zeros(2)
    return region.sample(rng) + disc


def _wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    cost = cdist(a, b)
    return float(cost[linear_sum_assignment(cost)].mean())


def continued(source: Source, positions: Positions, tasks: Sequence[Task]) -> dict[str, Any]:
    """Episodes that begin in the very state in which another ends, and what co-occurs once they are joined again.

    episodes: how many go on in another. rejoined: how many there are when they are laid end to end. ordered: for each
    task, how many of these join its start to its goal.
    """
    follower = _followers(source)
    chain, offset = _chains(follower, positions)
    ordered = {}
    for task in tasks:
        start, goal = positions.visits(task.start).first, positions.visits(task.goal).last
        first = np.full(chain.max() + 1, np.iinfo(np.int64).max)
        last = np.full(chain.max() + 1, -1)
        visited = start < len(positions)
        np.minimum.at(first, chain[visited], (start + offset)[visited])
        visited = goal >= 0
        np.maximum.at(last, chain[visited], (goal + offset)[visited])
        ordered[task.name] = int((first < last).sum())
    return {"episodes": int((follower >= 0).sum()), "rejoined": int(chain.max()) + 1, "ordered": ordered}


def _followers(source: Source) -> np.ndarray:
    """For each episode the one that begins where it ends [episodes], -1 for none; none follows two."""
    chunks = [_fingerprints(episodes) for episodes in source.stream(ROWS)]
    begins, ends = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    by_begin, by_end = begins.argsort(kind="stable"), ends.argsort(kind="stable")
    # Of several that end in one state the first goes on in the first that begins there, the second in the second.
    sorted_ends = ends[by_end]
    place = np.searchsorted(begins[by_begin], sorted_ends)
    place += np.arange(len(ends)) - np.searchsorted(sorted_ends, sorted_ends)
    candidate = by_begin[np.minimum(place, len(begins) - 1)]
    fits = (place < len(begins)) & (begins[candidate] == sorted_ends) & (candidate != by_end)
    follower = np.full(len(ends), -1)
    follower[by_end[fits]] = candidate[fits]
    return follower


def _fingerprints(episodes: Episodes) -> tuple[np.ndarray, np.ndarray]:
    """64 bits of the states in which episodes begin and end; two different states share them by a freak chance."""
    factors = np.random.default_rng(0).integers(2**63, size=episodes.observations.shape[1], dtype=np.uint64) * 2 + 1
    first, last = (
        (episodes.observations[rows].numpy().view(np.uint32) * factors).sum(1, dtype=np.uint64)
        for rows in (episodes.first, episodes.last)
    )
    return first, last


def _chains(follower: np.ndarray, positions: Positions) -> tuple[np.ndarray, np.ndarray]:
    """The chain that each episode belongs to [episodes], and what to add to its rows for their place in the chain."""
    chain, offset = np.full(len(follower), -1), np.zeros(len(follower), np.int64)
    followed = np.zeros(len(follower), bool)
    followed[follower[follower >= 0]] = True
    count = 0
    for begin in [*np.flatnonzero(~followed), *np.flatnonzero(followed)]:  # the latter for those that go in circles
        number, steps = int(begin), 0
        if chain[number] >= 0:
            continue
        while number >= 0 and chain[number] < 0:
            chain[number], offset[number] = count, steps - positions.first[number]
            steps += int(positions.last[number] - positions.first[number])
            number = int(follower[number])
        count += 1
    return chain, offset
