"""Return stitching: what training attained from where, and the most that chaining its episodes attains.

A task asks for a target return within so many steps of a start region. Rewards lie on the row that a step leaves. What
an episode attains from a row is collected up to the horizon or to its own end, whichever comes first.

Chaining is decided by dynamic programming over all rows, the steps left h and the segments k, with r a row's reward:

    V_k(row, h) = r + W_k(row + 1, h - 1)                          one step of the row's own episode
    W_k(row, h) = max(V_k(row, h), max over rows w near the row of V_{k-1}(w, h))       or on in another, at no cost

V is 0 with no step left, and at an episode's last row. A jump leads to V, so a step is taken between two jumps: a body
that jumps again and again goes nowhere. Three segments have two seams, and none is used twice: to come to a seam a
second time takes another one in between, thus four segments.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
from scipy.sparse import csr_array

from stitchrl.audit import words
from stitchrl.audit.achieved import Achieved
from stitchrl.audit.certificate import LISTED, Audited, Certificate, Column, Judge, Terms, region_values, rounded
from stitchrl.audit.chains import Links
from stitchrl.audit.cooccurrence import status_of
from stitchrl.audit.reading import check_keys, is_number, read_expect, read_region
from stitchrl.types import Region, ReturnTask

SEGMENTS = 3  # at most
CLEAR = 0.1  # of a target: by so much at least it lies above what any episode attained from its start
SUPPORT = {
    "starts": ("begin", "in the start of ", "in its start region"),
    "elsewhere": ("attain", "elsewhere the target of ", "its target elsewhere"),
}


class Returns(Judge):
    """The judge of returns."""

    asks, any_order, rewarded = "target", "attaining", True
    columns: Sequence[Column] = (
        Column("target", lambda task: words.number(task["target"])),
        Column("steps", lambda task: str(task["horizon"])),
        Column(
            "attained by",
            lambda task: str(task["attaining"]),
            "episodes that collect the target within so many steps of the start",
        ),
        Column("elsewhere", lambda task: str(task["elsewhere"]), "that collect it from other states"),
        Column("best", lambda task: words.number(task["best_in_data"]), "the most that one collected from the start"),
        Column("99%", lambda task: words.number(task["p99"]), "what one in a hundred of its states there exceeds"),
        Column(
            "by chaining",
            lambda task: ", ".join(words.number(value) for value in task["best_by_segments"].values()),
            "the most that one, two and three episodes in a chain collect, at epsilon {epsilon}",
        ),
        Column("segments", lambda task: words.number(task["segments_needed"]), "how many are needed for the target"),
    )
    terms = Terms("return", "attain", "attained", "attaining", "collects the target of", "collects its target", SUPPORT)

    def read(self, where: str, values: Any, dimensions: int) -> ReturnTask:
        keys = {"name", "start", "target", "horizon"}
        check_keys(where, values, keys, keys | {"expect"})
        target, horizon = values["target"], values["horizon"]
        if not (is_number(target) and target > 0):
            raise ValueError(f"{where}: target: {target!r} given, a number above 0 expected")
        if not (type(horizon) is int and horizon > 0):
            raise ValueError(f"{where}: horizon: {horizon!r} given, a number of steps expected")
        start = read_region(f"{where}: start", values["start"], dimensions)
        return ReturnTask(str(values["name"]), start, float(target), horizon, read_expect(where, values))

    def certify(self, audited: Audited) -> Certificate:
        achieved, rewards = audited.achieved, audited.rewards
        if rewards is None:
            raise ValueError(f"{audited.name}: has no rewards, and its tasks ask for returns")
        tasks = cast(Sequence[ReturnTask], audited.tasks)
        links = Links(achieved, audited.walls, audited.epsilon)
        attainable, at_most = (best_by_chaining(links, near, rewards, tasks) for near in (links.sure, links.near))
        within = {horizon: returns_within(achieved, rewards, horizon) for horizon in {task.horizon for task in tasks}}
        episode = np.repeat(np.arange(len(achieved.first)), achieved.last - achieved.first + 1)
        rows = []
        for task, low, high in zip(tasks, attainable, at_most, strict=True):
            attained = within[task.horizon]
            here = _rows_in(achieved, task.start)
            from_here = attained[here]
            attaining = np.unique(episode[here[from_here >= task.target]])
            anywhere = np.unique(episode[attained >= task.target])
            best = float(from_here.max(initial=0.0))
            rows.append(
                {
                    "name": task.name,
                    "expect": task.expect,
                    "status": status_of(len(attaining), len(attaining), audited.min_episodes),
                    "target": rounded(task.target),
                    "horizon": task.horizon,
                    "attaining": len(attaining),
                    "starts": int((achieved.visits(task.start).first == achieved.first).sum()),
                    "elsewhere": len(np.setdiff1d(anywhere, attaining, assume_unique=True)),
                    "best_in_data": rounded(best),
                    "p99": rounded(float(np.quantile(from_here, 0.99)) if len(here) else math.nan),
                    "margin": rounded((task.target - best) / task.target),
                    "best_by_segments": {str(k): rounded(value) for k, value in enumerate(low, start=1)},
                    "best_by_segments_upper": {str(k): rounded(value) for k, value in enumerate(high, start=1)},
                    "segments_needed": next((k for k, value in enumerate(low, start=1) if value >= task.target), None),
                    "path_length": None,
                    "step_limit": task.horizon,
                    "ceiling": rounded(audited.ceilings.get(task.name, math.nan)),
                    "episodes": attaining[:LISTED].tolist(),
                    "start": region_values(task.start),
                }
            )
        return Certificate.of(audited, "return", rows)

    def problems(self, task: dict[str, Any], certificate: Certificate) -> list[str]:
        found = super().problems(task, certificate)
        if task["expect"] == "unseen" and not task["attaining"] and task["margin"] < CLEAR:
            found.append(
                f"its target {task['target']:g} is not clear of the {task['best_in_data']:g} that an episode "
                f"attained from its start, a tenth of it is needed between them"
            )
        return found

    def evidence(self, task: dict[str, Any], certificate: Certificate) -> str:
        count = task["attaining"]
        names = f" ({words.listed(task['episodes'], count)})" if count else ""
        return f"episodes that attain its target from its start: {count}{names}{words.needed(task, certificate)}"

    def verdict(self, certificate: Certificate) -> list[str]:
        return words.answer(certificate, self.terms)


RETURNS = Returns()


def returns_within(achieved: Achieved, rewards: np.ndarray, horizon: int) -> np.ndarray:
    """What each row's episode collects from it [N] in `horizon` steps, or up to its end where that comes first."""
    earned = np.append(0, np.nan_to_num(rewards).cumsum(dtype=np.float64))  # before each row
    ends = np.repeat(achieved.last, achieved.last - achieved.first + 1)
    return earned[np.minimum(np.arange(len(ends)) + horizon, ends)] - earned[:-1]


