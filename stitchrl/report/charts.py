"""Drawings as SVG, in the colours of the page that they stand in: the page's style says what .wall or .c3 look like."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from matplotlib.ticker import MaxNLocator

from stitchrl.report.figure import EPISODES, ends_of, maze_of
from stitchrl.report.runs import Run, Trajectory
from stitchrl.report.statistics import Estimate
from stitchrl.worlds.maze.maps import Maze

WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 34, 12, 10, 36  # around the axes
CELL = 40  # units along a maze's cell
POINTS = 50  # of a trajectory, drawn


@dataclass(frozen=True)
class Series:
    look: str  # classes of the page's style: a colour for the agent, dashes for the goals
    label: str
    points: list[tuple[float, Estimate]]


def line_chart(
    title: str, x_label: str, series: Sequence[Series], dodge: float = 0.0, most: float = 1.0, diagonal: bool = False
) -> Markup:
    """Success against x: the mean with Student's interval, or with a thin line for each seed where there is none.

    dodge: by how much of x one series stands beside the last, so that they do not hide each other. most: that y must
    have room for, where it is no share. diagonal: whether a line shows where y equals x.
    """
    xs = [x for one in series for x, _ in one.points]
    span = (min(xs) - 0.5, max(xs) + 0.5) if dodge else (0.0, max(xs) * 1.02 or 1.0)
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(*span)
    levels = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, most or 1.0)
    top = float(levels[-1])

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (x - span[0]) / (span[1] - span[0]), min(max(y, 0.0), top) / top
        return LEFT + across * (WIDTH - LEFT - RIGHT), TOP + (1 - up) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escape(title)}</title>']
    if diagonal:
        parts.append(f'<path class="rule" d="{_way([at(0, 0), at(min(span[1], top), min(span[1], top))])}"/>')
    for y in levels:
        (left, level), (right, _) = at(span[0], y), at(span[1], y)
        parts.append(f'<path class="rule" d="M{left:.1f} {level:.1f}H{right:.1f}"/>')
        parts.append(f'<text x="{left - 5:.1f}" y="{level + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in ticks:
        if span[0] <= x <= span[1] and x == round(x):
            parts.append(f'<text x="{at(x, 0)[0]:.1f}" y="{HEIGHT - 21}" text-anchor="middle">{_short(x)}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH) / 2:.1f}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x_label)}</text>')
    for i, one in enumerate(series):
        aside = dodge * (i - (len(series) - 1) / 2)
        parts.append(f'<g class="{one.look}">{_series(one, aside, at)}</g>')
    return Markup("".join([*parts, "</svg>"]))


def _series(one: Series, aside: float, at: Callable[[float, float], tuple[float, float]]) -> str:
    known = [(x + aside, value, mean) for x, value in one.points if (mean := value.mean) is not None]
    parts = []
    halves = [half for _, value, _ in known if (half := value.half_width) is not None]
    if known and len(halves) == len(known):
        high = [at(x, mean + half) for (x, _, mean), half in zip(known, halves, strict=True)]
        low = [at(x, mean - half) for (x, _, mean), half in zip(known, halves, strict=True)]
        parts.append(f'<path class="band" d="{_way([*high, *reversed(low)])}Z"/>')
        if aside or len(known) == 1:
            parts += [f'<path d="{_way(ends)}"/>' for ends in zip(high, low, strict=True)]
    else:
        for i in range(max((len(value.values) for _, value, _ in known), default=0)):
            track = [at(x, y) for x, value, _ in known if (y := value.values[i]) is not None]
            parts.append(f'<path class="seed" d="{_way(track)}"/>')
            parts += [f'<circle class="seed" cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in track]
    means = [at(x, mean) for x, _, mean in known]
    parts.append(f'<path class="mean" d="{_way(means)}"/>')
    for (x, y), (_, value, _) in zip(means, known, strict=True):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{escape(one.label)}: {value}</title></circle>')
    return "".join(parts)


def _way(points: Sequence[Sequence[float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""


def _short(x: float) -> str:
    return f"{x / 1e6:g}M" if x >= 1e6 else f"{x / 1e3:g}k" if x >= 1e3 else f"{x:g}"


def rollouts(run: Run, tasks: Sequence[str], trajectories: Sequence[Trajectory]) -> Markup:
    """The maze from above, and where the policy went: good and bad episodes, a cross where a bad one ended."""
    shown = [one for name in tasks for one in [t for t in trajectories if t.task == name][:EPISODES]]
    maze = maze_of(run)
    if maze:
        rows, columns = maze.free.shape
        low, unit = np.array([-columns, -rows]) / 2 * maze.scale, CELL / maze.scale
        size = CELL * np.array([columns, rows])
        border = round(0.7 * CELL)  # of the outer walls, which say nothing
    else:
        places = np.concatenate([one.xy for one in shown]) if shown else np.zeros((1, 2))
        low, extent = places.min(0), np.ptp(places, axis=0)
        unit, border = 320 / max(*extent, 1e-3), -10
        size = extent * unit
    box = f"{border} {border} {size[0] - 2 * border:.0f} {size[1] - 2 * border:.0f}"

    def at(xy: np.ndarray) -> np.ndarray:
        drawn = (xy - low) * unit
        return np.stack([drawn[..., 0], size[1] - drawn[..., 1]], -1)

    parts = [f'<svg class="maze" viewBox="{box}" role="img"><title>Episodes of {escape(run.folder.name)}</title>']
    if maze:
        walls = "".join(f"M{c * CELL} {r * CELL}h{CELL}v{CELL}h-{CELL}z" for r, c in np.argwhere(~maze.free))
        parts.append(f'<path class="wall" d="{walls}"/>')
    for solved in (True, False):  # failures on top: they are often short
        for one in shown:
            if one.success == solved:
                shown_rows = np.linspace(0, len(one.xy) - 1, min(POINTS, len(one.xy))).round().astype(int)
                way = at(one.xy[shown_rows]).tolist()
                parts.append(f'<path class="{"good" if solved else "bad"}" d="{_way(way)}"/>')
                if not solved:
                    x, y = at(one.xy[-1])
                    parts.append(f'<path class="stuck" d="M{x - 4:.0f} {y - 4:.0f}l8 8m0-8l-8 8"/>')
    if maze:
        ends = [pair for name in tasks if (pair := ends_of(name))]
        starts, goals = {start for start, _ in ends}, {goal for _, goal in ends}
        for cells, kind, side in ((starts, "start", -9), (goals, "goal", 9)):
            for cell in sorted(cells):
                x, y = at(maze.to_xy(cell))
                x += side * (cell in starts & goals)  # beside each other
                parts.append(f'<circle class="{kind}" cx="{x:.0f}" cy="{y:.0f}" r="8"/>')
                parts.append(f'<text class="mark" x="{x:.0f}" y="{y + 4:.0f}">{kind[0].upper()}</text>')
    return Markup("".join([*parts, "</svg>"]))


def stuck_in(maze: Maze | None, tasks: Sequence[str], trajectories: Sequence[Trajectory]) -> str:
    """Where most episodes that fail end."""
    failed = [one for one in trajectories if one.task in tasks and not one.success]
    if not failed or maze is None:
        return ""
    cells = maze.nearest_cell(np.array([one.xy[-1] for one in failed]))
    place, count = Counter(cells.tolist()).most_common(1)[0]
    row, column = maze.cells[place]
    return f"{count} of {len(failed)} failed episodes ended in r{row}c{column}."
