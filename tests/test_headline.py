"""Numbers that a headline rests on, each made by hand: limits, ceilings, radii, seeds, segments, jumps."""

import hashlib
from dataclasses import replace
from itertools import islice, pairwise

import h5py
import numpy as np
import pytest
import torch
from conftest import benchmark, make_episodes, world
from gymnasium.spaces import Box
from test_configuration import spec as load
from test_evaluate import Recorder, make_evaluator, returns_of

from stitchrl.audit.achieved import Achieved, at_columns
from stitchrl.audit.certificate import Audited, tasks_sha256
from stitchrl.audit.goals import GOALS
from stitchrl.audit.returns import RETURNS
from stitchrl.audit.survey import distances
from stitchrl.benchmark import collect, store
from stitchrl.data.formats import d4rl, minari, open_source, source, write
from stitchrl.data.formats.source import of_episodes
from stitchrl.data.paths import Stitch
from stitchrl.objectives.regions import step_limit
from stitchrl.types import Region, ReturnTask, Task
from stitchrl.worlds.maze.known import find_tasks
from stitchrl.worlds.maze.maps import MAPS, Maze
from stitchrl.worlds.maze.point import PointMaze
from stitchrl.worlds.rollout import Request, VectorRollout, run

RADIUS = 0.45  # metres within which a goal is reached, of both bodies

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


# ---- Tasks: regions, limits, success -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, limits",
    [
        # three times (path + half a cell) over the metres in a step: 0.03 of the point, 0.07 of the ant
        ("pointmaze_umaze_regions", {2.0: 250, 6.0: 650}),
        ("antmaze_umaze_regions", {8.0: 429, 24.0: 1115}),
    ],
)
def test_a_task_is_granted_three_times_the_steps_that_the_behaviour_needs(name, limits):
    spec = load(name)
    regions = benchmark(spec)
    maze = regions.world.maze
    assert {task.path_length: task.step_limit for task in regions.tasks} == limits
    for task, (start, goal) in zip(regions.tasks, spec.seen + spec.unseen, strict=True):
        scale = maze.scale
        expect = "seen" if (start, goal) in spec.seen else "unseen"
        assert task.expect == expect and task.name == f"r{start[0]}c{start[1]}-to-r{goal[0]}c{goal[1]}"
        assert task.start == Region(tuple(maze.to_xy(start).tolist()), 0.25 * scale, 0.0)
        assert task.goal == Region(tuple(maze.to_xy(goal).tolist()), 0.25 * scale, RADIUS)


def test_the_speeds_and_steps_of_both_bodies():
    """What limits, horizons and contradiction rates follow from."""
    point, ant = world("pointmaze", "umaze"), world("antmaze", "umaze")
    assert (point.speed, point.control_step, point.maze.scale) == (3.0, 0.01, 1.0)
    assert (ant.speed, ant.control_step, ant.maze.scale) == (1.4, 0.05, 4.0)


@pytest.mark.parametrize("apart, success", [(0.44, True), (0.46, False), (0.49, False)])
def test_an_evaluated_episode_succeeds_within_45_centimetres_of_its_goal(apart, success):
    """Walkers go one metre in a step; the first of four brings them `apart` from the goal, and the rest beyond."""
    task = Task("t", Region((apart - 1, 0)), Region((0, 0)), "seen", step_limit=4)
    (row,), _ = make_evaluator([task], episodes=1).evaluate(Recorder())
    assert row["success"] == success and row["length"] == (1 if success else 4)


def test_goals_of_evaluation_are_drawn_from_the_box_and_not_from_where_it_would_be_reached():
    task = Task("t", Region((0, 0), 0.5), Region((30, 3), 0.25, 2.0), "seen", step_limit=2)
    evaluator = make_evaluator([task], episodes=200)
    goals, starts = (np.array([getattr(request, key) for request in evaluator.requests]) for key in ("goal", "start"))
    assert 0.24 < np.abs(goals - [30, 3]).max() <= 0.25 and 0.47 < np.abs(starts).max() <= 0.5
    assert {request.limit for request in evaluator.requests} == {2}


