"""Worlds: an environment and the behaviour that data is collected with, for each body.

A world is a module-level class with this shape (see `pointmaze.PointMaze`, `antmaze.AntMaze`):

    name, maze, observation_dim, action_dim
    control_step    seconds in a step
    speed           metres per second that the behaviour walks at least, along the shortest path
    envs           bodies that are simulated side by side in generation, by each worker
    simulate(envs) -> Simulation
    behaviour(envs) -> Behaviour
    goal_observation(xy)     the whole observation [obs_dim] of a body at rest at xy
"""

from stitchrl.worlds.maze.ant import AntMaze
from stitchrl.worlds.maze.point import PointMaze

SUCCESS_RADIUS = 0.45  # metres, both bodies (Ghugare et al., 2024; gymnasium-robotics)

World = PointMaze | AntMaze

WORLDS: dict[str, type[PointMaze] | type[AntMaze]] = {"pointmaze": PointMaze, "antmaze": AntMaze}


def make_world(name: str, maze: str) -> World:
    """The world `name` with the maze `maze`. Raises ValueError if there is no such world or maze."""
    if name not in WORLDS:
        raise ValueError(f"dataset.world: {name!r} is not one of {', '.join(WORLDS)}")
    return WORLDS[name](maze)
