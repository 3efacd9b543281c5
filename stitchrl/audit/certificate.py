"""The certificate of a dataset: do its tasks have the status that they should have, and can they be stitched?

What is common to goals and returns is here. What is asked of a task, and how that is judged, is a `Judge`'s.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from stitchrl.audit.achieved import Achieved
from stitchrl.audit.cooccurrence import Status, status_of
from stitchrl.data.formats.source import Source
from stitchrl.types import AnyTask, Region, RewardRegion, Walls

LISTED = 20  # episodes that join a task, or visit both ends where none joins, are named up to so many


@dataclass(frozen=True)
class Audited:
    """A dataset with its tasks, and how they are looked at. Distances are in `unit`.

    Attributes:
        tasks: All of them of one kind, goals or returns.
        walls: None where nothing is in the way, or walls are unknown.
        epsilon: Distance within which one episode is left for another. 0: achieved goals must be equal.
        min_episodes: How many episodes make a task seen.
        control: Whether the dataset was made to fail, or to be compared with.
        ceilings: The behaviour's success on tasks, by their names, where it was measured.
        min_support: How many episodes must begin in an unseen task's start and reach what it asks for elsewhere. None:
            `min_episodes`.
        rewards: [N] float32 of the rows, NaN on each episode's last. None where there are none.
        unit: Of achieved goals, for people to read. "" where it is unknown.
        earning: Which regions earn what, for cards.
        drawing: What stands in the way, as a world draws itself: `rectangles`, each [x, y, width, height], and
            `extent`, [x low, x high, y low, y high], in the plane of the first two numbers. None where it is unknown.
        rest: What observations hold beside the achieved goal, in words.
        walls_known: Whether no walls means that nothing is in the way.
    """

    name: str
    sha256: str
    achieved: Achieved
    tasks: Sequence[AnyTask]
    walls: Walls | None
    epsilon: float
    min_episodes: int
    control: bool = False
    ceilings: Mapping[str, float] = field(default_factory=dict)
    min_support: int | None = None
    rewards: np.ndarray | None = None
    earning: Sequence[RewardRegion] = ()
    unit: str = ""
    drawing: dict[str, Any] | None = None
    rest: str = "the rest of the observation"
    walls_known: bool = True


class Column(NamedTuple):
    """A column of the table of tasks."""

    heading: str
    text: Callable[[dict[str, Any]], str]  # of a task of the certificate
    meaning: str = ""  # the heading in words, where it does not speak for itself. {epsilon} and {unit} are filled in


class Terms(NamedTuple):
    """How episodes relate to a kind of task."""

    noun: str  # what a task is called
    does: str  # the verb for an episode that holds all of a task, in the plural
    done: str  # the same, passive
    key: str  # of how many episodes do it
    chained: str  # what a chain of episodes does with a task, up to its name
    chained_its: str  # the same where the task was named before
    # Key of how many episodes support a task to what they do: a verb, what follows up to the task's name, and what
    # follows where the task was named before.
    support: dict[str, tuple[str, str, str]]


class Judge(Protocol):
    """Who judges tasks that ask for one kind of thing. A task is a plain dict, as a certificate holds it.

    Attributes:
        asks: The key in a tasks file that says what is asked for.
        any_order: The key of how many episodes hold all of a task in any order, where there is one.
        rewarded: Whether it looks at rewards.
        columns: The table of tasks, after name and status.
        terms: What sentences on these tasks have of their own.
    """

    asks: str
    any_order: str
    rewarded: bool
    columns: Sequence[Column]
    terms: Terms

    def read(self, where: str, values: Any, dimensions: int) -> AnyTask:
        """A task from a tasks file, of goals of so many numbers. ValueError names the place and the key."""

    def certify(self, audited: Audited) -> "Certificate":
        """Audit a dataset. ValueError where it lacks what its tasks ask for."""

    def status(self, task: dict[str, Any], min_episodes: int) -> Status:
        """A task's status if so many episodes make it seen."""
        return status_of(task[self.terms.key], task[self.any_order], min_episodes)

    def problems(self, task: dict[str, Any], certificate: "Certificate") -> list[str]:
        """A line for each way in which a task is not what it should be."""
        found = []
        if task["status"] != task["expect"]:
            found.append(f"expected {task['expect']}, found {task['status']}: {self.evidence(task, certificate)}")
        if task["expect"] == "unseen":
            if task["segments_needed"] is None:
                found.append(f"no chain of episodes {self.terms.chained_its} at epsilon {certificate.epsilon:g}")
            for key, (verb, _, what) in self.terms.support.items():
                if task[key] < certificate.min_support:
                    found.append(f"only {task[key]} episodes {verb} {what}, {certificate.min_support} needed")
        return found

    def evidence(self, task: dict[str, Any], certificate: "Certificate") -> str:
        """Why a task has its status, in words."""

    def verdict(self, certificate: "Certificate") -> list[str]:
        """Sentences that answer whether the dataset tests stitching."""

    def survey(self, source: Source, audited: Audited, certificate: "Certificate") -> dict[str, Any]:
        """What else the data tell, as plain values for JSON."""
        return {}

    def caveats(self, surveyed: dict[str, Any], certificate: "Certificate") -> list[str]:
        """Sentences that limit the verdict, from the survey."""
        return []

    def details(self, surveyed: dict[str, Any], audited: Audited, certificate: "Certificate") -> list[str]:
        """The survey in sentences."""
        return []


