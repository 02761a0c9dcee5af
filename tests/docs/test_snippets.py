"""Everything that a reader could copy from a page and run does what the page says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.demo import Demo
from tests.docs.pages import PAGES, Block, name_of, read_blocks
from tests.docs.runner import FOR_PEOPLE, read_session, run_blocks

RUNNABLE = [
    page for page in PAGES if any(each.language not in FOR_PEOPLE for each in read_blocks(page))
]


@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_page_does_what_it_shows(
    page: Path, demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "home"
    shutil.copytree(demo.folder, folder)
    monkeypatch.chdir(folder)
    run_blocks(list(read_blocks(page)), folder, lambda: demo.output)


def test_runner_takes_a_console_block_apart() -> None:
    text = "$ onetape a \\\n    --b\nout\n$ onetape c\n[exit code 2]\n"
    assert list(read_session(text)) == [
        ("onetape a --b", "out\n", 0),
        ("onetape c", "", 2),
    ]


@pytest.mark.parametrize(
    ("language", "text", "output"),
    [
        ("python", "print(1)\n", "2\n"),
        ("python", "print(1)\n", ""),
        ("console", "$ make demo\nno such output\n", ""),
        ("bash", "true\n", ""),
    ],
)
def test_runner_refuses_a_block_that_is_not_true(
    language: str, text: str, output: str, tmp_path: Path
) -> None:
    with pytest.raises(pytest.fail.Exception):
        run_blocks([Block(1, language, text, output)], tmp_path, lambda: "what it printed")


def test_runner_refuses_another_exit_code(tmp_path: Path) -> None:
    block = Block(1, "console", "$ onetape version\n[exit code 2]\n", "")
    with pytest.raises(AssertionError, match="ended with 0"):
        run_blocks([block], tmp_path, str)
