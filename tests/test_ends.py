"""Where episodes end in flat files: the file's own marks first, alike in both formats and in every unit and type."""

from collections.abc import Callable
from dataclasses import replace

import h5py
import numpy as np
import pytest

from stitchrl.data.formats import flat, open_source, write
from stitchrl.data.formats.flat import FEW, find_jumps
from stitchrl.data.formats.source import differ

EPISODES, STEPS = 20, 30
Columns = dict[str, np.ndarray]


@pytest.fixture(params=["hdf5", "npz"])
def store(request: pytest.FixtureRequest, tmp_path, monkeypatch) -> Callable[..., str]:
    """Writes a file of some columns; its name."""
    monkeypatch.chdir(tmp_path)
    name = f"file.{request.param}"

    def make(**columns: np.ndarray) -> str:
        columns.setdefault("actions", np.ones((len(columns["observations"]), 2)))
        if name.endswith("npz"):
            np.savez(name, **{key: np.ascontiguousarray(values) for key, values in columns.items()})
        else:
            with h5py.File(name, "w") as file:
                for key, values in columns.items():
                    file[key] = values
        return name

    return make


def lines(count: int = EPISODES, steps: int = STEPS, seed: int = 0) -> np.ndarray:
    """States [count, steps + 1, 4]: from 0 to 8 metres in x with a little noise, and back to 0 for the next one."""
    states = np.random.default_rng(seed).normal(scale=0.05, size=(count, steps + 1, 4))
    states[..., 0] += np.linspace(0, 8, steps + 1)
    return states


def rows_of(states: np.ndarray) -> Columns:
    """T + 1 rows to an episode, each last one marked."""
    return {"observations": states.reshape(-1, states.shape[-1]), "timeouts": ends_of(states)}


def ends_of(states: np.ndarray) -> np.ndarray:
    count, rows = states.shape[:2]
    return np.arange(count * rows) % rows == rows - 1


def transitions_of(states: np.ndarray) -> Columns:
    """T rows to an episode, with what comes next beside them."""
    width = states.shape[-1]
    here, there = states[:, :-1], states[:, 1:]
    return {
        "observations": here.reshape(-1, width),
        "next_observations": there.reshape(-1, width),
        "timeouts": ends_of(here),
    }


ALL = [STEPS] * EPISODES


# Marks come first


def test_marks_are_not_outvoted_by_columns_that_jump(store):
    """A heading in degrees that wraps, in front of the position; nothing is known of what columns mean."""
    states = lines()
    states[..., 1] = (np.linspace(120, 240, STEPS + 1) + 180) % 360 - 180
    opened = open_source(store(**rows_of(states)))
    assert opened.lengths.tolist() == ALL and opened.notes == ()


def test_marks_are_compared_with_jumps_in_the_columns_of_the_achieved_goal_alone(store):
    states = lines()[..., [1, 2, 0, 3]]  # the position stands in columns 2 and 3
    states[..., 0] = (np.linspace(120, 240, STEPS + 1) + 180) % 360 - 180
    name = store(**rows_of(states))
    assert open_source(name, columns=(2, 3)).lengths.tolist() == ALL
    with pytest.raises(ValueError, match=r"columns 0 and 1 jump in 20 rows inside of episodes \(by 356 at row 14\)"):
        open_source(name, columns=(0, 1))


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1000.0, 1e6])
def test_no_unit_is_special(store, unit):
    states = lines() * unit
    marked = rows_of(states)
    assert open_source(store(**marked), columns=(0, 1)).lengths.tolist() == ALL
    unmarked = {**marked, "timeouts": np.zeros(len(marked["timeouts"]))}
    assert open_source(store(**unmarked), columns=(0, 1)).lengths.tolist() == ALL


