"""Trajectory samplers: how the goal of a row is drawn. `future` stays in the episode, `stitch` jumps between episodes.

row ......... leave                       (episode of the row)
                |   same cluster
              enter ......... goal        (any episode)
"""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path
from sklearn.cluster import MiniBatchKMeans
from torch import Generator, Tensor

from stitchrl.data.episodes import Episodes, take
from stitchrl.scaling import mean_and_std
from stitchrl.seeds import stream
from stitchrl.types import GoalPath

# rows [B], none of them an episode's last; the discount of steps ahead, None for all alike -> the rows' paths
Sample = Callable[[Tensor, float | None, Generator], GoalPath]


class TrajectorySampler(Protocol):
    """How the goals of trajectories are drawn.

    A sampler that augments declares `p`, the share of paths that are to leave their episode. If it does not, that is
    recorded as not said. What paths really do is measured of every sampler.
    """

    def bind(self, episodes: Episodes) -> Sample:
        """Prepare to sample from these episodes."""


TRIES = 3  # draws for each jump that has to lead on: where it is made, half of the data go one way and half the other


def _later(low: Tensor, high: Tensor, discount: float | None, rng: Generator) -> Tensor:
    """Rows [B] from low to high, both included.

    Without a discount all are alike. With one, a row n beyond low is drawn in proportion to discount ** n, and high
    stands for all rows beyond it.
    """
    share = torch.rand(low.shape, generator=rng, dtype=torch.float64, device=low.device)
    if discount is None:
        return low + (share * (high - low + 1)).long()
    return torch.minimum(low + (torch.log1p(-share) / math.log(discount)).long(), high)


class Future:
    """The goal is a later state of the same episode (hindsight; Andrychowicz et al., 2017)."""

    p = 0.0  # no path leaves its episode

    def bind(self, episodes: Episodes) -> Sample:
        def sample(rows: Tensor, discount: float | None, rng: Generator) -> GoalPath:
            goal = _later(rows + 1, take(episodes.ends, rows), discount, rng)
            none = rows.new_empty(len(rows), 0)
            return GoalPath(rows, goal, none, none)

        return sample


