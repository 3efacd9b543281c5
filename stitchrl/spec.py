"""What a dataset is made of: the keys of a file in conf/dataset/."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, get_args

from stitchrl.types import Expectation, Place


@dataclass(frozen=True)
class Reward:
    """Every step that ends at the place earns `rate`."""

    place: Place
    rate: float


@dataclass(frozen=True)
class Target:
    """An evaluated return from a place, and the status that the certificate must find."""

    start: Place
    value: float
    expect: Expectation


@dataclass(frozen=True)
class Context:
    """Places that an episode may begin at, and places that it may be sent to."""

    reset: tuple[Place, ...]
    goal: tuple[Place, ...]


@dataclass(frozen=True)
class DatasetSpec:
    """What a dataset is made from. Its fields are the keys of one YAML file in conf/dataset/.

    Attributes:
        maze: Which of the world's mazes; None for a world that has none.
        split: What the episodes are like. The last part of the dataset's name.
        contexts: Where episodes begin and end. Contexts take turns. In YAML `all` stands for every place.
        seen: Evaluated (start, goal) pairs that the certificate must find seen; `unseen`: unseen.
        source: A stored dataset of this world's states (Minari id or file). Its first episodes are taken, as many as
            `transitions` rows hold. Nothing is collected then, and there are no contexts.
        rewards: What steps earn. Such a dataset asks for returns and has no evaluated pairs.
        horizon: Steps in which a return is to be collected.
        goal_distance: Moves between an episode's start and its goal along the shortest path. None: any number.
        length: Fixed episode length in steps. If set, episodes are kept even when they miss the goal, and do not end at
            it. None: an episode ends at its goal, and is left out if it misses it. With rewards, an episode whose goal
            earns nothing ends there all the same.
        cut: Steps in a piece, where the episodes of the joined twin are to be cut. None: they are not.
        seed: Of all that is random in its episodes.
        min_episodes: So many episodes make a task seen, and support an unseen one.
        control: Whether the dataset is used although its certificate fails.
    """

    world: str
    maze: str | None
    split: str
    contexts: tuple[Context, ...]
    seen: tuple[tuple[Place, Place], ...]
    unseen: tuple[tuple[Place, Place], ...]
    source: str | None = None
    rewards: tuple[Reward, ...] = ()
    targets: tuple[Target, ...] = ()
    horizon: int | None = None
    goal_distance: int | None = None
    length: int | None = None
    cut: int | None = None
    transitions: int = 1_000_000
    seed: int = 0
    min_episodes: int = 50
    control: bool = False

    VERSIONS: ClassVar = {"antmaze": 1}  # of each world's data, else 0; it grows when their bytes change

    @classmethod
    def create(cls, values: Mapping[str, Any], places: Sequence[Place]) -> "DatasetSpec":
        """A specification from a YAML file's values, for a world's places. Raises ValueError naming the faulty key."""
        known = set(places)

        def place(value: Sequence[int], where: str) -> Place:
            found = tuple(value)
            if found not in known:
                world = values["world"] + (f", maze {values['maze']!r}" if values.get("maze") else "")
                raise ValueError(f"dataset.{where}: {list(found)} is no free place of world {world}")
            return found

        def several(value: Any, where: str) -> tuple[Place, ...]:
            return tuple(sorted(known)) if value == "all" else tuple(place(one, where) for one in value)

        contexts = tuple(
            Context(several(c["reset"], f"contexts[{i}].reset"), several(c["goal"], f"contexts[{i}].goal"))
            for i, c in enumerate(values["contexts"])
        )
        pairs = {
            key: tuple((place(a, key), place(b, key)) for a, b in values.get(key) or ()) for key in ("seen", "unseen")
        }
        rewards = tuple(
            Reward(place(r["place"], f"rewards[{i}].place"), float(r["rate"]))
            for i, r in enumerate(values.get("rewards") or ())
        )
        targets = tuple(
            Target(place(t["start"], f"targets[{i}].start"), float(t["value"]), t["expect"])
            for i, t in enumerate(values.get("targets") or ())
        )
        read = {"maze": None, **values, **pairs, "contexts": contexts, "rewards": rewards, "targets": targets}
        spec = cls(**read)
        spec._check()
        return spec

    def _check(self) -> None:
        for i, target in enumerate(self.targets):
            if target.expect not in get_args(Expectation):
                raise ValueError(f"dataset.targets[{i}].expect: {target.expect!r} is not one of seen, unseen")
        if not (bool(self.rewards) == bool(self.targets) == (self.horizon is not None)):
            raise ValueError("dataset: rewards, targets and horizon belong together, expected all of them or none")
        if self.rewards and (self.seen or self.unseen):
            raise ValueError("dataset: targets and pairs (seen, unseen) given, expected either")
        if bool(self.contexts) == (self.source is not None):
            raise ValueError("dataset: either contexts to collect from or a source to take from expected")
        if self.source is not None and (self.length, self.goal_distance) != (None, None):
            raise ValueError("dataset: length and goal_distance are of episodes to be collected, and a source is given")
        for key in ("horizon", "goal_distance", "length", "cut", "transitions", "min_episodes"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"dataset.{key}: {value} given, a positive number expected")

    @property
    def name(self) -> str:
        """`<world>[-<maze>]-<split>-v<k>`; a size or seed that is not the default enters it."""
        return dataset_name(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Plain values that can be written as JSON."""
        return asdict(self)


def dataset_name(values: Mapping[str, Any]) -> str:
    """The name of the dataset that a specification's plain values stand for."""
    parts = [values["world"], *([values["maze"]] if values.get("maze") else []), values["split"]]
    defaults = {"transitions": DatasetSpec.transitions, "seed": DatasetSpec.seed}
    for letter, key in (("n", "transitions"), ("s", "seed")):
        if (value := values.get(key, defaults[key])) != defaults[key]:
            parts.append(f"{letter}{value}")
    return "-".join([*parts, f"v{DatasetSpec.VERSIONS.get(values['world'], 0)}"])
