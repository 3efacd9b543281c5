"""Co-occurrence: which training episodes visit a task's start region and later its goal region.

Rows are all rows of `Episodes`, in time order inside an episode; xy [N, 2] are their achieved goals in metres.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from stitchrl.data.episodes import Episodes
from stitchrl.types import Task

POSITION = (0, 1)  # where the worlds' observations have x and y
Status = Literal["seen", "rare", "reversed_only", "unseen"]


class Visits(NamedTuple):
    """When each episode is in a region."""

    first: np.ndarray  # [episodes] its first row there; N, past all rows, where it never is
    last: np.ndarray  # [episodes] its last row there; -1, before all rows, where it never is


@dataclass(frozen=True)
class CoOccurrence:
    """What the episodes of a dataset have to do with a task."""

    status: Status
    joining: np.ndarray  # [ordered] numbers of the episodes with a row in S and a strictly later one in G
    unordered: int  # episodes with a row in S and a row in G, in any order; one row may be both
    starts: int  # episodes that begin in S
    visits: int  # episodes with a row in G
    clearance: float  # metres by which the nearest episode missed joining S to G; infinite where none tried

    @property
    def ordered(self) -> int:
        """How many episodes join S to G."""
        return len(self.joining)


def achieved(episodes: Episodes, columns: tuple[int, int] = POSITION) -> np.ndarray:
    """Achieved goals [N, 2] of all rows, in float64: every part of the audit then decides borders the same way.

    columns: where they stand in the observation. ValueError where it has no such column.
    """
    width = episodes.observations.shape[1]
    if max(columns) >= width:
        raise ValueError(f"achieved_goal: columns: {max(columns)} given, observations have columns 0 to {width - 1}")
    return episodes.observations[:, list(columns)].numpy().astype(np.float64)


def find_visits(inside: np.ndarray, episodes: Episodes) -> Visits:
    """The first and last of the rows where `inside` [N] is true, by episode."""
    rows = np.flatnonzero(inside)
    number = episodes.number.numpy()[rows]
    visits = Visits(np.full(len(episodes.first), len(episodes)), np.full(len(episodes.first), -1))
    np.minimum.at(visits.first, number, rows)
    np.maximum.at(visits.last, number, rows)
    return visits


def co_occurrence(xy: np.ndarray, episodes: Episodes, task: Task, min_episodes: int) -> CoOccurrence:
    """Find the episodes that join a task's regions; `min_episodes` of them make it seen."""
    rows, number = np.arange(len(xy)), episodes.number.numpy()
    to_start, to_goal = task.start.distance(xy), task.goal.distance(xy)
    start, goal = find_visits(to_start == 0, episodes), find_visits(to_goal == 0, episodes)

    joining = np.flatnonzero(start.first < goal.last)
    in_both = int(((start.first < len(xy)) & (goal.last >= 0)).sum())
    status: Status
    if len(joining) >= min_episodes:
        status = "seen"
    elif len(joining):
        status = "rare"
    else:
        status = "reversed_only" if in_both else "unseen"

    # An episode joins S to G if it comes to G after S, or, the same thing, was in S before G: miss either by least.
    after_start, before_goal = rows > start.first[number], rows < goal.last[number]
    return CoOccurrence(
        status=status,
        joining=joining,
        unordered=in_both,
        starts=int((start.first == episodes.first.numpy()).sum()),
        visits=int((goal.last >= 0).sum()),
        clearance=float(min(to_goal[after_start].min(initial=np.inf), to_start[before_goal].min(initial=np.inf))),
    )