@dataclass(frozen=True)
class Certificate:
    """What the audit of a dataset and its tasks found, with the hashes of both. Plain data.

    `epsilon`, `min_episodes`, `min_support`, `control`, `unit` and `drawing` are as in `Audited`.

    Attributes:
        tasks: Plain values, as the judge's `certify` writes them. `start`, and `goal` where there is one, are regions:
            `center`, `half` and `radius`.
        objective: "goal" or "return", which names the judge.
        rewards: Regions and what a step earns that ends there.
    """

    dataset: str
    dataset_sha256: str
    tasks_sha256: str
    epsilon: float
    min_episodes: int
    min_support: int
    control: bool
    tasks: list[dict[str, Any]]
    objective: str
    unit: str = ""
    drawing: dict[str, Any] | None = None
    rewards: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, audited: Audited, objective: str, tasks: list[dict[str, Any]]) -> "Certificate":
        """The certificate of what was found of each task."""
        return cls(
            dataset=audited.name,
            dataset_sha256=audited.sha256,
            tasks_sha256=tasks_sha256(audited.tasks),
            epsilon=round(audited.epsilon, 4),
            min_episodes=audited.min_episodes,
            min_support=audited.min_episodes if audited.min_support is None else audited.min_support,
            control=audited.control,
            tasks=tasks,
            objective=objective,
            unit=audited.unit,
            drawing=audited.drawing,
            rewards=reward_values(audited.earning),
        )

    @property
    def judge(self) -> Judge:
        from stitchrl.audit.judges import JUDGES  # they know certificates

        return JUDGES[self.objective]

    @property
    def problems(self) -> list[str]:
        return [f"task {task['name']}: {problem}" for task in self.tasks for problem in self.judge.problems(task, self)]

    @property
    def passed(self) -> bool:
        """Whether every task has the status that it expects, and every unseen one a chain and support."""
        return not self.problems

    def judged(self, min_episodes: int, control: bool) -> "Certificate":
        """The certificate of the same data with another number of episodes that make a task seen and support it."""
        tasks = [task | {"status": self.judge.status(task, min_episodes)} for task in self.tasks]
        return replace(self, min_episodes=min_episodes, min_support=min_episodes, control=control, tasks=tasks)

    def as_dict(self) -> dict[str, Any]:
        """Plain values that can be written as JSON, the verdict included."""
        return asdict(self) | {"pass": self.passed, "problems": self.problems}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Certificate":
        """The inverse of `as_dict`. The verdict is not taken from the values: it follows from the rest."""
        kept = {key: value for key, value in values.items() if key not in ("pass", "problems")}
        # Older ones have one number for both, and do not name their objective. Of these, returns have a target.
        returns = any("target" in task for task in values["tasks"])
        older = {"min_support": values["min_episodes"], "objective": "return" if returns else "goal"}
        return cls(**{**older, **kept})


def region_values(region: Region) -> dict[str, Any]:
    """A region as plain values: numbers that may be fractions are always floats."""
    center = [float(x) for x in region.center]
    return {"center": center, "half": float(region.half), "radius": float(region.radius)}


def reward_values(rewards: Sequence[RewardRegion]) -> list[dict[str, Any]]:
    """Rewards as plain values."""
    return [{"region": region_values(region), "rate": rate} for region, rate in rewards]


def tasks_sha256(tasks: Sequence[AnyTask]) -> str:
    """The hash of the tasks as canonical JSON: sorted keys, no spaces, numbers that may be fractions always floats."""

    def plain(value: Any, kind: Any) -> Any:
        if isinstance(value, Region):
            return region_values(value)
        return rounded(value) if kind is float else value

    values = [{key.name: plain(getattr(task, key.name), key.type) for key in fields(task)} for task in tasks]
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def rounded(value: float) -> float | None:
    """A number fit for a certificate: four decimals; None, as JSON has no other word, where there is no number."""
    return round(float(value), 4) if math.isfinite(value) else None
