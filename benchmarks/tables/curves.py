"""Learning curves: every evaluation of finished runs, as rows and as lines. What the tables with curves share."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from queue_of_runs import Job, Row


def curve_rows(folder: Path) -> list[Row]:
    """One row for each evaluation of each finished run in a folder: success over seen and over unseen tasks."""
    rows = []
    for path in sorted(folder.glob("*/summary.json")):
        summary = json.loads(path.read_text())
        expect = {task["name"]: task["expect"] for task in summary["tasks"]}
        success: dict[tuple[int, str], list[bool]] = defaultdict(list)
        for line in (path.parent / "eval.jsonl").read_text().splitlines():
            episode = json.loads(line)
            success[episode["step"], expect[episode["task"]]].append(episode["success"])
        for step in sorted({step for step, _ in success}):
            row = {key: summary[key] for key in ("dataset", "agent", "goals", "seed")} | {"step": step}
            for kind in ("seen", "unseen"):
                row[kind] = round(sum(success[step, kind]) / len(success[step, kind]), 4)
            origin = {key: summary[key] for key in ("updates_per_s", "dataset_sha256", "commit")}
            rows.append({**row, **origin, "folder": str(path.parent)})
    return rows


def curve_of(rows: Sequence[Row], job: Job) -> list[Row]:
    """The evaluations of one run, in order."""
    return sorted((row for row in rows if row["folder"] == str(job.folder)), key=lambda row: int(row["step"]))


def draw_panel(axes: Axes, title: str, curves: Iterable[list[Row]]) -> None:
    """Success over gradient steps on seen and on unseen tasks, a line each for every run."""
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    for points in curves:
        steps = [int(row["step"]) / 1000 for row in points]
        for kind, colour in (("seen", "#9a9a9a"), ("unseen", "#1f77b4")):
            axes.plot(steps, [float(row[kind]) for row in points], color=colour, lw=1.5, label=kind)


def save(figure: Figure, path: Path) -> None:
    """With what lines and axes mean; the first panel's lines stand for all."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles[:2], [f"{label} tasks" for label in labels[:2]], loc="outside lower right", ncols=2)
    figure.supxlabel("thousand updates")
    figure.supylabel("success")
    figure.savefig(path, dpi=110)
