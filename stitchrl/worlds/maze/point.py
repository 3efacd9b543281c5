"""The point mass: gymnasium-robotics' `PointMaze_*-v3` physics, with a PD controller as behaviour."""

from typing import ClassVar

import gymnasium
import mujoco
import mujoco.rollout
import numpy as np

from stitchrl.worlds.maze.maps import Maze
from stitchrl.worlds.maze.robotics import PointMazeEnv
from stitchrl.worlds.maze.waypoints import ActionNoise, Waypoints
from stitchrl.worlds.maze.world import MazeWorld
from stitchrl.worlds.rollout import Request


class PointMaze(MazeWorld):
    """A point mass. It is observed by position and velocity (m, m/s), and acts by a force."""

    name = "pointmaze"
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    control_step = 0.01
    speed = 3.0
    envs = 256
    body: ClassVar = {
        "Body": "point mass, physics of Gymnasium-Robotics' `PointMaze-v3`",
        "Observation": "4 numbers: x, y (m), vx, vy (m/s)",
        "Action": "2 forces in [-1, 1], 0.01 s per step",
    }

    def __init__(self, maze: str):
        super().__init__(maze, scale=1.0)

    def simulate(self, envs: int) -> "PointSimulation":
        return PointSimulation(self.environment().model, envs)

    def behaviour(self, envs: int) -> "PointBehaviour":
        return PointBehaviour(envs, self.maze)

    def goal_observation(self, goal: np.ndarray) -> np.ndarray:
        """The body at rest."""
        return np.array([*goal, 0, 0], np.float32)

    def environment(self) -> PointMazeEnv:
        return self.make_environment(PointMazeEnv)


class PointSimulation:
    """Environments of points, stepped by one call of `mujoco.rollout`. A step equals `env.step` (a test holds it)."""

    def __init__(self, model: mujoco.MjModel, envs: int):
        self._models = [model] * envs
        self._data = [mujoco.MjData(model)]
        self._rollout = mujoco.rollout.Rollout(nthread=0)
        self._state = np.zeros((envs, 5))  # time, position, velocity
        self._after = np.zeros((envs, 1, 5))
        self.observations = np.zeros((envs, 4), np.float32)

    @property
    def achieved(self) -> np.ndarray:
        return self.observations[:, :2]

    def reset(self, env: int, start: np.ndarray) -> None:
        self._state[env] = [0, *start, 0, 0]
        self.observations[env] = self._state[env, 1:]

    def step(self, actions: np.ndarray, active: np.ndarray) -> None:
        """Environments that are not active are stepped too: skipping them would cost more than a point's physics."""
        self._state[:, 3:] = self._state[:, 3:].clip(-5, 5)  # the environment bounds the velocity before each step
        control = actions.astype(np.float64).clip(-1, 1)[:, None]
        self._rollout.rollout(self._models, self._data, self._state, control, nstep=1, state=self._after)
        self._state[:] = self._after[:, 0]
        self.observations[:] = self._state[:, 1:]


class PointBehaviour:
    """PD control towards waypoints, Gaussian noise on the action (Ghugare et al., 2024: gains 10 and -1, noise 0.5).

    Sums and products of single numbers in float64 are the same on every processor. So the data are the same everywhere
    without a grid of actions, unlike the ant's.
    """

    def __init__(self, envs: int, maze: Maze):
        self._waypoints = Waypoints(envs, maze, radius=0.1, jitter=0.2)
        self._noise = ActionNoise(envs, dim=2, std=0.5)

    def begin(self, env: int, request: Request) -> None:
        self._waypoints.begin(env, request.start, request.goal, request.rng)
        self._noise.draw(env, request.limit, request.rng)

    def act(self, observations: np.ndarray, steps: np.ndarray) -> np.ndarray:
        position, velocity = np.split(observations.astype(np.float64), 2, axis=1)
        action = 10.0 * (self._waypoints.targets(position) - position) - 1.0 * velocity + self._noise.at(steps)
        return action.clip(-1, 1).astype(np.float32)
