"""Tables, a figure and a CSV from run folders alone: `python -m stitchrl.report RUNS... [--out DIR]`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from stitchrl.files import write
from stitchrl.report.figure import PANELS, save_figure
from stitchrl.report.runs import BadInput, find_runs
from stitchrl.report.tables import groups, print_tables, to_csv


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as for every other bad input."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("stitchrl.report", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="run folders, or folders that hold some")
    parser.add_argument("--out", type=Path, default=Path("report"), metavar="DIR", help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        runs = find_runs(options.runs)
        options.out.mkdir(parents=True, exist_ok=True)
        write(options.out / "report.png", lambda path: save_figure(runs, path))
        write(options.out / "table.csv", lambda path: path.write_text(to_csv(runs)))
    except BadInput as error:
        print(f"stitchrl.report: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"stitchrl.report: {error.filename}: {error.strerror}; a writable folder expected", file=sys.stderr)
        return 2
    # A pipe has no width of its own; rich would take 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 100, markup=False, highlight=False)
    print_tables(runs, console)
    count = len(groups(runs))
    some = f" (the first {PANELS} of {count} groups)" if count > PANELS else ""
    console.print(f"Written: {options.out / 'report.png'}{some}, {options.out / 'table.csv'}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
