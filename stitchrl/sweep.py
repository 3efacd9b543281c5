"""Sweeps: each Hydra job supervises one process that does the run, so that whatever becomes of it, other jobs go on.

The sweep's folder (hydra.sweep.dir) is all that the command and its jobs share, so any launcher will do. It holds for
each job, by number, <n>.json (where its runs lie, how far it is, then what it came to) and <n>.log (what its process
said), and `stop` where the sweep is to end early, which says why.
"""

import copy
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread, current_thread, main_thread
from types import FrameType
from typing import IO, Any

from stitchrl.command import checked, explain, one_line, plain, run_name  # first: it sets up Hydra's error handling

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # isort: skip
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from stitchrl.files import write_json
from stitchrl.interrupt import SIGNALS, Interrupted

POLL = 0.3  # seconds
GRACE = 60.0  # seconds that a process has to end in order, before it is killed
CLEAR = "\r\x1b[K"  # goes back to the beginning of a terminal's line and clears it
SPARSE = 60.0  # seconds between two lines of progress where there is no terminal
SUPERVISED = "STITCHRL_SUPERVISED"  # in the environment of a process that is to end with its supervisor
BEGINS = "begins"  # what a job is at before its process has told of anything

Finished = Callable[[dict[str, Any], Path], bool]  # the resolved configuration of a run, its folder
_sweep: "Sweep | None" = None  # Hydra tells the callback of it, and main ends it


class Failed(Exception):
    """Why the process of a job failed."""


class Stopped(Exception):
    """Why the process of a job was asked to stop. Its run goes on when it is started again."""


def job(command: str, finished: Finished | None = None) -> Callable[[Callable[[DictConfig], None]], Callable]:
    """A Hydra job of `python -m <command>`.

    Alone, its errors end the process at once, since Hydra would print lines of its own. In a sweep it supervises a
    process of the same command, and never raises. finished: whether a run need not be started again; None for a command
    whose jobs have no folder of their own.
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
            except Exception as error:
                sys.exit(explain(error))
            return None

        return run

    return decorate


def supervise(command: str, config: DictConfig, finished: Finished | None) -> float | None:
    """One job of a sweep, in whatever process its launcher chose; the objective where the sweeper asks for one."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.cwd) / hydra.sweep.dir
    record, stop = folder / f"{hydra.job.num}.json", folder / "stop"
    if _sweep is None and current_thread() is main_thread():
        # A terminal's Ctrl-C is sent to a launcher's processes, too. They end by the sweep's word, each job in order.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if stop.exists():
        return None
    job: dict[str, Any] = {"overrides": list(hydra.overrides.task), "runs": []}
    objective = None

    def tell(**what: str) -> None:
        with suppress(OSError):  # a full disk: the job will be missing
            write_json(record, job | what)

    def begun(values: dict[str, Any], out: Path) -> bool:
        """Notes where the run lies, as seen from the record, for the report; whether it need not be started again."""
        job["runs"].append(os.path.relpath(out, folder))
        tell(status="running", at=BEGINS)
        return finished is not None and finished(values, out)

    try:
        tell(status="running", at=BEGINS)
        with open(folder / f"{hydra.job.num}.log", "w", encoding="utf-8") as log:
            child = functools.partial(_process, command, config, log, stop, tell)
            if finished is None:
                said = child([])
            elif _optimises(hydra):
                check_tuned_on_dev(config)
                objective, said = _mean_unseen(config, begun, child)
            else:
                said = _run(plain(config), Path(hydra.runtime.output_dir), begun, child)
        tell(status="finished", said=said)
    except Stopped as error:
        tell(status="interrupted", said=str(error))
    except Exception as error:
        tell(status="failed", said=str(error) if isinstance(error, Failed) else one_line(error))
        if config.fail_fast and not stop.exists():
            stop.write_text(f"job #{hydra.job.num} failed", encoding="utf-8")
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
        from stitchrl import status

        status.end(out, "failed", str(error))
        raise


def _mean_unseen(config: DictConfig, finished: Finished, child: Callable[[list[str]], str]) -> tuple[float, str]:
    """Success on unseen tasks, the mean over the inner seeds, as a number and in words."""
    hydra, unseen, of_seed = HydraConfig.get(), [], copy.deepcopy(config)
    for seed in config.inner_seeds:
        of_seed.seed = seed
        values = plain(of_seed)
        out = Path(hydra.runtime.output_dir).with_name(run_name(values, hydra.runtime.choices))
        _run(values, out, finished, lambda arguments, seed=seed: child([f"seed={seed}", *arguments]))  # type: ignore[misc]
        unseen.append(json.loads((out / "summary.json").read_text(encoding="utf-8"))["unseen"]["success"])
    mean = sum(unseen) / len(unseen)
    return mean, f"unseen {mean:.4f}, the mean of {', '.join(map(str, unseen))}"


def check_tuned_on_dev(config: DictConfig) -> None:
    """Settings are chosen on the dev maze, never on the mazes that results are reported on. Raises ValueError."""
    maze = getattr(config.dataset, "maze", None)
    if maze != "dev":
        raise ValueError(f"dataset.maze: settings are chosen on the dev maze only, {maze!r} is for testing them")


