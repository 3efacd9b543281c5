"""A signal ends a run in order: what was reached is saved, its folder says so, and it goes on to the same numbers."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from conftest import command
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_resume import interrupt, left_by

from stitchrl import __main__, experiment, training
from stitchrl.data.paths import Stitch
from stitchrl.evaluate import Evaluator
from stitchrl.instruments.augmentation import Augmentation
from stitchrl.learner import Learner
from stitchrl.log import Log

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


RUN = [
    "dataset.transitions=20000",
    "dataset.min_episodes=5",
    "workers=1",
    "goals=stitch",
    "goals.clusters=20",
    "steps=30",
]
RUN += ["agent.hidden_dims=[8,8]", "budget.batch_size=8", "budget.evaluations=3", "budget.episodes=1"]


def start(monkeypatch: pytest.MonkeyPatch, folder: str, *arguments: str) -> int:
    return command(__main__, monkeypatch, *RUN, *arguments, f"hydra.run.dir={folder}")


def send(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int, number: int) -> None:
    """Have this process be sent a signal within the n-th call of the function `name` of `owner`."""
    original, calls = getattr(owner, name), []

    def sent(*arguments, **keywords):
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return original(*arguments, **keywords)

    monkeypatch.setattr(owner, name, sent)


def status(folder: Path) -> dict:
    return json.loads((folder / "status.json").read_text())


def reached(folder: Path) -> int:
    """The update of the checkpoint."""
    state = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["training"]
    assert state["learner"]["schedule"]["last_epoch"] == state["learner"]["step"]  # the update is a whole one
    return state["learner"]["step"]


def test_a_signal_has_the_run_save_what_it_reached_and_go_on_to_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One run is stopped by one signal after another: in what is done, in the n-th call; where it then stands."""
    monkeypatch.setattr(training, "LOG_EVERY", 4)
    assert start(monkeypatch, "whole") == 0
    stops = [
        (Learner, "update", 4, 4),  # in an update, which is done as a whole
        (torch, "save", 1, 10),
        (Evaluator, "_row", 3, 10),
        (Log, "evaluation", 1, 10),
        (Learner, "update", 1, 11),
        (Log, "train", 1, 12),
        (Evaluator, "_row", 3, 20),
        (experiment, "_tracks", 1, 30),  # after training
        (Evaluator, "_row", 6, 30),
    ]
    for i, (owner, name, call, expected) in enumerate(stops):
        number, exit_status = ((signal.SIGTERM, 143), (signal.SIGINT, 130))[i % 2]
        with monkeypatch.context() as here:
            send(here, owner, name, call, number)
            capsys.readouterr()
            assert start(here, "broken") == exit_status
        said = capsys.readouterr().err
        line = f"stitchrl: stopped by {number.name}: {tmp_path}/broken goes on when it is started again"
        assert said.splitlines()[-1] == line
        assert "Traceback" not in said
        assert status(tmp_path / "broken") == {"status": "interrupted", "reason": number.name}
        assert not (tmp_path / "broken" / "summary.json").exists()
        assert reached(tmp_path / "broken") == expected
    assert start(monkeypatch, "broken") == 0
    assert "broken: goes on from update 30" in capsys.readouterr().err
    assert left_by(tmp_path / "broken") == left_by(tmp_path / "whole")
    assert status(tmp_path / "broken")["status"] == "finished"


@pytest.mark.parametrize(("owner", "name"), [(experiment, "open_dataset"), (Stitch, "assign"), (Augmentation, "bind")])
def test_before_training_there_is_nothing_to_save_and_the_status_is_right(
    owner: object, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with monkeypatch.context() as here:
        send(here, owner, name, 1, signal.SIGTERM)
        assert start(here, "run") == 143
    assert "Traceback" not in capsys.readouterr().err
    assert status(tmp_path / "run") == {"status": "interrupted", "reason": "SIGTERM"}
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert start(monkeypatch, "run") == 0
    assert status(tmp_path / "run")["status"] == "finished"


def test_a_finished_run_stays_so_where_a_signal_comes_before_it_is_found_to_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert start(monkeypatch, "run") == 0
    before = left_by(tmp_path / "run")
    with monkeypatch.context() as here:
        send(here, experiment, "open_dataset", 1, signal.SIGINT)
        assert start(here, "run") == 130
    assert status(tmp_path / "run")["status"] == "finished" and left_by(tmp_path / "run") == before


def scalars(folder: Path) -> dict[str, list[int]]:
    """The steps at which TensorBoard shows a value, by its name."""
    events = EventAccumulator(str(folder), purge_orphaned_data=False).Reload()
    return {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize(("owner", "name", "call"), [(Learner, "update", 11), (Evaluator, "_row", 8)])
def test_tensorboard_shows_every_value_once_after_a_run_was_killed_and_went_on(
    owner: object, name: str, call: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first kill comes just after the evaluation at 10, whose checkpoint was saved before it."""
    monkeypatch.setattr(training, "LOG_EVERY", 5)

    with monkeypatch.context() as here, pytest.raises(KeyboardInterrupt):
        interrupt(here, owner, name, call)  # as a kill does, of which nothing is told
        start(here, "run")
    assert start(monkeypatch, "run") == 0
    found = scalars(tmp_path / "run")
    assert found["eval/seen/success"] == [10, 20, 30]
    assert [steps for tag, steps in found.items() if tag.startswith("train/")] == [[5, 10, 15, 20, 25, 30]] * 3


# again=true


def test_again_runs_a_finished_run_anew_and_goes_on_with_one_that_was_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    updates = []
    original = Learner.update
    monkeypatch.setattr(Learner, "update", lambda *arguments: updates.append(None) or original(*arguments))
    assert start(monkeypatch, "run") == 0
    first = left_by(tmp_path / "run")
    assert start(monkeypatch, "run") == 0
    assert len(updates) == 30 and "finished before" in capsys.readouterr().err
    with monkeypatch.context() as here:
        send(here, Learner, "update", 14, signal.SIGTERM)
        assert start(here, "run", "again=true") == 143
    assert status(tmp_path / "run")["status"] == "interrupted" and len(updates) == 44
    assert start(monkeypatch, "run", "again=true") == 0  # goes on: else it would begin anew for ever
    assert len(updates) == 60 and "goes on from update 14" in capsys.readouterr().err
    assert left_by(tmp_path / "run") == first
    assert len(list((tmp_path / "run").glob("events.out.tfevents.*"))) == 2


def test_again_does_not_change_where_a_run_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert command(__main__, monkeypatch, *RUN, "steps=3") == 0
    assert command(__main__, monkeypatch, *RUN, "steps=3", "again=true") == 0
    assert len(list((tmp_path / "runs" / "pointmaze-umaze-regions").iterdir())) == 1
