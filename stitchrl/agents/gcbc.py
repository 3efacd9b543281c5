"""GCBC: goal-conditioned behavioural cloning, as RvS (Emmons et al., 2022) in the stitching paper's setting.

Minimises the mean squared error between the action of a state and the network's action for that state and a goal that
is reached later. Inputs are standardised, which the paper does not do.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from stitchrl.agents.agent import Agent
from stitchrl.types import Batch


class GCBC(Agent):
    """hidden_dims: widths of the MLP. goal_columns: which columns of a whole goal observation are the goal.

    relative_goal: whether the network is shown where the goal lies from the state, or where it lies in the world.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (1024, 1024),
        goal_columns: Sequence[int] = (0, 1),
        relative_goal: bool = False,
        lr: float = 1e-3,
        grad_clip: float = 0.25,
        batch_size: int = 256,
    ):
        super().__init__(observation_dim, lr, grad_clip, batch_size)
        self.goal_columns, self.relative_goal = list(goal_columns), relative_goal
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise([observation_dim + len(self.goal_columns), *hidden_dims]):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        self.actor = nn.Sequential(*layers, nn.Linear(hidden_dims[-1], action_dim), nn.Tanh())

    def loss(self, batch: Batch, rng: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self.actor_loss(batch)
        return loss, {"actor_loss": loss.detach()}

    def actor_loss(self, batch: Batch) -> Tensor:
        return nn.functional.mse_loss(self.act(batch.observations, batch.goals), batch.actions)

    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        goal = 2 * (goal - observation) / self.std if self.relative_goal else self.standardise(goal)
        return self.actor(torch.cat([self.standardise(observation), goal[:, self.goal_columns]], -1))
