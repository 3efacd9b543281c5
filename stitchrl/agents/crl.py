"""CRL: contrastive reinforcement learning (Eysenbach et al., 2022; as defined by OGBench, Park et al., 2025).

The critic tells, for a state and an action, their own future goal from the other goals of the batch: its inner product
grows with the log-probability of reaching the goal. The actor follows it and stays near the data (DDPG+BC), or is
fitted by advantage-weighted regression, for which a second critic without actions is learned likewise (twins, where
OGBench has one network).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from stitchrl.agents.agent import Agent, check_choice, goal_mixture
from stitchrl.agents.networks import Ensemble, GaussianActor, frozen, negative_log_likelihood
from stitchrl.types import Batch, Needs

VALUE_GOALS = {"current": 0.0, "trajectory": 1.0, "random": 0.0, "discount": 0.99}
ACTOR_GOALS = {"current": 0.0, "trajectory": 0.5, "random": 0.5, "discount": None}


class CRL(Agent):
    """latent_dim: of both encoders. actor_loss: ddpgbc or awr; alpha: weight of cloning, or inverse temperature."""

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (512, 512, 512),
        goal_columns: Sequence[int] = (0, 1),
        latent_dim: int = 512,
        actor_loss: str = "ddpgbc",
        alpha: float = 0.1,
        value_goals: Mapping[str, Any] = VALUE_GOALS,
        actor_goals: Mapping[str, Any] = ACTOR_GOALS,
        lr: float = 3e-4,
        batch_size: int = 1024,
    ):
        needs = Needs(goal_mixture("actor_goals", actor_goals), goal_mixture("value_goals", value_goals))
        super().__init__(observation_dim, goal_columns, lr, batch_size, needs)
        self.alpha = alpha
        self.actor_loss_name = check_choice("actor_loss", actor_loss, ["ddpgbc", "awr"])
        self.critic = Bilinear(observation_dim + action_dim, self.goal_dim, hidden_dims, latent_dim)
        if actor_loss == "awr":
            self.value = Bilinear(observation_dim, self.goal_dim, hidden_dims, latent_dim)
        self.actor = GaussianActor([observation_dim + self.goal_dim, *hidden_dims, action_dim])

    def loss(self, batch: Batch, rng: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        parts = {"critic_loss": self.critic_loss(batch), "actor_loss": self.actor_loss(batch)}
        if self.actor_loss_name == "awr":
            parts["value_loss"] = self.value_loss(batch)
        return self.total(parts)

    def critic_loss(self, batch: Batch) -> Tensor:
        now = torch.cat([self.standardise(batch.observations), batch.actions], -1)
        return contrastive_loss(self.critic.all_pairs(now, self.goal(batch.value_goals)))

    def value_loss(self, batch: Batch) -> Tensor:
        now = self.standardise(batch.observations)
        return contrastive_loss(self.value.all_pairs(now, self.goal(batch.value_goals)))

    def actor_loss(self, batch: Batch) -> Tensor:
        state, goal = self.standardise(batch.observations), self.goal(batch.goals)
        now = torch.cat([state, goal], -1)
        action = self.actor(now)
        cloning = negative_log_likelihood(action, batch.actions)
        if self.actor_loss_name == "awr":
            with torch.no_grad():
                q = self.critic(torch.cat([state, batch.actions], -1), goal).amin(0)
                advantage = q - self.value(state, goal).mean(0)
                weight = (self.alpha * advantage).exp().clamp(max=100)
            return (weight * cloning).mean()
        with frozen(self.critic):
            q = self.critic(torch.cat([state, action.clamp(-1, 1)], -1), goal).amin(0)
        return -q.mean() / (q.detach().abs().mean() + 1e-6) + self.alpha * cloning.mean()

    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        return self.actor(self.inputs(observation, goal)).clamp(-1, 1)


class Bilinear(nn.Module):
    """Ensemble of phi(x) . psi(g) / sqrt(latent_dim)."""

    def __init__(self, input_dim: int, goal_dim: int, hidden_dims: Sequence[int], latent_dim: int):
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


def contrastive_loss(logits: Tensor) -> Tensor:
    """Binary cross-entropy of telling the diagonal of [2, B, B] from the rest, averaged."""
    exact = torch.promote_types(logits.dtype, torch.float32)
    own = logits.diagonal(dim1=-2, dim2=-1)
    return (nn.functional.softplus(logits).sum(dtype=exact) - own.sum(dtype=exact)) / logits.numel()
