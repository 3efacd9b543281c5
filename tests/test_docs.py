"""Each command and each link of the README and the docs is right.

Commands are checked as far as that is cheap: their settings and options are read, and nothing is made. The slow test
runs those of Hydra, small.
"""

import argparse
import importlib
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from docs_pages import DOCS, PAGES, ROOT, blocks, prose, write_files
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from stitchrl.audit.tasks import read_tasks
from stitchrl.cli import MODULES
from stitchrl.command import CONF, checked, plain

# Not even checked, and why.
LISTED = {
    "source .venv/bin/activate": "changes the shell that it is given to",
    "tensorboard --logdir runs": "serves until it is stopped",
    "pip install pre-commit": "needs the network",
    "pre-commit install": "needs the network",
}
# Not run by the slow test, and why.
NOT_RUN = {
    "hydra/sweeper=tune": "test_sweep.py does",
    "submitit_slurm": "needs a cluster; test_sweep.py has submitit_local",
}
FIRST = ("make", "python", "stitchrl", "pip", "pytest", *{line.split()[0] for line in LISTED})
SMALL = ["dataset.transitions=20000", "dataset.min_episodes=1", "dataset.control=true"]
SHORT = ["steps=60", "budget.evaluations=3", "budget.episodes=1"]


def words_of(line: str) -> list[str]:
    """The words of a command, without its comment and the variables before it."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    return words


def find_commands() -> dict[str, list[str]]:
    """Each command of the pages, in words. A block without a language is either of commands or a table."""
    found = []
    for page in PAGES:
        for block in blocks(page):
            lines = block.replace("\\\n", " ").splitlines()
            if words_of(lines[0])[:1] and words_of(lines[0])[0] in FIRST:
                found += [words_of(line) for line in lines]
            else:
                assert "───" in block, f"{page}: a block of neither commands nor a table: {lines[0]}"
        inline = re.findall(rf"`((?:{'|'.join(FIRST)}) [^`]+)`", prose(page))
        found += [words_of(" ".join(text.split())) for text in inline]
    return {shlex.join(words): words for words in found}


COMMANDS = find_commands()


class Read(Exception):
    """The options of a command were read, and nothing was wrong with them."""


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages tell their readers to write."""
    write_files(tmp_path)
    mine = (CONF / "dataset" / "pointmaze_umaze_regions.yaml").read_text()
    path = tmp_path / "my_conf" / "dataset" / "mine.yaml"
    path.write_text(re.sub(r"^split: .*$", "", mine, flags=re.MULTILINE) + "\nsplit: mine\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_pages_hold_commands_of_every_kind() -> None:
    assert len(COMMANDS) > 50 and {words[0] for words in COMMANDS.values()} == set(FIRST)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_understood(line: str, workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = COMMANDS[line]
    if line in LISTED:
        return
    match words:
        case ["make", target, *variables]:
            makefile = (ROOT / "Makefile").read_text()
            assert re.search(rf"^{target}:", makefile, re.MULTILINE)
            assert all(f"$({variable.partition('=')[0]})" in makefile for variable in variables)
        case ["pip", "install", "-c", "constraints.txt", extra]:
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            assert extra.removeprefix(".[").removesuffix("]") in project["optional-dependencies"]
        case ["pytest", "-m", "slow", *files]:
            assert all((ROOT / file).exists() for file in files)
        case ["python", "-m", module, *arguments]:
            understand(module, arguments, monkeypatch)
        case ["stitchrl", name, *arguments]:
            understand(MODULES[name], arguments, monkeypatch)
        case ["python" | "pytest", script]:
            assert (ROOT / script).exists()
        case ["python", script, *arguments]:
            monkeypatch.setattr(argparse.ArgumentParser, "parse_args", reading(argparse.ArgumentParser.parse_args))
            monkeypatch.setattr(sys, "argv", [script, *arguments])
            monkeypatch.syspath_prepend(str((ROOT / script).parent))
            with pytest.raises(Read):
                runpy.run_path(str(ROOT / script), run_name="__main__")
        case _:
            pytest.fail(f"neither checked nor listed: {line}")


def reading(parse: object) -> object:
    def parse_args(*arguments: object) -> None:
        parse(*arguments)
        raise Read

    return parse_args


def understand(module: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a command of ours read its arguments. Raises what is wrong with them."""
    if module in ("stitchrl", "stitchrl.generate"):
        if "--help" not in arguments:
            compose_all("config" if module == "stitchrl" else "generate", arguments)
        return
    is_file = (ROOT / f"{module.replace('.', '/')}.py").exists()
    main = importlib.import_module(module if is_file else f"{module}.__main__").main
    if not arguments:  # the name of a command, in a sentence
        return
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", reading(argparse.ArgumentParser.parse_args))
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(Read):
        main()


def compose_all(name: str, arguments: list[str]) -> None:
    """Compose and check the configuration of each job, but for those that differ in the seed alone."""
    arguments = [argument for argument in arguments if argument != "-m"]
    if "--config-dir" in arguments:
        at = arguments.index("--config-dir")
        arguments[at : at + 2] = [f"hydra.searchpath=[file://{Path(arguments[at + 1]).absolute()}]"]
    arguments = [re.sub(r"^((?:\w+\.)*seed=[^,]*),.*", r"\1", argument) for argument in arguments]
    arguments = [re.sub(r"=tag\(.*", "=1e-3", argument) for argument in arguments]  # an interval, which is sampled
    overrides = OverridesParser.create().parse_overrides(arguments)
    (jobs,) = BasicSweeper.split_arguments(overrides, None)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for job in jobs:
            checked(plain(compose(name, job)))


def runnable() -> list[str]:
    hydra = (["python", "-m", "stitchrl"], ["python", "-m", "stitchrl.generate"])
    chosen = [line for line, words in COMMANDS.items() if words[:3] in hydra or words[:2] == ["stitchrl", "run"]]
    return [line for line in chosen if "=" in line and not any(kind in line for kind in NOT_RUN)]


@pytest.mark.slow
@pytest.mark.parametrize("line", runnable())
def test_a_command_runs(line: str, workshop: Path) -> None:
    words = COMMANDS[line]
    if words[0] == "stitchrl":
        words = ["python", "-m", MODULES[words[1]], *words[2:]]
    small = SMALL + (SHORT if words[2] == "stitchrl" else [])
    environment = {"PYTHONPATH": f".:{ROOT}", "MINARI_DATASETS_PATH": str(workshop / "data"), "HOME": str(workshop)}

    def run(*arguments: str) -> None:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=workshop, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout

    if "dataset=theirs" in words:
        run("-m", "stitchrl.generate", "dataset=pointmaze_umaze_joined", *SMALL)
        run("-m", "stitchrl.convert", "stitchrl/pointmaze-umaze-joined-n20000-v0", "theirs.hdf5")
    run(*words[1:], *(["seed=0"] if "seed=0,1" in line else []), *small)


# ---- Links and pages -----------------------------------------------------------------------------------------------


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and MkDocs make it."""
    return re.sub(r"[ ]", "-", re.sub(r"[^\w\- ]", "", heading.strip().lower()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), link


def test_every_page_is_in_the_navigation() -> None:
    def flat(entries: list) -> list[str]:
        pages = [value for entry in entries for value in (entry.values() if isinstance(entry, dict) else [entry])]
        return [page for value in pages for page in (flat(value) if isinstance(value, list) else [value])]

    nav = flat(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(nav) == [str(page.relative_to(ROOT / "docs")) for page in DOCS]


def test_the_tasks_of_the_audits_page_are_a_tasks_file(workshop: Path) -> None:
    read = read_tasks(workshop / "tasks.yaml")
    assert read.columns == (0, 1) and [task.name for task in read.tasks] == ["left-to-right"]
    (returns,) = [text for text in blocks(ROOT / "docs" / "audit.md", "yaml") if "target" in text]
    (workshop / "returns.yaml").write_text("achieved_goal: {columns: [0, 1]}\n" + returns)
    assert [task.target for task in read_tasks(workshop / "returns.yaml").returns] == [100]


def test_the_citation_is_of_this_version_and_licence() -> None:
    from stitchrl import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["title"], citation["version"]) == (project["name"], __version__)
    assert citation["license"] == project["license"] and citation["cff-version"] == "1.2.0"
    assert len(citation["references"]) == 2


def test_before_a_commit_the_same_linter_runs_as_in_the_tests() -> None:
    (hooks,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert f"ruff=={hooks['rev'].removeprefix('v')}" in (ROOT / "constraints.txt").read_text().splitlines()
