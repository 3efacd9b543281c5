"""What the Hydra commands share: where the configuration lies, the run's identity, errors in one line."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # else Hydra prints errors itself; it looks when it is imported

from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stitchrl.interrupt import Interrupted, interruptible

PACKAGE = Path(__file__).parent
CONF = next(path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir())


UNDECIDING = ("workers", "fail_fast", "inner_seeds", "wandb", "again")  # keys that no number of a run depends on


def plain(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration without Hydra's own part."""
    return {str(key): OmegaConf.to_object(config[key]) if OmegaConf.is_config(config[key]) else config[key]
            for key in config if key != "hydra"}  # fmt: skip


def identity(values: dict[str, Any]) -> str:
    """A hash of all in a configuration that decides a run's numbers."""
    deciding = {key: value for key, value in values.items() if key not in UNDECIDING}
    deciding["device"] = str(values["device"]).partition(":")[0]  # which of several does not matter
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def run_name(values: dict[str, Any], choices: Mapping[str, Any]) -> str:
    """The name of a run's folder: its agent, goals and seed, and its identity."""
    return f"{choices['agent']}-{choices['goals']}-s{values['seed']}-{identity(values)[:8]}"


def _folder(_root_: DictConfig) -> str:
    return run_name(plain(_root_), _root_.hydra.runtime.choices)


def _by_world(values: dict[str, Any], _root_: DictConfig) -> Any:
    """The published value for the dataset's world."""
    if _root_.dataset.world not in values:
        raise ValueError(f"dataset.world: {_root_.dataset.world!r} is not one of {', '.join(values)}")
    return values[_root_.dataset.world]


def _within_budget(key: str, published: Any, _root_: DictConfig) -> Any:
    """What the budget says of `key`, or the agent's published value where it says nothing."""
    chosen = _root_.budget[key]
    return published if chosen is None else chosen


def _for_goals(value: Any, _root_: DictConfig) -> Any:
    """A setting for goals; null where the dataset asks for returns."""
    return None if _root_.dataset.get("rewards") else value


OmegaConf.register_new_resolver("identity", _folder, replace=True)
OmegaConf.register_new_resolver("by_world", _by_world, replace=True)
OmegaConf.register_new_resolver("within_budget", _within_budget, replace=True)
OmegaConf.register_new_resolver("for_goals", _for_goals, replace=True)


UNUSABLE = (HydraException, OmegaConfBaseException, ValueError, OSError)  # what the user can mend
LAUNCHERS = ("joblib", "submitit_local", "submitit_slurm")
EXTRA = ("hydra/sweeper/optuna", *(f"hydra/launcher/{name}" for name in LAUNCHERS))  # of the extra `sweep`


def one_line(error: BaseException) -> str:
    """What is wrong, without line breaks; with the kind of error where it is not one that the user can mend."""
    while isinstance(error, HydraException) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # Hydra wraps what a constructor raised
    line = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and (error.missing_cfg_file or "") in EXTRA:
        return f"{error.missing_cfg_file}: not installed; pip install 'stitchrl[sweep]'"
    return line if isinstance(error, UNUSABLE) else f"{type(error).__name__}: {line}"


def explain(error: Exception) -> int:
    """Say in one line on stderr what is wrong; the exit status."""
    print(f"stitchrl: {one_line(error)}", file=sys.stderr)
    return 2


def guarded(main: Callable[[], None]) -> None:
    """Run a command; errors from outside its job, such as an unknown option, become one line too."""
    try:
        with interruptible():
            main()
    except Interrupted as stop:
        print(f"stitchrl: stopped by {stop}", file=sys.stderr)
        sys.exit(stop.status)
    except UNUSABLE as error:
        sys.exit(explain(error))
