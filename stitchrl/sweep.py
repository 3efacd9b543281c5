"""Sweeps: each Hydra job supervises one process that does the run, so that whatever becomes of it, other jobs go on.

The sweep's folder (hydra.sweep.dir) is all that the command and its jobs share, so any launcher will do. It holds for
each job, by number, <n>.json (where its runs lie, and what it came to) and <n>.log (what its process said), and `stop`
where fail_fast stopped it.
"""

import copy
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import IO, Any

from stitchrl.command import UNUSABLE, explain, one_line, plain, run_name  # first: it sets up Hydra's error handling

import torch  # isort: skip
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from tqdm import tqdm

from stitchrl.experiment import fail
from stitchrl.files import write_json

POLL = 0.3  # seconds
SUPERVISED = "STITCHRL_SUPERVISED"  # in the environment of a process that is to end with its supervisor

Finished = Callable[[dict[str, Any], Path], bool]  # the resolved configuration of a run, its folder


class Failed(Exception):
    """Why the process of a job failed."""


def job(command: str, finished: Finished | None = None) -> Callable[[Callable[[DictConfig], None]], Callable]:
    """A Hydra job of `python -m <command>`. Alone, its errors end the process at once, since Hydra would print lines of
    its own; in a sweep it supervises a process of the same command, and never raises.

    finished: whether a run need not be started again; None for a command whose jobs have no folder of their own.
    """

    def decorate(function: Callable[[DictConfig], None]) -> Callable[[DictConfig], float | None]:
        @functools.wraps(function)
        def run(config: DictConfig) -> float | None:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                return supervise(command, config, finished)
            if SUPERVISED in os.environ:
                Thread(target=_end_with_supervisor, daemon=True).start()
            try:
                function(config)
            except UNUSABLE as error:
                sys.exit(explain(error))
            return None

        return run

    return decorate


def supervise(command: str, config: DictConfig, finished: Finished | None) -> float | None:
    """One job of a sweep, in whatever process its launcher chose; the objective where the sweeper asks for one."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.cwd) / hydra.sweep.dir
    record, stop = folder / f"{hydra.job.num}.json", folder / "stop"
    if stop.exists():
        return None
    job: dict[str, Any] = {"overrides": list(hydra.overrides.task), "runs": []}
    objective = None

    def begun(values: dict[str, Any], out: Path) -> bool:
        """Notes where the run lies, as seen from the record, for the report; whether it need not be started again."""
        job["runs"].append(os.path.relpath(out, folder))
        write_json(record, job | {"status": "running"})
        return finished is not None and finished(values, out)

    try:
        write_json(record, job | {"status": "running"})
        with open(folder / f"{hydra.job.num}.log", "w") as log:
            child = functools.partial(_process, command, config, log, stop)
            if finished is None:
                said = child([])
            elif _optimises(hydra):
                check_tuned_on_dev(config)
                objective, said = _mean_unseen(config, begun, child)
            else:
                said = _run(plain(config), Path(hydra.runtime.output_dir), begun, child)
        outcome = {"status": "finished", "said": said}
    except Exception as error:
        outcome = {"status": "failed", "said": str(error) if isinstance(error, Failed) else one_line(error)}
        if config.fail_fast:
            stop.touch()
    with suppress(OSError):  # a full disk: the job will be missing
        write_json(record, job | outcome)
    return objective


def _run(values: dict[str, Any], out: Path, finished: Finished, child: Callable[[list[str]], str]) -> str:
    """Do a run that is not finished; what it came to, in a line."""
    shown = os.path.relpath(out)
    if finished(values, out):
        return f"{shown}: finished before, not run again"
    quoted = shown.replace("'", "\\'")
    try:
        return child([f"hydra.run.dir='{quoted}'"])
    except Failed as error:
        fail(out, str(error))
        raise


def _mean_unseen(config: DictConfig, finished: Finished, child: Callable[[list[str]], str]) -> tuple[float, str]:
    """Success on unseen tasks, the mean over the inner seeds, as a number and in words."""
    hydra = HydraConfig.get()
    unseen = []
    for seed in config.inner_seeds:
        of_seed = copy.deepcopy(config)
        of_seed.seed = seed
        values = plain(of_seed)
        out = Path(hydra.runtime.output_dir).with_name(run_name(values, hydra.runtime.choices))
        _run(values, out, finished, lambda arguments, seed=seed: child([f"seed={seed}", *arguments]))  # type: ignore[misc]
        unseen.append(json.loads((out / "summary.json").read_text())["unseen"]["success"])
    mean = sum(unseen) / len(unseen)
    return mean, f"unseen {mean:.4f}, the mean of {', '.join(map(str, unseen))}"


def check_tuned_on_dev(config: DictConfig) -> None:
    """Settings are chosen on the dev maze, never on the mazes that results are reported on. Raises ValueError."""
    maze = config.dataset.maze
    if maze != "dev":
        raise ValueError(f"dataset.maze: settings are chosen on the dev maze only, {maze!r} is for testing them")


def _optimises(hydra: Any) -> bool:
    """Whether the sweeper looks for the best settings, not through all. hydra: Hydra's own configuration."""
    return hydra.runtime.choices["hydra/sweeper"] != "basic"


