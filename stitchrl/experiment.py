"""The experiment, from top to bottom: dataset, certificate, training, evaluation, summary."""

import copy
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from tqdm import tqdm

from stitchrl import status
from stitchrl.agents.agent import Agent
from stitchrl.data.batches import BatchSampler
from stitchrl.data.episodes import Episodes
from stitchrl.data.paths import Future, Sample, TrajectorySampler
from stitchrl.data.returns import Returns
from stitchrl.evaluate import Evaluator, Rewards, calibrate
from stitchrl.factory import Dataset, make_return_tasks, make_rewards, make_tasks, open_dataset
from stitchrl.files import write, write_arrays, write_csv, write_json
from stitchrl.finite import NotFinite, check_finite
from stitchrl.interrupt import Interrupted, held
from stitchrl.learner import Learner, Precision
from stitchrl.log import Log
from stitchrl.seeds import stream
from stitchrl.status import is_finished, make_origin
from stitchrl.summary import HEADLINE, by_segments, group, mean_by_task, metrics, task_summaries
from stitchrl.types import DatasetSpec, GoalPath, Policy, ReturnTask
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
    identity: str  # a hash of all in the configuration that decides the run's numbers
    source: str  # a hash of the code that decides them
    wandb: str | None = None  # a project of Weights & Biases that is told of the run
    again: bool = False  # a finished run is run anew


