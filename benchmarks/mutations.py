"""Would a test fail if this line were wrong? Faults are put into a copy of the code one at a time, and tests are run.

    python benchmarks/mutations.py [--only NAME ...] [--jobs N] [--faults FILE] [--list]

Every fault of mutations.yaml replaces one piece of text, which must occur exactly once in its file, and leaves Python
there: otherwise it is stale, which is an error. Writes benchmarks/results/mutations.csv; with --only the rows of these
faults alone. Exit status 1 where a fault is stale or less than 95% of those that were tried are caught.
"""

import argparse
import ast
import contextlib
import csv
import importlib
import io
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_suffix(".yaml")
RESULT = Path(__file__).parent / "results" / "mutations.csv"
COPIED = ("stitchrl", "conf", "tests", "datasets", "benchmarks", "pyproject.toml", "README.md", "docs")
CAUGHT = 0.95  # of all faults, at least
# Imported once, before the first fault: each process of tests then begins with them. None imports stitchrl.
LIBRARIES = ("gymnasium_robotics", "h5py", "hydra", "jinja2", "matplotlib.figure", "minari", "mujoco.rollout", "optuna")
LIBRARIES += ("pytest", "rich.console", "scipy.optimize", "scipy.spatial", "scipy.stats", "sklearn.cluster", "torch")
LIBRARIES += ("torch.utils.tensorboard",)
LONGEST = 300  # seconds; tests that take longer have hung, which is noticed


class Fault(NamedTuple):
    name: str
    file: str  # in stitchrl/
    text: str  # as it stands, exactly once
    wrong: str  # what takes its place
    means: str
    tests: tuple[str, ...]  # "paths" for tests/test_paths.py, "paths::test_x" for one of its tests


class Verdict(NamedTuple):
    fault: Fault
    verdict: str  # caught, missed, stale
    by: str  # the test that failed


def read_faults(path: Path = LIST) -> list[Fault]:
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [Fault(**{**each, "tests": tuple(each["tests"])}) for each in values]


def check(fault: Fault, root: Path = ROOT) -> str:
    """The file with the fault in it. ValueError where its text does not occur once, or no Python comes of it."""
    text = (root / "stitchrl" / fault.file).read_text(encoding="utf-8")
    if (count := text.count(fault.text)) != 1:
        raise ValueError(f"{fault.name}: stale, its text occurs {count} times in stitchrl/{fault.file}")
    changed = text.replace(fault.text, fault.wrong)
    try:
        ast.parse(changed)  # else every test would fail, whatever it tests
    except SyntaxError as error:
        raise ValueError(f"{fault.name}: stale, with it stitchrl/{fault.file} is no Python: {error}") from error
    return changed


def stale(faults: Sequence[Fault]) -> list[str]:
    """One line for each fault that no longer fits the code, or names tests that are not there."""
    lines = []
    for fault in faults:
        try:
            check(fault)
        except (ValueError, OSError) as error:
            lines.append(str(error))
        for test in fault.tests:
            file, _, name = test.partition("::")
            path = ROOT / "tests" / f"test_{file}.py"
            if not path.exists() or (name and f"def {name}(" not in path.read_text(encoding="utf-8")):
                lines.append(f"{fault.name}: there is no test {test}")
    return lines


def copy_tree(to: Path) -> None:
    to.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__", ".*cache"))
        else:
            shutil.copy2(source, to / name)


class Attempt(NamedTuple):
    """The tests of a fault, as they run in a process of their own."""

    fault: Fault
    tree: Path
    right: str  # the file without the fault
    output: Path
    until: float


def begin(fault: Fault, tree: Path) -> tuple[int, Attempt]:
    """Put a fault into a copy of the tree and run its tests there, in a child that has the large libraries already."""
    path, output = tree / "stitchrl" / fault.file, tree / "output.txt"
    right = path.read_text(encoding="utf-8")
    path.write_text(check(fault, tree), encoding="utf-8")
    tests = [f"tests/test_{file}.py{sep}{name}" for file, sep, name in (test.partition("::") for test in fault.tests)]
    sys.stdout.flush()
    if (pid := os.fork()) == 0:
        status = 3
        try:
            with open(output, "w", encoding="utf-8") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            os.setpgid(0, 0)
            os.chdir(tree)
            os.environ |= {"PYTHONPATH": str(tree), "MINARI_DATASETS_PATH": str(tree / "store")}
            sys.dont_write_bytecode = True  # the next fault may come within the second that tells files apart
            sys.path.insert(0, str(tree))
            import pytest

            status = pytest.main(
                ["-x", "-q", "-p", "no:cacheprovider", "--tb=no", f"--basetemp={tree / 'tmp'}", *tests]
            )
            sys.stdout.flush()
        finally:
            os._exit(int(status))
    return pid, Attempt(fault, tree, right, output, time.monotonic() + LONGEST)


