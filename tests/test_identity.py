"""Which settings make a run another run, and where settings may be chosen."""

import copy
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir

from stitchrl.command import CONF, identity, plain
from stitchrl.sweep import check_tuned_on_dev


@pytest.fixture(scope="module")
def values():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return plain(compose("config", ["+experiment=pointmaze_stitch"], return_hydra_config=False))


@pytest.mark.parametrize(
    "path, value",
    [
        ("seed", 1),
        ("steps", 7),
        ("device", "cuda"),
        ("precision", "high"),
        ("learner.average", 0.5),
        ("learner.decay", False),
        ("agent.lr", 0.5),
        ("goals.p", 0.25),
        ("goals.clusters", 7),
        ("dataset.seed", 1),
        ("dataset.transitions", 5),
        ("dataset.min_episodes", 5),
        ("budget.episodes", 5),
        ("budget.evaluations", 5),
    ],
)
def test_what_decides_a_runs_numbers_is_part_of_its_identity(values, path, value):
    changed = copy.deepcopy(values)
    *groups, key = path.split(".")
    place = changed
    for group in groups:
        place = place[group]
    assert place[key] != value
    place[key] = value
    assert identity(changed) != identity(values) == identity(copy.deepcopy(values))


@pytest.mark.parametrize("key, value", [("workers", 3), ("fail_fast", True), ("wandb", "lab")])
def test_what_decides_no_number_is_not(values, key, value):
    assert identity({**values, key: value}) == identity(values)


def test_which_of_several_gpus_does_the_work_makes_no_other_run(values):
    assert identity({**values, "device": "cuda:1"}) == identity({**values, "device": "cuda:0"})


@pytest.mark.parametrize("maze", ["umaze", "medium", "large", "giant"])
def test_settings_are_never_chosen_on_a_maze_that_results_are_reported_on(maze):
    check_tuned_on_dev(SimpleNamespace(dataset=SimpleNamespace(maze="dev")))
    with pytest.raises(ValueError, match="on the dev maze only"):
        check_tuned_on_dev(SimpleNamespace(dataset=SimpleNamespace(maze=maze)))
