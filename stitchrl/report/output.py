"""A table as CSV, as LaTeX (for \\usepackage{booktabs}) and in the terminal."""

import csv
import io
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from stitchrl.report.statistics import Estimate, Interval
from stitchrl.report.tables import Entry, Table

NAME = 16  # columns of a terminal that a name has at least
GAP = 2  # columns between two of a table's, and more at its ends

SPECIAL = {"\\": r"\textbackslash{}"} | {character: "\\" + character for character in "&%$#_{}"}
SPECIAL |= {"±": r"$\pm$", ">": "$>$", "<": "$<$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LATEX = str.maketrans(SPECIAL)


def as_csv(table: Table) -> str:
    """The table as CSV. An estimate takes four columns: mean, half of the interval, seeds, missing seeds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = [list(map(_fields, row)) for row in table.rows]
    columns = list(zip(*rows, strict=True)) or [()] * len(table.columns)
    widest = [max(column, key=len, default={"": None}) for column in columns]
    writer.writerow([heading + name for heading, names in zip(table.columns, widest, strict=True) for name in names])
    for row in rows:
        writer.writerow([fields.get(name) for fields, names in zip(row, widest, strict=True) for name in names])
    return text.getvalue()


def _fields(entry: Entry) -> dict[str, Entry]:
    """What CSV holds of an entry, by what its columns' headings add to the table's."""
    if isinstance(entry, Estimate):
        mean = "missing" if entry.mean is None else entry.mean
        return {"": mean, " half_width": entry.half_width, " seeds": len(entry.present), " missing": entry.missing}
    if isinstance(entry, Interval):
        return {"": entry.value, " low": entry.low, " high": entry.high}
    return {"": entry}


def as_latex(table: Table) -> str:
    """The table as LaTeX for the package booktabs."""
    sides = ["l" if all(isinstance(row[i], str) for row in table.rows) else "r" for i in range(len(table.columns))]
    cells = [[cell.translate(LATEX) for cell in row] for row in (table.columns, *table.texts)]
    head, *body = [" & ".join(row) + " \\\\" for row in cells]
    comment = f"% {table.title}. {table.note}".rstrip(". ") + "."
    above = [comment, f"\\begin{{tabular}}{{{''.join(sides)}}}", "\\toprule", head, "\\midrule"]
    return "\n".join([*above, *body, "\\bottomrule", "\\end{tabular}", ""])


def show(table: Table, columns: int | None) -> None:
    """Print a table. A first entry that equals the one above it is left out.

    In a terminal, which has so many columns, headings wrap. Names wrap if there is little room. Numbers are never cut:
    if the terminal is too narrow for them, it breaks lines. In a pipe (None) lines may have any length.
    """
    texts = table.texts
    widths = []
    for i, heading in enumerate(table.columns):
        needed = [heading] if columns is None else heading.split()
        widths.append(max(map(len, [*needed, *(row[i] for row in texts)])))
    if columns is not None and sum(widths) + GAP * len(widths) > columns:
        for i in range(len(widths)):
            if all(isinstance(row[i], str) for row in table.rows):
                widths[i] = min(widths[i], NAME)
    look: dict[str, Any] = {"box": box.SIMPLE_HEAD, "pad_edge": False, "collapse_padding": True}
    shown = RichTable(title=table.title, title_justify="left", title_style="bold", **look)
    for i, (heading, width) in enumerate(zip(table.columns, widths, strict=True)):
        plain = not any(isinstance(row[i], (str, Estimate, Interval)) for row in table.rows)
        column: dict[str, Any] = {"justify": "right" if plain else "left", "vertical": "top", "overflow": "fold"}
        shown.add_column(heading, min_width=width, width=width, **column)
    before = ""
    for first, *others in texts:
        if before and first != before:
            shown.add_section()
        shown.add_row("" if first == before else first, *others)
        before = first
    width = max(columns or 0, sum(widths) + GAP * len(widths))
    Console(width=width, markup=False, highlight=False).print(shown)
