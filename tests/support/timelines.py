"""Small timelines written by hand, and strategies made of plain functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from onetape.domain.events import OrderEvent
from onetape.domain.instrument import Instrument, InstrumentId, make_equity
from onetape.domain.market import Bar, TimeSlice, TradeTick
from onetape.domain.timestamps import from_iso
from onetape.marketdata.tick_timeline import build_trade_timeline
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy

AAPL = InstrumentId("AAPL.XNAS")
MSFT = InstrumentId("MSFT.XNAS")
EQUITY = make_equity(AAPL)
OTHER = make_equity(MSFT)

T0 = from_iso("2024-01-02T14:30:00Z")
MINUTE = 60_000_000_000
SECOND = 1_000_000_000

Prices = tuple[float, ...]
"""(open, high, low, close) or (open, high, low, close, volume); (price,) is a flat bar."""


def flat(*prices: float) -> list[Prices]:
    """A bar for each price, with nothing but that price in it."""
    return [(price,) for price in prices]


def make_columns(
    rows: Sequence[Prices],
    *,
    start: int = T0,
    step: int = MINUTE,
    length: int | None = None,
    delay: int = 0,
    session: int = 1_000,
) -> dict[str, npt.NDArray[Any]]:
    """Columns of bars that open every `step`, last `length` (else `step`), known `delay` later.

    A trading session is `session` bars. Volume is 1e9 where a row does not say.
    """
    count = len(rows)
    ts_open = start + step * np.arange(count, dtype=np.int64)
    ts_close = ts_open + (length or step)
    last = np.minimum((np.arange(count) // session + 1) * session, count) - 1
    flats = [row * 4 if len(row) == 1 else row for row in rows]
    filled = [row if len(row) == 5 else (*row, 1e9) for row in flats]
    values = np.array(filled, dtype=np.float64).reshape(count, 5)
    columns: dict[str, npt.NDArray[Any]] = {
        "ts_open": ts_open,
        "ts_close": ts_close,
        "ts_known": ts_close + delay,
        "session_close": ts_close[last],
        "quality": np.zeros(count, dtype=np.int64),
    }
    for at, name in enumerate(("open", "high", "low", "close", "volume")):
        columns[name] = values[:, at].copy()
    return columns


def make_timeline(
    *series: list[Prices] | tuple[Instrument, dict[str, npt.NDArray[Any]]], **how: int
) -> Timeline:
    """A timeline of AAPL, and of MSFT when a second list of rows is given; `how` as above."""
    parts: list[tuple[Instrument, dict[str, npt.NDArray[Any]]]] = []
    for default, one in zip((EQUITY, OTHER), series, strict=False):
        if isinstance(one, tuple):
            parts.append(one)
        else:
            parts.append((default, make_columns(one, **how)))
    return build_timeline(parts, source="test", timeframe="1m")


def make_prints(
    rows: Sequence[float | tuple[float, float]],
    *,
    at: Sequence[int] | None = None,
    delay: int = 0,
    **columns: Any,
) -> dict[str, npt.NDArray[Any]]:
    """Columns of trade prints, each a price or (price, size); size is 1e9 where a row has none.

    Print n happens `at[n]` ns (else n seconds) after T0 and is known `delay` later.
    """
    pairs = [row if isinstance(row, tuple) else (row, 1e9) for row in rows]
    after = np.array(at if at is not None else range(0, len(rows) * SECOND, SECOND), dtype=np.int64)
    return {
        "ts_event": T0 + after,
        "ts_known": T0 + after + delay,
        "price": np.array([price for price, _ in pairs], dtype=np.float64),
        "size": np.array([size for _, size in pairs], dtype=np.float64),
        **columns,
    }


def make_trade_timeline(
    *series: Sequence[float | tuple[float, float]] | dict[str, npt.NDArray[Any]], **how: Any
) -> Timeline:
    """A timeline of prints of AAPL, and of MSFT when a second series is given; `how` as above."""
    parts = [
        (instrument, one if isinstance(one, dict) else make_prints(one, **how))
        for instrument, one in zip((EQUITY, OTHER), series, strict=False)
    ]
    return build_trade_timeline(parts, source="test")


def opens(row: int) -> int:
    """When bar `row` of a default timeline opens."""
    return T0 + row * MINUTE


def closes(row: int) -> int:
    """When bar `row` of a default timeline closes."""
    return T0 + (row + 1) * MINUTE


class Callbacks(TypedDict, total=False):
    """The callbacks of a strategy as functions without `self`."""

    on_start: Callable[[Context], object]
    on_bar: Callable[[Bar, Context], object]
    on_trade: Callable[[TradeTick, Context], object]
    on_slice: Callable[[TimeSlice, Context], object]
    on_order_update: Callable[[OrderEvent, Context], object]
    on_timer: Callable[[str, Context], object]
    on_stop: Callable[[Context], object]
    generate_orders: Callable[[Context], Any]


def scripted(**callbacks: Unpack[Callbacks]) -> Strategy:
    """A strategy whose callbacks are these functions."""

    def as_method(function: Any) -> Any:
        def call(self: Strategy, *args: Any) -> Any:
            return function(*args)

        return call

    body = {name: as_method(function) for name, function in callbacks.items()}
    return type("Scripted", (Strategy,), body)()


def at_rows(
    actions: Mapping[int, Callable[[Context], object]],
    *,
    instrument: InstrumentId = AAPL,
    **callbacks: Unpack[Callbacks],
) -> Strategy:
    """A strategy that calls `actions[n](ctx)` at the n-th bar or print of `instrument` (from 0)."""
    seen = [-1]

    def on_row(event: Bar | TradeTick, ctx: Context) -> None:
        if event.instrument == instrument:
            seen[0] += 1
            if seen[0] in actions:
                actions[seen[0]](ctx)

    callbacks["on_bar"] = callbacks["on_trade"] = on_row
    return scripted(**callbacks)
