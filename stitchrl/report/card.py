"""A dataset's card: what it tests, in words, numbers and a picture, beside its manifest and certificate."""

import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from stitchrl.files import write, write_json
from stitchrl.report.figure import SCALES, clear_frame, draw_points, draw_tasks, draw_walls, letters
from stitchrl.report.return_card import draw_rewards, return_purpose, return_rows, return_words, reward_words
from stitchrl.report.statistics import number
from stitchrl.types import DatasetSpec
from stitchrl.worlds.maze.maps import Maze

PAPER = "[Ghugare et al., 2024](https://arxiv.org/abs/2401.11237)"
PACKAGES = {"mujoco": "MuJoCo", "gymnasium": "Gymnasium", "gymnasium-robotics": "Gymnasium-Robotics"}
PACKAGES |= {"minari": "Minari", "numpy": "NumPy", "torch": "PyTorch"}
BODIES = {  # body, observation, action
    "pointmaze": (
        "point mass, physics of Gymnasium-Robotics' `PointMaze-v3`",
        "4 numbers: x, y (m), vx, vy (m/s)",
        "2 forces in [-1, 1], 0.01 s per step",
    ),
    "antmaze": (
        "ant, physics of Gymnasium-Robotics' `AntMaze-v5`",
        "29 numbers: x, y (m), then the 27 of `AntMaze-v5` without contact forces",
        "8 torques in [-1, 1], 0.05 s per step",
    ),
}


