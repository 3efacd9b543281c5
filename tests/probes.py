"""An agent and ways to draw goals whose behaviour shows what an experiment gives them."""

from typing import Any

import torch
from torch import Tensor

from stitchrl.agents.agent import Agent
from stitchrl.types import Batch, GoalMixture, GoalPath, Needs

SEEN: list[dict[str, Any]] = []  # what the agent was given in each call, in order


class Probe(Agent):
    """One weight `w`, whose gradient is always 1. Writes down each call; the action is w, whatever is observed.

    Adam's step is then the learning rate itself, so that the weights tell what rates the learner took.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        goal_columns: list[int] | None,
        lr: float = 1e-2,
        batch_size: int = 8,
        warmup: int = 0,
        trajectory: float = 1.0,
    ):
        needs = Needs(GoalMixture(current=0.0, trajectory=trajectory, random=1 - trajectory))
        super().__init__(observation_dim, goal_columns, lr, batch_size, needs, warmup=warmup)
        self.w = torch.nn.Parameter(torch.randn(()))
        self.dropout = torch.nn.Dropout(0.5)
        self.action_dim = action_dim

    def loss(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        self.note("loss", batch.observations, batch.goals, drawn=torch.rand(3, generator=rng).tolist())
        loss = self.w * 1.0
        return loss, {"w": loss.detach()}

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
                "mean": self.mean.tolist(),
                "std": self.std.tolist(),
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
