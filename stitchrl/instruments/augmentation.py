"""How often augmented paths really leave their episode, and how often they contradict the data (design: stitch)."""

from typing import Any, Literal

import torch

from stitchrl.agents.agent import Agent
from stitchrl.benchmark.benchmark import Benchmark
from stitchrl.data.batches import BatchSampler
from stitchrl.data.episodes import Episodes
from stitchrl.data.paths import TrajectorySampler
from stitchrl.instruments.instrument import Values
from stitchrl.objectives.regions import steps_needed
from stitchrl.types import GoalPath


class Augmentation:
    """Measured once, of the sampler alone.

    `requested` is the share of paths that the sampler wants to leave their episode; None for a sampler that does not
    say. `realised` is the share that do. `contradiction_rate` is the share of these whose episode itself leads away
    from the new goal: after half the way to the next place the walk to the goal is longer. It is None where no path
    leaves its episode, or where the objective leads nowhere. pairs: how many paths are drawn.
    """

    every: Literal["evaluation"] = "evaluation"

    def __init__(self, pairs: int = 20_000):
        self.pairs = pairs
        self._values: dict[str, float | None] = {}

    def bind(self, benchmark: Benchmark, goals: TrajectorySampler, sampler: BatchSampler) -> None:
        episodes, discount = sampler.episodes, sampler.needs.actor_goals.discount
        rng = torch.Generator(episodes.device).manual_seed(0)
        drawn = torch.randint(len(episodes.transitions), (self.pairs,), generator=rng, device=episodes.device)
        path = sampler.relabelling.cut(sampler.sample_path(episodes.transitions[drawn], discount, rng))
        jumped = (path.leave >= 0).any(1) | (episodes.ends[path.goal] != episodes.ends[path.rows])
        self._values = {
            "requested": getattr(goals, "p", None),
            "realised": round(float(jumped.float().mean()), 4),
            "contradiction_rate": contradiction_rate(benchmark, episodes, path, jumped) if jumped.any() else None,
        }

    def __call__(self, agent: Agent, step: int, rows: list[dict[str, Any]]) -> Values:
        return self._values


def contradiction_rate(benchmark: Benchmark, episodes: Episodes, path: GoalPath, jumped: torch.Tensor) -> float | None:
    """The share of the paths that jump [B] whose episode's own way leads away from the goal."""
    world, rows = benchmark.world, path.rows[jumped]
    ahead = max(1, round(steps_needed(world, world.spacing / 2)))
    later = torch.minimum(rows + ahead, episodes.ends[rows])
    states = (episodes.observations[at].cpu().numpy() for at in (rows, later, path.goal[jumped]))
    away = benchmark.objective.leads_away(*states)
    return None if away is None else round(float(away.mean()), 4)
