"""Training that diverges fails its run, names the update and what is not finite, and keeps the last good state."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import command
from test_evaluate import LINE, Walkers
from test_learner import make_batches, make_learner, train
from torch import Tensor

from stitchrl import __main__, training
from stitchrl.agents.gcbc import GCBC
from stitchrl.evaluate import PolicyController
from stitchrl.finite import NotFinite, check_finite
from stitchrl.objectives.goal import GoalConditioning
from stitchrl.types import LossResult
from stitchrl.worlds.rollout import Request, VectorRollout, run

RUN = ["dataset.transitions=20000", "dataset.min_episodes=5", "workers=1", "steps=60", "hydra.run.dir=run"]
RUN += ["budget.evaluations=3", "budget.episodes=1", "agent.hidden_dims=[8,8]", "budget.batch_size=8"]

folder = pytest.mark.usefixtures("in_a_folder_of_its_own")


def spoil(monkeypatch: pytest.MonkeyPatch, change) -> None:
    """Have `change` make something else of loss and parts of GCBC, given them and the number of the update."""
    original, calls = GCBC.loss, []

    def loss(self: GCBC, batch, rng):
        calls.append(None)
        return LossResult(*change(*original(self, batch, rng), len(calls)))

    monkeypatch.setattr(GCBC, "loss", loss)


def failed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> str:
    """Why the run failed, after a look at everything else that it left."""
    reason = capsys.readouterr().err.splitlines()[-1].removeprefix("stitchrl: ")
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status == {"status": "failed", "reason": reason}
    for name in ("train.jsonl", "eval.jsonl"):
        for line in (tmp_path / "run" / name).read_text().splitlines():
            json.loads(line, parse_constant=pytest.fail)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["failed"] == reason and summary["seen"] is summary["unseen"] is None
    return reason


def checkpoint(tmp_path: Path) -> dict:
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.pt", weights_only=True)["training"]["learner"]
    assert all(tensor.isfinite().all() for tensor in [*state["agent"].values(), *state["averaged"]])
    return state


@folder
def test_a_learning_rate_that_is_far_too_high_fails_the_run_by_its_first_bad_update(monkeypatch, capsys, tmp_path):
    assert command(__main__, monkeypatch, *RUN, "agent.lr=1e30") == 2
    number = int(failed(capsys, tmp_path).removeprefix("update ").partition(":")[0])
    assert 2 <= number <= 20  # before the first evaluation, whose policy would have been worth nothing
    assert not (tmp_path / "run" / "checkpoints" / "last.pt").exists()
    assert (tmp_path / "run" / "eval.jsonl").read_text() == ""


@folder
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_update_is_named_exactly_though_it_is_noticed_later_and_the_good_checkpoint_stays(
    value, monkeypatch, capsys, tmp_path
):
    spoil(monkeypatch, lambda loss, parts, number: (loss * value if number == 33 else loss, parts))
    assert command(__main__, monkeypatch, *RUN) == 2
    assert failed(capsys, tmp_path) == f"update 33: the loss is {value}; a finite one expected"
    assert checkpoint(tmp_path)["step"] == 20


@folder
def test_a_logged_value_that_is_not_finite_fails_the_run_though_the_loss_is_finite(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(training, "LOG_EVERY", 7)
    spoil(monkeypatch, lambda loss, parts, number: (loss, parts | {"odd": math.nan if number > 12 else 0.5}))
    assert command(__main__, monkeypatch, *RUN) == 2
    assert failed(capsys, tmp_path) == "update 14: train/odd is nan; finite numbers expected"
    rows = map(json.loads, (tmp_path / "run" / "train.jsonl").read_text().splitlines())
    (row,) = (row for row in rows if "train/odd" in row)
    assert (row["step"], row["train/odd"]) == (7, 0.5)  # and a metric need not be a tensor


@folder
def test_a_gradient_that_is_not_finite_fails_the_run(monkeypatch, capsys, tmp_path):
    """At update 20 the loss is as it was, and has no gradient: the weights are lost before they are saved."""

    def change(loss: Tensor, parts: dict, number: int):
        steep = (loss.detach() - loss).abs().sqrt() if number == 20 else 0
        return loss + steep, parts

    spoil(monkeypatch, change)
    assert command(__main__, monkeypatch, *RUN) == 2
    assert failed(capsys, tmp_path).startswith("update 20: actor.")
    assert not (tmp_path / "run" / "checkpoints" / "last.pt").exists()


@folder
def test_an_action_that_is_not_finite_fails_the_run_before_physics_is_given_it(monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(GCBC, "act", lambda self, observation, goal: torch.full((len(goal), 2), torch.nan))
    assert command(__main__, monkeypatch, *RUN) == 2
    said = capfd.readouterr().err
    assert "update 20: an action is not finite, at step 0 of evaluated episode" in said.splitlines()[-1]
    assert "WARNING" not in said and not (tmp_path / "MUJOCO_LOG.TXT").exists()
    assert json.loads((tmp_path / "run" / "status.json").read_text())["status"] == "failed"


@folder
def test_a_run_that_diverged_fails_in_the_same_way_when_it_is_started_again_and_goes_on_once_mended(
    monkeypatch, capsys, tmp_path
):
    for _ in range(2):
        with monkeypatch.context() as here:
            before = 0 if not (tmp_path / "run").exists() else 20
            spoil(here, lambda loss, parts, number, b=before: (loss * math.nan if b + number == 33 else loss, parts))
            assert command(__main__, here, *RUN) == 2
            assert failed(capsys, tmp_path).startswith("update 33: ")
    assert command(__main__, monkeypatch, *RUN) == 0
    assert "failed" not in json.loads((tmp_path / "run" / "summary.json").read_text())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_values_that_are_not_finite_are_named_and_no_others(value):
    check_finite({"large": 1e300, "none": 0.0}, "update 3")
    with pytest.raises(NotFinite, match=f"^update 3: odd is {value}; finite numbers expected$"):
        check_finite({"large": 1e300, "odd": value}, "update 3")


def test_a_check_names_the_weights_or_their_average():
    for find, name in (
        (lambda learner: dict(learner.agent.named_parameters())["actor.net.2.bias"], "actor.net.2.bias"),
        (lambda learner: learner.averaged[1], "the average of the weights"),
    ):
        learner = make_learner()
        train(learner, make_batches(3))
        learner.check()
        with torch.no_grad():
            find(learner)[3] = torch.nan
        with pytest.raises(NotFinite, match=f"update 3: {name} holds a number that is not finite"):
            learner.check()


def test_large_weights_whose_squares_would_overflow_are_finite():
    learner = make_learner()
    with torch.no_grad():
        learner.parameters[0].fill_(1e30)
    learner.check()


def test_a_check_looks_at_each_loss_once_and_counts_on_after_it():
    learner, batches = make_learner(), make_batches(6)
    train(learner, batches[:3])
    learner.check()
    train(learner, batches[3:5])
    learner.losses[-1].fill_(torch.nan)
    with pytest.raises(NotFinite, match="update 5: the loss is nan"):
        learner.check()
    learner.check()


def test_what_a_policy_does_in_a_lane_that_is_not_in_use_does_not_matter():
    """Lane 0 is in use alone; the others have never begun an episode."""

    def policy(observations: Tensor, goals: Tensor) -> Tensor:
        actions = torch.full((len(goals), 2), torch.nan)
        actions[0] = 1
        return actions

    request = Request(0, np.zeros(2), np.array([100.0, 0]), limit=4, rng=np.random.default_rng(0))
    rollout = VectorRollout(Walkers(4), PolicyController(policy, LINE, GoalConditioning(LINE, 4)))
    (trajectory,) = run([rollout], [request], LINE.goal_space.success)
    assert (trajectory.actions == 1).all()
