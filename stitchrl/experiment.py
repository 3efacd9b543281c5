"""The experiment, from top to bottom: dataset, certificate, training, evaluation, summary."""

import copy
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from tqdm import tqdm

from stitchrl.agents.agent import Agent
from stitchrl.data.batches import BatchSampler
from stitchrl.data.episodes import Episodes
from stitchrl.data.paths import Future, Sample, TrajectorySampler
from stitchrl.data.returns import Returns
from stitchrl.evaluate import Evaluator, Rewards, calibrate
from stitchrl.factory import Dataset, make_return_tasks, make_rewards, make_tasks, open_dataset
from stitchrl.files import write, write_arrays, write_csv, write_json
from stitchrl.learner import Learner, Precision
from stitchrl.log import Log
from stitchrl.summary import HEADLINE, by_segments, group, mean_by_task, metrics, task_summaries
from stitchrl.types import DatasetSpec
from stitchrl.types import Path as DataPath
from stitchrl.worlds import World, make_world
from stitchrl.worlds.rollout import Trajectory

EVALUATION_SEED = 20_240_116  # one for all runs: every method meets the same starts and goals
LOG_EVERY = 1000  # updates
CHECKPOINT_EVERY = 60.0  # seconds, and before each evaluation


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
    precision: Precision
    workers: int
    identity: str  # a hash of all that decides the run's numbers
    wandb: str | None = None  # a project of Weights & Biases that is told of the run
    again: bool = False  # run anew what has finished


