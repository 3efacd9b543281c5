"""Numbers over seeds: Student's intervals of means, and from eight seeds on what Agarwal et al. (2021) recommend.

In every interval a seed with all its tasks counts as one observation. benchmarks/coverage.py simulates how often the
intervals cover the truth.

Scores are [runs, tasks]. Leading axes, where there are some, are those of resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special  # scipy.stats takes a second to import

FEWEST_SEEDS = 5  # for an interval; below, the points themselves are shown
SEEDS_TO_RESAMPLE = 8  # for the interquartile mean and the probability of improvement
RESAMPLES, BATCH = 5000, 1000


@dataclass(frozen=True)
class Estimate:
    """A number over seeds. `values` has one entry for each seed, None where that run is missing."""

    values: tuple[float | None, ...]
    paired: bool = True  # False for a difference of means over different seeds

    @property
    def present(self) -> list[float]:
        return [value for value in self.values if value is not None]

    @property
    def missing(self) -> int:
        return len(self.values) - len(self.present)

    @property
    def mean(self) -> float | None:
        return float(np.mean(self.present)) if self.present else None

    @property
    def half_width(self) -> float | None:
        """Half of Student's 95% interval for the mean, None below five seeds."""
        n = len(self.present)
        if n < FEWEST_SEEDS:
            return None
        return float(special.stdtrit(n - 1, 0.975) * np.std(self.present, ddof=1) / n**0.5)

    def minus(self, other: "Estimate") -> "Estimate":
        """The difference seed by seed. If the seeds differ, the difference of the means, marked as unpaired."""
        if self.mean is None or other.mean is None:
            return Estimate(())
        if [value is None for value in self.values] != [value is None for value in other.values]:
            return Estimate((self.mean - other.mean,), paired=False)
        pairs = zip(self.values, other.values, strict=True)
        return Estimate(tuple(None if a is None or b is None else a - b for a, b in pairs))

    def text(self, digits: int | None = 2) -> str:
        """The mean with its interval; below five seeds with every value."""
        if self.mean is None:
            return "missing"
        if not self.paired:
            return f"{number(self.mean, digits)} (unpaired)"
        notes = [f"{self.missing} missing"] if self.missing else []
        if self.half_width is None and len(self.values) > 1:
            notes.insert(0, " ".join(number(value, digits) for value in self.present))
        spread = "" if self.half_width is None else f" ± {number(self.half_width, digits)}"
        return number(self.mean, digits) + spread + (f" ({'; '.join(notes)})" if notes else "")

    def __str__(self) -> str:
        return self.text()


@dataclass(frozen=True)
class Interval:
    """A number and the ends of its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"


def number(value: float | None, digits: int | None = 2) -> str:
    """A number with so many digits behind the point, or with four that matter. A dash: it does not apply."""
    if value is None:
        return "-"
    return f"{value:.4g}" if digits is None else f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no minus before 0


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """The mean [...] of the middle half of all scores [..., runs, tasks] of a resample."""
    ordered = np.sort(scores.reshape(*scores.shape[:-2], -1))
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut].mean(-1)


def resampled(metric: Callable[..., np.ndarray], *scores: np.ndarray, rng: np.random.Generator) -> Interval:
    """A metric of one or more arrays [runs, tasks], with its 95% interval from a bootstrap of whole runs.

    One run's network solves all tasks, so its scores depend on each other. Runs are therefore drawn with all their
    tasks, for each array independently. Plain percentiles are too narrow for few runs, as mean ± 1.96 * np.std(...) /
    sqrt(runs) is narrower than Student's interval. More extreme percentiles make up for that (Hesterberg, 2015).
    """
    drawn = []
    for _ in range(RESAMPLES // BATCH):  # all at once would take too much memory
        rows = [rng.integers(len(array), size=(BATCH, len(array))) for array in scores]
        drawn.append(metric(*(array[row] for array, row in zip(scores, rows, strict=True))))
    quantile, inflation = _small_sample(*scores)
    tail = special.ndtr(-quantile * inflation**0.5)
    low, high = np.quantile(np.concatenate(drawn), (tail, 1 - tail))
    return Interval(float(metric(*scores)), float(low), float(high))


def improvement(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Interval:
    """The probability of improvement of x over y, [runs, tasks] each, with its 95% interval.

    It is Wilson's interval of a share. It stays within [0, 1], and has a width even if every run of x beats every one
    of y. The number of independent trials that the share is worth follows from its variance in a bootstrap of whole
    runs, as for clusters (Korn and Graubard, 1998).
    """
    difference = x[:, None] - y
    # At what share of tasks each run of x beats each one of y, ties counting half: [runs of x, runs of y].
    beats = ((difference > 0) + 0.5 * (difference == 0)).mean(-1)
    share = float(beats.mean())
    # What share each run has of those that are drawn.
    often_x, often_y = (rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n for n in beats.shape)
    quantile, inflation = _small_sample(x, y)
    variance = inflation * float(((often_x @ beats) * often_y).sum(1).var())
    # Where it does not vary, but for rounding, it is worth no more than one trial for each run.
    trials = share * (1 - share) / variance if variance > 1e-12 else min(beats.shape)
    weight = quantile**2 / trials
    middle = (share + weight / 2) / (1 + weight)
    half_width = (weight * share * (1 - share) + weight**2 / 4) ** 0.5 / (1 + weight)
    return Interval(share, middle - half_width, middle + half_width)


def _small_sample(*scores: np.ndarray) -> tuple[float, float]:
    """Student's quantile, and by what factor a bootstrap's variance is too small."""
    runs = sum(len(array) for array in scores)
    freedom = runs - len(scores)
    return float(special.stdtrit(freedom, 0.975)), runs / freedom
