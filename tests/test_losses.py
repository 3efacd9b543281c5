"""The agents' losses are their papers' equations: here in plain numpy, sample by sample, in double precision.

The equations are those of OGBench (Park et al., 2025), of RvS, of the decision transformer, of IQL and of TD3+BC. What
they take as given (targets, weights of samples, networks that are only looked through) is computed from the weights
`held`, what is to be learned from the weights `w`: finite differences in `w` check which way gradients go.
"""

import math
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from probes import spaces

from stitchrl.agents.agent import Agent
from stitchrl.agents.crl import CRL
from stitchrl.agents.dt import DT
from stitchrl.agents.gcbc import GCBC
from stitchrl.agents.gciql import GCIQL
from stitchrl.agents.gcivl import GCIVL
from stitchrl.agents.hiql import HIQL
from stitchrl.agents.iql import IQL
from stitchrl.agents.networks import MixtureActor, frozen, mlp
from stitchrl.agents.qrl import QRL
from stitchrl.agents.td3bc import TD3BC
from stitchrl.types import Batch, LossResult, Spaces, Window

SIZE, OBSERVATION, ACTION, WINDOW = 6, 4, 2, 3
CHOICES = 3  # discrete actions
GOAL = (3, 0)  # columns
EXACT = 1e-6  # relative: some constants have single precision
Weights = dict[str, np.ndarray]


@dataclass
class Problem:
    """A batch row by row, standardised, and which branches of the equations it took."""

    settings: dict[str, Any]
    rows: list[SimpleNamespace]
    discrete: bool
    seen: set[str] = field(default_factory=set)

    def expectile(self, error: float) -> float:
        """The weight of the square of an error."""
        self.seen.add("above" if error >= 0 else "below")
        return self.settings["expectile"] if error >= 0 else 1 - self.settings["expectile"]

    def advantage_weight(self, advantage: float, alpha: str = "alpha") -> float:
        """The weight of a sample in advantage-weighted regression."""
        weight = math.exp(self.settings[alpha] * advantage)
        self.seen.add("weighted" if weight <= 100 else "most weighted")
        return min(weight, 100)

    def clip(self, action: np.ndarray) -> np.ndarray:
        """The action that a critic is asked about."""
        self.seen.update("clipped" if abs(a) > 1 else "not clipped" for a in action)
        return np.clip(action, -1, 1)

    def cloning(self, out: np.ndarray, action: np.ndarray) -> float:
        """How badly an actor's output explains an action; a discrete one is a one-hot vector."""
        return -math.log(softmax(out) @ action) if self.discrete else negative_log_likelihood(out, action)

    def worth(self, out: np.ndarray, q: Callable[[np.ndarray], float]) -> float:
        """The value of what an actor's output does; of discrete actions the mean."""
        if self.discrete:
            return sum(share * q(action) for share, action in zip(softmax(out), np.eye(CHOICES), strict=True))
        return q(self.clip(out))


# Networks, for one input [dims[0]]


def join(*parts):
    return np.concatenate(parts)


def gelu(x):
    return np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x])


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def relu(x):
    return np.array([max(v, 0.0) for v in x])


def normal(x, scale, shift):
    """Layer norm."""
    return (x - x.mean()) / np.sqrt(((x - x.mean()) ** 2).mean() + 1e-5) * scale + shift


def linear(w, name, x):
    return w[f"{name}.weight"] @ x + w[f"{name}.bias"]


def dense(w, name, x, activation=gelu, norm=False):
    """The output of the MLP `name`."""
    *hidden, weight, bias = (array for key, array in w.items() if key.startswith(f"{name}."))
    for i in range(0, len(hidden), 4 if norm else 2):
        x = activation(hidden[i] @ x + hidden[i + 1])
        x = normal(x, hidden[i + 2], hidden[i + 3]) if norm else x
    return weight @ x + bias


def twins(w, name, x):
    """The outputs [2, dims[-1]] of the twins `name`."""
    last = sum(key.startswith(f"{name}.weights.") for key in w) - 1
    outputs = []
    for twin in (0, 1):
        y = x
        for i in range(last + 1):
            y = y @ w[f"{name}.weights.{i}"][twin] + w[f"{name}.biases.{i}"][twin, 0]
            if i < last:
                y = normal(gelu(y), w[f"{name}.scales.{i}"][twin, 0], w[f"{name}.shifts.{i}"][twin, 0])
        outputs.append(y)
    return np.array(outputs)


