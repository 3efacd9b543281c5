"""HIQL: hierarchical implicit Q-learning (Park et al., 2023; as defined by OGBench, Park et al., 2025).

One value V(s, phi(s, g)), learned as in GCIVL, gives the advantages of two policies. The high policy proposes a subgoal
w, in the representation phi(s, w), with A = V(w, g) - V(s, g). The low policy walks to it, with A = V(s', w) - V(s, w).
Both are learned by advantage-weighted regression.

Deviations: phi has a target copy. GELU is exact, layer norms add 1e-5, and weights are initialised as PyTorch does.
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from stitchrl.agents.agent import ACTOR_GOALS, VALUE_GOALS, Agent, Goals, Widths, check_share, goal_mixture
from stitchrl.agents.losses import advantage_weighted, implicit_value
from stitchrl.agents.networks import Ensemble, GaussianActor, make_actor, mlp
from stitchrl.types import Batch, LossResult, Needs, Spaces


class HIQL(Agent):
    """Hierarchical implicit Q-learning. With discrete actions the low policy is categorical.

    Args:
        low_alpha, high_alpha: Inverse temperatures of the two policies' advantage weights.
        rep_dim: Of the representation phi.
    """

    def __init__(
        self,
        spaces: Spaces,
        hidden_dims: Widths = (512, 512, 512),
        goal: str = "world",
        discount: float = 0.99,
        expectile: float = 0.7,
        low_alpha: float = 3.0,
        high_alpha: float = 3.0,
        subgoal_steps: int = 25,
        rep_dim: int = 10,
        value_goals: Goals = VALUE_GOALS,
        actor_goals: Goals = ACTOR_GOALS,
        tau: float = 0.005,
        lr: float = 3e-4,
        batch_size: int = 1024,
    ):
        mixtures = goal_mixture("actor_goals", actor_goals), goal_mixture("value_goals", value_goals)
        super().__init__(spaces, goal, lr, batch_size, Needs(*mixtures, subgoal_steps=subgoal_steps))
        self.discount, self.expectile = check_share("discount", discount), check_share("expectile", expectile)
        self.tau = check_share("tau", tau)
        self.low_alpha, self.high_alpha = low_alpha, high_alpha
        dims = [self.observation_dim + self.goal_dim, *hidden_dims]
        low_dims = [self.observation_dim + rep_dim, *hidden_dims]
        self.phi = mlp([*dims, rep_dim], layer_norm=True)
        self.value = Ensemble([*low_dims, 1])
        self.target_phi, self.target_value = self.make_target("phi"), self.make_target("value")
        self.low_actor = make_actor("gaussian", low_dims, spaces.action)
        self.high_actor = GaussianActor([*dims, rep_dim])

    def loss(self, batch: Batch, rng: Generator) -> LossResult:
        low, high = self.low_actor_loss(batch), self.high_actor_loss(batch)
        return self.total({"value_loss": self.value_loss(batch), "low_actor_loss": low, "high_actor_loss": high})

    def represent(self, observation: Tensor, goal: Tensor, target: bool = False) -> Tensor:
        """phi(state, goal) [B, rep_dim] at length sqrt(rep_dim)."""
        phi = self.target_phi if target else self.phi
        return unit(phi(self.inputs(observation, goal)))

    def show(self, observation: Tensor, goal: Tensor, target: bool = False) -> Tensor:
        """States and representations of goals: [B, observation_dim + rep_dim]."""
        return torch.cat([self.encoder(observation), self.represent(observation, goal, target)], -1)

    def values(self, observation: Tensor, goal: Tensor, target: bool = False) -> Tensor:
        """Both networks' values [2, B] of states for goals."""
        value = self.target_value if target else self.value
        return value(self.show(observation, goal, target)).squeeze(-1)

    @torch.no_grad()
    def values_of_both(self, first: Tensor, second: Tensor, goal: Tensor, target: bool = False) -> Sequence[Tensor]:
        """Both networks' values [2, B] of the first states and of the second ones, for the same goals: in one call."""
        return self.values(torch.cat([first, second]), torch.cat([goal, goal]), target).chunk(2, 1)

    def value_loss(self, batch: Batch) -> LossResult:
        goals = batch.value_goals
        following, now = self.values_of_both(batch.next_observations, batch.observations, goals, target=True)
        online = self.values(batch.observations, goals)
        return implicit_value(online, following, now, batch.value_reached, self.discount, self.expectile)

    def low_actor_loss(self, batch: Batch) -> LossResult:
        with torch.no_grad():
            shown, next_shown = (self.show(s, batch.low_goals) for s in (batch.observations, batch.next_observations))
            next_value, value = self.value(torch.cat([next_shown, shown])).squeeze(-1).mean(0).chunk(2)
        return advantage_weighted(next_value - value, self.low_alpha, self.low_actor.loss(shown, batch.actions))

    def high_actor_loss(self, batch: Batch) -> LossResult:
        with torch.no_grad():
            later, now = self.values_of_both(batch.subgoals, batch.observations, batch.goals)
            rep = self.represent(batch.observations, batch.subgoals)
        error = self.high_actor.loss(self.inputs(batch.observations, batch.goals), rep)
        return advantage_weighted((later - now).mean(0), self.high_alpha, error)

    def act(self, observation: Tensor, condition: Tensor) -> Tensor:
        subgoal = unit(self.high_actor(self.inputs(observation, condition)))
        return self.low_actor.act(torch.cat([self.encoder(observation), subgoal], -1))


def unit(rep: Tensor) -> Tensor:
    """Vectors [..., dim] stretched to length sqrt(dim)."""
    return rep / rep.norm(dim=-1, keepdim=True).clamp(min=1e-8) * math.sqrt(rep.shape[-1])
