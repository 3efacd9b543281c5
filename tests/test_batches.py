"""Batches: every field is what its name says, as the mixture says, and on the path to the goal."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import benchmark, make_episodes, random_walks
from scipy.stats import chisquare
from test_configuration import spec as load
from test_paths import UNLIKELY, slow_ahead, walked

from stitchrl.data.batches import BLOCK, BatchSampler
from stitchrl.data.paths import Future, Stitch
from stitchrl.objectives.returns import ReturnRelabelling
from stitchrl.types import GoalMixture, GoalPath, Needs

TRAJECTORY, RANDOM = GoalMixture(0, 1, 0), GoalMixture(0, 0, 1)
MIXED = GoalMixture(0.2, 0.5, 0.3)
SIZE = 2000
GOALS = benchmark(load("pointmaze_umaze_regions")).objective
RETURNS = benchmark(load("pointmaze_umaze_returns")).objective
EVERYTHING = Needs(TRAJECTORY, MIXED, subgoal_steps=3, window=4, rewards=True)


def numbered_episodes(count, longest=12):
    """Random walks along y; x is the number of the row, so that all observations are different, and a third earn."""
    walks = random_walks(count, longest)
    starts = np.cumsum([0, *map(len, walks)])
    for walk, (first, beyond) in zip(walks, pairwise(starts), strict=True):
        walk[:, 0] = np.arange(first, beyond)
    return make_episodes(walks, [(walk[:-1, 0] % 3 == 1) * walk[:-1, 1] ** 2 for walk in walks])


def numbers(observations):
    """The rows [...] of numbered observations [..., 4]."""
    return observations[..., 0].long()


def stitch(p=0.7):
    return Stitch(p=p, clusters=8, hops=3, columns=[1], detour=None, seed=0)


def recorded(sample_path, paths):
    """The same sampler of paths, which adds those that it draws to a list."""

    def sample(*arguments):
        paths.append(sample_path(*arguments))
        return paths[-1]

    return sample


def draw(episodes, needs, goals=None, seed=0, count=1, returns=None):
    """Batches, and the paths that were drawn for them: the actor's, and the critic's if need be, batch by batch."""
    paths = []
    sample_path = recorded((goals or Future()).bind(episodes), paths)
    sampler = BatchSampler(episodes, sample_path, needs, seed, returns or GOALS.relabel(episodes))
    return [sampler.sample(SIZE) for _ in range(count)], paths


def everything(episodes, sample_path, seed=0):
    return BatchSampler(episodes, sample_path, EVERYTHING, seed, GOALS.relabel(episodes))


def returns_of(episodes, horizon):
    return ReturnRelabelling(episodes, horizon, RETURNS)


def tensors(batch):
    """All tensors of a batch, those of its window among them."""
    return [*batch[:-2], batch.rewards, *batch.window]


def equal(batches, others):
    """Whether batches are equal to the last bit."""
    pairs = zip(batches, others, strict=True)
    return all(torch.equal(a, b) for pair in pairs for a, b in zip(*map(tensors, pair), strict=True))


def close(share, expected):
    """Whether a share of a batch is what is expected, within four standard deviations."""
    return abs(float(share) - expected) <= 4 * np.sqrt(expected * (1 - expected) / SIZE)


@pytest.fixture(scope="module")
def episodes():
    """So many that a random goal is next to never one that the trajectory sampler might have drawn."""
    return numbered_episodes(count=2000)


# Fields


def test_a_batch_holds_transitions_of_the_data():
    episodes = make_episodes(random_walks(count=20, longest=12))
    [batch], _ = draw(episodes, Needs(TRAJECTORY, TRAJECTORY))
    assert not torch.isnan(batch.actions).any()
    found, rows = (batch.actions[:, None] == episodes.actions).all(2).nonzero().T
    assert torch.equal(found, torch.arange(SIZE))
    assert torch.equal(batch.observations, episodes.observations[rows])
    assert torch.equal(batch.next_observations, episodes.observations[rows + 1])
    assert chisquare(torch.bincount(rows, minlength=len(episodes))[episodes.transitions]).pvalue > UNLIKELY


def test_a_batch_holds_what_its_transitions_earn(episodes):
    [batch], _ = draw(episodes, Needs(TRAJECTORY, rewards=True))
    rows = numbers(batch.observations)
    assert torch.equal(batch.rewards, episodes.rewards[rows]) and batch.rewards.any()
    assert torch.equal(batch.next_observations, episodes.observations[rows + 1])


def test_a_batch_holds_nothing_that_the_agent_does_not_need(episodes):
    [batch], _ = draw(episodes, Needs(TRAJECTORY))
    assert batch.next_observations is None and batch[4:] == (None,) * 6


# Goals


@pytest.mark.parametrize("mixture", [MIXED, TRAJECTORY, RANDOM, GoalMixture(1, 0, 0), GoalMixture(0.4, 0, 0.6)])
@pytest.mark.parametrize("field, path", [("goals", 0), ("value_goals", 1)])
def test_goals_are_mixed_in_the_shares_that_are_asked_for(episodes, mixture, field, path):
    """A random goal may be any row, the current one and the trajectory's among them."""
    other = GoalMixture(0.3, 0.3, 0.4)
    needs = Needs(mixture, other) if field == "goals" else Needs(other, mixture)
    [batch], paths = draw(episodes, needs)
    goals, rows = numbers(getattr(batch, field)), numbers(batch.observations)
    chance = mixture.random / len(episodes)
    current, trajectory = goals == rows, goals == paths[path].goal
    assert close(current.double().mean(), mixture.current + chance)
    assert close(trajectory.double().mean(), mixture.trajectory + chance)
    assert close((~current & ~trajectory).double().mean(), mixture.random - 2 * chance)


