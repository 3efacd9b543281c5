"""What an experiment hands to its parts, and every number of its summary, from an agent that writes down what it gets.

Evaluations are made up here, so that their numbers are known; what really happens in them is test_evaluate's.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import probes
import pytest
import torch
from conftest import command
from test_configuration import spec as load
from torch.utils.tensorboard import SummaryWriter

from stitchrl import __main__, training
from stitchrl.benchmark import collect
from stitchrl.data.formats import minari
from stitchrl.evaluate import Evaluator
from stitchrl.learner import Learner
from stitchrl.worlds.maze.maps import Maze
from stitchrl.worlds.rollout import Trajectory

NAME = "pointmaze-dev-regions-n20000-v0"
DATA = ["dataset=pointmaze_dev_regions", "dataset.transitions=20000", "dataset.min_episodes=2", "workers=1"]
AGENT = """
_target_: probes.Probe
goal: world
lr: 0.01
batch_size: 8
warmup: 0
trajectory: 1.0
"""
GOALS = """
_target_: probes.%s
p: 0.75
shift: 1000
"""
RUN = ["agent=probe", "steps=20", "budget.evaluations=5", "budget.episodes=10"]

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.fixture(autouse=True)
def few_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "CEILING_EPISODES", 5)  # to measure them takes most of the time


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[dict]]:
    """Runs in a folder `run` or another one; gives back what the agent was given."""
    for group, name, text in [("agent", "probe", AGENT), ("goals", "all", GOALS % "Partner")]:
        (tmp_path / "conf" / group).mkdir(parents=True)
        (tmp_path / "conf" / group / f"{name}.yaml").write_text(text)
    (tmp_path / "conf" / "goals" / "half.yaml").write_text(GOALS % "Half")

    def run(*arguments: str, folder: str = "run") -> list[dict]:
        probes.SEEN.clear()
        given = ["--config-dir", str(tmp_path / "conf"), *DATA, *RUN, f"hydra.run.dir={folder}", *arguments]
        assert command(__main__, monkeypatch, *given) == 0
        return list(probes.SEEN)

    return run


def outcome(evaluation: int, task: int, episode: int, limit: int) -> tuple[bool, int]:
    """Made up: whether an episode succeeds, and after how many steps."""
    rng = np.random.default_rng([evaluation, task, episode])
    later = evaluation % 5
    share = 0.1 + 0.15 * later if task % 2 else 0.9 - 0.08 * task - 0.04 * later
    success = bool(rng.random() < share)
    return success, int(rng.integers(1, limit + 1)) if success else limit


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Has each evaluation ask the policy once and tell made-up outcomes; how many episodes were asked for."""
    asked: list[int | None] = []

    def evaluate(self, policy, episodes=None):
        obs = torch.zeros(4, *self.world.observation_space.shape)
        policy(obs, obs)
        trajectories = []
        for request in self.requests:
            task, episode = divmod(request.number, self.episodes)
            if episode < (episodes or self.episodes):
                success, length = outcome(len(asked), task, episode, request.limit)
                states = np.zeros((length + 1, *self.world.observation_space.shape), np.float32)
                actions = np.zeros((length, *self.world.action_space.shape), np.float32)
                trajectories.append(Trajectory(request, states, states[:, :2], actions, success))
        asked.append(episodes)
        return [self._row(trajectory) for trajectory in trajectories], trajectories

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    return asked


