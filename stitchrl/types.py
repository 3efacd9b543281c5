"""Plain values that every part of stitchrl speaks of: regions and tasks, spaces, batches, paths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import gymnasium
import numpy as np
import torch
from torch import Tensor

Place = tuple[int, ...]  # what a dataset's YAML names in a world: a cell of a maze
Expectation = Literal["seen", "unseen"]


@dataclass(frozen=True)
class Region:
    """All points of achieved-goal space within `radius` of a cube. `half` is half of the cube's side.

    The unit is the world's. Without `half` and `radius` the region is one point.
    """

    center: tuple[float, ...]
    half: float = 0.0
    radius: float = 0.0

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Distance [...] from points [..., D] to the region, zero inside."""
        outside = np.maximum(np.abs(points - np.asarray(self.center, points.dtype)) - self.half, 0)
        return np.maximum(np.linalg.norm(outside, axis=-1) - self.radius, 0)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Boolean [...] for points [..., D]."""
        return self.distance(points) == 0

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """A point [D], uniform in the cube itself."""
        return np.asarray(self.center) + rng.uniform(-self.half, self.half, len(self.center))


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
class ReturnTask:
    """An evaluated pair of a start region and a target return: what is to be collected within `horizon` steps."""

    name: str
    start: Region
    target: float
    horizon: int  # steps
    expect: Expectation


AnyTask = Task | ReturnTask


class RewardRegion(NamedTuple):
    """Every step that ends in the region earns `rate`."""

    region: Region
    rate: float


def reward_at(rewards: Sequence[RewardRegion], achieved: np.ndarray) -> np.ndarray:
    """What a step earns that ends at each of the achieved goals [..., D]: [...] float32."""
    earned = np.zeros(achieved.shape[:-1], np.float32)
    for region, rate in rewards:
        earned += np.float32(rate) * region.contains(achieved)
    return earned


class GoalPath(NamedTuple):
    """Trajectories through the data, possibly over seams. Every entry is a row of `Episodes`.

    A seam takes no time: the row where an episode is left and the row where the next is entered stand for one state.

        rows ....... leave[0]                      steps 0 1 2 3 . .
                     enter[0] ....... leave[1]               . . . . .
                                      enter[1] ... goal                . . .
    """

    rows: Tensor  # [B] where each begins
    goal: Tensor  # [B] where each ends
    leave: Tensor  # [B, hops] rows where an episode is left, -1 where unused; used ones come first
    enter: Tensor  # [B, hops] rows where the next episode is entered, -1 where unused

    @property
    def length(self) -> Tensor:
        """Steps [B] from where each path begins to its goal."""
        length, row = torch.zeros_like(self.rows), self.rows
        for leave, enter in zip(self.leave.unbind(1), self.enter.unbind(1), strict=True):
            length = torch.where(leave >= 0, length + leave - row, length)
            row = torch.where(leave >= 0, enter, row)
        return length + self.goal - row

    def ahead(self, steps: Tensor) -> Tensor:
        """The rows [B, K] that lie `steps` ([K] or [B, K]) ahead on each path, or its goal where that is nearer."""
        row = self.rows[:, None]
        left = steps.expand(len(row), -1)
        stopped = torch.zeros_like(left, dtype=torch.bool)  # before a seam
        for leave, enter in zip(self.leave.T[..., None], self.enter.T[..., None], strict=True):
            crosses = ~stopped & (leave >= 0) & (left >= leave - row)
            stopped = stopped | ((leave >= 0) & ~crosses)
            left = torch.where(crosses, left - (leave - row), left)
            row = torch.where(crosses, enter, row)
        return torch.where(stopped, row + left, torch.minimum(row + left, self.goal[:, None]))

    @property
    def seams(self) -> Tensor:
        """Steps [B, hops] from where each path begins to its seams; to its last one where there are no more."""
        entered = torch.cat([self.rows[:, None], self.enter], 1)[:, :-1]
        return torch.where(self.leave >= 0, self.leave - entered, 0).cumsum(1)

    def first(self, steps: int) -> "GoalPath":
        """The first `steps` steps of each path; the whole of one that is shorter."""
        goal = self.ahead(torch.tensor([steps], device=self.rows.device)).squeeze(1)
        beyond = self.seams > steps
        return GoalPath(self.rows, goal, self.leave.masked_fill(beyond, -1), self.enter.masked_fill(beyond, -1))

    def collected(self, earned: Tensor, steps: Tensor) -> Tensor:
        """The reward [B, K] of the first `steps` ([K] or [B, K]) steps of each path, or to its goal if that is nearer.

        earned: [N] the reward of all rows before each one.
        """
        total = earned[self.ahead(steps)] - earned[self.rows][:, None]
        gaps = earned[self.leave] - earned[self.enter]  # what a jump adds by itself; 0 where there is none, of -1 to -1
        for seam, gap in zip(self.seams.T[..., None], gaps.T[..., None], strict=True):
            total = total + torch.where(steps >= seam, gap, 0)
        return total


class GoalMixture(NamedTuple):
    """How often a goal is the current state, one drawn by the trajectory sampler, or any state of the data.

    discount: a state n steps ahead on a trajectory is drawn in proportion to discount ** n; None: all alike.
    """

    current: float
    trajectory: float
    random: float
    discount: float | None = None


class Needs(NamedTuple):
    """What an agent's batches hold besides transitions."""

    actor_goals: GoalMixture
    value_goals: GoalMixture | None = None
    subgoal_steps: int | None = None
    window: int | None = None
    act_window: int | None = None  # steps of a window that `act` is shown; None: all of them
    rewards: bool = False


