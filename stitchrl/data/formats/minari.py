"""Minari datasets: where generated datasets live, and other people's.

They are written with Minari's own writer, as HDF5 unless asked otherwise. HDF5 is read with h5py, since Minari 0.5's
reader builds a Python object for every episode. Arrow and Parquet are read with Minari's reader. No environment is ever
made. `minari_episodes` tells what is read of an episode. A million steps in thousands of episodes take long to read, so
a flat copy is kept.
"""

import importlib.util
import json
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import torch
from minari.data_collector import EpisodeBuffer

from stitchrl.data.episodes import Episodes
from stitchrl.data.formats.minari_episodes import Notes, gather, read_arrow, read_hdf5
from stitchrl.data.formats.minari_flat import COLUMNS, Decoding, move, open_flat, stamp_of, write_flat
from stitchrl.data.formats.source import ROWS, Column, Source, spans
from stitchrl.files import check_parent, followed, scratch

NAMESPACE = "stitchrl"
OURS = ("manifest", "certificate", "contexts")  # what we add to a dataset's metadata
LAYOUTS = ("hdf5", "arrow", "parquet")  # by Minari's names
ID = re.compile(r"(?![^/]/[^/]*$)([-\w]+/)*[-\w]+-v\d+")  # as Minari has it: no namespace of a single letter
VARIABLE = "MINARI_DATASETS_PATH"


