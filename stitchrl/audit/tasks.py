"""Tasks from a YAML file, so that any dataset can be audited.

    achieved_goal: {columns: [0, 1]}          # where the achieved goal stands in the observation
    tasks:
      - {name: left-to-right, start: {center: [0.0, 0.0], radius: 0.5}, goal: {center: [8.0, 0.0], radius: 0.5}}

A region is used as it is given: all points within `radius` of its centre, or of a cube with `half` for half a side. A
centre has as many numbers as there are columns. `expect` is unseen unless it says seen. Of a dataset with rewards
returns can be asked for, instead of goals:

      - {name: from-left, start: {center: [0.0, 0.0], radius: 0.5}, target: 100, horizon: 250}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from stitchrl.audit.certificate import Judge
from stitchrl.audit.judges import JUDGES
from stitchrl.audit.reading import check_keys
from stitchrl.types import AnyTask


class Tasks(NamedTuple):
    """What a tasks file holds."""

    columns: tuple[int, ...]  # of the observation, where the achieved goal stands
    tasks: list[AnyTask]
    judge: Judge


def read_tasks(path: Path) -> Tasks:
    """Raises ValueError that names the file, the task and the key; OSError where there is no file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected YAML, found {' '.join(str(error).split())}") from error
    check_keys(str(path), values, {"achieved_goal", "tasks"}, {"achieved_goal", "tasks"})
    check_keys(f"{path}: achieved_goal", values["achieved_goal"], {"columns"}, {"columns"})
    columns = values["achieved_goal"]["columns"]
    if not (isinstance(columns, list) and columns and all(type(c) is int and c >= 0 for c in columns)):
        raise ValueError(f"{path}: achieved_goal: columns: {columns!r} given, a list of column numbers expected")
    if not (isinstance(values["tasks"], list) and values["tasks"]):
        raise ValueError(f"{path}: tasks: expected a list of tasks")
    named = [(f"{path}: tasks[{i}]", task) for i, task in enumerate(values["tasks"])]
    mappings = [task for _, task in named if isinstance(task, Mapping)]
    asked = [judge for judge in JUDGES.values() if any(judge.asks in task for task in mappings)]
    if len(asked) > 1:
        raise ValueError(f"{path}: tasks: {' and '.join(judge.asks for judge in asked)} given, expected either")
    judge = asked[0] if asked else next(iter(JUDGES.values()))  # who says what is missing
    tasks = [judge.read(where, task, len(columns)) for where, task in named]
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path}: tasks: the name {name!r} is given {names.count(name)} times")
    return Tasks(tuple(columns), tasks, judge)
