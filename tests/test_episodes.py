"""`Episodes`: what it refuses, which rows belong together, and hashes computed a second way."""

import hashlib

import numpy as np
import pytest
import torch
from conftest import make_episodes, random_walks

from stitchrl.data.episodes import Episodes, filled


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
    with pytest.raises(ValueError, match=r"void \(NaN, or -1\)"):
        Episodes(observations, actions, None, lengths)


def test_a_nan_action_inside_an_episode_is_refused():
    observations, actions, lengths = rows_and_actions([3, 2])
    actions[1, 0] = torch.nan
    with pytest.raises(ValueError, match=r"void \(NaN, or -1\)"):
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


# Planes, discrete actions and facts of episodes


def plane_episodes():
    """Episodes of 3, 1 and 2 steps: planes [3, 4, 4] of whole numbers, five actions, a context and a vector of each."""
    rng, lengths = np.random.default_rng(0), [3, 1, 2]
    return Episodes.of_parts(
        [rng.integers(0, 256, (length + 1, 3, 4, 4), dtype=np.uint8) for length in lengths],
        [rng.integers(0, 5, length) for length in lengths],
        [np.arange(length, dtype=np.float64) for length in lengths],
        {"context": np.array([4, 5, 6]), "level": np.arange(6.0).reshape(3, 2)},
    )


def test_episodes_in_parts_keep_their_types_and_void_rows_say_so():
    episodes = plane_episodes()
    assert episodes.observations.shape == (9, 3, 4, 4) and episodes.observations.dtype == torch.uint8
    assert episodes.actions.shape == (9,) and episodes.actions.dtype == torch.int64
    assert episodes.rewards.dtype == torch.float32
    assert (episodes.actions == -1).nonzero().squeeze(1).tolist() == [3, 5, 8]
    assert episodes.rewards.isnan().nonzero().squeeze(1).tolist() == [3, 5, 8]
    assert episodes.rewards[episodes.transitions].tolist() == [0, 1, 2, 0, 0, 1]


def test_void_whole_numbers_belong_on_last_rows_alone():
    episodes = plane_episodes()
    for row, value in ((3, 2), (1, -1)):
        actions = episodes.actions.clone()
        actions[row] = value
        with pytest.raises(ValueError, match="actions must be void"):
            Episodes(episodes.observations, actions, None, episodes.lengths)


def test_the_hash_of_planes_is_that_of_their_bytes_and_of_eight_bytes_for_an_action():
    episodes = plane_episodes()
    rng = np.random.default_rng(0)
    planes = b"".join(rng.integers(0, 256, (length + 1, 3, 4, 4), dtype=np.uint8).tobytes() for length in (3, 1, 2))
    actions = b"".join(rng.integers(0, 5, length).astype("<i8").tobytes() for length in (3, 1, 2))
    content = planes + actions + np.array([3, 1, 2], "<i8").tobytes()
    assert episodes.sha256 == hashlib.sha256(content).hexdigest() == plane_episodes().sha256


def test_pieces_keep_types_and_what_is_known_of_the_episodes_that_they_are_of():
    episodes = plane_episodes()
    rows, lengths, origin = torch.tensor([0, 1, 2, 2, 3, 4, 5, 6, 7, 8]), torch.tensor([2, 1, 1, 2]), [0, 0, 1, 2]
    pieces = episodes.pieces(rows, lengths, torch.tensor(origin))
    assert torch.equal(pieces.observations, episodes.observations[rows]) and pieces.observations.dtype == torch.uint8
    assert pieces.actions[[2, 4, 6, 9]].tolist() == [-1] * 4 and pieces.rewards[[2, 4, 6, 9]].isnan().all()
    assert torch.equal(pieces.actions[pieces.transitions], episodes.actions[episodes.transitions])
    assert pieces.info["context"].tolist() == [4, 4, 5, 6]
    assert pieces.info["level"].tolist() == [[0, 1], [0, 1], [2, 3], [4, 5]]
    assert pieces.transitions_sha256 == episodes.transitions_sha256 and pieces.sha256 != episodes.sha256
    assert (episodes.actions == -1).sum() == 3, "the episodes themselves are as they were"


def test_other_rewards_and_facts_leave_all_else_as_it_is():
    episodes = plane_episodes()
    other = episodes.with_rewards(torch.zeros(9)).with_info({"number": torch.arange(3)})
    assert other.sha256 == episodes.sha256 and other.info.keys() == {"number"} and not other.rewards.any()
    assert episodes.info.keys() == {"context", "level"} and episodes.rewards[1] == 1


def test_files_hold_zeros_where_nothing_was_done_or_earned():
    assert filled(torch.tensor([4, -1, 0, -1])).tolist() == [4, 0, 0, 0]
    assert filled(torch.tensor([[0.5, -1.0], [torch.nan, torch.nan]])).tolist() == [[0.5, -1.0], [0.0, 0.0]]
