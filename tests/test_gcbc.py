"""What the cloning network is shown."""

import math

import pytest
import torch
from probes import spaces

from stitchrl.agents.gcbc import GCBC


def shown(agent: GCBC, observation: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    inputs = []
    hook = agent.actor.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    agent.act(observation, goal)
    hook.remove()
    return inputs[0]


def make_agent(orientation: list[int] | None) -> GCBC:
    torch.manual_seed(0)
    agent = GCBC(spaces(7), hidden_dims=(8,), orientation=orientation)
    agent.fit(3 * torch.randn(100, 7) + 1)
    return agent


def test_the_goal_is_shown_where_it_lies_in_the_world() -> None:
    agent, observation, goal = make_agent(None), torch.randn(5, 7), torch.randn(5, 7)
    expected = [(values - agent.encoder.mean) / agent.encoder.std for values in (observation, goal)]
    torch.testing.assert_close(shown(agent, observation, goal), torch.cat([expected[0], expected[1][:, :2]], 1))


def test_hidden_columns_make_no_difference_to_the_action() -> None:
    agent = GCBC(spaces(), hidden_dims=(8,), hidden_columns=(2, 3))
    observation, goal, faster = torch.randn(5, 4), torch.randn(5, 4), torch.tensor([0, 0, 1, -2])
    torch.testing.assert_close(agent.act(observation, goal), agent.act(observation + faster, goal), rtol=0, atol=0)
    assert not torch.equal(agent.act(observation, goal), agent.act(observation + 1, goal))


@pytest.mark.parametrize("facing", [0, 30, 90, 200])
@pytest.mark.parametrize("bearing", [0, 45, 90, -120])
def test_the_goal_is_shown_where_it_lies_from_a_body_whatever_way_that_leans(facing: int, bearing: int) -> None:
    agent = make_agent([3, 4, 5, 6])
    half, lean = math.radians(facing) / 2, math.radians(10) / 2
    # turned about the vertical after a lean about the way that it faces
    turned = [math.cos(half) * math.cos(lean), math.cos(half) * math.sin(lean)]
    turned += [math.sin(half) * math.sin(lean), math.sin(half) * math.cos(lean)]
    observation = torch.tensor([[1.0, 2.0, 0.5, *turned]])
    direction = math.radians(facing + bearing)
    offset = 2.5 * torch.tensor([math.cos(direction), math.sin(direction)])
    goal = observation.clone()
    goal[0, :2] += offset
    there = shown(agent, observation, goal)[0, 7:]
    torch.testing.assert_close(there[:2], 2 * offset / agent.encoder.std[:2])
    expected = torch.tensor([math.cos(math.radians(bearing)), math.sin(math.radians(bearing))])
    torch.testing.assert_close(there[2:], expected, atol=1e-5, rtol=0)
