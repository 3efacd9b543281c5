"""The learner and GCBC: the same numbers twice, averages and checkpoints, and a world that is solved in seconds."""

import numpy as np
import pytest
import torch
from conftest import make_episodes, random_walks
from probes import relabelling, spaces

from stitchrl.agents.gcbc import GCBC
from stitchrl.data.batches import BatchSampler
from stitchrl.data.episodes import Episodes
from stitchrl.data.paths import Future
from stitchrl.learner import Learner
from stitchrl.types import Batch


def make_learner(seed=0, average=0.9, decay=True, hidden=(32, 32)):
    torch.manual_seed(seed)
    agent = GCBC(spaces(), hidden_dims=hidden, batch_size=64)
    return Learner(agent, steps=100, decay=decay, average=average, precision="highest")


def make_sampler(episodes, seed=0):
    return BatchSampler(episodes, Future().bind(episodes), make_learner().agent.needs, seed, relabelling(episodes))


def make_batches(count, seed=0):
    sampler = make_sampler(make_episodes(random_walks(count=10, longest=20)), seed)
    return [sampler.sample(64) for _ in range(count)]


def train(learner, batches):
    """Losses of one update for each batch."""
    return [learner.update(batch, torch.Generator())["actor_loss"].item() for batch in batches]


def weights(learner):
    return torch.cat([parameter.detach().flatten() for parameter in learner.parameters])


def averages(learner):
    return torch.cat([averaged.flatten() for averaged in learner.averaged])


def test_training_twice_from_one_seed_gives_the_same_losses_and_weights():
    once, again, other = make_learner(), make_learner(), make_learner(seed=1)
    losses = train(once, make_batches(30))
    assert train(again, make_batches(30)) == losses
    assert torch.equal(weights(once), weights(again)) and torch.equal(averages(once), averages(again))
    train(other, make_batches(30))
    assert not torch.equal(weights(once), weights(other))


def test_the_average_of_the_weights_is_the_exponential_moving_average():
    learner = make_learner(average=0.9)
    expected = weights(learner).double()
    for batch in make_batches(20):
        train(learner, [batch])
        expected = 0.9 * expected + 0.1 * weights(learner).double()
    torch.testing.assert_close(averages(learner).double(), expected, rtol=0, atol=1e-6)


def test_swapping_puts_the_average_into_the_agent_and_swapping_again_restores_it():
    learner = make_learner()
    train(learner, make_batches(5))
    trained, averaged = weights(learner), averages(learner)
    assert not torch.equal(trained, averaged)
    learner.swap()
    assert torch.equal(weights(learner), averaged) and torch.equal(averages(learner), trained)
    learner.swap()
    assert torch.equal(weights(learner), trained) and torch.equal(averages(learner), averaged)


def test_without_an_average_swapping_changes_nothing():
    learner = make_learner(average=0.0)
    train(learner, make_batches(5))
    trained = weights(learner)
    learner.swap()
    assert torch.equal(weights(learner), trained)


@pytest.mark.parametrize("decay, expected", [(True, [1e-3, 0.5e-3, 0.0]), (False, [1e-3] * 3)])
def test_the_learning_rate_falls_to_zero_as_a_cosine_or_stays(decay, expected):
    learner = make_learner(decay=decay)
    rates = [learner.optimizer.param_groups[0]["lr"]]
    for batch in make_batches(100):
        train(learner, [batch])
        rates.append(learner.optimizer.param_groups[0]["lr"])
    assert [rates[0], rates[50], rates[100]] == pytest.approx(expected, abs=1e-12)


def test_a_restored_learner_goes_on_as_if_never_stopped(tmp_path):
    learner, batches = make_learner(), make_batches(10)
    learner.agent.fit(torch.arange(20.0).reshape(5, 4))
    train(learner, batches[:5])
    torch.save(learner.state_dict(), tmp_path / "learner.pt")
    restored = make_learner(seed=1)
    restored.load_state_dict(torch.load(tmp_path / "learner.pt", weights_only=True))
    assert restored.step == 5 and restored.agent.encoder.mean.tolist() == [8, 9, 10, 11]
    assert train(restored, batches[5:]) == train(learner, batches[5:])
    assert torch.equal(weights(restored), weights(learner)) and torch.equal(averages(restored), averages(learner))


def test_the_loss_of_gcbc_is_the_mean_squared_error_computed_plainly():
    rng = np.random.default_rng(0)
    observations, goals = rng.normal(2, 3, (2, 16, 4))
    actions = rng.uniform(-1, 1, (16, 2))
    torch.manual_seed(0)
    agent = GCBC(spaces(columns=(0, 3)), hidden_dims=(8, 8)).double()
    agent.fit(torch.from_numpy(observations))

    mean, std = observations.mean(0), observations.std(0, ddof=1)
    layer = np.concatenate([(observations - mean) / std, ((goals - mean) / std)[:, [0, 3]]], 1)
    linear = [module for module in agent.actor.net if isinstance(module, torch.nn.Linear)]
    for i, module in enumerate(linear):
        layer = layer @ module.weight.detach().numpy().T + module.bias.detach().numpy()
        layer = np.tanh(layer) if i == len(linear) - 1 else np.maximum(layer, 0)
    batch = Batch(*map(torch.from_numpy, (observations, actions, observations, goals)))
    loss, parts = agent.loss(batch, torch.Generator())
    assert loss.item() == pytest.approx(((layer - actions) ** 2).mean(), rel=1e-9)
    assert parts["actor_loss"].item() == loss.item() and not parts["actor_loss"].requires_grad


def straight_episodes(count, length, rng):
    """A point that moves straight: the action is its direction."""
    angles = rng.uniform(0, 2 * np.pi, count)
    direction = np.stack([np.cos(angles), np.sin(angles)], 1)
    start = rng.uniform(-1, 1, (count, 1, 2))
    xy = start + 0.05 * np.arange(length + 1)[None, :, None] * direction[:, None]
    episodes = make_episodes(list(xy))
    actions = torch.from_numpy(direction.astype(np.float32)).repeat_interleave(length + 1, 0)
    actions[episodes.last] = torch.nan
    return Episodes(episodes.observations, actions, None, episodes.lengths)


def test_gcbc_solves_a_trivial_world():
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    episodes = straight_episodes(400, 20, rng)
    learner = make_learner(hidden=(128, 128), decay=False)
    learner.agent.fit(episodes.observations)
    sampler = make_sampler(episodes)
    for _ in range(500):
        learner.update(sampler.sample(256), generator)
    learner.swap()
    offset = rng.normal(size=(500, 2))
    offset *= rng.uniform(0.2, 0.8, (500, 1)) / np.linalg.norm(offset, axis=1, keepdims=True)
    here = rng.uniform(-0.8, 0.8, (500, 2))
    state, goal = (torch.from_numpy(np.pad(xy, ((0, 0), (0, 2))).astype(np.float32)) for xy in (here, here + offset))
    with torch.no_grad():
        action = learner.agent.act(state, goal)
    similarity = torch.cosine_similarity(action, torch.from_numpy(offset.astype(np.float32)))
    assert similarity.mean() > 0.95
