"""Goals: a policy is told where to be, and succeeds once it is there."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stitchrl.audit.goals import GOALS
from stitchrl.data.episodes import Episodes, take
from stitchrl.objectives.objective import Objective
from stitchrl.objectives.regions import goal_region, step_limit
from stitchrl.spec import DatasetSpec
from stitchrl.types import AnyTask, Condition, Expectation, GoalPath, Needs, Place, RewardRegion, Task
from stitchrl.worlds.rollout import Request, Trajectory
from stitchrl.worlds.world import World

MEASURES = (
    {"key": "path_length", "heading": "path", "note": "", "digits": 1, "estimate": False},
    {
        "key": "tight_success",
        "heading": "under the tight limit",
        "note": "Under the tight limit: success within half of the step limit, 1.5 times what the behaviour needs.",
        "digits": 2,
        "estimate": True,
    },
)


class ReachGoal(Objective):
    """The evaluated pairs of a specification."""

    name = "goal"
    judge = GOALS
    measures = MEASURES
    task_facts = ("path_length", "step_limit", "start", "goal")
    rewards: Sequence[RewardRegion] = ()

    def __init__(self, spec: DatasetSpec, world: World):
        self.spec, self.world = spec, world
        columns = world.goal_space.columns
        if columns is None:
            columns = tuple(range(int(np.prod(world.observation_space.shape))))
        self.condition = Condition(len(columns), columns)
        seen = [self._task(*pair, expect="seen") for pair in spec.seen]
        self.tasks = seen + self.parted()

    def _task(self, start: Place, goal: Place, expect: Expectation) -> Task:
        """Resets and goals lie in the places' own regions; three times the steps that the behaviour needs."""
        world, length = self.world, self.world.path_length(start, goal)
        name = f"{world.label(start)}-to-{world.label(goal)}"
        ends = (world.region(start), goal_region(world, goal))
        return Task(name, *ends, expect, path_length=length, step_limit=step_limit(world, length))

    def check(self, agent: str, needs: Needs, goals: str, augments: bool) -> None:
        if needs.rewards:
            raise ValueError(
                f"agent {agent}: learns from rewards, but dataset {self.spec.name} asks for goals; one with targets "
                "expected"
            )

    def relabel(self, episodes: Episodes) -> "GoalRelabelling":
        return GoalRelabelling(episodes, self.world)

    def request(self, number: int, task: AnyTask, rng: np.random.Generator) -> Request:
        assert isinstance(task, Task)
        return Request(number, task.start.sample(rng), task.goal.sample(rng), task.step_limit, rng)

    ceiling_request = request

    def score(self, trajectory: Trajectory) -> dict[str, Any]:
        tight = trajectory.reached and len(trajectory.actions) <= trajectory.request.limit / 2
        goal = [round(float(x), 4) for x in trajectory.request.goal]
        return {"success": trajectory.reached, "tight_success": tight, "goal": goal}

    def stays(self, goal: np.ndarray) -> bool:
        return self.spec.length is not None

    def earned(self, trajectory: Trajectory) -> np.ndarray:
        """1 for a step that ends at the episode's own goal."""
        return self.world.goal_space.success(trajectory.achieved[1:], trajectory.request.goal).astype(np.float32)

    def parted(self) -> list[Task]:
        return [self._task(*pair, expect="unseen") for pair in self.spec.unseen]

    def leads_away(self, here: np.ndarray, later: np.ndarray, goals: np.ndarray) -> np.ndarray:
        """Whether the walk to the goal is longer afterwards."""
        before, now, there = (self.world.goal_space.of(states).astype(np.float64) for states in (here, later, goals))
        return self.world.distance(now, there) > self.world.distance(before, there)


class GoalRelabelling:
    """Conditions are the states that paths lead to."""

    def __init__(self, episodes: Episodes, world: World):
        self.episodes, self.world = episodes, world

    def cut(self, path: GoalPath) -> GoalPath:
        return path

    def conditions(self, path: GoalPath, goals: Tensor, random: Tensor) -> Tensor:
        return take(self.episodes.observations, goals)

    def along(self, path: GoalPath, steps: Tensor, conditions: Tensor) -> Tensor:
        return conditions[:, None].expand(-1, steps.shape[-1], *conditions.shape[1:])

    def conditioning(self, envs: int) -> "GoalConditioning":
        return GoalConditioning(self.world, envs)


class GoalConditioning:
    """The same goal at every step of an episode."""

    def __init__(self, world: World, envs: int):
        self.world, space = world, world.observation_space
        self.conditions = torch.from_numpy(np.zeros((envs, *space.shape), space.dtype))

    def begin(self, env: int, request: Request) -> None:
        self.conditions[env] = torch.from_numpy(self.world.goal_observation(request.goal))

    def advance(self, observations: np.ndarray, steps: np.ndarray) -> None:
        pass
