"""The stitching paper's table: RvS and DT on its point mazes, with and without temporal augmentation, five seeds; and
what it has not, jumps that keep to the straight way.

    python benchmarks/tables/paper.py [--methods RvS] [--mazes umaze] [--processes 2]
    python benchmarks/tables/paper.py --anchor

Smaller and shorter than the paper's (1,000,000 updates of 2 x 1024 for RvS, 200,000 for DT), as METHODS below says.
Runs what has no row in paper.csv, under runs/paper/, and prints success on unseen tasks, the mean of the last three
evaluations, beside the paper's, and what augmentation adds to it, seed by seed. Every evaluation of a run goes to
paper_curves.csv, and those of DT are drawn in paper_curves.png: it has not come to rest at this budget.
--anchor: one seed of one cell, augmented RvS on the medium maze, for as many updates as the paper's, at our width.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

from curves import curve_of, curve_rows, draw_panel, save
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from queue_of_runs import Job, Row, bring_up_to_date, over_seeds, read_csv, report_rows, run_all
from rich.console import Console
from rich.table import Table

from stitchrl.report.statistics import Estimate

RUNS = Path("runs/paper")
TABLE = Path(__file__).with_suffix(".csv")
CURVES = TABLE.with_name("paper_curves.csv")
SEEDS = range(5)
MAZES = ("umaze", "medium", "large")
FUTURE, STITCH, DIRECT = "future", "stitch", "direct"
UNKNOWN = ("-", "-", "-")  # what the paper has not


class Method(NamedTuple):
    overrides: list[str]
    paper: dict[str, tuple[str, str, str]]  # percent by goals, in the order of MAZES (read off its figures)


METHODS = {
    "RvS": Method(
        ["agent=gcbc", "steps=30000"], {FUTURE: ("17", "1-2", "3"), STITCH: ("97", "55", "38"), DIRECT: UNKNOWN}
    ),
    "DT": Method(
        ["agent=dt", "agent.width=64", "budget.batch_size=32", "steps=15000"],  # windows of five: 160 actions
        {FUTURE: ("17", "20", "22"), STITCH: ("54", "62", "39")},
    ),
    "goal-blind": Method(["agent=goal_blind", "steps=30000"], {FUTURE: UNKNOWN}),
    "shuffled goals": Method(["agent=gcbc_shuffled", "steps=30000"], {FUTURE: UNKNOWN}),
}
ANCHOR = Job(
    RUNS / "gcbc-medium-stitch-1m-s0",
    ["dataset=pointmaze_medium_regions"],
    ["agent=gcbc", "steps=1000000", "budget.evaluations=20", f"goals={STITCH}", "seed=0"],
)


def job(name: str, maze: str, goals: str, seed: int) -> Job:
    agent, *others = METHODS[name].overrides
    folder = RUNS / f"{agent.removeprefix('agent=')}-{maze}-{goals}-s{seed}"
    return Job(folder, [f"dataset=pointmaze_{maze}_regions"], [agent, *others, f"goals={goals}", f"seed={seed}"])


def find_rows() -> list[Row]:
    """The report's row of every finished run; all evaluations of these runs are written beside."""
    bring_up_to_date(CURVES, curve_rows(RUNS))
    return report_rows(RUNS)


def success(rows: list[Row], name: str, maze: str, goals: str, kind: str) -> Estimate:
    """Percent over seeds."""
    return over_seeds(rows, (job(name, maze, goals, seed) for seed in SEEDS), f"{kind}_success", scale=100)


def show(rows: list[Row]) -> None:
    """Every cell: the mean over seeds with Student's 95% interval, in percent; in brackets the paper's."""
    table = Table("method", "goals", *(f"{maze}: {kind}" for maze in MAZES for kind in ("unseen", "seen")))
    for name, method in METHODS.items():
        for goals, published in method.paper.items():
            cells = []
            for maze, paper in zip(MAZES, published, strict=True):
                cells.append(f"{success(rows, name, maze, goals, 'unseen')} ({paper})")
                cells.append(str(success(rows, name, maze, goals, "seen")))
            table.add_row(name, goals, *cells)
        for goals in list(method.paper)[1:]:
            cells = []
            for maze in MAZES:
                for kind in ("unseen", "seen"):
                    plain, augmented = (success(rows, name, maze, way, kind) for way in (FUTURE, goals))
                    cells.append(str(augmented.minus(plain)))
            table.add_row("", f"{goals} - future", *cells)
        table.add_section()
    console = Console(width=220)
    console.print(table)
    unseen, seen = (over_seeds(rows, [ANCHOR], f"{kind}_success", scale=100) for kind in ("unseen", "seen"))
    console.print(f"RvS, {STITCH}, medium, a million updates, seed 0: {unseen} unseen, {seen} seen")


def draw(rows: list[Row], name: str) -> None:
    """Success over gradient steps on each maze, without augmentation and with it; a line for each seed."""
    figure = Figure(figsize=(8, 4.4), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    ways = (FUTURE, STITCH)
    panels = figure.subplots(len(ways), len(MAZES), sharex=True, sharey=True)
    for line, goals in zip(panels, ways, strict=True):
        for axes, maze in zip(line, MAZES, strict=True):
            runs = (job(name, maze, goals, seed) for seed in SEEDS)
            draw_panel(axes, f"{maze}, {goals}", [curve_of(rows, run) for run in runs])
            axes.set_ylim(-0.03, 1.03)
    save(figure, CURVES.with_suffix(".png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(METHODS), help="only these")
    parser.add_argument("--mazes", default=",".join(MAZES), help="only these")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    parser.add_argument("--anchor", action="store_true", help="instead of these, the run of a million updates")
    options = parser.parse_args()
    jobs = [
        job(name, maze, goals, seed)
        for seed in SEEDS
        for name in options.methods.split(",")
        for maze in options.mazes.split(",")
        for goals in METHODS[name].paper
    ]
    run_all([ANCHOR] if options.anchor else jobs, options.processes, TABLE, find_rows)
    show(read_csv(TABLE))
    draw(read_csv(CURVES), "DT")


if __name__ == "__main__":
    main()
