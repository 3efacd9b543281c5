"""`python -m stitchrl +experiment=NAME [overrides] [-m]`: train and evaluate."""

import os
from pathlib import Path
from typing import Any

from stitchrl.command import CONF, guarded, identity, one_line, plain  # first: it sets up Hydra's error handling

import hydra  # isort: skip
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from stitchrl import experiment
from stitchrl.code_hash import source_hash
from stitchrl.data.formats import minari
from stitchrl.files import locked
from stitchrl.mazes import Maze
from stitchrl.sweep import concluded, job
from stitchrl.types import DatasetSpec


def dataset_spec(values: dict[str, Any]) -> DatasetSpec:
    """The specification that a dataset's YAML gives."""
    return DatasetSpec.create(values, Maze(values["maze"], scale=1.0).cells)


def finished(values: dict[str, Any], out: Path) -> bool:
    """Whether the run of this configuration has finished in folder `out`, on the dataset that is stored now."""
    name = dataset_spec(values["dataset"]).name
    if not minari.folder(name).exists():
        return False
    sha256 = minari.read_metadata(name)["manifest"]["dataset_sha256"]
    source = source_hash(values["agent"], values["goals"])
    origin = experiment.make_origin(sha256, values["seed"], identity(values), source)
    return not values["again"] and experiment.is_finished(out, origin)


@concluded
@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
@job("stitchrl", finished)
def main(config: DictConfig) -> None:
    out = Path(HydraConfig.get().runtime.output_dir)
    with locked(out / ".lock"):
        try:
            run(config, out)
        except Exception as error:
            experiment.fail(out, one_line(error))
            raise


def run(config: DictConfig, out: Path) -> None:
    values, choices = plain(config), HydraConfig.get().runtime.choices
    settings = experiment.Settings(
        agent_name=choices["agent"],
        goals_name=choices["goals"],
        seed=values["seed"],
        steps=values["steps"],
        evaluations=values["budget"]["evaluations"],
        episodes=values["budget"]["episodes"],
        decay=values["learner"]["decay"],
        average=values["learner"]["average"],
        device=values["device"],
        precision=values["precision"],
        workers=values["workers"] or os.cpu_count() or 1,
        identity=identity(values),
        source=source_hash(values["agent"], values["goals"]),
        again=values["again"],
        wandb=values["wandb"],
    )
    spec = dataset_spec(values["dataset"])
    make_agent, goals = instantiate(config.agent, _partial_=True), instantiate(config.goals)
    (out / "resolved.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(values)))
    summary = experiment.run(spec, make_agent, goals, settings, out)
    shown = {key: summary[key] and summary[key]["success"] for key in ("seen", "unseen")}
    print(f"{os.path.relpath(out)}: seen {shown['seen']}, unseen {shown['unseen']}")


if __name__ == "__main__":
    guarded(main)