def negative_log_likelihood(mean, action):
    """Of a normal distribution with standard deviation 1."""
    return sum(0.5 * (m - a) ** 2 + 0.5 * math.log(2 * math.pi) for m, a in zip(mean, action, strict=True))


# Losses: the terms whose mean each part of an agent's loss is


def gcbc(p, w, held):
    def explain(row):
        shown = join(row.state, row.goal)
        activation = gelu if p.settings.get("activation") == "gelu" else relu
        out = dense(w, "actor", shown, activation)
        if p.discrete:
            return p.cloning(out, row.action)
        match p.settings.get("actor"):
            case "gaussian":
                return negative_log_likelihood(out, row.action)
            case "mixture":
                return mixture(p, out, row.action)
        return sum((math.tanh(m) - a) ** 2 for m, a in zip(out, row.action, strict=True)) / ACTION

    return {"actor_loss": [explain(row) for row in p.rows]}


def mixture(p, out, action):
    """The negative log-likelihood of an action under a mixture of normal distributions, computed without logarithms."""
    count = MixtureActor.COMPONENTS
    shares = np.exp(out[:count]) / np.exp(out[:count]).sum()
    means, log_stds = out[count:].reshape(2, count, ACTION)
    p.seen.update("narrowest" if s < -3 else "widest" if s > 1 else "between" for s in log_stds.flat)
    likelihood = 0.0
    for share, mean, log_std in zip(shares, means, log_stds, strict=True):
        for m, s, a in zip(mean, log_std, action, strict=True):
            std = math.exp(min(max(s, -3), 1))
            share = share * math.exp(-0.5 * ((a - math.tanh(m)) / std) ** 2) / (std * math.sqrt(2 * math.pi))
        likelihood += share
    return -math.log(likelihood)


def dt(p, w, held):
    errors = []
    for row in p.rows:
        tokens = []
        for step in range(WINDOW):
            shown = {
                "goal": row.window_goals[step],
                "observation": row.window_states[step],
                "action": row.window_actions[step],
            }
            tokens += [linear(w, f"embed_{kind}", x) + w["embed_step.weight"][step] for kind, x in shown.items()]
        tokens = [normal(token, w["first_norm.weight"], w["first_norm.bias"]) for token in tokens]
        for block in range(p.settings["blocks"]):
            tokens = transform(w, f"blocks.{block}", tokens, p.settings["heads"])
        for step in range(WINDOW):
            hidden = normal(tokens[3 * step + 1], w["last_norm.weight"], w["last_norm.bias"])
            if row.window_valid[step]:
                out, action = linear(w, "head", hidden), row.window_actions[step]
                errors.append(p.cloning(out, action) if p.discrete else np.mean((np.tanh(out) - action) ** 2))
    return {"actor_loss": errors}


def transform(w, name, tokens, heads):
    """One block of the transformer; a token attends to itself and to those before it."""
    normed = [normal(token, w[f"{name}.norm.weight"], w[f"{name}.norm.bias"]) for token in tokens]
    parts = [np.split(linear(w, f"{name}.qkv", token), 3) for token in normed]
    queries, keys, values = ([np.split(part[i], heads) for part in parts] for i in range(3))  # [token][head]
    after = []
    for i, token in enumerate(tokens):
        seen = []
        for head in range(heads):
            scores = [queries[i][head] @ keys[j][head] / math.sqrt(len(keys[j][head])) for j in range(i + 1)]
            shares = np.exp(scores) / np.exp(scores).sum()
            seen.append(sum(share * values[j][head] for j, share in enumerate(shares)))
        token = token + linear(w, f"{name}.project", join(*seen))
        hidden = normal(token, w[f"{name}.mlp.0.weight"], w[f"{name}.mlp.0.bias"])
        after.append(token + linear(w, f"{name}.mlp.3", gelu(linear(w, f"{name}.mlp.1", hidden))))
    return after


def implicit_value(p, row, online, now, following):
    """How far the values `online` [2] are from one-step targets; now, following: the target networks' values [2]."""
    reward, discount = (0.0, 0.0) if row.reached else (-1.0, p.settings["discount"])
    side = p.expectile(reward + discount * min(following) - sum(now) / 2)
    return sum(side * (reward + discount * following[twin] - online[twin]) ** 2 for twin in (0, 1))


