"""Names of our own: a dataset's name stands for one specification.

What lies in a dataset follows from its specification without `min_episodes` and `control`: these only say how it is
judged. Size and seed are part of the name; all else must be as the package's file in conf/dataset has it, where there
is one of the same world, maze and split.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from pathlib import PurePosixPath
from typing import Any

import yaml

from stitchrl.benchmark.benchmark import make_benchmark
from stitchrl.settings import CONF
from stitchrl.spec import DatasetSpec

DATASETS = CONF / "dataset"
JUDGING = ("min_episodes", "control")
IN_THE_NAME = ("transitions", "seed")


def plain(spec: DatasetSpec) -> dict[str, Any]:
    """A specification as JSON gives it back: lists for tuples."""
    return json.loads(json.dumps(spec.as_dict()))


def renewed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a stored specification as they are written today."""
    rewards = [{"place": reward.get("place", reward.get("cell")), "rate": reward["rate"]}
               for reward in values.get("rewards", [])]  # fmt: skip
    return {**values, "rewards": rewards}


def differing(values: Mapping[str, Any], spec: DatasetSpec) -> list[str]:
    """The keys by which the data of a stored specification, `plain` values, are others than those of `spec`."""
    # A dataset that was stored before a field was thought of has that field's default.
    defaults = {field.name: field.default for field in fields(spec) if field.default is not MISSING}
    stored, now = json.loads(json.dumps(defaults)) | renewed(values), plain(spec)
    return [key for key in now if key not in JUDGING and stored.get(key) != now[key]]


def joined_twin(spec: DatasetSpec) -> DatasetSpec:
    """The dataset that a cut one has its transitions from: every task is seen there.

    It is named like the cut one, with `joined` for `cut<k>` at the end of the split.
    """
    targets = tuple(replace(target, expect="seen") for target in spec.targets)
    split, ends_in_cut = re.subn(r"cut\d*$", "joined", spec.split)
    split = split if ends_in_cut else f"{split}-joined"
    return replace(spec, split=split, cut=None, seen=spec.seen + spec.unseen, unseen=(), targets=targets)


def check_name(spec: DatasetSpec) -> None:
    """ValueError where a specification, or its joined twin, has the name of one of the package's and other contents."""
    _check(spec, f"dataset.split: {spec.split!r}")
    if spec.cut is not None:
        twin = joined_twin(spec)
        _check(twin, f"dataset.split: {spec.split!r} is cut from {twin.split!r}, which")


def _check(spec: DatasetSpec, subject: str) -> None:
    name = "_".join(filter(None, (spec.world, spec.maze, spec.split)))
    if not (DATASETS / f"{name}.yaml").is_file():
        return
    values = load(name)
    ours = make_benchmark(values).spec
    if others := [key for key in differing(plain(ours), spec) if key not in IN_THE_NAME]:
        raise ValueError(
            f"{subject} is the name of the package's own {name}, which has another {', '.join(others)}; give yours "
            "another dataset.split"
        )


def load(name: str) -> dict[str, Any]:
    """The values of one of the package's own files in conf/dataset, on top of those of the files that it builds on.

    The same values as Hydra's, without Hydra.
    """
    values = yaml.safe_load((DATASETS / f"{name}.yaml").read_text(encoding="utf-8"))
    defaults = [base for base in values.pop("defaults", []) if isinstance(base, str) and base != "_self_"]
    bases = [str(PurePosixPath(name).parent / base.partition("@")[0]) for base in defaults]
    return {key: value for base in bases for key, value in load(base).items()} | values
