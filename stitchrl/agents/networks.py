"""What several agents' networks are built of: MLPs, ensembles of them, and actors that can be cloned or weighted."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
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
    """A network of widths `dims`, input first, whose last layer is linear. layer_norm: after each activation."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(dims[:-1]):
        layers += [nn.Linear(fan_in, fan_out), activation(), *([nn.LayerNorm(fan_out)] if layer_norm else [])]
    return nn.Sequential(*layers, OutputLinear(dims[-2], dims[-1]))


class Ensemble(nn.Module):
    """Two MLPs of one shape, GELU and layer norm as in OGBench's critics. exact: as OutputLinear.

    Their parameters are stacked, which spares the optimiser half of the tensors. They are evaluated one after the
    other: so activations stay in the cache, and a batched product was slower (benchmarks/speed.py).
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


class DeterministicActor(nn.Module):
    """tanh of an MLP; its loss is the squared error."""

    def __init__(self, dims: Sequence[int], activation: type[nn.Module] = nn.ReLU):
        super().__init__()
        self.net = mlp(dims, activation)

    def forward(self, x: Tensor) -> Tensor:
        """The action [B, act_dim] for inputs [B, dims[0]]."""
        return self.net(x).tanh()

    def loss(self, x: Tensor, actions: Tensor) -> Tensor:
        """How badly [B] the actor explains actions [B, act_dim] for inputs x: the mean squared error."""
        return (self(x) - actions).square().mean(-1)


class GaussianActor(nn.Module):
    """A normal distribution of standard deviation 1 about an MLP's output, as in OGBench; acts by its mean."""

    def __init__(self, dims: Sequence[int], activation: type[nn.Module] = nn.GELU):
        super().__init__()
        self.net = mlp(dims, activation)
        with torch.no_grad():
            for parameter in self.net[-1].parameters():
                parameter.mul_(0.01)  # actions begin near zero

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def loss(self, x: Tensor, actions: Tensor) -> Tensor:
        """The negative log-likelihood [B] of actions [B, act_dim] for inputs x."""
        return negative_log_likelihood(self(x), actions)


def negative_log_likelihood(mean: Tensor, actions: Tensor) -> Tensor:
    """Of actions [B, act_dim] under normal distributions of standard deviation 1 about `mean`: [B]."""
    return 0.5 * ((mean - actions).square() + math.log(2 * math.pi)).sum(-1)


class MixtureActor(nn.Module):
    """A mixture of normal distributions (Bishop, 1994): several modes, and acts by the mean of the likeliest one."""

    COMPONENTS = 8

    def __init__(self, dims: Sequence[int], activation: type[nn.Module] = nn.ReLU):
        super().__init__()
        self.action_dim = dims[-1]
        self.net = mlp([*dims[:-1], self.COMPONENTS * (1 + 2 * self.action_dim)], activation)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights [B, K], means [B, K, act_dim] and log standard deviations [B, K, act_dim]."""
        weights, means, stds = self.net(x).split([self.COMPONENTS, *2 * [self.COMPONENTS * self.action_dim]], -1)
        shape = (self.COMPONENTS, self.action_dim)
        return weights.log_softmax(-1), means.unflatten(-1, shape).tanh(), stds.unflatten(-1, shape).clamp(-3, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights, means, _ = self.parts(x)
        return means[torch.arange(len(x), device=x.device), weights.argmax(-1)]

    def loss(self, x: Tensor, actions: Tensor) -> Tensor:
        weights, means, log_stds = self.parts(x)
        error = (actions[:, None] - means) / log_stds.exp()
        likelihood = -(0.5 * error.square() + log_stds + 0.5 * math.log(2 * math.pi)).sum(-1)
        return -torch.logsumexp(weights + likelihood, -1)


ACTORS: dict[str, type[DeterministicActor] | type[GaussianActor] | type[MixtureActor]] = {
    "deterministic": DeterministicActor,
    "gaussian": GaussianActor,
    "mixture": MixtureActor,
}
