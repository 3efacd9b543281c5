"""The mean and the scale that inputs are standardised with."""

import torch
from torch import Tensor

CONSTANT = 1e-6  # of a column's largest value: float32 keeps differences that are smaller as rounding alone


def mean_and_std(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [D] of the columns of values [N, D].

    The deviation of a column that is constant but for rounding is 1, so that a new value is shifted and not magnified.
    """
    std, mean = torch.std_mean(values.double(), 0)
    constant = std <= CONSTANT * values.abs().amax(0)
    return mean.to(values.dtype), torch.where(constant, 1.0, std).to(values.dtype)
