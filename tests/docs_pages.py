"""The pages of the documentation, and what stands in their fenced blocks."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", *DOCS]

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str | None = "") -> list[str]:
    """The fenced blocks of a language; "" for those without one, None for all."""
    found = FENCED.findall(page.read_text(encoding="utf-8"))
    return [text for kind, text in found if language in (None, kind)]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def write_files(folder: Path) -> None:
    """Write the blocks that begin with `# <path>` into files of these names."""
    for page in DOCS:
        for block in blocks(page, None):
            if named := re.match(r"# (\w[\w/]*\.(?:py|yaml))\n", block):
                path = folder / named[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block, encoding="utf-8")
