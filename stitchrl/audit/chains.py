"""Segments needed: the fewest episodes in a chain that leads from a task's start region to its goal region.

A chain runs forward in time. An episode is entered at one row and left at a strictly later one, where the next episode
has a row within epsilon in achieved-goal space, on the same side of walls. With epsilon 0 the two must be equal.

    episode a   S . . . x              entered in S, left at x
    episode b         . y . . x        |x - y| <= epsilon: entered at y, covers every row after y
    episode c               . y . G    three segments

The search goes level by level: the rows that k episodes can reach are, in each episode, all rows after its earliest
entry, so one number for each episode says all. It is exact. It is fast because rows are put in bins much smaller than
epsilon: most rows are entered, or not, by what their bin says, and few distances are ever computed.
"""

import copy
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree
from tqdm import tqdm

from stitchrl.audit.achieved import ROWS, Achieved
from stitchrl.audit.lattice import Lattice
from stitchrl.types import Region, Task, Walls

BLOCK = 16  # bins to a side of what is compared at a time where walls are unknown; a place where they are known
SLACK = 1e-9  # relative; far above the rounding of a bin's borders, far below the distances in a dataset


class Links:
    """Which rows lie within epsilon of each other on the same side of walls, ready to be asked level by level."""

    def __init__(self, achieved: Achieved, walls: Walls | None, epsilon: float):
        """walls: None where they are unknown; then nothing is in the way."""
        self.achieved, self.walls, self.epsilon = achieved, walls, epsilon
        self.adjacent = np.ones((1, 1), bool) if walls is None else walls.adjacent

        # A bin is a small cube. It never reaches from one place into another, so a bin is linked as a whole.
        per_epsilon = bins_per_epsilon(achieved.dimensions)
        lattice = Lattice(achieved, epsilon / per_epsilon, walls)
        # Each row's bin; empty bins have no number. In as few bytes as will do: there is one for every row of the data.
        self.bin = np.empty(len(achieved), np.min_scalar_type(len(lattice) - 1))
        for part in achieved.parts:
            self.bin[part.begin : part.end] = lattice.cube(part)
        corner, place = lattice.corner, lattice.place
        block = np.unique(corner // BLOCK, axis=0, return_inverse=True)[1].reshape(-1) if walls is None else place
        self.block = np.unique(block, return_inverse=True)[1].astype(self.bin.dtype)  # [bins]

        # [bins, bins] all rows of the two are within epsilon; some may be. In units of a bin's width.
        pairs = np.empty((0, 2), np.int64)  # of equal goals each bin has its own
        if epsilon:
            reach = per_epsilon + math.ceil(achieved.dimensions**0.5)
            pairs = cKDTree(corner).query_pairs(reach, output_type="ndarray")
        apart = np.abs(corner[pairs[:, 0]] - corner[pairs[:, 1]])
        farthest, nearest = np.linalg.norm(apart + 1, axis=1), np.linalg.norm(np.maximum(apart - 1, 0), axis=1)
        sure, near = farthest <= per_epsilon * (1 - SLACK), nearest <= per_epsilon * (1 + SLACK)
        same_side = self.adjacent[place[pairs[:, 0]], place[pairs[:, 1]]]
        itself, shape = np.arange(len(lattice)), (len(lattice), len(lattice))
        matrices = []
        for kept in (sure, near):
            linked = pairs[kept & same_side]
            i, j = np.concatenate([linked, linked[:, ::-1], np.stack([itself, itself], 1)]).T  # both ways, and itself
            matrices.append(csr_array((np.ones(len(i), np.int32), (i, j)), shape))
        self.sure, self.near = matrices
        self.walls_matter = bool((near & ~same_side).any())  # whether rows may be near each other across a wall

    def reversed(self) -> "Links":
        """The same with time running backwards, for a search that begins at a goal."""
        result = copy.copy(self)
        result.achieved, result.bin = self.achieved.reversed(), self.bin[::-1]
        return result

    def near_to(self, rows: Iterable[np.ndarray]) -> np.ndarray:
        """Boolean [bins]: where rows may be linked to some of `rows`."""
        return self.near @ self._occupied(rows) > 0

    def _occupied(self, rows: Iterable[np.ndarray]) -> np.ndarray:
        """Ones [bins] where there are some of `rows`."""
        occupied = np.zeros(self.near.shape[0], np.int32)
        for some in rows:
            occupied[self.bin[some]] = 1
        return occupied

    def enter(self, entry: np.ndarray, covered_to: np.ndarray) -> np.ndarray:
        """Each episode's earliest entry [episodes] from rows after `entry` up to `covered_to`, or `entry` itself."""
        occupied = self._occupied(self.ranges(entry + 1, covered_to + 1))
        sure = self.sure @ occupied > 0
        rim = (self.near @ occupied > 0) & ~sure
        result, at_rim = entry.astype(np.int64), []
        for part in self.achieved.parts:
            here, bins = slice(part.first, part.last), self.bin[part.begin : part.end]
            earliest = self.achieved.earliest(part, part.begin + np.flatnonzero(sure[bins]))
            result[here] = np.minimum(result[here], earliest)
            # Rows in bins at the rim of what is covered need distances, if entering there would be earlier.
            rows = np.flatnonzero(rim[bins])
            before = part.begin + rows < result[here][self.achieved.number(part)[rows]]
            at_rim.append((part.begin + rows[before]).astype(self.achieved.row_type))
        rows = np.concatenate(at_rim)
        if len(rows):
            near = self.near_to([rows])
            ranges = self.ranges(entry + 1, covered_to + 1)
            there = [covered[near[self.bin[covered]]].astype(self.achieved.row_type) for covered in ranges]
            rows = rows[self._within(rows, np.concatenate(there))]
            for part in self.achieved.parts:
                here = slice(part.first, part.last)
                begin, end = np.searchsorted(rows, (part.begin, part.end))
                result[here] = np.minimum(result[here], self.achieved.earliest(part, rows[begin:end]))
        return result

    def ranges(self, begin: np.ndarray, end: np.ndarray) -> Iterator[np.ndarray]:
        """The rows begin..end - 1 of every episode, a part at a time."""
        for part in self.achieved.parts:
            first, counts = begin[part.first : part.last], (end - begin)[part.first : part.last]
            yield np.arange(counts.sum()) + np.repeat(first - (counts.cumsum() - counts), counts)

    def _within(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Boolean [rows]: whether any of the others is within epsilon, on the same side of walls.

        A block of bins at a time, beside all that lies near it: a block is of one place, so walls are seen to.
        """
        within = np.zeros(len(rows), bool)
        block, others_bin = self.block[self.bin[rows]], self.bin[others]
        for number in np.unique(block):
            asked = np.flatnonzero(block == number)
            there = others[(self.near @ (self.block == number).astype(np.int32) > 0)[others_bin]]
            if len(there):
                points = self.achieved.points(there)
                tree = cKDTree(points, balanced_tree=False, compact_nodes=False)
                for begin in range(0, len(asked), ROWS):
                    some = asked[begin : begin + ROWS]
                    here = self.achieved.points(rows[some])
                    within[some] = ((here - points[tree.query(here)[1]]) ** 2).sum(1) <= self.epsilon**2
        return within


def bins_per_epsilon(dimensions: int) -> int:
    """How many bins are as wide as epsilon. Any two points of one bin must be within epsilon of each other."""
    return 4 if dimensions <= 2 else math.floor(dimensions**0.5) + 1


def segments_needed(
    achieved: Achieved, tasks: Sequence[Task], walls: Walls | None, epsilons: Sequence[float]
) -> list[list[int | None]]:
    """For each epsilon, the fewest episodes that lead from each task's start to its goal; None where none do.

    Tasks with one start region share one search. Walls are None where they are unknown.
    """
    result = []
    for epsilon in epsilons:
        links = Links(achieved, walls, epsilon)
        needed: dict[tuple[Region, Region], int] = {}
        starts = dict.fromkeys(task.start for task in tasks)
        for start in tqdm(starts, desc=f"chains at epsilon {epsilon:g}", unit=" starts", delay=5, leave=False):
            goals = dict.fromkeys(task.goal for task in tasks if task.start == start)
            last_in_goal = {goal: achieved.visits(goal).last for goal in goals}
            for level, entry in enumerate(levels(links, achieved.visits(start).first), start=1):
                reached = [goal for goal in goals if (last_in_goal[goal] > entry).any()]
                for goal in reached:
                    needed[start, goal] = level
                    del goals[goal]
                if not goals:
                    break
        result.append([needed.get((task.start, task.goal)) for task in tasks])
        del links  # before the next one is made: they are large
    return result


def levels(links: Links, first_in_start: np.ndarray) -> Iterator[np.ndarray]:
    """For one segment, two, and so on while there are new rows: each episode's earliest entry [episodes].

    Covered are the rows after an episode's entry; an entry at its last row covers nothing.
    """
    entry, covered_to = np.minimum(first_in_start, links.achieved.last), links.achieved.last
    while (entry < covered_to).any():
        yield entry
        entry, covered_to = links.enter(entry, covered_to), entry
