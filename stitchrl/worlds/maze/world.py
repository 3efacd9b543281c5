"""What both bodies' worlds share: a maze, in which a body's position is what it achieves."""

import os
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from stitchrl.types import Place, Region
from stitchrl.worlds.maze.maps import Maze
from stitchrl.worlds.world import GoalSpace

SUCCESS_RADIUS = 0.45  # metres, both bodies (Ghugare et al., 2024; gymnasium-robotics)
POSITION = (0, 1)  # the columns of an observation that hold x and y


def positions(observations: np.ndarray) -> np.ndarray:
    """Positions [..., 2] of observations [..., obs_dim]."""
    return observations[..., list(POSITION)]


class MazeWorld:
    """A world of a maze. A place is a free cell, `[row, column]`."""

    goal_space = GoalSpace(dim=2, of=positions, radius=SUCCESS_RADIUS, columns=POSITION, unit="m")
    body: ClassVar[Mapping[str, str]]  # what a card says of it

    def __init__(self, maze: str, scale: float):
        """scale: Metres in a cell."""
        self.maze, self.spacing = Maze(maze, scale), scale
        self.walls, self.places = self.maze, self.maze.cells

    def make_environment(self, kind: type, **options: Any) -> Any:
        """The Gymnasium environment that a body's physics is taken from."""
        env = kind(maze_map=(~self.maze.free).astype(int).tolist(), continuing_task=False, **options)
        os.remove(env.tmp_xml_file_path)  # each construction leaves a file in the temporary folder
        return env

    def label(self, place: Place) -> str:
        return f"r{place[0]}c{place[1]}"

    def region(self, place: Place) -> Region:
        """The middle half of a cell."""
        x, y = self.maze.to_xy(place)
        return Region((float(x), float(y)), half=0.25 * self.spacing)

    def path_length(self, start: Place, goal: Place) -> float:
        return self.maze.path_length(start, goal)

    def distance(self, points: np.ndarray, goals: np.ndarray) -> np.ndarray:
        return self.maze.distance(points, goals)

    def inside(self, points: np.ndarray) -> np.ndarray:
        return self.maze.inside(points)

    @property
    def facts(self) -> Mapping[str, str]:
        rows, columns = self.maze.free.shape
        size = f"{rows} x {columns} cells of {self.spacing:g} m, walls included, centred on (0, 0)"
        names = "r1c2 is the cell of row 1 and column 2, counted from 0 at the top left"
        body = dict(self.body)
        return {"Body": body.pop("Body"), "Maze": f"`{self.maze.name}`: {size}; {names}"} | body

    @property
    def drawing(self) -> dict[str, Any]:
        return self.maze.drawing
