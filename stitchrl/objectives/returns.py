"""Returns: a policy is told how much to collect, and in how many steps (RvS-R; Emmons et al., 2022).

A return is shown as two numbers: what is still to be collected, over the most that an episode of the data collects
within the horizon, and the steps that are left for it, over the horizon.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stitchrl.audit.returns import RETURNS
from stitchrl.data.episodes import Episodes
from stitchrl.objectives.objective import Objective, Rows
from stitchrl.objectives.regions import steps_needed, whole_region
from stitchrl.spec import DatasetSpec
from stitchrl.types import AnyTask, Condition, GoalPath, Needs, ReturnTask, RewardRegion, Task, reward_at
from stitchrl.worlds.rollout import Request, Trajectory
from stitchrl.worlds.world import World

CALIBRATION = np.linspace(0, 1.25, 8)  # of the highest target from a start
CALIBRATION_EPISODES = 20
MEASURES = (
    {"key": "target", "heading": "target", "note": "", "digits": 0, "estimate": False},
    {"key": "return", "heading": "return", "note": "", "digits": 1, "estimate": True},
)


class CollectReturn(Objective):
    """The evaluated returns of a specification."""

    name = "return"
    judge = RETURNS
    measures = MEASURES
    task_facts = ("path_length", "step_limit", "target", "horizon", "start")
    condition = Condition(dim=2)

    def __init__(self, spec: DatasetSpec, world: World):
        assert spec.horizon is not None
        self.spec, self.world, self.horizon = spec, world, spec.horizon
        self.rewards = [RewardRegion(whole_region(world, reward.place), reward.rate) for reward in spec.rewards]
        self.tasks = []
        for target in spec.targets:
            name, start = f"{world.label(target.start)}-return-{target.value:g}", world.region(target.start)
            self.tasks.append(ReturnTask(name, start, target.value, spec.horizon, target.expect))

    def check(self, agent: str, needs: Needs, goals: str, augments: bool) -> None:
        if needs.value_goals is not None or needs.subgoal_steps is not None:
            raise ValueError(
                f"agent {agent}: conditioned on goals, but dataset {self.spec.name} asks for returns; gcbc, dt, iql or "
                "td3bc expected"
            )
        if needs.actor_goals.current > 0:
            raise ValueError(
                "agent.actor_goals: no return is collected on the way to the current state, expected current: 0"
            )
        if needs.rewards and augments:
            raise ValueError(
                f"agent {agent}: told nothing of what lies ahead, goals={goals} changes nothing; goals=future expected"
            )

    def relabel(self, episodes: Episodes) -> "ReturnRelabelling":
        return ReturnRelabelling(episodes, self.horizon, self)

    def request(self, number: int, task: AnyTask, rng: np.random.Generator) -> Request:
        assert isinstance(task, ReturnTask)
        start = task.start.sample(rng)
        return Request(number, start, start, task.horizon, rng, task.target, stays=True)

    def collected(self, achieved: np.ndarray) -> float:
        """What steps that end at the achieved goals [T, D] earn in all."""
        return float(reward_at(self.rewards, achieved).sum(dtype=np.float64))

    def score(self, trajectory: Trajectory) -> dict[str, Any]:
        attained, target = self.collected(trajectory.achieved[1:]), trajectory.request.target
        return {"success": attained >= target, "goal": None, "target": target, "return": round(attained, 4)}

    def calibration(self, evaluate: Callable[[Sequence[AnyTask], int], Rows]) -> Rows:
        """The mean return for each of a grid of targets from each start of the tasks.

        Low targets are among them, and those between what the data attain from there and the highest target.
        """
        labels = {self.world.region(target.start): self.world.label(target.start) for target in self.spec.targets}
        tasks = [task for task in self.tasks if isinstance(task, ReturnTask)]
        grid: list[ReturnTask] = []
        for start in dict.fromkeys(task.start for task in tasks):
            highest = max((task for task in tasks if task.start == start), key=lambda task: task.target)
            grid += [replace(highest, target=float(share * highest.target)) for share in CALIBRATION]
        rows = evaluate(grid, CALIBRATION_EPISODES)
        calibration = []
        for i, task in enumerate(grid):
            returns = [each["return"] for each in rows[i * CALIBRATION_EPISODES : (i + 1) * CALIBRATION_EPISODES]]
            means = {"target": round(task.target, 4), "achieved": round(float(np.mean(returns)), 4)}
            calibration.append({"start": labels[task.start], **means, "episodes": len(returns)})
        return calibration

    def stays(self, goal: np.ndarray) -> bool:
        """Where nothing is earned an episode ends: else nearly all states there would be of waiting."""
        return self.spec.length is not None and bool(reward_at(self.rewards, goal[None]).any())

    def earned(self, trajectory: Trajectory) -> np.ndarray:
        return reward_at(self.rewards, trajectory.achieved[1:])

    def adopt(self, name: str, episodes: Episodes) -> Episodes:
        """Every step earns what the specification says, for so it will in evaluation."""
        achieved, steps = self.world.goal_space.of(episodes.observations.numpy()), episodes.transitions
        earned = np.full(len(episodes), np.nan, np.float32)
        earned[steps] = reward_at(self.rewards, achieved[steps + 1])
        if episodes.rewards is not None and (other := ~np.isclose(episodes.rewards[steps], earned[steps])).any():
            print(
                f"warning: {name}: {100 * other.mean():.1f}% of its rewards are not what dataset {self.spec.name} "
                "gives for the same steps; training and evaluation go by the latter",
                file=sys.stderr,
            )
        return episodes.with_rewards(torch.from_numpy(earned))

    def ceiling_request(self, number: int, task: AnyTask, rng: np.random.Generator) -> Request:
        """The behaviour goes where most is earned in the horizon."""
        assert isinstance(task, ReturnTask)

        def worth(reward: RewardRegion) -> float:
            ends = (np.array([region.center]) for region in (task.start, reward.region))
            taken = steps_needed(self.world, float(self.world.distance(*ends)[0]))
            return reward.rate * (task.horizon - taken)

        best = replace(max(self.rewards, key=worth).region, half=task.start.half)
        start, goal = task.start.sample(rng), best.sample(rng)
        return Request(number, start, goal, task.horizon, rng, task.target, stays=True)

    def parted(self) -> list[Task]:
        """An unseen return's start, and wherever most is earned."""
        most = max(reward.rate for reward in self.rewards)
        return [
            Task(task.name, task.start, reward.region, "unseen")
            for task in self.tasks
            for reward in self.rewards
            if task.expect == "unseen" and reward.rate == most
        ]


