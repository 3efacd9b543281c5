"""Settings are looked at before anything is done: their types, their ranges, and that there is such a setting."""

from dataclasses import fields

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from stitchrl import settings
from stitchrl.command import CONF, GIVEN, checked, identity, plain
from stitchrl.learner import Precision
from stitchrl.spec import DatasetSpec
from stitchrl.training import Settings
from stitchrl.types import Spaces
from stitchrl.worlds.maze.maps import MAPS

RETURNS = "dataset=pointmaze_umaze_returns"
WORLDS = sorted(path.stem for path in (CONF / "world").glob("*.yaml"))
AGENTS = sorted(path.stem for path in (CONF / "agent").glob("*.yaml"))


def values(*overrides: str, name: str = "config") -> dict:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return plain(compose(name, list(overrides)))


def refused(*overrides: str, name: str = "config") -> str:
    """What is said of these overrides."""
    with pytest.raises(ValueError) as caught:
        checked(values(*overrides, name=name))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("workers=-1", "workers: -1 given, expected a whole number of 0 or more"),
        ("seed=null", "seed: null given, expected a whole number from 0 to 4294967295"),
        ("seed=1.5", "seed: 1.5 given, expected a whole number from 0 to 4294967295"),
        ("steps=true", "steps: true given, expected a whole number of 1 or more"),
        ("steps=many", "steps: 'many' given, expected a whole number of 1 or more"),
        ("steps=3", "steps: 3 given, expected at least budget.evaluations, 6"),
        ("budget.episodes=2.5", "budget.episodes: 2.5 given, expected a whole number of 1 or more"),
        ("learner.average=1", "learner.average: 1 given, expected a number in [0, 1)"),
        ("learner.average=nan", "learner.average: nan given, expected a number in [0, 1)"),
        ("learner.decay=1", "learner.decay: 1 given, expected true or false"),
        ("device=gpu", "device: 'gpu' given, expected cpu, cuda or cuda:<number>"),
        ("precision=low", "precision: 'low' is not one of highest, high, medium, bfloat16"),
        ("inner_seeds=3", "inner_seeds: 3 given, expected a list"),
        ("again=maybe", "again: 'maybe' given, expected true or false"),
        ("agent.batch_size=0", "agent.batch_size: 0 given, expected a whole number of 1 or more"),
        ("agent.lr=0", "agent.lr: 0 given, expected a number above 0"),
        ("agent.lr=inf", "agent.lr: inf given, expected a number above 0"),
        ("agent.hidden_dims=[8,0]", "agent.hidden_dims[1]: 0 given, expected a whole number of 1 or more"),
        ("agent.hidden_dims=8", "agent.hidden_dims: 8 given, expected a list"),
        ("agent.hidden_columns=[-1]", "agent.hidden_columns[0]: -1 given, expected a whole number of 0 or more"),
        ("agent.actor_goals.current=2", "agent.actor_goals.current: 2 given, expected a number in [0, 1]"),
        ("agent.actor=1", "agent.actor: 1 given, expected a word"),
        ("+agent.leraning_rate=1", "agent.leraning_rate: 1 given, no such setting; there are hidden_dims, activation,"),
        ("+agent.batchsize=1", "agent.batchsize: 1 given, no such setting; the nearest is agent.batch_size"),
        ("+agent.spaces=4", "agent.spaces: 4 given, no such setting"),
        ("agent._target_=nothing.Mine", "agent._target_: 'nothing.Mine' cannot be imported"),
        ("+goals.p=0.5", "goals.p: 0.5 given, no such setting"),
        ("+dataset.trasitions=5", "dataset.trasitions: 5 given, no such setting; the nearest is dataset.transitions"),
        ("+dataset={trasitions: 5}", "dataset.trasitions: 5 given, no such setting; the nearest"),
        ("dataset.transitions=0", "dataset.transitions: 0 given, expected a whole number of 1 or more"),
        ("dataset.contexts=[{reset: all}]", "dataset.contexts[0].goal: missing; expected beside reset"),
        ("dataset.contexts=[{reset: all, gaol: all}]", "dataset.contexts[0].gaol: 'all' given, no such setting"),
        ("dataset.contexts=[{reset: some, goal: all}]", "dataset.contexts[0].reset: 'some' given"),
        ("dataset.contexts=[all]", "dataset.contexts[0]: 'all' given, expected the keys reset, goal"),
        ("dataset.seen=[[[1,1],[1]]]", "dataset.seen: [1] is no free place of world pointmaze"),
        ("dataset.seen=[[[0,0],[1,1]]]", "dataset.seen: [0, 0] is no free place of world pointmaze, maze 'umaze'"),
        ("dataset.split=a/b", "dataset.split: 'a/b' given, expected letters and digits"),
        ("dataset.world=nope", "dataset.world: 'nope' given, but the world is 'pointmaze'"),
        ("dataset.maze=nope", "dataset.maze: 'nope' is not one of umaze, medium"),
        ("~seed", "seed: missing"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_what_was_expected(override: str, message: str) -> None:
    assert refused(override).startswith(message)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["dataset=pointmaze_umaze_returns", "dataset.targets=[{start: [1,2], value: 1}]"],
            "dataset.targets[0].expect",
        ),
        ([RETURNS, "dataset.rewards=[{place: [1,1], rate: much}]"], "dataset.rewards[0].rate"),
        (["goals=stitch", "goals.p=0"], "goals.p: 0 given, expected a number in (0, 1]"),
        (["goals=stitch", "goals.hops=0"], "goals.hops: 0 given"),
        (["agent=gciql", "agent.discount=1"], "agent.discount: 1 given, expected a number in (0, 1)"),
        (["agent=gciql", "agent.expectile=null"], "agent.expectile: null given, expected a number in (0, 1)"),
        (["agent=dt", "agent.dropout=1"], "agent.dropout: 1 given, expected a number in [0, 1)"),
    ],
)
def test_settings_of_a_choice_are_looked_at_too(overrides: list[str], message: str) -> None:
    assert refused(*overrides).startswith(message)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("export=[zip]", "export[0]: 'zip' is not one of minari, d4rl, ogbench"),
        ("export=d4rl", "export: 'd4rl' given, expected a list"),
        ("workers=0.5", "workers: 0.5 given, expected a whole number of 0 or more"),
        ("+dataset.trasitions=5", "dataset.trasitions: 5 given, no such setting; the nearest is dataset.transitions"),
    ],
)
def test_generation_has_settings_of_its_own(override: str, message: str) -> None:
    assert refused(override, name="generate").startswith(message)
    assert checked(values("dataset.transitions=2e4", name="generate"))["dataset"]["transitions"] == 20_000


