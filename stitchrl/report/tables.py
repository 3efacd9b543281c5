"""Runs -> tables: plain values under headings, which output.py and the page write out."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from stitchrl.report.rows import far_tasks, group_rows, groups, scores, task_rows, twin_datasets, twin_rows
from stitchrl.report.runs import SCORE, Run
from stitchrl.report.statistics import (
    SEEDS_TO_RESAMPLE,
    Estimate,
    Interval,
    improvement,
    interquartile_mean,
    number,
    resampled,
)

Entry = Estimate | Interval | str | int | float | None  # None does not apply


@dataclass(frozen=True)
class Table:
    name: str  # of its files
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Entry, ...]]
    note: str = ""
    digits: int = 2  # of plain floats
    shares_from: int | None = None  # columns from here on hold shares, which the page colours


def words(entry: Entry, digits: int = 2) -> str:
    if isinstance(entry, float):
        return number(entry, digits)
    if isinstance(entry, int):
        return f"{entry:,}"
    return "-" if entry is None else str(entry)


def stem(dataset: str) -> str:
    return dataset.replace("/", "_")


def coverage_table(runs: Sequence[Run]) -> Table:
    """How many seeds there are of what any dataset has."""
    found = groups(runs)
    datasets = list(dict.fromkeys(group.dataset for group in found))
    ways = list(dict.fromkeys((group.agent, group.goals) for group in found))
    by_key = {(group.dataset, group.agent, group.goals): group for group in found}

    def seeds(dataset: str, way: tuple[str, str]) -> Entry:
        group = by_key[dataset, *way]
        if not group.present:
            return "missing"
        lacking = len(group.runs) - len(group.present)
        return f"{len(group.present)} ({lacking} missing)" if lacking else len(group.present)

    rows: list[tuple[Entry, ...]] = [(dataset, *(seeds(dataset, way) for way in ways)) for dataset in datasets]
    columns = ("dataset", *(", ".join(way) for way in ways))
    return Table("seeds", "Seeds of each agent on each dataset", columns, rows)


def twin_table(runs: Sequence[Run], joined: str, cut: str) -> Table:
    rows: list[tuple[Entry, ...]] = []
    for row in twin_rows(runs, joined, cut):
        augmented = row.gap is not None and row.goals != "future"
        closed = "" if not augmented else None if row.closed is None else f"{round(100 * row.closed)}%"
        rows.append((row.agent, row.data, row.goals, row.success, "" if row.gap is None else row.gap, closed))
    columns = ("agent", "data", "goals", "success on far tasks", "gap: joined minus it", "gap closed")
    return Table(f"{stem(cut)}-twins", f"Twins {joined} and {cut}", columns, rows)


def success_table(runs: Sequence[Run], dataset: str) -> Table:
    """Agent and goals: success on seen and unseen tasks, and the stitching gap where the dataset has a joined twin."""
    joined = next((joined for joined, cut in twin_datasets(runs) if cut == dataset), None)
    gaps = {(row.agent, row.goals): row.gap for row in twin_rows(runs, joined, dataset) if row.gap} if joined else {}
    columns = ("agent", "goals", "steps", "seen", "unseen", "seen - unseen", *(("stitching gap",) if joined else ()))
    rows: list[tuple[Entry, ...]] = []
    for row in group_rows(runs):
        if row.dataset == dataset:
            gap = (gaps.get((row.agent, row.goals), Estimate(())),) if joined else ()
            scores = (row.seen, row.unseen, row.raw_difference)
            rows.append((row.agent, row.goals, row.steps, *scores, *gap))
    note = (
        f"Stitching gap: success on the unseen tasks trained on {joined}, minus that trained on this." if joined else ""
    )
    return Table(f"{stem(dataset)}-success", f"{dataset}: success", columns, rows, note)


def resampled_tables(runs: Sequence[Run], dataset: str) -> list[Table]:
    """Interquartile means and probabilities of improvement; none where no agent has eight seeds.

    Of the far tasks, or of all where there are none.
    """
    here = [group for group in groups(runs) if group.dataset == dataset]
    far = far_tasks(dataset, runs)
    near = [task["name"] for run in runs if run.dataset == dataset for task in run.tasks if task["name"] not in far]
    kinds = {"far tasks" if far else "all tasks": far or near} | ({"other tasks": near} if far and near else {})
    kinds = {kind: list(dict.fromkeys(names)) for kind, names in kinds.items()}
    matrices = [{kind: scores(group, names) for kind, names in kinds.items()} for group in here]
    main = next(iter(kinds))
    enough = [i for i, by_kind in enumerate(matrices) if len(by_kind[main]) >= SEEDS_TO_RESAMPLE]
    if not enough:
        return []
    means: list[tuple[Entry, ...]] = []
    for i, group in enumerate(here):
        seeds = min(len(matrix) for matrix in matrices[i].values())
        few = f"{seeds} of {SEEDS_TO_RESAMPLE} seeds" if seeds else "missing"
        means.append(
            (
                group.agent,
                group.goals,
                seeds,
                *(
                    resampled(interquartile_mean, matrix, rng=np.random.default_rng(0))
                    if seeds >= SEEDS_TO_RESAMPLE
                    else few
                    for matrix in matrices[i].values()
                ),
            )
        )
    names = [f"{group.agent}, {group.goals}" for group in here]
    better: list[tuple[Entry, ...]] = []
    for i, k in combinations(enough, 2):
        pair = improvement(matrices[i][main], matrices[k][main], np.random.default_rng(0))
        better.append((names[i], names[k], pair))
    note = (
        "As Agarwal et al. (2021), but 95% intervals take a seed with all its tasks for one observation: from a "
        "bootstrap of whole seeds, widened for few of them (Hesterberg, 2015; of probabilities: Wilson's)."
    )
    columns = ("agent", "goals", "seeds", *kinds)
    tables = [Table(f"{stem(dataset)}-iqm", f"{dataset}: interquartile means", columns, means, note)]
    if better:
        title = f"{dataset}: probability of improvement, {main}"
        tables.append(Table(f"{stem(dataset)}-improvement", title, ("X", "Y", "P(X > Y)"), better, note))
    return tables


def heat_table(runs: Sequence[Run], dataset: str) -> Table:
    """Success of every agent at every task; a column for each agent with its goals."""
    rows = [row for row in task_rows(runs) if row.dataset == dataset]
    ways = list(dict.fromkeys((row.agent, row.goals) for row in rows))
    by_key = {(row.task, row.agent, row.goals): row for row in rows}
    first = {row.task: row for row in reversed(rows)}
    ordered = sorted(first.values(), key=lambda row: (row.expect, row.segments_needed or 0, row.task))
    entries: list[tuple[Entry, ...]] = []
    for row in ordered:
        success = [by_key[row.task, *way].success for way in ways]
        needed = "none" if row.segments_needed is None else row.segments_needed
        entries.append((row.task, row.expect, needed, row.path_length, row.ceiling, *success))
    note = "Means over seeds; *: some are missing."
    columns = ("task", "expect", "segments", "path m", "ceiling", *(f"{agent}, {goals}" for agent, goals in ways))
    return Table(f"{stem(dataset)}-heat", f"{dataset}: success by task", columns, entries, note, shares_from=5)


def task_table(runs: Sequence[Run], dataset: str) -> Table:
    of_dataset = [row for row in task_rows(runs) if row.dataset == dataset]
    returns = any(row.target is not None for row in of_dataset)
    scores = ("target", "return", "success") if returns else ("path m", "success", "under the tight limit")
    rows: list[tuple[Entry, ...]] = []
    for row in of_dataset:
        needed = "none" if row.segments_needed is None else row.segments_needed
        steps = None if row.mean_length is None else round(row.mean_length)
        told = (row.target, row.achieved, row.success) if returns else (row.path_length, row.success, row.tight_success)
        task = (row.agent, row.goals, row.task, row.expect, row.status, needed)
        rows.append((*task, *told, row.ceiling, steps))
    columns = ("agent", "goals", "task", "expect", "status", "segments", *scores, "ceiling", "steps")
    note = "Steps: the mean over successful episodes of the last evaluation."
    if not returns:
        note += " In half the time: success within half of the step limit, 1.5 times what the behaviour needs."
    return Table(f"{stem(dataset)}-tasks", f"{dataset}: every task of every agent", columns, rows, note)


def training_table(runs: Sequence[Run]) -> Table:
    rows: list[tuple[Entry, ...]] = []
    for row in group_rows(runs):
        per_s = "missing" if row.updates_per_s is None else row.updates_per_s
        minutes = "missing" if row.wall_s is None else row.wall_s / 60
        rates = [None if rate is None else f"{100 * rate:.0f}%" for rate in (row.realised, row.contradiction_rate)]
        rows.append((row.dataset, row.agent, row.goals, row.seeds, row.steps, *rates, per_s, minutes))
    columns = ("dataset", "agent", "goals", "seeds", "steps", "augmented", "contradicting", "updates per s", "minutes")
    note = (
        "Means over the seeds that there are. Augmented: goals that lie in another episode; contradicting: "
        "those of them that the state's own next steps lead away from. Minutes: a whole run, evaluation included."
    )
    return Table("training", "Augmentation and speed", columns, rows, note, digits=1)


def to_csv(runs: Sequence[Run]) -> str:
    """One line for each run. An empty field does not apply."""
    segments = sorted({key for run in runs for key in run.by_segments}, key=lambda key: (len(key), key))
    rows: list[dict[str, Any]] = []
    for run in runs:
        row: dict[str, Any] = {key: getattr(run, key) for key in ("dataset", "agent", "goals", "seed", "steps")}
        for kind, score in (("seen", run.seen), ("unseen", run.unseen)):
            row |= {f"{kind}_{key}": score[key] if score else None for key in SCORE}
        row["raw_difference"] = run.raw_difference
        far = far_tasks(run.dataset, runs)
        row |= {"far_success": run.success(far), "far_tight_success": run.success(far, "tight_success")}
        row |= {f"segments_{key}_success": run.by_segments.get(key, {}).get("success") for key in segments}
        row |= {f"augmentation_{key}": run.augmentation[key] for key in ("requested", "realised")}
        row["contradiction_rate"] = run.augmentation["contradiction_rate"]
        row |= {key: getattr(run, key) for key in ("updates_per_s", "wall_s", "dataset_sha256", "commit", "folder")}
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
