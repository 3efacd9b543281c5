"""The report's page: what it must hold, that it needs nothing beside it, and how it behaves in a browser."""

import base64
import csv
import io
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image
from run_folders import CUT, FAR, JOINED, NEAR, add_arrays, make_run, measure

from stitchrl.report.__main__ import main
from stitchrl.report.contract import BadInput
from stitchrl.report.find import find_runs
from stitchrl.report.output import as_csv, as_latex
from stitchrl.report.page import render, sections, share
from stitchrl.report.records import Trajectory, read_curves
from stitchrl.report.rollouts import gathered, rollouts
from stitchrl.report.rows import warnings
from stitchrl.report.runs import read_run
from stitchrl.report.statistics import Estimate, Interval
from stitchrl.report.tables import Table, heat_table, resampled_tables, success_table, task_table


def add_evaluations(folder, steps=(500, 1000)):
    """Both tasks, four episodes each: a quarter, later half of the far ones succeed; all near ones."""
    rows = [
        {"step": step, "task": task, "episode": i, "success": task == NEAR or i < 1 + (step > steps[0])}
        for step in steps
        for task in (FAR, NEAR)
        for i in range(4)
    ]
    (folder / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_sweep(root, seeds=8):
    """Two agents on twins; of gcivl a seed and, on joined data, everything is absent."""
    for seed in range(seeds):
        folders = [
            make_run(root, JOINED, seed=seed, far=0.8 + 0.01 * seed),
            make_run(root, CUT, seed=seed, far=0.1 + 0.01 * seed),
            make_run(root, CUT, "stitch", seed=seed, far=0.5 + 0.01 * seed),
        ]
        if seed:
            folders.append(make_run(root, CUT, seed=seed, far=0.3, agent="gcivl"))
        for folder in folders:
            add_evaluations(folder)
            add_arrays(folder)


def make_return_run(root, seed, achieved, older=False):
    """A run that was asked for returns from one start: 0, which it achieves, and 100, of which it achieves so much."""
    tasks = [
        {"name": f"r1c2-return-{target:g}", "expect": expect, "status": expect, "segments_needed": segments}
        | {"target": target, "horizon": 250, "return": of, "path_length": None, "mean_length": None, "ceiling": 1.0}
        | {"success": success, "final": success, "best": success, "episodes": 150}
        for target, expect, segments, of, success in ((100.0, "unseen", 2, achieved, 0.0), (30.0, "seen", 1, 44.0, 1.0))
    ]
    augmentation = {"requested": 0.5, "realised": 0.5, "contradiction_rate": None}
    name = "pointmaze-umaze-returns-v0"
    measures = [measure("target", "target", digits=0), measure("return", "return", digits=1, estimate=True)]
    changes = {"tasks": tasks, "augmentation": augmentation, "by_segments": {}, "measures": measures}
    folder = make_run(root, name, "stitch", seed=seed, older=older, **changes)
    lines = ["start,target,achieved,episodes", "r1c2,0.0,1.5,20", f"r1c2,100.0,{achieved},20"]
    (folder / "calibration.csv").write_text("\n".join(lines) + "\n")
    return folder


def pages(root, **options):
    found = find_runs([root])
    return render(sections(found.runs, options.get("videos", False)), found)


@pytest.mark.parametrize("older", [False, True])
def test_returns_are_shown_beside_their_targets_and_against_what_is_asked_for(tmp_path, older):
    for seed, achieved in enumerate((40.0, 60.0)):
        folder = make_return_run(tmp_path, seed, achieved, older)
    runs = find_runs([tmp_path]).runs
    assert runs[1].calibration == {"r1c2": {0.0: 1.5, 100.0: 60.0}}
    table = task_table(runs, runs[0].dataset)
    columns = [table.columns.index(name) for name in ("task", "target", "return", "success")]
    digits = (("100.0", "50.00 (40.00 60.00)"), ("30.0", "44.00 (44.00 44.00)"))
    if not older:
        digits = (("100", "50.0 (40.0 60.0)"), ("30", "44.0 (44.0 44.0)"))
    assert [[row[column] for column in columns] for row in table.texts] == [
        ["r1c2-return-100", *digits[0], "0.00 (0.00 0.00)"],
        ["r1c2-return-30", *digits[1], "1.00 (1.00 1.00)"],
    ]
    assert "path m" not in table.columns
    page = pages(tmp_path)
    [chart] = re.findall(r'<svg class="chart"(?:(?!</svg>).)*from r1c2</title>.*?</svg>', page, re.DOTALL)
    assert ">100</text>" in chart and "gcbc, stitch: 50.00 (40.00 60.00)" in chart
    (folder / "calibration.csv").write_text("start,target\nr1c2,0\n")
    with pytest.raises(BadInput, match=r"calibration\.csv: damaged; columns start, target, achieved expected"):
        read_run(folder)


def test_success_by_agent_and_goals(tmp_path):
    make_sweep(tmp_path)
    runs = find_runs([tmp_path]).runs
    table = success_table(runs, CUT)
    assert table.columns == ("agent", "goals", "steps", "seen", "unseen", "raw difference", "stitching gap")
    rows = {row[:2]: row for row in table.rows}
    assert list(rows) == [("gcbc", "future"), ("gcbc", "stitch"), ("gcivl", "future")]
    assert rows["gcbc", "future"][4].mean == pytest.approx(0.135)
    assert rows["gcbc", "future"][6].mean == pytest.approx(0.7) and rows["gcbc", "future"][6].half_width < 1e-9
    assert rows["gcivl", "future"][4].missing == 1 and rows["gcivl", "future"][6] is None, "no runs on the joined twin"
    assert [row[:2] for row in success_table(runs, JOINED).rows] == [("gcbc", "future")]


def test_from_eight_seeds_on(tmp_path):
    make_sweep(tmp_path)
    means, better = resampled_tables(find_runs([tmp_path]).runs, CUT)
    future, stitch, other = means.rows
    assert future[2:] == (8, future[3], future[4]) and other[2:] == (7, "7 of 8 seeds", "7 of 8 seeds")
    assert future[3].value == pytest.approx(0.135) and 0.1 <= future[3].low <= future[3].high <= 0.17
    assert stitch[4].value == 1
    ((x, y, worse),) = better.rows
    assert (x, y, worse.value, worse.low) == ("gcbc, future", "gcbc, stitch", 0, 0) and 0.3 < worse.high < 0.4
    for run in find_runs([tmp_path]).runs:
        if run.seed == 7:
            shutil.rmtree(run.folder)
    assert resampled_tables(find_runs([tmp_path]).runs, CUT) == []


def test_task_that_one_run_lacks_is_missing(tmp_path):
    make_run(tmp_path, CUT, far=0.4)
    folder = make_run(tmp_path, CUT, "stitch", far=0.6)
    summary = json.loads((folder / "summary.json").read_text())
    summary["tasks"] = [task for task in summary["tasks"] if task["name"] != FAR]
    (folder / "summary.json").write_text(json.dumps(summary | {"dataset_sha256": "1" * 64, "steps": 500}))
    runs = find_runs([tmp_path]).runs
    heat = heat_table(runs, CUT).rows
    assert [tuple(map(share, row[5:])) for row in heat] == [("1.00", "1.00"), ("0.40", "missing")]
    assert share(Estimate((0.4, None))) == "0.40*"
    assert warnings(CUT, runs) == [
        "These runs were trained on 2 different datasets of this name (dataset_sha256).",
        "These runs were evaluated on 2 different sets of tasks.",
        "These runs were trained for 500, 1,000 steps.",
    ]


def test_seeds_of_different_code_are_said(tmp_path):
    for seed, source in enumerate(("a", "a", "b")):
        folder = make_run(tmp_path, CUT, seed=seed)
        (folder / "status.json").write_text(json.dumps({"status": "finished", "origin": {"source": source}}))
        if seed == 1:
            assert warnings(CUT, find_runs([tmp_path]).runs) == []
    make_run(tmp_path, CUT, seed=3)  # of an earlier version, which did not keep it
    said = "The seeds of gcbc, future were trained by 2 versions of the code."
    assert warnings(CUT, find_runs([tmp_path]).runs) == [said] and said in pages(tmp_path)


def test_curves(tmp_path):
    folder = make_run(tmp_path, CUT)
    run = read_run(folder)
    assert run.curves is None
    add_evaluations(folder)
    assert read_run(folder).curves == {"seen": {500: 1.0, 1000: 1.0}, "unseen": {500: 0.25, 1000: 0.5}}
    with open(folder / "eval.jsonl", "a") as file:
        file.write('{"step": 1500, "task": "r1c1')
    with pytest.raises(BadInput, match=r"eval\.jsonl, line 17: an episode with step, task and success expected"):
        read_curves(folder, run.tasks)
    (folder / "eval.jsonl").write_text('{"step": 1, "task": "elsewhere", "success": true}\n')
    with pytest.raises(BadInput, match="task 'elsewhere'; a task of"):
        read_curves(folder, run.tasks)


def test_a_ring_shows_where_most_failed_episodes_ended(tmp_path):
    ends = [(4.0, 4.0), (4.0, 4.1), (-4.0, 4.0)]
    tracks = [Trajectory(np.array([[0.0, 0.0], end]), FAR, False) for end in ends]
    tracks.append(Trajectory(np.zeros((2, 2)), FAR, True))
    run = read_run(make_run(tmp_path, CUT))
    drawing, said = rollouts(run, [FAR], tracks)
    assert said == "2 of 3 failed episodes ended in the ring, about (4, 4) m."
    # 14.4 metres are 240 wide: (4, 4) is 11.2 from the left and 3.2 from the top
    assert '<circle class="ring" cx="186.7" cy="53.3" r="16.0"/>' in drawing
    drawing, said = rollouts(run, [FAR], tracks[2:])
    assert said == "" and "ring" not in drawing
    place, count = gathered(np.array([[0.0, 0.0], [0.9, 0.0], [1.8, 0.0]]), 1.0)
    assert place.tolist() == [0.9, 0.0] and count == 3


def test_formats():
    rows = [("a_b", Estimate((0.5, None)), Interval(0.4, 0.3, 0.6), None), ("c", "missing", "5 of 8 seeds", 1234)]
    table = Table("t", "T", ("agent", "seen", "P(X > Y)", "steps"), rows)
    lines = list(csv.reader(io.StringIO(as_csv(table))))
    assert lines[0][:5] == ["agent", "seen", "seen half_width", "seen seeds", "seen missing"]
    assert lines[1:] == [
        ["a_b", "0.5", "", "1", "1", "0.4", "0.3", "0.6", ""],
        ["c", "missing", "", "", "", "5 of 8 seeds", "", "", "1234"],
    ]
    assert r"a\_b & 0.50 (0.50; 1 missing) & 0.40 [0.30, 0.60] & - \\" in as_latex(table)
    assert r"agent & seen & P(X $>$ Y) & steps \\" in as_latex(table) and "{lrrr}" in as_latex(table)


def test_page_needs_nothing_beside_it(tmp_path):
    make_sweep(tmp_path)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "status.json").write_text('{"status": "running"}')
    page = pages(tmp_path)
    addresses = re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^"\s>)]+)', page)
    assert addresses and all(address.startswith(("data:", "#")) for address in addresses)
    assert "begun: <span" in page and ">running<" in page
    assert "gcivl, future (1 seed missing)" in page
    assert page.count('class="world"') == 4 and 'class="empty"' not in page
    assert page.count('class="chart"') == 1 + 1 + 3  # twins; joined data have no segments and no unseen tasks; cut data


