"""One training update of each agent as a researcher would write it in PyTorch: the yardstick for `stitchrl.agents`.

What later optimisations gain is measured against these classes, so this file is never edited. They are in the manner of
single-file implementations, in float32 and without tricks: twins are two networks that are evaluated one after the
other, each loss computes its own forward passes, target networks follow parameter by parameter, the optimiser has
PyTorch's default arguments. There is no learning-rate schedule, no average of the weights and no compiled graph.

Each is made from one of our agents, before its first update, with that agent's sizes, settings and weights. From there
on both have the same losses, where there is no schedule (warm-up, decay) and no dropout (tests/test_plain.py).
"""

import copy
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stitchrl.agents.agent import Agent
from stitchrl.agents.crl import CRL
from stitchrl.agents.dt import DT
from stitchrl.agents.encoders import Standardise
from stitchrl.agents.gcbc import GCBC
from stitchrl.agents.gciql import GCIQL
from stitchrl.agents.gcivl import GCIVL
from stitchrl.agents.hiql import HIQL
from stitchrl.agents.networks import DeterministicActor
from stitchrl.agents.qrl import COMPONENT_DIM, QRL
from stitchrl.types import Batch


def copy_weights(net: nn.Module, weights: Sequence[Tensor]) -> None:
    """Give the network's parameters these values, in its own order."""
    for parameter, weight in zip(net.parameters(), weights, strict=True):
        parameter.data.copy_(weight)


def mlp(weights: Sequence[Tensor], activation: type[nn.Module] = nn.GELU, layer_norm: bool = False) -> nn.Sequential:
    """The network with these weights, layer by layer; the last one is linear. layer_norm: after each activation."""
    *hidden, last = [weight.shape for weight in weights if weight.ndim == 2]
    layers: list[nn.Module] = []
    for fan_out, fan_in in hidden:
        layers += [nn.Linear(fan_in, fan_out), activation()]
        if layer_norm:
            layers.append(nn.LayerNorm(fan_out))
    net = nn.Sequential(*layers, nn.Linear(last[1], last[0]))
    copy_weights(net, weights)
    return net


class Ensemble(nn.Module):
    """Two networks of one shape. twins: the module of ours whose weights they begin with."""

    def __init__(self, twins: nn.Module):
        super().__init__()
        nets = []
        for i in (0, 1):
            weights = []
            for layer, (weight, bias) in enumerate(zip(twins.weights, twins.biases, strict=True)):
                weights += [weight[i].T, bias[i, 0]]
                if layer < len(twins.scales):
                    weights += [twins.scales[layer][i, 0], twins.shifts[layer][i, 0]]
            nets.append(mlp(weights, layer_norm=True))
        self.net1, self.net2 = nets

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.net1(x).squeeze(-1), self.net2(x).squeeze(-1)


def negative_log_likelihood(mean: Tensor, action: Tensor) -> Tensor:
    """Of actions under a normal distribution with standard deviation 1: [B]."""
    return 0.5 * ((mean - action) ** 2 + math.log(2 * math.pi)).sum(-1)


def expectile_weight(error: Tensor, expectile: float) -> Tensor:
    return torch.where(error >= 0, expectile, 1 - expectile)


def advantage_weight(advantage: Tensor, alpha: float) -> Tensor:
    return torch.exp(alpha * advantage).clamp(max=100)


