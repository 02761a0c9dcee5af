"""Small strategies for the compiled host, written to files and loaded as users load theirs."""

from __future__ import annotations

import importlib.util
import textwrap
from pathlib import Path

from onetape.strategy.registry import load_strategy
from onetape.strategy.sdk import Strategy

HEADER = """\
from __future__ import annotations

import math
from enum import IntEnum

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import AggressorSide, Bar, TimeSlice, TradeTick
from onetape.domain.orders import OrderStatus, OrderType, Side, TimeInForce
from onetape.domain.rules import rule
from onetape.domain.timestamps import compute_month
from onetape.features import FeatureMap, Sma
from onetape.strategy.context import Context
from onetape.strategy.library.sma_cross import SmaCross
from onetape.strategy.sdk import Strategy, param, state
"""

FIELDS = """\
    a: float = param(2.5)
    k: int = param(3)
    q: bool = param(True)
    mode: str = param("fast")
    n: int = state(0)
    m: int = state(0)
    x: float = state(0.0)
    y: float = state(0.0)
    b: bool = state(False)
    o: str = state("")
    name: str = state("Joe")

    def features(self) -> FeatureMap:
        return {"average": Sma(2)}
"""
ON_BAR = "def on_bar(self, bar: Bar, ctx: Context) -> None:"


def write_source(
    body: str, *, head: str = ON_BAR, methods: str = "", top: str = "", name: str = "Mine"
) -> str:
    """The source of a strategy: `head` with `body`, `methods` beside it, `top` before the class."""
    written = [f"class {name}(Strategy):", FIELDS]
    for text in (methods, f"{head}\n{textwrap.indent(body, '    ')}"):
        written.append(textwrap.indent(text, "    "))
    return "\n".join((HEADER, top, "", *written, ""))


def find_mark(text: str) -> int:
    """The line (from 1) that ends in `# HERE`."""
    return next(at for at, line in enumerate(text.split("\n"), 1) if line.endswith("# HERE"))


def load_source(text: str, folder: Path, file: str = "mine.py") -> type[Strategy]:
    """The strategy of a file, found by the registry as users' files are."""
    path = folder / file
    path.write_text(text)
    return load_strategy("mine", str(path))


def load_unchecked(text: str, folder: Path, file: str = "mine.py") -> type[Strategy]:
    """The class `Mine` of a file, as a script that imports it has it: no validator has seen it."""
    path = folder / file
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Mine
