"""Run folders, as the experiment writes them, read back as plain values. Only files are read."""

import csv
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

# What no number of a run depends on, and what the configuration holds a second time under another name.
UNDECIDING = {"seed", "goals.seed", "workers", "fail_fast", "inner_seeds", "wandb", "again"}
REPEATED = {"budget.steps", "budget.hidden_dims", "budget.batch_size"}

YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with it


class BadInput(Exception):
    """One line that names a file and what was expected of it."""


class Name(NamedTuple):
    """The parts of `<world>-<maze>-<split>[-n<size>][-s<seed>]-v<k>`."""

    world: str
    maze: str
    split: str
    size: str  # what names a size or seed that is not the default, "-n300000" or ""
    version: str

    @classmethod
    def parse(cls, dataset: str) -> "Name | None":
        """None for a dataset that is not named in this way, such as a published one."""
        match = re.fullmatch(r"([a-z]+)-([a-z]+)-([a-z0-9_]+)((?:-n\d+)?(?:-s\d+)?)-(v\d+)", dataset)
        return cls(*match.groups()) if match else None

    @property
    def joined(self) -> "Name":
        """The joined twin of a cut dataset; other datasets are their own."""
        return self._replace(split=re.sub(r"cut\w*$", "joined", self.split))


@dataclass(frozen=True)
class Run:
    """What summary.json says of one training run. Success is a fraction, the mean of the last three evaluations."""

    folder: Path
    settings: dict[str, Any]  # all that decides its numbers, as far as it is known, by name on the command line
    source: str | None  # a hash of the code that it ran, None where an earlier version did not keep it
    curves: dict[str, dict[int, float]] | None  # seen and unseen: success by step
    calibration: dict[str, dict[float, float]] | None  # by start: the return achieved by target
    dataset: str
    dataset_sha256: str
    agent: str  # among others it is named with the settings in which they differ, and so are goals
    goals: str
    seed: int
    steps: int
    seen: dict[str, Any] | None  # success, final, best, episodes
    unseen: dict[str, Any] | None
    raw_difference: float | None
    by_segments: dict[str, dict[str, Any]]  # "2" -> success, episodes
    tasks: list[dict[str, Any]]
    augmentation: dict[str, Any]  # requested, realised, contradiction_rate; None without augmentation
    updates_per_s: float
    wall_s: float
    commit: str | None

    @property
    def name(self) -> Name | None:
        return Name.parse(self.dataset)

    @property
    def family(self) -> str | Name:
        """What a dataset and its twins share: runs on them are compared."""
        return self.name.joined if self.name else self.dataset

    def success(self, tasks: Iterable[str], key: str = "success") -> float | None:
        """Mean success over the named tasks, None where the run was not evaluated on all of them.

        key: "tight_success" for success within half of the step limit, which tasks of returns do not have.
        """
        by_name = {task["name"]: task[key] for task in self.tasks if key in task}
        names = list(tasks)
        if not names or not by_name.keys() >= set(names):
            return None
        return float(np.mean([by_name[name] for name in names]))


# What each key must hold: a type, "fraction" for a number in 0..1, a dict of required keys, [item] for a list of such,
# {"*": item} for a dict with any keys, (item, None) where null is allowed.
NUMBER = (int, float)
SCORE = {"success": "fraction", "final": "fraction", "best": "fraction", "episodes": int}
TASK = {
    **SCORE,
    "name": str,
    "expect": str,
    "status": str,
    "segments_needed": (int, None),
    "path_length": (*NUMBER, None),
    "mean_length": (*NUMBER, None),
    "ceiling": ("fraction", None),
}
SUMMARY: dict[str, Any] = {
    "dataset": str,
    "dataset_sha256": str,
    "agent": str,
    "goals": str,
    "seed": int,
    "steps": int,
    "seen": (SCORE, None),
    "unseen": (SCORE, None),
    "raw_difference": (*NUMBER, None),
    "by_segments": {"*": {"success": "fraction"}},
    "tasks": [TASK],
    "augmentation": dict.fromkeys(("requested", "realised", "contradiction_rate"), (*NUMBER, None)),
    "updates_per_s": NUMBER,
    "wall_s": NUMBER,
    "commit": (str, None),
}


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
    """Numbers are finite, and true is none of them."""
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, kind) and not isinstance(value, bool)


def read_run(folder: Path) -> Run:
    """Raises BadInput where any file in the folder is not what the experiment writes, though tables may not need it."""
    path = folder / "summary.json"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        check(summary, SUMMARY)
        for i, task in enumerate(summary["tasks"]):
            for key in ("tight_success", "return", "target"):  # which not every task has
                check(task.get(key), (*NUMBER, None), f"tasks.{i}.{key}.")
        names = [task["name"] for task in summary["tasks"]]
        if len(set(names)) < len(names):
            raise ValueError("tasks: different names expected")
        if other := {task["expect"] for task in summary["tasks"]} - {"seen", "unseen"}:
            raise ValueError(f"tasks: seen or unseen expected of each, found {', '.join(map(repr, sorted(other)))}")
        if keys := [key for key in summary["by_segments"] if not key.isdecimal()]:
            raise ValueError(f"by_segments: numbers expected, found {keys[0]!r}")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; the summary of a finished run expected") from error
    except ValueError as error:  # also what the json and unicode decoders raise
        raise BadInput(f"{path}: not the summary of a finished run: {error}") from error
    run = Run(
        folder,
        read_settings(folder) | {"steps": summary["steps"]},
        read_source(folder),
        read_curves(folder, summary["tasks"]),
        read_calibration(folder),
        **{key: summary[key] for key in SUMMARY},
    )
    read_data(run)
    read_trajectories(run)
    return run


