"""The tables of docs/results and of the README are those of the CSV files beside them."""

import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from docs_pages import README, ROOT

from stitchrl.report.statistics import Estimate, number

RESULTS, TABLES = ROOT / "docs" / "results", ROOT / "benchmarks" / "tables"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.syspath_prepend(str(TABLES))
    return importlib.import_module


def table(page: Path, heading: str) -> Iterator[tuple[str, list[str]]]:
    """The rows of the table with this heading: the first cell, and the others."""
    lines = page.read_text(encoding="utf-8").splitlines()
    (at,) = [i for i, line in enumerate(lines) if line.startswith("|") and heading in line]
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            return
        first, *others = [cell.strip() for cell in line.strip("|").split("|")]
        yield first, others


def shown(estimate: Estimate, digits: int = 2) -> str:
    """Mean and interval from five seeds on, or else each seed."""
    if estimate.half_width is None:
        return ", ".join(number(value, digits) for value in estimate.present)
    return f"{number(estimate.mean, digits)} ± {number(estimate.half_width, digits)}"


CAUSAL = {
    "cloning": "gcbc",
    "cloning with temporal augmentation": "gcbc_stitch",
    "cloning with jumps straight on (`goals=direct`)": "gcbc_direct",
    "DT, 15,000 updates of width 64": "dt",
    "DT with temporal augmentation": "dt_stitch",
    "HIQL, 50,000 updates of 2 x 128": "hiql",
    "GCIVL, likewise": "gcivl",
    "cloning, velocity hidden": "gcbc_no_velocity",
    "floor: goal-blind": "goal_blind",
    "control: goals of other states": "gcbc_shuffled",
}


def test_the_causal_experiments_table(script: Callable[[str], ModuleType]) -> None:
    causal, rows = script("causal"), script("queue_of_runs").read_csv(TABLES / "causal.csv")
    found = list(table(RESULTS / "causal.md", "success on far tasks"))
    assert [label for label, _ in found] == list(CAUSAL)
    columns = [*((k, "far_success") for k in (1, 2, 3, 4)), *((k, "far_tight_success") for k in (1, 2, 3))]
    for label, cells in found:
        for cell, (segments, score) in zip(cells, columns, strict=True):
            if cell:
                assert cell == shown(causal.success(rows, CAUSAL[label], segments, score)), (label, segments, score)


def test_the_readmes_six_rows(script: Callable[[str], ModuleType]) -> None:
    read_csv, causal, ants = script("queue_of_runs").read_csv, script("causal"), script("ants")
    found = list(table(README, "whole episodes"))
    names = [("gcbc", "gcbc_stitch", "gcbc_direct"), ("dt", "dt_stitch"), ("hiql",), ("goal_blind",)]
    rows = read_csv(TABLES / "causal.csv")
    for (label, cells), (plain, *augmented) in zip(found[:4], names, strict=True):
        estimates = [causal.success(rows, plain, k) for k in (1, 3)] + [causal.success(rows, n, 3) for n in augmented]
        assert [cell for cell in cells if cell] == [shown(estimate) for estimate in estimates], label
    rows = read_csv(TABLES / "ants.csv")
    data = [("umaze_joined", "future"), *(("umaze_cut3", goals) for goals in ("future", "stitch", "direct"))]
    for (label, cells), agent in zip(found[4:], ("gcbc_egocentric", "hgcbc_egocentric"), strict=True):
        assert cells == [shown(ants.success(rows, name, agent, way, "far_success")) for name, way in data], label


def test_the_ants_table(script: Callable[[str], ModuleType]) -> None:
    ants, rows = script("ants"), script("queue_of_runs").read_csv(TABLES / "ants.csv")
    for label, (goals, *cells) in table(RESULTS / "ants.md", "hierarchical: far"):
        dataset = re.search(r"antmaze-(\w+)-(\w+)-v0", label).expand(r"\1_\2")
        far = "unseen_success" if dataset.endswith("regions") else "far_success"
        kinds = [(agent, kind) for agent in ("gcbc_egocentric", "hgcbc_egocentric") for kind in (far, "seen_success")]
        assert cells == [shown(ants.success(rows, dataset, agent, goals, kind)) for agent, kind in kinds], label


def test_the_papers_table(script: Callable[[str], ModuleType]) -> None:
    """Unseen tasks; the paper's own figures, in brackets, are the script's."""
    paper, rows = script("paper"), script("queue_of_runs").read_csv(TABLES / "paper.csv")
    ways = {
        "RvS": ("RvS", "future"),
        "RvS, augmented": ("RvS", "stitch"),
        "RvS, jumps straight on": ("RvS", "direct"),
        "DT": ("DT", "future"),
        "DT, augmented": ("DT", "stitch"),
        "floor: goal-blind RvS": ("goal-blind", "future"),
    }
    before = ""
    for label, cells in table(RESULTS / "paper.md", "seen tasks"):
        if label == "difference, seed by seed":
            name = ways[before][0]
            pairs = [
                [paper.success(rows, name, maze, way, "unseen") for way in ("future", "stitch")] for maze in paper.MAZES
            ]
            estimates, published = [augmented.minus(plain) for plain, augmented in pairs], ("-",) * 3
        else:
            name, goals = ways[label]
            estimates = [paper.success(rows, name, maze, goals, "unseen") for maze in paper.MAZES]
            published = paper.METHODS[name].paper[goals]
        for cell, estimate, figure in zip(cells, estimates, published, strict=False):
            value, _, bracket = cell.partition(" (")
            assert value == shown(estimate, 0), label
            assert bracket.startswith("" if figure == "-" else figure), label
        before = label
