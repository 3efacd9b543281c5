"""How much of what is evaluated as stitching does co-occur? Published protocols, repeated with our bodies and audited.

    python benchmarks/audits/findings.py [--only d4rl]

D4RL's ant mazes: 1000 steps (700 in the U-maze) from a start to a goal, where the body stays. `diverse` draws both
from all cells, `play` goals from those marked in its maps and starts from the others, its U-maze has one of each.
OGBench's `navigate` for the point: another goal each time one is reached, for 1000 steps (2000 in the giant maze).
300,000 steps of the ant, a million of the point. The paper's contexts (`regions`) and OGBench's `stitch` (`short`) are
datasets of ours: of these the committed certificates are read. Adds to findings.json, and writes README.md beside it.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import track

from stitchrl.audit.achieved import Achieved
from stitchrl.audit.certificate import Audited
from stitchrl.audit.goals import GOALS
from stitchrl.data.episodes import Episodes
from stitchrl.files import write, write_json
from stitchrl.settings import world_settings
from stitchrl.types import Region, Task
from stitchrl.worlds import World, make_world
from stitchrl.worlds.maze.known import ANT_GOALS, OGBENCH
from stitchrl.worlds.maze.maps import Cell, Maze
from stitchrl.worlds.rollout import Request, VectorRollout, run

HERE = Path(__file__).parent
FOUND, PAGE = HERE / "findings.json", HERE / "README.md"
PUBLISHED = HERE.parent.parent / "datasets"
SEED = 0
STEPS = {"antmaze": 300_000, "pointmaze": 1_000_000}
MARKED = {  # goals in the maps that D4RL's `play` data were collected with
    "medium": ((2, 6), (5, 1), (6, 5)),
    "large": ((1, 6), (3, 5), (3, 10), (5, 2), (7, 4), (7, 6), (7, 9)),
}
D4RL_START = (1, 1)


class Protocol(NamedTuple):
    """What is collected, and what is evaluated."""

    name: str
    world: str
    maze: str
    starts: Sequence[Cell]
    goals: Sequence[Cell]
    length: int  # steps in every episode
    wander: bool  # to another goal each time one is reached
    pairs: Sequence[tuple[Cell, Cell]]


def protocols() -> Iterator[Protocol]:
    cells = {name: Maze(name, 1.0).cells for name in ("umaze", "medium", "large", "giant")}
    for maze, goal in ANT_GOALS.items():
        length = 700 if maze == "umaze" else 1000
        every, pairs = cells[maze], [(D4RL_START, goal)]
        if maze == "umaze":
            yield Protocol("d4rl-umaze", "antmaze", maze, [D4RL_START], [goal], length, False, pairs)
        yield Protocol(f"d4rl-{maze}-diverse", "antmaze", maze, every, every, length, False, pairs)
        if maze in MARKED:
            starts = [cell for cell in every if cell not in MARKED[maze]]
            yield Protocol(f"d4rl-{maze}-play", "antmaze", maze, starts, MARKED[maze], length, False, pairs)
    for maze, pairs in OGBENCH.items():
        length, name = 2000 if maze == "giant" else 1000, f"ogbench-pointmaze-{maze}-navigate"
        yield Protocol(name, "pointmaze", maze, cells[maze], turns(maze), length, True, pairs)


def turns(maze: str) -> list[Cell]:
    """Cells that are no mere passage: dead ends, corners and crossings, between which `navigate` goes."""
    free = Maze(maze, 1.0).free

    def passage(row: int, column: int) -> bool:
        up, down, left, right = (free[row + dr, column + dc] for dr, dc in ((-1, 0), (1, 0), (0, -1), (0, 1)))
        return (up and down and not left and not right) or (left and right and not up and not down)

    return [cell for cell in Maze(maze, 1.0).cells if not passage(*cell)]


class Wanderer:
    """A behaviour that is sent to another goal each time it arrives."""

    def __init__(self, world: World, envs: int, goals: Sequence[Cell]):
        self.behaviour, self.world, self.cells = world.behaviour(envs), world, goals
        self.goals = np.full((envs, 2), np.inf)
        self.requests: dict[int, Request] = {}

    def begin(self, env: int, request: Request) -> None:
        self.goals[env], self.requests[env] = request.goal, request
        self.behaviour.begin(env, request)

    def act(self, observations: np.ndarray, steps: np.ndarray) -> np.ndarray:
        here = self.world.goal_space.of(observations)
        for env in np.flatnonzero(self.world.goal_space.success(here, self.goals)).tolist():
            request = self.requests[env]
            goal = draw(self.world.maze, self.cells, request.rng)
            self.begin(env, request._replace(start=here[env], goal=goal))
        return self.behaviour.act(observations, steps)


def draw(maze: Maze, cells: Sequence[Cell], rng: np.random.Generator) -> np.ndarray:
    """A point [2] in the middle half of one of the cells."""
    return maze.to_xy(cells[rng.integers(len(cells))]) + rng.uniform(-0.25, 0.25, 2) * maze.scale


def collect(protocol: Protocol) -> Episodes:
    world = make_world(world_settings(protocol.world), protocol.maze)
    requests = []
    for number in range(-(-STEPS[protocol.world] // protocol.length)):
        rng = np.random.default_rng([SEED, number])
        ends = (draw(world.maze, cells, rng) for cells in (protocol.starts, protocol.goals))
        requests.append(Request(number, *ends, protocol.length, rng, stays=True))
    envs = world.envs
    controller = Wanderer(world, envs, protocol.goals) if protocol.wander else world.behaviour(envs)
    ended = run([VectorRollout(world.simulate(envs), controller)], requests, world.goal_space.success)
    kept = sorted(track(ended, protocol.name, len(requests)), key=lambda trajectory: trajectory.request.number)
    void = np.full((1, *world.action_space.shape), np.nan, np.float32)
    return Episodes(
        torch.from_numpy(np.concatenate([trajectory.observations for trajectory in kept])),
        torch.from_numpy(np.concatenate([part for trajectory in kept for part in (trajectory.actions, void)])),
        None,
        torch.full((len(kept),), protocol.length),
    )


def audit(protocol: Protocol) -> dict[str, Any]:
    episodes, world = collect(protocol), make_world(world_settings(protocol.world), protocol.maze)
    maze, radius = world.maze, world.goal_space.radius

    def region(cell: Cell, radius: float) -> Region:
        x, y = maze.to_xy(cell)
        return Region((float(x), float(y)), 0.25 * maze.scale, radius)

    tasks = [
        Task(name(*pair), region(pair[0], 0.0), region(pair[1], radius), "unseen", maze.path_length(*pair))
        for pair in protocol.pairs
    ]
    achieved = Achieved.of_episodes(episodes, world.goal_space.of)
    certificate = GOALS.certify(Audited(protocol.name, episodes.sha256, achieved, tasks, maze, radius, 50))
    return {
        "dataset": protocol.name,
        "dataset_sha256": episodes.sha256,
        "episodes": len(episodes.lengths),
        "transitions": int(episodes.lengths.sum()),
        "tasks": [kept(task) for task in certificate.tasks],
    }


def name(start: Cell, goal: Cell) -> str:
    return f"r{start[0]}c{start[1]}-to-r{goal[0]}c{goal[1]}"


def kept(task: dict[str, Any]) -> dict[str, Any]:
    """What a finding tells of a task."""
    keys = ("name", "status", "ordered", "unordered", "segments_needed", "segments_range", "clearance")
    return {key: task[key] for key in keys}


def published(split: str) -> list[dict[str, Any]]:
    """Of our own datasets: what is committed."""
    found = []
    for folder in sorted(PUBLISHED.glob(f"*-{split}-v*")):
        if "-dev-" in folder.name:  # a maze of our own
            continue
        certificate, manifest = (
            json.loads((folder / f"{part}.json").read_text()) for part in ("certificate", "manifest")
        )
        found.append(
            {
                **{key: manifest[key] for key in ("dataset_sha256", "episodes", "transitions")},
                "dataset": manifest["name"],
                "tasks": [kept(task) for task in certificate["tasks"] if task["expect"] == "unseen"],
            }
        )
    return found


def table(findings: Sequence[dict[str, Any]]) -> str:
    """In Markdown, a row for each task."""
    lines = [
        "| data | episodes | task | joined by, in order / any order | share | status | segments needed |",
        "| --- | --: | --- | --: | --: | --- | --- |",
    ]
    for found in findings:
        for task in found["tasks"]:
            share = f"{100 * task['ordered'] / found['episodes']:.1f}%"
            fewest, most = task["segments_range"]
            needed = "none" if task["segments_needed"] is None else f"{task['segments_needed']} ({fewest} to {most})"
            cells = [found["dataset"], f"{found['episodes']:,}", task["name"]]
            cells += [f"{task['ordered']:,} / {task['unordered']:,}", share, task["status"], needed]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page(findings: Sequence[dict[str, Any]]) -> str:
    d4rl, navigate = ([f for f in findings if f["dataset"].startswith(kind)] for kind in ("d4rl", "ogbench"))
    return (
        (HERE / "template.md")
        .read_text()
        .format(
            regions=table(published("regions")),
            short=table(published("short")),
            d4rl=table(d4rl),
            navigate=table(navigate),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="collect protocols whose name holds it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    findings = {found["dataset"]: found for found in json.loads(FOUND.read_text())} if FOUND.exists() else {}
    for protocol in protocols():
        if options.only in protocol.name and protocol.name not in findings:
            findings[protocol.name] = audit(protocol)
            write_json(FOUND, [findings[p.name] for p in protocols() if p.name in findings])
    write(PAGE, lambda path: path.write_text(page(list(findings.values()))))


if __name__ == "__main__":
    main()
