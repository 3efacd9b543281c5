"""Numbers that are not finite end a run: what comes after them is worth nothing, and looks like a weak method."""

import math
from collections.abc import Mapping


class NotFinite(ValueError):
    """Training, or a policy that was trained, has come to a number that is not finite."""


def check_finite(values: Mapping[str, float], where: str) -> None:
    """Raise NotFinite that names those of the values that are not finite."""
    wrong = [f"{key} is {value}" for key, value in values.items() if not math.isfinite(value)]
    if wrong:
        raise NotFinite(f"{where}: {', '.join(wrong)}; finite numbers expected")
