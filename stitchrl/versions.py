"""Versions of packages; also where the package runs from a source tree that is not installed."""

from importlib.metadata import PackageNotFoundError, version

import stitchrl


def versions(*names: str) -> dict[str, str]:
    """The version of each package. Raises PackageNotFoundError for one that is not there, stitchrl aside."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        if name != "stitchrl":
            raise
        return stitchrl.__version__
