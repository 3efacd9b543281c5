"""Every format holds the same episodes; other people's files are read as they mean; damage is named."""

import io
import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import h5py
import minari
import numpy as np
import pytest
import torch
from conftest import command, make_episodes, random_walks

from stitchrl import convert
from stitchrl.data.episodes import Episodes
from stitchrl.data.formats import d4rl, flat, ogbench, open_source, source, write
from stitchrl.data.formats import minari as minari_format
from stitchrl.data.formats.source import of_episodes, spans

METADATA = {"manifest": {"name": "x", "half": 0.5}, "certificate": {"tasks": []}}
DESTINATIONS = ("file.hdf5", "file.npz", "lab/file-v0")


pytestmark = pytest.mark.filterwarnings("ignore:.*is set to None:UserWarning", "ignore:env_spec is None")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder for files and one in it for Minari."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small_chunks(monkeypatch):
    """Streams of a few episodes at a time."""
    for module in (source, flat, d4rl, ogbench, minari_format):
        monkeypatch.setattr(module, "ROWS", 40)


def tiny(count=23, seed=0):
    walks = random_walks(count=count, longest=9, seed=seed)
    rng = np.random.default_rng(seed)
    return make_episodes(walks, [rng.random(len(walk) - 1).astype(np.float32) for walk in walks])


def planes(count=23):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, count)
    return Episodes.of_parts(
        [rng.integers(0, 256, (length + 1, 3, 4, 4), dtype=np.uint8) for length in lengths],
        [rng.integers(0, 5, length) for length in lengths],
        [rng.random(length) for length in lengths],
        {},
    )


def refusal(name: str, **options) -> str:
    """The one line in which reading is refused."""
    with pytest.raises((ValueError, OSError)) as caught:
        open_source(name, **options).read()
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    return str(caught.value)


# What is written is read back


def test_all_formats_hold_the_same_episodes(small_chunks):
    episodes = tiny()
    previous = of_episodes("memory", episodes, METADATA)
    for destination in (*DESTINATIONS, *reversed(DESTINATIONS)):
        Path(destination).unlink(missing_ok=True)
        write(destination, previous)
        previous = open_source(destination)
        assert previous.lengths.tolist() == episodes.lengths.tolist()
        assert previous.read().sha256 == episodes.sha256
        assert previous.metadata == METADATA
        streamed = list(previous.chunks(40))
        assert len(streamed) > 2
        assert torch.cat([part.observations for part in streamed]).equal(episodes.observations)
        assert torch.cat([part.lengths for part in streamed]).equal(episodes.lengths)


def test_planes_and_discrete_actions_of_ours_survive_all_formats(small_chunks):
    """Observations [3, 4, 4] of whole numbers, in the types and shapes that they have."""
    episodes = planes()
    previous = of_episodes("memory", episodes, METADATA)
    for destination in (*DESTINATIONS, *reversed(DESTINATIONS)):
        Path(destination).unlink(missing_ok=True)
        write(destination, previous)
        previous = open_source(destination)
        assert (previous.observations.shape, previous.observations.dtype) == ((3, 4, 4), np.uint8)
        assert (previous.actions.shape, previous.actions.dtype) == ((), np.int64)
        read = previous.read()
        assert read.sha256 == episodes.sha256 and previous.sha256 == episodes.sha256
        assert read.observations.equal(episodes.observations) and read.actions.equal(episodes.actions)
        assert previous.metadata == METADATA
    shutil.rmtree("minari/lab/file-v0/flat")
    assert open_source("lab/file-v0").read().sha256 == episodes.sha256, "decoded, too"


@pytest.mark.parametrize("destination", DESTINATIONS)
def test_images_of_others_are_refused(destination):
    write(destination, of_episodes("memory", planes(), {}))
    shutil.rmtree("minari/lab/file-v0/flat", ignore_errors=True)
    said = refusal(destination)
    assert "images are not supported" in said or "of shape (8, 3, 4, 4), expected rows of numbers" in said


@pytest.mark.parametrize("destination", ["file.hdf5", "lab/file-v0"])
def test_rewards_are_kept_where_the_format_has_them(destination):
    episodes = tiny()
    assert not any("rewards" in note for note in write(destination, of_episodes("memory", episodes, {})))
    read = open_source(destination).read()
    assert read.rewards[read.transitions].equal(episodes.rewards[episodes.transitions])


