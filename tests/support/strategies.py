"""A strategy's world without an engine: surroundings that answer from plain fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.instrument import Instrument, InstrumentId, make_equity, make_spot
from onetape.strategy.context import Context, OpenOrder, OptionExercise

AAPL = InstrumentId("AAPL.XNAS")
MSFT = InstrumentId("MSFT.XNAS")
BTC = InstrumentId("BTC-USD.COIN")

EQUITY = make_equity(AAPL)
OTHER = make_equity(MSFT)
SPOT = make_spot(BTC, base="BTC", quote="USD", tick_size="0.01", lot_size="0.001")


@dataclass
class FakeSurroundings:
    """Answers what a `Context` asks from its fields."""

    time: int = 0
    marks: dict[InstrumentId, float] = field(default_factory=dict)
    cash_minor: int = 0
    foreign_minor: dict[str, int] = field(default_factory=dict)
    contracts: dict[InstrumentId, OptionExercise] = field(default_factory=dict)
    equity_minor: int = 0
    rows: dict[InstrumentId, Any] = field(default_factory=dict)
    closes: dict[InstrumentId, list[float]] = field(default_factory=dict)
    orders: list[OpenOrder] = field(default_factory=list)
    universe: tuple[InstrumentId, ...] | None = None

    def now(self) -> int:
        return self.time

    def mark(self, instrument: InstrumentId) -> float:
        return self.marks.get(instrument, float("nan"))

    def cash(self, strategy: str) -> int:
        return self.cash_minor

    def cash_in(self, strategy: str, currency: str) -> int:
        return self.foreign_minor.get(currency, 0)

    def contract(self, option: InstrumentId) -> OptionExercise | None:
        return self.contracts.get(option)

    def equity(self, strategy: str) -> int:
        return self.equity_minor

    def features_of(self, strategy: str, instrument: InstrumentId) -> Any:
        return self.rows.get(instrument)

    def history(self, instrument: InstrumentId, column: str, count: int) -> npt.NDArray[np.float64]:
        return np.array(self.closes.get(instrument, [])[-count:], dtype=np.float64)

    def members(self) -> tuple[InstrumentId, ...] | None:
        return self.universe

    def open_orders(self, strategy: str) -> list[OpenOrder]:
        return self.orders


def make_context(
    *definitions: Instrument, around: FakeSurroundings | None = None, strategy: str = "mine"
) -> Context:
    """A context over the given instruments (AAPL when none); order ids are `mine-1`, `mine-2`."""
    return Context(strategy, definitions or (EQUITY,), around or FakeSurroundings(), f"{strategy}-")


HEADER = """\
from onetape.features import FeatureMap, Sma
from onetape.strategy.sdk import Strategy, param, state
"""


def make_source(*, top: str = "", body: str = "", on_bar: str = "") -> str:
    """Source of a strategy: module-level lines, lines of the class, lines of its `on_bar`."""
    lines = [*HEADER.splitlines(), *top.splitlines(), "class Mine(Strategy):"]
    lines += [f"    {each}" for each in (body or "size: int = param(1)").splitlines()]
    lines += ["    def on_bar(self, bar, ctx):"]
    lines += [f"        {each}" for each in (on_bar or "return").splitlines()]
    return "\n".join(lines) + "\n"
