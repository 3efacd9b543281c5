"""The causal experiment: the same transitions in ever shorter pieces, so that ever more must be chained.

    python benchmarks/tables/causal.py [--methods gcbc,gcbc_stitch] [--processes 2]

On the point's medium maze, joined and its cut twins: same tasks, starts, goals and step limits, five seeds. Runs what
has no row in causal.csv, under runs/causal/, adds the report's row for each run that ends, draws success on the far
tasks against the segments that they need in causal.png, within their step limit and within half of it, and prints the
stitching gap of each method.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from learning_curves import SMALL
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from queue_of_runs import Job, Row, over_seeds, read_csv, report_rows, run_all
from rich.console import Console
from rich.table import Table

from stitchrl.report.statistics import Estimate

RUNS = Path("runs/causal")
TABLE = Path(__file__).with_suffix(".csv")
PICTURE = TABLE.with_suffix(".png")
SEEDS = range(5)
SCORES = {"far_success": "within the step limit", "far_tight_success": "within half of it"}
JOINED, GAP = 1, 3  # the segments of the joined twin, and of the cut one that gaps are told of


class Method(NamedTuple):
    label: str
    overrides: list[str]
    segments: tuple[int, ...]  # that far tasks need at least
    colour: str
    goals: str = "future"


CLONING = ["agent=gcbc"]  # 2 x 256, 30,000 updates: the budget `point`
DT = ["agent=dt", "agent.width=64", "budget.batch_size=32", "steps=15000"]
TD = ["steps=50000", *SMALL]  # as on the dev maze
METHODS = {
    "gcbc": Method("cloning", CLONING, (1, 2, 3, 4), "#1f77b4"),
    "gcbc_stitch": Method("cloning, augmented", CLONING, (1, 2, 3, 4), "#d65f2a", "stitch"),
    "gcbc_direct": Method("cloning, augmented straight on", CLONING, (2, 3, 4), "#e8a33d", "direct"),
    "gcivl": Method("GCIVL", ["agent=gcivl", *TD], (1, 3), "#2a9d4a"),
    "hiql": Method("HIQL", ["agent=hiql", *TD], (1, 3), "#8a5fb0"),
    "qrl": Method("QRL", ["agent=qrl", "agent.latent_dim=64", *TD], (1, 3), "#c2a02a"),
    "dt": Method("DT", DT, (1, 3), "#4fb3c8"),
    "dt_stitch": Method("DT, augmented", DT, (1, 3), "#d69fb0", "stitch"),
    "gcbc_no_velocity": Method("cloning, velocity hidden", ["agent=gcbc_no_velocity"], (1, 3), "#12406b"),
    "goal_blind": Method("goal-blind", ["agent=goal_blind"], (1, 3), "#777777"),
    "gcbc_shuffled": Method("shuffled goals", ["agent=gcbc_shuffled"], (1, 3), "#bbbbbb"),
}


def job(name: str, segments: int, seed: int) -> Job:
    dataset = "pointmaze_medium_" + ("joined" if segments == JOINED else f"cut{segments}")
    method = METHODS[name]
    others = [*method.overrides, f"goals={method.goals}", f"seed={seed}"]
    return Job(RUNS / f"{dataset}-{name}-s{seed}", [f"dataset={dataset}"], others)


def success(rows: list[Row], name: str, segments: int, score: str = "far_success") -> Estimate:
    """Over seeds, the mean of the last three evaluations."""
    return over_seeds(rows, (job(name, segments, seed) for seed in SEEDS), score)


def draw(rows: list[Row]) -> None:
    """Every seed a point; the mean with Student's 95% interval where there are five."""
    figure = Figure(figsize=(11, 4), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (score, title) in zip(panels, SCORES.items(), strict=True):
        for shift, (name, method) in zip(np.linspace(-0.2, 0.2, len(METHODS)), METHODS.items(), strict=True):
            found = {segments: success(rows, name, segments, score) for segments in method.segments}
            found = {segments: estimate for segments, estimate in found.items() if estimate.present}
            if not found:
                continue
            x = np.array(list(found)) + shift
            for at, estimate in zip(x, found.values(), strict=True):
                axes.plot([at] * len(estimate.present), estimate.present, ".", color=method.colour, alpha=0.35, ms=5)
            half = [estimate.half_width or 0 for estimate in found.values()]
            means = [estimate.mean for estimate in found.values()]
            axes.errorbar(x, means, half, color=method.colour, marker="o", ms=4, lw=1.2, label=method.label)
        axes.set_xticks((1, 2, 3, 4), ["1\nwhole episodes", "2", "3", "4"])
        axes.set_title(title, fontsize=10)
        axes.set_ylim(-0.03, 1.03)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("success on the far tasks")
    figure.supxlabel("segments needed: episodes that must be chained (at least)", fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, loc="outside right upper")
    figure.savefig(PICTURE, dpi=120)


def show(rows: list[Row]) -> None:
    columns = [f"{title}: {of}" for title in SCORES.values() for of in ("joined", f"cut{GAP}", "gap")]
    table = Table("method", *columns, f"seen tasks: cut{GAP}")
    for name, method in METHODS.items():
        cells: list[Estimate] = []
        for score in SCORES:
            joined, cut = (success(rows, name, segments, score) for segments in (JOINED, GAP))
            cells += [joined, cut, joined.minus(cut)]
        table.add_row(method.label, *map(str, [*cells, success(rows, name, GAP, "seen_success")]))
    Console(width=200).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(METHODS), help="only these")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    options = parser.parse_args()
    names = options.methods.split(",")
    jobs = [job(name, segments, seed) for seed in SEEDS for name in names for segments in METHODS[name].segments]
    run_all(jobs, options.processes, TABLE, lambda: report_rows(RUNS))
    draw(read_csv(TABLE))
    show(read_csv(TABLE))


if __name__ == "__main__":
    main()
