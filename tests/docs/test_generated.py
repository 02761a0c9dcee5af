"""The generated parts of the pages are those that the code gives today."""

from __future__ import annotations

import pytest

from tests.docs.generated import REGIONS, fill
from tests.docs.pages import ROOT

PARTS = [(page, name) for page, regions in REGIONS.items() for name in regions]


@pytest.mark.parametrize(("page", "name"), PARTS)
def test_generated_part_is_what_the_code_gives(page: str, name: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    remedy = "write it anew: .venv/bin/python -m tests.docs.generated"
    assert fill(text, name, REGIONS[page][name]()) == text, remedy


def test_every_region_of_a_page_is_generated() -> None:
    pages = {page: (ROOT / page).read_text(encoding="utf-8") for page in REGIONS}
    assert {page: text.count("<!-- generated: ") for page, text in pages.items()} == {
        page: len(regions) for page, regions in REGIONS.items()
    }


def test_fill_refuses_a_page_without_the_region() -> None:
    with pytest.raises(ValueError, match="no region"):
        fill("text", "commands", "content")
