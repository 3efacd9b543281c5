"""Runs -> rows, as pure functions; success is a fraction everywhere.

What some runs of a dataset have and others lack is kept as missing: a seed, a task. A *way* is an agent with a goal
scheme. A dataset's rows are of the ways that have runs on it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stitchrl.report.contract import Measure
from stitchrl.report.runs import Run
from stitchrl.report.statistics import Estimate


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone."""

    dataset: str
    agent: str
    goals: str
    runs: tuple[Run | None, ...]  # one for each seed that any run of the dataset has, None where this group lacks it

    @property
    def way(self) -> tuple[str, str]:
        return self.agent, self.goals

    @property
    def present(self) -> list[Run]:
        return [run for run in self.runs if run]

    @property
    def seeds(self) -> int:
        return len(self.present)

    @property
    def lacking(self) -> int:
        return len(self.runs) - self.seeds

    @property
    def steps(self) -> int:
        return self.present[0].steps

    def over_seeds(self, read: Callable[..., float | None], *arguments: str) -> Estimate:
        """What `read(run, *arguments)` finds in each run; missing where there is none."""
        return Estimate(tuple(read(run, *arguments) if run else None for run in self.runs))


def groups(runs: Sequence[Run]) -> list[Group]:
    """The groups of every dataset, each with at least one run."""
    found = []
    for dataset in dict.fromkeys(run.dataset for run in runs):
        here = [run for run in runs if run.dataset == dataset]
        by_key = {(run.agent, run.goals, run.seed): run for run in here}
        seeds = sorted({run.seed for run in here})
        found += [Group(dataset, *way, tuple(by_key.get((*way, seed)) for seed in seeds)) for way in ways(here)]
    return found


def ways(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Agents with their goal schemes, future goals first."""
    return sorted({(run.agent, run.goals) for run in runs}, key=lambda way: (way[0], way[1] != "future", way[1]))


def measures_of(runs: Iterable[Run]) -> list[Measure]:
    """What tasks of these runs hold beside success; where runs describe it differently, the first one counts."""
    found: dict[str, Measure] = {}
    for measure in (measure for run in runs for measure in run.measures):
        found.setdefault(measure.key, measure)
    return list(found.values())


def far_tasks(dataset: str, runs: Sequence[Run]) -> list[str]:
    """Tasks that no single training episode contains: unseen in the dataset or, if it is joined, in its cut twin."""
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
    pairs = [(joined, cut) for joined in names for cut in names if cut != joined]
    return [(joined, cut) for joined, cut in pairs if names[cut].joined == names[joined]]


@dataclass(frozen=True)
class GroupRow(Group):
    """What the runs of a group come to."""

    seen: Estimate | None  # None where the dataset has no such tasks
    unseen: Estimate | None
    raw_difference: Estimate | None
    by_segments: dict[str, Estimate]
    realised: float | None
    contradiction_rate: float | None
    updates_per_s: float | None
    wall_s: float | None


def group_rows(runs: Sequence[Run]) -> list[GroupRow]:
    """A row for each group."""
    rows = []
    for group in groups(runs):
        here = [run for run in runs if run.dataset == group.dataset]
        segments = sorted({key for run in here for key in run.by_segments}, key=lambda key: (len(key), key))
        present = group.present
        row = GroupRow(
            **vars(group),
            seen=score(group, here, lambda run: run.seen["success"] if run.seen else None),
            unseen=score(group, here, lambda run: run.unseen["success"] if run.unseen else None),
            raw_difference=score(group, here, lambda run: run.raw_difference),
            by_segments={
                key: group.over_seeds(lambda run, key: run.by_segments.get(key, {}).get("success"), key)
                for key in segments
            },
            realised=average([run.augmentation["realised"] for run in present]),
            contradiction_rate=average([run.augmentation["contradiction_rate"] for run in present]),
            updates_per_s=average([run.updates_per_s for run in present]),
            wall_s=average([run.wall_s for run in present]),
        )
        rows.append(row)
    return rows


def score(group: Group, here: Sequence[Run], read: Callable[[Run], float | None]) -> Estimate | None:
    """What `read` finds over seeds. None: no run `here`, on the dataset, has a value, so that it does not apply."""
    return group.over_seeds(read) if any(read(run) is not None for run in here) else None


def average(values: Sequence[float | None]) -> float | None:
    """The mean of the values that there are, None where there are none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def warnings(dataset: str, runs: Sequence[Run]) -> list[str]:
    """What should be alike in all runs on a dataset and is not."""
    here = [run for run in runs if run.dataset == dataset]
    found = []
    if (hashes := len({run.dataset_sha256 for run in here})) > 1:
        found.append(f"These runs were trained on {hashes} different datasets of this name (dataset_sha256).")
    if (sets := len({frozenset(task["name"] for task in run.tasks) for run in here})) > 1:
        found.append(f"These runs were evaluated on {sets} different sets of tasks.")
    if len(steps := sorted({run.steps for run in here})) > 1:
        found.append(f"These runs were trained for {', '.join(f'{count:,}' for count in steps)} steps.")
    for way in dict.fromkeys((run.agent, run.goals) for run in here):
        if (sources := len({run.source for run in here if (run.agent, run.goals) == way and run.source})) > 1:
            found.append(f"The seeds of {', '.join(way)} were trained by {sources} versions of the code.")
    return found


@dataclass(frozen=True)
class TaskRow(Group):
    """One task of a group."""

    task: str
    expect: str
    status: str
    segments_needed: int | None
    success: Estimate
    measured: dict[str, Estimate | float | None]  # by key; an estimate where runs differ
    ceiling: float | None
    mean_length: float | None  # steps of successful episodes


def task_rows(runs: Sequence[Run]) -> list[TaskRow]:
    """Every task of every group. What a task is stands in all rows alike, from the first run that has it."""
    rows = []
    for group in groups(runs):
        here = [run for run in runs if run.dataset == group.dataset]
        measures = measures_of(here)
        for name in dict.fromkeys(name for run in here for name in run.by_name):
            known = [run.by_name[name] for run in here if name in run.by_name]
            row = TaskRow(
                **vars(group),
                task=name,
                expect=known[0]["expect"],
                status=known[0]["status"],
                segments_needed=known[0]["segments_needed"],
                success=group.over_seeds(of_task, name, "success"),
                measured={
                    one.key: group.over_seeds(of_task, name, one.key) if one.estimate else known[0].get(one.key)
                    for one in measures
                },
                ceiling=average([task["ceiling"] for task in known]),
                mean_length=average(group.over_seeds(of_task, name, "mean_length").present),
            )
            rows.append(row)
    return rows


def of_task(run: Run, name: str, key: str) -> float | None:
    """What a run holds of a task under this key, None where it lacks either."""
    return run.by_name.get(name, {}).get(key)


def scores(group: Group, tasks: Sequence[str]) -> np.ndarray:
    """Success [runs, tasks] of the runs that were evaluated on all of these tasks."""
    whole = [run for run in group.present if run.by_name.keys() >= set(tasks)]
    return np.array([[run.by_name[name]["success"] for name in tasks] for run in whole]).reshape(-1, len(tasks))
