"""The audit against plain loops, against examples solved by hand, and against a planted leak."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from stitchrl.audit import achieved as achieved_module
from stitchrl.audit import chains as chains_module
from stitchrl.audit.achieved import Achieved, at_columns
from stitchrl.audit.certificate import Audited, Certificate, tasks_sha256
from stitchrl.audit.chains import segments_needed
from stitchrl.audit.cooccurrence import co_occurrence
from stitchrl.audit.goals import GOALS
from stitchrl.data.episodes import Episodes
from stitchrl.types import Region, Task
from stitchrl.worlds.maze.maps import Maze

XY = at_columns((0, 1))


def make_episodes(trajectories) -> Episodes:
    """Episodes whose observations are the positions [T + 1, 2] of the trajectories."""
    lengths = torch.tensor([len(xy) - 1 for xy in trajectories])
    observations = torch.from_numpy(np.concatenate(trajectories).astype(np.float32))
    actions = torch.zeros(len(observations), 2)
    actions[(lengths + 1).cumsum(0) - 1] = float("nan")
    return Episodes(observations, actions, None, lengths)


def certify(name, episodes, *rest, **options) -> Certificate:
    return GOALS.certify(Audited(name, episodes.sha256, Achieved.of_episodes(episodes, XY), *rest, **options))


def walk(maze, rng, lattice):
    """A random walk [2..30, 2] over free cells that does not cut corners; on a lattice, where distances tie."""
    xy = [maze.to_xy(maze.cells[rng.integers(len(maze.cells))])]
    length, stride = rng.integers(2, 31), rng.uniform(0.1, 0.5)
    drift = rng.normal(0, stride / 2, 2)
    while len(xy) < length:
        to = xy[-1] + drift + rng.normal(0, stride, 2)
        to = np.round(to * 16) / 16 if lattice else to
        row, column = maze.to_cells(to)
        here, there = maze.nearest_cell(np.stack([xy[-1], to]))
        if maze.free[row, column] and maze.adjacent[here, there]:
            xy.append(to)
        else:
            drift = rng.normal(0, stride / 2, 2)
    return np.array(xy)


def plain_links(xy, maze, epsilon):
    """For each row the rows that it is joined to."""
    cells = [0] * len(xy) if maze is None else maze.nearest_cell(xy).tolist()
    adjacent = [[True]] if maze is None else maze.adjacent.tolist()
    points = xy.tolist()

    def joined(i, j):
        (ax, ay), (bx, by) = points[i], points[j]
        return adjacent[cells[i]][cells[j]] and (ax - bx) ** 2 + (ay - by) ** 2 <= epsilon**2

    return [[j for j in range(len(xy)) if joined(i, j)] for i in range(len(xy))]


def plain_segments(xy, episodes, task, links):
    """The definition, row by row: grow the covered rows until one of them lies in the goal or none is added."""
    ends = episodes.ends.tolist()
    entered = {row for row in range(len(xy)) if task.start.contains(xy[row])}
    covered: set[int] = set()
    level = 0
    while True:
        level += 1
        added = {row for y in entered for row in range(y + 1, ends[y] + 1)} - covered
        if not added:
            return None
        if any(task.goal.contains(xy[row]) for row in added):
            return level
        covered |= added
        entered = {y for x in added for y in links[x]}


def plain_co_occurrence(xy, episodes, task, min_episodes):
    """(status, joining, unordered, starts, visits, clearance) by loops over episodes and pairs of rows."""
    joining, unordered, starts, visits, clearance = [], 0, 0, 0, float("inf")
    for number, (first, last) in enumerate(zip(episodes.first.tolist(), episodes.last.tolist(), strict=True)):
        rows = range(first, last + 1)
        in_start = [row for row in rows if task.start.contains(xy[row])]
        in_goal = [row for row in rows if task.goal.contains(xy[row])]
        if any(later > row for row in in_start for later in in_goal):
            joining.append(number)
        unordered += bool(in_start and in_goal)
        starts += first in in_start
        visits += bool(in_goal)
        for row in rows:
            if any(row > s for s in in_start):
                clearance = min(clearance, float(task.goal.distance(xy[row])))
            if any(row < g for g in in_goal):
                clearance = min(clearance, float(task.start.distance(xy[row])))
    if joining:
        status = "seen" if len(joining) >= min_episodes else "rare"
    else:
        status = "reversed_only" if unordered else "unseen"
    return status, joining, unordered, starts, visits, clearance


@pytest.mark.parametrize("seed", range(200))
def test_equals_plain_loops(seed, monkeypatch):
    if seed % 4 == 0:  # several parts of few rows
        monkeypatch.setattr(achieved_module, "ROWS", 50)
        monkeypatch.setattr(chains_module, "ROWS", 50)
    rng = np.random.default_rng(seed)
    maze = Maze(("umaze", "medium", "dev")[seed % 3], 1.0)
    episodes = make_episodes([walk(maze, rng, lattice=seed % 2 == 0) for _ in range(rng.integers(5, 26))])
    achieved = Achieved.of_episodes(episodes, XY)
    xy = achieved.points(slice(None))
    walls = None if seed % 5 == 0 else maze
    epsilon = float(rng.choice([0.125, 0.25, 0.3, 0.45, 0.9]))

    # One task leads between any two cells; two share the start of an episode, so that there is something to find.
    centers = [tuple(maze.to_xy(maze.cells[i])) for i in rng.integers(len(maze.cells), size=4)]
    begun = Region(tuple(xy[episodes.first[rng.integers(len(episodes.first))]]), 0.2)
    pairs = [(Region(centers[0], 0.3), Region(centers[1], 0.2, 0.3))]
    pairs += [(begun, Region(center, 0.1, 0.25)) for center in centers[2:]]
    tasks = [Task(str(i), start, goal, "unseen") for i, (start, goal) in enumerate(pairs)]

    links = plain_links(xy, walls, epsilon)
    expected = [plain_segments(xy, episodes, task, links) for task in tasks]
    assert segments_needed(achieved, tasks, walls, (epsilon,)) == [expected]
    for task in tasks:
        found = co_occurrence(achieved, task, min_episodes=3)
        status, joining, unordered, starts, visits, clearance = plain_co_occurrence(xy, episodes, task, 3)
        assert (found.status, found.joining.tolist()) == (status, joining)
        assert (found.unordered, found.starts, found.visits) == (unordered, starts, visits)
        assert found.clearance == pytest.approx(clearance)


DEV = Maze("dev", 1.0)
TOP = 2.0  # y of the middle of its first corridor, which runs from x = -3 to 3


def along(*xs, y=TOP):
    """A trajectory in a corridor through the given x, in steps of 0.1."""
    steps = [np.linspace(a, b, round(abs(b - a) / 0.1) + 1) for a, b in pairwise(xs)]
    x = np.concatenate([steps[0], *(s[1:] for s in steps[1:])])
    return np.stack([x, np.full(len(x), y)], 1)


def at(x, y=TOP):
    return Region((x, y), 0.0, 0.05)


def solve(trajectories, epsilon, *ends, maze=DEV):
    """Segments needed between pairs of points in the first corridor."""
    tasks = [Task(f"{a}-{b}", at(a), at(b), "unseen") for a, b in ends]
    episodes = make_episodes(trajectories)
    return segments_needed(Achieved.of_episodes(episodes, XY), tasks, maze, (epsilon,))[0]


def test_one_two_and_three_segments():
    relay = [along(1.2, 2.5), along(-2.5, -0.5), along(-0.4, 1.0)]
    assert solve(relay, 0.25, (-2.5, -0.6), (-2.5, 0.9), (-2.5, 2.4)) == [1, 2, 3]
    # The second episode's last row is 0.2 from the third's first: with less than that the chain breaks there.
    assert solve(relay, 0.15, (-2.5, -0.6), (-2.5, 0.9), (-2.5, 2.4)) == [1, 2, None]
    # An episode that is in the goal on its first row only does not lead there, one that comes by later does.
    assert solve([along(-2.5, 0.5), along(0.3, 1.5, 0.0)], 0.25, (-2.5, 1.0)) == [2]
    assert solve([along(-2.5, 0.5), along(1.0, 0.3)], 0.25, (-2.5, 1.0)) == [None]


def test_an_episode_is_left_after_it_is_entered():
    # The first episode ends in the start region, so that nothing follows; the second only touches it on its last row.
    assert solve([along(2.5, -2.5)], 0.25, (-2.5, 2.5)) == [None]
    assert solve([along(-1.0, -2.5), along(-1.0, 2.5)], 0.25, (-2.5, 2.5)) == [None]
    # Start and goal may be one place: there must still be a later row.
    assert solve([along(-2.5, -2.0)], 0.25, (-2.0, -2.0), (-2.5, -2.0)) == [None, 1]


def test_an_episode_is_entered_again_earlier():
    # The second episode is entered at x = -1.8, after it was in the goal. The third leads to where it set out from,
    # and from there the second leads to the goal: first, second, third, second.
    episodes = [along(-2.5, -2.0), along(0.0, 2.5, -1.8, -1.0), along(-1.1, 0.0)]
    assert solve(episodes, 0.25, (-2.5, 2.4)) == [4]


def test_reversed_only():
    episodes = make_episodes([along(2.6, -2.6)])
    found = co_occurrence(Achieved.of_episodes(episodes, XY), Task("back", at(-2.5), at(2.5), "unseen"), 1)
    assert (found.status, found.ordered, found.unordered) == ("reversed_only", 0, 1)
    assert (found.starts, found.visits) == (0, 1)
    assert found.clearance == pytest.approx(5.05, abs=1e-6)  # before the goal from 2.6, after the start from -2.6


@pytest.mark.parametrize("count, status", [(3, "seen"), (2, "rare"), (0, "unseen")])
def test_status_and_clearance(count, status):
    episodes = make_episodes([along(-2.5, 0.0)] + [along(-2.5, 2.5)] * count)
    found = co_occurrence(Achieved.of_episodes(episodes, XY), Task("forth", at(-2.5), at(2.5), "seen"), 3)
    assert (found.status, found.starts, found.visits) == (status, count + 1, count)
    assert found.clearance == pytest.approx(0.0 if count else 2.45, abs=1e-6)


def test_walls_keep_episodes_apart():
    # Free cells that share a corner, the two cells beside it being walls: there is no way through.
    maze = Maze("medium", 1.0)
    numbers = {cell: i for i, cell in enumerate(maze.cells)}
    pairs = [
        (a, b)
        for a in maze.cells
        for b in ((a[0] + 1, a[1] + 1), (a[0] + 1, a[1] - 1))
        if maze.free[b] and not maze.free[a[0], b[1]] and not maze.free[b[0], a[1]]
    ]
    assert pairs
    for a, b in pairs:
        assert not maze.adjacent[numbers[a], numbers[b]]
        here, there = maze.to_xy(a), maze.to_xy(b)
        corner = (here + there) / 2
        near, beyond = corner + 0.1 * (here - there), corner + 0.1 * (there - here)  # 0.28 m apart
        episodes = make_episodes([np.stack([here, near]), np.stack([beyond, there])])
        task = Task("across", Region(tuple(here), 0.1), Region(tuple(there), 0.1), "unseen")
        assert segments_needed(Achieved.of_episodes(episodes, XY), [task], maze, (0.45,)) == [[None]]
        assert segments_needed(Achieved.of_episodes(episodes, XY), [task], None, (0.45, 0.2)) == [[2], [None]]


def two_corridors(*extra) -> tuple[Episodes, list[Task], Maze]:
    """60 episodes along the top of the umaze and 60 from there to its bottom; tasks through one or both."""
    maze = Maze("umaze", 1.0)
    a, b, c = (maze.to_xy(cell) for cell in ((1, 1), (1, 3), (3, 3)))
    d = maze.to_xy((3, 1))

    def through(*points):
        return np.concatenate([np.linspace(p, q, 20, endpoint=False) for p, q in pairwise(points)])

    trajectories = [through(a, b, c)[:24], through(b, c, d, d)] * 60
    trajectories += [through(a, b, c, d, d) for _ in extra]
    regions = {name: Region(tuple(xy), 0.1) for name, xy in zip("abd", (a, b, d), strict=True)}

    def task(start, goal, expect):
        return Task(f"{start}-to-{goal}", regions[start], replace(regions[goal], radius=0.45), expect, 2.0, 300)

    return make_episodes(trajectories), [task("a", "b", "seen"), task("b", "d", "seen"), task("a", "d", "unseen")], maze


def test_a_planted_leak_fails():
    clean = certify("clean", *two_corridors(), 0.45, 50, False, {"a-to-d": 0.987654})
    assert clean.passed and clean.problems == []
    assert [task["status"] for task in clean.tasks] == ["seen", "seen", "unseen"]
    assert [task["segments_needed"] for task in clean.tasks] == [1, 1, 2]
    assert [task["ceiling"] for task in clean.tasks] == [None, None, 0.9877]

    leaky = certify("leaky", *two_corridors("leak"), 0.45, 50, True)
    assert not leaky.passed  # a control is judged like any other
    assert leaky.problems == ["task a-to-d: expected unseen, found rare: 1 episode joins it (episode 120)"]
    assert leaky.tasks[2]["episodes"] == [120] and leaky.tasks[2]["clearance"] == 0
    assert leaky.dataset_sha256 != clean.dataset_sha256 and leaky.tasks_sha256 == clean.tasks_sha256


def test_problems_name_what_is_missing():
    episodes, (first, second, unseen), maze = two_corridors()
    strict = certify("x", episodes, [unseen], maze, 0.45, 61, False)
    assert strict.problems == [
        "task a-to-d: only 60 episodes begin in its start region, 61 needed",
        "task a-to-d: only 60 episodes visit its goal region, 61 needed",
    ]
    alone = make_episodes([episodes.observations[:24].numpy()] * 50)  # the top corridor alone
    assert certify("x", alone, [unseen], maze, 0.45, 50, False).problems == [
        "task a-to-d: no chain of episodes leads from start to goal at epsilon 0.45",
        "task a-to-d: only 0 episodes visit its goal region, 50 needed",
    ]
    wrong = [replace(first, expect="unseen"), replace(second, start=second.goal, goal=second.start, expect="seen")]
    joined, reverse = certify("x", episodes, wrong, maze, 0.45, 50, False).problems[:2]
    assert joined.startswith("task a-to-b: expected unseen, found seen: 60 episodes join it (0, 2, 4,")
    assert joined.endswith("36, 38, ...)")
    assert reverse.startswith(
        "task b-to-d: expected seen, found reversed_only: episodes that visit both of its regions: 60 (1, 3, 5,"
    )
    assert reverse.endswith("37, 39, ...), none in order")


def test_the_range_of_segments_is_from_twice_epsilon_to_half_of_it():
    """By hand: four episodes along a corridor. Each gap decides at which of 0.8, 0.4 and 0.2 m it is joined."""
    task = Task("t", at(-2.5), at(2.5), "unseen")

    def found(*trajectories):
        (row,) = certify("x", make_episodes(trajectories), [task], DEV, 0.4, 1, False).tasks
        return row["segments_needed"], row["segments_range"]

    first, second, third = along(-2.5, -1.0), along(-0.7, 0.7), along(1.0, 2.5)
    assert found(first, second, third) == (3, [3, None]), "gaps of 0.3 m: none at 0.2 m"
    assert found(first, along(-1.0, 1.0), third) == (3, [3, 3]), "no gaps"
    # The first and the third are 0.7 m apart: at 0.8 m the second is not needed. At 0.2 m the last two need a fourth.
    first, third = along(-2.5, -0.3), along(0.4, 2.5)
    assert found(first, along(-0.6, 0.4), third) == (3, [2, 3])
    assert found(first, along(0.0, 0.4), third) == (3, [2, None])
    assert found(first, along(0.0, 0.4), third, along(-0.4, 0.1)) == (3, [2, 4])


def test_episodes_that_visit_both_ends_in_reverse_are_named_where_none_joins_them():
    back, forth, start = along(2.6, -2.6), along(-2.6, 2.6), along(-2.6, 0.0)
    task = Task("t", at(-2.5), at(2.5), "unseen")

    def found(*trajectories):
        certificate = certify("x", make_episodes(trajectories), [task], DEV, 0.4, 50, False, min_support=0)
        (row,) = certificate.tasks
        return row["status"], row["unordered"], row["episodes"], certificate.problems

    status, unordered, episodes, problems = found(start, back, start, back)
    assert (status, unordered, episodes) == ("reversed_only", 2, [1, 3])
    assert problems[0].endswith("episodes that visit both of its regions: 2 (1, 3), none in order")
    assert found(start, back, forth)[:3] == ("rare", 2, [2]), "those that join it, where some do"
    assert found(start, start)[:3] == ("unseen", 0, [])
    many = found(*[back] * 25)
    assert many[:3] == ("reversed_only", 25, list(range(20))) and "25 (0, 1," in many[3][0] and "19, ...)" in many[3][0]
    # A row that lies in both regions is in both, and joins nothing.
    there = Task("u", at(-2.5), Region((-2.5, TOP), 0.0, 0.2), "unseen")
    (row,) = certify("x", make_episodes([along(-2.1, -2.5)]), [there], DEV, 0.4, 1, False).tasks
    assert (row["status"], row["episodes"]) == ("reversed_only", [0])


def test_an_old_certificate_that_names_no_episodes_is_read():
    found = certify(
        "x", make_episodes([along(2.6, -2.6)]), [Task("t", at(-2.5), at(2.5), "unseen")], DEV, 0.4, 1, False
    )
    found.tasks[0]["episodes"] = []
    assert "regions: 1, none in order" in Certificate.from_dict(found.as_dict()).problems[0]


@pytest.mark.parametrize("support, missing", [(60, 0), (61, 2), (0, 0)])
def test_support_is_not_how_many_episodes_make_a_task_seen(support, missing):
    """60 episodes begin in its start and as many visit its goal."""
    episodes, (_, _, unseen), maze = two_corridors()
    certificate = certify("x", episodes, [unseen], maze, 0.45, 10_000, False, min_support=support)
    assert len(certificate.problems) == missing and certificate.min_support == support
    assert certify("x", episodes, [unseen], maze, 0.45, 60, False).min_support == 60


@pytest.mark.parametrize("enough, status", [(3, "seen"), (4, "rare")])
def test_exactly_enough_episodes_make_a_task_seen(enough, status):
    episodes = make_episodes([along(-2.5, 2.5)] * 3)
    assert (
        co_occurrence(Achieved.of_episodes(episodes, XY), Task("t", at(-2.5), at(2.5), "seen"), enough).status == status
    )


def test_the_first_and_last_visits_by_hand():
    """Rows 0 to 6 of the first episode, 7 to 9 of the second; in the region are 1, 2, 5 and 9."""
    x = [0, 1, 1, 0, 0, 1, 0, 0, 0, 1]
    achieved = Achieved(np.stack([x, np.zeros(10)], 1).astype(np.float32), np.array([6, 2]))
    found = achieved.visits(Region((1.0, 0.0), 0.1))
    assert found.first.tolist() == [1, 9] and found.last.tolist() == [5, 9]
    nowhere = achieved.visits(Region((5.0, 0.0), 0.1))
    assert nowhere.first.tolist() == [10, 10] and nowhere.last.tolist() == [-1, -1]


def test_certificate_round_trip():
    found = certify("leaky", *two_corridors("leak"), 0.45, 50, False, {"a-to-b": 1.0})
    values = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert Certificate.from_dict(values) == found
    assert values["pass"] is False and values["problems"] == found.problems
    # The verdict follows from the findings: one that was edited into the file does not come back.
    assert not Certificate.from_dict({**values, "pass": True, "problems": []}).passed


def test_numbers_that_do_not_exist_are_null():
    episodes = make_episodes([along(-1.0, 1.0)])
    nowhere = Task("nowhere", at(-2.5), at(2.5), "unseen")
    (task,) = certify("x", episodes, [nowhere], DEV, 0.45, 1, False).as_dict()["tasks"]
    assert task["clearance"] is task["path_length"] is task["segments_needed"] is None
    assert task["segments_range"] == [None, None]


def test_tasks_hash_is_of_values():
    task = Task("t", Region((1.0, 2.0), 0.5), Region((0.0, 0.0), 0.5, 0.45), "unseen", 3.0, 300)
    same = replace(task, start=Region((1, np.float64(2.0)), 0.5))
    assert tasks_sha256([task]) == tasks_sha256([same])
    assert tasks_sha256([task]) != tasks_sha256([replace(task, expect="seen")])


CORRIDORS = (  # contexts of the dev maze: each one's cells are reached from each other without leaving it
    [(1, c) for c in range(1, 7)],
    [(1, 6), (2, 6), (3, 6)],
    [(3, c) for c in range(1, 7)],
    [(3, 1), (4, 1), (5, 1)],
    [(5, c) for c in range(1, 7)],
)


def stroll(rng, *points):
    """A noisy trajectory [T + 1, 2] through points, in steps of about 0.1."""
    legs = [
        np.linspace(a, b, max(2, round(float(np.hypot(*(b - a))) / 0.1)), endpoint=False) for a, b in pairwise(points)
    ]
    way = np.concatenate([*legs, points[-1][None]])
    return way + rng.normal(0, 0.01, way.shape)


def through_cells(rng, start, goal):
    return stroll(rng, *(DEV.to_xy(cell) for cell in DEV.path(start, goal)))


@pytest.mark.parametrize("leak", ["an episode", "a shortcut through a wall", "a goal switched on the way"])
@pytest.mark.parametrize("seed", range(34))
def test_random_leaks_are_found_and_clean_data_raise_no_alarm(seed, leak):
    rng = np.random.default_rng([seed, len(leak)])

    def pick(cells):
        return cells[rng.integers(len(cells))]

    trajectories = []
    for number in range(100):
        cells = CORRIDORS[number % len(CORRIDORS)]
        start, goal = pick(cells), pick(cells)
        while start == goal:
            goal = pick(cells)
        trajectories.append(through_cells(rng, start, goal))
    upper, lower = pick([(0, 2), (2, 4), (0, 4)])
    ends = [pick(CORRIDORS[upper][1:-1]), pick(CORRIDORS[lower][1:-1])]
    start, goal = ends if rng.random() < 0.5 else ends[::-1]
    a, b = DEV.to_xy(start), DEV.to_xy(goal)
    task = Task("t", Region(tuple(a), 0.25), Region(tuple(b), 0.25, 0.2), "unseen")
    clean = certify("clean", make_episodes(trajectories), [task], DEV, 0.45, 50, False, min_support=0)
    assert clean.tasks[0]["status"] == "unseen" and clean.tasks[0]["unordered"] == 0
    assert clean.tasks[0]["segments_needed"] != 1

    at = int(rng.integers(len(trajectories) + 1))
    if leak == "an episode":
        planted = through_cells(rng, start, goal)
    elif leak == "a shortcut through a wall":
        planted = stroll(rng, a, b)
    else:  # sent elsewhere in its corridor, and on the way to the other end
        between = pick(CORRIDORS[upper if start == ends[0] else lower])
        planted = np.concatenate([through_cells(rng, start, between), through_cells(rng, between, goal)])
    leaky = make_episodes([*trajectories[:at], planted, *trajectories[at:]])
    found = certify("leaky", leaky, [task], DEV, 0.45, 50, False, min_support=0)
    assert not found.passed and found.tasks[0]["episodes"] == [at] and found.tasks[0]["status"] == "rare"
