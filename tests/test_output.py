"""What a report prints and draws: no number is cut, no task lacks its letter, and no encoding is a reason to fail."""

import os
import re
import subprocess
import sys

import pytest
from matplotlib.figure import Figure
from run_folders import CUT, add_arrays, make_run, make_twins

from stitchrl.report.__main__ import main
from stitchrl.report.drawing import letters
from stitchrl.report.figure import draw_run
from stitchrl.report.find import find_runs
from stitchrl.report.output import as_csv, as_latex
from stitchrl.report.page import sections
from stitchrl.report.runs import read_run
from stitchrl.report.tables import Table


def make_wide(root):
    """Four seeds, which are all shown, of an agent with a long name."""
    for seed in range(4):
        for goals in ("future", "stitch"):
            far = 0.1 + 0.11 * seed
            make_run(root, CUT, goals, seed, far=far, agent="an_agent_with_a_name_that_is_long_enough_to_wrap")


NUMBERS = "0.27 (0.10 0.21 0.32 0.43)", "0.73 (0.90 0.79 0.68 0.57)", "1.00 (1.00 1.00 1.00 1.00)"


def test_numbers_are_whole_in_a_pipe(tmp_path, capsys):
    make_wide(tmp_path / "runs")
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert all(printed.count(numbers) == 2 for numbers in NUMBERS)
    assert "an_agent_with_a_name_that_is_long_enough_to_wrap  future" in printed, "a pipe is as wide as the table"


@pytest.mark.parametrize("columns", [20, 80, 120])
def test_numbers_are_whole_in_a_terminal_however_narrow(tmp_path, capsys, monkeypatch, columns):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    monkeypatch.setenv("COLUMNS", str(columns))
    make_wide(tmp_path / "runs")
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    printed = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert all(printed.count(numbers) == 2 for numbers in NUMBERS)
    assert "an_agent_with_a_" in printed and "…" not in printed


def report(root, out, **environment):
    arguments = [sys.executable, "-m", "stitchrl.report", str(root), "--out", str(out)]
    return subprocess.run(arguments, capture_output=True, env=os.environ | environment)


def test_no_encoding_changes_the_exit_status_or_what_is_written(tmp_path):
    make_twins(tmp_path / "runs", seeds=3)
    folder = make_run(tmp_path / "runs", CUT, agent="méthode", resolved={"agent._target_": "Méthode"})
    add_arrays(folder)
    (folder / "eval.jsonl").write_text("", encoding="utf-8")
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # files are ASCII unless it is said
    written = []
    for name, environment in (
        ("a", {"PYTHONIOENCODING": "utf-8"}),
        ("b", {"PYTHONIOENCODING": "ascii"}),
        ("c", locale),
    ):
        done = report(tmp_path / "runs", tmp_path / name, **environment)
        assert done.returncode == 0 and done.stderr == b"", (name, done.stderr)
        assert b"0.90" in done.stdout
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.suffix in (".csv", ".tex", ".html"))
        written.append({path.name: path.read_bytes() for path in files})
    assert written[0] == written[1] == written[2]
    assert "méthode" in written[0]["index.html"].decode("utf-8")


def test_letters_go_on_beyond_z():
    assert letters(3) == ["A", "B", "C"] and letters(26)[-1] == "Z"
    assert letters(53)[25:] == ["Z", *("A" + letter for letter in letters(26)), "BA"]
    many = letters(1000)
    assert len(set(many)) == 1000 and many[702] == "AAA"


def test_a_picture_names_every_task_beyond_z(tmp_path):
    cells = [(1, 1), (1, 2), (1, 3), (2, 3), (3, 3), (3, 2), (3, 1)]
    names = [f"r{a[0]}c{a[1]}-to-r{b[0]}c{b[1]}" for a in cells for b in cells if a != b][:30]
    first = read_run(make_run(tmp_path / "first", CUT)).tasks[0]
    tasks = [first | {"name": name, "success": round(i / 100, 2)} for i, name in enumerate(names)]
    run = read_run(make_run(tmp_path / "second", CUT, tasks=tasks))
    axes = Figure().subplots()
    draw_run(axes, run, names)
    below = axes.get_xlabel()
    assert f"Z  {names[25]}  0.25" in below and f"AA  {names[26]}  0.26" in below and f"AD  {names[29]}  0.29" in below
    drawn = [text.get_text() for text in axes.texts]
    assert drawn.count("AD") == 2 and drawn.count("Z") == 2  # at its start and at its goal


def test_curves_of_twins_that_lack_other_seeds_are_drawn_by_seed(tmp_path):
    """One dataset has seeds that its twin lacks: a line joins what one seed does, never two of them."""
    for seed in (0, 1):
        make_run(tmp_path, CUT.replace("cut4", "joined"), seed=seed, far=0.9)
        make_run(tmp_path, CUT.replace("cut4", "cut2"), seed=seed, far=0.5)
    for seed in (1, 2, 3):
        make_run(tmp_path, CUT, seed=seed, far=0.1 * seed)
    _, twins, *_ = sections(find_runs([tmp_path]).runs, False)
    (chart,) = twins.charts
    tracks = [len(way.split("L")) for way in re.findall(r'class="seed" d="([^"]*)"', chart.drawing)]
    assert sorted(tracks) == [1, 1, 2, 2] or sorted(tracks) == [1, 1, 1, 2], "all tasks need four segments here"


def test_a_table_without_rows_is_still_a_table():
    table = Table("t", "T", ("agent", "seen"), [])
    assert as_csv(table) == "agent,seen\n"
    assert "\\begin{tabular}{ll}" in as_latex(table)


def test_the_first_word_comes_before_anything_slow_is_imported():
    code = "import sys, stitchrl.report.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "matplotlib", "scipy", "numpy", "rich", "jinja2"} & set(loaded)
