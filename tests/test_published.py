"""What is committed of the datasets says what their names promise."""

import json
import re
from pathlib import Path

import pytest

from stitchrl.worlds.maze.known import OGBENCH

PUBLISHED = Path(__file__).parent.parent / "datasets"
NAMES = sorted(path.name for path in PUBLISHED.iterdir())
CUTS = [name for name in NAMES if "-cut" in name]
RETURNS = [name for name in NAMES if "-returns" in name]
SHORT = [name for name in NAMES if "-short" in name]


def read(name: str, file: str) -> dict:
    return json.loads((PUBLISHED / name / f"{file}.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_the_certificate_passes_and_is_of_these_data(name: str) -> None:
    certificate, manifest = read(name, "certificate"), read(name, "manifest")
    assert certificate["pass"] and certificate["problems"] == []
    assert certificate["dataset_sha256"] == manifest["dataset_sha256"]
    assert certificate["dataset"] == manifest["name"] == name
    assert manifest["dataset_sha256"] in (PUBLISHED / name / "README.md").read_text()


@pytest.mark.parametrize("name", CUTS)
def test_a_cut_twin_needs_as_many_segments_as_its_name_says(name: str) -> None:
    tasks = read(name, "certificate")["tasks"]
    needed = [task["segments_needed"] for task in tasks if task["expect"] == "unseen"]
    assert min(needed) == int(re.search(r"-cut(\d+)", name)[1])


@pytest.mark.parametrize("name", CUTS)
def test_twins_have_the_same_transitions_and_the_joined_one_joins_every_task(name: str) -> None:
    joined = re.sub(r"-cut\d+", "-joined", name)
    assert read(name, "manifest")["transitions_sha256"] == read(joined, "manifest")["transitions_sha256"]
    assert (
        read(name, "certificate")["tasks_sha256"] != read(joined, "certificate")["tasks_sha256"]
    )  # other expectations
    whole = {task["name"]: task for task in read(joined, "certificate")["tasks"]}
    for task in read(name, "certificate")["tasks"]:
        assert whole[task["name"]]["status"] == "seen"
        assert whole[task["name"]]["step_limit"] == task["step_limit"]


@pytest.mark.parametrize("name", SHORT)
def test_short_episodes_have_one_length_and_no_episode_joins_ogbenchs_tasks(name: str) -> None:
    manifest, tasks = read(name, "manifest"), read(name, "certificate")["tasks"]
    assert manifest["transitions"] == manifest["episodes"] * manifest["spec"]["length"]
    assert manifest["episodes"] == manifest["behaviour"]["attempts"], "none is left out"
    unseen = [task for task in tasks if task["expect"] == "unseen"]
    pairs = [f"r{a[0]}c{a[1]}-to-r{b[0]}c{b[1]}" for a, b in OGBENCH[manifest["spec"]["maze"]]]
    assert [task["name"] for task in unseen] == pairs
    assert all(task["unordered"] == 0 and task["segments_needed"] > 1 for task in unseen)
    assert {task["segments_needed"] for task in tasks if task["expect"] == "seen"} == {1}


@pytest.mark.parametrize("name", RETURNS)
def test_a_return_is_unseen_by_a_clear_margin_and_a_chain_collects_it(name: str) -> None:
    spec, tasks = read(name, "manifest")["spec"], read(name, "certificate")["tasks"]
    assert {task["horizon"] for task in tasks} == {spec["horizon"]}
    for task in tasks:
        best = {int(k): value for k, value in task["best_by_segments"].items()}
        assert best[1] == task["best_in_data"] <= best[2] <= best[3]
        assert all(best[int(k)] <= value for k, value in task["best_by_segments_upper"].items())
        if task["expect"] == "unseen":
            assert task["best_in_data"] < 0.9 * task["target"] < task["target"] <= best[task["segments_needed"]]
            assert task["elsewhere"] >= 50
    needed = {task["segments_needed"] for task in tasks if task["expect"] == "unseen"}
    assert needed == ({3} if "-returns3" in name else set() if "-returnsjoined" in name else {2})


def test_twins_of_returns_have_the_same_transitions() -> None:
    joined, cut = (read(f"pointmaze-umaze-returns{split}-v0", "manifest") for split in ("joined", "cut"))
    assert joined["transitions_sha256"] == cut["transitions_sha256"]
    assert joined["spec"]["rewards"] == cut["spec"]["rewards"]
