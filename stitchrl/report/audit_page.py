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
from stitchrl.report.drawing import FAILED, GOAL, WALL, draw_rectangles, draw_region, letters

SQUARES = 120  # along the longer side of the picture
START_LOOK: dict[str, Any] = {"facecolor": "#ffffffa0", "edgecolor": "black"}
GOAL_LOOK: dict[str, Any] = {"facecolor": f"{GOAL}60", "edgecolor": "black"}
LABEL = 11.0  # points
TEMPLATE = Path(__file__).with_name("audit_page.html")


class Said(NamedTuple):
    """What the audit says, as the command prints it.

    Attributes:
        verdict: Sentences that answer the question.
        caveats: Sentences that limit the verdict.
        headings, rows: The table of tasks.
        meanings: What the headings mean.
        details: The survey in sentences.
    """

    verdict: Sequence[str]
    caveats: Sequence[str]
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    meanings: str
    details: Sequence[str]


def write_page(
    path: Path,
    certificate: Mapping[str, Any],
    said: Said,
    points: np.ndarray,
    lengths: np.ndarray,
    parts: Sequence[slice],
) -> None:
    """Write the page of an audit.

    Args:
        certificate: As the audit prints it as JSON.
        said: The audit in words.
        points: [N, D] achieved goals, episodes end to end.
        lengths: [episodes] transitions in each.
        parts: Rows of stretches that join what should be unseen.
    """
    shown = plane(points)
    page = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    text = page.render(
        certificate=certificate,
        said=said,
        good=[task["status"] == task["expect"] for task in certificate["tasks"]],
        episodes=f"{len(lengths):,}",
        transitions=f"{lengths.sum():,}",
        dimensions=points.shape[1],
        stretches=len(parts),
        letters=letters(len(certificate["tasks"])),
        picture=base64.b64encode(picture(certificate, shown, lengths, [shown[rows] for rows in parts])).decode(),
    )
    write(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def plane(points: np.ndarray) -> np.ndarray:
    """The first two numbers [N, 2] of achieved goals [N, D], zero for one that is not there."""
    return points[:, :2] if points.shape[1] > 1 else np.concatenate([points, np.zeros_like(points)], 1)


def picture(
    certificate: Mapping[str, Any], points: np.ndarray, lengths: np.ndarray, parts: Sequence[np.ndarray]
) -> bytes:
    """A PNG of data [N, 2] and tasks, with stretches [T + 1, 2] of episodes in red."""
    low, high = extent_of(certificate, points)
    width, height = high - low
    scale = min(8 / width, 8 / height)
    figure = Figure(figsize=(scale * width + 2.0, max(2.0, scale * height) + 1.4), layout="constrained")
    figure.set_facecolor("white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_aspect("equal")
    draw_rectangles(axes, certificate["drawing"])
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    name_axes(axes, certificate)
    draw_visits(axes, points, lengths, max(width, height) / SQUARES)
    for way in parts:
        axes.plot(*way.T, color=FAILED, linewidth=1.8, zorder=4)
    draw_tasks(figure, axes, certificate["tasks"])
    add_legend(figure, certificate, bool(parts))
    draw_labels(figure, axes, certificate["tasks"])
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png")
    return stream.getvalue()


def extent_of(certificate: Mapping[str, Any], points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lower left and the upper right corner of what is shown: the drawing's, else all of data and tasks."""
    if certificate["drawing"] is not None:
        left, right, below, above = certificate["drawing"]["extent"]
        return np.array([left, below]), np.array([right, above])
    low, high = points.min(0).astype(np.float64), points.max(0).astype(np.float64)
    for region in regions(certificate["tasks"]):
        reach, center = region["half"] + region["radius"], np.array(region["center"])
        low, high = np.minimum(low, center - reach), np.maximum(high, center + reach)
    margin = 0.06 * max(*(high - low), 1e-3)
    return low - margin, high + margin


def regions(tasks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The different starts and goals of tasks, in the plane that is shown."""
    shown = [in_plane(task[end]) for task in tasks for end in ("start", "goal") if end in task]
    return [region for i, region in enumerate(shown) if region not in shown[:i]]


def in_plane(region: Mapping[str, Any]) -> dict[str, Any]:
    """A region where it is drawn."""
    return {**region, "center": [*region["center"], 0.0][:2]}


def name_axes(axes: Axes, certificate: Mapping[str, Any]) -> None:
    """Numbers and the unit on the axes."""
    dimensions = len(certificate["tasks"][0]["start"]["center"])
    unit = f" ({certificate['unit']})" if certificate["unit"] else ""
    axes.set_xlabel(f"achieved goal, number 1{unit}")
    if dimensions > 1:
        axes.set_ylabel(f"achieved goal, number 2{unit}")
    else:
        axes.set_yticks([])


def draw_visits(axes: Axes, points: np.ndarray, lengths: np.ndarray, side: float) -> None:
    """Squares in the grey of the number of episodes that visit them."""
    low = points.min(0)
    square = ((points - low) / side).astype(np.int64)
    extent = square.max(0) + 1
    number = np.repeat(np.arange(len(lengths)), lengths + 1)
    once = np.unique((number * extent[0] + square[:, 0]) * extent[1] + square[:, 1])
    visitors = np.bincount(once % (extent[0] * extent[1]), minlength=extent[0] * extent[1]).reshape(extent)
    greys = colormaps["Greys"](np.linspace(0.15, 0.75, 256))
    axes.imshow(
        np.ma.masked_equal(visitors.T, 0),
        cmap=ListedColormap(greys),
        norm=LogNorm(1, max(2, visitors.max())),
        extent=(low[0], low[0] + extent[0] * side, low[1], low[1] + extent[1] * side),
        origin="lower",
        interpolation="nearest",
        zorder=1,
    )


def draw_tasks(figure: Figure, axes: Axes, tasks: Sequence[Mapping[str, Any]]) -> None:
    """Regions to size, and arrows in the colour of the segments needed; dotted where no chain exists."""
    most = max([2, *(task["segments_needed"] or 0 for task in tasks)])
    colours = ScalarMappable(Normalize(0.5, most + 0.5), colormaps["viridis"].resampled(most))
    for end, look in (("goal", GOAL_LOOK), ("start", START_LOOK)):
        for region in regions([{end: task[end]} for task in tasks if end in task]):
            draw_region(axes, region, **look, zorder=3)
    for i, task in enumerate(tasks):
        if "goal" in task:
            start, goal, count = (
                in_plane(task["start"])["center"],
                in_plane(task["goal"])["center"],
                task["segments_needed"],
            )
            arrow: dict[str, Any] = {
                "arrowstyle": "-|>",
                "color": "black" if count is None else colours.to_rgba(count),
                "lw": 2,
                "ls": ":" if count is None else "-",
                "connectionstyle": f"arc3,rad={0.15 + 0.05 * (i % 3)}",
            }
            axes.annotate("", goal, start, arrowprops=arrow, zorder=6)
    if any("goal" in task for task in tasks):
        bar = figure.colorbar(colours, ax=axes, shrink=0.6, ticks=range(1, most + 1), label="segments needed")
        bar.outline.set_visible(False)


def draw_labels(figure: Figure, axes: Axes, tasks: Sequence[Mapping[str, Any]]) -> None:
    """Each task's letter beside its start, where no other label is. The figure is complete but for them."""
    figure.draw_without_rendering()  # only now it is known what lies where
    points = 72 / figure.dpi
    starts: dict[tuple[float, float], list[str]] = {}
    for letter, task in zip(letters(len(tasks)), tasks, strict=True):
        x, y = in_plane(task["start"])["center"]
        starts.setdefault((x, y), []).append(letter)
    words = [" ".join(here) for here in starts.values()]
    anchors = axes.transData.transform(np.array(list(starts))) * points
    sizes = [(0.75 * LABEL * len(word), 1.2 * LABEL) for word in words]
    halo = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    for word, center, offset in zip(words, starts, offsets(anchors, sizes), strict=True):
        axes.annotate(
            word,
            center,
            offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=LABEL,
            fontweight="bold",
            path_effects=halo,
            zorder=8,
        )


def offsets(anchors: np.ndarray, sizes: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Where to put labels so that none lies on another: from each anchor [labels, 2] to the middle of its label.

    Args:
        anchors: In points, like all lengths here.
        sizes: Width and height of each label.
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
    goals = any("goal" in task for task in certificate["tasks"])
    handles: list[Any] = [
        Patch(facecolor="#8a8a8a", label="visited, darker by more episodes"),
        Patch(label="start", **START_LOOK),
    ]
    if goals:
        handles.append(Patch(label="goal", **GOAL_LOOK))
        handles.append(Line2D([], [], color="#31688e", linewidth=2, label="task, dotted where no chain exists"))
    if leaks:
        handles.append(Line2D([], [], color=FAILED, linewidth=2, label="an episode between ends that should be unseen"))
    if certificate["drawing"] is not None:
        handles.append(Patch(facecolor=WALL, label="wall"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
