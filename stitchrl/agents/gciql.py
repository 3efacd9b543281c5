"""GCIQL: goal-conditioned implicit Q-learning (Kostrikov et al., 2022; as defined by OGBench, Park et al., 2025).

Q(s, a, g) is learned by one-step targets r + discount V(s', g), and V by expectile regression on Q. So no action
outside the data is asked for. The actor follows Q and stays near the data (DDPG+BC; Fujimoto & Gu, 2021), or it is
learned by advantage-weighted regression with A = Q(s, a, g) - V(s, g).

Deviations: GELU is exact, layer norms add 1e-5, and weights are initialised as PyTorch does. With discrete actions,
DDPG+BC follows sum_a pi(a|s, g) Q(s, a, g).
"""

import torch
from torch import Generator, Tensor

from stitchrl.agents.agent import (
    ACTOR_GOALS,
    VALUE_GOALS,
    Agent,
    Goals,
    Widths,
    check_choice,
    check_share,
    goal_mixture,
)
from stitchrl.agents.losses import advantage_weighted, ddpg_bc, expectile_regression, goal_target
from stitchrl.agents.networks import Ensemble, frozen, make_actor, mlp
from stitchrl.types import Batch, LossResult, Needs, Spaces


class GCIQL(Agent):
    """GCIQL with the keywords of `Agent`. With discrete actions the actor is categorical."""

    def __init__(
        self,
        spaces: Spaces,
        hidden_dims: Widths = (512, 512, 512),
        goal: str = "world",
        discount: float = 0.99,
        expectile: float = 0.9,
        actor_loss: str = "ddpgbc",
        alpha: float = 0.3,
        value_goals: Goals = VALUE_GOALS,
        actor_goals: Goals = ACTOR_GOALS,
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
        now, following = (self.inputs(s, batch.value_goals) for s in (batch.observations, batch.next_observations))
        done = torch.cat([now, actions], -1)
        with torch.no_grad():
            q = self.target_critic(done).squeeze(-1).amin(0)
            target = goal_target(self.value(following).squeeze(-1), batch.value_reached, self.discount)
        value, critic = self.value(now).squeeze(-1), self.critic(done).squeeze(-1)
        parts = {
            "value_loss": expectile_regression(value, q, q - value, self.expectile),
            "critic_loss": LossResult((target - critic).square().mean(1).sum(), {"mean": critic.detach().mean()}),
            "actor_loss": self.actor_loss(batch, actions),
        }
        return self.total(parts)

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