def cloning(p, w, row):
    return p.cloning(dense(w, "actor", join(row.state, row.goal)), row.action)


def advantage_weighted(p, w, advantage):
    """AWR. advantage(row): from the weights held."""
    return [p.advantage_weight(advantage(row)) * cloning(p, w, row) for row in p.rows]


def deterministic_gradient(p, w, held, q):
    """DDPG+BC. q(row, action): the critic's value from the weights held."""

    def worth(w, row):
        return p.worth(dense(w, "actor", join(row.state, row.goal)), lambda action: q(row, action))

    size = np.mean([abs(worth(held, row)) for row in p.rows]) + 1e-6
    return [-worth(w, row) / size + p.settings["alpha"] * cloning(p, w, row) for row in p.rows]


def gcivl(p, w, held):
    def value(w, state, goal, name="value"):
        return twins(w, name, join(state, goal))[:, 0]

    def advantage(row):
        return value(held, row.following, row.goal).mean() - value(held, row.state, row.goal).mean()

    terms = []
    for row in p.rows:
        now, following = (value(held, s, row.value_goal, "target_value") for s in (row.state, row.following))
        terms.append(implicit_value(p, row, value(w, row.state, row.value_goal), now, following))
    return {"value_loss": terms, "actor_loss": advantage_weighted(p, w, advantage)}


def gciql(p, w, held):
    def value(w, state, goal):
        return dense(w, "value", join(state, goal), norm=True)[0]

    def critic(w, row, goal, action, name="critic"):
        return twins(w, name, join(row.state, goal, action))[:, 0]

    def q(row, action):
        return min(critic(held, row, row.goal, action))

    parts = {"value_loss": [], "critic_loss": []}
    for row in p.rows:
        target = min(critic(held, row, row.value_goal, row.action, "target_critic"))
        error = target - value(w, row.state, row.value_goal)
        parts["value_loss"].append(p.expectile(error) * error**2)
        following = value(held, row.following, row.value_goal)
        target = 0 if row.reached else p.settings["discount"] * following - 1
        parts["critic_loss"].append(sum((target - q) ** 2 for q in critic(w, row, row.value_goal, row.action)))
    if p.settings["actor_loss"] == "ddpgbc":
        return parts | {"actor_loss": deterministic_gradient(p, w, held, q)}
    actor = advantage_weighted(p, w, lambda row: q(row, row.action) - value(held, row.state, row.goal))
    return parts | {"actor_loss": actor}


def crl(p, w, held):
    def similarity(w, name, x, goal):
        phi, psi = twins(w, f"{name}.phi", x), twins(w, f"{name}.psi", goal)
        return [phi[twin] @ psi[twin] / math.sqrt(p.settings["latent_dim"]) for twin in (0, 1)]

    def contrast(name, shown):
        terms = []
        for i, row in enumerate(p.rows):
            for j, other in enumerate(p.rows):
                for logit in similarity(w, name, shown(row), other.value_goal):
                    terms.append(math.log(1 + math.exp(-logit if i == j else logit)))
        return terms

    def q(row, action):
        return min(similarity(held, "critic", join(row.state, action), row.goal))

    parts = {"critic_loss": contrast("critic", lambda row: join(row.state, row.action))}
    if p.settings["actor_loss"] == "ddpgbc":
        return parts | {"actor_loss": deterministic_gradient(p, w, held, q)}

    def advantage(row):
        return q(row, row.action) - np.mean(similarity(held, "value", row.state, row.goal))

    actor = advantage_weighted(p, w, advantage)
    return parts | {"value_loss": contrast("value", lambda row: row.state), "actor_loss": actor}


def covered(intervals):
    """The length of a union of intervals, merged one by one."""
    apart = []
    for low, high in intervals:
        touching = [other for other in apart if other[0] <= high and low <= other[1]]
        apart = [other for other in apart if other not in touching]
        apart.append((min([low, *(other[0] for other in touching)]), max([high, *(other[1] for other in touching)])))
    return sum(high - low for low, high in apart)


def distance(w, x, y):
    """The interval quasimetric, in components of 8 dimensions."""
    intervals = [(a, max(a, b)) for a, b in zip(x, y, strict=True)]
    lengths = [covered(intervals[i : i + 8]) for i in range(0, len(intervals), 8)]
    share = 1 / (1 + math.exp(-w["distance.mix"]))
    return share * np.mean(lengths) + (1 - share) * max(lengths)


