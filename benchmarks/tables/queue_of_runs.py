"""A queue of training runs, several at a time, and the table of what they found. What benchmarks share."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from statistics import fmean
from threading import Lock
from typing import Any, NamedTuple

from stitchrl.files import write_csv
from stitchrl.report.find import find_runs
from stitchrl.report.statistics import Estimate
from stitchrl.report.tables import to_csv

LOGS = 5  # at the end of a run: of single batches

Row = dict[str, Any]


class Job(NamedTuple):
    """One run of `python -m stitchrl`. dataset: the overrides that choose its data; others: all further ones."""

    folder: Path
    dataset: list[str]
    others: list[str]


def run_all(jobs: Sequence[Job], processes: int, table: Path, find_rows: Callable[[], list[Row]]) -> None:
    """Run the jobs that have no row in the table, and bring the table up to date as soon as one ends.

    table: a CSV file whose column "folder" says which run a row is of. find_rows: the rows of all finished runs whose
    folders are here; they take the place of the table's own, and rows of runs that were made elsewhere stay. A run that
    was interrupted goes on, one that fails is named on stderr, and the others go on.
    """
    done = {row["folder"] for row in read_csv(table)}
    jobs = [job for job in jobs if str(job.folder) not in done]
    for dataset in dict.fromkeys(tuple(job.dataset) for job in jobs):  # before the runs: no two generate it at once
        subprocess.run([sys.executable, "-m", "stitchrl.generate", *dataset, "if_missing=true"], check=True)
    reporting = Lock()

    def run(job: Job) -> None:
        job.folder.mkdir(parents=True, exist_ok=True)
        arguments = [*job.dataset, *job.others, "workers=1", f"hydra.run.dir={job.folder}"]
        with open(job.folder / "log.txt", "a", encoding="utf-8") as log:
            ended = subprocess.run([sys.executable, "-m", "stitchrl", *arguments], stdout=log, stderr=log)
        if ended.returncode:
            print(f"{job.folder}: exit status {ended.returncode}, see {job.folder}/log.txt", file=sys.stderr)
            return
        with reporting:
            bring_up_to_date(table, find_rows())
            print(job.folder, flush=True)

    with ThreadPoolExecutor(processes) as pool:
        try:
            for future in as_completed([pool.submit(run, job) for job in jobs]):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # a table that cannot be written ends the queue at once
            raise


def report_rows(folder: Path) -> list[Row]:
    """The report's row of every finished run in a folder, and what a skeptic asks for besides."""
    found = find_runs([folder])
    for line in found.left_out:
        print(f"left out: {line}", file=sys.stderr)
    rows = list(csv.DictReader(to_csv(found.runs).splitlines()))
    return [row | circumstances(Path(row["folder"])) for row in rows]


def circumstances(folder: Path) -> Row:
    """Mean path length (m) and ceiling of a run's seen and unseen tasks, and the actor's loss in its last logs."""
    summary = json.loads((folder / "summary.json").read_text())
    tasks = summary["tasks"]
    row: Row = {key: summary[key] for key in ("agent", "goals")}  # without settings: the folder's name has those
    for expect in ("seen", "unseen"):
        for key in ("path_length", "ceiling"):
            values = [task[key] for task in tasks if task["expect"] == expect and task[key] is not None]
            row[f"{expect}_{key}"] = round(fmean(values), 4) if values else None
    logged = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    losses = [entry["train/actor_loss"] for entry in logged[-LOGS:] if "train/actor_loss" in entry]
    return row | {"actor_loss": round(fmean(losses), 4) if losses else None}


def read_csv(path: Path) -> list[Row]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []


def bring_up_to_date(table: Path, found: Sequence[Row]) -> None:
    """Write rows of runs whose folders are here in the place of the table's own; rows of other runs stay."""
    here = {row["folder"] for row in found}
    write_table(table, [*found, *(row for row in read_csv(table) if row["folder"] not in here)])


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Runs in the order of their folders; a run's rows in their own order. What a row lacks stays empty."""
    columns = [*dict.fromkeys(key for row in rows for key in row if key != "folder"), "folder"]
    ordered = sorted(rows, key=lambda row: str(row["folder"]))
    write_csv(path, [{key: row.get(key) for key in columns} for row in ordered])


def over_seeds(rows: Sequence[Row], jobs: Iterable[Job], key: str, scale: float = 1.0) -> Estimate:
    """`key` of the row of each job, one for each seed, times `scale`; None where a run or its value is missing."""
    of_folder = {row["folder"]: row for row in rows}
    found = [of_folder.get(str(job.folder)) for job in jobs]
    return Estimate(tuple(scale * float(row[key]) if row and row[key] else None for row in found))
