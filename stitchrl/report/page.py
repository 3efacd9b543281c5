"""All of a report as one HTML page that needs nothing beside it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from stitchrl.report import tables
from stitchrl.report.charts import Series, line_chart
from stitchrl.report.find import Found
from stitchrl.report.looks import COLOURS, DASHES, looks
from stitchrl.report.output import as_csv, as_latex
from stitchrl.report.rollouts import rollouts
from stitchrl.report.rows import Group, far_tasks, group_rows, groups, segments_needed, twin_datasets, warnings
from stitchrl.report.runs import Run, trajectories_of
from stitchrl.report.statistics import Estimate, Interval, number
from stitchrl.report.tables import Entry, Table
from stitchrl.report.twins import conclusion, on_one_twin, twin_rows
from stitchrl.report.video import video

TEMPLATE = Path(__file__).with_name("page.html")
Looks = dict[tuple[str, str], str]  # by agent and goals: classes of the page's style


@dataclass
class Figure:
    """A drawing, with what stands below it."""

    caption: str
    drawing: Markup
    note: str = ""
    video: str = ""  # base64


@dataclass
class Section:
    """What the page says under one heading."""

    title: str
    sentences: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)  # look, label
    charts: list[Figure] = field(default_factory=list)
    folded: str = ""  # what is shown in place of the charts until somebody asks for them
    heat: Table | None = None
    pictures: list[Figure] = field(default_factory=list)
    details: list[Table] = field(default_factory=list)

    @property
    def all_tables(self) -> list[Table]:
        return [*self.tables, *([self.heat] if self.heat else []), *self.details]


def sections(runs: Sequence[Run], videos: bool) -> list[Section]:
    """All that the page says. With `videos` an episode of each group is shown in motion."""
    look = looks(runs)
    shown = [Section("Runs", tables=[tables.coverage_table(runs)])]
    shown += [twin_section(runs, joined, look) for joined in dict.fromkeys(joined for joined, _ in twin_datasets(runs))]
    shown += [dataset_section(runs, name, look, videos) for name in dict.fromkeys(run.dataset for run in runs)]
    shown.append(Section("Training", tables=[tables.training_table(runs)]))
    if tables.instruments_of(runs) or any(run.measured for run in runs):
        shown.append(instrument_section(runs, look))
    return shown


def twin_section(runs: Sequence[Run], joined: str, look: Looks) -> Section:
    """The stitching gap between a joined dataset and all of its cut twins."""
    section = Section(f"The stitching gap: {joined} and the same transitions cut")
    dose: dict[tuple[str, str], list[tuple[float, Estimate]]] = {}
    for cut in [cut for whole, cut in twin_datasets(runs) if whole == joined]:
        rows = twin_rows(runs, joined, cut)
        if rows:
            section.tables.append(tables.twin_table(runs, joined, cut))
        for agent in dict.fromkeys(row.agent for row in rows):
            section.sentences.append(conclusion([row for row in rows if row.agent == agent]))
        if alone := on_one_twin(runs, joined, cut):
            section.sentences.append(alone)
        for row in rows:
            pieces = 1 if row.gap is None else segments_needed(cut, runs)
            points = dose.setdefault((row.agent, row.goals), [])
            if pieces and pieces not in [x for x, _ in points]:
                points.append((pieces, row.success))
    series = [Series(look[way], ", ".join(way), sorted(points, key=lambda p: p[0])) for way, points in dose.items()]
    if series:
        section.legend = [(one.look, one.label) for one in series]
        drawing = line_chart("Far tasks against pieces", "pieces that must be chained, at least", series, dodge=0.06)
        caption = "Success on the far tasks of the cut data, by the pieces that must be chained"
        section.charts = [Figure(caption, drawing)]
    return section


def dataset_section(runs: Sequence[Run], dataset: str, look: Looks, videos: bool) -> Section:
    """Everything about the runs on one dataset."""
    here = [group for group in groups(runs) if group.dataset == dataset]
    section = Section(dataset, warnings=warnings(dataset, runs))
    section.tables = [tables.success_table(runs, dataset), *tables.resampled_tables(runs, dataset)]
    section.heat = tables.heat_table(runs, dataset)
    section.details = [tables.task_table(runs, dataset)]
    section.legend = [(look[group.way], label(group)) for group in here]
    by_segments = []
    for row in [row for row in group_rows(runs) if row.dataset == dataset and row.by_segments]:
        points = [(float(key), value) for key, value in row.by_segments.items()]
        by_segments.append(Series(look[row.way], label(row), points))
    if by_segments:
        drawing = line_chart("Success against segments", "segments needed", by_segments, dodge=0.06)
        section.charts.append(Figure("Success against segments needed", drawing))
    section.charts += curves(here, section.legend) + calibrations(here, section.legend)
    far = far_tasks(dataset, runs)
    section.pictures = [picture(group, far, videos) for group in here]
    return section


def instrument_section(runs: Sequence[Run], look: Looks) -> Section:
    """What instruments measured: a table of the last values, and a chart for each instrument on each dataset."""
    section = Section("Instruments", folded="Instruments while training")
    if tables.instruments_of(runs):
        section.tables = [tables.instrument_table(runs)]
    for dataset in dict.fromkeys(run.dataset for run in runs):
        here = [group for group in groups(runs) if group.dataset == dataset]
        for name in sorted({name for group in here for run in group.present for name in run.measured}):
            tracks = [[run.measured[name] for run in group.present if name in run.measured] for group in here]
            series = series_of(tracks, [(look[group.way], ", ".join(group.way)) for group in here])
            if series:
                title = f"{name} against gradient steps"
                drawing = line_chart(title, "gradient steps", series, span=None, digits=None)
                section.charts.append(Figure(f"{name}, {dataset}", drawing))
                section.legend += [(one.look, one.label) for one in series]
    section.legend = list(dict.fromkeys(section.legend))
    return section


def label(group: Group) -> str:
    """Agent and goals, and how many seeds are missing."""
    lacking = f" ({group.lacking} seed{'s' * (group.lacking > 1)} missing)" if group.lacking else ""
    return ", ".join(group.way) + lacking


def series_of(tracks: Sequence[Sequence[dict[Any, float]]], legend: Sequence[tuple[str, str]]) -> list[Series]:
    """A series for each group: values over its seeds' tracks {x: y}, at every x that all of these have."""
    series = []
    for of_group, (look, name) in zip(tracks, legend, strict=True):
        shared = sorted(set.intersection(*(set(track) for track in of_group))) if of_group else []
        points = [(float(x), Estimate(tuple(track[x] for track in of_group))) for x in shared]
        if points:
            series.append(Series(look, name, points))
    return series


