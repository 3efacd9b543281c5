"""What has become of a run: its status.json, and the origin that tells whether it is the run that is asked for."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from stitchrl.files import write_json
from stitchrl.versions import versions

PACKAGES = ("stitchrl", "torch", "numpy", "gymnasium", "mujoco")


def make_origin(dataset_sha256: str, seed: int, identity: str, source: str) -> dict[str, Any]:
    """What a run's numbers follow from: a run of another origin is another run.

    identity: a hash of the configuration. source: of the code that the run goes through (`code_hash.source_hash`).
    """
    return {
        "dataset_sha256": dataset_sha256,
        "seed": seed,
        "configuration": identity,
        "source": source,
        "versions": versions(*PACKAGES),
    }


def is_finished(out: Path, origin: dict[str, Any]) -> bool:
    return _read(out) == {"status": "finished", "origin": origin} and (out / "summary.json").exists()


def mark(out: Path, status: Literal["running", "finished"], origin: dict[str, Any]) -> None:
    write_json(out / "status.json", {"status": status, "origin": origin})


def end(out: Path, status: Literal["failed", "interrupted"], reason: str) -> None:
    """Have status.json say that a run did not finish, and why. A run that has finished before stays so."""
    if (_read(out) or {}).get("status") != "finished":
        with suppress(OSError):  # what failed may be the disk
            write_json(out / "status.json", {"status": status, "reason": reason})


def _read(out: Path) -> dict[str, Any] | None:
    """What status.json says, None where there is none that can be read."""
    try:
        return json.loads((out / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