@pytest.mark.parametrize("missing", [FEW, FEW + 1])
def test_more_than_a_few_jumps_without_a_mark_are_refused(store, missing):
    columns = rows_of(lines())
    columns["timeouts"][np.flatnonzero(columns["timeouts"])[3 : 3 + missing]] = False
    name = store(**columns)
    merged = [STEPS] * 3 + [(missing + 1) * (STEPS + 1) - 1] + [STEPS] * (EPISODES - missing - 4)
    assert open_source(name).lengths.tolist() == merged, "the marks, where columns are not known"
    assert open_source(name, columns=(0, 1), trust_marks=True).lengths.tolist() == merged
    if missing <= FEW:
        opened = open_source(name, columns=(0, 1))
        assert opened.lengths.tolist() == merged
        assert any(f"columns 0 and 1 jump in {missing} rows inside of episodes" in note for note in opened.notes)
    else:
        with pytest.raises(ValueError, match=f"{name}: columns 0 and 1 jump in {missing} rows.*--trust-marks"):
            open_source(name, columns=(0, 1))


def test_marks_that_are_all_a_row_late_are_refused(store):
    columns = rows_of(lines())
    columns["timeouts"] = np.roll(columns["timeouts"], 1)
    with pytest.raises(ValueError, match=f"jump in {EPISODES - 1} rows inside of episodes"):
        open_source(store(**columns), columns=(0, 1))


def test_a_tail_without_a_mark_is_said(store):
    columns = rows_of(lines())
    columns["timeouts"][-1] = False
    opened = open_source(store(**columns))
    assert opened.lengths.tolist() == ALL
    assert opened.notes == (f"the last {STEPS + 1} rows are marked by no end",)


def test_rows_that_are_not_valid_are_ends(store):
    """OGBench's compact datasets: terminals on the last two rows of an episode."""
    columns = rows_of(lines())
    last = columns.pop("timeouts")
    columns |= {"terminals": last | np.roll(last, -1), "valids": 1.0 - last}
    opened = open_source(store(**columns))
    assert opened.lengths.tolist() == ALL and opened.notes == () and opened.terminated is None
    columns["valids"][-3:] = 0  # as of rows that only fill up
    with pytest.raises(ValueError, match="valids are 0 in rows one after another"):
        open_source(store(**columns))


# Guesses, where nothing is marked


def test_it_is_said_that_no_row_is_marked_and_what_was_guessed(store):
    columns = rows_of(lines())
    columns["timeouts"] = np.zeros(len(columns["timeouts"]))
    opened = open_source(store(**columns))
    assert opened.lengths.tolist() == ALL
    assert opened.notes == (
        "no row is marked as the end of an episode",
        f"{EPISODES - 1} ends of episodes were guessed, where columns 0 and 1 jump; others may be missed",
    )


def test_it_is_said_that_all_rows_are_one_episode(store):
    there_and_back = np.concatenate([lines(1), lines(1)[:, ::-1]], 1)[0]
    opened = open_source(store(observations=there_and_back, terminals=np.zeros(2 * STEPS + 2)))
    assert opened.lengths.tolist() == [2 * STEPS + 1]
    assert opened.notes[-1] == "all rows are taken for one episode"


