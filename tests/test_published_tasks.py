"""The tasks that the code makes today are those of the committed certificates: regions, radii, paths, limits, cells."""

import importlib.util
import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from conftest import benchmark
from test_configuration import CONF, load

from stitchrl.audit.certificate import tasks_sha256
from stitchrl.spec import DatasetSpec
from stitchrl.worlds.maze.maps import Maze

PUBLISHED = Path(__file__).parent.parent / "datasets"
NAMES = sorted(path.name for path in PUBLISHED.iterdir() if (path / "manifest.json").exists())
GIVEN = {field.name for field in fields(DatasetSpec)}


def read(name: str, file: str) -> dict:
    return json.loads((PUBLISHED / name / f"{file}.json").read_text(encoding="utf-8"))


def spec_of(stored: dict) -> DatasetSpec:
    """What the dataset's own file says, in the size, with the seed and judged as the stored one."""
    values = load(CONF / "dataset" / f"{stored['world']}_{stored['maze']}_{stored['split']}.yaml")
    values = {key: value for key, value in values.items() if key in GIVEN}
    spec = DatasetSpec.create(values, Maze(values["maze"], 1.0).cells)
    return replace(spec, **{key: stored[key] for key in ("transitions", "seed", "min_episodes")})


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_dataset_is_of_what_its_file_says(name: str) -> None:
    stored = read(name, "manifest")["spec"]
    spec = spec_of(stored)
    stored = json.loads(json.dumps(stored).replace('"cell"', '"place"'))  # as places were called in older manifests
    plain = json.loads(json.dumps(spec.as_dict()))
    assert {key: plain[key] for key in stored if key in plain} == stored  # older ones lack what came later


@pytest.mark.parametrize("name", NAMES)
def test_the_tasks_of_a_committed_certificate_are_those_that_are_evaluated(name: str) -> None:
    certificate = read(name, "certificate")
    spec = spec_of(read(name, "manifest")["spec"])
    tasks = benchmark(spec).tasks
    assert [task.name for task in tasks] == [task["name"] for task in certificate["tasks"]]
    assert tasks_sha256(tasks) == certificate["tasks_sha256"]
    assert certificate["epsilon"] == 0.45 and certificate["min_episodes"] == spec.min_episodes


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_card_says_what_cards_say_today(name: str) -> None:
    path = PUBLISHED.parent / "benchmarks" / "cards.py"
    spec = importlib.util.spec_from_file_location("cards", path)
    assert spec is not None and spec.loader is not None
    cards = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cards)
    assert cards.text_of(PUBLISHED / name) == (PUBLISHED / name / "README.md").read_text(encoding="utf-8")
