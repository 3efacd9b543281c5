"""Whether another commit gives the same numbers: datasets, certificates and summaries of short runs, on this host.

    python benchmarks/compare.py 87fb7e7        what is here against that commit; exit 1 where something differs

Names that were changed on purpose are listed in RENAMED, keys that only one side has are printed. Times, versions and
the commit itself are not compared. About eight minutes on two cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "compare.json"

POINT = ["dataset=pointmaze_umaze_regions", "dataset.transitions=20000", "dataset.min_episodes=5"]
ANT = ["dataset=antmaze_umaze_joined", "dataset.transitions=5000", "dataset.min_episodes=1", "dataset.control=true"]
RETURNS = ["dataset=pointmaze_umaze_returns", "dataset.transitions=30000", "dataset.min_episodes=5"]
DATASETS = {"point": POINT, "ant": ANT, "returns": RETURNS}
SMALL = ["steps=300", "budget.evaluations=3", "budget.episodes=4", "budget.batch_size=64", "workers=1"]
SMALL += ["budget.hidden_dims=[64,64]"]
RUNS = {
    "gcbc": [*POINT, "agent=gcbc"],
    "dt, stitch": [*POINT, "agent=dt", "goals=stitch", "goals.clusters=40"],
    "hiql": [*POINT, "agent=hiql"],
    "qrl": [*POINT, "agent=qrl"],
    "RvS-R": [*RETURNS, "agent=gcbc"],
}
RENAMED = {"in_half": "tight_success"}
OWN = ("wall_s", "updates_per_s", "versions", "commit")  # no two runs share these


def call(checkout: Path, store: Path, module: str, *arguments: str) -> None:
    """Run a command of a checkout, with its own store of datasets."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "MINARI_DATASETS_PATH": str(store), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=store, env=environment, capture_output=True)
    if done.returncode:
        sys.exit(f"{checkout}: {module} {' '.join(arguments)}: {done.stderr.decode()[-2000:]}")


def measure(checkout: Path, store: Path) -> dict[str, Any]:
    """What a checkout makes of all datasets and runs."""
    found: dict[str, Any] = {}
    for arguments in DATASETS.values():
        call(checkout, store, "stitchrl.generate", *arguments, "workers=1")
    for path in sorted(store.glob("stitchrl/*/data/metadata.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        manifest, certificate = json.loads(values["manifest"]), json.loads(values["certificate"])
        hashes = {key: manifest[key] for key in ("dataset_sha256", "transitions_sha256", "episodes", "behaviour")}
        found[f"dataset {manifest['name']}"] = hashes | {"certificate": certificate}
    for name, arguments in RUNS.items():
        folder = store / "runs" / name.replace(", ", "-")
        call(checkout, store, "stitchrl", *arguments, *SMALL, f"hydra.run.dir={folder}")
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        found[f"run {name}"] = {key: value for key, value in summary.items() if key not in OWN}
    return found


def differences(before: Any, after: Any, where: str, told: dict[str, set[str]]) -> list[str]:
    """Where values of keys that both sides have differ. told: keys that one side lacks, collected here."""
    if isinstance(before, dict) and isinstance(after, dict):
        before = {RENAMED.get(key, key): value for key, value in before.items()}
        told["gone"] |= {f"{where.partition(' ')[0]}: {key}" for key in before.keys() - after.keys()}
        told["new"] |= {f"{where.partition(' ')[0]}: {key}" for key in after.keys() - before.keys()}
        shared = before.keys() & after.keys()
        return [line for key in sorted(shared) for line in differences(before[key], after[key], f"{where}/{key}", told)]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = zip(before, after, strict=True)
        return [line for i, pair in enumerate(pairs) for line in differences(*pair, f"{where}[{i}]", told)]
    return [] if before == after else [f"{where}: {before!r} before, {after!r} now"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="that is compared with what is here")
    commit = parser.parse_args().commit
    with tempfile.TemporaryDirectory() as scratch:
        other = Path(scratch) / "checkout"
        subprocess.run(["git", "worktree", "add", "--detach", "--quiet", other, commit], cwd=ROOT, check=True)
        try:
            stores = [Path(scratch) / name for name in ("before", "after")]
            for store in stores:
                store.mkdir()
            before, after = (measure(place, store) for place, store in zip((other, ROOT), stores, strict=True))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", other], cwd=ROOT, check=True)
    told: dict[str, set[str]] = {"gone": set(), "new": set()}
    different = differences(before, after, "", told)
    compared = {name: value.get("dataset_sha256") for name, value in after.items()}
    keys = {key: sorted(value) for key, value in told.items()}
    result = {"command": f"python benchmarks/compare.py {commit}", "compared": compared, "different": different, **keys}
    OUT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
