"""What the README shows works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

from stitchrl.audit.tasks import read_tasks

README = (Path(__file__).parent.parent / "README.md").read_text()


def block(first_line: str) -> str:
    """The fenced block that begins with this line."""
    return re.search(rf"```\w*\n({re.escape(first_line)}\n.*?)```", README, re.DOTALL).group(1)


def test_the_readmes_own_agent_runs(tmp_path: Path) -> None:
    (tmp_path / "my_agent.py").write_text(block("# my_agent.py"))
    (tmp_path / "my_conf" / "agent").mkdir(parents=True)
    (tmp_path / "my_conf" / "agent" / "mine.yaml").write_text(block("# my_conf/agent/mine.yaml"))
    line = re.search(r"^PYTHONPATH=\. python -m stitchrl (.*agent=mine)$", README, re.MULTILINE).group(1)
    small = ["dataset.transitions=20000", "dataset.min_episodes=5", "steps=30", "budget.evaluations=3"]
    environment = {"PYTHONPATH": ".", "MINARI_DATASETS_PATH": str(tmp_path / "datasets"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "stitchrl", *line.split(), *small, "budget.episodes=1", "hydra.run.dir=run"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "summary.json").exists()


def test_the_readmes_tasks_are_a_tasks_file(tmp_path: Path) -> None:
    path = tmp_path / "tasks.yaml"
    path.write_text(block("# tasks.yaml"))
    read = read_tasks(path)
    assert read.columns == (0, 1) and [task.name for task in read.tasks] == ["left-to-right"]
