"""Physics against gymnasium-robotics' own step, episodes against the number of workers, the ant's symmetries."""

import itertools
import tempfile
import threading

import mujoco
import numpy as np
import pytest
import torch
from conftest import world

from stitchrl.worlds import make_world
from stitchrl.worlds.maze.ant_controller import Actor, features, motors
from stitchrl.worlds.rollout import Request, VectorRollout, run
from stitchrl.worlds.world import GoalSpace

RADIUS = 0.45
ENVS = {"pointmaze": 4, "antmaze": 8}
LIMIT = {"pointmaze": 250, "antmaze": 50}
both_bodies = pytest.mark.parametrize("name", ENVS)


def make_requests(world, count, limit):
    """Episodes between random cells, every third with too few steps to arrive."""
    requests = []
    for number in range(count):
        rng = np.random.default_rng([5, number])
        start, goal = (world.maze.to_xy(world.maze.cells[i]) for i in rng.permutation(len(world.maze.cells))[:2])
        requests.append(Request(number, start, goal, limit if number % 3 else 10, rng))
    return requests


def run_behaviour(world, requests, envs, workers):
    """Trajectories of the world's behaviour by episode number."""
    rollouts = [VectorRollout(world.simulate(envs), world.behaviour(envs)) for _ in range(workers)]
    ended = run(rollouts, requests, within)
    return {trajectory.request.number: trajectory for trajectory in ended}


def within(achieved, goals):
    """Success, of both bodies."""
    return np.hypot(*(achieved - goals).T) <= RADIUS


def same(a, b):
    """Whether two trajectories are equal to the last bit."""
    arrays = zip((a.observations, a.achieved, a.actions), (b.observations, b.achieved, b.actions), strict=True)
    return a.reached == b.reached and all(np.array_equal(*pair) for pair in arrays)


# Physics


def test_the_points_simulation_equals_the_environments_step_against_walls():
    place = world("pointmaze", "medium")
    env, simulation, rng = place.environment(), place.simulate(envs=3), np.random.default_rng(0)
    state, _ = env.reset(seed=0)
    simulation.reset(1, state["achieved_goal"])
    touching = 0
    for step in range(300):
        if step % 30 == 0:
            push = rng.uniform(-1.5, 1.5, 2)  # held for a while, so that the point runs into walls
        action = (push + rng.normal(0, 0.3, 2)).astype(np.float32)
        state = env.step(action)[0]
        simulation.step(np.stack([np.zeros(2), action, -action]).astype(np.float32), np.ones(3, bool))
        np.testing.assert_allclose(simulation.observations[1], state["observation"], rtol=0, atol=1e-6)
        touching += env.data.ncon > 0
    assert touching > 50


def test_the_ants_simulation_equals_the_environments_step_to_the_bit():
    place = world("antmaze", "umaze")
    env, simulation, rng = place.environment(), place.simulate(envs=2), np.random.default_rng(0)
    state, _ = env.reset(seed=0)
    simulation.reset(1, env.reset_pos)
    for _ in range(100):
        expected = np.concatenate([state["achieved_goal"], state["observation"]]).astype(np.float32)
        assert np.array_equal(simulation.observations[1], expected)
        action = rng.uniform(-1, 1, 8).astype(np.float32)
        state = env.step(action)[0]
        simulation.step(np.stack([-action, action]), np.array([False, True]))


@both_bodies
def test_an_environment_that_is_reset_forgets_what_came_before(name):
    place = world(name, "umaze")
    simulation, rng = place.simulate(envs=1), np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (20, 1, *place.action_space.shape)).astype(np.float32)
    ends = []
    for _ in range(2):
        simulation.reset(0, place.maze.to_xy((1, 1)))
        for action in actions:
            simulation.step(action, np.ones(1, bool))
        ends.append(simulation.observations.copy())
    assert np.array_equal(*ends)


@both_bodies
def test_a_goal_observation_is_a_body_at_rest_at_the_goal(name):
    place = world(name, "umaze")
    simulation, xy = place.simulate(envs=1), place.maze.to_xy((3, 2))
    simulation.reset(0, xy)
    assert np.array_equal(place.goal_observation(xy), simulation.observations[0])


