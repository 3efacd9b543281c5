"""What a card says of a dataset that asks for returns, where it differs from one that asks for goals."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from stitchrl.report.statistics import number
from stitchrl.worlds.maze.maps import Maze

GOLD = "#e0a800"


def return_purpose(manifest: dict[str, Any], certificate: dict[str, Any]) -> str:
    """One paragraph: what the dataset tests."""
    name, spec = manifest["name"], manifest["spec"]
    needed = [task["segments_needed"] for task in certificate["tasks"] if task["expect"] == "unseen"]
    chained = f": at least {min(needed)} episodes must be chained" if needed and None not in needed else ""
    if spec["cut"] is not None:
        joined = name.replace("returnscut", "returnsjoined", 1)
        return (
            f"The transitions of `{joined}`, the same to the last one, in pieces of at most {spec['cut']} steps. No "
            f"piece that holds a state of an unseen task's start collects its target return{chained}."
        )
    if spec["split"] == "returnsjoined":
        cut = name.replace("returnsjoined", "returnscut", 1)
        return (
            "The control: training episodes do collect every target return from where it is asked for. Its cut twin, "
            f"`{cut}`, holds the same transitions in pieces that do not: success here minus success there is the "
            "stitching gap of returns."
        )
    if spec.get("source") is not None:
        return f"The episodes of `{spec['source']}`, with rewards and targets of our own{chained}."
    dev = "The maze on which settings are chosen. " if spec["maze"] == "dev" else ""
    return (
        f"{dev}Some episodes lead from a start past where little is earned, and end; others begin on their way and "
        "lead on to where much is. No training episode collects an unseen task's target return from its start, or "
        f"comes near it, though many collect it from elsewhere{chained}. The seen tasks, whose returns training "
        "episodes collect from the same start, are evaluated beside them."
    )


def reward_words(spec: dict[str, Any], maze: Maze) -> str:
    """The reward function."""
    cells = [
        f"{reward['rate']:g} in the square {maze.scale:g} m wide about ({x:g}, {y:g})"
        for reward in spec["rewards"]
        for x, y in [maze.to_xy(reward["cell"])]
    ]
    return f"for each step, by where it ends: {', '.join(cells)}; 0 elsewhere"


def return_rows(certificate: dict[str, Any]) -> tuple[list[str], list[tuple[str, ...]]]:
    """The table of tasks: header and rows."""
    header = ["task", "expects", "status", "target", "steps", "collected by", "elsewhere by", "best in data", "99%"]
    header += ["best of 1, 2, 3 chained", "segments needed", "ceiling"]
    rows: list[tuple[str, ...]] = [
        (
            f"`{task['name']}`",
            task["expect"],
            task["status"],
            f"{task['target']:g}",
            str(task["horizon"]),
            f"{task['attaining']:,}",
            f"{task['elsewhere']:,}",
            number(task["best_in_data"], 1),
            number(task["p99"], 1),
            ", ".join(number(best, 1) for best in task["best_by_segments"].values()),
            str(task["segments_needed"] or "none"),
            number(task["ceiling"]),
        )
        for task in certificate["tasks"]
    ]
    return header, rows


def return_words(certificate: dict[str, Any], maze: Maze) -> str:
    """What the columns of the table mean."""
    return (
        "Tasks are named by row and column of their start cell, counted from 0 at the top left, and by their target. "
        f"Starts are drawn uniformly from squares {maze.scale / 2:g} m wide in its middle. An evaluated episode "
        "succeeds if it collects the target within so many steps. Collected by: training episodes that did so from a "
        f"state in the start's square; expected seen: at least {certificate['min_episodes']}; expected unseen: none, "
        "and the best of them stays a tenth of the target below it. Elsewhere by: episodes that did so from another "
        "state. Best in data, 99%: of what was collected from states in the start's square. Best of 1, 2, 3 chained: "
        f"what chains of so many episodes collect at least, each joined to the next within {certificate['epsilon']:g} "
        "m. Segments needed: the fewest that collect the target. Ceiling: how often the behaviour does, sent to where "
        "it pays most."
    )


def draw_rewards(axes: Axes, maze: Maze, spec: dict[str, Any], starts: Sequence[tuple[int, int]]) -> None:
    """Rewarded cells with what a step earns there; a circle where tasks start."""
    most = max(reward["rate"] for reward in spec["rewards"])
    for reward in spec["rewards"]:
        x, y = maze.to_xy(reward["cell"])
        corner = (x - maze.scale / 2, y - maze.scale / 2)
        colour = {"facecolor": GOLD, "alpha": 0.25 + 0.5 * reward["rate"] / most}
        axes.add_patch(Rectangle(corner, maze.scale, maze.scale, zorder=6, linewidth=0, **colour))
        low = y - 0.35 * maze.scale  # below a start in the same cell
        axes.text(x, low, f"{reward['rate']:g}", ha="center", va="center", fontsize=14, fontweight="bold", zorder=8)
    for cell in starts:
        axes.plot(*maze.to_xy(cell), "o", markersize=18, color="white", markeredgecolor="black", zorder=7)
