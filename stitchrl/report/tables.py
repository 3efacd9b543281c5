"""Runs -> rows -> tables in the terminal. The functions that make rows are pure; success is a fraction everywhere."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from scipy import stats

from stitchrl.report.runs import SCORE, Run

SMALLEST_GAP = 0.05  # a share of less than this would be a share of nothing
FEWEST_SEEDS = 5  # for an interval; below, the points themselves are shown


@dataclass(frozen=True)
class Estimate:
    """A number over seeds. `values` has one entry for each seed, None where that run is missing."""

    values: tuple[float | None, ...]
    paired: bool = True  # False for a difference of means over different seeds

    @property
    def present(self) -> list[float]:
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float | None:
        return float(np.mean(self.present)) if self.present else None

    @property
    def half_width(self) -> float | None:
        """Half of Student's 95% interval for the mean, None below five seeds."""
        n = len(self.present)
        if n < FEWEST_SEEDS:
            return None
        return float(stats.t.ppf(0.975, n - 1) * np.std(self.present, ddof=1) / n**0.5)

    def minus(self, other: "Estimate") -> "Estimate":
        """The difference seed by seed; where the seeds differ, the difference of the means, marked as unpaired."""
        if self.mean is None or other.mean is None:
            return Estimate(())
        if [value is None for value in self.values] != [value is None for value in other.values]:
            return Estimate((self.mean - other.mean,), paired=False)
        pairs = zip(self.values, other.values, strict=True)
        return Estimate(tuple(a - b for a, b in pairs if a is not None and b is not None))

    def __str__(self) -> str:
        if self.mean is None:
            return "missing"
        if not self.paired:
            return f"{number(self.mean)} (unpaired)"
        absent = len(self.values) - len(self.present)
        notes = [f"{absent} missing"] if absent else []
        if self.half_width is None and len(self.values) > 1:
            notes.insert(0, " ".join(map(number, self.present)))
        spread = "" if self.half_width is None else f" ± {number(self.half_width)}"
        return number(self.mean) + spread + (f" ({'; '.join(notes)})" if notes else "")


def number(value: float | None, digits: int = 2) -> str:
    """A dash stands for what does not apply."""
    return "-" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no minus before a zero


def groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that differ in their seed alone, together; the order of `runs` is kept."""
    return [list(group) for _, group in groupby(runs, lambda run: run.group)]


def far_tasks(dataset: str, runs: Sequence[Run]) -> list[str]:
    """Tasks that no training episode joins: expected unseen in the dataset or, for a joined twin, in its cut twin."""
    cuts = {cut for joined, cut in twin_datasets(runs) if joined == dataset} or {dataset}
    unseen = (task["name"] for run in runs if run.dataset in cuts for task in run.tasks if task["expect"] == "unseen")
    return list(dict.fromkeys(unseen))


def twin_datasets(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Names (joined, cut) of datasets that differ in nothing else and of which both have runs."""
    names = {run.dataset: run.name for run in runs if run.name}
    return [
        (joined, cut)
        for joined, a in names.items()
        for cut, b in names.items()
        if a.split == "joined" and b.split.startswith("cut") and a._replace(split=b.split) == b
    ]


# ---- A: the stitching gap ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TwinRow:
    """One way to train an agent, and its success on the tasks that the cut twin's episodes do not join."""

    agent: str
    data: str  # joined, cut4, ...
    goals: str
    steps: int | None
    success: Estimate
    gap: Estimate | None  # joined minus this row; without augmentation it is the stitching gap. None for joined itself
    closed: float | None  # share of the stitching gap that this row's goals close, None where that says nothing


def twin_rows(runs: Sequence[Run], joined: str, cut: str) -> list[TwinRow]:
    """For each agent: joined, cut, then cut with every other goal scheme that has runs. What has no run is missing."""
    tasks = far_tasks(cut, runs)
    here = [run for run in runs if run.dataset in (joined, cut)]
    schemes = dict.fromkeys(run.goals for run in here if run.dataset == cut and run.goals != "future")
    ways = [(joined, "future"), (cut, "future"), *((cut, goals) for goals in schemes)]
    rows = []
    for agent in dict.fromkeys(run.agent for run in here):
        by_way = {way: {r.seed: r for r in here if (r.agent, r.dataset, r.goals) == (agent, *way)} for way in ways}
        seeds = sorted(set().union(*by_way.values()))
        success = {
            way: Estimate(tuple(found[seed].success(tasks) if seed in found else None for seed in seeds))
            for way, found in by_way.items()
        }
        whole, pieces = success[ways[0]], success[ways[1]]
        for dataset, goals in ways:
            result = success[dataset, goals]
            row = TwinRow(
                agent=agent,
                data=dataset.split("-")[2],
                goals=goals,
                steps=next((run.steps for run in by_way[dataset, goals].values()), None),
                success=result,
                gap=None if dataset == joined else whole.minus(result),
                closed=None if goals == "future" else share_closed(whole, pieces, result),
            )
            rows.append(row)
    return rows


