"""Tasks of datasets that others publish and evaluate in one way: OGBench's mazes (Park et al., 2025).

Theirs are the same maps as ours, seen from another corner: x grows from the second column on, y with the row.
"""

import re
from typing import NamedTuple

import numpy as np

from stitchrl.audit.positions import Positions
from stitchrl.mazes import Cell, Maze
from stitchrl.types import Region, Task

SCALE = 4.0  # metres in a cell
NOISE = 1.0  # metres, either way, by which starts and goals are drawn about the middle of their cell
SUCCESS = {"pointmaze": 1.0, "antmaze": 0.5}  # metres
PAIRS: dict[str, tuple[tuple[Cell, Cell], ...]] = {
    "medium": (((1, 1), (6, 6)), ((6, 1), (1, 6)), ((5, 3), (4, 2)), ((6, 5), (6, 1)), ((2, 6), (1, 1))),
    "large": (((1, 1), (7, 10)), ((5, 4), (7, 1)), ((7, 4), (1, 10)), ((3, 8), (5, 4)), ((1, 1), (5, 4))),
    "giant": (((1, 1), (10, 14)), ((1, 14), (10, 1)), ((8, 14), (1, 1)), ((8, 3), (5, 12)), ((5, 9), (3, 8))),
}


class Known(NamedTuple):
    maze: Maze
    tasks: list[Task]

    def turn(self, positions: Positions) -> None:
        """From OGBench's coordinates, in place, to those of the maze and the tasks."""
        rows, columns = self.maze.free.shape
        shift = np.array([1.5 - columns / 2, rows / 2 - 1.5]) * SCALE
        positions.stored[:] = positions.stored * np.array([1, -1], np.float32) + shift.astype(np.float32)


def find_tasks(name: str) -> Known | None:
    """The five tasks of a dataset by the name that OGBench gave it, expected to be unseen; None for any other name."""
    found = re.fullmatch(r"(pointmaze|antmaze)-(medium|large|giant)-(navigate|stitch|explore)-v\d+", name)
    if not found:
        return None
    maze, radius = Maze(found[2], SCALE), SUCCESS[found[1]]

    def region(cell: Cell, radius: float) -> Region:
        x, y = maze.to_xy(cell)
        return Region((float(x), float(y)), NOISE, radius)

    tasks = [
        Task(f"task{i}", region(start, 0.0), region(goal, radius), "unseen", maze.path_length(start, goal))
        for i, (start, goal) in enumerate(PAIRS[found[2]], start=1)
    ]
    return Known(maze, tasks)
