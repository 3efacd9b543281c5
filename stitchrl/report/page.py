"""All of a report as one HTML page that needs nothing beside it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from markupsafe import Markup

from stitchrl.report import tables
from stitchrl.report.charts import Series, line_chart, rollouts, stuck_in
from stitchrl.report.figure import maze_of
from stitchrl.report.find import Found
from stitchrl.report.output import as_csv, as_latex
from stitchrl.report.rows import (
    Group,
    conclusion,
    far_tasks,
    group_rows,
    groups,
    segments_needed,
    twin_datasets,
    twin_rows,
    warnings,
)
from stitchrl.report.runs import Run, Trajectory, read_trajectories
from stitchrl.report.statistics import Estimate, Interval, number
from stitchrl.report.tables import Entry, Table
from stitchrl.report.video import video

TEMPLATE = Path(__file__).with_name("page.html")


@dataclass
class Figure:
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
    heat: Table | None = None
    mazes: list[Figure] = field(default_factory=list)
    details: list[Table] = field(default_factory=list)

    @property
    def all_tables(self) -> list[Table]:
        return [*self.tables, *([self.heat] if self.heat else []), *self.details]


def sections(runs: Sequence[Run], videos: bool) -> list[Section]:
    look = looks(runs)
    coverage = Section("Runs", tables=[tables.coverage_table(runs)])
    twins = [twin_section(runs, joined, look) for joined in dict.fromkeys(joined for joined, _ in twin_datasets(runs))]
    datasets = [dataset_section(runs, name, look, videos) for name in dict.fromkeys(run.dataset for run in runs)]
    return [coverage, *twins, *datasets, Section("Training", tables=[tables.training_table(runs)])]


def looks(runs: Sequence[Run]) -> dict[tuple[str, str], str]:
    """Classes of the page's style: the colour is the agent's, the dashes are those of the goals."""
    agents = list(dict.fromkeys(run.agent for run in runs))
    goals = sorted({run.goals for run in runs}, key=lambda name: (name != "future", name))
    return {(a, g): f"c{i % 12} d{k % 4}" for i, a in enumerate(agents) for k, g in enumerate(goals)}


def twin_section(runs: Sequence[Run], joined: str, look: dict[tuple[str, str], str]) -> Section:
    cuts = [cut for whole, cut in twin_datasets(runs) if whole == joined]
    section = Section(f"The stitching gap: {joined} and the same transitions cut")
    dose: dict[tuple[str, str], list[tuple[float, Estimate]]] = {}
    for cut in cuts:
        section.tables.append(tables.twin_table(runs, joined, cut))
        rows = twin_rows(runs, joined, cut)
        for agent in dict.fromkeys(row.agent for row in rows):
            section.sentences.append(conclusion([row for row in rows if row.agent == agent]))
        for row in rows:
            pieces = 1 if row.gap is None else segments_needed(cut, runs)
            points = dose.setdefault((row.agent, row.goals), [])
            if pieces and pieces not in [x for x, _ in points]:
                points.append((pieces, row.success))
    series = [Series(look[way], ", ".join(way), sorted(points, key=lambda p: p[0])) for way, points in dose.items()]
    section.legend = [(one.look, one.label) for one in series]
    drawing = line_chart("Far tasks against pieces", "pieces that must be chained, at least", series, dodge=0.06)
    section.charts = [Figure("Success on the far tasks of the cut data, by the pieces that must be chained", drawing)]
    return section


def dataset_section(runs: Sequence[Run], dataset: str, look: dict[tuple[str, str], str], videos: bool) -> Section:
    here = [group for group in groups(runs) if group.dataset == dataset]
    section = Section(dataset, warnings=warnings(dataset, runs))
    section.tables = [tables.success_table(runs, dataset), *tables.resampled_tables(runs, dataset)]
    section.heat = tables.heat_table(runs, dataset)
    section.details = [tables.task_table(runs, dataset)]
    for group in here:
        section.legend.append((look[group.agent, group.goals], label(group)))
    rows = [row for row in group_rows(runs) if row.dataset == dataset]
    by_segments = [
        Series(look[row.agent, row.goals], name, [(int(key), value) for key, value in row.by_segments.items()])
        for row, (_, name) in zip(rows, section.legend, strict=True)
        if row.by_segments
    ]
    if by_segments:
        drawing = line_chart("Success against segments", "segments needed", by_segments, dodge=0.06)
        section.charts.append(Figure("Success against segments needed", drawing))
    section.charts += curves(here, section.legend) + calibrations(here, section.legend)
    far = far_tasks(dataset, runs)
    for group in here:
        section.mazes.append(maze_figure(group, far, videos))
    return section


def label(group: Group) -> str:
    lacking = len(group.runs) - len(group.present)
    state = "missing" if not group.present else f"{lacking} seed{'s' * (lacking > 1)} missing" if lacking else ""
    return f"{group.agent}, {group.goals}" + (f" ({state})" if state else "")


def curves(here: Sequence[Group], legend: Sequence[tuple[str, str]]) -> list[Figure]:
    """Success against gradient steps, over seen and over unseen tasks."""
    found = [[run.curves for run in group.present] for group in here]
    figures = []
    for kind in ("seen", "unseen"):
        series = []
        for of_group, (look, name) in zip(found, legend, strict=True):
            tracks = [curve[kind] for curve in of_group if curve and kind in curve]
            steps = sorted(set.intersection(*(set(track) for track in tracks))) if tracks else []
            points = [(float(step), Estimate(tuple(track[step] for track in tracks))) for step in steps]
            if points:
                series.append(Series(look, name, points))
        if series:
            drawing = line_chart(f"Success on {kind} tasks against gradient steps", "gradient steps", series)
            absent = sum(curve is None for of_group in found for curve in of_group)
            note = f"No eval.jsonl in {absent} runs." if absent else ""
            figures.append(Figure(f"Success on {kind} tasks against gradient steps", drawing, note))
    return figures


def calibrations(here: Sequence[Group], legend: Sequence[tuple[str, str]]) -> list[Figure]:
    """Achieved returns against those asked for, from each start; none of a dataset that asks for goals."""
    found = [[run.calibration for run in group.present if run.calibration] for group in here]
    figures = []
    for start in dict.fromkeys(start for of_group in found for known in of_group for start in known):
        series = []
        for of_group, (look, name) in zip(found, legend, strict=True):
            tracks = [known[start] for known in of_group if start in known]
            targets = sorted(set.intersection(*(set(track) for track in tracks))) if tracks else []
            points = [(target, Estimate(tuple(track[target] for track in tracks))) for target in targets]
            if points:
                series.append(Series(look, name, points))
        if not series:
            continue
        most = max(y for one in series for x, value in one.points for y in (x, *value.present))
        title = f"Achieved return against the one asked for, from {start}"
        drawing = line_chart(title, "return asked for", series, most=most, diagonal=True)
        figures.append(Figure(title, drawing, "Thin: what is asked for."))
    return figures


def maze_figure(group: Group, far: Sequence[str], videos: bool) -> Figure:
    """Episodes of the first seed's last evaluation, and one of them in motion where asked for."""
    if not group.present:
        return Figure(f"{group.agent}, {group.goals}: missing", Markup(""))
    run = group.present[0]
    tasks = list(far) or [task["name"] for task in run.tasks]
    caption = (
        f"{group.agent}, {group.goals}, seed {run.seed}: {'far' if far else 'all'} tasks {number(run.success(tasks))}"
    )
    trajectories = read_trajectories(run)
    if trajectories is None:
        return Figure(caption, Markup(""), "No trajectories.npz.")
    figure = Figure(caption, rollouts(run, tasks, trajectories), stuck_in(maze_of(run), tasks, trajectories))
    if videos and (chosen := first_of(tasks, trajectories)):
        figure.video = base64.b64encode(video(run, chosen) or b"").decode()
    return figure


def first_of(tasks: Sequence[str], trajectories: Sequence[Trajectory]) -> Trajectory | None:
    return next((one for one in trajectories if one.task in tasks), None)


def sort_key(entry: Entry) -> str:
    """What a cell is sorted by: a number, or text."""
    if isinstance(entry, Estimate):
        entry = entry.mean
    if isinstance(entry, Interval):
        entry = entry.value
    return "" if entry is None else str(entry)


def share(success: Estimate) -> str:
    return "missing" if success.mean is None else number(success.mean) + "*" * bool(success.missing)


def data(text: str) -> str:
    """A file as an address, so that the page brings its tables along."""
    return f"data:text/plain;base64,{base64.b64encode(text.encode()).decode()}"


def render(shown: Sequence[Section], found: Found) -> str:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"words": tables.words, "sort_key": sort_key, "share": share, "data": data}
    environment.filters |= {"as_csv": as_csv, "as_latex": as_latex}
    lacking = [group for group in groups(found.runs) if len(group.present) < len(group.runs)]
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        sections=shown,
        count=len(found.runs),
        lacking=[(group.dataset, label(group)) for group in lacking],
        left_out=found.left_out,
        unfinished=found.unfinished,
    )
