"""The agents: reproducible training, a small world that each of them solves, and configurations that are refused."""

import math
import re

import numpy as np
import pytest
import torch
from conftest import make_episodes, random_walks
from gymnasium.spaces import Box, Discrete
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from probes import relabelling, spaces

from stitchrl.agents.crl import CRL
from stitchrl.agents.dt import DT
from stitchrl.agents.gcbc import GCBC
from stitchrl.agents.gciql import GCIQL
from stitchrl.agents.gcivl import GCIVL
from stitchrl.agents.hgcbc import HGCBC
from stitchrl.agents.hiql import HIQL
from stitchrl.agents.iql import IQL
from stitchrl.agents.networks import CategoricalActor
from stitchrl.agents.qrl import QRL
from stitchrl.agents.td3bc import TD3BC
from stitchrl.command import CONF
from stitchrl.data.batches import BatchSampler
from stitchrl.data.episodes import Episodes
from stitchrl.data.paths import Future
from stitchrl.learner import Learner
from stitchrl.types import Batch, LossResult, Window


def make_sampler(episodes, agent):
    """Conditions are returns where the agent is built for vectors."""
    relabelled = relabelling(episodes, None if agent.of_columns else HORIZON)
    return BatchSampler(episodes, Future().bind(episodes), agent.needs, 0, relabelled)


def plain_learner(agent):
    """A learner without decay and average."""
    return Learner(agent, steps=1, decay=False, average=0.0, precision="highest")


# Training

RETURNS, HORIZON = " (returns)", 12


def configured(name, seed=0, precision="highest", device="cpu"):
    """A learner of a small agent from conf/agent, for conditions that are returns where its name says so."""
    small = ["budget.hidden_dims=[16,16]", "budget.batch_size=32"]
    columns = None if name.endswith(RETURNS) else (0, 1)
    name = name.removesuffix(RETURNS)
    if name.endswith("egocentric"):
        small.append("agent.orientation=[0,1,2,3]")  # of an ant in its file; here observations have four columns
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"agent={name}", *small, *(["agent.width=16", "agent.blocks=1"] * (name == "dt"))])
    torch.manual_seed(seed)
    agent = instantiate(config.agent, spaces=spaces(columns=columns)).to(device)
    return Learner(agent, steps=10, decay=True, average=0.9, precision=precision)


def walked(learner, count):
    """Batches of random walks; steps that begin in the upper half earn."""
    walks = random_walks(count=10, longest=30)
    episodes = make_episodes(walks, [walk[:-1, 1].clip(0) for walk in walks])
    learner.agent.fit(episodes.observations)
    sampler = make_sampler(episodes, learner.agent)
    return [sampler.sample(learner.agent.batch_size) for _ in range(count)]


def train(learner, batches):
    """Every part of the loss in one update for each batch; dropout is seeded."""
    torch.manual_seed(1)
    return [{k: v.item() for k, v in learner.update(batch, torch.Generator()).items()} for batch in batches]


def weights(learner):
    return torch.cat([tensor.flatten() for tensor in [*learner.agent.state_dict().values(), *learner.averaged]])


OF_RETURNS = [name + RETURNS for name in ("gcbc", "gcbc_shuffled", "goal_blind", "gcbc_mixture", "dt")]


@pytest.mark.parametrize("name", [*sorted(path.stem for path in (CONF / "agent").glob("*.yaml")), *OF_RETURNS])
def test_an_agent_trains_reproducibly_and_goes_on_from_a_checkpoint_as_if_never_stopped(name, tmp_path):
    learner, again = configured(name), configured(name)
    batches = walked(learner, 8)
    losses = train(learner, batches[:5])
    assert all(math.isfinite(value) for parts in losses for value in parts.values())
    assert train(again, walked(again, 8)[:5]) == losses and torch.equal(weights(again), weights(learner))

    torch.save(learner.state_dict(), tmp_path / "learner.pt")
    restored = configured(name, seed=1)
    restored.load_state_dict(torch.load(tmp_path / "learner.pt", weights_only=True))
    assert train(restored, batches[5:]) == train(learner, batches[5:])
    assert torch.equal(weights(restored), weights(learner)) and not torch.equal(weights(again), weights(learner))