class Condition(NamedTuple):
    """What a policy is asked for: a goal, which is a whole observation, or a vector. An agent is shown its numbers."""

    dim: int  # how many numbers are shown
    columns: tuple[int, ...] | None = None  # of a goal's flattened observation; None: the vector as it is


class Spaces(NamedTuple):
    """What an agent is built for."""

    observation: gymnasium.spaces.Box  # of any shape and dtype
    action: gymnasium.spaces.Box | gymnasium.spaces.Discrete
    condition: Condition


class LossResult(NamedTuple):
    """What an agent's loss comes to in one update."""

    loss: Tensor  # scalar, to be minimised
    info: dict[str, Any]  # logged, not minimised: scalars on whatever device, or plain numbers


class Window(NamedTuple):
    """The first steps of each path, row by row, for sequence models."""

    observations: Tensor  # [B, K, obs_dim]
    actions: Tensor  # [B, K, act_dim]
    valid: Tensor  # [B, K] whether the step comes before the path's goal; the rest repeats an earlier step
    conditions: Tensor  # [B, K, ...] what is asked for at each step


class Batch(NamedTuple):
    """What an agent learns from in one update; None where it does not need it."""

    observations: Tensor  # [B, obs_dim]
    actions: Tensor  # [B, act_dim]
    next_observations: Any  # [B, obs_dim], for critics
    goals: Tensor  # [B, condition_dim], the actor's conditions
    value_goals: Any = None  # [B, obs_dim], the critic's
    value_reached: Any = None  # [B] whether the critic's goal is the state itself
    low_goals: Any = None  # [B, obs_dim], so many steps ahead in the same episode
    subgoals: Any = None  # [B, obs_dim], so many steps ahead on the way to the actor's goal
    window: Any = None  # `Window` of the path to the actor's goal
    rewards: Any = None  # [B] what the transition earns


class Walls(Protocol):
    """Which points of achieved-goal space lie on the same side of walls."""

    @property
    def adjacent(self) -> np.ndarray:
        """Boolean [places, places]: between which places there is no wall."""

    def place(self, points: np.ndarray) -> np.ndarray:
        """The number [...] of the place that each of the points [..., D] lies in."""


class Simulation(Protocol):
    """Independent environments, stepped side by side."""

    observations: np.ndarray  # [envs, *shape], what is observed of each now

    @property
    def achieved(self) -> np.ndarray:
        """The goal [envs, D] that each environment has achieved now."""

    def reset(self, env: int, start: np.ndarray) -> None:
        """Put an environment at the point `start` [D] of achieved-goal space."""

    def step(self, actions: np.ndarray, active: np.ndarray) -> None:
        """Advance the environments where `active` [envs] is true by one step with actions [envs, ...]."""


# observations, or windows of them for sequence models, and conditions [B, condition_dim] -> actions [B, act_dim]
Policy = Callable[[Any, Tensor], Tensor]
