"""Datasets of others' episodes: what becomes of their rewards, what is evaluated on them, what is refused."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import benchmark, command, make_episodes
from test_returns import DT, SHORT

from stitchrl import __main__, generate
from stitchrl.audit import __main__ as audit
from stitchrl.data.episodes import Episodes
from stitchrl.data.formats import minari, write
from stitchrl.data.formats.source import of_episodes
from stitchrl.spec import DatasetSpec
from stitchrl.worlds.maze.maps import Maze


@pytest.fixture(autouse=True)
def a_store_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)


MAZE = Maze("umaze", 1.0)
START, TURN, END = ((1, 1), (1, 3), (3, 1))
THEIRS = {
    "world": "pointmaze",
    "maze": "umaze",
    "source": "theirs.hdf5",
    "contexts": [],
    "seen": [],
    "unseen": [],
    "cut": None,
    "transitions": 1_000_000,
    "seed": 0,
    "min_episodes": 5,
    "control": False,
}
RETURNS = {
    "split": "returns-theirs",
    "rewards": [{"place": END, "rate": 1.0}],
    "targets": [
        {"start": START, "value": 15, "expect": "unseen"},
        {"start": TURN, "value": 15, "expect": "seen"},
    ],
    "horizon": 200,
}
GOALS = {"split": "theirs", "seen": [[START, TURN]], "unseen": [[START, END]]}


def walk(*cells: tuple[int, int], rng: np.random.Generator, waits: int = 0) -> np.ndarray:
    """Points through the middles of cells, a little aside, 0.1 m apart."""
    corners = [MAZE.to_xy(cell) for cell in cells]
    way = [a + (b - a) * t for a, b in pairwise(corners) for t in np.linspace(0, 1, 21)]
    return np.array([*way, *[corners[-1]] * waits]) + rng.uniform(-0.05, 0.05, 2)


def theirs() -> Episodes:
    """Twenty episodes: from one end of the U to its first corner, and from there to the other end."""
    rng = np.random.default_rng(0)
    ways = [walk(START, TURN, rng=rng) if i % 2 else walk(TURN, (3, 3), END, rng=rng, waits=20) for i in range(20)]
    return make_episodes(ways, [np.full(len(way) - 1, 0.5, np.float32) for way in ways])


def configure(**values: object) -> list[str]:
    """A dataset's file in a folder of one's own, and how it is asked for."""
    folder = Path("my_conf/dataset")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "theirs.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(THEIRS | values))))
    return ["--config-dir", "my_conf", "dataset=theirs"]


@pytest.mark.parametrize("agent", [["agent=gcbc", "goals=stitch"], [*DT, "goals=stitch"], ["agent=iql"]])
def test_returns_of_others_data_are_trained_for_and_paid_as_the_file_says(
    agent: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    episodes = theirs()
    write("theirs.hdf5", of_episodes("theirs", episodes, {}))
    arguments = [*configure(**RETURNS), *SHORT, *agent, "workers=1", "hydra.run.dir=run"]
    assert command(generate, monkeypatch, *arguments[:3], "card=cards") == 0
    assert (
        "100.0% of its rewards are not what dataset pointmaze-umaze-returns-theirs-v0 gives" in capsys.readouterr().err
    )
    stored = minari.read("pointmaze-umaze-returns-theirs-v0")
    assert stored.sha256 == episodes.sha256, "states, actions and lengths as they are"
    spec = DatasetSpec.create(THEIRS | RETURNS, MAZE.cells)
    objective = benchmark(spec).objective
    for first, last in zip(stored.first, stored.last, strict=True):
        xy = stored.observations[first + 1 : last + 1, :2].numpy()
        assert stored.rewards[first:last].sum() == pytest.approx(objective.collected(xy))
        assert [bool(r) for r in stored.rewards[first:last]] == [(MAZE.to_cells(p) == END).all() for p in xy]
    assert torch.isnan(stored.rewards[stored.last]).all()
    card = Path("cards/pointmaze-umaze-returns-theirs-v0/README.md").read_text()
    assert "These are the episodes of `theirs.hdf5`, with rewards and targets of our own." in card
    assert "at least 2 episodes must be chained" in " ".join(card.split())
    assert command(__main__, monkeypatch, *arguments) == 0
    summary = json.loads(Path("run/summary.json").read_text())
    assert {task["name"]: task["segments_needed"] for task in summary["tasks"]} == {
        "r1c1-return-15": 2,
        "r1c3-return-15": 1,
    }
    assert command(audit, monkeypatch, "stitchrl/pointmaze-umaze-returns-theirs-v0") == 0


def test_goals_in_others_data_and_only_as_many_of_its_episodes_as_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    episodes = theirs()
    write("lab/theirs-v0", of_episodes("theirs", episodes, {}))
    arguments = [*configure(**GOALS, source="lab/theirs-v0"), *SHORT, "workers=1", "hydra.run.dir=run"]
    assert command(__main__, monkeypatch, *arguments, "agent=gcbc", "goals=stitch") == 0
    tasks = json.loads(Path("run/summary.json").read_text())["tasks"]
    assert [(task["status"], task["segments_needed"]) for task in tasks] == [("seen", 1), ("unseen", 2)]
    assert minari.read("pointmaze-umaze-theirs-v0").rewards[:5].tolist() == [0.5] * 5, "nothing else is known of them"
    assert command(generate, monkeypatch, *arguments[:3], "dataset.transitions=500", "dataset.min_episodes=1") == 0
    fewer = minari.read("pointmaze-umaze-theirs-n500-v0")
    assert 1 < len(fewer.lengths) < 20 and len(fewer) <= 500
    assert torch.equal(fewer.observations, episodes.observations[: len(fewer)])


def test_others_data_fail_the_certificate_where_they_join_what_is_to_be_unseen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    write("theirs.hdf5", of_episodes("theirs", make_episodes([walk(START, TURN, (3, 3), END, rng=rng)] * 9), {}))
    assert command(__main__, monkeypatch, *configure(**GOALS), *SHORT, "hydra.run.dir=run") == 2
    assert "pointmaze-umaze-theirs-v0 fails its certificate: task r1c1-to-r3c1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "values, moved, message",
    [
        ({}, 20, "theirs.hdf5: 0% of its positions lie in the maze umaze, centred on the origin"),
        ({"world": "antmaze"}, 0, "theirs.hdf5: observations of 4 and actions of 2 numbers, expected 29 and 8"),
        ({"contexts": [{"reset": [START], "goal": [END]}]}, 0, "either contexts to collect from or a source"),
        ({"source": None}, 0, "either contexts to collect from or a source"),
        ({"length": 5}, 0, "length and goal_distance are of episodes to be collected, and a source is given"),
        ({"source": "nobody/nothing-v0"}, 0, "nobody/nothing-v0: no dataset there"),
    ],
)
def test_what_cannot_be_taken_is_refused_in_one_line(
    values: dict, moved: float, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    episodes = theirs()
    episodes.observations[:, :2] += moved
    write("theirs.hdf5", of_episodes("theirs", episodes, {}))
    assert command(generate, monkeypatch, *configure(**GOALS | values)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not minari.folder("pointmaze-umaze-theirs-v0").exists()
