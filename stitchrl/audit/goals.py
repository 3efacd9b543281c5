"""Goals: a task asks to come from a start region to a goal region. Episodes that visit both in this order join it."""

import math
from collections.abc import Sequence
from typing import Any, cast

from tqdm import tqdm

from stitchrl.audit import survey, words
from stitchrl.audit.certificate import LISTED, Audited, Certificate, Column, Judge, Terms, region_values, rounded
from stitchrl.audit.chains import segments_needed
from stitchrl.audit.cooccurrence import co_occurrence
from stitchrl.audit.reading import check_keys, read_expect, read_region
from stitchrl.data.formats.source import Source
from stitchrl.types import Task

SUPPORT = {
    "starts": ("begin", "in the start of ", "in its start region"),
    "visits": ("visit", "the goal of ", "its goal region"),
}


def _segments(task: dict[str, Any]) -> str:
    """Segments needed, and their range where there is one."""
    fewest, most = task["segments_range"]
    text = words.number(task["segments_needed"])
    return text if fewest == most else f"{text} ({words.number(fewest)}-{words.number(most)})"


class Goals(Judge):
    """The judge of goals."""

    asks, any_order, rewarded = "goal", "unordered", False
    columns: Sequence[Column] = (
        Column("joined", lambda task: str(task["ordered"]), "episodes that visit the start and later the goal"),
        Column("any order", lambda task: str(task["unordered"]), "that visit both"),
        Column("starts", lambda task: str(task["starts"]), "that begin in the start"),
        Column("visits", lambda task: str(task["visits"]), "that visit the goal"),
        Column(
            "missed",
            lambda task: words.number(task["clearance"], ".2f"),
            "the distance{unit} by which the nearest episode failed to join them",
        ),
        Column(
            "segments",
            _segments,
            "the fewest episodes in a chain, at epsilon {epsilon} (at twice to half of it, where that differs)",
        ),
    )
    terms = Terms(
        "pair", "join", "joined", "ordered", "leads from the start to the goal of", "leads from start to goal", SUPPORT
    )

    def read(self, where: str, values: Any, dimensions: int) -> Task:
        check_keys(where, values, {"name", "start", "goal"}, {"name", "start", "goal", "expect"})
        expect = read_expect(where, values)
        start, goal = (read_region(f"{where}: {key}", values[key], dimensions) for key in ("start", "goal"))
        return Task(str(values["name"]), start, goal, expect)

    def certify(self, audited: Audited) -> Certificate:
        tasks = cast(Sequence[Task], audited.tasks)
        epsilon, achieved = audited.epsilon, audited.achieved
        epsilons = list(dict.fromkeys((epsilon, 2 * epsilon, epsilon / 2)))  # one if it is 0
        found_at = dict(zip(epsilons, segments_needed(achieved, tasks, audited.walls, epsilons), strict=True))
        rows = []
        for i, task in enumerate(tqdm(tasks, desc=f"audit {audited.name}", unit=" tasks", delay=5, leave=False)):
            found = co_occurrence(achieved, task, audited.min_episodes)
            rows.append(
                {
                    "name": task.name,
                    "expect": task.expect,
                    "status": found.status,
                    "ordered": found.ordered,
                    "unordered": found.unordered,
                    "starts": found.starts,
                    "visits": found.visits,
                    "clearance": rounded(found.clearance),
                    "segments_needed": found_at[epsilon][i],
                    "segments_range": [found_at[2 * epsilon][i], found_at[epsilon / 2][i]],
                    "path_length": rounded(task.path_length),
                    "step_limit": task.step_limit,
                    "ceiling": rounded(audited.ceilings.get(task.name, math.nan)),
                    "episodes": (found.joining if found.ordered else found.both)[:LISTED].tolist(),
                    "start": region_values(task.start),
                    "goal": region_values(task.goal),
                }
            )
        return Certificate.of(audited, "goal", rows)

    def evidence(self, task: dict[str, Any], certificate: Certificate) -> str:
        count, both = task["ordered"], task["unordered"]
        if both == 0:
            return "no episode visits both of its regions"
        if count == 0:
            names = f" ({words.listed(task['episodes'], both)})" if task["episodes"] else ""  # none in older ones
            return f"episodes that visit both of its regions: {both}{names}, none in order"
        names = words.listed(task["episodes"], count)
        joins = f"1 episode joins it (episode {names})" if count == 1 else f"{count} episodes join it ({names})"
        return joins + words.needed(task, certificate)

    def verdict(self, certificate: Certificate) -> list[str]:
        return words.answer(certificate, self.terms)

    def survey(self, source: Source, audited: Audited, certificate: Certificate) -> dict[str, Any]:
        return survey.survey(source, audited, [task["segments_needed"] for task in certificate.tasks])

    def caveats(self, surveyed: dict[str, Any], certificate: Certificate) -> list[str]:
        found, again, matched = [], surveyed["continued"], surveyed["segments_matched"]
        if again["episodes"]:
            unseen = [task["name"] for task in certificate.tasks if task["expect"] == "unseen"]
            joined = [f"{name} ({again['ordered'][name]})" for name in unseen if again["ordered"][name]]
            pairs = f"pairs that should be unseen: {', '.join(joined)}" if joined else "no unseen pair"
            does = "1 episode ends" if again["episodes"] == 1 else f"{again['episodes']} episodes end"
            found.append(
                f"{does} in the very state where another begins. Laid end to end, episodes would join {pairs}."
            )
        if matched and not matched["exact"]:
            found.append("What is said below of matching at links is from a sample of the rows, not from all.")
        return found

    def details(self, surveyed: dict[str, Any], audited: Audited, certificate: Certificate) -> list[str]:
        needed = {task["name"]: task["segments_needed"] for task in certificate.tasks}
        visited = words.covered(surveyed["coverage"], audited.unit, audited.achieved.dimensions, audited.epsilon)
        return [
            f"{words.lengths_of_episodes(surveyed['episode_lengths'])} {visited}",
            words.far_from_training(surveyed["distances"], audited.unit),
            *([words.walls_matter(surveyed["walls"], needed)] if surveyed["walls"] else []),
            *words.jumps_at_seams(surveyed["seams"], audited.rest),
            *words.matched_joins(surveyed["segments_matched"], needed, audited.rest),
        ]


GOALS = Goals()
