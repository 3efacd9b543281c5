"""Tables of a report whose numbers are all different, so that none can stand in another's place."""

import csv
import json

import pytest
from run_folders import CUT, FAR, JOINED, NEAR, make_run

from stitchrl.report.find import find_runs
from stitchrl.report.rows import far_tasks, segments_needed, task_rows
from stitchrl.report.statistics import Estimate
from stitchrl.report.tables import heat_table, success_table, task_table, to_csv, training_table, twin_table
from stitchrl.report.twins import share_closed, twin_rows

MIDDLE = "r1c1-to-r2c3"


def edit(folder, change):
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    change(summary)
    path.write_text(json.dumps(summary))


@pytest.fixture
def runs(tmp_path):
    """One run of each kind: joined 0.9; cut 0.1; augmented 0.3. Near tasks 0.8, 0.7, 0.6; a third of two segments."""
    for dataset, goals, far, near in (
        (JOINED, "future", 0.9, 0.8),
        (CUT, "future", 0.1, 0.7),
        (CUT, "stitch", 0.3, 0.6),
    ):
        folder = make_run(tmp_path, dataset, goals, far=far, near=near)

        def change(summary, far=far, dataset=dataset):
            middle = {
                **summary["tasks"][0],
                "name": MIDDLE,
                "success": far / 2,
                "tight_success": far / 8,
                "ceiling": 0.75,
            }
            middle |= {"path_length": 16.0, "segments_needed": 1 if dataset == JOINED else 2}
            summary["tasks"].append(middle)
            summary["wall_s"], summary["updates_per_s"] = 120.0, 50.0

        edit(folder, change)
    return find_runs([tmp_path]).runs


def value(entry):
    return entry.mean if isinstance(entry, Estimate) else entry


def test_far_tasks_are_those_that_are_unseen_on_the_cut_twin_on_either_of_the_twins(runs):
    assert far_tasks(CUT, runs) == far_tasks(JOINED, runs) == [FAR, MIDDLE]
    assert segments_needed(CUT, runs) == 2, "the fewest"


def test_the_twins_table_by_hand(runs):
    """Far success: the mean of 0.9 and 0.45, of 0.1 and 0.05, of 0.3 and 0.15."""
    table = twin_table(runs, JOINED, CUT)
    columns = ("agent", "data", "goals", "success on far tasks", "gap: joined minus it", "gap closed")
    places = [table.columns.index(name) for name in columns]
    joined, cut, stitch = ([value(row[place]) for place in places] for row in table.rows)
    assert joined == ["gcbc", "joined", "future", pytest.approx(0.675), "", ""]
    assert cut == ["gcbc", "cut4", "future", pytest.approx(0.075), pytest.approx(0.6), ""]
    assert stitch == ["gcbc", "cut4", "stitch", pytest.approx(0.225), pytest.approx(0.45), "25%"]
    assert [row.closed for row in twin_rows(runs, JOINED, CUT)][2] == pytest.approx(0.25)


def test_the_share_of_a_gap_that_is_closed_may_be_none_all_or_less_than_none():
    def closed(*means):
        return share_closed(*(Estimate((mean,)) for mean in means))

    assert closed(0.9, 0.1, 0.1) == 0 and closed(0.9, 0.1, 0.9) == 1
    assert closed(0.9, 0.1, 0.0) == pytest.approx(-0.125)
    assert closed(0.5, 0.45, 0.5) is None


def test_seen_unseen_and_their_difference_stand_under_their_own_headings(runs):
    table = success_table(runs, CUT)
    future = next(row for row in table.rows if row[:2] == ("gcbc", "future"))
    shown = {name: value(entry) for name, entry in zip(table.columns, future, strict=True)}
    assert shown["seen"] == pytest.approx(0.7) and shown["unseen"] == pytest.approx(0.1)
    assert shown["raw difference"] == pytest.approx(0.6) and shown["stitching gap"] == pytest.approx(0.6)


def test_every_tasks_own_numbers_stand_in_its_row(runs):
    row = next(row for row in task_rows(runs) if (row.dataset, row.goals, row.task) == (CUT, "stitch", MIDDLE))
    assert (row.expect, row.segments_needed, row.measured["path_length"], row.ceiling) == ("unseen", 2, 16.0, 0.75)
    assert row.success.mean == pytest.approx(0.15) and row.measured["tight_success"].mean == pytest.approx(0.0375)
    table = task_table(runs, CUT)
    shown = next(row for row in table.rows if row[:3] == ("gcbc", "stitch", MIDDLE))
    shown = {name: value(entry) for name, entry in zip(table.columns, shown, strict=True)}
    assert shown["success"] == pytest.approx(0.15) and shown["under the tight limit"] == pytest.approx(0.0375)
    assert (shown["path m"], shown["ceiling"], shown["segments"], shown["expect"]) == (16.0, 0.75, 2, "unseen")
    heat = heat_table(runs, CUT)
    [row] = [row for row in heat.rows if row[0] == MIDDLE]
    shown = {name: value(entry) for name, entry in zip(heat.columns, row, strict=True)}
    assert shown["gcbc, future"] == pytest.approx(0.05) and shown["gcbc, stitch"] == pytest.approx(0.15)
    assert [row[0] for row in heat.rows] == [NEAR, MIDDLE, FAR], "seen ones first, then by segments"


def test_the_csv_has_a_line_for_each_run_with_its_own_numbers(runs):
    rows = list(csv.DictReader(to_csv(runs).splitlines()))
    assert [(row["dataset"], row["goals"]) for row in rows] == [(JOINED, "future"), (CUT, "future"), (CUT, "stitch")]
    assert [float(row["far_success"]) for row in rows] == pytest.approx([0.675, 0.075, 0.225])
    assert [float(row["far_tight_success"]) for row in rows] == pytest.approx([0.28125, 0.03125, 0.09375])
    assert [row["seen_success"] for row in rows[1:]] == ["0.7", "0.6"]
    assert [row["unseen_success"] for row in rows] == ["", "0.1", "0.3"]
    assert [row["segments_4_success"] for row in rows] == ["", "0.1", "0.3"]
    assert [row["augmentation_requested"] for row in rows] == ["", "", "0.5"]


def test_augmentation_and_speed_are_shares_rates_and_minutes(runs):
    table = training_table(runs)
    shown = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    row = next(row for row in shown if (row["dataset"], row["goals"]) == (CUT, "stitch"))
    assert (row["augmented"], row["contradicting"]) == ("48%", "20%")
    assert (row["minutes"], row["updates per s"]) == (2.0, 50.0)
