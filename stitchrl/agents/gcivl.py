"""GCIVL: goal-conditioned implicit value learning (Kostrikov et al., 2022; as defined by OGBench, Park et al., 2025).

The reward is 0 at the goal and -1 elsewhere. Reaching the goal ends the return. The value V(s, g) is learned by
expectile regression on one-step targets r + discount V(s', g). The actor is learned by advantage-weighted regression
with A = V(s', g) - V(s, g).

Deviations: GELU is exact, layer norms add 1e-5, and weights are initialised as PyTorch does.
"""

import torch
from torch import Generator

from stitchrl.agents.agent import ACTOR_GOALS, VALUE_GOALS, Agent, Goals, Widths, check_share, goal_mixture
from stitchrl.agents.losses import advantage_weighted, implicit_value
from stitchrl.agents.networks import Ensemble, make_actor
from stitchrl.types import Batch, LossResult, Needs, Spaces


class GCIVL(Agent):
    """GCIVL with the keywords of `Agent`; `alpha` is as in awr. With discrete actions the actor is categorical."""

    def __init__(
        self,
        spaces: Spaces,
        hidden_dims: Widths = (512, 512, 512),
        goal: str = "world",
        discount: float = 0.99,
        expectile: float = 0.9,
        alpha: float = 10.0,
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
        dims = [self.observation_dim + self.goal_dim, *hidden_dims]
        self.value = Ensemble([*dims, 1])
        self.target_value = self.make_target("value")
        self.actor = make_actor("gaussian", dims, spaces.action)

    def loss(self, batch: Batch, rng: Generator) -> LossResult:
        return self.total({"value_loss": self.value_loss(batch), "actor_loss": self.actor_loss(batch)})

    def value_loss(self, batch: Batch) -> LossResult:
        now, following = (self.inputs(s, batch.value_goals) for s in (batch.observations, batch.next_observations))
        with torch.no_grad():
            next_value, value = self.target_value(torch.cat([following, now])).squeeze(-1).chunk(2, 1)
        online = self.value(now).squeeze(-1)
        return implicit_value(online, next_value, value, batch.value_reached, self.discount, self.expectile)

    def actor_loss(self, batch: Batch) -> LossResult:
        now, following = (self.inputs(s, batch.goals) for s in (batch.observations, batch.next_observations))
        with torch.no_grad():
            next_value, value = self.value(torch.cat([following, now])).squeeze(-1).mean(0).chunk(2)
        return advantage_weighted(next_value - value, self.alpha, self.actor.loss(now, batch.actions))
