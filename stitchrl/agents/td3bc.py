"""TD3+BC (Fujimoto & Gu, 2021), of the dataset's rewards.

TD3 (Fujimoto et al., 2018) with cloning added to the actor's loss: the smaller of two target critics, asked about the
target actor's action with noise, gives the critics' targets; the actor learns in every second update. It is not told
what to reach, and collects what it can.

Other than in the paper, critics have GELU and layer norm (as in GCIQL), critics and actor share an optimiser step, and
targets move in every update. Episodes end by time limits alone, so every step bootstraps.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from stitchrl.agents.agent import Agent, check_share
from stitchrl.agents.networks import DeterministicActor, Ensemble, frozen
from stitchrl.types import Batch, GoalMixture, Needs


class TD3BC(Agent):
    """alpha: weight of Q, whose mean size is made 1, beside cloning. policy_delay: updates for one of the actor's.

    policy_noise, noise_clip: standard deviation of the noise on the target actor's action, and its bound.
    """

    updates: Tensor

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (256, 256),
        discount: float = 0.99,
        alpha: float = 2.5,
        policy_noise: float = 0.2,
        noise_clip: float = 0.5,
        policy_delay: int = 2,
        tau: float = 0.005,
        lr: float = 3e-4,
        batch_size: int = 256,
    ):
        if policy_delay < 1:
            raise ValueError(f"agent.policy_delay: {policy_delay} given, a positive number expected")
        needs = Needs(GoalMixture(current=0, trajectory=1, random=0), rewards=True)
        super().__init__(observation_dim, (), lr, batch_size, needs)
        self.discount, self.alpha = check_share("discount", discount), alpha
        self.policy_noise, self.noise_clip, self.policy_delay = policy_noise, noise_clip, policy_delay
        self.tau = check_share("tau", tau)
        self.critic = Ensemble([observation_dim + action_dim, *hidden_dims, 1])
        self.target_critic = self.make_target("critic")
        self.actor = DeterministicActor([observation_dim, *hidden_dims, action_dim])
        self.target_actor = self.make_target("actor")
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))  # so that a checkpoint holds it

    def loss(self, batch: Batch, rng: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        self.updates += 1
        state = self.standardise(batch.observations)
        parts = {"critic_loss": self.critic_loss(state, batch, rng)}
        if self.updates % self.policy_delay == 0:
            parts["actor_loss"] = self.actor_loss(state, batch.actions)
        return self.total(parts)

    def critic_loss(self, state: Tensor, batch: Batch, rng: Generator) -> Tensor:
        following = self.standardise(batch.next_observations)
        with torch.no_grad():
            drawn = torch.randn(batch.actions.shape, generator=rng, dtype=batch.actions.dtype, device=state.device)
            noise = (self.policy_noise * drawn).clamp(-self.noise_clip, self.noise_clip)
            action = (self.target_actor(following) + noise).clamp(-1, 1)
            q = self.target_critic(torch.cat([following, action], -1)).squeeze(-1).amin(0)
            target = batch.rewards + self.discount * q
        q = self.critic(torch.cat([state, batch.actions], -1)).squeeze(-1)
        return (target - q).square().mean(1).sum()

    def actor_loss(self, state: Tensor, actions: Tensor) -> Tensor:
        action = self.actor(state)
        with frozen(self.critic):
            q = self.critic(torch.cat([state, action], -1))[0].squeeze(-1)
        return (action - actions).square().mean() - self.alpha * q.mean() / q.detach().abs().mean()

    def act(self, observation: Tensor, condition: Tensor) -> Tensor:
        return self.actor(self.standardise(observation))
