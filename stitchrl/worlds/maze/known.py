"""Tasks of datasets that others publish and evaluate in one way: OGBench's mazes, D4RL's as files and in Minari.

All of them are the same maps as ours, seen from elsewhere. This is where x and y grow, and where a cell lies:

    OGBench, D4RL antmaze    x with the column, y with the row; cell (1, 1) at 0, 0; 4 metres in a cell
    D4RL maze2d              x with the row, y with the column; cell (r, c) at r - 0.2, c - 0.2, though the body is put
                             at r, c and the goal, too; 1 metre in a cell
    Minari (D4RL/...)        gymnasium-robotics', as ours

Tasks are expected to be unseen, so that the audit says plainly which ones are seen. OGBench has five tasks to a maze.
D4RL's ant starts in one corner. Its goal is in another corner, beside the middle of the cell. D4RL's point starts
anywhere and has a fixed goal. Its tasks start in the cells that are farther from the goal than all their neighbours:
every other start lies on a shortest way from one of these. Minari evaluates as D4RL does, except in the ant's U-maze.
There evaluation has another map than the data, so the task on which the data were collected is audited.

D4RL draws starts from a square of 0.2 metres, which most episodes miss by a little. So whatever is within the success
radius of that square counts as a start.
"""

import re
from typing import NamedTuple

import numpy as np

from stitchrl.types import Region, Task
from stitchrl.worlds.maze.maps import Cell, Maze

OGBENCH = {
    "medium": (((1, 1), (6, 6)), ((6, 1), (1, 6)), ((5, 3), (4, 2)), ((6, 5), (6, 1)), ((2, 6), (1, 1))),
    "large": (((1, 1), (7, 10)), ((5, 4), (7, 1)), ((7, 4), (1, 10)), ((3, 8), (5, 4)), ((1, 1), (5, 4))),
    "giant": (((1, 1), (10, 14)), ((1, 14), (10, 1)), ((8, 14), (1, 1)), ((8, 3), (5, 12)), ((5, 9), (3, 8))),
}
OGBENCH_SUCCESS = {"pointmaze": 1.0, "antmaze": 0.5}  # metres
ANT_GOALS: dict[str, Cell] = {"umaze": (3, 1), "medium": (6, 6), "large": (7, 9)}  # from (1, 1)
POINT_GOALS: dict[str, Cell] = {"umaze": (1, 1), "medium": (6, 6), "large": (7, 9)}
FILES = {"u-maze": "umaze", "big-maze": "medium", "hardest-maze": "large"}  # what D4RL calls mazes in files' names


class View(NamedTuple):
    """How others' coordinates show a maze."""

    corner: float  # where the middle of cell (0, 0) lies, in metres, in x and y alike
    swapped: bool = False  # whether x grows with the row and y with the column, not the other way round


class Known(NamedTuple):
    """What is evaluated on a published dataset."""

    maze: Maze
    tasks: list[Task]  # in the coordinates of the maze
    view: View | None  # how the dataset's own coordinates show the maze; None: as ours

    def of(self, observations: np.ndarray) -> np.ndarray:
        """Positions [R, 2] in observations [R, obs_dim], in the dataset's coordinates."""
        return observations[:, :2]

    def turn(self, points: np.ndarray) -> np.ndarray:
        """Positions [N, 2] in the dataset's coordinates to those of the maze, in place."""
        if self.view:
            if self.view.swapped:
                points[:] = points[:, ::-1]
            points *= np.array([1, -1], points.dtype)
            shift = self.maze.to_xy((0, 0)) - self.view.corner * np.array([1, -1])
            points += shift.astype(points.dtype)
        return points

    def inside(self, points: np.ndarray) -> float:
        """The share of positions [N, 2] that lie in free cells."""
        return float(self.maze.inside(points).mean())


def find_tasks(name: str) -> Known | None:
    """The tasks of a dataset by the name that its publisher gave it; None for any other name."""
    if found := re.fullmatch(r"(pointmaze|antmaze)-(medium|large|giant)-(navigate|stitch|explore)-v\d+", name):
        maze, radius = Maze(found[2], 4.0), OGBENCH_SUCCESS[found[1]]
        pairs = enumerate(OGBENCH[found[2]], start=1)
        return Known(maze, [_task(f"task{i}", maze, cells, (1.0,), (1.0, radius)) for i, cells in pairs], View(-4.0))

    kind = r"(umaze(?!-play)|(?:medium|large)(?!-v))(?:-play|-diverse)?-v\d+"
    flags = r"_noisy_multistart_(?:True|False)_multigoal_(?:True|False)_sparse(?:_fixed)?"
    if found := re.fullmatch(rf"antmaze-{kind}", name) or re.fullmatch(rf"Ant_maze_([a-z-]+){flags}", name):
        size = FILES.get(found[1], found[1])
        if size not in ANT_GOALS:
            return None
        maze, cells = Maze(size, 4.0), ((1, 1), ANT_GOALS[size])
        return Known(maze, [_task("start-to-goal", maze, cells, (0.1, 0.5), (0.75, 0.5, 0.75))], View(-4.0))
    if found := re.fullmatch(rf"D4RL/antmaze/{kind}", name):
        maze = Maze(found[1], 4.0)
        cells = ((3, 1), (1, 1)) if found[1] == "umaze" else ((1, 1), ANT_GOALS[found[1]])
        return Known(maze, [_task("start-to-goal", maze, cells, (1.0,), (1.0, 0.45))], None)

    if found := re.fullmatch(r"maze2d-(umaze|medium|large)(?:-sparse|-dense)?(?:-v\d+)?", name):
        maze = Maze(found[1], 1.0)
        return Known(maze, _point_tasks(maze, (0.1, 0.5, 0.2), (0.0, 0.5, 0.2)), View(-0.2, swapped=True))
    if found := re.fullmatch(r"D4RL/pointmaze/(umaze|medium|large)(?:-dense)?-v\d+", name):
        maze = Maze(found[1], 1.0)
        return Known(maze, _point_tasks(maze, (0.25,), (0.25, 0.45)), None)
    return None


def _region(maze: Maze, cell: Cell, half: float, radius: float = 0.0, offset: float = 0.0) -> Region:
    """About the middle of a cell, or `offset` metres farther along its row and its column."""
    x, y = maze.to_xy(cell)
    return Region((float(x + offset), float(y - offset)), half, radius)


def _task(name: str, maze: Maze, cells: tuple[Cell, Cell], *sizes: tuple[float, ...]) -> Task:
    """From one cell to another. sizes: of the start and of the goal, the numbers that `_region` takes."""
    start, goal = (_region(maze, cell, *size) for cell, size in zip(cells, sizes, strict=True))
    return Task(name, start, goal, "unseen", maze.path_length(*cells))


def _point_tasks(maze: Maze, *sizes: tuple[float, ...]) -> list[Task]:
    """Tasks from the cells none of whose neighbours is farther from the goal."""
    goal, tasks = POINT_GOALS[maze.name], []
    length = {cell: maze.path_length(cell, goal) for cell in maze.cells}
    for row, column in maze.cells:
        neighbours = ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1))
        if all(length.get(neighbour, 0.0) < length[row, column] for neighbour in neighbours):
            tasks.append(_task(f"r{row}c{column}-to-goal", maze, ((row, column), goal), *sizes))
    return tasks
