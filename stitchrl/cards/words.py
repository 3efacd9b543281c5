"""What a dataset's card says that depends on what is asked of a policy."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

Values = Mapping[str, Any]  # a manifest, a certificate, or one of its tasks, as JSON gives it back

ABSENT = "-"  # stands for what an older certificate does not hold


class Column(NamedTuple):
    """One column of the table of tasks."""

    heading: str
    align: str  # l or r
    cell: Callable[[Values], str]


class Words(Protocol):
    """The sentences and the table of one kind of task.

    Attributes:
        caption: What the picture shows beside the data.
    """

    caption: str

    def purpose(self, manifest: Values, certificate: Values) -> str:
        """One paragraph: what the dataset tests."""

    def reward(self, manifest: Values, certificate: Values) -> str:
        """What a step earns."""

    def columns(self, certificate: Values) -> Sequence[Column]:
        """The table of tasks."""

    def notes(self, certificate: Values) -> str:
        """What the table's columns mean."""

    def passing(self, certificate: Values) -> str:
        """What a passing certificate says of the unseen tasks. It is asked only if there are any."""


def measured(value: float, unit: str) -> str:
    """A number with its unit, if it has one."""
    return f"{value:g} {unit}".rstrip()


def titled(heading: str, unit: str) -> str:
    """A heading with the unit of what stands below, if it has one."""
    return f"{heading} ({unit})" if unit else heading


def point(region: Values | None) -> str:
    """The centre of a region."""
    return ABSENT if region is None else f"({', '.join(f'{number:g}' for number in region['center'])})"


def unit_of(certificate: Values) -> str:
    """Of distances. Older certificates do not say it; they are in metres."""
    return certificate.get("unit", "m")


def drawn(what: str, regions: Sequence[Values | None], unit: str) -> str:
    """Where starts or goals are drawn from. The size is left out where it is not known or not the same for all."""
    halves = {None if region is None else region["half"] for region in regions}
    if halves == {0}:
        return f"{what} are single points, which the table gives."
    half = halves.pop() if len(halves) == 1 else None
    box = f" from a box with sides of {measured(2 * half, unit)}" if half else ""
    return f"{what} are drawn uniformly{box}; the table gives the centres."


def within(distance: float, unit: str) -> str:
    """How near to a place counts as being there."""
    return f"within {measured(distance, unit)} of" if distance else "at"


def near(distance: float, unit: str) -> str:
    """Where one episode may be left for another."""
    return f"at states within {measured(distance, unit)} of each other" if distance else "at equal states"


def twin(manifest: Values) -> str:
    """The name of a joined dataset's cut twins, or of a cut dataset's joined one."""
    split = manifest["spec"]["split"]
    if manifest["spec"]["cut"] is None:
        other = re.sub(r"joined$", "cut" if split != "joined" else "cut<k>", split)
    else:
        other = re.sub(r"cut\d*$", "joined", split)
    return manifest["name"].replace(f"-{split}", f"-{other}", 1)


def pieces(manifest: Values) -> str:
    """How a cut dataset came to be."""
    return (
        f"This dataset holds the transitions of `{twin(manifest)}`, the same to the last one. Its episodes are cut "
        f"into pieces of at most {manifest['spec']['cut']} steps."
    )


def chained(certificate: Values, links: str) -> str:
    """How many episodes, or pieces of them, an unseen task needs. A sentence, or nothing if there is no chain."""
    unseen = [task for task in certificate["tasks"] if task["expect"] == "unseen"]
    needed = [task["segments_needed"] for task in unseen if task["segments_needed"] is not None]
    return f" To solve an unseen task, at least {min(needed)} {links} must be chained." if needed else ""
