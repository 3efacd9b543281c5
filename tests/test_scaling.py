"""Inputs are standardised by the training data; a column that is constant in them is not magnified."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from test_learner import make_learner

from stitchrl.agents.encoders import Identity, Standardise, make_encoder
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


def test_observations_of_any_shape_are_flattened_and_then_standardised_column_by_column() -> None:
    space = Box(-np.inf, np.inf, (2, 3), np.float32)
    encoder, observations = make_encoder(space), 3 * torch.randn(50, 2, 3) + 1
    encoder.fit(observations)
    flat = observations.reshape(50, 6)
    assert isinstance(encoder, Standardise) and encoder.dim == 6
    expected = (flat - flat.mean(0)) / flat.std(0)
    torch.testing.assert_close(encoder(observations), expected)
    torch.testing.assert_close(encoder(observations.reshape(10, 5, 2, 3)), expected.reshape(10, 5, 6))


def test_a_scale_is_kept_in_a_checkpoint() -> None:
    encoder, restored = (make_encoder(Box(-1, 1, (3,), np.float32)) for _ in range(2))
    encoder.fit(torch.randn(50, 3))
    restored.load_state_dict(encoder.state_dict())
    assert torch.equal(restored.mean, encoder.mean) and torch.equal(restored.std, encoder.std)


@pytest.mark.parametrize("high", [1, 255])
def test_planes_of_whole_numbers_are_divided_by_the_largest_of_their_space_whatever_the_data(high: int) -> None:
    encoder = make_encoder(Box(0, high, (2, 4, 4), np.uint8))
    planes = torch.randint(high + 1, (50, 2, 4, 4), dtype=torch.uint8)
    encoder.fit(planes)
    assert isinstance(encoder, Identity) and encoder.dim == 32
    shown = encoder(planes)
    assert shown.shape == (50, 32) and shown.dtype == torch.float32
    torch.testing.assert_close(shown, planes.flatten(1).float() / high)


def test_a_whole_number_that_is_always_0_in_its_space_stays_0() -> None:
    encoder = make_encoder(Box(np.zeros(2), np.array([0, 4]), dtype=np.uint8))
    assert encoder(torch.tensor([[0, 2]], dtype=torch.uint8)).tolist() == [[0.0, 0.5]]
