"""The pictures of the pages are those that the code draws today."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.docs.pages import PAGES, ROOT
from tests.docs.pictures import PICTURES


@pytest.mark.parametrize("path", PICTURES)
def test_picture_is_what_the_code_draws(path: str) -> None:
    drawn = PICTURES[path]()
    ET.fromstring(drawn)
    remedy = "draw it anew: .venv/bin/python -m tests.docs.pictures"
    assert (ROOT / path).read_text(encoding="utf-8") == drawn, remedy


@pytest.mark.parametrize("path", PICTURES)
def test_every_picture_stands_on_a_page(path: str) -> None:
    name = path.removeprefix("docs/")
    assert any(f"({name})" in page.read_text(encoding="utf-8") for page in PAGES)
