"""`python -m stitchrl.generate dataset=NAME [overrides] [-m]`: generate, certify and store a dataset."""

import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stitchrl.command import CONF, benchmark_of, checked, guarded, hydra_command, plain  # first: it sets up Hydra

import hydra  # isort: skip
from omegaconf import DictConfig

from stitchrl.sweep import concluded, job

if TYPE_CHECKING:
    from stitchrl.spec import DatasetSpec

SUFFIXES = {"d4rl": ".hdf5", "ogbench": ".npz"}  # of exports; in Minari a dataset lives already
PUBLISHED = CONF.parent / "datasets"  # the cards of a checkout


@hydra_command(__doc__, "generate")
@concluded
@hydra.main(version_base="1.3", config_path=str(CONF), config_name="generate")
@job("stitchrl.generate")
def main(config: DictConfig) -> None:
    import numpy as np

    from stitchrl.benchmark import store
    from stitchrl.cards.card import write_card
    from stitchrl.data.formats import minari
    from stitchrl.worlds.world import plane

    values = checked(plain(config))
    benchmark = benchmark_of(values)
    spec = benchmark.spec
    folder, formats = Path(values["export_to"]), [format_ for format_ in values["export"] if format_ in SUFFIXES]
    exports = {format_: folder / (spec.name + SUFFIXES[format_]) for format_ in formats}
    check_exports(spec, exports.values())
    if not (values["if_missing"] and minari.folder(spec.name).exists()):
        store.generate(benchmark, values["workers"] or os.cpu_count() or 1, values["if_missing"])
    _, metadata = store.read_stored(benchmark)
    manifest, certificate = metadata["manifest"], metadata["certificate"]
    print(f"{minari.folder(spec.name)}: {manifest['episodes']} episodes, {manifest['transitions']} transitions")
    print(f"sha256 {manifest['dataset_sha256']}; certificate {'passes' if certificate['pass'] else 'FAILS'}")
    for problem in certificate.get("problems", []):
        print(f"  {problem}", file=sys.stderr)
    compare(manifest)
    export(spec.name, exports)
    if values["card"]:
        episodes, folder = minari.read(spec.name), Path(values["card"]) / spec.name
        contexts = np.array(metadata["contexts"])[episodes.number.numpy()]
        achieved = plane(benchmark.world.goal_space.of(episodes.observations.numpy()))
        write_card(folder, manifest, certificate, benchmark.world.facts, achieved, contexts)
        print(f"card: {folder}")


def check_exports(spec: "DatasetSpec", paths: Iterable[Path]) -> None:
    """Raise ValueError where an export cannot be written, or would overwrite anything but the same dataset's export."""
    from stitchrl.benchmark.official import differing
    from stitchrl.data.formats import destinations, open_source
    from stitchrl.files import check_file

    for path in paths:
        files = destinations(str(path))
        for file in files:
            check_file(file)
        if there := [file for file in files if file.exists()]:
            stored: Any = {}
            with suppress(OSError, ValueError, KeyError, TypeError):
                stored = open_source(str(path)).metadata["manifest"]["spec"]
            if differing(stored, spec):
                raise ValueError(f"{there[0]}: holds something else than dataset {spec.name}; move it away")


def export(name: str, paths: dict[str, Path]) -> None:
    """Write a stored dataset to a path for each format, and say on stderr what the formats do not hold."""
    from stitchrl.data.formats import minari, write

    for format_, path in paths.items():
        for note in write(str(path), minari.open_source(f"{minari.NAMESPACE}/{name}")):
            print(f"{path}: {note}", file=sys.stderr)
        print(f"{format_}: {path}")


def compare(manifest: dict[str, Any]) -> None:
    """Say on stderr where a published dataset of this name has other data. Raises ValueError for a damaged manifest."""
    path = PUBLISHED / manifest["name"] / "manifest.json"
    if not path.exists():
        return
    try:
        published = json.loads(path.read_text(encoding="utf-8"))["dataset_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected the manifest of a published dataset, found {error!r}") from error
    if published != manifest["dataset_sha256"]:
        notice = f"notice: {manifest['name']}: its hash differs from the published one in {path}"
        print(f"{notice} (other host or versions); its certificate was computed again", file=sys.stderr)


if __name__ == "__main__":
    guarded(main)
