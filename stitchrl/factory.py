"""The dataset factory: a specification is collected, certified and stored. Serves the experiment and `generate`."""

import sys
from collections.abc import Iterator
from dataclasses import astuple, replace
from typing import Any, NamedTuple

import mujoco
import numpy as np
import torch
from tqdm import tqdm

from stitchrl.audit.achieved import Achieved, at_columns
from stitchrl.audit.certificate import Audited, Certificate
from stitchrl.audit.judges import JUDGES
from stitchrl.data.cut import cut, pieces_terminated
from stitchrl.data.episodes import Episodes
from stitchrl.data.formats import is_file, minari, open_source
from stitchrl.data.formats import place as source_place
from stitchrl.data.formats.minari_flat import stamp_of
from stitchrl.data.formats.source import of_episodes
from stitchrl.files import locked
from stitchrl.official import JUDGING, check_name, differing, joined_twin, plain
from stitchrl.types import Cell, DatasetSpec, Expectation, Region, ReturnTask, RewardRegion, Task, collected, reward_at
from stitchrl.versions import versions
from stitchrl.worlds import SUCCESS_RADIUS, World, make_world
from stitchrl.worlds.maze.maps import INSIDE
from stitchrl.worlds.rollout import Request, Trajectory, VectorRollout, run

CEILING_EPISODES = 50
_CEILING = 2**31  # sets the ceiling's generators apart from the episodes' own


class Dataset(NamedTuple):
    spec: DatasetSpec
    episodes: Episodes
    contexts: np.ndarray  # [episodes] which context each was collected in
    certificate: Certificate
    manifest: dict[str, Any]
    terminated: np.ndarray  # [episodes] bool, whether each was ended by its world


def open_dataset(spec: DatasetSpec, workers: int) -> Dataset:
    """The stored dataset, generated first where there is none. Raises ValueError for a damaged one."""
    check_name(spec)
    if not minari.folder(spec.name).exists():
        generate(spec, workers, if_missing=True)
    certificate, metadata = read_stored(spec)
    manifest = metadata["manifest"]
    stored = minari.open_source(f"{minari.NAMESPACE}/{spec.name}")
    episodes = stored.read()  # it compares the hash
    if manifest["versions"]["mujoco"] != mujoco.__version__:
        then, now = manifest["versions"]["mujoco"], mujoco.__version__
        print(f"warning: dataset {spec.name} is of MuJoCo {then}, evaluation will be in {now}", file=sys.stderr)
    assert stored.terminated is not None  # Minari's datasets hold it
    return Dataset(spec, episodes, np.array(metadata["contexts"]), certificate, manifest, stored.terminated)


def read_stored(spec: DatasetSpec) -> tuple[Certificate, dict[str, Any]]:
    """The certificate and the metadata (manifest, certificate, contexts) of a stored dataset.

    The certificate is judged by the specification's own min_episodes and control, whatever they were when the dataset
    was stored. Raises ValueError for a dataset that is damaged, is not of this specification, or was made from a source
    that has changed since.
    """
    path = minari.folder(spec.name)
    metadata = minari.read_metadata(spec.name)
    try:
        if others := differing(metadata["manifest"]["spec"], spec):
            raise ValueError(
                f"{path}: stored with another {', '.join(others)} than dataset {spec.name} has now; remove it, or give "
                "yours another dataset.split"
            )
        certificate = Certificate.from_dict(metadata["certificate"]).judged(spec.min_episodes, spec.control)
        judging = {key: getattr(spec, key) for key in JUDGING}
        manifest = metadata["manifest"] | {"spec": metadata["manifest"]["spec"] | judging}
        _compare_source(spec, manifest)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected a manifest and a certificate of stitchrl's, found {error!r}") from error
    return certificate, metadata | {"manifest": manifest, "certificate": certificate.as_dict()}


def generate(spec: DatasetSpec, workers: int, if_missing: bool = False) -> None:
    """Collect (or adopt, or cut), certify and store a dataset.

    The same seed gives the same bytes for any number of workers. One process at a time generates a dataset;
    if_missing: unless another one has by then. A stored dataset of another specification is never overwritten:
    ValueError.
    """
    check_name(spec)
    minari.check(f"{minari.NAMESPACE}/{spec.name}")
    place = minari.folder(spec.name)
    with locked(place.with_name(f".{place.name}.lock")):
        if place.exists():
            if if_missing:
                return
            _check_replaceable(spec)
        if if_missing:
            print(f"dataset {spec.name} is not there yet: generating it", file=sys.stderr)
        _generate(spec, workers)


