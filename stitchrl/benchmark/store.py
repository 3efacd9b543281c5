"""Stored datasets: a benchmark's episodes are made, certified and kept, and opened again."""

import sys
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np
import torch

from stitchrl.audit.achieved import Achieved
from stitchrl.audit.certificate import Certificate, region_values, reward_values
from stitchrl.benchmark.benchmark import Benchmark
from stitchrl.benchmark.collect import Collected, adopt, collect, measure_ceilings
from stitchrl.benchmark.official import JUDGING, check_name, differing, joined_twin, plain
from stitchrl.data.cut import cut, pieces_terminated
from stitchrl.data.episodes import Episodes
from stitchrl.data.formats import is_file, minari, open_source
from stitchrl.data.formats import place as source_place
from stitchrl.data.formats.minari_flat import stamp_of
from stitchrl.data.formats.source import of_episodes
from stitchrl.files import locked
from stitchrl.objectives import make_objective
from stitchrl.types import Region
from stitchrl.versions import versions

PACKAGES = ("stitchrl", "numpy", "torch", "gymnasium", "gymnasium-robotics", "minari", "mujoco")


@dataclass(frozen=True)
class Dataset:
    """A stored dataset, opened.

    Attributes:
        episodes: Their `info` holds the context that each was collected in.
        certificate: As it was stored, judged by the specification.
        manifest: What the data were made from and by, and their hashes.
        terminated: [episodes] whether each was ended by its world.
    """

    episodes: Episodes
    certificate: Certificate
    manifest: dict[str, Any]
    terminated: np.ndarray


def open_dataset(benchmark: Benchmark, workers: int) -> Dataset:
    """The stored dataset, generated first where there is none. Raises ValueError for a damaged one."""
    spec = benchmark.spec
    check_name(spec)
    if not minari.folder(spec.name).exists():
        generate(benchmark, workers, if_missing=True)
    certificate, metadata = read_stored(benchmark)
    manifest = metadata["manifest"]
    stored = minari.open_source(f"{minari.NAMESPACE}/{spec.name}")
    episodes = stored.read()  # it compares the hash
    if manifest["versions"]["mujoco"] != mujoco.__version__:
        then, now = manifest["versions"]["mujoco"], mujoco.__version__
        print(f"warning: dataset {spec.name} is of MuJoCo {then}, evaluation will be in {now}", file=sys.stderr)
    assert stored.terminated is not None  # Minari's datasets hold it
    contexts = torch.tensor(metadata["contexts"], dtype=torch.int64)
    return Dataset(episodes.with_info({"context": contexts}), certificate, manifest, stored.terminated)


def read_stored(benchmark: Benchmark) -> tuple[Certificate, dict[str, Any]]:
    """The certificate and the metadata (manifest, certificate, contexts) of a stored dataset.

    The certificate is judged by the specification's own min_episodes and control, whatever they were when the dataset
    was stored. ValueError where that is damaged, is of another specification, or its source has changed since.
    """
    spec = benchmark.spec
    path = minari.folder(spec.name)
    metadata = minari.read_metadata(spec.name)
    try:
        if others := differing(metadata["manifest"]["spec"], spec):
            raise ValueError(
                f"{path}: stored with another {', '.join(others)} than dataset {spec.name} has now; remove it, or give "
                "yours another dataset.split"
            )
        certificate = Certificate.from_dict(metadata["certificate"]).judged(spec.min_episodes, spec.control)
        certificate = _with_geometry(benchmark, certificate)
        judging = {key: getattr(spec, key) for key in JUDGING}
        manifest = metadata["manifest"] | {"spec": metadata["manifest"]["spec"] | judging}
        _compare_source(benchmark, manifest)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected a manifest and a certificate of stitchrl's, found {error!r}") from error
    return certificate, metadata | {"manifest": manifest, "certificate": certificate.as_dict()}


def _with_geometry(benchmark: Benchmark, certificate: Certificate) -> Certificate:
    """A certificate that says where its tasks and walls are: older ones do not."""
    regions = {
        task.name: {key: region_values(value) for key, value in vars(task).items() if isinstance(value, Region)}
        for task in benchmark.tasks
    }
    world = benchmark.world
    return replace(
        certificate,
        tasks=[task | regions[task["name"]] for task in certificate.tasks],
        unit=world.goal_space.unit,
        drawing=world.drawing,
        rewards=reward_values(benchmark.objective.rewards),
    )


