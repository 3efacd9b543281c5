"""Numbers over seeds: Student's intervals of means, and what Agarwal et al. (2021) add to them from eight seeds on.

Scores are [..., runs, tasks]; leading axes are those of resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

FEWEST_SEEDS = 5  # for an interval; below, the points themselves are shown
SEEDS_TO_RESAMPLE = 8  # for the interquartile mean and the probability of improvement
RESAMPLES = 2000


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
        return float(stats.t.ppf(0.975, n - 1) * np.std(self.present, ddof=1) / n**0.5)

    def minus(self, other: "Estimate") -> "Estimate":
        """The difference seed by seed; where the seeds differ, the difference of the means, marked as unpaired."""
        if self.mean is None or other.mean is None:
            return Estimate(())
        if [value is None for value in self.values] != [value is None for value in other.values]:
            return Estimate((self.mean - other.mean,), paired=False)
        pairs = zip(self.values, other.values, strict=True)
        return Estimate(tuple(None if a is None or b is None else a - b for a, b in pairs))

    def __str__(self) -> str:
        if self.mean is None:
            return "missing"
        if not self.paired:
            return f"{number(self.mean)} (unpaired)"
        notes = [f"{self.missing} missing"] if self.missing else []
        if self.half_width is None and len(self.values) > 1:
            notes.insert(0, " ".join(map(number, self.present)))
        spread = "" if self.half_width is None else f" ± {number(self.half_width)}"
        return number(self.mean) + spread + (f" ({'; '.join(notes)})" if notes else "")


@dataclass(frozen=True)
class Interval:
    """A number and the ends of its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"


def number(value: float | None, digits: int = 2) -> str:
    """A dash stands for what does not apply."""
    return "-" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no minus before a zero


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """The mean [...] of the middle half of all scores [..., runs, tasks] of a resample."""
    ordered = np.sort(scores.reshape(*scores.shape[:-2], -1))
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut].mean(-1)


def probability_of_improvement(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How often [...] a run of x beats one of y at the same task, ties counting half; the mean over tasks."""
    difference = x[..., :, None, :] - y[..., None, :, :]
    return ((difference > 0) + 0.5 * (difference == 0)).mean((-3, -2, -1))


def resampled(metric: Callable[..., np.ndarray], *scores: np.ndarray, rng: np.random.Generator) -> Interval:
    """A metric of one or more arrays [runs, tasks], with its percentile interval from a stratified bootstrap.

    Runs are drawn anew for each task (the strata), and for each array independently.
    """
    drawn = []
    for array in scores:
        runs, tasks = array.shape
        drawn.append(array[rng.integers(runs, size=(RESAMPLES, runs, tasks)), np.arange(tasks)])
    low, high = np.quantile(metric(*drawn), (0.025, 0.975))
    return Interval(float(metric(*scores)), float(low), float(high))