def test_evaluated_starts_and_goals_do_not_depend_on_how_many_episodes_or_other_tasks_there_are():
    tasks = [Task(str(i), Region((i, 0), 0.4), Region((i + 9, 0), 0.4), "seen", step_limit=2) for i in range(3)]
    few = make_evaluator(tasks[:2], episodes=3, seed=5).requests
    many = make_evaluator(tasks, episodes=7, seed=5).requests
    for i in range(2):
        for episode in range(3):
            a, b = few[3 * i + episode], many[7 * i + episode]
            assert np.array_equal(a.start, b.start) and np.array_equal(a.goal, b.goal)
    other = make_evaluator(tasks, episodes=7, seed=6).requests
    assert not any(np.array_equal(a.start, b.start) for a, b in zip(many, other, strict=True))


# ---- The behaviour: ceilings, seeds, waypoints ---------------------------------------------------------------------


class Sliders:
    """Bodies that slide as their actions say, through walls."""

    def __init__(self, envs):
        self.observations = np.zeros((envs, 2), np.float32)

    @property
    def achieved(self):
        return self.observations

    def reset(self, env, start):
        self.observations[env] = start

    def step(self, actions, active):
        self.observations[active] += actions[active]


class Punctual:
    """Stands still, and is at the goal after so many steps; after one step more where the start lies left of `x`."""

    def __init__(self, envs, steps, x):
        self.steps, self.x, self.way, self.late = steps, x, np.zeros((envs, 2), np.float32), np.zeros(envs, bool)

    def begin(self, env, request):
        self.way[env], self.late[env] = request.goal - request.start, request.start[0] < self.x

    def act(self, observations, steps):
        return np.where((steps + 1 == self.steps + self.late)[:, None], self.way, 0)