def _optimises(hydra: Any) -> bool:
    """Whether the sweeper looks for the best settings, not through all. hydra: Hydra's own configuration."""
    return hydra.runtime.choices["hydra/sweeper"] != "basic"


def _process(
    command: str, config: DictConfig, log: IO[str], stop: Path, tell: Callable[..., None], arguments: list[str]
) -> str:
    """Run the command with the job's overrides and more arguments; the last line of its stdout.

    tell: of how far it is. Raises Failed, or Stopped where `stop` was there or the process was interrupted.
    """
    line, environment = _command_line(command, config, arguments)
    options: dict[str, Any] = {"cwd": HydraConfig.get().runtime.cwd, "env": environment}
    options |= dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.PIPE)
    # In a session of its own a terminal's Ctrl-C comes to it once, by way of its supervisor.
    with subprocess.Popen(line, encoding="utf-8", errors="replace", start_new_session=True, **options) as child:
        last = {"stdout": "", "stderr": ""}
        at = told = BEGINS

        def follow(name: str) -> None:
            nonlocal at
            for said in getattr(child, name):  # a progress bar's carriage returns end lines too
                if said.strip():
                    last[name] = said.strip()
                at = progress(said) or at
                with suppress(OSError):  # a full disk
                    log.write(said)
                    log.flush()

        followers = [Thread(target=follow, args=[name]) for name in last]
        for follower in followers:
            follower.start()
        deadline = None  # by when the process has to end
        try:
            while child.poll() is None:
                if stop.exists() and deadline is None:
                    child.terminate()
                    deadline = time.monotonic() + GRACE
                if deadline is not None and time.monotonic() > deadline:
                    child.kill()
                if at != told:
                    tell(status="running", at=(told := at))
                with suppress(subprocess.TimeoutExpired):
                    child.wait(POLL)
        finally:
            child.kill()  # the supervisor itself is told to go at once
            for follower in followers:
                follower.join()
    return _ended(child.returncode, last, stop, asked=deadline is not None)