def read_settings(folder: Path) -> dict[str, Any]:
    """What of the run's configuration decides its numbers; nothing where an earlier version did not keep it."""
    path = folder / "resolved.yaml"
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), YAML) if path.exists() else {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadInput(f"{path}: damaged; the configuration of a run as YAML expected") from error
    if not isinstance(values, dict):
        raise BadInput(f"{path}: damaged; the configuration of a run as YAML expected")
    return deciding(values)


def read_source(folder: Path) -> str | None:
    try:
        return json.loads((folder / "status.json").read_text(encoding="utf-8"))["origin"]["source"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def flat(values: dict[str, Any], within: str = "") -> dict[str, Any]:
    """{"agent": {"lr": 0.1}} -> {"agent.lr": 0.1}; an empty mapping is a value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{within}{key}.") if isinstance(value, dict) and value else {f"{within}{key}": value}
    return found


def deciding(values: dict[str, Any]) -> dict[str, Any]:
    """Of a resolved configuration: the settings that decide a run's numbers, by their names on the command line."""
    found = {key: value for key, value in flat(values).items() if key not in UNDECIDING | REPEATED}
    if "device" in found:
        found["device"] = str(found["device"]).partition(":")[0]  # which of several does not matter
    return found


def read_arrays(path: Path, keys: tuple[str, ...]) -> dict[str, np.ndarray] | None:
    """The arrays of an npz file, None where there is no such file: tables need none."""
    if not path.exists():
        return None
    try:
        with np.load(path) as file:
            return {key: file[key] for key in keys}
    except Exception as error:  # numpy, zipfile and zlib raise many kinds
        raise BadInput(f"{path}: damaged; an npz file with arrays {', '.join(keys)} expected") from error


def read_data(run: Run) -> tuple[np.ndarray, np.ndarray] | None:
    """A sample of the training data: points [P, 2] in metres and the context [P] of each, -1 where unknown."""
    path = run.folder / "data.npz"
    arrays = read_arrays(path, ("xy", "context"))
    if arrays is None:
        return None
    xy, context = arrays["xy"], arrays["context"]
    if not are_points(xy) or context.shape != xy.shape[:1] or context.dtype.kind not in "iu":
        raise BadInput(f"{path}: xy {xy.shape}, context {context.shape}; finite xy [P, 2] and context [P] expected")
    return xy, context


class Trajectory(NamedTuple):
    xy: np.ndarray  # [L, 2] in metres
    task: str
    success: bool


def read_trajectories(run: Run) -> list[Trajectory] | None:
    """The episodes of the run's last evaluation."""
    path = run.folder / "trajectories.npz"
    arrays = read_arrays(path, ("xy", "lengths", "task", "success"))
    if arrays is None:
        return None
    xy, lengths, task, success = arrays.values()
    if (
        not are_points(xy)
        or any(array.shape != (len(task),) for array in (lengths, task, success))
        or lengths.dtype.kind not in "iu"
        or (lengths < 1).any()
        or lengths.sum() != len(xy)
    ):
        expected = "finite xy [sum of lengths, 2], and lengths, task, success [E] expected"
        raise BadInput(f"{path}: arrays disagree; {expected}")
    if unknown := set(map(str, task)) - {task["name"] for task in run.tasks}:
        raise BadInput(f"{path}: task {min(unknown)!r}; a task of {run.folder / 'summary.json'} expected")
    pieces = np.split(xy, lengths.cumsum()[:-1]) if len(lengths) else []
    return [Trajectory(*row) for row in zip(pieces, map(str, task), map(bool, success), strict=True)]


def are_points(xy: np.ndarray) -> bool:
    return xy.ndim == 2 and xy.shape[1] == 2 and xy.dtype.kind in "fiu" and bool(np.isfinite(xy).all())


def read_curves(folder: Path, tasks: list[dict[str, Any]]) -> dict[str, dict[int, float]] | None:
    """Success by step over seen and over unseen tasks, {"seen": {step: share}, ...}; None without an eval.jsonl."""
    path = folder / "eval.jsonl"
    if not path.exists():
        return None
    expect = {task["name"]: task["expect"] for task in tasks}
    outcomes: dict[tuple[int, str], list[bool]] = defaultdict(list)
    for i, line in enumerate(read_lines(path)):
        try:
            row = json.loads(line)
            outcomes[int(row["step"]), str(row["task"])].append(bool(row["success"]))
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path}, line {i + 1}: an episode with step, task and success expected") from error
        if row["task"] not in expect:
            raise BadInput(f"{path}, line {i + 1}: task {row['task']!r}; a task of {folder / 'summary.json'} expected")
    for step in {step for step, _ in outcomes}:
        if lacking := [name for name in expect if (step, name) not in outcomes]:
            raise BadInput(f"{path}: no episodes of task {lacking[0]!r} at step {step}; all tasks expected")
    shares: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (step, task), successes in outcomes.items():
        shares[expect[task]][step].append(sum(successes) / len(successes))
    return {kind: {step: float(np.mean(of)) for step, of in by_step.items()} for kind, by_step in shares.items()}


def read_calibration(folder: Path) -> dict[str, dict[float, float]] | None:
    """The return achieved by target by start, {"r1c2": {100.0: 46.2, ...}, ...}; None without a calibration.csv."""
    path = folder / "calibration.csv"
    if not path.exists():
        return None
    found: dict[str, dict[float, float]] = defaultdict(dict)
    try:
        for row in csv.DictReader(read_lines(path)):
            found[row["start"]][float(row["target"])] = float(row["achieved"])
            if not math.isfinite(found[row["start"]][float(row["target"])] + float(row["target"])):
                raise ValueError
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise BadInput(f"{path}: damaged; columns start, target, achieved expected") from error
    return dict(found)


def read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:  # no UTF-8
        raise BadInput(f"{path}: cannot be read ({error})") from error