def _process(command: str, config: DictConfig, log: IO[str], stop: Path, arguments: list[str]) -> str:
    """Run the command with the job's overrides and more arguments; the last line of its stdout. Raises Failed."""
    hydra = HydraConfig.get()
    sources = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    options = [option for path in sources for option in ("--config-dir", path)]
    options += [override for override in hydra.overrides.hydra if override.startswith("hydra.searchpath=")]
    if config.workers == 0 and hydra.runtime.choices["hydra/launcher"] != "basic":
        arguments = ["workers=1", *arguments]  # jobs run side by side
    environment = os.environ | {SUPERVISED: "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    if config.get("device") == "cuda":
        environment["CUDA_VISIBLE_DEVICES"] = dealt(hydra.job.num, os.environ.get("CUDA_VISIBLE_DEVICES"))
    line = [sys.executable, "-m", command, *options, *hydra.overrides.task, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        line, cwd=hydra.runtime.cwd, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True, errors="replace"
    ) as child:
        last = {"stdout": "", "stderr": ""}

        def follow(name: str) -> None:
            for said in getattr(child, name):  # a progress bar's carriage returns end lines too
                if said.strip():
                    last[name] = said.strip()
                with suppress(OSError):  # a full disk
                    log.write(said)
                    log.flush()

        followers = [Thread(target=follow, args=[name]) for name in last]
        for follower in followers:
            follower.start()
        try:
            while child.poll() is None:
                if stop.exists():
                    child.kill()
                with suppress(subprocess.TimeoutExpired):
                    child.wait(POLL)
        finally:
            child.kill()
            for follower in followers:
                follower.join()
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        raise Failed("stopped, since another job failed" if stop.exists() else f"killed by signal {name}")
    if child.returncode:
        raise Failed(last["stderr"].removeprefix("stitchrl: ") or f"exit status {child.returncode}")
    return last["stdout"]


def _end_with_supervisor() -> None:
    """A process that nobody watches would meet the one that is started in its place when the sweep is started again."""
    os.read(0, 1)  # nothing is ever written: it returns when the supervisor is no more
    os.kill(os.getpid(), signal.SIGKILL)


def dealt(number: int, visible: str | None) -> str:
    """The GPU of a job. visible: $CUDA_VISIBLE_DEVICES."""
    names = [str(i) for i in range(torch.cuda.device_count())] if visible is None else visible.split(",")
    return names[number % len(names)] if names else ""


class Watch(Callback):
    """Has the command that starts a sweep watch it. Configured in hydra.callbacks; Hydra calls it."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        global _sweep
        try:
            if _optimises(config.hydra) and "inner_seeds" in config:
                check_tuned_on_dev(config)
            jobs = planned(config)
            total = len(jobs) or config.hydra.sweeper.get("n_trials")
            _sweep = Sweep(Path(config.hydra.sweep.dir), jobs, total)
        except UNUSABLE as error:
            sys.exit(explain(error))  # of exceptions that are raised here Hydra only warns


_sweep: "Sweep | None" = None  # Hydra tells the callback of it, and main ends it


def planned(config: DictConfig) -> list[list[str]]:
    """The overrides of each job, in Hydra's order; none for a sweeper that makes them up as it goes."""
    if _optimises(config.hydra):
        return []
    arguments = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    overrides = parser.parse_overrides([*arguments, *config.hydra.overrides.task])
    (jobs,) = BasicSweeper.split_arguments(overrides, None)
    return jobs


class Sweep:
    """A sweep as the command sees that started it: a line for each job that ends, a bar, and a table at the end.

    jobs: the overrides of each, as far as they are known. total: how many are expected, None if unknown.
    """

    def __init__(self, folder: Path, jobs: list[list[str]], total: int | None):
        self.folder, self.jobs, self.total = folder, jobs, total
        for stale in [folder / "stop", *self._paths()]:  # of an earlier sweep, where the user named the folder
            stale.unlink(missing_ok=True)
        self._over = Event()
        self._watcher = Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        shown: set[int] = set()
        with tqdm(total=self.total, desc="sweep", unit=" jobs", delay=POLL) as bar:
            over = False
            while not over:
                over = self._over.wait(POLL)  # and once more after it
                for number, record in sorted(self.records().items()):
                    if number not in shown and record["status"] != "running":
                        shown.add(number)
                        tqdm.write(f"{record['status']} #{number} {record['said']}")
                        bar.update()

    def records(self) -> dict[int, dict[str, Any]]:
        """What each job that began came to, by its number."""
        return {int(path.stem): json.loads(path.read_text()) for path in self._paths()}

    def _paths(self) -> list[Path]:
        return [path for path in self.folder.glob("*.json") if path.stem.isdigit()]

    def end(self) -> bool:
        """Print the table; whether every job finished."""
        self._over.set()
        self._watcher.join()
        records = self.records()
        nothing = {"status": "missing", "said": "not begun"}
        rows = []
        for number in sorted({*range(len(self.jobs)), *records}):
            record = records.get(number, nothing)
            if record["status"] == "running":  # its supervisor is no more, or the launcher gave up waiting for it
                record = record | {"status": "missing", "said": "begun, and not heard of since"}
            overrides = record.get("overrides") or self.jobs[number]
            rows.append((record["status"], f"#{number}", overrides, record["said"]))
        common = set.intersection(*(set(overrides) for _, _, overrides, _ in rows)) if len(rows) > 1 else set()
        lines = [(*row[:2], " ".join(part for part in row[2] if part not in common), row[3]) for row in rows]
        widths = [max(len(line[i]) for line in lines) for i in range(3)] if lines else []
        for line in lines:
            print("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[3]]))
        counts = {status: sum(row[0] == status for row in rows) for status in ("finished", "failed", "missing")}
        print(f"{', '.join(f'{count} {status}' for status, count in counts.items())}; logs in {self.folder}")
        return counts["finished"] == len(rows)


def concluded(main: Callable[[], None]) -> Callable[[], None]:
    """A Hydra command that ends a sweep with its table, and with exit status 1 where a job is not finished."""

    @functools.wraps(main)
    def run() -> None:
        global _sweep
        _sweep, finished = None, True
        try:
            main()
        except (Exception, KeyboardInterrupt) as error:
            if _sweep is None or not _sweep.records():  # nothing was launched
                raise
            print(f"stitchrl: the sweep ended early: {one_line(error)}", file=sys.stderr)
            finished = False
        if _sweep is not None:
            finished &= _sweep.end()
        if not finished:
            sys.exit(1)

    return run
