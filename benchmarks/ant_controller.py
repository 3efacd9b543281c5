"""Train the ant's goal-reaching controller on a flat floor. The package's own was made by

    python benchmarks/ant_controller.py --steps 200000
    python benchmarks/ant_controller.py --steps 300000 --top-speed 1.5 --fall-cost 50

Soft actor-critic (Haarnoja et al., 2018) with LayerNorm critics, one update for two environment steps. The run folder
holds `log.csv`, `checkpoint.pt`, from which the same command continues, and the actor as `ant_controller.safetensors`.
"""

import argparse
import copy
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import mujoco
import numpy as np
import torch
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from stitchrl.files import write
from stitchrl.worlds.maze.ant_controller import ACTION_DIM, FEATURE_DIM, Actor, features, motors

CONTROL_STEP = 0.05  # seconds: five physics steps of 0.01 s


class Floor:
    """Ants on a flat floor, each with a target 2 to 6 m away; a new one when within 0.5 m or after 150 steps."""

    def __init__(self, envs: int, rng: np.random.Generator, episode_steps: int = 200):
        self.model = AntEnv(include_cfrc_ext_in_observation=False).model
        self.rng, self.episode_steps = rng, episode_steps
        self.data = [mujoco.MjData(self.model) for _ in range(envs)]
        self.observation = np.zeros((envs, 29), np.float32)
        self.target = np.zeros((envs, 2), np.float32)
        self.age = np.zeros(envs, int)
        self.target_age = np.zeros(envs, int)
        for env in range(envs):
            self._reset(env)
        self.age[:] = rng.integers(0, episode_steps, envs)

    def _reset(self, env: int) -> None:
        data = self.data[env]
        mujoco.mj_resetData(self.model, data)
        yaw = self.rng.uniform(-np.pi, np.pi)
        data.qpos[3:7] = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        data.qpos[7:] += self.rng.uniform(-0.1, 0.1, 8)
        data.qvel[:] = 0.1 * self.rng.standard_normal(14)
        mujoco.mj_forward(self.model, data)
        self.age[env] = 0
        self._observe(env)
        self._new_target(env)

    def _observe(self, env: int) -> None:
        self.observation[env, :15] = self.data[env].qpos
        self.observation[env, 15:] = self.data[env].qvel

    def _new_target(self, env: int) -> None:
        angle, distance = self.rng.uniform(-np.pi, np.pi), self.rng.uniform(2, 6)
        self.target[env] = self.observation[env, :2] + distance * np.array([np.cos(angle), np.sin(angle)])
        self.target_age[env] = 0

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Progress (m/s), fallen, and the observation and target that follow, before any reset: [envs, ...]."""
        before = np.linalg.norm(self.target - self.observation[:, :2], axis=1)
        for env, data in enumerate(self.data):
            data.ctrl[:] = action[env]
            mujoco.mj_step(self.model, data, 5)
            self._observe(env)
        after = np.linalg.norm(self.target - self.observation[:, :2], axis=1)
        progress = (before - after) / CONTROL_STEP
        height, quaternion = self.observation[:, 2], self.observation[:, 3:7]
        upright = 1 - 2 * (quaternion[:, 1] ** 2 + quaternion[:, 2] ** 2) > 0
        fallen = ~upright | (height < 0.2) | (height > 1.0) | ~np.isfinite(self.observation).all(1)
        self.age += 1
        self.target_age += 1
        for env in np.flatnonzero((after < 0.5) | (self.target_age >= 150)).tolist():
            self._new_target(env)
        observation, target = self.observation.copy(), self.target.copy()
        for env in np.flatnonzero(fallen | (self.age >= self.episode_steps)).tolist():
            self._reset(env)
        return progress.astype(np.float32), fallen, observation, target


class Critics(nn.Module):
    """Twin Q networks 2x256 with LayerNorm, evaluated as one batched multiplication."""

    def __init__(self, hidden: int = 256):
        super().__init__()
        sizes = [FEATURE_DIM + ACTION_DIM, hidden, hidden, 1]
        bounds = [n**-0.5 for n in sizes[:-1]]
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(2, n, m).uniform_(-b, b))
            for (n, m), b in zip(pairwise(sizes), bounds, strict=True)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(2, 1, m)) for m in sizes[1:])
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(2))

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        """Q values [2, B]."""
        x = torch.cat([features, action], -1).expand(2, -1, -1)
        for i, norm in enumerate(self.norms):
            x = torch.relu(norm(torch.baddbmm(self.biases[i], x, self.weights[i])))
        return torch.baddbmm(self.biases[2], x, self.weights[2]).squeeze(-1)


class SAC(nn.Module):
    """top_speed: progress above it earns nothing (m/s). fall_cost: what falling costs, besides ending the episode."""

    def __init__(
        self,
        top_speed: float,
        fall_cost: float,
        discount: float = 0.99,
        rate: float = 0.005,
        lr: float = 3e-4,
        entropy: float = -ACTION_DIM / 2,
        average_rate: float = 5e-4,
    ):
        super().__init__()
        self.top_speed, self.fall_cost, self.average_rate = top_speed, fall_cost, average_rate
        self.discount, self.rate, self.entropy = discount, rate, entropy
        self.actor, self.critics, self.target = Actor(), Critics(), Critics()
        self.target.load_state_dict(self.critics.state_dict())
        self.averaged = copy.deepcopy(self.actor)  # falls less than the actor of any one moment
        self.log_alpha = nn.Parameter(torch.tensor(0.1).log())
        self.optimizers = [
            torch.optim.Adam(parameters, lr, fused=True)
            for parameters in (self.actor.parameters(), self.critics.parameters(), [self.log_alpha])
        ]

    def sample(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Squashed actions [B, 8] and their log densities [B]."""
        mean, std = self.actor(features)
        noise = torch.randn_like(mean)
        raw = mean + std * noise
        log_density = -0.5 * noise**2 - std.log() - 0.919
        correction = 2 * (0.6931 - raw - nn.functional.softplus(-2 * raw))
        return raw.tanh(), (log_density - correction).sum(-1)

    def reward(self, batch: dict[str, Tensor]) -> Tensor:
        """Progress up to the top speed, something for standing, less for effort, and the cost of a fall."""
        effort = (batch["action"] ** 2).sum(-1)
        return batch["progress"].clamp(max=self.top_speed) + 0.2 - 0.05 * effort - self.fall_cost * batch["fallen"]

    def update(self, batch: dict[str, Tensor], actor_too: bool) -> None:
        actor, critic, temperature = self.optimizers
        alpha = self.log_alpha.exp().detach()
        with torch.no_grad():
            action, log_density = self.sample(batch["next"])
            value = self.target(batch["next"], action).min(0).values - alpha * log_density
            goal = self.reward(batch) + self.discount * (1 - batch["fallen"]) * value
        loss = ((self.critics(batch["features"], batch["action"]) - goal) ** 2).mean(1).sum()
        critic.zero_grad()
        loss.backward()
        critic.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.target.parameters()), list(self.critics.parameters()), self.rate)
        if not actor_too:
            return
        self.critics.requires_grad_(False)
        action, log_density = self.sample(batch["features"])
        loss = (alpha * log_density - self.critics(batch["features"], action).min(0).values).mean()
        actor.zero_grad()
        loss.backward()
        actor.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averaged.parameters()), list(self.actor.parameters()), self.average_rate)
        self.critics.requires_grad_(True)
        temperature.zero_grad()
        (-self.log_alpha * (log_density.detach() + self.entropy).mean()).backward()
        temperature.step()


