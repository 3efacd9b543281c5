"""What each key of the configuration may hold: one table of types and ranges, looked at before anything is done.

A check is called with a key's full name and the value found. It returns the value as it is used: a whole number that
was written as 1e5 becomes an integer. It raises ValueError that names the key, the value and what was expected.
"""

import difflib
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

import yaml

PACKAGE = Path(__file__).parent
CONF = next(path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir())  # in a wheel, in a checkout

Check = Callable[[str, Any], Any]


def refuse(key: str, value: Any, expected: str) -> NoReturn:
    raise ValueError(f"{key}: {_shown(value)} given, expected {expected}")


def _shown(value: Any) -> str:
    """A value as YAML has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def anything(_: str, value: Any) -> Any:
    return value


def whole(least: int | None = None, most: int | None = None) -> Check:
    expected = "a whole number"
    expected += "" if least is None else f" of {least} or more" if most is None else f" from {least} to {most}"

    def check(key: str, value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not (least is None or least <= value) or not (most is None or value <= most):
            refuse(key, value, expected)
        return value

    return check


def number(interval: str = "(-inf, inf)") -> Check:
    """A finite number in an interval, written as in mathematics: "(0, 1]" is above 0 and at most 1."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    plain = {"(-inf, inf)": "a number", "(0, inf)": "a number above 0", "[0, inf)": "a number of 0 or more"}
    expected = plain.get(interval, f"a number in {interval}")

    def check(key: str, value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            refuse(key, value, expected)
        above = low <= value if interval[0] == "[" else low < value
        below = value <= high if interval[-1] == "]" else value < high
        if not (above and below):
            refuse(key, value, expected)
        return float(value)

    return check


def flag(key: str, value: Any) -> bool:
    return value if isinstance(value, bool) else refuse(key, value, "true or false")


def matching(pattern: str, expected: str) -> Check:
    def check(key: str, value: Any) -> str:
        return value if isinstance(value, str) and re.fullmatch(pattern, value) else refuse(key, value, expected)

    return check


def word(*choices: Any) -> Check:
    def check(key: str, value: Any) -> Any:
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            raise ValueError(f"{key}: {_shown(value)} is not one of {', '.join(map(str, choices))}")
        return value

    return check


def maybe(check: Check) -> Check:
    return lambda key, value: None if value is None else check(key, value)


def many(check: Check, count: int | None = None) -> Check:
    """A list, of so many entries where a count is given."""
    expected = "a list" if count is None else f"a list of {count}"

    def check_all(key: str, value: Any) -> list[Any]:
        if not isinstance(value, list | tuple) or count not in (None, len(value)):
            refuse(key, value, expected)
        return [check(f"{key}[{i}]", entry) for i, entry in enumerate(value)]

    return check_all


def record(optional: Mapping[str, Check] | None = None, /, **needed: Check) -> Check:
    """Keys and values: all that are needed, some that are optional, and no key that is unknown."""
    checks = {**needed, **(optional or {})}

    def check(key: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            refuse(key, value, f"the keys {', '.join(needed)}")
        prefix = f"{key}." if key else ""
        for name, entry in value.items():
            if name not in checks:
                refuse_unknown(prefix, name, checks, entry)
        for name in needed:
            if name not in value:
                raise ValueError(f"{prefix}{name}: missing; expected beside {', '.join(value) or 'nothing'}")
        return {name: checks[name](f"{prefix}{name}", entry) for name, entry in value.items()}

    return check


def refuse_unknown(prefix: str, name: Any, known: Sequence[str] | Mapping[str, Any], value: Any = ...) -> NoReturn:
    """Say that there is no such key, and which one is the nearest. prefix: of the full name, with its dot."""
    names = [str(key) for key in known if key != "_target_"]  # what it is, and no setting of it
    found = "" if value is ... else f"{_shown(value)} given, "
    expected = f"; there are {', '.join(names)}" if names else ""
    if nearest := difflib.get_close_matches(str(name), names, n=1):
        expected = f"; the nearest is {prefix}{nearest[0]}"
    raise ValueError(f"{prefix}{name}: {found}no such setting{expected}")


# The table.

text = matching("(?s).+", "a word")
SEED = whole(0, 2**32 - 1)
COUNT = whole(1)
PLACE = many(whole())  # what it means is the world's: row and column of a maze
PAIRS = many(many(PLACE, count=2))
EXPECT = word("seen", "unseen")


def places(key: str, value: Any) -> Any:
    if isinstance(value, str):
        return value if value == "all" else refuse(key, value, "a list of places, or all")
    return many(PLACE)(key, value)


DATASET = record(
    {
        "maze": maybe(text),
        "source": maybe(text),
        "rewards": maybe(many(record(place=PLACE, rate=number()))),
        "targets": maybe(many(record(start=PLACE, value=number(), expect=EXPECT))),
        **dict.fromkeys(["horizon", "goal_distance", "length", "cut"], maybe(COUNT)),
        "transitions": COUNT,
        "seed": SEED,
        "min_episodes": COUNT,
        "control": flag,
    },
    world=text,
    split=matching(r"[\w-]+", "letters and digits"),
    contexts=many(record(reset=places, goal=places)),
    seen=PAIRS,
    unseen=PAIRS,
)
OF_AGENT = {"hidden_dims": maybe(many(COUNT)), "batch_size": maybe(COUNT)}  # null: the agent's published values
BUDGET = record(steps=COUNT, **OF_AGENT, evaluations=COUNT, episodes=COUNT)
LEARNER = record(decay=flag, average=number("[0, 1)"))
EXPERIMENT = record(
    {"world": anything},  # see `keywords`
    dataset=DATASET,
    **dict.fromkeys(["agent", "goals", "instruments"], anything),  # see `keywords`
    budget=BUDGET,
    learner=LEARNER,
    seed=SEED,
    steps=COUNT,
    device=matching(r"cpu|cuda(:\d+)?", "cpu, cuda or cuda:<number>"),
    precision=word("highest", "high", "medium", "bfloat16"),
    workers=whole(0),
    wandb=maybe(text),
    again=flag,
    fail_fast=flag,
    inner_seeds=many(SEED),
)
GENERATE = record(
    {"world": anything},
    dataset=DATASET,
    if_missing=flag,
    export=many(word("minari", "d4rl", "ogbench")),
    export_to=text,
    card=maybe(text),
    workers=whole(0),
    fail_fast=flag,
)

# Keywords of agents and goals. Their types are those of the constructor; what a number may be goes by its name.
LEAST = dict.fromkeys(["batch_size", "window", "act_window", "width", "blocks", "heads", "latent_dim"], 1)
LEAST |= dict.fromkeys(["subgoal_steps", "rep_dim", "policy_delay", "clusters", "hops"], 1) | {"warmup": 0}
LEAST_OF_EACH = dict.fromkeys(["hidden_dims", "high_dims"], 1)  # in lists of whole numbers
LEAST_OF_EACH |= dict.fromkeys(["goal_columns", "orientation", "hidden_columns", "columns"], 0)
INTERVALS = dict.fromkeys(["lr", "grad_clip", "eps"], "(0, inf)")
AT_LEAST_0 = ["weight_decay", "alpha", "low_alpha", "high_alpha", "beta", "policy_noise", "noise_clip"]
INTERVALS |= dict.fromkeys(AT_LEAST_0, "[0, inf)")
INTERVALS |= dict.fromkeys(["discount", "expectile"], "(0, 1)")
INTERVALS |= {"tau": "(0, 1]", "dropout": "[0, 1)", "p": "(0, 1]", "detour": "[1, inf)"}
SHARE = number("[0, 1]")
MIXTURE = record(current=SHARE, trajectory=SHARE, random=SHARE, discount=maybe(number("(0, 1)")))
MIXTURES = ("actor_goals", "value_goals")


def keywords(group: str, values: Any, target: Callable[..., Any], given: Sequence[str] = ()) -> dict[str, Any]:
    """The keywords for a class or function as they are used. given: those that are not the configuration's."""
    parameters, takes_any = _parameters(target)
    if not isinstance(values, Mapping):
        refuse(group, values, "keywords")
    configurable = {name: parameter for name, parameter in parameters.items() if name not in given}
    checked = {}
    for name, value in values.items():
        if name.startswith("_"):  # Hydra's own
            checked[name] = value
        elif name in configurable:
            checked[name] = _of_parameter(configurable[name])(f"{group}.{name}", value)
        elif takes_any and name not in given:
            checked[name] = value
        else:
            refuse_unknown(f"{group}.", name, configurable, value)
    for name, parameter in configurable.items():
        if name not in values and parameter.default is parameter.empty and "_args_" not in values:
            raise ValueError(f"{group}.{name}: missing; {target.__name__} needs it")
    return checked


def _parameters(target: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """The named parameters, with resolved annotations, and whether it takes others too.

    A class whose constructor hands on **keywords takes those of the class that it builds on.
    """
    kinds = [kind for kind in getattr(target, "__mro__", ()) if kind is not object]
    constructors = [vars(kind)["__init__"] for kind in kinds if "__init__" in vars(kind)]
    found: dict[str, inspect.Parameter] = {}
    for function in constructors or [target]:
        try:
            hints, parameters = get_type_hints(function), list(inspect.signature(function).parameters.values())
        except (NameError, TypeError, ValueError):  # annotations that cannot be resolved, or no signature
            return found, True
        for parameter in parameters[1:] if constructors else parameters:
            hint = hints.get(parameter.name, Any)
            found.setdefault(parameter.name, parameter.replace(annotation=hint))
        rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        found = {name: parameter for name, parameter in found.items() if parameter.kind not in rest}
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            return found, False
    return found, True


def _of_parameter(parameter: inspect.Parameter) -> Check:
    name, hint = parameter.name, parameter.annotation
    options = set(get_args(hint)) if get_origin(hint) in (Union, UnionType) else {hint}
    kinds = options - {NoneType}
    check = _of_type(name, kinds.pop() if len(kinds) == 1 else Any)
    return maybe(check) if NoneType in options or Any in options else check


def _of_type(name: str, hint: Any) -> Check:
    """What a type allows, and of numbers the range that the name has."""
    if hint is bool:
        return flag
    if hint is str:
        return text
    if get_origin(hint) is Literal:
        return word(*get_args(hint))
    if hint is int or (hint is Any and name in LEAST):
        return whole(LEAST.get(name))
    if hint is float or (hint is Any and name in INTERVALS):
        return number(INTERVALS.get(name, "(-inf, inf)"))
    of_numbers = get_origin(hint) in (list, tuple, Sequence) and get_args(hint)[:1] == (int,)
    if of_numbers or (hint is Any and name in LEAST_OF_EACH):
        return many(whole(LEAST_OF_EACH.get(name)))
    return MIXTURE if name in MIXTURES else anything


def world_settings(name: str, folder: Path | None = None) -> dict[str, Any]:
    """The values of a world's file. folder: of configurations, looked into before the package's own (--config-dir)."""
    paths = [place / "world" / f"{name}.yaml" for place in (folder, CONF) if place is not None]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        known = sorted(file.stem for file in (CONF / "world").glob("*.yaml"))
        raise ValueError(f"dataset.world: {name!r} is not one of {', '.join(known)}")
    return yaml.safe_load(path.read_text(encoding="utf-8"))
