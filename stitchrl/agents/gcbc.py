"""GCBC: conditioned behavioural cloning, as RvS (Emmons et al., 2022) in the stitching paper's setting.

Minimises the mean of -log pi(a | s, g) over transitions (s, a) and conditions g: a goal that is reached later (RvS-G),
or a return that is collected from there on (RvS-R). A deterministic actor has the squared error in its place.

Deviations: inputs are standardised.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from stitchrl.agents.agent import FUTURE, Agent, Goals, Widths, check_choice, check_columns, goal_mixture
from stitchrl.agents.encoders import Standardise
from stitchrl.agents.networks import ACTORS, make_actor
from stitchrl.types import Batch, LossResult, Needs, Spaces

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


class GCBC(Agent):
    """Conditioned behavioural cloning. With discrete actions the actor is categorical.

    Args:
        activation: relu or gelu.
        actor: deterministic (squared error), gaussian or mixture (likelihood).
        orientation: Columns of a quaternion (w, x, y, z) that says how the body stands. With it the network is shown
            where the goal lies from the body: its offset, and its direction from where the body faces. None: where the
            goal lies in the world.
        hidden_columns: Of the observation, which the network is not shown. Without its velocity, a body's momentum does
            not tell where it was going.
    """

    def __init__(
        self,
        spaces: Spaces,
        hidden_dims: Widths = (1024, 1024),
        activation: str = "relu",
        actor: str = "deterministic",
        goal: str = "world",
        orientation: Sequence[int] | None = None,
        hidden_columns: Sequence[int] = (),
        actor_goals: Goals = FUTURE,
        lr: float = 1e-3,
        grad_clip: float | None = 0.25,
        batch_size: int = 256,
    ):
        needs = Needs(actor_goals=goal_mixture("actor_goals", actor_goals))
        super().__init__(spaces, goal, lr, batch_size, needs, grad_clip)
        for name, columns in (("orientation", orientation), ("hidden_columns", hidden_columns)):
            if columns and not isinstance(self.encoder, Standardise):
                raise ValueError(f"agent.{name}: {list(columns)} given, but observations are whole numbers")
        if orientation is not None and (not self.of_columns or self.goal_dim < 2):
            raise ValueError(f"agent.orientation: {list(orientation)} given; the condition lies nowhere, use null")
        self.orientation = orientation and check_columns("orientation", orientation, self.observation_dim)
        hidden = check_columns("hidden_columns", hidden_columns, self.observation_dim)
        everything = range(self.observation_dim)
        self.shown = [column for column in everything if column not in hidden] if hidden else slice(None)
        check_choice("actor", actor, list(ACTORS))
        check_choice("activation", activation, list(ACTIVATIONS))
        there = self.goal_dim if orientation is None else self.goal_dim + 2
        dims = [self.observation_dim - len(set(hidden)) + there, *hidden_dims]
        self.actor = make_actor(actor, dims, spaces.action, ACTIVATIONS[activation])

    def loss(self, batch: Batch, rng: Generator) -> LossResult:
        return self.total({"actor_loss": self.actor_loss(batch)})

    def actor_loss(self, batch: Batch) -> Tensor:
        return self.actor.loss(self.inputs(batch.observations, batch.goals), batch.actions).mean()

    def inputs(self, observation: Tensor, condition: Tensor) -> Tensor:
        """What the network is shown: [B, shown columns + goal_dim], and two more with `orientation`."""
        there = self.goal(condition) if self.orientation is None else self.from_body(observation, condition)
        return torch.cat([self.encoder(observation)[..., self.shown], there], -1)

    def from_body(self, observation: Tensor, goal: Tensor) -> Tensor:
        """The goal's offset in half standard deviations, cosine and sine of its direction from the body's."""
        observation, goal = self.encoder.flatten(observation), self.encoder.flatten(goal)
        offset = (goal - observation).index_select(-1, self.goal_index)
        w, x, y, z = observation[:, self.orientation].unbind(-1)
        heading = torch.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        bearing = torch.atan2(offset[:, 1], offset[:, 0]) - heading
        half_unit = self.encoder.unit[self.goal_index] / 2
        return torch.cat([offset / half_unit, torch.stack([bearing.cos(), bearing.sin()], -1)], -1)