class Appointed(PointMaze):
    """A world in which bodies arrive when it is said."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float32)

    def __init__(self, maze, make_behaviour):
        super().__init__(maze)
        self.behaviour = make_behaviour

    def simulate(self, envs):
        return Sliders(envs)


def ceilings(spec, steps, x):
    """What is found of a behaviour that arrives after so many steps; one more where it starts left of x."""
    appointed = Appointed("umaze", lambda envs: Punctual(envs, steps, x))
    return collect.measure_ceilings(benchmark(spec, appointed), 1)


def test_a_ceiling_is_the_share_of_the_behaviours_episodes_that_arrive_within_the_tasks_own_limit():
    """Tasks of 250 steps and of 650. Half of the starts of a cell lie left of its middle."""
    spec = load("pointmaze_umaze_regions")
    names = [f"r{a[0]}c{a[1]}-to-r{b[0]}c{b[1]}" for a, b in spec.seen + spec.unseen]
    everyone = ceilings(spec, 250, -9.0)
    assert everyone == dict.fromkeys(names, 1.0)
    assert ceilings(spec, 650, 9.0) == dict.fromkeys(names, 0.0)
    late = ceilings(spec, 251, -9.0)
    assert late == {name: float(name in names[4:]) for name in names}
    some = ceilings(spec, 250, -1.0)  # the middle of the first column's cells
    for name, ceiling in some.items():
        if name in names[:4] and name.startswith(("r1c1", "r3c1")):
            assert 0.25 < ceiling < 0.75 and ceiling * 50 == pytest.approx(round(ceiling * 50))
        else:
            assert ceiling == 1.0


def test_the_ceilings_of_a_return_are_the_share_of_episodes_that_collect_the_target():
    """From r1c2 and r1c3 all go to the cell that pays 1 a step; the first arrive when 100 can no more be had."""
    spec = load("pointmaze_umaze_returns")
    targets = {(target.start, target.value) for target in spec.targets}
    assert spec.horizon == 250 and {value for _, value in targets} == {30.0, 100.0}
    best = max(reward.rate for reward in spec.rewards)
    for steps in (1, 150, 152, 230):
        found = ceilings(spec, steps, -9.0)
        for name, ceiling in found.items():
            target = float(name.rsplit("-", 1)[1])
            here = dict((reward.place, reward.rate) for reward in spec.rewards).get(
                tuple(map(int, name.split("-")[0].removeprefix("r").split("c"))), 0.0
            )
            collected = (steps - 1) * here + (250 - steps + 1) * best
            assert ceiling == float(collected >= target), (name, steps)


def test_another_seed_of_the_dataset_plans_other_episodes_and_other_ceilings():
    spec = load("pointmaze_umaze_regions")
    first, second = (list(islice(collect.requests(benchmark(replace(spec, seed=seed))), 20)) for seed in (0, 1))
    again = list(islice(collect.requests(benchmark(spec)), 20))
    for a, b, c in zip(first, second, again, strict=True):
        assert np.array_equal(a.start, c.start) and np.array_equal(a.goal, c.goal)
        assert not np.array_equal(a.start, b.start) and not np.array_equal(a.goal, b.goal)
    # The noise on actions is drawn from the episode's own generator, so it is another one too.
    assert first[0].rng.random() == again[0].rng.random() != second[0].rng.random()
    found = [ceilings(replace(spec, seed=seed), 250, -1.0) for seed in (0, 1, 0)]
    assert found[0] == found[2] != found[1]


def test_another_seed_of_the_dataset_collects_other_episodes():
    spec = replace(load("pointmaze_umaze_regions"), transitions=300)
    collected = [collect.collect(benchmark(replace(spec, seed=seed)), 1) for seed in (0, 1, 0)]
    hashes = [each.episodes.sha256 for each in collected]
    assert hashes[0] == hashes[2] != hashes[1]


def test_every_context_takes_its_turn_and_keeps_to_its_cells():
    spec = load("pointmaze_dev_regions")
    maze = Maze("dev", 1.0)
    for request in islice(collect.requests(benchmark(spec)), 60):
        context = spec.contexts[request.number % 5]
        start, goal = (tuple(maze.to_cells(xy).tolist()) for xy in (request.start, request.goal))
        assert start in context.reset and goal in context.goal
        assert np.hypot(*(request.start - request.goal)) > RADIUS
        metres = maze.distance(request.start[None], request.goal[None])[0]
        assert request.limit == int(np.ceil(3 * (metres + 0.5) / 0.03))


@pytest.mark.parametrize("name, radius, jitter", [("antmaze", 1.0, 0.5), ("pointmaze", 0.1, 0.2)])
def test_a_behaviour_turns_to_its_next_waypoint_within_its_radius_of_the_last(name, radius, jitter):
    """Along the top of the U-maze: first to the middle of the next cell, give or take the jitter, then to the goal."""
    place = world(name, "umaze")
    start, between, goal = (place.maze.to_xy(cell) for cell in ((1, 1), (1, 2), (1, 3)))
    jittered = []
    for seed in range(40):
        behaviour = place.behaviour(1)
        behaviour.begin(0, Request(0, start, goal, 10, np.random.default_rng(seed)))
        first = behaviour._waypoints.targets(start[None])[0]
        jittered.append(first - between)
        outside = first - [1.02 * radius, 0]
        assert np.array_equal(behaviour._waypoints.targets(outside[None])[0], first)
        inside = first - [0.98 * radius, 0]
        assert np.array_equal(behaviour._waypoints.targets(inside[None])[0], goal)
        assert np.array_equal(behaviour._waypoints.targets(start[None])[0], goal), "there is no way back"
    assert 0.8 * jitter < np.abs(jittered).max() <= jitter
    assert np.abs(np.mean(jittered, 0)).max() < 0.4 * jitter


@pytest.mark.parametrize("name", ["pointmaze", "antmaze"])
def test_the_behaviour_arrives_well_within_its_limit_at_the_speed_that_limits_are_made_for(name):
    place = world(name, "umaze")
    start, goal = place.maze.to_xy((1, 1)), place.maze.to_xy((3, 3))
    limit = step_limit(place, 4 * place.maze.scale)
    requests = [Request(i, start, goal, limit, np.random.default_rng(i)) for i in range(4)]
    ended = list(run([VectorRollout(place.simulate(4), place.behaviour(4))], requests, place.goal_space.success))
    assert all(trajectory.reached for trajectory in ended)
    assert 0.15 * limit < np.mean([len(trajectory.actions) for trajectory in ended]) < 0.5 * limit


@pytest.mark.parametrize("name, std", [("antmaze", 0.2), ("pointmaze", 0.5)])
def test_the_behaviours_actions_have_gaussian_noise_of_their_own_width(name, std):
    place = world(name, "umaze")
    start, goal = place.maze.to_xy((1, 1)), place.maze.to_xy((1, 3))
    behaviour = place.behaviour(1)
    behaviour.begin(0, Request(0, start, goal, 2000, np.random.default_rng(0)))
    values = np.array([behaviour._noise.at(np.array([step]))[0] for step in range(2000)])
    assert values.std() == pytest.approx(std, rel=0.05) and abs(values.mean()) < 0.1 * std
    assert not np.array_equal(values[0], values[1])


# ---- Segments by epsilon -------------------------------------------------------------------------------------------


def line(a, b, y=0.0):
    """A straight walk in steps of 0.05."""
    x = np.linspace(a, b, round(abs(b - a) / 0.05) + 1)
    return np.stack([x, np.full(len(x), y)], 1)


def test_the_range_of_segments_runs_from_twice_epsilon_to_half_of_it():
    """At 0.4 m by way of the middle one; at 0.8 m straight over the gap of 0.7 m; at 0.2 m no gap is closed."""
    relay = [line(-3, -1), line(-0.7, -0.6), line(-0.3, 2)]
    task = Task("t", Region((-3, 0), 0.0, 0.1), Region((2, 0), 0.0, 0.1), "unseen", 5.0, 10)
    achieved = Achieved(np.concatenate(relay).astype(np.float32), np.array([len(xy) - 1 for xy in relay]))
    found = GOALS.certify(Audited("x", "0" * 64, achieved, [task], None, 0.4, 1))
    assert found.tasks[0]["segments_needed"] == 3
    assert found.tasks[0]["segments_range"] == [2, None]
    assert (found.epsilon, found.min_episodes) == (0.4, 1)


def test_distances_between_training_and_evaluation_by_hand():
    """States all over the first metre of a line; tasks from ten metres off it to its middle, and back."""
    rng = np.random.default_rng(0)
    walks = [np.stack([rng.permutation(np.linspace(0, 1, 41)), np.zeros(41)], 1) for _ in range(30)]
    achieved = Achieved.of_episodes(make_episodes(walks), at_columns((0, 1)))
    there = Task("there", Region((0.5, 10.0)), Region((0.5, 0.0)), "unseen")
    found = distances(achieved, [there], np.random.default_rng(0))
    assert found["starts"] == pytest.approx(10, abs=0.05) and found["goals"] == pytest.approx(0.25, abs=0.05)
    assert found["pairs"] == pytest.approx(10, abs=0.1)
    back = Task("back", there.goal, there.start, "unseen")
    turned = distances(achieved, [back], np.random.default_rng(0))
    assert turned["goals"] == pytest.approx(10, abs=0.05) and turned["starts"] == pytest.approx(0.25, abs=0.05)


# ---- Augmentation: clusters and detours ----------------------------------------------------------------------------


def test_clusters_weigh_every_column_alike_whatever_its_unit():
    """The same points once in metres, once with x in other units: a power of two, so that no digit is rounded."""
    points = np.random.default_rng(0).normal(size=(4, 200, 2))
    clusters = [
        Stitch(p=1, clusters=8, hops=1, columns=[0, 1], detour=None, seed=0).assign(
            make_episodes(list(points * np.array([unit, 1.0])))
        )
        for unit in (1.0, 1024.0)
    ]
    assert torch.equal(*clusters)


def circle(first, count, of=12):
    """Places on a circle, one after the other, from number `first`."""
    angle = 2 * np.pi * np.arange(first, first + count) / of
    return 10 * np.stack([np.cos(angle), np.sin(angle)], 1)


@pytest.mark.parametrize("detour", [1.0, 2.0, 3.0])
def test_a_jump_is_kept_if_the_way_over_it_is_at_most_so_many_times_as_long_as_the_straight_way(detour):
    """Short walks both ways on a ring of twelve places, so that ways are counted by hand: round the shorter side."""
    walks = [circle(first, 4)[::way].copy() for first in range(12) for way in (1, -1)]
    episodes = make_episodes(walks * 3)
    augmentation = Stitch(p=1, clusters=12, hops=1, columns=[0, 1], detour=detour, seed=0)
    path = augmentation.bind(episodes)(episodes.transitions.repeat(30), None, torch.Generator().manual_seed(0))
    x, y = episodes.observations[:, :2].T
    place = torch.round(torch.atan2(y, x) / (2 * np.pi / 12)).long() % 12

    def apart(a, b):
        return torch.minimum((a - b) % 12, (b - a) % 12)

    jumped = path.leave[:, 0] >= 0
    begun, over, ended = (place[rows[jumped]] for rows in (path.rows, path.leave[:, 0], path.goal))
    way, straight = apart(begun, over) + apart(over, ended), apart(begun, ended)
    assert (way <= detour * straight).all()
    # Two steps on and one back are three times as long as one step on, three on and one back twice as long as two.
    assert (way / straight).max() == detour
    assert jumped.double().mean() > 0.5


# ---- D4RL's files: where a body jumps ------------------------------------------------------------------------------


def test_only_a_jump_of_the_position_ends_an_episode_that_no_row_marks(tmp_path):
    """Another column may turn by more than five in a step, as angles and forces do."""
    states = np.zeros((40, 4), np.float32)
    states[:, 0] = np.linspace(0, 3, 40)
    states[25:, 0] += 8  # the body is put elsewhere
    states[10:, 2] = 9  # turns, and turns back
    states[17:, 2] = -9
    states[:, 3] = np.random.default_rng(0).normal(0, 30, 40)
    path = tmp_path / "file.hdf5"
    with h5py.File(path, "w") as file:
        file["observations"], file["actions"] = states, np.zeros((40, 2), np.float32)
        file["timeouts"] = np.zeros(40, bool)
    assert d4rl.open_source(path).lengths.tolist() == [24, 14]


@pytest.mark.parametrize("column", [0, 1])
def test_a_jump_in_either_column_of_the_position_is_found(column, tmp_path):
    states = np.zeros((30, 4), np.float32)
    states[:, column] = 0.1 * np.arange(30)
    states[12:, column] += 6
    path = tmp_path / "file.hdf5"
    with h5py.File(path, "w") as file:
        file["observations"], file["actions"] = states, np.zeros((30, 2), np.float32)
        file["timeouts"] = np.zeros(30, bool)
    assert d4rl.open_source(path).lengths.tolist() == [11, 17]


@pytest.mark.parametrize("name", MAPS)
def test_the_way_between_cells_centres_is_no_longer_than_their_path_and_along_a_corridor_the_same(name):
    """Corners may be cut, by way of the middles of the edges between cells: a half of a root instead of one, each."""
    maze = Maze(name, 1.0)
    pairs = [(a, b) for a in maze.cells for b in maze.cells][::7]
    here, there = (np.array([maze.to_xy(pair[i]) for pair in pairs]) for i in (0, 1))
    for (a, b), metres in zip(pairs, maze.distance(here, there).tolist(), strict=True):
        path = maze.path(a, b)
        moves = [(q[0] - p[0], q[1] - p[1]) for p, q in pairwise(path)]
        turns = sum(one != other for one, other in pairwise(moves))
        assert metres <= maze.path_length(a, b) - turns * (1 - 0.5**0.5) + 1e-9
        if turns == 0:
            assert metres == pytest.approx(len(path) - 1)


def test_a_maze_knows_where_its_cells_are():
    """By hand: the U-maze of gymnasium-robotics, its first cell up and to the left."""
    maze = Maze("umaze", 4.0)
    assert maze.to_xy((1, 1)).tolist() == [-4.0, 4.0] and maze.to_xy((3, 3)).tolist() == [4.0, -4.0]
    assert maze.path_length((1, 1), (3, 1)) == 24.0


# ---- What is collected ---------------------------------------------------------------------------------------------


def test_episodes_that_never_arrive_are_left_out_and_each_kept_one_has_its_own_context():
    """Of starts right of x = 0.2 none arrives: limits are of three times the way, and these take a step more."""
    spec = replace(load("pointmaze_umaze_regions"), transitions=5000)
    sluggish = benchmark(spec, Appointed("umaze", Sluggish))
    episodes, terminated, behaviour = collect.collect(sluggish, workers=1)
    requests = list(islice(collect.requests(sluggish), behaviour["attempts"]))
    kept = [request for request in requests if request.start[0] <= 0.2]
    assert 0 < len(kept) < len(requests)
    assert episodes.observations[episodes.first].numpy() == pytest.approx(np.array([p.start for p in kept]), abs=1e-6)
    assert episodes.info["context"].tolist() == [request.number % 4 for request in kept] and terminated.all()
    assert behaviour["success"] == pytest.approx(len(kept) / len(requests), abs=1e-4)
    assert episodes.lengths.tolist() == [40] * len(kept)
    assert episodes.rewards[episodes.last - 1].tolist() == [1.0] * len(kept)
    assert episodes.rewards[episodes.first].tolist() == [0.0] * len(kept)


class Sluggish(Punctual):
    """Is at the goal after 40 steps where the start lies left of 0.2, and never where it lies right of that."""

    def __init__(self, envs):
        super().__init__(envs, 40, -9.0)

    def begin(self, env, request):
        super().begin(env, request)
        if request.start[0] > 0.2:
            self.way[env] = 0


def test_another_seed_of_the_dataset_is_cut_at_other_places(tmp_path, monkeypatch):
    """The joined twins hold the very same episodes here, so that nothing but the cuts can differ."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    walk = [line(-1, 1, 1.0), line(-1, 1, -1.0)] * 4
    whole = make_episodes(walk, [np.zeros(len(xy) - 1) for xy in walk])
    contexts = {"context": torch.zeros(len(walk), dtype=torch.int64)}
    made = collect.Collected(whole.with_info(contexts), np.zeros(len(walk), bool), {"attempts": 8})
    monkeypatch.setattr(store, "collect", lambda benchmark, workers: made)
    monkeypatch.setattr(store, "measure_ceilings", lambda benchmark, workers: {})
    spec = replace(load("pointmaze_umaze_cut3"), split="minecut3", cut=15, unseen=(), seen=())
    lengths = []
    for seed in (0, 1, 2):
        cut = replace(spec, seed=seed)
        store.generate(benchmark(cut), workers=1)
        lengths.append(minari.read(cut.name).lengths.tolist())
        assert minari.read(cut.name).transitions_sha256 == whole.transitions_sha256
    assert len({tuple(of) for of in lengths}) == 3


