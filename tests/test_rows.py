"""Every number of a report's rows against an answer made by hand, on runs of which no two numbers are alike."""

import csv
import json

import pytest
from run_folders import CUT, FAR, JOINED, NEAR, make_run

from stitchrl.report.find import find_runs
from stitchrl.report.rows import far_tasks, group_rows, segments_needed, task_rows
from stitchrl.report.runs import read_run
from stitchrl.report.tables import resampled_tables, success_table, task_table, to_csv, training_table, twin_table
from stitchrl.report.twins import twin_rows

OTHER = "r1c1-to-r3c3"  # a second task that is expected unseen


def score(success):
    return {"success": success, "final": success + 0.01, "best": success + 0.02, "episodes": 150}


def make_distinct_run(root, dataset, goals, seed, far, other, near, **changes):
    """Three tasks; no two of success, final, best, under the tight limit, and no two speeds and rates are the same."""
    joined = "joined" in dataset
    tasks = [
        score(success)
        | {"name": name, "expect": expect, "status": expect, "segments_needed": needed, "path_length": length}
        | {
            "mean_length": steps + seed + (40 if goals == "stitch" else 0),
            "tight_success": success - 0.03,
            "ceiling": ceiling,
        }
        for name, expect, needed, length, success, steps, ceiling in (
            (FAR, "seen" if joined else "unseen", 4, 24.0, far, 300.0, 0.9),
            (OTHER, "seen" if joined else "unseen", 3, 20.0, other, 250.0, 0.8),
            (NEAR, "seen", 1, 8.0, near, 100.0, 0.7),
        )
    ]
    unseen = (far + other) / 2
    summary = {
        "seen": score((far + other + near) / 3 if joined else near),
        "unseen": None if joined else score(unseen),
        "raw_difference": None if joined else near - unseen,
        "by_segments": {"1": score(near), "3": score(other), "4": score(far)},
        "tasks": tasks,
        "augmentation": {"requested": 0.5, "realised": 0.4 + 0.02 * seed, "contradiction_rate": 0.1 + 0.02 * seed},
        "updates_per_s": 100.0 + 10 * seed,
        "wall_s": 600.0 + 120 * seed,
    }
    return make_run(root, dataset, goals, seed, **summary | changes)


@pytest.fixture
def runs(tmp_path):
    for seed in (0, 1):
        make_distinct_run(tmp_path, JOINED, "future", seed, 0.80 + 0.12 * seed, 0.6, 0.9)
        make_distinct_run(tmp_path, CUT, "future", seed, 0.10 + 0.12 * seed, 0.2, 0.7)
        make_distinct_run(tmp_path, CUT, "stitch", seed, 0.50 + 0.12 * seed, 0.3, 0.6)
    return find_runs([tmp_path]).runs


def test_rows_hold_the_headline_and_neither_the_last_evaluation_nor_the_best(runs):
    _, cut, stitch = group_rows(runs)
    assert cut.seen.values == pytest.approx((0.7, 0.7)) and cut.unseen.values == pytest.approx((0.15, 0.21))
    assert cut.raw_difference.values == pytest.approx((0.55, 0.49)), "seen minus unseen"
    assert {key: value.mean for key, value in cut.by_segments.items()} == pytest.approx({"1": 0.7, "3": 0.2, "4": 0.16})
    assert stitch.unseen.mean == pytest.approx(0.43)  # (0.4 + 0.46) / 2
    assert (stitch.realised, stitch.contradiction_rate) == pytest.approx((0.41, 0.11))
    assert (stitch.updates_per_s, stitch.wall_s) == pytest.approx((105, 660))


def test_the_gap_is_joined_minus_cut_over_the_tasks_that_cut_data_do_not_join(runs):
    assert far_tasks(JOINED, runs) == far_tasks(CUT, runs) == [FAR, OTHER]
    assert segments_needed(CUT, runs) == 3, "the fewest"
    joined, cut, stitch = twin_rows(runs, JOINED, CUT)
    assert joined.success.values == pytest.approx((0.7, 0.76))
    assert cut.success.values == pytest.approx((0.15, 0.21)) and cut.gap.values == pytest.approx((0.55, 0.55))
    assert stitch.success.values == pytest.approx((0.4, 0.46)) and stitch.gap.values == pytest.approx((0.3, 0.3))
    assert stitch.closed == pytest.approx(0.25 / 0.55)
    shown = [tuple(map(str, row[3:])) for row in twin_table(runs, JOINED, CUT).rows]
    assert shown == [
        ("0.73 (0.70 0.76)", "", ""),
        ("0.18 (0.15 0.21)", "0.55 (0.55 0.55)", ""),
        ("0.43 (0.40 0.46)", "0.30 (0.30 0.30)", "45%"),
    ]


def test_the_interval_of_a_mean_is_over_seeds_and_not_over_tasks(tmp_path):
    """Five seeds that agree, whose tasks do not: there is no doubt about the mean over tasks."""
    for seed in range(5):
        make_distinct_run(tmp_path, CUT, "future", seed, 0.0, 0.9, 0.5)
    (row,) = group_rows(find_runs([tmp_path]).runs)
    assert row.unseen.mean == pytest.approx(0.45) and row.unseen.half_width == pytest.approx(0, abs=1e-9)


