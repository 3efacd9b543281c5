"""An audit as one HTML page that needs nothing beside it: verdict, tasks, and a picture of data and tasks."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from matplotlib import colormaps, patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from stitchrl.files import write
from stitchrl.report.drawing import FAILED, GOAL, WALL, draw_rectangles, draw_region, extent_of, letters, place

SQUARES = 120  # along the longer side of the picture
START_LOOK: dict[str, Any] = {"facecolor": "#ffffffa0", "edgecolor": "black"}
GOAL_LOOK: dict[str, Any] = {"facecolor": f"{GOAL}60", "edgecolor": "black"}
LABEL = 11.0  # points
TEMPLATE = Path(__file__).with_name("audit_page.html")


class Said(NamedTuple):
    """What the audit says, as the command prints it."""

    verdict: Sequence[str]  # sentences that answer the question
    caveats: Sequence[str]  # sentences that limit the verdict
    headings: Sequence[str]  # of the table of tasks
    rows: Sequence[Sequence[str]]
    meanings: str  # of the headings
    details: Sequence[str]  # the survey in sentences


def write_page(
    path: Path,
    certificate: Mapping[str, Any],  # as the audit prints it as JSON
    said: Said,
    points: np.ndarray,  # [N, D] achieved goals, episodes end to end
    lengths: np.ndarray,  # [episodes] transitions in each
    parts: Sequence[slice],  # rows of stretches that join what should be unseen
) -> None:
    """Write the page of an audit."""
    # In the plane: the first two numbers, zero for one that is not there.
    shown = points[:, :2] if points.shape[1] > 1 else np.concatenate([points, np.zeros_like(points)], 1)
    page = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    counts = {"episodes": len(lengths), "transitions": lengths.sum(), "stretches": len(parts)}
    counts["dimensions"] = points.shape[1]
    image = base64.b64encode(picture(certificate, shown, lengths, [shown[rows] for rows in parts])).decode()
    names = letters(len(certificate["tasks"]))
    text = page.render(counts, certificate=certificate, said=said, letters=names, picture=image)
    write(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def picture(certificate: Mapping[str, Any], points: np.ndarray, lengths: np.ndarray, parts: list[np.ndarray]) -> bytes:
    """A PNG of data [N, 2] and tasks, with stretches [T + 1, 2] of episodes in red."""
    tasks = certificate["tasks"]
    bounds = [points.min(0), points.max(0)]
    for region in regions(tasks):
        reach = region["half"] + region["radius"]
        bounds += [np.array(region["center"]) - reach, np.array(region["center"]) + reach]
    left, right, below, above = extent_of(certificate["drawing"], np.array(bounds, np.float64), margin=0.06)
    width, height = right - left, above - below
    scale = min(8 / width, 8 / height)
    figure = Figure(figsize=(scale * width + 2.0, max(2.0, scale * height) + 1.4), layout="constrained")
    figure.set_facecolor("white")
    FigureCanvasAgg(figure)  # which labels are measured on
    axes = figure.subplots()
    draw_rectangles(axes, certificate["drawing"])
    axes.set(xlim=(left, right), ylim=(below, above), aspect="equal")
    unit = f" ({certificate['unit']})" if certificate["unit"] else ""
    axes.set_xlabel(f"achieved goal, number 1{unit}")
    if len(tasks[0]["start"]["center"]) > 1:
        axes.set_ylabel(f"achieved goal, number 2{unit}")
    else:
        axes.set_yticks([])
    draw_visits(axes, points, lengths, max(width, height) / SQUARES)
    for way in parts:
        axes.plot(*way.T, color=FAILED, linewidth=1.8, zorder=4)
    draw_tasks(figure, axes, tasks)
    add_legend(figure, certificate, bool(parts))
    draw_labels(figure, axes, tasks)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png")
    return stream.getvalue()


def regions(tasks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The different starts and goals of tasks, in the plane that is shown."""
    ends = [task[end] for task in tasks for end in ("start", "goal") if end in task]
    shown = [{**region, "center": place(region)} for region in ends]
    return [region for i, region in enumerate(shown) if region not in shown[:i]]