# ---- The point's controller ----------------------------------------------------------------------------------------


def test_the_points_controller_is_pulled_to_its_waypoint_and_braked_by_its_velocity():
    """Ten times the way that is left, minus the velocity, plus the noise, at most 1 in size."""
    place = world("pointmaze", "umaze")
    here = place.maze.to_xy((1, 1))
    behaviour = place.behaviour(1)
    goal = np.add(here, [0.05, -0.03])
    behaviour.begin(0, Request(0, here, goal, 10, np.random.default_rng(0)))
    behaviour._noise._values[:] = 0.1
    observation = np.array([[*here, 0.2, 0.3]], np.float32)
    action = behaviour.act(observation, np.array([3]))
    assert action[0] == pytest.approx([10 * 0.05 - 0.2 + 0.1, 10 * -0.03 - 0.3 + 0.1], abs=1e-5)
    far = behaviour.act(np.array([[*(here - 3), 0.0, 0.0]], np.float32), np.array([3]))
    assert far.tolist() == [[1.0, 1.0]]


def test_an_episodes_last_waypoint_is_its_goal_and_not_the_middle_of_its_cell():
    place = world("pointmaze", "umaze")
    start, goal = place.maze.to_xy((1, 1)), np.add(place.maze.to_xy((1, 2)), [0.2, -0.15])
    behaviour = place.behaviour(1)
    behaviour.begin(0, Request(0, start, goal, 10, np.random.default_rng(0)))
    assert np.array_equal(behaviour._waypoints.targets(start[None])[0], goal)


