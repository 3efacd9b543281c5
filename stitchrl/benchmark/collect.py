"""Episodes of a benchmark: collected by the world's behaviour, or adopted from a source."""

import math
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from stitchrl.benchmark.benchmark import Benchmark
from stitchrl.data.episodes import Episodes
from stitchrl.data.formats import open_source
from stitchrl.objectives.regions import step_limit
from stitchrl.types import Place
from stitchrl.worlds.rollout import Request, Trajectory, VectorRollout, run
from stitchrl.worlds.world import World

CEILING_EPISODES = 50
INSIDE = 0.9  # of a source's achieved goals so many lie in its world at least; a body's centre may lean over a wall
_CEILING = 2**31  # sets the ceiling's generators apart from the episodes' own


class Collected(NamedTuple):
    """Episodes, and what is known of how they came to be."""

    episodes: Episodes
    terminated: np.ndarray | None  # [episodes] whether each was ended by its world; None where that is not known
    behaviour: dict[str, float] | None  # how the behaviour did; None for episodes of others


def adopt(benchmark: Benchmark) -> Collected:
    """The source's first episodes, as many as `spec.transitions` rows hold. ValueError for one of another world."""
    spec, world = benchmark.spec, benchmark.world
    assert spec.source is not None
    source = open_source(spec.source, columns=world.goal_space.columns)
    found = (source.observations.shape, source.actions.shape)
    expected = (world.observation_space.shape, world.action_space.shape)
    if found != expected:
        shown = [[math.prod(shape or ()) for shape in shapes] for shapes in (found, expected)]
        raise ValueError(
            f"{source.name}: observations of {shown[0][0]} and actions of {shown[0][1]} numbers, expected "
            f"{shown[1][0]} and {shown[1][1]}, as {world.name} has them"
        )
    episodes = next(source.chunks(spec.transitions))
    share = float(world.inside(world.goal_space.of(episodes.observations.numpy())).mean())
    if share < INSIDE:
        where = f"{world.name}" if spec.maze is None else f"the maze {spec.maze}, centred on the origin"
        raise ValueError(
            f"{source.name}: {100 * share:.0f}% of its positions lie in {where}, expected {100 * INSIDE:.0f}% at least"
        )
    episodes = benchmark.objective.adopt(source.name, episodes)
    for note in source.notes:
        print(f"{source.name}: {note}", file=sys.stderr)
    episodes = episodes.with_info({"context": torch.zeros(len(episodes.lengths), dtype=torch.int64)})
    terminated = None if source.terminated is None else source.terminated[: len(episodes.lengths)]
    return Collected(episodes, terminated, behaviour=None)


def collect(benchmark: Benchmark, workers: int) -> Collected:
    """Episodes by number until they hold `spec.transitions`.

    Those that do not reach their goal are left out, unless the specification gives a length.
    """
    spec, world = benchmark.spec, benchmark.world
    kept, attempts = _run(benchmark, workers)
    at_goal = [_at_goal(world, trajectory) for trajectory in kept]
    arrived = [(t.request, int(steps.argmax()) + 1) for t, steps in zip(kept, at_goal, strict=True) if steps.any()]
    if not arrived:
        raise ValueError(f"dataset.length: {spec.length} steps are too few, no episode came to its goal")
    walked = sum(float(world.distance(request.start[None], request.goal[None])[0]) for request, _ in arrived)
    behaviour = {
        "attempts": attempts,
        "success": round(len(arrived) / attempts, 4),
        "metres_per_s": round(walked / (sum(steps for _, steps in arrived) * world.control_step), 3),
    }
    episodes = Episodes.of_parts(
        [trajectory.observations for trajectory in kept],
        [trajectory.actions for trajectory in kept],
        [benchmark.objective.earned(trajectory) for trajectory in kept],
        {"context": np.array([trajectory.request.number % len(spec.contexts) for trajectory in kept])},
    )
    assert episodes.rewards is not None
    terminated = (episodes.rewards[episodes.last - 1] == 1).numpy() & (spec.length is None)
    return Collected(episodes, terminated, behaviour)