def _command_line(command: str, config: DictConfig, arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """A job's command line and environment."""
    hydra = HydraConfig.get()
    sources = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    options = [option for path in sources for option in ("--config-dir", path)]
    options += [override for override in hydra.overrides.hydra if override.startswith("hydra.searchpath=")]
    if config.workers == 0 and hydra.runtime.choices["hydra/launcher"] != "basic":
        arguments = ["workers=1", *arguments]  # jobs run side by side
    environment = os.environ | {SUPERVISED: "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    environment["PYTHONIOENCODING"] = "utf-8"
    if config.get("device") == "cuda":
        environment["CUDA_VISIBLE_DEVICES"] = dealt(hydra.job.num, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return [sys.executable, "-m", command, *options, *hydra.overrides.task, *arguments], environment


def _ended(status: int, last: dict[str, str], stop: Path, asked: bool) -> str:
    """The last line of a process that ended well; Stopped or Failed for any other. asked: whether it was to stop."""
    if status == 0:
        return last["stdout"]
    said = last["stderr"].removeprefix("stitchrl: ")
    if asked and status != -signal.SIGKILL:
        why = ""
        with suppress(OSError):
            why = stop.read_text(encoding="utf-8")
        raise Stopped(f"stopped: {why}")
    if status in [128 + number for number in SIGNALS]:  # stopped by a signal
        raise Stopped(said)
    if status < 0:
        name = signal.Signals(-status).name
        raise Failed(f"killed by signal {name}" + (f", {GRACE:g} s after SIGTERM" if asked else ""))
    raise Failed(said or f"exit status {status}")


def progress(line: str) -> str | None:
    """What a line of tqdm's tells: the first word and the percentage of its bar; None for any other line."""
    found = re.search(r"^\W*(?:\[A)?([a-z]+)[^|]*?(\d+)%\|", line)
    return f"{found[1]} {found[2]}%" if found else None


def _end_with_supervisor() -> None:
    """Else a process that nobody watches would meet its successor when the sweep is started again."""
    os.read(0, 1)  # nothing is ever written: it returns when the supervisor is no more
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


def dealt(number: int, visible: str | None) -> str:
    """The GPU of a job. visible: $CUDA_VISIBLE_DEVICES."""
    import torch

    names = [str(i) for i in range(torch.cuda.device_count())] if visible is None else visible.split(",")
    return names[number % len(names)] if names else ""


class Watch(Callback):
    """Looks at settings before anything is made of them, and watches a sweep. Hydra calls it (hydra.callbacks)."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        try:
            checked(plain(config))
        except Exception as error:
            sys.exit(explain(error))  # of exceptions that are raised here Hydra only warns

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        global _sweep
        try:
            if _optimises(config.hydra) and "inner_seeds" in config:
                check_tuned_on_dev(config)
            jobs = planned(config)
            _sweep = Sweep(Path(config.hydra.sweep.dir), jobs, len(jobs) or config.hydra.sweeper.get("n_trials"))
        except Exception as error:
            sys.exit(explain(error))


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
    """A sweep, as the command that started it sees it.

    It prints a line for each job that ends, how far the others are, and a table at the end. The first signal asks its
    jobs to end in order; another one ends the sweep as it is. jobs: the overrides of each, as far as they are known.
    total: how many jobs are expected, None if unknown.
    """

    def __init__(self, folder: Path, jobs: list[list[str]], total: int | None):
        self.folder, self.jobs, self.total = folder, jobs, total
        self.stopped_by: Interrupted | None = None
        for stale in [folder / "stop", *self._paths()]:  # of an earlier sweep, where the user named the folder
            stale.unlink(missing_ok=True)
        self._handlers = {number: signal.getsignal(number) for number in SIGNALS}
        for number, handler in self._handlers.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._stop)
        self._over = Event()
        self._watcher = Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self.stopped_by is not None:
            raise Interrupted(number)
        self.stopped_by = Interrupted(number)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "stop").write_text(str(self.stopped_by), encoding="utf-8")

    def _watch(self) -> None:
        ended: set[int] = set()
        terminal = sys.stderr.isatty()
        said, said_at, over = "", time.monotonic(), False
        while not over:
            over = self._over.wait(POLL)  # and once more after it
            records = dict(sorted(self.records().items()))
            for number, record in records.items():
                if number not in ended and record["status"] != "running":
                    ended.add(number)
                    print(CLEAR if terminal else "", end="", file=sys.stderr, flush=True)
                    print(f"{record['status']} #{number} {record['said']}", flush=True)
            line = self.line(records)
            if terminal:
                shown = "" if over else line[: shutil.get_terminal_size().columns - 1]
                print(f"{CLEAR}{shown}", end="", file=sys.stderr, flush=True)
            elif line != said and time.monotonic() - said_at >= SPARSE:
                print(line, file=sys.stderr, flush=True)
                said, said_at = line, time.monotonic()

    def line(self, records: dict[int, dict[str, Any]]) -> str:
        """How far the sweep is: `sweep 1/4 | #1 train 45% #2 evaluate 80%`."""
        ended = sum(record["status"] != "running" for record in records.values())
        running = [f"#{number} {record['at']}" for number, record in records.items() if record["status"] == "running"]
        ends = ["ends when its jobs have stopped"] if self.stopped_by else []
        return " | ".join([f"sweep {ended}/{self.total or '?'}", *ends, *([" ".join(running)] if running else [])])

    def records(self) -> dict[int, dict[str, Any]]:
        """What each job that began came to, by its number."""
        return {int(path.stem): json.loads(path.read_text(encoding="utf-8")) for path in self._paths()}

    def _paths(self) -> list[Path]:
        return [path for path in self.folder.glob("*.json") if path.stem.isdigit()]

    def end(self) -> bool:
        """Print the table; whether every job finished."""
        self._over.set()
        self._watcher.join()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        records, rows = self.records(), []
        for number in sorted({*range(len(self.jobs)), *records}):
            record = records.get(number, {"status": "missing", "said": "not begun"})
            if record["status"] == "running":  # its supervisor is no more, or the launcher gave up waiting for it
                record = record | {"status": "missing", "said": "begun, and not heard of since"}
            overrides = record.get("overrides") or self.jobs[number]
            rows.append((record["status"], f"#{number}", overrides, record["said"]))
        common = set.intersection(*(set(overrides) for _, _, overrides, _ in rows)) if len(rows) > 1 else set()
        lines = [(*row[:2], " ".join(part for part in row[2] if part not in common), row[3]) for row in rows]
        widths = [max(len(line[i]) for line in lines) for i in range(3)] if lines else []
        for line in lines:
            print("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[3]]))
        statuses = [row[0] for row in rows]
        counts = {status: statuses.count(status) for status in ("finished", "failed", "interrupted", "missing")}
        shown = [f"{count} {status}" for status, count in counts.items() if count or status != "interrupted"]
        print(f"{', '.join(shown)}; logs in {self.folder}")
        return counts["finished"] == len(rows)


def concluded(main: Callable[[], None]) -> Callable[[], None]:
    """A Hydra command that ends a sweep with its table, and with exit status 1 where a job is not finished."""

    @functools.wraps(main)
    def run() -> None:
        global _sweep
        _sweep, finished = None, True
        try:
            main()
        except (Exception, KeyboardInterrupt, Interrupted) as error:
            if _sweep is None or not (_sweep.stopped_by or _sweep.records()):  # nothing was launched
                raise
            if not _sweep.stopped_by:
                print(f"stitchrl: the sweep ended early: {one_line(error)}", file=sys.stderr)
            finished = False
        if _sweep is not None:
            finished &= _sweep.end()
            if _sweep.stopped_by:
                _sweep.stopped_by.args = (f"{_sweep.stopped_by}: the same command goes on with what is left",)
                raise _sweep.stopped_by
        if not finished:
            sys.exit(1)

    return run
