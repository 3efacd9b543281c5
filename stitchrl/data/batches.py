"""Batches: rows drawn uniformly from all transitions, goals as the agent mixes them."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from stitchrl.data.episodes import Episodes, take
from stitchrl.data.paths import Sample
from stitchrl.seeds import stream
from stitchrl.types import Batch, GoalMixture, GoalPath, Needs, Window

BLOCK = 16  # batches that are drawn at once, which amortises call overhead


class Relabels(Protocol):
    """The part of an objective's relabelling that batches need; see `objectives.objective.Relabelling`."""

    def cut(self, path: GoalPath) -> GoalPath: ...

    def conditions(self, path: GoalPath, goals: Tensor, random: Tensor) -> Tensor: ...

    def along(self, path: GoalPath, steps: Tensor, conditions: Tensor) -> Tensor: ...


class BatchSampler:
    """Draws what the agent needs. Raises ValueError if the episodes or other needs rule it out.

    Paths have a generator of their own. So another trajectory sampler changes trajectory goals alone, with one seed:
    neither rows nor current and random goals.

    sample_path: the trajectory sampler, bound to these episodes. relabelling: makes conditions of paths.
    """

    def __init__(self, episodes: Episodes, sample_path: Sample, needs: Needs, seed: int, relabelling: Relabels):
        longest = int(episodes.lengths.max())
        if needs.window is not None and needs.window > longest:
            raise ValueError(f"agent.window: {needs.window} given, but the longest episode has {longest} steps")
        if needs.subgoal_steps is not None and needs.subgoal_steps < 1:
            raise ValueError(f"agent.subgoal_steps: {needs.subgoal_steps} given, a positive number expected")
        if needs.window is not None and needs.actor_goals.trajectory < 1:
            raise ValueError("agent.actor_goals: windows lead to trajectory goals, expected trajectory: 1")
        if needs.subgoal_steps is not None and needs.actor_goals.current > 0:
            raise ValueError("agent.actor_goals: no subgoal leads to the current state, expected current: 0")
        if needs.rewards and episodes.rewards is None:
            raise ValueError("the agent learns from rewards, and the dataset has none")
        self.episodes, self.sample_path, self.needs, self.relabelling = episodes, sample_path, needs, relabelling
        self._rng = torch.Generator(episodes.device).manual_seed(stream(seed, "batches"))
        self._path_rng = torch.Generator(episodes.device).manual_seed(stream(seed, "paths"))
        self._waiting: list[Batch] = []  # drawn and not yet given, the next one last
        self._block_began: dict[str, Any] = {}

    def next(self, size: int) -> Batch:
        """A batch of `size` transitions, one of a block."""
        if not self._waiting:
            self._block_began = self._generators() | {"size": size}
            self._waiting = split(self.sample(BLOCK * size), size)[::-1]
        return self._waiting.pop()

    def sample(self, size: int) -> Batch:
        """A batch of `size` transitions."""
        observations, actions = self.episodes.observations, self.episodes.actions
        rows = take(self.episodes.transitions, self._any(len(self.episodes.transitions), size))
        path, goals, random = self._goals(rows, self.needs.actor_goals)
        path = self.relabelling.cut(path)
        conditions = self.relabelling.conditions(path, goals, random)
        batch = Batch(take(observations, rows), take(actions, rows), None, conditions)
        if self.needs.value_goals is not None:
            _, value_goals, _ = self._goals(rows, self.needs.value_goals)
            batch = batch._replace(value_goals=take(observations, value_goals), value_reached=value_goals == rows)
        if self.needs.subgoal_steps is not None:
            low = torch.minimum(rows + self.needs.subgoal_steps, take(self.episodes.ends, rows))
            on_path = path.ahead(torch.tensor([self.needs.subgoal_steps], device=rows.device)).squeeze(1)
            subgoals = torch.where(random, low, on_path)
            batch = batch._replace(low_goals=take(observations, low), subgoals=take(observations, subgoals))
        if self.needs.window is not None:
            batch = batch._replace(window=self._window(path, conditions, self.needs.window))
        if self.needs.rewards:
            assert self.episodes.rewards is not None
            batch = batch._replace(rewards=take(self.episodes.rewards, rows))
        if self.needs.rewards or self.needs.value_goals is not None:
            batch = batch._replace(next_observations=take(observations, rows + 1))
        return batch

    def _window(self, path: GoalPath, conditions: Tensor, steps: int) -> Window:
        ahead, last = torch.arange(steps, device=path.rows.device), path.length[:, None] - 1
        within = torch.minimum(ahead, last)
        asked, at = self.relabelling.along(path, within, conditions), path.ahead(within)
        return Window(take(self.episodes.observations, at), take(self.episodes.actions, at), ahead <= last, asked)

    def _goals(self, rows: Tensor, mixture: GoalMixture) -> tuple[GoalPath, Tensor, Tensor]:
        """Paths to trajectory goals, the rows [B] of the goals that are taken, and which [B] of these are random."""
        path = self.sample_path(rows, mixture.discount, self._path_rng)
        kind = torch.rand(len(rows), generator=self._rng, device=rows.device)
        anywhere = self._any(len(self.episodes), len(rows))
        random = kind >= mixture.current + mixture.trajectory
        goals = torch.where(kind < mixture.current, rows, torch.where(random, anywhere, path.goal))
        return path, goals, random

    def _any(self, count: int, size: int) -> Tensor:
        """Numbers [size] below `count`."""
        return torch.randint(count, (size,), generator=self._rng, device=self.episodes.device)

    def state_dict(self) -> dict[str, Any]:
        """What the next batches follow from: those of a block that has begun are drawn again."""
        if self._waiting:
            return self._block_began | {"given": BLOCK - len(self._waiting)}
        return self._generators() | {"given": 0}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._rng.set_state(state["rng"])
        self._path_rng.set_state(state["path_rng"])
        self._waiting = []
        for _ in range(state["given"]):
            self.next(state["size"])

    def _generators(self) -> dict[str, Any]:
        return {"rng": self._rng.get_state(), "path_rng": self._path_rng.get_state()}


def split(batch: Batch, size: int) -> list[Batch]:
    """Batches of `size` transitions in the order of the given one's."""
    count = len(batch.observations) // size

    def parts(value: Any) -> Sequence[Any]:
        if value is None:
            return [None] * count
        if isinstance(value, Window):
            return [Window(*tensors) for tensors in zip(*map(parts, value), strict=True)]
        return value.split(size)

    return [Batch(*values) for values in zip(*map(parts, batch), strict=True)]
