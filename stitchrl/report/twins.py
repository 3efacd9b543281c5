"""Twins: the joined and the cut dataset of the same transitions, and the stitching gap between runs on them."""

from collections.abc import Sequence
from dataclasses import dataclass

from stitchrl.report.rows import far_tasks, twin_datasets
from stitchrl.report.runs import Run
from stitchrl.report.statistics import Estimate, number

SMALLEST_GAP = 0.05  # a share of less than this would be a share of nothing


@dataclass(frozen=True)
class TwinRow:
    """One way to train an agent, and its success on the far tasks: no episode of the cut twin contains one."""

    agent: str
    data: str  # joined, cut4, ...
    goals: str
    success: Estimate
    gap: Estimate | None  # joined minus this row; without augmentation it is the stitching gap. None for joined itself
    closed: float | None  # share of the stitching gap that this row's goals close, None where that says nothing


def twin_rows(runs: Sequence[Run], joined: str, cut: str) -> list[TwinRow]:
    """For each agent that has runs on both twins: joined, cut, then cut with every other goal scheme it has there.

    Without augmentation an agent stands in the rows even where it has no such runs. These are missing.
    """
    tasks = far_tasks(cut, runs)
    family = {joined, *(other for whole, other in twin_datasets(runs) if whole == joined)}
    on = {dataset: {run.agent for run in runs if run.dataset == dataset} for dataset in family}
    # Of all that are compared, since a chart sets them side by side.
    seeds = sorted({run.seed for run in runs if run.dataset in family and run.agent in on[joined]})
    rows = []
    for agent in dict.fromkeys(run.agent for run in runs if run.dataset in (joined, cut)):
        if agent not in on[joined] & on[cut]:
            continue
        own = {(run.dataset, run.goals, run.seed): run for run in runs if run.agent == agent}
        schemes = dict.fromkeys(goals for dataset, goals, _ in own if dataset == cut and goals != "future")
        ways = [(joined, "future"), (cut, "future"), *((cut, goals) for goals in schemes)]
        of_ways = [[own.get((*way, seed)) for seed in seeds] for way in ways]
        success = [Estimate(tuple(run.success(tasks) if run else None for run in of_way)) for of_way in of_ways]
        whole, pieces, *_ = success
        for (dataset, goals), result in zip(ways, success, strict=True):
            data = next(run.name.split for run in runs if run.dataset == dataset and run.name)
            gap = None if dataset == joined else whole.minus(result)
            closed = None if goals == "future" else share_closed(whole, pieces, result)
            rows.append(TwinRow(agent, data, goals, result, gap, closed))
    return rows


def on_one_twin(runs: Sequence[Run], joined: str, cut: str) -> str:
    """A sentence on the agents that have runs on one of the twins only; "" where there are none."""
    on = {dataset: {run.agent for run in runs if run.dataset == dataset} for dataset in (joined, cut)}
    alone = [f"{agent} ({joined if agent in on[joined] else cut})" for agent in sorted(on[joined] ^ on[cut])]
    return f"Not compared, since they have runs on one of the twins only: {', '.join(alone)}." if alone else ""


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
        return f"{agent}: no stitching gap is known. On {lacking.data} data far tasks with goals=future are missing."
    whole, gap = joined.success.mean, joined.success.mean - cut.success.mean
    if whole <= SMALLEST_GAP:
        text = f"{agent} fails on joined data too ({number(whole)} on the far tasks): this says nothing of stitching"
    elif gap <= SMALLEST_GAP:
        text = f"{agent} reaches {number(cut.success.mean)} on {cut.data}, {number(whole)} on joined data"
        text += ": no gap to close"
    else:
        text = f"Without augmentation {agent} loses {number(gap)} of {number(whole)}"
        text += " when no single training episode contains a far task"
        for row in augmented:
            name = "augmentation" if len(augmented) == 1 else f"goals={row.goals}"
            does = "is missing"
            if row.closed is not None:
                percent = round(100 * row.closed)
                does = f"closes {percent}% of that gap" if percent >= 0 else f"makes that gap {-percent}% wider"
            text += f"; {name} {does}"
    counts = sorted({len(row.success.present) for row in rows if row.success.present})
    seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return f"{text} ({seeds} seed{'s' if seeds != '1' else ''})."
