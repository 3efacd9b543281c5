"""QRL: quasimetric reinforcement learning (Wang et al., 2023; as defined by OGBench, Park et al., 2025).

A quasimetric pushes states and random goals apart, while each step of the data may be at most 1 long: what remains is
the number of steps of the shortest way. The actor follows it through a model of the latent dynamics and stays near the
data (DDPG+BC), or is fitted by advantage-weighted regression. Goals are whole observations: the quasimetric needs one
space for both.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from stitchrl.agents.agent import Agent, check_choice, goal_mixture
from stitchrl.agents.networks import GaussianActor, frozen, mlp, negative_log_likelihood
from stitchrl.types import Batch, Needs

VALUE_GOALS = {"current": 0.0, "trajectory": 0.0, "random": 1.0, "discount": None}
ACTOR_GOALS = {"current": 0.0, "trajectory": 0.5, "random": 0.5, "discount": None}
COMPONENT_DIM = 8  # latent dimensions in a component of the quasimetric


class QRL(Agent):
    """latent_dim: of the quasimetric's space, in components of 8. eps: how far steps may be longer than 1, squared.

    actor_loss: ddpgbc or awr; alpha: weight of cloning, or inverse temperature. goal_columns: null for all.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (512, 512, 512),
        goal_columns: Sequence[int] | None = None,
        latent_dim: int = 512,
        eps: float = 0.05,
        actor_loss: str = "ddpgbc",
        alpha: float = 0.003,
        value_goals: Mapping[str, Any] = VALUE_GOALS,
        actor_goals: Mapping[str, Any] = ACTOR_GOALS,
        lr: float = 3e-4,
        batch_size: int = 1024,
    ):
        if goal_columns not in (None, columns := list(range(observation_dim))):
            raise ValueError(f"agent.goal_columns: {goal_columns} given; qrl compares whole observations, use null")
        if latent_dim % COMPONENT_DIM:
            raise ValueError(f"agent.latent_dim: {latent_dim} given, a multiple of {COMPONENT_DIM} expected")
        needs = Needs(goal_mixture("actor_goals", actor_goals), goal_mixture("value_goals", value_goals))
        super().__init__(observation_dim, columns, lr, batch_size, needs)
        self.eps, self.alpha = eps, alpha
        self.actor_loss_name = check_choice("actor_loss", actor_loss, ["ddpgbc", "awr"])
        self.encoder = mlp([observation_dim, *hidden_dims, latent_dim], layer_norm=True)
        self.distance = IQE()
        self.log_multiplier = nn.Parameter(torch.zeros(()))  # of the constraint on steps; its exponential is the dual
        if actor_loss == "ddpgbc":
            self.dynamics = mlp([latent_dim + action_dim, *hidden_dims, latent_dim], layer_norm=True)
        self.actor = GaussianActor([2 * observation_dim, *hidden_dims, action_dim])

    def loss(self, batch: Batch, rng: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        state, following = self.encode(batch.observations), self.encode(batch.next_observations)
        parts = {
            "value_loss": self.value_loss(state, following, self.encode(batch.value_goals)),
            "actor_loss": self.actor_loss(batch, state.detach(), following.detach()),
        }
        if self.actor_loss_name == "ddpgbc":
            parts["dynamics_loss"] = self.dynamics_loss(state, batch.actions, following)
        return self.total(parts)

    def encode(self, observation: Tensor) -> Tensor:
        """The latent state [B, latent_dim] of whole observations."""
        return self.encoder(self.standardise(observation))

    def value_loss(self, state: Tensor, following: Tensor, goal: Tensor) -> Tensor:
        apart = 100 * nn.functional.softplus(5 - self.distance(state, goal) / 100).mean()
        step = (self.distance(state, following) - 1).relu().square().mean()
        multiplier = self.log_multiplier.exp()
        return apart + multiplier.detach() * step + multiplier * (self.eps - step.detach())

    def dynamics_loss(self, state: Tensor, action: Tensor, following: Tensor) -> Tensor:
        predicted = self.predict(state, action)
        return (self.distance(following, predicted) + self.distance(predicted, following)).mean() / 2

    def predict(self, latent: Tensor, action: Tensor) -> Tensor:
        """The latent state [B, latent_dim] after an action."""
        return latent + self.dynamics(torch.cat([latent, action], -1))

    def actor_loss(self, batch: Batch, state: Tensor, following: Tensor) -> Tensor:
        action = self.actor(self.inputs(batch.observations, batch.goals))
        cloning = negative_log_likelihood(action, batch.actions)
        with torch.no_grad():
            goal = self.encode(batch.goals)
        if self.actor_loss_name == "awr":
            with torch.no_grad():
                advantage = self.distance(state, goal) - self.distance(following, goal)
                weight = (self.alpha * advantage).exp().clamp(max=100)
            return (weight * cloning).mean()
        with frozen(self.dynamics, self.distance):
            q = -self.distance(self.predict(state, action.clamp(-1, 1)), goal)
        return -q.mean() / (q.detach().abs().mean() + 1e-6) + self.alpha * cloning.mean()

    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        return self.actor(self.inputs(observation, goal)).clamp(-1, 1)


class IQE(nn.Module):
    """Interval quasimetric embedding (Wang & Isola, 2022): components of 8 latent dimensions, mean and maximum mixed.

    A component's distance from x to y is the length of the union of the intervals [x_i, max(x_i, y_i)].
    """

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(()))  # its sigmoid is the weight of the mean

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances [B] from x to y [B, latent_dim]."""
        x, y = (z.unflatten(-1, (-1, COMPONENT_DIM)) for z in (x, y))
        length = UnionLength.apply(x, y)
        weight = self.mix.sigmoid()
        return weight * length.mean(-1) + (1 - weight) * length.amax(-1)


class UnionLength(torch.autograd.Function):
    """The length [...] of the union of intervals [x_i, max(x_i, y_i)] with ends x, y [..., intervals].

    It is the sum of the ends of the union's pieces minus the sum of their beginnings, so its derivatives are 1, 0 and
    -1: written down here, since automatic differentiation of a sort and a running maximum costs more than all the rest.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        low, order = x.sort(-1)
        high = torch.maximum(x, y).gather(-1, order)
        reach, furthest = high.cummax(-1)
        begins = torch.ones_like(low)
        begins[..., 1:] = low[..., 1:] > reach[..., :-1]
        ends = begins.roll(-1, -1)  # where the next one begins; the last one ends too, as the first one begins
        d_low = torch.zeros_like(x).scatter_(-1, order, begins)
        d_high = torch.zeros_like(x).scatter_add_(-1, order.gather(-1, furthest), ends)
        d_y = d_high * (y > x)  # a product: torch.where is ten times slower where its condition is irregular
        ctx.save_for_backward(d_high - d_y - d_low, d_y)
        return (reach * ends - low * begins).sum(-1)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, Tensor]:
        d_x, d_y = ctx.saved_tensors
        return gradient[0][..., None] * d_x, gradient[0][..., None] * d_y
