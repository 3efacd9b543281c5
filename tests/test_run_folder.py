"""What a report takes from run folders without knowing its name: measures, geometry, instruments; and older folders."""

import csv
import json
import re

import numpy as np
import pytest
from run_folders import CUT, FAR, JOINED, MEASURES, NEAR, add_arrays, make_run, measure
from test_page import add_evaluations, pages

from stitchrl.report.__main__ import main
from stitchrl.report.contract import BadInput
from stitchrl.report.find import find_runs
from stitchrl.report.page import sections
from stitchrl.report.runs import read_run
from stitchrl.report.tables import coverage_table, heat_table, instrument_table, task_table, to_csv, twin_table


def change_tasks(folder, **values):
    """Give every task these values; a list has one for each task."""
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    for i, task in enumerate(summary["tasks"]):
        task |= {key: value[i] if isinstance(value, list) else value for key, value in values.items()}
    path.write_text(json.dumps(summary))


def test_a_measure_that_nobody_has_heard_of_has_a_column_of_its_heading(tmp_path):
    measures = [
        measure("holes", "holes fallen into", "Holes: how many.", digits=1, estimate=True),
        measure("rain", "mm"),
    ]
    for seed in (0, 1):
        folder = make_run(tmp_path, CUT, seed=seed, measures=measures)
        change_tasks(folder, holes=[2.25 + seed, None], rain=[7, 8])
    runs = find_runs([tmp_path]).runs
    table = task_table(runs, CUT)
    shown = [dict(zip(table.columns, row, strict=True)) for row in table.texts]
    assert [row["holes fallen into"] for row in shown] == ["2.8 (2.2 3.2)", "missing"]
    assert [row["mm"] for row in shown] == ["7", "8"] and "Holes: how many." in table.note
    assert "under the tight limit" not in table.columns and "path m" not in table.columns
    assert heat_table(runs, CUT).columns[:5] == ("task", "expect", "segments", "mm", "ceiling")
    assert [row["far_holes"] for row in csv.DictReader(to_csv(runs).splitlines())] == ["2.25", "3.25"]
    assert ">2.8 (2.2 3.2)<" in pages(tmp_path)


def add_logs(folder, seed):
    lines = [{"step": step, "train/loss": 0.1, "instruments/wobble": -step / 1000 - seed} for step in (500, 1000)]
    lines.insert(1, {"step": 700, "train/loss": 0.2})
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_what_instruments_measured_is_shown_whatever_its_name(tmp_path):
    for seed in (0, 1):
        values = {"wobble": -1.0 - seed, "tilt": None if seed else 0.00123456, "none": None}
        folder = make_run(tmp_path, CUT, seed=seed, instruments=values)
        add_logs(folder, seed)
    make_run(tmp_path, CUT, "stitch")
    runs = find_runs([tmp_path]).runs
    assert runs[1].measured == {"wobble": {500: -1.5, 1000: -2.0}}
    table = instrument_table(runs)
    assert table.columns[3:] == ("tilt", "wobble")
    (row,) = table.texts
    assert row[1:] == ["gcbc", "future", "0.001235 (0.001235; 1 missing)", "-1.5 (-1 -2)"]
    assert [row["instruments_wobble"] for row in csv.DictReader(to_csv(runs).splitlines())] == ["-1.0", "-2.0", ""]
    page = pages(tmp_path)
    [folded] = re.findall(r"<details><summary>Instruments while training</summary>(.*?)</details>", page, re.DOTALL)
    assert "<title>wobble against gradient steps</title>" in folded and "gcbc, future: -1.5 (-1 -2)" in folded
    assert f"wobble, {CUT}." in folded and "gcbc, stitch" not in folded


def test_a_report_without_instruments_does_not_speak_of_them(tmp_path):
    make_run(tmp_path, CUT, instruments={"augmentation/realised": None})
    assert "Instrument" not in pages(tmp_path)


@pytest.mark.parametrize("line", ['{"instruments/wobble": 1.0}', '{"step": 1, "instruments/wobble": "much"}'])
def test_damaged_logs_of_instruments(tmp_path, line):
    folder = make_run(tmp_path, CUT)
    (folder / "train.jsonl").write_text(line + "\n")
    with pytest.raises(BadInput, match=r"train\.jsonl, line 1: "):
        read_run(folder)


def test_curves_csv_has_a_line_for_each_evaluation_of_each_run(tmp_path, capsys):
    for dataset in (JOINED, CUT):
        add_evaluations(make_run(tmp_path / "runs", dataset, seed=3))
    make_run(tmp_path / "runs", CUT, "stitch")  # it has no eval.jsonl
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    rows = list(csv.reader((tmp_path / "out" / "curves.csv").read_text(encoding="utf-8").splitlines()))
    assert rows == [
        ["dataset", "agent", "goals", "seed", "step", "seen", "unseen"],
        [JOINED, "gcbc", "future", "3", "500", "0.625", ""],
        [JOINED, "gcbc", "future", "3", "1000", "0.75", ""],
        [CUT, "gcbc", "future", "3", "500", "1.0", "0.25"],
        [CUT, "gcbc", "future", "3", "1000", "1.0", "0.5"],
    ]
    assert str(tmp_path / "out" / "curves.csv") in capsys.readouterr().out


