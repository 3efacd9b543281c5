"""One stream of random numbers for each purpose."""

from itertools import combinations

import numpy as np
import pytest
import torch
from conftest import make_episodes, random_walks, world
from test_learner import make_learner

from stitchrl.data.batches import BatchSampler
from stitchrl.data.paths import Future
from stitchrl.objectives.goal import GoalRelabelling
from stitchrl.seeds import stream

PURPOSES = ("weights", "dropout", "losses", "batches", "paths", "clusters", "rows to fit clusters on")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_streams_of_a_seed_differ_and_are_not_those_of_others(seed: int) -> None:
    """At seed 0 two were one; and one of seed 1 was another of seed 2."""
    others = [stream(other, purpose) for other in range(5) for purpose in PURPOSES if other != seed]
    drawn = [torch.rand(64, generator=torch.Generator().manual_seed(stream(seed, p))) for p in PURPOSES]
    for one, other in combinations(drawn, 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.5
    assert not {stream(seed, purpose) for purpose in PURPOSES} & {seed, 2 * seed, 2 * seed + 1, *others}


def test_a_stream_is_the_same_every_time_and_in_every_process() -> None:
    assert stream(0, "weights") == stream(0, "weights") == 8_661_506_577_683_682_447


@pytest.mark.parametrize("seed", [0, 1])
def test_rows_and_paths_of_batches_are_drawn_from_streams_of_their_own(seed: int) -> None:
    episodes = make_episodes(random_walks(count=20, longest=12))
    relabelling = GoalRelabelling(episodes, world("pointmaze", "umaze"))
    sampler = BatchSampler(episodes, Future().bind(episodes), make_learner().agent.needs, seed, relabelling)
    generators = [sampler._rng, sampler._path_rng, torch.Generator().manual_seed(seed)]
    drawn = [torch.rand(100, generator=generator) for generator in generators]
    assert all(not torch.equal(one, other) for one, other in combinations(drawn, 2))
