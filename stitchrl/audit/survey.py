"""What else tells whether data test stitching: pairs against marginals, coverage, episodes that go on in others."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from stitchrl.audit.achieved import ROWS, Achieved
from stitchrl.audit.certificate import Audited
from stitchrl.audit.chains import Links
from stitchrl.audit.lattice import Lattice
from stitchrl.audit.matched import pairs_within, same_side, segments_matched, through_walls
from stitchrl.audit.sample import flattened, take
from stitchrl.audit.seams import jumps
from stitchrl.data.episodes import Episodes
from stitchrl.data.formats.source import Source
from stitchrl.types import Region, Task

SAMPLES = 512  # for a distance between distributions


def survey(source: Source, audited: Audited, needed: Sequence[int | None]) -> dict[str, Any]:
    """Plain values for JSON, of a dataset whose tasks are goals. Each part is told of in the function that makes it.

    needed: Segments needed by each task at epsilon, as the certificate has them.
    """
    achieved, walls, epsilon = audited.achieved, audited.walls, audited.epsilon
    tasks = cast(Sequence[Task], audited.tasks)
    lengths, rng = source.lengths, np.random.default_rng(0)
    links = Links(achieved, walls, epsilon)
    sample = take(source, achieved, epsilon, rng)
    pairs = pairs_within(sample, achieved, epsilon)
    open_way = same_side(sample, achieved, walls, pairs)
    return {
        "episode_lengths": {"min": int(lengths.min()), "median": float(np.median(lengths)), "max": int(lengths.max())},
        "coverage": coverage(achieved, epsilon),
        "distances": distances(achieved, tasks, np.random.default_rng(0)),
        "continued": continued(source, achieved, tasks),
        "walls": through_walls(sample, achieved, tasks, needed, links, pairs, open_way),
        "segments_matched": segments_matched(sample, achieved, tasks, pairs[open_way]),
        "seams": jumps(source, sample, achieved, tasks, links, rng),
    }


def coverage(achieved: Achieved, epsilon: float) -> dict[str, float]:
    """Cubes of side epsilon that episodes visit.

    Their `area` (of squares; volume in general), or their number where epsilon is 0; and the share of it that several
    episodes visit, `shared`.
    """
    lattice = Lattice(achieved, epsilon)
    visitors = np.zeros(len(lattice), np.int64)
    for part in achieved.parts:
        episodes = part.last - part.first
        by_episode = np.unique(lattice.cube(part) * episodes + achieved.number(part))
        here, count = np.unique(by_episode // episodes, return_counts=True)
        visitors[here] += count
    size = epsilon**achieved.dimensions if epsilon else 1.0
    return {"area": round(len(lattice) * size, 2), "shared": round(float((visitors > 1).mean()), 4)}


def distances(achieved: Achieved, tasks: Sequence[Task], rng: np.random.Generator) -> dict[str, float]:
    """Wasserstein distances (W1, Euclidean) from what training sees to what is evaluated, on samples of each.

    `pairs` of (state, goal), a goal being any later state of the state's episode (its last state has none); `starts`
    and `goals`, their marginals. Pairs far apart whose marginals are near each other are combinatorial generalisation.
    Marginals that are far apart are other places.
    """
    seen = np.concatenate([achieved.points(rows) for rows in pairs_of_rows(achieved, SAMPLES, rng)], 1)
    drawn = [tasks[i % len(tasks)] for i in range(SAMPLES)]
    evaluated = np.array([np.concatenate([_draw(task.start, rng), _draw(task.goal, rng)]) for task in drawn])
    half = achieved.dimensions
    columns = {"pairs": slice(0, 2 * half), "starts": slice(0, half), "goals": slice(half, 2 * half)}
    found = {}
    for key, part in columns.items():
        cost = cdist(seen[:, part], evaluated[:, part])
        found[key] = round(float(cost[linear_sum_assignment(cost)].mean()), 4)
    return found


def pairs_of_rows(achieved: Achieved, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows [count] at which an action was taken, uniform, and for each a strictly later one of its episode."""
    taken = (achieved.last - achieved.first).cumsum()  # transitions up to the end of each episode
    transition = rng.integers(taken[-1], size=count)
    number = np.searchsorted(taken, transition, side="right")
    rows = transition + number  # the episodes before have a last row each
    return rows, rng.integers(rows + 1, achieved.last[number] + 1)


def _draw(region: Region, rng: np.random.Generator) -> np.ndarray:
    """From the cube where there is one: a task's goals are drawn there, its radius is that of success."""
    dimensions = len(region.center)
    if dimensions == 2:
        angle = rng.uniform(0, 2 * np.pi)
        direction = np.array([np.cos(angle), np.sin(angle)])
    else:
        direction = rng.normal(size=dimensions)
        direction /= np.linalg.norm(direction)
    radius = region.radius * rng.uniform() ** (1 / dimensions)
    return region.sample(rng) + (radius * direction if region.half == 0 else 0.0)


def continued(source: Source, achieved: Achieved, tasks: Sequence[Task]) -> dict[str, Any]:
    """Episodes that begin in the very state in which another ends.

    `episodes`, how many go on in another; `rejoined`, how many there are when they are laid end to end; `ordered`, for
    each task, how many of these visit its start and later its goal.
    """
    follower = _followers(source)
    chain, offset = _chains(follower, achieved)
    ordered = {}
    for task in tasks:
        start, goal = achieved.visits(task.start).first, achieved.visits(task.goal).last
        first, last = np.full(chain.max() + 1, np.iinfo(np.int64).max), np.full(chain.max() + 1, -1)
        visited = start < len(achieved)
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
    observations = flattened(episodes)
    factors = np.random.default_rng(0).integers(2**63, size=observations.shape[1], dtype=np.uint64) * 2 + 1

    def of(rows: np.ndarray) -> np.ndarray:
        bits = np.ascontiguousarray(observations[rows], np.float32).view(np.uint32)
        return (bits * factors).sum(1, dtype=np.uint64)

    return of(episodes.first.numpy()), of(episodes.last.numpy())


def _chains(follower: np.ndarray, achieved: Achieved) -> tuple[np.ndarray, np.ndarray]:
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
            chain[number], offset[number] = count, steps - achieved.first[number]
            steps += int(achieved.last[number] - achieved.first[number])
            number = int(follower[number])
        count += 1
    return chain, offset