def _check_replaceable(spec: DatasetSpec) -> None:
    path = minari.folder(spec.name)
    try:
        others = differing(minari.read_metadata(spec.name)["manifest"]["spec"], spec)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: holds something else than a dataset of stitchrl's; remove it") from error
    if others:
        raise ValueError(
            f"{path}: holds a dataset with another {', '.join(others)}, which is not overwritten; remove it, or give "
            "yours another dataset.split"
        )


def _generate(spec: DatasetSpec, workers: int) -> None:
    torch.set_num_threads(1)  # threads are for physics; the controller's small products only lose by them
    world = make_world(spec.world, spec.maze)
    terminated: np.ndarray | None
    behaviour: dict[str, float] | None
    source = {} if spec.source is None else {"source": _source_stamp(spec.source)}  # before it is read
    if spec.cut is not None:
        joined = open_dataset(joined_twin(spec), workers)
        episodes, origin = cut(
            joined.episodes, spec.cut, parted(spec, world), np.random.default_rng([spec.seed, spec.cut])
        )
        contexts, behaviour = joined.contexts[origin], joined.manifest["behaviour"]
        terminated = pieces_terminated(joined.terminated, origin)
        ceilings = {task["name"]: task["ceiling"] for task in joined.certificate.tasks}
    elif spec.source is not None:
        episodes, terminated = adopt(spec, world)
        contexts, behaviour = np.zeros(len(episodes.lengths), np.int64), None
        ceilings = measure_ceilings(spec, world, workers)
    else:
        episodes, contexts, behaviour = collect(spec, world, workers)
        assert episodes.rewards is not None
        terminated = (episodes.rewards[episodes.last - 1] == 1).numpy() & (spec.length is None)
        ceilings = measure_ceilings(spec, world, workers)
    certificate = _certify(spec, world, episodes, ceilings)
    packages = ("stitchrl", "numpy", "torch", "gymnasium", "gymnasium-robotics", "minari", "mujoco")
    manifest = {
        "name": spec.name,
        "spec": plain(spec),
        "dataset_sha256": episodes.sha256,
        "transitions_sha256": episodes.transitions_sha256,
        "episodes": len(episodes.lengths),
        "transitions": int(episodes.lengths.sum()),
        "behaviour": behaviour,
        "versions": versions(*packages),
    } | source
    metadata = {"manifest": manifest, "certificate": certificate.as_dict(), "contexts": contexts.tolist()}
    notes = minari.write(
        f"{minari.NAMESPACE}/{spec.name}",
        replace(of_episodes(spec.name, episodes, metadata), terminated=terminated),
        [{"context": int(context)} for context in contexts],
        f"{spec.world} {spec.maze} {spec.split}: evaluated pairs and their certificate are in the metadata",
    )
    for note in notes:
        print(f"{spec.name}: {note}", file=sys.stderr)


def _source_stamp(name: str) -> str | None:
    """What changes when a source's files do; None where there are none any more."""
    path = source_place(name)
    data = path if is_file(name) else path / "data"
    return stamp_of(data) if data.exists() else None


def _compare_source(spec: DatasetSpec, manifest: dict[str, Any]) -> None:
    """ValueError where the source that a dataset was made from has changed since. One that is gone tells nothing."""
    if spec.source is None or "source" not in manifest:  # stored before it was noted
        return
    if (now := _source_stamp(spec.source)) is None or now == manifest["source"]:
        return
    episodes = next(open_source(spec.source, columns=(0, 1)).chunks(spec.transitions))
    if episodes.transitions_sha256 != manifest["transitions_sha256"]:
        raise ValueError(
            f"{minari.folder(spec.name)}: made from {spec.source}, which has changed since; remove it to have it made "
            "anew, or give yours another dataset.split"
        )


def parted(spec: DatasetSpec, world: World) -> list[Task]:
    """What no piece of a cut dataset may hold both ends of: unseen tasks; an unseen return's start and best cells."""
    if not spec.targets:
        return [task for task in make_tasks(spec, world) if task.expect == "unseen"]
    rewards = make_rewards(spec, world)
    most = max(rate for _, rate in rewards)
    return [
        Task(task.name, task.start, region, "unseen")
        for task in make_return_tasks(spec, world)
        for region, rate in rewards
        if task.expect == "unseen" and rate == most
    ]


