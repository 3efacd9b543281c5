"""CRL: contrastive reinforcement learning (Eysenbach et al., 2022; as defined by OGBench, Park et al., 2025).

The critic f(s, a, g) = phi(s, a) . psi(g) / sqrt(latent_dim) tells a transition's own future goal from the other goals
of the batch, by binary cross-entropy. So f grows with the log-probability of reaching the goal. The actor follows f and
stays near the data (DDPG+BC), or it is learned by advantage-weighted regression. For that a second critic without
actions, f(s, g), is learned likewise, and A = f(s, a, g) - f(s, g).

Deviations: the second critic is two networks, where OGBench has one. GELU is exact, layer norms add 1e-5, and weights
are initialised as PyTorch does. With discrete actions, DDPG+BC follows sum_a pi(a|s, g) f(s, a, g).
"""

import math

import torch
from torch import Generator, Tensor, nn

from stitchrl.agents.agent import ACTOR_GOALS, Agent, Goals, Widths, check_choice, goal_mixture
from stitchrl.agents.losses import advantage_weighted, ddpg_bc
from stitchrl.agents.networks import Ensemble, frozen, make_actor
from stitchrl.types import Batch, LossResult, Needs, Spaces

VALUE_GOALS = {"current": 0.0, "trajectory": 1.0, "random": 0.0, "discount": 0.99}


class CRL(Agent):
    """Contrastive reinforcement learning. With discrete actions the actor is categorical.

    Args:
        goal: world or observation, as for `Agent`.
        latent_dim: Of phi and psi.
    """

    def __init__(
        self,
        spaces: Spaces,
        hidden_dims: Widths = (512, 512, 512),
        goal: str = "world",
        latent_dim: int = 512,
        actor_loss: str = "ddpgbc",
        alpha: float = 0.1,
        value_goals: Goals = VALUE_GOALS,
        actor_goals: Goals = ACTOR_GOALS,
        lr: float = 3e-4,
        batch_size: int = 1024,
    ):
        check_choice("goal", goal, ["world", "observation"])
        needs = Needs(goal_mixture("actor_goals", actor_goals), goal_mixture("value_goals", value_goals))
        super().__init__(spaces, goal, lr, batch_size, needs)
        self.alpha = alpha
        self.actor_loss_name = check_choice("actor_loss", actor_loss, ["ddpgbc", "awr"])
        self.critic = Bilinear(self.observation_dim + self.action_dim, self.goal_dim, hidden_dims, latent_dim)
        if actor_loss == "awr":
            self.value = Bilinear(self.observation_dim, self.goal_dim, hidden_dims, latent_dim)
        self.actor = make_actor("gaussian", [self.observation_dim + self.goal_dim, *hidden_dims], spaces.action)

    def loss(self, batch: Batch, rng: Generator) -> LossResult:
        state, actions = self.encoder(batch.observations), self.encode_actions(batch.actions)
        value_goals = self.goal(batch.value_goals)
        critic = contrastive_loss(self.critic.all_pairs(torch.cat([state, actions], -1), value_goals))
        parts = {"critic_loss": critic, "actor_loss": self.actor_loss(batch, state, actions)}
        if self.actor_loss_name == "awr":
            parts["value_loss"] = contrastive_loss(self.value.all_pairs(state, value_goals))
        return self.total(parts)

    def actor_loss(self, batch: Batch, state: Tensor, actions: Tensor) -> LossResult:
        goal = self.goal(batch.goals)
        output = self.actor(torch.cat([state, goal], -1))
        error = self.actor.explain(output, batch.actions)

        def smaller_q(actions: Tensor) -> Tensor:
            return self.critic(torch.cat([state, actions], -1), goal).amin(0)

        if self.actor_loss_name == "awr":
            with torch.no_grad():
                advantage = smaller_q(actions) - self.value(state, goal).mean(0)
            return advantage_weighted(advantage, self.alpha, error)
        with frozen(self.critic):
            return ddpg_bc(self.actor.expected(output, smaller_q), error, self.alpha)


class Bilinear(nn.Module):
    """Ensemble of phi(x) . psi(g) / sqrt(latent_dim)."""

    def __init__(self, input_dim: int, goal_dim: int, hidden_dims: Widths, latent_dim: int):
        super().__init__()
        self.phi = Ensemble([input_dim, *hidden_dims, latent_dim], exact=False)
        self.psi = Ensemble([goal_dim, *hidden_dims, latent_dim], exact=False)
        self.scale = 1 / math.sqrt(latent_dim)

    def forward(self, x: Tensor, goal: Tensor) -> Tensor:
        """Each row of x [B, input_dim] with its own goal [B, goal_dim]: [2, B]."""
        return (self.phi(x).to(x.dtype) * self.psi(goal)).sum(-1) * self.scale

    def all_pairs(self, x: Tensor, goal: Tensor) -> Tensor:
        """Each row of x with each goal: [2, B, B]."""
        return self.phi(x) @ self.psi(goal).mT * self.scale


def contrastive_loss(logits: Tensor) -> LossResult:
    """Binary cross-entropy of telling the diagonal of [2, B, B] from the rest, averaged."""
    exact = torch.promote_types(logits.dtype, torch.float32)
    own = logits.diagonal(dim1=-2, dim2=-1)
    own_sum = own.sum(dtype=exact)
    loss = (nn.functional.softplus(logits).sum(dtype=exact) - own_sum) / logits.numel()
    return LossResult(loss, {"own_logit_mean": own_sum.detach() / own.numel()})
