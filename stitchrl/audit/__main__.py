"""`python -m stitchrl.audit DATASET [--tasks FILE] [--json]`: does a dataset test stitching, of goals or of returns?

DATASET is a Minari id, a D4RL file (.hdf5), an OGBench file (.npz) or a pickle of the stitching paper's (.pkl, only
with --unsafe-pickle). Its tasks are those of --tasks, or its own if it was made here, or those that it is known for if
it is of OGBench's mazes or D4RL's and has kept its name (antmaze-medium-stitch-v0.npz, antmaze-medium-play-v2.hdf5,
D4RL/antmaze/medium-play-v1). Exit status: 0 if every task has the status that it expects and every unseen one a chain
of episodes from start to goal, 1 if not, 2 for unusable input.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stitchrl.guard import Parser, guarded

# What takes seconds to import is imported where it is used: `--help` and misspelt options are answered at once.
if TYPE_CHECKING:
    from stitchrl.audit.certificate import Audited, Certificate, Judge
    from stitchrl.audit.tasks import Tasks
    from stitchrl.data.formats.source import Source

WIDE = 10_000  # columns, more than any table takes
# Of a dataset that is not ours: the success radius of our worlds, and how many episodes make a task seen. Of their own
# data others know best how many are enough support: these counts are told, not judged.
OTHERS: dict[str, Any] = {"epsilon": 0.45, "min_episodes": 50, "min_support": 0}


def main() -> None:
    parser = Parser(
        prog="python -m stitchrl.audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument("--tasks", type=Path, metavar="FILE", help="YAML of regions, see stitchrl.audit.tasks")
    parser.add_argument("--json", action="store_true", help="print the certificate as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page that needs nothing beside it")
    parser.add_argument(
        "--epsilon", type=float, help="within which episodes are joined; the success radius. 0: goals must be equal"
    )
    parser.add_argument("--min-episodes", type=int, help="that make a task seen; 50, or the dataset's own")
    parser.add_argument("--unsafe-pickle", action="store_true", help="read a pickle, which may run any code")
    parser.add_argument(
        "--trust-marks", action="store_true", help="of ends of episodes in a file, where bodies may jump"
    )
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="with the file of a world of your own")
    options = parser.parse_args()
    if options.config_dir is not None:
        sys.path.insert(0, "")  # as for the other commands, a world's module may lie in the working folder
    if options.epsilon is not None and not options.epsilon >= 0:
        raise ValueError(f"--epsilon: {options.epsilon} given, a number of at least 0 expected")
    if options.min_episodes is not None and options.min_episodes < 1:
        raise ValueError(f"--min-episodes: {options.min_episodes} given, a positive number expected")

    from stitchrl.audit.tasks import read_tasks
    from stitchrl.data.formats import open_source
    from stitchrl.data.formats.flat import GOAL

    chosen = None if options.tasks is None else read_tasks(options.tasks)
    columns = GOAL if chosen is None else chosen.columns
    source = open_source(options.dataset, options.unsafe_pickle, columns, options.trust_marks)
    for note in source.notes:
        print(f"{source.name}: {note}", file=sys.stderr)
    judge, audited = choose(source, chosen, options.config_dir)
    if options.epsilon is not None:
        audited = replace(audited, epsilon=options.epsilon)
    if options.min_episodes is not None:
        audited = replace(audited, min_episodes=options.min_episodes)
    certificate = judge.certify(audited)
    surveyed = judge.survey(source, audited, certificate)
    if options.html:
        write_page(options.html, source, audited, certificate, surveyed)
    if options.json:
        print(json.dumps(certificate.as_dict() | surveyed))
    else:
        show(source, audited, certificate, surveyed)
    sys.exit(0 if certificate.passed else 1)


def choose(source: Source, chosen: Tasks | None, folder: Path | None = None) -> tuple[Judge, Audited]:
    """A dataset with the chosen tasks, or its own, or those that it is known for. ValueError where it has none."""
    from stitchrl.audit.achieved import Achieved, at_columns
    from stitchrl.audit.certificate import Audited

    if chosen is None:
        return own(source, folder) if "manifest" in source.metadata else published(source)
    achieved, rewards = Achieved.of_source(source, at_columns(chosen.columns)), rewards_of(source, chosen.judge)
    others = {**OTHERS, "walls": None, "rewards": rewards, "walls_known": False}
    return chosen.judge, Audited(source.name, source.sha256, achieved, chosen.tasks, **others)


def own(source: Source, folder: Path | None) -> tuple[Judge, Audited]:
    """A dataset that was made here, with its own tasks. folder: where its world's file is, if it is not ours."""
    from stitchrl.audit.achieved import Achieved
    from stitchrl.benchmark.benchmark import make_benchmark
    from stitchrl.benchmark.official import renewed
    from stitchrl.settings import world_settings

    try:
        values = renewed(source.metadata["manifest"]["spec"])
        tasks = source.metadata["certificate"]["tasks"]
        benchmark = make_benchmark(values, world_settings(values["world"], folder))
        ceilings = {task["name"]: task["ceiling"] for task in tasks if task["ceiling"] is not None}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{source.name}: expected the manifest of a dataset of ours, found {error!r}") from error
    judge = benchmark.objective.judge
    achieved = Achieved.of_source(source, benchmark.world.goal_space.of)
    return judge, benchmark.audited(source.sha256, achieved, rewards_of(source, judge), ceilings)