def share_closed(joined: Estimate, cut: Estimate, augmented: Estimate) -> float | None:
    """(augmented - cut) / (joined - cut) of the means, None where the gap is missing or too small to be shared."""
    if joined.mean is None or cut.mean is None or augmented.mean is None or joined.mean - cut.mean <= SMALLEST_GAP:
        return None
    return (augmented.mean - cut.mean) / (joined.mean - cut.mean)


def conclusion(rows: Sequence[TwinRow]) -> str:
    """What the rows of one agent say, in words."""
    joined, cut, *augmented = rows
    agent = joined.agent
    if joined.success.mean is None or cut.success.mean is None:
        lacking = joined if joined.success.mean is None else cut
        return (
            f"{agent}: no stitching gap, since far tasks on {lacking.data} data with goals={lacking.goals} are missing."
        )
    whole, gap = joined.success.mean, joined.success.mean - cut.success.mean
    if whole <= SMALLEST_GAP:
        text = f"{agent} fails on joined data too ({number(whole)} on the far tasks), so nothing is said of stitching"
    elif gap <= SMALLEST_GAP:
        text = (
            f"{agent} reaches {number(cut.success.mean)} on {cut.data}, {number(whole)} on joined data: no gap to close"
        )
    else:
        text = (
            f"Without augmentation {agent} loses {number(gap)} of {number(whole)} when no training episode joins "
            f"start and goal"
        )
        for row in augmented:
            name = "augmentation" if len(augmented) == 1 else f"goals={row.goals}"
            text += f"; {name} {closes(row.closed)}"
    counts = sorted({len(row.success.present) for row in rows if row.success.present})
    seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    text += f" ({seeds} seed{'s' if seeds != '1' else ''})."
    if len({row.steps for row in rows if row.steps is not None}) > 1:
        text += " Beware: these runs were trained for different numbers of steps."
    return text


def closes(share: float | None) -> str:
    if share is None:
        return "is missing"
    percent = round(100 * share)
    return f"closes {percent}% of that gap" if percent >= 0 else f"makes that gap {-percent}% wider"


# ---- B: one row for each dataset, agent and goals ------------------------------------------------------------------


@dataclass(frozen=True)
class GroupRow:
    dataset: str
    agent: str
    goals: str
    seeds: int
    steps: int
    seen: Estimate | None  # None where the dataset has no such tasks
    unseen: Estimate | None
    raw_difference: Estimate | None
    by_segments: dict[str, Estimate]
    realised: float | None
    contradiction_rate: float | None
    updates_per_s: float


def group_rows(runs: Sequence[Run]) -> list[GroupRow]:
    rows = []
    for group in groups(runs):
        segments = sorted({key for run in group for key in run.by_segments}, key=lambda key: (len(key), key))
        rates = [average([run.augmentation[key] for run in group]) for key in ("realised", "contradiction_rate")]
        row = GroupRow(
            *group[0].group,
            seeds=len(group),
            steps=group[0].steps,
            seen=estimate([run.seen["success"] if run.seen else None for run in group]),
            unseen=estimate([run.unseen["success"] if run.unseen else None for run in group]),
            raw_difference=estimate([run.raw_difference for run in group]),
            by_segments={
                key: Estimate(tuple(run.by_segments.get(key, {}).get("success") for run in group)) for key in segments
            },
            realised=rates[0],
            contradiction_rate=rates[1],
            updates_per_s=float(np.mean([run.updates_per_s for run in group])),
        )
        rows.append(row)
    return rows


def estimate(values: Sequence[float | None]) -> Estimate | None:
    """None where no run has a value: it does not apply, which is another thing than missing."""
    return None if all(value is None for value in values) else Estimate(tuple(values))


def average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


# ---- C: every task of every group ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaskRow:
    dataset: str
    agent: str
    goals: str
    task: str
    expect: str
    status: str
    segments_needed: int | None
    path_length: float | None  # metres
    success: Estimate
    ceiling: float | None
    mean_length: float | None  # steps of successful episodes


