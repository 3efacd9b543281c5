"""Evaluation: a policy is sent from each task's start to its goals; one row per episode comes back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from stitchrl.types import Policy, Task
from stitchrl.worlds import SUCCESS_RADIUS, World
from stitchrl.worlds.rollout import Fleet, Plan, Trajectory, run

MAX_LANES = 64  # of each worker
LANES_PER_BLOCK = 8  # matrix products treat the rows of an unfilled block differently, in the last bit


class PolicyController:
    """A learned policy in the lanes of a simulation: keeps each lane's goal, acts for all lanes in one call."""

    def __init__(self, policy: Policy, world: World, lanes: int):
        self.policy, self.world = policy, world
        self.goals = np.zeros((lanes, world.observation_dim), np.float32)

    def plan(self, lane: int, start: np.ndarray, goal: np.ndarray, steps: int, rng: np.random.Generator) -> None:
        self.goals[lane] = self.world.goal_observation(goal)

    @torch.no_grad()
    def act(self, observations: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return self.policy(torch.from_numpy(observations), torch.from_numpy(self.goals)).numpy()


class Evaluator:
    """Evaluates on the same starts and goals each time: they are drawn once, from the evaluation's own seed.

    Models are built once. The policy acts for batches of one width, whatever the number of workers.
    """

    def __init__(self, world: World, tasks: Sequence[Task], episodes: int, seed: int, workers: int):
        self.world = world
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
        fleets = [Fleet(sim, PolicyController(policy, self.world, self.lanes)) for sim in self.simulations]
        trajectories = sorted(run(fleets, plans, SUCCESS_RADIUS), key=lambda trajectory: trajectory.plan.number)
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
