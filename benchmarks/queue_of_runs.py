"""A queue of training runs, several at a time, that goes on where it was interrupted. What benchmarks share."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import NamedTuple


class Job(NamedTuple):
    """One run of `python -m stitchrl`. dataset: the overrides that choose its data; others: all further ones."""

    folder: Path
    dataset: list[str]
    others: list[str]


def run_all(jobs: Sequence[Job], processes: int, after_each: Callable[[], None]) -> None:
    """Generate the jobs' datasets, then run those that have no summary yet, and call `after_each` when one is there.

    An interruption costs the runs in progress. A run that fails is named on stderr, and the others go on.
    """
    for dataset in dict.fromkeys(tuple(job.dataset) for job in jobs):  # before the runs: no two generate it at once
        subprocess.run([sys.executable, "-m", "stitchrl.generate", *dataset, "if_missing=true"], check=True)
    reporting = Lock()

    def run(job: Job) -> None:
        if not (job.folder / "summary.json").exists():
            job.folder.mkdir(parents=True, exist_ok=True)
            arguments = [*job.dataset, *job.others, "workers=1", f"hydra.run.dir={job.folder}"]
            with open(job.folder / "log.txt", "w") as log:
                done = subprocess.run([sys.executable, "-m", "stitchrl", *arguments], stdout=log, stderr=log)
            if done.returncode:
                print(f"{job.folder}: exit status {done.returncode}, see {job.folder}/log.txt", file=sys.stderr)
                return
        with reporting:
            after_each()
            print(job.folder, flush=True)

    with ThreadPoolExecutor(processes) as pool:
        for future in [pool.submit(run, job) for job in jobs]:
            future.result()
