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
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stitchrl.guard import Parser, guarded

# What takes seconds to import is imported where it is used: `--help` and misspelt options are answered at once.
if TYPE_CHECKING:
    from rich.console import Console

    from stitchrl.audit.certificate import Certificate
    from stitchrl.audit.positions import Positions
    from stitchrl.audit.tasks import Tasks
    from stitchrl.data.formats.source import Source
    from stitchrl.types import ReturnTask, Task
    from stitchrl.worlds.maze.maps import Maze

WIDE = 10_000  # columns, more than any table takes


def main() -> None:
    parser = Parser(
        prog="python -m stitchrl.audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument("--tasks", type=Path, metavar="FILE", help="YAML of regions, see stitchrl.audit.tasks")
    parser.add_argument("--json", action="store_true", help="print the certificate as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page that needs nothing beside it")
    parser.add_argument("--epsilon", type=float, help="within which episodes are joined; the success radius")
    parser.add_argument("--min-episodes", type=int, help="that make a task seen; 50, or the dataset's own")
    parser.add_argument("--unsafe-pickle", action="store_true", help="read a pickle, which may run any code")
    parser.add_argument(
        "--trust-marks", action="store_true", help="of ends of episodes in a file, where bodies may jump"
    )
    options = parser.parse_args()

    from stitchrl.audit.positions import POSITION
    from stitchrl.audit.tasks import read_tasks
    from stitchrl.data.formats import open_source
    from stitchrl.worlds import SUCCESS_RADIUS

    options.epsilon = SUCCESS_RADIUS if options.epsilon is None else options.epsilon
    if not options.epsilon > 0:
        raise ValueError(f"--epsilon: {options.epsilon} given, a positive number expected")
    if options.min_episodes is not None and options.min_episodes < 1:
        raise ValueError(f"--min-episodes: {options.min_episodes} given, a positive number expected")
    chosen = None if options.tasks is None else read_tasks(options.tasks)
    columns = POSITION if chosen is None else chosen.columns
    source = open_source(options.dataset, options.unsafe_pickle, columns, options.trust_marks)
    for note in source.notes:
        print(f"{source.name}: {note}", file=sys.stderr)
    audited = choose(source, chosen)
    judge = audit_returns if audited.returns else audit_goals
    certificate, surveyed = judge(source, audited, options)
    if options.json:
        print(json.dumps(certificate.as_dict() | surveyed))
    elif audited.returns:
        show_returns(certificate, source)
    else:
        show(certificate, surveyed, source)
    sys.exit(0 if certificate.passed else 1)


def audit_goals(source: Source, audited: Audited, options: argparse.Namespace) -> tuple[Certificate, dict[str, Any]]:
    """The certificate, and what the survey tells beside it; writes the page that was asked for."""
    from stitchrl.audit.certificate import certify
    from stitchrl.audit.survey import survey

    certificate = certify(
        audited.name,
        source.sha256,
        audited.positions,
        audited.tasks,
        audited.maze,
        options.epsilon,
        options.min_episodes or audited.min_episodes,
        audited.control,
        audited.ceilings,
        audited.min_support,
    )
    needed = [task["segments_needed"] for task in certificate.tasks]
    surveyed = survey(source, audited.positions, audited.tasks, audited.maze, options.epsilon, needed)
    if options.html:
        from stitchrl.report.audit_page import write_page

        values, sentences = certificate.as_dict() | surveyed, seam_words(certificate, surveyed)
        write_page(
            options.html, values, sentences, audited.tasks, audited.maze, audited.positions.stored, source.lengths
        )
        print(f"page: {options.html}", file=sys.stderr)
    return certificate, surveyed


def audit_returns(source: Source, audited: Audited, options: argparse.Namespace) -> tuple[Certificate, dict[str, Any]]:
    """The certificate; there is no survey of returns."""
    import numpy as np

    from stitchrl.audit.positions import ROWS
    from stitchrl.audit.returns import certify_returns

    if options.html:
        raise ValueError("--html: pages are of goals, and these tasks ask for returns")
    if not source.rewarded:
        raise ValueError(f"{source.name}: has no rewards, and its tasks ask for returns")
    certificate = certify_returns(
        audited.name,
        source.sha256,
        audited.positions,
        np.concatenate([episodes.rewards.numpy() for episodes in source.stream(ROWS) if episodes.rewards is not None]),
        audited.returns,
        audited.maze,
        options.epsilon,
        options.min_episodes or audited.min_episodes,
        audited.control,
        audited.ceilings,
        audited.min_support,
    )
    return certificate, {}


class Audited(NamedTuple):
    """What is looked at, and how."""

    name: str
    positions: Positions
    tasks: list[Task]
    returns: list[ReturnTask]  # where these are asked for, and no goals
    maze: Maze | None
    min_episodes: int
    min_support: int
    control: bool = False
    ceilings: dict[str, float] | None = None


def choose(source: Source, chosen: Tasks | None) -> Audited:
    """A dataset with the chosen tasks, or its own, or those that it is known for. ValueError where it has none."""
    from stitchrl.audit.known import find_tasks
    from stitchrl.audit.positions import Positions
    from stitchrl.factory import make_return_tasks, make_tasks
    from stitchrl.types import DatasetSpec
    from stitchrl.worlds import make_world
    from stitchrl.worlds.maze.maps import Maze

    # Of their own data others know best how many episodes are enough: these counts are told, not judged.
    if chosen is not None:
        positions, enough = Positions.of_source(source, chosen.columns), DatasetSpec.min_episodes
        return Audited(source.name, positions, chosen.tasks, chosen.returns, None, enough, min_support=0)
    if "manifest" in source.metadata:
        try:
            values = source.metadata["manifest"]["spec"]
            spec = DatasetSpec.create(values, Maze(values["maze"], scale=1.0).cells)
            known = {task["name"]: task["ceiling"] for task in source.metadata["certificate"]["tasks"]}
        except (KeyError, TypeError) as error:
            raise ValueError(f"{source.name}: expected the manifest of a dataset of ours, found {error!r}") from error
        world = make_world(spec.world, spec.maze)
        return Audited(
            spec.name,
            Positions.of_source(source),
            make_tasks(spec, world),
            make_return_tasks(spec, world),
            world.maze,
            spec.min_episodes,
            spec.min_episodes,
            spec.control,
            {name: ceiling for name, ceiling in known.items() if ceiling is not None},
        )
    published = find_tasks(source.origin) or find_tasks(source.name)
    if published is None:
        raise ValueError(f"{source.name}: no tasks are known of it; give them with --tasks FILE")
    positions = Positions.of_source(source)
    try:
        published.turn(positions)
    except ValueError as error:
        raise ValueError(f"{source.name}: {error}") from error
    return Audited(source.name, positions, published.tasks, [], published.maze, DatasetSpec.min_episodes, min_support=0)


def show(certificate: Certificate, surveyed: dict[str, Any], source: Source) -> None:
    """The certificate as a table, the survey in words."""
    from rich import box
    from rich.table import Table

    console, wide = _consoles()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("task", "status"):
        table.add_column(heading, no_wrap=True)
    for heading in ("joined", "any order", "starts", "visits", "missed", "segments"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    for task in certificate.tasks:
        counts = [str(task[key]) for key in ("ordered", "unordered", "starts", "visits")]
        fewest, most = task["segments_range"]
        segments = _text(task["segments_needed"])
        if fewest != most:
            segments += f" ({_text(fewest)}-{_text(most)})"
        status = task["status"] + ("" if task["status"] == task["expect"] else f", not {task['expect']}")
        table.add_row(task["name"], status, *counts, _text(task["clearance"], ".2f"), segments)
    wide.print(f"{source.name}: {len(source.lengths)} episodes, {source.lengths.sum()} transitions")
    wide.print(f"sha256 {certificate.dataset_sha256}")
    wide.print(table)
    console.print(
        "joined: episodes that visit the start and later the goal; any order: that visit both; starts: that begin in "
        "the start; visits: that visit the goal; missed: by how much the nearest failed to join them; segments: the "
        f"fewest episodes in a chain, at epsilon {certificate.epsilon:g} (at twice to half of it, where that differs)"
    )
    lengths, area, apart = surveyed["episode_lengths"], surveyed["coverage"], surveyed["distances"]
    console.print(
        f"Episodes of {lengths['min']} to {lengths['max']} steps, {lengths['median']:g} in the middle; they visit "
        f"{area['area']:g} square metres, {100 * area['shared']:.0f}% of which several of them do."
    )
    console.print(
        f"Wasserstein distance of what is evaluated from what training sees: {apart['pairs']:.2f} for (state, goal) "
        f"pairs, {apart['starts']:.2f} for states and {apart['goals']:.2f} for goals alone."
    )
    for sentence in seam_words(certificate, surveyed):
        console.print(sentence)
    again = surveyed["continued"]
    if again["episodes"]:
        joined = [f"{name} {count}" for name, count in again["ordered"].items() if count]
        console.print(
            f"{again['episodes']} episodes end in the very state in which another begins. Laid end to end they are "
            f"{again['rejoined']}, which join tasks: {', '.join(joined) or 'none'}."
        )
    for problem in certificate.problems:
        wide.print(problem)
    console.print("passes" if certificate.passed else "FAILS")


def show_returns(certificate: Certificate, source: Source) -> None:
    """The certificate of returns as a table."""
    from rich import box
    from rich.table import Table

    console, wide = _consoles()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("task", "status"):
        table.add_column(heading, no_wrap=True)
    for heading in ("target", "steps", "attained by", "elsewhere", "best", "99%", "by chaining", "segments"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    for task in certificate.tasks:
        counts = [str(task[key]) for key in ("horizon", "attaining", "elsewhere")]
        values = [_text(task[key]) for key in ("best_in_data", "p99")]
        chained = ", ".join(_text(value) for value in task["best_by_segments"].values())
        status = task["status"] + ("" if task["status"] == task["expect"] else f", not {task['expect']}")
        table.add_row(
            task["name"], status, _text(task["target"]), *counts, *values, chained, _text(task["segments_needed"])
        )
    wide.print(f"{source.name}: {len(source.lengths)} episodes, {source.lengths.sum()} transitions")
    wide.print(f"sha256 {certificate.dataset_sha256}")
    wide.print(table)
    console.print(
        "attained by: episodes that collect the target within so many steps of the start; elsewhere: that collect it "
        "from other states; best, 99%: the most that an episode collected from the start, and what one in a hundred of "
        "its states there exceeds; by chaining: the most that one, two and three episodes in a chain collect, at "
        f"epsilon {certificate.epsilon:g}; segments: how many are needed for the target"
    )
    for problem in certificate.problems:
        wide.print(problem)
    console.print("passes" if certificate.passed else "FAILS")


def _consoles() -> tuple[Console, Console]:
    """For sentences, and for what is never broken or cut, such as tables. What is piped on has no width."""
    from rich.console import Console

    def of_width(width: int | None) -> Console:
        return Console(width=width, highlight=False, markup=False, emoji=False)  # names are text

    wide = of_width(WIDE)
    return (of_width(None) if sys.stdout.isatty() else wide), wide


def seam_words(certificate: Certificate, surveyed: dict[str, Any]) -> list[str]:
    """What the survey tells of the seams of chains, a sentence for each part that has something to tell."""
    walls, seams, matched = (surveyed[key] for key in ("walls", "seams", "segments_matched"))
    chained = {task["name"]: task["segments_needed"] for task in certificate.tasks if task["segments_needed"] != 1}
    sentences = []
    if walls:
        fewer = [
            f"{name} {walls['segments'][name]} (not {_text(count)})"
            for name, count in chained.items()
            if walls["segments"][name] != count
        ]
        sentences.append(
            f"Walls rule out {100 * walls['share']:.2g}% of joins between episodes; without them "
            + (f"fewer would do: {', '.join(fewer)}." if fewer else "as many would be needed.")
        )
    if seams is None:
        sentences.append("Observations hold nothing beside the position that could jump where episodes are joined.")
    elif seams["jump"]:
        sentences.append(
            f"Where one episode must be left for another, what is observed beside the position jumps by "
            f"{seams['jump']['median']:.2f} standard deviations at least ({seams['jump']['p90']:.2f} in one of ten "
            f"places); a step changes it by {seams['step']['median']:.2f}, two states at random are "
            f"{seams['random']['median']:.2f} apart."
        )
    found = {name: count for name, count in (matched or {"tasks": {}})["tasks"].items() if chained.get(name)}
    if matched and found:
        most = "" if matched["exact"] else " at most, as a sample of the rows shows"
        sentences.append(
            f"Joined only where that jumps by {matched['threshold']:g} or less, segments are{most}: "
            + f"{', '.join(f'{name} {_text(count)}' for name, count in found.items())}."
        )
    return sentences


def _text(value: Any, form: str = "g") -> str:
    return "none" if value is None else format(value, form)


if __name__ == "__main__":
    guarded(main)
