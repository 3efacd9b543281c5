"""What episodes are requested and collected from a specification, and what is refused."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import minari
import numpy as np
import pytest
from conftest import command
from test_configuration import spec as load

from stitchrl import factory, generate
from stitchrl.data.cut import cut
from stitchrl.data.formats import minari as minari_format
from stitchrl.types import DatasetSpec
from stitchrl.worlds import make_world
from stitchrl.worlds.rollout import Request, Trajectory

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
    world = make_world(spec.world, spec.maze)
    maze, starts = world.maze, set()
    distances = {cell: moves(maze.free, cell) for cell in maze.cells}
    for request in islice(factory.requests(spec, world), 1500):
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
    free = make_world(spec.world, spec.maze).maze.free
    assert len(spec.seen) >= 2 and all(moves(free, start)[goal] <= 4 for start, goal in spec.seen)
    assert len(spec.unseen) == 5 and all(moves(free, start)[goal] > 4 for start, goal in spec.unseen)


def short(**changes: int | None) -> DatasetSpec:
    return replace(load("pointmaze_medium_short"), **changes)


def test_every_short_episode_has_the_same_length_and_goes_on_at_its_goal() -> None:
    spec = short(transitions=16_000)
    episodes, contexts, behaviour = factory.collect(spec, make_world("pointmaze", "medium"), workers=1)
    assert episodes.lengths.tolist() == [160] * 100
    assert len(contexts) == 100
    assert behaviour["attempts"] == 100 and behaviour["success"] == 1
    ended = episodes.rewards[episodes.last - 1]
    assert (ended == 1).all(), "they stay"


def test_episodes_of_one_length_are_kept_wherever_they_end() -> None:
    spec = short(transitions=11_000, length=110)  # half of them arrive
    world = make_world("pointmaze", "medium")
    episodes, _, behaviour = factory.collect(spec, world, workers=1)
    assert episodes.lengths.tolist() == [110] * 100
    arrived, steps, metres = 0, 0, 0.0
    for request, first, last in zip(
        islice(factory.requests(spec, world), 100), episodes.first, episodes.last, strict=True
    ):
        distances = np.hypot(*(episodes.observations[first : last + 1, :2].numpy() - request.goal).T)
        expected = [1.0 if distance <= RADIUS else 0.0 for distance in distances[1:]]
        assert episodes.rewards[first:last].tolist() == expected
        if 1.0 in expected:
            arrived += 1
            steps += expected.index(1.0) + 1
            metres += world.maze.distance(request.start[None], request.goal[None])[0]
    assert 20 < arrived < 80
    assert behaviour == {
        "attempts": 100,
        "success": arrived / 100,
        "metres_per_s": round(metres / (0.01 * steps), 3),
    }


@pytest.mark.parametrize("world, length", [("pointmaze", 160), ("antmaze", 20)])
def test_two_workers_collect_the_same_short_episodes_as_one(
    world: str, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(make_world(world, "medium")), "envs", 4)
    monkeypatch.setattr(factory, "_at_goal", lambda trajectory: np.arange(len(trajectory.actions)) > 5)  # ants need 150
    spec = short(world=world, length=length, transitions=9 * length)
    one, two = (factory.collect(spec, make_world(world, "medium"), workers) for workers in (1, 2))
    assert one[0].sha256 == two[0].sha256 and len(one[0].lengths) == 9
    assert one[2] == two[2]


SMALL = ["dataset=pointmaze_medium_short", "dataset.transitions=16000", "dataset.min_episodes=1", "workers=1"]


@pytest.mark.parametrize(
    "option, message",
    [
        ("goal_distance=0", "dataset.goal_distance: 0 given, expected a whole number of 1 or more"),
        ("length=-5", "dataset.length: -5 given, expected a whole number of 1 or more"),
        (
            "goal_distance=11",
            "dataset.goal_distance: no goal of contexts[0] is 11 moves from cell [1, 2] of maze 'medium'",
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


def test_stored_short_episodes_are_truncated_and_none_terminated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(generate, monkeypatch, *SMALL, "if_missing=true") == 0
    for episode in minari.load_dataset("stitchrl/pointmaze-medium-short-n16000-v0"):
        assert episode.truncations.tolist() == [False] * 159 + [True]
        assert not episode.terminations.any()


def test_a_dataset_from_before_a_field_was_thought_of_has_the_fields_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    spec = replace(load("pointmaze_umaze_regions"), split="own", transitions=20_000, min_episodes=5)
    factory.generate(spec, workers=1)
    path = minari_format.folder(spec.name) / "data" / "metadata.json"
    added = {"goal_distance": "null", "length": "null", "rewards": "[]", "targets": "[]", "horizon": "null"}
    for key, value in added.items():
        assert f'\\"{key}\\": {value}, ' in path.read_text()
        path.write_text(path.read_text().replace(f'\\"{key}\\": {value}, ', ""))
    opened = factory.open_dataset(spec, workers=1)
    assert "length" not in opened.manifest["spec"]
    with pytest.raises(ValueError, match="stored with another length than dataset"):
        factory.open_dataset(replace(spec, length=100), workers=1)


# The seed, ceilings and step limits, against slow loops and answers made by hand


@pytest.mark.parametrize("seed", [0, 3])
def test_the_datasets_seed_decides_where_episodes_begin_and_go(seed: int) -> None:
    spec = replace(load("pointmaze_umaze_regions"), seed=seed)
    world = make_world("pointmaze", "umaze")
    for number, request in enumerate(islice(factory.requests(spec, world), 60)):
        rng = np.random.default_rng([seed, number])
        context = spec.contexts[number % 4]
        start = goal = np.zeros(2)
        while np.linalg.norm(start - goal) <= RADIUS:
            start = world.maze.to_xy(context.reset[rng.integers(len(context.reset))]) + rng.uniform(-0.25, 0.25, 2)
            goal = world.maze.to_xy(context.goal[rng.integers(len(context.goal))]) + rng.uniform(-0.25, 0.25, 2)
        assert request.start.tolist() == start.tolist() and request.goal.tolist() == goal.tolist()


def test_another_seed_gives_other_episodes_and_the_same_one_the_same() -> None:
    spec, world = replace(load("pointmaze_umaze_regions"), transitions=2_000), make_world("pointmaze", "umaze")
    hashes = [factory.collect(replace(spec, seed=seed), world, workers=1)[0].sha256 for seed in (1, 2, 1)]
    assert hashes[0] == hashes[2] != hashes[1]


def test_the_datasets_seed_decides_where_episodes_are_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    spec = replace(load("pointmaze_umaze_cut3"), transitions=6_000, min_episodes=1, seed=2)
    opened = factory.open_dataset(spec, workers=1)
    joined = factory.open_dataset(factory.joined_twin(spec), workers=1)
    by_seed = [
        cut(joined.episodes, 50, factory.parted(spec, make_world("pointmaze", "umaze")), np.random.default_rng([s, 50]))
        for s in (0, 2)
    ]
    assert opened.episodes.sha256 == by_seed[1][0].sha256 != by_seed[0][0].sha256
    ends = np.flatnonzero(np.diff([*by_seed[1][1], -1]))  # the last piece of each episode, and all of them arrived
    assert np.flatnonzero(opened.terminated).tolist() == ends.tolist()


@pytest.mark.parametrize(
    "world, limits",
    [
        # Thrice the steps for the way and half a cell: 3 * (2 + 0.5) m at 3 m/s in steps of 0.01 s, and so on.
        ("pointmaze", {"r1c1-to-r1c3": 250, "r3c1-to-r1c1": 650}),
        # 3 * (8 + 2) m and 3 * (24 + 2) m at 1.4 m/s in steps of 0.05 s, rounded up.
        ("antmaze", {"r1c1-to-r1c2": 258, "r3c1-to-r1c1": 1115}),
    ],
)
def test_the_step_limit_is_thrice_what_the_behaviour_needs(world: str, limits: dict[str, int]) -> None:
    name = {"pointmaze": "pointmaze_umaze_regions", "antmaze": "antmaze_umaze_cut3"}[world]
    tasks = {task.name: task for task in factory.make_tasks(load(name), make_world(world, "umaze"))}
    for task, limit in limits.items():
        assert limit <= tasks[task].step_limit <= limit + 1  # one more where the quotient is rounded up by a hair


@pytest.mark.parametrize("seed", [0, 3])
def test_a_ceiling_is_the_share_of_fifty_episodes_that_reach_their_goal_within_the_limit(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(load("pointmaze_umaze_regions"), seed=seed)
    world = make_world("pointmaze", "umaze")
    tasks = factory.make_tasks(spec, world)
    requested: list[Request] = []

    def run(rollouts: object, requests: list[Request], radius: float) -> Iterator[Trajectory]:
        assert radius == RADIUS
        for request in requests:  # of task i the first 10 * i + 7 reach their goal
            requested.append(request)
            reached = sum(other.number == request.number for other in requested) <= 10 * request.number + 7
            yield Trajectory(request, np.zeros((2, 4), np.float32), np.zeros((1, 2), np.float32), reached)

    monkeypatch.setattr(factory, "run", run)
    ceilings = factory.measure_ceilings(spec, world, workers=1)
    assert ceilings == {task.name: min(1.0, (10 * i + 7) / 50) for i, task in enumerate(tasks)}
    assert len(requested) == 50 * len(tasks)
    for number, request in enumerate(requested):
        task = tasks[request.number]
        rng = np.random.default_rng([seed, 2**31, request.number, number % 50])
        assert request.start.tolist() == (task.start.center + rng.uniform(-0.25, 0.25, 2)).tolist()
        assert request.goal.tolist() == (task.goal.center + rng.uniform(-0.25, 0.25, 2)).tolist()
        assert request.limit == task.step_limit and not request.stays


def test_who_is_sent_to_where_nothing_is_earned_ends_there_and_others_stay() -> None:
    spec = replace(load("pointmaze_umaze_returns"), transitions=10_000)
    episodes, contexts, _ = factory.collect(spec, make_world("pointmaze", "umaze"), workers=1)
    assert sorted(set(contexts)) == [0, 1, 2]
    requests = islice(factory.requests(spec, make_world("pointmaze", "umaze")), len(contexts))
    for request, context, first, last in zip(requests, contexts, episodes.first, episodes.last, strict=True):
        at_goal = np.hypot(*(episodes.observations[first + 1 : last + 1, :2].numpy() - request.goal).T) <= RADIUS
        if context == 1:
            assert at_goal.tolist() == [False] * (len(at_goal) - 1) + [True]
        else:
            assert len(at_goal) == 250 and at_goal.sum() > 50


def test_the_rewards_of_a_return_dataset_are_those_of_a_plain_loop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    spec = replace(load("pointmaze_umaze_returnscut"), transitions=20_000, min_episodes=3)
    factory.generate(spec, workers=1)
    opened = factory.open_dataset(spec, workers=1)
    assert opened.certificate.passed, opened.certificate.problems
    episodes = opened.episodes
    rates = {(-1.0, 1.0): 0.2, (1.0, 0.0): 0.05, (-1.0, -1.0): 1.0}  # by the centres of the cells
    expected = [
        sum(rate for (x, y), rate in rates.items() if max(abs(after[0] - x), abs(after[1] - y)) <= 0.5)
        for after in episodes.observations[episodes.transitions + 1].tolist()
    ]
    assert episodes.rewards is not None
    np.testing.assert_allclose(episodes.rewards[episodes.transitions], expected, rtol=1e-6)
    joined = factory.open_dataset(factory.joined_twin(spec), workers=1)
    assert joined.manifest["transitions_sha256"] == opened.manifest["transitions_sha256"]
    assert {task["status"] for task in joined.certificate.tasks} == {"seen"}


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"horizon": None}, "dataset: rewards, targets and horizon belong together, expected all of them or none"),
        ({"seen": [[[1, 1], [1, 2]]]}, "dataset: targets and pairs (seen, unseen) given, expected either"),
        ({"horizon": 0}, "dataset.horizon: 0 given, a positive number expected"),
        (
            {"rewards": [{"cell": [0, 0], "rate": 1}]},
            "dataset.rewards[0].cell: cell [0, 0] of maze 'umaze' is not a free cell",
        ),
        (
            {"targets": [{"start": [1, 1], "value": 3, "expect": "often"}]},
            "dataset.targets[0].expect: 'often' is not one of seen, unseen",
        ),
    ],
)
def test_a_faulty_return_dataset_is_named_in_one_line(changed: dict, message: str) -> None:
    values = load("pointmaze_umaze_returns").as_dict()
    with pytest.raises(ValueError) as caught:
        DatasetSpec.create(values | changed, make_world("pointmaze", "umaze").maze.cells)
    assert str(caught.value) == message
