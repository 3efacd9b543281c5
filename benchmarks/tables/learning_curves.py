"""Supervised and TD methods side by side: a learning curve for each, at one size of network and one budget.

    python benchmarks/tables/learning_curves.py [--mazes umaze,medium] [--agents gcivl,hiql] [--processes 2]

The point's mazes (the dev maze, on which settings are chosen, and two of the paper's), networks of 2 x 128, 50,000
updates. Runs what has no rows in learning_curves.csv, under runs/curves/, and adds the rows of each run that ends: one
for each evaluation, success over seen and over unseen tasks. Draws learning_curves_<maze>.png, and prints the mean of
the last three evaluations.
"""

import argparse
from pathlib import Path

from curves import curve_of, curve_rows, draw_panel, save
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from queue_of_runs import Job, Row, read_csv, run_all
from rich.console import Console
from rich.table import Table

from stitchrl.report.statistics import Estimate
from stitchrl.summary import HEADLINE

RUNS = Path("runs/curves")
TABLE = Path(__file__).with_suffix(".csv")
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
SEEDS = {"dev": range(3), "umaze": range(5), "medium": range(5)}


def job(maze: str, agent: str, seed: int) -> Job:
    others = [f"agent={agent}", "goals=future", "steps=50000", *SMALL, *AGENTS[agent], f"seed={seed}"]
    return Job(RUNS / f"{maze}-{agent}-s{seed}", [f"dataset=pointmaze_{maze}_regions"], others)


def curve(rows: list[Row], maze: str, agent: str, seed: int) -> list[Row]:
    return curve_of(rows, job(maze, agent, seed))


def draw(rows: list[Row], maze: str) -> None:
    """A panel for each agent that was run, a line for each seed."""
    agents = [agent for agent in AGENTS if any(curve(rows, maze, agent, seed) for seed in SEEDS[maze])]
    columns = min(len(agents), 6)
    lines = -(-len(agents) // columns)
    figure = Figure(figsize=(2 * columns, 0.6 + 2.7 * lines), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in panels[len(agents) :]:
        axes.set_axis_off()
    for axes, agent in zip(panels, agents, strict=False):
        draw_panel(axes, agent, [curve(rows, maze, agent, seed) for seed in SEEDS[maze]])
    save(figure, TABLE.with_name(f"{TABLE.stem}_{maze}.png"))


def show(rows: list[Row], mazes: list[str]) -> None:
    """Mean of the last three evaluations: Student's 95% interval over five seeds, or each of fewer."""
    table = Table("agent", *(f"{maze}: {kind}" for maze in mazes for kind in ("unseen", "seen")))
    for agent in AGENTS:
        cells = []
        for maze in mazes:
            curves = [curve(rows, maze, agent, seed)[-HEADLINE:] for seed in SEEDS[maze]]
            for kind in ("unseen", "seen"):
                score = [sum(float(row[kind]) for row in last) / len(last) if last else None for last in curves]
                cells.append(str(Estimate(tuple(score))))
        table.add_row(agent, *cells)
    Console(width=200).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mazes", default=",".join(SEEDS), help="only these")
    parser.add_argument("--agents", default=",".join(AGENTS), help="only these")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    options = parser.parse_args()
    mazes = options.mazes.split(",")
    jobs = [
        job(maze, agent, seed)
        for seed in range(max(len(SEEDS[maze]) for maze in mazes))
        for agent in options.agents.split(",")
        for maze in mazes
        if seed in SEEDS[maze]
    ]
    run_all(jobs, options.processes, TABLE, lambda: curve_rows(RUNS))
    for maze in mazes:
        draw(read_csv(TABLE), maze)
    show(read_csv(TABLE), mazes)


if __name__ == "__main__":
    main()