@pytest.mark.parametrize("name", ["gcbc", "dt", "gcivl", "gciql", "crl", "qrl", "hiql", "iql", "td3bc"])
def test_bfloat16_gives_nearly_the_same_losses_and_float32_weights(name):
    exact, rounded, again = (configured(name, precision=precision) for precision in ("highest", "bfloat16", "bfloat16"))
    batches = walked(exact, 5)
    expected = train(exact, batches)
    for learner in (rounded, again):
        walked(learner, 0)
    found = train(rounded, batches)
    assert found != expected and train(again, batches) == found and torch.equal(weights(again), weights(rounded))
    for parts, others in zip(found, expected, strict=True):
        assert parts.keys() == others.keys()
        # of terms that count from a threshold on or not at all
        assert parts["grad_norm"] == pytest.approx(others["grad_norm"], rel=0.25)
        for name in parts:
            if name.endswith("_loss"):
                assert parts[name] == pytest.approx(others[name], rel=0.05, abs=1e-3)
    assert {tensor.dtype for tensor in rounded.agent.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", [GCIVL, GCIQL, HIQL, IQL, TD3BC])
def test_target_networks_move_towards_their_online_networks_by_the_tau(kind):
    learner = plain_learner(kind(spaces(), hidden_dims=(8,), tau=0.25, batch_size=32))
    first, second = walked(learner, 2)
    learner.update(first, torch.Generator())  # so that targets differ from their networks
    before = {name: tensor.clone() for name, tensor in learner.agent.state_dict().items()}
    learner.update(second, torch.Generator())
    after = learner.agent.state_dict()
    followed = {target: target.removeprefix("target_") for target in after if target.startswith("target_")}
    assert {target.split(".")[0] for target in followed} == set(learner.agent.targets) and followed
    for target, online in followed.items():
        torch.testing.assert_close(after[target], before[target] + 0.25 * (after[online] - before[target]))
        assert not torch.equal(after[target], after[online])


def test_td3bc_teaches_its_actor_in_every_second_update_and_counts_them_over_a_checkpoint(tmp_path):
    learner = configured("td3bc")
    learned = []
    for batch in walked(learner, 5):
        before = [parameter.clone() for parameter in learner.agent.actor.parameters()]
        parts = learner.update(batch, torch.Generator())
        after = learner.agent.actor.parameters()
        learned.append(not all(torch.equal(*pair) for pair in zip(before, after, strict=True)))
        assert ("actor_loss" in parts) == learned[-1]
    assert learned == [False, True, False, True, False]
    restored = configured("td3bc")
    restored.load_state_dict(learner.state_dict())
    assert "actor_loss" in restored.update(walked(restored, 1)[0], torch.Generator())


# Spaces

PLANES = Box(0, 255, (2, 4, 4), np.uint8)
KINDS = {
    "gcbc": (GCBC, {}),
    "gcbc-whole": (GCBC, {"goal": "observation"}),
    "goal-blind": (GCBC, {"goal": "nothing"}),
    "hgcbc": (HGCBC, {"subgoal_steps": 3}),
    "dt": (DT, {"window": 3, "width": 8, "blocks": 1}),
    "gcivl": (GCIVL, {}),
    "gciql": (GCIQL, {}),
    "gciql-awr": (GCIQL, {"actor_loss": "awr"}),
    "crl": (CRL, {"latent_dim": 8}),
    "crl-awr": (CRL, {"latent_dim": 8, "actor_loss": "awr"}),
    "qrl": (QRL, {"latent_dim": 8}),
    "qrl-awr": (QRL, {"latent_dim": 8, "actor_loss": "awr"}),
    "hiql": (HIQL, {"subgoal_steps": 3}),
    "iql": (IQL, {}),
    "td3bc": (TD3BC, {"policy_delay": 1}),
}


def random_batch(of, size=12):
    """A batch and a window to act in, of spaces."""
    rng = torch.Generator().manual_seed(0)

    def observed(*shape):
        whole = (*shape, *of.observation.shape)
        if of.observation.dtype == np.uint8:
            return torch.randint(256, whole, dtype=torch.uint8, generator=rng)
        return torch.randn(whole, generator=rng)

    def acted(*shape):
        if isinstance(of.action, Discrete):
            return torch.randint(int(of.action.n), shape, generator=rng)
        return 2 * torch.rand(*shape, *of.action.shape, generator=rng) - 1

    window = Window(observed(size, 3), acted(size, 3), torch.arange(3).expand(size, -1) < 2, observed(size, 3))
    reached = torch.arange(size) % 3 == 0
    parts = observed(size), acted(size), *(observed(size) for _ in range(3)), reached, *(observed(size) for _ in "gs")
    return Batch(*parts, window, torch.rand(size, generator=rng))


@pytest.mark.parametrize("kind, settings", KINDS.values(), ids=list(KINDS))
@pytest.mark.parametrize("discrete", [False, True], ids=["box", "discrete"])
@pytest.mark.parametrize("planes", [False, True], ids=["floats", "planes"])
def test_an_agent_learns_and_acts_in_any_spaces(kind, settings, discrete, planes):
    of = spaces()
    of = of._replace(action=Discrete(3) if discrete else of.action, observation=PLANES if planes else of.observation)
    torch.manual_seed(0)
    agent = kind(of, **settings, **({} if kind is DT else {"hidden_dims": (8,)}))
    batch = random_batch(of)
    agent.fit(batch.observations)
    weights = [parameter.clone() for parameter in agent.parameters() if parameter.requires_grad]
    parts = []
    total, agent.total = agent.total, lambda found: (parts.append(found), total(found))[1]
    learner = plain_learner(agent)
    info = learner.update(batch, torch.Generator())
    changed = [not torch.equal(*pair) for pair in zip(weights, learner.parameters, strict=True)]
    assert sum(changed) > 0.7 * len(changed)  # warm-up and unused embeddings keep some
    assert all(math.isfinite(value) for value in info.values()) and not any(v.requires_grad for v in info.values())
    logged = sum(1 + len(part.info if isinstance(part, LossResult) else ()) for part in parts[0].values())
    norms = {key for key in info if key.startswith("grad_norm")}
    assert len(info) == logged + len(norms), "a key is logged twice"
    assert norms == {"grad_norm"} | {f"grad_norm/{name.split('.')[0]}" for name, p in trained(agent)}
    squares = sum(info[key].item() ** 2 for key in norms if key != "grad_norm")
    assert squares == pytest.approx(info["grad_norm"].item() ** 2, rel=1e-4)

    shown = batch.window if agent.needs.window else batch.observations
    with torch.no_grad():
        actions = agent.eval().act(shown, batch.goals)
    if discrete:
        assert actions.shape == (12,) and actions.dtype == torch.int64 and actions.min() >= 0 and actions.max() < 3
    else:
        assert actions.shape == (12, 2) and actions.dtype == torch.float32 and actions.abs().max() <= 1


def trained(agent):
    return [(name, parameter) for name, parameter in agent.named_parameters() if parameter.grad is not None]


def test_norms_of_parts_are_measured_only_when_they_are_logged():
    of = spaces()
    learner = plain_learner(GCIVL(of, hidden_dims=(8,)))
    assert not any(key.startswith("grad_norm") for key in learner.update(random_batch(of), torch.Generator(), False))


# A world of nine points in a row

LAST = 8


def corridor(straight, count=150, length=24):
    """Episodes along the row: back and forth at random, or straight to an end. Actions are the steps' directions."""
    rng = np.random.default_rng(0)
    points, actions, lengths = [], [], []
    for _ in range(count):
        x = int(rng.integers(LAST + 1))
        steps, direction = 0, 0
        while steps < length and not (straight and steps and x in (0, LAST)):
            kept = direction if straight and steps else rng.choice([-1, 1])
            direction = 1 if x == 0 else -1 if x == LAST else kept
            points.append([x, 0, 0, 0])
            actions.append([direction])
            x, steps = x + direction, steps + 1
        points.append([x, 0, 0, 0])
        actions.append([np.nan])
        lengths.append(steps)
    points, actions = torch.tensor(points).float(), torch.tensor(actions).float()
    rewards = (points[:, 0] + actions[:, 0] == LAST).float()  # for a step that ends at the right end
    return Episodes(points, actions, torch.where(actions[:, 0].isnan(), torch.nan, rewards), torch.tensor(lengths))


@torch.no_grad()
def directed(agent):
    """Mean over all pairs of points of 1 where the agent walks towards the goal, -1 where it walks away."""
    here, there = torch.meshgrid(torch.arange(LAST + 1.0), torch.arange(LAST + 1.0), indexing="ij")
    here, there = here[here != there], there[here != there]
    states, goals = (torch.stack([x, *[torch.zeros_like(x)] * 3], 1) for x in (here, there))
    return (direction(agent, states, goals) * (there - here).sign()).mean().item()


def direction(agent, states, conditions):
    """1 where the agent walks to the right, -1 where to the left."""
    actions = act(agent, states, conditions)
    return 2 * actions - 1 if agent.discrete else actions[:, 0].sign()


@torch.no_grad()
def act(agent, states, conditions):
    """Actions at the first step of an episode."""
    if agent.needs.window is not None:
        padded, asked = (tensor[:, None].repeat(1, agent.needs.window, 1) for tensor in (states, conditions))
        valid = torch.arange(agent.needs.window).expand(len(states), -1) == 0
        none = torch.zeros(valid.shape, dtype=torch.long) if agent.discrete else torch.zeros(*valid.shape, 1)
        states = Window(padded, none, valid, asked)
    return agent.eval().act(states, conditions)


NET = {"hidden_dims": (64, 64), "lr": 3e-3, "batch_size": 64}
NEAR = {"current": 0.2, "trajectory": 0.5, "random": 0.3, "discount": 0.9}
AHEAD = {"current": 0.0, "trajectory": 1.0, "random": 0.0, "discount": 0.9}
IMPLICIT = NET | {"discount": 0.9, "value_goals": NEAR, "tau": 0.1}
CONTRAST = NET | {"value_goals": AHEAD, "latent_dim": 16}
TRANSFORMER = {"width": 32, "blocks": 1, "window": 3, "dropout": 0.0, "warmup": 20, "lr": 3e-3, "batch_size": 64}
SOLVERS = {  # and in how many updates
    "gcbc": (GCBC, 100, NET),
    "gcbc-gaussian": (GCBC, 200, NET | {"actor": "gaussian", "activation": "gelu"}),
    "gcbc-mixture": (GCBC, 200, NET | {"actor": "mixture"}),
    "hgcbc": (HGCBC, 150, NET | {"subgoal_steps": 3, "high_dims": (64, 64)}),
    "dt": (DT, 150, TRANSFORMER),
    "gcivl": (GCIVL, 250, IMPLICIT),
    "gciql-ddpgbc": (GCIQL, 400, IMPLICIT | {"alpha": 0.1}),
    "gciql-awr": (GCIQL, 400, IMPLICIT | {"actor_loss": "awr", "alpha": 10.0}),
    "crl-ddpgbc": (CRL, 350, CONTRAST | {"alpha": 0.1}),
    "crl-awr": (CRL, 350, CONTRAST | {"actor_loss": "awr", "alpha": 3.0}),
    "qrl-ddpgbc": (QRL, 100, NET | {"latent_dim": 32, "alpha": 0.01}),
    "qrl-awr": (QRL, 100, NET | {"latent_dim": 32, "actor_loss": "awr", "alpha": 10.0}),
    "hiql": (HIQL, 150, IMPLICIT | {"subgoal_steps": 3, "rep_dim": 4}),
}


@pytest.mark.parametrize("kind, updates, settings", SOLVERS.values(), ids=list(SOLVERS))
def test_an_agent_learns_to_walk_towards_any_point_of_a_row(kind, updates, settings):
    episodes = corridor(straight=kind in (GCBC, HGCBC, DT))
    torch.manual_seed(0)
    agent = kind(spaces(action_dim=1), **settings)
    agent.fit(episodes.observations)
    assert directed(agent) < 0.8
    learner, sampler = plain_learner(agent.train()), make_sampler(episodes, agent)
    for _ in range(updates):
        learner.update(sampler.sample(agent.batch_size), torch.Generator())
    assert directed(agent) > 0.9


@pytest.mark.parametrize("kind, updates, settings", [(GCBC, 150, NET), (DT, 150, TRANSFORMER)], ids=["gcbc", "dt"])
def test_an_agent_of_returns_learns_to_walk_to_the_end_that_earns_what_it_is_asked_for(kind, updates, settings):
    """To the right for all; to the left for nothing, in steps in which the right end would be reached too."""
    episodes = corridor(straight=True)
    torch.manual_seed(0)
    agent = kind(spaces(action_dim=1, columns=None), **settings)
    agent.fit(episodes.observations)
    learner, sampler = plain_learner(agent.train()), make_sampler(episodes, agent)
    assert sampler.relabelling.scale == 1
    for _ in range(updates):
        learner.update(sampler.sample(agent.batch_size), torch.Generator())
    here = torch.arange(1.0, LAST)  # not at an end, where there is one way only
    states = torch.stack([here, *[torch.zeros_like(here)] * 3], 1)
    for wanted, away, told in ((1.0, LAST - here, here > 0), (0.0, here, here >= LAST - here)):
        conditions = torch.stack([torch.full_like(here, wanted), away / HORIZON], 1)
        assert (act(agent, states, conditions)[told, 0].sign() == 2 * wanted - 1).all()


REWARDED = NET | {"discount": 0.9, "tau": 0.1}
DISCRETE = {name: solver for name, solver in SOLVERS.items() if name not in ("gcbc-gaussian", "gcbc-mixture")}
DISCRETE |= {"iql": (IQL, 300, REWARDED | {"beta": 10.0}), "td3bc": (TD3BC, 300, REWARDED)}


def numbered(batch):
    """The same batch with the actions 0 for left and 1 for right."""
    left_right = batch._replace(actions=(batch.actions[:, 0] > 0).long())
    if batch.window is None:
        return left_right
    return left_right._replace(window=batch.window._replace(actions=(batch.window.actions[..., 0] > 0).long()))


@pytest.mark.parametrize("kind, updates, settings", DISCRETE.values(), ids=list(DISCRETE))
def test_an_agent_with_discrete_actions_learns_to_walk_along_the_row(kind, updates, settings):
    """To any point, or where it learns from rewards to the end that earns."""
    episodes = corridor(straight=kind in (GCBC, HGCBC, DT))
    torch.manual_seed(0)
    agent = kind(spaces()._replace(action=Discrete(2)), **settings)
    agent.fit(episodes.observations)
    learner, sampler = plain_learner(agent.train()), make_sampler(episodes, agent)
    for _ in range(updates):
        learner.update(numbered(sampler.sample(agent.batch_size)), torch.Generator())
    if not agent.needs.rewards:
        assert directed(agent) > 0.9
        return
    states = torch.zeros(LAST, 4)
    states[:, 0] = torch.arange(LAST)
    assert (direction(agent, states, states) == 1).all()


@pytest.mark.parametrize(
    "kind, updates, settings", [(IQL, 300, REWARDED | {"beta": 10.0}), (TD3BC, 300, REWARDED)], ids=["iql", "td3bc"]
)
def test_an_agent_of_rewards_learns_to_walk_to_the_end_that_earns_whatever_it_is_asked_for(kind, updates, settings):
    episodes = corridor(straight=False)
    torch.manual_seed(0)
    agent = kind(spaces(action_dim=1), **settings)
    agent.fit(episodes.observations)
    learner, sampler = plain_learner(agent), make_sampler(episodes, agent)
    for _ in range(updates):
        learner.update(sampler.sample(agent.batch_size), torch.Generator())
    here = torch.arange(float(LAST))
    states = torch.stack([here, *[torch.zeros_like(here)] * 3], 1)
    for conditions in (torch.zeros(LAST, 2), torch.ones(LAST, 4)):
        assert (act(agent, states, conditions)[:, 0] > 0).all()


# What actors are made of


def random_window(steps):
    observations, actions, conditions = (torch.randn(5, steps, columns) for columns in (4, 2, 4))
    return Window(observations, actions, torch.ones(5, steps, dtype=torch.bool), conditions)


def test_the_high_policy_alone_learns_from_paths_to_any_goal_and_the_low_one_alone_from_the_episode():
    torch.manual_seed(0)
    agent = HGCBC(spaces(), subgoal_steps=3, hidden_dims=(8,), high_dims=(8,))
    states, goals, near, subgoals = torch.randn(4, 5, 4)
    batch = Batch(states, torch.rand(5, 2), states, goals)._replace(low_goals=near, subgoals=subgoals)

    def moved(**parts):
        """Which of the two losses another value of a part changes."""
        then, now = (agent.loss(b, torch.Generator())[1] for b in (batch, batch._replace(**parts)))
        return {name for name in then if then[name] != now[name]}

    assert moved(low_goals=near + 1) == {"actor_loss"}
    assert moved(goals=goals + 1) == moved(subgoals=subgoals + 1) == {"high_loss"}


@torch.no_grad()
def test_hierarchical_cloning_walks_to_where_its_high_policy_says():
    torch.manual_seed(0)
    agent = HGCBC(spaces(), subgoal_steps=3, hidden_dims=(8,), high_dims=(8,))
    agent.fit(3 * torch.randn(50, 4) + 1)
    states, goals, subgoals = torch.randn(3, 5, 4)
    agent.way = lambda observation, goal: agent.offset(states, subgoals)
    torch.testing.assert_close(agent.act(states, goals), GCBC.act(agent, states, subgoals))


@torch.no_grad()
def test_dt_predicts_an_action_from_the_goals_and_states_up_to_it_and_the_actions_before_it():
    torch.manual_seed(0)
    agent = DT(spaces(), window=4, width=16, blocks=2, heads=2).eval()
    window = random_window(4)
    predicted = agent.predict(window)

    def changed(**parts):
        """Whether the prediction at each step is another one, in the whole batch."""
        moved = (agent.predict(window._replace(**parts)) - predicted).abs().transpose(0, 1).flatten(1) > 1e-6
        assert torch.equal(moved.any(1), moved.all(1))
        return moved.all(1).tolist()

    for step in range(4):
        here = (torch.arange(4) == step)[:, None]
        for name in ("observations", "conditions"):
            value = getattr(window, name)
            assert changed(**{name: torch.where(here, value + 1, value)}) == [later >= step for later in range(4)]
        assert changed(actions=torch.where(here, window.actions + 1, window.actions)) == [
            later > step for later in range(4)
        ]


@torch.no_grad()
def test_dt_acts_by_the_prediction_at_the_newest_step_whatever_fills_the_rest_of_the_window():
    torch.manual_seed(0)
    agent = DT(spaces(), window=4, width=16, blocks=1).eval()
    window, steps = random_window(4), torch.tensor([1, 2, 3, 4, 2])
    valid = torch.arange(4) < steps[:, None]
    observations, actions, conditions = (
        tensor * valid[..., None] for tensor in (window.observations, window.actions, window.conditions)
    )
    torch.testing.assert_close(
        agent.act(Window(observations, actions, valid, conditions), torch.randn(5, 4)),
        torch.stack([agent.predict(window)[row, step - 1] for row, step in enumerate(steps)]),
    )


@torch.no_grad()
def test_dt_with_a_shorter_context_acts_as_one_whose_episode_began_that_many_steps_ago():
    torch.manual_seed(0)
    agent = DT(spaces(), window=4, act_window=2, width=16, blocks=1).eval()
    shown = random_window(2)
    unseen = [torch.cat([tensor, torch.randn(5, 2, tensor.shape[2])], 1) for tensor in (shown[0], shown[1], shown[3])]
    valid = torch.arange(4).expand(5, -1) < 2
    torch.testing.assert_close(
        agent.act(shown, shown.conditions[:, -1]),
        agent.predict(Window(*unseen[:2], valid, unseen[2]))[:, 1],
    )


@torch.no_grad()
def test_the_mixture_acts_by_the_mean_of_its_likeliest_component():
    torch.manual_seed(0)
    agent = GCBC(spaces(), hidden_dims=(8,), actor="mixture")
    agent.actor.net[-1].weight.mul_(5)
    observations, goals = torch.randn(2, 20, 4)
    out = agent.actor.net(agent.inputs(observations, goals))
    likeliest = out[:, :8].argmax(1).tolist()
    means = [row[8 + 2 * k : 10 + 2 * k].tanh() for row, k in zip(out, likeliest, strict=True)]
    torch.testing.assert_close(agent.act(observations, goals), torch.stack(means))
    assert len(set(likeliest)) > 2


def test_the_categorical_actor_explains_actions_by_their_log_likelihood_and_acts_by_the_likeliest():
    torch.manual_seed(0)
    actor, x = CategoricalActor([4, 8, 3]), torch.randn(20, 4)
    actor.net[-1].weight.data.mul_(500)
    actions, output = torch.randint(3, (20,)), actor(x)
    likely = output.exp() / output.exp().sum(1, keepdim=True)
    torch.testing.assert_close(actor.loss(x, actions), -likely[torch.arange(20), actions].log())
    assert torch.equal(actor.act(x), likely.argmax(1)) and len(set(actor.act(x).tolist())) > 1


def test_the_value_of_a_categorical_actor_is_the_mean_over_its_actions_and_teaches_it_alone():
    torch.manual_seed(0)
    actor, x = CategoricalActor([4, 8, 3]), torch.randn(20, 4)
    value = torch.randn(20, 3, requires_grad=True)
    expected = actor.expected(output := actor(x), lambda action: (value * action).sum(1))
    torch.testing.assert_close(expected, (output.softmax(1) * value).sum(1))
    expected.sum().backward()
    assert value.grad is None and actor.net[0].weight.grad.any()


def test_td3bc_draws_no_noise_for_discrete_actions():
    agent, rng = TD3BC(spaces()._replace(action=Discrete(3)), hidden_dims=(8,)), torch.Generator().manual_seed(0)
    states, before = torch.randn(20, 4), rng.get_state()
    taken = agent.target_action(states, rng)
    assert torch.equal(rng.get_state(), before) and torch.equal(taken.argmax(1), agent.target_actor.act(states))
    assert torch.equal(taken.sum(1), torch.ones(20)) and taken.shape == (20, 3)


def test_the_mixture_keeps_two_opposite_ways_apart_that_a_deterministic_actor_averages():
    actions = torch.where(torch.arange(100) < 70, 1.0, -1.0)[:, None].expand(-1, 2)
    nowhere = torch.zeros(100, 4)
    acts = {}
    for actor in ("deterministic", "mixture"):
        torch.manual_seed(0)
        agent = GCBC(spaces(), hidden_dims=(16,), actor=actor, lr=1e-2, grad_clip=None)
        learner = plain_learner(agent)
        for _ in range(300):
            learner.update(Batch(nowhere, actions, nowhere, nowhere), torch.Generator())
        acts[actor] = agent.act(nowhere[:1], nowhere[:1])[0].tolist()
    assert acts["deterministic"] == pytest.approx([0.4, 0.4], abs=0.05)
    assert min(acts["mixture"]) > 0.9
    shares, means, _ = agent.actor.parts(agent.actor(agent.inputs(nowhere[:1], nowhere[:1])))
    assert shares.exp()[(means > 0.9).all(-1)].sum().item() == pytest.approx(0.7, abs=0.05)
    assert shares.exp()[(means < -0.9).all(-1)].sum().item() == pytest.approx(0.3, abs=0.05)


# What is refused

FUTURE = {"current": 0.0, "trajectory": 1.0, "random": 0.0, "discount": None}
HALF, NEGATIVE = FUTURE | {"trajectory": 0.5}, FUTURE | {"current": -0.5, "random": 0.5}
SHARES = "current, trajectory and random are {}, expected shares that sum to 1"
KEYS = "keys {} given, expected ['current', 'discount', 'random', 'trajectory']"
RATE = "a rate in (0, 1) expected, or null"


@pytest.mark.parametrize(
    "kind, key, value, message",
    [
        (GCBC, "actor_goals", HALF, f": {SHARES.format((0.0, 0.5, 0.0))}"),
        (GCIVL, "value_goals", NEGATIVE, f": {SHARES.format((-0.5, 1.0, 0.5))}"),
        (CRL, "actor_goals", {"p": 0.1, **FUTURE}, f": {KEYS.format(sorted([*FUTURE, 'p']))}"),
        (HIQL, "value_goals", {"current": 1.0}, f": {KEYS.format(['current'])}"),
        (GCIQL, "value_goals", FUTURE | {"discount": 1.0}, f".discount: 1.0 given, {RATE}"),
        (DT, "actor_goals", FUTURE | {"discount": 0.0}, f".discount: 0.0 given, {RATE}"),
        (GCBC, "actor", "softmax", ": 'softmax' is not one of deterministic, gaussian, mixture"),
        (GCBC, "activation", "tanh", ": 'tanh' is not one of relu, gelu"),
        *((kind, "actor_loss", "bc", ": 'bc' is not one of ddpgbc, awr") for kind in (GCIQL, CRL, QRL)),
        (GCIVL, "goal", "position", ": 'position' is not one of world, observation, nothing"),
        *((kind, "goal", "nothing", ": 'nothing' is not one of world, observation") for kind in (CRL, HGCBC)),
        (GCBC, "orientation", [3, 4, 5, 6], ": [3, 4, 5, 6] given, observations have 4"),
        (TD3BC, "policy_delay", 0, ": 0 given, a positive number expected"),
        (IQL, "expectile", 1.0, ": 1.0 given, a number in (0, 1) expected"),
        (HGCBC, "orientation", [3, 4, 5, 6], ": [3, 4, 5, 6] given, observations have 4"),
        (DT, "heads", 3, ": 3 given, a divisor of the width 128 expected"),
        (DT, "window", 0, ": 0 given, a positive number expected"),
        (DT, "act_window", 6, ": 6 given, at least 1 and at most the window of 5 expected"),
        (QRL, "latent_dim", 12, ": 12 given, a multiple of 8 expected"),
        (GCIVL, "expectile", 1.5, ": 1.5 given, a number in (0, 1) expected"),
        (GCIQL, "discount", 1.0, ": 1.0 given, a number in (0, 1) expected"),
        (HIQL, "tau", 0.0, ": 0.0 given, a number in (0, 1) expected"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_one_line(kind, key, value, message):
    with pytest.raises(ValueError, match=f"^{re.escape(f'agent.{key}{message}')}$"):
        kind(spaces(), **{key: value})


@pytest.mark.parametrize("columns, goal", [(None, "world"), ((0, 1), "nothing"), ((0,), "world")])
def test_an_orientation_is_refused_where_the_condition_has_no_direction(columns, goal):
    message = r"^agent\.orientation: \[0, 1, 2, 3\] given; the condition lies nowhere, use null$"
    with pytest.raises(ValueError, match=message):
        GCBC(spaces(columns=columns), goal=goal, orientation=[0, 1, 2, 3])


@pytest.mark.parametrize("key", ["orientation", "hidden_columns"])
def test_columns_are_refused_where_observations_are_whole_numbers(key):
    with pytest.raises(ValueError, match=rf"^agent\.{key}: \[0, 1, 2, 3\] given, but observations are whole numbers$"):
        GCBC(spaces()._replace(observation=PLANES), **{key: [0, 1, 2, 3]})


@pytest.mark.parametrize("kind, settings", [(GCBC, {"goal": "observation"}), (QRL, {})], ids=["gcbc", "qrl"])
def test_a_whole_observation_is_refused_where_the_condition_is_a_vector(kind, settings):
    message = r"^agent\.goal: 'observation' given, but the condition is a vector of 2 and no observation$"
    with pytest.raises(ValueError, match=message):
        kind(spaces(columns=None), **settings)


def test_a_mixture_of_discrete_actions_is_refused():
    with pytest.raises(ValueError, match=r"^agent\.actor: 'mixture' given, but actions are discrete"):
        GCBC(spaces()._replace(action=Discrete(3)), actor="mixture")
