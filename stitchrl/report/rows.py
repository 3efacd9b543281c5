"""Runs -> rows, as pure functions; success is a fraction everywhere.

What some runs of a dataset have and others lack is kept as missing: a seed, an agent with its goals, a task.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stitchrl.report.runs import Run
from stitchrl.report.statistics import Estimate, number

SMALLEST_GAP = 0.05  # a share of less than this would be a share of nothing


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone: one for each seed that any run of the dataset has, None where it lacks."""

    dataset: str
    agent: str
    goals: str
    runs: tuple[Run | None, ...]

    @property
    def present(self) -> list[Run]:
        return [run for run in self.runs if run]

    @property
    def steps(self) -> int | None:
        return self.present[0].steps if self.present else None


def groups(runs: Sequence[Run]) -> list[Group]:
    """Every agent with every goal scheme that it has anywhere, on every dataset, with or without runs of it."""
    ways = sorted({(run.agent, run.goals) for run in runs}, key=lambda way: (way[0], way[1] != "future", way[1]))
    found = []
    for dataset in dict.fromkeys(run.dataset for run in runs):
        here = {(run.agent, run.goals, run.seed): run for run in runs if run.dataset == dataset}
        seeds = sorted({seed for _, _, seed in here})
        found += [Group(dataset, *way, tuple(here.get((*way, seed)) for seed in seeds)) for way in ways]
    return found


def far_tasks(dataset: str, runs: Sequence[Run]) -> list[str]:
    """Tasks that no training episode joins: expected unseen in the dataset or, for a joined twin, in its cut twin."""
    cuts = {cut for joined, cut in twin_datasets(runs) if joined == dataset} or {dataset}
    unseen = (task["name"] for run in runs if run.dataset in cuts for task in run.tasks if task["expect"] == "unseen")
    return list(dict.fromkeys(unseen))


def segments_needed(dataset: str, runs: Sequence[Run]) -> int | None:
    """The fewest segments that any of a dataset's unseen tasks needs, None where no chain is known."""
    tasks = [task for run in runs if run.dataset == dataset for task in run.tasks if task["expect"] == "unseen"]
    return min((task["segments_needed"] for task in tasks if task["segments_needed"]), default=None)


