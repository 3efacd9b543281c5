"""`check_world` passes worlds that keep their promises, and names the promise that another one breaks."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import world
from gymnasium.spaces import Box

from stitchrl.types import Region
from stitchrl.worlds.check import check_world
from stitchrl.worlds.maze.point import PointBehaviour, PointMaze, PointSimulation
from stitchrl.worlds.world import GoalSpace


@pytest.mark.parametrize("name", ["pointmaze", "antmaze"])
@pytest.mark.parametrize("maze", ["umaze", "dev"])
def test_the_packages_own_worlds_keep_their_promises(name: str, maze: str) -> None:
    check_world(world(name, maze))


class Wide(PointSimulation):
    def __init__(self, model: Any, envs: int):
        super().__init__(model, envs)
        self.observations = self.observations.astype(np.float64)


class Elsewhere(PointSimulation):
    def reset(self, env: int, start: np.ndarray) -> None:
        super().reset(env, start + 1)


class Careless(PointSimulation):
    """Forgets one of its environments."""

    def reset(self, env: int, start: np.ndarray) -> None:
        super().reset(env, start if env else start + 1)


class Moody(PointSimulation):
    def step(self, actions: np.ndarray, active: np.ndarray) -> None:
        super().step(actions + np.random.default_rng().normal(size=actions.shape), active)


class Wild(PointBehaviour):
    def act(self, observations: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return super().act(observations, steps) + np.float32(2)


def broken(**members: Any) -> PointMaze:
    """A point in the U-maze with other members."""
    return type("Broken", (PointMaze,), members)("umaze")


def simulating(kind: type) -> dict[str, Any]:
    return {"simulate": lambda self, envs: kind(self.environment().model, envs)}


def one_way(self: PointMaze) -> SimpleNamespace:
    adjacent = self.maze.adjacent.copy()
    adjacent[0, 1] = False
    return SimpleNamespace(adjacent=adjacent, place=self.maze.place)


class Walled(PointMaze):
    walls = property(one_way, lambda self, value: None)


def test_what_is_broken_is_otherwise_whole() -> None:
    check_world(broken())


@pytest.mark.parametrize(
    "members, member",
    [
        (simulating(Wide), "simulation.observations: expected numbers of float32"),
        (simulating(Elsewhere), "simulation.reset: expected an environment that achieves its start"),
        (simulating(Careless), "simulation.reset: expected an environment that achieves its start"),
        (simulating(Moody), "simulation.step: expected the same states for the same actions"),
        ({"behaviour": lambda self, envs: Wild(envs, self.maze)}, "behaviour.act: expected Box"),
        ({"goal_observation": lambda self, goal: np.zeros(4, np.float32)}, "goal_observation: expected a state that"),
        ({"goal_observation": lambda self, goal: np.array([*goal, 0, 0])}, "goal_observation: expected an observation"),
        ({"action_space": Box(-2, 2, (2,), np.float32)}, "action_space: expected bounds of -1 and 1"),
        ({"label": lambda self, place: "here"}, "label: expected a name of its own for each place"),
        ({"region": lambda self, place: Region((0.0, 0.0, 0.0))}, "region: expected points of 2 numbers"),
        ({"inside": lambda self, points: np.zeros(len(points), bool)}, "inside: expected every place's region"),
        ({"path_length": lambda self, start, goal: 1.0}, "path_length: expected 0 from a place to itself"),
        ({"speed": 0.0}, "spacing, speed, control_step: expected above 0"),
        (
            {"goal_space": GoalSpace(2, of=lambda observations: observations[..., 2:], radius=0.45, columns=(0, 1))},
            "goal_space.of: expected what the simulation has achieved",
        ),
        ({"goal_space": GoalSpace(2, of=lambda o: o[..., :2], radius=0.45, columns=(0, 4))}, "goal_space.columns"),
    ],
)
def test_a_broken_promise_is_named(members: dict[str, Any], member: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_world(broken(**members))
    assert str(caught.value).startswith(member)


def test_walls_that_part_in_one_direction_only_are_named() -> None:
    with pytest.raises(ValueError, match=r"^walls\.adjacent: expected the same in both directions"):
        check_world(Walled("umaze"))
