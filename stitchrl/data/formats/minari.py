"""Minari datasets (HDF5): where generated datasets live.

Written with Minari's own writer; read with h5py, since 0.5's reader builds a Python object for every episode.
"""

import json
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import minari
import numpy as np
import torch
from minari.data_collector import EpisodeBuffer

from stitchrl.data.episodes import Episodes

NAMESPACE = "stitchrl"


def root() -> Path:
    """Where Minari keeps datasets: $MINARI_DATASETS_PATH or ~/.minari/datasets."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")


def folder(name: str) -> Path:
    """The folder of the dataset `stitchrl/<name>`."""
    return root() / NAMESPACE / name


def write(name: str, episodes: Episodes, options: Sequence[dict], metadata: dict[str, Any], description: str) -> None:
    """Store a dataset whole or not at all: written into a scratch folder beside its place, then renamed.

    options: what each episode was reset with. metadata: JSON-ready values, each stored as a JSON string. An episode
    that ends with a reward of 1 terminated, any other was truncated. Raises OSError where nothing can be written.
    """
    place = folder(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = place.parent / f".{name}.{os.getpid()}.partial"
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(scratch)  # the only way to tell Minari where to write
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of fields whose place is taken by our manifest
            dataset = minari.create_dataset_from_buffers(
                f"{NAMESPACE}/{name}",
                [_buffer(episodes, number, options[number]) for number in range(len(episodes.lengths))],
                observation_space=gym.spaces.Box(-np.inf, np.inf, episodes.observations.shape[1:], np.float32),
                action_space=gym.spaces.Box(-1, 1, episodes.actions.shape[1:], np.float32),
                author="stitchrl",
                description=description,
                data_format="hdf5",
            )
        dataset.storage.update_metadata({key: json.dumps(value) for key, value in metadata.items()})
        written = scratch / NAMESPACE / name
        _save_flat(written / "flat.npz", _stamp(written / "data" / "main_data.hdf5"), episodes)
        if place.exists():
            shutil.rmtree(place)
        os.replace(written, place)
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before
        shutil.rmtree(scratch, ignore_errors=True)


def _buffer(episodes: Episodes, number: int, options: dict) -> EpisodeBuffer:
    first, last = int(episodes.first[number]), int(episodes.last[number])
    assert episodes.rewards is not None
    rewards = episodes.rewards[first:last].numpy()
    end = np.zeros(len(rewards), bool)
    end[-1] = True
    return EpisodeBuffer(
        id=number,
        options=options,
        observations=episodes.observations[first : last + 1].numpy(),
        actions=episodes.actions[first:last].numpy(),
        rewards=rewards,
        terminations=end & (rewards == 1),
        truncations=end & (rewards != 1),
    )


def read_metadata(name: str) -> dict[str, Any]:
    """The metadata that `write` stored. Raises ValueError where the file is no Minari dataset of ours."""
    path = folder(name) / "data" / "metadata.json"
    try:
        values = json.loads(path.read_text())
        return {key: json.loads(values[key]) for key in ("manifest", "certificate", "contexts")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected the metadata of a stitchrl dataset, found {error!r}") from error


def read(name: str) -> Episodes:
    """All episodes, in the order of their numbers. Raises ValueError that names the file, the episode and the key.

    HDF5 takes long for a million steps in thousands of groups, so a flat copy lies beside the data; it is used as long
    as the data file is the one that it was made from.
    """
    path = folder(name) / "data" / "main_data.hdf5"
    flat = folder(name) / "flat.npz"
    try:
        stamp = _stamp(path)
    except OSError as error:
        raise ValueError(f"{path}: expected an HDF5 file, found none") from error
    if flat.exists():
        with np.load(flat) as file:
            if file["stamp"].tolist() == stamp:
                return Episodes(*(torch.from_numpy(file[key]) for key in _COLUMNS))
    episodes = _read_hdf5(path)
    _save_flat(flat, stamp, episodes)
    return episodes


_COLUMNS = ("observations", "actions", "rewards", "lengths")


def _stamp(path: Path) -> list[int]:
    """What changes when a file does: its size and the time of its last change."""
    return [path.stat().st_size, path.stat().st_mtime_ns]


def _save_flat(path: Path, stamp: list[int], episodes: Episodes) -> None:
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    with open(scratch, "wb") as stream:
        np.savez(stream, stamp=np.array(stamp), **{key: getattr(episodes, key).numpy() for key in _COLUMNS})
    os.replace(scratch, path)


def _read_hdf5(path: Path) -> Episodes:
    observations: list[np.ndarray] = []
    actions: list[np.ndarray] = []
    rewards: list[np.ndarray] = []
    lengths: list[int] = []
    try:
        expected = json.loads((path.parent / "metadata.json").read_text())["total_episodes"]
        with h5py.File(path, "r") as file:
            for number in range(expected):
                where = f"{path}: episode_{number}"
                if f"episode_{number}" not in file:
                    raise ValueError(f"{where} is missing, {expected} episodes expected")
                group = file[f"episode_{number}"]
                for key in ("observations", "actions", "rewards"):
                    if not isinstance(group.get(key), h5py.Dataset):
                        raise ValueError(f"{where}: no dataset {key!r}")
                states, taken, gained = group["observations"][()], group["actions"][()], group["rewards"][()]
                if not len(states) - 1 == len(taken) == len(gained) or len(taken) == 0:
                    shapes = f"{len(states)} observations, {len(taken)} actions, {len(gained)} rewards"
                    raise ValueError(f"{where}: {shapes}; expected T + 1, T and T, T at least 1")
                if states.ndim != 2 or taken.ndim != 2 or (lengths and states.shape[1] != observations[0].shape[1]):
                    shapes = f"observations {states.shape}, actions {taken.shape}"
                    raise ValueError(f"{where}: {shapes}; expected vectors, as long as those of the episodes before")
                observations.append(states)
                actions += [taken, np.full((1, taken.shape[1]), np.nan)]
                rewards += [gained, np.array([np.nan])]
                lengths.append(len(taken))
    except (OSError, KeyError, RuntimeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: expected a readable HDF5 file, found {error}") from error
    if not lengths:
        raise ValueError(f"{path}: no episode in it")
    columns = [torch.from_numpy(np.concatenate(part, dtype=np.float32)) for part in (observations, actions, rewards)]
    return Episodes(columns[0], columns[1], columns[2], torch.tensor(lengths))
