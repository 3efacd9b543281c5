"""Weights & Biases is told of a run where one option asks for it, in the mode that its own variable says."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import command

from stitchrl import __main__

RUN = ["dataset.transitions=20000", "dataset.min_episodes=5", "workers=1", "steps=6", "agent.hidden_dims=[8,8]"]
RUN += ["budget.evaluations=3", "budget.episodes=1", "budget.batch_size=8", "hydra.run.dir=run", "wandb=a-project"]


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    """W&B looks for its mode once in a process."""
    yield
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()


pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_offline_it_is_told_of_losses_and_successes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert command(__main__, monkeypatch, *RUN) == 0
    (path,) = tmp_path.glob("run/wandb/offline-run-*/run-*.wandb")
    told = path.read_bytes()
    for key in (
        b"a-project",
        b"pointmaze-umaze-regions",
        b"train/actor_loss",
        b"eval/unseen/success",
        b"eval/seen/success",
    ):
        assert key in told
    assert any((tmp_path / "run").glob("events.out.tfevents.*"))


def test_a_file_that_was_not_written_is_named_and_the_run_ends_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The process that writes it for W&B was killed, or had no room."""
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    original = wandb.teardown

    def fails() -> None:
        original()
        (path,) = tmp_path.glob("run/wandb/offline-run-*/run-*.wandb")
        path.write_bytes(b"")
        raise SystemExit(1)

    with monkeypatch.context() as here:
        here.setattr(wandb, "teardown", fails)
        assert command(__main__, here, *RUN) == 0
    said = capsys.readouterr().err
    assert "wandb: SystemExit(1)" in said and ".wandb was not written, or is empty" in said
    assert (tmp_path / "run" / "summary.json").exists()


def test_disabled_it_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert command(__main__, monkeypatch, *RUN) == 0
    assert (tmp_path / "run" / "summary.json").exists() and not (tmp_path / "run" / "wandb").exists()


def test_where_it_is_not_installed_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert command(__main__, monkeypatch, *RUN) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "stitchrl: wandb: not installed; pip install 'stitchrl[wandb]'"
