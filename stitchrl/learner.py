"""The learner: one optimiser step after another, target networks, an average of the weights."""

import math
from collections import deque
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from stitchrl.agents.agent import Agent
from stitchrl.finite import NotFinite
from stitchrl.types import Batch

Precision = Literal["highest", "high", "medium", "bfloat16"]
REMEMBERED = 1000  # losses, at most, that are kept to be looked at
STATEFUL = ("agent", "optimizer", "schedule")


class Learner:
    """Adam at the agent's own learning rate, with its warm-up, weight decay and clipping of gradients.

    Args:
        agent: What is trained, on its device.
        steps: Updates until the learning rate is zero, if it falls.
        decay: Whether the learning rate falls to zero as a cosine, or stays.
        average: Rate in [0, 1) of the moving average of the weights that is evaluated; 0: the weights themselves.
        precision: Of float32 matrix products, as torch.set_float32_matmul_precision has it. bfloat16: networks in
            bfloat16 but for their last layers, losses and weights in float32 (for processors that multiply it faster).
    """

    def __init__(self, agent: Agent, steps: int, decay: bool, average: float, precision: Precision):
        self.autocast = precision == "bfloat16"
        torch.set_float32_matmul_precision("highest" if precision == "bfloat16" else precision)
        self.agent, self.average, self.step = agent, average, 0
        self.losses: deque[Tensor] = deque(maxlen=REMEMBERED)  # of the last updates, up to this one
        self.parameters: list[Tensor] = [parameter for parameter in agent.parameters() if parameter.requires_grad]
        self.averaged = [parameter.detach().clone() for parameter in self.parameters]
        self.targets: list[Tensor] = []
        self.online: list[Tensor] = []
        for target, online in agent.targets.items():
            self.targets += agent.get_submodule(target).parameters()
            self.online += agent.get_submodule(online).parameters()
        # AdamW is Adam where the weight decay is zero
        self.optimizer = torch.optim.AdamW(self.parameters, agent.lr, weight_decay=agent.weight_decay, fused=True)

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / agent.warmup) if agent.warmup else 1.0
            return warm * (0.5 * (1 + math.cos(math.pi * step / steps)) if decay else 1.0)

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)

    def update(self, batch: Batch, rng: Generator, logged: bool = True) -> dict[str, Any]:
        """One gradient step, whose loss draws from `rng`.

        Returns:
            The loss's info, `grad_norm` before clipping, and `grad_norm/<part>` of the agent's parts (the first words
            of its parameters' names): scalars still on the device. Without `logged` there are no norms of parts, and
            `grad_norm` is there only if gradients are clipped.
        """
        with torch.autocast(batch.observations.device.type, torch.bfloat16, enabled=self.autocast):
            loss, info = self.agent.loss(batch, rng)
        self.optimizer.zero_grad()
        loss.backward()
        if logged or self.agent.grad_clip is not None:
            gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
            info["grad_norm"] = norm = nn.utils.get_total_norm(gradients)
        if logged:
            info |= self.norms_of_parts()
        if self.agent.grad_clip is not None:
            nn.utils.clip_grads_with_norm_(self.parameters, self.agent.grad_clip, norm)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        self.losses.append(loss.detach())
        with torch.no_grad():
            if self.targets:
                torch._foreach_lerp_(self.targets, self.online, self.agent.tau)
            if self.average:
                torch._foreach_lerp_(self.averaged, self.parameters, 1 - self.average)
        return info

    def norms_of_parts(self) -> dict[str, Tensor]:
        """The norm of the gradient of each part of the agent that has one."""
        parts: dict[str, list[Tensor]] = {}
        for name, parameter in self.agent.named_parameters():
            if parameter.grad is not None:
                parts.setdefault(name.partition(".")[0], []).append(parameter.grad)
        return {f"grad_norm/{part}": nn.utils.get_total_norm(gradients) for part, gradients in parts.items()}

    def check(self) -> None:
        """Look at the losses since the last check, and at the weights. It waits for the device; an update does not.

        NotFinite if one of them is not finite. It names the first such update, or else the weights.
        """
        losses, first = list(self.losses), self.step - len(self.losses) + 1
        self.losses.clear()
        values = torch.stack(losses).tolist() if losses else []
        for number, value in enumerate(values, first):
            if not math.isfinite(value):
                raise NotFinite(f"update {number}: the loss is {value}; a finite one expected")
        named = [*self.agent.named_parameters(), *(("the average of the weights", value) for value in self.averaged)]
        largest = torch._foreach_norm([value for _, value in named], math.inf)  # a sum of squares might overflow
        for (name, _), value in zip(named, torch.stack(largest).tolist(), strict=True):
            if not math.isfinite(value):
                raise NotFinite(f"update {self.step}: {name} holds a number that is not finite")

    def swap(self) -> None:
        """Exchange the weights and their average: once before an evaluation, once after it."""
        if self.average:
            with torch.no_grad():
                for parameter, averaged in zip(self.parameters, self.averaged, strict=True):
                    held = parameter.clone()
                    parameter.copy_(averaged)
                    averaged.copy_(held)

    def state_dict(self) -> dict[str, Any]:
        parts = {key: getattr(self, key).state_dict() for key in STATEFUL}
        return parts | {"averaged": self.averaged, "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for key in STATEFUL:
            getattr(self, key).load_state_dict(state[key])
        with torch.no_grad():
            for averaged, held in zip(self.averaged, state["averaged"], strict=True):
                averaged.copy_(held)
        self.step = state["step"]