def write_card(
    folder: Path, manifest: dict[str, Any], certificate: dict[str, Any], xy: np.ndarray, contexts: np.ndarray
) -> None:
    """Write README.md, manifest.json, certificate.json and picture.png into `folder`, which is made if need be.

    xy: [N, 2] positions in the data, in metres. contexts: [N] the context that each was collected in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "picture.png", lambda path: save_picture(path, manifest, certificate, xy, contexts))
    write_json(folder / "manifest.json", manifest)
    write_json(folder / "certificate.json", certificate)
    write(folder / "README.md", lambda path: path.write_text(describe(manifest, certificate), encoding="utf-8"))


def save_picture(
    path: Path, manifest: dict[str, Any], certificate: dict[str, Any], xy: np.ndarray, contexts: np.ndarray
) -> None:
    """The maze from above with the data and the tasks, as in the report's figure."""
    maze = maze_of(manifest)
    rows, columns = np.array(maze.free.shape) - 1.4  # the outer walls are shown in part
    inches = min(1.1, 7.2 / columns)  # in a cell
    figure = Figure(figsize=(inches * columns, inches * rows), dpi=90, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    clear_frame(axes)
    draw_walls(axes, maze)
    draw_points(axes, xy, contexts)
    if asks_returns(manifest["spec"]):
        draw_rewards(axes, maze, manifest["spec"], [target["start"] for target in manifest["spec"]["targets"]])
    else:
        draw_tasks(axes, maze, [task["name"] for task in certificate["tasks"]])
    canvas.draw()
    # A palette makes it three times smaller: pictures are committed.
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    picture.quantize(256).save(path, format="png", optimize=True)


def maze_of(manifest: dict[str, Any]) -> Maze:
    return Maze(manifest["spec"]["maze"], SCALES[manifest["spec"]["world"]])


def asks_returns(spec: dict[str, Any]) -> bool:
    """Whether the dataset asks for returns; older manifests do not have the key."""
    return bool(spec.get("targets"))


def describe(manifest: dict[str, Any], certificate: dict[str, Any]) -> str:
    """The card as Markdown."""
    name, spec = manifest["name"], manifest["spec"]
    dataset = " ".join([f"dataset={spec['world']}_{spec['maze']}_{spec['split']}", *overrides(spec)])
    several = ", coloured by the context of their episode" if len(spec["contexts"]) > 1 else ""
    caption = f"Dots: positions in the data{several}. Circles: where tasks start. " + (
        "Gold: what a step that ends there earns." if asks_returns(spec) else "Stars: their goals. Letters: the tasks."
    )
    return f"""# {name}

{wrap(purpose(manifest, certificate))}

![The maze from above with data and tasks](picture.png)

{wrap(caption)}

## Facts

{table(("", ""), facts(manifest), "ll")}

## Tasks

{tasks(manifest, certificate)}

## Certificate

{verdict(certificate)}

## Use

The data are not in this folder. Generate them, into `$MINARI_DATASETS_PATH` or `~/.minari/datasets`:

```
python -m stitchrl.generate {dataset}
```

The bytes, and so the `dataset_sha256`, are the same on every x86-64 processor with fused multiply-add. They may
differ with another version of MuJoCo or NumPy: the command then says so, and certifies the data that it made.

Read them with Minari, with PyTorch, and, after `export=[d4rl,ogbench]` on the line above, as D4RL's or OGBench's:

```python
import minari  # an episode at a time: T + 1 observations, T actions

dataset = minari.load_dataset("stitchrl/{name}")
episodes = [(episode.observations, episode.actions) for episode in dataset.iterate_episodes()]
```

```python
from stitchrl.data.formats.minari import read  # tensors of all episodes, laid end to end

episodes = read("{name}")
observations, actions, first, last = episodes.observations, episodes.actions, episodes.first, episodes.last
```

```python
import h5py  # D4RL: T + 1 rows to an episode, `terminals` or `timeouts` on its last one

with h5py.File("{name}.hdf5") as file:
    observations, actions = file["observations"][()], file["actions"][()]
    last = file["terminals"][()] | file["timeouts"][()]
```

```python
import ogbench  # for its reader: the environment that it returns is another world, so leave it

known = "pointmaze-medium-navigate-v0"  # any name that it knows
_, train, _ = ogbench.make_env_and_datasets(known, dataset_path="{name}.npz")
```

Check the certificate; train and evaluate (which generates the data first where they are missing):

```
python -m stitchrl.audit stitchrl/{name}
python -m stitchrl {dataset}
```
"""


def overrides(spec: dict[str, Any]) -> list[str]:
    """What has to be said on the command line, since it is not in the dataset's file."""
    defaults = {key: getattr(DatasetSpec, key) for key in ("transitions", "seed", "min_episodes")}
    return [f"dataset.{key}={spec[key]}" for key, default in defaults.items() if spec[key] != default]


def purpose(manifest: dict[str, Any], certificate: dict[str, Any]) -> str:
    """One paragraph: what the dataset tests."""
    name, spec = manifest["name"], manifest["spec"]
    if asks_returns(spec):
        return return_purpose(manifest, certificate)
    split, unseen = spec["split"], [task for task in certificate["tasks"] if task["expect"] == "unseen"]
    needed = [task["segments_needed"] for task in unseen if task["segments_needed"] is not None]

    def chain(links: str) -> str:
        return f": at least {min(needed)} {links} must be chained to solve one" if needed else ""

    if spec["cut"] is not None:
        joined = name.replace(f"-{split}", f"-{re.sub(r'cut[0-9]*$', 'joined', split)}", 1)
        words = (
            f"The transitions of `{joined}`, the same to the last one, in pieces of at most {spec['cut']} steps. No "
            f"piece contains an unseen task{chain('pieces')}. Success when trained on `{joined}` minus success when "
            "trained on this dataset is the stitching gap: tasks, limits and transitions are equal, and only here no "
            "episode joins start and goal."
        )
    elif spec.get("source") is not None:
        words = f"The episodes of `{spec['source']}`, with tasks of our own{chain('episodes')}."
    elif split == "joined":
        cut = name.replace("-joined", "-cut<k>", 1)
        words = (
            "Every episode is one direct run between two random cells, so training episodes do join the start and the "
            f"goal of every task. It is the control of its cut twin, `{cut}`, which holds the same transitions in "
            "pieces that join none of the far tasks: success here minus success there is the stitching gap."
        )
    elif split == "short":
        words = (
            f"Every episode is sent from a random cell to one that is {spec['goal_distance']} moves away and has "
            f"{spec['length']} steps, the last of them at its goal, as OGBench's stitch data. The unseen tasks, "
            f"OGBench's five, are farther than any episode goes{chain('episodes')}. The seen tasks, which training "
            "episodes join, are evaluated beside them."
        )
    else:
        dev = spec["maze"] == "dev"
        where = "Each episode begins and ends in cells of one context"
        if dev:
            where = (
                "The maze on which settings are chosen, so that none is chosen on a maze that methods are compared in. "
                "Contexts are its corridors and what connects them; each episode begins and ends in cells of one"
            )
        elif split == "regions":
            where += f", and the contexts are those of {PAPER}"
        words = (
            f"{where}. No training episode visits both the start and the goal of an unseen task, so that one is solved "
            "by combining episodes of several contexts or not at all; the seen tasks, which training episodes join, "
            "are evaluated beside them."
        )
    if spec["control"]:
        words += " It is marked as a control: it is used although its certificate may fail."
    if not certificate["pass"]:
        words += " **Its certificate fails, see below: the data do not keep what is said here.**"
    return words


def facts(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    spec, maze = manifest["spec"], maze_of(manifest)
    body, observation, action = BODIES[spec["world"]]
    rows, columns = maze.free.shape
    versions = [f"{PACKAGES.get(package, package)} {version}" for package, version in manifest["versions"].items()]
    if spec.get("length") is None:  # older manifests do not have it
        rewarded, others = "the step that reaches", "not in the data"
    else:
        rewarded, others = "each step that ends within the success radius of", "in the data too"
    reward = f"1 for {rewarded} the episode's own goal, 0 otherwise"
    if spec.get("source") is None:
        behaviour, cut = manifest["behaviour"], "" if spec["cut"] is None else ", measured before episodes were cut"
        walked = (
            f"reached its goal in {100 * behaviour['success']:.1f}% of {behaviour['attempts']:,} attempts (the others "
            f"are {others}), at {behaviour['metres_per_s']:.2f} m/s along the shortest path{cut}"
        )
        origin = [("Behaviour", walked), ("Seed", str(spec["seed"]))]
    else:
        reward, origin = "as in the source", [("Source", f"`{spec['source']}`: its episodes, as they are")]
    return [
        ("Body", body),
        ("Maze", f"`{maze.name}`: {rows} x {columns} cells of {maze.scale:g} m, walls included, centred on (0, 0)"),
        ("Observation", observation),
        ("Action", action),
        ("Reward", reward_words(spec, maze) if asks_returns(spec) else reward),
        ("Transitions", f"{manifest['transitions']:,}"),
        (
            "Episodes",
            f"{manifest['episodes']:,}, of {manifest['transitions'] / manifest['episodes']:.0f} steps on average",
        ),
        *origin,
        ("`dataset_sha256`", f"`{manifest['dataset_sha256']}`"),
        ("`transitions_sha256`", f"`{manifest['transitions_sha256']}` (equal for a joined dataset and its cut twins)"),
        ("Versions", ", ".join(versions)),
        ("Licence", "MIT" if spec.get("source") is None else "that of the source"),
    ]


def tasks(manifest: dict[str, Any], certificate: dict[str, Any]) -> str:
    """The table of tasks and what its columns mean."""
    maze, epsilon = maze_of(manifest), certificate["epsilon"]
    if asks_returns(manifest["spec"]):
        header, rows = return_rows(certificate)
        return f"{table(header, rows, 'lllrrrrrrrrr')}\n\n{wrap(return_words(certificate, maze))}"
    ends = {
        f"r{a[0]}c{a[1]}-to-r{b[0]}c{b[1]}": " to ".join("({:g}, {:g})".format(*maze.to_xy(cell)) for cell in (a, b))
        for a, b in manifest["spec"]["seen"] + manifest["spec"]["unseen"]
    }
    header = ["", "task", "from, to (m)", "expects", "status", "joined by, in order / any order", "segments needed"]
    header += ["clearance (m)", "path (m)", "step limit", "ceiling"]
    rows = [
        (
            letter,
            f"`{task['name']}`",
            ends[task["name"]],
            task["expect"],
            task["status"],
            f"{task['ordered']:,} / {task['unordered']:,}",
            segments(task),
            number(task["clearance"]),
            number(task["path_length"], 1),
            str(task["step_limit"]),
            number(task["ceiling"]),
        )
        for letter, task in zip(letters(len(certificate["tasks"])), certificate["tasks"], strict=True)
    ]
    text = (
        "Tasks are named by row and column of their start and goal cells, counted from 0 at the top left. Starts and "
        f"goals are drawn uniformly from squares {maze.scale / 2:g} m wide whose centres are given above. An evaluated "
        f"episode succeeds within {epsilon:g} m of its goal. A training episode joins a task if it visits the start's "
        f"square and comes within {epsilon:g} m of the goal's, in this order. Expected seen: at least "
        f"{certificate['min_episodes']} episodes join it; expected unseen: no episode visits both, in any order. "
        f"Segments needed: the fewest episodes in a chain from start to goal, each joined to the next where they pass "
        f"within {epsilon:g} m of each other (in brackets: within twice and within half of that). Clearance: by how "
        "much the nearest episode missed joining the task. Ceiling: the behaviour's own success within the step limit."
    )
    return f"{table(header, rows, 'lllllrrrrrr')}\n\n{wrap(text)}"


def segments(task: dict[str, Any]) -> str:
    needed, fewest, most = ("none" if k is None else str(k) for k in (task["segments_needed"], *task["segments_range"]))
    return f"{needed} ({fewest} to {most})"


def verdict(certificate: dict[str, Any]) -> str:
    """Whether the certificate passes, and why."""
    hashes = f"The hash of the tasks is `{certificate['tasks_sha256']}`."
    if not certificate["pass"]:
        return "\n".join(["**It fails:**", "", *(f"- {problem}" for problem in certificate["problems"]), "", hashes])
    words = "**It passes**: every task has the status that it expects"
    if any("target" in task for task in certificate["tasks"]):
        words += ", and for every unseen target there is a chain of episodes that collects it"
    elif any(task["expect"] == "unseen" for task in certificate["tasks"]):
        words += (
            f", and for every unseen one there is a chain of episodes from start to goal, and at least "
            f"{certificate['min_episodes']} episodes begin in its start and as many visit its goal"
        )
    return wrap(f"{words}. {hashes} All of it is in [certificate.json](certificate.json).")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """A Markdown table; `align` has an l or an r for each column."""
    rule = ["---:" if side == "r" else "---" for side in align]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def wrap(text: str) -> str:
    return fill(text, 110, break_long_words=False, break_on_hyphens=False)
