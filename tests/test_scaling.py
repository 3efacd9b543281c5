"""Inputs are standardised by the training data; a column that is constant in them is not magnified."""

import numpy as np
import pytest
import torch
from test_learner import make_learner

from stitchrl.scaling import mean_and_std


def test_mean_and_deviation_are_those_of_the_columns() -> None:
    values = np.random.default_rng(0).normal([3, -200, 1e-5], [2, 1e-1, 1e-6], (5000, 3)).astype(np.float32)
    mean, std = mean_and_std(torch.from_numpy(values))
    np.testing.assert_allclose(mean, values.astype(np.float64).mean(0), rtol=1e-6)
    np.testing.assert_allclose(std, values.astype(np.float64).std(0, ddof=1), rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e-3, 1e6])
def test_a_constant_column_is_shifted_and_not_scaled_even_where_rounding_makes_it_vary(value: float) -> None:
    column = np.full(100_000, value, np.float32)
    column[::2] = np.nextafter(column[::2], np.float32(np.inf)) if value else 0
    mean, std = mean_and_std(torch.from_numpy(column[:, None]))
    assert std.tolist() == [1.0] and mean.tolist() == pytest.approx([value], rel=1e-6)


def test_a_column_of_small_values_that_do_vary_is_scaled() -> None:
    _, std = mean_and_std(torch.tensor([[1e-8], [3e-8]]))
    assert std.item() == pytest.approx(2e-8 / 2**0.5, rel=1e-5)


def test_an_agent_is_shown_a_new_value_of_a_constant_column_as_it_is() -> None:
    """It was a million times as much once, which a network cannot but fail on."""
    agent = make_learner().agent
    observations = torch.randn(1000, 4)
    observations[:, 2] = 0.3
    agent.fit(observations)
    shown = agent.encoder(torch.tensor([[0.0, 0.0, 1.3, 0.0]]))
    assert shown[0, 2].item() == pytest.approx(1.0, rel=1e-5)
