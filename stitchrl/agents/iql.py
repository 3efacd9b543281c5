"""IQL: implicit Q-learning (Kostrikov et al., 2022), of the dataset's rewards.

A value is fitted to Q by expectile regression, Q to one-step targets from the value, so that no action outside the data
is asked for; the actor by advantage-weighted regression. It is not told what to reach, and collects what it can.

Other than in the paper, critics have GELU and layer norm, the actor has GELU and a fixed standard deviation (as in
GCIQL), and all losses share an optimiser step. Episodes end by time limits alone, so every step bootstraps.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from stitchrl.agents.agent import Agent, check_share
from stitchrl.agents.networks import Ensemble, GaussianActor, mlp
from stitchrl.types import Batch, GoalMixture, Needs


class IQL(Agent):
    """expectile: of the value regression. beta: inverse temperature of the advantage weights."""

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (256, 256),
        discount: float = 0.99,
        expectile: float = 0.7,
        beta: float = 3.0,
        tau: float = 0.005,
        lr: float = 3e-4,
        batch_size: int = 256,
    ):
        needs = Needs(GoalMixture(current=0, trajectory=1, random=0), rewards=True)
        super().__init__(observation_dim, (), lr, batch_size, needs)
        self.discount, self.expectile = check_share("discount", discount), check_share("expectile", expectile)
        self.beta, self.tau = beta, check_share("tau", tau)
        self.value = mlp([observation_dim, *hidden_dims, 1], layer_norm=True)
        self.critic = Ensemble([observation_dim + action_dim, *hidden_dims, 1])
        self.target_critic = self.make_target("critic")
        self.actor = GaussianActor([observation_dim, *hidden_dims, action_dim])

    def loss(self, batch: Batch, rng: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        state = self.standardise(batch.observations)
        with torch.no_grad():
            q = self.target_critic(torch.cat([state, batch.actions], -1)).squeeze(-1).amin(0)
        advantage = q - self.value(state).squeeze(-1)
        parts = {
            "value_loss": self.value_loss(advantage),
            "critic_loss": self.critic_loss(state, batch),
            "actor_loss": self.actor_loss(state, batch.actions, advantage.detach()),
        }
        return self.total(parts)

    def value_loss(self, advantage: Tensor) -> Tensor:
        weight = torch.where(advantage >= 0, self.expectile, 1 - self.expectile)
        return (weight * advantage.square()).mean()

    def critic_loss(self, state: Tensor, batch: Batch) -> Tensor:
        with torch.no_grad():
            following = self.value(self.standardise(batch.next_observations)).squeeze(-1)
            target = batch.rewards + self.discount * following
        q = self.critic(torch.cat([state, batch.actions], -1)).squeeze(-1)
        return (target - q).square().mean(1).sum()

    def actor_loss(self, state: Tensor, actions: Tensor, advantage: Tensor) -> Tensor:
        weight = (self.beta * advantage).exp().clamp(max=100)
        return (weight * self.actor.loss(state, actions)).mean()

    def act(self, observation: Tensor, condition: Tensor) -> Tensor:
        return self.actor(self.standardise(observation)).clamp(-1, 1)
