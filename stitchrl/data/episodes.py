"""`Episodes`: all rows of a dataset in one place, every state kept, the last of each episode included."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

NO_ACTION = -1  # what an episode's last row has for an action where actions are whole numbers
Info = Mapping[str, Tensor]
Arrays = Sequence[np.ndarray]


class Episodes:
    """Episodes laid end to end; immutable.

    Attributes:
        observations: [N, *shape] in their own dtype.
        actions: [N, ...] float32, or int64 where they are discrete. On each episode's last row no action was taken.
            There they are NaN or `NO_ACTION`, so that misuse is loud.
        rewards: [N] float32, NaN on last rows, or None.
        lengths: [episodes] int64, transitions in each. Length T means T + 1 rows.
        info: Facts of each episode by name, [episodes, ...]: its context, its level.
        first, last: [episodes] int64, the first and last row of each.
        number: [N] int64, each row's episode.
        starts, ends: [N] int64, the first and last row of each row's episode.
    """

    def __init__(
        self, observations: Tensor, actions: Tensor, rewards: Tensor | None, lengths: Tensor, info: Info | None = None
    ):
        """Raises ValueError where rows and lengths do not fit."""
        if len(lengths) == 0 or lengths.min() < 1:
            raise ValueError("expected at least one episode, and a transition in each")
        states = int((lengths + 1).sum())
        if states != len(observations) or len(actions) != len(observations):
            raise ValueError(f"{len(observations)} rows do not fit episodes of {states} states in all")
        self.observations, self.actions, self.rewards = observations, actions, rewards
        self.lengths, self.info = lengths, dict(info or {})
        self.last = (lengths + 1).cumsum(0) - 1
        self.first = self.last - lengths
        self.number = torch.repeat_interleave(lengths + 1)
        self.starts, self.ends = self.first[self.number], self.last[self.number]
        if not void(actions[self.last]).all() or void(actions[self.transitions]).any():
            raise ValueError("actions must be void (NaN, or -1) on each episode's last row, and nowhere else")

    @classmethod
    def of_parts(
        cls, observations: Arrays, actions: Arrays, rewards: Arrays, info: Mapping[str, np.ndarray]
    ) -> "Episodes":
        """Episodes given one by one: T + 1 observations, T actions and T rewards each; info [episodes, ...]."""
        lengths = torch.tensor([len(part) for part in actions])
        episodes = [torch.from_numpy(np.concatenate([part, part[:1]])) for part in actions]
        taken = void_at(torch.cat(episodes), (lengths + 1).cumsum(0) - 1)
        nothing = np.full(1, np.nan, np.float32)
        earned = np.concatenate([part for steps in rewards for part in (steps.astype(np.float32), nothing)])
        told = {key: torch.from_numpy(values) for key, values in info.items()}
        return cls(torch.from_numpy(np.concatenate(observations)), taken, torch.from_numpy(earned), lengths, told)

    def __len__(self) -> int:
        return len(self.observations)

    @property
    def device(self) -> torch.device:
        return self.observations.device

    def to(self, device: torch.device) -> "Episodes":
        """The same episodes in the memory of a device."""
        if device == self.device:
            return self
        rewards = None if self.rewards is None else self.rewards.to(device)
        info = {key: values.to(device) for key, values in self.info.items()}
        return Episodes(self.observations.to(device), self.actions.to(device), rewards, self.lengths.to(device), info)

    def with_rewards(self, rewards: Tensor) -> "Episodes":
        """The same episodes with other rewards [N]."""
        return Episodes(self.observations, self.actions, rewards, self.lengths, self.info)

    def with_info(self, info: Info) -> "Episodes":
        """The same episodes with other facts of each."""
        return Episodes(self.observations, self.actions, self.rewards, self.lengths, info)

    def pieces(self, rows: Tensor, lengths: Tensor, origin: Tensor) -> "Episodes":
        """Parts of these episodes as episodes of their own.

        rows: of all pieces, laid end to end. lengths, origin: [pieces] transitions in each, the episode that it is of.
        """
        last = (lengths + 1).cumsum(0) - 1
        rewards = None if self.rewards is None else void_at(self.rewards[rows], last)
        info = {key: values[origin] for key, values in self.info.items()}
        return Episodes(self.observations[rows], void_at(self.actions[rows], last), rewards, lengths, info)

    @cached_property
    def transitions(self) -> Tensor:
        """The rows [N - episodes] at which an action was taken."""
        keep = torch.ones(len(self), dtype=torch.bool, device=self.device)
        keep[self.last] = False
        return keep.nonzero().squeeze(1)

    @cached_property
    def sha256(self) -> str:
        """The dataset's hash: observations, actions and episode lengths; the same in every file format."""
        digest = hashlib.sha256()
        digest.update(self.observations.numpy().tobytes())
        digest.update(self.actions[self.transitions].numpy().tobytes())
        digest.update(self.lengths.numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def transitions_sha256(self) -> str:
        """The hash of the sorted multiset of transitions (s, a, s'): equal for a dataset and its cut twin."""
        rows = self.transitions
        parts = (self.observations[rows], self.actions[rows], self.observations[rows + 1])
        table = np.concatenate([part.numpy().reshape(len(rows), -1).view(np.uint8) for part in parts], 1)
        as_bytes = table.view(f"V{table.shape[1]}").ravel()
        return hashlib.sha256(np.sort(as_bytes).tobytes()).hexdigest()


def void(actions: Tensor) -> Tensor:
    """Boolean [...]: which actions [...] stand for none."""
    return torch.isnan(actions) if actions.is_floating_point() else actions == NO_ACTION


def void_at(values: Tensor, rows: Tensor) -> Tensor:
    """Values [N, ...] that are void at some rows; changed in place."""
    values[rows] = torch.nan if values.is_floating_point() else NO_ACTION
    return values


def filled(values: Tensor) -> np.ndarray:
    """Values [N, ...] with 0 where they are void, for files."""
    return torch.where(void(values), 0, values).numpy()


def take(table: Tensor, rows: Tensor) -> Tensor:
    """table[rows] for a table [N, ...] and rows [...]. Square brackets take three to six times as long."""
    return table.index_select(0, rows.reshape(-1)).reshape(*rows.shape, *table.shape[1:])
