"""Returns as conditions: what is still to be collected, and in how many steps (RvS-R; Emmons et al., 2022)."""

import torch
from torch import Tensor

from stitchrl.data.episodes import Episodes
from stitchrl.types import GoalPath


class Returns:
    """What is left of a path, as `stitchrl.types` has it. Over a seam a return goes on as steps do.

    scale: the most that any episode collects within the horizon. Raises ValueError where that is nothing.
    """

    def __init__(self, episodes: Episodes, horizon: int):
        if episodes.rewards is None:
            raise ValueError("the dataset has no rewards, and returns are asked for")
        total = episodes.rewards.nan_to_num().double().cumsum(0)
        self.earned = torch.cat([total.new_zeros(1), total[:-1]])  # [N] before each row
        self.horizon = horizon
        rows = torch.arange(len(episodes), device=episodes.device)
        later = torch.minimum(rows + horizon, episodes.ends)
        self.scale = float((self.earned[later] - self.earned).max())
        if self.scale <= 0:
            raise ValueError(
                f"no episode of the dataset collects a reward within {horizon} steps, a positive one expected"
            )

    def ahead(self, path: GoalPath, steps: Tensor) -> Tensor:
        """The conditions [B, K, 2] that lie `steps` ([K] or [B, K]) ahead on each path, not beyond its goal."""
        length = path.length[:, None]
        left = path.collected(self.earned, length) - path.collected(self.earned, steps)
        return torch.stack([left / self.scale, (length - steps) / self.horizon], -1).float()