def test_whole_numbers_are_whole_however_they_are_written_and_the_run_is_the_same() -> None:
    floats = values("steps=1e5", "agent.batch_size=64.0", "dataset.transitions=2e4", "seed=1.0", "agent.lr=1")
    whole = values("steps=100000", "agent.batch_size=64", "dataset.transitions=20000", "seed=1", "agent.lr=1.0")
    assert identity(floats) == identity(whole) == identity(checked(floats)) == identity(checked(whole))
    assert checked(floats) == checked(whole)
    used = checked(floats)
    found = [used["steps"], used["agent"]["batch_size"], used["dataset"]["transitions"], used["seed"]]
    assert [type(value) for value in found] == [int] * 4
    assert type(used["agent"]["lr"]) is float
    assert identity(values("steps=100001")) != identity(values("steps=100000"))


def test_a_dataset_that_only_names_its_world_is_of_the_packages_own_one() -> None:
    """A bug once: a sweep took such a run for another one than the run itself did."""
    with_its_file, without = values("goals=stitch"), values("goals=stitch", "~world")
    assert without == with_its_file and identity(checked(without)) == identity(without)
    assert refused("~world", "dataset.world=nope") == f"dataset.world: 'nope' is not one of {', '.join(WORLDS)}"


def test_what_decides_no_number_is_no_part_of_a_runs_identity() -> None:
    assert identity(values("again=true", "workers=3")) == identity(values())


