"""What episodes are requested and collected for a benchmark, and what is refused."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from conftest import benchmark, command, world
from test_configuration import spec as load

from stitchrl import generate
from stitchrl.benchmark import collect
from stitchrl.data.formats import minari as minari_format
from stitchrl.spec import DatasetSpec
from stitchrl.worlds.maze.maps import Maze
from stitchrl.worlds.rollout import Request, Success, Trajectory

SHORT = [f"{world}_{maze}_short" for world in ("pointmaze", "antmaze") for maze in ("medium", "large", "giant")]
RADIUS = 0.45


pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def moves(free: np.ndarray, start: tuple[int, int]) -> dict[tuple[int, int], int]:
    """How many moves each cell is from `start`, by breadth-first search."""
    distance, queue = {start: 0}, deque([start])
    while queue:
        row, column = cell = queue.popleft()
        for following in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if free[following] and following not in distance:
                distance[following] = distance[cell] + 1
                queue.append(following)
    return distance


@pytest.mark.parametrize("name", SHORT)
def test_short_episodes_are_sent_four_cells_far_from_any_cell(name: str) -> None:
    spec = load(name)
    short = benchmark(spec)
    maze, starts = short.world.maze, set()
    distances = {cell: moves(maze.free, cell) for cell in maze.cells}
    for request in islice(collect.requests(short), 1500):
        start, goal = (tuple(maze.to_cells(xy).tolist()) for xy in (request.start, request.goal))
        assert distances[start][goal] == 4
        assert request.limit == spec.length
        for xy, cell in ((request.start, start), (request.goal, goal)):
            assert np.abs(xy - maze.to_xy(cell)).max() <= maze.scale / 4
        starts.add(start)
    assert starts == set(maze.cells)


@pytest.mark.parametrize("name", SHORT)
def test_what_short_episodes_are_evaluated_on(name: str) -> None:
    spec = load(name)
    free = world(spec.world, spec.maze).maze.free
    assert len(spec.seen) >= 2 and all(moves(free, start)[goal] <= 4 for start, goal in spec.seen)
    assert len(spec.unseen) == 5 and all(moves(free, start)[goal] > 4 for start, goal in spec.unseen)


def short(**changes: int | None) -> DatasetSpec:
    return replace(load("pointmaze_medium_short"), **changes)


def test_every_short_episode_has_the_same_length_and_goes_on_at_its_goal() -> None:
    spec = short(transitions=16_000)
    episodes, terminated, behaviour = collect.collect(benchmark(spec), workers=1)
    assert episodes.lengths.tolist() == [160] * 100
    assert len(episodes.info["context"]) == 100 and not terminated.any()
    assert behaviour["attempts"] == 100 and behaviour["success"] == 1
    ended = episodes.rewards[episodes.last - 1]
    assert (ended == 1).all(), "they stay"


def test_episodes_of_one_length_are_kept_wherever_they_end() -> None:
    half = benchmark(short(transitions=11_000, length=110))  # half of them arrive
    episodes, _, behaviour = collect.collect(half, workers=1)
    assert episodes.lengths.tolist() == [110] * 100
    arrived, steps, metres = 0, 0, 0.0
    for request, first, last in zip(islice(collect.requests(half), 100), episodes.first, episodes.last, strict=True):
        distances = np.hypot(*(episodes.observations[first : last + 1, :2].numpy() - request.goal).T)
        expected = [1.0 if distance <= RADIUS else 0.0 for distance in distances[1:]]
        assert episodes.rewards[first:last].tolist() == expected
        if 1.0 in expected:
            arrived += 1
            steps += expected.index(1.0) + 1
            metres += half.world.maze.distance(request.start[None], request.goal[None])[0]
    assert 20 < arrived < 80
    assert behaviour == {
        "attempts": 100,
        "success": arrived / 100,
        "metres_per_s": round(metres / (0.01 * steps), 3),
    }


@pytest.mark.parametrize("name, length", [("pointmaze", 160), ("antmaze", 20)])
def test_two_workers_collect_the_same_short_episodes_as_one(
    name: str, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(world(name, "medium")), "envs", 4)
    # ants need 150 steps
    monkeypatch.setattr(collect, "_at_goal", lambda world, trajectory: np.arange(len(trajectory.actions)) > 5)
    few = benchmark(short(world=name, length=length, transitions=9 * length))
    one, two = (collect.collect(few, workers) for workers in (1, 2))
    assert one.episodes.sha256 == two.episodes.sha256 and len(one.episodes.lengths) == 9
    assert one.behaviour == two.behaviour


SMALL = ["dataset=pointmaze_medium_short", "dataset.transitions=16000", "dataset.min_episodes=1", "workers=1"]


@pytest.mark.parametrize(
    "option, message",
    [
        ("goal_distance=0", "dataset.goal_distance: 0 given, expected a whole number of 1 or more"),
        ("length=-5", "dataset.length: -5 given, expected a whole number of 1 or more"),
        (
            "goal_distance=11",
            "dataset.goal_distance: no goal of contexts[0] is 11 moves from [1, 2] in pointmaze, maze 'medium'",
        ),
        ("length=10", "dataset.length: 10 steps are too few, no episode came to its goal"),
    ],
)
def test_impossible_values_are_refused_in_one_line(
    option: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(generate, monkeypatch, *SMALL, "dataset.split=own", f"dataset.{option}") == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"stitchrl: {message}")
    assert not minari_format.folder("pointmaze-medium-own-n16000-v0").exists()


# The seed, ceilings and step limits, against slow loops and answers made by hand


@pytest.mark.parametrize("seed", [0, 3])
def test_the_datasets_seed_decides_where_episodes_begin_and_go(seed: int) -> None:
    spec = replace(load("pointmaze_umaze_regions"), seed=seed)
    maze = Maze("umaze", 1.0)
    for number, request in enumerate(islice(collect.requests(benchmark(spec)), 60)):
        rng = np.random.default_rng([seed, number])
        context = spec.contexts[number % 4]
        start = goal = np.zeros(2)
        while np.linalg.norm(start - goal) <= RADIUS:
            start = maze.to_xy(context.reset[rng.integers(len(context.reset))]) + rng.uniform(-0.25, 0.25, 2)
            goal = maze.to_xy(context.goal[rng.integers(len(context.goal))]) + rng.uniform(-0.25, 0.25, 2)
        assert request.start.tolist() == start.tolist() and request.goal.tolist() == goal.tolist()


def test_another_seed_gives_other_episodes_and_the_same_one_the_same() -> None:
    spec = replace(load("pointmaze_umaze_regions"), transitions=2_000)
    collected = [collect.collect(benchmark(replace(spec, seed=seed)), workers=1) for seed in (1, 2, 1)]
    hashes = [each.episodes.sha256 for each in collected]
    assert hashes[0] == hashes[2] != hashes[1]


@pytest.mark.parametrize("seed", [0, 3])
def test_a_ceiling_is_the_share_of_fifty_episodes_that_reach_their_goal_within_the_limit(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    regions = benchmark(replace(load("pointmaze_umaze_regions"), seed=seed))
    tasks = regions.tasks
    requested: list[Request] = []

    def run(rollouts: object, requests: list[Request], success: Success) -> Iterator[Trajectory]:
        goals = np.zeros((3, 2))
        assert success(np.array([[RADIUS, 0], [0, RADIUS + 1e-6], [0.4, 0.4]]), goals).tolist() == [True, False, False]
        for request in requests:  # of task i the first 10 * i + 7 reach their goal
            requested.append(request)
            reached = sum(other.number == request.number for other in requested) <= 10 * request.number + 7
            states = np.zeros((2, 4), np.float32)
            yield Trajectory(request, states, states[:, :2], np.zeros((1, 2), np.float32), reached)

    monkeypatch.setattr(collect, "run", run)
    ceilings = collect.measure_ceilings(regions, workers=1)
    assert ceilings == {task.name: min(1.0, (10 * i + 7) / 50) for i, task in enumerate(tasks)}
    assert len(requested) == 50 * len(tasks)
    for number, request in enumerate(requested):
        task = tasks[request.number]
        rng = np.random.default_rng([seed, 2**31, request.number, number % 50])
        assert request.start.tolist() == (task.start.center + rng.uniform(-0.25, 0.25, 2)).tolist()
        assert request.goal.tolist() == (task.goal.center + rng.uniform(-0.25, 0.25, 2)).tolist()
        assert request.limit == task.step_limit and not request.stays


def test_who_is_sent_to_where_nothing_is_earned_ends_there_and_others_stay() -> None:
    returns = benchmark(replace(load("pointmaze_umaze_returns"), transitions=10_000))
    episodes, _, _ = collect.collect(returns, workers=1)
    contexts = episodes.info["context"].tolist()
    assert sorted(set(contexts)) == [0, 1, 2]
    requests = islice(collect.requests(returns), len(contexts))
    for request, context, first, last in zip(requests, contexts, episodes.first, episodes.last, strict=True):
        at_goal = np.hypot(*(episodes.observations[first + 1 : last + 1, :2].numpy() - request.goal).T) <= RADIUS
        if context == 1:
            assert at_goal.tolist() == [False] * (len(at_goal) - 1) + [True]
        else:
            assert len(at_goal) == 250 and at_goal.sum() > 50
