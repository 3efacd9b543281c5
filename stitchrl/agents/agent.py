"""What every agent is: a module with a loss and an action, its inputs standardised with the training data."""

import torch
from torch import Generator, Tensor, nn

from stitchrl.types import Batch


class Agent(nn.Module):
    """Hyperparameters are keyword arguments of the subclass, with its paper's values as defaults.

    lr, grad_clip, batch_size: what the learner trains it with (Adam; largest norm of the gradient).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, observation_dim: int, lr: float, grad_clip: float, batch_size: int):
        super().__init__()
        self.lr, self.grad_clip, self.batch_size = lr, grad_clip, batch_size
        self.register_buffer("mean", torch.zeros(observation_dim))
        self.register_buffer("std", torch.ones(observation_dim))

    def fit_scale(self, observations: Tensor) -> None:
        """Take mean and standard deviation of each column from training observations [N, obs_dim]."""
        self.mean.copy_(observations.mean(0))
        self.std.copy_(observations.std(0) + 1e-6)

    def standardise(self, observations: Tensor) -> Tensor:
        """Observations [..., obs_dim] in units of the training data's standard deviation."""
        return (observations - self.mean) / self.std

    def loss(self, batch: Batch, rng: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and its parts for the log."""
        raise NotImplementedError

    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Actions [B, act_dim] in [-1, 1] for observations and whole goal observations [B, obs_dim]."""
        raise NotImplementedError
