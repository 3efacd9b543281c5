"""A run that is interrupted, at whatever moment, ends with the numbers of one that is not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import command

from stitchrl import __main__, training
from stitchrl.evaluate import Evaluator
from stitchrl.learner import Learner

DATA = ["dataset.transitions=20000", "dataset.min_episodes=5", "workers=1"]
# A transformer: its dropout draws from torch's own generator, which has to go on where it was too.
RUN = ["agent=dt", "agent.width=8", "agent.blocks=1", "goals=stitch", "steps=30"]
RUN += ["budget.batch_size=8", "budget.evaluations=3", "budget.episodes=2"]
TIMES = ("wall_s", "updates_per_s", "time/updates_per_s")

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def start(monkeypatch: pytest.MonkeyPatch, folder: str, *arguments: str) -> int:
    return command(__main__, monkeypatch, *DATA, *RUN, *arguments, f"hydra.run.dir={folder}")


def left_by(folder: Path) -> list[dict]:
    """All that a run has left in words and numbers, times aside."""
    values = [json.loads((folder / "summary.json").read_text())]
    for name in ("train.jsonl", "eval.jsonl"):
        values += [json.loads(line) for line in (folder / name).read_text().splitlines()]
    return [{key: value for key, value in part.items() if key not in TIMES} for part in values]


def interrupt(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int) -> None:
    """Have the function `name` of `owner` end the process, as far as it can be told from here, in its n-th call."""
    original, calls = getattr(owner, name), []

    def interrupted(*arguments, **keywords):
        calls.append(None)
        if len(calls) == call:
            if name == "save":
                arguments[1].write_bytes(b"half a checkpoint")
            raise KeyboardInterrupt
        return original(*arguments, **keywords)

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize(
    ("owner", "name", "calls"),
    [
        (Learner, "update", (1, 14, 3)),
        (Evaluator, "evaluate", (1, 2)),
        (torch, "save", (1, 7)),
        (Evaluator, "_row", (9,)),
    ],
    ids=["training", "evaluation", "checkpointing", "in the middle of an evaluation"],
)
def test_an_interrupted_run_ends_with_the_same_numbers(
    owner: object, name: str, calls: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(training, "LOG_EVERY", 4)
    assert start(monkeypatch, "whole") == 0
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 0.0)
    for call in calls:
        with monkeypatch.context() as here, pytest.raises(KeyboardInterrupt):
            interrupt(here, owner, name, call)
            start(here, "broken")
        assert not (tmp_path / "broken" / "summary.json").exists()
        assert json.loads((tmp_path / "broken" / "status.json").read_text())["status"] == "running"
    assert start(monkeypatch, "broken") == 0
    assert left_by(tmp_path / "broken") == left_by(tmp_path / "whole")
    assert list((tmp_path / "broken" / "checkpoints").iterdir()) == [tmp_path / "broken" / "checkpoints" / "last.pt"]


def test_a_finished_run_is_not_run_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert start(monkeypatch, "run") == 0
    first = (tmp_path / "run" / "summary.json").read_text()
    with monkeypatch.context() as here:
        here.delattr(Learner, "update")
        assert start(here, "run") == 0
    assert "run: finished before, not run again" in capsys.readouterr().err
    assert (tmp_path / "run" / "summary.json").read_text() == first


def test_a_folder_of_another_configuration_begins_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert start(monkeypatch, "run", "seed=1") == 0
    assert start(monkeypatch, "run", "seed=2") == 0
    assert "of another configuration, dataset, code or version; begins anew" in capsys.readouterr().err
    assert start(monkeypatch, "alone", "seed=2") == 0
    assert left_by(tmp_path / "run") == left_by(tmp_path / "alone")
    assert len(list((tmp_path / "run").glob("events.out.tfevents.*"))) == 1


def test_a_checkpoint_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "last.pt").write_bytes(b"not a checkpoint")
    assert start(monkeypatch, "run") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "run/checkpoints/last.pt: expected a checkpoint of stitchrl" in error and error.endswith("; remove it")


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    """First-use generation, training, evaluation and the writing of checkpoints are all met by some of the kills."""
    run = [sys.executable, "-m", "stitchrl", *DATA, *RUN, "steps=1500"]

    def process(folder: str, store: str) -> subprocess.Popen:
        environment = os.environ | {"MINARI_DATASETS_PATH": str(tmp_path / store)}
        return subprocess.Popen(
            [*run, f"hydra.run.dir={folder}"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
        )

    began = time.monotonic()
    assert process("whole", "store").wait() == 0
    whole = time.monotonic() - began
    rng, kills = random.Random(0), 0
    while kills < 20:
        broken = process("broken", "other_store")
        try:
            broken.wait(rng.uniform(1, 0.9 * whole))
        except subprocess.TimeoutExpired:
            broken.send_signal(signal.SIGKILL)
            broken.wait()
            kills += 1
        else:  # it came to its end between two kills
            assert left_by(tmp_path / "broken") == left_by(tmp_path / "whole")
            (tmp_path / "broken" / "summary.json").unlink()
            (tmp_path / "broken" / "checkpoints" / "last.pt").unlink()
    assert process("broken", "other_store").wait() == 0
    assert left_by(tmp_path / "broken") == left_by(tmp_path / "whole")
