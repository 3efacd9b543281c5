"""Minari files: what is written is read back, by us and by Minari; damage is named; a failed write leaves nothing."""

import os
from dataclasses import replace

import h5py
import minari
import numpy as np
import pytest
from conftest import make_episodes, random_walks
from minari.dataset.minari_storage import MinariStorage

from stitchrl.data.formats import minari as format_
from stitchrl.data.formats.source import of_episodes

NAME = "pointmaze-dev-tiny-v0"
COUNT = 12  # more than ten: in lexical order episode_10 would come before episode_2
METADATA = {"manifest": {"name": NAME, "half": 0.5}, "certificate": {"tasks": []}, "contexts": list(range(COUNT))}


@pytest.fixture(autouse=True)
def datasets(tmp_path, monkeypatch):
    """The folder that Minari keeps datasets in, for one test."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def write(seed=0):
    """Store a small dataset; every other episode was terminated."""
    walks = random_walks(count=COUNT, longest=6, seed=seed)
    rewards = [np.arange(len(walk) - 1) for walk in walks]
    episodes = make_episodes(walks, rewards)
    source = replace(of_episodes(NAME, episodes, METADATA), terminated=np.arange(COUNT) % 2 == 1)
    options = [{"context": number % 3} for number in range(COUNT)]
    format_.write(f"stitchrl/{NAME}", source, options, "a small dataset")
    return episodes


def main_file():
    return format_.folder(NAME) / "data" / "main_data.hdf5"


def test_episodes_and_metadata_are_read_back_as_written():
    written = write()
    read = format_.read(NAME)
    assert read.sha256 == written.sha256
    assert read.rewards[read.transitions].equal(written.rewards[written.transitions])
    assert format_.read_metadata(NAME) == METADATA


def test_minaris_own_loader_reads_the_same_episodes():
    written = write()
    dataset = minari.load_dataset(f"stitchrl/{NAME}")
    assert dataset.total_episodes == COUNT and dataset.total_steps == len(written.transitions)
    for number, episode in enumerate(dataset.iterate_episodes()):
        first, last = written.first[number], written.last[number]
        assert episode.id == number
        assert np.array_equal(episode.observations, written.observations[first : last + 1])
        assert np.array_equal(episode.actions, written.actions[first:last])
        assert np.array_equal(episode.rewards, written.rewards[first:last])
        end = np.arange(len(episode)) == len(episode) - 1
        assert np.array_equal(episode.terminations, end & (number % 2 == 1))
        assert np.array_equal(episode.truncations, end & (number % 2 == 0))
    options = [values["options"]["context"] for values in dataset.storage.get_episode_metadata(range(COUNT))]
    assert options == [number % 3 for number in range(COUNT)]


def test_writing_again_replaces_the_dataset():
    write()
    second = write(seed=1)
    assert format_.read(NAME).sha256 == second.sha256


def fail_at_our_metadata(monkeypatch):
    original = MinariStorage.update_metadata

    def update_metadata(self, metadata):
        if "manifest" in metadata:
            raise OSError("disk full")
        original(self, metadata)

    monkeypatch.setattr(MinariStorage, "update_metadata", update_metadata)


def test_a_failed_write_leaves_nothing_behind(monkeypatch, datasets):
    fail_at_our_metadata(monkeypatch)
    with pytest.raises(OSError, match="disk full"):
        write()
    assert list(format_.folder(NAME).parent.iterdir()) == []
    assert os.environ["MINARI_DATASETS_PATH"] == str(datasets)


def test_a_failed_write_leaves_the_dataset_that_was_there(monkeypatch):
    first = write()
    fail_at_our_metadata(monkeypatch)
    with pytest.raises(OSError, match="disk full"):
        write(seed=1)
    assert [path.name for path in format_.folder(NAME).parent.iterdir()] == [NAME]
    assert format_.read(NAME).sha256 == first.sha256


def message_of_reading():
    with pytest.raises(ValueError) as caught:
        format_.read(NAME)
    return str(caught.value)


def test_a_dataset_that_is_not_there_is_named():
    assert message_of_reading().startswith(f"{format_.folder(NAME)}: no dataset there")


def test_a_truncated_file_is_named():
    write()
    content = main_file().read_bytes()
    main_file().write_bytes(content[: len(content) // 2])
    assert str(main_file()) in message_of_reading()


def test_an_episode_without_its_last_state_is_named():
    write()
    with h5py.File(main_file(), "a") as file:
        states = file["episode_3/observations"][:-1]
        del file["episode_3/observations"]
        file["episode_3/observations"] = states
    message = message_of_reading()
    assert f"{main_file()}: episode_3" in message and f"{len(states)} observations" in message


@pytest.mark.parametrize("key", ["observations", "actions", "rewards"])
def test_a_missing_key_is_named_with_its_episode(key):
    write()
    with h5py.File(main_file(), "a") as file:
        del file[f"episode_7/{key}"]
    assert message_of_reading() == f"{main_file()}: episode_7: no dataset '{key}'"


def remove_episode(number):
    with h5py.File(main_file(), "a") as file:
        del file[f"episode_{number}"]


def test_a_missing_episode_is_named():
    write()
    remove_episode(5)
    assert f"{main_file()}: episode_5 is missing" in message_of_reading()


def test_a_missing_last_episode_is_named():
    write()
    remove_episode(COUNT - 1)
    assert f"{main_file()}: episode_{COUNT - 1} is missing" in message_of_reading()


def test_missing_metadata_is_named():
    write()
    path = format_.folder(NAME) / "data" / "metadata.json"
    path.write_text(path.read_text().replace("certificate", "other"))
    with pytest.raises(ValueError, match="certificate") as caught:
        format_.read_metadata(NAME)
    assert str(path) in str(caught.value)
