"""The experiment, from top to bottom: dataset, certificate, training, evaluation, summary."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from stitchrl.agents.agent import Agent
from stitchrl.data.batches import BatchSampler
from stitchrl.data.episodes import Episodes
from stitchrl.data.paths import Sample, TrajectorySampler
from stitchrl.evaluate import Evaluator
from stitchrl.factory import Dataset, make_tasks, open_dataset
from stitchrl.learner import Learner
from stitchrl.types import DatasetSpec
from stitchrl.types import Path as DataPath
from stitchrl.worlds import World, make_world
from stitchrl.worlds.rollout import Trajectory

EVALUATION_SEED = 20_240_116  # one for all runs: every method meets the same starts and goals
HEADLINE = 3  # evaluations whose mean is the headline
LOG_EVERY = 1000  # updates


@dataclass(frozen=True)
class Settings:
    """What a run needs besides its dataset, agent and goals. Names are those of the configuration."""

    agent_name: str
    goals_name: str
    seed: int
    steps: int
    evaluations: int
    episodes: int  # per task, in the evaluations that make the headline
    decay: bool
    average: float
    device: str
    precision: Literal["highest", "high", "medium"]
    workers: int


def run(
    spec: DatasetSpec,
    make_agent: Callable[..., Agent],
    goals: TrajectorySampler,
    settings: Settings,
    out: Path,
) -> dict[str, Any]:
    """Train and evaluate; writes the run folder `out` and returns its summary. Raises ValueError on unusable input."""
    began = time.monotonic()
    torch.set_num_threads(1)
    _check(settings)
    world = make_world(spec.world, spec.maze)
    dataset = open_dataset(spec, settings.workers)
    certificate = dataset.certificate.as_dict()
    if not dataset.certificate.passed and not spec.control:
        raise ValueError(f"dataset {spec.name} fails its certificate: {'; '.join(dataset.certificate.problems)}")
    for stale in [out / "summary.json", *out.glob("events.out.tfevents.*")]:
        stale.unlink(missing_ok=True)  # of a run that this one takes the place of
    _write_json(out / "certificate.json", certificate)
    _write_json(out / "status.json", {"status": "running"})
    _save_data_sample(dataset, out / "data.npz")

    torch.manual_seed(settings.seed)
    agent = make_agent(observation_dim=world.observation_dim, action_dim=world.action_dim)
    agent.fit_scale(dataset.episodes.observations)
    learner = Learner(agent, settings.steps, settings.decay, settings.average, settings.precision)
    sample_path = goals.bind(dataset.episodes)
    sampler = BatchSampler(dataset.episodes, sample_path, agent.needs, settings.seed)
    rng = torch.Generator().manual_seed(settings.seed)
    augmentation = measure_augmentation(dataset.episodes, sample_path, agent.needs.actor_goals.discount, world, goals)
    evaluator = Evaluator(
        world, make_tasks(spec, world), settings.episodes, EVALUATION_SEED, settings.workers, agent.needs.window
    )
    schedule = [round(settings.steps * (i + 1) / settings.evaluations) for i in range(settings.evaluations)]
    origin = {"dataset_sha256": dataset.manifest["dataset_sha256"], "seed": settings.seed, "versions": _versions()}

    results: list[dict[str, Any]] = []  # one entry per evaluation: {"step", "success": {task: share}, ...}
    trajectories: list[Trajectory] = []
    rows: list[dict[str, Any]] = []
    updating = 0.0
    with (
        SummaryWriter(str(out)) as events,
        open(out / "train.jsonl", "w") as train_log,
        open(out / "eval.jsonl", "w") as eval_log,
        tqdm(total=settings.steps, desc=f"train {out.name}", unit=" updates", mininterval=5) as bar,
    ):
        while learner.step < settings.steps:
            tick = time.monotonic()
            parts = learner.update(sampler.sample(agent.batch_size), rng)
            updating += time.monotonic() - tick
            bar.update()
            if learner.step % LOG_EVERY == 0 or learner.step == settings.steps:
                values = {f"train/{key}": value.item() for key, value in parts.items()}
                values["time/updates_per_s"] = learner.step / updating
                train_log.write(json.dumps({"step": learner.step, **values}) + "\n")
                for key, value in values.items():
                    events.add_scalar(key, value, learner.step)
            if learner.step in schedule:
                headline = schedule.index(learner.step) >= len(schedule) - HEADLINE
                learner.swap()
                agent.eval()
                rows, trajectories = evaluator.evaluate(agent.act, None if headline else max(1, settings.episodes // 5))
                agent.train()
                learner.swap()
                for row in rows:
                    eval_log.write(json.dumps({"step": learner.step, **row}) + "\n")
                results.append({"step": learner.step, "success": _success(rows)})
                for key, value in _metrics(results[-1]["success"], certificate).items():
                    events.add_scalar(key, value, learner.step)
                learner.save(out / "checkpoints" / "last.pt", origin)
                train_log.flush()
                eval_log.flush()
    _save_trajectories(rows, trajectories, out / "trajectories.npz")
    tasks = _task_summaries(certificate, results, rows, settings.episodes)
    summary = {
        "dataset": spec.name,
        "dataset_sha256": dataset.manifest["dataset_sha256"],
        "agent": settings.agent_name,
        "goals": settings.goals_name,
        "seed": settings.seed,
        "steps": settings.steps,
        "seen": _group([task for task in tasks if task["expect"] == "seen"], results),
        "unseen": _group([task for task in tasks if task["expect"] == "unseen"], results),
        "by_segments": _by_segments(tasks, results),
        "tasks": tasks,
        "augmentation": augmentation,
        "updates_per_s": round(settings.steps / updating, 1),
        "wall_s": round(time.monotonic() - began, 1),
        "versions": _versions(),
        "commit": _commit(),
    }
    seen, unseen = summary["seen"], summary["unseen"]
    summary["raw_difference"] = round(seen["success"] - unseen["success"], 4) if seen and unseen else None
    _write_json(out / "summary.json", summary)
    _write_json(out / "status.json", {"status": "finished"})
    return summary


def _check(settings: Settings) -> None:
    if settings.steps < settings.evaluations or settings.evaluations < 1:
        raise ValueError(f"steps: {settings.steps} given, expected at least {max(1, settings.evaluations)} evaluations")
    if settings.episodes < 1:
        raise ValueError(f"budget.episodes: {settings.episodes} given, a positive number expected")
    if not 0 <= settings.average < 1:
        raise ValueError(f"learner.average: {settings.average} given, a rate in [0, 1) expected")
    if settings.precision not in ("highest", "high", "medium"):
        raise ValueError(f"precision: {settings.precision!r} is not one of highest, high, medium")
    if settings.device != "cpu":
        raise ValueError(f"device: {settings.device!r} given, only cpu is supported so far")


def measure_augmentation(
    episodes: Episodes,
    sample_path: Sample,
    discount: float | None,
    world: World,
    goals: TrajectorySampler,
    pairs: int = 20_000,
) -> dict[str, float | None]:
    """How often paths really jump, and the contradiction rate of those that do.

    A pair contradicts when the next half cell of the episode's own way leads away from the goal: the walking distance
    to the goal is larger after it than before. Null where nothing was augmented.
    """
    requested = getattr(goals, "p", None)
    if requested is None:
        return {"requested": None, "realised": None, "contradiction_rate": None}
    rng = torch.Generator().manual_seed(0)
    rows = episodes.transitions[torch.randint(len(episodes.transitions), (pairs,), generator=rng)]
    path: DataPath = sample_path(rows, discount, rng)
    jumped = (path.leave >= 0).any(1)
    rows, goal = path.rows[jumped], path.goal[jumped]
    ahead = max(1, round(world.maze.scale / 2 / (world.speed * world.control_step)))
    xy = episodes.observations[:, :2].numpy().astype(np.float64)
    later = torch.minimum(rows + ahead, episodes.ends[rows])
    before, after = (world.maze.distance(xy[here], xy[goal]) for here in (rows, later))
    return {
        "requested": requested,
        "realised": round(float(jumped.float().mean()), 4),
        "contradiction_rate": round(float((after > before).mean()), 4) if len(rows) else None,
    }


def _success(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Share of successful episodes of each task."""
    names = dict.fromkeys(row["task"] for row in rows)
    return {name: float(np.mean([row["success"] for row in rows if row["task"] == name])) for name in names}


