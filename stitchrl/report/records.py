"""What a run folder holds beside its summary: arrays, logs and a drawing, read back as plain values."""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stitchrl.report.contract import NUMBER, BadInput, check, is_a

DRAWING = {"rectangles": [[NUMBER]], "extent": [NUMBER]}
INSTRUMENTS = "instruments/"  # what their keys in train.jsonl begin with


class Trajectory(NamedTuple):
    points: np.ndarray  # [L, 2]
    task: str
    success: bool


def read_arrays(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray] | None:
    """The arrays of an npz file, None where there is no such file: tables need none."""
    if not path.exists():
        return None
    try:
        with np.load(path) as file:
            older = {"points": "xy"} if "xy" in file else {}
            return {key: file[older.get(key, key)] for key in keys}
    except Exception as error:  # numpy, zipfile and zlib raise many kinds
        raise BadInput(f"{path}: damaged; an npz file with arrays {', '.join(keys)} expected") from error


def read_data(folder: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """A sample of the training data: points [P, 2] and the context [P] of each, -1 where unknown."""
    path = folder / "data.npz"
    arrays = read_arrays(path, ("points", "context"))
    if arrays is None:
        return None
    points, context = arrays["points"], arrays["context"]
    if not are_points(points) or context.shape != points.shape[:1] or context.dtype.kind not in "iu":
        found = f"points {points.shape}, context {context.shape}"
        raise BadInput(f"{path}: {found}; finite points [P, 2] and context [P] expected")
    return points, context


def read_trajectories(folder: Path, tasks: Sequence[str]) -> list[Trajectory] | None:
    """The episodes of the run's last evaluation, each of one of the named tasks."""
    path = folder / "trajectories.npz"
    arrays = read_arrays(path, ("points", "lengths", "task", "success"))
    if arrays is None:
        return None
    points, lengths, task, success = arrays.values()
    alike = are_points(points) and all(array.shape == (len(task),) for array in (lengths, task, success))
    if not alike or lengths.dtype.kind not in "iu" or (lengths < 1).any() or lengths.sum() != len(points):
        expected = "finite points [sum of lengths, 2], and lengths, task, success [E] expected"
        raise BadInput(f"{path}: arrays disagree; {expected}")
    if unknown := set(map(str, task)) - set(tasks):
        raise BadInput(f"{path}: task {min(unknown)!r}; a task of {folder / 'summary.json'} expected")
    pieces = np.split(points, lengths.cumsum()[:-1]) if len(lengths) else []
    return [Trajectory(*row) for row in zip(pieces, map(str, task), map(bool, success), strict=True)]


def are_points(points: np.ndarray) -> bool:
    """Whether an array is finite points [P, 2]."""
    return points.ndim == 2 and points.shape[1] == 2 and points.dtype.kind in "fiu" and bool(np.isfinite(points).all())


def read_drawing(folder: Path) -> dict[str, Any] | None:
    """How the world looks from above (`stitchrl.report.drawing`); None where certificate.json does not tell."""
    path = folder / "certificate.json"
    if not path.exists():
        return None
    try:
        drawing = json.loads(path.read_text(encoding="utf-8")).get("drawing")
        check(drawing, (DRAWING, None), "drawing.")
        if drawing and any(len(numbers) != 4 for numbers in (drawing["extent"], *drawing["rectangles"])):
            raise ValueError("four numbers expected of the extent and of each rectangle")
        if drawing and not all(low < high for low, high in (drawing["extent"][:2], drawing["extent"][2:])):
            raise ValueError("an extent from low to high expected")
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(f"{path}: damaged ({error}); a certificate with a drawing or without expected") from error
    return drawing


def read_curves(folder: Path, tasks: Sequence[dict[str, Any]]) -> dict[str, dict[int, float]] | None:
    """Success by step over seen and over unseen tasks, {"seen": {step: share}, ...}; None without an eval.jsonl."""
    path = folder / "eval.jsonl"
    if not path.exists():
        return None
    expect = {task["name"]: task["expect"] for task in tasks}
    successes: dict[tuple[int, str], list[bool]] = defaultdict(list)
    for i, line in enumerate(read_lines(path)):
        try:
            row = json.loads(line)
            successes[int(row["step"]), str(row["task"])].append(bool(row["success"]))
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path}, line {i + 1}: an episode with step, task and success expected") from error
        if row["task"] not in expect:
            raise BadInput(f"{path}, line {i + 1}: task {row['task']!r}; a task of {folder / 'summary.json'} expected")
    for step in {step for step, _ in successes}:
        if lacking := [name for name in expect if (step, name) not in successes]:
            raise BadInput(f"{path}: no episodes of task {lacking[0]!r} at step {step}; all tasks expected")
    shares: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (step, task), of in successes.items():
        shares[expect[task]][step].append(sum(of) / len(of))
    return {kind: {step: float(np.mean(of)) for step, of in by_step.items()} for kind, by_step in shares.items()}


def read_instruments(folder: Path) -> dict[str, dict[int, float]]:
    """What instruments logged, {name: {step: value}}; nothing without a train.jsonl."""
    path = folder / "train.jsonl"
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for i, line in enumerate(read_lines(path) if path.exists() else []):
        if f'"{INSTRUMENTS}' not in line:  # most lines hold losses alone
            continue
        try:
            row = json.loads(line)
            keys = [key for key in row if key.startswith(INSTRUMENTS)]
            step = int(row["step"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path}, line {i + 1}: an object with a step expected") from error
        for key in keys:
            if not any(is_a(row[key], kind) for kind in NUMBER):
                raise BadInput(f"{path}, line {i + 1}: {key}: a number expected, found {row[key]!r}")
            found[key.removeprefix(INSTRUMENTS)][step] = float(row[key])
    return dict(found)


def read_calibration(folder: Path) -> dict[str, dict[float, float]] | None:
    """The return achieved by target by start, {start: {100.0: 46.2, ...}, ...}; None without a calibration.csv."""
    path = folder / "calibration.csv"
    if not path.exists():
        return None
    found: dict[str, dict[float, float]] = defaultdict(dict)
    try:
        for row in csv.DictReader(read_lines(path)):
            target, achieved = float(row["target"]), float(row["achieved"])
            if not math.isfinite(target + achieved):
                raise ValueError
            found[row["start"]][target] = achieved
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise BadInput(f"{path}: damaged; columns start, target, achieved expected") from error
    return dict(found)


def read_json(path: Path) -> Any:
    """What a JSON file holds, None where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file. Raises BadInput where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:  # no UTF-8
        raise BadInput(f"{path}: cannot be read ({error})") from error