def test_video(tmp_path):
    folder = make_run(tmp_path, CUT)
    add_arrays(folder)
    found = re.search(r"data:image/webp;base64,([^\"]+)", pages(tmp_path, videos=True))
    picture = Image.open(io.BytesIO(base64.b64decode(found[1])))
    assert picture.is_animated and picture.n_frames == 2  # the far task's trajectory has two points
    assert "image/webp" not in pages(tmp_path)


@pytest.mark.slow
def test_two_hundred_runs_in_twenty_seconds(tmp_path):
    """5 agents, 2 goal schemes, 2 twins, 10 seeds; 6 evaluations of 50 episodes, tracks of 150 points."""
    make_two_hundred(tmp_path / "runs")
    began = time.process_time()
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    assert time.process_time() - began < 20


def make_two_hundred(root):
    rng = np.random.default_rng(0)
    tasks = np.repeat([FAR, NEAR], 50)
    for agent in ("gcbc", "gcivl", "gciql", "crl", "hiql"):
        for goals in ("future", "stitch"):
            for dataset in (JOINED, CUT):
                for seed in range(10):
                    folder = make_run(root, dataset, goals, seed, far=rng.random(), agent=agent)
                    rows = [
                        {"step": step, "task": str(task), "episode": i % 50, "success": bool(rng.random() < 0.5)}
                        | {"length": 100, "first_hit": 100, "start": [1.0, 2.0], "goal": [3.0, 4.0]}
                        for step in range(1000, 7000, 1000)
                        for i, task in enumerate(tasks)
                    ]
                    (folder / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
                    steps = rng.normal(0, 0.2, (100, 150, 2)).cumsum(1).reshape(-1, 2)
                    np.savez(
                        folder / "trajectories.npz",
                        points=steps.clip(-9, 9).astype(np.float32),
                        lengths=np.full(100, 150),
                        task=tasks,
                        success=rng.random(100) < 0.5,
                    )
                    points = rng.uniform(-9, 9, (20_000, 2)).astype(np.float32)
                    np.savez(folder / "data.npz", points=points, context=rng.integers(0, 4, 20_000))


class Browser:
    """Headless Chromium, through chromedriver's WebDriver protocol."""

    def __init__(self, arguments, **options):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.driver = subprocess.Popen(["chromedriver", f"--port={self.port}"], stdout=subprocess.DEVNULL)
        self.at = ""
        try:
            self.wait()
            chrome = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", *arguments], **options}
            wanted = {"goog:chromeOptions": chrome, "goog:loggingPrefs": {"browser": "ALL"}}
            self.at = f"/session/{self.ask('/session', capabilities={'alwaysMatch': wanted})['sessionId']}"
        except BaseException:
            self.driver.kill()
            raise

    def wait(self):
        for _ in range(100):
            try:
                return socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                time.sleep(0.1)
        raise TimeoutError("chromedriver does not answer")

    def ask(self, command, method="POST", **body):
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{self.at}{command}", data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]

    def run(self, script):
        return self.ask("/execute/sync", script=script, args=[])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ask("", method="DELETE")
        self.driver.terminate()
        self.driver.wait()


PHONE = {"mobileEmulation": {"deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 2.0}}}


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="no Chromium here")
@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_in_a_browser(tmp_path, options):
    make_sweep(tmp_path / "runs")
    out = tmp_path / "out"
    assert main([str(tmp_path / "runs"), "--out", str(out), "--video"]) == 0
    with Browser(["--window-size=1200,900"], **options) as browser:
        browser.ask("/url", url=(out / "index.html").as_uri())
        # every figure has a size and something in it, every video is decoded
        sizes = browser.run(
            "return [...document.querySelectorAll('figure svg')].map(s => { const b = s.getBoundingClientRect();"
            "return [b.width, b.height, s.querySelectorAll('path').length] })"
        )
        assert len(sizes) == 9 and all(width > 100 and height > 50 and paths >= 3 for width, height, paths in sizes)
        videos = browser.run("return [...document.images].map(i => i.complete && i.naturalWidth)")
        assert len(videos) == 4 and all(width > 50 for width in videos)
        assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
        # a column of numbers goes up, then down, what is missing last each time
        column = (
            "const table = [...document.querySelectorAll('h3')].find(h => h.textContent.endsWith('cut4-n300000-v0:"
            " success')).nextElementSibling.firstChild; const button = table.querySelectorAll('th button')[%d];"
            "button.click(); return [[...table.tBodies[0].rows].map(r => r.cells[%d].textContent.slice(0, 7)),"
            "button.parentElement.getAttribute('aria-sort')]"
        )
        assert browser.run(column % (4, 4)) == [["0.14 ± ", "0.30 ± ", "0.54 ± "], "ascending"]
        assert browser.run(column % (4, 4)) == [["0.54 ± ", "0.30 ± ", "0.14 ± "], "descending"]
        assert browser.run(column % (6, 6)) == [["0.30 ± ", "0.70 ± ", "-"], "ascending"]
        assert browser.run(column % (6, 6)) == [["0.70 ± ", "0.30 ± ", "-"], "descending"]
        # light and dark
        colours = []
        for scheme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            emulate = {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}}
            browser.ask("/goog/cdp/execute", **emulate)
            colours.append(browser.run("return getComputedStyle(document.body).backgroundColor"))
        assert colours == ["rgb(255, 255, 255)", "rgb(22, 24, 28)"]
        assert browser.ask("/se/log", type="browser") == []
