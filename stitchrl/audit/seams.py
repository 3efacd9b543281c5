"""Seams: where episodes must be chained, how much else changes there?

A link asks only that achieved goals be near. A body that is left there moves in one way, the one that is entered moves
in another. A shortest chain of K segments has K - 1 seams; after k segments

    episode a   . . . x              x can be reached from the start with k segments
    episode b     . y . . .          from y the goal can be reached with K - k; |x - y| <= epsilon

A seam's jump is the least that a row x where an episode may be left must accept: over all such y, the least distance in
the rest of the observation (velocities, posture). It is the root mean square over columns, in units of a column's
standard deviation. Two rows drawn at random are about 1.41 apart.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from stitchrl.audit.achieved import ROWS, Achieved
from stitchrl.audit.chains import Links, levels
from stitchrl.audit.sample import Sample, flattened, observations_at
from stitchrl.data.formats.source import Source
from stitchrl.types import Region, Task

SEAMS = 128  # rows at which a dataset's jumps are measured


class Seam(NamedTuple):
    """A row where an episode may be left, and the rows of each episode at which the rest of a chain may be entered."""

    task: str
    row: int
    before: np.ndarray  # [episodes] rows before these


def jumps(
    source: Source, sample: Sample, achieved: Achieved, tasks: Sequence[Task], links: Links, rng: np.random.Generator
) -> dict[str, Any] | None:
    """Median and 90th percentile of jumps at seams, beside those of one step and of two rows at random.

    Seams are those of unseen tasks, as many of each task. `tasks` holds each task's median, None where nothing must be
    chained or there is no chain. None in all where observations hold no more than the achieved goal.
    """
    if not len(sample.columns):
        return None
    found = seams(links, tasks, rng)
    rows = np.array([seam.row for seam in found], np.int64)
    last = achieved.last[np.searchsorted(achieved.last, rows)]
    following = np.where(rows < last, rows + 1, rows - 1)
    here, there = np.split(observations_at(source, np.concatenate([rows, following])), 2)
    least, task_of = _least(source, sample, links, found, here), np.array([seam.task for seam in found], str)
    linked = np.isfinite(least)
    one, other = rng.integers(len(sample.rows), size=(2, 1000))
    medians = {}
    for task in tasks:
        of_task = least[linked & (task_of == task.name)]
        medians[task.name] = round(float(np.median(of_task)), 4) if len(of_task) else None
    return {
        "rows": int(linked.sum()),
        "jump": _summary(least[linked]),
        "step": _summary(sample.apart(here, there)[linked]),
        "random": _summary(sample.apart(sample.observations[one], sample.observations[other])),
        "tasks": medians,
    }


def _summary(values: np.ndarray) -> dict[str, float] | None:
    if not len(values):
        return None
    return {"median": round(float(np.median(values)), 4), "p90": round(float(np.quantile(values, 0.9)), 4)}


def seams(links: Links, tasks: Sequence[Task], rng: np.random.Generator) -> list[Seam]:
    """Rows where episodes may be left on shortest chains of unseen tasks; some that only come close to it, too."""
    achieved, backwards = links.achieved, links.reversed()
    unseen = [task for task in tasks if task.expect == "unseen"]
    exits: dict[Region, list[np.ndarray]] = {}
    found = []
    for start in dict.fromkeys(task.start for task in unseen):
        begun = [task for task in unseen if task.start == start]
        goals = [achieved.visits(task.goal).last for task in begun]
        entries: list[np.ndarray] = []  # of each level, until all goals that can be reached are
        for entry in levels(links, achieved.visits(start).first):
            entries.append(entry.astype(achieved.row_type))
            if all((goal > entry).any() for goal in goals):
                break
        for task, goal in zip(begun, goals, strict=True):
            reached = [level for level, entry in enumerate(entries, start=1) if (goal > entry).any()]
            if not reached or reached[0] == 1:
                continue
            needed, count = reached[0], len(achieved)
            if len(exits.get(task.goal, ())) < needed - 1:
                latest = islice(levels(backwards, count - 1 - goal[::-1]), needed - 1)
                exits[task.goal] = [(count - 1 - row[::-1]).astype(achieved.row_type) for row in latest]
            share = -(-SEAMS // (len(unseen) * (needed - 1)))
            for left in range(1, needed):
                before = exits[task.goal][needed - left - 1]
                rows = _leave(links, entries[left - 1], before, share, rng)
                found += [Seam(task.name, int(row), before) for row in rows]
    return found


def _leave(links: Links, entry: np.ndarray, before: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """At most `count` of the rows after `entry` in whose bins some may be linked to rows before `before`."""
    near = links.near_to(links.ranges(links.achieved.first, before))
    after = links.ranges(entry + 1, links.achieved.last + 1)
    rows = np.concatenate([some[near[links.bin[some]]].astype(links.achieved.row_type) for some in after])
    return np.sort(rng.choice(rows, min(count, len(rows)), replace=False))


def _least(source: Source, sample: Sample, links: Links, found: Sequence[Seam], here: np.ndarray) -> np.ndarray:
    """The least jump [seams] from observations `here` [seams, C] to a row linked to each; infinite for none."""
    achieved, near = links.achieved, links.near
    least = np.full(len(found), np.inf)
    begin = 0
    for episodes in source.chunks(ROWS):
        bins = links.bin[begin : begin + len(episodes)]
        order = bins.argsort(kind="stable")
        first = np.searchsorted(bins[order], np.arange(near.shape[0] + 1))
        number = np.repeat(np.arange(len(episodes.lengths)), episodes.lengths.numpy() + 1)
        number += np.searchsorted(achieved.last, begin)
        observations = flattened(episodes)
        for i, seam in enumerate(found):
            of_bin = links.bin[seam.row]
            around = near.indices[near.indptr[of_bin] : near.indptr[of_bin + 1]]
            rows = np.concatenate([order[first[one] : first[one + 1]] for one in around])
            rows = rows[begin + rows < seam.before[number[rows]]]
            apart = achieved.points(begin + rows) - achieved.points(np.array([seam.row]))
            rows = rows[(apart**2).sum(1) <= links.epsilon**2]
            least[i] = min(least[i], sample.apart(here[i], observations[rows]).min(initial=np.inf))
        begin += len(episodes)
    return least
