"""Where tasks begin and end in a world, and how long they may take."""

from dataclasses import replace

import numpy as np

from stitchrl.types import Place, Region
from stitchrl.worlds.world import World


def goal_region(world: World, place: Place) -> Region:
    """Where a task's goals are drawn from, dilated by the radius of success."""
    return replace(world.region(place), radius=world.goal_space.radius)


def whole_region(world: World, place: Place) -> Region:
    """All that is nearer to a place than to its neighbours."""
    return replace(world.region(place), half=world.spacing / 2)


def steps_needed(world: World, distance: float) -> float:
    """Steps that the behaviour needs for a distance."""
    return distance / (world.speed * world.control_step)


def step_limit(world: World, distance: float) -> int:
    """Three times the steps that the behaviour needs, its way out of one place and into the other included."""
    return int(np.ceil(3 * (distance + world.spacing / 2) / (world.speed * world.control_step)))
