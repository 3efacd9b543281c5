"""One picture: mazes from above with the training data, the far tasks and what the trained policies did on them."""

import re
from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib import colormaps, patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from stitchrl.report.rows import far_tasks, groups
from stitchrl.report.runs import Run, read_data, read_trajectories
from stitchrl.report.statistics import number
from stitchrl.worlds.maze.maps import MAPS, Cell, Maze

PANELS = 6
EPISODES = 8  # drawn for each task
POINTS = 20_000  # of the data, drawn in a panel
SCALES = {"pointmaze": 1.0, "antmaze": 4.0}  # metres in a cell
SOLVED, FAILED, UNKNOWN, GOAL = "#0b7a33", "#c4161c", "#9a9a9a", "#ffd21f"
# tab10 for the contexts, without its green and red, which mean solved and failed here, and its grey
CONTEXTS = [colormaps["tab10"](i) for i in (0, 1, 4, 9, 6, 5, 8)]


def save_figure(runs: Sequence[Run], path: Path) -> None:
    """A PNG with a panel for the first seed of each of the first six groups of runs."""
    shown = [group.present[0] for group in groups(runs) if group.present][:PANELS]
    columns = {1: 1, 2: 2, 4: 2}.get(len(shown), 3)
    rows = -(-len(shown) // columns)
    layout = ConstrainedLayoutEngine(compress=True, hspace=0.06)
    figure = Figure(figsize=(4.6 * columns, 5.5 * rows + 0.4), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, run in zip(panels[: len(shown)], shown, strict=True):
        draw_run(axes, run, far_tasks(run.dataset, runs))
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    add_legend(figure, entries_per_line=2 if columns == 1 else 5)
    figure.savefig(path, dpi=150, format="png", bbox_inches="tight", pad_inches=0.15)


def draw_run(axes: Axes, run: Run, far: Sequence[str]) -> None:
    tasks = [task["name"] for task in run.tasks if not far or task["name"] in far]
    maze = maze_of(run)
    clear_frame(axes)
    if maze:
        draw_walls(axes, maze)
    absent = [
        file
        for file, drawn in (("data.npz", draw_data(axes, run)), ("trajectories.npz", draw_episodes(axes, run, tasks)))
        if not drawn
    ]
    if absent:
        axes.text(0.5, 0.01, f"no {' or '.join(absent)}", transform=axes.transAxes, ha="center", va="bottom", zorder=9)
    if maze:
        draw_tasks(axes, maze, tasks)
    draw_words(axes, run, tasks, bool(far))


def maze_of(run: Run) -> Maze | None:
    """None for a dataset that is not one of ours."""
    name = run.name
    return Maze(name.maze, SCALES[name.world]) if name and name.maze in MAPS and name.world in SCALES else None


def ends_of(task: str) -> tuple[Cell, Cell] | None:
    """The cells of a task's start and goal, None where its name does not tell."""
    match = re.fullmatch(r"r(\d+)c(\d+)-to-r(\d+)c(\d+)", task)
    if not match:
        return None
    row, column, goal_row, goal_column = map(int, match.groups())
    return (row, column), (goal_row, goal_column)


def letters(count: int) -> list[str]:
    """A to Z, then AA, AB and so on, for tasks in pictures and in the tables beside them."""
    found = list(ascii_uppercase)
    for word in found:
        if len(found) >= count:
            break
        found += [word + letter for letter in ascii_uppercase]
    return found[:count]


def clear_frame(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal")
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_walls(axes: Axes, maze: Maze) -> None:
    rows, columns = maze.free.shape
    x, y = maze.scale * columns / 2, maze.scale * rows / 2
    colours = ListedColormap(["#c3c6cc", "#ffffff"])
    axes.imshow(maze.free, cmap=colours, vmin=0, vmax=1, extent=(-x, x, -y, y), interpolation="nearest", zorder=0)
    border = 0.7 * maze.scale  # of the outer walls, which say nothing
    axes.set_xlim(-x + border, x - border)
    axes.set_ylim(-y + border, y - border)


def draw_data(axes: Axes, run: Run) -> bool:
    """Whether there was something to draw."""
    data = read_data(run)
    if data is None:
        return False
    draw_points(axes, *data)
    return True


def draw_points(axes: Axes, xy: np.ndarray, context: np.ndarray) -> None:
    """At most POINTS of the points [P, 2], each in the colour of its context [P]; grey where that is negative."""
    every = -(-len(xy) // POINTS) or 1
    xy, context = xy[::every], context[::every]
    colours = np.array([*CONTEXTS, (0.6, 0.6, 0.6, 1.0)])[np.where(context < 0, len(CONTEXTS), context % len(CONTEXTS))]
    axes.scatter(xy[:, 0], xy[:, 1], s=3, c=colours, alpha=0.3, linewidths=0, zorder=1)


def draw_episodes(axes: Axes, run: Run, tasks: Sequence[str]) -> bool:
    """Whether there was something to draw."""
    trajectories = read_trajectories(run)
    if trajectories is None:
        return False
    for name in tasks:
        for xy, _, success in [one for one in trajectories if one.task == name][:EPISODES]:
            colour = SOLVED if success else FAILED
            halo = [patheffects.withStroke(linewidth=2.2, foreground="white", alpha=0.6)]
            zorder = 3 if success else 4  # failures are drawn last: they are often short
            axes.plot(xy[:, 0], xy[:, 1], color=colour, linewidth=1.0, alpha=0.85, zorder=zorder, path_effects=halo)
            if not success:
                axes.plot(*xy[-1], marker="x", color=colour, markersize=5, markeredgewidth=1.6, zorder=5)
    return True


def draw_tasks(axes: Axes, maze: Maze, tasks: Sequence[str]) -> None:
    """A circle where a task starts and a star at its goal, both with its letter; up to three side by side in a cell."""
    in_cell: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for letter, name in zip(letters(len(tasks)), tasks, strict=True):
        if ends := ends_of(name):
            for cell, marker in zip(ends, "o*", strict=True):
                in_cell.setdefault(cell, []).append((marker, letter))
    size = min(18.0, 160 / maze.free.shape[1])  # points: about half of a cell's width in the picture
    for cell, marks in in_cell.items():
        lines = [marks[i : i + 3] for i in range(0, len(marks), 3)]
        below, beside = (min(0.46, 0.9 / len(part)) * maze.scale for part in (lines, lines[0]))
        for i, (marker, letter) in enumerate(marks):
            x, y = maze.to_xy(cell)
            x += beside * (i % 3 - (len(lines[i // 3]) - 1) / 2)
            y -= below * (i // 3 - (len(lines) - 1) / 2)
            look: dict[str, Any] = {"markeredgecolor": "black", "zorder": 7}
            if marker == "o":
                axes.plot(x, y, "o", markersize=size, color="white", **look)
            else:
                axes.plot(x, y, "*", markersize=1.7 * size, color=GOAL, **look)
            words: dict[str, Any] = {"fontsize": 0.55 * size, "fontweight": "bold", "ha": "center"}
            axes.text(x, y, letter, va="center_baseline", zorder=8, **words)


def draw_words(axes: Axes, run: Run, tasks: Sequence[str], far: bool) -> None:
    success = run.success(tasks)
    colour = UNKNOWN if success is None else SOLVED if success >= 0.5 else FAILED
    who = wrap(f"{run.agent}, goals={run.goals}, seed {run.seed}", 56, break_on_hyphens=False)
    below = "\n" * (len(who) + 1)
    axes.set_title(f"{run.dataset}{below}", fontsize=11, fontweight="bold", linespacing=1.6)
    above: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "center"}
    axes.annotate("\n".join(who), (0.5, 1), (0, 25), fontsize=10, linespacing=1.6, **above)
    words = f"{'far' if far else 'all'} tasks: success {number(success)}"
    axes.annotate(words, (0.5, 1), (0, 7), fontsize=13, color=colour, **above)
    by_name = {task["name"]: task["success"] for task in run.tasks}
    marked = zip(letters(len(tasks)), tasks, strict=True)
    lines = [f"{letter}  {name}  {number(by_name.get(name))}" for letter, name in marked]
    pairs = ["      ".join(lines[i : i + 2]) for i in range(0, len(lines), 2)]
    axes.set_xlabel("\n".join(pairs), fontsize=8, linespacing=1.4)


def add_legend(figure: Figure, entries_per_line: int) -> None:
    line: dict[str, Any] = {"linewidth": 2.0}
    mark: dict[str, Any] = {"linestyle": "none", "markeredgecolor": "black"}
    dots: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 5, "alpha": 0.6}
    handles = [
        Line2D([], [], color=SOLVED, label="solved", **line),
        Line2D([], [], color=FAILED, marker="x", markeredgewidth=1.6, label="failed, and where it ended", **line),
        Line2D([], [], marker="o", markersize=9, color="white", label="start", **mark),
        Line2D([], [], marker="*", markersize=13, color=GOAL, label="goal", **mark),
        Line2D([], [], color=CONTEXTS[0], label="training data, a colour for each context", **dots),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=entries_per_line, frameon=False, fontsize=9)
