"""What objectives make of data, of requests and of episodes, against slow loops."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import benchmark, make_episodes, random_walks
from test_configuration import spec as load
from test_evaluate import LINE, returns_of
from test_paths import walked

from stitchrl.data.paths import Future, Stitch
from stitchrl.objectives.goal import ReachGoal
from stitchrl.objectives.returns import CollectReturn
from stitchrl.spec import DatasetSpec, Target
from stitchrl.types import Condition, GoalMixture, Needs
from stitchrl.worlds.rollout import Request, Trajectory

GOALS = benchmark(load("pointmaze_umaze_regions"))
RETURNS = benchmark(load("pointmaze_umaze_returns"))
EARNING = {(1, 1): 0.2, (2, 3): 0.05, (3, 1): 1.0}  # by cell


def reward(xy: np.ndarray) -> float:
    """What a step earns that ends here, as the dataset's file says."""
    maze = RETURNS.world.maze
    return sum(rate for cell, rate in EARNING.items() if np.abs(xy - maze.to_xy(cell)).max() <= 0.5)


@pytest.mark.parametrize(
    "name, limits",
    [
        # Thrice the steps for the way and half a cell: 3 * (2 + 0.5) m at 3 m/s in steps of 0.01 s, and so on.
        ("pointmaze_umaze_regions", {"r1c1-to-r1c3": 250, "r3c1-to-r1c1": 650}),
        # 3 * (8 + 2) m and 3 * (24 + 2) m at 1.4 m/s in steps of 0.05 s, rounded up.
        ("antmaze_umaze_cut3", {"r1c1-to-r1c2": 258, "r3c1-to-r1c1": 1115}),
    ],
)
def test_the_step_limit_is_thrice_what_the_behaviour_needs(name: str, limits: dict[str, int]) -> None:
    tasks = {task.name: task for task in benchmark(load(name)).tasks}
    for task, limit in limits.items():
        assert limit <= tasks[task].step_limit <= limit + 1  # one more where the quotient is rounded up by a hair


@pytest.fixture(scope="module")
def walks():
    """Episodes all over the maze, with the rewards of the returns' dataset."""
    ways = [walk * 0.5 for walk in random_walks(count=60, longest=40)]
    return make_episodes(ways, [np.array([reward(xy) for xy in way[1:].astype(np.float32)]) for way in ways])


def paths(episodes, count=300):
    """With seams and without."""
    rows = episodes.transitions[torch.randint(len(episodes.transitions), (count,))]
    stitch = Stitch(p=0.7, clusters=8, hops=3, columns=[0, 1], detour=None, seed=0).bind(episodes)
    return [sample(rows, None, torch.Generator().manual_seed(0)) for sample in (Future().bind(episodes), stitch)]


def test_a_goal_is_a_whole_observation_at_every_step_of_a_path(walks) -> None:
    relabelling = GOALS.objective.relabel(walks)
    for path in paths(walks):
        assert relabelling.cut(path) is path
        goals = path.goal.flip(0)  # others than the paths' own, as a mixture may have it
        found = relabelling.conditions(path, goals, torch.zeros(len(goals), dtype=torch.bool))
        assert found.tolist() == [walks.observations[row].tolist() for row in goals.tolist()]
        along = relabelling.along(path, torch.arange(3).expand(len(goals), 3), found)
        assert along.shape == (len(goals), 3, 4) and all(torch.equal(along[:, k], found) for k in range(3))


