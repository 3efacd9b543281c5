"""HGCBC: hierarchical cloning, the first stage of relay policy learning (Gupta et al., 2019).

The high policy, cloned from paths to any goal, says where one is so many steps later; the low one, cloned from what
episodes did, walks there. Augmented paths reach the high policy alone: it sees where the body and its goal are, and not
how the body moves, so that many of them teach it the way without teaching the low one another gait.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from stitchrl.agents.gcbc import FUTURE, GCBC
from stitchrl.agents.networks import mlp
from stitchrl.types import Batch


class HGCBC(GCBC):
    """subgoal_steps: how far ahead subgoals lie. high_dims: widths of the high policy's MLP.

    hidden_dims, orientation: the low policy's, as GCBC's.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (1024, 1024),
        high_dims: Sequence[int] = (256, 256),
        goal_columns: Sequence[int] = (0, 1),
        orientation: Sequence[int] | None = None,
        subgoal_steps: int = 25,
        actor_goals: Mapping[str, Any] = FUTURE,
        lr: float = 1e-3,
        grad_clip: float | None = 0.25,
        batch_size: int = 256,
    ):
        super().__init__(
            observation_dim,
            action_dim,
            hidden_dims,
            goal_columns=goal_columns,
            orientation=orientation,
            actor_goals=actor_goals,
            lr=lr,
            grad_clip=grad_clip,
            batch_size=batch_size,
        )
        self.needs = self.needs._replace(subgoal_steps=subgoal_steps)
        self.high = mlp([2 * self.goal_dim, *high_dims, self.goal_dim])

    def loss(self, batch: Batch, rng: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        error = self.way(batch.observations, batch.goals) - self.offset(batch.observations, batch.subgoals)
        low = self.actor_loss(batch._replace(goals=batch.low_goals))
        return self.total({"actor_loss": low, "high_loss": error.square().mean()})

    def offset(self, observation: Tensor, goal: Tensor) -> Tensor:
        """From where the body is to a goal, in half standard deviations [B, goal_dim]."""
        return 2 * (self.goal(goal) - self.goal(observation))

    def way(self, observation: Tensor, goal: Tensor) -> Tensor:
        """The offset of the subgoal on the way to a goal [B, goal_dim]."""
        return self.high(torch.cat([self.goal(observation), self.goal(goal)], -1))

    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        columns = self.goal_columns
        subgoal = goal.clone()
        subgoal[:, columns] = observation[:, columns] + self.way(observation, goal) * self.std[columns] / 2
        return super().act(observation, subgoal)
