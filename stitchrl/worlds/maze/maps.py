"""Mazes: maps, cells and coordinates, shortest paths. The maps are data; no physics here.

Rows count from the top and columns from the left, as in gymnasium-robotics; x grows with columns, y against rows.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Cell = tuple[int, ...]  # row, column
INSIDE = 0.9  # of a dataset's positions at least lie in its maze; a body's centre may lean over a wall
MAPS = {
    "umaze": (
        "#####",
        "#...#",
        "###.#",
        "#...#",
        "#####",
    ),
    "medium": (
        "########",
        "#..##..#",
        "#..#...#",
        "##...###",
        "#..#...#",
        "#.#..#.#",
        "#...#..#",
        "########",
    ),
    "large": (
        "############",
        "#....#.....#",
        "#.##.#.#.#.#",
        "#......#...#",
        "#.####.###.#",
        "#..#.#.....#",
        "##.#.#.#.###",
        "#..#...#...#",
        "############",
    ),
    # OGBench's (Park et al., 2025).
    "giant": (
        "################",
        "#.#......##....#",
        "#.#.##.#.#..##.#",
        "#...#..#...#...#",
        "#.###.######.#.#",
        "#...#...#....#.#",
        "###.#.#..#.#.###",
        "#...#..#...#...#",
        "#.#.#.######.#.#",
        "#.###...#...##.#",
        "#.....#...#....#",
        "################",
    ),
    # The maze on which settings are chosen: three corridors in an S, so that its ends need several contexts.
    "dev": (
        "########",
        "#......#",
        "######.#",
        "#......#",
        "#.######",
        "#......#",
        "########",
    ),
}


@dataclass(frozen=True)
class Maze:
    """A map of walls (#) and free cells (.), each `scale` metres wide, centred on the origin."""

    name: str
    scale: float

    def __post_init__(self) -> None:
        if self.name not in MAPS:
            raise ValueError(f"dataset.maze: {self.name!r} is not one of {', '.join(MAPS)}")

    @cached_property
    def free(self) -> np.ndarray:
        """Boolean [rows, columns]: where there is no wall."""
        return np.array([[c == "." for c in row] for row in MAPS[self.name]])

    @cached_property
    def cells(self) -> list[Cell]:
        """All free cells in reading order."""
        return [(int(r), int(c)) for r, c in np.argwhere(self.free)]

    def to_xy(self, cell: Cell) -> np.ndarray:
        """The centre [2] of a cell, in metres."""
        rows, columns = self.free.shape
        return self.scale * np.array([cell[1] + 0.5 - columns / 2, rows / 2 - cell[0] - 0.5])

    def to_cells(self, xy: np.ndarray) -> np.ndarray:
        """Cells [..., 2] (row, column) of points [..., 2]; points outside are clipped to the border."""
        rows, columns = self.free.shape
        column = np.floor(xy[..., 0] / self.scale + columns / 2)
        row = np.floor(rows / 2 - xy[..., 1] / self.scale)
        return np.stack([row.clip(0, rows - 1), column.clip(0, columns - 1)], -1).astype(np.int64)

    def inside(self, xy: np.ndarray) -> np.ndarray:
        """Boolean [...]: which points [..., 2] lie in a free cell."""
        cells = self.to_cells(xy)
        return self.free[cells[..., 0], cells[..., 1]]

    @cached_property
    def _number(self) -> np.ndarray:
        """Which free cell, by its place in `cells`, or -1 for a wall: [rows, columns]."""
        number = np.full(self.free.shape, -1)
        number[self.free] = np.arange(len(self.cells))
        return number

    def nearest_cell(self, points: np.ndarray) -> np.ndarray:
        """The place in `cells` [...] of the free cell that each of the points [..., 2] is in or nearest to."""
        cells = self.to_cells(points)
        number = self._number[cells[..., 0], cells[..., 1]]
        lost = number < 0
        if lost.any():  # a body's centre may stand over a wall by a hair
            centres = np.array([self.to_xy(cell) for cell in self.cells])
            number[lost] = np.abs(points[lost][:, None] - centres).max(-1).argmin(-1)
        return number

    place = nearest_cell  # so that a maze is `types.Walls`

    @property
    def drawing(self) -> dict[str, Any]:
        """A rectangle for each run of walls in a row. The extent cuts the outer walls, which say nothing."""
        rows, columns = self.free.shape
        rectangles = []
        for row, free in enumerate(self.free):
            edges = np.flatnonzero(np.diff(np.concatenate([[True], free, [True]])))
            for first, last in edges.reshape(-1, 2):
                x, y = self.to_xy((row, int(first))) - self.scale / 2
                rectangles.append([float(x), float(y), float((last - first) * self.scale), self.scale])
        x, y = (self.scale * (count / 2 - 0.7) for count in (columns, rows))
        return {"rectangles": rectangles, "extent": [-x, x, -y, y]}

    @cached_property
    def adjacent(self) -> np.ndarray:
        """Boolean [cells, cells]: a cell and itself, two that share an edge, or a corner and a free cell beside it."""
        result = np.zeros((len(self.cells), len(self.cells)), bool)
        for i, (r, c) in enumerate(self.cells):
            for dr, dc in itertools.product((-1, 0, 1), repeat=2):
                if self.free[r + dr, c + dc] and (self.free[r + dr, c] or self.free[r, c + dc]):
                    result[i, self._number[r + dr, c + dc]] = True
        return result

    @cached_property
    def _steps(self) -> np.ndarray:
        """Number of moves between free cells [cells, cells], infinite where there is no way."""
        steps = np.full((len(self.cells), len(self.cells)), np.inf)
        np.fill_diagonal(steps, 0)
        for i, j in self._edges():
            steps[i, j] = steps[j, i] = 1
        return _shortest(steps)

    def _edges(self) -> list[tuple[int, int]]:
        """Pairs of free cells that share an edge, by their places in `cells`."""
        pairs = [(cell, beside) for cell in self.cells for beside in ((cell[0] + 1, cell[1]), (cell[0], cell[1] + 1))]
        return [(int(self._number[a]), int(self._number[b])) for a, b in pairs if self.free[b]]

    def path(self, start: Cell, goal: Cell) -> list[Cell]:
        """The cells of a shortest path, both ends included."""
        here, there = self._number[start], self._number[goal]
        path = [start]
        while here != there:
            moves = np.flatnonzero(self._steps[here] == 1)
            here = moves[self._steps[moves, there].argmin()]
            path.append(self.cells[here])
        return path

    def path_length(self, start: Cell, goal: Cell) -> float:
        """Metres between two cell centres along the cells of a shortest path."""
        return float(self.scale * self._steps[self._number[start], self._number[goal]])

    @cached_property
    def _gates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Middles of edges that free cells share [G, 2], distances between them [G, G], gates by cell [cells, 4]."""
        edges = self._edges()
        of_cell = [[gate for gate, edge in enumerate(edges) if cell in edge] for cell in range(len(self.cells))]
        points = np.array([(self.to_xy(self.cells[i]) + self.to_xy(self.cells[j])) / 2 for i, j in edges])
        distance = np.full((len(edges), len(edges)), np.inf)
        for members in of_cell:
            between = points[members][:, None] - points[members]
            distance[np.ix_(members, members)] = np.hypot(between[..., 0], between[..., 1])
        padded = np.array([members + members[:1] * (4 - len(members)) for members in of_cell])
        return points, _shortest(distance), padded

    def distance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Metres [B] that one walks between points [B, 2]: straight inside a cell, else through the cells' gates."""
        points, between, of_cell = self._gates
        cell_a, cell_b = self.nearest_cell(a), self.nearest_cell(b)
        gates_a, gates_b = of_cell[cell_a], of_cell[cell_b]
        to_gate = np.linalg.norm(a[:, None] - points[gates_a], axis=-1)
        from_gate = np.linalg.norm(b[:, None] - points[gates_b], axis=-1)
        through = to_gate[:, :, None] + between[gates_a[:, :, None], gates_b[:, None]] + from_gate[:, None]
        return np.where(cell_a == cell_b, np.linalg.norm(a - b, axis=-1), through.min((1, 2)))


def _shortest(distance: np.ndarray) -> np.ndarray:
    """Distances [N, N] by any number of stops from those without one, infinite where there is no way, in place."""
    for k in range(len(distance)):  # Floyd-Warshall
        np.minimum(distance, distance[:, k : k + 1] + distance[k], out=distance)
    return distance
