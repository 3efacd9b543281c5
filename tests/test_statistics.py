"""Numbers over seeds against values by hand, slow plain loops, and rliable's where it is installed."""

from importlib.metadata import version

import numpy as np
import pytest

from stitchrl.report.statistics import (
    RESAMPLES,
    interquartile_mean,
    probability_of_improvement,
    resampled,
)


def test_interquartile_mean_by_hand():
    scores = np.array([[0.0, 0.1], [0.9, 0.2], [0.3, 1.0], [0.4, 0.5]])  # the middle four: 0.2, 0.3, 0.4, 0.5
    assert interquartile_mean(scores) == pytest.approx(0.35)
    three = np.array([[0.0], [0.3], [1.0]])  # a quarter of three is no whole score: nothing is cut
    assert interquartile_mean(three) == pytest.approx(1.3 / 3)


def test_probability_of_improvement_by_hand():
    x = np.array([[1.0, 0.2], [0.5, 0.2]])
    y = np.array([[0.5, 0.2], [0.0, 0.9], [0.7, 0.1]])
    # first task: 1.0 beats three, 0.5 ties one and beats one: 4.5 of 6; second: each ties one and beats one: 3 of 6
    assert probability_of_improvement(x, y) == pytest.approx((4.5 / 6 + 3 / 6) / 2)
    assert probability_of_improvement(x, y) + probability_of_improvement(y, x) == pytest.approx(1)


def test_resamples_equal_a_plain_loop():
    """The same draws, one resample at a time: runs are drawn for each task, and for each array."""
    rng = np.random.default_rng(1)
    x, y = rng.random((8, 3)), rng.random((9, 3)) + 0.2
    interval = resampled(probability_of_improvement, x, y, rng=np.random.default_rng(5))
    rng = np.random.default_rng(5)
    draws_x, draws_y = (rng.integers(len(array), size=(RESAMPLES, *array.shape)) for array in (x, y))
    values = []
    for of_x, of_y in zip(draws_x, draws_y, strict=True):
        wins = 0.0
        for task in range(3):
            for i in of_x[:, task]:
                for k in of_y[:, task]:
                    wins += float(x[i, task] > y[k, task]) + 0.5 * float(x[i, task] == y[k, task])
        values.append(wins / (3 * 8 * 9))
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))))
    assert interval.value == pytest.approx(probability_of_improvement(x, y))


def test_interval_of_equal_scores_is_a_point():
    interval = resampled(interquartile_mean, np.full((8, 2), 0.5), rng=np.random.default_rng(0))
    assert (interval.value, interval.low, interval.high) == (0.5, 0.5, 0.5)
    assert str(interval) == "0.50 [0.50, 0.50]"


@pytest.fixture
def scores():
    """Of two methods, with ties, as shares of 20 episodes have them."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 21, (10, 4)) / 20, rng.integers(0, 16, (8, 4)) / 20


def test_values_are_those_of_rliable(scores):
    metrics = pytest.importorskip("rliable.metrics")
    assert interquartile_mean(scores[0]) == pytest.approx(metrics.aggregate_iqm(scores[0]))
    assert probability_of_improvement(*scores) == pytest.approx(metrics.probability_of_improvement(*scores))


def test_intervals_are_those_of_rliable(scores):
    """Up to what two bootstraps of 2,000 resamples differ by."""
    metrics, library = pytest.importorskip("rliable.metrics"), pytest.importorskip("rliable.library")
    if int(version("arch").partition(".")[0]) >= 8:
        pytest.skip("rliable 1.2 passes arch an argument that arch 8 does not know")
    np.random.seed(0)  # rliable draws from the global generator
    means = {"x": scores[0]}, lambda x: np.array([metrics.aggregate_iqm(x)])
    pairs = {"x,y": scores}, metrics.probability_of_improvement
    for (given, theirs), metric, arrays in (
        (means, interquartile_mean, scores[:1]),
        (pairs, probability_of_improvement, scores),
    ):
        (ends,) = library.get_interval_estimates(given, theirs, reps=2000)[1].values()
        ours = resampled(metric, *arrays, rng=np.random.default_rng(0))
        assert (ours.low, ours.high) == pytest.approx(tuple(np.ravel(ends)), abs=0.03)
