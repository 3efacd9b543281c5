"""Episodes run through lanes of simulated bodies: the one loop behind data collection and evaluation."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event, Lock
from typing import NamedTuple, Protocol

import numpy as np
import torch

from stitchrl.types import Simulation


class Plan(NamedTuple):
    """An episode to be run: from `start` to `goal`, or to collect `target`, in at most `limit` steps.

    stays: whether it does not end at its goal, but runs to its limit.
    """

    number: int
    start: np.ndarray  # [2] metres
    goal: np.ndarray  # [2] metres; the start where a return is asked for
    limit: int
    rng: np.random.Generator
    target: float = float("nan")  # return
    stays: bool = False


class Trajectory(NamedTuple):
    """An episode that was run. Unless it stays, it ends at the first step that brings the body near its goal."""

    plan: Plan
    observations: np.ndarray  # [T + 1, obs_dim] float32
    actions: np.ndarray  # [T, act_dim] float32
    reached: bool  # whether it ended at its goal


class Controller(Protocol):
    """What acts in the lanes: a behaviour or a learned policy."""

    def plan(self, lane: int, plan: Plan) -> None:
        """Begin an episode in `lane`."""

    def act(self, observations: np.ndarray, steps: np.ndarray) -> np.ndarray: ...


class Fleet(NamedTuple):
    """Lanes of bodies and what acts in them."""

    simulation: Simulation
    controller: Controller


def run(fleets: Sequence[Fleet], plans: Iterable[Plan], radius: float) -> Generator[Trajectory, None, None]:
    """Run all plans and yield each episode as it ends (not in the order of their numbers).

    radius: metres from its goal at which an episode ends, unless it stays.

    Each fleet runs in a thread of its own: MuJoCo and torch let go of Python's global lock while they work, so one
    fleet's controller thinks while another's bodies move, and nothing travels between processes. Fleets of one width
    give the same episodes, to the last bit, whatever their number.
    """
    queue, taking, stop = iter(plans), Lock(), Event()
    ended: SimpleQueue[Trajectory | None] = SimpleQueue()

    def take() -> Plan | None:
        with taking:
            return None if stop.is_set() else next(queue, None)

    def work(fleet: Fleet, dealt: Sequence[Plan]) -> None:
        try:
            for trajectory in _run(fleet, dealt, take, stop, radius):
                ended.put(trajectory)
        except BaseException:
            stop.set()
            raise
        finally:
            ended.put(None)

    # The first plans are dealt out in turn: where there are fewer than lanes, no fleet takes them all.
    dealt: list[list[Plan]] = [[] for _ in fleets]
    for lane in range(max(len(fleet.simulation.observations) for fleet in fleets)):
        for fleet, plans_of_fleet in zip(fleets, dealt, strict=True):
            if lane < len(fleet.simulation.observations) and (plan := take()) is not None:
                plans_of_fleet.append(plan)

    # Each new thread would share torch's products out among all cores. The fleets are the threads; where others work on
    # the host too, products in two threads took forty times as long.
    with ThreadPoolExecutor(len(fleets), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            working = [pool.submit(work, *pair) for pair in zip(fleets, dealt, strict=True)]
            for _ in fleets:
                yield from iter(ended.get, None)
        finally:
            stop.set()
    for future in working:
        future.result()


def _run(
    fleet: Fleet, dealt: Sequence[Plan], take: Callable[[], Plan | None], stop: Event, radius: float
) -> Iterator[Trajectory]:
    """One fleet's episodes: of the plans that it is dealt, then of those that it takes.

    The controller always sees all lanes, used or not: the width of its batch is fixed.
    """
    simulation, controller = fleet
    lanes, observation_dim = simulation.observations.shape
    running: list[Plan | None] = [None] * lanes
    active = np.zeros(lanes, bool)
    steps = np.zeros(lanes, np.int64)
    goals = np.zeros((lanes, 2))
    limits = np.ones(lanes, np.int64)
    stays = np.zeros(lanes, bool)
    observations = np.zeros((lanes, 1, observation_dim), np.float32)
    actions: np.ndarray | None = None

    def begin(lane: int, plan: Plan | None) -> None:
        nonlocal observations, actions
        running[lane], active[lane], steps[lane] = plan, plan is not None, 0
        if plan is None:
            return
        if plan.limit >= observations.shape[1]:
            more = np.zeros((lanes, plan.limit + 1 - observations.shape[1], observations.shape[2]), np.float32)
            observations = np.concatenate([observations, more], 1)
            if actions is not None:
                actions = np.concatenate([actions, np.zeros((*more.shape[:2], actions.shape[2]), np.float32)], 1)
        goals[lane], limits[lane], stays[lane] = plan.goal, plan.limit, plan.stays
        simulation.reset(lane, plan.start)
        observations[lane, 0] = simulation.observations[lane]
        controller.plan(lane, plan)

    for lane, first in enumerate(dealt):
        begin(lane, first)
    everyone = np.arange(lanes)
    while active.any() and not stop.is_set():
        action = controller.act(simulation.observations, steps)
        if actions is None:
            actions = np.zeros((*observations.shape[:2], action.shape[1]), np.float32)
        actions[everyone, steps] = action
        simulation.step(action, active)
        steps += active
        observations[everyone[active], steps[active]] = simulation.observations[active]
        offset = simulation.observations[:, :2] - goals
        reached = ~stays & (np.hypot(offset[:, 0], offset[:, 1]) <= radius)
        for lane in np.flatnonzero(active & (reached | (steps >= limits))).tolist():
            plan, length = running[lane], steps[lane]
            assert plan is not None
            states, taken = observations[lane, : length + 1].copy(), actions[lane, :length].copy()
            yield Trajectory(plan, states, taken, bool(reached[lane]))
            begin(lane, take())
