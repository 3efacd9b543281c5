"""Episodes run through lanes of simulated bodies: the one loop behind data collection and evaluation."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np

from stitchrl.types import Simulation


class Plan(NamedTuple):
    """An episode to be run: from `start` to `goal` in at most `limit` steps."""

    number: int
    start: np.ndarray  # [2] metres
    goal: np.ndarray  # [2] metres
    limit: int
    rng: np.random.Generator


class Trajectory(NamedTuple):
    """An episode that was run. It ends at the first step that brings the body within the success radius."""

    plan: Plan
    observations: np.ndarray  # [T + 1, obs_dim] float32
    actions: np.ndarray  # [T, act_dim] float32
    reached: bool


class Controller(Protocol):
    """What acts in the lanes: a behaviour or a learned policy."""

    def plan(self, lane: int, start: np.ndarray, goal: np.ndarray, steps: int, rng: np.random.Generator) -> None: ...

    def act(self, observations: np.ndarray, steps: np.ndarray) -> np.ndarray: ...


def run(
    simulation: Simulation, controller: Controller, plans: Iterable[Plan], lanes: int, radius: float
) -> Iterator[Trajectory]:
    """Run all plans, `lanes` at a time, and yield each episode as it ends (not in the order of their numbers).

    The controller always sees all lanes, used or not: a batch of fixed width gives the same numbers to the last bit.
    """
    queue = iter(plans)
    running: list[Plan | None] = [None] * lanes
    active = np.zeros(lanes, bool)
    steps = np.zeros(lanes, np.int64)
    goals = np.zeros((lanes, 2))
    limits = np.ones(lanes, np.int64)
    observations = np.zeros((lanes, 1, simulation.observations.shape[1]), np.float32)
    actions: np.ndarray | None = None

    def begin(lane: int) -> None:
        nonlocal observations, actions
        plan = next(queue, None)
        running[lane], active[lane], steps[lane] = plan, plan is not None, 0
        if plan is None:
            return
        if plan.limit >= observations.shape[1]:
            more = np.zeros((lanes, plan.limit + 1 - observations.shape[1], observations.shape[2]), np.float32)
            observations = np.concatenate([observations, more], 1)
            if actions is not None:
                actions = np.concatenate([actions, np.zeros((*more.shape[:2], actions.shape[2]), np.float32)], 1)
        goals[lane], limits[lane] = plan.goal, plan.limit
        simulation.reset(lane, plan.start)
        observations[lane, 0] = simulation.observations[lane]
        controller.plan(lane, plan.start, plan.goal, plan.limit, plan.rng)

    for lane in range(lanes):
        begin(lane)
    everyone = np.arange(lanes)
    while active.any():
        action = controller.act(simulation.observations, steps)
        if actions is None:
            actions = np.zeros((*observations.shape[:2], action.shape[1]), np.float32)
        actions[everyone, steps] = action
        simulation.step(action, active)
        steps += active
        observations[everyone[active], steps[active]] = simulation.observations[active]
        offset = simulation.observations[:, :2] - goals
        reached = np.hypot(offset[:, 0], offset[:, 1]) <= radius
        for lane in np.flatnonzero(active & (reached | (steps >= limits))).tolist():
            plan, length = running[lane], steps[lane]
            assert plan is not None
            states, taken = observations[lane, : length + 1].copy(), actions[lane, :length].copy()
            yield Trajectory(plan, states, taken, bool(reached[lane]))
            begin(lane)