@pytest.mark.parametrize("destination", DESTINATIONS)
def test_what_a_format_cannot_hold_is_said(destination):
    with_rewards, without = tiny(), make_episodes(random_walks(5, 5))
    lost = write(destination, of_episodes("memory", with_rewards if ".npz" in destination else without, {}))
    assert any("rewards" in note for note in lost)


def test_tasks_and_certificate_reach_an_npz_file_however_many_episodes_there_are():
    """A bug once: with the contexts of 40,000 episodes they were too long for the archive's comment, and left out."""
    notes = write("file.npz", of_episodes("memory", tiny(), METADATA | {"contexts": [0] * 40_000}))
    assert open_source("file.npz").metadata == METADATA
    assert "no contexts of episodes" in notes


def test_chunks_are_whole_episodes_and_leave_none_out():
    lengths = np.array([3, 1, 1, 50, 2, 2])
    for rows in (1, 4, 8, 60, 1000):
        parts = list(spans(lengths, rows))
        assert [i for first, last in parts for i in range(first, last)] == list(range(6))
        assert all(last == first + 1 or (lengths[first:last] + 1).sum() <= rows for first, last in parts)


def test_the_layouts_are_those_that_the_formats_readers_expect():
    episodes = tiny()
    for destination in ("file.hdf5", "file.npz"):
        write(destination, of_episodes("memory", episodes, {}))
    last = episodes.last.numpy()
    with h5py.File("file.hdf5") as file:
        assert np.flatnonzero(file["timeouts"][()]).tolist() == last.tolist()
        assert not file["terminals"][()].any()
        assert {file[key].shape[0] for key in file} == {len(episodes)}
    with np.load("file.npz") as file:
        assert np.flatnonzero(file["terminals"]).tolist() == last.tolist()
        assert file["observations"].dtype == file["actions"].dtype == np.float32
        whole = file["observations"]
    with np.load("file-val.npz") as file:
        assert np.array_equal(file["observations"], whole[-len(file["observations"]) :])
        assert file["terminals"][-1] == 1


# Other people's files


def d4rl_file(name="other.hdf5", **columns):
    rng = np.random.default_rng(0)
    rows = len(next(iter(columns.values()))) if columns else 12
    values = {
        "observations": np.cumsum(rng.normal(0, 0.1, (rows, 3)), 0),
        "actions": rng.uniform(-1, 1, (rows, 2)),
        "rewards": np.zeros(rows),
        "terminals": np.zeros(rows, bool),
        **columns,
    }
    with h5py.File(name, "w") as file:
        for key, value in values.items():
            if value is not None:
                file[key] = value
    return name


def mark(rows, *where, dtype=bool):
    marks = np.zeros(rows, dtype)
    marks[list(where)] = 1
    return marks


def test_d4rl_timeouts_end_episodes_and_void_the_last_action():
    opened = open_source(d4rl_file(timeouts=mark(12, 4, 11)))
    assert opened.lengths.tolist() == [4, 6]
    read = opened.read()
    assert torch.isnan(read.actions[[4, 11]]).all() and torch.isfinite(read.actions[[3, 10]]).all()


def test_d4rl_terminals_in_clusters_are_labels():
    opened = open_source(d4rl_file(timeouts=mark(12, 11), terminals=mark(12, 4, 5, 6, dtype=np.float32)))
    assert opened.lengths.tolist() == [11]
    assert any("clusters (3 rows)" in note for note in opened.notes)


def test_d4rl_single_terminals_are_ends():
    assert open_source(d4rl_file(terminals=mark(12, 4))).lengths.tolist() == [4, 6]


def test_d4rl_columns_may_be_tables_of_one_column_and_scalars_may_stand_beside_them():
    values = {"rewards": np.ones((12, 1)), "terminals": mark(12, 5)[:, None], "metadata/algorithm": b"SAC"}
    opened = open_source(d4rl_file(**values, **{"infos/goal": np.zeros((12, 2))}))
    assert opened.lengths.tolist() == [5, 5] and opened.read().rewards.shape == (12,)
    assert any("infos/goal, metadata/algorithm" in note for note in opened.notes)


