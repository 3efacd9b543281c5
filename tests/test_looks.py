"""Colours and dashes of a report's charts: an agent's own, whatever else the report holds."""

from run_folders import CUT, JOINED, make_run

from stitchrl.report.find import find_runs
from stitchrl.report.looks import COLOURS, DASHES, OURS, looks


def looks_of(root, ways):
    for agent, goals in ways:
        make_run(root, CUT, goals, agent=agent)
    return looks(find_runs([root]).runs)


def test_agents_keep_their_looks_from_report_to_report(tmp_path):
    few = [("hiql", "future"), ("mine", "stitch"), ("gcbc", "warped")]
    more = [*few, ("crl", "future"), ("gcbc", "future"), ("gcbc", "stitch"), ("theirs", "stitch"), ("qrl", "direct")]
    first, second = looks_of(tmp_path / "few", few), looks_of(tmp_path / "more", more)
    assert first == {way: second[way] for way in few}
    assert second["gcbc", "future"].split()[0] == second["gcbc", "stitch"].split()[0] == "c0"
    assert second["crl", "future"].split()[1] == "d0" and second["gcbc", "stitch"].split()[1] == "d1"


def test_no_two_ways_look_the_same(tmp_path):
    """More agents of others than there are colours for them."""
    ways = [(agent, goals) for agent in (*OURS, *(f"mine{i}" for i in range(20))) for goals in ("future", "stitch")]
    found = looks_of(tmp_path, ways)
    assert len(set(found.values())) == len(ways) < COLOURS * len(DASHES)
    assert [found[agent, "future"] for agent in OURS] == [f"c{i} d0" for i in range(len(OURS))]


def test_other_settings_of_an_agent_have_its_colour_and_other_dashes(tmp_path):
    for rate in (0.001, 0.1):
        for goals in ("future", "stitch"):
            make_run(tmp_path / str(rate), CUT, goals, resolved={"agent.lr": rate})
    assert looks(find_runs([tmp_path]).runs) == {
        ("gcbc lr=0.001", "future"): "c0 d0",
        ("gcbc lr=0.001", "stitch"): "c0 d1",
        ("gcbc lr=0.1", "future"): "c0 d3",
        ("gcbc lr=0.1", "stitch"): "c0 d4",
    }


def test_an_agent_looks_the_same_on_every_dataset(tmp_path):
    make_run(tmp_path, JOINED, agent="zoo")
    make_run(tmp_path, CUT, agent="gcbc")
    make_run(tmp_path, CUT, agent="zoo")
    assert looks(find_runs([tmp_path]).runs).keys() == {("gcbc", "future"), ("zoo", "future")}