def _certify(spec: DatasetSpec, world: World, episodes: Episodes, ceilings: dict[str, float]) -> Certificate:
    audited = Audited(
        spec.name,
        episodes.sha256,
        Achieved.of_episodes(episodes, at_columns((0, 1))),
        [*make_tasks(spec, world), *make_return_tasks(spec, world)],
        world.maze,
        SUCCESS_RADIUS,
        spec.min_episodes,
        spec.control,
        ceilings,
        rewards=None if episodes.rewards is None else episodes.rewards.numpy(),
        unit="m",
        drawing=world.maze.drawing,
    )
    return JUDGES["return" if spec.targets else "goal"].certify(audited)


def make_rewards(spec: DatasetSpec, world: World) -> list[RewardRegion]:
    """The whole squares of the cells that earn something."""
    half = world.maze.scale / 2
    return [RewardRegion(replace(_box(world, cell), half=half), rate) for cell, rate in map(astuple, spec.rewards)]


def make_return_tasks(spec: DatasetSpec, world: World) -> list[ReturnTask]:
    """The evaluated returns: resets in the middle half of their cells, the horizon's steps to collect them in."""
    return [
        ReturnTask(
            name=f"r{target.start[0]}c{target.start[1]}-return-{target.value:g}",
            start=_box(world, target.start),
            target=target.value,
            horizon=spec.horizon or 0,
            expect=target.expect,
        )
        for target in spec.targets
    ]


def make_tasks(spec: DatasetSpec, world: World) -> list[Task]:
    """The evaluated tasks: resets and goals in the middle half of their cells, thrice the steps that are needed."""

    def task(start: Cell, goal: Cell, expect: Expectation) -> Task:
        length = world.maze.path_length(start, goal)
        return Task(
            name=f"r{start[0]}c{start[1]}-to-r{goal[0]}c{goal[1]}",
            start=_box(world, start),
            goal=_box(world, goal, radius=SUCCESS_RADIUS),
            expect=expect,
            path_length=length,
            step_limit=step_limit(world, length),
        )

    return [task(*pair, expect="seen") for pair in spec.seen] + [task(*pair, expect="unseen") for pair in spec.unseen]


def _box(world: World, cell: Cell, radius: float = 0.0) -> Region:
    x, y = world.maze.to_xy(cell)
    return Region((float(x), float(y)), half=0.25 * world.maze.scale, radius=radius)


def step_limit(world: World, metres: float) -> int:
    """Three times the steps that the behaviour needs, its way out of one box and into the other included."""
    return int(np.ceil(3 * (metres + world.maze.scale / 2) / (world.speed * world.control_step)))


def adopt(spec: DatasetSpec, world: World) -> tuple[Episodes, np.ndarray | None]:
    """The source's first episodes, as many as `spec.transitions` rows hold, and which were terminated, if it is known.

    Where returns are asked for every step earns what the specification says, for so it will in evaluation. ValueError
    that names the source where its states are not of this world and maze.
    """
    assert spec.source is not None
    source = open_source(spec.source, columns=(0, 1))
    found, expected = (source.observation_dim, source.action_dim), (world.observation_dim, world.action_dim)
    if found != expected:
        raise ValueError(
            f"{source.name}: observations of {found[0]} and actions of {found[1]} numbers, expected {expected[0]} and "
            f"{expected[1]}, as {world.name} has them"
        )
    episodes = next(source.chunks(spec.transitions))
    xy = episodes.observations[:, :2].numpy()
    share = float(world.maze.inside(xy).mean())
    if share < INSIDE:
        raise ValueError(
            f"{source.name}: {100 * share:.0f}% of its positions lie in the maze {world.maze.name}, centred on the "
            f"origin, expected {100 * INSIDE:.0f}% at least"
        )
    if rewards := make_rewards(spec, world):
        earned = np.full(len(episodes), np.nan, np.float32)
        steps = episodes.transitions
        earned[steps] = reward_at(rewards, xy[steps + 1])
        if episodes.rewards is not None and (other := ~np.isclose(episodes.rewards[steps], earned[steps])).any():
            print(
                f"warning: {source.name}: {100 * other.mean():.1f}% of its rewards are not what dataset {spec.name} "
                "gives for the same steps; training and evaluation go by the latter",
                file=sys.stderr,
            )
        episodes = Episodes(episodes.observations, episodes.actions, torch.from_numpy(earned), episodes.lengths)
    for note in source.notes:
        print(f"{source.name}: {note}", file=sys.stderr)
    ended = source.terminated
    return episodes, None if ended is None else ended[: len(episodes.lengths)]


