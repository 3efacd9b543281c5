"""What the README shows works as it stands there."""

import csv
import re
import subprocess
import sys
from pathlib import Path

from stitchrl.audit.tasks import read_tasks

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


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


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_tests_that_the_readme_names_are_there() -> None:
    named = set(re.findall(r"`(tests/\w+\.py)`", README))
    assert named and [name for name in named if not (ROOT / name).exists()] == []


def test_the_readmes_first_table_is_that_of_the_committed_rows() -> None:
    """Success on far tasks of the four runs of `make run`."""
    with open(ROOT / "benchmarks" / "results" / "make_run.csv", encoding="utf-8") as file:
        rows = {(row["dataset"].split("-")[2], row["goals"]): float(row["far_success"]) for row in csv.DictReader(file)}
    shown = re.findall(
        r"^ *(?:gcbc_egocentric)? +(joined|cut3) +(future|direct|stitch) +(\d\.\d\d)", README, re.MULTILINE
    )
    assert {(data, goals): float(success) for data, goals, success in shown} == {
        way: round(success, 2) for way, success in rows.items()
    }
