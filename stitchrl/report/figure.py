"""One picture: worlds from above with the training data, the far tasks and what the trained policies did on them."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from stitchrl.report import drawing
from stitchrl.report.drawing import CONTEXTS, FAILED, GOAL, SOLVED, UNKNOWN, letters
from stitchrl.report.records import Trajectory, read_data
from stitchrl.report.rows import far_tasks, groups
from stitchrl.report.runs import Run, trajectories_of
from stitchrl.report.statistics import number

PANELS = 6
EPISODES = 8  # drawn for each task


def save_figure(runs: Sequence[Run], path: Path) -> None:
    """A PNG with a panel for the first seed of each of the first six groups of runs."""
    shown = [group.present[0] for group in groups(runs)][:PANELS]
    columns = {1: 1, 2: 2, 4: 2}.get(len(shown), 3)
    rows = -(-len(shown) // columns)
    layout = ConstrainedLayoutEngine(compress=True, hspace=0.06)
    figure = Figure(figsize=(4.6 * columns, 5.5 * rows + 0.4), layout=layout, facecolor="white")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, run in zip(panels[: len(shown)], shown, strict=True):
        draw_run(axes, run, far_tasks(run.dataset, runs))
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    add_legend(figure, entries_per_line=2 if columns == 1 else 5)
    figure.savefig(path, dpi=150, format="png", bbox_inches="tight", pad_inches=0.15)


def draw_run(axes: Axes, run: Run, far: Sequence[str]) -> None:
    """Draw the data and the episodes of one run. Of its tasks the far ones are drawn, or all where none is far."""
    tasks = [task for task in run.tasks if not far or task["name"] in far]
    drawing.clear_frame(axes)
    drawing.draw_rectangles(axes, run.drawing)
    data, trajectories = read_data(run.folder), trajectories_of(run)
    if data is not None:
        drawing.draw_points(axes, *data)
    for task in tasks:
        of_task = [one for one in trajectories or () if one.task == task["name"]]
        draw_episodes(axes, of_task[:EPISODES])
    absent = [name for name, value in (("data.npz", data), ("trajectories.npz", trajectories)) if value is None]
    if absent:
        axes.text(0.5, 0.01, f"no {' or '.join(absent)}", transform=axes.transAxes, ha="center", va="bottom", zorder=9)
    drawing.draw_tasks(axes, tasks)
    draw_words(axes, run, tasks, bool(far))


def draw_episodes(axes: Axes, trajectories: Sequence[Trajectory]) -> None:
    """Draw episodes. A cross marks where a failed one ended."""
    halo = [patheffects.withStroke(linewidth=2.2, foreground="white", alpha=0.6)]
    for points, _, success in trajectories:
        colour = SOLVED if success else FAILED
        zorder = 3 if success else 4  # failures are drawn last: they are often short
        axes.plot(*points.T, color=colour, linewidth=1.0, alpha=0.85, zorder=zorder, path_effects=halo)
        if not success:
            axes.plot(*points[-1], marker="x", color=colour, markersize=5, markeredgewidth=1.6, zorder=5)


def draw_words(axes: Axes, run: Run, tasks: Sequence[dict[str, Any]], far: bool) -> None:
    """Write who was trained on what above the picture, and every task's success below it."""
    success = run.success([task["name"] for task in tasks])
    colour = UNKNOWN if success is None else SOLVED if success >= 0.5 else FAILED
    who = wrap(f"{run.agent}, goals={run.goals}, seed {run.seed}", 56, break_on_hyphens=False)
    below = "\n" * (len(who) + 1)
    axes.set_title(f"{run.dataset}{below}", fontsize=11, fontweight="bold", linespacing=1.6)
    above: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "center"}
    axes.annotate("\n".join(who), (0.5, 1), (0, 25), fontsize=10, linespacing=1.6, **above)
    words = f"{'far' if far else 'all'} tasks: success {number(success)}"
    axes.annotate(words, (0.5, 1), (0, 7), fontsize=13, color=colour, **above)
    marked = zip(letters(len(tasks)), tasks, strict=True)
    lines = [f"{letter}  {task['name']}  {number(task['success'])}" for letter, task in marked]
    pairs = ["      ".join(lines[i : i + 2]) for i in range(0, len(lines), 2)]
    axes.set_xlabel("\n".join(pairs), fontsize=8, linespacing=1.4)


def add_legend(figure: Figure, entries_per_line: int) -> None:
    """Say below all panels what lines, marks and dots mean."""
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
