"""Training: what a run learns and is evaluated with, and the loop from where it is to its end."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from stitchrl.agents.agent import Agent
from stitchrl.benchmark.benchmark import Benchmark
from stitchrl.data.batches import BatchSampler
from stitchrl.data.episodes import Episodes
from stitchrl.data.paths import Future, TrajectorySampler
from stitchrl.evaluate import Evaluator
from stitchrl.finite import NotFinite, check_finite
from stitchrl.instruments.instrument import Instrument, measure
from stitchrl.interrupt import Interrupted, held
from stitchrl.learner import Learner, Precision
from stitchrl.log import Log
from stitchrl.objectives.objective import Relabelling, Rows
from stitchrl.seeds import stream
from stitchrl.summary import HEADLINE, mean_by_task, metrics
from stitchrl.types import AnyTask, Policy
from stitchrl.worlds.rollout import Trajectory

EVALUATION_SEED = 20_240_116  # one for all runs: every method meets the same starts and goals
LOG_EVERY = 1000  # updates
CHECKPOINT_EVERY = 60.0  # seconds, and before each evaluation


@dataclass(frozen=True)
class Settings:
    """What a run needs besides its benchmark, agent, goals and instruments. Names are those of the configuration."""

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
    again: bool = False  # whether a finished run is run anew


class Evaluation(NamedTuple):
    """What the last evaluation leaves."""

    policy: Policy
    rows: Rows  # one for each episode
    trajectories: list[Trajectory]


@dataclass
class Training:
    """What a run trains and evaluates with, and how far it is."""

    benchmark: Benchmark
    settings: Settings
    agent: Agent
    learner: Learner
    sampler: BatchSampler
    relabelling: Relabelling
    rng: torch.Generator  # of losses
    instruments: Mapping[str, Instrument]
    # One for each evaluation: {"step", "success": {task: share}, and so for each estimated measure}.
    results: list[dict[str, Any]] = field(default_factory=list)
    measured: dict[str, float | None] = field(default_factory=dict)  # what instruments measured last, by `<name>/<key>`
    rows: Rows = field(default_factory=list)  # of the last evaluation
    updating: float = 0.0  # seconds spent on updates

    def __post_init__(self) -> None:
        steps, evaluations = self.settings.steps, self.settings.evaluations
        self.schedule = [round(steps * (i + 1) / evaluations) for i in range(evaluations)]  # updates to evaluate after
        self.evaluator = self.make_evaluator(self.benchmark.tasks, self.settings.episodes)

    def state_dict(self) -> dict[str, Any]:
        cuda = self.rng.device.type == "cuda"
        return {
            "learner": self.learner.state_dict(),
            "sampler": self.sampler.state_dict(),
            "rng": self.rng.get_state(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.rng.device) if cuda else None,
            "results": self.results,
            "measured": self.measured,
            "rows": self.rows,
            "updating": self.updating,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        self.sampler.load_state_dict(state["sampler"])
        self.rng.set_state(state["rng"])
        torch.set_rng_state(state["torch_rng"])
        if self.rng.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"], self.rng.device)
        for key in ("results", "measured", "rows", "updating"):
            setattr(self, key, state[key])

    def make_evaluator(self, tasks: Sequence[AnyTask], episodes: int) -> Evaluator:
        return Evaluator(
            self.benchmark.world,
            self.benchmark.objective,
            tasks,
            episodes,
            EVALUATION_SEED,
            self.settings.workers,
            self.relabelling.conditioning,
            window=self.agent.needs.act_window or self.agent.needs.window,
        )


def prepare(
    benchmark: Benchmark,
    make_agent: Callable[..., Agent],
    goals: TrajectorySampler,
    instruments: Mapping[str, Instrument],
    settings: Settings,
    episodes: Episodes,
) -> Training:
    """All that a run trains and evaluates with. Raises ValueError for an agent that the data or goals do not suit."""
    device, seed = torch.device(settings.device), settings.seed
    torch.manual_seed(stream(seed, "weights"))
    agent = make_agent(spaces=benchmark.spaces)
    check_agent(benchmark, agent, goals, settings)
    agent.fit(episodes.observations)
    agent.to(device)
    learner = Learner(agent, settings.steps, settings.decay, settings.average, settings.precision)
    torch.manual_seed(stream(seed, "dropout"))
    episodes = episodes.to(device)
    relabelling = benchmark.objective.relabel(episodes)
    sampler = BatchSampler(episodes, goals.bind(episodes), agent.needs, seed, relabelling)
    for instrument in instruments.values():
        instrument.bind(benchmark, goals, sampler)
    rng = torch.Generator(device).manual_seed(stream(seed, "losses"))
    return Training(benchmark, settings, agent, learner, sampler, relabelling, rng, instruments)


def check_agent(benchmark: Benchmark, agent: Agent, goals: TrajectorySampler, settings: Settings) -> None:
    """Raise ValueError where the agent cannot learn what the benchmark asks for, or not with these goals."""
    augments = not isinstance(goals, Future)
    benchmark.objective.check(settings.agent_name, agent.needs, settings.goals_name, augments)


def train(training: Training, log: Log, save: Callable[[], None], title: str) -> Evaluation:
    """Train from where `training` is to the end, evaluating as scheduled. Returns what the last evaluation leaves.

    A signal takes effect between two updates, and what was reached is saved then. Numbers are looked at only where they
    are logged or saved, since looking waits for the device. No state is saved that is not finite.
    """
    learner, schedule, steps = training.learner, training.schedule, training.settings.steps
    saved_at, saved_step = time.monotonic(), learner.step
    with tqdm(total=steps, initial=learner.step, desc=title, unit=" updates", mininterval=5) as bar:
        try:
            while True:
                if learner.step in schedule[len(training.results) :]:
                    last = _evaluate(training, log)
                if learner.step == steps:
                    return last
                with held():
                    tick, number = time.monotonic(), learner.step + 1
                    due = number in schedule or tick - saved_at >= CHECKPOINT_EVERY
                    _update(training, log, tick, due)
                    bar.update()
                    if due:
                        save()
                        saved_at, saved_step = time.monotonic(), number
        except Interrupted:
            if learner.step > saved_step:  # else it was evaluating, which begins anew from what is saved
                with held():
                    learner.check()
                    save()
            raise


def _update(training: Training, log: Log, began: float, due: bool) -> None:
    """One update and what is told of it. due: whether the state is to be saved after it."""
    learner, number = training.learner, training.learner.step + 1
    logged = number % LOG_EVERY == 0 or number == training.settings.steps
    info = learner.update(training.sampler.next(training.agent.batch_size), training.rng, logged)
    if logged or due:
        learner.check()
    values = {f"train/{key}": float(value) for key, value in info.items()} if logged else {}
    check_finite(values, f"update {number}")
    training.updating += time.monotonic() - began
    if logged:
        log.train(number, values | {"time/updates_per_s": number / training.updating})
    _measure(training, log, evaluated=False)


def _measure(training: Training, log: Log, evaluated: bool) -> None:
    """Ask the instruments that are due, and tell what they measure."""
    values = measure(training.instruments, training.agent, training.learner.step, training.rows, evaluated)
    training.measured |= values
    if known := {f"instruments/{key}": value for key, value in values.items() if value is not None}:
        check_finite(known, f"update {training.learner.step}")
        log.train(training.learner.step, known)


def _evaluate(training: Training, log: Log) -> Evaluation:
    """Evaluate the average of the weights; on fewer episodes in evaluations that do not count for the headline."""
    step, schedule, objective = training.learner.step, training.schedule, training.benchmark.objective
    headline = schedule.index(step) >= len(schedule) - HEADLINE
    training.learner.swap()
    acting = copy.deepcopy(training.agent).cpu().eval()  # simulations are on the CPU, and so is what acts in them
    training.learner.swap()
    try:
        few = None if headline else max(1, training.settings.episodes // 5)
        rows, trajectories = training.evaluator.evaluate(acting.act, few)
    except NotFinite as error:
        raise NotFinite(f"update {step}: {error}") from error
    estimated = [measure["key"] for measure in objective.measures if measure["estimate"]]
    means = {key: mean_by_task(rows, key) for key in ("success", *estimated)}
    facts: dict[str, Any] = {"seed": training.settings.seed, "dataset": training.benchmark.name}
    facts |= {"agent": training.settings.agent_name, "goals": training.settings.goals_name}
    with held():
        training.rows = rows
        training.results.append({"step": step, **means})
        log.evaluation(step, [facts | row for row in rows], metrics(training.results[-1], objective.tasks))
        _measure(training, log, evaluated=True)
    return Evaluation(acting.act, rows, trajectories)
