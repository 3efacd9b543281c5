"""What else runs differ in than dataset, agent, goals and seed: it becomes part of the agent's and the goals' names."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stitchrl.report.runs import Run


def named_by_settings(runs: Sequence[Run]) -> list[Run]:
    """The runs, with the settings in which they differ in the names of their agent and goals.

    An agent's settings, and those of training in general, are compared among the agent's runs on a dataset and its
    twins; so are those of a goal scheme, of whatever agent. A setting that differs anywhere is named everywhere, with a
    question mark where a run does not say: it has no resolved.yaml, or one of an earlier version.
    """
    of_agents, of_goals = _differing(runs, goals=False), _differing(runs, goals=True)
    return [
        replace(
            run,
            agent=" ".join([run.agent, *_words(run, of_agents[run.agent])]),
            goals=" ".join([run.goals, *_words(run, of_goals[run.goals])]),
        )
        for run in runs
    ]


def _differing(runs: Sequence[Run], goals: bool) -> dict[str, list[str]]:
    """For each agent the settings in which its runs differ; with `goals` for each goal scheme, of its own settings."""
    compared: dict[tuple, set[str]] = defaultdict(set)  # agent or goals, dataset or twins, setting -> its values
    for run in runs:
        who = run.goals if goals else run.agent
        for key, value in run.settings.items():
            if key.startswith("goals.") == goals:
                where = run.dataset if key.startswith("dataset.") else run.family
                compared[who, where, key].add(_shown(value))
    found: dict[str, list[str]] = defaultdict(list)
    for (who, _, key), values in compared.items():
        if len(values) > 1 and key not in found[who]:
            found[who].append(key)
    return found


def _words(run: Run, keys: Sequence[str]) -> list[str]:
    """`steps` first, the others in the order of the configuration; what the name stands beside is not repeated."""
    words = []
    for key in sorted(keys, key=lambda key: key != "steps"):
        value = _shown(run.settings[key]) if key in run.settings else "?"
        words.append(f"{key.removeprefix('agent.').removeprefix('goals.')}={value}")
    return words


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)
