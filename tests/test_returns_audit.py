"""The certificate for returns: exact in small worlds, bounds elsewhere, a planted leak is found."""

import json
import math
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from stitchrl.audit.achieved import Achieved
from stitchrl.audit.certificate import Audited, Certificate
from stitchrl.audit.chains import Links
from stitchrl.audit.returns import RETURNS, SEGMENTS, best_by_chaining, returns_within
from stitchrl.types import Region, ReturnTask

EPSILON = 0.45


def walks(rng: np.random.Generator, step: float, episodes: int = 8) -> tuple[Achieved, np.ndarray]:
    """Random walks in a square of 3 m, on a grid where the step is 1, and whole rewards from 0 to 3."""
    lengths = rng.integers(1, 7, episodes)
    xy = []
    for length in lengths:
        moves = rng.integers(-1, 2, (length + 1, 2)) * step
        xy.append(np.clip(rng.integers(0, 4, 2) + moves.cumsum(0), 0, 3))
    rewards = rng.integers(0, 4, int((lengths + 1).sum())).astype(np.float32)
    rewards[(lengths + 1).cumsum() - 1] = np.nan
    return Achieved(np.concatenate(xy).astype(np.float32), lengths), rewards


def by_value_iteration(achieved: Achieved, rewards: np.ndarray, task: ReturnTask, segments: int) -> float:
    """The most that chains of so many episodes collect, one row, one step and one jump at a time."""
    xy, last = achieved.stored.astype(np.float64), set(achieved.last.tolist())
    n = len(xy)
    near = [[w for w in range(n) if math.dist(xy[row], xy[w]) <= EPSILON] for row in range(n)]
    value = np.zeros((segments + 1, task.horizon + 1, n))  # at a row, after a step there or a jump to it
    best = np.zeros((segments + 1, task.horizon + 1, n))  # at a row where an episode may be left
    for k in range(1, segments + 1):
        for steps in range(task.horizon + 1):
            for row in range(n):
                if steps and row not in last:
                    value[k, steps, row] = rewards[row] + best[k, steps - 1, row + 1]
            for row in range(n):
                jumps = [value[k - 1, steps, w] for w in near[row]] if k > 1 else []
                best[k, steps, row] = max([value[k, steps, row], *jumps])
    return max((value[segments, task.horizon, row] for row in range(n) if task.start.contains(xy[row])), default=0.0)


@pytest.mark.parametrize("seed", range(8))
def test_on_a_grid_chaining_collects_what_value_iteration_finds(seed: int) -> None:
    achieved, rewards = walks(np.random.default_rng(seed), step=1)
    tasks = [ReturnTask(f"{h}", Region((1.0, 1.0), 0.5), 5, h, "unseen") for h in (1, 3, 6)]
    links = Links(achieved, None, EPSILON)
    expected = [[by_value_iteration(achieved, rewards, task, k + 1) for k in range(SEGMENTS)] for task in tasks]
    assert best_by_chaining(links, links.sure, rewards, tasks) == expected
    assert best_by_chaining(links, links.near, rewards, tasks) == expected


@pytest.mark.parametrize("seed", range(8))
def test_elsewhere_what_value_iteration_finds_lies_within_the_bounds(seed: int) -> None:
    achieved, rewards = walks(np.random.default_rng(seed), step=0.37)
    task = ReturnTask("near", Region((1.0, 1.0), 0.5), 5, 6, "unseen")
    links = Links(achieved, None, EPSILON)
    (low,), (high,) = (best_by_chaining(links, near, rewards, [task]) for near in (links.sure, links.near))
    for k in range(SEGMENTS):
        assert low[k] <= by_value_iteration(achieved, rewards, task, k + 1) <= high[k]


@pytest.mark.parametrize("horizon", [1, 2, 10])
def test_the_best_in_the_data_is_that_of_plain_loops(horizon: int) -> None:
    achieved, rewards = walks(np.random.default_rng(1), step=1, episodes=30)
    found = returns_within(achieved, rewards, horizon)
    for first, last in zip(achieved.first, achieved.last, strict=True):
        for row in range(first, last + 1):
            assert found[row] == sum(rewards[row : min(row + horizon, last)])