def qrl(p, w, held):
    def encode(w, state):
        return dense(w, "phi", state, norm=True)

    def predict(w, latent, action):
        return latent + dense(w, "dynamics", join(latent, action), norm=True)

    def too_long(w, row):
        length = distance(w, encode(w, row.state), encode(w, row.following))
        p.seen.add("long" if length > 1 else "short")
        return max(length - 1, 0) ** 2

    def value_loss(row):
        apart = distance(w, encode(w, row.state), encode(w, row.value_goal))
        fixed, learned = math.exp(held["log_multiplier"]), math.exp(w["log_multiplier"])
        loss = 100 * math.log(1 + math.exp(5 - apart / 100)) + fixed * too_long(w, row)
        return loss + learned * (p.settings["eps"] - too_long(held, row))

    def dynamics_loss(row):
        following, predicted = encode(w, row.following), predict(w, encode(w, row.state), row.action)
        return (distance(w, following, predicted) + distance(w, predicted, following)) / 2

    def q(row, action):
        return -distance(held, predict(held, encode(held, row.state), action), encode(held, row.goal))

    def left(row, state):
        return distance(held, encode(held, state), encode(held, row.goal))

    parts = {"value_loss": [value_loss(row) for row in p.rows]}
    if p.settings["actor_loss"] == "ddpgbc":
        actor = deterministic_gradient(p, w, held, q)
        return parts | {"dynamics_loss": [dynamics_loss(row) for row in p.rows], "actor_loss": actor}
    actor = advantage_weighted(p, w, lambda row: left(row, row.state) - left(row, row.following))
    return parts | {"actor_loss": actor}


def stretched(rep):
    """At length sqrt(dim)."""
    return rep / math.sqrt(sum(rep**2)) * math.sqrt(len(rep))


def hiql(p, w, held):
    def phi(w, state, goal, name="phi"):
        return stretched(dense(w, name, join(state, goal), norm=True))

    def value(w, state, goal, prefix=""):
        return twins(w, f"{prefix}value", join(state, phi(w, state, goal, f"{prefix}phi")))[:, 0]

    parts = {"value_loss": [], "low_actor_loss": [], "high_actor_loss": []}
    for row in p.rows:
        now, following = (value(held, s, row.value_goal, "target_") for s in (row.state, row.following))
        parts["value_loss"].append(implicit_value(p, row, value(w, row.state, row.value_goal), now, following))

        gain = value(held, row.following, row.near_goal).mean() - value(held, row.state, row.near_goal).mean()
        error = p.cloning(dense(w, "low_actor", join(row.state, phi(held, row.state, row.near_goal))), row.action)
        parts["low_actor_loss"].append(p.advantage_weight(gain, "low_alpha") * error)

        gain = value(held, row.subgoal_state, row.goal).mean() - value(held, row.state, row.goal).mean()
        proposed = dense(w, "high_actor", join(row.state, row.goal))
        error = negative_log_likelihood(proposed, phi(held, row.state, row.subgoal))
        parts["high_actor_loss"].append(p.advantage_weight(gain, "high_alpha") * error)
    return parts


def iql(p, w, held):
    parts = {"value_loss": [], "critic_loss": [], "actor_loss": []}
    for row in p.rows:
        acted = join(row.state, row.action)
        value, following = (dense(held, "value", s, norm=True)[0] for s in (row.state, row.following))
        q = min(twins(held, "target_critic", acted)[:, 0])
        error = q - dense(w, "value", row.state, norm=True)[0]
        parts["value_loss"].append(p.expectile(error) * error**2)
        target = row.reward + p.settings["discount"] * following
        parts["critic_loss"].append(sum((target - q) ** 2 for q in twins(w, "critic", acted)[:, 0]))
        error = p.cloning(dense(w, "actor", row.state), row.action)
        parts["actor_loss"].append(p.advantage_weight(q - value, "beta") * error)
    return parts


