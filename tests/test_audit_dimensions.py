"""The audit in any number of dimensions, and where achieved goals must be equal: against plain loops."""

import json
import re
from base64 import b64decode

import numpy as np
import pytest
import torch
from conftest import command, make_episodes
from test_audit import plain_co_occurrence, plain_segments

from stitchrl.audit import __main__ as audit
from stitchrl.audit import lattice
from stitchrl.audit.achieved import Achieved, at_columns
from stitchrl.audit.certificate import Audited, Certificate
from stitchrl.audit.chains import Links, bins_per_epsilon, segments_needed
from stitchrl.audit.cooccurrence import co_occurrence, stretch
from stitchrl.audit.goals import GOALS
from stitchrl.audit.lattice import Lattice
from stitchrl.audit.matched import pairs_within
from stitchrl.audit.sample import take
from stitchrl.audit.survey import coverage, distances, survey
from stitchrl.data.episodes import Episodes
from stitchrl.data.formats import write
from stitchrl.data.formats.source import of_episodes
from stitchrl.report.audit_page import LABEL, offsets
from stitchrl.types import Region, Task


class Halves:
    """Walls between points with a positive first number and all others."""

    adjacent = np.eye(2, dtype=bool)

    def place(self, points: np.ndarray) -> np.ndarray:
        return (points[:, 0] > 0).astype(np.int64)


def walks(rng: np.random.Generator, dimensions: int, grid: bool) -> tuple[Achieved, Episodes]:
    """Random walks [2..12 rows], on a grid of whole numbers or off it."""
    lengths = rng.integers(1, 12, 30)
    parts = []
    for length in lengths:
        moves = rng.integers(-1, 2, (length + 1, dimensions)) if grid else rng.normal(0, 0.4, (length + 1, dimensions))
        parts.append(np.clip(rng.integers(-1, 2, dimensions) + moves.cumsum(0), -2, 2))
    points = np.concatenate(parts).astype(np.float32)
    return Achieved(points, lengths), make_episodes([np.zeros((length + 1, 2)) for length in lengths])


def plain_links(points: np.ndarray, walls: Halves | None, epsilon: float) -> list[list[int]]:
    place = np.zeros(len(points), int) if walls is None else walls.place(points)
    near = ((points[:, None] - points) ** 2).sum(-1) <= epsilon**2
    return [np.flatnonzero(row & (place == place[i])).tolist() for i, row in enumerate(near)]


@pytest.mark.parametrize("walls", [None, Halves()])
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("seed", range(3))
def test_chains_in_any_dimension_equal_plain_loops(seed, dimensions, epsilon, walls, monkeypatch):
    """With epsilon 0 walks are on a grid, where many achieved goals are equal."""
    rng = np.random.default_rng([seed, dimensions])
    achieved, episodes = walks(rng, dimensions, grid=epsilon == 0)
    points = achieved.points(slice(None))
    ends = points[rng.integers(len(points), size=(4, 2))]
    tasks = [Task(str(i), *(Region(tuple(end), 0.1, 0.2) for end in pair), "unseen") for i, pair in enumerate(ends)]
    links = plain_links(points, walls, epsilon)
    expected = [plain_segments(points, episodes, task, links) for task in tasks]
    assert segments_needed(achieved, tasks, walls, (epsilon,)) == [expected]
    for task in tasks:
        found = co_occurrence(achieved, task, 2)
        assert (found.status, found.joining.tolist()) == plain_co_occurrence(points, episodes, task, 2)[:2]


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 8, 9, 16])
def test_all_points_of_a_bin_are_within_epsilon(dimensions):
    assert dimensions**0.5 < bins_per_epsilon(dimensions)


def test_a_certificate_of_goals_that_must_be_equal():
    """A line of five squares: from 0 to 2, and from 2 to 4. One beside the line is near it, and joins nothing."""
    achieved = Achieved(np.array([[0], [1], [2], [2], [3], [4], [2.25], [5]], np.float32), np.array([2, 2, 1]))
    tasks = [Task(f"0-{goal}", Region((0.0,)), Region((float(goal),)), "unseen") for goal in (2, 4, 5)]
    certificate = GOALS.certify(Audited("x", "0", achieved, tasks, None, 0.0, 1))
    assert [task["segments_needed"] for task in certificate.tasks] == [1, 2, None]
    assert [task["segments_range"] for task in certificate.tasks] == [[1, 1], [2, 2], [None, None]]
    assert certificate.tasks[0]["start"] == {"center": [0.0], "half": 0.0, "radius": 0.0}
    assert Certificate.from_dict(json.loads(json.dumps(certificate.as_dict()))) == certificate
    assert coverage(achieved, 0.0) == {"area": 7.0, "shared": round(1 / 7, 4)}


def test_codes_that_do_not_fit_into_64_bits_are_ranked(monkeypatch):
    """Eight dimensions of 4000 cubes each make 2**95."""
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 4, (500, 8)).astype(np.float32)
    points[100:200] = points[:100]
    achieved = Achieved(points, np.full(50, 9))
    for side in (0.001, 0.0):
        found = Lattice(achieved, side)
        cubes = np.concatenate([found.cube(part) for part in achieved.parts])
        key = np.floor(achieved.points(slice(None)) / side).astype(np.int64) if side else points
        expected = np.unique(key, axis=0, return_inverse=True)[1].reshape(-1)
        assert np.array_equal(cubes, expected) and len(found) == 400
        if side:
            assert np.array_equal(found.corner, np.unique(key - key.min(0), axis=0))
    assert lattice.Lattice(achieved, 10.0).corner.tolist() == [[0] * 8]


