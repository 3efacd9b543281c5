"""The pickles of the stitching paper's repository (Ghugare et al., 2024): read only, and only where asked for.

Flat rows, T + 1 to an episode, numbered by `episode_id`; an episode's last row has a void action.
"""

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from stitchrl.data.formats.source import Source, assemble, check_columns, of_episodes, with_position


def open_source(path: Path) -> Source:
    """Unpickles: may run any code that the file's author put into it. ValueError that names the file and the key."""
    with open(path, "rb") as file:
        try:
            values: Any = pickle.load(file)
        except Exception as error:  # whatever the pickle's own code raises
            raise ValueError(f"{path}: expected a pickle, found {error!r}") from error
    try:
        parts = values["observations"]
        number, states, achieved = parts["episode_id"], parts["observation"], parts["achieved_goal"]
        actions = values["actions"]
        columns = {"observations": states, "actions": actions, "episode_id": number, "achieved_goal": achieved}
        columns = {key: np.asarray(value) for key, value in columns.items()}
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ValueError(f"{path}: expected the paper's dictionary of arrays, found {error!r}") from error
    check_columns(str(path), {key: (value.shape, value.dtype) for key, value in columns.items()})
    number = columns["episode_id"].reshape(-1)
    if (np.diff(number) < 0).any():
        row = int((np.diff(number) < 0).argmax()) + 1
        raise ValueError(f"{path}: episode_id falls to {number[row]} at row {row}, expected sorted numbers")
    last = np.flatnonzero(np.append(np.diff(number) != 0, True))
    lengths = np.diff(last, prepend=-1) - 1
    if (lengths == 0).any():
        raise ValueError(f"{path}: episode_id {number[last[lengths.argmin()]]} has one row, expected T + 1")
    observations = with_position(columns["observations"], columns["achieved_goal"])
    read = of_episodes(str(path), assemble(str(path), 0, observations, columns["actions"], None, lengths), {})
    unread = {*values} - {"observations", "actions"}, {*parts} - {*columns, "observation"}
    extra = sorted(str(key) for keys in unread for key in keys)
    return dataclasses.replace(read, notes=(f"not read: {', '.join(extra)}",) if extra else ())
