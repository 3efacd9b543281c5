"""Line charts as SVG. The style of the page that they stand in says what .rule or .c3 look like."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape
from matplotlib.ticker import MaxNLocator

from stitchrl.report.statistics import Estimate

WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 34, 12, 10, 36  # around the axes


@dataclass(frozen=True)
class Series:
    look: str  # classes of the page's style: a colour for the agent, dashes for the goals
    label: str
    points: list[tuple[float, Estimate]]


def line_chart(
    title: str,
    x_label: str,
    series: Sequence[Series],
    dodge: float = 0.0,  # by how much of x one series stands beside the last, so that they do not hide each other
    span: tuple[float, float] | None = (0.0, 1.0),  # what y must have room for; None: for zero and all values
    diagonal: bool = False,  # whether a line shows where y equals x
    digits: int | None = 2,  # of numbers that the pointer shows, as `statistics.number` takes them
) -> Markup:
    """Draw series against x: means with Student's intervals, or with a thin line for each seed where there are none."""
    xs = [x for one in series for x, _ in one.points]
    left, right = (min(xs) - 0.5, max(xs) + 0.5) if dodge else (0.0, max(xs) * 1.02 or 1.0)
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(left, right)
    values = [0.0, *(xs if diagonal else []), *(y for one in series for _, of in one.points for y in of.present)]
    low, high = span or (min(values), max(values))
    levels = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(*(low, high) if low < high else (0.0, 1.0))
    bottom, top = float(levels[0]), float(levels[-1])

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (x - left) / (right - left), (min(max(y, bottom), top) - bottom) / (top - bottom)
        return LEFT + across * (WIDTH - LEFT - RIGHT), TOP + (1 - up) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escape(title)}</title>']
    if diagonal:
        parts.append(f'<path class="rule" d="{polyline([at(0, 0), at(min(right, top), min(right, top))])}"/>')
    for y in levels:
        level = at(left, y)[1]
        parts.append(f'<path class="rule" d="M{LEFT}.0 {level:.1f}H{WIDTH - RIGHT}.0"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{level + 4:.1f}" text-anchor="end">{_short(y)}</text>')
    for x in ticks:
        if left <= x <= right and x == round(x):
            parts.append(f'<text x="{at(x, 0)[0]:.1f}" y="{HEIGHT - 21}" text-anchor="middle">{_short(x)}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH) / 2:.1f}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x_label)}</text>')
    for i, one in enumerate(series):
        aside = dodge * (i - (len(series) - 1) / 2)
        parts.append(f'<g class="{one.look}">{_series(one, aside, at, digits)}</g>')
    return Markup("".join([*parts, "</svg>"]))


def _series(one: Series, aside: float, at: Callable[[float, float], tuple[float, float]], digits: int | None) -> str:
    known = [(x + aside, value, mean) for x, value in one.points if (mean := value.mean) is not None]
    parts = []
    ends = [(x, mean - half, mean + half) for x, value, mean in known if (half := value.half_width) is not None]
    if known and len(ends) == len(known):
        low, high = [at(x, y) for x, y, _ in ends], [at(x, y) for x, _, y in ends]
        parts.append(f'<path class="band" d="{polyline([*high, *reversed(low)])}Z"/>')
        if aside or len(known) == 1:
            parts += [f'<path d="{polyline(pair)}"/>' for pair in zip(high, low, strict=True)]
    else:
        for i in range(max((len(value.values) for _, value, _ in known), default=0)):
            track = [at(x, y) for x, value, _ in known if (y := value.values[i]) is not None]
            parts.append(f'<path class="seed" d="{polyline(track)}"/>')
            parts += [f'<circle class="seed" cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in track]
    means = [at(x, mean) for x, _, mean in known]
    parts.append(f'<path class="mean" d="{polyline(means)}"/>')
    for (x, y), (_, value, _) in zip(means, known, strict=True):
        words = escape(f"{one.label}: {value.text(digits)}")
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{words}</title></circle>')
    return "".join(parts)


def polyline(points: Sequence[Sequence[float]]) -> str:
    """A path's `d` through points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""


def _short(x: float) -> str:
    size = abs(x)
    return f"{x / 1e6:g}M" if size >= 1e6 else f"{x / 1e3:g}k" if size >= 1e3 else f"{x:.5g}"
