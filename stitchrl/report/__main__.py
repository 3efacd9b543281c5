"""Tables, figures and a page from run folders alone: `python -m stitchrl.report RUNS... [--out DIR]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stitchrl.guard import Parser, guarded

# What takes a second to import is imported where it is used: `--help` and misspelt options are answered at once.
if TYPE_CHECKING:
    from rich.console import Console

    from stitchrl.report.runs import Run


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("stitchrl.report", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="run folders, or folders that hold some")
    parser.add_argument("--out", type=Path, default=Path("report"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--video", action="store_true", help="one episode of each agent in motion, on the page")
    options = parser.parse_args(arguments)

    from rich.console import Console

    from stitchrl.files import write
    from stitchrl.report import tables
    from stitchrl.report.figure import PANELS, save_figure
    from stitchrl.report.formats import as_csv, as_latex
    from stitchrl.report.page import render, sections
    from stitchrl.report.rows import groups
    from stitchrl.report.runs import BadInput, find_runs, find_unfinished

    out: Path = options.out
    try:
        runs, unfinished = find_runs(options.runs), find_unfinished(options.runs)
        found = sections(runs, options.video)
        page = render(found, runs, unfinished)
        out.mkdir(parents=True, exist_ok=True)
        write(out / "report.png", lambda path: save_figure(runs, path))
        write_text(out / "table.csv", tables.to_csv(runs))
        for table in [table for section in found for table in section.all_tables]:
            write_text(out / "tables" / f"{table.name}.csv", as_csv(table))
            write_text(out / "tables" / f"{table.name}.tex", as_latex(table))
        write_text(out / "index.html", page)
    except BadInput as error:
        print(f"stitchrl.report: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"stitchrl.report: {error.filename}: {error.strerror}; a writable folder expected", file=sys.stderr)
        return 2
    # A pipe has no width of its own; rich would take 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 100, markup=False, highlight=False)
    show_all(runs, console)
    if unfinished:
        console.print(f"Not finished, in no table: {len(unfinished)}, first {unfinished[0][0]}.", soft_wrap=True)
    count = len([group for group in groups(runs) if group.present])
    some = f" (the first {PANELS} of {count} groups)" if count > PANELS else ""
    written = f"{out / 'index.html'}, {out / 'tables'}, {out / 'table.csv'}, {out / 'report.png'}{some}"
    console.print(f"Written: {written}", soft_wrap=True)
    return 0


def write_text(path: Path, text: str) -> None:
    from stitchrl.files import write

    write(path, lambda beside: beside.write_text(text))


def show_all(runs: Sequence[Run], console: Console) -> None:
    """The tables that fit a terminal; the page has the others."""
    from stitchrl.report import tables
    from stitchrl.report.formats import show
    from stitchrl.report.rows import conclusion, twin_datasets, twin_rows

    for joined, cut in twin_datasets(runs):
        show(tables.twin_table(runs, joined, cut), console)
        rows = twin_rows(runs, joined, cut)
        for agent in dict.fromkeys(row.agent for row in rows):
            console.print(conclusion([row for row in rows if row.agent == agent]), soft_wrap=True)
        console.print()
    for dataset in dict.fromkeys(run.dataset for run in runs):
        show(tables.success_table(runs, dataset), console)
    console.print("Mean (each seed), from five seeds mean ± half of Student's 95% interval.", soft_wrap=True)
    console.print("Success is the mean of the last three evaluations. A dash: does not apply.", soft_wrap=True)


if __name__ == "__main__":
    guarded(main)
