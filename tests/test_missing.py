"""Every key of a file is read, is said not to be read, or is an error: what is missing is never taken for zeros."""

import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_formats import papers_pickle, refusal

from stitchrl.data.formats import open_source

ROWS = 41 * 5
RNG = np.random.default_rng(0)
COLUMNS = {
    "observations": RNG.normal(size=(ROWS, 4)),
    "actions": RNG.normal(size=(ROWS, 2)),
    "rewards": RNG.normal(size=ROWS),
    "timeouts": np.arange(ROWS) % 41 == 40,
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hdf5(name: str = "file.hdf5", without: str = "", **more: object) -> str:
    columns = {key: values for key, values in COLUMNS.items() if key != without}
    with h5py.File(name, "w") as file:
        for key, values in {**columns, **more}.items():
            file[key] = values
    return name


# Links


@pytest.mark.parametrize("key", ["observations", "rewards", "timeouts", "next_observations", "virtual"])
@pytest.mark.parametrize(
    "link, target",
    [
        (h5py.SoftLink("/raw/states"), "/raw/states"),
        (h5py.ExternalLink("gone.hdf5", "/states"), "/states in gone.hdf5"),
    ],
)
def test_a_link_to_nothing_is_not_taken_for_a_key_that_is_not_there(key, link, target):
    name = hdf5(without=key, **{key: link})
    assert f"{key}: expected a dataset or group, found a link to {target}, which is missing" in refusal(name)


def test_links_that_lead_somewhere_are_followed():
    hdf5("there.hdf5", without="timeouts")
    name = hdf5(without="rewards", raw=COLUMNS["rewards"], rewards=h5py.SoftLink("/raw"))
    with h5py.File(name, "a") as file:
        del file["observations"]
        file["observations"] = h5py.ExternalLink("there.hdf5", "/observations")
    opened = open_source(name)
    assert opened.read().sha256 == open_source(hdf5("whole.hdf5")).read().sha256
    assert opened.rewarded and opened.notes == ("not read: raw",)


def test_links_that_nobody_reads_are_named_and_not_followed():
    name = hdf5(**{"infos/goal": h5py.SoftLink("/gone"), "infos/all": h5py.SoftLink("/"), "more": np.zeros(2)})
    with h5py.File(name, "a") as file:
        file["infos/itself"] = file["infos"]  # a group within itself
    assert open_source(name).notes == ("not read: infos/all (a link to /), infos/goal (a link to /gone), more",)


def test_keys_of_other_groups_are_not_taken_for_those_that_are_read():
    """A bug once: whatever ended in /rewards passed for the rewards that were read."""
    name = hdf5(without="rewards", **{"infos/rewards": COLUMNS["rewards"], "eval/observations": np.zeros(3)})
    opened = open_source(name)
    assert not opened.rewarded
    assert opened.notes == ("not read: eval/observations, infos/rewards",)


def test_what_lies_beside_the_parts_of_a_chunked_file_is_named():
    with h5py.File("parts.hdf5", "w") as file:
        for part in range(5):
            for key, values in COLUMNS.items():
                file[f"virtual/{part}/{key}"] = values[part * 41 : part * 41 + 41]
        file["observations"], file["virtual/2/infos"] = COLUMNS["observations"], np.zeros(3)
    opened = open_source("parts.hdf5")
    assert opened.notes == ("not read: observations, virtual/2/infos",)
    assert opened.read().sha256 == open_source(hdf5()).read().sha256
    with h5py.File("parts.hdf5", "a") as file:
        del file["virtual/3"]
        file["virtual/3"] = h5py.ExternalLink("gone.hdf5", "/3")
    assert "virtual/3: expected a dataset or group, found a link to /3 in gone.hdf5" in refusal("parts.hdf5")


# Rows that HDF5 gives as zeros


def virtual(rows: int = ROWS, key: str = "observations", mapped: int = ROWS) -> str:
    """A file one of whose keys is a virtual dataset of another file in the same folder."""
    Path("there").mkdir(exist_ok=True)
    with h5py.File("there/shard.hdf5", "w") as file:
        file["shard"] = COLUMNS[key][:rows]
    name = hdf5("there/file.hdf5", without=key)
    layout = h5py.VirtualLayout(COLUMNS[key].shape, COLUMNS[key].dtype)
    whole = h5py.VirtualSource("shard.hdf5", "shard", COLUMNS[key].shape)
    if mapped == ROWS:
        layout[...] = whole
    else:
        layout[:mapped] = whole[:mapped]
    with h5py.File(name, "a") as file:
        file.create_virtual_dataset(key, layout)
    return name


@pytest.mark.parametrize("key", ["observations", "timeouts"])
def test_virtual_datasets_are_read_where_their_sources_are(key, here, monkeypatch):
    name, whole = virtual(key=key), open_source(hdf5()).read().sha256
    assert open_source(name).read().sha256 == whole
    assert open_source(str(here / name)).read().sha256 == whole
    Path("link.hdf5").symlink_to(name)  # HDF5 looks beside the file that the link leads to
    assert open_source("link.hdf5").read().sha256 == whole
    shutil.copy(name, "moved.hdf5")
    assert f"moved.hdf5: {key}: a virtual dataset of shard in shard.hdf5, which is missing" in refusal("moved.hdf5")
    monkeypatch.setenv("HDF5_VDS_PREFIX", str(here / "there"))
    assert open_source("moved.hdf5").read().sha256 == whole


def test_virtual_datasets_of_sources_that_lack_something_are_refused():
    assert "a virtual dataset of shard in shard.hdf5, which has fewer rows" in refusal(virtual(rows=ROWS - 1))
    assert "which has fewer rows" in refusal(virtual(rows=100, mapped=ROWS - 41))
    assert "some or all of whose rows have no source" in refusal(virtual(mapped=ROWS - 41))
    name = virtual()
    with h5py.File("there/shard.hdf5", "a") as file:
        file.move("shard", "other")
    assert "a virtual dataset of shard in shard.hdf5, which has no such dataset" in refusal(name)


def test_virtual_datasets_of_virtual_datasets_are_followed():
    name = virtual()
    layout = h5py.VirtualLayout(COLUMNS["observations"].shape, float)
    layout[...] = h5py.VirtualSource("there/file.hdf5", "observations", COLUMNS["observations"].shape)
    with h5py.File(hdf5("outer.hdf5", without="observations"), "a") as file:
        file.create_virtual_dataset("observations", layout)
    assert open_source("outer.hdf5").read().sha256 == open_source(name).read().sha256
    Path("there/shard.hdf5").unlink()
    assert "shard.hdf5, which is missing" in refusal_of_either("outer.hdf5")


def refusal_of_either(name: str) -> str:
    with pytest.raises(ValueError) as caught:
        open_source(name)
    return str(caught.value)


@pytest.mark.parametrize("chunks", [None, (10, 4)])
@pytest.mark.parametrize("written", [0, 60])
def test_rows_that_were_never_written_are_not_zeros(chunks, written):
    """As a process that was killed leaves them; a contiguous dataset only shows when all are missing."""
    with h5py.File(hdf5(without="observations"), "a") as file:
        states = file.create_dataset("observations", (ROWS, 4), "f4", chunks=chunks)
        states[:written] = COLUMNS["observations"][:written]
    if chunks or not written:
        assert "observations: some or all of its rows were never written" in refusal("file.hdf5")
    with h5py.File("file.hdf5", "a") as file:
        file["observations"][...] = COLUMNS["observations"]
    assert len(open_source("file.hdf5").lengths) == 5


def test_an_external_file_that_is_missing_or_too_short_is_named():
    with h5py.File(hdf5(without="observations"), "a") as file:
        file.create_dataset("observations", (ROWS, 4), float, external=[("raw.bin", 0, ROWS * 32)])
    raw = COLUMNS["observations"].tobytes()
    Path("raw.bin").write_bytes(raw)
    assert open_source("file.hdf5").read().sha256 == open_source(hdf5("whole.hdf5")).read().sha256
    for content in (raw[:-1], b""):
        Path("raw.bin").write_bytes(content)
        assert "observations: its numbers lie in raw.bin, which is missing or too short" in refusal("file.hdf5")
    Path("raw.bin").unlink()
    assert "raw.bin, which is missing or too short" in refusal("file.hdf5")


# Arrays that nobody reads


def npz(name: str = "file.npz", **more: object) -> str:
    columns = {key: values for key, values in COLUMNS.items() if key != "timeouts"}
    np.savez_compressed(name, **{**columns, "terminals": COLUMNS["timeouts"], **more})
    return name


def test_arrays_that_nobody_reads_may_be_anything():
    """Objects, other lengths, nothing but zeros, arrays stored by columns, files that are no arrays."""
    name = npz(
        button_states=np.zeros((400_000, 9), np.int64),
        infos=np.array([{"goal": 1}], object),
        qpos=np.asfortranarray(np.ones((7, 3))),
        date=np.array("today"),
    )
    with zipfile.ZipFile(name, "a") as archive:
        archive.writestr("README.txt", "hello")
        archive.writestr("broken.npy", "no array")
    opened = open_source(name)
    assert opened.read().sha256 == open_source(npz("plain.npz")).read().sha256
    assert opened.notes == ("not read: README.txt, broken, button_states, date, infos, qpos",)
    name = hdf5(infos=np.array([b"x"]), empty=h5py.Empty("f"), images=np.zeros((3, 8, 8, 3), np.uint8))
    assert open_source(name).notes == ("not read: empty, images, infos",)


@pytest.mark.parametrize("name", ["visual.npz", "visual.hdf5"])
def test_images_are_refused_as_images_however_small_they_pack(name):
    images = np.zeros((ROWS, 128, 128, 3), np.uint8)  # 1,000 times smaller in the file
    name = npz(name, observations=images) if name.endswith("npz") else hdf5(name, observations=images)
    assert refusal(name) == (
        f"{name}: images are not supported; observations have shape (205, 128, 128, 3), expected a row of numbers for "
        "each step"
    )


def test_states_that_rarely_change_are_no_bomb():
    """A world of integers in which hardly anything happens: one of four numbers changes now and then."""
    rng, count = np.random.default_rng(0), 100_000
    states = np.zeros((count, 4), np.int64)
    flips = rng.integers(0, count, 50)
    states[flips, rng.integers(0, 4, 50)] = 1
    states = np.bitwise_xor.accumulate(states, 0)
    actions = rng.normal(size=(count, 2))
    np.savez_compressed("still.npz", observations=states, actions=actions, terminals=np.arange(count) % 100 == 99)
    with zipfile.ZipFile("still.npz") as archive:
        info = archive.getinfo("observations.npy")
        assert info.file_size > 200 * info.compress_size + 2**20
    assert len(open_source("still.npz").lengths) == 1000


def test_rewards_beside_transitions_are_read_from_an_npz_file_too():
    read = open_source(npz()).read()
    assert read.rewards is not None
    assert np.array_equal(read.rewards[read.transitions].numpy(), COLUMNS["rewards"][~COLUMNS["timeouts"]].astype("f4"))


def test_a_pickle_says_what_is_not_read():
    opened = open_source(papers_pickle(desired_goal=np.zeros((9, 2))), unsafe_pickle=True)
    assert opened.notes == ("not read: desired_goal, terminations",)
