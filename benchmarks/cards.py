"""Write the cards of datasets/ anew from their manifests and certificates, for when what cards say has changed.

Only README.md is written, and picture.png with --pictures where the data are stored. No other data are needed: what
older certificates do not hold (places of tasks, unit, walls, rewards) is taken from the world, and not written to them.

    python benchmarks/cards.py [--pictures] [NAME ...]
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from stitchrl.benchmark.benchmark import Benchmark, make_benchmark
from stitchrl.benchmark.official import load
from stitchrl.cards.card import describe, save_picture, words_of
from stitchrl.data.formats import minari
from stitchrl.files import write

PUBLISHED = Path(__file__).parent.parent / "datasets"


def text_of(folder: Path) -> str:
    """The README.md of the dataset whose manifest and certificate lie in a folder."""
    manifest, certificate, benchmark = read(folder)
    return describe(manifest, certificate, benchmark.world.facts, words_of(manifest, certificate))


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any], Benchmark]:
    """A committed dataset's manifest, its certificate with what older ones do not hold, and its benchmark."""
    manifest, certificate = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("manifest", "certificate")
    )
    spec = manifest["spec"]
    benchmark = make_benchmark(load(f"{spec['world']}_{spec['maze']}_{spec['split']}"))
    return manifest, completed(certificate, benchmark), benchmark


def completed(certificate: Mapping[str, Any], benchmark: Benchmark) -> dict[str, Any]:
    """A certificate with what older ones do not hold. What it holds stays."""
    world, objective = benchmark.world, benchmark.objective
    tasks = []
    for task, found in zip(benchmark.tasks, certificate["tasks"], strict=True):
        assert task.name == found["name"]
        ends = {end: getattr(task, end) for end in ("start", "goal") if hasattr(task, end)}
        tasks.append({end: asdict(region) for end, region in ends.items()} | found)
    more = {"objective": objective.name, "unit": world.goal_space.unit, "drawing": world.drawing}
    if rewards := getattr(objective, "rewards", None):
        more["rewards"] = [{"region": asdict(region), "rate": rate} for region, rate in rewards]
    return {**more, **certificate, "tasks": tasks}


def redraw(folder: Path) -> bool:
    """Draw a card's picture anew. False: its data are not stored, or others are."""
    manifest, certificate, benchmark = read(folder)
    name = manifest["name"]
    if not minari.folder(name).exists():
        return False
    episodes = minari.read(name)
    if episodes.sha256 != manifest["dataset_sha256"]:
        return False
    contexts = np.array(minari.read_metadata(name)["contexts"])[episodes.number.numpy()]
    points = benchmark.world.goal_space.of(episodes.observations.numpy())[:, :2]
    write(folder / "picture.png", lambda path: save_picture(path, certificate, points, contexts))
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a folder in datasets/; all where none is given")
    parser.add_argument("--pictures", action="store_true", help="draw pictures anew, too, where the data are stored")
    options = parser.parse_args()
    names = options.names or sorted(path.parent.name for path in PUBLISHED.glob("*/manifest.json"))
    for name in names:
        folder = PUBLISHED / name
        text = text_of(folder)
        write(folder / "README.md", lambda path, text=text: path.write_text(text, encoding="utf-8"))
        drawn = options.pictures and redraw(folder)
        print(f"{folder / 'README.md'}{', picture.png' if drawn else ''}")


if __name__ == "__main__":
    main()
