"""Experiments on returns, end to end on a small dataset: what a run leaves, is refused for, and how it is resumed."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import command
from test_resume import interrupt, left_by

from stitchrl import __main__, training
from stitchrl.evaluate import Evaluator
from stitchrl.learner import Learner
from stitchrl.objectives.returns import CALIBRATION, CollectReturn
from stitchrl.report.__main__ import main as report

SMALL = ["dataset.transitions=20000", "dataset.min_episodes=5", "workers=1"]
SHORT = ["steps=30", "budget.evaluations=3", "budget.episodes=2", "budget.hidden_dims=[16,16]", "budget.batch_size=8"]
DT = ["agent=dt", "agent.width=8", "agent.blocks=1"]

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def start(monkeypatch: pytest.MonkeyPatch, folder: str, *arguments: str) -> int:
    where = f"hydra.run.dir={folder}"
    return command(__main__, monkeypatch, "+experiment=pointmaze_returns", *SMALL, *SHORT, *arguments, where)


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_run_on_returns_leaves_returns_targets_and_a_calibration_and_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert start(monkeypatch, "run", "agent=gcbc", "goals=stitch") == 0
    folder = tmp_path / "run"
    rows = [json.loads(line) for line in (folder / "eval.jsonl").read_text().splitlines()]
    assert len(rows) == 18 and {row["length"] for row in rows} == {250}
    assert all(row["success"] == (row["return"] >= row["target"]) for row in rows)
    summary = json.loads((folder / "summary.json").read_text())
    assert [(task["name"], task["target"], task["horizon"], task["path_length"]) for task in summary["tasks"]] == [
        ("r1c2-return-100", 100, 250, None),
        ("r1c2-return-30", 30, 250, None),
        ("r1c3-return-100", 100, 250, None),
    ]
    for task in summary["tasks"]:
        returns = [row["return"] for row in rows if row["task"] == task["name"]]
        assert task["return"] == pytest.approx(np.mean(returns), abs=1e-4)  # of all three evaluations
    assert summary["unseen"]["episodes"] == 2 and summary["by_segments"].keys() == {"1", "2"}
    augmentation = summary["augmentation"]
    assert abs(augmentation["realised"] - 0.5) < 0.02 and augmentation["contradiction_rate"] is None
    calibration = read(folder / "calibration.csv")
    assert [row["start"] for row in calibration] == ["r1c2"] * 8 + ["r1c3"] * 8
    assert [float(row["target"]) for row in calibration] == pytest.approx([*100 * CALIBRATION] * 2, abs=1e-4)
    assert report(["run", "--out", "report"]) == 0
    assert "r1c2-return-100" in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.parametrize("arguments", [[*DT, "goals=stitch"], ["agent=iql"], ["agent=td3bc"], ["agent=goal_blind"]])
def test_other_agents_run_on_returns(arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert start(monkeypatch, "run", *arguments, "steps=6") == 0
    assert len(read(tmp_path / "run" / "calibration.csv")) == 16


GOALS = ["dataset=pointmaze_umaze_regions"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["agent=hiql"],
            "agent hiql: conditioned on goals, but dataset pointmaze-umaze-returns-n20000-v0 asks for ret",
        ),
        (
            ["agent=gcbc", "agent.goal=observation"],
            "agent.goal: 'observation' given, but the condition is a vector",
        ),
        (
            ["agent=gciql"],
            "agent gciql: conditioned on goals, but dataset pointmaze-umaze-returns-n20000-v0",
        ),
        (["agent=gcbc_egocentric"], "agent.orientation: [3, 4, 5, 6] given; the condition lies nowhere"),
        (
            [*GOALS, "agent=iql"],
            "agent iql: learns from rewards, but dataset pointmaze-umaze-regions-n20000-v0 asks for",
        ),
        (["agent=iql", "goals=stitch"], "agent iql: told nothing of what lies ahead, goals=stitch changes nothing"),
        ([*GOALS, "agent=td3bc"], "agent td3bc: learns from rewards, but dataset pointmaze-umaze-regions-n20000-v0"),
    ],
)
def test_an_agent_that_cannot_do_with_what_is_asked_for_is_refused_in_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(monkeypatch, "run", *arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("stitchrl: ") and message in last


def test_a_run_on_returns_that_is_interrupted_again_and_again_ends_with_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In training, in the second evaluation, and in the calibration."""
    arguments = [*DT, "goals=stitch"]
    assert start(monkeypatch, "whole", *arguments) == 0
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 0.0)
    for owner, name, call in ((Learner, "update", 7), (Evaluator, "evaluate", 2), (CollectReturn, "calibration", 1)):
        with monkeypatch.context() as here, pytest.raises(KeyboardInterrupt):
            interrupt(here, owner, name, call)
            start(here, "broken", *arguments)
        assert not (tmp_path / "broken" / "calibration.csv").exists()
    assert start(monkeypatch, "broken", *arguments) == 0
    assert left_by(tmp_path / "broken") == left_by(tmp_path / "whole")
    assert read(tmp_path / "broken" / "calibration.csv") == read(tmp_path / "whole" / "calibration.csv")
