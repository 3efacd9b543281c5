"""What a run's evaluations come to: success by task, by what a task expects, by segments needed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

HEADLINE = 3  # evaluations whose mean is the headline


def mean_by_task(rows: Sequence[dict[str, Any]], key: str) -> dict[str, float]:
    """The mean of `key` over each task's episodes; {} where rows have no such key, as those of goals have no return."""
    rows = [row for row in rows if key in row]
    names = dict.fromkeys(row["task"] for row in rows)
    return {name: float(np.mean([row[key] for row in rows if row["task"] == name])) for name in names}


def metrics(result: dict[str, Any], certificate: dict[str, Any]) -> dict[str, float]:
    """One evaluation's values by the names of the contract: eval/<task>/success, eval/seen/success ..."""
    success = result["success"]
    metrics = {f"eval/{name}/success": value for name, value in success.items()}
    metrics |= {f"eval/{name}/return": value for name, value in result["return"].items()}
    for expect in ("seen", "unseen"):
        values = [success[task["name"]] for task in certificate["tasks"] if task["expect"] == expect]
        if values:
            metrics[f"eval/{expect}/success"] = float(np.mean(values))
    return metrics


def _over_time(names: Sequence[str], results: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Headline (mean of the last three evaluations), final and best of them, success over the tasks `names`.

    Earlier evaluations are of a fifth of the episodes. They count for none of these: the highest of many coarser
    numbers is high by luck.
    """
    curve = [float(np.mean([result["success"][name] for name in names])) for result in results[-HEADLINE:]]
    return {
        "success": round(float(np.mean(curve)), 4),
        "final": round(curve[-1], 4),
        "best": round(max(curve), 4),
    }


def task_summaries(
    certificate: dict[str, Any], results: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], episodes: int
) -> list[dict[str, Any]]:
    """Per task: what the certificate says of it and how it went; mean_length is over the last successful episodes.

    Besides, as means of the last three evaluations: of a goal `tight_success`, success within half of the step limit,
    which is one and a half times what the behaviour needs; of a return task `return`, and its `target` and `horizon`.
    """

    def headline(key: str, name: str) -> float:
        return round(float(np.mean([result[key][name] for result in results[-HEADLINE:]])), 4)

    summaries = []
    for task in certificate["tasks"]:
        name = task["name"]
        lengths = [row["length"] for row in rows if row["task"] == name and row["success"]]
        keys = ["name", "expect", "status", "segments_needed", "path_length", "step_limit", "ceiling"]
        besides = "return" if "target" in task else "tight_success"
        if "target" in task:
            keys += ["target", "horizon"]
        summaries.append(
            {key: task[key] for key in keys}
            | {besides: headline(besides, name)}
            | _over_time([name], results)
            | {"episodes": episodes, "mean_length": round(float(np.mean(lengths)), 1) if lengths else None}
        )
    return summaries


def group(tasks: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Several tasks as one, or null where there are none; `episodes` counts those of one evaluation."""
    if not tasks:
        return None
    return _over_time([t["name"] for t in tasks], results) | {"episodes": sum(t["episodes"] for t in tasks)}


def by_segments(tasks: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    needed = sorted({task["segments_needed"] for task in tasks if task["segments_needed"] is not None})
    return {str(k): group([task for task in tasks if task["segments_needed"] == k], results) for k in needed}
