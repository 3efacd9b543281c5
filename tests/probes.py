"""An agent and ways to draw goals whose behaviour shows what an experiment gives them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from stitchrl.agents.agent import Agent
from stitchrl.objectives.goal import GoalRelabelling
from stitchrl.objectives.returns import ReturnRelabelling
from stitchrl.types import Batch, Condition, GoalMixture, GoalPath, LossResult, Needs, Spaces


def relabelling(episodes, horizon=None):
    """Conditions for a sampler: goals, or with a horizon what is left of returns. No environment is asked for any."""
    return GoalRelabelling(episodes, None) if horizon is None else ReturnRelabelling(episodes, horizon, None)


def spaces(observation_dim: int = 4, action_dim: int = 2, columns: Sequence[int] | None = (0, 1)) -> Spaces:
    """Vectors of real numbers, actions in a box, and a goal in the columns; None: a vector of two numbers instead."""
    condition = Condition(2, None) if columns is None else Condition(len(columns), tuple(columns))
    observation = Box(-np.inf, np.inf, (observation_dim,), np.float32)
    return Spaces(observation, Box(-1, 1, (action_dim,), np.float32), condition)


SEEN: list[dict[str, Any]] = []  # what the agent was given in each call, in order


class Probe(Agent):
    """One weight `w`, whose gradient is always 1. Writes down each call; the action is w, whatever is observed.

    Adam's step is then the learning rate itself, so that the weights tell what rates the learner took.
    """

    def __init__(
        self,
        spaces: Spaces,
        goal: str = "world",
        lr: float = 1e-2,
        batch_size: int = 8,
        warmup: int = 0,
        trajectory: float = 1.0,
    ):
        needs = Needs(GoalMixture(current=0.0, trajectory=trajectory, random=1 - trajectory))
        super().__init__(spaces, goal, lr, batch_size, needs, warmup=warmup)
        self.w = torch.nn.Parameter(torch.randn(()))
        self.dropout = torch.nn.Dropout(0.5)

    def loss(self, batch: Batch, rng: torch.Generator) -> LossResult:
        self.note("loss", batch.observations, batch.goals, drawn=torch.rand(3, generator=rng).tolist())
        loss = self.w * 1.0
        return LossResult(loss, {"w": loss.detach()})

    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        self.note("act", observation, goal)
        return self.w.detach().clamp(-1, 1).expand(len(observation), self.action_dim).clone()

    def note(self, call: str, observation: Tensor, goal: Tensor, **more: Any) -> None:
        SEEN.append(
            {
                "call": call,
                "w": self.w.item(),
                "observation": observation.clone(),
                "goal": goal.clone(),
                "dropped": int((self.dropout(torch.ones(64)) != 1).sum()),
                "mean": self.encoder.mean.tolist(),
                "std": self.encoder.std.tolist(),
                **more,
            }
        )


class Partner:
    """Every path jumps, at the next row, to the row that is `shift` rows farther in the data, and ends there.

    p: what is said of how often it does.
    """

    def __init__(self, p: float, shift: int):
        self.p, self.shift = p, shift

    def bind(self, episodes):
        def sample(rows: Tensor, discount: float | None, rng: torch.Generator) -> GoalPath:
            goal = (rows + self.shift) % len(episodes)
            return GoalPath(rows, goal, rows[:, None] + 1, goal[:, None])

        return sample


class Half(Partner):
    """As Partner, from rows of even number alone; from the others paths go to the episode's end."""

    def bind(self, episodes):
        always = super().bind(episodes)

        def sample(rows: Tensor, discount: float | None, rng: torch.Generator) -> GoalPath:
            path, even = always(rows, discount, rng), rows % 2 == 0
            nowhere = torch.full_like(path.leave, -1)
            return GoalPath(
                rows,
                torch.where(even, path.goal, episodes.ends[rows]),
                torch.where(even[:, None], path.leave, nowhere),
                torch.where(even[:, None], path.enter, nowhere),
            )

        return sample
