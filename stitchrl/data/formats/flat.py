"""Files of flat rows, D4RL's and OGBench's: where episodes end in them, and how they are read.

    row      a   a+1  ...  b             b is marked as an end
    states   s_0 s_1  ...  s_T           T = b - a
    actions  a_0 a_1  ...  (no successor)

An episode's last row has a state and an action without a successor. The state is kept and the action is void, so T + 1
rows are T transitions. Where the file has `next_observations` no action is lost: every row is a transition, and what is
next in row b is the episode's last state.

What a file says of ends comes first:

1. `timeouts`; rows that are not `valids` (OGBench's compact datasets); and `terminals`, unless they come in clusters,
   as those of D4RL's ant mazes do: there they label states near one fixed target, across episodes.
2. `next_observations` that are not the next row's observations. Where rows are marked the two must agree.
3. Only where nothing is marked, or terminals are labels and do not tell what the world ended: steps of the achieved
   goal far beyond the usual ones. A caller who knows its columns also has marks compared with such jumps.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stitchrl.data.episodes import Episodes
from stitchrl.data.formats.source import ROWS, Column, Source, assemble, check_columns, differ, kept_type, marks, spans

MARKS = ("timeouts", "terminals", "valids")
READ = ("observations", "actions", "rewards", "next_observations", *MARKS)
TABLES = ("observations", "actions", "next_observations")
GOAL = (0, 1)  # columns of the observation where the achieved goal stands in most files
JUMP = 10.0  # usual steps; a step that is longer, and as much longer than the ones before and after it
USUAL = 0.75  # of the steps that lead anywhere so many are no longer than a usual one
FEW = 5  # rows in which what a file says twice may differ

# Rows first..last - 1 of some columns for each of some spans, which follow on one another from row 0 on.
Read = Callable[[Sequence[str], Iterable[tuple[int, int]]], Iterator[dict[str, np.ndarray]]]


@dataclass(frozen=True)
class Rows:
    """The columns of a file among `READ`, all of one length."""

    where: str  # the file, for errors
    shapes: Mapping[str, tuple[Sequence[int], np.dtype]]
    read: Read
    metadata: dict[str, Any] = field(default_factory=dict)  # what stitchrl stored, if it wrote the file

    @property
    def ours(self) -> bool:
        return bool(self.metadata)

    @property
    def complete(self) -> bool:
        """Whether every row is a transition, since the file has its successor."""
        return "next_observations" in self.shapes

    def __len__(self) -> int:
        return self.shapes["observations"][0][0]


class Ends(NamedTuple):
    rows: np.ndarray  # [episodes] the last row of each
    terminated: np.ndarray | None  # [episodes] whether a terminal stands there; None where terminals do not tell
    notes: list[str]  # what was decided


def open_rows(rows: Rows, columns: Sequence[int] | None, trust_marks: bool, unread: Sequence[str]) -> Source:
    """The episodes of a file. ValueError that names the file and the key.

    Args:
        rows: The file's columns.
        columns: Where the achieved goal stands in the flattened observation. None where that is not known.
        trust_marks: Whether marks are not compared with jumps.
        unread: Names of what else the file holds.
    """
    if not any(key in rows.shapes for key in (*MARKS, "next_observations")):
        raise ValueError(f"{rows.where}: neither 'timeouts' nor 'terminals': nothing tells where episodes end")
    check_columns(rows.where, rows.shapes, rows.ours)
    if rows.complete and tuple(rows.shapes["next_observations"][0]) != tuple(rows.shapes["observations"][0]):
        raise ValueError(f"{rows.where}: next_observations have another shape than observations")
    ends = find_ends(rows, columns, trust_marks)
    notes = ends.notes
    lengths = np.diff(ends.rows, prepend=-1) - (0 if rows.complete else 1)
    kept = lengths > 0
    if not kept.any():
        named = ", ".join(key for key in MARKS if key in rows.shapes) or "neither timeouts nor terminals"
        raise ValueError(f"{rows.where}: {named}: no episode has a transition")
    if not kept.all():
        notes.append(f"{int((~kept).sum())} episodes of a single state are left out")
    if unread:
        notes.append(f"not read: {', '.join(unread)}")
    terminated = None if ends.terminated is None else ends.terminated[kept]
    observations, actions, rewarded = _column(rows, "observations"), _column(rows, "actions"), "rewards" in rows.shapes
    about = (rows.metadata, Path(rows.where).stem, tuple(notes), terminated)
    return Source(rows.where, lengths[kept], observations, actions, rewarded, partial(_chunks, rows, ends.rows), *about)


def _column(rows: Rows, key: str) -> Column:
    shape, dtype = rows.shapes[key]
    return Column(tuple(shape[1:]), kept_type(key, shape[1:], dtype, rows.ours))


def find_ends(rows: Rows, columns: Sequence[int] | None, trust_marks: bool) -> Ends:
    """The last rows of episodes; ValueError where the file contradicts itself in more than a few rows."""
    keys = [key for key in MARKS if key in rows.shapes]
    read = next(rows.read(keys, [(0, len(rows))])) if keys else {}
    held = {key: marks(rows.where, key, values) for key, values in read.items()}
    steps, breaks = np.zeros(len(rows)), np.zeros(len(rows), bool)
    if rows.complete:
        steps, breaks = _follow(rows, columns or GOAL)

    marked, notes, labels = np.zeros(len(rows), bool), [], False
    if "timeouts" in held:
        marked |= held["timeouts"]
    terminals = held.get("terminals")
    if "valids" in held:  # terminals then stand on the last two rows
        void = ~held["valids"]
        if (void[1:] & void[:-1]).any():
            raise ValueError(f"{rows.where}: valids are 0 in rows one after another, expected so on last rows alone")
        marked |= void
        terminals = None
    if terminals is not None:
        # Rows of a cluster lie in one episode. Episodes of a single transition each may end one after another, too.
        labels = bool((terminals[1:] & terminals[:-1] & ~breaks[:-1]).any())
        if labels:
            notes.append(f"terminals come in clusters ({int(terminals.sum())} rows): labels of states, not ends")
            if "timeouts" not in held and not rows.complete:
                raise ValueError(f"{rows.where}: {notes[-1]}; expected 'timeouts' to tell where episodes end")
            terminals = None
        else:
            marked |= terminals

    guessed = not rows.complete and (labels or not marked.any())
    if not marked.any():
        notes.append("no row is marked as the end of an episode")
    elif not marked[-1]:
        notes.append(f"the last {len(rows) - 1 - int(np.flatnonzero(marked)[-1])} rows are marked by no end")
    if rows.complete:
        notes += _compare_next(rows, breaks, marked, labels)
    elif guessed or (columns is not None and not trust_marks):
        steps, _ = _follow(rows, columns or GOAL)

    ends = marked | breaks
    ends[-1] = True
    if guessed:
        jumps = find_jumps(steps, ~ends)
        if jumps.any():
            guesses = f"{int(jumps.sum())} ends of episodes were guessed"
            notes.append(f"{guesses}, where {_words(columns)} jump; others may be missed")
        ends |= jumps
    elif columns is not None and not trust_marks:
        notes += _compare_jumps(rows, steps, np.ones_like(ends) if rows.complete else ~ends, columns)
    if len(ends) > 1 and ends.sum() == 1 and not marked.any():
        notes.append("all rows are taken for one episode")
    last = np.flatnonzero(ends)
    return Ends(last, None if terminals is None else terminals[last], notes)


def _follow(rows: Rows, columns: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """How far the achieved goal moves in each row [N], and where the next row is not what the row moves to [N]."""
    steps, breaks = np.zeros(len(rows)), np.zeros(len(rows), bool)
    keys = ["observations", "next_observations"] if rows.complete else ["observations"]
    goal = [column for column in columns if column < math.prod(rows.shapes["observations"][0][1:])]
    begin = 0  # the row before those that are read next, once there is one
    before: dict[str, np.ndarray] = {}
    bounds = ((first, min(first + ROWS, len(rows))) for first in range(0, len(rows), ROWS))
    for read in rows.read(keys, bounds):
        flat = {key: values.reshape(len(values), -1) for key, values in read.items()}
        here = {key: np.concatenate([before[key], values]) if before else values for key, values in flat.items()}
        states, count = here["observations"], len(here["observations"])
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found when rows are read
            if rows.complete:
                following = here["next_observations"]
                moved = following[:, goal].astype(np.float64) - states[:, goal]
                steps[begin : begin + count] = np.linalg.norm(moved, axis=1)
                breaks[begin : begin + count - 1] = differ(following[:-1], states[1:]).any(1)
            else:
                moved = np.diff(states[:, goal].astype(np.float64), axis=0)
                steps[begin : begin + count - 1] = np.linalg.norm(moved, axis=1)
        begin += count - 1
        before = {key: values[-1:] for key, values in here.items()}
    return steps, breaks


def find_jumps(steps: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Which steps [N] are jumps, among those that are `within` episodes [N].

    A jump is far longer than a usual step, and than the steps before and after it: a fast body is fast in those, too.
    """
    moving = steps[within & (steps > 0)]
    if not len(moving):
        return np.zeros(len(steps), bool)
    usual = np.quantile(moving, USUAL)
    around = np.maximum(np.append(0, steps[:-1]), np.append(steps[1:], 0))
    return within & (steps > JUMP * np.maximum(usual, around))


