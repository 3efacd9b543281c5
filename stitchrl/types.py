"""Plain values that every part of stitchrl speaks of: regions and tasks, dataset specifications, batches, paths."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from torch import Tensor

Cell = tuple[int, int]
Expectation = Literal["seen", "unseen"]


@dataclass(frozen=True)
class Region:
    """All points within `radius` of a square box: `half` is half of its side. Metres, in achieved-goal space."""

    center: tuple[float, float]
    half: float = 0.0
    radius: float = 0.0

    def distance(self, xy: np.ndarray) -> np.ndarray:
        """Distance [...] from points [..., 2] to the region, zero inside."""
        outside = np.maximum(np.abs(xy - np.asarray(self.center, xy.dtype)) - self.half, 0)
        return np.maximum(np.hypot(outside[..., 0], outside[..., 1]) - self.radius, 0)

    def contains(self, xy: np.ndarray) -> np.ndarray:
        """Boolean [...] for points [..., 2]."""
        return self.distance(xy) == 0

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """A point [2], uniform in the box itself."""
        return np.asarray(self.center) + rng.uniform(-self.half, self.half, 2)


@dataclass(frozen=True)
class Task:
    """An evaluated pair of regions. Resets are drawn from the box of `start`, goals from the box of `goal`."""

    name: str
    start: Region
    goal: Region  # dilated by the success radius
    expect: Expectation
    path_length: float = float("nan")  # metres between the centres along the shortest path
    step_limit: int = 0


@dataclass(frozen=True)
class Context:
    """Cells that an episode may begin in and cells that it may be sent to."""

    reset: tuple[Cell, ...]
    goal: tuple[Cell, ...]


@dataclass(frozen=True)
class DatasetSpec:
    """What a dataset is collected from: one YAML file in conf/dataset/. Its keys are these fields.

    contexts: lists of `reset` and `goal` cells, or the word `all` (every free cell).
    seen, unseen: evaluated (start cell, goal cell) pairs, by the status that the certificate must find.
    cut: steps in a piece when the episodes of the `joined` twin are to be cut, else None.
    min_episodes: how many episodes make a task seen, and support an unseen one.
    """

    world: str
    maze: str
    split: str
    contexts: tuple[Context, ...]
    seen: tuple[tuple[Cell, Cell], ...]
    unseen: tuple[tuple[Cell, Cell], ...]
    cut: int | None = None
    transitions: int = 1_000_000
    seed: int = 0
    min_episodes: int = 50
    control: bool = False

    DEFAULT_TRANSITIONS = 1_000_000
    VERSION = 0

    @classmethod
    def create(cls, values: dict[str, Any], free_cells: Sequence[Cell]) -> "DatasetSpec":
        """A specification from the plain values of a YAML file. Raises ValueError that names the faulty key."""
        free = set(free_cells)

        def cell(value: Sequence[int], where: str) -> Cell:
            found = (int(value[0]), int(value[1]))
            if found not in free:
                raise ValueError(f"dataset.{where}: cell {list(found)} of maze {values['maze']!r} is not a free cell")
            return found

        def cells(value: Any, where: str) -> tuple[Cell, ...]:
            return tuple(sorted(free)) if value == "all" else tuple(cell(c, where) for c in value)

        contexts = tuple(
            Context(cells(c["reset"], f"contexts[{i}].reset"), cells(c["goal"], f"contexts[{i}].goal"))
            for i, c in enumerate(values["contexts"])
        )
        pairs = {
            key: tuple((cell(a, key), cell(b, key)) for a, b in values.get(key) or ()) for key in ("seen", "unseen")
        }
        spec = cls(**{**values, **pairs, "contexts": contexts})
        for key in ("transitions", "min_episodes") + (("cut",) if spec.cut is not None else ()):
            if getattr(spec, key) < 1:
                raise ValueError(f"dataset.{key}: {getattr(spec, key)} given, a positive number expected")
        return spec

    @property
    def name(self) -> str:
        """`<world>-<maze>-<split>-v<k>`; a size or seed that is not the default enters it."""
        size = "" if self.transitions == self.DEFAULT_TRANSITIONS else f"-n{self.transitions}"
        seed = "" if self.seed == 0 else f"-s{self.seed}"
        return f"{self.world}-{self.maze}-{self.split}{size}{seed}-v{self.VERSION}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values that can be written as JSON."""
        return asdict(self)


class Path(NamedTuple):
    """Trajectories through the data, possibly over seams. Every entry is a row of `Episodes`."""

    rows: Tensor  # [B] where each begins
    goal: Tensor  # [B] where each ends
    leave: Tensor  # [B, hops] rows where an episode is left, -1 where unused
    enter: Tensor  # [B, hops] rows where the next episode is entered, -1 where unused


class Batch(NamedTuple):
    """What an agent learns from in one update."""

    observations: Tensor  # [B, obs_dim]
    actions: Tensor  # [B, act_dim]
    goals: Tensor  # [B, obs_dim], whole observations: an agent takes the columns that it uses


class Simulation(Protocol):
    """Physics of several independent bodies side by side, each in its own lane."""

    observations: np.ndarray  # [lanes, obs_dim] float32, the current state of each

    def reset(self, lane: int, xy: np.ndarray) -> None: ...

    def step(self, actions: np.ndarray, active: np.ndarray) -> None:
        """Advance the lanes where `active` [lanes] is true by one control step with actions [lanes, act_dim]."""


Policy = Callable[[Tensor, Tensor], Tensor]  # observations and whole goal observations [B, obs_dim] -> actions
