"""Evaluated episodes from above as SVG, in the colours of the page that they stand in."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

from stitchrl.report.charts import polyline
from stitchrl.report.drawing import extent_of, place, widest
from stitchrl.report.figure import EPISODES
from stitchrl.report.records import Trajectory
from stitchrl.report.runs import Run

WIDTH = 240  # of a picture, in its own units
POINTS = 50  # of a trajectory, drawn
RING = 1 / 15  # of a picture's longer side: the radius in which ends of failed episodes are together


def rollouts(run: Run, names: Sequence[str], trajectories: Sequence[Trajectory]) -> tuple[Markup, str]:
    """Where the policy went on the named tasks, and a sentence on where most failed episodes ended.

    Good and bad episodes have their colours. A cross marks where a bad one ended, a ring where most of them did. Tasks
    start at S, and their goals are at G.
    """
    shown = [one for name in names for one in [t for t in trajectories if t.task == name][:EPISODES]]
    left, right, low, high = extent_of(run.drawing, np.concatenate([one.points for one in shown] or [np.zeros((0, 2))]))
    unit = WIDTH / (right - left)

    def at(points: np.ndarray) -> np.ndarray:
        return (points - (left, high)) * (unit, -unit)

    box = f"0 0 {WIDTH} {(high - low) * unit:.0f}"
    parts = [f'<svg class="world" viewBox="{box}" role="img"><title>Episodes of {escape(run.folder.name)}</title>']
    if run.drawing:
        walls = [(*at(np.array([x, y + h])), w * unit, h * unit) for x, y, w, h in run.drawing["rectangles"]]
        path = "".join(f"M{x:.1f} {y:.1f}h{w:.1f}v{h:.1f}h-{w:.1f}z" for x, y, w, h in walls)
        parts.append(f'<path class="wall" d="{path}"/>')
    for one in sorted(shown, key=lambda one: not one.success):  # failures on top: they are often short
        rows = np.linspace(0, len(one.points) - 1, min(POINTS, len(one.points))).round().astype(int)
        kind = "good" if one.success else "bad"
        parts.append(f'<path class="{kind}" d="{polyline(at(one.points[rows]).tolist())}"/>')
        if not one.success:
            x, y = at(one.points[-1])
            parts.append(f'<path class="stuck" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0-6l-6 6"/>')
    ends = np.array([one.points[-1] for one in trajectories if one.task in names and not one.success])
    radius = RING * max(right - left, high - low)
    center, count = gathered(ends, radius)
    said = ""
    if count > 1:
        x, y = at(center)
        parts.append(f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="{radius * unit:.1f}"/>')
        about = f"({center[0]:.3g}, {center[1]:.3g}){' ' * bool(run.unit)}{run.unit}"
        said = f"{count} of {len(ends)} failed episodes ended in the ring, about {about}."
    tasks = [task for task in run.tasks if task["name"] in names]
    radius = min(13.0, max(6.0, 0.4 * widest(tasks) * unit))
    places = {end: sorted({place(task[end]) for task in tasks if task.get(end)}) for end in ("start", "goal")}
    for end, side in (("start", -1), ("goal", 1)):
        for here in places[end]:
            x, y = at(np.array(here))
            x += side * 1.1 * radius * (here in places["start"] and here in places["goal"])  # beside each other
            parts.append(f'<circle class="{end}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>')
            look = f'class="mark" style="font-size: {1.4 * radius:.1f}px"'
            parts.append(f'<text {look} x="{x:.1f}" y="{y + radius / 2:.1f}">{end[0].upper()}</text>')
    return Markup("".join([*parts, "</svg>"])), said


def gathered(points: np.ndarray, radius: float) -> tuple[np.ndarray, int]:
    """The one of the points [P, 2] within whose radius most of them lie, and how many these are."""
    if not len(points):
        return np.zeros(2), 0
    counts = (np.linalg.norm(points[:, None] - points, axis=-1) <= radius).sum(1)
    return points[counts.argmax()], int(counts.max())
