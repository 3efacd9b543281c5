"""The experiment, from top to bottom: dataset, certificate, training, evaluation, summary."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from stitchrl import status
from stitchrl.agents.agent import Agent
from stitchrl.benchmark.benchmark import Benchmark
from stitchrl.benchmark.store import Dataset, open_dataset
from stitchrl.data.paths import TrajectorySampler
from stitchrl.files import write, write_arrays, write_csv, write_json
from stitchrl.finite import NotFinite
from stitchrl.instruments.instrument import Instrument
from stitchrl.interrupt import Interrupted, held
from stitchrl.learner import Precision
from stitchrl.log import Log
from stitchrl.status import is_finished, make_origin
from stitchrl.summary import summarise
from stitchrl.training import Evaluation, Settings, Training, prepare, train
from stitchrl.worlds.world import plane

PER_RUN = ("summary.json", "calibration.csv")  # files that a run that begins anew takes away


def run(
    benchmark: Benchmark,
    make_agent: Callable[..., Agent],
    goals: TrajectorySampler,
    instruments: Mapping[str, Instrument],
    settings: Settings,
    out: Path,
) -> dict[str, Any]:
    """Train and evaluate. Returns the run's summary, as it is written to its folder `out`.

    A run that was interrupted goes on from its last checkpoint, to the same numbers. A finished one is not run again,
    unless its origin is another by now or the settings say so. `make_agent` is called with the keyword `spaces`. Raises
    ValueError for unusable input, NotFinite where the run diverges, and Interrupted where a signal asks it to stop,
    once a checkpoint is written.
    """
    began = time.monotonic()
    torch.set_num_threads(1)
    _check(settings)
    try:
        dataset = open_dataset(benchmark, settings.workers)
        if not dataset.certificate.passed and not benchmark.spec.control:
            problems = "; ".join(dataset.certificate.problems)
            raise ValueError(f"dataset {benchmark.name} fails its certificate: {problems}")
        origin = make_origin(dataset.manifest["dataset_sha256"], settings.seed, settings.identity, settings.source)
        finished = is_finished(out, origin)
        if finished and not settings.again:
            print(f"{out}: finished before, not run again", file=sys.stderr)
            return json.loads((out / "summary.json").read_text(encoding="utf-8"))
        training = prepare(benchmark, make_agent, goals, instruments, settings, dataset.episodes)
        # `again` too goes on with a run that was interrupted
        state = None if finished else _load(out / "checkpoints" / "last.pt", origin)
        return _run(dataset, training, state, origin, out, began)
    except Interrupted as stop:
        status.end(out, "interrupted", str(stop))
        stop.args = (f"{stop}: {out} goes on when it is started again",)
        raise


def _run(
    dataset: Dataset, training: Training, state: dict[str, Any] | None, origin: dict[str, Any], out: Path, began: float
) -> dict[str, Any]:
    """Train on, evaluate, summarise. state: of the checkpoint to go on from. began: when the command did."""
    settings, commit, checkpoint = training.settings, _commit(), out / "checkpoints" / "last.pt"
    if state is not None:
        training.load_state_dict(state["training"])
        print(f"{out}: goes on from update {training.learner.step}", file=sys.stderr)
    else:
        checkpoint.unlink(missing_ok=True)  # of a run that this one takes the place of, as what follows
    before, sizes = (0.0, None) if state is None else (state["seconds"], state["log_sizes"])
    for stale in PER_RUN:
        (out / stale).unlink(missing_ok=True)
    status.mark(out, "running", origin)
    write_json(out / "certificate.json", dataset.certificate.as_dict())
    write_arrays(out / "data.npz", _data_sample(training.benchmark, dataset))

    head = {"dataset": training.benchmark.name, "dataset_sha256": dataset.manifest["dataset_sha256"]}
    head |= {"agent": settings.agent_name, "goals": settings.goals_name, "seed": settings.seed, "steps": settings.steps}
    try:
        with Log(out, sizes, settings.wandb, {"dataset": training.benchmark.name, **asdict(settings)}, origin) as log:

            def save() -> None:
                seconds = before + time.monotonic() - began
                reached = {"origin": origin, "training": training.state_dict(), "seconds": seconds}
                reached["log_sizes"] = log.sizes()
                write(checkpoint, lambda path: torch.save(reached, path))

            last = train(training, log, save, f"train {out.name}")
        write_arrays(out / "trajectories.npz", _tracks(last))
        if calibration := _calibrate(training, last):
            write_csv(out / "calibration.csv", calibration)
    except NotFinite as error:
        write_json(out / "summary.json", head | {"failed": str(error), "seen": None, "unseen": None})
        raise
    objective, certificate = training.benchmark.objective, dataset.certificate.as_dict()
    summary = head | summarise(objective, certificate, training.results, last.rows, settings.episodes)
    augmentation = ("requested", "realised", "contradiction_rate")
    summary |= {
        "augmentation": {key: training.measured.get(f"augmentation/{key}") for key in augmentation},
        "instruments": training.measured,
        "updates_per_s": round(settings.steps / training.updating, 1),
        "wall_s": round(before + time.monotonic() - began, 1),
        "versions": origin["versions"],
        "commit": commit,
    }
    with held():
        write_json(out / "summary.json", summary)
        status.mark(out, "finished", origin)
    return summary


def _calibrate(training: Training, last: Evaluation) -> list[dict[str, Any]]:
    objective = training.benchmark.objective
    return objective.calibration(lambda tasks, n: training.make_evaluator(tasks, n).evaluate(last.policy)[0])


def _load(checkpoint: Path, origin: dict[str, Any]) -> dict[str, Any] | None:
    """The state to go on from. None: there is no checkpoint, or it is of another configuration, data or versions."""
    if not checkpoint.exists():
        return None
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        same = state["origin"] == origin
    except Exception as error:  # torch.load raises many kinds
        raise ValueError(f"{checkpoint}: expected a checkpoint of stitchrl, found {error!r}; remove it") from error
    if not same:
        print(f"{checkpoint}: of another configuration, dataset, code or version; begins anew", file=sys.stderr)
    return state if same else None


def _check(settings: Settings) -> None:
    if settings.steps < settings.evaluations or settings.evaluations < 1:
        raise ValueError(f"steps: {settings.steps} given, expected at least {max(1, settings.evaluations)} evaluations")
    if settings.episodes < 1:
        raise ValueError(f"budget.episodes: {settings.episodes} given, a positive number expected")
    if not 0 <= settings.average < 1:
        raise ValueError(f"learner.average: {settings.average} given, a rate in [0, 1) expected")
    if settings.precision not in get_args(Precision):
        raise ValueError(f"precision: {settings.precision!r} is not one of {', '.join(get_args(Precision))}")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", settings.device):
        raise ValueError(f"device: {settings.device!r} given, expected cpu, cuda or cuda:<number>")
    found = torch.cuda.device_count()
    if settings.device != "cpu" and (torch.device(settings.device).index or 0) >= found:
        raise ValueError(f"device: {settings.device!r} given, but PyTorch finds {found} such devices")


def _data_sample(benchmark: Benchmark, dataset: Dataset, points: int = 20_000) -> dict[str, np.ndarray]:
    """Achieved goals in the plane and the contexts that they were collected in, for pictures."""
    rng, episodes = np.random.default_rng(0), dataset.episodes
    rows = np.sort(rng.choice(len(episodes), min(points, len(episodes)), replace=False))
    achieved = benchmark.world.goal_space.of(episodes.observations[torch.from_numpy(rows)].numpy())
    return {"points": plane(achieved), "context": episodes.info["context"][episodes.number[rows]].numpy()}


def _tracks(last: Evaluation) -> dict[str, np.ndarray]:
    """Achieved goals in the plane in each evaluated episode, for pictures."""
    rows, trajectories = last.rows, last.trajectories
    return {
        "points": np.concatenate([plane(trajectory.achieved) for trajectory in trajectories]),
        "lengths": np.array([len(trajectory.achieved) for trajectory in trajectories]),
        "task": np.array([row["task"] for row in rows]),
        "success": np.array([row["success"] for row in rows]),
    }


def _commit() -> str | None:
    """The commit of the checkout that the package runs from, with a plus where code or settings differ; else null."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        line = ["git", *arguments]
        return subprocess.run(line, cwd=here.parent, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # not some other project's checkout around an installed package
        head, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "--", ".", ":/conf")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")