def test_the_environment_bounds_the_points_velocity_at_five_metres_a_second():
    place = world("pointmaze", "dev")
    simulation = place.simulate(1)
    simulation.reset(0, place.maze.to_xy((1, 1)))
    simulation._state[0, 3:] = 20.0, 0.0
    before = simulation.observations[0, 0]
    simulation.step(np.zeros((1, 2), np.float32), np.ones(1, bool))
    assert simulation.observations[0, 0] - before < 0.06


# ---- The hash of tasks, and others' tasks --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"start": Region((0.0, 0.0), 0.5)},
        {"goal": Region((9.0, 0.0), 0.5, 0.45)},
        {"goal": Region((4.0, 0.0), 0.5, 0.5)},
        {"goal": Region((4.0, 0.0), 0.25, 0.45)},
        {"expect": "seen"},
        {"path_length": 3.0},
        {"step_limit": 301},
    ],
)
def test_the_hash_of_tasks_sees_all_that_makes_a_task(change):
    task = Task("t", Region((1.0, 0.0), 0.5), Region((4.0, 0.0), 0.5, 0.45), "unseen", 4.0, 300)
    assert tasks_sha256([task]) != tasks_sha256([replace(task, **change)])
    assert tasks_sha256([task, replace(task, name="u")]) != tasks_sha256([replace(task, name="u"), task])