def collect(spec: DatasetSpec, world: World, workers: int) -> tuple[Episodes, np.ndarray, dict[str, float]]:
    """Episodes by number until they hold `spec.transitions`, their contexts, and how the behaviour did.

    Those that do not reach their goal are left out, unless the specification gives a length.
    """
    finished: dict[int, Trajectory] = {}
    kept: list[Trajectory] = []
    attempts = transitions = 0
    with tqdm(
        total=spec.transitions, desc=f"collect {spec.name}", unit=" steps", unit_scale=True, mininterval=2
    ) as bar:
        for trajectory in run(behaviour_rollouts(world, workers), requests(spec, world), SUCCESS_RADIUS):
            finished[trajectory.request.number] = trajectory
            # Episodes are taken in the order of their numbers, so that it does not matter which ended first.
            while attempts in finished and transitions < spec.transitions:
                following = finished.pop(attempts)
                attempts += 1
                if following.reached or spec.length:
                    kept.append(following)
                    transitions += len(following.actions)
                    bar.update(len(following.actions))
            if transitions >= spec.transitions:
                break
    at_goal = [_at_goal(trajectory) for trajectory in kept]
    arrived = [(t.request, int(steps.argmax()) + 1) for t, steps in zip(kept, at_goal, strict=True) if steps.any()]
    if not arrived:
        raise ValueError(f"dataset.length: {spec.length} steps are too few, no episode came to its goal")
    walked = sum(float(world.maze.distance(request.start[None], request.goal[None])[0]) for request, _ in arrived)
    behaviour_summary = {
        "attempts": attempts,
        "success": round(len(arrived) / attempts, 4),
        "metres_per_s": round(walked / (sum(steps for _, steps in arrived) * world.control_step), 3),
    }
    contexts = np.array([trajectory.request.number % len(spec.contexts) for trajectory in kept])
    rewards = make_rewards(spec, world)
    earned = [reward_at(rewards, t.observations[1:, :2]) for t in kept] if rewards else at_goal
    return _episodes(kept, earned), contexts, behaviour_summary


def _at_goal(trajectory: Trajectory) -> np.ndarray:
    """Boolean [T]: which steps end within the success radius of the episode's goal."""
    offset = trajectory.observations[1:, :2] - trajectory.request.goal
    return np.hypot(offset[:, 0], offset[:, 1]) <= SUCCESS_RADIUS


def behaviour_rollouts(world: World, workers: int) -> list[VectorRollout]:
    """For each worker, the world's own width of bodies under its behaviour controller."""
    return [VectorRollout(world.simulate(world.envs), world.behaviour(world.envs)) for _ in range(workers)]


def requests(spec: DatasetSpec, world: World) -> Iterator[Request]:
    """Episodes without end. Each has its own generator; contexts take turns.

    Those of a given length stay at their goal. But who is sent to where nothing is earned, of rewards, ends there: were
    he to stay, nearly all states there would be of waiting.
    """
    goals, rewards = _goals(spec, world), make_rewards(spec, world)
    number = 0
    while True:
        rng = np.random.default_rng([spec.seed, number])
        context = number % len(spec.contexts)
        reset = spec.contexts[context].reset
        start = goal = np.zeros(2)
        while np.hypot(*(start - goal)) <= SUCCESS_RADIUS:
            cell = reset[rng.integers(len(reset))]
            start = _box(world, cell).sample(rng)
            goal = _box(world, goals[context][cell][rng.integers(len(goals[context][cell]))]).sample(rng)
        metres = float(world.maze.distance(start[None], goal[None])[0])
        stays = spec.length is not None and (not rewards or bool(reward_at(rewards, goal[None]).any()))
        yield Request(number, start, goal, spec.length or step_limit(world, metres), rng, stays=stays)
        number += 1


