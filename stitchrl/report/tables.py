"""Runs -> tables: plain values under headings, which output.py and the page write out."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from stitchrl.report import statistics
from stitchrl.report.contract import SCORE
from stitchrl.report.rows import far_tasks, group_rows, groups, measures_of, scores, task_rows, twin_datasets, ways
from stitchrl.report.runs import Run
from stitchrl.report.statistics import Estimate, Interval, improvement, interquartile_mean, number, resampled
from stitchrl.report.twins import twin_rows

Entry = Estimate | Interval | str | int | float | None  # None does not apply


@dataclass(frozen=True)
class Table:
    """Plain values under headings."""

    name: str  # of its files
    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Entry]]
    note: str = ""
    digits: int | None = 2  # of floats behind the point; None for four digits that matter
    digits_of: Mapping[str, int] = field(default_factory=dict)  # by heading: of floats and estimates that have others
    shares_from: int | None = None  # columns from here on hold shares, which the page colours

    @property
    def texts(self) -> list[list[str]]:
        """The rows in words."""
        digits = [self.digits_of.get(heading, self.digits) for heading in self.columns]
        return [list(map(words, row, digits)) for row in self.rows]


def words(entry: Entry, digits: int | None = 2) -> str:
    """An entry as people read it. A dash: does not apply."""
    if isinstance(entry, Estimate):
        return entry.text(digits)
    if entry is None or isinstance(entry, float):
        return number(entry, digits)
    return f"{entry:,}" if isinstance(entry, int) else str(entry)


def stem(dataset: str) -> str:
    """What names of a dataset's files begin with."""
    return dataset.replace("/", "_")


def coverage_table(runs: Sequence[Run]) -> Table:
    """How many seeds there are of each way on each dataset."""
    seeds: dict[tuple[str, ...], Entry] = {}
    for group in groups(runs):
        key = group.dataset, *group.way
        seeds[key] = f"{group.seeds} ({group.lacking} missing)" if group.lacking else group.seeds
    shown = ways(runs)
    datasets = dict.fromkeys(run.dataset for run in runs)
    rows = [(dataset, *(seeds.get((dataset, *way)) for way in shown)) for dataset in datasets]
    columns = ("dataset", *(", ".join(way) for way in shown))
    note = "A dash: there are no runs. Missing: seeds that other agents have on this dataset."
    return Table("seeds", "Seeds of each agent on each dataset", columns, rows, note)


def twin_table(runs: Sequence[Run], joined: str, cut: str) -> Table:
    """Success on the far tasks, trained on either of the twins, and the gap between them."""
    rows = []
    for row in twin_rows(runs, joined, cut):
        augmented = row.gap is not None and row.goals != "future"
        closed = "" if not augmented else None if row.closed is None else f"{round(100 * row.closed)}%"
        rows.append((row.agent, row.data, row.goals, row.success, "" if row.gap is None else row.gap, closed))
    columns = ("agent", "data", "goals", "success on far tasks", "gap: joined minus it", "gap closed")
    note = "Far tasks: no single episode of the cut data contains one."
    return Table(f"{stem(cut)}-twins", f"Twins {joined} and {cut}", columns, rows, note)


def success_table(runs: Sequence[Run], dataset: str) -> Table:
    """Success on seen and unseen tasks, and the stitching gap where the dataset has a joined twin."""
    joined = next((joined for joined, cut in twin_datasets(runs) if cut == dataset), None)
    gaps = {(row.agent, row.goals): row.gap for row in twin_rows(runs, joined, dataset) if row.gap} if joined else {}
    columns = ("agent", "goals", "steps", "seen", "unseen", "raw difference", *(("stitching gap",) if joined else ()))
    rows = []
    for row in [row for row in group_rows(runs) if row.dataset == dataset]:
        gap = (gaps.get(row.way),) if joined else ()
        rows.append((*row.way, row.steps, row.seen, row.unseen, row.raw_difference, *gap))
    note = "Raw difference: seen minus unseen. It is not a stitching gap, since paths of unseen tasks are longer."
    if joined:
        note += f" Stitching gap: success on unseen tasks when trained on {joined}, minus success when trained here."
    return Table(f"{stem(dataset)}-success", f"{dataset}: success", columns, rows, note)