def line(more: list[list[int]]) -> tuple[Achieved, np.ndarray]:
    """Episodes from A (0) to B (2), and from B to C (4), where a step earns 1; `more` of the same kind."""
    walks = [[0, 1, 2, 2, 2, 2]] * 3 + [[2, 3, 4, 4, 4, 4]] * 3 + more
    xy = np.array([[x, 0] for walk in walks for x in walk], np.float32)
    rewards = np.concatenate([[*(np.array(walk[1:]) == 4), np.nan] for walk in walks]).astype(np.float32)
    return Achieved(xy, np.array([len(walk) - 1 for walk in walks])), rewards


def certificate_of(achieved: Achieved, rewards: np.ndarray, target: float = 2) -> Certificate:
    tasks = [
        ReturnTask("from-A", Region((0.0, 0.0), 0.1), target, 5, "unseen"),
        ReturnTask("from-B", Region((2.0, 0.0), 0.1), 3, 5, "seen"),
    ]
    return RETURNS.certify(Audited("line", "0", achieved, tasks, None, EPSILON, 3, rewards=rewards))


def test_a_return_that_only_a_chain_collects_passes() -> None:
    certificate = certificate_of(*line([]))
    assert certificate.passed, certificate.problems
    from_a, from_b = certificate.tasks
    assert (from_a["status"], from_a["best_in_data"], from_a["segments_needed"], from_a["elsewhere"]) == (
        "unseen",
        0,
        2,
        3,
    )
    assert from_a["best_by_segments"] == {
        "1": 0,
        "2": 2,
        "3": 2,
    }  # two steps to B, three on to C, where two of them end
    assert (from_b["status"], from_b["segments_needed"]) == ("seen", 1)
    assert Certificate.from_dict(json.loads(json.dumps(certificate.as_dict()))) == certificate


def test_one_episode_that_collects_it_from_there_is_found() -> None:
    certificate = certificate_of(*line([[0, 1, 2, 3, 4, 4]]))
    assert certificate.problems == [
        "task from-A: expected unseen, found rare: episodes that attain its target from its start: 1 (6)"
    ]


def test_a_target_that_is_not_clear_of_the_data_and_one_that_no_chain_collects_fail() -> None:
    episodes = line([[0, 1, 2, 3, 3, 4]])  # collects 1
    assert "not clear" in certificate_of(*episodes, target=1.05).problems[0]
    problems = certificate_of(*line([]), target=4.5).problems
    assert "no chain of episodes collects its target" in problems[0]
    assert "only 0 episodes attain its target elsewhere, 3 needed" in problems[1]


@pytest.mark.parametrize(
    ("target", "rewarded", "status", "words"),
    [
        (2, True, 0, "passes"),
        (0.5, True, 1, "FAILS"),
        (2, False, 2, "has no rewards, and its tasks ask for returns"),
    ],
)
def test_the_command_judges_any_file_with_rewards(
    tmp_path: Path, target: float, rewarded: bool, status: int, words: str
) -> None:
    achieved, rewards = line([[0, 0, 0, 0, 4, 4]] if target < 1 else [])
    with h5py.File(tmp_path / "theirs.hdf5", "w") as file:
        rows = len(achieved)
        file["observations"] = np.concatenate([achieved.stored, np.zeros((rows, 2), np.float32)], 1)
        file["actions"] = np.zeros((rows, 2), np.float32)
        file["terminals"] = np.zeros(rows, bool)
        file["timeouts"] = np.isin(np.arange(rows), achieved.last)
        if rewarded:
            file["rewards"] = np.nan_to_num(rewards)
    (tmp_path / "tasks.yaml").write_text(
        "achieved_goal: {columns: [0, 1]}\n"
        f"tasks: [{{name: a, start: {{center: [0, 0], radius: 0.1}}, target: {target}, horizon: 5}}]\n"
    )
    command = [sys.executable, "-m", "stitchrl.audit", str(tmp_path / "theirs.hdf5")]
    done = subprocess.run([*command, "--tasks", str(tmp_path / "tasks.yaml")], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert words in done.stdout + done.stderr
