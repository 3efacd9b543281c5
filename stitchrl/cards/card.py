"""A dataset's card: what it tests, in words, numbers and a picture, beside its manifest and certificate."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from stitchrl.cards.goal import GoalWords
from stitchrl.cards.returns import ReturnWords
from stitchrl.cards.words import Values, Words
from stitchrl.files import write, write_json
from stitchrl.report import drawing
from stitchrl.spec import DatasetSpec

WORDS: dict[str, Words] = {"goal": GoalWords(), "return": ReturnWords()}  # by objective
PACKAGES = {"mujoco": "MuJoCo", "gymnasium": "Gymnasium", "gymnasium-robotics": "Gymnasium-Robotics"}
PACKAGES |= {"minari": "Minari", "numpy": "NumPy", "torch": "PyTorch"}
INCHES = 7.2  # the longer side of a picture
GOLD = "#e0a800"
USE = """## Use

The data are not in this folder. Generate them into `$MINARI_DATASETS_PATH` or `~/.minari/datasets`:

```
python -m stitchrl.generate {dataset}
```

The bytes, and so the `dataset_sha256`, are the same on every x86-64 processor with fused multiply-add. They may
differ with another version of MuJoCo or NumPy. The command then says so, and certifies the data that it made.

Read them with Minari or PyTorch. With `export=[d4rl,ogbench]` on the line above, D4RL's and OGBench's readers do, too:

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
import ogbench  # for its reader alone: the environment that it returns is of another world

