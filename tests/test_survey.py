"""What the audit tells beside its certificate: against plain loops and by hand."""

from itertools import pairwise

import numpy as np
import pytest
from conftest import make_episodes, random_walks

from stitchrl.audit import achieved as achieved_module
from stitchrl.audit.achieved import Achieved, at_columns
from stitchrl.audit.cooccurrence import co_occurrence
from stitchrl.audit.survey import continued, coverage, distances, pairs_of_rows
from stitchrl.data.cut import cut
from stitchrl.data.formats.source import of_episodes
from stitchrl.types import Region, Task

XY = at_columns((0, 1))


def task(start, goal, radius=0.5):
    return Task("t", Region(tuple(start), 0.0, radius), Region(tuple(goal), 0.0, radius), "unseen")


@pytest.mark.parametrize("rows", [30, 10**6])
def test_coverage_equals_a_plain_loop(rows, monkeypatch):
    monkeypatch.setattr(achieved_module, "ROWS", rows)
    walks = random_walks(count=30, longest=20)
    visitors: dict[tuple, set] = {}
    for number, walk in enumerate(walks):
        for point in np.floor(walk.astype(np.float32).astype(float) / 0.5):
            visitors.setdefault(tuple(point), set()).add(number)
    found = coverage(Achieved.of_episodes(make_episodes(walks), XY), 0.5)
    assert found["area"] == pytest.approx(0.25 * len(visitors))
    assert found["shared"] == pytest.approx(np.mean([len(v) > 1 for v in visitors.values()]), abs=1e-4)


def test_coverage_floors_in_one_precision():
    """A bug once: 0.7 / 0.1 is below 7 in float64 and 7 in float32, so two squares got one number."""
    points = np.array([[0.15, 0.7], [0.05, 0.75]])
    assert np.floor(np.float32(0.7) / np.float32(0.1)) == 7 > np.floor(np.float64(np.float32(0.7)) / 0.1)
    assert coverage(Achieved.of_episodes(make_episodes([points]), XY), 0.1) == {"area": 0.02, "shared": 0.0}


def test_a_goal_is_a_later_state_and_all_pairs_come_about():
    """A bug once: a state could be its own goal."""
    lengths = np.array([1, 4, 2])
    achieved = Achieved(np.zeros((10, 2), np.float32), lengths)
    rows, later = pairs_of_rows(achieved, 20_000, np.random.default_rng(0))
    number = np.repeat(np.arange(3), lengths + 1)
    expected = {(i, j) for i in range(10) for j in range(i + 1, 10) if number[i] == number[j]}
    assert set(zip(rows.tolist(), later.tolist(), strict=True)) == expected
    share = np.bincount(rows, minlength=10) / len(rows)
    assert share == pytest.approx([1 / 7, 0, *[1 / 7] * 4, 0, *[1 / 7] * 2, 0], abs=0.02)


def line(a, b):
    return np.linspace(a, b, 50)


def test_pairs_can_be_far_apart_whose_marginals_are_near():
    """Two halves of a line: evaluated starts and goals lie in the data, together they do not."""
    left, right = [line((0, 0), (4, 0))] * 20, [line((4, 0), (8, 0))] * 20
    middle = Achieved.of_episodes(make_episodes([line((1, 0), (2, 0))] * 40), XY)
    halves = Achieved.of_episodes(make_episodes(left + right), XY)
    across = [task((0.5 + x, 0), (7.5 - x, 0)) for x in np.linspace(0, 3, 20)]
    across += [task(one.goal.center, one.start.center) for one in across]
    of_halves = distances(halves, across, np.random.default_rng(0))
    assert of_halves["pairs"] > 3 > 1.5 > max(of_halves["starts"], of_halves["goals"])
    same = distances(middle, [task((1.33, 0), (1.66, 0), 0.2)], np.random.default_rng(0))
    assert max(same.values()) < 0.4
    assert distances(halves, across, np.random.default_rng(0)) == of_halves


def test_cut_episodes_are_joined_again():
    rng = np.random.default_rng(0)
    whole = make_episodes([rng.normal(0, 0.3, (rng.integers(20, 300), 2)).cumsum(0) for _ in range(40)])
    tasks = [task((-1.5, 0), (1.5, 0), 0.8), task((1.5, 1), (-1.5, -1), 0.8)]
    pieces, _ = cut(whole, 7, [], np.random.default_rng(0), whole.observations[:, :2].numpy())
    order = np.random.default_rng(1).permutation(len(pieces.lengths))  # in any order
    observations = [pieces.observations[pieces.first[i] : pieces.last[i] + 1].numpy()[:, :2] for i in order]
    mixed = make_episodes(observations)
    found = continued(of_episodes("x", mixed, {}), Achieved.of_episodes(mixed, XY), tasks)
    assert found["rejoined"] == 40 and found["episodes"] == len(order) - 40
    for one in tasks:
        expected = co_occurrence(Achieved.of_episodes(whole, XY), one, 1).ordered
        assert expected > 0
        single = continued(of_episodes("x", mixed, {}), Achieved.of_episodes(mixed, XY), [one])
        assert single["ordered"] == {"t": expected}


def test_episodes_that_go_in_circles_end_somewhere():
    corners = [(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 0.0)]
    loop = make_episodes([line(a, b) for a, b in pairwise(corners)])
    found = continued(of_episodes("x", loop, {}), Achieved.of_episodes(loop, XY), [task((2, 2), (0, 0))])
    assert found["episodes"] == 3 and found["rejoined"] == 1
    alone = make_episodes([line((0, 0), (1, 0))])
    assert continued(of_episodes("x", alone, {}), Achieved.of_episodes(alone, XY), [])["episodes"] == 0
