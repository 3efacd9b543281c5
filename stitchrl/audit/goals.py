"""Goals: a task asks to come from a start region to a goal region. Episodes that visit both in this order join it."""

import math
from collections.abc import Sequence
from typing import Any, cast

from tqdm import tqdm

from stitchrl.audit import survey, words
from stitchrl.audit.certificate import (
    LISTED,
    Audited,
    Certificate,
    Column,
    conclude,
    lacking,
    listed,
    needed,
    region_values,
    rounded,
)
from stitchrl.audit.chains import segments_needed
from stitchrl.audit.cooccurrence import Status, co_occurrence, status_of
from stitchrl.audit.reading import check_keys, read_expect, read_region
from stitchrl.data.formats.source import Source
from stitchrl.types import Task


def _segments(task: dict[str, Any]) -> str:
    """Segments needed, and their range where there is one."""
    fewest, most = task["segments_range"]
    text = words.number(task["segments_needed"])
    return text if fewest == most else f"{text} ({words.number(fewest)}-{words.number(most)})"


class Goals:
    """The judge of goals; see `certificate.Judge`."""

    asks, rewarded = "goal", False
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
        return conclude(audited, "goal", rows)

    def status(self, task: dict[str, Any], min_episodes: int) -> Status:
        return status_of(task["ordered"], task["unordered"], min_episodes)

    def problems(self, task: dict[str, Any], certificate: Certificate) -> list[str]:
        problems = []
        if task["status"] != task["expect"]:
            evidence = self._evidence(task, certificate)
            problems.append(f"expected {task['expect']}, found {task['status']}: {evidence}")
        if task["expect"] == "unseen":
            if task["segments_needed"] is None:
                problems.append(f"no chain of episodes leads from start to goal at epsilon {certificate.epsilon:g}")
            there = {"starts": "begin in its start region", "visits": "visit its goal region"}
            problems += lacking(task, there, certificate)
        return problems

    def _evidence(self, task: dict[str, Any], certificate: Certificate) -> str:
        """Why a task has its status, in words."""
        count, both = task["ordered"], task["unordered"]
        if both == 0:
            return "no episode visits both of its regions"
        if count == 0:
            names = f" ({listed(task['episodes'], both)})" if task["episodes"] else ""  # none in older ones
            return f"episodes that visit both of its regions: {both}{names}, none in order"
        names = listed(task["episodes"], count)
        joins = f"1 episode joins it (episode {names})" if count == 1 else f"{count} episodes join it ({names})"
        return joins + needed(task, certificate)

    def verdict(self, certificate: Certificate) -> list[str]:
        support = {"starts": ("begin", "in the start of "), "visits": ("visit", "the goal of ")}
        terms = words.Terms("pair", "join", "joined", "ordered", "leads from the start to the goal of", support)
        return words.answer(certificate, terms)

    def survey(self, source: Source, audited: Audited, certificate: Certificate) -> dict[str, Any]:
        return survey.survey(source, audited, [task["segments_needed"] for task in certificate.tasks])

    def caveats(self, surveyed: dict[str, Any], certificate: Certificate) -> list[str]:
        return words.survey_caveats(surveyed, certificate)

    def details(self, surveyed: dict[str, Any], audited: Audited, certificate: Certificate) -> list[str]:
        return words.survey_details(surveyed, audited, certificate)


GOALS = Goals()
