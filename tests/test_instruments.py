"""Instruments are asked when they are due, of an agent that does not train, and leave no trace in the training."""

from typing import Any

import pytest
import torch

from stitchrl.instruments.instrument import due, measure


class Dice:
    """Draws a number, and writes down what it was given."""

    def __init__(self, every: Any):
        self.every, self.given = every, []

    def __call__(self, agent, step, rows):
        self.given.append((agent.training, step, rows))
        return {"thrown": float(torch.rand(())), "nothing": None}


@pytest.mark.parametrize(
    ("every", "evaluated", "expected"),
    [(3, False, [3, 6]), (3, True, []), ("evaluation", False, []), ("evaluation", True, [1, 2, 3, 4, 5, 6, 7])],
)
def test_an_instrument_is_due_every_so_many_updates_or_with_each_evaluation(every, evaluated, expected):
    assert [step for step in range(1, 8) if due(Dice(every), step, evaluated)] == expected


@pytest.mark.parametrize("training", [True, False])
def test_to_measure_changes_neither_the_agents_mode_nor_the_random_numbers_that_follow(training):
    agent, dice, other = torch.nn.Dropout().train(training), Dice(5), Dice("evaluation")
    before = torch.get_rng_state()
    values = measure({"dice": dice, "other": other}, agent, 10, [{"task": "t"}], evaluated=False)
    assert torch.equal(torch.get_rng_state(), before) and agent.training == training
    assert dice.given == [(False, 10, [{"task": "t"}])] and other.given == []
    assert values.keys() == {"dice/thrown", "dice/nothing"} and values["dice/nothing"] is None