def task_rows(runs: Sequence[Run]) -> list[TaskRow]:
    rows = []
    for group in groups(runs):
        for name in dict.fromkeys(task["name"] for run in group for task in run.tasks):
            found = [next((task for task in run.tasks if task["name"] == name), None) for run in group]
            known = [task for task in found if task]
            row = TaskRow(
                *group[0].group,
                task=name,
                expect=known[0]["expect"],
                status=known[0]["status"],
                segments_needed=known[0]["segments_needed"],
                path_length=known[0]["path_length"],
                success=Estimate(tuple(task["success"] if task else None for task in found)),
                ceiling=average([task["ceiling"] for task in known]),
                mean_length=average([task["mean_length"] for task in known]),
            )
            rows.append(row)
    return rows


# ---- for files and for eyes ----------------------------------------------------------------------------------------


def to_csv(runs: Sequence[Run]) -> str:
    """One line for each run. An empty field does not apply."""
    segments = sorted({key for run in runs for key in run.by_segments}, key=lambda key: (len(key), key))
    rows: list[dict[str, Any]] = []
    for run in runs:
        row: dict[str, Any] = {key: getattr(run, key) for key in ("dataset", "agent", "goals", "seed", "steps")}
        for kind, score in (("seen", run.seen), ("unseen", run.unseen)):
            row |= {f"{kind}_{key}": score[key] if score else None for key in SCORE}
        row["raw_difference"] = run.raw_difference
        row["far_success"] = run.success(far_tasks(run.dataset, runs))
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


def print_tables(runs: Sequence[Run], console: Console) -> None:
    for joined, cut in twin_datasets(runs):
        rows = twin_rows(runs, joined, cut)
        print_twins(rows, joined, cut, console)
        for _, of_agent in groupby(rows, lambda row: row.agent):
            console.print(conclusion(list(of_agent)), soft_wrap=True)
        console.print()
    for dataset, of_dataset in groupby(group_rows(runs), lambda row: row.dataset):
        print_groups(list(of_dataset), dataset, console)
    for (dataset, agent, goals), of_group in groupby(task_rows(runs), lambda row: (row.dataset, row.agent, row.goals)):
        print_tasks(list(of_group), f"{dataset}, {agent}, goals={goals}: success by task", console)
    console.print("Mean (each seed), from five seeds mean ± half of Student's 95% interval.", soft_wrap=True)
    console.print("Success is the mean of the last three evaluations. A dash: does not apply.", soft_wrap=True)


def empty_table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for name in left:
        table.add_column(name, vertical="top")
    for name in right:
        table.add_column(name, justify="right", vertical="top")
    return table


def print_twins(rows: Sequence[TwinRow], joined: str, cut: str, console: Console) -> None:
    left = ("agent", "data", "goals", "success on far tasks", "gap: joined minus it")
    table = empty_table(f"Twins {joined} and {cut}", left, ("gap closed",))
    before = ""
    for row in rows:
        if before and row.agent != before:
            table.add_section()
        augmented = row.gap is not None and row.goals != "future"
        closed = "" if not augmented else "-" if row.closed is None else f"{round(100 * row.closed)}%"
        gap = "" if row.gap is None else str(row.gap)
        table.add_row(row.agent if row.agent != before else "", row.data, row.goals, str(row.success), gap, closed)
        before = row.agent
    console.print(table)


def print_groups(rows: Sequence[GroupRow], dataset: str, console: Console) -> None:
    left = ("trained", "seen", "unseen", "seen - unseen", "by seg-\nments")
    table = empty_table(f"{dataset}: runs", left, ("aug-\nmented", "contra-\ndicting", "updates\nper s"))
    for row in rows:
        trained = f"{row.agent}, {row.goals}\n{row.steps} steps\n{row.seeds} seed{'s' if row.seeds > 1 else ''}"
        scores = ["-" if score is None else str(score) for score in (row.seen, row.unseen, row.raw_difference)]
        segments = "\n".join(f"{key}: {number(score.mean)}" for key, score in row.by_segments.items()) or "-"
        rates = (number(row.realised), number(row.contradiction_rate), f"{row.updates_per_s:.0f}")
        table.add_row(trained, *scores, segments, *rates, end_section=True)
    console.print(table)


def print_tasks(rows: Sequence[TaskRow], title: str, console: Console) -> None:
    left = ("task", "expect", "status")
    table = empty_table(title, left, ("segments", "path m", "success", "ceiling", "steps"))
    for row in rows:
        segments = "none" if row.segments_needed is None else str(row.segments_needed)
        numbers = (number(row.path_length, 1), str(row.success), number(row.ceiling), number(row.mean_length, 0))
        table.add_row(row.task, row.expect, row.status, segments, *numbers)
    console.print(table)
