"""A learning curve for each agent: the point's dev maze, a small network, 50,000 updates, three seeds.

    python benchmarks/learning_curves.py [--agents dt,hiql] [--processes 2]

Runs what is missing under runs/curves/ and rewrites results/learning_curves.csv after each run: one row for each
evaluation, success over seen and over unseen tasks. An interruption costs the runs in progress.
"""

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path

from queue_of_runs import Job, run_all

from stitchrl.files import write

RUNS = Path("runs/curves")
TABLE = Path(__file__).parent / "results" / "learning_curves.csv"
SEEDS = (0, 1, 2)
SMALL = ["budget.hidden_dims=[128,128]", "budget.batch_size=128", "budget.evaluations=10", "budget.episodes=20"]
# Both twins of CRL and QRL's distance have a latent space of 512 at their papers' size of network.
LATENT = ["agent.latent_dim=64"]
AGENTS = {
    "gcbc": [],
    "gcbc_gaussian": [],
    "gcbc_mixture": [],
    "dt": ["agent.width=64"],
    "gcivl": [],
    "gciql": [],
    "crl": LATENT,
    "qrl": LATENT,
    "hiql": [],
    "goal_blind": [],
    "gcbc_shuffled": [],
}


def job(agent: str, seed: int) -> Job:
    others = [f"agent={agent}", *AGENTS[agent], "goals=future", "steps=50000", *SMALL, f"seed={seed}"]
    return Job(RUNS / f"{agent}-s{seed}", ["dataset=pointmaze_dev_regions"], others)


def write_table(path: Path) -> None:
    """One row for each evaluation of each finished run."""
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["agent", "seed", "step", "seen", "unseen", "updates_per_s", "dataset_sha256", "commit"])
        for summary_path in sorted(RUNS.glob("*/summary.json")):
            summary = json.loads(summary_path.read_text())
            expect = {task["name"]: task["expect"] for task in summary["tasks"]}
            success: dict[tuple[int, str], list[bool]] = defaultdict(list)
            for line in (summary_path.parent / "eval.jsonl").read_text().splitlines():
                row = json.loads(line)
                success[row["step"], expect[row["task"]]].append(row["success"])
            for step in sorted({step for step, _ in success}):
                means = [
                    round(sum(values) / len(values), 4) for values in (success[step, "seen"], success[step, "unseen"])
                ]
                origin = [summary[key] for key in ("updates_per_s", "dataset_sha256", "commit")]
                table.writerow([summary["agent"], summary["seed"], step, *means, *origin])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", default=",".join(AGENTS), help="only these")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    options = parser.parse_args()
    jobs = [job(agent, seed) for seed in SEEDS for agent in options.agents.split(",")]
    run_all(jobs, options.processes, lambda: write(TABLE, write_table))


if __name__ == "__main__":
    main()
