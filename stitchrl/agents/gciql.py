"""GCIQL: goal-conditioned implicit Q-learning (Kostrikov et al., 2022; as defined by OGBench, Park et al., 2025).

Q(s, a, g) is learned by one-step targets r + discount V(s', g), and V by expectile regression on Q. So no action
outside the data is asked for. The actor follows Q and stays near the data (DDPG+BC; Fujimoto & Gu, 2021), or it is
learned by advantage-weighted regression with A = Q(s, a, g) - V(s, g).

Deviations: GELU is exact, layer norms add 1e-5, and weights are initialised as PyTorch does. With discrete actions,
DDPG+BC follows sum_a pi(a|s, g) Q(s, a, g).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from stitchrl.agents.agent import Agent, check_choice, check_share, goal_mixture
from stitchrl.agents.losses import advantage_weighted, ddpg_bc
from stitchrl.agents.networks import Ensemble, frozen, make_actor, mlp
from stitchrl.types import Batch, LossResult, Needs, Spaces

VALUE_GOALS = {"current": 0.2, "trajectory": 0.5, "random": 0.3, "discount": 0.99}
ACTOR_GOALS = {"current": 0.0, "trajectory": 0.5, "random": 0.5, "discount": None}


class GCIQL(Agent):
    """Goal-conditioned implicit Q-learning. With discrete actions the actor is categorical.

    Args:
        spaces, goal, lr, batch_size: See `Agent`.
        hidden_dims: Widths of each MLP.
        discount: For each step.
        expectile: Of the value regression.
        actor_loss: ddpgbc or awr.
        alpha: Weight of cloning (ddpgbc), or inverse temperature of the advantage weights (awr).
        value_goals, actor_goals: How goals are drawn.
        tau: How far target networks move in an update.
    """

    def __init__(
        self,
        spaces: Spaces,
        hidden_dims: Sequence[int] = (512, 512, 512),
        goal: str = "world",
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
        super().__init__(spaces, goal, lr, batch_size, needs)
        self.discount, self.expectile = check_share("discount", discount), check_share("expectile", expectile)
        self.alpha, self.tau = alpha, check_share("tau", tau)
        self.actor_loss_name = check_choice("actor_loss", actor_loss, ["ddpgbc", "awr"])
        dims = [self.observation_dim + self.goal_dim, *hidden_dims]
        self.value = mlp([*dims, 1], layer_norm=True)
        self.critic = Ensemble([dims[0] + self.action_dim, *hidden_dims, 1])
        self.target_critic = self.make_target("critic")
        self.actor = make_actor("gaussian", dims, spaces.action)

    def loss(self, batch: Batch, rng: Generator) -> LossResult:
        actions = self.encode_actions(batch.actions)
        parts = {
            "value_loss": self.value_loss(batch, actions),
            "critic_loss": self.critic_loss(batch, actions),
            "actor_loss": self.actor_loss(batch, actions),
        }
        return self.total(parts)

    def value_loss(self, batch: Batch, actions: Tensor) -> LossResult:
        """Expectile regression on the smaller of the target critics' values."""
        now = self.inputs(batch.observations, batch.value_goals)
        with torch.no_grad():
            q = self.target_critic(torch.cat([now, actions], -1)).squeeze(-1).amin(0)
        value = self.value(now).squeeze(-1)
        error = q - value
        weight = torch.where(error >= 0, self.expectile, 1 - self.expectile)
        return LossResult((weight * error.square()).mean(), {"mean": value.detach().mean()})

    def critic_loss(self, batch: Batch, actions: Tensor) -> LossResult:
        """The squared error of both critics."""
        now, following = (self.inputs(s, batch.value_goals) for s in (batch.observations, batch.next_observations))
        with torch.no_grad():
            discount = self.discount * (~batch.value_reached).float()
            target = batch.value_reached.float() - 1 + discount * self.value(following).squeeze(-1)
        q = self.critic(torch.cat([now, actions], -1)).squeeze(-1)
        return LossResult((target - q).square().mean(1).sum(), {"mean": q.detach().mean()})

    def actor_loss(self, batch: Batch, actions: Tensor) -> LossResult:
        now = self.inputs(batch.observations, batch.goals)
        output = self.actor(now)
        error = self.actor.explain(output, batch.actions)

        def smaller_q(actions: Tensor) -> Tensor:
            return self.critic(torch.cat([now, actions], -1)).squeeze(-1).amin(0)

        if self.actor_loss_name == "awr":
            with torch.no_grad():
                advantage = smaller_q(actions) - self.value(now).squeeze(-1)
            return advantage_weighted(advantage, self.alpha, error)
        with frozen(self.critic):
            return ddpg_bc(self.actor.expected(output, smaller_q), error, self.alpha)

    def act(self, observation: Tensor, condition: Tensor) -> Tensor:
        return self.actor.act(self.inputs(observation, condition))