def _compare_next(rows: Rows, breaks: np.ndarray, marked: np.ndarray, labels: bool) -> list[str]:
    """What is to be said of rows whose successor is not the next row, though they are not marked."""
    unmarked = np.flatnonzero(breaks & ~marked)
    if not len(unmarked):
        return []
    lead = f"next_observations of {len(unmarked)} rows (row {unmarked[0]} is the first) are not the row after"
    if marked.any() and not labels and len(unmarked) > FEW:
        raise ValueError(f"{rows.where}: {lead}, and no end is marked there; expected both to agree")
    if 2 * len(unmarked) > len(rows):
        raise ValueError(f"{rows.where}: {lead}; expected rows in the order of time")
    return [f"{len(unmarked)} ends of episodes were found by next_observations that are not the row after"]


def _compare_jumps(rows: Rows, steps: np.ndarray, within: np.ndarray, columns: Sequence[int]) -> list[str]:
    """What is to be said of jumps inside of episodes."""
    jumps = np.flatnonzero(find_jumps(steps, within))
    if not len(jumps):
        return []
    lead = f"{_words(columns)} jump in {len(jumps)} rows inside of episodes (by {steps[jumps[0]]:g} at row {jumps[0]})"
    if len(jumps) > FEW:
        expected = "expected an end to be marked there, or --trust-marks where bodies do jump"
        raise ValueError(f"{rows.where}: {lead}; {expected}")
    return [lead]


