"""What several agents' networks are built of: MLPs, ensembles of them, and actors that can be cloned or weighted."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

Tensors = Sequence[Tensor]


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Within it, gradients flow through the modules but not into them."""
    parameters = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


class OutputLinear(nn.Linear):
    """A last layer: in float32 also under autocast, since losses compare values that differ little."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


def mlp(dims: Sequence[int], activation: type[nn.Module] = nn.GELU, layer_norm: bool = False) -> nn.Sequential:
    """A network of these widths, from input to output. Its last layer is linear. A layer norm follows an activation."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(dims[:-1]):
        layers += [nn.Linear(fan_in, fan_out), activation(), *([nn.LayerNorm(fan_out)] if layer_norm else [])]
    return nn.Sequential(*layers, OutputLinear(dims[-2], dims[-1]))


class Ensemble(nn.Module):
    """Two MLPs of one shape with GELU and layer norm, as OGBench's critics are. dims: see `mlp`.

    Their parameters are stacked, which spares the optimiser half of the tensors. They are evaluated one after the
    other, so that activations stay in the cache. A batched product was slower (benchmarks/speed.py). With `exact` the
    last layer stays in float32 under autocast, as OutputLinear does.
    """

    def __init__(self, dims: Sequence[int], exact: bool = True):
        super().__init__()
        self.exact = exact
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        self.scales, self.shifts = nn.ParameterList(), nn.ParameterList()  # of the layer norms
        for fan_in, fan_out in pairwise(dims):
            bound = 1 / math.sqrt(fan_in)  # as in nn.Linear
            self.weights.append(torch.empty(2, fan_in, fan_out).uniform_(-bound, bound))
            self.biases.append(torch.empty(2, 1, fan_out).uniform_(-bound, bound))
        for width in dims[1:-1]:
            self.scales.append(torch.ones(2, 1, width))
            self.shifts.append(torch.zeros(2, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """Both networks' values [2, B, dims[-1]] of x [B, dims[0]]."""
        weights, biases = list(self.weights), list(self.biases)
        if torch.is_autocast_enabled(x.device.type):  # both networks' parameters at once
            kind = torch.get_autocast_dtype(x.device.type)
            x = x.to(kind)
            hidden = len(weights) - self.exact
            weights[:hidden] = [weight.to(kind) for weight in weights[:hidden]]
            biases[:hidden] = [bias.to(kind) for bias in biases[:hidden]]
        kinds = (weights, biases, self.scales, self.shifts)
        first, second = zip(*(zip(*(p.unbind() for p in kind), strict=True) for kind in kinds), strict=True)
        return torch.stack([self.one(x, *first), self.one(x, *second)])

    def one(self, x: Tensor, weights: Tensors, biases: Tensors, scales: Tensors, shifts: Tensors) -> Tensor:
        for weight, bias, scale, shift in zip(weights, biases, scales, shifts, strict=False):
            x = nn.functional.gelu(torch.addmm(bias, x, weight))
            x = nn.functional.layer_norm(x, x.shape[-1:], scale[0], shift[0])
        if not self.exact:
            return torch.addmm(biases[-1], x, weights[-1])
        with torch.autocast(x.device.type, enabled=False):
            return torch.addmm(biases[-1], x.to(weights[-1].dtype), weights[-1])


class Actor(nn.Module):
    """A policy: an MLP whose output says which actions are likely. Subclasses say how. dims: see `mlp`."""

    near_zero = False  # whether the last layer is scaled down, so that outputs begin near zero (as in OGBench)

    def __init__(self, dims: Sequence[int], activation: type[nn.Module] = nn.GELU):
        super().__init__()
        self.net = mlp(dims, activation)
        if self.near_zero:
            with torch.no_grad():
                for parameter in self.net[-1].parameters():
                    parameter.mul_(0.01)

    def forward(self, x: Tensor) -> Tensor:
        """The network's output [B, ...] for inputs x [B, dims[0]]; of most actors it is the action [B, act_dim]."""
        return self.net(x)

    def explain(self, output: Tensor, actions: Tensor) -> Tensor:
        """How badly [...] outputs explain actions [..., act_dim], or numbers of actions (int64) [...]."""
        raise NotImplementedError

    def loss(self, x: Tensor, actions: Tensor) -> Tensor:
        """How badly [B] the actor explains actions for inputs x [B, dims[0]]."""
        return self.explain(self(x), actions)

    def act(self, x: Tensor) -> Tensor:
        """The action for inputs x [B, dims[0]]: [B, act_dim] in [-1, 1], or numbers of actions (int64) [B]."""
        return self(x).clamp(-1, 1)

    def expected(self, output: Tensor, q: Callable[[Tensor], Tensor]) -> Tensor:
        """The value [B] of what an output of the network does. q: values [B] of encoded actions [B, act_dim]."""
        return q(output.clamp(-1, 1))


class DeterministicActor(Actor):
    """tanh of an MLP; its loss is the mean squared error."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).tanh()

    @staticmethod
    def explain(output: Tensor, actions: Tensor) -> Tensor:
        return (output - actions).square().mean(-1)


class GaussianActor(Actor):
    """A normal distribution of standard deviation 1 about an MLP's output, as in OGBench.

    It acts by its mean. Its loss is the negative log-likelihood.
    """

    near_zero = True

    def explain(self, output: Tensor, actions: Tensor) -> Tensor:
        return 0.5 * ((output - actions).square() + math.log(2 * math.pi)).sum(-1)


class MixtureActor(Actor):
    """A mixture of normal distributions (Bishop, 1994), for data with several modes.

    It acts by the mean of the likeliest one. Its loss is the negative log-likelihood.
    """

    COMPONENTS = 8

    def __init__(self, dims: Sequence[int], activation: type[nn.Module] = nn.GELU):
        super().__init__([*dims[:-1], self.COMPONENTS * (1 + 2 * dims[-1])], activation)
        self.action_dim = dims[-1]

    def parts(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights [B, K], means [B, K, act_dim] and log standard deviations [B, K, act_dim]."""
        weights, means, stds = output.split([self.COMPONENTS, *2 * [self.COMPONENTS * self.action_dim]], -1)
        shape = (self.COMPONENTS, self.action_dim)
        return weights.log_softmax(-1), means.unflatten(-1, shape).tanh(), stds.unflatten(-1, shape).clamp(-3, 1)

    def explain(self, output: Tensor, actions: Tensor) -> Tensor:
        weights, means, log_stds = self.parts(output)
        error = (actions[:, None] - means) / log_stds.exp()
        likelihood = -(0.5 * error.square() + log_stds + 0.5 * math.log(2 * math.pi)).sum(-1)
        return -torch.logsumexp(weights + likelihood, -1)

    def act(self, x: Tensor) -> Tensor:
        weights, means, _ = self.parts(self(x))
        return means[torch.arange(len(x), device=x.device), weights.argmax(-1)]


class CategoricalActor(Actor):
    """A softmax over discrete actions, from an MLP's logits [B, n]. It acts by the likeliest action."""

    near_zero = True

    @staticmethod
    def explain(output: Tensor, actions: Tensor) -> Tensor:
        return -output.log_softmax(-1).gather(-1, actions[..., None]).squeeze(-1)

    def act(self, x: Tensor) -> Tensor:
        return self(x).argmax(-1)

    def expected(self, output: Tensor, q: Callable[[Tensor], Tensor]) -> Tensor:
        """sum_a pi(a|s) Q(s, a), with one call of q for each action. Gradients flow into pi alone."""
        with torch.no_grad():
            every = torch.eye(output.shape[-1], dtype=output.dtype, device=output.device)
            values = torch.stack([q(action.expand_as(output)) for action in every], -1)
        return (output.softmax(-1) * values).sum(-1)


ACTORS = {"deterministic": DeterministicActor, "gaussian": GaussianActor, "mixture": MixtureActor}


def make_actor(kind: str, dims: Sequence[int], action: Box | Discrete, activation: type[nn.Module] = nn.GELU) -> Actor:
    """The actor of a kind in `ACTORS`. For discrete actions it is a `CategoricalActor`, whatever the kind.

    dims: widths of input and hidden layers. Raises ValueError if a mixture is asked for and actions are discrete.
    """
    if isinstance(action, Box):
        return ACTORS[kind]([*dims, action.shape[0]], activation)
    if kind == "mixture":
        raise ValueError("agent.actor: 'mixture' given, but actions are discrete and have several modes without it")
    return CategoricalActor([*dims, int(action.n)], activation)
