"""`python -m stitchrl.audit` on other people's data: tasks from a file, the verdict as exit status and JSON."""

import html
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import command, make_episodes

from stitchrl.audit import __main__ as audit
from stitchrl.audit import words
from stitchrl.audit.certificate import Certificate
from stitchrl.audit.cooccurrence import status_of
from stitchrl.audit.goals import GOALS
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
        ("columns: [0, 1]", "columns: 0", "columns: 0 given, a list of column numbers expected"),
        ("tasks:", "task:", "tasks.yaml: no tasks"),
        ("name: half, ", "", "tasks[1]: no name"),
        ("name: half", "name: across", "the name 'across' is given 2 times"),
        ("expect: seen", "expect: yes", "tasks[1]: expect: True is not one of seen, unseen"),
        ("radius: 0.5", "radius: -1", "tasks[0]: start: radius: -1 given"),
        ("radius: 0.5", "size: 0.5", "tasks[0]: start: no radius"),
        ("[8.0, 0.0]", "[8.0, .nan]", "tasks[0]: goal: center: [8.0, nan] given, a list of 2 numbers expected"),
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
        (("--tasks", "tasks.yaml", "--epsilon", "-1"), "--epsilon: -1.0 given, a number of at least 0 expected"),
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
    assert "It fails: 1 episode joins across, which should be unseen." in page
    assert "1 episode joins it (episode 120)" in page and "data:image/png;base64," in page
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
    assert "nothing beside the achieved goal" in out and "Walls rule out" not in out


def test_the_survey_in_words():
    needed = {"a": 3, "b": 1, "c": None, "d": 2}
    walls = {"share": 0.034, "segments": {"a": 2, "b": 1, "c": 4, "d": 2}}
    said = words.walls_matter(walls, needed)
    assert said.startswith("Walls rule out 3.4% of the links")
    assert said.endswith("Without walls fewer episodes would do: a 2 (not 3), c 4 (not none).")
    assert words.walls_matter({**walls, "segments": needed}, needed).endswith("as many episodes would be needed.")

    seams = {name: {"median": at, "p90": 2 * at} for name, at in (("jump", 0.5), ("step", 0.1), ("random", 1.4))}
    (said,) = words.jumps_at_seams(seams, "velocities")
    assert "velocities must jump by 0.50 standard deviations (median; in one of ten places by 1.00 or more)" in said

    matched = {"threshold": 1.0, "exact": False, "tasks": {"a": None, "b": 1, "c": None, "d": 4}}
    lead = "If velocities must match within one standard deviation, "
    assert words.matched_joins(matched, needed, "velocities") == [
        lead + "d needs at most 4 episodes; no chain was found in the sample for a."
    ]
    exact = {**matched, "exact": True, "tasks": {"a": 4, "b": 1, "c": 2, "d": 4}}
    assert words.matched_joins(exact, needed, "velocities") == [lead + "a and d need 4 episodes."]
    assert words.matched_joins(exact, {"a": 1, "b": 1, "c": 1, "d": 1}, "velocities") == []

    assert words.lengths_of_episodes({"min": 99, "median": 99.0, "max": 99}) == "All episodes have 99 steps."
    varied = {"min": 12, "median": 40.5, "max": 99}
    assert words.lengths_of_episodes(varied) == "Episodes have 12 to 99 steps, half of them at most 40."


def found(name, expect, ordered=0, segments=None, starts=50, visits=50, unordered=None):
    """A task of a certificate."""
    unordered = ordered if unordered is None else unordered
    status = status_of(ordered, unordered, 50)
    values = {"ordered": ordered, "unordered": unordered, "starts": starts, "visits": visits, "status": status}
    return {"name": name, "expect": expect, "segments_needed": segments, "episodes": [], **values}


SEEN = [found("a", "seen", 50, 1), found("b", "seen", 70, 1)]


@pytest.mark.parametrize(
    "tasks, verdict",
    [
        (
            [*SEEN, found("c", "unseen", 0, 2), found("d", "unseen", 0, 2)],
            [
                "No episode joins either unseen pair; each needs two episodes.",
                "Both seen pairs are joined by at least 50 episodes.",
            ],
        ),
        ([found("c", "unseen", 0, 3)], ["No episode joins the unseen pair; it needs three episodes."]),
        (
            [SEEN[0], *[found(name, "unseen", 0, 2 + i) for i, name in enumerate("cde")]],
            [
                "No episode joins any of the 3 unseen pairs; each needs two to four episodes.",
                "The seen pair is joined by at least 50 episodes.",
            ],
        ),
        (
            [*SEEN, found("left-to-right", "unseen", 12, 1)],
            [
                "It fails: 12 episodes join left-to-right, which should be unseen.",
                "Both seen pairs are joined by at least 50 episodes.",
            ],
        ),
        (
            [found("c", "unseen", 1, 1), found("d", "unseen", 1, 1), found("e", "unseen", 0, 2)],
            [
                "It fails: 1 episode joins each of c and d, which should be unseen.",
                "No episode joins the other unseen pair; it needs two episodes.",
            ],
        ),
        (
            [found("c", "unseen", 0, 2, unordered=3)],
            ["It fails: 3 episodes visit both ends of c, which should be unseen, though not in order."],
        ),
        (
            [SEEN[0], *[found(name, "seen", i) for i, name in enumerate("cdefg")]],
            [
                "It fails: only 0 to 4 episodes join each of c, d, e and 2 more, which should be seen: 50 are needed.",
                "The other seen pair is joined by at least 50 episodes.",
            ],
        ),
        (
            [found("c", "unseen", 0, None, visits=0)],
            [
                "It fails: no chain of episodes leads from the start to the goal of c, at epsilon 0.45.",
                "No episode visits the goal of c: 50 are needed as support.",
                "No episode joins the unseen pair.",
            ],
        ),
    ],
)
def test_the_verdict_answers_the_question(tasks, verdict):
    certificate = Certificate("x", "", "", 0.45, 50, 50, False, tasks, "goal")
    assert GOALS.verdict(certificate) == verdict
    assert certificate.passed == (not verdict[0].startswith("It fails"))


def test_the_same_sentences_open_the_text_and_the_page(monkeypatch, capsys):
    _, out, _ = run(monkeypatch, capsys, "--tasks", "tasks.yaml", "--html", "audit.html")
    opening = [
        "No episode joins the unseen pair; it needs two episodes.",
        "The seen pair is joined by at least 50 episodes.",
        "Whether enough episodes support the unseen tasks is not judged.",
        "Walls are unknown: episodes may be joined through them.",
    ]
    assert out.splitlines()[2:6] == opening
    page = Path("audit.html").read_text()
    places = [page.index(html.escape(sentence)) for sentence in opening]
    assert places == sorted(places) and places[-1] < page.index("<figure>")
    for sentence in out.splitlines():
        if sentence.endswith(".") and sentence not in opening:
            assert html.escape(sentence, quote=False) in page


def test_episodes_that_go_on_in_another_stand_beside_the_verdict(monkeypatch, capsys):
    line = np.stack([np.linspace(0, 8, 41), np.zeros(41)], 1)
    halves = [line[:21], line[20:]] * 60
    write("lab.hdf5", of_episodes("lab", make_episodes(halves), {}))
    _, out, _ = run(monkeypatch, capsys, "--tasks", "tasks.yaml")
    assert out.splitlines()[4] == (
        "60 episodes end in the very state where another begins. Laid end to end, episodes would join pairs that "
        "should be unseen: across (60)."
    )
