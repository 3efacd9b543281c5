"""How fast agents learn, batches are drawn and policies are evaluated: against plain PyTorch and against the limits.

    python benchmarks/speed.py [--agents gcbc,dt] [--rounds 5] [--out FILE]

All on one thread and the shapes of the ant (29 observations, 8 actions). For each agent and size: milliseconds of CPU
for an update of benchmarks/plain.py and for ours in float32 and in bfloat16, measured in turns; the floor, which is the
update's multiplications (counted by PyTorch) at the rate at which this host multiplies matrices of the hidden layers'
size; the share of sampling (goals=stitch) in sampling and updating. Then sampling against a data loader that fetches an
item at a time, and evaluation against raw physics on all cores. Writes results/speed.json, or another file for
another host.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from generation import processor, raw_physics
from gymnasium.spaces import Box
from plain import PLAIN
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from stitchrl.agents.agent import Agent
from stitchrl.agents.crl import CRL
from stitchrl.agents.dt import DT
from stitchrl.agents.gcbc import GCBC
from stitchrl.agents.gciql import GCIQL
from stitchrl.agents.gcivl import GCIVL
from stitchrl.agents.hiql import HIQL
from stitchrl.agents.qrl import QRL
from stitchrl.data.batches import BLOCK, BatchSampler
from stitchrl.data.episodes import Episodes, take
from stitchrl.data.paths import Stitch
from stitchrl.evaluate import Evaluator
from stitchrl.files import write_json
from stitchrl.learner import Learner, Precision
from stitchrl.objectives.goal import GoalConditioning, GoalRelabelling, ReachGoal
from stitchrl.settings import world_settings
from stitchrl.spec import DatasetSpec
from stitchrl.types import Condition, Spaces
from stitchrl.worlds import make_world

RESULTS = Path(__file__).parent / "results" / "speed.json"
CORES = os.cpu_count() or 1
OBSERVATION_DIM, ACTION_DIM = 29, 8
AGENTS = {"gcbc": GCBC, "dt": DT, "gcivl": GCIVL, "gciql": GCIQL, "crl": CRL, "qrl": QRL, "hiql": HIQL}
SIZES = {"small": (256, (256, 256)), "large": (1024, (512, 512, 512))}  # batch, hidden layers


def make_episodes(count: int = 4000, steps: int = 250) -> Episodes:
    """A million transitions of noise: as large as the datasets, which do not fit a processor's caches."""
    rng = torch.Generator().manual_seed(0)
    observations = torch.randn(count * (steps + 1), OBSERVATION_DIM, generator=rng)
    actions = torch.rand(count * (steps + 1), ACTION_DIM, generator=rng) * 2 - 1
    actions[steps :: steps + 1] = float("nan")
    return Episodes(observations, actions, None, torch.full((count,), steps))


def make_agent(name: str, size: str, episodes: Episodes) -> Agent:
    """The agent at its published settings but for the sizes; the transformer has a size of its own."""
    batch_size, hidden_dims = SIZES[size]
    sizes = {} if name == "dt" else {"hidden_dims": hidden_dims}
    torch.manual_seed(0)
    spaces = Spaces(
        Box(-np.inf, np.inf, (OBSERVATION_DIM,), np.float32),
        Box(-1, 1, (ACTION_DIM,), np.float32),
        Condition(2, (0, 1)),
    )
    agent = AGENTS[name](spaces, batch_size=batch_size, **sizes)
    agent.fit(episodes.observations[:10_000])
    return agent


def cpu_ms(work: Callable[[], Any], count: int) -> float:
    """Milliseconds of CPU for one of `count` calls."""
    began = time.process_time()
    for _ in range(count):
        work()
    return 1000 * (time.process_time() - began) / count


def in_turns(works: dict[str, Callable[[], Any]], rounds: int, seconds: float = 0.5) -> dict[str, float]:
    """The median over rounds of each one's milliseconds, so that what else the host does falls on all alike."""
    counts = {name: max(2, round(1000 * seconds / max(cpu_ms(work, 2), 0.1))) for name, work in works.items()}
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(cpu_ms(work, counts[name]))
    return {name: median(values) for name, values in times.items()}


def matmul_rate(size: str, dtype: torch.dtype, rounds: int) -> float:
    """Multiply-adds per second of one hidden layer's matrix product, the best of the rounds."""
    batch_size, (width, *_) = SIZES[size]
    x, weight = torch.randn(batch_size, width).to(dtype), torch.randn(width, width).to(dtype)
    count = 200 if size == "small" else 20
    best = min(cpu_ms(lambda: x @ weight, count) for _ in range(rounds + 1))
    return 1000 * batch_size * width * width / best


