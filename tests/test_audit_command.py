"""`python -m stitchrl.audit` on other people's data: tasks from a file, the verdict as exit status and JSON."""

import json
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from conftest import command, make_episodes

from stitchrl.audit import __main__ as audit
from stitchrl.data.formats import write
from stitchrl.data.formats.source import of_episodes

TASKS = """
achieved_goal: {columns: [0, 1]}
tasks:
  - {name: across, start: {center: [0.0, 0.0], radius: 0.5}, goal: {center: [8.0, 0.0], radius: 0.5}, expect: unseen}
  - {name: half, start: {center: [0.0, 0.0], radius: 0.5}, goal: {center: [4.0, 0.0], radius: 0.5}, expect: seen}
"""


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """60 episodes on either half of a line of 8 m; none on both."""
    monkeypatch.chdir(tmp_path)
    Path("tasks.yaml").write_text(TASKS)
    store()


def store(*more):
    rng = np.random.default_rng(0)
    halves = [np.stack([np.linspace(x, x + 4.4, 20), rng.normal(0, 0.05, 20)], 1) for x in (0, 3.8) for _ in range(60)]
    write("lab.hdf5", of_episodes("lab", make_episodes([*halves, *more]), {}))


def run(monkeypatch, capsys, *arguments):
    """Exit status, standard output and standard error."""
    status = command(audit, monkeypatch, "lab.hdf5", *arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def verdict(monkeypatch, capsys, *arguments):
    status, out, _ = run(monkeypatch, capsys, "--tasks", "tasks.yaml", "--json", *arguments)
    values = json.loads(out)
    assert status == (0 if values["pass"] else 1)
    return values


def test_the_contract(monkeypatch, capsys):
    values = verdict(monkeypatch, capsys)
    assert values["pass"] and values["dataset"] == "lab.hdf5" and values["epsilon"] == 0.45
    across, half = values["tasks"]
    assert (across["name"], across["status"], across["ordered"], across["unordered"]) == ("across", "unseen", 0, 0)
    assert across["segments_needed"] == 2 and across["segments_range"] == [2, 2] and across["episodes"] == []
    assert (half["status"], half["ordered"], half["segments_needed"]) == ("seen", 60, 1)


def test_a_leak_is_found_and_named(monkeypatch, capsys):
    store(np.stack([np.linspace(0, 8, 40), np.zeros(40)], 1))
    values = verdict(monkeypatch, capsys)
    assert not values["pass"]
    assert values["tasks"][0]["status"] == "rare" and values["tasks"][0]["episodes"] == [120]
    status, out, _ = run(monkeypatch, capsys, "--tasks", "tasks.yaml")
    assert status == 1 and "task across: expected unseen, found rare: 1 episode joins it (episode 120)" in out


def test_an_episode_in_the_wrong_direction_is_not_unseen(monkeypatch, capsys):
    store(np.stack([np.linspace(8, 0, 40), np.zeros(40)], 1))
    across = verdict(monkeypatch, capsys)["tasks"][0]
    assert (across["status"], across["ordered"], across["unordered"]) == ("reversed_only", 0, 1)


def test_episodes_in_the_wrong_direction_are_named(monkeypatch, capsys):
    store(*[np.stack([np.linspace(8, 0, 40), np.zeros(40)], 1)] * 2)
    assert verdict(monkeypatch, capsys)["tasks"][0]["episodes"] == [120, 121]


LONG = "from-the-left-hand-side-of-the-line-in-room[red]-to-the-other-one-at-8:100:m"  # rich knows [...] and :100:


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("columns", ["20", "80"])
def test_tables_are_never_cut(terminal, columns, monkeypatch, capsys):
    store(np.stack([np.linspace(0, 8, 40), np.zeros(40)], 1))
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    Path("tasks.yaml").write_text(TASKS.replace("name: across", f"name: '{LONG}'"))
    _, out, _ = run(monkeypatch, capsys, "--tasks", "tasks.yaml", "--epsilon", "0.25")
    (row,) = [line.split() for line in out.splitlines() if line.strip().startswith(LONG) and "rare" in line]
    assert row == [LONG, "rare,", "not", "unseen", "1", "1", "61", "61", "0.00", "1"]
    assert f"task {LONG}: expected unseen, found rare: 1 episode joins it (episode 120)" in out.splitlines()
    if not terminal:
        assert any(
            line.startswith("joined: episodes that visit") and line.endswith("differs)") for line in out.splitlines()
        )


def test_tasks_are_read_as_utf8_whatever_the_locale(monkeypatch, capsys):
    Path("tasks.yaml").write_text(TASKS.replace("across", "über-die-Brücke-橋"), encoding="utf-8")
    plain = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda self, encoding="ascii", **more: plain(self, encoding, **more))
    assert verdict(monkeypatch, capsys)["tasks"][0]["name"] == "über-die-Brücke-橋"