def td3bc(p, w, held):
    def pi(w, state, name="actor"):
        out = dense(w, name, state, relu)
        return out if p.discrete else np.tanh(out)

    def worth(w, row):
        return p.worth(pi(w, row.state), lambda action: twins(held, "critic", join(row.state, action))[0, 0])

    def bounded(noise, bound):
        p.seen.add("bounded" if abs(noise) > bound else "not bounded")
        return min(max(noise, -bound), bound)

    drawn = torch.randn(SIZE, ACTION, generator=torch.Generator(), dtype=torch.float64).numpy()
    size = np.mean([abs(worth(held, row)) for row in p.rows])
    parts = {"critic_loss": [], "actor_loss": []}
    for row, noise in zip(p.rows, drawn, strict=True):
        action = pi(held, row.following, "target_actor")
        if p.discrete:
            action = np.eye(CHOICES)[action.argmax()]
        else:
            noise = [bounded(p.settings["policy_noise"] * x, p.settings["noise_clip"]) for x in noise]
            action = p.clip(action + noise)
        target = row.reward + p.settings["discount"] * min(twins(held, "target_critic", join(row.following, action)))[0]
        found = twins(w, "critic", join(row.state, row.action))[:, 0]
        parts["critic_loss"].append(sum((target - q) ** 2 for q in found))
        out = pi(w, row.state)
        error = p.cloning(out, row.action) if p.discrete else np.mean((out - row.action) ** 2)
        parts["actor_loss"].append(error - p.settings["alpha"] * worth(w, row) / size)
    return parts


# Cases


class Case(NamedTuple):
    """An agent, its equations, its settings, and the branches that the equations have."""

    kind: Callable[..., Agent]
    equations: Callable[[Problem, Weights, Weights], dict[str, list[float]]]
    settings: dict[str, Any]
    branches: Set[str] = frozenset()
    discrete: bool = False


SMALL = {"hidden_dims": (7, 5)}
VALUE = SMALL | {"discount": 0.9, "expectile": 0.7}
METRIC = {"hidden_dims": (7, 5), "latent_dim": 16, "eps": 0.06}
LATENT = SMALL | {"latent_dim": 3}
TRANSFORMER = {"window": WINDOW, "width": 6, "blocks": 2}
AWR, DDPGBC = {"actor_loss": "awr", "alpha": 3.0}, {"actor_loss": "ddpgbc", "alpha": 0.2}
REWARDED = {"hidden_dims": (7, 5), "discount": 0.9}
NOISE = {"policy_noise": 0.3, "noise_clip": 0.4}
SIDES, LENGTHS, STDS = {"above", "below"}, {"long", "short"}, {"narrowest", "widest", "between"}
WEIGHTED, CLIPPED = {"weighted", "most weighted"}, {"clipped", "not clipped"}
BOUNDED = {"bounded", "not bounded"}

CASES = {
    "gcbc": Case(GCBC, gcbc, SMALL),
    "gcbc-gaussian": Case(GCBC, gcbc, SMALL | {"actor": "gaussian", "activation": "gelu"}),
    "gcbc-mixture": Case(GCBC, gcbc, SMALL | {"actor": "mixture"}, STDS),
    "dt": Case(DT, dt, TRANSFORMER | {"heads": 1}),
    "dt-heads": Case(DT, dt, TRANSFORMER | {"heads": 2}),
    "gcivl": Case(GCIVL, gcivl, VALUE | {"alpha": 8.0}, SIDES | WEIGHTED),
    "gciql-ddpgbc": Case(GCIQL, gciql, VALUE | DDPGBC, SIDES | CLIPPED),
    "gciql-awr": Case(GCIQL, gciql, VALUE | AWR, SIDES | WEIGHTED),
    "crl-ddpgbc": Case(CRL, crl, LATENT | DDPGBC, CLIPPED),
    "crl-awr": Case(CRL, crl, LATENT | AWR, WEIGHTED),
    "qrl-ddpgbc": Case(QRL, qrl, METRIC | DDPGBC, LENGTHS | CLIPPED),
    "qrl-awr": Case(QRL, qrl, METRIC | AWR, LENGTHS | WEIGHTED),
    "hiql": Case(HIQL, hiql, VALUE | {"low_alpha": 8.0, "high_alpha": 6.0, "rep_dim": 3}, SIDES | WEIGHTED),
    "iql": Case(IQL, iql, REWARDED | {"expectile": 0.7, "beta": 1.5}, SIDES | WEIGHTED),
    "td3bc": Case(TD3BC, td3bc, REWARDED | NOISE | {"alpha": 2.5, "policy_delay": 1}, CLIPPED | BOUNDED),
}
CASES |= {
    f"{name}-discrete": case._replace(discrete=True, branches=case.branches - CLIPPED - BOUNDED)
    for name, case in CASES.items()
    if name not in ("gcbc-gaussian", "gcbc-mixture", "dt-heads", "crl-awr", "qrl-awr")
}
TAUGHT = {  # the networks that each loss has gradients for
    GCIVL: {"value_loss": {"value"}, "actor_loss": {"actor"}},
    GCIQL: {"value_loss": {"value"}, "critic_loss": {"critic"}, "actor_loss": {"actor"}},
    CRL: {"value_loss": {"value"}, "critic_loss": {"critic"}, "actor_loss": {"actor"}},
    QRL: {
        "value_loss": {"phi", "distance", "log_multiplier"},
        "dynamics_loss": {"phi", "distance", "dynamics"},
        "actor_loss": {"actor"},
    },
    IQL: {"value_loss": {"value"}, "critic_loss": {"critic"}, "actor_loss": {"actor"}},
    TD3BC: {"critic_loss": {"critic"}, "actor_loss": {"actor"}},
    HIQL: {"value_loss": {"value", "phi"}, "low_actor_loss": {"low_actor"}, "high_actor_loss": {"high_actor"}},
}