def root() -> Path:
    """Where Minari keeps datasets: $MINARI_DATASETS_PATH or ~/.minari/datasets, as an absolute path."""
    try:
        chosen = os.environ.get(VARIABLE)
        return Path(os.path.abspath(Path(chosen).expanduser() if chosen else Path.home() / ".minari" / "datasets"))
    except RuntimeError as error:
        raise ValueError(f"{VARIABLE}: no home folder is known; set it to the folder of datasets") from error


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
        values = json.loads(path.read_text(encoding="utf-8"))
        return {key: json.loads(values[key]) for key in OURS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected the metadata of a stitchrl dataset, found {error!r}") from error


def open_source(dataset_id: str) -> Source:
    """Raises ValueError that names the file, the episode and the key."""
    place = root() / dataset_id
    path = place / "data" / "metadata.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        layout, count, steps = values["data_format"], int(values["total_episodes"]), int(values["total_steps"])
        metadata = {key: json.loads(values[key]) for key in OURS if key in values}
        origin = json.loads(values.get("env_spec") or "{}").get("id", dataset_id)
    except FileNotFoundError as error:
        raise ValueError(f"{place}: no dataset there; expected a Minari id, a .hdf5 file or a .npz file") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: expected the metadata of a Minari dataset, found {error!r}") from error
    if layout not in LAYOUTS:
        raise ValueError(f"{path}: data_format is {layout!r}, expected one of {', '.join(LAYOUTS)}")

    def decode() -> Decoding:
        notes = Notes(ours=bool(metadata))
        held_in = place / "data" / "main_data.hdf5" if layout == "hdf5" else place / "data"
        episodes = read_hdf5(held_in, count) if layout == "hdf5" else read_arrow(place)
        return Decoding(gather(held_in, episodes, count, notes), notes.sentences)

    flat = open_flat(place, decode, steps + count)

    def chunks(rows: int) -> Iterator[Episodes]:
        ends = (flat.lengths + 1).cumsum()
        for first, last in spans(flat.lengths, rows):
            a, b = int(ends[first] - flat.lengths[first] - 1), int(ends[last - 1])
            part = [torch.from_numpy(np.array(flat.columns[key][a:b])) for key in COLUMNS]
            yield Episodes(part[0], part[1], part[2], torch.from_numpy(flat.lengths[first:last]))

    observations, actions = (Column(flat.columns[key].shape[1:], flat.columns[key].dtype) for key in COLUMNS[:2])
    about = (metadata, origin, flat.notes, flat.terminated)
    return Source(dataset_id, flat.lengths, observations, actions, True, chunks, *about)


def check(dataset_id: str, layout: str = "hdf5") -> None:
    """ValueError where no dataset of this id can be stored, or something else is in its place."""
    if not ID.fullmatch(dataset_id):
        form = "a Minari id of the form NAMESPACE/NAME-v0 (letters, digits, - and _)"
        raise ValueError(f"{dataset_id}: expected {form}, or the name of a .hdf5, .h5 or .npz file")
    place = root() / dataset_id
    for above in place.relative_to(root()).parents:
        if (root() / above / "data" / "metadata.json").exists():
            raise ValueError(f"{dataset_id}: {above} is a dataset and holds no others")
    if os.path.lexists(place) and not (place / "data" / "metadata.json").is_file():
        raise ValueError(f"{dataset_id}: {place} is there and is no Minari dataset; it is never replaced")
    try:
        check_parent(place)
    except ValueError as error:
        raise ValueError(f"{error}; {VARIABLE} says where datasets are kept") from error
    if layout != "hdf5" and importlib.util.find_spec("pyarrow") is None:
        raise ValueError(f"{dataset_id}: writing {layout} needs pyarrow: pip install 'stitchrl[arrow]'")


def write(
    dataset_id: str, source: Source, options: Sequence[dict] | None, description: str, layout: str = "hdf5"
) -> list[str]:
    """Store a dataset whole or not at all: written into a scratch folder beside its place, then renamed.

    options: what each episode was reset with. layout: one of `LAYOUTS`. Returns what the format does not hold, or holds
    and is not known. Raises ValueError or OSError where nothing can be written.
    """
    place = followed(root() / dataset_id)
    place.parent.mkdir(parents=True, exist_ok=True)
    terminated = source.terminated if source.terminated is not None else np.zeros(len(source.lengths), bool)
    observations = source.observations
    low, high = (0, 255) if observations.dtype == np.uint8 else (-np.inf, np.inf)
    with scratch(place) as beside:
        with _written_to(beside), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of fields whose place is taken by our manifest
            dataset = minari.create_dataset_from_buffers(
                dataset_id,
                _buffers(source, terminated, options),  # type: ignore[arg-type]  # a list that need not be in memory
                observation_space=gym.spaces.Box(low, high, observations.shape, observations.dtype.type),
                action_space=_action_space(source),
                author="stitchrl",
                description=description,
                data_format=layout,
            )
        dataset.storage.update_metadata({key: json.dumps(value) for key, value in source.metadata.items()})
        new = beside / dataset_id
        with suppress(OSError):  # it can be made later
            decoding = Decoding(_parts(source, terminated), tuple)
            write_flat(new / "flat", stamp_of(new / "data"), decoding, source.rows)
        move(new, place, beside)
    notes = [] if source.rewarded else ["rewards, which it must have, are all 0"]
    if source.terminated is None:
        notes.append("all episodes are truncated, since nothing is known of what ended them")
    return notes


def _action_space(source: Source) -> gym.Space:
    if source.actions.dtype.kind == "i":
        return gym.spaces.Discrete(1 + max(int(episodes.actions.max()) for episodes in source.stream(ROWS)))
    bound = 1 if source.metadata else np.inf
    return gym.spaces.Box(-bound, bound, source.actions.shape, np.float32)


@contextmanager
def _written_to(beside: Path) -> Iterator[None]:
    """While it lasts Minari writes into the folder `beside`: its variable is the only way to tell it."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(beside)
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before


def _parts(source: Source, terminated: np.ndarray) -> Iterator[Episodes]:
    number = 0
    for episodes in source.stream(ROWS):
        ended = terminated[number : number + len(episodes.lengths)]
        yield episodes.with_info({"terminated": torch.from_numpy(ended)})
        number += len(episodes.lengths)


def _buffers(source: Source, terminated: np.ndarray, options: Sequence[dict] | None) -> Iterator[EpisodeBuffer]:
    number = 0
    for episodes in source.stream(ROWS):
        for first, last in zip(episodes.first.tolist(), episodes.last.tolist(), strict=True):
            end = np.arange(first, last) == last - 1
            rewards = None if episodes.rewards is None else episodes.rewards[first:last].numpy()
            yield EpisodeBuffer(
                id=number,
                options=options[number] if options else None,
                observations=episodes.observations[first : last + 1].numpy(),
                actions=episodes.actions[first:last].numpy(),
                rewards=np.zeros(last - first, np.float32) if rewards is None else rewards,
                terminations=end & terminated[number],
                truncations=end & ~terminated[number],
            )
            number += 1