def _rows_in(achieved: Achieved, region: Region) -> np.ndarray:
    return np.flatnonzero(region.contains(achieved.points(slice(None))))


def best_by_chaining(
    links: Links, near: csr_array, rewards: np.ndarray, tasks: Sequence[ReturnTask]
) -> list[list[float]]:
    """For each task the most that 1, 2, ... SEGMENTS episodes in a chain collect from its start within its horizon.

    near: [bins, bins], which bins' rows may be jumped between. With `links.sure` every jump is within epsilon, and what
    is found can be attained; with `links.near` no jump within epsilon is left out, and no more can be.
    """
    achieved = links.achieved
    starts = [_rows_in(achieved, task.start) for task in tasks]
    found: list[list[float]] = [[] for _ in tasks]
    for steps, values in enumerate(_values(links, near, rewards), start=1):
        for task, start, best in zip(tasks, starts, found, strict=True):
            if steps == task.horizon:
                best += [float(value[start].max(initial=0.0)) for value in values]
        if steps == max(task.horizon for task in tasks):
            break
    return found


def _values(links: Links, near: csr_array, rewards: np.ndarray) -> Iterator[list[np.ndarray]]:
    """V_1 ... V_SEGMENTS, each [N], with one step left, with two, and so on without end."""
    last = links.achieved.last
    reward = np.nan_to_num(rewards).astype(np.float64)
    order = np.argsort(links.bin, kind="stable")  # rows bin by bin
    first = np.searchsorted(links.bin[order], np.arange(near.shape[0]))
    best = [np.zeros(len(reward) + 1) for _ in range(SEGMENTS)]  # W, and a row past the last
    while True:
        values: list[np.ndarray] = []
        for k in range(SEGMENTS):
            value = reward + best[k][1:]
            value[last] = 0
            best[k][:-1] = value
            if k > 0:
                of_bin = np.maximum.reduceat(values[k - 1][order], first)
                of_near = np.maximum.reduceat(of_bin[near.indices], near.indptr[:-1])
                np.maximum(value, of_near[links.bin], out=best[k][:-1])
            values.append(value)
        yield values
