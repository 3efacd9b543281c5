"""The versions of packages, as they are recorded with datasets and runs."""

from importlib.metadata import version

import stitchrl


def versions(*names: str) -> dict[str, str]:
    """The version of each installed package. Ours is that of the code that runs, which need not be installed."""
    return {name: stitchrl.__version__ if name == "stitchrl" else version(name) for name in names}
