"""How an agent with its goals looks in charts: the same in every report, whatever else that report holds."""

import zlib
from collections.abc import Iterable, Sequence
from itertools import product

from stitchrl.report.rows import ways
from stitchrl.report.runs import Run

# Our own agents have the first colours, one each. Others share the colours after these.
OURS = (
    *("gcbc", "gcivl", "gciql", "crl", "hiql", "qrl", "dt", "iql", "td3bc", "hgcbc", "gcbc_egocentric", "goal_blind"),
    *("hgcbc_egocentric", "gcbc_gaussian", "gcbc_mixture", "gcbc_no_velocity", "gcbc_shuffled"),
)
COLOURS = len(OURS) + 12
GOALS = ("future", "stitch", "direct")  # they have the first dashes
DASHES = ("none", "6 3", "2 3", "9 3 2 3", "12 3", "4 2 1 2")


def looks(runs: Sequence[Run]) -> dict[tuple[str, str], str]:
    """Classes of the page's style by (agent, goals): the colour is the agent's, the dashes are those of the goals.

    They follow from the names without settings. Of two ways that would look the same the second one, such as the same
    agent with another setting, has other dashes. No two look the same as long as there are looks left.
    """
    shown = ways(runs)
    colours = spread((agent for agent, _ in shown), OURS, COLOURS)
    dashes = spread((goals for _, goals in shown), GOALS, len(DASHES))
    spare = [*range(len(GOALS), len(DASHES)), *range(len(GOALS))]
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for agent, goals in shown:
        own = [(colours[agent], dash) for dash in (dashes[goals], *spare)]
        wanted = [*own, *product(reversed(range(COLOURS)), range(len(DASHES)))]
        found[agent, goals] = next((look for look in wanted if look not in found.values()), own[0])
    return {way: f"c{colour} d{dash}" for way, (colour, dash) in found.items()}


def spread(names: Iterable[str], ours: Sequence[str], count: int) -> dict[str, int]:
    """A number below `count` for each name: its place among ours, else one after these, which its hash chooses.

    Settings in a name do not count. Of two names with the same hash the second one in the alphabet has the next number
    that is free.
    """
    others = count - len(ours)
    words = {name: name.partition(" ")[0] for name in names}
    found = {word: ours.index(word) for word in words.values() if word in ours}
    for word in sorted(set(words.values()) - set(ours)):
        first = zlib.crc32(word.encode("utf-8", "surrogateescape"))
        tried = [len(ours) + (first + i) % others for i in range(others)]
        found[word] = next((i for i in tried if i not in found.values()), tried[0])
    return {name: found[word] for name, word in words.items()}