def _goals(spec: DatasetSpec, world: World) -> list[dict[Cell, tuple[Cell, ...]]]:
    """For each context, the cells that an episode from each of its start cells may be sent to."""
    if spec.goal_distance is None:
        return [dict.fromkeys(context.reset, context.goal) for context in spec.contexts]
    metres = spec.goal_distance * world.maze.scale
    goals: list[dict[Cell, tuple[Cell, ...]]] = []
    for i, context in enumerate(spec.contexts):
        goals.append({})
        for start in context.reset:
            goals[i][start] = tuple(goal for goal in context.goal if world.maze.path_length(start, goal) == metres)
            if not goals[i][start]:
                raise ValueError(
                    f"dataset.goal_distance: no goal of contexts[{i}] is {spec.goal_distance} moves from cell "
                    f"{list(start)} of maze {spec.maze!r}"
                )
    return goals


def _episodes(trajectories: list[Trajectory], earned: list[np.ndarray]) -> Episodes:
    """earned: the rewards [T] of each one's steps; where none are specified, 1 for a step that ends at its goal."""
    nothing = np.full((1, trajectories[0].actions.shape[1]), np.nan, np.float32)
    lengths = torch.tensor([len(trajectory.actions) for trajectory in trajectories])
    rewards = np.concatenate([part for steps in earned for part in (steps.astype(np.float32), nothing[0, :1])])
    return Episodes(
        torch.from_numpy(np.concatenate([trajectory.observations for trajectory in trajectories])),
        torch.from_numpy(np.concatenate([part for t in trajectories for part in (t.actions, nothing)])),
        torch.from_numpy(rewards),
        lengths,
    )


def measure_ceilings(spec: DatasetSpec, world: World, workers: int) -> dict[str, float]:
    """The behaviour's own success on each task, within the same limits. For a return it goes where most is earned."""
    if spec.targets:
        return _measure_return_ceilings(spec, world, workers)
    tasks = make_tasks(spec, world)
    requested = []
    for i, task in enumerate(tasks):
        for rng in _ceiling_generators(spec, i):
            start, goal = task.start.sample(rng), task.goal.sample(rng)
            requested.append(Request(i, start, goal, task.step_limit, rng))
    reached: list[list[bool]] = [[] for _ in tasks]
    for trajectory in _walk(world, requested, workers):
        reached[trajectory.request.number].append(trajectory.reached)
    return {task.name: float(np.mean(values)) for task, values in zip(tasks, reached, strict=True)}


def _measure_return_ceilings(spec: DatasetSpec, world: World, workers: int) -> dict[str, float]:
    tasks, rewards = make_return_tasks(spec, world), make_rewards(spec, world)
    requested = []
    for i, task in enumerate(tasks):
        steps = [_steps_between(world, task.start, region) for region, _ in rewards]
        worth = [rate * (task.horizon - taken) for (_, rate), taken in zip(rewards, steps, strict=True)]
        best = replace(rewards[int(np.argmax(worth))].region, half=task.start.half)
        for rng in _ceiling_generators(spec, i):
            start, goal = task.start.sample(rng), best.sample(rng)
            requested.append(Request(i, start, goal, task.horizon, rng, stays=True))
    attained: list[list[bool]] = [[] for _ in tasks]
    for trajectory in _walk(world, requested, workers):
        number, earned = trajectory.request.number, collected(rewards, trajectory.observations[1:, :2])
        attained[number].append(earned >= tasks[number].target)
    return {task.name: float(np.mean(values)) for task, values in zip(tasks, attained, strict=True)}


def _steps_between(world: World, start: Region, goal: Region) -> float:
    metres = world.maze.distance(np.array([start.center]), np.array([goal.center]))[0]
    return float(metres) / (world.speed * world.control_step)


def _ceiling_generators(spec: DatasetSpec, task: int) -> list[np.random.Generator]:
    return [np.random.default_rng([spec.seed, _CEILING, task, episode]) for episode in range(CEILING_EPISODES)]


def _walk(world: World, requested: list[Request], workers: int) -> Iterator[Trajectory]:
    ended = run(behaviour_rollouts(world, workers), requested, SUCCESS_RADIUS)
    return tqdm(ended, total=len(requested), desc="ceilings", unit=" episodes", delay=5, leave=False)
