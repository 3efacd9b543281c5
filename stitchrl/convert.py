"""`python -m stitchrl.convert SRC DST`: a dataset into another format.

SRC is a Minari id, a D4RL file (.hdf5), an OGBench file (.npz) or a pickle of the stitching paper's (.pkl, only with
--unsafe-pickle); DST a Minari id, a .hdf5 or a .npz file. Episodes are streamed.

Minari's writer of Arrow and Parquet looks at every episode again for each new one: twice the episodes take nearly four
times as long (500 took 8 s of processor time, as HDF5 0.7 s).

What a format does not hold is said on stderr. Minari and D4RL hold which episodes were terminated, OGBench does not;
with --cut the last piece of such an episode is. --overwrite covers the -val.npz beside a .npz file, too.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stitchrl.guard import Parser, guarded

# What takes seconds to import is imported where it is used: `--help` and misspelt options are answered at once.
if TYPE_CHECKING:
    from stitchrl.data.formats.source import Source


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="python -m stitchrl.convert", description=__doc__, formatter_class=as_written)
    parser.add_argument("source", metavar="SRC")
    parser.add_argument("destination", metavar="DST")
    parser.add_argument("--overwrite", action="store_true", help="replace DST")
    layouts = "of a Minari DST: hdf5 (default), arrow or parquet; the latter two need pyarrow"
    parser.add_argument("--minari-format", choices=["hdf5", "arrow", "parquet"], metavar="FORMAT", help=layouts)
    parser.add_argument("--unsafe-pickle", action="store_true", help="read a pickle, which may run any code")
    parser.add_argument("--cut", type=int, metavar="STEPS", help="cut episodes into pieces of so many steps")
    parser.add_argument("--tasks", type=Path, help="with --cut: no piece joins an unseen task of this file")
    parser.add_argument("--seed", type=int, default=0, help="with --cut: of the phase at which episodes are cut")
    options = parser.parse_args()

    from stitchrl.data.formats import check_destination, destinations, is_file, open_source, place, write
    from stitchrl.files import followed

    if options.tasks and not options.cut:
        raise ValueError("--tasks: only --cut needs them")
    if options.minari_format and is_file(options.destination):
        raise ValueError(f"--minari-format: {options.destination} is a file, a Minari id expected")
    layout = options.minari_format or "hdf5"
    check_destination(options.destination, options.overwrite, layout)
    for beside in destinations(options.destination)[1:]:
        if followed(beside) == followed(place(options.source)):
            raise ValueError(f"{options.destination}: {beside}, which is written with it, is the source itself")
    source = open_source(options.source, options.unsafe_pickle)
    for note in source.notes:
        print(f"{source.name}: {note}", file=sys.stderr)
    if options.cut is not None:
        source = _cut(source, options.cut, options.tasks, options.seed)
    sha256 = source.sha256  # compared with what was stored, before anything is written
    for note in write(options.destination, source, layout):
        print(f"{options.destination}: {note}", file=sys.stderr)
    print(f"{options.destination}: {len(source.lengths)} episodes, {source.lengths.sum()} transitions, sha256 {sha256}")


def _cut(source: "Source", steps: int, tasks_file: Path | None, seed: int) -> "Source":
    import numpy as np

    from stitchrl.audit.achieved import at_columns, check_columns
    from stitchrl.audit.tasks import read_tasks
    from stitchrl.data.cut import cut, pieces_terminated
    from stitchrl.data.formats.flat import GOAL
    from stitchrl.data.formats.source import of_episodes
    from stitchrl.types import Task

    if steps < 1:
        raise ValueError(f"--cut: {steps} given, a positive number of steps expected")
    columns: Sequence[int] = GOAL
    tasks: list[Task] = []
    if tasks_file is not None:
        read = read_tasks(tasks_file)
        tasks = [task for task in read.tasks if isinstance(task, Task)]
        if len(tasks) < len(read.tasks):
            raise ValueError(f"{tasks_file}: episodes are cut between goals, targets given")
        columns = read.columns
        check_columns(columns, source.observations.size)
    unseen = [task for task in tasks if task.expect == "unseen"]
    episodes = source.read()
    achieved = at_columns(columns)(episodes.observations.numpy())
    pieces, origin = cut(episodes, steps, unseen, np.random.default_rng([seed, steps]), achieved)
    # What was known of the whole episodes is not true of the pieces.
    terminated = pieces_terminated(source.terminated, origin)
    return dataclasses.replace(of_episodes(source.name, pieces, {}), origin=source.origin, terminated=terminated)


if __name__ == "__main__":
    guarded(main)