@both_bodies
def test_making_an_environment_leaves_no_file_behind(name, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    world(name, "umaze").environment()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_world_is_refused_by_name():
    with pytest.raises(ValueError, match=r"dataset\.world: 'humanoid' is not one of antmaze, pointmaze"):
        world("humanoid", "umaze")
    with pytest.raises(ValueError, match=r"world\._target_: 'nolab\.World' cannot be imported"):
        make_world({"_target_": "nolab.World"}, None)
    point = {"_target_": "stitchrl.worlds.maze.point.PointMaze", "name": "pointmaze", "agents": {}}
    with pytest.raises(ValueError, match=r"world: missing .* 'maze'; keywords of stitchrl\.worlds\.maze\.point"):
        make_world(point, None)
    with pytest.raises(ValueError, match=r"world: got an unexpected keyword argument 'gravity'"):
        make_world(point | {"gravity": 1}, "umaze")


def test_where_the_radius_of_success_is_0_goals_must_be_equal():
    space = GoalSpace(dim=3, of=lambda observations: observations)
    goals = np.array([[1.0, 2, 3], [1, 2, 4]])
    assert space.success(np.array([1.0, 2, 3]), goals).tolist() == [True, False]


# Episodes in envs


@both_bodies
def test_two_workers_run_the_same_episodes_as_one(name):
    place, envs = world(name, "umaze"), ENVS[name]
    one, two = (run_behaviour(place, make_requests(place, 7, LIMIT[name]), envs, workers) for workers in (1, 2))
    assert one.keys() == two.keys() == set(range(7))
    assert all(same(one[number], two[number]) for number in one)


def test_an_episode_does_not_depend_on_the_episodes_beside_it():
    place = world("pointmaze", "umaze")
    together = run_behaviour(place, make_requests(place, 7, 250), envs=4, workers=1)
    for number in (1, 5):
        alone = run_behaviour(place, [make_requests(place, 7, 250)[number]], envs=4, workers=1)
        assert same(alone[number], together[number])


def test_an_episode_ends_at_its_first_step_within_the_radius_or_at_its_limit():
    place = world("pointmaze", "umaze")
    trajectories = run_behaviour(place, make_requests(place, 12, 600), envs=4, workers=1).values()
    for request, observations, achieved, actions, reached in trajectories:
        assert np.array_equal(achieved, observations[:, :2])
        assert np.array_equal(observations[0], [*request.start.astype(np.float32), 0, 0])
        assert len(observations) == len(actions) + 1
        arrived = np.hypot(*(observations[1:, :2] - request.goal).T) <= RADIUS
        assert not arrived[:-1].any() and arrived[-1] == reached
        assert reached or len(actions) == request.limit
    assert {trajectory.reached for trajectory in trajectories} == {True, False}


def test_more_environments_than_episodes_are_no_matter():
    place = world("pointmaze", "umaze")
    assert run_behaviour(place, make_requests(place, 2, 50), envs=4, workers=1).keys() == {0, 1}
    assert run_behaviour(place, [], envs=4, workers=1) == {}


class Statues:
    """Bodies that stay where they are."""

    def __init__(self):
        self.observations = self.achieved = np.zeros((2, 2), np.float32)

    def reset(self, env, start): ...

    def step(self, actions, active): ...


class Mime:
    """A controller of statues, which fails after so many calls."""

    def __init__(self, calls=float("inf")):
        self.calls = calls  # that are left

    def begin(self, env, request): ...

    def act(self, observations, steps):
        self.calls -= 1
        if self.calls < 0:
            raise RuntimeError("the controller failed")
        return np.zeros((2, 1), np.float32)


def many_requests(limit):
    """As good as endless: to a place that no statue comes to."""
    return (Request(number, np.zeros(2), np.ones(2), limit, np.random.default_rng(0)) for number in range(100_000))


def all_stopped(requests, before):
    """Whether no thread runs that did not run before, and requests are left."""
    return set(threading.enumerate()) <= before and next(requests, None) is not None


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize("limit", [3, 100_000], ids=["between episodes", "within an episode"])
def test_a_failing_controller_stops_all_rollouts_and_its_error_reaches_the_caller(failing, limit):
    requests, before = many_requests(limit), set(threading.enumerate())
    controllers = [Mime(calls=5 if i == failing else float("inf")) for i in range(2)]
    with pytest.raises(RuntimeError, match="the controller failed"):
        for trajectory in run([VectorRollout(Statues(), controller) for controller in controllers], requests, within):
            assert len(trajectory.actions) == limit < 100_000  # the long ones are given up
    assert all_stopped(requests, before)


def test_closing_the_episodes_early_stops_all_rollouts():
    requests, before = many_requests(limit=3), set(threading.enumerate())
    ended = run([VectorRollout(Statues(), Mime()), VectorRollout(Statues(), Mime())], requests, within)
    next(ended)
    ended.close()
    assert all_stopped(requests, before)


def test_fewer_requests_than_environments_are_shared_out_among_the_rollouts():
    class Noted(Mime):
        def __init__(self):
            super().__init__()
            self.envs = []

        def begin(self, env, request):
            self.envs.append(env)

    controllers = [Noted(), Noted()]
    requests = itertools.islice(many_requests(limit=3), 3)
    assert len(list(run([VectorRollout(Statues(), controller) for controller in controllers], requests, within))) == 3
    assert [controller.envs for controller in controllers] == [[0, 1], [0]]


# The ant's symmetries. A state is (qpos [15], qvel [14]) in one vector [29].


def product(a, b):
    """Of two quaternions, w first."""
    return np.concatenate([[a[0] * b[0] - a[1:] @ b[1:]], a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])])