def test_d4rl_parts_of_a_chunked_file_are_laid_end_to_end_by_number():
    whole = open_source(d4rl_file(timeouts=mark(12, 4, 11))).read()
    with h5py.File("other.hdf5") as one, h5py.File("parts.hdf5", "w") as many:
        for part in range(12):  # in lexical order 10 comes before 2
            for key in one:
                many[f"virtual/{part}/{key}"] = one[key][part : part + 1]
    assert open_source("parts.hdf5").read().sha256 == whole.sha256


def test_d4rl_episodes_of_a_single_state_are_left_out_and_said(small_chunks):
    rows = 300
    opened = open_source(d4rl_file(rewards=np.zeros(rows), timeouts=mark(rows, 4, 5, 100, 101, 102, 299)))
    assert opened.lengths.tolist() == [4, 94, 196]
    assert any("3 episodes of a single state" in note for note in opened.notes)
    assert [part.lengths.tolist() for part in opened.chunks(120)] == [[4, 94], [196]]


def minari_dataset(name="lab/other-v0", layout="hdf5", count=12, keys=("observation", "achieved_goal", "desired_goal")):
    """As Minari's own mazes: observations are dictionaries."""
    import gymnasium as gym
    from minari.data_collector import EpisodeBuffer

    box = {key: gym.spaces.Box(-np.inf, np.inf, (2 if "goal" in key else 4,), np.float64) for key in keys}
    rng = np.random.default_rng(0)
    buffers = []
    for number in range(count):
        steps = int(rng.integers(1, 9))
        states = {key: rng.normal(size=(steps + 1, space.shape[0])) for key, space in box.items()}
        end = mark(steps, steps - 1)
        actions, rewards = rng.uniform(-1, 1, (steps, 2)).astype(np.float32), rng.random(steps)
        buffers.append(EpisodeBuffer(number, None, None, states, actions, rewards, end, ~end & False))
    minari.create_dataset_from_buffers(
        name,
        buffers,
        observation_space=gym.spaces.Dict(box),
        action_space=gym.spaces.Box(-1, 1, (2,), np.float32),
        data_format=layout,
    )
    return name, buffers


@pytest.mark.parametrize("layout", ["hdf5", "arrow", "parquet"])
def test_minari_dictionaries_become_the_observation_with_the_position_in_front(layout):
    name, buffers = minari_dataset(layout=layout)
    opened = open_source(name)
    read = opened.read()
    assert opened.lengths.tolist() == [len(buffer.rewards) for buffer in buffers]
    states = [np.concatenate([b.observations["achieved_goal"], b.observations["observation"]], 1) for b in buffers]
    assert np.array_equal(read.observations.numpy(), np.concatenate(states).astype(np.float32))
    actions = np.concatenate([buffer.actions for buffer in buffers])
    assert np.array_equal(read.actions[read.transitions].numpy(), actions)


def test_minari_changed_data_are_read_anew():
    name, _ = minari_dataset()
    before = open_source(name).read()
    path = Path("minari") / name / "data" / "main_data.hdf5"
    with h5py.File(path, "a") as file:
        file["episode_0/actions"][0] = 0.25
    after = open_source(name).read()
    assert after.sha256 != before.sha256 and after.actions[0].tolist() == [0.25, 0.25]


def papers_pickle(name="paper.pkl", **changed):
    rng = np.random.default_rng(0)
    achieved = rng.normal(size=(9, 2))
    parts = {
        "episode_id": np.repeat([0, 1, 4], [3, 4, 2]),
        "observation": np.concatenate([achieved, rng.normal(size=(9, 2))], 1),
        "achieved_goal": achieved,
    }
    values = {"observations": {**parts, **changed}, "actions": np.ones((9, 2)), "terminations": np.zeros(9)}
    Path(name).write_bytes(pickle.dumps(values))
    return name


def test_the_papers_pickles_are_read_when_asked_for():
    opened = open_source(papers_pickle(), unsafe_pickle=True)
    assert opened.lengths.tolist() == [2, 3, 1] and opened.observations.shape == (4,)


def test_a_pickle_is_not_opened_unasked():
    class Bomb:
        def __reduce__(self):
            return Path.touch, (Path("executed"),)

    Path("bomb.pkl").write_bytes(pickle.dumps(Bomb()))
    assert "--unsafe-pickle" in refusal("bomb.pkl")
    np.savez("bomb.npz", observations=np.array([Bomb()]), actions=np.zeros(1), terminals=np.ones(1))
    assert "Python objects" in refusal("bomb.npz")
    assert not Path("executed").exists()


