"""`Episodes`: what it refuses, which rows belong together, and hashes computed a second way."""

import hashlib

import numpy as np
import pytest
import torch
from conftest import make_episodes, random_walks

from stitchrl.data.episodes import Episodes


def rows_and_actions(lengths):
    """Random observations and actions that fit the lengths, NaN where no action was taken."""
    rng = np.random.default_rng(0)
    episodes = make_episodes([rng.normal(size=(length + 1, 2)) for length in lengths])
    return episodes.observations, episodes.actions.clone(), torch.tensor(lengths)


def piece(episodes, first, last):
    """Rows first to last as an episode of their own: observations and actions."""
    actions = episodes.actions[first : last + 1].clone()
    actions[-1] = torch.nan
    return episodes.observations[first : last + 1], actions


def joined(pieces):
    """Episodes from pieces, in their order."""
    observations, actions = zip(*pieces, strict=True)
    return Episodes(torch.cat(observations), torch.cat(actions), None, torch.tensor([len(a) - 1 for a in actions]))


def test_an_action_on_an_episodes_last_row_is_refused():
    observations, actions, lengths = rows_and_actions([3, 2])
    actions[3] = 0.0
    with pytest.raises(ValueError, match="NaN"):
        Episodes(observations, actions, None, lengths)


def test_a_nan_action_inside_an_episode_is_refused():
    observations, actions, lengths = rows_and_actions([3, 2])
    actions[1, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        Episodes(observations, actions, None, lengths)


@pytest.mark.parametrize("lengths", [[3, 3], [3, 1], [5], [6, 0], []])
def test_lengths_that_do_not_fit_the_rows_are_refused(lengths):
    observations, actions, _ = rows_and_actions([3, 2])
    with pytest.raises(ValueError, match=r"rows do not fit|at least one episode"):
        Episodes(observations, actions, None, torch.tensor(lengths, dtype=torch.int64))


def test_every_row_knows_the_first_and_last_row_of_its_episode():
    episodes = Episodes(*rows_and_actions([3, 1, 2])[:2], None, torch.tensor([3, 1, 2]))
    assert episodes.starts.tolist() == [0, 0, 0, 0, 4, 4, 6, 6, 6]
    assert episodes.ends.tolist() == [3, 3, 3, 3, 5, 5, 8, 8, 8]
    assert episodes.number.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2]
    assert episodes.transitions.tolist() == [0, 1, 2, 4, 6, 7]


def test_the_hash_is_that_of_observations_then_taken_actions_then_lengths():
    episodes = make_episodes(random_walks(count=7, longest=9))
    taken = episodes.actions.numpy()
    taken = taken[~np.isnan(taken).any(1)]
    content = (
        episodes.observations.numpy().astype("<f4").tobytes()
        + taken.astype("<f4").tobytes()
        + np.array([len(walk) - 1 for walk in random_walks(count=7, longest=9)], "<i8").tobytes()
    )
    assert episodes.sha256 == hashlib.sha256(content).hexdigest()


def test_the_hash_tells_apart_datasets_that_differ_in_one_value_or_in_where_episodes_end():
    episodes = make_episodes(random_walks(count=3, longest=9))
    changed = episodes.observations.clone()
    changed[0, 0] += 1e-3
    assert Episodes(changed, episodes.actions, None, episodes.lengths).sha256 != episodes.sha256
    line = np.zeros((9, 2))
    assert make_episodes([line[:3], line[:6]]).sha256 != make_episodes([line[:6], line[:3]]).sha256


def test_the_hash_of_transitions_depends_neither_on_order_nor_on_cutting():
    episodes = make_episodes([*random_walks(count=3, longest=9), np.arange(22.0).reshape(11, 2)])
    whole = [piece(episodes, a, b) for a, b in zip(episodes.first.tolist(), episodes.last.tolist(), strict=True)]
    assert joined(whole).sha256 == episodes.sha256
    assert joined(whole[::-1]).transitions_sha256 == episodes.transitions_sha256
    first, last = int(episodes.first[3]), int(episodes.last[3])
    parts = [piece(episodes, first + 4, last), piece(episodes, first, first + 1), piece(episodes, first + 1, first + 4)]
    assert joined([*parts, *whole[:3]]).transitions_sha256 == episodes.transitions_sha256


def test_the_hash_of_transitions_tells_where_the_last_action_led():
    episodes = make_episodes([np.arange(12.0).reshape(6, 2)])
    elsewhere = episodes.observations.clone()
    elsewhere[-1, 0] += 1e-3
    changed = Episodes(elsewhere, episodes.actions, None, episodes.lengths)
    assert changed.transitions_sha256 != episodes.transitions_sha256


def test_the_hash_of_transitions_tells_a_lost_or_doubled_transition():
    episodes = make_episodes([np.arange(12.0).reshape(6, 2)])
    whole, part = piece(episodes, 0, 5), piece(episodes, 0, 1)
    assert joined([whole, part]).transitions_sha256 != episodes.transitions_sha256
    assert joined([piece(episodes, 1, 5)]).transitions_sha256 != episodes.transitions_sha256
