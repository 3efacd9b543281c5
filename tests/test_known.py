"""Datasets known by name: walks in their publishers' coordinates lie in the maze and join the evaluated pairs."""

import json

import numpy as np
import pytest
from conftest import command, make_episodes

from stitchrl.audit import __main__ as audit
from stitchrl.data.formats import write
from stitchrl.data.formats.source import of_episodes
from stitchrl.worlds.maze.known import find_tasks


# Where a publisher's environment puts a body that is in a cell: (row, column) -> (x, y).
def ant(cell):  # the reset cell (1, 1) is the origin, x grows with the column and y with the row
    return 4.0 * (cell[1] - 1), 4.0 * (cell[0] - 1)


def maze2d(cell):
    return float(cell[0]), float(cell[1])


def gymnasium(maze, scale):
    rows, columns = find_tasks(f"D4RL/pointmaze/{maze}-v2").maze.free.shape
    return lambda cell: (scale * (cell[1] + 0.5 - columns / 2), scale * (rows / 2 - cell[0] - 0.5))


# Start and goal cells as the environments name them, and how far the goal is drawn from where a body in its cell is.
KNOWN = {
    "antmaze-umaze-v2.hdf5": (ant, (1, 1), (3, 1), (1.5, 1.5)),
    "antmaze-umaze-diverse-v0.hdf5": (ant, (1, 1), (3, 1), (0, 0)),
    "antmaze-medium-play-v2.hdf5": (ant, (1, 1), (6, 6), (1.5, 0)),
    "antmaze-large-diverse-v2.hdf5": (ant, (1, 1), (7, 9), (0.7, 1.5)),
    "Ant_maze_big-maze_noisy_multistart_True_multigoal_False_sparse_fixed.hdf5": (ant, (1, 1), (6, 6), (0.7, 0.7)),
    "Ant_maze_hardest-maze_noisy_multistart_True_multigoal_True_sparse.hdf5": (ant, (1, 1), (7, 9), (1.4, 0.1)),
    "maze2d-umaze-v1.hdf5": (maze2d, (3, 1), (1, 1), (0, 0)),
    "maze2d-medium-sparse-v1.hdf5": (maze2d, (1, 1), (6, 6), (0, 0)),
    "maze2d-large-dense-v1.hdf5": (maze2d, (5, 4), (7, 9), (0, 0)),
    "D4RL/antmaze/umaze-v1": (gymnasium("umaze", 4), (3, 1), (1, 1), (1, -1)),
    "D4RL/antmaze/medium-play-v1": (gymnasium("medium", 4), (1, 1), (6, 6), (-1, 0)),
    "D4RL/antmaze/large-diverse-v1": (gymnasium("large", 4), (1, 1), (7, 9), (0, 1)),
    "D4RL/pointmaze/umaze-v2": (gymnasium("umaze", 1), (3, 1), (1, 1), (0.2, 0)),
    "D4RL/pointmaze/large-dense-v2": (gymnasium("large", 1), (7, 1), (7, 9), (0, -0.2)),
}


def walk(name):
    """From start to goal through the middle of every cell on the way: points [T + 1, 2], and the cells."""
    to_xy, start, goal, noise = KNOWN[name]
    cells = find_tasks(name.removesuffix(".hdf5")).maze.path(start, goal)
    points = [to_xy(cell) for cell in cells]
    return np.array([*points, np.add(points[-1], noise)]), [*cells, goal]


@pytest.mark.parametrize("name", KNOWN)
def test_a_walk_from_start_to_goal_lies_in_the_maze_and_is_found(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    points, cells = walk(name)
    known = find_tasks(name.removesuffix(".hdf5"))
    turned = known.turn(points.astype(np.float32))
    assert known.maze.to_cells(turned).tolist() == [list(cell) for cell in cells]
    assert known.inside(turned) == 1
    write(name, of_episodes("x", make_episodes([points, points[::-1], points[:-2]]), {}))
    assert command(audit, monkeypatch, name, "--json") == 1
    said = json.loads(capsys.readouterr().out)
    _, start, goal, _ = KNOWN[name]
    wanted = "start-to-goal" if "ant" in name.lower() else f"r{start[0]}c{start[1]}-to-goal"
    (task,) = [task for task in said["tasks"] if task["name"] == wanted]
    assert task["expect"] == "unseen" and task["status"] == "rare" and task["episodes"] == [0]
    assert task["segments_needed"] == 1 and task["unordered"] == 2
    assert task["path_length"] == known.maze.path_length(start, goal)


@pytest.mark.parametrize(
    "name", ["antmaze-large-regions-v0", "maze2d-open-v0", "antmaze-medium-v0", "D4RL/door/human-v2"]
)
def test_other_names_are_not_known(name):
    assert find_tasks(name) is None


def test_positions_outside_the_maze_are_refused(tmp_path, monkeypatch, capsys):
    """Minari's coordinates in a file that is named as D4RL's."""
    monkeypatch.chdir(tmp_path)
    points, _ = walk("D4RL/antmaze/medium-play-v1")
    write("antmaze-medium-play-v2.hdf5", of_episodes("x", make_episodes([points]), {}))
    assert command(audit, monkeypatch, "antmaze-medium-play-v2.hdf5") == 2
    err = capsys.readouterr().err
    assert "antmaze-medium-play-v2.hdf5: its name stands for the maze medium, but" in err and "--tasks FILE" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("maze", ["umaze", "medium", "large"])
def test_every_start_lies_on_a_shortest_way_from_a_farthest_one(maze):
    known, goal = find_tasks(f"maze2d-{maze}-v1"), {"umaze": (1, 1), "medium": (6, 6), "large": (7, 9)}[maze]
    starts = [tuple(map(int, task.name[1:].split("-")[0].split("c"))) for task in known.tasks]
    for cell in known.maze.cells:
        length = known.maze.path_length(cell, goal)
        assert any(known.maze.path_length(s, cell) + length == known.maze.path_length(s, goal) for s in starts)