def weights(agent: Agent) -> Weights:
    """Every parameter by its name."""
    return {name: parameter.detach().numpy().copy() for name, parameter in agent.named_parameters()}


def built_for(case: Case) -> Spaces:
    boxes = spaces(OBSERVATION, ACTION, GOAL)
    return boxes._replace(action=Discrete(CHOICES)) if case.discrete else boxes


def make(case: Case, seed: int = 0) -> tuple[Agent, Batch, Problem]:
    """An agent with rough weights (targets too have their own), a random batch, and the same batch row by row."""
    agent = case.kind(built_for(case), **case.settings).double().eval()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.copy_(torch.tensor(rng.normal(0, 1.2, parameter.shape)))
    training = rng.normal([1, -2, 3, 0], [0.5, 1, 2, 4], (50, OBSERVATION))
    agent.fit(torch.from_numpy(training))

    drawn = rng.permutation(training)[: 6 * SIZE]
    observations, following, goals, value_goals, low_goals, subgoals = np.split(drawn, 6)
    reached = np.arange(SIZE) % 3 == 1
    following[:2] = observations[:2] + 0.01
    value_goals[reached] = observations[reached]
    actions = rng.uniform(-1, 1, (SIZE, ACTION))
    states = rng.permutation(training)[: SIZE * WINDOW].reshape(SIZE, WINDOW, OBSERVATION)
    taken = rng.uniform(-1, 1, (SIZE, WINDOW, ACTION))
    asked = rng.permutation(training)[: SIZE * WINDOW].reshape(SIZE, WINDOW, OBSERVATION)
    rewards = rng.normal(0, 2, SIZE)
    valid = np.arange(WINDOW) < rng.integers(1, WINDOW + 1, (SIZE, 1))
    shown_actions, shown_taken = actions, taken
    if case.discrete:
        actions, taken = rng.integers(CHOICES, size=SIZE), rng.integers(CHOICES, size=(SIZE, WINDOW))
        shown_actions, shown_taken = np.eye(CHOICES)[actions], np.eye(CHOICES)[taken]
    arrays = observations, actions, following, goals, value_goals, reached, low_goals, subgoals
    window = Window(*map(torch.from_numpy, (states, taken, valid, asked)))
    batch = Batch(*map(torch.from_numpy, arrays), window, torch.from_numpy(rewards))

    columns = list(range(OBSERVATION) if case.kind is QRL else GOAL)
    mean = training.mean(0)
    std = np.sqrt(((training - mean) ** 2).sum(0) / (len(training) - 1))
    rows = [
        SimpleNamespace(
            state=(observations[i] - mean) / std,
            following=(following[i] - mean) / std,
            subgoal_state=(subgoals[i] - mean) / std,
            goal=((goals[i] - mean) / std)[columns],
            value_goal=((value_goals[i] - mean) / std)[columns],
            near_goal=((low_goals[i] - mean) / std)[columns],
            subgoal=((subgoals[i] - mean) / std)[columns],
            action=shown_actions[i],
            reached=reached[i],
            window_states=(states[i] - mean) / std,
            window_actions=shown_taken[i],
            window_valid=valid[i],
            window_goals=((asked[i] - mean) / std)[:, columns],
            reward=rewards[i],
        )
        for i in range(SIZE)
    ]
    return agent, batch, Problem(case.settings, rows, case.discrete)


