"""Cutting episodes into pieces: the same transitions, with and without the tasks inside an episode."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from stitchrl.data.episodes import Episodes
from stitchrl.types import Task


def cut(
    episodes: Episodes, piece: int, tasks: Sequence[Task], rng: np.random.Generator, achieved: np.ndarray
) -> tuple[Episodes, np.ndarray]:
    """Episodes cut at random phase into pieces of `piece` steps, so that none holds both ends of any task.

    A piece that still does is cut again, half way between the ends. The state at a cut ends one piece and begins the
    next, so every transition is kept, once.

    rng: of the phase. achieved: [N, D] of all rows. Returns the pieces, and the number [pieces] of the episode that
    each was cut from. ValueError if no cut can part a task's ends.
    """
    points = achieved.astype(np.float64)
    marks = [np.where(task.start.contains(points), 1, 0) + np.where(task.goal.contains(points), 2, 0) for task in tasks]
    for task, mark in zip(tasks, marks, strict=True):
        if (mark == 3).any():
            raise ValueError(f"task {task.name}: its start and goal regions overlap, no cut can part them")
    bounds: list[tuple[int, int]] = []  # first and last row of each piece
    for first, last in zip(episodes.first.tolist(), episodes.last.tolist(), strict=True):
        cuts = range(first + int(rng.integers(1, piece + 1)), last, piece)
        edges = [first, *cuts, last]
        for a, b in pairwise(edges):
            bounds += _part(a, b, tasks, marks)
    starts, ends = np.array(bounds).T
    lengths = torch.from_numpy(ends - starts)
    rows = torch.cat([torch.arange(a, b + 1) for a, b in bounds])
    origin = episodes.number[torch.from_numpy(starts)]
    return episodes.pieces(rows, lengths, origin), origin.numpy()


def pieces_terminated(terminated: np.ndarray | None, origin: np.ndarray) -> np.ndarray | None:
    """Which pieces [pieces] were terminated: the last ones of the episodes that were.

    terminated: [episodes] bool, None where it is not known. origin: as `cut` returns it.
    """
    last = np.append(origin[1:] != origin[:-1], True)
    return None if terminated is None else terminated[origin] & last


def _part(first: int, last: int, tasks: Sequence[Task], marks: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """The piece itself, or the pieces that it falls into: no piece holds both marks of a task."""
    for task, mark in zip(tasks, marks, strict=True):
        visits = first + np.flatnonzero(mark[first : last + 1])
        changes = np.flatnonzero(np.diff(mark[visits]))
        if len(changes):
            before, after = int(visits[changes[0]]), int(visits[changes[0] + 1])
            if after == before + 1:
                steps = f"row {before} steps from one region into the other"
                raise ValueError(f"task {task.name}: {steps}, no cut parts them")
            middle = (before + after) // 2
            return _part(first, middle, tasks, marks) + _part(middle, last, tasks, marks)
    return [(first, last)]