class Stitch:
    """Temporal data augmentation (Ghugare et al., 2024, section 5).

    With probability p, a row's future state is exchanged for a random row of the same cluster, in any episode, and the
    goal is drawn from there to that episode's end. A path jumps 1 to `hops` times, each number equally often.

    clusters: k of k-means on the standardised `columns` of the observation. None: all columns. [0, 1] is the achieved
    goal. With its linear velocity it is [0, 1, 2, 3] for the point, and [0, 1, 15, 16] for the ant.
    detour: If given, a jump is kept only if it leads on. The way from the row over the jump to the new goal may be so
    many times as long as the straight way, in steps between clusters (`steps_between`). A jump that is not kept is
    drawn anew, in at most TRIES draws for each of `hops`.
    """

    def __init__(self, p: float, clusters: int, hops: int, columns: list[int] | None, detour: float | None, seed: int):
        if not 0 < p <= 1:
            raise ValueError(f"goals.p: {p} given, a probability in (0, 1] expected; goals=future is no augmentation")
        for key, value in (("clusters", clusters), ("hops", hops)):
            if value < 1:
                raise ValueError(f"goals.{key}: {value} given, a positive number expected")
        self.p, self.clusters, self.hops, self.seed = p, clusters, hops, seed
        if detour is not None and detour < 1:
            raise ValueError(f"goals.detour: {detour} given, 1 or more expected")
        self.columns, self.detour = columns, detour

    def bind(self, episodes: Episodes) -> Sample:
        cluster = self.assign(episodes)
        members = torch.argsort(cluster, stable=True)  # cluster by cluster
        last = torch.bincount(cluster, minlength=self.clusters).cumsum(0) - 1
        first = torch.cat([last.new_zeros(1), last[:-1] + 1])
        leads_on = self.make_leads_on(cluster, episodes)
        attempts = self.hops if leads_on is None else TRIES * self.hops

        def sample(rows: Tensor, discount: float | None, rng: Generator) -> GoalPath:
            goal = _later(rows + 1, take(episodes.ends, rows), discount, rng)
            leave = rows.new_full((len(rows), self.hops), -1)
            enter = leave.clone()
            jumps = torch.rand(len(rows), generator=rng, device=rows.device) < self.p
            hops = torch.randint(1, self.hops + 1, (len(rows),), generator=rng, device=rows.device)
            left = torch.where(jumps, hops, 0)
            made = torch.zeros_like(left)
            for _ in range(attempts):
                jumping = (left > made).nonzero().squeeze(1)
                here = take(goal, jumping)
                within = take(cluster, here)
                entered = take(members, _later(take(first, within), take(last, within), None, rng))
                beyond = _later(entered, take(episodes.ends, entered), discount, rng)
                if leads_on is not None:
                    kept = leads_on(take(cluster, take(rows, jumping)), within, take(cluster, beyond))
                    jumping, here, entered, beyond = (x[kept] for x in (jumping, here, entered, beyond))
                hop = take(made, jumping)
                leave[jumping, hop], enter[jumping, hop] = here, entered
                goal[jumping] = beyond
                made[jumping] += 1
            return GoalPath(rows, goal, leave, enter)

        return sample

    def make_leads_on(self, cluster: Tensor, episodes: Episodes) -> Callable[[Tensor, Tensor, Tensor], Tensor] | None:
        """Tells which ways [B] from clusters over others to others are straight enough. None: all are."""
        if (detour := self.detour) is None:
            return None
        steps = steps_between(cluster, self.clusters, episodes)

        def leads_on(begun: Tensor, over: Tensor, ended: Tensor) -> Tensor:
            straight = steps(begun, ended)
            return straight.isfinite() & (steps(begun, over) + steps(over, ended) <= detour * straight)

        return leads_on

    def assign(self, episodes: Episodes) -> Tensor:
        """Each row's cluster [N]; k-means is fitted on at most 100,000 rows and applied to all."""
        raw = episodes.observations[:, slice(None) if self.columns is None else list(self.columns)].cpu()
        mean, std = mean_and_std(raw)
        values = ((raw - mean) / std).numpy()
        rng = np.random.default_rng(stream(self.seed, "rows to fit clusters on"))
        fitted = rng.choice(len(values), min(len(values), 100_000), replace=False)
        seed = stream(self.seed, "clusters") % 2**32
        means = MiniBatchKMeans(self.clusters, batch_size=4096, n_init=3, random_state=seed)
        means.fit(values[np.sort(fitted)])
        return torch.from_numpy(means.predict(values).astype(np.int64)).to(episodes.device)


def steps_between(cluster: Tensor, clusters: int, episodes: Episodes) -> Callable[[Tensor, Tensor], Tensor]:
    """The steps [B] that the shortest known way takes from clusters [B] to clusters [B]; infinite where none is known.

    A way leads from cluster to cluster as episodes do. From entering one, or beginning in it, to entering the next it
    takes as many steps as they did in the mean.
    """
    new = torch.ones(len(episodes), dtype=torch.bool, device=episodes.device)
    new[1:] = cluster[1:] != cluster[:-1]
    new |= torch.arange(len(episodes), device=episodes.device) == episodes.starts
    entries = new.nonzero().squeeze(1)
    here, there = entries[:-1], entries[1:]
    within = episodes.starts[here] == episodes.starts[there]
    here, there = here[within], there[within]
    pair = cluster[here] * clusters + cluster[there]
    taken = torch.bincount(pair, (there - here).double(), minlength=clusters**2)
    counted = torch.bincount(pair, minlength=clusters**2)
    edges = (counted > 0).nonzero().squeeze(1)
    mean = (taken[edges] / counted[edges]).cpu().numpy()
    ends = np.divmod(edges.cpu().numpy(), clusters)
    ways = shortest_path(coo_array((mean, ends), shape=(clusters, clusters)).tocsr())
    flat = torch.from_numpy(ways.astype(np.float32)).to(episodes.device).flatten()
    return lambda begun, ended: flat.index_select(0, begun * clusters + ended)