class Plain(nn.Module):
    """What the agents share: standardised inputs, one optimiser for the sum of the losses, target networks."""

    def __init__(self, agent: Agent):
        super().__init__()
        assert isinstance(agent.encoder, Standardise) and not agent.discrete
        self.goal_columns = agent.goal_index.tolist()
        self.register_buffer("mean", agent.encoder.mean.clone())
        self.register_buffer("std", agent.encoder.std.clone())
        self.grad_clip, self.tau = agent.grad_clip, agent.tau
        self.targets: list[tuple[nn.Module, nn.Module]] = []
        self.build(agent)
        self.to(agent.encoder.mean.device)
        self.learned = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if agent.weight_decay:
            self.optimizer = torch.optim.AdamW(self.learned, lr=agent.lr, weight_decay=agent.weight_decay)
        else:
            self.optimizer = torch.optim.Adam(self.learned, lr=agent.lr)

    def build(self, agent: Agent) -> None:
        """Make the networks."""
        raise NotImplementedError

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        raise NotImplementedError

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step; the parts of the loss before it, under the agent's names."""
        losses = self.losses(batch)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        if self.grad_clip is not None:
            nn.utils.clip_grad_norm_(self.learned, self.grad_clip)
        self.optimizer.step()
        for target, online in self.targets:
            for p_target, p in zip(target.parameters(), online.parameters(), strict=True):
                p_target.data.mul_(1 - self.tau).add_(p.data, alpha=self.tau)
        return {name: loss.detach() for name, loss in losses.items()}

    def make_target(self, online: nn.Module) -> nn.Module:
        target = copy.deepcopy(online).requires_grad_(False)
        self.targets.append((target, online))
        return target

    def standardise(self, observations: Tensor) -> Tensor:
        return (observations - self.mean) / self.std

    def goal(self, observations: Tensor) -> Tensor:
        return self.standardise(observations)[:, self.goal_columns]

    def inputs(self, observations: Tensor, goals: Tensor) -> Tensor:
        return torch.cat([self.standardise(observations), self.goal(goals)], -1)


class PlainGCBC(Plain):
    def build(self, agent: GCBC) -> None:
        assert isinstance(agent.actor, DeterministicActor) and agent.orientation is None
        self.actor = mlp(list(agent.actor.parameters()), type(agent.actor.net[1]))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        action = torch.tanh(self.actor(self.inputs(batch.observations, batch.goals)))
        return {"actor_loss": F.mse_loss(action, batch.actions)}


class PlainDT(Plain):
    def build(self, agent: DT) -> None:
        window, width, dropout = agent.needs.window, agent.head.in_features, agent.dropout.p
        self.embed_goal = nn.Linear(agent.embed_goal.in_features, width)
        self.embed_observation = nn.Linear(agent.embed_observation.in_features, width)
        self.embed_action = nn.Linear(agent.embed_action.in_features, width)
        self.embed_step = nn.Embedding(window, width)
        self.first_norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, block.heads, dropout, 3 * window) for block in agent.blocks))
        self.last_norm, self.head = nn.LayerNorm(width), nn.Linear(width, agent.head.out_features)
        self.register_buffer("steps", torch.arange(window))
        copy_weights(self, list(agent.parameters()))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        observations, actions, valid, _ = batch.window
        steps = self.embed_step(self.steps)
        goal_tokens = self.embed_goal(self.goal(batch.goals)).unsqueeze(1) + steps
        observation_tokens = self.embed_observation(self.standardise(observations)) + steps
        action_tokens = self.embed_action(actions) + steps
        tokens = torch.stack([goal_tokens, observation_tokens, action_tokens], 2).flatten(1, 2)
        hidden = self.last_norm(self.blocks(self.dropout(self.first_norm(tokens))))
        predicted = torch.tanh(self.head(hidden[:, 1::3]))
        return {"actor_loss": F.mse_loss(predicted[valid], actions[valid])}


