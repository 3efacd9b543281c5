"""Minari datasets: where generated datasets live, and other people's.

Written with Minari's own writer, as HDF5 unless asked otherwise. HDF5 is read with h5py, since Minari 0.5's reader
builds a Python object for every episode; Arrow and Parquet are read with Minari's reader. No environment is ever made.

Either takes long for a million steps in thousands of episodes, so a flat copy lies beside the data, one array to a
file; it is used as long as the data are those that it was made from.
"""

import json
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import h5py
import minari
import numpy as np
import torch
from minari.data_collector import EpisodeBuffer

from stitchrl.data.episodes import Episodes
from stitchrl.data.formats.source import ROWS, Source, assemble, spans, with_position

NAMESPACE = "stitchrl"
OURS = ("manifest", "certificate", "contexts")  # what we add to a dataset's metadata
COLUMNS = ("observations", "actions", "rewards")
LAYOUTS = ("hdf5", "arrow", "parquet")  # by Minari's names


class Steps(NamedTuple):
    """One episode as Minari holds it."""

    observations: np.ndarray  # [T + 1, obs_dim]
    actions: np.ndarray  # [T, act_dim]
    rewards: np.ndarray  # [T]


def root() -> Path:
    """Where Minari keeps datasets: $MINARI_DATASETS_PATH or ~/.minari/datasets."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")


def folder(name: str) -> Path:
    """The folder of the dataset `stitchrl/<name>`."""
    return root() / NAMESPACE / name


def read(name: str) -> Episodes:
    """All episodes of the dataset `stitchrl/<name>`. ValueError that names the file, the episode and the key."""
    return open_source(f"{NAMESPACE}/{name}").read()


def read_metadata(name: str) -> dict[str, Any]:
    """What we stored of the dataset `stitchrl/<name>`. ValueError where the file is no Minari dataset of ours."""
    path = folder(name) / "data" / "metadata.json"
    try:
        values = json.loads(path.read_text())
        return {key: json.loads(values[key]) for key in OURS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected the metadata of a stitchrl dataset, found {error!r}") from error


def open_source(dataset_id: str) -> Source:
    """Raises ValueError that names the file, the episode and the key."""
    place = root() / dataset_id
    path = place / "data" / "metadata.json"
    try:
        values = json.loads(path.read_text())
        layout, count, steps = values["data_format"], int(values["total_episodes"]), int(values["total_steps"])
        metadata = {key: json.loads(values[key]) for key in OURS if key in values}
        origin = json.loads(values.get("env_spec") or "{}").get("id", dataset_id)
    except FileNotFoundError as error:
        raise ValueError(f"{place}: no dataset there; expected a Minari id, a .hdf5 file or a .npz file") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: expected the metadata of a Minari dataset, found {error!r}") from error
    if layout not in LAYOUTS:
        raise ValueError(f"{path}: data_format is {layout!r}, expected one of {', '.join(LAYOUTS)}")
    stamp = _stamp(place / "data")
    if _read_stamp(place / "flat") != stamp:
        held_in = place / "data" / "main_data.hdf5" if layout == "hdf5" else place / "data"
        episodes = _read_hdf5(held_in, count) if layout == "hdf5" else _read_arrow(place)
        _write_flat(place / "flat", stamp, _gather(held_in, episodes, count), steps + count)
    flat = {key: np.load(place / "flat" / f"{key}.npy", mmap_mode="r") for key in COLUMNS}
    lengths = np.load(place / "flat" / "lengths.npy")

    def chunks(rows: int) -> Iterator[Episodes]:
        ends = (lengths + 1).cumsum()
        for first, last in spans(lengths, rows):
            a, b = int(ends[first] - lengths[first] - 1), int(ends[last - 1])
            held = [torch.from_numpy(np.array(flat[key][a:b])) for key in COLUMNS]
            yield Episodes(held[0], held[1], held[2], torch.from_numpy(lengths[first:last]))

    widths = flat["observations"].shape[1], flat["actions"].shape[1]
    return Source(dataset_id, lengths, *widths, True, chunks, metadata, origin)


def _stamp(data: Path) -> str:
    """What changes when the data do: names, sizes and times of last change of their files."""
    files = sorted(path for path in data.rglob("*") if path.is_file())
    return json.dumps([[str(path.relative_to(data)), path.stat().st_size, path.stat().st_mtime_ns] for path in files])


def _read_stamp(flat: Path) -> str | None:
    try:
        return (flat / "stamp.json").read_text()
    except OSError:
        return None


def _write_flat(flat: Path, stamp: str, chunks: Iterable[Episodes], rows: int) -> None:
    """Write the flat copy of episodes that have so many rows together."""
    scratch = flat.with_name(f".{flat.name}.{os.getpid()}")
    scratch.mkdir(parents=True)
    try:
        columns: dict[str, np.ndarray] = {}
        lengths: list[np.ndarray] = []
        filled = 0
        for episodes in chunks:
            for key in COLUMNS:
                values = getattr(episodes, key)
                values = torch.full((len(episodes),), torch.nan) if values is None else values
                if key not in columns:
                    shape = (rows, *values.shape[1:])
                    columns[key] = np.lib.format.open_memmap(scratch / f"{key}.npy", "w+", np.float32, shape)
                if filled + len(values) <= rows:
                    columns[key][filled : filled + len(values)] = values.numpy()
            lengths.append(episodes.lengths.numpy())
            filled += len(episodes)
        if filled != rows:
            raise ValueError(f"{flat.parent}: {filled} observations in all, metadata.json has {rows}")
        for column in columns.values():
            column.flush()  # type: ignore[attr-defined]
        np.save(scratch / "lengths.npy", np.concatenate(lengths))
        (scratch / "stamp.json").write_text(stamp)
        shutil.rmtree(flat, ignore_errors=True)
        scratch.replace(flat)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _gather(held_in: Path, episodes: Iterable[Steps], count: int) -> Iterator[Episodes]:
    """Many episodes at a time from one after another, each one checked."""
    held: list[Steps] = []
    number = rows = 0
    before: Steps | None = None
    for steps in episodes:
        lengths = [len(column) for column in steps]
        where = f"{held_in}: episode_{number}"
        if lengths != [lengths[1] + 1, lengths[1], lengths[1]] or lengths[1] == 0:
            found = ", ".join(f"{n} {key}" for n, key in zip(lengths, COLUMNS, strict=True))
            raise ValueError(f"{where}: {found}; expected T + 1, T and T, T at least 1")
        for key, column, like in zip(COLUMNS, steps, before or steps, strict=True):
            if column.dtype.kind not in "fiu" or column.ndim != (1 if key == "rewards" else 2):
                raise ValueError(f"{where}: {key} are {column.dtype} of shape {column.shape}, expected rows of numbers")
            if column.shape[1:] != like.shape[1:]:
                raise ValueError(f"{where}: {key} of shape {column.shape}, {like.shape} in an episode before")
        held.append(steps)
        before = steps
        number, rows = number + 1, rows + lengths[0]
        if rows >= ROWS or number == count:
            void = [[steps.observations, _longer(steps.actions), _longer(steps.rewards)] for steps in held]
            columns = [np.concatenate(parts, dtype=np.float32) for parts in zip(*void, strict=True)]
            taken = np.array([len(steps.actions) for steps in held])
            yield assemble(str(held_in), number - len(held), columns[0], columns[1], columns[2], taken)
            held, rows = [], 0
    if number != count or count == 0:
        raise ValueError(f"{held_in}: {number} episodes, metadata.json has {count}; at least one is expected")


def _longer(values: np.ndarray) -> np.ndarray:
    """With a last row that is void."""
    return np.concatenate([values, np.zeros_like(values[:1])])


def _read_hdf5(path: Path, count: int) -> Iterator[Steps]:
    try:
        with h5py.File(path, "r") as file:
            for number in range(count):  # by number: in lexical order 10 comes before 2
                where = f"{path}: episode_{number}"
                group = file.get(f"episode_{number}")
                if not isinstance(group, h5py.Group):
                    raise ValueError(f"{where} is missing, {count} episodes expected")
                for key in COLUMNS:
                    if key not in group:
                        raise ValueError(f"{where}: no dataset {key!r}")
                yield Steps(*(_array(where, key, group[key]) for key in COLUMNS))
    except (OSError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path}: expected a readable HDF5 file, found {error}") from error


def _array(where: str, key: str, value: Any) -> np.ndarray:
    """Of a dictionary of observations its `observation`, with the achieved goal in front if it is not there already."""
    if isinstance(value, h5py.Group | dict):
        if key != "observations" or "observation" not in value:
            raise ValueError(f"{where}: {key} hold {', '.join(value) or 'nothing'}, expected an 'observation'")
        achieved = value["achieved_goal"][()] if "achieved_goal" in value else None
        value = with_position(value["observation"][()], achieved)
    array = np.asarray(value[()])
    if array.ndim == 0:
        raise ValueError(f"{where}: {key} are one value, expected one for each step")
    return array


def _read_arrow(place: Path) -> Iterator[Steps]:
    try:
        dataset = minari.load_dataset(str(place.relative_to(root())))
        for episode in dataset.iterate_episodes():
            where = f"{place / 'data'}: episode_{episode.id}"
            yield Steps(*(_array(where, key, getattr(episode, key)) for key in COLUMNS))
    except ImportError as error:
        raise ValueError(f"{place}: reading Arrow needs pyarrow: pip install 'stitchrl[arrow]'") from error
    except (OSError, KeyError, TypeError, IndexError, AttributeError, AssertionError) as error:
        raise ValueError(f"{place}: expected a readable Minari dataset, found {error!r}") from error


def write(
    dataset_id: str, source: Source, options: Sequence[dict] | None, description: str, layout: str = "hdf5"
) -> list[str]:
    """Store a dataset whole or not at all: written into a scratch folder beside its place, then renamed.

    options: what each episode was reset with. An episode of ours that ends with a reward of 1 terminated, unless its
    specification gives a length; any other was truncated. layout: one of `LAYOUTS`. Returns what the format does not
    hold. Raises OSError where nothing can be written.
    """
    place = root() / dataset_id
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = place.parent / f".{place.name}.{os.getpid()}.partial"
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(scratch)  # the only way to tell Minari where to write
    bound = 1 if source.metadata else np.inf
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of fields whose place is taken by our manifest
            dataset = minari.create_dataset_from_buffers(
                dataset_id,
                _buffers(source, options),  # type: ignore[arg-type]  # a list that need not be in memory
                observation_space=gym.spaces.Box(-np.inf, np.inf, (source.observation_dim,), np.float32),
                action_space=gym.spaces.Box(-bound, bound, (source.action_dim,), np.float32),
                author="stitchrl",
                description=description,
                data_format=layout,
            )
        dataset.storage.update_metadata({key: json.dumps(value) for key, value in source.metadata.items()})
        written = scratch / dataset_id
        _write_flat(written / "flat", _stamp(written / "data"), source.stream(ROWS), source.rows)
        if place.exists():
            shutil.rmtree(place)
        os.replace(written, place)
    except ImportError as error:
        raise ValueError(f"{place}: writing {layout} needs pyarrow: pip install 'stitchrl[arrow]'") from error
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before
        shutil.rmtree(scratch, ignore_errors=True)
    return [] if source.rewarded else ["rewards, which it must have, are all 0"]


def _buffers(source: Source, options: Sequence[dict] | None) -> Iterator[EpisodeBuffer]:
    spec = source.metadata.get("manifest", {}).get("spec", {})
    ends_at_goal = bool(source.metadata) and spec.get("length") is None
    number = 0
    for episodes in source.stream(ROWS):
        for first, last in zip(episodes.first.tolist(), episodes.last.tolist(), strict=True):
            end = np.zeros(last - first, bool)
            end[-1] = True
            rewards = np.zeros(last - first, np.float32)
            if episodes.rewards is not None:
                rewards = episodes.rewards[first:last].numpy()
            terminated = end & (rewards == 1) & ends_at_goal
            yield EpisodeBuffer(
                id=number,
                options=options[number] if options else None,
                observations=episodes.observations[first : last + 1].numpy(),
                actions=episodes.actions[first:last].numpy(),
                rewards=rewards,
                terminations=terminated,
                truncations=end & ~terminated,
            )
            number += 1
