"""Worlds from above: what stands in the way, where the data lie, where tasks start and where their goals are.

A *drawing* is what certificate.json holds of a world, None where it holds none:
`{"rectangles": [[x, y, width, height], ...], "extent": [x_low, x_high, y_low, y_high]}`. (x, y) is the lower left
corner of a rectangle. The extent is the part of the world that a picture shows.

A *region* is `{"center": [x, y, ...], "half": half of the box's side, "radius": ...}`. A *task* is a mapping with a
region `start` and, if it has one, a region `goal`, as in summary.json. A task without either is not drawn.
"""

import itertools
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import FancyBboxPatch, Rectangle

POINTS = 20_000  # of the data, drawn in a panel
PICTURE = 280  # points: a picture is about this wide, or wider
SOLVED, FAILED, UNKNOWN, GOAL, WALL = "#0b7a33", "#c4161c", "#9a9a9a", "#ffd21f", "#c3c6cc"
# tab10 for the contexts, without its green and red, which mean solved and failed here, and its grey
CONTEXTS = [colormaps["tab10"](i) for i in (0, 1, 4, 9, 6, 5, 8)]


def clear_frame(axes: Axes) -> None:
    """Remove ticks and spines. One unit is as long in x as in y."""
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)


def draw_rectangles(axes: Axes, drawing: Mapping[str, Any] | None) -> None:
    """Draw the rectangles in grey and show the drawing's extent. Without a drawing nothing happens."""
    if drawing is None:
        return
    patches = [Rectangle((x, y), width, height) for x, y, width, height in drawing["rectangles"]]
    look: dict[str, Any] = {"facecolor": WALL, "linewidth": 0, "antialiased": False, "zorder": 0}
    axes.add_collection(PatchCollection(patches, **look))
    axes.set(xlim=drawing["extent"][:2], ylim=drawing["extent"][2:])


def draw_points(axes: Axes, points: np.ndarray, context: np.ndarray) -> None:
    """Draw at most POINTS of the points [P, 2] in the colour of their context [P]; grey where that is negative."""
    every = -(-len(points) // POINTS) or 1
    points, context = points[::every], context[::every]
    colours = np.array([*CONTEXTS, (0.6, 0.6, 0.6, 1.0)])[np.where(context < 0, len(CONTEXTS), context % len(CONTEXTS))]
    axes.scatter(points[:, 0], points[:, 1], s=3, c=colours, alpha=0.3, linewidths=0, zorder=1)


def draw_region(axes: Axes, region: Mapping[str, Any], **look: Any) -> None:
    """Draw a region to its size: a box that is rounded by its radius. The look is that of matplotlib's patch."""
    (x, y), half, radius = place(region), region["half"], region["radius"]
    style = f"round,pad={radius},rounding_size={radius}"
    axes.add_patch(FancyBboxPatch((x - half, y - half), 2 * half, 2 * half, boxstyle=style, **look))


def draw_tasks(axes: Axes, tasks: Sequence[Mapping[str, Any]]) -> None:
    """Draw a circle where each task starts and a star at its goal, both with its letter.

    Marks at one place stand side by side, up to three in a line. A mark is about as large as the box that starts are
    drawn from, as far as that is readable. Call it when the axes' limits are set.
    """
    places: dict[tuple[float, float], list[tuple[str, str]]] = {}
    for letter, task in zip(letters(len(tasks)), tasks, strict=True):
        for end in ("start", "goal"):
            if region := task.get(end):
                places.setdefault(place(region), []).append((end, letter))
    left, right = axes.get_xlim()
    side = widest(tasks)
    size = min(18.0, max(10.0, side / (right - left) * PICTURE))  # points
    room = 2 * side or 3 * size / PICTURE * (right - left)  # around a place, for its marks
    looks = {"start": ("o", size, "white"), "goal": ("*", 1.7 * size, GOAL)}
    words: dict[str, Any] = {"fontsize": 0.55 * size, "fontweight": "bold", "ha": "center", "va": "center_baseline"}
    for middle, marks in places.items():
        lines = [marks[i : i + 3] for i in range(0, len(marks), 3)]
        below, beside = (min(0.46, 0.9 / len(part)) * room for part in (lines, lines[0]))
        for i, (end, letter) in enumerate(marks):
            x = middle[0] + beside * (i % 3 - (len(lines[i // 3]) - 1) / 2)
            y = middle[1] - below * (i // 3 - (len(lines) - 1) / 2)
            marker, markersize, colour = looks[end]
            axes.plot(x, y, marker, markersize=markersize, color=colour, markeredgecolor="black", zorder=7)
            axes.text(x, y, letter, zorder=8, **words)


def place(region: Mapping[str, Any]) -> tuple[float, float]:
    """Where a region's centre is drawn: its first two numbers, 0 for a second one that it has not."""
    center = [*region["center"], 0.0]
    return center[0], center[1]


def widest(tasks: Sequence[Mapping[str, Any]]) -> float:
    """The longest side of the boxes that starts are drawn from, 0 where they are points or not known."""
    return max((2 * task["start"]["half"] for task in tasks if task.get("start")), default=0.0)


def extent_of(
    drawing: Mapping[str, Any] | None, points: np.ndarray, margin: float = 0.04
) -> tuple[float, float, float, float]:
    """What a picture shows, (x_low, x_high, y_low, y_high): the drawing's extent, else the points [P, 2] and a margin.

    The margin is a share of the longer side.
    """
    if drawing is not None:
        return tuple(drawing["extent"])
    if not len(points):
        return 0.0, 1.0, 0.0, 1.0
    (left, low), (right, high) = points.min(0).tolist(), points.max(0).tolist()
    around = margin * max(right - left, high - low, 1e-3)
    return left - around, right + around, low - around, high + around


def letters(count: int) -> list[str]:
    """A to Z, then AA, AB and so on: names of tasks in pictures and in the tables beside them."""
    names = (
        "".join(word) for length in itertools.count(1) for word in itertools.product(ascii_uppercase, repeat=length)
    )
    return list(itertools.islice(names, count))
