"""Evaluation: a policy is sent from each task's start to a goal, or for a return; one row per episode comes back."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from stitchrl.finite import NotFinite
from stitchrl.types import RETURN_DIM, Policy, ReturnTask, RewardRegion, Task, Window, collected, reward_at
from stitchrl.worlds import SUCCESS_RADIUS, World
from stitchrl.worlds.rollout import Request, Trajectory, VectorRollout, run

MAX_ENVS = 64  # of each worker
ENVS_PER_BLOCK = 8  # matrix products treat the rows of an unfilled block differently, in the last bit
CALIBRATION = np.linspace(0, 1.25, 8)  # of the highest target from a start
CALIBRATION_EPISODES = 20


class Rewards(NamedTuple):
    """What earns a return, and the units in which what is left of it is shown (`stitchrl.types`)."""

    regions: Sequence[RewardRegion]
    scale: float
    horizon: int


class PolicyController:
    """A learned policy in the envs of a simulation: keeps what each env is asked for, acts for all envs in one call.

    window: how many of the last states, actions and conditions a sequence model is shown, None for the newest alone.
    rewards: None where goals are asked for.
    """

    def __init__(
        self, policy: Policy, world: World, envs: int, window: int | None = None, rewards: Rewards | None = None
    ):
        self.policy, self.world, self.window, self.rewards = policy, world, window, rewards
        condition_dim = world.observation_dim if rewards is None else RETURN_DIM
        self.left = np.zeros(envs)  # of each env's target return
        self.conditions = torch.zeros(envs, condition_dim)
        self.observations = torch.zeros(envs, window or 0, world.observation_dim)
        self.actions = torch.zeros(envs, window or 0, world.action_dim)
        self.asked = torch.zeros(envs, window or 0, condition_dim)  # the conditions as they were at the kept steps
        self.requests: list[Request | None] = [None] * envs  # the newest of each; None for a env that is not in use

    def begin(self, env: int, request: Request) -> None:
        if self.rewards is None:
            self.conditions[env] = torch.from_numpy(self.world.goal_observation(request.goal))
        self.left[env] = request.target
        self.requests[env] = request

    def act(self, observations: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Actions [envs, act_dim]. Raises NotFinite before physics is given one that is not finite."""
        actions = self._act(observations, steps)
        for env in np.flatnonzero(~np.isfinite(actions).all(1)):
            if (request := self.requests[env]) is not None:  # or else it acts upon nothing
                raise NotFinite(f"an action is not finite, at step {steps[env]} of evaluated episode {request.number}")
        return actions

    @torch.no_grad()
    def _act(self, observations: np.ndarray, steps: np.ndarray) -> np.ndarray:
        if self.rewards is not None:
            self._collect(self.rewards, observations, steps)
        if self.window is None:
            return self.policy(torch.from_numpy(observations), self.conditions).numpy()
        full = torch.from_numpy(steps >= self.window)  # the oldest step makes room for the newest
        for kept in (self.observations, self.actions, self.asked):
            kept[full] = kept[full].roll(-1, 1)
        newest = torch.from_numpy(np.minimum(steps, self.window - 1))
        everyone = torch.arange(len(newest))
        self.observations[everyone, newest] = torch.from_numpy(observations)
        self.actions[everyone, newest] = 0
        self.asked[everyone, newest] = self.conditions
        valid = torch.arange(self.window) <= newest[:, None]
        action = self.policy(Window(self.observations, self.actions, valid, self.asked), self.conditions)
        self.actions[everyone, newest] = action
        return action.numpy()

    def _collect(self, rewards: Rewards, observations: np.ndarray, steps: np.ndarray) -> None:
        """Take from each env's target what its last step has earned; no less than nothing is left."""
        self.left -= np.where(steps > 0, reward_at(rewards.regions, observations[:, :2]), 0)
        self.conditions[:, 0] = torch.from_numpy(self.left.clip(min=0) / rewards.scale)
        self.conditions[:, 1] = torch.from_numpy(1 - steps / rewards.horizon)


