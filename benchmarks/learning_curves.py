"""A learning curve for each agent: the point's dev maze, a small network, 50,000 updates, three seeds.

    python benchmarks/learning_curves.py [--agents dt,hiql] [--processes 2]

Runs what has no rows in results/learning_curves.csv, under runs/curves/, and adds the rows of each run that ends: one
for each evaluation, success over seen and over unseen tasks. Draws them all in results/learning_curves.png.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from queue_of_runs import Job, Row, read_csv, run_all

RUNS = Path("runs/curves")
TABLE = Path(__file__).parent / "results" / "learning_curves.csv"
PICTURE = TABLE.with_suffix(".png")
SEEDS = (0, 1, 2)
SMALL = ["budget.hidden_dims=[128,128]", "budget.batch_size=128", "budget.evaluations=10", "budget.episodes=20"]
# Both twins of CRL and QRL's distance have a latent space of 512 at their papers' size of network.
LATENT = ["agent.latent_dim=64"]
AGENTS = {
    "gcbc": [],
    "gcbc_gaussian": [],
    "gcbc_mixture": [],
    "dt": ["agent.width=64", "budget.batch_size=32"],  # windows of five steps: 160 actions, as 128 states elsewhere
    "gcivl": [],
    "gciql": [],
    "crl": LATENT,
    "qrl": LATENT,
    "hiql": [],
    "goal_blind": [],
    "gcbc_shuffled": [],
}


def job(agent: str, seed: int) -> Job:
    others = [f"agent={agent}", "goals=future", "steps=50000", *SMALL, *AGENTS[agent], f"seed={seed}"]
    return Job(RUNS / f"{agent}-s{seed}", ["dataset=pointmaze_dev_regions"], others)


def find_rows() -> list[Row]:
    """One row for each evaluation of each finished run."""
    rows = []
    for path in sorted(RUNS.glob("*/summary.json")):
        summary = json.loads(path.read_text())
        expect = {task["name"]: task["expect"] for task in summary["tasks"]}
        success: dict[tuple[int, str], list[bool]] = defaultdict(list)
        for line in (path.parent / "eval.jsonl").read_text().splitlines():
            episode = json.loads(line)
            success[episode["step"], expect[episode["task"]]].append(episode["success"])
        for step in sorted({step for step, _ in success}):
            row = {"agent": summary["agent"], "seed": summary["seed"], "step": step}
            for kind in ("seen", "unseen"):
                row[kind] = round(sum(success[step, kind]) / len(success[step, kind]), 4)
            origin = {key: summary[key] for key in ("updates_per_s", "dataset_sha256", "commit")}
            rows.append({**row, **origin, "folder": str(path.parent)})
    return rows


def draw(rows: list[Row]) -> None:
    """A panel for each agent, a line for each seed."""
    figure = Figure(figsize=(12, 6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, -(-len(AGENTS) // 2), sharex=True, sharey=True).ravel()
    for axes in panels[len(AGENTS) :]:
        axes.set_axis_off()
    for axes, agent in zip(panels, AGENTS, strict=False):
        axes.set_title(agent, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        for seed in SEEDS:
            curve = [row for row in rows if row["agent"] == agent and row["seed"] == str(seed)]
            steps = [int(row["step"]) / 1000 for row in curve]
            for kind, colour in (("seen", "#9a9a9a"), ("unseen", "#1f77b4")):
                axes.plot(steps, [float(row[kind]) for row in curve], color=colour, lw=1.5, label=kind)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles[:2], [f"{label} tasks" for label in labels[:2]], loc="outside lower right", ncols=2)
    figure.supxlabel("thousand updates")
    figure.supylabel("success")
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", default=",".join(AGENTS), help="only these")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    options = parser.parse_args()
    jobs = [job(agent, seed) for seed in SEEDS for agent in options.agents.split(",")]
    run_all(jobs, options.processes, TABLE, find_rows)
    draw(read_csv(TABLE))


if __name__ == "__main__":
    main()