# Damage


def npz_file(name="damaged.npz", **changed):
    values = {"observations": np.zeros((12, 3), np.float32), "actions": np.zeros((12, 2), np.float32)}
    values |= {"terminals": mark(12, 4, 11), **changed}
    np.savez(name, **{key: value for key, value in values.items() if value is not None})
    return name


NAN = np.zeros((12, 3), np.float32)
NAN[7, 1] = np.nan


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"observations": None}, "no array 'observations'"),
        ({"terminals": None}, "nothing tells where episodes end"),
        ({"observations": np.zeros((11, 3))}, "12 actions, expected as many as observations, which are 11"),
        ({"observations": np.zeros((12, 3, 64))}, "images are not supported; observations have shape (12, 3, 64)"),
        ({"observations": np.zeros((12, 3), complex)}, "observations are of type complex128, expected numbers"),
        ({"observations": np.array([["a"] * 3] * 12)}, "observations are of type <U1"),
        ({"observations": np.zeros((0, 3)), "actions": np.zeros((0, 2)), "terminals": np.zeros(0)}, "0 observations"),
        ({"observations": NAN}, "episode 1: observations at step 2 are not finite"),
        ({"actions": NAN[:, :2]}, "episode 1: actions at step 2 are not finite"),
        ({"observations": np.full((12, 3), 1e300)}, "not finite in float32"),
        ({"observations": np.asfortranarray(np.zeros((12, 3)))}, "stored by columns"),
        (
            {"terminals": mark(12, 4, 5, 11)},
            "terminals come in clusters (3 rows): labels of states, not ends; expected",
        ),
        ({"terminals": np.linspace(0, 1, 12)}, "terminals hold 0.09"),
    ],
)
def test_damage_to_an_npz_file_is_named(changed, message):
    assert message in refusal(npz_file(**changed))


def test_an_npz_bomb_is_refused():
    zeros = np.zeros((4_000_000, 1), np.float32)
    np.savez_compressed("bomb.npz", observations=zeros, actions=zeros, terminals=mark(4_000_000, -1))
    assert "times its size" in refusal("bomb.npz")


def test_an_array_that_is_shorter_than_its_header_says_is_refused():
    stream = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 3)}
    np.lib.format.write_array_header_2_0(stream, header)
    with zipfile.ZipFile(npz_file(observations=None), "a") as archive:
        archive.writestr("observations.npy", stream.getvalue() + bytes(144))
    assert "observations has" in refusal("damaged.npz")


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"observations": None}, "no dataset 'observations'"),
        ({"terminals": None}, "nothing tells where episodes end"),
        ({"actions": np.zeros((11, 2))}, "11 actions, expected as many as observations"),
        ({"observations": NAN, "timeouts": mark(12, 4, 11)}, "episode 1: observations at step 2 are not finite"),
        ({"rewards": NAN[:, 1], "timeouts": mark(12, 11)}, "episode 0: rewards at step 7 are not finite"),
        ({"terminals": np.full(12, 2)}, "terminals hold 2 at row 0"),
        ({"timeouts": np.ones(12)}, "no episode has a transition"),
        ({"actions": np.zeros(12)}, "actions have shape (12,)"),
        ({"observations": b"text"}, "observations: expected a dataset of rows"),
        ({"next_observations": np.zeros((12, 2))}, "another shape"),
        ({"metadata/stitchrl": "{"}, "metadata/stitchrl: expected JSON"),
    ],
)
def test_damage_to_a_d4rl_file_is_named(changed, message):
    with h5py.File("damaged.hdf5", "w") as file:
        values = {"observations": np.zeros((12, 3)), "actions": np.zeros((12, 2)), "terminals": np.zeros(12)}
        for key, value in {**values, **changed}.items():
            if value is not None:
                file[key] = value
    assert message in refusal("damaged.hdf5")


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"episode_id": np.array([0, 0, 0, 4, 4, 1, 1, 1, 1])}, "episode_id falls to 1 at row 5"),
        ({"episode_id": np.array([0, 0, 0, 1, 2, 2, 2, 2, 2])}, "episode_id 1 has one row"),
        ({"achieved_goal": np.zeros((8, 2))}, "8 achieved_goal"),
        ({"observation": [[1.0], [1.0, 2.0]]}, "expected the paper's dictionary"),
    ],
)
def test_damage_to_a_pickle_is_named(changed, message):
    assert message in refusal(papers_pickle(**changed), unsafe_pickle=True)


