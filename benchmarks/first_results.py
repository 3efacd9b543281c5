"""The first results: twins and the paper's U-maze, point and ant, three seeds.

    python benchmarks/first_results.py [--only NAME] [--jobs 2]

Runs what is missing under runs/first/, two processes at a time, and rewrites results/first_results.csv after each run:
the report's rows, one per run. An interruption costs the runs in progress.
"""

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from stitchrl.report.files import write
from stitchrl.report.runs import find_runs
from stitchrl.report.tables import to_csv

RUNS = Path("runs/first")
TABLE = Path(__file__).parent / "results" / "first_results.csv"
SEEDS = (0, 1, 2)
ANT_TRANSITIONS = 300_000  # as in `make run`
AGENTS = {"ant": "gcbc_relative", "point": "gcbc"}
ROWS = [  # dataset, goals, budget: the most telling first
    ("antmaze_umaze_joined", "future", "ant"),
    ("antmaze_umaze_cut3", "future", "ant"),
    ("antmaze_umaze_cut3", "stitch", "ant"),
    ("pointmaze_medium_joined", "future", "point"),
    ("pointmaze_medium_cut3", "future", "point"),
    ("pointmaze_umaze_regions", "future", "point"),
    ("pointmaze_umaze_regions", "stitch", "point"),
    ("antmaze_umaze_regions", "future", "ant"),
    ("antmaze_umaze_regions", "stitch", "ant"),
]
_writing = Lock()


def overrides(dataset: str, budget: str) -> list[str]:
    return [f"dataset={dataset}"] + [f"dataset.transitions={ANT_TRANSITIONS}"] * (budget == "ant")


def generate(dataset: str, budget: str) -> None:
    """Before the runs, so that no two of them generate it at once."""
    arguments = [*overrides(dataset, budget), "if_missing=true"]
    subprocess.run([sys.executable, "-m", "stitchrl.generate", *arguments], check=True)


def run(dataset: str, goals: str, budget: str, seed: int) -> None:
    folder = RUNS / f"{dataset}-{goals}-s{seed}"
    if not (folder / "summary.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        arguments = [*overrides(dataset, budget), f"goals={goals}", f"budget={budget}", f"seed={seed}"]
        arguments += [f"agent={AGENTS[budget]}", "workers=1", f"hydra.run.dir={folder}"]
        with open(folder / "log.txt", "w") as log:
            done = subprocess.run([sys.executable, "-m", "stitchrl", *arguments], stdout=log, stderr=log)
        if done.returncode:
            print(f"{folder}: exit status {done.returncode}, see {folder}/log.txt", file=sys.stderr)
            return
    with _writing:
        write(TABLE, lambda path: path.write_text(to_csv(find_runs([RUNS]))))
    print(folder, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only datasets whose name begins with this")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    options = parser.parse_args()
    rows = [row for row in ROWS if row[0].startswith(options.only)]
    for dataset, budget in dict.fromkeys((dataset, budget) for dataset, _, budget in rows):
        generate(dataset, budget)
    jobs = [(*row, seed) for row in rows for seed in SEEDS]
    with ThreadPoolExecutor(options.jobs) as pool:
        for future in [pool.submit(run, *job) for job in jobs]:
            future.result()


if __name__ == "__main__":
    main()
