"""What the Hydra commands share: where the configuration lies, its values, the run's identity, errors in one line."""

import functools
import hashlib
import json
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # else Hydra prints errors itself; it looks when it is imported

from hydra._internal.utils import _locate, get_args_parser
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, InterpolationResolutionError, OmegaConfBaseException

from stitchrl import guard, settings
from stitchrl.guard import guarded
from stitchrl.settings import CONF

if TYPE_CHECKING:
    from stitchrl.benchmark.benchmark import Benchmark

__all__ = ["guarded"]  # for the commands
UNDECIDING = ("workers", "fail_fast", "inner_seeds", "wandb", "again")  # keys that no number of a run depends on
GIVEN = ("spaces",)  # to an agent, by the benchmark


def plain(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration without Hydra's own part, and with the world where a dataset's file names only it."""
    values = {str(key): OmegaConf.to_object(config[key]) if OmegaConf.is_config(config[key]) else config[key]
              for key in config if key != "hydra"}  # fmt: skip
    dataset = values["dataset"]
    if "world" not in values and isinstance(dataset, Mapping) and isinstance(dataset.get("world"), str):
        values["world"] = settings.world_settings(dataset["world"])
    return values


def checked(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a command as they are used. Raises ValueError that names the key that is wrong."""
    if "agent" not in values:
        values = settings.GENERATE("", values)
    else:
        values = settings.EXPERIMENT("", values)
        for group, given in (("agent", GIVEN), ("goals", ())):
            values[group] = settings.keywords(group, values[group], _target(group, values[group]), given)
        for name, keywords in values["instruments"].items():
            group = f"instruments.{name}"
            values["instruments"][name] = settings.keywords(group, keywords, _target(group, keywords))
        if values["steps"] < (evaluations := values["budget"]["evaluations"]):
            raise ValueError(f"steps: {values['steps']} given, expected at least budget.evaluations, {evaluations}")
    known = {"name": values["world"].get("name"), "agents": values["world"].get("agents") or {}}
    keywords = {key: value for key, value in values["world"].items() if key not in known}
    values["world"] = known | settings.keywords("world", keywords, _target("world", keywords), ("maze",))
    benchmark_of(values)
    return values


def benchmark_of(values: dict[str, Any]) -> "Benchmark":
    """What a command's values ask for. Raises ValueError that names the key that is wrong."""
    from stitchrl.benchmark.benchmark import make_benchmark

    return make_benchmark(settings.DATASET("dataset", values["dataset"]), values.get("world"))


def _target(group: str, values: Any) -> Callable[..., Any]:
    path = values.get("_target_") if isinstance(values, Mapping) else None
    try:
        found = _locate(path or "")
    except Exception as error:  # the module's own, too
        raise ValueError(f"{group}._target_: {path!r} cannot be imported: {guard.one_line(error)}") from error
    return found if callable(found) else settings.refuse(f"{group}._target_", path, "the path of a class")


def identity(values: dict[str, Any]) -> str:
    """A hash of all in a configuration that decides a run's numbers."""
    deciding = {key: value for key, value in values.items() if key not in UNDECIDING}
    deciding["device"] = str(values["device"]).partition(":")[0]  # which of several does not matter
    return hashlib.sha256(json.dumps(_same(deciding), sort_keys=True).encode()).hexdigest()


def _same(value: Any) -> Any:
    """Equal numbers in one form, however they were written: 1e5, 100000.0 and 100000."""
    if isinstance(value, Mapping):
        return {key: _same(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_same(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def run_name(values: dict[str, Any], choices: Mapping[str, Any]) -> str:
    """The name of a run's folder: its agent, goals and seed, and its identity."""
    seed = _same(values["seed"])
    return f"{choices['agent']}-{choices['goals']}-s{seed}-{identity(values)[:8]}"


def _folder(_root_: DictConfig) -> str:
    """The name of a run's folder. In a sweep a faulty job gets the current one: the job has to tell its fault."""
    try:
        return run_name(plain(_root_), _root_.hydra.runtime.choices)
    except Exception:
        if _root_.hydra.mode == RunMode.MULTIRUN:
            return "."
        raise


def _place(_root_: DictConfig) -> str:
    """The folder of a dataset's runs: its world, its maze if it has one, and its split."""
    return "-".join(str(_root_.dataset[key]) for key in ("world", "maze", "split") if _root_.dataset.get(key))


def _for_world(key: str, published: Any, _root_: DictConfig) -> Any:
    """What the world's file says of an agent's setting, or the agent's published value where it says nothing."""
    world = _root_.get("world") or settings.world_settings(_root_.dataset.world)
    return _node((world.get("agents") or {}).get(key, published))


def _within_budget(key: str, published: Any, _root_: DictConfig) -> Any:
    """What the budget says of `key`, or the agent's published value where it says nothing."""
    chosen = _root_.budget[key]
    return _node(published if chosen is None else chosen)


def _node(value: Any) -> Any:
    """A resolver's value: OmegaConf cannot put plain lists into a configuration that it resolves as a whole."""
    return OmegaConf.create(value) if isinstance(value, list | dict) else value


RESOLVERS: dict[str, Callable[..., Any]] = {
    "identity": _folder,
    "place": _place,
    "for_world": _for_world,
    "within_budget": _within_budget,
}
for name, resolver in RESOLVERS.items():
    OmegaConf.register_new_resolver(name, resolver, replace=True)

EXTRA = ("hydra/sweeper/optuna", "hydra/launcher/submitit_local", "hydra/launcher/submitit_slurm")  # `sweep` has them
WRAPPERS = (HydraException, InterpolationResolutionError)


def readable(error: BaseException) -> BaseException:
    """An error of Hydra's or OmegaConf's as one that says in a line what is wrong; any other as it is."""
    while isinstance(error, WRAPPERS) and isinstance(cause := error.__cause__ or error.__context__, Exception):
        error = cause  # what a constructor or a resolver raised
    if isinstance(error, ConfigAttributeError | ConfigKeyError) and OmegaConf.is_dict(error.parent_node):
        known = [str(key) for key in error.parent_node if key != "hydra"]
        prefix = (error.full_key or "").removesuffix(str(error.key))
        try:
            settings.refuse_unknown(prefix, error.key, known)
        except ValueError as unknown:
            return unknown.with_traceback(error.__traceback__)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file in EXTRA:
        return ValueError(f"{error.missing_cfg_file}: not installed; pip install 'stitchrl[sweep]'")
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        return ValueError(f"{error.missing_cfg_file}: no such choice; there are {', '.join(error.options)}")
    return ValueError(str(error)) if isinstance(error, HydraException | OmegaConfBaseException) else error


def one_line(error: BaseException) -> str:
    """As `guard.one_line`, of Hydra's errors too."""
    return guard.one_line(readable(error))


def explain(error: BaseException) -> int:
    """As `guard.explain`, of Hydra's errors too."""
    return guard.explain(readable(error))


def hydra_command(usage: str | None, name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """A Hydra command that tells every error in a line. usage: what --help begins with. name: of its configuration."""

    def decorate(main: Callable[[], None]) -> Callable[[], None]:
        @functools.wraps(main)
        def run() -> None:
            parser = get_args_parser()
            parser.error = guard.refuse_arguments  # type: ignore[method-assign]
            if parser.parse_args().help:
                return print(help_text(usage or "", name))
            try:
                main()
            except (HydraException, OmegaConfBaseException) as error:
                raise readable(error) from error

        return run

    return decorate


def help_text(usage: str, name: str) -> str:
    """What can be chosen and set. Hydra's own text takes it most of a second to put together."""
    values = (CONF / f"{name}.yaml").read_text(encoding="utf-8").partition("- _self_\n")[2].partition("\nhydra:\n")[0]
    lines = [usage, "Choices, each a file in conf/:\n"]
    groups = ["experiment", "agent", "goals", "budget", "instruments"] if name == "config" else []
    for group in [*groups, "dataset"]:
        names = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        if group == "dataset":
            lines += _datasets(names)
        else:
            title = f"{'+' if group == 'experiment' else ''}{group}="
            lines += textwrap.wrap(", ".join(names), 100, initial_indent=f"  {title:13}", subsequent_indent=" " * 15)
    hint = "The keys of a choice are given as agent.lr=1e-3; --cfg job shows them all, --hydra-help Hydra's options."
    return "\n".join([*lines, "\nSettings, each given as key=value:", textwrap.indent(values, "  "), hint])


def _datasets(names: Sequence[str]) -> list[str]:
    """Lines of a table: a row for each world and maze, with the splits that there are."""
    splits: dict[str, list[str]] = {}
    for name in names:
        place, _, split = name.rpartition("_")
        splits.setdefault(place, []).append(split)
    lines = ["  dataset=     <world>_<maze>_<split>, as in dataset=pointmaze_medium_cut3:"]
    for place, found in splits.items():
        lines.append(f"    {place:18} {' '.join(found)}" if place else f"    {' '.join(found)}")
    return lines
