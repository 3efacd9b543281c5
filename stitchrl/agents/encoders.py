"""Encoders turn observations of any shape into the vectors that networks are shown. They own all scaling."""

import math

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from stitchrl.scaling import mean_and_std


class Encoder(nn.Module):
    """Makes vectors [..., dim] of observations [..., *shape]: flattens them and scales their `dim` numbers."""

    def __init__(self, space: Box):
        super().__init__()
        self.axes, self.dim = len(space.shape), math.prod(space.shape)

    @property
    def unit(self) -> Tensor:
        """The size [dim] of each number that networks are shown as 1."""
        raise NotImplementedError

    def fit(self, observations: Tensor) -> None:
        """Take the scale from training observations [N, *shape]."""

    def flatten(self, observations: Tensor) -> Tensor:
        """Observations [..., *shape] as unscaled vectors [..., dim]."""
        return observations.reshape(*observations.shape[: observations.ndim - self.axes], self.dim)


class Standardise(Encoder):
    """Subtracts each column's mean in the training observations, and divides by its deviation unless that is zero."""

    mean: Tensor
    std: Tensor

    def __init__(self, space: Box):
        super().__init__(space)
        self.register_buffer("mean", torch.zeros(self.dim))
        self.register_buffer("std", torch.ones(self.dim))

    @property
    def unit(self) -> Tensor:
        return self.std

    def fit(self, observations: Tensor) -> None:
        mean, std = mean_and_std(self.flatten(observations))
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, observations: Tensor) -> Tensor:
        return (self.flatten(observations) - self.mean) / self.std


class Identity(Encoder):
    """Divides whole numbers by the largest value that the space allows. Planes of 0 and 1 stay as they are."""

    high: Tensor

    def __init__(self, space: Box):
        super().__init__(space)
        high = torch.from_numpy(np.maximum(space.high.flatten().astype(np.float32), 1))
        self.register_buffer("high", high, persistent=False)

    @property
    def unit(self) -> Tensor:
        return self.high

    def flatten(self, observations: Tensor) -> Tensor:
        return super().flatten(observations).to(self.high.dtype)

    def forward(self, observations: Tensor) -> Tensor:
        return self.flatten(observations) / self.high


def make_encoder(space: Box) -> Encoder:
    """`Standardise` for observations of real numbers, `Identity` for those of whole numbers."""
    return Standardise(space) if np.issubdtype(space.dtype, np.floating) else Identity(space)
