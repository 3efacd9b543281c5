"""The card of a dataset, and what `generate` says of a published one with other data."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import command

from stitchrl import generate
from stitchrl.cards.card import describe, words_of, write_card
from stitchrl.data.formats import minari

NAME = "pointmaze-umaze-regions-n20000-v0"
FACTS = {"Body": "a point", "Action": "2 forces"}
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


def card(manifest: dict, certificate: dict) -> str:
    return describe(manifest, certificate, FACTS, words_of(manifest, certificate))


def test_no_card_without_the_option(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert make(monkeypatch, *SMALL) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "the contexts are those of [Ghugare et al., 2024]"),
        ({"maze": "dev"}, "Settings are chosen on this maze"),
        ({"split": "joined"}, "`pointmaze-umaze-cut<k>-n20000-v0`, hold the same transitions in pieces"),
        ({"split": "cut4", "cut": 50}, "transitions of `pointmaze-umaze-joined-n20000-v0`, the same to the last one."),
        ({"split": "cut4", "cut": 50}, "at least 4 pieces must be chained"),
        ({}, "| Body | a point | | Action | 2 forces | | Reward | 1 for the step that reaches the episode's own goal"),
        ({"seed": 2, "control": True}, "dataset.transitions=20000 dataset.seed=2 dataset.min_episodes=5 ```"),
        ({"control": True}, "it is used even if its certificate fails"),
        ({"split": "short", "goal_distance": 4, "length": 160}, "to one that is 4 moves away, and has 160 steps"),
        ({"split": "short", "goal_distance": 4, "length": 160}, "at least 4 episodes must be chained"),
        ({"split": "short", "goal_distance": 4, "length": 160}, "Attempts that did not reach it are in the data, too"),
        ({"maze": None, "world": "grid", "split": "mine"}, "python -m stitchrl dataset=grid_mine dataset."),
    ],
)
def test_a_card_says_what_its_dataset_tests(spec: dict, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(monkeypatch, *SMALL) == 0
    manifest, certificate = stored()
    changed = {**manifest["spec"], **spec}
    manifest["name"] = manifest["name"].replace("regions", changed["split"])
    assert words in " ".join(card({**manifest, "spec": changed}, certificate).split())


def test_a_card_has_the_places_that_the_certificate_holds_in_its_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(monkeypatch, *SMALL) == 0
    manifest, certificate = stored()
    for task in certificate["tasks"]:
        task |= {"start": {"center": [-1.0, 1, 2], "half": 0.25, "radius": 0}, "goal": region(0.25)}
    text = " ".join(card(manifest, {**certificate, "unit": "cm"}).split())
    assert "| from, to (cm) |" in text and "| (-1, 1, 2) to (0.5, 0) |" in text
    assert "drawn uniformly from a box with sides of 0.5 cm" in text and "within 0.45 cm of its goal" in text
    text = " ".join(card(manifest, {**certificate, "unit": ""}).split())
    assert "| from, to |" in text and "| path |" in text and "within 0.45 of its goal" in text
    for task in certificate["tasks"]:
        task |= {"start": {**task["start"], "half": 0}, "goal": region(0)}
    text = " ".join(card(manifest, {**certificate, "unit": "", "epsilon": 0}).split())
    assert "Starts and goals are single points" in text and "succeeds when it is at its goal" in text
    assert "may be left for another at equal states" in text
    for task in certificate["tasks"]:
        del task["start"], task["goal"]
    text = " ".join(card(manifest, {key: certificate[key] for key in certificate if key != "unit"}).split())
    assert "| from, to (m) |" in text and "| - to - |" in text, "an older certificate"


def region(half: float) -> dict:
    return {"center": [0.5, 0], "half": half, "radius": 0.45}


def test_the_card_of_returns_says_what_steps_earn(tmp_path: Path) -> None:
    manifest, certificate = (
        json.loads((Path(__file__).parent.parent / f"datasets/pointmaze-umaze-returns-v0/{name}.json").read_text())
        for name in ("manifest", "certificate")
    )
    for key in ("objective", "rewards"):
        certificate.pop(key, None)
    assert "| Reward | - |" in card(manifest, certificate), "an older certificate"
    certificate |= {"objective": "return", "drawing": {"rectangles": [[-2, -2, 4, 1]], "extent": [-2, 2, -2, 2]}}
    certificate["rewards"] = [{"region": region(0.5), "rate": 0.2}, {"region": region(0.25), "rate": -1}]
    text = card({**manifest, "spec": {**manifest["spec"], "targets": []}}, certificate)
    assert "by where it ends: 0.2 in the box with sides of 1 m around (0.5, 0), -1 in the box with" in text
    assert "| A | `r1c2-return-100` |" in text and "chain of episodes that collects its target" in " ".join(
        text.split()
    )
    write_card(tmp_path / "card", manifest, certificate, {}, np.zeros((1, 2)), np.zeros(1, int))
    assert (tmp_path / "card" / "picture.png").exists()


def test_a_card_has_a_row_for_every_task_beyond_z(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(monkeypatch, *SMALL) == 0
    manifest, certificate = stored()
    names = [f"task-{i}" for i in range(28)]
    tasks = [{**certificate["tasks"][0], "name": name} for name in names]
    rows = re.findall(r"^\| ([A-Z]+) \| `(.*?)`", card(manifest, {**certificate, "tasks": tasks}), re.M)
    assert [name for _, name in rows] == names
    assert [letter for letter, _ in rows][24:] == ["Y", "Z", "AA", "AB"]


def test_a_failing_certificate_is_said_with_its_problems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert make(monkeypatch, *SMALL) == 0
    manifest, certificate = stored()
    certificate |= {"pass": False, "problems": ["task r3c1-to-r1c1: expected unseen, found seen"]}
    certificate["tasks"][0] |= {"segments_needed": None, "segments_range": [3, None], "ceiling": None}
    write_card(tmp_path / "card", manifest, certificate, FACTS, np.zeros((1, 2)), np.zeros(1, int))
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
