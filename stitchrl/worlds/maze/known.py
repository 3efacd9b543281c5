"""Tasks of datasets that others publish and evaluate in one way: OGBench's mazes, D4RL's as files and in Minari.

All of them are the same maps as ours, seen from elsewhere. This is where x and y grow, and where a cell lies:

    OGBench, D4RL antmaze    x with the column, y with the row; cell (1, 1) at 0, 0; 4 metres in a cell
    D4RL maze2d              x with the row, y with the column; cell (r, c) at r - 0.2, c - 0.2, though the body is put
                             at r, c and the goal, too; 1 metre in a cell
    Minari (D4RL/...)        gymnasium-robotics', as ours

Tasks are expected to be unseen, so that the audit says plainly which ones are seen. OGBench has five to a maze. D4RL's
ant starts in one corner and has its goal in another one, drawn beside the middle of its cell. The point's goal is fixed
and it starts anywhere: its tasks start in the cells from which it is farther to the goal than from any neighbour. Every
other start lies on a shortest way from one of these. Minari evaluates as D4RL does, except in the ant's U-maze. There
evaluation has another map than the data, so the task on which these were collected is audited.

D4RL draws starts from a square of 0.2 metres, which most episodes miss by a little. So all that is within the radius of
success of it counts as a start.
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
    """How others' coordinates show a maze.

    Attributes:
        corner: Where the middle of cell (0, 0) lies in them, in metres, in x and y alike.
        swapped: Whether x grows with the row and y with the column, and not the other way round.
    """

    corner: float
    swapped: bool = False


class Known(NamedTuple):
    """What is evaluated on a published dataset.

    Attributes:
        maze: The map, as ours.
        tasks: In the coordinates of the maze.
        view: How the dataset's own coordinates show it. None: as ours.
    """

    maze: Maze
    tasks: list[Task]
    view: View | None

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
        pairs = [(_region(maze, a, 1.0), _region(maze, b, 1.0, radius)) for a, b in OGBENCH[found[2]]]
        lengths = [maze.path_length(a, b) for a, b in OGBENCH[found[2]]]
        tasks = [
            Task(f"task{i}", start, goal, "unseen", length)
            for i, ((start, goal), length) in enumerate(zip(pairs, lengths, strict=True), start=1)
        ]
        return Known(maze, tasks, View(-4.0))

    kind = r"(umaze(?!-play)|(?:medium|large)(?!-v))(?:-play|-diverse)?-v\d+"
    flags = r"_noisy_multistart_(?:True|False)_multigoal_(?:True|False)_sparse(?:_fixed)?"
    if found := re.fullmatch(rf"antmaze-{kind}", name) or re.fullmatch(rf"Ant_maze_([a-z-]+){flags}", name):
        size = FILES.get(found[1], found[1])
        if size not in ANT_GOALS:
            return None
        maze, cells = Maze(size, 4.0), ((1, 1), ANT_GOALS[size])
        start = _region(maze, cells[0], 0.1, 0.5)
        goal = _region(maze, cells[1], 0.75, 0.5, offset=0.75)
        return Known(maze, [Task("start-to-goal", start, goal, "unseen", maze.path_length(*cells))], View(-4.0))
    if found := re.fullmatch(rf"D4RL/antmaze/{kind}", name):
        maze = Maze(found[1], 4.0)
        cells = ((3, 1), (1, 1)) if found[1] == "umaze" else ((1, 1), ANT_GOALS[found[1]])
        start, goal = _region(maze, cells[0], 1.0), _region(maze, cells[1], 1.0, 0.45)
        return Known(maze, [Task("start-to-goal", start, goal, "unseen", maze.path_length(*cells))], None)

    if found := re.fullmatch(r"maze2d-(umaze|medium|large)(?:-sparse|-dense)?(?:-v\d+)?", name):
        maze, to = Maze(found[1], 1.0), POINT_GOALS[found[1]]
        goal = _region(maze, to, 0.0, 0.5, offset=0.2)
        starts = {cell: _region(maze, cell, 0.1, 0.5, offset=0.2) for cell in _farthest(maze, to)}
        return Known(maze, _from_all(maze, starts, to, goal), View(-0.2, swapped=True))
    if found := re.fullmatch(r"D4RL/pointmaze/(umaze|medium|large)(?:-dense)?-v\d+", name):
        maze, to = Maze(found[1], 1.0), POINT_GOALS[found[1]]
        starts = {cell: _region(maze, cell, 0.25) for cell in _farthest(maze, to)}
        return Known(maze, _from_all(maze, starts, to, _region(maze, to, 0.25, 0.45)), None)
    return None


def _region(maze: Maze, cell: Cell, half: float, radius: float = 0.0, offset: float = 0.0) -> Region:
    """About the middle of a cell, or `offset` metres farther along its row and its column."""
    x, y = maze.to_xy(cell)
    return Region((float(x + offset), float(y - offset)), half, radius)


def _farthest(maze: Maze, goal: Cell) -> list[Cell]:
    """Cells none of whose neighbours is farther from the goal."""
    length = {cell: maze.path_length(cell, goal) for cell in maze.cells}
    return [
        (row, column)
        for row, column in maze.cells
        if all(
            length.get(neighbour, 0.0) < length[row, column]
            for neighbour in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1))
        )
    ]


def _from_all(maze: Maze, starts: dict[Cell, Region], to: Cell, goal: Region) -> list[Task]:
    return [
        Task(f"r{cell[0]}c{cell[1]}-to-goal", start, goal, "unseen", maze.path_length(cell, to))
        for cell, start in starts.items()
    ]
