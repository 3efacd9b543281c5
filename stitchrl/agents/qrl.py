"""QRL: quasimetric reinforcement learning (Wang et al., 2023; as defined by OGBench, Park et al., 2025).

A quasimetric d(phi(s), phi(g)) pushes states and random goals apart, while each step of the data may be at most 1 long.
What remains is the number of steps of the shortest way. The constraint has a learned multiplier (the dual). The actor
follows -d(phi(s) + f(phi(s), a), phi(g)) through a model f of the latent dynamics and stays near the data (DDPG+BC), or
it is learned by advantage-weighted regression with A = d(phi(s), phi(g)) - d(phi(s'), phi(g)).

Deviations: GELU is exact, layer norms add 1e-5, and weights are initialised as PyTorch does. With discrete actions, f
is shown one-hot vectors, and DDPG+BC follows the mean over pi(a|s, g).
"""

from typing import Any

import torch
from torch import Generator, Tensor, nn

from stitchrl.agents.agent import ACTOR_GOALS, Agent, Goals, Widths, check_choice, goal_mixture
from stitchrl.agents.losses import advantage_weighted, ddpg_bc
from stitchrl.agents.networks import frozen, make_actor, mlp
from stitchrl.types import Batch, LossResult, Needs, Spaces

VALUE_GOALS = {"current": 0.0, "trajectory": 0.0, "random": 1.0, "discount": None}
COMPONENT_DIM = 8  # latent dimensions in a component of the quasimetric


class QRL(Agent):
    """Quasimetric reinforcement learning. With discrete actions the actor is categorical.

    It is always shown the whole goal observation: the quasimetric needs one space for states and goals.

    Args:
        latent_dim: Of the quasimetric's space, a multiple of 8.
        eps: How far steps may be longer than 1, squared.
    """

    def __init__(
        self,
        spaces: Spaces,
        hidden_dims: Widths = (512, 512, 512),
        latent_dim: int = 512,
        eps: float = 0.05,
        actor_loss: str = "ddpgbc",
        alpha: float = 0.003,
        value_goals: Goals = VALUE_GOALS,
        actor_goals: Goals = ACTOR_GOALS,
        lr: float = 3e-4,
        batch_size: int = 1024,
    ):
        if latent_dim % COMPONENT_DIM:
            raise ValueError(f"agent.latent_dim: {latent_dim} given, a multiple of {COMPONENT_DIM} expected")
        needs = Needs(goal_mixture("actor_goals", actor_goals), goal_mixture("value_goals", value_goals))
        super().__init__(spaces, "observation", lr, batch_size, needs)
        self.eps, self.alpha = eps, alpha
        self.actor_loss_name = check_choice("actor_loss", actor_loss, ["ddpgbc", "awr"])
        self.phi = mlp([self.observation_dim, *hidden_dims, latent_dim], layer_norm=True)
        self.distance = IQE()
        self.log_multiplier = nn.Parameter(torch.zeros(()))  # of the constraint on steps; its exponential is the dual
        if actor_loss == "ddpgbc":
            self.dynamics = mlp([latent_dim + self.action_dim, *hidden_dims, latent_dim], layer_norm=True)
        self.actor = make_actor("gaussian", [2 * self.observation_dim, *hidden_dims], spaces.action)

    def loss(self, batch: Batch, rng: Generator) -> LossResult:
        state, following = self.embed(batch.observations), self.embed(batch.next_observations)
        parts: dict[str, Tensor | LossResult] = {
            "value_loss": self.value_loss(state, following, self.embed(batch.value_goals)),
            "actor_loss": self.actor_loss(batch, state.detach(), following.detach()),
        }
        if self.actor_loss_name == "ddpgbc":
            predicted = self.predict(state, self.encode_actions(batch.actions))
            both_ways = self.distance(following, predicted) + self.distance(predicted, following)
            parts["dynamics_loss"] = both_ways.mean() / 2
        return self.total(parts)

    def embed(self, observation: Tensor) -> Tensor:
        """phi [B, latent_dim] of whole observations."""
        return self.phi(self.encoder(observation))

    def value_loss(self, state: Tensor, following: Tensor, goal: Tensor) -> LossResult:
        """Random goals pushed apart, and the constraint on steps with its multiplier."""
        distance = self.distance(state, goal)
        apart = 100 * nn.functional.softplus(5 - distance / 100).mean()
        step = (self.distance(state, following) - 1).relu().square().mean()
        multiplier = self.log_multiplier.exp()
        loss = apart + multiplier.detach() * step + multiplier * (self.eps - step.detach())
        info = {"distance_mean": distance.mean(), "step_excess": step, "multiplier": multiplier}
        return LossResult(loss, {key: value.detach() for key, value in info.items()})

    def predict(self, latent: Tensor, action: Tensor) -> Tensor:
        """The latent state [B, latent_dim] after an action [B, action_dim]."""
        return latent + self.dynamics(torch.cat([latent, action], -1))

    def actor_loss(self, batch: Batch, state: Tensor, following: Tensor) -> LossResult:
        output = self.actor(self.inputs(batch.observations, batch.goals))
        error = self.actor.explain(output, batch.actions)
        with torch.no_grad():
            goal = self.embed(batch.goals)
        if self.actor_loss_name == "awr":
            with torch.no_grad():
                advantage = self.distance(state, goal) - self.distance(following, goal)
            return advantage_weighted(advantage, self.alpha, error)
        with frozen(self.dynamics, self.distance):
            q = self.actor.expected(output, lambda action: -self.distance(self.predict(state, action), goal))
            return ddpg_bc(q, error, self.alpha)


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
    -1. They are written down, since automatic differentiation of a sort and a running maximum costs more than the rest.
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
