"""Episodes run through envs of simulated bodies: the one loop behind data collection and evaluation."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event, Lock
from typing import NamedTuple, Protocol

import numpy as np
import torch

from stitchrl.types import Simulation


class Request(NamedTuple):
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

    request: Request
    observations: np.ndarray  # [T + 1, obs_dim] float32
    actions: np.ndarray  # [T, act_dim] float32
    reached: bool  # whether it ended at its goal


class Controller(Protocol):
    """What acts in the envs: a behaviour or a learned policy."""

    def begin(self, env: int, request: Request) -> None:
        """Begin an episode in `env`."""

    def act(self, observations: np.ndarray, steps: np.ndarray) -> np.ndarray: ...


class VectorRollout(NamedTuple):
    """Environments of bodies and what acts in them."""

    simulation: Simulation
    controller: Controller


def run(
    rollouts: Sequence[VectorRollout], requests: Iterable[Request], radius: float
) -> Generator[Trajectory, None, None]:
    """Run all requests and yield each episode as it ends (not in the order of their numbers).

    radius: metres from its goal at which an episode ends, unless it stays.

    Each rollout runs in a thread of its own: MuJoCo and torch let go of Python's global lock while they work, so one
    rollout's controller thinks while another's bodies move, and nothing travels between processes. Fleets of one width
    give the same episodes, to the last bit, whatever their number.
    """
    queue, taking, stop = iter(requests), Lock(), Event()
    ended: SimpleQueue[Trajectory | None] = SimpleQueue()

    def take() -> Request | None:
        with taking:
            return None if stop.is_set() else next(queue, None)

    def work(rollout: VectorRollout, dealt: Sequence[Request]) -> None:
        try:
            for trajectory in _run(rollout, dealt, take, stop, radius):
                ended.put(trajectory)
        except BaseException:
            stop.set()
            raise
        finally:
            ended.put(None)

    # The first requests are dealt out in turn: where there are fewer than envs, no rollout takes them all.
    dealt: list[list[Request]] = [[] for _ in rollouts]
    for env in range(max(len(rollout.simulation.observations) for rollout in rollouts)):
        for rollout, requests_of_rollout in zip(rollouts, dealt, strict=True):
            if env < len(rollout.simulation.observations) and (request := take()) is not None:
                requests_of_rollout.append(request)

    # Each new thread would share torch's products out among all cores. Each rollout has a thread already; on a busy
    # host products in two threads took forty times as long.
    with ThreadPoolExecutor(len(rollouts), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            working = [pool.submit(work, *pair) for pair in zip(rollouts, dealt, strict=True)]
            for _ in rollouts:
                yield from iter(ended.get, None)
        finally:
            stop.set()
    for future in working:
        future.result()


def _run(
    rollout: VectorRollout, dealt: Sequence[Request], take: Callable[[], Request | None], stop: Event, radius: float
) -> Iterator[Trajectory]:
    """One rollout's episodes: of the requests that it is dealt, then of those that it takes.

    The controller always sees all envs, used or not: the width of its batch is fixed.
    """
    simulation, controller = rollout
    envs, observation_dim = simulation.observations.shape
    running: list[Request | None] = [None] * envs
    active = np.zeros(envs, bool)
    steps = np.zeros(envs, np.int64)
    goals = np.zeros((envs, 2))
    limits = np.ones(envs, np.int64)
    stays = np.zeros(envs, bool)
    observations = np.zeros((envs, 1, observation_dim), np.float32)
    actions: np.ndarray | None = None

    def begin(env: int, request: Request | None) -> None:
        nonlocal observations, actions
        running[env], active[env], steps[env] = request, request is not None, 0
        if request is None:
            return
        if request.limit >= observations.shape[1]:
            more = np.zeros((envs, request.limit + 1 - observations.shape[1], observations.shape[2]), np.float32)
            observations = np.concatenate([observations, more], 1)
            if actions is not None:
                actions = np.concatenate([actions, np.zeros((*more.shape[:2], actions.shape[2]), np.float32)], 1)
        goals[env], limits[env], stays[env] = request.goal, request.limit, request.stays
        simulation.reset(env, request.start)
        observations[env, 0] = simulation.observations[env]
        controller.begin(env, request)

    for env, first in enumerate(dealt):
        begin(env, first)
    everyone = np.arange(envs)
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
        for env in np.flatnonzero(active & (reached | (steps >= limits))).tolist():
            request, length = running[env], steps[env]
            assert request is not None
            states, taken = observations[env, : length + 1].copy(), actions[env, :length].copy()
            yield Trajectory(request, states, taken, bool(reached[env]))
            begin(env, take())
