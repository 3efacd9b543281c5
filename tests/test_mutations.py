"""The list of faults that tests must notice fits the code, and nearly all of them are noticed."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parent.parent / "benchmarks" / "mutations.py"
PARTS = (
    "types",
    "mazes",
    "worlds/",
    "data/",
    "data/formats/",
    "audit/",
    "agents/",
    "learner",
    "evaluate",
    "experiment",
)
PARTS += ("summary", "report/", "command", "__main__", "sweep", "factory", "generate", "convert")


@pytest.fixture(scope="module")
def mutations() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutations", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutations"] = module  # a NamedTuple looks there for its annotations
    spec.loader.exec_module(module)
    return module


def test_no_fault_of_the_list_is_stale_and_they_are_many_and_everywhere(mutations: ModuleType) -> None:
    faults = mutations.read_faults()
    assert mutations.stale(faults) == []
    assert len(faults) >= 60 and len({fault.name for fault in faults}) == len(faults)
    for part in PARTS:
        assert any(fault.file.startswith(part) for fault in faults), part


def test_a_fault_whose_text_is_not_there_once_is_stale(mutations: ModuleType) -> None:
    [fault] = [fault for fault in mutations.read_faults() if fault.name == "success_radius"]
    gone, often = fault._replace(text="a text that is nowhere"), fault._replace(text="o")
    lines = mutations.stale([fault, gone, often, fault._replace(tests=("headline::test_nothing",))])
    assert lines[0].startswith("success_radius: stale, its text occurs 0 times in stitchrl/worlds/__init__.py")
    assert lines[1].startswith("success_radius: stale, its text occurs ") and " 0 " not in lines[1]
    assert lines[2] == "success_radius: there is no test headline::test_nothing" and len(lines) == 3


def test_a_fault_is_caught_or_missed_as_its_tests_fail_or_pass(mutations: ModuleType, tmp_path: Path) -> None:
    """Two faults, of which the test that is named can notice but one; the tree is as it was afterwards."""
    mutations.copy_tree(tmp_path)
    before = (tmp_path / "stitchrl" / "types.py").read_text(encoding="utf-8")
    [fault] = [fault for fault in mutations.read_faults() if fault.name == "region_half_doubled"]
    test = "types::test_without_a_box_a_region_is_a_disc_and_without_a_radius_it_is_a_box"
    caught = mutations.run_tests(fault._replace(tests=(test,)), tmp_path)
    assert caught.verdict == "caught" and caught.by.endswith(test.partition("::")[2])
    harmless = fault._replace(wrong="- 1.0 * self.half, 0)", tests=(test,))
    assert mutations.run_tests(harmless, tmp_path).verdict == "missed"
    assert (tmp_path / "stitchrl" / "types.py").read_text(encoding="utf-8") == before


@pytest.mark.slow
def test_nineteen_of_twenty_faults_are_caught(mutations: ModuleType) -> None:
    verdicts = mutations.run_all(mutations.read_faults(), jobs=2)
    missed = [verdict.fault.name for verdict in verdicts if verdict.verdict != "caught"]
    assert mutations.rate(verdicts) >= mutations.CAUGHT, f"not caught: {', '.join(missed)}"