def about_z(angle):
    """The quaternion and the matrix [2, 2] of a turn about the vertical."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([np.cos(angle / 2), 0, 0, np.sin(angle / 2)]), np.array([[cos, -sin], [sin, cos]])


def turned(state, angle):
    """The ant turned about the vertical through the origin."""
    quaternion, matrix = about_z(angle)
    state = state.copy()
    state[:2], state[15:17] = matrix @ state[:2], matrix @ state[15:17]
    state[3:7] = product(quaternion, state[3:7])
    return state


def relabelled(state):
    """The same ant to the eye: the torso a quarter turn on in its own frame, each leg where the next one was."""
    quaternion, matrix = about_z(np.pi / 2)
    state = state.copy()
    state[3:7] = product(state[3:7], quaternion)
    state[18:20] = matrix.T @ state[18:20]
    sign = np.array([1, -1, -1, 1])
    for joints in (slice(7, 15), slice(21, 29)):
        legs = state[joints].reshape(4, 2) * np.stack([np.ones(4), sign], 1)
        state[joints] = (np.roll(legs, -1, 0) * np.stack([np.ones(4), sign], 1)).ravel()
    return state


def random_ant(height):
    """A tilted ant that moves, its joints within their range."""
    rng = np.random.default_rng(3)
    state = np.concatenate([rng.normal(0, 0.1, 15), rng.normal(0, 0.3, 14)])
    state[2] = height
    state[3:7] = product(about_z(0.4)[0], np.array([1, *state[4:7]]))
    state[3:7] /= np.linalg.norm(state[3:7])
    state[8:15:2] += np.radians([50, -50, -50, 50])
    return state


@pytest.fixture(scope="module")
def model():
    """The ant in the dev maze, without its walls."""
    model = world("antmaze", "dev").environment().model
    for geom in range(model.ngeom):
        if model.geom(geom).name.startswith("block"):
            model.geom_contype[geom] = model.geom_conaffinity[geom] = 0
    return model


@torch.no_grad()
def walk(model, state, target, steps=10):
    """States [steps, 29] of an ant that walks under a random actor."""
    torch.manual_seed(0)
    actor, data, states = Actor(), mujoco.MjData(model), []
    actor.mean.weight *= 10  # so that it does not merely twitch
    data.qpos[:], data.qvel[:] = state[:15], state[15:]
    for _ in range(steps):
        observation = torch.from_numpy(np.concatenate([data.qpos, data.qvel]).astype(np.float32))[None]
        x, quarters = features(observation, torch.from_numpy(target.astype(np.float32))[None])
        data.ctrl[:] = motors(actor(x)[0].tanh(), quarters)[0]
        mujoco.mj_step(model, data, 5)
        states.append(np.concatenate([data.qpos, data.qvel]))
    return np.array(states)


TARGET = np.array([1.3, 2.1])


# MuJoCo's friction pyramids are the same after a quarter turn only; any other turn is tried in the air.
@pytest.mark.parametrize("quarters, height", [(1, 0.6), (2, 0.6), (3, 0.6), (0.3, 3.0), (1.7, 3.0)])
def test_the_ant_walks_alike_after_any_turn_of_the_world(model, quarters, height):
    angle = quarters * np.pi / 2
    expected = np.array([turned(state, angle) for state in walk(model, random_ant(height), TARGET)])
    found = walk(model, turned(random_ant(height), angle), about_z(angle)[1] @ TARGET)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_the_ant_walks_alike_after_a_renumbering_of_its_legs(model, times):
    def renumbered(state):
        for _ in range(times):
            state = relabelled(state)
        return state

    expected = np.array([renumbered(state) for state in walk(model, random_ant(0.6), TARGET)])
    np.testing.assert_allclose(walk(model, renumbered(random_ant(0.6)), TARGET), expected, atol=1e-3)


@pytest.mark.parametrize("angle", [0.5, 2.0, 3.5, 5.0])
def test_the_controllers_input_is_the_same_after_any_turn(angle):
    state = random_ant(0.6)
    ants = torch.from_numpy(np.stack([state, turned(state, angle), relabelled(state)]).astype(np.float32))
    targets = np.stack([TARGET, about_z(angle)[1] @ TARGET, TARGET]).astype(np.float32)
    x, _ = features(ants, torch.from_numpy(targets))
    torch.testing.assert_close(x[1:], x[:1].expand(2, -1), atol=1e-5, rtol=0)
