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

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from stitchrl.audit.cooccurrence import find_visits
from stitchrl.data.episodes import Episodes
from stitchrl.mazes import Maze
from stitchrl.types import Region, Task

BINS_PER_EPSILON = 4
SLACK = 1e-9  # relative; far above the rounding of a bin's borders, far below the distances in a dataset


class Joins:
    """Which rows lie within epsilon of each other on the same side of walls, ready to be asked level by level."""

    def __init__(self, xy: np.ndarray, episodes: Episodes, maze: Maze | None, epsilon: float):
        """xy: [N, 2] float64. maze: None where walls are unknown; then nothing is in the way."""
        self.xy, self.epsilon = xy, epsilon
        self.number = episodes.number.numpy()
        self.cell = np.zeros(len(xy), np.int64) if maze is None else maze.nearest_cell(xy)
        self.adjacent = np.ones((1, 1), bool) if maze is None else maze.adjacent

        # A bin is a small square of one cell: it never reaches over a cell's border, so a bin is joined as a whole.
        width = epsilon / BINS_PER_EPSILON
        square = np.floor(xy / width).astype(np.int64)
        square -= square.min(0)
        extent = square.max(0) + 1
        keys = (self.cell * extent[0] + square[:, 0]) * extent[1] + square[:, 1]
        keys, self.bin = np.unique(keys, return_inverse=True)  # self.bin [N]: each row's bin; empty bins have no number
        corner = np.stack([keys // extent[1] % extent[0], keys % extent[1]], 1)
        cell = keys // (extent[0] * extent[1])

        # [bins, bins] all rows of the two are within epsilon; some may be. In units of a bin's width.
        pairs = cKDTree(corner).query_pairs(BINS_PER_EPSILON + 2, output_type="ndarray")
        pairs = pairs[self.adjacent[cell[pairs[:, 0]], cell[pairs[:, 1]]]]
        apart = np.abs(corner[pairs[:, 0]] - corner[pairs[:, 1]])
        farthest, nearest = np.hypot(*(apart + 1).T), np.hypot(*np.maximum(apart - 1, 0).T)
        self.sure = _symmetric(pairs[farthest <= BINS_PER_EPSILON * (1 - SLACK)], len(keys))
        self.near = _symmetric(pairs[nearest <= BINS_PER_EPSILON * (1 + SLACK)], len(keys))

    def enter(self, covered: np.ndarray, entry: np.ndarray) -> np.ndarray:
        """Each episode's earliest entry [episodes] from the newly covered rows, or `entry` [episodes] where earlier."""
        entry = entry.copy()
        occupied = self._mark(covered)
        sure = self.sure @ occupied > 0
        rows = np.flatnonzero(sure[self.bin])
        np.minimum.at(entry, self.number[rows], rows)

        # Rows in bins at the rim of what is covered need distances, if entering there would be earlier.
        rows = np.flatnonzero(((self.near @ occupied > 0) & ~sure)[self.bin])
        rows = rows[rows < entry[self.number[rows]]]
        near = self.near @ self._mark(rows) > 0
        rows = rows[self._within(rows, covered[near[self.bin[covered]]])]
        np.minimum.at(entry, self.number[rows], rows)
        return entry

    def _mark(self, rows: np.ndarray) -> np.ndarray:
        """1 for bins [bins] that hold any of the rows, else 0."""
        marked = np.zeros(self.near.shape[0], np.int32)
        marked[self.bin[rows]] = 1
        return marked

    def _within(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Boolean [rows]: whether any of the others is within epsilon, on the same side of walls."""
        within = np.zeros(len(rows), bool)
        for cell in np.unique(self.cell[rows]):
            asked = np.flatnonzero(self.cell[rows] == cell)
            there = self.xy[others[self.adjacent[cell, self.cell[others]]]]
            if len(there):
                here, tree = self.xy[rows[asked]], cKDTree(there, balanced_tree=False, compact_nodes=False)
                nearest = there[tree.query(here)[1]]
                within[asked] = ((here - nearest) ** 2).sum(1) <= self.epsilon**2
        return within


def _symmetric(pairs: np.ndarray, size: int) -> csr_array:
    """A [size, size] matrix of ones at the pairs [P, 2], at their mirror images and on the diagonal."""
    itself = np.arange(size)
    i, j = np.concatenate([pairs, pairs[:, ::-1], np.stack([itself, itself], 1)]).T
    return csr_array((np.ones(len(i), np.int32), (i, j)), (size, size))


def segments_needed(
    xy: np.ndarray, episodes: Episodes, tasks: Sequence[Task], maze: Maze | None, epsilons: Sequence[float]
) -> list[list[int | None]]:
    """For each epsilon, for each task: the fewest episodes that lead from its start to its goal; None where none do.

    xy: [N, 2] float64, all rows' achieved goals. Tasks with one start region share one search.
    """
    regions = dict.fromkeys(region for task in tasks for region in (task.start, task.goal))
    visits = {region: find_visits(region.contains(xy), episodes) for region in regions}
    result = []
    for epsilon in epsilons:
        joins = Joins(xy, episodes, maze, epsilon)
        needed = {}
        for start in dict.fromkeys(task.start for task in tasks):
            goals = dict.fromkeys(task.goal for task in tasks if task.start == start)
            last_in_goal = {goal: visits[goal].last for goal in goals}
            for goal, segments in _search(joins, visits[start].first, episodes.last.numpy(), last_in_goal).items():
                needed[start, goal] = segments
        result.append([needed.get((task.start, task.goal)) for task in tasks])
    return result


def _search(
    joins: Joins, first_in_start: np.ndarray, last: np.ndarray, last_in_goal: dict[Region, np.ndarray]
) -> dict[Region, int]:
    """Segments from one start to each goal that can be reached; arrays [episodes] hold each episode's row."""
    # Covered are the rows after an episode's entry; an entry at its last row covers nothing.
    entry, covered_to = np.minimum(first_in_start, last), last
    needed: dict[Region, int] = {}
    level = 0
    while (entry < covered_to).any():
        level += 1
        for goal, row in last_in_goal.items():
            if goal not in needed and (row > entry).any():
                needed[goal] = level
        if len(needed) == len(last_in_goal):
            break
        newly_covered = _ranges(entry + 1, covered_to + 1)
        entry, covered_to = joins.enter(newly_covered, entry), entry
    return needed


def _ranges(begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The integers of all ranges begin..end - 1 [R], one range after another."""
    counts = end - begin
    return np.arange(counts.sum()) + np.repeat(begin - (counts.cumsum() - counts), counts)
