"""The origin of a run takes in the code that it goes through: all that may change its numbers, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import command

from stitchrl import __main__, code_hash
from stitchrl.code_hash import source_hash

AGENT = '''"""An agent."""
from stitchrl.agents.gcbc import GCBC
from stitchrl.types import LossResult
from mylab import layers
from .sub.helpers import weight


class Mine(GCBC):
    """As GCBC."""

    def loss(self, batch, rng):
        """A share of its loss."""
        loss, info = super().loss(batch, rng)
        return LossResult(weight() * loss, info)
'''
FILES = {
    "mylab/__init__.py": "",
    "mylab/agent.py": AGENT,
    "mylab/layers.py": "WIDTH = 8\n",
    "mylab/sub/__init__.py": "from .deeper import SCALE\n",
    "mylab/sub/helpers.py": "import local_tools\n\n\ndef weight():\n    return local_tools.SHARE\n",
    "mylab/sub/deeper.py": "SCALE = 1\n",
    "mylab/other.py": "NOTHING = 0\n",
    "local_tools.py": "SHARE = 1.0\n",
}
NAMED = {"_target_": "mylab.agent.Mine", "lr": 1e-3}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of a user's own, in the working folder."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("mylab/agent.py", "weight() * loss", "2 * weight() * loss"),
        ("mylab/layers.py", "8", "16"),
        ("mylab/sub/helpers.py", "SHARE", "SHARE / 2"),
        ("mylab/sub/deeper.py", "1", "2"),
        ("local_tools.py", "1.0", "0.5"),
    ],
)
def test_what_an_agent_is_made_of_changes_the_hash(name: str, old: str, new: str, lab: Path) -> None:
    before = source_hash(NAMED)
    change(lab / name, old, new)
    assert source_hash(NAMED) != before


def test_comments_docstrings_formatting_and_what_is_not_imported_change_nothing(lab: Path) -> None:
    before = source_hash(NAMED)
    change(lab / "mylab/agent.py", '"""As GCBC."""', '"""As GCBC,\n    and more."""\n\n    # no change\n')
    change(lab / "mylab/agent.py", '"""A share of its loss."""', "")
    change(lab / "mylab/agent.py", "weight() * loss", "(weight()  *  loss)")
    change(lab / "mylab/other.py", "0", "1")
    assert source_hash(NAMED) == before


def test_nothing_is_imported_to_find_it_out(lab: Path) -> None:
    (lab / "mylab/__init__.py").write_text("raise RuntimeError('imported')\n")
    source_hash(NAMED)
    assert not {"mylab", "mylab.agent", "local_tools"} & set(sys.modules)


def test_nested_targets_count_and_one_that_is_not_found_is_named(lab: Path) -> None:
    nested = {"_target_": "stitchrl.agents.gcbc.GCBC", "parts": [{"of": {"_target_": "mylab.layers.Layer"}}]}
    before = source_hash(nested)
    change(lab / "mylab/layers.py", "8", "16")
    assert source_hash(nested) != before
    with pytest.raises(ValueError, match=r"no module of 'nolab\.agent\.Mine' is found"):
        source_hash({"_target_": "nolab.agent.Mine"})


@pytest.mark.parametrize(
    "module",
    [
        *("agents.gcbc", "agents.agent", "agents.encoders", "agents.networks", "learner", "evaluate", "summary"),
        *("experiment", "training", "types", "data.batches", "data.paths", "data.episodes", "worlds.rollout", "seeds"),
        *("objectives.goal", "objectives.returns", "objectives.regions", "worlds.world", "worlds.maze.point"),
        *("worlds.maze.world", "worlds.maze.maps", "instruments.augmentation"),
    ],
)
def test_every_part_of_ours_that_decides_numbers_is_in_it(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = ["agents.gcbc.GCBC", "data.paths.Future", "worlds.maze.point.PointMaze"]
    instruments = {"augmentation": {"_target_": "stitchrl.instruments.augmentation.Augmentation"}}
    parts = [*({"_target_": f"stitchrl.{target}"} for target in targets), instruments]
    before, read = source_hash(*parts), code_hash._read

    def changed(name: str, file: Path) -> tuple[str, list[str]]:
        digest, imported = read(name, file)
        return ("another" if name == f"stitchrl.{module}" else digest), imported

    monkeypatch.setattr(code_hash, "_read", changed)
    assert source_hash(*parts) != before


def test_agents_that_are_not_run_and_how_files_are_written_are_not_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, read = [], code_hash._read
    monkeypatch.setattr(code_hash, "_read", lambda name, file: seen.append(name) or read(name, file))
    source_hash({"_target_": "stitchrl.agents.gcbc.GCBC"}, {"_target_": "stitchrl.data.paths.Future"})
    others = {"stitchrl.agents.hiql", "stitchrl.log", "stitchrl.files", "stitchrl.report.page"}
    assert not (others | {"stitchrl.audit.certificate", "stitchrl.benchmark.store"}) & set(seen)
    assert all(name.partition(".")[0] == "stitchrl" for name in seen)


# In a run

RUN = ["dataset.transitions=20000", "dataset.min_episodes=5", "workers=1", "steps=30", "budget.evaluations=3"]
RUN += ["budget.episodes=1", "budget.batch_size=8", "agent=mine", "agent.hidden_dims=[8,8]", "hydra.run.dir=run"]


@pytest.mark.usefixtures("in_a_folder_of_its_own")
def test_an_agent_whose_code_is_edited_is_trained_anew_from_the_first_update(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once after the run has finished, and once after it has crashed and left a checkpoint."""
    (lab / "conf" / "agent").mkdir(parents=True)
    (lab / "conf" / "agent" / "mine.yaml").write_text("defaults: [gcbc]\n_target_: mylab.agent.Mine\n")
    monkeypatch.syspath_prepend(lab)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr("stitchrl.training.LOG_EVERY", 10)

    def start(status: int = 0) -> str:
        for name in ("mylab", "mylab.agent", "mylab.layers", "mylab.sub.helpers", "local_tools"):
            sys.modules.pop(name, None)
        assert command(__main__, monkeypatch, "--config-dir", "conf", *RUN) == status
        return capsys.readouterr().err

    def losses() -> list[float]:
        rows = map(json.loads, Path("run/train.jsonl").read_text().splitlines())
        return [row["train/actor_loss"] for row in rows if "train/actor_loss" in row]

    start()
    first = losses()
    change(lab / "mylab/agent.py", '"""As GCBC."""', '"""Just as GCBC."""')
    assert "finished before, not run again" in start()
    change(lab / "mylab/agent.py", "weight() * loss", "-weight() * loss")
    assert "another configuration, dataset, code or version; begins anew" in start()
    assert losses()[-1] > first[-1]  # it climbs now
    change(lab / "mylab/agent.py", "-weight() * loss", "weight() * loss")
    crash = "calls.append(0)\n    1 / (15 - len(calls))\n    return local_tools.SHARE\n\n\ncalls = []"
    change(lab / "mylab/sub/helpers.py", "return local_tools.SHARE", crash)
    assert "ZeroDivisionError" in start(status=2)
    assert Path("run/checkpoints/last.pt").exists()
    change(lab / "mylab/sub/helpers.py", "15", "1500")
    said = start()
    assert "begins anew" in said and "goes on" not in said
    assert losses() == first


def test_a_source_tree_that_is_not_installed_knows_its_version() -> None:
    """Its package metadata are hidden in a process of its own."""
    line = """
import importlib.metadata as metadata
def version(name, original=metadata.version):
    if name == "stitchrl":
        raise metadata.PackageNotFoundError(name)
    return original(name)
metadata.version = version
from stitchrl.status import make_origin
print(make_origin("", 0, "", "")["versions"]["stitchrl"])
"""
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.1.0"
