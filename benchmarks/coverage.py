"""How often the report's 95% intervals cover the truth, by simulation.

`python benchmarks/coverage.py [--repetitions 2500]` prints a table and writes benchmarks/results/coverage.csv, in about
half an hour. Eight seeds are evaluated on six tasks, from a hard one to an easy one. What a seed's network has
learnt is normal, with a correlation between its tasks of 0, 0.5 or 0.9; three kinds of scores are made of it:

    normal   as it is: means of 0.2 to 0.8, a standard deviation of 0.15
    clipped  means of 0.05 to 0.95, a standard deviation of 0.2, truncated at 0 and 1, as success is
    rates    successes of 150 episodes, by a logistic curve; from 0.12 to 0.88
    rare     the same about 0.08 at every task: skewed, the worst case for so few seeds

The truth is the value of the whole population, here of 400,000 seeds: for a mean and an interquartile mean that of all
of their scores, for the probability of improvement how often an independent seed of X beats one of Y at the same task.
Y has the scores of the kind, X the same with 0.5 standard deviations more, or 1.5.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stitchrl.files import write_csv
from stitchrl.report.statistics import Estimate, Interval, improvement, interquartile_mean, resampled

SEEDS, TASKS, POPULATION = 8, 6, 400_000
CORRELATIONS = (0.0, 0.5, 0.9)
RESULTS = Path(__file__).parent / "results" / "coverage.csv"
BETTER = (0.5, 1.5)  # by how many standard deviations X is better than Y


def learnt(seeds: int, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Standard normal [seeds, TASKS], with a correlation between the tasks of a seed."""
    of_seed, own = rng.standard_normal((seeds, 1)), rng.standard_normal((seeds, TASKS))
    return correlation**0.5 * of_seed + (1 - correlation) ** 0.5 * own


def rates(logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.binomial(150, 1 / (1 + np.exp(-logits))) / 150


KINDS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "normal": lambda z, rng: np.linspace(0.2, 0.8, TASKS) + 0.15 * z,
    "clipped": lambda z, rng: np.clip(np.linspace(0.05, 0.95, TASKS) + 0.2 * z, 0, 1),
    "rates": lambda z, rng: rates(np.linspace(-2, 2, TASKS) + z, rng),
    "rare": lambda z, rng: rates(-2.5 + z, rng),
}


def mean(scores: np.ndarray) -> Interval:
    """Student's interval of the mean over tasks, as tables have it."""
    estimate = Estimate(tuple(scores.mean(1)))
    assert estimate.mean is not None and estimate.half_width is not None
    return Interval(estimate.mean, estimate.mean - estimate.half_width, estimate.mean + estimate.half_width)


def true_improvement(x: np.ndarray, y: np.ndarray) -> float:
    """How often a row of x beats one of y, over all pairs of a whole population."""
    beaten = []
    for of_x, of_y in zip(x.T, np.sort(y.T), strict=True):
        less, no_more = (np.searchsorted(of_y, of_x, side) for side in ("left", "right"))
        beaten.append((less + no_more).mean() / 2 / len(of_y))
    return float(np.mean(beaten))


def simulate(kind: str, correlation: float, repetitions: int) -> list[dict[str, object]]:
    rng = np.random.default_rng(0)

    def draw(seeds: int, better: float) -> np.ndarray:
        return KINDS[kind](learnt(seeds, correlation, rng) + better, rng)

    y = draw(POPULATION, 0)
    truths = {"mean": y.mean(), "interquartile mean": interquartile_mean(y)}
    truths |= {f"P(X > Y), {better}": true_improvement(draw(POPULATION, better), y) for better in BETTER}
    found: dict[str, list[Interval]] = {name: [] for name in truths}
    for _ in range(repetitions):
        y = draw(SEEDS, 0)
        found["mean"].append(mean(y))
        found["interquartile mean"].append(resampled(interquartile_mean, y, rng=rng))
        for better in BETTER:
            found[f"P(X > Y), {better}"].append(improvement(draw(SEEDS, better), y, rng))
    return [
        {
            "scores": kind,
            "correlation": correlation,
            "interval of": name,
            "truth": round(float(truth), 3),
            "coverage": round(float(np.mean([one.low <= truth <= one.high for one in found[name]])), 3),
            "width": round(float(np.mean([one.high - one.low for one in found[name]])), 3),
            "repetitions": repetitions,
        }
        for name, truth in truths.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2500)
    repetitions = parser.parse_args().repetitions
    rows = []
    for kind in KINDS:
        for correlation in CORRELATIONS:
            for row in simulate(kind, correlation, repetitions):
                rows.append(row)
                print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    write_csv(RESULTS, rows)


if __name__ == "__main__":
    main()
