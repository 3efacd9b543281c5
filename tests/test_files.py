"""Files on disk: whole or not at all, scratch that blocks nobody, destinations that are checked before any work."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stitchrl import files
from stitchrl.interrupt import Interrupted, interruptible

HERE = Path("out.txt")


@pytest.fixture(autouse=True)
def a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def listed() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def put(text: str):
    return lambda beside: beside.write_text(text, encoding="utf-8")


def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced() -> None:
    """A bug once: a link to a big disk became a file here."""
    Path("disk").mkdir()
    (Path("disk") / "far.txt").write_text("old", encoding="utf-8")
    HERE.symlink_to("disk/far.txt")
    files.write(HERE, put("new"))
    assert HERE.is_symlink() and (Path("disk") / "far.txt").read_text(encoding="utf-8") == "new"
    assert [path.name for path in Path("disk").iterdir()] == ["far.txt"]


def test_a_new_file_has_the_usual_mode_and_one_that_is_replaced_keeps_its_own() -> None:
    before = os.umask(0o027)
    try:
        files.write(HERE, put("new"))
        assert HERE.stat().st_mode & 0o777 == 0o640
        HERE.chmod(0o604)
        files.write(HERE, put("newer"))
        assert HERE.stat().st_mode & 0o777 == 0o604
    finally:
        os.umask(before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_file_is_written_leaves_what_was_there_and_nothing_else(number: int) -> None:
    files.write(HERE, put("old"))

    def make(beside: Path) -> None:
        beside.write_text("half", encoding="utf-8")
        os.kill(os.getpid(), number)

    with pytest.raises(Interrupted), interruptible():
        files.write(HERE, make)
    assert listed() == ["out.txt"] and HERE.read_text(encoding="utf-8") == "old"


def test_a_signal_right_after_the_scratch_folder_was_made_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir = Path.mkdir

    def interrupted(self: Path, *arguments: object, **options: object) -> None:
        mkdir(self, *arguments, **options)  # type: ignore[arg-type]
        if self.name.endswith(".partial"):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(Interrupted), interruptible():
        files.write(HERE, put("new"))
    assert listed() == []


class Finalizer:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)  # the signal is raised in here at the latest


def test_a_signal_that_arrives_inside_a_finalizer_is_not_lost() -> None:
    """A bug once: a conversion that was asked to stop went on to its end, since finalizers ignore exceptions."""
    with pytest.raises(Interrupted), interruptible():
        Finalizer()
        for _ in range(600):
            time.sleep(0.05)


KILLED = """
import os, signal, sys
from pathlib import Path
from stitchrl import files
with files.scratch(Path("out.txt")) as folder:
    (folder / "half").write_text("half", encoding="utf-8")
    print(folder.name, flush=True)
    if sys.argv[1] == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def writer(deed: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, deed], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_what_a_killed_writer_left_is_swept_by_the_next_and_what_a_living_one_has_is_not() -> None:
    with writer("dies") as dead:
        left = dead.stdout.read().strip()
    assert (Path(left) / "half").exists()
    with writer("waits") as living:
        held = living.stdout.readline().strip()
        assert not Path(left).exists(), "the second writer swept it"
        files.write(HERE, put("new"))
        assert listed() == [held, "out.txt"] and (Path(held) / "half").exists()
        living.stdin.close()
    assert listed() == ["out.txt"]


def test_scratch_folders_of_one_process_have_different_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug once: named by the number of the process alone, which in a container is always the same."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with files.scratch(HERE) as first, files.scratch(HERE) as second:
        assert first != second and first.is_dir() and second.is_dir()
        assert re.fullmatch(r"\.out\.txt\.[0-9a-f]{8}\.partial", first.name)


def test_a_file_system_without_locks_is_written_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".out.txt.00000000.partial").mkdir()

    def refuse(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    files.write(HERE, put("new"))
    assert listed() == [".out.txt.00000000.partial", "out.txt"]


def link(path: str, target: str) -> None:
    Path(path).symlink_to(target)


@pytest.mark.parametrize(
    "prepare, path, message",
    [
        (lambda: Path("a").mkdir(), "a", "a: a folder is there, expected a file or nothing"),
        (lambda: os.mkfifo("a"), "a", "a: neither a file nor a folder is there, expected a file or nothing"),
        (lambda: link("a", "a"), "a", "a: a symbolic link that leads in a circle, expected a file"),
        (lambda: link("a", "gone/b"), "a", "a: a symbolic link into {here}/gone, which is not there"),
        (lambda: Path("a").touch(), "a/b", "a/b: {here}/a is there and is no folder"),
        (lambda: Path("a").touch(), "a", "a: exists already; --overwrite replaces it"),
    ],
)
def test_where_no_file_can_be_put_is_said_in_one_line(prepare, path: str, message: str, tmp_path: Path) -> None:
    prepare()
    with pytest.raises(ValueError) as caught:
        files.check_file(Path(path), overwrite=False)
    assert str(caught.value) == message.format(here=tmp_path)


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # who is root may write anywhere
    with pytest.raises(ValueError) as caught:
        files.check_file(Path("new/folder/file"))
    assert str(caught.value) == f"new/folder/file: the folder {tmp_path} cannot be written"


def test_where_a_file_can_be_put_nothing_is_said_and_nothing_is_made() -> None:
    Path("there").touch()
    files.check_file(Path("there"))
    files.check_file(Path("new/folder/file"), overwrite=False)
    assert listed() == ["there"]
