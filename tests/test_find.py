"""Which run folders a report holds: those of sweeps too, and never one that is damaged, though it holds the others."""

import json
import os
import shutil
from pathlib import Path

import hydra
import numpy as np
import pytest
from conftest import command
from run_folders import CUT, FAR, JOINED, NEAR, add_arrays, make_run

from stitchrl.command import CONF
from stitchrl.report.__main__ import main
from stitchrl.report.contract import BadInput
from stitchrl.report.find import find_runs
from stitchrl.sweep import concluded, job


def make_whole_run(root, seed=0, **options):
    """With every file that a run leaves."""
    folder = make_run(root, CUT, seed=seed, resolved={}, **options)
    add_arrays(folder)
    rows = [{"step": 1000, "task": task, "episode": 0, "success": True} for task in (FAR, NEAR)]
    (folder / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "calibration.csv").write_text("start,target,achieved,episodes\nr1c2,0.0,0.0,20\n")
    return folder


def change_summary(folder, change):
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    change(summary)
    path.write_text(json.dumps(summary))


def truncate(name):
    def damage(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def overwrite(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def flip(name):
    """A byte of the data of an archive: its checksum is wrong, or it cannot be unpacked."""

    def damage(folder):
        with np.load(folder / name) as file:
            arrays = dict(file)
        np.savez_compressed(folder / name, **arrays)
        content = bytearray((folder / name).read_bytes())
        content[80] ^= 255
        (folder / name).write_bytes(content)

    return damage


def trajectories(**changes):
    arrays = {"points": np.zeros((5, 2)), "lengths": [2, 3], "task": [FAR, NEAR], "success": [False, True]}
    return lambda folder: np.savez(folder / "trajectories.npz", **arrays | changes)


DAMAGES = {
    "half a summary": (truncate("summary.json"), "summary.json: not the summary of a finished run"),
    "an empty summary": (overwrite("summary.json", b""), "summary.json: not the summary of a finished run"),
    "a summary of bytes": (overwrite("summary.json", b"\xff\xfe"), "summary.json: not the summary of a finished run"),
    "a list": (overwrite("summary.json", b"[]"), "the whole file: an object expected"),
    "no tasks": (lambda folder: change_summary(folder, lambda s: s.pop("tasks")), "key tasks expected, not found"),
    "no number": (
        lambda folder: change_summary(folder, lambda s: s["unseen"].update(success=float("nan"))),
        "unseen.success: a number from 0 to 1 expected, found nan",
    ),
    "endless speed": (
        lambda folder: change_summary(folder, lambda s: s.update(updates_per_s=float("inf"))),
        "updates_per_s: float expected, found inf",
    ),
    "truth for a seed": (lambda folder: change_summary(folder, lambda s: s.update(seed=True)), "seed: int expected"),
    "a task twice": (
        lambda folder: change_summary(folder, lambda s: s["tasks"].append(s["tasks"][0])),
        "tasks: different names expected",
    ),
    "a task that is neither": (
        lambda folder: change_summary(folder, lambda s: s["tasks"][0].update(expect="rare")),
        "tasks: seen or unseen expected of each, found 'rare'",
    ),
    "words for segments": (
        lambda folder: change_summary(folder, lambda s: s.update(by_segments={"many": {"success": 0.5}})),
        "by_segments: numbers expected, found 'many'",
    ),
    "words for a share": (
        lambda folder: change_summary(folder, lambda s: s["tasks"][0].update(tight_success="some")),
        "tasks.0.tight_success: float expected",
    ),
    "another task": (
        overwrite("eval.jsonl", b'{"step": 1, "task": "elsewhere", "success": true}\n'),
        "eval.jsonl, line 1: task 'elsewhere'; a task of",
    ),
    "half an evaluation": (truncate("eval.jsonl"), f"eval.jsonl: no episodes of task '{NEAR}' at step 1000"),
    "half an episode": (overwrite("eval.jsonl", b'{"step": 1'), "eval.jsonl, line 1: an episode with step, task and"),
    "an evaluation of bytes": (overwrite("eval.jsonl", b"\xff\n"), "eval.jsonl: cannot be read"),
    "half the data": (truncate("data.npz"), "data.npz: damaged"),
    "a byte of the data": (flip("data.npz"), "data.npz: damaged"),
    "half the trajectories": (truncate("trajectories.npz"), "trajectories.npz: damaged"),
    "trajectories of other lengths": (trajectories(lengths=[1, 3]), "trajectories.npz: arrays disagree"),
    "a trajectory of no length": (trajectories(lengths=[0, 5]), "trajectories.npz: arrays disagree"),
    "trajectories to nowhere": (trajectories(points=np.full((5, 2), np.nan)), "trajectories.npz: arrays disagree"),
    "a trajectory of another task": (trajectories(task=[FAR, "other"]), "trajectories.npz: task 'other'; a task of"),
    "no configuration": (overwrite("resolved.yaml", b"- 1\n"), "resolved.yaml: damaged"),
    "a broken configuration": (overwrite("resolved.yaml", b"{agent: ["), "resolved.yaml: damaged"),
    "half a calibration": (overwrite("calibration.csv", b"start,target\nr1c2,0\n"), "calibration.csv: damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_left_out_and_named_and_the_others_are_reported(tmp_path, capsys, damage):
    for seed in (0, 1):
        make_whole_run(tmp_path / "runs", seed, far=0.25 + 0.25 * seed)
    odd = make_whole_run(tmp_path / "runs", 2, far=1.0)
    spoil, reason = DAMAGES[damage]
    spoil(odd)
    out = tmp_path / "out"
    assert main([str(tmp_path / "runs"), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith(f"stitchrl.report: left out: {odd}") and reason in line
    assert "0.38 (0.25 0.50)" in printed.out  # the unseen success of the two others
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "Left out of all tables: 1" in page and str(odd) in page


@pytest.mark.parametrize("damage", ["half a summary", "another task", "half the data"])
def test_nothing_but_damaged_runs_is_no_report(tmp_path, capsys, damage):
    odd = make_whole_run(tmp_path / "runs")
    spoil, reason = DAMAGES[damage]
    spoil(odd)
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(odd) in line and reason in line
    assert not (tmp_path / "out").exists()


def test_a_whole_run_is_not_left_out(tmp_path):
    folder = make_whole_run(tmp_path)
    change_summary(folder, lambda summary: summary.update(more="of a later version", versions=None))
    change_summary(folder, lambda summary: summary["tasks"][0].update(step_limit=300))
    found = find_runs([tmp_path])
    assert [run.folder for run in found.runs] == [folder] and found.left_out == found.unfinished == []


def test_the_same_configuration_and_seed_twice_is_the_fault_of_one_folder(tmp_path, capsys):
    kept = make_whole_run(tmp_path / "runs" / "a", far=0.25)
    shutil.copytree(kept, tmp_path / "runs" / "b")
    make_whole_run(tmp_path / "runs" / "c", 1, far=0.75)
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    copy = tmp_path / "runs" / "b"
    said = f"stitchrl.report: left out: {copy}: the same configuration and seed as {kept}; one of them expected\n"
    assert printed.err == said
    assert "0.50 (0.25 0.75)" in printed.out


def test_a_folder_that_is_named_twice_is_one_run(tmp_path):
    folder = make_whole_run(tmp_path / "runs")
    (tmp_path / "link").symlink_to(folder)
    found = find_runs([tmp_path / "runs", folder, tmp_path / "link", tmp_path / "runs" / ".." / "runs"])
    assert len(found.runs) == 1 and found.left_out == []


def test_a_path_without_runs_is_named_and_the_others_are_reported(tmp_path):
    make_whole_run(tmp_path / "runs")
    (tmp_path / "empty").mkdir()
    found = find_runs([tmp_path / "empty", tmp_path / "runs"])
    assert len(found.runs) == 1
    assert found.left_out == [f"{tmp_path / 'empty'}: no run found; a summary.json expected in it or below it"]


@pytest.mark.parametrize(
    ("files", "ended"),
    [
        ({"status.json": {"status": "failed", "reason": "update 300: loss is nan"}}, "failed: update 300: loss is nan"),
        ({"status.json": {"status": "interrupted"}}, "interrupted"),
        ({"status.json": {"status": "running", "origin": {}}}, "running"),
        ({"status.json": {"other": 1}}, "unknown"),
        ({"status.json": []}, "unknown"),
        (  # a run that diverged says so in its summary too
            {
                "status.json": {"status": "failed", "reason": "update 7"},
                "summary.json": {"failed": "update 7", "seen": None},
            },
            "failed: update 7",
        ),
    ],
)
def test_a_run_that_did_not_finish_is_listed_with_its_reason(tmp_path, capsys, files, ended):
    make_whole_run(tmp_path / "runs")
    begun = tmp_path / "runs" / "begun"
    begun.mkdir()
    for name, content in files.items():
        (begun / name).write_text(json.dumps(content))
    found = find_runs([tmp_path / "runs"])
    assert found.unfinished == [(begun, ended)] and found.left_out == [] and len(found.runs) == 1
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    assert f"Not finished, in no table: {begun}: {ended}\n" in capsys.readouterr().out
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert f'{begun}: <span class="missing">{ended}</span>' in page


# ---- sweeps --------------------------------------------------------------------------------------------------------


def record(sweep, number, status="finished", **keys):
    sweep.mkdir(parents=True, exist_ok=True)
    (sweep / f"{number}.json").write_text(json.dumps({"overrides": ["seed=0"], "status": status, **keys}))


def test_a_sweeps_folder_reports_the_runs_of_its_jobs_and_no_others(tmp_path):
    runs, sweep = tmp_path / "runs" / "antmaze", tmp_path / "runs" / "sweeps" / "now"
    folders = [make_whole_run(runs, seed) for seed in range(3)]
    for number in (0, 1):
        record(sweep, number, runs=[os.path.relpath(folders[number], sweep)], said="done")
    assert [run.folder for run in find_runs([sweep]).runs] == folders[:2]
    assert [run.folder for run in find_runs([tmp_path / "runs"]).runs] == folders  # each of them once
    shutil.move(tmp_path / "runs", tmp_path / "moved")
    found = find_runs([tmp_path / "moved" / "sweeps" / "now"])
    assert [run.seed for run in found.runs] == [0, 1] and found.left_out == []


def test_a_sweep_that_looks_for_settings_has_several_runs_to_a_job(tmp_path):
    folders = [make_whole_run(tmp_path / "runs", seed) for seed in range(3)]
    record(tmp_path / "elsewhere", 0, runs=[str(folder) for folder in folders], said="unseen 0.5")
    assert [run.seed for run in find_runs([tmp_path / "elsewhere"]).runs] == [0, 1, 2]


def test_jobs_of_a_sweep_that_did_not_finish_are_listed_with_their_reasons(tmp_path):
    folder, sweep = make_whole_run(tmp_path / "runs"), tmp_path / "sweep"
    killed, told = tmp_path / "runs" / "killed", tmp_path / "runs" / "told"
    for begun, status in ((killed, {"status": "running"}), (told, {"status": "failed", "reason": "no data"})):
        begun.mkdir()
        (begun / "status.json").write_text(json.dumps(status))
    record(sweep, 0, runs=[f"../runs/{folder.name}"], said="done")
    record(sweep, 1, "failed", runs=["../runs/killed"], said="killed by signal SIGKILL")
    record(sweep, 2, "failed", runs=["../runs/told"], said="stitchrl: no data")
    record(sweep, 3, "failed", runs=[], said="steps: a number expected")
    record(sweep, 4, "running", runs=["../runs/never"])
    (sweep / "7.json").write_text("{")
    (sweep / "8.json").write_text('{"some": "other file"}')
    found = find_runs([sweep])
    assert [run.folder for run in found.runs] == [folder] and found.left_out == []
    assert found.unfinished == [
        (killed, "failed: killed by signal SIGKILL"),
        (told, "failed: no data"),
        (sweep / "3.json", "failed: steps: a number expected"),
        (tmp_path / "runs" / "never", "running"),
    ]


def test_a_sweep_of_an_earlier_version_says_that_it_does_not_know_its_runs(tmp_path, capsys):
    make_whole_run(tmp_path / "runs")
    sweep = tmp_path / "sweep"
    for number in range(3):
        record(sweep, number, said="runs/gcbc-future-s0: seen 1.0, unseen 0.0")
    words = f"{sweep}: a sweep of an earlier version does not say where its runs are; name their folders"
    with pytest.raises(BadInput, match="no finished run found") as error:
        find_runs([sweep])
    assert words in str(error.value)
    assert main([str(sweep), str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == f"stitchrl.report: left out: {words}\n"


# In the place of a run: it leaves the summary that lies in $SUMMARY, of the seed that it is given.
RUN = """
import json, os, sys
given = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
folder = given["hydra.run.dir"].strip("'")
os.makedirs(folder, exist_ok=True)
with open(os.environ["SUMMARY"]) as file:
    summary = json.load(file)
with open(os.path.join(folder, "summary.json"), "w") as file:
    json.dump(summary | {"seed": int(given["seed"])}, file)
"""


@pytest.mark.parametrize("options", [[], ["hydra.sweep.dir=elsewhere/my_sweep"]])
@pytest.mark.usefixtures("in_a_folder_of_its_own")
def test_a_real_sweep_is_reported_by_its_folder(tmp_path, monkeypatch, options):
    monkeypatch.setenv("SUMMARY", str(make_run(tmp_path / "before", CUT) / "summary.json"))
    (tmp_path / "run.py").write_text(RUN)

    @concluded
    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    @job("run", lambda values, out: False)
    def sweep(config) -> None:
        raise AssertionError("the run itself, in the process of its supervisor")

    class Module:
        main = staticmethod(sweep)

    assert command(Module, monkeypatch, "-m", "seed=3,5", *options) == 0
    (folder,) = Path().glob("elsewhere/my_sweep" if options else "runs/sweeps/*")
    found = find_runs([folder])
    assert [run.seed for run in found.runs] == [3, 5] and found.left_out == found.unfinished == []
    assert all(str(run.folder).startswith("runs/pointmaze-umaze-regions/") for run in found.runs)


def test_joined_comes_before_its_cut_twins_and_future_goals_before_others(tmp_path):
    make_run(tmp_path, CUT, "direct")
    make_run(tmp_path, CUT)
    make_run(tmp_path, CUT, agent="zoo")
    make_run(tmp_path, JOINED, "stitch")
    make_run(tmp_path, CUT.replace("cut4", "cut2"))
    assert [(run.name.split, run.agent, run.goals) for run in find_runs([tmp_path]).runs] == [
        ("joined", "gcbc", "stitch"),
        ("cut2", "gcbc", "future"),
        ("cut4", "gcbc", "future"),
        ("cut4", "gcbc", "direct"),
        ("cut4", "zoo", "future"),
    ]
