"""Run folders made up, so that every number in a report is known beforehand."""

import json
from pathlib import Path

import numpy as np
import yaml

JOINED, CUT = "antmaze-umaze-joined-n300000-v0", "antmaze-umaze-cut4-n300000-v0"
FAR, NEAR = "r1c1-to-r3c1", "r1c1-to-r1c3"
PLACES = {FAR: ((-4.0, 4.0), (-4.0, -4.0)), NEAR: ((-4.0, 4.0), (4.0, 4.0))}
WALLS = [[-10, 6, 20, 4], [-10, -10, 20, 4], [-10, -6, 4, 12], [6, -6, 4, 12], [-6, -2, 8, 4]]
DRAWING = {"rectangles": WALLS, "extent": [-7.2, 7.2, -7.2, 7.2]}


def measure(key, heading, note="", digits=2, estimate=False):
    return {"key": key, "heading": heading, "note": note, "digits": digits, "estimate": estimate}


MEASURES = [
    measure("tight_success", "under the tight limit", "Tight: half of the step limit.", estimate=True),
    measure("path_length", "path m"),
]
NEW = ("unit", "objective", "measures", "instruments")  # which older summaries lack


def region(center):
    return {"center": list(center), "half": 1.0, "radius": 0.0}


def make_run(
    root, dataset, goals="future", seed=0, far=0.0, near=1.0, agent="gcbc", resolved=None, older=False, **changes
):
    """A run folder with one far task and one near one; on a joined dataset both are seen.

    resolved: changes to the configuration that resolved.yaml holds, by key; without it there is no such file.
    older: as an earlier version wrote it, without geometry and measures.
    """
    joined = "joined" in dataset

    def score(success):
        return {"success": success, "final": success, "best": success, "episodes": 150}

    def task(name, success, expect):
        return score(success) | {
            "name": name,
            "expect": expect,
            "status": expect,
            "segments_needed": 4 if expect == "unseen" else 1,
            "path_length": 24.0 if name == FAR else 8.0,
            "mean_length": 300.0 if success else None,
            "tight_success": success / 2,
            "ceiling": 0.98,
            **({} if older else dict(zip(("start", "goal"), map(region, PLACES[name]), strict=True))),
        }

    augmented = (None, None, None) if goals == "future" else (0.5, 0.48, 0.2)
    summary = {
        "dataset": dataset,
        "dataset_sha256": "0" * 64,
        "agent": agent,
        "goals": goals,
        "seed": seed,
        "steps": 1000,
        "seen": score((far + near) / 2 if joined else near),
        "unseen": None if joined else score(far),
        "raw_difference": None if joined else near - far,
        "by_segments": {} if joined else {"4": {"success": far, "episodes": 150}},
        "tasks": [task(FAR, far, "seen" if joined else "unseen"), task(NEAR, near, "seen")],
        "augmentation": dict(zip(("requested", "realised", "contradiction_rate"), augmented, strict=True)),
        "updates_per_s": 100.0,
        "wall_s": 10.0,
        "versions": {"python": "3.11"},
        "commit": None,
        "unit": "m",
        "objective": "goal",
        "measures": MEASURES,
        "instruments": {},
        **changes,
    }
    if older:
        summary = {key: value for key, value in summary.items() if key not in NEW}
    folder = Path(root) / f"{dataset}-{agent}-{goals}-{seed}"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "certificate.json").write_text(json.dumps({} if older else {"drawing": DRAWING}))
    if resolved is not None:
        (folder / "resolved.yaml").write_text(yaml.safe_dump(configuration(goals, seed, summary["steps"], resolved)))
    return folder


def configuration(goals, seed, steps, changes):
    """A resolved configuration as runs keep it, with changes by key: {"agent.lr": 0.1}."""
    future, stitch = {"_target_": "Future"}, {"_target_": "Stitch", "p": 0.5, "hops": 3, "seed": seed}
    values = {
        "dataset": {"world": "antmaze", "maze": "umaze", "seed": 0, "min_episodes": 50},
        "agent": {"_target_": "GCBC", "hidden_dims": [512, 512], "lr": 1e-3, "actor_goals": {"current": 0.0}},
        "goals": future if goals == "future" else stitch,
        "budget": {"steps": steps, "hidden_dims": None, "evaluations": 5, "episodes": 50},
        "seed": seed,
        "steps": steps,
        "device": "cpu",
        "workers": 0,
        "wandb": None,
        "fail_fast": False,
        "inner_seeds": [0, 1, 2],
        "learner": {"decay": True, "average": 0.999},
    }
    for key, value in changes.items():
        *path, last = key.split(".")
        place = values
        for part in path:
            place = place[part]
        place[last] = value
    return values


def add_arrays(folder, points="points"):
    """Three training points, and an evaluated episode of each task: one that fails and one that succeeds.

    points: the name of their array, which was xy in older folders.
    """
    rng = np.random.default_rng(0)
    data = {points: rng.uniform(-6, 6, (3, 2)).astype(np.float32)}
    np.savez(folder / "data.npz", **data, context=np.array([-1, 0, 9]))
    tracks = {points: rng.uniform(-6, 6, (5, 2)).astype(np.float32)}
    np.savez(
        folder / "trajectories.npz",
        **tracks,
        lengths=np.array([2, 3]),
        task=np.array([FAR, NEAR]),
        success=np.array([False, True]),
    )


def make_twins(root, seeds=3):
    """Joined 0.7, 0.8, 0.9; cut 0.0, 0.1, 0.2; with augmentation 0.35 higher than cut."""
    for seed in range(seeds):
        make_run(root, JOINED, seed=seed, far=0.7 + 0.1 * seed)
        make_run(root, CUT, seed=seed, far=0.1 * seed)
        make_run(root, CUT, "stitch", seed=seed, far=0.35 + 0.1 * seed)