def test_a_return_is_what_is_left_of_a_path_up_to_the_horizon_and_of_its_steps(walks) -> None:
    horizon = 12
    objective = benchmark(replace(RETURNS.spec, horizon=horizon)).objective
    relabelling, rewards = objective.relabel(walks), walks.rewards.tolist()
    most = max(
        sum(rewards[row : min(row + horizon, last)])
        for first, last in zip(walks.first.tolist(), walks.last.tolist(), strict=True)
        for row in range(first, last)
    )
    assert relabelling.scale == pytest.approx(most) and most > 1
    for path in paths(walks):
        cut = relabelling.cut(path)
        ways = [rows[: horizon + 1] for rows in walked(path)]
        assert cut.goal.tolist() == [rows[-1] for rows in ways]
        steps = torch.minimum(torch.arange(4), cut.length[:, None])
        expected = [
            [[sum(rewards[row] for row in rows[k:-1]) / most, (len(rows) - 1 - k) / horizon] for k in range(len(rows))]
            for rows in ways
        ]
        random = torch.arange(len(ways)) % 3 == 0
        found = relabelling.conditions(cut, cut.goal, random)
        own = torch.tensor([told[0] for told in expected])
        torch.testing.assert_close(found, torch.where(random[:, None], own.roll(1, 0), own), atol=1e-5, rtol=0)
        along = relabelling.along(cut, steps, found)
        told = torch.tensor([[told[int(k)] for k in ks] for told, ks in zip(expected, steps, strict=True)])
        torch.testing.assert_close(along, told, atol=1e-5, rtol=0)


def test_a_policy_is_asked_for_its_goal_in_its_own_environment_alone() -> None:
    conditioning = GOALS.objective.relabel(make_episodes([np.zeros((3, 2))])).conditioning(3)
    assert conditioning.conditions.shape == (3, 4) and conditioning.conditions.dtype == torch.float32
    conditioning.begin(1, Request(0, np.zeros(2), np.array([1.0, -1.0]), 5, np.random.default_rng(0)))
    conditioning.advance(np.ones((3, 4), np.float32), np.array([0, 2, 4]))
    assert conditioning.conditions.tolist() == [[0.0] * 4, [1.0, -1.0, 0.0, 0.0], [0.0] * 4]


def test_what_is_left_of_a_target_is_that_of_a_slow_loop_and_never_less_than_nothing(walks) -> None:
    objective, rng = RETURNS.objective, np.random.default_rng(0)
    conditioning = objective.relabel(walks).conditioning(4)
    scale, targets = objective.relabel(walks).scale, [0.5, 3.0, 10.0, 0.0]
    for env, target in enumerate(targets):
        conditioning.begin(env, Request(env, np.zeros(2), np.zeros(2), 250, rng, target=target, stays=True))
    left = list(targets)
    for step in range(12):
        xy = rng.uniform(-1.5, 1.5, (4, 2)).astype(np.float32)
        conditioning.advance(np.concatenate([xy, np.zeros_like(xy)], 1), np.full(4, step))
        left = [part - (reward(point) if step else 0) for part, point in zip(left, xy, strict=True)]
        expected = [[max(part, 0) / scale, 1 - step / 250] for part in left]
        torch.testing.assert_close(conditioning.conditions, torch.tensor(expected), atol=1e-5, rtol=0)
    assert min(left) < 0 < max(left)


def trajectory(xy: np.ndarray, request: Request, reached: bool) -> Trajectory:
    observations = np.concatenate([xy, np.zeros_like(xy)], 1).astype(np.float32)
    return Trajectory(request, observations, observations[:, :2], np.zeros((len(xy) - 1, 2), np.float32), reached)