def test_a_pickle_of_something_else_is_named():
    Path("other.pkl").write_bytes(pickle.dumps([1, 2]))
    assert "expected the paper's dictionary" in refusal("other.pkl", unsafe_pickle=True)
    Path("other.pkl").write_bytes(b"no pickle")
    assert "expected a pickle" in refusal("other.pkl", unsafe_pickle=True)


def test_minari_shapes_that_differ_are_named():
    write("lab/x-v0", of_episodes("memory", tiny(), {}))
    with h5py.File("minari/lab/x-v0/data/main_data.hdf5", "a") as file:
        states = file["episode_3/observations"][:, :3]
        del file["episode_3/observations"]
        file["episode_3/observations"] = states
    assert "episode_3: observations of shape" in refusal("lab/x-v0")


@pytest.mark.parametrize("name", ["file.hdf5", "file.npz", "file.pkl", "lab/file-v0"])
def test_what_is_not_there_or_not_what_its_ending_says_is_one_line(name):
    refusal(name, unsafe_pickle=True)
    if "." in name:
        Path(name).write_bytes(b"something else")
        refusal(name, unsafe_pickle=True)
        Path(name).write_bytes(b"")
        refusal(name, unsafe_pickle=True)


# The command


def run(monkeypatch, *arguments):
    return command(convert, monkeypatch, *arguments)


def test_convert(monkeypatch, capsys):
    write("file.hdf5", of_episodes("memory", tiny(), METADATA))
    assert run(monkeypatch, "file.hdf5", "new.npz") == 0
    out, err = capsys.readouterr()
    assert out.startswith("new.npz: 23 episodes") and "new.npz: no rewards" in err
    assert run(monkeypatch, "file.hdf5", "new.npz") == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("new.npz: exists already; --overwrite replaces it")
    assert run(monkeypatch, "new.npz", "lab/new-v0") == 0
    assert run(monkeypatch, "new.npz", "lab/new-v0", "--overwrite") == 0
    assert open_source("lab/new-v0").read().sha256 == tiny().sha256


@pytest.mark.parametrize("layout", ["arrow", "parquet"])
def test_convert_writes_arrow_and_parquet_where_asked(layout, monkeypatch):
    episodes = tiny()
    write("file.hdf5", of_episodes("memory", episodes, METADATA))
    assert run(monkeypatch, "file.hdf5", "lab/new-v0", "--minari-format", layout) == 0
    shutil.rmtree("minari/lab/new-v0/flat")  # so that Minari's own files are read
    opened = open_source("lab/new-v0")
    assert opened.metadata == METADATA
    read = opened.read()
    assert read.sha256 == episodes.sha256
    assert read.rewards[read.transitions].equal(episodes.rewards[episodes.transitions])
    stored = minari.load_dataset("lab/new-v0")
    assert stored.storage.metadata["data_format"] == layout
    for number, episode in enumerate(stored.iterate_episodes()):
        first, last = episodes.first[number], episodes.last[number]
        assert np.array_equal(episode.observations, episodes.observations[first : last + 1])
        assert np.array_equal(episode.actions, episodes.actions[first:last])


