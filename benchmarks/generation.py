"""How fast data are generated, against the limit that physics sets: ratios inside one run.

    python benchmarks/generation.py

Ant: the same actions once more with nothing but MuJoCo's steps around them, in one thread, times the cores, is the
limit. Point: a plain loop of the environment's `step` under the same controller is what is to be beaten. Both on the
medium maze, one direct run between random cells after another. Writes results/generation.json.
"""

import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import mujoco
import numpy as np
import torch

from stitchrl.benchmark.benchmark import Benchmark
from stitchrl.benchmark.collect import behaviour_rollouts, requests
from stitchrl.objectives import make_objective
from stitchrl.settings import world_settings
from stitchrl.spec import Context, DatasetSpec
from stitchrl.types import Simulation
from stitchrl.worlds import World, make_world
from stitchrl.worlds.maze.ant import PHYSICS_STEPS
from stitchrl.worlds.rollout import Trajectory, VectorRollout, run

CORES = os.cpu_count() or 1
RESULTS = Path(__file__).parent / "results" / "generation.json"


class Counted:
    """A simulation that counts the steps of its envs, those of unfinished episodes included."""

    def __init__(self, simulation: Simulation):
        self._simulation, self.steps = simulation, 0
        self.observations, self.reset = simulation.observations, simulation.reset

    @property
    def achieved(self) -> np.ndarray:
        return self._simulation.achieved

    def step(self, actions: np.ndarray, active: np.ndarray) -> None:
        self._simulation.step(actions, active)
        self.steps += int(active.sum())


def everywhere(world: World) -> Benchmark:
    """Episodes between all places."""
    places = tuple(world.places)
    spec = DatasetSpec(world.name, "medium", "joined", (Context(places, places),), (), ())
    return Benchmark(spec, world, make_objective(spec, world))


def generate(world: World, steps: int) -> tuple[float, list[Trajectory]]:
    """Steps per second of generation on all cores over at least so many steps, and the episodes that ended."""
    rollouts = [
        VectorRollout(Counted(simulation), behaviour) for simulation, behaviour in behaviour_rollouts(world, CORES)
    ]
    done = []

    def count() -> int:
        return sum(simulation.steps for simulation, _ in rollouts)

    began = time.perf_counter()
    for trajectory in run(rollouts, requests(everywhere(world)), world.goal_space.success):
        done.append(trajectory)
        if count() >= steps:
            break
    return count() / (time.perf_counter() - began), done


def raw_physics(world: World, trajectories: list[Trajectory], steps: int) -> float:
    """Steps per second of one thread that replays the episodes' actions and reads nothing."""
    model = world.environment().model
    data = mujoco.MjData(model)
    taken, seconds = 0, 0.0
    for trajectory in trajectories:
        mujoco.mj_resetData(model, data)
        data.qpos[:2] = trajectory.request.start
        began = time.perf_counter()
        for action in trajectory.actions:
            data.ctrl[:] = action
            mujoco.mj_step(model, data, PHYSICS_STEPS)
        seconds += time.perf_counter() - began
        taken += len(trajectory.actions)
        if taken >= steps:
            break
    return taken / seconds


def environment_loop(world: World, steps: int) -> float:
    """Steps per second of a plain loop: one environment, one controller, one `env.step` at a time."""
    env, behaviour = world.environment(), world.behaviour(1)
    taken = 0
    episodes = requests(everywhere(world))
    began = time.perf_counter()
    while taken < steps:
        request = next(episodes)
        cells = [
            np.array(world.maze.cells[world.maze.nearest_cell(xy[None])[0]]) for xy in (request.start, request.goal)
        ]
        observation, _ = env.reset(options={"reset_cell": cells[0], "goal_cell": cells[1]})
        behaviour.begin(0, request._replace(start=observation["achieved_goal"]))
        for step in range(request.limit):
            state = observation["observation"].astype(np.float32)
            observation, *_ = env.step(behaviour.act(state[None], np.array([step]))[0])
            taken += 1
            if world.goal_space.success(observation["achieved_goal"], request.goal):
                break
    return taken / (time.perf_counter() - began)


def main() -> None:
    torch.set_num_threads(1)  # as `generate` does
    ant, point = (make_world(world_settings(name), "medium") for name in ("antmaze", "pointmaze"))
    ant_speed, episodes = generate(ant, 60_000)
    physics = raw_physics(ant, episodes, 20_000)
    point_speed, loop = generate(point, 400_000)[0], environment_loop(point, 20_000)
    result = {
        "command": "python benchmarks/generation.py",
        "host": {"processor": processor(), "cores": CORES},
        "versions": {package: version(package) for package in ("stitchrl", "mujoco", "numpy", "torch")},
        "ant": {
            "steps_per_s": round(ant_speed),
            "raw_physics_steps_per_s_and_core": round(physics),
            "share_of_physics_times_cores": round(ant_speed / (physics * CORES), 3),
        },
        "point": {
            "steps_per_s": round(point_speed),
            "env_step_loop_steps_per_s": round(loop),
            "times_the_loop": round(point_speed / loop, 2),
        },
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def processor() -> str:
    """The processor's name where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
