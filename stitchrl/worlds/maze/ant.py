"""The ant: gymnasium-robotics' `AntMaze_*-v5` physics without contact forces, and a controller trained here.

The observation is 29-d as in D4RL: x, y, then the 27 numbers of `AntMaze_*-v5`; together the whole state.
"""

from pathlib import Path
from typing import ClassVar

import gymnasium
import mujoco
import numpy as np
import torch
from safetensors.torch import load_file

from stitchrl.worlds.maze.ant_controller import Actor, features, motors
from stitchrl.worlds.maze.maps import Maze
from stitchrl.worlds.maze.robotics import AntMazeEnv
from stitchrl.worlds.maze.waypoints import ActionNoise, Waypoints
from stitchrl.worlds.maze.world import MazeWorld
from stitchrl.worlds.rollout import Request

WEIGHTS = Path(__file__).parent / "ant_controller.safetensors"
PHYSICS_STEPS = 5  # of 0.01 s in a control step
ACTION_GRID = 1024  # steps in one unit of action: far coarser than rounding errors, far finer than the noise


class AntMaze(MazeWorld):
    """An ant with eight joints."""

    name = "antmaze"
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (29,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (8,), np.float32)
    control_step = 0.05
    speed = 1.4
    envs = 32
    body: ClassVar = {
        "Body": "ant, physics of Gymnasium-Robotics' `AntMaze-v5`",
        "Observation": "29 numbers: x, y (m), then the 27 of `AntMaze-v5` without contact forces",
        "Action": "8 torques in [-1, 1], 0.05 s per step",
    }

    def __init__(self, maze: str):
        super().__init__(maze, scale=4.0)

    def simulate(self, envs: int) -> "AntSimulation":
        return AntSimulation(self.environment().model, envs)

    def behaviour(self, envs: int) -> "AntBehaviour":
        return AntBehaviour(envs, self.maze)

    def goal_observation(self, goal: np.ndarray) -> np.ndarray:
        """The body at rest."""
        pose = [0.75, 1, *np.zeros(11)]  # the height, orientation and joints that AntMaze resets to
        return np.array([*goal, *pose, *np.zeros(14)], np.float32)

    def environment(self) -> AntMazeEnv:
        return self.make_environment(AntMazeEnv, include_cfrc_ext_in_observation=False)


class AntSimulation:
    """Environments of ants, each with its own MuJoCo state. A step equals `env.step` to the bit (a test holds it)."""

    def __init__(self, model: mujoco.MjModel, envs: int):
        self._model = model
        self._data = [mujoco.MjData(model) for _ in range(envs)]
        self.observations = np.zeros((envs, *AntMaze.observation_space.shape), np.float32)

    @property
    def achieved(self) -> np.ndarray:
        return self.observations[:, :2]

    def reset(self, env: int, start: np.ndarray) -> None:
        data = self._data[env]
        mujoco.mj_resetData(self._model, data)
        data.qpos[:2] = start
        mujoco.mj_forward(self._model, data)
        self._observe(env)

    def step(self, actions: np.ndarray, active: np.ndarray) -> None:
        for env in np.flatnonzero(active).tolist():
            data = self._data[env]
            data.ctrl[:] = actions[env]
            mujoco.mj_step(self._model, data, PHYSICS_STEPS)
            self._observe(env)

    def _observe(self, env: int) -> None:
        self.observations[env, :15] = self._data[env].qpos
        self.observations[env, 15:] = self._data[env].qvel


class AntBehaviour:
    """The trained controller sent along waypoints: its mean action with Gaussian noise of 0.2 on top.

    Matrix products differ in their last digits from processor to processor. So the mean action is computed in float64
    and rounded to a multiple of 1 / ACTION_GRID. The data are then the same, whatever the processor and number of envs.
    """

    def __init__(self, envs: int, maze: Maze, radius: float = 1.0, jitter: float = 0.5):
        self._waypoints = Waypoints(envs, maze, radius, jitter)
        self._noise = ActionNoise(envs, dim=8, std=0.2)
        self._actor = Actor()
        self._actor.load_state_dict(load_file(WEIGHTS))
        self._actor.double()

    def begin(self, env: int, request: Request) -> None:
        self._waypoints.begin(env, request.start, request.goal, request.rng)
        self._noise.draw(env, request.limit, request.rng)

    @torch.no_grad()
    def act(self, observations: np.ndarray, steps: np.ndarray) -> np.ndarray:
        targets = torch.from_numpy(self._waypoints.targets(observations[:, :2]))
        x, quarters = features(torch.from_numpy(observations).double(), targets)
        mean = motors(self._actor(x)[0].tanh(), quarters).numpy()
        action = np.round(mean * ACTION_GRID) / ACTION_GRID + self._noise.at(steps)
        return action.clip(-1, 1).astype(np.float32)
