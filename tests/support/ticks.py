"""Small timelines of quotes and of the depth, written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.instrument import Instrument
from onetape.marketdata.tick_timeline import build_book_timeline, build_quote_timeline
from onetape.marketdata.timeline import Timeline
from tests.support.timelines import EQUITY, SECOND, T0, make_prints

Columns = dict[str, npt.NDArray[Any]]
Prints = tuple[Sequence[float | tuple[float, float]], Sequence[int]]
"""Prices, or prices with sizes, and ns after T0."""


def make_quotes(
    rows: Sequence[tuple[float, ...]], *, at: Sequence[int] | None = None, delay: int = 0
) -> Columns:
    """Columns of quotes: (bid, ask) with sizes of 1e6, or (bid, ask, bid_size, ask_size).

    Quote n stands from `at[n]` ns (else n seconds) after T0 and is known `delay` later.
    """
    filled = [row if len(row) == 4 else (*row, 1e6, 1e6) for row in rows]
    values = np.array(filled, dtype=np.float64).reshape(len(rows), 4)
    after = np.array(at if at is not None else range(0, len(rows) * SECOND, SECOND), dtype=np.int64)
    names = ("bid", "ask", "bid_size", "ask_size")
    return {
        "ts_event": T0 + after,
        "ts_known": T0 + after + delay,
        **{name: values[:, at].copy() for at, name in enumerate(names)},
    }


def make_deltas(rows: Sequence[tuple[float, int, float, float]], *, delay: int = 0) -> Columns:
    """Columns of changes: (second after T0, 1 for a bid, price, size)."""
    after, is_bid, price, size = (list(each) for each in zip(*rows, strict=True))
    ts_event = T0 + np.array([round(each * SECOND) for each in after], dtype=np.int64)
    return {
        "ts_event": ts_event,
        "ts_known": ts_event + delay,
        "is_bid": np.array(is_bid, dtype=np.int64),
        "price": np.array(price, dtype=np.float64),
        "size": np.array(size, dtype=np.float64),
    }


def make_quote_timeline(
    rows: Sequence[tuple[float, ...]],
    *,
    prints: Prints | None = None,
    delay: int = 0,
    at: Sequence[int] | None = None,
    instrument: Instrument = EQUITY,
) -> Timeline:
    """A timeline of quotes of one instrument, with prints between them."""
    trades = {instrument.id: make_prints(prints[0], at=prints[1], delay=delay)} if prints else None
    quotes = make_quotes(rows, at=at, delay=delay)
    return build_quote_timeline([(instrument, quotes)], source="test", trades=trades)


def make_book_timeline(
    deltas: Columns,
    *,
    prints: Prints | None = None,
    delay: int = 0,
    instrument: Instrument = EQUITY,
    **columns: npt.NDArray[Any],
) -> Timeline:
    """A timeline of the depth of one instrument, and of prints, with further `columns` of them."""
    trades = None
    if prints:
        trades = {instrument.id: make_prints(prints[0], at=prints[1], delay=delay, **columns)}
    return build_book_timeline([(instrument, deltas)], source="test", trades=trades)
