"""A hash of the source that decides a run's numbers. It imports none of it: files are found and parsed.

Comments, docstrings and formatting change nothing of it.
"""

import ast
import hashlib
import os
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Ours that every run goes through, each with all of ours that it imports.
OURS = ("stitchrl.learner", "stitchrl.data.batches", "stitchrl.evaluate", "stitchrl.summary")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SCRIPTS = ("stitchrl.experiment", "stitchrl.training")  # alone: they import much that decides no number
AUDIT = "stitchrl.audit"  # objectives name it, and it certifies data; no number of a run depends on it


def source_hash(*configurations: Any) -> str:
    """A hash of the code that a run goes through. configurations: plain values that name classes as `_target_`.

    That is the experiment, learner, batches, evaluation and summary of this package, and the modules of the named
    classes. With each module come those that it imports, where they are of the same package, of this one, or not
    installed: installed packages are known by their versions. Only import statements are seen. Raises ValueError that
    names a class whose module is not found.
    """
    targets = [target for configuration in configurations for target in _targets(configuration)]
    followed = {"stitchrl", *(target.partition(".")[0] for target in targets)}
    found: dict[str, str] = {}
    seen, waiting = set(SCRIPTS), [*OURS, *map(_module_of, targets)]
    while waiting:
        name = waiting.pop()
        if name in seen or name.startswith(AUDIT):
            continue
        seen.add(name)
        file = _file(name)
        installed = file is not None and {"site-packages", "dist-packages"} & set(file.parts)
        if file is not None and (not installed or name.partition(".")[0] in followed):
            found[name], imported = _read(name, file)
            waiting += imported
    found |= {name: _read(name, Path(__file__).with_name(f"{name.rpartition('.')[2]}.py"))[0] for name in SCRIPTS}
    return hashlib.sha256("\n".join(f"{name} {found[name]}" for name in sorted(found)).encode()).hexdigest()


def _targets(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from [part] if key == "_target_" else _targets(part)
    elif isinstance(value, list):
        for part in value:
            yield from _targets(part)


def _module_of(target: str) -> str:
    """The longest part of a dotted name that is a module."""
    name = target
    while name and _spec(name) is None:
        name = name.rpartition(".")[0]
    if not name:
        raise ValueError(f"_target_: no module of {target!r} is found")
    return name


def _spec(name: str) -> ModuleSpec | None:
    """Where a module lies. Importing its package to find out could take seconds, so it is looked for by hand."""
    top, *rest = name.split(".")
    # As for `python -m`, the working folder comes first. Some packages are installed as a pointer to their sources,
    # which another finder follows.
    spec = PathFinder.find_spec(top, [os.getcwd(), *sys.path]) or find_spec(top)
    full = top
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        full = f"{full}.{part}"
        spec = PathFinder.find_spec(full, list(spec.submodule_search_locations))
    return spec


def _file(name: str) -> Path | None:
    """A module's file; None where there is none, as for a namespace or a part of Python itself."""
    if name.partition(".")[0] in sys.stdlib_module_names or (spec := _spec(name)) is None:
        return None
    return Path(spec.origin) if spec.has_location and spec.origin else None


def _read(name: str, file: Path) -> tuple[str, list[str]]:
    """The hash of a module's code (of its bytes, where it is no source), and the modules that it may import."""
    if file.suffix != ".py":
        return hashlib.sha256(file.read_bytes()).hexdigest(), []
    tree = ast.parse(file.read_bytes(), str(file))
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    imported: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for full in _named(node, package):  # a module, or a name in one: every part of it is tried
                parts = full.split(".")
                imported += [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            del node.body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imported


def _named(node: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    """The dotted names that an import statement in a module of `package` asks for."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    parents = package.split(".")
    above = parents[: len(parents) - node.level + 1] if node.level else []
    origin = [*above, *([node.module] if node.module else [])]
    return [".".join([*origin, alias.name]) for alias in node.names]
