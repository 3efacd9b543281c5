"""The package knows its own version, installed or not."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import stitchrl
from stitchrl.status import make_origin
from stitchrl.versions import versions

ROOT = Path(__file__).parent.parent


def test_the_installed_version_is_taken_from_the_package_itself() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "stitchrl/__init__.py"
    assert versions("stitchrl", "numpy") == {"stitchrl": stitchrl.__version__, "numpy": np.__version__}


def test_a_source_tree_that_is_not_installed_knows_its_version(tmp_path: Path) -> None:
    """A bug once: without the metadata of an installed package every command was a traceback."""
    without = (
        "import importlib.metadata as metadata\n"
        "known = metadata.version\n"
        "def version(name):\n"
        "    if name == 'stitchrl':\n"
        "        raise metadata.PackageNotFoundError(name)\n"
        "    return known(name)\n"
        "metadata.version = version\n"
        "from stitchrl.benchmark import store\n"
        "from stitchrl.versions import versions\n"
        "print(versions('stitchrl')['stitchrl'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", without],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [stitchrl.__version__], done.stderr


@pytest.mark.parametrize("package", ["stitchrl", "torch", "numpy", "gymnasium", "mujoco"])
def test_a_run_of_another_version_of_a_package_that_decides_numbers_is_another_run(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make_origin("data", 0, "configuration", "source")
    if package == "stitchrl":
        monkeypatch.setattr(stitchrl, "__version__", "another")
    else:
        known = version
        monkeypatch.setattr("stitchrl.versions.version", lambda name: "another" if name == package else known(name))
    assert make_origin("data", 0, "configuration", "source") != before