def test_guesses_look_at_the_columns_of_the_achieved_goal_alone(store):
    """A body that goes from 0 to 8 again and again in columns 2 and 3; column 0 jumps in the middle of each way."""
    states = lines()[..., [1, 2, 0, 3]]
    states[:, STEPS // 2 :, 0] += 50 * (np.arange(EPISODES) % 2 * 2 - 1)[:, None]
    columns = rows_of(states)
    columns["timeouts"] = np.zeros(len(columns["timeouts"]))
    assert open_source(store(**columns), columns=(2, 3)).lengths.tolist() == ALL


def test_labels_in_clusters_leave_timeouts_and_resets(store):
    """As D4RL's ant mazes: terminals label states near the target, timeouts stand in some episodes only."""
    states = lines()
    columns = rows_of(states)
    columns["timeouts"][np.flatnonzero(columns["timeouts"])[::2]] = False
    columns["terminals"] = states[..., 0].reshape(-1) > 7.5
    opened = open_source(store(**columns), columns=(0, 1))
    assert opened.lengths.tolist() == ALL and opened.terminated is None
    assert any("come in clusters" in note for note in opened.notes)
    assert any(f"{EPISODES // 2} ends of episodes were guessed" in note for note in opened.notes)


def test_labels_in_clusters_alone_are_refused(store):
    columns = rows_of(lines())
    del columns["timeouts"]
    with pytest.raises(ValueError, match=r"come in clusters .* expected 'timeouts'"):
        open_source(store(**columns, terminals=columns["observations"][:, 0] > 7.5))


def test_jumps_by_hand():
    every = np.ones(9, bool)
    steps = np.array([0.1, 0.1, 0.1, 4.0, 0.1, 0.1, 0.1, 0.1, 0.0])
    assert np.flatnonzero(find_jumps(steps, every)).tolist() == [3]
    assert not find_jumps(steps, np.arange(9) != 3).any(), "a step to another episode is none"
    assert not find_jumps(np.array([0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.0]), every).any(), "not ten times as long"
    # One that waits, hardly moving, and then runs: no step of its run is alone.
    assert not find_jumps(np.array([1e-4] * 80 + [1.0] * 20), np.ones(100, bool)).any()
    # On a grid all steps are 0 or 1.
    assert not find_jumps(np.array([0.0] * 50 + [1.0] + [0.0] * 49), np.ones(100, bool)).any()
    assert not find_jumps(np.zeros(9), every).any()


# What comes next


@pytest.mark.parametrize("here", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("there", [np.float64, np.float32, np.float16])
def test_next_observations_of_any_type_keep_the_arrival(store, here, there):
    columns = transitions_of(lines())
    columns["observations"] = columns["observations"].astype(here)
    columns["next_observations"] = columns["next_observations"].astype(there)
    opened = open_source(store(**columns), columns=(0, 1))
    read = opened.read()
    assert opened.lengths.tolist() == ALL and opened.notes == ()
    assert np.allclose(read.observations[read.last].numpy(), lines()[:, -1], atol=1e-2)
    assert read.actions[read.transitions].isfinite().all()


@pytest.mark.parametrize("rows", [7, 10**6])
def test_without_marks_ends_are_where_the_next_observation_is_not_the_next_row(store, rows, monkeypatch):
    monkeypatch.setattr(flat, "ROWS", rows)
    columns = transitions_of(lines())
    del columns["timeouts"]
    opened = open_source(store(**columns))
    assert opened.lengths.tolist() == ALL
    assert any("19 ends of episodes were found by next_observations" in note for note in opened.notes)
    assert "no row is marked as the end of an episode" in opened.notes


def test_steps_and_breaks_equal_a_plain_loop(store, monkeypatch):
    monkeypatch.setattr(flat, "ROWS", 7)
    rng = np.random.default_rng(3)
    states, following = rng.integers(0, 3, (60, 3)), rng.integers(0, 3, (60, 3))
    follows = rng.random(59) < 0.5
    following[:-1][follows] = states[1:][follows]
    shapes = {"observations": (states.shape, states.dtype), "next_observations": (states.shape, states.dtype)}
    held = {"observations": states, "next_observations": following}
    rows = flat.Rows("x", shapes, lambda keys, bounds: ({key: held[key][a:b] for key in keys} for a, b in bounds))
    steps, breaks = flat._follow(rows, (0, 2))
    expected = [any(following[i] != states[i + 1]) for i in range(59)]
    assert breaks.tolist() == [*expected, False] and 0 < sum(expected) < 59
    assert steps == pytest.approx([np.hypot(*(following[i] - states[i])[[0, 2]]) for i in range(60)])
    steps, breaks = flat._follow(replace(rows, shapes={"observations": shapes["observations"]}), (0, 2))
    assert steps == pytest.approx([*(np.hypot(*(states[i + 1] - states[i])[[0, 2]]) for i in range(59)), 0])
    assert not breaks.any()


@pytest.mark.parametrize("other", [FEW, FEW + 1])
def test_next_observations_that_contradict_the_marks_are_refused(store, other):
    columns = transitions_of(lines())
    columns["next_observations"][np.arange(other) * STEPS + 7] += 0.5
    name = store(**columns)
    if other <= FEW:
        opened = open_source(name)
        assert opened.lengths.tolist() == [8, 22] * other + [30] * (EPISODES - other)
        assert any(f"{other} ends of episodes were found" in note for note in opened.notes)
    else:
        with pytest.raises(ValueError, match=rf"{name}: next_observations of {other} rows \(row 7 is the first\)"):
            open_source(name)


def test_rows_in_no_order_are_refused(store):
    columns = transitions_of(lines())
    mixed = np.random.default_rng(0).permutation(EPISODES * STEPS)
    columns = {key: values[mixed] for key, values in columns.items()}
    with pytest.raises(ValueError, match="no end is marked there"):
        open_source(store(**columns))
    columns["timeouts"][:] = False
    with pytest.raises(ValueError, match="expected rows in the order of time"):
        open_source(store(**columns))


def test_pieces_that_go_on_in_one_another_are_what_the_marks_say(store):
    """Cut in the middle: what comes next after the first piece is the first row of the second."""
    columns = transitions_of(lines())
    columns["timeouts"] = np.arange(EPISODES * STEPS) % 15 == 14
    opened = open_source(store(**columns), columns=(0, 1))
    read = opened.read()
    assert opened.lengths.tolist() == [15] * 40 and opened.notes == ()
    assert read.observations[15].equal(read.observations[16])


def test_next_observations_from_the_next_episode_are_refused(store):
    """As saved by who shifts the observations by one row, over resets."""
    columns = transitions_of(lines())
    columns["next_observations"][:-1] = columns["observations"][1:]
    name = store(**columns)
    with pytest.raises(ValueError, match=f"jump in {EPISODES - 1} rows"):
        open_source(name, columns=(0, 1))
    assert open_source(name, columns=(0, 1), trust_marks=True).lengths.tolist() == ALL


def test_terminals_of_episodes_of_one_transition_are_no_cluster(store):
    states = lines(count=9, steps=1)
    columns = transitions_of(states)
    columns["terminals"] = columns.pop("timeouts")
    opened = open_source(store(**columns))
    assert opened.lengths.tolist() == [1] * 9 and opened.notes == ()


def test_rounding_is_no_difference_and_a_small_step_is_one():
    table = np.random.default_rng(0).normal(size=(50, 3)) * [1, 100, 1e-4]
    assert not differ(table, table.astype(np.float32)).any()
    assert not differ(table.astype(np.float16), table.astype(np.float32)).any()
    assert differ(table, table + np.array([1e-5, 1e-3, 1e-9])).all()
    assert differ(table.astype(np.float32), (table + np.array([1e-4, 1e-2, 1e-8])).astype(np.float32)).all()
    assert not differ(np.array([[1, 2]]), np.array([[1, 2]])).any() and differ(np.array([[1]]), np.array([[2]])).all()


# What ended them


def test_what_ended_an_episode_is_read_and_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    columns = rows_of(lines())
    ended = np.arange(EPISODES) % 3 == 0
    last = np.flatnonzero(columns["timeouts"])
    columns["timeouts"][last[ended]] = False
    columns["terminals"] = ends_of(lines()) & ~columns["timeouts"]
    with h5py.File("theirs.hdf5", "w") as file:
        for key, values in {**columns, "actions": np.ones((len(columns["timeouts"]), 2))}.items():
            file[key] = values
    opened = open_source("theirs.hdf5")
    assert opened.terminated is not None and opened.terminated.tolist() == ended.tolist()
    assert not any("ran out of time" in note for note in write("ours.hdf5", opened))
    with h5py.File("ours.hdf5") as file:
        for key in ("terminals", "timeouts"):
            assert np.array_equal(file[key][()], columns[key])
    again = open_source("ours.hdf5")
    assert again.terminated is not None and again.terminated.tolist() == ended.tolist()
    assert any("not which episodes were terminated" in note for note in write("ours.npz", again))
    assert open_source("ours.npz").terminated is None
    assert any("ran out of time" in note for note in write("last.hdf5", open_source("ours.npz")))


def test_episodes_of_a_single_state_do_not_shift_what_ended_the_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with h5py.File("file.hdf5", "w") as file:
        file["observations"], file["actions"] = np.arange(20.0).reshape(10, 2), np.zeros((10, 2))
        file["timeouts"] = np.isin(np.arange(10), [3, 4])
        file["terminals"] = np.isin(np.arange(10), [9])
    opened = open_source("file.hdf5")
    assert opened.lengths.tolist() == [3, 4]
    assert opened.terminated is not None and opened.terminated.tolist() == [False, True]
