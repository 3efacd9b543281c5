"""Run folders, as the experiment writes them, read back as plain values. Only files are read."""

import csv
import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


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


@dataclass(frozen=True)
class Run:
    """What summary.json says of one training run. Success is a fraction, the mean of the last three evaluations."""

    folder: Path
    dataset: str
    dataset_sha256: str
    agent: str
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
    def group(self) -> tuple[str, str, str]:
        """What runs share that differ in their seed alone."""
        return self.dataset, self.agent, self.goals

    def success(self, tasks: Iterable[str], key: str = "success") -> float | None:
        """Mean success over the named tasks, None where the run was not evaluated on all of them.

        key: "in_half" for success within half of the step limit, which tasks of returns do not have.
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
        if any(isinstance(option, type) and isinstance(value, option) for option in options):
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
        if not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise ValueError(f"{where[:-1]}: a number from 0 to 1 expected, found {value!r}")
    elif not isinstance(value, expected):
        raise ValueError(f"{where[:-1]}: {expected.__name__} expected, found {value!r}")


def read_run(folder: Path) -> Run:
    path = folder / "summary.json"
    try:
        summary = json.loads(path.read_text())
        check(summary, SUMMARY)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; the summary of a finished run expected") from error
    except ValueError as error:  # also what the json and unicode decoders raise
        raise BadInput(f"{path}: not the summary of a finished run: {error}") from error
    return Run(folder, **{field.name: summary[field.name] for field in fields(Run)[1:]})


def find_runs(paths: Iterable[Path]) -> list[Run]:
    """All finished runs at or below `paths`, sorted: twins side by side with joined before cut, future goals first."""
    folders: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise BadInput(f"{path}: {'not a folder' if path.exists() else 'does not exist'}; a run folder expected")
        found = sorted(file.parent for file in path.rglob("summary.json"))
        if not found and not any(path.rglob("status.json")):  # one that was begun may stand beside finished ones
            raise BadInput(f"{path}: no run found; a summary.json expected in it or below it")
        for folder in found:
            folders.setdefault(folder.resolve(), folder)  # paths may overlap
    if not folders:
        raise BadInput(f"{path}: no finished run found; a summary.json expected in it or below it")
    runs = sorted((read_run(folder) for folder in folders.values()), key=order)
    for before, run in pairwise(runs):
        if before.group == run.group and before.seed == run.seed:
            raise BadInput(f"{run.folder}: dataset, agent, goals and seed of {before.folder} again; one run expected")
        if before.group == run.group and before.steps != run.steps:
            raise BadInput(f"{run.folder}: {run.steps} steps; {before.steps} expected, as in {before.folder}")
    return runs


def order(run: Run) -> tuple:
    name = run.name or Name(run.dataset, "", "", "", "")
    kind = 0 if name.split == "joined" else 1 if name.split.startswith("cut") else 2
    twins = (name.world, name.maze, name.size, name.version)
    return (*twins, kind, name.split, run.agent, run.goals != "future", run.goals, run.seed)


def read_arrays(path: Path, keys: tuple[str, ...]) -> dict[str, np.ndarray] | None:
    """The arrays of an npz file, None where there is no such file: tables need none."""
    if not path.exists():
        return None
    try:
        with np.load(path) as file:
            return {key: file[key] for key in keys}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path}: damaged; an npz file with arrays {', '.join(keys)} expected") from error


def read_data(run: Run) -> tuple[np.ndarray, np.ndarray] | None:
    """A sample of the training data: points [P, 2] in metres and the context [P] of each, -1 where unknown."""
    path = run.folder / "data.npz"
    arrays = read_arrays(path, ("xy", "context"))
    if arrays is None:
        return None
    xy, context = arrays["xy"], arrays["context"]
    if xy.ndim != 2 or xy.shape[1] != 2 or context.shape != xy.shape[:1]:
        raise BadInput(f"{path}: xy {xy.shape}, context {context.shape}; xy [P, 2] and context [P] expected")
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
    if xy.ndim != 2 or xy.shape[1] != 2 or not len(lengths) == len(task) == len(success) or lengths.sum() != len(xy):
        raise BadInput(f"{path}: arrays disagree; xy [sum of lengths, 2], and lengths, task, success [E] expected")
    pieces = np.split(xy, lengths.cumsum()[:-1]) if len(lengths) else []
    return [Trajectory(*row) for row in zip(pieces, map(str, task), map(bool, success), strict=True)]


def read_curves(run: Run) -> dict[str, dict[int, float]] | None:
    """Success by step over seen and over unseen tasks, {"seen": {step: share}, ...}; None without an eval.jsonl."""
    path = run.folder / "eval.jsonl"
    if not path.exists():
        return None
    outcomes: dict[tuple[int, str], list[bool]] = defaultdict(list)
    for i, line in enumerate(path.read_text().splitlines()):
        try:
            row = json.loads(line)
            outcomes[row["step"], row["task"]].append(row["success"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path}, line {i + 1}: an episode with step, task and success expected") from error
    expect = {task["name"]: task["expect"] for task in run.tasks}
    shares: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (step, task), successes in outcomes.items():
        if task not in expect:
            raise BadInput(f"{path}: task {task!r}; a task of {run.folder / 'summary.json'} expected")
        shares[expect[task]][step].append(sum(successes) / len(successes))
    return {kind: {step: float(np.mean(of)) for step, of in by_step.items()} for kind, by_step in shares.items()}


def read_calibration(run: Run) -> dict[str, dict[float, float]] | None:
    """The return achieved by target by start, {"r1c2": {100.0: 46.2, ...}, ...}; None without a calibration.csv."""
    path = run.folder / "calibration.csv"
    if not path.exists():
        return None
    found: dict[str, dict[float, float]] = defaultdict(dict)
    try:
        for row in csv.DictReader(path.read_text().splitlines()):
            found[row["start"]][float(row["target"])] = float(row["achieved"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: damaged; columns start, target, achieved expected") from error
    return dict(found)


def find_unfinished(paths: Iterable[Path]) -> list[tuple[Path, str]]:
    """Folders of runs that were begun and have no summary, and what their status.json says."""
    found: dict[Path, tuple[Path, str]] = {}
    for path in paths:
        for file in sorted(path.rglob("status.json")):
            if not (file.parent / "summary.json").exists():
                try:
                    status = json.loads(file.read_text())["status"]
                except (OSError, ValueError, KeyError, TypeError):
                    status = "unknown"
                found.setdefault(file.parent.resolve(), (file.parent, str(status)))
    return list(found.values())
