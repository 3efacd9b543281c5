"""What a run's evaluations come to: success by task, by what a task expects, by segments needed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stitchrl.objectives.objective import Objective, Rows
from stitchrl.types import AnyTask

HEADLINE = 3  # evaluations whose mean is the headline
Results = Sequence[dict[str, Any]]  # one for each evaluation


def mean_by_task(rows: Sequence[dict[str, Any]], key: str) -> dict[str, float]:
    """The mean of `key` over each task's episodes."""
    names = dict.fromkeys(row["task"] for row in rows)
    return {name: float(np.mean([row[key] for row in rows if row["task"] == name])) for name in names}


def metrics(result: Mapping[str, Any], tasks: Sequence[AnyTask]) -> dict[str, float]:
    """One evaluation's values by the names of the contract: eval/<task>/success, eval/seen/success ..."""
    found = {f"eval/{name}/{key}": value for key in result if key != "step" for name, value in result[key].items()}
    for expect in ("seen", "unseen"):
        values = [result["success"][task.name] for task in tasks if task.expect == expect]
        if values:
            found[f"eval/{expect}/success"] = float(np.mean(values))
    return found


def _over_time(names: Sequence[str], results: Results) -> dict[str, float]:
    """Success over the tasks `names` in the last three evaluations: their mean (the headline), the last, the best.

    Earlier evaluations, of a fifth of the episodes, do not count: the highest of many coarser numbers is high by luck.
    """
    curve = [float(np.mean([result["success"][name] for name in names])) for result in results[-HEADLINE:]]
    return {"success": round(float(np.mean(curve)), 4), "final": round(curve[-1], 4), "best": round(max(curve), 4)}


def summarise(
    objective: Objective, certificate: Mapping[str, Any], results: Results, rows: Rows, episodes: int
) -> dict[str, Any]:
    """What summary.json says of success.

    certificate: as plain values. rows: of the last evaluation. episodes: of each task in an evaluation.
    """
    tasks = task_summaries(objective, certificate, results, rows, episodes)
    seen, unseen = (group([task for task in tasks if task["expect"] == kind], results) for kind in ("seen", "unseen"))
    return {
        "objective": objective.name,
        "unit": certificate["unit"],
        "measures": list(objective.measures),
        "seen": seen,
        "unseen": unseen,
        "raw_difference": round(seen["success"] - unseen["success"], 4) if seen and unseen else None,
        "by_segments": by_segments(tasks, results),
        "tasks": tasks,
    }


def task_summaries(
    objective: Objective, certificate: Mapping[str, Any], results: Results, rows: Rows, episodes: int
) -> list[dict[str, Any]]:
    """Per task: what the certificate says of it, and how it went. Arguments as of `summarise`.

    `mean_length` is over the last successful episodes. Measures are means of the last three evaluations.
    """
    facts = ("name", "expect", "status", "segments_needed", "ceiling", *objective.task_facts)
    estimated = [measure["key"] for measure in objective.measures if measure["estimate"]]
    summaries = []
    for task in certificate["tasks"]:
        name = task["name"]
        lengths = [row["length"] for row in rows if row["task"] == name and row["success"]]
        means = {key: float(np.mean([result[key][name] for result in results[-HEADLINE:]])) for key in estimated}
        summaries.append(
            {key: task[key] for key in facts}
            | {key: round(value, 4) for key, value in means.items()}
            | _over_time([name], results)
            | {"episodes": episodes, "mean_length": round(float(np.mean(lengths)), 1) if lengths else None}
        )
    return summaries


def group(tasks: Sequence[dict[str, Any]], results: Results) -> dict[str, Any] | None:
    """Several tasks as one, or null where there are none; `episodes` counts those of one evaluation."""
    if not tasks:
        return None
    return _over_time([t["name"] for t in tasks], results) | {"episodes": sum(t["episodes"] for t in tasks)}


def by_segments(tasks: Sequence[dict[str, Any]], results: Results) -> dict[str, Any]:
    needed = sorted({task["segments_needed"] for task in tasks if task["segments_needed"] is not None})
    return {str(k): group([task for task in tasks if task["segments_needed"] == k], results) for k in needed}
