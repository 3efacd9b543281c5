"""Mazes against gymnasium-robotics, against a plain breadth-first search, and against lengths worked out by hand."""

from collections import deque
from itertools import pairwise

import numpy as np
import pytest
from gymnasium_robotics.envs.maze import maps
from gymnasium_robotics.envs.maze.maze_v4 import Maze as RoboticsMaze

from stitchrl.worlds.maze.maps import MAPS, Maze

every_maze = pytest.mark.parametrize("name", MAPS)


def steps_from(free, start):
    """Moves from `start` to every cell that can be reached, by breadth-first search."""
    steps, queue = {start: 0}, deque([start])
    while queue:
        r, c = queue.popleft()
        for cell in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
            if free[cell] and cell not in steps:
                steps[cell] = steps[r, c] + 1
                queue.append(cell)
    return steps


def random_points(maze, count, seed=0):
    """Points [count, 2] in free cells, and the place in `cells` that each lies in."""
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(maze.cells), size=count)
    centres = np.array([maze.to_xy(maze.cells[i]) for i in chosen])
    return centres + rng.uniform(-0.49, 0.49, (count, 2)) * maze.scale, chosen


def walled_diagonals(maze):
    """Pairs of free cells that share a corner whose other two cells are walls."""
    for r, c in maze.cells:
        for side in (-1, 1):
            if maze.free[r + 1, c + side] and not maze.free[r + 1, c] and not maze.free[r, c + side]:
                yield (r, c), (r + 1, c + side)


@pytest.mark.parametrize("name, theirs", [("umaze", "U_MAZE"), ("medium", "MEDIUM_MAZE"), ("large", "LARGE_MAZE")])
def test_the_maps_are_those_of_gymnasium_robotics(name, theirs):
    assert (~Maze(name, 1.0).free).astype(int).tolist() == getattr(maps, theirs)


def test_an_unknown_maze_is_refused_by_name():
    with pytest.raises(ValueError, match=r"dataset\.maze: 'huge'"):
        Maze("huge", 1.0)


@every_maze
def test_coordinates_are_those_of_gymnasium_robotics(name):
    maze = Maze(name, 4.0)
    theirs = RoboticsMaze((~maze.free).astype(int).tolist(), 4.0, 0.5)
    for cell in np.ndindex(maze.free.shape):
        np.testing.assert_allclose(maze.to_xy(cell), theirs.cell_rowcol_to_xy(np.array(cell)), atol=1e-12)
    for xy in random_points(maze, 200)[0]:
        assert maze.to_cells(xy).tolist() == theirs.cell_xy_to_rowcol(xy).tolist()


@every_maze
def test_a_cell_is_found_again_from_its_centre_and_from_every_point_in_it(name):
    maze = Maze(name, 4.0)
    centres = np.array([maze.to_xy(cell) for cell in maze.cells])
    assert maze.to_cells(centres).tolist() == [list(cell) for cell in maze.cells]
    points, cells = random_points(maze, 500)
    assert (maze.nearest_cell(points) == cells).all()


def test_a_point_over_a_wall_belongs_to_the_nearest_free_cell():
    maze = Maze("umaze", 1.0)
    under = maze.to_xy((1, 1)) - [0.0, 0.51]  # just inside the wall below the top corridor
    assert maze.cells[maze.nearest_cell(under[None])[0]] == (1, 1)


@every_maze
def test_every_free_cell_can_be_reached_from_every_other(name):
    maze = Maze(name, 1.0)
    assert steps_from(maze.free, maze.cells[0]).keys() == set(maze.cells)


@every_maze
def test_paths_are_shortest_between_all_pairs(name):
    maze = Maze(name, 4.0)
    for start in maze.cells:
        steps = steps_from(maze.free, start)
        for goal in maze.cells:
            path = maze.path(start, goal)
            assert path[0] == start and path[-1] == goal and len(path) == steps[goal] + 1
            assert all(maze.free[cell] for cell in path)
            assert all(abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1 for a, b in pairwise(path))
            assert maze.path_length(start, goal) == 4.0 * steps[goal]


@every_maze
def test_walking_distance_is_a_metric_and_never_shorter_than_a_straight_line(name):
    maze = Maze(name, 4.0)
    (a, _), (b, _), (c, _) = (random_points(maze, 400, seed) for seed in range(3))
    there = maze.distance(a, b)
    np.testing.assert_allclose(there, maze.distance(b, a))
    assert (maze.distance(a, a) == 0).all()
    assert (there >= np.linalg.norm(a - b, axis=1) - 1e-9).all()
    assert (there <= maze.distance(a, c) + maze.distance(c, b) + 1e-9).all()


@every_maze
def test_walking_distance_is_straight_inside_a_cell(name):
    maze = Maze(name, 4.0)
    a, cells = random_points(maze, 200)
    b = np.array([maze.to_xy(maze.cells[i]) for i in cells])
    np.testing.assert_allclose(maze.distance(a, b), np.linalg.norm(a - b, axis=1))


def test_walking_distance_round_the_u_is_its_length_through_the_gates():
    maze = Maze("umaze", 1.0)
    start, goal = maze.to_xy((1, 1)), maze.to_xy((3, 1))
    # Half a cell to the first gate and from the last, three straight cells, two corners cut from edge to edge.
    expected = 0.5 + 3 * 1.0 + 2 * np.sqrt(0.5) + 0.5
    np.testing.assert_allclose(maze.distance(start[None], goal[None]), [expected])


@every_maze
def test_cells_are_adjacent_by_an_edge_or_a_corner_with_a_free_cell_beside_it(name):
    maze = Maze(name, 1.0)
    assert (maze.adjacent == maze.adjacent.T).all() and maze.adjacent.diagonal().all()
    for i, a in enumerate(maze.cells):
        for j, b in enumerate(maze.cells):
            rows, columns = abs(a[0] - b[0]), abs(a[1] - b[1])
            corner = rows == columns == 1 and (maze.free[a[0], b[1]] or maze.free[b[0], a[1]])
            assert maze.adjacent[i, j] == (rows + columns <= 1 or corner)


def test_cells_that_touch_only_between_two_walls_are_not_adjacent():
    maze = Maze("medium", 1.0)
    pairs = list(walled_diagonals(maze))
    assert ((4, 2), (5, 3)) in pairs
    for a, b in pairs:
        assert not maze.adjacent[maze.cells.index(a), maze.cells.index(b)]
