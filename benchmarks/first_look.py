"""Do the data of `make run` pass their certificate whatever the seed, and by how much?

    python benchmarks/first_look.py [--seeds 10]

Generates the joined dataset of the first look for each seed, as `make run` does for seed 0, and tells for each task how
many episodes join it, of `MIN_EPISODES` that are needed. Adds what is missing to results/first_look.csv.
"""

import argparse
import csv
from pathlib import Path

import torch

from stitchrl.audit.achieved import Achieved
from stitchrl.benchmark.benchmark import make_benchmark
from stitchrl.benchmark.collect import collect
from stitchrl.benchmark.official import load
from stitchrl.files import write_csv

RESULTS = Path(__file__).parent / "results" / "first_look.csv"
TRANSITIONS, MIN_EPISODES = 150_000, 10  # as in the Makefile


def row(seed: int) -> dict[str, str]:
    """What the certificate says of the dataset of this seed."""
    values = load("antmaze_umaze_joined")
    values |= {"transitions": TRANSITIONS, "seed": seed, "min_episodes": MIN_EPISODES}
    benchmark = make_benchmark(values)
    episodes = collect(benchmark, workers=2).episodes
    achieved = Achieved.of_episodes(episodes, benchmark.world.goal_space.of)
    found = benchmark.objective.judge.certify(benchmark.audited(episodes.sha256, achieved, None, {}))
    joined = {task["name"]: str(task["ordered"]) for task in found.tasks}
    return {"seed": str(seed), "dataset_sha256": episodes.sha256, "passes": str(found.passed), **joined}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="0 to one less than this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = list(csv.DictReader(RESULTS.read_text(encoding="utf-8").splitlines())) if RESULTS.exists() else []
    for seed in range(options.seeds):
        if str(seed) not in [row["seed"] for row in rows]:
            rows.append(row(seed))
            write_csv(RESULTS, rows)
            print(rows[-1])


if __name__ == "__main__":
    main()
