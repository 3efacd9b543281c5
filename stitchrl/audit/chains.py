"""Segments needed: the fewest episodes in a chain that leads from a task's start region to its goal region.

A chain runs forward in time. An episode is entered at one row and left at a strictly later one, where the next episode
has a row within epsilon (metres, in achieved-goal space) and on the same side of walls:

    episode a   S . . . x              entered in S, left at x
    episode b         . y . . x        |x - y| <= epsilon: entered at y, covers every row after y
    episode c               . y . G    three segments

The search goes level by level: the rows that k episodes can reach are, in each episode, all rows after its earliest
entry, so one number for each episode says all. It is exact. It is fast because rows are put in bins much smaller
than epsilon: most rows are entered, or not, by what their bin says, and few distances are ever computed.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree
from tqdm import tqdm

from stitchrl.audit.positions import ROWS, Part, Positions
from stitchrl.types import Region, Task
from stitchrl.worlds.maze.maps import Maze

BINS_PER_EPSILON = 4
BLOCK = 16  # bins to a side of what is compared at a time where walls are unknown; a cell where they are known
SLACK = 1e-9  # relative; far above the rounding of a bin's borders, far below the distances in a dataset


class Joins:
    """Which rows lie within epsilon of each other on the same side of walls, ready to be asked level by level."""

    def __init__(self, positions: Positions, maze: Maze | None, epsilon: float):
        """maze: None where walls are unknown; then nothing is in the way."""
        self.positions, self.maze, self.epsilon = positions, maze, epsilon
        self.adjacent = np.ones((1, 1), bool) if maze is None else maze.adjacent

        # A bin is a small square of one cell: it never reaches over a cell's border, so a bin is joined as a whole.
        width = epsilon / BINS_PER_EPSILON
        corners = [np.floor(xy / width) for xy in positions.corners]
        low, extent = corners[0].astype(np.int64) - 1, (corners[1] - corners[0]).astype(np.int64) + 3

        def keys(part: Part) -> np.ndarray:
            xy = positions.of_part(part)
            square = np.floor(xy / width).astype(np.int64) - low
            return (self.cell(xy) * extent[0] + square[:, 0]) * extent[1] + square[:, 1]

        occupied = np.unique(np.concatenate([np.unique(keys(part)) for part in positions.parts]))
        # Each row's bin; empty bins have no number. In as few bytes as will do: there is one for every row of the data.
        self.bin = np.empty(len(positions), np.min_scalar_type(len(occupied) - 1))
        for part in positions.parts:
            self.bin[part.begin : part.end] = np.searchsorted(occupied, keys(part))
        corner = np.stack([occupied // extent[1] % extent[0], occupied % extent[1]], 1)
        cell = occupied // (extent[0] * extent[1])
        tile = (corner // BLOCK) @ np.array([extent[1], 1])
        self.block = np.unique(tile if maze is None else cell, return_inverse=True)[1].astype(self.bin.dtype)  # [bins]

        # [bins, bins] all rows of the two are within epsilon; some may be. In units of a bin's width.
        pairs = cKDTree(corner).query_pairs(BINS_PER_EPSILON + 2, output_type="ndarray")
        apart = np.abs(corner[pairs[:, 0]] - corner[pairs[:, 1]])
        farthest, nearest = np.hypot(*(apart + 1).T), np.hypot(*np.maximum(apart - 1, 0).T)
        sure, near = farthest <= BINS_PER_EPSILON * (1 - SLACK), nearest <= BINS_PER_EPSILON * (1 + SLACK)
        same_side = self.adjacent[cell[pairs[:, 0]], cell[pairs[:, 1]]]
        self.sure, self.near = (_symmetric(pairs[kept & same_side], len(occupied)) for kept in (sure, near))
        self.walls_matter = bool((near & ~same_side).any())  # whether rows may be near each other across a wall

    def cell(self, xy: np.ndarray) -> np.ndarray:
        """The free cell [R] of points; one for all where walls are unknown."""
        return np.zeros(len(xy), np.int64) if self.maze is None else self.maze.nearest_cell(xy)

    def reversed(self) -> "Joins":
        """The same with time running backwards, for a search that begins at a goal."""
        result = copy.copy(self)
        result.positions, result.bin = self.positions.reversed(), self.bin[::-1]
        return result

    def near_to(self, rows: Iterable[np.ndarray]) -> np.ndarray:
        """Boolean [bins]: where rows may be joined to some of `rows`."""
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
        result = np.minimum(entry, self._earliest(sure))

        # Rows in bins at the rim of what is covered need distances, if entering there would be earlier.
        rim = (self.near @ occupied > 0) & ~sure
        rows = np.concatenate([self._rows_before(result, part, rim) for part in self.positions.parts])
        if len(rows):
            near = self.near_to([rows])
            ranges = self.ranges(entry + 1, covered_to + 1)
            there = [covered[near[self.bin[covered]]].astype(self.positions.row_type) for covered in ranges]
            rows = rows[self._within(rows, np.concatenate(there))]
            for part in self.positions.parts:
                here = slice(part.first, part.last)
                begin, end = np.searchsorted(rows, (part.begin, part.end))
                result[here] = np.minimum(result[here], self.positions.earliest(part, rows[begin:end]))
        return result

    def _earliest(self, bins: np.ndarray) -> np.ndarray:
        """Each episode's first row [episodes] in the bins that are marked, N where it has none."""
        return np.concatenate(
            [
                self.positions.earliest(part, part.begin + np.flatnonzero(bins[self.bin[part.begin : part.end]]))
                for part in self.positions.parts
            ]
        )

    def _rows_before(self, entry: np.ndarray, part: Part, bins: np.ndarray) -> np.ndarray:
        """A part's rows in marked bins that lie before their episode's entry."""
        rows = np.flatnonzero(bins[self.bin[part.begin : part.end]])
        before = part.begin + rows < entry[part.first : part.last][self.positions.number(part)[rows]]
        return (part.begin + rows[before]).astype(self.positions.row_type)

    def ranges(self, begin: np.ndarray, end: np.ndarray) -> Iterator[np.ndarray]:
        """The rows begin..end - 1 of every episode, a part at a time."""
        for part in self.positions.parts:
            first, counts = begin[part.first : part.last], (end - begin)[part.first : part.last]
            yield np.arange(counts.sum()) + np.repeat(first - (counts.cumsum() - counts), counts)

    def _within(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Boolean [rows]: whether any of the others is within epsilon, on the same side of walls.

        A block of bins at a time, beside all that lies near it: a block is of one cell, so walls are seen to.
        """
        within = np.zeros(len(rows), bool)
        block, others_bin = self.block[self.bin[rows]], self.bin[others]
        for number in np.unique(block):
            asked = np.flatnonzero(block == number)
            there = others[(self.near @ (self.block == number).astype(np.int32) > 0)[others_bin]]
            if len(there):
                others_xy = self.positions.xy(there)
                tree = cKDTree(others_xy, balanced_tree=False, compact_nodes=False)
                for begin in range(0, len(asked), ROWS):
                    some = asked[begin : begin + ROWS]
                    here = self.positions.xy(rows[some])
                    within[some] = ((here - others_xy[tree.query(here)[1]]) ** 2).sum(1) <= self.epsilon**2
        return within


def _symmetric(pairs: np.ndarray, size: int) -> csr_array:
    """A [size, size] matrix of ones at the pairs [P, 2], at their mirror images and on the diagonal."""
    itself = np.arange(size)
    i, j = np.concatenate([pairs, pairs[:, ::-1], np.stack([itself, itself], 1)]).T
    return csr_array((np.ones(len(i), np.int32), (i, j)), (size, size))


def segments_needed(
    positions: Positions, tasks: Sequence[Task], maze: Maze | None, epsilons: Sequence[float]
) -> list[list[int | None]]:
    """For each epsilon, for each task: the fewest episodes that lead from its start to its goal; None where none do.

    Tasks with one start region share one search.
    """
    result = []
    for epsilon in epsilons:
        joins = Joins(positions, maze, epsilon)
        needed = {}
        starts = dict.fromkeys(task.start for task in tasks)
        for start in tqdm(starts, desc=f"chains at {epsilon:.2f} m", unit=" starts", delay=5, leave=False):
            goals = dict.fromkeys(task.goal for task in tasks if task.start == start)
            last_in_goal = {goal: positions.visits(goal).last for goal in goals}
            for goal, segments in _search(joins, positions.visits(start).first, last_in_goal).items():
                needed[start, goal] = segments
        result.append([needed.get((task.start, task.goal)) for task in tasks])
        del joins  # before the next one is made: they are large
    return result


def _search(joins: Joins, first_in_start: np.ndarray, last_in_goal: dict[Region, np.ndarray]) -> dict[Region, int]:
    """Segments from one start to each goal that can be reached; arrays [episodes] hold each episode's row."""
    needed: dict[Region, int] = {}
    for level, entry in enumerate(levels(joins, first_in_start), start=1):
        for goal, row in last_in_goal.items():
            if goal not in needed and (row > entry).any():
                needed[goal] = level
        if len(needed) == len(last_in_goal):
            break
    return needed


def levels(joins: Joins, first_in_start: np.ndarray) -> Iterator[np.ndarray]:
    """For one segment, two, and so on while there are new rows: each episode's earliest entry [episodes].

    Covered are the rows after an episode's entry; an entry at its last row covers nothing.
    """
    entry, covered_to = np.minimum(first_in_start, joins.positions.last), joins.positions.last
    while (entry < covered_to).any():
        yield entry
        entry, covered_to = joins.enter(entry, covered_to), entry
