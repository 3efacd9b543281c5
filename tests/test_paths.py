"""Paths against a slow walk, their samplers against the exact distribution and a slow loop with the paper's rule."""

import random

import numpy as np
import pytest
import torch
from conftest import make_episodes, random_walks
from scipy.stats import chi2_contingency, chisquare

from stitchrl.data.paths import Future, Stitch, steps_between
from stitchrl.types import GoalPath

UNLIKELY = 1e-3  # a p-value below this speaks against equality; seeds are fixed, so a test either passes or fails


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def stitch(p=0.7, clusters=8, hops=3, columns=None, detour=None):
    return Stitch(p=p, clusters=clusters, hops=hops, columns=columns, detour=detour, seed=0)


def slow_later(low, high, discount, rng):
    """A row from low to high: all alike, or one step further each time with the probability `discount`."""
    if discount is None:
        return rng.randint(low, high)
    while low < high and rng.random() < discount:
        low += 1
    return low


def slow_stitch(row, cluster, ends, p, hops, discount, rng):
    """The rule as the paper tells it, one row at a time: leave at a future state, enter at a random twin of it."""
    goal = slow_later(row + 1, ends[row], discount, rng)
    if rng.random() < p:
        for _ in range(rng.randint(1, hops)):
            enter = rng.choice([other for other in range(len(cluster)) if cluster[other] == cluster[goal]])
            goal = slow_later(enter, ends[enter], discount, rng)
    return goal


def walked(path):
    """The rows of each path in their order: where it begins, step by step, to its goal; a seam is the row entered."""
    for row, goal, leaves, enters in zip(*(part.tolist() for part in path), strict=True):
        rows = [row]
        for leave, enter in zip(leaves, enters, strict=True):
            if leave != -1:
                rows += range(rows[-1] + 1, leave + 1)
                rows[-1] = enter
        yield [*rows, *range(rows[-1] + 1, goal + 1)]


def slow_ahead(path, steps):
    """The rows [B, steps + 1] that lie 0 to `steps` steps ahead on each path, its goal from there on."""
    return torch.tensor([(rows + rows[-1:] * steps)[: steps + 1] for rows in walked(path)])


@pytest.fixture(scope="module")
def many():
    """Random walks, and paths of three hops at most from their rows."""
    episodes = make_episodes(random_walks(count=40, longest=12))
    rows = episodes.transitions[torch.randint(len(episodes.transitions), (20_000,), generator=generator(1))]
    return episodes, stitch().bind(episodes)(rows, None, generator())


@pytest.fixture(scope="module", params=["future", "stitch"])
def paths(request, many):
    """The first 4,000 of many paths, or others from the same rows without seams."""
    episodes, path = many
    path = GoalPath(*(part[:4000] for part in path))
    return path if request.param == "stitch" else Future().bind(episodes)(path.rows, None, generator())


def test_a_seam_takes_no_time():
    """Left at 5 for 20, an episode's last row, where it is left at once for 40: the states are 3, 4, 40, 41, 42."""
    path = GoalPath(*map(torch.tensor, ([3], [42], [[5, 20, -1]], [[20, 40, -1]])))
    assert path.length.tolist() == [4]
    assert path.ahead(torch.arange(7)).tolist() == [[3, 4, 40, 41, 42, 42, 42]]


def test_the_length_of_a_path_is_the_number_of_steps_that_the_slow_loop_walks(paths):
    assert paths.length.tolist() == [len(rows) - 1 for rows in walked(paths)]
    assert paths.length.min() == 1


@pytest.mark.parametrize("count", [1, 2, 5, 13, 60])
def test_the_rows_ahead_on_a_path_are_those_of_the_slow_loop(paths, count):
    assert paths.length.max() < 59
    expected = slow_ahead(paths, count)
    assert torch.equal(paths.ahead(torch.arange(count)), expected[:, :count])
    assert torch.equal(paths.ahead(torch.tensor([count])), expected[:, count:])
    steps = torch.randint(count + 1, (len(paths.rows), count), generator=generator())
    assert torch.equal(paths.ahead(steps), expected.gather(1, steps))