def read(folder: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


# ---- The numbers of summary.json -----------------------------------------------------------------------------------


def test_every_number_of_the_summary_is_that_of_a_slow_loop_over_the_evaluated_episodes(start, made_up, tmp_path):
    start()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    certificate = json.loads((tmp_path / "run" / "certificate.json").read_text())
    successes: dict[tuple[int, str], list[bool]] = defaultdict(list)
    tight_success: dict[tuple[int, str], list[bool]] = defaultdict(list)
    lengths: dict[tuple[int, str], list[int]] = defaultdict(list)
    limits = {task["name"]: task["step_limit"] for task in certificate["tasks"]}
    for row in read(tmp_path / "run", "eval.jsonl"):
        key = row["step"], row["task"]
        successes[key].append(row["success"])
        tight_success[key].append(row["success"] and row["length"] <= limits[row["task"]] / 2)
        assert row["first_hit"] == (row["length"] if row["success"] else None)
        if row["success"]:
            lengths[key].append(row["length"])
    names = [task["name"] for task in certificate["tasks"]]
    steps = [4, 8, 12, 16, 20]
    assert sorted({step for step, _ in successes}) == steps and len(names) == 8
    assert (certificate["epsilon"], certificate["min_episodes"], certificate["control"]) == (0.45, 2, False)
    assert all(0.8 <= task["ceiling"] <= 1 for task in certificate["tasks"]), "the behaviour solves its own tasks"
    assert {key: len(of) for key, of in successes.items()} == {
        (step, name): 2 if step < 12 else 10 for step in steps for name in names
    }

    def share(name: str, step: int) -> float:
        return sum(successes[step, name]) / len(successes[step, name])

    def expected(of: list[str]) -> dict[str, float]:
        curve = [mean(share(name, step) for name in of) for step in steps]
        found = {"success": mean(curve[-3:]), "final": curve[-1]}
        assert abs(found["success"] - found["final"]) > 0.01, "headline and final are to differ"
        return found

    def compare(found: dict, of: list[str]) -> None:
        for key, value in expected(of).items():
            assert found[key] == pytest.approx(value, abs=6e-5), key
        # Of evaluations of different size there are two: over all of them, or over those of the headline.
        curve = [mean(share(name, step) for name in of) for step in steps]
        assert found["best"] in (pytest.approx(max(curve), abs=6e-5), pytest.approx(max(curve[-3:]), abs=6e-5))
        assert found["episodes"] == 10 * len(of)

    by_expect = {
        expect: [task["name"] for task in certificate["tasks"] if task["expect"] == expect]
        for expect in ("seen", "unseen")
    }
    assert [len(of) for of in by_expect.values()] == [4, 4]
    for expect, of in by_expect.items():
        compare(summary[expect], of)
    seen, unseen = (expected(of)["success"] for of in by_expect.values())
    assert abs(seen - unseen) > 0.01
    assert summary["raw_difference"] == pytest.approx(seen - unseen, abs=1e-4)

    needed = {task["name"]: task["segments_needed"] for task in certificate["tasks"]}
    assert set(summary["by_segments"]) == {str(count) for count in needed.values()} and len(summary["by_segments"]) > 1
    for count, found in summary["by_segments"].items():
        compare(found, [name for name in names if str(needed[name]) == count])

    assert [task["name"] for task in summary["tasks"]] == names
    for task, certified in zip(summary["tasks"], certificate["tasks"], strict=True):
        name = task["name"]
        for key in ("expect", "status", "segments_needed", "path_length", "ceiling"):
            assert task[key] == certified[key]
        curve = [share(name, step) for step in steps]
        assert task["success"] == pytest.approx(mean(curve[-3:]), abs=6e-5)
        assert task["final"] == pytest.approx(curve[-1], abs=6e-5)
        halves = mean(mean(tight_success[step, name]) for step in steps[-3:])
        assert task["tight_success"] == pytest.approx(halves, abs=6e-5)
        assert halves < mean(curve[-3:])
        assert task["mean_length"] == pytest.approx(mean(lengths[20, name]), abs=0.06)
        assert task["episodes"] == 10
    manifest = minari.read_metadata(NAME)["manifest"]
    assert summary["dataset_sha256"] == manifest["dataset_sha256"] == minari.read(NAME).sha256
    assert (summary["dataset"], summary["agent"], summary["goals"]) == (NAME, "probe", "future")
    assert (summary["seed"], summary["steps"]) == (0, 20)


def test_best_is_the_highest_of_the_evaluations_where_all_are_of_one_size(start, made_up, tmp_path):
    start("budget.evaluations=3", "steps=3")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    rows = read(tmp_path / "run", "eval.jsonl")
    for expect in ("seen", "unseen"):
        of = [task["name"] for task in summary["tasks"] if task["expect"] == expect]
        curve = [mean(r["success"] for r in rows if r["step"] == step and r["task"] in of) for step in (1, 2, 3)]
        assert summary[expect]["best"] == pytest.approx(max(curve), abs=6e-5)
        assert summary[expect]["success"] == pytest.approx(mean(curve), abs=6e-5)
        assert min(curve) < mean(curve) < max(curve)


def test_a_task_that_never_succeeds_has_no_mean_length(start, made_up, monkeypatch, tmp_path):
    monkeypatch.setattr("test_wiring.outcome", lambda evaluation, task, episode, limit: (False, limit))
    start("steps=5")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert {task["mean_length"] for task in summary["tasks"]} == {None}
    assert summary["unseen"]["success"] == summary["seen"]["success"] == 0


def test_what_is_logged_of_an_evaluation_is_the_mean_over_its_own_tasks(start, made_up, monkeypatch, tmp_path):
    scalars = {}
    monkeypatch.setattr(
        SummaryWriter, "add_scalar", lambda self, key, value, step: scalars.update({(key, step): value})
    )
    start()
    rows = read(tmp_path / "run", "eval.jsonl")
    tasks = json.loads((tmp_path / "run" / "certificate.json").read_text())["tasks"]
    for step in (4, 20):
        shares = {
            task["name"]: mean(row["success"] for row in rows if (row["step"], row["task"]) == (step, task["name"]))
            for task in tasks
        }
        for name, share in shares.items():
            assert scalars[f"eval/{name}/success", step] == pytest.approx(share)
        for expect in ("seen", "unseen"):
            of = [shares[task["name"]] for task in tasks if task["expect"] == expect]
            assert scalars[f"eval/{expect}/success", step] == pytest.approx(mean(of))


def test_the_episodes_that_are_drawn_are_those_of_the_last_evaluation(start, made_up, tmp_path):
    start()
    rows = [row for row in read(tmp_path / "run", "eval.jsonl") if row["step"] == 20]
    with np.load(tmp_path / "run" / "trajectories.npz") as arrays:
        assert arrays["task"].tolist() == [row["task"] for row in rows]
        assert arrays["success"].tolist() == [row["success"] for row in rows]
        assert arrays["lengths"].tolist() == [row["length"] + 1 for row in rows]


def test_the_points_that_are_drawn_lie_in_the_cells_of_their_contexts(start, made_up, tmp_path):
    start("steps=5")
    contexts, maze = load("pointmaze_dev_regions").contexts, Maze("dev", 1.0)
    with np.load(tmp_path / "run" / "data.npz") as arrays:
        xy, context = arrays["points"], arrays["context"]
    assert set(context.tolist()) == {0, 1, 2, 3, 4}
    cells = [maze.cells[number] for number in maze.nearest_cell(xy)]
    inside = [cell in contexts[of].reset for cell, of in zip(cells, context, strict=True)]
    assert mean(inside) > 0.99, "a body may lean over a corner"


def test_the_last_update_is_logged_with_the_loss_of_its_weights(start, made_up, tmp_path):
    seen = start()
    (row,) = (row for row in read(tmp_path / "run", "train.jsonl") if "train/w" in row)
    assert row["step"] == 20 and row["train/w"] == pytest.approx(weights(seen, "loss")[-1])
    assert row["train/grad_norm"] == pytest.approx(1.0)


# ---- What is evaluated, and what goes on afterwards ----------------------------------------------------------------


def weights(seen: list[dict], call: str) -> list[float]:
    return [note["w"] for note in seen if note["call"] == call]


def test_the_average_of_the_weights_acts_and_the_weights_themselves_go_on(start, made_up):
    seen = start("learner.average=0.6", "learner.decay=false")
    before = weights(seen, "loss")  # each update
    for i, (earlier, later) in enumerate(pairwise(before)):
        assert earlier - later == pytest.approx(0.01, rel=1e-3), f"update {i}: Adam's step along a gradient of 1"
    after = [*before[1:], before[-1] - 0.01]
    average, averages = before[0], []
    for w in after:
        average = 0.6 * average + 0.4 * w
        averages.append(average)
    acted = weights(seen, "act")
    assert acted == pytest.approx([averages[step - 1] for step in (4, 8, 12, 16, 20)], abs=1e-5)
    assert all(abs(a - after[step - 1]) > 1e-3 for a, step in zip(acted, (4, 8, 12, 16, 20), strict=True))


def test_without_an_average_the_weights_themselves_act(start, made_up):
    seen = start("learner.average=0", "learner.decay=false")
    before = weights(seen, "loss")
    assert weights(seen, "act") == pytest.approx([before[step] for step in (4, 8, 12, 16)] + [before[-1] - 0.01])


def test_how_often_is_evaluated_changes_nothing_in_training(start, made_up):
    once, often = start("budget.evaluations=1"), start("budget.evaluations=20", folder="other")
    once, often = ([note for note in seen if note["call"] == "loss"] for seen in (once, often))
    assert weights(once, "loss") == weights(often, "loss")
    for a, b in zip(once, often, strict=True):
        assert torch.equal(a["observation"], b["observation"]) and a["drawn"] == b["drawn"]


def test_the_last_weights_are_those_of_the_checkpoint_and_are_evaluated(start, made_up, tmp_path):
    seen = start("learner.average=0.6")
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.pt", weights_only=True)["training"]["learner"]
    raw, average = state["agent"]["w"].item(), state["averaged"][0].item()
    assert weights(seen, "act")[-1] == pytest.approx(average, abs=1e-7)
    assert raw < average  # the gradient never turns round


def rates(seen: list[dict]) -> list[float]:
    """The learning rates of the updates but the last."""
    w = weights(seen, "loss")
    return [a - b for a, b in pairwise(w)]


@pytest.mark.parametrize("decay", [True, False])
@pytest.mark.parametrize("warmup", [0, 8])
def test_the_learning_rate_warms_up_as_the_agent_says_and_decays_as_a_cosine(start, made_up, warmup, decay):
    expected = []
    for step in range(19):
        rate = 0.01
        if step < warmup:
            rate *= (step + 1) / warmup
        if decay:
            rate *= (1 + math.cos(math.pi * step / 20)) / 2
        expected.append(rate)
    seen = start(f"agent.warmup={warmup}", f"learner.decay={str(decay).lower()}", "learner.average=0")
    assert rates(seen) == pytest.approx(expected, rel=5e-3, abs=2e-6)


def test_the_agents_scale_is_that_of_its_data(start, made_up):
    seen = start()
    observations = minari.read(NAME).observations.double().numpy()
    assert abs(observations.mean(0)).max() > 0.05
    for note in seen:
        assert note["mean"] == pytest.approx(observations.mean(0).tolist(), abs=1e-4)
        assert note["std"] == pytest.approx(observations.std(0).tolist(), rel=1e-3)


def test_dropout_is_on_in_training_and_off_when_acting(start, made_up):
    seen = start()
    assert {note["dropped"] for note in seen if note["call"] == "act"} == {0}
    trained = [note["dropped"] for note in seen if note["call"] == "loss"]
    assert len(trained) == 20 and min(trained) > 0, "also after an evaluation"


# ---- What an agent is shown ----------------------------------------------------------------------------------------


def test_the_policy_is_shown_the_starts_and_goals_that_the_rows_tell_of(start, tmp_path):
    seen = start("budget.episodes=2", "steps=3", "budget.evaluations=3")
    rows = read(tmp_path / "run", "eval.jsonl")
    by_step = {step: [row for row in rows if row["step"] == step] for step in (1, 2, 3)}
    places = [[(*row["start"], *row["goal"]) for row in of] for of in by_step.values()]
    assert places[0] == places[1] == places[2] and len(set(places[0])) == 16
    begins = [
        note for i, note in enumerate(seen) if note["call"] == "act" and (i == 0 or seen[i - 1]["call"] == "loss")
    ]
    assert len(begins) == 3
    with np.load(tmp_path / "run" / "trajectories.npz") as arrays:
        firsts = arrays["points"][arrays["lengths"].cumsum() - arrays["lengths"]]
    assert firsts == pytest.approx(np.array([place[:2] for place in places[2]]), abs=1e-4)
    for note in begins:
        shown = torch.cat([note["observation"][:16, :2], note["goal"][:16, :2]], 1)
        torch.testing.assert_close(shown, torch.tensor(places[0]), atol=1e-4, rtol=0)
    maze = Maze("dev", 1.0)
    for row in by_step[1]:
        ends = [tuple(map(int, end.removeprefix("r").split("c"))) for end in row["task"].split("-to-")]
        for xy, cell in zip((row["start"], row["goal"]), ends, strict=True):
            assert np.abs(np.array(xy) - maze.to_xy(cell)).max() <= 0.25 + 1e-4
            assert tuple(maze.to_cells(np.array(xy)).tolist()) == cell


def test_every_seed_meets_the_same_starts_and_goals_with_weights_and_batches_of_its_own(start, made_up, tmp_path):
    first, second = start("seed=1"), start("seed=2", folder="other")
    places = [
        [(row["task"], row["episode"], row["start"], row["goal"]) for row in read(tmp_path / folder, "eval.jsonl")]
        for folder in ("run", "other")
    ]
    assert places[0] == places[1]
    assert first[0]["w"] != second[0]["w"]
    assert not torch.equal(first[0]["observation"], second[0]["observation"])
    assert first[0]["drawn"] != second[0]["drawn"]


def test_goals_are_those_of_the_scheme_that_was_asked_for(start, made_up):
    observations = minari.read(NAME).observations
    row_of = {tuple(observation): row for row, observation in enumerate(observations.tolist())}
    for note in start("goals=all"):
        if note["call"] == "loss":
            rows = torch.tensor([row_of[tuple(observation)] for observation in note["observation"].tolist()])
            assert torch.equal(note["goal"], observations[(rows + 1000) % len(observations)])


# ---- How much was augmented ----------------------------------------------------------------------------------------


def augmentation(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())["augmentation"]


@pytest.mark.parametrize("shift", [-20, 12], ids=["goals behind", "goals that one comes past soon"])
def test_the_contradiction_rate_is_that_of_a_slow_loop_over_all_rows(shift, start, made_up, tmp_path):
    """Half a cell on in the episode, 17 steps at the behaviour's speed, or at its end: farther from the goal?"""
    start("goals=all", f"goals.shift={shift}", "steps=5")
    episodes, maze = minari.read(NAME), Maze("dev", 1.0)
    xy, ends = episodes.observations[:, :2].double().numpy(), episodes.ends.tolist()
    rows = episodes.transitions.tolist()[::7]
    there = xy[[(row + shift) % len(xy) for row in rows]]
    before = maze.distance(xy[rows], there)
    after = maze.distance(xy[[min(row + 17, ends[row]) for row in rows]], there)
    expected = mean(a > b for a, b in zip(after.tolist(), before.tolist(), strict=True))
    assert abs(expected - 0.5) > 0.1, "it is to differ from its opposite"
    found = augmentation(tmp_path / "run")
    assert found["contradiction_rate"] == pytest.approx(expected, abs=0.02)
    assert (found["requested"], found["realised"]) == (0.75, 1.0)


def test_what_is_realised_is_the_share_of_paths_that_jump(start, made_up, tmp_path):
    start("goals=half", "steps=5")
    assert augmentation(tmp_path / "run")["realised"] == pytest.approx(0.5, abs=0.02)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["instruments"] == {f"augmentation/{key}": value for key, value in summary["augmentation"].items()}
    start("steps=5", folder="other")
    assert augmentation(tmp_path / "other") == {"requested": 0.0, "realised": 0.0, "contradiction_rate": None}


# ---- Going on after an interruption --------------------------------------------------------------------------------


@pytest.mark.parametrize("update", [2, 9, 18])
def test_a_resumed_run_goes_on_with_the_same_batches_random_numbers_weights_and_averages(
    update, start, made_up, monkeypatch, tmp_path
):
    whole = start("learner.average=0.6", "agent.warmup=8", folder="whole")
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 0.0)
    original, calls = Learner.update, []

    def stopped(self, *arguments, **keywords):
        calls.append(None)
        if len(calls) == update:
            raise KeyboardInterrupt
        return original(self, *arguments, **keywords)

    begun: list[dict] = []
    with monkeypatch.context() as here:
        here.setattr(Learner, "update", stopped)
        try:
            start("learner.average=0.6", "agent.warmup=8")
        except (KeyboardInterrupt, AssertionError):  # raised, or told by the exit status
            begun = list(probes.SEEN)
    assert len([note for note in begun if note["call"] == "loss"]) == update - 1
    seen = begun + start("learner.average=0.6", "agent.warmup=8")
    updates, expected_updates = ([note for note in notes if note["call"] == "loss"] for notes in (seen, whole))
    assert len(updates) == len(expected_updates) == 20
    for found, expected in zip(updates, expected_updates, strict=True):
        assert found["w"] == expected["w"] and found["drawn"] == expected["drawn"]
        assert torch.equal(found["observation"], expected["observation"])
        assert torch.equal(found["goal"], expected["goal"])
    # An evaluation may be done again, with the same weights.
    assert list(dict.fromkeys(weights(seen, "act"))) == weights(whole, "act")
    # What was evaluated before the interruption counts as what was evaluated after it.
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    rows = read(tmp_path / "run", "eval.jsonl")
    for expect in ("seen", "unseen"):
        of = [task["name"] for task in summary["tasks"] if task["expect"] == expect]
        curve = [
            mean(row["success"] for row in rows if row["step"] == step and row["task"] in of)
            for step in (4, 8, 12, 16, 20)
        ]
        assert summary[expect]["success"] == pytest.approx(mean(curve[-3:]), abs=6e-5)
        assert abs(mean(curve[-3:]) - curve[-1]) > 0.005, "so that it would show if any were forgotten"