def _metrics(success: dict[str, float], certificate: dict[str, Any]) -> dict[str, float]:
    """One evaluation's values by the names of the contract: eval/<task>/success, eval/seen/success ..."""
    metrics = {f"eval/{name}/success": value for name, value in success.items()}
    for expect in ("seen", "unseen"):
        values = [success[task["name"]] for task in certificate["tasks"] if task["expect"] == expect]
        if values:
            metrics[f"eval/{expect}/success"] = float(np.mean(values))
    return metrics


def _over_time(names: Sequence[str], results: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Headline (mean of the last three evaluations), final and best success over the tasks `names`."""
    curve = [float(np.mean([result["success"][name] for name in names])) for result in results]
    return {
        "success": round(float(np.mean(curve[-HEADLINE:])), 4),
        "final": round(curve[-1], 4),
        "best": round(max(curve), 4),
    }


def _task_summaries(
    certificate: dict[str, Any], results: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], episodes: int
) -> list[dict[str, Any]]:
    """Per task: what the certificate says of it and how it went; mean_length is over the last successful episodes."""
    summaries = []
    for task in certificate["tasks"]:
        lengths = [row["length"] for row in rows if row["task"] == task["name"] and row["success"]]
        keys = ("name", "expect", "status", "segments_needed", "path_length", "step_limit", "ceiling")
        summaries.append(
            {key: task[key] for key in keys}
            | _over_time([task["name"]], results)
            | {"episodes": episodes, "mean_length": round(float(np.mean(lengths)), 1) if lengths else None}
        )
    return summaries


def _group(tasks: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Several tasks as one, or null where there are none; `episodes` counts those of one evaluation."""
    if not tasks:
        return None
    return _over_time([t["name"] for t in tasks], results) | {"episodes": sum(t["episodes"] for t in tasks)}


def _by_segments(tasks: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    needed = sorted({task["segments_needed"] for task in tasks if task["segments_needed"] is not None})
    return {str(k): _group([task for task in tasks if task["segments_needed"] == k], results) for k in needed}


def _save_data_sample(dataset: Dataset, path: Path, points: int = 20_000) -> None:
    """Positions and the contexts that they were collected in, for pictures."""
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(len(dataset.episodes), min(points, len(dataset.episodes)), replace=False))
    numbers = dataset.episodes.number.numpy()[rows]
    np.savez_compressed(
        path, xy=dataset.episodes.observations[rows, :2].numpy(), context=dataset.contexts[numbers].astype(np.int64)
    )


def _save_trajectories(rows: Sequence[dict[str, Any]], trajectories: Sequence[Trajectory], path: Path) -> None:
    np.savez_compressed(
        path,
        xy=np.concatenate([trajectory.observations[:, :2] for trajectory in trajectories]),
        lengths=np.array([len(trajectory.observations) for trajectory in trajectories]),
        task=np.array([row["task"] for row in rows]),
        success=np.array([row["success"] for row in rows]),
    )


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("stitchrl", "torch", "numpy", "gymnasium", "mujoco")}


def _commit() -> str | None:
    """The commit of the checkout that the package runs from, with a plus where code or settings differ; else null."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=here.parent, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # not some other project's checkout around an installed package
        head, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "--", ".", ":/conf")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def _write_json(path: Path, value: Any) -> None:
    """Write beside, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".tmp").write_text(json.dumps(value, indent=1) + "\n")
    os.replace(path.with_suffix(".tmp"), path)
