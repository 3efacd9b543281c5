"""Whatever becomes of one job of a sweep, the others go on, and the same command again does what is left."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import hydra
import pytest
from conftest import command
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher

from stitchrl import __main__, generate
from stitchrl.command import CONF, hydra_command
from stitchrl.data.formats import minari
from stitchrl.sweep import SUPERVISED, Sweep, concluded, dealt, job, progress

SMALL = ["dataset.transitions=20000", "dataset.min_episodes=5", "steps=20", "agent.hidden_dims=[8,8]"]
SMALL += ["budget.evaluations=2", "budget.episodes=1", "budget.batch_size=8"]

# An agent that meets the fault which $FAULTS has for its number, after its first checkpoint.
FAULTY = """
import json, os, resource, signal
from stitchrl.agents.gcbc import GCBC

class Faulty(GCBC):
    def __init__(self, *arguments, number, **keywords):
        super().__init__(*arguments, **keywords)
        self.fault, self.updates = json.loads(os.environ.get("FAULTS", "{}")).get(str(number)), 0

    def loss(self, batch, rng):
        self.updates += 1
        if self.updates == 15:
            if self.fault == "raise":
                raise RuntimeError("planted fault")
            if self.fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.fault == "disk":  # not a byte more can be written to any file
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        return super().loss(batch, rng)
"""

# In the place of a run, for what has to do with sweeps alone: it does as `dataset.split` or `agent.lr` says.
TINY = """
import json, os, signal, sys, time
given = {"seed": "0", "agent.lr": "done"} | dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
folder, deed = given["hydra.run.dir"].strip("'"), given.get("dataset.split", given["agent.lr"])
if deed == "0.9":
    os.kill(os.getpid(), signal.SIGKILL)
os.makedirs(folder, exist_ok=True)
with open("deeds", "a") as file:
    file.write(deed + "\\n")
if deed.replace(".", "").isdigit():
    with open(os.path.join(folder, "summary.json"), "w") as file:
        json.dump({"unseen": {"success": float(deed) + float(given["seed"])}}, file)
if deed == "raise":
    raise RuntimeError("planted fault")
if deed == "explain":
    print("stitchrl: one clear line", file=sys.stderr)
    sys.exit(2)
if deed == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if deed == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if deed == "wait":
    def save(*_):
        open(os.path.join(folder, "saved"), "w")
        sys.exit(143)
    signal.signal(signal.SIGTERM, save)
if deed in ("wait", "stubborn"):
    print("train mine:  45%|####5     | 9/20 [00:01<00:01]", file=sys.stderr)
    time.sleep(60)
open(os.path.join(folder, "done"), "w")
print(deed, "is done")
"""

# A sweep of TINY as a command.
SWEEPER = """
import hydra
from stitchrl.command import CONF, guarded, hydra_command
from stitchrl.sweep import concluded, job

@hydra_command(None, "config")
@concluded
@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
@job("tiny", lambda values, out: (out / "done").exists() and not values["again"])
def main(config):
    raise AssertionError("the run itself, in the process of its supervisor")

if __name__ == "__main__":
    guarded(main)