def test_observations_of_any_shape_and_type_are_read():
    """Boards of 3 by 3 in two planes of uint8; the first one shows the place in its row and column."""
    rng = np.random.default_rng(0)
    places = rng.integers(0, 3, (60, 2))
    boards = np.zeros((60, 2, 3, 3), np.uint8)
    boards[np.arange(60), 0, places[:, 0], places[:, 1]] = 1
    boards[:, 1] = rng.integers(0, 2, (60, 3, 3))
    lengths = torch.full((6,), 9)
    actions = torch.zeros(60, 1)
    actions[9::10] = torch.nan
    episodes = Episodes(torch.from_numpy(boards), actions, None, lengths)

    def of(observations):
        return np.stack(np.divmod(observations[:, 0].reshape(len(observations), -1).argmax(1), 3), 1)

    achieved = Achieved.of_episodes(episodes, of)
    assert np.array_equal(achieved.stored, places) and achieved.columns == []
    source = of_episodes("boards", episodes, {})
    tasks = [Task("t", Region((0.0, 0.0)), Region((2.0, 2.0)), "unseen")]
    audited = Audited("boards", "0", achieved, tasks, None, 0.0, 1)
    surveyed = survey(source, audited, [1])
    assert surveyed["segments_matched"]["exact"] and surveyed["coverage"]["area"] == 9
    sample = take(source, achieved, 0.0, rng)
    assert len(sample.columns) == 18
    pairs = pairs_within(sample, achieved, 0.0)
    expected = {(i, j) for i in range(60) for j in range(i) if (places[i] == places[j]).all()}
    assert {tuple(sorted(pair, reverse=True)) for pair in pairs.tolist()} == expected


def test_the_columns_that_state_the_goal_are_found():
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(40, 5)).astype(np.float32)
    lengths = torch.full((4,), 9)
    actions = torch.zeros(40, 1)
    actions[9::10] = torch.nan
    episodes = Episodes(torch.from_numpy(observations), actions, None, lengths)
    assert Achieved.of_episodes(episodes, at_columns((3, 1))).columns == [1, 3]
    assert Achieved.of_episodes(episodes, lambda given: given[:, :2] + 1).columns == []


def test_distances_in_three_dimensions():
    rng = np.random.default_rng(0)
    achieved = Achieved(rng.uniform(0, 0.1, (200, 3)).astype(np.float32), np.full(10, 19))
    task = Task("t", Region((0.05, 0.05, 10.0), 0.0, 0.1), Region((0.05, 0.05, 0.05), 0.05), "unseen")
    found = distances(achieved, [task], rng)
    assert found["starts"] == pytest.approx(9.95, abs=0.1) and found["goals"] < 0.1


def test_a_bin_of_joins_is_never_in_two_places():
    achieved = Achieved(np.array([[-0.01], [0.01], [0.02]], np.float32), np.array([2]))
    links = Links(achieved, Halves(), 1.0)
    assert links.bin[0] != links.bin[1] and links.bin[1] == links.bin[2] and links.walls_matter


@pytest.mark.parametrize("columns", [[0], [0, 1], [0, 1, 2]])
def test_pages_of_any_number_of_columns(columns, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = np.stack([np.linspace(0, 8, 40), np.zeros(40)], 1)
    write("lab.hdf5", of_episodes("lab", make_episodes([line, line, line[::-1].copy()]), {}))
    center = [[0.0] * len(columns), [8.0] + [0.0] * (len(columns) - 1)]
    (tmp_path / "tasks.yaml").write_text(
        f"achieved_goal: {{columns: {columns}}}\n"
        f"tasks: [{{name: t, start: {{center: {center[0]}, radius: 0.5}}, goal: {{center: {center[1]}, radius: 0.5}}}}]"
    )
    assert command(audit, monkeypatch, "lab.hdf5", "--tasks", "tasks.yaml", "--html", "audit.html") == 1
    said = capsys.readouterr().out
    assert "It fails: 2 episodes join t, which should be unseen." in said
    page = (tmp_path / "audit.html").read_text()
    assert "2 such parts of episodes" in page
    assert ("first two of the\n3 numbers" in page) == (len(columns) == 3)
    assert ("An achieved goal is one number." in page) == (len(columns) == 1)
    assert b64decode(re.search(r'base64,([^"]+)"', page)[1]).startswith(b"\x89PNG")


def test_a_stretch_leads_from_the_last_visit_of_the_start_to_the_first_of_the_goal_after_it():
    start, goal = Region((0.0,), 0.0, 0.1), Region((3.0,), 0.0, 0.1)
    assert stretch(np.array([[3.0], [0], [1], [0], [2], [3], [3], [0]]), start, goal) == (3, 5)
    assert stretch(np.array([[1.0], [3], [2], [0], [1]]), start, goal) == (1, 3), "the other order"
    assert stretch(np.array([[1.0], [0], [3]]), start, Region((1.5,), 2.0)) == (1, 2)


@pytest.mark.parametrize("seed", range(5))
def test_labels_do_not_collide(seed):
    """Thirty labels whose anchors lie close together, some in one place."""
    rng = np.random.default_rng(seed)
    anchors = rng.uniform(0, 60, (30, 2)).round(-1)
    sizes = [(0.75 * LABEL * count, 1.2 * LABEL) for count in rng.integers(1, 5, 30)]
    middles = anchors + np.array(offsets(anchors, sizes))
    for i in range(30):
        for j in range(i):
            reach = (np.array(sizes[i]) + sizes[j]) / 2
            assert (np.abs(middles[i] - middles[j]) >= reach - 1e-9).any()
