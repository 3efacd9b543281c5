"""Co-occurrence: which training episodes visit a task's start region and later its goal region."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stitchrl.audit.achieved import Achieved, Visits
from stitchrl.types import Region, Task

Status = Literal["seen", "rare", "reversed_only", "unseen"]


def status_of(joining: int, both: int, min_episodes: int) -> Status:
    """Of a task, by how many episodes join it in order, and how many visit both of its ends in any order."""
    if joining >= min_episodes:
        return "seen"
    if joining:
        return "rare"
    return "reversed_only" if both else "unseen"


@dataclass(frozen=True)
class CoOccurrence:
    """What the episodes of a dataset have to do with a task."""

    status: Status
    joining: np.ndarray  # [ordered] numbers of the episodes with a row in S and a strictly later one in G
    both: np.ndarray  # [unordered] those with a row in S and a row in G, in any order; one row may be both
    starts: int  # episodes that begin in S
    visits: int  # episodes with a row in G
    clearance: float  # distance by which the nearest episode missed joining S to G; infinite where none tried

    @property
    def ordered(self) -> int:
        """How many episodes join S to G."""
        return len(self.joining)

    @property
    def unordered(self) -> int:
        """How many episodes visit S and G, in any order."""
        return len(self.both)


def co_occurrence(achieved: Achieved, task: Task, min_episodes: int) -> CoOccurrence:
    """Find the episodes that join a task's regions; `min_episodes` of them make it seen."""
    start, goal = achieved.visits(task.start), achieved.visits(task.goal)
    joining = np.flatnonzero(start.first < goal.last)
    both = np.flatnonzero((start.first < len(achieved)) & (goal.last >= 0))
    return CoOccurrence(
        status=status_of(len(joining), len(both), min_episodes),
        joining=joining,
        both=both,
        starts=int((start.first == achieved.first).sum()),
        visits=int((goal.last >= 0).sum()),
        clearance=0.0 if len(joining) else _clearance(achieved, task, start, goal),
    )


def _clearance(achieved: Achieved, task: Task, start: Visits, goal: Visits) -> float:
    """An episode joins S to G if it comes to G after S or, the same thing, was in S before G. The least miss."""
    clearance = np.inf
    for part in achieved.parts:
        rows, number = np.arange(part.begin, part.end), achieved.number(part)
        points = achieved.of_part(part)
        after_start = points[rows > start.first[part.first : part.last][number]]
        before_goal = points[rows < goal.last[part.first : part.last][number]]
        for there, region in ((after_start, task.goal), (before_goal, task.start)):
            clearance = min(clearance, region.distance(there).min(initial=np.inf))
    return float(clearance)


STRETCHES = 5  # of episodes that join what should be unseen


def stretches(tasks: Sequence[Mapping[str, Any]], achieved: Achieved) -> list[slice]:
    """The rows of a few episodes between both ends of a task that should be unseen, one task after the other."""
    leaks = [task for task in tasks if task["expect"] == "unseen" and "goal" in task]
    parts = []
    for place in range(max((len(task["episodes"]) for task in leaks), default=0)):
        for task in leaks:
            if place < len(task["episodes"]):
                number = task["episodes"][place]
                first = int(achieved.first[number])
                here = achieved.points(slice(first, achieved.last[number] + 1))
                begin, end = stretch(here, Region(**task["start"]), Region(**task["goal"]))
                parts.append(slice(first + begin, first + end + 1))
    return parts[:STRETCHES]


def stretch(points: np.ndarray, start: Region, goal: Region) -> tuple[int, int]:
    """The part of an episode [T + 1, D] that first leads from the start to the goal, or between them, as two rows."""
    in_start, in_goal = np.flatnonzero(start.contains(points)), np.flatnonzero(goal.contains(points))
    later = in_goal[in_goal > in_start[0]]
    if not len(later):  # it comes by in the other order
        return int(in_goal[0]), int(in_start[-1])
    return int(in_start[in_start < later[0]][-1]), int(later[0])
