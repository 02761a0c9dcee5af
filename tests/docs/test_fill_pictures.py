"""The pictures of the fill models are those that the code draws today."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.fill_pictures import FOLDER, PICTURES, main
from tests.docs.pages import ROOT


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_what_the_code_draws(name: str) -> None:
    remedy = "draw it anew: .venv/bin/python -m tests.docs.fill_pictures"
    drawn = PICTURES[name]()
    assert (FOLDER / name).read_text(encoding="utf-8") == drawn, remedy
    assert ElementTree.fromstring(drawn).tag.endswith("svg")


def test_every_picture_stands_on_the_page_and_is_written(tmp_path: Path) -> None:
    page = (ROOT / "docs/fill-models.md").read_text(encoding="utf-8")
    assert [name for name in PICTURES if f"(images/{name})" not in page] == []
    main(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(PICTURES)