def test_episodes_earn_and_score_as_a_slow_loop_says(walks) -> None:
    for way in random_walks(count=30, longest=30, seed=4):
        way = (way * 0.5).astype(np.float32)
        goal, limit = way[len(way) // 2].astype(np.float64), 20
        request = Request(0, way[0], goal, limit, np.random.default_rng(0), target=2.0)
        reached = bool(np.hypot(*(way[-1] - goal)) <= 0.45)
        there = [float(np.hypot(*(xy - goal)) <= 0.45) for xy in way[1:]]
        assert GOALS.objective.earned(trajectory(way, request, reached)).tolist() == there
        score = GOALS.objective.score(trajectory(way, request, reached))
        tight = reached and len(way) - 1 <= limit / 2
        assert score == {"success": reached, "tight_success": tight, "goal": [round(float(x), 4) for x in goal]}
        earned = [reward(xy) for xy in way[1:]]
        assert RETURNS.objective.earned(trajectory(way, request, False)) == pytest.approx(earned)
        score = RETURNS.objective.score(trajectory(way, request, False))
        assert score["return"] == pytest.approx(sum(earned), abs=1e-4)
        assert score["success"] == (sum(earned) >= 2 - 1e-6) and (score["target"], score["goal"]) == (2.0, None)


def test_who_is_asked_for_returns_is_told_what_can_be_learned_from_them() -> None:
    trajectory_goals = GoalMixture(0, 1, 0)
    RETURNS.objective.check("a", Needs(trajectory_goals, rewards=True), "future", augments=False)
    with pytest.raises(ValueError, match="told nothing of what lies ahead, goals=stitch changes nothing"):
        RETURNS.objective.check("a", Needs(trajectory_goals, rewards=True), "stitch", augments=True)
    GOALS.objective.check("a", Needs(GoalMixture(0.2, 0.5, 0.3), trajectory_goals, 3), "stitch", augments=True)
    with pytest.raises(ValueError, match="agent a: learns from rewards, but dataset pointmaze-umaze-regions-v0 asks"):
        GOALS.objective.check("a", Needs(trajectory_goals, rewards=True), "future", augments=False)


def test_a_way_leads_away_where_the_walk_to_the_goal_is_longer_afterwards() -> None:
    """On one side of the U's wall and on the other: nearer in the air is farther on foot."""
    here, later, goals = (np.array([[*xy, 0, 0]], np.float32) for xy in ((0.0, 1.0), (-0.5, 0.6), (-1.0, -1.0)))
    assert GOALS.objective.leads_away(here, later, goals).tolist() == [True]
    assert GOALS.objective.leads_away(later, here, goals).tolist() == [False]
    assert RETURNS.objective.leads_away(here, later, goals) is None


def test_no_piece_may_hold_both_a_start_and_where_most_is_earned() -> None:
    (part,) = RETURNS.objective.parted()
    assert (part.name, part.start.center, part.goal.center) == ("r1c2-return-100", (0.0, 1.0), (-1.0, -1.0))
    assert (part.start.half, part.goal.half, part.expect) == (0.25, 0.5, "unseen")
    assert [task.name for task in GOALS.objective.parted()] == ["r3c1-to-r1c1", "r1c1-to-r3c1"]


# A world of a line


@pytest.mark.parametrize(("columns", "shown"), [((1, 0), (1, 0)), ((2,), (2,)), (None, (0, 1, 2))])
def test_a_goal_is_shown_in_the_columns_that_state_it_in_its_world(columns, shown):
    world = copy(LINE)
    world.goal_space = replace(LINE.goal_space, columns=columns)
    objective = ReachGoal(DatasetSpec("line", None, "goals", (), (), ()), world)
    assert objective.condition == Condition(len(shown), shown)


def test_adopted_episodes_earn_what_the_specification_says_whatever_they_earned_before(capsys):
    """They step into the place in their first step, and out of it in their third."""
    episodes = make_episodes([np.array([[0, 0], [3, 0], [3, 0], [9, 0]])] * 2, [np.full(3, 0.5)] * 2)
    adopted = returns_of([((3, 0), 2.0)], [((0, 0), 4.0)], 3).adopt("theirs", episodes)
    assert adopted.rewards[adopted.transitions].tolist() == [2, 2, 0] * 2
    assert torch.isnan(adopted.rewards[adopted.last]).all()
    assert "theirs: 100.0% of its rewards are not what dataset line-returns-v0 gives" in capsys.readouterr().err


def test_a_cut_parts_an_unseen_returns_start_from_every_place_that_earns_most():
    spec = returns_of([((1, 1), 2.0), ((5, 1), 2.0), ((9, 1), 1.0)], [], 3).spec
    targets = (Target((0, 0), 3.0, "unseen"), Target((4, 4), 3.0, "seen"))
    parted = CollectReturn(replace(spec, targets=targets), LINE).parted()
    assert [(task.start.center, task.goal.center) for task in parted] == [((0, 0), (1, 1)), ((0, 0), (5, 1))]
