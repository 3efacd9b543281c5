"""The report reads run folders: made up here, so that every number in its tables is known beforehand."""

import ast
import csv
import json
from pathlib import Path

import numpy as np
import pytest
from run_folders import CUT, FAR, JOINED, add_arrays, make_run, make_twins

import stitchrl.report
from stitchrl.report.__main__ import main
from stitchrl.report.contract import BadInput
from stitchrl.report.find import find_runs
from stitchrl.report.rows import group_rows, segments_needed, task_rows, twin_datasets
from stitchrl.report.runs import Name, read_run
from stitchrl.report.statistics import Estimate
from stitchrl.report.twins import conclusion, on_one_twin, share_closed, twin_rows


def bad_input(capsys, *arguments):
    """The one line that the command ends with."""
    assert main([str(argument) for argument in arguments]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1 and output.err.endswith("\n")
    return output.err


def test_interval_of_five_seeds():
    # standard deviation sqrt(0.02 / 4) = 0.0707107; t(0.975, 4) = 2.776445; 2.776445 * 0.0707107 / sqrt(5) = 0.0878
    five = Estimate((0.6, 0.7, 0.8, 0.7, 0.7))
    assert five.mean == pytest.approx(0.7)
    assert five.half_width == pytest.approx(0.087799, abs=1e-5)
    assert str(five) == "0.70 ± 0.09"


def test_fewer_seeds_are_shown_as_points():
    assert str(Estimate((0.6, 0.7, 0.8, 0.7))) == "0.70 (0.60 0.70 0.80 0.70)"
    assert str(Estimate((0.71,))) == "0.71"
    assert str(Estimate((-0.001,))) == "0.00"


def test_missing_seeds_are_visible():
    assert str(Estimate((None, None))) == "missing"
    assert str(Estimate((0.5, None))) == "0.50 (0.50; 1 missing)"
    assert str(Estimate((0.6, 0.7, 0.8, 0.7, 0.7, None))) == "0.70 ± 0.09 (1 missing)"


def test_difference_is_paired_by_seed():
    assert Estimate((0.7, 0.9)).minus(Estimate((0.1, 0.2))).values == pytest.approx((0.6, 0.7))
    unpaired = Estimate((0.7, 0.9, None)).minus(Estimate((None, 0.1, 0.3)))
    assert unpaired.mean == pytest.approx(0.6) and str(unpaired) == "0.60 (unpaired)"
    assert str(Estimate((0.7,)).minus(Estimate((None,)))) == "missing"


def test_no_share_of_a_small_gap():
    whole = Estimate((0.8,))
    assert share_closed(whole, Estimate((0.4,)), Estimate((0.5,))) == pytest.approx(0.25)
    assert share_closed(whole, Estimate((0.76,)), Estimate((0.8,))) is None
    assert share_closed(whole, Estimate((None,)), Estimate((0.8,))) is None


def test_twins(tmp_path):
    make_twins(tmp_path)
    joined, cut, stitch = twin_rows(find_runs([tmp_path]).runs, JOINED, CUT)
    assert (joined.data, cut.data, stitch.data) == ("joined", "cut4", "cut4")
    assert joined.success.values == pytest.approx((0.7, 0.8, 0.9)) and joined.gap is None
    assert cut.success.mean == pytest.approx(0.1)
    assert cut.gap.values == pytest.approx((0.7, 0.7, 0.7)) and cut.closed is None
    assert stitch.gap.mean == pytest.approx(0.35) and stitch.closed == pytest.approx(0.5)
    assert conclusion([joined, cut, stitch]) == (
        "Without augmentation gcbc loses 0.70 of 0.80 when no single training episode contains a far task; "
        "augmentation closes 50% of that gap (3 seeds)."
    )


def test_twin_without_a_run_is_missing(tmp_path):
    make_run(tmp_path, JOINED, far=0.7)
    make_run(tmp_path, CUT, "stitch", far=0.1)
    joined, cut, stitch = twin_rows(find_runs([tmp_path]).runs, JOINED, CUT)
    assert str(joined.success) == "0.70" and str(cut.success) == "missing" and str(cut.gap) == "missing"
    assert stitch.closed is None
    assert "goals=future are missing" in conclusion([joined, cut, stitch])


def test_twin_without_the_far_task_is_missing(tmp_path):
    folder = make_run(tmp_path, JOINED, far=0.7)
    summary = json.loads((folder / "summary.json").read_text())
    summary["tasks"] = [task for task in summary["tasks"] if task["name"] != FAR]
    (folder / "summary.json").write_text(json.dumps(summary))
    make_run(tmp_path, CUT)
    assert str(twin_rows(find_runs([tmp_path]).runs, JOINED, CUT)[0].success) == "missing"


@pytest.mark.parametrize(
    ("joined", "cut", "stitch", "words"),
    [
        (0.02, 0.0, 0.0, "fails on joined data too"),
        (0.90, 0.88, 0.9, "no gap to close"),
        (0.90, 0.40, 0.3, "augmentation makes that gap 20% wider"),
    ],
)
def test_conclusions(tmp_path, joined, cut, stitch, words):
    make_run(tmp_path, JOINED, far=joined)
    make_run(tmp_path, CUT, far=cut)
    make_run(tmp_path, CUT, "stitch", far=stitch)
    assert words in conclusion(twin_rows(find_runs([tmp_path]).runs, JOINED, CUT))


def test_no_gap_between_different_budgets(tmp_path):
    make_run(tmp_path, JOINED, far=0.9)
    make_run(tmp_path, CUT, steps=500)
    runs = find_runs([tmp_path]).runs
    assert twin_rows(runs, JOINED, CUT) == []
    assert on_one_twin(runs, JOINED, CUT) == (
        "Not compared, since they have runs on one of the twins only: "
        f"gcbc steps=1000 ({JOINED}), gcbc steps=500 ({CUT})."
    )


def test_twins_of_returns_are_twins_too(tmp_path):
    joined, cut = "pointmaze-umaze-returnsjoined-v0", "pointmaze-umaze-returnscut-v0"
    make_run(tmp_path, joined, far=0.9)
    make_run(tmp_path, cut, far=0.1)
    make_run(tmp_path, "pointmaze-umaze-cut2-v0", far=0.2)
    runs = find_runs([tmp_path]).runs
    assert twin_datasets(runs) == [(joined, cut)]
    assert segments_needed(cut, runs) == 4
    assert [str(row.gap) for row in twin_rows(runs, joined, cut) if row.gap] == ["0.80"]


def test_twins_differ_in_nothing_else(tmp_path, capsys):
    make_run(tmp_path, "antmaze-umaze-joined-v0", far=0.7)
    make_run(tmp_path, CUT)
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert "Twins" not in capsys.readouterr().out


def test_groups(tmp_path):
    make_twins(tmp_path)
    joined, cut, stitch = group_rows(find_runs([tmp_path]).runs)
    assert (joined.dataset, joined.goals, joined.seeds, joined.steps) == (JOINED, "future", 3, 1000)
    assert joined.seen.mean == pytest.approx(0.9) and joined.unseen is None and joined.raw_difference is None
    assert cut.unseen.values == pytest.approx((0.0, 0.1, 0.2))
    assert cut.raw_difference.mean == pytest.approx(0.9)
    assert cut.by_segments["4"].mean == pytest.approx(0.1)
    assert cut.realised is None and cut.updates_per_s == 100
    assert (stitch.realised, stitch.contradiction_rate) == pytest.approx((0.48, 0.2))


def test_tasks(tmp_path):
    make_twins(tmp_path)
    row = next(row for row in task_rows(find_runs([tmp_path]).runs) if row.dataset == CUT and row.task == FAR)
    assert (row.expect, row.status, row.segments_needed, row.measured["path_length"]) == ("unseen", "unseen", 4, 24.0)
    assert row.success.mean == pytest.approx(0.1) and row.measured["tight_success"].mean == pytest.approx(0.05)
    assert row.mean_length == 300 and row.ceiling == pytest.approx(0.98)


def test_command(tmp_path, capsys):
    make_twins(tmp_path / "runs", seeds=2)
    add_arrays(tmp_path / "runs" / f"{CUT}-gcbc-future-0")
    runs = str(tmp_path / "runs")
    assert main([runs, f"{runs}/{CUT}-gcbc-future-0", "--out", str(tmp_path / "out")]) == 0  # overlapping arguments
    output = capsys.readouterr().out
    assert "augmentation closes 50% of that gap (2 seeds)." in output
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["curves.csv", "index.html", "report.png", "table.csv", "tables"]
    assert (tmp_path / "out/report.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((tmp_path / "out/table.csv").open()))
    assert [float(row["far_success"]) for row in rows] == pytest.approx([0.7, 0.8, 0.0, 0.1, 0.35, 0.45])
    assert [2 * float(row["far_tight_success"]) for row in rows] == pytest.approx([0.7, 0.8, 0.0, 0.1, 0.35, 0.45])
    assert [row["unseen_success"] for row in rows[:3]] == ["", "", "0.0"]


def test_dataset_of_another_name(tmp_path):
    assert Name.parse("D4RL/antmaze/umaze-v1") is None
    make_run(tmp_path / "runs", "other_data")
    add_arrays(tmp_path / "runs/other_data-gcbc-future-0")
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0


def test_names():
    assert Name.parse("pointmaze-large-regions-n300000-s1-v0") == (
        "pointmaze",
        "large",
        "regions",
        "-n300000-s1",
        "v0",
    )
    assert Name.parse(CUT).split == "cut4"
    assert Name.parse("pointmaze-umaze-cut4-v0")[:4] == ("pointmaze", "umaze", "cut4", "")
    assert Name.parse("grid-joined-n300-s1-v2") == ("grid", "", "joined", "-n300-s1", "v2")
    assert Name.parse("grid-cut2-v0").joined == Name.parse("grid-joined-v0")


def test_damaged_summary(tmp_path, capsys):
    make_twins(tmp_path)
    path = tmp_path / f"{CUT}-gcbc-future-0" / "summary.json"
    path.write_text(path.read_text()[:100])
    assert str(path) in bad_input(capsys, path.parent, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": "many"}, "steps: int expected, found 'many'"),
        ({"unseen": {"success": 0.5}}, "key unseen.final expected"),
        ({"by_segments": {"2": {"success": 71.0}}}, "by_segments.2.success: a number from 0 to 1 expected"),
        ({"tasks": [{}]}, "key tasks.0.success expected"),
        ({"tasks": None}, "tasks: a list expected"),
        ({"augmentation": None}, "augmentation: an object expected"),
    ],
)
def test_summary_that_breaks_the_contract(tmp_path, change, words):
    folder = make_run(tmp_path, CUT, **change)
    with pytest.raises(BadInput, match=words):
        read_run(folder)


def test_summary_lacks_a_key(tmp_path, capsys):
    path = make_run(tmp_path, CUT) / "summary.json"
    summary = json.loads(path.read_text())
    del summary["agent"]
    path.write_text(json.dumps(summary))
    line = bad_input(capsys, tmp_path)
    assert str(path) in line and "key agent expected" in line


def test_damaged_arrays(tmp_path, capsys):
    folder = make_run(tmp_path, CUT)
    add_arrays(folder)
    (folder / "data.npz").write_bytes(b"PK\x03\x04")
    assert f"{folder / 'data.npz'}: damaged" in bad_input(capsys, folder, "--out", tmp_path / "out")
    add_arrays(folder)
    np.savez(folder / "trajectories.npz", points=np.zeros((5, 2)), lengths=[4], task=[FAR], success=[True])
    assert "trajectories.npz: arrays disagree" in bad_input(capsys, folder, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_runs(tmp_path, capsys):
    assert f"{tmp_path}: no run found" in bad_input(capsys, tmp_path)
    assert f"{tmp_path / 'nowhere'}: does not exist" in bad_input(capsys, tmp_path / "nowhere")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/status.json").write_text('{"status": "failed"}')
    assert f"no finished run found: {tmp_path / 'begun'}: failed" in bad_input(capsys, tmp_path / "begun")


def test_run_that_did_not_finish_beside_one_that_did(tmp_path, capsys):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/status.json").write_text('{"status": "failed"}')
    finished = make_run(tmp_path, CUT)
    assert main([str(tmp_path / "begun"), str(finished), "--out", str(tmp_path / "out")]) == 0
    assert f"Not finished, in no table: {tmp_path / 'begun'}: failed\n" in capsys.readouterr().out


def test_out_is_a_file(tmp_path, capsys):
    make_run(tmp_path, CUT)
    (tmp_path / "out").write_text("")
    assert str(tmp_path / "out") in bad_input(capsys, tmp_path, "--out", tmp_path / "out")


def test_reads_files_only():
    """Of ours, the report imports nothing but itself, files and what ends every command."""
    others = {"audit_page.py", "card.py", "return_card.py"}  # they write what is no report
    for path in Path(stitchrl.report.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in [module for module in modules if module.split(".")[0] == "stitchrl"]:
                allowed = ("stitchrl.report", "stitchrl.files", "stitchrl.guard")
                assert path.name in others or module.startswith(allowed), (path.name, module)
