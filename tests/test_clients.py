"""Our files in the hands of those that they are written for: Minari, OGBench and d3rlpy read what was generated."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import minari
import numpy as np
import pytest
from conftest import command, make_episodes

from stitchrl import generate
from stitchrl.audit import __main__ as audit
from stitchrl.data.formats import open_source, write
from stitchrl.data.formats.source import of_episodes
from stitchrl.worlds.maze.known import find_tasks

NAME = "pointmaze-dev-regions-n20000-v0"
FILES = (f"stitchrl/{NAME}", f"{NAME}.hdf5", f"{NAME}.npz")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A small dataset of ours in every format, all in the working directory; its episodes."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("clients")
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        patch.chdir(folder)
        options = ("dataset.transitions=20000", "dataset.min_episodes=2", "export=[minari,d4rl,ogbench]")
        assert command(generate, patch, "dataset=pointmaze_dev_regions", *options) == 0
        yield open_source(f"stitchrl/{NAME}").read()


def test_minari(dataset):
    loaded = minari.load_dataset(f"stitchrl/{NAME}")
    assert loaded.total_steps == len(dataset.transitions)
    states = np.concatenate([episode.observations for episode in loaded.iterate_episodes()])
    assert np.array_equal(states, dataset.observations.numpy())
    tool = Path(sys.executable).with_name("minari")
    wide = {**os.environ, "COLUMNS": "300"}
    listed = subprocess.run([tool, "list", "local"], env=wide, capture_output=True, text=True, check=True)
    assert NAME in listed.stdout


def test_ogbench(dataset):
    with contextlib.redirect_stdout(io.StringIO()):
        import ogbench

    _, train, validation = ogbench.make_env_and_datasets(
        "pointmaze-medium-navigate-v0", dataset_path=f"{NAME}.npz", add_info=True
    )
    rows = dataset.transitions
    assert np.array_equal(train["observations"], dataset.observations[rows].numpy())
    assert np.array_equal(train["next_observations"], dataset.observations[rows + 1].numpy())
    assert np.array_equal(train["actions"], dataset.actions[rows].numpy())
    assert train["terminals"].sum() == len(dataset.lengths)
    assert np.array_equal(validation["observations"], train["observations"][-len(validation["observations"]) :])


@pytest.mark.filterwarnings("ignore")
def test_d3rlpy(dataset):
    from d3rlpy.dataset import MDPDataset

    with h5py.File(f"{NAME}.hdf5") as file:  # as D4RL's own reader: every dataset in the file, scalars too
        held = {}
        file.visititems(lambda key, item: held.update({key: item[()]}) if isinstance(item, h5py.Dataset) else None)
    keys = ("observations", "actions", "rewards", "terminals", "timeouts")
    read = MDPDataset(**{key: held[key].astype(np.float32) for key in keys})
    assert [len(episode.observations) for episode in read.episodes] == (dataset.lengths + 1).tolist()
    assert np.array_equal(np.concatenate([e.observations for e in read.episodes]), dataset.observations.numpy())


def test_the_audit_says_the_same_of_every_format(dataset, monkeypatch, capsys):
    said = []
    for name in FILES:
        assert command(audit, monkeypatch, name, "--json") == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1] == said[2]
    assert said[0]["dataset_sha256"] == dataset.sha256 and said[0]["pass"]


@pytest.mark.parametrize("maze", ["medium", "large", "giant"])
@pytest.mark.parametrize("world", ["pointmaze", "antmaze"])
def test_ogbenchs_tasks_and_maps_are_those_of_its_environments(world, maze):
    with contextlib.redirect_stdout(io.StringIO()):
        import ogbench

    env = ogbench.make_env_and_datasets(f"{world}-{maze}-stitch-v0", env_only=True).unwrapped
    known = find_tasks(f"{world}-{maze}-stitch-v0")
    assert np.array_equal(env.maze_map == 0, known.maze.free)
    xy = np.array([[info["init_xy"], info["goal_xy"]] for info in env.task_infos], np.float32)  # [tasks, 2, 2]
    turned = known.turn(xy.reshape(-1, 2).copy())
    centres = [[task.start.center, task.goal.center] for task in known.tasks]
    assert np.allclose(turned.reshape(-1, 2, 2), centres)
    assert known.tasks[0].goal.radius == env._goal_tol and known.tasks[0].start.half == env._noise


def test_a_file_with_ogbenchs_name_is_audited_for_its_tasks(dataset, monkeypatch, capsys):
    name = "pointmaze-medium-stitch-v0.npz"
    write(name, of_episodes("x", dataset, {}))  # of another maze
    assert command(audit, monkeypatch, name, "--json") == 2
    assert f"{name}: its name stands for the maze medium, but" in capsys.readouterr().err
    maze = find_tasks(name.removesuffix(".npz")).maze
    cells = [np.array(cell) for cell in maze.path((1, 1), (6, 6))]
    write(name, of_episodes("x", make_episodes([np.array([4 * (cell[::-1] - 1) for cell in cells])]), {}))
    assert command(audit, monkeypatch, name, "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert [task["name"] for task in said["tasks"]] == [f"task{i}" for i in range(1, 6)]
    assert [task["status"] for task in said["tasks"]] == ["rare"] + 4 * ["unseen"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("maze", ["umaze", "medium", "large"])
@pytest.mark.parametrize("world", ["pointmaze", "antmaze"])
def test_the_papers_datasets_are_the_same_in_every_format(world, maze, monkeypatch, tmp_path, capsys):
    """At full size: OGBench and d3rlpy read every transition, and the audit says the same of each file."""
    with contextlib.redirect_stdout(io.StringIO()):
        import ogbench
    from d3rlpy.dataset import MDPDataset

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    options = ("export=[d4rl,ogbench]", "if_missing=true")  # so that a store may be put there before
    assert command(generate, monkeypatch, f"dataset={world}_{maze}_regions", *options) == 0
    name = f"{world}-{maze}-regions-v0"
    stored = open_source(f"stitchrl/{name}").read()
    _, train, _ = ogbench.make_env_and_datasets("pointmaze-medium-navigate-v0", dataset_path=f"{name}.npz")
    assert np.array_equal(train["observations"], stored.observations[stored.transitions].numpy())
    with h5py.File(f"{name}.hdf5") as file:
        keys = ("observations", "actions", "rewards", "terminals", "timeouts")
        read = MDPDataset(**{key: file[key][()].astype(np.float32) for key in keys})
    assert [len(episode.observations) for episode in read.episodes] == (stored.lengths + 1).tolist()
    capsys.readouterr()
    said = []
    for file_name in (f"stitchrl/{name}", f"{name}.hdf5", f"{name}.npz"):
        assert command(audit, monkeypatch, file_name, "--json") == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1] == said[2] and said[0]["dataset_sha256"] == stored.sha256
