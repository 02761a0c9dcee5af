"""Every module of onetape: as syntax tree and, where a test needs it, imported."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import onetape

SOURCE = Path(onetape.__file__).parent


@cache
def trees() -> dict[str, ast.Module]:
    """Syntax tree of each file, by path below `src/onetape`."""
    return {
        path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(SOURCE.rglob("*.py"))
    }


def import_all() -> Iterator[ModuleType]:
    """Import every module."""
    for info in pkgutil.walk_packages(onetape.__path__, "onetape."):
        yield importlib.import_module(info.name)
