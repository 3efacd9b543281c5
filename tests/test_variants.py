"""Runs that differ in more than their seed stand in rows of their own, which say in what."""

import csv
import re

import pytest
from run_folders import CUT, FAR, JOINED, make_run

from stitchrl.report.__main__ import main
from stitchrl.report.find import find_runs
from stitchrl.report.rows import group_rows
from stitchrl.report.tables import heat_table, success_table
from stitchrl.report.twins import conclusion, twin_rows

PAPER = {"agent.hidden_dims": [1024, 1024], "budget.hidden_dims": [1024, 1024], "budget.evaluations": 20}


def make_ant_and_paper(root):
    """Two seeds of two budgets, as `+experiment=antmaze_stitch` and the same with `budget=paper` leave them."""
    for seed in (0, 1):
        make_run(root / "ant", CUT, "stitch", seed, far=0.1 + 0.1 * seed, steps=20_000, resolved={})
        make_run(root / "paper", CUT, "stitch", seed, far=0.5 + 0.1 * seed, steps=1_000_000, resolved=PAPER)


ANT_NAME = "gcbc steps=20000 hidden_dims=[512,512] budget.evaluations=5"
PAPER_NAME = "gcbc steps=1000000 hidden_dims=[1024,1024] budget.evaluations=20"


def test_two_budgets_are_two_rows_that_say_in_what_they_differ(tmp_path):
    make_ant_and_paper(tmp_path)
    rows = {row.agent: row for row in group_rows(find_runs([tmp_path]).runs)}
    assert {name: (row.goals, row.unseen.values, row.steps) for name, row in rows.items()} == {
        PAPER_NAME: ("stitch", (0.5, 0.6), 1_000_000),
        ANT_NAME: ("stitch", (0.1, 0.2), 20_000),
    }


def test_every_file_of_a_report_says_in_what_rows_differ(tmp_path, capsys):
    make_ant_and_paper(tmp_path / "runs")
    out = tmp_path / "out"
    assert main([str(tmp_path / "runs"), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert ANT_NAME in printed and PAPER_NAME in printed
    page = (out / "index.html").read_text(encoding="utf-8")
    assert f">{ANT_NAME}<" in page and f"{PAPER_NAME}, stitch" in page  # a table, a legend
    assert re.search(r"<title>gcbc steps=20000 [^<]*: 0\.15 ", page)  # a point in a chart
    assert PAPER_NAME in (out / "tables" / f"{CUT}-success.csv").read_text(encoding="utf-8")
    latex = r"gcbc steps=1000000 hidden\_dims=[1024,1024] budget.evaluations=20"
    assert latex in (out / "tables" / f"{CUT}-success.tex").read_text(encoding="utf-8")
    table = csv.DictReader((out / "table.csv").read_text(encoding="utf-8").splitlines())
    assert {(row["agent"], row["steps"]) for row in table} == {(ANT_NAME, "20000"), (PAPER_NAME, "1000000")}


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 4},
        {"fail_fast": True},
        {"inner_seeds": [7]},
        {"wandb": "project"},
        {"again": True},
        {"instruments": {"values": {"_target_": "Values", "every": 100}}},
        {"budget.hidden_dims": [512, 512]},  # the agent's own say the same
    ],
)
def test_settings_that_decide_nothing_make_no_difference(tmp_path, changes):
    make_run(tmp_path, CUT, seed=0, resolved={})
    make_run(tmp_path, CUT, "stitch", seed=0, resolved={})
    make_run(tmp_path, CUT, "stitch", seed=1, resolved=changes)
    make_run(tmp_path, CUT, seed=1, resolved=changes)
    assert {(run.agent, run.goals) for run in find_runs([tmp_path]).runs} == {("gcbc", "future"), ("gcbc", "stitch")}


def test_which_of_several_devices_makes_no_difference_but_its_kind_does(tmp_path):
    make_run(tmp_path, CUT, seed=0, resolved={"device": "cuda"})
    make_run(tmp_path, CUT, seed=1, resolved={"device": "cuda:1"})
    assert {run.agent for run in find_runs([tmp_path]).runs} == {"gcbc"}
    make_run(tmp_path, CUT, seed=2, resolved={})
    assert {run.agent for run in find_runs([tmp_path]).runs} == {"gcbc device=cuda", "gcbc device=cpu"}


@pytest.mark.parametrize(
    ("changes", "agent", "goals"),
    [
        ({"agent.lr": 3e-4}, "gcbc lr=0.0003", "stitch"),
        ({"agent.actor_goals": {"current": 0.2}}, "gcbc actor_goals.current=0.2", "stitch"),
        ({"agent._target_": "Mine"}, "gcbc _target_=Mine", "stitch"),
        ({"learner.decay": False}, "gcbc learner.decay=false", "stitch"),
        ({"dataset.min_episodes": 5}, "gcbc dataset.min_episodes=5", "stitch"),
        ({"goals.hops": 1}, "gcbc", "stitch hops=1"),
    ],
)
def test_a_setting_that_differs_is_named(tmp_path, changes, agent, goals):
    make_run(tmp_path / "a", CUT, "stitch", far=0.1, resolved={})
    make_run(tmp_path / "b", CUT, "stitch", far=0.7, resolved=changes)
    (other,) = [run for run in find_runs([tmp_path]).runs if run.success([FAR]) == 0.7]
    assert (other.agent, other.goals) == (agent, goals)


