"""What both bodies' behaviours share: walking the cells of a shortest path, with noise on every action.

Whatever is random in an episode is drawn when it begins, from its own generator. So it does not depend on what runs
beside it.
"""

import numpy as np

from stitchrl.worlds.maze.maps import Maze


class Waypoints:
    """For each env, points to walk through one after the other; the last one is the goal itself.

    radius: metres at which a waypoint counts as reached. jitter: half width in metres of the uniform noise on each.
    """

    def __init__(self, envs: int, maze: Maze, radius: float, jitter: float):
        self.maze, self.radius, self.jitter = maze, radius, jitter
        self._points = np.zeros((envs, len(maze.cells), 2))
        self._next, self._last = np.zeros((2, envs), np.int64)

    def begin(self, env: int, start: np.ndarray, goal: np.ndarray, rng: np.random.Generator) -> None:
        """Lay the way from `start` [2] to `goal` [2]."""
        here, there = (self.maze.cells[self.maze.nearest_cell(xy[None])[0]] for xy in (start, goal))
        between = self.maze.path(here, there)[1:-1]
        jitter = rng.uniform(-self.jitter, self.jitter, (len(between), 2))
        for i, cell in enumerate(between):
            self._points[env, i] = self.maze.to_xy(cell) + jitter[i]
        self._points[env, len(between)] = goal
        self._next[env], self._last[env] = 0, len(between)

    def targets(self, xy: np.ndarray) -> np.ndarray:
        """The waypoint [envs, 2] that each env walks to from its position [envs, 2]."""
        envs = np.arange(len(xy))
        offset = self._points[envs, self._next] - xy
        reached = np.hypot(offset[:, 0], offset[:, 1]) < self.radius
        self._next = np.minimum(self._next + reached, self._last)
        return self._points[envs, self._next]


class ActionNoise:
    """Gaussian noise of standard deviation `std` for each env's episode."""

    def __init__(self, envs: int, dim: int, std: float):
        self._std = std
        self._values = np.zeros((envs, 1, dim), np.float32)

    def draw(self, env: int, steps: int, rng: np.random.Generator) -> None:
        """Noise for an episode of at most `steps` steps."""
        envs, room, dim = self._values.shape
        if steps > room:
            self._values = np.concatenate([self._values, np.zeros((envs, steps - room, dim), np.float32)], 1)
        self._values[env, :steps] = self._std * rng.standard_normal((steps, dim))

    def at(self, steps: np.ndarray) -> np.ndarray:
        """Noise [envs, dim] at the step numbers [envs] of the envs' episodes."""
        return self._values[np.arange(len(steps)), steps]
