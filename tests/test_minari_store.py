"""Where datasets are kept: stores that cannot be written, homes that are not there, flat copies, destinations."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import command, make_episodes, random_walks

from stitchrl import convert
from stitchrl.data.formats import minari, minari_flat, open_source, write
from stitchrl.data.formats.source import of_episodes
from stitchrl.interrupt import Interrupted, interruptible

NAME = "lab/a-v0"
PLACE = Path("minari") / NAME
FLAT = PLACE / "flat"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(name: str = NAME, seed: int = 0) -> str:
    """Store a small dataset; its hash."""
    episodes = make_episodes(random_walks(8, 6, seed=seed))
    write(name, of_episodes("memory", episodes, {}))
    return episodes.sha256


def seal(monkeypatch: pytest.MonkeyPatch, *sealed: Path) -> None:
    """Have these folders refuse new folders, also for root, who may write anywhere."""
    mkdir = Path.mkdir

    def refuse(self: Path, *arguments: object, **options: object) -> None:
        if any(self.is_relative_to(folder) and not self.exists() for folder in sealed):
            raise OSError(30, "Read-only file system", str(self))
        mkdir(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", refuse)


# The flat copy


def test_where_the_store_cannot_be_written_the_flat_copy_goes_into_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    """A bug once: a dataset that can be read could not be audited."""
    sha256 = put()
    shutil.rmtree(FLAT)
    seal(monkeypatch, here / "minari")
    source = open_source(NAME)
    assert source.read().sha256 == sha256
    (copy,) = (here / "cache" / "stitchrl" / "flat").iterdir()
    assert source.notes[-1] == f"{here / PLACE} cannot be written; a flat copy was put into {copy}"
    monkeypatch.setattr(minari, "read_hdf5", None)  # not decoded again
    again = open_source(NAME)
    assert again.read().sha256 == sha256 and again.notes == ()
    assert not FLAT.exists()


def test_datasets_of_one_name_in_two_stores_have_two_copies_in_the_cache(
    monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    stores = {store: here / store for store in ("one", "two")}
    hashes = {}
    for seed, store in enumerate(stores):
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(stores[store]))
        hashes[store] = put(seed=seed)
        shutil.rmtree(stores[store] / NAME / "flat")
    seal(monkeypatch, *stores.values())
    for _ in range(2):
        for store in stores:
            monkeypatch.setenv("MINARI_DATASETS_PATH", str(stores[store]))
            assert open_source(NAME).read().sha256 == hashes[store]
    assert len(list((here / "cache" / "stitchrl" / "flat").iterdir())) == 2


def test_where_nothing_can_be_written_a_dataset_is_read_all_the_same(
    monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    sha256 = put()
    shutil.rmtree(FLAT)
    seal(monkeypatch, here)
    source = open_source(NAME)
    assert source.read().sha256 == source.sha256 == sha256
    assert [len(part.lengths) for part in source.chunks(1)] == [1] * 8
    assert not FLAT.exists() and not (here / "cache").exists()


def test_a_disk_that_is_full_half_way_does_not_fail_a_read(monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = put()
    shutil.rmtree(FLAT)
    save = np.save

    def full(path: Path, values: np.ndarray) -> None:
        if "terminated" in str(path):
            raise OSError(28, "No space left on device")
        save(path, values)

    monkeypatch.setattr(np, "save", full)
    assert open_source(NAME).read().sha256 == sha256
    assert [path.name for path in PLACE.iterdir()] == ["data"], "no half-written copy"


@pytest.mark.parametrize("name", ["observations.npy", "lengths.npy", "about.json", "terminated.npy"])
def test_a_flat_copy_that_is_damaged_is_made_anew(name: str) -> None:
    sha256 = put()
    content = (FLAT / name).read_bytes()
    for damaged in (content[: len(content) // 2], b""):
        (FLAT / name).write_bytes(damaged)
        assert open_source(NAME).read().sha256 == sha256
        assert (FLAT / name).read_bytes() == content
    (FLAT / name).unlink()
    assert open_source(NAME).read().sha256 == sha256


def test_a_reader_is_not_disturbed_when_another_one_replaces_the_flat_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = put()
    shutil.rmtree(FLAT)
    move = minari_flat.move

    def slower(new: Path, place: Path, beside: Path) -> None:
        monkeypatch.setattr(minari_flat, "move", move)
        assert open_source(NAME).read().sha256 == sha256  # another one, in between
        shutil.rmtree(FLAT)
        move(new, place, beside)
        shutil.rmtree(FLAT)

    monkeypatch.setattr(minari_flat, "move", slower)
    assert open_source(NAME).read().sha256 == sha256


def test_the_scratch_of_an_older_version_that_was_killed_blocks_nobody() -> None:
    """A bug once: scratch was named by the number of the process, which in a container is always 1."""
    sha256 = put()
    shutil.rmtree(FLAT)
    for number in range(1, os.getpid() + 1, max(1, os.getpid() - 1)):
        (PLACE / f".flat.{number}").mkdir()
        (PLACE.parent / f".a-v0.{number}.partial").mkdir()
    assert open_source(NAME).read().sha256 == sha256
    put(seed=1)


def test_a_flat_copy_that_was_written_with_the_data_is_the_one_that_decoding_them_gives() -> None:
    """A bug once: where there were no rewards the copy had NaN and the data 0, and NaN was stored on the next way."""
    put()
    written = open_source(NAME).read()
    shutil.rmtree(FLAT)
    decoded = open_source(NAME).read()
    assert written.sha256 == decoded.sha256
    assert np.array_equal(written.rewards, decoded.rewards, equal_nan=True)
    assert (written.rewards[written.transitions] == 0).all()


# The root and the home


def test_the_root_is_absolute_and_its_tilde_is_the_home(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.setenv("HOME", str(here / "home"))
    for typed, root in (
        ("data/sets", here / "data" / "sets"),
        ("~/sets", here / "home" / "sets"),
        ("", here / "home" / ".minari" / "datasets"),
        ("data/../sets", here / "sets"),
    ):
        monkeypatch.setenv("MINARI_DATASETS_PATH", typed)
        assert minari.root() == root


@pytest.mark.parametrize("layout", ["hdf5", "arrow"])
def test_a_dataset_is_found_again_from_another_folder_once_it_is_open(
    layout: str, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("MINARI_DATASETS_PATH", "~/mine")
    episodes = make_episodes(random_walks(8, 6))
    write(NAME, of_episodes("memory", episodes, {}), layout)
    assert (here / "mine" / NAME).is_dir() and not Path("~").exists()
    shutil.rmtree(here / "mine" / NAME / "flat")
    monkeypatch.setenv("MINARI_DATASETS_PATH", "mine")
    source = open_source(NAME)
    monkeypatch.chdir("/")
    assert source.read().sha256 == episodes.sha256


NOBODY = 64_123  # no user of this number is known


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without a home")
def test_a_user_without_a_home_is_told_what_to_set() -> None:
    write("a.hdf5", of_episodes("memory", make_episodes(random_walks(3, 6)), {}))
    program = (
        "import os, sys\n"
        "import stitchrl.data.formats\n"  # as root, who may read this interpreter
        "from stitchrl import convert\n"
        "from stitchrl.command import guarded\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "for home in ('', '/proc/nobody'):\n"
        "    os.environ.pop('HOME', None)\n"
        "    if home:\n"
        "        os.environ['HOME'] = home\n"
        "    try:\n"
        "        guarded(convert.main)\n"
        "    except SystemExit as stop:\n"
        "        print(stop.code)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("MINARI_DATASETS_PATH", "XDG_CACHE_HOME")}
    arguments = [sys.executable, "-c", program, "a.hdf5", NAME]
    run = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert run.stdout.split() == ["2", "2"], run.stderr
    unknown, unwritable = run.stderr.splitlines()
    assert unknown == "stitchrl: MINARI_DATASETS_PATH: no home folder is known; set it to the folder of datasets"
    assert unwritable.endswith("the folder /proc cannot be written; MINARI_DATASETS_PATH says where datasets are kept")


# Destinations


def convert_to(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Convert a source that cannot be read: whoever looks at it first has not looked at the destination."""
    Path("broken.hdf5").write_text("no dataset", encoding="utf-8")
    return command(convert, monkeypatch, "broken.hdf5", *arguments)


