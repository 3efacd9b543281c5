"""The wheel runs without the checkout: its configuration and the ant's weights travel inside it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_installed_wheel_runs_an_experiment(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("stitchrl-*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    environment = os.environ | {"PYTHONPATH": str(site), "MINARI_DATASETS_PATH": str(tmp_path / "datasets")}
    small = ["dataset.transitions=20000", "dataset.min_episodes=5", "budget.episodes=2", "steps=60"]

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", "import stitchrl; print(stitchrl.__file__)").startswith(str(site))
    run("-m", "stitchrl", "+experiment=pointmaze_stitch", *small, "hydra.run.dir=run")
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["commit"] is None
    run("-m", "stitchrl.generate", "dataset=antmaze_umaze_regions", "dataset.transitions=500")
