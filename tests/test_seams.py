"""Seams, joins through walls and matched links, against the definitions row by row on small random data."""

import numpy as np
import pytest
import torch
from test_audit import plain_links, plain_segments, walk

from stitchrl.audit import achieved as achieved_module
from stitchrl.audit import sample as sample_module
from stitchrl.audit import seams as seams_module
from stitchrl.audit.achieved import Achieved, at_columns
from stitchrl.audit.chains import Links, segments_needed
from stitchrl.audit.matched import THRESHOLD, pairs_within, same_side, segments_matched, through_walls
from stitchrl.audit.sample import observations_at, take
from stitchrl.audit.seams import jumps
from stitchrl.data.episodes import Episodes
from stitchrl.data.formats.source import Source, of_episodes, spans
from stitchrl.types import Region, Task
from stitchrl.worlds.maze.maps import Maze

EPSILON = 0.4
XY = at_columns((0, 1))


def chunked(episodes: Episodes) -> Source:
    """Episodes that are read some rows at a time."""

    def chunks(rows):
        for first, last in spans(episodes.lengths.numpy(), rows):
            here = slice(int(episodes.first[first]), int(episodes.last[last - 1]) + 1)
            yield Episodes(episodes.observations[here], episodes.actions[here], None, episodes.lengths[first:last])

    whole = of_episodes("x", episodes, {})
    return Source("x", whole.lengths, 5, 2, False, chunks)


class Random:
    """Walks through a maze whose observations are (u, x, v, y, 1): velocities beside the position, and a constant."""

    def __init__(self, seed: int):
        rng = np.random.default_rng(seed)
        self.maze = Maze(("umaze", "medium", "dev")[seed % 3], 1.0)
        walks = [walk(self.maze, rng, lattice=False) for _ in range(rng.integers(20, 40))]
        rows = [
            np.stack([np.gradient(w[:, 0]), w[:, 0], 3 * np.gradient(w[:, 1]), w[:, 1], np.ones(len(w))], 1)
            for w in walks
        ]
        lengths = torch.tensor([len(w) - 1 for w in walks])
        observations = torch.from_numpy(np.concatenate(rows).astype(np.float32))
        actions = torch.zeros(len(observations), 2)
        actions[(lengths + 1).cumsum(0) - 1] = torch.nan
        self.episodes = Episodes(observations, actions, None, lengths)
        self.source = chunked(self.episodes)
        self.achieved = Achieved.of_source(self.source, at_columns((1, 3)))
        self.sample = take(self.source, self.achieved, EPSILON, np.random.default_rng(0))
        self.links = Links(self.achieved, self.maze, EPSILON)
        cells = [
            Region(tuple(self.maze.to_xy(self.maze.cells[i])), 0.3) for i in rng.integers(len(self.maze.cells), size=8)
        ]
        self.tasks = [Task(str(i), cells[i], cells[i + 4], "unseen") for i in range(4)]
        self.xy = self.achieved.points(slice(None))
        columns = observations[:, [0, 2]].double().numpy()
        self.standard = (columns / columns.std(0)).tolist()

    def apart(self, i: int, j: int) -> float:
        (a, b), (c, d) = self.standard[i], self.standard[j]
        return (((a - c) ** 2 + (b - d) ** 2) / 2) ** 0.5


@pytest.fixture(params=range(24))
def data(request, monkeypatch):
    if request.param % 2:
        for module in (achieved_module, sample_module, seams_module):
            monkeypatch.setattr(module, "ROWS", 60)
    return Random(request.param)


def covered_by_level(data, task, links) -> list[set[int]]:
    """Rows that are reached with one segment, two, ..."""
    ends, levels = data.episodes.ends.tolist(), []
    entered = {row for row in range(len(data.xy)) if task.start.contains(data.xy[row])}
    covered: set[int] = set()
    while added := {row for y in entered for row in range(y + 1, ends[y] + 1)} - covered:
        covered = covered | added
        levels.append(covered)
        entered = {y for x in added for y in links[x]}
    return levels


def leading_by_level(data, task, links) -> list[set[int]]:
    """Rows from which the goal is reached with one segment, two, ..."""
    first, levels = data.episodes.starts.tolist(), []
    left = {row for row in range(len(data.xy)) if task.goal.contains(data.xy[row])}
    leading: set[int] = set()
    while added := {row for x in left for row in range(first[x], x)} - leading:
        leading = leading | added
        levels.append(leading)
        left = {x for y in added for x in links[y]}
    return levels


def test_jumps_are_those_of_all_seams_of_shortest_chains(data, monkeypatch):
    monkeypatch.setattr(seams_module, "SEAMS", 10**6)
    links = plain_links(data.xy, data.maze, EPSILON)
    ends = data.episodes.ends.tolist()
    least, steps, medians = [], [], {}
    for task in data.tasks:
        needed = plain_segments(data.xy, data.episodes, task, links)
        forward, backward = covered_by_level(data, task, links), leading_by_level(data, task, links)
        of_task = []
        for left in range(1, needed or 0):
            for x in sorted(forward[left - 1]):
                if there := [data.apart(x, y) for y in links[x] if y in backward[needed - left - 1]]:
                    of_task.append(min(there))
                    steps.append(data.apart(x, x + 1 if x < ends[x] else x - 1))
        medians[task.name] = pytest.approx(np.median(of_task), abs=1e-3) if of_task else None
        least += of_task
    found = jumps(data.source, data.sample, data.achieved, data.tasks, data.links, np.random.default_rng(0))
    assert found["rows"] == len(least) and found["tasks"] == medians
    if least:
        assert found["jump"]["median"] == pytest.approx(np.median(least), abs=1e-3)
        assert found["jump"]["p90"] == pytest.approx(np.quantile(least, 0.9), abs=1e-3)
        assert found["step"]["median"] == pytest.approx(np.median(steps), abs=1e-3)


