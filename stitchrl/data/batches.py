"""Batches: rows drawn uniformly from all transitions, goals as the agent mixes them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stitchrl.data.episodes import Episodes, take
from stitchrl.data.paths import Sample
from stitchrl.data.returns import Returns
from stitchrl.seeds import stream
from stitchrl.types import Batch, GoalMixture, GoalPath, Needs, Window

BLOCK = 16  # batches that are drawn at once: so that what a call costs counts little beside what is copied


class BatchSampler:
    """Draws what the agent needs. Raises ValueError for needs that the episodes or each other rule out.

    returns: conditions are returns along the paths, cut at the horizon; None: they are goals. The random return is that
    of another transition's path.

    The goals' paths have a generator of their own: with one seed, another trajectory sampler changes trajectory goals
    alone, and neither rows nor current and random goals.
    """

    def __init__(
        self, episodes: Episodes, sample_path: Sample, needs: Needs, seed: int, returns: Returns | None = None
    ):
        if needs.window is not None and needs.window > int(episodes.lengths.max()):
            raise ValueError(
                f"agent.window: {needs.window} given, but the longest episode has {int(episodes.lengths.max())} steps"
            )
        if needs.subgoal_steps is not None and needs.subgoal_steps < 1:
            raise ValueError(f"agent.subgoal_steps: {needs.subgoal_steps} given, a positive number expected")
        if needs.window is not None and needs.actor_goals.trajectory < 1:
            raise ValueError("agent.actor_goals: windows lead to trajectory goals, expected trajectory: 1")
        if needs.subgoal_steps is not None and needs.actor_goals.current > 0:
            raise ValueError("agent.actor_goals: no subgoal leads to the current state, expected current: 0")
        if returns is not None and needs.value_goals is not None:
            raise ValueError("agent.value_goals: given, but returns are asked for, and no goals")
        if returns is not None and needs.actor_goals.current > 0:
            raise ValueError(
                "agent.actor_goals: no return is collected on the way to the current state, expected current: 0"
            )
        if needs.rewards and episodes.rewards is None:
            raise ValueError("the agent learns from rewards, and the dataset has none")
        self.episodes, self.sample_path, self.needs, self.returns = episodes, sample_path, needs, returns
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
        if self.returns is None:
            conditions = take(observations, goals)
        else:
            path = path.first(self.returns.horizon)
            conditions = self.returns.ahead(path, rows.new_zeros(1)).squeeze(1)
            conditions = torch.where(random[:, None], conditions.roll(1, 0), conditions)
        batch = Batch(take(observations, rows), take(actions, rows), None, conditions)
        if self.needs.value_goals is not None:
            _, value_goals, _ = self._goals(rows, self.needs.value_goals)
            batch = batch._replace(
                next_observations=take(observations, rows + 1),
                value_goals=take(observations, value_goals),
                value_reached=value_goals == rows,
            )
        if self.needs.subgoal_steps is not None:
            near = torch.minimum(rows + self.needs.subgoal_steps, take(self.episodes.ends, rows))
            on_path = path.ahead(torch.tensor([self.needs.subgoal_steps], device=rows.device)).squeeze(1)
            subgoals = torch.where(random, near, on_path)
            batch = batch._replace(low_goals=take(observations, near), subgoals=take(observations, subgoals))
        if self.needs.window is not None:
            steps, last = torch.arange(self.needs.window, device=rows.device), path.length[:, None] - 1
            within = torch.minimum(steps, last)
            if self.returns is None:
                asked = conditions[:, None].expand(-1, self.needs.window, -1)
            else:
                asked = self.returns.ahead(path, within)
            at = path.ahead(within)
            window = Window(take(observations, at), take(actions, at), steps <= last, asked)
            batch = batch._replace(window=window)
        if self.needs.rewards:
            assert self.episodes.rewards is not None
            batch = batch._replace(
                next_observations=take(observations, rows + 1), rewards=take(self.episodes.rewards, rows)
            )
        return batch

    def _goals(self, rows: Tensor, mixture: GoalMixture) -> tuple[GoalPath, Tensor, Tensor]:
        """The paths to trajectory goals, the rows [B] of the goals after all, and which [B] of them are random."""
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