"""

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str]]]:
    """Sweeps of TINY: called with arguments, the exit status and the deeds that were begun."""
    (tmp_path / "tiny.py").write_text(TINY)

    @hydra_command(None, "config")
    @concluded
    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    @job("tiny", lambda values, out: (out / "done").exists() and not values["again"])
    def main(config) -> None:
        raise AssertionError("the run itself, in the process of its supervisor")

    class Module:
        pass

    Module.main = staticmethod(main)

    def sweep(*arguments: str) -> tuple[int, list[str]]:
        (tmp_path / "deeds").write_text("")
        status = command(Module, monkeypatch, "-m", *arguments)
        return status, (tmp_path / "deeds").read_text().split()

    return sweep


def test_a_sweep_goes_on_whatever_becomes_of_a_job(tiny, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, deeds = tiny("dataset.split=raise,good,kill,explain,better", "seed=3")
    assert (status, deeds) == (1, ["raise", "good", "kill", "explain", "better"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[:5] == [
        "failed #0 RuntimeError: planted fault",
        "finished #1 good is done",
        "failed #2 killed by signal SIGKILL",
        "failed #3 one clear line",
        "finished #4 better is done",
    ]
    assert printed[5:10] == [
        "failed    #0  dataset.split=raise    RuntimeError: planted fault",
        "finished  #1  dataset.split=good     good is done",
        "failed    #2  dataset.split=kill     killed by signal SIGKILL",
        "failed    #3  dataset.split=explain  one clear line",
        "finished  #4  dataset.split=better   better is done",
    ]
    folder = Path(printed[10].removeprefix("2 finished, 3 failed, 0 missing; logs in "))
    assert "Traceback" in (folder / "0.log").read_text()
    reasons = {json.loads(path.read_text())["reason"] for path in tmp_path.glob("runs/pointmaze-*/*/status.json")}
    assert reasons == {"RuntimeError: planted fault", "killed by signal SIGKILL", "one clear line"}


def test_a_sweep_that_is_started_again_does_what_is_left(tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert tiny("dataset.split=good,better", "seed=3") == (0, ["good", "better"])
    assert tiny("dataset.split=best,better,good,kill", "seed=3") == (1, ["best", "kill"])  # of other numbers, too
    assert capsys.readouterr().out.count("finished before, not run again") == 2 * 2  # in its line, and in the table
    assert tiny("dataset.split=best,better,good", "seed=3") == (0, [])


def test_a_finished_run_is_run_anew_where_that_is_asked_for(tiny) -> None:
    assert tiny("dataset.split=good", "seed=3") == (0, ["good"])
    assert tiny("dataset.split=good", "seed=3", "again=true") == (0, ["good"])  # of the same folder: it decides nothing
    assert tiny("dataset.split=good", "seed=3") == (0, [])


def test_a_job_whose_settings_cannot_be_used_takes_no_other_along(tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert tiny("agent=crl", "dataset.split=good", "world.agents=none,{}") == (1, ["good"])
    printed = capsys.readouterr().out
    assert "failed #0 " in printed and "world.agents=none" in printed and "1 finished, 1 failed, 0 missing" in printed


def test_fail_fast_stops_a_sweep_at_its_first_failure(tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert tiny("dataset.split=good,raise,better", "fail_fast=true") == (1, ["good", "raise"])
    printed = capsys.readouterr().out
    assert re.search(r"^missing +#2 +dataset.split=better +not begun$", printed, re.MULTILINE)
    assert "1 finished, 1 failed, 1 missing" in printed


def waits(folder: Path, number: int) -> None:
    """Return when the job of a sweep in `folder` has told how far it is."""
    record = folder / f"{number}.json"
    while not record.exists() or json.loads(record.read_text())["at"] != "train 45%":
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("launcher", "number"), [("basic", signal.SIGINT), ("basic", signal.SIGTERM), ("joblib", signal.SIGINT)]
)
def test_a_sweep_that_is_interrupted_ends_its_jobs_in_order(
    launcher: str, number: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    (tmp_path / "sweeper.py").write_text(SWEEPER)
    jobs = ["+experiment=antmaze_stitch,pointmaze_stitch,antmaze_returns", "dataset.split=wait"]
    side_by_side = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    line = [sys.executable, "sweeper.py", "-m", "hydra.sweep.dir=mine", *jobs, *side_by_side]
    pipe = subprocess.PIPE
    process = subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    begun = 1 if launcher == "basic" else 2
    for job_number in range(begun):
        waits(tmp_path / "mine", job_number)
    process.send_signal(number)
    printed, said = process.communicate()
    assert process.returncode == 128 + number
    assert said == f"stitchrl: stopped by {number.name}: the same command goes on with what is left\n"
    assert f"0 finished, 0 failed, {begun} interrupted, {3 - begun} missing" in printed
    assert f"interrupted  #0  +experiment=antmaze_stitch    stopped: {number.name}" in printed
    assert len(list(tmp_path.glob("runs/*/*/saved"))) == begun


def test_a_process_that_does_not_end_in_time_is_killed(
    tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("stitchrl.sweep.GRACE", 0.2)

    def interrupt() -> None:
        waits(tmp_path / "mine", 0)
        os.kill(os.getpid(), signal.SIGINT)

    thread = Thread(target=interrupt)
    thread.start()
    assert tiny("dataset.split=stubborn,good", "hydra.sweep.dir=mine") == (130, ["stubborn"])
    thread.join()
    assert "failed #0 killed by signal SIGKILL, 0.2 s after SIGTERM" in capsys.readouterr().out


def test_a_sweep_tells_what_each_job_is_at() -> None:
    bars = {
        "train gcbc-stitch-s0-e4d4d10f:  45%|####5     | 9000/20000 [00:10<00:12, 900 updates/s]": "train 45%",
        "\x1b[Aevaluate:   8%|7         | 4/50 [00:01<00:11]": "evaluate 8%",
        "collect pointmaze-umaze-regions-n20000-v0: 100%|##########| 20.0k/20.0k [00:03<00:00]": "collect 100%",
        "train gcbc: 20.0k steps [00:03, 6.55k steps/s]": None,
        "stitchrl: 50% of its positions lie in the maze": None,
        "": None,
    }
    assert {line: progress(line) for line in bars} == bars
    records = {
        0: {"status": "finished", "said": "good"},
        1: {"status": "running", "at": "train 45%"},
        2: {"status": "running", "at": "evaluate 80%"},
    }
    sweep = Sweep.__new__(Sweep)
    sweep.total, sweep.stopped_by = 4, None
    assert sweep.line(records) == "sweep 1/4 | #1 train 45% #2 evaluate 80%"
    sweep.total = None
    assert sweep.line({}) == "sweep 0/?"


def test_progress_is_sparse_where_there_is_no_terminal(
    tiny, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tiny("dataset.split=good,better")[0] == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("stitchrl.sweep.SPARSE", 0.0)
    assert tiny("dataset.split=good,better", "again=true")[0] == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "sweep 2/2" and len(lines) == len(set(lines)) <= 5  # a line for each change alone


@pytest.mark.parametrize("choice", ["hydra/sweeper=tune", "agent="])
def test_the_sweeps_of_the_docs_are_sweeps(choice: str, tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parent.parent / "docs" / "sweeps.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("python -m stitchrl -m ") and choice in line]
    arguments = shlex.split(line.removeprefix("python -m stitchrl -m "))
    if "tune" in choice:
        pytest.importorskip("optuna")
        assert tiny(*arguments, "hydra.sweeper.n_trials=1", "inner_seeds=[0]")[0] == 0
    else:
        assert tiny(*arguments, "seed=0") == (0, ["done"] * 3 * 2)


@pytest.mark.parametrize("error", [RuntimeError("a node is lost"), KeyboardInterrupt()])
def test_a_sweep_that_its_launcher_gives_up_has_a_table_still(
    error: BaseException, tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (launcher,) = [kind for kind in Plugins.instance().discover(Launcher) if kind.__name__ == "BasicLauncher"]
    launch = launcher.launch

    def give_up(self: Launcher, job_overrides: list, initial_job_idx: int) -> None:
        launch(self, job_overrides[:1], initial_job_idx)
        raise error

    monkeypatch.setattr(launcher, "launch", give_up)
    assert tiny("dataset.split=good,better") == (1, ["good"])
    printed = capsys.readouterr()
    assert "1 finished, 0 failed, 1 missing" in printed.out
    assert f"stitchrl: the sweep ended early: {type(error).__name__}" in printed.err


def test_a_folder_of_the_users_forgets_the_sweep_before(tiny) -> None:
    assert tiny("dataset.split=raise,good", "fail_fast=true", "hydra.sweep.dir=mine") == (1, ["raise"])
    assert tiny("dataset.split=good,better", "fail_fast=true", "hydra.sweep.dir=mine") == (0, ["good", "better"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["agent=nope,gcbc"], "agent/nope"),
        (["agent.lr=interval(0,1)"], "does not support sweep type"),
        (
            ["hydra/sweeper=tune", "dataset=pointmaze_umaze_regions"],
            "dataset.maze: settings are chosen on the dev maze",
        ),
    ],
)
def test_a_sweep_that_cannot_begin_says_so_in_one_line(
    arguments: list[str], message: str, tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper.optuna_sweeper")
    assert tiny(*arguments) == (2, [])
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count("\n") == 1 and printed.out == ""


def test_a_sweep_that_optimises_finds_the_best_mean_over_seeds(
    tiny, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trials = ["dataset=pointmaze_dev_regions", "inner_seeds=[1,6]", "agent.lr=choice(0.25,0.5,0.9)"]
    arguments = ["hydra/sweeper=tune", "hydra.sweeper.n_trials=9", "hydra.sweep.dir=best", *trials]
    status, deeds = tiny(*arguments)
    assert status == 1 and deeds.count("0.5") == deeds.count("0.25") == 2 and "0.9" not in deeds
    found = (tmp_path / "best" / "optimization_results.yaml").read_text()
    assert "lr: 0.5" in found and "best_value: 4.0" in found
    assert re.search(
        r"^finished +#\d +agent.lr=0.25 +unseen 3.7500, the mean of 1.25, 6.25$", capsys.readouterr().out, re.M
    )
    assert set(tiny(*arguments)[1]) == set()  # the same trials again


@pytest.mark.parametrize("choice", ["launcher=submitit_slurm", "sweeper=optuna", "sweeper=tune"])
def test_an_extra_that_is_missing_is_named(
    choice: str, tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Plugins.instance()  # it puts what is installed into the store
    for group, name in (("launcher", "submitit_slurm"), ("sweeper", "optuna")):
        monkeypatch.delitem(ConfigStore.instance().repo["hydra"][group], f"{name}.yaml", raising=False)
    assert tiny(f"hydra/{choice}", "seed=0,1") == (2, [])
    printed = capsys.readouterr()
    assert printed.err.endswith(": not installed; pip install 'stitchrl[sweep]'\n")
    assert printed.err.count("\n") == 1 and printed.out == ""


def test_visible_gpus_are_dealt_by_job_number() -> None:
    assert [dealt(number, "4,GPU-6,7") for number in range(5)] == ["4", "GPU-6", "7", "4", "GPU-6"]
    assert dealt(3, "") == ""


def test_a_lock_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    line = """
import sys, time
from pathlib import Path
from stitchrl.files import locked
with locked(Path("here/.lock")):
    for word in ("begin", "end"):
        with open("order", "a") as file:
            file.write(word + "\\n")
        time.sleep(0.2)
