"""What people read off tables and charts: every number under its own heading, every band of its own width."""

import re

import numpy as np
import pytest
from conftest import command, make_episodes

from stitchrl.audit import __main__ as audit
from stitchrl.cards import card
from stitchrl.data.formats import write
from stitchrl.data.formats.source import of_episodes
from stitchrl.report.charts import Series, line_chart
from stitchrl.report.statistics import Estimate

TASK = {
    "name": "r1c1-to-r1c3",
    "expect": "unseen",
    "status": "rare",
    "ordered": 11,
    "unordered": 22,
    "starts": 33,
    "visits": 44,
    "clearance": 0.55,
    "segments_needed": 3,
    "segments_range": [2, 5],
    "path_length": 6.6,
    "step_limit": 777,
    "ceiling": 0.88,
    "episodes": [9],
}


def test_a_cards_table_of_tasks_has_every_number_under_its_own_heading():
    ends = {key: {"center": [x, 1], "half": 0.25, "radius": 0} for key, x in (("start", -1), ("goal", 1))}
    certificate = {"epsilon": 0.45, "min_episodes": 50, "tasks": [TASK | ends]}
    lines = card.tasks(certificate, card.WORDS["goal"]).splitlines()
    header, row = ([cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], lines[2]))
    assert dict(zip(header[1:], row[1:], strict=True)) == {
        "task": "`r1c1-to-r1c3`",
        "from, to (m)": "(-1, 1) to (1, 1)",
        "expected": "unseen",
        "status": "rare",
        "co-occurrence, in order / any order": "11 / 22",
        "segments needed": "3 (2 to 5)",
        "clearance (m)": "0.55",
        "path (m)": "6.6",
        "step limit": "777",
        "ceiling": "0.88",
    }


def test_the_audits_table_has_every_number_under_its_own_heading(tmp_path, monkeypatch, capsys):
    """Two episodes join; one more comes by in the other order; four begin in the start, five are in the goal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    forth = np.stack([np.linspace(0, 8, 40), np.zeros(40)], 1)
    walks = [forth] * 2 + [forth[::-1].copy()] + [forth[:20]] * 2 + [forth[20:]] * 2
    write("lab.hdf5", of_episodes("lab", make_episodes(walks), {}))
    (tmp_path / "tasks.yaml").write_text(
        "achieved_goal: {columns: [0, 1]}\n"
        "tasks: [{name: across, start: {center: [0, 0], radius: 0.1}, goal: {center: [8, 0], radius: 0.1}}]\n"
    )
    assert command(audit, monkeypatch, "lab.hdf5", "--tasks", "tasks.yaml", "--min-episodes", "3") == 1
    lines = capsys.readouterr().out.splitlines()
    place = next(i for i, line in enumerate(lines) if "any order" in line and "starts" in line)
    headings = re.split(r"\s{2,}", lines[place].strip().replace("any order", "any_order"))
    headings = " ".join(headings).split()
    [row] = [line.split() for line in lines[place:] if line.strip().startswith("across")][:1]
    row = [row[0], " ".join(row[1 : len(row) - len(headings) + 2]), *row[len(row) - len(headings) + 2 :]]
    shown = dict(zip(headings, row, strict=True))
    assert (shown["joined"], shown["any_order"], shown["starts"], shown["visits"]) == ("2", "3", "4", "5")
    assert (shown["missed"], shown["status"]) == ("0.00", "rare, not unseen") and shown["segments"].startswith("1")


def test_a_band_is_as_wide_as_students_interval_and_lies_about_the_mean():
    five = Estimate((0.6, 0.7, 0.8, 0.7, 0.7))  # 0.7 ± 0.0878
    chart = line_chart("t", "steps", [Series("c0", "a", [(10.0, five), (20.0, five)])])
    rules = [float(y) for y in re.findall(r'class="rule" d="M[\d.]+ ([\d.]+)H', chart)]
    zero, one = rules[0], rules[-1]
    assert ">0</text>" in chart and ">1</text>" in chart
    band = [float(y) for y in re.findall(r"[\d.]+ ([\d.]+)", re.search(r'class="band" d="M([^"]*)Z', chart)[1])]
    shares = sorted((zero - y) / (zero - one) for y in band)
    assert shares == pytest.approx([0.7 - 0.0878, 0.7 - 0.0878, 0.7 + 0.0878, 0.7 + 0.0878], abs=2e-3)
    means = [float(y) for y in re.findall(r'cy="([\d.]+)" r="3"', chart)]
    assert [(zero - y) / (zero - one) for y in means] == pytest.approx([0.7, 0.7], abs=2e-3)