def touched(agent: Agent, loss: torch.Tensor) -> set[str]:
    """The networks that a loss has a gradient for."""
    agent.zero_grad()
    loss.backward(retain_graph=True)
    gradients = {name: parameter.grad for name, parameter in agent.named_parameters()}
    return {name.split(".")[0] for name, grad in gradients.items() if grad is not None and grad.any()}


# Tests

every_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
every_critic = pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in CASES.items() if case.kind in TAUGHT]
)


@every_case
def test_each_part_of_the_loss_is_the_papers_equation_computed_slowly(case):
    seen = set()
    for seed in range(10):
        agent, batch, problem = make(case, seed)
        expected = {name: np.mean(terms) for name, terms in case.equations(problem, *[weights(agent)] * 2).items()}
        loss, parts = agent.loss(batch, torch.Generator())
        found = {name: part.item() for name, part in parts.items() if name.endswith("_loss")}
        assert found == pytest.approx(expected, rel=EXACT)
        assert loss.item() == pytest.approx(sum(expected.values()), rel=EXACT)
        assert not any(part.requires_grad for part in parts.values())
        seen |= problem.seen
    assert seen == case.branches, "the batches do not show all that they should"


@every_case
@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_of_the_loss_takes_as_given_what_the_equation_takes_as_given(case, seed):
    agent, batch, problem = make(case, seed)
    agent.loss(batch, torch.Generator())[0].backward()
    held, rng, width = weights(agent), np.random.default_rng(0), 1e-6
    along = {name: rng.normal(size=p.shape) for name, p in agent.named_parameters() if p.requires_grad}

    def total(step):
        moved = held | {name: held[name] + step * direction for name, direction in along.items()}
        return sum(np.mean(terms) for terms in case.equations(problem, moved, held).values())

    slope = sum(np.sum(agent.get_parameter(name).grad.numpy() * along[name]) for name in along)
    assert slope == pytest.approx((total(width) - total(-width)) / (2 * width), rel=1e-5, abs=1e-6)


@every_critic
def test_each_loss_teaches_its_own_networks_alone(case):
    agent, batch, _ = make(case)
    parts = {}
    agent.total = lambda found: (parts.update(found), Agent.total(found))[1]  # as they are before they are detached
    agent.loss(batch, torch.Generator())
    losses = {name: part.loss if isinstance(part, LossResult) else part for name, part in parts.items()}
    assert {name: touched(agent, loss) for name, loss in losses.items()} == {
        name: TAUGHT[case.kind][name] for name in parts
    }


@every_critic
def test_target_networks_are_copies_that_no_loss_teaches(case):
    agent = case.kind(built_for(case), **case.settings)
    for target, online in agent.targets.items():
        copy = agent.get_submodule(target).state_dict()
        assert copy and all(torch.equal(copy[k], v) for k, v in agent.get_submodule(online).state_dict().items())
    for name, parameter in agent.named_parameters():
        assert parameter.requires_grad != name.startswith("target_")


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name)
        for name, case in CASES.items()
        if case.kind in TAUGHT and name != "td3bc" and not case.discrete
    ],
)
def test_the_critics_agents_act_by_the_clipped_mean_of_their_actor(case):
    seen = set()
    for seed in range(10):
        agent, batch, problem = make(case, seed)
        w, expected = weights(agent), []
        for row in problem.rows:
            network, shown = "actor", row.state if case.kind is IQL else join(row.state, row.goal)
            if case.kind is HIQL:
                network, shown = "low_actor", join(row.state, stretched(dense(w, "high_actor", shown)))
            expected.append(problem.clip(dense(w, network, shown)))
        with torch.no_grad():
            np.testing.assert_allclose(agent.act(batch.observations, batch.goals).numpy(), expected, rtol=1e-9)
        seen |= problem.seen
    assert seen == CLIPPED


def test_freezing_lets_gradients_through_and_ends_even_when_its_body_raises():
    network, fixed = mlp([2, 3, 1]), mlp([2, 3, 1]).requires_grad_(False)
    x = torch.ones(1, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match="in between"), frozen(network, fixed):
        network(x).sum().backward()
        raise RuntimeError("in between")
    assert x.grad.any() and all(parameter.grad is None for parameter in network.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not any(parameter.requires_grad for parameter in fixed.parameters())
