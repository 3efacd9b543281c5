"""Pages link to pictures, tables and cards where they lie in the repository. On the site these get the same paths."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
FOLDERS = ("benchmarks/audits", "benchmarks/results", "benchmarks/tables", "datasets")
KINDS = {".csv", ".json", ".md", ".png"}


def on_files(files: Files, config: Any) -> Files:
    """Add the files of FOLDERS, as if they lay in docs/."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in KINDS:
                files.append(File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """In pages of docs/, links out of docs/ lead one folder less far up: that is where the files are on the site."""
    if page.file.src_uri.startswith(tuple(f"{folder}/" for folder in FOLDERS)):
        return markdown
    up = "../" * (page.file.src_uri.count("/") + 1)
    return re.sub(rf"\]\({re.escape(up)}(?!\.)", "](" + up.removesuffix("../"), markdown)
