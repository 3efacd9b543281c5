"""Cutting keeps every transition once and leaves no piece that holds a task."""

import numpy as np
import pytest
from conftest import make_episodes, random_walks

from stitchrl.data import cut as cutting
from stitchrl.types import Region, Task

PIECE = 15


def cut(episodes, piece, tasks, rng):
    """Cut where the achieved goal stands in the first two columns."""
    return cutting.cut(episodes, piece, tasks, rng, episodes.observations[:, :2].numpy())


TASKS = (
    Task("corner to corner", Region((-2.0, -2.0), half=0.7), Region((2.0, 2.0), half=0.5, radius=0.4), "unseen"),
    Task("across, near", Region((-1.0, 1.0), half=0.5), Region((1.0, 1.0), half=0.5, radius=0.4), "unseen"),
)


@pytest.fixture(scope="module")
def twins():
    """Episodes that run through both tasks many times over, and what is cut from them."""
    walks = random_walks(count=60, longest=400, stride=0.12)
    rewards = [np.random.default_rng(n).normal(size=len(walk) - 1) for n, walk in enumerate(walks)]
    episodes = make_episodes(walks, rewards)
    pieces, origin = cut(episodes, PIECE, TASKS, np.random.default_rng(0))
    return episodes, pieces, origin


def visits(episodes, region):
    """Which episodes come into the region: a set of numbers."""
    inside = region.contains(episodes.observations[:, :2].numpy().astype(np.float64))
    return set(episodes.number[inside].tolist())


def test_the_transitions_are_the_same_before_and_after(twins):
    episodes, pieces, _ = twins
    assert pieces.transitions_sha256 == episodes.transitions_sha256
    assert pieces.sha256 != episodes.sha256


def test_no_piece_is_longer_than_asked_for(twins):
    _, pieces, _ = twins
    assert pieces.lengths.max() == PIECE


def test_the_phase_of_the_first_cut_is_random(twins):
    _, pieces, origin = twins
    assert len(set(pieces.lengths[np.unique(origin, return_index=True)[1]].tolist())) > 5


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_no_piece_holds_both_regions_of_a_task_in_any_order(twins, task):
    episodes, pieces, _ = twins
    assert visits(episodes, task.start) & visits(episodes, task.goal)
    assert visits(pieces, task.start) and visits(pieces, task.goal)
    assert not visits(pieces, task.start) & visits(pieces, task.goal)


def test_cutting_by_length_alone_would_have_left_tasks_in_pieces(twins):
    pieces, _ = cut(twins[0], PIECE, (), np.random.default_rng(0))
    assert any(visits(pieces, task.start) & visits(pieces, task.goal) for task in TASKS)


def test_pieces_are_stretches_of_the_episodes_they_are_said_to_come_from_and_cover_each_once(twins):
    episodes, pieces, origin = twins
    row_of = {tuple(action): row for row, action in enumerate(episodes.actions.tolist())}
    rows = [row_of[tuple(action)] for action in pieces.actions[pieces.transitions].tolist()]
    assert rows == episodes.transitions.tolist()  # in order, none lost, none doubled
    number = pieces.number[pieces.transitions]
    assert (episodes.number[rows].numpy() == origin[number]).all()
    assert pieces.observations[pieces.transitions].equal(episodes.observations[rows])
    assert pieces.observations[pieces.transitions + 1].equal(episodes.observations[episodes.transitions + 1])


def test_rewards_stay_with_their_transitions(twins):
    episodes, pieces, _ = twins
    assert pieces.rewards[pieces.transitions].equal(episodes.rewards[episodes.transitions])
    assert pieces.rewards[pieces.last].isnan().all()


def test_episodes_without_rewards_can_be_cut():
    pieces, _ = cut(make_episodes(random_walks(count=3, longest=50)), 4, TASKS, np.random.default_rng(0))
    assert pieces.rewards is None


def test_the_episodes_themselves_are_left_as_they_were(twins):
    episodes, _, _ = twins
    assert not episodes.actions[episodes.transitions].isnan().any()


def test_a_piece_that_holds_a_task_is_cut_half_way_between_its_ends():
    line = np.stack([np.arange(13.0), np.zeros(13)], 1)
    task = Task("along the line", Region((0.0, 0.0), half=2.0), Region((12.0, 0.0), half=2.0), "unseen")
    pieces, origin = cut(make_episodes([line, line[::-1]]), 10**6, [task], np.random.default_rng(0))
    assert pieces.lengths.tolist() == [6, 6, 6, 6] and origin.tolist() == [0, 0, 1, 1]


def test_overlapping_regions_are_refused_by_the_tasks_name():
    task = Task("overlap", Region((0.0, 0.0), half=1.0), Region((0.5, 0.0), half=1.0), "unseen")
    with pytest.raises(ValueError, match="overlap"):
        cut(make_episodes([np.zeros((5, 2))]), 3, [task], np.random.default_rng(0))


def test_a_transition_that_itself_joins_the_regions_is_refused_by_the_tasks_name():
    task = Task("one step", Region((0.0, 0.0), half=0.1), Region((1.0, 0.0), half=0.1), "unseen")
    with pytest.raises(ValueError, match="one step"):
        cut(make_episodes([np.array([[0.0, 0.0], [1.0, 0.0]])]), 3, [task], np.random.default_rng(0))