@pytest.mark.parametrize("count", [1, 2, 5, 60])
def test_the_first_steps_of_a_path_are_those_of_the_slow_loop(paths, count):
    assert list(walked(paths.first(count))) == [rows[: count + 1] for rows in walked(paths)]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 60])
def test_what_a_path_collects_is_what_the_slow_loop_collects(many, paths, count):
    """Each step earns the reward of the row that it leaves; a seam earns nothing."""
    rewards = torch.randn(len(many[0]), generator=generator(), dtype=torch.float64)
    earned = torch.cat([torch.zeros(1), rewards.cumsum(0)[:-1]])
    expected = [float(rewards[rows[:-1][:count]].sum()) for rows in walked(paths)]
    torch.testing.assert_close(paths.collected(earned, torch.tensor([count]))[:, 0], torch.tensor(expected).double())
    steps = torch.randint(count + 1, (len(paths.rows), 3), generator=generator())
    each = torch.cat([paths.collected(earned, torch.tensor([k])) for k in range(count + 1)], 1)
    torch.testing.assert_close(paths.collected(earned, steps), each.gather(1, steps))


def test_the_paths_that_were_walked_have_every_odd_kind_of_seam(many):
    episodes, path = many[0], GoalPath(*(part[:4000] for part in many[1]))
    following = torch.cat([path.leave[:, 1:], torch.full_like(path.leave[:, :1], -1)], 1)
    goes_on, ends_here = following >= 0, (path.leave >= 0) & (following < 0)
    on_last_row = path.enter == episodes.ends[path.enter]
    for odd in (
        goes_on & on_last_row,  # left at once, for nothing follows
        goes_on & (path.enter == following) & ~on_last_row,  # left at once all the same
        ends_here & (path.enter == path.goal[:, None]) & ~on_last_row,
        ends_here & on_last_row,
        (path.leave >= 0) & (path.enter == path.leave),  # no seam after all
    ):
        assert odd.any()


@pytest.mark.parametrize("discount", [None, 0.9, 0.5])
def test_future_goals_are_the_later_rows_of_the_episode_all_alike_or_discounted(discount):
    """Discounted, the episode's last row has what is left: the chance of going at least that far."""
    episodes = make_episodes(random_walks(count=4, longest=6))
    sample = Future().bind(episodes)
    for row in episodes.transitions.tolist():
        path = sample(torch.full((4000,), row), discount, generator(row))
        counts = torch.bincount(path.goal, minlength=len(episodes))
        later = counts[row + 1 : int(episodes.ends[row]) + 1].numpy()
        share = np.full(len(later), 1 / len(later))
        if discount is not None:
            share = discount ** np.arange(len(later)) * np.append(np.full(len(later) - 1, 1 - discount), 1)
        assert later.sum() == 4000
        assert chisquare(later, 4000 * share).pvalue > UNLIKELY or len(later) == 1


def test_future_paths_have_no_seams():
    episodes = make_episodes(random_walks(count=4, longest=6))
    path = Future().bind(episodes)(episodes.transitions, None, generator())
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
    path = stitch(p=1, hops=1).bind(episodes)(episodes.transitions, None, generator())
    assert (path.leave != -1).all()


@pytest.mark.parametrize(
    "p, hops, discount", [(0.6, 1, None), (1.0, 1, None), (0.8, 3, None), (0.6, 1, 0.9), (0.8, 3, 0.9)]
)
def test_goals_are_distributed_as_those_of_the_slow_loop(p, hops, discount):
    episodes = make_episodes(random_walks(count=5, longest=5, seed=2))
    augmentation, rng, draws = stitch(p=p, clusters=3, hops=hops), random.Random(0), 6000
    cluster, ends = augmentation.assign(episodes).tolist(), episodes.ends.tolist()
    assert len(set(cluster)) == 3
    sample = augmentation.bind(episodes)
    for row in episodes.transitions.tolist()[::3]:
        goals = sample(torch.full((draws,), row), discount, generator(row)).goal
        fast = torch.bincount(goals, minlength=len(episodes)).numpy()
        slow = np.bincount(
            [slow_stitch(row, cluster, ends, p, hops, discount, rng) for _ in range(draws)], minlength=len(episodes)
        )
        assert ((fast > 0) == (slow > 0)).all()
        assert chi2_contingency([fast[fast > 0], slow[fast > 0]]).pvalue > UNLIKELY


