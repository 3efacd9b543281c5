"""Vectorised rollouts: the one loop behind data collection and evaluation."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event, Lock
from typing import NamedTuple, Protocol

import numpy as np
import torch

from stitchrl.types import Simulation


class Request(NamedTuple):
    """An episode that is to be run."""

    number: int  # names the episode
    start: np.ndarray  # the achieved goal [D] that it begins with
    goal: np.ndarray  # the goal [D] that it is sent to
    limit: int  # steps at most
    rng: np.random.Generator  # whatever is random in the episode comes from here
    target: float = float("nan")  # the return that is asked for, if one is
    stays: bool = False  # whether it runs to its limit, and does not end at its goal


class Trajectory(NamedTuple):
    """An episode that was run. Unless it stays, it ends at the first step that achieves its goal."""

    request: Request
    observations: np.ndarray  # [T + 1, *shape]
    achieved: np.ndarray  # [T + 1, D]
    actions: np.ndarray  # [T, ...]
    reached: bool  # whether it ended at its goal


class Controller(Protocol):
    """What acts in the envs: a behaviour or a learned policy."""

    def begin(self, env: int, request: Request) -> None:
        """Begin an episode in `env`."""

    def act(self, observations: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Actions [envs, ...] for observations [envs, *shape] at the step numbers [envs] of their episodes."""


Success = Callable[[np.ndarray, np.ndarray], np.ndarray]  # achieved goals [B, D] and goals [B, D] -> boolean [B]


class VectorRollout(NamedTuple):
    """Environments side by side, and what acts in them."""

    simulation: Simulation
    controller: Controller


def run(
    rollouts: Sequence[VectorRollout], requests: Iterable[Request], success: Success
) -> Generator[Trajectory, None, None]:
    """Run all requests and yield each episode as it ends (not in the order of their numbers).

    Each rollout runs in a thread of its own. MuJoCo and torch let go of Python's global lock while they work, so one
    rollout acts while another one steps, and nothing travels between processes. Rollouts of one width give the same
    episodes, to the last bit, whatever their number. Requests are taken one by one, as environments become free.
    """
    queue, taking, stop = iter(requests), Lock(), Event()
    ended: SimpleQueue[Trajectory | None] = SimpleQueue()

    def take() -> Request | None:
        with taking:
            return None if stop.is_set() else next(queue, None)

    def work(rollout: VectorRollout, dealt: Sequence[Request]) -> None:
        try:
            for trajectory in _run(rollout, dealt, take, stop, success):
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


class _Recording:
    """Values of each environment at each step of its episode, [envs, steps, ...]."""

    def __init__(self) -> None:
        self._values: np.ndarray | None = None

    def put(self, envs: np.ndarray, steps: np.ndarray, values: np.ndarray) -> None:
        """Keep values [envs, ...] of the chosen environments at their steps [envs]."""
        room = int(steps[envs].max(initial=-1)) + 1
        if self._values is None:
            self._values = np.zeros((len(values), room, *values.shape[1:]), values.dtype)
        if room > (had := self._values.shape[1]):  # twice as much, so that copies stay few
            more = np.zeros((len(values), max(room, 2 * had) - had, *values.shape[1:]), values.dtype)
            self._values = np.concatenate([self._values, more], 1)
        self._values[envs, steps[envs]] = values[envs]

    def episode(self, env: int, count: int) -> np.ndarray:
        """The first `count` values of an environment's episode."""
        assert self._values is not None
        return self._values[env, :count].copy()


def _run(
    rollout: VectorRollout, dealt: Sequence[Request], take: Callable[[], Request | None], stop: Event, success: Success
) -> Iterator[Trajectory]:
    """One rollout's episodes: of the requests that it is dealt, then of those that it takes.

    The controller always sees all environments, used or not: the width of its batch is fixed.
    """
    simulation, controller = rollout
    envs = len(simulation.observations)
    running: list[Request | None] = [None] * envs
    active, stays = np.zeros(envs, bool), np.zeros(envs, bool)
    steps, limits = np.zeros(envs, np.int64), np.ones(envs, np.int64)
    goals = np.zeros(simulation.achieved.shape)
    observations, achieved, actions = _Recording(), _Recording(), _Recording()

    def record(which: np.ndarray) -> None:
        observations.put(which, steps, simulation.observations)
        achieved.put(which, steps, simulation.achieved)

    def begin(env: int, request: Request | None) -> None:
        running[env], active[env], steps[env] = request, request is not None, 0
        if request is not None:
            goals[env], limits[env], stays[env] = request.goal, request.limit, request.stays
            simulation.reset(env, request.start)
            record(np.array([env]))
            controller.begin(env, request)

    for env, first in enumerate(dealt):
        begin(env, first)
    while active.any() and not stop.is_set():
        action = controller.act(simulation.observations, steps)
        actions.put(np.flatnonzero(active), steps, action)
        simulation.step(action, active)
        steps += active
        record(np.flatnonzero(active))
        reached = ~stays & success(simulation.achieved, goals)
        for env in np.flatnonzero(active & (reached | (steps >= limits))).tolist():
            request, length = running[env], int(steps[env])
            assert request is not None
            states, goals_of_states = observations.episode(env, length + 1), achieved.episode(env, length + 1)
            yield Trajectory(request, states, goals_of_states, actions.episode(env, length), bool(reached[env]))
            begin(env, take())
