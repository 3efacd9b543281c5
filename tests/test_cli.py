"""`stitchrl COMMAND` does as `python -m stitchrl.COMMAND`: the same output, the same exit status."""

import json
import os
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest

from stitchrl.cli import MODULES

ROOT = Path(__file__).parent.parent
SECOND = 1.0  # of processor time, within which a command that is asked for help has to answer

TASKS = """
achieved_goal: {columns: [0, 1]}
tasks: [{name: across, start: {center: [0, 0], radius: 0.5}, goal: {center: [8, 0], radius: 0.5}, expect: seen}]
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The console script as pip writes it, and beside it a dataset with tasks."""
    path = tmp_path / "bin" / "stitchrl"
    path.parent.mkdir()
    path.write_text("import sys\nfrom stitchrl.cli import main\nif __name__ == '__main__':\n    sys.exit(main())\n")
    (tmp_path / "tasks.yaml").write_text(TASKS)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        x = np.arange(2600) % 26 / 3
        file["observations"] = np.stack([x, np.zeros_like(x)], 1).astype(np.float32)
        file["actions"], file["timeouts"] = np.zeros((len(x), 2), np.float32), np.arange(2600) % 26 == 25
    return path


def run(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = os.environ | {"PYTHONPATH": str(ROOT), "MINARI_DATASETS_PATH": str(cwd / "datasets")}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=inherited | environment, capture_output=True, text=True
    )


def test_the_console_script_is_this_function() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"stitchrl": "stitchrl.cli:main"}


@pytest.mark.parametrize(
    "arguments, status, said",
    [
        (["--help"], 0, ""),
        (["generat"], 2, "stitchrl: generat: no such command; the nearest is generate\n"),
        (["+experiment=x"], 2, f"stitchrl: +experiment=x: no such command; there are {', '.join(MODULES)}\n"),
        ([], 2, f"stitchrl: a command expected: {', '.join(MODULES)}; see --help\n"),
    ],
)
def test_help_and_misspelt_commands_are_answered_at_once(
    arguments: list[str], status: int, said: str, script: Path, tmp_path: Path
) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(script, *arguments, cwd=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stderr) == (status, said)
    assert bool(done.stdout) == (status == 0)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < SECOND


@pytest.mark.parametrize("name", MODULES)
def test_help_of_a_command_is_that_of_its_module(name: str, script: Path, tmp_path: Path) -> None:
    ours, theirs = run(script, name, "--help", cwd=tmp_path), run("-m", MODULES[name], "--help", cwd=tmp_path)
    assert (ours.returncode, ours.stdout, ours.stderr) == (0, theirs.stdout, theirs.stderr) and ours.stdout


@pytest.mark.parametrize(
    "name, arguments, status",
    [
        ("run", ["agent.batchsize=3"], 2),
        ("generate", ["dataset=none"], 2),
        ("audit", ["a.hdf5", "--tasks", "tasks.yaml"], 0),
        ("audit", ["a.hdf5", "--tasks", "tasks.yaml", "--min-episodes", "1000"], 1),
        ("audit", ["none.hdf5"], 2),
        ("convert", ["a.hdf5"], 2),
        ("report", ["none"], 2),
    ],
)
def test_a_command_says_and_exits_as_its_module_does(
    name: str, arguments: list[str], status: int, script: Path, tmp_path: Path
) -> None:
    ours, theirs = run(script, name, *arguments, cwd=tmp_path), run("-m", MODULES[name], *arguments, cwd=tmp_path)
    assert (ours.returncode, ours.stdout, ours.stderr) == (status, theirs.stdout, theirs.stderr)
    assert theirs.returncode == status and "Traceback" not in ours.stderr


def test_a_sweep_side_by_side_with_an_agent_of_the_current_folder(script: Path, tmp_path: Path) -> None:
    """The launcher's processes import what the command did; each run is a process of `python -m stitchrl`."""
    (tmp_path / "mine.py").write_text("from stitchrl.agents.gcbc import GCBC\n\n\nclass Mine(GCBC):\n    pass\n")
    small = ["dataset.transitions=20000", "dataset.min_episodes=1", "steps=30", "budget.evaluations=3"]
    small += ["budget.episodes=1", "agent.hidden_dims=[8]", "agent._target_=mine.Mine"]
    sweep = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1", *small]
    done = run(script, "run", *sweep, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("2 finished, 0 failed")
    summaries = [json.loads(path.read_text()) for path in tmp_path.glob("runs/pointmaze-umaze-regions/*/summary.json")]
    assert sorted(summary["seed"] for summary in summaries) == [0, 1]
