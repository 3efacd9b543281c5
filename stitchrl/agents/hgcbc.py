"""HGCBC: hierarchical cloning, the first stage of relay policy learning (Gupta et al., 2019).

The high policy says where one is so many steps later on the way to a goal. It is cloned from paths to any goal. The low
policy walks there. It is cloned from what episodes did. Augmented paths reach the high policy alone. It sees where the
body and its goal are, and not how the body moves. So they teach it the way, and teach the low policy no other gait.

Deviations: both policies are deterministic, and the high one predicts an offset from the goal's columns alone.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from stitchrl.agents.agent import FUTURE, Goals, Widths, check_choice
from stitchrl.agents.gcbc import GCBC
from stitchrl.agents.networks import mlp
from stitchrl.types import Batch, LossResult, Spaces


class HGCBC(GCBC):
    """Hierarchical cloning. With discrete actions the low policy is categorical.

    Args:
        hidden_dims, orientation: The low policy's, as GCBC's.
        high_dims: Widths of the high policy's MLP.
        goal: world or observation, as for `Agent`.
    """

    def __init__(
        self,
        spaces: Spaces,
        hidden_dims: Widths = (1024, 1024),
        high_dims: Widths = (256, 256),
        goal: str = "world",
        orientation: Sequence[int] | None = None,
        subgoal_steps: int = 25,
        actor_goals: Goals = FUTURE,
        lr: float = 1e-3,
        grad_clip: float | None = 0.25,
        batch_size: int = 256,
    ):
        check_choice("goal", goal, ["world", "observation"])
        super().__init__(
            spaces, hidden_dims, "relu", "deterministic", goal, orientation, (), actor_goals, lr, grad_clip, batch_size
        )
        self.needs = self.needs._replace(subgoal_steps=subgoal_steps)
        self.high = mlp([2 * self.goal_dim, *high_dims, self.goal_dim])

    def loss(self, batch: Batch, rng: Generator) -> LossResult:
        error = self.way(batch.observations, batch.goals) - self.offset(batch.observations, batch.subgoals)
        low = self.actor_loss(batch._replace(goals=batch.low_goals))
        return self.total({"actor_loss": low, "high_loss": error.square().mean()})

    def offset(self, observation: Tensor, goal: Tensor) -> Tensor:
        """From where the body is to a goal, in half of the encoder's units [B, goal_dim]."""
        return 2 * (self.goal(goal) - self.goal(observation))

    def way(self, observation: Tensor, goal: Tensor) -> Tensor:
        """The offset of the subgoal on the way to a goal [B, goal_dim]."""
        return self.high(torch.cat([self.goal(observation), self.goal(goal)], -1))

    def act(self, observation: Tensor, condition: Tensor) -> Tensor:
        columns = self.goal_index
        here, subgoal = self.encoder.flatten(observation), self.encoder.flatten(condition).clone()
        subgoal[:, columns] = here[:, columns] + self.way(observation, condition) * self.encoder.unit[columns] / 2
        return super().act(observation, subgoal.view_as(condition))
