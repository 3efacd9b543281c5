"""A dataset's name means its contents; what only judges them can change; what they were made from is watched."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import benchmark, command, make_episodes, random_walks
from test_configuration import DATASETS
from test_configuration import spec as load

from stitchrl import generate
from stitchrl.audit.achieved import Achieved, at_columns
from stitchrl.audit.certificate import Audited
from stitchrl.audit.goals import GOALS
from stitchrl.benchmark import official
from stitchrl.benchmark import store as stores
from stitchrl.data.formats import minari, open_source, write
from stitchrl.data.formats.source import of_episodes
from stitchrl.spec import DatasetSpec
from stitchrl.types import Region, Task
from stitchrl.worlds.maze.maps import Maze

SMALL = ("dataset.transitions=3000", "dataset.min_episodes=1", "workers=1")
UMAZE = ("dataset=pointmaze_umaze_regions", *SMALL)
STORED = "pointmaze-umaze-regions-n3000-v0"


@pytest.fixture(autouse=True)
def a_store_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds a small dataset of the package's own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("generated")
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        assert command(generate, patch, *UMAZE) == 0
    return folder


@pytest.fixture
def store(generated: Path) -> Path:
    """The folder of that dataset, copied into the test's own store."""
    shutil.copytree(generated, Path("store"))
    return minari.folder(STORED)


# Names of the package's own


@pytest.mark.parametrize("name", DATASETS)
def test_every_file_of_the_packages_own_may_have_its_name(name: str) -> None:
    """Hydra and the check read the same specification; size, seed and what judges are free."""
    spec = load(name)
    official.check_name(spec)
    official.check_name(replace(spec, transitions=5, seed=9, min_episodes=3, control=True))


@pytest.mark.parametrize(
    "name, changed, key",
    [
        ("pointmaze_umaze_regions", {"length": 50}, "length"),
        ("antmaze_medium_short", {"goal_distance": 3}, "goal_distance"),
        ("pointmaze_umaze_cut2", {"cut": 64}, "cut"),
        ("pointmaze_umaze_returns", {"horizon": 251}, "horizon"),
        ("pointmaze_large_regions", {"unseen": (((1, 1), (7, 7)),)}, "unseen"),
    ],
)
def test_a_name_of_the_packages_own_with_other_contents_is_refused(name: str, changed: dict, key: str) -> None:
    """A bug once: a copied file that kept its split was stored under the official name."""
    with pytest.raises(ValueError) as caught:
        official.check_name(replace(load(name), **changed))
    said = f"is the name of the package's own {name}, which has another {key}; give yours another dataset.split"
    assert str(caught.value).endswith(said)
    official.check_name(replace(load(name), split="mine", **changed))


def test_a_cut_dataset_of_ones_own_does_not_share_the_packages_joined_one() -> None:
    changed = replace(load("pointmaze_umaze_cut3"), split="cut9", cut=30, seen=())
    with pytest.raises(ValueError, match="'cut9' is cut from 'joined', which is the name of the package's own"):
        official.check_name(changed)
    own = replace(changed, split="mine-cut9")
    official.check_name(own)
    assert official.joined_twin(own).name == "pointmaze-umaze-mine-joined-v0"
    assert official.joined_twin(replace(own, split="mine")).name == "pointmaze-umaze-mine-joined-v0"
    official.check_name(replace(load("pointmaze_umaze_cut3"), split="cut30", cut=30))  # of the same joined one


def test_both_commands_refuse_a_copied_file_that_keeps_its_split_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(generate, monkeypatch, *UMAZE, "dataset.length=40") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "stitchrl: dataset.split: 'regions' is the name of the package's own pointmaze_umaze_regions, which has "
        "another length; give yours another dataset.split"
    )
    with pytest.raises(ValueError, match="another length"):
        stores.open_dataset(benchmark(replace(load("pointmaze_umaze_regions"), length=40)), workers=1)
    assert not Path("store").exists()


# What is stored is not overwritten by other data


def test_data_of_another_specification_are_never_overwritten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [*UMAZE, "dataset.split=own"]
    assert command(generate, monkeypatch, *own) == 0
    before = minari.read("pointmaze-umaze-own-n3000-v0").sha256
    capsys.readouterr()
    assert command(generate, monkeypatch, *own, "dataset.length=40") == 2
    path = minari.folder("pointmaze-umaze-own-n3000-v0")
    assert capsys.readouterr().err == (
        f"stitchrl: {path}: holds a dataset with another length, which is not overwritten; remove it, or give yours "
        "another dataset.split\n"
    )
    assert command(generate, monkeypatch, *own, "dataset.length=40", "if_missing=true") == 2
    assert "stored with another length than dataset" in capsys.readouterr().err
    assert minari.read("pointmaze-umaze-own-n3000-v0").sha256 == before
    assert command(generate, monkeypatch, *own, "dataset.control=true") == 0, "the same data"


