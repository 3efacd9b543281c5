"""An audit as one HTML page that needs nothing beside it: verdict, tasks, and a picture of data and tasks."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure

from stitchrl.files import write
from stitchrl.report.figure import FAILED, clear_frame, draw_walls, letters
from stitchrl.types import Task
from stitchrl.worlds.maze.maps import Maze

SQUARES = 120  # along the longer side of the picture
TEMPLATE = Path(__file__).with_name("audit_page.html")


def write_page(
    path: Path,
    audit: dict[str, Any],
    sentences: Sequence[str],
    tasks: Sequence[Task],
    maze: Maze | None,
    xy: np.ndarray,
    lengths: np.ndarray,
) -> None:
    """audit: certificate and survey as the audit prints them as JSON; sentences: what it says of seams.

    xy: [N, 2] positions, episodes end to end. lengths: [episodes] transitions in each. maze: None where walls are
    unknown.
    """
    unseen = {task.name for task in tasks if task.expect == "unseen"}
    leaks = sorted({number for task in audit["tasks"] if task["name"] in unseen for number in task["episodes"]})
    page = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    text = page.render(
        audit=audit,
        sentences=sentences,
        episodes=f"{len(lengths):,}",
        transitions=f"{lengths.sum():,}",
        leaks=leaks,
        letters=letters(len(tasks)),
        picture=base64.b64encode(picture(audit, tasks, maze, xy, lengths, leaks)).decode(),
    )
    write(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def picture(
    audit: dict[str, Any],
    tasks: Sequence[Task],
    maze: Maze | None,
    xy: np.ndarray,
    lengths: np.ndarray,
    leaks: Sequence[int],
) -> bytes:
    """A PNG of where episodes go, of those that join what should be unseen, and of the tasks."""
    ends = np.array([end.center for task in tasks for end in (task.start, task.goal)])
    low, high = np.minimum(xy.min(0), ends.min(0)), np.maximum(xy.max(0), ends.max(0))
    margin = 0.06 * max(*(high - low), 1e-3)
    low, high = low - margin, high + margin
    width, height = high - low
    scale = min(8 / width, 8 / height)
    figure = Figure(figsize=(scale * width + 1.2, max(2.0, scale * height)), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    clear_frame(axes)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    if maze:
        draw_walls(axes, maze)
    draw_visits(axes, xy, lengths, max(width, height) / SQUARES)
    last = (lengths + 1).cumsum()
    for number in leaks:
        way = xy[last[number] - lengths[number] - 1 : last[number]]
        axes.plot(*way.T, color=FAILED, linewidth=1.2, zorder=4)
    draw_arrows(figure, axes, audit, tasks)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png")
    return stream.getvalue()


def draw_visits(axes: Axes, xy: np.ndarray, lengths: np.ndarray, side: float) -> None:
    """Squares in the grey of the number of episodes that visit them."""
    low = xy.min(0)
    square = ((xy - low) / side).astype(np.int64)
    extent = square.max(0) + 1
    number = np.repeat(np.arange(len(lengths)), lengths + 1)
    once = np.unique((number * extent[0] + square[:, 0]) * extent[1] + square[:, 1])
    visitors = np.bincount(once % (extent[0] * extent[1]), minlength=extent[0] * extent[1]).reshape(extent)
    shown = np.ma.masked_equal(visitors.T, 0)
    edges = (low[0], low[0] + extent[0] * side, low[1], low[1] + extent[1] * side)
    greys = colormaps["Greys"](np.linspace(0.15, 0.75, 256))
    axes.imshow(
        shown,
        cmap=ListedColormap(greys),
        norm=LogNorm(1, max(2, visitors.max())),
        extent=edges,
        origin="lower",
        interpolation="nearest",
        zorder=1,
    )


def draw_arrows(figure: Figure, axes: Axes, audit: dict[str, Any], tasks: Sequence[Task]) -> None:
    """From start to goal, in the colour of the segments needed; dotted where no chain exists."""
    needed = {task["name"]: task["segments_needed"] for task in audit["tasks"]}
    most = max([2, *(count for count in needed.values() if count)])
    colours = ScalarMappable(Normalize(0.5, most + 0.5), colormaps["viridis"].resampled(most))
    starts: dict[tuple[float, ...], list[str]] = {}
    for i, (letter, task) in enumerate(zip(letters(len(tasks)), tasks, strict=True)):
        starts.setdefault(task.start.center, []).append(letter)
        count = needed[task.name]
        colour = "black" if count is None else colours.to_rgba(count)
        bend = f"arc3,rad={0.15 + 0.05 * (i % 3)}"
        look = {"arrowstyle": "-|>", "color": colour, "lw": 2, "ls": ":" if count is None else "-"}
        axes.annotate("", task.goal.center, task.start.center, arrowprops={**look, "connectionstyle": bend}, zorder=6)
        axes.plot(*task.start.center, "o", color=colour, markeredgecolor="black", zorder=7)
    for center, here in starts.items():
        axes.annotate(
            ("" if max(map(len, here)) == 1 else " ").join(here),
            center,
            (5, 5),
            textcoords="offset points",
            fontweight="bold",
            zorder=8,
        )
    bar = figure.colorbar(colours, ax=axes, shrink=0.6, ticks=range(1, most + 1), label="segments needed")
    bar.outline.set_visible(False)
