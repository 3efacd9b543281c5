"""What a summary says of evaluations that were made up, and of how goals are drawn."""

import numpy as np
import pytest
import torch
from conftest import benchmark, make_episodes, random_walks
from test_configuration import spec as load

from stitchrl.data.batches import BatchSampler
from stitchrl.data.paths import Future, Stitch
from stitchrl.instruments.augmentation import Augmentation
from stitchrl.summary import by_segments, group, task_summaries
from stitchrl.types import GoalMixture, GoalPath, Needs

REGIONS = benchmark(load("pointmaze_umaze_regions"))


def result(step: int, far: float, near: float) -> dict:
    share = {"far": far, "near": near}
    return {"step": step, "success": share, "tight_success": dict.fromkeys(share, 0.0)}


def certificate() -> dict:
    common = {"status": "seen", "path_length": 8.0, "step_limit": 100, "ceiling": 1.0, "start": {}, "goal": {}}
    return {
        "tasks": [
            {"name": "far", "expect": "unseen", "segments_needed": 4, **common},
            {"name": "near", "expect": "seen", "segments_needed": 1, **common},
        ]
    }


def test_the_best_is_the_best_of_those_evaluations_that_make_the_headline() -> None:
    """An early one, of a fifth of the episodes, was lucky. No number is left out of another's comparison."""
    results = [result(i, far, 1.0) for i, far in enumerate([0.2, 1.0, 0.5, 0.7, 0.6])]
    far, near = task_summaries(REGIONS.objective, certificate(), results, [], episodes=50)
    assert (far["success"], far["final"], far["best"]) == (0.6, 0.6, 0.7)
    assert group([far, near], results) == {"success": 0.8, "final": 0.8, "best": 0.85, "episodes": 100}


def test_segments_are_not_pooled() -> None:
    results = [result(i, 0.25, 1.0) for i in range(3)]
    tasks = task_summaries(REGIONS.objective, certificate(), results, [], episodes=4)
    assert {key: value["success"] for key, value in by_segments(tasks, results).items()} == {"1": 1.0, "4": 0.25}


def test_the_mean_length_is_that_of_the_last_successful_episodes() -> None:
    rows = [
        {"task": "far", "success": success, "length": length}
        for success, length in ((True, 30), (False, 100), (True, 41))
    ]
    far, near = task_summaries(REGIONS.objective, certificate(), [result(0, 2 / 3, 0.0)], rows, episodes=3)
    assert (far["mean_length"], near["mean_length"]) == (35.5, None)


# Augmentation


class Silent:
    """Says nothing of augmentation, and has every path of an even row end at the data's last row, over no seam."""

    def bind(self, episodes):
        def sample(rows, discount, rng):
            goal = torch.where(rows % 2 == 0, len(episodes) - 1, episodes.ends[rows])
            none = rows.new_empty(len(rows), 0)
            return GoalPath(rows, goal, none, none)

        return sample


class Modest(Silent):
    """Says that it augments less than it does."""

    p = 0.1


@pytest.mark.parametrize(
    ("goals", "requested", "realised"),
    [
        (Future(), 0.0, 0.0),
        (Stitch(p=0.5, clusters=8, hops=1, columns=[0, 1], detour=None, seed=0), 0.5, 0.5),
        (Silent(), None, 0.5),
        (Modest(), 0.1, 0.5),
    ],
    ids=["future", "stitch", "one that says nothing", "one that says too little"],
)
def test_what_is_realised_is_measured_whatever_a_sampler_says(goals, requested, realised) -> None:
    episodes, needs = make_episodes(random_walks(count=100, longest=20, stride=0.05)), Needs(GoalMixture(0, 1, 0))
    sampler = BatchSampler(episodes, goals.bind(episodes), needs, 0, REGIONS.objective.relabel(episodes))
    instrument = Augmentation()
    instrument.bind(REGIONS, goals, sampler)
    found = instrument(None, 0, [])
    assert found.keys() == {"requested", "realised", "contradiction_rate"}
    assert found["requested"] == requested
    assert found["realised"] == pytest.approx(realised, abs=0.03)
    assert (found["contradiction_rate"] is None) == (realised == 0)


def test_the_columns_that_are_constant_do_not_decide_clusters() -> None:
    """Rounding alone differs in them: it would weigh as much as places do."""
    walks = random_walks(count=40, longest=20)
    episodes, rng = make_episodes(walks), np.random.default_rng(0)
    noise = torch.from_numpy(rng.integers(0, 2, len(episodes)).astype(np.float32)) * 2**-14
    episodes.observations[:, 2] = 1000 + noise
    places = Stitch(p=1, clusters=8, hops=1, columns=[0, 1], detour=None, seed=0).assign(episodes)
    all_columns = Stitch(p=1, clusters=8, hops=1, columns=None, detour=None, seed=0).assign(episodes)
    assert torch.equal(places, all_columns)
