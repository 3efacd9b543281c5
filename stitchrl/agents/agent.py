"""What every agent is: a module with a loss and an action, and an encoder that scales what its networks are shown."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from gymnasium.spaces import Discrete
from torch import Generator, Tensor, nn

from stitchrl.agents.encoders import make_encoder
from stitchrl.agents.networks import Actor
from stitchrl.types import Batch, GoalMixture, LossResult, Needs, Spaces

Widths = Sequence[int]  # of the hidden layers of an MLP
Goals = Mapping[str, Any]  # how goals are drawn, see `GoalMixture`
FUTURE = {"current": 0.0, "trajectory": 1.0, "random": 0.0, "discount": None}
ACTOR_GOALS = {"current": 0.0, "trajectory": 0.5, "random": 0.5, "discount": None}
VALUE_GOALS = {"current": 0.2, "trajectory": 0.5, "random": 0.3, "discount": 0.99}


class Agent(nn.Module):
    """The base of all agents. A subclass takes `spaces` and its hyperparameters, with its paper's values as defaults.

    Its docstring tells of its own keywords. These mean the same in all agents that have them:

    - `hidden_dims`: Widths of the hidden layers of each MLP.
    - `discount`, `expectile`: For each step; of the value regression.
    - `actor_loss`: ddpgbc or awr. `alpha`: Weight of cloning in ddpgbc, inverse temperature of the weights in awr.
    - `actor_goals`, `value_goals`: How conditions are drawn. `subgoal_steps`: How far ahead subgoals lie.
    - `tau`: How far target networks move in an update.

    Args:
        spaces: What the agent is built for. Actions in a box lie in [-1, 1].
        goal: What networks are shown of the condition. world: the columns that state the goal, or the vector.
            observation: the whole goal observation. nothing: nothing.
        lr: Learning rate of Adam.
        batch_size: Transitions in an update.
        needs: What batches hold.
        grad_clip: Largest norm of the gradient; None: any.
        weight_decay: Of AdamW.
        warmup: Updates in which the learning rate grows to `lr`.

    Attributes:
        observation_dim: Numbers in an encoded observation.
        goal_dim: Numbers that networks are shown of the condition.
        action_dim: Numbers in an action as networks are shown it.
        targets: Names of target networks, and of the networks that they follow.

    Raises:
        ValueError: If `goal` is unknown, or asks for a goal observation where the condition is a vector.
    """

    actor: Actor
    goal_index: Tensor
    tau = 0.0  # target networks stay where they are

    def __init__(
        self,
        spaces: Spaces,
        goal: str,
        lr: float,
        batch_size: int,
        needs: Needs,
        grad_clip: float | None = None,
        weight_decay: float = 0.0,
        warmup: int = 0,
    ):
        super().__init__()
        self.needs, self.lr, self.batch_size = needs, lr, batch_size
        self.grad_clip, self.weight_decay, self.warmup = grad_clip, weight_decay, warmup
        self.targets: dict[str, str] = {}
        self.encoder = make_encoder(spaces.observation)
        self.observation_dim = self.encoder.dim
        self.discrete = isinstance(spaces.action, Discrete)
        self.action_dim = int(spaces.action.n) if isinstance(spaces.action, Discrete) else spaces.action.shape[0]
        self.of_columns = spaces.condition.columns is not None
        columns = shown_columns(goal, spaces, self.observation_dim)
        self.goal_dim = len(columns)
        # as a tensor of the agent's device: a list would be copied to a GPU, and waited for, in every update
        self.register_buffer("goal_index", torch.tensor(columns, dtype=torch.long), persistent=False)

    def fit(self, observations: Tensor) -> None:
        """Take the encoder's scale from training observations [N, *shape]."""
        self.encoder.fit(observations)

    def goal(self, conditions: Tensor) -> Tensor:
        """What networks are shown [..., goal_dim] of conditions [..., *shape].

        A goal's columns are scaled as observations are. A vector stays as it is: its numbers are of the order of 1.
        """
        if self.of_columns:
            return self.encoder(conditions).index_select(-1, self.goal_index)
        return conditions[..., : self.goal_dim]

    def inputs(self, observation: Tensor, condition: Tensor) -> Tensor:
        """What networks of state and condition are shown: [B, observation_dim + goal_dim]."""
        return torch.cat([self.encoder(observation), self.goal(condition)], -1)

    def encode_actions(self, actions: Tensor) -> Tensor:
        """Actions as networks are shown them [..., action_dim]: discrete ones are one-hot, others as they are."""
        if not self.discrete:
            return actions
        return nn.functional.one_hot(actions, self.action_dim).to(self.encoder.unit.dtype)

    def make_target(self, name: str) -> Any:
        """A copy of the network `name` for the learner to move after it; assign it to `target_<name>`."""
        self.targets[f"target_{name}"] = name
        return copy.deepcopy(getattr(self, name)).requires_grad_(False)

    def loss(self, batch: Batch, rng: Generator) -> LossResult:
        """What is minimised in one update, and what is logged of it. The loss draws from `rng` alone."""
        raise NotImplementedError

    @staticmethod
    def total(parts: Mapping[str, Tensor | LossResult]) -> LossResult:
        """The sum of the parts of a loss. `actor_loss` is logged by that name, and its own info by `actor/<key>`."""
        results = {key: part if isinstance(part, LossResult) else LossResult(part, {}) for key, part in parts.items()}
        info = {key: result.loss.detach() for key, result in results.items()}
        for name, result in results.items():
            info |= {f"{name.removesuffix('_loss')}/{key}": value for key, value in result.info.items()}
        return LossResult(torch.stack([result.loss for result in results.values()]).sum(), info)

    def act(self, observation: Any, condition: Tensor) -> Tensor:
        """Actions for observations [B, *shape] and conditions [B, ...]: [B, act_dim] in [-1, 1], or int64 [B].

        An agent that needs windows is given a `Window` in place of the observations. It holds the last states, actions
        and conditions of each environment. The newest action is still to come.
        """
        return self.actor.act(self.inputs(observation, condition))


def shown_columns(goal: str, spaces: Spaces, observation_dim: int) -> list[int]:
    """The columns of the condition that `goal` asks for: of a flattened goal observation, or of a vector."""
    dim, columns = spaces.condition
    if check_choice("goal", goal, ["world", "observation", "nothing"]) == "nothing":
        return []
    if goal == "world":
        return list(range(dim) if columns is None else columns)
    if columns is None:
        raise ValueError(f"agent.goal: {goal!r} given, but the condition is a vector of {dim} and no observation")
    return list(range(observation_dim))


def goal_mixture(name: str, values: Goals) -> GoalMixture:
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
    """The columns that the keyword `name` gives, ValueError unless flattened observations have them all."""
    if not all(0 <= column < observation_dim for column in columns):
        raise ValueError(f"agent.{name}: {list(columns)} given, observations have {observation_dim}")
    return list(columns)
