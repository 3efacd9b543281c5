"""GCBC: goal-conditioned behavioural cloning, as RvS (Emmons et al., 2022) in the stitching paper's setting.

Makes the action of a state likely for that state and a goal that is reached later (RvS-G), or a return that is
collected from there on (RvS-R). Inputs are standardised, which the paper does not do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from stitchrl.agents.agent import Agent, check_choice, check_columns, goal_mixture
from stitchrl.agents.networks import ACTORS
from stitchrl.types import Batch, Needs

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}
FUTURE = {"current": 0.0, "trajectory": 1.0, "random": 0.0, "discount": None}


class GCBC(Agent):
    """hidden_dims: widths of the MLP. actor: deterministic (squared error), gaussian or mixture (likelihood).
    goal_columns: null where conditions are returns.

    orientation: columns of a quaternion (w, x, y, z) that says how the body stands. With it the network is shown where
    the goal lies from the body: its offset and the direction that it lies in from where the body faces; null: where
    the goal lies in the world.

    hidden_columns: of the observation, which the network is not shown: without its velocity a body's momentum does not
    tell where it was going.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (1024, 1024),
        activation: str = "relu",
        actor: str = "deterministic",
        goal_columns: Sequence[int] | None = (0, 1),
        orientation: Sequence[int] | None = None,
        hidden_columns: Sequence[int] = (),
        actor_goals: Mapping[str, Any] = FUTURE,
        lr: float = 1e-3,
        grad_clip: float | None = 0.25,
        batch_size: int = 256,
    ):
        needs = Needs(actor_goals=goal_mixture("actor_goals", actor_goals))
        super().__init__(observation_dim, goal_columns, lr, batch_size, needs, grad_clip)
        if orientation is not None and goal_columns is None:
            raise ValueError(f"agent.orientation: {list(orientation)} given; a return lies nowhere, use null")
        self.orientation = orientation and check_columns("orientation", orientation, observation_dim)
        hidden = check_columns("hidden_columns", hidden_columns, observation_dim)
        self.shown = [column for column in range(observation_dim) if column not in hidden] if hidden else slice(None)
        check_choice("actor", actor, list(ACTORS))
        check_choice("activation", activation, list(ACTIVATIONS))
        goal_dim = self.goal_dim if orientation is None else 4
        dims = [observation_dim - len(set(hidden)) + goal_dim, *hidden_dims, action_dim]
        self.actor = ACTORS[actor](dims, ACTIVATIONS[activation])

    def loss(self, batch: Batch, rng: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self.actor_loss(batch)
        return loss, {"actor_loss": loss.detach()}

    def actor_loss(self, batch: Batch) -> Tensor:
        return self.actor.loss(self.inputs(batch.observations, batch.goals), batch.actions).mean()

    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        return self.actor(self.inputs(observation, goal)).clamp(-1, 1)

    def inputs(self, observation: Tensor, goal: Tensor) -> Tensor:
        """What the network is shown [B, shown columns + goal_dim]."""
        there = self.goal(goal) if self.orientation is None else self.from_body(observation, goal)
        return torch.cat([self.standardise(observation)[..., self.shown], there], -1)

    def from_body(self, observation: Tensor, goal: Tensor) -> Tensor:
        """The goal's offset in half standard deviations, cosine and sine of its direction from the body's: [B, 4]."""
        offset = (goal - observation).index_select(-1, self.goal_index)
        w, x, y, z = observation[:, self.orientation].unbind(-1)
        heading = torch.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        bearing = torch.atan2(offset[:, 1], offset[:, 0]) - heading
        half_std = self.std[self.goal_index] / 2
        return torch.cat([offset / half_std, torch.stack([bearing.cos(), bearing.sin()], -1)], -1)
