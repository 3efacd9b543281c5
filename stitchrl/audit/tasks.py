"""Tasks from a YAML file, so that any dataset can be audited.

    achieved_goal: {columns: [0, 1]}          # where the achieved goal stands in the observation
    tasks:
      - {name: left-to-right, start: {center: [0.0, 0.0], radius: 0.5}, goal: {center: [8.0, 0.0], radius: 0.5}}

A region is used as it is given: all points within `radius` of its centre, or of a square with `half` for half a side.
`expect` is unseen unless it says seen.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from stitchrl.types import Region, Task


class Tasks(NamedTuple):
    columns: tuple[int, int]  # of the observation, where the achieved goal stands
    tasks: list[Task]


def read_tasks(path: Path) -> Tasks:
    """Raises ValueError that names the file, the task and the key; OSError where there is no file."""
    try:
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected YAML, found {' '.join(str(error).split())}") from error
    _check_keys(str(path), values, {"achieved_goal", "tasks"}, {"achieved_goal", "tasks"})
    _check_keys(f"{path}: achieved_goal", values["achieved_goal"], {"columns"}, {"columns"})
    columns = values["achieved_goal"]["columns"]
    if not (isinstance(columns, list) and len(columns) == 2 and all(type(c) is int and c >= 0 for c in columns)):
        raise ValueError(f"{path}: achieved_goal: columns: {columns!r} given, two column numbers expected")
    if not (isinstance(values["tasks"], list) and values["tasks"]):
        raise ValueError(f"{path}: tasks: expected a list of tasks")
    tasks = [_task(f"{path}: tasks[{i}]", task) for i, task in enumerate(values["tasks"])]
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path}: tasks: the name {name!r} is given {names.count(name)} times")
    return Tasks((columns[0], columns[1]), tasks)


def _check_keys(where: str, values: Any, needed: set[str], known: set[str]) -> None:
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: {values!r} given, expected {', '.join(sorted(needed))}")
    for key in sorted(needed - set(values)):
        raise ValueError(f"{where}: no {key}")
    for key in values:
        if key not in known:
            raise ValueError(f"{where}: {key!r} is not one of {', '.join(sorted(known))}")


def _task(where: str, values: Any) -> Task:
    _check_keys(where, values, {"name", "start", "goal"}, {"name", "start", "goal", "expect"})
    expect = values.get("expect", "unseen")
    if expect not in ("seen", "unseen"):
        raise ValueError(f"{where}: expect: {expect!r} is not one of seen, unseen")
    start, goal = (_region(f"{where}: {key}", values[key]) for key in ("start", "goal"))
    return Task(str(values["name"]), start, goal, expect)


def _region(where: str, values: Any) -> Region:
    _check_keys(where, values, {"center", "radius"}, {"center", "radius", "half"})
    center, radius, half = values["center"], values["radius"], values.get("half", 0.0)
    if not (isinstance(center, list) and len(center) == 2 and all(_is_number(x) for x in center)):
        raise ValueError(f"{where}: center: {center!r} given, two numbers expected")
    for key, value in (("radius", radius), ("half", half)):
        if not _is_number(value) or value < 0:
            raise ValueError(f"{where}: {key}: {value!r} given, a number of at least 0 expected")
    return Region((float(center[0]), float(center[1])), float(half), float(radius))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
