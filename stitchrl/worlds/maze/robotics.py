"""The environments of gymnasium-robotics that physics is taken from, imported without its notices on stderr."""

import contextlib
import io

with contextlib.redirect_stderr(io.StringIO()):
    from gymnasium_robotics.envs.maze.ant_maze_v5 import AntMazeEnv
    from gymnasium_robotics.envs.maze.point_maze import PointMazeEnv

__all__ = ["AntMazeEnv", "PointMazeEnv"]
