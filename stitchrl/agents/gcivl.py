"""GCIVL: goal-conditioned implicit value learning (Kostrikov et al., 2022; as defined by OGBench, Park et al., 2025).

A value of (state, goal) is learned by expectile regression on one-step targets, and the actor by advantage-weighted
regression. Reward is 0 at the goal and -1 elsewhere; reaching the goal ends the return.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from stitchrl.agents.agent import Agent, check_share, goal_mixture
from stitchrl.agents.networks import Ensemble, GaussianActor
from stitchrl.types import Batch, Needs

VALUE_GOALS = {"current": 0.2, "trajectory": 0.5, "random": 0.3, "discount": 0.99}
ACTOR_GOALS = {"current": 0.0, "trajectory": 0.5, "random": 0.5, "discount": None}


class GCIVL(Agent):
    """expectile: of the value regression. alpha: inverse temperature of the advantage weights."""

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (512, 512, 512),
        goal_columns: Sequence[int] = (0, 1),
        discount: float = 0.99,
        expectile: float = 0.9,
        alpha: float = 10.0,
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
        dims = [observation_dim + self.goal_dim, *hidden_dims]
        self.value = Ensemble([*dims, 1])
        self.target_value = self.make_target("value")
        self.actor = GaussianActor([*dims, action_dim])

    def loss(self, batch: Batch, rng: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        parts = {"value_loss": self.value_loss(batch), "actor_loss": self.actor_loss(batch)}
        return self.total(parts)

    def value_loss(self, batch: Batch) -> Tensor:
        now, following = (self.inputs(s, batch.value_goals) for s in (batch.observations, batch.next_observations))
        reward = batch.value_reached.float() - 1
        discount = self.discount * (~batch.value_reached).float()
        with torch.no_grad():
            next_value, value = self.target_value(torch.cat([following, now])).squeeze(-1).chunk(2, 1)
            advantage = reward + discount * next_value.amin(0) - value.mean(0)
            target = reward + discount * next_value  # each of the twins has its own
        weight = torch.where(advantage >= 0, self.expectile, 1 - self.expectile)
        return (weight * (target - self.value(now).squeeze(-1)).square()).mean(1).sum()

    def actor_loss(self, batch: Batch) -> Tensor:
        now, following = (self.inputs(s, batch.goals) for s in (batch.observations, batch.next_observations))
        with torch.no_grad():
            next_value, value = self.value(torch.cat([following, now])).squeeze(-1).mean(0).chunk(2)
            weight = (self.alpha * (next_value - value)).exp().clamp(max=100)
        return (weight * self.actor.loss(now, batch.actions)).mean()

    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        return self.actor(self.inputs(observation, goal)).clamp(-1, 1)
