"""Evaluation: a policy is sent from each task's start to its goals; one row per episode comes back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from stitchrl.types import Policy, Task, Window
from stitchrl.worlds import SUCCESS_RADIUS, World
from stitchrl.worlds.rollout import Fleet, Plan, Trajectory, run

MAX_LANES = 64  # of each worker
LANES_PER_BLOCK = 8  # matrix products treat the rows of an unfilled block differently, in the last bit


class PolicyController:
    """A learned policy in the lanes of a simulation: keeps each lane's goal, acts for all lanes in one call.

    window: how many of the last states and actions a sequence model is shown, None for the state alone.
    """

    def __init__(self, policy: Policy, world: World, lanes: int, window: int | None):
        self.policy, self.world, self.window = policy, world, window
        self.goals = torch.zeros(lanes, world.observation_dim)
        self.observations = torch.zeros(lanes, window or 0, world.observation_dim)
        self.actions = torch.zeros(lanes, window or 0, world.action_dim)

    def plan(self, lane: int, start: np.ndarray, goal: np.ndarray, steps: int, rng: np.random.Generator) -> None:
        self.goals[lane] = torch.from_numpy(self.world.goal_observation(goal))

    @torch.no_grad()
    def act(self, observations: np.ndarray, steps: np.ndarray) -> np.ndarray:
        if self.window is None:
            return self.policy(torch.from_numpy(observations), self.goals).numpy()
        full = torch.from_numpy(steps >= self.window)  # the oldest step makes room for the newest
        for kept in (self.observations, self.actions):
            kept[full] = kept[full].roll(-1, 1)
        newest = torch.from_numpy(np.minimum(steps, self.window - 1))
        everyone = torch.arange(len(newest))
        self.observations[everyone, newest] = torch.from_numpy(observations)
        self.actions[everyone, newest] = 0
        valid = torch.arange(self.window) <= newest[:, None]
        action = self.policy(Window(self.observations, self.actions, valid), self.goals)
        self.actions[everyone, newest] = action
        return action.numpy()


class Evaluator:
    """Evaluates on the same starts and goals each time: they are drawn once, from the evaluation's own seed.

    Models are built once. The policy acts for batches of one width, whatever the number of workers.
    """

    def __init__(
        self, world: World, tasks: Sequence[Task], episodes: int, seed: int, workers: int, window: int | None = None
    ):
        self.world, self.window = world, window
        self.tasks = list(tasks)
        self.plans: list[Plan] = []
        for i, task in enumerate(self.tasks):
            for episode in range(episodes):
                rng = np.random.default_rng([seed, i, episode])
                start, goal = task.start.sample(rng), task.goal.sample(rng)
                self.plans.append(Plan(len(self.plans), start, goal, task.step_limit, rng))
        self.episodes = episodes
        self.lanes = min(MAX_LANES, -(-len(self.plans) // LANES_PER_BLOCK) * LANES_PER_BLOCK)
        self.simulations = [world.simulate(self.lanes) for _ in range(workers)]

    def evaluate(self, policy: Policy, episodes: int | None = None) -> tuple[list[dict[str, Any]], list[Trajectory]]:
        """Rows (task by task) and the trajectories they tell of. episodes: only the first so many of each task."""
        plans = [plan for plan in self.plans if plan.number % self.episodes < (episodes or self.episodes)]
        controllers = (PolicyController(policy, self.world, self.lanes, self.window) for _ in self.simulations)
        fleets = [Fleet(*pair) for pair in zip(self.simulations, controllers, strict=True)]
        ended = run(fleets, plans, SUCCESS_RADIUS)
        bar = tqdm(ended, total=len(plans), desc="evaluate", unit=" episodes", mininterval=5, delay=5, leave=False)
        trajectories = sorted(bar, key=lambda trajectory: trajectory.plan.number)
        return [self._row(trajectory) for trajectory in trajectories], trajectories

    def _row(self, trajectory: Trajectory) -> dict[str, Any]:
        plan, length = trajectory.plan, len(trajectory.actions)
        return {
            "task": self.tasks[plan.number // self.episodes].name,
            "episode": plan.number % self.episodes,
            "success": trajectory.reached,
            "length": length,
            "first_hit": length if trajectory.reached else None,
            "start": [round(float(x), 4) for x in plan.start],
            "goal": [round(float(x), 4) for x in plan.goal],
        }