known = "pointmaze-medium-navigate-v0"  # any name that it knows
_, train, _ = ogbench.make_env_and_datasets(known, dataset_path="{name}.npz")
```

Check the certificate. Train and evaluate; missing data are generated first:

```
python -m stitchrl.audit stitchrl/{name}
python -m stitchrl {dataset}
```
"""


def words_of(manifest: Values, certificate: Values) -> Words:
    """The words for what is asked of a policy. Older certificates do not name it: targets in the manifest tell."""
    older = "return" if manifest["spec"].get("targets") else "goal"
    return WORDS[certificate.get("objective", older)]


def write_card(
    folder: Path,
    manifest: Values,
    certificate: Values,
    facts: Mapping[str, str],
    points: np.ndarray,
    contexts: np.ndarray,
) -> None:
    """Write README.md, manifest.json, certificate.json and picture.png into a folder, which is made if need be.

    Args:
        facts: What the world says of itself, by heading.
        points: [N, 2] the first two numbers of the achieved goal of each row of the data.
        contexts: [N] the context that each was collected in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "picture.png", lambda path: save_picture(path, certificate, points, contexts))
    write_json(folder / "manifest.json", manifest)
    write_json(folder / "certificate.json", certificate)
    text = describe(manifest, certificate, facts, words_of(manifest, certificate))
    write(folder / "README.md", lambda path: path.write_text(text, encoding="utf-8"))


def save_picture(path: Path, certificate: Values, points: np.ndarray, contexts: np.ndarray) -> None:
    """Draw the world from above with data [N, 2], their contexts [N], rewards and tasks, as a PNG."""
    obstacles = certificate.get("drawing")
    left, right, low, high = drawing.extent_of(obstacles, points)
    inches = INCHES / max(right - left, high - low)
    figure = Figure(figsize=(inches * (right - left), inches * (high - low)), dpi=90, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    drawing.clear_frame(axes)
    axes.set(xlim=(left, right), ylim=(low, high))
    drawing.draw_rectangles(axes, obstacles)
    drawing.draw_points(axes, points, contexts)
    draw_rewards(axes, certificate.get("rewards") or [])
    drawing.draw_tasks(axes, certificate["tasks"])
    canvas.draw()
    # A palette makes it three times smaller: pictures are committed.
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    picture.quantize(256).save(path, format="png", optimize=True)


def draw_rewards(axes: Axes, rewards: Sequence[Values]) -> None:
    """Draw each rewarded region in gold, with what a step that ends there earns. More gold: it earns more."""
    for reward in rewards:
        share = max(reward["rate"] / max(abs(other["rate"]) for other in rewards), 0)
        drawing.draw_region(axes, reward["region"], facecolor=GOLD, alpha=0.25 + 0.5 * share, linewidth=0, zorder=6)
        (x, y), half = reward["region"]["center"][:2], reward["region"]["half"]
        look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 14, "fontweight": "bold", "zorder": 8}
        axes.text(x, y - 0.7 * half, f"{reward['rate']:g}", **look)  # below a start in the same place


def describe(manifest: Values, certificate: Values, facts: Mapping[str, str], words: Words) -> str:
    """The card as Markdown. What an older certificate does not hold is shown as a dash."""
    name, spec = manifest["name"], manifest["spec"]
    place = "_".join(part for part in (spec["world"], spec["maze"], spec["split"]) if part)
    # What is not in the dataset's file has to be said on the command line.
    defaults = {key: getattr(DatasetSpec, key) for key in ("transitions", "seed", "min_episodes")}
    overrides = [f"dataset.{key}={spec[key]}" for key, default in defaults.items() if spec[key] != default]
    dataset = " ".join([f"dataset={place}", *overrides])
    several = ", coloured by the context of their episode" if len(spec["contexts"]) > 1 else ""
    return f"""# {name}

{wrap(words.purpose(manifest, certificate) + remarks(manifest, certificate))}

![The world from above with data and tasks](picture.png)

{wrap(f"Dots: positions in the data{several}. {words.caption}")}

## Facts

{table(("", ""), [*facts.items(), *facts_of(manifest, certificate, words)], "ll")}

## Tasks

{tasks(certificate, words)}

## Certificate

{verdict(certificate, words)}

{USE.format(name=name, dataset=dataset)}"""


def remarks(manifest: Values, certificate: Values) -> str:
    """What is special about a dataset: sentences, or nothing."""
    control = " It is marked as a control: it is used even if its certificate fails."
    failed = " **Its certificate fails, see below: the data are not as described here.**"
    return (control if manifest["spec"]["control"] else "") + ("" if certificate["pass"] else failed)


def facts_of(manifest: Values, certificate: Values, words: Words) -> list[tuple[str, str]]:
    """What the manifest says, by heading."""
    spec, source = manifest["spec"], manifest["spec"].get("source")
    versions = [f"{PACKAGES.get(package, package)} {version}" for package, version in manifest["versions"].items()]
    episodes, transitions = manifest["episodes"], manifest["transitions"]
    if source is None:
        origin = [("Behaviour", behaviour(manifest, certificate.get("unit", "m"))), ("Seed", str(spec["seed"]))]
    else:
        origin = [("Source", f"`{source}`: its episodes, as they are")]
    return [
        ("Reward", words.reward(manifest, certificate)),
        ("Transitions", f"{transitions:,}"),
        ("Episodes", f"{episodes:,}, of {transitions / episodes:.0f} steps on average"),
        *origin,
        ("`dataset_sha256`", f"`{manifest['dataset_sha256']}`"),
        ("`transitions_sha256`", f"`{manifest['transitions_sha256']}` (equal for a joined dataset and its cut twins)"),
        ("Versions", ", ".join(versions)),
        ("Licence", "MIT" if source is None else "that of the source"),
    ]


def behaviour(manifest: Values, unit: str) -> str:
    """How the behaviour did when the data were collected."""
    spec, found = manifest["spec"], manifest["behaviour"]
    speed = f"{found['metres_per_s']:.2f} {unit}/s".replace(" /s", " per s")  # where there is no unit
    kept = "are in the data, too" if spec.get("length") is not None else "are not in the data"  # none in older ones
    cut = "" if spec["cut"] is None else ". Both were measured before the episodes were cut"
    return (
        f"reached its goal in {100 * found['success']:.1f}% of {found['attempts']:,} attempts, at {speed} along the "
        f"shortest path{cut}. Attempts that did not reach it {kept}"
    )


def tasks(certificate: Values, words: Words) -> str:
    """The table of tasks and what its columns mean."""
    columns, rows = words.columns(certificate), certificate["tasks"]
    named = zip(drawing.letters(len(rows)), rows, strict=True)
    cells = [(letter, *(column.cell(task) for column in columns)) for letter, task in named]
    header, align = ["", *(column.heading for column in columns)], "l" + "".join(column.align for column in columns)
    return f"{table(header, cells, align)}\n\n{wrap(words.notes(certificate))}"


def verdict(certificate: Values, words: Words) -> str:
    """Whether the certificate passes, and why."""
    hashes = f"The hash of the tasks is `{certificate['tasks_sha256']}`."
    if not certificate["pass"]:
        return "\n".join(["**It fails:**", "", *(f"- {problem}" for problem in certificate["problems"]), "", hashes])
    unseen = any(task["expect"] == "unseen" for task in certificate["tasks"])
    passing = f" {words.passing(certificate)}" if unseen else ""
    said = f"**It passes**: every task has the status that is expected of it.{passing}"
    return wrap(f"{said} {hashes} Everything is in [certificate.json](certificate.json).")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """A Markdown table. align: an l or an r for each column."""
    rule = ["---:" if side == "r" else "---" for side in align]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def wrap(text: str) -> str:
    return fill(text, 110, break_long_words=False, break_on_hyphens=False)
