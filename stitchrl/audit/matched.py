"""Links of a sample of rows: how many walls rule out, and how many segments are needed when bodies must match, too.

A link asks that achieved goals be within epsilon, on the same side of walls. A matched link also asks that the rest of
the observation (velocities, posture) be at most `THRESHOLD` apart, as `Sample.apart` has it. A sample gives an upper
bound, since a chain may only be left and entered at its rows. Where the sample is all rows it is exact.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.spatial import cKDTree

from stitchrl.audit.achieved import Achieved
from stitchrl.audit.chains import Links, segments_needed
from stitchrl.audit.sample import Sample
from stitchrl.types import Task, Walls

THRESHOLD = 1.0  # standard deviations; two rows at random are 1.41 apart, so that half of the variance is explained
PAIRS = 500_000  # whose observations are compared at a time


def pairs_within(sample: Sample, achieved: Achieved, epsilon: float) -> np.ndarray:
    """All [P, 2] places in a sample whose achieved goals are within epsilon of each other, each pair once."""
    return cKDTree(achieved.points(sample.rows)).query_pairs(epsilon, output_type="ndarray")


def same_side(sample: Sample, achieved: Achieved, walls: Walls | None, pairs: np.ndarray) -> np.ndarray:
    """Boolean [P]: whether no wall is between the rows of each pair."""
    if walls is None:
        return np.ones(len(pairs), bool)
    place = walls.place(achieved.points(sample.rows))
    return walls.adjacent[place[pairs[:, 0]], place[pairs[:, 1]]]


def through_walls(
    sample: Sample,
    achieved: Achieved,
    tasks: Sequence[Task],
    needed: Sequence[int | None],
    links: Links,
    pairs: np.ndarray,
    open_way: np.ndarray,
) -> dict[str, Any] | None:
    """What difference walls make, None where they are not known.

    `share` of the sample's pairs of rows of two episodes that walls rule out; `segments` needed by each task, of all
    rows, if there were no walls. With walls they are `needed`, and `open_way` [pairs] says which have none in between.
    """
    if links.walls is None:
        return None
    if links.walls_matter:
        needed = segments_needed(achieved, tasks, None, (links.epsilon,))[0]
    number = np.searchsorted(achieved.last, sample.rows)
    two = number[pairs[:, 0]] != number[pairs[:, 1]]
    share = float((~open_way[two]).mean()) if two.any() else 0.0
    return {"share": round(share, 6), "segments": {task.name: n for task, n in zip(tasks, needed, strict=True)}}


def segments_matched(
    sample: Sample, achieved: Achieved, tasks: Sequence[Task], pairs: np.ndarray
) -> dict[str, Any] | None:
    """Segments needed by each of `tasks` with matched links alone, None where no such chain was found.

    Pairs are on the same side of walls. None in all where observations hold no more than the achieved goal.
    """
    if not len(sample.columns):
        return None
    kept = [np.empty((0, 2), np.int64)]
    for begin in range(0, len(pairs), PAIRS):
        some = pairs[begin : begin + PAIRS]
        apart = sample.apart(sample.observations[some[:, 0]], sample.observations[some[:, 1]])
        kept.append(some[apart <= THRESHOLD])
    matched = np.concatenate(kept)
    shape = (len(sample.rows), len(sample.rows))
    linked = csr_array(coo_array((np.ones(len(matched), np.int32), tuple(matched.T)), shape))
    linked = linked + linked.T
    return {
        "threshold": THRESHOLD,
        "rows": len(sample.rows),
        "exact": len(sample.rows) == len(achieved),
        "tasks": {task.name: _search(sample, achieved, task, linked) for task in tasks},
    }


def _search(sample: Sample, achieved: Achieved, task: Task, linked: csr_array) -> int | None:
    """As `chains` searches, but episodes are left and entered at the sample's rows alone."""
    rows, number = sample.rows, np.searchsorted(achieved.last, sample.rows)
    entry = np.minimum(achieved.visits(task.start).first, achieved.last)
    in_goal = achieved.visits(task.goal).last
    level = 1
    while not (in_goal > entry).any():
        enters = np.flatnonzero(linked @ (rows > entry[number]).astype(np.int32))
        further = entry.copy()
        np.minimum.at(further, number[enters], rows[enters])
        if (further == entry).all():
            return None
        entry, level = further, level + 1
    return level
