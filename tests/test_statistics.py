"""Numbers over seeds against values by hand, slow plain loops, and rliable's where it is installed."""

import csv
from pathlib import Path

import numpy as np
import pytest

from stitchrl.report.statistics import (
    BATCH,
    RESAMPLES,
    Estimate,
    Interval,
    improvement,
    interquartile_mean,
    resampled,
)


def probability_of_improvement(x, y):
    return improvement(x, y, np.random.default_rng(0)).value


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
    """The same draws, one resample at a time: a run is drawn with all its tasks."""
    scores = np.random.default_rng(1).random((8, 3))
    interval = resampled(interquartile_mean, scores, rng=np.random.default_rng(5))
    rng, values = np.random.default_rng(5), []
    for _ in range(RESAMPLES // BATCH):
        for rows in rng.integers(8, size=(BATCH, 8)):
            ordered = sorted(scores[row, task] for row in rows for task in range(3))
            values.append(sum(ordered[6:18]) / 12)
    # Student's quantile for eight is 2.364624; 2.364624 * sqrt(8 / 7) = 2.527889, beyond which a normal has 0.005737
    assert (interval.low, interval.high) == pytest.approx(
        tuple(np.quantile(values, (0.005737, 1 - 0.005737))), rel=1e-5
    )
    assert interval.value == pytest.approx(interquartile_mean(scores))


def test_improvement_equals_a_plain_loop():
    rng = np.random.default_rng(1)
    x, y = rng.random((8, 3)), rng.random((9, 3)) + 0.2
    interval = improvement(x, y, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    often_x = rng.multinomial(8, [1 / 8] * 8, RESAMPLES)
    often_y = rng.multinomial(9, [1 / 9] * 9, RESAMPLES)
    values = []
    for of_x, of_y in zip(often_x, often_y, strict=True):
        wins = sum(
            of_x[i] * of_y[k] * (float(x[i, task] > y[k, task]) + 0.5 * float(x[i, task] == y[k, task]))
            for task in range(3)
            for i in np.flatnonzero(of_x)
            for k in np.flatnonzero(of_y)
        )
        values.append(wins / (3 * 8 * 9))
    share = probability_of_improvement(x, y)
    assert interval.value == pytest.approx(share)
    # 17 runs less two groups; Student's quantile for 15 is 2.131450
    trials = share * (1 - share) / (np.var(values) * 17 / 15)
    for end in (interval.low, interval.high):  # by what Wilson's ends are: where the share is just that unlikely
        assert (share - end) ** 2 == pytest.approx(2.13145**2 * end * (1 - end) / trials, rel=1e-4)
    assert interval.low < share < interval.high


def test_a_run_that_always_wins_is_no_certainty():
    always = improvement(np.ones((8, 6)), np.zeros((10, 6)), np.random.default_rng(0))
    # Student's quantile for 16 is 2.119905; eight trials: 8 / (8 + 2.119905 ** 2) = 0.64031
    assert (always.value, always.high) == (1, pytest.approx(1)) and always.low == pytest.approx(0.64031, abs=1e-5)
    ties = improvement(np.ones((8, 6)), np.ones((8, 6)), np.random.default_rng(0))
    assert ties.value == 0.5 and ties.low == pytest.approx(1 - ties.high) and ties.high > 0.7


def for_each_task(metric, scores, rng):
    """The interval that there was once: runs are drawn anew for each task, by itself."""
    runs, tasks = scores.shape
    drawn = scores[rng.integers(runs, size=(1000, runs, tasks)), np.arange(tasks)]
    return Interval(float(metric(scores)), *np.quantile(metric(drawn), (0.025, 0.975)))


def learnt(runs, correlation, rng):
    """Scores [runs, 6] in [0, 1] of an easy to a hard task, with a correlation between those of a run."""
    normal = correlation**0.5 * rng.standard_normal((runs, 1)) + (1 - correlation) ** 0.5 * rng.standard_normal(
        (runs, 6)
    )
    return np.clip(np.linspace(0.05, 0.95, 6) + 0.2 * normal, 0, 1)


def covered(interval, correlation, repetitions=400):
    """How often an interval of the interquartile mean holds that of all scores, which is 0.5 by symmetry."""
    rng = np.random.default_rng(0)
    found = [interval(interquartile_mean, learnt(8, correlation, rng), rng=rng) for _ in range(repetitions)]
    return np.mean([one.low <= 0.5 <= one.high for one in found])


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_intervals_of_the_interquartile_mean_cover_it_as_often_as_they_say(correlation):
    assert 0.92 <= covered(resampled, correlation) <= 0.98


def test_the_simulation_would_notice_runs_drawn_for_each_task_by_itself():
    assert covered(for_each_task, 0.5) < 0.8
    assert covered(for_each_task, 0.9) < 0.7


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_intervals_of_the_mean_and_of_improvement_cover_as_often_as_they_say(correlation):
    rng = np.random.default_rng(0)
    mean, better = [], []
    for _ in range(400):
        x, y = learnt(8, correlation, rng), learnt(8, correlation, rng)
        estimate = Estimate(tuple(x.mean(1)))
        mean.append(abs(estimate.mean - 0.5) <= estimate.half_width)
        pair = improvement(x, y, rng)
        better.append(pair.low <= 0.5 <= pair.high)
    assert 0.92 <= np.mean(mean) <= 0.98 and 0.92 <= np.mean(better) <= 0.98


def test_committed_coverage_is_what_a_95_percent_interval_promises():
    """`rare` scores are in it to show where Student's intervals fall short."""
    table = Path(__file__).parents[1] / "benchmarks" / "results" / "coverage.csv"
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert {row["correlation"] for row in rows} == {"0.0", "0.5", "0.9"} and len(rows) == 48
    for row in rows:
        assert int(row["repetitions"]) >= 2000
        if row["scores"] != "rare":
            most = 0.975 if row["interval of"].startswith("P") else 0.97  # a little too wide for independent tasks
            assert 0.93 <= float(row["coverage"]) <= most, row


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
