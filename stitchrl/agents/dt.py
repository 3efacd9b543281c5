"""DT: decision transformer (Chen et al., 2021), conditioned as in the stitching paper (Ghugare et al., 2024).

    condition state action | condition state action | ...   tokens, three for each step of the window
                |                        |
              action                   action               predicted by a causal transformer from each state's token

Minimises the mean squared error of the actions, or the cross-entropy of discrete ones, over the steps of the window.
The condition of a step is a goal, or what at that step is left of the return (as in Chen et al.).

Deviations: inputs are standardised. Steps are numbered inside the window: a spliced window has no time of its own.
"""

import torch
from torch import Generator, Tensor, nn

from stitchrl.agents.agent import FUTURE, Agent, Goals, goal_mixture
from stitchrl.agents.networks import CategoricalActor, DeterministicActor, OutputLinear
from stitchrl.types import Batch, LossResult, Needs, Spaces, Window


class DT(Agent):
    """Decision transformer.

    Args:
        window: Steps that the transformer sees in training.
        act_window: Steps that it sees when it acts; None: as many.
        width, blocks, heads, dropout: The transformer's.
    """

    def __init__(
        self,
        spaces: Spaces,
        goal: str = "world",
        window: int = 5,
        act_window: int | None = None,
        width: int = 128,
        blocks: int = 3,
        heads: int = 1,
        dropout: float = 0.1,
        actor_goals: Goals = FUTURE,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        warmup: int = 1000,
        grad_clip: float | None = 0.25,
        batch_size: int = 256,
    ):
        if window < 1:
            raise ValueError(f"agent.window: {window} given, a positive number expected")
        if act_window is not None and not 0 < act_window <= window:
            expected = f"at least 1 and at most the window of {window} expected"
            raise ValueError(f"agent.act_window: {act_window} given, {expected}")
        if width % heads:
            raise ValueError(f"agent.heads: {heads} given, a divisor of the width {width} expected")
        needs = Needs(goal_mixture("actor_goals", actor_goals), window=window, act_window=act_window)
        super().__init__(spaces, goal, lr, batch_size, needs, grad_clip, weight_decay, warmup)
        self.embed_goal = nn.Linear(self.goal_dim, width)
        self.embed_observation = nn.Linear(self.observation_dim, width)
        self.embed_action = nn.Linear(self.action_dim, width)
        self.embed_step = nn.Embedding(window, width)
        self.first_norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(blocks))
        self.last_norm, self.head = nn.LayerNorm(width), OutputLinear(width, self.action_dim)

    def loss(self, batch: Batch, rng: Generator) -> LossResult:
        kind = CategoricalActor if self.discrete else DeterministicActor
        error = kind.explain(self.predict(batch.window), batch.window.actions)
        return self.total({"actor_loss": error[batch.window.valid].mean()})

    def act(self, observation: Window, condition: Tensor) -> Tensor:
        newest = observation.valid.sum(1) - 1
        output = self.predict(observation)[torch.arange(len(newest), device=newest.device), newest]
        return output.argmax(-1) if self.discrete else output

    def predict(self, window: Window) -> Tensor:
        """The actions [B, K, act_dim] of all steps, or logits of discrete ones; none is told its own or a later one."""
        steps = self.embed_step.weight[: window.valid.shape[1]]
        asked = self.embed_goal(self.goal(window.conditions)) + steps
        seen = self.embed_observation(self.encoder(window.observations)) + steps
        done = self.embed_action(self.encode_actions(window.actions)) + steps
        hidden = self.dropout(self.first_norm(torch.stack([asked, seen, done], 2).flatten(1, 2)))
        for block in self.blocks[:-1]:
            hidden = block(hidden)
        states = slice(1, None, 3)  # nothing is read from the others
        output = self.head(self.last_norm(self.blocks[-1](hidden, states)))
        return output if self.discrete else output.tanh()


class Block(nn.Module):
    """A transformer block, normalised before attention and before the MLP (GPT-2; Radford et al., 2019)."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.drop = heads, dropout
        self.norm, self.qkv, self.project = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        wider, back = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.mlp = nn.Sequential(nn.LayerNorm(width), wider, nn.GELU(), back, nn.Dropout(dropout))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, wanted: slice = slice(None)) -> Tensor:
        """[B, tokens, width] -> the wanted tokens of the same shape; a token sees those up to itself."""
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        drop = self.drop if self.training else 0.0
        seen = nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=drop, is_causal=True)
        x = x[:, wanted] + self.dropout(self.project(seen.transpose(1, 2)[:, wanted].flatten(2)))
        return x + self.mlp(x)