def _words(columns: Sequence[int] | None) -> str:
    return f"columns {' and '.join(map(str, columns or GOAL))}"


def _chunks(rows: Rows, ends: np.ndarray, count: int) -> Iterator[Episodes]:
    rows_of = np.diff(ends, prepend=-1)  # rows of each episode, those without a transition included
    transitions = rows_of - (0 if rows.complete else 1)
    begin = ends - rows_of + 1
    keys = [key for key in READ if key in rows.shapes and key not in MARKS]
    number = 0  # episodes with a transition so far
    parts = list(spans(transitions, count))
    bounds = [(int(begin[first]), int(ends[last - 1]) + 1) for first, last in parts]
    for (first, last), held in zip(parts, rows.read(keys, bounds), strict=True):
        lengths = transitions[first:last]
        keep = np.repeat(lengths > 0, rows_of[first:last])
        lengths = lengths[lengths > 0]
        states, actions, rewards = held["observations"][keep], held["actions"][keep], held.get("rewards")
        if rewards is not None:
            rewards = rewards.reshape(-1)[keep]
        if rows.complete:
            last_rows = lengths.cumsum() - 1
            states = np.insert(states, last_rows + 1, held["next_observations"][keep][last_rows], axis=0)
            actions = np.insert(actions, last_rows + 1, 0, axis=0)
            rewards = None if rewards is None else np.insert(rewards, last_rows + 1, 0)
        if len(lengths):
            yield assemble(rows.where, number, states, actions, rewards, lengths, rows.ours)
        number += len(lengths)
