"""Evaluation: a policy is asked for what each task asks for; one row per episode comes back."""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import gymnasium
import numpy as np
import torch
from tqdm import tqdm

from stitchrl.finite import NotFinite
from stitchrl.objectives import Objective
from stitchrl.objectives.objective import Conditioning
from stitchrl.types import AnyTask, Policy, Window
from stitchrl.worlds import World
from stitchrl.worlds.rollout import Request, Trajectory, VectorRollout, run

MAX_ENVS = 64  # of each worker
ENVS_PER_BLOCK = 8  # matrix products treat the rows of an unfilled block differently, in the last bit


class PolicyController:
    """A learned policy that acts in the environments of a simulation, for all of them in one call.

    conditioning: what each environment is asked for. window: how many of the last states, actions and conditions a
    sequence model is shown; None: the newest alone.
    """

    def __init__(self, policy: Policy, world: World, conditioning: Conditioning, window: int | None = None):
        self.policy, self.conditioning, self.window = policy, conditioning, window
        envs, shape = len(conditioning.conditions), (window or 0,)

        def kept(space: gymnasium.Space) -> torch.Tensor:
            return torch.from_numpy(np.zeros((envs, *shape, *(space.shape or ())), space.dtype))

        self.observations, self.actions = kept(world.observation_space), kept(world.action_space)
        conditions = conditioning.conditions
        self.asked = conditions.new_zeros(envs, *shape, *conditions.shape[1:])  # as it was at the kept steps
        self.requests: list[Request | None] = [None] * envs  # the newest of each; None: not in use

    def begin(self, env: int, request: Request) -> None:
        self.conditioning.begin(env, request)
        self.requests[env] = request

    def act(self, observations: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Raises NotFinite before a simulation is given an action that is not finite."""
        actions = self._act(observations, steps)
        finite = np.isfinite(actions).reshape(len(actions), -1).all(1)
        for env in np.flatnonzero(~finite):
            if (request := self.requests[env]) is not None:  # or else it acts upon nothing
                raise NotFinite(f"an action is not finite, at step {steps[env]} of evaluated episode {request.number}")
        return actions

    @torch.no_grad()
    def _act(self, observations: np.ndarray, steps: np.ndarray) -> np.ndarray:
        self.conditioning.advance(observations, steps)
        conditions = self.conditioning.conditions
        if self.window is None:
            return self.policy(torch.from_numpy(observations), conditions).numpy()
        full = torch.from_numpy(steps >= self.window)  # the oldest step makes room for the newest
        for kept in (self.observations, self.actions, self.asked):
            kept[full] = kept[full].roll(-1, 1)
        newest = torch.from_numpy(np.minimum(steps, self.window - 1))
        everyone = torch.arange(len(newest))
        self.observations[everyone, newest] = torch.from_numpy(observations)
        self.actions[everyone, newest] = 0
        self.asked[everyone, newest] = conditions
        valid = torch.arange(self.window) <= newest[:, None]
        action = self.policy(Window(self.observations, self.actions, valid, self.asked), conditions)
        self.actions[everyone, newest] = action
        return action.numpy()


class Evaluator:
    """Evaluates on the same starts and goals each time: they are drawn once, from the evaluation's own seed.

    Simulations are built once. The policy acts for batches of one width, whatever the number of workers (threads).
    tasks: the objective's own, or others of their kind. episodes: of each task. conditioning: makes what so many
    environments are asked for. window: as of `PolicyController`.
    """

    def __init__(
        self,
        world: World,
        objective: Objective,
        tasks: Sequence[AnyTask],
        episodes: int,
        seed: int,
        workers: int,
        conditioning: Callable[[int], Conditioning],
        window: int | None = None,
    ):
        self.world, self.objective, self.window, self.conditioning = world, objective, window, conditioning
        self.tasks, self.episodes = list(tasks), episodes
        self.requests: list[Request] = []
        for i, task in enumerate(self.tasks):
            for episode in range(episodes):
                rng = np.random.default_rng([seed, i, episode])
                self.requests.append(objective.request(len(self.requests), task, rng))
        self.envs = min(MAX_ENVS, -(-len(self.requests) // ENVS_PER_BLOCK) * ENVS_PER_BLOCK)
        self.simulations = [world.simulate(self.envs) for _ in range(workers)]

    def evaluate(self, policy: Policy, episodes: int | None = None) -> tuple[list[dict[str, Any]], list[Trajectory]]:
        """Rows, task by task, and the trajectories that they tell of. episodes: only the first so many of each task."""
        chosen = episodes or self.episodes
        requests = [request for request in self.requests if request.number % self.episodes < chosen]
        rollouts = [
            VectorRollout(simulation, PolicyController(policy, self.world, self.conditioning(self.envs), self.window))
            for simulation in self.simulations
        ]
        success = self.world.goal_space.success
        with closing(run(rollouts, requests, success)) as ended:  # ends its threads early, too
            look = {"desc": "evaluate", "unit": " episodes", "mininterval": 5, "delay": 5, "leave": False}
            bar = tqdm(ended, total=len(requests), **look)
            trajectories = sorted(bar, key=lambda trajectory: trajectory.request.number)
        return [self._row(trajectory) for trajectory in trajectories], trajectories

    def _row(self, trajectory: Trajectory) -> dict[str, Any]:
        request, length = trajectory.request, len(trajectory.actions)
        task = self.tasks[request.number // self.episodes]
        return {
            "task": task.name,
            "expect": task.expect,
            "episode": request.number % self.episodes,
            "length": length,
            "first_hit": length if trajectory.reached else None,
            "start": [round(float(x), 4) for x in request.start],
            **self.objective.score(trajectory),
        }
