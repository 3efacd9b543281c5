"""`stitchrl COMMAND ...`: each command is one module, as `python -m` runs it.

    stitchrl run +experiment=NAME [overrides] [-m]     python -m stitchrl
    stitchrl generate dataset=NAME [overrides] [-m]    python -m stitchrl.generate
    stitchrl audit DATASET [--tasks FILE] [--json]     python -m stitchrl.audit
    stitchrl convert SRC DST                           python -m stitchrl.convert
    stitchrl report RUNS... [--out DIR]                python -m stitchrl.report

`stitchrl COMMAND --help` explains each.
"""

import difflib
import os
import runpy
import sys

from stitchrl.guard import guarded

MODULES = {"run": "stitchrl"} | {name: f"stitchrl.{name}" for name in ("generate", "audit", "convert", "report")}


def main() -> None:
    """Run the command that the first argument names; it ends the process with its own exit status."""
    name, *arguments = sys.argv[1:] or [""]
    if name not in MODULES:
        return guarded(lambda: answer(name))
    sys.argv[1:] = arguments
    if not sys.flags.safe_path:  # as with `python -m`: agents of one's own are found in the current folder
        sys.path.insert(0, os.getcwd())
    runpy.run_module(MODULES[name], run_name="__main__", alter_sys=True)


def answer(name: str) -> None:
    """Print the help. Raises ValueError for anything that is neither a command nor a call for help."""
    if name in ("-h", "--help"):
        return print(__doc__.strip())
    known = ", ".join(MODULES)
    if not name:
        raise ValueError(f"a command expected: {known}; see --help")
    nearest = difflib.get_close_matches(name, MODULES, n=1)
    expected = f"the nearest is {nearest[0]}" if nearest else f"there are {known}"
    raise ValueError(f"{name}: no such command; {expected}")
