"""Run folders, as the experiment writes them, read back as plain values. Only files are read."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from stitchrl.report import records
from stitchrl.report.contract import LATER, SUMMARY, BadInput, Measure, read_summary
from stitchrl.report.records import Trajectory

# What no number of a run depends on, and what the configuration holds a second time under another name.
UNDECIDING = {"seed", "goals.seed", "workers", "fail_fast", "inner_seeds", "wandb", "again"}
REPEATED = {"budget.steps", "budget.hidden_dims", "budget.batch_size"}

# world, maze or none, split, size, version
NAME = r"([a-z0-9_]+)-(?:([a-z0-9_]+)-)?((?![ns]\d+-)[a-z0-9_]+)((?:-n\d+)?(?:-s\d+)?)-(v\d+)"
YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with it


class Name(NamedTuple):
    """The parts of `<world>[-<maze>]-<split>[-n<size>][-s<seed>]-v<k>`."""

    world: str
    maze: str  # "" where the world has none
    split: str
    size: str  # what names a size or seed that is not the default, "-n300000" or ""
    version: str

    @classmethod
    def parse(cls, dataset: str) -> "Name | None":
        """None for a dataset that is not named in this way, such as a published one."""
        match = re.fullmatch(NAME, dataset)
        return cls(*(part or "" for part in match.groups())) if match else None

    @property
    def joined(self) -> "Name":
        """The joined twin of a cut dataset; other datasets are their own."""
        return self._replace(split=re.sub(r"cut\w*$", "joined", self.split))


@dataclass(frozen=True)
class Run:
    """What is known of one training run. Success is a fraction, the mean of the last three evaluations."""

    folder: Path
    settings: dict[str, Any]  # all that decides its numbers, as far as it is known, by name on the command line
    source: str | None  # a hash of the code that it ran, None where an earlier version did not keep it
    drawing: dict[str, Any] | None  # of the world (`stitchrl.report.drawing`)
    curves: dict[str, dict[int, float]] | None  # seen and unseen: success by step
    calibration: dict[str, dict[float, float]] | None  # by start: the return achieved by target
    measured: dict[str, dict[int, float]]  # by instrument: its value by step
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
    unit: str  # of lengths
    measures: tuple[Measure, ...]  # what tasks hold beside success
    instruments: dict[str, float | None]  # by instrument: its last value

    @property
    def name(self) -> Name | None:
        return Name.parse(self.dataset)

    @cached_property
    def by_name(self) -> dict[str, dict[str, Any]]:
        return {task["name"]: task for task in self.tasks}

    def success(self, tasks: Iterable[str], key: str = "success") -> float | None:
        """Mean of success or of another measure over the named tasks, None where one of them lacks it."""
        values = [self.by_name.get(name, {}).get(key) for name in tasks]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known and len(known) == len(values) else None


def read_run(folder: Path) -> Run:
    """Read a run.

    Raises:
        BadInput: a file in the folder is not what the experiment writes, even if tables do not need it.
    """
    summary = read_summary(folder / "summary.json")
    run = Run(
        folder,
        read_settings(folder) | {"steps": summary["steps"]},
        read_source(folder),
        records.read_drawing(folder),
        records.read_curves(folder, summary["tasks"]),
        records.read_calibration(folder),
        records.read_instruments(folder),
        **{key: summary[key] for key in (SUMMARY | LATER)},
    )
    records.read_data(folder)  # these two are read again when they are drawn: all of them would take much memory
    trajectories_of(run)
    return run


def trajectories_of(run: Run) -> list[Trajectory] | None:
    """The episodes of the run's last evaluation, None where it kept none."""
    return records.read_trajectories(run.folder, [task["name"] for task in run.tasks])


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings that decide the run's numbers, by their names on the command line; nothing without resolved.yaml."""
    path = folder / "resolved.yaml"
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), YAML) if path.exists() else {}
        found = {key: value for key, value in flat(values).items() if key not in UNDECIDING | REPEATED}
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:  # AttributeError: no mapping
        raise BadInput(f"{path}: damaged; the configuration of a run as YAML expected") from error
    found = {key: value for key, value in found.items() if key.split(".")[0] != "instruments"}  # they only watch
    if "device" in found:
        found["device"] = str(found["device"]).partition(":")[0]  # which of several does not matter
    return found


def read_source(folder: Path) -> str | None:
    """The hash of the code that the run ran, as far as it is known."""
    try:
        return records.read_json(folder / "status.json")["origin"]["source"]
    except (KeyError, TypeError):
        return None


def flat(values: dict[str, Any], within: str = "") -> dict[str, Any]:
    """{"agent": {"lr": 0.1}} -> {"agent.lr": 0.1}; an empty mapping is a value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{within}{key}.") if isinstance(value, dict) and value else {f"{within}{key}": value}
    return found