def test_positions_that_jump_without_a_mark_are_refused_in_the_columns_of_the_tasks(monkeypatch, capsys):
    rng = np.random.default_rng(0)
    halves = np.concatenate([np.linspace(x, x + 4.4, 20) for x in (0, 3.8) for _ in range(10)])
    observations = np.stack([rng.normal(0, 0.05, 400), np.zeros(400), halves, np.zeros(400)], 1)
    with h5py.File("lab.hdf5", "w") as file:
        file["observations"], file["actions"], file["terminals"] = (
            observations,
            np.zeros((400, 2)),
            np.arange(400) == 399,
        )
    status, _, _ = run(monkeypatch, capsys, "--tasks", "tasks.yaml", "--json")
    assert status == 1, "nothing jumps in columns 0 and 1, where these tasks have the position"
    Path("tasks.yaml").write_text(TASKS.replace("columns: [0, 1]", "columns: [2, 3]"))
    status, out, err = run(monkeypatch, capsys, "--tasks", "tasks.yaml", "--json")
    assert status == 2 and out == "" and len(err.strip().splitlines()) == 1
    assert "lab.hdf5: columns 2 and 3 jump in 18 rows inside of episodes (by 4.4 at row 19)" in err
    status, out, _ = run(monkeypatch, capsys, "--tasks", "tasks.yaml", "--json", "--trust-marks")
    assert status == 1 and json.loads(out)["episode_lengths"]["max"] == 399


def test_it_is_said_where_no_row_is_marked(monkeypatch, capsys):
    with h5py.File("lab.hdf5", "a") as file:
        file["timeouts"][...] = False
    status, _, err = run(monkeypatch, capsys, "--tasks", "tasks.yaml", "--json")
    assert status in (0, 1) and "lab.hdf5: no row is marked as the end of an episode" in err


def test_no_chain_is_null_and_fails(monkeypatch, capsys):
    Path("tasks.yaml").write_text(TASKS.replace("[8.0, 0.0]", "[8.0, 9.0]"))
    values = verdict(monkeypatch, capsys)
    assert not values["pass"] and values["tasks"][0]["segments_needed"] is None


def test_epsilon_and_the_number_of_episodes_can_be_given(monkeypatch, capsys):
    values = verdict(monkeypatch, capsys, "--epsilon", "0.02", "--min-episodes", "61")
    assert values["epsilon"] == 0.02 and values["tasks"][1]["status"] == "rare"


def test_the_achieved_goal_may_stand_in_other_columns(monkeypatch, capsys):
    Path("tasks.yaml").write_text(TASKS.replace("columns: [0, 1]", "columns: [1, 0]"))
    assert verdict(monkeypatch, capsys)["tasks"][1]["ordered"] == 0


