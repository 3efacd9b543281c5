"""What the Hydra commands share: where the configuration lies, the run's identity, errors in one line."""

import functools
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # else Hydra prints errors itself; it looks when it is imported

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

PACKAGE = Path(__file__).parent
CONF = next(path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir())


def plain(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration without Hydra's own part."""
    return {str(key): OmegaConf.to_object(config[key]) if OmegaConf.is_config(config[key]) else config[key]
            for key in config if key != "hydra"}  # fmt: skip


def identity(values: dict[str, Any]) -> str:
    """A hash of all in a configuration that decides a run's numbers."""
    deciding = {key: value for key, value in values.items() if key != "workers"}
    deciding["device"] = str(values["device"]).partition(":")[0]  # which of several does not matter
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def _folder(_root_: DictConfig) -> str:
    """The name of a run's folder: its agent, goals and seed, and its identity."""
    choices = _root_.hydra.runtime.choices
    return f"{choices.agent}-{choices.goals}-s{_root_.seed}-{identity(plain(_root_))[:8]}"


def _by_world(values: dict[str, Any], _root_: DictConfig) -> Any:
    """The published value for the dataset's world."""
    if _root_.dataset.world not in values:
        raise ValueError(f"dataset.world: {_root_.dataset.world!r} is not one of {', '.join(values)}")
    return values[_root_.dataset.world]


def _within_budget(key: str, published: Any, _root_: DictConfig) -> Any:
    """What the budget says of `key`, or the agent's published value where it says nothing."""
    chosen = _root_.budget[key]
    return published if chosen is None else chosen


OmegaConf.register_new_resolver("identity", _folder, replace=True)
OmegaConf.register_new_resolver("by_world", _by_world, replace=True)
OmegaConf.register_new_resolver("within_budget", _within_budget, replace=True)


UNUSABLE = (HydraException, OmegaConfBaseException, ValueError, OSError)  # what the user can mend


def explain(error: Exception) -> int:
    """Say in one line on stderr what is wrong; the exit status."""
    while isinstance(error, HydraException) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # Hydra wraps what a constructor raised
    print(f"stitchrl: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def job(function: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """A Hydra job. Alone, its errors end the process at once, since Hydra would print lines of its own; in a sweep it
    raises, so that other jobs go on."""

    @functools.wraps(function)
    def run(config: DictConfig) -> None:
        try:
            function(config)
        except UNUSABLE as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            sys.exit(explain(error))

    return run


def guarded(main: Callable[[], None]) -> None:
    """Run a command; errors from outside its job, such as an unknown option, become one line too."""
    try:
        main()
    except UNUSABLE as error:
        sys.exit(explain(error))