def test_random_goals_are_any_state_of_the_data_all_alike():
    episodes = numbered_episodes(count=10)
    [batch], _ = draw(episodes, Needs(RANDOM))
    assert chisquare(torch.bincount(numbers(batch.goals), minlength=len(episodes))).pvalue > UNLIKELY


def test_a_discount_holds_for_its_own_mixture_alone(episodes):
    near, far = TRAJECTORY._replace(discount=0.01), TRAJECTORY
    for needs in (Needs(near, far), Needs(far, near)):
        [batch], _ = draw(episodes, needs)
        actor, value = ((numbers(g) - numbers(batch.observations)).double() for g in (batch.goals, batch.value_goals))
        assert (actor.mean() < 1.1) == (needs.actor_goals is near)
        assert (value.mean() < 1.1) == (needs.value_goals is near)


def test_a_value_goal_is_reached_where_it_is_the_state_itself():
    """Of few states, so that a random goal is now and then the current state."""
    episodes = numbered_episodes(count=2, longest=4)
    [batch], _ = draw(episodes, Needs(TRAJECTORY, MIXED))
    reached = numbers(batch.value_goals) == numbers(batch.observations)
    assert torch.equal(batch.value_reached, reached)
    assert close(reached.double().mean(), 0.2 + 0.3 / len(episodes))


@pytest.mark.parametrize("goals", [stitch(0.2), stitch(1)], ids=["p=0.2", "p=1"])
def test_another_trajectory_sampler_changes_trajectory_goals_alone(episodes, goals):
    needs = Needs(MIXED, GoalMixture(0.3, 0.4, 0.3))
    (batches, paths), (others, other_paths) = (draw(episodes, needs, sampler, count=3) for sampler in (None, goals))
    for i, (batch, other) in enumerate(zip(batches, others, strict=True)):
        for field in ("observations", "actions", "next_observations"):
            assert torch.equal(getattr(batch, field), getattr(other, field))
        for field, path in (("goals", 2 * i), ("value_goals", 2 * i + 1)):
            goal, other_goal = numbers(getattr(batch, field)), numbers(getattr(other, field))
            changed = goal != other_goal
            assert changed.any()
            assert torch.equal(goal[changed], paths[path].goal[changed])
            assert torch.equal(other_goal[changed], other_paths[path].goal[changed])


def test_one_seed_draws_the_same_batches_and_another_seed_draws_others(episodes):
    (once, _), (again, _), (other, _) = (draw(episodes, EVERYTHING, stitch(), seed, count=2) for seed in (3, 3, 4))
    assert equal(once, again)
    for part, other_part in zip(tensors(once[0]), tensors(other[0]), strict=True):
        assert not torch.equal(part, other_part)


def test_every_seed_has_random_numbers_of_its_own_for_the_paths(episodes):
    numbers_drawn = []

    def sample_path(rows, discount, rng):
        numbers_drawn.append(torch.rand(1, generator=rng).item())
        none = rows.new_empty(len(rows), 0)
        return GoalPath(rows, rows + 1, none, none)

    for seed in range(10):
        BatchSampler(episodes, sample_path, Needs(TRAJECTORY), seed, GOALS.relabel(episodes)).sample(1)
    assert len(set(numbers_drawn)) == 10