class Block(nn.Module):
    """A causal transformer block over so many tokens."""

    def __init__(self, width: int, heads: int, dropout: float, tokens: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("later", torch.ones(tokens, tokens).triu(1).bool())

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        seen, _ = self.attention(h, h, h, attn_mask=self.later, need_weights=False)
        x = x + self.dropout(seen)
        return x + self.mlp(self.norm2(x))


class PlainGCIVL(Plain):
    def build(self, agent: GCIVL) -> None:
        self.discount, self.expectile, self.alpha = agent.discount, agent.expectile, agent.alpha
        self.value = Ensemble(agent.value)
        self.target_value = self.make_target(self.value)
        self.actor = mlp(list(agent.actor.parameters()))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"value_loss": self.value_loss(batch), "actor_loss": self.actor_loss(batch)}

    def value_loss(self, batch: Batch) -> Tensor:
        now = self.inputs(batch.observations, batch.value_goals)
        with torch.no_grad():
            following = self.inputs(batch.next_observations, batch.value_goals)
            reward = batch.value_reached.float() - 1
            discount = self.discount * (1 - batch.value_reached.float())
            next_v1, next_v2 = self.target_value(following)
            v1, v2 = self.target_value(now)
            advantage = reward + discount * torch.min(next_v1, next_v2) - (v1 + v2) / 2
            weight = expectile_weight(advantage, self.expectile)
            target1, target2 = reward + discount * next_v1, reward + discount * next_v2
        v1, v2 = self.value(now)
        return (weight * (target1 - v1) ** 2).mean() + (weight * (target2 - v2) ** 2).mean()

    def actor_loss(self, batch: Batch) -> Tensor:
        now = self.inputs(batch.observations, batch.goals)
        with torch.no_grad():
            v1, v2 = self.value(now)
            next_v1, next_v2 = self.value(self.inputs(batch.next_observations, batch.goals))
            weight = advantage_weight((next_v1 + next_v2) / 2 - (v1 + v2) / 2, self.alpha)
        return (weight * negative_log_likelihood(self.actor(now), batch.actions)).mean()


class PlainGCIQL(Plain):
    def build(self, agent: GCIQL) -> None:
        assert agent.actor_loss_name == "ddpgbc"
        self.discount, self.expectile, self.alpha = agent.discount, agent.expectile, agent.alpha
        self.value = mlp(list(agent.value.parameters()), layer_norm=True)
        self.critic = Ensemble(agent.critic)
        self.target_critic = self.make_target(self.critic)
        self.actor = mlp(list(agent.actor.parameters()))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {
            "value_loss": self.value_loss(batch),
            "critic_loss": self.critic_loss(batch),
            "actor_loss": self.actor_loss(batch),
        }

    def value_loss(self, batch: Batch) -> Tensor:
        now = self.inputs(batch.observations, batch.value_goals)
        with torch.no_grad():
            q1, q2 = self.target_critic(torch.cat([now, batch.actions], -1))
        error = torch.min(q1, q2) - self.value(now).squeeze(-1)
        return (expectile_weight(error, self.expectile) * error**2).mean()

    def critic_loss(self, batch: Batch) -> Tensor:
        now = self.inputs(batch.observations, batch.value_goals)
        with torch.no_grad():
            following = self.inputs(batch.next_observations, batch.value_goals)
            reward = batch.value_reached.float() - 1
            discount = self.discount * (1 - batch.value_reached.float())
            target = reward + discount * self.value(following).squeeze(-1)
        q1, q2 = self.critic(torch.cat([now, batch.actions], -1))
        return F.mse_loss(q1, target) + F.mse_loss(q2, target)

    def actor_loss(self, batch: Batch) -> Tensor:
        now = self.inputs(batch.observations, batch.goals)
        action = self.actor(now)
        self.critic.requires_grad_(False)
        q = torch.min(*self.critic(torch.cat([now, action.clamp(-1, 1)], -1)))
        self.critic.requires_grad_(True)
        cloning = negative_log_likelihood(action, batch.actions).mean()
        return -q.mean() / (q.detach().abs().mean() + 1e-6) + self.alpha * cloning


