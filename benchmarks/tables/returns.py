"""Return stitching: cloning, DT and TD methods asked for returns that no episode collects from where they start.

    python benchmarks/tables/returns.py [--datasets pointmaze_umaze_returns] [--agents gcbc,iql] [--processes 2]

10,000 updates each; five seeds for the point, three for the ant. Runs what has no row in returns.csv, under
runs/returns/, and adds a row for each task of each run that ends, the mean of its last three evaluations; what came of
a grid of targets goes to returns_calibration.csv. Prints returns and success, and draws achieved against target return
in returns.png.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from queue_of_runs import Job, Row, bring_up_to_date, over_seeds, read_csv, run_all
from rich.console import Console
from rich.table import Table

from stitchrl.report.statistics import Estimate

RUNS = Path("runs/returns")
TABLE = Path(__file__).with_suffix(".csv")
GRID = TABLE.with_name("returns_calibration.csv")
PICTURE = TABLE.with_suffix(".png")
SEEDS = range(5)
ANT_SEEDS = range(3)
POINT = ["steps=10000", "budget.evaluations=5"]
DATASETS = {
    "pointmaze_umaze_returns": POINT,
    "pointmaze_umaze_returnsjoined": POINT,  # the control
    "pointmaze_umaze_returnscut": POINT,
    "pointmaze_medium_returns": POINT,
    "antmaze_umaze_returns": ["budget=ant", "steps=10000"],
}
SMALL_DT = ["agent.width=64", "budget.batch_size=32"]
METHODS = {  # agent and goals; TD methods are not told what to collect
    ("gcbc", "future"): ("RvS-R", [], "#1f77b4"),
    ("gcbc", "stitch"): ("RvS-R, augmented", [], "#d65f2a"),
    ("dt", "future"): ("DT", SMALL_DT, "#4fb3c8"),
    ("dt", "stitch"): ("DT, augmented", SMALL_DT, "#d69fb0"),
    ("iql", "future"): ("IQL", [], "#2a9d4a"),
    ("td3bc", "future"): ("TD3+BC", [], "#8a5fb0"),
}
ON_ANTS = (("gcbc", "future"), ("gcbc", "stitch"), ("iql", "future"))


def job(dataset: str, agent: str, goals: str, seed: int) -> Job:
    settings = [*DATASETS[dataset], *METHODS[agent, goals][1]]
    others = [f"agent={agent}", f"goals={goals}", *settings, f"seed={seed}"]
    return Job(RUNS / f"{dataset}-{agent}-{goals}-s{seed}", [f"dataset={dataset}"], others)


def finished() -> list[Path]:
    return sorted(path.parent for path in RUNS.glob("*/summary.json"))


def find_rows() -> list[Row]:
    """One row for each task of each finished run; the grids of all of them are written beside."""
    rows, grid = [], []
    for folder in finished():
        summary = json.loads((folder / "summary.json").read_text())
        run = {key: summary[key] for key in ("dataset", "agent", "goals", "seed", "steps")}
        origin = {key: summary[key] for key in ("updates_per_s", "wall_s", "dataset_sha256", "commit")}
        for task in summary["tasks"]:
            keys = ("name", "expect", "target", "return", "success", "final", "best", "segments_needed", "ceiling")
            rows.append(run | {key: task[key] for key in keys} | origin | {"folder": str(folder)})
        with open(folder / "calibration.csv", encoding="utf-8", newline="") as file:
            grid += [run | row | {"folder": str(folder)} for row in csv.DictReader(file)]
    bring_up_to_date(GRID, grid)
    return rows


def of_task(rows: list[Row], dataset: str, way: tuple[str, str], name: str, key: str) -> Estimate:
    """A task's value over seeds."""
    return over_seeds(
        [row for row in rows if row["name"] == name], (job(dataset, *way, seed) for seed in seeds_of(dataset)), key
    )


def seeds_of(dataset: str) -> range:
    return ANT_SEEDS if dataset.startswith("antmaze") else SEEDS


def show(rows: list[Row]) -> None:
    """Mean return and success of each task: Student's 95% interval over five seeds, or each of fewer."""
    table = Table("dataset", "task", "expected", "method", "mean return", "success")
    for dataset in DATASETS:
        name = dataset.replace("_", "-") + "-v0"
        tasks = {row["name"]: row["expect"] for row in rows if row["dataset"] == name}
        for task, expect in tasks.items():
            for way, (label, _, _) in METHODS.items():
                values = [of_task(rows, dataset, way, task, key) for key in ("return", "success")]
                if values[0].present:
                    table.add_row(name, task, expect, label, *map(str, values))
    Console(width=160).print(table)


def draw(rows: list[Row], grid: list[Row]) -> None:
    """For each dataset achieved against target return from the unseen task's start, the mean over seeds."""
    names = [
        name for name in (f"{d.replace('_', '-')}-v0" for d in DATASETS) if any(r["dataset"] == name for r in rows)
    ]
    columns, lines = 3, -(-len(names) // 3)
    figure = Figure(figsize=(3.6 * columns, 3.2 * lines + 0.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(panels, names, strict=False):
        certificate = TABLE.parents[2] / "datasets" / name / "certificate.json"
        first = json.loads(certificate.read_text())["tasks"][0]
        start, points = first["name"].split("-")[0], [row for row in grid if row["dataset"] == name]
        targets = sorted({float(row["target"]) for row in points if row["start"] == start})
        axes.axvspan(0, first["best_in_data"], color="#dddddd", lw=0, label="collected in training from there")
        axes.plot(targets, targets, ":", color="#888888", lw=1)
        for (agent, goals), (label, _, colour) in METHODS.items():
            mine = [r for r in points if (r["agent"], r["goals"], r["start"]) == (agent, goals, start)]
            if mine:
                achieved = [np.mean([float(r["achieved"]) for r in mine if float(r["target"]) == t]) for t in targets]
                axes.plot(targets, achieved, marker="o", ms=3, lw=1.2, color=colour, label=label)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("target return")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylabel("achieved return")
    figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=4)
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default=",".join(DATASETS), help="only these")
    parser.add_argument("--agents", default=",".join(dict.fromkeys(agent for agent, _ in METHODS)), help="only these")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    options = parser.parse_args()
    jobs = [
        job(dataset, agent, goals, seed)
        for seed in SEEDS
        for dataset in options.datasets.split(",")
        for agent, goals in (ON_ANTS if dataset.startswith("antmaze") else METHODS)
        if agent in options.agents.split(",") and seed in seeds_of(dataset)
    ]
    run_all(jobs, options.processes, TABLE, find_rows)
    show(read_csv(TABLE))
    draw(read_csv(TABLE), read_csv(GRID))


if __name__ == "__main__":
    main()
