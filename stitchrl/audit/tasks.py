"""Tasks from a YAML file, so that any dataset can be audited.

    achieved_goal: {columns: [0, 1]}          # where the achieved goal stands in the observation
    tasks:
      - {name: left-to-right, start: {center: [0.0, 0.0], radius: 0.5}, goal: {center: [8.0, 0.0], radius: 0.5}}

A region is used as it is given: all points within `radius` of its centre, or of a square with `half` for half a side.
`expect` is unseen unless it says seen. Of a dataset with rewards returns can be asked for, instead of goals:

      - {name: from-left, start: {center: [0.0, 0.0], radius: 0.5}, target: 100, horizon: 250}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from stitchrl.types import Expectation, Region, ReturnTask, Task


class Tasks(NamedTuple):
    columns: tuple[int, int]  # of the observation, where the achieved goal stands
    tasks: list[Task]
    returns: list[ReturnTask]  # empty where goals are asked for, as the other is where these are


def read_tasks(path: Path) -> Tasks:
    """Raises ValueError that names the file, the task and the key; OSError where there is no file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected YAML, found {' '.join(str(error).split())}") from error
    _check_keys(str(path), values, {"achieved_goal", "tasks"}, {"achieved_goal", "tasks"})
    _check_keys(f"{path}: achieved_goal", values["achieved_goal"], {"columns"}, {"columns"})
    columns = values["achieved_goal"]["columns"]
    if not (isinstance(columns, list) and len(columns) == 2 and all(type(c) is int and c >= 0 for c in columns)):
        raise ValueError(f"{path}: achieved_goal: columns: {columns!r} given, two column numbers expected")
    if not (isinstance(values["tasks"], list) and values["tasks"]):
        raise ValueError(f"{path}: tasks: expected a list of tasks")
    named = [(f"{path}: tasks[{i}]", task) for i, task in enumerate(values["tasks"])]
    of_returns = [isinstance(task, Mapping) and "target" in task for _, task in named]
    if any(of_returns) != all(of_returns):
        raise ValueError(f"{path}: tasks: goals and targets given, expected either")
    goals = [] if all(of_returns) else [_task(where, task) for where, task in named]
    returns = [_return_task(where, task) for where, task in named] if all(of_returns) else []
    names = [*(task.name for task in goals), *(task.name for task in returns)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path}: tasks: the name {name!r} is given {names.count(name)} times")
    return Tasks((columns[0], columns[1]), goals, returns)


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
    expect = _expect(where, values)
    start, goal = (_region(f"{where}: {key}", values[key]) for key in ("start", "goal"))
    return Task(str(values["name"]), start, goal, expect)


def _return_task(where: str, values: Any) -> ReturnTask:
    keys = {"name", "start", "target", "horizon"}
    _check_keys(where, values, keys, keys | {"expect"})
    target, horizon = values["target"], values["horizon"]
    if not (_is_number(target) and target > 0):
        raise ValueError(f"{where}: target: {target!r} given, a number above 0 expected")
    if not (type(horizon) is int and horizon > 0):
        raise ValueError(f"{where}: horizon: {horizon!r} given, a number of steps expected")
    start = _region(f"{where}: start", values["start"])
    return ReturnTask(str(values["name"]), start, float(target), horizon, _expect(where, values))


def _expect(where: str, values: Any) -> Expectation:
    expect = values.get("expect", "unseen")
    if expect not in ("seen", "unseen"):
        raise ValueError(f"{where}: expect: {expect!r} is not one of seen, unseen")
    return expect


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