class PlainCRL(Plain):
    def build(self, agent: CRL) -> None:
        assert agent.actor_loss_name == "ddpgbc"
        self.alpha = agent.alpha
        self.phi, self.psi = Ensemble(agent.critic.phi), Ensemble(agent.critic.psi)
        self.actor = mlp(list(agent.actor.parameters()))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"critic_loss": self.critic_loss(batch), "actor_loss": self.actor_loss(batch)}

    def critic_loss(self, batch: Batch) -> Tensor:
        phi1, phi2 = self.phi(torch.cat([self.standardise(batch.observations), batch.actions], -1))
        psi1, psi2 = self.psi(self.goal(batch.value_goals))
        scale = math.sqrt(phi1.shape[-1])
        own = torch.eye(len(phi1), device=phi1.device)
        loss1 = F.binary_cross_entropy_with_logits(phi1 @ psi1.T / scale, own)
        loss2 = F.binary_cross_entropy_with_logits(phi2 @ psi2.T / scale, own)
        return (loss1 + loss2) / 2

    def actor_loss(self, batch: Batch) -> Tensor:
        state, goal = self.standardise(batch.observations), self.goal(batch.goals)
        action = self.actor(torch.cat([state, goal], -1))
        self.phi.requires_grad_(False)
        phi1, phi2 = self.phi(torch.cat([state, action.clamp(-1, 1)], -1))
        self.phi.requires_grad_(True)
        with torch.no_grad():
            psi1, psi2 = self.psi(goal)
        q = torch.min((phi1 * psi1).sum(-1), (phi2 * psi2).sum(-1)) / math.sqrt(phi1.shape[-1])
        cloning = negative_log_likelihood(action, batch.actions).mean()
        return -q.mean() / (q.detach().abs().mean() + 1e-6) + self.alpha * cloning


class PlainQRL(Plain):
    def build(self, agent: QRL) -> None:
        assert agent.actor_loss_name == "ddpgbc"
        self.eps, self.alpha = agent.eps, agent.alpha
        self.phi = mlp(list(agent.phi.parameters()), layer_norm=True)
        self.distance = IQE(agent.distance.mix)
        self.log_multiplier = nn.Parameter(agent.log_multiplier.detach().clone())
        self.dynamics = mlp(list(agent.dynamics.parameters()), layer_norm=True)
        self.actor = mlp(list(agent.actor.parameters()))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {
            "value_loss": self.value_loss(batch),
            "dynamics_loss": self.dynamics_loss(batch),
            "actor_loss": self.actor_loss(batch),
        }

    def encode(self, observations: Tensor) -> Tensor:
        return self.phi(self.standardise(observations))

    def predict(self, latent: Tensor, action: Tensor) -> Tensor:
        return latent + self.dynamics(torch.cat([latent, action], -1))

    def value_loss(self, batch: Batch) -> Tensor:
        state, goal = self.encode(batch.observations), self.encode(batch.value_goals)
        following = self.encode(batch.next_observations)
        apart = 100 * F.softplus(5 - self.distance(state, goal) / 100).mean()
        step = (F.relu(self.distance(state, following) - 1) ** 2).mean()
        multiplier = self.log_multiplier.exp()
        return apart + multiplier.detach() * step + multiplier * (self.eps - step.detach())

    def dynamics_loss(self, batch: Batch) -> Tensor:
        following = self.encode(batch.next_observations)
        predicted = self.predict(self.encode(batch.observations), batch.actions)
        return (self.distance(following, predicted) + self.distance(predicted, following)).mean() / 2

    def actor_loss(self, batch: Batch) -> Tensor:
        action = self.actor(self.inputs(batch.observations, batch.goals))
        with torch.no_grad():
            state, goal = self.encode(batch.observations), self.encode(batch.goals)
        self.dynamics.requires_grad_(False)
        self.distance.requires_grad_(False)
        q = -self.distance(self.predict(state, action.clamp(-1, 1)), goal)
        self.dynamics.requires_grad_(True)
        self.distance.requires_grad_(True)
        cloning = negative_log_likelihood(action, batch.actions).mean()
        return -q.mean() / (q.detach().abs().mean() + 1e-6) + self.alpha * cloning


class IQE(nn.Module):
    """Interval quasimetric: of each component the length of the union of intervals [x_i, max(x_i, y_i)]."""

    def __init__(self, mix: Tensor):
        super().__init__()
        self.mix = nn.Parameter(mix.detach().clone())

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = x.unflatten(-1, (-1, COMPONENT_DIM)), y.unflatten(-1, (-1, COMPONENT_DIM))
        ends, order = torch.cat([x, torch.maximum(x, y)], -1).sort(-1)
        opened = torch.where(order < COMPONENT_DIM, 1, -1).cumsum(-1)  # intervals that have begun and not ended
        length = ((ends[..., 1:] - ends[..., :-1]) * (opened[..., :-1] > 0)).sum(-1)
        weight = torch.sigmoid(self.mix)
        return weight * length.mean(-1) + (1 - weight) * length.amax(-1)


