"""The world and the instrument of docs/extending.md go all the way, and no line of the package knows them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import ROOT, write_files

from stitchrl.worlds.check import check_world

SHORT = ["steps=60", "budget.evaluations=3", "budget.episodes=2", "budget.batch_size=32", "budget.hidden_dims=[16]"]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's files, and what the page's commands make there, small."""
    folder = tmp_path_factory.mktemp("workshop")
    write_files(folder)
    run(folder, "stitchrl.generate", "--config-dir", "my_conf", "dataset=knight_halves", "card=cards")
    measured = "instruments=[augmentation,sensitivity]"
    for agent in ("gcbc", "gcivl", "hiql"):
        chosen = ["dataset=knight_halves", f"agent={agent}", measured, "instruments.sensitivity.every=20"]
        run(folder, "stitchrl", "--config-dir", "my_conf", *chosen, *SHORT)
    for path in (folder / "runs").glob("knight-halves/*"):  # named by agent, goals, seed and identity
        path.rename(folder / "runs" / path.name.partition("-")[0])
    run(folder, "stitchrl.report", "runs", "--out", "report")
    return folder


def run(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": f".:{ROOT}", "MINARI_DATASETS_PATH": str(folder / "datasets")}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_files_are_as_short_as_is_said(workshop: Path) -> None:
    assert len((workshop / "knight.py").read_text().splitlines()) <= 120
    assert len((workshop / "sensitivity.py").read_text().splitlines()) <= 25


def test_the_knight_keeps_what_a_world_promises(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(workshop))
    from knight import Knight

    check_world(Knight())


def test_the_certificate_finds_the_halves_of_the_board_and_the_card_tells_of_them(workshop: Path) -> None:
    card = workshop / "cards" / "knight-halves-n5000-v0"
    certificate = json.loads((card / "certificate.json").read_text())
    assert certificate["pass"] and certificate["epsilon"] == 0
    found = {task["name"]: (task["status"], task["segments_needed"]) for task in certificate["tasks"]}
    assert found["a3-to-e3"] == found["e3-to-i3"] == ("seen", 1)
    assert found["a3-to-i3"] == found["a1-to-i5"] == ("unseen", 2)
    text = (card / "README.md").read_text()
    assert "chess knight" in text and "a3-to-i3" in text and (card / "picture.png").stat().st_size > 1000
    audited = run(workshop, "stitchrl.audit", "stitchrl/knight-halves-n5000-v0", "--json", "--config-dir", "my_conf")
    assert json.loads(audited)["tasks_sha256"] == certificate["tasks_sha256"]


@pytest.mark.parametrize("agent", ["gcbc", "gcivl", "hiql"])
def test_agents_learn_from_planes_with_discrete_actions(agent: str, workshop: Path) -> None:
    summary = json.loads((workshop / "runs" / agent / "summary.json").read_text())
    assert summary["agent"] == agent and len(summary["tasks"]) == 4
    assert 0 <= summary["instruments"]["sensitivity/changed"] <= 1


def test_what_the_instrument_measures_reaches_every_place_unnamed(workshop: Path) -> None:
    lines = [json.loads(line) for line in (workshop / "runs" / "gcbc" / "train.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "instruments/sensitivity/changed" in line] == [20, 40, 60]
    assert "sensitivity/changed" in (workshop / "report" / "index.html").read_text()


@pytest.mark.parametrize("name", ["knight", "sensitivity"])
def test_the_package_knows_nothing_of_them(name: str) -> None:
    assert not [path for path in (ROOT / "stitchrl").rglob("*.py") if name in path.read_text(encoding="utf-8").lower()]