@pytest.mark.parametrize("body, radius", [("pointmaze", 1.0), ("antmaze", 0.5)])
def test_ogbenchs_tasks_succeed_where_ogbench_says(body, radius):
    known = find_tasks(f"{body}-medium-stitch-v0")
    assert len(known.tasks) == 5
    assert {task.goal.radius for task in known.tasks} == {radius} and {task.goal.half for task in known.tasks} == {1.0}
    assert {task.start.radius for task in known.tasks} == {0.0}


# ---- Returns -------------------------------------------------------------------------------------------------------


def test_who_attains_a_return_from_its_start_does_not_count_as_attaining_it_elsewhere():
    """From A (0) by B (2) to C (4), where a step earns 1: two walk all the way, three begin in B."""
    walks = [[0, 1, 2, 3, 4, 4, 4]] * 2 + [[2, 3, 4, 4, 4]] * 3
    xy = np.array([[x, 0] for walk in walks for x in walk], np.float32)
    rewards = np.concatenate([[*(np.array(walk[1:]) == 4), np.nan] for walk in walks]).astype(np.float32)
    achieved = Achieved(xy, np.array([len(walk) - 1 for walk in walks]))
    task = ReturnTask("from-A", Region((0.0, 0.0), 0.1), 3.0, 6, "rare")
    audited = Audited("x", "0", achieved, [task], None, 0.5, 3, rewards=rewards)
    (found,) = RETURNS.certify(audited).tasks
    assert (found["attaining"], found["elsewhere"], found["starts"], found["status"]) == (2, 3, 2, "rare")
    assert found["best_in_data"] == 3.0 and found["episodes"] == [0, 1]
    (shorter,) = RETURNS.certify(replace(audited, tasks=[replace(task, horizon=5)])).tasks
    assert (shorter["attaining"], shorter["best_in_data"]) == (0, 2.0)


