"""What is read of other people's Minari datasets, what is said of the rest, and what is refused by name."""

import dataclasses
import shutil
from pathlib import Path

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
import torch
from conftest import command, make_episodes, random_walks
from minari.data_collector import EpisodeBuffer

from stitchrl import convert
from stitchrl.data.cut import pieces_terminated
from stitchrl.data.formats import open_source, write
from stitchrl.data.formats.source import of_episodes

pytestmark = pytest.mark.filterwarnings("ignore:.*is set to None:UserWarning", "ignore:env_spec is None")
LAYOUTS = ["hdf5", "arrow", "parquet"]
NAME = "lab/theirs-v0"
FILE = Path("minari") / NAME / "data" / "main_data.hdf5"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def box(*shape: int) -> gym.spaces.Box:
    return gym.spaces.Box(-np.inf, np.inf, shape, np.float64)


T = 5
RNG = np.random.default_rng(0)
GOALS = {"microwave": RNG.normal(size=(T + 1, 1)), "kettle": RNG.normal(size=(T + 1, 7))}
STATES = RNG.normal(size=(T + 1, 3))
KITCHEN = {"observation": STATES, "achieved_goal": GOALS, "desired_goal": GOALS}
SPACES = {
    "observation": box(3),
    "achieved_goal": gym.spaces.Dict({"microwave": box(1), "kettle": box(7)}),
    "desired_goal": gym.spaces.Dict({"microwave": box(1), "kettle": box(7)}),
}


