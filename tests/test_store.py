"""What is stored of a benchmark: episodes, what ended them, their rewards and cuts, and what it is taken for later."""

from dataclasses import replace
from pathlib import Path

import minari
import numpy as np
import pytest
from conftest import benchmark, command
from test_configuration import spec as load

from stitchrl import generate
from stitchrl.audit.achieved import Achieved
from stitchrl.benchmark import store
from stitchrl.benchmark.official import joined_twin, plain
from stitchrl.data.cut import cut
from stitchrl.data.formats import minari as minari_format

SMALL = ["dataset=pointmaze_medium_short", "dataset.transitions=16000", "dataset.min_episodes=1", "workers=1"]

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_stored_short_episodes_are_truncated_and_none_terminated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(generate, monkeypatch, *SMALL, "if_missing=true") == 0
    for episode in minari.load_dataset("stitchrl/pointmaze-medium-short-n16000-v0"):
        assert episode.truncations.tolist() == [False] * 159 + [True]
        assert not episode.terminations.any()


def test_a_dataset_from_before_a_field_was_thought_of_has_the_fields_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    spec = replace(load("pointmaze_umaze_regions"), split="own", transitions=20_000, min_episodes=5)
    store.generate(benchmark(spec), workers=1)
    path = minari_format.folder(spec.name) / "data" / "metadata.json"
    added = {"goal_distance": "null", "length": "null", "rewards": "[]", "targets": "[]", "horizon": "null"}
    for key, value in added.items():
        assert f'\\"{key}\\": {value}, ' in path.read_text()
        path.write_text(path.read_text().replace(f'\\"{key}\\": {value}, ', ""))
    opened = store.open_dataset(benchmark(spec), workers=1)
    assert "length" not in opened.manifest["spec"]
    with pytest.raises(ValueError, match="stored with another length than dataset"):
        store.open_dataset(benchmark(replace(spec, length=100)), workers=1)


def test_the_datasets_seed_decides_where_episodes_are_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    spec = replace(load("pointmaze_umaze_cut3"), transitions=6_000, min_episodes=1, seed=2)
    opened = store.open_dataset(benchmark(spec), workers=1)
    joined = store.open_dataset(benchmark(joined_twin(spec)), workers=1)
    tasks, xy = benchmark(spec).objective.parted(), joined.episodes.observations[:, :2].numpy()
    by_seed = [cut(joined.episodes, 50, tasks, np.random.default_rng([s, 50]), xy) for s in (0, 2)]
    assert opened.episodes.sha256 == by_seed[1][0].sha256 != by_seed[0][0].sha256
    ends = np.flatnonzero(np.diff([*by_seed[1][1], -1]))  # the last piece of each episode, and all of them arrived
    assert np.flatnonzero(opened.terminated).tolist() == ends.tolist()


def test_the_rewards_of_a_return_dataset_are_those_of_a_plain_loop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    spec = replace(load("pointmaze_umaze_returnscut"), transitions=20_000, min_episodes=3)
    store.generate(benchmark(spec), workers=1)
    opened = store.open_dataset(benchmark(spec), workers=1)
    assert opened.certificate.passed, opened.certificate.problems
    episodes = opened.episodes
    rates = {(-1.0, 1.0): 0.2, (1.0, 0.0): 0.05, (-1.0, -1.0): 1.0}  # by the centres of the cells
    expected = [
        sum(rate for (x, y), rate in rates.items() if max(abs(after[0] - x), abs(after[1] - y)) <= 0.5)
        for after in episodes.observations[episodes.transitions + 1].tolist()
    ]
    assert episodes.rewards is not None
    np.testing.assert_allclose(episodes.rewards[episodes.transitions], expected, rtol=1e-6)
    joined = store.open_dataset(benchmark(joined_twin(spec)), workers=1)
    assert joined.manifest["transitions_sha256"] == opened.manifest["transitions_sha256"]
    assert {task["status"] for task in joined.certificate.tasks} == {"seen"}


def test_a_certificate_from_before_it_said_where_its_tasks_are_says_so_when_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = benchmark(load("pointmaze_umaze_returns"))
    achieved = Achieved(np.zeros((4, 2), np.float32), np.array([3]))
    rewards = np.array([0, 0, 0, np.nan], np.float32)
    now = made.objective.judge.certify(made.audited("0", achieved, rewards, {})).as_dict()
    older = {key: value for key, value in now.items() if key not in ("unit", "drawing", "rewards")}
    older["tasks"] = [{key: value for key, value in task.items() if key != "start"} for task in now["tasks"]]
    metadata = {"manifest": {"spec": plain(made.spec)}, "certificate": older, "contexts": [0]}
    monkeypatch.setattr(minari_format, "read_metadata", lambda name: metadata)
    certificate, _ = store.read_stored(made)
    assert certificate.unit == "m" and len(certificate.rewards) == len(made.spec.rewards)
    assert certificate.as_dict() == now
