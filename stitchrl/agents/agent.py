"""What every agent is: a module with a loss and an action, its inputs standardised with the training data."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from stitchrl.scaling import mean_and_std
from stitchrl.types import RETURN_DIM, Batch, GoalMixture, Needs


class Agent(nn.Module):
    """Hyperparameters are keyword arguments of the subclass, with its paper's values as defaults.

    goal_columns: which columns of a whole goal observation are the goal; None: conditions are returns. lr, batch_size,
    grad_clip (largest norm of the gradient), weight_decay, warmup (updates): what the learner trains it with, by Adam.
    """

    mean: Tensor
    std: Tensor
    goal_index: Tensor
    tau = 0.0  # how far target networks move towards their online networks in an update

    def __init__(
        self,
        observation_dim: int,
        goal_columns: Sequence[int] | None,
        lr: float,
        batch_size: int,
        needs: Needs,
        grad_clip: float | None = None,
        weight_decay: float = 0.0,
        warmup: int = 0,
    ):
        super().__init__()
        columns = None if goal_columns is None else check_columns("goal_columns", goal_columns, observation_dim)
        self.goal_columns, self.needs = columns, needs
        self.goal_dim = RETURN_DIM if columns is None else len(columns)
        self.lr, self.batch_size, self.grad_clip = lr, batch_size, grad_clip
        self.weight_decay, self.warmup = weight_decay, warmup
        self.targets: dict[str, str] = {}  # names of target networks and of the networks that they follow
        # as a tensor of the agent's device: a list would be copied to a GPU, and waited for, in every update
        self.register_buffer("goal_index", torch.tensor(columns or [], dtype=torch.long), persistent=False)
        self.register_buffer("mean", torch.zeros(observation_dim))
        self.register_buffer("std", torch.ones(observation_dim))

    def fit_scale(self, observations: Tensor) -> None:
        """Take mean and standard deviation of each column from training observations [N, obs_dim].

        A column that is constant in them is not scaled: its deviation counts as 1.
        """
        mean, std = mean_and_std(observations)
        self.mean.copy_(mean)
        self.std.copy_(std)

    def standardise(self, observations: Tensor) -> Tensor:
        """Observations [..., obs_dim] in units of the training data's standard deviation."""
        return (observations - self.mean) / self.std

    def goal(self, conditions: Tensor) -> Tensor:
        """What networks are shown [..., goal_dim] of conditions [..., condition_dim].

        A goal's columns, standardised; a return as it is, for its numbers are of the order of 1.
        """
        if self.goal_columns is None:
            return conditions
        if not self.goal_columns:
            return conditions[..., :0]  # of a goal or a return
        return self.standardise(conditions).index_select(-1, self.goal_index)

    def inputs(self, observation: Tensor, condition: Tensor) -> Tensor:
        """What networks of state and condition are shown: [B, obs_dim + goal_dim]."""
        return torch.cat([self.standardise(observation), self.goal(condition)], -1)

    def make_target(self, name: str) -> nn.Module:
        """A copy of the network `name` for the learner to move after it; assign it to `target_<name>`."""
        self.targets[f"target_{name}"] = name
        return copy.deepcopy(getattr(self, name)).requires_grad_(False)

    def loss(self, batch: Batch, rng: Generator) -> tuple[Tensor, dict[str, Any]]:
        """The scalar to minimise, and its parts for the log: scalars on whatever device, or plain numbers."""
        raise NotImplementedError

    @staticmethod
    def total(parts: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """What `loss` returns where all parts count alike."""
        return torch.stack(list(parts.values())).sum(), {key: value.detach() for key, value in parts.items()}

    def act(self, observation: Any, condition: Tensor) -> Tensor:
        """Actions [B, act_dim] in [-1, 1] for observations [B, obs_dim] and conditions [B, condition_dim].

        An agent that needs windows is given a `Window` of the last states, actions and conditions instead of the
        observations, each env's steps first; the newest action is still to come.
        """
        raise NotImplementedError


def goal_mixture(name: str, values: Mapping[str, Any]) -> GoalMixture:
    """The mixture that the keyword `name` of an agent gives. Raises ValueError if its shares make no whole."""
    expected = set(GoalMixture._fields)
    if set(values) != expected:
        raise ValueError(f"agent.{name}: keys {sorted(values)} given, expected {sorted(expected)}")
    mixture = GoalMixture(**values)
    shares = mixture[:3]
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"agent.{name}: current, trajectory and random are {shares}, expected shares that sum to 1")
    if mixture.discount is not None and not 0 < mixture.discount < 1:
        raise ValueError(f"agent.{name}.discount: {mixture.discount} given, a rate in (0, 1) expected, or null")
    return mixture


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """The value of the keyword `name`, ValueError unless it is one of the choices."""
    if value not in choices:
        raise ValueError(f"agent.{name}: {value!r} is not one of {', '.join(choices)}")
    return value


def check_share(name: str, value: float) -> float:
    """The value of the keyword `name`, ValueError unless it lies between 0 and 1."""
    if not 0 < value < 1:
        raise ValueError(f"agent.{name}: {value} given, a number in (0, 1) expected")
    return value


def check_columns(name: str, columns: Sequence[int], observation_dim: int) -> list[int]:
    """The columns that the keyword `name` gives, ValueError unless observations have them all."""
    if not all(0 <= column < observation_dim for column in columns):
        raise ValueError(f"agent.{name}: {list(columns)} given, observations have {observation_dim}")
    return list(columns)