class ReturnRelabelling:
    """Conditions are what is left of a path: its return, and its steps. Over a seam both go on.

    Attributes:
        scale: The most that any episode collects within the horizon.
    """

    def __init__(self, episodes: Episodes, horizon: int, objective: CollectReturn):
        """Raises ValueError where nothing is collected."""
        if episodes.rewards is None:
            raise ValueError("the dataset has no rewards, and returns are asked for")
        total = episodes.rewards.nan_to_num().double().cumsum(0)
        self.objective, self.horizon = objective, horizon
        self.before = torch.cat([total.new_zeros(1), total[:-1]])  # [N] earned before each row
        rows = torch.arange(len(episodes), device=episodes.device)
        later = torch.minimum(rows + horizon, episodes.ends)
        self.scale = float((self.before[later] - self.before).max())
        if self.scale <= 0:
            raise ValueError(
                f"no episode of the dataset collects a reward within {horizon} steps, a positive one expected"
            )

    def cut(self, path: GoalPath) -> GoalPath:
        return path.first(self.horizon)

    def conditions(self, path: GoalPath, goals: Tensor, random: Tensor) -> Tensor:
        """The random return is that of another transition's path."""
        left = self.ahead(path, path.rows.new_zeros(1)).squeeze(1)
        return torch.where(random[:, None], left.roll(1, 0), left)

    def along(self, path: GoalPath, steps: Tensor, conditions: Tensor) -> Tensor:
        return self.ahead(path, steps)

    def ahead(self, path: GoalPath, steps: Tensor) -> Tensor:
        """The conditions [B, K, 2] that lie `steps` ([K] or [B, K]) ahead on each path, not beyond its goal."""
        length = path.length[:, None]
        left = path.collected(self.before, length) - path.collected(self.before, steps)
        return torch.stack([left / self.scale, (length - steps) / self.horizon], -1).float()

    def conditioning(self, envs: int) -> "ReturnConditioning":
        return ReturnConditioning(self.objective, envs, self.scale)


class ReturnConditioning:
    """What is left of each environment's target, and of its steps."""

    def __init__(self, objective: CollectReturn, envs: int, scale: float):
        self.objective, self.scale = objective, scale
        self.left = np.zeros(envs)
        self.conditions = torch.zeros(envs, objective.condition.dim)

    def begin(self, env: int, request: Request) -> None:
        self.left[env] = request.target

    def advance(self, observations: np.ndarray, steps: np.ndarray) -> None:
        """Take what the last step has earned from the target; no less than nothing is left."""
        achieved = self.objective.world.goal_space.of(observations)
        self.left -= np.where(steps > 0, reward_at(self.objective.rewards, achieved), 0)
        self.conditions[:, 0] = torch.from_numpy(self.left.clip(min=0) / self.scale)
        self.conditions[:, 1] = torch.from_numpy(1 - steps / self.objective.horizon)
