"""What a card says of a dataset whose tasks are goals to reach."""

from collections.abc import Sequence

from stitchrl.cards.words import Column, Values, chained, drawn, near, pieces, point, titled, twin, unit_of, within
from stitchrl.report.statistics import number

PAPER = "[Ghugare et al., 2024](https://arxiv.org/abs/2401.11237)"
BESIDE = " The seen tasks are evaluated beside them: training episodes visit their start and later their goal."


class GoalWords:
    """As `words.Words`."""

    caption = "Circles: where tasks start. Stars: their goals. Letters: the tasks."

    def purpose(self, manifest: Values, certificate: Values) -> str:
        spec = manifest["spec"]
        if spec["cut"] is not None:
            return (
                f"{pieces(manifest)} No piece visits both the start and the goal of an unseen task."
                f"{chained(certificate, 'pieces')} The stitching gap is success after training on `{twin(manifest)}` "
                "minus success after training on this dataset: tasks, step limits and transitions are the same, and "
                "only here does no episode visit both the start and the goal of an unseen task."
            )
        if spec.get("source") is not None:
            words = f"These are the episodes of `{spec['source']}`, with tasks of our own."
            return words + chained(certificate, "episodes")
        if spec["split"] == "joined":
            return (
                "Every episode is one direct run between two places drawn at random. For each task there are episodes "
                f"that visit its start and later its goal. Its cut twins, `{twin(manifest)}`, hold the same "
                "transitions in pieces, and no piece visits both the start and the goal of a far task. Success here "
                "minus success there is the stitching gap."
            )
        if spec["split"] == "short":
            return (
                f"Every episode starts at a random place, is sent to one that is {spec['goal_distance']} moves away, "
                f"and has {spec['length']} steps, as in OGBench's stitch data. The unseen tasks, OGBench's five, are "
                f"longer than the way of any episode.{chained(certificate, 'episodes')}{BESIDE}"
            )
        contexts = "Each episode begins and ends at places of one context"
        if spec["maze"] == "dev":
            contexts = (
                "Settings are chosen on this maze, so that none is chosen on a maze that methods are compared on. Its "
                f"contexts are corridors and the passages between them. {contexts}"
            )
        elif spec["split"] == "regions":
            contexts += f"; the contexts are those of {PAPER}"
        return (
            f"{contexts}. No training episode visits both the start and the goal of an unseen task: such a "
            f"task can only be solved by combining episodes of several contexts.{BESIDE}"
        )

    def reward(self, manifest: Values, certificate: Values) -> str:
        if manifest["spec"].get("source") is not None:
            return "as in the source"
        within = manifest["spec"].get("length") is not None  # older manifests do not have it
        when = "each step that ends within the success radius of" if within else "the step that reaches"
        return f"1 for {when} the episode's own goal, 0 otherwise"

    def columns(self, certificate: Values) -> Sequence[Column]:
        unit = unit_of(certificate)
        return (
            Column("task", "l", lambda task: f"`{task['name']}`"),
            Column(titled("from, to", unit), "l", lambda task: " to ".join(map(point, _ends(task)))),
            Column("expected", "l", lambda task: task["expect"]),
            Column("status", "l", lambda task: task["status"]),
            Column("co-occurrence, in order / any order", "r", lambda t: f"{t['ordered']:,} / {t['unordered']:,}"),
            Column("segments needed", "r", _segments),
            Column(titled("clearance", unit), "r", lambda task: number(task["clearance"])),
            Column(titled("path", unit), "r", lambda task: number(task["path_length"], 1)),
            Column("step limit", "r", lambda task: str(task["step_limit"])),
            Column("ceiling", "r", lambda task: number(task["ceiling"])),
        )

    def notes(self, certificate: Values) -> str:
        unit, least, epsilon = unit_of(certificate), certificate["min_episodes"], certificate["epsilon"]
        ends = [region for task in certificate["tasks"] for region in _ends(task)]
        return (
            f"{drawn('Starts and goals', ends, unit)} An evaluated episode succeeds when it is {within(epsilon, unit)} "
            "its goal. A training episode visits the start when it is in the start's region, and the goal when it is "
            f"{within(epsilon, unit)} the goal's region. Co-occurrence: how many training episodes visit the start and "
            "later the goal, and how many visit both in any order. A task is seen if at least "
            f"{least} episodes visit its start and later its goal, and unseen if none visits both in any order. "
            "Segments needed: the fewest episodes in a chain from start to goal. One episode may be left for another "
            f"{near(epsilon, unit)}; in brackets, within twice and within half of that. Clearance: how far the "
            "nearest episode was from visiting both. Ceiling: how often the behaviour itself succeeds within the step "
            "limit."
        )

    def passing(self, certificate: Values) -> str:
        least = certificate.get("min_support", certificate["min_episodes"])  # older ones have one number for both
        return (
            "For every unseen task there is a chain of episodes from start to goal; at least "
            f"{least} episodes begin at its start, and at least {least} visit its goal."
        )


def _ends(task: Values) -> tuple[Values | None, Values | None]:
    return task.get("start"), task.get("goal")


def _segments(task: Values) -> str:
    needed, fewest, most = ("none" if k is None else str(k) for k in (task["segments_needed"], *task["segments_range"]))
    return f"{needed} ({fewest} to {most})"