def test_settings_that_all_runs_share_are_not_named(tmp_path):
    make_run(tmp_path, CUT, resolved={"agent.lr": 0.5})
    make_run(tmp_path, CUT, seed=1, resolved={"agent.lr": 0.5})
    assert {run.agent for run in find_runs([tmp_path]).runs} == {"gcbc"}


def test_agents_and_mazes_of_their_own_settings_are_not_compared(tmp_path):
    """An ant has another budget than a point, and an agent another rate than the next."""
    make_run(tmp_path, CUT, steps=20_000, resolved={})
    make_run(tmp_path, "pointmaze-umaze-cut4-v0", steps=30_000, resolved={})
    make_run(tmp_path, CUT, agent="gcivl", steps=20_000, resolved={"agent.lr": 3e-4})
    assert {run.agent for run in find_runs([tmp_path]).runs} == {"gcbc", "gcivl"}


def test_a_run_that_does_not_say_is_no_seed_of_either(tmp_path):
    """Folders of earlier versions hold no resolved.yaml, so that only summary.json's keys count."""
    make_run(tmp_path / "a", CUT, seed=0, resolved={})
    make_run(tmp_path / "b", CUT, seed=1)
    assert {run.agent for run in find_runs([tmp_path]).runs} == {"gcbc"}, "nothing is known to differ"
    make_run(tmp_path / "c", CUT, seed=0, resolved={"agent.lr": 0.1})
    assert {run.agent for run in find_runs([tmp_path]).runs} == {"gcbc lr=0.001", "gcbc lr=0.1", "gcbc lr=?"}
    make_run(tmp_path / "d", CUT, seed=1, steps=5)
    assert "gcbc steps=5 lr=?" in {run.agent for run in find_runs([tmp_path]).runs}


def test_twins_that_differ_in_the_dataset_only_pair_up_for_each_setting(tmp_path):
    for folder, changes, far in (("a", {}, 0.0), ("b", {"agent.lr": 0.1}, 0.1)):
        make_run(tmp_path / folder, JOINED, far=0.8 + far, resolved=changes | {"dataset.seed": 1})
        make_run(tmp_path / folder, CUT, far=0.2, resolved=changes | {"dataset.seed": 2})
        make_run(tmp_path / folder, CUT, "stitch", far=0.5 + far, resolved=changes | {"dataset.seed": 2})
    runs = find_runs([tmp_path]).runs
    rows = twin_rows(runs, JOINED, CUT)
    assert [(row.agent, row.data, row.goals, str(row.success)) for row in rows] == [
        ("gcbc lr=0.001", "joined", "future", "0.80"),
        ("gcbc lr=0.001", "cut4", "future", "0.20"),
        ("gcbc lr=0.001", "cut4", "stitch", "0.50"),
        ("gcbc lr=0.1", "joined", "future", "0.90"),
        ("gcbc lr=0.1", "cut4", "future", "0.20"),
        ("gcbc lr=0.1", "cut4", "stitch", "0.60"),
    ]
    assert [str(row.gap) for row in rows if row.gap] == ["0.60", "0.30", "0.70", "0.30"]
    assert [row.closed for row in rows if row.closed is not None] == pytest.approx([0.5, 0.4 / 0.7])
    assert "Without augmentation gcbc lr=0.1 loses 0.70 of 0.90" in conclusion(rows[3:])
    gaps = {row[:2]: str(row[-1]) for row in success_table(runs, CUT).rows}
    assert gaps["gcbc lr=0.1", "future"] == "0.70" and gaps["gcbc lr=0.001", "stitch"] == "0.30"
    assert heat_table(runs, CUT).columns[5:7] == ("gcbc lr=0.001, future", "gcbc lr=0.001, stitch")


def test_twins_that_were_trained_with_different_settings_are_not_compared(tmp_path):
    make_run(tmp_path, JOINED, far=0.8, resolved={})
    make_run(tmp_path, CUT, far=0.2, resolved={"agent.lr": 0.1})
    runs = find_runs([tmp_path]).runs
    assert [(run.dataset, run.agent) for run in runs] == [(JOINED, "gcbc lr=0.001"), (CUT, "gcbc lr=0.1")]
    assert twin_rows(runs, JOINED, CUT) == []


def test_augmentation_of_two_kinds_of_settings_is_compared_with_one_run_without(tmp_path):
    make_run(tmp_path, JOINED, far=0.8, resolved={})
    make_run(tmp_path, CUT, far=0.2, resolved={})
    for hops, far in ((1, 0.5), (3, 0.65)):
        make_run(tmp_path / str(hops), CUT, "stitch", far=far, resolved={"goals.hops": hops})
    rows = twin_rows(find_runs([tmp_path]).runs, JOINED, CUT)
    assert {row.goals: row.closed for row in rows[2:]} == {
        "stitch hops=1": pytest.approx(0.5),
        "stitch hops=3": pytest.approx(0.75),
    }