def test_a_sampler_that_is_restored_goes_on_with_the_same_batches(episodes):
    sample_path = stitch().bind(episodes)
    sampler, restored = (everything(episodes, sample_path, seed) for seed in (0, 1))
    sampler.sample(100)
    state = sampler.state_dict()
    expected = [sampler.sample(100) for _ in range(3)]
    restored.load_state_dict(state)
    assert equal([restored.sample(100) for _ in range(3)], expected)


@pytest.mark.parametrize("given", [1, BLOCK // 2, BLOCK, BLOCK + 1])
def test_a_sampler_that_is_restored_in_a_block_goes_on_with_the_same_batches(episodes, given):
    sample_path = stitch().bind(episodes)
    sampler, restored = (everything(episodes, sample_path, seed) for seed in (0, 1))
    for _ in range(given):
        sampler.next(10)
    state = sampler.state_dict()
    expected = [sampler.next(10) for _ in range(2 * BLOCK)]
    restored.load_state_dict(state)
    assert equal([restored.next(10) for _ in range(2 * BLOCK)], expected)


def test_a_block_of_batches_is_one_large_batch_in_order(episodes):
    sample_path = stitch().bind(episodes)
    sampler, other = (everything(episodes, sample_path) for _ in range(2))
    [whole] = [other.sample(BLOCK * 10)]
    batches = [sampler.next(10) for _ in range(BLOCK)]
    for parts, expected in zip(zip(*map(tensors, batches), strict=True), tensors(whole), strict=True):
        assert torch.equal(torch.cat(parts), expected)
    without = BatchSampler(episodes, sample_path, Needs(TRAJECTORY), 0, GOALS.relabel(episodes)).next(10)
    assert without.window is None and without.value_goals is None and without.goals.shape == (10, 4)


# Subgoals


@pytest.mark.parametrize("steps", [1, 4, 30])
@pytest.mark.parametrize("goals", [Future(), stitch()], ids=["future", "stitch"])
def test_subgoals_lie_on_the_path_to_a_trajectory_goal_and_near_by_for_a_random_goal(episodes, steps, goals):
    needs = Needs(GoalMixture(0, 0.5, 0.5), value_goals=MIXED, subgoal_steps=steps)
    [batch], paths = draw(episodes, needs, goals)
    rows = numbers(batch.observations)
    near = torch.minimum(rows + steps, episodes.ends[rows])
    assert torch.equal(numbers(batch.low_goals), near)
    on_path = slow_ahead(paths[0], steps)[:, steps]
    trajectory = numbers(batch.goals) == paths[0].goal
    assert torch.equal(numbers(batch.subgoals), torch.where(trajectory, on_path, near))
    assert (on_path != near)[trajectory].any() == (steps > 1 or isinstance(goals, Stitch))


# Windows


@pytest.mark.parametrize("window", [1, 3, 12])
@pytest.mark.parametrize("goals", [Future(), stitch()], ids=["future", "stitch"])
def test_a_window_holds_the_first_steps_of_the_path_to_the_goal(episodes, window, goals):
    """Before its goal; what is beyond repeats the last of them."""
    [batch], [path] = draw(episodes, Needs(TRAJECTORY, window=window), goals)
    before = [rows[:-1] for rows in walked(path)]
    expected = torch.tensor([(rows + rows[-1:] * window)[:window] for rows in before])
    assert torch.equal(numbers(batch.window.observations), expected)
    assert torch.equal(batch.window.actions, episodes.actions[expected])
    assert not torch.isnan(batch.window.actions).any()
    assert batch.window.valid.tolist() == [[step < len(rows) for step in range(window)] for rows in before]
    assert batch.window.valid.all() == (window == 1)
    assert torch.equal(batch.window.conditions, batch.goals[:, None].repeat(1, window, 1))
    assert (expected.diff() < 0).any() == (window > 1 and isinstance(goals, Stitch))  # some are spliced


def test_a_window_longer_than_the_longest_episode_is_refused_by_name(episodes):
    longest = int(episodes.lengths.max())
    draw(episodes, Needs(TRAJECTORY, window=longest))
    with pytest.raises(ValueError, match=rf"agent\.window: {longest + 1} given, but the longest .* {longest} steps"):
        draw(episodes, Needs(TRAJECTORY, window=longest + 1))


def test_goals_that_no_path_leads_to_are_refused_where_a_path_is_needed(episodes):
    with pytest.raises(ValueError, match=r"agent\.actor_goals: windows lead to trajectory goals"):
        draw(episodes, Needs(GoalMixture(0, 0.5, 0.5), window=1))
    with pytest.raises(ValueError, match=r"agent\.actor_goals: no subgoal leads to the current state"):
        draw(episodes, Needs(GoalMixture(0.1, 0.9, 0), subgoal_steps=1))


# Returns


def slow_returns(episodes, path, horizon, scale, steps):
    """The conditions [B, steps, 2] at the first steps of each path, cut at the horizon; the last one's after it."""
    conditions = []
    for rows in walked(path):
        left = rows[: horizon + 1][:-1]  # the rows that are left by a step
        told = [[float(episodes.rewards[left[k:]].sum()) / scale, len(left[k:]) / horizon] for k in range(len(left))]
        conditions.append((told + told[-1:] * steps)[:steps])
    return torch.tensor(conditions)


@pytest.mark.parametrize("horizon", [2, 5, 100])
@pytest.mark.parametrize("goals", [Future(), stitch()], ids=["future", "stitch"])
def test_conditions_are_what_is_collected_along_the_path_until_its_goal_or_the_horizon(episodes, horizon, goals):
    """At every step of a window what is left from there. A window ends before the horizon."""
    returns = returns_of(episodes, horizon)
    [batch], [path] = draw(episodes, Needs(TRAJECTORY, window=4), goals, returns=returns)
    expected = slow_returns(episodes, path, horizon, returns.scale, 4)
    torch.testing.assert_close(batch.goals, expected[:, 0])
    torch.testing.assert_close(batch.window.conditions, expected)
    within = [rows[: horizon + 1][:-1] for rows in walked(path)]
    assert numbers(batch.window.observations).tolist() == [(rows + rows[-1:] * 4)[:4] for rows in within]
    assert batch.window.valid.tolist() == [[step < len(rows) for step in range(4)] for rows in within]
    assert batch.goals[:, 1].max() <= 1 and batch.goals[:, 0].max() > 0.5


@pytest.mark.parametrize("horizon", [1, 4, 100])
def test_returns_are_told_in_units_of_the_most_that_an_episode_collects_within_the_horizon(episodes, horizon):
    best = 0.0
    for first, last in zip(episodes.first.tolist(), episodes.last.tolist(), strict=True):
        best = max(
            [best, *(float(episodes.rewards[row : min(row + horizon, last)].sum()) for row in range(first, last))]
        )
    assert returns_of(episodes, horizon).scale == pytest.approx(best, rel=1e-6)


def test_a_random_return_is_that_of_another_transition(episodes):
    """All of a batch's returns, but none where its path would have had it."""
    returns = returns_of(episodes, 5)
    [batch], [path] = draw(episodes, Needs(RANDOM), returns=returns)
    own = slow_returns(episodes, path, 5, returns.scale, 1)[:, 0]
    torch.testing.assert_close(batch.goals, own.roll(1, 0))


@pytest.mark.parametrize(
    "needs, message",
    [
        (Needs(TRAJECTORY, MIXED), "agent mine: conditioned on goals, but dataset pointmaze-umaze-returns-v0 asks for"),
        (Needs(TRAJECTORY, subgoal_steps=3), "agent mine: conditioned on goals, but dataset pointmaze-umaze-returns"),
        (Needs(GoalMixture(0.5, 0.5, 0)), r"agent\.actor_goals: no return .* expected current: 0"),
    ],
)
def test_goals_that_a_return_has_not_are_refused_by_name(needs, message):
    with pytest.raises(ValueError, match=message):
        RETURNS.check("mine", needs, "future", augments=False)


def test_episodes_without_rewards_are_refused_where_rewards_are_needed():
    poor = make_episodes(random_walks(count=3, longest=4))
    with pytest.raises(ValueError, match="the agent learns from rewards, and the dataset has none"):
        draw(poor, Needs(TRAJECTORY, rewards=True))
    with pytest.raises(ValueError, match="the dataset has no rewards, and returns are asked for"):
        returns_of(poor, 5)
    nothing = make_episodes([np.zeros((4, 2))], [np.zeros(3)])
    with pytest.raises(ValueError, match="no episode of the dataset collects a reward within 5 steps"):
        returns_of(nothing, 5)
