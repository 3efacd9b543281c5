"""What several tests share: small datasets made by hand, and commands run in this process."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from stitchrl.benchmark.benchmark import Benchmark
from stitchrl.data.episodes import Episodes
from stitchrl.guard import guarded
from stitchrl.objectives import make_objective
from stitchrl.settings import world_settings
from stitchrl.spec import DatasetSpec
from stitchrl.worlds import World, make_world

torch.set_num_threads(1)

# A shell that runs something in the background has it ignore SIGINT, and so it would the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the datasets of a whole file of tests."""
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture
def in_a_folder_of_its_own(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(store))
    monkeypatch.chdir(tmp_path)


def command(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run a command in this process; its exit status."""
    monkeypatch.setattr(sys, "argv", ["stitchrl", *arguments])
    try:
        guarded(module.main)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def world(name: str, maze: str | None) -> World:
    """One of the package's worlds."""
    return make_world(world_settings(name), maze)


def benchmark(spec: DatasetSpec, place: World | None = None) -> Benchmark:
    """The benchmark of a specification, in its own world or in another one."""
    place = place or world(spec.world, spec.maze)
    return Benchmark(spec, place, make_objective(spec, place))


def make_episodes(trajectories: Sequence[np.ndarray], rewards: Sequence[np.ndarray] | None = None) -> Episodes:
    """Episodes through the points [T + 1, 2] of each trajectory: observations (x, y, 0, 0), random actions in [-1, 1].

    The actions are all different, so that a transition is known by its action. rewards: [T] for each trajectory.
    """
    lengths = torch.tensor([len(xy) - 1 for xy in trajectories])
    last = (lengths + 1).cumsum(0) - 1
    xy = torch.from_numpy(np.concatenate(trajectories).astype(np.float32))
    actions = torch.rand(len(xy), 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    actions[last] = torch.nan
    gained = None
    if rewards is not None:
        gained = torch.from_numpy(np.concatenate([[*part, np.nan] for part in rewards]).astype(np.float32))
    return Episodes(torch.cat([xy, torch.zeros_like(xy)], 1), actions, gained, lengths)


def random_walks(count: int, longest: int, stride: float = 0.5, seed: int = 0) -> list[np.ndarray]:
    """Random walks [T + 1, 2] in the square from -3 to 3, each of 1 to `longest` steps."""
    rng = np.random.default_rng(seed)
    walks = []
    for _ in range(count):
        xy = [rng.uniform(-3, 3, 2)]
        for _ in range(rng.integers(1, longest + 1)):
            xy.append((xy[-1] + rng.normal(0, stride, 2)).clip(-3, 3))
        walks.append(np.array(xy))
    return walks