def test_what_is_no_dataset_of_ours_is_never_overwritten(store: Path) -> None:
    spec = replace(load("pointmaze_umaze_regions"), transitions=3_000)
    shutil.rmtree(store)
    write(f"stitchrl/{STORED}", of_episodes("x", make_episodes(random_walks(3, 5)), {}))
    with pytest.raises(ValueError, match="holds something else than a dataset of stitchrl's; remove it"):
        stores.generate(benchmark(spec), workers=1)
    shutil.rmtree(store)
    (store / "papers").mkdir(parents=True)
    with pytest.raises(ValueError, match="is there and is no Minari dataset; it is never replaced"):
        stores.generate(benchmark(spec), workers=1)
    assert (store / "papers").is_dir()


# What only judges


def test_a_certificate_judged_anew_is_the_one_that_an_audit_with_those_numbers_gives() -> None:
    walks = random_walks(count=40, longest=30)
    achieved = Achieved.of_episodes(make_episodes(walks), at_columns((0, 1)))
    corners = [Region((x, y), 0.6) for x, y in ((-2, -2), (2, 2), (0, 0), (2.9, -2.9))]
    tasks = [Task(f"{i}-{j}", a, b, "unseen", 1.0) for i, a in enumerate(corners) for j, b in enumerate(corners)]
    at_five = GOALS.certify(Audited("x", "sha", achieved, tasks, None, 0.3, 5))
    statuses = set()
    for least in (1, 2, 5, 9, 100):
        audited = GOALS.certify(Audited("x", "sha", achieved, tasks, None, 0.3, least, True))
        assert at_five.judged(least, True) == audited
        statuses |= {(least, task["status"]) for task in audited.tasks}
    assert len(statuses) > 8, "they do not all have one status"