def curves(here: Sequence[Group], legend: Sequence[tuple[str, str]]) -> list[Figure]:
    """Success against gradient steps, over seen and over unseen tasks."""
    found = [[run.curves for run in group.present] for group in here]
    absent = sum(curve is None for of_group in found for curve in of_group)
    note = f"No eval.jsonl in {absent} runs." if absent else ""
    figures = []
    for kind in ("seen", "unseen"):
        title = f"Success on {kind} tasks against gradient steps"
        series = series_of([[curve[kind] for curve in of if curve and kind in curve] for of in found], legend)
        if series:
            figures.append(Figure(title, line_chart(title, "gradient steps", series), note))
    return figures


def calibrations(here: Sequence[Group], legend: Sequence[tuple[str, str]]) -> list[Figure]:
    """Achieved returns against those asked for, from each start of which a calibration.csv tells."""
    found = [[run.calibration for run in group.present if run.calibration] for group in here]
    figures = []
    for start in dict.fromkeys(start for of_group in found for known in of_group for start in known):
        series = series_of([[known[start] for known in of if start in known] for of in found], legend)
        if series:
            title = f"Achieved return against the one asked for, from {start}"
            drawing = line_chart(title, "return asked for", series, span=None, diagonal=True)
            figures.append(Figure(title, drawing, "Thin: what is asked for."))
    return figures


def picture(group: Group, far: Sequence[str], videos: bool) -> Figure:
    """Episodes of the first seed's last evaluation, and one of them in motion where asked for."""
    run = group.present[0]
    tasks = list(far) or [task["name"] for task in run.tasks]
    success = f"{'far' if far else 'all'} tasks {number(run.success(tasks))}"
    caption = f"{', '.join(group.way)}, seed {run.seed}: {success}"
    trajectories = trajectories_of(run)
    if trajectories is None:
        return Figure(caption, Markup(""), "No trajectories.npz.")
    figure = Figure(caption, *rollouts(run, tasks, trajectories))
    of_tasks = [one for one in trajectories if one.task in tasks]
    if videos and of_tasks:
        figure.video = base64.b64encode(video(run, of_tasks[0])).decode()
    return figure


def sort_key(entry: Entry) -> str:
    """What a cell is sorted by: a number, or text."""
    if isinstance(entry, (Estimate, Interval)):
        entry = entry.mean if isinstance(entry, Estimate) else entry.value
    return "" if entry is None else str(entry)


def share(success: Estimate) -> str:
    """The mean, with a star where seeds are missing."""
    return "missing" if success.mean is None else number(success.mean) + "*" * bool(success.missing)


def data(text: str) -> str:
    """A file as an address, so that the page brings its tables along."""
    return f"data:text/plain;base64,{base64.b64encode(text.encode()).decode()}"


def render(shown: Sequence[Section], found: Found) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {one.__name__: one for one in (sort_key, share, data, as_csv, as_latex)}
    lacking = [(group.dataset, label(group)) for group in groups(found.runs) if group.lacking]
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return page.render(found._asdict(), sections=shown, lacking=lacking, colours=COLOURS, dashes=DASHES)