def test_matched_segments_equal_a_plain_loop(data):
    links = plain_links(data.xy, data.maze, EPSILON)
    kept = [[j for j in there if data.apart(i, j) <= THRESHOLD] for i, there in enumerate(links)]
    pairs = pairs_within(data.sample, data.achieved, EPSILON)
    pairs = pairs[same_side(data.sample, data.achieved, data.maze, pairs)]
    found = segments_matched(data.sample, data.achieved, data.tasks, pairs)
    assert found["exact"] and found["rows"] == len(data.xy)
    assert found["tasks"] == {t.name: plain_segments(data.xy, data.episodes, t, kept) for t in data.tasks}


def test_fewer_rows_give_an_upper_bound(data, monkeypatch):
    monkeypatch.setattr(sample_module, "JOINS", 300)
    part = take(data.source, data.achieved, EPSILON, np.random.default_rng(0))
    assert len(part.rows) < len(data.sample.rows)
    found = []
    for sample in (data.sample, part):
        pairs = pairs_within(sample, data.achieved, EPSILON)
        pairs = pairs[same_side(sample, data.achieved, data.maze, pairs)]
        found.append(segments_matched(sample, data.achieved, data.tasks, pairs))
    assert found[0]["exact"] and not found[1]["exact"]
    for exact, bound in zip(found[0]["tasks"].values(), found[1]["tasks"].values(), strict=True):
        assert bound is None or (exact is not None and exact <= bound)


def test_joins_through_walls_equal_a_plain_loop(data):
    wide, narrow = plain_links(data.xy, None, EPSILON), plain_links(data.xy, data.maze, EPSILON)
    number = np.repeat(np.arange(len(data.episodes.lengths)), data.episodes.lengths.numpy() + 1)
    of_two = [(i, j) for i, there in enumerate(wide) for j in there if number[i] != number[j]]
    ruled_out = [pair for pair in of_two if pair[1] not in narrow[pair[0]]]
    pairs = pairs_within(data.sample, data.achieved, EPSILON)
    open_way = same_side(data.sample, data.achieved, data.maze, pairs)
    needed = segments_needed(data.achieved, data.tasks, data.maze, (EPSILON,))[0]
    found = through_walls(data.sample, data.achieved, data.tasks, needed, data.links, pairs, open_way)
    assert found["share"] == pytest.approx(len(ruled_out) / len(of_two), abs=1e-6)
    assert found["segments"] == {t.name: plain_segments(data.xy, data.episodes, t, wide) for t in data.tasks}


def test_a_chain_through_a_wall_and_a_jump_in_velocity_are_told_by_hand():
    """Two corridors of the U, one left and one below the wall's end: near each other, but for the wall's corner."""
    maze = Maze("umaze", 1.0)
    upper, lower = maze.to_xy((1, 1)), maze.to_xy((3, 1))
    above, below = np.array([0.5, 0.55]), np.array([0.5, -0.55])
    lines = [np.linspace(upper, above, 20), np.linspace(below, lower, 20)]
    task = Task("t", Region(tuple(upper), 0.1), Region(tuple(lower), 0.1), "unseen")
    rows = [np.concatenate([line, np.full((20, 1), speed)], 1) for line, speed in zip(lines, (1.0, -1.0), strict=True)]
    lengths = torch.tensor([19, 19])
    actions = torch.zeros(40, 2)
    actions[[19, 39]] = torch.nan
    episodes = Episodes(torch.from_numpy(np.concatenate(rows).astype(np.float32)), actions, None, lengths)
    source, achieved = of_episodes("x", episodes, {}), Achieved.of_episodes(episodes, XY)
    sample = take(source, achieved, 1.2, np.random.default_rng(0))
    links, open_links = Links(achieved, maze, 1.2), Links(achieved, None, 1.2)
    pairs = pairs_within(sample, achieved, 1.2)
    way = same_side(sample, achieved, maze, pairs)
    walls = through_walls(sample, achieved, [task], [None], links, pairs, way)
    assert walls["share"] == 1 and walls["segments"] == {"t": 2}
    assert through_walls(sample, achieved, [task], [2], open_links, pairs, way) is None
    found = jumps(source, sample, achieved, [task], open_links, np.random.default_rng(0))
    assert found["jump"]["median"] == pytest.approx(2) and found["step"]["median"] == 0
    assert jumps(source, sample, achieved, [task], links, np.random.default_rng(0))["jump"] is None
    assert segments_matched(sample, achieved, [task], pairs)["tasks"] == {"t": None}


def test_positions_alone_have_no_posture():
    data = Random(0)
    alone = Episodes(data.episodes.observations[:, [1, 3]], data.episodes.actions, None, data.episodes.lengths)
    source, achieved = of_episodes("x", alone, {}), Achieved.of_episodes(alone, XY)
    sample = take(source, achieved, EPSILON, np.random.default_rng(0))
    pairs = pairs_within(sample, achieved, EPSILON)
    assert segments_matched(sample, achieved, data.tasks, pairs) is None
    assert jumps(source, sample, achieved, data.tasks, data.links, np.random.default_rng(0)) is None


def test_observations_are_read_in_any_order(monkeypatch):
    data = Random(1)
    monkeypatch.setattr(sample_module, "ROWS", 60)
    rows = np.random.default_rng(0).integers(len(data.xy), size=200)
    assert np.array_equal(observations_at(data.source, rows), data.episodes.observations[rows].numpy())
