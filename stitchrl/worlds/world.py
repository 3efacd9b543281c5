"""What a world is: environments, the goals that can be achieved in them, and how data are collected there.

A world is any class with the members of `World`. Its YAML file in conf/world/ names it by its dotted path, as agents
are named. A folder of one's own is given by --config-dir. `worlds.check` proves that a class is a world.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np

from stitchrl.types import Place, Region, Simulation, Walls
from stitchrl.worlds.rollout import Controller


@dataclass(frozen=True)
class GoalSpace:
    """Achieved goals: the numbers of a state that a task's regions speak of.

    Attributes:
        dim: How many numbers an achieved goal has, D.
        of: Observations [..., *shape] to achieved goals [..., D].
        radius: Distance within which a goal counts as achieved. 0: it must be equal.
        columns: The numbers of a flattened observation that state a goal to an agent. None: all of them.
        unit: Of distances, for people to read; "" where there is none.
    """

    dim: int
    of: Callable[[np.ndarray], np.ndarray]
    radius: float = 0.0
    columns: tuple[int, ...] | None = None
    unit: str = ""

    def success(self, achieved: np.ndarray, goals: np.ndarray) -> np.ndarray:
        """Boolean [...]: which of the achieved goals [..., D] count as the goals [..., D]."""
        return np.linalg.norm(achieved - goals, axis=-1) <= self.radius


def plane(achieved: np.ndarray) -> np.ndarray:
    """The first two numbers [N, 2] of achieved goals [N, D], which pictures show; 0 for one that is lacking."""
    return np.pad(achieved[:, :2], ((0, 0), (0, max(0, 2 - achieved.shape[1]))))


class World(Protocol):
    """Environments of one kind, and what is known of them.

    Attributes:
        name: As in datasets' names.
        observation_space: A Box of any shape and dtype.
        action_space: A Box, whose actions are in [-1, 1], or Discrete.
        goal_space: What can be achieved.
        places: What a dataset's YAML may name as the start or the goal of an episode.
        spacing: Distance between neighbouring places.
        speed: Distance that the behaviour covers per second at least, along the shortest path.
        control_step: Seconds in a step.
        envs: How many environments each worker simulates side by side when data are collected.
        walls: Which achieved goals lie on the same side of walls. None: nothing is in the way.
        facts: What a dataset's card says of the world, by heading.
        drawing: What is drawn beneath data and tasks, in the plane of the first two numbers of an achieved goal:
            `rectangles`, each [x, y, width, height], and `extent`, [x low, x high, y low, y high].
    """

    name: str
    observation_space: gymnasium.spaces.Box
    action_space: gymnasium.spaces.Box | gymnasium.spaces.Discrete
    goal_space: GoalSpace
    places: Sequence[Place]
    spacing: float
    speed: float
    control_step: float
    envs: int

    @property
    def walls(self) -> Walls | None: ...

    @property
    def facts(self) -> Mapping[str, str]: ...

    @property
    def drawing(self) -> dict[str, Any] | None: ...

    def label(self, place: Place) -> str:
        """A place's name in the names of tasks."""

    def region(self, place: Place) -> Region:
        """Where starts and goals at a place are drawn from."""

    def path_length(self, start: Place, goal: Place) -> float:
        """Distance between two places along the shortest path."""

    def distance(self, points: np.ndarray, goals: np.ndarray) -> np.ndarray:
        """Distances [B] along the shortest path between achieved goals [B, D]."""

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Boolean [...]: which of the achieved goals [..., D] can be achieved in this world."""

    def goal_observation(self, goal: np.ndarray) -> np.ndarray:
        """A whole observation [*shape] of a state that achieves the goal [D]."""

    def simulate(self, envs: int) -> Simulation:
        """So many environments side by side."""

    def behaviour(self, envs: int) -> Controller | None:
        """What collects data in so many environments; None: data come from a `source` alone."""