@dataclass
class Training:
    """What a run trains and evaluates with, and how far it is."""

    world: World
    agent: Agent
    learner: Learner
    sampler: BatchSampler
    rng: torch.Generator  # of losses
    evaluator: Evaluator
    return_tasks: list[ReturnTask]  # none where goals are asked for
    rewards: Rewards | None  # None where goals are asked for
    act_window: int | None  # steps of the window that a policy is shown
    augmentation: dict[str, float | None]
    schedule: list[int]  # updates after which it is evaluated
    # one for each evaluation: {"step", "success": {task: share}, "tight_success", "return"}
    results: list[dict[str, Any]] = field(default_factory=list)
    updating: float = 0.0  # seconds spent on updates

    def state_dict(self) -> dict[str, Any]:
        cuda = self.rng.device.type == "cuda"
        return {
            "learner": self.learner.state_dict(),
            "sampler": self.sampler.state_dict(),
            "rng": self.rng.get_state(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.rng.device) if cuda else None,
            "results": self.results,
            "updating": self.updating,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        self.sampler.load_state_dict(state["sampler"])
        self.rng.set_state(state["rng"])
        torch.set_rng_state(state["torch_rng"])
        if self.rng.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"], self.rng.device)
        self.results, self.updating = state["results"], state["updating"]


class Evaluation(NamedTuple):
    """What the last evaluation leaves."""

    policy: Policy
    rows: list[dict[str, Any]]  # one for each episode
    trajectories: list[Trajectory]


def run(
    spec: DatasetSpec,
    make_agent: Callable[..., Agent],
    goals: TrajectorySampler,
    settings: Settings,
    out: Path,
) -> dict[str, Any]:
    """Train and evaluate; writes the run folder `out` and returns its summary.

    A run that was interrupted goes on from its last checkpoint, to the same numbers. A finished one is not run again,
    unless its origin is another by now or the settings say so.

    Raises ValueError on unusable input, NotFinite for a run that diverges, and Interrupted, after a checkpoint, where a
    signal asks it to stop.
    """
    try:
        return _run(spec, make_agent, goals, settings, out)
    except Interrupted as stop:
        status.interrupt(out, str(stop))
        stop.args = (f"{stop}: {out} goes on when it is started again",)
        raise


def _run(
    spec: DatasetSpec,
    make_agent: Callable[..., Agent],
    goals: TrajectorySampler,
    settings: Settings,
    out: Path,
) -> dict[str, Any]:
    began, commit = time.monotonic(), _commit()
    torch.set_num_threads(1)
    _check(settings)
    world = make_world(spec.world, spec.maze)
    dataset = open_dataset(spec, settings.workers)
    certificate = dataset.certificate.as_dict()
    if not dataset.certificate.passed and not spec.control:
        raise ValueError(f"dataset {spec.name} fails its certificate: {'; '.join(dataset.certificate.problems)}")
    origin = make_origin(dataset.manifest["dataset_sha256"], settings.seed, settings.identity, settings.source)
    checkpoint = out / "checkpoints" / "last.pt"
    finished = is_finished(out, origin)
    if finished and not settings.again:
        print(f"{out}: finished before, not run again", file=sys.stderr)
        return json.loads((out / "summary.json").read_text(encoding="utf-8"))

    training = prepare(spec, make_agent, goals, settings, dataset, world)
    state = None if finished else _load(checkpoint, origin)  # `again` too goes on with a run that was interrupted
    if state is not None:
        training.load_state_dict(state["training"])
        print(f"{out}: goes on from update {training.learner.step}", file=sys.stderr)
    before, sizes = (0.0, None) if state is None else (state["seconds"], state["log_sizes"])
    if state is None:
        checkpoint.unlink(missing_ok=True)  # of a run that this one takes the place of, as what follows
    for stale in ("summary.json", "calibration.csv"):
        (out / stale).unlink(missing_ok=True)
    status.begin(out, origin)
    write_json(out / "certificate.json", certificate)
    write_arrays(out / "data.npz", _data_sample(dataset))

    head = {"dataset": spec.name, "dataset_sha256": dataset.manifest["dataset_sha256"]}
    head |= {"agent": settings.agent_name, "goals": settings.goals_name, "seed": settings.seed, "steps": settings.steps}
    try:
        with Log(out, sizes, settings.wandb, {"dataset": spec.name, **asdict(settings)}, origin) as log:

            def save() -> None:
                seconds = before + time.monotonic() - began
                reached = {"origin": origin, "training": training.state_dict(), "seconds": seconds}
                reached["log_sizes"] = log.sizes()
                write(checkpoint, lambda path: torch.save(reached, path))

            last = train(training, log, save, certificate, settings, f"train {out.name}")
        write_arrays(out / "trajectories.npz", _tracks(last))
        if training.rewards is not None:
            write_csv(out / "calibration.csv", _calibrate(training, last.policy, settings.workers))
    except NotFinite as error:
        write_json(out / "summary.json", head | {"failed": str(error), "seen": None, "unseen": None})
        raise
    summary = head | _results(training, certificate, last.rows, settings.episodes)
    summary |= {
        "augmentation": training.augmentation,
        "updates_per_s": round(settings.steps / training.updating, 1),
        "wall_s": round(before + time.monotonic() - began, 1),
        "versions": origin["versions"],
        "commit": commit,
    }
    with held():
        write_json(out / "summary.json", summary)
        status.finish(out, origin)
    return summary


def prepare(
    spec: DatasetSpec,
    make_agent: Callable[..., Agent],
    goals: TrajectorySampler,
    settings: Settings,
    dataset: Dataset,
    world: World,
) -> Training:
    """All that a run trains and evaluates with. Raises ValueError for an agent that the data or goals do not suit."""
    device, seed = torch.device(settings.device), settings.seed
    torch.manual_seed(stream(seed, "weights"))
    agent = make_agent(observation_dim=world.observation_dim, action_dim=world.action_dim)
    check_conditions(agent, spec, goals, settings)
    agent.fit_scale(dataset.episodes.observations)
    agent.to(device)
    learner = Learner(agent, settings.steps, settings.decay, settings.average, settings.precision)
    torch.manual_seed(stream(seed, "dropout"))
    episodes = dataset.episodes.to(device)
    sample_path = goals.bind(episodes)
    returns = None if spec.horizon is None else Returns(episodes, spec.horizon)
    sampler = BatchSampler(episodes, sample_path, agent.needs, seed, returns)
    discount, act_window = agent.needs.actor_goals.discount, agent.needs.act_window or agent.needs.window
    return_tasks = make_return_tasks(spec, world)
    rewards = None if returns is None else Rewards(make_rewards(spec, world), returns.scale, returns.horizon)
    tasks = return_tasks or make_tasks(spec, world)
    return Training(
        world=world,
        agent=agent,
        learner=learner,
        sampler=sampler,
        rng=torch.Generator(device).manual_seed(stream(seed, "losses")),
        evaluator=Evaluator(world, tasks, settings.episodes, EVALUATION_SEED, settings.workers, act_window, rewards),
        return_tasks=return_tasks,
        rewards=rewards,
        act_window=act_window,
        augmentation=measure_augmentation(episodes, sample_path, discount, world, goals, returns),
        schedule=[round(settings.steps * (i + 1) / settings.evaluations) for i in range(settings.evaluations)],
    )


def train(
    training: Training,
    log: Log,
    save: Callable[[], None],
    certificate: dict[str, Any],
    settings: Settings,
    title: str,
) -> Evaluation:
    """Train from where `training` is to the end, evaluating as scheduled; what the last evaluation leaves.

    A signal takes effect between two updates, and what was reached is saved then. Numbers are looked at where they are
    logged or saved, since that waits for the device: no state is saved that is not finite.
    """
    learner, schedule = training.learner, training.schedule
    saved_at, saved_step = time.monotonic(), learner.step
    bar = tqdm(total=settings.steps, initial=learner.step, desc=title, unit=" updates", mininterval=5)
    with bar:
        try:
            while True:
                if learner.step in schedule[len(training.results) :]:
                    last = _evaluate(training, log, certificate, settings.episodes)
                if learner.step == settings.steps:
                    return last
                with held():
                    tick, number = time.monotonic(), learner.step + 1
                    logged = number % LOG_EVERY == 0 or number == settings.steps
                    due = number in schedule or tick - saved_at >= CHECKPOINT_EVERY
                    parts = learner.update(training.sampler.next(training.agent.batch_size), training.rng, logged)
                    if logged or due:
                        learner.check()
                    values = {f"train/{key}": float(value) for key, value in parts.items()} if logged else {}
                    check_finite(values, f"update {number}")
                    training.updating += time.monotonic() - tick
                    bar.update()
                    if logged:
                        log.train(number, values | {"time/updates_per_s": number / training.updating})
                    if due:
                        save()
                        saved_at, saved_step = time.monotonic(), number
        except Interrupted:
            if learner.step > saved_step:  # else it was evaluating, which begins anew from what is saved
                with held():
                    learner.check()
                    save()
            raise


def _evaluate(training: Training, log: Log, certificate: dict[str, Any], episodes: int) -> Evaluation:
    """Evaluate with the average of the weights; on fewer episodes before those evaluations that make the headline."""
    step, schedule = training.learner.step, training.schedule
    headline = schedule.index(step) >= len(schedule) - HEADLINE
    training.learner.swap()
    acting = copy.deepcopy(training.agent).cpu().eval()  # physics is on the CPU, and so is what acts in it
    training.learner.swap()
    try:
        rows, trajectories = training.evaluator.evaluate(acting.act, None if headline else max(1, episodes // 5))
    except NotFinite as error:
        raise NotFinite(f"update {step}: {error}") from error
    means = {key: mean_by_task(rows, key) for key in ("success", "tight_success", "return")}
    with held():
        training.results.append({"step": step, **means})
        log.evaluation(step, rows, metrics(training.results[-1], certificate))
    return Evaluation(acting.act, rows, trajectories)


def _calibrate(training: Training, policy: Policy, workers: int) -> list[dict[str, Any]]:
    assert training.rewards is not None
    tasks, act_window = training.return_tasks, training.act_window
    return calibrate(policy, training.world, tasks, EVALUATION_SEED, workers, act_window, training.rewards)


def _results(
    training: Training, certificate: dict[str, Any], rows: list[dict[str, Any]], episodes: int
) -> dict[str, Any]:
    """What summary.json says of success. rows: of the last evaluation."""
    results = training.results
    tasks = task_summaries(certificate, results, rows, episodes)
    seen, unseen = (group([task for task in tasks if task["expect"] == kind], results) for kind in ("seen", "unseen"))
    return {
        "seen": seen,
        "unseen": unseen,
        "raw_difference": round(seen["success"] - unseen["success"], 4) if seen and unseen else None,
        "by_segments": by_segments(tasks, results),
        "tasks": tasks,
    }


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


def check_conditions(agent: Agent, spec: DatasetSpec, goals: TrajectorySampler, settings: Settings) -> None:
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
    to the goal is larger after it than before. It is null where no path jumps, or where returns are asked for.
    `requested` is null for a sampler that does not say how much it augments; what is realised is measured of all.
    """
    requested: float | None = goals.p if hasattr(goals, "p") else None
    rng = torch.Generator(episodes.device).manual_seed(0)
    drawn = torch.randint(len(episodes.transitions), (pairs,), generator=rng, device=episodes.device)
    path: GoalPath = sample_path(episodes.transitions[drawn], discount, rng)
    if returns is not None:
        path = path.first(returns.horizon)
    jumped = (path.leave >= 0).any(1) | (episodes.ends[path.goal] != episodes.ends[path.rows])
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


def _tracks(last: Evaluation) -> dict[str, np.ndarray]:
    """Where the body went in each evaluated episode, for pictures."""
    rows, trajectories = last.rows, last.trajectories
    return {
        "xy": np.concatenate([trajectory.observations[:, :2] for trajectory in trajectories]),
        "lengths": np.array([len(trajectory.observations) for trajectory in trajectories]),
        "task": np.array([row["task"] for row in rows]),
        "success": np.array([row["success"] for row in rows]),
    }


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
