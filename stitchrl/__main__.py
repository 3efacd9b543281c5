"""`python -m stitchrl +experiment=NAME [overrides] [-m]`: train and evaluate."""

import os
from pathlib import Path
from typing import Any

# First, since it sets up Hydra's error handling:
from stitchrl.command import CONF, benchmark_of, checked, guarded, hydra_command, identity, one_line, plain

import hydra  # isort: skip
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from stitchrl.sweep import concluded, job

DECIDING = ("agent", "goals", "world", "instruments")  # whose source decides a run's numbers

# What takes seconds to import is imported where it is used: `--help` and misspelt options are answered at once.


def finished(values: dict[str, Any], out: Path) -> bool:
    """Whether the run of this configuration has finished in folder `out`, on the dataset that is stored now."""
    from stitchrl import status
    from stitchrl.code_hash import source_hash
    from stitchrl.data.formats import minari
    from stitchrl.spec import dataset_name

    name = dataset_name(values["dataset"])
    if values["again"] or not minari.folder(name).exists():
        return False
    sha256 = minari.read_metadata(name)["manifest"]["dataset_sha256"]
    source = source_hash(*(values[group] for group in DECIDING))
    return status.is_finished(out, status.make_origin(sha256, values["seed"], identity(values), source))


@hydra_command(__doc__, "config")
@concluded
@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
@job("stitchrl", finished)
def main(config: DictConfig) -> None:
    from stitchrl import status
    from stitchrl.files import locked

    values, out = checked(plain(config)), Path(HydraConfig.get().runtime.output_dir)
    with locked(out / ".lock"):
        try:
            run(values, out)
        except Exception as error:
            status.end(out, "failed", one_line(error))
            raise


def run(values: dict[str, Any], out: Path) -> None:
    from stitchrl import experiment, training
    from stitchrl.code_hash import source_hash

    choices = HydraConfig.get().runtime.choices
    settings = training.Settings(
        agent_name=choices["agent"],
        goals_name=choices["goals"],
        evaluations=values["budget"]["evaluations"],
        episodes=values["budget"]["episodes"],
        **values["learner"],
        workers=values["workers"] or os.cpu_count() or 1,
        identity=identity(values),
        source=source_hash(*(values[group] for group in DECIDING)),
        **{key: values[key] for key in ("seed", "steps", "device", "precision", "wandb", "again")},
    )
    benchmark = benchmark_of(values)
    make_agent, goals = instantiate(values["agent"], _partial_=True), instantiate(values["goals"])
    instruments = {name: instantiate(keywords) for name, keywords in values["instruments"].items()}
    agent = make_agent(spaces=benchmark.spaces)
    training.check_agent(benchmark, agent, goals, settings)  # before a dataset is generated for nothing
    (out / "resolved.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(values)), encoding="utf-8")
    summary = experiment.run(benchmark, make_agent, goals, instruments, settings, out)
    shown = {key: summary[key] and summary[key]["success"] for key in ("seen", "unseen")}
    print(f"{os.path.relpath(out)}: seen {shown['seen']}, unseen {shown['unseen']}")


if __name__ == "__main__":
    guarded(main)
