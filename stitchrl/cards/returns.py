"""What a card says of a dataset whose tasks are returns to collect."""

from collections.abc import Sequence

from stitchrl.cards.words import (
    ABSENT,
    Column,
    Values,
    chained,
    drawn,
    measured,
    near,
    pieces,
    point,
    titled,
    twin,
    unit_of,
)
from stitchrl.report.statistics import number


class ReturnWords:
    """As `words.Words`."""

    caption = "Circles: where tasks start. Letters: the tasks. Gold: what a step that ends there earns."

    def purpose(self, manifest: Values, certificate: Values) -> str:
        spec = manifest["spec"]
        if spec["cut"] is not None:
            words = f"{pieces(manifest)} No piece collects an unseen task's target return from its start."
            return words + chained(certificate, "pieces")
        if spec.get("source") is not None:
            words = f"These are the episodes of `{spec['source']}`, with rewards and targets of our own."
            return words + chained(certificate, "episodes")
        if spec["split"].endswith("joined"):
            return (
                "This is the control: for every task there are training episodes that collect its target return from "
                f"its start. Its cut twin, `{twin(manifest)}`, holds the same transitions in pieces, and no piece "
                "collects an unseen task's target return from its start. Success here minus success there is the "
                "stitching gap of returns."
            )
        dev = "Settings are chosen on this maze. " if spec["maze"] == "dev" else ""
        return (
            f"{dev}Some episodes lead from a start past a place where little is earned, and end. Others begin on that "
            "way and lead on to where much is earned. No training episode collects an unseen task's target return "
            "from its start, or comes near it, though many collect it from elsewhere."
            f"{chained(certificate, 'episodes')} The seen tasks are evaluated beside them: training episodes collect "
            "their targets from the same start."
        )

    def reward(self, manifest: Values, certificate: Values) -> str:
        unit = unit_of(certificate)
        if "rewards" not in certificate:  # an older one
            return ABSENT
        earned = [
            f"{reward['rate']:g} in the box with sides of {measured(2 * reward['region']['half'], unit)} around "
            f"{point(reward['region'])}"
            for reward in certificate["rewards"]
        ]
        return f"for each step, by where it ends: {', '.join(earned)}; 0 elsewhere"

    def columns(self, certificate: Values) -> Sequence[Column]:
        return (
            Column("task", "l", lambda task: f"`{task['name']}`"),
            Column(titled("start", unit_of(certificate)), "l", lambda task: point(task.get("start"))),
            Column("expected", "l", lambda task: task["expect"]),
            Column("status", "l", lambda task: task["status"]),
            Column("target", "r", lambda task: f"{task['target']:g}"),
            Column("steps", "r", lambda task: str(task["horizon"])),
            Column("collected by", "r", lambda task: f"{task['attaining']:,}"),
            Column("elsewhere by", "r", lambda task: f"{task['elsewhere']:,}"),
            Column("best in data", "r", lambda task: number(task["best_in_data"], 1)),
            Column("99%", "r", lambda task: number(task["p99"], 1)),
            Column("best of 1, 2, 3 chained", "r", _best),
            Column("segments needed", "r", lambda task: str(task["segments_needed"] or "none")),
            Column("ceiling", "r", lambda task: number(task["ceiling"])),
        )

    def notes(self, certificate: Values) -> str:
        unit = unit_of(certificate)
        starts = [task.get("start") for task in certificate["tasks"]]
        return (
            f"{drawn('Starts', starts, unit)} An evaluated episode succeeds if it collects the target within the given "
            "steps. Collected by: training episodes that collected the target within these steps from a state in the "
            "start's region. Elsewhere by: training episodes that did so from another state. A task is seen if at "
            f"least {certificate['min_episodes']} episodes collected its target from its start, and unseen if none "
            "did. For an unseen one, the best of them must stay at least a tenth of the target below it. Best in "
            "data, 99%: of what episodes collected from states in the start's region, the highest value and the 99th "
            "percentile. Best of 1, 2, 3 chained: what chains of so many episodes can collect at least. One episode "
            f"may be left for another {near(certificate['epsilon'], unit)}. Segments needed: the fewest episodes in a "
            "chain that collects the target. Ceiling: how often the behaviour itself collects the target when it is "
            "sent to where most is earned."
        )

    def passing(self, certificate: Values) -> str:
        return "For every unseen task there is a chain of episodes that collects its target."


def _best(task: Values) -> str:
    return ", ".join(number(best, 1) for best in task["best_by_segments"].values())
