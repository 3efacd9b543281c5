"""Which runs there are in given folders: finished ones, others that did not finish, and odd ones that are left out."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from stitchrl.report.contract import BadInput
from stitchrl.report.records import read_json
from stitchrl.report.runs import Name, Run, read_run
from stitchrl.report.variants import named_by_settings


class Found(NamedTuple):
    runs: list[Run]  # twins side by side with joined before cut, future goals first
    left_out: list[str]  # a line for each folder that cannot be reported, which says why
    unfinished: list[tuple[Path, str]]  # folders of runs without a summary, and how these runs ended


def find_runs(paths: Iterable[Path]) -> Found:
    """All runs at or below `paths`, and those of the sweeps whose records lie there.

    Raises:
        BadInput: a path is no folder, or there is nothing to report.
    """
    folders: dict[Path, tuple[Path, str | None]] = {}  # path and what a job said of it, by resolved path: paths overlap
    left_out = []
    for path in paths:
        if not path.is_dir():
            raise BadInput(f"{path}: {'not a folder' if path.exists() else 'does not exist'}; a run folder expected")
        files = sorted(path.rglob("*.json"))
        records = [file for file in files if file.name in ("summary.json", "status.json")]
        found: list[tuple[Path, str | None]] = [(file.parent, None) for file in records]
        jobs = [(file, job) for file in files if file.stem.isdecimal() and (job := read_job(file)) is not None]
        for file, job in [(file, job) for file, job in jobs if "runs" in job]:
            ended = f"{job['status']}: {job['said']}" if job.get("said") else str(job["status"])
            of_job = [(Path(os.path.normpath(file.parent / run)), ended) for run in job["runs"]]
            if not of_job and job["status"] != "finished":
                of_job = [(file, ended)]  # it ended before it had a folder
            found += of_job
        if not found and any("runs" not in job for _, job in jobs):
            problem = "a sweep of an earlier version does not say where its runs are; name their folders"
            left_out.append(f"{path}: {problem}")
        elif not found:
            left_out.append(f"{path}: no run found; a summary.json expected in it or below it")
        for folder, said in found:
            shown, earlier = folders.get(folder.resolve(), (folder, None))
            folders[folder.resolve()] = (shown, earlier or said)
    ended_as = {folder: how_it_ended(folder, said) for folder, said in folders.values() if not has_finished(folder)}
    runs, odd = read_all([folder for folder, _ in folders.values() if folder not in ended_as])
    unfinished = list(ended_as.items())
    left_out += odd
    if not runs:
        reasons = [*left_out, *(f"{folder}: {ended}" for folder, ended in unfinished)]
        raise BadInput(f"no finished run found: {'; '.join(reasons)}")
    return Found(runs, left_out, unfinished)


def read_all(folders: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """The runs of these folders in a report's order, and a line for each folder that is left out."""
    runs, odd = [], []
    for folder in folders:
        try:
            runs.append(read_run(folder))
        except BadInput as error:
            odd.append(str(error))
    single: dict[tuple, Run] = {}
    for run in sorted(named_by_settings(runs), key=order):
        first = single.setdefault((run.dataset, run.agent, run.goals, run.seed), run)
        if first is not run:
            odd.append(f"{run.folder}: the same configuration and seed as {first.folder}; one of them expected")
    return list(single.values()), odd


def read_job(record: Path) -> dict[str, Any] | None:
    """What a sweep says of one of its jobs; None for another file."""
    job = read_json(record)
    if not isinstance(job, dict) or not job.keys() >= {"overrides", "status"}:
        return None
    runs = job.get("runs", [])
    return job if isinstance(runs, list) and all(isinstance(run, str) for run in runs) else None


def has_finished(folder: Path) -> bool:
    """Whether a run left a summary, even a damaged one, and did not fail."""
    summary = read_json(folder / "summary.json")
    return (folder / "summary.json").exists() and not (isinstance(summary, dict) and "failed" in summary)


def how_it_ended(folder: Path, job: str | None) -> str:
    """What status.json says of the run; if it says nothing, what the sweep says of the run's job."""
    status = read_json(folder / "status.json")
    try:
        if job and status["status"] == "running":  # its process is no more, or the sweep goes on
            return job
        return f"{status['status']}: {status['reason']}" if status.get("reason") else str(status["status"])
    except (KeyError, TypeError, AttributeError):
        return job or "unknown"


def order(run: Run) -> tuple:
    name = run.name or Name(run.dataset, "", "", "", "")
    kind = 0 if name.split == "joined" else 1 if name.split.startswith("cut") else 2
    twins = (name.world, name.maze, name.size, name.version)
    return (*twins, kind, name.split, run.agent, run.goals != "future", run.goals, run.seed)