def resampled_tables(runs: Sequence[Run], dataset: str) -> list[Table]:
    """Interquartile means and probabilities of improvement; none where no agent has eight seeds.

    They are over the far tasks, or over all tasks where none is far.
    """
    here = [group for group in groups(runs) if group.dataset == dataset]
    far = far_tasks(dataset, runs)
    near = [task["name"] for run in runs if run.dataset == dataset for task in run.tasks if task["name"] not in far]
    kinds = {"far tasks" if far else "all tasks": far or near} | ({"other tasks": near} if far and near else {})
    kinds = {kind: list(dict.fromkeys(names)) for kind, names in kinds.items()}
    matrices = [{kind: scores(group, names) for kind, names in kinds.items()} for group in here]
    main = next(iter(kinds))
    enough = [i for i, by_kind in enumerate(matrices) if len(by_kind[main]) >= statistics.SEEDS_TO_RESAMPLE]
    if not enough:
        return []
    means = []
    for group, by_kind in zip(here, matrices, strict=True):
        seeds = min(map(len, by_kind.values()))
        found: list[Entry] = [f"{seeds} of {statistics.SEEDS_TO_RESAMPLE} seeds"] * len(by_kind)
        if seeds >= statistics.SEEDS_TO_RESAMPLE:
            found = [resampled(interquartile_mean, of, rng=np.random.default_rng(0)) for of in by_kind.values()]
        means.append((*group.way, seeds, *found))
    names = [", ".join(group.way) for group in here]
    better = []
    for i, k in combinations(enough, 2):
        pair = improvement(matrices[i][main], matrices[k][main], np.random.default_rng(0))
        better.append((names[i], names[k], pair))
    note = (
        "As Agarwal et al. (2021), except that a seed with all its tasks counts as one observation. 95% intervals come "
        "from a bootstrap of whole seeds and are widened where seeds are few (Hesterberg, 2015). Those of "
        "probabilities are Wilson's."
    )
    columns = ("agent", "goals", "seeds", *kinds)
    tables = [Table(f"{stem(dataset)}-iqm", f"{dataset}: interquartile means", columns, means, note)]
    if better:
        title = f"{dataset}: probability of improvement, {main}"
        tables.append(Table(f"{stem(dataset)}-improvement", title, ("X", "Y", "P(X > Y)"), better, note))
    return tables


def heat_table(runs: Sequence[Run], dataset: str) -> Table:
    """Success at every task; a column for each way."""
    rows = [row for row in task_rows(runs) if row.dataset == dataset]
    shown = list(dict.fromkeys((row.agent, row.goals) for row in rows))
    by_key = {(row.task, row.agent, row.goals): row for row in rows}
    first = {row.task: row for row in reversed(rows)}
    ordered = sorted(first.values(), key=lambda row: (row.expect, row.segments_needed or 0, row.task))
    measures = measures_of(run for run in runs if run.dataset == dataset)
    alike = [measure for measure in measures if not measure.estimate]
    entries = []
    for row in ordered:
        success = [by_key[row.task, *way].success for way in shown]
        needed = "none" if row.segments_needed is None else row.segments_needed
        told = (row.measured[measure.key] for measure in alike)
        entries.append((row.task, row.expect, needed, *told, row.ceiling, *success))
    facts = ("task", "expect", "segments", *(measure.heading for measure in alike), "ceiling")
    columns = (*facts, *(", ".join(way) for way in shown))
    note = "Means over seeds. A star: some seeds are missing."
    digits_of = {measure.heading: measure.digits for measure in alike}
    title = f"{dataset}: success by task"
    return Table(f"{stem(dataset)}-heat", title, columns, entries, note, digits_of=digits_of, shares_from=len(facts))


def task_table(runs: Sequence[Run], dataset: str) -> Table:
    """Every task of every way, with all that tasks hold."""
    here = (run for run in runs if run.dataset == dataset)
    measures = sorted(measures_of(here), key=lambda measure: measure.estimate)
    alike = sum(not measure.estimate for measure in measures)  # they stand before success, estimates behind it
    rows = []
    for row in [row for row in task_rows(runs) if row.dataset == dataset]:
        needed = "none" if row.segments_needed is None else row.segments_needed
        steps = None if row.mean_length is None else round(row.mean_length)
        told = [row.measured[measure.key] for measure in measures]
        task = (row.agent, row.goals, row.task, row.expect, row.status, needed)
        rows.append((*task, *told[:alike], row.success, *told[alike:], row.ceiling, steps))
    headings = [measure.heading for measure in measures]
    facts = ("agent", "goals", "task", "expect", "status", "segments")
    columns = (*facts, *headings[:alike], "success", *headings[alike:], "ceiling", "steps")
    steps_note = "Steps: the mean over successful episodes of the last evaluation."
    note = " ".join([*(measure.note for measure in measures if measure.note), steps_note])
    digits_of = {measure.heading: measure.digits for measure in measures}
    title = f"{dataset}: every task of every agent"
    return Table(f"{stem(dataset)}-tasks", title, columns, rows, note, digits_of=digits_of)


