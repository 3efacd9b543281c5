"""Objectives: what is asked of a policy. A specification that has targets asks for returns, any other for goals."""

from stitchrl.objectives.goal import ReachGoal
from stitchrl.objectives.objective import Objective
from stitchrl.objectives.returns import CollectReturn
from stitchrl.spec import DatasetSpec
from stitchrl.worlds.world import World


def make_objective(spec: DatasetSpec, world: World) -> Objective:
    """The objective that a specification has in its world."""
    return CollectReturn(spec, world) if spec.targets else ReachGoal(spec, world)