def replay_memory(capacity: int) -> dict[str, Tensor]:
    """Transitions in feature space, filled from the front; `next` is the features that follow."""
    dims = {"features": (FEATURE_DIM,), "action": (ACTION_DIM,), "progress": (), "fallen": (), "next": (FEATURE_DIM,)}
    return {key: torch.zeros(capacity, *dim) for key, dim in dims.items()}


def save(out: Path, sac: SAC, step: int, replay: dict[str, Tensor], commands: list[str]) -> None:
    """Write the checkpoint beside, then rename it; likewise the actor alone, as safetensors with its origin."""
    state = {
        "sac": sac.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in sac.optimizers],
        "step": step,
        "commands": commands,
        "replay": {key: value[:step].clone() for key, value in replay.items()},
    }
    write(out / "checkpoint.pt", lambda path: torch.save(state, path))
    command = " && ".join(f"python benchmarks/ant_controller.py {arguments}" for arguments in commands)
    origin = {"command": command, "environment_steps": str(step), "mujoco": mujoco.__version__}
    origin |= {"torch": torch.__version__, "gymnasium": version("gymnasium")}
    write(out / "ant_controller.safetensors", lambda path: save_file(sac.averaged.state_dict(), path, origin))


def train(
    out: Path, steps: int, seed: int, top_speed: float, fall_cost: float, envs: int = 8, warmup: int = 5000
) -> None:
    """Train for `steps` environment steps, or from the last checkpoint up to them."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    sac, replay, first = SAC(top_speed, fall_cost), replay_memory(steps + envs), 0
    command = f"--steps {steps} --seed {seed} --top-speed {top_speed:g} --fall-cost {fall_cost:g}"
    commands = [command]
    if (out / "checkpoint.pt").exists():
        state = torch.load(out / "checkpoint.pt", weights_only=True)
        sac.load_state_dict(state["sac"])
        for optimizer, values in zip(sac.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        first = state["step"]
        commands = [*state["commands"], command]
        for key, value in state["replay"].items():
            replay[key][:first] = value
    rng = np.random.default_rng([seed, first])
    floor = Floor(envs, rng)
    progress, falls, started = [], 0, time.monotonic()
    for step in tqdm(range(first, steps, envs), initial=first // envs, total=steps // envs, mininterval=10):
        x, quarters = features(torch.from_numpy(floor.observation), torch.from_numpy(floor.target))
        if step < warmup:
            legs = torch.from_numpy(rng.uniform(-1, 1, (envs, ACTION_DIM)).astype(np.float32))
        else:
            with torch.no_grad():
                legs, _ = sac.sample(x)
        speed, fallen, observation, target = floor.step(motors(legs, quarters).numpy())
        # The next state is seen as the policy will see it: symmetric states share one value.
        following, _ = features(torch.from_numpy(observation), torch.from_numpy(target))
        values = [x, legs, torch.from_numpy(speed), torch.from_numpy(fallen).float(), following]
        for key, value in zip(replay, values, strict=True):
            replay[key][step : step + envs] = value
        progress.append(speed.mean())
        falls += int(fallen.sum())
        if step >= warmup:
            for i in range(envs // 2):
                index = torch.from_numpy(rng.integers(0, step + envs, 256))
                sac.update({key: value[index] for key, value in replay.items()}, actor_too=i % 2 == 0)
        done = step + envs
        if done % 10_000 < envs:
            with open(out / "log.csv", "a", encoding="utf-8", newline="") as file:
                if file.tell() == 0:
                    file.write("steps,speed_m_per_s,falls,alpha,seconds\n")
                alpha, seconds = sac.log_alpha.exp().item(), time.monotonic() - started
                file.write(f"{done},{np.mean(progress):.3f},{falls},{alpha:.4f},{seconds:.0f}\n")
            progress, falls = [], 0
        if done % 50_000 < envs or done >= steps:
            save(out, sac, done, replay, commands)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/ant_controller"), help="where log and weights go")
    parser.add_argument("--steps", type=int, default=400_000, help="environment steps of 0.05 s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--top-speed", type=float, default=float("inf"), help="m/s beyond which progress earns nothing")
    parser.add_argument("--fall-cost", type=float, default=5.0, help="what a fall costs besides the episode's end")
    options = parser.parse_args()
    train(options.out, options.steps, options.seed, options.top_speed, options.fall_cost)


if __name__ == "__main__":
    main()