def multiply_adds(update: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        update()
    return counter.get_total_flops() // 2


PARTS = {  # of an update, by what PyTorch calls its operations
    "products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::_scaled_dot_product"),
    "activations and norms": ("aten::gelu", "aten::relu", "aten::threshold", "aten::native_layer_norm", "aten::tanh"),
    "copies and casts": ("aten::copy_", "aten::_to_copy", "aten::to", "aten::cat", "aten::stack"),
    "optimiser, targets, averages": ("Optimizer", "aten::_fused_adam", "aten::lerp", "aten::_foreach"),
}


def shares(update: Callable[[], Any]) -> dict[str, float]:
    """Where an update's time goes, as shares of it; the rest is small operations and Python."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(20):
            update()
    spent = dict.fromkeys([*PARTS, "rest"], 0.0)
    for event in profiled.key_averages():
        part = next((part for part, names in PARTS.items() if event.key.startswith(names)), "rest")
        spent[part] += event.self_cpu_time_total
    return {part: round(value / sum(spent.values()), 3) for part, value in spent.items()}


def measure_agent(name: str, size: str, episodes: Episodes, rates: dict[str, float], rounds: int) -> dict[str, Any]:
    agent = make_agent(name, size, episodes)
    sampler = BatchSampler(episodes, stitch().bind(episodes), agent.needs, 0, relabelling(episodes))
    batches = [sampler.next(agent.batch_size) for _ in range(8)]
    number = 0

    def batch() -> Any:
        nonlocal number
        number += 1
        return batches[number % len(batches)]

    def learner(precision: Precision) -> Callable[[], Any]:
        taught = Learner(make_agent(name, size, episodes), 10**6, decay=True, average=0.999, precision=precision)
        rng = torch.Generator().manual_seed(0)
        return lambda: taught.update(batch(), rng, logged=False)

    plain = PLAIN[AGENTS[name]](make_agent(name, size, episodes))
    works: dict[str, Callable[[], Any]] = {
        "plain": lambda: plain.update(batch()),
        "float32": learner("highest"),
        "bfloat16": learner("bfloat16"),
        "sample": lambda: sampler.next(agent.batch_size),
    }
    count = multiply_adds(works["float32"])
    ms = in_turns(works, rounds)
    floors = {kind: 1000 * count / rates[kind] for kind in ("float32", "bfloat16")}
    fastest = min(("float32", "bfloat16"), key=lambda kind: ms[kind])
    return {
        "agent": name,
        "batch_size": agent.batch_size,
        "hidden_dims": None if name == "dt" else list(SIZES[size][1]),
        "cpu_ms": {key: round(value, 3) for key, value in ms.items()},
        "times_plain": {kind: round(ms["plain"] / ms[kind], 2) for kind in floors},
        "multiply_adds": count,
        "floor_ms": {kind: round(value, 3) for kind, value in floors.items()},
        "times_floor": {kind: round(ms[kind] / value, 2) for kind, value in floors.items()},
        "updates_per_s": round(1000 / ms[fastest], 1),
        "samples_per_s": round(1000 / ms["sample"], 1),
        "sample_and_update_per_s": round(1000 / (ms["sample"] + ms[fastest]), 1),
        "sampling_share": round(ms["sample"] / (ms["sample"] + ms[fastest]), 3),
        "profile_bfloat16": shares(works["bfloat16"]),
    }


def stitch() -> Stitch:
    return Stitch(p=0.5, clusters=300, hops=3, columns=[0, 1], detour=None, seed=0)


class Items(Dataset):
    """Cloning's items one at a time, with one jump: as a data loader of PyTorch is commonly fed."""

    def __init__(self, episodes: Episodes):
        self.observations, self.actions = episodes.observations.numpy(), episodes.actions.numpy()
        self.rows, self.ends = episodes.transitions.numpy(), episodes.ends.numpy()
        self.cluster = stitch().assign(episodes).numpy()
        order = np.argsort(self.cluster, kind="stable")
        self.members = np.split(order, np.cumsum(np.bincount(self.cluster))[:-1])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        row = self.rows[index]
        goal = np.random.randint(row + 1, self.ends[row] + 1)
        if np.random.rand() < 0.5:
            entered = np.random.choice(self.members[self.cluster[goal]])
            goal = np.random.randint(entered, self.ends[entered] + 1)
        return self.observations[row], self.actions[row], self.observations[goal]