def twin_datasets(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Names (joined, cut) of datasets that differ in nothing else and of which both have runs."""
    names = {run.dataset: run.name for run in runs if run.name}
    return [
        (joined, cut)
        for joined, name in names.items()
        for cut, other in names.items()
        if cut != joined and other.joined == name
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
    family = {joined, *(other for whole, other in twin_datasets(runs) if whole == joined)}
    seeds = sorted({run.seed for run in runs if run.dataset in family})  # of all, as a chart sets them side by side
    here = [run for run in runs if run.dataset in (joined, cut)]
    schemes = dict.fromkeys(run.goals for run in here if run.dataset == cut and run.goals != "future")
    ways = [(joined, "future"), (cut, "future"), *((cut, goals) for goals in schemes)]
    rows = []
    for agent in dict.fromkeys(run.agent for run in here):
        by_way = {way: {r.seed: r for r in here if (r.agent, r.dataset, r.goals) == (agent, *way)} for way in ways}
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
    steps: int | None
    seen: Estimate | None  # None where the dataset has no such tasks
    unseen: Estimate | None
    raw_difference: Estimate | None
    by_segments: dict[str, Estimate]
    realised: float | None
    contradiction_rate: float | None
    updates_per_s: float | None
    wall_s: float | None


def group_rows(runs: Sequence[Run]) -> list[GroupRow]:
    rows = []
    for group in groups(runs):
        here = [run for run in runs if run.dataset == group.dataset]

        def score(read: Callable[[Run], float | None], group: Group = group, here: list[Run] = here) -> Estimate | None:
            """None where no run of the dataset has a value: it does not apply, which is another thing than missing."""
            if all(read(run) is None for run in here):
                return None
            return Estimate(tuple(read(run) if run else None for run in group.runs))

        segments = sorted({key for run in here for key in run.by_segments}, key=lambda key: (len(key), key))
        row = GroupRow(
            group.dataset,
            group.agent,
            group.goals,
            seeds=len(group.present),
            steps=group.steps,
            seen=score(lambda run: run.seen["success"] if run.seen else None),
            unseen=score(lambda run: run.unseen["success"] if run.unseen else None),
            raw_difference=score(lambda run: run.raw_difference),
            by_segments={
                key: Estimate(tuple(run.by_segments.get(key, {}).get("success") if run else None for run in group.runs))
                for key in segments
            },
            realised=average([run.augmentation["realised"] for run in group.present]),
            contradiction_rate=average([run.augmentation["contradiction_rate"] for run in group.present]),
            updates_per_s=average([run.updates_per_s for run in group.present]),
            wall_s=average([run.wall_s for run in group.present]),
        )
        rows.append(row)
    return rows


def average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def warnings(dataset: str, runs: Sequence[Run]) -> list[str]:
    """In what the runs of a dataset differ, that should be alike."""
    here = [run for run in runs if run.dataset == dataset]
    found = []
    if (hashes := len({run.dataset_sha256 for run in here})) > 1:
        found.append(f"These runs were trained on {hashes} different data of this name (dataset_sha256).")
    if (sets := len({frozenset(task["name"] for task in run.tasks) for run in here})) > 1:
        found.append(f"These runs were evaluated on {sets} different sets of tasks.")
    if len(steps := sorted({run.steps for run in here})) > 1:
        found.append(f"These runs were trained for {', '.join(f'{count:,}' for count in steps)} steps.")
    for way in dict.fromkeys((run.agent, run.goals) for run in here):
        sources = {run.source for run in here if (run.agent, run.goals) == way and run.source}
        if len(sources) > 1:
            found.append(f"The seeds of {', '.join(way)} were trained by {len(sources)} versions of the code.")
    return found


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
    target: float | None  # None where a goal is asked for
    success: Estimate
    tight_success: Estimate  # success within half of the step limit
    achieved: Estimate  # the return
    ceiling: float | None
    mean_length: float | None  # steps of successful episodes


def task_rows(runs: Sequence[Run]) -> list[TaskRow]:
    rows = []
    for group in groups(runs):
        here = [{task["name"]: task for task in run.tasks} for run in runs if run.dataset == group.dataset]
        found = [{task["name"]: task for task in run.tasks} if run else {} for run in group.runs]
        for name in dict.fromkeys(name for tasks in here for name in tasks):
            known = [tasks[name] for tasks in here if name in tasks]
            row = TaskRow(
                group.dataset,
                group.agent,
                group.goals,
                task=name,
                expect=known[0]["expect"],
                status=known[0]["status"],
                segments_needed=known[0]["segments_needed"],
                path_length=known[0]["path_length"],
                target=known[0].get("target"),
                success=Estimate(tuple(tasks[name]["success"] if name in tasks else None for tasks in found)),
                tight_success=Estimate(
                    tuple(tasks[name].get("tight_success") if name in tasks else None for tasks in found)
                ),
                achieved=Estimate(tuple(tasks[name].get("return") if name in tasks else None for tasks in found)),
                ceiling=average([task["ceiling"] for task in known]),
                mean_length=average([tasks[name]["mean_length"] for tasks in found if name in tasks]),
            )
            rows.append(row)
    return rows


# ---- D: from eight seeds on ----------------------------------------------------------------------------------------


def scores(group: Group, tasks: Sequence[str]) -> np.ndarray:
    """Success [runs, tasks] of the runs that were evaluated on all of these tasks."""
    by_run = [{task["name"]: task["success"] for task in run.tasks} for run in group.present]
    whole = [[success[name] for name in tasks] for success in by_run if success.keys() >= set(tasks)]
    return np.array(whole).reshape(-1, len(tasks))