@pytest.mark.parametrize(
    "before, after, message",
    [
        ("columns: [0, 1]", "columns: [0, 4]", "columns: 4 given, observations have columns 0 to 3"),
        ("columns: [0, 1]", "columns: 0", "columns: 0 given, two column numbers expected"),
        ("tasks:", "task:", "tasks.yaml: no tasks"),
        ("name: half, ", "", "tasks[1]: no name"),
        ("name: half", "name: across", "the name 'across' is given 2 times"),
        ("expect: seen", "expect: yes", "tasks[1]: expect: True is not one of seen, unseen"),
        ("radius: 0.5", "radius: -1", "tasks[0]: start: radius: -1 given"),
        ("radius: 0.5", "size: 0.5", "tasks[0]: start: no radius"),
        ("[8.0, 0.0]", "[8.0, .nan]", "tasks[0]: goal: center: [8.0, nan] given, two numbers expected"),
        ("[8.0, 0.0]", "8", "tasks[0]: goal: center: 8 given"),
        ("tasks:", "tasks: [", "tasks.yaml: expected YAML"),
    ],
)
def test_a_bad_tasks_file_is_one_line(before, after, message, monkeypatch, capsys):
    Path("tasks.yaml").write_text(TASKS.replace(before, after))
    status, out, err = run(monkeypatch, capsys, "--tasks", "tasks.yaml")
    assert status == 2 and out == ""
    assert message in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "lab.hdf5: no tasks are known of it; give them with --tasks FILE"),
        (("--tasks", "none.yaml"), "none.yaml"),
        (("--tasks", "tasks.yaml", "--epsilon", "0"), "--epsilon: 0.0 given, a positive number expected"),
        (("--tasks", "tasks.yaml", "--min-episodes", "0"), "--min-episodes: 0 given"),
    ],
)
def test_other_bad_input_is_one_line(arguments, message, monkeypatch, capsys):
    status, _, err = run(monkeypatch, capsys, *arguments)
    assert status == 2 and message in err and len(err.strip().splitlines()) == 1


def test_the_page_needs_nothing_beside_it(monkeypatch, capsys):
    store(np.stack([np.linspace(0, 8, 40), np.zeros(40)], 1))
    status, _, err = run(monkeypatch, capsys, "--tasks", "tasks.yaml", "--html", "page/audit.html")
    assert status == 1 and "page: page/audit.html" in err
    page = Path("page/audit.html").read_text()
    assert "It fails." in page and "1 episode joins it (episode 120)" in page and "data:image/png;base64," in page
    assert "http" not in page and "<script" not in page and "<link" not in page
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page


def test_names_in_a_page_are_text(monkeypatch, capsys):
    Path("tasks.yaml").write_text(TASKS.replace("name: across", "name: '<script>x</script>'"))
    run(monkeypatch, capsys, "--tasks", "tasks.yaml", "--html", "audit.html")
    assert "<script>" not in Path("audit.html").read_text()


def test_what_is_null_is_said_in_words(monkeypatch, capsys):
    values = verdict(monkeypatch, capsys)
    assert values["seams"] is values["segments_matched"] is values["walls"] is None
    _, out, _ = run(monkeypatch, capsys, "--tasks", "tasks.yaml")
    assert "nothing beside the position" in out and "Walls" not in out


def test_seams_in_words(monkeypatch, capsys):
    needed = {"a": 3, "b": 1, "c": None, "d": 2}
    certificate = SimpleNamespace(tasks=[{"name": name, "segments_needed": count} for name, count in needed.items()])
    surveyed = {
        "walls": {"share": 0.034, "segments": {"a": 2, "b": 1, "c": 4, "d": 2}},
        "seams": {name: {"median": at, "p90": 2 * at} for name, at in (("jump", 0.5), ("step", 0.1), ("random", 1.4))},
        "segments_matched": {"threshold": 1.0, "exact": False, "tasks": {"a": None, "b": 1, "c": None, "d": 4}},
    }
    walls, jump, matched = audit.seam_words(certificate, surveyed)
    assert walls.startswith("Walls rule out 3.4% of joins") and walls.endswith("would do: a 2 (not 3), c 4 (not none).")
    assert "jumps by 0.50 standard deviations at least (1.00 in one of ten places); a step changes it by 0.10" in jump
    assert matched.startswith("Joined only where that jumps by 1 or less, segments are at most,")
    assert matched.endswith(": a none, d 4.")
    surveyed["segments_matched"]["exact"], surveyed["walls"]["segments"] = True, needed
    walls, _, matched = audit.seam_words(certificate, surveyed)
    assert walls.endswith("without them as many would be needed.") and "segments are: a none, d 4." in matched