def end(attempt: Attempt, status: int | None) -> Verdict:
    """Take the fault out of the tree again. status: of pytest, None where it was stopped."""
    fault, tree, right, output, _ = attempt
    (tree / "stitchrl" / fault.file).write_text(right, encoding="utf-8")
    if status is None:
        return Verdict(fault, "caught", f"no end within {LONGEST} s")
    said = output.read_text(encoding="utf-8", errors="replace")
    if status not in (0, 1, 2):  # 2: the tests could not even be collected
        raise RuntimeError(f"{fault.name}: pytest ended with {status}: {said[-1000:]}")
    failed = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", said, re.M)
    return Verdict(fault, "caught" if status else "missed", failed[1] if failed else "")


def run_all(faults: Sequence[Fault], jobs: int) -> list[Verdict]:
    """As many faults at a time as there are jobs, each in a copy of the tree of its own."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # as stitchrl.command has it; Hydra looks when it is imported
    with contextlib.redirect_stderr(io.StringIO()):  # notices
        for name in LIBRARIES:
            importlib.import_module(name)
    verdicts: dict[str, Verdict] = {}
    running: dict[int, Attempt] = {}

    def conclude(pid: int, status: int | None) -> Path:
        attempt = running.pop(pid)
        verdict = verdicts[attempt.fault.name] = end(attempt, status)
        print(f"{verdict.verdict:6} {verdict.fault.name}  {verdict.by}", flush=True)
        return attempt.tree

    with tempfile.TemporaryDirectory(prefix="mutations-") as scratch:
        trees = [Path(scratch) / str(number) for number in range(jobs)]
        for tree in trees:
            copy_tree(tree)
        waiting = [fault for fault in faults if not stale([fault])]
        verdicts |= {fault.name: Verdict(fault, "stale", "") for fault in faults if fault not in waiting}
        try:
            while waiting or running:
                while waiting and trees:
                    pid, attempt = begin(waiting.pop(0), trees.pop())
                    running[pid] = attempt
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid in running:
                    trees.append(conclude(pid, os.waitstatus_to_exitcode(status)))
                    continue
                for pid in [pid for pid, attempt in running.items() if time.monotonic() > attempt.until]:
                    os.killpg(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    trees.append(conclude(pid, None))
                time.sleep(0.05)
        finally:
            for pid in running:
                os.killpg(pid, signal.SIGKILL)
    return [verdicts[fault.name] for fault in faults]


def rate(verdicts: Sequence[Verdict]) -> float:
    return sum(verdict.verdict == "caught" for verdict in verdicts) / len(verdicts)


def write_csv(path: Path, faults: Sequence[Fault], verdicts: Sequence[Verdict]) -> None:
    """A row for each fault of the list; one that was not tried keeps the row that it had."""
    columns = ["fault", "file", "means", "caught", "by"]
    rows = {}
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            rows = {row["fault"]: row for row in csv.DictReader(file)}
    for fault, verdict, by in verdicts:
        values = (fault.name, f"stitchrl/{fault.file}", fault.means, verdict, by)
        rows[fault.name] = dict(zip(columns, values, strict=True))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[fault.name] for fault in faults if fault.name in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these faults alone, by their names or files")
    parser.add_argument("--jobs", type=int, default=1, help="faults that are tried side by side")
    parser.add_argument("--faults", type=Path, default=LIST, metavar="FILE", help="another list")
    parser.add_argument("--list", action="store_true", help="print the faults and whether they fit the code")
    options = parser.parse_args()
    faults = read_faults(options.faults)
    for line in (lines := stale(faults)):
        print(line, file=sys.stderr)
    if options.list:
        for fault in faults:
            print(f"{fault.name:32} stitchrl/{fault.file:24} {fault.means}")
        return 1 if lines else 0
    chosen = [fault for fault in faults if not options.only or {fault.name, fault.file} & set(options.only)]
    verdicts = run_all(chosen, options.jobs)
    if options.faults == LIST:
        write_csv(RESULT, faults, verdicts)
    missed = [verdict.fault.name for verdict in verdicts if verdict.verdict != "caught"]
    print(f"caught {len(verdicts) - len(missed)} of {len(verdicts)} faults ({100 * rate(verdicts):.1f}%)")
    if missed:
        print(f"missed or stale: {', '.join(missed)}")
    return 1 if lines or rate(verdicts) < CAUGHT else 0


if __name__ == "__main__":
    sys.exit(main())
