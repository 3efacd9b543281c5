"""Cubes that cut up achieved-goal space, so that many rows can be treated alike."""

import numpy as np

from stitchrl.audit.achieved import Achieved, Part
from stitchrl.types import Walls


class Lattice:
    """Cubes of one side that hold rows, numbered from 0. No cube lies in two places of the walls.

    A side of 0 stands for equality: each distinct achieved goal is a cube of its own.

    Walls are None where they are unknown.

    Attributes:
        corner: [cubes, D] where each cube lies, in sides.
        place: [cubes] the place that it lies in; 0 where walls are unknown.
    """

    def __init__(self, achieved: Achieved, side: float, walls: Walls | None = None):
        self._achieved, self._side, self._walls = achieved, side, walls
        if side:
            ends = (end.astype(np.float64) for end in (achieved.stored.min(0), achieved.stored.max(0)))
            low, high = (np.floor(end / side).astype(np.int64) for end in ends)
            self._low, self._extents = low, (high - low + 1).tolist()
        else:
            self._values = [np.unique(numbers).astype(np.float64) for numbers in achieved.stored.T]
            self._extents = [len(values) for values in self._values]

        # A row's code is one integer: its place and its coordinates, as the digits of a number. Where that would not
        # fit into 64 bits, the codes so far are replaced by their ranks among those that occur.
        self._tables: list[np.ndarray | None] = []
        size = 1 if walls is None else len(walls.adjacent)
        for extent in self._extents:
            if size * extent >= 2**63:
                table = self._tables[-1] = self._occupied()
                size = len(table)
            self._tables.append(None)
            size *= extent
        self._codes = self._occupied()

        code, coordinates = self._codes, []
        for extent, ranks in zip(self._extents[::-1], self._tables[::-1], strict=True):
            code = code if ranks is None else ranks[code]
            coordinates.append(code % extent)
            code = code // extent
        self.corner, self.place = np.stack(coordinates[::-1], 1), code

    def __len__(self) -> int:
        return len(self._codes)

    def cube(self, part: Part) -> np.ndarray:
        """The number of the cube [rows of the part] that each row lies in."""
        return np.searchsorted(self._codes, self._code(part))

    def _occupied(self) -> np.ndarray:
        """All codes that occur, sorted."""
        return np.unique(np.concatenate([np.unique(self._code(part)) for part in self._achieved.parts]))

    def _code(self, part: Part) -> np.ndarray:
        """The codes of a part's rows, of as many dimensions as there are tables."""
        points = self._achieved.of_part(part)
        code = np.zeros(len(points), np.int64) if self._walls is None else self._walls.place(points)
        for i, table in enumerate(self._tables):
            code = code * self._extents[i] + self._coordinate(points[:, i], i)
            code = code if table is None else np.searchsorted(table, code)
        return code

    def _coordinate(self, numbers: np.ndarray, dimension: int) -> np.ndarray:
        if self._side:
            return np.floor(numbers / self._side).astype(np.int64) - self._low[dimension]
        return np.searchsorted(self._values[dimension], numbers)
