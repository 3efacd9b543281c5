"""The list of faults that tests must notice fits the code, and nearly all of them are noticed."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

PATH = Path(__file__).parent.parent / "benchmarks" / "mutations.py"
PARTS = ("types", "spec", "worlds/", "worlds/maze/", "objectives/", "benchmark/", "data/", "data/formats/", "audit/")
PARTS += ("agents/", "instruments/", "learner", "training", "evaluate", "experiment", "summary", "report/", "command")
PARTS += ("__main__", "sweep", "generate", "convert", "settings", "guard", "interrupt", "status", "code_hash", "finite")
PARTS += ("seeds", "scaling", "cards/")


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
    assert lines[0].startswith("success_radius: stale, its text occurs 0 times in stitchrl/worlds/maze/world.py")
    assert lines[1].startswith("success_radius: stale, its text occurs ") and " 0 " not in lines[1]
    assert lines[2] == "success_radius: there is no test headline::test_nothing" and len(lines) == 3


def test_a_fault_that_leaves_no_python_is_stale(mutations: ModuleType) -> None:
    """Whatever a test looks at, it would fail."""
    [fault] = [fault for fault in mutations.read_faults() if fault.name == "sampler_not_restored"]
    half = fault._replace(text='sampler.load_state_dict(state["sampler"])')
    [line] = mutations.stale([half])
    assert line.startswith("sampler_not_restored: stale, with it stitchrl/training.py is no Python: invalid syntax")


@pytest.mark.slow
def test_a_fault_is_caught_missed_or_stale_as_its_test_fails_or_passes(mutations: ModuleType, tmp_path: Path) -> None:
    """Of these the test that is named can notice but the first."""
    [fault] = [fault for fault in mutations.read_faults() if fault.name == "region_half_doubled"]
    test = "types::test_without_a_box_a_region_is_a_disc_and_without_a_radius_it_is_a_box"
    faults = [fault._replace(name=name, tests=[test])._asdict() for name in ("wrong", "harmless", "gone")]
    faults[1]["wrong"], faults[2]["text"] = "- 1.0 * self.half, 0)", "a text that is nowhere"
    (tmp_path / "faults.yaml").write_text(yaml.safe_dump(faults), encoding="utf-8")
    status, out, _ = run("--faults", str(tmp_path / "faults.yaml"))
    assert status == 1
    assert [line.split()[:2] for line in out.splitlines()[:2]] == [["caught", "wrong"], ["missed", "harmless"]]
    assert "caught 1 of 3 faults (33.3%)" in out and "missed or stale: harmless, gone" in out


@pytest.mark.slow
def test_nineteen_of_twenty_faults_are_caught() -> None:
    status, out, err = run("--jobs", "2")
    assert status == 0, out[-2000:] + err


def run(*arguments: str) -> tuple[int, str, str]:
    """In a process of its own, which has not imported stitchrl."""
    done = subprocess.run([sys.executable, PATH, *arguments], capture_output=True, text=True, encoding="utf-8")
    return done.returncode, done.stdout, done.stderr
