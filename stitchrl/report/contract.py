"""What summary.json must hold, and what older summaries did not say."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class BadInput(Exception):
    """One line that names a file and what was expected of it."""


@dataclass(frozen=True)
class Measure:
    """A number that tasks hold beside success."""

    key: str  # under which a task holds it
    heading: str  # of its column
    note: str  # a sentence that explains it, or ""
    digits: int  # behind the point
    estimate: bool  # True for one value per run, which is averaged over seeds; False for the same value in all runs


TIGHT = "Under the tight limit: success within half of the step limit, 1.5 times what the behaviour needs."
EARLIER = (  # measures of summaries that do not name theirs
    Measure("target", "target", "", 1, False),
    Measure("path_length", "path m", "", 1, False),
    Measure("tight_success", "under the tight limit", TIGHT, 2, True),
    Measure("return", "return", "", 2, True),
)

# What each key must hold: a type, "fraction" for a number in 0..1, a dict of required keys, [item] for a list of such,
# {"*": item} for a dict with any keys, (item, None) where null is allowed.
NUMBER = (int, float)
SCORE = {"success": "fraction", "final": "fraction", "best": "fraction", "episodes": int}
MEASURE = {"key": str, "heading": str, "note": str, "digits": int, "estimate": bool}
REGION = {"center": [NUMBER], "half": NUMBER, "radius": NUMBER}
TASK = {
    **SCORE,
    **dict.fromkeys(("name", "expect", "status"), str),
    "segments_needed": (int, None),
    "mean_length": (*NUMBER, None),
    "ceiling": ("fraction", None),
}
SUMMARY: dict[str, Any] = {
    **dict.fromkeys(("dataset", "dataset_sha256", "agent", "goals"), str),
    **dict.fromkeys(("seed", "steps"), int),
    **dict.fromkeys(("seen", "unseen"), (SCORE, None)),
    "raw_difference": (*NUMBER, None),
    "by_segments": {"*": {"success": "fraction"}},
    "tasks": [TASK],
    "augmentation": dict.fromkeys(("requested", "realised", "contradiction_rate"), (*NUMBER, None)),
    **dict.fromkeys(("updates_per_s", "wall_s"), NUMBER),
    "commit": (str, None),
}
LATER: dict[str, Any] = {"unit": str, "measures": [MEASURE], "instruments": {"*": (*NUMBER, None)}}  # not in older ones


def read_summary(path: Path) -> dict[str, Any]:
    """Read summary.json; its measures become `Measure`s.

    Raises:
        BadInput: it is not the summary of a finished run.
    """
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        check(summary, SUMMARY)
        summary = completed(summary)
        check(summary, LATER)
        measures = [Measure(**{key: measure[key] for key in MEASURE}) for measure in summary["measures"]]
        check_tasks(summary["tasks"], measures)
        if keys := [key for key in summary["by_segments"] if not key.isdecimal()]:
            raise ValueError(f"by_segments: numbers expected, found {keys[0]!r}")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; the summary of a finished run expected") from error
    except ValueError as error:  # also what the json and unicode decoders raise
        raise BadInput(f"{path}: not the summary of a finished run: {error}") from error
    return summary | {"measures": tuple(measures)}


def completed(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary with all keys. Measures that an older one does not name are those of which a task has a value."""
    if "measures" in summary:
        return {"instruments": {}} | summary
    renamed = {"in_half": "tight_success"}
    tasks = [{renamed.get(key, key): value for key, value in task.items()} for task in summary["tasks"]]
    held = {key for task in tasks for key, value in task.items() if value is not None}
    measures = [asdict(measure) for measure in EARLIER if measure.key in held]
    return {"unit": "m", "instruments": {}} | summary | {"tasks": tasks, "measures": measures}


def check_tasks(tasks: list[dict[str, Any]], measures: Sequence[Measure]) -> None:
    """Raise ValueError where tasks do not hold what is expected of them."""
    for i, task in enumerate(tasks):
        for measure in measures:
            check(task.get(measure.key), (*NUMBER, None), f"tasks.{i}.{measure.key}.")
        for end in ("start", "goal"):
            check(task.get(end), (REGION, None), f"tasks.{i}.{end}.")
            if task.get(end) and not task[end]["center"]:
                raise ValueError(f"tasks.{i}.{end}.center: one number at least expected")
    names = [task["name"] for task in tasks]
    if len(set(names)) < len(names):
        raise ValueError("tasks: different names expected")
    if other := {task["expect"] for task in tasks} - {"seen", "unseen"}:
        raise ValueError(f"tasks: seen or unseen expected of each, found {', '.join(map(repr, sorted(other)))}")


def check(value: Any, expected: Any, where: str = "") -> None:
    """Raise ValueError that names the key at which `value` is not what the description above expects."""
    if isinstance(expected, tuple):
        if value is None and None in expected:
            return
        options = [option for option in expected if option is not None]
        if any(isinstance(option, type) and is_a(value, option) for option in options):
            return
        expected = options[-1]
    if isinstance(expected, dict):
        if not isinstance(value, dict):
            raise ValueError(f"{where[:-1] or 'the whole file'}: an object expected")
        for key in value if "*" in expected else expected:
            if key not in value:
                raise ValueError(f"key {where + key} expected, not found")
            check(value[key], expected.get("*", expected.get(key)), f"{where}{key}.")
    elif isinstance(expected, list):
        if not isinstance(value, list):
            raise ValueError(f"{where[:-1]}: a list expected")
        for i, item in enumerate(value):
            check(item, expected[0], f"{where}{i}.")
    elif expected == "fraction":
        if not any(is_a(value, number) for number in NUMBER) or not 0 <= value <= 1:
            raise ValueError(f"{where[:-1]}: a number from 0 to 1 expected, found {value!r}")
    elif not is_a(value, expected):
        raise ValueError(f"{where[:-1]}: {expected.__name__} expected, found {value!r}")


def is_a(value: Any, kind: type) -> bool:
    """Whether a value is of a kind. Numbers are finite, and true is none of them."""
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