@pytest.mark.parametrize("agent", AGENTS)
def test_every_agents_configuration_can_be_used_and_resolved_as_a_whole(agent: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"agent={agent}"])
    before = plain(config)
    OmegaConf.resolve(config)
    assert plain(config) == before
    assert checked(before)["agent"] == before["agent"]


@pytest.mark.parametrize("path", sorted((CONF / "dataset").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_datasets_configuration_can_be_used(path) -> None:
    given = values(f"dataset={path.stem}", name="generate")
    assert checked(given) == given


def test_the_table_knows_what_there_is() -> None:
    def known(check: settings.Check) -> set[str]:
        with pytest.raises(ValueError) as caught:
            check("", {"?": 0})
        return set(str(caught.value).partition("there are ")[2].split(", "))

    assert known(settings.DATASET) == {field.name for field in fields(DatasetSpec)}
    assert known(settings.EXPERIMENT) == set(values())
    assert known(settings.GENERATE) == set(values(name="generate"))
    with pytest.raises(ValueError, match=f"is not one of {', '.join(WORLDS)}$"):
        settings.world_settings("?")
    for override, choices in (
        ("dataset.maze=?", MAPS),
        ("precision=?", Precision.__args__),
    ):
        assert refused(override.replace("?", "'?'")).endswith(", ".join(choices))
    assert "again" in {field.name for field in fields(Settings)}


class Mine:
    """A constructor as anybody may write it."""

    def __init__(self, spaces, lr=1e-3, alpha: str = "auto", wide: list[int] = (), **more):
        pass


class Narrow(Mine):
    def __init__(self, *arguments, depth: int, rate: float | None = None, **more):
        super().__init__(*arguments, **more)


class Closed(Narrow):
    def __init__(self, spaces: Spaces, depth: int):
        super().__init__(spaces, depth=depth)


def keywords(target, given: dict) -> dict:
    return settings.keywords("agent", given, target, GIVEN)


def test_keywords_are_those_of_the_constructor_and_of_those_that_it_hands_them_on_to() -> None:
    assert keywords(Narrow, {"depth": 2.0, "rate": 1, "lr": 1, "alpha": "auto", "wide": [3.0], "other": "x"}) == {
        "depth": 2,
        "rate": 1.0,
        "lr": 1.0,
        "alpha": "auto",  # a keyword's type is its constructor's, whatever the name is elsewhere
        "wide": [3],
        "other": "x",  # somebody takes it
    }
    for target, given, message in (
        (Narrow, {"depth": 2.5}, "agent.depth: 2.5 given, expected a whole number"),
        (Narrow, {}, "agent.depth: missing; Narrow needs it"),
        (Narrow, {"depth": 1, "lr": -1}, "agent.lr: -1 given, expected a number"),
        (Closed, {"depth": 1, "lr": 1}, "agent.lr: 1 given, no such setting"),
        (Closed, {"depth": None}, "agent.depth: null given, expected a whole number"),
        (lambda lr: lr, {"rl": 1}, "agent.rl: 1 given, no such setting"),
    ):
        with pytest.raises(ValueError, match=f"^{message.replace('.', '[.]')}"):
            keywords(target, given)
    assert keywords(Closed, {"_target_": "x", "depth": 1}) == {"_target_": "x", "depth": 1}


def test_annotations_that_cannot_be_resolved_allow_anything() -> None:
    def make(lr: "Nothing") -> None:  # noqa: F821
        pass

    assert keywords(make, {"lr": -1}) == {"lr": -1}


def test_a_world_may_set_what_an_agent_takes_in_it_and_its_own_file_counts() -> None:
    point, ant = (
        values("agent=gciql", f"dataset={name}_medium_cut3")["agent"]["alpha"] for name in ("pointmaze", "antmaze")
    )
    assert (point, ant) == (0.003, 0.3)
    assert values("agent=gciql", "world.agents=null")["agent"]["alpha"] == 0.3, "as published"
