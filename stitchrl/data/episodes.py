"""`Episodes`: all rows of a dataset in one place, every state kept, the last of each episode included."""

import hashlib
from functools import cached_property

import numpy as np
import torch
from torch import Tensor


class Episodes:
    """Episodes laid end to end; immutable.

    observations: [N, obs_dim] float32. actions: [N, act_dim] float32, NaN on each episode's last row, where no action
    was taken: misuse is loud. rewards: [N] float32, NaN likewise, or None. starts, ends: [N] int64, the first and last
    row of each row's episode.
    """

    def __init__(self, observations: Tensor, actions: Tensor, rewards: Tensor | None, lengths: Tensor):
        """lengths: [episodes] int64, transitions in each; length T means T + 1 rows. ValueError if they do not fit."""
        if len(lengths) == 0 or lengths.min() < 1:
            raise ValueError("expected at least one episode, and a transition in each")
        if int((lengths + 1).sum()) != len(observations) or len(actions) != len(observations):
            raise ValueError(
                f"{len(observations)} rows do not fit episodes of {int((lengths + 1).sum())} states in all"
            )
        self.observations, self.actions, self.rewards = observations, actions, rewards
        self.lengths = lengths
        self.last = (lengths + 1).cumsum(0) - 1  # [episodes] the last row of each
        self.first = self.last - lengths  # [episodes] the first row of each
        self.number = torch.repeat_interleave(lengths + 1)  # [N] each row's episode
        self.starts, self.ends = self.first[self.number], self.last[self.number]
        if not torch.isnan(actions[self.last]).all() or torch.isnan(actions[self.transitions]).any():
            raise ValueError("actions must be NaN on each episode's last row, and nowhere else")

    def __len__(self) -> int:
        return len(self.observations)

    @property
    def device(self) -> torch.device:
        return self.observations.device

    def to(self, device: torch.device) -> "Episodes":
        """The same episodes in the memory of a device, these themselves where they lie there already."""
        if device == self.device:
            return self
        rewards = None if self.rewards is None else self.rewards.to(device)
        return Episodes(self.observations.to(device), self.actions.to(device), rewards, self.lengths.to(device))

    @cached_property
    def transitions(self) -> Tensor:
        """The rows [N - episodes] at which an action was taken."""
        keep = torch.ones(len(self), dtype=torch.bool, device=self.device)
        keep[self.last] = False
        return keep.nonzero().squeeze(1)

    @cached_property
    def sha256(self) -> str:
        """The dataset's hash: float32 observations, actions and episode lengths; the same in every file format."""
        digest = hashlib.sha256()
        digest.update(self.observations.numpy().tobytes())
        digest.update(self.actions[self.transitions].numpy().tobytes())
        digest.update(self.lengths.numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def transitions_sha256(self) -> str:
        """The hash of the sorted multiset of transitions (s, a, s'): equal for a dataset and its cut twin."""
        rows = self.transitions
        table = torch.cat([self.observations[rows], self.actions[rows], self.observations[rows + 1]], 1).numpy()
        as_bytes = table.view(f"V{table.shape[1] * table.itemsize}").ravel()
        return hashlib.sha256(np.sort(as_bytes).tobytes()).hexdigest()


def take(table: Tensor, rows: Tensor) -> Tensor:
    """table[rows] for a table [N] or [N, D] and rows [...]. Square brackets take three to six times as long."""
    return table.index_select(0, rows.reshape(-1)).reshape(*rows.shape, *table.shape[1:])
