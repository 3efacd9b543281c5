"""IQL: implicit Q-learning (Kostrikov et al., 2022), of the dataset's rewards.

V(s) is fitted to Q(s, a) by expectile regression, and Q to one-step targets r + discount V(s'). So no action outside
the data is asked for. The actor is learned by advantage-weighted regression with A = Q(s, a) - V(s). It is not told
what to reach, and collects what it can.

Deviations: critics have GELU and layer norm. The actor has GELU and a fixed standard deviation (as in GCIQL). All
losses share an optimiser step. Episodes end by time limits alone, so every step bootstraps.
"""

import torch
from torch import Generator, Tensor

from stitchrl.agents.agent import Agent, Widths, check_share
from stitchrl.agents.losses import advantage_weighted, expectile_regression
from stitchrl.agents.networks import Ensemble, make_actor, mlp
from stitchrl.types import Batch, GoalMixture, LossResult, Needs, Spaces


class IQL(Agent):
    """Implicit Q-learning. With discrete actions the actor is categorical.

    Args:
        beta: Inverse temperature of the advantage weights.
    """

    def __init__(
        self,
        spaces: Spaces,
        hidden_dims: Widths = (256, 256),
        discount: float = 0.99,
        expectile: float = 0.7,
        beta: float = 3.0,
        tau: float = 0.005,
        lr: float = 3e-4,
        batch_size: int = 256,
    ):
        needs = Needs(GoalMixture(current=0, trajectory=1, random=0), rewards=True)
        super().__init__(spaces, "nothing", lr, batch_size, needs)
        self.discount, self.expectile = check_share("discount", discount), check_share("expectile", expectile)
        self.beta, self.tau = beta, check_share("tau", tau)
        dims = [self.observation_dim, *hidden_dims]
        self.value = mlp([*dims, 1], layer_norm=True)
        self.critic = Ensemble([dims[0] + self.action_dim, *hidden_dims, 1])
        self.target_critic = self.make_target("critic")
        self.actor = make_actor("gaussian", dims, spaces.action)

    def loss(self, batch: Batch, rng: Generator) -> LossResult:
        state, actions = self.encoder(batch.observations), self.encode_actions(batch.actions)
        with torch.no_grad():
            q = self.target_critic(torch.cat([state, actions], -1)).squeeze(-1).amin(0)
            target = batch.rewards + self.discount * self.value(self.encoder(batch.next_observations)).squeeze(-1)
        value, critic = self.value(state).squeeze(-1), self.critic(torch.cat([state, actions], -1)).squeeze(-1)
        advantage = q - value
        parts = {
            "value_loss": expectile_regression(value, q, advantage, self.expectile),
            "critic_loss": LossResult((target - critic).square().mean(1).sum(), {"mean": critic.detach().mean()}),
            "actor_loss": advantage_weighted(advantage, self.beta, self.actor.loss(state, batch.actions)),
        }
        return self.total(parts)

    def act(self, observation: Tensor, condition: Tensor) -> Tensor:
        return self.actor.act(self.encoder(observation))
