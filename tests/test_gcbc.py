"""What the cloning network is shown."""

import pytest
import torch

from stitchrl.agents.gcbc import GCBC


@pytest.mark.parametrize("relative", [False, True])
def test_the_goal_is_shown_in_the_world_or_relative_to_the_state(relative: bool) -> None:
    torch.manual_seed(0)
    agent = GCBC(observation_dim=4, action_dim=2, hidden_dims=(8,), goal_columns=(0, 1), relative_goal=relative)
    agent.fit_scale(3 * torch.randn(100, 4) + 1)
    observation, goal = torch.randn(5, 4), torch.randn(5, 4)
    shown = []
    agent.actor.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    agent.act(observation, goal)
    here, there = observation[:, :2], goal[:, :2]
    expected = 2 * (there - here) / agent.std[:2] if relative else (there - agent.mean[:2]) / agent.std[:2]
    torch.testing.assert_close(shown[0][:, 4:], expected)
    torch.testing.assert_close(shown[0][:, :4], (observation - agent.mean) / agent.std)
