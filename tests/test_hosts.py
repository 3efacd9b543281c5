"""The same data on every host: bytes do not depend on the processor's instructions, on envs or on workers."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import benchmark
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from stitchrl.benchmark.collect import requests
from stitchrl.spec import Context, DatasetSpec
from stitchrl.worlds.maze.maps import Maze
from stitchrl.worlds.rollout import Trajectory, VectorRollout, run

# What a processor without newer instructions would run, library by library. The C library's own switch is left out:
# without fused multiply-add, which every x86-64 processor since 2013 has, MuJoCo's sines differ in the last digit.
NUMPY_FEATURES = [name for name in __cpu_dispatch__ if __cpu_features__[name]]
PROCESSORS = {
    "as it is": {},
    "PyTorch without vectors": {"ATEN_CPU_CAPABILITY": "default"},
    "PyTorch with AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "MKL of another maker": {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "MKL_CBWR": "COMPATIBLE"},
    "oneDNN with SSE": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "NumPy without newer vectors": {"NPY_DISABLE_CPU_FEATURES": " ".join(NUMPY_FEATURES)},
}

HASHES = """
import json, sys
import torch
from stitchrl.benchmark.benchmark import Benchmark
from stitchrl.benchmark.collect import collect
from stitchrl.objectives import make_objective
from stitchrl.settings import world_settings
from stitchrl.spec import Context, DatasetSpec
from stitchrl.worlds import make_world

torch.set_num_threads(1)
found = {}
for name, transitions in (("antmaze", 1000), ("pointmaze", 5000)):
    world = make_world(world_settings(name), "umaze")
    cells = tuple(world.places)
    spec = DatasetSpec(name, "umaze", "joined", (Context(cells, cells),), (), (), transitions=transitions)
    found[name] = collect(Benchmark(spec, world, make_objective(spec, world)), 1).episodes.sha256
print(json.dumps(found))
"""


def hashes(setting: dict[str, str]) -> dict[str, str]:
    """The hashes of a small dataset of each body, generated in a process that sees another processor."""
    done = subprocess.run([sys.executable, "-c", HASHES], env=os.environ | setting, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_data_do_not_depend_on_the_processor() -> None:
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(PROCESSORS, pool.map(hashes, PROCESSORS.values()), strict=True))
    assert found == dict.fromkeys(PROCESSORS, found["as it is"])


def collected(world_name: str, envs: int, workers: int, episodes: int) -> list[Trajectory]:
    """The first episodes of a dataset in the order of their numbers."""
    cells = tuple(Maze("umaze", 1.0).cells)
    everywhere = benchmark(DatasetSpec(world_name, "umaze", "joined", (Context(cells, cells),), (), ()))
    world = everywhere.world
    requested = [request for request, _ in zip(requests(everywhere), range(episodes), strict=False)]
    rollouts = [VectorRollout(world.simulate(envs), world.behaviour(envs)) for _ in range(workers)]
    return sorted(run(rollouts, requested, world.goal_space.success), key=lambda trajectory: trajectory.request.number)


@pytest.mark.parametrize(("world", "wide"), [("antmaze", 13), ("pointmaze", 24)])
def test_the_data_do_not_depend_on_lanes_and_workers(world: str, wide: int) -> None:
    few, many = collected(world, 3, 1, 6), collected(world, wide, 2, 6)
    for one, other in zip(few, many, strict=True):
        np.testing.assert_array_equal(one.observations, other.observations)
        np.testing.assert_array_equal(one.actions, other.actions)


def test_the_ants_noiseless_actions_are_multiples_of_the_grid() -> None:
    line = benchmark(DatasetSpec("antmaze", "umaze", "joined", (Context(((1, 1),), ((3, 1),)),), (), ()))
    world = line.world
    behaviour, simulation = world.behaviour(4), world.simulate(4)
    behaviour._noise._std = 0.0
    for env in range(4):
        rng = np.random.default_rng(env)
        request = next(requests(line))
        simulation.reset(env, request.start)
        behaviour.begin(env, request._replace(rng=rng))
    found = []
    for step in range(20):
        action = behaviour.act(simulation.observations, np.full(4, step))
        found.append(action)
        assert action.dtype == np.float32
        np.testing.assert_array_equal(action * 1024, np.round(action * 1024))
        assert np.abs(action).max() > 0
        simulation.step(action, np.ones(4, bool))
    assert (np.stack(found) * 1024 % 2 == 1).mean() > 0.25, "and of no coarser one"
