"""The pages of the documentation, and the fenced blocks in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^# ([\w./-]+\.(?:py|yaml))\n")


@dataclass(frozen=True)
class Block:
    """A fenced block. `line` is that of its first line; `output` what the block after it shows."""

    line: int
    language: str
    text: str
    output: str

    @property
    def file(self) -> str:
        """The file that the block is: its first line is a comment with nothing but a name."""
        match = _FILE.match(self.text)
        return match[1] if match else ""


def name_of(page: Path) -> str:
    """Path of a page below the repository."""
    return page.relative_to(ROOT).as_posix()


def read_blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page in order.

    A `text` block straight behind another block shows what that one prints.
    """
    text = page.read_text(encoding="utf-8")
    fences = list(_FENCE.finditer(text))
    for fence, after in zip_longest(fences, fences[1:]):
        shows = after is not None and after[1] == "text"
        adjacent = after is not None and not text[fence.end() : after.start()].strip()
        yield Block(
            line=text.count("\n", 0, fence.start(2)) + 1,
            language=fence[1],
            text=fence[2],
            output=after[2] if after is not None and shows and adjacent else "",
        )
