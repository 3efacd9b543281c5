"""What a policy is shown in an evaluation: in every env the last steps of the env's own episode, and its goal."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from stitchrl.evaluate import Evaluator, PolicyController
from stitchrl.objectives.goal import GoalConditioning, ReachGoal
from stitchrl.objectives.returns import CALIBRATION, CALIBRATION_EPISODES, CollectReturn, ReturnConditioning
from stitchrl.spec import DatasetSpec, Reward, Target
from stitchrl.types import Region, Task
from stitchrl.worlds.rollout import Request, VectorRollout, run
from stitchrl.worlds.world import GoalSpace


def goal_observation(xy):
    return np.array([*xy, -1], np.float32)


class Walkers:
    """Bodies that go one metre along x in a step, whatever the actions; every state has a number of its own, last."""

    def __init__(self, envs):
        self.observations = np.zeros((envs, 3), np.float32)
        self.count = 0

    @property
    def achieved(self):
        return self.observations[:, :2]

    def reset(self, env, start):
        self._arrive(env, start)

    def step(self, actions, active):
        for env in np.flatnonzero(active):
            self._arrive(env, self.observations[env, :2] + [1, 0])

    def _arrive(self, env, xy):
        self.count += 1
        self.observations[env] = [*xy, self.count]


class Line:
    """A world of walkers. A place is a point, and where it counts as one is 0.2 to each side of it."""

    observation_space, action_space = (Box(-np.inf, np.inf, (dim,), np.float32) for dim in (3, 2))
    goal_space = GoalSpace(2, of=lambda observations: observations[..., :2], radius=0.45, columns=(0, 1))
    spacing = 0.4
    goal_observation = staticmethod(goal_observation)

    def label(self, place):
        return f"x{place[0]}y{place[1]}"

    def region(self, place):
        return Region(tuple(map(float, place)))

    def simulate(self, envs):
        return Walkers(envs)


LINE = Line()
GOALS = ReachGoal(DatasetSpec("line", None, "goals", (), (), ()), LINE)


def make_evaluator(tasks, episodes, seed=0, objective=GOALS, scale=None):
    """scale: of returns, where they are asked for."""

    def conditioning(envs):
        return GoalConditioning(LINE, envs) if scale is None else ReturnConditioning(objective, envs, scale)

    return Evaluator(LINE, objective, tasks, episodes, seed, 1, conditioning)


def returns_of(rewards, targets, horizon):
    """Places and rates; places and values."""
    spec = DatasetSpec("line", None, "returns", (), (), (), horizon=horizon)
    earned = tuple(Reward(place, rate) for place, rate in rewards)
    asked = tuple(Target(start, value, "seen") for start, value in targets)
    return CollectReturn(replace(spec, rewards=earned, targets=asked), LINE)


class Recorder:
    """A policy that keeps a copy of what it is shown. Its action tells the number of the newest state."""

    def __init__(self):
        self.shown = []

    def __call__(self, shown, goals):
        self.shown.append(deepcopy((shown, goals)))
        if isinstance(shown, torch.Tensor):
            newest = shown
        else:
            newest = shown.observations[torch.arange(len(goals)), shown.valid.sum(1) - 1]
        return newest[:, 2:] * torch.tensor([1, -1])


def evaluate(window, envs):
    """What a policy was shown in all its calls, and the episodes, of 1 to 8 steps; every third arrives at its goal."""
    rng, policy = np.random.default_rng(0), Recorder()
    requests = []
    for number in range(20):
        steps = int(rng.integers(1, 9))
        goal = np.array([steps if number % 3 == 0 else 100.0, number])
        requests.append(Request(number, np.array([0.0, number]), goal, limit=steps, rng=rng))
    rollout = VectorRollout(Walkers(envs), PolicyController(policy, LINE, GoalConditioning(LINE, envs), window))
    trajectories = list(run([rollout], requests, LINE.goal_space.success))
    assert len(trajectories) == 20 and {trajectory.reached for trajectory in trajectories} == {True, False}
    return policy.shown, trajectories


def number(observation):
    """The number of a state."""
    return int(observation[2])


@pytest.mark.parametrize("window", [1, 3, 12])
@pytest.mark.parametrize("envs", [1, 4, 32])
def test_a_sequence_model_is_shown_the_last_steps_of_each_lanes_own_episode(window, envs):
    """The oldest first; the action that is to be found is zero. Environments end at different times and begin anew."""
    shown, trajectories = evaluate(window, envs)
    expected = {}
    for request, observations, _, actions, _ in trajectories:
        assert np.array_equal(actions, observations[:-1, 2:] * [1, -1])
        for step in range(len(actions)):
            first = max(0, step + 1 - window)
            taken = np.concatenate([actions[first:step], np.zeros((1, 2))])
            expected[number(observations[step])] = observations[first : step + 1], taken, goal_observation(request.goal)
    for (all_observations, all_actions, all_valid, all_asked), goals in shown:
        assert all_observations.shape == (envs, window, 3) and all_actions.shape == (envs, window, 2)
        assert all_asked.shape == (envs, window, 3)
        parts = zip(all_observations, all_actions, all_valid, all_asked, goals, strict=True)
        for observations, actions, valid, asked, goal in parts:
            count = int(valid.sum())
            assert valid.tolist() == [True] * count + [False] * (window - count)
            newest = number(observations[count - 1])
            if newest in expected:  # or else the env is not in use
                assert all(map(np.array_equal, (observations[:count], actions[:count], goal), expected.pop(newest)))
                assert torch.equal(asked[:count], goal.expand(count, -1))
    assert expected == {}


@pytest.mark.parametrize("envs", [1, 4, 32])
def test_without_a_window_a_policy_is_shown_each_lanes_state_and_goal(envs):
    shown, trajectories = evaluate(None, envs)
    expected = {
        number(observation): (observation, goal_observation(request.goal))
        for request, observations, *_ in trajectories
        for observation in observations[:-1]
    }
    for observations, goals in shown:
        assert observations.shape == goals.shape == (envs, 3)
        for pair in zip(observations, goals, strict=True):
            expected_pair = expected.pop(number(pair[0]), pair)  # itself where the env is not in use
            assert all(map(np.array_equal, pair, expected_pair))
    assert expected == {}


def test_every_fleet_multiplies_in_one_thread():
    """A bug once: each new thread took all cores for its products, and evaluations beside others 40 times as long."""
    threads = []

    class Policy(Recorder):
        def __call__(self, shown, goals):
            threads.append(torch.get_num_threads())
            return super().__call__(shown, goals)

    requests = [Request(i, np.zeros(2), np.ones(2) * 100, limit=3, rng=np.random.default_rng(i)) for i in range(12)]
    rollouts = [
        VectorRollout(Walkers(4), PolicyController(Policy(), LINE, GoalConditioning(LINE, 4))) for _ in range(3)
    ]
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert len(list(run(rollouts, requests, LINE.goal_space.success))) == 12
    finally:
        torch.set_num_threads(before)
    assert set(threads) == {1}


def test_an_episode_succeeds_under_the_tight_limit_if_it_arrives_within_half_of_its_limit():
    """All arrive with their fourth step, if it is granted to them."""
    tasks = [Task(str(limit), Region((0, 0)), Region((4, 0)), "seen", step_limit=limit) for limit in (3, 4, 7, 8, 9)]
    rows, _ = make_evaluator(tasks, episodes=1).evaluate(Recorder())
    assert [row["success"] for row in rows] == [False, True, True, True, True]
    assert [row["tight_success"] for row in rows] == [False, False, False, True, True]


# Returns: a walker earns 2 for the step that ends at x = 2.

HORIZON, SCALE = 8, 5.0
ALONG = returns_of([((2, y), 2.0) for y in range(20)], [((0, 0), 1.0)], HORIZON)


def asked_at_each_step(target, steps):
    """What is shown at each step of an episode from x = 0: the step to x = 2 earns, which is seen from there on."""
    left = [target - 2 * (step >= 2) for step in range(steps)]
    return torch.tensor([[max(part, 0) / SCALE, 1 - step / HORIZON] for step, part in enumerate(left)])


@pytest.mark.parametrize("window", [None, 1, 3, 12])
@pytest.mark.parametrize("envs", [1, 4])
def test_what_is_left_of_a_return_and_its_horizon_shrinks_step_by_step(window, envs):
    """The window holds what was left at its earlier steps. Environments begin anew with the whole of their targets."""
    policy, requests = Recorder(), []
    for i in range(10):
        start = np.array([0.0, i])
        requests.append(Request(i, start, start, HORIZON, np.random.default_rng(0), target=i / 2, stays=True))
    rollout = VectorRollout(
        Walkers(envs), PolicyController(policy, LINE, ReturnConditioning(ALONG, envs, SCALE), window)
    )
    trajectories = list(run([rollout], requests, LINE.goal_space.success))
    assert [len(trajectory.actions) for trajectory in trajectories] == [HORIZON] * 10
    expected = {}
    for request, observations, *_ in trajectories:
        asked = asked_at_each_step(request.target, HORIZON)
        for step in range(HORIZON):
            expected[number(observations[step])] = asked[max(0, step + 1 - (window or 1)) : step + 1]
    for shown, conditions in policy.shown:
        for env in range(envs):
            if window is None:
                newest, asked = shown[env], conditions[env : env + 1]
            else:
                count = int(shown.valid[env].sum())
                newest, asked = shown.observations[env, count - 1], shown.conditions[env, :count]
            assert torch.equal(asked[-1], conditions[env])
            if number(newest) in expected:  # or else the env is not in use
                torch.testing.assert_close(asked, expected.pop(number(newest)))
    assert expected == {}


# From (-1, 1) and (-1, -1), of which only the first leads through what earns.
EARNING = returns_of([((1, 1), 2.0)], [((-1, 1), 2.0), ((-1, 1), 4.0), ((-1, -1), 1.0)], 6)


def test_a_return_task_is_a_success_if_its_target_is_collected_and_runs_to_its_horizon():
    evaluator = make_evaluator(EARNING.tasks, episodes=2, objective=EARNING, scale=SCALE)
    rows, trajectories = evaluator.evaluate(Recorder())
    assert [(row["task"], row["success"], row["target"], row["return"]) for row in rows] == [
        *[("x-1y1-return-2", True, 2.0, 2.0)] * 2,
        *[("x-1y1-return-4", False, 4.0, 2.0)] * 2,
        *[("x-1y-1-return-1", False, 1.0, 0.0)] * 2,
    ]
    assert all(row["length"] == 6 and row["goal"] is None and row["first_hit"] is None for row in rows)
    assert [len(trajectory.actions) for trajectory in trajectories] == [6] * 6


def test_a_calibration_tells_what_comes_of_each_target_up_to_beyond_the_highest_from_each_start():

    def evaluate(tasks, episodes):
        return make_evaluator(tasks, episodes, objective=EARNING, scale=SCALE).evaluate(Recorder())[0]

    rows = EARNING.calibration(evaluate)
    count = len(CALIBRATION)
    assert [row["start"] for row in rows] == ["x-1y1"] * count + ["x-1y-1"] * count
    assert [row["target"] for row in rows[:count]] == pytest.approx(4 * CALIBRATION, abs=1e-4)
    assert [row["target"] for row in rows[count:]] == pytest.approx(CALIBRATION, abs=1e-4)
    assert [row["achieved"] for row in rows] == [2.0] * count + [0.0] * count
    assert {row["episodes"] for row in rows} == {CALIBRATION_EPISODES}
