"""What all kinds of tasks in a tasks file have in common. Errors are ValueError that name the place and the key."""

from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from stitchrl.types import Expectation, Region


def check_keys(where: str, values: Any, needed: Set[str], known: Set[str]) -> None:
    """There must be all the `needed` keys, and none but the `known` ones."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: {values!r} given, expected {', '.join(sorted(needed))}")
    for key in sorted(needed - set(values)):
        raise ValueError(f"{where}: no {key}")
    for key in values:
        if key not in known:
            raise ValueError(f"{where}: {key!r} is not one of {', '.join(sorted(known))}")


def read_expect(where: str, values: Any) -> Expectation:
    """Unseen unless it says seen."""
    expect = values.get("expect", "unseen")
    if expect not in ("seen", "unseen"):
        raise ValueError(f"{where}: expect: {expect!r} is not one of seen, unseen")
    return expect


def read_region(where: str, values: Any, dimensions: int) -> Region:
    """A region of achieved goals of so many numbers."""
    check_keys(where, values, {"center", "radius"}, {"center", "radius", "half"})
    center, radius, half = values["center"], values["radius"], values.get("half", 0.0)
    if not (isinstance(center, list) and len(center) == dimensions and all(is_number(x) for x in center)):
        raise ValueError(f"{where}: center: {center!r} given, a list of {dimensions} numbers expected")
    for key, value in (("radius", radius), ("half", half)):
        if not is_number(value) or value < 0:
            raise ValueError(f"{where}: {key}: {value!r} given, a number of at least 0 expected")
    return Region(tuple(map(float, center)), float(half), float(radius))


def is_number(value: Any) -> bool:
    """Whether it is a finite number, and not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
