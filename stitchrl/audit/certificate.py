"""The certificate of a dataset: do its tasks have the status that they should have, and can they be stitched?"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tqdm import tqdm

from stitchrl.audit.chains import segments_needed
from stitchrl.audit.cooccurrence import co_occurrence, status_of
from stitchrl.audit.positions import Positions
from stitchrl.types import Region, ReturnTask, Task
from stitchrl.worlds.maze.maps import Maze

CLEAR = 0.1  # of a target: by so much at least it lies above what any episode attained from its start
LISTED = 20  # episodes that join a task, or visit both ends where none joins, are named up to so many


@dataclass(frozen=True)
class Certificate:
    """What the audit of a dataset and its tasks found, with the hashes of both."""

    dataset: str
    dataset_sha256: str
    tasks_sha256: str
    epsilon: float  # metres
    min_episodes: int  # that make a task seen
    min_support: int  # that must begin in an unseen task's start, and visit its goal
    control: bool  # a dataset made to fail, or to be compared with; marked as such, judged like any other
    tasks: list[dict[str, Any]]  # plain values, as written in `certify`

    @property
    def problems(self) -> list[str]:
        """One line for each failure."""
        return [f"task {task['name']}: {problem}" for task in self.tasks for problem in self._problems(task)]

    @property
    def passed(self) -> bool:
        """Whether every task has the status that it expects, and every unseen one a chain and support."""
        return not self.problems

    def _problems(self, task: dict[str, Any]) -> list[str]:
        problems = []
        if task["status"] != task["expect"]:
            problems.append(f"expected {task['expect']}, found {task['status']}: {self._evidence(task)}")
        if task["expect"] == "unseen":
            asks_return = "target" in task
            if task["segments_needed"] is None:
                does = "collects its target" if asks_return else "leads from start to goal"
                problems.append(f"no chain of episodes {does} at epsilon {self.epsilon:g}")
            there = ("elsewhere", "attain its target elsewhere") if asks_return else ("visits", "visit its goal region")
            for key, where in (("starts", "begin in its start region"), there):
                if task[key] < self.min_support:
                    problems.append(f"only {task[key]} episodes {where}, {self.min_support} needed")
            if asks_return and not task["attaining"] and task["margin"] < CLEAR:
                problems.append(
                    f"its target {task['target']:g} is not clear of the {task['best_in_data']:g} that an episode "
                    f"attained from its start, a tenth of it is needed between them"
                )
        return problems

    def _evidence(self, task: dict[str, Any]) -> str:
        """Why a task has its status, in words."""
        if "target" in task:
            listed = f" ({_listed(task['episodes'], task['attaining'])})" if task["attaining"] else ""
            return f"episodes that attain its target from its start: {task['attaining']}{listed}" + self._needed(task)
        count = task["ordered"]
        if count == 0:
            if task["unordered"] == 0:
                return "no episode visits both of its regions"
            listed = (
                f" ({_listed(task['episodes'], task['unordered'])})" if task["episodes"] else ""
            )  # none in older ones
            return f"episodes that visit both of its regions: {task['unordered']}{listed}, none in order"
        listed = _listed(task["episodes"], count)
        joins = f"1 episode joins it (episode {listed})" if count == 1 else f"{count} episodes join it ({listed})"
        return joins + self._needed(task)

    def _needed(self, task: dict[str, Any]) -> str:
        return f", {self.min_episodes} needed" if task["expect"] == "seen" else ""

    def judged(self, min_episodes: int, control: bool) -> "Certificate":
        """The certificate of the same data with another number of episodes that make a task seen and support it."""

        def status(task: dict[str, Any]) -> str:
            joining, both = ("attaining",) * 2 if "target" in task else ("ordered", "unordered")
            return status_of(task[joining], task[both], min_episodes)

        tasks = [task | {"status": status(task)} for task in self.tasks]
        return replace(self, min_episodes=min_episodes, min_support=min_episodes, control=control, tasks=tasks)

    def as_dict(self) -> dict[str, Any]:
        """Plain values that can be written as JSON, the verdict included."""
        return asdict(self) | {"pass": self.passed, "problems": self.problems}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Certificate":
        """The inverse of `as_dict`. The verdict is not taken from the values: it follows from the rest."""
        kept = {key: value for key, value in values.items() if key not in ("pass", "problems")}
        return cls(**{"min_support": values["min_episodes"], **kept})  # older ones have one number for both


def certify(
    name: str,
    sha256: str,
    positions: Positions,
    tasks: Sequence[Task],
    maze: Maze | None,
    epsilon: float,
    min_episodes: int,
    control: bool,
    ceilings: Mapping[str, float] | None = None,
    min_support: int | None = None,
) -> Certificate:
    """Audit a dataset, whose hash is `sha256`.

    maze: None where walls are unknown. epsilon: metres within which one episode is left for another.
    ceilings: the behaviour controller's success on tasks, by their names, where it was measured. min_support: None for
    `min_episodes`.
    """
    needed, fewest, most = segments_needed(positions, tasks, maze, (epsilon, 2 * epsilon, epsilon / 2))
    rows = []
    for i, task in enumerate(tqdm(tasks, desc=f"audit {name}", unit=" tasks", delay=5, leave=False)):
        found = co_occurrence(positions, task, min_episodes)
        rows.append(
            {
                "name": task.name,
                "expect": task.expect,
                "status": found.status,
                "ordered": found.ordered,
                "unordered": found.unordered,
                "starts": found.starts,
                "visits": found.visits,
                "clearance": rounded(found.clearance),
                "segments_needed": needed[i],
                "segments_range": [fewest[i], most[i]],
                "path_length": rounded(task.path_length),
                "step_limit": task.step_limit,
                "ceiling": rounded((ceilings or {}).get(task.name, math.nan)),
                "episodes": (found.joining if found.ordered else found.both)[:LISTED].tolist(),
            }
        )
    return conclude(name, sha256, tasks, rows, epsilon, min_episodes, control, min_support)


def conclude(
    name: str,
    sha256: str,
    tasks: Sequence[Task | ReturnTask],
    rows: list[dict[str, Any]],
    epsilon: float,
    min_episodes: int,
    control: bool,
    min_support: int | None,
) -> Certificate:
    """The certificate of what was found of each task, goals and returns alike."""
    return Certificate(
        dataset=name,
        dataset_sha256=sha256,
        tasks_sha256=tasks_sha256(tasks),
        epsilon=round(epsilon, 4),
        min_episodes=min_episodes,
        min_support=min_episodes if min_support is None else min_support,
        control=control,
        tasks=rows,
    )


def _listed(episodes: Sequence[int], count: int) -> str:
    return ", ".join(map(str, episodes)) + (", ..." if count > LISTED else "")


def tasks_sha256(tasks: Sequence[Task | ReturnTask]) -> str:
    """The hash of the tasks as canonical JSON: sorted keys, no spaces, numbers that may be fractions always floats."""

    def region(value: Region) -> dict[str, Any]:
        center = [float(x) for x in value.center]
        return {"center": center, "half": float(value.half), "radius": float(value.radius)}

    def values(task: Task | ReturnTask) -> dict[str, Any]:
        common = {"name": task.name, "start": region(task.start), "expect": task.expect}
        if isinstance(task, ReturnTask):
            return common | {"target": float(task.target), "horizon": task.horizon}
        there = {"goal": region(task.goal), "path_length": rounded(task.path_length), "step_limit": task.step_limit}
        return common | there

    plain = [values(task) for task in tasks]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def rounded(value: float) -> float | None:
    """A number fit for a certificate: four decimals; None, as JSON has no other word, where there is no number."""
    return round(float(value), 4) if math.isfinite(value) else None
