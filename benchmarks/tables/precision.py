"""Does the fast setting learn as well? precision=bfloat16 against float32 on the point's dev maze, five seeds.

    python benchmarks/tables/precision.py [--agents gcbc,hiql] [--processes 2]

Every agent at the size of learning_curves.py, 15,000 updates, goals=future; both precisions share a seed's
first weights and batches. Runs what has no row in precision.csv, under runs/precision/, and prints success on
bfloat16 minus success on float32, seed by seed: the mean of the last three evaluations.
"""

import argparse
from pathlib import Path

from learning_curves import AGENTS, SMALL
from queue_of_runs import Job, Row, over_seeds, read_csv, report_rows, run_all
from rich.console import Console
from rich.table import Table

from stitchrl.report.statistics import Estimate

RUNS = Path("runs/precision")
TABLE = Path(__file__).with_suffix(".csv")
SEEDS = range(5)
PRECISIONS = ("highest", "bfloat16")
LEARNERS = [agent for agent in AGENTS if agent not in ("goal_blind", "gcbc_shuffled")]  # those are controls


def job(agent: str, precision: str, seed: int) -> Job:
    others = [f"agent={agent}", "goals=future", "steps=15000", *SMALL, "budget.evaluations=5", *AGENTS[agent]]
    return Job(
        RUNS / precision / f"{agent}-s{seed}",
        ["dataset=pointmaze_dev_regions"],
        [*others, f"precision={precision}", f"seed={seed}"],
    )


def find_rows() -> list[Row]:
    """One folder at a time: but for the precision, runs of both are the same."""
    folders = [RUNS / precision for precision in PRECISIONS if any((RUNS / precision).glob("*/summary.json"))]
    return [row for folder in folders for row in report_rows(folder)]


def success(rows: list[Row], agent: str, precision: str, kind: str) -> Estimate:
    return over_seeds(rows, (job(agent, precision, seed) for seed in SEEDS), f"{kind}_success")


def show(rows: list[Row]) -> None:
    table = Table("agent", *(f"{kind}: {what}" for kind in ("seen", "unseen") for what in (*PRECISIONS, "difference")))
    for agent in dict.fromkeys(row["agent"] for row in rows):
        cells = []
        for kind in ("seen", "unseen"):
            exact, fast = (success(rows, agent, precision, kind) for precision in PRECISIONS)
            cells += [str(exact), str(fast), str(fast.minus(exact))]
        table.add_row(agent, *cells)
    Console(width=160).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", default=",".join(LEARNERS), help="only these")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    options = parser.parse_args()
    jobs = [
        job(agent, precision, seed) for agent in options.agents.split(",") for seed in SEEDS for precision in PRECISIONS
    ]
    run_all(jobs, options.processes, TABLE, find_rows)
    show(read_csv(TABLE))


if __name__ == "__main__":
    main()
