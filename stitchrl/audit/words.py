"""What an audit says, in sentences. The command and the page say the same ones, each made by one function here."""

from collections.abc import Sequence
from typing import Any

from stitchrl.audit.certificate import LISTED, Audited, Certificate, Terms

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
VOLUMES = {1: "length", 2: "area"}  # of what episodes visit; in more dimensions a volume
NAMED = 3  # tasks that one sentence of the verdict names


def number(value: Any, form: str = "g") -> str:
    """A number, or none where there is none."""
    return "none" if value is None else format(value, form)


def counted(count: int, noun: str = "episode") -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def enumerated(names: Sequence[str], most: int | None = None) -> str:
    """a, b and c; of more than `most` the number of the others."""
    shown = list(names)
    if most is not None and len(shown) > most:
        shown = [*shown[:most], f"{len(shown) - most} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def listed(episodes: Sequence[int], count: int) -> str:
    """The numbers of so many episodes, of which the first are known."""
    return ", ".join(map(str, episodes)) + (", ..." if count > LISTED else "")


def needed(task: dict[str, Any], certificate: Certificate) -> str:
    """What follows on a number of episodes that are too few."""
    return f", {certificate.min_episodes} needed" if task["expect"] == "seen" else ""


def answer(certificate: Certificate, terms: Terms) -> list[str]:
    """Whether the tasks have the status that they should have: what fails first, then what holds."""
    seen, unseen = ([task for task in certificate.tasks if task["expect"] == which] for which in ("seen", "unseen"))
    short = [task for task in seen if task["status"] != "seen"]
    kept = [task for task in unseen if task["status"] == "unseen"]
    fails = []
    if joined := [task for task in unseen if task[terms.key]]:
        fails.append(f"{_episodes(joined, terms.key, terms.does)}, which should be unseen")
    if reversed_only := [task for task in unseen if task["status"] == "reversed_only"]:
        both = _episodes(reversed_only, "unordered", "visit", "both ends of ")
        fails.append(f"{both}, which should be unseen, though not in order")
    if short:
        short_of = f"which should be seen: {certificate.min_episodes} are needed"
        fails.append(f"{_episodes(short, terms.key, terms.does, only=True)}, {short_of}")
    if chainless := [task for task in unseen if task["segments_needed"] is None]:
        fails.append(f"no chain of episodes {terms.chained} {_named(chainless)}, at epsilon {certificate.epsilon:g}")
    for key, (does, of, _) in terms.support.items():
        if few := [task for task in unseen if task[key] < certificate.min_support]:
            fails.append(f"{_episodes(few, key, does, of, only=True)}: {certificate.min_support} are needed as support")
    if not fails and not certificate.passed:
        first, *others = certificate.problems
        fails = [first + (f" (and {counted(len(others), 'problem')} more)" if others else "")]
    if fails:
        fails[0] = f"It fails: {fails[0]}"
    said = (*fails, *_unseen(kept, unseen, terms), *_seen(certificate, terms, short))
    return [f"{text[0].upper()}{text[1:]}." for text in said]


def _episodes(tasks: Sequence[dict[str, Any]], key: str, does: str, of: str = "", only: bool = False) -> str:
    """How many episodes do something with each of the tasks."""
    counts = sorted(task[key] for task in tasks)
    if counts[-1] == 0:
        return f"no episode {does}s {of}{_named(tasks)}"
    how_many = counted(counts[-1]) if counts[0] == counts[-1] else f"{counts[0]} to {counted(counts[-1])}"
    verb = f"{does}s" if counts == [1] * len(counts) else does
    return f"{'only ' if only else ''}{how_many} {verb} {of}{_named(tasks)}"


def _named(tasks: Sequence[dict[str, Any]]) -> str:
    names = enumerated([task["name"] for task in tasks], NAMED)
    return names if len(tasks) == 1 else f"each of {names}"


def _unseen(kept: Sequence[dict[str, Any]], unseen: Sequence[dict[str, Any]], terms: Terms) -> list[str]:
    """That no episode does it for the unseen tasks that are unseen, and how many are needed."""
    if not kept:
        return []
    which = _which(len(kept), len(unseen), f"unseen {terms.noun}", "either", "any of the")
    text = f"no episode {terms.does}s {which}"
    needed = {task["segments_needed"] for task in kept}
    if None in needed:
        return [text]
    least, most = (NUMBERS[k] if k < len(NUMBERS) else str(k) for k in (min(needed), max(needed)))
    spelled = f"{most} episode{'' if most == 'one' else 's'}"
    how_many = spelled if least == most else f"{least} to {spelled}"
    return [f"{text}; {'it' if len(kept) == 1 else 'each'} needs {how_many}"]


def _seen(certificate: Certificate, terms: Terms, short: Sequence[dict[str, Any]]) -> list[str]:
    """That enough episodes do it for the seen tasks that are seen."""
    total = sum(task["expect"] == "seen" for task in certificate.tasks)
    count = total - len(short)
    if not count:
        return []
    which = _which(count, total, f"seen {terms.noun}", "both", "all")
    verb = "is" if count == 1 else "are"
    return [f"{which} {verb} {terms.done} by at least {counted(certificate.min_episodes)}"]


def _which(count: int, total: int, noun: str, of_two: str, of_many: str) -> str:
    """So many of all the tasks of a kind."""
    if count == 1:
        return f"the {'' if total == 1 else 'other '}{noun}"
    if count < total:
        return f"the other {count} {noun}s"
    if count == 2:
        return f"{of_two} {noun}{'' if of_two == 'either' else 's'}"
    return f"{of_many} {count} {noun}s"


def caveats(audited: Audited, certificate: Certificate, surveyed: dict[str, Any]) -> list[str]:
    """What limits the verdict, to be read beside it."""
    found = certificate.judge.caveats(surveyed, certificate)
    if certificate.min_support == 0 and any(task["expect"] == "unseen" for task in certificate.tasks):
        found.append("Whether enough episodes support the unseen tasks is not judged.")
    if not audited.walls_known:
        found.append("Walls are unknown: episodes may be joined through them.")
    if certificate.control:
        found.append("This is a control: it was made to fail, or to be compared with.")
    return found


def table(certificate: Certificate) -> tuple[list[str], list[list[str]]]:
    """The headings and the rows of the table of tasks."""
    columns = certificate.judge.columns
    rows = []
    for task in certificate.tasks:
        status = task["status"] + ("" if task["status"] == task["expect"] else f", not {task['expect']}")
        rows.append([task["name"], status, *(column.text(task) for column in columns)])
    return ["task", "status", *(column.heading for column in columns)], rows


def meanings(certificate: Certificate) -> str:
    """What the table's headings mean."""
    filled = {"epsilon": f"{certificate.epsilon:g}", "unit": f" in {certificate.unit}" if certificate.unit else ""}
    columns = [column for column in certificate.judge.columns if column.meaning]
    return "; ".join(f"{column.heading}: {column.meaning.format(**filled)}" for column in columns)


def lengths_of_episodes(lengths: dict[str, Any]) -> str:
    """How long episodes are."""
    least, most = lengths["min"], lengths["max"]
    if least == most:
        return f"All episodes have {counted(least, 'step')}."
    return f"Episodes have {least} to {counted(most, 'step')}, half of them at most {int(lengths['median'])}."


def covered(coverage: dict[str, Any], unit: str, dimensions: int, epsilon: float) -> str:
    """How much of achieved-goal space episodes visit."""
    share = f"{100 * coverage['shared']:.0f}%"
    if epsilon == 0:
        return f"They achieve {coverage['area']:g} different goals, {share} of which several episodes achieve."
    size = f"{coverage['area']:g}" + (f" {unit}" + (f"^{dimensions}" if dimensions > 1 else "") if unit else "")
    volume = VOLUMES.get(dimensions, "volume")
    return f"The {volume} that they visit is {size}, {share} of which several episodes visit."


def far_from_training(distances: dict[str, float], unit: str) -> str:
    """How far what is evaluated lies from what training sees."""
    pairs, starts, goals = (f"{distances[key]:.2f} {unit}".rstrip() for key in ("pairs", "starts", "goals"))
    return (
        f"Wasserstein distance of what is evaluated from what training sees: {pairs} for pairs of state and goal, "
        f"{starts} for states alone and {goals} for goals alone. Far pairs of near states and goals are combinatorial "
        "generalisation."
    )


def walls_matter(walls: dict[str, Any], needed: dict[str, int | None]) -> str:
    """What would be if there were no walls."""
    fewer = [
        f"{name} {number(walls['segments'][name])} (not {number(count)})"
        for name, count in needed.items()
        if count != 1 and walls["segments"][name] != count
    ]
    without = f"fewer episodes would do: {', '.join(fewer)}" if fewer else "as many episodes would be needed"
    return f"Walls rule out {100 * walls['share']:.2g}% of the links between episodes. Without walls {without}."


def jumps_at_seams(seams: dict[str, Any] | None, rest: str) -> list[str]:
    """How much changes where one episode is left for another."""
    if seams is None:
        return ["Observations hold nothing beside the achieved goal that could jump where episodes are joined."]
    if not seams["jump"]:
        return []
    jump, step, random = (seams[key] for key in ("jump", "step", "random"))
    return [
        f"Where one episode must be left for another, {rest} must jump by {jump['median']:.2f} standard deviations "
        f"(median; in one of ten places by {jump['p90']:.2f} or more). One step changes it by {step['median']:.2f}. "
        f"Two random states are {random['median']:.2f} apart."
    ]


def matched_joins(matched: dict[str, Any] | None, needed: dict[str, int | None], rest: str) -> list[str]:
    """How many episodes are needed if more than the achieved goal must match."""
    found = matched["tasks"] if matched else {}
    asked = [name for name in found if needed[name] not in (1, None)]
    if not matched or not asked:
        return []
    within = matched["threshold"]
    deviations = "one standard deviation" if within == 1 else f"{within:g} standard deviations"
    at_most = "" if matched["exact"] else " at most"
    parts = []
    for count in sorted({found[name] for name in asked if found[name]}):
        names = [name for name in asked if found[name] == count]
        verb = "needs" if len(names) == 1 else "need"
        parts.append(f"{enumerated(names)} {verb}{at_most} {counted(count)}")
    if none := [name for name in asked if found[name] is None]:
        where = "" if matched["exact"] else " in the sample"
        parts.append(f"no chain was found{where} for {enumerated(none)}")
    return [f"If {rest} must match within {deviations}, {'; '.join(parts)}."]
