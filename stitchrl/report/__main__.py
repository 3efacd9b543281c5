"""Tables, figures and a page from run folders alone: `python -m stitchrl.report RUNS... [--out DIR]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from stitchrl.guard import Parser, guarded


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("stitchrl.report", description=__doc__)
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUNS", help="run folders, sweeps' folders, or folders that hold some"
    )
    parser.add_argument("--out", type=Path, default=Path("report"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--video", action="store_true", help="one episode of each agent in motion, on the page")
    options = parser.parse_args(arguments)
    from stitchrl.report.contract import BadInput
    from stitchrl.report.report import report  # only now: it takes a second or two

    try:
        report(options.runs, options.out, options.video)
    except BadInput as error:
        print(f"stitchrl.report: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None:  # it is not about a file
            raise
        print(f"stitchrl.report: {error.filename}: {error.strerror}; a writable folder expected", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    guarded(main)
