"""What is evaluated: a specification, its world and its objective, made once and handed on whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from stitchrl.audit.achieved import Achieved
from stitchrl.audit.certificate import Audited
from stitchrl.objectives import Objective, make_objective
from stitchrl.settings import world_settings
from stitchrl.spec import DatasetSpec
from stitchrl.types import AnyTask, Spaces
from stitchrl.worlds import World, make_world


@dataclass(frozen=True)
class Benchmark:
    """One dataset's problem: what data are collected from, what is evaluated, and in which world."""

    spec: DatasetSpec
    world: World
    objective: Objective

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def tasks(self) -> list[AnyTask]:
        return list(self.objective.tasks)

    @cached_property
    def spaces(self) -> Spaces:
        """What agents are built for."""
        return Spaces(self.world.observation_space, self.world.action_space, self.objective.condition)

    def audited(
        self, sha256: str, achieved: Achieved, rewards: np.ndarray | None, ceilings: Mapping[str, float]
    ) -> Audited:
        """A dataset of this benchmark, as its certificate is made of it. The last three are as in `Audited`."""
        return Audited(
            self.name,
            sha256,
            achieved,
            self.tasks,
            self.world.walls,
            self.world.goal_space.radius,
            self.spec.min_episodes,
            self.spec.control,
            ceilings,
            rewards=rewards,
            earning=self.objective.rewards,
            unit=self.world.goal_space.unit,
            drawing=self.world.drawing,
        )


def make_benchmark(values: Mapping[str, Any], world: Mapping[str, Any] | None = None) -> Benchmark:
    """The benchmark of plain values, as files in conf/dataset/ and conf/world/ hold them. ValueError names the key.

    world: None for the package's file of the name in `values`.
    """
    settings = world_settings(values["world"]) if world is None else world
    if settings.get("name") != values["world"]:
        raise ValueError(f"dataset.world: {values['world']!r} given, but the world is {settings.get('name')!r}")
    made = make_world(settings, values.get("maze"))
    spec = DatasetSpec.create(values, made.places)
    return Benchmark(spec, made, make_objective(spec, made))