def measure_loading(episodes: Episodes, rounds: int, batch_size: int = 256) -> dict[str, Any]:
    """Batches of cloning with temporal augmentation: ours and a data loader's, in this process."""
    torch.manual_seed(0)
    np.random.seed(0)
    sampler = BatchSampler(
        episodes, stitch().bind(episodes), make_agent("gcbc", "small", episodes).needs, 0, relabelling(episodes)
    )
    loader = iter(DataLoader(Items(episodes), batch_size, shuffle=True))
    rows = torch.randint(len(episodes), (64, BLOCK * batch_size))  # known beforehand: what fetching alone costs
    number = 0

    def fetch() -> None:
        nonlocal number
        number += 3
        for table, shift in ((episodes.observations, 0), (episodes.observations, 1), (episodes.actions, 2)):
            take(table, rows[(number + shift) % len(rows)])

    works = {"ours": lambda: sampler.next(batch_size), "data_loader": lambda: next(loader), "fetch_block": fetch}
    ms = in_turns(works, rounds)
    ms["fetch"] = ms.pop("fetch_block") / BLOCK
    times = round(ms["data_loader"] / ms["ours"], 1)
    return {"batch_size": batch_size, "cpu_ms": {key: round(value, 3) for key, value in ms.items()}, "times": times}


def relabelling(episodes: Episodes) -> GoalRelabelling:
    return GoalRelabelling(episodes, make_world(world_settings("antmaze"), "umaze"))


def measure_evaluation(episodes: Episodes) -> dict[str, Any]:
    """An untrained policy on the ant's U-maze, all cores; MuJoCo's steps alone in one thread, times the cores."""
    world = make_world(world_settings("antmaze"), "umaze")
    cells = world.maze.cells
    ways = ((cells[0], cells[-1]), (cells[-1], cells[0]))
    objective = ReachGoal(DatasetSpec("antmaze", "umaze", "joined", (), ways, ()), world)

    def conditioning(envs: int) -> GoalConditioning:
        return GoalConditioning(world, envs)

    evaluator = Evaluator(world, objective, objective.tasks, 50, 0, CORES, conditioning)
    agent = make_agent("gcbc", "large", episodes)
    began = time.perf_counter()
    _, trajectories = evaluator.evaluate(agent.act)
    rate = sum(len(trajectory.actions) for trajectory in trajectories) / (time.perf_counter() - began)
    physics = raw_physics(world, trajectories, 10_000)
    return {
        "steps_per_s": round(rate),
        "raw_physics_steps_per_s_and_core": round(physics),
        "share_of_physics_times_cores": round(rate / (physics * CORES), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", default=",".join(AGENTS), help="only these")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    episodes = make_episodes()
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    rates = {size: {kind: matmul_rate(size, kinds[kind], options.rounds) for kind in kinds} for size in SIZES}
    rows = []
    for size in SIZES:
        for name in options.agents.split(","):
            rows.append(measure_agent(name, size, episodes, rates[size], options.rounds))
            print(json.dumps(rows[-1]), flush=True)
    result = {
        "command": "python benchmarks/speed.py",
        "host": {"processor": processor(), "cores": CORES},
        "versions": {package: version(package) for package in ("stitchrl", "mujoco", "numpy", "torch")},
        "matmul_gflops": {
            size: {kind: round(2 * rate / 1e9) for kind, rate in of_size.items()} for size, of_size in rates.items()
        },
        "updates": rows,
        "loading": measure_loading(episodes, options.rounds),
        "evaluation": measure_evaluation(episodes),
    }
    write_json(options.out, result)
    show(result)


def show(result: dict[str, Any]) -> None:
    table = Table("agent", "batch", "CPU ms: plain", "float32", "bfloat16", "x plain", "x floor", "sampling")
    for row in result["updates"]:
        ms = [f"{row['cpu_ms'][kind]:.1f}" for kind in ("plain", "float32", "bfloat16")]
        ratios = [" ".join(f"{row[key][kind]:.2f}" for kind in row[key]) for key in ("times_plain", "times_floor")]
        table.add_row(row["agent"], str(row["batch_size"]), *ms, *ratios, f"{100 * row['sampling_share']:.0f}%")
    console = Console()
    console.print(table)
    console.print({key: result[key] for key in ("host", "matmul_gflops", "loading", "evaluation")})


if __name__ == "__main__":
    main()
