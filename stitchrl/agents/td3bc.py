"""TD3+BC (Fujimoto & Gu, 2021), of the dataset's rewards.

TD3 (Fujimoto et al., 2018) with cloning added to the actor's loss. The critics' targets are r + discount Q(s', a'),
with the smaller of two target critics and the target actor's action a' plus noise. The actor learns in every second
update. It is not told what to reach, and collects what it can.

Deviations: critics have GELU and layer norm (as in GCIQL). Critics and actor share an optimiser step. Targets move in
every update. Episodes end by time limits alone, so every step bootstraps. With discrete actions the actor is
categorical and follows sum_a pi(a|s) Q(s, a), cloning is its cross-entropy, and a' is the target actor's likeliest
action without noise.
"""

import torch
from torch import Generator, Tensor, nn

from stitchrl.agents.agent import Agent, Widths, check_share
from stitchrl.agents.networks import Ensemble, frozen, make_actor
from stitchrl.types import Batch, GoalMixture, LossResult, Needs, Spaces


class TD3BC(Agent):
    """TD3+BC.

    Args:
        alpha: Weight of Q, whose mean size is made 1, beside cloning.
        policy_noise, noise_clip: Standard deviation of the noise on the target actor's action, and its bound. Discrete
            actions have none.
        policy_delay: Updates for one of the actor's.
    """

    updates: Tensor

    def __init__(
        self,
        spaces: Spaces,
        hidden_dims: Widths = (256, 256),
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
        super().__init__(spaces, "nothing", lr, batch_size, needs)
        self.discount, self.alpha = check_share("discount", discount), alpha
        self.policy_noise, self.noise_clip, self.policy_delay = policy_noise, noise_clip, policy_delay
        self.tau = check_share("tau", tau)
        self.critic = Ensemble([self.observation_dim + self.action_dim, *hidden_dims, 1])
        self.target_critic = self.make_target("critic")
        self.actor = make_actor("deterministic", [self.observation_dim, *hidden_dims], spaces.action, nn.ReLU)
        self.target_actor = self.make_target("actor")
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))  # so that a checkpoint holds it

    def loss(self, batch: Batch, rng: Generator) -> LossResult:
        self.updates += 1
        state = self.encoder(batch.observations)
        parts = {"critic_loss": self.critic_loss(state, batch, rng)}
        if self.updates % self.policy_delay == 0:
            parts["actor_loss"] = self.actor_loss(state, batch.actions)
        return self.total(parts)

    def critic_loss(self, state: Tensor, batch: Batch, rng: Generator) -> LossResult:
        """The squared error of both critics."""
        following = self.encoder(batch.next_observations)
        with torch.no_grad():
            action = self.target_action(following, rng)
            q = self.target_critic(torch.cat([following, action], -1)).squeeze(-1).amin(0)
            target = batch.rewards + self.discount * q
        q = self.critic(torch.cat([state, self.encode_actions(batch.actions)], -1)).squeeze(-1)
        return LossResult((target - q).square().mean(1).sum(), {"mean": q.detach().mean()})

    def target_action(self, state: Tensor, rng: Generator) -> Tensor:
        """The target actor's action [B, action_dim], with noise where actions lie in a box."""
        action = self.target_actor.act(state)
        if self.discrete:
            return self.encode_actions(action)
        drawn = torch.randn(action.shape, generator=rng, dtype=action.dtype, device=action.device)
        noise = (self.policy_noise * drawn).clamp(-self.noise_clip, self.noise_clip)
        return (action + noise).clamp(-1, 1)

    def actor_loss(self, state: Tensor, actions: Tensor) -> LossResult:
        """Minus alpha times the first critic's mean, whose mean size is made 1, plus cloning."""
        output = self.actor(state)
        with frozen(self.critic):
            q = self.actor.expected(output, lambda action: self.critic(torch.cat([state, action], -1))[0].squeeze(-1))
        # over all numbers at once, as published: a mean of means is rounded otherwise
        cloning = self.actor.explain(output, actions).mean() if self.discrete else (output - actions).square().mean()
        value = q.mean()
        loss = cloning - self.alpha * value / q.detach().abs().mean()
        return LossResult(loss, {"q_mean": value.detach(), "cloning_error": cloning.detach()})

    def act(self, observation: Tensor, condition: Tensor) -> Tensor:
        return self.actor.act(self.encoder(observation))
