"""What a run tells while it goes on: train.jsonl, eval.jsonl and TensorBoard events in its folder, and if asked W&B."""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from torch.utils.tensorboard import SummaryWriter

EVENTS = "events.out.tfevents.*"  # a file for each process that worked at the run


class Log:
    """Begins anew, or where the checkpoint of an interrupted run was written: what came after that is cut off.

    sizes: the checkpoint's `sizes()`; None without one. project: of Weights & Biases, None for none. facts: what W&B is
    told of the run; origin: what makes it that run.
    """

    def __init__(
        self,
        out: Path,
        sizes: dict[str, int] | None,
        project: str | None,
        facts: dict[str, Any],
        origin: dict[str, Any],
    ):
        self._wandb = None if project is None else _start_wandb(out, project, facts, origin)
        self._out = out
        for path in self._paths():
            if size := (sizes or {}).get(path.name, 0):
                os.truncate(path, size)
            else:
                path.unlink(missing_ok=True)
        self._files = {name: open(out / f"{name}.jsonl", "a", encoding="utf-8") for name in ("train", "eval")}  # noqa: SIM115
        self._events = SummaryWriter(str(out))

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()
        self._events.close()
        if self._wandb is not None:
            _finish_wandb(self._wandb, exit_code=0 if kind is None else 1)

    def train(self, step: int, values: dict[str, float]) -> None:
        self._files["train"].write(_line({"step": step, **values}))
        self._scalars(step, values)

    def evaluation(self, step: int, rows: Sequence[dict[str, Any]], values: dict[str, float]) -> None:
        """rows: one for each evaluated episode."""
        self._files["eval"].writelines(_line({"step": step, **row}) for row in rows)
        self._scalars(step, values)

    def _scalars(self, step: int, values: dict[str, float]) -> None:
        for key, value in values.items():
            self._events.add_scalar(key, value, step)
        if self._wandb is not None:
            self._wandb.log(values, step=step)

    def sizes(self) -> dict[str, int]:
        """How long the files are by now, in bytes, by their names."""
        for file in self._files.values():
            file.flush()
        self._events.flush()
        return {path.name: path.stat().st_size for path in self._paths()}

    def _paths(self) -> list[Path]:
        return [self._out / "train.jsonl", self._out / "eval.jsonl", *self._out.glob(EVENTS)]


def _line(values: dict[str, Any]) -> str:
    """A line of JSON, which knows no NaN. Raises ValueError for one."""
    return json.dumps(values, allow_nan=False) + "\n"


def _start_wandb(out: Path, project: str, facts: dict[str, Any], origin: dict[str, Any]) -> Any:
    """A run of Weights & Biases in the mode that $WANDB_MODE says; one that goes on is the same run there too."""
    try:
        import wandb
    except ImportError as error:
        raise ValueError("wandb: not installed; pip install 'stitchrl[wandb]'") from error
    same = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:16]
    quiet = wandb.Settings(silent=True, console="off")
    try:
        return wandb.init(
            project=project, dir=str(out), id=same, name=out.name, resume="allow", config=facts, settings=quiet
        )
    except wandb.Error as error:
        raise ValueError(f"wandb: {error}; WANDB_MODE=offline logs to the run folder") from error


def _finish_wandb(run: Any, exit_code: int) -> None:
    """End a run of Weights & Biases, and the process that writes for it: only then is all of its file on disk."""
    import wandb

    offline, file = run.settings.mode in ("offline", "dryrun"), Path(run.settings.sync_file)
    try:
        run.finish(exit_code=exit_code)
        wandb.teardown()
    except (Exception, SystemExit) as error:  # its process has failed, which is no reason for the run to
        print(f"wandb: {error!r}", file=sys.stderr)
    if offline and not (file.exists() and file.stat().st_size):
        print(f"wandb: {file} was not written, or is empty", file=sys.stderr)
