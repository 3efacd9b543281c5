"""Every YAML file says what the code reads: no key too many, none too few."""

import inspect
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import OmegaConf

from stitchrl.benchmark.official import joined_twin
from stitchrl.command import CONF, benchmark_of, plain
from stitchrl.spec import DatasetSpec

FILES = sorted(CONF.rglob("*.yaml"))
DATASETS = [path.stem for path in FILES if path.parent.name == "dataset"]


def load(path: Path) -> dict:
    """The file's own values, on top of those of the file that it builds on."""
    values = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    bases = [base for base in values.get("defaults", []) if isinstance(base, str) and base != "_self_"]
    if path.parent != CONF and bases and bases != ["optuna"]:  # which is no file of ours
        del values["defaults"]
        values = load(path.parent / f"{bases[0].partition('@')[0]}.yaml") | values
    return values


def spec(name: str) -> DatasetSpec:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return benchmark_of(plain(compose("generate", [f"dataset={name}"]))).spec


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_lists_the_keywords_of_what_it_configures(path: Path) -> None:
    values, group = load(path), path.parent.name
    if group in ("agent", "goals"):
        keywords = set(inspect.signature(get_class(values.pop("_target_"))).parameters)
        assert set(values) == keywords - {"spaces"}
    elif group == "dataset":
        of_returns = set() if path.stem.split("_")[-1].startswith("returns") else {"rewards", "targets", "horizon"}
        of_others = {"source"}  # their files name it, ours do not
        assert set(values) == {field.name for field in fields(DatasetSpec)} - of_returns - of_others
    elif group == "base":
        assert set(values) < {field.name for field in fields(DatasetSpec)}
    elif group == "world":
        given = inspect.signature(get_class(values.pop("_target_"))).parameters
        assert set(values) - {"name", "agents"} == set(given) - {"maze"}
        assert values["name"] == path.stem == get_class(load(path)["_target_"]).name
    elif group == "instruments":
        ((name, keywords),) = values.items()
        assert name == path.stem
        parameters = inspect.signature(get_class(keywords.pop("_target_"))).parameters
        assert set(keywords) == set(parameters)
    elif group == "budget":
        assert set(values) == {"steps", "hidden_dims", "batch_size", "evaluations", "episodes"}
    elif group == "sweeper":
        assert set(values) == {"defaults", "direction", "n_trials", "n_jobs", "sampler", "max_failure_rate"}
    elif group == "experiment":
        assert set(values) == {"defaults"}, "an experiment chooses among groups; budgets set steps"
    else:
        assert path in (CONF / "config.yaml", CONF / "generate.yaml"), "a group that this test does not know"


@pytest.mark.parametrize("experiment", [path.stem for path in FILES if path.parent.name == "experiment"])
def test_a_budget_named_on_the_command_line_wins_over_the_experiments(experiment: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"+experiment={experiment}", "budget=paper"])
    assert config.steps == 1_000_000
    assert config.agent.hidden_dims == [1024, 1024]


@pytest.mark.parametrize("name", DATASETS)
def test_a_datasets_name_follows_its_file(name: str) -> None:
    assert spec(name).name == name.replace("_", "-") + ("-v1" if name.startswith("antmaze") else "-v0")


@pytest.mark.parametrize("name", [name for name in DATASETS if "cut" in name])
def test_a_cut_dataset_has_the_joined_file_as_its_twin(name: str) -> None:
    cut = spec(name)
    twin = joined_twin(cut)
    assert twin == spec(f"{cut.world}_{cut.maze}_{twin.split}")


def test_a_size_or_seed_that_is_not_the_default_enters_the_name() -> None:
    changed = replace(spec("pointmaze_umaze_regions"), transitions=300_000, seed=1)
    assert changed.name == "pointmaze-umaze-regions-n300000-s1-v0"
