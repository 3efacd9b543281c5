"""Batches: rows drawn uniformly from all transitions, goals drawn by the trajectory sampler."""

from typing import NamedTuple

import torch
from torch import Generator

from stitchrl.data.episodes import Episodes
from stitchrl.data.paths import TrajectorySampler
from stitchrl.types import Batch, Path


class Sampled(NamedTuple):
    batch: Batch
    path: Path


class BatchSampler:
    def __init__(self, episodes: Episodes, goals: TrajectorySampler):
        self.episodes = episodes
        self._sample = goals.bind(episodes)

    def sample(self, size: int, rng: Generator) -> Sampled:
        """A batch of `size` transitions with the paths that their goals end."""
        rows = self.episodes.transitions[torch.randint(len(self.episodes.transitions), (size,), generator=rng)]
        path = self._sample(rows, rng)
        observations = self.episodes.observations
        return Sampled(Batch(observations[rows], self.episodes.actions[rows], observations[path.goal]), path)