def test_a_stored_dataset_is_judged_by_what_is_asked_for_now(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug once: 'stored with other contexts', although min_episodes decides nothing that is stored."""
    at_one = replace(load("pointmaze_umaze_regions"), transitions=3_000, min_episodes=1)
    opened = stores.open_dataset(benchmark(at_one), workers=1)
    counts = {task["name"]: task["ordered"] for task in opened.certificate.tasks if task["expect"] == "seen"}
    assert opened.certificate.passed and min(counts.values()) > 1
    strict = max(counts.values()) + 1
    judged = stores.open_dataset(benchmark(replace(at_one, min_episodes=strict, control=True)), workers=1)
    assert judged.episodes.sha256 == opened.episodes.sha256
    assert judged.certificate.control and judged.manifest["spec"]["min_episodes"] == strict
    assert {t["name"]: t["status"] for t in judged.certificate.tasks if t["expect"] == "seen"} == dict.fromkeys(
        counts, "rare"
    )
    capsys.readouterr()
    assert command(generate, monkeypatch, *UMAZE[:2], f"dataset.min_episodes={strict}", "if_missing=true") == 0
    said = capsys.readouterr()
    assert "certificate FAILS" in said.out and f"{strict} needed" in said.err


def test_a_damaged_certificate_is_named_in_one_line(store: Path) -> None:
    path = store / "data" / "metadata.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["certificate"] = json.dumps({"tasks": [{"name": "x"}]})
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ValueError, match=f"{store}: expected a manifest and a certificate of stitchrl's"):
        stores.open_dataset(benchmark(replace(load("pointmaze_umaze_regions"), transitions=3_000)), workers=1)


# What a dataset was made from

MAZE = Maze("umaze", 1.0)


def adopted(**changed: object) -> DatasetSpec:
    base = {"source": "theirs.hdf5", "contexts": (), "split": "theirs", "min_episodes": 1, "control": True}
    return replace(load("pointmaze_umaze_regions"), **base | changed)


def put_source(seed: int, count: int = 30) -> None:
    """Walks in the upper corridor of the U; every third was terminated."""
    walks = [walk * [0.4, 0.1] + MAZE.to_xy((1, 2)) for walk in random_walks(count, 9, seed=seed)]
    episodes = make_episodes(walks, [np.zeros(len(walk) - 1) for walk in walks])
    write("lab/theirs-v0", replace(of_episodes("x", episodes, {}), terminated=np.arange(count) % 3 == 0))
    write("theirs.hdf5", of_episodes("x", episodes, {}))


@pytest.mark.parametrize("source", ["theirs.hdf5", "lab/theirs-v0"])
def test_a_source_that_has_changed_since_is_noticed_and_one_that_was_only_touched_is_not(source: str) -> None:
    put_source(seed=0)
    spec = adopted(source=source)
    before = stores.open_dataset(benchmark(spec), workers=1).episodes.sha256
    put_source(seed=0)  # the same data in new files
    assert stores.open_dataset(benchmark(spec), workers=1).episodes.sha256 == before
    put_source(seed=1)
    with pytest.raises(ValueError, match=f"made from {source}, which has changed since; remove it to have it made"):
        stores.open_dataset(benchmark(spec), workers=1)
    stores.generate(benchmark(spec), workers=1)  # asks for it
    assert stores.open_dataset(benchmark(spec), workers=1).episodes.sha256 != before


def test_a_change_behind_the_rows_that_were_taken_is_none_and_a_source_that_is_gone_is_none() -> None:
    put_source(seed=0)
    spec = adopted(transitions=60)
    before = stores.open_dataset(benchmark(spec), workers=1).episodes.sha256
    episodes = open_source("theirs.hdf5").read()
    fewer = make_episodes([episodes.observations[a : b + 1, :2].numpy() for a, b in zip(
        episodes.first[:25], episodes.last[:25], strict=True)])  # fmt: skip
    fewer.actions[: len(fewer)] = episodes.actions[: len(fewer)]
    write("theirs.hdf5", of_episodes("x", fewer, {}))
    assert stores.open_dataset(benchmark(spec), workers=1).episodes.sha256 == before
    os.remove("theirs.hdf5")
    assert stores.open_dataset(benchmark(spec), workers=1).episodes.sha256 == before


def test_what_ended_anothers_episodes_is_kept_and_where_it_is_not_known_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    put_source(seed=0)
    opened = stores.open_dataset(benchmark(adopted(source="lab/theirs-v0", transitions=100)), workers=1)
    assert opened.terminated.tolist() == [i % 3 == 0 for i in range(len(opened.terminated))]
    assert "truncated" not in capsys.readouterr().err
    write("theirs.npz", of_episodes("x", open_source("theirs.hdf5").read(), {}))
    opened = stores.open_dataset(benchmark(adopted(source="theirs.npz", split="others")), workers=1)
    assert not opened.terminated.any()
    assert "all episodes are truncated, since nothing is known of what ended them" in capsys.readouterr().err


# Exports


def test_an_export_is_checked_before_anything_is_generated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(f"{STORED}-val.npz").write_text("a validation set that took a week", encoding="utf-8")
    assert command(generate, monkeypatch, *UMAZE, "export=[ogbench]") == 2
    said = f"stitchrl: {STORED}-val.npz: holds something else than dataset {STORED}; move it away\n"
    assert capsys.readouterr().err == said
    Path(f"{STORED}.hdf5").mkdir()
    assert command(generate, monkeypatch, *UMAZE, "export=[d4rl]") == 2
    assert capsys.readouterr().err == f"stitchrl: {STORED}.hdf5: a folder is there, expected a file or nothing\n"
    Path("file").touch()
    assert command(generate, monkeypatch, *UMAZE, "export=[d4rl]", "export_to=file/there") == 2
    assert "file is there and is no folder" in capsys.readouterr().err
    assert not Path("store").exists()


def test_an_export_of_the_same_dataset_is_written_again_and_one_of_another_is_kept(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    again = [*UMAZE, "export=[d4rl,ogbench]", "if_missing=true"]
    assert command(generate, monkeypatch, *again) == 0
    assert command(generate, monkeypatch, *again) == 0
    other = replace(load("pointmaze_umaze_regions"), split="other")
    manifest = {"manifest": {"spec": official.plain(other)}}
    write(f"{STORED}.hdf5", of_episodes("x", make_episodes(random_walks(3, 5)), manifest))
    capsys.readouterr()
    assert command(generate, monkeypatch, *again) == 2
    assert f"{STORED}.hdf5: holds something else" in capsys.readouterr().err


def test_a_published_dataset_with_another_hash_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "PUBLISHED", tmp_path)
    folder = tmp_path / "x-v0"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"dataset_sha256": "a"}), encoding="utf-8")
    generate.compare({"name": "x-v0", "dataset_sha256": "a"})
    assert capsys.readouterr().err == ""
    generate.compare({"name": "x-v0", "dataset_sha256": "b"})
    assert "notice: x-v0: its hash differs from the published one" in capsys.readouterr().err
