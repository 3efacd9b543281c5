"""Whether a class is a world: every promise of `worlds.world.World` is tried out on a few steps."""

import numpy as np
from gymnasium.spaces import Box, Discrete

from stitchrl.worlds.rollout import Request
from stitchrl.worlds.world import World

ENVS = 3
STEPS = 5


def check_world(world: World) -> None:
    """Try what a world promises. Raises ValueError that names the member that does not keep its promise."""
    _check_spaces(world)
    _check_places(world)
    _check_simulation(world)
    if world.behaviour(ENVS) is not None:
        _check_behaviour(world)


def _expect(true: bool, member: str, expected: str) -> None:
    if not true:
        raise ValueError(f"{member}: expected {expected}")


def _check_spaces(world: World) -> None:
    observations, actions, goals = world.observation_space, world.action_space, world.goal_space
    _expect(isinstance(observations, Box), "observation_space", "a gymnasium Box")
    _expect(isinstance(actions, Box | Discrete), "action_space", "a gymnasium Box or Discrete")
    if isinstance(actions, Discrete):
        _expect(actions.start == 0, "action_space", "actions from 0 on")
    else:
        _expect(bool((actions.low == -1).all() and (actions.high == 1).all()), "action_space", "bounds of -1 and 1")
    size = int(np.prod(observations.shape))
    _expect(all(0 <= column < size for column in goals.columns or ()), "goal_space.columns", f"numbers below {size}")
    _expect(goals.radius >= 0, "goal_space.radius", "0 or more")
    _expect(world.spacing > 0 and world.speed > 0 and world.control_step > 0, "spacing, speed, control_step", "above 0")
    _expect(world.envs >= 1, "envs", "1 or more")


def _check_places(world: World) -> None:
    places, goals = list(world.places), world.goal_space
    _expect(len(places) >= 2 and len(set(places)) == len(places), "places", "two at least, all of them different")
    _expect(len({world.label(place) for place in places}) == len(places), "label", "a name of its own for each place")
    points = np.array([world.region(place).sample(np.random.default_rng(0)) for place in places])
    _expect(points.shape == (len(places), goals.dim), "region", f"points of {goals.dim} numbers, goal_space.dim")
    _expect(bool(world.inside(points).all()), "inside", "every place's region in the world")
    _expect(world.path_length(places[0], places[0]) == 0, "path_length", "0 from a place to itself")
    distances = world.distance(points[:1].repeat(len(points), 0), points)
    _expect(distances.shape == (len(places),) and distances[0] == 0, "distance", "[B], and 0 from a point to itself")
    _expect(bool((distances >= 0).all()), "distance", "no negative ones")
    if (walls := world.walls) is not None:
        number = walls.place(points)
        _expect(bool(walls.adjacent[number, number].all()), "walls.adjacent", "each place beside itself")
        _expect(bool((walls.adjacent == walls.adjacent.T).all()), "walls.adjacent", "the same in both directions")


def _check_simulation(world: World) -> None:
    space, goals = world.observation_space, world.goal_space
    region, rng = world.region(world.places[0]), np.random.default_rng(0)
    starts = [region.sample(rng) for _ in range(ENVS)]

    def run() -> list[np.ndarray]:
        simulation, actions = world.simulate(ENVS), np.random.default_rng(1)
        for env, start in enumerate(starts):
            simulation.reset(env, start)
        _expect(simulation.observations.shape == (ENVS, *space.shape), "simulation.observations", f"[envs, {space}]")
        _expect(simulation.observations.dtype == space.dtype, "simulation.observations", f"numbers of {space.dtype}")
        _expect(simulation.achieved.shape == (ENVS, goals.dim), "simulation.achieved", f"[envs, {goals.dim}]")
        near = goals.success(simulation.achieved, np.array(starts))
        _expect(bool(near.all()), "simulation.reset", "an environment that achieves its start")
        seen = [simulation.observations.copy()]
        for step in range(STEPS):
            simulation.step(sample_actions(world, ENVS, actions), np.arange(ENVS) != step)
            of = goals.of(simulation.observations)
            _expect(bool(np.allclose(of, simulation.achieved)), "goal_space.of", "what the simulation has achieved")
            seen.append(simulation.observations.copy())
        return seen

    same = zip(run(), run(), strict=True)
    _expect(all((a == b).all() for a, b in same), "simulation.step", "the same states for the same actions")
    observation = world.goal_observation(starts[0])
    fits = observation.shape == space.shape and observation.dtype == space.dtype
    _expect(fits, "goal_observation", f"an observation, {space}")
    achieves = goals.success(goals.of(observation[None]), starts[0][None])
    _expect(bool(achieves.all()), "goal_observation", "a state that achieves the goal")


def _check_behaviour(world: World) -> None:
    simulation, behaviour = world.simulate(ENVS), world.behaviour(ENVS)
    assert behaviour is not None
    start, goal = (world.region(world.places[i]).sample(np.random.default_rng(0)) for i in (0, -1))
    for env in range(ENVS):
        simulation.reset(env, start)
        behaviour.begin(env, Request(env, start, goal, STEPS, np.random.default_rng(env)))
    actions = behaviour.act(simulation.observations, np.zeros(ENVS, np.int64))
    like = sample_actions(world, ENVS, np.random.default_rng(0))
    _expect(actions.shape == like.shape and actions.dtype == like.dtype, "behaviour.act", f"{like.dtype} {like.shape}")
    _expect(all(world.action_space.contains(action) for action in actions), "behaviour.act", f"{world.action_space}")


def sample_actions(world: World, envs: int, rng: np.random.Generator) -> np.ndarray:
    """Random actions [envs, ...]."""
    if isinstance(world.action_space, Discrete):
        return rng.integers(int(world.action_space.n), size=envs)
    return rng.uniform(-1, 1, (envs, *world.action_space.shape)).astype(np.float32)
