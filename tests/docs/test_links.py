"""Every relative link of a page leads to a file of the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, name_of

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def find_broken(page: Path, text: str) -> list[str]:
    """Relative links in `text` that lead nowhere from `page`."""
    targets = [link.partition("#")[0] for link in _LINK.findall(_FENCED.sub("", text))]
    return [
        target
        for target in targets
        if target and "://" not in target and not (page.parent / target).exists()
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_links_to_what_exists(page: Path) -> None:
    assert find_broken(page, page.read_text(encoding="utf-8")) == []


def test_link_to_nothing_is_found() -> None:
    text = "[a](docs/index.md) [b](docs/none.md#x) [c](https://example.org/y)"
    assert find_broken(ROOT / "README.md", text) == ["docs/none.md"]