def test_what_a_policy_is_asked_for_is_whole_at_its_first_step_even_where_a_step_pays():
    """A walker that begins in what pays has earned nothing yet; its first step leads out, its last into the other."""
    objective = returns_of([((0, 0), 2.0), ((3, 0), 5.0)], [((0, 0), 5.0)], 3)
    policy = Recorder()
    rows, _ = make_evaluator(objective.tasks, episodes=1, objective=objective, scale=10.0).evaluate(policy)
    asked = [conditions[0, 0].item() for _, conditions in policy.shown]
    assert asked == pytest.approx([0.5, 0.5, 0.5])
    assert (rows[0]["return"], rows[0]["success"]) == (5.0, True)


# ---- Stored datasets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [16, 10**6])  # read in three parts, or at once
@pytest.mark.parametrize("name", ["file.hdf5", "file.npz", "lab/file-v0"])
def test_the_hash_of_a_stored_dataset_is_that_of_its_arrays_whatever_the_format(name, rows, monkeypatch):
    """float32 observations of all states, actions that were taken, lengths as int64: computed here from the arrays."""
    rng = np.random.default_rng(0)
    walks = [rng.normal(size=(steps, 2)) for steps in (5, 9, 3, 40)]
    episodes = make_episodes(walks, [np.zeros(len(walk) - 1) for walk in walks])
    digest = hashlib.sha256()
    digest.update(episodes.observations.numpy().astype("<f4").tobytes())
    digest.update(episodes.actions[~episodes.actions.isnan().any(1)].numpy().astype("<f4").tobytes())
    digest.update(np.array([4, 8, 2, 39], "<i8").tobytes())
    write(name, of_episodes("x", episodes, {}))
    stored = open_source(name)
    monkeypatch.setattr(source, "ROWS", rows)
    assert len(list(stored.stream(rows))) == (3 if rows == 16 else 1)
    assert stored.sha256 == stored.read().sha256 == digest.hexdigest()


def test_one_in_twenty_episodes_is_repeated_for_validation():
    walks = [np.full((4, 2), float(number)) for number in range(43)]
    write("file.npz", of_episodes("x", make_episodes(walks), {}))
    assert open_source("file.npz").lengths.tolist() == [3] * 43
    validation = open_source("file-val.npz").read()
    assert validation.observations[validation.first, 0].tolist() == [41.0, 42.0]
