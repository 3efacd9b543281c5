"""What an instrument is, and when it is asked.

An instrument is any class with the members of `Instrument`. A file in conf/instruments/ names it by its dotted path;
`instruments=[augmentation,mine]` chooses some. What it returns reaches TensorBoard, W&B, train.jsonl, summary.json and
the report's page as `instruments/<name>/<key>`, without being named anywhere else.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import torch

from stitchrl.agents.agent import Agent
from stitchrl.benchmark.benchmark import Benchmark
from stitchrl.data.batches import BatchSampler
from stitchrl.data.paths import TrajectorySampler

Values = Mapping[str, float | None]  # by key; None: there is no such value, which is not logged


class Instrument(Protocol):
    """Something that is measured."""

    every: int | Literal["evaluation"]  # updates between two measurements; "evaluation": one with each evaluation

    def bind(self, benchmark: Benchmark, goals: TrajectorySampler, sampler: BatchSampler) -> None:
        """Prepare, before training begins or goes on.

        sampler: what batches are drawn by. It holds the training data, `episodes`, on the device that learns; the
        trajectory sampler bound to them, `sample_path`; what the agent `needs`; and the `relabelling`.
        """

    def __call__(self, agent: Agent, step: int, rows: list[dict[str, Any]]) -> Values:
        """Measure the agent, in evaluation mode, after `step` updates. rows: the last evaluation's, one per episode."""


def due(instrument: Instrument, step: int, evaluated: bool) -> bool:
    """Whether an instrument is to measure after `step` updates. evaluated: whether an evaluation has just ended."""
    return evaluated if instrument.every == "evaluation" else not evaluated and step % instrument.every == 0


def measure(
    instruments: Mapping[str, Instrument], agent: Agent, step: int, rows: list[dict[str, Any]], evaluated: bool
) -> dict[str, float | None]:
    """What the instruments that are due measure, by `<name>/<key>`. No number of the training depends on it."""
    chosen = {name: instrument for name, instrument in instruments.items() if due(instrument, step, evaluated)}
    if not chosen:
        return {}
    training = agent.training
    agent.eval()
    with torch.random.fork_rng():
        measured = {name: instrument(agent, step, rows) for name, instrument in chosen.items()}
    agent.train(training)
    return {f"{name}/{key}": value for name, values in measured.items() for key, value in values.items()}
