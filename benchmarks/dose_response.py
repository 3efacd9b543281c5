"""The causal experiment: the same transitions in ever shorter pieces, so that ever more must be chained.

    python benchmarks/dose_response.py [--mazes medium,large] [--goals future,stitch] [--processes 2]

Goal-conditioned cloning, with and without temporal augmentation, on the point's joined datasets and their cut twins,
five seeds, 30,000 updates: same tasks, starts, goals and step limits. Runs what has no row in
results/dose_response.csv, under runs/dose/, adds the report's row for each run that ends, and draws success on the far
tasks against the segments that they need in results/dose_response.png.
"""

import argparse
import re
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from queue_of_runs import Job, Row, read_csv, report_rows, run_all

from stitchrl.report.statistics import Estimate

RUNS = Path("runs/dose")
TABLE = Path(__file__).parent / "results" / "dose_response.csv"
PICTURE = TABLE.with_suffix(".png")
SEEDS = range(5)
SEGMENTS = {"medium": (1, 2, 3, 4), "large": (1, 2, 3, 4, 6, 8)}  # 1: joined
COLOURS = {"medium": "#1f77b4", "large": "#d65f2a"}
GOALS = {"future": ("-", "no augmentation"), "stitch": ("--", "temporal augmentation")}


def job(maze: str, segments: int, goals: str, seed: int) -> Job:
    dataset = f"pointmaze_{maze}_" + ("joined" if segments == 1 else f"cut{segments}")
    others = ["agent=gcbc", f"goals={goals}", f"seed={seed}"]
    name = f"{dataset}-s{seed}" if goals == "future" else f"{dataset}-{goals}-s{seed}"
    return Job(RUNS / name, [f"dataset={dataset}"], others)


def success(rows: list[Row], maze: str, goals: str) -> dict[int, Estimate]:
    """Success on the far tasks by the segments that they need at least; 1 for whole episodes."""
    found: dict[int, list[float]] = {}
    for row in rows:
        name = re.fullmatch(rf"pointmaze-{maze}-(?:joined|cut(\d+))-v0", row["dataset"])
        if name and row["goals"] == goals:
            found.setdefault(int(name[1] or 1), []).append(float(row["far_success"]))
    return {segments: Estimate(tuple(values)) for segments, values in sorted(found.items())}


def draw(rows: list[Row]) -> None:
    """Every seed a point; the mean with Student's 95% interval where there are five."""
    figure = Figure(figsize=(7, 3.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    drawn: list[int] = []
    curves = [(maze, goals) for maze in SEGMENTS for goals in GOALS]
    for shift, (maze, goals) in zip(np.linspace(-0.09, 0.09, len(curves)), curves, strict=True):
        estimates = success(rows, maze, goals)
        if not estimates:
            continue
        drawn += estimates
        x, colour, (line, words) = np.array(list(estimates)) + shift, COLOURS[maze], GOALS[goals]
        for at, estimate in zip(x, estimates.values(), strict=True):
            axes.plot([at] * len(estimate.values), estimate.present, ".", color=colour, alpha=0.35, ms=5)
        half = [estimate.half_width or 0 for estimate in estimates.values()]
        means = [estimate.mean for estimate in estimates.values()]
        axes.errorbar(x, means, half, color=colour, ls=line, marker="o", ms=4, label=f"{maze} maze, {words}")
    most = max(drawn)
    axes.set_xticks(range(1, most + 1), ["1\nwhole episodes", *map(str, range(2, most + 1))])
    axes.set_xlabel("segments needed: episodes that must be chained (at least)")
    axes.set_ylabel("success on the far tasks")
    axes.set_ylim(-0.03, 1.03)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(PICTURE, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mazes", default=",".join(SEGMENTS), help="only these")
    parser.add_argument("--goals", default=",".join(GOALS), help="only these")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    options = parser.parse_args()
    jobs = [
        job(maze, segments, goals, seed)
        for maze in options.mazes.split(",")
        for goals in options.goals.split(",")
        for seed in SEEDS
        for segments in SEGMENTS[maze]
    ]
    run_all(jobs, options.processes, TABLE, lambda: report_rows(RUNS))
    draw(read_csv(TABLE))


if __name__ == "__main__":
    main()
