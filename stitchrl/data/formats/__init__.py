"""Dataset formats, a file for each. `open_source` reads any of them, `write` writes all but pickles."""

from collections.abc import Sequence
from pathlib import Path

from stitchrl.data.formats import d4rl, minari, ogbench, paper
from stitchrl.data.formats.source import Source
from stitchrl.files import check_file

HDF5 = (".hdf5", ".h5")
PICKLES = (".pkl", ".pickle")


def open_source(
    name: str, unsafe_pickle: bool = False, columns: Sequence[int] | None = None, trust_marks: bool = False
) -> Source:
    """Open a Minari id, a D4RL file (.hdf5), an OGBench file (.npz) or a pickle of the paper's (.pkl).

    A pickle runs what its author put into it, so it is read only with `unsafe_pickle`. columns: of the observation,
    where the achieved goal stands. Files that mark where episodes end are then refused if it jumps in rows without a
    mark, unless `trust_marks`. Raises ValueError or OSError that names the file.
    """
    path = Path(name)
    if path.suffix in HDF5:
        return d4rl.open_source(path, columns, trust_marks)
    if path.suffix == ".npz":
        return ogbench.open_source(path, columns, trust_marks)
    if path.suffix in PICKLES:
        if not unsafe_pickle:
            raise ValueError(f"{path}: a pickle can run any code; give --unsafe-pickle if you trust its author")
        return paper.open_source(path)
    return minari.open_source(name)


def is_file(name: str) -> bool:
    """Whether a dataset of this name is a file, not one of Minari's."""
    return Path(name).suffix in (*HDF5, ".npz", *PICKLES)


def place(name: str) -> Path:
    """Where a dataset of this name is: a file, or a folder among Minari's."""
    return Path(name) if is_file(name) else minari.root() / name


def destinations(name: str) -> list[Path]:
    """The files, or the one folder, that `write` makes for a dataset of this name."""
    path = Path(name)
    return [path, ogbench.validation(path)] if path.suffix == ".npz" else [place(name)]


def check_destination(name: str, overwrite: bool, layout: str = "hdf5") -> None:
    """ValueError where `write` could not write, or would replace what must not be overwritten. Touches nothing."""
    if Path(name).suffix in PICKLES:
        raise ValueError(f"{name}: pickles are not written; expected a Minari id, a .hdf5 file or a .npz file")
    if is_file(name):
        for path in destinations(name):
            check_file(path, overwrite)
        return
    minari.check(name, layout)
    if place(name).exists() and not overwrite:
        raise ValueError(f"{name}: exists already; --overwrite replaces it")


def write(name: str, source: Source, layout: str = "hdf5") -> list[str]:
    """Write to a Minari id, a .hdf5 file or a .npz file, whole or not at all. Returns what the format does not hold.

    layout: of a Minari dataset, one of `minari.LAYOUTS`.
    """
    path = Path(name)
    check_destination(name, overwrite=True, layout=layout)
    if path.suffix in HDF5:
        return d4rl.write(path, source)
    if path.suffix == ".npz":
        return ogbench.write(path, source)
    return minari.write(name, source, None, f"converted from {source.name}", layout)