"""
    running = [subprocess.Popen([sys.executable, "-c", line], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[1] for process in running]
    assert (tmp_path / "order").read_text().split() == ["begin", "end"] * 3
    assert {line for words in said for line in words.splitlines()} <= {"here/.lock: waiting for another process"}


def faulty(folder: Path) -> list[str]:
    """The options of a run with FAULTY, and datasets for it."""
    (folder / "faulty.py").write_text(FAULTY)
    (folder / "conf" / "agent").mkdir(parents=True)
    (folder / "conf" / "agent" / "faulty.yaml").write_text(
        "defaults: [gcbc]\n_target_: faulty.Faulty\nnumber: ${seed}\n"
    )
    return ["--config-dir", "conf", "agent=faulty", *SMALL]


def reached(folder: Path) -> dict[int, dict]:
    """What status.json says of each run in runs/, by its seed."""
    paths = folder.glob("runs/pointmaze-*/*/status.json")
    return {int(re.search(r"-s(\d+)-", str(path)).group(1)): json.loads(path.read_text()) for path in paths}


def test_a_killed_run_of_a_sweep_goes_on_when_the_sweep_is_started_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["-m", *faulty(tmp_path), "seed=0,1"]
    monkeypatch.setenv("FAULTS", '{"0": "kill"}')
    assert command(__main__, monkeypatch, *arguments) == 1
    assert {seed: status["status"] for seed, status in reached(tmp_path).items()} == {0: "failed", 1: "finished"}
    assert reached(tmp_path)[0]["reason"] == "killed by signal SIGKILL"
    capsys.readouterr()
    monkeypatch.delenv("FAULTS")
    assert command(__main__, monkeypatch, *arguments) == 0
    assert {status["status"] for status in reached(tmp_path).values()} == {"finished"}
    logs = [path.read_text() for path in sorted(tmp_path.glob("runs/sweeps/*/*.log"))[2:]]
    assert "goes on from update 10" in logs[0] and logs[1] == ""


def test_a_run_that_raises_says_so_in_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FAULTS", '{"0": "raise"}')
    monkeypatch.syspath_prepend(tmp_path)
    assert command(__main__, monkeypatch, *faulty(tmp_path), "hydra.run.dir=run") == 2
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status == {"status": "failed", "reason": "RuntimeError: planted fault"}


def test_a_run_ends_with_its_supervisor(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "stitchrl", *SMALL, "steps=100000000", "hydra.run.dir=run"]
    process = subprocess.Popen(
        line, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | {SUPERVISED: ""}
    )
    try:
        while not (tmp_path / "run" / "status.json").exists():
            time.sleep(0.1)
            assert process.poll() is None
        process.stdin.close()
        assert process.wait(30) == 128 + signal.SIGTERM
    finally:
        process.kill()


def test_datasets_of_the_users_own_are_generated_in_a_sweep(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    own = "defaults: [pointmaze_umaze_regions, _self_]\nsplit: own\ntransitions: 2000\n"
    (tmp_path / "conf" / "dataset" / "own.yaml").write_text(own)
    arguments = ["--config-dir", "conf", "-m", "dataset=own", "dataset.seed=7", "dataset.world=pointmaze,nope"]
    assert command(generate, monkeypatch, *arguments) == 1
    printed = capsys.readouterr().out
    assert "1 finished, 1 failed, 0 missing" in printed and "'nope' given, but the world is 'pointmaze'" in printed
    assert minari.folder("pointmaze-umaze-own-n2000-s7-v0").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"conf", "runs"}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
def test_of_twelve_jobs_the_three_that_fail_are_all_that_is_done_again(launcher: str, tmp_path: Path) -> None:
    if launcher != "basic":
        pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    line = [sys.executable, "-m", "stitchrl", "-m", *faulty(tmp_path), f"hydra/launcher={launcher}", "seed=range(12)"]

    def start(faults: dict[str, str]) -> tuple[int, str]:
        environment = os.environ | {"FAULTS": json.dumps(faults), "MINARI_DATASETS_PATH": str(tmp_path / "data")}
        done = subprocess.run(line, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        return done.returncode, done.stdout

    status, printed = start({"2": "raise", "5": "kill", "7": "disk"})
    assert status == 1 and "9 finished, 3 failed, 0 missing" in printed
    found = reached(tmp_path)
    assert {seed for seed, said in found.items() if said["status"] == "finished"} == set(range(12)) - {2, 5, 7}
    assert [found[seed]["reason"] for seed in (2, 5)] == ["RuntimeError: planted fault", "killed by signal SIGKILL"]
    logs = [path.read_text() for path in tmp_path.glob("runs/sweeps/*/*.log")]
    assert sum("generating it" in log for log in logs) == 1
    summaries = {path: path.read_text() for path in tmp_path.glob("runs/pointmaze-*/*/summary.json")}
    assert len(summaries) == 9

    status, printed = start({})
    assert status == 0 and "12 finished, 0 failed, 0 missing" in printed
    assert {said["status"] for said in reached(tmp_path).values()} == {"finished"}
    assert all(path.read_text() == text for path, text in summaries.items())
    again = sorted(tmp_path.glob("runs/sweeps/*"))[-1]
    began = {int(path.stem) for path in again.glob("*.log") if path.read_text()}
    assert began == {2, 5, 7}
    assert all("goes on from update 10" in (again / f"{seed}.log").read_text() for seed in began)
