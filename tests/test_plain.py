"""The yardstick of benchmarks/plain.py is the same training as ours."""

import importlib.util
from pathlib import Path

import pytest
import torch
from conftest import make_episodes, random_walks
from probes import relabelling, spaces

from stitchrl.agents.crl import CRL
from stitchrl.agents.dt import DT
from stitchrl.agents.gcbc import GCBC
from stitchrl.agents.gciql import GCIQL
from stitchrl.agents.gcivl import GCIVL
from stitchrl.agents.hiql import HIQL
from stitchrl.agents.qrl import QRL
from stitchrl.data.batches import BatchSampler
from stitchrl.data.paths import Future
from stitchrl.learner import Learner

UPDATES, SIZE = 6, 32
SMALL = {"hidden_dims": (16, 12), "lr": 3e-3}
FOLLOWED = SMALL | {"tau": 0.1}  # so fast that a few updates show it
SETTINGS = {
    GCBC: SMALL | {"grad_clip": 0.1},
    DT: {"window": 4, "width": 8, "blocks": 2, "heads": 2, "dropout": 0.0, "warmup": 0, "weight_decay": 0.1},
    GCIVL: FOLLOWED | {"alpha": 30.0},
    GCIQL: FOLLOWED,
    CRL: SMALL | {"latent_dim": 8},
    QRL: SMALL | {"latent_dim": 16, "alpha": 0.3},
    HIQL: FOLLOWED | {"subgoal_steps": 3, "rep_dim": 4, "low_alpha": 30.0, "high_alpha": 30.0},
}


def plain_classes():
    """PLAIN of benchmarks/, which is no package."""
    path = Path(__file__).parents[1] / "benchmarks" / "plain.py"
    spec = importlib.util.spec_from_file_location("plain", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PLAIN


PLAIN = plain_classes()


def gradient_norm(parameters):
    return torch.stack([parameter.grad.norm() for parameter in parameters]).norm()


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_plain_update_has_the_losses_of_the_learners_update_many_times_in_a_row(kind):
    torch.manual_seed(0)
    agent = kind(spaces(), **SETTINGS[kind])
    episodes = make_episodes(random_walks(count=10, longest=20))
    agent.fit(episodes.observations)
    for name, parameter in agent.named_parameters():
        if "actor" in name:
            torch.nn.init.normal_(parameter, std=0.5)  # so that actions beyond 1 are proposed too
    sampler = BatchSampler(episodes, Future().bind(episodes), agent.needs, 0, relabelling(episodes))
    plain = PLAIN[kind](agent)
    learner = Learner(agent, steps=UPDATES, decay=False, average=0.0, precision="highest")
    for update in range(UPDATES):
        batch = sampler.sample(SIZE)
        info = learner.update(batch, torch.Generator())
        expected = {name: value for name, value in info.items() if name.endswith("_loss")}
        expected["grad_norm"] = gradient_norm(learner.parameters)  # once it is clipped
        found = plain.update(batch) | {"grad_norm": gradient_norm(plain.learned)}
        assert {name: part.item() for name, part in found.items()} == pytest.approx(
            {name: part.item() for name, part in expected.items()}, rel=2e-5
        ), f"update {update}"


def test_every_agent_of_the_yardstick_is_compared():
    assert set(SETTINGS) == set(PLAIN)
