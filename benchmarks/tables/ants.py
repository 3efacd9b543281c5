"""The ants: cloning, hierarchical cloning and HIQL, with and without temporal augmentation, three seeds: preliminary.

    python benchmarks/tables/ants.py [--datasets umaze_cut3] [--agents hiql] [--goals future] [--processes 2]

20,000 updates of 2 x 512 (the budget `ant`). Runs what has no row in ants.csv, under runs/ants/, adds the report's row
for each run that ends, and prints success on unseen and seen tasks, seed by seed: the mean of the last three
evaluations. A joined dataset has the tasks as seen that its cut twin has as unseen: far tasks are those of both.
"""

import argparse
from pathlib import Path

from queue_of_runs import Job, Row, over_seeds, read_csv, report_rows, run_all
from rich.console import Console
from rich.table import Table

from stitchrl.report.statistics import Estimate

RUNS = Path("runs/ants")
TABLE = Path(__file__).with_suffix(".csv")
SEEDS = range(3)
DATASETS = ("umaze_joined", "umaze_cut3", "umaze_regions", "medium_short")
AGENTS = ("gcbc_egocentric", "hgcbc_egocentric", "hiql", "goal_blind", "gcbc_shuffled")
AUGMENTED = ("gcbc_egocentric", "hgcbc_egocentric", "hiql")
GOALS = ("future", "stitch", "direct")


def job(dataset: str, agent: str, goals: str, seed: int) -> Job:
    others = ["budget=ant", f"agent={agent}", f"goals={goals}", f"seed={seed}"]
    return Job(RUNS / f"{dataset}-{agent}-{goals}-s{seed}", [f"dataset=antmaze_{dataset}"], others)


def success(rows: list[Row], dataset: str, agent: str, goals: str, kind: str) -> Estimate:
    return over_seeds(rows, (job(dataset, agent, goals, seed) for seed in SEEDS), kind)


def show(rows: list[Row]) -> None:
    table = Table("dataset", "agent", "goals", "far or unseen tasks", "all seen tasks")
    for dataset in DATASETS:
        far = "unseen_success" if dataset.endswith(("regions", "short")) else "far_success"
        for agent in AGENTS:
            for goals in GOALS if agent in AUGMENTED else GOALS[:1]:
                cells = [str(success(rows, dataset, agent, goals, kind)) for kind in (far, "seen_success")]
                table.add_row(f"antmaze_{dataset}", agent, goals, *cells)
    Console(width=160).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default=",".join(DATASETS), help="only these")
    parser.add_argument("--agents", default=",".join(AGENTS), help="only these")
    parser.add_argument("--goals", default=",".join(GOALS), help="only these")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    options = parser.parse_args()
    jobs = [
        job(dataset, agent, goals, seed)
        for seed in SEEDS
        for agent in options.agents.split(",")
        for dataset in options.datasets.split(",")
        for goals in (GOALS if agent in AUGMENTED else GOALS[:1])
        if goals in options.goals.split(",")
    ]
    run_all(jobs, options.processes, TABLE, lambda: report_rows(RUNS))
    show(read_csv(TABLE))


if __name__ == "__main__":
    main()
