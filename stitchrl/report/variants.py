"""Settings in which runs differ become part of their agents' and goals' names."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stitchrl.report.runs import Run


def named_by_settings(runs: Sequence[Run]) -> list[Run]:
    """The runs, with the settings in which they differ in the names of their agent and goals.

    The settings of an agent and of training are compared among that agent's runs on a dataset and its twins. Those of a
    goal scheme are compared among all runs with that scheme. A setting that differs anywhere is named everywhere. A
    question mark stands where a run does not tell: it has no resolved.yaml, or one of an earlier version.
    """
    of_agents, of_goals = _differing(runs, goals=False), _differing(runs, goals=True)
    named = []
    for run in runs:
        agent = " ".join([run.agent, *_words(run, of_agents[run.agent])])
        goals = " ".join([run.goals, *_words(run, of_goals[run.goals])])
        named.append(replace(run, agent=agent, goals=goals))
    return named


def _differing(runs: Sequence[Run], goals: bool) -> dict[str, list[str]]:
    """The settings in which the runs of each agent differ; with `goals` those in which runs of each scheme differ."""
    compared: dict[tuple, set[str]] = defaultdict(set)  # agent or goals, dataset or twins, setting -> its values
    for run in runs:
        who = run.goals if goals else run.agent
        family = run.name.joined if run.name else run.dataset  # what a dataset and its twins share
        for key, value in run.settings.items():
            if key.startswith("goals.") == goals:
                where = run.dataset if key.startswith("dataset.") else family
                compared[who, where, key].add(_shown(value))
    found: dict[str, list[str]] = defaultdict(list)
    for (who, _, key), values in compared.items():
        if len(values) > 1 and key not in found[who]:
            found[who].append(key)
    return found


def _words(run: Run, keys: Sequence[str]) -> list[str]:
    """Settings as they stand in a name: `steps` first, the others in the order of the configuration."""
    words = []
    for key in sorted(keys, key=lambda key: key != "steps"):
        value = _shown(run.settings[key]) if key in run.settings else "?"
        words.append(f"{key.removeprefix('agent.').removeprefix('goals.')}={value}")
    return words


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)
