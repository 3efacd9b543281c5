"""Trajectory samplers against the exact distribution and against a slow loop with the paper's rule."""

import random

import numpy as np
import pytest
import torch
from conftest import make_episodes, random_walks
from scipy.stats import chi2_contingency, chisquare

from stitchrl.data.paths import Future, Stitch

UNLIKELY = 1e-3  # a p-value below this speaks against equality; seeds are fixed, so a test either passes or fails


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def stitch(p=0.7, clusters=8, hops=3, columns=None):
    return Stitch(p=p, clusters=clusters, hops=hops, columns=columns, seed=0)


def slow_stitch(row, cluster, ends, p, hops, rng):
    """The rule as the paper tells it, one row at a time: leave at a future state, enter at a random twin of it."""
    goal = rng.randint(row + 1, ends[row])
    if rng.random() < p:
        for _ in range(rng.randint(1, hops)):
            enter = rng.choice([other for other in range(len(cluster)) if cluster[other] == cluster[goal]])
            goal = rng.randint(enter, ends[enter])
    return goal


@pytest.fixture(scope="module")
def many():
    """Random walks, and paths of three hops at most from their rows."""
    episodes = make_episodes(random_walks(count=40, longest=12))
    rows = episodes.transitions[torch.randint(len(episodes.transitions), (20_000,), generator=generator(1))]
    return episodes, stitch().bind(episodes)(rows, generator())


def test_future_goals_are_uniform_over_the_later_rows_of_the_episode():
    episodes = make_episodes(random_walks(count=4, longest=6))
    sample = Future().bind(episodes)
    for row in episodes.transitions.tolist():
        path = sample(torch.full((4000,), row), generator(row))
        counts = torch.bincount(path.goal, minlength=len(episodes))
        later = slice(row + 1, int(episodes.ends[row]) + 1)
        assert counts[later].sum() == 4000
        assert chisquare(counts[later].numpy()).pvalue > UNLIKELY or len(counts[later]) == 1


def test_future_paths_have_no_seams():
    episodes = make_episodes(random_walks(count=4, longest=6))
    path = Future().bind(episodes)(episodes.transitions, generator())
    assert (path.rows == episodes.transitions).all()
    assert path.leave.shape == path.enter.shape == (len(episodes.transitions), 0)


def test_every_stitched_path_runs_forward_and_jumps_within_clusters(many):
    episodes, path = many
    cluster, ends = stitch().assign(episodes).tolist(), episodes.ends.tolist()
    for row, goal, leaves, enters in zip(*(part.tolist() for part in path), strict=True):
        used = [(leave, enter) for leave, enter in zip(leaves, enters, strict=True) if leave != -1]
        assert leaves == [leave for leave, _ in used] + [-1] * (3 - len(used))
        assert enters == [enter for _, enter in used] + [-1] * (3 - len(used))
        earliest, last = row + 1, ends[row]  # where the path may be left
        for leave, enter in used:
            assert earliest <= leave <= last
            assert cluster[leave] == cluster[enter]
            earliest, last = enter, ends[enter]
        assert earliest <= goal <= last


def test_the_share_of_paths_that_jump_is_p(many):
    jumps = (many[1].leave[:, 0] != -1).double()
    assert abs(jumps.mean() - 0.7) < 4 * np.sqrt(0.7 * 0.3 / len(jumps))


def test_every_number_of_hops_is_equally_frequent(many):
    hops = (many[1].leave != -1).sum(1)
    assert chisquare(torch.bincount(hops)[1:].numpy()).pvalue > UNLIKELY
    assert hops.max() == 3


def test_with_probability_one_every_path_jumps():
    episodes = make_episodes(random_walks(count=10, longest=12))
    path = stitch(p=1, hops=1).bind(episodes)(episodes.transitions, generator())
    assert (path.leave != -1).all()


@pytest.mark.parametrize("p, hops", [(0.6, 1), (1.0, 1), (0.8, 3)])
def test_goals_are_distributed_as_those_of_the_slow_loop(p, hops):
    episodes = make_episodes(random_walks(count=5, longest=5, seed=2))
    augmentation, rng, draws = stitch(p=p, clusters=3, hops=hops), random.Random(0), 6000
    cluster, ends = augmentation.assign(episodes).tolist(), episodes.ends.tolist()
    assert len(set(cluster)) == 3
    sample = augmentation.bind(episodes)
    for row in episodes.transitions.tolist()[::3]:
        fast = torch.bincount(sample(torch.full((draws,), row), generator(row)).goal, minlength=len(episodes)).numpy()
        slow = np.bincount(
            [slow_stitch(row, cluster, ends, p, hops, rng) for _ in range(draws)], minlength=len(episodes)
        )
        assert ((fast > 0) == (slow > 0)).all()
        assert chi2_contingency([fast[fast > 0], slow[fast > 0]]).pvalue > UNLIKELY


def test_the_same_seed_draws_the_same_paths_and_another_seed_draws_others():
    episodes = make_episodes(random_walks(count=20, longest=12))
    once, again, other = (stitch().bind(episodes)(episodes.transitions, generator(seed)) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not torch.equal(once.goal, other.goal)


def test_clusters_look_at_the_given_columns_only():
    """Two places, two heights: clusters by place do not see the height."""
    places = [np.array([[x, y]] * 5) for x in (0.0, 10.0) for y in (0.0, 1000.0)]
    episodes = make_episodes(places)
    cluster = stitch(clusters=2, columns=[0]).assign(episodes)
    assert torch.equal(cluster == cluster[0], episodes.observations[:, 0] == 0)


@pytest.mark.parametrize("key, value", [("p", 0), ("p", 1.5), ("clusters", 0), ("hops", 0)])
def test_a_setting_that_makes_no_sense_is_refused_by_name(key, value):
    with pytest.raises(ValueError, match=rf"goals\.{key}: {value} given"):
        stitch(**{key: value})