def published(source: Source) -> tuple[Judge, Audited]:
    """A dataset of others with the tasks that it is known for."""
    from stitchrl.audit.achieved import Achieved
    from stitchrl.audit.certificate import Audited
    from stitchrl.audit.judges import JUDGES
    from stitchrl.worlds.maze.known import find_tasks
    from stitchrl.worlds.maze.maps import INSIDE

    known = find_tasks(source.origin) or find_tasks(source.name)
    if known is None:
        raise ValueError(f"{source.name}: no tasks are known of it; give them with --tasks FILE")
    achieved = Achieved.of_source(source, known.of)
    known.turn(achieved.stored)
    share = sum(known.inside(achieved.of_part(part)) * (part.end - part.begin) for part in achieved.parts)
    if share < INSIDE * len(achieved):
        raise ValueError(
            f"{source.name}: its name stands for the maze {known.maze.name}, but {100 * share / len(achieved):.0f}% of "
            "its positions lie in it; give its tasks with --tasks FILE"
        )
    others = {**OTHERS, "walls": known.maze, "unit": "m", "drawing": known.maze.drawing}
    return JUDGES["goal"], Audited(source.name, source.sha256, achieved, known.tasks, **others)


def rewards_of(source: Source, judge: Judge) -> Any:
    """The rewards [N] of all rows; None where there are none, or nobody asks."""
    import numpy as np

    from stitchrl.audit.achieved import ROWS

    if not (judge.rewarded and source.rewarded):
        return None
    return np.concatenate([part.rewards.numpy() for part in source.stream(ROWS) if part.rewards is not None])


def show(source: Source, audited: Audited, certificate: Certificate, surveyed: dict[str, Any]) -> None:
    """Print the verdict and its caveats, the table of tasks, and the survey in words."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from stitchrl.audit import words

    look: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}  # names are text
    wide = Console(width=WIDE, **look)  # for what is never broken or cut, such as tables
    console = Console(**look) if sys.stdout.isatty() else wide  # what is piped on has no width
    wide.print(f"{source.name}: {len(source.lengths)} episodes, {source.lengths.sum()} transitions")
    wide.print(f"sha256 {certificate.dataset_sha256}")
    for sentence in (*certificate.judge.verdict(certificate), *words.caveats(audited, certificate, surveyed)):
        console.print(sentence)
    headings, rows = words.table(certificate)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, heading in enumerate(headings):
        table.add_column(heading, no_wrap=True, justify="right" if i > 1 else "left", min_width=len(heading))
    for row in rows:
        table.add_row(*row)
    wide.print(table)
    console.print(words.meanings(certificate))
    for sentence in certificate.judge.details(surveyed, audited, certificate):
        console.print(sentence)
    for problem in certificate.problems:
        wide.print(problem)
    console.print("passes" if certificate.passed else "FAILS")


def write_page(
    path: Path, source: Source, audited: Audited, certificate: Certificate, surveyed: dict[str, Any]
) -> None:
    """The same as a page."""
    from stitchrl.audit import words
    from stitchrl.audit.cooccurrence import stretches
    from stitchrl.report import audit_page

    said = audit_page.Said(
        certificate.judge.verdict(certificate),
        words.caveats(audited, certificate, surveyed),
        *words.table(certificate),
        words.meanings(certificate),
        certificate.judge.details(surveyed, audited, certificate),
    )
    parts = stretches(certificate.tasks, audited.achieved)
    audit_page.write_page(path, certificate.as_dict(), said, audited.achieved.stored, source.lengths, parts)
    print(f"page: {path}", file=sys.stderr)


if __name__ == "__main__":
    guarded(main)
