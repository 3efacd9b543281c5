"""The experiment and its commands, end to end on a small dataset."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
import torch
from conftest import command

from stitchrl import __main__, generate
from stitchrl.agents.dt import DT
from stitchrl.benchmark import collect
from stitchrl.data.formats import minari
from stitchrl.types import Window

SMALL = ["dataset.transitions=20000", "dataset.min_episodes=5", "workers=1"]
SHORT = ["steps=60", "budget.evaluations=3", "budget.episodes=2", "budget.hidden_dims=[16,16]"]
NAME = "pointmaze-umaze-regions-n20000-v0"


pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def summary(folder: Path) -> dict:
    values = json.loads((folder / "summary.json").read_text())
    return {key: value for key, value in values.items() if key not in ("wall_s", "updates_per_s")}


def test_a_run_leaves_the_folder_that_the_contract_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert command(__main__, monkeypatch, "+experiment=pointmaze_stitch", *SMALL, *SHORT) == 0
    (folder,) = (tmp_path / "runs" / "pointmaze-umaze-regions").iterdir()
    assert folder.name.startswith("gcbc-stitch-s0-")
    names = {path.name for path in folder.iterdir()}
    files = {"resolved.yaml", "train.jsonl", "eval.jsonl", "summary.json", "certificate.json", "status.json"}
    assert files | {"checkpoints", "data.npz", "trajectories.npz"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    values = summary(folder)
    assert values["dataset"] == NAME
    assert (values["agent"], values["goals"]) == ("gcbc", "stitch")
    assert values["augmentation"]["requested"] == 0.5
    assert abs(values["augmentation"]["realised"] - 0.5) < 0.02
    assert 0 < values["augmentation"]["contradiction_rate"] < 1
    assert set(values["by_segments"]) == {"1", "4"}
    rows = [json.loads(line) for line in (folder / "eval.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [20] * 12 + [40] * 12 + [60] * 12
    unseen = [task["name"] for task in values["tasks"] if task["expect"] == "unseen"]
    headline = sum(row["success"] for row in rows if row["task"] in unseen) / 12
    assert values["unseen"]["success"] == pytest.approx(headline, abs=1e-4)
    for task in values["tasks"]:
        of_task = [row for row in rows if row["task"] == task["name"]]
        assert task["tight_success"] == pytest.approx(
            sum(row["tight_success"] for row in of_task) / len(of_task), abs=1e-4
        )
    torch.load(folder / "checkpoints" / "last.pt", weights_only=True)


@pytest.mark.parametrize("agent", ["dt", "qrl", "hiql"])
def test_agents_of_other_kinds_run_from_the_command_line(
    agent: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = [f"agent={agent}", "hydra.run.dir=run", *SMALL, *SHORT, "steps=6", "budget.batch_size=16"]
    assert command(__main__, monkeypatch, "+experiment=pointmaze_stitch", *arguments) == 0
    assert summary(tmp_path / "run")["agent"] == agent


@pytest.mark.parametrize(("arguments", "steps"), [([], 1), (["agent.act_window=2"], 2), (["agent.act_window=null"], 5)])
def test_dt_acts_by_as_many_steps_as_its_context_has(
    arguments: list[str], steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = set()

    def act(agent: DT, observation: Window, condition: torch.Tensor) -> torch.Tensor:
        shown.add(observation.valid.shape[1])
        return torch.zeros(len(condition), 2)

    monkeypatch.setattr(DT, "act", act)
    small = [*SMALL, *SHORT, "steps=3", "budget.batch_size=16", "agent.width=16"]
    assert command(__main__, monkeypatch, "+experiment=pointmaze_stitch", "agent=dt", *arguments, *small) == 0
    assert shown == {steps}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["agent=dt", "agent.window=5000"], "agent.window: 5000 given, but the longest episode has"),
        (["agent=gcivl", "agent.value_goals.random=0.4"], "expected shares that sum to 1"),
    ],
)
def test_an_agent_that_cannot_be_trained_is_refused_before_training(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(__main__, monkeypatch, *arguments, "hydra.run.dir=run", *SMALL, *SHORT) == 2
    error = capsys.readouterr().err.splitlines()
    assert message in error[-1] and "train" not in "".join(error)


def test_one_seed_gives_one_summary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        arguments = ["+experiment=pointmaze_stitch", *SMALL, *SHORT, f"seed={seed}", f"hydra.run.dir={folder}"]
        assert command(__main__, monkeypatch, *arguments) == 0
    assert summary(tmp_path / "a") == summary(tmp_path / "b")
    losses = [(tmp_path / folder / "train.jsonl").read_text().split('"time')[0] for folder in "abc"]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(
    ("dataset", "transitions", "version"),
    [("pointmaze_umaze_regions", 5000, "v0"), ("antmaze_umaze_regions", 2000, "v1")],
)
def test_the_number_of_workers_changes_no_byte_of_the_data(
    dataset: str, transitions: int, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "CEILING_EPISODES", 1)  # they take most of the time, and are no part of the data
    hashes = []
    for workers in (1, 2):
        arguments = [f"dataset={dataset}", f"dataset.transitions={transitions}", f"workers={workers}"]
        assert command(generate, monkeypatch, *arguments) == 0
        name = f"{dataset.replace('_', '-')}-n{transitions}-{version}"
        hashes.append(minari.read(name).sha256)
    assert hashes[0] == hashes[1] == minari.read_metadata(name)["manifest"]["dataset_sha256"]


def test_twins_hold_the_same_transitions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(generate, monkeypatch, "dataset=pointmaze_umaze_cut3", *SMALL, "dataset.min_episodes=1") == 0
    joined, cut = (f"pointmaze-umaze-{split}-n20000-v0" for split in ("joined", "cut3"))
    assert minari.read(joined).transitions_sha256 == minari.read(cut).transitions_sha256
    certificates = [minari.read_metadata(name)["certificate"] for name in (joined, cut)]
    status = [{task["name"]: task["status"] for task in certificate["tasks"]} for certificate in certificates]
    assert [status[i]["r3c1-to-r1c1"] for i in (0, 1)] == ["seen", "unseen"]
    assert [certificate["pass"] for certificate in certificates] == [True, True]


def test_a_leak_is_refused_by_task_and_episode_unless_it_is_a_control(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    everywhere = ["dataset.split=everywhere", "dataset.contexts=[{reset: all, goal: all}]", "dataset.seed=3", *SMALL]
    assert command(__main__, monkeypatch, "+experiment=pointmaze_stitch", *everywhere, *SHORT) == 2
    assert "task r3c1-to-r1c1: expected unseen, found seen" in (error := capsys.readouterr().err)
    assert "episodes join it (" in error
    control = [*everywhere[:2], "dataset.seed=4", "dataset.control=true", *SMALL]
    assert command(__main__, monkeypatch, "+experiment=pointmaze_stitch", *control, *SHORT) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["+experiment=nope"], "experiment/nope"),
        (["dataset=nope"], "dataset/nope"),
        (["agent=nope"], "agent/nope"),
        (["nope=1"], "nope"),
        (["goals=stitch", "goals.p=0"], "goals.p: 0 given"),
        (["goals=stitch", "goals.p=1.5"], "goals.p: 1.5 given"),
        (["dataset.seen=[[[0,0],[1,1]]]"], "dataset.seen: [0, 0] is no free place of world pointmaze, maze 'umaze'"),
        (["dataset.maze=nope"], "'nope' is not one of"),
        (["dataset.world=nope"], "dataset.world: 'nope' given, but the world is 'pointmaze'"),
        (["steps=0"], "steps: 0 given"),
        (["precision=low"], "precision: 'low'"),
        (["learner.average=1"], "learner.average: 1 given"),
        (["hydra.run.dir=occupied/run"], "occupied"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "occupied").write_text("a file where a folder should be")
    assert command(__main__, monkeypatch, *arguments, *SMALL) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_truncated_dataset_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    name = "pointmaze-umaze-regions-n5000-v0"
    assert command(generate, monkeypatch, "dataset.transitions=5000") == 0
    path = minari.folder(name) / "data" / "main_data.hdf5"
    path.write_bytes(path.read_bytes()[:5000])
    capsys.readouterr()
    assert command(__main__, monkeypatch, "dataset.transitions=5000") == 2
    assert str(path) in (error := capsys.readouterr().err)
    assert error.count("\n") == 1


def test_changed_data_are_noticed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(generate, monkeypatch, "dataset.transitions=5001") == 0
    with h5py.File(minari.folder("pointmaze-umaze-regions-n5001-v0") / "data" / "main_data.hdf5", "a") as file:
        file["episode_3/actions"][0] = 0.25
    assert command(__main__, monkeypatch, "dataset.transitions=5001") == 2
    assert "its data have the hash" in capsys.readouterr().err


def test_another_mujoco_is_a_warning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(generate, monkeypatch, *SMALL, "if_missing=true") == 0
    monkeypatch.setattr("mujoco.__version__", "0.0.1")
    assert command(__main__, monkeypatch, *SMALL, *SHORT) == 0
    assert "evaluation will be in 0.0.1" in capsys.readouterr().err


def test_the_command_line_says_it_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stitchrl", "+experiment=nope"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert list(tmp_path.iterdir()) == []