def test_the_same_seed_draws_the_same_paths_and_another_seed_draws_others():
    episodes = make_episodes(random_walks(count=20, longest=12))
    once, again, other = (stitch().bind(episodes)(episodes.transitions, None, generator(seed)) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not torch.equal(once.goal, other.goal)


def test_clusters_look_at_the_given_columns_only():
    """Two places, two heights: clusters by place do not see the height."""
    places = [np.array([[x, y]] * 5) for x in (0.0, 10.0) for y in (0.0, 1000.0)]
    episodes = make_episodes(places)
    cluster = stitch(clusters=2, columns=[0]).assign(episodes)
    assert torch.equal(cluster == cluster[0], episodes.observations[:, 0] == 0)


def slow_steps(cluster, clusters, episodes):
    """Between all pairs of clusters: the mean steps from one to the next, summed over the best way."""
    taken = {}
    for first, last in zip(episodes.first.tolist(), episodes.last.tolist(), strict=True):
        entered = first
        for row in range(first + 1, last + 1):
            if cluster[row] != cluster[row - 1]:
                taken.setdefault((cluster[row - 1], cluster[row]), []).append(row - entered)
                entered = row
    best = np.full((clusters, clusters), np.inf)
    np.fill_diagonal(best, 0)
    for pair, steps in taken.items():
        best[pair] = np.mean(steps)
    for middle in range(clusters):
        best = np.minimum(best, best[:, [middle]] + best[[middle]])
    return best


@pytest.mark.parametrize("count, longest, connected", [(4, 6, False), (30, 30, True)])
def test_the_steps_between_clusters_are_those_of_the_slow_loop(count, longest, connected):
    episodes = make_episodes(random_walks(count=count, longest=longest, seed=5))
    cluster = stitch(clusters=12).assign(episodes)
    begun, ended = torch.cartesian_prod(torch.arange(12), torch.arange(12)).T
    expected = slow_steps(cluster.tolist(), 12, episodes)
    assert np.isfinite(expected).all() == connected
    steps = steps_between(cluster, 12, episodes)(begun, ended)
    np.testing.assert_allclose(steps.view(12, 12), expected, rtol=1e-6)


@pytest.mark.parametrize("detour, straight", [(None, False), (1.0, True)])
def test_jumps_that_lead_back_are_not_kept(detour, straight):
    """A line in pieces of four steps, both ways: paths go on as they began, over many pieces, or turn round."""
    line = np.arange(13.0)[:, None]
    pieces = [line[first : first + 5] for first in range(9)]
    episodes = make_episodes([piece[::way].copy() for piece in pieces for way in (1, -1)] * 2)
    augmentation = stitch(p=1, clusters=13, hops=4, columns=[0], detour=detour)
    path = augmentation.bind(episodes)(episodes.transitions.repeat(20), None, generator())
    x = episodes.observations[:, 0]
    way = torch.sign(x[path.rows + 1] - x[path.rows])
    moved = (x[path.goal] - x[path.rows]) * way
    assert moved.max() > 8 and (path.leave[:, -1] >= 0).any()
    assert bool((moved > 0).all()) == straight
    if straight:
        assert torch.equal(moved.long(), path.length)
        assert (path.leave[:, 0] >= 0).double().mean() > 0.9


@pytest.mark.parametrize("key, value", [("p", 0), ("p", 1.5), ("clusters", 0), ("hops", 0), ("detour", 0.9)])
def test_a_setting_that_makes_no_sense_is_refused_by_name(key, value):
    with pytest.raises(ValueError, match=rf"goals\.{key}: {value} given"):
        stitch(**{key: value})
