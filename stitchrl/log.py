"""What a run tells while it goes on: train.jsonl, eval.jsonl and TensorBoard events in its folder, and if asked W&B."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from torch.utils.tensorboard import SummaryWriter


class Log:
    """Begins anew, or where the checkpoint of an interrupted run was written: what came after it is cut off.

    step, sizes: the checkpoint's step and `sizes()`; 0 and None without one.
    project: of Weights & Biases, None for none. facts: what is told there of the run; origin: what makes it that run.
    """

    def __init__(
        self,
        out: Path,
        step: int,
        sizes: dict[str, int] | None,
        project: str | None,
        facts: dict[str, Any],
        origin: dict[str, Any],
    ):
        self._wandb = None if project is None else _start_wandb(out, project, facts, origin)
        self._files = {name: open(out / f"{name}.jsonl", "a") for name in ("train", "eval")}  # noqa: SIM115
        for name, file in self._files.items():
            file.truncate(sizes[name] if sizes else 0)
        self._events = SummaryWriter(str(out), purge_step=step + 1)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()
        self._events.close()
        if self._wandb is not None:
            self._wandb.finish(exit_code=0 if kind is None else 1)

    def train(self, step: int, values: dict[str, float]) -> None:
        self._files["train"].write(json.dumps({"step": step, **values}) + "\n")
        self._scalars(step, values)

    def evaluation(self, step: int, rows: Sequence[dict[str, Any]], values: dict[str, float]) -> None:
        """rows: one for each evaluated episode."""
        self._files["eval"].writelines(json.dumps({"step": step, **row}) + "\n" for row in rows)
        self._scalars(step, values)

    def _scalars(self, step: int, values: dict[str, float]) -> None:
        for key, value in values.items():
            self._events.add_scalar(key, value, step)
        if self._wandb is not None:
            self._wandb.log(values, step=step)

    def sizes(self) -> dict[str, int]:
        """How long the files are by now, in bytes."""
        for file in self._files.values():
            file.flush()
        return {name: os.fstat(file.fileno()).st_size for name, file in self._files.items()}


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
