"""Losses that several agents share, and what they log."""

import torch
from torch import Tensor

from stitchrl.types import LossResult

LARGEST_WEIGHT = 100.0


def goal_target(following: Tensor, reached: Tensor, discount: float) -> Tensor:
    """r + discount V(s', g) [..., B] of V(s', g) [..., B]. The goal ends the return: r is 0 there and -1 elsewhere."""
    return reached.float() - 1 + discount * (~reached).float() * following


def expectile_regression(value: Tensor, target: Tensor, advantage: Tensor, expectile: float) -> LossResult:
    """The squared error of values on targets [B], or [2, B] of two networks, whose errors are added.

    It weighs `expectile` where the advantage [B] is not negative, and 1 - `expectile` elsewhere.
    """
    weight = torch.where(advantage >= 0, expectile, 1 - expectile)
    return LossResult((weight * (target - value).square()).mean(-1).sum(), {"mean": value.detach().mean()})


def implicit_value(
    online: Tensor, following: Tensor, now: Tensor, reached: Tensor, discount: float, expectile: float
) -> LossResult:
    """Expectile regression of two networks. Each has a target of its own, and they share an advantage.

    Args:
        online: [2, B] V(s, g) of the networks.
        following, now: [2, B] V(s', g) and V(s, g) of the target networks.
        reached: [B] whether s is at g.
    """
    advantage = goal_target(following.amin(0), reached, discount) - now.mean(0)
    return expectile_regression(online, goal_target(following, reached, discount), advantage, expectile)


def advantage_weighted(advantage: Tensor, alpha: float, error: Tensor) -> LossResult:
    """Advantage-weighted regression: the mean of min(exp(alpha A), 100) times the error (AWR; Peng et al., 2019).

    No gradient flows into the advantage [B] of the cloned actions. error: [B] how badly the actor explains them.
    """
    advantage = advantage.detach()
    weight = (alpha * advantage).exp().clamp(max=LARGEST_WEIGHT)
    std, mean = torch.std_mean(advantage, correction=0)
    info = {
        "advantage_mean": mean,
        "advantage_std": std,
        "weight_mean": weight.mean(),
        "weight_clipped": (weight >= LARGEST_WEIGHT).float().mean(),
        "cloning_error": error.detach().mean(),
    }
    return LossResult((weight * error).mean(), info)


def ddpg_bc(q: Tensor, error: Tensor, alpha: float) -> LossResult:
    """DDPG+BC: minus the mean of Q, whose mean size is made 1, plus cloning (Fujimoto & Gu, 2021; as in OGBench).

    q: [B] of what the actor does, with gradients into it. error: [B] how badly it explains the dataset's actions.
    """
    value, cloning = q.mean(), error.mean()
    loss = -value / (q.detach().abs().mean() + 1e-6) + alpha * cloning
    return LossResult(loss, {"q_mean": value.detach(), "cloning_error": cloning.detach()})
