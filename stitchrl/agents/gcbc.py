"""GCBC: goal-conditioned behavioural cloning, as RvS (Emmons et al., 2022) in the stitching paper's setting.

Makes the action of a state likely for that state and a goal that is reached later. Inputs are standardised, which the
paper does not do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from stitchrl.agents.agent import Agent, check_choice, goal_mixture
from stitchrl.agents.networks import ACTORS
from stitchrl.types import Batch, Needs

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}
FUTURE = {"current": 0.0, "trajectory": 1.0, "random": 0.0, "discount": None}


class GCBC(Agent):
    """hidden_dims: widths of the MLP. actor: deterministic (squared error), gaussian or mixture (likelihood).

    relative_goal: whether the network is shown where the goal lies from the state, or where it lies in the world.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (1024, 1024),
        activation: str = "relu",
        actor: str = "deterministic",
        goal_columns: Sequence[int] = (0, 1),
        relative_goal: bool = False,
        actor_goals: Mapping[str, Any] = FUTURE,
        lr: float = 1e-3,
        grad_clip: float | None = 0.25,
        batch_size: int = 256,
    ):
        needs = Needs(actor_goals=goal_mixture("actor_goals", actor_goals))
        super().__init__(observation_dim, goal_columns, lr, batch_size, needs, grad_clip)
        self.relative_goal = relative_goal
        check_choice("actor", actor, list(ACTORS))
        check_choice("activation", activation, list(ACTIVATIONS))
        dims = [observation_dim + len(self.goal_columns), *hidden_dims, action_dim]
        self.actor = ACTORS[actor](dims, ACTIVATIONS[activation])

    def loss(self, batch: Batch, rng: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self.actor_loss(batch)
        return loss, {"actor_loss": loss.detach()}

    def actor_loss(self, batch: Batch) -> Tensor:
        return self.actor.loss(self.inputs(batch.observations, batch.goals), batch.actions).mean()

    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        return self.actor(self.inputs(observation, goal)).clamp(-1, 1)

    def inputs(self, observation: Tensor, goal: Tensor) -> Tensor:
        """What the network is shown [B, obs_dim + goal_dim]."""
        offset = 2 * (goal - observation)[:, self.goal_columns] / self.std[self.goal_columns]
        return torch.cat([self.standardise(observation), offset if self.relative_goal else self.goal(goal)], -1)