def put(
    layout: str = "hdf5", observations=STATES, space=None, actions=None, action_space=None, count=3, **rest
) -> None:
    """A dataset of `count` episodes of `T` steps."""
    buffers = [
        EpisodeBuffer(
            id=i,
            observations=observations,
            actions=RNG.normal(size=(T, 2)) if actions is None else actions,
            rewards=np.zeros(T),
            **{"terminations": np.zeros(T, bool), "truncations": np.arange(T) == T - 1, **rest},
        )
        for i in range(count)
    ]
    minari.create_dataset_from_buffers(
        NAME,
        buffers,
        observation_space=space or box(3),
        action_space=action_space or box(2),
        data_format=layout,
    )


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line in which a conversion is refused."""
    capsys.readouterr()
    assert command(convert, monkeypatch, NAME, "new.hdf5") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not Path("new.hdf5").exists()
    return line


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_goal_that_is_a_dictionary_is_laid_out_in_the_alphabets_order_in_front(layout: str) -> None:
    put(layout, KITCHEN, gym.spaces.Dict(SPACES), infos={"step": np.arange(T + 1)[:, None]}, seed=7)
    source = open_source(NAME)
    read = source.read()
    expected = np.concatenate([GOALS["kettle"], GOALS["microwave"], STATES], 1).astype(np.float32)
    assert np.array_equal(read.observations[: T + 1], expected)
    assert source.notes == (
        "in front of each observation: observations/achieved_goal/kettle, observations/achieved_goal/microwave",
        "not read: observations/desired_goal/kettle, observations/desired_goal/microwave, infos/step, seed",
    )
    again = open_source(NAME)
    assert again.notes == source.notes, "from the flat copy too"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_goal_that_stands_in_front_already_is_not_put_there_again(layout: str) -> None:
    together = np.concatenate([GOALS["kettle"], STATES], 1)
    held = {"observation": together, "achieved_goal": {"kettle": GOALS["kettle"]}}
    put(layout, held, gym.spaces.Dict(
        {"observation": box(10), "achieved_goal": gym.spaces.Dict({"kettle": box(7)})}))  # fmt: skip
    source = open_source(NAME)
    assert source.observations.shape == (10,) and source.notes == ()


PAIR = gym.spaces.Tuple([box(3), box(1)])
BOTH = gym.spaces.Dict({"arm": box(2), "hand": box(1)})
UNREADABLE = {
    "a tuple of observations": (
        {"observations": (STATES, STATES[:, :1]), "space": PAIR},
        "observations hold _index_0, _index_1, expected an 'observation' among them",
    ),
    "a dictionary without observation": (
        {"observations": {"arm": STATES[:, :2], "hand": STATES[:, :1]}, "space": BOTH},
        "observations hold arm, hand, expected an 'observation' among them",
    ),
    "a dictionary in observation": (
        {
            "observations": {"observation": {"arm": STATES[:, :2], "hand": STATES[:, :1]}},
            "space": gym.spaces.Dict({"observation": BOTH}),
        },
        "observations/observation hold arm, hand, expected one array",
    ),
    "a dictionary of actions": (
        {"actions": {"arm": STATES[1:, :2][:T], "hand": STATES[1:, :1][:T]}, "action_space": BOTH},
        "actions hold arm, hand, expected one array",
    ),
    "a tuple of actions": (
        {"actions": (STATES[1:], STATES[1:, :1]), "action_space": PAIR},
        "actions hold _index_0, _index_1, expected one array",
    ),
    "images": (
        {"observations": np.zeros((T + 1, 4, 4, 1)), "space": box(4, 4, 1)},
        "observations are float64 of shape (6, 4, 4, 1), expected rows of numbers",
    ),
    "one number for an action that is no choice": (
        {"actions": np.arange(T) / T, "action_space": box()},
        "actions are float64 of shape (5,), expected rows of numbers",
    ),
}


@pytest.mark.parametrize("layout", ["hdf5", "arrow"])
def test_a_choice_among_actions_is_read_as_whole_numbers(layout: str) -> None:
    put(layout, actions=np.arange(T), action_space=gym.spaces.Discrete(T))
    read = open_source(NAME).read()
    assert read.actions.dtype == torch.int64 and read.actions[: T + 1].tolist() == [*range(T), -1]


@pytest.mark.parametrize("layout", ["hdf5", "arrow"])
@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_named_with_its_file_episode_and_key(
    case: str, layout: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    held, message = UNREADABLE[case]
    put(layout, **held)
    where = here / "minari" / NAME / "data"
    where = where / "main_data.hdf5" if layout == "hdf5" else where
    assert refusal(monkeypatch, capsys) == f"stitchrl: {where}: episode_0: {message}"


def spoil(episode: int, key: str, make) -> None:
    """Put what `make(group, name)` makes in the place of a key."""
    with h5py.File(FILE, "a") as file:
        del file[f"episode_{episode}/{key}"]
        make(file, f"episode_{episode}/{key}")


SPOILED = {
    "a goal that leads nowhere": (
        "observations/achieved_goal/kettle",
        lambda file, name: file.__setitem__(name, h5py.SoftLink("/gone")),
        "episode_1: expected a readable HDF5 file, found ",
    ),
    "observations in a file that is gone": (
        "observations/observation",
        lambda file, name: file.__setitem__(name, h5py.ExternalLink("gone.hdf5", "/x")),
        "episode_1: expected a readable HDF5 file, found ",
    ),
    "a goal of another length": (
        "observations/achieved_goal/kettle",
        lambda file, name: file.__setitem__(name, np.zeros((T, 7))),
        "episode_1: 5 observations/achieved_goal/kettle, expected as many as observations, which are 6",
    ),
    "a goal of words": (
        "observations/achieved_goal/kettle",
        lambda file, name: file.__setitem__(name, ["word"] * (T + 1)),
        "episode_1: observations/achieved_goal/kettle is of type object, expected numbers",
    ),
    "a goal that is one number": (
        "observations/achieved_goal/kettle",
        lambda file, name: file.__setitem__(name, 3.0),
        "episode_1: observations/achieved_goal/kettle are one value, expected one for each step",
    ),
    "an empty goal": (
        "observations/achieved_goal",
        lambda file, name: file.create_group(name),
        "episode_1: observations/achieved_goal hold nothing, expected one array",
    ),
    "no terminations": ("terminations", lambda file, name: None, "episode_1: no dataset 'terminations'"),
    "terminations of another length": (
        "terminations",
        lambda file, name: file.__setitem__(name, np.zeros(T + 1, bool)),
        "episode_1: 6 observations, 5 actions, 5 rewards, 6 terminations; expected T + 1, T, T and T",
    ),
    "a virtual dataset": (
        "actions",
        lambda file, name: file.create_virtual_dataset(name, h5py.VirtualLayout((T, 2), np.float64)),
        "episode_1: actions is virtual, and reads as zeros if its sources are missing; expected an array",
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_an_episode_that_is_damaged_is_named_with_its_key(
    case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    key, make, message = SPOILED[case]
    put("hdf5", KITCHEN, gym.spaces.Dict(SPACES))
    spoil(1, key, make)
    assert refusal(monkeypatch, capsys).startswith(f"stitchrl: {here / FILE}: {message}")


def test_a_damaged_arrow_file_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    put("arrow", KITCHEN, gym.spaces.Dict(SPACES))
    (path,) = (FILE.parent / "2").glob("*.arrow")
    path.write_bytes(path.read_bytes()[:100])
    line = refusal(monkeypatch, capsys)
    assert line.startswith(f"stitchrl: {here / 'minari' / NAME}: expected a readable episode of Minari's")
    assert str(path) in line


@pytest.mark.parametrize("key", ["observations", "actions", "rewards", "terminations"])
def test_an_episode_of_which_a_row_is_missing_is_named(
    key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put()
    with h5py.File(FILE) as file:
        shorter = file[f"episode_1/{key}"][:-1]
    spoil(1, key, lambda file, name: file.create_dataset(name, data=shorter))
    counts = {"observations": T + 1, "actions": T, "rewards": T, "terminations": T} | {key: len(shorter)}
    found = ", ".join(f"{count} {name}" for name, count in counts.items())
    assert refusal(monkeypatch, capsys).endswith(f"episode_1: {found}; expected T + 1, T, T and T, T at least 1")


# What ended an episode


@pytest.mark.parametrize("layout", LAYOUTS)
def test_terminations_survive_the_way_through_every_format_that_holds_them(layout: str) -> None:
    episodes = make_episodes(random_walks(9, 6))
    terminated = np.arange(9) % 4 == 1
    source = dataclasses.replace(of_episodes("memory", episodes, {}), terminated=terminated)
    assert write(NAME, source, layout) == ["rewards, which it must have, are all 0"]
    for number, episode in enumerate(minari.load_dataset(NAME).iterate_episodes()):
        end = np.arange(len(episode)) == len(episode) - 1
        assert episode.terminations.tolist() == (end & terminated[number]).tolist()
        assert episode.truncations.tolist() == (end & ~terminated[number]).tolist()
    for decoded in (False, True):
        if decoded:
            shutil.rmtree(Path("minari") / NAME / "flat")
        assert open_source(NAME).terminated.tolist() == terminated.tolist()
    assert not any("ended" in note for note in write("there.hdf5", open_source(NAME)))
    with h5py.File("there.hdf5") as file:
        last = episodes.last.numpy()
        assert np.flatnonzero(file["terminals"]).tolist() == last[terminated].tolist()
        assert np.flatnonzero(file["timeouts"]).tolist() == last[~terminated].tolist()
    write("lab/back-v0", open_source("there.hdf5"), layout)
    back = open_source("lab/back-v0")
    assert back.terminated.tolist() == terminated.tolist() and back.read().sha256 == episodes.sha256


def test_an_episode_is_terminated_by_its_last_step_alone_and_others_are_told() -> None:
    put(terminations=np.arange(T) == 1, truncations=np.zeros(T, bool))
    source = open_source(NAME)
    assert source.terminated.tolist() == [False] * 3
    assert source.notes == ("terminations before the last step, in 3 episodes, are not taken for ends",)


def test_where_it_is_not_known_what_ended_an_episode_it_is_said() -> None:
    source = of_episodes("memory", make_episodes(random_walks(3, 6)), {})
    assert "all episodes are truncated, since nothing is known of what ended them" in write(NAME, source)
    assert not open_source(NAME).terminated.any()


def test_of_a_terminated_episodes_pieces_the_last_is_terminated(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: episodes of 4, 2 and 5 pieces, of which the first and the last were terminated."""
    origin = np.repeat([0, 1, 2], [4, 2, 5])
    pieces = pieces_terminated(np.array([True, False, True]), origin)
    assert pieces.astype(int).tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]
    assert pieces_terminated(None, origin) is None
    episodes = make_episodes(random_walks(7, 30, seed=1))
    write(NAME, dataclasses.replace(of_episodes("memory", episodes, {}), terminated=np.arange(7) % 2 == 0))
    assert command(convert, monkeypatch, NAME, "lab/pieces-v0", "--cut", "5") == 0
    cut = open_source("lab/pieces-v0")
    ends = cut.lengths.cumsum()  # in transitions, of which cutting loses none
    assert ends[cut.terminated].tolist() == episodes.lengths.cumsum(0)[::2].tolist()
