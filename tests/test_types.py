"""Regions and rewards by hand: nearly every number of the package stands on them."""

import numpy as np
import pytest

from stitchrl.types import Region, RewardRegion, reward_at

# A box from (1, -2) to (3, 0) and all within 0.5 of it.
DILATED = Region((2.0, -1.0), half=1.0, radius=0.5)


@pytest.mark.parametrize(
    "point, distance",
    [
        ((2.0, -1.0), 0.0),
        ((3.0, 0.0), 0.0),  # a corner of the box
        ((3.5, -1.0), 0.0),  # beside it, on the border
        ((3.6, -1.0), 0.1),
        ((2.0, -2.75), 0.25),
        ((0.0, -1.0), 0.5),
        ((3.3, 0.4), 0.0),  # 0.5 from the corner along a slant
        ((3.4, 0.4), np.hypot(0.4, 0.4) - 0.5),  # beyond the round corner, though within 0.5 in x and in y
        ((6.0, 4.0), 4.5),  # three and four from the corner
    ],
)
def test_the_distance_to_a_box_that_is_dilated(point, distance):
    xy = np.array([point, (9.0, -1.0)])
    assert DILATED.distance(xy) == pytest.approx([distance, 5.5], abs=1e-12)
    assert DILATED.contains(np.array([point]) * [1, 1]).tolist() == [DILATED.distance(xy)[0] == 0]
    assert (DILATED.distance(xy)[0] < 1e-9) == (distance == 0)


def test_without_a_box_a_region_is_a_disc_and_without_a_radius_it_is_a_box():
    disc, box = Region((1.0, 1.0), radius=2.0), Region((1.0, 1.0), half=2.0)
    points = np.array([[3.0, 1.0], [3.1, 1.0], [2.5, 2.5], [3.0, 3.0]])
    assert disc.contains(points).tolist() == [True, False, False, False]
    assert box.contains(points).tolist() == [True, False, True, True]


def test_samples_fill_the_box_itself_and_nothing_beyond_it():
    points = np.array([DILATED.sample(np.random.default_rng(seed)) for seed in range(2000)])
    assert points.min(0) == pytest.approx([1, -2], abs=0.01) and points.max(0) == pytest.approx([3, 0], abs=0.01)
    assert points.mean(0) == pytest.approx([2, -1], abs=0.05)
    assert abs(np.corrcoef(points.T)[0, 1]) < 0.05
    assert Region((4.0, 5.0), radius=1.0).sample(np.random.default_rng(0)).tolist() == [4.0, 5.0]


def test_rewards_of_regions_that_overlap_add_up():
    rewards = [RewardRegion(Region((0.0, 0.0), half=1.0), 2.0), RewardRegion(Region((1.0, 0.0), half=0.5), 0.25)]
    xy = np.array([[-1.0, 0.0], [0.75, 0.5], [1.25, 0.0], [5.0, 0.0], [0.0, 1.1]])
    assert reward_at(rewards, xy).tolist() == [2.0, 2.25, 0.25, 0.0, 0.0]
    assert reward_at(rewards, xy).sum() == 4.5
    assert reward_at([], xy).tolist() == [0.0] * 5