class Evaluator:
    """Evaluates on the same starts and goals each time: they are drawn once, from the evaluation's own seed.

    Models are built once. The policy acts for batches of one width, whatever the number of workers. rewards: of return
    tasks, whose episodes run to the horizon; None for goals.
    """

    def __init__(
        self,
        world: World,
        tasks: Sequence[Task] | Sequence[ReturnTask],
        episodes: int,
        seed: int,
        workers: int,
        window: int | None = None,
        rewards: Rewards | None = None,
    ):
        self.world, self.window, self.rewards = world, window, rewards
        self.tasks: list[Task | ReturnTask] = list(tasks)
        self.requests: list[Request] = []
        for i, task in enumerate(self.tasks):
            for episode in range(episodes):
                self.requests.append(_request(len(self.requests), task, np.random.default_rng([seed, i, episode])))
        self.episodes = episodes
        self.envs = min(MAX_ENVS, -(-len(self.requests) // ENVS_PER_BLOCK) * ENVS_PER_BLOCK)
        self.simulations = [world.simulate(self.envs) for _ in range(workers)]

    def evaluate(self, policy: Policy, episodes: int | None = None) -> tuple[list[dict[str, Any]], list[Trajectory]]:
        """Rows (task by task) and the trajectories they tell of. episodes: only the first so many of each task."""
        requests = [
            request for request in self.requests if request.number % self.episodes < (episodes or self.episodes)
        ]
        rollouts = [
            VectorRollout(simulation, PolicyController(policy, self.world, self.envs, self.window, self.rewards))
            for simulation in self.simulations
        ]
        with closing(run(rollouts, requests, SUCCESS_RADIUS)) as ended:  # ends its threads early, too
            bar = tqdm(
                ended, total=len(requests), desc="evaluate", unit=" episodes", mininterval=5, delay=5, leave=False
            )
            trajectories = sorted(bar, key=lambda trajectory: trajectory.request.number)
        return [self._row(trajectory) for trajectory in trajectories], trajectories

    def _row(self, trajectory: Trajectory) -> dict[str, Any]:
        request, length = trajectory.request, len(trajectory.actions)
        row = {
            "task": self.tasks[request.number // self.episodes].name,
            "episode": request.number % self.episodes,
            "success": trajectory.reached,
            "length": length,
            "first_hit": length if trajectory.reached else None,
            "start": [round(float(x), 4) for x in request.start],
            "goal": [round(float(x), 4) for x in request.goal],
        }
        if self.rewards is None:
            return row | {"tight_success": trajectory.reached and length <= request.limit / 2}
        attained = collected(self.rewards.regions, trajectory.observations[1:, :2])
        return row | {
            "success": attained >= request.target,
            "goal": None,
            "target": request.target,
            "return": round(attained, 4),
        }


def _request(number: int, task: Task | ReturnTask, rng: np.random.Generator) -> Request:
    start = task.start.sample(rng)
    if isinstance(task, ReturnTask):
        return Request(number, start, start, task.horizon, rng, task.target, stays=True)
    return Request(number, start, task.goal.sample(rng), task.step_limit, rng)


def calibrate(
    policy: Policy,
    world: World,
    tasks: Sequence[ReturnTask],
    seed: int,
    workers: int,
    window: int | None,
    rewards: Rewards,
) -> list[dict[str, Any]]:
    """What comes of what is asked for: the mean return for each of a grid of targets from each start of the tasks.

    Low ones are among them, and those in between what the data attain from there and the highest target.
    """
    grid = []
    for start in dict.fromkeys(task.start for task in tasks):
        highest = max((task for task in tasks if task.start == start), key=lambda task: task.target)
        grid += [replace(highest, target=float(share * highest.target)) for share in CALIBRATION]
    rows, _ = Evaluator(world, grid, CALIBRATION_EPISODES, seed, workers, window, rewards).evaluate(policy)
    cells = world.maze.cells
    calibration = []
    for i, task in enumerate(grid):
        row, column = cells[world.maze.nearest_cell(np.array([task.start.center]))[0]]
        returns = [each["return"] for each in rows[i * CALIBRATION_EPISODES : (i + 1) * CALIBRATION_EPISODES]]
        calibration.append(
            {
                "start": f"r{row}c{column}",
                "target": round(task.target, 4),
                "achieved": round(float(np.mean(returns)), 4),
                "episodes": len(returns),
            }
        )
    return calibration
