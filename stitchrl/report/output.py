"""A table as CSV, as LaTeX (for \\usepackage{booktabs}) and in the terminal."""

import csv
import io

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from stitchrl.report.statistics import Estimate, Interval
from stitchrl.report.tables import Entry, Table

NAME = 16  # columns of a terminal that a name has at least
GAP = 2  # columns between two of a table's, and more at its ends

SPECIAL = {"\\": r"\textbackslash{}"} | {character: "\\" + character for character in "&%$#_{}"}
SPECIAL |= {"±": r"$\pm$", ">": "$>$", "<": "$<$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def as_csv(table: Table) -> str:
    """The table as CSV. An estimate takes four columns: mean, half of the interval, seeds, missing seeds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    fields = [_fields(heading, column) for heading, column in zip(table.columns, columns, strict=True)]
    writer.writerow([name for field in fields for name in field])
    for row in table.rows:
        writer.writerow(
            [value for field, entry in zip(fields, row, strict=True) for value in _values(entry, len(field))]
        )
    return text.getvalue()


def _fields(heading: str, column: tuple[Entry, ...]) -> list[str]:
    if any(isinstance(entry, Estimate) for entry in column):
        return [heading, f"{heading} half_width", f"{heading} seeds", f"{heading} missing"]
    if any(isinstance(entry, Interval) for entry in column):
        return [heading, f"{heading} low", f"{heading} high"]
    return [heading]


def _values(entry: Entry, width: int) -> list[Entry]:
    if isinstance(entry, Estimate):
        return [*("missing" if entry.mean is None else entry.mean, entry.half_width, len(entry.present), entry.missing)]
    if isinstance(entry, Interval):
        return [entry.value, entry.low, entry.high]
    return [entry, *[None] * (width - 1)]


def as_latex(table: Table) -> str:
    """The table as LaTeX for the package booktabs."""
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    sides = "".join("l" if all(isinstance(entry, str) for entry in column) else "r" for column in columns)
    lines = [" & ".join(map(_latex, table.columns))]
    lines += [" & ".join(map(_latex, row)) for row in table.texts]
    head, *body = [f"{line} \\\\" for line in lines]
    return "\n".join(
        [
            f"% {table.title}. {table.note}".rstrip(". ") + ".",
            f"\\begin{{tabular}}{{{sides}}}",
            "\\toprule",
            head,
            "\\midrule",
            *body,
            "\\bottomrule",
            "\\end{tabular}",
            "",
        ]
    )


def _latex(text: str) -> str:
    return "".join(SPECIAL.get(character, character) for character in text)


def show(table: Table, columns: int | None) -> None:
    """Print a table. A first entry that equals the one above it is left out.

    In a terminal headings wrap. Names wrap if there is little room. Numbers are never cut: if the terminal is too
    narrow for them, it breaks lines.

    Args:
        columns: of the terminal; None for a pipe, where lines may have any length.
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
    shown = RichTable(
        title=table.title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for i, (heading, width) in enumerate(zip(table.columns, widths, strict=True)):
        plain = not any(isinstance(row[i], (str, Estimate, Interval)) for row in table.rows)
        shown.add_column(
            heading, justify="right" if plain else "left", vertical="top", overflow="fold", min_width=width, width=width
        )
    before = ""
    for first, *others in texts:
        if before and first != before:
            shown.add_section()
        shown.add_row("" if first == before else first, *others)
        before = first
    width = max(columns or 0, sum(widths) + GAP * len(widths))
    Console(width=width, markup=False, highlight=False).print(shown)
