"""Losses of actors that several agents share, and what they log of them."""

import torch
from torch import Tensor

from stitchrl.types import LossResult

LARGEST_WEIGHT = 100.0


def advantage_weighted(advantage: Tensor, alpha: float, error: Tensor) -> LossResult:
    """Advantage-weighted regression: the mean of min(exp(alpha A), 100) times the error (AWR; Peng et al., 2019).

    Args:
        advantage: [B] of the actions that are cloned. No gradient flows into it.
        alpha: Inverse temperature.
        error: [B] how badly the actor explains the actions.
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

    Args:
        q: [B] the value of what the actor does, with gradients into the actor.
        error: [B] how badly the actor explains the dataset's actions.
        alpha: Weight of cloning.
    """
    value, cloning = q.mean(), error.mean()
    loss = -value / (q.detach().abs().mean() + 1e-6) + alpha * cloning
    return LossResult(loss, {"q_mean": value.detach(), "cloning_error": cloning.detach()})