def draw_visits(axes: Axes, points: np.ndarray, lengths: np.ndarray, side: float) -> None:
    """Squares in the grey of the number of episodes that visit them."""
    low = points.min(0)
    square = ((points - low) / side).astype(np.int64)
    extent = square.max(0) + 1
    number = np.repeat(np.arange(len(lengths)), lengths + 1)
    once = np.unique((number * extent[0] + square[:, 0]) * extent[1] + square[:, 1])
    visitors = np.bincount(once % (extent[0] * extent[1]), minlength=extent[0] * extent[1]).reshape(extent)
    greys = ListedColormap(colormaps["Greys"](np.linspace(0.15, 0.75, 256)))
    shades = LogNorm(1, max(2, visitors.max()))
    shown = np.ma.masked_equal(visitors.T, 0)
    covered = (low[0], low[0] + extent[0] * side, low[1], low[1] + extent[1] * side)
    axes.imshow(shown, greys, shades, extent=covered, origin="lower", interpolation="nearest", zorder=1)


def draw_tasks(figure: Figure, axes: Axes, tasks: Sequence[Mapping[str, Any]]) -> None:
    """Regions to size, and arrows in the colour of the segments needed; dotted where no chain exists."""
    most = max([2, *(task["segments_needed"] or 0 for task in tasks)])
    colours = ScalarMappable(Normalize(0.5, most + 0.5), colormaps["viridis"].resampled(most))
    for end, look in (("goal", GOAL_LOOK), ("start", START_LOOK)):
        for region in regions([{end: task[end]} for task in tasks if end in task]):
            draw_region(axes, region, **look, zorder=3)
    for i, task in enumerate(tasks):
        if "goal" in task:
            count = task["segments_needed"]
            arrow = {"arrowstyle": "-|>", "lw": 2, "connectionstyle": f"arc3,rad={0.15 + 0.05 * (i % 3)}"}
            arrow |= {"color": "black", "ls": ":"} if count is None else {"color": colours.to_rgba(count), "ls": "-"}
            axes.annotate("", place(task["goal"]), place(task["start"]), arrowprops=arrow, zorder=6)
    if any("goal" in task for task in tasks):
        bar = figure.colorbar(colours, ax=axes, shrink=0.6, ticks=range(1, most + 1), label="segments needed")
        bar.outline.set_visible(False)


def draw_labels(figure: Figure, axes: Axes, tasks: Sequence[Mapping[str, Any]]) -> None:
    """Each task's letter beside its start, where no other label is. The figure is complete but for them."""
    figure.draw_without_rendering()  # only now it is known what lies where
    points = 72 / figure.dpi
    starts: dict[tuple[float, float], list[str]] = {}
    for letter, task in zip(letters(len(tasks)), tasks, strict=True):
        starts.setdefault(place(task["start"]), []).append(letter)
    words = [" ".join(here) for here in starts.values()]
    anchors = axes.transData.transform(np.array(list(starts))) * points
    sizes = [(0.75 * LABEL * len(word), 1.2 * LABEL) for word in words]
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": LABEL, "fontweight": "bold", "zorder": 8}
    look |= {"path_effects": [patheffects.withStroke(linewidth=2.5, foreground="white")]}
    for word, center, offset in zip(words, starts, offsets(anchors, sizes), strict=True):
        axes.annotate(word, center, offset, textcoords="offset points", **look)


def offsets(anchors: np.ndarray, sizes: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Where to put labels so that none lies on another: from each anchor [labels, 2] to the middle of its label.

    All lengths are in points. Sizes are the width and the height of each label.
    """
    placed: list[tuple[np.ndarray, np.ndarray]] = []
    found = []
    for anchor, size in zip(anchors, np.array(sizes), strict=True):
        for step in range(200):  # around the anchor, farther and farther out
            angle = np.pi / 4 * (1 + step)
            turn = np.round([np.cos(angle), np.sin(angle)], 3)
            offset = (1 + step // 8) * 0.75 * LABEL * turn + np.sign(turn) * size / 2 * [1, 0]
            middle = anchor + offset
            if all((np.abs(middle - other) >= (size + its) / 2).any() for other, its in placed):
                break
        placed.append((middle, size))
        found.append((float(offset[0]), float(offset[1])))
    return found


def add_legend(figure: Figure, certificate: Mapping[str, Any], leaks: bool) -> None:
    """What each mark of the picture stands for."""
    handles: list[Any] = [Patch(facecolor="#8a8a8a", label="visited, darker by more episodes")]
    handles.append(Patch(label="start", **START_LOOK))
    if any("goal" in task for task in certificate["tasks"]):
        handles.append(Patch(label="goal", **GOAL_LOOK))
        handles.append(Line2D([], [], color="#31688e", linewidth=2, label="task, dotted where no chain exists"))
    if leaks:
        handles.append(Line2D([], [], color=FAILED, linewidth=2, label="an episode between ends that should be unseen"))
    if certificate["drawing"] is not None:
        handles.append(Patch(facecolor=WALL, label="wall"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
