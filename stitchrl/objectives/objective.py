"""What is asked of a policy: one place for all that differs between goals and returns.

An objective says what is evaluated, how training relabels what the data hold, how evaluation asks and advances, what
counts as success, and how a dataset is certified. Agents, the evaluator and the learner know none of it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from stitchrl.audit.certificate import Judge
from stitchrl.data.episodes import Episodes
from stitchrl.types import AnyTask, Condition, GoalPath, Needs, RewardRegion, Task
from stitchrl.worlds.rollout import Request, Trajectory

Rows = list[dict[str, Any]]


class Conditioning(Protocol):
    """What the policies in some environments are asked for while they act."""

    conditions: Tensor  # [envs, ...]

    def begin(self, env: int, request: Request) -> None:
        """Ask for what the request asks for."""

    def advance(self, observations: np.ndarray, steps: np.ndarray) -> None:
        """Take in observations [envs, *shape] that the last step led to, and each episode's number of steps [envs]."""


class Relabelling(Protocol):
    """How a dataset's trajectories become conditions to learn from."""

    def cut(self, path: GoalPath) -> GoalPath:
        """The part of each path that counts."""

    def conditions(self, path: GoalPath, goals: Tensor, random: Tensor) -> Tensor:
        """What is asked for at the beginning of each path, as `cut` returns it.

        `goals` [B] are rows, those of the paths' own goals unless mixed with others. `random` [B] says whether the
        condition is to be one of any other transition.
        """

    def along(self, path: GoalPath, steps: Tensor, conditions: Tensor) -> Tensor:
        """The conditions [B, K, ...] that lie `steps` [B, K] ahead, given those [B, ...] at the beginning."""

    def conditioning(self, envs: int) -> Conditioning:
        """For the evaluation of what was learned from these conditions."""


class Objective(Protocol):
    """What is asked of a policy in the tasks of one dataset. Some members have a default.

    Attributes:
        name: "goal" or "return", as certificates and summaries have it.
        judge: Certifies the tasks.
        tasks: What is evaluated.
        rewards: What steps earn beside the episode's own goal.
        condition: What agents are told.
        measures: What a summary tells of a task beside its success. `key` names it; `heading` and `note` explain it;
            `digits` are shown; `estimate` says whether each evaluation measures it anew.
        task_facts: The names of a certificate's values of a task that a summary repeats.
    """

    name: str
    judge: Judge
    tasks: Sequence[AnyTask]
    rewards: Sequence[RewardRegion]
    condition: Condition
    measures: Sequence[Mapping[str, Any]]
    task_facts: Sequence[str]

    def check(self, agent: str, needs: Needs, goals: str, augments: bool) -> None:
        """ValueError where an agent cannot learn this, or the trajectory sampler `goals` changes nothing for it.

        augments: Whether the sampler may leave an episode.
        """

    def relabel(self, episodes: Episodes) -> Relabelling:
        """Prepare to learn from these episodes."""

    def request(self, number: int, task: AnyTask, rng: np.random.Generator) -> Request:
        """An episode to evaluate a task with."""

    def score(self, trajectory: Trajectory) -> dict[str, Any]:
        """What an evaluated episode came to: `success` and the measures that are estimated."""

    def calibration(self, evaluate: Callable[[Sequence[AnyTask], int], Rows]) -> Rows:
        """What comes of other requests than the tasks'; no rows where nothing can be varied.

        `evaluate` makes of tasks, and a number of episodes of each, one row per episode, task by task.
        """
        return []

    def stays(self, goal: np.ndarray) -> bool:
        """Whether an episode that is collected goes on at its goal [D]."""

    def earned(self, trajectory: Trajectory) -> np.ndarray:
        """The rewards [T] of a collected episode's steps."""

    def adopt(self, name: str, episodes: Episodes) -> Episodes:
        """Episodes of the source `name` with the rewards that evaluation gives."""
        return episodes

    def ceiling_request(self, number: int, task: AnyTask, rng: np.random.Generator) -> Request:
        """An episode in which the behaviour tries a task."""

    def parted(self) -> Sequence[Task]:
        """Start and goal regions that no piece of a cut dataset may hold both of."""

    def leads_away(self, here: np.ndarray, later: np.ndarray, goals: np.ndarray) -> np.ndarray | None:
        """Boolean [B]: whether the way from here to later leads away from the goals, all observations [B, *shape].

        None where nothing leads anywhere.
        """
        return None
