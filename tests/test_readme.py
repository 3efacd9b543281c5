"""What the README shows works as it stands there, and its numbers are those of the committed files."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import PAGES, README, ROOT, blocks, write_files

SMALL = ["dataset.transitions=20000", "dataset.min_episodes=5", "steps=30", "budget.evaluations=3"]
SMALL += ["budget.episodes=1", "hydra.run.dir=run"]


@pytest.mark.parametrize("choice", ["agent=mine", "goals=ahead"])
def test_the_files_of_one_that_extends_it_run(choice: str, tmp_path: Path) -> None:
    """The agent of the README and the goal scheme beside it, with the files of docs/extending.md."""
    write_files(tmp_path)
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    line = re.search(rf"^PYTHONPATH=\. python -m stitchrl (.*{choice})$", page, re.MULTILINE).group(1)
    if choice == "agent=mine":
        assert f"\nPYTHONPATH=. python -m stitchrl {line}\n" in README.read_text(encoding="utf-8")
    environment = {"PYTHONPATH": f".:{ROOT}", "MINARI_DATASETS_PATH": str(tmp_path / "datasets"), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "stitchrl", *line.split(), *SMALL]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "summary.json").exists()


def test_the_readme_is_one_page() -> None:
    assert README.stat().st_size <= 10_000


def test_the_tests_that_pages_name_are_there() -> None:
    named = {name for page in PAGES for name in re.findall(r"`(tests/\w+\.py)`", page.read_text(encoding="utf-8"))}
    assert len(named) > 8 and [name for name in named if not (ROOT / name).exists()] == []


def test_the_first_table_is_that_of_the_committed_rows() -> None:
    """Success on far tasks of the four runs of `make run`."""
    with open(ROOT / "benchmarks" / "results" / "make_run.csv", encoding="utf-8") as file:
        rows = {(row["dataset"].split("-")[2], row["goals"]): float(row["far_success"]) for row in csv.DictReader(file)}
    tables = [
        block
        for page in (README, ROOT / "docs" / "experiments.md")
        for block in blocks(page)
        if "success on far tasks" in block
    ]
    assert len(tables) == 2 and tables[0] == tables[1]
    line = r"^ *(?:gcbc_egocentric)? +(joined|cut3) +(future|direct|stitch) +(\d\.\d\d)"
    shown = re.findall(line, tables[0], re.MULTILINE)
    assert {(data, goals): float(success) for data, goals, success in shown} == {
        way: round(success, 2) for way, success in rows.items()
    }