def _run(benchmark: Benchmark, workers: int) -> tuple[list[Trajectory], int]:
    """The episodes that are kept, in the order of their numbers, and how many were tried."""
    spec, world = benchmark.spec, benchmark.world
    finished: dict[int, Trajectory] = {}
    kept: list[Trajectory] = []
    attempts = transitions = 0
    look = {"desc": f"collect {spec.name}", "unit": " steps", "unit_scale": True, "mininterval": 2}
    with tqdm(total=spec.transitions, **look) as bar:
        for trajectory in run(behaviour_rollouts(world, workers), requests(benchmark), world.goal_space.success):
            finished[trajectory.request.number] = trajectory
            # Episodes are taken in the order of their numbers, so that it does not matter which ended first.
            while attempts in finished and transitions < spec.transitions:
                following = finished.pop(attempts)
                attempts += 1
                if following.reached or spec.length:
                    kept.append(following)
                    transitions += len(following.actions)
                    bar.update(len(following.actions))
            if transitions >= spec.transitions:
                break
    return kept, attempts


def _at_goal(world: World, trajectory: Trajectory) -> np.ndarray:
    """Boolean [T]: which steps end at the episode's goal."""
    return world.goal_space.success(trajectory.achieved[1:], trajectory.request.goal)


def behaviour_rollouts(world: World, workers: int) -> list[VectorRollout]:
    """For each worker, the world's own number of environments under its behaviour."""
    pairs = [(world.simulate(world.envs), world.behaviour(world.envs)) for _ in range(workers)]
    if any(behaviour is None for _, behaviour in pairs):
        raise ValueError(f"dataset.source: missing; world {world.name} has no behaviour to collect data with")
    return [VectorRollout(simulation, behaviour) for simulation, behaviour in pairs if behaviour is not None]


def requests(benchmark: Benchmark) -> Iterator[Request]:
    """Episodes without end. Each has its own generator; contexts take turns."""
    spec, world = benchmark.spec, benchmark.world
    goals = _goals(benchmark)
    number = 0
    while True:
        rng = np.random.default_rng([spec.seed, number])
        context = number % len(spec.contexts)
        reset = spec.contexts[context].reset
        start = goal = np.zeros(world.goal_space.dim)
        while world.goal_space.success(start, goal):
            place = reset[rng.integers(len(reset))]
            start = world.region(place).sample(rng)
            goal = world.region(goals[context][place][rng.integers(len(goals[context][place]))]).sample(rng)
        distance = float(world.distance(start[None], goal[None])[0])
        limit = spec.length or step_limit(world, distance)
        yield Request(number, start, goal, limit, rng, stays=benchmark.objective.stays(goal))
        number += 1


def _goals(benchmark: Benchmark) -> list[dict[Place, tuple[Place, ...]]]:
    """For each context, the places that an episode from each of its starts may be sent to."""
    spec, world = benchmark.spec, benchmark.world
    if spec.goal_distance is None:
        return [dict.fromkeys(context.reset, context.goal) for context in spec.contexts]
    distance = spec.goal_distance * world.spacing
    goals: list[dict[Place, tuple[Place, ...]]] = []
    for i, context in enumerate(spec.contexts):
        goals.append({})
        for start in context.reset:
            goals[i][start] = tuple(goal for goal in context.goal if world.path_length(start, goal) == distance)
            if not goals[i][start]:
                raise ValueError(
                    f"dataset.goal_distance: no goal of contexts[{i}] is {spec.goal_distance} moves from "
                    f"{list(start)} in {world.name}, maze {spec.maze!r}"
                )
    return goals


def measure_ceilings(benchmark: Benchmark, workers: int) -> dict[str, float]:
    """The behaviour's own success on each task, within the same limits; empty in a world that has none."""
    objective, world = benchmark.objective, benchmark.world
    if world.behaviour(1) is None:
        return {}
    requested = [
        objective.ceiling_request(i, task, np.random.default_rng([benchmark.spec.seed, _CEILING, i, episode]))
        for i, task in enumerate(objective.tasks)
        for episode in range(CEILING_EPISODES)
    ]
    attained: list[list[bool]] = [[] for _ in objective.tasks]
    ended = run(behaviour_rollouts(world, workers), requested, world.goal_space.success)
    look = {"desc": "ceilings", "unit": " episodes", "delay": 5, "leave": False}
    for trajectory in tqdm(ended, total=len(requested), **look):
        attained[trajectory.request.number].append(objective.score(trajectory)["success"])
    return {task.name: float(np.mean(values)) for task, values in zip(objective.tasks, attained, strict=True)}
