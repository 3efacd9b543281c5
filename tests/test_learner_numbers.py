"""The learner's steps against Adam written down plainly: clipped gradients, decayed weights."""

import math

import numpy as np
import pytest
import torch
from probes import spaces

from stitchrl.agents.agent import Agent
from stitchrl.learner import Learner
from stitchrl.types import Batch, GoalMixture, Needs

RATE = 0.05


class Linear(Agent):
    """Its loss is linear in its weights, so that their gradient is what the batch says."""

    def __init__(self, **options):
        super().__init__(spaces(3, columns=[0]), "world", RATE, 1, Needs(GoalMixture(0, 1, 0)), **options)
        self.w = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))

    def loss(self, batch, rng):
        loss = (self.w * batch.observations[0]).sum()
        return loss, {"loss": loss.detach()}


def plain_adam(gradients, clip, decay, warmup):
    """Weights after each update, and the norm of each gradient before it was clipped."""
    w, m, v = np.array([1.0, -2.0, 3.0]), np.zeros(3), np.zeros(3)
    weights, norms = [], []
    for step, gradient in enumerate(gradients, start=1):
        norm = math.sqrt(sum(g * g for g in gradient))
        if clip is not None and norm > clip:
            gradient = gradient * clip / norm
        rate = RATE * (min(1.0, step / warmup) if warmup else 1.0)
        w = w * (1 - rate * decay)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        w = w - rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        weights.append(w)
        norms.append(norm)
    return weights, norms


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("warmup", [0, 4])
def test_updates_are_those_of_adam_with_the_agents_clipping_decay_and_warm_up(clip, decay, warmup):
    rng = np.random.default_rng(0)
    gradients = [rng.normal(size=3) * size for size in (3.0, 0.1, 0.01, 1.0, 0.2, 5.0, 0.05)]
    expected, norms = plain_adam(gradients, clip, decay, warmup)
    agent = Linear(grad_clip=clip, weight_decay=decay, warmup=warmup)
    learner = Learner(agent=agent, steps=100, decay=False, average=0.0, precision="highest")
    for gradient, weights, norm in zip(gradients, expected, norms, strict=True):
        states = torch.from_numpy(gradient.astype(np.float32))[None]
        parts = learner.update(Batch(states, states, None, states), torch.Generator())
        assert agent.w.detach().numpy() == pytest.approx(weights, abs=1e-5)
        assert parts["grad_norm"].item() == pytest.approx(norm, rel=1e-5)
