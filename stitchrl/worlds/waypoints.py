"""What both bodies' behaviours share: walking the cells of a shortest path, with noise on every action.

Whatever is random in an episode is drawn when the episode is planned, from the episode's own generator, so that it does
not depend on what runs beside it.
"""

import numpy as np

from stitchrl.mazes import Maze


class Waypoints:
    """For each lane, points to walk through one after the other; the last one is the goal itself.

    radius: metres at which a waypoint counts as reached. jitter: half width in metres of the uniform noise on each.
    """

    def __init__(self, lanes: int, maze: Maze, radius: float, jitter: float):
        self.maze, self.radius, self.jitter = maze, radius, jitter
        self._points = np.zeros((lanes, len(maze.cells), 2))
        self._next = np.zeros(lanes, np.int64)
        self._last = np.zeros(lanes, np.int64)

    def plan(self, lane: int, start: np.ndarray, goal: np.ndarray, rng: np.random.Generator) -> None:
        """Lay the way from `start` [2] to `goal` [2]."""
        here, there = (self.maze.cells[self.maze.nearest_cell(xy[None])[0]] for xy in (start, goal))
        between = self.maze.path(here, there)[1:-1]
        jitter = rng.uniform(-self.jitter, self.jitter, (len(between), 2))
        for i, cell in enumerate(between):
            self._points[lane, i] = self.maze.to_xy(cell) + jitter[i]
        self._points[lane, len(between)] = goal
        self._next[lane], self._last[lane] = 0, len(between)

    def targets(self, xy: np.ndarray) -> np.ndarray:
        """The waypoint [lanes, 2] that each lane walks to from its position [lanes, 2]."""
        lanes = np.arange(len(xy))
        offset = self._points[lanes, self._next] - xy
        reached = np.hypot(offset[:, 0], offset[:, 1]) < self.radius
        self._next = np.minimum(self._next + reached, self._last)
        return self._points[lanes, self._next]


class ActionNoise:
    """Gaussian noise of standard deviation `std` for each lane's episode."""

    def __init__(self, lanes: int, dim: int, std: float):
        self._std = std
        self._values = np.zeros((lanes, 1, dim), np.float32)

    def draw(self, lane: int, steps: int, rng: np.random.Generator) -> None:
        """Noise for an episode of at most `steps` steps."""
        lanes, room, dim = self._values.shape
        if steps > room:
            self._values = np.concatenate([self._values, np.zeros((lanes, steps - room, dim), np.float32)], 1)
        self._values[lane, :steps] = self._std * rng.standard_normal((steps, dim))

    def at(self, steps: np.ndarray) -> np.ndarray:
        """Noise [lanes, dim] at the step numbers [lanes] of the lanes' episodes."""
        return self._values[np.arange(len(steps)), steps]
