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
from stitchrl.report.rows import conclusion, groups, twin_datasets, twin_rows
from stitchrl.report.runs import Run


def report(paths: Sequence[Path], out: Path, videos: bool) -> None:
    """Report the runs at `paths` in folder `out`. Raises BadInput where there are none, OSError where out fails."""
    found = find_runs(paths)
    runs = found.runs
    for line in found.left_out:
        print(f"stitchrl.report: left out: {line}", file=sys.stderr)
    shown = sections(runs, videos)
    page = render(shown, found)
    out.mkdir(parents=True, exist_ok=True)
    write(out / "report.png", lambda path: save_figure(runs, path))
    write_text(out / "table.csv", tables.to_csv(runs))
    for table in [table for section in shown for table in section.all_tables]:
        write_text(out / "tables" / f"{table.name}.csv", as_csv(table))
        write_text(out / "tables" / f"{table.name}.tex", as_latex(table))
    write_text(out / "index.html", page)
    show_all(runs)
    for folder, ended in found.unfinished:
        print(f"Not finished, in no table: {folder}: {ended}")
    count = len([group for group in groups(runs) if group.present])
    some = f" (the first {PANELS} of {count} groups)" if count > PANELS else ""
    print(f"Written: {out / 'index.html'}, {out / 'tables'}, {out / 'table.csv'}, {out / 'report.png'}{some}")


def write_text(path: Path, text: str) -> None:
    """Text as UTF-8. Folders' names stay as they are, even if the locale's encoding lacks a character of them."""
    write(path, lambda beside: beside.write_text(text, encoding="utf-8", errors="surrogateescape"))


def show_all(runs: Sequence[Run]) -> None:
    """The tables that fit a terminal; the page has the others."""
    shown: list[tables.Table | str] = []
    for joined, cut in twin_datasets(runs):
        shown.append(tables.twin_table(runs, joined, cut))
        rows = twin_rows(runs, joined, cut)
        agents = dict.fromkeys(row.agent for row in rows)
        shown += [conclusion([row for row in rows if row.agent == agent]) for agent in agents]
        shown.append("")
    shown += [tables.success_table(runs, dataset) for dataset in dict.fromkeys(run.dataset for run in runs)]
    shown.append("Mean (each seed), from five seeds mean ± half of Student's 95% interval.")
    shown.append("Success is the mean of the last three evaluations. A dash: does not apply.")
    terminal = Console()
    for one in shown:
        if isinstance(one, str):
            print(one)
        else:
            show(one, terminal.width if terminal.is_terminal else None)
