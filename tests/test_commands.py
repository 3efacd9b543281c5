"""How commands begin and end: at once, and in one line, wherever their output goes."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from stitchrl.command import CONF
from stitchrl.guard import UNREAD

COMMANDS = ["stitchrl", "stitchrl.generate", "stitchrl.audit", "stitchrl.convert", "stitchrl.report"]
SLOW = {"torch", "sklearn", "scipy", "mujoco", "minari", "gymnasium", "matplotlib", "tensorboard"}

# Runs a command and then tells on stderr what it has imported.
IMPORTED = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
finally:
    print("imported", *{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""

# A command that does as its argument says.
DEEDS = """
import os, signal, sys, time
from stitchrl.guard import guarded

def main():
    if sys.argv[1] == "wait":
        print("ready", flush=True)
        time.sleep(60)
    if sys.argv[1] == "print":
        print("x" * 100_000)
    if sys.argv[1] == "rich":
        from rich.console import Console
        Console().print("x")
    if sys.argv[1] == "letters":
        print("\\u2500 \\u00b1 \\u00e9 \\u5b57")
    if sys.argv[1] == "unexpected":
        {}["nothing"]
    if sys.argv[1] == "mendable":
        raise ValueError("two\\nlines")
    return 3 if sys.argv[1] == "status" else None

guarded(main)
"""


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        errors="replace",
    )


def deed(word: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run("-c", DEEDS, word, cwd=cwd, **environment)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("argument", ["--help", "--misspelt", "misspelt=1"])
def test_nothing_that_is_slow_is_imported_before_arguments_are_read(
    command: str, argument: str, tmp_path: Path
) -> None:
    if argument == "misspelt=1" and command not in ("stitchrl", "stitchrl.generate"):
        pytest.skip("only Hydra's commands have settings")
    needed = ["a", "b"] if argument == "--misspelt" and command not in ("stitchrl", "stitchrl.generate") else []
    done = run("-c", IMPORTED, command, argument, *needed, cwd=tmp_path)
    *said, imported = done.stderr.splitlines()
    assert imported.startswith("imported ") and not SLOW & set(imported.split())
    if argument == "--help":
        assert (done.returncode, said) == (0, []) and done.stdout
    else:
        assert done.returncode == 2 and len(said) == 1 and "misspelt" in said[0] and done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_choice_and_setting(tmp_path: Path) -> None:
    said = run("-m", "stitchrl", "--help", cwd=tmp_path).stdout
    datasets = {path.stem for path in (CONF / "dataset").glob("*.yaml")}
    names = {path.stem for path in CONF.glob("*/*.yaml")} - datasets | {"steps: ${budget.steps}", "average: 0.999"}
    assert {name for name in names if name not in said} == set()
    rows = [line.split() for line in re.findall(r"^    \w.*", said, re.M) if "maze_" in line]
    assert {f"{place}_{split}" for place, *splits in rows for split in splits} == datasets
    assert "base" not in said
    assert "hydra:" not in said


def test_a_setting_that_hydra_does_not_know_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    for arguments in (["agent.batchsize=3"], ["-m", "agent.batchsize=3,4"]):
        done = run("-m", "stitchrl", *arguments, cwd=tmp_path)
        assert done.stderr == "stitchrl: agent.batchsize: no such setting; the nearest is agent.batch_size\n"
        assert done.returncode == 2


def test_what_was_not_expected_is_one_line_and_a_traceback_where_one_is_asked_for(tmp_path: Path) -> None:
    done = deed("unexpected", tmp_path)
    assert (done.returncode, done.stderr) == (2, "stitchrl: KeyError: 'nothing' (STITCHRL_TRACEBACK=1 shows where)\n")
    done = deed("unexpected", tmp_path, STITCHRL_TRACEBACK="1")
    assert done.returncode == 2
    assert done.stderr.startswith("Traceback") and done.stderr.endswith("stitchrl: KeyError: 'nothing'\n")
    done = deed("mendable", tmp_path)
    assert (done.returncode, done.stderr) == (2, "stitchrl: two lines\n")
    assert deed("status", tmp_path).returncode == 3


@pytest.mark.parametrize("word", ["print", "rich"])
def test_a_reader_who_goes_away_ends_a_command_quietly(word: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", DEEDS, word]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(writing)
    assert (done.returncode, done.stderr) == (UNREAD, "")


def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", DEEDS, "letters"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "stitchrl: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_an_encoding_changes_letters_and_no_exit_status(encoding: str, tmp_path: Path) -> None:
    done = deed("letters", tmp_path, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "tasks.yaml").write_text("""
achieved_goal: {columns: [0, 1]}
tasks: [{name: la-bas, start: {center: [0, 0], radius: 0.5}, goal: {center: [8, 0], radius: 0.5}, expect: seen}]
""")
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        x = np.arange(2600) % 26 / 3
        file["observations"] = np.stack([x, np.zeros_like(x)], 1).astype(np.float32)
        file["actions"], file["timeouts"] = np.zeros((len(x), 2), np.float32), np.arange(2600) % 26 == 25
    done = run("-m", "stitchrl.audit", "a.hdf5", "--tasks", "tasks.yaml", cwd=tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "passes"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_in_one_line(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", DEEDS, "wait"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, said = process.communicate()
    assert (process.returncode, said) == (128 + number, f"stitchrl: stopped by {number.name}\n")


def test_a_user_without_a_home_gets_no_traceback(tmp_path: Path) -> None:
    lines = """
import os, pwd, runpy, sys
def nobody(_): raise KeyError("uid not found")
pwd.getpwuid = nobody
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "MINARI_DATASETS_PATH")}
    for command, argument, status in (
        ("stitchrl", "--help", 0),
        ("stitchrl.audit", "nobody/nothing-v0", 2),
        ("stitchrl.convert", "--help", 0),
        ("stitchrl.report", "nothing", 2),
    ):
        line = [sys.executable, "-c", lines, command, argument]
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == status and "Traceback" not in done.stderr, done.stderr