class PlainHIQL(Plain):
    def build(self, agent: HIQL) -> None:
        self.discount, self.expectile = agent.discount, agent.expectile
        self.low_alpha, self.high_alpha = agent.low_alpha, agent.high_alpha
        self.phi, self.value = mlp(list(agent.phi.parameters()), layer_norm=True), Ensemble(agent.value)
        self.target_phi, self.target_value = self.make_target(self.phi), self.make_target(self.value)
        self.low_actor = mlp(list(agent.low_actor.parameters()))
        self.high_actor = mlp(list(agent.high_actor.parameters()))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {
            "value_loss": self.value_loss(batch),
            "low_actor_loss": self.low_actor_loss(batch),
            "high_actor_loss": self.high_actor_loss(batch),
        }

    def represent(self, phi: nn.Module, observations: Tensor, goals: Tensor) -> Tensor:
        rep = phi(self.inputs(observations, goals))
        return rep / rep.norm(dim=-1, keepdim=True).clamp(min=1e-8) * math.sqrt(rep.shape[-1])

    def values(self, observations: Tensor, goals: Tensor) -> tuple[Tensor, Tensor]:
        rep = self.represent(self.phi, observations, goals)
        return self.value(torch.cat([self.standardise(observations), rep], -1))

    def target_values(self, observations: Tensor, goals: Tensor) -> tuple[Tensor, Tensor]:
        rep = self.represent(self.target_phi, observations, goals)
        return self.target_value(torch.cat([self.standardise(observations), rep], -1))

    def value_loss(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            reward = batch.value_reached.float() - 1
            discount = self.discount * (1 - batch.value_reached.float())
            next_v1, next_v2 = self.target_values(batch.next_observations, batch.value_goals)
            v1, v2 = self.target_values(batch.observations, batch.value_goals)
            advantage = reward + discount * torch.min(next_v1, next_v2) - (v1 + v2) / 2
            weight = expectile_weight(advantage, self.expectile)
            target1, target2 = reward + discount * next_v1, reward + discount * next_v2
        v1, v2 = self.values(batch.observations, batch.value_goals)
        return (weight * (target1 - v1) ** 2).mean() + (weight * (target2 - v2) ** 2).mean()

    def low_actor_loss(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            v1, v2 = self.values(batch.observations, batch.low_goals)
            next_v1, next_v2 = self.values(batch.next_observations, batch.low_goals)
            weight = advantage_weight((next_v1 + next_v2) / 2 - (v1 + v2) / 2, self.low_alpha)
            rep = self.represent(self.phi, batch.observations, batch.low_goals)
        action = self.low_actor(torch.cat([self.standardise(batch.observations), rep], -1))
        return (weight * negative_log_likelihood(action, batch.actions)).mean()

    def high_actor_loss(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            v1, v2 = self.values(batch.observations, batch.goals)
            later_v1, later_v2 = self.values(batch.subgoals, batch.goals)
            weight = advantage_weight((later_v1 + later_v2) / 2 - (v1 + v2) / 2, self.high_alpha)
            rep = self.represent(self.phi, batch.observations, batch.subgoals)
        proposed = self.high_actor(self.inputs(batch.observations, batch.goals))
        return (weight * negative_log_likelihood(proposed, rep)).mean()


PLAIN: dict[type[Agent], type[Plain]] = {
    GCBC: PlainGCBC,
    DT: PlainDT,
    GCIVL: PlainGCIVL,
    GCIQL: PlainGCIQL,
    CRL: PlainCRL,
    QRL: PlainQRL,
    HIQL: PlainHIQL,
}