def run(
    spec: DatasetSpec,
    make_agent: Callable[..., Agent],
    goals: TrajectorySampler,
    settings: Settings,
    out: Path,
) -> dict[str, Any]:
    """Train and evaluate; writes the run folder `out` and returns its summary. Raises ValueError on unusable input.

    A run that was interrupted goes on from its last checkpoint, to the same numbers; a finished one is not run again.
    """
    began, commit = time.monotonic(), _commit()
    torch.set_num_threads(1)
    _check(settings)
    device = torch.device(settings.device)
    world = make_world(spec.world, spec.maze)
    dataset = open_dataset(spec, settings.workers)
    certificate = dataset.certificate.as_dict()
    if not dataset.certificate.passed and not spec.control:
        raise ValueError(f"dataset {spec.name} fails its certificate: {'; '.join(dataset.certificate.problems)}")
    origin = make_origin(dataset.manifest["dataset_sha256"], settings.seed, settings.identity)
    if is_finished(out, origin):
        print(f"{out}: finished before, not run again", file=sys.stderr)
        return json.loads((out / "summary.json").read_text())

    torch.manual_seed(settings.seed)
    agent = make_agent(observation_dim=world.observation_dim, action_dim=world.action_dim)
    check_outcomes(agent, spec, goals, settings)
    agent.fit_scale(dataset.episodes.observations)
    agent.to(device)
    learner = Learner(agent, settings.steps, settings.decay, settings.average, settings.precision)
    episodes = dataset.episodes.to(device)
    sample_path = goals.bind(episodes)
    returns = None if spec.horizon is None else Returns(episodes, spec.horizon)
    sampler = BatchSampler(episodes, sample_path, agent.needs, settings.seed, returns)
    rng = torch.Generator(device).manual_seed(settings.seed)
    discount, context = agent.needs.actor_goals.discount, agent.needs.context or agent.needs.window
    augmentation = measure_augmentation(episodes, sample_path, discount, world, goals, returns)
    return_tasks = make_return_tasks(spec, world)  # none where goals are asked for
    rewards = None if returns is None else Rewards(make_rewards(spec, world), returns.scale, returns.horizon)
    evaluator = Evaluator(
        world,
        return_tasks or make_tasks(spec, world),
        settings.episodes,
        EVALUATION_SEED,
        settings.workers,
        context,
        rewards,
    )
    schedule = [round(settings.steps * (i + 1) / settings.evaluations) for i in range(settings.evaluations)]

    results: list[dict[str, Any]] = []  # one per evaluation: {"step", "success": {task: share}, "in_half", "return"}
    seconds = {"updating": 0.0, "before": 0.0}  # spent on updates, and on all before this process began
    sizes = None  # of the logs
    checkpoint = out / "checkpoints" / "last.pt"
    if (state := _load(checkpoint, origin)) is not None:
        learner.load_state_dict(state["learner"])
        sampler.load_state_dict(state["sampler"])
        rng.set_state(state["rng"])
        torch.set_rng_state(state["torch_rng"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"], device)
        results, seconds, sizes = state["results"], state["seconds"], state["log_sizes"]
        print(f"{out}: goes on from update {learner.step}", file=sys.stderr)
    else:
        for stale in [out / "summary.json", out / "calibration.csv", checkpoint, *out.glob("events.out.tfevents.*")]:
            stale.unlink(missing_ok=True)  # of a run that this one takes the place of
    write_json(out / "status.json", {"status": "running", "origin": origin})
    write_json(out / "certificate.json", certificate)
    write_arrays(out / "data.npz", _data_sample(dataset))

    facts = {"dataset": spec.name, **asdict(settings)}
    with (
        Log(out, learner.step, sizes, settings.wandb, facts, origin) as log,
        tqdm(
            total=settings.steps, initial=learner.step, desc=f"train {out.name}", unit=" updates", mininterval=5
        ) as bar,
    ):

        def save() -> None:
            reached = {
                "origin": origin,
                "learner": learner.state_dict(),
                "sampler": sampler.state_dict(),
                "rng": rng.get_state(),
                "torch_rng": torch.get_rng_state(),
                "cuda_rng": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
                "results": results,
                "seconds": seconds | {"before": seconds["before"] + time.monotonic() - began},
                "log_sizes": log.sizes(),
            }
            write(checkpoint, lambda path: torch.save(reached, path))

        saved = time.monotonic()
        while True:
            if learner.step in schedule[len(results) :]:
                headline = schedule.index(learner.step) >= len(schedule) - HEADLINE
                learner.swap()
                acting = copy.deepcopy(agent).cpu().eval()  # physics is on the CPU, and so is what acts in it
                learner.swap()
                some = None if headline else max(1, settings.episodes // 5)
                rows, trajectories = evaluator.evaluate(acting.act, some)
                means = {key: mean_by_task(rows, key) for key in ("success", "in_half", "return")}
                results.append({"step": learner.step, **means})
                log.evaluation(learner.step, rows, metrics(results[-1], certificate))
            if learner.step == settings.steps:
                break
            tick = time.monotonic()
            logged = (learner.step + 1) % LOG_EVERY == 0 or learner.step + 1 == settings.steps
            parts = learner.update(sampler.next(agent.batch_size), rng, logged)
            seconds["updating"] += time.monotonic() - tick
            bar.update()
            if logged:
                values = {f"train/{key}": value.item() for key, value in parts.items()}
                log.train(learner.step, values | {"time/updates_per_s": learner.step / seconds["updating"]})
            if learner.step in schedule or time.monotonic() - saved >= CHECKPOINT_EVERY:
                save()
                saved = time.monotonic()
    write_arrays(out / "trajectories.npz", _tracks(rows, trajectories))
    if rewards is not None:
        achieved = calibrate(acting.act, world, return_tasks, EVALUATION_SEED, settings.workers, context, rewards)
        write_csv(out / "calibration.csv", achieved)
    tasks = task_summaries(certificate, results, rows, settings.episodes)
    summary = {
        "dataset": spec.name,
        "dataset_sha256": dataset.manifest["dataset_sha256"],
        "agent": settings.agent_name,
        "goals": settings.goals_name,
        "seed": settings.seed,
        "steps": settings.steps,
        "seen": group([task for task in tasks if task["expect"] == "seen"], results),
        "unseen": group([task for task in tasks if task["expect"] == "unseen"], results),
        "by_segments": by_segments(tasks, results),
        "tasks": tasks,
        "augmentation": augmentation,
        "updates_per_s": round(settings.steps / seconds["updating"], 1),
        "wall_s": round(seconds["before"] + time.monotonic() - began, 1),
        "versions": origin["versions"],
        "commit": commit,
    }
    seen, unseen = summary["seen"], summary["unseen"]
    summary["raw_difference"] = round(seen["success"] - unseen["success"], 4) if seen and unseen else None
    write_json(out / "summary.json", summary)
    write_json(out / "status.json", {"status": "finished", "origin": origin})
    return summary


def make_origin(dataset_sha256: str, seed: int, identity: str) -> dict[str, Any]:
    """What a run's numbers follow from: a run of another origin is another run."""
    return {"dataset_sha256": dataset_sha256, "seed": seed, "configuration": identity, "versions": _versions()}


def is_finished(out: Path, origin: dict[str, Any]) -> bool:
    return _status(out) == {"status": "finished", "origin": origin} and (out / "summary.json").exists()


def fail(out: Path, reason: str) -> None:
    """Have status.json say that a run failed, and why. A run that is finished stays so."""
    if (_status(out) or {}).get("status") != "finished":
        with suppress(OSError):  # what failed may be the disk
            write_json(out / "status.json", {"status": "failed", "reason": reason})


def _status(out: Path) -> dict[str, Any] | None:
    """What status.json says, None where there is none that can be read."""
    try:
        return json.loads((out / "status.json").read_text())
    except (OSError, ValueError):
        return None


def _load(checkpoint: Path, origin: dict[str, Any]) -> dict[str, Any] | None:
    """The state to go on from: None without a checkpoint, or with that of another configuration, data or versions."""
    if not checkpoint.exists():
        return None
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        same = state["origin"] == origin
    except Exception as error:  # torch.load raises many kinds
        raise ValueError(f"{checkpoint}: expected a checkpoint of stitchrl, found {error!r}; remove it") from error
    if not same:
        print(f"{checkpoint}: of another configuration, dataset or version; begins anew", file=sys.stderr)
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


def check_outcomes(agent: Agent, spec: DatasetSpec, goals: TrajectorySampler, settings: Settings) -> None:
    """Whether the agent can do with what the dataset asks for, and with how goals are drawn."""
    name = settings.agent_name
    if spec.targets and agent.goal_columns:
        raise ValueError(
            f"agent {name}: conditioned on goals, but dataset {spec.name} asks for returns; "
            "gcbc, dt, iql or td3bc expected"
        )
    if not spec.targets and (agent.goal_columns is None or agent.needs.rewards):
        asks = "learns from rewards" if agent.needs.rewards else "conditioned on returns"
        raise ValueError(f"agent {name}: {asks}, but dataset {spec.name} asks for goals; one with targets expected")
    if agent.needs.rewards and not isinstance(goals, Future):
        raise ValueError(
            f"agent {name}: told nothing of what lies ahead, goals={settings.goals_name} changes "
            "nothing; goals=future expected"
        )


def measure_augmentation(
    episodes: Episodes,
    sample_path: Sample,
    discount: float | None,
    world: World,
    goals: TrajectorySampler,
    returns: Returns | None = None,
    pairs: int = 20_000,
) -> dict[str, float | None]:
    """How often paths really jump (before the horizon of returns), and the contradiction rate of those that do.

    A pair contradicts when the next half cell of the episode's own way leads away from the goal: the walking distance
    to the goal is larger after it than before. Null where nothing was augmented, or where returns are asked for.
    """
    requested = getattr(goals, "p", None)
    if requested is None:
        return {"requested": None, "realised": None, "contradiction_rate": None}
    rng = torch.Generator(episodes.device).manual_seed(0)
    drawn = torch.randint(len(episodes.transitions), (pairs,), generator=rng, device=episodes.device)
    path: DataPath = sample_path(episodes.transitions[drawn], discount, rng)
    if returns is not None:
        path = path.first(returns.horizon)
    jumped = (path.leave >= 0).any(1)
    measured = {"requested": requested, "realised": round(float(jumped.float().mean()), 4), "contradiction_rate": None}
    if returns is not None or not jumped.any():
        return measured
    rows, goal = path.rows[jumped], path.goal[jumped]
    ahead = max(1, round(world.maze.scale / 2 / (world.speed * world.control_step)))
    later = torch.minimum(rows + ahead, episodes.ends[rows])
    here, then, there = (episodes.observations[at, :2].double().cpu().numpy() for at in (rows, later, goal))
    before, after = (world.maze.distance(xy, there) for xy in (here, then))
    return measured | {"contradiction_rate": round(float((after > before).mean()), 4)}


def _data_sample(dataset: Dataset, points: int = 20_000) -> dict[str, np.ndarray]:
    """Positions and the contexts that they were collected in, for pictures."""
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(len(dataset.episodes), min(points, len(dataset.episodes)), replace=False))
    numbers = dataset.episodes.number.numpy()[rows]
    xy = dataset.episodes.observations[rows, :2].numpy()
    return {"xy": xy, "context": dataset.contexts[numbers].astype(np.int64)}


def _tracks(rows: Sequence[dict[str, Any]], trajectories: Sequence[Trajectory]) -> dict[str, np.ndarray]:
    """Where the body went in each evaluated episode, for pictures."""
    return {
        "xy": np.concatenate([trajectory.observations[:, :2] for trajectory in trajectories]),
        "lengths": np.array([len(trajectory.observations) for trajectory in trajectories]),
        "task": np.array([row["task"] for row in rows]),
        "success": np.array([row["success"] for row in rows]),
    }


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
