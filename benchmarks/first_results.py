"""The first results: twins and the paper's U-maze, point and ant, three seeds.

    python benchmarks/first_results.py [--only NAME] [--processes 2]

Runs what has no row in results/first_results.csv, under runs/first/, and adds the report's row for each run that ends.
"""

import argparse
from pathlib import Path

from queue_of_runs import Job, report_rows, run_all

RUNS = Path("runs/first")
TABLE = Path(__file__).parent / "results" / "first_results.csv"
SEEDS = (0, 1, 2)
AGENTS = {"ant": "gcbc_egocentric", "point": "gcbc"}
ROWS = [  # dataset, goals, budget: the most telling first
    ("antmaze_umaze_joined", "future", "ant"),
    ("antmaze_umaze_cut3", "future", "ant"),
    ("pointmaze_medium_joined", "future", "point"),
    ("pointmaze_medium_cut3", "future", "point"),
    ("antmaze_umaze_regions", "future", "ant"),
    ("antmaze_umaze_regions", "stitch", "ant"),
    ("pointmaze_umaze_regions", "future", "point"),
    ("pointmaze_umaze_regions", "stitch", "point"),
    ("antmaze_umaze_cut3", "stitch", "ant"),
]


def job(dataset: str, goals: str, budget: str, seed: int) -> Job:
    others = [f"goals={goals}", f"budget={budget}", f"agent={AGENTS[budget]}", f"seed={seed}"]
    return Job(RUNS / f"{dataset}-{goals}-s{seed}", [f"dataset={dataset}"], others)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only datasets whose name begins with this")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    options = parser.parse_args()
    jobs = [job(*row, seed) for row in ROWS if row[0].startswith(options.only) for seed in SEEDS]
    run_all(jobs, options.processes, TABLE, lambda: report_rows(RUNS))


if __name__ == "__main__":
    main()
