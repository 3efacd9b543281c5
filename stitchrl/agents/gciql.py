"""GCIQL: goal-conditioned implicit Q-learning (Kostrikov et al., 2022; as defined by OGBench, Park et al., 2025).

A Q function is learned by one-step targets from a value, and the value by expectile regression on Q, so that no action
outside the data is asked for. The actor follows Q and stays near the data (DDPG+BC; Fujimoto & Gu, 2021), or is fitted
by advantage-weighted regression.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from stitchrl.agents.agent import Agent, check_choice, check_share, goal_mixture
from stitchrl.agents.networks import Ensemble, GaussianActor, frozen, mlp, negative_log_likelihood
from stitchrl.types import Batch, Needs

VALUE_GOALS = {"current": 0.2, "trajectory": 0.5, "random": 0.3, "discount": 0.99}
ACTOR_GOALS = {"current": 0.0, "trajectory": 0.5, "random": 0.5, "discount": None}


class GCIQL(Agent):
    """expectile: of the value regression.

    actor_loss: ddpgbc or awr; alpha: weight of cloning, or inverse temperature.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (512, 512, 512),
        goal_columns: Sequence[int] = (0, 1),
        discount: float = 0.99,
        expectile: float = 0.9,
        actor_loss: str = "ddpgbc",
        alpha: float = 0.3,
        value_goals: Mapping[str, Any] = VALUE_GOALS,
        actor_goals: Mapping[str, Any] = ACTOR_GOALS,
        tau: float = 0.005,
        lr: float = 3e-4,
        batch_size: int = 1024,
    ):
        needs = Needs(goal_mixture("actor_goals", actor_goals), goal_mixture("value_goals", value_goals))
        super().__init__(observation_dim, goal_columns, lr, batch_size, needs)
        self.discount, self.expectile = check_share("discount", discount), check_share("expectile", expectile)
        self.alpha, self.tau = alpha, check_share("tau", tau)
        self.actor_loss_name = check_choice("actor_loss", actor_loss, ["ddpgbc", "awr"])
        dims = [observation_dim + self.goal_dim, *hidden_dims]
        self.value = mlp([*dims, 1], layer_norm=True)
        self.critic = Ensemble([dims[0] + action_dim, *hidden_dims, 1])
        self.target_critic = self.make_target("critic")
        self.actor = GaussianActor([*dims, action_dim])

    def loss(self, batch: Batch, rng: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        parts = {
            "value_loss": self.value_loss(batch),
            "critic_loss": self.critic_loss(batch),
            "actor_loss": self.actor_loss(batch),
        }
        return self.total(parts)

    def value_loss(self, batch: Batch) -> Tensor:
        now = self.inputs(batch.observations, batch.value_goals)
        with torch.no_grad():
            q = self.target_critic(torch.cat([now, batch.actions], -1)).squeeze(-1).amin(0)
        error = q - self.value(now).squeeze(-1)
        return (torch.where(error >= 0, self.expectile, 1 - self.expectile) * error.square()).mean()

    def critic_loss(self, batch: Batch) -> Tensor:
        now, following = (self.inputs(s, batch.value_goals) for s in (batch.observations, batch.next_observations))
        with torch.no_grad():
            discount = self.discount * (~batch.value_reached).float()
            target = batch.value_reached.float() - 1 + discount * self.value(following).squeeze(-1)
        q = self.critic(torch.cat([now, batch.actions], -1)).squeeze(-1)
        return (target - q).square().mean(1).sum()

    def actor_loss(self, batch: Batch) -> Tensor:
        now = self.inputs(batch.observations, batch.goals)
        action = self.actor(now)
        cloning = negative_log_likelihood(action, batch.actions)
        if self.actor_loss_name == "awr":
            with torch.no_grad():
                q = self.critic(torch.cat([now, batch.actions], -1)).squeeze(-1).amin(0)
                weight = (self.alpha * (q - self.value(now).squeeze(-1))).exp().clamp(max=100)
            return (weight * cloning).mean()
        with frozen(self.critic):
            q = self.critic(torch.cat([now, action.clamp(-1, 1)], -1)).squeeze(-1).amin(0)
        return -q.mean() / (q.detach().abs().mean() + 1e-6) + self.alpha * cloning.mean()

    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        return self.actor(self.inputs(observation, goal)).clamp(-1, 1)
