"""The stitching paper's table: RvS and DT on its point mazes, with and without temporal augmentation, five seeds.

    python benchmarks/paper_table.py [--methods RvS] [--processes 2]

Smaller and shorter than the paper's (1,000,000 updates of 2 x 1024 for RvS, 200,000 for DT), as `updates` and `sizes`
below say. Runs what has no row in results/paper_table.csv, under runs/paper/, and prints success on unseen tasks, the
mean of the last three evaluations, beside the paper's.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

from queue_of_runs import Job, Row, read_csv, report_rows, run_all
from rich.console import Console
from rich.table import Table

from stitchrl.report.statistics import Estimate

RUNS = Path("runs/paper")
TABLE = Path(__file__).parent / "results" / "paper_table.csv"
SEEDS = range(5)
MAZES = ("umaze", "medium", "large")


class Method(NamedTuple):
    agent: str
    updates: int
    sizes: list[str]  # overrides
    paper: dict[str, tuple[str, str, str]]  # percent by goals, in the order of MAZES (read off its figures)


METHODS = {
    "RvS": Method("gcbc", 30_000, [], {"future": ("17", "1-2", "3"), "stitch": ("97", "55", "38")}),
    "DT": Method(
        "dt",
        15_000,
        ["budget.batch_size=64", "budget.evaluations=5"],
        {"future": ("17", "20", "22"), "stitch": ("54", "62", "39")},
    ),
}


def job(name: str, maze: str, goals: str, seed: int) -> Job:
    method = METHODS[name]
    others = [f"agent={method.agent}", f"goals={goals}", f"steps={method.updates}", *method.sizes, f"seed={seed}"]
    return Job(RUNS / f"{method.agent}-{maze}-{goals}-s{seed}", [f"dataset=pointmaze_{maze}_regions"], others)


def show(rows: list[Row]) -> None:
    """Every cell: the mean over seeds with Student's 95% interval, in percent; in brackets the paper's."""
    of_folder = {row["folder"]: row for row in rows}
    table = Table("method", "goals", *(f"{maze}: {kind}" for maze in MAZES for kind in ("unseen", "seen")))
    for name, method in METHODS.items():
        for goals, published in method.paper.items():
            cells = []
            for maze, paper in zip(MAZES, published, strict=True):
                found = [of_folder.get(str(job(name, maze, goals, seed).folder)) for seed in SEEDS]
                for kind, note in (("unseen", f" ({paper})"), ("seen", "")):
                    score = Estimate(tuple(row and 100 * float(row[f"{kind}_success"]) for row in found))
                    cells.append(f"{score}{note}")
            table.add_row(name, goals, *cells)
    Console(width=200).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(METHODS), help="only these")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    options = parser.parse_args()
    jobs = [
        job(name, maze, goals, seed)
        for name in options.methods.split(",")
        for maze in MAZES
        for goals in ("stitch", "future")
        for seed in SEEDS
    ]
    run_all(jobs, options.processes, TABLE, lambda: report_rows(RUNS))
    show(read_csv(TABLE))


if __name__ == "__main__":
    main()