def namespace(path: str) -> None:
    (Path("minari") / path / "b-v0" / "data").mkdir(parents=True)


@pytest.mark.parametrize(
    "prepare, destination, said",
    [
        (lambda: Path("x.npz").touch(), "x.npz", "x.npz: exists already; --overwrite replaces it"),
        (lambda: Path("x-val.npz").touch(), "x.npz", "x-val.npz: exists already; --overwrite replaces it"),
        (lambda: put("lab/x-v0"), "lab/x-v0", "lab/x-v0: exists already; --overwrite replaces it"),
        (lambda: Path("x-val.npz").mkdir(), "x.npz", "x-val.npz: a folder is there, expected a file or nothing"),
        (lambda: Path("x.hdf5").symlink_to("gone/x.hdf5"), "x.hdf5", "gone, which is not there"),
        (lambda: Path("f").touch(), "f/x.hdf5", "f is there and is no folder"),
        (lambda: None, "x.pkl", "x.pkl: pickles are not written; expected a Minari id, a .hdf5 file or a .npz file"),
        (lambda: None, "x.hdf", "x.hdf: expected a Minari id of the form NAMESPACE/NAME-v0"),
        (lambda: None, "lab/mine", "lab/mine: expected a Minari id of the form NAMESPACE/NAME-v0"),
        (lambda: None, "../mine-v0", "../mine-v0: expected a Minari id of the form NAMESPACE/NAME-v0"),
        (lambda: None, "/tmp/mine-v0", "/tmp/mine-v0: expected a Minari id of the form NAMESPACE/NAME-v0"),
        (lambda: None, "l/mine-v0", "l/mine-v0: expected a Minari id of the form NAMESPACE/NAME-v0"),
        (lambda: namespace("lab/x-v0"), "lab/x-v0", "x-v0 is there and is no Minari dataset; it is never replaced"),
        (lambda: put("lab/x-v0"), "lab/x-v0/y-v0", "lab/x-v0/y-v0: lab/x-v0 is a dataset and holds no others"),
    ],
)
def test_a_destination_is_refused_before_the_source_is_looked_at(
    prepare, destination: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare()
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    assert convert_to(monkeypatch, destination) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert sorted(Path().rglob("*")) == sorted([*before, Path("broken.hdf5")])


def test_arrow_without_pyarrow_is_refused_before_the_source_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert convert_to(monkeypatch, "lab/x-v0", "--minari-format", "arrow") == 2
    assert "lab/x-v0: writing arrow needs pyarrow" in capsys.readouterr().err


def test_overwrite_covers_both_files_of_an_npz_and_never_the_source(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put()
    for name in ("x.npz", "x-val.npz"):
        Path(name).write_text("old", encoding="utf-8")
    assert command(convert, monkeypatch, NAME, "x.npz", "--overwrite") == 0
    before = [Path(name).read_bytes() for name in ("x.npz", "x-val.npz")]
    assert all(len(content) > 500 for content in before)
    capsys.readouterr()
    assert command(convert, monkeypatch, "x-val.npz", "x.npz", "--overwrite") == 2
    said = "stitchrl: x.npz: x-val.npz, which is written with it, is the source itself\n"
    assert capsys.readouterr().err == said
    assert [Path(name).read_bytes() for name in ("x.npz", "x-val.npz")] == before


def test_a_dataset_that_is_a_link_is_replaced_where_the_link_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    put("disk/far-v0")
    Path("minari/lab").mkdir()
    PLACE.symlink_to("../disk/far-v0")
    sha256 = put("lab/new-v0", seed=1)
    assert command(convert, monkeypatch, "lab/new-v0", NAME, "--overwrite") == 0
    assert PLACE.is_symlink()
    assert open_source(NAME).read().sha256 == open_source("disk/far-v0").read().sha256 == sha256
    assert sorted(path.name for path in Path("minari/disk").iterdir()) == ["far-v0"]


def test_a_dataset_becomes_one_of_another_layout_in_its_own_place(monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = put()
    assert command(convert, monkeypatch, NAME, NAME, "--minari-format", "arrow", "--overwrite") == 0
    assert not (PLACE / "data" / "main_data.hdf5").exists()
    shutil.rmtree(FLAT)
    assert open_source(NAME).read().sha256 == sha256


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "destination, at", [("lab/b-v0", 1), ("lab/b-v0", 2), ("b.hdf5", 1), ("b.npz", 1), ("b.npz", 2), ("b.npz", 4)]
)
def test_a_signal_while_a_dataset_is_written_leaves_nothing(destination: str, at: int, number: int, here: Path) -> None:
    """at: in which pass over the source it comes; an npz file takes two, and the one beside it two more."""
    put()
    source = open_source(NAME)
    before = {path for path in here.rglob("*") if path.is_file()}

    passes: list[int] = []

    def chunks(rows: int):
        yield from source.chunks(1)
        passes.append(rows)
        if len(passes) == at:
            os.kill(os.getpid(), number)

    interrupted = dataclasses.replace(source, chunks=chunks)
    with pytest.raises(Interrupted), interruptible():
        write(destination, interrupted)
    assert {path for path in here.rglob("*") if path.is_file()} == before
    assert not list(here.rglob(".*.partial"))
    assert os.environ["MINARI_DATASETS_PATH"] == str(here / "minari")
