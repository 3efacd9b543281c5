"""What an audit costs: CPU seconds and peak memory from 1e5 to 1e8 transitions, as a stream; and a conversion of 1e7.

    python benchmarks/audit_cost.py [--largest 8]

The data are synthetic: episodes along shortest paths of the medium maze, cut into pieces of 50 steps and repeated with
other noise until there are enough. Each size runs in a process of its own: its peak memory holds Python and PyTorch
too. Writes results/audit_cost.json.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from generation import processor
from stitchrl.audit.positions import Positions

from stitchrl.audit.certificate import certify
from stitchrl.audit.survey import survey
from stitchrl.data.episodes import Episodes
from stitchrl.data.formats import d4rl, ogbench
from stitchrl.data.formats.source import Source
from stitchrl.files import write_json
from stitchrl.types import Region, Task
from stitchrl.worlds.maze.maps import Maze

RESULTS = Path(__file__).parent / "results" / "audit_cost.json"
MAZE = Maze("medium", 1.0)
PIECE, STRIDE = 50, 0.05  # steps, metres
BLOCK = 100_000 // PIECE  # episodes that are repeated
FAR = (((6, 6), (6, 3)), ((6, 6), (6, 1)), ((6, 5), (6, 3)), ((6, 5), (6, 1)), ((1, 1), (6, 5)), ((1, 6), (6, 6)))


def block() -> np.ndarray:
    """Pieces [BLOCK, PIECE + 1, 2] of ways between random cells."""
    rng = np.random.default_rng(0)
    pieces: list[np.ndarray] = []
    while len(pieces) < BLOCK:
        start, goal = (MAZE.cells[i] for i in rng.choice(len(MAZE.cells), 2, replace=False))
        corners = [MAZE.to_xy(cell) for cell in MAZE.path(start, goal)]
        way = np.concatenate([np.linspace(a, b, round(1 / STRIDE), endpoint=False) for a, b in pairwise(corners)])
        pieces += [way[i : i + PIECE + 1] for i in range(rng.integers(PIECE), len(way) - PIECE, PIECE)]
    return np.stack(pieces[:BLOCK])


def synthetic(transitions: int) -> Source:
    """As many repetitions of the block, each with its own noise, as make so many transitions."""
    base = torch.from_numpy(block().reshape(-1, 2)).float()
    lengths = torch.full((BLOCK,), PIECE)
    actions = torch.zeros(len(base), 2)
    actions[(lengths + 1).cumsum(0) - 1] = torch.nan
    repetitions = -(-transitions // (BLOCK * PIECE))

    def chunks(rows: int) -> Iterator[Episodes]:
        for number in range(repetitions):
            noise = torch.rand(base.shape, generator=torch.Generator().manual_seed(number))
            yield Episodes(torch.cat([base + 0.2 * noise - 0.1, noise], 1), actions, None, lengths)

    return Source("synthetic", np.full(BLOCK * repetitions, PIECE), 4, 2, False, chunks)


def measure(transitions: int) -> dict[str, float]:
    """CPU seconds (of one thread) to read and hash the stream, to certify what was read, and to survey it."""
    torch.set_num_threads(1)
    source = synthetic(transitions)
    tasks = [
        Task(str(i), Region(tuple(MAZE.to_xy(a)), 0.25), Region(tuple(MAZE.to_xy(b)), 0.25, 0.45), "unseen")
        for i, (a, b) in enumerate(FAR)
    ]
    began = time.process_time()
    positions, sha256 = Positions.of_source(source), source.sha256
    read = time.process_time()
    certificate = certify("synthetic", sha256, positions, tasks, MAZE, 0.45, 50, control=False)
    certified = time.process_time()
    survey(source, positions, tasks, MAZE, 0.45, [task["segments_needed"] for task in certificate.tasks])
    assert all(task["status"] == "unseen" and task["segments_needed"] > 1 for task in certificate.tasks)
    return {
        "transitions": int(source.lengths.sum()),
        "read_s": round(read - began, 2),
        "certificate_s": round(certified - read, 2),
        "survey_s": round(time.process_time() - certified, 2),
        "peak_memory_gb": peak_memory(),
    }


def measure_conversion(transitions: int) -> dict[str, float]:
    """Seconds to write a stream as a D4RL file, and to convert that file into an OGBench file."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "synthetic.hdf5"
        began = time.perf_counter()
        d4rl.write(path, synthetic(transitions))
        written = time.perf_counter()
        ogbench.write(path.with_suffix(".npz"), d4rl.open_source(path))
        converted = time.perf_counter()
    return {
        "transitions": transitions,
        "write_d4rl_s": round(written - began, 2),
        "d4rl_to_ogbench_s": round(converted - written, 2),
        "peak_memory_gb": peak_memory(),
    }


def peak_memory() -> float:
    """Of this process so far, in gigabytes."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=8, help="power of ten")
    parser.add_argument("--only", type=int, help="print one size's figures")
    parser.add_argument("--conversion", action="store_true", help="with --only: of a conversion")
    options = parser.parse_args()
    if options.only:
        print(json.dumps((measure_conversion if options.conversion else measure)(options.only)))
        return

    def alone(*arguments: str) -> dict[str, float]:
        call = [sys.executable, __file__, *arguments]
        found = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
        print(found, flush=True)
        return found

    result = {
        "command": "python benchmarks/audit_cost.py",
        "host": {"processor": processor()},
        "audits": [alone("--only", str(10**power)) for power in range(5, options.largest + 1)],
        "conversion": alone("--only", str(10**7), "--conversion"),
    }
    write_json(RESULTS, result)


if __name__ == "__main__":
    main()