def test_a_gap_over_other_seeds_is_the_difference_of_the_means_and_says_so(tmp_path):
    make_distinct_run(tmp_path, JOINED, "future", 0, 0.8, 0.6, 0.9)
    make_distinct_run(tmp_path, CUT, "future", 1, 0.1, 0.3, 0.7)
    _, cut = twin_rows(find_runs([tmp_path]).runs, JOINED, CUT)
    assert str(cut.gap) == "0.50 (unpaired)"


def test_tables_show_each_number_under_its_heading(runs):
    success = success_table(runs, CUT)
    assert success.columns[3:] == ("seen", "unseen", "raw difference", "stitching gap")
    assert [str(entry) for entry in success.rows[0][3:]] == [
        "0.70 (0.70 0.70)",
        "0.18 (0.15 0.21)",
        "0.52 (0.55 0.49)",
        "0.55 (0.55 0.55)",
    ]
    tasks = task_table(runs, CUT)
    (row,) = [row for row in tasks.rows if row[1:3] == ("stitch", FAR)]
    told = dict(zip(tasks.columns, map(str, row), strict=True))
    assert told["success"] == "0.56 (0.50 0.62)" and told["under the tight limit"] == "0.53 (0.47 0.59)"
    assert (told["segments"], told["path m"], told["steps"]) == ("4", "24.0", "340") and float(told["ceiling"]) == 0.9
    assert (told["expect"], told["status"]) == ("unseen", "unseen")
    training = training_table(runs)
    assert dict(zip(training.columns[3:], training.rows[2][3:], strict=True)) == {
        "seeds": 2,
        "steps": 1000,
        "augmented": "41%",
        "contradicting": "11%",
        "updates per s": pytest.approx(105),
        "minutes": pytest.approx(11),
    }


def test_the_table_of_runs_holds_the_numbers_of_each_summary(runs):
    rows = list(csv.DictReader(to_csv(runs).splitlines()))
    row = next(row for row in rows if (row["dataset"], row["goals"], row["seed"]) == (CUT, "stitch", "1"))
    expected = {
        "seen_success": 0.6,
        "seen_final": 0.61,
        "seen_best": 0.62,
        "unseen_success": 0.46,
        "unseen_final": 0.47,
        "unseen_best": 0.48,
        "raw_difference": 0.14,
        "far_success": 0.46,
        "far_tight_success": 0.43,
        "segments_1_success": 0.6,
        "segments_3_success": 0.3,
        "segments_4_success": 0.62,
        "augmentation_requested": 0.5,
        "augmentation_realised": 0.42,
        "contradiction_rate": 0.12,
        "updates_per_s": 110,
        "wall_s": 720,
    }
    assert {key: float(row[key]) for key in expected} == pytest.approx(expected)


def test_ceilings_are_means_over_runs_and_lengths_those_of_the_row_alone(runs):
    rows = {(row.dataset, row.goals, row.task): row for row in task_rows(runs)}
    assert rows[CUT, "stitch", OTHER].ceiling == pytest.approx(0.8)
    assert rows[CUT, "stitch", OTHER].mean_length == pytest.approx(290.5)
    assert rows[JOINED, "future", NEAR].expect == "seen" and rows[CUT, "future", FAR].segments_needed == 4


def test_a_seed_that_failed_at_a_task_has_no_length_and_does_not_shorten_it(tmp_path):
    for seed in (0, 1):
        folder = make_distinct_run(tmp_path, CUT, "future", seed, 0.1, 0.2, 0.7)
    summary = json.loads((folder / "summary.json").read_text())
    summary["tasks"][0]["mean_length"] = None
    (folder / "summary.json").write_text(json.dumps(summary))
    row = next(row for row in task_rows(find_runs([tmp_path]).runs) if row.task == FAR)
    assert row.mean_length == 300


def test_seeds_that_lack_a_task_do_not_count_for_the_eight_that_resampling_needs(tmp_path):
    for seed in range(9):
        folder = make_distinct_run(tmp_path, CUT, "future", seed, 0.1 + 0.05 * seed, 0.2, 0.7)
    assert resampled_tables(find_runs([tmp_path]).runs, CUT)[0].rows[0][2] == 9
    for seed, folders in ((8, 8), (7, 7)):
        path = folder.with_name(f"{folder.name[:-1]}{seed}") / "summary.json"
        summary = json.loads(path.read_text())
        summary["tasks"] = summary["tasks"][1:]
        path.write_text(json.dumps(summary))
        tables = resampled_tables(find_runs([tmp_path]).runs, CUT)
        assert [table.rows[0][2] for table in tables] == ([folders] if folders == 8 else [])


def test_a_curve_is_the_mean_over_tasks_of_their_shares(tmp_path):
    folder = make_distinct_run(tmp_path, CUT, "future", 0, 0.1, 0.2, 0.7)
    solved = {FAR: [0, 0, 0, 1], OTHER: [1, 1], NEAR: [1, 0]}
    rows = [{"step": 5, "task": task, "success": bool(won)} for task, of in solved.items() for won in of]
    (folder / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_run(folder).curves == {"unseen": {5: (0.25 + 1) / 2}, "seen": {5: 0.5}}