# ---- Returns -------------------------------------------------------------------------------------------------------


def test_a_return_is_asked_for_in_the_units_that_training_showed_it_in(start, tmp_path):
    """Of the most that any episode collects in 250 steps, and of the 250 steps."""
    data = ["dataset=pointmaze_umaze_returns", "dataset.min_episodes=5", "goals=future"]
    seen = start(*data, "budget.episodes=1", "steps=3", "budget.evaluations=1")
    rewards = minari.read("pointmaze-umaze-returns-n20000-v0")
    most = 0.0
    for first, last in zip(rewards.first.tolist(), rewards.last.tolist(), strict=True):
        earned = np.append(0, rewards.rewards[first:last].double().cumsum(0).numpy())
        most = max(most, max(earned[min(step + 250, len(earned) - 1)] - earned[step] for step in range(len(earned))))
    assert 100 < most <= 250
    targets = [task["target"] for task in json.loads((tmp_path / "run" / "summary.json").read_text())["tasks"]]
    acted = [note for note in seen if note["call"] == "act"]
    shown = acted[0]["goal"][: len(targets)]
    torch.testing.assert_close(shown[:, 0], torch.tensor(targets) / most, rtol=1e-4, atol=0)
    assert shown[:, 1].tolist() == [1.0] * len(targets)
    assert acted[1]["goal"][: len(targets), 1].tolist() == pytest.approx([1 - 1 / 250] * len(targets))
    trained = torch.cat([note["goal"] for note in seen if note["call"] == "loss"])
    assert trained.shape[1] == 2 and trained.min() >= 0 and trained.max() <= 1 + 1e-6
