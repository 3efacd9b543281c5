"""Would a test fail if this line were wrong? Faults are put into a copy of the code one at a time, and tests are run.

    python benchmarks/mutations.py [--only NAME ...] [--jobs N] [--list]

Every fault of mutations.yaml replaces one piece of text, which must occur exactly once in its file: otherwise it is
stale, which is an error. Writes benchmarks/results/mutations.csv unless --only is given. Exit status 1 where a fault is
stale or less than 95% are caught.
"""

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_suffix(".yaml")
RESULT = Path(__file__).parent / "results" / "mutations.csv"
COPIED = ("stitchrl", "conf", "tests", "datasets", "pyproject.toml", "README.md")
CAUGHT = 0.95  # of all faults, at least
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
    """The file with the fault in it. ValueError where its text does not occur exactly once."""
    text = (root / "stitchrl" / fault.file).read_text(encoding="utf-8")
    if (count := text.count(fault.text)) != 1:
        raise ValueError(f"{fault.name}: stale, its text occurs {count} times in stitchrl/{fault.file}")
    return text.replace(fault.text, fault.wrong)


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
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__", ".*cache"))
        else:
            shutil.copy2(source, to / name)


def run_tests(fault: Fault, tree: Path) -> Verdict:
    """Put the fault into the tree, run its tests there, and take it out again."""
    path = tree / "stitchrl" / fault.file
    right = path.read_text(encoding="utf-8")
    try:
        path.write_text(check(fault, tree), encoding="utf-8")
    except ValueError:
        return Verdict(fault, "stale", "")
    tests = [f"tests/test_{file}.py{sep}{name}" for file, sep, name in (test.partition("::") for test in fault.tests)]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"MINARI_DATASETS_PATH": str(tree / "store")}
    try:
        line = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no", *tests]
        done = subprocess.run(
            line, cwd=tree, env=environment, capture_output=True, text=True, timeout=LONGEST, encoding="utf-8"
        )
    except subprocess.TimeoutExpired:
        return Verdict(fault, "caught", f"no end within {LONGEST} s")
    finally:
        path.write_text(right, encoding="utf-8")
    if done.returncode not in (0, 1, 2):  # 2: the tests could not even be collected
        said = done.stdout[-500:] + done.stderr[-500:]
        raise RuntimeError(f"{fault.name}: pytest ended with {done.returncode}: {said}")
    failed = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", done.stdout, re.M)
    return Verdict(fault, "caught" if done.returncode else "missed", failed[1] if failed else "")


def run_all(faults: Sequence[Fault], jobs: int) -> list[Verdict]:
    """Each worker has a copy of the tree of its own."""
    with tempfile.TemporaryDirectory(prefix="mutations-") as scratch:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            tree = Path(scratch) / str(number)
            tree.mkdir()
            copy_tree(tree)
            trees.put(tree)

        def work(fault: Fault) -> Verdict:
            tree = trees.get()
            try:
                verdict = run_tests(fault, tree)
            finally:
                trees.put(tree)
            print(f"{verdict.verdict:6} {fault.name}  {verdict.by}", flush=True)
            return verdict

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(work, faults))


def rate(verdicts: Sequence[Verdict]) -> float:
    return sum(verdict.verdict == "caught" for verdict in verdicts) / len(verdicts)


def write_csv(path: Path, verdicts: Sequence[Verdict]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["fault", "file", "meaning", "caught", "by"])
        for fault, verdict, by in verdicts:
            writer.writerow([fault.name, f"stitchrl/{fault.file}", fault.means, verdict, by])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these faults alone, by their names or files")
    parser.add_argument("--jobs", type=int, default=1, help="faults that are tried side by side")
    parser.add_argument("--list", action="store_true", help="print the faults and whether they fit the code")
    options = parser.parse_args()
    faults = read_faults()
    for line in (lines := stale(faults)):
        print(line, file=sys.stderr)
    if options.list:
        for fault in faults:
            print(f"{fault.name:32} stitchrl/{fault.file:24} {fault.means}")
        return 1 if lines else 0
    chosen = [fault for fault in faults if not options.only or {fault.name, fault.file} & set(options.only)]
    verdicts = run_all(chosen, options.jobs)
    if not options.only:
        write_csv(RESULT, verdicts)
    missed = [verdict.fault.name for verdict in verdicts if verdict.verdict != "caught"]
    print(f"caught {len(verdicts) - len(missed)} of {len(verdicts)} faults ({100 * rate(verdicts):.1f}%)")
    if missed:
        print(f"missed or stale: {', '.join(missed)}")
    return 1 if lines or rate(verdicts) < CAUGHT else 0


if __name__ == "__main__":
    sys.exit(main())
