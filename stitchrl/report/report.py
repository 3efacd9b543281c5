"""The report itself: what is found, written to files, and said in the terminal."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from stitchrl.files import write
from stitchrl.report import tables
from stitchrl.report.figure import PANELS, save_figure
from stitchrl.report.find import find_runs
from stitchrl.report.output import as_csv, as_latex, show
from stitchrl.report.page import render, sections
from stitchrl.report.rows import groups, twin_datasets
from stitchrl.report.runs import Run
from stitchrl.report.twins import conclusion, on_one_twin, twin_rows


def report(paths: Sequence[Path], out: Path, videos: bool) -> None:
    """Report the runs at `paths` in folder `out`.

    Raises:
        BadInput: there are no runs to report.
        OSError: something cannot be written to `out`.
    """
    found = find_runs(paths)
    runs = found.runs
    for line in found.left_out:
        print(f"stitchrl.report: left out: {line}", file=sys.stderr)
    shown = sections(runs, videos)
    page = render(shown, found)
    out.mkdir(parents=True, exist_ok=True)
    write(out / "report.png", lambda path: save_figure(runs, path))
    write_text(out / "table.csv", tables.to_csv(runs))
    write_text(out / "curves.csv", tables.curves_to_csv(runs))
    for table in [table for section in shown for table in section.all_tables]:
        write_text(out / "tables" / f"{table.name}.csv", as_csv(table))
        write_text(out / "tables" / f"{table.name}.tex", as_latex(table))
    write_text(out / "index.html", page)
    show_all(runs)
    for folder, ended in found.unfinished:
        print(f"Not finished, in no table: {folder}: {ended}")
    count = len(groups(runs))
    some = f" (the first {PANELS} of {count} groups)" if count > PANELS else ""
    files = ", ".join(str(out / name) for name in ("index.html", "tables", "table.csv", "curves.csv", "report.png"))
    print(f"Written: {files}{some}")


def write_text(path: Path, text: str) -> None:
    """Text as UTF-8. Folders' names stay as they are, even if the locale's encoding lacks a character of them."""
    write(path, lambda beside: beside.write_text(text, encoding="utf-8", errors="surrogateescape"))


def show_all(runs: Sequence[Run]) -> None:
    """The tables that fit a terminal; the page has the others."""
    console = Console()
    width = console.width if console.is_terminal else None
    for joined, cut in twin_datasets(runs):
        rows = twin_rows(runs, joined, cut)
        if rows:
            show(tables.twin_table(runs, joined, cut), width)
        for agent in dict.fromkeys(row.agent for row in rows):
            print(conclusion([row for row in rows if row.agent == agent]))
        print(on_one_twin(runs, joined, cut))  # or an empty line
    for dataset in dict.fromkeys(run.dataset for run in runs):
        show(tables.success_table(runs, dataset), width)
    print("Success is the mean of the last three evaluations, then the mean over seeds. A dash: does not apply.")
    print("From five seeds on it stands with half of Student's 95% interval. With fewer every seed is shown.")