def generate(benchmark: Benchmark, workers: int, if_missing: bool = False) -> None:
    """Make, certify and store a dataset.

    The same seed gives the same bytes for any number of workers, which are threads for physics. One process at a time
    makes a dataset. A stored dataset of another specification is never overwritten, and none is `if_missing`.
    ValueError where the place is taken, or the specification cannot be met.
    """
    name = benchmark.name
    check_name(benchmark.spec)
    minari.check(f"{minari.NAMESPACE}/{name}")
    place = minari.folder(name)
    with locked(place.with_name(f".{place.name}.lock")):
        if place.exists():
            if if_missing:
                return
            _check_replaceable(benchmark)
        if if_missing:
            print(f"dataset {name} is not there yet: generating it", file=sys.stderr)
        _generate(benchmark, workers)


def _check_replaceable(benchmark: Benchmark) -> None:
    path = minari.folder(benchmark.name)
    try:
        others = differing(minari.read_metadata(benchmark.name)["manifest"]["spec"], benchmark.spec)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: holds something else than a dataset of stitchrl's; remove it") from error
    if others:
        raise ValueError(
            f"{path}: holds a dataset with another {', '.join(others)}, which is not overwritten; remove it, or give "
            "yours another dataset.split"
        )


def _generate(benchmark: Benchmark, workers: int) -> None:
    torch.set_num_threads(1)  # threads are for physics; the controller's small products only lose by them
    spec = benchmark.spec
    source = {} if spec.source is None else {"source": _source_stamp(spec.source)}  # before it is read
    if spec.cut is not None:
        made, ceilings = _cut(benchmark, workers)
    else:
        made = collect(benchmark, workers) if spec.source is None else adopt(benchmark)
        ceilings = measure_ceilings(benchmark, workers)
    episodes = made.episodes
    achieved = Achieved.of_episodes(episodes, benchmark.world.goal_space.of)
    rewards = None if episodes.rewards is None else episodes.rewards.numpy()
    certificate = benchmark.objective.judge.certify(benchmark.audited(episodes.sha256, achieved, rewards, ceilings))
    manifest = {
        "name": spec.name,
        "spec": plain(spec),
        "dataset_sha256": episodes.sha256,
        "transitions_sha256": episodes.transitions_sha256,
        "episodes": len(episodes.lengths),
        "transitions": int(episodes.lengths.sum()),
        "behaviour": made.behaviour,
        "versions": versions(*PACKAGES),
    } | source
    contexts = episodes.info["context"].tolist()
    metadata = {"manifest": manifest, "certificate": certificate.as_dict(), "contexts": contexts}
    notes = minari.write(
        f"{minari.NAMESPACE}/{spec.name}",
        replace(of_episodes(spec.name, episodes, metadata), terminated=made.terminated),
        [{"context": context} for context in contexts],
        f"{spec.name}: evaluated pairs and their certificate are in the metadata",
    )
    for note in notes:
        print(f"{spec.name}: {note}", file=sys.stderr)


def _cut(benchmark: Benchmark, workers: int) -> tuple[Collected, dict[str, float]]:
    """The episodes of the joined twin in pieces, and the ceilings that were measured for it."""
    spec, world = benchmark.spec, benchmark.world
    assert spec.cut is not None
    twin = joined_twin(spec)
    joined = open_dataset(Benchmark(twin, world, make_objective(twin, world)), workers)
    rng = np.random.default_rng([spec.seed, spec.cut])
    achieved = world.goal_space.of(joined.episodes.observations.numpy())
    episodes, origin = cut(joined.episodes, spec.cut, benchmark.objective.parted(), rng, achieved)
    made = Collected(episodes, pieces_terminated(joined.terminated, origin), joined.manifest["behaviour"])
    return made, {task["name"]: task["ceiling"] for task in joined.certificate.tasks}


def _source_stamp(name: str) -> str | None:
    """What changes when a source's files do; None where there are none any more."""
    path = source_place(name)
    data = path if is_file(name) else path / "data"
    return stamp_of(data) if data.exists() else None


def _compare_source(benchmark: Benchmark, manifest: dict[str, Any]) -> None:
    """ValueError where the source that a dataset was made from has changed since. One that is gone tells nothing."""
    spec = benchmark.spec
    if spec.source is None or "source" not in manifest:  # stored before it was noted
        return
    if (now := _source_stamp(spec.source)) is None or now == manifest["source"]:
        return
    episodes = next(open_source(spec.source, columns=benchmark.world.goal_space.columns).chunks(spec.transitions))
    if episodes.transitions_sha256 != manifest["transitions_sha256"]:
        raise ValueError(
            f"{minari.folder(spec.name)}: made from {spec.source}, which has changed since; remove it to have it made "
            "anew, or give yours another dataset.split"
        )
