"""A dataset's specification: what is refused, by key, and its name."""

from dataclasses import replace

import pytest
from conftest import world
from test_configuration import spec as load

from stitchrl.spec import DatasetSpec


def test_a_name_tells_size_seed_and_split():
    spec = load("pointmaze_umaze_regions")
    names = {
        replace(spec, **changes).name.rpartition("-v")[0]
        for changes in ({}, {"seed": 3}, {"transitions": 500}, {"transitions": 500, "seed": 3}, {"split": "other"})
    }
    base = "pointmaze-umaze-regions"
    assert names == {base, f"{base}-s3", f"{base}-n500", f"{base}-n500-s3", "pointmaze-umaze-other"}


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"horizon": None}, "dataset: rewards, targets and horizon belong together, expected all of them or none"),
        ({"seen": [[[1, 1], [1, 2]]]}, "dataset: targets and pairs (seen, unseen) given, expected either"),
        ({"horizon": 0}, "dataset.horizon: 0 given, a positive number expected"),
        (
            {"rewards": [{"place": [0, 0], "rate": 1}]},
            "dataset.rewards[0].place: [0, 0] is no free place of world pointmaze, maze 'umaze'",
        ),
        (
            {"targets": [{"start": [1, 1], "value": 3, "expect": "often"}]},
            "dataset.targets[0].expect: 'often' is not one of seen, unseen",
        ),
    ],
)
def test_a_faulty_return_dataset_is_named_in_one_line(changed: dict, message: str) -> None:
    values = load("pointmaze_umaze_returns").as_dict()
    with pytest.raises(ValueError) as caught:
        DatasetSpec.create(values | changed, world("pointmaze", "umaze").places)
    assert str(caught.value) == message