def test_evaluations_may_say_whose_they_are(tmp_path):
    folder = make_run(tmp_path, CUT)
    add_evaluations(folder)
    rows = [json.loads(line) for line in (folder / "eval.jsonl").read_text().splitlines()]
    whose = {"dataset": CUT, "agent": "gcbc", "goals": "future", "seed": 0, "expect": "seen"}
    curves = read_run(folder).curves
    (folder / "eval.jsonl").write_text("".join(json.dumps(row | whose) + "\n" for row in rows))
    assert read_run(folder).curves == curves


def test_an_experiment_on_one_dataset_is_missing_on_no_other(tmp_path):
    other = "pointmaze-umaze-regions-v0"
    for seed in (0, 1):
        for dataset in (JOINED, CUT, other):
            make_run(tmp_path, dataset, seed=seed, far=0.5)
    for seed in range(4):
        make_run(tmp_path, other, seed=seed, agent="aside")
    make_run(tmp_path, CUT, "stitch", agent="trial", seed=7)
    found = find_runs([tmp_path])
    coverage = {row[0]: row[1:] for row in coverage_table(found.runs).texts}
    assert coverage_table(found.runs).columns[1:] == ("aside, future", "gcbc, future", "trial, stitch")
    assert coverage[JOINED] == ["-", "2", "-"]
    assert coverage[CUT] == ["-", "2 (1 missing)", "1 (2 missing)"]
    assert coverage[other] == ["4", "2 (2 missing)", "-"]
    assert "missing" not in str(twin_table(found.runs, JOINED, CUT).texts)
    shown = {section.title: section for section in sections(found.runs, False)}
    assert "missing" not in str([table.texts for table in shown[JOINED].all_tables])
    [name] = [title for title in shown if title.startswith("The stitching gap")]
    assert shown[name].sentences[-1] == f"Not compared, since they have runs on one of the twins only: trial ({CUT})."
    assert [label for _, label in shown[other].legend] == ["aside, future", "gcbc, future (2 seeds missing)"]
    assert pages(tmp_path).count("<figcaption>aside, future") == 1


def test_older_folders_are_read(tmp_path):
    """They name no measures and no unit, have no geometry, and keep points as xy."""
    folder = make_run(tmp_path, CUT, older=True, far=0.5)
    add_arrays(folder, points="xy")
    run = read_run(folder)
    assert [(measure.key, measure.heading) for measure in run.measures] == [
        ("path_length", "path m"),
        ("tight_success", "under the tight limit"),
    ]
    assert (run.unit, run.drawing, run.instruments) == ("m", None, {})
    table = task_table([run], CUT)
    assert dict(zip(table.columns, table.texts[0], strict=True))["under the tight limit"] == "0.25"
    page = pages(tmp_path, videos=True)
    assert page.count('class="world"') == 1 and 'class="bad"' in page and "image/webp" in page
    assert 'class="wall"' not in page and 'class="start"' not in page
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0


def test_older_names_of_success_under_the_tight_limit(tmp_path):
    folder = make_run(tmp_path, CUT, older=True)
    path = folder / "summary.json"
    path.write_text(path.read_text().replace("tight_success", "in_half"))
    assert read_run(folder).success([NEAR], "tight_success") == 0.5


def test_runs_of_a_world_without_a_maze_or_a_drawing(tmp_path):
    """A task may have a start alone, in one dimension or three."""
    folder = make_run(tmp_path, "grid-levels-v0", unit="")
    change_tasks(folder, goal=None, start=[{"center": place, "half": 0, "radius": 0} for place in ([3], [3, 0, 2])])
    (folder / "certificate.json").unlink()
    add_arrays(folder)
    page = pages(tmp_path, videos=True)
    assert page.count('class="start"') == 1 and 'class="goal"' not in page
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"measures": {}}, "measures: a list expected"),
        ({"measures": [{**MEASURES[0], "estimate": 1}]}, "measures.0.estimate: bool expected, found 1"),
        ({"instruments": {"wobble": "much"}}, "instruments.wobble: float expected, found 'much'"),
        ({"unit": None}, "unit: str expected, found None"),
    ],
)
def test_summaries_that_break_the_contract(tmp_path, change, words):
    with pytest.raises(BadInput, match=words):
        read_run(make_run(tmp_path, CUT, **change))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"start": {"center": [1.0, 2.0]}}, "key tasks.0.start.half expected"),
        ({"goal": {"center": [], "half": 0, "radius": 0}}, "tasks.0.goal.center: one number at least expected"),
        ({"path_length": "long"}, "tasks.0.path_length: float expected"),
    ],
)
def test_tasks_that_break_the_contract(tmp_path, values, words):
    folder = make_run(tmp_path, CUT)
    change_tasks(folder, **values)
    with pytest.raises(BadInput, match=words):
        read_run(folder)


@pytest.mark.parametrize(
    "drawing",
    [
        {"rectangles": []},
        {"rectangles": [[0, 0, 1]], "extent": [0, 1, 0, 1]},
        {"rectangles": [], "extent": [1, 1, 0, 1]},
        [],
    ],
)
def test_damaged_drawings(tmp_path, drawing):
    folder = make_run(tmp_path, CUT)
    (folder / "certificate.json").write_text(json.dumps({"drawing": drawing}))
    with pytest.raises(BadInput, match=r"certificate\.json: damaged"):
        read_run(folder)


def test_points_that_are_none(tmp_path):
    folder = make_run(tmp_path, CUT)
    np.savez(folder / "trajectories.npz", points=np.zeros((2, 3)), lengths=[2], task=[FAR], success=[True])
    with pytest.raises(BadInput, match="arrays disagree; finite points"):
        read_run(folder)
