"""Worlds: made from the values of a file in conf/world/, or of a file of one's own."""

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from stitchrl.worlds.world import World

OF_CONFIGURATION = ("_target_", "name", "agents")  # what a world's file holds beside its constructor's keywords


def make_world(settings: Mapping[str, Any], maze: str | None = None) -> World:
    """The world that a file's values name. Raises ValueError where there is no such class or maze.

    settings: `_target_`, the dotted path of a class; `name`; `agents`, settings that agents take in this world; and
    keywords of the class. maze: which of its mazes, for a world that has several.
    """
    module, _, name = str(settings.get("_target_", "")).rpartition(".")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"world._target_: {settings.get('_target_')!r} cannot be imported: {error}") from error
    keywords = {key: value for key, value in settings.items() if key not in OF_CONFIGURATION}
    keywords |= {} if maze is None else {"maze": maze}
    try:
        inspect.signature(kind).bind(**keywords)
    except TypeError as error:
        raise ValueError(f"world: {error}; keywords of {settings['_target_']} expected, and dataset.maze") from error
    return kind(**keywords)