def training_table(runs: Sequence[Run]) -> Table:
    """Augmentation and speed of each group."""
    rows = []
    for row in group_rows(runs):
        minutes = None if row.wall_s is None else row.wall_s / 60
        rates = [None if rate is None else f"{100 * rate:.0f}%" for rate in (row.realised, row.contradiction_rate)]
        rows.append((row.dataset, row.agent, row.goals, row.seeds, row.steps, *rates, row.updates_per_s, minutes))
    columns = ("dataset", "agent", "goals", "seeds", "steps", "augmented", "contradicting", "updates per s", "minutes")
    note = (
        "Means over seeds. Augmented: goals that lie in another episode. Contradicting: those of them that the state's "
        "own next steps lead away from. Minutes: of a whole run with its evaluations."
    )
    return Table("training", "Augmentation and speed", columns, rows, note, digits=1)


def instruments_of(runs: Sequence[Run]) -> list[str]:
    """What instruments measured in any of these runs."""
    return sorted({name for run in runs for name, value in run.instruments.items() if value is not None})


def instrument_table(runs: Sequence[Run]) -> Table:
    """What instruments measured last, of the groups that have any."""
    names = instruments_of(runs)
    rows = []
    for group in groups(runs):
        found = [group.over_seeds(lambda run, name: run.instruments.get(name), name) for name in names]
        if any(one.present for one in found):
            told = [one if one.present else None for one in found]
            rows.append((group.dataset, group.agent, group.goals, *told))
    note = "What instruments measured, at the end of training."
    return Table("instruments", "Instruments", ("dataset", "agent", "goals", *names), rows, note, digits=None)


def to_csv(runs: Sequence[Run]) -> str:
    """table.csv: one line for each run. An empty field does not apply."""
    segments = sorted({key for run in runs for key in run.by_segments}, key=lambda key: (len(key), key))
    keys = ["success", *(measure.key for measure in measures_of(runs) if measure.estimate)]
    rows: list[dict[str, Any]] = []
    for run in runs:
        row: dict[str, Any] = {key: getattr(run, key) for key in ("dataset", "agent", "goals", "seed", "steps")}
        for kind, score in (("seen", run.seen), ("unseen", run.unseen)):
            row |= {f"{kind}_{key}": score[key] if score else None for key in SCORE}
        row["raw_difference"] = run.raw_difference
        far = far_tasks(run.dataset, runs)
        row |= {f"far_{key}": run.success(far, key) for key in keys}
        row |= {f"segments_{key}_success": run.by_segments.get(key, {}).get("success") for key in segments}
        row |= {f"augmentation_{key}": run.augmentation[key] for key in ("requested", "realised")}
        row["contradiction_rate"] = run.augmentation["contradiction_rate"]
        row |= {f"instruments_{name}": run.instruments.get(name) for name in instruments_of(runs)}
        row |= {key: getattr(run, key) for key in ("updates_per_s", "wall_s", "dataset_sha256", "commit", "folder")}
        rows.append(row)
    return as_lines(list(rows[0]), rows)


def curves_to_csv(runs: Sequence[Run]) -> str:
    """curves.csv: one line for each evaluation of each run. An empty field: the dataset has no such tasks."""
    rows = [
        {key: getattr(run, key) for key in ("dataset", "agent", "goals", "seed")}
        | {"step": step}
        | {kind: run.curves.get(kind, {}).get(step) for kind in ("seen", "unseen")}
        for run in runs
        if run.curves
        for step in sorted(set().union(*run.curves.values()))
    ]
    return as_lines(["dataset", "agent", "goals", "seed", "step", "seen", "unseen"], rows)


def as_lines(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
