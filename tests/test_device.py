"""Other devices than the CPU: without one at hand, nothing of an agent's loss may lie elsewhere than the agent does."""

import json
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from conftest import command, make_episodes, random_walks
from probes import relabelling
from test_agents import HORIZON, configured, walked

from stitchrl import __main__ as experiment
from stitchrl.command import identity
from stitchrl.data.batches import BatchSampler
from stitchrl.data.paths import Stitch

AGENTS = ["gcbc", "gcbc_gaussian", "gcbc_mixture", "gcbc_egocentric", "gcivl", "gciql", "crl", "qrl", "hiql", "hgcbc"]
AGENTS += ["goal_blind", "gcbc_shuffled", "gcbc (returns)", "iql"]
# Not dt, which takes the valid steps of a window, nor td3bc, which counts its updates: `meta` cannot tell how many.
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def moved(value: Any, device: str) -> Any:
    """A batch or a part of one on another device."""
    if isinstance(value, tuple):
        return type(value)(*(moved(part, device) for part in value))
    return value if value is None else value.to(device)


@pytest.mark.parametrize("name", AGENTS)
def test_an_agents_loss_stays_on_its_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` tensors hold no numbers, and refuse to be mixed with those of the CPU. Autocast does not know them."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)
    learner = configured(name)
    (batch,) = walked(learner, 1)
    learner.agent.to("meta")
    loss, parts = learner.agent.loss(moved(batch, "meta"), torch.Generator())
    loss.backward()
    assert {value.device.type for value in [loss, *parts.values()]} == {"meta"}
    assert all(parameter.grad is None or parameter.grad.is_meta for parameter in learner.agent.parameters())


def test_meta_tensors_find_what_they_are_used_for() -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.ones(3, device="meta") + torch.ones(3)


@pytest.mark.usefixtures("in_a_folder_of_its_own")  # where the failed run's folder lies
def test_a_device_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for device, expected in (("tpu", "expected cpu, cuda or cuda:<number>"), ("cuda:99", "finds")):
        assert command(experiment, monkeypatch, f"device={device}") == 2
        error = capsys.readouterr().err
        assert error.startswith(f"stitchrl: device: '{device}' given, ") and expected in error
        assert error.count("\n") == 1


def test_a_run_on_another_kind_of_device_is_another_run() -> None:
    """Its numbers differ in their last digits; which of several like devices it is does not matter."""
    first, second, cpu = (identity({"seed": 0, "device": device}) for device in ("cuda:0", "cuda:1", "cpu"))
    assert first == second != cpu


@cuda
@pytest.mark.parametrize("name", ["gcbc", "dt", "hiql", "dt (returns)", "td3bc"])
def test_batches_are_drawn_and_learned_on_the_gpu(name: str) -> None:
    device = torch.device("cuda")
    learner = configured(name, device="cuda")  # which averages weights where the agent is
    walks = random_walks(count=50, longest=30)
    episodes = make_episodes(walks, [walk[:-1, 1].clip(0) for walk in walks]).to(device)
    relabelled = relabelling(episodes, None if learner.agent.of_columns else HORIZON)
    sample_path = Stitch(0.5, 10, 3, None, None, 0).bind(episodes)
    sampler = BatchSampler(episodes, sample_path, learner.agent.needs, 0, relabelled)
    rng = torch.Generator(device).manual_seed(0)
    for _ in range(20):
        parts = learner.update(sampler.next(32), rng)
    assert all(value.is_cuda and value.isfinite() for value in parts.values())


@cuda
@pytest.mark.usefixtures("in_a_folder_of_its_own")
def test_a_run_on_the_gpu_is_reproducible(monkeypatch: pytest.MonkeyPatch) -> None:
    summaries = []
    for out in ("first", "second"):
        options = ["dataset.transitions=20000", "dataset.min_episodes=5", "steps=200", "budget.episodes=2"]
        options += ["goals=stitch", "device=cuda", "workers=1", f"hydra.run.dir={out}"]
        assert command(experiment, monkeypatch, *options) == 0
        with open(f"{out}/summary.json") as file:
            summaries.append({k: v for k, v in json.load(file).items() if k not in ("wall_s", "updates_per_s")})
    assert summaries[0] == summaries[1]
