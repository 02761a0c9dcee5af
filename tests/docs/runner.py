"""Runs the blocks of a page in order, in one folder and one Python namespace.

| block                                       | what is done with it                               |
| ------------------------------------------- | -------------------------------------------------- |
| first line `# NAME.py` or `# NAME.yaml`     | written as that file                               |
| `python`                                    | executed; a `text` block behind it is its output   |
| `console`                                   | each `$ onetape ...` is run; what follows is its   |
|                                             | output, `[exit code N]` its exit code (0 if absent)|
| `yaml`                                      | parts of a configuration: validated                |
| `sh`, `text`, `mermaid`, `json`             | read by people only                                |

In outputs `...` stands for anything, and white space does not count.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from onetape.runtime.config import SessionConfig
from tests.docs.pages import Block

FOR_PEOPLE = {"sh", "text", "mermaid", "json"}

_LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_EXIT_CODE = re.compile(r"\[exit code (\d+)\]\n?\Z")
_WHOLE = {
    "clock": {"type": "historical", "start": "2024-01-01", "end": "2025-01-01"},
    "data": {"instruments": ["AAPL.XNAS", "MSFT.XNAS"], "timeframe": "1d"},
    "strategies": [{"name": "sma_cross", "capital": 1000}],
}


def run_blocks(blocks: list[Block], folder: Path, demo: Callable[[], str]) -> None:
    """Run the blocks of a page in `folder`; `demo` gives what `make demo` prints."""
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            _check(block, block.output, _run_python(block, namespace))
        elif block.language == "console":
            for command, wanted, code in read_session(block.text):
                if command == "make demo":
                    _check(block, wanted, demo())
                    continue
                printed = run_command(command, folder, code)
                if wanted:
                    _check(block, wanted, printed)
        elif block.language == "yaml":
            SessionConfig.model_validate(_WHOLE | yaml.safe_load(block.text))
        elif block.language not in FOR_PEOPLE:
            pytest.fail(f"line {block.line}: nobody runs {block.language!r} blocks")


def read_session(text: str) -> Iterator[tuple[str, str, int]]:
    """(command, output, exit code) of each `$ command` of a console block."""
    for part in re.split(r"^\$ ", re.sub(r"\\\n\s*", "", text), flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        ending = _EXIT_CODE.search(shown)
        output = shown[: ending.start()] if ending else shown
        yield command, output, int(ending[1]) if ending else 0


def run_command(command: str, folder: Path, code: int = 0) -> str:
    """What an `onetape` command prints, both streams as they come; its exit code is checked."""
    program, *arguments = shlex.split(command)
    assert program == "onetape", f"not run here: {command}"
    done = subprocess.run(
        [Path(sys.executable).with_name("onetape"), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def _run_python(block: Block, namespace: dict[str, Any]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * (block.line - 1) + block.text, "page", "exec"), namespace)
    return printed.getvalue()


def _check(block: Block, wanted: str, printed: str) -> None:
    if not doctest.OutputChecker().check_output(wanted, printed, _LOOSE):
        pytest.fail(f"line {block.line} shows\n{wanted}\nbut it prints\n{printed}", pytrace=False)