def test_arrow_is_refused_without_pyarrow_and_for_a_file(monkeypatch, capsys, here):
    write("file.hdf5", of_episodes("memory", tiny(), {}))
    assert run(monkeypatch, "file.hdf5", "new.npz", "--minari-format", "arrow") == 2
    assert capsys.readouterr().err == "stitchrl: --minari-format: new.npz is a file, a Minari id expected\n"
    monkeypatch.delitem(sys.modules, "minari.dataset._storages.arrow_storage", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert run(monkeypatch, "file.hdf5", "lab/new-v0", "--minari-format", "arrow") == 2
    assert capsys.readouterr().err.endswith("writing arrow needs pyarrow: pip install 'stitchrl[arrow]'\n")
    assert not any(path.is_file() for path in (here / "minari").rglob("*"))


def test_convert_cut_keeps_the_transitions(monkeypatch):
    write("file.hdf5", of_episodes("memory", tiny(), METADATA))
    assert run(monkeypatch, "file.hdf5", "cut.hdf5", "--cut", "3") == 0
    whole, pieces = open_source("file.hdf5"), open_source("cut.hdf5")
    assert pieces.lengths.max() == 3
    assert pieces.read().transitions_sha256 == whole.read().transitions_sha256
    assert pieces.metadata == {}


def test_convert_cut_parts_the_tasks_of_a_file(monkeypatch, capsys):
    line = np.stack([np.linspace(0, 8, 80), np.zeros(80)], 1)
    write("file.hdf5", of_episodes("memory", make_episodes([line] * 5), {}))
    Path("tasks.yaml").write_text(
        "achieved_goal: {columns: [1, 0]}\n"
        "tasks: [{name: t, start: {center: [0, 1], radius: 0.2}, goal: {center: [0, 3], radius: 0.2}}]\n"
    )
    assert run(monkeypatch, "file.hdf5", "cut.npz", "--cut", "60", "--tasks", "tasks.yaml") == 0
    pieces = open_source("cut.npz").read()
    for states in np.split(pieces.observations.numpy(), pieces.last[:-1].numpy() + 1):
        assert not (np.abs(states[:, 0] - 1).min() <= 0.2 and np.abs(states[:, 0] - 3).min() <= 0.2)
    Path("tasks.yaml").write_text(Path("tasks.yaml").read_text().replace("[1, 0]", "[1, 9]"))
    assert run(monkeypatch, "file.hdf5", "other.npz", "--cut", "60", "--tasks", "tasks.yaml") == 2
    assert "columns: 9 given" in capsys.readouterr().err


def test_a_failed_conversion_leaves_nothing(monkeypatch, here):
    npz_file(observations=NAN)
    for destination in ("new.hdf5", "new.npz", "lab/new-v0"):
        assert run(monkeypatch, "damaged.npz", destination) == 2
    left = [path.name for path in here.rglob("*") if path.is_file()]
    assert left == ["damaged.npz"]


def changes(content: bytes, rng) -> bytes:
    """A file with some bytes changed, removed, doubled, or cut off."""
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        at, length = int(rng.integers(len(damaged))), int(rng.integers(1, 40))
        kind = rng.integers(4)
        if kind == 0:
            damaged[at : at + length] = rng.bytes(len(damaged[at : at + length]))
        elif kind == 1:
            del damaged[at : at + length]
        elif kind == 2:
            damaged[at:at] = damaged[at : at + length]
        else:
            del damaged[max(1, at) :]
    return bytes(damaged)


@pytest.mark.parametrize("destination", DESTINATIONS)
def test_a_damaged_file_is_one_line_or_the_same_numbers(destination, here):
    """500 damaged files: one line that names the file, or the same numbers as before; never other ones."""
    episodes = tiny(seed=1)
    manifest = {"dataset_sha256": episodes.sha256}
    write(destination, of_episodes("memory", episodes, {"manifest": manifest}))
    path, named = Path(destination), destination
    if "/" in destination:
        path = here / "minari" / destination / "data" / "main_data.hdf5"
        flat = here / "minari" / destination / "flat"
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(500):
        path.write_bytes(changes(content, rng))
        if "/" in destination:
            shutil.rmtree(flat, ignore_errors=True)
        try:
            read = open_source(destination).read()
        except ValueError as error:
            assert named in str(error) and "\n" not in str(error)
            refused += 1
        else:
            assert read.sha256 == episodes.sha256
    assert refused > 250


def test_other_data_than_were_stored_are_refused(monkeypatch, capsys):
    episodes = tiny()
    write("lab/x-v0", of_episodes("memory", episodes, {"manifest": {"dataset_sha256": episodes.sha256}}))
    assert run(monkeypatch, "lab/x-v0", "x.npz") == 0
    with h5py.File("minari/lab/x-v0/data/main_data.hdf5", "a") as file:
        file["episode_4/actions"][0] += 0.5
    assert "its data have the hash" in refusal("lab/x-v0")
    assert run(monkeypatch, "lab/x-v0", "y.npz") == 2
    assert "lab/x-v0: its data have the hash" in capsys.readouterr().err and not Path("y.npz").exists()
