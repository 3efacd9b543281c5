"""The card of a dataset, and what `generate` says of a published one with other data."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import command

from stitchrl import generate
from stitchrl.data.formats import minari
from stitchrl.report.card import describe, write_card

NAME = "pointmaze-umaze-regions-n20000-v0"
SMALL = ["dataset=pointmaze_umaze_regions", "dataset.transitions=20000", "dataset.min_episodes=5"]


pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.fixture(autouse=True)
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "PUBLISHED", tmp_path / "published")


def make(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run `generate`, on the dataset that is there if it is; its exit status."""
    return command(generate, monkeypatch, *arguments, "workers=1", "if_missing=true")


def stored() -> tuple[dict, dict]:
    metadata = minari.read_metadata(NAME)
    return metadata["manifest"], metadata["certificate"]


def test_a_card_is_four_files_that_agree_with_the_dataset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert make(monkeypatch, *SMALL, "card=cards") == 0
    folder = tmp_path / "cards" / NAME
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["README.md", "certificate.json", "manifest.json", "picture.png"]
    manifest, certificate = stored()
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    assert json.loads((folder / "certificate.json").read_text()) == certificate
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "picture.png").stat().st_size < 150_000
    text = (folder / "README.md").read_text()
    assert text.startswith(f"# {NAME}\n")
    for key in ("dataset_sha256", "transitions_sha256"):
        assert manifest[key] in text
    for letter, task in zip("ABCDEF", certificate["tasks"], strict=True):
        assert f"| {letter} | `{task['name']}` |" in text
    options = " ".join(SMALL)  # what is not in the dataset's file
    assert f"\npython -m stitchrl.generate {options}\n" in text
    assert f"\npython -m stitchrl {options}\n" in text
    assert "It passes" in text


def test_a_cards_lines_for_each_reader_read_the_dataset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert make(monkeypatch, *SMALL, "card=cards", "export=[d4rl,ogbench]") == 0
    codes = re.findall(r"```python\n(.*?)```", (tmp_path / "cards" / NAME / "README.md").read_text(), re.DOTALL)
    held: list[dict] = [{} for _ in codes]
    for code, names in zip(codes, held, strict=True):
        exec(code, names)
    with_minari, with_torch, with_h5py, with_ogbench = held
    manifest = stored()[0]
    assert len(with_minari["episodes"]) == len(with_torch["first"]) == with_h5py["last"].sum() == manifest["episodes"]
    assert (
        len(with_torch["observations"]) == len(with_h5py["actions"]) == manifest["transitions"] + manifest["episodes"]
    )
    assert len(with_ogbench["train"]["observations"]) == manifest["transitions"]


def test_no_card_without_the_option(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert make(monkeypatch, *SMALL) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "the contexts are those of [Ghugare et al., 2024]"),
        ({"maze": "dev", "seen": [[[1, 1], [1, 5]]], "unseen": []}, "on which settings are chosen"),
        ({"split": "joined"}, "`pointmaze-umaze-cut<k>-n20000-v0`, which holds the same transitions"),
        ({"split": "cut4", "cut": 50}, "`pointmaze-umaze-joined-n20000-v0`, the same to the last one, in pieces of"),
        ({"split": "cut4", "cut": 50}, "at least 4 pieces must be chained"),
        ({"world": "antmaze"}, "| Action | 8 torques in [-1, 1], 0.05 s per step |"),
        ({"seed": 2, "control": True}, "dataset.transitions=20000 dataset.seed=2 dataset.min_episodes=5 ```"),
        ({"split": "short", "goal_distance": 4, "length": 160}, "to one that is 4 moves away and has 160 steps, the"),
        ({"split": "short", "goal_distance": 4, "length": 160}, "at least 4 episodes must be chained to solve one"),
        ({"split": "short", "goal_distance": 4, "length": 160}, "attempts (the others are in the data too), at"),
    ],
)
def test_a_card_says_what_its_dataset_tests(spec: dict, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(monkeypatch, *SMALL) == 0
    manifest, certificate = stored()
    changed = {**manifest["spec"], **spec}
    manifest["name"] = manifest["name"].replace("regions", changed["split"])
    pairs = [f"r{a[0]}c{a[1]}-to-r{b[0]}c{b[1]}" for a, b in changed["seen"] + changed["unseen"]]
    tasks = [{**task, "name": name} for task, name in zip(certificate["tasks"], pairs, strict=False)]
    text = describe({**manifest, "spec": changed}, {**certificate, "tasks": tasks})
    assert words in " ".join(text.split())


def test_a_card_has_a_row_for_every_task_beyond_z(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(monkeypatch, *SMALL) == 0
    manifest, certificate = stored()
    cells = [(1, 1), (1, 2), (1, 3), (2, 3), (3, 3), (3, 2), (3, 1)]
    pairs = [[list(a), list(b)] for a in cells for b in cells if a != b][:28]
    names = [f"r{a[0]}c{a[1]}-to-r{b[0]}c{b[1]}" for a, b in pairs]
    tasks = [{**certificate["tasks"][0], "name": name} for name in names]
    spec = {**manifest["spec"], "seen": pairs, "unseen": []}
    rows = re.findall(
        r"^\| ([A-Z]+) \| `(.*?)`", describe({**manifest, "spec": spec}, {**certificate, "tasks": tasks}), re.M
    )
    assert [name for _, name in rows] == names
    assert [letter for letter, _ in rows][24:] == ["Y", "Z", "AA", "AB"]


def test_a_failing_certificate_is_said_with_its_problems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert make(monkeypatch, *SMALL) == 0
    manifest, certificate = stored()
    certificate |= {"pass": False, "problems": ["task r3c1-to-r1c1: expected unseen, found seen"]}
    certificate["tasks"][0] |= {"segments_needed": None, "segments_range": [3, None], "ceiling": None}
    write_card(tmp_path / "card", manifest, certificate, np.zeros((1, 2)), np.zeros(1, int))
    text = (tmp_path / "card" / "README.md").read_text()
    assert "**It fails:**\n\n- task r3c1-to-r1c1: expected unseen, found seen\n" in text
    assert "none (3 to none)" in text
    assert "passes" not in text


def test_other_data_than_published_are_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert make(monkeypatch, *SMALL, "card=published") == 0
    assert make(monkeypatch, *SMALL) == 0
    assert "notice" not in capsys.readouterr().err
    path = tmp_path / "published" / NAME / "manifest.json"
    path.write_text(json.dumps({**stored()[0], "dataset_sha256": "0" * 64}))
    assert make(monkeypatch, *SMALL, "card=published") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"notice: {NAME}: its hash differs from the published one in {path} ")
    assert json.loads(path.read_text()) == stored()[0], "the new card replaces the old one"


def test_a_damaged_manifest_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "published" / NAME / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert make(monkeypatch, *SMALL) == 2
    assert f"{path}: expected the manifest" in capsys.readouterr().err.splitlines()[-1]


def test_a_card_that_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert make(monkeypatch, *SMALL) == 0
    capsys.readouterr()
    (tmp_path / "occupied").write_text("a file where a folder should be")
    assert make(monkeypatch, *SMALL, "card=occupied") == 2
    error = capsys.readouterr().err
    assert str(Path("occupied") / NAME) in error
    assert error.count("\n") == 1
